"""What an index is and holds, and whether its codebooks still suit what is added to it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from spdq.index.ids import Int64Array
from spdq.index.segments import Segment
from spdq.index.snapshot import Snapshot
from spdq.quantizers.codebooks import Codebooks

DRIFT = 1.25
"""From this much of the error at training time on, new codebooks would help."""

_BLOCKS_AT_ONCE = 4096
_SHOWN = (
    "metric",
    "ids",
    "n_codebooks",
    "n_words",
    "dim",
    "codebook_fingerprint",
    "model_fingerprint",
    "model_path",
    "generation",
    "format",
)


def statistics(snapshot: Snapshot, codebooks: Codebooks, path: Path | None, writable: bool) -> dict[str, Any]:
    """The facts of a generation, as plain values.

    ``bytes`` counts segments, attributes, catalogue and codebooks. ``words_used`` is how many words of each codebook
    some item has. ``error`` is the mean squared quantization error of the items that were added as vectors (of up to
    1,000 a call), ``training_error`` that of the vectors the codebooks were learned from, ``drift`` their ratio: None
    where they are not known.
    """
    meta, rows = snapshot.state.meta, snapshot.state.segments
    segment_bytes = sum(row.size + row.attributes_size for row in rows)
    codebook_bytes = sum(tensor.nbytes for tensor in codebooks.tensors().values())
    size = segment_bytes + snapshot.state.catalogue_bytes + codebook_bytes
    n_measured = sum(row.n_measured for row in rows)
    error = sum(row.squared_error for row in rows) / n_measured if n_measured else None
    training_error = codebooks.training_error
    drift = error / training_error if error is not None and training_error else None
    return {
        "path": None if path is None else str(path),
        "items": snapshot.n_items,
        "removed": sum(len(segment) for segment in snapshot.segments) - snapshot.n_items,
        "segments": len(rows),
        "bits": codebooks.bits,
        "code_bytes": codebooks.code_bytes,
        "bytes": size,
        "bytes_per_item": round(size / snapshot.n_items, 2) if snapshot.n_items else None,
        "kind": codebooks.kind,
        "attributes": snapshot.state.attributes,
        "words_used": words_used(snapshot, codebooks).tolist(),
        "error": error,
        "training_error": training_error,
        "drift": drift,
        "advice": _advice(drift),
        "writable": writable,
        **{name: meta[name] for name in _SHOWN},
    }


def words_used(snapshot: Snapshot, codebooks: Codebooks) -> Int64Array:
    """How many words of each codebook (M,) some item has."""
    used = np.zeros((codebooks.n_codebooks, 256), np.bool_)
    for segment in snapshot.segments:
        for codes in _codes(segment):
            for m in range(codebooks.n_codebooks):
                used[m] |= np.bincount(codes[:, m], minlength=256) > 0
    counted: Int64Array = used.sum(axis=1)
    return counted


def _codes(segment: Segment) -> Any:
    """The codes (n, M) of a segment's items, some blocks at a time."""
    for start in range(0, len(segment.blocks), _BLOCKS_AT_ONCE):
        blocks = segment.blocks[start : start + _BLOCKS_AT_ONCE]
        codes: npt.NDArray[np.uint8] = blocks.transpose(0, 2, 1).reshape(-1, blocks.shape[1])
        first = start * blocks.shape[2]
        yield codes[: len(segment) - first][~segment.removed[first : first + len(codes)]]


def _advice(drift: float | None) -> str | None:
    if drift is None or drift < DRIFT:
        return None
    return f"items are coded with {drift:.2f} times the error at training time: train anew on what is in the index"
