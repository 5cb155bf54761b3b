"""From what a request asks by, or brings, to vectors."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from spdq.engine import embed_query
from spdq.errors import DataError, UsageError
from spdq.index.index import Index
from spdq.serving.schemas import Asked, NewItem, Search

if TYPE_CHECKING:
    from spdq.models.model import Model

Floats = NDArray[np.float32]


@dataclass
class Query:
    """A search, embedded."""

    vectors: Floats
    """(p, dim), one a part."""
    weights: Floats | None
    """(p,), None for a search by one thing."""
    unknown: list[str] = field(default_factory=list)


def embed_search(model: Model | None, index: Index, search: Search, upload: bytes | None) -> Query:
    """A search as vectors. Raises UsageError and DataError for what cannot be embedded, or is not in the index."""
    if search.instance_weight is not None and any(
        part.vector is not None and part.modality is None for part in search.parts
    ):
        raise UsageError(
            "instance_weight needs to know of a vector what it was embedded from: give its modality"
        )
    _check_upload([part.upload for part in search.parts], upload)
    unknown: list[str] = []
    vectors = [_part(model, index, part, upload, search.instance_weight, unknown) for part in search.parts]
    weights = None if search.mix is None else np.array([part.weight for part in search.mix], np.float32)
    return Query(np.concatenate(vectors), weights, list(dict.fromkeys(unknown)))


def _part(
    model: Model | None,
    index: Index,
    part: Asked,
    upload: bytes | None,
    instance_weight: float | None,
    unknown: list[str],
) -> Floats:
    if part.item is not None:
        return _like(model, index, part.item, instance_weight)
    if part.vector is not None:
        vectors = _row(part.vector, index.dim)
        if part.modality is None:
            return vectors
        return _model(model).weigh_query(vectors, part.modality, instance_weight)
    if part.text is None:
        return embed_query(_model(model), "image", _picture(part, upload), instance_weight)[0]
    vectors, words = embed_query(_model(model), "text", part.text, instance_weight)
    unknown += words
    return vectors


def _like(model: Model | None, index: Index, item: int | str, instance_weight: float | None) -> Floats:
    """What an item's code stands for, as a query: as much a picture as a text."""
    vectors = index.reconstruct(np.array([item], object))
    if model is None and instance_weight is None:
        return vectors
    both = [_model(model).weigh_query(vectors, modality, instance_weight) for modality in ("image", "text")]
    return np.asarray((both[0] + both[1]) / 2, np.float32)


def embed_items(model: Model | None, dim: int, items: list[NewItem], upload: bytes | None) -> Floats:
    """Vectors (n, dim) of new items. Raises as ``embed_search``."""
    _check_upload([item.upload for item in items], upload)
    return np.concatenate([_item(model, dim, item, upload) for item in items])


def _item(model: Model | None, dim: int, item: NewItem, upload: bytes | None) -> Floats:
    if item.vector is not None:
        return _row(item.vector, dim)
    model = _model(model)
    has_image = item.image is not None or item.upload is not None
    if item.text is None:
        return model.embed_image(model.image_features([_picture(item, upload)]))
    model.check_query(item.text)
    text = model.text_features([item.text])
    if not has_image:
        return model.embed_text(text)
    return model.embed_unit(model.image_features([_picture(item, upload)]), text)


def _picture(asked: Asked | NewItem, upload: bytes | None) -> Any:
    # The field is a base64 text that its check has decoded.
    return cast("Any", upload if asked.upload else asked.image)


def _model(model: Model | None) -> Model:
    if model is None:
        raise UsageError("this server has no model: search by vectors without a modality")
    return model


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
