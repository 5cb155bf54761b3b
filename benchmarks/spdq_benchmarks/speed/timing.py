"""Two searches raced: in turns, so that a slow second of the machine hits both, and each turn gives one ratio."""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter, process_time
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Clock = Literal["cpu", "wall"]
"""CPU time of the process, which other processes disturb less; or wall time, where threads work at once."""

Unit = Literal["query", "byte"]


@dataclass(frozen=True)
class Contender:
    """One side: ``run`` is timed, and does ``units`` of work at a time."""

    name: str
    run: Callable[[Any], object]
    prepare: Callable[[int], Any]
    """Called with the number of the turn, untimed; what it returns is given to ``run``."""
    units: int
    check: Callable[[Any], None] | None = None
    """Raises WrongAnswerError unless what ``run`` returned is right."""


@dataclass(frozen=True)
class Duel:
    """Two sides of which ``above``'s time is divided by ``below``'s."""

    above: Contender
    below: Contender
    unit: Unit = "query"
    clock: Clock = "cpu"
    threads: int = 1
    """Most that either side uses."""
    turns: int = 1
    """Turns for each repeat that is asked for: more where a turn is a single query."""
    agreement: float | None = None
    """Share of the exact answer in that of an approximate peer."""


@dataclass(frozen=True)
class Race:
    """Seconds per unit, (2, turns) float64: ``above`` in the first row, ``below`` in the second."""

    cpu: NDArray[np.float64]
    wall: NDArray[np.float64]

    def ratios(self, clock: Clock) -> NDArray[np.float64]:
        """Time of ``above`` over time of ``below``, turn by turn."""
        above, below = self.cpu if clock == "cpu" else self.wall
        ratios: NDArray[np.float64] = above / below
        return ratios


def race(duel: Duel, repeats: int) -> Race:
    """Run both sides once untimed, their answers checked, then in turns; who begins changes with every turn.

    Raises WrongAnswerError: nothing has been timed then.
    """
    sides = (duel.above, duel.below)
    turns = repeats * duel.turns
    cpu, wall = np.empty((2, turns)), np.empty((2, turns))
    for side in sides:
        answer = side.run(side.prepare(0))
        if side.check is not None:
            side.check(answer)
    collecting = gc.isenabled()
    gc.disable()
    try:
        for turn in range(turns):
            for place in (0, 1) if turn % 2 == 0 else (1, 0):
                spent = seconds(sides[place], turn)
                cpu[place, turn], wall[place, turn] = spent
    finally:
        if collecting:
            gc.enable()
    return Race(cpu, wall)


def seconds(side: Contender, turn: int) -> tuple[float, float]:
    """CPU and wall seconds a unit takes."""
    argument = side.prepare(turn)
    wall, cpu = perf_counter(), process_time()
    side.run(argument)
    cpu, wall = process_time() - cpu, perf_counter() - wall
    return cpu / side.units, wall / side.units
