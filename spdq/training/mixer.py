"""Train the Mixer: query images and documents as equal samples of the same classes.

Confirmed by the abstract: classification into very many classes, weakly supervised data organised against skew and
noise. The loss, how classes are drawn, the rule against noise and the parts of the memory are a reconstruction.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from spdq.data.dataset import Dataset
from spdq.losses.margin_softmax import margin_softmax_terms
from spdq.models.config import Recipe
from spdq.models.mixer import MixerModel
from spdq.networks.mixer import MixerNetwork
from spdq.quantizers.codebooks import Codebooks
from spdq.training.class_head import ClassHead, RowAdagrad
from spdq.training.class_items import ClassItems, NoiseRule
from spdq.training.class_samples import classed_rows, held_out_classes, learners
from spdq.training.inputs import Rows, item_inputs, mapped_items
from spdq.training.mixer_items import MixerItems
from spdq.training.ranks import ALONE, Ranks
from spdq.training.task import Task, steps_for
from spdq.training.vectors import model_codebooks, reciprocal_rank

Cost = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class MixerRecipe:
    """Every number of a training run of the Mixer."""

    name: Recipe
    hidden: int = 512
    dim: int = 256
    concepts: int = 1
    slots: int = 64
    parts: int = 1
    """Parts of the memory; with more than one, a document's concepts come from a part that never saw its class."""
    input_dropout: float = 0.1
    text_dropout: float = 0.1
    dropout: float = 0.3
    image_width: int = 256
    text_width: int = 1024
    batch: int = 128
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    class_rate: float = 1.0
    """Length of a class weight's first step."""
    steps_per_row: float = 0.1
    min_steps: int = 300
    max_steps: int = 20_000
    margin: float = 0.2
    scale: float = 16.0
    sampled: int = 16_384
    """Classes that take part in a step."""
    class_power: float = 1.0
    """Classes are drawn in proportion to their size to this power."""
    image: float = 1.0
    """Weight of documents of an image alone; 0 leaves them out."""
    text: float = 1.0
    """Weight of documents of a text alone."""
    unit: float = 1.0
    """Weight of documents of both."""
    first_line: float = 0.1
    single_line: float = 0.1
    judge_from: float = 1.0
    """Share of the steps after which classes are judged; 1 trusts all."""
    judge_every: float = 1.0
    """Passes over the items from one judgement to the next: each looks at all of them."""
    far: float = 0.5
    lead: float = 0.2
    near: float = 0.5
    apart: float = 1.5
    """See ``NoiseRule``."""
    along: float = 4.0
    """How often the error along a vector counts when it is coded."""


RECIPES = {
    "default": MixerRecipe(name="default", parts=6, class_power=0.5, judge_from=0.15),
    "paper": MixerRecipe(name="paper", concepts=4),
}


class MixerTask(Task[MixerModel]):
    """The network, a weight a class, and the classes that items count for.

    It needs classes, two at least, image features, and text features or raw texts; labels are not used. It learns from
    the training rows that have a class: every item is a sample of its class as a query, by its image, and as a
    document of its image, of its text and of both, as far as it has them. A class with one item is learned like any
    other; a batch of one class has its negatives among the sampled classes.
    """

    recipes = RECIPES
    model_class = MixerModel
    recipe: MixerRecipe
    network: MixerNetwork

    def __init__(self, dataset: Dataset, recipe: MixerRecipe, seed: int, bits: int) -> None:
        super().__init__(dataset, recipe, seed, bits)
        rows, self.classes = classed_rows(dataset)
        self.train, self.validation = held_out_classes(rows, self.classes, seed)
        items = item_inputs(
            dataset, self.train, recipe.image_width, recipe.text_width, seed, dataset.image_regions
        )
        self.inputs, self.text_extractor = items.inputs, items.text_extractor
        self.items = self.at_hand = MixerItems.of(dataset, items, recipe.parts)
        given = np.unique(self.classes[self.train], return_inverse=True)[1]
        self.samples = ClassItems(given, recipe.class_power)
        parts = np.where(self.items.has_text[self.train], self.items.parts[self.train], -1)
        self.learners = learners(given, parts, recipe.parts)
        self.head = ClassHead(self.samples.n_classes, recipe.dim, recipe.sampled)
        self.config = self.recipe_config(regions=dataset.image_regions)
        self.network = self.untrained_network(
            input_dropout=recipe.input_dropout,
            text_dropout=recipe.text_dropout,
            dropout=recipe.dropout,
        )
        self.steps = steps_for(recipe, len(self.train))
        self.judge_steps = max(1, round(recipe.judge_every * len(self.train) / recipe.batch))

    @property
    def sizes(self) -> dict[str, int]:
        return {
            "rows": len(self.train),
            "validation_rows": len(self.validation),
            "classes": self.samples.n_classes,
        }

    def optimizers(self) -> list[torch.optim.Optimizer]:
        return [*super().optimizers(), RowAdagrad(self.head.weights, self.recipe.class_rate)]

    def state(self) -> dict[str, Tensor]:
        return {
            "class_weights": self.head.weights.detach(),
            "classes": torch.from_numpy(self.samples.classes),
        }

    def restore(self, state: dict[str, Tensor]) -> None:
        self.head.weights.data.copy_(state["class_weights"])
        self.samples.count_for(state["classes"].numpy())

    def terms(self, step: int, random: np.random.Generator) -> dict[str, Tensor]:
        recipe = self.recipe
        if step >= recipe.judge_from * self.steps and step % self.judge_steps == 0:
            self._judge()
        drawn = self.samples.draw(recipe.batch, random)
        own = self.samples.classes[drawn]
        classes = self.head.sample(own, random)
        places = torch.from_numpy(np.searchsorted(classes, own))
        weights = self.ranks.alike(self.head.rows(classes))

        def cost(vectors: Tensor, of: Tensor) -> Tensor:
            terms = margin_softmax_terms(
                vectors, weights, places[of], margin=recipe.margin, scale=recipe.scale
            )
            return terms.sum() / max(len(terms), 1)

        return self._costs(drawn, cost, random)

    def _costs(self, drawn: Rows, cost: Cost, random: np.random.Generator) -> dict[str, Tensor]:
        """Terms of each form that the drawn items have as samples."""
        recipe, network, rows = self.recipe, self.network, self.train[drawn]
        embed = self.ranks.embed
        seen, told = torch.from_numpy(self.items.has_image[rows]), torch.from_numpy(self.items.has_text[rows])
        everyone = torch.arange(len(rows))
        regions = embed(network.encoder, self.items.image[rows])
        costs = {"query": cost(embed(network.query, regions[seen]), everyone[seen])}
        if recipe.image:
            images = embed(lambda own: network.document(own, None), regions[seen])
            costs["image"] = recipe.image * cost(images, everyone[seen])
        if not recipe.text and not recipe.unit:
            return costs
        texts = self.items.text_views(rows, recipe, random)
        concepts = torch.stack(
            [embed(partial(network.memory, part=part), texts) for part in range(recipe.parts)]
        )
        if recipe.text:
            part, who = torch.from_numpy(self.learners[drawn].T).logical_and(told).nonzero(as_tuple=True)
            told_of = embed(lambda own: network.document(None, own), concepts[part, who])
            costs["text"] = recipe.text * cost(told_of, who)
        if recipe.unit:
            both = everyone[seen & told]
            said = concepts[self.items.parts[rows[both]], both]
            # The fusion must not teach a part the texts that it is to read as unknown ones.
            said = said.detach() if recipe.parts > 1 else said
            costs["unit"] = recipe.unit * cost(embed(network.document, regions[both], said), both)
        return costs

    def _judge(self) -> None:
        """Let the rule against noise set the classes that items count for."""
        recipe = self.recipe
        self.network.eval()
        queries = self.items.queries(self.network, self.train, self.ranks)
        documents = self.items.documents(self.network, self.train, self.ranks)
        self.network.train()
        vectors = functional.normalize(torch.from_numpy(queries + documents), dim=1).numpy()
        rule = NoiseRule(recipe.far, recipe.lead, recipe.near, recipe.apart)
        classes = rule.judge(vectors, self.samples.given, self.head.weights.detach().numpy())
        self.samples.count_for(self.ranks.told_arrays({"classes": classes})["classes"])

    def validate(self) -> dict[str, float]:
        if not len(self.validation):
            return {}
        queries = self.validation[np.unique(self.classes[self.validation], return_index=True)[1]]
        others = np.setdiff1d(np.concatenate([self.train, self.validation]), queries)
        own = self.classes[queries][:, None] == self.classes[others][None, :]
        asked = self.items.queries(self.network, queries, self.ranks)
        found = self.items.documents(self.network, others, self.ranks)
        return {"reciprocal rank i2u": reciprocal_rank(asked, found, own)}

    @classmethod
    def codebooks(
        cls,
        model: MixerModel,
        dataset: Dataset,
        bits: int,
        at_hand: MixerItems | None = None,
        ranks: Ranks = ALONE,
    ) -> Codebooks:
        """Fitted on the rows with a class, those to validate with included, as documents and as queries."""
        items = at_hand
        if items is None:
            mapped = mapped_items(dataset, model.inputs, model.text_extractor, model.config.regions)
            items = MixerItems.of(dataset, mapped, model.config.parts)
        rows, _ = classed_rows(dataset)
        both = items.documents(model.network, rows, ranks), items.queries(model.network, rows, ranks)
        vectors = np.concatenate(both)
        return model_codebooks(model, vectors[vectors.any(axis=1)], bits, ranks)
