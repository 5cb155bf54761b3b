"""Text to words and letter n-grams, by rules that hold in many scripts."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

# Scripts that put a whole word into one character (Han, Kana, Hangul); elsewhere one letter says nothing.
_WORD_IN_ONE = re.compile("[々〇\u3040-\u30ff\u3400-\u9fff\uac00-\ud7a3\uf900-\ufaff\U00020000-\U0003ffff]")
_ZERO_WIDTH_NON_JOINER = 0x200C


class _WordCharacters(dict[int, str | None]):
    """A ``str.translate`` table, filled as characters turn up: what is no part of a word becomes a space."""

    def __missing__(self, code: int) -> str | None:
        character = chr(code)
        category = unicodedata.category(character)
        kept: str | None = " "
        if _is_optional(code, category):
            kept = None
        elif character.isalnum() or category in ("Mn", "Mc"):
            kept = character
        self[code] = kept
        return kept


def _is_optional(code: int, category: str) -> bool:
    """What may stand in a word or not: format controls, variation selectors, Arabic vowel signs."""
    if category == "Cf":
        return code != _ZERO_WIDTH_NON_JOINER
    return (
        0xFE00 <= code <= 0xFE0F
        or 0xE0100 <= code <= 0xE01EF
        or 0x064B <= code <= 0x0652
        or code in (0x0640, 0x0670)
    )


_CHARACTERS = _WordCharacters()


def normalise(text: str) -> str:
    """NFKC, case folded, and NFKC again (folding can undo it)."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


def words(text: str) -> list[str]:
    """Words of a text, normalised, in order, repetitions kept.

    A word is a run of letters, digits and combining marks (the vowel signs of Hindi stay in their word), of
    two characters or more, or of one Han, Kana or Hangul character. Everything else parts words, the
    underscore too, and so does the zero-width non-joiner: Persian writes the same word with it or with a
    space. Joiners, soft hyphens, variation selectors and the optional vowel signs of Arabic are dropped.
    """
    pieces = normalise(text).translate(_CHARACTERS).split()
    return [piece for piece in pieces if len(piece) > 1 or _WORD_IN_ONE.match(piece)]


def letter_grams(word: str, shortest: int, longest: int) -> Iterator[str]:
    """Runs of ``shortest`` to ``longest`` characters of a word with a space at either end."""
    padded = f" {word} "
    for length in range(shortest, longest + 1):
        for start in range(len(padded) - length + 1):
            yield padded[start : start + length]
