"""How ranks meet, and what ends them (spdq/training/joining.py); killed ranks of the command."""

from __future__ import annotations

import signal
import socket
import sys
import time
from datetime import timedelta

import pytest
import torch.distributed as dist
from oracles_training import made_dataset
from rank_worlds import ended, started

from spdq.errors import UnavailableError, UsageError
from spdq.training import joining
from spdq.training.checkpoint import CHECKPOINT
from spdq.training.joining import is_first, joined_ranks
from spdq.training.ranks import ALONE, Ranks, reason

NAMES = ("WORLD_SIZE", "RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "GLOO_SOCKET_IFNAME")


@pytest.fixture
def started_as(monkeypatch):
    """``started_as(WORLD_SIZE="2")`` sets this environment of a rank and no other."""

    def set_only(**values):
        for name in NAMES:
            monkeypatch.delenv(name, raising=False)
        for name, value in values.items():
            monkeypatch.setenv(name, value)

    return set_only


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return str(free.getsockname()[1])


@pytest.mark.parametrize("environment", [{}, {"WORLD_SIZE": "1", "RANK": "0"}])
def test_one_process_is_alone(started_as, environment):
    started_as(**environment)
    with joined_ranks() as ranks:
        assert ranks is ALONE
        assert is_first()
    assert not dist.is_initialized()


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"WORLD_SIZE": "2"}, "WORLD_SIZE is 2, but RANK, MASTER_ADDR, MASTER_PORT not set: start all"),
        ({"WORLD_SIZE": "two"}, "WORLD_SIZE must be a whole number, got 'two': `torchrun` sets it"),
        (
            {"WORLD_SIZE": "2", "RANK": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"},
            "RANK must be from 0 to 1, as WORLD_SIZE is 2, got 2",
        ),
    ],
)
def test_an_environment_of_half_a_run(started_as, environment, message):
    started_as(**environment)
    with pytest.raises(UsageError, match=message), joined_ranks():
        pass


@pytest.mark.parametrize("rank", ["0", "1"])
def test_ranks_that_do_not_come(started_as, monkeypatch, rank):
    """Rank 0 waits for the other; rank 1 finds nobody at the address."""
    started_as(WORLD_SIZE="2", RANK=rank, MASTER_ADDR="127.0.0.1", MASTER_PORT=free_port())
    monkeypatch.setattr(joining, "JOIN_WITHIN", timedelta(seconds=1))
    expected = (
        rf"rank {rank} of 2 has not met the others at 127.0.0.1:\d+ within 1 seconds \(.*Start all ranks"
    )
    with pytest.raises(UnavailableError, match=expected), joined_ranks():
        pass


def test_a_group_that_is_there_is_used_and_left(started_as):
    started_as()
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        with joined_ranks() as ranks:
            assert ranks == Ranks(0, 1)
        assert dist.is_initialized()
    finally:
        dist.destroy_process_group()


def test_the_reason_is_one_sentence_of_torch():
    said = (
        "[/pytorch/gloo/pair.cc:553] Connection closed by peer [127.0.0.1]:61. This is typical. Look there!"
    )
    assert reason(RuntimeError(said)) == "Connection closed by peer [127.0.0.1]:61"
    assert reason(RuntimeError("timed out\nat frame 1")) == "timed out"
    assert reason(RuntimeError("")) == "RuntimeError"


@pytest.fixture(scope="module")
def long_run(tmp_path_factory):
    """A data set that trains for seconds beyond the first checkpoint."""
    path = tmp_path_factory.mktemp("data") / "made.h5"
    made_dataset(500).save(path)
    return path


@pytest.mark.parametrize("how", ["one is killed", "the first is interrupted"])
def test_a_run_that_ends_early(long_run, tmp_path, how):
    folder = tmp_path / "model"
    command = [sys.executable, "-m", "spdq_cli", "train", str(long_run), str(folder), "--recipe", "paper"]
    processes = started(2, command, tmp_path)
    until = time.monotonic() + 300
    while not (folder / CHECKPOINT).exists() and time.monotonic() < until:
        time.sleep(0.05)
    assert (folder / CHECKPOINT).is_file()
    if how == "one is killed":
        processes[1].kill()
    else:
        processes[0].send_signal(signal.SIGINT)
    first, second = ended(processes)
    assert (first[1], second[1]) == ("", "")
    if how == "one is killed":
        assert (first[0], second[0]) == (9, -signal.SIGKILL)
        assert first[2].startswith("spdq: error: rank 0 of 2 has lost another rank, which ended or is out of")
        assert first[2].endswith("Start all ranks again, with --resume once there is a checkpoint\n")
        assert first[2].count("\n") == 1
    else:
        assert (first[0], second[0]) == (130, 9)
        assert (
            first[2] == "spdq: interrupted: the same command with --resume goes on from the last checkpoint\n"
        )
        assert second[2] == "spdq: error: another rank ended, rank 0: interrupted\n"
    assert (folder / CHECKPOINT).is_file()


def test_the_error_of_one_rank_is_told_by_all(long_run, tmp_path):
    (tmp_path / "taken").write_text("a file")
    folder = str(tmp_path / "taken" / "model")
    command = [sys.executable, "-m", "spdq_cli", "train", str(long_run), folder]
    first, second = ended(started(2, command, tmp_path))
    assert (first[0], second[0]) == (8, 9)
    assert first[2] == f"spdq: error: cannot make {folder}: Not a directory\n"
    assert second[2] == f"spdq: error: another rank ended, rank 0: cannot make {folder}: Not a directory\n"
