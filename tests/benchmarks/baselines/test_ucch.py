"""UCCH: both losses against loops, worked cases, the memory of keys, clusters without labels."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from made_pairs import class_pairs, held_out, precision
from oracles_baselines_deep2 import contrast_with_keys, moved_memory, ranking_bound
from torch.nn import functional

from spdq_benchmarks.baselines import towers, ucch
from spdq_benchmarks.baselines.ucch import UCCH, Memory, hash_contrast, ranking, signs


def units(*shape, seed=0):
    return functional.normalize(
        torch.from_numpy(np.random.default_rng(seed).standard_normal(shape)).float(), dim=1
    )


def test_contrast_is_the_paper_s():
    outputs, keys, own = units(5, 8), signs(units(11, 8, seed=1)), torch.tensor([3, 0, 10, 3, 7])
    wanted = contrast_with_keys(outputs.tolist(), keys.tolist(), own.tolist(), temperature=0.9)
    assert float(hash_contrast(outputs, keys, own)) == pytest.approx(wanted, rel=1e-5)


def test_contrast_of_keys_all_alike_is_a_guess():
    found = hash_contrast(units(3, 8), torch.ones(7, 8), torch.tensor([0, 1, 2]))
    assert float(found) == pytest.approx(math.log(7), rel=1e-5)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_ranking_is_the_paper_s(seed):
    x, y = units(7, 3, seed=seed), units(7, 3, seed=seed + 10)
    wanted = ranking_bound(x.tolist(), y.tolist(), margin=0.2, shift=0.1)
    assert float(ranking(x, y)) == pytest.approx(wanted, rel=1e-5)


def test_ranking_bounds_the_largest_violation():
    x, y = units(9, 4), units(9, 4, seed=3)
    products = x @ y.T
    worst = (0.2 + products - products.diagonal()[:, None]).clamp(min=0).max(dim=1).values
    assert float(ranking(x, y)) >= float(worst.mean())


def test_memory_moves_to_the_pair():
    start, x, y = units(5, 4), units(2, 4, seed=1), units(2, 4, seed=2)
    memory = Memory(start.clone())
    rows = torch.tensor([3, 1])
    memory.update(rows, (x + y) / 2)
    for at, row in enumerate(rows.tolist()):
        wanted = moved_memory(start.tolist(), row, x[at].tolist(), y[at].tolist(), momentum=0.4)
        np.testing.assert_allclose(memory.vectors[row].numpy(), wanted, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(memory.vectors[[0, 2, 4]].numpy(), start[[0, 2, 4]].numpy())


@pytest.mark.parametrize("negatives", [4, 12, 20])
def test_keys_hold_each_row_s_own_once(monkeypatch, negatives):
    monkeypatch.setattr(ucch, "NEGATIVES", negatives)
    memory = Memory(units(20, 30))
    codes = [tuple(code) for code in signs(memory.vectors).tolist()]
    rows = torch.tensor([7, 2, 19])
    keys, own = memory.keys(rows, np.random.default_rng(0))
    keys = [tuple(key) for key in keys.tolist()]
    assert [keys[at] for at in own.tolist()] == [codes[row] for row in rows.tolist()]
    assert len(set(keys)) == len(keys)
    assert set(keys) <= set(codes)
    assert len(keys) == 20 if negatives == 20 else negatives <= len(keys) <= negatives + 3


def test_signs_of_zero_are_positive():
    assert signs(torch.tensor([[-0.5, 0.0, 2.0]])).tolist() == [[-1.0, 1.0, 1.0]]


@pytest.mark.parametrize("negatives", [4096, 50])
def test_clusters_are_found_without_labels(monkeypatch, negatives):
    monkeypatch.setattr(towers, "MIN_STEPS", 150)
    monkeypatch.setattr(ucch, "NEGATIVES", negatives)
    arguments = {"n": 150, "classes": 5, "seed": 1}
    method = UCCH().fit(dataclasses.replace(class_pairs(**arguments), labels=None), 32, seed=0)
    queries = held_out(**arguments)
    assert min(precision(method, queries, queries)) > 0.8
