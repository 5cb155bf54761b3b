"""``spdq bench serving``."""

from __future__ import annotations

from pathlib import Path

import click

from spdq_cli.bench_output import typed_command
from spdq_cli.errors import note
from spdq_cli.output import json_option, print_json

PATH = click.Path(path_type=Path)


@click.command(short_help="Load, overload and attack a server; measure how it answers.")
@click.option(
    "--model",
    metavar="MODEL_DIR",
    type=PATH,
    help="Also measure searches by texts, and let pictures be decoded.  [default: vectors alone]",
)
@click.option("--rows", type=click.IntRange(min=1000), default=1_000_000, show_default=True, help="Items.")
@click.option(
    "--rate", type=click.FloatRange(min=1), default=100.0, show_default=True, help="Searches a second."
)
@click.option(
    "--seconds",
    type=click.FloatRange(min=1),
    default=30.0,
    show_default=True,
    help="Of each load, and overload.",
)
@click.option(
    "--ray",
    "on_ray",
    is_flag=True,
    help="Compare the plain server with Ray Serve instead, over one index and two shards.",
)
@click.option(
    "--quick", is_flag=True, help="Few items, seconds: shows that all of it works, not how fast it is."
)
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Draws codes and vectors."
)
@click.option(
    "--out",
    metavar="FOLDER",
    type=PATH,
    help="Write serving.md and serving.json there.  [default: print only]",
)
@click.option("-q", "--quiet", is_flag=True, help="Do not tell what has been measured.")
@json_option
def serving(
    model: Path | None,
    rows: int,
    rate: float,
    seconds: float,
    on_ray: bool,
    quick: bool,
    seed: int,
    out: Path | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """Serve an index of random codes over HTTP on this machine and measure it from outside: searches at a fixed rate,
    whose times count from when they were to be sent; five times as many as it can answer, and how soon it is normal
    again; hostile requests and what memory they cost.

    Server and client are processes on cores of their own (extra "serve"). Two minutes; leave the machine alone
    meanwhile.
    """
    from spdq_benchmarks.serving.benchmark import QUICK, Settings
    from spdq_benchmarks.serving.table import as_json as plain
    from spdq_benchmarks.serving.table import table, write_report
    from spdq_benchmarks.speed.table import check_folder

    if out is not None:
        check_folder(out)
    if on_ray:
        from spdq_benchmarks.serving.on_ray import compared_figures as measure
    else:
        from spdq_benchmarks.serving.benchmark import serving_figures as measure
    settings = QUICK if quick else Settings(rows, rate, seconds, seconds, seed)
    figures = measure(settings, model, (lambda line: None) if quiet else note)
    command = typed_command(click.get_current_context())
    if out is not None:
        write_report(out, figures, command)
    if as_json:
        print_json(plain(figures))
    else:
        click.echo(table(figures, command))
