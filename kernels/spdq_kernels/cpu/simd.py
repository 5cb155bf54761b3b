"""Vectors of 64 bytes inside kernels: the few operations a scan needs, written for the best instructions there are.

A vector is one value of type ``VECTOR`` in Numba code; LLVM cuts it into the registers the processor has. Which
instructions look bytes up is chosen once, from the processor's feature flags (never from its name, which virtual
machines hide), or lower by the environment variable ``SPDQ_SIMD``. All levels give the same results.

Addresses are int64. Nothing keeps an array alive whose address is all that is left of it: who takes an address must
have been given the array.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from llvmlite import binding, ir
from numba import extending
from numba.core import cgutils, types
from numba.extending import models, register_model

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

BYTES = 64


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
DIFFERENCES = LEVEL in ("avx512bw", "avx2", "ssse3")
"""Whether 256-entry tables are kept as differences (see ``lookup256``)."""
_HAS_GFNI = LEVEL == "avx512vbmi" and "gfni" in FLAGS
HAS_COMPRESS = LEVEL == "avx512vbmi" and "avx512vbmi2" in FLAGS

_I1, _I8, _I32, _I64 = (ir.IntType(bits) for bits in (1, 8, 32, 64))


class VectorType(types.Type):
    """Numba's type of 64 bytes."""

    def __init__(self) -> None:
        super().__init__(name="bytes64")


@register_model(VectorType)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, front_end: Any) -> None:
        super().__init__(manager, front_end, _bytes(BYTES))


VECTOR = VectorType()

Emit = Callable[..., Any]


def _bytes(count: int) -> ir.VectorType:
    return ir.VectorType(_I8, count)


def _constant(byte: int, count: int = BYTES) -> ir.Constant:
    return ir.Constant(_bytes(count), [byte] * count)


def _call(builder: Any, name: str, returns: Any, arguments: list[Any]) -> Any:
    function_type = ir.FunctionType(returns, [argument.type for argument in arguments])
    return builder.call(cgutils.get_or_insert_function(builder.module, function_type, name), arguments)


def _pointer(builder: Any, address: Any) -> Any:
    return builder.inttoptr(address, ir.PointerType(_I8))


def _place(builder: Any, kind: Any, values: Any) -> Any:
    return builder.gep(builder.inttoptr(values[0], ir.PointerType(kind)), [values[1]])


def _load(builder: Any, pointer: Any, count: int) -> Any:
    loaded = builder.load(builder.bitcast(pointer, ir.PointerType(_bytes(count))))
    loaded.align = 1
    return loaded


def _shuffled(builder: Any, vector: Any, lanes: list[int], other: Any = None) -> Any:
    second = ir.Constant(vector.type, ir.Undefined) if other is None else other
    return builder.shuffle_vector(vector, second, ir.Constant(ir.VectorType(_I32, len(lanes)), lanes))


def _by_parts(builder: Any, width: int, table: Any, index: Any, emit: Emit) -> Any:
    """Run an operation on parts of ``width`` bytes of the index; the table (16 bytes) is repeated to that width."""
    wide = _shuffled(builder, table, list(range(16)) * (width // 16))
    parts = [
        emit(wide, _shuffled(builder, index, list(range(start, start + width))))
        for start in range(0, BYTES, width)
    ]
    while len(parts) > 1:
        lanes = list(range(2 * parts[0].type.count))
        parts = [
            _shuffled(builder, low, lanes, high) for low, high in zip(parts[::2], parts[1::2], strict=True)
        ]
    return parts[0]


def _shuffle_bytes(builder: Any, table: Any, index: Any) -> Any:
    """Look 64 indices up in 16 bytes. An index with its top bit set gives 0 except on level generic."""
    if LEVEL.startswith("avx512"):
        wide = _shuffled(builder, table, list(range(16)) * 4)
        return _call(builder, "llvm.x86.avx512.pshuf.b.512", _bytes(64), [wide, index])
    width, name = {
        "avx2": (32, "llvm.x86.avx2.pshuf.b"),
        "ssse3": (16, "llvm.x86.ssse3.pshuf.b.128"),
        "neon": (16, "llvm.aarch64.neon.tbl1.v16i8"),
        "generic": (64, ""),
    }[LEVEL]
    if LEVEL == "generic":
        return _one_by_one(builder, table, index)
    return _by_parts(builder, width, table, index, lambda t, i: _call(builder, name, _bytes(width), [t, i]))


def _one_by_one(builder: Any, table: Any, index: Any) -> Any:
    """Look every byte up by itself in a table of bytes kept on the stack."""
    place = cgutils.alloca_once(builder, table.type)
    builder.store(table, place)
    first = builder.bitcast(place, ir.PointerType(_I8))
    result = ir.Constant(_bytes(BYTES), ir.Undefined)
    for lane in range(BYTES):
        position = ir.Constant(_I32, lane)
        at = builder.zext(builder.extract_element(index, position), _I64)
        result = builder.insert_element(result, builder.load(builder.gep(first, [at])), position)
    return result


@intrinsic
def load(typing_context, address):  # type: ignore[no-untyped-def]
    """64 bytes from an address, in no alignment."""

    def emit(context, builder, signature, values):  # type: ignore[no-untyped-def]
        return _load(builder, _pointer(builder, values[0]), BYTES)

    return VECTOR(types.int64), emit


@intrinsic
def load_byte(typing_context, address):  # type: ignore[no-untyped-def]
    """The byte at an address."""

    def emit(context, builder, signature, values):  # type: ignore[no-untyped-def]
        return builder.load(_pointer(builder, values[0]))

    return types.uint8(types.int64), emit


@intrinsic
def load_int(typing_context, address, place):  # type: ignore[no-untyped-def]
    """One of the int64 from an address on."""

    def emit(context, builder, signature, values):  # type: ignore[no-untyped-def]
        return builder.load(_place(builder, _I64, values))

    return types.int64(types.int64, types.int64), emit


@intrinsic
def load_float(typing_context, address, place):  # type: ignore[no-untyped-def]
    """One of the float32 from an address on."""

    def emit(context, builder, signature, values):  # type: ignore[no-untyped-def]
        return builder.load(_place(builder, ir.FloatType(), values))

    return types.float32(types.int64, types.int64), emit


@intrinsic
def store_word(typing_context, address, place, word):  # type: ignore[no-untyped-def]
    """Write one of the uint64 from an address on."""

    def emit(context, builder, signature, values):  # type: ignore[no-untyped-def]
        builder.store(values[2], _place(builder, _I64, values))
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.uint64), emit


@intrinsic
def prefetch(typing_context, address):  # type: ignore[no-untyped-def]
    """Ask for the cache line at an address, which need not be ours."""

    def emit(context, builder, signature, values):  # type: ignore[no-untyped-def]
        pointer = _pointer(builder, values[0])
        constants = [ir.Constant(_I32, value) for value in (0, 3, 1)]
        _call(builder, "llvm.prefetch.p0", ir.VoidType(), [pointer, *constants])
        return context.get_dummy_value()

    return types.void(types.int64), emit


@intrinsic
def zeros(typing_context):  # type: ignore[no-untyped-def]
    """64 zeros."""
    return VECTOR(), lambda context, builder, signature, values: _constant(0)


@intrinsic
def repeat(typing_context, byte):  # type: ignore[no-untyped-def]
    """One byte 64 times."""

    def emit(context, builder, signature, values):  # type: ignore[no-untyped-def]
        one = builder.insert_element(
            ir.Constant(_bytes(BYTES), ir.Undefined), values[0], ir.Constant(_I32, 0)
        )
        return _shuffled(builder, one, [0] * BYTES)

    return VECTOR(types.uint8), emit


@intrinsic
def add(typing_context, a, b):  # type: ignore[no-untyped-def]
    """Sums of bytes that stop at 255."""

    def emit(context, builder, signature, values):  # type: ignore[no-untyped-def]
        return _call(builder, "llvm.uadd.sat.v64i8", _bytes(BYTES), list(values))

    return VECTOR(VECTOR, VECTOR), emit


@intrinsic
def at_most(typing_context, a, b):  # type: ignore[no-untyped-def]
    """64 bits: whether each byte of a is at most that of b."""

    def emit(context, builder, signature, values):  # type: ignore[no-untyped-def]
        return builder.bitcast(builder.icmp_unsigned("<=", *values), _I64)

    return types.uint64(VECTOR, VECTOR), emit


@intrinsic
def differing_bits(typing_context, a, b):  # type: ignore[no-untyped-def]
    """Number of bits in which each byte of a differs from that of b."""

    def emit(context, builder, signature, values):  # type: ignore[no-untyped-def]
        return _call(builder, "llvm.ctpop.v64i8", _bytes(BYTES), [builder.xor(*values)])

    return VECTOR(VECTOR, VECTOR), emit


@intrinsic
def lookup16(typing_context, address, index):  # type: ignore[no-untyped-def]
    """Sums of two lookups a byte: its low half in the 16 bytes at an address, its high half in the next 16."""

    def emit(context, builder, signature, values):  # type: ignore[no-untyped-def]
        pointer = _pointer(builder, values[0])
        low_table = _load(builder, pointer, 16)
        high_table = _load(builder, builder.gep(pointer, [ir.Constant(_I64, 16)]), 16)
        low = builder.and_(values[1], _constant(15))
        return _call(
            builder,
            "llvm.uadd.sat.v64i8",
            _bytes(BYTES),
            [
                _shuffle_bytes(builder, low_table, low),
                _shuffle_bytes(builder, high_table, _high_halves(builder, values[1])),
            ],
        )

    return VECTOR(types.int64, VECTOR), emit


def _high_halves(builder: Any, index: Any) -> Any:
    if not _HAS_GFNI:
        return builder.lshr(index, _constant(4))
    # One instruction instead of two: an 8 x 8 bit matrix that moves bit i + 4 to bit i.
    rows = sum((1 << (i + 4)) << (8 * (7 - i)) for i in range(4))
    matrix = builder.bitcast(ir.Constant(ir.VectorType(_I64, 8), [rows] * 8), _bytes(BYTES))
    return _call(builder, "llvm.x86.vgf2p8affineqb.512", _bytes(BYTES), [index, matrix, ir.Constant(_I8, 0)])


@intrinsic
def lookup256(typing_context, address, index):  # type: ignore[no-untyped-def]
    """Look 64 bytes up in the 256 bytes at an address.

    Processors that can only look up in 16 bytes find an entry as the exclusive or of differences: the table is
    sixteen rows of 16, each but rows 0 and 8 stored as its difference to the row before. Row j takes part where
    the index less 16 j is not negative (a negative one looks up 0), so all but the row wanted cancel out. Halves of
    the table are taken apart, as the sign of a byte can tell only 128 values from another 128.
    """

    def emit(context, builder, signature, values):  # type: ignore[no-untyped-def]
        pointer, index = _pointer(builder, values[0]), values[1]

        def part(start: int, count: int) -> Any:
            return _load(builder, builder.gep(pointer, [ir.Constant(_I64, start)]), count)

        if LEVEL == "avx512vbmi":
            name = "llvm.x86.avx512.vpermi2var.qi.512"
            low = _call(builder, name, _bytes(64), [part(0, 64), index, part(64, 64)])
            high = _call(builder, name, _bytes(64), [part(128, 64), index, part(192, 64)])
            return builder.select(builder.icmp_signed("<", index, _constant(0)), high, low)
        if LEVEL == "generic":
            return _one_by_one(builder, part(0, 256), index)
        if LEVEL == "neon":
            return _lookup256_neon(builder, [part(start, 16) for start in range(0, 256, 16)], index)
        result = _constant(0)
        upper = builder.xor(index, _constant(128))
        for row in range(16):
            behind = _call(
                builder,
                "llvm.ssub.sat.v64i8",
                _bytes(64),
                [index if row < 8 else upper, _constant(16 * (row % 8))],
            )
            result = builder.xor(result, _shuffle_bytes(builder, part(16 * row, 16), behind))
        return result

    return VECTOR(types.int64, VECTOR), emit


def _lookup256_neon(builder: Any, rows: list[Any], index: Any) -> Any:
    """Four lookups in 64 bytes each; an index outside of them gives 0."""

    def emit(_: Any, part: Any) -> Any:
        found = _constant(0, 16)
        for start in range(0, 256, 64):
            behind = builder.sub(part, _constant(start, 16))
            four = rows[start // 16 : start // 16 + 4]
            found = builder.or_(
                found, _call(builder, "llvm.aarch64.neon.tbl4.v16i8", _bytes(16), [*four, behind])
            )
        return found

    return _by_parts(builder, 16, rows[0], index, emit)


@intrinsic
def compress(typing_context, address, vector, mask):  # type: ignore[no-untyped-def]
    """Write the bytes whose bit is set in the mask to an address, close together."""

    def emit(context, builder, signature, values):  # type: ignore[no-untyped-def]
        pointer = _pointer(builder, values[0])
        mask = builder.bitcast(values[2], ir.VectorType(_I1, BYTES))
        _call(builder, "llvm.masked.compressstore.v64i8", ir.VoidType(), [values[1], pointer, mask])
        return context.get_dummy_value()

    return types.void(types.int64, VECTOR, types.uint64), emit


@intrinsic
def lowest_bit(typing_context, word):  # type: ignore[no-untyped-def]
    """Place of the lowest bit set in a word that is not 0."""

    def emit(context, builder, signature, values):  # type: ignore[no-untyped-def]
        return _call(builder, "llvm.cttz.i64", _I64, [values[0], ir.Constant(_I1, 1)])

    return types.int64(types.uint64), emit


@intrinsic
def count_bits(typing_context, word):  # type: ignore[no-untyped-def]
    """Number of bits set in a word."""

    def emit(context, builder, signature, values):  # type: ignore[no-untyped-def]
        return _call(builder, "llvm.ctpop.i64", _I64, [values[0]])

    return types.int64(types.uint64), emit


@intrinsic
def float_bits(typing_context, number):  # type: ignore[no-untyped-def]
    """The 32 bits of a float32, as uint64."""

    def emit(context, builder, signature, values):  # type: ignore[no-untyped-def]
        return builder.zext(builder.bitcast(values[0], _I32), _I64)

    return types.uint64(types.float32), emit


@intrinsic
def bits_float(typing_context, bits):  # type: ignore[no-untyped-def]
    """The float32 of the lower 32 bits of a uint64."""

    def emit(context, builder, signature, values):  # type: ignore[no-untyped-def]
        return builder.bitcast(builder.trunc(values[0], _I32), ir.FloatType())

    return types.float32(types.uint64), emit
