from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from oracles_training import QUICK, assert_same_model, interrupted, made_dataset, without_time

from spdq.data import make_split
from spdq.errors import DamagedError, IncompatibleError, StorageError, UsageError
from spdq.evaluation import chance, evaluate_labels
from spdq.models import load_model
from spdq.models.directory import CONFIG
from spdq.training import with_bits
from spdq.training.checkpoint import CHECKPOINT
from spdq.training.log import LOG, read_log
from spdq.training.loop import CHECK_EVERY, one_cycle
from spdq.training.provenance import training_digest
from spdq.training.run import BITS, train_task
from spdq.training.spdq import SPDQTask
from spdq.training.vectors import reciprocal_rank

RUNS = [("default", "features"), ("default", "raw"), ("paper", "features")]
TERMS = {
    "default": {"classification", "contrastive", "distillation"},
    "paper": {"classification", "mean_embedding", "alignment"},
}


def held_out(model, dataset, direction):
    """map@all of the queries among the database by codes, and of a random order."""
    split, labels = dataset.split, dataset.labels
    image, text = dataset.image_features, dataset.text_features
    if direction == "i2t":
        queries, codes = model.embed_image(image[split.query]), model.encode_text(text[split.database])
    else:
        queries, codes = model.embed_text(text[split.query]), model.encode_image(image[split.database])
    distances = -model.weigh_query(queries, "text") @ model.codebooks.decode(codes).T
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
    assert model.text_extractor is not None


@pytest.mark.parametrize("recipe", ["default", "paper"])
def test_the_same_seed_gives_the_same_model(data, trained, recipe):
    assert_same_model(train_task(SPDQTask, data(), 16, QUICK[recipe], 0), trained(recipe).model)


@pytest.mark.parametrize("text", ["features", "wide", "raw"])
def test_without_labels_pairs_are_learned(data, text, tmp_path):
    pairs = replace(data(text), labels=None, label_names=())
    recipe = replace(QUICK["default"], min_steps=200, max_steps=200)
    model = train_task(SPDQTask, pairs, 32, recipe, 0, tmp_path)
    train = pairs.split.train
    texts = (
        model.text_features([pairs.texts[row] for row in train])
        if text == "raw"
        else pairs.text_features[train]
    )
    image, told = model.embed_image(pairs.image_features[train]), model.embed_text(texts)
    own = np.eye(len(train), dtype=bool)
    assert reciprocal_rank(told, image, own) > 5 * np.mean(1 / np.arange(1, len(train) + 1))
    assert image.shape[1] == recipe.shared
    assert model.posteriors("image", pairs.image_features[train]).shape == (len(train), 0)
    np.testing.assert_allclose(np.linalg.norm(image, axis=1), 1, rtol=1e-5)
    again = load_model(tmp_path)
    assert again.fingerprint == model.fingerprint
    np.testing.assert_array_equal(
        again.encode_image(pairs.image_features), model.encode_image(pairs.image_features)
    )
    assert with_bits(model, pairs, 16).codebooks.bits == 16
    log = [record for record in read_log(tmp_path / LOG) if "step" in record]
    assert {name for record in log for name in record} >= {"step", "loss", "contrastive"}
    assert not any("classification" in record for record in log)


@pytest.mark.parametrize("recipe", ["default", "paper"])
def test_another_seed_gives_another_model(trained, recipe):
    a, b = (trained(recipe, seed=seed).model for seed in (0, 1))
    x, y = a.to_parts().tensors, b.to_parts().tensors
    assert sorted(x) == sorted(y)
    for name in ("network.image.shared.weight", "network.text.classifier.bias", "codebooks.words"):
        assert not np.array_equal(x[name], y[name])


@pytest.mark.parametrize(
    ("recipe", "text", "step"),
    [(*run, 55) for run in RUNS] + [("default", "features", 1), ("default", "features", CHECK_EVERY)],
)
def test_an_interrupted_run_goes_on_to_the_same_model(data, trained, tmp_path, recipe, text, step):
    interrupted(tmp_path, data(text), QUICK[recipe], step, bits=16)
    assert (tmp_path / CHECKPOINT).is_file() == (step > CHECK_EVERY)
    steps = []
    resumed = train_task(
        SPDQTask, data(text), 16, QUICK[recipe], 0, tmp_path, resume=True, progress=lambda *s: steps.append(s)
    )
    first = CHECK_EVERY if step > CHECK_EVERY else 0
    assert steps == [(done, 60) for done in range(first + 1, 61)]
    assert_same_model(resumed, trained(recipe, text).model)
    assert without_time(read_log(tmp_path / LOG)) == without_time(trained(recipe, text).log)
    assert not (tmp_path / CHECKPOINT).exists()


@pytest.mark.parametrize("recipe", ["default", "paper"])
def test_a_run_that_could_not_be_saved_is_finished_later(data, trained, tmp_path, recipe):
    (tmp_path / CONFIG).mkdir()
    with pytest.raises(StorageError, match="cannot write the model"):
        train_task(SPDQTask, data(), 16, QUICK[recipe], 0, tmp_path)
    (tmp_path / CONFIG).rmdir()
    steps = []
    resumed = train_task(
        SPDQTask, data(), 16, QUICK[recipe], 0, tmp_path, True, lambda *step: steps.append(step)
    )
    assert steps == []
    assert_same_model(resumed, trained(recipe).model)
    assert not (tmp_path / CHECKPOINT).exists()


def test_resuming_without_a_checkpoint_begins_anew(data, trained, tmp_path):
    resumed = train_task(SPDQTask, data(), 16, QUICK["default"], 0, tmp_path / "new" / "run", resume=True)
    assert_same_model(resumed, trained().model)
    assert len(read_log(tmp_path / "new" / "run" / LOG)) == 2


def test_without_resume_a_checkpoint_is_passed_over(data, trained, tmp_path):
    interrupted(tmp_path, data(), QUICK["default"], 55, bits=16, seed=7)
    assert_same_model(train_task(SPDQTask, data(), 16, QUICK["default"], 0, tmp_path), trained().model)
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
        train_task(SPDQTask, **settings | change, directory=tmp_path, resume=True)
    assert (tmp_path / CHECKPOINT).is_file()


def test_resuming_from_a_damaged_checkpoint_is_refused(data, tmp_path):
    interrupted(tmp_path, data(), QUICK["default"], 55, bits=16)
    path = tmp_path / CHECKPOINT
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DamagedError, match=r"not a checkpoint .*Remove it and train anew"):
        train_task(SPDQTask, data(), 16, QUICK["default"], 0, tmp_path, resume=True)


@pytest.mark.parametrize("step", [None, 20])
def test_the_generators_of_others_are_left_alone(data, tmp_path, step):
    torch.manual_seed(123)
    ours = torch.get_rng_state(), np.random.get_state()  # noqa: NPY002 (the global one is the point)
    if step is None:
        with_bits(train_task(SPDQTask, data(), 16, QUICK["default"], 0), data(), 32)
    else:
        interrupted(tmp_path, data(), QUICK["default"], step)
    assert torch.equal(torch.get_rng_state(), ours[0])
    np.testing.assert_array_equal(np.random.get_state()[1], ours[1][1])  # noqa: NPY002


@pytest.mark.parametrize(("recipe", "text"), RUNS)
def test_model_and_log_are_left(trained, recipe, text):
    run = trained(recipe, text)
    assert_same_model(load_model(run.directory), run.model)
    assert (run.directory / LOG).is_file()
    assert not (run.directory / CHECKPOINT).exists()
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


def test_wide_raw_like_text_takes_the_direct_path(data):
    model = train_task(SPDQTask, data("wide"), 16, QUICK["default"], 0)
    assert model.config.direct_text
    assert model.config.text_input == "kernel-basis"
    assert not train_task(SPDQTask, data("wide"), 16, QUICK["paper"], 0).config.direct_text


@pytest.mark.parametrize("kind", ["unseen", "paired"])
def test_every_split_can_be_trained_on(kind):
    dataset = made_dataset(80, kind=kind)
    model = train_task(SPDQTask, dataset, 16, QUICK["default"], 0)
    assert (model.training["split"], model.training["rows"]) == (kind, 32 if kind == "unseen" else 64)


def test_one_training_row_is_enough():
    dataset = made_dataset(12).with_split(make_split(12, np.arange(11), "seen", 0))
    for recipe in QUICK.values():
        short = replace(recipe, max_steps=3, min_steps=3)
        model = train_task(SPDQTask, dataset, 16, short, 0)
        assert np.isfinite(model.embed_image(dataset.image_features)).all()


@pytest.mark.parametrize("bits", BITS)
def test_codebooks_of_another_length(data, trained, bits):
    model = trained().model
    other = with_bits(model, data(), bits)
    assert other.codebooks.bits == other.config.bits == other.training["bits"] == bits
    assert other.encode_image(data().image_features).shape == (100, bits // 8)
    assert other.network is model.network
    if bits <= 32:
        np.testing.assert_array_equal(other.codebooks.words, trained(bits=bits).model.codebooks.words)
    assert model.codebooks.bits == model.training["bits"] == 16


@pytest.mark.parametrize("bits", [0, 8, 24, 256, -16])
def test_other_bits_are_refused(data, trained, bits):
    message = f"bits must be one of 16, 32, 64, 128, got {bits}"
    with pytest.raises(UsageError, match=message):
        train_task(SPDQTask, data(), bits, QUICK["default"])
    with pytest.raises(UsageError, match=message):
        with_bits(trained().model, data(), bits)


@pytest.mark.parametrize("bits", [16, 32])
def test_the_paper_has_one_z_for_all_lengths(data, trained, bits):
    model = trained("paper").model
    other = with_bits(model, data(), bits)
    assert other.codebooks.bits == bits
    if bits == 16:
        assert_same_model(other, model)
    labels = data().labels[data().split.train]
    targets = (labels @ model.space.prototypes.T).astype(np.float32)
    np.testing.assert_allclose(other.codebooks.decode(other.codebooks.encode(targets)), targets, atol=1e-3)


def test_a_file_in_place_of_the_directory_is_refused(data, tmp_path):
    (tmp_path / "file").write_text("here first")
    for directory in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(StorageError, match=r"cannot make .*file"):
            train_task(SPDQTask, data(), recipe=QUICK["default"], directory=directory)


@pytest.mark.parametrize("name", [LOG, CHECKPOINT])
def test_a_refused_write_is_said(data, tmp_path, name):
    (tmp_path / name).mkdir()
    with pytest.raises(StorageError, match=f"cannot write .*{name}: "):
        train_task(SPDQTask, data(), recipe=QUICK["default"], directory=tmp_path)


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
        train_task(SPDQTask, dataset, 16, recipe, progress=stop)
    assert seen == [(1, steps)]


def test_other_bits_need_the_same_rows(data, trained):
    other = data().with_split(make_split(len(data()), data().split.query, "paired", 0, train_on_queries=True))
    with pytest.raises(IncompatibleError, match="trained on other rows than data set"):
        with_bits(trained().model, other, 32)
