"""``spdq index info`` and ``verify``."""

from __future__ import annotations

from pathlib import Path

import click

from spdq_cli.output import json_option, print_facts
from spdq_cli.shards import open_to_read, ray_options

PATH = click.Path(path_type=Path)


@click.command(short_help="Show what an index is and holds.")
@click.argument("index_dir", type=PATH)
@ray_options
@json_option
def info(index_dir: Path, on_ray: bool, address: str | None, as_json: bool) -> None:
    """Show what an index holds, which model it was built with, and whether its codebooks still suit its items."""
    with open_to_read(index_dir, on_ray, address) as opened:
        print_facts(opened.stats(), as_json)


@click.command(short_help="Check every byte of an index.")
@click.argument("index_dir", type=PATH)
@json_option
def verify(index_dir: Path, as_json: bool) -> None:
    """Check every checksum, code, id and attribute of an index, and its catalogue; damage ends with exit code 5."""
    from spdq.index import Index

    with Index.open(index_dir) as opened:
        opened.verify()
        stats = opened.stats()
        print_facts(
            {"verified": True, **{name: stats[name] for name in ("items", "segments", "bytes")}}, as_json
        )
