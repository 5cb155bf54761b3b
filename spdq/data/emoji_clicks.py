"""Emoji with a click log made of their names: what an emoji is called more often, it is clicked for more often."""

from __future__ import annotations

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from spdq.data.dataset import Dataset
from spdq.data.emoji import emoji_items
from spdq.data.emoji_packages import Emoji, read_emoji
from spdq.data.extractor import ImageExtractor, Progress
from spdq.data.made_clicks import with_made_clicks
from spdq.data.query_items import QueryItems, normalised_query
from spdq.data.splits import Rows

MAX_SHARE = 0.05


def load_emoji_clicks(
    pictures_dir: Path,
    extractor: ImageExtractor,
    words: Callable[[str], list[str]],
    progress: Progress | None = None,
    seed: int = 0,
) -> Dataset:
    """Make the items of ``load_emoji``, with clicks that nobody ever made: they are counts of names.

    A query is a name of an emoji in any of the languages or an alias, whole, or one of its words of two letters
    or more. Its clicks on an emoji are the number of that emoji's names that are it or have it as a word;
    repeats count, so that what two languages or an alias have in common is clicked more. What more than 5 % of
    the emoji would be clicked for ("face", "flag") is no query.

    A random tenth of the queries is held out, as grades: for these the emoji clicked are excellent (3), others
    of their subgroups are good (2). A held-out name may have words that are learned from, and the other way
    round. The split is of kind ``clicks``: every emoji is trained on and searched.

    Parameters
    ----------
    pictures_dir, extractor : as for ``load_emoji``.
    words : a text's words, normalised: ``spdq.features.tokens.words``.

    Raises
    ------
    MissingExtraError, DataError, StorageError
        As ``load_emoji``.
    """
    emoji = read_emoji()
    clicks = _clicks(emoji, words)
    _, subgroup = np.unique([one.subgroup for one in emoji], return_inverse=True)

    def alike(clicked: Rows) -> Rows:
        return np.flatnonzero(np.isin(subgroup, subgroup[clicked]))

    items = emoji_items(emoji, pictures_dir, extractor, progress)
    return with_made_clicks(dataclasses.replace(items, name="emoji-clicks"), clicks, alike, seed)


def _clicks(emoji: Sequence[Emoji], words: Callable[[str], list[str]]) -> QueryItems:
    found: defaultdict[str, Counter[int]] = defaultdict(Counter)
    for row, one in enumerate(emoji):
        for name in one.names:
            for query in {normalised_query(name), *(word for word in words(name) if len(word) > 1)}:
                found[query][row] += 1
    return QueryItems.from_mapping(
        {query: found[query] for query in sorted(found) if len(found[query]) <= MAX_SHARE * len(emoji)}
    )
