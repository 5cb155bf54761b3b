"""``spdq index remove``, ``compact`` and ``repair``."""

from __future__ import annotations

from pathlib import Path

import click

from spdq_cli.output import json_option, print_facts, print_json

PATH = click.Path(path_type=Path)


@click.command(short_help="Remove items by id or condition.")
@click.argument("index_dir", type=PATH)
@click.argument("ids", metavar="[ID]...", nargs=-1)
@click.option("--ids", "file", metavar="FILE", type=PATH, help="Ids, one a line, or a .npy file of integers.")
@click.option(
    "--where", metavar="EXPR", help="Every item with such attributes: \"year < 1990 and label = 'cat'\"."
)
@click.option("--ignore-missing", is_flag=True, help="Pass over ids that are not there.")
@json_option
def remove(
    index_dir: Path,
    ids: tuple[str, ...],
    file: Path | None,
    where: str | None,
    ignore_missing: bool,
    as_json: bool,
) -> None:
    """Remove items in one step: all of them or, on any error, none."""
    from spdq.errors import UsageError
    from spdq.index import Index
    from spdq_cli.sources import ids_from, load_ids

    if sum((bool(ids), file is not None, where is not None)) != 1:
        raise UsageError("expected ids, --ids FILE or --where EXPR, and only one of them")
    with Index.open(index_dir, writable=True) as opened:
        if where is not None:
            wanted = opened.select(where)
        else:
            wanted = ids_from(list(ids) if file is None else load_ids(file), opened.id_kind)
        removed = opened.remove(wanted, missing="ignore" if ignore_missing else "raise")
        print_facts({"removed": removed, "items": len(opened)}, as_json)


@click.command(short_help="Give the space of removed items back.")
@click.argument("index_dir", type=PATH)
@json_option
def compact(index_dir: Path, as_json: bool) -> None:
    """Write all items of an index into one segment, and give the space of removed ones back."""
    from spdq.index import Index

    with Index.open(index_dir, writable=True) as opened:
        before = opened.stats()
        opened.compact()
        after = opened.stats()
    facts = {"items": after["items"], "segments": after["segments"], "bytes": after["bytes"]}
    print_facts({**facts, "bytes_before": before["bytes"]}, as_json)


@click.command(short_help="Save what is intact of a damaged index.")
@click.argument("index_dir", type=PATH)
@json_option
def repair(index_dir: Path, as_json: bool) -> None:
    """Bring a damaged index back to what its intact files hold, and say what is lost.

    Whatever is taken out goes to the folder "damaged" in the index; nothing is deleted.
    """
    from spdq.index import Index

    done = Index.repair(index_dir)
    if as_json:
        print_json({"done": done})
    else:
        for line in done or ["nothing is damaged"]:
            click.echo(line)
