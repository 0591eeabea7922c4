"""Comparison: samples of a model held against a reference, distribution by distribution, each number with its error.

Errors are from the jackknife over the blocks of the reference and the replicas of the model, whatever the correlations
between the bins are. Noise is what the errors of both would make of two samples of one and the same distribution.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cgstore.averages.bonded import bonded_blocks
from cgstore.averages.distances import (
    kullback_leibler,
    kullback_leibler_noise,
    mean_size,
    probabilities,
    total_deviation,
    total_variation,
)
from cgstore.averages.estimates import distribution_of_blocks
from cgstore.averages.pair import rdf_blocks
from cgstore.averages.profile import profile_blocks
from cgstore.averages.spec import ProfileSpec, Spec, rdf_parameters
from cgstore.errors import PhysicsError

__all__ = ["Row", "blocks_of", "curves_of", "highest_peak", "jackknife", "of_replicas", "rows_of"]

Float = NDArray[np.float64]
Blocks = Mapping[str, xr.Dataset]  # of each distribution: rdf, bond, angle, dihedral, profile

_FLOOR = 0.01  # of g: bins below are the core, where nothing can be said in units of errors
_TERMS = ("bond", "angle", "dihedral")
_BINS = {"bond": "length", "angle": "theta", "dihedral": "phi", "profile": "z"}  # of curves; r is that of the rdf


@dataclass(frozen=True, slots=True)
class Row:
    """One kind of one distribution of one dataset, as one model gives it.

    Heights and rmsd have the unit of the distribution: none for an rdf, 1/nm or 1/degree for densities of terms, 1/nm³
    for those along the normal of a membrane. Positions are in nm or degrees; `deviation` is in nm for an rdf, without
    unit for densities of terms, in 1/nm² for those along the normal.
    """

    dataset: str
    temperature: float  # K
    distribution: str  # rdf, bond, angle, dihedral or profile
    pair: str  # "A-B", the kind of a term, or a type
    model: str  # "network", "ibi" …
    rmsd: float  # over all bins
    rmsd_error: float
    noise_floor: float  # the rmsd that the errors of reference and model alone would give
    reference_noise: float  # that of the reference alone
    chi2: float  # mean over the bins of (g − g_ref)² / (σ² + σ_ref²); one means equal as far as one can know
    deviation: float  # Σ |g − g_ref| Δr
    deviation_error: float
    deviation_noise: float
    total_variation: float  # ½ Σ |p − p_ref|
    total_variation_error: float
    total_variation_noise: float
    divergence: float  # Kullback & Leibler, Σ p_ref ln(p_ref / p)
    divergence_error: float
    divergence_noise: float
    peak: float  # height of the highest maximum
    peak_error: float
    peak_reference: float
    peak_reference_error: float
    peak_position: float
    peak_position_error: float
    peak_position_reference: float
    peak_position_reference_error: float


def jackknife(statistic: Callable[..., Float], *blocks: tuple[Float, Float]) -> tuple[Float, Float]:
    """Return a function of means with its standard error, leaving out one block at a time.

    Parameters
    ----------
    statistic : called with one mean per group of blocks, gives (value,) or a number
    blocks : groups of independent blocks, each as sums (block, …) and weights (block,)

    Notes
    -----
    δ² = Σ_groups (B − 1) / B Σ_b (θ_(b) − θ_(·))². Quenouille 1956, doi:10.1093/biomet/43.3-4.353

    Examples
    --------
    >>> x = np.array([1.0, 2.0, 4.0, 5.0])
    >>> [float(v.round(4)) for v in jackknife(lambda mean: mean, (x, np.ones(4)))]  # the mean and its error
    [3.0, 0.9129]
    """
    means = [sums.sum(axis=0) / weights.sum() for sums, weights in blocks]
    variance = np.zeros_like(np.asarray(statistic(*means), np.float64))
    for group, (sums, weights) in enumerate(blocks):
        left = [
            statistic(*means[:group], (sums.sum(axis=0) - one) / (weights.sum() - share), *means[group + 1 :])
            for one, share in zip(sums, weights, strict=True)
        ]
        variance = variance + (len(sums) - 1) / len(sums) * ((np.array(left) - np.mean(left, axis=0)) ** 2).sum(axis=0)
    return np.asarray(statistic(*means), np.float64), np.sqrt(variance)


def highest_peak(g: Float, r: Float) -> tuple[float, float]:
    """Return height and position of the highest maximum of g (bin,), by a parabola through the five bins around it.

    >>> r = np.arange(0.005, 1.0, 0.01)
    >>> [round(value, 4) for value in highest_peak(2.0 - (r - 0.3721) ** 2, r)]
    [2.0, 0.3721]
    """
    top = int(np.clip(np.argmax(g), 2, len(g) - 3))
    x = r[top - 2 : top + 3] - r[top]
    c, b, a = np.polynomial.polynomial.polyfit(x, g[top - 2 : top + 3], 2)
    if not a < 0 or abs(b / (2 * a)) > x[-1]:
        return float(g[top]), float(r[top])
    return float(c - b * b / (4 * a)), float(r[top] - b / (2 * a))


def blocks_of(
    ds: xr.Dataset, spec: Spec, *, membrane: bool = False, like: Blocks | None = None
) -> dict[str, xr.Dataset]:
    """Return the block statistics of a dataset: its rdf, and where it has bonds those of bonds, angles and dihedrals.

    Parameters
    ----------
    ds : frames of a reference or of a model
    spec : what to compute
    membrane : number densities along the normal, too
    like : those of another dataset, so that both have the same distributions on the same bins
    """
    asked = rdf_parameters(ds, spec) if like is None else spec.rdf.model_dump() | {"r_max": _end(like["rdf"], "r")}
    found = {"rdf": rdf_blocks(ds, **asked).compute()}
    if ds.sizes.get("bond", 0):
        tree = bonded_blocks(ds, **spec.bonded.model_dump())
        found |= {
            term: tree[term].to_dataset().compute() for term in _TERMS if term in tree.children and ds.sizes.get(term)
        }
    if membrane or (like is not None and "profile" in like):
        profile = (spec.profile or ProfileSpec()).model_dump() | {"density": "number"}
        if like is not None:
            profile["reach"] = _end(like["profile"], "z")
        found["profile"] = profile_blocks(ds, **profile).compute()
    return found


def _end(blocks: xr.Dataset, bins: str) -> float:
    """Return where the last bin ends."""
    x = blocks[bins].values
    return round(float(x[-1] + 0.5 * (x[1] - x[0])), 9)


def of_replicas(samples: xr.Dataset, spec: Spec, reference: Blocks) -> dict[str, xr.DataArray]:
    """Return each distribution (replica, kind, bin) of samples on the bins of a reference.

    Parameters
    ----------
    samples : what `cgstore.learn.sampler.sample` gave, with `replica (frame)`; their scatter is the error
    spec, reference : what to compute, and the block statistics of the reference
    """
    replica = samples["replica"].values
    each = [blocks_of(samples.isel(frame=replica == k), spec, like=reference) for k in np.unique(replica)]
    return {name: xr.concat([_distribution(name, one[name])[name] for one in each], "replica") for name in reference}


def _distribution(name: str, blocks: xr.Dataset) -> xr.Dataset:
    """Return a distribution with its error and the number of `blocks` behind it."""
    found = distribution_of_blocks(blocks, name=name, count="count").compute()
    return found.assign({f"{name}_error": found[f"{name}_error"].fillna(0.0)}) if name != "rdf" else found


def curves_of(name: str, reference: Blocks, found: Mapping[str, Mapping[str, xr.DataArray]]) -> xr.Dataset:
    """Return reference and models with their errors, `rdf` and `rdf_error` (curve, pair, r), and terms likewise."""
    joined = [_joined(kind, reference[kind], {model: one[kind] for model, one in found.items()}) for kind in reference]
    return xr.merge(joined, join="exact", compat="equals").assign_coords(curve=["reference", *found], dataset=name)


def _joined(kind: str, blocks: xr.Dataset, found: Mapping[str, xr.DataArray]) -> xr.Dataset:
    """Return the curves of one distribution; the bins of bonds, angles and dihedrals have names of their own."""
    known = _distribution(kind, blocks)
    both = [kind, f"{kind}_error"]
    parts = [known[both]]
    for replicas in found.values():
        error = replicas.std("replica", ddof=1) / np.sqrt(replicas.sizes["replica"])
        parts.append(xr.Dataset({kind: replicas.mean("replica"), f"{kind}_error": error}))
    joined = xr.concat(parts, "curve", combine_attrs="drop", coords="minimal", compat="override", join="exact")
    for variable in both:
        joined[variable].attrs = {key: known[variable].attrs[key] for key in ("units", "long_name")}
    bins = str(known[kind].dims[-1])
    return joined.rename({bins: _BINS[kind]}) if bins != _BINS.get(kind, bins) else joined


def rows_of(
    name: str,
    temperature: float,
    reference: Blocks,
    found: Mapping[str, Mapping[str, xr.DataArray]],
    curves: xr.Dataset,
) -> list[Row]:
    """Return the rows of one dataset: of each distribution, kind and model.

    Parameters
    ----------
    name, temperature : of the dataset, K
    reference : its block statistics
    found : what `of_replicas` gave, per model
    curves : what `curves_of` gave

    Raises
    ------
    PhysicsError : the reference is too short for the error of anything

    Notes
    -----
    Where the reference has fewer than two independent parts of one kind, such as slow layers of a bilayer, its numbers
    are there, and their errors and noise are NaN.
    """
    rows, unknown = [], ""
    for kind, blocks in reference.items():
        independent = _distribution(kind, blocks)["blocks"]
        names = str(blocks["norm"].dims[0])
        for term in blocks[names].values.tolist():
            chosen = {names: term}
            if not (blocks["norm"].sel(chosen).values > 0).all():
                continue  # no two particles make this pair
            count = int(independent.sel(chosen))
            unknown = unknown or (term if count == 0 else "")
            merged = _merged(blocks.sel(chosen), max(count, 1))
            shown = curves[[kind, f"{kind}_error"]].sel(chosen)
            for model, one in found.items():
                values = _numbers(kind, merged, one[kind].sel(chosen).values, shown, model)
                rows.append(Row(name, temperature, kind, term, model, **values))
    if unknown and not any(np.isfinite(row.rmsd_error) for row in rows):
        raise PhysicsError(f"{name}: {unknown} has too few independent frames for an error; validate on a longer run")
    return rows


def _merged(blocks: xr.Dataset, count: int) -> tuple[Float, Float]:
    """Return consecutive blocks of one kind merged to about `count`, which are independent of each other."""
    sums, weights = blocks["sum"].transpose("block", ...).values / blocks["norm"].values, blocks["weight"].values
    starts = np.arange(0, len(sums), -(-len(sums) // count))
    return np.add.reduceat(sums, starts), np.add.reduceat(weights, starts)


def _numbers(
    kind: str, reference: tuple[Float, Float], replicas: Float, curves: xr.Dataset, model: str
) -> dict[str, Any]:
    """Return the numbers of a row."""
    known, mine = (curves.sel(curve=name) for name in ("reference", model))
    bins = str(known[kind].dims[-1])
    x = known[bins].values
    weight, width = x**2 if kind == "rdf" else np.ones_like(x), float(x[1] - x[0])
    known_error = len(reference[0]) > 1
    if known_error:
        many = replicas, np.ones(len(replicas))
        value, error = jackknife(lambda a, b: _statistics(a, b, x, weight), reference, many)
    else:
        value = _statistics(reference[0][0] / reference[1][0], replicas.mean(axis=0), x, weight)
        error = np.full_like(value, np.nan)
    g, expected = mine[kind].values, known[kind].values
    wrong = known[f"{kind}_error"].values
    squares = (np.nan_to_num(wrong) if known_error else wrong * np.nan) ** 2, mine[f"{kind}_error"].values ** 2
    variance = squares[0] + squares[1]
    seen = (expected > _FLOOR * (1.0 if kind == "rdf" else expected.max())) & (variance > 0)
    part = weight / (weight * expected).sum()  # what makes probabilities of values
    sigma = np.sqrt(variance)
    names = ("rmsd", "deviation", "total_variation", "divergence", "peak", "peak_position")
    numbers = {
        name: float(v) for name, v in zip((*names, "peak_reference", "peak_position_reference"), value, strict=True)
    }
    numbers |= {
        f"{name}_error": float(e)
        for name, e in zip((*names, "peak_reference", "peak_position_reference"), error, strict=True)
    }
    return numbers | {
        "noise_floor": float(np.sqrt(variance.mean())),
        "reference_noise": float(np.sqrt(squares[0].mean())),
        "chi2": float(((g - expected)[seen] ** 2 / variance[seen]).mean()) if seen.any() else float("nan"),
        "deviation_noise": mean_size(sigma) * width,
        "total_variation_noise": 0.5 * mean_size(part * sigma),
        "divergence_noise": kullback_leibler_noise(part * expected, part * sigma),
    }


def _statistics(reference: Float, model: Float, x: Float, weight: Float) -> Float:
    """Return rmsd, distances, and height and position of the highest peak of model and reference, of values (bin,)."""
    rmsd = np.sqrt(((model - reference) ** 2).mean())
    p, p_reference = probabilities(model, weight), probabilities(reference, weight)
    distances = (
        total_deviation(model, reference, float(x[1] - x[0])),
        total_variation(p, p_reference),
        kullback_leibler(p_reference, p),
    )
    return np.array([rmsd, *distances, *highest_peak(model, x), *highest_peak(reference, x)])
