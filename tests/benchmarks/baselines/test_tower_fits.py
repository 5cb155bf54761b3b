"""What Corr-AE, CDQ, CHN, DCMH and PRDH must all bear: seeds, torch's global generator, degenerate pairs."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from made_pairs import class_pairs

from spdq.errors import DataError
from spdq_benchmarks.baselines import towers
from spdq_benchmarks.baselines.cdq import CDQ
from spdq_benchmarks.baselines.chn import CHN
from spdq_benchmarks.baselines.contract import Pairs
from spdq_benchmarks.baselines.corr_ae import CorrAE
from spdq_benchmarks.baselines.dcmh import DCMH
from spdq_benchmarks.baselines.prdh import PRDH
from spdq_benchmarks.baselines.registry import baseline_class

METHODS = [CorrAE, CDQ, CHN, DCMH, PRDH]
every_method = pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)


@pytest.fixture(autouse=True)
def few_steps(monkeypatch):
    monkeypatch.setattr(towers, "MIN_STEPS", 8)


def codes(method, pairs, bits=16, seed=0):
    fitted = method().fit(pairs, bits, seed)
    for vectors in (fitted.embed_image(pairs.image), fitted.embed_text(pairs.text)):
        assert vectors.dtype == np.float32
        assert np.isfinite(vectors).all()
    return np.concatenate([fitted.encode_image(pairs.image), fitted.encode_text(pairs.text)])


@every_method
def test_is_the_registered_one_and_tells_its_settings(method):
    assert baseline_class(method.name) is method
    assert method.needs_labels is (method is not CorrAE)
    settings = method().fit(class_pairs(20, 2, 0), 8).settings
    assert settings["hidden"] == towers.HIDDEN
    assert settings["steps"] == 12


@every_method
def test_codes_follow_the_seed_alone(method):
    pairs = class_pairs(30, 3, 0, noise=1.0)
    torch.manual_seed(1)
    first = codes(method, pairs)
    state = torch.random.get_rng_state()
    torch.manual_seed(2)
    np.testing.assert_array_equal(codes(method, pairs), first)
    torch.manual_seed(1)
    assert (codes(method, pairs, seed=1) != first).any()
    assert torch.equal(torch.random.get_rng_state(), state)


@every_method
def test_degenerate_pairs(method):
    pairs = class_pairs(12, 3, 0, d_text=1)
    image, labels = pairs.image.copy(), pairs.labels.copy()
    image[:, 0] = 7  # a constant column
    labels[0] = 0
    labels[:, 2] = np.arange(12) == 5  # a class of one member
    assert codes(method, Pairs(image, pairs.text, labels), bits=64).shape == (24, 8)


@every_method
def test_two_equal_pairs(method):
    pairs = Pairs(np.zeros((2, 3), np.float32), np.zeros((2, 2), np.float32), np.ones((2, 1), np.uint8))
    assert codes(method, pairs, bits=8).shape == (4, 1)


@every_method
def test_large_inputs_stay_finite(method):
    pairs = class_pairs(12, 3, 0)
    large = Pairs(pairs.image * np.float32(1e4), pairs.text, pairs.labels)
    fitted = method().fit(large, 16)
    for vectors in (fitted.embed_image(large.image), fitted.embed_text(large.text)):
        assert np.isfinite(vectors).all()


@every_method
def test_encodes_no_rows(method):
    fitted = method().fit(class_pairs(12, 3, 0), 8)
    assert fitted.encode_image(np.empty((0, 20), np.float32)).shape == (0, 1)


@pytest.mark.parametrize("method", [m for m in METHODS if m.needs_labels], ids=lambda method: method.name)
def test_without_labels_is_refused(method):
    with pytest.raises(DataError, match=f"{method.name} learns from labels, and the data set has none"):
        method().fit(dataclasses.replace(class_pairs(12, 3, 0), labels=None), 8)
