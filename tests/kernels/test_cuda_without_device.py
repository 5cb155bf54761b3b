"""What can be told of the CUDA scan where there is no device: who imports it, its errors, its PTX, its simulation."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import spdq_kernels
from spdq_kernels import pack_codes

KERNELS = Path(spdq_kernels.__file__).parents[1]
SIMULATED = os.environ.get("NUMBA_ENABLE_CUDASIM", "0") != "0"

needs_numba_cuda = pytest.mark.skipif(
    importlib.util.find_spec("numba_cuda") is None,
    reason='numba-cuda is not installed: pip install "spdq[cuda]"',
)
compiles = pytest.mark.skipif(SIMULATED, reason="the simulator compiles nothing")

KINDS = [(4, 256), (1, 256), (4, 16), (1, 16)]
DEVICES = [(8, 0), (9, 0)]


def run_python(code):
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={**os.environ, "PYTHONPATH": str(KERNELS)},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_nothing_else_of_the_kernels_imports_it():
    done = run_python(
        "import sys, spdq_kernels, spdq_kernels.cpu\n"
        "print({'spdq_kernels.cuda', 'numba_cuda'} & set(sys.modules))"
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "set()\n", "")


def test_without_numba_cuda_the_error_names_the_extra():
    done = run_python("import sys; sys.modules['numba_cuda'] = None; import spdq_kernels.cuda")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        'ModuleNotFoundError: the scan on a CUDA device needs numba-cuda: pip install "spdq[cuda]"'
    )


@needs_numba_cuda
def test_without_a_device_the_error_says_what_to_use():
    from spdq_kernels.cuda import CudaCodes
    from spdq_kernels.cuda.device import cuda

    if cuda.is_available():
        pytest.skip("there is a CUDA device, or a simulated one")
    with pytest.raises(
        RuntimeError, match=r"no CUDA device, driver or NVVM .* was found: use spdq_kernels\.scan"
    ):
        CudaCodes(pack_codes(np.zeros((9, 1), np.uint8)), 9)


def ptx_of(function, signature, capability):
    from spdq_kernels.cuda import codes
    from spdq_kernels.cuda.device import cuda

    bounds = (codes.THREADS, codes.TEAMS)
    ptx, _ = cuda.compile_ptx(function, signature, cc=capability, launch_bounds=bounds)
    assert f".target sm_{capability[0]}{capability[1]}" in ptx
    assert f".maxntid {codes.THREADS}, 1, 1" in ptx
    return ptx


def shared_bytes(ptx):
    return sum(int(size) for size in re.findall(r"\.shared .*\[(\d+)\];", ptx))


def assembled(ptx, capability):
    """Assemble as the driver would, and return what the assembler says of registers and memory."""
    from cuda.bindings import nvjitlink

    link = nvjitlink.create(2, [f"-arch=sm_{capability[0]}{capability[1]}", "-verbose"])
    try:
        source = ptx.encode()
        nvjitlink.add_data(link, nvjitlink.InputType.PTX, source, len(source), "kernel")
        nvjitlink.complete(link)
        assert nvjitlink.get_linked_cubin_size(link) > 0
        log = bytearray(nvjitlink.get_info_log_size(link))
        nvjitlink.get_info_log(link, log)
    finally:
        nvjitlink.destroy(link)
    return log.decode()


@needs_numba_cuda
@compiles
@pytest.mark.parametrize("capability", DEVICES)
@pytest.mark.parametrize(("n_queries", "columns"), KINDS)
def test_the_compiled_scan(n_queries, columns, capability):
    from spdq_kernels.cuda import codes, kernels

    ptx = ptx_of(kernels.scan_function(n_queries, columns), kernels.SCAN_TYPES, capability)
    tables = 1 if columns == 256 else 2
    # 16 codes in one load; a look-up serves all queries of a team where the tables lie so that it can
    assert len(re.findall(r"ld\.global\.nc\.v4\.u32", ptx)) == 1
    looks = re.findall(r"ld\.shared(\.v4)?\.f32", ptx)
    together = columns == 256 and n_queries == 4
    assert looks == ([".v4"] * 16 if together else [""] * (16 * tables * n_queries))
    # the sums: additions in float32 and nothing else, in registers, without flushing subnormal numbers
    assert len(re.findall(r"add\.f32", ptx)) == 16 * tables * n_queries
    assert not re.search(r"\.f64|\.ftz|fma\.|mul\.f32|mad\.f32|\.local", ptx)
    assert shared_bytes(ptx) <= 48 << 10
    registers = int(re.search(r"Used (\d+) registers", assembled(ptx, capability))[1])
    assert registers * codes.THREADS * codes.TEAMS <= 64 << 10


@needs_numba_cuda
@compiles
@pytest.mark.parametrize("capability", DEVICES)
def test_the_compiled_merge(capability):
    from spdq_kernels.cuda import kernels

    ptx = ptx_of(kernels.merge, kernels.MERGE_TYPES, capability)
    assert not re.search(r"\.f32|\.f64|\.local", ptx)
    assert shared_bytes(ptx) <= 48 << 10
    assert "Used" in assembled(ptx, capability)


@needs_numba_cuda
@compiles
def test_the_simulator_agrees_with_the_reference():
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            Path(__file__).with_name("test_cuda.py"),
        ],
        env={**os.environ, "NUMBA_ENABLE_CUDASIM": "1", "PYTHONPATH": str(KERNELS)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout
    assert re.search(r"\d\d passed", done.stdout)
