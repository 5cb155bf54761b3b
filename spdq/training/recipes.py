"""Named sets of training settings: "default" for a search engine, "paper" for SPDQ as published."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, TypeVar

from spdq.errors import UsageError
from spdq.models.config import Recipe

R = TypeVar("R")


@dataclass(frozen=True)
class TrainingRecipe:
    """Every number of a training run.

    The steps follow the size of the data: ``steps_per_row`` times the training rows, within the two bounds.
    """

    name: Recipe
    hidden: int
    shared: int = 256
    private: int = 48
    direct_text: bool = False
    """Whether raw text of an open vocabulary also reaches the text heads by a linear path."""
    input_dropout: float = 0.0
    dropout: float = 0.5
    image_width: int = 256
    text_width: int = 1024
    batch: int = 128
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    steps_per_row: float = 0.6
    min_steps: int = 300
    max_steps: int = 1500
    mean_embedding: float = 1.0
    """Weight of L1 (equation 3)."""
    classification: float = 1.0
    """alpha, weight of L2 (equation 5)."""
    label_smoothing: float = 0.0
    contrastive: float = 0.0
    """Weight of the contrastive term; not in the paper."""
    distillation: float = 0.0
    """Weight of what the teacher says of mixes of training rows; not in the paper."""
    lesson_batch: int = 256
    """Mixes a modality and step."""
    lesson_noise: float = 0.3
    """Noise on a mix, relative to the deviation of the inputs' columns."""
    alignment: float = 0.0
    """lambda, weight of the quantization objective O_q (equation 9)."""
    quantization: float = 1.0
    """beta, weight of L4 within O_q (equation 8)."""
    align_dim: int = 64
    """d, dimensions of the label space; the paper leaves it open (at most 256)."""
    first_line: float = 0.3
    """Share of training texts that are the first line, the name, of a text of several lines."""
    single_line: float = 0.25
    """Share that are any one line; the rest are random subsets of the lines."""
    instance_weight: float = 0.1
    """Weight of the shared part in a query (0 ranks by labels alone); kept with the model, changeable per query."""
    instance_scale: float = 0.3
    """Length of the shared part in a vector; below 1 more of a code goes to the posteriors."""
    naming_instance_weight: float = 0.5
    """The weight where texts are raw words of an open vocabulary: people who type words often name the very item.
    There the length is 1."""


RECIPES: dict[str, TrainingRecipe] = {
    "default": TrainingRecipe(
        name="default",
        hidden=1024,
        shared=64,
        direct_text=True,
        input_dropout=0.1,
        dropout=0.3,
        weight_decay=0.05,
        mean_embedding=0.0,
        classification=2.0,
        label_smoothing=0.05,
        contrastive=1.0,
        distillation=3.0,
    ),
    "paper": TrainingRecipe(name="paper", hidden=512, learning_rate=2e-3, alignment=0.001),
}


def training_recipe(name: str) -> TrainingRecipe:
    """SPDQ's recipe of that name; UsageError lists the known ones."""
    return named_recipe(RECIPES, name)


def named_recipe(recipes: Mapping[str, R], name: str) -> R:
    """The recipe of that name; UsageError lists the known ones."""
    if name not in recipes:
        raise UsageError(f"unknown recipe {name!r}: known are {', '.join(recipes)}")
    return recipes[name]


def chosen_recipe(recipes: Mapping[str, R], recipe: str | R) -> R:
    """A recipe by its name, or settings of one's own as they are.

    Raises
    ------
    UsageError
        An unknown name, or settings of another system than the ``recipes`` are of.
    """
    if isinstance(recipe, str):
        return named_recipe(recipes, recipe)
    kind = type(next(iter(recipes.values())))
    if not isinstance(recipe, kind):
        raise UsageError(f"recipe must be {' or '.join(recipes)} or a {kind.__name__}, got {recipe!r}")
    return recipe


class AnyRecipe(Protocol):
    """What the recipes of all systems have: dataclasses with a name, an optimizer's numbers and those of the steps.

    A run has so many steps a training row, within two bounds.
    """

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def name(self) -> Recipe: ...

    @property
    def learning_rate(self) -> float: ...

    @property
    def weight_decay(self) -> float: ...

    @property
    def steps_per_row(self) -> float: ...

    @property
    def min_steps(self) -> int: ...

    @property
    def max_steps(self) -> int: ...
