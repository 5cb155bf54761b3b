"""Codebooks: the frozen product of a quantizer, all that encoding, decoding and search need."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

import spdq_kernels
from spdq.errors import DamagedError, DataError, UsageError

Floats = NDArray[np.float32]

MAX_CODEBOOKS = 256
MAX_WORDS = 256
MAX_ADDITIVE_WORDS = spdq_kernels.MAX_ADDITIVE_WORDS
MAX_ALONG = spdq_kernels.MAX_ALONG
MAX_DIM = 8192
MEASURED = 1000
"""Vectors of which the quantization error is measured at most."""
MAX_ABSOLUTE = 1e6
"""Largest absolute value a vector may hold: beyond it squared distances lose all precision in float32."""


@dataclass(frozen=True, eq=False)
class Codebooks:
    """The words of a quantizer.

    A product code names one word of D/M dimensions for each part of the (rotated) vector, an additive code M
    words of D dimensions whose sum stands for it.

    Parameters
    ----------
    words : (M, K, D/M) float32 if kind is "product", (M, K, D) if "additive"; finite, M and K at most 256,
        and M * K at most 8192 if "additive"
    kind : "product" or "additive"
    rotation : None or (D, D) float32, orthogonal: vectors and queries are multiplied by it (``v @ rotation``) before
        they are encoded or compared, and by its transpose after they are decoded
    training_error : None or the mean squared error of the vectors the words were learned from; not a part of the
        fingerprint
    along : how many times the error along a vector counts when it is encoded, 1 to 1e6; 1 for "product". Above 1,
        inner products with queries close to the vector are kept better (Guo et al., ICML 2020, equation 4); it says
        how codes are chosen, not what they stand for, and is no part of the fingerprint
    dual : None or (D, D) float32 with ``rotation @ dual.T`` the identity: then the rotation need not be orthogonal,
        queries are multiplied by the dual, and decoded vectors by its transpose. That keeps inner products and no
        distances (``Quantizer.fit`` with queries makes it)

    Raises
    ------
    DataError
        An array has another shape, is not finite, the rotation is not orthogonal and has no dual, ``along`` is out of
        range or given to product codebooks, or the error no number.
    """

    words: Floats
    kind: Literal["product", "additive"]
    rotation: Floats | None = None
    training_error: float | None = None
    along: float = 1.0
    dual: Floats | None = None

    def __post_init__(self) -> None:
        if self.kind not in ("product", "additive"):
            raise DataError(f'kind of codebooks must be "product" or "additive", not {self.kind!r}')
        words = _frozen(self.words, "words")
        shape = words.shape
        if words.ndim != 3 or 0 in shape or shape[0] > MAX_CODEBOOKS or shape[1] > MAX_WORDS:
            raise DataError(f"words must be (M, K, d) with M and K in 1..256 and d >= 1, not {shape}")
        object.__setattr__(self, "words", words)
        if self.dim > MAX_DIM:
            raise DataError(f"codebooks of {self.dim} dimensions: at most {MAX_DIM} are possible")
        if self.kind == "additive" and shape[0] * shape[1] > MAX_ADDITIVE_WORDS:
            raise DataError(f"additive codebooks have at most {MAX_ADDITIVE_WORDS} words in all, not {shape}")
        self._check_rotation()
        if not 1 <= self.along <= (MAX_ALONG if self.kind == "additive" else 1):
            raise DataError(
                f"along must be 1 for product codebooks and from 1 to {MAX_ALONG:g} for additive ones, "
                f"not {self.along!r}"
            )
        if self.training_error is not None:
            object.__setattr__(self, "training_error", _checked_error(self.training_error))

    def _check_rotation(self) -> None:
        for name in ("rotation", "dual"):
            if (given := getattr(self, name)) is not None:
                matrix = _frozen(given, name)
                if matrix.shape != (self.dim, self.dim):
                    raise DataError(f"{name} must be {(self.dim, self.dim)}, not {matrix.shape}")
                object.__setattr__(self, name, matrix)
        if self.rotation is None:
            if self.dual is not None:
                raise DataError("dual of codebooks without a rotation")
            return
        with np.errstate(over="ignore", invalid="ignore"):
            product = self.rotation @ self._query_rotation.T
        if not np.abs(product - np.eye(self.dim)).max() <= 1e-3:
            if self.dual is None:
                raise DataError("rotation must be orthogonal: rotation @ rotation.T is not the identity")
            raise DataError("dual must be that of the rotation: rotation @ dual.T is not the identity")

    @property
    def n_codebooks(self) -> int:
        """M, the number of codebooks, which is also the number of bytes of a code."""
        return int(self.words.shape[0])

    @property
    def n_words(self) -> int:
        """K, the number of words in each codebook."""
        return int(self.words.shape[1])

    @property
    def dim(self) -> int:
        """D, the number of dimensions of a vector."""
        parts = self.n_codebooks if self.kind == "product" else 1
        return int(self.words.shape[2]) * parts

    @property
    def bits(self) -> int:
        """Code length in bits: M * ceil(log2 K)."""
        return self.n_codebooks * (self.n_words - 1).bit_length()

    @property
    def code_bytes(self) -> int:
        """Bytes that a code takes: one for each codebook."""
        return self.n_codebooks

    @cached_property
    def fingerprint(self) -> str:
        """Hexadecimal SHA-256 over the kind and, of each array, its name, shape and bytes."""
        digest = hashlib.sha256(self.kind.encode())
        for name, array in self.tensors().items():
            digest.update(f"|{name}{array.shape}".encode())
            digest.update(array.astype("<f4", copy=False).tobytes())
        return digest.hexdigest()

    def encode(self, vectors: ArrayLike) -> NDArray[np.uint8]:
        """Return codes (n, M) uint8 of vectors (n, D) float.

        Product: the nearest word of each part. Additive: beam search and ICM (SPDQ equation 23). The first
        additive call computes the inner products of all words and keeps them (16 MiB at 8 x 256 words, 64 MiB
        at 16 x 256).

        Raises
        ------
        DataError
            Wrong width, not finite, or an absolute value above 1e6.
        """
        rotated = _turned(self._checked(vectors, "vectors"), self.rotation)
        words = self._kernel_words
        if self.kind == "product":
            return spdq_kernels.encode_product(rotated, words)
        return spdq_kernels.encode_additive(rotated, words, along=self.along, products=self._word_products)

    def decode(self, codes: ArrayLike) -> Floats:
        """Return the vectors (n, D) float32 that codes (n, M) uint8 stand for.

        Raises
        ------
        DataError
            Another type or shape, or a byte that names no word.
        """
        codes = self._checked_codes(codes)
        if self.kind == "product":
            decoded = self.words[np.arange(self.n_codebooks), codes].reshape(len(codes), self.dim)
        else:
            decoded = np.zeros((len(codes), self.dim), np.float32)
            for m in range(self.n_codebooks):
                decoded += self.words[m, codes[:, m]]
        return _turned(decoded, self._query_rotation, back=True)

    def lookup_tables(self, queries: ArrayLike, metric: str = "ip") -> Floats:
        """Return the distances (nq, M, 256) float32 of queries (nq, D) float to all words; smaller is closer.

        The sum of a code's entries is the squared distance ("l2", product codes only) or the negated inner
        product ("ip", SPDQ equation 10) between query and decoded vector. A query's tables do not depend on
        the others.

        Raises
        ------
        DataError
            Queries of a wrong width, not finite, or above 1e6.
        UsageError
            An unknown metric, or "l2" for additive codes or with a dual.
        """
        if metric == "l2" and self.dual is not None:
            raise UsageError(
                'codebooks learned for queries keep inner products: metric must be "ip", not "l2"'
            )
        rotated = _turned(self._checked(queries, "queries"), self._query_rotation)
        tables = spdq_kernels.product_tables if self.kind == "product" else spdq_kernels.additive_tables
        try:
            return tables(rotated, self._kernel_words, metric)
        except ValueError as error:
            raise UsageError(str(error)) from error

    def measured_error(self, vectors: ArrayLike) -> tuple[float, int]:
        """Return the sum of the squared quantization errors of vectors (n, D), and of how many it is.

        Of more than 1,000 it takes at most 1,000, which lie evenly apart. Raises DataError as ``encode``.
        """
        checked = self._checked(vectors, "vectors")
        some = checked[:: -(-len(checked) // MEASURED) or 1]
        differences = some - self.decode(self.encode(some))
        return float(np.einsum("ij,ij->", differences, differences, dtype=np.float64)), len(some)

    def tensors(self) -> dict[str, Floats]:
        """Return the arrays by name, to be stored beside ``metadata()``."""
        arrays = {"words": self.words}
        if self.rotation is not None:
            arrays["rotation"] = self.rotation
        if self.dual is not None:
            arrays["dual"] = self.dual
        return arrays

    def metadata(self) -> dict[str, str]:
        """Return what must be stored beside the tensors."""
        stored = {"kind": self.kind, "fingerprint": self.fingerprint}
        if self.along != 1:
            stored["along"] = repr(self.along)
        if self.training_error is not None:
            stored["training_error"] = repr(self.training_error)
        return stored

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, NDArray[Any]], metadata: Mapping[str, str]) -> Codebooks:
        """Return the codebooks that ``tensors()`` and ``metadata()`` describe; other metadata is passed over.

        Raises
        ------
        DataError
            Something is missing, unknown or not float32, or no valid codebooks.
        DamagedError
            The arrays do not match the fingerprint.
        """
        unknown = sorted(set(tensors) - {"words", "rotation", "dual"})
        missing = [name for name in ("kind", "fingerprint") if name not in metadata]
        if "words" not in tensors or unknown or missing:
            raise DataError(
                'codebooks need the tensor "words", optionally "rotation" and "dual", and the metadata "kind" and '
                f'"fingerprint": found tensors {sorted(tensors)} and metadata {sorted(metadata)}'
            )
        for name, array in tensors.items():
            if array.dtype != np.float32:
                raise DataError(f"tensor {name!r} of codebooks must be float32, not {array.dtype}")
        kind = cast(Literal["product", "additive"], metadata["kind"])
        error, along = _stored_error(metadata), _stored_along(metadata)
        codebooks = cls(tensors["words"], kind, tensors.get("rotation"), error, along, tensors.get("dual"))
        if codebooks.fingerprint != metadata["fingerprint"]:
            raise DamagedError(
                f"codebooks are damaged: their fingerprint is {codebooks.fingerprint}, "
                f"expected {metadata['fingerprint']}"
            )
        return codebooks

    @cached_property
    def _kernel_words(self) -> Floats:
        """The words, stored column by column so that the kernels need not copy them for every call."""
        return np.ascontiguousarray(self.words.transpose(0, 2, 1)).transpose(0, 2, 1)

    @cached_property
    def _word_products(self) -> spdq_kernels.WordProducts:
        return spdq_kernels.word_products(self.words)

    @property
    def _query_rotation(self) -> Any:
        """What queries are multiplied by: an orthogonal matrix is its own dual."""
        return self.rotation if self.dual is None else self.dual

    def _checked(self, vectors: ArrayLike, name: str) -> Floats:
        checked = checked_vectors(vectors, name)
        if checked.shape[1] != self.dim:
            raise DataError(
                f"{name} must have {self.dim} columns to match the codebooks, not {checked.shape[1]}"
            )
        return checked

    def _checked_codes(self, codes: ArrayLike) -> NDArray[np.uint8]:
        array = np.asarray(codes)
        if array.dtype != np.uint8 or array.ndim != 2 or array.shape[1] != self.n_codebooks:
            raise DataError(
                f"codes must be (n, {self.n_codebooks}) uint8, not {array.dtype} of shape {array.shape}"
            )
        if array.size and array.max() >= self.n_words:
            raise DataError(f"codes name word {array.max()}, but each codebook has {self.n_words} words")
        return array


def _turned(vectors: Floats, matrix: Floats | None, back: bool = False) -> Floats:
    if matrix is None:
        return vectors
    return spdq_kernels.project(vectors, np.ascontiguousarray(matrix.T) if back else matrix)


def checked_vectors(vectors: ArrayLike, name: str = "vectors") -> Floats:
    """Return vectors (n, D) as C-contiguous float32; DataError unless all are finite and at most 1e6."""
    try:
        array = np.asarray(vectors)
        with np.errstate(over="ignore"):
            checked = np.ascontiguousarray(array.real, np.float32)
    except (TypeError, ValueError) as error:
        raise DataError(f"{name} must be an array of numbers: {error}") from error
    if array.ndim != 2 or np.iscomplexobj(array):
        raise DataError(f"{name} must be real numbers (n, D), not {array.dtype} of shape {array.shape}")
    if checked.size and not max(checked.max(), -checked.min()) <= MAX_ABSOLUTE:
        row = int(np.flatnonzero(~(np.abs(checked) <= MAX_ABSOLUTE).all(axis=1))[0])
        raise DataError(f"{name} must be finite and at most {MAX_ABSOLUTE:g} in size: row {row} is not")
    return checked


def _stored_along(metadata: Mapping[str, str]) -> float:
    try:
        return float(metadata.get("along", 1))
    except ValueError as error:
        raise DataError(f"along of codebooks must be a number, not {metadata['along']!r}") from error


def _stored_error(metadata: Mapping[str, str]) -> float | None:
    return _checked_error(metadata["training_error"]) if "training_error" in metadata else None


def _checked_error(value: Any) -> float:
    """A training error as float. Raises DataError."""
    try:
        error = float(value)
    except (TypeError, ValueError):
        error = math.nan
    if not (math.isfinite(error) and error >= 0):
        raise DataError(f"training error of codebooks must be a number of at least 0, not {value!r}")
    return error


def _frozen(array: NDArray[Any], name: str) -> Floats:
    copy = np.array(array, np.float32, order="C")
    if not np.isfinite(copy).all():
        raise DataError(f"{name} of codebooks must be finite")
    copy.flags.writeable = False
    return copy
