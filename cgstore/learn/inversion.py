"""Iterative Boltzmann inversion: the tabulated pair potential that has a given radial distribution function.

U ← U + s kT ln(g / g_ref), from U = −kT ln g_ref; the baseline that a network has to beat, without a network.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cgstore.averages.pair import rdf
from cgstore.errors import InputError, PhysicsError
from cgstore.frames import Frames
from cgstore.learn.sampler import sample
from cgstore.tables import Table, extend_core, interpolate, pmf, smooth, table_of
from cgstore.units import BOLTZMANN

__all__ = ["deviation", "ibi"]

Float = NDArray[np.float64]

_FLOOR = 0.01  # of g: what is too rare to be told from noise; −ln is 4.6
_LARGEST = 2.0  # kT: the largest change of the potential in one iteration


def ibi(
    reference: xr.Dataset,
    start: xr.Dataset | Frames,
    *,
    temperature: float,
    iterations: int = 8,
    cutoff: float | None = None,
    scale: float = 0.7,
    tolerance: float = 1.0,
    guess: Mapping[str, Table] | None = None,
    spacing: float = 0.002,
    types: Sequence[str] | NDArray[np.str_] | None = None,
    masses: Sequence[float] | Float | None = None,
    time_step: float = 0.01,
    friction: float = 1.0,
    equilibrate: float = 5.0,
    duration: float = 40.0,
    every: float = 0.25,
    seed: int = 0,
    threads: int = 2,
    progress: Callable[[int, float, float], None] | None = None,
) -> tuple[dict[str, Table], xr.Dataset]:
    """Find tables whose radial distribution functions are those of a reference.

    Parameters
    ----------
    reference : result of `cgstore.rdf` on (pair, r), every pair of types of the particles
    start : frames of the same system to start replicas from, for example of `starting_frames`
    temperature : K, of the reference
    iterations : corrections at most; fewer when every chi2 is at most `tolerance`
    cutoff : nm, the end of the reference by default
    scale : part of the correction that is made; with all of it, dense liquids overshoot
    guess : tables to begin with, −kT ln g of the reference by default
    spacing : nm, of the nodes of the tables
    types, masses, time_step, friction, equilibrate, duration, every, seed, threads : as in `sample`
    progress : is told iteration, largest rmsd and largest chi2 of the pairs

    Returns
    -------
    tables : of the iteration with the smallest rmsd, averaged over the pairs; not always the last
    history : dataset on (iteration, pair, r) with `rdf`, `rdf_error`, `energy`, and `rmsd` and `chi2` on
        (iteration, pair), see `deviation`; iteration 0 is the guess; attrs `best` and `converged`

    Raises
    ------
    PhysicsError : the reference is empty or does not reach the cutoff, the box is too small, the motion explodes
    InputError : as `sample`

    Notes
    -----
    Reith, Pütz & Müller-Plathe 2003, doi:10.1002/jcc.10307. The potential is unique up to a constant (Henderson 1974,
    doi:10.1016/0375-9601(74)90847-0), but in a dense liquid very different potentials have nearly the same g.
    """
    goal, end = _goal(reference, cutoff)
    width = round(float(goal["r"][1] - goal["r"][0]), 9)
    kT = BOLTZMANN * temperature
    tables = _first_tables(goal, guess or {}, temperature, end, spacing)
    history: list[xr.Dataset] = []
    tried: list[dict[str, Table]] = []
    replicas = start
    for iteration in range(iterations + 1):
        samples = sample(
            tables,
            replicas,
            types=types,
            masses=masses,
            temperature=temperature,
            time_step=time_step,
            friction=friction,
            equilibrate=equilibrate,
            duration=duration,
            every=every,
            seed=seed + iteration,
            threads=threads,
        )
        replicas = samples.isel(frame=np.flatnonzero(np.diff(samples["replica"], append=-1)))
        found = rdf(samples, r_max=end, bin_width=width).sel(pair=goal["pair"]).compute()
        history.append(_entry(found, goal, tables))
        tried.append(tables)
        rmsd, chi2 = (float(history[-1][name].max()) for name in ("rmsd", "chi2"))
        if progress is not None:
            progress(iteration, rmsd, chi2)
        if chi2 <= tolerance:
            break
        tables = {pair: _corrected(tables[pair], found, goal, pair, scale * kT) for pair in tables}
    joined = xr.concat(history, "iteration").assign_coords(iteration=np.arange(len(history)))
    best = int(np.argmin(joined["rmsd"].mean("pair").values))
    converged = int((joined["chi2"][best] <= tolerance).all())
    return tried[best], joined.assign_attrs(best=best, converged=converged, temperature=temperature, cutoff=end)


def deviation(found: xr.Dataset, reference: xr.Dataset) -> xr.Dataset:
    """Say how far distributions are from a reference, as such and in units of the error.

    Parameters
    ----------
    found, reference : results of `cgstore.rdf` on the same (pair, r)

    Returns
    -------
    dataset on (pair): `rmsd` of g over all bins; `chi2`, the mean of (g − g_ref)² / (σ² + σ_ref²) over the bins where
    g_ref > 0.01 and both errors are known, infinite without such a bin. One means: equal as far as one can know

    Raises
    ------
    InputError : other pairs or other bins
    """
    r, expected = found["r"].values, reference["r"].values
    same = r.shape == expected.shape and np.allclose(r, expected, atol=1e-6)
    if not same or found["pair"].values.tolist() != reference["pair"].values.tolist():
        raise InputError(
            f"deviation: found {found.sizes['pair']} pairs on {len(r)} bins to {r[-1]:g} nm, expected the "
            f"{reference.sizes['pair']} pairs and the {len(expected)} bins to {expected[-1]:g} nm of the reference"
        )
    found = found.assign_coords(r=reference["r"])  # xarray would drop bins whose centres differ by rounding
    difference = found["rdf"].fillna(0.0) - reference["rdf"].fillna(0.0)
    variance = found["rdf_error"] ** 2 + reference["rdf_error"] ** 2
    known = (variance > 0.0) & (reference["rdf"] > _FLOOR)
    chi2 = (difference**2 / variance).where(known).mean("r").fillna(np.inf)
    rmsd = (difference**2).mean("r") ** 0.5
    return xr.Dataset(
        {
            "rmsd": rmsd.assign_attrs(units="1", long_name="root mean square deviation of g"),
            "chi2": chi2.assign_attrs(units="1", long_name="mean squared deviation of g in units of its error"),
        }
    )


def _goal(reference: xr.Dataset, cutoff: float | None) -> tuple[xr.Dataset, float]:
    """Return the reference up to the cutoff, in memory, and the cutoff."""
    lacking = {"rdf", "rdf_error"} - set(reference.data_vars)
    if lacking or reference["rdf"].dims != ("pair", "r") or reference.sizes["r"] < 10:
        raise InputError(
            f"ibi: found a reference with {sorted(map(str, reference.data_vars))} on {dict(reference.sizes)}; "
            "expected the result of `cgstore.rdf`, on (pair, r) with 10 bins at least"
        )
    r = np.asarray(reference["r"].values, np.float64)
    width = round(float(r[1] - r[0]), 9)
    last = len(r) * width
    end = last if cutoff is None else round(cutoff / width) * width
    if end > last + 1e-9:
        raise PhysicsError(f"ibi: the reference ends at {last:g} nm, before the cutoff at {end:g} nm")
    return reference[["rdf", "rdf_error"]].isel(r=r < end).compute(), end


def _first_tables(
    goal: xr.Dataset, guess: Mapping[str, Table], temperature: float, end: float, spacing: float
) -> dict[str, Table]:
    """Return the guess, completed by potentials of mean force."""
    r = goal["r"].values
    tables = {}
    for pair in goal["pair"].values.tolist():
        if pair in guess:
            energy, _ = interpolate(guess[pair], r)
        else:
            energy = pmf(goal["rdf"].sel(pair=pair).values, r, temperature)
        tables[str(pair)] = table_of(r, energy, end, spacing=spacing)
    return tables


def _corrected(table: Table, found: xr.Dataset, goal: xr.Dataset, pair: str, step: float) -> Table:
    """Return the table after one correction on the bins, its core extended anew; `step` is s kT in kJ/mol."""
    r = goal["r"].values
    target = goal["rdf"].sel(pair=pair).fillna(0.0).values
    ratio = np.log(np.maximum(found["rdf"].sel(pair=pair).fillna(0.0).values, _FLOOR) / np.maximum(target, _FLOOR))
    first = int(np.argmax(target > _FLOOR))
    change = np.clip(ratio, -_LARGEST, _LARGEST)
    change[first:] = smooth(change[first:])
    # On the bins the potential is that of the table, which ends smoothly: what the end of the table takes away of one
    # correction must not pile up in the next.
    energy = interpolate(table, r)[0] + step * change
    return table_of(r, extend_core(energy, r, first), table.cutoff, spacing=table.spacing)


def _entry(found: xr.Dataset, goal: xr.Dataset, tables: Mapping[str, Table]) -> xr.Dataset:
    """Return one iteration of the history."""
    energy = np.stack([interpolate(tables[str(pair)], goal["r"].values)[0] for pair in goal["pair"].values])
    attributes = {"units": "kJ/mol", "long_name": "pair potential"}
    entry = deviation(found, goal).assign(energy=(("pair", "r"), energy, attributes))
    return entry.assign({name: found[name].assign_coords(r=goal["r"]) for name in ("rdf", "rdf_error")})
