"""``spdq dataset``: import, info, split and classes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from spdq_cli.commands.dataset_import import import_
from spdq_cli.output import json_option, print_facts
from spdq_cli.target import KINDS, PATH, Target, out_argument, seed_option, split_file_option

if TYPE_CHECKING:
    from spdq.data.dataset import Dataset
    from spdq.data.splits import SplitKind


@click.group(short_help="Import, show and split data sets.")
def dataset() -> None:
    """Import, show and split data sets (HDF5 files of features, texts, labels and a split)."""


dataset.add_command(import_)


@dataset.command()
@click.argument("file", metavar="FILE.h5", type=PATH)
@json_option
def info(file: Path, as_json: bool) -> None:
    """Show what a data set file holds."""
    from spdq.data.dataset import Dataset

    print_facts(Dataset.load(file).describe(), as_json)


@dataset.command()
@click.argument("source", metavar="IN.h5", type=PATH)
@out_argument
@click.option(
    "--labels",
    metavar="PREFIX",
    required=True,
    help="Of the labels that become classes, one an item at most.",
)
@json_option
def classes(source: Path, out: Path, labels: str, as_json: bool) -> None:
    """Write the items with other classes: their labels whose name starts with PREFIX."""
    from spdq.data.dataset import Dataset
    from spdq_cli.inputs import check_output

    check_output(out)
    made = Dataset.load(source).with_classes_of(labels)
    made.save(out)
    print_facts({"file": str(out), **made.describe()}, as_json)


@dataset.command()
@click.argument("source", metavar="IN.h5", type=PATH)
@out_argument
@click.option(
    "--kind",
    type=KINDS,
    help="The new split, see `spdq dataset import emoji --help`.  [default: that of the split file]",
)
@click.option("--train-on-queries", is_flag=True, help="Train on the queries' own items, too (paired only).")
@click.option("--query-all", is_flag=True, help="Make every row a query, not those of the file.")
@click.option(
    "--development",
    metavar="N",
    type=click.IntRange(min=1),
    help="Leave the queries out and draw N others: settings chosen on these leave the first untouched. "
    "[default: keep the queries]",
)
@seed_option
@split_file_option
@json_option
def split(
    source: Path,
    out: Path,
    kind: SplitKind | None,
    train_on_queries: bool,
    query_all: bool,
    development: int | None,
    seed: int | None,
    split_file: Path | None,
    as_json: bool,
) -> None:
    """Write the items with another split. The query rows of the file are kept, unless an option says otherwise."""
    import numpy as np

    from spdq.data import Dataset, make_split, random_query_rows
    from spdq.errors import DataError, UsageError

    if query_all and development is not None:
        raise UsageError("--query-all and --development exclude each other: choose one")
    is_read = split_file is not None and split_file.exists()
    if kind is None and not is_read:
        raise UsageError("which split: expected --kind, or --split-file with a file that is there")
    target = Target(out, kind, seed, split_file, resplit=True, as_json=as_json)
    target.check()
    items = Dataset.load(source)
    options = {"--train-on-queries": train_on_queries, "--query-all": query_all}
    options["--development"] = development is not None
    fixed_by = [name for name, given in options.items() if given]

    def make(kind: SplitKind, seed: int) -> Dataset:
        made = items
        if query_all:
            query: Any = range(len(items))
        elif development is not None:
            if items.clicks is not None:
                raise DataError(
                    f"{source} holds a click log, which another split would lose: "
                    "import it again with another --seed to hold other queries out"
                )
            if items.split is not None:
                made = items.take(np.setdiff1d(np.arange(len(items)), items.split.query))
            query = random_query_rows(len(made), development, seed)
        elif is_read and not fixed_by:
            return items
        elif items.split is not None and items.split.kind != "clicks":
            query = items.split.query
        else:
            raise DataError(f"{source} has no split whose query rows could be kept: use --query-all")
        return made.with_split(make_split(len(made), query, kind, seed, train_on_queries))

    target.save(target.settle(make, fixed_by))
