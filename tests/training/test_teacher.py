from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from spdq.training import teacher
from spdq.training.recipes import RECIPES
from spdq.training.rows import training_rows
from spdq.training.teacher import Lessons, make_lessons, mix, taught


@pytest.fixture(autouse=True)
def few_mixes(monkeypatch):
    monkeypatch.setattr(teacher, "MIXES", 300)
    monkeypatch.setattr(teacher, "TAUGHT_AT_ONCE", 128)


def rows_of(data, text="features"):
    return training_rows(data(text), RECIPES["default"], 0)


def test_a_mix_is_a_convex_combination():
    rows = torch.tensor([[1.0, 0.0], [0.0, 2.0], [4.0, 4.0]])
    found = mix(
        rows, torch.tensor([[0, 1, 2], [2, 2, 0]]), torch.tensor([[0.5, 0.25, 0.25], [0.5, 0.25, 0.25]])
    )
    assert found.tolist() == [[1.5, 1.5], [3.25, 3.0]]


def test_taught_posteriors_are_probabilities_and_exclusive_ones_sum_to_one():
    predicted = np.array([[0.0, 0.0, 1.0, 0.4], [0.5, 1.0, 0.0, 0.0]], np.float32)
    found = taught(predicted, [(0, 3, True), (3, 4, False)])
    assert found[:, :3].sum(axis=1) == pytest.approx([1, 1])
    assert found[:, 3] == pytest.approx([0.4, 1e-4])
    assert found[1, :3] == pytest.approx([1 / 3, 2 / 3, 0], abs=1e-3)
    assert (found > 0).all()
    assert (found < 1).all()


@pytest.mark.parametrize("text", ["features", "raw"])
def test_lessons_are_the_teachers_word_on_mixes_of_training_rows(data, text):
    rows = rows_of(data, text)
    lessons = make_lessons(rows, 0)
    n = len(rows.train)
    assert lessons["image"].rows.shape == (n, rows.image.shape[1])
    # Where texts have several lines, names are taught as well as whole texts.
    assert len(lessons["text"].rows) == (2 * n if rows.has_lines else n)
    for modality, lesson in lessons.items():
        labels = rows.labels[rows.train].numpy()
        if modality == "text" and rows.has_lines:
            labels = np.concatenate([labels, labels])
        regression = teacher.fit_kernel_ridge(lesson.rows.numpy(), labels.astype(np.float64), 0)
        mixes = mix(lesson.rows, lesson.parents, lesson.shares).numpy()
        expected = taught(regression(mixes), rows.label_sets)
        assert lesson.posteriors.numpy() == pytest.approx(expected, abs=1e-6)
        assert lesson.shares.sum(dim=1).numpy() == pytest.approx(np.ones(300), abs=1e-5)


def test_noise_is_a_share_of_the_spread():
    lesson = Lessons(
        rows=torch.zeros(4, 3),
        spread=torch.tensor([0.0, 1.0, 10.0]),
        parents=torch.zeros(2, 3, dtype=torch.int64),
        shares=torch.full((2, 3), 1 / 3),
        posteriors=torch.tensor([[0.1], [0.9]]),
    )
    inputs, posteriors = lesson.draw(20_000, 0.3, np.random.default_rng(0))
    assert inputs.std(dim=0).numpy() == pytest.approx([0, 0.3, 3], rel=0.03)
    assert set(posteriors.ravel().tolist()) == {np.float32(0.1), np.float32(0.9)}
    still, _ = lesson.draw(5, 0.0, np.random.default_rng(0))
    assert not still.any()


def test_the_same_seed_gives_the_same_lessons(data):
    rows = rows_of(data)
    first, second, other = (make_lessons(rows, seed)["text"] for seed in (0, 0, 1))
    assert torch.equal(first.posteriors, second.posteriors)
    assert not torch.equal(first.parents, other.parents)


def test_a_row_without_labels_is_taught_too(data):
    made = data()
    labels = made.labels.copy()
    labels[made.split.train[:3]] = 0
    rows = training_rows(replace(made, labels=labels), RECIPES["default"], 0)
    for lesson in make_lessons(rows, 0).values():
        assert torch.isfinite(lesson.posteriors).all()
