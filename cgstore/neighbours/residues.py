"""Residues and molecules as runs of particles: how other programs order a system."""

import numpy as np
from numpy.typing import NDArray

from cgstore.topology import Topology

__all__ = ["runs"]

Int = NDArray[np.int64]


def runs(topology: Topology) -> tuple[Int, Int]:
    """Number the residues and the stretches of molecules in the order of the particles.

    A residue that other particles interrupt counts anew after them, and so does a molecule: programs that keep
    particles in lists of residues would change their order otherwise.

    Returns
    -------
    residue, chain : (particle,) from 0

    Examples
    --------
    >>> from cgstore.schema import topology_of
    >>> import xarray as xr
    >>> made = {"molecule": [0, 0, 1, 1], "residue_id": [1, 2, 2, 2]}
    >>> ds = xr.Dataset({k: ("particle", v) for k, v in made.items()})
    >>> [numbers.tolist() for numbers in runs(topology_of(ds))]
    [[0, 1, 2, 2], [0, 0, 1, 1]]
    """
    molecule = np.ones(len(topology), bool)
    molecule[1:] = topology.molecule[1:] != topology.molecule[:-1]
    residue = molecule.copy()
    residue[1:] |= topology.residue_id[1:] != topology.residue_id[:-1]
    residue[1:] |= topology.residue[1:] != topology.residue[:-1]
    return np.cumsum(residue) - 1, np.cumsum(molecule) - 1
