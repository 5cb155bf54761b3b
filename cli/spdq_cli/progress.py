"""A progress bar on stderr for everything that reports (done, total)."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

Progress = Callable[[int, int], None]

quiet_option = click.option("-q", "--quiet", is_flag=True, help="No progress bar.")
"""The option ``--quiet`` of every command that takes a while."""


@contextmanager
def progress_bar(label: str, quiet: bool) -> Iterator[Progress | None]:
    """A callable for the library's ``progress`` arguments; None if ``quiet`` or stderr is no terminal."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn(label), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(label, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
