"""LLVM instructions on vectors of bytes, for what ``simd`` and ``lookups`` are made of."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils

I1, I8, I32, I64 = (ir.IntType(bits) for bits in (1, 8, 32, 64))
BYTES = 64


def byte_vector(count: int) -> ir.VectorType:
    """The type of so many bytes."""
    return ir.VectorType(I8, count)


def constant(byte: int, count: int = BYTES) -> ir.Constant:
    """One byte so many times."""
    return ir.Constant(byte_vector(count), [byte] * count)


def call(builder: Any, name: str, returns: Any, arguments: list[Any]) -> Any:
    """Call an LLVM intrinsic by its name."""
    function_type = ir.FunctionType(returns, [argument.type for argument in arguments])
    return builder.call(cgutils.get_or_insert_function(builder.module, function_type, name), arguments)


def pointer_to(builder: Any, address: Any) -> Any:
    """Where the bytes at an address lie."""
    return builder.inttoptr(address, ir.PointerType(I8))


def place_of(builder: Any, kind: Any, values: Any) -> Any:
    """Where an entry of a type lies: values are the address of the first and its place."""
    return builder.gep(builder.inttoptr(values[0], ir.PointerType(kind)), [values[1]])


def load_bytes(builder: Any, pointer: Any, count: int) -> Any:
    """So many bytes, in no alignment."""
    loaded = builder.load(builder.bitcast(pointer, ir.PointerType(byte_vector(count))))
    loaded.align = 1
    return loaded


def shuffled(builder: Any, vector: Any, lanes: list[int], other: Any = None) -> Any:
    """Some lanes of a vector, or of two put together."""
    second = ir.Constant(vector.type, ir.Undefined) if other is None else other
    return builder.shuffle_vector(vector, second, ir.Constant(ir.VectorType(I32, len(lanes)), lanes))
