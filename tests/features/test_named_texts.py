from __future__ import annotations

import sys

import made_plugins
import numpy as np
import pytest

from spdq.errors import DataError, UsageError
from spdq.features import NamedTexts, downloading_text_extractor, text_extractor


@pytest.fixture(autouse=True)
def site(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(made_plugins.install_lengths(tmp_path / "site"))
    yield
    sys.modules.pop("my_lengths", None)


def test_an_installed_package_adds_a_name():
    extractor = text_extractor("lengths:2")
    np.testing.assert_array_equal(extractor.extract(["abc", "b"]), [[6, 1], [2, 1]])
    assert text_extractor(**extractor.settings()).settings() == {"name": "lengths:2", "version": 1}
    assert not extractor.fetched
    assert downloading_text_extractor("lengths:2").fetched


def test_unknown_names_list_those_of_packages():
    known = "changed, lengths, letters, open_clip, sentence-transformers, tfidf"
    with pytest.raises(UsageError, match=f"unknown text extractor 'lite0': known are {known}$"):
        text_extractor("lite0:224")


@pytest.mark.parametrize(("spec", "message"), [
    ("tfidf", "is made in training, of the texts that are there: leave text features out"),
    ("tfidf:binary", "is made in training, .*: it is tfidf alone"),
])  # fmt: skip
def test_the_default_is_made_in_training(spec, message):
    with pytest.raises(UsageError, match=f"text extractor '{spec}' {message}"):
        text_extractor(spec)


def test_texts_line_by_line():
    texts = NamedTexts.from_json({"name": "lengths:2", "version": 1})
    rows = texts.transform(["abc", "abc\nb", " ", "\nabc\n"])
    together = np.array([8, 2]) / np.sqrt(68) * (np.sqrt(37) + np.sqrt(5)) / 2
    np.testing.assert_allclose(rows, [[6, 1], together, [0, 0], [6, 1]], rtol=1e-6)
    assert (rows.dtype, texts.dim, texts.name) == (np.float32, 2, "lengths:2")
    assert texts.to_json() == {"name": "lengths:2", "version": 1}


def test_it_is_made_at_the_first_use():
    texts = NamedTexts.from_json({"name": "no-such-extractor"})
    with pytest.raises(UsageError, match="unknown text extractor 'no-such-extractor'"):
        texts.transform(["a"])


def test_queries():
    texts = NamedTexts({"name": "lengths:2"})
    assert texts.check_query("blorfx") == texts.unknown_words("blorfx") == []
    for query, message in [
        (" ", "empty query text"),
        ("x" * 2001, "at most 2,000"),
        ("a\0", r"U\+0000 at position 1"),
    ]:
        with pytest.raises(DataError, match=message):
            texts.check_query(query)


@pytest.mark.parametrize(("texts", "error", "message"), [
    ("abc", UsageError, "expected a sequence of texts, got one text"),
    (["a", 1], DataError, "text 1: expected a string, got int"),
])  # fmt: skip
def test_what_is_no_text(texts, error, message):
    with pytest.raises(error, match=message):
        NamedTexts({"name": "lengths:2"}).transform(texts)


@pytest.mark.parametrize("stored", [{}, {"name": 1}])
def test_settings_without_a_name(stored):
    with pytest.raises(DataError, match="stored text extractor: name must be a spec, got"):
        NamedTexts.from_json(stored)
