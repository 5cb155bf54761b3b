"""``spdq bench systems``."""

from __future__ import annotations

from pathlib import Path

import click

from spdq_cli.bench_output import out_option, output_folder, typed_command, workers_option
from spdq_cli.errors import note
from spdq_cli.output import json_option, print_json

PATH = click.Path(path_type=Path)


@click.command(short_help="Train and judge CSM, Mixer and the gated embedding beside baselines.")
@click.argument("data", metavar="DATA.h5...", type=PATH, nargs=-1, required=True)
@click.option(
    "--system",
    "systems",
    type=click.Choice(["csm", "mixer", "gated"]),
    multiple=True,
    help="May be repeated.  [default: those that the data sets are for]",
)
@click.option(
    "--method",
    "methods",
    metavar="NAME",
    multiple=True,
    help="The system itself, an ablation or a baseline, may be repeated. A wrong name lists the known.  [default: all]",
)
@click.option(
    "--bits",
    type=click.Choice(["16", "32", "64", "128"]),
    multiple=True,
    help="Code length, may be repeated.  [default: 16 and 64]",
)
@click.option(
    "--seeds", type=click.IntRange(min=1), default=3, show_default=True, help="Runs of each method."
)
@click.option(
    "--training",
    "trainings",
    type=click.Choice(["split", "database", "shuffled10", "shuffled30"]),
    multiple=True,
    help="What is trained on, may be repeated. split: its training rows; database: what is searched, too; shuffled10, "
    "shuffled30: with shuffled classes for that percent of the rows (mixer and plain).  [default: all]",
)
@workers_option
@out_option("systems.md and systems.json")
@json_option
def systems(
    data: tuple[Path, ...],
    systems: tuple[str, ...],
    methods: tuple[str, ...],
    bits: tuple[str, ...],
    seeds: int,
    trainings: tuple[str, ...],
    workers: int | None,
    out: Path | None,
    as_json: bool,
) -> None:
    """Train each system that DATA.h5 is for, its ablations and baselines, and print the means over seeds.

    A click log is for CSM, items matched by class (emoji drawings) are for Mixer and the gated joint embedding. Vectors
    are judged, and codes: with codebooks learned in training, and with codebooks learned from what is searched.
    """
    from spdq_benchmarks.systems.report import means, table, write_report
    from spdq_benchmarks.systems.run import finished_records, plan_jobs, run_jobs
    from spdq_benchmarks.workers import check_failures

    jobs = plan_jobs(data, systems, methods, tuple(map(int, bits)), seeds, trainings)
    with output_folder(out) as folder:
        failures = run_jobs(jobs, folder, workers, note)
        records = finished_records(jobs, folder)
        if records and out is not None:
            write_report(records, out, typed_command(click.get_current_context()))
        if records and as_json:
            print_json(means(records))
        elif records:
            click.echo(table(records))
    check_failures(failures)
