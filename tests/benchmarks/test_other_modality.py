from __future__ import annotations

import numpy as np
import numpy.testing as npt
import pytest
from scipy.sparse import csr_matrix

from spdq.data import Dataset
from spdq.errors import DataError
from spdq_benchmarks.other_modality import (
    LEARNED,
    Pairs,
    Row,
    judge_learning,
    made_pairs,
    pairs_of,
    split_queries,
    table,
)


def test_made_pairs_are_two_modalities_of_one_space():
    made = made_pairs(400, 100, 0)
    assert (made.images.shape, made.texts.shape) == ((400, 128), (100, 128))
    npt.assert_allclose(np.linalg.norm(made.images, axis=1), 1, atol=1e-5)
    assert len(np.unique(made.own)) == 100
    scores = made.texts @ made.images.T
    ranks = (scores > scores[np.arange(100), made.own][:, None]).sum(axis=1)
    assert np.median(ranks) < 40
    # The modalities lie apart: nearest to an image are images.
    assert (made.images[:50] @ made.images.T).mean() > 0.2 + (made.images[:50] @ made.texts.T).mean()
    again = made_pairs(400, 100, 0)
    npt.assert_array_equal(made.images, again.images)
    assert not np.array_equal(made.images, made_pairs(400, 100, 1).images)


def test_no_item_is_both_learned_for_and_judged_by():
    items = np.eye(16, dtype=np.float32)[np.arange(60) % 16]
    pairs = Pairs("p", items, np.arange(90 * 16, dtype=np.float32).reshape(90, 16), np.arange(90) % 60)
    parts = [split_queries(pairs, develop) for develop in (True, False)]
    learned, developed, tested = (
        {tuple(text) for text in part} for part in (parts[0].learned, parts[0].texts, parts[1].texts)
    )
    assert len(learned) + len(developed) + len(tested) == 90
    assert len(learned | developed | tested) == 90
    assert not set(parts[0].own) & set(parts[1].own)
    npt.assert_array_equal(parts[0].learned, parts[1].learned)
    npt.assert_array_equal(split_queries(pairs, False, 7).learned, parts[1].learned[:7])


def test_rows_for_each_way_to_learn():
    pairs = made_pairs(300, 120, 0)
    said: list[str] = []
    rows = list(judge_learning(pairs, split_queries(pairs, False), ["opq", "aq"], [16], 0, said.append))
    assert [(row.codes, row.bits, row.learned) for row in rows] == [
        ("vectors", 4096, ""),
        *(("opq", 16, learned) for learned in LEARNED),
        *(("aq", 16, learned) for learned in LEARNED),
    ]
    assert rows[0].texts_kept_at == (1, 1)
    for row in rows[1:]:
        for kept in (row.texts_kept_at, row.images_kept_at):
            assert 0 < kept[0] <= kept[1] <= 1
        assert 0 <= row.own_found <= 1
    assert len(said) == 8


def test_a_table_of_means():
    rows = [
        Row("p", "opq", 64, "images", seed, (0.5 + seed / 10, 1.0), (0.25, 0.75), 0.125) for seed in (0, 1)
    ]
    assert table(rows[:1]).splitlines()[2:] == [
        "| opq | 64 | images | .500 | 1.000 | .125 | .250 | .750 |",
        "",
        "One seed.",
    ]
    assert table(rows).splitlines()[2:] == [
        "| opq | 64 | images | .550 | 1.000 | .125 | .250 | .750 |",
        "",
        "Means of 2 seeds, which differ by at most 0.100.",
    ]


def test_features_of_one_space_are_vectors():
    images, texts = np.random.default_rng(0).normal(size=(2, 40, 5)).astype(np.float32)
    texts[3] = 0
    dataset = Dataset(name="d", ids=np.arange(40), image_features=images, text_features=texts)
    pairs = pairs_of(dataset, None)
    assert pairs.images.shape == (40, 16)
    npt.assert_array_equal(pairs.images[:, :5], images)
    npt.assert_array_equal(pairs.own, np.delete(np.arange(40), 3))


@pytest.mark.parametrize(
    ("parts", "match"),
    [
        ({"text_features": np.ones((40, 5), np.float32)}, "d has no /image/features"),
        (
            {"image_features": np.ones((40, 5), np.float32)},
            "no texts in the space of its images: name a model",
        ),
        (
            {"image_features": np.ones((40, 5), np.float32), "text_features": np.ones((40, 4), np.float32)},
            "no texts in the space",
        ),
        (
            {
                "image_features": np.ones((40, 5), np.float32),
                "text_features": csr_matrix(np.ones((40, 5), np.float32)),
            },
            "no texts in the space",
        ),
        (
            {"image_features": np.ones((40, 5), np.float32), "text_features": np.zeros((40, 5), np.float32)},
            "expected 20 texts that are not empty",
        ),
    ],
)
def test_data_sets_without_both_modalities(parts, match):
    with pytest.raises(DataError, match=match):
        pairs_of(Dataset(name="d", ids=np.arange(40), **parts), None)
