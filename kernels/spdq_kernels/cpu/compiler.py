"""How kernels are compiled and kept: one explicit signature each, on first use, in a cache of our own.

A kernel has one signature because two signatures of one cached function compiled at once can be mixed up. Importing
compiles nothing: ``compiled`` does, one kernel and those it calls at a time, so a search never waits for the encoders.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from numba import njit, types, void

from spdq_kernels import cache
from spdq_kernels.cpu.simd import LEVEL

_kernels: dict[str, Any] = {}
_signatures: dict[str, Any] = {}
_lock = threading.Lock()
_directory = cache.private_directory(LEVEL)


def read(dtype: Any, ndim: int) -> Any:
    """Type of a C-contiguous array a kernel only reads."""
    return types.Array(dtype, ndim, "C", readonly=True)


def write(dtype: Any, ndim: int) -> Any:
    """Type of a C-contiguous array a kernel writes to."""
    return types.Array(dtype, ndim, "C")


def kernel(*arguments: Any, returns: Any = void) -> Callable[[Callable[..., Any]], Any]:
    """Declare a kernel by the types of its arguments and its result."""

    def decorate(function: Callable[..., Any]) -> Any:
        name = function.__name__
        with cache.numba_cache(_directory):
            cached = _directory is not None
            made = njit(nogil=True, cache=cached, fastmath=False, error_model="numpy")(function)
        _kernels[name], _signatures[name] = made, returns(*arguments)
        return made

    return decorate


def inlined(function: Callable[..., Any]) -> Any:
    """Declare a piece of kernels: it becomes part of each kernel that uses it, so it may take vectors."""
    return njit(inline="always", error_model="numpy")(function)


def compiled(name: str) -> Any:
    """Return the kernel of that name, compiled or loaded from the cache."""
    wanted = _kernels[name]
    if cache.numba_settings.DISABLE_JIT:
        return wanted
    with _lock:
        # A torn cache file raises whatever its bytes happen to mean: start afresh, at last without a cache.
        for repair in (_empty_cache, _stop_caching):
            try:
                return _compile(wanted, name)
            except Exception:
                repair()
        return _compile(wanted, name)


def names() -> tuple[str, ...]:
    """Names of all kernels declared."""
    return tuple(_kernels)


def _compile(wanted: Any, name: str) -> Any:
    if not wanted.signatures:
        wanted.compile(_signatures[name])
        wanted.disable_compile()
    return wanted


def _empty_cache() -> None:
    cache.empty(_directory)


def _stop_caching() -> None:
    for known in _kernels.values():
        known._cache.disable()
