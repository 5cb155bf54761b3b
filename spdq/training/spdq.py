"""Train SPDQ: the networks by gradient, C, Z, D and B in closed form, then the codebooks (SPDQ, section IV)."""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from spdq.data.dataset import Dataset
from spdq.errors import IncompatibleError
from spdq.models.config import SPDQConfig
from spdq.models.inputs import Columns, KernelBasis
from spdq.models.spaces import AlignedSpace, Modality, PredictiveSpace, Space
from spdq.models.spdq import SPDQModel, branches
from spdq.networks.spdq import SPDQNetwork
from spdq.quantizers.codebooks import Codebooks
from spdq.training.alternation import Alignment, LabelRows, initial_alignment, update_alignment
from spdq.training.codebooks import fit_codebooks
from spdq.training.inputs import image_settings
from spdq.training.loop import Progress, Task
from spdq.training.objective import batch_terms
from spdq.training.provenance import training_digest
from spdq.training.recipes import TrainingRecipe, steps_for, training_recipe
from spdq.training.rows import TrainingRows, batch_rows, training_rows
from spdq.training.run import check_bits, run_training
from spdq.training.teacher import Lessons, make_lessons
from spdq.training.validation import validation_figures

FINAL_TURNS = 10
"""Closed-form turns after the last step of the paper's recipe."""


def train_spdq(
    dataset: Dataset,
    bits: int = 64,
    recipe: str | TrainingRecipe = "default",
    seed: int = 0,
    directory: Path | None = None,
    resume: bool = False,
    progress: Progress | None = None,
) -> SPDQModel:
    """Train on the training rows of a data set's split.

    Same data, settings, machine and versions give the same model, also when the run was interrupted and resumed:
    every step draws from a generator of its own.

    Parameters
    ----------
    dataset
        With a split, image features, labels, and text features or raw texts.
    bits
        Code length, 16, 32, 64 or 128.
    recipe
        "default", "paper", or settings of one's own.
    seed
        Of initialisation, batches, dropout, validation rows and codebooks.
    directory
        Where checkpoint, log and, in the end, the model go; None keeps nothing. Checkpoints are written every 50
        steps, so an interrupted run loses fewer than that (more where writing takes over a tenth of the time).
    resume
        Go on from the checkpoint in ``directory``, if there is one.
    progress
        Called with (steps done, steps).

    Raises
    ------
    UsageError
        Unknown recipe or bits.
    DataError
        The data set lacks what training needs.
    IncompatibleError
        The checkpoint belongs to another run.
    StorageError
        The directory cannot be written.
    """
    settings = training_recipe(recipe) if isinstance(recipe, str) else recipe

    def task() -> SPDQTask:
        return SPDQTask(dataset, training_rows(dataset, settings, seed), settings, seed, bits)

    model = run_training(task, dataset, asdict(settings), bits, seed, directory, resume, progress)
    return cast(SPDQModel, model)


def with_bits(model: SPDQModel, dataset: Dataset, bits: int) -> SPDQModel:
    """The same network with codebooks of another length, fitted on the data set it was trained on.

    Recipe "paper" then has one Z for all lengths, where a run of its own would let each length pull at its Z.

    Raises
    ------
    UsageError
        Bits that are not 16, 32, 64 or 128.
    IncompatibleError
        The data set has other training rows than the model's.
    """
    check_bits(bits)
    if training_digest(dataset) != model.training["rows_digest"]:
        raise IncompatibleError(
            f"the model was trained on other rows than data set {dataset.name} has: fit codebooks on the same ones"
        )
    seed = int(model.training["seed"])
    data = training_rows(dataset, TrainingRecipe(**model.training["recipe"]), seed)
    config = replace(model.config, bits=bits, training={**model.training, "bits": bits})
    codebooks = fit_codebooks(model, data, bits, seed)
    return SPDQModel(
        config, model.inputs, model.network, model.space, codebooks, model.words, model.image_settings
    )


class SPDQTask(Task):
    """The towers, the terms of equation (9) and, once an epoch, the closed-form turn of the alternation."""

    network: SPDQNetwork

    def __init__(
        self, dataset: Dataset, data: TrainingRows, recipe: TrainingRecipe, seed: int, bits: int
    ) -> None:
        self.dataset, self.data, self.recipe, self.seed, self.bits = dataset, data, recipe, seed, bits
        network = SPDQNetwork(
            data.inputs["image"].out_width,
            data.inputs["text"].out_width,
            data.labels.shape[1],
            hidden=recipe.hidden,
            shared=recipe.shared,
            private=recipe.private,
            image_dropout=recipe.input_dropout,
            # A bag of a few words cannot spare one.
            text_dropout=0.0 if data.inputs["text"].kind == Columns.kind else recipe.input_dropout,
            dropout=recipe.dropout,
            direct_text=recipe.direct_text and data.inputs["text"].kind == KernelBasis.kind,
        )
        steps = steps_for(recipe, len(data.train))
        super().__init__(network, steps, recipe.learning_rate, recipe.weight_decay)
        self.alignment: Alignment | None = None
        self.lessons: dict[Modality, Lessons] = make_lessons(data, seed) if recipe.distillation else {}
        self.label_rows = LabelRows.of(data.labels[data.train].numpy())

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
        return batch_terms(self.network, self.data, rows, self.recipe, self.alignment, self.lessons, random)

    def validate(self) -> dict[str, float]:
        return validation_figures(self.network, self.data) if len(self.data.validation) else {}

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

    def model(self, training: dict[str, Any]) -> SPDQModel:
        recipe, data = self.recipe, self.data
        if recipe.alignment:
            for _ in range(FINAL_TURNS):
                self.align()
        open_vocabulary = data.inputs["text"].kind == KernelBasis.kind
        config = SPDQConfig(
            recipe=recipe.name,
            bits=self.bits,
            label_names=self.dataset.label_names,
            label_sets=data.label_sets,
            image_input=data.inputs["image"].kind,
            text_input=data.inputs["text"].kind,
            hidden=recipe.hidden,
            shared=recipe.shared,
            private=recipe.private,
            direct_text=self.network.text.direct_shared is not None,
            instance_weight=recipe.naming_instance_weight if open_vocabulary else recipe.instance_weight,
            instance_scale=1.0 if open_vocabulary else recipe.instance_scale,
            training=training,
        )
        space: Space = PredictiveSpace(data.label_sets, recipe.shared, config.instance_scale)
        if self.alignment is not None:
            space = AlignedSpace(self.alignment.image, self.alignment.text, self.alignment.prototypes)
        untaught = Codebooks(np.zeros((self.bits // 8, 1, space.dim), np.float32), "additive")
        settings = image_settings(self.dataset)
        model = SPDQModel(config, data.inputs, self.network, space, untaught, data.words, settings)
        model.codebooks = fit_codebooks(model, data, self.bits, self.seed)
        return model

    def align(self) -> None:
        """One closed-form turn: C, Z, D and B (equations 17 to 23). Leaves the network in evaluation mode."""
        self.network.eval()
        image, _ = branches(self.network.image, self.data.image[self.data.train].numpy())
        text, _ = branches(self.network.text, self.data.text[self.data.train].numpy())
        if self.alignment is None:
            self.alignment = initial_alignment(
                self.label_rows, self.recipe.shared, self.recipe.align_dim, self.bits // 8, 256, self.seed
            )
        self.alignment = update_alignment(
            self.alignment, image, text, self.label_rows, self.recipe.quantization
        )
