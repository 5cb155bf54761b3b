from __future__ import annotations

import numpy as np
import pytest
import torch
from oracles_gated import gated_unit, halves

from spdq.networks.gated import GatedNetwork


def network(direct=True, guess=0.2):
    torch.manual_seed(0)
    sizes = {"hidden": 11, "dim": 6, "input_dropout": 0.1, "dropout": 0.3}
    return GatedNetwork(7, 5, guess=guess, direct=direct, **sizes).eval()


@pytest.mark.parametrize("direct", [True, False])
def test_both_halves_are_equally_long(direct):
    made = network(direct)
    image, text = made.image(torch.randn(4, 7)), made.text(torch.randn(4, 5))
    for vectors in (image, text, made.unit(image, text)):
        assert vectors.shape == (4, 6)
        for half in vectors.detach().split(3, dim=1):
            np.testing.assert_allclose(half.norm(dim=1), np.full(4, 0.5**0.5), atol=1e-6)


@pytest.mark.parametrize("guess", [0.0, 0.1, 1.0])
def test_the_highest_score_is_that_of_agreement(guess):
    made = network(guess=guess)
    with torch.no_grad():
        vectors = made.image(torch.randn(5, 7))
        for modality in ("text", "image"):
            scores = (made.query_weights(modality) * vectors * vectors).sum(dim=1)
            np.testing.assert_allclose(scores, np.full(5, made.highest_score), atol=1e-6)


def test_a_query_counts_its_guess_less():
    made = network(guess=0.2)
    np.testing.assert_allclose(made.query_weights("text"), [1, 1, 1, 0.2, 0.2, 0.2])
    np.testing.assert_allclose(made.query_weights("image"), [0.2, 0.2, 0.2, 1, 1, 1])


def test_the_gate_starts_with_each_half_from_its_modality():
    made = network()
    with torch.no_grad():
        image, text = made.image(torch.randn(50, 7)), made.text(torch.randn(50, 5))
        unit = made.unit(image, text)
    for half, own in ((slice(0, 3), text), (slice(3, 6), image)):
        agreement = torch.nn.functional.cosine_similarity(unit[:, half], own[:, half])
        assert agreement.min() > 0.97


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
        for parameter in made.image_tower.body.parameters():
            parameter.zero_()
        inputs = torch.randn(3, 7)
        expected = inputs @ made.image_tower.direct.weight.T
        for row, said in zip(expected.numpy(), made.image(inputs).numpy(), strict=True):
            np.testing.assert_allclose(said, halves(row, 0.5**0.5, 0.5**0.5), atol=1e-6)


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
