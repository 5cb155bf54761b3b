"""The one face of all that takes part: something learned that embeds, encodes and ranks."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Codes = NDArray[np.uint8]
Rows = NDArray[np.int64]

LEARNED_BITS = 64
"""A method that learns its vectors once for all code lengths, or whose learning looks at a code, does it for these."""


class Contestant(ABC):
    """A method with codes of one length, learned on the training rows of a data set; rows are those of the set."""

    query: ClassVar[Literal["float", "code"]] = "float"
    """Whether a query stays a float vector or becomes a code too."""

    def __init__(
        self, bits: int, settings: dict[str, Any], train_seconds: float, code_seconds: float
    ) -> None:
        self.bits = bits
        self.settings = settings
        self.train_seconds = train_seconds
        """Fitting the inputs and learning, with the codes that were learned in the course of it."""
        self.code_seconds = code_seconds
        """What codes of this length took on top of that."""

    @abstractmethod
    def images(self, rows: Rows) -> Floats:
        """Vectors (n, D) of the pictures of rows, from their features."""

    @abstractmethod
    def texts(self, rows: Rows, first_line: bool = False) -> Floats:
        """Vectors (n, D) of the texts of rows (or of the first line of each), from their features."""

    @abstractmethod
    def units(self, images: Floats, texts: Floats) -> Floats:
        """Vectors (n, D) of units from those of their parts."""

    def weighted(self, queries: Floats) -> Floats:
        """Vectors of images or texts as they meet a database."""
        return queries

    @abstractmethod
    def encode(self, vectors: Floats) -> Codes:
        """Codes (n, bits / 8) of vectors (n, D)."""

    @abstractmethod
    def code_distances(self, queries: Floats, codes: Codes) -> NDArray[Any]:
        """Distances (nq, n), smaller = closer, of weighted queries to codes."""

    def vector_distances(self, queries: Floats, vectors: Floats) -> NDArray[Any]:
        """Distances (nq, n) to the vectors that codes stand for: the negative inner product."""
        return -(queries @ vectors.T)


class Learned(ABC):
    """A method that has learned: it makes codes of any length."""

    @property
    @abstractmethod
    def floats(self) -> Contestant | None:
        """What is judged by float vectors; None where vectors are not compared or each length has its own."""

    @abstractmethod
    def with_bits(self, bits: int) -> Contestant:
        """The method with codes of that length."""


class Stopwatch:
    """CPU seconds of this process inside ``with``: those of a quiet machine, as jobs have one thread."""

    seconds = 0.0


@contextmanager
def stopwatch() -> Iterator[Stopwatch]:
    """Time a block."""
    watch, start = Stopwatch(), time.process_time()
    yield watch
    watch.seconds = time.process_time() - start
