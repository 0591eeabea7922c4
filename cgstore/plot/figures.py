"""The figure of a result: what it has to be, which labels are chosen, and who draws it."""

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from cgstore.documents import did_you_mean
from cgstore.errors import NotFound
from cgstore.plot.distributions import draw_distribution
from cgstore.plot.dynamics import draw_msd, draw_vacf
from cgstore.plot.fits import draw_potential, draw_training, draw_validation
from cgstore.plot.maps import draw_covariance, draw_map
from cgstore.plot.mean_force import draw_mean_force
from cgstore.plot.order import draw_order
from cgstore.plot.series import draw_series
from cgstore.plot.shapes import KINDS, SHAPES, choose, name_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["figure_of"]

_DRAW = {
    "map": draw_map,
    "area": draw_series,
    "thickness": draw_series,
    "tilt": draw_series,
    "order": draw_order,
    "msd": draw_msd,
    "vacf": draw_vacf,
    "pmf": draw_mean_force,
    "covariance": draw_covariance,
    "potential": draw_potential,
    "validation": draw_validation,
    "training": draw_training,
}


def figure_of(result: xr.Dataset, kind: str, pair: str | None = None) -> "Figure":
    """Draw a result.

    Parameters
    ----------
    result : dataset of the kind's shape, see `cgstore.plot.shapes`; lazy ones are computed
    kind : one of `cgstore.plot.KINDS`
    pair : one pair or kind of term, in either direction; one type or kind of molecule; all when None

    Raises
    ------
    NotFound : no such kind, no such pair, or the result has nothing of this kind

    Examples
    --------
    >>> r = np.arange(0.005, 1.0, 0.01)
    >>> gas = xr.Dataset({"rdf": (("pair", "r"), np.ones((1, 100)))}, coords={"pair": ["A-A"], "r": r})
    >>> figure_of(gas, "rdf").axes[0].get_xlabel()
    'r / nm'
    >>> figure_of(gas, "rdv")
    Traceback (most recent call last):
    cgstore.errors.NotFound: no plot of kind "rdv"; did you mean "rdf"?
    """
    if kind not in KINDS:
        raise NotFound(f'no plot of kind "{kind}"{did_you_mean(kind, KINDS)}')
    shape = SHAPES[kind]
    variable = "bond_order" if kind == "order" and "bond_order" in result else shape.variable
    if variable not in result or not np.prod(result[variable].shape):
        raise NotFound(f"{name_of(result)} has no {kind}: nothing of this kind was found in it")
    return _DRAW.get(kind, draw_distribution)(result, kind, choose(result, shape, pair))
