"""Units as trajectory files state them ("nm ps-1", "kilocalorie/mole/angstrom"), as factors to the units of cgstore.

A table and not a library of units: what stands in a file is not to be trusted with a parser of expressions.
"""

import re

from cgstore.errors import InputError

__all__ = ["DIMENSIONS", "factor_of"]

_AVOGADRO = 6.02214076e23
_JOULE = (2, 1, -2)  # powers of metre, kilogram and second

# name: SI value and powers of (metre, kilogram, second); a mole is a number of things
_BASE: dict[str, tuple[float, tuple[int, int, int]]] = {
    **dict.fromkeys(("m", "meter", "metre"), (1.0, (1, 0, 0))),
    **dict.fromkeys(("nm", "nanometer", "nanometre"), (1e-9, (1, 0, 0))),
    **dict.fromkeys(("pm", "picometer", "picometre"), (1e-12, (1, 0, 0))),
    **dict.fromkeys(("um", "micrometer", "micrometre"), (1e-6, (1, 0, 0))),
    **dict.fromkeys(("a", "å", "angstrom", "ångström", "ångstrom"), (1e-10, (1, 0, 0))),
    **dict.fromkeys(("bohr", "a0"), (5.29177210903e-11, (1, 0, 0))),
    **dict.fromkeys(("s", "sec", "second"), (1.0, (0, 0, 1))),
    **dict.fromkeys(("ms", "millisecond"), (1e-3, (0, 0, 1))),
    **dict.fromkeys(("us", "microsecond"), (1e-6, (0, 0, 1))),
    **dict.fromkeys(("ns", "nanosecond"), (1e-9, (0, 0, 1))),
    **dict.fromkeys(("ps", "picosecond"), (1e-12, (0, 0, 1))),
    **dict.fromkeys(("fs", "femtosecond"), (1e-15, (0, 0, 1))),
    **dict.fromkeys(("kg", "kilogram"), (1.0, (0, 1, 0))),
    **dict.fromkeys(("g", "gram"), (1e-3, (0, 1, 0))),
    **dict.fromkeys(("u", "amu", "da", "dalton"), (1e-3 / _AVOGADRO, (0, 1, 0))),
    **dict.fromkeys(("j", "joule"), (1.0, _JOULE)),
    **dict.fromkeys(("kj", "kilojoule"), (1e3, _JOULE)),
    **dict.fromkeys(("cal", "calorie"), (4.184, _JOULE)),
    **dict.fromkeys(("kcal", "kilocalorie"), (4184.0, _JOULE)),
    **dict.fromkeys(("ev", "electronvolt"), (1.602176634e-19, _JOULE)),
    **dict.fromkeys(("hartree", "eh"), (4.3597447222071e-18, _JOULE)),
    **dict.fromkeys(("n", "newton"), (1.0, (1, 1, -2))),
    **dict.fromkeys(("pn", "piconewton"), (1e-12, (1, 1, -2))),
    **dict.fromkeys(("mol", "mole"), (_AVOGADRO, (0, 0, 0))),
}

# what is measured: the unit of cgstore, its SI value and powers
DIMENSIONS: dict[str, tuple[str, float, tuple[int, int, int]]] = {
    "position": ("nm", 1e-9, (1, 0, 0)),
    "time": ("ps", 1e-12, (0, 0, 1)),
    "velocity": ("nm ps-1", 1e3, (1, 0, -1)),
    "force": ("kJ mol-1 nm-1", 1e12 / _AVOGADRO, (1, 1, -2)),
}
_FACTOR = re.compile(r"([^\W\d_]+|a0)(?:\^|\*\*)?([+-]?[0-9])?", re.IGNORECASE)


def factor_of(unit: str, what: str, place: str) -> float:
    """Return by what numbers in a unit are to be multiplied.

    Parameters
    ----------
    unit : as it stands in the file, in words or symbols, with powers as in `"ps-1"` or with `/`
    what : what is measured, a key of `DIMENSIONS`
    place : where the unit was found, for the message

    Raises
    ------
    InputError : the unit is not known, or is one of something else

    Examples
    --------
    >>> factor_of("Angstrom ps-1", "velocity", "here")
    0.1
    >>> factor_of("kilocalorie/mole/angstrom", "force", "here")
    41.84
    """
    ours, one, dimension = DIMENSIONS[what]
    value, powers = 1.0, (0, 0, 0)
    for k, part in enumerate(unit.strip().lower()[:100].split("/")):
        for word in re.split(r"[\s*·]+(?![*+-]?\d)", part.strip().replace("**", "^")):
            match = _FACTOR.fullmatch(word)
            name = match[1] if match else ""
            size, dims = _BASE.get(name) or _BASE.get(name.removesuffix("s"), (0.0, (0, 0, 0)))
            if not match or not size:
                raise InputError(f'{place}: the unit "{unit[:60]}" is not known; expected one like "{ours}"')
            power = int(match[2] or 1) * (-1 if k else 1)
            value *= size**power
            powers = (powers[0] + power * dims[0], powers[1] + power * dims[1], powers[2] + power * dims[2])
    if powers != dimension or not 0 < value < float("inf"):
        raise InputError(f'{place}: the unit "{unit[:60]}" is not one of {what}; expected one like "{ours}"')
    # The constants and powers leave an ulp or two.
    return float(f"{value / one:.12g}")
