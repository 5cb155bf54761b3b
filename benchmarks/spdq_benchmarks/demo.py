"""The main job on the embedded data: train, index, judge, answer. ``spdq demo`` is this and its report."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import numpy as np

import spdq
from spdq.data.dataset import Dataset
from spdq.data.emoji import load_emoji
from spdq.data.extractor import ImageExtractor
from spdq.data.splits import make_split
from spdq.engine import Engine
from spdq.errors import (
    DamagedError,
    IncompatibleError,
    MissingExtraError,
    SpdqError,
    StorageError,
    UsageError,
)
from spdq.evaluation import Figure, evaluate_instances
from spdq.features import image_extractor
from spdq.index import Index
from spdq.models import load_model
from spdq.models.directory import CONFIG
from spdq.models.model import Model
from spdq.models.rows import embed_rows
from spdq.models.spdq import SPDQModel
from spdq.training.log import LOG, read_log
from spdq.training.provenance import training_digest
from spdq.training.run import train_task
from spdq.training.spdq import SPDQTask
from spdq_benchmarks.answers import QUERIES, answer_picture, answer_text, picture_queries
from spdq_benchmarks.evaluation import CROSS_MODAL, Judgement, chance_level, judge
from spdq_benchmarks.findings import Findings, Row, Sizes
from spdq_benchmarks.relevance import DEFAULT_PROTOCOLS

Progress = Callable[[str, int, int], None]
"""Called with (step, done, total)."""

DATA, PICTURES, MODEL, INDEX, REPORT = "emoji.h5", "pictures", "model", "index", "report.html"
LABEL_SETS = ("group:", "subgroup:")
PROTOCOL = "map@all"
_ROWS_AT_ONCE = 256


def run_demo(
    out: str | os.PathLike[str],
    bits: int = 64,
    seed: int = 0,
    progress: Progress | None = None,
) -> Findings:
    """Run the demo in the folder ``out``, which is made if needed; what is there and fits is used again.

    ``bits`` and ``seed`` are as in ``train_task``; the seed also draws the queries.

    Raises
    ------
    StorageError
        ``out`` cannot be written.
    MissingExtraError
        The packages of the ``demo`` extra are not installed.
    UsageError
        Code length or seed out of range, or ``out`` holds something else under a name the demo writes.
    """
    folder = Path(out)
    is_new = not folder.exists()
    _check_writable(folder)
    seconds: dict[str, float] = {}
    reused: list[str] = []
    with _timed(seconds, "data"):
        try:
            dataset, kept = emoji_data(folder, seed, image_extractor("lite0"), _step(progress, "pictures"))
        except MissingExtraError:
            if is_new:
                with suppress(OSError):  # What was made before the extra was missed stays.
                    folder.rmdir()
            raise
        reused += ["data"] * kept
    with _timed(seconds, "training"):
        model, kept = _model(folder / MODEL, dataset, bits, seed, _step(progress, "training"))
        reused += ["training"] * kept
    with _timed(seconds, "index"):
        _build_index(folder / INDEX, model, folder / MODEL, dataset, _step(progress, "index"))
    with _timed(seconds, "figures"):
        rows = _judge(model, dataset, _step(progress, "figures"))
    with _timed(seconds, "answers"), Index.open(folder / INDEX) as index:
        engine = Engine(model, index)
        texts = tuple(answer_text(engine, dataset, *query) for query in QUERIES)
        images = tuple(answer_picture(engine, dataset, row) for row in picture_queries(dataset))
        sizes = _sizes(index, folder / INDEX, dataset)
    return Findings(
        out=folder,
        version=spdq.__version__,
        dataset=dataset.describe(),
        bits=bits,
        seed=seed,
        rows=rows,
        texts=texts,
        images=images,
        log=_training_log(folder / MODEL),
        sizes=sizes,
        seconds=seconds,
        reused=tuple(reused),
    )


def emoji_data(
    folder: Path, seed: int, extractor: ImageExtractor, progress: Callable[[int, int], None] | None = None
) -> tuple[Dataset, bool]:
    """The emoji data set of ``folder``, and whether it was there already; otherwise it is made and saved.

    Raises what ``load_emoji`` and ``Dataset.save`` raise.
    """
    file = folder / DATA
    try:
        kept = Dataset.load(file)
    except SpdqError:
        kept = None
    if kept is not None and _fits(kept, seed, extractor):
        return kept, True
    load_emoji(folder / PICTURES, extractor, progress=progress, kind="seen", seed=seed).save(file)
    return Dataset.load(file), False


def _fits(dataset: Dataset, seed: int, extractor: ImageExtractor) -> bool:
    split = dataset.split
    return (
        dataset.name == "emoji"
        and dataset.image_extractor == extractor.name
        and (split is not None and split.kind == "seen" and split.seed == seed)
        and dataset.texts is not None
        and dataset.image_paths is not None
        and all(dataset.image_path(row).is_file() for row in range(len(dataset)))
    )


def _model(
    folder: Path, dataset: Dataset, bits: int, seed: int, progress: Callable[[int, int], None] | None
) -> tuple[Model, bool]:
    """The trained model, and whether it was there already."""
    try:
        kept = load_model(folder)
    except SpdqError:
        kept = None
    if isinstance(kept, SPDQModel) and _was_trained_so(kept, dataset, bits, seed):
        return kept, True
    # While another one is trained in its place, and its log is overwritten, the old one is no model any more.
    if (folder / CONFIG).exists():
        (folder / CONFIG).unlink()
    train = partial(train_task, SPDQTask, dataset, bits=bits, seed=seed, directory=folder, progress=progress)
    try:
        train(resume=True)
    except (DamagedError, IncompatibleError):
        # The checkpoint is of another run, or was hit by a crash.
        train(resume=False)
    return load_model(folder), False


def _was_trained_so(model: SPDQModel, dataset: Dataset, bits: int, seed: int) -> bool:
    training = model.training
    return (model.config.recipe, model.config.bits, training["seed"]) == ("default", bits, seed) and training[
        "rows_digest"
    ] == training_digest(dataset)


def _build_index(
    folder: Path, model: Model, model_dir: Path, dataset: Dataset, progress: Callable[[int, int], None] | None
) -> None:
    """Index every item as a unit; an older index stays until the new one is complete."""
    if folder.exists() and not (folder / "catalog.db").is_file():
        raise UsageError(f"{folder} is not an index: choose another folder for the demo (--out)")
    n = len(dataset)
    codes = []
    for start in range(0, n, _ROWS_AT_ONCE):
        rows = np.arange(start, min(start + _ROWS_AT_ONCE, n))
        codes.append(model.codebooks.encode(embed_rows(model, dataset, "u", rows)))
        if progress is not None:
            progress(int(rows[-1]) + 1, n)
    with _temporary_folder(folder.parent) as temporary:
        with Index.create(
            temporary / "new",
            model.codebooks,
            metric="ip",
            ids="int" if dataset.ids.dtype.kind == "i" else "str",
            model_fingerprint=model.fingerprint,
            model_path=model_dir.resolve(),
            attributes={"labels": "set"},
        ) as index:
            labels = dataset.names_of_labels(np.arange(n))
            index.add_codes(np.concatenate(codes), dataset.ids, {"labels": labels})
        try:
            if folder.exists():
                folder.rename(temporary / "old")
            (temporary / "new").rename(folder)
        except OSError as error:
            raise StorageError(f"cannot write the index: {error.strerror} ({folder})") from error


def _judge(model: Model, dataset: Dataset, progress: Callable[[int, int], None] | None) -> tuple[Row, ...]:
    """MAP by labels on the data set's split; how often a held-out name finds its own item among all units."""
    questions = [(labels, direction) for labels in LABEL_SETS for direction in CROSS_MODAL[::-1]]
    rows = []
    for done, (labels, direction) in enumerate(questions, start=1):
        chance = chance_level(dataset, [PROTOCOL], labels)
        judged = judge(
            model,
            dataset,
            directions=[direction],
            protocols=[PROTOCOL],
            labels=labels,
            codings=["vectors", "codes"],
        )
        rows += _rows(chance, judged)
        if progress is not None:
            progress(done, len(questions) + 1)
    split = dataset.split
    if split is not None:
        paired = dataset.with_split(make_split(len(dataset), split.query, "paired", split.seed))
        judged = judge(model, paired, directions=["t2u"], codings=["vectors", "codes"])
        rows += _rows(_instance_chance(len(dataset), split.query), judged)
    if progress is not None:
        progress(len(questions) + 1, len(questions) + 1)
    return tuple(rows)


def _rows(chance: list[Figure], judged: list[Judgement]) -> list[Row]:
    """Judgements of one direction, first of vectors and then of codes, beside their chance levels."""
    vectors, codes = judged[: len(chance)], judged[len(chance) :]
    return [
        Row(c.direction, c.labels, c.split, figure, v.figure, c.figure)
        for figure, v, c in zip(chance, vectors, codes, strict=True)
    ]


def _instance_chance(n: int, own: np.ndarray) -> list[Figure]:
    """What a random ranking of all items reaches: every item tied."""
    return evaluate_instances(np.broadcast_to(np.float32(0), (len(own), n)), own, DEFAULT_PROTOCOLS["paired"])


def _sizes(index: Index, folder: Path, dataset: Dataset) -> Sizes:
    pictures = {dataset.image_path(row) for row in range(len(dataset))}
    return Sizes(
        items=len(index),
        code=index.codebooks.code_bytes,
        vector=4 * index.dim,
        codebooks=(folder / "codebooks.safetensors").stat().st_size,
        index=sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()),
        pictures=sum(picture.stat().st_size for picture in pictures),
    )


def _training_log(folder: Path) -> tuple[dict[str, object], ...]:
    return tuple(read_log(folder / LOG)) if (folder / LOG).is_file() else ()


def _check_writable(folder: Path) -> None:
    """Find out before the long steps, not after them."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise StorageError(
            f"cannot write to {folder}: {error.strerror}. Choose another folder (--out)"
        ) from error


@contextmanager
def _temporary_folder(parent: Path) -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix=".demo-", dir=parent))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@contextmanager
def _timed(seconds: dict[str, float], step: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds[step] = time.perf_counter() - start


def _step(progress: Progress | None, name: str) -> Callable[[int, int], None] | None:
    return None if progress is None else partial(progress, name)
