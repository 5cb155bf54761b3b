"""Slow plain twins of the Mixer's loss, network, class head and noise rule, and a small made catalogue."""

from __future__ import annotations

import math

import numpy as np


def margin_softmax(vectors, weights, own, margin, scale):
    """CosFace, one sample after the other, in float64."""
    terms = []
    for vector, row in zip(vectors.astype(np.float64), own, strict=True):
        logits = []
        for c, weight in enumerate(weights.astype(np.float64)):
            cosine = vector @ weight / np.linalg.norm(vector) / np.linalg.norm(weight)
            logits.append(scale * (cosine - (margin if c == row else 0.0)))
        largest = max(logits)
        terms.append(math.log(sum(math.exp(x - largest) for x in logits)) - (logits[row] - largest))
    return terms


def _linear(state, name, x):
    return state[f"{name}.weight"].astype(np.float64) @ x + state.get(f"{name}.bias", 0.0)


def _hidden(state, name, x):
    return _linear(state, f"{name}.3", np.maximum(_linear(state, f"{name}.0", x), 0))


def _softmax(x):
    e = np.exp(x - x.max())
    return e / e.sum()


def regions(state, image):
    """v_p of one image (regions * width,)."""
    places = state["encoder.places"].astype(np.float64)
    parts = np.asarray(image, np.float64).reshape(places.shape[:2])
    return [x @ a + _hidden(state, "encoder.shared", x) for x, a in zip(parts, places, strict=True)]


def concepts(state, text, part):
    """c_j of one text (width,)."""
    keys, values = (state[f"memory.{name}"][part].astype(np.float64) for name in ("keys", "values"))
    asked = np.asarray(text, np.float64) @ state["memory.project"][part].astype(np.float64)
    return [q + _softmax(keys @ q / math.sqrt(len(q))) @ values for q in asked.reshape(-1, keys.shape[1])]


def query(state, image):
    v = np.mean(regions(state, image), axis=0)
    v = v + _hidden(state, "of_query.body", v)
    return _unit(v)


def document(state, image, text, part):
    """One document of an image, a text (None where there is none) or both."""
    dim = len(state["norm.weight"])
    v, seen, gated = np.zeros(dim), [], []
    if image is not None:
        seen = regions(state, image)
        v = np.mean(seen, axis=0)
        v = _image(state, v)
    for c in concepts(state, text, part) if text is not None else []:
        gate = 1 / (1 + np.exp(-_linear(state, "gate", np.concatenate([c, v]))))
        more = _unit(_linear(state, "said", c))
        if image is not None:
            weights = _softmax(np.array([c @ _linear(state, "look", r) for r in seen]) / math.sqrt(dim))
            more = more + _image(state, sum(w * r for w, r in zip(weights, seen, strict=True))) - v
        gated.append(gate * more)
    whole = v + np.mean(gated, axis=0) if gated else v
    normal = (whole - whole.mean()) / np.sqrt(whole.var() + 1e-5)
    return _unit(normal * state["norm.weight"] + state["norm.bias"])


def _image(state, v):
    return _unit(v + _hidden(state, "of_document.body", v))


def _unit(x):
    return x / np.linalg.norm(x)


def row_adagrad(weights, gradients, rate):
    """Weights after dense float64 gradients (steps, c, d), a row without one left alone."""
    weights, sums = weights.astype(np.float64), np.zeros(len(weights))
    for gradient in gradients:
        for c, slope in enumerate(gradient):
            if slope.any():
                sums[c] += slope @ slope
                weights[c] -= rate * slope / math.sqrt(sums[c])
    return weights


def judged(vectors, given, weights, far, lead, near, apart):
    """The rule against noise, one item after the other, in float64."""
    vectors, weights = vectors.astype(np.float64), weights.astype(np.float64)
    n = len(vectors)
    cosines = [vectors[i] @ vectors[j] for i in range(n) for j in range(i)]
    strange = np.mean(cosines) + apart * np.std(cosines)
    weights = np.array([w / np.linalg.norm(w) for w in weights])
    classes = []
    for i, (vector, own) in enumerate(zip(vectors, given, strict=True)):
        mates = [vectors[j] for j in range(len(vectors)) if j != i and given[j] == own]
        others = [c for c in range(len(weights)) if c != own]
        if len(mates) == 1 and vector @ mates[0] < strange:
            classes.append(-1)
            continue
        if len(mates) < 2 or not others:
            classes.append(own)
            continue
        mean = np.sum(mates, axis=0)
        near_own = min(vector @ weights[own], vector @ mean / max(np.linalg.norm(mean), 1e-12))
        best = max(others, key=lambda c: vector @ weights[c])
        nearness = vector @ weights[best]
        if near_own < far and nearness - near_own > lead:
            classes.append(best if nearness >= near else -1)
        else:
            classes.append(own)
    return classes
