"""Things to encode, as they come from a data set, a folder or lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix


@dataclass(frozen=True, eq=False)
class Items:
    """n texts, n pictures, or n units of both.

    Of a unit one part may be missing: an empty text, None for a picture, a row of zeros for either's features.

    Parameters
    ----------
    ids : (n,) int64 or str.
    texts : n raw texts, or their features (n, d), dense or CSR.
    images : paths of n pictures, or their features (n, d).
    """

    ids: NDArray[Any]
    texts: Sequence[str] | NDArray[Any] | csr_matrix | None
    images: Sequence[Path | None] | NDArray[Any] | None

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, rows: slice) -> Items:
        texts, images = self.texts, self.images
        return Items(
            self.ids[rows], None if texts is None else texts[rows], None if images is None else images[rows]
        )
