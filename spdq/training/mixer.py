"""Train the Mixer: query images and documents as equal samples of the same classes.

Confirmed by the abstract: classification into very many classes, weakly supervised data organised against skew and
noise. The loss, how classes are drawn, the rule against noise and the parts of the memory are a reconstruction.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from spdq.data.dataset import Dataset
from spdq.losses.margin_softmax import margin_softmax_terms
from spdq.models.config import Recipe
from spdq.models.mixer import MixerConfig, MixerModel, document_vectors, memory_parts, query_vectors
from spdq.models.model import present
from spdq.networks.mixer import MixerNetwork
from spdq.training.class_head import ClassHead, RowAdagrad
from spdq.training.class_items import ClassItems, NoiseRule
from spdq.training.class_samples import classed_rows, held_out_classes, learners
from spdq.training.inputs import ItemInputs, Rows, image_settings, item_inputs
from spdq.training.loop import Progress, Task
from spdq.training.recipes import named_recipe, steps_for
from spdq.training.run import run_training
from spdq.training.vectors import additive_codebooks, reciprocal_rank

Floats = NDArray[np.float32]
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
    judge_every: int = 50
    far: float = 0.5
    lead: float = 0.1
    near: float = 0.5
    """See ``NoiseRule``."""
    along: float = 4.0
    """How often the error along a vector counts when it is coded."""


RECIPES = {
    "default": MixerRecipe(name="default", parts=6, class_power=0.5, judge_from=0.5),
    "paper": MixerRecipe(name="paper", concepts=4),
}


def train_mixer(
    dataset: Dataset,
    bits: int = 64,
    recipe: str | MixerRecipe = "default",
    seed: int = 0,
    directory: Path | None = None,
    resume: bool = False,
    progress: Progress | None = None,
) -> MixerModel:
    """Train on the training rows of a data set's split that have a class; labels are not used.

    Every item is a sample of its class as a query, by its image, and as a document of its image, of its text and of
    both, as far as it has them. A class with one item is learned like any other; a batch of one class has its
    negatives among the sampled classes.

    Parameters
    ----------
    dataset
        With a split, classes, image features, and text features or raw texts.
    bits, seed, directory, resume, progress
        As ``run_training``.
    recipe
        "default", "paper", or settings of one's own.

    Raises
    ------
    UsageError
        Unknown recipe or bits, a negative seed.
    DataError
        The data set lacks what training needs: two classes at least.
    IncompatibleError, StorageError
        As ``run_training``.
    """
    settings = named_recipe(RECIPES, recipe) if isinstance(recipe, str) else recipe

    def task() -> MixerTask:
        return MixerTask(dataset, settings, seed, bits)

    model = run_training(task, dataset, asdict(settings), bits, seed, directory, resume, progress)
    return cast(MixerModel, model)


class MixerTask(Task):
    """The network, a weight a class, and the classes that items count for."""

    network: MixerNetwork

    def __init__(self, dataset: Dataset, recipe: MixerRecipe, seed: int, bits: int) -> None:
        rows, self.classes = classed_rows(dataset)
        self.dataset, self.recipe, self.seed, self.bits = dataset, recipe, seed, bits
        self.train, self.validation = held_out_classes(rows, self.classes, seed)
        self.items = item_inputs(
            dataset, self.train, recipe.image_width, recipe.text_width, seed, dataset.image_regions
        )
        texts = _text_features(dataset, self.items)
        self.has_image, self.has_text = present(dataset.image_features), present(texts)
        self.parts = memory_parts(texts, recipe.parts)
        given = np.unique(self.classes[self.train], return_inverse=True)[1]
        self.samples = ClassItems(given, recipe.class_power)
        parts = np.where(self.has_text[self.train], self.parts[self.train], -1)
        self.learners = learners(given, parts, recipe.parts)
        self.head = ClassHead(self.samples.n_classes, recipe.dim, recipe.sampled)
        network = MixerNetwork(
            self.items.inputs["image"].out_width,
            dataset.image_regions,
            self.items.inputs["text"].out_width,
            hidden=recipe.hidden,
            dim=recipe.dim,
            concepts=recipe.concepts,
            slots=recipe.slots,
            parts=recipe.parts,
            input_dropout=recipe.input_dropout,
            text_dropout=recipe.text_dropout,
            dropout=recipe.dropout,
        )
        super().__init__(
            network, steps_for(recipe, len(self.train)), recipe.learning_rate, recipe.weight_decay
        )

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
        if step >= recipe.judge_from * self.steps and step % recipe.judge_every == 0:
            self._judge()
        drawn = self.samples.draw(recipe.batch, random)
        own = self.samples.classes[drawn]
        classes = self.head.sample(own, random)
        places = torch.from_numpy(np.searchsorted(classes, own))
        weights = self.head.rows(classes)

        def cost(vectors: Tensor, of: Tensor) -> Tensor:
            terms = margin_softmax_terms(
                vectors, weights, places[of], margin=recipe.margin, scale=recipe.scale
            )
            return terms.sum() / max(len(terms), 1)

        return self._costs(drawn, cost, random)

    def _costs(self, drawn: Rows, cost: Cost, random: np.random.Generator) -> dict[str, Tensor]:
        """Terms of each form that the drawn items have as samples."""
        recipe, network, rows = self.recipe, self.network, self.train[drawn]
        seen, told = torch.from_numpy(self.has_image[rows]), torch.from_numpy(self.has_text[rows])
        everyone = torch.arange(len(rows))
        regions = network.encoder(self.items.image[rows])
        costs = {"query": cost(network.query(regions[seen]), everyone[seen])}
        if recipe.image:
            costs["image"] = recipe.image * cost(network.document(regions[seen], None), everyone[seen])
        if not recipe.text and not recipe.unit:
            return costs
        texts = self.items.text_views(rows, recipe, random)
        concepts = torch.stack([network.memory(texts, part) for part in range(recipe.parts)])
        if recipe.text:
            part, who = torch.from_numpy(self.learners[drawn].T).logical_and(told).nonzero(as_tuple=True)
            costs["text"] = recipe.text * cost(network.document(None, concepts[part, who]), who)
        if recipe.unit:
            both = everyone[seen & told]
            said = concepts[self.parts[rows[both]], both]
            # The fusion must not teach a part the texts that it is to read as unknown ones.
            said = said.detach() if recipe.parts > 1 else said
            costs["unit"] = recipe.unit * cost(network.document(regions[both], said), both)
        return costs

    def _judge(self) -> None:
        """Let the rule against noise set the classes that items count for."""
        recipe = self.recipe
        self.network.eval()
        queries, documents = self._queries(self.train), self._documents(self.train)
        self.network.train()
        vectors = functional.normalize(torch.from_numpy(queries + documents), dim=1).numpy()
        rule = NoiseRule(recipe.far, recipe.lead, recipe.near)
        self.samples.count_for(rule.judge(vectors, self.samples.given, self.head.weights.detach().numpy()))

    def _queries(self, rows: Rows) -> Floats:
        """Vectors (r, dim) of images as queries, 0 where there is no image."""
        vectors = query_vectors(self.network, self.items.image[rows].numpy())
        vectors[~self.has_image[rows]] = 0
        return vectors

    def _documents(self, rows: Rows) -> Floats:
        """Vectors (r, dim) of items as documents of what they have, 0 where that is nothing."""
        seen, told = self.has_image[rows], self.has_text[rows]
        vectors = np.zeros((len(rows), self.recipe.dim), np.float32)
        for of, image, text in (
            (seen & told, True, True),
            (seen & ~told, True, False),
            (told & ~seen, False, True),
        ):
            chosen = rows[of]
            vectors[of] = document_vectors(
                self.network,
                self.items.image[chosen].numpy() if image else None,
                self.items.text[chosen].numpy() if text else None,
                self.parts[chosen],
            )
        return vectors

    def validate(self) -> dict[str, float]:
        if not len(self.validation):
            return {}
        queries = self.validation[np.unique(self.classes[self.validation], return_index=True)[1]]
        others = np.setdiff1d(np.concatenate([self.train, self.validation]), queries)
        own = self.classes[queries][:, None] == self.classes[others][None, :]
        return {"reciprocal rank i2u": reciprocal_rank(self._queries(queries), self._documents(others), own)}

    def model(self, training: dict[str, Any]) -> MixerModel:
        recipe, items = self.recipe, self.items
        config = MixerConfig(
            recipe=recipe.name,
            bits=self.bits,
            training=training,
            image_input=items.inputs["image"].kind,
            text_input=items.inputs["text"].kind,
            regions=self.dataset.image_regions,
            hidden=recipe.hidden,
            dim=recipe.dim,
            concepts=recipe.concepts,
            slots=recipe.slots,
            parts=recipe.parts,
        )
        rows = np.sort(np.concatenate([self.train, self.validation]))
        vectors = np.concatenate([self._documents(rows), self._queries(rows)])
        codebooks = additive_codebooks(vectors[vectors.any(axis=1)], self.bits, recipe.along, self.seed)
        return MixerModel(
            config, items.inputs, self.network, codebooks, items.words, image_settings(self.dataset)
        )


def _text_features(dataset: Dataset, items: ItemInputs) -> Any:
    """Features of all texts, as the model will get them."""
    if dataset.text_features is not None or items.words is None:
        return dataset.text_features
    return items.words.transform(dataset.texts or ())
