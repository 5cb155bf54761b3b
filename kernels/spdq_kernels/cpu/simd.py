"""Vectors of 64 bytes inside kernels: the few operations a scan needs, written for the best instructions there are.

A vector is one value of type ``VECTOR`` in Numba code; LLVM cuts it into the registers the processor has. Which
instructions there are is found out once, from the processor's feature flags (never from its name, which virtual
machines hide), or lower by the environment variable ``SPDQ_SIMD``. All levels give the same results.

Addresses are int64. Nothing keeps an array alive whose address is all that is left of it: who takes an address must
have been given the array.
"""

from __future__ import annotations

import os
from typing import Any

from llvmlite import binding, ir
from numba import extending
from numba.core import types
from numba.extending import models, register_model

from spdq_kernels.cpu.emit import (
    BYTES,
    I1,
    I32,
    I64,
    byte_vector,
    call,
    constant,
    load_bytes,
    place_of,
    pointer_to,
    shuffled,
)

intrinsic: Any = extending.intrinsic  # typed for what implements it, not for the calls inside kernels

LEVELS = {
    "avx512vbmi": ("avx512vbmi", "avx512bw"),
    "avx512bw": ("avx512bw",),
    "avx2": ("avx2",),
    "ssse3": ("ssse3",),
    "neon": ("neon",),
    "generic": (),
}
"""Instruction sets, best first, with the feature flags each needs."""


def processor_level(flags: set[str], forced: str | None = None) -> str:
    """The best level the flags allow, or the one asked for.

    Raises
    ------
    ValueError
        An unknown level, or one the processor cannot run.
    """
    possible = [level for level, needed in LEVELS.items() if flags.issuperset(needed)]
    if not forced:
        return possible[0]
    if forced not in possible:
        raise ValueError(f"SPDQ_SIMD={forced}: this processor can run {', '.join(possible)}")
    return forced


FLAGS = {flag for flag, has in binding.get_host_cpu_features().items() if has}
LEVEL = processor_level(FLAGS, os.environ.get("SPDQ_SIMD"))
HAS_COMPRESS = LEVEL == "avx512vbmi" and "avx512vbmi2" in FLAGS


class VectorType(types.Type):
    """Numba's type of 64 bytes."""

    def __init__(self) -> None:
        super().__init__(name="bytes64")


@register_model(VectorType)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, front_end: Any) -> None:
        super().__init__(manager, front_end, byte_vector(BYTES))


VECTOR = VectorType()


@intrinsic
def load(typing_context, address):  # type: ignore[no-untyped-def]
    """64 bytes from an address, in no alignment."""

    def emit(context, builder, signature, values):  # type: ignore[no-untyped-def]
        return load_bytes(builder, pointer_to(builder, values[0]), BYTES)

    return VECTOR(types.int64), emit


@intrinsic
def load_byte(typing_context, address):  # type: ignore[no-untyped-def]
    """The byte at an address."""

    def emit(context, builder, signature, values):  # type: ignore[no-untyped-def]
        return builder.load(pointer_to(builder, values[0]))

    return types.uint8(types.int64), emit


@intrinsic
def load_int(typing_context, address, place):  # type: ignore[no-untyped-def]
    """One of the int64 from an address on."""

    def emit(context, builder, signature, values):  # type: ignore[no-untyped-def]
        return builder.load(place_of(builder, I64, values))

    return types.int64(types.int64, types.int64), emit


@intrinsic
def load_row(typing_context, address, place):  # type: ignore[no-untyped-def]
    """One of the uint32 from an address on."""

    def emit(context, builder, signature, values):  # type: ignore[no-untyped-def]
        return builder.zext(builder.load(place_of(builder, I32, values)), I64)

    return types.int64(types.int64, types.int64), emit


@intrinsic
def load_float(typing_context, address, place):  # type: ignore[no-untyped-def]
    """One of the float32 from an address on."""

    def emit(context, builder, signature, values):  # type: ignore[no-untyped-def]
        return builder.load(place_of(builder, ir.FloatType(), values))

    return types.float32(types.int64, types.int64), emit


@intrinsic
def store_word(typing_context, address, place, word):  # type: ignore[no-untyped-def]
    """Write one of the uint64 from an address on."""

    def emit(context, builder, signature, values):  # type: ignore[no-untyped-def]
        builder.store(values[2], place_of(builder, I64, values))
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.uint64), emit


@intrinsic
def prefetch(typing_context, address):  # type: ignore[no-untyped-def]
    """Ask for the cache line at an address, which need not be ours."""

    def emit(context, builder, signature, values):  # type: ignore[no-untyped-def]
        pointer = pointer_to(builder, values[0])
        constants = [ir.Constant(I32, value) for value in (0, 2, 1)]
        call(builder, "llvm.prefetch.p0", ir.VoidType(), [pointer, *constants])
        return context.get_dummy_value()

    return types.void(types.int64), emit


@intrinsic
def store(typing_context, address, vector):  # type: ignore[no-untyped-def]
    """Write 64 bytes to an address, in no alignment."""

    def emit(context, builder, signature, values):  # type: ignore[no-untyped-def]
        pointer = builder.bitcast(pointer_to(builder, values[0]), ir.PointerType(byte_vector(BYTES)))
        builder.store(values[1], pointer).align = 1
        return context.get_dummy_value()

    return types.void(types.int64, VECTOR), emit


@intrinsic
def zeros(typing_context):  # type: ignore[no-untyped-def]
    """64 zeros."""
    return VECTOR(), lambda context, builder, signature, values: constant(0)


@intrinsic
def repeat(typing_context, byte):  # type: ignore[no-untyped-def]
    """One byte 64 times."""

    def emit(context, builder, signature, values):  # type: ignore[no-untyped-def]
        one = builder.insert_element(
            ir.Constant(byte_vector(BYTES), ir.Undefined), values[0], ir.Constant(I32, 0)
        )
        return shuffled(builder, one, [0] * BYTES)

    return VECTOR(types.uint8), emit


@intrinsic
def add(typing_context, a, b):  # type: ignore[no-untyped-def]
    """Sums of bytes that stop at 255."""

    def emit(context, builder, signature, values):  # type: ignore[no-untyped-def]
        return call(builder, "llvm.uadd.sat.v64i8", byte_vector(BYTES), list(values))

    return VECTOR(VECTOR, VECTOR), emit


@intrinsic
def at_most(typing_context, a, b):  # type: ignore[no-untyped-def]
    """64 bits: whether each byte of a is at most that of b."""

    def emit(context, builder, signature, values):  # type: ignore[no-untyped-def]
        return builder.bitcast(builder.icmp_unsigned("<=", *values), I64)

    return types.uint64(VECTOR, VECTOR), emit


@intrinsic
def differing_bits(typing_context, a, b):  # type: ignore[no-untyped-def]
    """Number of bits in which each byte of a differs from that of b."""

    def emit(context, builder, signature, values):  # type: ignore[no-untyped-def]
        return call(builder, "llvm.ctpop.v64i8", byte_vector(BYTES), [builder.xor(*values)])

    return VECTOR(VECTOR, VECTOR), emit


@intrinsic
def compress(typing_context, address, vector, mask):  # type: ignore[no-untyped-def]
    """Write the bytes whose bit is set in the mask to an address, close together."""

    def emit(context, builder, signature, values):  # type: ignore[no-untyped-def]
        pointer = pointer_to(builder, values[0])
        mask = builder.bitcast(values[2], ir.VectorType(I1, BYTES))
        call(builder, "llvm.masked.compressstore.v64i8", ir.VoidType(), [values[1], pointer, mask])
        return context.get_dummy_value()

    return types.void(types.int64, VECTOR, types.uint64), emit


@intrinsic
def lowest_bit(typing_context, word):  # type: ignore[no-untyped-def]
    """Place of the lowest bit set in a word that is not 0."""

    def emit(context, builder, signature, values):  # type: ignore[no-untyped-def]
        return call(builder, "llvm.cttz.i64", I64, [values[0], ir.Constant(I1, 1)])

    return types.int64(types.uint64), emit


@intrinsic
def count_bits(typing_context, word):  # type: ignore[no-untyped-def]
    """Number of bits set in a word."""

    def emit(context, builder, signature, values):  # type: ignore[no-untyped-def]
        return call(builder, "llvm.ctpop.i64", I64, [values[0]])

    return types.int64(types.uint64), emit


@intrinsic
def float_bits(typing_context, number):  # type: ignore[no-untyped-def]
    """The 32 bits of a float32, as uint64."""

    def emit(context, builder, signature, values):  # type: ignore[no-untyped-def]
        return builder.zext(builder.bitcast(values[0], I32), I64)

    return types.uint64(types.float32), emit


@intrinsic
def bits_float(typing_context, bits):  # type: ignore[no-untyped-def]
    """The float32 of the lower 32 bits of a uint64."""

    def emit(context, builder, signature, values):  # type: ignore[no-untyped-def]
        return builder.bitcast(builder.trunc(values[0], I32), ir.FloatType())

    return types.float32(types.uint64), emit
