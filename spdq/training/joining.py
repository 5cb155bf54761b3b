"""How the processes of one training run find each other: by what ``torchrun`` or Ray Train has set."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any

import torch.distributed as dist
from torch.distributed.rendezvous import rendezvous

from spdq.errors import SpdqError, UnavailableError, UsageError
from spdq.training.ranks import ALONE, Ranks, reason

JOIN_WITHIN = timedelta(minutes=5)
"""All ranks have to be there so soon after the first: they begin by reading the data set."""
ANSWER_WITHIN = timedelta(minutes=30)
"""How long ranks wait for one that neither answers nor ends."""

_ENDED = "spdq/ended"
_NEEDED = ("RANK", "MASTER_ADDR", "MASTER_PORT")


def is_first() -> bool:
    """Whether this process is the only one, or the first of those it was started with."""
    return os.environ.get("RANK", "0") == "0"


@contextmanager
def joined_ranks() -> Iterator[Ranks]:
    """This process as one of the ranks it was started as, connected to the others for as long as the block lasts.

    A process group that there is already, as Ray Train makes one, is used and left. Else the environment says what
    this process is, as ``torchrun`` sets it: WORLD_SIZE, RANK, MASTER_ADDR, MASTER_PORT. Without WORLD_SIZE, or with
    1, the process is alone. Ranks talk by gloo, since training computes on the CPU; those of one machine over its
    loopback alone.

    Raises
    ------
    UsageError
        WORLD_SIZE without the rest, or not a number.
    UnavailableError
        Not all ranks have come in ``JOIN_WITHIN``, or they cannot reach each other.
    """
    if dist.is_available() and dist.is_initialized():
        yield Ranks(dist.get_rank(), dist.get_world_size())
        return
    size = _number("WORLD_SIZE") if "WORLD_SIZE" in os.environ else 1
    if size <= 1:
        yield ALONE
        return
    missing = [name for name in _NEEDED if not os.environ.get(name)]
    if missing:
        raise UsageError(
            f"WORLD_SIZE is {size}, but {', '.join(missing)} not set: start all processes with "
            "`torchrun --nproc-per-node N -m spdq_cli train ...`, or unset WORLD_SIZE"
        )
    ranks = Ranks(_number("RANK"), size)
    if not 0 <= ranks.rank < size:
        raise UsageError(f"RANK must be from 0 to {size - 1}, as WORLD_SIZE is {size}, got {ranks.rank}")
    store = _join(ranks)
    try:
        yield ranks
    except UnavailableError as error:
        raise _with_cause(error, store) from error
    except (SpdqError, KeyboardInterrupt) as error:
        with suppress(RuntimeError):
            store.set(_ENDED, f"rank {ranks.rank}: {str(error) or 'interrupted'}")
        raise
    finally:
        dist.destroy_process_group()


def _with_cause(error: UnavailableError, store: Any) -> UnavailableError:
    """The error of the rank that ended first, where it left word; it does so before the others can miss it."""
    with suppress(RuntimeError):
        if store.check([_ENDED]):
            return UnavailableError(f"another rank ended, {store.get(_ENDED).decode()}")
    return error


def _join(ranks: Ranks) -> Any:
    if _number("LOCAL_WORLD_SIZE", -1) == ranks.size:
        # Gloo asks nobody who they are: what stays on this machine is not to listen on its other addresses.
        loopback = next((name for _, name in socket.if_nameindex() if name.startswith("lo")), None)
        if loopback is not None:
            os.environ.setdefault("GLOO_SOCKET_IFNAME", loopback)
    where = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
    try:
        found = rendezvous("env://", ranks.rank, ranks.size, timeout=JOIN_WITHIN)
        store, rank, size = next(found)
        names = [f"spdq/here/{rank}" for rank in range(size)]
        store.set(names[rank], "")
        store.wait(names, JOIN_WITHIN)
        dist.init_process_group("gloo", store=store, rank=rank, world_size=size, timeout=ANSWER_WITHIN)
        return store
    except RuntimeError as error:
        raise UnavailableError(
            f"rank {ranks.rank} of {ranks.size} has not met the others at {where} within "
            f"{JOIN_WITHIN.total_seconds():g} seconds ({reason(error)}). Start all ranks, and look at MASTER_ADDR, "
            "MASTER_PORT and GLOO_SOCKET_IFNAME"
        ) from error


def _number(name: str, default: int = 0) -> int:
    text = os.environ.get(name, str(default))
    try:
        return int(text)
    except ValueError:
        raise UsageError(f"{name} must be a whole number, got {text!r}: `torchrun` sets it") from None
