from __future__ import annotations

import math

import numpy as np
import oracles_models as oracle
import pytest
import torch

from spdq.losses.mean_embedding import class_mean_distances, class_pairs, median_bandwidth


def drawn(n, width, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(n, width)).astype(np.float32))


@pytest.mark.parametrize(("n", "width", "classes"), [(2, 1, 1), (7, 3, 2), (16, 4, 5), (33, 8, 12)])
@pytest.mark.parametrize("density", [0.1, 0.5, 1.0])
def test_equals_the_twin(n, width, classes, density):
    labels = np.random.default_rng(n).random((n, classes)) < density
    image, text = drawn(n, width), drawn(n, width, 1) + 0.5
    found = class_mean_distances(image, text, class_pairs(torch.from_numpy(labels.astype(np.float32))))
    expected = oracle.mean_distances(image, text, labels.tolist())
    assert found.shape == (len(expected),)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_pairs_by_hand():
    labels = torch.tensor([[1, 0, 1, 0], [1, 1, 0, 0], [1, 0, 0, 0], [1, 0, 1, 0], [1, 0, 1, 0]])
    pairs = class_pairs(labels)
    assert pairs.first.tolist() == [0, 2, 0]
    assert pairs.second.tolist() == [1, 3, 3]
    assert pairs.label.tolist() == [0, 0, 1]
    assert pairs.classes == 2


def test_distance_by_hand():
    """Squared distances 1 five times and 4 once: the median is 1."""
    image, text = torch.tensor([[0.0], [1.0]]), torch.tensor([[1.0], [2.0]])
    assert median_bandwidth(image, text) == 1

    def mixture(distance):
        return sum(math.exp(-distance / 2.0**u) for u in range(-2, 3)) / 5

    (found,) = class_mean_distances(image, text, class_pairs(torch.ones(2, 1)))
    assert found.item() == pytest.approx(2 * mixture(1) - mixture(4) - mixture(0), abs=1e-6)


@pytest.mark.parametrize(
    "labels",
    [torch.zeros(6, 3), torch.eye(6), torch.zeros(6, 0), torch.zeros(0, 3), torch.ones(1, 2)],
    ids=["all zero", "one member each", "no class", "no row", "one row"],
)
def test_no_pair(labels):
    pairs = class_pairs(labels)
    assert pairs.classes == len(pairs.first) == len(pairs.second) == len(pairs.label) == 0
    assert class_mean_distances(drawn(len(labels), 2), drawn(len(labels), 2), pairs).shape == (0,)


@pytest.mark.parametrize("members", range(2, 9))
def test_an_odd_last_member_is_left_out(members):
    pairs = class_pairs(torch.ones(members, 1))
    assert pairs.first.tolist() == list(range(0, members - 1, 2))
    assert pairs.second.tolist() == list(range(1, members, 2))
    assert pairs.classes == 1


def test_a_class_with_one_member_changes_nothing():
    image, text, labels = drawn(8, 3), drawn(8, 3, 1), torch.zeros(8, 3)
    labels[:, 0] = labels[:4, 2] = 1
    alone = labels.clone()
    alone[5, 1] = 1
    torch.testing.assert_close(
        class_mean_distances(image, text, class_pairs(alone)),
        class_mean_distances(image, text, class_pairs(labels)),
        rtol=0,
        atol=0,
    )


def test_the_expectation_is_zero_for_one_distribution_and_not_for_two():
    """Over many pairs of one class; the estimate's standard error is about .01 at 1,000 rows."""
    pairs = class_pairs(torch.ones(1000, 1))
    image, text = drawn(1000, 3), drawn(1000, 3, 1)
    assert abs(class_mean_distances(image, text, pairs).item()) < 0.04
    assert class_mean_distances(image, text + 2, pairs).item() > 0.3


def test_equal_inputs_give_zero():
    same = drawn(9, 4)
    assert class_mean_distances(same, same, class_pairs(torch.ones(9, 2))).tolist() == [0, 0]


@pytest.mark.parametrize("moved", [0, 1], ids=["all points", "all but one"])
def test_coinciding_points(moved):
    image, text = torch.full((6, 3), 0.5), torch.full((6, 3), 0.5)
    text[:moved] = -0.5
    assert median_bandwidth(image, text) == pytest.approx(1e-12)
    image.requires_grad_()
    text.requires_grad_()
    found = class_mean_distances(image, text, class_pairs(torch.ones(6, 1)))
    found.sum().backward()
    assert torch.isfinite(found).all()
    assert torch.isfinite(image.grad).all()
    assert torch.isfinite(text.grad).all()


def test_the_gradient_leaves_the_bandwidth_alone():
    """Equals finite differences of the twin at a fixed bandwidth, in float64."""
    image, text = drawn(4, 2).double(), drawn(4, 2, 1).double().requires_grad_()
    pairs = class_pairs(torch.ones(4, 1))
    class_mean_distances(image, text, pairs).sum().backward()
    width = oracle.bandwidth(image.tolist(), text.tolist())

    def value(moved):
        i, t = image.tolist(), moved.tolist()
        return (
            sum(
                oracle.kernel(i[a], i[b], width)
                - oracle.kernel(i[a], t[b], width)
                + oracle.kernel(t[a], t[b], width)
                - oracle.kernel(t[a], i[b], width)
                for a, b in ((0, 1), (2, 3))
            )
            / 2
        )

    for row in range(4):
        for column in range(2):
            step = torch.zeros(4, 2, dtype=torch.float64)
            step[row, column] = 1e-5
            moved = text.detach()
            slope = (value(moved + step) - value(moved - step)) / 2e-5
            assert text.grad[row, column].item() == pytest.approx(slope, abs=1e-8)
