"""Numbers parsed from bytes are those of Python, and bytes that are none are refused."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgstore.kernels.text import after_lines, atom_lines, columns, fields, records


def as_bytes(text: bytes) -> np.ndarray:
    return np.frombuffer(text, np.uint8)


def one(text: bytes) -> float | None:
    values = np.empty((1, 1))
    return float(values[0, 0]) if columns(as_bytes(text), np.array([0]), 1, values) < 0 else None


@given(
    st.floats(allow_nan=False, allow_infinity=False), st.sampled_from(["%.6g", "%.3f", "%.9e", "%12.7f", "%g", "%+.4f"])
)
def test_numbers_as_programs_write_them_are_those_of_python(value: float, form: str) -> None:
    text = (form % value).encode()
    found = one(text)
    assert found is not None
    expected = float(text)
    digits = sum(48 <= byte < 58 for byte in text.split(b"e")[0])
    if digits <= 15 and (expected == 0 or 1e-15 < abs(expected) < 1e15):
        assert found == expected
    elif math.isinf(found) or abs(expected) < 1e-290:
        assert abs(expected) > 1e290 or abs(found) < 1e-289
    else:
        assert found == pytest.approx(expected, rel=1e-14)


@given(st.floats(-1e6, 1e6))
def test_float32_of_a_number_with_all_digits_is_that_of_python(value: float) -> None:
    assert np.float32(one(repr(value).encode())) == np.float32(value)


@given(st.text("0123456789+-.eEdnaif_x \0", max_size=8).map(str.encode))
def test_what_python_does_not_take_for_a_number_is_none(text: bytes) -> None:
    found = one(text)
    if found is None:
        return
    expected = float(text.replace(b"d", b"e"))
    assert found == pytest.approx(expected, rel=1e-14, nan_ok=True)
    assert b"_" not in text


@pytest.mark.parametrize(
    "text", [b"", b"-", b".", b"+.e3", b"1e", b"1e+", b"1.2.3", b"0x10", b"1_0", b"nano", b"1\0", b"infin", b"1,5"]
)
def test_these_are_no_numbers(text: bytes) -> None:
    assert one(text) is None


@pytest.mark.parametrize("text", [b"nan", b"-NaN", b"inf", b"-Infinity", b"1e999", b"1e99999999999999999999"])
def test_these_are_numbers_that_are_not_finite(text: bytes) -> None:
    found = one(text)
    assert found is not None
    assert not math.isfinite(found)


@pytest.mark.parametrize("text", [b"1e-999", b"0e9999999", b"-0.0"])
def test_these_are_zero(text: bytes) -> None:
    assert one(text) == 0


def test_a_line_with_too_few_or_too_many_columns_is_named() -> None:
    values = np.empty((3, 2))
    wanted = np.array([0, 2])
    for wrong in (b"4 5", b"4 5 6 7", b"", b"4 x", b"x 5 6"):
        assert columns(as_bytes(b"1 2 3\n" + wrong + b"\n7 8 9\n"), wanted, 3, values) == 1
    assert columns(as_bytes(b"1 2 3\r\n\t4  x 6 \r\n7 8 9"), wanted, 3, values) == -1
    assert values.tolist() == [[1, 3], [4, 6], [7, 9]]
    assert columns(as_bytes(b"1 2 3\n"), wanted, 3, values) == 1


def test_a_field_does_not_reach_beyond_its_line() -> None:
    values = np.empty((1, 2))
    for text in (b"ab1.00\n2.00", b"a\n1.002.00", b"ab1.00", b"ab1.00 2 0", b"ab    2.00", b"ab1.00 x  "):
        assert fields(as_bytes(text), np.array([0]), 2, 4, values) == 0
    assert fields(as_bytes(b"ab1.00  -2"), np.array([0]), 2, 4, values) == -1
    assert values.tolist() == [[1, -2]]


@given(st.binary(max_size=600).map(lambda raw: raw.replace(b"\x07", b"\n" * 3)), st.integers(0, 40), st.integers(0, 5))
def test_lines_are_counted_as_python_splits_them(text: bytes, lines: int, start: int) -> None:
    start = min(start, len(text))
    position, passed = after_lines(as_bytes(text), start, len(text), lines)
    ends = [k + 1 for k in range(start, len(text)) if text[k : k + 1] == b"\n"]
    assert passed == min(lines, len(ends))
    assert position == (ends[passed - 1] if passed else start)


@given(
    st.lists(
        st.sampled_from([b"ATOM  1", b"HETATM", b"TER", b"HETA", b"", b"REMARK", b"CONECT", b"MASTER"]), max_size=9
    )
)
def test_atoms_are_counted_up_to_what_matters(lines: list[bytes]) -> None:
    text = b"".join(line + b"\n" for line in lines)
    atoms = [k for k, line in enumerate(lines) if line.startswith((b"ATOM", b"HETATM"))]
    for end in (b"ENDMDL\n", b"MODEL 1\n", b"CRYST1\n", b"TITLE x\n"):
        assert records(as_bytes(text + end), 0, len(text + end)) == (len(text), len(atoms), True)
    assert records(as_bytes(text + b"ATOM"), 0, len(text) + 4) == (len(text), len(atoms), False)
    starts = np.empty(len(atoms), np.int64)
    assert atom_lines(as_bytes(text), starts) == len(atoms)
    assert starts.tolist() == [sum(len(line) + 1 for line in lines[:k]) for k in atoms]
