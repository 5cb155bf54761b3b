"""The figures as Markdown and JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from spdq.errors import StorageError
from spdq.models.directory import write_bytes
from spdq_benchmarks.index_figures import Figure
from spdq_benchmarks.speed.machine import load_average, machine_facts

MARKDOWN, FIGURES = "serving.md", "serving.json"


def table(figures: Sequence[Figure], command: str) -> str:
    """A Markdown table, with the machine and the command."""
    machine = machine_facts()
    rows = ["| what | measured | asked for |", "|---|---|---|"]
    for figure in figures:
        must = (
            ""
            if figure.must is None
            else f"at most {figure.must:g}{'' if figure.reached else ' (NOT reached)'}"
        )
        rows.append(f"| {figure.name} | {figure.value:.4g} {figure.unit} | {must} |")
    facts = f"{machine['cpu']}, {machine['cores']} cores, load average {load_average()} at the end"
    return "\n".join([f"{facts}. Command: `{command}`", "", *rows])


def as_json(figures: Sequence[Figure]) -> list[dict[str, Any]]:
    """The figures as plain values."""
    return [asdict(figure) | {"reached": figure.reached} for figure in figures]


def write_report(folder: Path, figures: Sequence[Figure], command: str) -> None:
    """Write ``serving.md`` and ``serving.json`` into a folder that exists. Raises StorageError."""
    files = {
        MARKDOWN: table(figures, command) + "\n",
        FIGURES: json.dumps({"command": command, "figures": as_json(figures)}, indent=2) + "\n",
    }
    for name, text in files.items():
        try:
            write_bytes(folder / name, text.encode())
        except OSError as error:
            raise StorageError(f"cannot write {folder / name}: {error.strerror}") from error
