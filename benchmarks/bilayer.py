"""A model of DMPC without solvent, ten beads for a lipid, found by inversion of the shipped atomistic run.

    python benchmarks/bilayer.py OUT            # all of it; what is in OUT already is not done again
    python benchmarks/bilayer.py OUT --stage report

The first half of the atomistic run is the reference, the second half is held out. At the fixed box of the first half
iterative Boltzmann inversion (stage ibi) corrects the potentials of mean force of pairs, bonds, angles and dihedrals.
Smaller steps (refined), then inverse Monte Carlo (imc) go on from there and correct the pressure in the plane, too. The
last model runs a million steps with a free area and without tension (free), and in the fixed box (fixed); that of ibi,
whose pressure nobody corrected, with a free area (uncorrected). The height of the box is always fixed, because nothing
is above a bilayer in empty space. Runs are made in pieces, and go on with those there are. Diffusion is asked of a run
of its own in the fixed box, as long as the atomistic one and without friction (motion).
What came out: docs/model-dmpc.md.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import xarray as xr

import cgstore
from cgstore.inverse.deviations import agreement
from cgstore.learn.inversion import invert
from cgstore.learn.molecular import Molecular
from cgstore.learn.sampler import sample, starting_frames
from cgstore.learn.settings import Sampling
from cgstore.tables import BondedTable, Table

TEMPERATURE, CUTOFF, TIME_STEP = 303.0, 1.2, 0.02  # K, nm, ps
PAIRS = {"r_max": CUTOFF, "bin_width": 0.02, "exclude_bonded": 3}
TERMS = {"bond_width": 0.005, "bond_max": 0.8, "angle_width": 4.0, "dihedral_width": 8.0}
SHORT = Sampling(time_step=TIME_STEP, equilibrate=30.0, duration=200.0, every=2.0, threads=1)
LONG = Sampling(time_step=TIME_STEP, equilibrate=30.0, duration=400.0, every=0.5, threads=1)
PIECES, FRAMES = 20, 50  # of a run; frames of a piece; the first piece is left out
RUNS = ("free", "fixed", "uncorrected")
AFTER = {
    "refined": "ibi",
    "imc": "refined",
    "free": "imc",
    "fixed": "imc",
    "uncorrected": "ibi",
    "motion": "imc",
}  # whose model
LAGS = (100.0, 400.0)  # ps, of the line that diffusion is the slope of
REACH = 3.0  # nm, of profiles
COLOURS = ("#3b6fb6", "#e0832d", "#7a3fa8", "#1c7a52", "#444444")
STAGES = ("ibi", "refined", "imc", "free", "fixed", "uncorrected", "motion", "report")


def main() -> None:
    """Do what is not yet done."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="a folder")
    parser.add_argument("--stage", choices=STAGES, help="only this one; it needs those before it")
    parser.add_argument("--archive", default="archive", help="where dmpc_303k lies, the shipped archive by default")
    parser.add_argument("--steps", type=int, default=1_000_000, help="of the runs of the models")
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    ds = atomistic(asked.out / "store", asked.archive)
    half = ds.sizes["frame"] // 2
    learnt = ds.isel(frame=slice(half))
    for stage in STAGES if asked.stage is None else (asked.stage,):
        print(f"== {stage}", flush=True)
        if stage in ("ibi", "refined", "imc"):
            found(stage, learnt, asked.out)
        elif stage in RUNS:
            moved(stage, learnt, asked.out, asked.steps)
        elif stage == "motion":
            mobile(ds, asked.out)
        else:
            reported(learnt, ds.isel(frame=slice(half, None)), asked.out)


def atomistic(store: Path, archive: str) -> xr.Dataset:
    """Return the atomistic run as beads."""
    if not store.exists():
        cgstore.ingest("ingest/recipes/dmpc_303k.toml", archive=archive, store=store)
    return cgstore.open_catalog(store)["dmpc_303k/r1/cg"].open().load()


def distributions(ds: xr.Dataset) -> xr.DataTree:
    """Return what is compared."""
    bonded = cgstore.bonded(ds, **TERMS)
    return xr.DataTree.from_dict({"rdf": cgstore.rdf(ds, **PAIRS), "bonded": bonded}).compute()


def found(stage: str, learnt: xr.Dataset, out: Path) -> Molecular:
    """Return the model of a stage of the inversion, from its file if there is one."""
    path = out / f"{stage}.npz"
    if path.exists():
        return loaded(path)
    cpu = time.process_time()
    plane = {"pressure": 0.0, "membrane": True}
    options: dict = {
        "ibi": {"method": "ibi", "iterations": 10, "sampling": SHORT},
        "refined": {"method": "ibi", "iterations": 8, "step": 0.25, "sampling": SHORT, **plane},
        "imc": {"method": "imc", "iterations": 2, "sampling": LONG, **plane},
    }[stage]
    before = AFTER.get(stage)
    begin = starting_frames(learnt, 2)
    model, history = invert(
        distributions(learnt),
        begin,
        temperature=TEMPERATURE,
        guess=None if before is None else loaded(out / f"{before}.npz"),
        seed=STAGES.index(stage) * 100,
        progress=lambda k, deviation, chi2: print(
            f"  {stage} {k}: deviation {deviation:.3f}, chi2 {chi2:.1f}", flush=True
        ),
        **options,
    )
    history.to_zarr(out / f"{stage}.zarr", mode="w", consolidated=False)
    attrs = {"cpu_s": time.process_time() - cpu, **{k: v for k, v in history.attrs.items()}}
    (out / f"{stage}.json").write_text(json.dumps(attrs, default=float))
    saved(model, path)
    print(f"  {attrs}; pressure {history['pressure'].values.round(0).tolist()} bar", flush=True)
    return model


def moved(stage: str, learnt: xr.Dataset, out: Path, steps: int) -> None:
    """Run a model in pieces, each from where the last one ended, with new velocities; go on with what there is."""
    model = loaded(out / f"{AFTER[stage]}.npz")
    free: dict = {} if stage == "fixed" else {"pressure": 0.0, "membrane": "area"}
    frames, duration = starting_frames(learnt, 1), steps * TIME_STEP / PIECES
    for piece in range(PIECES):
        path = out / f"{stage}_{piece:02d}.zarr"
        if not path.exists():
            cpu = time.process_time()
            run = sample(
                model,
                frames,
                temperature=TEMPERATURE,
                time_step=TIME_STEP,
                equilibrate=0.0,
                duration=duration,
                every=duration / FRAMES,
                seed=100 * STAGES.index(stage) + piece,
                threads=1,
                **free,
            )
            run = run.drop_vars("velocity").assign_coords(time=run["time"] + piece * duration)
            run.assign_attrs(kind="bilayer").to_zarr(path, mode="w", consolidated=False)
            area = float(np.linalg.det(run["box"].values[:, :2, :2].astype(float)).mean())
            spent = time.process_time() - cpu
            print(
                f"  {stage} piece {piece}: area {area:.3f} nm2, energy {float(run['energy'].mean()):.0f}, {spent:.0f} s"
            )
        frames = xr.open_zarr(path, consolidated=False).isel(frame=[-1]).load()


def mobile(ds: xr.Dataset, out: Path) -> None:
    """Print how fast lipids move in the plane: the whole atomistic run, and replicas of the model without friction."""
    times, cpu = ds["time"].values, time.process_time()
    model = loaded(out / f"{AFTER['motion']}.npz")
    options: dict = {
        "temperature": TEMPERATURE,
        "time_step": TIME_STEP,
        "threads": 1,
        "seed": 100 * STAGES.index("motion"),
    }
    start = sample(model, starting_frames(ds, 3), equilibrate=0.0, duration=100.0, every=100.0, **options)
    spacing = float(times[1] - times[0])
    run = sample(
        model,
        start.drop_vars("velocity"),
        equilibrate=10.0,
        duration=float(times[-1] - times[0]),
        every=spacing,
        friction=0.0,
        coupling=1.0,
        **options,
    )
    msd = {"atomistic": cgstore.mean_squared_displacement(ds, dims="xy").compute()}
    for number in range(3):
        one = run.isel(frame=run["replica"].values == number)
        names = {name: ds[name].variable for name in ("name", "residue", "molecule", "molecule_kind") if name in ds}
        msd[f"model {number}"] = cgstore.mean_squared_displacement(one.assign_coords(names), dims="xy").compute()
    found = {name: cgstore.diffusion_coefficient(one, fit=LAGS).compute() for name, one in msd.items()}
    for name, one in found.items():
        value, error = (1e3 * float(one[key][0]) for key in ("diffusion", "diffusion_error"))
        far = [f"{lag:.0f} ps {float(msd[name]['msd'].interp(lag=lag)[0]):.3f}" for lag in (15.0, 105.0, 375.0)]
        print(
            f"  {name}: D in the plane {value:.3f} +- {error:.3f} nm2/ns; displacement squared / nm2: {', '.join(far)}"
        )
    each = np.array([float(one["diffusion"][0]) for name, one in found.items() if name != "atomistic"])
    slow = found["atomistic"]
    alpha = each.mean() / float(slow["diffusion"][0])
    parts = each.std(ddof=1) / len(each) ** 0.5 / each.mean(), float(slow["diffusion_error"][0] / slow["diffusion"][0])
    print(f"  acceleration {alpha:.2f} +- {alpha * float(np.hypot(*parts)):.2f}; {time.process_time() - cpu:.0f} s")


def run_of(stage: str, out: Path) -> xr.Dataset | None:
    """Return the pieces of a run that there are."""
    pieces = [xr.open_zarr(path, consolidated=False).load() for path in sorted(out.glob(f"{stage}_*.zarr"))]
    return xr.concat(pieces, "frame", data_vars="minimal", coords="minimal", compat="override") if pieces else None


def reported(learnt: xr.Dataset, heldout: xr.Dataset, out: Path) -> None:
    """Print the reference, its other half and the runs of the models beside each other, and draw them."""
    runs = {"learnt": learnt, "held out": heldout}
    for stage in RUNS:
        run = run_of(stage, out)
        if run is not None:
            runs[stage] = run.isel(frame=slice(FRAMES, None))
            ends(stage, run)
    wanted, profile = distributions(heldout), cgstore.density_profile(heldout).compute()
    for name, ds in runs.items():
        m, order = cgstore.membrane(ds, temperature=TEMPERATURE).compute(), cgstore.bond_order(ds).compute()
        print(f"{name}: {ds.sizes['frame']} frames")
        for what, unit in (("area_per_lipid", "nm2"), ("thickness", "nm"), ("lipids_in_neither", "")):
            print(f"  {what} {float(m[what]):.4f} +- {float(m[what + '_error']):.4f} {unit}")
        print(f"  lipids of the leaflets at the end {[float(x[-1]) for x in m['leaflet_lipids_series'].values.T]}")
        rows = zip(order["bond_kind"].values, order["bond_order"].values, order["bond_order_error"].values, strict=True)
        print("  P2 " + ", ".join(f"{kind} {value:.3f} +- {error:.3f}" for kind, value, error in rows))
        if name != "held out":
            compared(distributions(ds), wanted, cgstore.density_profile(ds).compute(), profile)
    drawn(runs, out / "model-dmpc.png")


def ends(stage: str, run: xr.Dataset) -> None:
    """Print how a run goes: area, thickness and energy in five parts of it."""
    m, parts = cgstore.membrane(run, temperature=TEMPERATURE).compute(), 5
    series = {"area": m["area_per_lipid_series"], "thickness": m["thickness_series"], "energy": run["energy"]}
    for name, values in series.items():
        means = [float(part.mean()) for part in np.array_split(values.values, parts)]
        print(f"  {stage}: {name} in {parts} parts " + " ".join(f"{mean:.4g}" for mean in means))


def compared(found: xr.DataTree, wanted: xr.DataTree, profile: xr.Dataset, goal: xr.Dataset) -> None:
    """Print how far distributions and the profile are from those held out: rmsd, chi2 and total variation."""
    for node, name in (("rdf", "rdf"), ("bonded", "bond"), ("bonded", "angle"), ("bonded", "dihedral")):
        mine, its = found[node].to_dataset(), wanted[node].to_dataset()
        rows = agreement(mine, its, kind=name)
        kind, bin = map(str, its[name].dims)
        width = float(its[bin][1] - its[bin][0])
        apart = 0.5 * width * abs(mine[name] - its[name]).sum(bin).values
        for k, row in enumerate(its[kind].values):
            apart_of = f", total variation {apart[k]:.3f}" if name != "rdf" else ""
            print(f"  {name} {row}: rmsd {float(rows['rmsd'][k]):.4f}, chi2 {float(rows['chi2'][k]):.1f}{apart_of}")
    z = goal["z"].values
    mine = profile.interp(z=z)
    near = abs(z) < REACH
    for row in goal["type"].values:
        ours, its = (part["profile"].sel(type=row).values[near] for part in (mine, goal))
        error = np.hypot(*(part["profile_error"].sel(type=row).values[near] for part in (mine, goal)))
        chi2 = np.nanmean(np.where(error > 0.0, ((ours - its) / error) ** 2, np.nan))
        rmsd, top = np.sqrt(np.mean((ours - its) ** 2)), its.max()
        print(f"  profile {row}: rmsd {rmsd:.3f} of a largest density of {top:.2f} /nm3, chi2 {chi2:.1f}")


def drawn(runs: dict[str, xr.Dataset], path: Path) -> None:
    """Draw profiles, two g(r), an angle, and the area over time."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 2, figsize=(9.0, 6.4), layout="constrained")
    style = {
        "learnt": ("-", 0.35, 3.0),
        "held out": ("-", 1.0, 1.2),
        "fixed": ("--", 1.0, 1.2),
    }
    for name, ds in runs.items():
        line, alpha, width = style.get(name, (":", 1.0, 1.6))
        look = {"linestyle": line, "alpha": alpha, "linewidth": width}
        profile, tree = cgstore.density_profile(ds).compute(), distributions(ds)
        for colour, row in zip(COLOURS, ("NC3", "PO4", "GL", "CM", "CT"), strict=True):
            label = {"label": row} if name == "held out" else {}
            axes[0, 0].plot(profile["z"], profile["profile"].sel(type=row), color=colour, **look, **label)
        for colour, row in zip(COLOURS, ("PO4-PO4", "NC3-PO4", "CM-CM"), strict=False):
            label = {"label": row} if name == "held out" else {}
            axes[0, 1].plot(tree["rdf"]["r"], tree["rdf"]["rdf"].sel(pair=row), color=colour, **look, **label)
        for colour, row in zip(COLOURS, ("CM-CM-CT", "GL-PO4-NC3"), strict=False):
            kind = row if row in tree["bonded"]["angle_kind"].values else "-".join(row.split("-")[::-1])
            label = {"label": row} if name == "held out" else {}
            angle = tree["bonded"]["angle"].sel(angle_kind=kind)
            axes[1, 0].plot(tree["bonded"]["theta"], angle, color=colour, **look, **label)
        area = cgstore.membrane(ds, temperature=TEMPERATURE).compute()["area_per_lipid_series"].values
        axes[1, 1].plot(np.linspace(0.0, 1.0, len(area)), area, label=name, **look | {"linestyle": "-"})
    titles = (
        "density / nm⁻³ against z / nm",
        "g(r) against r / nm",
        "density of angles / degree⁻¹",
        "area per lipid / nm²",
    )
    for panel, title in zip(axes.ravel(), titles, strict=True):
        panel.set_title(title, fontsize=9)
        panel.legend(fontsize=7, frameon=False)
    axes[0, 0].set_xlim(-REACH, REACH)
    axes[1, 1].set_xlabel("part of the run")
    figure.savefig(path, dpi=110)


def saved(model: Molecular, path: Path) -> None:
    """Write the tables of a model."""
    parts = {"pair": model.pairs, "bond": model.bonds, "angle": model.angles, "dihedral": model.dihedrals}
    arrays = {}
    for part, tables in parts.items():
        for name, table in tables.items():
            x = table.r if isinstance(table, Table) else table.x
            arrays[f"{part} {name}"] = np.stack([x, table.energy, table.force])
    np.savez(path, **arrays)


def loaded(path: Path) -> Molecular:
    """Read the tables of a model."""
    terms: dict = {"pair": {}, "bond": {}, "angle": {}, "dihedral": {}}
    with np.load(path) as arrays:
        for key in arrays.files:
            part, name = key.split(" ")
            terms[part][name] = Table(*arrays[key]) if part == "pair" else BondedTable(part, *arrays[key])
    return Molecular(terms["pair"], terms["bond"], terms["angle"], terms["dihedral"], PAIRS["exclude_bonded"])


if __name__ == "__main__":
    main()
