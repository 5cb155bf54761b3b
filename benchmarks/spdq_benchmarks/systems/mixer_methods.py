"""The Mixer and what it is held against: a document's image alone, its text alone, and both fused late."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from spdq.data.dataset import Dataset
from spdq.models.mixer import MixerModel
from spdq.models.rows import embed_rows, text_features, unit_features
from spdq.training.class_samples import classed_rows
from spdq.training.mixer import MixerTask
from spdq.training.run import train_task
from spdq_benchmarks.evaluation import query_vectors
from spdq_benchmarks.relevance import relevance
from spdq_benchmarks.systems.vectors import Floats, Vectors, checked_split, fitted_on, model_vectors

DIRECTIONS = ("i2u",)
SHARES = (0.0, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0)
"""Weights of the text that late fusion may take, the image counting 1."""


def mixer(dataset: Dataset, seed: int, name: str = "default", **changes: Any) -> Vectors:
    """A recipe of the system, or what it is with some numbers changed."""
    recipe = dataclasses.replace(MixerTask.recipes[name], **changes)
    model = train_task(MixerTask, dataset, recipe=recipe, seed=seed)
    return model_vectors(model, dataset, DIRECTIONS, dataclasses.asdict(recipe))


def mixer_paper(dataset: Dataset, seed: int) -> Vectors:
    """The reconstruction of the paper."""
    return mixer(dataset, seed, "paper")


def plain(dataset: Dataset, seed: int) -> Vectors:
    """Plain classification: the same network, no balancing of classes, every label believed."""
    return mixer(dataset, seed, class_power=1.0, judge_from=1.0)


def image_only(dataset: Dataset, seed: int) -> Vectors:
    """Documents are their image; the network is trained without any text."""
    model, settings = _image_model(dataset, seed)
    rows = _rows(dataset)
    return Vectors(
        {"i": query_vectors(model, dataset, checked_split(dataset), "i")},
        {"u": _images(model, dataset, checked_split(dataset).database)},
        fitted_on(_images(model, dataset, rows), seed),
        settings,
    )


def text_only(dataset: Dataset, seed: int) -> Vectors:
    """Documents are their text, queries images as ever."""
    model, settings = _text_model(dataset, seed)
    split = checked_split(dataset)
    return Vectors(
        {"i": query_vectors(model, dataset, split, "i")},
        {"u": embed_rows(model, dataset, "t", split.database)},
        fitted_on(embed_rows(model, dataset, "t", _rows(dataset)), seed),
        settings,
    )


def late_fusion(dataset: Dataset, seed: int) -> Vectors:
    """Scores of the two added up, the text's with the weight that does best on the very queries: a bound from above."""
    seen, settings = _image_model(dataset, seed)
    told, _ = _text_model(dataset, seed)
    split = checked_split(dataset)
    judge = relevance(dataset, split, "")
    queries = np.concatenate([query_vectors(model, dataset, split, "i") for model in (seen, told)], axis=1)

    def documents(rows: Any, share: float) -> Floats:
        texts = np.float32(share) * embed_rows(told, dataset, "t", rows)
        return np.concatenate([_images(seen, dataset, rows), texts], axis=1)

    def figure(share: float) -> float:
        return judge(-(queries @ documents(split.database, share).T), ["map@all"], None)[0].value

    best = max(SHARES, key=figure)
    return Vectors(
        {"i": queries},
        {"u": documents(split.database, best)},
        fitted_on(documents(_rows(dataset), best), seed),
        {**settings, "text_share": best},
    )


def _image_model(dataset: Dataset, seed: int) -> tuple[MixerModel, dict[str, Any]]:
    return _changed(dataset, seed, text=0.0, unit=0.0)


def _text_model(dataset: Dataset, seed: int) -> tuple[MixerModel, dict[str, Any]]:
    return _changed(dataset, seed, image=0.0, unit=0.0)


def _changed(dataset: Dataset, seed: int, **changes: Any) -> tuple[MixerModel, dict[str, Any]]:
    recipe = dataclasses.replace(MixerTask.recipes["default"], **changes)
    return train_task(MixerTask, dataset, recipe=recipe, seed=seed), dataclasses.asdict(recipe)


def _images(model: MixerModel, dataset: Dataset, rows: Any) -> Floats:
    """Documents of nothing but their images."""
    images, _ = unit_features(model, dataset, rows)
    return model.embed_unit(images, 0 * text_features(model, dataset, rows))


def _rows(dataset: Dataset) -> Any:
    return classed_rows(dataset)[0]


METHODS = {
    "mixer": mixer,
    "mixer-paper": mixer_paper,
    "plain": plain,
    "image-only": image_only,
    "text-only": text_only,
    "late-fusion": late_fusion,
}
