"""What every learned tower of this group must bear: seeds, torch's global generator, degenerate pairs, any length."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from made_pairs import class_pairs

from spdq.errors import DataError
from spdq_benchmarks.baselines import mixing, towers
from spdq_benchmarks.baselines.contract import Pairs
from spdq_benchmarks.baselines.djsrh import DJSRH
from spdq_benchmarks.baselines.mlp_aq import MLPPosteriorsAQ
from spdq_benchmarks.baselines.registry import baseline_class
from spdq_benchmarks.baselines.ssah import SSAH
from spdq_benchmarks.baselines.supcon_pq import SupConPQ
from spdq_benchmarks.baselines.ucch import UCCH

METHODS = [SSAH, DJSRH, UCCH, MLPPosteriorsAQ, SupConPQ]
SUPERVISED = [SSAH, MLPPosteriorsAQ, SupConPQ]
every_method = pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)


@pytest.fixture(autouse=True)
def few_steps(monkeypatch):
    monkeypatch.setattr(towers, "MIN_STEPS", 6)
    monkeypatch.setattr(mixing, "MIXES", 50)


def codes(method, pairs, bits=16, seed=0):
    fitted = method().fit(pairs, bits, seed)
    return np.concatenate([fitted.encode_image(pairs.image), fitted.encode_text(pairs.text)])


@every_method
def test_is_the_registered_one(method):
    assert baseline_class(method.name) is method
    assert method.needs_labels is (method in SUPERVISED)


@every_method
def test_codes_follow_the_seed_alone(method):
    pairs = class_pairs(30, 3, 0, noise=1.0)
    torch.manual_seed(1)
    first = codes(method, pairs)
    state = torch.random.get_rng_state()
    torch.manual_seed(2)
    np.testing.assert_array_equal(codes(method, pairs), first)
    torch.manual_seed(1)
    codes(method, pairs, seed=5)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert (codes(method, pairs, seed=1) != first).any()


@every_method
def test_vectors_and_codes_have_the_promised_shapes(method):
    pairs = class_pairs(30, 3, 0)
    fitted = method().fit(pairs, 32)
    assert fitted.settings["hidden"] == towers.HIDDEN
    assert fitted.settings["steps"] == 18
    for vectors, made in (
        (fitted.embed_image(pairs.image), fitted.encode_image(pairs.image)),
        (fitted.embed_text(pairs.text), fitted.encode_text(pairs.text)),
    ):
        assert vectors.dtype == np.float32
        assert np.isfinite(vectors).all()
        assert made.shape == (30, 4)
        assert made.dtype == np.uint8
        np.testing.assert_array_equal(fitted.encode(vectors), made)
        assert fitted.distances(vectors[:3], made).shape == (3, 30)


@every_method
def test_rows_are_embedded_one_by_one(method):
    """No row's vector depends on the others (dropout is off, nothing is normalised over a batch)."""
    pairs = class_pairs(30, 3, 0)
    fitted = method().fit(pairs, 16)
    np.testing.assert_allclose(
        fitted.embed_text(pairs.text)[4:5], fitted.embed_text(pairs.text[4:5]), atol=1e-5
    )
    np.testing.assert_allclose(
        fitted.embed_image(pairs.image)[4:5], fitted.embed_image(pairs.image[4:5]), atol=1e-5
    )


def degenerate(kind):
    pairs = class_pairs(30, 3, 0)
    image, text, labels = pairs.image.copy(), pairs.text.copy(), pairs.labels.copy()
    if kind == "constant column":
        image[:, 0] = text[:, 0] = 7
    elif kind == "rows of zeros":
        image[:5], text[3:8] = 0, 0
    elif kind == "no label on a row":
        labels[4] = 0
    elif kind == "class of one":
        labels[:, 2] = 0
        labels[0] = (0, 0, 1)
    elif kind == "class of none":
        labels = np.pad(labels, ((0, 0), (0, 1)))
    elif kind == "one class":
        labels = np.ones((30, 1), np.uint8)
    elif kind == "fewer pairs than bits":
        image, text, labels = image[:3], text[:3], labels[:3]
    elif kind == "text of one column":
        text = text[:, :1].copy()
    return Pairs(image, text, labels)


@pytest.mark.parametrize(
    "kind",
    [
        "constant column",
        "rows of zeros",
        "no label on a row",
        "class of one",
        "class of none",
        "one class",
        "fewer pairs than bits",
        "text of one column",
    ],
)
@every_method
def test_degenerate_pairs_are_learned_from(method, kind):
    pairs = degenerate(kind)
    fitted = method().fit(pairs, 32)
    for vectors in (fitted.embed_image(pairs.image), fitted.embed_text(pairs.text)):
        assert np.isfinite(vectors).all()
        assert np.isfinite(fitted.distances(vectors, fitted.encode(vectors))).all()


@every_method
def test_labels_are_asked_for_only_where_they_are_learned(method):
    pairs = dataclasses.replace(class_pairs(30, 3, 0), labels=None)
    if method in SUPERVISED:
        with pytest.raises(DataError, match=f"{method.name} learns from labels"):
            method().fit(pairs, 16)
    else:
        with_labels = codes(method, class_pairs(30, 3, 0))
        np.testing.assert_array_equal(codes(method, pairs), with_labels)
