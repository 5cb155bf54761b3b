"""SSAH: the semantic loss against loops, worked cases of its parts, who learns from what, separable classes."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from made_pairs import class_pairs, held_out, precision
from oracles_baselines_deep2 import likelihood, squared_errors

from spdq_benchmarks.baselines import towers
from spdq_benchmarks.baselines.ssah import (
    SSAH,
    SemanticNet,
    Semantics,
    common_signs,
    discriminator,
    judgement,
    semantic_loss,
)


def normal(*shape, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape)).float()


def semantics(seed, items=6, features=7, bits=8, labels=3):
    return Semantics(
        normal(items, features, seed=seed).relu(),
        normal(items, bits, seed=seed + 1).tanh(),
        normal(items, labels, seed=seed + 2),
    )


def test_loss_is_the_paper_s():
    said, teacher = semantics(0), semantics(10)
    signs = common_signs(said.codes, teacher.codes)
    labels = (normal(6, 3, seed=20) > 0).float()
    similar = (labels @ labels.T > 0).float()
    found = float(semantic_loss(said, teacher, signs, similar, labels))
    pairs = sum(
        likelihood(own.tolist(), other.tolist(), similar.tolist())
        for own, other in ((said.features, teacher.features), (said.codes, teacher.codes))
    )
    errors = squared_errors(said.codes.tolist(), signs.tolist())
    errors += squared_errors(said.logits.sigmoid().tolist(), labels.tolist())
    assert found == pytest.approx((pairs + errors) / 6, rel=1e-5)


def test_loss_where_nothing_is_known():
    """Inner products and logits of 0: log 2 a pair and term, 1 a bit, 1/4 a label."""
    nothing = Semantics(torch.zeros(4, 7), torch.zeros(4, 8), torch.zeros(4, 3))
    found = semantic_loss(nothing, nothing, torch.ones(4, 8), torch.eye(4), torch.zeros(4, 3))
    assert float(found) == pytest.approx(2 * 4 * math.log(2) + 8 + 3 / 4, rel=1e-6)


def test_loss_does_not_overflow():
    """The likelihood of far products is linear; e^T itself is not a float32."""
    far = Semantics(torch.full((2, 7), 100.0), torch.ones(2, 8), torch.zeros(2, 3))
    found = semantic_loss(far, far, torch.ones(2, 8), torch.zeros(2, 2), torch.zeros(2, 3))
    assert math.isfinite(float(found))
    assert float(found) > 2 * 7 * 100**2 / 2


def test_signs_are_those_of_the_sum():
    signs = common_signs(torch.tensor([[0.5, -0.1]]), torch.tensor([[-0.9, 0.1]]), torch.tensor([[0.1, 0.0]]))
    assert signs.tolist() == [[-1.0, 1.0]]


def test_judgement_is_a_cross_entropy():
    logits = torch.tensor([[0.0], [2.0]])
    assert float(judgement(logits, True)) == pytest.approx((math.log(2) + math.log(1 + math.exp(-2))) / 2)
    assert float(judgement(logits, False)) == pytest.approx((math.log(2) + math.log(1 + math.exp(2))) / 2)


def test_a_net_has_three_heads():
    net = SemanticNet(5, 16, 3).eval()
    said = net(normal(4, 5))
    assert [part.shape for part in said] == [(4, 512), (4, 16), (4, 3)]
    assert said.features.min() >= 0
    assert said.codes.abs().max() <= 1
    torch.testing.assert_close(net.tower(normal(4, 5)), said.codes)
    assert discriminator()(said.features).shape == (4, 1)
    assert not any(part.requires_grad for part in said.detached())


def test_classes_far_apart_are_found(monkeypatch):
    monkeypatch.setattr(towers, "MIN_STEPS", 120)
    arguments = {"n": 150, "classes": 5, "seed": 1}
    method = SSAH().fit(class_pairs(**arguments), 16, seed=0)
    queries = held_out(**arguments)
    assert min(precision(method, queries, queries)) > 0.95
