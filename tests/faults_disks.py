"""File systems of their own: one whose power can be cut, one that is soon full. They need root."""

from __future__ import annotations

import fcntl
import os
import shutil
import struct
import subprocess
from contextlib import contextmanager

_EXT4_IOC_SHUTDOWN = 0x8004587D
_NO_LOG_FLUSH = 2


class NoDisk(Exception):
    """This machine or user cannot have such a file system."""


class LoopDisk:
    """An ext4 file system on a loop device at ``path``. Raises NoDisk."""

    def __init__(self, folder, megabytes=64):
        self._image = folder / "image"
        self.path = folder / "disk"
        self.path.mkdir()
        with self._image.open("wb") as file:
            file.truncate(megabytes << 20)
        _run("mkfs.ext4", "-q", self._image)
        self._device = _run("losetup", "--find", "--show", self._image).strip()
        try:
            _run("mount", self._device, self.path)
        except NoDisk:
            _run("losetup", "--detach", self._device)
            raise

    def cut_power(self):
        """From now on nothing reaches the disk any more, the journal in memory included."""
        handle = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.ioctl(handle, _EXT4_IOC_SHUTDOWN, struct.pack("I", _NO_LOG_FLUSH))
        finally:
            os.close(handle)

    def restart(self):
        """The disk as the power cut left it, once nobody has a file open there."""
        _run("umount", self.path)
        _run("mount", self._device, self.path)

    def close(self):
        _run("umount", "-l", self.path)
        _run("losetup", "--detach", self._device)


@contextmanager
def small_disk(folder, size):
    """The path of an empty tmpfs of a size such as "1m". Raises NoDisk."""
    path = folder / "small"
    path.mkdir(exist_ok=True)
    _run("mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", path)
    try:
        yield path
    finally:
        _run("umount", "-l", path)


def _run(*command):
    command = [str(word) for word in command]
    program = shutil.which(command[0], path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    if program is None:
        raise NoDisk(f"{command[0]} is not installed")
    done = subprocess.run([program, *command[1:]], capture_output=True, text=True)
    if done.returncode:
        raise NoDisk(done.stderr.strip().partition("\n")[0])
    return done.stdout
