"""What all systems share: one front, and codes of another length (spdq/training/run.py, task.py)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from oracles_csm import made_log
from oracles_gated import made_drawings
from oracles_training import QUICK as QUICK_SPDQ
from oracles_training import assert_same_model, made_dataset

from spdq.data.splits import Split
from spdq.errors import DataError, IncompatibleError, UsageError
from spdq.models import load_model
from spdq.training import SYSTEMS, inputs, train, with_bits
from spdq.training.csm import CSMTask
from spdq.training.gated import GatedTask
from spdq.training.mixer import MixerTask
from spdq.training.run import train_task
from spdq.training.spdq import SPDQTask

TASKS = {"spdq": SPDQTask, "csm": CSMTask, "mixer": MixerTask, "gated": GatedTask}
SHORT = {"min_steps": 30, "max_steps": 30, "hidden": 16, "dim": 8, "batch": 16}


def quick(system, recipe="default"):
    return replace(TASKS[system].recipes[recipe], **SHORT)


def partial():
    """Classes of two items; some items have no image, some no text."""
    dataset = replace(made_dataset(), labels=None, label_names=(), classes=np.arange(100) // 2)
    images, texts = dataset.image_features.copy(), dataset.text_features.copy()
    images[10:30], texts[25:60] = 0, 0
    return replace(dataset, image_features=images, text_features=texts)


WORLDS = {
    "csm": ("csm", made_log),
    "csm of pixels": ("csm", lambda: made_log(pixels=8)),
    "mixer": ("mixer", lambda: replace(made_drawings(), image_regions=4)),
    "mixer of features": ("mixer", partial),
    "gated": ("gated", made_drawings),
    "gated of features": ("gated", lambda: made_dataset(text="wide")),
}


@pytest.mark.parametrize("validated", [False, True])
@pytest.mark.parametrize("world", WORLDS)
def test_other_lengths_are_what_training_gives(world, validated, tmp_path, monkeypatch):
    if validated:
        monkeypatch.setattr(inputs, "MIN_ROWS_TO_VALIDATE", 20)
        monkeypatch.setattr(inputs, "VALIDATION_SHARE", 0.2)
    system, make = WORLDS[world]
    dataset = make()
    long, short = (train(system, dataset, bits, quick(system), 3, tmp_path / str(bits)) for bits in (64, 16))
    assert bool(long.training["validation_rows"]) == validated
    before = long.fingerprint
    assert_same_model(with_bits(long, dataset, 16), short)
    assert_same_model(with_bits(load_model(tmp_path / "64"), dataset, 16), short)
    assert_same_model(with_bits(short, dataset, 64), long)
    assert (long.fingerprint, long.codebooks.bits, long.training["bits"]) == (before, 64, 64)


@pytest.mark.parametrize("world", ["csm", "mixer", "gated"])
def test_other_lengths_that_are_refused(world):
    system, make = WORLDS[world]
    dataset = make()
    model = train(system, dataset, 16, quick(system))
    with pytest.raises(UsageError, match="bits must be one of 16, 32, 64, 128, got 24"):
        with_bits(model, dataset, 24)
    split = dataset.split
    fewer = dataset.with_split(Split(split.query, split.train[1:], split.database, split.kind, 0))
    with pytest.raises(IncompatibleError, match="trained on other rows than data set"):
        with_bits(model, fewer, 32)
    with pytest.raises(DataError, match="has no split: make one with `spdq dataset split`"):
        with_bits(model, dataset.with_split(None), 32)
    with pytest.raises(DataError, match="training needs /image/features, which data set"):
        with_bits(model, replace(dataset, image_features=None, image_extractor=None, image_regions=1), 32)
    if system != "csm":
        with pytest.raises(DataError, match="training needs text, which data set"):
            with_bits(model, replace(dataset, texts=None), 32)


def test_the_input_maps_of_other_lengths_are_the_models(monkeypatch):
    """Fitted on another machine, they might be others."""
    dataset, quick_spdq = made_dataset(text="raw"), QUICK_SPDQ["default"]
    models = train("spdq", dataset, 16, quick_spdq), train("gated", dataset, 16, quick("gated"))
    for name in ("fit_image_input", "fit_text_input"):
        monkeypatch.setattr(inputs, name, None)
    monkeypatch.setattr(inputs.WordExtractor, "fit", None)
    for model in models:
        assert_same_model(with_bits(model, dataset, 16), model)


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_system_by_its_name(system):
    recipe = QUICK_SPDQ["paper"] if system == "spdq" else quick(system, "paper")
    dataset = made_dataset() if system == "spdq" else WORLDS[system][1]()
    model = train(system, dataset, 16, recipe, 1)
    assert (model.config.model_type, model.config.recipe) == (system, "paper")
    assert_same_model(train_task(TASKS[system], dataset, 16, recipe, 1), model)


@pytest.mark.parametrize("system", SYSTEMS)
def test_settings_that_are_refused(system):
    dataset = made_dataset()
    with pytest.raises(UsageError, match="unknown recipe 'soup': known are default, paper"):
        train(system, dataset, recipe="soup")
    with pytest.raises(UsageError, match="bits must be one of 16, 32, 64, 128, got 8"):
        train(system, dataset, bits=8)
    with pytest.raises(UsageError, match="seed must be 0 or more, got -1"):
        train(system, dataset, seed=-1)
    other = quick("gated" if system != "gated" else "mixer")
    kind = type(TASKS[system].recipes["default"]).__name__
    with pytest.raises(UsageError, match=f"recipe must be default or paper or a {kind}, got "):
        train(system, dataset, recipe=other)


def test_an_unknown_system():
    with pytest.raises(UsageError, match="unknown system 'soup': known are spdq, csm, mixer, gated"):
        train("soup", made_dataset())
