"""Vectors of 16 float32 inside kernels, one value of type ``FLOATS`` each, beside the vectors of bytes of ``simd``.

Every operation is that of IEEE 754 on each lane by itself: which registers the processor has changes no bit.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import models, register_model

from spdq_kernels.cpu.emit import I8, I32, I64, place_of, pointer_to, shuffled
from spdq_kernels.cpu.simd import intrinsic

LANES = 16
_FLOATS = ir.VectorType(ir.FloatType(), LANES)


class FloatsType(types.Type):
    """Numba's type of 16 float32."""

    def __init__(self) -> None:
        super().__init__(name="floats16")


@register_model(FloatsType)
class _FloatsModel(models.PrimitiveModel):
    def __init__(self, manager: Any, front_end: Any) -> None:
        super().__init__(manager, front_end, _FLOATS)


FLOATS = FloatsType()


@intrinsic
def load_floats(typing_context, address, place):  # type: ignore[no-untyped-def]
    """The 16 float32 from a place on, counted from an address, in no alignment."""

    def emit(context, builder, signature, values):  # type: ignore[no-untyped-def]
        pointer = place_of(builder, ir.FloatType(), values)
        loaded = builder.load(builder.bitcast(pointer, ir.PointerType(_FLOATS)))
        loaded.align = 4
        return loaded

    return FLOATS(types.int64, types.int64), emit


@intrinsic
def store_floats(typing_context, address, place, floats):  # type: ignore[no-untyped-def]
    """Write 16 float32 where ``load_floats`` finds them."""

    def emit(context, builder, signature, values):  # type: ignore[no-untyped-def]
        pointer = place_of(builder, ir.FloatType(), values)
        builder.store(values[2], builder.bitcast(pointer, ir.PointerType(_FLOATS))).align = 4
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, FLOATS), emit


@intrinsic
def repeat_float(typing_context, number):  # type: ignore[no-untyped-def]
    """One float32 16 times."""

    def emit(context, builder, signature, values):  # type: ignore[no-untyped-def]
        one = builder.insert_element(ir.Constant(_FLOATS, ir.Undefined), values[0], ir.Constant(I32, 0))
        return shuffled(builder, one, [0] * LANES)

    return FLOATS(types.float32), emit


@intrinsic
def plus(typing_context, a, b):  # type: ignore[no-untyped-def]
    """Sums."""
    return FLOATS(FLOATS, FLOATS), lambda context, builder, signature, values: builder.fadd(*values)


@intrinsic
def minus(typing_context, a, b):  # type: ignore[no-untyped-def]
    """Differences."""
    return FLOATS(FLOATS, FLOATS), lambda context, builder, signature, values: builder.fsub(*values)


@intrinsic
def times(typing_context, a, b):  # type: ignore[no-untyped-def]
    """Products."""
    return FLOATS(FLOATS, FLOATS), lambda context, builder, signature, values: builder.fmul(*values)


def _smaller(builder: Any, a: Any, b: Any) -> Any:
    return builder.select(builder.fcmp_ordered("<", a, b), a, b)


@intrinsic
def smaller(typing_context, a, b):  # type: ignore[no-untyped-def]
    """Lane by lane a where it is less, else b."""
    return FLOATS(FLOATS, FLOATS), lambda context, builder, signature, values: _smaller(builder, *values)


@intrinsic
def least(typing_context, floats):  # type: ignore[no-untyped-def]
    """The smallest of 16 float32."""

    def emit(context, builder, signature, values):  # type: ignore[no-untyped-def]
        rest, count = values[0], LANES
        while count > 1:
            count //= 2
            low, high = (shuffled(builder, rest, list(range(at, at + count))) for at in (0, count))
            rest = _smaller(builder, low, high)
        return builder.extract_element(rest, ir.Constant(I32, 0))

    return types.float32(FLOATS), emit


@intrinsic
def at_most_bits(typing_context, a, b):  # type: ignore[no-untyped-def]
    """16 bits: whether each lane of a is at most that of b."""

    def emit(context, builder, signature, values):  # type: ignore[no-untyped-def]
        found = builder.fcmp_ordered("<=", *values)
        return builder.zext(builder.bitcast(found, ir.IntType(LANES)), I64)

    return types.uint64(FLOATS, FLOATS), emit


@intrinsic
def store_steps(typing_context, address, floats):  # type: ignore[no-untyped-def]
    """Write 16 bytes to an address: whole parts of numbers that are not negative, 255 of larger ones and of NaN."""

    def emit(context, builder, signature, values):  # type: ignore[no-untyped-def]
        steps = _smaller(builder, values[1], ir.Constant(_FLOATS, [255.0] * LANES))
        whole = builder.fptosi(steps, ir.VectorType(I32, LANES))
        bytes_type = ir.VectorType(I8, LANES)
        pointer = builder.bitcast(pointer_to(builder, values[0]), ir.PointerType(bytes_type))
        builder.store(builder.trunc(whole, bytes_type), pointer).align = 1
        return context.get_dummy_value()

    return types.void(types.int64, FLOATS), emit
