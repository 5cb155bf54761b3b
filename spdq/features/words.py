"""Raw texts as sparse rows over a stored vocabulary of words and letter n-grams."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.utils.sparsefuncs_fast import inplace_csr_row_normalize_l2

from spdq.errors import DataError, IncompatibleError, UnknownWordsError, UsageError
from spdq.features.buckets import MAX_BUCKETS, Buckets
from spdq.features.text_checks import check_query_text, check_texts
from spdq.features.tokens import letter_grams, normalise, words
from spdq.features.vocabulary import Vocabulary

FORMAT_VERSION = 1
WEIGHTINGS = ("binary", "tfidf")
LETTERS_WEIGHT = 0.5
_KEYS = {"format_version", "weighting", "whole_tokens", "letters", "words", "word_idf", "grams", "gram_idf"}
_OPTIONAL_KEYS = {"buckets"}
_STORED = "stored vocabulary"


class WordExtractor:
    """Frozen text features: a text -> one float32 row over a vocabulary of words and letter n-grams.

    A text of several lines is several descriptions of one thing. With "tfidf" a line's words weigh idf each,
    its letter n-grams too; either block has length 1, the n-grams' is then halved, and a text's row is the
    sum over its lines, of length 1. With "binary" a word of the text is 1 and an n-gram 0.5. A text without a
    known term is a row of zeros. Make one with ``fit``, ``from_vocabulary`` or ``from_json``;
    ``spdq.features.tokens`` says what a word is.
    """

    name = "tfidf"

    def __init__(
        self,
        word_columns: Vocabulary,
        gram_columns: Vocabulary | None,
        weighting: str,
        letters: tuple[int, int] | None,
        whole_tokens: bool,
    ) -> None:
        self._words = word_columns
        self._grams = gram_columns
        self.weighting = weighting
        self.letters = letters
        self.whole_tokens = whole_tokens

    @classmethod
    def fit(
        cls,
        texts: Sequence[str],
        weighting: str = "tfidf",
        letters: tuple[int, int] | None = (2, 4),
        min_word_texts: int = 1,
        min_gram_texts: int = 2,
        max_words: int | None = None,
        max_grams: int | None = None,
        buckets: int = 0,
        seed: int = 0,
    ) -> WordExtractor:
        """Take the vocabulary and the idf (documents are texts, not lines) from training texts.

        ``letters`` are the shortest and longest letter n-grams, or None for words only; words in fewer than
        ``min_word_texts`` texts and n-grams in fewer than ``min_gram_texts`` are left out, and so is what is
        beyond the ``max_words`` or ``max_grams`` most frequent ones. Words that are left out share ``buckets``
        hashed columns, by a hash under ``seed``. Columns are sorted. With both limits the memory has a bound,
        too: about nine times the limits in terms.

        Raises UsageError for bad settings, DataError for texts that are no strings or have no word.
        """
        _check_settings(weighting, letters)
        check_texts(texts)
        for name, least in (("min_word_texts", min_word_texts), ("min_gram_texts", min_gram_texts)):
            if least < 1:
                raise UsageError(f"{name} must be 1 or more, got {least}")
        for name, most in (("max_words", max_words), ("max_grams", max_grams)):
            if most is not None and most < 1:
                raise UsageError(f"{name} must be 1 or more, or None, got {most}")
        if not 0 <= buckets <= MAX_BUCKETS or not 0 <= seed < 1 << 64:
            raise UsageError(
                f"buckets must be 0 to {MAX_BUCKETS:,} and seed below 2^64, got {buckets}, {seed}"
            )
        word_columns = Vocabulary.count(texts, _word_set, min_word_texts, max_words, buckets, seed)
        if not word_columns.terms:
            raise DataError(
                f"none of the {len(texts)} texts has a word that stands in {min_word_texts} or more of them"
            )
        gram_columns = None
        if letters is not None:
            gram_columns = Vocabulary.count(texts, partial(_gram_set, letters), min_gram_texts, max_grams)
        return cls(word_columns, gram_columns, weighting, letters, whole_tokens=False)

    @classmethod
    def from_vocabulary(cls, vocabulary: Sequence[str], weighting: str = "binary") -> WordExtractor:
        """Columns that a data set brings, in its order: a text's row is 1 where it has the word.

        An entry matches a word of the text or a whole token between blanks ("black&white"), both normalised.

        Raises DataError for an empty vocabulary or an entry that is empty, has blanks or comes twice, and
        UsageError for "tfidf", whose idf needs texts.
        """
        if weighting != "binary":
            raise UsageError(
                f'from_vocabulary weighs "binary" only, got {weighting!r}: "tfidf" needs texts, use fit'
            )
        check_texts(vocabulary)
        columns = Vocabulary.unweighted(map(normalise, vocabulary), _token_set, "vocabulary")
        if not columns.terms:
            raise DataError("vocabulary is empty: give at least one word")
        for term in columns.terms:
            if len(term.split()) != 1:
                raise DataError(
                    f"vocabulary: entry {term!r} must be one word without blanks: no text can match it"
                )
        return cls(columns, None, weighting, None, whole_tokens=True)

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """The words, normalised, in column order; the columns of the buckets, then of the n-grams, follow them."""
        return self._words.terms

    @property
    def dim(self) -> int:
        return self._words.width + (self._grams.width if self._grams else 0)

    def transform(self, texts: Sequence[str]) -> sparse.csr_matrix:
        """Rows of n texts, CSR (n, dim) float32; a text's row does not depend on the texts beside it.

        Raises DataError where a text is no string.
        """
        check_texts(texts)
        lines_of = [text.splitlines() for text in texts]
        rows = self._line_rows([line for of_text in lines_of for line in of_text])
        counts = [*map(len, lines_of)]
        if set(counts) != {1}:
            starts = np.cumsum([0, *counts])
            sums = sparse.csr_matrix(
                (np.ones(starts[-1], np.float32), np.arange(starts[-1]), starts), (len(texts), starts[-1])
            )
            rows = sparse.csr_matrix(sums @ rows)
            rows.sort_indices()
        if self.weighting == "tfidf":
            if texts:
                inplace_csr_row_normalize_l2(rows)
            return rows
        rows.data = np.where(rows.indices < self._words.width, 1, LETTERS_WEIGHT).astype(np.float32)
        return rows

    def _line_rows(self, lines: Sequence[str]) -> sparse.csr_matrix:
        """Words and letter n-grams of lines side by side, (n_lines, dim)."""
        rows = self._words.rows(lines, self.weighting)
        if self._grams is None:
            return rows
        grams = self._grams.rows(lines, self.weighting)
        grams.data *= np.float32(LETTERS_WEIGHT)
        if len(lines) != 1:
            return sparse.hstack([rows, grams], format="csr", dtype=np.float32)
        # A query is one line, and hstack would take longer than all else it needs.
        columns = np.concatenate([rows.indices, grams.indices + np.int32(self._words.width)])
        values = np.concatenate([rows.data, grams.data])
        return sparse.csr_matrix((values, columns, [0, len(values)]), (1, self.dim))

    def unknown_words(self, text: str) -> list[str]:
        """Words of a text, each once, that neither have a column nor are known by their letters.

        Known by its letters is a word with at least half of its n-grams of 3 and more characters among the
        columns. A word without a column of its own has that of its bucket if a training word went there.
        """
        return list(dict.fromkeys(word for word in self._words_of(text) if not self._is_known(word)))

    def check_query(self, text: str) -> list[str]:
        """The unknown words of a query text that has at least one known word.

        Raises DataError for a text that is empty, has more than 2,000 characters, a NUL or half a surrogate
        pair; UnknownWordsError for one without a known word (the message names the size of the vocabulary and
        the nearest known words).
        """
        check_query_text(text)
        unknown = self.unknown_words(text)
        if len(unknown) == len(set(self._words_of(text))):
            raise UnknownWordsError(self._nothing_known(text, unknown), unknown)
        return unknown

    def to_json(self) -> dict[str, Any]:
        """Everything, as JSON-able values: ``from_json`` gives an extractor with bitwise the same rows."""
        hashed = self._words.buckets
        return {
            "format_version": FORMAT_VERSION,
            "weighting": self.weighting,
            "whole_tokens": self.whole_tokens,
            "letters": list(self.letters) if self.letters else None,
            "words": list(self._words.terms),
            "word_idf": self._words.idf.tolist(),
            "grams": list(self._grams.terms) if self._grams else None,
            "gram_idf": self._grams.idf.tolist() if self._grams else None,
            **({"buckets": hashed.to_json()} if hashed else {}),
        }

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> WordExtractor:
        """Rebuild from ``to_json()``, trusting nothing.

        Raises DataError for a missing, unknown or wrong part, IncompatibleError for a newer format version.
        """
        weighting, letters, whole_tokens = _stored_settings(stored)
        analyse = _token_set if whole_tokens else _word_set
        hashed = None
        if "buckets" in stored:
            hashed = Buckets.from_json(stored["buckets"], f"{_STORED}: buckets")
        word_columns = Vocabulary.from_json(
            stored["words"], stored["word_idf"], analyse, f"{_STORED}: words", hashed
        )
        if not word_columns.terms:
            raise DataError(f"{_STORED}: words is empty")
        gram_columns = None
        if letters is not None:
            grams = partial(_gram_set, letters)
            gram_columns = Vocabulary.from_json(
                stored["grams"], stored["gram_idf"], grams, f"{_STORED}: grams"
            )
        elif stored["grams"] is not None or stored["gram_idf"] is not None:
            raise DataError(f"{_STORED}: grams and gram_idf must be null where letters is null")
        return cls(word_columns, gram_columns, weighting, letters, whole_tokens)

    def _words_of(self, text: str) -> list[str]:
        if not self.whole_tokens:
            return words(text)
        tokens = normalise(text).split()
        return [
            word
            for token in tokens
            for word in ([token] if self._words.column(token) is not None else words(token))
        ]

    def _is_known(self, word: str) -> bool:
        if self._words.column(word) is not None:
            return True
        if self._grams is None or self.letters is None:
            return False
        grams = set(letter_grams(word, max(3, self.letters[0]), self.letters[1]))
        return bool(grams) and 2 * sum(self._grams.column(gram) is not None for gram in grams) >= len(grams)

    def _nothing_known(self, text: str, unknown: list[str]) -> str:
        near = [
            known for word in unknown[:3] for known in difflib.get_close_matches(word[:40], self.vocabulary)
        ]
        hint = f"nearest are {', '.join(dict.fromkeys(near))}" if near else "none is near"
        shown = text if len(text) <= 60 else text[:60] + "..."
        return (
            f"no known word in {shown!r}: the vocabulary has {len(self.vocabulary):,} words, {hint}; "
            "use other words, or train with texts that have these"
        )


def _word_set(line: str) -> set[str]:
    return set(words(line))


def _token_set(line: str) -> set[str]:
    return set(words(line)).union(normalise(line).split())


def _gram_set(lengths: tuple[int, int], line: str) -> set[str]:
    return {gram for word in words(line) for gram in letter_grams(word, *lengths)}


def _check_settings(weighting: str, letters: tuple[int, int] | None) -> None:
    if weighting not in WEIGHTINGS:
        raise UsageError(f"weighting must be one of {', '.join(WEIGHTINGS)}, got {weighting!r}")
    if letters is None:
        return
    whole = len(letters) == 2 and all(type(length) is int for length in letters)
    if not whole or not 1 <= letters[0] <= letters[1] <= 8:
        raise UsageError(
            f"letters must be two whole numbers, 1 <= shortest <= longest <= 8, or None; got {letters!r}"
        )


def _stored_settings(stored: dict[str, Any]) -> tuple[str, tuple[int, int] | None, bool]:
    if not isinstance(stored, dict):
        raise DataError(f"{_STORED}: expected an object, got {type(stored).__name__}")
    version = stored.get("format_version")
    if type(version) is not int or version < 1:
        raise DataError(f"{_STORED}: format_version must be {FORMAT_VERSION}, got {version!r}")
    if version > FORMAT_VERSION:
        raise IncompatibleError(
            f"{_STORED} has format version {version}, this program reads {FORMAT_VERSION}: update it"
        )
    if odd := sorted(_KEYS.symmetric_difference(stored) - _OPTIONAL_KEYS):
        raise DataError(f"{_STORED}: {'unknown' if odd[0] in stored else 'missing'} key {odd[0]!r}")
    letters, whole_tokens = stored["letters"], stored["whole_tokens"]
    if letters is not None and not isinstance(letters, list):
        raise DataError(f"{_STORED}: letters must be a list or null, got {letters!r}")
    if type(whole_tokens) is not bool:
        raise DataError(f"{_STORED}: whole_tokens must be true or false, got {whole_tokens!r}")
    letters = None if letters is None else tuple(letters)
    try:
        _check_settings(stored["weighting"], letters)
    except UsageError as error:
        raise DataError(f"{_STORED}: {error}") from None
    return stored["weighting"], letters, whole_tokens
