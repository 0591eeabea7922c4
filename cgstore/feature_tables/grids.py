"""Common grids of distances: bins that are whole bins of what is counted, so that nothing is interpolated."""

from typing import Annotated, Any, Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from pydantic import Field, NonNegativeInt, PositiveInt

from cgstore.averages.estimates import mean_and_error
from cgstore.documents import Length
from cgstore.errors import InputError, NotFound, PhysicsError
from cgstore.feature_tables.registry import Parameters
from cgstore.feature_tables.sources import Source

__all__ = ["PairGrid", "centres_of", "grid_of_pairs", "on_pairs", "placed", "rdf_on_grid", "steps_of"]

_WHOLE = 1e-6


class PairGrid(Parameters):
    """Which pairs, on which bins: those of 251 between 0 and 1.5 nm by default."""

    pair: str | None = None  # the only one there is
    pairs: Literal["all"] | tuple[str, ...] | None = None  # several, on a dim of their own
    of: Literal["particles", "molecules"] = "particles"  # molecules: their centres of mass
    r_min: Annotated[Length, Field(ge=0)] = 0.0
    r_max: Annotated[Length, Field(gt=0)] = 1.5
    bins: PositiveInt = 251
    exclude_bonded: NonNegativeInt | Literal["molecule"] = 3

    def model_post_init(self, context: Any) -> None:
        """Refuse what has no bins, or two answers."""
        if self.r_min >= self.r_max:
            raise ValueError(f"found r_min {self.r_min:g} and r_max {self.r_max:g} nm, expected r_min < r_max")
        if self.pair is not None and self.pairs is not None:
            raise ValueError("found pair and pairs, expected one of them")
        steps_of(self)


def centres_of(grid: PairGrid) -> NDArray[np.float64]:
    """Return the centres of the bins, nm.

    >>> centres_of(PairGrid(r_min="0.2475 nm", r_max="1.5025 nm", bins=251))[[0, 1, -1]].round(9).tolist()
    [0.25, 0.255, 1.5]
    """
    width = (grid.r_max - grid.r_min) / grid.bins
    return np.asarray(grid.r_min + (np.arange(grid.bins) + 0.5) * width)


def on_pairs(grid: PairGrid, *dims: str) -> tuple[str, ...]:
    """Return dims with that of pairs where several are asked for."""
    return dims if grid.pairs is None else ("pair", *dims)


def grid_of_pairs(grid: PairGrid) -> dict[str, tuple[NDArray[np.float64], str]]:
    """Return the coordinates of a grid, as a feature declares them."""
    return {"r": (centres_of(grid), "nm")}


def placed(found: xr.Dataset, grid: PairGrid, names: dict[str, str]) -> xr.Dataset:
    """Return variables on (pair, r) on the whole grid, NaN where they end before it; without pairs if one is asked.

    Parameters
    ----------
    found : result of `rdf_on_grid`, or on its pairs and bins
    names : for each column of the answer, a variable
    """
    pairs = [str(pair) for pair in found["pair"].values]
    values: dict[str, Any] = {}
    for column, name in names.items():
        whole = np.full((len(pairs), grid.bins), np.nan)
        whole[:, : found.sizes["r"]] = found[name].transpose("pair", "r").values
        values[column] = (("pair", "r"), whole) if grid.pairs is not None else (("r",), whole[0])
    return xr.Dataset(values, {"pair": np.array(pairs, np.str_)} if grid.pairs is not None else {})


def rdf_on_grid(source: Source, grid: PairGrid) -> xr.Dataset:
    """Return the radial distribution functions of a dataset in the bins of a grid that its boxes allow.

    Returns
    -------
    dataset as `cgstore.rdf` returns it, in memory, for the pairs asked for; it ends early where a box is small

    Raises
    ------
    PhysicsError : a box is too small for any bin
    InputError, NotFound : as `cgstore.rdf`; several types of particles, and no pair said
    """
    step, first, per_bin = steps_of(grid)
    wanted = (grid.pair,) if grid.pair else grid.pairs if isinstance(grid.pairs, tuple) else None
    asked = None if wanted is None else tuple("-".join(sorted(pair.split("-"))) for pair in wanted)
    how: dict[str, Any] = {"pairs": asked, "bin_width": step, "exclude_bonded": grid.exclude_bonded, "of": grid.of}
    bins = grid.bins
    blocks = source.kept_rdf_blocks(r_max=(first + bins * per_bin) * step, **how)
    if blocks is None:
        reach = min(first + bins * per_bin, int(source.half_box / step * (1 + 1e-9)))
        bins = (reach - first) // per_bin
        blocks = source.rdf_blocks(r_max=(first + bins * per_bin) * step, **how) if bins > 0 else None
    if blocks is None:
        raise PhysicsError(
            f"{source.name}: half of its box is {source.half_box:g} nm, expected more than {grid.r_min + step:g} nm; "
            "distances beyond it cannot be counted"
        )
    known = [str(pair) for pair in blocks["pair"].values]
    if asked is None and grid.pairs is None and len(known) > 1:
        raise InputError(
            f"{source.name}: found the pairs {', '.join(known[:6])}{' …' if len(known) > 6 else ''}; say one as "
            'pair = "A-B", or several as pairs = "all"'
        )
    if missing := [pair for pair in asked or () if pair not in known]:
        raise NotFound(f"{source.name}: found no pair {missing[0]}; there are {', '.join(known)}")
    part = blocks.sel(pair=list(asked) if asked else known).isel(r=slice(first, first + bins * per_bin))
    return _estimated(_merged(part, per_bin))


def _estimated(blocks: xr.Dataset) -> xr.Dataset:
    """Return mean and error as `cgstore.rdf` does, without its flags, which take longer."""
    found = mean_and_error(blocks["sum"].transpose("pair", "block", "r").values, blocks["weight"].values)
    norm = blocks["norm"].transpose("pair", "r").values
    norm = np.where(norm > 0.0, norm, np.nan)
    dims = ("pair", "r")
    values = {"rdf": (dims, found.mean / norm), "rdf_error": (dims, found.error / norm)}
    count = blocks["count"].sum("block").transpose(*dims)
    return xr.Dataset({**values, "count": count}, {"pair": blocks["pair"], "r": blocks["r"]})


def _merged(blocks: xr.Dataset, per_bin: int) -> xr.Dataset:
    """Add up neighbouring bins."""
    if per_bin == 1:
        return blocks
    names = ("count", "sum", "norm")
    summed = {name: blocks[name].coarsen(r=per_bin).sum().assign_attrs(blocks[name].attrs) for name in names}
    r = blocks["r"].coarsen(r=per_bin).mean().assign_attrs(blocks["r"].attrs)
    others = blocks.drop_vars([*names, "r"])
    return others.assign(summed).assign_coords(r=r)


def steps_of(grid: PairGrid) -> tuple[float, int, int]:
    """Return the width of counted bins, how many of them lie before the grid, and how many make one of its bins."""
    width = (grid.r_max - grid.r_min) / grid.bins
    for per_bin in (1, 2):
        before = grid.r_min / width * per_bin
        if abs(before - round(before)) < _WHOLE * max(1.0, before):
            return width / per_bin, round(before), per_bin
    raise ValueError(
        f"found r_min {grid.r_min:g} nm and bins of {width:g} nm, expected a whole number of bins, or of half bins, "
        "before r_min"
    )
