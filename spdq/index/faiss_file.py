"""Product codes as Faiss files, written and read without Faiss.

Little-endian, nothing padded, as ``faiss/impl/index_write.cpp`` of Faiss 1.15 writes it::

    index     = b"IxPq" header  u64 d, M, nbits  vector float32 words (M, 2^nbits, d/M)
                vector uint8 codes (n, ceil(M * nbits / 8))
                i32 search_type  bool encode_signs  i32 polysemous_ht
              | b"IxPT" header  i32 1  transform  index
              | b"IxM2" or b"IxMp"  header  index  vector int64 ids
    transform = b"LTra" or b"rrot"  bool has_bias  vector float32 A (d, d)  vector float32 b
                i32 d_in, d_out  bool is_trained                                  what it does: A @ v + b
    header    = i32 d  i64 n  i64, i64 unused  bool is_trained  i32 metric        1 = l2, 0 = ip
    vector    = u64 count  elements

A code is its M numbers of nbits each, one after the other from the lowest bit of the first byte on.
"""

from __future__ import annotations

import os
import stat
import struct
import uuid
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt

from spdq.errors import DamagedError, DataError, IncompatibleError, NotFoundError, StorageError, UsageError
from spdq.index.ids import IdArray, Int64Array, Uint8Array
from spdq.index.store import storage_errors, sync_directory
from spdq.quantizers.codebooks import MAX_CODEBOOKS, MAX_DIM, Codebooks

_METRICS = ("ip", "l2")
_PARTS = {"IxPq": "codes", "IxPT": "transform", "IxM2": "ids", "IxMp": "ids"}
_HEADER = "<iqqq?i"
_CHUNK_BYTES = 1 << 22


class FaissContent(NamedTuple):
    """What a Faiss file holds: codebooks, metric ("l2" or "ip"), ids (n,) int64, codes (n, M) uint8."""

    codebooks: Codebooks
    metric: str
    ids: Int64Array
    codes: Uint8Array


def write_faiss(
    path: str | os.PathLike[str], codebooks: Codebooks, metric: str, ids: IdArray, codes: Uint8Array
) -> None:
    """Write ``IndexIDMap2(IndexPQ)``, with a rotation around an ``IndexPreTransform``.

    ``metric`` is "l2" or "ip"; ids (n,) int64, unique; codes (n, M) uint8, below K. Copies of the last
    word make K a power of 2. The file appears complete, in place of one that was there, or not at all.

    Raises UsageError for an unknown metric, additive codebooks, those learned for queries, or str ids, which the format
    has no place for,
    DataError for other wrong ids and codes, NotFoundError without the directory, StorageError.
    """
    path = Path(path)
    _check_items(codebooks, metric, ids, codes)
    if not path.parent.is_dir():
        raise NotFoundError(f"directory not found: {path.parent}")
    draft = path.parent / f".spdq-{uuid.uuid4().hex}.tmp"
    try:
        with storage_errors(f"{path} was not written"):
            with open(draft, "xb") as file:
                _write_index(file, FaissContent(codebooks, metric, ids, codes))
                file.flush()
                os.fsync(file.fileno())
            os.replace(draft, path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    with storage_errors(f"{path} is written, but may not survive a power loss"):
        sync_directory(path.parent)


def read_faiss(path: str | os.PathLike[str]) -> FaissContent:
    """Read an ``IndexPQ``, alone or in an ``IndexIDMap`` (or 2) and an ``IndexPreTransform`` by a rotation.

    The file may come from anyone. Without an id map the ids are 0 .. n-1. K is always a power of 2.

    Raises NotFoundError; IncompatibleError for a Faiss file of another kind, metric or size, or with another
    transform; DataError where it is no Faiss file, not trained, not searched by asymmetric distances, or has
    NaN or a repeated id; DamagedError where it is cut, goes on after its end or its sizes disagree;
    StorageError.
    """
    path = Path(path)
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise DataError("not a file")
        with open(path, "rb") as file, storage_errors(f"{path} was not read"):
            source = _Source(file)
            content = _read_index(source)
            if source.left:
                raise DamagedError(f"bytes after its end: {source.left}")
            _check_unique(content.ids)
            return content
    except (DataError, DamagedError, IncompatibleError) as error:
        raise type(error)(f"{path}: {error}") from None
    except StorageError:
        raise
    except OSError as error:
        raise NotFoundError(f"{(error.strerror or str(error)).lower()}: {path}") from None


class _Source:
    """The file, of which nothing is taken, nor memory set aside for it, that is not there."""

    def __init__(self, file: BufferedReader) -> None:
        self._file = file
        self.left = os.fstat(file.fileno()).st_size

    def take(self, layout: str) -> tuple[Any, ...]:
        """Values as ``struct`` names them."""
        return struct.unpack(layout, self.array("u1", struct.calcsize(layout), "fields").data)

    def count(self, dtype: str, what: str) -> int:
        """The length of a vector, whose elements are there."""
        count: int = self.take("<Q")[0]
        size = count * np.dtype(dtype).itemsize
        if size > self.left:
            raise DamagedError(f"truncated: expected {size} bytes of {what}, {self.left} are left")
        return count

    def array(self, dtype: str, count: int, what: str) -> npt.NDArray[Any]:
        """Elements (count,) of a vector, after its length."""
        array = np.empty(count, dtype)
        if self._file.readinto(array.data) != array.nbytes:
            raise DamagedError(f"truncated: it ends within its {what}")
        self.left -= array.nbytes
        return array.astype(array.dtype.newbyteorder("="), copy=False)

    def vector(self, dtype: str, what: str) -> npt.NDArray[Any]:
        """A whole vector (n,)."""
        return self.array(dtype, self.count(dtype, what), what)


def _read_index(source: _Source, outside: tuple[str, ...] = ()) -> FaissContent:
    kind = _read_kind(source)
    if _PARTS.get(kind) in (None, *(_PARTS[outer] for outer in outside)):
        kinds = " around ".join((*outside, kind))
        raise IncompatibleError(f"Faiss index of type {kinds!r}, only PQ with or without OPQ and an id map")
    dim, n_items, _, _, is_trained, metric = source.take(_HEADER)
    if metric not in (0, 1):
        raise IncompatibleError(f"Faiss metric {metric}, only 0 (inner product) and 1 (L2) can be read")
    if kind == "IxPq" and not is_trained:
        raise DataError("the index is not trained: it has no words")
    rotation = _read_rotation(source, dim) if kind == "IxPT" else None
    if kind == "IxPq":
        content = _read_product(source, _METRICS[metric], n_items)
    else:
        content = _read_index(source, (*outside, kind))
    if _PARTS[kind] == "ids":
        content = content._replace(ids=source.vector("<i8", "ids"))
    said = (n_items, n_items, dim, _METRICS[metric])
    held = (len(content.codes), len(content.ids), content.codebooks.dim, content.metric)
    if said != held:
        raise DamagedError(f"{kind!r} says that codes, ids, d and metric are {said}, but they are {held}")
    if rotation is not None:
        content = content._replace(codebooks=_rotated(content.codebooks, rotation))
    return content


def _read_kind(source: _Source) -> str:
    letters: bytes = source.take("<4s")[0]
    if not letters.isalnum():
        raise DataError(f"not a Faiss index: found {letters!r} where its type should stand")
    return letters.decode("ascii")


def _read_product(source: _Source, metric: str, n_items: int) -> FaissContent:
    dim, n_codebooks, word_bits = source.take("<QQQ")
    if dim > MAX_DIM or n_codebooks > MAX_CODEBOOKS or word_bits > 8:
        raise IncompatibleError(
            f"PQ of {dim} dimensions with {n_codebooks} codebooks of {word_bits} bits: "
            f"at most {MAX_DIM}, {MAX_CODEBOOKS} and 8 are supported"
        )
    if 0 in (dim, n_codebooks, word_bits) or dim % n_codebooks:
        raise DamagedError(f"PQ of {dim} dimensions, {n_codebooks} codebooks, {word_bits} bits is impossible")
    words, code_bytes = source.vector("<f4", "words"), (n_codebooks * word_bits + 7) // 8
    held, said = (words.size, source.count("u1", "codes")), (dim << word_bits, n_items * code_bytes)
    if held != said:
        raise DamagedError(f"words and codes have {held} elements, where {said} would fit its sizes")
    codes = np.empty((n_items, n_codebooks), np.uint8)
    for rows in _chunks(codes, 8 * n_codebooks):
        packed = source.array("u1", len(rows) * code_bytes, "codes")
        rows[:] = _unpack(packed.reshape(len(rows), code_bytes), n_codebooks, word_bits)
    search_type, encode_signs, _ = source.take("<i?i")  # The last, a threshold, is for types 4 and 5 alone.
    if search_type or encode_signs:
        raise DataError(
            f"search_type {search_type} (4 and 5: polysemous) and encode_signs {encode_signs}: "
            "only asymmetric distances (0 and False) are supported, set that in Faiss and write it again"
        )
    words = words.reshape(n_codebooks, 1 << word_bits, dim // n_codebooks)
    return FaissContent(Codebooks(words, "product"), metric, np.arange(n_items), codes)


def _read_rotation(source: _Source, dim: int) -> npt.NDArray[np.float32]:
    """The matrix (d, d) that vectors are multiplied by; whether it is orthogonal is still open."""
    (n_transforms,) = source.take("<i")
    if n_transforms != 1:
        raise IncompatibleError(f"a chain of {n_transforms} transforms, only one can be read")
    if (kind := _read_kind(source)) not in ("LTra", "rrot"):
        raise IncompatibleError(f"Faiss transform of type {kind!r}, only rotations (OPQ) can be read")
    (has_bias,) = source.take("<?")
    matrix, bias = source.vector("<f4", "matrix"), source.vector("<f4", "bias")
    if dim < 1 or matrix.size != dim * dim:
        raise IncompatibleError(f"transform of {dim} dimensions by {matrix.size} numbers, not a rotation")
    if has_bias and bias.any():
        raise IncompatibleError("transform with a bias, only rotations (OPQ) can be read")
    if source.take("<ii?") != (dim, dim, True):
        raise DamagedError(f"its transform is not a trained one of {dim} dimensions")
    return matrix.reshape(dim, dim).T


def _rotated(codebooks: Codebooks, rotation: npt.NDArray[np.float32]) -> Codebooks:
    try:
        # No entry of an orthogonal matrix is above 1, and squares of very large ones would overflow.
        if not max(rotation.max(), -rotation.min()) <= 1.001:
            raise DataError("its entries are not all within -1 and 1")
        return Codebooks(codebooks.words, "product", rotation)
    except DataError as error:
        raise IncompatibleError(f"transform that is not a rotation (OPQ): {error}") from None


def _write_index(file: BinaryIO, content: FaissContent) -> None:
    codebooks, metric, ids, codes = content
    dim, n_codebooks, n_words = codebooks.dim, codebooks.n_codebooks, codebooks.n_words
    word_bits = max(1, (n_words - 1).bit_length())
    header = struct.pack(_HEADER, dim, len(ids), 1 << 20, 1 << 20, True, _METRICS.index(metric))
    file.write(b"IxM2" + header)
    if codebooks.rotation is not None:
        file.write(b"IxPT" + header + struct.pack("<i4s?", 1, b"LTra", False))
        _write_vector(file, codebooks.rotation.T, "<f4")
        file.write(struct.pack("<Qii?", 0, dim, dim, True))
    file.write(b"IxPq" + header + struct.pack("<QQQ", dim, n_codebooks, word_bits))
    padding = ((0, 0), (0, (1 << word_bits) - n_words), (0, 0))
    _write_vector(file, np.pad(codebooks.words, padding, "edge"), "<f4")
    file.write(struct.pack("<Q", len(codes) * ((n_codebooks * word_bits + 7) // 8)))
    for rows in _chunks(codes, 8 * n_codebooks):
        file.write(np.ascontiguousarray(_pack(rows, word_bits)).data)
    file.write(struct.pack("<i?i", 0, False, 0))
    _write_vector(file, ids, "<i8")


def _write_vector(file: BinaryIO, array: npt.NDArray[Any], dtype: str) -> None:
    file.write(struct.pack("<Q", array.size))
    for rows in _chunks(array, array[:1].nbytes):
        file.write(np.ascontiguousarray(rows, dtype).data)


def _chunks(array: npt.NDArray[Any], row_bytes: int) -> Iterator[npt.NDArray[Any]]:
    """Views of some rows each, so few that work on one needs little memory."""
    step = max(1, _CHUNK_BYTES // max(1, row_bytes))
    for start in range(0, len(array), step):
        yield array[start : start + step]


def _pack(codes: Uint8Array, word_bits: int) -> Uint8Array:
    if word_bits == 8:
        return codes
    bits = np.unpackbits(codes[:, :, np.newaxis], axis=2, count=word_bits, bitorder="little")
    return np.packbits(bits.reshape(len(codes), -1), axis=1, bitorder="little")


def _unpack(packed: Uint8Array, n_codebooks: int, word_bits: int) -> Uint8Array:
    if word_bits == 8:
        return packed
    bits = np.unpackbits(packed, axis=1, count=n_codebooks * word_bits, bitorder="little")
    return np.packbits(bits.reshape(len(packed), n_codebooks, word_bits), axis=2, bitorder="little")[:, :, 0]


def _check_items(codebooks: Codebooks, metric: str, ids: IdArray, codes: Uint8Array) -> None:
    if metric not in _METRICS:
        raise UsageError(f'metric must be "l2" or "ip", got {metric!r}')
    if codebooks.kind != "product" or codebooks.dual is not None or ids.dtype.kind in "OSU":
        what = "str ids" if codebooks.kind == "product" else f"{codebooks.kind} codes"
        if codebooks.dual is not None:  # Faiss has one transform for vectors and queries.
            what = "codebooks learned for queries"
        raise UsageError(
            f"{what} have no place in a Faiss file: numpy.save Index.codes to .npy, and Index.ids beside it"
        )
    expected = f"ids int64 {(ids.size,)} and codes uint8 {(ids.size, codebooks.n_codebooks)}"
    got = f"ids {ids.dtype} {ids.shape} and codes {codes.dtype} {codes.shape}"
    if got != expected:
        raise DataError(f"expected {expected}, got {got}")
    if codes.size and codes.max() >= codebooks.n_words:
        raise DataError(f"codes name word {codes.max()}, but each codebook has {codebooks.n_words} words")
    _check_unique(ids)


def _check_unique(ids: Int64Array) -> None:
    ordered = np.sort(ids)
    repeated = ordered[1:][ordered[1:] == ordered[:-1]]
    if len(repeated):
        raise DataError(f"duplicate id {repeated[0]}")
