from __future__ import annotations

import numpy as np
import pytest

from spdq.data.lines import line_features, line_starts, lines_of, text_features
from spdq.errors import IncompatibleError


class Lengths:
    """Twice the length of a text, and 1."""

    name, dim = "lengths", 2

    def __init__(self):
        self.given = []

    def extract(self, texts, progress=None):
        self.given.append(list(texts))
        return np.array([[2 * len(text), 1] for text in texts], np.float64).reshape(-1, 2)


def test_lines_and_where_they_start():
    assert [lines_of(text) for text in ("", "a", "a\nb", "a\r\n\nb\n")] == [
        [""],
        ["a"],
        ["a", "b"],
        ["a", "", "b"],
    ]
    np.testing.assert_array_equal(line_starts(["", "a\nb", "c"]), [0, 1, 3, 4])
    np.testing.assert_array_equal(line_starts([]), [0])


def test_a_line_is_extracted_once_and_blank_ones_are_zero():
    extractor = Lengths()
    rows = line_features(["abc\n \nb", "", "b\nabc"], extractor)
    np.testing.assert_array_equal(rows, [[6, 1], [0, 0], [2, 1], [0, 0], [2, 1], [6, 1]])
    assert (rows.dtype, extractor.given) == (np.float32, [["abc", "b"]])


@pytest.mark.parametrize("texts", [[], [""], [" ", "\n"]])
def test_nothing_to_extract(texts):
    rows = line_features(texts, Lengths())
    assert (rows.shape[1], rows.any()) == (2, False)
    assert text_features(rows, line_starts(texts)).shape == (len(texts), 2)


def test_a_text_of_one_line_is_that_line_bit_by_bit():
    rows = np.random.default_rng(0).standard_normal((5, 7)).astype(np.float32)
    np.testing.assert_array_equal(text_features(rows, np.arange(6)), rows)


def test_several_lines_add_up_and_are_as_long_as_they_are_on_average():
    rows = np.array([[3, 0], [0, 1], [0, 0], [0, 5], [0, 0], [1, 0], [-1, 0]], np.float32)
    found = text_features(rows, np.array([0, 3, 5, 7]))
    np.testing.assert_allclose(found[0], np.array([3, 1]) / np.sqrt(10) * 2, rtol=1e-6)
    np.testing.assert_array_equal(found[1:], [[0, 5], [0, 0]])


@pytest.mark.parametrize("made", [np.zeros((1, 3)), np.zeros(2), np.full((1, 2), np.nan)])
def test_an_extractor_that_does_not_do_what_it_says(made):
    extractor = Lengths()
    extractor.extract = lambda texts, progress: made
    with pytest.raises(
        IncompatibleError,
        match=r"text extractor lengths: expected \(1, 2\) finite features, got \(.*\): update it",
    ):
        line_features(["a"], extractor)
