"""Refusing searches while all places are taken, before anything of them is parsed.

A refusal that took as long as a search would leave no time for searches where five times as many come as can be
answered. What is refused here would be refused by the route, with the same words.
"""

from __future__ import annotations

from time import perf_counter

from spdq.serving.metrics import Metrics
from spdq.serving.pool import Pool
from spdq.serving.problems import busy

ROUTES = ("/v1/search", "/v1/search/batch")
_LINES = {f"POST {route} HTTP/1.1".encode(): route for route in ROUTES}
_LENGTH = b"\r\ncontent-length:"


class Shedding:
    """Says what to answer to a search that has arrived whole, where there is no place for it; one for a server."""

    def __init__(self, pool: Pool, metrics: Metrics) -> None:
        self._pool = pool
        self._metrics = metrics
        self._answer = busy(pool.full).as_bytes()
        self.under_way = 0
        """Searches that arrived whole and are not answered yet."""

    def refusal(self, route: str) -> bytes | None:
        """The bytes of the answer to a search on a route; None where there is a place for it."""
        began = perf_counter()
        # Those on their way to the pool count, too: a hundred may have come at once.
        if not self._pool.has_no_place_beside(max(self.under_way, self._pool.taken)):
            return None
        self._metrics.answered("POST", route, 503, perf_counter() - began)
        return self._answer


def searched(data: bytes) -> str | None:
    """The route of a search, where data is one request and all of it."""
    route = _LINES.get(data.partition(b"\r\n")[0])
    if route is None:
        return None
    head, _, body = data.partition(b"\r\n\r\n")
    head = head.lower()
    length = head.partition(_LENGTH)[2].partition(b"\r\n")[0].strip()
    plain = (
        head.count(_LENGTH) == 1 and b"\r\ntransfer-encoding:" not in head and b"\r\nconnection:" not in head
    )
    return route if plain and length == str(len(body)).encode() else None
