"""Bonds guessed from distances, for topology files that list none: only where the user asks for it."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cgstore.errors import InputError
from cgstore.readers.elements import elements_of
from cgstore.readers.stated_topologies import Stated

__all__ = ["guessed_bonds"]

_FACTOR = 0.55  # two atoms are bonded when nearer than this share of the sum of their van der Waals radii
_NEAREST = 0.01  # nm; what is nearer is one atom listed twice, or a site on top of its atom


def guessed_bonds(stated: Stated, mass: NDArray[np.float64], path: Path) -> NDArray[np.int64]:
    """Return the pairs of particles that are as near as bonded atoms are, in any box.

    Parameters
    ----------
    stated : with positions (nm) and elements, stated or certain from the names; massless particles get no bond
    mass : (particle,) u
    path : of the file, for messages

    Returns
    -------
    (bond, 2)

    Raises
    ------
    InputError : the file has no positions; an element is unknown, or has no known radius
    """
    if stated.position is None:
        raise InputError(f"{path}: guess_bonds   bonds can only be guessed from a file with positions (gro, pdb, …)")
    from MDAnalysis.guesser.tables import vdwradii
    from MDAnalysis.lib.distances import self_capped_distance
    from MDAnalysis.lib.mdamath import triclinic_box

    symbol = elements_of(stated)
    radius_of = {one: vdwradii.get(one.upper(), np.nan) / 10 for one in set(symbol.tolist())}
    radius = np.array([radius_of[one] for one in symbol.tolist()])  # nm
    heavy = mass > 0
    if (unknown := heavy & np.isnan(radius)).any():
        names = sorted({str(name) for name in stated.name[unknown]})
        raise InputError(
            f"{path}: guess_bonds   no element, or no radius of it, is known for {', '.join(names[:8])}; "
            "give a topology that lists the bonds (tpr, psf, prmtop, LAMMPS data)"
        )
    chosen = np.flatnonzero(heavy)
    if len(chosen) < 2:
        return np.empty((0, 2), np.int64)
    box = None
    if stated.box is not None and abs(np.linalg.det(stated.box)) > 0:
        box = triclinic_box(*stated.box).astype(np.float32)
    reach = 2 * _FACTOR * float(radius[chosen].max())
    position = stated.position[chosen].astype(np.float32)
    pairs, distance = self_capped_distance(position, max_cutoff=reach, min_cutoff=_NEAREST, box=box)
    near = distance < _FACTOR * (radius[chosen][pairs[:, 0]] + radius[chosen][pairs[:, 1]])
    return np.asarray(chosen[pairs[near]], np.int64)
