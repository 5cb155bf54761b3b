"""The Python files of the four packages, parsed: what tests of layers and house rules look at."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent
HOMES = {
    "spdq": ROOT / "spdq",
    "spdq_kernels": ROOT / "kernels" / "spdq_kernels",
    "spdq_cli": ROOT / "cli" / "spdq_cli",
    "spdq_benchmarks": ROOT / "benchmarks" / "spdq_benchmarks",
}


@dataclass(frozen=True)
class Source:
    """One file: its dotted ``module``, its path from the repository root, its syntax tree."""

    module: str
    path: str
    tree: ast.Module

    @property
    def package(self) -> str:
        return self.module.partition(".")[0]


@cache
def sources() -> tuple[Source, ...]:
    found = []
    for package, home in HOMES.items():
        for file in sorted(home.rglob("*.py")):
            parts = [package, *file.relative_to(home).with_suffix("").parts]
            module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            found.append(Source(module, str(file.relative_to(ROOT)), ast.parse(file.read_text("utf-8"))))
    return tuple(found)
