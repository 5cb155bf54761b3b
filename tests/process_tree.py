"""Processes below one, and the addresses they listen on, as the kernel tells."""

from __future__ import annotations

import os
from pathlib import Path

LOOPBACK = {"0100007F", "0000000000000000FFFF00000100007F"}
"""127.0.0.1 as the kernel writes it, and the same within IPv6."""


def below(pid):
    """The commands of the processes below one, by their ids."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(stat.parts[2])] = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    found, new = set(), {pid}
    while new := {one for one, parent in parents.items() if parent in new}:
        found |= new
    return {one: command for one in found if (command := _command(one))}


def listening(pids):
    """Addresses that some processes listen on, as the kernel writes them, with the port behind a colon."""
    sockets = set()
    for pid in pids:
        for fd in Path("/proc", str(pid), "fd").glob("*"):
            try:
                sockets.add(os.readlink(fd))
            except OSError:
                continue
    rows = [
        line.split()
        for table in ("tcp", "tcp6")
        for line in Path("/proc/net", table).read_text().splitlines()[1:]
    ]
    return {row[1] for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in sockets}


def _command(pid):
    try:
        return Path("/proc", str(pid), "cmdline").read_text().replace("\0", " ").strip()
    except OSError:
        return ""
