"""Indexes that commands read: one directory, or with ``--ray`` a folder of shards."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from spdq.distributed.sharded_index import ShardedIndex
    from spdq.index import Index

Command = TypeVar("Command", bound=Callable[..., Any])


def ray_options(command: Command) -> Command:
    """``--ray`` and ``--address``: parameters ``on_ray`` and ``address``."""
    for option in (
        click.option(
            "--address", help="Of a running Ray cluster, HOST:PORT or auto.  [default: a private one, here]"
        ),
        click.option(
            "--ray",
            "on_ray",
            is_flag=True,
            help='INDEX_DIR is a folder of shards, searched by workers of Ray (extra "ray").',
        ),
    ):
        command = option(command)
    return command


def open_to_read(
    index_dir: Path, on_ray: bool, address: str | None
) -> AbstractContextManager[Index | ShardedIndex]:
    """The index, or the shards in a folder. Raises as their ``open``, UsageError for an address without ``--ray``."""
    from spdq.errors import UsageError
    from spdq.index import Index

    if on_ray:
        from spdq.distributed.sharded_index import ShardedIndex

        return ShardedIndex.open(index_dir, address)
    if address is not None:
        raise UsageError("--address is for shards searched by Ray: add --ray")
    return Index.open(index_dir)
