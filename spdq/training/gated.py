"""Train the gated joint embedding: every query form against every target form, hardest negatives of the batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from spdq.data.dataset import Dataset
from spdq.losses.structured_hinge import structured_hinge_terms
from spdq.models.config import Recipe
from spdq.models.gated import GatedModel
from spdq.models.inputs import Columns
from spdq.models.network import in_batches
from spdq.networks.gated import GatedNetwork
from spdq.quantizers.codebooks import Codebooks
from spdq.training.inputs import (
    ItemInputs,
    Rows,
    item_inputs,
    mapped_items,
    validation_rows,
)
from spdq.training.needs import training_split
from spdq.training.partners import Partners
from spdq.training.ranks import ALONE, Ranks
from spdq.training.task import Task, steps_for
from spdq.training.vectors import Floats, model_codebooks, reciprocal_rank


@dataclass(frozen=True)
class GatedRecipe:
    """Every number of a training run of the gated joint embedding."""

    name: Recipe
    hidden: int = 512
    dim: int = 256
    guess: float = 1.0
    """Weight of the half of the space that a query can only guess (``GatedNetwork``)."""
    direct: bool = False
    """Whether the towers have a linear path beside the hidden layer."""
    input_dropout: float = 0.1
    dropout: float = 0.3
    image_width: int = 256
    text_width: int = 1024
    batch: int = 128
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    steps_per_row: float = 0.6
    min_steps: int = 300
    max_steps: int = 1500
    margin: float = 0.2
    first_line: float = 0.3
    single_line: float = 0.25
    along: float = 4.0
    """How often the error along a vector counts when it is coded."""


RECIPES = {
    "default": GatedRecipe(name="default", direct=True, guess=0.1),
    "paper": GatedRecipe(name="paper"),
}


class GatedTask(Task[GatedModel]):
    """Towers and gate, and the six tasks {text, image} query x {text, image, unit} target of every batch.

    It needs image features, and text features or raw texts; labels are not used. Where the data set has classes, an
    item's partner is another item of its class: the query forms of one meet the target forms of the other. Elsewhere
    an item is its own partner, by another view of its text.
    """

    recipes = RECIPES
    model_class = GatedModel
    recipe: GatedRecipe
    network: GatedNetwork

    def __init__(self, dataset: Dataset, recipe: GatedRecipe, seed: int, bits: int) -> None:
        super().__init__(dataset, recipe, seed, bits)
        self.train, self.validation = validation_rows(training_split(dataset).train, seed)
        self.items = item_inputs(dataset, self.train, recipe.image_width, recipe.text_width, seed)
        self.inputs, self.text_extractor, self.at_hand = (
            self.items.inputs,
            self.items.text_extractor,
            self.items,
        )
        self.partners = Partners(dataset.classes, self.train, len(dataset))
        self.config = self.recipe_config()
        self.network = self.untrained_network(input_dropout=recipe.input_dropout, dropout=recipe.dropout)
        self.steps = steps_for(recipe, len(self.train))

    @property
    def sizes(self) -> dict[str, int]:
        return {"rows": len(self.train), "validation_rows": len(self.validation)}

    def terms(self, step: int, random: np.random.Generator) -> dict[str, Tensor]:
        rows = random.choice(self.train, min(self.recipe.batch, len(self.train)), replace=False)
        partners = self.partners.draw(rows, random)
        texts, their_texts = self._texts(rows, partners, random)
        network, embed = self.network, self.ranks.embed
        queries = {
            "i": network.query_weights("image") * embed(network.image, self.items.image[rows]),
            "t": network.query_weights("text") * embed(network.text, texts),
        }
        targets = {
            "i": embed(network.image, self.items.image[partners]),
            "t": embed(network.text, their_texts),
        }
        targets["u"] = embed(network.unit, targets["i"], targets["t"])
        cost = self.recipe.margin * torch.from_numpy(self.partners.differ(rows)).float()
        return {
            f"{query}2{target}": structured_hinge_terms(vectors / network.highest_score, theirs, cost).mean()
            for query, vectors in queries.items()
            for target, theirs in targets.items()
        }

    def _texts(self, rows: Rows, partners: Rows, random: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Views of the items' and of their partners' texts; of one text they are two different ones."""
        if self.items.has_lines:
            views = (self.items.text_views(chosen, self.recipe, random) for chosen in (rows, partners))
            return next(views), next(views)
        if self.items.inputs["text"].kind == Columns.kind:
            return parted(self.items.text[rows], self.items.text[partners], random)
        return self.items.text[rows], self.items.text[partners]

    def validate(self) -> dict[str, float]:
        if not len(self.validation):
            return {}
        rows = np.concatenate([self.validation, self.train])
        units = _forms(self.network, self.items, rows, self.ranks)["u"]
        queries = _forms(self.network, self.items, self.validation, self.ranks)
        own = self.partners.same(self.validation, rows)
        return {
            f"reciprocal rank {modality[0]}2u": reciprocal_rank(
                queries[modality[0]] * self.network.query_weights(modality).numpy(), units, own
            )
            for modality in ("text", "image")
        }

    @classmethod
    def codebooks(
        cls,
        model: GatedModel,
        dataset: Dataset,
        bits: int,
        at_hand: ItemInputs | None = None,
        ranks: Ranks = ALONE,
    ) -> Codebooks:
        """Fitted on the training rows, those to validate with included, as images, texts and units."""
        items = at_hand or mapped_items(dataset, model.inputs, model.text_extractor)
        forms = _forms(model.network, items, training_split(dataset).train, ranks)
        return model_codebooks(model, np.concatenate(list(forms.values())), bits, ranks)


def parted(texts: Tensor, theirs: Tensor, random: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Two views of bags of words: each word goes to one side, at random; lengths are kept.

    A side that would be empty keeps all its words: a text of one word is both query and target.
    """
    chosen = torch.from_numpy(random.random(texts.shape) < 0.5)
    sides = []
    for whole, part in ((texts, texts * chosen), (theirs, theirs * ~chosen)):
        length = torch.linalg.vector_norm(whole, dim=1, keepdim=True)
        left = torch.linalg.vector_norm(part, dim=1, keepdim=True)
        sides.append(torch.where(left > 0, part * (length / left.clamp(min=1e-12)), whole))
    return sides[0], sides[1]


def _forms(network: GatedNetwork, items: ItemInputs, rows: Rows, ranks: Ranks) -> dict[str, Floats]:
    """Vectors (r, dim) of rows as images, texts and units, the network in evaluation mode."""
    dim = network.gate.out_features
    network.eval()

    def embed(part: Callable[..., Tensor], *inputs: Floats) -> Floats:
        return ranks.share(lambda *own: in_batches(part, dim, *own), *inputs)

    forms = {
        "i": embed(network.image, items.image[rows].numpy()),
        "t": embed(network.text, items.text[rows].numpy()),
    }
    forms["u"] = embed(network.unit, forms["i"], forms["t"])
    return forms
