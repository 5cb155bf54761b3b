"""Wrong answers are seen, right ones pass: ties, rounding, another order of additions."""

from __future__ import annotations

import numpy as np
import pytest

from spdq.errors import SpdqError
from spdq_benchmarks.speed.checks import (
    WrongAnswerError,
    agreement,
    check_equal,
    check_own,
    check_same,
    table_sums,
)
from spdq_kernels import pack_codes, reference

DISTANCES = np.array([[1.0, 2.0, 2.0, 5.0]], np.float32)
ROWS = np.array([[7, 3, 9, 1]])


@pytest.mark.parametrize(("n_tables", "columns", "bits"), [(3, 256, 8), (4, 16, 4)])
def test_table_sums_are_the_reference_s_distances(n_tables, columns, bits):
    random = np.random.default_rng(0)
    tables = random.random((5, n_tables, columns), np.float32)
    codes = random.integers(columns, size=(300, n_tables)).astype(np.uint8)
    rows = random.integers(300, size=(5, 20))
    expected = reference.distances(tables, pack_codes(codes, bits), 300)
    assert np.array_equal(table_sums(tables, codes, rows), np.take_along_axis(expected, rows, axis=1))


def test_right_answers_pass():
    check_own("here", DISTANCES, ROWS, DISTANCES.copy())
    check_own("one", DISTANCES[:, :1], ROWS[:, :1], DISTANCES[:, :1])
    check_own("none", DISTANCES[:, :0], ROWS[:, :0], DISTANCES[:, :0])
    check_same("here", DISTANCES, ROWS, DISTANCES, ROWS)
    check_same("none", DISTANCES[:, :0], ROWS[:, :0], DISTANCES[:, :0], ROWS[:, :0])
    check_equal("here", DISTANCES, ROWS, DISTANCES.copy(), ROWS.copy())


def test_a_distance_that_is_not_the_row_s_own():
    wrong = DISTANCES.copy()
    wrong[0, 1] = np.nextafter(wrong[0, 1], np.float32(3))
    with pytest.raises(
        WrongAnswerError, match=r"here: wrong answer, .* row 3 of query 0 is at 2.0, not at 2.0000"
    ):
        check_own("here", wrong, ROWS, DISTANCES)


@pytest.mark.parametrize(
    ("distances", "rows"),
    [([[2, 1]], [[0, 1]]), ([[1, 1]], [[4, 2]]), ([[1, 1]], [[4, 4]])],
    ids=["descending", "tie by row", "twice"],
)
def test_an_order_that_is_not_distance_then_row(distances, rows):
    distances = np.array(distances, np.float32)
    with pytest.raises(
        WrongAnswerError, match=r"places 0 and 1 of query 0 are not in the order \(distance, row\)"
    ):
        check_own("here", distances, np.array(rows), distances)


def test_another_answer_may_round_otherwise_and_choose_among_ties_at_the_end():
    other = DISTANCES * np.float32(1 + 1e-6)
    check_same("here", DISTANCES, ROWS, other, np.array([[7, 9, 3, 8]]))


def test_a_peer_at_other_distances():
    other = DISTANCES.copy()
    other[0, 3] = 4
    with pytest.raises(WrongAnswerError, match=r"place 3 of query 0 is at 5.0, expected 4.0"):
        check_same("here", DISTANCES, ROWS, other, ROWS)


def test_a_peer_with_other_rows():
    with pytest.raises(WrongAnswerError, match="row 3 is not among the nearest of query 0"):
        check_same("here", DISTANCES, ROWS, DISTANCES, np.array([[7, 8, 9, 1]]))


def test_a_peer_with_another_number_of_rows():
    with pytest.raises(WrongAnswerError, match=r"\(1, 4\) distances, expected \(1, 3\)"):
        check_same("here", DISTANCES, ROWS, DISTANCES[:, :3], ROWS[:, :3])


@pytest.mark.parametrize("changed", ["distances", "rows"])
def test_a_bit_that_differs_from_the_reference(changed):
    distances, rows = DISTANCES.copy(), ROWS.copy()
    (distances if changed == "distances" else rows)[0, 2] += 1
    with pytest.raises(WrongAnswerError, match="the answer is not that of the reference"):
        check_equal("here", distances, rows, DISTANCES, ROWS)


def test_a_wrong_answer_is_an_error_of_one_line_that_ends_as_a_bug():
    assert issubclass(WrongAnswerError, SpdqError)
    assert WrongAnswerError.exit_code == 1


def test_agreement_is_a_share_of_the_exact_rows():
    assert agreement(ROWS, np.array([[1, 9, 4, 5]])) == 0.5
    assert agreement(ROWS, ROWS[:, ::-1]) == 1
    assert agreement(ROWS[:, :0], ROWS[:, :0]) == 1
