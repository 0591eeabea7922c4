"""Cohesion: whether a particle stays in one piece during a simulation, its size, and what it touches."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cgstore.averages.series import mean_of_series
from cgstore.box import minimum_image
from cgstore.building.clayff import SILICA
from cgstore.building.membranes import LIPIDS
from cgstore.building.particles import Particle
from cgstore.readers.topologies import read_topology
from cgstore.readers.xtc import open_xtc

__all__ = ["cohesion"]

Float = NDArray[np.float64]

_BROKEN = 0.25  # nm; silicon and its oxygen vibrate around 0.158 nm, the next oxygen is at 0.35 nm
_CONTACT = 0.35  # nm, from an atom of the particle to one of a lipid
_BLOCK = 64  # frames read at a time


def cohesion(folder: Path, particle: Particle, *, discard: float) -> tuple[dict[str, Any], str]:
    """Return what was measured of the particle of a simulation, and what is wrong with it.

    Parameters
    ----------
    folder : with `system.top`, in which one molecule is the particle, and `trajectory.xtc`
    discard : ps from the first frame, not measured

    Returns
    -------
    measured : radius_of_gyration (nm) and silicon_oxygen (nm, mean length of a link); on a membrane nearest_lipid (nm)
        and touching_lipids, those with an atom within 0.35 nm; each with `_error`; broken_links, the most in a frame
    failure : empty, or "dissolved: …" if the particle is in several pieces in the last frame
    """
    topology = read_topology(folder / "system.top")
    solid = np.flatnonzero(topology.molecule_kind == SILICA)
    lipid = np.flatnonzero(np.isin(topology.molecule_kind, LIPIDS))
    rows, broken = [], []
    for position, box in _frames(folder, discard):
        whole = _whole(position[solid], box)
        length = _lengths(whole, particle)
        row = [_gyration(whole, topology.mass[solid]), float(length.mean())]
        if len(lipid):
            row += _touching(position[lipid], topology.molecule[lipid], whole, box)
        rows.append(row)
        broken.append(int((length > _BROKEN).sum()))
    pieces = _pieces(whole, particle)  # in the last frame
    names = ["radius_of_gyration", "silicon_oxygen", *(["nearest_lipid", "touching_lipids"] if len(lipid) else [])]
    found = mean_of_series(np.array(rows).T)
    measured: dict[str, Any] = {"broken_links": max(broken)}
    for name, mean, error in zip(names, found.mean, found.error, strict=True):
        measured |= {name: _plain(mean), f"{name}_error": _plain(error)}
    return measured, f"dissolved: the particle is in {pieces} pieces" if pieces > 1 else ""


def _frames(folder: Path, discard: float) -> Iterator[tuple[Float, Float]]:
    """Yield positions and box of each frame that counts."""
    trajectory = open_xtc(folder / "trajectory.xtc")
    kept = np.flatnonzero(trajectory.time - trajectory.time[0] >= discard)
    for first in range(0, len(kept), _BLOCK):
        frames = trajectory.read(kept[first : first + _BLOCK])
        assert frames.box is not None  # of every system that is built here
        yield from zip(frames.position.astype(np.float64), frames.box.astype(np.float64), strict=True)


def _whole(position: Float, box: Float) -> Float:
    """Return the particle whole, in the image of its first atom: each atom is near the one before it."""
    steps = minimum_image(np.diff(position, axis=0), box)
    return np.asarray(np.concatenate([position[:1], position[:1] + np.cumsum(steps, axis=0)]))


def _lengths(position: Float, particle: Particle) -> Float:
    """Return the lengths of the links between silicon and oxygen."""
    links = particle.bond[particle.role[particle.bond[:, 1]] != "hydrogen"]
    return np.asarray(np.linalg.norm(position[links[:, 0]] - position[links[:, 1]], axis=1))


def _gyration(position: Float, mass: Float) -> float:
    """Return the radius of gyration in nm."""
    beside = position - np.average(position, axis=0, weights=mass)
    return float(np.average((beside**2).sum(axis=1), weights=mass) ** 0.5)


def _touching(lipid: Float, molecule: NDArray[Any], solid: Float, box: Float) -> list[float]:
    """Return the distance from the particle to the nearest lipid, and how many lipids touch it."""
    from scipy.spatial import cKDTree

    centre = solid.mean(axis=0)
    nearest = np.asarray(cKDTree(solid).query(centre + minimum_image(lipid - centre, box))[0])
    return [float(nearest.min()), float(len(np.unique(molecule[nearest < _CONTACT])))]


def _pieces(position: Float, particle: Particle) -> int:
    """Count the pieces of a particle whose silicon and oxygen hold together, whichever they were linked to."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components
    from scipy.spatial import cKDTree

    silicon = np.flatnonzero(particle.role == "silicon")
    oxygen = np.flatnonzero(np.isin(particle.role, ("bridge", "hydroxyl")))
    near = cKDTree(position[silicon]).query_ball_tree(cKDTree(position[oxygen]), _BROKEN)
    pairs = np.array([(s, len(silicon) + o) for s, some in enumerate(near) for o in some], np.int64).reshape(-1, 2)
    size = len(silicon) + len(oxygen)
    graph = coo_array((np.ones(len(pairs), np.int8), (pairs[:, 0], pairs[:, 1])), shape=(size, size))
    return int(connected_components(graph, directed=False)[0])


def _plain(value: float) -> float | None:
    """Return a number with the digits it deserves, or None when it is not known."""
    return float(f"{value:.5g}") if np.isfinite(value) else None
