from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TEST = """
import pytest

@pytest.mark.skipif(True, reason={reason!r})
def test_marked():
    pass

def test_inside():
    pytest.skip({reason!r})
"""
MODULE = "import pytest\npytest.importorskip('no_such_module', reason={reason!r})\n"


@pytest.mark.parametrize(("text", "reason", "setting", "outcome"), [
    (TEST, "the set is absent (SPDQ_DATA/set)", {"CI": "true", "SPDQ_DATA": "x"}, "1 failed, 1 error"),
    (MODULE, "needs the demo extra", {"CI": "true", "SPDQ_DATA": "x"}, "1 error"),
    (TEST, "needs the right to mount", {"CI": "true", "SPDQ_DATA": "x"}, "2 skipped"),
    (TEST, "the Wikipedia set is absent", {"CI": "true"}, "2 skipped"),
    (MODULE, "needs the demo extra", {"SPDQ_DATA": "x"}, "1 skipped"),
])  # fmt: skip
def test_ci_does_not_skip_for_want_of_data(tmp_path, text, reason, setting, outcome):
    shutil.copy(Path(__file__).with_name("conftest.py"), tmp_path)
    (tmp_path / "test_it.py").write_text(text.format(reason=reason))
    environment = {name: value for name, value in os.environ.items() if name not in {"CI", "SPDQ_DATA"}}
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", tmp_path, tmp_path],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**environment, **setting},
        check=False,
    )
    assert run.stdout.splitlines()[-1].startswith(outcome), run.stdout
    if "skipped" not in outcome:
        assert run.returncode
        assert reason in run.stdout
        assert "skipped in CI, where SPDQ_DATA=x should have it" in run.stdout
