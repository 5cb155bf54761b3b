"""``spdq index``: the table of its commands."""

from __future__ import annotations

import click

from spdq_cli.lazy import LazyCommand, LazyGroup

COMMANDS = {
    "build": LazyCommand("spdq_cli.commands.index_build:build", "Build a new index."),
    "add": LazyCommand("spdq_cli.commands.index_build:add", "Add items, or replace them."),
    "remove": LazyCommand("spdq_cli.commands.index_change:remove", "Remove items by id or condition."),
    "compact": LazyCommand("spdq_cli.commands.index_change:compact", "Give the space of removed items back."),
    "info": LazyCommand("spdq_cli.commands.index_look:info", "Show what an index is and holds."),
    "verify": LazyCommand("spdq_cli.commands.index_look:verify", "Check every byte of an index."),
    "repair": LazyCommand("spdq_cli.commands.index_change:repair", "Save what is intact of a damaged index."),
    "shard": LazyCommand("spdq_cli.commands.index_files:shard", "Cut an index into shards."),
    "export": LazyCommand("spdq_cli.commands.index_files:export", "Write codes for Faiss, NumPy or HDF5."),
    "import": LazyCommand("spdq_cli.commands.index_files:import_", "Make an index of a Faiss file."),
}


@click.group(cls=LazyGroup, lazy_commands=COMMANDS, short_help="Build, change, check and export an index.")
def index() -> None:
    """Build, change, check and export an index of codes."""
