"""Slow plain twins of cross space mapping, and a small made click log."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from spdq.data import Dataset
from spdq.data.hold_out import hold_out
from spdq.data.query_items import QueryItems
from spdq.data.splits import Split
from spdq.features import image_extractor

COLOURS = ("red", "green", "blue", "yellow")
SHAPES = ("circle", "square", "triangle")


def softmax_terms(scores, clicked):
    """-log of the own pair's share, row by row; clicked pairs but the own one are left out."""
    terms = []
    for row, values in enumerate(scores):
        among = [math.exp(v) for c, v in enumerate(values) if c == row or not clicked[row][c]]
        terms.append(-math.log(math.exp(values[row]) / sum(among)))
    return terms


def query_vector(row, embeddings, layer, normalised):
    """One query: ``row`` its weight of every term; ``layer`` two matrices, or None."""
    total = sum((weight * vector for weight, vector in zip(row, embeddings, strict=True) if weight), 0.0)
    total = np.zeros(embeddings.shape[1]) + total
    if layer is not None:
        total = total + layer[1] @ np.maximum(layer[0] @ total, 0)
    if not normalised:
        return total
    return total / math.sqrt(float(total @ total) + 1)


def were_clicked(clicks, queries, items):
    """(q, i) list of lists, by a set of all pairs."""
    pairs = set(zip(clicks.query.tolist(), clicks.item.tolist(), strict=True))
    return [[(query, item) in pairs for item in items.tolist()] for query in queries.tolist()]


def made_log(n=48, pixels=0):
    """n items, each a coloured shape; queries are colours, shapes and both, in some spellings.

    Image features follow colour and shape with noise, or are the pixels of a picture of that side.
    """
    random = np.random.default_rng(0)
    rows = np.arange(n)
    colour, shape = rows % len(COLOURS), rows // len(COLOURS) % len(SHAPES)
    labels = np.zeros((n, len(COLOURS) + len(SHAPES)))
    labels[rows, colour] = labels[rows, len(COLOURS) + shape] = 1
    features = 3 * labels @ random.normal(size=(labels.shape[1], 16)) + random.normal(size=(n, 16))
    name = None
    if pixels:
        name = f"pixels:{pixels}"
        features = image_extractor(name).extract(
            [_picture(*pair, pixels) for pair in zip(colour, shape, strict=True)]
        )
    found = {}
    for word in range(len(COLOURS)):
        found[COLOURS[word]] = {int(row): 3 for row in rows[colour == word]}
        for other in range(len(SHAPES)):
            both = {int(row): 1 + int(row) for row in rows[(colour == word) & (shape == other)]}
            found[f"{COLOURS[word]} {SHAPES[other]}"] = both
            found[f"{SHAPES[other]}s in {COLOURS[word]}ish"] = both
    for word in range(len(SHAPES)):
        found[f"a {SHAPES[word]}"] = {int(row): 2 for row in rows[shape == word]}
    every = np.arange(n, dtype=np.int64)
    return Dataset(
        "log",
        every + 100,
        image_features=features.astype(np.float32),
        image_extractor=name,
        clicks=QueryItems.from_mapping(found),
        split=Split(np.empty(0, np.int64), every, every, "clicks", 0),
    )


def judged_log():
    """The made log with a fifth of its queries held out."""
    log = made_log()
    clicks, grades = hold_out(log.clicks, 0.2, 0)
    return replace(log, clicks=clicks, grades=grades)


def _picture(colour, shape, side):
    from PIL import Image, ImageDraw

    image = Image.new("RGB", (side, side), "white")
    draw, box = ImageDraw.Draw(image), (side // 8, side // 8, side - side // 8, side - side // 8)
    fill = COLOURS[colour]
    if shape == 0:
        draw.ellipse(box, fill=fill)
    elif shape == 1:
        draw.rectangle(box, fill=fill)
    else:
        draw.polygon([(side // 2, box[1]), (box[0], box[3]), (box[2], box[3])], fill=fill)
    return image
