"""``spdq bench retrieval``."""

from __future__ import annotations

from pathlib import Path

import click

from spdq_cli.bench_output import out_option, output_folder, typed_command, workers_option
from spdq_cli.errors import note
from spdq_cli.output import json_option, print_json

PATH = click.Path(path_type=Path)


@click.command(short_help="Train and judge methods over data sets, splits, code lengths and seeds.")
@click.argument("data", metavar="[DATA.h5]...", type=PATH, nargs=-1)
@click.option(
    "--method",
    "methods",
    metavar="NAME",
    multiple=True,
    help="spdq, spdq-paper, an ablation or a baseline; may be repeated. A wrong name lists the known.  [default: all]",
)
@click.option(
    "--training",
    "trainings",
    type=click.Choice(["rest", "half", "everything"]),
    multiple=True,
    help="Rows trained on, may be repeated. rest: all but the queries (splits seen, heldout and queries); half: half "
    "of them (unseen); everything: queries, too (trained).  [default: all three]",
)
@click.option(
    "--bits",
    type=click.Choice(["16", "32", "64", "128"]),
    multiple=True,
    help="Code length, may be repeated.  [default: all four]",
)
@click.option(
    "--seeds",
    type=click.IntRange(min=1),
    help="Runs of each method.  [default: 3 of spdq, spdq-paper and the five strongest baselines, 1 of the others]",
)
@click.option(
    "--protocol",
    "protocols",
    metavar="NAME",
    multiple=True,
    help="May be repeated.  [default: map@50, map@all, map@50/first-hits, pr-curve, instance-recall@1 and @10]",
)
@workers_option
@out_option("report.md, report.html and figures.json")
@click.option("--trec", is_flag=True, help="Also write TREC run and qrels files to FOLDER/trec.")
@click.option(
    "--quick",
    is_flag=True,
    help="A small made data set, training rest, 16 and 64 bits, one seed: shows that all of it works, not how good "
    "it is.",
)
@json_option
def retrieval(
    data: tuple[Path, ...],
    methods: tuple[str, ...],
    trainings: tuple[str, ...],
    bits: tuple[str, ...],
    seeds: int | None,
    protocols: tuple[str, ...],
    workers: int | None,
    out: Path | None,
    trec: bool,
    quick: bool,
    as_json: bool,
) -> None:
    """Train every method on each DATA.h5, judge its codes of every length, and print the means.

    Methods are trained on the rows that are no queries of the data set's split, get the same inputs and code database
    items without labels. Each data set, split and label set has a table, each protocol its columns; figures are means
    over seeds with their standard deviation.
    """
    from spdq_benchmarks.retrieval import quick as small
    from spdq_benchmarks.retrieval.plan import plan_jobs
    from spdq_benchmarks.retrieval.report import write_report
    from spdq_benchmarks.retrieval.run import finished_records, run_jobs
    from spdq_benchmarks.retrieval.table import means, table
    from spdq_benchmarks.workers import check_failures

    if bool(data) == quick:
        raise click.UsageError("give either data set files or --quick")
    if trec and out is None:
        raise click.UsageError("--trec needs a folder for its files: --out FOLDER")
    with output_folder(out) as folder:
        lengths = tuple(map(int, bits))
        if quick:
            data = (folder / f"{small.NAME}.h5",)
            small.quick_dataset().save(data[0])
            trainings, lengths, seeds = trainings or ("rest",), lengths or small.BITS, seeds or 1
        jobs = plan_jobs(data, methods, trainings, lengths, seeds, protocols)
        failures = run_jobs(jobs, folder, workers, trec, note)
        records = finished_records(jobs, folder)
        if records and out is not None:
            write_report(records, out, typed_command(click.get_current_context()))
        if records and as_json:
            print_json(means(records))
        elif records:
            click.echo(table(records))
    check_failures(failures)
