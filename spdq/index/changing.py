"""Putting items into an index, as vectors or as codes: what all indexes that can be written have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy.typing as npt

from spdq.errors import UsageError
from spdq.index.ids import IdArray, Uint8Array
from spdq.index.inputs import accept_codes
from spdq.index.searching import Searching

Attributes = Mapping[str, Sequence[Any]]


class Changing(Searching):
    """An index to which items can be added."""

    def add(
        self, vectors: npt.ArrayLike, ids: npt.ArrayLike | None = None, attributes: Attributes | None = None
    ) -> None:
        """Encode vectors (n, D) float32 and add them under ``ids`` (n,): all of them or, on any error, none.

        Without ``ids`` an index of int ids continues after the largest it ever had. ``attributes`` has n values for a
        name; None is "not known". On disk the items are safe against a crash once this returns.

        Raises DataError for bad vectors, ids (a repeated one is named) or attributes, UsageError on a read-only
        index, StorageError when the storage refuses: the index is then unchanged and must be opened anew to go on
        (``reopen``).
        """
        self._check_writable()
        codes, measured = self._encoded(vectors)
        self._change(codes, ids, attributes, measured, None)

    def add_codes(
        self, codes: npt.ArrayLike, ids: npt.ArrayLike | None = None, attributes: Attributes | None = None
    ) -> None:
        """Add codes (n, M), integers below ``n_words``, that these codebooks encoded; else as ``add``."""
        self._check_writable()
        self._change(accept_codes(codes, self._codebooks), ids, attributes, (0.0, 0), None)

    def update(
        self,
        vectors: npt.ArrayLike,
        ids: npt.ArrayLike,
        attributes: Attributes | None = None,
        missing: str = "raise",
    ) -> None:
        """Replace items, attributes among them, in one step; with ``missing="add"`` also add those that are new.

        Else as ``add``. Raises DataError for an id that is not there.
        """
        self._check_writable()
        codes, measured = self._encoded(vectors)
        self._change(codes, ids, attributes, measured, one_of(missing, ("raise", "add")))

    def update_codes(
        self,
        codes: npt.ArrayLike,
        ids: npt.ArrayLike,
        attributes: Attributes | None = None,
        missing: str = "raise",
    ) -> None:
        """``update`` with codes (n, M) in place of vectors."""
        self._check_writable()
        accepted = accept_codes(codes, self._codebooks)
        self._change(accepted, ids, attributes, (0.0, 0), one_of(missing, ("raise", "add")))

    @abstractmethod
    def _change(
        self,
        codes: Uint8Array,
        ids: npt.ArrayLike | None,
        attributes: Attributes | None,
        measured: tuple[float, int],
        missing: str | None,
    ) -> None:
        """Add items, replacing those that are there unless ``missing`` is None."""

    @abstractmethod
    def _check_writable(self) -> None:
        """Raise UsageError where nothing may be changed, StorageError after a failure."""

    def _encoded(self, vectors: npt.ArrayLike) -> tuple[Uint8Array, tuple[float, int]]:
        """Codes of vectors, and the squared quantization error of some of them: its sum and their number."""
        return self._codebooks.encode(vectors), self._codebooks.measured_error(vectors)


def repeated_id(ids: IdArray) -> Any:
    """The first of ascending ids (n,) that is there twice, None where there is none."""
    repeated = ids[1:][ids[1:] == ids[:-1]]
    return repeated[0] if len(repeated) else None


def one_of(value: str, choices: tuple[str, ...]) -> str:
    """One of two ways to treat what is missing. Raises UsageError."""
    if value not in choices:
        raise UsageError(f"missing must be {' or '.join(choices)}, got {value!r}")
    return value
