"""Hydrated lipid bilayers, cut out of the patches that OpenMM ships."""

from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from cgstore.documents import did_you_mean
from cgstore.errors import InputError, MissingExtra

__all__ = ["BILAYER_FORCEFIELD", "LIPIDS", "PATCH", "bilayer"]

LIPIDS = ("DLPC", "DMPC", "DPPC", "POPC", "DOPC")
PATCH = 64  # lipids in each leaflet of a patch
# Lipid21 (Dickson et al. 2022, doi:10.1021/acs.jctc.1c01217); TIP3P (Jorgensen et al. 1983, doi:10.1063/1.445869) with
# the ions of Joung and Cheatham (2008, doi:10.1021/jp8001614);
# ff14SB (Maier et al. 2015, doi:10.1021/acs.jctc.5b00255).
BILAYER_FORCEFIELD = ("amber19/lipid21.xml", "amber19/tip3p.xml", "amber14/protein.ff14SB.xml")

_WATER = "HOH"
_HYDROGEN = 1.1  # u; heavier atoms are no hydrogens
_SEAM = 0.2  # nm; boxes are so much wider than the area that is cut out, as tails stick out of it
_CLOSE = 0.2  # nm; heavier atoms of two molecules that are nearer overlap
_CENTRES = 6  # places along each edge of the patch, of which that that overlaps least at the seam is cut out
_HALF_LAYER = 0.15  # nm; half the thickness of a layer of water, between the outermost ones and the box

Float = NDArray[np.float64]


def bilayer(lipid: str, *, per_leaflet: int = PATCH, water: int | None = None) -> Any:
    """Return a hydrated bilayer of one lipid as `openmm.app.Modeller`, in a box whose middle it spans.

    Parameters
    ----------
    lipid : one of `LIPIDS`
    per_leaflet : lipids in each leaflet, at most `PATCH`; a square is cut out of the patch for fewer
    water : molecules per lipid, those nearest to the lipids; all of the patch by default, 30 or 40

    Returns
    -------
    modeller : lipids, then water; residues are called as the lipid, "DMPC", and "HOH"; molecules are whole

    Raises
    ------
    InputError : no such lipid, or more lipids or water than the patch has
    MissingExtra : OpenMM is not installed

    Notes
    -----
    Patches have 64 lipids per leaflet. That of DPPC is a gel (0.50 nm² per lipid), which needs tens of nanoseconds
    above its transition to melt; the others are fluid. Names are those of Lipid21: what a patch calls 0C21 is C210.
    """
    if lipid not in LIPIDS:
        raise InputError(f"found the lipid {lipid!r}{did_you_mean(lipid, LIPIDS)}; expected {' | '.join(LIPIDS)}")
    if not 1 <= per_leaflet <= PATCH:
        raise InputError(f"found {per_leaflet} lipids per leaflet, expected 1 to {PATCH}, which is what the patch has")
    topology, position, box = _patch(lipid)
    lipids = [residue for residue in topology.residues() if residue.name != _WATER]
    waters = [residue for residue in topology.residues() if residue.name == _WATER]
    edges = np.array([*(box[:2] if per_leaflet == PATCH else box[:2] * (per_leaflet / PATCH) ** 0.5 + _SEAM), box[2]])
    chosen, middle, heavy = _cut(lipids, position, box, edges, per_leaflet)
    beside = position[[_oxygen(residue) for residue in waters]] - middle
    beside -= box * np.round(beside / box)
    inside = np.flatnonzero((np.abs(beside) <= edges / 2).all(axis=1))
    free = cKDTree(heavy % edges, boxsize=edges).query(beside[inside] % edges)[0] > _CLOSE
    edges[2], wet = _layer(np.abs(beside[inside[free], 2]), box[2], None if water is None else 2 * water * per_leaflet)
    parts = [(residue, lipid, position[_atoms(residue)].mean(0) - middle) for residue in chosen]
    parts += [(waters[k], _WATER, position[_oxygen(waters[k])] - middle) for k in inside[free][wet].tolist()]
    return _assemble(topology, parts, position - middle, old=box, new=edges)


@lru_cache(maxsize=1)  # read once for many systems; nobody changes it
def _patch(lipid: str) -> tuple[Any, Float, Float]:
    """Read a patch: its topology, positions and edges in nm."""
    try:
        from openmm import app, unit
    except ImportError as error:
        raise MissingExtra.of("openmm", extra="simulate", purpose="building a bilayer") from error
    file = app.PDBFile(str(Path(app.__file__).parent / "data" / f"{lipid}.pdb"))
    edges = file.topology.getUnitCellDimensions().value_in_unit(unit.nanometer)
    return file.topology, np.array(file.positions.value_in_unit(unit.nanometer)), np.array(edges)


def _atoms(residue: Any) -> list[int]:
    """Return the indices of the atoms of a residue."""
    return [atom.index for atom in residue.atoms()]


def _oxygen(residue: Any) -> int:
    """Return the index of the oxygen of a water."""
    return int(next(residue.atoms()).index)


def _cut(
    lipids: list[Any], position: Float, box: Float, edges: Float, per_leaflet: int
) -> tuple[list[Any], Float, Float]:
    """Choose the lipids of a square; return them, its centre in the middle of the bilayer, nm, and their heavier atoms.

    The atoms, (atom, xyz) nm, are seen from that centre. Of several squares the one that overlaps least is taken.
    """
    place = np.array([position[_atoms(residue)].mean(0) for residue in lipids])
    heads = [next(atom.index for atom in residue.atoms() if atom.name == "P") for residue in lipids]
    height = position[heads, 2]
    upper = height > height.mean()
    heavy = [[atom.index for atom in residue.atoms() if atom.element.mass._value > _HYDROGEN] for residue in lipids]
    start = np.array([*place[:, :2].mean(0), height.mean()])
    shifts = np.arange(1 if per_leaflet == PATCH else _CENTRES) / _CENTRES
    found = []
    for step in product(shifts, shifts):
        middle = start + np.array([*step, 0.0]) * box
        lattice = box * np.round((place - middle) / box) * [1, 1, 0]
        away = np.abs((place - middle - lattice) / box)[:, :2].max(1)
        nearest = [np.flatnonzero(side)[np.argsort(away[side])[:per_leaflet]] for side in (upper, ~upper)]
        chosen = np.sort(np.concatenate(nearest)).tolist()
        atoms = np.concatenate([position[heavy[k]] - middle - lattice[k] for k in chosen])
        found.append(
            (_overlap(atoms, np.repeat(chosen, [len(heavy[k]) for k in chosen]), edges), chosen, middle, atoms)
        )
    _, chosen, middle, atoms = min(found, key=lambda entry: entry[0])
    return [lipids[k] for k in chosen], middle, atoms


def _overlap(position: Float, molecule: NDArray[np.int64], edges: Float) -> float:
    """Return how much molecules overlap: Σ 1/r³ of the pairs of their atoms that are too close."""
    pairs = cKDTree(position % edges, boxsize=edges).query_pairs(_CLOSE, output_type="ndarray")
    pairs = pairs[molecule[pairs[:, 0]] != molecule[pairs[:, 1]]]
    apart = position[pairs[:, 0]] - position[pairs[:, 1]]
    apart -= edges * np.round(apart / edges)
    return float((np.linalg.norm(apart, axis=1) ** -3.0).sum())


def _layer(distance: Float, height: float, count: int | None) -> tuple[float, NDArray[np.intp]]:
    """Choose the water nearest to the middle of the bilayer; return the height of the box in nm, and which it is."""
    if count is None:
        return height, np.arange(len(distance))
    if count > len(distance):
        raise InputError(
            f"found {count} molecules of water wanted, expected at most {len(distance)}: the patch has no more"
        )
    nearest = np.argsort(distance, kind="stable")[:count]
    return min(height, 2 * (float(distance[nearest[-1]]) + _HALF_LAYER)), np.sort(nearest)


def _assemble(topology: Any, parts: list[tuple[Any, str, Float]], position: Float, *, old: Float, new: Float) -> Any:
    """Put residues into a new box, each whole, its centre within half the old box from the middle."""
    from openmm import unit
    from openmm.app import Modeller, Topology

    built, placed, copy = Topology(), [], {}
    chains: dict[str, Any] = {}
    for residue, name, centre in parts:
        if name not in chains:
            chains[name] = built.addChain()
        made = built.addResidue(name, chains[name])
        for atom in residue.atoms():
            copy[atom] = built.addAtom(_name(atom.name), atom.element, made)
        placed.append(position[_atoms(residue)] - old * np.round(centre / old))
    for first, second in topology.bonds():
        if first in copy:
            built.addBond(copy[first], copy[second])
    built.setUnitCellDimensions(new * unit.nanometer)
    return Modeller(built, (np.concatenate(placed) + new / 2) * unit.nanometer)


def _name(name: str) -> str:
    """Return the name of an atom as Lipid21 has it: C210 for the 0C21 of a PDB file of four columns.

    Examples
    --------
    >>> _name("0C21"), _name("H11A")
    ('C210', 'H11A')
    """
    return name[1:] + name[0] if name[0].isdigit() else name
