"""What the deep baselines share: an MLP tower a modality, one seeded training loop, label similarity, embedding.

The papers fine-tune a CNN; on features that are given, one hidden layer does as well and trains in seconds. All of them
therefore get the same towers, optimizer and number of steps, and differ in their losses alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from spdq.losses.classification import sigmoid_terms
from spdq.training.loop import one_cycle
from spdq_benchmarks.baselines.contract import Baseline, Floats

HIDDEN = 512
DROPOUT = 0.5
BATCH = 128
RATE = 1e-3
"""Peak learning rate of AdamW."""
WEIGHT_DECAY = 0.01
STEPS_PER_PAIR, MIN_STEPS, MAX_STEPS = 0.6, 300, 1500
MAX_GRADIENT = 5.0
EMBEDDED_AT_ONCE = 4096
TOWER_SETTINGS = {
    "hidden": HIDDEN,
    "dropout": DROPOUT,
    "batch": BATCH,
    "learning_rate": RATE,
    "weight_decay": WEIGHT_DECAY,
}
"""For the ``settings`` of a baseline that takes every default here."""


def mlp(
    width: int, dim: int, *, hidden: int = HIDDEN, dropout: float = DROPOUT, tanh: bool = False
) -> nn.Sequential:
    """A tower from inputs (n, width) to outputs (n, dim) float32: one ReLU layer, dropout, and tanh if asked for."""
    layers = [nn.Linear(width, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, dim)]
    return nn.Sequential(*layers, nn.Tanh()) if tanh else nn.Sequential(*layers)


def step_count(n: int) -> int:
    """Gradient steps for n training pairs: 0.6 n, at least 300, at most 1500."""
    return min(max(round(STEPS_PER_PAIR * n), MIN_STEPS), MAX_STEPS)


@contextmanager
def seeded(seed: int) -> Iterator[np.random.Generator]:
    """Inside, initial weights and dropout follow ``seed`` alone; torch's global generator is as before afterwards.

    Gives a NumPy generator of the same seed, for batches and whatever else is drawn.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield np.random.default_rng([seed, 3])


def draw(n: int, random: np.random.Generator, size: int = BATCH) -> Tensor:
    """Rows (min(size, n),) int64 of one batch, without repetition, out of n."""
    return torch.from_numpy(random.choice(n, min(size, n), replace=False))


class Descent:
    """AdamW with clipped gradients under the one-cycle rate, for loops that take more than one kind of step.

    Parameters
    ----------
    modules
        What is learned.
    steps
        How many steps there will be.
    rate, weight_decay
        Peak learning rate and weight decay.
    """

    def __init__(
        self,
        modules: Iterable[nn.Module],
        steps: int,
        rate: float = RATE,
        weight_decay: float = WEIGHT_DECAY,
    ) -> None:
        self.parameters = [parameter for module in modules for parameter in module.parameters()]
        self.optimizer = torch.optim.AdamW(self.parameters, lr=rate, weight_decay=weight_decay, fused=True)
        self.rate, self.steps, self.taken = rate, steps, 0

    def step(self, loss: Tensor) -> None:
        """One step down a scalar loss."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate * one_cycle(self.taken / self.steps)
        self.optimizer.zero_grad()
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(self.parameters, MAX_GRADIENT)
        self.optimizer.step()
        self.taken += 1


def train(
    modules: Iterable[nn.Module],
    n: int,
    random: np.random.Generator,
    loss: Callable[[Tensor, int], Tensor],
    *,
    steps: int | None = None,
    batch: int = BATCH,
    rate: float = RATE,
    weight_decay: float = WEIGHT_DECAY,
) -> None:
    """Minimise ``loss(rows, step)``, a scalar for the batch of rows (b,) int64, by ``step_count(n)`` steps.

    Call it, and make the modules, inside ``seeded``. The modules are left in evaluation mode.
    """
    modules = list(modules)
    steps = step_count(n) if steps is None else steps
    descent = Descent(modules, steps, rate, weight_decay)
    for step in range(steps):
        for module in modules:
            module.train()
        descent.step(loss(draw(n, random, batch), step))
    for module in modules:
        module.eval()


def similarity(labels: NDArray[np.uint8], others: NDArray[np.uint8] | None = None) -> Tensor:
    """Which items share a label, (n, m) float32 of 0 and 1, from labels (n, c) and (m, c) (default: the same).

    An item without labels is similar to nothing, itself included.
    """
    first = torch.from_numpy(labels.astype(np.float32))
    second = first if others is None else torch.from_numpy(others.astype(np.float32))
    return (first @ second.T > 0).float()


def positive_weight(labels: NDArray[np.uint8]) -> float:
    """How many dissimilar pairs of items with labels (n, c) there are for each similar one, at least 1.

    Where similar pairs are few (one in twenty), a loss that counts all pairs alike learns that nothing is similar.
    """
    share = float(similarity(labels).mean())
    return max((1 - share) / share, 1.0) if share else 1.0


def likelihood_terms(products: Tensor, similar: Tensor, weight: float = 1.0) -> Tensor:
    """Negative log-likelihood ``log(1 + exp(p)) - s p`` of each pair, with ``weight`` where s = 1, (n, m) float32.

    ``products`` (n, m) are inner products times the factor of the paper, ``similar`` (n, m) is 0 or 1.
    """
    return sigmoid_terms(products, similar) * (1 + (weight - 1) * similar)


def embed(tower: nn.Module, rows: Floats) -> Floats:
    """Outputs (n, dim) float32 of a tower for inputs (n, width), in evaluation mode and in batches.

    The tower goes on as it was: one that was training trains on.
    """
    was_training = tower.training
    tower.eval()
    inputs = torch.tensor(rows)
    starts = range(0, max(len(inputs), 1), EMBEDDED_AT_ONCE)
    with torch.inference_mode():
        outputs: Floats = torch.cat([tower(inputs[at : at + EMBEDDED_AT_ONCE]) for at in starts]).numpy()
    tower.train(was_training)
    return outputs


class TwoTowers(Baseline):
    """A baseline whose vectors are the outputs of one tower a modality; its ``_fit`` makes and trains them."""

    image_tower: nn.Module
    text_tower: nn.Module

    def embed_image(self, rows: Floats) -> Floats:
        return embed(self.image_tower, rows)

    def embed_text(self, rows: Floats) -> Floats:
        return embed(self.text_tower, rows)

    def _make_towers(self, dim: int, tanh: bool = False) -> None:
        """Untrained towers from both inputs to ``dim`` outputs."""
        self.image_tower = mlp(self.pairs.image.shape[1], dim, tanh=tanh)
        self.text_tower = mlp(self.pairs.text.shape[1], dim, tanh=tanh)

    def _inputs(self) -> tuple[Tensor, Tensor]:
        """The inputs of the training pairs, image and text, as tensors."""
        return torch.tensor(self.pairs.image), torch.tensor(self.pairs.text)
