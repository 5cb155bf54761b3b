"""An actor that encodes."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from spdq import errors
from spdq.distributed.blocks import from_block
from spdq.distributed.parts import Run, write_part
from spdq.errors import IncompatibleError, SpdqError
from spdq.models import load_model
from spdq.models.encoding import chunks, encode_chunk
from spdq.models.model import Model

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Task:
    """What a worker has to know. Its items name pictures as the user did, from the folder he was in."""

    run: Run
    folder: str
    model_dir: str
    started_in: str


class Encoder:
    """An actor: it holds the model, encodes the chunks of a block and stores a part for each."""

    def __init__(self, task: Task) -> None:
        self._task = task
        with suppress(FileNotFoundError):
            os.chdir(task.started_in)

    def __call__(self, block: pa.Table) -> pa.Table:
        """Encode the items of a block -> one row: how many they were, or the error they ended with.

        An error goes back as a value: raised, Ray would take it for one of its own and tell the user all about it.
        """
        import pyarrow as pa

        items = from_block(block)
        error, message = "", ""
        try:
            for rows in chunks(len(items)):
                codes, missing = encode_chunk(self._model, items[rows])
                start = int(items.ids[rows.start])
                write_part(Path(self._task.folder), self._task.run, start, codes, missing)
        except SpdqError as raised:
            error, message = _public_name(raised), str(raised)
        return pa.table({"items": [len(items)], "error": [error], "message": [message]})

    @cached_property
    def _model(self) -> Model:
        """The model of the run, on one thread. Raises IncompatibleError where it is another one by now."""
        import torch
        from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

        model = load_model(self._task.model_dir)
        if model.fingerprint != self._task.run.model:
            raise IncompatibleError(
                f"{self._task.model_dir} does not hold the model of this run: it was changed since, or differs here"
            )
        torch.set_num_threads(1)
        threadpool_limits(1)
        return model


def _public_name(error: SpdqError) -> str:
    """Of the error's class, or the nearest that ``spdq.errors`` has."""
    return next(cls.__name__ for cls in type(error).__mro__ if hasattr(errors, cls.__name__))
