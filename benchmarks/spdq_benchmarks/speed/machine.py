"""What figures of speed depend on: processor, versions, and how busy the machine is."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
PACKAGES = ("numpy", "numba", "llvmlite", "faiss-cpu", "scann", "usearch")


def machine_facts() -> dict[str, Any]:
    """Processor, its SIMD flags, the level our kernels use of them, caches and versions."""
    from spdq import __version__
    from spdq_kernels.cpu.simd import FLAGS, LEVEL

    return {
        "cpu": _cpu_model(),
        "architecture": platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "caches": _caches(),
        "simd_level": LEVEL,
        "simd_flags": sorted(
            flag for flag in FLAGS if flag.startswith(("avx", "ssse", "sse4", "gfni", "amx", "neon"))
        ),
        "python": platform.python_version(),
        "versions": {"spdq": __version__} | {name: _version(name) for name in PACKAGES},
    }


def load_average() -> float:
    """Processes that wanted to run, mean over the last minute."""
    return round(os.getloadavg()[0], 2)


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or "unknown")


def _caches() -> dict[str, str]:
    """Sizes by level as Linux tells them, none elsewhere."""
    found = {}
    for folder in sorted(CACHES.glob("index*")):
        try:
            level, kind, size = ((folder / name).read_text().strip() for name in ("level", "type", "size"))
        except OSError:  # Firmware need not tell.
            continue
        if kind != "Instruction":
            found[f"L{level}"] = size
    return found


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
