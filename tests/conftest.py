"""In CI the data sets and the demo extra are there: a test that skips for want of them is an error."""

from __future__ import annotations

import os
import re
from collections.abc import Generator

import pytest

ABSENT = re.compile(r"SPDQ_DATA|\babsent\b|\bdemo extra\b")


def _refuse(report: pytest.TestReport | pytest.CollectReport) -> None:
    data = os.environ.get("SPDQ_DATA")
    if not (report.skipped and data and os.environ.get("CI") and isinstance(report.longrepr, tuple)):
        return
    path, line, reason = report.longrepr
    if ABSENT.search(reason):
        report.outcome = "failed"
        report.longrepr = f"{path}:{line}: {reason}\nskipped in CI, where SPDQ_DATA={data} should have it"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    _refuse(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _refuse(report)
    return report
