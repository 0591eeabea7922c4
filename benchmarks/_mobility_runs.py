"""Runs of beads in the boxes of sets, kept in a file and not repeated; and the families of slower beads."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from cgstore.errors import CgstoreError
from cgstore.learn.mobility.families import depth_after, depth_towards, slower
from cgstore.learn.mobility.runs import Liquid, simulated
from cgstore.tables import table_of

__all__ = ["Runs", "families"]

CUTOFF = 1.4
MEMBERS, SIZE = 3, 1.04  # of each family, and how large its beads are; at the same D larger ones keep g better
NEAR = 0.03  # of ln D: nearer to the molecules nothing else is tried
UNKNOWN = [float("nan")] * 2

Float = np.ndarray


class Runs:
    """Runs of potentials in the box of a set, as long as those of the campaign, kept in a file."""

    def __init__(self, path: Path, sets: xr.Dataset, duration: float) -> None:
        self.path, self.sets, self.duration = path, sets, duration
        self.kept: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}

    def run(self, row: int, r: Float, u: Float) -> dict[str, Any]:
        """Return D, α, g and its rmsd, all with errors, and what is wrong, of a potential in the box of a set."""
        one = self.sets.isel(system=row)
        words = f"{one['system'].item()} {self.duration} {np.round(u, 6).tobytes().hex()}"
        key = hashlib.sha256(words.encode()).hexdigest()
        if key not in self.kept:
            self.kept[key] = self._new(one, r, u)
            self.path.write_text(json.dumps(self.kept) + "\n")
        return dict(self.kept[key])

    def _new(self, one: xr.Dataset, r: Float, u: Float) -> dict[str, Any]:
        """Run a potential."""
        edge, number, mass, temperature = (float(one[name]) for name in ("edge", "molecules", "mass", "temperature"))
        liquid = Liquid(edge, round(number), mass, temperature)
        try:
            table = table_of(np.append(r, CUTOFF), np.append(u, 0.0), CUTOFF)
            moved = simulated(table, liquid, seed=1, duration=self.duration)
        except CgstoreError as problem:
            return {"phase": "exploded", "reason": str(problem), "rmsd": UNKNOWN, "alpha": UNKNOWN, "D": UNKNOWN}
        return {
            "rmsd": list(moved.rmsd(one["g"].values, one["g_error"].values)),
            "alpha": list(moved.acceleration(float(one["D_AA"]), float(one["D_AA_error"]))),
            "D": [moved.diffusion, moved.diffusion_error],
            "temperature": moved.temperature,
            "phase": moved.phase,
            "reason": moved.reason,
            "g": moved.g.round(6).tolist(),
        }


def families(near: xr.Dataset, runs: Runs, rows: Sequence[int], *, members: int, quiet: bool) -> xr.Dataset:
    """Search for beads of each set that move as its molecules do; return all that were run for `candidates`."""
    found: list[dict[str, Any]] = []
    last: dict[int, tuple[float, float]] = {}
    for _ in range(members):
        for row in rows:
            one = near.isel(system=row)
            aim = float(one["D_AA"])
            if row in last and abs(np.log(last[row][1] / aim)) < NEAR:
                continue
            tried = depth_after(*last[row], aim) if row in last else depth_towards(float(one["D_CG"]), aim, size=SIZE)
            depth = round(tried, 4)
            run = runs.run(row, near["r"].values, slower(near["r"].values, one["u"].values, depth=depth, size=SIZE))
            last[row] = depth, run["D"][0] if not run["phase"] else float("nan")
            found.append({"system": one["system"].item(), "depth": depth, "size": SIZE, **run})
            if not quiet:
                print(f"  {len(found)} {told(found[-1])}, molecules {1e3 * aim:.3f}", flush=True)
    return labelled(found, runs.sets["r"].values)


def told(run: dict[str, Any]) -> str:
    """Return a line about a member of a family."""
    d, error = (1e3 * value for value in run["D"])
    wrong = (run["phase"] or run["reason"]).split(":")[0]
    made = f"{run['system'].split('/')[0]} depth {run['depth']:.3f} size {run['size']:g}"
    return f"{made}: D {d:.3f} ± {error:.3f}, rmsd of g {run['rmsd'][0]:.3f} {wrong}"


def labelled(found: Sequence[dict[str, Any]], r: Float) -> xr.Dataset:
    """Return runs on (system); g is unknown where a run exploded."""
    unknown = np.full(len(r), np.nan)
    columns = {name: [run[name] for run in found] for name in ("depth", "size", "phase", "reason")}
    columns |= {"D_CG": [run["D"][0] for run in found], "D_CG_error": [run["D"][1] for run in found]}
    columns |= {"rmsd": [run["rmsd"][0] for run in found]}
    g = np.array([run.get("g", unknown) for run in found])
    return xr.Dataset(
        {"g": (("system", "r"), g), **{name: ("system", values) for name, values in columns.items()}},
        {"system": [run["system"] for run in found], "r": r},
    )
