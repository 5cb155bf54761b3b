"""Every method that can take part, by its name on the command line."""

from __future__ import annotations

from spdq.data.dataset import Dataset
from spdq.errors import UsageError
from spdq.training.recipes import training_recipe
from spdq_benchmarks.baselines.registry import HOMES, baseline_class
from spdq_benchmarks.retrieval.contestant import LEARNED_BITS, Learned
from spdq_benchmarks.retrieval.contestant_baseline import learn_baseline
from spdq_benchmarks.retrieval.contestant_spdq import CHANGES, learn_spdq, spdq_settings

METHODS = (*CHANGES, *HOMES)


def check_method(name: str) -> None:
    """UsageError lists the known methods."""
    if name not in METHODS:
        raise UsageError(f"unknown method {name!r}: known are {', '.join(METHODS)}")


def needs_labels(method: str) -> bool:
    """Whether a method learns from labels."""
    return method in CHANGES or baseline_class(method).needs_labels


def known_settings(method: str) -> dict[str, object]:
    """The numbers that decide a method's result and stand in no code of its own."""
    if method in CHANGES:
        return spdq_settings(method)
    recipe = training_recipe("default")
    return {
        "image_width": recipe.image_width,
        "text_width": recipe.text_width,
        "learned_bits": LEARNED_BITS,
    }


def learn(method: str, dataset: Dataset, seed: int) -> Learned:
    """Learn on the training rows of the data set's split. Raises what the method raises: mostly DataError."""
    return (learn_spdq if method in CHANGES else learn_baseline)(method, dataset, seed)
