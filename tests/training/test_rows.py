from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from oracles_training import QUICK, made_dataset
from scipy import sparse

from spdq.data import make_split
from spdq.errors import DataError
from spdq.training import inputs as inputs_module
from spdq.training.recipes import RECIPES
from spdq.training.rows import batch_rows, label_sets, training_rows

DEFAULT, PAPER = RECIPES["default"], RECIPES["paper"]
NAMES = ("group:a", "group:b", "topic:x", "topic:y", "alone", "other", "group:c")


@pytest.fixture(scope="module")
def raw(data):
    return training_rows(data("raw"), DEFAULT, 0)


@pytest.fixture(scope="module")
def large():
    """Enough rows to validate."""
    return made_dataset(3300, noise=2.0)


def test_label_sets_are_runs_of_one_prefix():
    labels = np.array([[1, 0, 1, 1, 0, 1, 1], [0, 1, 0, 1, 1, 0, 1]], np.uint8)
    runs = ((0, 2), (2, 4), (4, 6), (6, 7))
    exclusive = (True, False, True, False)
    assert label_sets(NAMES, labels, exclusive=True) == tuple(
        (*run, only) for run, only in zip(runs, exclusive, strict=True)
    )
    assert label_sets(NAMES, labels, exclusive=False) == tuple((*run, False) for run in runs)


@pytest.mark.parametrize(
    ("labels", "exclusive"),
    [
        ([[1, 0], [0, 1]], True),
        ([[1, 0], [1, 0]], True),
        ([[1, 0], [0, 0]], False),
        ([[1, 0], [1, 1]], False),
        ([[1], [1]], False),
    ],
)
def test_exclusive_is_where_every_row_has_exactly_one(labels, exclusive):
    labels = np.array(labels, np.uint8)
    names = tuple(f"group:{c}" for c in range(labels.shape[1]))
    assert label_sets(names, labels, exclusive=True) == ((0, len(names), exclusive),)


def test_label_sets_follow_the_training_rows_alone(data):
    labels = data().labels.copy()
    labels[data().split.query] = 1
    changed = replace(data(), labels=labels)
    assert training_rows(changed, DEFAULT, 0).label_sets == ((0, 5, True), (5, 8, False))
    assert training_rows(changed, PAPER, 0).label_sets == ((0, 5, False), (5, 8, False))


def test_features_of_all_items_become_inputs(data):
    made = training_rows(data(), DEFAULT, 0)
    assert made.image.shape == (100, 20)
    assert made.text.shape == made.lines.shape == (100, 10)
    assert not made.has_lines
    assert made.text_extractor is None
    np.testing.assert_array_equal(made.train, data().split.train)
    assert len(made.validation) == 0
    np.testing.assert_array_equal(made.labels, data().labels)
    np.testing.assert_allclose(made.image[made.train].mean(dim=0), np.zeros(20), atol=1e-5)
    np.testing.assert_allclose(made.image[made.train].std(dim=0, correction=0), np.ones(20), atol=1e-4)
    assert torch.equal(made.first_lines(np.array([4, 2])), made.text[[4, 2]])


def test_half_floats_are_taken(data):
    half = replace(data(), image_features=data().image_features.astype(np.float16))
    found = training_rows(half, DEFAULT, 0).image
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found, training_rows(data(), DEFAULT, 0).image, atol=0.01)


def test_raw_texts_become_lines(data, raw):
    counts = [len(text.split("\n")) for text in data("raw").texts]
    assert raw.has_lines
    np.testing.assert_array_equal(np.diff(raw.line_starts), counts)
    assert len(raw.lines) == sum(counts)
    names = raw.text_extractor.transform([text.split("\n")[0] for text in data("raw").texts])
    np.testing.assert_allclose(raw.first_lines(np.arange(100)), raw.inputs["text"](names), atol=1e-6)
    np.testing.assert_allclose(
        raw.text, raw.inputs["text"](raw.text_extractor.transform(data("raw").texts)), atol=1e-6
    )


def test_words_are_those_of_training_rows(data):
    texts = list(data("raw").texts)
    texts[data("raw").split.query[0]] = "zyzzyva"
    made = training_rows(replace(data("raw"), texts=tuple(texts)), DEFAULT, 0)
    assert made.text_extractor.unknown_words("zyzzyva") == ["zyzzyva"]
    assert made.text_extractor.unknown_words("anchor") == []


def test_a_stored_vocabulary_reads_raw_texts_later(data):
    words = tuple(f"word{c}" for c in range(10))
    made = training_rows(replace(data(), vocabulary=words), DEFAULT, 0)
    assert made.text_extractor.transform(["word3 word7"]).toarray().nonzero()[1].tolist() == [3, 7]


def test_an_empty_text_is_one_line_of_zeros(data):
    texts = list(data("raw").texts)
    texts[1] = ""
    made = training_rows(replace(data("raw"), texts=tuple(texts)), DEFAULT, 0)
    assert made.line_starts[2] - made.line_starts[1] == 1
    assert not made.text[1].any()
    views = made.text_views(np.array([1, 2]), DEFAULT, np.random.default_rng(0))
    assert not views[0].any()
    assert torch.isfinite(views).all()


@pytest.mark.parametrize(
    ("first_line", "single_line", "possible"),
    [(1.0, 0.0, "first"), (0.0, 1.0, "one"), (0.0, 0.0, "some"), (0.3, 0.25, "some")],
)
def test_a_text_view_is_lines_as_long_as_the_text(raw, first_line, single_line, possible):
    recipe = replace(DEFAULT, first_line=first_line, single_line=single_line)
    random = np.random.default_rng(0)
    seen = [Counter() for _ in range(8)]
    for _ in range(12):
        views = raw.text_views(raw.train[:8], recipe, random)
        for row, view, met in zip(raw.train[:8], views, seen, strict=True):
            start, stop = raw.line_starts[row : row + 2]
            subsets = [
                chosen
                for size in range(1, stop - start + 1)
                for chosen in itertools.combinations(range(stop - start), size)
            ]
            directions = [raw.lines[[start + c for c in chosen]].sum(dim=0) for chosen in subsets]
            length = torch.linalg.vector_norm(raw.text[row])
            gaps = [
                float(torch.linalg.vector_norm(view - d * length / torch.linalg.vector_norm(d)))
                for d in directions
            ]
            assert min(gaps) < 1e-3
            met[subsets[int(np.argmin(gaps))]] += 1
    for met in seen:
        if possible == "first":
            assert set(met) == {(0,)}
        elif possible == "one":
            assert all(len(chosen) == 1 for chosen in met)
            assert len(met) > 1
        else:
            assert any(len(chosen) > 1 for chosen in met)


def test_text_views_follow_their_generator(raw):
    rows = raw.train[:20]
    a, b, c = (raw.text_views(rows, DEFAULT, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


@pytest.mark.parametrize("whole_classes", [False, True])
def test_a_batch_has_no_row_twice(data, whole_classes):
    made = training_rows(data(), DEFAULT, 0)
    for size in (1, 30, 80, 500):
        rows = batch_rows(made, size, whole_classes, np.random.default_rng(size))
        assert len(rows) == len(set(rows.tolist())) == min(size, 80)
        assert set(rows.tolist()) <= set(made.train.tolist())


def test_batches_of_whole_classes(data):
    made = training_rows(data(), DEFAULT, 0)
    of_class = data().labels[:, :5].argmax(axis=1)
    total = Counter(of_class[made.train].tolist())
    first = set()
    for seed in range(12):
        rows = batch_rows(made, 40, True, np.random.default_rng(seed))
        order = list(dict.fromkeys(of_class[rows].tolist()))
        met = Counter(of_class[rows].tolist())
        assert all(met[c] == total[c] for c in order[:-1])
        assert len(order) == 3
        first.add(order[0])
    assert len(first) > 2


def test_whole_classes_are_of_the_finest_exclusive_set(data):
    coarse = np.stack([data().labels[:, :2].any(axis=1), ~data().labels[:, :2].any(axis=1)], axis=1)
    both = replace(
        data(),
        labels=np.concatenate([coarse.astype(np.uint8), data().labels], axis=1),
        label_names=("kind:a", "kind:b", *data().label_names),
    )
    made = training_rows(both, DEFAULT, 0)
    assert made.label_sets == ((0, 2, True), (2, 7, True), (7, 10, False))
    rows = batch_rows(made, 16, True, np.random.default_rng(0))
    assert len(set(data().labels[rows, :5].argmax(axis=1).tolist())) == 1


def test_without_an_exclusive_set_batches_are_drawn_from_all(data):
    made = training_rows(data(), PAPER, 0)
    whole, drawn = (batch_rows(made, 30, flag, np.random.default_rng(0)) for flag in (True, False))
    np.testing.assert_array_equal(whole, drawn)


def test_few_rows_give_none_away(large):
    few = large.with_split(make_split(3300, np.arange(801), "seen", 0))
    enough = large.with_split(make_split(3300, np.arange(800), "seen", 0))
    assert len(training_rows(few, DEFAULT, 0).validation) == 0
    assert len(training_rows(enough, DEFAULT, 0).validation) == 125


def test_validation_rows_are_held_out(large):
    made, again, other = (training_rows(large, DEFAULT, seed) for seed in (0, 0, 1))
    assert len(made.validation) == 132
    both = np.concatenate([made.train, made.validation])
    np.testing.assert_array_equal(np.sort(both), large.split.train)
    np.testing.assert_array_equal(made.validation, again.validation)
    assert not np.array_equal(made.validation, other.validation)


@pytest.mark.parametrize("text", ["features", "raw", "wide"])
def test_nothing_is_fitted_on_rows_not_trained_on(text):
    large = made_dataset(2570, text=text, every=40)
    made = training_rows(large, DEFAULT, 0)
    assert len(made.validation) == 125
    outside = np.setdiff1d(np.arange(2570), made.train)
    images, labels = large.image_features.copy(), large.labels.copy()
    images[outside] = 1e3
    labels[outside] = 1
    changes = {"image_features": images, "labels": labels}
    if text == "raw":
        changes["texts"] = tuple("odd" if row in set(outside) else t for row, t in enumerate(large.texts))
    elif text == "wide":
        features = large.text_features.tolil()
        features[outside] = 7.0
        changes["text_features"] = sparse.csr_matrix(features, dtype=np.float32)
    else:
        features = large.text_features.copy()
        features[outside] = -1e3
        changes["text_features"] = features
    changed = training_rows(replace(large, **changes), DEFAULT, 0)
    np.testing.assert_array_equal(changed.train, made.train)
    assert changed.label_sets == made.label_sets
    for modality, inputs in made.inputs.items():
        for name, tensor in inputs.tensors().items():
            np.testing.assert_array_equal(changed.inputs[modality].tensors()[name], tensor)
    assert (made.text_extractor is not None) == (text == "raw")
    if made.text_extractor is not None:
        assert changed.text_extractor.to_json() == made.text_extractor.to_json()


def test_many_rows_span_the_text_input_by_a_part(data, monkeypatch):
    def basis_rows():
        return len(training_rows(data("wide"), QUICK["default"], 0).inputs["text"].indptr) - 1

    assert basis_rows() == 80
    monkeypatch.setattr(inputs_module, "MAX_BASIS_ROWS", 60)
    assert basis_rows() == 30


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ({"split": None}, "needs /split, which data set made has not"),
        ({"image_features": None}, "needs /image/features, which data set made has not"),
        (
            {"labels": None, "label_names": (), "split": None},
            "needs /split, /labels, which data set made has not",
        ),
        (
            {"text_features": None},
            "needs text, which data set made has not: neither /text/features nor /text/utf8",
        ),
    ],
)
def test_a_missing_part_is_named(data, missing, message):
    with pytest.raises(DataError, match=message):
        training_rows(replace(data(), **missing), PAPER, 0)


def test_training_rows_without_any_label_are_refused(data):
    labels = data().labels.copy()
    labels[data().split.train] = 0
    with pytest.raises(DataError, match="no training row of data set made has a label: choose other labels"):
        training_rows(replace(data(), labels=labels), DEFAULT, 0)
