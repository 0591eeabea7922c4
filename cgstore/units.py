"""Quantities written with their unit, `"20 ns"`, to numbers in the units of cgstore.

Inside cgstore every number is in nm, ps, kJ/mol, u, e, K, bar, degree; this is the only module that converts.
"""

import math
import re
from functools import cache
from typing import Any

from cgstore.errors import InputError

__all__ = ["BAR", "BOLTZMANN", "UNITS", "parse_quantity"]

BOLTZMANN = 0.008314462618  # kJ/mol/K, the molar gas constant (CODATA 2018, exact)
BAR = 16.6053906717  # bar in one kJ/mol/nm³

UNITS = {
    "time": "ps",
    "length": "nm",
    "energy": "kJ/mol",
    "mass": "u",
    "charge": "e",
    "temperature": "K",
    "pressure": "bar",
    "angle": "degree",
}


# pint would take what it does not know for nothing, "? u" for one u, and "3 4 u" for twelve.
_QUANTITY = re.compile(
    r"\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*[^\W\d_][\w/*^ .-]{0,40}|\s*[-+]?\d+\.?\d*\s*°C?\s*"
)


@cache
def _registry() -> Any:
    """Load pint on first use: it takes a quarter of a second, which `cgstore --help` does not need."""
    import pint

    return pint.UnitRegistry(autoconvert_offset_to_baseunit=True, cache_folder=None)


def parse_quantity(text: object, kind: str) -> float:
    """Read a quantity such as `"20 ns"` as a number in the unit that cgstore uses for its kind.

    Parameters
    ----------
    text : a string of a number and a unit
    kind : one of `UNITS`: time, length, energy, mass, charge, temperature, pressure, angle

    Raises
    ------
    InputError : no string, no number or one that is too large, no unit, or a unit of another kind

    Examples
    --------
    >>> parse_quantity("20 ns", "time")
    20000.0
    >>> parse_quantity("1.2 angstrom", "length")
    0.12
    >>> parse_quantity("? u", "mass")
    Traceback (most recent call last):
    cgstore.errors.InputError: found '? u', expected a mass with its unit; write for example "20 u"
    """
    unit = UNITS[kind]
    article = "an" if kind[0] in "ae" else "a"
    hint = f'found {text!r}, expected {article} {kind} with its unit; write for example "20 {unit}"'
    if not isinstance(text, str) or not _QUANTITY.fullmatch(text):
        raise InputError(hint)
    import pint

    try:
        quantity = _registry().Quantity(text)
        number = float(quantity.to(unit.replace("/mol", " / mole")).magnitude)
    except (pint.PintError, ArithmeticError, AttributeError, TypeError, ValueError, AssertionError) as error:
        raise InputError(hint) from error
    if not math.isfinite(number):  # "1e400 ns"
        raise InputError(f"found {text!r}, expected {article} {kind} that is not too large to be a number")
    # Unit conversion leaves one or two ulp; what the user typed has at most 12 digits.
    return float(f"{number:.12g}")
