from __future__ import annotations

import numpy as np
import oracles_mixer as oracle
import pytest
import torch
from torch import nn

from spdq.errors import UsageError
from spdq.training.checkpoint import optimizer_tensors, restore_optimizer
from spdq.training.class_head import ClassHead, RowAdagrad


def head(n_classes, sampled, dim=3):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return ClassHead(n_classes, dim, sampled)


@pytest.mark.parametrize(("n_classes", "sampled"), [(10, 10), (10, 11), (1, 5)])
def test_few_classes_all_take_part(n_classes, sampled):
    found = head(n_classes, sampled).sample(np.array([0, 0]), np.random.default_rng(0))
    np.testing.assert_array_equal(found, np.arange(n_classes))


@pytest.mark.parametrize("sampled", [4, 5, 19])
def test_the_batch_and_others(sampled):
    batch = np.array([19, 3, 3, 0, 7])
    times = np.zeros(20)
    for seed in range(400):
        found = head(20, sampled).sample(batch, np.random.default_rng(seed))
        assert (found.dtype, len(found)) == (np.int64, sampled)
        assert (np.diff(found) > 0).all()
        times[found] += 1
    assert (times[[0, 3, 7, 19]] == 400).all()
    others = np.delete(times, [0, 3, 7, 19])
    expected = 400 * (sampled - 4) / 16
    assert (abs(others - expected) <= 5 * np.sqrt(expected) + 1e-9).all()


def test_a_batch_of_more_classes_than_are_sampled():
    found = head(20, 2).sample(np.array([5, 1, 9]), np.random.default_rng(0))
    np.testing.assert_array_equal(found, [1, 5, 9])


def test_only_rows_that_took_part_move():
    made = head(9, 4)
    before = made.weights.detach().clone()
    optimizer = RowAdagrad(made.weights, 0.1)
    made.rows(np.array([2, 5])).square().sum().backward()
    assert made.weights.grad.is_sparse
    optimizer.step()
    moved = (made.weights != before).any(dim=1)
    assert moved.nonzero().ravel().tolist() == [2, 5]


def test_a_step_without_gradient_moves_nothing():
    made = head(3, 4)
    before = made.weights.detach().clone()
    RowAdagrad(made.weights, 0.1).step()
    assert torch.equal(made.weights, before)


def walk(weights, optimizer, gradients):
    for gradient in gradients:
        optimizer.zero_grad()
        rows = torch.from_numpy(np.flatnonzero(gradient.any(axis=1)))
        # A row that occurs twice in a batch: its gradients add up.
        rows = torch.cat([rows, rows[:1]])
        slopes = torch.from_numpy(gradient)[rows]
        slopes[0] /= 2
        slopes[-1] /= 2
        (nn.functional.embedding(rows, weights, sparse=True) * slopes).sum().backward()
        optimizer.step()


def some_gradients(steps):
    random = np.random.default_rng(1)
    gradients = random.normal(size=(steps, 6, 3)).astype(np.float32)
    gradients[random.random((steps, 6)) < 0.4] = 0
    gradients[:, 0, 0] = 1
    return gradients


def test_steps_equal_the_twin():
    made, gradients = head(6, 6), some_gradients(5)
    before = made.weights.detach().numpy().copy()
    walk(made.weights, RowAdagrad(made.weights, 0.3), gradients)
    np.testing.assert_allclose(
        made.weights.detach(), oracle.row_adagrad(before, gradients, 0.3), rtol=1e-4, atol=1e-5
    )


def test_it_goes_on_where_it_was():
    gradients = some_gradients(6)
    whole, first = head(6, 6), head(6, 6)
    walk(whole.weights, RowAdagrad(whole.weights, 0.3), gradients)
    optimizer = RowAdagrad(first.weights, 0.3)
    walk(first.weights, optimizer, gradients[:3])
    second = nn.Parameter(first.weights.detach().clone())
    resumed = RowAdagrad(second, 0.3)
    restore_optimizer(resumed, optimizer_tensors(optimizer))
    walk(second, resumed, gradients[3:])
    assert torch.equal(second, whole.weights)


def test_no_closure():
    with pytest.raises(UsageError, match="RowAdagrad takes no closure"):
        RowAdagrad(head(2, 2).weights, 0.1).step(lambda: 0.0)
