"""What each system is asked, and beside which methods."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from spdq.data.dataset import Dataset
from spdq_benchmarks.systems import csm_methods, gated_methods, mixer_methods
from spdq_benchmarks.systems.trainings import TRAININGS
from spdq_benchmarks.systems.vectors import Vectors

Learn = Callable[[Dataset, int], Vectors]


@dataclass(frozen=True)
class Study:
    """One system beside baselines and ablations, on data sets of one kind.

    Parameters
    ----------
    split
        Kind of the split it is judged on.
    directions, protocols
        What is asked, and how answers are judged.
    main
        The protocol that methods are compared by.
    methods
        By name; the first is the system as it is by default.
    trainings
        What methods are trained on (``TRAININGS``).
    noisy
        The methods that are trained on shuffled classes, too; the others take no part in that.
    """

    split: str
    directions: tuple[str, ...]
    protocols: tuple[str, ...]
    main: str
    methods: Mapping[str, Learn]
    trainings: tuple[str, ...]
    noisy: tuple[str, ...] = ()

    def takes_part(self, method: str, training: str) -> bool:
        """Whether a method is trained so."""
        return training in self.trainings and (not TRAININGS[training].shuffled or method in self.noisy)


STUDIES = {
    "csm": Study(
        "clicks",
        csm_methods.DIRECTIONS,
        ("dcg@25", "ndcg@25"),
        "dcg@25",
        csm_methods.METHODS,
        ("split",),
    ),
    "mixer": Study(
        "matched",
        mixer_methods.DIRECTIONS,
        ("recall@1", "recall@10", "map@all"),
        "map@all",
        mixer_methods.METHODS,
        tuple(TRAININGS),
        noisy=("mixer", "plain"),
    ),
    "gated": Study(
        "matched",
        gated_methods.DIRECTIONS,
        ("recall@1", "recall@5", "recall@10", "median-rank", "map@all"),
        "map@all",
        gated_methods.METHODS,
        ("split", "database"),
    ),
}

EXTREMES = {"median-rank": min}
"""Protocols of which the lowest figure is the best."""
