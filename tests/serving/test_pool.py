from __future__ import annotations

import asyncio
import threading

import pytest

from spdq.serving.pool import Pool
from spdq.serving.problems import Problem


def run(coroutine_of, threads=1, waiting=1):
    async def inside():
        pool = Pool("tried", threads, waiting)
        try:
            return await coroutine_of(pool)
        finally:
            pool.close()

    return asyncio.run(inside())


def test_results_and_errors_come_back():
    async def tried(pool):
        assert await pool.run(lambda: 7, 5) == 7
        with pytest.raises(KeyError, match="lost"):
            await pool.run(lambda: {}["lost"], 5)
        return pool.taken

    assert run(tried) == 0


def test_no_more_than_its_threads_work_at_once():
    now, most, lock = 0, 0, threading.Lock()
    meet = threading.Barrier(3)

    def work():
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        meet.wait(10)
        with lock:
            now -= 1

    async def tried(pool):
        await asyncio.gather(*(pool.run(work, 20) for _ in range(9)))

    run(tried, threads=3, waiting=6)
    assert most == 3


def test_what_does_not_fit_is_refused_and_later_welcome():
    async def tried(pool):
        hold = threading.Event()
        held = [asyncio.create_task(pool.run(hold.wait, 20)) for _ in range(3)]
        await asyncio.sleep(0)
        assert pool.is_full
        with pytest.raises(
            Problem, match="3 requests are under way or waiting, which is the most"
        ) as refused:
            await pool.run(int, 5)
        assert refused.value.status == 503
        assert refused.value.headers == {"Retry-After": "1"}
        hold.set()
        await asyncio.gather(*held)
        return await pool.run(int, 5)

    assert run(tried, threads=1, waiting=2) == 0


def test_at_the_end_there_is_a_place_for_each():
    async def tried(_):
        ending = False
        pool = Pool("tried", 1, 0, lambda: ending)
        hold = threading.Event()
        held = asyncio.create_task(pool.run(hold.wait, 20))
        await asyncio.sleep(0)
        with pytest.raises(Problem, match="1 requests are under way or waiting, which is the most"):
            await pool.run(int, 5)
        ending = True
        more = [asyncio.create_task(pool.run(int, 20)) for _ in range(5)]
        await asyncio.sleep(0)
        hold.set()
        await held
        pool.close()
        return await asyncio.gather(*more)

    assert run(tried) == [0] * 5


def test_late_work_is_answered_408_and_keeps_its_place_until_it_ends():
    async def tried(pool):
        hold, done = threading.Event(), []
        with pytest.raises(Problem, match=r"no answer within 0\.02 s") as late:
            await pool.run(hold.wait, 0.02)
        assert late.value.status == 408
        assert pool.taken == 1
        with pytest.raises(Problem, match=r"no answer within 0\.02 s"):
            await pool.run(lambda: done.append(1), 0.02)
        assert pool.is_full
        hold.set()
        while pool.taken:
            await asyncio.sleep(0.01)
        # Nobody waited for it any more when its turn came.
        assert done == []

    run(tried, threads=1, waiting=1)


def test_a_timeout_of_the_work_itself_is_its_own():
    def work():
        raise TimeoutError("inside")

    async def tried(pool):
        with pytest.raises(TimeoutError, match="inside"):
            await pool.run(work, 5)

    run(tried)


def test_work_that_outlives_the_loop_harms_nobody():
    hold, before = threading.Event(), threading.active_count()

    async def tried(pool):
        with pytest.raises(Problem, match="no answer"):
            await pool.run(hold.wait, 0.01)

    run(tried)
    hold.set()
    for thread in threading.enumerate():
        if thread.name.startswith("tried"):
            thread.join(10)
    assert threading.active_count() <= before
