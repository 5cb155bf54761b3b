"""``spdq bench``: measurements that take minutes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from spdq_cli.errors import note
from spdq_cli.output import json_option, print_json


@click.group(short_help="Measure retrieval quality.")
def bench() -> None:
    """Measure what the documentation states."""


@bench.command(short_help="Train and judge over code lengths, splits and seeds.")
@click.argument("data", metavar="DATA.h5", type=click.Path(path_type=Path))
@click.option(
    "--recipe",
    "recipes",
    type=click.Choice(["default", "paper"]),
    multiple=True,
    help="May be repeated.  [default: both]",
)
@click.option(
    "--split",
    "kinds",
    type=click.Choice(["seen", "unseen"]),
    multiple=True,
    help="May be repeated.  [default: both]",
)
@click.option(
    "--bits",
    type=click.Choice(["16", "32", "64", "128"]),
    multiple=True,
    help="Code length, may be repeated.  [default: all four]",
)
@click.option("--seeds", type=click.IntRange(min=1), default=3, show_default=True, help="Runs of each.")
@click.option(
    "--labels",
    metavar="PREFIX",
    default="",
    help="Relevant is what shares a label whose name starts so.  [default: any label]",
)
@json_option
def retrieval(
    data: Path,
    recipes: tuple[str, ...],
    kinds: tuple[Any, ...],
    bits: tuple[str, ...],
    seeds: int,
    labels: str,
    as_json: bool,
) -> None:
    """Train each recipe on DATA.h5 for every split and seed, judge its codes of every length, and print one table.

    Figures are means over seeds with their standard deviation. Database codes are made without labels.
    """
    from spdq.data.dataset import Dataset
    from spdq_benchmarks.retrieval import benchmark_retrieval, table

    cells = benchmark_retrieval(
        Dataset.load(data),
        recipes=recipes or ("default", "paper"),
        kinds=kinds or ("seen", "unseen"),
        bits=tuple(map(int, bits)) or (16, 32, 64, 128),
        seeds=seeds,
        labels=labels,
        report=note,
    )
    if as_json:
        print_json([cell.to_json() for cell in cells])
    else:
        click.echo(table(cells))
