"""The plain server beside the service on Ray Serve: what the way through Ray costs (`spdq bench serving --ray`)."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spdq.distributed.shard_folder import shard_index
from spdq_benchmarks.index_figures import Figure, line
from spdq_benchmarks.serving.benchmark import SLOW_MS, WARM_UP_SECONDS, Settings
from spdq_benchmarks.serving.made import DIM, make_index, text_requests, vector_requests
from spdq_benchmarks.serving.processes import load, serving

if TYPE_CHECKING:
    from spdq.models.model import Model

SHARDS = 2
CLIENTS = 4
"""At once, where as many are answered as can be."""


def compared_figures(
    settings: Settings, model: Path | None, say: Callable[[str], None], folder: Path | None = None
) -> list[Figure]:
    """Round trips at a fixed rate and searches a second, of the plain server and on Ray, over one index and shards.

    The parameters and errors are those of ``serving_figures``.
    """
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        index, shards = Path(temporary) / "index", Path(temporary) / "shards"
        loaded = make_index(index, settings.n_rows, settings.seed, model)
        shard_index(index, shards, SHARDS)
        for name, path, on_ray in (
            ("plain server", index, False),
            ("Ray Serve", index, True),
            (f"Ray Serve, {SHARDS} shards", shards, True),
        ):
            with serving(path, on_ray) as (_, port):
                for figure in _measured(name, settings, loaded, port):
                    figures.append(figure)
                    say(line(figure))
    return figures


def _measured(name: str, settings: Settings, model: Model | None, port: int) -> Iterator[Figure]:
    asked = {"by vectors": vector_requests(DIM if model is None else model.codebooks.dim, settings.seed)}
    if model is not None:
        asked["by texts"] = text_requests(model, settings.seed)
    for kind, requests in asked.items():
        told: dict[str, Any] = {"requests": [request.decode("latin-1") for request in requests]}
        load(port, **told, rate=settings.rate, seconds=WARM_UP_SECONDS, slow=SLOW_MS)
        found = load(port, **told, rate=settings.rate, seconds=settings.seconds, slow=SLOW_MS)
        at = f"{name}, {kind}, {settings.rate:g} a second"
        yield Figure(f"{at}: median", found["accepted"]["p50"] or 0.0, "ms")
        yield Figure(f"{at}: p99", found["accepted"]["p99"] or 0.0, "ms")
        yield Figure(f"{at}: refused or failed", found["refused"]["count"] + found["errors"], "requests")
        rate = load(port, **told, rate=None, clients=CLIENTS, seconds=min(10.0, settings.seconds))
        yield Figure(f"{name}, {kind}, {CLIENTS} clients", rate, "searches a second")
