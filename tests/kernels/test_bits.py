"""Bit fields and mixed-radix numbers against Python's own integers."""

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cgstore.kernels.bits import bit_field, bit_width, divide, int32_at, packed_field, product_width, split, split_wide

ONES = 2**64 - 1
WORDS = st.integers(0, ONES)


def at_bit(bits: str) -> tuple[np.ndarray, np.uint64]:
    """Return bytes holding a string of bits, with eight more bytes, and their address."""
    padded = bits + "0" * (-len(bits) % 8)
    data = np.array([int(padded[k : k + 8], 2) for k in range(0, len(padded), 8)] + [255] * 8, np.uint8)
    return data, np.uint64(data.ctypes.data)


def pack(number: int, count: int) -> str:
    """Write a number as XTC does: whole bytes, lowest first, then the bits that remain."""
    whole, rest = divmod(count, 8)
    low = "".join(f"{number >> 8 * k & 255:08b}" for k in range(whole))
    return low + (f"{number >> 8 * whole:0{rest}b}" if rest else "")


@settings(deadline=None)  # the first call compiles
@given(st.integers(0, 30), st.integers(1, 57), st.data())
def test_a_bit_field_is_read_at_every_place_and_width(skip: int, count: int, data: st.DataObject) -> None:
    number = data.draw(st.integers(0, 2**count - 1))
    keep, address = at_bit("1" * skip + f"{number:0{count}b}")
    assert int(bit_field(address, np.uint64(skip), np.uint64(count))) == number
    assert len(keep)


@settings(deadline=None)
@given(st.integers(0, 30), st.integers(1, 57), st.data())
def test_a_packed_field_is_read_at_every_place_and_width(skip: int, count: int, data: st.DataObject) -> None:
    number = data.draw(st.integers(0, 2**count - 1))
    keep, address = at_bit("1" * skip + pack(number, count))
    assert int(packed_field(address, np.uint64(skip), np.uint64(count))) == number
    assert len(keep)


@settings(deadline=None)
@given(st.integers(0, 9), st.integers(1, 72), st.integers(1, 2**24), st.integers(1, 2**24), st.data())
def test_wide_numbers_are_taken_apart_exactly(skip: int, count: int, y: int, z: int, data: st.DataObject) -> None:
    number = data.draw(st.integers(0, 2**count - 1))
    keep, address = at_bit("1" * skip + pack(number, count))
    triple = split_wide(address, np.uint64(skip), np.uint64(count), np.uint64(y), np.uint64(z))
    assert tuple(map(int, triple)) == (min(number // z // y, ONES), number // z % y, number % z)
    assert len(keep)


@settings(deadline=None)
@given(WORDS, st.integers(1, 2**31))
@example(ONES, 1)
@example(ONES, 2)
@example(0, 1)
def test_division_is_exact_for_every_word(value: int, size: int) -> None:
    reciprocal = np.uint64((ONES // size + 1) & ONES)
    assert tuple(map(int, divide(np.uint64(value), np.uint64(size), reciprocal))) == divmod(value, size)


@settings(deadline=None)
@given(st.integers(2, 2**24), st.integers(2, 2**24), st.data())
def test_a_triple_is_split_exactly_up_to_the_stated_bound(y: int, z: int, data: st.DataObject) -> None:
    value = data.draw(st.integers(0, 2**64 // max(y, z) - 1))
    reciprocals = [np.uint64(ONES // size + 1) for size in (y, z)]
    triple = split(np.uint64(value), np.uint64(y), np.uint64(z), *reciprocals)
    assert tuple(map(int, triple)) == (value // z // y, value // z % y, value % z)


@settings(deadline=None)
@given(st.integers(1, 2**24 - 1), st.integers(1, 2**24 - 1), st.integers(1, 2**24 - 1))
def test_the_width_of_a_product_of_three_sizes(x: int, y: int, z: int) -> None:
    assert int(product_width(np.uint64(x), np.uint64(y), np.uint64(z))) == (x * y * z).bit_length()
    assert int(bit_width(np.uint64(x * y))) == (x * y).bit_length()


def test_int32_is_big_endian_and_signed() -> None:
    data = np.frombuffer(np.array([-2, 0], ">i4").tobytes() + bytes(8), np.uint8)
    assert int32_at(np.uint64(data.ctypes.data)) == -2
