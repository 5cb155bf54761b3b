"""Train cross space mapping on a click log: clicked pairs against shared and sampled negatives of both sides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spdq.data.dataset import Dataset
from spdq.errors import DataError
from spdq.features.words import WordExtractor
from spdq.losses.click_softmax import click_softmax_terms
from spdq.models.config import Recipe
from spdq.models.csm import (
    CSMModel,
    image_vectors,
    is_square,
    query_rows,
    query_vectors,
    units,
)
from spdq.models.inputs import InputMap, Standardise, fit_image_input
from spdq.networks.csm import CSMNetwork
from spdq.quantizers.codebooks import Codebooks
from spdq.training.click_pairs import ClickPairs
from spdq.training.click_validation import HeldOutClicks, parted_clicks
from spdq.training.inputs import Rows
from spdq.training.needs import lacking, training_split
from spdq.training.ranks import ALONE, Ranks
from spdq.training.task import Task, steps_for
from spdq.training.vectors import model_codebooks

MAX_FIT_IMAGES = 20_000
"""Images that the image tower's input is fitted on."""
BLOCK = 10_000
"""Images whose inputs are computed at once."""
MAX_CODED = 6000
"""Images that codebooks are learned from: with all that is beside them 18,000 vectors."""


@dataclass(frozen=True)
class CSMRecipe:
    """Every number of a training run of cross space mapping.

    The steps follow the clicked pairs: ``steps_per_row`` times their number, within the two bounds.
    """

    name: Recipe
    hidden: int = 512
    dim: int = 128
    direct: bool = False
    """Whether the image tower has a linear path beside the hidden layer."""
    query_layer: bool = False
    """Whether the query tower has a hidden layer beside the sum."""
    normalised: bool = False
    """Whether vectors have length 1. It costs a little where few items are clicked for a query (MIRFlickr's tags), and
    brings much where others of their kind would do as well (emoji)."""
    temperature: float = 1.0
    """Of the softmax. With vectors of length 1 a low one finds the clicked items better, a high one their kin."""
    input_dropout: float = 0.0
    dropout: float = 0.0
    term_dropout: float = 0.0
    """Share of the terms of a query that are left out in a step."""
    image_width: int = 512
    max_words: int = 200_000
    max_grams: int = 100_000
    buckets: int = 65_536
    """Hashed columns that words beyond ``max_words`` share."""
    batch: int = 256
    negatives: int = 256
    """Images and queries that are drawn into each batch beside those of its pairs."""
    learning_rate: float = 1e-3
    term_rate: float = 1e-2
    """The peak rate of the embeddings of terms, which meet a gradient in few steps."""
    weight_decay: float = 0.01
    steps_per_row: float = 0.04
    min_steps: int = 500
    max_steps: int = 20_000
    along: float = 1.0
    """How often the error along a vector counts when it is coded."""


RECIPES = {
    "default": CSMRecipe(
        name="default",
        direct=True,
        dim=256,
        normalised=True,
        temperature=0.15,
        input_dropout=0.2,
        dropout=0.5,
        term_dropout=0.2,
    ),
    "paper": CSMRecipe(name="paper"),
}


class CSMTask(Task[CSMModel]):
    """Both towers, learned from batches of clicked pairs.

    It needs clicks and image features; it learns from the clicks on training rows, while texts and labels of the items
    are not used. Where the image features are pixels (extractor ``pixels:SIZE``) a convolutional network learns from
    them end to end.
    """

    recipes = RECIPES
    model_class = CSMModel
    recipe: CSMRecipe
    text_extractor: WordExtractor
    network: CSMNetwork

    def __init__(self, dataset: Dataset, recipe: CSMRecipe, seed: int, bits: int) -> None:
        super().__init__(dataset, recipe, seed, bits)
        self.clicks, held = parted_clicks(dataset, seed)
        self.images, self.train = _images(dataset), training_split(dataset).train
        self.pairs = self.at_hand = ClickPairs(self.clicks, len(dataset))
        self.text_extractor = WordExtractor.fit(
            self.clicks.queries,
            letters=(3, 3),
            max_words=recipe.max_words,
            max_grams=recipe.max_grams,
            buckets=recipe.buckets,
        )
        pixels = (dataset.image_extractor or "").partition(":")[0] == "pixels"
        self.image_input = self._image_input(pixels)
        self.inputs = {"image": self.image_input}
        # Pixels are mapped as they are drawn: a second copy of them all would be the largest thing in memory.
        self.mapped = None if pixels else self._mapped()
        self.judged = None
        if held is not None:
            self.judged = HeldOutClicks(held, self.train, seed)
            self.judged_rows = self.text_extractor.transform(self.judged.queries)
        self.config = self.recipe_config(pixels=pixels)
        self.network = self.untrained_network(input_dropout=recipe.input_dropout, dropout=recipe.dropout)
        self.steps = steps_for(recipe, len(self.clicks))

    @property
    def sizes(self) -> dict[str, int]:
        held = len(self.judged.queries) if self.judged else 0
        return {
            "rows": len(self.train),
            "queries": len(self.clicks.queries),
            "clicked_pairs": len(self.clicks),
            "validation_rows": held,
        }

    def terms(self, step: int, random: np.random.Generator) -> dict[str, Tensor]:
        """The batch's pairs against each other and the sampled ones, a query's side and an image's."""
        drawn = self.pairs.draw(self.recipe.batch, random)
        extra = self.recipe.negatives
        queries = np.append(self.pairs.query[drawn], random.integers(len(self.clicks.queries), size=extra))
        images = np.append(self.pairs.item[drawn], random.choice(self.train, extra))
        scores = self._queries(queries, random) @ self._images(images).T / self.recipe.temperature
        clicked = torch.from_numpy(self.pairs.clicked(queries, images))
        b = len(drawn)
        return {
            "image": click_softmax_terms(scores[:b], clicked[:b]).mean(),
            "query": click_softmax_terms(scores.T[:b], clicked.T[:b]).mean(),
        }

    def _queries(self, places: Rows, random: np.random.Generator) -> Tensor:
        """Vectors of queries, each without some of its terms."""
        rows = self.text_extractor.transform([self.clicks.queries[place] for place in places])
        rows.data *= random.random(rows.nnz) >= self.recipe.term_dropout
        return self.ranks.embed(lambda own: self.network.query(*query_rows(own)), rows)

    def _images(self, rows: Rows) -> Tensor:
        def embed(own: Rows) -> Tensor:
            if self.mapped is not None:
                return self.network.image(self.mapped[torch.from_numpy(own)])
            return self.network.image(torch.from_numpy(self.image_input(self.images[own])))

        return self.ranks.embed(embed, rows)

    def optimizers(self) -> list[torch.optim.Optimizer]:
        """AdamW for the layers; for the embeddings of terms Adam that touches only those of the batch."""
        embeddings = self.network.queries.terms.weight
        layers = [p for p in self.network.parameters() if p is not embeddings]
        return [self.adamw(layers), torch.optim.SparseAdam([embeddings], lr=self.recipe.term_rate)]

    def validate(self) -> dict[str, float]:
        if self.judged is None:
            return {}
        queries = query_vectors(self.network, self.recipe.dim, self.judged_rows)
        found = _image_vectors(
            self.network, self.recipe.dim, self.image_input, self.images[self.judged.items], self.ranks
        )
        return self.judged.figure(queries, found)

    def _image_input(self, pixels: bool) -> InputMap:
        """Fitted on training rows; of pixels, each channel has mean 0 and deviation 1."""
        rows = self.train
        if len(rows) > MAX_FIT_IMAGES:
            rows = np.sort(np.random.default_rng([self.seed, 1]).choice(rows, MAX_FIT_IMAGES, replace=False))
        images = self.images[rows].astype(np.float32)
        if not pixels:
            return fit_image_input(images, self.recipe.image_width)
        if not is_square(images.shape[1]):
            raise DataError(
                f"{images.shape[1]} image features are not the pixels of a square picture, as their extractor "
                f"{self.dataset.image_extractor} says: import data set {self.dataset.name} anew"
            )
        channels = Standardise.fit(images.reshape(-1, 3), log=False)
        times = images.shape[1] // 3
        return Standardise(np.tile(channels.mean, times), np.tile(channels.scale, times), channels.log)

    def _mapped(self) -> Tensor:
        inputs = np.empty((len(self.images), self.image_input.out_width), np.float32)
        for start in range(0, len(inputs), BLOCK):
            inputs[start : start + BLOCK] = self.image_input(self.images[start : start + BLOCK])
        return torch.from_numpy(inputs)

    @classmethod
    def codebooks(
        cls,
        model: CSMModel,
        dataset: Dataset,
        bits: int,
        at_hand: ClickPairs | None = None,
        ranks: Ranks = ALONE,
    ) -> Codebooks:
        """Fitted on mostly training images, which are what is searched.

        Each image is there twice, beside half as many queries and units of a query and an image clicked for it.
        """
        seed, images = model.training["seed"], _images(dataset)
        pairs = at_hand or ClickPairs(parted_clicks(dataset, seed)[0], len(dataset))
        random = np.random.default_rng([seed, 3])
        rows = np.sort(random.permutation(training_split(dataset).train)[:MAX_CODED])
        drawn = pairs.draw(max(len(rows) // 2, 1), random)
        texts = model.text_extractor.transform([pairs.clicks.queries[place] for place in pairs.query[drawn]])
        queries = query_vectors(model.network, model.dim, texts)
        shown, clicked = (
            _image_vectors(model.network, model.dim, model.inputs["image"], images[chosen], ranks)
            for chosen in (rows, pairs.item[drawn])
        )
        together = units(clicked, queries, model.config.normalised)
        return model_codebooks(model, np.concatenate([shown, shown, queries, together]), bits, ranks)


def _image_vectors(
    network: CSMNetwork, dim: int, image_input: InputMap, features: NDArray[Any], ranks: Ranks
) -> NDArray[np.float32]:
    return ranks.share(lambda own: image_vectors(network, dim, image_input, own), features)


def _images(dataset: Dataset) -> NDArray[Any]:
    if dataset.image_features is None:
        raise lacking(dataset, "/image/features")
    return dataset.image_features
