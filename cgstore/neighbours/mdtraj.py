"""mdtraj: a dataset as a trajectory in memory."""

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cgstore.catalog import Entry
from cgstore.errors import MissingExtra
from cgstore.neighbours.addresses import dataset_of
from cgstore.neighbours.cells import lengths_and_angles, require_aligned
from cgstore.neighbours.elements import elements_of
from cgstore.neighbours.residues import runs
from cgstore.schema import check_dataset, topology_of
from cgstore.topology import Topology

__all__ = ["to_mdtraj"]


def to_mdtraj(source: xr.Dataset | Entry | str) -> Any:
    """Return a dataset as an `mdtraj.Trajectory`: nm, ps and degrees, as they are here.

    All its frames come into memory, 12 bytes per particle and frame: choose them before, by `ds.isel(frame=…)`.
    Velocities, forces, masses, charges, angles and dihedrals have no place in a trajectory of mdtraj and stay behind.

    Parameters
    ----------
    source : a dataset, an entry of a catalog, or an address such as `"store::dmpc_303k/r1/cg"`

    Returns
    -------
    Trajectory : its chains are the molecules; the element of beads is `mdtraj.element.virtual`, which has no mass

    Raises
    ------
    InputError : the dataset does not fit the schema, or has boxes that lengths and angles do not describe
    MissingExtra : mdtraj is not installed
    """
    try:
        import mdtraj
    except ImportError as error:
        raise MissingExtra.of("mdtraj", extra="neighbours", purpose="cgstore.to_mdtraj") from error
    ds = check_dataset(dataset_of(source))
    topology = topology_of(ds)
    element = elements_of(topology.name, topology.mass, ds.attrs.get("level"))
    loaded = ds[[name for name in ("position", "box") if name in ds]].compute()
    lengths = angles = None
    if "box" in loaded:
        require_aligned(loaded["box"].values, f"{ds.attrs.get('name', 'dataset')} in mdtraj")
        lengths, angles = lengths_and_angles(loaded["box"].values)
    return mdtraj.Trajectory(
        np.asarray(loaded["position"].values, np.float32),
        _topology(topology, element, mdtraj),
        time=ds["time"].values if "time" in ds else None,
        unitcell_lengths=lengths,
        unitcell_angles=angles,
    )


def _topology(topology: Topology, element: NDArray[np.str_], mdtraj: Any) -> Any:
    """Return the static part as mdtraj keeps it: chains of residues of atoms, and bonds between atoms."""
    made = mdtraj.Topology()
    known = {"": mdtraj.element.virtual}
    known |= {symbol: mdtraj.element.get_by_symbol(symbol) for symbol in set(element.tolist()) - {""}}
    residues, chains = runs(topology)
    chain = residue = None
    atoms = []
    for k in range(len(topology)):
        if k == 0 or chains[k] != chains[k - 1]:
            chain = made.add_chain()
        if k == 0 or residues[k] != residues[k - 1]:
            residue = made.add_residue(str(topology.residue[k]), chain, resSeq=int(topology.residue_id[k]))
        atoms.append(made.add_atom(str(topology.name[k]), known[str(element[k])], residue))
    for one, other in topology.bond.tolist():
        made.add_bond(atoms[one], atoms[other])
    return made
