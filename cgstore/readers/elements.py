"""Masses of particles: those that are stated, those of the elements, and a refusal where neither is certain.

GRO and many PDB files have no masses, and the name of a particle says only in an all-atom model what it weighs: a
united CH2 is called C like a carbon, and so is a bead of four carbons. What is certain is therefore decided residue
by residue, for files without an element column:

* a residue with at least two carbons, no fewer of them than of other elements, and not a single hydrogen is made of
  united atoms or beads;
* a particle that is alone in its residue is an ion or a noble gas, never a lone C, N, O, P, S, B or H; a PO4 there is
  no polonium, a W no tungsten, and a CA is calcium only in a residue called so;
* in a file without any hydrogen, one particle without an element makes all others uncertain too, even if its own
  mass is stated: the ions of a coarse-grained model are called like bare ones and weigh more.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cgstore.documents import did_you_mean
from cgstore.errors import InputError
from cgstore.readers.stated_topologies import Stated

__all__ = ["MassesMissing", "elements_of", "masses_of"]

Text = NDArray[np.str_]
Float = NDArray[np.float64]

# Two-letter elements that an atom of a larger residue can be called after; CA, CD, HG, NA … are C, C, H, N there.
_TWO_LETTERS = ("Ag", "Al", "Au", "Br", "Cl", "Cu", "Fe", "Li", "Mg", "Mn", "Pt", "Se", "Si", "Ti", "Zn")
_ONE_LETTER = "BCFHINOPS"
# Ions and noble gases, which are found alone in their residue.
_ALONE = (
    *("HE", "NE", "AR", "KR", "XE", "F", "CL", "BR", "I", "LI", "NA", "K", "RB", "CS", "BE", "MG", "CA", "SR", "BA"),
    *("AL", "MN", "FE", "NI", "CU", "ZN", "CD", "HG", "PB", "AG", "AU"),
)
# Ions as CHARMM calls them.
_IONS = {
    "SOD": "Na",
    "POT": "K",
    "CLA": "Cl",
    "CAL": "Ca",
    "CES": "Cs",
    "LIT": "Li",
    "RUB": "Rb",
    "BAR": "Ba",
    "CAD": "Cd",
}
_SITE = ""  # the "element" of a massless site of a water model
_WATER_SITES = re.compile(r"M|MW\d?|EPW?\d?|LP\d?|L[12]")


class MassesMissing(InputError):
    """A topology has neither masses nor certain elements for the particles of these names."""

    def __init__(self, message: str, names: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.names = tuple(names)


def masses_of(stated: Stated, masses: Mapping[str, float], path: Path) -> Float:
    """Return the mass of each particle.

    Parameters
    ----------
    stated : what the topology file says
    masses : u, by particle name or type; they win over everything else
    path : of the file, for messages

    Returns
    -------
    (particle,) u

    Raises
    ------
    InputError : a name in `masses` is in the file neither as a name nor as a type; a particle has no certain mass, or
        one that is negative or not finite
    """
    kinds = stated.name if stated.type is None else stated.type
    known = {*stated.name.tolist(), *kinds.tolist()}
    if unused := [name for name in masses if name not in known]:
        hint = did_you_mean(unused[0], known)
        raise InputError(
            f'{path}: masses   found "{unused[0]}", no particle has this name or type{hint if len(hint) < 200 else ""}'
        )
    given = np.array(
        [masses.get(n, masses.get(t, np.nan)) for n, t in zip(stated.name.tolist(), kinds.tolist(), strict=True)]
    )
    open_ = np.isnan(given)
    if open_.any():
        given[open_] = (_of_elements(stated, open_, path) if stated.mass is None else stated.mass)[open_]
    if not (np.isfinite(given).all() and (given >= 0).all()):
        wrong = int(np.argmin(np.isfinite(given) & (given >= 0)))
        raise InputError(
            f"{path}: particle {wrong + 1} ({stated.name[wrong]}) has the mass {given[wrong]:g} u; "
            f'the file is damaged, or state it: [masses] {stated.name[wrong]} = "… u"'
        )
    return given


def _of_elements(stated: Stated, wanted: NDArray[np.bool_], path: Path) -> Float:
    """Return the masses of the elements, refusing what is not certain among the wanted particles."""
    from MDAnalysis.guesser.tables import masses as table

    symbol = elements_of(stated)
    found = {one: table.get(one.upper(), table.get(one.capitalize(), np.nan)) for one in set(symbol.tolist())}
    mass = np.array([found[one] for one in symbol.tolist()], np.float64)
    mass[_sites_of_water(stated, symbol)] = 0.0
    unknown = np.isnan(mass) & wanted
    if np.isnan(mass).any() and not (symbol == "H").any():
        unknown = wanted
    if unknown.any():
        names = sorted({str(name) for name in stated.name[unknown]})
        shown = ", ".join(names[:8]) + (" …" if len(names) > 8 else "")
        raise MassesMissing(
            f"{path}: no masses in the file, and no element is certain for the particles {shown}, which may be beads "
            "or united atoms; use a topology with masses (tpr, psf, prmtop, LAMMPS data), or state them: "
            f'[masses] {names[0]} = "… u"',
            names,
        )
    return mass


def elements_of(stated: Stated) -> Text:
    """Return the element symbol of each particle, empty where none is certain."""
    column = stated.element if stated.element is not None else np.full(len(stated), "")
    residue = np.zeros(len(stated), np.int64)  # in files without residues nothing is alone
    if stated.residue_number is not None:
        _, residue = np.unique(stated.residue_number, return_inverse=True)
    alone = (np.bincount(residue)[residue] == 1) & (stated.residue_number is not None)
    called = stated.residue if stated.residue is not None else column
    keys = list(zip(column.tolist(), stated.name.tolist(), called.tolist(), alone.tolist(), strict=True))
    known = {key: key[0] or _from_name(*key[1:]) for key in set(keys)}
    symbol = np.array([known[key] for key in keys], np.str_)
    carbon, hydrogen = (np.bincount(residue, symbol == one) for one in ("C", "H"))
    others = np.bincount(residue, (symbol != "") & (symbol != "C"))
    united = (carbon >= 2) & (carbon >= others) & (hydrogen == 0)
    return np.where(united[residue] & (column == ""), "", symbol)


def _sites_of_water(stated: Stated, symbol: Text) -> NDArray[np.bool_]:
    """Find the massless sites of water models: what is called M, MW, EP or LP beside one O and two H."""
    if stated.residue_number is None:
        return np.zeros(len(stated), bool)
    _, residue = np.unique(stated.residue_number, return_inverse=True)
    count = {one: np.bincount(residue, symbol == one) for one in ("O", "H")}
    known = np.bincount(residue, symbol != "")
    water = (count["O"] == 1) & (count["H"] == 2) & (known == 3)
    named = np.array([bool(_WATER_SITES.fullmatch(name)) for name in stated.name.tolist()])
    return np.asarray(water[residue] & named & (symbol == ""))


def _from_name(name: str, residue: str, alone: bool) -> str:
    """Return the element that an atom is called after, empty when there is none; `alone` in its residue."""
    letters = re.sub(r"^[^A-Za-z]*([A-Za-z]*).*$", r"\1", name)
    if alone and letters.upper() in _IONS:
        return _IONS[letters.upper()]
    if alone and letters == "CA" and not residue.upper().startswith(("CA", "ION")):
        return ""  # the trace of a protein, not calcium
    if alone:
        return letters if letters.upper() in _ALONE else ""
    if letters[:2].capitalize() in _TWO_LETTERS or letters[1:2].islower():
        return letters[:2]
    first = letters[:1].upper()
    # Backbone beads are called BB, boron atoms B, B1, B2 …; OM is the lone pair of SWM4 water.
    odd = letters == "OM" or (first == "B" and len(letters) > 1)
    return first if first in _ONE_LETTER and not odd else ""
