from __future__ import annotations

import numpy as np
import pytest
import torch
from oracles_csm import query_vector
from scipy import sparse

from spdq.networks.csm import CSMNetwork, PixelTower

SIZES = {"hidden": 11, "dim": 6, "input_dropout": 0.1, "dropout": 0.3}


def network(*, pixels=False, layer=False, normalised=False, width=7):
    torch.manual_seed(0)
    made = CSMNetwork(width, 9, pixels=pixels, direct=True, query_layer=layer, normalised=normalised, **SIZES)
    torch.nn.init.normal_(made.queries.terms.weight)
    return made.eval()


def rows(*entries):
    """Three terms at most a query: {column: weight}."""
    dense = np.zeros((len(entries), 9), np.float32)
    for row, entry in zip(dense, entries, strict=True):
        row[list(entry)] = list(entry.values())
    matrix = sparse.csr_matrix(dense)
    starts = torch.from_numpy(matrix.indptr[:-1].astype(np.int64))
    return dense, (torch.from_numpy(matrix.indices.astype(np.int64)), starts, torch.from_numpy(matrix.data))


ROWS = ({0: 1.0, 3: 0.5}, {}, {8: 2.0}, {1: 0.25, 2: 0.25, 7: 0.25}, {})


@pytest.mark.parametrize("normalised", [False, True])
@pytest.mark.parametrize("layer", [False, True])
def test_queries_equal_the_twin(layer, normalised):
    made = network(layer=layer, normalised=normalised)
    dense, features = rows(*ROWS)
    matrices = None
    if layer:
        matrices = [made.queries.layer[place].weight.detach().numpy() for place in (0, 2)]
    embeddings = made.queries.terms.weight.detach().numpy()
    expected = [query_vector(row, embeddings, matrices, normalised) for row in dense]
    found = made.query(*features).detach()
    assert (found.shape, found.dtype) == ((5, 6), torch.float32)
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("layer", [False, True])
def test_what_was_never_trained_says_nothing(layer):
    torch.manual_seed(0)
    made = CSMNetwork(7, 9, pixels=False, direct=True, query_layer=layer, normalised=True, **SIZES)
    found = made.query(*rows(*ROWS)[1])
    assert torch.equal(found, torch.zeros(5, 6))
    (found @ torch.randn(6)).sum().backward()
    gradient = made.queries.terms.weight.grad
    assert gradient.is_sparse
    assert torch.isfinite(gradient.to_dense()).all()
    assert sorted(set(gradient._indices()[0].tolist())) == [0, 1, 2, 3, 7, 8]


def test_no_known_term_at_all():
    assert torch.equal(network().query(*rows({}, {})[1]), torch.zeros(2, 6))


@pytest.mark.parametrize("pixels", [False, True])
def test_only_normalised_images_have_length_1(pixels):
    width = 16 * 16 * 3 if pixels else 7
    inputs = torch.randn(4, width)
    plain, unit = (network(pixels=pixels, normalised=normalised, width=width) for normalised in (False, True))
    vectors = plain.image(inputs).detach()
    assert vectors.shape == (4, 6)
    expected = vectors / vectors.norm(dim=1, keepdim=True)
    np.testing.assert_allclose(unit.image(inputs).detach(), expected, atol=1e-6)


def test_the_image_tower_is_its_two_paths():
    made = network()
    inputs = torch.randn(3, 7)
    body, state = made.images.body, made.images.state_dict()
    hidden = (inputs @ state["body.1.weight"].T + state["body.1.bias"]).clamp(min=0)
    expected = hidden @ state["body.4.weight"].T + state["body.4.bias"] + inputs @ state["direct.weight"].T
    np.testing.assert_allclose(made.image(inputs).detach(), expected, atol=1e-5)
    assert len(body) == 5


@pytest.mark.parametrize("size", [8, 32, 40])
def test_pixels_are_row_major_and_of_any_size(size):
    torch.manual_seed(0)
    tower = PixelTower(size * size * 3, dim=5, dropout=0.5).eval()
    pictures = torch.rand(3, size, size, 3)
    found = tower(pictures.reshape(3, -1))
    expected = tower.out(tower.body(pictures.permute(0, 3, 1, 2)))
    assert found.shape == (3, 5)
    assert torch.equal(found, expected)


def test_a_picture_does_not_depend_on_its_company():
    torch.manual_seed(0)
    tower = PixelTower(16 * 16 * 3, dim=5, dropout=0.5).eval()
    pictures = torch.rand(6, 768)
    np.testing.assert_allclose(tower(pictures[2:3]).detach(), tower(pictures)[2:3].detach(), atol=1e-5)
    assert tower(pictures[:0]).shape == (0, 5)


def test_dropout_only_while_training():
    for made, inputs in (
        (network(), torch.randn(8, 7)),
        (network(pixels=True, width=192), torch.rand(8, 192)),
    ):
        assert torch.equal(made.image(inputs), made.image(inputs))
        made.train()
        assert not torch.equal(made.image(inputs), made.image(inputs))
