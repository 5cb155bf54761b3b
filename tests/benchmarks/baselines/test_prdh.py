from __future__ import annotations

import numpy as np
import pytest
import torch
from made_pairs import class_pairs, held_out, precision
from oracles_baselines_deep import dcmh_pull, mean_likelihood, squared_covariances

from spdq_benchmarks.baselines import prdh, towers
from spdq_benchmarks.baselines.prdh import PRDH


@pytest.fixture(autouse=True)
def few_steps(monkeypatch):
    monkeypatch.setattr(towers, "MIN_STEPS", 80)


def test_covariances_against_loops_and_numpy():
    outputs = torch.randn(6, 4, generator=torch.Generator().manual_seed(0)) + 3
    found = float(prdh.squared_covariances(outputs))
    assert found == pytest.approx(squared_covariances(outputs.tolist()), rel=1e-5)
    covariance = np.cov(outputs.numpy().T, bias=True)
    assert found == pytest.approx((np.sum(covariance**2) - np.sum(np.diag(covariance) ** 2)) / 2, rel=1e-5)
    assert found > 0


def test_covariances_of_uncorrelated_columns_are_none():
    outputs = torch.tensor([[1.0, 1], [1, -1], [-1, 1], [-1, -1]])
    assert float(prdh.squared_covariances(outputs)) == pytest.approx(0)
    assert float(prdh.squared_covariances(torch.ones(1, 3))) == 0


def test_objective_of_a_batch_against_loops():
    generator = torch.Generator().manual_seed(1)
    own, others = torch.randn(2, 6, 5, generator=generator)
    outputs, signs = torch.randn(3, 5, generator=generator), torch.ones(3, 5)
    similar = (torch.arange(18).reshape(3, 6) % 3 == 0).float()
    method = PRDH()
    method.pairs, method.weight, method.decorrelation = class_pairs(9, 3, 0), 1.5, 0.4
    expected = mean_likelihood(outputs, others, similar, 1.5) + mean_likelihood(outputs, own, similar, 1.5)
    expected += (dcmh_pull(outputs, signs, 1, 1) + 0.4 * squared_covariances(outputs.tolist())) / (3 * 9)
    assert float(method._loss(outputs, signs, own, others, similar)) == pytest.approx(expected, rel=1e-5)


def test_separable_classes_are_found_out_of_sample():
    database = held_out(40, 4, 0)
    assert min(precision(PRDH().fit(class_pairs(80, 4, 0), 16), database, database)) > 0.98


def test_decorrelation_makes_bits_less_alike():
    pairs = class_pairs(60, 6, 0)
    free, apart = (
        type("Weighted", (PRDH,), {"decorrelation": weight})().fit(pairs, 16) for weight in (0.0, 3e4)
    )

    def likeness(method):
        found = np.corrcoef(method.embed_text(pairs.text).T)
        return np.abs(found[~np.eye(len(found), dtype=bool)]).mean()

    assert likeness(apart) < 0.8 * likeness(free)


def test_settings_name_its_own_number():
    assert PRDH().fit(class_pairs(20, 2, 0), 8).settings["decorrelation"] == 1.0
