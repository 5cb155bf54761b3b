"""Train SPDQ: the networks by gradient, C, Z, D and B in closed form, then the codebooks (SPDQ, section IV)."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from spdq import __version__
from spdq.data.dataset import Dataset
from spdq.errors import IncompatibleError, StorageError, UsageError
from spdq.features.registry import image_extractor
from spdq.models.config import SPDQConfig
from spdq.models.inputs import Columns, KernelBasis
from spdq.models.spaces import AlignedSpace, Modality, PredictiveSpace, Space
from spdq.models.spdq import SPDQModel, branches
from spdq.networks.spdq import SPDQNetwork
from spdq.quantizers.codebooks import Codebooks
from spdq.training import checkpoint
from spdq.training.alternation import Alignment, LabelRows, initial_alignment, update_alignment
from spdq.training.codebooks import fit_codebooks
from spdq.training.log import TrainingLog
from spdq.training.objective import batch_terms
from spdq.training.provenance import training_digest
from spdq.training.recipes import TrainingRecipe, training_recipe
from spdq.training.rows import TrainingRows, batch_rows, training_rows
from spdq.training.teacher import Lessons, make_lessons
from spdq.training.validation import validation_figures

BITS = (16, 32, 64, 128)
CHECK_EVERY = 50
"""Steps between validations, log entries and checkpoints."""
MAY_STOP_AFTER = 0.6
"""Share of the steps before which a run never stops early: the learning rate is still high until then."""
PATIENCE = 4
"""Validations without a new best before a run stops."""
WARM_UP = 0.3
MAX_GRADIENT = 5.0
FINAL_TURNS = 10
"""Closed-form turns after the last step of the paper's recipe."""

Progress = Callable[[int, int], None]


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
        steps, so an interrupted run loses fewer than that.
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
    _check_bits(bits)
    if seed < 0:
        raise UsageError(f"seed must be 0 or more, got {seed}")
    if directory is not None:
        _make_directory(directory)
    with torch.random.fork_rng(devices=[]):
        data = training_rows(dataset, settings, seed)
        run = _Run(data, settings, seed, bits, _identity(dataset, settings, seed, bits))
        run.start(directory, resume)
        run.train(progress)
    model = _assemble(run, dataset)
    if directory is not None:
        model.save_pretrained(directory)
        (directory / checkpoint.CHECKPOINT).unlink(missing_ok=True)
    return model


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
    _check_bits(bits)
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


@dataclass
class _Best:
    value: float
    step: int
    weights: dict[str, Tensor]


class _Run:
    """One training run: network, optimizer, where it stands and the best it has seen."""

    def __init__(
        self, data: TrainingRows, recipe: TrainingRecipe, seed: int, bits: int, identity: dict[str, Any]
    ) -> None:
        self.data, self.recipe, self.seed, self.bits, self.identity = data, recipe, seed, bits, identity
        steps = round(recipe.steps_per_row * len(data.train))
        self.steps = min(max(steps, recipe.min_steps), recipe.max_steps)
        torch.manual_seed(seed)
        self.network = SPDQNetwork(
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
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay
        )
        self.step = 0
        self.alignment: Alignment | None = None
        self.lessons: dict[Modality, Lessons] = make_lessons(data, seed) if recipe.distillation else {}
        self.label_rows = LabelRows.of(data.labels[data.train].numpy())
        self.best: _Best | None = None
        self.directory: Path | None = None
        self.log = TrainingLog(None)

    @property
    def epoch_steps(self) -> int:
        """Steps in which about every training row is drawn once."""
        return max(1, math.ceil(len(self.data.train) / self.recipe.batch))

    @property
    def _is_done(self) -> bool:
        """Whether all steps are done or validation has stopped improving."""
        waited = self.step - self.best.step if self.best is not None else 0
        return self.step >= self.steps or waited >= PATIENCE * CHECK_EVERY

    def start(self, directory: Path | None, resume: bool) -> None:
        """Take up the checkpoint in a directory, or begin anew."""
        self.directory = directory
        if directory is not None and resume and (directory / checkpoint.CHECKPOINT).is_file():
            self._restore(directory)
        self.log = TrainingLog(directory, from_step=self.step)

    def train(self, progress: Progress | None) -> None:
        """Run to the last step, or until validation stops improving."""
        started = time.monotonic()
        terms: list[dict[str, float]] = []
        while not self._is_done:
            terms.append({name: float(term.detach()) for name, term in self._one_step().items()})
            self.step += 1
            if progress is not None:
                progress(self.step, self.steps)
            if self.step % CHECK_EVERY == 0 or self.step == self.steps:
                self._check(_means(terms), time.monotonic() - started)
                terms = []
        if self.best is not None:
            self.network.load_state_dict(self.best.weights)
        self.network.eval()
        if self.recipe.alignment:
            for _ in range(FINAL_TURNS):
                self._update_alignment()
        if progress is not None and self.step < self.steps:
            progress(self.steps, self.steps)

    def _one_step(self) -> dict[str, Tensor]:
        """One gradient step; all randomness comes from (seed, step), so a resumed run repeats it exactly."""
        random = np.random.default_rng([self.seed, 5, self.step])
        torch.manual_seed(int(random.integers(1 << 62)))
        if self.recipe.alignment and self.step and self.step % self.epoch_steps == 0:
            self._update_alignment()
        for group in self.optimizer.param_groups:
            group["lr"] = self.recipe.learning_rate * one_cycle(self.step / self.steps)
        whole_classes = bool(self.recipe.contrastive) and self.step % 2 == 1
        rows = batch_rows(self.data, self.recipe.batch, whole_classes, random)
        self.network.train()
        terms = batch_terms(self.network, self.data, rows, self.recipe, self.alignment, self.lessons, random)
        self.optimizer.zero_grad()
        torch.autograd.backward(torch.stack(list(terms.values())).sum())
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), MAX_GRADIENT)
        self.optimizer.step()
        return terms

    def _update_alignment(self) -> None:
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

    def _check(self, means: dict[str, float], seconds: float) -> None:
        """Validate, log, save a checkpoint."""
        entry: dict[str, Any] = {"step": self.step, "loss": sum(means.values()), **means}
        if len(self.data.validation):
            figures = validation_figures(self.network, self.data)
            entry["validation"] = figures
            value = sum(figures.values()) / len(figures)
            counts = self.step >= MAY_STOP_AFTER * self.steps
            if counts and (self.best is None or value > self.best.value):
                self.best = _Best(value, self.step, checkpoint.module_tensors(self.network))
        self.log.add({**entry, "seconds": round(seconds, 3)})
        self._save()

    def _save(self) -> None:
        if self.directory is None:
            return
        tensors = {f"network.{name}": t for name, t in checkpoint.module_tensors(self.network).items()}
        tensors |= {
            f"optimizer.{name}": t for name, t in checkpoint.optimizer_tensors(self.optimizer).items()
        }
        best: dict[str, Any] | None = None
        if self.best is not None:
            tensors |= {f"best.{name}": t for name, t in self.best.weights.items()}
            best = {"value": self.best.value, "step": self.best.step}
        if self.alignment is not None:
            tensors |= {
                f"alignment.{name}": torch.from_numpy(part) for name, part in vars(self.alignment).items()
            }
        checkpoint.save_checkpoint(
            self.directory, {"run": self.identity, "step": self.step, "best": best}, tensors
        )

    def _restore(self, directory: Path) -> None:
        state, tensors = checkpoint.load_checkpoint(directory, self.identity)
        parts: dict[str, dict[str, Tensor]] = {}
        for key, tensor in tensors.items():
            part, _, name = key.partition(".")
            parts.setdefault(part, {})[name] = tensor
        self.network.load_state_dict(parts["network"])
        checkpoint.restore_optimizer(self.optimizer, parts["optimizer"])
        self.step = int(state["step"])
        if state["best"] is not None:
            self.best = _Best(state["best"]["value"], state["best"]["step"], parts["best"])
        if "alignment" in parts:
            self.alignment = Alignment(
                **{name: tensor.numpy() for name, tensor in parts["alignment"].items()}
            )


def _means(terms: list[dict[str, float]]) -> dict[str, float]:
    """Mean of each term over some steps; one that is missing in a step counts 0 there."""
    names = dict.fromkeys(name for step in terms for name in step)
    return {name: sum(step.get(name, 0.0) for step in terms) / len(terms) for name in names}


def one_cycle(place: float) -> float:
    """Share of the peak learning rate at a place in 0..1 of the run: up from 1/25 along a cosine, then down to 0."""
    if place < WARM_UP:
        return 0.04 + 0.96 * (1 - math.cos(math.pi * place / WARM_UP)) / 2
    return (1 + math.cos(math.pi * (place - WARM_UP) / (1 - WARM_UP))) / 2


def _assemble(run: _Run, dataset: Dataset) -> SPDQModel:
    """Put network, space and codebooks together."""
    recipe, data = run.recipe, run.data
    open_vocabulary = data.inputs["text"].kind == KernelBasis.kind
    config = SPDQConfig(
        recipe=recipe.name,
        bits=run.bits,
        label_names=dataset.label_names,
        label_sets=data.label_sets,
        image_input=data.inputs["image"].kind,
        text_input=data.inputs["text"].kind,
        hidden=recipe.hidden,
        shared=recipe.shared,
        private=recipe.private,
        direct_text=run.network.text.direct_shared is not None,
        instance_weight=recipe.naming_instance_weight if open_vocabulary else recipe.instance_weight,
        instance_scale=1.0 if open_vocabulary else recipe.instance_scale,
        training={
            **run.identity,
            "split": dataset.split.kind if dataset.split else "",
            "rows": len(data.train),
            "validation_rows": len(data.validation),
            "steps": run.best.step if run.best is not None else run.step,
        },
    )
    settings = image_extractor(dataset.image_extractor).settings() if dataset.image_extractor else None
    space: Space = PredictiveSpace(data.label_sets, recipe.shared, config.instance_scale)
    if run.alignment is not None:
        space = AlignedSpace(run.alignment.image, run.alignment.text, run.alignment.prototypes)
    untaught = Codebooks(np.zeros((run.bits // 8, 1, space.dim), np.float32), "additive")
    model = SPDQModel(config, data.inputs, run.network, space, untaught, data.words, settings)
    model.codebooks = fit_codebooks(model, data, run.bits, run.seed)
    return model


def _identity(dataset: Dataset, recipe: TrainingRecipe, seed: int, bits: int) -> dict[str, Any]:
    """What makes a run this run, JSON-able; kept with the model."""
    return {
        "dataset": dataset.name,
        "rows_digest": training_digest(dataset),
        "seed": seed,
        "bits": bits,
        "recipe": asdict(recipe),
        "spdq": __version__,
        "torch": torch.__version__,
    }


def _check_bits(bits: int) -> None:
    if bits not in BITS:
        raise UsageError(f"bits must be one of {', '.join(map(str, BITS))}, got {bits}")


def _make_directory(directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"cannot make {directory}: {error.strerror}") from error
