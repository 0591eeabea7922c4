"""What each kind of figure draws: the variable of its result, what there is one curve of, and the letters on the axes.

- rdf: `rdf (pair, r)`; bond, angle, dihedral, improper: `bond (bond_kind, r)`, `angle (angle_kind, theta)` …;
  profile: `profile (type, z)`; radial_profile: `profile (type, r)`. Few curves share one panel, many make a grid
- map: `map (type, r, z)`; a panel per type
- area, thickness, tilt: `area_per_lipid_series (frame)`, `thickness_series`, `tilt_series (frame, molecule_kind)`
- order: `order_parameter (carbon)` against the number of the carbon in its chain, or `bond_order (bond_kind)`
- msd: `msd (kind, lag)` with the line of `diffusion`; vacf: `vacf (kind, lag)`, below it the integral `diffusion`
- pmf: `pmf (kind, bin)` with `potential`, dashed where `extrapolated`
- covariance: `comoment (part, entry, other)` as correlations
- potential: `energy (curve, pair, r)`; a panel per pair, a line per curve, the wall is cut off
- validation: `rdf (curve, pair, r)`, the first curve being the reference; below it the distance of the others from it
- training: `loss (iteration)`, if there `part_loss (part, iteration)`, `effective (iteration)` (share of the sample)
"""

from dataclasses import dataclass

import numpy as np
import xarray as xr

from cgstore.documents import did_you_mean
from cgstore.errors import NotFound

__all__ = ["DISTRIBUTIONS", "KINDS", "KINDS_OF_DATASETS", "SHAPES", "Shape", "choose", "labels_of", "name_of"]


@dataclass(frozen=True, slots=True)
class Shape:
    """What a result is made of: variable and dims; the letters on the axes, and units where the attrs have none."""

    variable: str
    along: tuple[str, ...]  # coordinates whose labels can be chosen from
    title: str
    axis: str = ""
    letter: str = ""
    symbol: str = ""
    x_unit: str = ""
    y_unit: str = ""


SHAPES = {
    "rdf": Shape("rdf", ("pair",), "Radial distribution", "r", "r", "g(r)", "nm", "1"),
    "bond": Shape("bond", ("bond_kind",), "Bond distribution", "r", "r", "p(r)", "nm", "1/nm"),
    "angle": Shape("angle", ("angle_kind",), "Angle distribution", "theta", "θ", "p(θ)", "degree", "1/degree"),
    "dihedral": Shape(
        "dihedral", ("dihedral_kind",), "Dihedral distribution", "phi", "φ", "p(φ)", "degree", "1/degree"
    ),
    "improper": Shape(
        "improper", ("improper_kind",), "Improper dihedral distribution", "xi", "ξ", "p(ξ)", "degree", "1/degree"
    ),
    "profile": Shape("profile", ("type", "molecule_kind"), "Density profile", "z", "z", "", "nm", "1/nm^3"),
    "radial_profile": Shape(
        "profile", ("type", "molecule_kind"), "Density around the particle", "r", "r", "", "nm", "1/nm^3"
    ),
    "map": Shape("map", ("type", "molecule_kind"), "Density around the particle", "r", "r", "", "nm", "1/nm^3"),
    "area": Shape("area_per_lipid_series", (), "Area per lipid", symbol="area per lipid", y_unit="nm^2"),
    "thickness": Shape("thickness_series", (), "Thickness", symbol="thickness", y_unit="nm"),
    "tilt": Shape("tilt_series", ("molecule_kind",), "Tilt", symbol="mean tilt", y_unit="degree"),
    "order": Shape("order_parameter", ("molecule_kind",), "Order parameters"),
    "msd": Shape("msd", ("kind",), "Mean squared displacement", "lag", "t", "MSD", "ps", "nm^2"),
    "vacf": Shape("vacf", ("kind",), "Velocity autocorrelation", "lag", "t", "C(t)", "ps", "nm^2/ps^2"),
    "pmf": Shape(
        "pmf",
        ("pair", "bond_kind", "angle_kind", "dihedral_kind", "improper_kind"),
        "Potential of mean force",
        symbol="U",
        y_unit="kJ/mol",
    ),
    "covariance": Shape("comoment", ("kind", "distribution"), "Correlations of counts"),
    "potential": Shape("energy", ("pair",), "Pair potential", "r", "r", "U(r)", "nm", "kJ/mol"),
    "validation": Shape("rdf", ("pair",), "Validation", "r", "r", "g(r)", "nm", "1"),
    "training": Shape("loss", ("part",), "Training", "iteration"),
}
KINDS = tuple(SHAPES)
KINDS_OF_DATASETS = KINDS[:-3]  # the others belong to a fit
DISTRIBUTIONS = KINDS[:5]


def name_of(result: xr.Dataset) -> str:
    """Return what the result is about, for titles and messages."""
    return str(result.attrs.get("name", "this result"))


def labels_of(result: xr.Dataset, shape: Shape) -> dict[str, list[str]]:
    """Return the labels of a result that can be chosen from, by coordinate.

    Examples
    --------
    >>> labels_of(xr.Dataset(coords={"pair": ["A-A", "A-B"]}), SHAPES["rdf"])
    {'pair': ['A-A', 'A-B']}
    """
    found = {along: result[along].values for along in shape.along if along in result.coords}
    return {along: [str(label) for label in dict.fromkeys(np.atleast_1d(values))] for along, values in found.items()}


def choose(result: xr.Dataset, shape: Shape, pair: str | None) -> list[str]:
    """Return the labels to draw, all of the first coordinate without a choice; one written backwards is found too.

    Raises
    ------
    NotFound : no such label
    """
    labels = labels_of(result, shape)
    along, first = next(iter(labels.items()), ("part", []))
    if pair is None:
        return first
    known = [label for group in labels.values() for label in group]
    for name in (pair, "-".join(reversed(pair.split("-")))):
        if name in known:
            return [name]
    if not known:
        raise NotFound(f'{name_of(result)} has no "{pair}": this kind of picture has nothing to choose from')
    raise NotFound(f'{name_of(result)} has no {along.replace("_", " ")} "{pair}"{did_you_mean(pair, known)}')
