from __future__ import annotations

import numpy as np
import pytest
import torch
from oracles_gated import gated_unit

from spdq.networks.gated import GatedNetwork


def network(direct=True):
    torch.manual_seed(0)
    return GatedNetwork(7, 5, hidden=11, dim=6, input_dropout=0.1, dropout=0.3, direct=direct).eval()


@pytest.mark.parametrize("direct", [True, False])
def test_towers_say_unit_vectors(direct):
    made = network(direct)
    image, text = made.image(torch.randn(4, 7)), made.text(torch.randn(4, 5))
    for vectors in (image, text, made.unit(image, text)):
        assert vectors.shape == (4, 6)
        np.testing.assert_allclose(vectors.detach().norm(dim=1), np.ones(4), atol=1e-6)


def test_the_unit_is_the_gated_sum():
    made = network()
    with torch.no_grad():
        image, text = made.image(torch.randn(5, 7)), made.text(torch.randn(5, 5))
        unit = made.unit(image, text).numpy()
    expected = gated_unit(
        image.numpy(), text.numpy(), made.gate.weight.detach().numpy(), made.gate.bias.detach().numpy()
    )
    np.testing.assert_allclose(unit, expected, atol=1e-6)


def test_the_linear_path_is_the_tower_without_its_hidden_layer():
    made = network()
    with torch.no_grad():
        for parameter in made.image.body.parameters():
            parameter.zero_()
        inputs = torch.randn(3, 7)
        expected = torch.nn.functional.normalize(inputs @ made.image.direct.weight.T, dim=1)
        np.testing.assert_allclose(made.image(inputs), expected, atol=1e-6)


def test_an_input_of_zeros_has_a_vector():
    made = network()
    with torch.no_grad():
        assert torch.isfinite(made.image(torch.zeros(2, 7))).all()
        assert made.image(torch.zeros(0, 7)).shape == (0, 6)


def test_dropout_only_while_training():
    made, inputs = network(), torch.randn(8, 7)
    assert torch.equal(made.image(inputs), made.image(inputs))
    made.train()
    assert not torch.equal(made.image(inputs), made.image(inputs))
