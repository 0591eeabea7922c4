"""What a trained potential of a bilayer does for long: a million steps with a free area, and how fast its lipids move.

    cgstore train catalogs/fits/dmpc.toml -o fits/dmpc
    cgstore validate fits/dmpc
    python benchmarks/bilayer.py fits/dmpc           # all stages; what is in the folder already is not done again
    python benchmarks/bilayer.py fits/dmpc --stage report

Stage `run` moves the model for `--steps` steps at the state that it has learned, with a free area and without tension,
in the box and from a frame of that dataset; the height of the box is fixed, because nothing is above a bilayer in empty
space. It is made in pieces, and goes on with those there are. `motion` asks for diffusion in the plane, of replicas in
the fixed box, as long as the atomistic run and without friction. `report` prints what the runs say beside the atomistic
ones, and how far the distributions that were learned from are from those held out: what doing nothing would reach. It
draws a picture.
What came out: docs/model-dmpc.md.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import xarray as xr

import cgstore
from cgstore.averages.spec import ProfileSpec, load_spec
from cgstore.learn.comparison import blocks_of, curves_of, of_replicas, rows_of
from cgstore.learn.potential_file import read_tables
from cgstore.learn.sampler import sample, starting_frames
from cgstore.learn.trainset import TrainingSet
from cgstore.splits.split import Catalog

TIME_STEP = 0.02  # ps
PIECES, FRAMES = 20, 50  # of a run; frames of a piece; the first piece is left out
LAGS = (100.0, 400.0)  # ps, of the line that diffusion is the slope of
PAIRS, ANGLES, TYPES = ("PO4-PO4", "NC3-PO4", "CM-CM"), ("CM-CM-CT", "GL-PO4-NC3"), ("NC3", "PO4", "GL", "CM", "CT")
COLOURS = ("#3b6fb6", "#e0832d", "#7a3fa8", "#1c7a52", "#444444")
STAGES = ("run", "motion", "report")


def main() -> None:
    """Do what is not yet done."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("fit", type=Path, help="the folder of a finished fit")
    parser.add_argument("--store", default="store")
    parser.add_argument("--stage", choices=STAGES, help="only this one")
    parser.add_argument("--steps", type=int, default=1_000_000, help="of a run")
    asked = parser.parse_args()
    learned, catalog = TrainingSet.read(asked.fit), cgstore.open_catalog(asked.store)
    train, *heldout = (used.member.name for part in ("train", "heldout") for used in learned.parts.get(part, ()))
    for stage in STAGES if asked.stage is None else (asked.stage,):
        print(f"== {stage}", flush=True)
        if stage == "run":
            moved(asked.fit, catalog, train, asked.steps)
        elif stage == "motion":
            mobile(asked.fit, catalog, train)
        else:
            reported(asked.fit, catalog, train, heldout)


def folder_of(fit: Path, name: str) -> Path:
    """Return where the runs at a dataset are kept."""
    return fit / "runs" / name.split("/")[0]


def moved(fit: Path, catalog: Catalog, name: str, steps: int) -> None:
    """Run the model in pieces, each from where the last one ended, with new velocities; go on with what there is."""
    model, folder = read_tables(fit), folder_of(fit, name)
    folder.mkdir(parents=True, exist_ok=True)
    frames, duration = starting_frames(catalog[name].open(), 1), steps * TIME_STEP / PIECES
    for piece in range(PIECES):
        path = folder / f"{piece:02d}.zarr"
        if not path.exists():
            cpu = time.process_time()
            run = sample(
                model,
                frames,
                temperature=catalog[name].metadata["temperature"],
                time_step=TIME_STEP,
                equilibrate=0.0,
                duration=duration,
                every=duration / FRAMES,
                seed=piece,
                threads=1,
                pressure=0.0,
                membrane="area",
            )
            run = run.drop_vars("velocity").assign_coords(time=run["time"] + piece * duration)
            run.assign_attrs(kind="bilayer").to_zarr(path, mode="w", consolidated=False)
            area = float(np.linalg.det(run["box"].values[:, :2, :2].astype(float)).mean())
            print(f"  {name} piece {piece}: area {area:.3f} nm2, {time.process_time() - cpu:.0f} s", flush=True)
        frames = xr.open_zarr(path, consolidated=False).isel(frame=[-1]).load()


def mobile(fit: Path, catalog: Catalog, name: str) -> None:
    """Print how fast lipids move in the plane: the atomistic run, and three replicas of the model without friction."""
    ds, model, cpu = catalog[name].open().load(), read_tables(fit), time.process_time()
    times, temperature = ds["time"].values, catalog[name].metadata["temperature"]
    options: dict = {"temperature": temperature, "time_step": TIME_STEP, "threads": 1, "seed": 7}
    start = sample(model, starting_frames(ds, 3), equilibrate=0.0, duration=100.0, every=100.0, **options)
    run = sample(
        model,
        start.drop_vars("velocity"),
        equilibrate=10.0,
        duration=float(times[-1] - times[0]),
        every=float(times[1] - times[0]),
        friction=0.0,
        coupling=1.0,
        **options,
    )
    each = [run.isel(frame=run["replica"].values == number) for number in range(3)]
    msd = [cgstore.mean_squared_displacement(one, dims="xy").compute() for one in (ds, *each)]
    found = [cgstore.diffusion_coefficient(one, fit=LAGS).compute() for one in msd]
    for which, one, far in zip(("atomistic", "model", "model", "model"), found, msd, strict=True):
        value, error = (1e3 * float(one[key][0]) for key in ("diffusion", "diffusion_error"))
        squares = [f"{lag:.0f} ps {float(far['msd'].interp(lag=lag)[0]):.3f}" for lag in (15.0, 105.0, 375.0)]
        print(f"  {which}: D in the plane {value:.4f} +- {error:.4f} nm2/ns; squares / nm2: {', '.join(squares)}")
    slow, fast = found[0], np.array([float(one["diffusion"][0]) for one in found[1:]])
    alpha = fast.mean() / float(slow["diffusion"][0])
    parts = fast.std(ddof=1) / len(fast) ** 0.5 / fast.mean(), float(slow["diffusion_error"][0] / slow["diffusion"][0])
    print(f"  acceleration {alpha:.1f} +- {alpha * float(np.hypot(*parts)):.1f}; {time.process_time() - cpu:.0f} s")


def run_at(fit: Path, name: str) -> xr.Dataset | None:
    """Return the run at a dataset, less its first piece."""
    pieces = [xr.open_zarr(path, consolidated=False).load() for path in sorted(folder_of(fit, name).glob("*.zarr"))]
    if len(pieces) < 2:
        return None
    return xr.concat(pieces[1:], "frame", data_vars="minimal", coords="minimal", compat="override")


def reported(fit: Path, catalog: Catalog, train: str, heldout: list[str]) -> None:
    """Print the runs beside the atomistic ones, and what a model that changes nothing would reach; draw."""
    runs = {}
    for name in (train, *heldout):
        shown = {f"{name}, atomistic": catalog[name].open().load()}
        run = run_at(fit, name)
        if run is not None:
            shown[f"{name}, model"] = runs[name] = run
            ends(name, run, catalog[name].metadata["temperature"])
        for label, ds in shown.items():
            membrane(label, ds, catalog[name].metadata["temperature"])
    for name in heldout:
        unchanged(fit, catalog, train, name)
    for part, names in (("train", [train]), ("heldout", heldout)):
        for name in names if (fit / f"validation-{part}.nc").exists() else ():
            drawn(fit, runs, name, part)


def ends(name: str, run: xr.Dataset, temperature: float) -> None:
    """Print how a run goes: area, thickness and energy in five parts of it."""
    m = cgstore.membrane(run, temperature=temperature).compute()
    series = {"area": m["area_per_lipid_series"], "thickness": m["thickness_series"], "energy": run["energy"]}
    for what, values in series.items():
        means = [f"{float(part.mean()):.4g}" for part in np.array_split(values.values, 5)]
        print(f"  {name}: {what} in five parts of the run: {', '.join(means)}")


def membrane(label: str, ds: xr.Dataset, temperature: float) -> None:
    """Print area, thickness, lipids in neither leaflet and order of the bonds."""
    m, order = cgstore.membrane(ds, temperature=temperature).compute(), cgstore.bond_order(ds).compute()
    print(f"{label}: {ds.sizes['frame']} frames")
    for what, unit in (("area_per_lipid", "nm2"), ("thickness", "nm"), ("lipids_in_neither", "")):
        print(f"  {what} {float(m[what]):.4f} +- {float(m[what + '_error']):.4f} {unit}")
    print(f"  lipids of the leaflets at the end {[float(x[-1]) for x in m['leaflet_lipids_series'].values.T]}")
    rows = zip(order["bond_kind"].values, order["bond_order"].values, order["bond_order_error"].values, strict=True)
    print("  P2 " + ", ".join(f"{kind} {value:.3f} +- {error:.3f}" for kind, value, error in rows))


def unchanged(fit: Path, catalog: Catalog, train: str, heldout: str) -> None:
    """Print rmsd and total variation of what was learned, four quarters of it, from what was held out."""
    spec = load_spec(fit / "spec.toml").model_copy(update={"profile": ProfileSpec.model_validate({"reach": "2.9 nm"})})
    known, other = (catalog[name].open().load() for name in (heldout, train))
    quarters = other.assign_coords(replica=("frame", np.arange(other.sizes["frame"]) * 4 // other.sizes["frame"]))
    blocks = blocks_of(known, spec, membrane=True)
    found = {"unchanged": of_replicas(quarters, spec, blocks)}
    temperature = float(catalog[heldout].metadata["temperature"])
    rows = rows_of(heldout, temperature, blocks, found, curves_of(heldout, blocks, found))
    validated = json.loads((fit / "validation-heldout.json").read_text())["rows"]
    print(f"{heldout}: rmsd of g, total variation of the others; {train} as it is, then the models")
    for row in rows:
        name = "rmsd" if row.distribution == "rdf" else "total_variation"
        models = [one for one in validated if (one["distribution"], one["pair"]) == (row.distribution, row.pair)]
        # null is an error that is not known
        words = [f"{one['model']} {one[name]:.3f} +- {one[name + '_error'] or np.nan:.3f}" for one in models]
        here = f"{getattr(row, name):.3f} +- {getattr(row, name + '_error'):.3f}"
        print(f"  {row.distribution} {row.pair}: {here}; {', '.join(words)}")


def drawn(fit: Path, runs: dict[str, xr.Dataset], name: str, part: str) -> None:
    """Draw profiles, three g(r) and two angles, atomistic, of the network and of what it began as, and the area."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    with xr.open_dataset(fit / f"validation-{part}.nc", engine="scipy") as file:
        curves = file.sel(dataset=name).load()
    figure, axes = plt.subplots(2, 2, figsize=(9.0, 6.4), layout="constrained")
    begun = [name for name in curves["curve"].values.tolist() if name not in ("reference", "network")]
    looks = {"reference": ("-", 3.0, 0.35), "network": ("-", 1.2, 1.0)} | {name: (":", 1.2, 1.0) for name in begun}
    panels = (
        (axes[0, 0], "profile", "type", "z", TYPES, "number density / nm⁻³", "z / nm"),
        (axes[0, 1], "rdf", "pair", "r", PAIRS, "g(r)", "r / nm"),
        (axes[1, 0], "angle", "angle_kind", "theta", ANGLES, "density of angles / degree⁻¹", "angle / degree"),
    )
    for panel, kind, dim, bins, names, upright, along in panels:
        for colour, row in zip(COLOURS, names, strict=False):
            for curve, (line, width, alpha) in looks.items():
                value, label = curves[kind].sel({dim: row, "curve": curve}), row if curve == "network" else None
                panel.plot(curves[bins], value, line, color=colour, linewidth=width, alpha=alpha, label=label)
        panel.set(xlabel=along, ylabel=upright)
    axes[0, 0].set_xlim(-3.0, 3.0)
    for colour, (which, run) in zip(COLOURS, runs.items(), strict=False):
        area = cgstore.membrane(run, temperature=300.0).compute()["area_per_lipid_series"]
        label = f"network at {which.split('/')[0]}"
        axes[1, 1].plot(1e-3 * run["time"].values, area, color=colour, linewidth=0.8, label=label)
    axes[1, 1].set(xlabel="time / ns", ylabel="area per lipid / nm²")
    for panel in axes.ravel():
        panel.legend(fontsize=7, frameon=False)
    words = f"{name.split('/')[0]}, {part}: thick and pale atomistic; thin the network; dotted what it began as"
    figure.suptitle(words, fontsize=9)
    figure.savefig(fit / f"model-{part}.png", dpi=110)
    print(fit / f"model-{part}.png")


if __name__ == "__main__":
    main()
