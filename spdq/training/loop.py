"""The one training loop: steps and their rate, validation, log, checkpoints, resume. What is learned is a ``Task``."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from spdq.errors import StorageError
from spdq.training.checkpoint import (
    CHECKPOINT,
    load_checkpoint,
    module_tensors,
    optimizer_tensors,
    restore_optimizer,
    save_checkpoint,
)
from spdq.training.log import TrainingLog

if TYPE_CHECKING:
    from spdq.training.task import Task

CHECK_EVERY = 50
"""Steps between validations, log entries and checkpoints."""
MAY_STOP_AFTER = 0.6
"""Share of the steps before which a run never stops early: the learning rate is still high until then."""
PATIENCE = 4
"""Validations without a new best before a run stops."""
WARM_UP = 0.3
MAX_GRADIENT = 5.0
MAX_SAVING = 0.1
"""Share of the time that checkpoints may take; the large ones of many classes are written less often."""

Progress = Callable[[int, int], None]


@dataclass
class _Best:
    value: float
    step: int
    weights: dict[str, Tensor]


class Loop:
    """One training run: a task, where it stands and the best it has seen.

    Same task, seed, machine and versions give the same weights, also when the run was interrupted and resumed: every
    step draws from a generator of its own.

    Parameters
    ----------
    task
        What is learned.
    seed
        Of everything drawn in a step.
    identity
        What makes a run this run, JSON-able: a checkpoint is taken up by the same only.
    directory
        Where log and checkpoints go; None keeps nothing. Made where it is missing. Of several ranks the first writes.
    resume
        Whether to take up the checkpoint in ``directory``, if there is one.

    Raises
    ------
    IncompatibleError, DamagedError
        The checkpoint belongs to another run, or is none.
    StorageError
        The directory cannot be written.
    """

    def __init__(
        self,
        task: Task[Any],
        seed: int,
        identity: dict[str, Any],
        directory: Path | None,
        resume: bool,
    ) -> None:
        self.task, self.seed, self.identity, self.ranks = task, seed, identity, task.ranks
        self.directory = directory if self.ranks.is_first else None
        self.optimizers = task.optimizers()
        self._rates = [[group["lr"] for group in one.param_groups] for one in self.optimizers]
        self.step = 0
        self.best: _Best | None = None
        self._saving, self._saved_at = 0.0, -math.inf
        if self.directory is not None:
            _make_directory(self.directory)
        if directory is not None and resume and (directory / CHECKPOINT).is_file():
            self._restore(directory)
        self.ranks.check_alike("checkpoint, in a folder that all see", str(self.step))
        self.ranks.begin_alike(
            p for one in self.optimizers for group in one.param_groups for p in group["params"]
        )
        self.log = TrainingLog(self.directory, from_step=self.step)

    @property
    def kept_step(self) -> int:
        """The step whose weights are kept: the best validated one, else the last."""
        return self.best.step if self.best is not None else self.step

    @property
    def _is_done(self) -> bool:
        """Whether all steps are done or validation has stopped improving."""
        waited = self.step - self.best.step if self.best is not None else 0
        return self.step >= self.task.steps or waited >= PATIENCE * CHECK_EVERY

    def run(self, progress: Progress | None) -> None:
        """Go on to the last step, or until validation stops improving; ends with the weights that are kept.

        Of several ranks the first reports progress.
        """
        progress = progress if self.ranks.is_first else None
        with torch.random.fork_rng(devices=[]):
            self._run(progress)
        if self.best is not None:
            self.task.network.load_state_dict(self.best.weights)
        self.task.network.eval()
        if progress is not None and self.step < self.task.steps:
            progress(self.task.steps, self.task.steps)

    def _run(self, progress: Progress | None) -> None:
        started = time.monotonic()
        terms: list[dict[str, float]] = []
        while not self._is_done:
            terms.append({name: float(term.detach()) for name, term in self._one_step().items()})
            self.step += 1
            if progress is not None:
                progress(self.step, self.task.steps)
            if self.step % CHECK_EVERY == 0 or self.step == self.task.steps:
                self._check(_means(terms), time.monotonic() - started)
                terms = []

    def forget(self) -> None:
        """Remove the checkpoint: the model is saved."""
        if self.directory is not None:
            (self.directory / CHECKPOINT).unlink(missing_ok=True)

    def _one_step(self) -> dict[str, Tensor]:
        """One gradient step; all randomness comes from (seed, step), so a resumed run repeats it exactly."""
        random = np.random.default_rng([self.seed, 5, self.step])
        torch.manual_seed(int(random.integers(1 << 62)))
        share = one_cycle(self.step / self.task.steps)
        for optimizer, rates in zip(self.optimizers, self._rates, strict=True):
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * share
        self.task.network.train()
        terms = self.task.terms(self.step, random)
        for optimizer in self.optimizers:
            optimizer.zero_grad()
        torch.autograd.backward(self.ranks.objective(terms.values()))
        self.ranks.add_gradients(self.task.network.parameters())
        torch.nn.utils.clip_grad_norm_(self._dense_parameters(), MAX_GRADIENT)
        for optimizer in self.optimizers:
            optimizer.step()
        return terms

    def _dense_parameters(self) -> list[nn.Parameter]:
        """Those whose gradient is not sparse: only these are clipped together."""
        return [p for p in self.task.network.parameters() if p.grad is None or not p.grad.is_sparse]

    def _check(self, means: dict[str, float], seconds: float) -> None:
        """Validate, log, save a checkpoint."""
        entry: dict[str, Any] = {"step": self.step, "loss": sum(means.values()), **means}
        self.task.network.eval()
        if figures := self.ranks.told(self.task.validate()):
            entry["validation"] = figures
            value = sum(figures.values()) / len(figures)
            counts = self.step >= MAY_STOP_AFTER * self.task.steps
            if counts and (self.best is None or value > self.best.value):
                self.best = _Best(value, self.step, module_tensors(self.task.network))
        self.log.add({**entry, "seconds": round(seconds, 3)})
        self._save()

    def _save(self) -> None:
        now = time.monotonic()
        if self.directory is None or (
            self.step < self.task.steps and (now - self._saved_at) * MAX_SAVING < self._saving
        ):
            return
        tensors = _named("network", module_tensors(self.task.network))
        for number, optimizer in enumerate(self.optimizers):
            tensors |= _named(f"optimizer{number}", optimizer_tensors(optimizer))
        best: dict[str, Any] | None = None
        if self.best is not None:
            tensors |= _named("best", self.best.weights)
            best = {"value": self.best.value, "step": self.best.step}
        tensors |= _named("task", self.task.state())
        save_checkpoint(self.directory, {"run": self.identity, "step": self.step, "best": best}, tensors)
        self._saved_at = time.monotonic()
        self._saving = self._saved_at - now

    def _restore(self, directory: Path) -> None:
        state, tensors = load_checkpoint(directory, self.identity)
        parts: dict[str, dict[str, Tensor]] = {}
        for key, tensor in tensors.items():
            part, _, name = key.partition(".")
            parts.setdefault(part, {})[name] = tensor
        self.task.network.load_state_dict(parts["network"])
        for number, optimizer in enumerate(self.optimizers):
            restore_optimizer(optimizer, parts[f"optimizer{number}"])
        self.task.restore(parts.get("task", {}))
        self.step = int(state["step"])
        if state["best"] is not None:
            self.best = _Best(state["best"]["value"], state["best"]["step"], parts["best"])


def _named(part: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{part}.{name}": tensor for name, tensor in tensors.items()}


def _means(terms: list[dict[str, float]]) -> dict[str, float]:
    """Mean of each term over some steps; one that is missing in a step counts 0 there."""
    names = dict.fromkeys(name for step in terms for name in step)
    return {name: sum(step.get(name, 0.0) for step in terms) / len(terms) for name in names}


def one_cycle(place: float) -> float:
    """Share of the peak learning rate at a place in 0..1 of the run: up from 1/25 along a cosine, then down to 0."""
    if place < WARM_UP:
        return 0.04 + 0.96 * (1 - math.cos(math.pi * place / WARM_UP)) / 2
    return (1 + math.cos(math.pi * (place - WARM_UP) / (1 - WARM_UP))) / 2


def _make_directory(directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"cannot make {directory}: {error.strerror}") from error
