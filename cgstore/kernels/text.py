"""Numbers written as text: lines counted, and columns of numbers parsed, in bytes that may hold anything.

Nothing outside `data` is read and nothing outside `values` is written, whatever the bytes are. A number is
`[+-]digits[.digits][e[+-]digits]`, `nan` or `inf`. One of at most 17 digits and an exponent within ±22 is the nearest
float64 or the one beside it (the nearest for up to 15 digits, as Python's `float` has it); others have an error of a
few units in the last place, which float32 does not see.
"""

import numpy as np
from numba import njit

__all__ = ["after_lines", "atom_lines", "columns", "fields", "records"]

_TAB, _RETURN = 9, 13  # the first and the last of the control characters that are white space
_NEWLINE, _BLANK, _PLUS, _MINUS, _POINT, _ZERO = 10, 32, 43, 45, 46, 48
_BLOCK = 128
_FULL = 10**17  # a mantissa from here on takes no more digits: the next would be the nineteenth
_POWERS = 10.0 ** np.arange(23)  # exact
_LONGEST = np.int64(5000)  # exponents beyond make zero or infinity


@njit(nogil=True, cache=True, error_model="numpy")
def _white(byte):  # type: ignore[no-untyped-def]
    """Tell whether a byte is white space."""
    return byte == _BLANK or _TAB <= byte <= _RETURN


@njit(nogil=True, cache=True, error_model="numpy")
def _word(data, at, stop):  # type: ignore[no-untyped-def]
    """Read `nan`, `inf` or `infinity` in any case; return the value and where it ends, -1 when it is neither."""
    end = at
    while end < stop and (97 <= (data[end] | 32) <= 122):
        end += 1
    length = end - at
    if length == 3 or length == 8:
        a, b, c = data[at] | 32, data[at + 1] | 32, data[at + 2] | 32
        if length == 3 and a == 110 and b == 97 and c == 110:
            return np.nan, end
        if a == 105 and b == 110 and c == 102:
            return np.inf, end
    return 0.0, -1


@njit(nogil=True, cache=True, error_model="numpy")
def _exponent(data, at, stop):  # type: ignore[no-untyped-def]
    """Read the exponent behind an e; return it and where it ends, -1 when there is none."""
    down = at < stop and data[at] == _MINUS
    if at < stop and (down or data[at] == _PLUS):
        at += 1
    begin = at
    exponent = np.int64(0)
    while at < stop:
        digit = np.int64(data[at]) - _ZERO
        if digit < 0 or digit > 9:
            break
        exponent = min(exponent * 10 + digit, _LONGEST)
        at += 1
    return -exponent if down else exponent, at if at > begin else -1


@njit(nogil=True, cache=True, error_model="numpy")
def _scaled(value, power):  # type: ignore[no-untyped-def]
    """Return value * 10^power."""
    while power < -22:
        value /= _POWERS[22]
        power += 22
    while power > 22:
        value *= _POWERS[22]
        power -= 22
    return value / _POWERS[-power] if power < 0 else value * _POWERS[power]


@njit(nogil=True, cache=True, error_model="numpy")
def _number(data, at, stop):  # type: ignore[no-untyped-def]
    """Read the number that begins at `at`; return it and where it ends, -1 when there is none."""
    sign = 1.0
    if at < stop and (data[at] == _MINUS or data[at] == _PLUS):
        sign = -1.0 if data[at] == _MINUS else 1.0
        at += 1
    begin, point = at, 0
    mantissa, power = np.int64(0), np.int64(0)
    while at < stop:
        digit = np.int64(data[at]) - _ZERO
        if digit < 0 or digit > 9:
            if data[at] != _POINT or point:
                break
            point = 1
        elif mantissa < _FULL:
            mantissa = mantissa * 10 + digit
            power -= point
        else:
            power += 1 - point
        at += 1
    if at - begin == point:  # no digit
        value, at = _word(data, at, stop)
        return sign * value, -1 if point else at
    if at < stop and ((data[at] | 32) == 101 or (data[at] | 32) == 100):  # e, and d of Fortran
        exponent, at = _exponent(data, at + 1, stop)
        power += exponent
    return sign * _scaled(np.float64(mantissa), power), at


@njit(nogil=True, cache=True, error_model="numpy")
def after_lines(data, start, stop, lines):  # type: ignore[no-untyped-def]
    """Pass over complete lines.

    Parameters
    ----------
    data : (byte,) uint8
    start, stop : which bytes are looked at
    lines : how many line ends to pass

    Returns
    -------
    where the next line begins, and how many line ends were passed: fewer than `lines` when the bytes ended

    Examples
    --------
    >>> after_lines(np.frombuffer(b"one\\ntwo\\nthree", np.uint8), 0, 13, 5)
    (8, 2)
    """
    passed, at = 0, start
    # Blocks first: how many line ends a block has is found much faster than where they are.
    while at + _BLOCK <= stop:
        ends = 0
        for byte in data[at : at + _BLOCK]:
            ends += byte == _NEWLINE
        if passed + ends >= lines:
            break
        passed += ends
        at += _BLOCK
    begin = at
    while at < stop and passed < lines:
        if data[at] == _NEWLINE:
            passed += 1
            begin = at + 1
        at += 1
    # The bytes ended: the last line end lies before the block that was looked at last.
    if passed < lines:
        begin = stop
        while begin > start and data[begin - 1] != _NEWLINE:
            begin -= 1
    return begin, passed


@njit(nogil=True, cache=True, error_model="numpy")
def columns(data, wanted, width, values):  # type: ignore[no-untyped-def]
    """Parse columns of a table whose cells are separated by blanks.

    Parameters
    ----------
    data : (byte,) uint8; lines, one per row
    wanted : (column,) int64, ascending; which columns are parsed, counted from 0
    width : how many columns every line has
    values : (row, column) float64, written

    Returns
    -------
    the first row that has another number of columns or no number in a wanted one, -1 when all are sound

    Examples
    --------
    >>> table = np.empty((2, 2))
    >>> columns(np.frombuffer(b"C 1 2.5 -3e1\\nC 4 5.0 6\\n", np.uint8), np.array([1, 3]), 4, table)
    -1
    >>> table.tolist()
    [[1.0, -30.0], [4.0, 6.0]]
    """
    stop, at = data.shape[0], 0
    for row in range(values.shape[0]):
        column, pick = 0, 0
        while True:
            while at < stop and _white(data[at]) and data[at] != _NEWLINE:
                at += 1
            if at == stop or data[at] == _NEWLINE:
                break
            if pick < wanted.shape[0] and wanted[pick] == column:
                value, at = _number(data, at, stop)
                if at < 0 or (at < stop and not _white(data[at])):
                    return row
                values[row, pick] = value
                pick += 1
            else:
                while at < stop and not _white(data[at]):
                    at += 1
            column += 1
        if column != width:
            return row
        at += 1
    return -1


@njit(nogil=True, cache=True, error_model="numpy")
def fields(data, starts, first, width, values):  # type: ignore[no-untyped-def]
    """Parse numbers in fields of equal width that follow each other without separators.

    Parameters
    ----------
    data : (byte,) uint8
    starts : (row,) int64; where each line begins
    first : where in a line the first field begins
    width : characters of a field
    values : (row, field) float64, written

    Returns
    -------
    the first row that is too short or has anything but one number in a field, -1 when all are sound

    Examples
    --------
    >>> table = np.empty((1, 3))
    >>> fields(np.frombuffer(b"ATOM  1.00-12.50  3.25\\n", np.uint8), np.array([0]), 4, 6, table)
    -1
    >>> table.tolist()
    [[1.0, -12.5, 3.25]]
    """
    size = data.shape[0]
    for row in range(values.shape[0]):
        at = starts[row] + first
        if at + width * values.shape[1] > size:
            return row
        # A field never reaches into the next line: its end is a control character, which no number has.
        for place in range(starts[row], at):
            if data[place] == _NEWLINE:
                return row
        for field in range(values.shape[1]):
            stop = at + width
            while at < stop and data[at] == _BLANK:
                at += 1
            value, end = _number(data, at, stop)
            if end < 0:
                return row
            while end < stop:
                if data[end] != _BLANK:
                    return row
                end += 1
            values[row, field] = value
            at = stop
    return -1


@njit(nogil=True, cache=True, error_model="numpy")
def _atom(data, at, stop):  # type: ignore[no-untyped-def]
    """Tell whether a line begins with ATOM or HETATM."""
    if stop - at >= 4 and data[at] == 65 and data[at + 1] == 84 and data[at + 2] == 79 and data[at + 3] == 77:
        return True
    if stop - at < 6 or data[at] != 72 or data[at + 1] != 69 or data[at + 2] != 84:
        return False
    return data[at + 3] == 65 and data[at + 4] == 84 and data[at + 5] == 77


@njit(nogil=True, cache=True, error_model="numpy")
def records(data, start, stop):  # type: ignore[no-untyped-def]
    """Pass over the lines of a PDB file up to one that begins like MODEL, END, CRYST1 or TITLE.

    Parameters
    ----------
    data : (byte,) uint8
    start, stop : which bytes are looked at; a line begins at `start`

    Returns
    -------
    where that line begins, or the first line without an end, how many lines began with ATOM or HETATM, and whether
    such a line was found

    Examples
    --------
    >>> records(np.frombuffer(b"REMARK\\nATOM\\nHETATM\\nENDMDL\\n", np.uint8), 0, 26)
    (19, 2, True)
    """
    at, atoms = start, 0
    while at < stop:
        end = at
        while end < stop and data[end] != _NEWLINE:
            end += 1
        if end == stop:
            break
        if _atom(data, at, end):
            atoms += 1
        elif end - at >= 3:
            one, two = data[at], data[at + 1]
            # MO, EN, CR, TI
            if (one == 77 and two == 79) or (one == 69 and two == 78) or (one == 67 and two == 82):
                return at, atoms, True
            if one == 84 and two == 73:
                return at, atoms, True
        at = end + 1
    return at, atoms, False


@njit(nogil=True, cache=True, error_model="numpy")
def atom_lines(data, starts):  # type: ignore[no-untyped-def]
    """List where the lines begin that start with ATOM or HETATM.

    Parameters
    ----------
    data : (byte,) uint8; lines
    starts : (row,) int64, written

    Returns
    -------
    how many there are; those beyond the length of `starts` are counted but not listed

    Examples
    --------
    >>> starts = np.empty(2, np.int64)
    >>> atom_lines(np.frombuffer(b"ATOM 1\\nTER\\nHETATM 2\\n", np.uint8), starts), starts.tolist()
    (2, [0, 11])
    """
    at, stop, found = 0, data.shape[0], 0
    while at < stop:
        if _atom(data, at, stop):
            if found < starts.shape[0]:
                starts[found] = at
            found += 1
        while at < stop and data[at] != _NEWLINE:
            at += 1
        at += 1
    return found
