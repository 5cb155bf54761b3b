"""From a folder of pictures to an index that answers, in one folder; what is done and still fits is kept."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spdq.data.dataset import Dataset
from spdq.data.extractor import ImageExtractor
from spdq.data.folder import FolderFindings, load_folder
from spdq.errors import DamagedError, IncompatibleError, SpdqError, StorageError, UsageError
from spdq.index import Index
from spdq.index.building import build as build_index
from spdq.models import load_model
from spdq.models.model import Model
from spdq.training import train
from spdq.training.pictures import fit_pictures
from spdq_cli.engine_folder import DATA, INDEX, MODEL, PLAN, UNFINISHED
from spdq_cli.output import write_json_file
from spdq_cli.progress import Progress
from spdq_cli.sources import model_source, with_attributes

PICTURES_ALONE = "pictures"

Bar = Callable[[str], Progress | None]
"""Gives the progress of a stage by its name."""


@dataclass(frozen=True)
class Plan:
    """What decides model and index: written before they are made, so that what is there can be told."""

    data_sha256: str
    system: str
    bits: int
    seed: int


def make_engine(
    pictures: Path,
    out: Path,
    extractor: ImageExtractor,
    with_text_features: Callable[[Dataset], Dataset],
    system: str | None,
    bits: int,
    seed: int,
    skip_bad: bool,
    bar: Bar,
) -> dict[str, Any]:
    """Make OUT/data.h5, OUT/model and OUT/index of a folder of pictures; what there is to say about them.

    Raises
    ------
    UsageError
        ``out`` holds a model or an index that this did not make.
    SpdqError
        Whatever ``load_folder``, ``train``, ``fit_pictures`` and ``build_index`` raise.
    """
    _check_ours(out)
    # Files that have been seen are only read, so the data set always is that of the pictures as they are now.
    dataset, found = load_folder(pictures, extractor, bar("Image features"), "seen", seed, skip_bad)
    _save(with_text_features(dataset), out / DATA)
    dataset = Dataset.load(out / DATA)
    plan = Plan(_sha256(out / DATA), system or _system_for(dataset), bits, seed)
    if _read_plan(out) != vars(plan):
        for stale in (MODEL, INDEX, UNFINISHED):
            shutil.rmtree(out / stale, ignore_errors=True)
        write_json_file(out / PLAN, vars(plan))
    model, kept_model = _model(out / MODEL, dataset, plan, bar("Training"))
    modality = "image" if plan.system == PICTURES_ALONE else "unit"
    items, kept_index = _index(out / INDEX, model, out, modality, bar("Index"))
    return _facts(out, found, plan, modality, items, {"model": kept_model, "index": kept_index})


def _check_ours(out: Path) -> None:
    """Find out before the long steps, not after them."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"cannot write to {out}: {error.strerror}") from error
    for name in (MODEL, INDEX):
        if (out / name).exists() and not (out / PLAN).is_file():
            raise UsageError(f"{out / name} was made by another command: choose another folder")


def _save(dataset: Dataset, file: Path) -> None:
    """Write the data set where it is another one: an index that is half built goes on with the very same file."""
    new = file.with_name(f".{file.name}")
    dataset.save(new)
    if file.is_file() and _sha256(file) == _sha256(new):
        new.unlink()
    else:
        new.replace(file)


def _system_for(dataset: Dataset) -> str:
    """SPDQ where pictures have texts to learn from; else what finds pictures by pictures."""
    return PICTURES_ALONE if dataset.texts is None else "spdq"


def _read_plan(out: Path) -> Any:
    try:
        return json.loads((out / PLAN).read_bytes())
    except (OSError, ValueError):
        return None


def _model(folder: Path, dataset: Dataset, plan: Plan, progress: Progress | None) -> tuple[Model, bool]:
    try:
        return load_model(folder), True
    except SpdqError:
        if plan.system == PICTURES_ALONE:
            return fit_pictures(dataset, plan.bits, plan.seed, folder), False
    settings = {"bits": plan.bits, "seed": plan.seed, "directory": folder, "progress": progress}
    try:
        train(plan.system, dataset, resume=True, **settings)  # type: ignore[arg-type]
    except (DamagedError, IncompatibleError):  # The checkpoint of another version, or hit by a crash.
        train(plan.system, dataset, resume=False, **settings)  # type: ignore[arg-type]
    return load_model(folder), False


def _index(
    folder: Path, model: Model, out: Path, modality: str, progress: Progress | None
) -> tuple[int, bool]:
    """Number of items, and whether the index was there already."""
    try:
        with Index.open(folder) as there:
            there.check_model(model.fingerprint)
            return len(there), True
    except SpdqError:
        shutil.rmtree(folder, ignore_errors=True)
    source = with_attributes(model_source(model, out / DATA, modality, None), None, None)
    build_index(
        folder,
        lambda: model.codebooks,
        source,
        resume=True,
        progress=progress,
        metric="ip",
        model_fingerprint=model.fingerprint,
        model_path=str((out / MODEL).resolve()),
        ids=source.id_kind,
        attributes=source.types,
    )
    return source.n_items, False


def _facts(
    out: Path, found: FolderFindings, plan: Plan, modality: str, items: int, kept: dict[str, bool]
) -> dict[str, Any]:
    return {
        "folder": str(out),
        **found.describe(),
        "system": plan.system,
        "bits": plan.bits,
        "indexed": modality,
        "items": items,
        "kept": [name for name, was_there in kept.items() if was_there],
    }


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
