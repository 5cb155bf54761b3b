"""Errors of workers arrive as they were raised; a lost worker is one of ours, too."""

from __future__ import annotations

import os
import signal
import time

import pytest

from spdq.distributed.remote import fetched, worker_errors
from spdq.errors import DataError, UnavailableError, UnknownWordsError


@pytest.fixture(scope="module")
def worker(local_ray):
    class Worker:
        def double(self, number):
            return 2 * number

        def fail(self, error):
            raise error

        def divide(self):
            return 1 / 0

        def die(self):
            os.kill(os.getpid(), signal.SIGKILL)

        def sleep(self, seconds):
            time.sleep(seconds)

    return local_ray.remote(num_cpus=0, max_restarts=-1)(Worker)


@pytest.fixture(scope="module")
def one(worker):
    return worker.remote()


def test_values(one):
    assert fetched(one.double.remote(21)) == 42
    assert fetched([one.double.remote(number) for number in range(3)]) == [0, 2, 4]
    assert fetched([]) == []


def test_errors_of_ours_arrive_as_they_were(one):
    with pytest.raises(DataError, match=r"^row 3 has NaN$") as raised:
        fetched(one.fail.remote(DataError("row 3 has NaN")))
    assert type(raised.value) is DataError
    with pytest.raises(UnknownWordsError, match=r"^no known word$") as raised:
        fetched(one.fail.remote(UnknownWordsError("no known word", ["xyz"])))
    assert raised.value.words == ["xyz"]


def test_a_bug_stays_a_bug(one):
    with pytest.raises(ZeroDivisionError, match="division by zero"):
        fetched(one.divide.remote())


def test_a_lost_worker(worker):
    lost = worker.remote()
    with pytest.raises(UnavailableError, match=r"^shard 2 is lost \(.+\)\. Try again; Ray's logs say more$"):
        fetched(lost.die.remote(), who="shard 2")


def test_an_answer_that_does_not_come(one):
    with pytest.raises(UnavailableError, match=r"^a worker has not answered in time\. Try again, or"):
        fetched(one.sleep.remote(2), seconds=0.2)


def test_no_error_is_no_error():
    with worker_errors():
        done = True
    assert done
