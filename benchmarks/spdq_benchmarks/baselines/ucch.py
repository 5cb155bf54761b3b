"""UCCH: contrast with a memory of hash codes, and a ranking loss that no false negative dominates."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from spdq_benchmarks.baselines.hashing import HashingBaseline
from spdq_benchmarks.baselines.towers import BATCH, TOWER_SETTINGS, TwoTowers, seeded, step_count, train

TEMPERATURE = 0.9
NEGATIVES = 4096
MOMENTUM = 0.4
"""delta of equation (5)."""
CONTRAST_SHARE = 0.7
"""beta of equation (2), alpha in the public code."""
MARGIN = 0.2
SHIFT = 0.1
"""xi of equation (8), at the value of the public code for MIRFlickr."""


def hash_contrast(outputs: Tensor, keys: Tensor, own: Tensor) -> Tensor:
    """Equations (3) and (4): cross-entropy of finding row i's own key by its output, the mean over rows.

    ``outputs`` are (b, c) float32 of unit length, ``keys`` (k, c) of -1 and 1, brought to unit length here; row i's
    own key is ``keys[own[i]]``, ``own`` (b,) int64.
    """
    scores = outputs @ keys.T / (TEMPERATURE * keys.shape[1] ** 0.5)
    return functional.cross_entropy(scores, own)


def ranking(queries: Tensor, others: Tensor) -> Tensor:
    """Equation (14) for one direction and kappa 1: margin - S_ii + log sum_j exp S_ij, the mean over rows.

    S has the inner products of ``queries`` and ``others``, both (b, c) float32, those further below their own pair's
    than the margin lowered by the shift (equation 8): easy negatives still count, but less than hard ones.
    """
    products = queries @ others.T
    own = products.diagonal()
    inside = own[:, None] - products <= MARGIN
    scores = torch.where(inside, products, products - SHIFT)
    return (MARGIN - own + torch.logsumexp(scores, dim=1)).mean()


class Memory:
    """A real vector for each training pair, whose signs are the pair's key.

    Parameters
    ----------
    vectors
        (n, c) float32, what is remembered at first.
    """

    def __init__(self, vectors: Tensor) -> None:
        self.vectors = vectors

    def update(self, rows: Tensor, pairs: Tensor) -> None:
        """Equation (5) for rows (b,) int64 and the means (b, c) of their outputs, at unit length before and after."""
        moved = MOMENTUM * self.vectors[rows] + (1 - MOMENTUM) * functional.normalize(pairs, dim=1)
        self.vectors[rows] = functional.normalize(moved, dim=1)

    def keys(self, rows: Tensor, random: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Keys (k, c) of -1 and 1 to be told apart, and where those of some rows (b,) int64 are among them."""
        n = len(self.vectors)
        if n <= NEGATIVES:
            return signs(self.vectors), rows
        drawn = torch.from_numpy(random.choice(n, NEGATIVES, replace=False))
        others = drawn[~torch.isin(drawn, rows)]
        return signs(self.vectors[torch.cat([rows, others])]), torch.arange(len(rows))


def signs(vectors: Tensor) -> Tensor:
    """-1 and 1 float32, 0 counting as positive."""
    return torch.where(vectors >= 0, 1.0, -1.0)


class UCCH(TwoTowers, HashingBaseline):
    """Unsupervised Contrastive Cross-modal Hashing (Hu et al., TPAMI 45(3), 2023); learns without labels.

    Equations (2) to (5), (8) and (14). Feature version: MLP towers with one hidden layer on the given features
    instead of VGG-19 features (or a fine-tuned VGG-11) and 8,192 units. As in the public code the first epoch
    contrasts the batch's own signs, then the memory takes over; here it is filled from all training pairs at once.

    Deviations: where there are no more than 4,096 training pairs all are keys, none drawn; where there are more, one
    draw serves the batch. Losses are means over the batch (equation 3 prints a sum), the memory is kept at unit
    length (both as in the public code). beta is chosen by the paper on labelled validation rows of each set; here it
    is .7 everywhere, its value for MIRFlickr. Optimizer, batch and steps are those of every deep baseline.
    """

    name = "ucch"
    needs_labels = False

    def _fit(self) -> None:
        self.settings = {
            **TOWER_SETTINGS,
            "steps": step_count(len(self.pairs)),
            "temperature": TEMPERATURE,
            "negatives": NEGATIVES,
            "momentum": MOMENTUM,
            "beta": CONTRAST_SHARE,
            "margin": MARGIN,
            "shift": SHIFT,
        }
        image, text = self._inputs()
        warm_up = -(-len(image) // BATCH)
        with seeded(self.seed) as random:
            self._make_towers(self.bits, tanh=True)
            memory: Memory | None = None

            def loss(rows: Tensor, step: int) -> Tensor:
                nonlocal memory
                if step == warm_up:
                    memory = Memory(self._pair_vectors())
                x = functional.normalize(self.image_tower(image[rows]), dim=1)
                y = functional.normalize(self.text_tower(text[rows]), dim=1)
                pairs = (x + y).detach() / 2
                if memory is None:
                    keys, own = signs(pairs), torch.arange(len(rows))
                else:
                    keys, own = memory.keys(rows, random)
                    memory.update(rows, pairs)
                contrast = hash_contrast(x, keys, own) + hash_contrast(y, keys, own)
                ranked = ranking(x, y) + ranking(y, x)
                return CONTRAST_SHARE * contrast + (1 - CONTRAST_SHARE) * ranked

            train([self.image_tower, self.text_tower], len(image), random, loss)

    def _pair_vectors(self) -> Tensor:
        """The mean of both unit vectors of each training pair, (n, bits) float32 of unit length."""
        parts = (self.embed_image(self.pairs.image), self.embed_text(self.pairs.text))
        x, y = (functional.normalize(torch.from_numpy(part), dim=1) for part in parts)
        return functional.normalize(x + y, dim=1)
