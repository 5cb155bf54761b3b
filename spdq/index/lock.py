"""The lock that makes sure one writer at a time changes an index directory."""

from __future__ import annotations

import fcntl
import os
import weakref
from contextlib import suppress
from functools import cache
from pathlib import Path

from spdq.errors import LockedError, StorageError, UsageError

_held: weakref.WeakSet[WriterLock] = weakref.WeakSet()


class WriterLock:
    """A non-blocking ``flock`` on a file that is never deleted; the kernel releases it when its process dies.

    Raises LockedError naming the process that holds it, StorageError where the file cannot be written.
    """

    def __init__(self, path: Path) -> None:
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        except OSError as error:
            raise StorageError(f"{path}: cannot be locked for writing ({error.strerror})") from None
        self.release = weakref.finalize(self, _release, handle, os.getpid())
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(handle, 20, 0).decode("ascii", "replace").strip()
            self.release()
            raise LockedError(_held_by(holder, path.parent)) from None
        except OSError as error:
            self.release()
            raise StorageError(f"{path}: cannot be locked for writing ({error.strerror})") from None
        self._process = os.getpid()
        self._where = path.parent
        with suppress(
            OSError
        ):  # The number only serves the message above; a full disk must not prevent removals.
            os.ftruncate(handle, 0)
            os.pwrite(handle, f"{self._process}\n".encode(), 0)
        _held.add(self)
        _release_in_children()

    def check_process(self) -> None:
        """Raise UsageError in a forked child: neither the lock nor SQLite may cross a fork."""
        if os.getpid() != self._process:
            raise UsageError(
                f"{self._where} was opened for writing by process {self._process}: open it anew in this one"
            )


def _release(handle: int, owner: int) -> None:
    if os.getpid() == owner:  # A child's copy is closed only: unlocking it would unlock the parent's.
        fcntl.flock(handle, fcntl.LOCK_UN)
    os.close(handle)


@cache
def _release_in_children() -> None:
    # A forked child shares the lock and would keep it after its parent's death.
    os.register_at_fork(after_in_child=lambda: [lock.release() for lock in list(_held)])


def _held_by(holder: str, where: Path) -> str:
    if holder == str(os.getpid()):
        return f"this process is already writing to {where}"
    return f"another process (pid {holder or 'unknown'}) is writing to {where}"
