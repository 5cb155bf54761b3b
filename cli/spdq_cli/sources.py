"""What ``spdq index build`` and ``add`` read: data sets, codes, and arrays of vectors."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spdq.data.attributes import column_kind
from spdq.data.codes import Codes, NotCodesError
from spdq.data.dataset import Dataset
from spdq.errors import DataError, IncompatibleError, NotFoundError, UsageError
from spdq.index import Index
from spdq.index.attribute_files import AttributeFile
from spdq.index.building import ArraySource, Batch, Source
from spdq.models.encoding import CHUNK
from spdq.models.model import Model
from spdq.models.rows import embed_rows
from spdq_cli.encoding import load_dataset
from spdq_cli.inputs import read_lines
from spdq_cli.progress import Progress

Attributes = Mapping[str, Sequence[Any]]

ARRAYS = (".npy",)
LABELS = "labels"
"""The attribute that holds the label names of a data set's items."""


class DatasetSource:
    """Rows of a data set with its attributes; its labels become one more, ``labels``. ``embed`` makes their vectors."""

    def __init__(
        self,
        embed: Callable[[NDArray[np.int64]], NDArray[Any]],
        dataset: Dataset,
        modality: str,
        rows: NDArray[np.int64],
        facts: dict[str, Any],
    ) -> None:
        self._embed = embed
        self._modality = modality
        self._rows = rows
        self._facts = facts
        self.n_items = len(rows)
        self.batch_items = CHUNK * 16
        self.ids = dataset.ids[rows]
        self.id_kind = "int" if self.ids.dtype.kind == "i" else "str"
        self.attributes: dict[str, list[Any]] = (
            {LABELS: dataset.names_of_labels(rows)} if dataset.label_names else {}
        )
        for name, column in dataset.attributes.items():
            self.attributes[name] = [column[row] for row in rows]
        self.types = {name: column_kind(name, column) for name, column in dataset.attributes.items()}
        if dataset.label_names:
            self.types[LABELS] = "set"

    def facts(self) -> dict[str, Any]:
        return {**self._facts, "modality": self._modality, "items": self.n_items}

    def batch(self, start: int, stop: int) -> Batch:
        vectors = np.concatenate(
            [self._embed(self._rows[at : min(at + CHUNK, stop)]) for at in range(start, stop, CHUNK)]
        )
        attributes = {name: column[start:stop] for name, column in self.attributes.items()}
        return Batch(_ids(self.ids[start:stop]), vectors, None, attributes)


def is_array(source: Path) -> bool:
    """Whether a source is an array of vectors: by the ending of its name."""
    return source.suffix.lower() in ARRAYS


def model_source(model: Model, source: Path, modality: str | None, rows: str | None) -> Source:
    """The items of a data set, or of codes that ``spdq encode`` wrote with this model.

    Raises DataError, UsageError, IncompatibleError, NotFoundError.
    """
    try:
        codes = Codes.load(source)
    except NotCodesError:
        modality = modality or "image"
        dataset = load_dataset(model, source, modality)
        chosen = chosen_rows(dataset, source, rows)
        embed = partial(embed_rows, model, dataset, modality[0])
        return DatasetSource(embed, dataset, modality, chosen, file_facts(source) | {"rows": rows})
    if modality or rows:
        raise UsageError(f"{source} holds codes ({codes.modality}): --modality and --rows are for data sets")
    ours = (model.fingerprint, model.codebooks.fingerprint)
    for theirs, own in zip((codes.model_fingerprint, codes.codebook_fingerprint), ours, strict=True):
        if theirs != own:
            raise IncompatibleError(
                f"{source} was encoded with model {codes.model_fingerprint[:12]}, this is {ours[0][:12]}. "
                "Encode it again or pass the right --model"
            )
    return ArraySource(codes=codes.codes, ids=codes.ids, facts=file_facts(source))


def chosen_rows(dataset: Dataset, source: Path, rows: str | None) -> NDArray[np.int64]:
    """The rows of a data set that ``--rows`` names, None = all. Raises DataError where it has no split."""
    if rows not in ("database", "train"):
        return np.arange(len(dataset))
    if dataset.split is None:
        raise DataError(f"{source} has no split: use --rows all")
    chosen: NDArray[np.int64] = getattr(dataset.split, rows)
    return chosen


def array_source(source: Path, ids: Path | None, numbered: bool = True) -> ArraySource:
    """The rows of a .npy file: float vectors (n, D), or codes (n, M) uint8.

    Without ids they are ``numbered`` from 0 or, if not, after what is in the index. Raises DataError, NotFoundError.
    """
    array = load_array(source)
    if (
        array.ndim != 2
        or array.dtype.kind not in "fu"
        or (array.dtype.kind == "u" and array.dtype != np.uint8)
    ):
        raise DataError(
            f"{source}: expected vectors (n, D) of floats or codes (n, M) uint8, got {array.dtype} {array.shape}"
        )
    facts = file_facts(source) | ({} if ids is None else {"ids": file_facts(ids)})
    named = None if ids is None else load_ids(ids)
    if named is not None and len(named) != len(array):
        raise DataError(f"{ids}: expected {len(array)} ids, one for each row of {source}, got {len(named)}")
    is_codes = array.dtype == np.uint8
    vectors, codes = (None, array) if is_codes else (array, None)
    return ArraySource(vectors, codes, named, numbered=numbered, facts=facts)


def load_array(path: Path) -> NDArray[Any]:
    """A .npy file, mapped and not read. Raises NotFoundError, DataError."""
    try:
        array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise NotFoundError(f"file not found: {path}") from None
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path}: not an array file of NumPy ({error})") from None
    return array


def load_ids(path: Path) -> NDArray[Any]:
    """Ids (n,): int64 from a .npy file, else texts, one a line. Raises NotFoundError, DataError."""
    if is_array(path):
        ids = load_array(path)
        if ids.ndim != 1 or ids.dtype.kind not in "iu":
            raise DataError(f"{path}: expected ids (n,) of integers, got {ids.dtype} {ids.shape}")
        return ids
    return np.array([line for _, line in read_lines(str(path))], object)


class Complete:
    """A source with the attributes of a file beside its own."""

    def __init__(
        self,
        source: Source,
        types: Mapping[str, str],
        file: AttributeFile | None,
        id_kind: str,
        facts: Mapping[str, Any],
    ) -> None:
        self._source = source
        self._file = file
        self._facts = dict(facts)
        self.types = dict(types)
        self.id_kind = id_kind
        self.n_items = source.n_items
        self.batch_items = source.batch_items

    def facts(self) -> dict[str, Any]:
        return self._source.facts() | self._facts

    def batch(self, start: int, stop: int) -> Batch:
        batch = self._source.batch(start, stop)
        if self._file is None:
            return batch
        if batch.ids is None:
            raise UsageError("attributes are found by id: give the ids of the items to add")
        more = self._file.columns(np.asarray(batch.ids).tolist())
        return dataclasses.replace(batch, attributes={**(batch.attributes or {}), **more})


def with_attributes(
    source: Source,
    file: Path | None,
    known: Mapping[str, str] | None,
    choices: Mapping[str, Any] | None = None,
) -> Complete:
    """A source with the attributes of a file. ``known`` are the attributes of the index, None for a new one.

    ``choices`` are what else decides what is built: a build goes on only with the same.
    Of a new index the attributes are those of source and file, the file's where both have one; of those of a data set
    an index takes what it has.
    Raises DataError, NotFoundError.
    """
    id_kind = source.id_kind
    read = None if file is None else AttributeFile(file, id_kind, known)
    facts = {**(choices or {}), "attributes": None if file is None else file_facts(file)}
    own = source.types if isinstance(source, DatasetSource) else {}
    if known is None:
        return Complete(source, own | (read.types if read else {}), read, id_kind, facts)
    if isinstance(source, DatasetSource):
        source.attributes = {name: column for name, column in source.attributes.items() if name in known}
    return Complete(source, known, read, id_kind, facts)


def add_all(index: Index, source: Source, update: bool, progress: Progress | None) -> None:
    """Add a source's items to an index, batch by batch. Raises as ``Index.add`` and ``Index.update``."""
    for start in range(0, source.n_items, source.batch_items):
        stop = min(start + source.batch_items, source.n_items)
        batch = source.batch(start, stop)
        if update:
            batch.put_into(index)
        else:
            batch.add_to(index)
        if progress is not None:
            progress(stop, source.n_items)


def ids_from(given: Sequence[str] | NDArray[Any], kind: str) -> Any:
    """Ids as they were typed, of an index's kind. Raises UsageError."""
    if kind == "str":
        return np.array([str(one) for one in given], object)
    try:
        return np.array([int(one) for one in given], object)
    except ValueError as error:
        raise UsageError(f"this index has int ids: expected integers ({error})") from None


def _ids(ids: NDArray[Any]) -> NDArray[Any]:
    return ids if ids.dtype.kind == "i" else ids.astype(object)


def file_facts(path: Path) -> dict[str, Any]:
    """What tells a file from another without reading all of it."""
    found = path.stat()
    with path.open("rb") as file:
        start = hashlib.sha256(file.read(1 << 20)).hexdigest()
    return {"file": str(path.resolve()), "size": found.st_size, "changed": found.st_mtime_ns, "start": start}
