from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from oracles_gated import made_drawings
from oracles_mixer import margin_softmax
from oracles_training import Interrupt, assert_same_model, made_dataset, without_time
from scipy import sparse

from spdq.data.splits import Split
from spdq.errors import DataError, IncompatibleError
from spdq.training import inputs
from spdq.training.checkpoint import CHECKPOINT
from spdq.training.log import LOG, read_log
from spdq.training.mixer import RECIPES, MixerTask
from spdq.training.run import train_task

SHORT = {"min_steps": 60, "max_steps": 60, "hidden": 32, "dim": 16, "slots": 8, "batch": 32}
QUICK = {name: replace(recipe, **SHORT) for name, recipe in RECIPES.items()}
FORMS = {"query", "image", "text", "unit"}


@pytest.fixture(scope="module")
def dataset():
    """Images of four regions of three features each."""
    return replace(made_drawings(), image_regions=4)


@pytest.fixture(scope="module")
def run(dataset, tmp_path_factory):
    directory = tmp_path_factory.mktemp("run")
    return train_task(MixerTask, dataset, 16, QUICK["default"], 0, directory), read_log(directory / LOG)


@pytest.mark.parametrize("recipe", ["default", "paper"])
def test_documents_of_things_never_trained_on_are_found(dataset, run, recipe):
    model = run[0] if recipe == "default" else train_task(MixerTask, dataset, 16, QUICK[recipe])
    split, classes = dataset.split, dataset.classes
    texts = model.text_features([dataset.texts[row] for row in split.database])
    scores = (
        model.embed_image(dataset.image_features[split.query])
        @ model.embed_unit(dataset.image_features[split.database], texts).T
    )
    own = scores[classes[split.query][:, None] == classes[split.database][None, :]]
    assert (scores >= own[:, None]).sum(axis=1).mean() < 10, "by chance 20.5"


def test_the_log_has_every_form(run):
    _, log = run
    assert [set(entry) for entry in log] == [{"step", "loss", "seconds"} | FORMS] * 2
    assert log[1]["loss"] < log[0]["loss"]


def test_terms_are_the_mean_margin_softmax(dataset):
    task = MixerTask(dataset, QUICK["paper"], 0, 16)
    task.network.eval()
    term = task.terms(0, np.random.default_rng(7))["query"]
    drawn = task.samples.draw(32, np.random.default_rng(7))
    with torch.no_grad():
        vectors = task.network.query(task.network.encoder(task.items.image[task.train[drawn]])).numpy()
    weights = task.head.weights.detach().numpy()
    expected = np.mean(margin_softmax(vectors, weights, task.samples.given[drawn], 0.2, 16.0))
    assert float(term.detach()) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(("weights", "left"), [
    ({"image": 0.0}, FORMS - {"image"}),
    ({"text": 0.0, "unit": 0.0}, {"query", "image"}),
    ({"unit": 0.0}, FORMS - {"unit"}),
])  # fmt: skip
def test_a_form_of_weight_0_is_left_out(dataset, weights, left):
    task = MixerTask(dataset, replace(QUICK["default"], **weights), 0, 16)
    assert set(task.terms(0, np.random.default_rng(0))) == left


def test_no_part_of_the_memory_learns_from_texts_that_it_reads(dataset):
    task = MixerTask(dataset, QUICK["default"], 0, 16)
    for part in range(QUICK["default"].parts):
        reads = task.items.parts[task.train] == part
        assert not task.learners[reads, part].any()
    assert task.learners.any(axis=0).all()
    task.learners[:] = False
    task.terms(0, np.random.default_rng(0))["unit"].backward()
    assert task.network.memory.project.grad is None
    assert task.network.said.weight.grad.any()


@pytest.mark.parametrize("recipe", ["default", "paper"])
def test_the_same_seed_gives_the_same_model(dataset, recipe):
    a, b, c = (train_task(MixerTask, dataset, 16, QUICK[recipe], seed) for seed in (0, 0, 1))
    assert_same_model(a, b)
    assert a.fingerprint != c.fingerprint


@pytest.mark.parametrize("judge_from", [0.5, 0.9])
def test_an_interrupted_run_goes_on_to_the_same_model(dataset, tmp_path, judge_from):
    """Class weights, their optimizer and the classes as judged are taken up."""
    noisy = replace(dataset, classes=np.where(np.arange(80) % 9 == 0, 3, dataset.classes))
    recipe = replace(QUICK["default"], judge_from=judge_from, judge_every=10.0, sampled=20, far=0.9)
    whole = train_task(MixerTask, noisy, 16, recipe, 0, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train_task(MixerTask, noisy, 16, recipe, 0, tmp_path, progress=Interrupt(55))
    assert (tmp_path / CHECKPOINT).is_file()
    with pytest.raises(IncompatibleError, match="belongs to another run: seed differ"):
        train_task(MixerTask, noisy, 16, recipe, 1, tmp_path, resume=True)
    assert_same_model(train_task(MixerTask, noisy, 16, recipe, 0, tmp_path, resume=True), whole)
    logs = [without_time(read_log(folder / LOG)) for folder in (tmp_path, tmp_path / "whole")]
    assert logs[0] == logs[1]


def test_items_given_a_wrong_class_leave_it(dataset):
    """Every class has five items; one in ten was given the next class."""
    things = np.tile(np.arange(40), 5)
    random = np.random.default_rng(0)
    shape = random.normal(size=(40, 12))
    images = (shape[things] + 0.1 * random.normal(size=(200, 12))).astype(np.float32)
    wrong = np.arange(200) % 11 == 0
    given = np.where(wrong, (things + 1) % 40, things)
    noisy = replace(
        dataset,
        ids=np.arange(200),
        image_features=images,
        texts=tuple(f"thing{t}x" for t in things),
        classes=given,
        split=Split(np.array([199]), np.arange(199), np.arange(198), "matched", 0),
    )
    recipe = replace(QUICK["default"], judge_from=0.5, judge_every=8.0, min_steps=200, max_steps=200)
    task = MixerTask(noisy, recipe, 0, 16)
    optimizers = task.optimizers()
    for step in range(111):
        torch.manual_seed(step)
        terms = task.terms(step, np.random.default_rng(step))
        for optimizer in optimizers:
            optimizer.zero_grad()
        sum(terms.values()).backward()
        for optimizer in optimizers:
            optimizer.step()
    classes = task.samples.classes
    assert (classes[wrong[:199]] != given[:199][wrong[:199]]).mean() > 0.8
    assert (classes[~wrong[:199]] == given[:199][~wrong[:199]]).mean() > 0.95


@pytest.mark.parametrize(("passes", "steps"), [(1.0, 2), (8.0, 13), (0.0, 1)])
def test_classes_are_judged_once_in_so_many_passes(dataset, monkeypatch, passes, steps):
    recipe = replace(QUICK["default"], batch=40, judge_from=0.0, judge_every=passes)
    task = MixerTask(replace(dataset), recipe, 0, 16)
    assert (len(task.train), task.judge_steps) == (64, steps)
    judged = []
    monkeypatch.setattr(task, "_judge", lambda: judged.append(True))
    for step in range(2 * steps):
        task.terms(step, np.random.default_rng(step))
    assert len(judged) == 2


@pytest.mark.parametrize("text", ["features", "wide"])
def test_features_in_place_of_texts_and_one_region(text):
    dataset = replace(made_dataset(text=text), labels=None, label_names=(), classes=np.arange(100) % 10)
    model = train_task(MixerTask, dataset, 16, QUICK["default"])
    assert model.training["classes"] == 8, "items 0, 5, ... are queries, all of classes 0 and 5"
    assert np.isfinite(model.embed_unit(dataset.image_features, dataset.text_features)).all()


def test_missing_parts_are_no_samples():
    """Some items have no image, some no text, one neither."""
    dataset = replace(made_dataset(text="wide"), labels=None, label_names=(), classes=np.arange(100) % 10)
    images, texts = dataset.image_features.copy(), dataset.text_features.toarray()
    images[10:30], texts[25:60] = 0, 0
    partial = replace(dataset, image_features=images, text_features=sparse.csr_matrix(texts))
    task = MixerTask(partial, QUICK["default"], 0, 16)
    for rows in (
        np.flatnonzero(~task.items.has_image[task.train]),
        np.flatnonzero(~task.items.has_text[task.train]),
    ):
        task.samples.draw = lambda count, random, rows=rows: np.resize(rows, count)
        terms = {form: float(term.detach()) for form, term in task.terms(0, np.random.default_rng(0)).items()}
        assert all(map(np.isfinite, terms.values()))
        assert terms["unit"] == 0
        assert max(terms.values()) > 0
    model = train_task(MixerTask, partial, 16, QUICK["default"])
    assert np.isfinite(model.embed_unit(images[:25], texts[:25])).all()


def test_classes_of_one_item_and_batches_of_one_class(dataset):
    lone = replace(dataset, classes=np.arange(80, dtype=np.int64))
    assert np.isfinite(
        train_task(MixerTask, lone, 16, QUICK["default"]).embed_image(dataset.image_features)
    ).all()
    two = replace(dataset, classes=np.where(np.arange(80) == 1, 1, 0))
    task = MixerTask(two, replace(QUICK["default"], class_power=1.0, batch=1), 0, 16)
    terms = task.terms(0, np.random.default_rng(0))
    assert all(float(terms[form].detach()) > 0 for form in FORMS), "the other class is its negative"


def test_validation_holds_classes_out(dataset, monkeypatch):
    monkeypatch.setattr(inputs, "MIN_ROWS_TO_VALIDATE", 20)
    monkeypatch.setattr(inputs, "VALIDATION_SHARE", 0.2)
    task = MixerTask(dataset, QUICK["default"], 0, 16)
    assert task.sizes == {"rows": 52, "validation_rows": 12, "classes": 26}
    figures = task.validate()
    assert set(figures) == {"reciprocal rank i2u"}
    assert 0 < figures["reciprocal rank i2u"] < 1
    assert train_task(MixerTask, dataset, 16, QUICK["default"]).training["validation_rows"] == 12


def test_few_classes_are_not_validated(dataset):
    assert MixerTask(dataset, QUICK["default"], 0, 16).validate() == {}


def test_no_classes(dataset):
    with pytest.raises(DataError, match="training a Mixer needs /classes, two at least"):
        train_task(MixerTask, replace(dataset, classes=None))


def test_no_pictures(dataset):
    with pytest.raises(DataError, match="training needs /image/features, which data set drawings has not"):
        train_task(MixerTask, replace(dataset, image_features=None, image_regions=1))


def test_the_input_map_is_fitted_on_regions_and_applied_to_each(dataset):
    items = inputs.item_inputs(dataset, dataset.split.train, 256, 64, 0, dataset.image_regions)
    parts = dataset.image_features.reshape(80, 4, 3)
    train = parts[dataset.split.train].reshape(-1, 3)
    expected = (parts - train.mean(axis=0)) / train.std(axis=0)
    np.testing.assert_allclose(items.image, expected.reshape(80, 12), rtol=1e-4, atol=1e-5)


def test_one_region_is_the_whole_image(dataset):
    whole, one = (inputs.item_inputs(dataset, dataset.split.train, 256, 64, 0, *more) for more in ((), (1,)))
    assert torch.equal(whole.image, one.image)
    assert whole.inputs["image"].in_width == 12
