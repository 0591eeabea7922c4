"""Potentials and rates of force fields by every method, each of models that have not seen them."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr

from cgstore.errors import InputError
from cgstore.learn.mobility.folds import curve_scale, folds, predicted, predicted_potentials
from cgstore.learn.mobility.models import Regression, basis_of, constant, gaussian_process, linear, nearest
from cgstore.learn.mobility.network import Network, train_potentials
from cgstore.learn.mobility.pairs import PairLoader, averaged, chosen
from cgstore.learn.rows import RowLoader
from cgstore.splits.split import Catalog, Selection

__all__ = ["BASELINES", "GROUPS", "MOBILITY", "RATES", "STRUCTURE", "WITHIN", "Asked", "answers", "apart"]

BASELINES: dict[str, Regression] = {
    "mean": constant, "nearest": nearest, "linear": linear, "gaussian process": gaussian_process
}  # fmt: skip
# Of the structure, from sets; of the mobility, from pairs of molecules and beads that move alike.
STRUCTURE: dict[str, Regression | None] = {f"{name} A": one for name, one in BASELINES.items()} | {"network A": None}
MOBILITY: dict[str, Regression | None] = {
    "linear B": linear, "gaussian process B": gaussian_process, "network B": None, "network B by structure": None
}  # fmt: skip
RATES = ("alpha", "D_AA", "D_CG", "edge")
GROUPS, WITHIN, PARTNERS = 12, 2.0, 4

Float = np.ndarray


@dataclass(frozen=True, slots=True)
class Asked:
    """What models may learn from."""

    near: xr.Dataset  # all sets
    catalog: Catalog
    beads: xr.Dataset | None = None  # inversions and families; without them the inversions alone
    sets: int | None = None  # to learn from, of a learning curve
    said: list[str] = field(default_factory=list)  # what could not be trained


def answers(asked: Asked, wanted: Iterable[int], methods: Iterable[str]) -> dict[str, Any]:
    """Return potentials (set, r) by method of wanted sets, and rates (set, value and error) of the baselines."""
    near, rows_wanted, kinds = asked.near, set(wanted), list(methods)
    names = [str(name) for name in near["system"].values]
    found: dict[str, Any] = {"u": {name: np.full(near["u"].shape, np.nan) for name in kinds}}
    found |= {rate: {name: np.full((len(names), 2), np.nan) for name in BASELINES} for rate in RATES}
    for number, split in enumerate(folds(names, groups=GROUPS, sets=asked.sets)):
        out = {str(rule.system) for rule in split.heldout.rules}
        rows = [row for row, name in enumerate(names) if name.split("/")[0] in out and row in rows_wanted]
        if not rows:
            continue
        new = near.isel(system=rows)
        for name in kinds:
            found["u"][name][rows] = potentials(asked, name, split.train, new, seed=number)
            if name in STRUCTURE and name.removesuffix(" A") in BASELINES:
                short, known = name.removesuffix(" A"), chosen(near, asked.catalog, split.train)
                for rate in RATES:
                    found[rate][short][rows] = np.stack(predicted(BASELINES[short], known, new, rate), 1)
    return found


def potentials(asked: Asked, name: str, train: Selection, new: xr.Dataset, *, seed: int) -> Float:
    """Return potentials (set, r) of new sets by a method from the training part of a split, NaN without pairs."""
    known = chosen(asked.near, asked.catalog, train)
    how = Network(seed=seed)
    if name in STRUCTURE:
        if regression := STRUCTURE[name]:
            return predicted_potentials(regression, known, new)[0]
        rows = RowLoader(asked.near, asked.catalog, train, batch_size=64, columns=["x", "u"], seed=seed, streams=1)
        basis = basis_of(known["u"].values, curve_scale(known))
        return train_potentials(rows.endless(), basis, known["x"].values, how).predict(new["x"].values)[0]
    partners = None if asked.beads is None else PARTNERS
    try:
        prefer = "harm" if name.endswith("by structure") else "apart"
        pairs = PairLoader(
            asked.near,
            asked.catalog,
            train,
            beads=asked.beads,
            within=WITHIN,
            partners=partners,
            prefer=prefer,
            seed=seed,
        )
        few = averaged(pairs)
        if few.sizes["system"] < 3:
            raise InputError(f"found {few.sizes['system']} sets with partners, expected 3 or more")
    except InputError as problem:
        asked.said.append(f"{name}, group {seed}: {problem}")
        return np.full((new.sizes["system"], asked.near.sizes["r"]), np.nan)
    # A basis of the beads that are partners: those of the inversions alone know nothing of deeper potentials.
    basis = basis_of(few["u"].values, curve_scale(known))
    if regression := MOBILITY[name]:
        amplitude, _ = regression(few["x"].values, basis.encode(few["u"].values), new["x"].values)
        return basis.decode(amplitude)
    return train_potentials(pairs.endless(), basis, few["x"].values, how).predict(new["x"].values)[0]


def apart(u: Float, sets: xr.Dataset) -> Float:
    """Return the rms difference (set,) from the potentials of sets, where g > 0.1."""
    seen = sets["g"].values > 0.1
    return np.sqrt(np.where(seen, (u - sets["u"].values) ** 2, 0.0).sum(axis=1) / seen.sum(axis=1))
