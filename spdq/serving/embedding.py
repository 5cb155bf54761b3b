"""From what a request asks by, or brings, to vectors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, cast

import numpy as np

from spdq.errors import DataError, SpdqError, UnknownWordsError, UsageError
from spdq.index.index import Index
from spdq.serving.embedder import Embedded, Embedder, Floats, RawQuery
from spdq.serving.schemas import Asked, NewItem, Search


@dataclass
class Query:
    """A search, embedded."""

    vectors: Floats
    """(p, dim), one a part."""
    weights: Floats | None
    """(p,), None for a search by one thing."""
    unknown: list[str] = field(default_factory=list)


_Wanted = Floats | list[RawQuery]
"""A vector that is there already, or what it is the mean of once that is embedded."""


def embed_searches(
    embedder: Embedder | None, index: Index, searches: Sequence[Search], upload: bytes | None
) -> list[Query | UnknownWordsError]:
    """Searches as vectors, all embedded by one call; in place of one without a known word the error that says so.

    Raises UsageError and DataError for what cannot be embedded, or is not in the index.
    """
    wanted = [
        [_wanted(embedder, index, part, upload, search.instance_weight) for part in _checked(search, upload)]
        for search in searches
    ]
    raw = [query for parts in wanted for part in parts if isinstance(part, list) for query in part]
    embedded = iter(_known(embedder).embed(raw) if raw else ())
    return [_query(search, parts, embedded) for search, parts in zip(searches, wanted, strict=True)]


def _checked(search: Search, upload: bytes | None) -> Sequence[Asked]:
    if search.instance_weight is not None and any(
        part.vector is not None and part.modality is None for part in search.parts
    ):
        raise UsageError(
            "instance_weight needs to know of a vector what it was embedded from: give its modality"
        )
    _check_upload([part.upload for part in search.parts], upload)
    return search.parts


def _wanted(
    embedder: Embedder | None,
    index: Index,
    part: Asked,
    upload: bytes | None,
    instance_weight: float | None,
) -> _Wanted:
    if part.item is not None:
        vectors = index.reconstruct(np.array([part.item], object))
        if embedder is None and instance_weight is None:
            return vectors
        # What an item's code stands for, as a query: as much a picture as a text.
        return [RawQuery(modality, vectors, instance_weight) for modality in ("image", "text")]
    if part.vector is not None:
        vectors = _row(part.vector, index.dim)
        return vectors if part.modality is None else [RawQuery(part.modality, vectors, instance_weight)]
    if part.text is not None:
        return [RawQuery("text", part.text, instance_weight)]
    return [RawQuery("image", _picture(part, upload), instance_weight)]


def _query(
    search: Search, parts: list[_Wanted], embedded: Iterator[Embedded | SpdqError]
) -> Query | UnknownWordsError:
    unknown: list[str] = []
    vectors = []
    # All of them are taken, also after one that failed: those that follow are of the next search.
    found = [list(islice(embedded, len(part))) if isinstance(part, list) else part for part in parts]
    for part in found:
        if not isinstance(part, list):
            vectors.append(part)
            continue
        for one in part:
            if isinstance(one, UnknownWordsError):
                return one
            if isinstance(one, SpdqError):
                raise one
            unknown += one.unknown
        vectors.append(np.mean([one.vector for one in part if isinstance(one, Embedded)], axis=0))
    weights = None if search.mix is None else np.array([part.weight for part in search.mix], np.float32)
    return Query(np.concatenate(vectors), weights, list(dict.fromkeys(unknown)))


def embed_items(embedder: Embedder | None, dim: int, items: list[NewItem], upload: bytes | None) -> Floats:
    """Vectors (n, dim) of new items. Raises as ``embed_searches``."""
    _check_upload([item.upload for item in items], upload)
    return np.concatenate([_item(embedder, dim, item, upload) for item in items])


def _item(embedder: Embedder | None, dim: int, item: NewItem, upload: bytes | None) -> Floats:
    if item.vector is not None:
        return _row(item.vector, dim)
    has_image = item.image is not None or item.upload is not None
    return _known(embedder).embed_item(item.text, _picture(item, upload) if has_image else None)


def _picture(asked: Asked | NewItem, upload: bytes | None) -> bytes:
    # The field is a base64 text that its check has decoded.
    return cast("Any", upload if asked.upload else asked.image)  # type: ignore[no-any-return]


def _known(embedder: Embedder | None) -> Embedder:
    if embedder is None:
        raise UsageError("this server has no model: search by vectors without a modality")
    return embedder


def _row(vector: list[float], dim: int) -> Floats:
    if len(vector) != dim:
        raise DataError(f"expected a vector of {dim} numbers, got {len(vector)}")
    with np.errstate(over="ignore"):  # Infinite ones are refused by the index.
        row = np.array([vector], np.float32)
    if not np.isfinite(row).all():
        raise DataError("a number of the vector is too large for float32")
    return row


def _check_upload(wanted: list[bool | None], upload: bytes | None) -> None:
    if any(wanted) and upload is None:
        raise UsageError("upload is true, but the request brings no file: send it as multipart/form-data")
    if upload is not None and not any(wanted):
        raise UsageError('the file image is not used: say {"upload": true} where it belongs')
