"""Click logs in every form that is read."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

ENDINGS = (".tsv", ".tsv.gz", ".jsonl", ".jsonl.gz", ".parquet")


def write_log(path: Path, rows: list[tuple[str, object, int]]) -> Path:
    """Rows (query, image, clicks) as the ending of the name says."""
    if path.suffix == ".parquet":
        return _write_parquet(path, rows)
    if ".jsonl" in path.name:
        lines = [json.dumps({"image": image, "clicks": n, "query": query}) for query, image, n in rows]
    else:
        lines = ["image\tquery\tclicks", *(f"{image}\t{query}\t{n}" for query, image, n in rows)]
    content = "".join(f"{line}\n" for line in lines).encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def _write_parquet(path: Path, rows: list[tuple[str, object, int]]) -> Path:
    import pyarrow
    from pyarrow import parquet

    query, image, clicks = map(list, zip(*rows, strict=True))
    table = pyarrow.table({"clicks": clicks, "query": query, "image": image, "other": [None] * len(rows)})
    parquet.write_table(table, path, row_group_size=3)
    return path
