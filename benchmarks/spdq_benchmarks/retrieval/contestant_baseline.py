"""Baselines as contestants: they get the very inputs that SPDQ's towers are fed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spdq.data.dataset import Dataset
from spdq.errors import DataError
from spdq.training.recipes import training_recipe
from spdq.training.rows import TrainingRows
from spdq_benchmarks.baselines.contract import Baseline, Pairs
from spdq_benchmarks.baselines.hashing import HashingBaseline
from spdq_benchmarks.baselines.quantizing import QuantizingBaseline
from spdq_benchmarks.baselines.registry import baseline_class
from spdq_benchmarks.retrieval.contestant import (
    LEARNED_BITS,
    Codes,
    Contestant,
    Floats,
    Learned,
    Rows,
    stopwatch,
)
from spdq_benchmarks.retrieval.shared_rows import shared_rows


@dataclass(frozen=True, eq=False)
class Inputs:
    """A data set and the input maps of SPDQ's default recipe, fitted on its training rows."""

    dataset: Dataset
    data: TrainingRows
    seconds: float
    """What making them took."""

    @classmethod
    def fit(cls, dataset: Dataset, seed: int) -> Inputs:
        """Raises as ``shared_rows``."""
        return cls(dataset, *shared_rows(dataset, training_recipe("default"), seed))

    def pairs(self) -> Pairs:
        """The training rows; where texts have several lines each item twice, with its whole text and its first line.

        Queries are first lines, which a method trained on whole texts alone would never have met. SPDQ draws such
        views in training.
        """
        split, labels = self.dataset.split, self.dataset.labels
        if split is None:
            raise DataError(f"data set {self.dataset.name} has no split: make one with `spdq dataset split`")
        rows = split.train
        texts = [self.data.text[rows].numpy()]
        if self.data.has_lines:
            texts.append(self.data.first_lines(rows).numpy())
        times = len(texts)
        return Pairs(
            np.tile(self.data.image[rows].numpy(), (times, 1)),
            np.concatenate(texts),
            None if labels is None else np.tile(labels[rows], (times, 1)),
        )

    def images(self, rows: Rows) -> Floats:
        """Inputs (n, d) of the image features of rows."""
        features = self.dataset.image_features
        if features is None:
            raise DataError(f"data set {self.dataset.name} has no /image/features")
        return self.data.inputs["image"](features[rows].astype(np.float32))

    def texts(self, rows: Rows, first_line: bool) -> Floats:
        """Inputs (n, e) of the text features of rows, or of the first line of each raw text."""
        if first_line and self.dataset.line_features is not None:
            return self.data.first_lines(rows).numpy()
        features, texts, words = self.dataset.text_features, self.dataset.texts, self.data.text_extractor
        if features is None:
            if texts is None or words is None:
                raise DataError(
                    f"data set {self.dataset.name} has no text: neither /text/features nor /text/utf8"
                )
            lines = [texts[row] for row in rows]
            features = words.transform(
                [(line.splitlines() or [""])[0] for line in lines] if first_line else lines
            )
            return self.data.inputs["text"](features)
        return self.data.inputs["text"](features[rows])


def learn_baseline(method: str, dataset: Dataset, seed: int) -> LearnedBaseline:
    """Learn on the training rows of the data set's split. Raises what ``Baseline.fit`` and ``shared_rows`` raise."""
    inputs = Inputs.fit(dataset, seed)
    return LearnedBaseline(baseline_class(method), inputs, inputs.pairs(), seed)


class LearnedBaseline(Learned):
    """A baseline fitted at 64 bits, which others follow from; one that starts anew for each length waits for it."""

    def __init__(self, kind: type[Baseline], inputs: Inputs, pairs: Pairs, seed: int) -> None:
        self.kind, self.inputs, self.pairs, self.seed = kind, inputs, pairs, seed
        self.train_seconds = 0.0
        self.model = None if kind.with_bits is Baseline.with_bits else self._fit(LEARNED_BITS)

    @property
    def floats(self) -> Contestant | None:
        if not isinstance(self.model, QuantizingBaseline):
            return None
        return self._contestant(self.model, 0.0)

    def with_bits(self, bits: int) -> Contestant:
        if self.model is None:
            return self._contestant(self._fit(bits), 0.0)
        if bits == LEARNED_BITS:
            return self._contestant(self.model, 0.0)
        with stopwatch() as watch:
            model = self.model.with_bits(bits)
        return self._contestant(model, watch.seconds)

    def _fit(self, bits: int) -> Baseline:
        with stopwatch() as watch:
            model = self.kind().fit(self.pairs, bits, self.seed)
        self.train_seconds = self.inputs.seconds + watch.seconds
        return model

    def _contestant(self, model: Baseline, code_seconds: float) -> Contestant:
        hashing = isinstance(model, HashingBaseline)
        made = HashingContestant if hashing else BaselineContestant
        return made(model, self.inputs, self.train_seconds, code_seconds)


class BaselineContestant(Contestant):
    """A fitted baseline whose queries stay float vectors."""

    def __init__(self, model: Baseline, inputs: Inputs, train_seconds: float, code_seconds: float) -> None:
        super().__init__(model.bits, dict(model.settings), train_seconds, code_seconds)
        self.model, self.inputs = model, inputs

    def images(self, rows: Rows) -> Floats:
        return self.model.embed_image(self.inputs.images(rows))

    def texts(self, rows: Rows, first_line: bool = False) -> Floats:
        return self.model.embed_text(self.inputs.texts(rows, first_line))

    def units(self, images: Floats, texts: Floats) -> Floats:
        return self.model.embed_unit(images, texts)

    def encode(self, vectors: Floats) -> Codes:
        return self.model.encode(vectors)

    def code_distances(self, queries: Floats, codes: Codes) -> NDArray[Any]:
        return self.model.distances(queries, codes)

    def vector_distances(self, queries: Floats, vectors: Floats) -> NDArray[Any]:
        products = super().vector_distances(queries, vectors)
        if isinstance(self.model, QuantizingBaseline) and self.model.metric == "l2":
            products = 2 * products + np.square(vectors).sum(axis=1) + np.square(queries).sum(axis=1)[:, None]
        return products


class HashingContestant(BaselineContestant):
    """A fitted baseline whose queries are codes."""

    query = "code"
