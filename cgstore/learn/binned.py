"""Potentials on the bins of distributions, and the tables of them that a sampler takes."""

from collections.abc import Mapping

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cgstore.inverse.layout import Kind
from cgstore.inverse.mean_force import potential_of_mean_force
from cgstore.learn.corrections import Potentials
from cgstore.learn.goal import Goal
from cgstore.learn.molecular import Molecular
from cgstore.tables import BondedTable, Table, Term, bonded_table_of, interpolate, interpolate_bonded, table_of

__all__ = ["energies_of", "first_model", "model_of"]

Float = NDArray[np.float64]
Model = dict[str, Table] | Molecular


def first_model(
    goal: Goal, guess: Mapping[str, Table] | Molecular | None, *, temperature: float, spacing: float
) -> Model:
    """Return the model that an inversion begins with: a guess, completed by potentials of mean force.

    Parameters
    ----------
    guess : tables of some pairs, or of pairs and terms
    temperature : K
    spacing : nm, of the nodes of pair tables

    Raises
    ------
    PhysicsError : a distribution of the goal is empty
    """
    potentials = {}
    for name, part in goal.parts.items():
        kind, bin = goal.dims(name)
        x, kinds = part[bin].values, list(map(str, part[kind].values))
        known = _tables(guess, name)
        first = {row: _on_bins(known[row], x) for row in kinds if row in known}
        rest = [row for row in kinds if row not in first]
        if rest:
            energy = potential_of_mean_force(part.sel({kind: rest}), temperature=temperature, kind=name)["potential"]
            first |= {row: energy.sel({kind: row}).values for row in rest}
        rows = np.stack([first[row] for row in kinds])
        potentials[name] = xr.Dataset({"potential": ((kind, bin), rows)}, {kind: kinds, bin: x})
    return model_of(potentials, goal, spacing=spacing)


def model_of(potentials: Potentials, goal: Goal, *, spacing: float) -> Model:
    """Return potentials as tables; what nothing is known of, because no two particles feel it, is zero."""
    r = potentials["rdf"]["r"].values
    pairs = {row: table_of(r, energy, goal.end, spacing=spacing) for row, energy in _rows(potentials["rdf"])}
    if not goal.molecular:
        return pairs
    terms: dict[Term, dict[str, BondedTable]] = {"bond": {}, "angle": {}, "dihedral": {}}
    for name, tables in terms.items():
        if name in potentials:
            x = potentials[name][goal.dims(name)[1]].values
            tables.update({row: bonded_table_of(name, x, energy) for row, energy in _rows(potentials[name])})
    return Molecular(pairs, terms["bond"], terms["angle"], terms["dihedral"], goal.exclude_bonded)


def energies_of(model: Model, goal: Goal) -> dict[Kind, xr.Dataset]:
    """Return the energies of tables on the bins of the goal.

    Those of pairs end smoothly: what the end of a table takes away of one correction must not pile up in the next.
    """
    result: dict[Kind, xr.Dataset] = {}
    for name, part in goal.parts.items():
        (kind, bin), tables = goal.dims(name), _tables(model, name)
        energy = np.stack([_on_bins(tables[str(row)], part[bin].values) for row in part[kind].values])
        meaning = {"units": "kJ/mol", "long_name": "pair potential" if name == "rdf" else f"potential of {name}s"}
        result[name] = xr.Dataset({"potential": ((kind, bin), energy, meaning)}, {kind: part[kind], bin: part[bin]})
    return result


def _tables(model: Mapping[str, Table] | Molecular | None, name: Kind) -> Mapping[str, Table | BondedTable]:
    """Return the tables of a model for one distribution, none if it is silent about it."""
    if isinstance(model, Molecular):
        terms: dict[str, Mapping[str, BondedTable]] = dict(model.terms.items())
        return model.pairs if name == "rdf" else terms[name]
    return (model or {}) if name == "rdf" else {}


def _on_bins(table: Table | BondedTable, x: Float) -> Float:
    """Return the energies of a table at the centres of bins; those of a bond go on linearly beyond its nodes."""
    if isinstance(table, Table):
        return interpolate(table, x)[0]
    return interpolate_bonded(table, x)[0]


def _rows(potential: xr.Dataset) -> list[tuple[str, Float]]:
    """Return the energies of each kind, zero where they are not known."""
    array = potential["potential"]
    return [(str(row), np.nan_to_num(array.sel({array.dims[0]: row}).values)) for row in array[array.dims[0]].values]
