from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from oracles_training import QUICK, assert_same_model, made_dataset

from spdq.data import make_split
from spdq.errors import DamagedError, DataError, IncompatibleError, StorageError, UsageError
from spdq.evaluation import chance, evaluate_labels
from spdq.models import load_model
from spdq.models.spdq import branches
from spdq.training.checkpoint import CHECKPOINT
from spdq.training.log import LOG, read_log
from spdq.training.provenance import training_digest
from spdq.training.rows import training_rows
from spdq.training.spdq import (
    BITS,
    CHECK_EVERY,
    MAY_STOP_AFTER,
    PATIENCE,
    one_cycle,
    train_spdq,
    validation_figures,
    with_bits,
)

RUNS = [("default", "features"), ("default", "raw"), ("paper", "features")]
TERMS = {
    "default": {"classification", "contrastive"},
    "paper": {"classification", "mean_embedding", "alignment"},
}


class Interrupt:
    """Stands for Ctrl-C after so many steps."""

    def __init__(self, step):
        self.step = step

    def __call__(self, done, steps):
        if done == self.step:
            raise KeyboardInterrupt


def interrupted(directory, dataset, recipe, step, **settings):
    with pytest.raises(KeyboardInterrupt):
        train_spdq(dataset, recipe=recipe, directory=directory, progress=Interrupt(step), **settings)


def without_time(log):
    return [{name: value for name, value in entry.items() if name != "seconds"} for entry in log]


def held_out(model, dataset, direction):
    """map@all of the queries among the database by codes, and of a random order."""
    split, labels = dataset.split, dataset.labels
    image, text = dataset.image_features, dataset.text_features
    if direction == "i2t":
        queries, codes = model.embed_image(image[split.query]), model.encode_text(text[split.database])
    else:
        queries, codes = model.embed_text(text[split.query]), model.encode_image(image[split.database])
    distances = -model.weigh_query(queries) @ model.codebooks.decode(codes).T
    asked = ["map@all"]
    (reached,) = evaluate_labels(distances, labels[split.query], labels[split.database], asked)
    (random,) = chance(asked, labels[split.query], labels[split.database])
    return reached.value, random.value


@pytest.mark.parametrize("direction", ["i2t", "t2i"])
@pytest.mark.parametrize("recipe", ["default", "paper"])
def test_held_out_queries_are_answered_better_than_by_chance(data, trained, recipe, direction):
    groups = data().select_labels("group:")
    reached, random = held_out(trained(recipe).model, groups, direction)
    assert reached > 2 * random


def test_texts_of_lines_are_learned_too(data, trained):
    model, dataset = trained(text="raw").model, data("raw")
    features = model.text_features(dataset.texts)
    groups = replace(dataset.select_labels("group:"), texts=None, text_features=features)
    reached, random = held_out(model, groups, "t2i")
    assert reached > 2 * random
    assert model.words is not None


@pytest.mark.parametrize(("recipe", "text"), RUNS)
def test_the_same_seed_gives_the_same_model(data, trained, recipe, text):
    assert_same_model(train_spdq(data(text), 16, QUICK[recipe], 0), trained(recipe, text).model)


@pytest.mark.parametrize("recipe", ["default", "paper"])
def test_another_seed_gives_another_model(trained, recipe):
    a, b = (trained(recipe, seed=seed).model for seed in (0, 1))
    x, y = a.to_parts().tensors, b.to_parts().tensors
    assert sorted(x) == sorted(y)
    for name in ("network.image.shared.weight", "network.text.classifier.bias", "codebooks.words"):
        assert not np.array_equal(x[name], y[name])


@pytest.mark.parametrize("step", [1, CHECK_EVERY, CHECK_EVERY + 5, 60])
@pytest.mark.parametrize(("recipe", "text"), RUNS)
def test_an_interrupted_run_goes_on_to_the_same_model(data, trained, tmp_path, recipe, text, step):
    interrupted(tmp_path, data(text), QUICK[recipe], step, bits=16)
    assert (tmp_path / CHECKPOINT).is_file() == (step > CHECK_EVERY)
    steps = []
    resumed = train_spdq(
        data(text), 16, QUICK[recipe], 0, tmp_path, resume=True, progress=lambda *s: steps.append(s)
    )
    first = CHECK_EVERY if step > CHECK_EVERY else 0
    assert steps == [(done, 60) for done in range(first + 1, 61)]
    assert_same_model(resumed, trained(recipe, text).model)
    assert without_time(read_log(tmp_path / LOG)) == without_time(trained(recipe, text).log)
    assert [path.name for path in tmp_path.iterdir()] == [LOG]


def test_resuming_without_a_checkpoint_begins_anew(data, trained, tmp_path):
    resumed = train_spdq(data(), 16, QUICK["default"], 0, tmp_path / "new" / "run", resume=True)
    assert_same_model(resumed, trained().model)
    assert len(read_log(tmp_path / "new" / "run" / LOG)) == 2


def test_without_resume_a_checkpoint_is_passed_over(data, trained, tmp_path):
    interrupted(tmp_path, data(), QUICK["default"], 55, bits=16, seed=7)
    assert_same_model(train_spdq(data(), 16, QUICK["default"], 0, tmp_path), trained().model)
    assert without_time(read_log(tmp_path / LOG)) == without_time(trained().log)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"seed": 1}, "seed"),
        ({"bits": 32}, "bits"),
        ({"recipe": replace(QUICK["default"], dropout=0.1)}, "recipe"),
        ({"dataset": made_dataset(every=4)}, "rows_digest"),
    ],
)
def test_resuming_another_run_is_refused(data, tmp_path, change, named):
    settings = {"dataset": data(), "bits": 16, "recipe": QUICK["default"], "seed": 0}
    interrupted(tmp_path, step=55, **settings)
    with pytest.raises(IncompatibleError, match=f"belongs to another run: {named} differ"):
        train_spdq(**settings | change, directory=tmp_path, resume=True)
    assert (tmp_path / CHECKPOINT).is_file()


def test_resuming_from_a_damaged_checkpoint_is_refused(data, tmp_path):
    interrupted(tmp_path, data(), QUICK["default"], 55, bits=16)
    path = tmp_path / CHECKPOINT
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DamagedError, match=r"not a checkpoint .*Remove it and train anew"):
        train_spdq(data(), 16, QUICK["default"], 0, tmp_path, resume=True)


@pytest.mark.parametrize("step", [None, 20])
def test_the_generators_of_others_are_left_alone(data, tmp_path, step):
    torch.manual_seed(123)
    ours = torch.get_rng_state(), np.random.get_state()  # noqa: NPY002 (the global one is the point)
    if step is None:
        with_bits(train_spdq(data(), 16, QUICK["default"], 0), data(), 32)
    else:
        interrupted(tmp_path, data(), QUICK["default"], step)
    assert torch.equal(torch.get_rng_state(), ours[0])
    np.testing.assert_array_equal(np.random.get_state()[1], ours[1][1])  # noqa: NPY002


@pytest.mark.parametrize(("recipe", "text"), RUNS)
def test_only_the_log_is_left(trained, recipe, text):
    run = trained(recipe, text)
    assert [path.name for path in run.directory.iterdir()] == [LOG]
    assert run.steps == [(step, 60) for step in range(1, 61)]
    lines = (run.directory / LOG).read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["step"] for line in lines] == [50, 60]
    for entry in map(json.loads, lines):
        assert set(entry) == {"step", "loss", "seconds"} | TERMS[recipe]
        assert entry["loss"] == pytest.approx(sum(entry[name] for name in TERMS[recipe]))
        assert all(math.isfinite(value) for value in entry.values())
        assert entry["seconds"] >= 0
    assert json.loads(lines[1])["classification"] < json.loads(lines[0])["classification"]


def test_the_model_says_where_it_comes_from(data, trained):
    training = trained(text="raw").model.training
    assert training["dataset"] == "made"
    assert training["rows_digest"] == training_digest(data("raw"))
    assert (training["seed"], training["bits"], training["split"]) == (0, 16, "seen")
    assert (training["rows"], training["validation_rows"], training["steps"]) == (80, 0, 60)


def test_what_was_trained_is_saved_and_loaded(data, trained, tmp_path):
    for recipe, text in RUNS:
        model = trained(recipe, text).model
        model.save_pretrained(tmp_path / recipe / text)
        assert_same_model(load_model(tmp_path / recipe / text), model)


def test_wide_raw_like_text_takes_the_direct_path(data):
    model = train_spdq(data("wide"), 16, QUICK["default"], 0)
    assert model.config.direct_text
    assert model.config.text_input == "kernel-basis"
    assert not train_spdq(data("wide"), 16, QUICK["paper"], 0).config.direct_text


@pytest.mark.parametrize("kind", ["unseen", "paired"])
def test_every_split_can_be_trained_on(kind):
    dataset = made_dataset(80, kind=kind)
    model = train_spdq(dataset, 16, QUICK["default"], 0)
    assert (model.training["split"], model.training["rows"]) == (kind, 32 if kind == "unseen" else 64)


def test_one_training_row_is_enough():
    dataset = made_dataset(12).with_split(make_split(12, np.arange(11), "seen", 0))
    for recipe in QUICK.values():
        short = replace(recipe, max_steps=3, min_steps=3)
        model = train_spdq(dataset, 16, short, 0)
        assert np.isfinite(model.embed_image(dataset.image_features)).all()


@pytest.mark.parametrize("bits", BITS)
def test_codebooks_of_another_length(data, trained, bits):
    model = trained().model
    other = with_bits(model, data(), bits)
    assert other.codebooks.bits == other.config.bits == other.training["bits"] == bits
    assert other.encode_image(data().image_features).shape == (100, bits // 8)
    assert other.network is model.network
    assert_same_codebooks(other, trained(bits=bits).model if bits in (16, 64) else other)
    assert model.codebooks.bits == model.training["bits"] == 16


def assert_same_codebooks(a, b):
    np.testing.assert_array_equal(a.codebooks.words, b.codebooks.words)


def test_more_bits_code_better(data, trained):
    model = trained(text="raw").model
    vectors = model.embed_image(data("raw").image_features[data("raw").split.query])
    errors = []
    for bits in BITS:
        codebooks = with_bits(model, data("raw"), bits).codebooks
        errors.append(np.sum((vectors - codebooks.decode(codebooks.encode(vectors))) ** 2))
    assert errors[-1] < errors[0]


@pytest.mark.parametrize("bits", [0, 8, 24, 256, -16])
def test_other_bits_are_refused(data, trained, bits):
    message = f"bits must be one of 16, 32, 64, 128, got {bits}"
    with pytest.raises(UsageError, match=message):
        train_spdq(data(), bits, QUICK["default"])
    with pytest.raises(UsageError, match=message):
        with_bits(trained().model, data(), bits)


def test_codebooks_of_the_paper_are_not_refitted(data, trained):
    with pytest.raises(UsageError, match='refitted for recipe "default" only: train "paper" once per code'):
        with_bits(trained("paper").model, data(), 32)


def test_a_negative_seed_is_refused(data):
    with pytest.raises(UsageError, match="seed must be 0 or more, got -1"):
        train_spdq(data(), seed=-1)


def test_an_unknown_recipe_is_refused(data):
    with pytest.raises(UsageError, match="unknown recipe 'fast': known are default, paper"):
        train_spdq(data(), recipe="fast")


@pytest.mark.parametrize("part", ["image_features", "text_features"])
def test_a_missing_part_is_named(data, part):
    with pytest.raises(DataError, match=r"training SPDQ needs .*which data set made has not"):
        train_spdq(replace(data(), **{part: None}))


def test_a_data_set_without_split_is_refused(data):
    with pytest.raises(DataError, match="needs /split, which data set made has not"):
        train_spdq(data().with_split(None))


def test_a_file_in_place_of_the_directory_is_refused(data, tmp_path):
    (tmp_path / "file").write_text("here first")
    for directory in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(StorageError, match="cannot make .*file"):
            train_spdq(data(), recipe=QUICK["default"], directory=directory)


@pytest.mark.parametrize("name", [LOG, CHECKPOINT])
def test_a_refused_write_is_said(data, tmp_path, name):
    (tmp_path / name).mkdir()
    with pytest.raises(StorageError, match=f"cannot write .*{name}: "):
        train_spdq(data(), recipe=QUICK["default"], directory=tmp_path)


def test_one_cycle_goes_up_and_down():
    rates = [one_cycle(step / 100) for step in range(101)]
    assert rates[0] == pytest.approx(1 / 25)
    assert rates[30] == pytest.approx(1)
    assert rates[100] == pytest.approx(0)
    assert rates[:31] == sorted(rates[:31])
    assert rates[30:] == sorted(rates[30:], reverse=True)


@pytest.mark.parametrize(("rows", "steps"), [(10, 20), (200, 100), (900, 300)])
def test_the_steps_follow_the_rows(rows, steps):
    """Half a step a row, within the bounds; seen at the first step."""
    dataset = made_dataset(1000).with_split(make_split(1000, np.arange(1000 - rows), "seen", 0))
    recipe = replace(QUICK["default"], steps_per_row=0.5, min_steps=20, max_steps=300, batch=8)
    seen = []

    def stop(*step):
        seen.append(step)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_spdq(dataset, 16, recipe, progress=stop)
    assert seen == [(1, steps)]


LONG = replace(
    QUICK["default"],
    hidden=16,
    shared=8,
    private=4,
    batch=16,
    learning_rate=0.02,
    min_steps=700,
    max_steps=700,
)
"""Long enough to stop early: the first 60 % never do, and then it takes four validations."""


@pytest.fixture(scope="module")
def noisy():
    """1,000 training rows whose labels nothing tells, so that training soon makes nothing better."""
    dataset = made_dataset(1050).with_split(make_split(1050, np.arange(50), "seen", 0))
    random = np.random.default_rng(3)
    features = random.normal(size=(2, 1050, 6)).astype(np.float32)
    return replace(dataset, image_features=features[0], text_features=features[1])


@pytest.fixture(scope="module")
def stopped(noisy, tmp_path_factory):
    """An early-stopped run: the model, its log and the steps that were reported."""
    directory = tmp_path_factory.mktemp("stopped")
    steps = []
    model = train_spdq(noisy, 16, LONG, 0, directory, progress=lambda *step: steps.append(step))
    return model, read_log(directory / LOG), steps


def test_a_run_that_gets_no_better_stops(stopped):
    model, log, steps = stopped
    values = {entry["step"]: np.mean(list(entry["validation"].values())) for entry in log}
    late = {step: value for step, value in values.items() if step >= MAY_STOP_AFTER * LONG.max_steps}
    best = max(late, key=late.get)
    assert model.training["steps"] == best
    assert (model.training["rows"], model.training["validation_rows"]) == (950, 50)
    assert list(values) == list(range(CHECK_EVERY, best + PATIENCE * CHECK_EVERY + 1, CHECK_EVERY))
    assert max(values) < LONG.max_steps
    assert steps[-2:] == [(max(values), 700), (700, 700)]


def test_the_best_weights_are_kept(noisy, stopped):
    model, log, _ = stopped
    figures = {entry["step"]: entry["validation"] for entry in log}
    rows = training_rows(noisy, LONG, 0)
    assert validation_figures(model.network, rows) == figures[model.training["steps"]]
    assert figures[model.training["steps"]] != log[-1]["validation"]


def test_the_best_weights_outlast_an_interruption(noisy, stopped, tmp_path):
    model, log, _ = stopped
    step = (model.training["steps"] + log[-1]["step"]) // 2 + 1
    interrupted(tmp_path, noisy, LONG, step, bits=16)
    assert_same_model(train_spdq(noisy, 16, LONG, 0, tmp_path, resume=True), model)
    assert without_time(read_log(tmp_path / LOG)) == without_time(log)


def test_validation_figures_are_those_of_held_out_rows_among_training_rows(noisy, stopped):
    model, _, _ = stopped
    rows = training_rows(noisy, LONG, 0)
    labels = noisy.labels
    figures = validation_figures(model.network, rows)
    assert set(figures) == {"map@all i2t", "map@all t2i"}
    for name, query, database in (("map@all i2t", "image", "text"), ("map@all t2i", "text", "image")):
        vectors = {}
        for modality, inputs, chosen in (
            (query, getattr(rows, query), rows.validation),
            (database, getattr(rows, database), rows.train),
        ):
            outputs = branches(getattr(model.network, modality), inputs[chosen].numpy())
            vectors[modality] = model.space.vectors(modality, *outputs).astype(np.float64)
        weights = model.space.query_weights(0.3)
        distances = -(vectors[query] * weights) @ vectors[database].T
        (figure,) = evaluate_labels(distances, labels[rows.validation], labels[rows.train], ["map@all"])
        assert figures[name] == pytest.approx(figure.value, abs=1e-4)
