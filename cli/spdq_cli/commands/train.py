"""``spdq train``."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import click

from spdq_cli import errors
from spdq_cli.output import json_option, print_facts
from spdq_cli.progress import progress_bar, quiet_option

PATH = click.Path(path_type=Path)


@click.command(short_help="Train a model on a data set.")
@click.argument("data", metavar="DATA.h5", type=PATH)
@click.argument("model_dir", type=PATH)
@click.option(
    "--model",
    "system",
    metavar="SYSTEM",
    default="spdq",
    help="spdq: labelled pairs; csm: click logs; mixer: pictures that ask for documents, in weak classes; gated: "
    "units, pairs only.",
)
@click.option("--bits", type=click.Choice(["16", "32", "64", "128"]), default="64", help="Length of a code.")
@click.option(
    "--recipe",
    type=click.Choice(["default", "paper"]),
    default="default",
    help="default: for a search engine; paper: as published.",
)
@click.option(
    "--labels",
    metavar="PREFIX",
    default="",
    show_default=False,
    help="Train on labels whose name starts so.  [default: all labels]",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, help="For everything drawn at random.")
@click.option("--resume", is_flag=True, help="Go on with the interrupted run in MODEL_DIR.")
@click.option("--ray", "on_ray", is_flag=True, help="Train by workers of Ray (extra ray).")
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    show_default=False,
    help="With --ray: processes, of a CPU each, that learn.  [default: 2]",
)
@click.option(
    "--address",
    metavar="HOST:PORT",
    default="",
    show_default=False,
    help="With --ray: the cluster.  [default: a private Ray on this machine]",
)
@quiet_option
@json_option
def train(
    data: Path,
    model_dir: Path,
    system: str,
    bits: str,
    recipe: str,
    labels: str,
    seed: int,
    resume: bool,
    on_ray: bool,
    workers: int | None,
    address: str,
    quiet: bool,
    as_json: bool,
) -> None:
    """Train a model on the training rows of DATA.h5 and write it to MODEL_DIR.

    After Ctrl-C the same command with --resume goes on, and ends with the same model as if never interrupted.

    Several processes learn one model together, as --ray --workers 2 starts them, or torchrun --nproc-per-node 2 -m
    spdq_cli train DATA.h5 MODEL_DIR.
    """
    from spdq.data.dataset import Dataset
    from spdq.errors import UsageError
    from spdq.models.directory import CONFIG
    from spdq.training import train as train_model
    from spdq.training.checkpoint import CHECKPOINT
    from spdq.training.joining import is_first

    if (workers or address) and not on_ray:
        raise UsageError("--workers and --address are for --ray")
    checkpoint = model_dir / CHECKPOINT
    if (model_dir / CONFIG).exists():
        raise UsageError(f"{model_dir} already holds a model: choose another directory")
    if checkpoint.exists() and not resume:
        raise UsageError(f"{model_dir} holds an interrupted run: go on with --resume, or remove {checkpoint}")
    if resume and not checkpoint.exists():
        raise UsageError(f"nothing to resume: {checkpoint} does not exist")
    is_new = not model_dir.exists()
    try:
        with progress_bar("Training steps", quiet or not is_first()) as progress:
            settings: dict[str, Any] = {"bits": int(bits), "recipe": recipe, "seed": seed, "resume": resume}
            if on_ray:
                from spdq.distributed.training import train as train_on_ray

                cluster: dict[str, Any] = {
                    "workers": workers or 2,
                    "address": address or None,
                    "labels": labels,
                }
                model = train_on_ray(system, data, model_dir, progress=progress, **settings, **cluster)
            else:
                dataset = Dataset.load(data)
                if labels:
                    dataset = dataset.select_labels(labels)
                model = train_model(system, dataset, directory=model_dir, progress=progress, **settings)
    except KeyboardInterrupt as stop:
        if not is_first():  # The first rank says it for all.
            raise click.exceptions.Exit(errors.INTERRUPTED) from stop
        stop.args = (_way_on(checkpoint),)
        raise
    except Exception:
        if is_new and is_first():
            with contextlib.suppress(OSError):  # A run that never got to a checkpoint leaves an empty folder.
                model_dir.rmdir()
        raise
    if not is_first():
        return
    made = {"model": str(model_dir), "type": system, "recipe": recipe, "bits": int(bits)}
    made |= {name: model.training[name] for name in ("dataset", "split", "rows", "seed", "steps")}
    print_facts({**made, "fingerprint": model.fingerprint}, as_json)


def _way_on(checkpoint: Path) -> str:
    if checkpoint.exists():
        return "interrupted: the same command with --resume goes on from the last checkpoint"
    return "interrupted before the first checkpoint: the same command starts again"
