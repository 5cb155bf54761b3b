"""The columns of one block of text features: terms and their inverse document frequencies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.utils.sparsefuncs_fast import inplace_csr_row_normalize_l2

from spdq.errors import DataError
from spdq.features.buckets import Buckets, bucket_of

COUNTED = 8
"""How many times the terms that get a column are counted at once, where their number is limited."""


@dataclass(frozen=True)
class Vocabulary:
    """``terms`` in column order and ``idf`` (n_terms,) float32; ``analyse`` takes a line apart into terms.

    Terms that are none of these may share the columns of ``buckets``, which follow.
    """

    terms: tuple[str, ...]
    idf: np.ndarray
    analyse: Callable[[str], set[str]]
    buckets: Buckets | None = None

    @classmethod
    def count(
        cls,
        texts: Sequence[str],
        analyse: Callable[[str], set[str]],
        min_texts: int,
        max_terms: int | None = None,
        n_buckets: int = 0,
        seed: int = 0,
    ) -> Vocabulary:
        """Terms that stand in at least ``min_texts`` texts, sorted, with idf = ln((1 + n) / (1 + df)) + 1.

        This is scikit-learn's smooth idf; a term counts once in a text, however many lines have it. Of more than
        ``max_terms`` terms the most frequent ones are kept, the first by the alphabet among equals; then the counts are
        exact as long as the texts have at most eight times as many terms, beyond that the rarest so far are forgotten
        from time to time. What is left out shares ``n_buckets`` buckets.
        """
        counts: Counter[str] = Counter()
        buckets_used = np.zeros(n_buckets, bool)

        def forget(kept: set[str]) -> None:
            for term in [term for term in counts if term not in kept]:
                del counts[term]
                if n_buckets:
                    buckets_used[bucket_of(term, n_buckets, seed)] = True

        for text in texts:
            counts.update(set().union(*map(analyse, text.splitlines())))
            if max_terms is not None and len(counts) > COUNTED * max_terms:
                forget(_most_frequent(counts, COUNTED * max_terms // 2))
        frequent = {term for term, count in counts.items() if count >= min_texts}
        if max_terms is not None and len(frequent) > max_terms:
            frequent &= _most_frequent(counts, max_terms)
        forget(frequent)
        terms = tuple(sorted(frequent))
        df = np.array([counts[term] for term in terms], np.float64)
        buckets = None
        if buckets_used.any():
            used = tuple(np.flatnonzero(buckets_used).tolist())
            buckets = Buckets(n_buckets, seed, float(np.log((1 + len(texts)) / 2) + 1), used)
        return cls(terms, (np.log((1 + len(texts)) / (1 + df)) + 1).astype(np.float32), analyse, buckets)

    @classmethod
    def unweighted(cls, terms: Iterable[str], analyse: Callable[[str], set[str]], where: str) -> Vocabulary:
        """Given columns, each of idf 1. Raises DataError, naming ``where``, for a bad term."""
        terms = _checked(tuple(terms), where)
        return cls(terms, np.ones(len(terms), np.float32), analyse)

    @classmethod
    def from_json(
        cls,
        terms: Any,
        idf: Any,
        analyse: Callable[[str], set[str]],
        where: str,
        buckets: Buckets | None = None,
    ) -> Vocabulary:
        """Stored columns. Raises DataError, naming ``where``, but for unique strings and their idf."""
        if not isinstance(terms, list) or not all(isinstance(term, str) for term in terms):
            raise DataError(f"{where}: expected a list of strings")
        if not isinstance(idf, list) or not all(type(value) in (int, float) for value in idf):
            raise DataError(f"{where}: expected the idf as a list of numbers")
        if len(idf) != len(terms):
            raise DataError(f"{where}: {len(terms)} terms but {len(idf)} idf values")
        # A float32 idf is at most ln(2^63) + 1; the bound also keeps the conversion from overflowing.
        for value in idf:
            if not 0 < value < 100:
                raise DataError(f"{where}: idf must be above 0 and below 100, got {value!r}")
        return cls(_checked(tuple(terms), where), np.array(idf, np.float32), analyse, buckets)

    @property
    def width(self) -> int:
        """Number of columns."""
        return len(self.terms) + (len(self.buckets.used) if self.buckets else 0)

    def column(self, term: str) -> int | None:
        """The column of a term, None where it has none."""
        column = self._columns.get(term)
        if column is None and self.buckets is not None:
            place = self.buckets.column(term)
            return None if place is None else len(self.terms) + place
        return column

    def rows(self, lines: Sequence[str], weighting: str) -> sparse.csr_matrix:
        """(n_lines, width) float32: a line's terms are 1 ("binary"), or idf at row length 1 ("tfidf")."""
        columns = [
            sorted({column for term in self.analyse(line) if (column := self.column(term)) is not None})
            for line in lines
        ]
        starts = np.cumsum([0, *map(len, columns)])
        indices = np.fromiter((column for line in columns for column in line), np.int32, starts[-1])
        rows = sparse.csr_matrix(
            (np.ones(len(indices), np.float32), indices, starts), shape=(len(lines), self.width)
        )
        if weighting == "tfidf" and len(indices):
            rows.data *= self._weights[rows.indices]
            inplace_csr_row_normalize_l2(rows)
        return rows

    @cached_property
    def _columns(self) -> dict[str, int]:
        return {term: column for column, term in enumerate(self.terms)}

    @cached_property
    def _weights(self) -> np.ndarray:
        if self.buckets is None:
            return self.idf
        return np.append(self.idf, np.full(len(self.buckets.used), self.buckets.idf, np.float32))


def _most_frequent(counts: Counter[str], n: int) -> set[str]:
    """The n most frequent terms, the first by the alphabet among equals."""
    return set(sorted(counts, key=lambda term: (-counts[term], term))[:n])


def _checked(terms: tuple[str, ...], where: str) -> tuple[str, ...]:
    seen: set[str] = set()
    for column, term in enumerate(terms):
        if not term:
            raise DataError(f"{where}: entry {column} is empty")
        if term in seen:
            raise DataError(f"{where}: {term!r} comes twice (after normalising), at entry {column} again")
        seen.add(term)
    return terms
