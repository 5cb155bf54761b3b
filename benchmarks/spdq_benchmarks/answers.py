"""The queries the demo asks, and what its index answers."""

from __future__ import annotations

import numpy as np

from spdq.data.dataset import Dataset
from spdq.engine import Engine
from spdq.errors import DataError
from spdq.hits import Hit
from spdq_benchmarks.findings import Answer, Found

N_HITS = 6
N_PICTURE_QUERIES = 4

QUERIES = (
    ("cat", "English"),
    ("red heart", "English"),
    ("flag of Japan", "English"),
    ("drapeau", "French: flag"),
    ("birthday cake", "English"),
    ("corazón", "Spanish: heart"),
    ("Regenschirm", "German: umbrella"),
    ("собака", "Russian: dog"),
    ("自動車", "Japanese: car"),
    ("fiore", "Italian: flower"),
    ("angry face", "English"),
    ("rocket", "English"),
)
"""Texts, each with its language and, unless that is English, its meaning."""


def answer_text(engine: Engine, dataset: Dataset, query: str, about: str) -> Answer:
    """The items closest to a text; none, and why, where the model knows no word of it."""
    try:
        hits = engine.search(text=query, k=N_HITS)
    except DataError as error:
        return Answer(query, about, (), problem=str(error))
    return Answer(query, about, _found(dataset, hits))


def answer_picture(engine: Engine, dataset: Dataset, row: int) -> Answer:
    """The items closest to the picture of a row, read from its file."""
    picture = dataset.image_path(row)
    hits = engine.search(image=picture, k=N_HITS)
    return Answer(_name(dataset, row), "a picture never trained on", _found(dataset, hits), picture)


def picture_queries(dataset: Dataset) -> list[int]:
    """Rows spread evenly over the queries, so that nobody can say that they were picked."""
    if dataset.split is None:
        return []
    rows = dataset.split.query
    places = (2 * np.arange(N_PICTURE_QUERIES) + 1) * len(rows) // (2 * N_PICTURE_QUERIES)
    return [int(row) for row in rows[np.unique(places)]]


def _found(dataset: Dataset, hits: list[Hit]) -> tuple[Found, ...]:
    row_of = {key: row for row, key in enumerate(dataset.ids.tolist())}
    held_out = set() if dataset.split is None else set(dataset.split.query.tolist())
    found = []
    for hit in hits:
        row = row_of[hit.id]
        picture = dataset.image_path(row)
        name = _name(dataset, row)
        found.append(
            Found(hit.rank, hit.id, name, glyph(picture.stem), hit.distance, row in held_out, picture)
        )
    return tuple(found)


def _name(dataset: Dataset, row: int) -> str:
    return str(dataset.ids[row]) if dataset.texts is None else dataset.texts[row].split("\n", 1)[0]


def glyph(stem: str) -> str:
    """The characters a picture's file is named after (``1f1ef-1f1f5``), "" where it is not named so."""
    try:
        characters = "".join(chr(int(code, 16)) for code in stem.split("-"))
        characters.encode()
    except (ValueError, OverflowError):
        return ""
    return characters
