from __future__ import annotations

import numpy as np
import oracles_mixer as oracle
import pytest
import torch

from spdq.networks.mixer import MixerNetwork

WIDTH, TEXT, DIM = 5, 7, 6


def network(regions=4, parts=2, concepts=3, **rates):
    rates = {"input_dropout": 0.0, "text_dropout": 0.0, "dropout": 0.0} | rates
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = MixerNetwork(
            WIDTH, regions, TEXT, hidden=8, dim=DIM, concepts=concepts, slots=4, parts=parts, **rates
        )
        for weights in made.parameters():
            # What begins at 0 or 1 would hide a mistake.
            weights.data.add_(0.3 * torch.randn_like(weights))
    return made.eval()


def rows(n, width, seed=0):
    return np.random.default_rng(seed).normal(size=(n, width)).astype(np.float32)


def state(made):
    return {name: tensor.numpy() for name, tensor in made.state_dict().items()}


@pytest.mark.parametrize("regions", [1, 4])
def test_queries_equal_the_twin(regions):
    made, images = network(regions), rows(5, regions * WIDTH)
    with torch.no_grad():
        found = made.query(made.encoder(torch.from_numpy(images)))
    assert (found.shape, found.dtype) == ((5, DIM), torch.float32)
    np.testing.assert_allclose(found, [oracle.query(state(made), x) for x in images], atol=1e-5)


@pytest.mark.parametrize(("regions", "parts", "concepts"), [(4, 2, 3), (1, 1, 1)])
@pytest.mark.parametrize("has", [("image",), ("text",), ("image", "text")])
def test_documents_equal_the_twin(has, regions, parts, concepts):
    made = network(regions, parts, concepts)
    images, texts, part = rows(5, regions * WIDTH), rows(5, TEXT, 1), parts - 1
    with torch.no_grad():
        seen = made.encoder(torch.from_numpy(images)) if "image" in has else None
        said = made.memory(torch.from_numpy(texts), part) if "text" in has else None
        found = made.document(seen, said)
    expected = [
        oracle.document(state(made), x if "image" in has else None, t if "text" in has else None, part)
        for x, t in zip(images, texts, strict=True)
    ]
    np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_allclose(found.norm(dim=1), np.ones(5), atol=1e-6)


def test_a_document_of_nothing():
    with pytest.raises(ValueError, match="a document needs an image or concepts"):
        network().document(None, None)


def test_parts_of_the_memory_are_separate():
    made, texts = network(parts=3), torch.from_numpy(rows(4, TEXT))
    made.memory(texts, 1).sum().backward()
    for weights in (made.memory.project, made.memory.keys, made.memory.values):
        assert weights.grad[1].any()
        assert not weights.grad[[0, 2]].any()


def test_rows_do_not_see_each_other():
    made, images, texts = network(), torch.from_numpy(rows(6, 4 * WIDTH)), torch.from_numpy(rows(6, TEXT))
    with torch.no_grad():
        whole = made.document(made.encoder(images), made.memory(texts, 0))
        alone = made.document(made.encoder(images[2:3]), made.memory(texts[2:3], 0))
    np.testing.assert_allclose(whole[2:3], alone, atol=1e-6)


def test_no_row():
    made = network()
    assert made.query(made.encoder(torch.zeros(0, 4 * WIDTH))).shape == (0, DIM)
    assert made.document(None, made.memory(torch.zeros(0, TEXT), 0)).shape == (0, DIM)


def test_dropout_acts_in_training_alone():
    made, images = network(input_dropout=0.5), torch.from_numpy(rows(6, 4 * WIDTH))
    with torch.no_grad():
        calm = made.encoder(images)
        assert torch.equal(calm, made.encoder(images))
        assert not torch.equal(calm, made.train().encoder(images))
