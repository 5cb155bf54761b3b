"""What is counted and measured, in Prometheus's text format."""

from __future__ import annotations

from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.process_collector import ProcessCollector

from spdq.serving.pool import Pool
from spdq.serving.service import Service

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)

_METHODS = frozenset(("GET", "POST", "DELETE", "HEAD", "OPTIONS", "PUT", "PATCH"))


class Metrics:
    """The figures of one app, in a registry of its own."""

    def __init__(self, service: Service, pools: list[Pool]) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._requests = Counter(
            "spdq_http_requests", "Answered requests.", ("method", "route", "status"), registry=self._registry
        )
        self._seconds = Histogram(
            "spdq_http_request_seconds",
            "From the head of a request to its whole answer.",
            ("route",),
            buckets=SECONDS,
            registry=self._registry,
        )
        self.under_way = 0
        """Requests without their whole answer yet."""
        taken = Gauge(
            "spdq_pool_taken",
            "Requests worked on or waiting for a thread.",
            ("pool",),
            registry=self._registry,
        )
        places = Gauge(
            "spdq_pool_places", "The most there may be of these.", ("pool",), registry=self._registry
        )
        for pool in pools:
            taken.labels(pool.name).set_function(partial(getattr, pool, "taken"))
            places.labels(pool.name).set(pool.places)
        for name, text, value in (
            (
                "spdq_http_requests_under_way",
                "Requests without their whole answer yet.",
                lambda: self.under_way,
            ),
            ("spdq_index_items", "Items in the index.", lambda: len(service.index)),
            ("spdq_index_generation", "Changes the index has seen.", lambda: service.index.generation),
            (
                "spdq_index_fault",
                "1 while the index cannot be brought up to date.",
                lambda: bool(service.fault),
            ),
        ):
            Gauge(name, text, registry=self._registry).set_function(value)

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one answer. The route is a template; methods nobody knows are one."""
        self._requests.labels(method if method in _METHODS else "other", route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def text(self) -> bytes:
        """All figures."""
        return generate_latest(self._registry)
