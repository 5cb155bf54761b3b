"""``spdq index``: build and info."""

from __future__ import annotations

import os
import shutil
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from spdq_cli.output import json_option, print_facts
from spdq_cli.progress import Progress, progress_bar, quiet_option

if TYPE_CHECKING:
    from spdq.models.model import Model

PATH = click.Path(path_type=Path)


@click.group(short_help="Build and inspect an index of codes.")
def index() -> None:
    """Build and inspect an index of codes."""


@index.command()
@click.argument("index_dir", type=PATH)
@click.argument("source", metavar="INPUT", type=PATH)
@click.option(
    "--model", "model_dir", metavar="MODEL_DIR", type=PATH, required=True, help="The trained model."
)
@click.option(
    "--modality",
    type=click.Choice(["image", "text", "unit"]),
    help="What to encode of a data set.  [default: image]",
)
@click.option(
    "--rows",
    type=click.Choice(["all", "database", "train"]),
    help="Which rows of a data set.  [default: all]",
)
@quiet_option
@json_option
def build(
    index_dir: Path,
    source: Path,
    model_dir: Path,
    modality: str | None,
    rows: str | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """Build the new index INDEX_DIR from INPUT: a data set, or codes that `spdq encode` wrote."""
    from spdq.errors import NotFoundError, UsageError
    from spdq.models import load_model

    if os.path.lexists(index_dir):
        raise UsageError(f"{index_dir} already exists: choose another directory")
    if not index_dir.parent.is_dir():
        raise NotFoundError(f"folder not found: {index_dir.parent}")
    model = load_model(model_dir)
    with progress_bar("Encoding", quiet) as progress:
        ids, codes = _codes(model, source, modality, rows, progress)
    _write(index_dir, model, model_dir, ids, codes)
    _print_stats(index_dir, False, as_json)


@index.command()
@click.argument("index_dir", type=PATH)
@click.option("--verify", is_flag=True, help="Also check every checksum, code and id.")
@json_option
def info(index_dir: Path, verify: bool, as_json: bool) -> None:
    """Show what an index holds and which model it was built with."""
    _print_stats(index_dir, verify, as_json)


def _codes(
    model: Model, source: Path, modality: str | None, rows: str | None, progress: Progress | None
) -> tuple[Any, Any]:
    """Ids and codes of a codes file, or of a data set's rows."""
    import numpy as np

    from spdq.data.codes import Codes, NotCodesError
    from spdq.errors import DataError, IncompatibleError, UsageError
    from spdq_cli.encoding import encode_dataset, load_dataset

    try:
        codes = Codes.load(source)
    except NotCodesError:
        modality = modality or "image"
        dataset = load_dataset(model, source, modality)
        if rows in ("database", "train"):
            if dataset.split is None:
                raise DataError(f"{source} has no split: use --rows all") from None
            chosen = getattr(dataset.split, rows)
        else:
            chosen = np.arange(len(dataset))
        return dataset.ids[chosen], encode_dataset(model, dataset, modality, chosen, progress)
    if modality or rows:
        raise UsageError(f"{source} holds codes ({codes.modality}): --modality and --rows are for data sets")
    ours = (model.fingerprint, model.codebooks.fingerprint)
    for theirs, own in zip((codes.model_fingerprint, codes.codebook_fingerprint), ours, strict=True):
        if theirs != own:
            raise IncompatibleError(
                f"{source} was encoded with model {codes.model_fingerprint[:12]}, this is {ours[0][:12]}. "
                "Encode it again or pass the right --model"
            )
    return codes.ids, codes.codes


def _write(index_dir: Path, model: Model, model_dir: Path, ids: Any, codes: Any) -> None:
    """Make the whole index under another name first: it appears complete or not at all."""
    from spdq.errors import StorageError
    from spdq.index import Index

    draft = index_dir.with_name(f".{index_dir.name}.{uuid.uuid4().hex}.tmp")
    try:
        with Index.create(
            draft,
            model.codebooks,
            metric="ip",
            ids="int" if ids.dtype.kind == "i" else "str",
            model_fingerprint=model.fingerprint,
            model_path=model_dir.resolve(),
        ) as made:
            made.add_codes(codes, ids)
        draft.rename(index_dir)
    except OSError as error:
        if isinstance(error, StorageError):
            raise
        raise StorageError(f"cannot write {index_dir}: {error.strerror}") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _print_stats(index_dir: Path, verify: bool, as_json: bool) -> None:
    from spdq.index import Index

    with Index.open(index_dir) as opened:
        if verify:
            opened.verify()
        print_facts(opened.stats() | ({"verified": True} if verify else {}), as_json)
