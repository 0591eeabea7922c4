"""Models trained on energies alone: the bimodal potential, and alanine dipeptide in implicit solvent.

    python benchmarks/data_free.py wells                   ten seeds of the bimodal potential, beside quadrature
    python benchmarks/data_free.py peptide FOLDER          train on AMBER96 + OBC2 at 330 K, write a weighted ensemble
    python benchmarks/data_free.py compare FOLDER MD_STORE  ensembles beside molecular dynamics, which they never saw

`peptide` writes FOLDER/store, with a dataset for each model and seed, and FOLDER/models.

The times that are printed are of the processor.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

import cgstore
from cgstore.averages.series import mean_of_series
from cgstore.building.dipeptide import (
    FREE,
    KIND,
    PHI,
    PSI,
    alanine_dipeptide,
    dipeptide_positions,
    dipeptide_rows,
)
from cgstore.building.forcefields import load_forcefield, start_of
from cgstore.campaigns.basins import BASINS, basins, torsion
from cgstore.engines.energies_openmm import Energies
from cgstore.engines.implicit_openmm import implicit_system
from cgstore.features import kept, read_kept
from cgstore.learn.generative.collective import agreement
from cgstore.learn.generative.coverage import shortfall
from cgstore.learn.generative.drawing import draw, effective, log_partition, weights_of
from cgstore.learn.generative.ensembles import publish
from cgstore.learn.generative.files import load_model, save_model
from cgstore.learn.generative.internal import Zmatrix
from cgstore.learn.generative.model import Architecture, Model
from cgstore.learn.generative.molecule import Molecule
from cgstore.learn.generative.targets import analytic, double_well
from cgstore.learn.generative.tempering import Tempering
from cgstore.learn.generative.training import Settings, train
from cgstore.readers.topologies import read_topology
from cgstore.topology import Topology

BARRIER = 0.1674  # x₁ of the saddle
TEMPERATURE = 330.0  # K
START = (-70.0, 150.0)  # degrees; where the energy is minimised from
SYSTEM = "alanine_dipeptide_generated"


def wells_settings(seed: int) -> Settings:
    """Return how the bimodal potential is learnt."""
    return Settings(
        shape=Architecture(latent=1, hidden=(32, 32), rounds=2, width=3.0),
        tempering=Tempering(start=0.02, largest=0.05, increase=0.1, floor=0.2, longest=60),
        samples=1000,
        rate=2e-3,
        final=400,
        seed=seed,
    )


def wells(seeds: int) -> None:
    """Print ln Z and the part of the minor mode for some seeds."""
    first = np.linspace(-12.0, 12.0, 200_001)
    density = np.exp(-(first**4 / 4 - 3 * first**2 + first))
    whole = np.trapezoid(density, first)
    minor = np.trapezoid(np.where(first > BARRIER, density, 0), first) / whole
    print(f"quadrature: ln Z {np.log(whole * np.sqrt(2 * np.pi)):.4f}, minor mode {minor:.6f}")
    print("| seed | ln Z | minor mode | drawn there | effective | iterations | seconds |")
    print("|---|---|---|---|---|---|---|")
    for seed in range(seeds):
        begun = time.process_time()
        found = train(analytic(double_well), np.zeros(2, bool), wells_settings(seed))
        drawn = draw(found.model, analytic(double_well), 100_000, seed=seed)
        weight, right = weights_of(drawn.log_weight), drawn.x[:, 0] > BARRIER
        value, error = log_partition(drawn.log_weight)
        part = mean_of_series(right[None].astype(np.float64), weight=weight)
        print(
            f"| {seed} | {value:.4f} ± {error:.4f} | {part.mean[0]:.5f} ± {part.error[0]:.5f} | {right.mean():.5f} | "
            f"{100 * effective(weight):.0f} % | {len(found.beta)} | {time.process_time() - begun:.0f} |",
            flush=True,
        )


def peptide_settings(options: argparse.Namespace, seed: int) -> Settings:
    """Return how alanine dipeptide is learnt: stiff coordinates by stretching, angles by splines."""
    return Settings(
        shape=Architecture(
            latent=2,
            hidden=(options.hidden,) * 2,
            rounds={"angles": 1, "couplings": 2, "gaussian": 0}[options.model],
            pieces=10,
            bend_lines=False,
            width=3.0,  # about 1/√β at first
            **(dict(by_latent=2, turn=0.5, spread=0.2) if options.model == "angles" else dict(spread=2.0)),
        ),
        tempering=Tempering(
            start=options.start, largest=0.15, increase=options.increase, floor=0.5, longest=options.longest
        ),
        prelude=100,
        samples=options.samples,
        rate=options.rate,
        final=options.final,
        ceiling=1000.0,
        covering=options.covering,
        seed=seed,
    )


def molecule() -> tuple[Molecule, Energies, Topology]:
    """Return the target, what counts its energies, and the topology."""
    modeller = alanine_dipeptide(*START)
    energies = Energies(implicit_system(modeller.topology, solvent="obc2"))
    minimum = energies.minimised(dipeptide_positions(*START))
    target = Molecule(Zmatrix(dipeptide_rows()), FREE, minimum, energies, temperature=TEMPERATURE)
    modeller.topology.setPeriodicBoxVectors(10.0 * np.eye(3))
    text = start_of(modeller, load_forcefield("amber96.xml"), names={"ACE": KIND}).topology
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "system.top")
        path.write_text(text, encoding="utf-8")
        return target, energies, read_topology(path)


def peptide(options: argparse.Namespace) -> None:
    """Train, or take models that were trained before, draw, and write the ensembles."""
    target, energies, topology = molecule()
    models = Path(options.folder, "models")
    models.mkdir(parents=True, exist_ok=True)
    for seed in range(options.first, options.first + options.seeds):
        path = models / f"{options.model}{seed}.npz"
        if options.draw_only:
            model, told = load_model(path)
        else:
            model, told = trained(target, energies, peptide_settings(options, seed))
            save_model(model, path, told=told)
        drawn = draw(model.double(), target, options.draw, seed=seed + 1, encodings=options.encodings)
        position = target.positions(torch.as_tensor(drawn.x)).numpy()
        position -= np.average(position, axis=1, weights=topology.mass)[:, None]
        attrs = {
            "title": f"Alanine dipeptide, AMBER96 and OBC2, generated by the model {options.model}",
            "kind": "molecule",
            "forcefield": "AMBER96 + OBC2",
            "temperature": TEMPERATURE,
            "ensemble": "NVT",
            "composition": {KIND: 1},
            "tags": ["generated", options.model],
            "parameters": told | {"encodings": options.encodings},
            "sources": [],
        }
        dataset = Path(options.folder, "store", SYSTEM, f"{options.model}{seed}", "atoms")
        publish(drawn, position, topology, model, dataset=dataset, attrs=attrs)
        value, error = log_partition(drawn.log_weight)
        print(", ".join(f"{name} {number}" for name, number in told.items()))
        worth = 100 * effective(weights_of(drawn.log_weight))
        print(f"−ln Z {-value:.2f} ± {error:.2f}; {options.draw} samples, effective {worth:.3f} % of them", flush=True)


def trained(target: Molecule, energies: Energies, settings: Settings) -> tuple[Model, dict[str, float]]:
    """Return a model, and what its training took."""
    begun, asked = time.process_time(), energies.evaluations

    def report(iteration: int, beta: float, value: float) -> None:
        if iteration % 100 == 0:
            print(f"{iteration} β {beta:.3f} objective {value:.2f} {time.process_time() - begun:.0f} s", flush=True)

    found = train(target, target.periodic, settings, report=report)
    return found.model, {
        "iterations": len(found.beta),
        "evaluations": energies.evaluations - asked,
        "training_seconds": round(time.process_time() - begun),
        "objective": round(float(found.objective[-200:].mean()), 3),
        "seed": settings.seed,
    }


def compare(folder: Path, reference: Path) -> None:
    """Print populations, bonds and angles, coverage, and what z says of basins, beside dynamics."""
    runs = [entry.open() for entry in cgstore.open_catalog(reference).search(campaign="alanine_dipeptide").values()]
    store = folder / "store"
    generated = {
        name.split("/")[1]: entry.open() for name, entry in cgstore.open_catalog(store).search(tags="generated").items()
    }
    names = ("phi_positive", *BASINS)
    print("| |", " | ".join(names), "|\n|---|" + "---|" * len(names))
    parts = np.array([_populations(ds)[0] for ds in runs])
    _row(f"dynamics, {len(runs)} runs", *_scatter(parts))
    for model in sorted({name.rstrip("0123456789") for name in generated}):
        own = [ds for name, ds in generated.items() if name.rstrip("0123456789") == model]
        for what, sets in (("weighted", own), ("as drawn", [ds.drop_vars("weight") for ds in own])):
            found = [_populations(ds) for ds in sets]
            for number, one in enumerate(found):
                _row(f"{model}, {number}, {what}", *one)
            if len(found) > 1:
                _row(f"{model}, {len(found)} trainings, {what}", *_scatter(np.array([mean for mean, _ in found])))
    target, _, _ = molecule()
    frames = np.concatenate([ds["position"].values[::6] for ds in runs])
    for name, ds in generated.items():
        print(f"\n{name}: {json.dumps(ds.attrs['parameters'])}\n{json.dumps(ds.attrs['generated'])}")
        _inside(ds, runs)
        _covered(load_model(folder / "models" / f"{name}.npz")[0], target, ds, frames, len(runs))
        (item,) = [one for one in kept(store / SYSTEM / name / "atoms") if one.name == "generated"]
        _said(ds, read_kept(item)["z"].values)


def _inside(ds: object, runs: list) -> None:
    """Print how far bonds and angles are from dynamics."""
    expected = [_terms(run) for run in runs]
    for what, one in (("weighted", ds), ("as drawn", ds.drop_vars("weight"))):
        terms = _terms(one)
        print(f"{what}: " + "; ".join(f"{key} {_difference(terms[key], [e[key] for e in expected])}" for key in terms))


def _covered(model: Model, target: Molecule, ds: object, frames: np.ndarray, runs: int) -> None:
    """Print how far the model is from frames of dynamics, and which of them it draws too seldom."""
    x = target.coordinates(torch.as_tensor(frames, dtype=torch.float64)).numpy()
    away = shortfall(model.double(), target, x, log_z=ds.attrs["generated"]["ln_z"])
    series = np.array([away, away > np.log(10), away > np.log(100)], np.float64).reshape(3, runs, -1)
    mean, error = _scatter(series.mean(axis=2).T)
    print(
        f"divergence of dynamics from the model {mean[0]:.3f} ± {error[0]:.3f} nats; density less than a tenth of "
        f"dynamics' in {mean[1]:.4f} ± {error[1]:.4f}, than a hundredth in {mean[2]:.4f} ± {error[2]:.4f} of frames"
    )
    where = basins(torsion(frames, PHI), torsion(frames, PSI))
    for place, basin in enumerate(BASINS):
        mine = away[where == place]
        print(f"  {basin}: log p/q {mine.mean():.2f} in {len(mine)} frames, a tenth {np.mean(mine > np.log(10)):.3f}")


def _said(ds: object, z: np.ndarray) -> None:
    """Print what basins weigh, and what z says of them."""
    label, weight = basins(*_angles(ds)), ds["weight"].values
    for place, basin in enumerate(BASINS):
        mine = weight[label == place]
        print(f"  {basin}: {len(mine)} samples, worth {effective(mine) * len(mine) if len(mine) else 0:.0f}")
    for what, weights in (("weighted", weight), ("as drawn", np.ones(len(z)))):
        found = agreement(z, label, weights)
        print(
            f"z and basins, {what}: {found.information:.3f} of {found.entropy:.3f} nats, shuffled "
            f"{found.shuffled:.3f}, chance {found.chance:.2f}; right {found.right:.3f}, majority {found.majority:.3f}"
        )


def _angles(ds: object) -> tuple[np.ndarray, np.ndarray]:
    """Return φ and ψ of every frame, degrees."""
    position = ds["position"].values
    return torsion(position, PHI), torsion(position, PSI)


def _populations(ds: object) -> tuple[np.ndarray, np.ndarray]:
    """Return the part of the frames with φ > 0 and in each basin, and their errors."""
    phi, psi = _angles(ds)
    where = basins(phi, psi)
    series = np.array([phi > 0, *(where == place for place in range(len(BASINS)))], np.float64)
    found = mean_of_series(series, weight=ds["weight"].values if "weight" in ds else None)
    return found.mean, found.error


def _scatter(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return means over runs or trainings (run, value), and their errors."""
    return values.mean(axis=0), values.std(axis=0, ddof=1) / len(values) ** 0.5


def _row(title: str, mean: np.ndarray, error: np.ndarray) -> None:
    """Print a row; what was never seen has an upper limit instead of an error."""
    cells = [f"{a:.4f} ± {b:.4f}" if a > 0 else "none" for a, b in zip(mean, error, strict=True)]
    print(f"| {title} |", " | ".join(cells), "|", flush=True)


def _terms(ds: object) -> dict[str, np.ndarray]:
    """Return mean and standard deviation of every bond and angle: (term, 2) nm or degrees."""
    position = ds["position"].values.astype(np.float64)
    weight = ds["weight"].values if "weight" in ds else np.ones(len(position))
    found = {}
    for name in ("bond", "angle"):
        ends = ds[name].values
        if name == "bond":
            values = np.linalg.norm(position[:, ends[:, 0]] - position[:, ends[:, 1]], axis=-1)
        else:
            one, other = (position[:, ends[:, end]] - position[:, ends[:, 1]] for end in (0, 2))
            lengths = np.linalg.norm(one, axis=-1) * np.linalg.norm(other, axis=-1)
            values = np.degrees(np.arccos(np.clip((one * other).sum(axis=-1) / lengths, -1, 1)))
        mean = np.average(values, axis=0, weights=weight)
        width = np.sqrt(np.average((values - mean) ** 2, axis=0, weights=weight))
        found[name] = np.stack([mean, width], axis=-1)
    return found


def _difference(values: np.ndarray, expected: list[np.ndarray]) -> str:
    """Say how far means and widths are from dynamics, in widths, and how far runs are from one another."""
    reference = np.mean(expected, axis=0)
    noise = np.std(expected, axis=0, ddof=1)[:, 0] / reference[:, 1]
    shift = (values[:, 0] - reference[:, 0]) / reference[:, 1]
    ratio = values[:, 1] / reference[:, 1]
    return (
        f"means off by {np.sqrt((shift**2).mean()):.3f} widths (largest {np.abs(shift).max():.3f}; runs of dynamics "
        f"scatter by {np.sqrt((noise**2).mean()):.3f}), widths {ratio.min():.2f} to {ratio.max():.2f} of theirs"
    )


def parsed() -> argparse.Namespace:
    """Return what the user wants."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = parser.add_subparsers(dest="what", required=True)
    parts.add_parser("wells").add_argument("--seeds", type=int, default=10)
    one = parts.add_parser("peptide")
    one.add_argument("folder")
    one.add_argument("--model", choices=("angles", "couplings", "gaussian"), default="angles")
    for name, value in (
        ("seeds", 1), ("first", 0), ("hidden", 64), ("samples", 128), ("longest", 15), ("final", 200),
        ("draw", 10_000), ("encodings", 8),
    ):  # fmt: skip
        one.add_argument(f"--{name}", type=int, default=value)
    one.add_argument("--rate", type=float, default=3e-3)
    one.add_argument("--increase", type=float, default=2.0, help="of the divergence that a step of β may cost, a part")
    one.add_argument("--covering", type=float, default=0.5, help="part of the forward divergence")
    one.add_argument("--start", type=float, default=0.1, help="β at first")
    one.add_argument("--draw-only", action="store_true", help="nothing is trained: draw from models in the folder")
    two = parts.add_parser("compare")
    two.add_argument("folder", type=Path)
    two.add_argument("reference", type=Path)
    return parser.parse_args()


def main() -> None:
    """Do what the first word says."""
    options = parsed()
    torch.set_num_threads(1)
    if options.what == "wells":
        wells(options.seeds)
    elif options.what == "peptide":
        peptide(options)
    else:
        compare(options.folder, options.reference)


if __name__ == "__main__":
    main()
