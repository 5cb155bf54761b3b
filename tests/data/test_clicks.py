import dataclasses
import json
import unicodedata
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_clicks import ENDINGS, write_log
from made_sets import assert_same_queries

from spdq.data import QueryItems, click_rows, clicks
from spdq.data.clicks import ClickFindings, read_clicks
from spdq.errors import DataError, NotFoundError, UsageError

IDS = np.array(["1.jpg", "2.jpg", "b/3.jpg"])


def plain(query):
    """What a query becomes, by itself."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", query).casefold())
    return " ".join(folded.split())


def slow_read(rows, ids, min_clicks=1):
    """The plain twin of ``read_clicks`` with ``skip_unknown``."""
    names = [str(key) for key in ids.tolist()]
    seen = [(plain(query), names.index(str(image)), n) for query, image, n in rows if str(image) in names]
    sums = Counter()
    for query, item, n in seen:
        if n:
            sums[query, item] += n
    pairs = sorted(pair for pair, n in sums.items() if n >= min_clicks)
    queries = tuple(sorted({query for query, _ in pairs}))
    columns = [
        [queries.index(query) for query, _ in pairs],
        [item for _, item in pairs],
        [sums[p] for p in pairs],
    ]
    unclicked = sum(n == 0 for _, _, n in seen)
    found = ClickFindings(
        rows=len(rows),
        unclicked=unclicked,
        unknown=len(rows) - len(seen),
        repeated=len(seen) - unclicked - len(sums),
        rare=len(sums) - len(pairs),
    )
    return (queries, *(np.array(one, np.int64) for one in columns)), found


WORDS = st.sampled_from(
    ["cat", "Cat", "ＣＡＴ", "ﬁsh", "FISH", "Straße", "STRASSE", "é", "e\u0301", "´", "ΐ", "猫"]
)
QUERY = st.lists(WORDS, min_size=1, max_size=2).map(lambda words: "\u3000 ".join(words))
LOG = st.lists(
    st.tuples(QUERY, st.sampled_from([*IDS.tolist(), "none.jpg"]), st.integers(0, 4)), min_size=1, max_size=20
)


@given(LOG, st.integers(1, 3), st.integers(1, 9))
@settings(max_examples=60, deadline=None)
def test_equals_its_plain_twin(tmp_path_factory, rows, min_clicks, block):
    path = write_log(tmp_path_factory.mktemp("log") / "x.tsv", rows)
    columns, found = slow_read(rows, IDS, min_clicks)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(click_rows, "BLOCK_BYTES", 50 * block)
        patch.setattr(clicks, "MERGE_ROWS", block)
        if not columns[0]:
            with pytest.raises(DataError, match="no click is left"):
                read_clicks(path, IDS, min_clicks=min_clicks, skip_unknown=True)
            return
        read, findings = read_clicks(path, IDS, min_clicks=min_clicks, skip_unknown=True)
    assert findings == found
    assert_same_queries(read, QueryItems(*columns))


@given(
    st.lists(
        st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0")), min_size=1, max_size=5
    )
)
@settings(max_examples=60, deadline=None)
def test_queries_are_normalised_as_each_would_be_alone(tmp_path_factory, queries):
    path = write_log(tmp_path_factory.mktemp("log") / "x.jsonl", [(query, "1.jpg", 1) for query in queries])
    expected = {plain(query) for query in queries}
    if "" in expected:
        line = [plain(query) for query in queries].index("") + 1
        with pytest.raises(DataError, match=f"line {line}: query: expected text, got an empty one"):
            read_clicks(path, IDS)
        return
    read, _ = read_clicks(path, IDS)
    assert read.queries == tuple(sorted(expected))
    again = write_log(path.with_name("again.jsonl"), [(query, "1.jpg", 1) for query in read.queries])
    assert read_clicks(again, IDS)[0].queries == read.queries


def test_every_character_is_normalised_once_and_for_all():
    for code in range(1, 0x110000):
        if not 0xD800 <= code < 0xE000 and (once := plain(f"a{chr(code)}a")) != plain(once):
            pytest.fail(f"U+{code:04X} gives {once!r}, and that {plain(once)!r}")


@pytest.mark.parametrize("ending", ENDINGS)
def test_every_form(tmp_path, ending):
    if ending == ".parquet":
        pytest.importorskip("pyarrow", reason="pyarrow is absent (extra parquet)")
    rows = [("Big  CAT", "1.jpg", 3), ("dog", "2.jpg", 1), ("big cat", "1.jpg", 2), ("dog", "1.jpg", 0)]
    read, found = read_clicks(str(write_log(tmp_path / f"log{ending}", rows)), IDS)
    assert_same_queries(read, QueryItems.from_mapping({"big cat": {0: 5}, "dog": {1: 1}}))
    assert found == ClickFindings(rows=4, unclicked=1, unknown=0, repeated=1, rare=0)
    assert json.loads(json.dumps(found.describe())) == dataclasses.asdict(found)


def test_integer_ids(tmp_path):
    ids = np.array([7, -3, 40])
    for ending in (".tsv", ".jsonl"):
        read, _ = read_clicks(write_log(tmp_path / f"x{ending}", [("cat", 40, 3), ("cat", -3, 1)]), ids)
        assert_same_queries(read, QueryItems.from_mapping({"cat": {1: 1, 2: 3}}))


def test_the_order_of_the_rows_changes_nothing(tmp_path):
    rows = [(f"query {n % 5}", IDS[n % 3], n) for n in range(1, 30)]
    first, _ = read_clicks(write_log(tmp_path / "a.tsv", rows), IDS)
    second, _ = read_clicks(write_log(tmp_path / "b.tsv", rows[::-1]), IDS)
    assert_same_queries(first, second)


def test_unknown_images_are_counted(tmp_path):
    rows = [
        ("cat", "1.jpg", 3),
        ("cat", "./1.jpg", 3),
        ("dog", "4.jpg", 0),
        ("dog", "2.jpg", 1),
        ("a", "x\x1b", 1),
    ]
    path = write_log(tmp_path / "x.tsv", rows)
    message = (
        r"x\.tsv line 3: unknown image '\./1\.jpg'; 3 of 5 rows name images that are no ids of the items, such as "
        r"1\.jpg: correct them, or leave these rows out \(--skip-unknown\)"
    )
    with pytest.raises(DataError, match=message):
        read_clicks(path, IDS)
    read, found = read_clicks(path, IDS, skip_unknown=True)
    assert (found.unknown, found.unclicked, len(read)) == (3, 0, 2)
    with pytest.raises(DataError, match=r"line 6: unknown image 'x\\x1b'; 1 of 1 rows"):
        read_clicks(only(path, rows[-1]), IDS)


def only(path, row):
    """A log in which the row stands in line 6."""
    path.write_text("query\timage\tclicks\n\n\n\n\n" + "\t".join(map(str, row)))
    return path


def test_bad_queries(tmp_path):
    with pytest.raises(DataError, match=r"x\.tsv line 6: query: expected text, got an empty one"):
        read_clicks(only(tmp_path / "x.tsv", ("\u3000 ", "1.jpg", 1)), IDS)
    with pytest.raises(DataError, match=r"line 6: query: a NUL character or a lone surrogate in 'a\\x00'"):
        read_clicks(only(tmp_path / "x.tsv", ("a\0", "1.jpg", 1)), IDS)
    path = write_log(tmp_path / "x.jsonl", [("cat", "1.jpg", 1), ("\udc00", "1.jpg", 1)])
    with pytest.raises(DataError, match=r"line 2: query: a NUL character or a lone surrogate in '\\udc00'"):
        read_clicks(path, IDS)
    path = write_log(tmp_path / "x.jsonl", [("cat", "\udc00", 1)])
    with pytest.raises(DataError, match=r"line 1: unknown image '\\udc00'"):
        read_clicks(path, IDS)


def test_too_many_clicks_in_sum(tmp_path):
    rows = [("dog", "2.jpg", 1), ("Cat", "b/3.jpg", 10**9), ("cat", "b/3.jpg", 1)]
    assert read_clicks(write_log(tmp_path / "x.tsv", rows[:2]), IDS)[0].value.max() == 10**9
    message = r'query "cat", image b/3\.jpg: expected at most 1,000,000,000 clicks in sum, got 1,000,000,001'
    with pytest.raises(DataError, match=message):
        read_clicks(write_log(tmp_path / "x.tsv", rows), IDS)


def test_nothing_left(tmp_path):
    rows = [("cat", "1.jpg", 2), ("cat", "2.jpg", 0), ("dog", "x.jpg", 9)]
    message = (
        r"x\.tsv: no click is left of 3 rows: 1 have 0 clicks, 1 name unknown images, 1 pairs of query and image "
        "have fewer than 3 clicks"
    )
    with pytest.raises(DataError, match=message):
        read_clicks(write_log(tmp_path / "x.tsv", rows), IDS, min_clicks=3, skip_unknown=True)
    with pytest.raises(DataError, match="no click is left of 0 rows"):
        read_clicks(write_log(tmp_path / "x.tsv", []), IDS)
    (tmp_path / "x.jsonl").write_text("")
    with pytest.raises(DataError, match="no click is left of 0 rows"):
        read_clicks(tmp_path / "x.jsonl", IDS)


def test_wrong_arguments(tmp_path):
    with pytest.raises(UsageError, match="min_clicks: expected 1 or more, got 0"):
        read_clicks(tmp_path / "x.tsv", IDS, min_clicks=0)
    with pytest.raises(NotFoundError, match="file not found"):
        read_clicks(tmp_path / "x.tsv", IDS)
