"""Potentials and accelerations of force fields that no model has seen, simulated, beside what is true of them.

python benchmarks/mobility.py ARCHIVE [--work FOLDER] [--stages …] [--members 3] [--runs 12] [--json FILE]

ARCHIVE is the folder that `cgstore simulate ingest/campaigns/trimethylpentane.toml` has filled. Families of slower
beads are run for each set; each sound set is held out once, with its family, and predicted potentials are run. Runs
are kept in FOLDER and not repeated. With `--store` the sets come by way of a store and of the feature table
`catalogs/tables/trimethylpentane.toml`, the same numbers more slowly.
"""

import argparse
import json
import tomllib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from _mobility_models import BASELINES, GROUPS, RATES, STRUCTURE, WITHIN, Asked, answers, apart
from _mobility_runs import MEMBERS, Runs, families

import cgstore
from cgstore.feature_tables import build_table, open_table
from cgstore.ingestion import ingest
from cgstore.learn.mobility.families import candidates, slower
from cgstore.learn.mobility.folds import resolved
from cgstore.learn.mobility.pairs import pairs_of
from cgstore.learn.mobility.sets import sets_of, sets_of_records
from cgstore.learn.mobility.tradeoff import mixed, pareto_front
from cgstore.splits.split import Catalog

HERE = Path(__file__).parent
SPEC = HERE.parent / "catalogs" / "tables" / "trimethylpentane.toml"
PARAMETERS = ("bond_length", "angle", "angle_stiffness", "torsion", "epsilon")
STAGES = ("families", "predict", "learn", "run", "curve", "tradeoff")
RUN = ("linear A", "network A", "linear B", "gaussian process B", "network B", "network B by structure")
LEARNED = ("linear A", "network A")
NUMBERS = (8, 15, 25)  # sets to learn from, besides all
SLOWER = ((1.2, 1.0), (1.4, 1.0), (1.0, 1.04), (1.2, 1.04), (1.4, 1.04))  # depth and size
SHARES = (0.5, 1.0)  # of the potential of network B

Float = np.ndarray


def main() -> None:
    """Run families, predict, run, and print tables."""
    given = parsed()
    torch.set_num_threads(1)
    store = given.work / "store"
    sets, catalog = rows_of(given.archive, store) if given.store else records_of(given.archive)
    near = resolved(sets)
    given.work.mkdir(parents=True, exist_ok=True)
    runs = Runs(given.work / "runs.json", sets, given.duration)
    said: dict[str, Any] = {"sets": describe(sets)}
    asked = Asked(near, catalog)
    if given.members:
        rows = np.random.default_rng(0).permutation(spread_rows(near, near.sizes["system"])).tolist()
        kept = Runs(given.work / "families.json", sets, given.duration)
        slow = families(near, kept, rows, members=given.members, quiet="families" not in given.stages)
        said["families"] = census(near, slow)
        asked = replace(asked, beads=candidates(near, slow))
    if "predict" in given.stages:
        said["held out"] = {name: compare(asked, name) for name in STRUCTURE}
    if "learn" in given.stages:
        said["learning curve"] = learning(asked)
    if "run" in given.stages:
        said["runs"] = validate(asked, runs, spread_rows(near, given.runs)[::-1])
    if "curve" in given.stages:
        said["curve of B"] = curve(asked, runs, spread_rows(near, given.runs)[::-1])
    if "tradeoff" in given.stages:
        said["tradeoff"] = tradeoff(asked, runs, spread_rows(near, given.tradeoff + 2)[1:-1])
    for line in sorted(set(asked.said)):
        print(f"  {line}")
    if given.json:
        given.json.write_text(json.dumps(said, indent=1) + "\n")


def parsed() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive", type=Path)
    parser.add_argument("--work", type=Path, default=Path("mobility"))
    parser.add_argument("--runs", type=int, default=12, help="held-out sets whose predicted potentials are run")
    parser.add_argument("--duration", type=float, default=1000.0, help="ps of each run")
    parser.add_argument("--members", type=int, default=MEMBERS, help="of the family of each set; 0: inversions only")
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


def census(near: xr.Dataset, slow: xr.Dataset) -> dict[str, Any]:
    """Print how many members of families are liquids, and how slow these are beside the molecules."""
    beads = candidates(near, slow)
    known = beads.isel(system=slice(near.sizes["system"], None))  # after those of the inversions
    pairs = pairs_of(near, beads, within=WITHIN)
    left = np.unique(pairs["left"].values)
    words = [str(phase).split(":")[0] for phase in slow["phase"].values]
    said = {
        "runs": len(words),
        "liquids with known D": known.sizes["system"],
        **{word: words.count(word) for word in sorted(set(words) - {""})},
        "slowest": float(known["D_CG"].min()) if known.sizes["system"] else None,
        "pairs": pairs.sizes["pair"],
        "molecules": len(left),
        "beads": len(np.unique(pairs["right"].values)),
        "slowest molecules with partners": float(near["D_AA"].values[left].min()),
    }
    print("families: " + ", ".join(f"{key} {value}" for key, value in said.items()), flush=True)
    return said


def compare(asked: Asked, name: str) -> dict[str, Any]:
    """Print how far the predictions of a method are off, with errors over sets."""
    near = asked.near
    found = answers(asked, range(near.sizes["system"]), [name])
    known = apart(found["u"][name], near)
    said: dict[str, Any] = {"u": mean_of(known), "sets": len(known)}
    line = f"  held out, {name:18} u {known.mean():.3f} ± {said['u'][1]:.3f} kJ/mol ({len(known)})"
    short = name.removesuffix(" A")
    for rate in RATES if short in BASELINES else ():
        value, error = found[rate][short].T
        off = np.log(value / near[rate].values)
        off = off[np.isfinite(off)]
        said[rate] = [*rms_of(off), float(np.sqrt(np.nanmean((error / value) ** 2)))]
        line += f", ln {rate} {said[rate][0]:.3f} ± {said[rate][1]:.3f} (says {said[rate][2]:.3f})"
    print(line, flush=True)
    return said


def mean_of(values: Float) -> list[float]:
    """Return a mean and its standard error."""
    return [float(values.mean()), float(values.std(ddof=1) / len(values) ** 0.5)]


def rms_of(values: Float) -> list[float]:
    """Return a root mean square and its standard error, of normal values."""
    rms = float(np.sqrt((values**2).mean()))
    return [rms, rms / (2 * len(values)) ** 0.5]


def most_of(near: xr.Dataset) -> int:
    """Return how many sets all folds can learn from."""
    return near.sizes["system"] - -(-near.sizes["system"] // GROUPS)


def learning(asked: Asked) -> dict[str, Any]:
    """Print held-out errors of structure and α against the number of sets that were learned from."""
    near = asked.near
    said: dict[str, Any] = {}
    for number in [n for n in NUMBERS if n < most_of(near)] + [most_of(near)]:
        found = answers(replace(asked, sets=number), range(near.sizes["system"]), LEARNED)
        alpha = np.log(found["alpha"]["linear"][:, 0] / near["alpha"].values)
        said[number] = {name: mean_of(apart(found["u"][name], near)) for name in LEARNED}
        said[number]["alpha"] = rms_of(alpha[np.isfinite(alpha)])
        words = ", ".join(f"{name} {value:.3f} ± {error:.3f}" for name, (value, error) in said[number].items())
        print(f"  {number} sets: {words}", flush=True)
    return said


def validate(asked: Asked, runs: Runs, rows: Sequence[int]) -> list[dict[str, Any]]:
    """Run predicted potentials of held-out sets and print them beside what the campaign found."""
    near, said = asked.near, []
    found = answers(asked, rows, RUN)
    print("held out and run: rmsd of g, α; D of the molecules from D of the beads and a predicted α, over the true one")
    for row in rows:
        one = near.isel(system=row)
        line: dict[str, Any] = {"system": str(one["system"].item()).split("/")[0], "D_AA": float(one["D_AA"])}
        line["IBI"] = {
            "rmsd": [float(one["rdf_rmsd"]), None],
            "alpha": [float(one["alpha"]), float(one["alpha_error"])],
            "phase": "",
        }
        for name in RUN:
            if np.isfinite(u := found["u"][name][row]).all():
                line[name] = without_g(runs.run(row, near["r"].values, u))
        line["rescaled"] = rescaled(line, found["alpha"]["linear"][row], one)
        said.append(line)
        print("  " + text(line), flush=True)
    for name in ("IBI", *RUN):
        summary(name, [line[name] for line in said if name in line])
    off = np.array([line["rescaled"] for line in said])
    off = off[np.isfinite(off).all(axis=1)]
    rms, error = rms_of(np.log(off[:, 0]))
    print(
        f"  rescaled: rms of ln {rms:.3f} ± {error:.3f} of {len(off)} sets, errors say "
        f"{np.sqrt((off[:, 1] ** 2).mean()):.3f}; chi² per set {(((off[:, 0] - 1) / off[:, 1]) ** 2).mean():.2f}"
    )
    return said


def without_g(run: dict[str, Any]) -> dict[str, Any]:
    """Return a run without its g(r)."""
    return {key: value for key, value in run.items() if key != "g"}


def rescaled(line: dict[str, Any], alpha: Float, one: xr.Dataset) -> list[float]:
    """Return D of the beads over a predicted α and over D of the molecules, with its error."""
    d, d_error = line["network A"]["D"]
    ratio = d / alpha[0] / line["D_AA"]
    parts = (d_error / d, alpha[1] / alpha[0], float(one["D_AA_error"] / one["D_AA"]))
    return [ratio, ratio * float(np.sqrt(np.square(parts).sum()))]


def summary(name: str, runs: Sequence[dict[str, Any]]) -> None:
    """Print what a method gave over all sets."""
    known = [one for one in runs if sound(one)]
    if len(known) < 2:
        print(f"  {name:18} {len(known)} liquids of {len(runs)}")
        return
    rmsd, alpha = (np.array([one[key][0] for one in known]) for key in ("rmsd", "alpha"))
    (r, r_error), (off, off_error) = mean_of(rmsd), rms_of(np.log(alpha))
    print(
        f"  {name:18} {len(known)} liquids of {len(runs)}: rmsd {r:.4f} ± {r_error:.4f}, "
        f"α {np.exp(np.log(alpha).mean()):.2f}, {alpha.min():.2f} … {alpha.max():.2f}, "
        f"rms of ln α {off:.3f} ± {off_error:.3f}"
    )


def sound(run: dict[str, Any]) -> bool:
    """Say whether a run was a liquid whose D is known."""
    return not run["phase"] and bool(np.isfinite(run["alpha"]).all())


def curve(asked: Asked, runs: Runs, rows: Sequence[int]) -> dict[str, Any]:
    """Run the potentials of network B of held-out sets by models of few and many sets, and print ln α."""
    said: dict[str, Any] = {}
    for number in [n for n in NUMBERS if n < most_of(asked.near)] + [most_of(asked.near)]:
        u = answers(replace(asked, sets=number), rows, ["network B"])["u"]["network B"]
        known = [runs.run(row, asked.near["r"].values, u[row]) for row in rows if np.isfinite(u[row]).all()]
        alpha = np.array([one["alpha"][0] for one in known if sound(one)])
        said[number] = {"asked": len(rows), "potentials": len(known), "liquids": len(alpha)}
        if len(alpha) > 1:
            said[number]["ln alpha"] = rms_of(np.log(alpha))
        print(f"  B by {number} sets: {said[number]}", flush=True)
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
            parts.append(f"{name}: {rmsd[0]:.4f}, α {alpha[0]:.2f} ± {alpha[1]:.2f} {line[name]['phase'][:6]}".strip())
    return "; ".join([*parts, f"rescaled {line['rescaled'][0]:.3f} ± {line['rescaled'][1]:.3f}"])


def tradeoff(asked: Asked, runs: Runs, rows: Sequence[int]) -> list[dict[str, Any]]:
    """Run families of potentials of held-out sets and print which are on the front of rmsd and α."""
    near, said = asked.near, []
    r = near["r"].values
    found = answers(asked, rows, ["network A", "network B"])["u"]
    for row in rows:
        a, b = found["network A"][row], found["network B"][row]
        family = {"A": a}
        family |= {f"{depth:g} deep, {size:g} large": slower(r, a, depth=depth, size=size) for depth, size in SLOWER}
        if np.isfinite(b).all():
            family |= {f"B {share:g}": mixed(a, b, share) for share in SHARES}
        points = {name: without_g(runs.run(row, r, u)) for name, u in family.items()}
        rmsd, alpha = (
            np.array([p[key][0] if sound(p) else np.nan for p in points.values()]) for key in ("rmsd", "alpha")
        )
        front = pareto_front({"rmsd": rmsd, "alpha": np.abs(np.log(alpha))})
        name = str(near["system"].values[row]).split("/")[0]
        line = {"system": name, "D_AA": float(near["D_AA"][row]), "points": points}
        said.append(line | {"front": [list(points)[place] for place in front]})
        print(f"trade-off of {name}, held out: rmsd of g, α; * on the front")
        for place, (kind, point) in enumerate(points.items()):
            print(
                f"  {'*' if place in front else ' '} {kind:20} {point['rmsd'][0]:.4f} ± {point['rmsd'][1]:.4f}  "
                f"{point['alpha'][0]:.2f} ± {point['alpha'][1]:.2f} {(point['phase'] or point['reason'])[:60]}",
                flush=True,
            )
    return said


if __name__ == "__main__":
    main()
