"""What decides a record of a retrieval run, in one hash: one with the same need not be made again."""

from __future__ import annotations

import hashlib
from functools import cache

from spdq.models.directory import canonical_json
from spdq_benchmarks.baselines.registry import HOMES
from spdq_benchmarks.content import NOT_DECISIVE, code_digest, package_versions
from spdq_benchmarks.retrieval.methods import known_settings

ONLY_NAMES_FOR_BASELINES = {"spdq.models.model", "spdq.models.spaces", "spdq_benchmarks.evaluation"}
"""Of which what baselines need takes nothing but types and names."""


def job_key(
    digest: str, training: str, seed: int, method: str, protocols: tuple[str, ...], bits: int, coding: str
) -> str:
    """Hex SHA-256 of what decides a record; ``digest`` is the data set's."""
    decisive = {
        "dataset": digest,
        "training": training,
        "seed": seed,
        "method": method,
        "settings": known_settings(method),
        "protocols": protocols,
        "bits": bits,
        "coding": coding,
        "code": source_digest(method),
        "packages": package_versions(),
    }
    return hashlib.sha256(canonical_json(decisive)).hexdigest()


@cache
def source_digest(method: str) -> str:
    """Hex SHA-256 of the code that a method's figures come from, without comments, docstrings and layout."""
    here = "spdq_benchmarks.retrieval"
    start = [f"{here}.judging", f"{here}.trainings"]
    left_out = set(NOT_DECISIVE)
    if method in HOMES:
        module = HOMES[method].partition(":")[0]
        start += [f"{here}.contestant_baseline", f"spdq_benchmarks.baselines.{module}"]
        left_out |= ONLY_NAMES_FOR_BASELINES
    else:
        start.append(f"{here}.contestant_spdq")
    return code_digest(start, left_out)
