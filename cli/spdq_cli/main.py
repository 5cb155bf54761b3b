"""The command ``spdq``: its table of commands, its global options, and how it ends."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any, NoReturn

import click

from spdq_cli import errors
from spdq_cli.lazy import LazyCommand, LazyGroup

COMMANDS = {
    "demo": LazyCommand("spdq_cli.commands.demo:demo", "Train, index and search emoji; write a report."),
    "dataset": LazyCommand("spdq_cli.commands.dataset:dataset", "Import, show and split data sets."),
    "build": LazyCommand("spdq_cli.commands.build:build", "Make a search engine of a folder of pictures."),
    "train": LazyCommand("spdq_cli.commands.train:train", "Train a model on a data set."),
    "quantize": LazyCommand(
        "spdq_cli.commands.quantize:quantize", "Learn codebooks from what will be searched."
    ),
    "encode": LazyCommand("spdq_cli.commands.encode:encode", "Turn images or texts into codes."),
    "index": LazyCommand("spdq_cli.commands.index:index", "Build, change, check and export an index."),
    "search": LazyCommand("spdq_cli.commands.search:search", "Search an index by text or image."),
    "serve": LazyCommand("spdq_cli.commands.serve:serve", "Answer searches over HTTP."),
    "evaluate": LazyCommand("spdq_cli.commands.evaluate:evaluate", "Judge a model on a data set's split."),
    "bench": LazyCommand("spdq_cli.commands.bench:bench", "Measure retrieval quality and search speed."),
    "warmup": LazyCommand("spdq_cli.commands.warmup:warmup", "Compile the search kernels and cache them."),
}


class _Spdq(LazyGroup):
    """Ends every error in one line on stderr and its own exit code."""

    def main(self, *args: Any, **kwargs: Any) -> NoReturn:
        try:
            code = super().main(*args, **{**kwargs, "standalone_mode": False})
        except click.ClickException as error:  # The root's own options; all else ends in invoke.
            code = errors.report(error, debug=False)
        sys.exit(code if isinstance(code, int) else 0)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            super().invoke(ctx)
            sys.stdout.flush()
        except click.exceptions.Exit:
            raise
        except BaseException as error:
            raise click.exceptions.Exit(errors.report(error, ctx.params["debug"])) from error


def _print_versions(ctx: click.Context, option: click.Parameter, asked: bool) -> None:
    if not asked or ctx.resilient_parsing:
        return
    # The versions of big packages are read from their metadata: importing them takes seconds.
    from importlib.metadata import PackageNotFoundError, version
    from platform import python_version

    from spdq import __version__

    parts = [f"spdq {__version__}", f"Python {python_version()}"]
    for package in ("numba", "torch"):
        try:
            parts.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            parts.append(f"{package} not installed")
    click.echo(", ".join(parts))
    ctx.exit()


@click.group(
    cls=_Spdq,
    lazy_commands=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "show_default": True, "max_content_width": 110},
)
@click.option("--debug", is_flag=True, help="On an error also print the traceback.")
@click.option(
    "--version",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_print_versions,
    help="Print the versions of spdq, Python, numba and torch, and exit.",
)
def cli(debug: bool) -> None:
    """Compact-code cross-modal search: text finds images, images find text, in 16 to 128 bits an item.

    `spdq demo` shows it all on emoji. With pictures of your own: build, serve. Step by step: dataset import, train,
    index build, search.

    Exit codes: 0 fine (also when nothing is found), 1 a bug, 2 usage, 3 not found, 4 bad data, 5 damaged,
    6 incompatible, 7 locked, 8 storage, 130 Ctrl-C, 143 SIGTERM.
    """


def main() -> NoReturn:
    """Entry point of the command."""
    # Threads of OpenMP that spin while they wait take the cores from those that work: beside other load
    # training becomes ten times slower. Read when torch is imported, which comes later.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    signal.signal(signal.SIGTERM, errors.terminate)
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")  # A terminal without Unicode still gets an answer.
    cli.main(prog_name="spdq")
