"""Cards of kept results: pictures, numbers with their errors, what was asked, and what is wrong with the run."""

from typing import Any

import numpy as np
import xarray as xr

from cgstore.averages.flags import warnings_of
from cgstore.averages.numbers import Number, single_numbers
from cgstore.catalog import Entry
from cgstore.errors import PhysicsError
from cgstore.plot import DISTRIBUTIONS, answers, kept_results, with_error
from cgstore.plot.distributions import MOST_PANELS
from cgstore.plot.wording import pretty_unit
from cgstore.report.pictures import picture

__all__ = ["result_cards"]

_FEW = 8  # rows of a table of first maxima
_ASKED = {
    "rdf": {"r_max": " nm", "bin_width": " nm"},
    "bond": {"bond_width": " nm"},
    "angle": {"angle_width": "°"},
    "dihedral": {"dihedral_width": "°"},
    "improper": {"improper_width": "°"},
    "profile": {"density": "", "centre": "", "width": " nm"},
    "radial_profile": {"centre": "", "width": " nm"},
    "map": {"centre": "", "width": " nm"},
}  # what a spec says about a kind, with its unit
_NODES = {**dict.fromkeys(DISTRIBUTIONS, "bonded"), "rdf": "rdf", "map": "radial_map"}
_OBSERVABLES = {
    "membrane": ("Membrane", {"area": "area_per_lipid", "thickness": "thickness"}),
    "order": ("Order parameters", {"order": "order_parameter"}),
    "tilt": ("Tilt", {"tilt": "tilt"}),
    "mobility": ("Mobility", {"msd": "msd"}),
    "velocity": ("Velocities", {"vacf": "vacf"}),
}  # title; figures, and the variable that each is of
_CAPTIONS = {
    "area": "Each frame, and the mean with its standard error as a band.",
    "thickness": "Each frame, and the mean with its standard error as a band.",
    "tilt": "Mean over the molecules of each frame, and the mean over the run with its standard error as a band.",
    "order": "Error bars: the standard error of the run, or that of the scatter among lipids where it is larger; "
    "hollow where neither is known.",
    "msd": "On logarithmic axes; the thick line is that of the diffusion coefficient, in the window of its fit. "
    "Hollow: no error is known.",
    "vacf": "Below, the integral up to each time; the diffusion coefficient is its plateau.",
    "covariance": "Correlations between the counts of bins in the same frame, from the matrix of inverse Monte Carlo; "
    "neighbouring bins are added up, bins that were never hit are left out.",
}


def result_cards(entry: Entry) -> list[dict[str, Any]]:
    """Return a card for each kept result of a dataset: distributions, then what else is known."""
    digest = str(entry.metadata["digest"])
    cards = [_distributions(entry.name, tree) for tree in answers(entry, digest)]
    return cards + [_observable(entry.name, name, result) for name, result in kept_results(entry, digest)]


def _distributions(name: str, tree: xr.DataTree) -> dict[str, Any]:
    """Return the pictures of the distributions of one dataset, and what they were computed with."""
    pictures, asked, warnings = [], [], []
    for kind in (*DISTRIBUTIONS, "profile", "radial_profile", "map"):
        node = _NODES.get(kind, kind)
        if node not in tree.children:
            continue
        result = tree[node].to_dataset().assign_attrs(name=name)
        if not result[kind if kind in result else "profile"].size:
            continue
        pictures.append(picture(result, kind, caption=_blocks(result, kind) + _coloured(result, kind)))
        known = {key: result.attrs["parameters"].get(key) for key in _ASKED[kind]}
        of = "" if kind in DISTRIBUTIONS else f" of the {kind.replace('_', ' ')}"
        asked += [
            f"{key.replace('_', ' ')}{of} {_word(value)}{_ASKED[kind][key]}" for key, value in known.items() if value
        ]
        # Gaps are the rule in a map, most of whose cells are small.
        flags = result.drop_vars("unsampled") if kind == "map" else result
        warnings += warnings_of(flags, kind.replace("_", " "), prefix=_prefix(kind))
    if "covariance" in tree.children:
        pictures += _covariance(name, tree["covariance"].to_dataset())
    return {
        "title": "Distributions",
        "text": f"{', '.join(asked)}.",
        "pictures": pictures,
        "warnings": warnings,
        **_peaks(tree["rdf"].to_dataset()),
    }


def _word(value: Any) -> str:
    """Return a parameter as text."""
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value))
    return str(value) if isinstance(value, str) else f"{value:g}"


def _prefix(kind: str) -> str:
    """Return what stands before the names of the variables beside a distribution."""
    return f"{kind}_" if kind in DISTRIBUTIONS[1:] else ""


def _blocks(result: xr.Dataset, kind: str) -> str:
    """Say how the errors were made."""
    prefix = _prefix(kind)
    blocks, times = result[f"{prefix}blocks"].values, result[f"{prefix}correlation_time"].values
    frames = f"{result.attrs['frames']} frames"
    if not (blocks > 0).any():
        return f"{frames}; too few blocks for errors"
    number = f"{blocks[blocks > 0].min()}" if np.ptp(blocks[blocks > 0]) == 0 else f"{blocks[blocks > 0].min()} or more"
    return f"{frames}; errors from {number} blocks, correlation times up to {np.nanmax(times):.2g} ps"


def _coloured(result: xr.Dataset, kind: str) -> str:
    """Say where errors are to be seen when there are so many kinds that they are rows of colours."""
    number = result[kind if kind in result else "profile"].shape[0]
    if kind == "map" or number <= MOST_PANELS:
        return ""
    return f"; {number} kinds, as colours: one of them by itself has its errors as a band, in cgstore plot"


def _peaks(result: xr.Dataset) -> dict[str, Any]:
    """Return the table of the highest value of each g(r), if it is short."""
    if not 0 < result.sizes["pair"] <= _FEW:
        return {"head": [], "rows": []}
    rows = []
    for pair in result["pair"].values:
        g, error = result["rdf"].sel(pair=pair).values, result["rdf_error"].sel(pair=pair).values
        if np.isfinite(g).any():
            top = int(np.nanargmax(g))
            rows.append([str(pair), f"{float(result['r'][top]):.4g}", f"{g[top]:.3f} ± {error[top]:.3f}"])
    return {"head": ["pair", "r of the maximum / nm", "g(r) there"], "rows": rows}


def _covariance(name: str, result: xr.Dataset) -> list[dict[str, str]]:
    """Return the picture of the correlations, none where no count ever changes."""
    try:
        return [picture(result.assign_attrs(name=name), "covariance", caption=_CAPTIONS["covariance"])]
    except PhysicsError:
        return []


def _observable(entry: str, name: str, result: xr.Dataset) -> dict[str, Any]:
    """Return the card of one observable: its numbers with errors, and its pictures."""
    title, figures = _OBSERVABLES[name]
    result = result.assign_attrs(name=entry)
    if "bond_order" in result:
        figures = {"order": "bond_order"}
    asked = [f"{key.replace('_', ' ')} {_word(value)}" for key, value in result.attrs["parameters"].items() if value]
    rows = [_row(number) for number in single_numbers(result)]
    return {
        "title": title,
        "text": f"{', '.join(asked)}." if asked else "",
        "pictures": [
            picture(result, kind, caption=_CAPTIONS[kind])
            for kind, variable in figures.items()
            if variable in result and result[variable].size
        ],
        "warnings": _unknown(result, list(figures.values())),
        "head": ["quantity", "value", "correlation time / ps", "remark"] if rows else [],
        "rows": rows,
    }


def _row(number: Number) -> list[str]:
    """Return a number as a row of a table: what, its value, its correlation time, a remark."""
    unit, time = pretty_unit(number.unit).strip("()"), number.correlation_time
    return [
        ", ".join([f"{number.what} / {unit}" if unit else number.what, *number.of]),
        with_error(number.value, number.error),
        f"{time:.3g}" if np.isfinite(time) else "",
        number.remark(),
    ]


def _unknown(result: xr.Dataset, names: list[str]) -> list[str]:
    """Warn of errors that are not known because the run is too short."""
    lines = []
    for name in names:
        error = result.get(f"{name}_error")
        if error is not None and (missing := int(np.isnan(error.values[np.isfinite(result[name].values)]).sum())):
            of = "" if error.ndim == 0 else f" for {missing} of {error.size} values"
            what = str(result[name].attrs.get("long_name", name))
            lines.append(f"{what}: too short a run to know the error{of}; a longer one is needed")
    return lines
