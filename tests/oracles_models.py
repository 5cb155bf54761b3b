"""Slow plain twins of losses, input maps, joint spaces and towers: float64, one number at a time."""

from __future__ import annotations

import math
from statistics import median_low

import numpy as np

KERNELS = (0.25, 0.5, 1.0, 2.0, 4.0)


def squared(x, y):
    return sum((a - b) ** 2 for a, b in zip(x, y, strict=True))


def kernel(x, y, bandwidth):
    """Equation (2), five Gaussians of uniform weight."""
    return sum(math.exp(-squared(x, y) / (bandwidth * factor)) for factor in KERNELS) / len(KERNELS)


def bandwidth(image, text):
    both = [*image, *text]
    distances = [squared(both[i], both[j]) for i in range(len(both)) for j in range(i)]
    return max(median_low(distances), 1e-12)


def mean_distances(image, text, labels):
    """Equations (11) and (12) class by class, quadruple by quadruple; classes without a pair are left out."""
    image, text = image.tolist(), text.tolist()
    width = bandwidth(image, text)
    found = []
    for column in range(len(labels[0])):
        members = [row for row in range(len(labels)) if labels[row][column]]
        etas = []
        for n in range(len(members) // 2):
            a, b = members[2 * n], members[2 * n + 1]
            etas.append(
                kernel(image[a], image[b], width)
                - kernel(image[a], text[b], width)
                + kernel(text[a], text[b], width)
                - kernel(text[a], image[b], width)
            )
        if etas:
            found.append(sum(etas) / len(etas))
    return found


def sigmoid(x):
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))


def softmax(row):
    top = max(row)
    raised = [math.exp(x - top) for x in row]
    return [x / sum(raised) for x in raised]


def unit(row):
    length = math.sqrt(sum(x * x for x in row))
    return [x / length if length else 0.0 for x in row]


def sigmoid_cross_entropy(logit, label):
    return -label * math.log(sigmoid(logit)) - (1 - label) * math.log(sigmoid(-logit))


def softmax_cross_entropy(logits, target, smoothing):
    n = len(logits)
    smooth = [(1 - smoothing) * value + smoothing / n for value in target]
    return -sum(value * math.log(p) for value, p in zip(smooth, softmax(logits), strict=True))


def label_set_terms(logits, labels, sets, smoothing):
    """One row a label set, one number an item."""
    return [
        [
            softmax_cross_entropy(row[start:stop], label[start:stop], smoothing)
            if exclusive
            else sum(map(sigmoid_cross_entropy, row[start:stop], label[start:stop]))
            for row, label in zip(logits, labels, strict=True)
        ]
        for start, stop, exclusive in sets
    ]


def contrastive(x, y, scale):
    """-log of the softmax of the own row, by row and by column."""
    scores = [[scale * sum(a * b for a, b in zip(row, other, strict=True)) for other in y] for row in x]
    columns = [list(column) for column in zip(*scores, strict=True)]
    return [[-math.log(softmax(row)[own]) for own, row in enumerate(part)] for part in (scores, columns)]


def alignment(shared, rotation, targets):
    found = []
    for s, target in zip(shared, targets, strict=True):
        rotated = [sum(c * v for c, v in zip(row, s, strict=True)) for row in rotation]
        found.append(squared(rotated, target))
    return found


def lengthened(row, power):
    """A row whose length is raised to a power."""
    length = math.sqrt(sum(x * x for x in row))
    return [x / length * length**power for x in row]


def predictive_vector(shared, logits, sets):
    """Posteriors, those of each of n label sets with their length to the power of 1/2 over the root of n, of the only
    one to the power of 3/4; then the shared part of length 1."""
    labels = []
    for start, stop, is_exclusive in sets:
        part = logits[start:stop]
        posteriors = softmax(part) if is_exclusive else [sigmoid(x) for x in part]
        power = 0.75 if len(sets) == 1 else 0.5
        labels += [x / math.sqrt(len(sets)) for x in lengthened(posteriors, power)]
    return labels + unit(shared)


def predictive_unit(image, text, sets, image_weight):
    """Mean of the labels, each of n sets of length 1, free ones with the root (the only one with the cube root) of
    their length, over the root of n; weighted mean of the rest, of length 1."""
    n = max((stop for _, stop, _ in sets), default=0)
    root = math.sqrt(len(sets))
    labels = []
    for start, stop, is_exclusive in sets:
        mean = [root * (a + b) / 2 for a, b in zip(image[start:stop], text[start:stop], strict=True)]
        power = 0 if is_exclusive else 1 / 3 if len(sets) == 1 else 1 / 2
        labels += [x / root for x in lengthened(mean, power)]
    return labels + unit([image_weight * a + b for a, b in zip(image[n:], text[n:], strict=True)])


def tower(state, prefix, inputs):
    """Shared and logit branches of one tower in NumPy, float64, from its stored tensors."""
    weights = {name.removeprefix(prefix): np.asarray(tensor, np.float64) for name, tensor in state.items()}

    def linear(name, x):
        return x @ weights[f"{name}.weight"].T + weights.get(f"{name}.bias", 0.0)

    body = np.maximum(linear("body.1", inputs), 0)
    shared, private = linear("shared", body), np.tanh(linear("private", body))
    direct = "direct_shared.weight" in weights
    shared = np.tanh(shared + linear("direct_shared", inputs) if direct else shared)
    logits = linear("classifier", np.concatenate([shared, private], axis=1))
    return shared, logits + linear("direct_logits", inputs) if direct else logits
