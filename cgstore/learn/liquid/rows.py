"""Systems of a feature table as models of simple liquids learn from them: g(r), state point, true σ and ε."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cgstore.errors import InputError
from cgstore.learn.liquid.features import Curves

__all__ = ["Rows", "rows_of_table"]

Float = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Systems with their true parameters, (row, 2): σ in nm, ε in kJ/mol."""

    curves: Curves
    truth: Float

    def __len__(self) -> int:
        """Return the number of systems."""
        return len(self.truth)

    def take(self, rows: NDArray[np.integer[Any]]) -> "Rows":
        """Return some of them, in this order."""
        c = self.curves
        return Rows(Curves(c.r, c.g[rows], c.error[rows], c.temperature[rows], c.density[rows]), self.truth[rows])


def rows_of_table(table: xr.Dataset, names: Sequence[str], *, rdf: str = "rdf", parameters: str = "parameters") -> Rows:
    """Return the rows of a feature table with these names, in this order.

    Parameters
    ----------
    table : columns `rdf` and `rdf_error` on (system, rdf_r), `parameters` with sigma and epsilon, `temperature`,
        `number_density`
    names : of datasets
    rdf, parameters : what the columns are called

    Raises
    ------
    InputError : sigma or epsilon is no parameter; a system lacks a value
    """
    part = table.sel(system=list(names))
    dim = f"{parameters}_parameter"
    known = [str(name) for name in part[dim].values]
    if missing := [name for name in ("sigma", "epsilon") if name not in known]:
        raise InputError(f"the table has no parameter {missing[0]!r} in its column {parameters!r}; it has {known}")
    truth = part[parameters].sel({dim: ["sigma", "epsilon"]}).transpose("system", dim).values
    numbers = (part[rdf].values, part["temperature"].values, part["number_density"].values, truth)
    bad = np.any([~np.isfinite(a.reshape(len(names), -1)).all(axis=1) for a in numbers], axis=0)
    if bad.any():
        raise InputError(
            f"{names[int(np.flatnonzero(bad)[0])]}: lacks a value in the table, as do {int(bad.sum()) - 1} others; "
            "cgstore table explain says why; leave them out of the split"
        )
    g, temperature, density, _ = numbers
    curves = Curves.of(part[f"{rdf}_r"].values, g, part[f"{rdf}_error"].values, temperature, density)
    return Rows(curves, np.asarray(truth, np.float64))
