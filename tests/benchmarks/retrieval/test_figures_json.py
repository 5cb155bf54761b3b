import json

import pytest
from made_records import bare_record, made_records, told_figure

from spdq_benchmarks.retrieval.contents import contents
from spdq_benchmarks.retrieval.figures_json import figures_json

METHODS = {"spdq": 0.62, "cca": 0.3}


@pytest.fixture(scope="module")
def found():
    return contents(made_records({"emoji": ["a:", "b:"]}, METHODS, (16, 64), queries=6), "command")


@pytest.fixture(scope="module")
def text(found):
    return figures_json(found)


@pytest.fixture(scope="module")
def told(text):
    return json.loads(text)


def test_every_figure_but_curves_is_there(found, told):
    results = found.results
    assert told["figure"] == ["mean", "deviation", "lowest", "highest"]
    topics = [(t["dataset"], t["split"], t["labels"], t["protocol"]) for t in told["figures"]]
    assert topics == [topic for topic in results.topics if topic.protocol != "pr-curve"]
    count = 0
    for topic, table in zip(topics, told["figures"], strict=True):
        assert (table["queries"], table["empty"]) == (6, 0)
        for method, by_direction in table["methods"].items():
            for direction, by_bits in by_direction.items():
                for bits, figure in by_bits.items():
                    (topic_found,) = (t for t in results.topics if t == topic)
                    cell = results.cell(topic_found, direction, method, int(bits))
                    highest = sum(run.highest for run in cell.runs) / len(cell.runs)
                    lowest = sum(run.lowest for run in cell.runs) / len(cell.runs)
                    expected = [cell.mean, cell.deviation, lowest, highest]
                    assert figure == pytest.approx(expected, abs=5.1e-5)
                    count += 1
    # Two label sets, splits, three protocols and directions; instance recall: two splits, protocols, directions.
    assert count == (2 * 2 * 3 * 3 + 2 * 2 * 2) * 2 * 3


def test_scores_of_queries_and_curves_are_not_there(text):
    assert '"each"' not in text
    assert '"points"' not in text


def test_a_line_a_table_so_that_changes_can_be_read(text, told):
    assert len(text.splitlines()) < 30 + len(told["figures"]) + len(told["comparisons"]) + len(told["jobs"])


def test_comparisons_are_there(found, told):
    assert told["comparison"] == ["mean", "low", "high", "p", "corrected p", "queries", "seeds"]
    listed = {
        (c["dataset"], c["split"], c["labels"], c["protocol"], c["direction"], method): values
        for c in told["comparisons"]
        for method, values in c["methods"].items()
    }
    assert len(listed) == len(found.comparisons)
    for (topic, direction, method), comparison in found.comparisons.items():
        values = listed[(*topic, direction, method)]
        assert values[0] == pytest.approx(comparison.difference.mean, abs=5.1e-5)
        assert values[3:] == pytest.approx([comparison.difference.p, comparison.p, 6, 1], rel=1e-3)


def test_jobs_have_seconds_sizes_and_settings(told):
    (job,) = (j for j in told["jobs"] if (j["training"], j["method"]) == ("rest", "spdq"))
    assert job["seeds"] == [0, 1]
    assert job["bytes"] == {"0": 256, "16": 2, "64": 8}
    assert job["seconds"]["64"] == {
        "train": 10.5,
        "fit_code": 0.25,
        "encode_per_image": 1.5e-5,
        "encode_per_text": 2.5e-5,
    }
    assert job["settings"] == {"steps": 300}
    assert len(told["jobs"]) == 3 * 2


def test_what_the_run_was(told):
    assert (told["format"], told["version"], told["command"]) == ("spdq-retrieval-figures", 1, "command")
    assert told["machines"] == [{"cpu": "made", "cores": 2}]
    assert len(told["versions"]) == 1
    assert list(told["datasets"]) == ["emoji"]


def test_what_is_undefined_is_null():
    record = bare_record("cca", 64, [told_figure("seen", "", "i2t", "map@all", None)])
    told = json.loads(figures_json(contents([record], "")))
    assert told["figures"][0]["methods"]["cca"]["i2t"]["64"] == [None, 0.0, None, None]
