from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from oracles_gated import hinge, made_drawings
from oracles_training import Interrupt, assert_same_model, made_dataset, without_time

from spdq.errors import DataError, IncompatibleError
from spdq.training import inputs
from spdq.training.checkpoint import CHECKPOINT
from spdq.training.gated import RECIPES, GatedTask, parted
from spdq.training.log import LOG, read_log
from spdq.training.run import train_task

SHORT = {"min_steps": 60, "max_steps": 60, "hidden": 32, "dim": 16, "batch": 32}
QUICK = {name: replace(recipe, **SHORT) for name, recipe in RECIPES.items()}
TASKS = {f"{query}2{target}" for query in "it" for target in "itu"}


@pytest.fixture(scope="module")
def dataset():
    return made_drawings()


@pytest.fixture(scope="module")
def run(dataset, tmp_path_factory):
    directory = tmp_path_factory.mktemp("run")
    return train_task(GatedTask, dataset, 16, QUICK["default"], 0, directory), read_log(directory / LOG)


def ranks(model, dataset, query):
    """Rank of each query's own document among all, by float vectors of units."""
    split, classes = dataset.split, dataset.classes
    if query == "i":
        queries = model.weigh_query(model.embed_image(dataset.image_features[split.query]), "image")
    else:
        texts = model.text_features([dataset.texts[row] for row in split.query])
        queries = model.weigh_query(model.embed_text(texts), "text")
    texts = model.text_features([dataset.texts[row] for row in split.database])
    units = model.embed_unit(dataset.image_features[split.database], texts)
    scores = queries @ units.T
    own = scores[classes[split.query][:, None] == classes[split.database][None, :]]
    return (scores >= own[:, None]).sum(axis=1)


@pytest.mark.parametrize("query", ["i", "t"])
def test_units_of_things_never_trained_on_are_found(dataset, run, query):
    model, _ = run
    assert ranks(model, dataset, query).mean() < 8, "by chance 20.5"


def test_the_log_has_the_six_tasks(run):
    _, log = run
    assert [entry["step"] for entry in log] == [50, 60]
    for entry in log:
        assert set(entry) == {"step", "loss", "seconds"} | TASKS
    assert log[1]["loss"] < log[0]["loss"]


def test_terms_are_the_mean_hinge_of_vectors(dataset):
    task = GatedTask(dataset, QUICK["paper"], 0, 16)
    task.network.eval()
    torch.manual_seed(0)
    terms = task.terms(0, np.random.default_rng(7))
    random = np.random.default_rng(7)
    rows = random.choice(task.train, 32, replace=False)
    partners = task.partners.draw(rows, random)
    with torch.no_grad():
        image = [task.network.image(task.items.image[chosen]).numpy() for chosen in (rows, partners)]
    cost = 0.2 * (dataset.classes[rows][:, None] != dataset.classes[rows][None, :])
    assert float(terms["i2i"].detach()) == pytest.approx(hinge(*image, cost).mean(), abs=1e-5)


@pytest.mark.parametrize("recipe", ["default", "paper"])
def test_the_same_seed_gives_the_same_model(dataset, recipe):
    a, b, c = (train_task(GatedTask, dataset, 16, QUICK[recipe], seed) for seed in (0, 0, 1))
    assert_same_model(a, b)
    assert a.fingerprint != c.fingerprint


def test_an_interrupted_run_goes_on_to_the_same_model(dataset, run, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train_task(GatedTask, dataset, 16, QUICK["default"], 0, tmp_path, progress=Interrupt(55))
    assert (tmp_path / CHECKPOINT).is_file()
    with pytest.raises(IncompatibleError, match="belongs to another run: seed differ"):
        train_task(GatedTask, dataset, 16, QUICK["default"], 1, tmp_path, resume=True)
    resumed = train_task(GatedTask, dataset, 16, QUICK["default"], 0, tmp_path, resume=True)
    assert_same_model(resumed, run[0])
    assert without_time(read_log(tmp_path / LOG)) == without_time(run[1])


@pytest.mark.parametrize("text", ["features", "wide", "raw"])
def test_pairs_alone_are_enough(text):
    """Neither classes nor labels: an item is its own partner."""
    dataset = replace(made_dataset(text=text), labels=None, label_names=())
    model = train_task(GatedTask, dataset, 16, QUICK["default"], 0)
    assert model.training["rows"] == 80
    assert np.isfinite(model.embed_image(dataset.image_features)).all()


def test_validation_ranks_units(dataset, monkeypatch):
    monkeypatch.setattr(inputs, "MIN_ROWS_TO_VALIDATE", 40)
    monkeypatch.setattr(inputs, "VALIDATION_SHARE", 0.2)
    task = GatedTask(dataset, QUICK["default"], 0, 16)
    assert task.sizes == {"rows": 52, "validation_rows": 12}
    figures = task.validate()
    assert set(figures) == {"reciprocal rank t2u", "reciprocal rank i2u"}
    assert all(0 < value <= 1 for value in figures.values())


def test_parted_bags_share_no_word():
    random = np.random.default_rng(0)
    bags = torch.from_numpy((random.random((50, 8)) < 0.5).astype(np.float32))
    bags[0], bags[1], bags[1, 3] = 0, 0, 1
    mine, theirs = parted(bags, bags, np.random.default_rng(1))
    np.testing.assert_allclose(mine.norm(dim=1), bags.norm(dim=1), atol=1e-5)
    np.testing.assert_allclose(theirs.norm(dim=1), bags.norm(dim=1), atol=1e-5)
    assert torch.equal(mine[0], bags[0])
    assert torch.equal(mine[1], bags[1])
    both = (mine > 0) & (theirs > 0)
    whole = ((mine > 0).sum(1) == (bags > 0).sum(1)) | ((theirs > 0).sum(1) == (bags > 0).sum(1))
    assert not both[~whole].any()


def test_no_split(dataset):
    with pytest.raises(DataError, match="training needs /split, which data set drawings has not"):
        train_task(GatedTask, dataset.with_split(None))


def test_no_pictures(dataset):
    with pytest.raises(DataError, match="training needs /image/features, which data set drawings has not"):
        train_task(GatedTask, replace(dataset, image_features=None))
