from __future__ import annotations

import os
import time
from contextlib import closing

import pytest
from retrieval_tasks import work

from spdq_benchmarks.workers import outcomes


def answers(found):
    return {outcome.task: (outcome.result, outcome.error) for outcome in found}


def is_running(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_every_task_has_its_outcome():
    found = list(outcomes(work, [3, "fail", 4, "bug", 5], 2))
    assert all(outcome.seconds > 0 for outcome in found)
    told = answers(found)
    assert told.pop("bug")[1].startswith("KeyError: 'nowhere' (retrieval_tasks.py:")
    assert told == {3: (9, None), 4: (16, None), 5: (25, None), "fail": (None, "too few rows")}


@pytest.mark.parametrize(
    ("task", "ending"), [("die", "SIGKILL, perhaps out of memory"), ("leave", "exit code 3")]
)
def test_a_process_that_ends_costs_its_task_alone(task, ending):
    found = answers(outcomes(work, [2, task, 3, 4], 1))
    assert found[task] == (None, f"its process ended without an answer ({ending})")
    assert [found[number] for number in (2, 3, 4)] == [(4, None), (9, None), (16, None)]


def test_a_process_has_one_thread_and_no_part_in_interrupts():
    before = dict(os.environ)
    ((pid, cores, threads, deaf),) = [outcome.result for outcome in outcomes(work, ["who"], 1)]
    assert pid != os.getpid()
    assert (cores, threads, deaf) == (1, ["1", "1"], True)
    assert dict(os.environ) == before
    assert not is_running(pid)


def test_processes_end_with_the_iterator():
    with closing(outcomes(work, ["who", "sleep", "sleep", "sleep"], 2)) as found:
        pid = next(found).result[0]
        assert is_running(pid)
    end = time.monotonic() + 30
    while is_running(pid) and time.monotonic() < end:
        time.sleep(0.05)
    assert not is_running(pid)


def test_no_tasks():
    assert list(outcomes(work, [], 0)) == []
