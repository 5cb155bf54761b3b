"""Slow plain twins of the losses of SSAH, DJSRH, UCCH, the contrastive tower and the posteriors, one loop an index."""

from __future__ import annotations

import math

import numpy as np


def cosine(a, b):
    return sum(p * q for p, q in zip(a, b, strict=True)) / (np.linalg.norm(a) * np.linalg.norm(b))


def inner(a, b):
    return sum(float(p) * float(q) for p, q in zip(a, b, strict=True))


def supervised_contrast(vectors, positives, temperature):
    """Khosla et al. equation (2), one value an anchor; 0 without positives."""
    n = len(vectors)
    losses = []
    for i in range(n):
        others = sum(math.exp(inner(vectors[i], vectors[a]) / temperature) for a in range(n) if a != i)
        mine = [p for p in range(n) if p != i and positives[i][p]]
        total = sum(math.log(math.exp(inner(vectors[i], vectors[p]) / temperature) / others) for p in mine)
        losses.append(-total / len(mine) if mine else 0.0)
    return losses


def joint_affinity(image, text, beta, eta, mu):
    """DJSRH's S of a batch."""
    m = len(image)
    joint = [
        [beta * cosine(image[i], image[j]) + (1 - beta) * cosine(text[i], text[j]) for j in range(m)]
        for i in range(m)
    ]
    second = [[sum(joint[i][k] * joint[j][k] for k in range(m)) / m for j in range(m)] for i in range(m)]
    return [[mu * ((1 - eta) * joint[i][j] + eta * second[i][j]) for j in range(m)] for i in range(m)]


def reconstruction_error(image, text, target, within):
    """DJSRH's loss of relaxed codes: image-text once, the others ``within`` times, each a mean over pairs."""
    m = len(image)
    total = 0.0
    for weight, first, second in ((1.0, image, text), (within, image, image), (within, text, text)):
        for i in range(m):
            for j in range(m):
                total += weight * (cosine(first[i], second[j]) - target[i][j]) ** 2 / m**2
    return total


def contrast_with_keys(outputs, keys, own, temperature):
    """UCCH equations (3) and (4), the mean; keys of -1 and 1 are brought to unit length first."""
    total = 0.0
    for output, right in zip(outputs, own, strict=True):
        scores = [math.exp(inner(output, key) / math.sqrt(len(key)) / temperature) for key in keys]
        total -= math.log(scores[right] / sum(scores))
    return total / len(outputs)


def ranking_bound(queries, others, margin, shift):
    """UCCH equation (14), one direction, kappa 1, the mean."""
    n = len(queries)
    total = 0.0
    for i in range(n):
        own = inner(queries[i], others[i])
        scores = []
        for j in range(n):
            product = inner(queries[i], others[j])
            scores.append(product if own - product <= margin else product - shift)
        total += margin + math.log(sum(math.exp(s) for s in scores)) - scores[i]
    return total / n


def moved_memory(memory, row, x, y, momentum):
    """UCCH equation (5) for one row, the pair's mean and the result at unit length."""
    pair = [(p + q) / 2 for p, q in zip(x, y, strict=True)]
    length = math.sqrt(sum(p * p for p in pair))
    moved = [momentum * v + (1 - momentum) * p / length for v, p in zip(memory[row], pair, strict=True)]
    length = math.sqrt(sum(p * p for p in moved))
    return [p / length for p in moved]


def likelihood(first, second, similar):
    """Sum over pairs of -(S T - log(1 + e^T)), T half the inner product."""
    total = 0.0
    for i, a in enumerate(first):
        for j, b in enumerate(second):
            product = inner(a, b) / 2
            chance = 1 / (1 + math.exp(-product))
            total -= math.log(chance) if similar[i][j] else math.log(1 - chance)
    return total


def squared_errors(guesses, wanted):
    """Sum of squared differences."""
    return sum(
        (float(g) - float(w)) ** 2
        for a, b in zip(guesses, wanted, strict=True)
        for g, w in zip(a, b, strict=True)
    )


def classify(inputs, layers):
    """Logits of a tower of one hidden ReLU layer, from ((weights, bias), (weights, bias)) as lists or arrays."""
    (first, first_bias), (second, second_bias) = layers
    logits = []
    for row in inputs:
        hidden = [max(inner(w, row) + float(b), 0.0) for w, b in zip(first, first_bias, strict=True)]
        logits.append([inner(w, hidden) + float(b) for w, b in zip(second, second_bias, strict=True)])
    return logits


def posterior(logits, exclusive):
    """Softmax of one row of logits, or the sigmoid of each."""
    if exclusive:
        whole = sum(math.exp(v) for v in logits)
        return [math.exp(v) / whole for v in logits]
    return [1 / (1 + math.exp(-v)) for v in logits]
