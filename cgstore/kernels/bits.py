"""Bit fields cut from bytes in memory, and mixed-radix numbers taken apart: what packed coordinates are made of.

Two ideas make this fast: any bit field is cut from one unaligned 64-bit load instead of being collected byte by
byte, and a radix is taken off by multiplying with a rounded reciprocal instead of dividing. Nothing here looks at
bounds: a load reads the eight bytes at its address, whoever asks for it has made sure that they exist.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

__all__ = [
    "bit_field",
    "bit_width",
    "divide",
    "int32_at",
    "load",
    "packed_field",
    "picked",
    "pieces",
    "product_width",
    "split",
    "split_wide",
    "word_at",
]

_0, _1, _3, _7, _8 = (np.uint64(k) for k in (0, 1, 3, 7, 8))
_16, _32, _48, _64 = (np.uint64(k) for k in (16, 32, 48, 64))
_LOW = np.uint64(0xFFFFFFFF)
_ONES = np.uint64(0xFFFFFFFFFFFFFFFF)


def _load_of(typingctx, address):  # type: ignore[no-untyped-def]
    """Return the eight bytes at an address, wherever it lies, as a big-endian number."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        word = ir.IntType(64)
        value = builder.load(builder.inttoptr(arguments[0], word.as_pointer()))
        value.align = 1
        return builder.call(builder.module.declare_intrinsic("llvm.bswap", [word]), [value])

    return types.uint64(types.uint64), generate


def _reverse_of(typingctx, word):  # type: ignore[no-untyped-def]
    """Return the eight bytes of a number in the opposite order."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        return builder.call(builder.module.declare_intrinsic("llvm.bswap", [ir.IntType(64)]), arguments)

    return types.uint64(types.uint64), generate


def _high_of(typingctx, one, other):  # type: ignore[no-untyped-def]
    """Return the upper half of the 128-bit product of two numbers."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        wide = ir.IntType(128)
        product = builder.mul(builder.zext(arguments[0], wide), builder.zext(arguments[1], wide))
        return builder.trunc(builder.lshr(product, ir.Constant(wide, 64)), ir.IntType(64))

    return types.uint64(types.uint64, types.uint64), generate


load: Any = intrinsic(_load_of)
_reverse: Any = intrinsic(_reverse_of)
_high: Any = intrinsic(_high_of)


@njit(nogil=True, cache=True, error_model="numpy", inline="always")
def int32_at(address):  # type: ignore[no-untyped-def]
    """Return the big-endian int32 at an address."""
    return np.int64(np.int32(load(address) >> _32))


@njit(nogil=True, cache=True, error_model="numpy", inline="always")
def word_at(at):  # type: ignore[no-untyped-def]
    """Return a word whose highest 57 bits are those from bit `at` of memory on; `at` is 8 times an address."""
    return load(at >> _3) << (at & _7)


@njit(nogil=True, cache=True, error_model="numpy", inline="always")
def bit_field(address, at, count):  # type: ignore[no-untyped-def]
    """Return `count` bits (1 to 57) from bit `at` on, the first one highest."""
    return word_at((address << _3) + at) >> (_64 - count)


@njit(nogil=True, cache=True, error_model="numpy", inline="always")
def pieces(count):  # type: ignore[no-untyped-def]
    """Return what `picked` needs to know of packed numbers of `count` bits (1 to 57).

    Two masks, of the whole bytes and of the bits that remain, and by how much the latter are shifted.
    """
    rest = np.uint64(count) & _7
    whole = np.uint64(count) - rest
    return (_1 << whole) - _1, ((_1 << rest) - _1) << whole, _8 - rest


@njit(nogil=True, cache=True, error_model="numpy", inline="always")
def picked(word, low_bits, high_bits, shift):  # type: ignore[no-untyped-def]
    """Return the packed number at the top of a word: whole bytes, lowest first, then its remaining high bits."""
    turned = _reverse(word)
    return (turned & low_bits) | ((turned >> shift) & high_bits)


@njit(nogil=True, cache=True, error_model="numpy", inline="always")
def packed_field(address, at, count):  # type: ignore[no-untyped-def]
    """Return a packed number of `count` bits (1 to 57) from bit `at` on."""
    low_bits, high_bits, shift = pieces(count)
    return picked(word_at((address << _3) + at), low_bits, high_bits, shift)


@njit(nogil=True, cache=True, error_model="numpy", inline="always")
def split(value, size_y, size_z, reciprocal_y, reciprocal_z):  # type: ignore[no-untyped-def]
    """Return the triple of a mixed-radix number.

    With the reciprocal floor((2^64 - 1) / size) + 1 the upper half of the product is the quotient, exactly, as long as
    value * size <= 2^64 and size > 1: whoever calls this has made sure of that.
    """
    pair = _high(value, reciprocal_z)
    x = _high(pair, reciprocal_y)
    return x, pair - x * size_y, value - pair * size_z


@njit(nogil=True, cache=True, error_model="numpy", inline="always")
def divide(value, size, reciprocal):  # type: ignore[no-untyped-def]
    """Return quotient and remainder of any value and size; `reciprocal` as for `split`.

    One less than the reciprocal gives the quotient or one less than it, which one comparison puts right. A size of
    one has the reciprocal 2^64, which is 0 here, and one less than that is 2^64 - 1, as it should be.
    """
    quotient = _high(value, reciprocal - _1)
    remainder = value - quotient * size
    more = np.uint64(remainder >= size)
    return quotient + more, remainder - size * more


@njit(nogil=True, cache=True, error_model="numpy")
def _divide_wide(high, low, divisor):  # type: ignore[no-untyped-def]
    """Divide the number high * 2^64 + low by a divisor below 2^32, in digits of 32 bits."""
    top = high // divisor
    digits = ((high % divisor) << _32) | (low >> _32)
    middle = digits // divisor
    digits = ((digits % divisor) << _32) | (low & _LOW)
    return top, (middle << _32) | (digits // divisor), digits % divisor


@njit(nogil=True, cache=True, error_model="numpy")
def split_wide(address, at, count, size_y, size_z):  # type: ignore[no-untyped-def]
    """Read a packed number of 1 to 72 bits and return its triple; x saturates where it is beyond 64 bits."""
    low = packed_field(address, at, min(count, _48))
    high = _0
    if count > _48:
        rest = packed_field(address, at + _48, count - _48)
        low |= rest << _48
        high = rest >> _16
    high, low, z = _divide_wide(high, low, size_z)
    high, low, y = _divide_wide(high, low, size_y)
    return (_ONES if high else low), y, z


@njit(nogil=True, cache=True, error_model="numpy")
def bit_width(number):  # type: ignore[no-untyped-def]
    """Return how many bits a number has."""
    count = _0
    while number > _0:
        count += _1
        number >>= _1
    return count


@njit(nogil=True, cache=True, error_model="numpy")
def product_width(size_x, size_y, size_z):  # type: ignore[no-untyped-def]
    """Return how many bits the product of three sizes below 2^24 has."""
    pair = size_x * size_y
    low = (pair & _LOW) * size_z
    high = (pair >> _32) * size_z + (low >> _32)
    return _32 + bit_width(high) if high else bit_width(low)
