from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import spdq_kernels
from spdq_kernels import contract, reference

KERNELS = Path(spdq_kernels.__file__).parents[1]

ONE_SIGNATURE_EACH = """
import spdq_kernels
from spdq_kernels import cpu
spdq_kernels.warmup()
counts = {name: len(getattr(cpu, name).signatures) for name in cpu._signatures}
assert all(count <= 1 for count in counts.values()), counts
for name in cpu._signatures:
    cpu.compiled(name)
counts = {name: getattr(cpu, name).signatures for name in cpu._signatures}
assert all(found == [cpu._signatures[name].args] for name, found in counts.items()), counts
"""


def test_each_kernel_has_the_signature_it_declares_and_no_other(tmp_path):
    # A cache of its own: kernels that come out of a cache do not show what those they call were compiled for.
    done = subprocess.run(
        [sys.executable, "-c", ONE_SIGNATURE_EACH],
        env={"PYTHONPATH": str(KERNELS), "XDG_CACHE_HOME": str(tmp_path), "PATH": ""},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_kernels_know_the_block_of_the_contract():
    from spdq_kernels import cpu

    assert cpu.BLOCK_ROWS == contract.BLOCK_ROWS == spdq_kernels.BLOCK_ROWS == 256


def test_no_kernel_brings_threads_or_fast_mathematics():
    source = (KERNELS / "spdq_kernels" / "cpu.py").read_text()
    assert "prange" not in source
    assert "parallel" not in source
    assert "fastmath=True" not in source


def test_the_reference_has_every_public_function():
    functions = {name for name in spdq_kernels.__all__ if callable(getattr(spdq_kernels, name))}
    assert functions - {"warmup", "WordProducts"} == set(reference.__all__)
