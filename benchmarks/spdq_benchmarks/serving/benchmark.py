"""Measure a server from the outside: `spdq bench serving`.

Server and client are processes of their own, the client on the last core, the server on the others; the client speaks
the least HTTP there is, so that it is not what is measured, and says how late it was itself.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, sleep
from typing import TYPE_CHECKING, Any

import numpy as np

from spdq_benchmarks.index_figures import Figure, line
from spdq_benchmarks.serving.hostile import KINDS, attack, forget_peak, memory
from spdq_benchmarks.serving.made import make_index, text_requests, texts, vector_requests
from spdq_benchmarks.serving.processes import Process, load, serving, split_cores

if TYPE_CHECKING:
    from spdq.models.model import Model

Say = Callable[[str], None]

OVERLOAD = 5
"""Times the capacity."""
SLOW_MS = 50.0
WARM_UP_SECONDS = 2.0


@dataclass(frozen=True)
class Settings:
    """How much is measured; ``rate`` in requests a second."""

    n_rows: int = 1_000_000
    rate: float = 100.0
    seconds: float = 30.0
    overload_seconds: float = 30.0
    seed: int = 0


QUICK = Settings(n_rows=10_000, rate=20.0, seconds=1.0, overload_seconds=1.0)


def serving_figures(
    settings: Settings, model: Path | None, say: Say, folder: Path | None = None
) -> list[Figure]:
    """Serve an index of random codes and measure: a fixed rate, an overload and what comes after it, hostile requests.

    Parameters
    ----------
    model
        A model directory: searches by texts are measured, too, and pictures are decoded.
    folder
        Where the index is made and deleted again; None for the system's temporary folder.

    Raises NotFoundError, DamagedError for the model; SpdqError where one of the processes fails.
    """
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        index = Path(temporary) / "index"
        loaded = make_index(index, settings.n_rows, settings.seed, model)
        with serving(index) as (process, port):
            for figure in _measured(settings, loaded, process, port):
                figures.append(figure)
                say(line(figure))
    return figures


def _measured(settings: Settings, model: Model | None, process: Process, port: int) -> Iterator[Figure]:
    dim = 64 if model is None else model.codebooks.dim
    vectors = vector_requests(dim, settings.seed)

    def run(requests: list[bytes], rate: float, seconds: float) -> dict[str, Any]:
        told = [request.decode("latin-1") for request in requests]
        found: dict[str, Any] = load(port, requests=told, rate=rate, seconds=seconds, slow=SLOW_MS)
        return found

    yield Figure("cores of the server", len(split_cores()[0]), "cores")
    run(vectors, settings.rate, WARM_UP_SECONDS)
    yield from _steady("by vectors", run(vectors, settings.rate, settings.seconds), SLOW_MS)
    if model is not None:
        asked = text_requests(model, settings.seed)
        run(asked, settings.rate, WARM_UP_SECONDS)
        yield from _texts(run(asked, settings.rate, settings.seconds), _encoder_ms(model, settings.seed))
    capacity = load(
        port,
        requests=[request.decode("latin-1") for request in vectors],
        rate=None,
        clients=4 * len(split_cores()[0]),
        seconds=min(5.0, settings.seconds),
    )
    yield Figure("capacity", capacity, "searches a second")
    yield from _overload(run(vectors, OVERLOAD * capacity, settings.overload_seconds))
    after = run(vectors, settings.rate, min(10.0, settings.seconds))
    yield Figure("after the overload: normal again", after["trouble_until"], "s", 5)
    yield from _hostile(process.pid, port)


def _steady(what: str, found: dict[str, Any], must: float | None) -> Iterator[Figure]:
    name = f"{found['rate']:g} searches a second {what}"
    yield Figure(f"{name}: median", found["accepted"]["p50"], "ms")
    yield Figure(f"{name}: p99", found["accepted"]["p99"], "ms", must)
    yield Figure(f"{name}: refused or failed", found["refused"]["count"] + found["errors"], "requests", 0)
    yield Figure(f"{name}: the client was late, p99", found["late_p99"], "ms")


def _texts(found: dict[str, Any], encoder: float) -> Iterator[Figure]:
    yield from _steady("by texts", found, None)
    p50, p99 = found["accepted"]["p50"], found["accepted"]["p99"]
    yield Figure("by texts: p99 beside the median", p99 / p50, "times", 4)
    yield Figure("one text embedded, median", encoder, "ms")
    yield Figure("by texts: p99 beside the time of embedding one", p99 / encoder, "times")


def _overload(found: dict[str, Any]) -> Iterator[Figure]:
    accepted, refused = found["accepted"], found["refused"]
    name = f"{OVERLOAD} times the capacity"
    yield Figure(f"{name}: sent", found["rate"], "requests a second")
    yield Figure(f"{name}: answered", accepted["count"] / found["seconds"], "searches a second")
    yield Figure(f"{name}: answered, p99", accepted["p99"] or 0.0, "ms", 250)
    yield Figure(f"{name}: refused, p99", refused["p99"] or 0.0, "ms", 100)
    yield Figure(f"{name}: failed", found["errors"], "requests", 0)
    yield Figure(f"{name}: the client was late, p99", found["late_p99"], "ms")


def _hostile(pid: int, port: int) -> Iterator[Figure]:
    sleep(1)
    idle = memory(pid)[0]
    forget_peak(pid)
    for kind in KINDS:
        found = attack(port, kind)
        yield Figure(f"8 x {kind.name}: slowest refusal", found.slowest_refusal, "ms", 200)
        unexpected = sum(status not in kind.statuses for status in found.statuses)
        yield Figure(f"8 x {kind.name}: unexpected answers", unexpected, "requests", 0)
    now, most = memory(pid)
    yield Figure("memory when idle", idle, "MiB")
    yield Figure("memory at its most, beyond that", most - idle, "MiB", 400)
    yield Figure("memory afterwards, beyond that", now - idle, "MiB", 64)


def _encoder_ms(model: Model, seed: int) -> float:
    """Median time from a text to its vector, on one thread."""
    import torch
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    from spdq.engine import embed_query

    taken = []
    torch.set_num_threads(1)
    with threadpool_limits(1):
        for text in texts(model, seed):
            began = perf_counter()
            embed_query(model, "text", text)
            taken.append(1000 * (perf_counter() - began))
    return float(np.median(taken))
