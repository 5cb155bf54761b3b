"""What a kernel asks of the device beyond Numba's Python, and how the simulator does the same.

Under ``NUMBA_ENABLE_CUDASIM=1`` kernels run as plain Python: each of these is then a line of NumPy.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import cuda as _cuda
from numba.core import config as _config
from numba.core import types as _types

# Modules that fill themselves while they run, which type checkers cannot follow.
cuda: Any = _cuda
_settings: Any = _config
types: Any = _types

SIMULATED = bool(_settings.ENABLE_CUDASIM)


def inlined(function: Callable[..., Any]) -> Any:
    """Make a function part of the kernels that call it; compiled by itself it would need a device."""
    return function if SIMULATED else cuda.jit(device=True, inline="always")(function)


def multiprocessors() -> int:
    """Return how many the device has; a simulated one counts as one."""
    return 1 if SIMULATED else int(cuda.get_current_device().MULTIPROCESSOR_COUNT)


def compiled(function: Callable[..., None], signature: Any, threads: int, teams: int) -> Any:
    """Return a kernel for the current device with registers for so many teams of so many threads at once."""
    if SIMULATED:
        return cuda.jit(function)
    return cuda.jit(signature, launch_bounds=(threads, teams))(function)


TABLE_ALIGNMENT: int | None
"""Bytes; with it the compiler makes one look-up of those of neighbouring floats."""

bits_of: Any
"""bits_of(float32) -> uint32: its bits."""

float_of: Any
"""float_of(uint32) -> float32: what has such bits."""

load_16: Any
"""load_16(array (n,) uint8, at) -> four uint32: 16 bytes in one load; ``at`` is a multiple of 16."""

if SIMULATED:
    TABLE_ALIGNMENT = None

    def bits_of(value: Any) -> Any:
        return np.float32(value).view(np.uint32)

    def float_of(bits: Any) -> Any:
        return np.uint32(bits).view(np.float32)

    def load_16(array: Any, at: Any) -> Any:
        words = array[at : at + 16].view(np.uint32)
        return words[0], words[1], words[2], words[3]

else:
    from llvmlite import ir
    from numba.cuda.extending import intrinsic

    TABLE_ALIGNMENT = 16

    def _bit_cast(source: Any, target: Any) -> Any:
        def define(typing_context: Any, value: Any) -> Any:
            def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
                return builder.bitcast(arguments[0], context.get_value_type(target))

            return target(source), generate

        return intrinsic(define)

    def _define_load_16(typing_context: Any, array: Any, at: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            word = ir.IntType(32)
            data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
            address = builder.bitcast(builder.gep(data, [arguments[1]]), ir.VectorType(word, 4).as_pointer())
            loaded = builder.load(address, align=16)
            loaded.set_metadata("invariant.load", builder.module.add_metadata([]))
            words = [builder.extract_element(loaded, ir.Constant(word, i)) for i in range(4)]
            return context.make_tuple(builder, signature.return_type, words)

        return types.UniTuple(types.uint32, 4)(array, at), generate

    bits_of = _bit_cast(types.float32, types.uint32)
    float_of = _bit_cast(types.uint32, types.float32)
    load_16 = intrinsic(_define_load_16)
