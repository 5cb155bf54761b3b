"""Train SPDQ: the networks by gradient, C, Z, D and B in closed form, then the codebooks (SPDQ, section IV)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from spdq.data.dataset import Dataset
from spdq.models.config import SPDQConfig
from spdq.models.inputs import Columns, KernelBasis
from spdq.models.spaces import AlignedSpace, Modality, PredictiveSpace
from spdq.models.spdq import SPDQModel
from spdq.networks.spdq import SPDQNetwork
from spdq.quantizers.codebooks import Codebooks
from spdq.training.alternation import Alignment, LabelRows, initial_alignment, update_alignment
from spdq.training.codebooks import fit_codebooks
from spdq.training.inputs import mapped_items
from spdq.training.objective import batch_terms
from spdq.training.ranks import ALONE, Ranks
from spdq.training.recipes import RECIPES, TrainingRecipe
from spdq.training.rows import TrainingRows, batch_rows, training_rows
from spdq.training.task import Task, steps_for
from spdq.training.teacher import Lessons, make_lessons
from spdq.training.validation import validation_figures
from spdq.training.vectors import shared_branches

FINAL_TURNS = 10
"""Closed-form turns after the last step of the paper's recipe."""


class SPDQTask(Task[SPDQModel]):
    """The towers, the terms of equation (9) and, once an epoch, the closed-form turn of the alternation.

    It needs image features, and text features or raw texts; and labels, but for the recipe "default", which without
    them learns from pairs alone.
    """

    recipes = RECIPES
    model_class = SPDQModel
    recipe: TrainingRecipe
    config: SPDQConfig
    network: SPDQNetwork

    def __init__(self, dataset: Dataset, recipe: TrainingRecipe, seed: int, bits: int) -> None:
        super().__init__(dataset, recipe, seed, bits)
        self.data = self.at_hand = data = training_rows(dataset, recipe, seed)
        self.inputs, self.text_extractor = data.inputs, data.text_extractor
        text_input = data.inputs["text"].kind
        open_vocabulary = text_input == KernelBasis.kind
        self.config = self.recipe_config(
            label_names=dataset.label_names,
            label_sets=data.label_sets,
            direct_text=recipe.direct_text and open_vocabulary,
            instance_weight=recipe.naming_instance_weight if open_vocabulary else recipe.instance_weight,
            instance_scale=recipe.instance_scale if data.label_sets and not open_vocabulary else 1.0,
        )
        self.network = self.untrained_network(
            image_dropout=recipe.input_dropout,
            # A bag of a few words cannot spare one.
            text_dropout=0.0 if text_input == Columns.kind else recipe.input_dropout,
            dropout=recipe.dropout,
        )
        self.steps = steps_for(recipe, len(data.train))
        self.alignment: Alignment | None = None
        taught = recipe.distillation and data.label_sets
        self.lessons: dict[Modality, Lessons] = make_lessons(data, seed) if taught else {}

    @property
    def epoch_steps(self) -> int:
        """Steps in which about every training row is drawn once."""
        return max(1, math.ceil(len(self.data.train) / self.recipe.batch))

    def terms(self, step: int, random: np.random.Generator) -> dict[str, Tensor]:
        if self.recipe.alignment and step and step % self.epoch_steps == 0:
            self.align()
            self.network.train()
        whole_classes = bool(self.recipe.contrastive) and step % 2 == 1
        rows = batch_rows(self.data, self.recipe.batch, whole_classes, random)
        return batch_terms(
            self.network, self.data, rows, self.recipe, self.alignment, self.lessons, random, self.ranks
        )

    def validate(self) -> dict[str, float]:
        return validation_figures(self.network, self.data, self.ranks) if len(self.data.validation) else {}

    def state(self) -> dict[str, Tensor]:
        if self.alignment is None:
            return {}
        return {name: torch.from_numpy(part) for name, part in vars(self.alignment).items()}

    def restore(self, state: dict[str, Tensor]) -> None:
        if state:
            self.alignment = Alignment(**{name: tensor.numpy() for name, tensor in state.items()})

    @property
    def sizes(self) -> dict[str, int]:
        return {"rows": len(self.data.train), "validation_rows": len(self.data.validation)}

    def own_arguments(self) -> dict[str, Any]:
        if self.recipe.alignment:
            for _ in range(FINAL_TURNS):
                self.align()
        if self.alignment is not None:
            return {
                "space": AlignedSpace(self.alignment.image, self.alignment.text, self.alignment.prototypes)
            }
        scale = self.config.instance_scale
        return {"space": PredictiveSpace(self.data.label_sets, self.recipe.shared, scale)}

    @classmethod
    def codebooks(
        cls,
        model: SPDQModel,
        dataset: Dataset,
        bits: int,
        at_hand: TrainingRows | None = None,
        ranks: Ranks = ALONE,
    ) -> Codebooks:
        """See ``fit_codebooks``."""
        data, seed = at_hand, model.training["seed"]
        if data is None:
            recipe = TrainingRecipe(**model.training["recipe"])
            data = training_rows(
                dataset, recipe, seed, mapped_items(dataset, model.inputs, model.text_extractor)
            )
        return fit_codebooks(model, data, bits, seed, ranks)

    def align(self) -> None:
        """One closed-form turn: C, Z, D and B (equations 17 to 23). Leaves the network in evaluation mode."""
        self.network.eval()
        image, text = (
            shared_branches(tower, inputs[self.data.train], self.ranks)[0]
            for tower, inputs in (
                (self.network.image, self.data.image),
                (self.network.text, self.data.text),
            )
        )
        label_rows = LabelRows.of(self.data.labels[self.data.train].numpy())
        if self.alignment is None:
            self.alignment = initial_alignment(
                label_rows, self.recipe.shared, self.recipe.align_dim, self.bits // 8, 256, self.seed
            )
        turned = update_alignment(self.alignment, image, text, label_rows, self.recipe.quantization)
        self.alignment = Alignment(**self.ranks.told_arrays(vars(turned)))
