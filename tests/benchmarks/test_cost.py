"""The cost of a plan, by hand; its queue, by the formula of Pollaczek and Khinchine; the measurement, in small."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, replace

import numpy as np
import pytest
from click.testing import CliRunner

from spdq.errors import UsageError
from spdq_benchmarks import cost
from spdq_benchmarks.cost import Measured, Plan, estimate, machine_memory, queue
from spdq_cli.main import cli

GIB = 1 << 30
MEASURED = Measured(item=1e-9, query=1e-3, threads=1.8, cores=2, call=1e-3, shard=2e-4)
PLAN = Plan(items=1_000_000_000, bits=64, shards=8, replicas=2, rate=10, cores=4, memory=24 * GIB)


def test_a_plan_by_hand():
    found = estimate(PLAN, MEASURED)
    assert found.shard_bytes == 125_000_000 * 16
    assert found.total_bytes == 32_000_000_000
    assert found.machines == 16
    # Each core beyond the first adds .8 of one: 3.4 in all. Eight shards are asked, one after the other.
    scan = 1e-3 + 0.125 / 3.4
    assert found.alone == pytest.approx(1e-3 + 8 * 2e-4 + scan)
    assert found.busy == pytest.approx(5 * scan)
    assert found.alone <= found.median < found.p99 < 1
    assert found.enough_replicas == 1 == math.ceil(10 * scan / 0.7)


def test_more_questions_than_answers():
    found = estimate(replace(PLAN, rate=100), MEASURED)
    assert found.busy > 1
    assert found.median is found.p99 is None
    enough = estimate(replace(PLAN, rate=100, replicas=found.enough_replicas), MEASURED)
    assert enough.busy <= 0.7
    assert enough.p99 is not None


def test_nobody_asks():
    found = estimate(replace(PLAN, rate=0.0), MEASURED)
    assert (found.busy, found.enough_replicas) == (0, 0)
    assert found.median == found.p99 == found.alone


def test_one_core_here_says_nothing_of_more():
    one = replace(MEASURED, cores=1, threads=1.0)
    assert estimate(PLAN, one).alone == pytest.approx(1e-3 + 8 * 2e-4 + 1e-3 + 0.125)


def test_a_shard_that_does_not_fit():
    with pytest.raises(
        UsageError, match=r"a shard of 500,000,000 items needs 7\.5 GiB, .* 4\.0: use 4 shards"
    ):
        estimate(replace(PLAN, shards=2, memory=4 * GIB), MEASURED)
    assert estimate(replace(PLAN, shards=4, memory=4 * GIB), MEASURED).machines == 8


@pytest.mark.parametrize("busy", [0.1, 0.5, 0.8])
def test_the_queue_waits_as_long_as_theory_says(busy):
    waiting = queue(busy, service=2.0, seed=1)
    assert waiting.min() == 0
    assert waiting.mean() == pytest.approx(2.0 * busy / (2 * (1 - busy)), rel=0.05)


def test_the_queue_is_lindleys_recursion():
    waiting = queue(0.7, service=1.0, seed=3)
    gaps = np.random.default_rng(3).exponential(1 / 0.7, len(waiting))
    waited, expected = 0.0, []
    for gap in gaps[:1000]:
        waited = max(0.0, waited + 1.0 - gap)
        expected.append(waited)
    np.testing.assert_allclose(waiting[:1000], expected, atol=1e-9)


def test_this_machine():
    assert machine_memory() > GIB // 2


def test_the_command_measures_and_extrapolates(monkeypatch):
    # As long as it takes to see that all of it works: in full it is half a minute.
    monkeypatch.setattr(cost, "SIZES", (20_000, 200_000))
    monkeypatch.setattr(cost, "REPEATS", 3)
    asked = ["--items", "1000000", "--shards", "2", "--rate", "5", "--memory", "2"]
    done = CliRunner().invoke(cli, ["bench", "cost", "--json", *asked])
    assert done.exit_code == 0, done.output
    assert done.stderr == (
        "spdq: searching 20,000 and 200,000 made codes of 64 bits\n"
        "spdq: asking 1 and 4 shards of 1,000 items through Ray\n"
    )
    told = json.loads(done.stdout)
    measured = Measured(**told["measured"])
    assert min(measured.item, measured.query, measured.call, measured.shard) >= 0
    assert measured.threads > 0
    plan = Plan(1_000_000, 64, 2, 2, 5.0, measured.cores, 2 * GIB)
    assert told["plan"] == asdict(plan)
    assert told["cost"] == asdict(estimate(plan, measured))
