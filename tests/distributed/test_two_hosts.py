"""A cluster of two hosts, between which packets are late, get lost, and then do not arrive at all.

The program that asks is on one host, the workers are on the other.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import numpy as np
import pytest
from ray_processes import ray_processes
from two_hosts import ADDRESSES, skip_without_two_hosts, two_hosts

from spdq.distributed.shard_folder import shard_index
from spdq.index import Index
from spdq.quantizers.codebooks import Codebooks

RAY = Path(sysconfig.get_path("scripts"), "ray")
PORT = 6377
N_ITEMS, DIM, K = 5000, 16, 7
# One line of JSON from stdin a question, one to stdout an answer.
ASK = """
import json, sys
import numpy as np
from spdq.distributed.scan_workers import ScanWorkers
from spdq.distributed.sharded_index import ShardedIndex
from spdq.errors import UnavailableError

folder, address = sys.argv[1:]
with ScanWorkers(2, address=address) as workers, ShardedIndex.open(folder, workers=workers, timeout=4) as index:
    print(json.dumps(len(index)), flush=True)
    for line in sys.stdin:
        try:
            distances, ids = index.search(np.array(json.loads(line), np.float32), 7)
            print(json.dumps([distances.tolist(), ids.tolist()]), flush=True)
        except UnavailableError as error:
            print(json.dumps(str(error)), flush=True)
"""


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    """One index, and beside it the folder of its shards."""
    random = np.random.default_rng(5)
    path = tmp_path_factory.mktemp("shards") / "index"
    codebooks = Codebooks(random.normal(size=(4, 16, DIM // 4)).astype(np.float32), "product")
    with Index.create(path, codebooks) as made:
        made.add_codes(random.integers(0, 16, (N_ITEMS, 4), np.uint8))
    shard_index(path, path.with_name("shards"), 3)
    return path


@pytest.fixture(scope="module")
def hosts():
    """The two hosts with a node of Ray each, the second without a CPU for workers, and the line between them."""
    skip_without_two_hosts()
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(sys.path),
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "1",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_enable_metrics_collection": "0",
    }
    folders = [Path(f"/tmp/spdq-two-{os.getpid()}-{number}") for number in (1, 2)]
    head = [
        f"--node-ip-address={ADDRESSES[0]}",
        "--head",
        f"--port={PORT}",
        "--num-cpus=2",
        "--include-dashboard=false",
    ]
    second = [f"--node-ip-address={ADDRESSES[1]}", f"--address={ADDRESSES[0]}:{PORT}", "--num-cpus=0"]
    started = []
    try:
        with two_hosts("spdqray") as (first_host, second_host, line):
            try:
                for host, options, folder in zip(
                    (first_host, second_host), (head, second), folders, strict=True
                ):
                    more = [
                        "--object-store-memory=100000000",
                        f"--temp-dir={folder}",
                        "--disable-usage-stats",
                    ]
                    done = subprocess.run(
                        [*host, sys.executable, RAY, "start", *options, *more],
                        env=environment, capture_output=True, text=True, timeout=120,
                    )  # fmt: skip
                    assert done.returncode == 0, done.stdout + done.stderr
                    started.append(folder)
                yield first_host, second_host, line, environment
            finally:
                for folder in started:
                    subprocess.run(["pkill", "-9", "-f", str(folder)], check=False)
                    assert ray_processes(str(folder)) == []
    finally:
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)


def test_search_over_a_bad_line(hosts, index):
    _, second, line, environment = hosts
    queries = np.random.default_rng(8).normal(size=(20, DIM)).astype(np.float32)
    with Index.open(index) as whole:
        expected = [
            [found.tolist() for found in whole.search(queries[part : part + 4], K)]
            for part in range(0, 20, 4)
        ]
    command = [*second, sys.executable, "-c", ASK, index.with_name("shards"), f"{ADDRESSES[0]}:{PORT}"]
    with subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as program:

        def answer(part):
            program.stdin.write(json.dumps(queries[part : part + 4].tolist()) + "\n")
            program.stdin.flush()
            return json.loads(program.stdout.readline())

        try:
            first = program.stdout.readline()
            assert first == f"{N_ITEMS}\n", program.stderr.read()
            assert answer(0) == expected[0]
            line.seconds, line.loss = 0.01, 0.02
            lost = line.lost
            assert [answer(part) for part in range(0, 20, 4)] == expected
            while line.lost == lost:
                assert answer(4) == expected[1]
            line.loss = 1.0
            broken = answer(8)
            assert isinstance(broken, str)
            assert "has not answered in time" in broken or "is lost" in broken
            assert "shard-1-of-3" in broken or "shard-2-of-3" in broken
            line.seconds, line.loss = 0.0, 0.0
            found = next(found for found in (answer(12) for _ in range(30)) if not isinstance(found, str))
            assert found == expected[3]
            program.stdin.close()
            assert program.wait(60) == 0
        finally:
            program.kill()
