from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pytest
import xxhash
from oracles_features import smooth_idf

from spdq.errors import DataError, UsageError
from spdq.features import WordExtractor
from spdq.features.buckets import Buckets, bucket_of
from spdq.features.vocabulary import COUNTED, Vocabulary

TEXTS = ["cat dog", "cat dog", "cat bird", "emu", "fox cat", "gnu", "hen dog"]
RARE = ("bird", "emu", "fox", "gnu", "hen")


def hashed(**settings):
    return WordExtractor.fit(TEXTS, **{"letters": None, "max_words": 2, "buckets": 1000, **settings})


def test_rare_words_share_the_buckets_of_their_hash():
    extractor = hashed(buckets=3, seed=5)
    assert extractor.vocabulary == ("cat", "dog")
    buckets = {word: xxhash.xxh3_64_intdigest(word.encode(), 5) % 3 for word in RARE}
    used = sorted(set(buckets.values()))
    assert extractor.dim == 2 + len(used)
    rows = extractor.transform(list(RARE)).toarray()
    for word, row in zip(RARE, rows, strict=True):
        assert np.flatnonzero(row).tolist() == [2 + used.index(buckets[word])]


def test_weights_of_a_row():
    """tf-idf within the block: a hashed word weighs as one of a single text."""
    extractor = hashed()
    row = extractor.transform(["cat emu"]).toarray()[0]
    idf = [smooth_idf("cat", [set(text.split()) for text in TEXTS]), np.log(8 / 2) + 1]
    np.testing.assert_allclose(row[np.flatnonzero(row)], idf / np.linalg.norm(idf), atol=1e-6)
    binary = hashed(weighting="binary", letters=(3, 3), min_gram_texts=1)
    row = binary.transform(["emu"]).toarray()[0]
    assert sorted(row[row > 0].tolist()) == [0.5, 0.5, 0.5, 1.0]


def test_two_words_in_one_bucket_count_once():
    extractor = hashed(buckets=1)
    np.testing.assert_array_equal(extractor.transform(["emu fox", "emu"]).toarray(), [[0, 0, 1]] * 2)


def test_a_bucket_never_trained_makes_no_word_known():
    extractor = hashed()
    assert extractor.unknown_words("cat emu zebra") == ["zebra"]
    assert extractor.check_query("emu") == []
    assert extractor.transform(["zebra"]).nnz == 0
    with pytest.raises(DataError, match="no known word in 'zebra'"):
        extractor.check_query("zebra")


def test_without_rare_words_there_is_no_bucket():
    extractor = WordExtractor.fit(TEXTS, max_words=100, buckets=64)
    assert "buckets" not in extractor.to_json()
    assert extractor.to_json() == WordExtractor.fit(TEXTS).to_json()


def test_words_of_too_few_texts_are_hashed_too():
    extractor = WordExtractor.fit(TEXTS, letters=None, min_word_texts=2, buckets=1000)
    assert extractor.vocabulary == ("cat", "dog")
    assert extractor.unknown_words("gnu") == []


def test_limits_keep_the_most_frequent():
    assert WordExtractor.fit(TEXTS, letters=None, max_words=1).vocabulary == ("cat",)
    assert hashed(max_words=3).vocabulary == ("bird", "cat", "dog")
    grams = WordExtractor.fit(["abab ab", "ab", "ba"], letters=(2, 2), max_grams=2, min_gram_texts=1)
    assert grams.to_json()["grams"] == [" a", "ab"]


def test_counting_is_bounded_and_exact_for_the_frequent():
    """Words of one text each come in between: they are forgotten, those that keep coming are not."""
    random = np.random.default_rng(0)
    texts = [f"often{random.integers(3)} once{row}" for row in range(2000)]
    seen = []

    class Watched(Counter):
        def update(self, terms):
            super().update(terms)
            seen.append(len(self))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("spdq.features.vocabulary.Counter", Watched)
        limited = Vocabulary.count(texts, lambda line: set(line.split()), 1, max_terms=3, n_buckets=50)
    assert max(seen) <= COUNTED * 3 + 2
    assert limited.terms == ("often0", "often1", "often2")
    exact = Vocabulary.count(texts, lambda line: set(line.split()), 2)
    np.testing.assert_array_equal(limited.idf, exact.idf)
    assert limited.buckets.used == tuple(range(50))


def test_round_trip():
    extractor = hashed(letters=(3, 3), min_gram_texts=1, max_grams=5, seed=3)
    again = WordExtractor.from_json(json.loads(json.dumps(extractor.to_json())))
    assert again.to_json() == extractor.to_json()
    for left, right in zip(
        (extractor.transform([*TEXTS, "zebra"]),), (again.transform([*TEXTS, "zebra"]),), strict=True
    ):
        np.testing.assert_array_equal(left.toarray(), right.toarray())
    assert again.unknown_words("gnu zebra") == ["zebra"]


def test_half_a_surrogate_pair_has_a_bucket():
    assert 0 <= bucket_of("a\ud800", 7, 0) < 7


@pytest.mark.parametrize(("settings", "message"), [
    ({"max_words": 0}, "max_words must be 1 or more, or None, got 0"),
    ({"max_grams": -1}, "max_grams must be 1 or more, or None, got -1"),
    ({"buckets": -1}, "buckets must be 0 to 16,777,216 and seed below 2\\^64, got -1, 0"),
    ({"buckets": 1 << 25}, "buckets must be 0 to"),
    ({"seed": -1}, "got 1000, -1"),
])  # fmt: skip
def test_bad_settings(settings, message):
    with pytest.raises(UsageError, match=message):
        hashed(**settings)


GOOD = {"count": 8, "seed": 0, "idf": 2.0, "used": [1, 5]}


@pytest.mark.parametrize(("change", "message"), [
    ({"extra": 1}, "expected an object with count, idf, seed, used"),
    ({"count": 0}, "count must be 1 to 16,777,216, got 0"),
    ({"count": True}, "count must be 1 to"),
    ({"count": 1 << 25}, "count must be 1 to"),
    ({"seed": -1}, "seed must be a whole number"),
    ({"seed": 1.0}, "seed must be a whole number"),
    ({"idf": 0}, "idf must be above 0 and below 100, got 0"),
    ({"idf": float("nan")}, "idf must be above 0"),
    ({"idf": True}, "idf must be above 0"),
    ({"used": []}, "used must be a list of whole numbers, at least one"),
    ({"used": None}, "used must be a list"),
    ({"used": [1, 2.0]}, "used must be a list of whole numbers"),
    ({"used": [5, 1]}, "used must ascend from 0 to 7"),
    ({"used": [1, 1]}, "used must ascend"),
    ({"used": [-1, 1]}, "used must ascend"),
    ({"used": [1, 8]}, "used must ascend"),
])  # fmt: skip
def test_bad_stored_buckets(change, message):
    with pytest.raises(DataError, match=f"here: {message}"):
        Buckets.from_json({**GOOD, **change}, "here")
    stored = {**hashed().to_json(), "buckets": {**GOOD, **change}}
    with pytest.raises(DataError, match=f"stored vocabulary: buckets: {message}"):
        WordExtractor.from_json(stored)


def test_stored_buckets_must_be_an_object():
    with pytest.raises(DataError, match="expected an object"):
        Buckets.from_json([1], "here")
    assert Buckets.from_json(GOOD, "here").to_json() == GOOD
