from __future__ import annotations

import random
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles_index import (
    ATTRIBUTES,
    add_made_up,
    integer_codebooks,
    made_up_codes,
    made_up_items,
    select,
)

from spdq.errors import UsageError
from spdq.index import Index
from spdq.index.attribute_table import MAX_EXPRESSION


def is_true(value):
    """As SQL has it: neither false nor unknown."""
    return value is not None and bool(value)


CONDITIONS = {
    "label = 'l1'": lambda one: one["label"] == "l1",
    "label <> 'l1'": lambda one: one["label"] != "l1",
    "LABEL in ('l0', 'l2', '')": lambda one: one["label"] in ("l0", "l2"),
    "label = 'L1' collate nocase": lambda one: one["label"] == "l1",
    "label like '%1'": lambda one: one["label"] == "l1",
    "label GLOB 'l[01]'": lambda one: one["label"] in ("l0", "l1"),
    "items.label = 'l0' or main.items.label = 'l1'": lambda one: one["label"] in ("l0", "l1"),
    "[label] = 'l0' or `label` = 'l1' or \"label\" = 'l1'": lambda one: one["label"] in ("l0", "l1"),
    "upper(substr(label, 1, 1)) || substr(label, 2) = 'L2'": lambda one: one["label"] == "l2",
    "year >= 2003": lambda one: is_true(one["year"] and one["year"] >= 2003),
    "not year >= 2003": lambda one: is_true(one["year"] and one["year"] < 2003),
    "year <> 2003": lambda one: is_true(one["year"] and one["year"] != 2003),
    "year = null": lambda one: False,
    "year <> null": lambda one: False,
    "year is null": lambda one: one["year"] is None,
    "year isnull or year notnull": lambda one: True,
    "year is not 2003": lambda one: one["year"] != 2003,
    "year": lambda one: is_true(one["year"]),
    "null": lambda one: False,
    "not null": lambda one: False,
    "0": lambda one: False,
    "'abc'": lambda one: False,
    "1e999": lambda one: True,
    "year = 99999999999999999999": lambda one: False,
    "year / 0 is null": lambda one: True,
    "year + 9223372036854775807 > 9e18": lambda one: is_true(one["year"]),
    "year between 2001 and 2003": lambda one: is_true(one["year"] and 2001 <= one["year"] <= 2003),
    "coalesce(year, 2003) = 2003": lambda one: one["year"] in (None, 2003),
    "case when year is null then 1 else score > 5 end": lambda one: one["year"] is None or one["score"] > 5,
    "score < 2.5": lambda one: one["score"] < 2.5,
    "score = 1 and typeof(score) = 'real'": lambda one: one["score"] == 1,
    "abs(-score) >= 3 and max(score, 4) = 4": lambda one: 3 <= one["score"] <= 4,
    "has(tags, 'even')": lambda one: "even" in one["tags"],
    "not has(tags, 'even')": lambda one: "even" not in one["tags"],
    "has(tags, 'three') and has(tags, 'odd')": lambda one: {"three", "odd"} <= set(one["tags"]),
    "HAS(tags, 'thre') or has(tags, 'three ') or has(tags, '')": lambda one: False,
    "has(tags, 'odd\x1fthree') or has(tags, '\x1f')": lambda one: False,
    "has(tags, null) is null": lambda one: True,
    "has(null, 'odd') is null": lambda one: True,
    "has(tags, 5) or has(tags, x'6f6464') or has(score, 'odd')": lambda one: False,
    "1) and (1": lambda one: True,
    "year = 2003 -- or 1": lambda one: one["year"] == 2003,
    "year = /* 2004 */ 2003": lambda one: one["year"] == 2003,
    "\nyear\t=\n2003\n--": lambda one: one["year"] == 2003,
    "label = 'l1''' or label = ')' or label = '--'": lambda one: False,
    "round(score, 99999999999) >= 0": lambda one: True,
    "substr(label, -9223372036854775808, 9223372036854775807) is not null": lambda one: True,
    "instr(label, x'80') = 0": lambda one: True,
    "+".join(["year"] * 900) + " is null": lambda one: one["year"] is None,
    "label in (" + ", ".join(f"'x{number}'" for number in range(900)) + ", 'l0')": lambda one: (
        one["label"] == "l0"
    ),
}


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """The same items in memory and on disk, in one part and in several."""
    path = tmp_path_factory.mktemp("conditions") / "i"
    with Index.create(path, integer_codebooks(), attributes=ATTRIBUTES) as index:
        add_made_up(index, 60, 4)
    memory = [add_made_up(Index(integer_codebooks(), attributes=ATTRIBUTES), 60, parts) for parts in (1, 5)]
    return (*memory, Index.open(path))


@pytest.mark.parametrize("condition", CONDITIONS, ids=lambda text: repr(text[:60]))
def test_conditions(many, condition):
    wanted = [item for item, one in enumerate(made_up_items(range(60))) if CONDITIONS[condition](one)]
    for index in many:
        assert select(index, condition) == wanted
        assert index.select(condition).tolist() == wanted


NAMES = st.sampled_from(["year", "score"])
COMPARISONS = st.tuples(NAMES, st.sampled_from(["<", "<=", "=", "<>", ">", ">="]), st.integers(-1, 12))
TREES = st.recursive(
    COMPARISONS,
    lambda inner: st.tuples(st.sampled_from(["and", "or"]), inner, inner) | st.tuples(st.just("not"), inner),
)


def in_sql(tree):
    if tree[0] in ("year", "score"):
        return f"{tree[0]} {tree[1]} {tree[2] + 1995 if tree[0] == 'year' else tree[2]}"
    return (
        f"not ({in_sql(tree[1])})"
        if tree[0] == "not"
        else f"({in_sql(tree[1])}) {tree[0]} ({in_sql(tree[2])})"
    )


def in_python(tree, one):
    """True, False or None, by the logic of three values."""
    if tree[0] == "not":
        inner = in_python(tree[1], one)
        return None if inner is None else not inner
    if tree[0] in ("and", "or"):
        sides = {in_python(tree[1], one), in_python(tree[2], one)}
        decisive = tree[0] == "or"
        return decisive if decisive in sides else None if None in sides else not decisive
    value, limit = one[tree[0]], tree[2] + 1995 if tree[0] == "year" else tree[2]
    if value is None:
        return None
    below, same = value < limit, value == limit
    signs = {"<": below, "<=": below or same, "=": same, "<>": not same, ">": not below and not same}
    return signs.get(tree[1], not below)


@settings(max_examples=60, deadline=None)
@given(TREES)
def test_conditions_with_unknown_values(many, tree):
    wanted = [item for item, one in enumerate(made_up_items(range(60))) if in_python(tree, one)]
    for index in many:
        assert index.select(in_sql(tree)).tolist() == wanted


REFUSED = {
    "1) UNION SELECT 99 FROM items WHERE (1": "one condition, without SELECT",
    "1) UNION ALL SELECT name FROM sqlite_schema WHERE (1": "one condition, without SELECT|no such table",
    "(SELECT 1)": "one condition, without SELECT",
    "exists (SELECT label FROM items)": "one condition, without SELECT",
    "label IN (SELECT label FROM items)": "one condition, without SELECT",
    "label IN (VALUES ('l1'))": "one condition, without SELECT",
    "(WITH c(x) AS (VALUES (1) UNION ALL SELECT x + 1 FROM c) SELECT x FROM c)": "only conditions|without SELECT",
    "label IN items": "no such column: row|sub-select",
    "label IN sqlite_schema": "no such table: sqlite_|sub-select",
    "label IN json_each('[1]')": "only conditions are allowed",
    "label IN pragma_table_info('items')": "only conditions are allowed|no such table",
    "sqlite_schema.name = 'items'": "no such column",
    "1); DROP TABLE items; --": "one statement at a time",
    "1); ATTACH DATABASE '/tmp/x' AS y; --": "one statement at a time",
    "1; DELETE FROM items": "syntax error",
    "ATTACH DATABASE '/tmp/x' AS y": "syntax error",
    "PRAGMA writable_schema = ON": "syntax error",
    "load_extension('x')": "function load_extension is not among abs, coalesce, .*, upper",
    "zeroblob(1000000000)": "function zeroblob is not among",
    "randomblob(1000000000) > 1": "function randomblob is not among",
    "replace(label, 'l', 'll') = 1": "function replace is not among",
    "printf('%1000000000d', 1) = 1": "function printf is not among",
    "random() > 0": "function random is not among",
    "current_timestamp > 0": "function current_timestamp is not among",
    "sqlite_version() = 1": "function sqlite_version is not among",
    "label -> '$' = 1": "function -> is not among",
    "label MATCH 'x'": "function match is not among|MATCH",
    "label REGEXP 'x'": "no such function: REGEXP",
    "unknown(1)": "no such function: unknown",
    "count(*) > 0": "function count is not among",
    "max(year) > 0": "misuse of aggregate",
    "max(year, 1) OVER () > 0": "may not be used as a window function|misuse",
    "has(tags)": r"wrong number of arguments to function has\(\)",
    "has(tags, 'a', 'b')": "wrong number of arguments",
    "lable = 'l1'": r"no such column: lable\)\. The attributes are label \(str\), year \(int\), score \(float\), tags",
    "items.lable = 'l1'": "no such column",
    "other.label = 'l1'": "no such column",
    "row = 1": "no such column: row",
    "rowid = 1": "no such column: row",
    "_ROWID_ = 1 and oid = 1": "no such column: row",
    "items.row < 3": "no such column: row",
    "label = ?": "bindings",
    "label = :name": "bindings",
    "label = @name or label = $name or label = ?3": "bindings",
    "label = 'l1": "unrecognized token",
    "label = 'l1')": "syntax error",
    "(label = 'l1'": "incomplete input|syntax error",
    "label = 'l1' /* ": "incomplete input",
    "1) LIMIT (1": "syntax error",
    "1)) LIMIT ((1": "syntax error",
    "1))) LIMIT (((1": "syntax error",
    "1) ORDER BY (label": "syntax error",
    "1) GROUP BY (label": "syntax error",
    "1) GROUP BY label HAVING (1": "syntax error",
    "1) WINDOW w AS (ORDER BY row": "syntax error",
    "1) LIMIT 1 /*": "syntax error",
    "1)) LIMIT 1 /*": "syntax error",
    "1); /*": "syntax error",
    "1) --": "syntax error|incomplete input",
    ")": "syntax error",
    "": "expected a condition such as",
    " \n\t": "expected a condition such as",
    "label = 'a\0b'": r"expected a condition such as \"label = 'cat'\", got",
    "label = '\ud800'": r"expected a condition such as \"label = 'cat'\", got",
    "label label": "syntax error",
    "label = 'l1' collate nowhere": "no such collation sequence: nowhere",
    "abs(-9223372036854775808)": "integer overflow",
    "raise(ignore)": r"RAISE\(\) may only be used within a trigger",
    "+".join("1" * 3000): "Expression tree is too large",
    "not " * 2000 + "1": "parser stack overflow|too large|too deep",
    "label = '"
    + "x" * MAX_EXPRESSION
    + "'": f"at most {MAX_EXPRESSION} characters, got {MAX_EXPRESSION + 10}",
}


@pytest.mark.parametrize("condition", REFUSED, ids=lambda text: ascii(text[:60]))
def test_conditions_that_are_refused(many, condition):
    for index in (*many, Index(integer_codebooks(), attributes=ATTRIBUTES)):
        for use in (
            lambda index=index: index.filter(where=condition),
            lambda index=index: index.search(np.zeros(6), filter=condition),
            lambda index=index: index.range_search(np.zeros((2, 6)), 9, filter=[None, condition]),
            lambda index=index: index.select(condition),
        ):
            with pytest.raises(UsageError, match=REFUSED[condition]) as caught:
                use()
            message = str(caught.value)
            assert len(message) < 700
            assert len(message.splitlines()) == 1
        assert len(index) in (0, 60)
        index.verify()


@pytest.mark.parametrize("where", [5, b"label = 'l1'", ["label"], 1.5, True])
def test_conditions_that_are_no_text(many, where):
    with pytest.raises(UsageError, match="expected a condition such as"):
        many[0].filter(where=where)


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("abs(year - year - 9223372036854775807 - 1)", "integer overflow"),
        ("label like 'x' escape 'ab'", "ESCAPE expression must be a single character"),
        ("has(tags, cast(x'80' as text))", "user-defined function raised exception"),
    ],
)
def test_conditions_that_fail_on_a_value(many, condition, message):
    for index in many:
        with pytest.raises(UsageError, match=f"not a condition: .*{message}.* The attributes are label"):
            index.search(np.zeros(6), filter=condition)
        assert select(index, "label = 'l0'") == list(range(0, 60, 3))
    assert Index(integer_codebooks(), attributes=ATTRIBUTES).select(condition).tolist() == []


def test_brackets_as_deep_as_may_be(many):
    """Some versions of SQLite refuse them, others do not."""
    try:
        found = many[1].select("(" * 4000 + "1" + ")" * 4000).tolist()
    except UsageError as error:
        found = list(range(60)) if "parser stack overflow" in str(error) else str(error)
    assert found == list(range(60))


def test_a_condition_as_long_as_may_be(many):
    condition = "label = 'l1' or label = ''".ljust(MAX_EXPRESSION)
    assert select(many[1], condition) == list(range(1, 60, 3))
    filter = many[1].filter(where=condition)
    assert many[1].select(filter).tolist() == list(range(1, 60, 3))


def test_sets_and_texts_with_quotes_and_marks():
    tags = ["a", "aa", "a'b", '"', "%", "_", "(", "--", "é", " ", "0", "\n"]
    index = Index(integer_codebooks(), attributes=ATTRIBUTES)
    index.add_codes(made_up_codes(range(len(tags))), None, {"tags": [{tag} for tag in tags], "label": tags})
    index.add_codes(made_up_codes([50, 51, 52]), None, {"tags": [[], None, tags]})
    assert index.ids.tolist()[-3:] == [12, 13, 14]
    for item, tag in enumerate(tags):
        quoted = tag.replace("'", "''")
        assert select(index, f"has(tags, '{quoted}')") == [item, 14]
        assert select(index, f"label = '{quoted}'") == [item]
    assert select(index, "has(tags, 'e\u0301')") == []  # The same letter, written in another way.
    assert select(index, "tags is null") == [13]
    assert select(index, "not has(tags, 'a')") == [*range(1, 12), 12]
    assert index.attributes_of([12, 13, 14]) == [
        {"label": None, "year": None, "score": None, "tags": found} for found in ([], None, sorted(tags))
    ]


def test_threads_that_choose_at_once(many):
    wanted = {
        text: [item for item, one in enumerate(made_up_items(range(60))) if is_right(one)]
        for text, is_right in CONDITIONS.items()
    }
    faults = []

    def choose(seed):
        conditions = list(CONDITIONS)
        random.Random(seed).shuffle(conditions)
        try:
            for condition in conditions:
                for index in many:
                    if select(index, condition) != wanted[condition]:
                        faults.append(condition)
                    with pytest.raises(UsageError, match="no such column"):
                        index.select("nowhere = 1")
                    some = random.Random(seed).sample(range(60), 5)
                    if index.attributes_of(some) != made_up_items(some):
                        faults.append(some)
        except BaseException as error:
            faults.append(error)

    threads = [threading.Thread(target=choose, args=(seed,)) for seed in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []


def test_choosing_while_one_compacts(tmp_path):
    index = add_made_up(Index.create(tmp_path / "i", integer_codebooks(), attributes=ATTRIBUTES), 200, 8)
    wanted = list(range(0, 200, 3))
    stop, faults = threading.Event(), []

    def choose():
        while not stop.is_set():
            if (found := select(index, "label = 'l0'")) != wanted:
                faults.append(found)

    thread = threading.Thread(target=choose)
    thread.start()
    for start in range(200, 700, 50):
        ids = range(start, start + 50)
        index.add_codes(made_up_codes(ids), ids, {"label": ["x"] * 50})
        index.compact()
        index.remove(ids[:40])
    stop.set()
    thread.join()
    assert faults == []
    assert index.attributes_of(range(200)) == made_up_items(range(200))
