"""Potentials and accelerations of force fields that no model has seen, simulated, beside what is true of them.

python benchmarks/mobility.py ARCHIVE [--work FOLDER] [--runs 12] [--duration 500] [--tradeoff 3] [--json FILE]

ARCHIVE is the folder that `cgstore simulate ingest/campaigns/trimethylpentane.toml` has filled. Each sound set is held
out once, and predicted potentials are run; runs are kept in FOLDER and not repeated. With `--store` the sets come
by way of a store and of the feature table `catalogs/tables/trimethylpentane.toml`, the same numbers more slowly.
"""

import argparse
import hashlib
import json
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr

import cgstore
from cgstore.errors import CgstoreError, InputError
from cgstore.feature_tables import build_table, open_table
from cgstore.ingestion import ingest
from cgstore.learn.mobility.folds import curve_scale, folds, predicted, predicted_potentials, resolved
from cgstore.learn.mobility.models import Regression, basis_of, constant, gaussian_process, linear, nearest
from cgstore.learn.mobility.network import Network, train_potentials
from cgstore.learn.mobility.pairs import PairLoader, chosen, pairs_of
from cgstore.learn.mobility.runs import Liquid, simulated
from cgstore.learn.mobility.sets import sets_of, sets_of_records
from cgstore.learn.mobility.tradeoff import deepened, mixed, pareto_front, stretched
from cgstore.learn.rows import RowLoader
from cgstore.splits.split import Catalog, Split
from cgstore.tables import table_of

HERE = Path(__file__).parent
SPEC = HERE.parent / "catalogs" / "tables" / "trimethylpentane.toml"
PARAMETERS = ("bond_length", "angle", "angle_stiffness", "torsion", "epsilon")
BASELINES: dict[str, Regression] = {
    "mean": constant, "nearest": nearest, "linear": linear, "gaussian process": gaussian_process
}  # fmt: skip
NETWORKS = ("network A", "network B")
METHODS = ("mean", "nearest", "linear", *NETWORKS, "gaussian process")
RUN = ("linear", *NETWORKS)
STAGES = ("learn", "predict", "run", "tradeoff")
GROUPS, CUTOFF, WITHIN = 12, 1.4, 2.0
RATES = ("alpha", "D_AA", "D_CG", "edge")
DEEP, LARGE, MIX = (1.2, 1.5), (1.03, 1.06), (0.5, 1.0)

Float = np.ndarray


def main() -> None:
    """Predict, run, and print tables."""
    given = parsed()
    torch.set_num_threads(1)
    store = given.work / "store"
    sets, catalog = rows_of(given.archive, store) if given.store else records_of(given.archive)
    near = resolved(sets)
    given.work.mkdir(parents=True, exist_ok=True)
    runs = Runs(given.work / "runs.json", sets, given.duration)
    said: dict[str, Any] = {"sets": describe(sets)}
    if "learn" in given.stages:
        said["learning curve"] = learning(near)
    if "predict" in given.stages:
        said["held out"] = {}
        for name in METHODS:
            said["held out"][name] = compare(near, name, held_out(near, catalog, range(near.sizes["system"]), [name]))
    if "run" in given.stages:
        rows = spread_rows(near, given.runs)[::-1]
        said["runs"] = validate(near, held_out(near, catalog, rows, RUN), runs, rows)
    if "tradeoff" in given.stages:
        rows = spread_rows(near, given.tradeoff + 2)[1:-1]
        said["tradeoff"] = tradeoff(near, held_out(near, catalog, rows, NETWORKS), runs, rows)
    if given.json:
        given.json.write_text(json.dumps(said, indent=1) + "\n")


def parsed() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive", type=Path)
    parser.add_argument("--work", type=Path, default=Path("mobility"))
    parser.add_argument("--runs", type=int, default=12, help="held-out sets whose predicted potentials are run")
    parser.add_argument("--duration", type=float, default=500.0, help="ps of each run")
    parser.add_argument("--tradeoff", type=int, default=3, help="held-out sets with a Pareto front")
    parser.add_argument("--store", action="store_true", help="through a store and its feature table, not the records")
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=STAGES)
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def records_of(archive: Path) -> tuple[xr.Dataset, Catalog]:
    """Return the sets of the records of an archive; their names are the catalog."""
    sets = sets_of_records(archive / "trimethylpentane", PARAMETERS)
    return sets, dict.fromkeys(str(name) for name in sets["system"].values)


def rows_of(archive: Path, store: Path) -> tuple[xr.Dataset, Catalog]:
    """Ingest what the store lacks, build the table, and return its sets."""
    store.parent.mkdir(parents=True, exist_ok=True)
    recipes = sorted((archive / "trimethylpentane").glob("*/recipe.toml"))
    recipes = [path for path in recipes if not (store / path.parent.name).exists()]
    if recipes:
        ingest(recipes, archive=archive, store=store, jobs=1)
    spec = tomllib.loads(SPEC.read_text())
    spec["columns"]["u"]["file"] = f"{archive}/trimethylpentane/{{system}}/potential.csv"
    build_table(store, spec, jobs=1)
    return sets_of(open_table(store, spec["name"]), PARAMETERS), cgstore.open_catalog(store)


def describe(sets: xr.Dataset) -> dict[str, Any]:
    """Print what there is to learn from."""
    pairs = pairs_of(sets, within=WITHIN)
    partners = [len(np.unique(pairs[side].values)) for side in ("left", "right")]
    print(
        f"{sets.sizes['system']} sets, {int(np.isfinite(sets['alpha_error']).sum())} with known α and error; "
        f"{pairs.sizes['pair']} pairs within {WITHIN:g} σ, of {partners[0]} molecules and {partners[1]} beads"
    )
    for name in ("D_AA", "D_AA_infinite", "D_CG", "D_CG_infinite", "alpha", "rdf_rmsd", "edge"):
        low, middle, high = np.nanpercentile(sets[name].values, (0, 50, 100))
        line = f"  {name}: {low:.4g} … {high:.4g}, median {middle:.4g}"
        if f"{name}_error" in sets:
            line += f", relative error {float(np.nanmedian(sets[f'{name}_error'] / sets[name])):.3f}"
        print(line)
    seen = sets["g"].values > 0.1
    print(f"  error of potentials where g > 0.1: {np.nanmedian(sets['u_error'].values[seen]):.3f} kJ/mol", flush=True)
    return {"sets": sets.sizes["system"], "pairs": pairs.sizes["pair"], "molecules": partners[0], "beads": partners[1]}


def held_out(near: xr.Dataset, catalog: Catalog, wanted: Sequence[int], methods: Sequence[str]) -> dict[str, Any]:
    """Return potentials (set, r) and rates of wanted sets by some methods, of models that have not seen them."""
    names = [str(name) for name in near["system"].values]
    found: dict[str, Any] = {"u": {name: np.full(near["u"].shape, np.nan) for name in methods}}
    found |= {rate: {name: np.full((len(names), 2), np.nan) for name in methods} for rate in RATES}
    for number, split in enumerate(folds(names, groups=GROUPS)):
        known = chosen(near, catalog, split.train)
        seen = set(known["system"].values)
        rows = [row for row, name in enumerate(names) if name not in seen and row in wanted]
        if not rows:
            continue
        new = near.isel(system=rows)
        for name in methods:
            if name in NETWORKS:
                found["u"][name][rows] = network(name, near, catalog, split, new, seed=number)
                continue
            found["u"][name][rows], _ = predicted_potentials(BASELINES[name], known, new)
            for rate in RATES:
                found[rate][name][rows] = np.stack(predicted(BASELINES[name], known, new, rate), 1)
    return found


def network(name: str, near: xr.Dataset, catalog: Catalog, split: Split, new: xr.Dataset, *, seed: int) -> Float:
    """Train a network on the training part of a split and return its potentials of new sets, NaN without pairs."""
    known = chosen(near, catalog, split.train)
    basis = basis_of(known["u"].values, curve_scale(known))
    try:
        if name == "network A":
            loader = RowLoader(near, catalog, split.train, batch_size=64, columns=["x", "u"], seed=seed, streams=1)
            rows = loader.endless()
        else:
            rows = PairLoader(near, catalog, split.train, within=WITHIN, seed=seed).endless()
    except InputError as problem:
        print(f"  {name}, group {seed}: {problem}")
        return np.full((new.sizes["system"], near.sizes["r"]), np.nan)
    return train_potentials(rows, basis, known["x"].values, Network(seed=seed)).predict(new["x"].values)[0]


def compare(near: xr.Dataset, name: str, found: dict[str, Any]) -> dict[str, Any]:
    """Print how far the predictions of a method are off, with errors over sets."""
    known = apart(found["u"][name], near)
    known = known[np.isfinite(known)]
    said: dict[str, Any] = {
        "u": [float(known.mean()), float(known.std(ddof=1) / len(known) ** 0.5)],
        "sets": len(known),
    }
    line = f"  held out, {name:16} u {known.mean():.3f} ± {said['u'][1]:.3f} kJ/mol ({len(known)})"
    for rate in RATES if name in BASELINES else ():
        value, error = found[rate][name].T
        off = np.log(value / near[rate].values)
        off = off[np.isfinite(off)]
        rms = float(np.sqrt((off**2).mean()))
        said[rate] = [rms, rms / (2 * len(off)) ** 0.5, float(np.sqrt(np.nanmean((error / value) ** 2)))]
        line += f", ln {rate} {rms:.3f} ± {said[rate][1]:.3f} (says {said[rate][2]:.3f})"
    print(line, flush=True)
    return said


def apart(u: Float, sets: xr.Dataset) -> Float:
    """Return the rms difference (set,) from the potentials of sets, where g > 0.1."""
    seen = sets["g"].values > 0.1
    return np.sqrt(np.where(seen, (u - sets["u"].values) ** 2, 0.0).sum(axis=1) / seen.sum(axis=1))


def learning(near: xr.Dataset) -> dict[str, Any]:
    """Print the held-out error of a straight line in all parameters against the number of sets it learned from."""
    names = [str(name) for name in near["system"].values]
    entries = dict.fromkeys(names)
    most = len(names) - -(-len(names) // GROUPS)
    said = {}
    for number in [n for n in (8, 15, 25) if n < most] + [most]:
        off: dict[str, list[float]] = {"u": [], "alpha": []}
        for split in folds(names, groups=GROUPS, sets=number):
            known = near.sel(system=[str(member.name) for member in split.train.members(entries)])
            out = {str(rule.system) for rule in split.heldout.rules}
            new = near.isel(system=[n for n, name in enumerate(names) if name.split("/")[0] in out])
            u, _ = predicted_potentials(linear, known, new)
            off["u"] += apart(u, new).tolist()
            alpha, _ = predicted(linear, known, new, "alpha")
            off["alpha"] += np.log(alpha / new["alpha"].values).tolist()
        u, alpha = (np.array(off[key])[np.isfinite(off[key])] for key in ("u", "alpha"))
        rms = float(np.sqrt((alpha**2).mean()))
        errors = float(u.std() / len(u) ** 0.5), rms / (2 * len(alpha)) ** 0.5
        said[number] = {"u": [float(u.mean()), errors[0]], "alpha": [rms, errors[1]]}
        print(f"  {number} sets: u {u.mean():.3f} ± {errors[0]:.3f}, ln α {rms:.3f} ± {errors[1]:.3f}", flush=True)
    return said


class Runs:
    """Runs of beads in the boxes of sets, kept in a file."""

    def __init__(self, path: Path, sets: xr.Dataset, duration: float) -> None:
        self.path, self.sets, self.duration, self.fit = path, sets, duration, (4.0, duration / 10)
        self.kept: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}

    def run(self, row: int, r: Float, u: Float) -> dict[str, Any]:
        """Return rmsd of g and α with errors of a potential in the box of a set."""
        one = self.sets.isel(system=row)
        key = hashlib.sha256(
            f"{one['system'].item()} {self.duration} {np.round(u, 6).tobytes().hex()}".encode()
        ).hexdigest()
        if key not in self.kept:
            self.kept[key] = self._new(one, r, u)
            self.path.write_text(json.dumps(self.kept) + "\n")
        return self.kept[key]

    def _new(self, one: xr.Dataset, r: Float, u: Float) -> dict[str, Any]:
        """Run a potential."""
        facts = (float(one[name]) for name in ("edge", "molecules", "mass", "temperature"))
        edge, number, mass, temperature = facts
        try:
            table = table_of(np.append(r, CUTOFF), np.append(u, 0.0), CUTOFF)
            moved = simulated(
                table, Liquid(edge, round(number), mass, temperature), seed=1, duration=self.duration, fit=self.fit
            )
        except CgstoreError as problem:
            return {"reason": str(problem), "rmsd": [np.nan] * 2, "alpha": [np.nan] * 2, "D": [np.nan] * 2}
        return {
            "rmsd": list(moved.rmsd(one["g"].values, one["g_error"].values)),
            "alpha": list(moved.acceleration(float(one["D_AA"]), float(one["D_AA_error"]))),
            "D": [moved.diffusion, moved.diffusion_error],
            "temperature": moved.temperature,
            "reason": moved.reason,
        }


def validate(near: xr.Dataset, found: dict[str, Any], runs: Runs, rows: Sequence[int]) -> list[dict[str, Any]]:
    """Run predicted potentials of held-out sets and print them beside what the campaign found."""
    said = []
    print("held out and run: rmsd of g, α; D of the molecules from D of the beads and a predicted α, over the true one")
    for row in rows:
        one = near.isel(system=row)
        line: dict[str, Any] = {"system": str(one["system"].item()).split("/")[0], "D_AA": float(one["D_AA"])}
        line["IBI"] = {
            "rmsd": [float(one["rdf_rmsd"]), None],
            "alpha": [float(one["alpha"]), float(one["alpha_error"])],
        }
        for name in RUN:
            u = found["u"][name][row]
            if np.isfinite(u).all():
                line[name] = runs.run(row, near["r"].values, u)
        alpha, error = found["alpha"]["linear"][row]
        d, d_error = line["network A"]["D"]
        ratio = d / alpha / line["D_AA"]
        line["rescaled"] = [
            ratio,
            ratio * float(np.hypot(np.hypot(d_error / d, error / alpha), one["D_AA_error"] / one["D_AA"])),
        ]
        said.append(line)
        print("  " + text(line), flush=True)
    for name in ("IBI", *RUN):
        known = [line[name] for line in said if name in line and np.isfinite(line[name]["alpha"][0])]
        if known:
            rmsd, alpha = (np.array([one[key][0] for one in known]) for key in ("rmsd", "alpha"))
            print(
                f"  {name:17} {len(known)} sets: rmsd {rmsd.mean():.4f} ± {rmsd.std() / len(rmsd) ** 0.5:.4f}, "
                f"α {alpha.mean():.2f}, {alpha.min():.2f} … {alpha.max():.2f}"
            )
    off = np.array([[line["rescaled"][0], line["rescaled"][1]] for line in said])
    off = off[np.isfinite(off).all(axis=1)]
    print(
        f"  rescaled: rms of ln {np.sqrt((np.log(off[:, 0]) ** 2).mean()):.3f} of {len(off)} sets, errors say "
        f"{np.sqrt((off[:, 1] ** 2).mean()):.3f}; chi² per set {(((off[:, 0] - 1) / off[:, 1]) ** 2).mean():.2f}"
    )
    return said


def spread_rows(near: xr.Dataset, number: int) -> list[int]:
    """Return places of sets with known α, evenly over D of the molecules."""
    known = np.flatnonzero(np.isfinite(near["alpha_error"].values))
    order = known[np.argsort(near["D_AA"].values[known])]
    return [
        int(order[n]) for n in np.unique(np.linspace(0, len(order) - 1, min(number, len(order))).round().astype(int))
    ]


def text(line: dict[str, Any]) -> str:
    """Return a line of a table."""
    parts = [f"{line['system']} D_AA {1e3 * line['D_AA']:.2f}"]
    for name in ("IBI", *RUN):
        if name in line:
            rmsd, alpha = line[name]["rmsd"], line[name]["alpha"]
            parts.append(f"{name}: {rmsd[0]:.4f}, α {alpha[0]:.2f} ± {alpha[1]:.2f}")
    return "; ".join([*parts, f"rescaled {line['rescaled'][0]:.3f} ± {line['rescaled'][1]:.3f}"])


def tradeoff(near: xr.Dataset, found: dict[str, Any], runs: Runs, rows: Sequence[int]) -> list[dict[str, Any]]:
    """Run families of potentials of held-out sets and print which are on the front of rmsd and α."""
    said = []
    r = near["r"].values
    for row in rows:
        a, b = found["u"]["network A"][row], found["u"]["network B"][row]
        family = {"A": a}
        family |= {f"deeper {factor:g}": deepened(a, factor) for factor in DEEP}
        family |= {f"larger {factor:g}": stretched(r, a, factor) for factor in LARGE}
        if np.isfinite(b).all():
            family |= {f"B {share:g}": mixed(a, b, share) for share in MIX}
        points = {name: runs.run(row, r, u) for name, u in family.items()}
        rmsd, alpha = (np.array([point[key][0] for point in points.values()], float) for key in ("rmsd", "alpha"))
        front = pareto_front({"rmsd": rmsd, "alpha": np.abs(np.log(alpha))})
        name = str(near["system"].values[row]).split("/")[0]
        said.append({"system": name, "points": points, "front": [list(points)[place] for place in front]})
        print(f"trade-off of {name}, held out: rmsd of g, α; * on the front")
        for place, (kind, point) in enumerate(points.items()):
            mark = "*" if place in front else " "
            print(
                f"  {mark} {kind:12} {point['rmsd'][0]:.4f} ± {point['rmsd'][1]:.4f}  "
                f"{point['alpha'][0]:.2f} ± {point['alpha'][1]:.2f} {point['reason'][:60]}",
                flush=True,
            )
    return said


if __name__ == "__main__":
    main()
