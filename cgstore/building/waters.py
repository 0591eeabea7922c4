"""Waters: the rigid SPC model, and equilibrated water cut to a block around what is there already."""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cgstore.errors import MissingExtra

__all__ = ["SPC_MOLECULE", "SPC_TYPES", "WATER", "clear_of", "waters_in"]

Float = NDArray[np.float64]

WATER = "HOH"  # the kind of molecule and its residue; atoms O, H1, H2

# SPC: Berendsen et al. 1981, doi:10.1007/978-94-015-7658-1_21
SPC_TYPES = """\
SPC_O 8 15.9994 0.0 A 0.316557 0.650194
SPC_H 1 1.008 0.0 A 0 0
"""
SPC_MOLECULE = f"""\
[ moleculetype ]
{WATER} 2

[ atoms ]
1 SPC_O 1 {WATER} O 1 -0.82 15.9994
2 SPC_H 1 {WATER} H1 1 0.41 1.008
3 SPC_H 1 {WATER} H2 1 0.41 1.008

[ settles ]
1 1 0.1 0.16330

[ exclusions ]
1 2 3
2 1 3
3 1 2

"""

_NEAR = 0.24  # nm, from any atom of the water to any that is there; hydrogen bonds are shorter, and form by themselves
_TOUCHING = 0.14  # nm; of the sites of two molecules in the liquid none are closer


@cache
def _shipped(model: str) -> tuple[Float, Float]:
    """Return the molecules (molecule, site, xyz) nm of a box of water that OpenMM ships, and its edges."""
    try:
        from openmm import app, unit
    except ImportError as error:
        raise MissingExtra.of("openmm", extra="simulate", purpose="Water around a particle") from error
    pdb = app.PDBFile(str(Path(app.__file__).parent / "data" / f"{model}.pdb"))
    position = np.array(pdb.getPositions(asNumpy=True).value_in_unit(unit.nanometer), np.float64)
    edges = np.diag(pdb.topology.getPeriodicBoxVectors().value_in_unit(unit.nanometer)).astype(np.float64)
    molecules = position.reshape(-1, 3, 3)
    return molecules - np.floor(molecules[:, :1] / edges) * edges, edges


def waters_in(low: Float, high: Float, *, around: Float, box: Float, model: str) -> Float:
    """Return molecules of equilibrated water in a block, without those that touch what is there or each other.

    Parameters
    ----------
    low, high : (xyz) nm, corners of the block
    around : (atom, xyz) nm, what is there
    box : (xyz) nm, edges of the periodic box, across which nothing may touch either
    model : whose geometry the molecules have, and whose box of OpenMM they are cut from: "tip3p" or "spce", which has
        the geometry of SPC

    Returns
    -------
    molecules : (molecule, site, xyz) nm; oxygen, hydrogen, hydrogen

    Raises
    ------
    MissingExtra : OpenMM is not installed
    """
    shipped, edges = _shipped(model)
    counts = np.ceil((high - low) / edges).astype(int)
    cells = np.stack(np.meshgrid(*[np.arange(n) for n in counts], indexing="ij"), axis=-1).reshape(-1, 1, 1, 3)
    molecules = (shipped + cells * edges).reshape(-1, 3, 3) + low
    molecules = molecules[(molecules[:, 0] < high).all(axis=1)]
    molecules = molecules[clear_of(molecules, around, box)]
    close = {
        (i // 3, j // 3) for i, j in _tree(molecules.reshape(-1, 3), box).query_pairs(_TOUCHING) if i // 3 != j // 3
    }
    kept = np.ones(len(molecules), bool)
    for first, second in sorted(close | _tree(molecules[:, 0], box).query_pairs(_NEAR)):
        kept[second] &= not kept[first]
    return np.asarray(molecules[kept])


def clear_of(molecules: Float, around: Float, box: Float) -> NDArray[np.bool_]:
    """Say which molecules, (molecule, site, xyz), keep away from what is there, in a periodic box."""
    nearest = _tree(around, box).query(_wrapped(molecules, box).reshape(-1, 3), distance_upper_bound=_NEAR)[0]
    return np.asarray(np.isinf(nearest).reshape(-1, 3).all(axis=1))


def _tree(position: Float, box: Float) -> Any:
    """Return a tree for finding neighbours in a periodic box."""
    from scipy.spatial import cKDTree

    return cKDTree(_wrapped(position, box), boxsize=box)


def _wrapped(position: Float, box: Float) -> Float:
    """Return the images of positions in the box, its far faces left out, as the search for neighbours wants them."""
    inside = position - np.floor(position / box) * box
    return np.where(inside >= box, 0.0, inside)
