"""``spdq bench page``."""

from __future__ import annotations

from pathlib import Path

import click

from spdq_cli.output import json_option, print_json, print_table


@click.command(short_help="Measure how fast the search page answers what is typed.")
@click.argument("demo_dir", type=click.Path(path_type=Path))
@click.option("--items", type=click.IntRange(min=1), default=100_000, show_default=True, help="In the index.")
@click.option(
    "--queries", type=click.IntRange(min=1), default=50, show_default=True, help="Names that are typed."
)
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Draws items and names."
)
@json_option
def page(demo_dir: Path, items: int, queries: int, seed: int, as_json: bool) -> None:
    """Type names of emoji into the page, in Chromium, and print the milliseconds from the last key to the answer.

    DEMO_DIR is what `spdq demo --out` filled. Needs `pip install playwright` and a Chromium; leave the machine alone
    meanwhile.
    """
    from dataclasses import asdict

    from spdq_benchmarks.page_figures import measure_page

    found = measure_page(demo_dir, items, queries, seed)
    if as_json:
        print_json(asdict(found))
    else:
        print_table(
            ("items", "queries", "median ms", "p95 ms", "most ms"),
            [(found.items, found.queries, *(f"{ms:.1f}" for ms in (found.median, found.p95, found.most)))],
        )
