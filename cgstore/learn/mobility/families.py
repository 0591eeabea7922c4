"""Families of sets: potentials that slow the beads of a set down, run in its box, as further partners of molecules.

Beads with the potentials of an inversion are faster than nearly all molecules, so that hardly any pair (i, j) with
D_AA(i) = D_CG(j) exists. Deeper potentials of larger beads are slower; each belongs to the set it was made from.
"""

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cgstore.errors import InputError, NotFound
from cgstore.learn.mobility.tradeoff import deepened, stretched

__all__ = ["candidates", "depth_after", "depth_towards", "slower"]

Float = NDArray[np.float64]

_SLOPE, _BEND = 1.8, 5.0  # −d ln D/d depth and −d ln D/d size, of one of the sets: a guess for all others


def depth_towards(speed: float, aim: float, *, size: float = 1.0) -> float:
    """Guess the factor of the energies with which beads of a diffusion coefficient get another one; 1 at least.

    Notes
    -----
    ln D falls by 1.8 per unit of the factor and by 5 per unit of the size, as in the first sets that were tried. What
    the beads really do is measured; the guess only decides where.

    Examples
    --------
    >>> round(depth_towards(6e-3, 3e-3), 3), depth_towards(2e-3, 3e-3)
    (1.385, 1.0)
    """
    return max(1.0 + (float(np.log(speed / aim)) - _BEND * (size - 1.0)) / _SLOPE, 1.0)


def depth_after(depth: float, speed: float, aim: float) -> float:
    """Return the factor of the energies to try after a run: nearer to the aim by the same guess of the slope.

    Parameters
    ----------
    depth, speed : of the run; speed is NaN where it was no liquid, and then a quarter of what was deepened is taken off
    aim : the diffusion coefficient that is wanted

    Examples
    --------
    >>> depth_after(1.4, float("nan"), 2e-3), depth_after(1.4, 2e-3, 2e-3)
    (1.3, 1.4)
    """
    if not np.isfinite(speed):
        return round(1.0 + 0.75 * (depth - 1.0), 4)
    return max(depth + float(np.log(speed / aim)) / _SLOPE, 1.0)


def slower(r: Float, u: Float, *, depth: float, size: float = 1.0) -> Float:
    """Return the potential of larger beads that attract and repel each other more."""
    return stretched(r, deepened(u, depth), size)


def candidates(sets: xr.Dataset, runs: xr.Dataset, *, worst: float = 0.1) -> xr.Dataset:
    """Return all beads that molecules may be paired with: those of the inversions, and of the families' runs.

    Parameters
    ----------
    sets : `x`, `u`, `g_beads`, `D_CG` and `D_CG_error` of each
    runs : on (system), the set that a member belongs to, each as often as it has members: `depth` and `size` as in
        `slower`, `D_CG` and its error, nm²/ps, `g (system, r)`, and `phase`, empty if the run was one liquid
    worst : relative error of D beyond which beads do not count: they match molecules that move quite differently

    Returns
    -------
    dataset on (system), named by the set that owns the beads: `x` of that set, `u` and `g` on (system, r), `D_CG` and
    its error, `depth`, `size`; without the runs that froze or separated, and those whose D is hardly known

    Raises
    ------
    NotFound : a run belongs to no set
    InputError : the runs have g at other distances
    """
    names = [str(name) for name in sets["system"].values]
    if strange := [str(name) for name in runs["system"].values if str(name) not in names]:
        raise NotFound(f"candidates: found a run of {strange[0]}, which is none of the {len(names)} sets")
    if not np.isin(sets["r"].values.round(6), runs["r"].values.round(6)).all():
        raise InputError(
            "candidates: found g of the runs at other distances than the potentials, expected all of these"
        )
    sound = (runs["phase"].values == "") & (runs["D_CG_error"].values <= worst * runs["D_CG"].values)  # not NaN either
    kept = runs.isel(system=np.flatnonzero(sound)).sel(r=sets["r"], method="nearest").assign_coords(r=sets["r"].values)
    r, u = sets["r"].values, dict(zip(names, sets["u"].values, strict=True))
    made = [
        slower(r, u[str(name)], depth=float(depth), size=float(size))
        for name, depth, size in zip(kept["system"].values, kept["depth"].values, kept["size"].values, strict=True)
    ]
    columns = ["D_CG", "D_CG_error", "depth", "size"]
    x = sets["x"].sel(system=kept["system"])
    family = kept[[*columns, "g"]].assign(x=x, u=(("system", "r"), np.reshape(made, (len(made), len(r)))))
    one = xr.ones_like(sets["D_CG"])
    own = sets[["x", "D_CG", "D_CG_error", "u"]].assign(depth=one, size=one, g=sets["g_beads"])
    return xr.concat([own.reset_coords(drop=True), family.reset_coords(drop=True)], "system", join="exact")
