"""How well a network under training ranks its validation rows."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from spdq.evaluation import evaluate_labels
from spdq.models.spaces import PredictiveSpace
from spdq.networks.spdq import SPDQNetwork
from spdq.training.ranks import ALONE, Ranks
from spdq.training.rows import TrainingRows
from spdq.training.vectors import Floats, reciprocal_rank, shared_branches

VALIDATION_INSTANCE_WEIGHT = 0.3
"""Between the weights that models are given for queries: validation is to watch both parts of the vector."""


def validation_figures(network: SPDQNetwork, data: TrainingRows, ranks: Ranks = ALONE) -> dict[str, float]:
    """map@all of the validation rows as queries among the training rows, by posteriors and shared space, both ways.

    Without labels the reciprocal rank of each validation row's own other half, among those of all rows.
    """
    network.eval()
    space = PredictiveSpace(data.label_sets, network.image.shared.out_features)
    labels = data.labels.numpy().astype(np.uint8)

    def embed(modality: str, inputs: Tensor) -> Floats:
        tower = network.image if modality == "image" else network.text
        shared, logits = shared_branches(tower, inputs, ranks)
        return space.vectors("image" if modality == "image" else "text", shared, logits)

    figures = {}
    if not data.label_sets:
        rows = np.concatenate([data.validation, data.train])
        own = np.eye(len(data.validation), len(rows), dtype=bool)
        image, text = embed("image", data.image[rows]), embed("text", data.text[rows])
        names = embed("text", data.first_lines(data.validation))
        return {
            "reciprocal rank i2t": reciprocal_rank(image[: len(own)], text, own),
            "reciprocal rank t2i": reciprocal_rank(names, image, own),
        }
    weights = space.query_weights(VALIDATION_INSTANCE_WEIGHT)
    for name, query, database in (
        ("map@all i2t", embed("image", data.image[data.validation]), embed("text", data.text[data.train])),
        (
            "map@all t2i",
            embed("text", data.first_lines(data.validation)),
            embed("image", data.image[data.train]),
        ),
    ):
        distances = -((query * weights) @ database.T)
        (figure,) = evaluate_labels(distances, labels[data.validation], labels[data.train], ["map@all"])
        figures[name] = figure.value
    return figures
