"""A peptide in a bilayer, through it or on its surface: what overlaps leaves, as many lipids from either leaflet."""

from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from cgstore.errors import InputError

__all__ = ["insert"]

Float = NDArray[np.float64]

_CLOSE = 0.2  # nm; lipids with a heavier atom that is nearer to one of the peptide leave
_WET = 0.25  # nm; water whose oxygen is nearer to a heavier atom of the peptide leaves
_FREE = 0.5  # nm; ions take the place of water that is farther from the peptide
_ROOM = 1.0  # nm; the box is wider than the peptide by this, so that it does not meet its image
_PLACES = 12  # tried along each edge of the box; the one where the fewest lipids leave is taken
_WATER, _HYDROGEN = "HOH", 1.1  # u; heavier atoms are no hydrogens


def insert(
    peptide: Any, membrane: Any, forcefield: Any, *, height: float = 0.0, flat: bool = False, seed: int = 1
) -> Any:
    """Return a peptide in a bilayer with ions to neutrality, as `openmm.app.Modeller`.

    Parameters
    ----------
    peptide : `openmm.app.Modeller` of `cgstore.building.peptides.helix`
    membrane : `openmm.app.Modeller` of `cgstore.building.membranes.bilayer`
    forcefield : `openmm.app.ForceField`, for the charge
    height : nm, of the middle of the peptide above that of the bilayer
    flat : its axis lies in the plane, charged side chains up; else it is the normal, the N terminus up
    seed : of the places of the ions

    Returns
    -------
    modeller : peptide, lipids, water, ions; molecules are whole

    Raises
    ------
    InputError : the box is too small for the peptide; there is not enough water for the ions

    Notes
    -----
    Lipids that overlap are removed, and as many from the other leaflet, those nearest to the peptide; the pressure
    closes what is left open. The peptide stands where the fewest lipids have to leave, of places on a lattice.
    """
    from openmm import unit
    from openmm.app import Modeller

    position = np.array(membrane.positions.value_in_unit(unit.nanometer))
    box = np.array(membrane.topology.getUnitCellDimensions().value_in_unit(unit.nanometer))
    places = np.array(peptide.positions.value_in_unit(unit.nanometer))
    if flat:
        places = places[:, [2, 1, 0]] * [1, -1, 1]  # z to x, x to z
    if ((need := np.ptp(places, axis=0) + _ROOM) > box).any():
        raise InputError(
            f"the peptide needs a box of {' × '.join(f'{edge:.1f}' for edge in need)} nm, found "
            f"{' × '.join(f'{edge:.1f}' for edge in box)} nm; take more lipids or water, or a shorter peptide"
        )
    heavy = places[[atom.element.mass._value > _HYDROGEN for atom in peptide.topology.atoms()]]
    lift = np.array([0.0, 0.0, height])
    origin, leaving = _place(membrane.topology, position, box, heavy + lift)
    model = Modeller(peptide.topology, (places + origin + lift) * unit.nanometer)
    model.topology.setPeriodicBoxVectors(membrane.topology.getPeriodicBoxVectors())
    rest = Modeller(membrane.topology, membrane.positions)
    rest.delete(leaving)
    model.add(rest.topology, rest.positions)
    _neutralise(model, box, charge=_charge(peptide.topology, forcefield), around=heavy + origin + lift, seed=seed)
    return model


def _place(topology: Any, position: Float, box: Float, heavy: Float) -> tuple[Float, list[Any]]:
    """Return where the origin of the peptide goes, and the lipids and water that leave."""
    residues = list(topology.residues())
    atoms = [[atom.index for atom in each.atoms() if atom.element.mass._value > _HYDROGEN] for each in residues]
    owner = np.repeat(np.arange(len(residues)), [len(each) for each in atoms])
    everywhere = position[np.concatenate(atoms)]
    wet = np.array([each.name == _WATER for each in residues])
    upper = np.array([position[each, 2].mean() > box[2] / 2 for each in atoms])
    best: tuple[tuple[int, float], Float, NDArray[np.bool_]] | None = None
    for step in product(np.arange(_PLACES) / _PLACES, repeat=2):
        origin = np.array([*step, 0.5]) * box
        tree = cKDTree((heavy + origin) % box, boxsize=box)
        near = np.full(len(residues), np.inf)
        np.minimum.at(near, owner, tree.query(everywhere % box, distance_upper_bound=box.min() / 2)[0])
        leaving, rank = _leaving(near, wet, upper)
        if best is None or rank < best[0]:
            best = rank, origin, leaving
    assert best is not None
    return best[1], [residues[k] for k in np.flatnonzero(best[2]).tolist()]


def _leaving(
    near: Float, wet: NDArray[np.bool_], upper: NDArray[np.bool_]
) -> tuple[NDArray[np.bool_], tuple[int, float]]:
    """Return which residues leave, from their distances to the peptide, and how bad the place is."""
    leaving = np.where(wet, near < _WET, near < _CLOSE)
    sides = [np.flatnonzero(~wet & side) for side in (upper, ~upper)]
    count = max(int(leaving[side].sum()) for side in sides)
    for side in sides:
        leaving[side[np.argsort(near[side], kind="stable")[:count]]] = True
    return leaving, (count, -float(np.minimum(near, _WET)[~wet & ~leaving].sum()))


def _charge(topology: Any, forcefield: Any) -> int:
    """Return the charge of a molecule in a force field, e."""
    from openmm import NonbondedForce

    system = forcefield.createSystem(topology)
    force = next(force for force in system.getForces() if isinstance(force, NonbondedForce))
    charges = [float(force.getParticleParameters(i)[0]._value) for i in range(force.getNumParticles())]
    return round(sum(charges))


def _neutralise(model: Any, box: Float, *, charge: int, around: Float, seed: int) -> None:
    """Put ions in the place of water that is away from the peptide, chosen at random."""
    from openmm import unit
    from openmm.app import Element, Topology

    if not charge:
        return
    position = np.array(model.positions.value_in_unit(unit.nanometer))
    waters = [residue for residue in model.topology.residues() if residue.name == _WATER]
    oxygen = position[[next(residue.atoms()).index for residue in waters]]
    free = np.flatnonzero(cKDTree(around % box, boxsize=box).query(oxygen % box)[0] > _FREE)
    if len(free) < abs(charge):
        raise InputError(f"found {len(free)} molecules of water for {abs(charge)} ions, expected more; take more water")
    chosen = np.random.default_rng(seed).choice(free, abs(charge), replace=False)
    symbol = "Cl" if charge > 0 else "Na"
    ions = Topology()
    chain = ions.addChain()
    for _ in chosen:
        ions.addAtom(symbol.upper(), Element.getBySymbol(symbol), ions.addResidue(symbol.upper(), chain))
    model.delete([waters[k] for k in chosen])
    model.add(ions, oxygen[chosen] * unit.nanometer)
