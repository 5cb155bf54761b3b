"""The embedded default data: emoji pictures with their names in fourteen languages (``emoji_packages``)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from spdq.data.dataset import Dataset
from spdq.data.emoji_packages import Emoji, emoji_labels, query_emoji, read_emoji, without_repeats
from spdq.data.extractor import ImageExtractor, Progress
from spdq.data.pictures import write_pictures
from spdq.data.splits import SplitKind, make_split


def load_emoji(
    pictures_dir: Path,
    extractor: ImageExtractor,
    progress: Progress | None = None,
    kind: SplitKind = "seen",
    seed: int = 0,
) -> Dataset:
    """Make the emoji data set: one item an emoji, without skin-tone variants and the group Component.

    ids are short names. Texts are lines: the name of the Unicode character ("cat face", "japan flag"), the
    shorter English name of the package ``emoji`` (a country's flag, there just "Japan", is "flag of japan"),
    aliases, names in 13 more languages, without repeats. Labels: one ``group:`` and one ``subgroup:`` an item.
    Items are in Unicode's order; the queries are 300 of them, spread evenly over the subgroups.

    Parameters
    ----------
    pictures_dir : made if needed; the pictures are copied there and it becomes the data set's ``root``.
    extractor : makes ``image_features`` (n, d) float32 from the copied pictures.

    Raises
    ------
    MissingExtraError
        One of the three packages is not installed.
    DataError
        A package's data files are not what this importer knows.
    StorageError
        The pictures cannot be written.
    """
    emoji = read_emoji()
    items = emoji_items(emoji, pictures_dir, extractor, progress)
    return items.with_split(make_split(len(emoji), query_emoji(emoji, seed), kind, seed))


def emoji_items(
    emoji: Sequence[Emoji], pictures_dir: Path, extractor: ImageExtractor, progress: Progress | None
) -> Dataset:
    """The items of ``load_emoji``, without a split.

    Raises
    ------
    StorageError
        The pictures cannot be written.
    """
    copies = ((one.picture.name, one.picture.read_bytes()) for one in emoji)
    pictures = write_pictures(pictures_dir, copies)
    labels, label_names = emoji_labels(emoji)
    return Dataset(
        name="emoji",
        ids=np.array([one.short_name for one in emoji]),
        image_features=extractor.extract(pictures, progress=progress),
        labels=labels,
        label_names=label_names,
        texts=tuple("\n".join(without_repeats(one.names)) for one in emoji),
        image_paths=tuple(picture.name for picture in pictures),
        image_extractor=extractor.name,
        image_regions=extractor.regions,
        root=pictures_dir,
    )
