from __future__ import annotations

import ir_measures
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spdq.errors import DataError, NotFoundError, StorageError
from spdq.evaluation import evaluate_ranking
from spdq.evaluation.trec import read_qrels, read_run, write_qrels, write_run

ids = st.text(st.characters(codec="utf-8", exclude_categories=("Z", "C")), min_size=1, max_size=5)
rows = st.floats(-(2.0**99), 2.0**99, width=32)


def test_run_by_hand(tmp_path):
    distances = np.float32([[0, 0.1, 2.5], [-3, 1, np.inf]])
    write_run(tmp_path / "run", ["a", 7], distances, np.array([[5, 2, 9], [1, 4, -1]]), tag="mine")
    assert (tmp_path / "run").read_text() == (
        "a Q0 5 1 0.0 mine\na Q0 2 2 -0.1 mine\na Q0 9 3 -2.5 mine\n7 Q0 1 1 3.0 mine\n7 Q0 4 2 -1.0 mine\n"
    )
    assert read_run(tmp_path / "run") == {"a": {"5": 0.0, "2": -0.1, "9": -2.5}, "7": {"1": 3.0, "4": -1.0}}


@settings(max_examples=25, deadline=None)
@given(
    found=st.dictionaries(ids, st.dictionaries(ids, rows, min_size=3, max_size=3), min_size=1, max_size=3),
)
def test_run_round_trip(tmp_path_factory, found):
    path = tmp_path_factory.mktemp("run") / "run"
    nearest = {q: sorted(documents, key=documents.get) for q, documents in found.items()}
    distances = np.float32([[found[q][d] for d in nearest[q]] for q in found])
    write_run(path, found, distances, np.array([nearest[q] for q in found], dtype=object))
    read = read_run(path)
    assert {q: {d: np.float32(-s) for d, s in documents.items()} for q, documents in read.items()} == found


@pytest.mark.parametrize("beir", [False, True])
def test_qrels_round_trip(tmp_path, beir):
    path = tmp_path / "qrels"
    write_qrels(path, [("q1", "d1", 2), ("q1", "d2", 0), (3, 4, -1)], beir=beir)
    text = "query-id\tcorpus-id\tscore\nq1\td1\t2\nq1\td2\t0\n3\t4\t-1\n"
    assert path.read_text() == (text if beir else "q1 0 d1 2\nq1 0 d2 0\n3 0 4 -1\n")
    assert read_qrels(path) == {"q1": {"d1": 2, "d2": 0}, "3": {"4": -1}}


def test_beir_ids_may_hold_spaces_and_lines_may_end_in_crlf(tmp_path):
    path = tmp_path / "test.tsv"
    path.write_bytes(b"query-id\tcorpus-id\tscore\r\nq 1\td 1\t1\r\n\r\n")
    assert read_qrels(path) == {"q 1": {"d 1": 1}}


def test_files_are_read_by_ir_measures_to_the_same_figure(tmp_path):
    rng = np.random.default_rng(0)
    distances, relevant = (
        np.argsort(rng.random((6, 30)), axis=1).astype(np.float32),
        rng.random((6, 30)) < 0.2,
    )
    order = np.argsort(distances, axis=1)
    write_run(tmp_path / "run", range(6), np.take_along_axis(distances, order, axis=1), order)
    write_qrels(tmp_path / "qrels", [(q, d, 1) for q, d in np.argwhere(relevant)])
    run = list(ir_measures.read_trec_run(str(tmp_path / "run")))
    qrels = list(ir_measures.read_trec_qrels(str(tmp_path / "qrels")))
    assert relevant.any(axis=1).all()
    expected = evaluate_ranking(distances, relevant, "map@all")[0].value
    assert ir_measures.calc_aggregate([ir_measures.AP], qrels, run)[ir_measures.AP] == pytest.approx(expected)


def test_empty_files(tmp_path):
    write_run(tmp_path / "run", [], np.zeros((0, 3)), np.zeros((0, 3), int))
    write_qrels(tmp_path / "qrels", [])
    write_qrels(tmp_path / "beir", [], beir=True)
    assert read_run(tmp_path / "run") == read_qrels(tmp_path / "qrels") == read_qrels(tmp_path / "beir") == {}


@pytest.mark.parametrize("row", [[1, 0], [np.nan, np.nan], [0, np.nan], [-np.inf, 0]])
def test_rows_that_do_not_ascend(tmp_path, row):
    with pytest.raises(DataError, match=r"distances of query 'q': expected ascending numbers \(negate sim"):
        write_run(tmp_path / "run", ["p", "q"], np.array([[0, 1], row]), np.zeros((2, 2), int))


@pytest.mark.parametrize(("distances", "found"), [((2, 3), (2, 2)), ((1, 3), (1, 3)), ((2,), (2,))])
def test_run_of_mismatched_shapes(tmp_path, distances, found):
    with pytest.raises(DataError, match=r"one shape \(queries, k\) and as many query ids, got .* and 2"):
        write_run(tmp_path / "run", ["p", "q"], np.zeros(distances), np.zeros(found, int))


@pytest.mark.parametrize("bad", ["", "a b", "a\n"])
def test_ids_without_white_space_only_and_nothing_half_written(tmp_path, bad):
    path = tmp_path / "file"
    path.write_text("before")
    one = np.zeros((1, 1))
    with pytest.raises(DataError, match="query id: expected text without white space, got"):
        write_run(path, [bad], one, np.array([["d"]]))
    with pytest.raises(DataError, match="document id: expected text without white space, got"):
        write_run(path, ["q"], one, np.array([[bad]]))
    with pytest.raises(DataError, match="tag: expected text without white space, got"):
        write_run(path, ["q"], one, np.array([["d"]]), tag=bad)
    with pytest.raises(DataError, match="document id: expected text"):
        write_qrels(path, [("q", "d", 1), ("q", bad, 1)])
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_unwritable_and_missing(tmp_path):
    with pytest.raises(StorageError, match="cannot be written"):
        write_qrels(tmp_path / "no" / "qrels", [])
    for read in (read_run, read_qrels):
        with pytest.raises(NotFoundError, match=r"qrels: cannot be read \(No such file"):
            read(tmp_path / "qrels")


@pytest.mark.parametrize(
    ("read", "text", "message"),
    [
        (
            read_run,
            "q Q0 d 1 0.5 t\nq Q0 d 1 0.5\n",
            "line 2: expected 'query Q0 document rank score tag', got 'q Q0",
        ),
        (read_run, "q Q0 d 1 x t\n", "line 1: expected a finite score, got 'x'"),
        (read_run, "q Q0 d 1 nan t\n", "line 1: expected a finite score, got 'nan'"),
        (read_run, "q Q0 d 1 2 t\n\nq Q0 d 2 1 t\n", "line 3: document 'd' stands twice for query 'q'"),
        (read_run, b"q Q0 \xff 1 2 t\n", "expected UTF-8 text, got byte 0xff"),
        (read_qrels, "q 0 d\n", "line 1: expected 'query 0 document relevance', got 'q 0 d'"),
        (read_qrels, "q 0 d 1.5\n", "line 1: expected an integer relevance, got '1.5'"),
        (read_qrels, "q 0 d 1\nq 0 d 1\n", "line 2: document 'd' stands twice"),
        (
            read_qrels,
            "query-id\tcorpus-id\tscore\nq d 1\n",
            "line 2: expected 'query-id<tab>corpus-id<tab>score'",
        ),
    ],
)
def test_damaged_files(tmp_path, read, text, message):
    path = tmp_path / "file"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(DataError, match=message):
        read(path)
