"""Sets of force-field parameters from a feature table: their potentials, and how fast molecules and beads move."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from cgstore.averages.diffusion import YEH_HUMMER
from cgstore.errors import InputError, NotFound
from cgstore.tables import Table, interpolate
from cgstore.units import BOLTZMANN

__all__ = ["STOKES_EINSTEIN", "infinite_box", "potential_error", "sets_of", "sets_of_records"]

Float = NDArray[np.float64]

# η D d / kT with d = (V/N)^(1/3), of simple liquids, and how far it is trusted for others.
STOKES_EINSTEIN = (0.15, 0.02)
_U_PER_NM3 = 0.602214076  # of one kg/m³
_MOTION = ("D_AA", "D_AA_error", "D_CG", "D_CG_error", "alpha", "alpha_error", "edge", "rdf_rmsd")


def sets_of(
    table: xr.Dataset, parameters: Sequence[str], *, liquid: str = "atomistic", beads: str = "coarse"
) -> xr.Dataset:
    """Return one row for each set of parameters, from a table with a row for its liquid and one for its beads.

    Parameters
    ----------
    table : with the columns `p` (`parameters`), `u` (`potential`), `g` (`rdf`) and those of `state_point`, as
        `catalogs/tables/trimethylpentane.toml` makes it
    parameters : names of those that a model knows
    liquid, beads : names of the two runs of a system

    Returns
    -------
    dataset on (system), named by the datasets of the liquids: `x (system, parameter)`; `u`, `u_error`, `g`, `g_error`,
    `g_beads`, `g_beads_error` on (system, r); `D_AA`, `D_CG`, `alpha` with their errors, and `D_AA_infinite` and
    `D_CG_infinite` with theirs, nm²/ps; `edge` nm, `molecules`, `temperature`, `rdf_rmsd`

    Raises
    ------
    NotFound : the table has no such parameter, or no liquid has beads
    """
    known = [str(name) for name in table["p_parameter"].values]
    if missing := [name for name in parameters if name not in known]:
        raise NotFound(f"sets_of: found no parameter {missing[0]!r}; the table has {', '.join(known)}")
    names = [str(name) for name in table["system"].values]
    places = {name: place for place, name in enumerate(names)}
    pairs = [(name, _other(name, beads)) for name in names if name.split("/")[1] == liquid]
    pairs = [(one, other) for one, other in pairs if other in places]
    if not pairs:
        raise NotFound(f"sets_of: found no system with the runs {liquid} and {beads} in {len(names)} rows")
    slow, fast = (table.isel(system=[places[pair[side]] for pair in pairs]).load() for side in (0, 1))
    curves = {"u": slow["u"], "g": slow["g"], "g_error": slow["g_error"]}
    curves |= {"g_beads": fast["g"], "g_beads_error": fast["g_error"]}
    facts = {name: _column(slow, name) for name in _MOTION}
    facts |= {name: slow[name].values for name in ("temperature", "molecules")}
    facts |= {"mass": _U_PER_NM3 * slow["mass_density"].values / slow["number_density"].values}
    x = np.stack([_column(slow, name) for name in parameters], 1)
    return _completed([one for one, _ in pairs], x, parameters, slow["u_r"].values, curves, facts)


def sets_of_records(folder: Path, parameters: Sequence[str], *, level: str = "cg") -> xr.Dataset:
    """Return the same as `sets_of` straight from the archive of a mobility campaign, without a store.

    Parameters
    ----------
    folder : `ARCHIVE/CAMPAIGN`, with a folder for each system; those that failed are left out
    parameters : names of those that a model knows
    level : of the datasets that the rows are named by

    Raises
    ------
    NotFound : no sound system
    """
    records = [json.loads(path.read_text("utf-8")) for path in sorted(folder.glob("*/record.json"))]
    records = [record for record in records if not record["failure"]]
    if not records:
        raise NotFound(f"{folder}: found no record of a sound system; run the campaign first")
    g = np.array([_read(folder / record["name"] / "rdf.csv") for record in records])  # (system, bin, column)
    potentials = [_read(folder / record["name"] / "potential.csv") for record in records]
    r = g[0, :, 0]
    names = ("g", "g_error", "g_beads", "g_beads_error")
    curves = {"u": np.array([interpolate(Table(*one.T), r)[0] for one in potentials])}
    curves |= {name: g[:, :, column] for column, name in enumerate(names, 1)}
    measured = [record["measured"] for record in records]
    facts = {name: np.array([one.get(name) for one in measured], np.float64) for name in _MOTION}
    facts |= {"temperature": np.array([record["parameters"]["temperature"] for record in records], np.float64)}
    facts |= {"molecules": np.array([record["settings"]["number"] for record in records], np.float64)}
    density = np.array([one["density"] for one in measured], np.float64)
    facts |= {"mass": _U_PER_NM3 * density * facts["edge"] ** 3 / facts["molecules"]}
    x = np.array([[record["parameters"][name] for name in parameters] for record in records])
    return _completed([f"{record['name']}/atomistic/{level}" for record in records], x, parameters, r, curves, facts)


def _read(path: Path) -> Float:
    """Return the numbers of a CSV file, (row, column); what is not there is NaN."""
    return np.genfromtxt(path, delimiter=",", skip_header=1, dtype=np.float64)


def _completed(
    names: Sequence[str],
    x: Float,
    parameters: Sequence[str],
    r: Float,
    curves: Mapping[str, ArrayLike],
    facts: Mapping[str, ArrayLike],
) -> xr.Dataset:
    """Return sets with what follows from what was measured."""
    found = xr.Dataset(
        {
            "x": (("system", "parameter"), x),
            **{name: (("system", "r"), np.asarray(values, np.float64)) for name, values in curves.items()},
            **{name: ("system", np.asarray(values, np.float64)) for name, values in facts.items()},
        },
        {"system": list(names), "parameter": list(parameters), "r": r},
    )
    for name in ("D_AA", "D_CG"):
        value, error = infinite_box(found[name], found[f"{name}_error"], number=found["molecules"])
        found = found.assign({f"{name}_infinite": ("system", value), f"{name}_infinite_error": ("system", error)})
    return found.assign(u_error=(("system", "r"), potential_error(found), {"units": "kJ/mol"}))


def _other(name: str, run: str) -> str:
    """Return the name of another run of the same system and level."""
    system, _, level = name.split("/")
    return f"{system}/{run}/{level}"


def _column(table: xr.Dataset, name: str) -> Float:
    """Return a parameter of all rows, NaN where it is not known."""
    if name not in table["p_parameter"].values:
        return np.full(table.sizes["system"], np.nan)
    return np.asarray(table["p"].sel(p_parameter=name).values, np.float64)


def potential_error(sets: xr.Dataset) -> Float:
    """Return the standard error (system, r) of potentials by iterative Boltzmann inversion, kJ/mol.

    Notes
    -----
    A search that has ended would go on by kT ln(g'/g), g of the liquid and g' of the beads; both are known with errors,
    and so is that step: δu = kT √((δg/g)² + (δg'/g')²). It is the error bin by bin. What neighbouring bins have in
    common, slow waves of the potential that hardly change g, is larger. NaN where either was never seen.

    Examples
    --------
    >>> g = xr.DataArray([[0.0, 2.0]], dims=("system", "r"))
    >>> sets = xr.Dataset({"g": g, "g_beads": g, "g_error": 0.015 * g, "g_beads_error": 0.02 * g})
    >>> potential_error(sets.assign(temperature=("system", [300.0]))).round(4)
    array([[   nan, 0.0624]])
    """
    squares = []
    for name in ("g", "g_beads"):
        g, error = sets[name].values, sets[f"{name}_error"].values
        squares.append((np.where(g > 0.0, error, np.nan) / np.where(g > 0.0, g, 1.0)) ** 2)
    thermal = BOLTZMANN * sets["temperature"].values[:, None]
    return np.asarray(thermal * np.sqrt(squares[0] + squares[1]), np.float64)


def infinite_box(
    diffusion: ArrayLike,
    error: ArrayLike,
    *,
    number: ArrayLike,
    stokes_einstein: tuple[float, float] = STOKES_EINSTEIN,
) -> tuple[Float, Float]:
    """Return diffusion coefficients of an infinite box and their errors, where nobody has measured the viscosity.

    Parameters
    ----------
    diffusion, error : of a cubic box, in any unit
    number : of molecules in it
    stokes_einstein : η D d / kT with d = (V/N)^(1/3), and its uncertainty

    Raises
    ------
    InputError : so few molecules that the correction has no end

    Notes
    -----
    Yeh and Hummer's D(∞) = D + ξ kT/(6πηL) with η = s kT/(D(∞) d) is D(∞) = D / (1 − γ N^(−1/3)), γ = ξ/(6πs), which is
    1.0 for s = 0.15: Khrapak 2024, arXiv:2402.09348, found that to hold for simple liquids. The factor is that of the
    liquid and of its beads alike, as far as s is: α does not change. With a viscosity see `finite_size_diffusion`.

    Examples
    --------
    >>> value, error = infinite_box(2.0, 0.06, number=125)
    >>> float(value.round(3)), float(error.round(2))
    (2.502, 0.11)
    """
    s, uncertainty = stokes_einstein
    part = YEH_HUMMER / (6.0 * np.pi * s) / np.cbrt(np.asarray(number, np.float64))
    if not (part < 0.5).all():
        raise InputError(f"infinite_box: found {np.min(number):g} molecules, expected a correction of less than a half")
    factor = 1.0 / (1.0 - part)
    value = np.asarray(diffusion, np.float64) * factor
    own = np.asarray(error, np.float64) * factor
    return value, np.hypot(own, value * factor * part * uncertainty / s)
