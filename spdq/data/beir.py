"""A retrieval corpus in BEIR's form, whose documents may have pictures.

corpus.jsonl     {"_id": "d1", "title": "...", "text": "...", "image": "1.jpg", "metadata": {"year": 2020}} a line
queries.jsonl    {"_id": "q1", "text": "..."} a line
qrels/test.tsv   which documents a query should find; ``spdq.evaluation.trec.read_qrels`` reads it
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from spdq.data.attributes import Attributes
from spdq.data.dataset import Dataset
from spdq.data.dataset_checks import MAX_GRADE
from spdq.data.extractor import ImageExtractor, Progress
from spdq.data.folder import picture_features
from spdq.data.metadata import Item, add_record, attributes_of
from spdq.data.pictures import relative_path
from spdq.data.query_items import QueryItems
from spdq.data.records import parse_json, storable, text_field
from spdq.data.splits import Split
from spdq.data.text_lines import text_lines
from spdq.errors import DataError, NotFoundError

CORPUS, QUERIES = "corpus.jsonl", "queries.jsonl"

Qrels = Mapping[str, Mapping[str, int]]
"""Relevance by ids of query and document; 0 and below is not relevant."""


@dataclass(frozen=True)
class BeirFindings:
    """What an import met.

    Parameters
    ----------
    skipped : why each picture could not be read, its name in it; its document stays, with its text alone.
    without_picture, without_text : documents that have only the other part.
    same_text : queries whose text is that of an earlier one, which they are added to.
    unjudged : queries that have no relevant document, left out.
    not_learned : training queries whose text is that of a query to judge by, left out.
    """

    skipped: tuple[str, ...]
    without_picture: int
    without_text: int
    same_text: int
    unjudged: int
    not_learned: int

    def describe(self) -> dict[str, Any]:
        """The same, JSON-ready."""
        return asdict(self)


@dataclass(frozen=True)
class _Corpus:
    """Documents: ids, texts, items of those that have pictures and their rows, attributes."""

    ids: tuple[str, ...]
    texts: tuple[str, ...]
    pictured: tuple[Item, ...]
    rows: tuple[int, ...]
    attributes: Attributes


def load_beir(
    folder: Path,
    judged: Qrels,
    learned: Qrels,
    extractor: ImageExtractor,
    progress: Progress | None = None,
    seed: int = 0,
    skip_bad: bool = False,
) -> tuple[Dataset, BeirFindings]:
    """Make a data set of the documents, in their order; what queries should find are its ``grades``.

    A document's first line of text is its title, the second its text; ``metadata`` become attributes
    (``read_metadata``). Features of a document without a picture are zeros, which models take for a missing picture.
    ``image_paths`` are kept where all documents have pictures. A corpus without any is one of texts alone.

    The split is of kind ``clicks``: every document is trained on and searched, the queries are texts.

    Parameters
    ----------
    judged : become ``grades``: 1, 2 or 3.
    learned : become ``clicks``, to learn from; may be empty.
    extractor : makes ``image_features`` (n, d) float32. Not asked where there are no pictures.
    seed : stands in the split; nothing is drawn.
    skip_bad : documents whose picture is missing or cannot be read keep their text alone; else the first is an error.

    Raises
    ------
    NotFoundError
        No such folder or file, or a picture is missing.
    DataError
        A line is not as it should be, an id comes twice, a document has neither text nor picture, judgements name
        queries or documents that are not there, a relevance above 3, no query has a relevant document, or a picture
        is broken.
    """
    if not folder.is_dir():
        what = "is a file, expected a folder in BEIR's form" if folder.exists() else "folder not found"
        raise NotFoundError(f"{folder}: {what}")
    corpus, queries = _corpus(folder / CORPUS), _queries(folder / QUERIES)
    place = {name: row for row, name in enumerate(corpus.ids)}
    grades, same, unjudged = _query_items(judged, queries, place, folder)
    clicks, _, _ = _query_items(learned, queries, place, folder)
    if not grades:
        raise DataError(f"{folder}: no query has a relevant document to be judged by")
    kept = {text: found for text, found in clicks.items() if text not in grades}
    features, without, skipped = _features(folder, corpus, extractor, progress, skip_bad)
    every = np.arange(len(corpus.ids), dtype=np.int64)
    paths = tuple(item.path for item in corpus.pictured)
    made = Dataset(
        name=folder.resolve().name or "beir",
        ids=np.array(corpus.ids),
        image_features=features,
        texts=corpus.texts if any(corpus.texts) else None,
        image_paths=paths if len(paths) == len(every) else None,
        image_extractor=None if features is None else extractor.name,
        image_regions=1 if features is None else extractor.regions,
        clicks=QueryItems.from_mapping(kept) if kept else None,
        grades=QueryItems.from_mapping(grades),
        attributes=corpus.attributes,
        split=Split(np.empty(0, np.int64), every, every, "clicks", seed),
        root=folder,
    )
    silent = sum(not text for text in corpus.texts)
    return made, BeirFindings(skipped, without, silent, same, unjudged, len(clicks) - len(kept))


def _records(file: Path) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Where a line stands, its id and its fields; each id once."""
    first: dict[str, int] = {}
    for number, line in enumerate(text_lines(file), start=1):
        if not line.strip():
            continue
        where = f"{file} line {number}"
        record = parse_json(line, where)
        if not isinstance(record, dict):
            raise DataError(f"{where}: expected a JSON object, got {type(record).__name__}")
        name = text_field(record, "_id", where)
        if not name:
            raise DataError(f"{where}: _id is empty")
        if (other := first.setdefault(name, number)) != number:
            raise DataError(f"{where}: {name!r} is the _id of line {other}, too")
        yield where, name, record
    if not first:
        raise DataError(f"{file}: empty")


def _corpus(file: Path) -> _Corpus:
    ids: list[str] = []
    texts: list[str] = []
    places: list[str] = []
    pictured: list[Item] = []
    rows: list[int] = []
    columns: dict[str, list[Any]] = {}
    for where, name, record in _records(file):
        text = "\n".join(filter(None, (_line(record, part, where) for part in ("title", "text"))))
        if record.get("image"):
            path = relative_path(text_field(record, "image", where), f"{where}: image")
            pictured.append(Item(path, text, (), where))
            rows.append(len(ids))
        elif not text:
            raise DataError(f"{where}: {name!r} has neither title, text nor image")
        metadata = record.get("metadata") or {}
        if not isinstance(metadata, dict):
            raise DataError(f"{where}: metadata: expected a JSON object, got {type(metadata).__name__}")
        add_record(columns, metadata, len(ids))
        ids.append(name)
        texts.append(text)
        places.append(where)
    attributes = attributes_of(file, columns, places)
    return _Corpus(tuple(ids), tuple(texts), tuple(pictured), tuple(rows), attributes)


def _line(record: dict[str, Any], part: str, where: str) -> str:
    """A field in one line, "" where it is missing."""
    return "" if record.get(part) is None else " ".join(text_field(record, part, where).split())


def _queries(file: Path) -> dict[str, str]:
    """Texts by id; "" for a query by picture, which cannot be judged by."""
    return {name: _line(record, "text", where) for where, name, record in _records(file)}


def _query_items(
    qrels: Qrels, queries: Mapping[str, str], place: Mapping[str, int], folder: Path
) -> tuple[dict[str, dict[int, int]], int, int]:
    """Grades by text of the query and row of the document; how many queries share a text, and have nothing to find."""
    found: dict[str, dict[int, int]] = {}
    same = unjudged = 0
    for name, documents in qrels.items():
        if name not in queries:
            raise DataError(f"{folder / 'qrels'}: query {name!r} is not in {QUERIES}")
        relevant = {document: grade for document, grade in documents.items() if grade > 0}
        if unknown := [document for document in relevant if document not in place]:
            raise DataError(f"{folder / 'qrels'}: document {unknown[0]!r} is not in {CORPUS}")
        if relevant and max(relevant.values()) > MAX_GRADE:
            most = max(relevant.values())
            raise DataError(f"{folder / 'qrels'}: query {name!r}: expected scores to {MAX_GRADE}, got {most}")
        if not relevant:
            unjudged += 1
            continue
        text = queries[name]
        if not text:
            raise DataError(
                f"{folder / QUERIES}: query {name!r} has no text; queries by picture alone cannot be judged by here"
            )
        same += text in found
        rows = found.setdefault(storable(text, f"{folder / QUERIES}: query {name!r}"), {})
        for document, grade in relevant.items():
            rows[place[document]] = max(grade, rows.get(place[document], 0))
    return found, same, unjudged


def _features(
    folder: Path,
    corpus: _Corpus,
    extractor: ImageExtractor,
    progress: Progress | None,
    skip_bad: bool,
) -> tuple[npt.NDArray[np.float32] | None, int, tuple[str, ...]]:
    """Features of all documents, how many have none, and why pictures were left out."""
    if not corpus.pictured:
        return None, len(corpus.ids), ()
    read, found, skipped = picture_features(folder, corpus.pictured, extractor, progress, skip_bad)
    _check_texts(corpus, read)
    features = np.zeros((len(corpus.ids), found.shape[1]), np.float32)
    features[[corpus.rows[place] for place in read]] = found
    return features, len(corpus.ids) - len(read), skipped


def _check_texts(corpus: _Corpus, read: Sequence[int]) -> None:
    """A document that has lost its picture must have a text."""
    for place in set(range(len(corpus.pictured))).difference(read):
        item = corpus.pictured[place]
        if not item.text:
            raise DataError(f"{item.where}: its picture cannot be read, and it has no text: leave it out")
