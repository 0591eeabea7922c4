"""Packing: molecules of any kinds on a lattice, shuffled and turned at random, thin enough not to overlap."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from cgstore.building.molecule_files import Molecule, topology_of
from cgstore.building.start import Start
from cgstore.errors import PhysicsError

__all__ = ["CONTACT", "pack"]

Float = NDArray[np.float64]

CONTACT = 0.15  # nm; nearer, energy minimisation does not help: it is half of what two hydrogens keep
_TURNS = 24  # orientations tried for each molecule
_REACH = 1.5  # times the spacing: whose atoms a molecule keeps away from


def pack(species: Sequence[tuple[Molecule, int]], *, density: float, title: str, seed: int) -> Start:
    """Place molecules in a cubic box.

    Parameters
    ----------
    species : molecules and how many there are of each; in the box, as in the topology, all of a kind come together
    density : molecules per nm³; two thirds of a liquid are dense enough for a barostat to go on from
    title : of the topology
    seed : the same numbers make the same box

    Raises
    ------
    PhysicsError : atoms of two molecules are nearer than `CONTACT`
    InputError : the molecules do not fit into one topology

    Notes
    -----
    The sites are those of a lattice with few vacancies: its three numbers of rows differ by one at most. Which molecule
    takes which site is drawn, and each takes that one of 24 random orientations that keeps it farthest from those
    placed before.

    Examples
    --------
    >>> from pathlib import Path
    >>> from cgstore.building.molecule_files import read_molecule
    >>> folder = Path("ingest/campaigns/molecules")
    >>> water = read_molecule((folder / "water_spce.itp").read_text(), (folder / "water.gro").read_text())
    >>> box = pack([(water, 100)], density=20.0, title="water", seed=1)
    >>> box.position.shape, round(float(box.box[0, 0]), 2)
    ((300, 3), 1.71)
    """
    topology = topology_of(species, title=title)
    kinds = [molecule for molecule, count in species for _ in range(count)]
    edge = (len(kinds) / density) ** (1 / 3)
    random = np.random.Generator(np.random.Philox(seed))
    rows = _rows(len(kinds))
    sites = (np.stack(np.unravel_index(np.arange(np.prod(rows)), rows), axis=1) + 0.5) / rows * edge
    centres = sites[random.permutation(len(sites))[: len(kinds)]]  # (molecule, xyz) nm
    position = _turned(kinds, centres, edge, random)
    nearest = _nearest(position, [len(molecule.atom) for molecule in kinds], edge)
    if nearest < CONTACT:
        raise PhysicsError(
            f"{title}: two molecules come as near as {nearest:.3f} nm at {density:.3g} per nm³, expected {CONTACT} nm "
            "or more; start from a lower density"
        )
    return Start(
        topology=topology,
        name=np.concatenate([molecule.atom for molecule in kinds]),
        residue=np.concatenate([molecule.residue for molecule in kinds]),
        residue_id=np.repeat(np.arange(1, len(kinds) + 1), [len(molecule.atom) for molecule in kinds]).astype(np.int32),
        position=position,
        box=edge * np.eye(3),
    )


def _rows(molecules: int) -> tuple[int, int, int]:
    """Return the numbers of rows of the smallest lattice with enough sites.

    >>> _rows(222), _rows(343), _rows(344)
    ((7, 6, 6), (7, 7, 7), (8, 7, 7))
    """
    few = round(molecules ** (1 / 3) - 0.5)
    options = [(x, y, z) for x in (few, few + 1, few + 2) for y in (x, x - 1) for z in (y, x - 1)]
    return min((rows for rows in options if np.prod(rows) >= molecules), key=lambda rows: (np.prod(rows), rows))


def _turned(kinds: Sequence[Molecule], centres: Float, edge: float, random: np.random.Generator) -> Float:
    """Return the positions of all atoms, molecules one after the other."""
    spacing = (edge**3 / len(centres)) ** (1 / 3)
    radius = max(float(np.linalg.norm(molecule.position, axis=1).max()) for molecule in kinds)
    tree = cKDTree(centres, boxsize=np.full(3, edge))
    near = tree.query_ball_point(centres, _REACH * spacing + 2 * radius)
    placed: list[Float] = []
    for number, molecule in enumerate(kinds):
        # (orientation, atom, xyz)
        options = centres[number] + np.einsum("oij,aj->oai", _rotations(_TURNS, random), molecule.position)
        others = [placed[other] for other in near[number] if other < number]
        best = 0
        if others and len(molecule.position) > 1:
            apart = options[:, :, None] - np.concatenate(others)
            apart -= edge * np.round(apart / edge)
            best = int((apart**2).sum(axis=-1).min(axis=(1, 2)).argmax())
        placed.append(options[best])
    return np.concatenate(placed)


def _rotations(count: int, random: np.random.Generator) -> Float:
    """Return rotation matrices of uniform orientations from quaternions that are uniform on the sphere."""
    quaternion = random.normal(size=(count, 4))
    w, x, y, z = (quaternion / np.linalg.norm(quaternion, axis=1, keepdims=True)).T
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return np.moveaxis(np.array(rows), -1, 0)


def _nearest(position: Float, sizes: Sequence[int], edge: float) -> float:
    """Return the least distance of atoms of two molecules that is below twice `CONTACT`, else infinity."""
    molecule = np.repeat(np.arange(len(sizes)), sizes)
    inside = position % edge
    tree = cKDTree(np.where(inside < edge, inside, 0.0), boxsize=np.full(3, edge))
    pairs = tree.query_pairs(min(2 * CONTACT, edge / 2), output_type="ndarray")
    pairs = pairs[molecule[pairs[:, 0]] != molecule[pairs[:, 1]]]
    apart = position[pairs[:, 0]] - position[pairs[:, 1]]
    apart -= edge * np.round(apart / edge)
    return float(np.sqrt((apart**2).sum(axis=1)).min(initial=np.inf))
