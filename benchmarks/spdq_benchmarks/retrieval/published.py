"""Published figures, each with its source, protocol, sizes and known errors: ``published.toml``, read and checked."""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from spdq.errors import DataError, UsageError
from spdq.evaluation import parse_protocol
from spdq_benchmarks.retrieval.cells import CROSS_MODAL

FILE = "published.toml"
SEEN = ("seen", "partly", "unseen", "not stated")
_TEXTS = ("id", "paper", "venue", "number", "protocol", "nearest", "seen")
_TABLE = {*_TEXTS, "year", "bits", "split", "errors", "rows", "sets"}
_COUNTS = ("items", "labels", "query", "train")


@dataclass(frozen=True)
class PublishedSet:
    """One data set of one table; a count that the source does not give is None."""

    items: int | None
    labels: int | None
    query: int | None
    train: int | None
    features: str


@dataclass(frozen=True)
class PublishedRow:
    """One method. ``figures``: by data set and direction, a value for each of the table's code lengths."""

    method: str
    features: str
    """Empty where the set's apply."""
    figures: Mapping[str, Mapping[str, tuple[float, ...]]]


@dataclass(frozen=True)
class PublishedTable:
    """One table of one paper: one protocol."""

    id: str
    paper: str
    venue: str
    year: int
    number: str
    protocol: str
    """One of ours where the source's normaliser is known to be it, otherwise the source's words."""
    nearest: str
    """The protocol of ours to set beside it."""
    bits: tuple[int, ...]
    """0 stands for float vectors."""
    seen: str
    """Whether the database was trained on: seen, partly, unseen, not stated."""
    split: str
    """The split of our records to set beside it."""
    errors: tuple[str, ...]
    """What is known to be wrong with it."""
    sets: Mapping[str, PublishedSet]
    rows: tuple[PublishedRow, ...]

    @property
    def source(self) -> str:
        """Paper, venue, year and table, in one line."""
        return f"{self.paper}, {self.venue} {self.year}, {self.number}"


@dataclass(frozen=True)
class Published:
    """All tables, and how their words meet ours.

    Attributes
    ----------
    names
        The data sets' names, by letter.
    ours
        Letter by the name our records may have for the data set, lower case and letters and digits only.
    methods
        Our name of a method by the papers'.
    """

    names: Mapping[str, str]
    ours: Mapping[str, str]
    methods: Mapping[str, str]
    tables: tuple[PublishedTable, ...]

    def letter(self, dataset: str) -> str | None:
        """The letter of the data set that a record's name stands for, None for one that no table has."""
        return self.ours.get(re.sub("[^a-z0-9]", "", dataset.lower()))


def load_published(text: str | None = None) -> Published:
    """The tables of this package, or of another TOML text of the same form.

    Raises
    ------
    DataError
        The text is no TOML, or something in a table is missing, unknown or not possible; the message names the table.
    """
    if text is None:
        text = (files("spdq_benchmarks.retrieval") / FILE).read_text(encoding="utf-8")
    try:
        found = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise DataError(f"{FILE}: {error}") from error
    _keys("the file", found, {"methods", "data_sets", "table"})
    names: dict[str, str] = {}
    ours: dict[str, str] = {}
    for letter, entry in found["data_sets"].items():
        _keys(f"data_sets.{letter}", entry, {"name", "ours"})
        names[letter] = str(entry["name"])
        ours |= dict.fromkeys(entry["ours"], letter)
    tables = tuple(_table(entry, names) for entry in found["table"])
    ids = [table.id for table in tables]
    for name in ids:
        if ids.count(name) > 1:
            raise DataError(f"{FILE}: table {name} is there twice")
    return Published(names, ours, dict(found["methods"]), tables)


def _table(entry: Mapping[str, Any], names: Mapping[str, str]) -> PublishedTable:
    where = f"table {entry.get('id', 'without id')}"
    _keys(where, entry, _TABLE, optional={"split", "errors"})
    for key in _TEXTS:
        if not isinstance(entry[key], str) or not entry[key]:
            raise DataError(f"{FILE}: {where}: expected text as {key}, got {entry[key]!r}")
    try:
        parse_protocol(entry["nearest"])
    except UsageError as error:
        raise DataError(f"{FILE}: {where}: nearest: {error}") from error
    bits = entry["bits"]
    if not bits or sorted(set(bits)) != bits or any(length < 0 or length % 8 for length in bits):
        raise DataError(f"{FILE}: {where}: expected bits as ascending multiples of 8, got {bits}")
    if entry["seen"] not in SEEN:
        raise DataError(f"{FILE}: {where}: expected seen as one of {', '.join(SEEN)}, got {entry['seen']!r}")
    sets = {letter: _set(f"{where}, set {letter}", found) for letter, found in entry["sets"].items()}
    if unknown := sets.keys() - names.keys():
        raise DataError(f"{FILE}: {where}: unknown data set {', '.join(sorted(unknown))}")
    rows = tuple(_row(where, row, sets, len(bits)) for row in entry["rows"])
    named = [(row.method, row.features) for row in rows]
    for name in named:
        if named.count(name) > 1:
            raise DataError(f"{FILE}: {where}: row {name[0]} is there twice")
    year = entry["year"]
    if not isinstance(year, int) or not 1990 <= year <= 2100:
        raise DataError(f"{FILE}: {where}: expected a year, got {year!r}")
    return PublishedTable(
        **{key: entry[key] for key in _TEXTS},
        year=year,
        bits=tuple(bits),
        split=entry.get("split", "seen"),
        errors=tuple(entry.get("errors", ())),
        sets=sets,
        rows=rows,
    )


def _set(where: str, entry: Mapping[str, Any]) -> PublishedSet:
    _keys(where, entry, {*_COUNTS, "features"}, optional=set(_COUNTS))
    counts = {name: entry.get(name) for name in _COUNTS}
    for name, count in counts.items():
        if count is not None and (not isinstance(count, int) or count < 1):
            raise DataError(f"{FILE}: {where}: expected a count as {name}, got {count!r}")
    return PublishedSet(**counts, features=entry["features"])


def _row(
    where: str, entry: Mapping[str, Any], sets: Mapping[str, PublishedSet], lengths: int
) -> PublishedRow:
    where = f"{where}, row {entry.get('method', 'without method')}"
    _keys(where, entry, {"method", "features", *sets}, optional={"features", *sets})
    figures = {}
    for letter in (letter for letter in sets if letter in entry):
        found = entry[letter]
        if len(found) != len(CROSS_MODAL) or any(len(values) != lengths for values in found):
            raise DataError(
                f"{FILE}: {where}: expected {lengths} figures for each of {' and '.join(CROSS_MODAL)} of {letter}"
            )
        for value in (value for values in found for value in values):
            if not (isinstance(value, float) and math.isfinite(value) and 0 < value < 1):
                raise DataError(f"{FILE}: {where}: expected figures between 0 and 1, got {value!r}")
        figures[letter] = {
            direction: tuple(values) for direction, values in zip(CROSS_MODAL, found, strict=True)
        }
    if not figures:
        raise DataError(f"{FILE}: {where}: no figures")
    return PublishedRow(entry["method"], entry.get("features", ""), figures)


def _keys(where: str, entry: Mapping[str, Any], known: set[str], optional: set[str] | None = None) -> None:
    if unknown := sorted(entry.keys() - known):
        raise DataError(f"{FILE}: {where}: unknown key {unknown[0]!r}")
    if missing := sorted(known - (optional or set()) - entry.keys()):
        raise DataError(f"{FILE}: {where}: {missing[0]!r} is missing")
