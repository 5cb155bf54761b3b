"""Workers that die or hang, drivers that are killed, nodes that are gone: an answer is whole, flagged, or an error."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import numpy as np
import pytest
from made_shards import assert_same, codes_of, make_shards
from ray_processes import ray_processes, start_driver

from spdq.distributed.scan_workers import ScanWorkers
from spdq.distributed.sharded_index import ShardedIndex
from spdq.errors import DamagedError, UnavailableError
from spdq.index import Index

QUERIES = np.random.default_rng(0).integers(-2, 3, (3, 6)).astype(np.float32)


@pytest.fixture(scope="module")
def workers(local_ray):
    with ScanWorkers(2) as workers:
        yield workers


def scan_workers(above=None):
    """The processes of scan workers below this one (or ``above``)."""
    found = []
    for line in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if line.read_text().startswith("ray::ScanWorker"):
                pid = int(line.parent.name)
                if str(above or os.getpid()) in ancestors(pid):
                    found.append(pid)
        except (FileNotFoundError, ProcessLookupError):
            continue
    return sorted(found)


def ancestors(pid):
    found = []
    while str(pid) not in ("0", "1"):
        pid = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]
        found.append(pid)
    return found


class Asked(threading.Thread):
    """A search in flight."""

    def __init__(self, index, *question, **options):
        super().__init__()
        self.index, self.question, self.options = index, question, options
        self.found = self.error = None
        self.start()

    def run(self):
        try:
            self.found = self.index.search(*self.question, **self.options)
        except Exception as error:
            self.error = error


def test_a_worker_killed_in_mid_query_is_replaced(workers, tmp_path):
    """Stopped before the query comes, so that the query is in flight for sure when the worker dies."""
    whole = make_shards(tmp_path / "s", range(60), np.arange(60) % 4, 4, removed=range(0, 60, 7))
    times = 50 if os.environ.get("SPDQ_FAULTS") == "full" else 3
    with ShardedIndex.open(tmp_path / "s", workers=workers) as shards:
        one = shards.filter(allow=range(0, 60, 2))
        expected = whole.search(QUERIES, 9, whole.filter(allow=range(0, 60, 2)))
        assert_same(shards.search(QUERIES, 9, one), expected)
        for turn in range(times):
            victim = scan_workers()[turn % 2]
            os.kill(victim, signal.SIGSTOP)
            asked = Asked(shards, QUERIES, 9, one)
            asked.join(0.2)
            assert asked.is_alive()
            os.kill(victim, signal.SIGKILL)
            asked.join()
            assert asked.error is None
            assert_same(asked.found, expected)
            assert_same(shards.search(QUERIES, 9), whole.search(QUERIES, 9))


def test_a_worker_that_hangs_is_an_error_or_flagged_and_replaced(workers, tmp_path):
    whole = make_shards(tmp_path / "s", range(60), np.arange(60) % 4, 4)
    with (
        ShardedIndex.open(tmp_path / "s", workers=workers, timeout=4) as hasty,
        ShardedIndex.open(tmp_path / "s", workers=workers) as shards,
    ):
        for partial in (False, True):
            (victim, _) = scan_workers()
            os.kill(victim, signal.SIGSTOP)
            if not partial:
                match = "scan worker [01] with .*shard-.-of-4, .*shard-.-of-4 has not answered in time"
                with pytest.raises(UnavailableError, match=match):
                    hasty.search(QUERIES, 60)
            else:
                found = hasty.search(QUERIES, 60, allow_partial=True)
                assert (
                    found.missing
                )  # All four, where the machine is so slow that the other worker is late, too.
                gone = [int(path.name.split("-")[1]) - 1 for path in found.missing]
                rest = [number for number in range(60) if number % 4 not in gone]
                kept = Index(whole.codebooks)
                kept.add_codes(codes_of(rest).reshape(-1, 3), rest)
                assert_same((found.distances, found.ids), kept.search(QUERIES, 60))
                limits, distances, ids, missing = hasty.range_search(QUERIES, np.inf, allow_partial=True)
                if not missing:  # It is back already.
                    assert_same((limits, distances, ids), whole.range_search(QUERIES, np.inf))
            assert_same(shards.search(QUERIES, 9), whole.search(QUERIES, 9))
            assert len(scan_workers()) == 2
            assert victim not in scan_workers()


def test_a_file_cut_short_under_a_worker_is_named(workers, tmp_path):
    """The scan kills the worker (SIGBUS); the next one finds the file too short."""
    make_shards(tmp_path / "s", range(60), np.arange(60) % 4, 4)
    (file,) = (tmp_path / "s" / "shard-3-of-4" / "segments").glob("*.safetensors")
    with ShardedIndex.open(tmp_path / "s", workers=workers) as shards:
        shards.search(QUERIES)
        file.chmod(0o644)
        os.truncate(file, 0)
        with pytest.raises(DamagedError, match=f"{file.name}: 0 bytes long, expected"):
            shards.search(QUERIES)


KILLED = """
    import os, signal, sys
    from spdq.distributed.sharded_index import ShardedIndex
    from spdq.index import Index
    with ShardedIndex.open(sys.argv[1], writable=True) as shards:
        print(len(shards.search([0.0] * 6, 5)[1][0]), flush=True)
        real, calls = Index.remove, []

        def remove(*given):
            if calls:
                os.kill(os.getpid(), signal.SIGKILL)
            calls.append(real(*given))
            return calls[-1]

        Index.remove = remove
        shards.remove(range(10))
"""


def test_a_driver_killed_between_two_shards(workers, tmp_path):
    """Each shard is whole, one has the change; nothing is left of the driver, and a repeated call completes it."""
    make_shards(tmp_path / "s", range(30), np.arange(30) % 3, 3)
    with start_driver(KILLED, tmp_path / "s") as program:
        out, err = program.communicate(timeout=120)
    assert (program.returncode, out) == (-signal.SIGKILL, "5\n"), err
    assert ray_processes(f"spdq-ray-{program.pid}-") == []
    with ShardedIndex.open(tmp_path / "s", workers=workers, writable=True) as shards:
        shards.verify()
        assert [one["items"] for one in shards.stats()["shards"]] == [6, 10, 10]
        assert shards.remove(range(10), missing="ignore") == 6
        assert len(shards) == 20


NODES = """
    import sys, time
    from pathlib import Path
    from ray.cluster_utils import Cluster
    import ray
    from spdq.distributed.scan_workers import ScanWorkers
    from spdq.distributed.sharded_index import ShardedIndex
    from spdq.errors import UnavailableError

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
    ray.init(address=cluster.address, log_to_driver=False)
    try:
        cluster.wait_for_nodes()
        with ShardedIndex.open(sys.argv[1], timeout=60) as patient:
            workers = patient._settings.workers
            hasty = ShardedIndex.open(sys.argv[1], timeout=3, workers=workers)
            whole = patient.search([0.0] * 6, 30)
            print('>', workers.count, whole[1].size)
            cluster.remove_node(nodes[0], allow_graceful=False)
            until = time.monotonic() + 90
            while time.monotonic() < until:
                # The worker outlives its node for a moment; whatever it answers is whole.
                try:
                    assert (hasty.search([0.0] * 6, 30)[1] == whole[1]).all()
                except UnavailableError as error:
                    print("> error", "shard-" in str(error), "\\n" in str(error))
                    break
            partial = hasty.search([0.0] * 6, 30, allow_partial=True)
            print('>', partial.ids.size, len(partial.missing))
            cluster.add_node(num_cpus=1)
            again = patient.search([0.0] * 6, 30)
            print('>', (again[0] == whole[0]).all(), (again[1] == whole[1]).all())
    finally:
        ray.shutdown()
        cluster.shutdown()
"""


def test_a_node_that_is_gone(tmp_path):
    make_shards(tmp_path / "s", range(30), np.arange(30) % 2, 2)
    environment = {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": "ab" * 32,
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_enable_metrics_collection": "0",
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    }
    with start_driver(NODES, tmp_path / "s", **environment) as program:
        out, err = program.communicate(timeout=300)
    assert program.returncode == 0, err
    ours = [line for line in out.splitlines() if line.startswith(">")]  # Ray, too, writes on stdout.
    assert ours == ["> 2 30", "> error True False", "> 15 1", "> True True"], err
