"""Data on stdout: a table for people on a terminal, tab-separated lines in a pipe, JSON where asked for."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from spdq.errors import StorageError
from spdq_cli.errors import printable

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
"""The option ``--json`` of every command that prints data."""


def print_json(value: Any) -> None:
    """One JSON value in one line."""
    _print(json.dumps(value, ensure_ascii=False))


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Rows under their columns' names. None is shown as a dash, floats with four decimals."""
    cells = [[_cell(value) for value in row] for row in rows]
    if sys.stdout.isatty():
        _print_rich(columns, cells)
        return
    _print("\n".join("\t".join(line) for line in [list(columns), *cells]))


def print_facts(facts: Mapping[str, Any], as_json: bool) -> None:
    """Names and values; a value that is a mapping itself is shown under both names."""
    if as_json:
        print_json(facts)
        return
    rows: list[tuple[str, Any]] = []
    for name, value in facts.items():
        if isinstance(value, Mapping) and value:
            rows += [(f"{name}.{part}", inner) for part, inner in value.items()]
        else:
            rows.append((name, value or None if isinstance(value, Mapping) else value))
    print_table(("what", "value"), rows)


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4f}" if isinstance(value, float) else printable(str(value))


def _print_rich(columns: Sequence[str], cells: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for number, column in enumerate(columns):
        numeric = all(row[number].replace(".", "").lstrip("-").isdecimal() for row in cells)
        table.add_column(column, justify="right" if cells and numeric else "left", overflow="fold")
    for row in cells:
        table.add_row(*map(Text, row))  # Text: brackets in a name are no markup.
    Console(highlight=False).print(table)


def _print(text: str) -> None:
    try:
        click.echo(text)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise StorageError(f"cannot write to standard output: {error.strerror}") from error


def write_json_file(path: Path, value: Any) -> None:
    """A whole JSON file or none. Raises StorageError."""
    from spdq.models.directory import write_bytes

    try:
        write_bytes(path, (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode())
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror}") from error
