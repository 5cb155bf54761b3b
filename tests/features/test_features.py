from __future__ import annotations

import subprocess
import sys

import pytest

import spdq.features


def test_every_export_is_there():
    for name in spdq.features.__all__:
        assert getattr(spdq.features, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = spdq.features.nothing


@pytest.mark.parametrize(("use", "absent"), [
    ("import spdq.features", "numpy PIL torch sklearn"),
    ("from spdq.features import image_extractor as f; f('lite0:224').settings()", "torch sklearn scipy"),
    ("from spdq.features import WordExtractor", "torch PIL"),
])  # fmt: skip
def test_only_what_is_used_is_loaded(use, absent):
    code = f"import sys; {use}; sys.exit(', '.join(set({absent.split()}) & set(sys.modules)) or 0)"
    environment = {"PYTHONPATH": ":".join(sys.path)}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert (run.returncode, run.stderr) == (0, "")
