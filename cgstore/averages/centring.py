"""Where a layer or a particle is in a periodic box: centres that do not depend on how the box was cut."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cgstore.documents import did_you_mean
from cgstore.errors import InputError, NotFound
from cgstore.facets import lipids
from cgstore.kernels.profiles import periodic_means, project
from cgstore.topology import Topology

__all__ = ["Body", "body_of", "centre_of", "membrane_of", "periodic_centre", "plane_centre", "reciprocal"]

# What force fields and programs call water; it has bonds and is no part of a layer.
_SOLVENTS = frozenset(
    {"H2O", "HOH", "OPC", "SOL", "SPC", "SPCE", "TIP3", "TIP3P", "TIP4P", "TIP5P", "W", "WAT", "WATER"}
)

Float = NDArray[np.float64]


class Body(NamedTuple):
    """The particles whose centre of mass is the origin."""

    particles: NDArray[np.int64]  # (chosen,)
    mass: Float  # (chosen,) u
    names: tuple[str, ...] = ()  # of molecule kinds and types, for labels


def periodic_centre(z_fraction: ArrayLike, weight: ArrayLike) -> Float:
    """Return the mean of coordinates that repeat with period 1: the one about which they scatter least.

    Parameters
    ----------
    z_fraction : (frame, particle) fractions of the period, in any image
    weight : (particle,) not negative, masses for a centre of mass

    Returns
    -------
    (frame,) in [0, 1); NaN where a fraction is not finite, or all weights are zero

    Notes
    -----
    c = Σ w (z − ⌊z − c + ½⌋) / Σ w: the mean of the images nearest to it, iterated until no image changes; of all
    solutions the one with the smallest variance, found by cutting the period open at 64 places. This is the intrinsic
    mean on the circle (Hotz & Huckemann 2015, doi:10.1007/s10463-013-0444-7). For everything that stays within half
    a period of it, it is the centre of mass of what is made whole across the boundary. The angle of the mean phase
    Σ w exp(2πiz), often used alone (Bai & Breen 2008, doi:10.1080/2151237X.2008.10129266), is that of symmetric
    distributions only.
    What fills the period evenly has no centre, and what fills two thin layers may have it in the larger gap: choose
    whole lipids, not their head groups.

    Examples
    --------
    >>> periodic_centre([[0.9, 0.95, 0.15]], [1.0, 1.0, 2.0]).round(6).tolist()
    [0.0375]
    """
    fractions = np.ascontiguousarray(z_fraction, np.float64)
    return np.asarray(periodic_means(fractions, np.ascontiguousarray(weight, np.float64)))


def reciprocal(box: Float) -> Float:
    """Return the inverse of boxes, whose columns are the reciprocal vectors; the same bits on every machine.

    Parameters
    ----------
    box : (frame, box_vector, xyz) nm, each of some volume

    Returns
    -------
    (frame, xyz, box_vector) 1/nm; a position times a column is its fraction along that box vector, and one over the
    length of the column is the height of the box between the faces that the vector joins

    Examples
    --------
    >>> reciprocal(np.array([[[2.0, 0, 0], [1.0, 2.0, 0], [0, 0, 4.0]]])).tolist()
    [[[0.5, 0.0, 0.0], [-0.25, 0.5, 0.0], [0.0, 0.0, 0.25]]]
    """
    # Not by LAPACK, whose last bits depend on the processor, and with them who is on which side of an edge.
    a, b, c = box[:, 0], box[:, 1], box[:, 2]
    across = np.stack([np.cross(b, c), np.cross(c, a), np.cross(a, b)], axis=2)
    return np.asarray(across / (a * across[:, :, 0]).sum(axis=1)[:, None, None])


def plane_centre(position: NDArray[np.floating], across: Float, body: Body) -> Float:
    """Return where the centre of mass is along the normal of a layer, as a fraction of the box.

    Parameters
    ----------
    position : (frame, particle, xyz) nm
    across : (frame, xyz) 1/nm, what a position is multiplied with to give its fraction: a column of the inverse box
    body : whose centre it is

    Returns
    -------
    (frame,) in [0, 1)

    Examples
    --------
    >>> two = Body(np.array([0, 1]), np.ones(2))
    >>> x = np.array([[[0, 0, 0.5], [0, 0, 9.9]]])
    >>> plane_centre(x, np.array([[0, 0, 0.1]]), two).round(6).tolist()
    [0.02]
    """
    return periodic_centre(project(position, body.particles, np.ascontiguousarray(across)), body.mass)


def centre_of(position: NDArray[np.floating], box: Float | None, body: Body) -> Float:
    """Return the centre of mass of a compact body, made whole across the boundary.

    Parameters
    ----------
    position : (frame, particle, xyz) nm
    box : (frame, box_vector, xyz) nm, or None
    body : whose centre it is; smaller than the box in every direction

    Returns
    -------
    (frame, xyz) nm, inside the box if there is one

    Examples
    --------
    >>> two = Body(np.array([0, 1]), np.ones(2))
    >>> x = np.array([[[0.1, 1.0, 1.0], [1.9, 1.0, 1.2]]])
    >>> centre_of(x, 2 * np.eye(3)[None], two).round(6).tolist()
    [[0.0, 1.0, 1.1]]
    """
    if box is None:
        return np.asarray(np.average(position[:, body.particles].astype(np.float64), axis=1, weights=body.mass))
    inverse = reciprocal(box)
    fraction = [plane_centre(position, inverse[:, :, axis], body) for axis in range(3)]
    return np.asarray((np.stack(fraction, 1)[:, :, None] * box).sum(axis=1))


def body_of(topology: Topology, centre: Sequence[str] | str, *, question: str) -> Body:
    """Return the particles of some molecule kinds or types.

    Parameters
    ----------
    topology : of the dataset
    centre : names of molecule kinds or types
    question : opens messages

    Raises
    ------
    NotFound : a name is neither a molecule kind nor a type
    InputError : no name, or the masses add up to nothing

    Examples
    --------
    >>> from pathlib import Path
    >>> from cgstore.readers.topologies import read_topology
    >>> bilayer = read_topology(Path("archive/dmpc_303k/system.tpr"))
    >>> len(body_of(bilayer, ["DMPC"], question="profile").particles)
    7552
    """
    names = [centre] if isinstance(centre, str) else list(centre)
    if not names:
        raise InputError(f"{question}: found no name in centre, expected molecule kinds or types")
    known = {*np.unique(topology.molecule_kind).tolist(), *np.unique(topology.type).tolist()}
    for name in names:
        if name not in known:
            raise NotFound(
                f'{question}: found no molecule kind or type "{name}" for the centre{did_you_mean(name, sorted(known))}'
            )
    chosen = np.isin(topology.molecule_kind, names) | np.isin(topology.type, names)
    return _body(topology, chosen, tuple(names), question)


def membrane_of(topology: Topology, *, question: str) -> Body:
    """Return the particles of the lipids; where none is known, of all molecules with bonds that are no solvent.

    Parameters
    ----------
    topology : of the dataset; lipids are known by their acronyms, as in the facet `lipid`
    question : opens messages

    Raises
    ------
    InputError : there is nothing of the kind, or its masses add up to nothing

    Examples
    --------
    >>> from pathlib import Path
    >>> from cgstore.readers.topologies import read_topology
    >>> len(membrane_of(read_topology(Path("archive/dmpc_303k/system.tpr")), question="profile").particles)
    7552
    """
    kinds = np.unique(topology.molecule_kind).tolist()
    chosen = np.isin(topology.molecule_kind, lipids(kinds))
    if not chosen.any():
        bonded = np.isin(topology.molecule, topology.molecule[topology.bond])
        chosen = bonded & ~np.isin(np.char.upper(topology.molecule_kind), sorted(_SOLVENTS))
    if not chosen.any():
        raise InputError(
            f"{question}: found no lipids and no other molecules with bonds, so it is not known what lies in the "
            f'middle; say it with centre = ["NAME"], a molecule kind ({", ".join(kinds)}) or a type'
        )
    names = tuple(np.unique(topology.molecule_kind[chosen]).tolist())
    return _body(topology, chosen, names, question)


def _body(topology: Topology, chosen: NDArray[np.bool_], names: tuple[str, ...], question: str) -> Body:
    """Return chosen particles with their masses, which must add up to something."""
    particles = np.flatnonzero(chosen)
    mass = np.ascontiguousarray(topology.mass[particles])
    if not (np.isfinite(mass).all() and (mass >= 0).all() and mass.sum() > 0):
        raise InputError(
            f"{question}: found masses of {mass.min():g} to {mass.max():g} u at the centre, expected no negative ones "
            "and a positive sum; give the dataset masses, or leave the variable mass out for equal ones"
        )
    return Body(particles, mass, names)
