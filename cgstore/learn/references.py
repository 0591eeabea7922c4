"""What a fit is to reproduce at each of its datasets: distributions with their errors, and where replicas start."""

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cgstore.averages.keeping import kept_distributions
from cgstore.averages.onepass import distributions
from cgstore.averages.spec import Spec
from cgstore.box import heights
from cgstore.errors import InputError, PhysicsError
from cgstore.learn.drawing import StatePoint
from cgstore.learn.loader import Loader
from cgstore.learn.molecular_frames import TermGoal
from cgstore.learn.pressure import PressureGoal
from cgstore.learn.settings import FitFile, TrainingTable
from cgstore.learn.source import Source, inputs_of, pressure_of, spread_frames, temperature_of
from cgstore.splits.split import Catalog, Member
from cgstore.tables import Term

__all__ = ["reference_of", "state_points"]

Float = NDArray[np.float64]

_PARTS = ("rdf", "bonded")
_TERMS: tuple[Term, ...] = ("bond", "angle", "dihedral")


def reference_of(catalog: Catalog, member: Member, spec: Spec) -> xr.DataTree:
    """Return `rdf` and `bonded` of a dataset of a split: the kept ones; of a block of time or far away, computed now.

    Parameters
    ----------
    catalog, member : the dataset, and its block of time
    spec : what to compute
    """
    entry = catalog[member.name]
    ds = entry.open()
    if (member.start, member.stop) != (-np.inf, np.inf):
        ds = ds.isel(frame=member.frames(ds["time"].values))
    elif "://" not in entry.location:
        return _parts(kept_distributions(entry.path, ds, spec)[0])
    return _parts(distributions(ds, spec)).compute()


def _parts(tree: xr.DataTree) -> xr.DataTree:
    """Return the distributions that potentials are learned from."""
    return xr.DataTree.from_dict({name: tree[name].to_dataset() for name in _PARTS})


def state_points(file: FitFile, spec: Spec, catalog: Catalog, loader: Loader) -> list[StatePoint]:
    """Return what is to be reproduced at each dataset of a loader.

    Parameters
    ----------
    file, spec : of the fit
    catalog : of the store
    loader : of the datasets

    Raises
    ------
    InputError : a dataset has no temperature or no pressure, or has bonds that the kind of potential knows nothing of
    PhysicsError : the cutoff or the bins reach beyond half a box
    """
    pairs = [f"{a}-{b}" for n, a in enumerate(loader.types) for b in loader.types[n:]]
    points = []
    for number, (source, member) in enumerate(zip(loader.sources, loader.members, strict=True)):
        _check_bonds(source, file)
        tree = reference_of(catalog, member, spec)
        reference = tree["rdf"].to_dataset()
        r = reference["r"].values
        start = spread_frames(source, file.sampling.replicas, seed=file.seed + number)
        _check_reach(start, file.potential.cutoff, float(r[-1] + 0.5 * (r[1] - r[0])))
        known = reference.reindex(pair=pairs)
        temperature = temperature_of(catalog, source.name)
        g, error = known["rdf"].values, np.nan_to_num(known["rdf_error"].values)
        molecular = file.potential.kind == "molecular"
        # In a chain that is alone, g is as large as the box is larger than the chain.
        unit = np.maximum(1.0, _size(np.nan_to_num(g))) if molecular else np.ones(len(g))
        points.append(
            StatePoint(
                name=source.name,
                temperature=temperature,
                start=start,
                width=float(r[1] - r[0]),
                g=np.nan_to_num(g),
                # A pair that a system lacks says nothing.
                sigma=np.where(np.isnan(g), np.inf, _sigma(error, file, unit)),
                inputs=inputs_of(start, temperature),
                pressure=_pressure(file.training, catalog, source.name),
                terms=_terms(tree["bonded"].to_dataset(), file) if molecular else (),
            )
        )
    return points


def _check_bonds(source: Source, file: FitFile) -> None:
    """Refuse molecules where a potential of free particles is trained on averages."""
    bonds = len(source.topology.bond)
    if bonds and file.potential.kind != "molecular" and file.training.loss != "forces":
        raise InputError(
            f'{source.name}: found {bonds} bonds; write kind = "molecular" in [potential], or map molecules to one bead'
        )


def _terms(bonded: xr.Dataset, file: FitFile) -> tuple[TermGoal, ...]:
    """Return the densities of bonds, angles and dihedrals; their floor is relative to their root mean square."""
    goals = []
    for term in _TERMS:
        if term not in bonded or not bonded[term].size:
            continue
        kinds, bins = map(str, bonded[term].dims)
        x, value = bonded[bins].values, bonded[term].values
        width = float(x[-1] - x[0]) / (len(x) - 1)
        error = np.nan_to_num(bonded[f"{term}_error"].values)
        sigma = _sigma(error, file, _size(value))
        names = tuple(map(str, bonded[kinds].values))
        goals.append(TermGoal(term, names, float(x[0]) - 0.5 * width, width, value, sigma))
    return tuple(goals)


def _size(value: Float) -> Float:
    """Return the root mean square of each kind (kind,) of values (kind, bin)."""
    return np.asarray(np.sqrt((value**2).mean(axis=1)), np.float64)


def _sigma(error: Float, file: FitFile, unit: Float) -> Float:
    """Return the scale of deviations: the errors with their floor, or the floor alone when squares are just added.

    Parameters
    ----------
    error : (kind, bin)
    unit : (kind,) what the floor is a part of
    """
    floor = np.broadcast_to(file.training.floor * unit[:, None], error.shape)
    return floor.copy() if file.training.loss == "sse" else np.hypot(error, floor)


def _pressure(asked: TrainingTable, catalog: Catalog, name: str) -> PressureGoal | None:
    """Return the pressure that is wanted at a dataset."""
    if asked.pressure is None:
        return None
    value = pressure_of(catalog, name) if asked.pressure == "barostat" else asked.pressure
    return PressureGoal(value, asked.pressure_error, asked.plane)


def _check_reach(start: xr.Dataset, cutoff: float, r_max: float) -> None:
    """Refuse a potential or bins that reach beyond half of a box."""
    half = 0.5 * float(heights(start["box"].values).min())
    for name, reach in (("potential.cutoff", cutoff), ("r_max of the spec", r_max)):
        if reach > half:
            raise PhysicsError(
                f"{start.attrs['name']}: {name} = {reach:g} nm is beyond half the smallest box height, {half:.4g} nm"
            )
