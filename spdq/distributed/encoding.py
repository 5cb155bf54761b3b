"""Encoding by many processes: Ray Data hands blocks of items to actors that hold the model.

The items are cut into the chunks that one process would encode, so the codes are the same for any number of workers.
An actor stores each chunk's codes before it begins the next: what is lost with it is one chunk.
https://docs.ray.io/en/latest/data/batch_inference.html
"""

from __future__ import annotations

import logging
import math
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spdq import errors
from spdq.data.codes import Codes as CodesFile
from spdq.data.codes import Modality
from spdq.data.items import Items
from spdq.distributed.blocks import digest, to_block
from spdq.distributed.cluster import ray_session
from spdq.distributed.encoder import Encoder, Task
from spdq.distributed.parts import Run, read_part, remove, working_folder
from spdq.distributed.remote import worker_errors
from spdq.errors import SpdqError, UnavailableError, UsageError
from spdq.features.named_texts import NamedTexts
from spdq.features.pretrained import PretrainedExtractor
from spdq.features.registry import image_extractor, text_extractor
from spdq.models.encoding import CHUNK, Missing, chunks
from spdq.models.model import Codes, Model, Progress

MOST_CHUNKS = 16
"""Chunks that an actor is handed at once, where they are many and quickly done: handing over takes its time, too."""
TURNS = 8
"""Blocks for each actor, at least, where there are as many chunks: the last ones finish at about one time."""


def working_path(out: Path) -> Path:
    """The folder, beside the output, that holds what is done of an encoding."""
    return out.with_name(f".{out.name}.partial")


def encode_on_ray(
    model: Model,
    model_dir: Path,
    items: Items,
    modality: Modality,
    out: Path,
    *,
    address: str | None = None,
    n_workers: int | None = None,
    resume: bool = False,
    progress: Progress | None = None,
) -> tuple[CodesFile, Missing]:
    """Encode items by actors of Ray and write their codes to a file, the same as one process would.

    What is done lies in ``working_path(out)`` until all is, and stays there after any failure. Pictures, the model and
    that folder must be at the same paths on all machines of a cluster.

    Parameters
    ----------
    model, model_dir
        The model, and the folder that the workers load it from.
    items
        What ``dataset_items`` makes of a data set, or raw texts and paths of pictures.
    out
        The file to write, as ``spdq.data.codes.Codes`` does.
    address, n_workers
        A cluster and how many actors; by default a private Ray and one actor a CPU. Where a network reads the items
        and Ray has GPUs, one actor a GPU.
    resume
        Go on with what an earlier call, of the same items and model, has left.

    Raises
    ------
    UsageError
        An earlier call has left something and ``resume`` is not asked for; ``n_workers`` below 1.
    IncompatibleError
        What it has left is of other items, another model or modality; ``model_dir`` holds another model by now.
    DamagedError, LockedError
        Its manifest is damaged; it is still running.
    UnavailableError
        The cluster does not answer, or its workers die without having done a chunk.
    SpdqError
        What reading and encoding the items raise in one process.
    """
    if n_workers is not None and n_workers < 1:
        raise UsageError(f"expected 1 or more workers, got {n_workers}")
    prints = (model.fingerprint, model.codebooks.fingerprint)
    run = Run(digest(items), len(items), *prints, modality, CHUNK, model.codebooks.n_codebooks)
    folder = working_path(out)
    with working_folder(folder, run, resume):
        done = _Done(folder, run)
        if done.remaining:
            task = Task(run, str(folder.absolute()), str(model_dir.absolute()), os.getcwd())
            # Workers find the kernels compiled.
            model.codebooks.encode(np.zeros((1, model.codebooks.dim), np.float32))
            with ray_session(address, n_workers if address is None else None) as ray, _quiet(ray):
                _encode(ray, task, model, items, n_workers, done, progress)
        made = CodesFile(items.ids, done.codes, model.codebooks.bits, *prints, modality)
        made.save(out)
        remove(folder)
    return made, done.missing


class _Done:
    """What of a run is done: its codes (n, M), what items lacked, and which chunks remain."""

    def __init__(self, folder: Path, run: Run) -> None:
        self.codes: Codes = np.empty((run.items, run.code_bytes), np.uint8)
        self.missing = Missing()
        self.remaining = list(chunks(run.items))
        self._folder = folder
        self._run = run
        self.look()

    def look(self) -> bool:
        """Take over the parts that are there by now. Whether there was any."""
        before, self.remaining = self.remaining, []
        for rows in before:
            found = read_part(self._folder, self._run, rows)
            if found is None:
                self.remaining.append(rows)
            else:
                self.codes[rows], lacked = found
                self.missing += lacked
        return len(self.remaining) < len(before)


@dataclass(frozen=True)
class _Workers:
    """How many actors, and what of a machine each takes."""

    count: int
    num_cpus: float
    num_gpus: float


def _encode(
    ray: ModuleType,
    task: Task,
    model: Model,
    items: Items,
    n_workers: int | None,
    done: _Done,
    progress: Progress | None,
) -> None:
    """Encode what remains. When workers die it is begun again with those there are, as long as something gets done."""
    while done.remaining:
        lost: UnavailableError | None = None
        try:
            with worker_errors("a worker"):
                _encode_once(
                    ray, task, items, _workers(ray, model, items, n_workers), done.remaining, progress
                )
        except UnavailableError as error:
            lost = error
        if not done.look():
            raise lost or UnavailableError(
                f"workers have stored nothing in {task.folder}: is it one folder to all of them?"
            )


def _encode_once(
    ray: ModuleType,
    task: Task,
    items: Items,
    workers: _Workers,
    remaining: list[slice],
    progress: Progress | None,
) -> None:
    """Encode some chunks. Raises the first error that a worker met."""
    n_done = len(items) - sum(rows.stop - rows.start for rows in remaining)
    parcels = _together(remaining, workers.count, _is_raw(items.images))
    data = ray.data.from_arrow(to_block(items, rows) for rows in parcels)
    with warnings.catch_warnings():
        # Left to itself, Ray waits for ever to restart an actor whose machine does not come back: ``_encode`` begins
        # anew instead. Ray means to take this setting away without another in its place.
        warnings.filterwarnings("ignore", ".*ray_remote_args", DeprecationWarning)
        encoded = data.map_batches(
            Encoder,
            fn_constructor_args=(task,),
            compute=ray.data.ActorPoolStrategy(size=min(workers.count, len(parcels))),
            num_cpus=workers.num_cpus,
            num_gpus=workers.num_gpus,
            batch_size=None,
            batch_format="pyarrow",
            zero_copy_batch=True,
            max_restarts=0,
        )
    for block in encoded.iter_rows():
        if block["error"]:
            error: SpdqError = getattr(errors, block["error"])(block["message"])
            raise error
        n_done += block["items"]
        if progress is not None:
            progress(n_done, len(items))


def _together(remaining: list[slice], workers: int, slow: bool) -> list[NDArray[np.int64]]:
    """The rows (n,) of chunks that an actor is handed at once; of ``slow`` ones, one at a time."""
    count = 1 if slow else max(1, min(MOST_CHUNKS, len(remaining) // (TURNS * workers)))
    return [
        np.concatenate([np.arange(rows.start, rows.stop) for rows in remaining[first : first + count]])
        for first in range(0, len(remaining), count)
    ]


def _workers(ray: ModuleType, model: Model, items: Items, count: int | None) -> _Workers:
    """One actor a CPU, or a GPU where there are some of use; if ``count`` is more than that, they share."""
    there = ray.cluster_resources()
    cpus, gpus = there.get("CPU", 1.0), there.get("GPU", 0.0) if _reads_by_network(model, items) else 0.0
    count = count or int(gpus or cpus)
    shares = (math.floor(min(1.0, all_of / count) * 10_000) / 10_000 for all_of in (cpus, gpus))
    return _Workers(count, *shares)


def _reads_by_network(model: Model, items: Items) -> bool:
    """Whether a network that runs on a GPU makes the features."""
    used: list[Any] = []
    if _is_raw(items.images) and model.image_settings is not None:
        used.append(image_extractor(**model.image_settings))
    if _is_raw(items.texts) and isinstance(model.text_extractor, NamedTexts):
        used.append(text_extractor(**model.text_extractor.to_json()))
    return any(isinstance(extractor, PretrainedExtractor) for extractor in used)


def _is_raw(part: Any) -> bool:
    return isinstance(part, Sequence)


@contextmanager
def _quiet(ray: ModuleType) -> Iterator[None]:
    """Keep Ray Data's progress and log lines from the terminal; its log files have them."""
    import ray.data

    context = ray.data.DataContext.get_current()
    bars, context.enable_progress_bars = context.enable_progress_bars, False
    logger = logging.getLogger("ray.data")
    console = [handler for handler in logger.handlers if isinstance(handler, logging.StreamHandler)]
    for handler in console:
        logger.removeHandler(handler)
    try:
        yield
    finally:
        context.enable_progress_bars = bars
        for handler in console:
            logger.addHandler(handler)
