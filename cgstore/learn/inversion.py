"""Inversion by sampling: a model is sampled, held against a reference and corrected, until both are equal.

The corrections are those of `cgstore.inverse`; here they get samples, and become tables that can be sampled.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cgstore.averages.onepass import distributions_of, statistics
from cgstore.averages.spec import Spec
from cgstore.box import volume
from cgstore.errors import InputError, PhysicsError
from cgstore.frames import Frames
from cgstore.inverse.cross import imc_update, with_change
from cgstore.inverse.deviations import agreement
from cgstore.inverse.entries import counts_of_distribution, on_entries
from cgstore.inverse.iterative import ibi_update
from cgstore.inverse.mean_force import potential_of_mean_force
from cgstore.learn.sampler import sample, starting_frames
from cgstore.learn.settings import Sampling
from cgstore.tables import Table, interpolate, table_of

__all__ = ["Method", "invert"]

Float = NDArray[np.float64]
Method = Literal["ibi", "imc"]

_STEP = {"ibi": 0.7, "imc": 1.0}
_NEAR = 0.1  # rmsd of g; a model further away responds to nothing as the target would, it may have another phase
_SAMPLING = Sampling(equilibrate=5.0, duration=40.0, every=0.25)


def invert(
    reference: xr.Dataset,
    start: xr.Dataset | Frames,
    *,
    temperature: float,
    method: Method = "ibi",
    iterations: int = 8,
    step: float | None = None,
    tolerance: float = 0.0,
    cutoff: float | None = None,
    spacing: float = 0.002,
    guess: Mapping[str, Table] | None = None,
    types: Sequence[str] | NDArray[np.str_] | None = None,
    masses: Sequence[float] | Float | None = None,
    sampling: Sampling = _SAMPLING,
    seed: int = 0,
    progress: Callable[[int, float, float], None] | None = None,
) -> tuple[dict[str, Table], xr.Dataset]:
    """Find tables whose radial distribution functions are those of a reference.

    Parameters
    ----------
    reference : result of `cgstore.rdf` on (pair, r), every pair of types of the particles
    start : frames of the same system to start replicas from, for example of `starting_frames`
    temperature : K, of the reference
    method : "ibi", iterative Boltzmann inversion, each bin by itself; "imc", inverse Monte Carlo, all bins at once
    iterations : corrections at most; fewer when the distributions are equal as far as one can know
    step : part of a correction that is made; by default 0.7 of "ibi", since with all of it dense liquids overshoot
    tolerance : an rmsd of g that is small enough, whatever the errors
    cutoff : nm, the end of the reference by default
    spacing : nm, of the nodes of the tables
    guess : tables to begin with, potentials of mean force of the reference by default
    types, masses, seed : as in `sample`
    sampling : how each model is sampled
    progress : is told iteration, largest rmsd and largest chi2 of the pairs

    Returns
    -------
    tables : of the iteration with the smallest rmsd, averaged over the pairs; not always the last
    history : dataset on (iteration, pair, r) with `rdf`, `rdf_error`, `energy`, and on (iteration, pair) what
        `cgstore.inverse.deviations.agreement` says, `rmsd` and `chi2` among it; iteration 0 is the guess; attrs `best`,
        and `converged`, whether that one agrees with the reference

    Raises
    ------
    PhysicsError : the reference is empty or does not reach the cutoff, the box is too small, the motion explodes
    InputError : errors that inverse Monte Carlo needs are not known; as `sample`

    Notes
    -----
    The potential is unique up to a constant (Henderson 1974, doi:10.1016/0375-9601(74)90847-0), but in a dense liquid
    very different potentials have nearly the same g. Inverse Monte Carlo responds to what the counts of all bins have
    in common, and different volumes of replicas are no such response: with "imc" all replicas have the mean box.
    """
    if method not in _STEP:
        raise InputError(f'invert: found method {method!r}, expected "ibi" or "imc"')
    goal, end = _goal(reference, cutoff)
    part = _STEP[method] if step is None else step
    replicas = _one_box(start) if method == "imc" else start
    tables = _first_tables(goal, guess or {}, temperature, end, spacing)
    history: list[xr.Dataset] = []
    tried: list[dict[str, Table]] = []
    for iteration in range(iterations + 1):
        samples = _sampled(tables, replicas, sampling, temperature, types, masses, seed + iteration)
        replicas = samples.isel(frame=np.flatnonzero(np.diff(samples["replica"], append=-1)))
        model = statistics(samples, _spec(goal, end, covariance=method == "imc")).compute()
        found = distributions_of(model)["rdf"].to_dataset()
        report = agreement(found, goal, tolerance=tolerance)
        history.append(_entry(found, goal, tables).merge(report))
        tried.append(tables)
        if progress is not None:
            progress(iteration, float(report["rmsd"].max()), float(report["chi2"].max()))
        if report["converged"].values[_pairs(goal)].all() or iteration == iterations:
            break
        before = _energies(tables, goal)
        if method == "imc" and float(report["rmsd"].max()) <= _NEAR:
            space = float(volume(samples["box"].values).mean())
            after = _cross_corrected(before, model, goal, space, temperature, part)
        else:
            size = part if method == "ibi" else _STEP["ibi"]
            after = ibi_update(before, found, goal, temperature=temperature, step=size, tolerance=tolerance)
        tables = _tables(after["potential"], end, spacing)
    joined = xr.concat(history, "iteration").assign_coords(iteration=np.arange(len(history)))
    best = int(np.argmin(joined["rmsd"].mean("pair").values))
    attrs = {"best": best, "converged": int(joined["converged"].values[best][_pairs(goal)].all())}
    return tried[best], joined.assign_attrs(attrs, method=method, temperature=temperature, cutoff=end)


def _sampled(
    tables: Mapping[str, Table],
    replicas: xr.Dataset | Frames,
    sampling: Sampling,
    temperature: float,
    types: Sequence[str] | NDArray[np.str_] | None,
    masses: Sequence[float] | Float | None,
    seed: int,
) -> xr.Dataset:
    """Sample a model from where the last one ended."""
    return sample(
        tables,
        replicas,
        types=types,
        masses=masses,
        temperature=temperature,
        seed=seed,
        **asdict(sampling),
    )


def _one_box(start: xr.Dataset | Frames) -> xr.Dataset | Frames:
    """Return the starting frames in their mean box."""
    if isinstance(start, xr.Dataset):
        return starting_frames(start, start.sizes["frame"])
    if start.box is not None and not np.allclose(start.box, start.box[:1], rtol=1e-6, atol=0.0):
        raise InputError('invert: found starting frames in different boxes; for "imc" give them as a dataset')
    return start


def _goal(reference: xr.Dataset, cutoff: float | None) -> tuple[xr.Dataset, float]:
    """Return the reference up to the cutoff, in memory, and the cutoff."""
    lacking = {"rdf", "rdf_error"} - set(reference.data_vars)
    if lacking or reference["rdf"].dims != ("pair", "r") or reference.sizes["r"] < 10:
        raise InputError(
            f"invert: found a reference with {sorted(map(str, reference.data_vars))} on {dict(reference.sizes)}; "
            "expected the result of `cgstore.rdf`, on (pair, r) with 10 bins at least"
        )
    r = np.asarray(reference["r"].values, np.float64)
    width = round(float(r[1] - r[0]), 9)
    last = len(r) * width
    end = last if cutoff is None else round(cutoff / width) * width
    if end > last + 1e-9:
        raise PhysicsError(f"invert: the reference ends at {last:g} nm, before the cutoff at {end:g} nm")
    kept = [name for name in ("rdf", "rdf_error", "count") if name in reference]
    return reference[kept].isel(r=r < end).compute(), end


def _spec(goal: xr.Dataset, end: float, *, covariance: bool) -> Spec:
    """Return what is counted of a model: the pairs and bins of the reference."""
    width = round(float(goal["r"][1] - goal["r"][0]), 9)
    bins = {"r_max": f"{end!r} nm", "bin_width": f"{width!r} nm", "exclude_bonded": 0}
    pairs = list(map(str, goal["pair"].values))
    return Spec.model_validate({"rdf": {"pairs": pairs, **bins}, "covariance": covariance})


def _pairs(goal: xr.Dataset) -> NDArray[np.bool_]:
    """Return which pairs of types (pair,) there are: of one particle alone there is none of its own type."""
    return np.asarray(goal["rdf"].notnull().any("r").values)


def _first_tables(
    goal: xr.Dataset, guess: Mapping[str, Table], temperature: float, end: float, spacing: float
) -> dict[str, Table]:
    """Return the guess, completed by potentials of mean force."""
    r = goal["r"].values
    first = {str(pair): interpolate(guess[pair], r)[0] for pair in goal["pair"].values if pair in guess}
    rest = goal.sel(pair=[pair for pair in goal["pair"].values.tolist() if pair not in first])
    if rest.sizes["pair"]:
        energy = potential_of_mean_force(rest, temperature=temperature)["potential"]
        first |= {str(pair): energy.sel(pair=pair).values for pair in rest["pair"].values}
    rows = [first[str(pair)] for pair in goal["pair"].values]
    return _tables(xr.DataArray(rows, {"pair": goal["pair"], "r": goal["r"]}, ("pair", "r")), end, spacing)


def _tables(potential: xr.DataArray, end: float, spacing: float) -> dict[str, Table]:
    """Return potentials (pair, r) as tables; what nothing is known of, because no two particles feel it, is zero."""
    r = potential["r"].values
    rows = {str(pair): np.nan_to_num(potential.sel(pair=pair).values) for pair in potential["pair"].values}
    return {pair: table_of(r, energy, end, spacing=spacing) for pair, energy in rows.items()}


def _energies(tables: Mapping[str, Table], goal: xr.Dataset) -> xr.Dataset:
    """Return the energies of tables on the bins of the reference.

    They end smoothly: what the end of a table takes away of one correction must not pile up in the next.
    """
    energy = np.stack([interpolate(tables[str(pair)], goal["r"].values)[0] for pair in goal["pair"].values])
    return xr.Dataset({"potential": (("pair", "r"), energy)}, {"pair": goal["pair"], "r": goal["r"]})


def _cross_corrected(
    before: xr.Dataset, model: xr.DataTree, goal: xr.Dataset, volume: float, temperature: float, step: float
) -> xr.Dataset:
    """Return the potential after a step of inverse Monte Carlo."""
    covariance = model["covariance"].to_dataset()
    counts = counts_of_distribution(goal, model["rdf"].to_dataset()["norm"], volume=volume)
    update = imc_update(covariance, on_entries([counts], covariance), temperature=temperature)
    update = update.assign({name: step * update[name] for name in ("change", "change_error")})
    return with_change(before, update, goal, temperature=temperature)


def _entry(found: xr.Dataset, goal: xr.Dataset, tables: Mapping[str, Table]) -> xr.Dataset:
    """Return one iteration of the history, without its judgement."""
    attributes = {"units": "kJ/mol", "long_name": "pair potential"}
    energy = _energies(tables, goal)["potential"].assign_attrs(attributes)
    return found[["rdf", "rdf_error"]].assign_coords(r=goal["r"]).assign(energy=energy)
