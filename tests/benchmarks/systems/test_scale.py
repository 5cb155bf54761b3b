"""Made classes and a made click log, at small sizes: what is counted is right, and each part is on its own."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from retrieval_tasks import work

from spdq.errors import SpdqError, StorageError
from spdq_benchmarks.systems.scale import (
    WORDS,
    LogJob,
    in_own_process,
    measure_scale,
    read_log,
    table,
    write_log,
    write_report,
)

CLASSES, ROWS, STEPS, SEED = 300, 2000, 2, 5
MIB = 1 << 20


def rows_of(path):
    header, *lines = path.read_text().splitlines()
    assert header == "query\timage\tclicks"
    return [line.split("\t") for line in lines]


@pytest.fixture(scope="module")
def scale(tmp_path_factory):
    """What a measurement found, what it said, and its folder, that it made. This process is larger than its parts."""
    folder, said = tmp_path_factory.mktemp("scale") / "new" / "out", []
    large = np.ones(700 * MIB, np.uint8)
    found = measure_scale(folder, CLASSES, ROWS, STEPS, SEED, said.append)
    assert large.all()
    return found, said, folder


def test_the_mixer_learned_every_class(scale):
    mixer = scale[0].mixer
    assert (mixer.classes, mixer.steps, mixer.batch, mixer.dim) == (CLASSES, STEPS, 256, 64)
    assert mixer.sampled == CLASSES
    assert mixer.forms == ("query", "image", "text", "unit")
    assert min(mixer.setup_seconds, mixer.items_per_second.wall, mixer.items_per_second.cpu) > 0


def test_the_log_is_counted_as_it_stands(scale, tmp_path):
    """The same seed writes the same log again."""
    log = LogJob(tmp_path / "log.tsv", ROWS, SEED)
    size = write_log(log)
    rows, found = rows_of(log.path), scale[0].click_log
    assert (found.rows, len(rows)) == (ROWS, ROWS)
    assert found.queries == len({query for query, _, _ in rows})
    assert found.pairs == len({(query, image) for query, image, _ in rows})
    assert found.megabytes == size / 1e6 == log.path.stat().st_size / 1e6
    assert min(found.rows_per_second.wall, found.rows_per_second.cpu) > 0


def test_memory_is_that_of_each_process_alone(scale):
    """Neither what this process holds is in it, nor torch where only a log is read."""
    mixer, log = scale[0].mixer.peak_gib, scale[0].click_log.peak_gib
    assert 0.1 < mixer < 0.65
    assert 0.01 < log < 0.15


def test_a_log_is_as_promised(tmp_path):
    log = LogJob(tmp_path / "log.tsv", 20_000, 0)
    write_log(log)
    rows = rows_of(log.path)
    queries = Counter(query for query, _, _ in rows)
    assert len(queries) == log.n_queries == 8000
    assert all(set(query.split(" ")) <= set(WORDS) and query.count(" ") == 2 for query in queries)
    images = Counter(image for _, image, _ in rows)
    assert set(images) <= {f"img/{number}.jpg" for number in range(log.n_images)}
    # By the cube of a uniform number, a tenth of the images has .1 ** (1 / 3) = 46 % of the rows.
    assert sum(count for _, count in images.most_common(log.n_images // 10)) > 0.4 * len(rows)
    assert sum(count for _, count in queries.most_common(log.n_queries // 10)) > 0.25 * len(rows)
    clicks = np.array([int(count) for _, _, count in rows])
    assert clicks.min() == 1
    assert clicks.mean() == pytest.approx(1 / 0.3, rel=0.05)


def test_seeds_give_other_logs_and_the_same_one_the_same(tmp_path):
    written = []
    for number, seed in enumerate((0, 0, 1)):
        log = LogJob(tmp_path / f"{number}.tsv", 100, seed)
        write_log(log)
        written.append(log.path.read_bytes())
    assert written[0] == written[1] != written[2]


def test_a_log_of_one_row(tmp_path):
    log = LogJob(tmp_path / "log.tsv", 1, 0)
    write_log(log)
    found = read_log(log)
    assert (found.rows, found.queries, found.pairs) == (1, 1, 1)


def test_all_is_told_and_nothing_is_left(scale):
    _, said, folder = scale
    assert said == [
        "a Mixer with 300 classes: 5 steps",
        "a click log of 2,000 rows: writing",
        "a click log of 2,000 rows: reading",
    ]
    assert list(folder.iterdir()) == []


def test_table_and_json_agree(scale, tmp_path):
    found = scale[0]
    write_report(found, tmp_path, "spdq bench scale --out x")
    text, kept = (tmp_path / "scale.md").read_text(), json.loads((tmp_path / "scale.json").read_text())
    assert kept == json.loads(json.dumps({"command": "spdq bench scale --out x", **asdict(found)}))
    assert "Command: `spdq bench scale --out x`" in text
    assert text.endswith(table(found) + "\n")
    machine = kept["machine"]
    assert f"- {machine['cpu']}, {machine['cores']} cores" in text
    assert f"torch {machine['versions']['torch']}" in text
    sheets = [
        dict(re.findall(r"^\| (\S.*) \| (\S+) \|$", part, re.MULTILINE)) for part in text.split("**")[2::2]
    ]
    mixer, log = kept["mixer"], kept["click_log"]
    assert sheets == [
        {
            "classes": "300",
            "of these in a step": "300",
            "dimensions": "64",
            "items a step": "256",
            "timed steps": "2",
            "items a second, wall time": f"{mixer['items_per_second']['wall']:,.0f}",
            "items a second, CPU time": f"{mixer['items_per_second']['cpu']:,.0f}",
            "samples an item (query, image, text, unit)": "4",
            "samples a second, wall time": f"{4 * mixer['items_per_second']['wall']:,.0f}",
            "samples a second, CPU time": f"{4 * mixer['items_per_second']['cpu']:,.0f}",
            "set-up, s": f"{mixer['setup_seconds']:.1f}",
            "peak memory, GiB (must be at most 4)": f"{mixer['peak_gib']:.2f}",
        },
        {
            "rows": "2,000",
            "size, MB": f"{log['megabytes']:.1f}",
            "distinct queries": f"{log['queries']:,}",
            "distinct pairs of query and image": f"{log['pairs']:,}",
            "rows a second, wall time": f"{log['rows_per_second']['wall']:,.0f}",
            "rows a second, CPU time": f"{log['rows_per_second']['cpu']:,.0f}",
            "peak memory, GiB": f"{log['peak_gib']:.2f}",
        },
    ]


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ("fail", "^fail: too few rows$"),
        ("die", r"^die: its process ended without an answer \(SIGKILL, perhaps"),
    ],
)
def test_a_part_that_fails_is_named(task, message):
    with pytest.raises(SpdqError, match=message):
        in_own_process(work, task)


def test_what_cannot_be_written(scale, tmp_path):
    with pytest.raises(StorageError, match=r"cannot write .*log\.tsv: No such file"):
        write_log(LogJob(tmp_path / "no" / "log.tsv", 10, 0))
    with pytest.raises(StorageError, match=r"cannot write .*scale\.md: No such file"):
        write_report(scale[0], tmp_path / "no", "")
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"cannot make .*file: File exists"):
        measure_scale(tmp_path / "file", 2, 1, 1, 0, lambda line: None)
    with pytest.raises(StorageError, match=r"cannot write into /proc: "):
        measure_scale(Path("/proc"), 2, 1, 1, 0, lambda line: None)
