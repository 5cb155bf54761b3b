"""``spdq bench``: measurements that take minutes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from spdq_cli.commands.bench_cost import cost
from spdq_cli.commands.bench_encode import encode
from spdq_cli.commands.bench_page import page
from spdq_cli.commands.bench_queries import queries
from spdq_cli.commands.bench_retrieval import retrieval
from spdq_cli.commands.bench_scale import scale
from spdq_cli.commands.bench_serving import serving
from spdq_cli.commands.bench_systems import systems
from spdq_cli.errors import note
from spdq_cli.output import json_option, print_json

if TYPE_CHECKING:
    from spdq_benchmarks.index_figures import Figure

SPEED_CASES = (
    *("pq", "single", "cold", "fastscan", "equal-bytes", "bandwidth"),
    *("filters", "order", "hamming", "avx2", "threads", "peers"),
)


@click.group(short_help="Measure retrieval quality and search speed.")
def bench() -> None:
    """Measure what the documentation states."""


bench.add_command(retrieval)
bench.add_command(systems)
bench.add_command(scale)
bench.add_command(queries)
bench.add_command(page)
bench.add_command(serving)
bench.add_command(cost)
bench.add_command(encode)


@bench.command(short_help="Race our searches against those of other libraries.")
@click.option(
    "--case",
    "cases",
    type=click.Choice(SPEED_CASES),
    multiple=True,
    help="Group of rows, may be repeated.  [default: all]",
)
@click.option(
    "--rows",
    "n_rows",
    type=click.IntRange(min=10_000),
    multiple=True,
    help="Size of the collection, may be repeated.  [default: 100000, 1000000 and 10000000]",
)
@click.option("--repeats", type=click.IntRange(min=1), help="Turns of each race.  [default: 7]")
@click.option(
    "--quick", is_flag=True, help="Few rows, few turns: shows that all of it works, not how fast it is."
)
@click.option(
    "--ivf",
    is_flag=True,
    help="A coarse index against Faiss's, at equal recall, and nothing else; --case is not for it.",
)
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Draws the collection."
)
@click.option(
    "--out",
    metavar="FOLDER",
    type=click.Path(path_type=Path),
    help="Write speed.json and speed.md there.  [default: print only]",
)
@json_option
def speed(
    cases: tuple[str, ...],
    n_rows: tuple[int, ...],
    repeats: int | None,
    quick: bool,
    ivf: bool,
    seed: int,
    out: Path | None,
    as_json: bool,
) -> None:
    """Time our searches and those of Faiss (extra "faiss") on the same codes, in turns, on one thread, and print one
    table: the ratio first, beside it what it must be.

    Every answer is checked before it is timed. Ten million rows take more than 2 GB of memory and 20 minutes; leave
    the machine alone meanwhile.
    """
    from spdq_benchmarks.speed import results as defaults
    from spdq_benchmarks.speed.benchmark import benchmark_speed
    from spdq_benchmarks.speed.table import check_folder, table, write_files, write_report

    if out is not None:
        check_folder(out)
    if ivf:
        from spdq_benchmarks.speed import list_race

        if cases:
            raise click.UsageError("--case is not for --ivf, which has rows of its own")
        small = list_race.QUICK_LISTS if quick else list_race.ListSettings()
        sizes = {"n_rows": n_rows, "repeats": repeats}
        chosen_sizes: dict[str, Any] = {name: value for name, value in sizes.items() if value}
        raced = list_race.benchmark_lists(replace(small, seed=seed, **chosen_sizes), say=note)
        if out is not None:
            write_files(out, raced.to_json(), list_race.list_table(raced))
        if as_json:
            print_json(raced.to_json())
        else:
            click.echo(list_race.list_table(raced))
        return
    settings = defaults.QUICK if quick else defaults.Settings()
    chosen = {"n_rows": n_rows, "cases": cases, "repeats": repeats}
    given: dict[str, Any] = {name: value for name, value in chosen.items() if value}
    report = benchmark_speed(replace(settings, seed=seed, **given), say=note)
    if out is not None:
        write_report(out, report)
    if as_json:
        print_json(report.to_json())
    else:
        click.echo(table(report))


@bench.command(short_help="Measure an index: disk, memory, opening, filters, changes.")
@click.option(
    "--rows", "n_rows", type=click.IntRange(min=10_000), default=10_000_000, show_default=True, help="Items."
)
@click.option("--repeats", type=click.IntRange(min=1), default=7, show_default=True, help="Of each time.")
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Draws codes and filters."
)
@click.option(
    "--folder",
    metavar="FOLDER",
    type=click.Path(path_type=Path),
    help="Where the index is made and deleted again.  [default: the system's temporary folder]",
)
@json_option
def index(n_rows: int, repeats: int, seed: int, folder: Path | None, as_json: bool) -> None:
    """Build an index of 64-bit codes and measure what it takes: bytes an item, opening it, filtered searches beside
    unfiltered ones, adding and removing. Ten million items take a minute or two and 2 GB of memory.
    """
    from spdq_benchmarks.index_figures import index_figures

    _print_figures(index_figures(n_rows, repeats, seed, note, folder), as_json)


@bench.command(short_help="Measure shards searched through Ray beside one index.")
@click.option(
    "--items",
    "n_items",
    type=click.IntRange(min=10_000),
    default=50_000_000,
    show_default=True,
    help="64-bit codes.",
)
@click.option(
    "--shards", "n_shards", type=click.IntRange(min=1), default=4, show_default=True, help="Of them."
)
@click.option("--repeats", type=click.IntRange(min=1), default=21, show_default=True, help="Turns of a race.")
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Draws codes, ids and queries."
)
@click.option(
    "--folder",
    metavar="FOLDER",
    type=click.Path(path_type=Path),
    help="Where index and shards are made and deleted again.  [default: the system's temporary folder]",
)
@json_option
def sharded(n_items: int, n_shards: int, repeats: int, seed: int, folder: Path | None, as_json: bool) -> None:
    """Build an index of random codes, cut it into shards, search both in turns (extra "ray"), and print how much longer
    the shards take and what memory they need. Answers are compared first.

    Fifty million items take 2 GB of disk, 5 GB of memory and some minutes; leave the machine alone meanwhile.
    """
    from spdq_benchmarks.sharded_figures import sharded_figures

    _print_figures(sharded_figures(n_items, n_shards, repeats, seed, note, folder), as_json)


@bench.command(short_help="Measure how long one query takes to become a vector.")
@click.argument("model_dir", metavar="MODEL_DIR", type=click.Path(path_type=Path))
@click.argument("data", metavar="DATA.h5", type=click.Path(path_type=Path))
@click.option("--repeats", type=click.IntRange(min=1), default=5, show_default=True, help="Of each query.")
@json_option
def embedding(model_dir: Path, data: Path, repeats: int, as_json: bool) -> None:
    """Embed queries of DATA.h5 one by one, texts and rows of image features, on one thread, and print the medians."""
    from spdq.data.dataset import Dataset
    from spdq.models import load_model
    from spdq_benchmarks.embedding_figures import embedding_figures

    _print_figures(embedding_figures(load_model(model_dir), Dataset.load(data), repeats), as_json)


def _print_figures(figures: list[Figure], as_json: bool) -> None:
    import dataclasses

    from spdq_benchmarks.index_figures import line

    if as_json:
        print_json([dataclasses.asdict(figure) | {"reached": figure.reached} for figure in figures])
    else:
        for figure in figures:
            click.echo(line(figure))
