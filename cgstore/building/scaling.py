"""Force fields with some of their parameters multiplied: what a sweep over parameters of a molecule simulates.

Text goes in and comes out; only the numbers that a factor is for are written anew.
"""

import math
import re
from collections.abc import Mapping

from cgstore.documents import did_you_mean
from cgstore.errors import InputError

__all__ = ["FACTORS", "scaled"]

FACTORS = {
    "bond_length": "lengths of bonds and constraints",
    "bond_stiffness": "force constants of bonds",
    "angle": "equilibrium angles",
    "angle_stiffness": "force constants of angles",
    "torsion": "energies of proper dihedrals",
    "sigma": "σ of all atom types",
    "epsilon": "ε of all atom types",
}

_BOND = ("bond_length", "bond_stiffness")
_ANGLE = ("angle", "angle_stiffness")
_KEPT = ""  # a number that no factor is for
# Section → number of atoms, and by function the factor of each parameter: harmonic and GROMOS bonds and angles,
# periodic and Ryckaert-Bellemans dihedrals. Impropers (2, 4) keep the shape of a molecule and are no torsions.
_TERMS: dict[str, tuple[int, dict[str, tuple[str, ...]]]] = {
    "bonds": (2, {"1": _BOND, "2": _BOND}),
    "constraints": (2, {"1": _BOND[:1], "2": _BOND[:1]}),
    "angles": (3, {"1": _ANGLE, "2": _ANGLE}),
    "dihedrals": (
        4,
        {
            **dict.fromkeys(("1", "9"), (_KEPT, "torsion", _KEPT)),
            "3": ("torsion",) * 6,
            "2": (_KEPT, _KEPT),
            "4": (_KEPT, _KEPT, _KEPT),
        },
    ),
}
_PLAIN = ("defaults", "moleculetype", "atoms", "exclusions", "system", "molecules")  # without such parameters
_SIGMA_EPSILON = ("2", "3")  # combination rules whose atom types state σ and ε


def scaled(topology: str, factors: Mapping[str, float]) -> str:
    """Multiply parameters of a GROMACS topology whose terms have their parameters beside them.

    Parameters
    ----------
    topology : of a molecule or a system, without preprocessor lines
    factors : some of `FACTORS`, positive; `torsion` may be zero. Without one that is not 1 the text stays as it is

    Raises
    ------
    InputError : a factor is unknown or not positive; a section or function whose parameters would stay behind; an
        equilibrium angle of 180 degrees or more

    Notes
    -----
    What the 1-4 pairs take from atom types (`gen-pairs yes`) scales with these.

    Examples
    --------
    >>> print(scaled("[ bonds ]\\n1 2 1 0.154 224262.4 ; C-C", {"bond_length": 1.1}))
    [ bonds ]
    1 2 1 0.1694 224262.4 ; C-C
    """
    for name, factor in factors.items():
        if name not in FACTORS:
            raise InputError(f"scaling: found the factor {name!r}{did_you_mean(name, FACTORS)}")
        if not (math.isfinite(factor) and (factor > 0 or (factor == 0 and name == "torsion"))):
            raise InputError(f"scaling: found {name} = {factor}, expected a positive number")
    changed = {name: factor for name, factor in factors.items() if factor != 1}
    if not changed:
        return topology
    lines, section, rule = [], "", ""
    for number, line in enumerate(topology.split("\n"), start=1):
        content = line.split(";", 1)[0].strip()
        where = f"topology line {number}"
        if content.startswith("["):
            section = content.strip("[] \t")
        elif content.startswith("#"):
            raise InputError(f"{where}: found {content!r}; write what it includes or defines instead")
        elif content:
            words = content.split()
            rule = words[1] if section == "defaults" and len(words) > 1 else rule
            line = _with(line, _multiplied(words, section, rule, changed, where))
        lines.append(line)
    return "\n".join(lines)


def _multiplied(words: list[str], section: str, rule: str, changed: Mapping[str, float], where: str) -> dict[int, str]:
    """Return the words of a line that change, by their place."""
    place = f"{where} [ {section} ]"
    if section == "atomtypes":
        return _of_type(words, rule, changed, place)
    if section in _TERMS:
        return _of_term(words, section, changed, place)
    if section in _PLAIN or (section == "pairs" and len(words) == 3) or section.startswith("virtual_sites"):
        return {}
    raise InputError(
        f"{place}: found {' '.join(words)!r}, whose parameters have no factor; write a molecule whose terms are in "
        f"{', '.join(f'[ {name} ]' for name in _TERMS)}, and pairs without parameters"
    )


def _of_type(words: list[str], rule: str, changed: Mapping[str, float], place: str) -> dict[int, str]:
    """Return σ and ε of an atom type, the last two words."""
    if not {"sigma", "epsilon"} & set(changed):
        return {}
    if rule not in _SIGMA_EPSILON:
        raise InputError(f"{place}: found combination rule {rule or 'none'}, expected 2 or 3: types with σ and ε")
    last = len(words) - 1
    return {
        index: _times(words[index], changed[name], place)
        for index, name in ((last - 1, "sigma"), (last, "epsilon"))
        if name in changed
    }


def _of_term(words: list[str], section: str, changed: Mapping[str, float], place: str) -> dict[int, str]:
    """Return the parameters of a bonded term that change."""
    atoms, functions = _TERMS[section]
    function = words[atoms] if len(words) > atoms else ""
    if function not in functions:
        raise InputError(f"{place}: found function {function!r}, expected one of {', '.join(functions)}")
    names = functions[function]
    if len(words) != atoms + 1 + len(names):
        raise InputError(f"{place}: found {' '.join(words)!r}, expected {len(names)} parameters after the function")
    new = {
        atoms + 1 + k: _times(words[atoms + 1 + k], changed[name], place)
        for k, name in enumerate(names)
        if name in changed
    }
    if section == "angles" and float(new.get(atoms + 1, "0")) >= 180:
        raise InputError(f"{place}: the angle becomes {new[atoms + 1]} degrees, expected less than 180")
    return new


def _times(word: str, factor: float, place: str) -> str:
    """Multiply a number as it is written."""
    try:
        return f"{float(word) * factor:.9g}"
    except ValueError as error:
        raise InputError(f"{place}: found {word!r}, expected a number") from error


def _with(line: str, new: Mapping[int, str]) -> str:
    """Put words in the place of others; blanks and the comment stay."""
    if not new:
        return line
    content, *comment = line.split(";", 1)
    index = -1

    def word(match: re.Match[str]) -> str:
        nonlocal index
        index += 1
        return new.get(index, match[0])

    return ";".join([re.sub(r"\S+", word, content), *comment])
