from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spdq.features.tokens import letter_grams, normalise, words


@pytest.mark.parametrize(("text", "expected"), [
    ("A cat, a CAT!", ["cat", "cat"]),
    ("chat noir", ["chat", "noir"]),
    ("l’œil", ["œil"]),
    ("Straße STRASSE", ["strasse", "strasse"]),
    ("niño nin\u0303o", ["niño", "niño"]),
    ("ｆｕｌｌ ﬁsh", ["full", "fish"]),
    ("красное сердце", ["красное", "сердце"]),
    ("歓声", ["歓声"]),
    ("猫", ["猫"]),
    ("ｶﾞ", ["ガ"]),
    ("고양이", ["고양이"]),
    ("꽃", ["꽃"]),
    ("\u1101\u1169\u11be", ["꽃"]),  # the same in single jamo
    ("قطة", ["قطة"]),
    ("قِطَّة", ["قطة"]),  # vowel signs
    ("قـــطة", ["قطة"]),  # stretched
    ("می‌خواهم", ["می", "خواهم"]),  # zero-width non-joiner
    ("बिल्ली", ["बिल्ली"]),
    ("क्\u200dष", ["क्ष"]),  # zero-width joiner
    ("co\u00adoperate", ["cooperate"]),
    ("❤️ red_heart :x:", ["red", "heart"]),
    ("1st 2 10", ["1st", "10"]),
    ("a\nb\r\nword", ["word"]),
    ("", []),
    ("!? … ❤", []),
])  # fmt: skip
def test_words(text, expected):
    assert words(text) == expected


def test_letter_grams_by_hand():
    assert list(letter_grams("cat", 2, 4)) == [" c", "ca", "at", "t ", " ca", "cat", "at ", " cat", "cat "]
    assert list(letter_grams("猫", 2, 4)) == [" 猫", "猫 ", " 猫 "]
    assert list(letter_grams("猫", 4, 4)) == []


@settings(max_examples=100, deadline=None)
@given(st.text())
def test_words_are_stable(text):
    for word in words(text):
        assert words(word) == [word]
        assert normalise(word) == word
        assert not any(character.isspace() for character in word)


@settings(max_examples=50, deadline=None)
@given(st.text())
def test_the_form_of_a_character_does_not_matter(text):
    assert words(unicodedata.normalize("NFD", text)) == words(unicodedata.normalize("NFC", text))
