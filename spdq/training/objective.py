"""What one batch costs: the terms of equation (9), and the default recipe's contrastive term and teacher."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from spdq.losses.alignment import alignment_terms
from spdq.losses.classification import label_set_terms
from spdq.losses.contrastive import contrastive_terms
from spdq.losses.mean_embedding import class_mean_distances, class_pairs
from spdq.models.spaces import UNIT_IMAGE_WEIGHT, Modality
from spdq.networks.spdq import SPDQNetwork, Tower, TowerOutput
from spdq.training.alternation import Alignment
from spdq.training.inputs import Rows
from spdq.training.ranks import ALONE, Ranks
from spdq.training.recipes import TrainingRecipe
from spdq.training.rows import TrainingRows
from spdq.training.teacher import Lessons

TRAINING_UNIT_IMAGE_WEIGHT = 2 * UNIT_IMAGE_WEIGHT
"""The picture counts for more in training units than in stored ones, or the text alone would be learned."""


def batch_terms(
    network: SPDQNetwork,
    data: TrainingRows,
    rows: Rows,
    recipe: TrainingRecipe,
    alignment: Alignment | None,
    lessons: Mapping[Modality, Lessons],
    random: np.random.Generator,
    ranks: Ranks = ALONE,
) -> dict[str, Tensor]:
    """Weighted terms of the objective, scalars by name; their sum is what is minimised.

    Means stand where the paper sums: over items, over the classes present in the batch (else many classes swamp the
    other terms). ``alignment`` None leaves O_q out, as in the first epoch when there is none yet. ``lessons`` are the
    teacher's, where the recipe has one. Without labels the contrastive term is all there is.
    """
    image = ranks.embed(network.image, data.image[rows])
    views = 2 if data.has_lines else 1
    texts = [
        ranks.embed(
            network.text, data.text_views(rows, recipe, random) if data.has_lines else data.text[rows]
        )
        for _ in range(views)
    ]
    labels = data.labels[rows]
    terms = {}
    if recipe.classification and data.label_sets:
        each = [
            label_set_terms(output.logits, labels, data.label_sets, recipe.label_smoothing).sum(dim=0).mean()
            for output in (image, *texts)
        ]
        terms["classification"] = recipe.classification * torch.stack(each).sum()
    if lessons:
        terms["distillation"] = recipe.distillation * _distillation(
            network, data, lessons, recipe, random, ranks
        )
    if recipe.mean_embedding:
        pairs = class_pairs(labels)
        if pairs.classes:
            together = class_mean_distances(image.shared, texts[0].shared, pairs).mean()
            apart = class_mean_distances(image.private, texts[0].private, pairs).mean()
            terms["mean_embedding"] = recipe.mean_embedding * (together - apart)
    if recipe.contrastive:
        terms["contrastive"] = recipe.contrastive * _contrastive(network, image, texts)
    if recipe.alignment and alignment is not None:
        targets = labels @ torch.from_numpy(alignment.prototypes).T
        both = alignment_terms(image.shared, torch.from_numpy(alignment.image), targets) + alignment_terms(
            texts[0].shared, torch.from_numpy(alignment.text), targets
        )
        terms["alignment"] = recipe.alignment * both.mean()
    return terms


def _contrastive(network: SPDQNetwork, image: TowerOutput, texts: list[TowerOutput]) -> Tensor:
    """Image against text; with two views of the text also text against text and text against unit."""
    picture, *names = (functional.normalize(output.shared, dim=1) for output in (image, *texts))
    pairs = [(picture, names[0])]
    if len(names) > 1:
        unit = functional.normalize(TRAINING_UNIT_IMAGE_WEIGHT * picture + names[1], dim=1)
        pairs += [(names[0], names[1]), (names[0], unit)]
    return torch.stack([contrastive_terms(x, y, network.log_scale).mean() for x, y in pairs]).sum()


def _distillation(
    network: SPDQNetwork,
    data: TrainingRows,
    lessons: Mapping[Modality, Lessons],
    recipe: TrainingRecipe,
    random: np.random.Generator,
    ranks: Ranks,
) -> Tensor:
    """Cross-entropy of both towers' posteriors with the teacher's, on mixes of training inputs."""
    terms = []
    towers: dict[Modality, Tower] = {"image": network.image, "text": network.text}
    for modality, tower in towers.items():
        inputs, posteriors = lessons[modality].draw(recipe.lesson_batch, recipe.lesson_noise, random)
        each = label_set_terms(ranks.embed(tower, inputs).logits, posteriors, data.label_sets, 0.0)
        terms.append(each.sum(dim=0).mean())
    return torch.stack(terms).sum()
