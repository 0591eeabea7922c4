"""Families of slower beads: what they are, who is paired with them, and that they are held out with their set."""

import numpy as np
import pytest
import xarray as xr

from cgstore.errors import InputError, NotFound
from cgstore.learn.mobility.families import candidates, depth_after, depth_towards, slower
from cgstore.learn.mobility.folds import folds
from cgstore.learn.mobility.pairs import PairLoader, averaged, pairs_of
from cgstore.learn.mobility.runs import Liquid, simulated
from cgstore.splits.split import Split
from cgstore.tables import table_of

R = np.arange(0.405, 1.4, 0.01)
ALL = Split.from_dict({"train": [{"system": "s*"}]}).train


def sets_of_beads(number: int) -> xr.Dataset:
    """Sets whose beads are all three times as fast as their molecules; g is the first parameter everywhere."""
    rng = np.random.default_rng(4)
    x = rng.uniform(0.8, 1.2, (number, 2))
    d = 2e-3 * np.exp(-2.0 * (x[:, 0] - 1.0))
    g = np.broadcast_to(x[:, :1], (number, len(R)))
    names = [f"s{n:03d}/atomistic/cg" for n in range(number)]
    return xr.Dataset(
        {
            "x": (("system", "parameter"), x),
            "u": (("system", "r"), -x[:, :1] / R**6),
            "g": (("system", "r"), g),
            "g_beads": (("system", "r"), g),
            "D_AA": ("system", d),
            "D_AA_error": ("system", 0.01 * d),
            "D_CG": ("system", 3.0 * d),
            "D_CG_error": ("system", 0.01 * d),
        },
        {"system": names, "r": R},
    )


def runs_of(sets: xr.Dataset, depths: tuple[float, ...] = (1.3, 1.6)) -> xr.Dataset:
    """Families whose D falls as exp(−1.8 (depth − 1)) and whose g rises by a tenth of it."""
    parts = []
    for depth in depths:
        d = sets["D_CG"].values * np.exp(-1.8 * (depth - 1.0))
        facts = {"D_CG": d, "D_CG_error": 0.01 * d, "depth": np.full(len(d), depth), "size": np.ones(len(d))}
        facts |= {"phase": np.full(len(d), "", object)}
        g = sets["g_beads"].values + 0.1 * (depth - 1.0)
        made = {"g": (("system", "r"), g), **{name: ("system", values) for name, values in facts.items()}}
        parts.append(xr.Dataset(made, {"system": sets["system"].values, "r": R}))
    return xr.concat(parts, "system")


def test_candidates_are_inversions_and_the_liquids_of_families() -> None:
    sets = sets_of_beads(3)
    runs = runs_of(sets)
    runs["phase"][1] = "frozen: S(k) = 80"
    runs["D_CG"][5] = np.nan
    beads = candidates(sets, runs)
    owners = [str(name)[:4] for name in beads["system"].values]
    assert owners == ["s000", "s001", "s002", "s000", "s002", "s000", "s001"]
    assert beads["depth"].values.tolist() == [1.0, 1.0, 1.0, 1.3, 1.3, 1.6, 1.6]
    assert candidates(sets, runs, worst=0.009)["depth"].values.tolist() == [1.0, 1.0, 1.0]
    np.testing.assert_allclose(beads["u"].values[5], 1.6 * sets["u"].values[0])
    np.testing.assert_allclose(beads["g"].values[4], sets["g"].values[2] + 0.03)
    with pytest.raises(NotFound, match="z/atomistic/cg"):
        candidates(sets, runs.assign_coords(system=["z/atomistic/cg", *runs["system"].values[1:]]))
    with pytest.raises(InputError, match="other distances"):
        candidates(sets, runs.isel(r=slice(3, None)))


def test_families_bring_beads_for_molecules_that_had_none_and_the_least_harmful_are_kept() -> None:
    sets = sets_of_beads(60)
    beads = candidates(sets, runs_of(sets))
    pairs = pairs_of(sets, beads, within=3.0)
    assert pairs.chunks
    assert pairs_of(sets, within=3.0).sizes["pair"] == 0 < pairs.sizes["pair"]
    left, right = pairs["left"].values, pairs["right"].values
    harm = np.abs(sets["g"].values[left, 0] - beads["g"].values[right, 0])
    np.testing.assert_allclose(pairs["harm"], harm)
    loader = PairLoader(
        sets, dict.fromkeys(sets.system.values.tolist()), ALL, beads=beads, within=3.0, partners=2, prefer="harm"
    )
    kept = [(i, j) for b in loader for i, j in zip(b["left"].tolist(), b["right"].tolist(), strict=True)]
    assert 0 < len(kept) < len(loader)
    for row in np.unique(left):
        best = sorted(harm[left == row])[:2]
        mine = [abs(float(sets["g"][i, 0]) - float(beads["g"][j, 0])) for i, j in kept if i == row]
        assert sorted(mine) == pytest.approx(best)
    away = (sets["x"].values[left] - np.tile(sets["x"].values, (3, 1))[right]) / sets["x"].values.std(axis=0)
    np.testing.assert_allclose(pairs["apart"], np.sqrt((away**2).mean(axis=1)))
    near = PairLoader(sets, dict.fromkeys(sets.system.values.tolist()), ALL, beads=beads, within=3.0, partners=1)
    row = int(left[0])
    (mine,) = [j for b in near for i, j in zip(b["left"].tolist(), b["right"].tolist(), strict=True) if i == row]
    assert mine == right[left == row][pairs["apart"].values[left == row].argmin()]
    with pytest.raises(InputError, match="partners"):
        PairLoader(sets, dict.fromkeys(sets.system.values.tolist()), ALL, partners=2)


def test_a_family_is_held_out_with_its_set() -> None:
    sets = sets_of_beads(60)
    beads = candidates(sets, runs_of(sets))
    names = sets.system.values.tolist()
    for split in folds(names, groups=3):
        out = {str(rule.system) for rule in split.heldout.rules}
        loader = PairLoader(sets, dict.fromkeys(names), split.train, beads=beads, within=3.0, partners=3)
        assert {name.split("/")[0] for name in loader.owners}.isdisjoint(out)
        assert len(loader.owners) == 3 * len(loader.names) == 120
        for batch in loader:
            owners = [loader.owners[place] for place in batch["right"].tolist()]
            ours = beads.isel(system=np.isin(beads["system"].values, loader.names))
            np.testing.assert_allclose(batch["u"], ours["u"].values[batch["right"].numpy()], rtol=1e-6)
            assert {name.split("/")[0] for name in owners}.isdisjoint(out)
            assert {loader.names[place].split("/")[0] for place in batch["left"].tolist()}.isdisjoint(out)


def test_means_of_partners_are_those_of_the_pairs() -> None:
    sets = sets_of_beads(30)
    beads = candidates(sets, runs_of(sets))
    loader = PairLoader(sets, dict.fromkeys(sets.system.values.tolist()), ALL, beads=beads, within=3.0, batch_size=5)
    few = averaged(loader)
    pairs = loader.pairs.compute()
    assert int(few["partners"].sum()) == len(loader)
    for place, name in enumerate(few["system"].values):
        row = loader.names.index(str(name))
        mean = pairs["right_u"].values[pairs["left"].values == row].mean(axis=0)
        np.testing.assert_allclose(few["u"].values[place], mean, rtol=1e-5)
        np.testing.assert_allclose(few["x"].values[place], sets["x"].values[row], rtol=1e-6)


def test_the_guess_of_a_depth_is_exact_where_the_logarithm_is_a_line() -> None:
    depth = depth_towards(6e-3, 2e-3, size=1.02)
    assert 6e-3 * np.exp(-1.8 * (depth - 1.0) - 5.0 * 0.02) == pytest.approx(2e-3)
    off = 0.5 * depth + 0.5  # too little, and corrected by what its run showed
    speed = 6e-3 * np.exp(-1.8 * (off - 1.0) - 5.0 * 0.02)
    assert depth_after(off, speed, 2e-3) == pytest.approx(depth)
    assert 1.0 < depth_after(depth, float("nan"), 2e-3) < depth
    u = 4.0 * ((0.5 / R) ** 12 - (0.5 / R) ** 6)
    larger = slower(R, u, depth=depth, size=1.02)
    inside = 1.03 * R[0] < R
    exact = depth * 4.0 * ((0.51 / R) ** 12 - (0.51 / R) ** 6)
    np.testing.assert_allclose(larger[inside], exact[inside], rtol=0.02, atol=0.002)


def test_a_run_that_is_no_liquid_says_so() -> None:
    r = np.arange(0.3, 0.851, 0.005)
    table = table_of(r, 4.0 * 0.996 * ((0.34 / r) ** 12 - (0.34 / r) ** 6), 0.85)
    how = {"seed": 1, "duration": 8.0, "equilibrate": 4.0, "every": 0.2}
    cold = simulated(table, Liquid(edge=1.75, number=125, mass=39.948, temperature=20.0), **how)
    warm = simulated(table, Liquid(edge=1.95, number=125, mass=39.948, temperature=180.0), **how)
    assert cold.phase.startswith("frozen")
    assert warm.phase == ""
