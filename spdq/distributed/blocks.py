"""Items as Arrow tables, the blocks of Ray Data, and back, and the digest of all of them.

Arrays go over as they are, without a copy where a block is read on the machine it was made on.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from spdq.data.items import Items

if TYPE_CHECKING:
    import pyarrow as pa

_SURROGATES = "surrogatepass"
"""What a JSON file may hold and UTF-8 may not: the model has the last word on it."""


def to_block(items: Items, rows: NDArray[np.int64]) -> pa.Table:
    """Some rows of the items: their numbers and what is there of pictures and texts."""
    import pyarrow as pa

    columns: dict[str, Any] = {"row": pa.array(rows)}
    images, texts = items.images, items.texts
    if isinstance(images, np.ndarray):
        columns["image_features"] = _from_dense(images[rows])
    elif images is not None:
        paths = (images[row] for row in rows)
        columns["image"] = pa.array([path and os.fsencode(path) for path in paths], pa.binary())
    if isinstance(texts, Sequence):
        columns["text"] = pa.array([texts[row].encode(errors=_SURROGATES) for row in rows], pa.large_binary())
    elif texts is not None and sparse.issparse(texts):
        columns |= _from_sparse(sparse.csr_matrix(texts[rows]))
    elif texts is not None:
        columns["text_features"] = _from_dense(np.asarray(texts[rows]))
    return pa.table(columns)


def from_block(block: pa.Table) -> Items:
    """The items of a block; their ids are the numbers of their rows."""
    column = {name: block.column(name).combine_chunks() for name in block.column_names}
    images: Any = None
    texts: Any = None
    if "image_features" in column:
        images = _to_dense(column["image_features"])
    elif "image" in column:
        images = [Path(os.fsdecode(path)) if path else None for path in column["image"].to_pylist()]
    if "text_features" in column:
        texts = _to_dense(column["text_features"])
    elif "text" in column:
        texts = [text.decode(errors=_SURROGATES) for text in column["text"].to_pylist()]
    elif "text_terms" in column:
        texts = _to_sparse(column)
    return Items(column["row"].to_numpy(), texts, images)


def digest(items: Items) -> str:
    """Hex SHA-256 of ids, texts, features, and of the names, sizes and times of change of picture files.

    Files that cannot be looked at count as missing; reading them will say so.
    """
    sums = hashlib.sha256()
    for name, part in (("ids", items.ids), ("texts", items.texts), ("images", items.images)):
        for piece in _bytes_of(part):
            sums.update(f"{name} {len(piece)}\n".encode())
            sums.update(piece)
    return sums.hexdigest()


def _from_dense(rows: NDArray[Any]) -> pa.FixedSizeListArray:
    import pyarrow as pa

    return pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(rows).ravel()), rows.shape[1])


def _to_dense(column: pa.FixedSizeListArray) -> NDArray[Any]:
    values: NDArray[Any] = column.flatten().to_numpy()
    return values.reshape(len(column), column.type.list_size)


def _from_sparse(rows: sparse.csr_matrix) -> dict[str, Any]:
    import pyarrow as pa

    offsets = pa.array(rows.indptr.astype(np.int64))
    return {
        "text_terms": pa.LargeListArray.from_arrays(offsets, pa.array(rows.indices.astype(np.int32))),
        "text_values": pa.LargeListArray.from_arrays(offsets, pa.array(rows.data)),
        "text_width": pa.array(np.full(rows.shape[0], rows.shape[1])),
    }


def _to_sparse(column: dict[str, Any]) -> sparse.csr_matrix:
    terms = column["text_terms"]
    offsets = terms.offsets.to_numpy()
    parts = column["text_values"].flatten().to_numpy(), terms.flatten().to_numpy(), offsets - offsets[0]
    return sparse.csr_matrix(parts, shape=(len(terms), column["text_width"][0].as_py()))


def _bytes_of(part: Any) -> Iterator[bytes | memoryview]:
    """What is digested of ids, texts or images."""
    if part is None:
        return
    if sparse.issparse(part):
        for array in (np.array(part.shape), part.indptr, part.indices, part.data):
            yield from _bytes_of(array)
    elif isinstance(part, np.ndarray) and part.dtype.kind != "U":
        yield f"{part.shape} {part.dtype.str}".encode()
        yield np.ascontiguousarray(part).reshape(-1).view(np.uint8).data
    else:
        for one in part:
            yield _file(one) if isinstance(one, Path) else str(one).encode(errors=_SURROGATES)


def _file(path: Path) -> bytes:
    try:
        found = path.stat()
    except OSError:
        return os.fsencode(path)
    return os.fsencode(path) + f"\0{found.st_size} {found.st_mtime_ns}".encode()
