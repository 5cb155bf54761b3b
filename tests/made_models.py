"""Small worlds with a real trained model of each kind, each made once."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
from PIL import Image, ImageDraw

from spdq.data import Dataset, make_split
from spdq.features import image_extractor
from spdq.models.spdq import SPDQModel
from spdq.training.recipes import RECIPES
from spdq.training.run import train_task
from spdq.training.spdq import SPDQTask

N_ITEMS = 60
COLOURS = ("red", "green", "blue")
SIZES = ("small", "large")
NAMES = tuple(f"colour:{colour}" for colour in COLOURS) + tuple(f"size:{size}" for size in SIZES) + ("lucky",)
SHORT = {"min_steps": 60, "max_steps": 60, "hidden": 64, "shared": 32, "private": 8}


@cache
def worded() -> Dataset:
    """60 items: 12 image features, raw text of two lines; two label sets that exclude, one that does not."""
    labels, texts = _items()
    random = np.random.default_rng(0)
    features = 3 * labels @ random.normal(size=(len(NAMES), 12)) + random.normal(size=(N_ITEMS, 12))
    return _dataset(labels, texts, image_features=features.astype(np.float32))


@cache
def drawn() -> Dataset:
    """The same items as pictures of 32 x 32; needs the demo extra."""
    labels, texts = _items()
    extractor = image_extractor("lite0:32")
    features = extractor.extract([picture(row) for row in range(N_ITEMS)])
    return _dataset(labels, texts, image_features=features, image_extractor=extractor.name)


def picture(row: int) -> Image.Image:
    """The picture of one item."""
    side = (8, 24)[row // 3 % 2]
    left, top = np.random.default_rng(row).integers(0, 32 - side, 2).tolist()
    image = Image.new("RGB", (32, 32), "white")
    box = (left, top, left + side, top + side)
    ImageDraw.Draw(image).ellipse(box, fill=COLOURS[row % 3])
    return image


@cache
def trained(recipe: str = "default") -> SPDQModel:
    """A model of ``worded()``; nobody may change it."""
    return train_task(SPDQTask, worded(), 16, replace(RECIPES[recipe], **SHORT))


@cache
def trained_on_pictures() -> SPDQModel:
    """A model of ``drawn()``, which reads texts and pictures; nobody may change it."""
    return train_task(SPDQTask, drawn(), 16, replace(RECIPES["default"], **SHORT))


def _items():
    rows = np.arange(N_ITEMS)
    colour, size = rows % 3, rows // 3 % 2
    labels = np.zeros((N_ITEMS, len(NAMES)), np.uint8)
    labels[rows, colour] = labels[rows, 3 + size] = 1
    labels[:, 5] = rows % 4 == 0
    texts = tuple(f"{SIZES[size[row]]} {COLOURS[colour[row]]}\nnumber n{row}" for row in rows)
    return labels, texts


def _dataset(labels, texts, **parts) -> Dataset:
    return Dataset(
        "made",
        np.arange(N_ITEMS) * 7 + 100,
        labels=labels,
        label_names=NAMES,
        texts=texts,
        split=make_split(N_ITEMS, np.arange(0, N_ITEMS, 5), "seen", 0),
        **parts,
    )
