"""What one system has to say to be trained: its network, what a step costs, and the model that comes of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from spdq.data.dataset import Dataset
from spdq.features.named_texts import ModelTexts
from spdq.models.config import ModelConfig
from spdq.models.network import Inputs, NetworkModel
from spdq.quantizers.codebooks import Codebooks
from spdq.training.inputs import image_settings
from spdq.training.ranks import ALONE, Ranks
from spdq.training.recipes import AnyRecipe

M = TypeVar("M", bound=NetworkModel[Any, Any])


class Task(ABC, Generic[M]):
    """What one system learns from a data set; M is its model.

    The class of a system says what of the data set is used. Its constructor parts validation rows from the training
    rows and sets all that is declared here; what it draws from torch's generator is not seen outside.

    Parameters
    ----------
    dataset
        With a split and whatever else the system needs.
    recipe
        Every number of the run.
    seed
        Of validation rows, initial weights and codebooks.
    bits
        Code length.

    Raises
    ------
    DataError
        The data set lacks what the system needs.
    """

    recipes: ClassVar[Mapping[str, AnyRecipe]]
    """The named ones: "default" and "paper"."""
    model_class: type[M]

    recipe: AnyRecipe
    inputs: Inputs
    text_extractor: ModelTexts | None
    """Input maps and extractor of texts, as the model gets them."""
    at_hand: Any
    """What ``codebooks`` needs of the data set, where it is in memory."""
    config: ModelConfig
    """The model's, before it is trained."""
    network: nn.Module
    """What is kept in the end."""
    steps: int
    """Of a whole run."""
    ranks: Ranks = ALONE
    """The processes that this one learns with."""

    def __init__(self, dataset: Dataset, recipe: AnyRecipe, seed: int, bits: int) -> None:
        self.dataset, self.recipe, self.seed, self.bits = dataset, recipe, seed, bits

    def recipe_config(self, **own: Any) -> Any:
        """The model's config: settings that the recipe has, too, kinds of the inputs, and the system's ``own``."""
        config_class = self.model_class.config_class
        names = {field.name for field in fields(config_class)} & {field.name for field in fields(self.recipe)}
        settings: dict[str, Any] = {name: getattr(self.recipe, name) for name in names}
        settings |= {f"{modality}_input": inputs.kind for modality, inputs in self.inputs.items()}
        settings |= {"recipe": self.recipe.name, "bits": self.bits, "training": {}}
        return config_class(**settings | own)

    def untrained_network(self, **dropout: float) -> Any:
        """The model's network with these rates of dropout."""
        return self.model_class.build_network(self.config, self.inputs, self.text_extractor, **dropout)

    @abstractmethod
    def terms(self, step: int, random: np.random.Generator) -> dict[str, Tensor]:
        """Weighted terms of one step's objective by name; their sum is minimised. The network is in training mode.

        All randomness comes from ``random`` and torch's generator, both seeded by (seed, step), and is drawn for the
        whole batch on every rank. What the network is asked goes through ``ranks.embed``.
        """

    @classmethod
    @abstractmethod
    def codebooks(
        cls, model: M, dataset: Dataset, bits: int, at_hand: Any = None, ranks: Ranks = ALONE
    ) -> Codebooks:
        """Codebooks of ``bits`` for a trained model, from the data set it was trained on; the same for any ``ranks``.

        What is not ``at_hand`` is made of the data set by the model's own extractor and input maps.
        """

    def model(self, training: dict[str, Any]) -> M:
        """The model of what was learned, codebooks included; ``training`` is what it says of its origin."""
        stand_in = Codebooks(np.zeros((self.bits // 8, 1, 1), np.float32), "additive")
        model = self.model_class(
            replace(self.config, training=training),
            self.inputs,
            self.network,
            stand_in,
            self.text_extractor,
            image_settings(self.dataset),
            **self.own_arguments(),
        )
        model.codebooks = self.codebooks(model, self.dataset, self.bits, self.at_hand, self.ranks)
        return model

    def own_arguments(self) -> dict[str, Any]:
        """Arguments that only this system's model takes, once all steps are done."""
        return {}

    @property
    @abstractmethod
    def sizes(self) -> dict[str, int]:
        """How much is learned from: "rows" and "validation_rows" at least."""

    def validate(self) -> dict[str, float]:
        """Figures of the validation rows, larger = better; empty where there are none."""
        return {}

    def optimizers(self) -> list[torch.optim.Optimizer]:
        """Their rate follows the one-cycle schedule, from what they are made with as its peak."""
        return [self.adamw(self.network.parameters())]

    def adamw(self, parameters: Any) -> torch.optim.Optimizer:
        """AdamW with the recipe's rate and decay."""
        return torch.optim.AdamW(
            parameters, lr=self.recipe.learning_rate, weight_decay=self.recipe.weight_decay
        )

    def state(self) -> dict[str, Tensor]:
        """What the task carries from step to step beside the network."""
        return {}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Put ``state`` back; raises nothing for what ``state`` returned."""


def steps_for(recipe: AnyRecipe, rows: int) -> int:
    """Steps of a run on so many training rows."""
    return min(max(round(recipe.steps_per_row * rows), recipe.min_steps), recipe.max_steps)
