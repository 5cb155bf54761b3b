"""Every set of instructions gives the same results, and the one chosen here is used."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import spdq_kernels
from spdq_kernels import cpu
from spdq_kernels.cpu import simd

KERNELS = Path(spdq_kernels.__file__).parents[1]

SAME_AS_THE_REFERENCE = """
import numpy as np
from spdq_kernels import RowFilter, filtered, hamming_scan, lists, pack_codes, range_scan, reference, scan
from spdq_kernels.cpu.simd import LEVEL
from spdq_kernels.lists import reference as lists_reference

random = np.random.default_rng(0)
def same(function, *arguments, twins=reference, **options):
    found = function(*arguments, **options)
    for a, b in zip(found, getattr(twins, function.__name__)(*arguments, **options), strict=True):
        assert a.tobytes() == b.tobytes(), (function, LEVEL)

n = 20_000
some = RowFilter(random.random(n) < 0.3)
for bits in (8, 4):
    codes = random.integers(0, 1 << bits, (n, 6), np.uint8)
    tables = random.standard_normal((3, 6, 1 << bits)).astype(np.float32)
    blocks = pack_codes(codes, bits)
    for k in (1, 300):
        same(scan, tables, blocks, n, k)
        for way in ("mask", "gather"):
            filtered.way_to_filter = lambda *_: way
            same(scan, tables, blocks, n, k, allowed=some)
    same(range_scan, tables, blocks, n, -5.0)
    packed = lists.pack(codes, random.integers(0, 40, n), 40, bits)
    centroids = lists.Centroids(random.standard_normal((40, 18)).astype(np.float32))
    queries = random.standard_normal((3, 18)).astype(np.float32)
    same(lists.nearest, queries, centroids, 20, twins=lists_reference)
    offsets, probes = lists.nearest(queries, centroids, 20)
    parts = lists.ListTables(random.standard_normal((40, 6, 1 << bits)).astype(np.float32))
    for options in ({}, {"offsets": offsets, "list_tables": parts, "allowed": some}):
        same(lists.scan, tables, packed, probes, 50, twins=lists_reference, **options)
        same(lists.range_scan, tables, packed, probes, 1.0, twins=lists_reference, **options)
codes = random.integers(0, 256, (n, 6), np.uint8)
same(hamming_scan, codes[:3], pack_codes(codes), n, 50)
print(LEVEL, end="")
"""

FEATURES = {
    "avx512bw": ("skylake-avx512", ""),
    "avx2": ("haswell", ""),
    "ssse3": ("nehalem", ""),
    "generic": ("x86-64", ""),
}
"""Processors to compile for, so that nothing newer can slip in."""


def run(code: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={"PYTHONPATH": str(KERNELS), "PATH": "", **environment},
        capture_output=True,
        text=True,
        timeout=400,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif("ssse3" not in simd.FLAGS, reason="this is not an x86 processor")
@pytest.mark.parametrize("level", FEATURES)
def test_every_level_gives_the_same_results(tmp_path, level):
    if not simd.FLAGS.issuperset(simd.LEVELS[level]):
        pytest.skip(f"this processor has no {level}")
    name, features = FEATURES[level]
    environment = {"NUMBA_CPU_NAME": name, "NUMBA_CPU_FEATURES": features, "SPDQ_SIMD": level}
    assert run(SAME_AS_THE_REFERENCE, XDG_CACHE_HOME=str(tmp_path), **environment) == level


def test_the_level_follows_the_flags():
    assert simd.processor_level({"avx512vbmi", "avx512bw", "avx2", "ssse3"}) == "avx512vbmi"
    assert simd.processor_level({"avx512bw", "avx2", "ssse3"}) == "avx512bw"
    assert simd.processor_level({"avx512vbmi", "avx2", "ssse3"}) == "avx2"
    assert simd.processor_level({"neon"}) == "neon"
    assert simd.processor_level(set()) == "generic"
    assert simd.processor_level({"avx2", "ssse3"}, "ssse3") == "ssse3"


@pytest.mark.parametrize("forced", ["avx512bw", "fast"])
def test_a_level_the_processor_cannot_run(forced):
    with pytest.raises(ValueError, match=f"SPDQ_SIMD={forced}: this processor can run avx2, ssse3, generic"):
        simd.processor_level({"avx2", "ssse3"}, forced)


@pytest.mark.skipif(simd.LEVEL != "avx512vbmi", reason="this processor has no AVX-512 VBMI")
@pytest.mark.parametrize(
    ("kernel", "instructions", "others"),
    [
        (
            "scan_blocks_bytes",
            {"vpermt2b|vpermi2b": 8, "vpmovb2m": 8, "vpaddusb": 8, "vpcmpleub": 8},
            "gather",
        ),
        ("scan_blocks_halves", {"vpshufb": 16, "vpaddusb": 8, "vpcmpleub": 8}, "gather"),
        ("scan_blocks_bits", {"vpopcntb": 4, "vpaddusb": 4}, "gather"),
    ],
)
def test_the_assembly_of_the_hot_loop(kernel, instructions, others):
    # Compiled anew: a kernel from the cache has no assembly to show.
    code = f"""
from numba import njit
from spdq_kernels.cpu import block_scan, compiler
made = njit(nogil=True, error_model="numpy")(block_scan.{kernel}.py_func)
made.compile(compiler._signatures["{kernel}"])
print("".join(made.inspect_asm().values()))
"""
    assembly = run(code)
    for name, least in instructions.items():
        assert len(re.findall(rf"\s(?:{name})\s+[^\n]*zmm", assembly)) >= least, name
    assert others not in assembly


NEON = """
import numpy as np
from llvmlite import binding
from numba import njit, types
from spdq_kernels import contract
from spdq_kernels.cpu import blocks, lookups, simd
lookups.LEVEL, lookups.HAS_GFNI = "neon", False

def sums(small, order, n_bytes, code):
    empty = simd.zeros()
    at = (code, code + 64, code + 128, code + 192)
    found = blocks.add_bytes(small, {kind}, order, 0, n_bytes, at, 256, 64, (empty, empty, empty, empty))
    limit = simd.repeat(np.uint8(254))
    return simd.at_most(found[0], limit) | simd.at_most(found[1], limit) | (
        simd.at_most(found[2], limit) | simd.at_most(found[3], limit)
    )

class Stop(Exception):
    pass

# The code is wanted before it becomes this processor's.
def catch(library, module):
    if "uadd.sat" in str(module):
        caught.append(str(module))
        raise Stop
    add_module(library, module)

from numba.core.codegen import CPUCodeLibrary
caught, add_module = [], CPUCodeLibrary.add_ir_module
CPUCodeLibrary.add_ir_module = catch
try:
    njit(error_model="numpy")(sums).compile((types.int64,) * 4)
except Stop:
    pass
binding.initialize_all_targets()
binding.initialize_all_asmprinters()
triple = "aarch64-unknown-linux-gnu"
machine = binding.Target.from_triple(triple).create_target_machine(cpu="neoverse-n1", opt=3)
text = "\\n".join(
    line for line in caught[0].splitlines() if not line.startswith(("target triple", "target datalayout"))
)
module = binding.parse_assembly(text)
module.triple, module.data_layout = triple, str(machine.target_data)
options = binding.create_pipeline_tuning_options(speed_level=3)
builder = binding.create_pass_builder(machine, options)
builder.getModulePassManager().run(module, builder)
print(machine.emit_assembly(module))
"""


@pytest.mark.parametrize(
    ("kind", "lookups", "least"),
    [
        ("contract.BYTES", r"tbl\s+v\d+\.16b, \{ [^}]*,[^}]*,[^}]*,", 64),
        ("contract.HALVES", r"tbl\s", 32),
        ("contract.BITS", r"cnt\s", 16),
    ],
)
def test_the_neon_path_compiles_for_arm(kind, lookups, least):
    """Compiled and inspected here, run by nobody yet."""
    assembly = run(NEON.replace("{kind}", kind))
    assert len(re.findall(lookups, assembly)) >= least
    assert "uqadd" in assembly


def test_what_is_chosen_here_is_used():
    assert cpu.compiled("scan_bytes") is cpu.scan.scan_bytes
    assert simd.LEVEL in simd.LEVELS
