"""How a race is run: in turns, each prepared anew; nothing here looks at how long anything took."""

from __future__ import annotations

import gc
from itertools import pairwise

import numpy as np
import pytest

from spdq_benchmarks.speed.timing import Contender, Duel, Race, race, seconds


def contender(name, log, units=1):
    def prepare(turn):
        log.append((name, "prepare", turn))
        return turn

    def run(argument):
        log.append((name, "run", argument))

    return Contender(name, run, prepare, units)


def test_sides_take_turns_and_the_first_changes():
    log = []
    raced = race(Duel(contender("a", log), contender("b", log), turns=2), repeats=2)
    assert raced.cpu.shape == raced.wall.shape == (2, 4)
    assert [(name, turn) for name, what, turn in log if what == "run"] == [
        ("a", 0), ("b", 0),  # untimed
        ("a", 0), ("b", 0), ("b", 1), ("a", 1), ("a", 2), ("b", 2), ("b", 3), ("a", 3),
    ]  # fmt: skip
    assert all(
        before == (name, "prepare", turn) for before, (name, what, turn) in pairwise(log) if what == "run"
    )


def test_the_collector_is_off_meanwhile_and_on_again_whatever_happens():
    states = []

    def fail(argument):
        states.append(gc.isenabled())
        if len(states) == 3:
            raise ValueError("stop")

    side = Contender("a", fail, lambda turn: None, 1)
    assert gc.isenabled()
    with pytest.raises(ValueError, match="stop"):
        race(Duel(side, side), repeats=1)
    assert states == [True, True, False]
    assert gc.isenabled()


def test_a_collector_that_was_off_stays_off():
    gc.disable()
    try:
        race(Duel(contender("a", []), contender("b", [])), repeats=1)
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_ratios_are_of_each_turn_and_of_the_clock_asked_for():
    raced = Race(cpu=np.array([[6.0, 8.0], [2.0, 4.0]]), wall=np.array([[1.0, 9.0], [2.0, 3.0]]))
    assert raced.ratios("cpu").tolist() == [3, 2]
    assert raced.ratios("wall").tolist() == [0.5, 3]


def test_seconds_are_for_a_unit(monkeypatch):
    clock = iter([1.0, 5.0])
    monkeypatch.setattr("spdq_benchmarks.speed.timing.perf_counter", lambda: next(clock))
    processor = iter([10.0, 12.0])
    monkeypatch.setattr("spdq_benchmarks.speed.timing.process_time", lambda: next(processor))
    assert seconds(contender("a", [], units=4), 0) == (0.5, 1.0)
