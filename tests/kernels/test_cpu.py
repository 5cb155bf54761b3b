from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import spdq_kernels
from spdq_kernels import reference

KERNELS = Path(spdq_kernels.__file__).parents[1]

ONE_SIGNATURE_EACH = """
import spdq_kernels
from spdq_kernels import cpu
from spdq_kernels.cpu import compiler
spdq_kernels.warmup()
counts = {name: len(kernel.signatures) for name, kernel in compiler._kernels.items()}
assert all(count <= 1 for count in counts.values()), counts
for name in cpu.names():
    cpu.compiled(name)
found = {name: kernel.signatures for name, kernel in compiler._kernels.items()}
assert all(one == [compiler._signatures[name].args] for name, one in found.items()), found
"""


def test_each_kernel_has_the_signature_it_declares_and_no_other(tmp_path):
    # A cache of its own: kernels that come out of a cache do not show what those they call were compiled for.
    done = subprocess.run(
        [sys.executable, "-c", ONE_SIGNATURE_EACH],
        env={"PYTHONPATH": str(KERNELS), "XDG_CACHE_HOME": str(tmp_path), "PATH": ""},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_no_kernel_brings_threads_or_fast_mathematics():
    for path in (KERNELS / "spdq_kernels" / "cpu").glob("*.py"):
        source = path.read_text()
        assert "prange" not in source
        assert "parallel" not in source
        assert "fastmath=True" not in source


def test_the_reference_has_every_public_function():
    functions = {name for name in spdq_kernels.__all__ if callable(getattr(spdq_kernels, name))}
    # A guess that is made of scans needs no twin.
    assert functions - {"warmup", "WordProducts", "RowFilter", "sample_bounds"} == set(reference.__all__)
