"""What a method is trained on: the split's training rows, what is searched as well, or wrong classes."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from spdq.data.dataset import Dataset
from spdq.data.splits import Split
from spdq.errors import DataError
from spdq_benchmarks.systems.vectors import checked_split


@dataclass(frozen=True)
class Training:
    """One way to change what is trained on; queries, database and relevance stay those of the data set.

    Parameters
    ----------
    about
        As it stands in a report.
    database
        Whether all of the database is trained on, too, as by a shop that knows its own catalogue.
    shuffled
        Percent of the training rows whose classes are given to one another at random.
    """

    about: str
    database: bool = False
    shuffled: int = 0

    def of(self, dataset: Dataset, seed: int) -> Dataset:
        """The data set to learn from. Raises DataError where it has no classes to shuffle."""
        split = checked_split(dataset)
        if self.database:
            train = np.union1d(split.train, split.database)
            dataset = dataset.with_split(Split(split.query, train, split.database, split.kind, split.seed))
        if self.shuffled:
            dataset = dataclasses.replace(dataset, classes=self._shuffled_classes(dataset, seed))
        return dataset

    def _shuffled_classes(self, dataset: Dataset, seed: int) -> np.ndarray:
        if dataset.classes is None:
            raise DataError(f"data set {dataset.name} has no /classes to shuffle")
        random = np.random.default_rng([seed, 8])
        train, classes = checked_split(dataset).train, dataset.classes.copy()
        chosen = random.choice(train, len(train) * self.shuffled // 100, replace=False)
        classes[chosen] = classes[random.permutation(chosen)]
        return classes


TRAININGS = {
    "split": Training("trained on the split's training rows"),
    "database": Training("the database is trained on, too", database=True),
    "shuffled10": Training("10 % of the training rows have shuffled classes", shuffled=10),
    "shuffled30": Training("30 % of the training rows have shuffled classes", shuffled=30),
}
