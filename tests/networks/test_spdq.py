from __future__ import annotations

import math

import numpy as np
import oracles_models as oracle
import pytest
import torch

from spdq.networks.spdq import SPDQNetwork, Tower

SIZES = {"hidden": 8, "shared": 5, "private": 3}
TOWER = {"body.1.weight", "body.1.bias"} | {
    f"{head}.{part}" for head in ("shared", "private", "classifier") for part in ("weight", "bias")
}
DIRECT = {"direct_shared.weight", "direct_logits.weight"}


def tower(width=6, labels=4, *, direct=False, input_dropout=0.0, dropout=0.0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Tower(
            width, labels, direct=direct, input_dropout=input_dropout, dropout=dropout, **SIZES
        ).eval()


def network(direct_text=True, **rates):
    rates = {"image_dropout": 0.0, "text_dropout": 0.0, "dropout": 0.0} | rates
    return SPDQNetwork(6, 7, 4, direct_text=direct_text, **SIZES, **rates)


def inputs(n, width=6, scale=1.0):
    return torch.from_numpy((scale * np.random.default_rng(n).normal(size=(n, width))).astype(np.float32))


@pytest.mark.parametrize("direct", [False, True])
@pytest.mark.parametrize("labels", [1, 4])
@pytest.mark.parametrize("n", [0, 1, 5])
def test_shapes(n, labels, direct):
    output = tower(labels=labels, direct=direct)(inputs(n))
    assert output.shared.shape == (n, 5)
    assert output.private.shape == (n, 3)
    assert output.logits.shape == (n, labels)
    assert {part.dtype for part in output} == {torch.float32}


@pytest.mark.parametrize("direct", [False, True])
def test_equals_the_twin(direct):
    made, x = tower(direct=direct), inputs(9)
    output = made(x)
    state = {name: tensor.numpy() for name, tensor in made.state_dict().items()}
    shared, logits = oracle.tower(state, "", x.numpy())
    np.testing.assert_allclose(output.shared.detach(), shared, atol=1e-5)
    np.testing.assert_allclose(output.logits.detach(), logits, atol=1e-5)


@pytest.mark.parametrize("scale", [0, 1, 1e6])
def test_ranges(scale):
    output = tower(direct=True)(inputs(20, scale=scale))
    for part in (output.shared, output.private):
        assert (part.abs() <= 1).all()
        assert (part.abs() < 1).all() or scale > 1
    assert torch.isfinite(output.logits).all()


def test_the_direct_path_is_linear_and_leaves_the_private_part_alone():
    plain, direct, x = tower(), tower(direct=True), inputs(5)
    direct.load_state_dict(plain.state_dict(), strict=False)
    with torch.no_grad():
        without, with_path = plain(x), direct(x)
        assert torch.equal(without.private, with_path.private)
        torch.testing.assert_close(
            torch.atanh(with_path.shared) - torch.atanh(without.shared),
            x @ direct.direct_shared.weight.T,
            rtol=1e-4,
            atol=1e-4,
        )
        direct.direct_shared.weight.zero_()
        torch.testing.assert_close(direct(x).logits - without.logits, x @ direct.direct_logits.weight.T)
        direct.direct_logits.weight.zero_()
        assert torch.equal(direct(x).logits, without.logits)


def test_a_dead_body_still_has_the_direct_path():
    """An input that no hidden unit answers to is not lost."""
    made = tower(direct=True)
    with torch.no_grad():
        made.body[1].bias.fill_(-1e6)
        x = inputs(2)
        assert (made.body(x) == 0).all()
        assert not torch.equal(*made(x).shared)


@pytest.mark.parametrize(("direct", "names"), [(False, TOWER), (True, TOWER | DIRECT)])
def test_names_of_the_text_tower(direct, names):
    expected = {f"image.{name}" for name in TOWER} | {f"text.{name}" for name in names} | {"log_scale"}
    assert set(network(direct).state_dict()) == expected


def test_the_network_has_two_towers_of_their_own_width():
    made = network()
    assert made.image.body[1].in_features == 6
    assert made.text.body[1].in_features == 7
    assert not {id(p) for p in made.image.parameters()} & {id(p) for p in made.text.parameters()}
    assert made.log_scale.exp().item() == pytest.approx(1 / 0.07)
    assert made.log_scale.requires_grad
    assert math.isfinite(made.log_scale.item())


@pytest.mark.parametrize("rates", [{"image_dropout": 0.5, "text_dropout": 0.5}, {"dropout": 0.5}])
def test_dropout_only_while_training(rates):
    made = network(**rates)
    for part, width in ((made.image, 6), (made.text, 7)):
        same = torch.ones(50, width)
        assert len(part.train()(same).logits.unique(dim=0)) > 1
        logits = part.eval()(same).logits
        # Equal but for rounding: what multiplies rows may take the last ones another way.
        torch.testing.assert_close(logits, logits[:1].expand_as(logits))
