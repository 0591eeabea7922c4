"""Immersion: a particle in a box of water, or in the water above a membrane, which it touches."""

import re

import numpy as np
from numpy.typing import NDArray

from cgstore.building.clayff import SILICA, silica_molecule, silica_types
from cgstore.building.particles import Particle
from cgstore.building.start import Start
from cgstore.building.waters import SPC_MOLECULE, SPC_TYPES, WATER, clear_of, waters_in
from cgstore.errors import InputError

__all__ = ["at_membrane", "in_water"]

Float = NDArray[np.float64]

_SITES = ("O", "H1", "H2")
_RULE = re.compile(r"\[ *defaults *\]\s*\n(?:\s*;[^\n]*\n)*\s*(\S+)\s+(\S+)")


def in_water(particle: Particle, *, padding: float, hydrogen_mass: float | None = None) -> Start:
    """Return a particle of CLAYFF silica in a cubic box of SPC water.

    Parameters
    ----------
    padding : nm of water around the particle on each side
    hydrogen_mass : u, of hydroxyls, taken from their oxygen

    Raises
    ------
    MissingExtra : OpenMM, which ships the water, is not installed
    """
    half = particle.extent() + padding
    box = np.full(3, 2 * half)
    solid = particle.position + half
    water = waters_in(np.zeros(3), box, around=solid, box=box, model="spce")
    topology = (
        f"[ defaults ]\n1 2 no 1.0 1.0\n\n[ atomtypes ]\n{silica_types()}{SPC_TYPES}\n"
        f"{silica_molecule(particle, hydrogen_mass=hydrogen_mass)}{SPC_MOLECULE}"
        f"[ system ]\nsilica in water\n\n[ molecules ]\n{SILICA} 1\n{WATER} {len(water)}\n"
    )
    return _joined(topology, box, _solid(particle, solid), _liquid(water))


def at_membrane(
    particle: Particle, membrane: Start, *, gap: float, padding: float, hydrogen_mass: float | None = None
) -> Start:
    """Return a particle of CLAYFF silica above a membrane of another force field, in the water of the membrane.

    Parameters
    ----------
    membrane : lipids and water of the kind HOH with the geometry of TIP3P, the normal along z, in a rectangular box;
        Lorentz-Berthelot rules
    gap : nm from the particle to the nearest atom of a lipid
    padding : nm of water between the particle and what follows it along z
    hydrogen_mass : u, of hydroxyls, taken from their oxygen

    Raises
    ------
    InputError : the membrane is narrower than the particle; its box is not rectangular; its combination rules differ
    MissingExtra : OpenMM, which ships the water, is not installed

    Notes
    -----
    The water of the membrane stays but for what overlaps with the particle; the box grows along z and the new part is
    filled. Pressure closes the thin gaps between both.
    """
    edges = _check(particle, membrane)
    wet = membrane.residue == WATER
    lipid = membrane.position[~wet]
    height = _height(particle.position, lipid, edges, gap)
    solid = particle.position + np.array([*edges[:2] / 2, height])
    water = membrane.position[wet].reshape(-1, 3, 3)
    ends = np.concatenate([lipid[:, 2], water[:, 0, 2]])
    box = np.array([*edges[:2], max(edges[2], float(solid[:, 2].max()) + padding - ends.min())])
    water = water[clear_of(water, solid, box)]
    there = np.concatenate([lipid, solid, water.reshape(-1, 3)])
    # Above all that the membrane has, up to its lowest image.
    low, high = np.array([0.0, 0.0, ends.max()]), np.array([*edges[:2], ends.min() + box[2]])
    water = np.concatenate([water, waters_in(low, high, around=there, box=box, model="tip3p")])
    topology = _with_particle(membrane.topology, silica_molecule(particle, hydrogen_mass=hydrogen_mass), len(water))
    lipids = Start("", membrane.name[~wet], membrane.residue[~wet], membrane.residue_id[~wet], lipid, membrane.box)
    return _joined(topology, box, lipids, _solid(particle, solid), _liquid(water))


def _check(particle: Particle, membrane: Start) -> Float:
    """Return the edges of the box of a membrane that a particle can be put on."""
    edges = np.diag(membrane.box)
    width = 2 * particle.extent()
    if np.abs(membrane.box - np.diag(edges)).max() > 1e-6:
        raise InputError("found a membrane in a box that is not rectangular; build it in a rectangular one")
    if edges[:2].min() < width + 1:
        raise InputError(
            f"found a membrane of {edges[0]:.2f} × {edges[1]:.2f} nm, expected it to be wider than the particle, which "
            f"is {width:.2f} nm wide, by 1 nm at least; take more lipids or a smaller radius"
        )
    rule = _RULE.search(membrane.topology)
    if not rule or rule.groups() != ("1", "2"):
        raise InputError("found a membrane whose topology has no Lennard-Jones sites with Lorentz-Berthelot rules")
    return edges


def _height(particle: Float, lipid: Float, edges: Float, gap: float) -> float:
    """Return the lowest height of a particle above the middle of a box at which no lipid is nearer than the gap."""
    beside = lipid[:, :2] - edges[:2] / 2
    beside -= np.round(beside / edges[:2]) * edges[:2]
    lateral = ((particle[:, None, :2] - beside[None]) ** 2).sum(axis=2)
    lift = lipid[None, :, 2] - particle[:, None, 2] + np.sqrt(np.maximum(gap**2 - lateral, 0.0))
    return float(np.where(lateral < gap**2, lift, -np.inf).max())


def _with_particle(topology: str, molecule: str, waters: int) -> str:
    """Add a particle to a topology, before its water, and count the water anew."""
    head, _, counts = topology.partition("[ molecules ]")
    body, _, title = head.partition("[ system ]")
    body = re.sub(r"(\[ *atomtypes *\]\s*\n)", lambda found: found[0] + silica_types(), body, count=1)
    rows = [line.split(";")[0].split() for line in counts.splitlines()]
    dry = [" ".join(row) for row in rows if row and row[0] != WATER]
    lines = "\n".join([*dry, f"{SILICA} 1", f"{WATER} {waters}"])
    return f"{body}{molecule}[ system ]{title}[ molecules ]\n{lines}\n"


def _solid(particle: Particle, position: Float) -> Start:
    """Return the atoms of a particle."""
    return Start("", particle.name, particle.group, particle.group_id, position, np.zeros((3, 3)))


def _liquid(water: Float) -> Start:
    """Return the atoms of water, (molecule, site, xyz)."""
    number = np.repeat(np.arange(1, len(water) + 1, dtype=np.int32), 3)
    names, residue = np.tile(_SITES, len(water)), np.full(3 * len(water), WATER)
    return Start("", names, residue, number, water.reshape(-1, 3), np.zeros((3, 3)))


def _joined(topology: str, box: Float, *parts: Start) -> Start:
    """Put parts one after the other, their residues numbered on."""
    last = np.cumsum([0, *(int(part.residue_id.max(initial=0)) for part in parts)])
    number = [part.residue_id + before for part, before in zip(parts, last[:-1], strict=True)]
    return Start(
        topology=topology,
        name=np.concatenate([part.name for part in parts]),
        residue=np.concatenate([part.residue for part in parts]),
        residue_id=np.concatenate(number).astype(np.int32),
        position=np.concatenate([part.position for part in parts]),
        box=np.diag(box),
    )
