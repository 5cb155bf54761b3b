"""A client on another host, over a line that is slow, loses packets, and breaks."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from served import server
from two_hosts import ADDRESSES, skip_without_two_hosts, two_hosts

TOKEN = "a-token-of-many-letters"
ASKED = [{"text": text, "k": 3} for text in ("red", "blue", "red large")] * 4
CLIENT = """
import json, sys
import httpx

given = json.load(sys.stdin)
answers = []
with httpx.Client(base_url=given["url"], headers=given["headers"], timeout=given["seconds"]) as client:
    for asked in given["asked"]:
        try:
            answer = client.post("/v1/search", json=asked)
            answers.append([answer.status_code, answer.json()])
        except httpx.HTTPError as error:
            answers.append([type(error).__name__, None])
json.dump(answers, sys.stdout)
"""


@pytest.fixture(scope="module")
def hosts():
    skip_without_two_hosts()
    with two_hosts("spdqweb") as made:
        yield made


@pytest.fixture(scope="module")
def served(made, hosts):
    with server(made.index, made.data, before=hosts[0], host=ADDRESSES[0], token=TOKEN) as process:
        yield process


def ask(host, url, asked=ASKED, seconds=30, **headers):
    given = {"url": url, "asked": asked, "seconds": seconds, "headers": headers}
    done = subprocess.run(
        [*host, sys.executable, "-c", CLIENT],
        input=json.dumps(given), capture_output=True, text=True, check=True, timeout=120,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    return json.loads(done.stdout)


def test_answers_arrive_over_a_slow_line_that_loses_packets(served, hosts):
    first, second, line = hosts
    here = ask(first, served.url, authorization=f"Bearer {TOKEN}")
    line.seconds, line.loss = 0.02, 0.05
    lost = line.lost
    there = ask(second, served.url, authorization=f"Bearer {TOKEN}")
    line.seconds, line.loss = 0.0, 0.0
    assert [status for status, _ in here] == [200] * len(ASKED)
    assert there == here
    assert line.lost > lost


def test_another_host_needs_the_token(served, hosts):
    ((status, problem),) = ask(hosts[1], served.url, ASKED[:1])
    assert status == 401
    assert "token" in problem["detail"]


def test_after_a_line_that_broke_the_server_answers_on(served, hosts):
    first, second, line = hosts
    line.loss = 1.0
    assert ask(second, served.url, ASKED[:1], 1, authorization=f"Bearer {TOKEN}") == [
        ["ConnectTimeout", None]
    ]
    ((status, _),) = ask(first, served.url, ASKED[:1], authorization=f"Bearer {TOKEN}")
    assert status == 200
    line.loss = 0.0
    ((status, _),) = ask(second, served.url, ASKED[:1], authorization=f"Bearer {TOKEN}")
    assert status == 200
