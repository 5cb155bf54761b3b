from __future__ import annotations

import numpy as np
import pytest
import torch
from oracles_baselines_deep import negative_log_likelihood, shares_a_label
from torch import nn

from spdq_benchmarks.baselines import towers
from spdq_benchmarks.baselines.towers import (
    Descent,
    draw,
    embed,
    likelihood_terms,
    mlp,
    positive_weight,
    seeded,
    similarity,
    step_count,
    train,
)

LABELS = np.array([[1, 0, 0], [0, 1, 1], [0, 0, 0], [1, 0, 1], [0, 0, 0]], np.uint8)


def test_steps_follow_the_pairs_within_bounds():
    assert [step_count(n) for n in (2, 500, 1000, 2000, 2500, 10**6)] == [300, 300, 600, 1200, 1500, 1500]


@pytest.mark.parametrize("tanh", [False, True])
def test_tower_is_one_hidden_layer(tanh):
    with seeded(0):
        tower = mlp(7, 3, tanh=tanh)
    first, second = (layer for layer in tower if isinstance(layer, nn.Linear))
    assert (first.in_features, first.out_features, second.out_features) == (7, 512, 3)
    rows = np.random.default_rng(0).standard_normal((5, 7)).astype(np.float32)
    plain = np.maximum(rows @ first.weight.detach().numpy().T + first.bias.detach().numpy(), 0)
    plain = plain @ second.weight.detach().numpy().T + second.bias.detach().numpy()
    np.testing.assert_allclose(embed(tower, rows), np.tanh(plain) if tanh else plain, atol=1e-5)


def test_seeded_leaves_the_global_generator_alone():
    torch.manual_seed(5)
    state = torch.random.get_rng_state()
    with seeded(1) as random:
        first, drawn = torch.rand(3), draw(50, random, 8)
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.manual_seed(6)
    with seeded(1) as random:
        assert torch.equal(torch.rand(3), first)
        assert torch.equal(draw(50, random, 8), drawn)
    with seeded(2) as random:
        assert not torch.equal(torch.rand(3), first)
        assert not torch.equal(draw(50, random, 8), drawn)


def test_a_batch_repeats_nothing_and_is_never_larger_than_the_pairs():
    random = np.random.default_rng(0)
    assert len(set(draw(50, random, 20).tolist())) == 20
    assert sorted(draw(6, random).tolist()) == list(range(6))


def test_similarity_against_loops_and_rows_without_labels_are_similar_to_nothing():
    np.testing.assert_array_equal(similarity(LABELS), shares_a_label(LABELS, LABELS))
    np.testing.assert_array_equal(similarity(LABELS[:2], LABELS), shares_a_label(LABELS[:2], LABELS))
    assert not similarity(LABELS)[2].any()


def test_many_labels_do_not_wrap_around():
    labels = np.ones((2, 512), np.uint8)
    assert similarity(labels).all()


def test_positive_weight_is_dissimilar_pairs_by_similar_ones_at_least_one():
    share = np.mean(shares_a_label(LABELS, LABELS))
    assert positive_weight(LABELS) == pytest.approx((1 - share) / share)
    assert positive_weight(np.ones((3, 1), np.uint8)) == 1
    assert positive_weight(np.zeros((3, 1), np.uint8)) == 1


def test_likelihood_against_loops():
    products = torch.randn(4, 5, generator=torch.Generator().manual_seed(0)) * 4
    similar = (torch.arange(20).reshape(4, 5) % 3 == 0).float()
    expected = [
        [negative_log_likelihood(float(products[i, j]), float(similar[i, j]), 2.5) for j in range(5)]
        for i in range(4)
    ]
    np.testing.assert_allclose(likelihood_terms(products, similar, 2.5), expected, rtol=1e-5)


def test_likelihood_of_far_products_is_finite():
    terms = likelihood_terms(torch.tensor([[-1e4, 1e4]]), torch.tensor([[1.0, 0.0]]), 3.0)
    np.testing.assert_allclose(terms, [[3e4, 1e4]])


def test_training_finds_least_squares_and_ends_in_evaluation_mode():
    with seeded(0) as random:
        x = torch.randn(200, 3)
        slope = torch.tensor([[1.0], [-2.0], [0.5]])
        line = nn.Linear(3, 1)
        seen = []

        def loss(rows, step):
            seen.append((step, len(rows), line.training))
            return (line(x[rows]) - x[rows] @ slope - 4).square().mean()

        train([line], len(x), random, loss, rate=0.1, weight_decay=0.0)
    np.testing.assert_allclose(line.weight.detach(), slope.T, atol=1e-2)
    np.testing.assert_allclose(line.bias.detach(), [4], atol=1e-2)
    assert seen == [(step, 128, True) for step in range(300)]
    assert not line.training


def test_descent_follows_the_one_cycle_rate_and_clips():
    line = nn.Linear(1, 1)
    descent = Descent([line], steps=100, rate=1.0)
    rates = []
    for _ in range(100):
        descent.step(1e6 * line(torch.ones(1, 1)).square().sum())
        rates.append(descent.optimizer.param_groups[0]["lr"])
        size = torch.stack([p.grad.norm() for p in line.parameters()]).norm()
        assert size <= towers.MAX_GRADIENT * (1 + 1e-4)
    assert rates[0] == pytest.approx(0.04)
    assert max(rates) == pytest.approx(1.0, abs=1e-3)
    assert rates[-1] < 0.01


def test_embedding_in_batches_is_embedding_at_once(monkeypatch):
    with seeded(0):
        tower = mlp(4, 2)
    rows = np.random.default_rng(1).standard_normal((11, 4)).astype(np.float32)
    at_once = embed(tower, rows)
    monkeypatch.setattr(towers, "EMBEDDED_AT_ONCE", 3)
    np.testing.assert_allclose(embed(tower, rows), at_once, atol=1e-6)
    assert at_once.dtype == np.float32
    assert embed(tower, rows[:0]).shape == (0, 2)


@pytest.mark.parametrize("training", [True, False])
def test_embedding_drops_nothing_and_leaves_the_mode(training):
    with seeded(0):
        tower = mlp(4, 2).train(training)
    rows = np.ones((2, 4), np.float32)
    np.testing.assert_array_equal(embed(tower, rows), embed(tower, rows))
    assert tower.training is training
