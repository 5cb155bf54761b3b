"""DJSRH: codes whose cosines reproduce a joint affinity of image and text features."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from spdq_benchmarks.baselines.hashing import HashingBaseline
from spdq_benchmarks.baselines.towers import TOWER_SETTINGS, TwoTowers, seeded, step_count, train

IMAGE_SHARE = 0.6
"""beta: how much of the affinity is the images'."""
SECOND_ORDER = 0.4
"""eta: how much of it is second order."""
SCALE = 1.5
"""mu."""
WITHIN = 0.1
"""lambda_1 and lambda_2: weight of codes of one modality."""
EPOCHS = 80


def affinity(image: Tensor, text: Tensor) -> Tensor:
    """The joint-semantics affinity S (m, m) float32 of a batch: mu ((1 - eta) S~ + eta S~ S~' / m).

    ``S~ = beta S_I + (1 - beta) S_T`` has the cosines of inputs (m, d) and (m, e), centred by the training mean.
    """
    image, text = functional.normalize(image, dim=1), functional.normalize(text, dim=1)
    joint = IMAGE_SHARE * image @ image.T + (1 - IMAGE_SHARE) * text @ text.T
    return SCALE * ((1 - SECOND_ORDER) * joint + SECOND_ORDER * joint @ joint.T / len(joint))


def reconstruction(image_codes: Tensor, text_codes: Tensor, target: Tensor) -> Tensor:
    """Mean squared differences of the cosines of relaxed codes (m, bits) from ``target`` (m, m), weighted and added.

    Image-text pairs count once, image-image and text-text pairs ``WITHIN`` times.
    """
    image, text = functional.normalize(image_codes, dim=1), functional.normalize(text_codes, dim=1)
    across = functional.mse_loss(image @ text.T, target)
    within = functional.mse_loss(image @ image.T, target) + functional.mse_loss(text @ text.T, target)
    return across + WITHIN * within


class DJSRH(TwoTowers, HashingBaseline):
    """Deep Joint-Semantics Reconstructing Hashing (Su, Zhong and Zhang, ICCV 2019); learns without labels.

    Feature version: MLP towers on the given features, which also give the affinity, instead of AlexNet fine-tuned
    against its own frozen features. Codes are relaxed to ``tanh(a h)``, a growing from 1 to the square root of the
    number of epochs as published, here spread over the steps.

    Deviations: the public code maps cosines to ``2 cos - 1``, right for its non-negative features; inputs here are
    centred, whose cosines already fill -1 to 1. The paper sets beta and lambda for each data set by labelled results;
    here they are the same everywhere, those of NUS-WIDE, which lie between the others' (.9 and .3, .1 and .3).
    Optimizer, batch and steps are those of every deep baseline.
    """

    name = "djsrh"
    needs_labels = False

    def _fit(self) -> None:
        steps = step_count(len(self.pairs))
        self.settings = {
            **TOWER_SETTINGS,
            "steps": steps,
            "beta": IMAGE_SHARE,
            "eta": SECOND_ORDER,
            "mu": SCALE,
            "lambda": WITHIN,
            "epochs_of_scale": EPOCHS,
        }
        image, text = self._inputs()
        image_mean, text_mean = image.mean(dim=0), text.mean(dim=0)
        with seeded(self.seed) as random:
            self._make_towers(self.bits)

            def loss(rows: Tensor, step: int) -> Tensor:
                scale = (1 + EPOCHS * step // steps) ** 0.5
                return reconstruction(
                    torch.tanh(scale * self.image_tower(image[rows])),
                    torch.tanh(scale * self.text_tower(text[rows])),
                    affinity(image[rows] - image_mean, text[rows] - text_mean),
                )

            train([self.image_tower, self.text_tower], len(image), random, loss)
