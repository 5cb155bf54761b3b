"""Options of the benchmarks that keep records, where these go, and the command that stands in the report."""

from __future__ import annotations

import shlex
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource

Command = TypeVar("Command", bound=Callable[..., Any])


workers_option = click.option(
    "--workers", type=click.IntRange(min=1), help="Processes, one thread each.  [default: one a core]"
)


def out_option(files: str) -> Callable[[Command], Command]:
    """``--out FOLDER`` of a benchmark that writes these files beside its records."""
    return click.option(
        "--out",
        metavar="FOLDER",
        type=click.Path(path_type=Path),
        help=f"Keep the records there, and write {files}. A run that was interrupted goes on from the records.  "
        "[default: print only]",
    )


def typed_command(context: click.Context) -> str:
    """The command line, arguments first."""
    words, options = [], []
    for param in context.command.params:
        name = param.name or ""
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            value = context.params[name]
            values = [str(each) for each in (value if isinstance(value, tuple) else (value,))]
            if isinstance(param, click.Argument):
                words += values
            elif isinstance(param, click.Option) and param.is_flag:
                options.append(param.opts[0])
            else:
                options += [word for each in values for word in (param.opts[0], each)]
    return shlex.join([*context.command_path.split(), *words, *options])


@contextmanager
def output_folder(out: Path | None) -> Iterator[Path]:
    """The folder for records: the user's, or one that is gone afterwards."""
    if out is None:
        with tempfile.TemporaryDirectory(prefix="spdq-bench-") as temporary:
            yield Path(temporary)
    else:
        from spdq_benchmarks.record_files import make_folder

        make_folder(out)
        yield out
