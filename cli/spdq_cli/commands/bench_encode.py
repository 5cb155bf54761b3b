"""``spdq bench encode``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from spdq_cli.errors import note
from spdq_cli.output import json_option, print_json

PATH = click.Path(path_type=Path)


@click.command(short_help="Measure encoding by Ray beside encoding by one process.")
@click.argument("model_dir", type=PATH)
@click.argument("pictures", metavar="FOLDER", type=PATH)
@click.option(
    "--kind",
    "kinds",
    type=click.Choice(["pictures", "features"]),
    multiple=True,
    help="What is encoded, may be repeated.  [default: both]",
)
@click.option("--items", type=click.IntRange(min=2), default=10_000, show_default=True, help="Pictures.")
@click.option("--rows", type=click.IntRange(min=2), default=500_000, show_default=True, help="Of features.")
@click.option("--workers", type=click.IntRange(min=1), help="Processes of Ray.  [default: one a CPU]")
@click.option("--turns", type=click.IntRange(min=1), default=3, show_default=True, help="Of each way.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Draws the features.")
@click.option("-q", "--quiet", is_flag=True, help="Do not tell what is being measured.")
@json_option
def encode(
    model_dir: Path,
    pictures: Path,
    kinds: tuple[Any, ...],
    items: int,
    rows: int,
    workers: int | None,
    turns: int,
    seed: int,
    quiet: bool,
    as_json: bool,
) -> None:
    """Encode pictures of FOLDER, again and again, and drawn features by the model in MODEL_DIR, in turns by one process
    and by Ray (extra "ray"), and print items a second.

    What Ray takes to start and to end is measured with one item, taken off, and printed beside it. Leave the machine
    alone meanwhile.
    """
    from dataclasses import asdict

    from spdq_benchmarks.encode_figures import HEAD, KINDS, encode_figures, table

    found = [
        encode_figures(
            model_dir,
            pictures,
            kind,
            items if kind == "pictures" else rows,
            workers,
            turns,
            seed,
            (lambda line: None) if quiet else note,
        )
        for kind in kinds or KINDS
    ]
    if as_json:
        print_json([asdict(figures) | {"ratio": figures.ratio} for figures in found])
    else:
        click.echo("\n".join([HEAD, *map(table, found)]))
