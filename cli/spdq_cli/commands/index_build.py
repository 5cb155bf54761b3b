"""``spdq index build`` and ``add``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from spdq_cli.output import json_option, print_facts
from spdq_cli.progress import progress_bar, quiet_option

if TYPE_CHECKING:
    from spdq.index.building import ArraySource, Source
    from spdq_cli.vectors import CodebookOptions

PATH = click.Path(path_type=Path)

_SHARED = (
    click.option(
        "--modality",
        type=click.Choice(["image", "text", "unit"]),
        help="What to encode of a data set.  [default: image]",
    ),
    click.option(
        "--rows",
        type=click.Choice(["all", "database", "train"]),
        help="Which rows of a data set.  [default: all]",
    ),
    click.option(
        "--ids",
        metavar="FILE",
        type=PATH,
        help="Ids for a .npy file: a .npy file of integers, or texts, one a line.",
    ),
    click.option(
        "--attributes",
        metavar="FILE",
        type=PATH,
        help='Attributes: JSON lines {"id": ..., NAME: VALUE, ...}, or CSV with a column id (sets as a|b|c).',
    ),
)


def _shared(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of both commands."""
    for option in reversed(_SHARED):
        command = option(command)
    return command


@click.command(short_help="Build a new index.")
@click.argument("index_dir", type=PATH)
@click.argument("source", metavar="INPUT", type=PATH)
@click.option("--model", "model_dir", metavar="MODEL_DIR", type=PATH, help="The trained model.")
@_shared
@click.option(
    "--codebooks", metavar="FILE", type=PATH, help="For a .npy file: codebooks.safetensors of another index."
)
@click.option("--bits", type=click.IntRange(8, 2048), help="Without a model: bits of a code.  [default: 64]")
@click.option(
    "--metric",
    type=click.Choice(["l2", "ip"]),
    help="Without a model.  [default: l2 for a .npy file without --queries and --aq, else ip]",
)
@click.option("--opq", is_flag=True, help="Without a model: also learn a rotation.")
@click.option("--aq", is_flag=True, help="Without a model: additive codes; slower to learn, they lose less.")
@click.option(
    "--queries",
    metavar="FILE.npy",
    type=PATH,
    multiple=True,
    help="Without a model: vectors like those that will be searched with, to learn for; may be repeated.  "
    "[default: images and texts of a data set, none for a .npy file]",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, help="Of the codebooks that are learned.")
@click.option("--resume", is_flag=True, help="Go on with a build that was interrupted.")
@quiet_option
@json_option
def build(
    index_dir: Path,
    source: Path,
    model_dir: Path | None,
    modality: str | None,
    rows: str | None,
    ids: Path | None,
    attributes: Path | None,
    codebooks: Path | None,
    bits: int | None,
    metric: str | None,
    opq: bool,
    aq: bool,
    queries: tuple[Path, ...],
    seed: int,
    resume: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Build the new index INDEX_DIR from INPUT.

    \b
    INPUT is one of
      FILE.h5    a data set, encoded with --model, with its attributes; labels are one, "labels"
      FILE.h5    codes that `spdq encode` wrote with --model
      FILE.h5    a data set of embeddings, of both modalities in one space: without --model
      FILE.npy   vectors (n, D): codebooks are learned on a sample of them, or taken from --codebooks
      FILE.npy   codes (n, M) uint8 of --codebooks

    Ids of a .npy file are 0 to n - 1 unless --ids says otherwise. An interrupted build goes on with --resume.
    """
    from spdq.index import Index
    from spdq.index.building import build as build_index
    from spdq_cli.sources import with_attributes
    from spdq_cli.vectors import CodebookOptions

    options = CodebookOptions(bits, opq, aq, queries, seed)
    made, quantizer, settings = _input(source, model_dir, modality, rows, ids, codebooks, metric, options)
    choices = {**options.facts(), "codebooks": str(codebooks)}
    complete = with_attributes(made, attributes, None, choices)
    settings |= {"ids": complete.id_kind, "attributes": complete.types}
    with progress_bar("Building", quiet) as progress:
        build_index(index_dir, quantizer, complete, resume=resume, progress=progress, **settings)
    with Index.open(index_dir) as opened:
        print_facts(opened.stats(), as_json)


def _input(
    source: Path,
    model_dir: Path | None,
    modality: str | None,
    rows: str | None,
    ids: Path | None,
    codebooks: Path | None,
    metric: str | None,
    options: CodebookOptions,
) -> tuple[Source, Callable[[], object], dict[str, Any]]:
    """Items, what gives their codebooks, and settings of the index."""
    from spdq.errors import UsageError
    from spdq_cli.sources import array_source, is_array, model_source

    if is_array(source):
        if model_dir or modality or rows:
            raise UsageError(
                f"{source} is an array: --model, --modality and --rows are for data sets and codes"
            )
        array = array_source(source, ids)
        default = "ip" if options.needs_ip() else "l2"
        return array, _array_quantizer(array, codebooks, options), {"metric": metric or default}
    if ids or codebooks:
        raise UsageError("--ids and --codebooks are for .npy files")
    if model_dir is None:
        from spdq_cli.vectors import embeddings

        found = embeddings(source, modality, rows)
        own_queries = found.queries if metric != "l2" else ()
        learn = lambda: options.learn(found.vectors, own_queries)  # noqa: E731
        return found.items, learn, {"metric": metric or "ip"}
    if metric or options.typed():
        raise UsageError("--bits, --metric, --opq, --aq and --queries are for vectors without a model")
    from spdq.models import load_model

    model = load_model(model_dir)
    settings = {
        "metric": "ip",
        "model_fingerprint": model.fingerprint,
        "model_path": str(model_dir.resolve()),
    }
    return model_source(model, source, modality, rows), lambda: model.codebooks, settings


@click.command(short_help="Add items, or replace them.")
@click.argument("index_dir", type=PATH)
@click.argument("source", metavar="INPUT", type=PATH)
@click.option(
    "--model",
    "model_dir",
    metavar="MODEL_DIR",
    type=PATH,
    help="The model to encode with.  [default: the one the index was built with]",
)
@_shared
@click.option("--update", is_flag=True, help="Replace items whose id is there already.")
@quiet_option
@json_option
def add(
    index_dir: Path,
    source: Path,
    model_dir: Path | None,
    modality: str | None,
    rows: str | None,
    ids: Path | None,
    attributes: Path | None,
    update: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Add the items of INPUT, as for `spdq index build`, to an index.

    The rows of a .npy file without --ids get the numbers that follow the largest id. Each batch is safe once it is
    added: after an interruption, add the same INPUT again with --update.
    """
    from spdq.errors import UsageError
    from spdq.index import Index
    from spdq_cli.sources import add_all, array_source, is_array, model_source, with_attributes

    with Index.open(index_dir, writable=True) as opened:
        made: Source
        if is_array(source):
            if model_dir or modality or rows:
                raise UsageError(
                    f"{source} is an array: --model, --modality and --rows are for data sets and codes"
                )
            made = array_source(source, ids, numbered=False)
        else:
            if ids:
                raise UsageError("--ids is for .npy files")
            if model_dir is None and opened.model_path is None:
                from spdq_cli.vectors import embeddings

                made = embeddings(source, modality, rows).items
            else:
                from spdq.engine import Engine

                made = model_source(Engine(model_dir, opened).model, source, modality, rows)
        complete = with_attributes(made, attributes, opened.attributes)
        before = len(opened)
        with progress_bar("Adding", quiet) as progress:
            add_all(opened, complete, update, progress)
        facts = {"added": len(opened) - before, "replaced": made.n_items - (len(opened) - before)}
        print_facts({**facts, "items": len(opened)}, as_json)


def _array_quantizer(
    array: ArraySource, codebooks: Path | None, options: CodebookOptions
) -> Callable[[], object]:
    """What gives the codebooks for an array."""
    from spdq.errors import UsageError
    from spdq.index.store import read_codebooks

    if codebooks is not None:
        if options.typed():
            raise UsageError(
                "--bits, --opq, --aq and --queries are for codebooks that are learned, not for --codebooks"
            )
        return lambda: read_codebooks(codebooks)[0]
    if array.is_codes:
        raise UsageError("codes need --codebooks, the codebooks.safetensors they were made with")
    return lambda: options.learn(array)
