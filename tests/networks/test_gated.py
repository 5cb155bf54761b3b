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
@pytest.mark.parametrize("guess", [0.1, 0.5**0.5])
def test_every_form_has_length_1(direct, guess):
    made = network(direct, guess)
    image, text = made.image(torch.randn(4, 7)), made.text(torch.randn(4, 5))
    for vectors in (image, text, made.unit(image, text)):
        assert vectors.shape == (4, 6)
        np.testing.assert_allclose(vectors.detach().norm(dim=1), np.ones(4), atol=1e-6)


def test_the_guessed_half_is_short():
    made = network()
    image, text = made.image(torch.randn(4, 7)), made.text(torch.randn(4, 5))
    known = (1 - 0.2**2) ** 0.5
    for vectors, lengths in (
        (image, (0.2, known)),
        (text, (known, 0.2)),
        (made.unit(image, text), [0.5**0.5] * 2),
    ):
        for half, length in zip(vectors.detach().split(3, dim=1), lengths, strict=True):
            np.testing.assert_allclose(half.norm(dim=1), np.full(4, length), atol=1e-6)


@pytest.mark.parametrize("guess", [0.1, 0.5**0.5])
def test_the_highest_scores(guess):
    """A thing whose image and text agree in every respect: both towers say the same two halves."""
    made = network(guess=guess)
    known = (1 - guess**2) ** 0.5
    half = torch.nn.functional.normalize(torch.randn(2, 1, 3), dim=2)
    forms = {
        "t": torch.cat([known * half[0], guess * half[1]], dim=1),
        "i": torch.cat([guess * half[0], known * half[1]], dim=1),
    }
    forms["u"] = 0.5**0.5 * torch.cat([half[0], half[1]], dim=1)
    for query in "it":
        for target in "itu":
            score = float((forms[query] * forms[target]).sum())
            assert score == pytest.approx(made.highest_score(query, target), abs=1e-6)


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
            np.testing.assert_allclose(said, halves(row, 0.2, (1 - 0.2**2) ** 0.5), atol=1e-6)


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
