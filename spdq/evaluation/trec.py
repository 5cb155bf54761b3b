"""Runs and relevance judgements in the text formats of TREC and BEIR, which ``trec_eval`` and kin read.

A run is lines of ``query Q0 document rank score tag``; judgements ("qrels") are lines of ``query 0 document
relevance``, or in BEIR's form tab separated ``query-id corpus-id score`` under that header. Ids are text
without white space.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from spdq.errors import DataError, NotFoundError, StorageError

T = TypeVar("T")

BEIR_HEADER = "query-id\tcorpus-id\tscore"


def write_run(
    path: str | os.PathLike[str],
    query_ids: Iterable[object],
    distances: npt.NDArray[Any],
    ids: npt.NDArray[Any],
    tag: str = "spdq",
) -> None:
    """Write what a search found: ranks from 1, score = -distance, so that scores descend as the format asks.

    Parameters
    ----------
    query_ids : (queries,) distances : (queries, k) floating, smaller = closer, each row ascending; a place at
    +inf (nothing found) is left out ids : (queries, k) document ids

    Raises
    ------
    DataError
        Shapes differ, a row does not ascend, NaN, or an id is empty or has white space. Nothing is written.
    StorageError
        The file cannot be written. Nothing is left behind.
    """
    names = list(query_ids)
    if distances.ndim != 2 or distances.shape != ids.shape or len(distances) != len(names):
        raise DataError(
            f"expected distances and ids of one shape (queries, k) and as many query ids, "
            f"got {distances.shape}, {ids.shape} and {len(names)}"
        )
    # Put so that NaN fails too.
    ascending = (distances[:, 1:] >= distances[:, :-1]).all(axis=1) & (distances[:, :1] > -np.inf).all(axis=1)
    if not ascending.all():
        name = names[int(ascending.argmin())]
        raise DataError(f"distances of query {name!r}: expected ascending numbers (negate similarities)")
    tag = _word(tag, "tag")

    def lines() -> Iterator[str]:
        for name, row, found in zip(names, distances, ids, strict=True):
            query = _word(name, "query id")
            for place, (distance, document) in enumerate(zip(row, found, strict=True), start=1):
                if distance < np.inf:
                    # 0 - x: a score of 0, not -0. A NumPy number's text is the shortest that reads back.
                    yield f"{query} Q0 {_word(document, 'document id')} {place} {0 - distance!s} {tag}\n"

    _write(path, lines())


def read_run(path: str | os.PathLike[str]) -> dict[str, dict[str, float]]:
    """Score of every document found, by query and document; the ranks in the file are not used.

    Raises
    ------
    NotFoundError
        There is no such file.
    DataError
        Not UTF-8 text, a line without six fields, a score that is no number, or a document twice for one
        query.
    """
    run: dict[str, dict[str, float]] = {}
    for where, line in _lines(path):
        fields = line.split()
        if len(fields) != 6:
            raise DataError(f"{where}: expected 'query Q0 document rank score tag', got {line!r}")
        query, _, document, _, text, _ = fields
        try:
            score = float(text)
        except ValueError:
            score = math.nan
        if not math.isfinite(score):
            raise DataError(f"{where}: expected a finite score, got {text!r}")
        _put(run, query, document, score, where)
    return run


def write_qrels(
    path: str | os.PathLike[str], judgements: Iterable[tuple[object, object, int]], *, beir: bool = False
) -> None:
    """Write relevance judgements (query id, document id, relevance), as TREC's lines or BEIR's table.

    Raises
    ------
    DataError
        An id is empty or has white space. Nothing is written.
    StorageError
        The file cannot be written. Nothing is left behind.
    """

    def lines() -> Iterator[str]:
        if beir:
            yield f"{BEIR_HEADER}\n"
        for query_id, document_id, relevance in judgements:
            query, document = _word(query_id, "query id"), _word(document_id, "document id")
            yield f"{query}\t{document}\t{relevance:d}\n" if beir else f"{query} 0 {document} {relevance:d}\n"

    _write(path, lines())


def read_qrels(path: str | os.PathLike[str]) -> dict[str, dict[str, int]]:
    """Relevance by query and document, from TREC's lines or, told by its header, BEIR's table.

    Raises
    ------
    NotFoundError
        There is no such file.
    DataError
        Not UTF-8 text, a line of another form, a relevance that is no integer, or a document twice for one
        query.
    """
    qrels: dict[str, dict[str, int]] = {}
    beir = False
    for number, (where, line) in enumerate(_lines(path)):
        if number == 0 and line == BEIR_HEADER:
            beir = True
            continue
        fields = line.split("\t") if beir else line.split()
        if len(fields) != (3 if beir else 4):
            form = BEIR_HEADER.replace("\t", "<tab>") if beir else "query 0 document relevance"
            raise DataError(f"{where}: expected '{form}', got {line!r}")
        query, document, text = fields[0], fields[-2], fields[-1]
        try:
            relevance = int(text)
        except ValueError:
            raise DataError(f"{where}: expected an integer relevance, got {text!r}") from None
        _put(qrels, query, document, relevance, where)
    return qrels


def _put(table: dict[str, dict[str, T]], query: str, document: str, value: T, where: str) -> None:
    documents = table.setdefault(query, {})
    if document in documents:
        raise DataError(f"{where}: document {document!r} stands twice for query {query!r}")
    documents[document] = value


def _word(value: object, what: str) -> str:
    text = str(value)
    if not text or any(letter.isspace() for letter in text):
        raise DataError(f"{what}: expected text without white space, got {text!r}")
    return text


def _lines(path: str | os.PathLike[str]) -> Iterator[tuple[str, str]]:
    """Every line that is not blank, after a text that says where it stands."""
    try:
        with open(path, encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield f"{path}, line {number}", line.rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: expected UTF-8 text, got byte {error.object[error.start]:#04x}") from None
    except OSError as error:
        raise NotFoundError(f"{path}: cannot be read ({error.strerror})") from None


def _write(path: str | os.PathLike[str], lines: Iterator[str]) -> None:
    """All or nothing: a temporary file beside the target takes its place when complete and on disk."""
    target = Path(path)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        try:
            with open(temporary, "w", encoding="utf-8", newline="\n") as file:
                file.writelines(lines)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, target)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise StorageError(f"{target}: cannot be written ({error.strerror})") from None
