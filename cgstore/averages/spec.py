"""Specs: what to compute of a dataset, as a TOML file says it, and what that means for the dataset at hand."""

from pathlib import Path
from typing import Annotated, Any, Literal

import xarray as xr
from pydantic import Field, NonNegativeInt

from cgstore.box import heights
from cgstore.documents import Angle, Document, Length, Temperature, Time, load_document

__all__ = [
    "BondedSpec",
    "MapSpec",
    "MembraneSpec",
    "MobilitySpec",
    "OrderSpec",
    "ProfileSpec",
    "RadialSpec",
    "RdfSpec",
    "Spec",
    "TiltSpec",
    "VelocitySpec",
    "load_spec",
    "rdf_parameters",
    "spec_of",
]

_USUAL_R_MAX = 1.5  # nm

Axis = Literal["x", "y", "z"]
By = Literal["type", "molecule_kind", "all"]
Density = Literal["number", "mass", "charge"]
Width = Annotated[Length, Field(gt=0)]


class RdfSpec(Document):
    """The table `[rdf]`: parameters of `cgstore.rdf`, quantities with their units."""

    pairs: tuple[str, ...] | None = None
    r_max: Length | None = None  # 1.5 nm, or as far as a smaller box allows
    bin_width: Length = 0.01
    exclude_bonded: NonNegativeInt | Literal["molecule"] = 3


class BondedSpec(Document):
    """The table `[bonded]`: parameters of `cgstore.bonded`, quantities with their units."""

    bond_width: Length = 0.002
    bond_max: Length = 1.0
    angle_width: Annotated[Angle, Field(gt=0)] = 1.0
    dihedral_width: Annotated[Angle, Field(gt=0)] = 2.0
    improper_width: Annotated[Angle, Field(gt=0)] = 2.0


class ProfileSpec(Document):
    """The table `[profile]`: parameters of `cgstore.density_profile`, quantities with their units."""

    axis: Axis = "z"
    centre: tuple[str, ...] | None = None
    width: Width = 0.05
    reach: Length | None = None  # as far as the boxes allow
    by: By = "type"
    density: Density = "number"
    symmetric: bool = False


class RadialSpec(Document):
    """The table `[radial_profile]`: parameters of `cgstore.radial_profile`, quantities with their units."""

    centre: tuple[str, ...]
    width: Width = 0.02
    reach: Length | None = None
    by: By = "type"


class MapSpec(Document):
    """The table `[radial_map]`: parameters of `cgstore.radial_map`, quantities with their units."""

    centre: tuple[str, ...]
    width: Width = 0.1
    reach: Length | None = None
    reach_z: Length | None = None
    axis: Axis = "z"
    by: By = "type"


class MembraneSpec(Document):
    """The table `[membrane]`: parameters of `cgstore.membrane`."""

    lipids: tuple[str, ...] | None = None
    head: tuple[str, ...] | None = None
    temperature: Temperature | None = None  # that of the dataset
    normal: Axis = "z"


class OrderSpec(Document):
    """The table `[order]`: parameters of `cgstore.order_parameters`, or of `cgstore.bond_order` for beads."""

    of: Literal["carbons", "bonds"] = "carbons"
    lipids: tuple[str, ...] | None = None
    carbons: tuple[str, ...] | None = None
    normal: Axis = "z"


class TiltSpec(Document):
    """The table `[tilt]`: parameters of `cgstore.tilt`."""

    of: Literal["lipid", "chain"] = "lipid"
    lipids: tuple[str, ...] | None = None
    head: tuple[str, ...] | None = None
    normal: Axis = "z"


class MobilitySpec(Document):
    """The table `[mobility]`: parameters of `cgstore.mean_squared_displacement` and `cgstore.diffusion_coefficient`."""

    of: Literal["molecule", "particle"] = "molecule"
    kinds: tuple[str, ...] | None = None
    dims: Annotated[str, Field(pattern="^(x?y?z?)$", min_length=1)] = "xyz"  # "xy" along a bilayer
    remove_drift: bool = True
    fit: tuple[Time, Time] | None = None  # first and last lag of the line; found by itself


class VelocitySpec(Document):
    """The table `[velocity]`: parameters of `cgstore.velocity_autocorrelation`."""

    of: Literal["molecule", "particle"] = "molecule"
    kinds: tuple[str, ...] | None = None
    normalise: bool = False


class Spec(Document):
    """What to compute; a table or key that is left out has the defaults of the functions."""

    rdf: RdfSpec = RdfSpec()
    bonded: BondedSpec = BondedSpec()
    profile: ProfileSpec | None = None  # without it bilayers have one with the defaults
    radial_profile: RadialSpec | None = None
    radial_map: MapSpec | None = None
    membrane: MembraneSpec | None = None  # without it bilayers have one with the defaults
    order: OrderSpec | None = None
    tilt: TiltSpec | None = None
    mobility: MobilitySpec | None = None
    velocity: VelocitySpec | None = None
    covariance: bool = False  # of all bins of rdf and bonded, for inverse Monte Carlo


def load_spec(path: Path | str) -> Spec:
    """Read a spec from a TOML file.

    Raises
    ------
    InputError : the file is missing or wrong; the message lists every problem
    """
    return load_document(Path(path), Spec)


def spec_of(spec: Spec | Path | str | None) -> Spec:
    """Return a spec as it is, from its file, or the defaults.

    Raises
    ------
    InputError : as `load_spec`
    """
    if isinstance(spec, Spec):
        return spec
    return Spec() if spec is None else load_spec(spec)


def rdf_parameters(ds: xr.Dataset, spec: Spec) -> dict[str, Any]:
    """Return the arguments of `cgstore.rdf` that a spec means for a dataset.

    Without an `r_max` this is 1.5 nm, or the largest multiple of the bin width that the smallest box allows.

    Parameters
    ----------
    ds : dataset of the schema; its boxes are read if the spec has no `r_max`
    spec : what to compute

    Examples
    --------
    >>> import numpy as np
    >>> box = xr.DataArray([np.diag([2.0, 3.0, 3.0])], dims=("frame", "box_vector", "xyz"))
    >>> rdf_parameters(xr.Dataset({"box": box}), Spec())["r_max"]
    1.0
    """
    parameters = spec.rdf.model_dump()
    if parameters["r_max"] is None:
        parameters["r_max"] = _USUAL_R_MAX
        if "box" in ds:  # without one the counter says what is missing
            half = 0.5 * float(heights(ds["box"].values).min())
            parameters["r_max"] = min(_USUAL_R_MAX, int(half / spec.rdf.bin_width) * spec.rdf.bin_width)
    return parameters
