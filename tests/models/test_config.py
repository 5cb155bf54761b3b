from __future__ import annotations

import json

import pytest

from spdq.errors import DamagedError
from spdq.models.card import model_card
from spdq.models.config import SPDQConfig

CONFIG = SPDQConfig(
    recipe="default",
    bits=64,
    label_names=("colour:red", "colour:blue", "lucky"),
    label_sets=((0, 2, True), (2, 3, False)),
    image_input="standardise",
    text_input="columns",
    hidden=64,
    shared=32,
    private=8,
    direct_text=True,
    instance_weight=0.3,
    instance_scale=1.0,
    training={"dataset": "made", "seed": 7},
)


def stored(**changes):
    return json.loads(json.dumps(CONFIG.to_json())) | changes


def test_round_trip():
    assert SPDQConfig.from_json(stored()) == CONFIG
    assert CONFIG.to_json()["model_type"] == "spdq"


def test_what_the_directory_adds_is_no_setting():
    assert SPDQConfig.from_json(stored(format_version=1, tensors={}, files={})) == CONFIG


def test_a_whole_number_is_a_weight():
    weight = SPDQConfig.from_json(stored(instance_weight=1)).instance_weight
    assert (weight, type(weight)) == (1.0, float)


def test_no_labels():
    config = SPDQConfig.from_json(stored(label_names=[], label_sets=[]))
    assert (config.label_names, config.label_sets) == ((), ())


@pytest.mark.parametrize("name", [name for name in CONFIG.to_json() if name != "model_type"])
def test_a_missing_setting(name):
    without = stored()
    del without[name]
    with pytest.raises(DamagedError, match=rf"settings \['{name}'\] are missing or unknown\. Train anew"):
        SPDQConfig.from_json(without)


def test_an_unknown_setting():
    with pytest.raises(DamagedError, match=r"settings \['depth'\] are missing or unknown"):
        SPDQConfig.from_json(stored(depth=3))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("recipe", 1), ("recipe", None), ("bits", "64"), ("bits", 64.0), ("bits", True), ("label_names", "abc"),
        ("label_sets", {}), ("image_input", None), ("text_input", ["columns"]), ("hidden", None), ("shared", 1.5),
        ("private", False), ("direct_text", 1), ("direct_text", "yes"), ("instance_weight", "high"),
        ("instance_weight", True), ("instance_weight", None), ("training", []),
    ],
)  # fmt: skip
def test_a_setting_of_another_type(name, value):
    with pytest.raises(DamagedError, match=f"config.json: {name} is .*Restore it or train anew"):
        SPDQConfig.from_json(stored(**{name: value}))


def test_unknown_recipe():
    with pytest.raises(DamagedError, match=r"config\.json: unknown recipe 'best'"):
        SPDQConfig.from_json(stored(recipe="best"))


@pytest.mark.parametrize("name", ["bits", "hidden", "shared", "private"])
@pytest.mark.parametrize("value", [0, -1, 65537, 10**30])
def test_sizes_out_of_range(name, value):
    with pytest.raises(DamagedError, match=f"config.json: {name} is {value}, expected 1 to 65536"):
        SPDQConfig.from_json(stored(**{name: value}))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf"), 1e300, 10**400])
@pytest.mark.parametrize("name", ["instance_weight", "instance_scale"])
def test_weights_out_of_range(name, value):
    with pytest.raises(DamagedError, match=rf"config.json: {name} is beyond 1e\+06 or no number"):
        SPDQConfig.from_json(stored(**{name: value}))


@pytest.mark.parametrize(
    ("sets", "at"),
    [
        ([[1, 3, True]], 0),
        ([[0, 0, True], [0, 3, True]], 0),
        ([[0, 4, True]], 0),
        ([[-1, 3, True]], 0),
        ([[0, 2, True], [1, 3, True]], 2),
        ([[0, 1, True], [2, 3, True]], 1),
        ([[0, 3, True], [3, 3, True]], 3),
        ([[0, 3, 1]], 0),
        ([[0, 3]], 0),
        ([[0, "3", True]], 0),
        ([7], 0),
    ],
)
def test_label_sets_that_do_not_follow_one_another(sets, at):
    with pytest.raises(DamagedError, match=f"config.json: label set .* does not follow column {at}"):
        SPDQConfig.from_json(stored(label_sets=sets))


@pytest.mark.parametrize(("sets", "covered"), [([], 0), ([[0, 2, True]], 2)])
def test_label_sets_that_leave_labels_out(sets, covered):
    with pytest.raises(DamagedError, match=f"config.json: label sets cover {covered} of 3 labels"):
        SPDQConfig.from_json(stored(label_sets=sets))


def test_the_card_names_recipe_size_and_provenance():
    card = model_card(CONFIG, "SPDQ", {"labels": 3})
    assert card.startswith("---\nlibrary_name: spdq\n")
    assert '# SPDQ, recipe "default", 64 bits' in card
    assert "a code of 8 bytes" in card
    for row in ("| dataset | made |", "| seed | 7 |", "| labels | 3 |"):
        assert row in card.splitlines()


@pytest.mark.parametrize("value", [0, -1])
def test_instance_scale_in_range(value):
    with pytest.raises(DamagedError, match=r"config.json: instance_scale is not above 0 and at most 1e\+06"):
        SPDQConfig.from_json(stored(instance_scale=value))
