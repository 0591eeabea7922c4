"""Elements of particles, where they are atoms: the name proposes, the mass decides."""

import re
from functools import cache

import numpy as np
from numpy.typing import NDArray

__all__ = ["elements_of"]

# What simulations are made of; u.
_MASSES = {
    "H": 1.008, "He": 4.003, "Li": 6.94, "B": 10.81, "C": 12.011, "N": 14.007, "O": 15.999, "F": 18.998, "Ne": 20.18,
    "Na": 22.99, "Mg": 24.305, "Al": 26.982, "Si": 28.085, "P": 30.974, "S": 32.06, "Cl": 35.45, "Ar": 39.95,
    "K": 39.098, "Ca": 40.078, "Ti": 47.867, "Mn": 54.938, "Fe": 55.845, "Ni": 58.693, "Cu": 63.546, "Zn": 65.38,
    "Se": 78.971, "Br": 79.904, "Kr": 83.798, "Rb": 85.468, "Ag": 107.868, "Cd": 112.414, "I": 126.904,
    "Xe": 131.293, "Cs": 132.905, "Ba": 137.327, "Pt": 195.084, "Au": 196.967, "Hg": 200.592, "Pb": 207.2,
}  # fmt: skip
# Ions as CHARMM calls them.
_IONS = {"SOD": "Na", "POT": "K", "CLA": "Cl", "CAL": "Ca", "CES": "Cs", "LIT": "Li", "RUB": "Rb", "BAR": "Ba"}
_HEAVIEST_HYDROGEN = 4.2  # u, after repartitioning; what the hydrogens gain their neighbour loses
_LIGHTEST, _HEAVIEST = 0.45, 1.1  # of the mass of the element; a united atom with its hydrogens is heavier


def elements_of(
    name: NDArray[np.str_], mass: NDArray[np.float64], level: str | None
) -> NDArray[np.str_]:  # (particle,)
    """Return the symbols of the elements, empty where a particle is not an atom of a known one.

    Parameters
    ----------
    name : (particle,)
    mass : (particle,) u; repartitioned masses of hydrogens and their neighbours are recognised
    level : of the dataset; particles of other levels than `atoms` (None: not known) are beads, which have no element

    Examples
    --------
    >>> elements_of(np.array(["CA", "CA", "HW1", "CH3", "MW"]), np.array([12.011, 40.08, 3.024, 15.03, 0.0]), "atoms")
    array(['C', 'Ca', 'H', '', ''], dtype='<U2')
    """
    if level not in (None, "atoms"):
        return np.full(len(name), "", "<U2")
    return np.array([_element(str(n), float(m)) for n, m in zip(name, mass, strict=True)], "<U2")


@cache
def _element(name: str, mass: float) -> str:
    """Return the element that fits name and mass best."""
    letters = re.sub(r"^[^A-Za-z]*([A-Za-z]*).*$", r"\1", name)
    if letters[:1].upper() in ("H", "D") and 0.9 < mass < _HEAVIEST_HYDROGEN:
        return "H"
    candidates = {_IONS.get(letters.upper(), ""), letters[:2].capitalize(), letters[:1].upper()} & set(_MASSES)
    fitting = [symbol for symbol in candidates if _LIGHTEST < mass / _MASSES[symbol] < _HEAVIEST]
    return min(fitting, key=lambda symbol: abs(mass - _MASSES[symbol]), default="")
