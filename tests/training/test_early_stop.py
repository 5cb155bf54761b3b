"""Runs long enough to validate and to stop early (spdq/training/spdq.py)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from oracles_training import QUICK, assert_same_model, interrupted, made_dataset, without_time

from spdq.data import make_split
from spdq.errors import StorageError
from spdq.evaluation import evaluate_labels
from spdq.models.directory import CONFIG
from spdq.models.spdq import branches
from spdq.training.log import LOG, read_log
from spdq.training.loop import CHECK_EVERY, MAY_STOP_AFTER, PATIENCE
from spdq.training.rows import training_rows
from spdq.training.run import train_task
from spdq.training.spdq import SPDQTask
from spdq.training.validation import validation_figures

LONG = replace(
    QUICK["default"],
    hidden=8,
    shared=8,
    private=4,
    batch=16,
    learning_rate=0.02,
    min_steps=560,
    max_steps=560,
)
"""Long enough to stop early: the first 60 % never do, and then it takes four validations."""


@pytest.fixture(scope="module")
def noisy():
    """2,500 training rows whose labels nothing tells, so that training makes nothing better."""
    dataset = made_dataset(2600).with_split(make_split(2600, np.arange(100), "seen", 0))
    features = np.random.default_rng(3).normal(size=(2, 2600, 6)).astype(np.float32)
    return replace(dataset, image_features=features[0], text_features=features[1])


@pytest.fixture(scope="module")
def validated(noisy, tmp_path_factory):
    """A run with validation rows: the model and its log."""
    directory = tmp_path_factory.mktemp("validated")
    return train_task(SPDQTask, noisy, 16, LONG, 8, directory), read_log(directory / LOG)


def test_a_run_that_gets_no_better_stops(noisy, tmp_path):
    """Without a learning rate no validation is better than the first that counts, at step 350."""
    still = replace(LONG, learning_rate=0.0)
    steps = []
    (tmp_path / CONFIG).mkdir()
    with pytest.raises(StorageError, match="cannot write the model"):
        train_task(SPDQTask, noisy, 16, still, 0, tmp_path, progress=lambda *step: steps.append(step))
    assert steps == [(step, 560) for step in range(1, 551)] + [(560, 560)]
    log = read_log(tmp_path / LOG)
    assert [entry["step"] for entry in log] == list(range(50, 551, 50))

    (tmp_path / CONFIG).rmdir()
    steps.clear()
    model = train_task(SPDQTask, noisy, 16, still, 0, tmp_path, True, lambda *step: steps.append(step))
    assert steps == [(560, 560)]
    assert read_log(tmp_path / LOG) == log
    assert (model.training["steps"], model.training["rows"], model.training["validation_rows"]) == (
        350,
        2375,
        125,
    )


def test_the_best_weights_are_kept(noisy, validated):
    model, log = validated
    values = {entry["step"]: np.mean(list(entry["validation"].values())) for entry in log}
    late = {step: value for step, value in values.items() if step >= MAY_STOP_AFTER * 560}
    best = max(late, key=late.get)
    assert model.training["steps"] == best
    assert max(values) == min(560, best + PATIENCE * CHECK_EVERY)
    (figures,) = (entry["validation"] for entry in log if entry["step"] == best)
    assert validation_figures(model.network, training_rows(noisy, LONG, 8)) == figures


def test_the_best_weights_outlast_an_interruption(noisy, validated, tmp_path):
    model, log = validated
    interrupted(tmp_path, noisy, LONG, 520, bits=16, seed=8)
    assert_same_model(train_task(SPDQTask, noisy, 16, LONG, 8, tmp_path, resume=True), model)
    assert without_time(read_log(tmp_path / LOG)) == without_time(log)


def test_validation_rows_are_judged_among_training_rows(noisy, validated):
    model, _ = validated
    rows = training_rows(noisy, LONG, 8)
    labels = noisy.labels
    figures = validation_figures(model.network, rows)
    assert set(figures) == {"map@all i2t", "map@all t2i"}
    weights = model.space.query_weights(0.3)
    for name, query, database in (("map@all i2t", "image", "text"), ("map@all t2i", "text", "image")):
        vectors = []
        for modality, chosen in ((query, rows.validation), (database, rows.train)):
            outputs = branches(getattr(model.network, modality), getattr(rows, modality)[chosen].numpy())
            vectors.append(model.space.vectors(modality, *outputs).astype(np.float64))
        distances = -(vectors[0] * weights) @ vectors[1].T
        (figure,) = evaluate_labels(distances, labels[rows.validation], labels[rows.train], ["map@all"])
        assert figures[name] == pytest.approx(figure.value, abs=1e-4)
