import math

import numpy as np
import pytest
from made_records import bare_record, made_figure, told_records
from oracles_retrieval import enumerated_p

from spdq_benchmarks.retrieval.cells import Results, Topic
from spdq_benchmarks.retrieval.comparisons import Comparison, compare_all
from spdq_benchmarks.retrieval.significance import Difference

SEEN = Topic("made", "seen", "", "map@all")
OURS = np.array([0.5, 0.6, 0.7, 0.8, 0.9, 0.5, 0.6, 0.7])


def records(scores, bits=64):
    return [
        bare_record(method, bits, [made_figure("seen", "", "i2t", "map@all", found)])
        for method, found in scores.items()
    ]


def test_every_other_method_is_compared_and_corrected():
    scores = {
        "spdq": OURS,
        "worse": OURS - 0.3,
        "alike": OURS + 0.01 * (-1) ** np.arange(8),
        "better": OURS + 0.05,
    }
    found = compare_all(Results(records(scores)))
    assert set(found) == {(SEEN, "i2t", method) for method in ("worse", "alike", "better")}
    worse, alike, better = (found[SEEN, "i2t", method] for method in ("worse", "alike", "better"))
    assert worse.difference.mean == pytest.approx(0.3)
    assert worse.difference.p == pytest.approx(enumerated_p([0.3] * 8)) == pytest.approx(2 / 256)
    assert (worse.p, better.p, alike.p) == pytest.approx((6 / 256, 6 / 256, 1))
    assert (worse.verdict, alike.verdict, better.verdict) == (1, 0, -1)


@pytest.mark.parametrize(("p", "mean", "verdict"), [
    (0.049, 0.1, 1), (0.049, -0.1, -1), (0.05, 0.1, 0), (math.nan, 0.1, 0),
])  # fmt: skip
def test_verdicts(p, mean, verdict):
    assert Comparison(Difference(mean, 0, 1, p, 8, 1), p).verdict == verdict


def test_other_code_lengths_are_not_compared():
    scores = {"spdq": OURS, "cca": OURS - 0.1}
    assert list(compare_all(Results(records(scores) + records(scores, 16)))) == [(SEEN, "i2t", "cca")]


def test_nothing_to_compare():
    assert compare_all(Results(records({"cca": OURS, "cvh": OURS}))) == {}
    assert compare_all(Results(told_records({"spdq": {64: [0.5]}, "cca": {64: [0.4]}}))) == {}
