"""Names of baselines: each has a class of its own that carries it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from spdq.errors import UsageError
from spdq_benchmarks.baselines.contract import Baseline
from spdq_benchmarks.baselines.registry import HOMES, baseline_class


@pytest.mark.parametrize("name", HOMES)
def test_name_leads_to_the_class_that_has_it(name: str) -> None:
    found = baseline_class(name)
    assert issubclass(found, Baseline)
    assert found.name == name


def test_no_two_names_share_a_class() -> None:
    assert len({baseline_class(name) for name in HOMES}) == len(HOMES)


def test_unknown_name_lists_the_known() -> None:
    with pytest.raises(UsageError, match="unknown baseline 'dcmhh': known are cvh, cca, cca-itq"):
        baseline_class("dcmhh")


def test_names_are_had_without_loading_a_method() -> None:
    seen = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys, spdq_benchmarks.baselines.registry; print('torch' in sys.modules)",
        ],
        check=True,
        capture_output=True,
        text=True,
        env={"PYTHONPATH": ":".join(path for path in sys.path if path)},
    )
    assert seen.stdout == "False\n"
