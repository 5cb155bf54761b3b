"""What a demo run found: figures, answers, sizes and seconds, ready for the page, the terminal and JSON."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spdq.evaluation import Figure

DIRECTION_NAMES = {
    "i2t": "image → text",
    "t2i": "text → image",
    "t2u": "text → unit",
    "i2u": "image → unit",
    "i2i": "image → image",
    "t2t": "text → text",
}


@dataclass(frozen=True)
class Row:
    """One question to the model, answered three times: by chance, by float vectors and by codes."""

    direction: str
    labels: str
    """Prefix of the labels that decide what is relevant; "" where only the query's own item is."""
    split: str
    chance: Figure
    vectors: Figure
    codes: Figure

    @property
    def protocol(self) -> str:
        """Name of the protocol of all three figures."""
        return self.codes.protocol

    @property
    def question(self) -> str:
        """``text → image, subgroup``, as the tables print it."""
        return f"{DIRECTION_NAMES[self.direction]}, {self.labels.rstrip(':') or self.protocol}"

    def figures(self) -> Iterator[tuple[str, Figure]]:
        """The three figures by what was ranked."""
        yield from (("chance", self.chance), ("vectors", self.vectors), ("codes", self.codes))

    def to_json(self, bits: int) -> list[dict[str, Any]]:
        """One object a figure, each with its protocol, split and range under ties."""
        about = {"direction": self.direction, "split": self.split, "labels": self.labels}
        return [
            {**about, "coding": coding, "bits": bits if coding == "codes" else None, **figure.to_json()}
            for coding, figure in self.figures()
        ]


@dataclass(frozen=True)
class Found:
    """One item of an answer."""

    rank: int
    id: int | str
    name: str
    glyph: str
    """The emoji itself, "" where the picture's file is not named by code points."""
    distance: float
    """Inner product of the query and the item's code: larger is closer."""
    held_out: bool
    """Whether the item is one of the split's queries, which the model was never trained on."""
    picture: Path

    def to_json(self) -> dict[str, Any]:
        """For ``json.dump``."""
        return {**vars(self), "picture": str(self.picture)}


@dataclass(frozen=True)
class Answer:
    """A query and the items found for it, closest first."""

    query: str
    about: str
    """The language of a text, what a picture is."""
    hits: tuple[Found, ...]
    picture: Path | None = None
    """The picture that was asked with; None where it was a text."""
    problem: str = ""
    """Why there are no hits."""

    def to_json(self) -> dict[str, Any]:
        """For ``json.dump``."""
        return {
            "query": self.query,
            "about": self.about,
            "picture": None if self.picture is None else str(self.picture),
            "problem": self.problem or None,
            "hits": [hit.to_json() for hit in self.hits],
        }


@dataclass(frozen=True)
class Sizes:
    """Bytes."""

    items: int
    code: int
    """Of one item."""
    vector: int
    """Of one item, float32."""
    codebooks: int
    """Once, however many items there are."""
    index: int
    """The whole index directory: codes, ids, catalogue and codebooks."""
    pictures: int
    """All picture files."""

    def to_json(self) -> dict[str, int]:
        """For ``json.dump``."""
        return {f"{name}_bytes" if name != "items" else name: value for name, value in vars(self).items()}


@dataclass(frozen=True)
class Findings:
    """One run of the demo."""

    out: Path
    version: str
    dataset: dict[str, Any]
    """``Dataset.describe()``."""
    bits: int
    seed: int
    rows: tuple[Row, ...]
    texts: tuple[Answer, ...]
    images: tuple[Answer, ...]
    log: tuple[dict[str, Any], ...]
    """The training log's entries."""
    sizes: Sizes
    seconds: dict[str, float]
    """By step."""
    reused: tuple[str, ...]
    """Steps whose result was there already."""

    def to_json(self) -> dict[str, Any]:
        """All of it, for ``json.dump``; paths are as the run was given them."""
        return {
            "version": self.version,
            "dataset": self.dataset,
            "bits": self.bits,
            "seed": self.seed,
            "figures": [figure for row in self.rows for figure in row.to_json(self.bits)],
            "texts": [answer.to_json() for answer in self.texts],
            "images": [answer.to_json() for answer in self.images],
            "training": list(self.log),
            "sizes": self.sizes.to_json(),
            "seconds": self.seconds,
            "reused": list(self.reused),
            "out": str(self.out),
        }
