"""What the models of all systems share (spdq/models/network.py)."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from made_models import trained, worded

from spdq.models.network import BATCH, by_batch, in_batches
from spdq.quantizers.codebooks import Codebooks


@pytest.mark.parametrize("n", [0, 1, BATCH, BATCH + 1])
def test_rows_in_batches(n):
    a, b = np.random.default_rng(0).normal(size=(2, n, 3)).astype(np.float32)
    sizes = []

    def embed(one, other):
        sizes.append(len(one))
        return torch.cat([one, other], dim=1)

    found = in_batches(embed, 6, a, b)
    assert (found.shape, found.dtype) == ((n, 6), np.float32)
    np.testing.assert_array_equal(found, np.concatenate([a, b], axis=1))
    assert sizes == [BATCH] * (n // BATCH) + [n % BATCH] * (n % BATCH > 0)


def test_batches_of_another_size():
    asked = []

    def embed(rows):
        asked.append((rows.start, rows.stop))
        return torch.arange(10.0)[rows, None]

    assert by_batch(embed, 10, 1, 4).ravel().tolist() == list(range(10))
    assert asked == [(0, 4), (4, 8), (8, 12)]


def test_other_codebooks_leave_the_model_as_it_was():
    model = trained()
    before = model.fingerprint
    words = np.random.default_rng(0).normal(size=(4, 256, model.dim)).astype(np.float32)
    codebooks = Codebooks(words, "additive")
    other = model.with_codebooks(codebooks)
    assert other.network is model.network
    assert other.codebooks is codebooks
    assert (other.config.bits, other.training["bits"]) == (32, 32)
    assert {**other.training, "bits": 16} == model.training
    assert other.encode_image(worded().image_features[:3]).shape == (3, 4)
    assert other.fingerprint != before
    assert (model.fingerprint, model.codebooks.bits, model.config.bits) == (before, 16, 16)
