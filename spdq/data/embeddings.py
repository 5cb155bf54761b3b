"""A folder of embeddings as clip-retrieval writes it: arrays in shards, and what is known of their rows.

img_emb/img_emb_0.npy            (n, d) float16 or float32
text_emb/text_emb_0.npy          (n, e) float16 or float32
metadata/metadata_0.parquet      n rows: image_path, caption, and any other columns
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from spdq.data.dataset import Dataset
from spdq.data.metadata import attributes_of
from spdq.data.queries import default_query_rows
from spdq.data.records import text_field
from spdq.data.splits import SplitKind, make_split
from spdq.errors import DataError, MissingExtraError, NotFoundError

Array = npt.NDArray[Any]


def load_embeddings(source: Path, kind: SplitKind = "seen", seed: int = 0) -> Dataset:
    """Make a data set of embeddings, in the order of the shards' numbers.

    ``image_features`` (n, d) float16, or float32 where a shard is, are those of ``img_emb``, ``text_features`` (n, e)
    float32 those of ``text_emb``; one of the two may be missing, and ``metadata`` too. Texts are the captions, other
    columns become attributes (``read_metadata``). ids are the column image_path where all are texts and differ; else
    they are row numbers, and the column is an attribute. No extractor is named: what made them is not known.

    The name of the data set is the folder's; queries are as in ``load_folder``.

    Raises
    ------
    NotFoundError
        There is no such folder.
    DataError
        It has no embeddings, its parts have other shards or rows, a file is damaged or of another type or width, or
        metadata are not as they should be.
    MissingExtraError
        Metadata without pyarrow.
    UsageError
        Unknown kind or negative seed.
    """
    if not source.is_dir():
        what = "is a file, expected a folder of embeddings" if source.exists() else "folder not found"
        raise NotFoundError(f"{source}: {what}")
    images, texts = _arrays(source, "img_emb"), _arrays(source, "text_emb")
    if not images and not texts:
        raise DataError(f"{source}: expected img_emb/img_emb_0.npy or text_emb/text_emb_0.npy, found neither")
    rows = {number: len(array) for number, array in (images or texts).items()}
    if texts:
        _check_same(source, "text_emb", rows, {number: len(array) for number, array in texts.items()})
    n = sum(rows.values())
    split = make_split(n, default_query_rows(n, seed, source), kind, seed)
    columns, where = _metadata(source, rows)
    captions = columns.pop("caption", None)
    ids: npt.NDArray[Any] = np.arange(n, dtype=np.int64)
    if _are_ids(columns.get("image_path", [])):
        ids = np.array(columns.pop("image_path"))
    return Dataset(
        name=source.resolve().name or "embeddings",
        ids=ids,
        image_features=_joined(images, np.result_type(*images.values())) if images else None,
        text_features=_joined(texts, np.dtype(np.float32)) if texts else None,
        texts=None if captions is None else tuple(map(_caption, captions, where)),
        attributes=attributes_of(source / "metadata", columns, where),
        split=split,
    )


def _shards(source: Path, part: str, ending: str) -> dict[int, Path]:
    """Files of one part by their numbers, ascending: 2 comes before 10, with or without zeros before it."""
    found: dict[int, Path] = {}
    for file in sorted((source / part).glob(f"{part}_*{ending}")):
        number = re.fullmatch(rf"{part}_([0-9]{{1,9}})", file.stem)
        if number is None or not file.is_file():
            continue
        if (other := found.setdefault(int(number[1]), file)) != file:
            raise DataError(f"{file}: {other.name} has the same number")
    return dict(sorted(found.items()))


def _arrays(source: Path, part: str) -> dict[int, Array]:
    arrays = {number: _mapped(file) for number, file in _shards(source, part, ".npy").items()}
    widths = {array.shape[1] for array in arrays.values()}
    if len(widths) > 1:
        raise DataError(f"{source / part}: expected shards of one width, got {sorted(widths)}")
    return arrays


def _mapped(file: Path) -> Array:
    """The array, of which only what is read comes into memory; pickled objects are refused."""
    try:
        array = np.lib.format.open_memmap(file, mode="r")
    except (ValueError, OSError, EOFError, OverflowError) as error:
        raise DataError(f"{file}: not a readable .npy file ({error})") from None
    if array.ndim != 2 or array.dtype.kind != "f" or array.dtype.itemsize not in (2, 4):
        raise DataError(f"{file}: expected (n, d) float16 or float32, got {array.shape} {array.dtype}")
    return array


def _joined(arrays: Mapping[int, Array], dtype: np.dtype[Any]) -> Array:
    shape = (sum(map(len, arrays.values())), next(iter(arrays.values())).shape[1])
    made = np.empty(shape, dtype.newbyteorder("="))
    np.concatenate(list(arrays.values()), out=made)
    return made


def _check_same(source: Path, part: str, rows: Mapping[int, int], got: Mapping[int, int]) -> None:
    if missing := sorted(rows.keys() ^ got.keys()):
        raise DataError(f"{source}: shard {missing[0]} is not in all of img_emb, text_emb and metadata")
    for number, expected in rows.items():
        if got[number] != expected:
            raise DataError(
                f"{source / part} shard {number}: expected {expected:,} rows, got {got[number]:,}"
            )


def _metadata(source: Path, rows: Mapping[int, int]) -> tuple[dict[str, list[Any]], list[str]]:
    """Columns over all shards, None where a shard has none, and where each row stands."""
    files = _shards(source, "metadata", ".parquet")
    if not files:
        return {}, []
    tables = {number: _table(file) for number, file in files.items()}
    _check_same(source, "metadata", rows, {number: table[1] for number, table in tables.items()})
    names = dict.fromkeys(name for columns, _ in tables.values() for name in columns)
    joined: dict[str, list[Any]] = {name: [] for name in names}
    for columns, n in tables.values():
        for name, column in joined.items():
            column.extend(columns.get(name, [None] * n))
    return joined, [f"{files[number]} row {row + 1}" for number, n in rows.items() for row in range(n)]


def _table(file: Path) -> tuple[dict[str, list[Any]], int]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise MissingExtraError(f'{file}: Parquet needs pyarrow: pip install "spdq[parquet]"') from None
    try:
        with parquet.ParquetFile(file) as stream:
            table = stream.read()
            if len(set(table.column_names)) < len(table.column_names):
                raise DataError(f"{file}: expected different columns, got {table.column_names}")
            return {name: table[name].to_pylist() for name in table.column_names}, table.num_rows
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file}: not a readable Parquet file ({str(error).partition(chr(10))[0]})") from None


def _are_ids(paths: Sequence[Any]) -> bool:
    given = {path for path in paths if isinstance(path, str) and path}
    return bool(paths) and len(given) == len(paths)


def _caption(caption: Any, where: str) -> str:
    return "" if caption is None else text_field({"caption": caption}, "caption", where).strip()
