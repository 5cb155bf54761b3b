"""Records of a retrieval run in their exact format: random, but methods have a strength and queries a difficulty."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

STRENGTHS = {
    "spdq": 0.62,
    "spdq-paper": 0.55,
    "spdq-paper:no-mmd": 0.54,
    "kernel-ridge-aq": 0.6,
    "ridge-opq": 0.57,
    "dcmh": 0.5,
    "seph-km": 0.48,
    "cca": 0.35,
    "cvh": 0.3,
}
FLOAT_METHODS = ("spdq", "spdq-paper", "kernel-ridge-aq", "ridge-opq", "cca")
"""Those whose queries are floats."""
TRAININGS = {"rest": ("seen", "heldout"), "half": ("unseen",), "everything": ("trained",)}
INSTANCE = ("instance-recall@1", "instance-recall@10")
LABELLED = ("map@50", "map@all", "map@50/first-hits", "pr-curve")
LOSS = {"seen": 0.0, "unseen": 0.12, "heldout": 0.3, "trained": 0.05, "queries": 0.1}
RANKS = (1, 2, 5, 10, 20, 50, 100, 200)

PUBLISHED = """
[methods]
SCM = "scm-seq"
[data_sets.F]
name = "MIRFlickr-25K"
ours = ["mirflickr"]
[[table]]
id = "made"
paper = "Somebody"
venue = "Somewhere"
year = 2017
number = "Table 1"
protocol = "MAP@50"
nearest = "map@50"
bits = [16, 32]
seen = "partly"
rows = [
  { method = "SCM", F = [[0.5, 0.6], [0.7, 0.8]] },
]
[table.sets.F]
items = 100
features = "GIST"
"""
"""A published table of made figures, as in published.toml."""


def made_records(
    datasets: Mapping[str, Sequence[str]] | None = None,
    methods: Mapping[str, float] | None = None,
    bits: Sequence[int] = (16, 64, 128),
    seeds: int = 2,
    queries: int = 40,
    trainings: Sequence[str] = ("rest", "half", "everything"),
) -> list[dict[str, Any]]:
    """One record a job, length and coding. ``datasets``: name to label sets, by default one without and one with two.

    Methods stronger than .5 have ``seeds`` seeds, the rest one.
    """
    datasets = {"wikipedia": [""], "emoji": ["group:", "subgroup:"]} if datasets is None else datasets
    methods = STRENGTHS if methods is None else methods
    return [
        made_record(dataset, label_sets, training, seed, method, strength, length, queries)
        for dataset, label_sets in datasets.items()
        for training in trainings
        for method, strength in methods.items()
        for seed in range(seeds if strength > 0.5 else 1)
        for length in (*((0,) if method in FLOAT_METHODS else ()), *bits)
    ]


def made_record(
    dataset: str,
    label_sets: Sequence[str],
    training: str,
    seed: int,
    method: str,
    strength: float,
    bits: int,
    queries: int = 40,
) -> dict[str, Any]:
    """One record; bits 0 are float vectors."""
    figures = [
        figure
        for split in TRAININGS[training]
        for figure in _figures(f"{dataset} {split}", seed, split, label_sets, method, strength, bits, queries)
    ]
    return bare_record(method, bits, figures, seed, dataset, training, queries)


def bare_record(
    method: str,
    bits: int,
    figures: Sequence[Mapping[str, Any]],
    seed: int = 0,
    dataset: str = "made",
    training: str = "rest",
    queries: int = 40,
) -> dict[str, Any]:
    """A record of the figures given. It survives a trip through JSON unchanged."""
    sizes = {"seen": 200, "unseen": 100, "heldout": 200 + queries, "trained": 200 + queries}
    record = {
        "format": "spdq-retrieval-record",
        "version": 1,
        "key": _hex(dataset, training, seed, method, bits),
        "dataset": dataset,
        "dataset_digest": _hex(dataset),
        "training": training,
        "seed": seed,
        "method": method,
        "bits": bits,
        "coding": "codes" if bits else "vectors",
        "code_bytes": bits // 8 if bits else 256,
        "query": "float" if method in FLOAT_METHODS else "code",
        "labels": True,
        "rows": {
            "query": queries if training != "everything" else 200 + queries,
            "train": {"rest": 200, "half": 100, "everything": 200 + queries}[training],
            "database": {split: sizes[split] for split in TRAININGS[training]},
        },
        "settings": {"steps": 300},
        "threads": 1,
        "machine": {"cpu": "made", "cores": 2},
        "versions": {"spdq": "0.1.0", "numpy": "2.4.6", "faiss-cpu": None},
        "seconds": {
            "train": 10.0 + seed,
            "fit_code": 0.25,
            "encode_per_image": 1.5e-5,
            "encode_per_text": 2.5e-5,
        },
        "figures": list(figures),
    }
    copied: dict[str, Any] = json.loads(json.dumps(record))
    return copied


def told_records(
    means: Mapping[str, Mapping[int, Sequence[float]]],
    split: str = "seen",
    protocol: str = "map@all",
    directions: Sequence[str] = ("i2t", "t2i"),
    labels: str = "",
    dataset: str = "made",
) -> list[dict[str, Any]]:
    """Records of the very values given, by method and bits one a seed, the same in all directions; no single scores."""
    return [
        bare_record(
            method,
            bits,
            [told_figure(split, labels, direction, protocol, value) for direction in directions],
            seed,
            dataset,
            next((name for name, splits in TRAININGS.items() if split in splits), "rest"),
        )
        for method, by_bits in means.items()
        for bits, values in by_bits.items()
        for seed, value in enumerate(values)
    ]


def told_figure(
    split: str, labels: str, direction: str, protocol: str, value: float | None
) -> dict[str, Any]:
    """One figure of a value, without scores of queries."""
    figure = {"split": split, "labels": labels, "direction": direction, "protocol": protocol}
    same = {"value": value, "lowest": value, "highest": value}
    return {**figure, **same, "queries": 40, "skipped": 0, "empty": 0}


def _figures(
    name: str,
    seed: int,
    split: str,
    label_sets: Sequence[str],
    method: str,
    strength: float,
    bits: int,
    queries: int,
) -> Iterator[dict[str, Any]]:
    is_labelled = split in ("seen", "unseen")
    directions = ("i2t", "t2i", "t2u") if is_labelled else ("t2i", "t2u")
    for labels in label_sets if is_labelled else [""]:
        for direction in directions:
            for protocol in LABELLED if is_labelled else INSTANCE:
                difficulty = _random(name, labels, direction).normal(0, 0.1, queries)
                noise = _random(name, labels, direction, protocol, seed, method, bits).normal(
                    0, 0.03, queries
                )
                kept = 1 - 0.3 / bits if bits else 1.0
                scores = np.clip(strength * kept - LOSS[split] + difficulty + noise, 0.01, 0.99)
                if protocol in INSTANCE:
                    scores = (scores > (0.35 if protocol == INSTANCE[0] else 0.15)).astype(float)
                yield made_figure(split, labels, direction, protocol, scores)


def made_figure(
    split: str, labels: str, direction: str, protocol: str, scores: NDArray[np.float64]
) -> dict[str, Any]:
    """One figure of queries' scores; NaN is a query that was left out."""
    value = None if np.isnan(scores).all() else float(np.nanmean(scores))
    figure: dict[str, Any] = {
        "split": split,
        "labels": labels,
        "direction": direction,
        "protocol": protocol,
        "value": value,
        "lowest": value,
        "highest": None if value is None else value + 0.002,
        "queries": len(scores),
        "skipped": int(np.isnan(scores).sum()),
        "empty": 0,
        "each": [None if np.isnan(score) else round(float(score), 5) for score in scores],
    }
    if protocol == "pr-curve" and value is not None:
        del figure["each"]
        figure["points"] = [
            {"rank": rank, "recall": [recall] * 3, "precision": [value * (1 - 0.5 * recall)] * 3}
            for rank, recall in ((rank, rank / RANKS[-1]) for rank in RANKS)
        ]
    return figure


def _random(*words: object) -> np.random.Generator:
    return np.random.default_rng(int(_hex(*words)[:16], 16))


def _hex(*words: object) -> str:
    return hashlib.sha256(" ".join(map(str, words)).encode()).hexdigest()
