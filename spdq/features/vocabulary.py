"""The columns of one block of text features: terms and their inverse document frequencies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.preprocessing import normalize

from spdq.errors import DataError


@dataclass(frozen=True)
class Vocabulary:
    """``terms`` in column order and ``idf`` (n_terms,) float32; ``analyse`` takes a line apart into terms."""

    terms: tuple[str, ...]
    idf: np.ndarray
    analyse: Callable[[str], set[str]]

    @classmethod
    def count(cls, texts: Sequence[str], analyse: Callable[[str], set[str]], min_texts: int) -> Vocabulary:
        """Terms that stand in at least ``min_texts`` texts, sorted, with idf = ln((1 + n) / (1 + df)) + 1.

        This is scikit-learn's smooth idf; a term counts once in a text, however many lines have it.
        """
        counts = Counter(term for text in texts for term in set().union(*map(analyse, text.splitlines())))
        terms = tuple(sorted(term for term, count in counts.items() if count >= min_texts))
        df = np.array([counts[term] for term in terms], np.float64)
        return cls(terms, (np.log((1 + len(texts)) / (1 + df)) + 1).astype(np.float32), analyse)

    @classmethod
    def unweighted(cls, terms: Iterable[str], analyse: Callable[[str], set[str]], where: str) -> Vocabulary:
        """Given columns, each of idf 1. Raises DataError, naming ``where``, for a bad term."""
        terms = _checked(tuple(terms), where)
        return cls(terms, np.ones(len(terms), np.float32), analyse)

    @classmethod
    def from_json(cls, terms: Any, idf: Any, analyse: Callable[[str], set[str]], where: str) -> Vocabulary:
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
        return cls(_checked(tuple(terms), where), np.array(idf, np.float32), analyse)

    @cached_property
    def known(self) -> frozenset[str]:
        return frozenset(self.terms)

    @cached_property
    def _counter(self) -> CountVectorizer:
        return CountVectorizer(analyzer=self.analyse, vocabulary=self.terms, binary=True, dtype=np.float32)

    def rows(self, lines: Sequence[str], weighting: str) -> sparse.csr_matrix:
        """(n_lines, n_terms) float32: a line's terms are 1 ("binary"), or idf at row length 1 ("tfidf")."""
        if not self.terms or not lines:
            return sparse.csr_matrix((len(lines), len(self.terms)), dtype=np.float32)
        rows = sparse.csr_matrix(self._counter.transform(lines))
        if weighting == "tfidf":
            rows.data *= self.idf[rows.indices]
            normalize(rows, copy=False)
        return rows


def _checked(terms: tuple[str, ...], where: str) -> tuple[str, ...]:
    seen: set[str] = set()
    for column, term in enumerate(terms):
        if not term:
            raise DataError(f"{where}: entry {column} is empty")
        if term in seen:
            raise DataError(f"{where}: {term!r} comes twice (after normalising), at entry {column} again")
        seen.add(term)
    return terms
