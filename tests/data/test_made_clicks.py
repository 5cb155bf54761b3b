import numpy as np
import numpy.testing as npt
import pytest

from spdq.data import Dataset, QueryItems
from spdq.data.clicks import read_clicks
from spdq.data.made_clicks import with_made_clicks
from spdq.data.query_items import normalised_query
from spdq.errors import DataError

N = 12


def pairs(found):
    """{query: {item: value}} of queries and items."""
    made = {query: {} for query in found.queries}
    for query, item, value in zip(found.query, found.item, found.value, strict=True):
        made[found.queries[query]][int(item)] = int(value)
    return made


def log(n_queries, seed=0):
    rng = np.random.default_rng(seed)
    return {
        f"q{query:02}": {
            int(item): int(rng.integers(1, 9)) for item in rng.choice(N, rng.integers(1, 5), replace=False)
        }
        for query in range(n_queries)
    }


def same_third(clicked):
    """Items 0, 3, 6, ... are alike, and so on."""
    return np.flatnonzero(np.isin(np.arange(N) % 3, clicked % 3))


def items(n=N):
    return Dataset("made", np.arange(n))


def test_a_tenth_is_held_out_and_the_rest_is_kept_as_it_was():
    clicks = log(30)
    made = with_made_clicks(items(), QueryItems.from_mapping(clicks), same_third, seed=0)
    learned, judged = pairs(made.clicks), pairs(made.grades)
    assert len(judged) == 3
    assert learned == {query: clicks[query] for query in clicks if query not in judged}
    assert set(learned) | set(judged) == set(clicks)
    assert (made.split.kind, made.split.seed, made.split.query.tolist()) == ("clicks", 0, [])
    npt.assert_array_equal(made.split.train, np.arange(N))
    npt.assert_array_equal(made.split.database, np.arange(N))


def test_grades():
    clicks = log(200)
    judged = pairs(with_made_clicks(items(), QueryItems.from_mapping(clicks), same_third, seed=3).grades)
    assert len(judged) == 20
    for query, graded in judged.items():
        thirds = {item % 3 for item in clicks[query]}
        expected = {item: 2 for item in range(N) if item % 3 in thirds} | dict.fromkeys(clicks[query], 3)
        assert graded == expected


def test_without_likes_only_what_was_clicked_is_graded():
    clicks = log(20)
    made = with_made_clicks(
        items(), QueryItems.from_mapping(clicks), lambda clicked: np.empty(0, np.int64), seed=0
    )
    assert pairs(made.grades) == {query: dict.fromkeys(clicks[query], 3) for query in made.grades.queries}


def test_the_seed_draws():
    clicks = QueryItems.from_mapping(log(60))
    drawn = {with_made_clicks(items(), clicks, same_third, seed).grades.queries for seed in (0, 0, 1, 2)}
    assert len(drawn) == 3


def test_one_query_cannot_be_split():
    with pytest.raises(DataError, match="1 query cannot be split into queries to learn from"):
        with_made_clicks(items(), QueryItems.from_mapping(log(1)), same_third, seed=0)


TEXTS = ["Katze", "  red   heart ", "Straße", "ﬁre", "ｶﾀｶﾅ", "İstanbul", "ΌΣΟΣ", "a\u0345", "\u3000x\u00a0y"]


def test_queries_are_normalised_as_in_a_log(tmp_path):
    for text in TEXTS:
        (tmp_path / "log.tsv").write_text(f"query\timage\tclicks\n{text}\t0\t1\n", "utf-8")
        found, _ = read_clicks(tmp_path / "log.tsv", np.arange(2))
        assert found.queries == (normalised_query(text),)
    assert [normalised_query(text) for text in TEXTS[:4]] == ["katze", "red heart", "strasse", "fire"]
