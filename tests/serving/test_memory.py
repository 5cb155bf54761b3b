"""Requests made to cost memory: refused, or answered one by one, and given back."""

from __future__ import annotations

import httpx
from served import server

from spdq_benchmarks.serving.hostile import KINDS, attack, forget_peak, memory


def test_what_hostile_requests_cost(made):
    with server(made.index, deadline=60) as process:
        for _ in range(20):
            assert httpx.post(f"{process.url}/v1/search", json={"text": "red"}).status_code == 200
        idle = memory(process.pid)[0]
        forget_peak(process.pid)
        for kind in KINDS:
            found = attack(process.port, kind)
            assert found.expected, found
            assert len(found.statuses) == 8
            assert (200 in found.statuses) == (kind.name == "PNG of 16 megapixels")
        now, most = memory(process.pid)
        assert most - idle <= 400
        assert now - idle <= 64
        assert httpx.post(f"{process.url}/v1/search", json={"text": "red"}).status_code == 200
