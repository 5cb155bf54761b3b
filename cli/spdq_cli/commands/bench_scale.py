"""``spdq bench scale``."""

from __future__ import annotations

from pathlib import Path

import click

from spdq_cli.bench_output import typed_command
from spdq_cli.errors import note
from spdq_cli.output import json_option, print_json


@click.command(short_help="Measure a Mixer of a million classes and a log of five million clicks.")
@click.option(
    "--out",
    metavar="FOLDER",
    type=click.Path(path_type=Path),
    required=True,
    help="Write scale.md and scale.json there; a checkpoint and the click log lie there meanwhile.",
)
@click.option(
    "--classes", type=click.IntRange(min=2), default=1_000_000, show_default=True, help="Of the Mixer."
)
@click.option(
    "--rows", type=click.IntRange(min=1), default=5_000_000, show_default=True, help="Of the click log."
)
@click.option(
    "--steps", type=click.IntRange(min=1), default=30, show_default=True, help="Of training, that are timed."
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Draws the data.")
@click.option("-q", "--quiet", is_flag=True, help="Do not tell what is being measured.")
@json_option
def scale(out: Path, classes: int, rows: int, steps: int, seed: int, quiet: bool, as_json: bool) -> None:
    """Train a Mixer with very many classes and read a very long click log, both of made data, and print how many items
    and rows a second that makes and what memory it takes.

    Each part runs in a process of its own, on one thread; leave the machine alone meanwhile.
    """
    from dataclasses import asdict

    from spdq_benchmarks.systems.scale import measure_scale, table, write_report

    found = measure_scale(out, classes, rows, steps, seed, (lambda line: None) if quiet else note)
    write_report(found, out, typed_command(click.get_current_context()))
    if as_json:
        print_json(asdict(found))
    else:
        click.echo(table(found))
