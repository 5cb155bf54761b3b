import os
from itertools import combinations
from math import comb
from pathlib import Path

import numpy as np
import numpy.testing as npt
import pytest
from made_sets import GridExtractor, assert_same, mirflickr

from spdq.data import Dataset
from spdq.data.mirflickr_clicks import _alike, load_mirflickr_clicks
from spdq.errors import DataError, NotFoundError

REAL = Path(os.environ.get("SPDQ_DATA", "absent")) / "mirflickr1k"
needs_real = pytest.mark.skipif(not REAL.is_dir(), reason="MIRFlickr-1k is absent (SPDQ_DATA/mirflickr1k)")


def load(folder, **arguments):
    return load_mirflickr_clicks(folder, GridExtractor(), **arguments)


def pairs(dataset):
    """{query: {id: value}} of clicks and grades."""
    return [
        {
            query: dict(
                zip(
                    dataset.ids[found.item[found.query == number]].tolist(),
                    found.value[found.query == number].tolist(),
                    strict=True,
                )
            )
            for number, query in enumerate(found.queries)
        }
        for found in (dataset.clicks, dataset.grades)
    ]


@pytest.fixture
def tagged(tmp_path):
    """The made set, where "Blue Sky" is a tag that a pair of others is spelt like."""

    def make(**tags):
        photos = mirflickr(tmp_path / "source") / "mirflickr"
        for number, written in tags.items():
            (photos / "meta" / "tags" / f"tags{number[1:]}.txt").write_text(written, "utf-8")
        return tmp_path / "source"

    return make


def test_tags_and_pairs_of_tags_are_queries(tagged):
    source = tagged(t3="blue\nsky\n", t5="cat\nsky\nblue\n", t100="CAT\n")
    seen = {}
    for seed in range(6):
        dataset = load(source, seed=seed)
        learned, judged = pairs(dataset)
        assert len(judged) == 1
        seen |= learned
        assert list(learned) == sorted(learned)
    # "cat blue" has photos 5 and 11, "sky cat" only 5; a tag of another case is another tag.
    assert seen == {
        "sky": {2: 2, 3: 2, 5: 2},
        "cat": {5: 2, 11: 2},
        "blue": {2: 2, 3: 2, 5: 2, 11: 2},
        "sky blue": {2: 1, 3: 1, 5: 1},
        "cat blue": {5: 1, 11: 1},
    }
    assert dataset.name == "mirflickr-clicks"
    assert (dataset.split.kind, dataset.split.query.tolist()) == ("clicks", [])
    assert dataset.split.train.tolist() == dataset.split.database.tolist() == list(range(5))


def test_queries_that_differ_in_case_are_one(tagged):
    source = tagged(t100="SKY\nblue\n")
    (source / "mirflickr" / "doc" / "common_tags.txt").write_text("sky 9\nSKY 8\ncat 7\nblue 6\n")
    seen = {}
    for seed in range(6):
        seen |= pairs(load(source, seed=seed))[0]
    assert seen["sky"] == {2: 2, 3: 2, 100: 2}
    assert seen["sky blue"] == {2: 1, 100: 1}


def test_too_few_queries(tagged):
    source = tagged()
    (source / "mirflickr" / "doc" / "common_tags.txt").write_text("sky 9\nespaña 1\n")
    with pytest.raises(DataError, match="1 tags and pairs of tags are common to 2 photos or more: expected"):
        load(source)


def test_missing_parts(tmp_path):
    with pytest.raises(NotFoundError, match=r"folder not found: .*mirflickr"):
        load(tmp_path)


def alike_by_hand(labels, clicked):
    n, k = len(labels), len(clicked)
    out = []
    for label in range(labels.shape[1]):
        total, have = int(labels[:, label].sum()), int(labels[clicked, label].sum())
        ways = sum(comb(total, hits) * comb(n - total, k - hits) for hits in range(have, k + 1))
        if 2 * have > k and ways * 100 < comb(n, k):
            out.append((-have, total, label))
    meant = [label for *_, label in sorted(out)[:2]]
    return [row for row in range(n) if meant and labels[row, meant].all()]


@pytest.mark.parametrize("seed", range(8))
def test_likes_by_hand(seed):
    rng = np.random.default_rng(seed)
    labels = (rng.random((80, 6)) < rng.uniform(0.03, 0.4, 6)).astype(np.uint8)
    labels[:, 5] = 0
    n_named = 0
    for size in (1, 2, 3, 5, 9, 30, 80):
        # Photos of one label more often than others, so that it can stand out.
        weights = 1 + 12.0 * labels[:, seed % 5]
        clicked = np.sort(rng.choice(80, size, replace=False, p=weights / weights.sum()))
        found = _alike(labels, clicked)
        assert found.dtype == np.int64
        assert found.tolist() == alike_by_hand(labels, clicked)
        n_named += found.size > 0
    assert n_named > 0


def test_a_label_that_all_or_none_have_does_not_stand_out():
    for value in (0, 1):
        assert _alike(np.full((50, 3), value, np.uint8), np.arange(5)).size == 0


@pytest.fixture(scope="module")
def real():
    return load(REAL)


@needs_real
def test_real_counts(real):
    assert (len(real), len(real.clicks.queries), len(real.grades.queries)) == (730, 1717, 191)
    assert np.bincount(real.clicks.query).min() == 2
    assert set(real.clicks.value.tolist()) == {1, 2}
    assert set(real.grades.value.tolist()) == {2, 3}
    assert (real.split.kind, len(real.split.train), len(real.split.database)) == ("clicks", 730, 730)


@needs_real
def test_real_clicks_and_grades(real):
    tags = [
        [word for word, has in zip(real.vocabulary, row, strict=True) if has]
        for row in real.text_features.toarray().astype(bool)
    ]
    asked = [{*has, *map(" ".join, combinations(has, 2))} for has in tags]
    learned, judged = pairs(real)
    for query in [*list(learned)[::40], *list(judged)[::10]]:
        photos = [int(real.ids[row]) for row, queries in enumerate(asked) if query in queries]
        if query in learned:
            assert learned[query] == dict.fromkeys(photos, 1 if " " in query else 2)
            continue
        rows = np.flatnonzero(np.isin(real.ids, photos))
        good = [int(real.ids[row]) for row in alike_by_hand(real.labels.astype(int), rows)]
        assert judged[query] == dict.fromkeys(good, 2) | dict.fromkeys(photos, 3)


@needs_real
def test_real_again(real, tmp_path):
    assert_same(real, load(REAL))
    real.save(tmp_path / "x.h5")
    loaded = Dataset.load(tmp_path / "x.h5")
    assert loaded.grades.queries == real.grades.queries
    npt.assert_array_equal(loaded.grades.value, real.grades.value)
    other = load(REAL, seed=1)
    assert set(other.grades.queries) != set(real.grades.queries)
