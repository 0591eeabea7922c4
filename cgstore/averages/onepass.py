"""All distributions of a spec in one reading of the frames, and kept beside the dataset."""

from pathlib import Path
from typing import Annotated, Any, Literal

import xarray as xr
from pydantic import Field, NonNegativeInt

from cgstore.averages.bonded import bonded_counter, bonded_from_blocks
from cgstore.averages.counting import count_blocks, result_attrs
from cgstore.averages.pair import rdf_counter, rdf_from_blocks
from cgstore.box import heights
from cgstore.documents import Angle, Document, Length, load_document
from cgstore.errors import InputError
from cgstore.features import keep

__all__ = ["BondedSpec", "RdfSpec", "Spec", "distributions", "kept_distributions", "load_spec", "rdf_parameters"]

_USUAL_R_MAX = 1.5  # nm
VERSION = 1  # of the numbers: a change of kernels or statistics that changes any of them changes this


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


class Spec(Document):
    """What to compute; a table or key that is left out has the defaults of the functions."""

    rdf: RdfSpec = RdfSpec()
    bonded: BondedSpec = BondedSpec()


def load_spec(path: Path | str) -> Spec:
    """Read a spec from a TOML file.

    Raises
    ------
    InputError : the file is missing or wrong; the message lists every problem
    """
    return load_document(Path(path), Spec)


def distributions(ds: xr.Dataset, spec: Spec | Path | str | None = None) -> xr.DataTree:
    """Return everything in a spec, from one reading of the frames; nothing is read until it is computed.

    Parameters
    ----------
    ds : dataset of the schema
    spec : a `Spec`, or the file of one; the defaults without it. Without an `r_max` the distances reach to 1.5 nm, in
        smaller boxes as far as half the smallest height allows (only then are the boxes read at once)

    Returns
    -------
    tree with the nodes `rdf` and `bonded`, as `cgstore.rdf` and `cgstore.bonded` return them, lazy

    Raises
    ------
    InputError, NotFound, PhysicsError : as `cgstore.rdf` and `cgstore.bonded`

    Examples
    --------
    >>> import numpy as np
    >>> x = np.random.default_rng(1).random((50, 20, 3), np.float32)
    >>> gas = xr.Dataset(
    ...     {"position": (("frame", "particle", "xyz"), x), "box": (("frame", "box_vector", "xyz"), [np.eye(3)] * 50)})
    >>> tree = distributions(gas, Spec(rdf=RdfSpec(r_max="0.5 nm")))
    >>> list(tree), tree["rdf"].sizes["r"]
    (['rdf', 'bonded'], 50)
    """
    asked = spec if isinstance(spec, Spec) else load_spec(spec) if spec is not None else Spec()
    pair, terms = rdf_parameters(ds, asked), asked.bonded.model_dump()
    (rdf_blocks,), bonded_blocks = count_blocks(ds, [rdf_counter(ds, **pair), bonded_counter(ds, **terms)])
    named = dict(zip(("bond", "angle", "dihedral"), bonded_blocks, strict=True))
    pair["pairs"] = rdf_blocks["pair"].values.tolist()
    return xr.DataTree.from_dict(
        {
            "rdf": rdf_from_blocks(rdf_blocks).assign_attrs(result_attrs(ds, pair)),
            "bonded": bonded_from_blocks(xr.DataTree.from_dict(named)).assign_attrs(result_attrs(ds, terms)),
        }
    )


def rdf_parameters(ds: xr.Dataset, spec: Spec) -> dict[str, Any]:
    """Return the arguments of `cgstore.rdf` that a spec means for a dataset.

    Without an `r_max` this is 1.5 nm, or the largest multiple of the bin width that the smallest box allows.

    Parameters
    ----------
    ds : dataset of the schema; its boxes are read if the spec has no `r_max`
    spec : what to compute

    Examples
    --------
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


def kept_distributions(
    dataset_dir: Path, ds: xr.Dataset, spec: Spec | Path | str | None = None
) -> tuple[xr.DataTree, bool]:
    """Return the distributions of a stored dataset, computed only if nobody asked the same before.

    Parameters
    ----------
    dataset_dir : folder of the dataset in its store
    ds : one version of it, opened
    spec : as `distributions`

    Returns
    -------
    the tree, in memory, and whether it was computed now

    Raises
    ------
    InputError : the dataset has no digest, so it does not come from a store; else as `distributions`
    """
    if "digest" not in ds.attrs:
        raise InputError(f"{ds.attrs.get('name', 'this dataset')}: found no digest, expected a dataset from a store")
    asked = spec if isinstance(spec, Spec) else load_spec(spec) if spec is not None else Spec()
    return keep(
        dataset_dir,
        name="distributions",
        version=VERSION,
        parameters=asked.model_dump(mode="json"),
        dataset_digest=str(ds.attrs["digest"]),
        compute=lambda: distributions(ds, asked),
    )
