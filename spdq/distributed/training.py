"""Training by Ray Train: its workers are the ranks of one run, and each calls ``spdq.training.train``."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from dataclasses import asdict
from pathlib import Path
from time import monotonic
from typing import Any

from spdq.data.dataset import Dataset
from spdq.distributed.cluster import ray_session
from spdq.distributed.remote import fetched
from spdq.errors import NotFoundError, SpdqError, UnavailableError, UsageError
from spdq.models import load_model
from spdq.models.model import Model
from spdq.training import task_of
from spdq.training.joining import ANSWER_WITHIN
from spdq.training.loop import Progress
from spdq.training.recipes import AnyRecipe, chosen_recipe

LOOK_EVERY = 0.2
"""Seconds between two looks at how far the run is."""


def train(
    system: str,
    data: str | os.PathLike[str],
    directory: str | os.PathLike[str],
    *,
    workers: int = 2,
    address: str | None = None,
    bits: int = 64,
    recipe: str | AnyRecipe = "default",
    labels: str = "",
    seed: int = 0,
    resume: bool = False,
    progress: Progress | None = None,
) -> Model:
    """Train a system by ``workers`` ranks, of one CPU of Ray each: the model that ``spdq.training.train`` makes.

    Nothing is tried again where a worker is lost: the call with ``resume`` goes on from the last checkpoint.

    Parameters
    ----------
    data
        File of the data set, which all workers can read at this path.
    directory
        Where checkpoint, log and model go; a folder that all workers share, if they are on several machines.
    workers
        How many ranks.
    address
        Of a Ray cluster, as in ``ray_session``; None starts a private Ray with so many CPUs.
    labels
        Train on labels whose name starts so.
    system, bits, recipe, seed, resume, progress
        As in ``spdq.training.train``.

    Raises
    ------
    UsageError
        No worker, more than Ray has CPUs, or what ``spdq.training.train`` refuses.
    UnavailableError
        No cluster answers, or a worker is lost.
    SpdqError
        What a worker raised.
    """
    if workers < 1:
        raise UsageError(f"workers must be 1 or more, got {workers}")
    data, directory = Path(data).absolute(), Path(directory).absolute()
    if not data.is_file():
        raise NotFoundError(f"no data set at {data}")
    settings = chosen_recipe(task_of(system).recipes, recipe)
    asked = {
        "system": system,
        "data": str(data),
        "directory": str(directory),
        "bits": bits,
        "recipe": asdict(settings),
        "labels": labels,
        "seed": seed,
        "resume": resume,
    }
    with ray_session(address, workers if address is None else None) as ray:
        cpus = int(ray.cluster_resources().get("CPU", 0))
        if workers > cpus:
            raise UsageError(
                f"{workers} workers need a CPU of Ray each, and it has {cpus}: take fewer workers"
            )
        _fit(ray, asked, workers, address is None, progress)
    return load_model(directory)


def _fit(ray: Any, asked: dict[str, Any], workers: int, is_private: bool, progress: Progress | None) -> None:
    """Run Ray Train to its end, in a thread of its own: in the main one it would take Ctrl-C for itself."""
    from ray.train import RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    watch = ray.remote(num_cpus=0)(_Watch).remote()
    # Ray Train keeps a little of its own about the run; it may not lie in the home of whoever trains.
    folder = Path(tempfile.mkdtemp(prefix="spdq-ray-train-"))
    # Gloo asks nobody who they are: what stays on this machine is not to listen on its other addresses.
    variables = {"OMP_WAIT_POLICY": "PASSIVE", **({"GLOO_SOCKET_IFNAME": "lo"} if is_private else {})}
    trainer = TorchTrainer(
        _work,
        train_loop_config={**asked, "watch": watch},
        torch_config=TorchConfig("gloo", timeout_s=int(ANSWER_WITHIN.total_seconds())),
        scaling_config=ScalingConfig(num_workers=workers, resources_per_worker={"CPU": 1}),
        run_config=RunConfig(  # type: ignore[call-arg]  # Typed as Ray Train's first version.
            name="run", storage_path=str(folder), worker_runtime_env={"env_vars": variables}
        ),
    )
    failures: list[Exception] = []

    def fit() -> None:
        try:
            trainer.fit()
        except Exception as error:
            failures.append(error)

    thread = threading.Thread(target=fit, daemon=True)
    try:
        thread.start()
        reported = 0
        while thread.is_alive():
            thread.join(LOOK_EVERY)
            steps = fetched(watch.steps.remote())
            if progress is not None and steps and steps[0] > reported:
                reported = steps[0]
                progress(*steps)
        if failures:
            raise _cause(fetched(watch.error.remote()), failures[0])
    finally:
        ray.kill(watch)
        shutil.rmtree(folder, ignore_errors=True)


def _cause(told: SpdqError | None, failure: Exception) -> SpdqError:
    """What a rank said before it ended, else that one is lost."""
    if told is not None:
        return told
    lines = [line.strip() for line in str(failure).splitlines() if line.strip()]
    return UnavailableError(
        f"a rank of the training run is lost ({lines[-1].rstrip('.') if lines else type(failure).__name__}). "
        "The same with resume goes on from the last checkpoint, if there is one"
    )


class _Watch:
    """How far the run is, and the error of the rank that failed first: an actor."""

    def __init__(self) -> None:
        self._steps: tuple[int, int] | None = None
        self._error: SpdqError | None = None

    def reached(self, step: int, steps: int) -> None:
        self._steps = step, steps

    def failed(self, error: SpdqError) -> None:
        # That others have lost a rank is no cause.
        if self._error is None or isinstance(self._error, UnavailableError):
            self._error = error

    def steps(self) -> tuple[int, int] | None:
        return self._steps

    def error(self) -> SpdqError | None:
        return self._error


def _work(asked: dict[str, Any]) -> None:
    """One worker of Ray Train, which has made the process group."""
    import ray

    from spdq.training import train as train_here

    watch, said_at = asked["watch"], 0.0

    def progress(step: int, steps: int) -> None:
        nonlocal said_at
        if step == steps or monotonic() - said_at >= LOOK_EVERY:
            said_at = monotonic()
            watch.reached.remote(step, steps)

    try:
        dataset = Dataset.load(asked["data"])
        if asked["labels"]:
            dataset = dataset.select_labels(asked["labels"])
        kind = type(task_of(asked["system"]).recipes["default"])
        train_here(
            asked["system"],
            dataset,
            bits=asked["bits"],
            recipe=kind(**asked["recipe"]),
            seed=asked["seed"],
            directory=Path(asked["directory"]),
            resume=asked["resume"],
            progress=progress,
        )
    except SpdqError as error:
        ray.get(watch.failed.remote(error))
        raise
