"""Tasks for processes that are imported anew in each of them."""

from __future__ import annotations

import os
import signal
import time

from spdq.errors import DataError


def work(task):
    """What the task says: a number is squared, and words have their meaning."""
    match task:
        case "fail":
            raise DataError("too few rows")
        case "bug":
            raise KeyError("nowhere")
        case "die":
            os.kill(os.getpid(), signal.SIGKILL)
        case "leave":
            os._exit(3)
        case "who":
            threads = [os.environ.get(name) for name in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS")]
            blocked = signal.pthread_sigmask(signal.SIG_BLOCK, set())
            return os.getpid(), len(os.sched_getaffinity(0)), threads, signal.SIGINT in blocked
        case "sleep":
            time.sleep(600)
    return task * task
