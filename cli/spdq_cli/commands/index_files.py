"""``spdq index export``, ``import`` and ``shard``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from spdq_cli.output import json_option, print_facts
from spdq_cli.progress import progress_bar, quiet_option

PATH = click.Path(path_type=Path)


@click.command(short_help="Write codes for Faiss, NumPy or HDF5.")
@click.argument("index_dir", type=PATH)
@click.argument("out", metavar="OUT", type=PATH)
@click.option(
    "--modality", type=click.Choice(["image", "text", "unit"]), help="For .h5: what the codes are of."
)
@json_option
def export(index_dir: Path, out: Path, modality: Any, as_json: bool) -> None:
    """Write the codes and ids of an index in the order of the ids.

    \b
    OUT is one of
      FILE.faiss  IndexPQ in an IndexIDMap2: product codes with int ids
      FILE.npy    codes (n, M) uint8; ids go to FILE.ids.npy, or to FILE.ids.txt, one a line
      FILE.h5     codes as `spdq encode` writes them: needs an index built with a model, and --modality
    """
    from spdq.index import Index
    from spdq_cli.exports import export_codes
    from spdq_cli.inputs import check_output

    check_output(out)
    with Index.open(index_dir) as opened:
        written = export_codes(opened, out, modality)
        print_facts({"items": len(opened), "files": ", ".join(map(str, written))}, as_json)


@click.command("import", short_help="Make an index of a Faiss file.")
@click.argument("source", metavar="FILE.faiss", type=PATH)
@click.argument("index_dir", type=PATH)
@json_option
def import_(source: Path, index_dir: Path, as_json: bool) -> None:
    """Make the new index INDEX_DIR of a Faiss file: IndexPQ, with or without OPQ and an id map."""
    from spdq.index import Index
    from spdq.index.building import ArraySource, build
    from spdq.index.faiss_file import read_faiss

    content = read_faiss(source)
    made = ArraySource(codes=content.codes, ids=content.ids)
    build(index_dir, lambda: content.codebooks, made, metric=content.metric)
    with Index.open(index_dir) as opened:
        print_facts(opened.stats(), as_json)


@click.command(short_help="Cut an index into shards.")
@click.argument("index_dir", type=PATH)
@click.argument("folder", metavar="OUT", type=PATH)
@click.option(
    "--shards", "n_shards", type=click.IntRange(min=1), default=4, show_default=True, help="How many."
)
@quiet_option
@json_option
def shard(index_dir: Path, folder: Path, n_shards: int, quiet: bool, as_json: bool) -> None:
    """Copy the items of an index into shards in the new folder OUT, for `spdq search OUT --ray`.

    OUT appears complete or not at all. Each shard is an index of its own, and they may lie on different disks later.
    """
    from spdq.distributed.shard_folder import shard_index, shard_paths

    with progress_bar("Cutting", quiet) as progress:
        shard_index(index_dir, folder, n_shards, progress)
    print_facts({"shards": [str(path) for path in shard_paths(folder)]}, as_json)
