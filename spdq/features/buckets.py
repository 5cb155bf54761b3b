"""Columns that rare terms share: which one a term goes to is its hash, so none of the terms has to be kept."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import xxhash

from spdq.errors import DataError

MAX_BUCKETS = 1 << 24
_KEYS = {"count", "seed", "idf", "used"}


@dataclass(frozen=True)
class Buckets:
    """``count`` buckets by XXH3-64 of a term under ``seed``; only those in ``used``, ascending, have a column.

    A bucket that no training term went to would say of a term that it is known, and nothing else. ``idf`` is that of
    all of them: of a term in one text.
    """

    count: int
    seed: int
    idf: float
    used: tuple[int, ...]

    @classmethod
    def from_json(cls, stored: Any, where: str) -> Buckets:
        """Stored buckets. Raises DataError, naming ``where``, for whatever ``to_json`` never gives."""
        if not isinstance(stored, dict) or set(stored) != _KEYS:
            raise DataError(f"{where}: expected an object with {', '.join(sorted(_KEYS))}")
        count, seed, idf, used = (stored[key] for key in ("count", "seed", "idf", "used"))
        if type(count) is not int or not 1 <= count <= MAX_BUCKETS:
            raise DataError(f"{where}: count must be 1 to {MAX_BUCKETS:,}, got {count!r}")
        if type(seed) is not int or not 0 <= seed < 1 << 64:
            raise DataError(f"{where}: seed must be a whole number from 0 to 2^64 - 1, got {seed!r}")
        if type(idf) not in (int, float) or not 0 < idf < 100:
            raise DataError(f"{where}: idf must be above 0 and below 100, got {idf!r}")
        if not isinstance(used, list) or not used or any(type(bucket) is not int for bucket in used):
            raise DataError(f"{where}: used must be a list of whole numbers, at least one")
        if used[0] < 0 or used[-1] >= count or any(a >= b for a, b in pairwise(used)):
            raise DataError(f"{where}: used must ascend from 0 to {count - 1}, each bucket once")
        return cls(count, seed, float(idf), tuple(used))

    def to_json(self) -> dict[str, Any]:
        return {"count": self.count, "seed": self.seed, "idf": self.idf, "used": list(self.used)}

    def column(self, term: str) -> int | None:
        """The place of a term's bucket in ``used``, None where no training term went there."""
        return self._places.get(bucket_of(term, self.count, self.seed))

    @cached_property
    def _places(self) -> dict[int, int]:
        return {bucket: place for place, bucket in enumerate(self.used)}


def bucket_of(term: str, count: int, seed: int) -> int:
    """The bucket, 0 to ``count`` - 1, of a term; half a surrogate pair is hashed as it is."""
    return xxhash.xxh3_64_intdigest(term.encode("utf-8", "surrogatepass"), seed) % count
