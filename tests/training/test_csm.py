from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from oracles_csm import COLOURS, SHAPES, made_log, softmax_terms, were_clicked
from oracles_training import Interrupt, assert_same_model, without_time

from spdq.data.query_items import QueryItems
from spdq.data.splits import Split
from spdq.errors import DataError, IncompatibleError
from spdq.training import inputs
from spdq.training.checkpoint import CHECKPOINT
from spdq.training.csm import RECIPES, CSMTask
from spdq.training.log import LOG, read_log
from spdq.training.run import train_task

SHORT = {"min_steps": 80, "max_steps": 80, "hidden": 32, "dim": 16, "batch": 32, "negatives": 16}
QUICK = {name: replace(recipe, **SHORT) for name, recipe in RECIPES.items()}
HELD = [f"{colour}ish {shape}" for colour in COLOURS for shape in SHAPES]


@pytest.fixture(scope="module")
def dataset():
    return made_log()


@pytest.fixture(scope="module")
def run(dataset, tmp_path_factory):
    directory = tmp_path_factory.mktemp("run")
    return train_task(CSMTask, dataset, 16, QUICK["default"], 0, directory), read_log(directory / LOG)


def share_found(model, dataset, queries):
    """How many of the first four found have the colour and shape asked for; by chance a twelfth."""
    scores = model.embed_text(model.text_features(queries)) @ model.embed_image(dataset.image_features).T
    rows = np.arange(len(dataset))
    found = np.argsort(-scores, axis=1)[:, :4]
    wanted = np.arange(len(COLOURS) * len(SHAPES))[:, None]
    kinds = rows % len(COLOURS) * len(SHAPES) + rows // len(COLOURS) % len(SHAPES)
    return (kinds[found] == wanted).mean()


@pytest.mark.parametrize("recipe", ["default", "paper"])
def test_queries_never_clicked_find_by_their_words(dataset, recipe):
    model = train_task(CSMTask, dataset, 16, QUICK[recipe])
    assert not set(HELD) & set(dataset.clicks.queries)
    assert share_found(model, dataset, HELD) > 0.6


def test_words_never_clicked_find_by_their_trigrams(run, dataset):
    queries = [f"{colour}ist {shape}y" for colour in COLOURS for shape in SHAPES]
    known = set(run[0].text_extractor.vocabulary)
    assert not {word for query in queries for word in query.split()} & known
    assert share_found(run[0], dataset, queries) > 0.4


def test_pixels_are_learned_end_to_end():
    dataset = made_log(pixels=16)
    model = train_task(CSMTask, dataset, 16, QUICK["default"])
    assert model.config.pixels
    assert share_found(model, dataset, HELD) > 0.6
    scale = model.inputs["image"].scale.reshape(-1, 3)
    np.testing.assert_array_equal(scale, np.tile(scale[:1], (256, 1)))
    pixels = model.inputs["image"](dataset.image_features).reshape(-1, 3)
    np.testing.assert_allclose(pixels.mean(0), np.zeros(3), atol=1e-4)
    np.testing.assert_allclose(pixels.std(0), np.ones(3), atol=1e-4)


def test_terms_are_the_mean_softmax_of_both_sides(dataset):
    task = CSMTask(dataset, replace(QUICK["default"], term_dropout=0.0), 0, 16)
    torch.nn.init.normal_(task.network.queries.terms.weight)
    task.network.eval()
    terms = task.terms(0, np.random.default_rng(7))
    random = np.random.default_rng(7)
    drawn = task.pairs.draw(32, random)
    queries = np.append(dataset.clicks.query[drawn], random.integers(len(dataset.clicks.queries), size=16))
    images = np.append(dataset.clicks.item[drawn], random.choice(task.train, 16))
    with torch.no_grad():
        texts = task._queries(queries, np.random.default_rng(0)).numpy()
        scores = texts @ task._images(images).numpy().T / task.recipe.temperature
    clicked = were_clicked(dataset.clicks, queries, images)
    expected = softmax_terms(scores[:32].tolist(), clicked[:32])
    assert float(terms["image"].detach()) == pytest.approx(np.mean(expected), abs=1e-4)
    other = softmax_terms(scores.T[:32].tolist(), np.transpose(clicked)[:32].tolist())
    assert float(terms["query"].detach()) == pytest.approx(np.mean(other), abs=1e-4)


def test_terms_left_out_say_nothing(dataset):
    task = CSMTask(dataset, replace(QUICK["default"], term_dropout=1.0), 0, 16)
    torch.nn.init.normal_(task.network.queries.terms.weight)
    assert not task._queries(np.arange(5), np.random.default_rng(0)).any()


def test_embeddings_have_sparse_gradients(dataset):
    task = CSMTask(dataset, QUICK["default"], 0, 16)
    dense, terms = task.optimizers()
    weight = task.network.queries.terms.weight
    assert [group["params"] for group in terms.param_groups] == [[weight]]
    counted = sum(p.numel() for group in dense.param_groups for p in group["params"])
    assert counted + weight.numel() == sum(p.numel() for p in task.network.parameters())
    sum(task.terms(0, np.random.default_rng(0)).values()).backward()
    assert weight.grad.is_sparse


def test_the_log_has_both_sides(run):
    _, log = run
    assert [entry["step"] for entry in log] == [50, 80]
    for entry in log:
        assert set(entry) == {"step", "loss", "seconds", "image", "query"}
    assert log[1]["loss"] < log[0]["loss"]


@pytest.mark.parametrize("recipe", ["default", "paper"])
def test_the_same_seed_gives_the_same_model(dataset, recipe):
    a, b, c = (train_task(CSMTask, dataset, 16, QUICK[recipe], seed) for seed in (0, 0, 1))
    assert_same_model(a, b)
    assert a.fingerprint != c.fingerprint


@pytest.mark.parametrize("step", [55, 50, 20])
def test_an_interrupted_run_goes_on_to_the_same_model(dataset, run, tmp_path, step):
    with pytest.raises(KeyboardInterrupt):
        train_task(CSMTask, dataset, 16, QUICK["default"], 0, tmp_path, progress=Interrupt(step))
    assert (tmp_path / CHECKPOINT).is_file() == (step > 50)
    resumed = train_task(CSMTask, dataset, 16, QUICK["default"], 0, tmp_path, resume=True)
    assert_same_model(resumed, run[0])
    assert without_time(read_log(tmp_path / LOG)) == without_time(run[1])


def test_resuming_another_run_is_refused(dataset, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train_task(CSMTask, dataset, 16, QUICK["default"], 0, tmp_path, progress=Interrupt(55))
    with pytest.raises(IncompatibleError, match="belongs to another run: seed differ"):
        train_task(CSMTask, dataset, 16, QUICK["default"], 1, tmp_path, resume=True)


def test_validation_queries_are_not_learned_from(dataset, monkeypatch):
    monkeypatch.setattr(inputs, "MIN_ROWS_TO_VALIDATE", 20)
    monkeypatch.setattr(inputs, "VALIDATION_SHARE", 0.2)
    task = CSMTask(dataset, QUICK["default"], 0, 16)
    assert task.sizes["queries"] + task.sizes["validation_rows"] == len(dataset.clicks.queries)
    assert task.sizes["validation_rows"] == 6
    assert not set(task.judged.queries) & set(task.clicks.queries)
    before = task.validate()
    assert set(before) == {"ndcg@25"}
    model = train_task(CSMTask, dataset, 16, replace(QUICK["default"], min_steps=100, max_steps=100))
    assert model.training["validation_rows"] == 6
    assert model.training["queries"] == task.sizes["queries"]


def test_one_query_and_one_image():
    every = np.arange(1, dtype=np.int64)
    dataset = replace(
        made_log().take([5]),
        clicks=QueryItems.from_mapping({"cat": {0: 10**9}}),
        split=Split(np.empty(0, np.int64), every, every, "clicks", 0),
    )
    model = train_task(CSMTask, dataset, 16, replace(QUICK["default"], min_steps=3, max_steps=3))
    assert np.isfinite(model.embed_text(model.text_features(["cat"]))).all()
    assert np.isfinite(model.embed_image(dataset.image_features)).all()


@pytest.mark.parametrize("recipe", ["default", "paper"])
def test_all_clicks_on_one_image(dataset, recipe):
    clicks = QueryItems.from_mapping({f"word{n}": {3: 10**9} for n in range(9)})
    model = train_task(CSMTask, replace(dataset, clicks=clicks), 16, QUICK[recipe])
    scores = model.embed_text(model.text_features(["word4"])) @ model.embed_image(dataset.image_features).T
    assert scores.argmax() == 3


def test_an_absurd_count_does_not_drown_the_others(dataset):
    """Tempering: a pair of a billion clicks, beside which every other query still finds its own."""
    found = {query: dict(pairs) for query, pairs in mapping(dataset.clicks).items()}
    found["red"][0] = 10**9
    model = train_task(CSMTask, replace(dataset, clicks=QueryItems.from_mapping(found)), 16, QUICK["default"])
    assert share_found(model, dataset, HELD) > 0.6


def mapping(clicks):
    found = {query: {} for query in clicks.queries}
    for query, item, value in zip(clicks.query, clicks.item, clicks.value, strict=True):
        found[clicks.queries[query]][int(item)] = int(value)
    return found


def test_many_clicks_on_a_part_of_the_rows(dataset):
    """Items that are not trained on are embedded all the same."""
    split = Split(
        np.empty(0, np.int64), np.arange(24, dtype=np.int64), np.arange(48, dtype=np.int64), "clicks", 0
    )
    model = train_task(CSMTask, dataset.with_split(split), 16, QUICK["default"])
    assert model.training["rows"] == 24
    assert share_found(model, dataset, HELD) > 0.4


def test_no_clicks(dataset):
    with pytest.raises(DataError, match="make one from a click log with `spdq dataset import clicks`"):
        train_task(CSMTask, replace(dataset, clicks=None))


def test_no_images(dataset):
    with pytest.raises(DataError, match="training needs /image/features, which data set log has not"):
        train_task(CSMTask, replace(dataset, image_features=None))


def test_queries_without_a_word(dataset):
    clicks = QueryItems.from_mapping({"?!": {0: 1}, "!": {1: 2}})
    with pytest.raises(DataError, match="none of the 2 texts has a word"):
        train_task(CSMTask, replace(dataset, clicks=clicks))


def test_features_that_are_no_pixels(dataset):
    with pytest.raises(DataError, match="16 image features are not the pixels of a square picture"):
        train_task(CSMTask, replace(dataset, image_extractor="pixels:32"))
