"""Slow plain twins of the text features, term by term with dictionaries."""

from __future__ import annotations

import math


def text_row(text, words, word_idf, grams, gram_idf, split, grams_of):
    """One tf-idf row as a list: ``split(line)`` gives the words of a line, ``grams_of(word)`` its n-grams."""
    total = [0.0] * (len(words) + len(grams))
    for line in text.splitlines():
        found = split(line)
        word_part = [idf if term in found else 0.0 for term, idf in zip(words, word_idf, strict=True)]
        letters = {gram for word in found for gram in grams_of(word)}
        gram_part = [idf if term in letters else 0.0 for term, idf in zip(grams, gram_idf, strict=True)]
        row = unit(word_part) + [0.5 * value for value in unit(gram_part)]
        total = [a + b for a, b in zip(total, row, strict=True)]
    return unit(total)


def unit(row):
    length = math.sqrt(sum(value * value for value in row))
    return [value / length if length else 0.0 for value in row]


def smooth_idf(term, term_sets):
    """ln((1 + n) / (1 + df)) + 1 over the texts' sets of terms."""
    df = sum(term in terms for terms in term_sets)
    return math.log((1 + len(term_sets)) / (1 + df)) + 1
