"""Goals of an inversion: the distributions of a reference on their bins, and how far those of a model are from them."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cgstore.averages.onepass import distributions_of
from cgstore.averages.spec import Spec
from cgstore.errors import InputError, PhysicsError
from cgstore.inverse.deviations import agreement
from cgstore.inverse.layout import Kind
from cgstore.learn.molecular import Exclusion

__all__ = ["KINDS", "Goal", "compared", "found_in", "goal_of"]

Float = NDArray[np.float64]

KINDS: tuple[Kind, ...] = ("rdf", "bond", "angle", "dihedral")  # that potentials have tables of
_FEWEST = 10  # bins of an rdf


@dataclass(frozen=True, slots=True, eq=False)
class Goal:
    """What a model is to reproduce."""

    parts: Mapping[Kind, xr.Dataset]  # each distribution on (kind, bin), with its error and counts, in memory
    end: float  # nm, where pair potentials end
    exclude_bonded: Exclusion
    scale: dict[Kind, Float] = field(default_factory=dict)  # (kind,) what a deviation is relative to

    def __post_init__(self) -> None:
        """Find the scales: 1 of g, its value in an ideal gas; of densities their root mean square."""
        for name, part in self.parts.items():
            square = np.sqrt((part[name].values ** 2).mean(axis=1))
            self.scale[name] = np.ones_like(square) if name == "rdf" else square

    @property
    def molecular(self) -> bool:
        """Say whether there are terms besides the pairs."""
        return set(self.parts) != {"rdf"}

    def exists(self, name: Kind) -> NDArray[np.bool_]:
        """Return which kinds (kind,) there are: of one particle alone there is no pair of its own type."""
        return np.asarray(self.parts[name][name].notnull().any(self.dims(name)[1]).values)

    def dims(self, name: Kind) -> tuple[str, str]:
        """Return the dims of kinds and of bins."""
        kind, bin = map(str, self.parts[name][name].dims)
        return kind, bin

    def spec(self, *, covariance: bool) -> Spec:
        """Return what is counted of a model: the pairs and bins of the reference."""
        pairs = list(map(str, self.parts["rdf"]["pair"].values))
        width = {name: self._width(name) for name in self.parts}
        rdf = {"pairs": pairs, "r_max": f"{self.end!r} nm", "bin_width": f"{width['rdf']!r} nm"}
        bonded = {f"{name}_width": f"{width[name]!r} degree" for name in ("angle", "dihedral") if name in width}
        if "bond" in width:
            longest = round(self.parts["bond"].sizes["r"] * width["bond"], 9)
            bonded |= {"bond_width": f"{width['bond']!r} nm", "bond_max": f"{longest!r} nm"}
        asked = {"rdf": rdf | {"exclude_bonded": self.exclude_bonded}, "bonded": bonded, "covariance": covariance}
        return Spec.model_validate(asked)

    def _width(self, name: Kind) -> float:
        """Return the width of bins."""
        x = np.asarray(self.parts[name][self.dims(name)[1]].values, np.float64)
        return round(float(x[-1] - x[0]) / (len(x) - 1), 9)


def goal_of(reference: xr.Dataset | xr.DataTree, cutoff: float | None) -> Goal:
    """Return the goal that a reference sets, its pairs up to the cutoff.

    Parameters
    ----------
    reference : result of `cgstore.rdf`, or a tree with that in `rdf` and that of `cgstore.bonded` in `bonded`
    cutoff : nm, the end of the rdf by default

    Raises
    ------
    InputError : something else
    PhysicsError : the rdf does not reach the cutoff
    """
    if isinstance(reference, xr.Dataset):
        pairs, end = _pairs(reference, cutoff)
        return Goal({"rdf": pairs}, end, 0)
    if "rdf" not in reference.children:
        raise InputError(
            f"invert: found a tree of {', '.join(reference.children) or 'nothing'}, expected `rdf` and `bonded`, as "
            "`cgstore.distributions` returns them"
        )
    rdf = reference["rdf"].to_dataset()
    excluded = rdf.attrs.get("parameters", {}).get("exclude_bonded")
    if excluded is None:
        raise InputError(
            "invert: found an rdf that does not say which pairs it leaves out; give the result of `cgstore.rdf`, or "
            'set .attrs["parameters"] = {"exclude_bonded": …}'
        )
    pairs, end = _pairs(rdf, cutoff)
    parts: dict[Kind, xr.Dataset] = {"rdf": pairs}
    bonded = reference["bonded"].to_dataset() if "bonded" in reference.children else xr.Dataset()
    for name in KINDS[1:]:
        if name in bonded and bonded[name].size:
            parts[name] = bonded[[name, f"{name}_error", f"{name}_count"]].compute()
    return Goal(parts, end, excluded)


def found_in(model: xr.DataTree, goal: Goal) -> dict[Kind, xr.Dataset]:
    """Return the distributions of a model, from its statistics, in the order of those of the goal.

    Raises
    ------
    InputError : the model has no terms of some kind
    """
    tree = distributions_of(model)
    found: dict[Kind, xr.Dataset] = {}
    for name, part in goal.parts.items():
        kind, bin = goal.dims(name)
        ds = tree["rdf" if name == "rdf" else "bonded"].to_dataset()
        lacking = sorted(set(part[kind].values.tolist()) - set(ds[kind].values.tolist()))
        if lacking:
            raise InputError(f"invert: the reference has the {name} {lacking[0]}, the starting frames have none of it")
        count = "count" if name == "rdf" else f"{name}_count"
        here = ds[[name, f"{name}_error", count]].sel({kind: part[kind].values})
        found[name] = here.assign_coords({bin: part[bin]}) if here.sizes[bin] == part.sizes[bin] else here
    return found


def compared(found: Mapping[Kind, xr.Dataset], goal: Goal, tolerance: float) -> dict[Kind, xr.Dataset]:
    """Return what `agreement` says of each distribution, and `deviation`, its rmsd in units of the scale."""
    reports = {}
    for name, part in goal.parts.items():
        kind = goal.dims(name)[0]
        report = agreement(found[name], part, kind=name, tolerance=tolerance * goal.scale[name])
        deviation = report["rmsd"].values / goal.scale[name]
        meaning = {"units": "1", "long_name": "rmsd; of densities relative to the root mean square of the reference"}
        reports[name] = report.assign(deviation=(kind, deviation, meaning))
    return reports


def _pairs(reference: xr.Dataset, cutoff: float | None) -> tuple[xr.Dataset, float]:
    """Return the rdf up to the cutoff, in memory, and the cutoff."""
    lacking = {"rdf", "rdf_error"} - set(reference.data_vars)
    if lacking or reference["rdf"].dims != ("pair", "r") or reference.sizes["r"] < _FEWEST:
        raise InputError(
            f"invert: found a reference with {sorted(map(str, reference.data_vars))} on {dict(reference.sizes)}; "
            f"expected the result of `cgstore.rdf`, on (pair, r) with {_FEWEST} bins at least"
        )
    r = np.asarray(reference["r"].values, np.float64)
    width = round(float(r[1] - r[0]), 9)
    last = round(len(r) * width, 9)
    end = last if cutoff is None else round(round(cutoff / width) * width, 9)
    if end > last + 1e-9:
        raise PhysicsError(f"invert: the reference ends at {last:g} nm, before the cutoff at {end:g} nm")
    kept = [name for name in ("rdf", "rdf_error", "count") if name in reference]
    return reference[kept].isel(r=r < end).compute(), end
