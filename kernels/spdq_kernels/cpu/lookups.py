"""Looking 64 bytes up at once, in tables of 16 or of 256 bytes: the heart of a scan."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types

from spdq_kernels.cpu.emit import (
    BYTES,
    I8,
    I32,
    I64,
    byte_vector,
    call,
    constant,
    load_bytes,
    pointer_to,
    shuffled,
)
from spdq_kernels.cpu.simd import FLAGS, LEVEL, VECTOR, intrinsic

DIFFERENCES = LEVEL in ("avx512bw", "avx2", "ssse3")
"""Whether 256-entry tables are kept as differences (see ``lookup256``)."""
HAS_GFNI = LEVEL == "avx512vbmi" and "gfni" in FLAGS

Emit = Callable[..., Any]


def _by_parts(builder: Any, width: int, table: Any, index: Any, emit: Emit) -> Any:
    """Run an operation on parts of ``width`` bytes of the index; the table (16 bytes) is repeated to that width."""
    wide = shuffled(builder, table, list(range(16)) * (width // 16))
    parts = [
        emit(wide, shuffled(builder, index, list(range(start, start + width))))
        for start in range(0, BYTES, width)
    ]
    while len(parts) > 1:
        lanes = list(range(2 * parts[0].type.count))
        parts = [
            shuffled(builder, low, lanes, high) for low, high in zip(parts[::2], parts[1::2], strict=True)
        ]
    return parts[0]


def _shuffle_bytes(builder: Any, table: Any, index: Any) -> Any:
    """Look 64 indices up in 16 bytes. An index with its top bit set gives 0 except on level generic."""
    if LEVEL.startswith("avx512"):
        wide = shuffled(builder, table, list(range(16)) * 4)
        return call(builder, "llvm.x86.avx512.pshuf.b.512", byte_vector(64), [wide, index])
    width, name = {
        "avx2": (32, "llvm.x86.avx2.pshuf.b"),
        "ssse3": (16, "llvm.x86.ssse3.pshuf.b.128"),
        "neon": (16, "llvm.aarch64.neon.tbl1.v16i8"),
        "generic": (64, ""),
    }[LEVEL]
    if LEVEL == "generic":
        return _one_by_one(builder, table, index)
    return _by_parts(
        builder, width, table, index, lambda t, i: call(builder, name, byte_vector(width), [t, i])
    )


def _one_by_one(builder: Any, table: Any, index: Any) -> Any:
    """Look every byte up by itself in a table of bytes kept on the stack."""
    place = cgutils.alloca_once(builder, table.type)
    builder.store(table, place)
    first = builder.bitcast(place, ir.PointerType(I8))
    result = ir.Constant(byte_vector(BYTES), ir.Undefined)
    for lane in range(BYTES):
        position = ir.Constant(I32, lane)
        at = builder.zext(builder.extract_element(index, position), I64)
        result = builder.insert_element(result, builder.load(builder.gep(first, [at])), position)
    return result


@intrinsic
def lookup16(typing_context, address, index):  # type: ignore[no-untyped-def]
    """Sums of two lookups a byte: its low half in the 16 bytes at an address, its high half in the next 16."""

    def emit(context, builder, signature, values):  # type: ignore[no-untyped-def]
        pointer = pointer_to(builder, values[0])
        low_table = load_bytes(builder, pointer, 16)
        high_table = load_bytes(builder, builder.gep(pointer, [ir.Constant(I64, 16)]), 16)
        low = builder.and_(values[1], constant(15))
        return call(
            builder,
            "llvm.uadd.sat.v64i8",
            byte_vector(BYTES),
            [
                _shuffle_bytes(builder, low_table, low),
                _shuffle_bytes(builder, high_table, _high_halves(builder, values[1])),
            ],
        )

    return VECTOR(types.int64, VECTOR), emit


def _high_halves(builder: Any, index: Any) -> Any:
    if not HAS_GFNI:
        return builder.lshr(index, constant(4))
    # One instruction instead of two: an 8 x 8 bit matrix that moves bit i + 4 to bit i.
    rows = sum((1 << (i + 4)) << (8 * (7 - i)) for i in range(4))
    matrix = builder.bitcast(ir.Constant(ir.VectorType(I64, 8), [rows] * 8), byte_vector(BYTES))
    return call(
        builder, "llvm.x86.vgf2p8affineqb.512", byte_vector(BYTES), [index, matrix, ir.Constant(I8, 0)]
    )


@intrinsic
def lookup256(typing_context, address, index):  # type: ignore[no-untyped-def]
    """Look 64 bytes up in the 256 bytes at an address.

    Processors that can only look up in 16 bytes find an entry as the exclusive or of differences: the table is
    sixteen rows of 16, each but rows 0 and 8 stored as its difference to the row before. Row j takes part where
    the index less 16 j is not negative (a negative one looks up 0), so all but the row wanted cancel out. Halves of
    the table are taken apart, as the sign of a byte can tell only 128 values from another 128.
    """

    def emit(context, builder, signature, values):  # type: ignore[no-untyped-def]
        pointer, index = pointer_to(builder, values[0]), values[1]

        def part(start: int, count: int) -> Any:
            return load_bytes(builder, builder.gep(pointer, [ir.Constant(I64, start)]), count)

        if LEVEL == "avx512vbmi":
            name = "llvm.x86.avx512.vpermi2var.qi.512"
            low = call(builder, name, byte_vector(64), [part(0, 64), index, part(64, 64)])
            high = call(builder, name, byte_vector(64), [part(128, 64), index, part(192, 64)])
            return builder.select(builder.icmp_signed("<", index, constant(0)), high, low)
        if LEVEL == "generic":
            return _one_by_one(builder, part(0, 256), index)
        if LEVEL == "neon":
            return _lookup256_neon(builder, [part(start, 16) for start in range(0, 256, 16)], index)
        result = constant(0)
        upper = builder.xor(index, constant(128))
        for row in range(16):
            behind = call(
                builder,
                "llvm.ssub.sat.v64i8",
                byte_vector(64),
                [index if row < 8 else upper, constant(16 * (row % 8))],
            )
            result = builder.xor(result, _shuffle_bytes(builder, part(16 * row, 16), behind))
        return result

    return VECTOR(types.int64, VECTOR), emit


def _lookup256_neon(builder: Any, rows: list[Any], index: Any) -> Any:
    """Four lookups in 64 bytes each; an index outside of them gives 0."""

    def emit(_: Any, part: Any) -> Any:
        found = constant(0, 16)
        for start in range(0, 256, 64):
            behind = builder.sub(part, constant(start, 16))
            four = rows[start // 16 : start // 16 + 4]
            found = builder.or_(
                found, call(builder, "llvm.aarch64.neon.tbl4.v16i8", byte_vector(16), [*four, behind])
            )
        return found

    return _by_parts(builder, 16, rows[0], index, emit)
