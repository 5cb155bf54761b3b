"""What the service does once a request has been understood: an index, the model it was built with, their order."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import lru_cache
from typing import Any, TypeVar
from urllib.parse import quote

import numpy as np

from spdq import __version__
from spdq.errors import DataError, SpdqError, UnknownWordsError
from spdq.index.filters import Filter
from spdq.index.index import Index
from spdq.models.model import Model
from spdq.serving.embedder import Embedder, ModelEmbedder
from spdq.serving.embedding import Query, embed_items, embed_searches
from spdq.serving.label_words import MAX_WORDS, LabelWords
from spdq.serving.problems import Problem, busy
from spdq.serving.schemas import NewItem, Search
from spdq.serving.thumbnails import Thumbnail, Thumbnails

T = TypeVar("T")

KEPT_FILTERS = 8
SHOWN_VALUES = 200
_ATTEMPTS = 5

_log = logging.getLogger("spdq.serving")


class Service:
    """Searches and changes an index. Its methods are for threads; several may be in it at once.

    Parameters
    ----------
    index
        Opened; for writing where ``add`` and ``remove`` are to work.
    model
        The one the index was built with, or what embeds with it elsewhere; None answers searches by vectors alone.
    thumbnails
        Pictures of the items, where there are some.
    captions
        A line about each item, by id.

    Raises
    ------
    IncompatibleError
        The index was not built with that model.
    DataError
        The pictures are of other items.
    """

    def __init__(
        self,
        index: Index,
        model: Model | Embedder | None = None,
        thumbnails: Thumbnails | None = None,
        captions: Mapping[int | str, str] | None = None,
    ) -> None:
        embedder = ModelEmbedder(model) if isinstance(model, Model) else model
        if embedder is not None:
            index.check_model(embedder.fingerprint)
        if thumbnails is not None and thumbnails.id_kind != index.id_kind:
            raise DataError(
                f"the pictures are of items with {thumbnails.id_kind} ids, the index has {index.id_kind} ids"
            )
        self.index = index
        self.embedder = embedder
        self.thumbnails = thumbnails
        self.captions = captions or {}
        self.draining = False
        self._warm = False
        self.fault: str | None = None
        """Why the index could not be brought up to date, None where it could."""
        self._filter = lru_cache(KEPT_FILTERS)(self._new_filter)
        self._about = lru_cache(1)(self._new_about)
        self._label_words: LabelWords | None = None
        self._searches: list[str] = []
        self._writing = threading.Lock()

    def warm_up(self) -> None:
        """Compile the kernels and load what the first query of each kind would wait for, once."""
        if self._warm:
            return
        self._warm = True
        self.index.search(np.zeros((1, self.index.dim), np.float32), k=1, threads=1)
        if self.embedder is not None:
            self._searches += self.embedder.modalities
            self._label_words = LabelWords(self.embedder, self._labels(), self.index.metric)
        self._searches.append("vector")

    def _labels(self) -> list[str]:
        """Members of the sets that items have: what people say of them."""
        found = self.index.facets(MAX_WORDS)
        return [value for facet in found.values() if facet.kind == "set" for value, _ in facet.values]

    def about(self) -> dict[str, Any]:
        """What is searched, and what it takes."""
        return self._at_once(lambda: self._about(self.index.generation))[0]

    def _new_about(self, generation: int) -> dict[str, Any]:
        stats = self.index.stats()
        items = stats["items"]
        return {
            "version": __version__,
            "items": items,
            "generation": generation,
            "metric": stats["metric"],
            "bits": stats["bits"],
            "n_codebooks": stats["n_codebooks"],
            "code_bytes": items * stats["code_bytes"],
            "vector_bytes": items * self.index.dim * 4,
            "index_bytes": stats["bytes"],
            "searches": self._searches,
            "pictures": self.thumbnails is not None,
            "attributes": {name: asdict(facet) for name, facet in self.index.facets(SHOWN_VALUES).items()},
        }

    def refresh(self) -> None:
        """Go on to the newest generation; what keeps it from that is told by ``fault``, and the old one serves on."""
        try:
            self.index.refresh()
        except Exception as error:  # A bug, too, must not be the last refresh.
            known = isinstance(error, SpdqError)
            fault = str(error) if known else repr(error)
            if fault != self.fault:
                _log.error("the index cannot be refreshed: %s", fault, exc_info=None if known else error)
            self.fault = fault
        else:
            self.fault = None

    def search(self, asked: Search, upload: bytes | None) -> dict[str, Any]:
        """The answer to one search."""
        answers, generation = self._answers([asked], upload)
        return answers[0] | {"generation": generation}

    def search_all(self, asked: Sequence[Search]) -> dict[str, Any]:
        """The answers to several, all from one generation."""
        answers, generation = self._answers(asked, None)
        return {"answers": answers, "generation": generation}

    def _answers(self, asked: Sequence[Search], upload: bytes | None) -> tuple[list[dict[str, Any]], int]:
        answers: list[dict[str, Any]] = [{} for _ in asked]
        queries: dict[int, Query] = {}
        for place, query in enumerate(embed_searches(self.embedder, self.index, asked, upload)):
            if isinstance(query, UnknownWordsError):
                # Words that are being typed come to this all the time: it is an answer, too.
                answers[place] = {"hits": [], "unknown_words": query.words, "note": str(query)}
            else:
                queries[place] = query
        known = list(queries)
        found, generation = self._at_once(
            lambda: self._found([asked[place] for place in known], list(queries.values()))
        )
        for place, answer in zip(known, found, strict=True):
            answers[place] = answer
        return answers, generation

    def _at_once(self, read: Callable[[], T]) -> tuple[T, int]:
        """What several calls of the index give within one generation, and its number."""
        for _ in range(_ATTEMPTS):
            before = self.index.generation
            try:
                found = read()
            except DataError:  # A hit that is gone when its attributes are asked for.
                if self.index.generation == before:
                    raise
            else:
                if self.index.generation == before:
                    return found, before
        raise busy("the index is changing too fast")

    def _found(self, asked: Sequence[Search], queries: Sequence[Query]) -> list[dict[str, Any]]:
        filters = [None if one.where is None else self._filter(one.where) for one in asked]
        alone = [place for place, query in enumerate(queries) if query.weights is None]
        hits: dict[int, tuple[Any, Any]] = {}
        if alone:
            distances, ids = self.index.search(
                np.concatenate([queries[place].vectors for place in alone]),
                max(asked[place].k for place in alone),
                [filters[place] for place in alone],
                threads=1,
            )
            for row, place in enumerate(alone):
                # A larger k finds the same hits first.
                hits[place] = distances[row, : asked[place].k], ids[row, : asked[place].k]
        for place, query in enumerate(queries):
            if query.weights is not None:
                distances, ids = self.index.search(
                    query.vectors, asked[place].k, filters[place], 1, query.weights
                )
                hits[place] = distances[0], ids[0]
        return [
            {"hits": self._shown(asked[place], query, *hits[place]), "unknown_words": query.unknown}
            for place, query in enumerate(queries)
        ]

    def _shown(self, asked: Search, query: Query, distances: Any, ids: Any) -> list[dict[str, Any]]:
        there = np.isfinite(distances)
        distances, ids = distances[there], ids[there]
        hits: list[dict[str, Any]] = [
            {"rank": rank, "id": key, "distance": distance}
            for rank, (key, distance) in enumerate(zip(ids.tolist(), distances.tolist(), strict=True), 1)
        ]
        if asked.explain and hits:
            shares = self.index.explain(query.vectors, ids, query.weights)
            for hit, row in zip(hits, shares.tolist(), strict=True):
                hit["shares"] = row
            if self._label_words is not None:
                for hit, near in zip(
                    hits, self._label_words.nearest(self.index.reconstruct(ids)), strict=True
                ):
                    hit["words"] = near
        if asked.attributes and hits:
            for hit, known in zip(hits, self._known(ids), strict=True):
                hit |= known
        return hits

    def _known(self, ids: Any) -> list[dict[str, Any]]:
        """Attributes, caption and picture of items."""
        return [
            {"id": key, "attributes": values, "caption": self.captions.get(key), "image": self._image(key)}
            for key, values in zip(ids.tolist(), self.index.attributes_of(ids), strict=True)
        ]

    def thumbnail(self, key: int | str, size: int) -> Thumbnail:
        """The picture of an item, ``size`` pixels on its longer side. Raises Problem 404, also for a removed item."""
        if self.thumbnails is None or key not in self.index:
            raise _no_item(key)
        return self.thumbnails.of(key, size)

    def _image(self, key: int | str) -> str | None:
        has_one = self.thumbnails is not None and key in self.thumbnails
        return f"/v1/items/{quote(str(key), safe='')}/image" if has_one else None

    def _new_filter(self, where: str) -> Filter:
        return self.index.filter(where=where)

    def item(self, key: int | str) -> dict[str, Any]:
        """What is known of an item. Raises Problem 404."""
        if key not in self.index:
            raise _no_item(key)
        return self._known(_as_ids([key]))[0]

    def items(self, k: int, where: str | None) -> dict[str, Any]:
        """The first k items in the order of their ids, of those that fulfil a condition."""

        def first() -> list[dict[str, Any]]:
            nothing = np.zeros((1, self.index.dim), np.float32)
            wanted = None if where is None else self._filter(where)
            distances, ids = self.index.search(nothing, k, wanted, threads=1)
            # Equally far from nothing, they come by their ids.
            return self._known(ids[0][np.isfinite(distances[0])])

        items, generation = self._at_once(first)
        return {"items": items, "generation": generation}

    def add(self, items: Sequence[NewItem], replace: bool, upload: bytes | None) -> dict[str, Any]:
        """Add items, or none of them. Raises Problem 409 for one that is there already, unless it may be replaced."""
        vectors = embed_items(self.embedder, self.index.dim, list(items), upload)
        ids = [item.id for item in items]
        names = dict.fromkeys(name for item in items for name in item.attributes)
        columns = {name: [item.attributes.get(name) for item in items] for name in names}
        with self._writing:
            self.index.reopen()  # Does nothing unless the last change failed.
            if replace:
                self.index.update(vectors, _as_ids(ids), columns, missing="add")
            else:
                known = next((key for key in ids if key in self.index), None)
                if known is not None:
                    raise Problem(409, f'item {known!r} is there already: say "replace": true to replace it')
                self.index.add(vectors, _as_ids(ids), columns)
            return {"items": len(ids), "generation": self.index.generation}

    def remove(self, key: int | str) -> None:
        """Remove an item. Raises Problem 404."""
        with self._writing:
            self.index.reopen()  # Does nothing unless the last change failed.
            if not self.index.remove(_as_ids([key]), missing="ignore"):
                raise _no_item(key)


def _as_ids(ids: Sequence[int | str]) -> Any:
    return np.array(ids, object)


def _no_item(key: int | str) -> Problem:
    return Problem(404, f"no item {key!r}")
