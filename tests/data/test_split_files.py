import hashlib
import json
import os

import numpy as np
import numpy.testing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spdq.data import Dataset, QueryItems, Split, make_split, random_query_rows
from spdq.data.click_sets import with_clicks
from spdq.data.split_files import read_split, settle_split, write_split
from spdq.errors import (
    DamagedError,
    DataError,
    IncompatibleError,
    NotFoundError,
    StorageError,
    UsageError,
)


def made(kind="seen", seed=0, n=20, name="made", order=None, text_ids=True):
    """n items with a split of their own; ``order`` puts the same items, and the same split, in another order."""
    ids = np.array([f"item {row}" for row in range(n)]) if text_ids else np.arange(100, 100 + n)
    features = np.random.default_rng(0).random((n, 3), np.float32)
    dataset = Dataset(name, ids, image_features=features)
    split = make_split(n, random_query_rows(n, 4, seed), kind, seed)
    if order is None:
        return dataset.with_split(split)
    place = np.argsort(order)
    rows = {part: np.sort(place[getattr(split, part)]) for part in ("query", "train", "database")}
    return dataset.take(order).with_split(type(split)(**rows, kind=kind, seed=seed))


def ids_of(dataset, part):
    return set(dataset.ids[getattr(dataset.split, part)].tolist())


def assert_same_split(a, b):
    assert (a.split.kind, a.split.seed) == (b.split.kind, b.split.seed)
    for part in ("query", "train", "database"):
        assert ids_of(a, part) == ids_of(b, part)


def rewrite(path, signed=True, **changes):
    """Change entries (None: leave out), with a checksum that fits or the old one."""
    content = {**json.loads(path.read_text()), **changes}
    content = {name: value for name, value in content.items() if value is not None}
    if signed:
        covered = {name: value for name, value in content.items() if name != "sha256"}
        canonical = json.dumps(covered, sort_keys=True, separators=(",", ":"))
        content["sha256"] = hashlib.sha256(canonical.encode()).hexdigest()
    path.write_text(json.dumps(content))
    return path


def test_a_split_without_query_rows(tmp_path):
    every = np.arange(20)
    dataset = made().with_split(Split(every[:0], every, every[3:], "clicks", 5))
    write_split(tmp_path / "s.json", dataset)
    split = read_split(tmp_path / "s.json", made())
    assert (split.kind, split.seed, split.query.size) == ("clicks", 5, 0)
    npt.assert_array_equal(split.database, every[3:])


@pytest.mark.parametrize("text_ids", [True, False])
@pytest.mark.parametrize("kind", ["seen", "unseen", "paired"])
def test_round_trip(tmp_path, kind, text_ids):
    dataset = made(kind, 7, text_ids=text_ids)
    write_split(tmp_path / "s.json", dataset)
    split = read_split(tmp_path / "s.json", dataset.with_split(None))
    assert_same_split(dataset, dataset.with_split(split))
    for part in ("query", "train", "database"):
        npt.assert_array_equal(getattr(split, part), getattr(dataset.split, part))


def test_what_a_file_says(tmp_path):
    dataset = made("unseen", 3, text_ids=False)
    write_split(tmp_path / "s.json", dataset)
    content = json.loads((tmp_path / "s.json").read_text())
    assert list(content) == [
        "format", "version", "dataset", "kind", "seed", "query", "train", "database", "sha256",
    ]  # fmt: skip
    assert (content["format"], content["version"], content["dataset"]) == ("spdq-split", 1, "made")
    assert (content["kind"], content["seed"]) == ("unseen", 3)
    assert content["query"] == dataset.ids[dataset.split.query].tolist()
    assert os.listdir(tmp_path) == ["s.json"]
    first = (tmp_path / "s.json").read_bytes()
    write_split(tmp_path / "s.json", dataset)
    assert (tmp_path / "s.json").read_bytes() == first
    assert rewrite(tmp_path / "s.json").exists()
    read_split(tmp_path / "s.json", dataset)


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(order=st.permutations(range(20)), kind=st.sampled_from(["seen", "unseen", "paired"]))
def test_rows_are_found_by_their_ids(tmp_path, order, kind):
    dataset = made(kind)
    write_split(tmp_path / "s.json", dataset)
    other = dataset.take(np.array(order))
    assert_same_split(dataset, other.with_split(read_split(tmp_path / "s.json", other)))


def test_ids_in_any_script(tmp_path):
    dataset = Dataset(
        "españa", np.array(["東京", 'a"b', "c\\d", "e\nf"]), split=make_split(4, [1], "seen", 0)
    )
    write_split(tmp_path / "s.json", dataset)
    npt.assert_array_equal(read_split(tmp_path / "s.json", dataset).query, [1])


def test_writing_fails(tmp_path):
    with pytest.raises(DataError, match="made has no split to write"):
        write_split(tmp_path / "s.json", made().with_split(None))
    with pytest.raises(NotFoundError, match="folder not found"):
        write_split(tmp_path / "no" / "s.json", made())
    (tmp_path / "folder").mkdir()
    with pytest.raises(StorageError, match="cannot write"):
        write_split(tmp_path / "folder", made())
    assert os.listdir(tmp_path) == ["folder"]


@pytest.fixture
def file(tmp_path):
    write_split(tmp_path / "s.json", made())
    return tmp_path / "s.json"


def test_a_changed_file_is_refused(file):
    swapped = json.loads(file.read_text())["query"][::-1]
    with pytest.raises(DamagedError, match=r"s\.json: checksum mismatch: it was changed by hand or damaged"):
        read_split(rewrite(file, signed=False, query=swapped), made())


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"dataset": "other"}, IncompatibleError, r"s\.json splits data set other, not made"),
        (
            {"version": 2},
            IncompatibleError,
            "split format 2 is from a newer version, this one reads 1: upgrade spdq",
        ),
        ({"version": 0}, DataError, "version must be 1, got 0"),
        ({"version": "1"}, DataError, "version must be 1, got '1'"),
        ({"version": True}, DataError, "version must be 1, got True"),
        ({"format": "spdq-codes"}, DataError, 'not a split file: its entry "format" is not "spdq-split"'),
        ({"format": None}, DataError, "not a split file"),
        ({"seed": None, "train": None}, DataError, r"s\.json: seed, train missing"),
        ({"seed": -1}, DataError, "expected a kind of split and a seed of 0 or more"),
        ({"seed": 1.5}, DataError, "expected a kind of split and a seed of 0 or more"),
        ({"kind": "half"}, DataError, "expected a kind of split and a seed of 0 or more"),
        ({"query": "item 1"}, DataError, "query: expected a list of ids, all integers or all strings"),
        ({"query": ["item 1", 2]}, DataError, "query: expected a list of ids"),
        ({"query": [True]}, DataError, "query: expected a list of ids"),
        ({"query": ["item 99"]}, IncompatibleError, 'query: this data set made has no item "item 99"'),
        ({"query": [1]}, IncompatibleError, 'this data set made has no item "1"'),
        ({"query": []}, DataError, r"s\.json: split query is empty"),
        ({"query": ["item 1", "item 1"]}, DataError, "rows must ascend without duplicates"),
        ({"train": ["item 1"], "query": ["item 1"]}, DataError, "1 rows are both in query and train"),
    ],
)
def test_contents_that_are_no_split_of_the_data_set(file, changes, error, message):
    with pytest.raises(error, match=message):
        read_split(rewrite(file, **changes), made())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"\xff", "not UTF-8 text"),
        (b"[]", "not a split file"),
        (b"{}", "not a split file"),
    ],
)
def test_files_of_something_else(file, content, message):
    file.write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_split(file, made())


def test_no_file(tmp_path):
    with pytest.raises(NotFoundError, match="file not found"):
        read_split(tmp_path / "s.json", made())


def test_settling_without_a_file(tmp_path):
    assert_same_split(settle_split(made, tmp_path / "x.h5"), made("seen", 0))
    settled = settle_split(made, tmp_path / "x.h5", tmp_path / "s.json", "unseen", 5)
    assert_same_split(settled, made("unseen", 5))
    assert os.listdir(tmp_path) == []


def test_a_file_decides(tmp_path):
    stored = made("unseen", 9)
    write_split(tmp_path / "s.json", stored)
    calls = []

    def make(kind, seed):
        calls.append((kind, seed))
        return made("seen", 1).with_split(None)

    for asked in ({}, {"kind": "unseen"}, {"seed": 9}):
        assert_same_split(settle_split(make, tmp_path / "x.h5", tmp_path / "s.json", **asked), stored)
    assert calls == [("unseen", 9)] * 3


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (
            {"kind": "seen"},
            r"s\.json holds a split of kind unseen, but seen is asked for: leave that out, or name",
        ),
        ({"kind": "unseen", "seed": 0}, "holds a split of seed 9, but 0 is asked for"),
    ],
)
def test_a_file_and_another_wish(tmp_path, asked, message):
    write_split(tmp_path / "s.json", made("unseen", 9))
    with pytest.raises(UsageError, match=message):
        settle_split(made, tmp_path / "x.h5", tmp_path / "s.json", **asked)


def test_a_file_and_options_that_fix_the_rows(tmp_path):
    write_split(tmp_path / "s.json", made("seen", 2))
    options = {"fixed_by": ["--query-all", "--development"]}
    settled = settle_split(made, tmp_path / "x.h5", tmp_path / "s.json", **options)
    assert_same_split(settled, made("seen", 2))

    def make(kind, seed):
        return made(kind, seed + 1)

    with pytest.raises(UsageError, match=r"s\.json has other rows than --query-all and --development gives"):
        settle_split(make, tmp_path / "x.h5", tmp_path / "s.json", **options)
    with pytest.raises(UsageError, match="has other rows than --query-all and --development gives"):
        settle_split(
            lambda kind, seed: made().with_split(None), tmp_path / "x.h5", tmp_path / "s.json", **options
        )


def test_a_file_of_another_data_set(tmp_path):
    write_split(tmp_path / "s.json", made())
    with pytest.raises(IncompatibleError, match="splits data set made, not other"):
        settle_split(
            lambda kind, seed: made(kind, seed, name="other"), tmp_path / "x.h5", tmp_path / "s.json"
        )


def test_silent_splitting_anew_is_refused(tmp_path):
    out = tmp_path / "x.h5"
    made("seen", 0).save(out)
    message = r"x\.h5 holds the same items with another split \(kind seen, seed 0\): ask for that one, give its file"
    for kind, seed in (("seen", 1), ("unseen", 0)):
        with pytest.raises(UsageError, match=message):
            settle_split(made, out, kind=kind, seed=seed)
        assert_same_split(settle_split(made, out, kind=kind, seed=seed, resplit=True), made(kind, seed))
    with pytest.raises(UsageError, match=r"give its file \(--split-file\), or allow another \(--resplit\)"):
        settle_split(lambda kind, seed: made().with_split(None), out)
    write_split(tmp_path / "s.json", made("seen", 1))
    with pytest.raises(UsageError, match=message):
        settle_split(made, out, tmp_path / "s.json")


def test_holding_out_other_queries_is_another_split(tmp_path):
    clicks = QueryItems.from_mapping({f"query {row}": {row: 1} for row in range(20)})

    def clicked(kind, seed):
        return with_clicks(made(), clicks, 0.2, seed)

    out = tmp_path / "x.h5"
    clicked("clicks", 0).save(out)
    settle_split(clicked, out, kind="clicks", seed=0)
    message = r"holds the same items with another split \(kind clicks, seed 0\)"
    with pytest.raises(UsageError, match=message):
        settle_split(clicked, out, kind="clicks", seed=1)
    with pytest.raises(UsageError, match=message):
        settle_split(made, out)
    made().save(out)
    with pytest.raises(UsageError, match=r"another split \(kind seen, seed 0\)"):
        settle_split(clicked, out, kind="clicks")


def test_the_same_split_may_be_written_again(tmp_path):
    out = tmp_path / "x.h5"
    made("unseen", 4).save(out)
    settle_split(made, out, kind="unseen", seed=4)
    order = np.random.default_rng(0).permutation(20)
    settle_split(lambda kind, seed: made(kind, seed, order=order), out, kind="unseen", seed=4)


def test_other_items_and_other_files_may_be_replaced(tmp_path):
    out = tmp_path / "x.h5"
    made("seen", 0, n=21).save(out)
    settle_split(made, out, seed=1)
    made().with_split(None).save(out)
    settle_split(made, out, seed=1)
    out.write_bytes(b"no data set")
    settle_split(made, out, seed=1)
