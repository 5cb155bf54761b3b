"""Posteriors of classifiers: against loops, softmax or sigmoid, what codebooks are fitted on."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from made_pairs import class_pairs, held_out, precision
from oracles_baselines_deep2 import classify, posterior

from spdq_benchmarks.baselines import mixing, towers
from spdq_benchmarks.baselines.mlp_aq import Dropout, Ensemble, MLPPosteriorsAQ


@pytest.fixture(autouse=True)
def few_steps(monkeypatch):
    monkeypatch.setattr(towers, "MIN_STEPS", 40)
    monkeypatch.setattr(mixing, "MIXES", 300)


@pytest.mark.parametrize("exclusive", [True, False])
def test_posteriors_are_the_mean_over_networks(exclusive):
    ensemble = Ensemble(4, 3, exclusive, np.random.default_rng(0)).eval()
    inputs = np.random.default_rng(1).standard_normal((6, 4)).astype(np.float32)
    found = ensemble(torch.from_numpy(inputs))
    first = ensemble.hidden[1]
    each = []
    for at, head in enumerate(ensemble.heads):
        own = slice(512 * at, 512 * (at + 1))
        layers = (
            (first.weight[own].tolist(), first.bias[own].tolist()),
            (head.weight.tolist(), head.bias.tolist()),
        )
        each.append([posterior(row, exclusive) for row in classify(inputs, layers)])
    assert len(each) == 3
    np.testing.assert_allclose(found.detach().numpy(), np.mean(each, axis=0), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("rate", "dropped"), [(0.0, 0), (0.3, 77 / 256), (0.6, 154 / 256)])
def test_dropout_keeps_the_mean(rate, dropped):
    layer = Dropout(rate, np.random.default_rng(0))
    rows = torch.ones(200, 300)
    found = layer(rows)
    np.testing.assert_allclose(found[found != 0].numpy(), 1 / (1 - dropped), rtol=1e-6)
    assert float((found == 0).float().mean()) == pytest.approx(dropped, abs=0.01)
    assert (layer(rows) != found).any() or rate == 0
    assert layer.eval()(rows) is rows


def test_classes_far_apart_are_found():
    arguments = {"n": 150, "classes": 5, "seed": 1}
    method = MLPPosteriorsAQ().fit(class_pairs(**arguments), 16, seed=0)
    queries = held_out(**arguments)
    assert min(precision(method, queries, queries)) > 0.97


def test_labels_that_exclude_each_other_share_one_posterior():
    pairs = class_pairs(60, 4, 0)
    vectors = MLPPosteriorsAQ().fit(pairs, 8).embed_text(pairs.text)
    np.testing.assert_allclose(vectors.sum(axis=1), 1, rtol=1e-5)
    assert (vectors.argmax(axis=1) == pairs.labels.argmax(axis=1)).mean() > 0.95


@pytest.mark.parametrize("change", ["two labels", "none", "one column"])
def test_other_labels_have_a_probability_each(change):
    pairs = class_pairs(60, 4, 0)
    labels = pairs.labels.copy()
    if change == "two labels":
        labels[:, 0] = 1
    elif change == "none":
        labels[0] = 0
    else:
        labels = labels[:, :1]
    method = MLPPosteriorsAQ().fit(dataclasses.replace(pairs, labels=labels), 8)
    vectors = method.embed_image(pairs.image)
    assert ((vectors > 0) & (vectors < 1)).all()
    assert vectors.sum(axis=1).std() > 0.01
    if change == "two labels":
        assert vectors[:, 0].min() > 0.5


@pytest.mark.parametrize(("enough", "rows"), [(120, 120), (121, 420)])
def test_codebooks_see_mixes_where_vectors_are_few(monkeypatch, enough, rows):
    seen = []
    quantizer = MLPPosteriorsAQ._quantizer

    class Watched:
        def __init__(self, inner):
            self.inner = inner

        def fit(self, vectors):
            seen.append(vectors)
            return self.inner.fit(vectors)

    monkeypatch.setattr(mixing, "ENOUGH_VECTORS", enough)
    monkeypatch.setattr(MLPPosteriorsAQ, "_quantizer", lambda self, dim: Watched(quantizer(self, dim)))
    pairs = class_pairs(60, 4, 0)
    method = MLPPosteriorsAQ().fit(pairs, 8)
    (vectors,) = seen
    assert len(vectors) == rows
    own = np.concatenate([method.embed_image(pairs.image), method.embed_text(pairs.text)])
    np.testing.assert_array_equal(vectors[:120], own)
    np.testing.assert_allclose(vectors.sum(axis=1), 1, rtol=1e-5)
    assert (vectors <= own.max(axis=0) + 1e-6).all()
    assert (vectors >= own.min(axis=0) - 1e-6).all()


def test_another_length_is_the_same_space():
    pairs = class_pairs(40, 4, 0)
    np.testing.assert_array_equal(
        MLPPosteriorsAQ().fit(pairs, 16, 3).with_bits(8).encode_image(pairs.image),
        MLPPosteriorsAQ().fit(pairs, 8, 3).encode_image(pairs.image),
    )
