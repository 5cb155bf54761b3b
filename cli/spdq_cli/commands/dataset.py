"""``spdq dataset``: import, info and split."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from spdq_cli.output import json_option, print_facts
from spdq_cli.progress import progress_bar, quiet_option

if TYPE_CHECKING:
    from spdq.data.dataset import Dataset
    from spdq.data.splits import SplitKind

PATH = click.Path(path_type=Path)
KINDS = click.Choice(["seen", "unseen", "paired"])

_kind = click.option(
    "--split",
    "kind",
    type=KINDS,
    default="seen",
    help="seen: train and search all but the queries; unseen: train one half, search the other; "
    "paired: search the queries' own items.",
)
_seed = click.option("--seed", type=click.IntRange(min=0), default=0, help="For what is drawn at random.")


def _extractor(default: str) -> Callable[[Any], Any]:
    return click.option("--extractor", metavar="SPEC", default=default, help="Maker of the image features.")


@click.group(short_help="Import, show and split data sets.")
def dataset() -> None:
    """Import, show and split data sets (HDF5 files of features, texts, labels and a split)."""


@dataset.group("import", short_help="Make a data set from a source format.")
def import_() -> None:
    """Make a data set file from a source format. A file that is there already is replaced."""


@import_.command()
@click.argument("out", metavar="OUT.h5", type=PATH)
@_extractor("lite0:128")
@_kind
@_seed
@quiet_option
@json_option
def emoji(out: Path, extractor: str, kind: SplitKind, seed: int, quiet: bool, as_json: bool) -> None:
    """1,898 emoji with their names in 14 languages, from the packages of the extra "demo".

    The pictures are copied to the folder OUT-pictures beside OUT.h5.
    """
    from spdq.data.emoji import load_emoji
    from spdq.features import image_extractor
    from spdq_cli.inputs import check_output

    check_output(out)
    maker = image_extractor(extractor)
    pictures = out.with_name(f"{out.stem}-pictures")
    is_new = not pictures.exists()
    try:
        with progress_bar("Image features", quiet) as progress:
            _save(load_emoji(pictures, maker, progress, kind, seed), out, as_json)
    except BaseException:
        if is_new:
            shutil.rmtree(pictures, ignore_errors=True)
        raise


@import_.command()
@click.argument("source", type=PATH)
@click.argument("out", metavar="OUT.h5", type=PATH)
@click.option(
    "--features",
    type=click.Choice(["sift", "cnn"]),
    default="sift",
    help="sift: raw_features.mat; cnn: wiki_cnn.mat.",
)
@_kind
@_seed
@json_option
def wikipedia(source: Path, out: Path, features: Any, kind: SplitKind, seed: int, as_json: bool) -> None:
    """Wikipedia featured articles: the published features in the folder SOURCE."""
    from spdq.data.wikipedia import load_wikipedia
    from spdq_cli.inputs import check_output

    check_output(out)
    _save(load_wikipedia(source, features, kind, seed), out, as_json)


@import_.command()
@click.argument("source", type=PATH)
@click.argument("out", metavar="OUT.h5", type=PATH)
@_extractor("lite0:224")
@_kind
@_seed
@quiet_option
@json_option
def mirflickr(
    source: Path, out: Path, extractor: str, kind: SplitKind, seed: int, quiet: bool, as_json: bool
) -> None:
    """MIRFlickr-25K in its original folders under SOURCE; the photos stay where they are."""
    from spdq.data.mirflickr import load_mirflickr
    from spdq.features import image_extractor
    from spdq_cli.inputs import check_output

    check_output(out)
    maker = image_extractor(extractor)
    with progress_bar("Image features", quiet) as progress:
        loaded = load_mirflickr(source, maker, progress, kind, seed)
    _save(loaded, out, as_json)


@dataset.command()
@click.argument("file", metavar="FILE.h5", type=PATH)
@json_option
def info(file: Path, as_json: bool) -> None:
    """Show what a data set file holds."""
    from spdq.data.dataset import Dataset

    print_facts(Dataset.load(file).describe(), as_json)


@dataset.command()
@click.argument("source", metavar="IN.h5", type=PATH)
@click.argument("out", metavar="OUT.h5", type=PATH)
@click.option(
    "--kind", type=KINDS, required=True, help="The new split; see `spdq dataset import emoji --help`."
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
@_seed
@json_option
def split(
    source: Path,
    out: Path,
    kind: SplitKind,
    train_on_queries: bool,
    query_all: bool,
    development: int | None,
    seed: int,
    as_json: bool,
) -> None:
    """Write the items with another split. The query rows of the file are kept, unless an option says otherwise."""
    import numpy as np

    from spdq.data import Dataset, make_split, random_query_rows
    from spdq.errors import DataError, UsageError
    from spdq_cli.inputs import check_output

    if query_all and development is not None:
        raise UsageError("--query-all and --development exclude each other: choose one")
    check_output(out)
    items = Dataset.load(source)
    if query_all:
        query: Any = range(len(items))
    elif development is not None:
        if items.split is not None:
            items = items.take(np.setdiff1d(np.arange(len(items)), items.split.query))
        query = random_query_rows(len(items), development, seed)
    elif items.split is not None:
        query = items.split.query
    else:
        raise DataError(f"{source} has no split whose query rows could be kept: use --query-all")
    _save(items.with_split(make_split(len(items), query, kind, seed, train_on_queries)), out, as_json)


def _save(made: Dataset, out: Path, as_json: bool) -> None:
    made.save(out)
    print_facts({"file": str(out), **made.describe()}, as_json)
