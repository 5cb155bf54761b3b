from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles_features import smooth_idf, text_row
from scipy import sparse
from sklearn.feature_extraction.text import TfidfVectorizer

from spdq.errors import DataError, IncompatibleError, UsageError
from spdq.features import WordExtractor
from spdq.features.tokens import letter_grams, words

TEXTS = [
    "cat\ngato\nchat\n猫\n고양이\nقطة\nкошка",
    "black cat\ngato negro\nchat noir\n黒猫\n검은 고양이\nقطة سوداء\nчёрная кошка",
    "red heart\ncorazón rojo\ncœur rouge\n赤いハート\n빨간 하트\nقلب أحمر\nкрасное сердце",
    "cheering megaphone\n歓声\n확성기",
    "green heart\ncorazón verde\ncœur vert\n緑のハート\n초록 하트\nقلب أخضر\nзелёное сердце",
    "",
]


@pytest.fixture(scope="module")
def extractor():
    return WordExtractor.fit(TEXTS)


def nearest(extractor, query):
    scores = (extractor.transform(TEXTS) @ extractor.transform([query]).T).toarray()[:, 0]
    return int(scores.argmax())


@pytest.mark.parametrize(("query", "row"), [
    ("gato", 0), ("歓声", 3), ("고양이", 0), ("قطة", 0), ("chat noir", 1), ("красное сердце", 2),
    ("CORAZON\u0301 Verde!", 4), ("قِطَّة", 0), ("猫", 0), ("赤いハート", 2),
])  # fmt: skip
def test_languages(extractor, query, row):
    assert extractor.check_query(query) == []
    assert nearest(extractor, query) == row


@pytest.mark.parametrize("letters", [None, (2, 4), (3, 3)])
def test_tfidf_equals_the_oracle(letters):
    extractor = WordExtractor.fit(TEXTS, letters=letters)
    word_sets = [set(words(text)) for text in TEXTS]
    terms = sorted(set().union(*word_sets))

    def grams_of(word):
        return list(letter_grams(word, *letters)) if letters else []

    gram_sets = [{gram for word in word_set for gram in grams_of(word)} for word_set in word_sets]
    grams = sorted(gram for gram in set().union(*gram_sets) if sum(gram in one for one in gram_sets) >= 2)
    word_idf = [smooth_idf(term, word_sets) for term in terms]
    gram_idf = [smooth_idf(gram, gram_sets) for gram in grams]
    queries = [*TEXTS, "gato gato cat", "unheard-of", "cat\n\ncat\nzzz", "\n\n"]
    expected = [text_row(text, terms, word_idf, grams, gram_idf, words, grams_of) for text in queries]
    rows = extractor.transform(queries)
    assert rows.dtype == np.float32
    assert rows.shape == (len(queries), extractor.dim) == (len(queries), len(terms) + len(grams))
    assert extractor.vocabulary == tuple(terms)
    np.testing.assert_allclose(rows.toarray(), expected, atol=1e-6)


def test_words_of_single_lines_equal_sklearn():
    texts = [text.replace("\n", " ") for text in TEXTS[:5]]
    expected = TfidfVectorizer(analyzer=words, binary=True).fit_transform(texts)
    np.testing.assert_allclose(
        WordExtractor.fit(texts, letters=None).transform(texts).toarray(), expected.toarray(), atol=1e-6
    )


def test_binary_by_hand():
    extractor = WordExtractor.fit(["ab cd", "ab\nab"], weighting="binary", letters=(2, 2), min_gram_texts=1)
    assert extractor.vocabulary == ("ab", "cd")
    assert extractor.to_json()["grams"] == [" a", " c", "ab", "b ", "cd", "d "]
    np.testing.assert_array_equal(
        extractor.transform(["ab ab\ncd\nab", "cx", "zz"]).toarray(),
        [[1, 1, *[0.5] * 6], [0, 0, 0, 0.5, 0, 0, 0, 0], [0] * 8],
    )


def test_a_row_does_not_depend_on_its_neighbours(extractor):
    together = extractor.transform(TEXTS)
    for row, text in enumerate(TEXTS):
        alone = extractor.transform([text])
        np.testing.assert_array_equal(alone.indices, together[row].indices)
        np.testing.assert_array_equal(alone.data, together[row].data)


def test_rows_have_length_one_or_are_empty(extractor):
    lengths = sparse.linalg.norm(extractor.transform(TEXTS), axis=1)
    np.testing.assert_allclose(lengths, [1, 1, 1, 1, 1, 0], atol=1e-6)
    assert extractor.transform([]).shape == (0, extractor.dim)
    assert extractor.transform([""]).nnz == 0


def test_least_numbers_of_texts():
    texts = ["cat dog", "cat", "dog cat", "bird"]
    assert WordExtractor.fit(texts, letters=None, min_word_texts=3).vocabulary == ("cat",)
    rare = WordExtractor.fit(texts, min_gram_texts=5)
    assert rare.dim == 3
    assert rare.transform(["bird"]).toarray().tolist() == [[1, 0, 0]]


def test_one_text_has_no_common_grams():
    extractor = WordExtractor.fit(["cat"])
    assert (extractor.dim, extractor.transform(["cat cot"]).toarray().tolist()) == (1, [[1]])


# Vocabularies that a data set brings


def test_columns_stay_in_the_given_order():
    extractor = WordExtractor.from_vocabulary(["zoo", "NikonD80", "black&white", "x", "a_b"])
    rows = extractor.transform(["nikond80, ZOO", "Black&White x\nx a_b", "black white", ""])
    assert rows.toarray().tolist() == [[1, 1, 0, 0, 0], [0, 0, 1, 1, 1], [0, 0, 0, 0, 0], [0, 0, 0, 0, 0]]
    assert extractor.unknown_words("black&white foo&bar zoo!") == ["foo", "bar"]
    assert extractor.check_query("black&white") == []


@pytest.mark.parametrize(("vocabulary", "message"), [
    ([], "vocabulary is empty"),
    (["cat", ""], "vocabulary: entry 1 is empty"),
    (["cat", " "], "entry ' ' must be one word"),
    (["cat", "dog", "CAT"], "vocabulary: 'cat' comes twice .* entry 2"),
    (["new york"], "entry 'new york' must be one word without blanks"),
    (["cat", 3], "text 1: expected a string, got int"),
])  # fmt: skip
def test_bad_vocabulary(vocabulary, message):
    with pytest.raises(DataError, match=message):
        WordExtractor.from_vocabulary(vocabulary)


def test_given_vocabulary_has_no_idf():
    with pytest.raises(UsageError, match="weighs \"binary\" only, got 'tfidf'"):
        WordExtractor.from_vocabulary(["cat"], weighting="tfidf")


# Unknown words and queries


def test_unknown_words(extractor):
    assert extractor.unknown_words("cat blorfx, CAT zyzzyva blorfx") == ["blorfx", "zyzzyva"]
    assert extractor.unknown_words("") == []


def test_a_word_is_known_by_half_of_its_letters():
    extractor = WordExtractor.fit(["heart", "hearts", "unheard"])
    # Of "hearty" 7 of 11 n-grams (3 and 4) are columns ("hea", "ear", "art", ...), of "party" 1 of 9 ("art").
    assert extractor.unknown_words("hearty") == []
    assert extractor.unknown_words("party") == ["party"]
    assert WordExtractor.fit(["heart", "hearts"], letters=None).unknown_words("hearty") == ["hearty"]
    assert WordExtractor.fit(["heart", "hearts"], letters=(2, 2)).unknown_words("hearty") == ["hearty"]


def test_check_query_lets_known_words_through(extractor):
    assert extractor.check_query("black blorfx cat") == ["blorfx"]


@pytest.mark.parametrize(("text", "message"), [
    ("", "empty query text: give at least one word"),
    (" \n\t", "empty query text"),
    ("x" * 2001, "query text has 2,001 characters, at most 2,000"),
    ("cat\0", r"forbidden character U\+0000 at position 3"),
    ("\ud83d cat", r"forbidden character U\+D83D at position 0"),
    ("blorfx zyzzyva", r"no known word in 'blorfx zyzzyva': the vocabulary has \d+ words, none is near; use"),
    ("!!! ❤", "no known word in '!!! ❤'"),
    ("y" * 500, r"no known word in 'y{60}\.\.\.'"),
    (7, "expected a string, got int"),
])  # fmt: skip
def test_bad_queries(extractor, text, message):
    with pytest.raises(DataError, match=message):
        extractor.check_query(text)


def test_nearest_words_are_named():
    extractor = WordExtractor.fit(["megaphone", "heart"], letters=None)
    with pytest.raises(DataError, match="vocabulary has 2 words, nearest are megaphone; use other words"):
        extractor.check_query("megafone")
    assert extractor.check_query("x" * 1990 + " heart") == ["x" * 1990]


# Bad arguments


def test_one_text_without_a_list(extractor):
    for call in (extractor.transform, WordExtractor.fit, WordExtractor.from_vocabulary):
        with pytest.raises(UsageError, match="expected a sequence of texts, got one text"):
            call("cat")
    with pytest.raises(DataError, match="text 1: expected a string, got NoneType"):
        extractor.transform(["cat", None])


@pytest.mark.parametrize("texts", [[], [""], ["! ?", "a"]])
def test_texts_without_words(texts):
    with pytest.raises(DataError, match=f"none of the {len(texts)} texts has a word"):
        WordExtractor.fit(texts)


@pytest.mark.parametrize(("arguments", "message"), [
    ({"weighting": "bm25"}, "weighting must be one of binary, tfidf, got 'bm25'"),
    ({"letters": (4, 2)}, "letters must be two whole numbers"),
    ({"letters": (0, 2)}, "letters must be two whole numbers"),
    ({"letters": (2, 9)}, "letters must be two whole numbers"),
    ({"letters": (2, 3.0)}, "letters must be two whole numbers"),
    ({"letters": (2,)}, "letters must be two whole numbers"),
    ({"min_word_texts": 0}, "min_word_texts must be 1 or more, got 0"),
    ({"min_gram_texts": -1}, "min_gram_texts must be 1 or more, got -1"),
])  # fmt: skip
def test_bad_settings(arguments, message):
    with pytest.raises(UsageError, match=message):
        WordExtractor.fit(TEXTS, **arguments)


# Stored form


def stored(extractor):
    return json.loads(json.dumps(extractor.to_json()))


def same(left, right, texts):
    a, b = left.transform(texts), right.transform(texts)
    assert left.dim == right.dim
    np.testing.assert_array_equal(a.indptr, b.indptr)
    np.testing.assert_array_equal(a.indices, b.indices)
    np.testing.assert_array_equal(a.data, b.data)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.text(max_size=30), min_size=1, max_size=6),
    st.sampled_from(["binary", "tfidf"]),
    st.sampled_from([None, (2, 4), (1, 2)]),
)
def test_round_trip(texts, weighting, letters):
    extractor = WordExtractor.fit(["one known text", *texts], weighting, letters)
    again = WordExtractor.from_json(stored(extractor))
    same(extractor, again, [*texts, "known"])
    assert again.to_json() == extractor.to_json()
    assert again.unknown_words("known " + texts[0]) == extractor.unknown_words("known " + texts[0])


def test_round_trip_of_a_given_vocabulary():
    extractor = WordExtractor.from_vocabulary(["black&white", "cat"])
    again = WordExtractor.from_json(stored(extractor))
    same(extractor, again, ["black&white cat", "cat,", "none"])
    assert again.unknown_words("black&white no") == ["no"]


@pytest.mark.parametrize(("change", "message"), [
    ({"extra": 1}, "unknown key 'extra'"),
    ({"format_version": 0}, "format_version must be 1, got 0"),
    ({"format_version": True}, "format_version must be 1, got True"),
    ({"format_version": None}, "format_version must be 1, got None"),
    ({"weighting": "bm25"}, "stored vocabulary: weighting must be one of"),
    ({"weighting": []}, "stored vocabulary: weighting must be one of"),
    ({"whole_tokens": 0}, "whole_tokens must be true or false, got 0"),
    ({"letters": "24"}, "letters must be a list or null"),
    ({"letters": [2]}, "stored vocabulary: letters must be two whole numbers"),
    ({"letters": [True, 4]}, "stored vocabulary: letters must be two whole numbers"),
    ({"letters": None}, "grams and gram_idf must be null"),
    ({"grams": None}, "grams: expected a list of strings"),
    ({"words": [], "word_idf": []}, "words is empty"),
    ({"words": "cat dog"}, "words: expected a list of strings"),
    ({"words": ["cat", 1]}, "words: expected a list of strings"),
    ({"words": ["cat", "cat"]}, "words: 'cat' comes twice"),
    ({"words": ["cat", ""]}, "words: entry 1 is empty"),
    ({"words": ["cat"]}, "words: 1 terms but 2 idf values"),
    ({"word_idf": [1.0, float("nan")]}, "idf must be above 0 and below 100, got nan"),
    ({"word_idf": [1.0, float("inf")]}, "idf must be above 0 and below 100, got inf"),
    ({"word_idf": [1.0, -1]}, "idf must be above 0 and below 100, got -1"),
    ({"word_idf": [0, 1.0]}, "idf must be above 0 and below 100, got 0"),
    ({"word_idf": [1.0, 10**400]}, "idf must be above 0 and below 100"),
    ({"word_idf": [1.0, True]}, "words: expected the idf as a list of numbers"),
    ({"word_idf": {}}, "words: expected the idf as a list of numbers"),
])  # fmt: skip
def test_bad_stored_form(change, message):
    good = stored(WordExtractor.fit(["cat", "dog"]))
    with pytest.raises(DataError, match=message):
        WordExtractor.from_json({**good, **change})


def test_missing_newer_and_no_object():
    good = stored(WordExtractor.fit(["cat", "dog"]))
    with pytest.raises(IncompatibleError, match="format version 2, this program reads 1"):
        WordExtractor.from_json({**good, "format_version": 2})
    for key in good:
        with pytest.raises(DataError, match=key):
            WordExtractor.from_json({name: value for name, value in good.items() if name != key})
    with pytest.raises(DataError, match="expected an object, got list"):
        WordExtractor.from_json([good])
