"""What the extractors of all libraries have alike, with a network that needs none of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from spdq.features import network_images
from spdq.features.network_images import GPU_BATCH, Encoder, NetworkExtractor


class Small(NetworkExtractor):
    """Two convolutions with weights drawn by a seed, pictures squashed to 32 x 32."""

    library = "small"

    def _full(self):
        return self._network, self._weights

    def _load(self, spec):
        torch.manual_seed(0)
        network = torch.nn.Sequential(
            torch.nn.Conv2d(3, 16, 3, stride=2), torch.nn.ReLU(), torch.nn.Conv2d(16, 40, 3, stride=2),
            torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(40, 12),
        )  # fmt: skip
        self.fed = []
        network.register_forward_pre_hook(lambda _, x: self.fed.append(tuple(x[0].shape)))
        return Encoder(
            network=network,
            embed=network,
            weights=network.state_dict,
            prepare=prepare,
            preparation={"size": 32},
        )


def prepare(picture):
    return torch.from_numpy(np.array(picture.resize((32, 32)), np.float32) / 255).permute(2, 0, 1)


@pytest.fixture(scope="module")
def pictures():
    random = np.random.default_rng(0)
    return [Image.fromarray(random.integers(0, 256, (40, 30, 3), dtype=np.uint8)) for _ in range(10)]


def on_a_cpu(monkeypatch, size):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(network_images, "CPU_BATCH", size)
    return Small.from_spec("net", {})


@pytest.mark.parametrize("size", [1, 4])
def test_every_batch_has_one_shape_and_a_row_is_the_same_in_any_company(monkeypatch, pictures, size):
    extractor = on_a_cpu(monkeypatch, size)
    calls = []
    rows = extractor.extract(pictures, progress=lambda *call: calls.append(call))
    assert set(extractor.fed) == {(size, 3, 32, 32)}
    assert calls == [(min(done, 10), 10) for done in range(size, 10 + size, size)]
    for row in (0, 3, 9):
        np.testing.assert_array_equal(extractor.extract([pictures[row]])[0], rows[row])
    np.testing.assert_array_equal(extractor.extract(pictures[::-1])[::-1], rows)


def test_the_batch_size_changes_nothing_but_the_last_digits(monkeypatch, pictures):
    one, four = (on_a_cpu(monkeypatch, size).extract(pictures) for size in (1, 4))
    np.testing.assert_allclose(one, four, atol=1e-6)


def test_a_full_name_needs_no_network(monkeypatch):
    extractor = Small.from_spec("net:file:b#0123456789abcdef", {})
    monkeypatch.setattr(Small, "_load", None)
    assert extractor.name == "small:net:file:b#0123456789abcdef"
    # Too short a digest is a part of the file's name.
    assert Small.from_spec("net:file#0123", {}).spec == "small:net:file#0123"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU that torch can use")
def test_a_gpu_gives_nearly_the_rows_of_a_cpu(monkeypatch, pictures):
    extractor = Small.from_spec("net", {})
    rows = extractor.extract(pictures)
    assert rows.dtype == np.float32
    assert set(extractor.fed) == {(GPU_BATCH, 3, 32, 32)}
    for row in (0, 9):
        np.testing.assert_array_equal(extractor.extract([pictures[row]])[0], rows[row])
    expected = on_a_cpu(monkeypatch, 1)
    assert expected.settings() == extractor.settings()
    np.testing.assert_allclose(rows, expected.extract(pictures), atol=1e-2 * abs(rows).max())
