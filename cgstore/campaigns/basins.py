"""Basins of the torsions φ and ψ of a residue: their populations with errors, and passages between them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cgstore.averages.series import mean_of_series

__all__ = ["BASINS", "Populations", "basins", "populations", "torsion"]

Float = NDArray[np.float64]

BASINS = {"beta": (-120.0, 130.0), "alpha_right": (-65.0, -40.0), "alpha_left": (55.0, 45.0)}  # a point of each: φ, ψ
_LEFT = (0.0, 120.0)  # φ of alpha_left
_RIGHT = (-120.0, 60.0)  # ψ of alpha_right, where φ is negative


@dataclass(frozen=True, slots=True, eq=False)
class Populations:
    """Parts of the frames, with standard errors; NaN where a run is too short, or never changed, to know one."""

    part: dict[str, float]
    error: dict[str, float]
    passages: int  # into and out of alpha_left


def torsion(position: NDArray[np.floating], atoms: tuple[int, int, int, int]) -> Float:
    """Return a torsion of whole molecules in degrees, (−180, 180], in the sense of IUPAC: trans is 180.

    Parameters
    ----------
    position : (frame, particle, xyz)

    Examples
    --------
    >>> quarter = [[[0, 1, 0], [0, 0, 0], [1, 0, 0], [1, 0, 1]]]
    >>> float(torsion(np.array(quarter, float), (0, 1, 2, 3))[0])
    90.0
    """
    first, axis, last = np.moveaxis(np.diff(np.asarray(position, np.float64)[:, list(atoms)], axis=1), 1, 0)
    before, after = np.cross(first, axis), np.cross(axis, last)
    length = np.linalg.norm(axis, axis=-1)
    sine = (first * after).sum(axis=-1) * length
    return np.asarray(np.degrees(np.arctan2(sine, (before * after).sum(axis=-1))), np.float64)


def basins(phi: Float, psi: Float) -> NDArray[np.int64]:
    """Return the basin of every frame as its place in `BASINS`: (frame,).

    alpha_left is 0° ≤ φ < 120°; alpha_right is φ < 0 with −120° ≤ ψ < 60°; what is left is beta, which reaches over
    φ = ±180° and includes polyproline II.

    Examples
    --------
    >>> points = np.array([*BASINS.values(), (170.0, 150.0)]).T
    >>> basins(*points).tolist()
    [0, 1, 2, 0]
    """
    left = (phi >= _LEFT[0]) & (phi < _LEFT[1])
    right = (phi < 0) & (psi >= _RIGHT[0]) & (psi < _RIGHT[1])
    return np.asarray(np.select([right, left], [1, 2]), np.int64)


def populations(phi: Float, psi: Float) -> Populations:
    """Return how much of a run is in each basin, and where φ > 0.

    Notes
    -----
    Errors are of blocks longer than the correlation time (`cgstore.averages.series.mean_of_series`). They know nothing
    of basins that were never visited, and little where `passages` are few.

    Examples
    --------
    >>> found = populations(np.array([-70.0, -80.0, 60.0, -60.0]), np.array([140.0, -40.0, 40.0, 150.0]))
    >>> found.part["beta"], found.part["phi_positive"], found.passages
    (0.5, 0.25, 2)
    """
    where = basins(phi, psi)
    series = {"phi_positive": phi > 0, **{name: where == place for place, name in enumerate(BASINS)}}
    found = mean_of_series(np.array(list(series.values()), np.float64))
    changing = np.array([np.ptp(values.astype(int)) > 0 for values in series.values()])
    error = np.where(changing, found.error, np.nan)
    return Populations(
        part=dict(zip(series, found.mean.tolist(), strict=True)),
        error=dict(zip(series, error.tolist(), strict=True)),
        passages=int(np.count_nonzero(np.diff((where == list(BASINS).index("alpha_left")).astype(int)))),
    )
