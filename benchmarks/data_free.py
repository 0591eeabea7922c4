"""Models trained on energies alone: the bimodal potential, and alanine dipeptide in implicit solvent.

    python benchmarks/data_free.py wells                   ten seeds of the bimodal potential, beside quadrature
    python benchmarks/data_free.py peptide STORE           train on AMBER96 + OBC2 at 330 K, write a weighted ensemble
    python benchmarks/data_free.py compare STORE MD_STORE  that ensemble beside molecular dynamics, which it never saw

The times that are printed are of the processor.
"""

import argparse
import json
import tempfile
import time
from dataclasses import asdict
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
from cgstore.learn.generative.drawing import draw, effective, log_partition, weights_of
from cgstore.learn.generative.ensembles import publish
from cgstore.learn.generative.internal import Zmatrix
from cgstore.learn.generative.model import Architecture, Model, model_of
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


def peptide_settings(options: argparse.Namespace) -> Settings:
    """Return how alanine dipeptide is learnt: stiff coordinates by stretching, angles by splines."""
    return Settings(
        shape=Architecture(
            latent=2,
            hidden=(options.hidden,) * 2,
            rounds=options.rounds,
            pieces=10,
            bend_lines=False,
            width=3.0,  # about 1/√β at first
            spread=2.0,
        ),
        tempering=Tempering(start=options.start, largest=0.05, increase=0.2, floor=0.5, longest=options.longest),
        samples=options.samples,
        rate=options.rate,
        final=options.final,
        ceiling=1000.0,
        seed=options.seed,
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
    """Train, or take a model that was trained before, draw, and write the ensemble."""
    target, energies, topology = molecule()
    model, told = loaded(options.load) if options.load else trained(target, energies, peptide_settings(options))
    if options.save:
        state = {name: values.numpy() for name, values in model.state_dict().items()}
        np.savez(options.save, told=json.dumps(told), shape=json.dumps(asdict(model.shape)), **state)
    drawn = draw(model.double(), target, options.draw, seed=told["seed"] + 1)
    position = target.positions(torch.as_tensor(drawn.x)).numpy()
    position -= np.average(position, axis=1, weights=topology.mass)[:, None]
    attrs = {
        "title": f"Alanine dipeptide, AMBER96 and OBC2, generated, {model.shape.rounds} rounds of couplings",
        "kind": "molecule",
        "forcefield": "AMBER96 + OBC2",
        "temperature": TEMPERATURE,
        "ensemble": "NVT",
        "composition": {KIND: 1},
        "tags": ["generated"],
        "parameters": told,
        "sources": [],
    }
    dataset = Path(options.store) / SYSTEM / f"rounds{model.shape.rounds}" / "atoms"
    publish(drawn, position, topology, model, dataset=dataset, attrs=attrs)
    value, error = log_partition(drawn.log_weight)
    print(", ".join(f"{name} {number}" for name, number in told.items()))
    print(f"−ln Z {-value:.2f} ± {error:.2f}")
    print(f"{options.draw} samples, effective {100 * effective(weights_of(drawn.log_weight)):.3f} % of them")


def trained(target: Molecule, energies: Energies, settings: Settings) -> tuple[Model, dict[str, float]]:
    """Return a model, and what its training took."""
    begun = time.process_time()

    def report(iteration: int, beta: float, value: float) -> None:
        if iteration % 100 == 0:
            print(f"{iteration} β {beta:.3f} objective {value:.2f} {time.process_time() - begun:.0f} s", flush=True)

    found = train(target, target.periodic, settings, report=report)
    return found.model, {
        "iterations": len(found.beta),
        "evaluations": energies.evaluations,
        "training_seconds": round(time.process_time() - begun),
        "objective": round(float(found.objective[-200:].mean()), 3),
        "seed": settings.seed,
    }


def loaded(path: str) -> tuple[Model, dict[str, float]]:
    """Return a model that was saved, and what its training took."""
    with np.load(path) as file:
        shape = json.loads(str(file["shape"]))
        state = {name: torch.as_tensor(file[name]) for name in file.files if name not in ("told", "shape")}
        told = json.loads(str(file["told"]))
    model = model_of(state["decoder.periodic"], Architecture(**{**shape, "hidden": tuple(shape["hidden"])}), seed=0)
    model.load_state_dict(state)
    return model, told


def compare(store: Path, reference: Path) -> None:
    """Print populations, bonds and angles, and what z says of basins, of generated ensembles and of dynamics."""
    runs = [entry.open() for entry in cgstore.open_catalog(reference).search(campaign="alanine_dipeptide").values()]
    parts = np.array([_populations(ds)[0] for ds in runs])
    names = ("phi_positive", *BASINS)
    print("| |", " | ".join(names), "|\n|---|" + "---|" * len(names))
    _row(f"dynamics, {len(runs)} runs", parts.mean(axis=0), parts.std(axis=0, ddof=1) / len(runs) ** 0.5)
    for name, entry in cgstore.open_catalog(store).search(tags="generated").items():
        ds = entry.open()
        _row(name.split("/")[1] + ", weighted", *_populations(ds))
        _row(name.split("/")[1] + ", as drawn", *_populations(ds.drop_vars("weight")))
        generated, worst = ds.attrs["generated"], {}
        told = ds.attrs["parameters"]
        print(
            f"\n{name}: {told['evaluations']} energies in training, effective samples "
            f"{generated['effective_samples']:.0f} of {ds.sizes['frame']}, model {generated['model_digest'][:16]}"
        )
        for what in ("weighted", "as drawn"):
            terms = _terms(ds if what == "weighted" else ds.drop_vars("weight"))
            expected = [_terms(run) for run in runs]
            worst = {key: _difference(terms[key], [one[key] for one in expected]) for key in terms}
            print(f"{what}: " + "; ".join(f"{key} {text}" for key, text in worst.items()))
        (item,) = [one for one in kept(Path(store) / name) if one.name == "generated"]
        z = read_kept(item)["z"].values
        label = basins(*_angles(ds))
        for place, basin in enumerate(BASINS):
            mine = ds["weight"].values[label == place]
            worth = effective(mine) * len(mine) if len(mine) else 0.0
            print(f"{basin}: {len(mine)} samples, worth {worth:.0f}")
        for what, weight in (("weighted", ds["weight"].values), ("as drawn", np.ones(len(z)))):
            found = agreement(z, label, weight)
            print(
                f"z and basins, {what}: {found.information:.3f} of {found.entropy:.3f} nats, shuffled "
                f"{found.shuffled:.3f}, chance {found.chance:.2f}; right {found.right:.3f}, "
                f"majority {found.majority:.3f}"
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


def _row(title: str, mean: np.ndarray, error: np.ndarray) -> None:
    print(f"| {title} |", " | ".join(f"{a:.4f} ± {b:.4f}" for a, b in zip(mean, error, strict=True)), "|")


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
    one.add_argument("store")
    for name, value in (
        ("rounds", 2), ("hidden", 64), ("samples", 128), ("longest", 60), ("final", 600), ("draw", 20_000), ("seed", 0)
    ):  # fmt: skip
        one.add_argument(f"--{name}", type=int, default=value)
    one.add_argument("--rate", type=float, default=1e-3)
    one.add_argument("--start", type=float, default=0.1, help="β at first")
    one.add_argument("--save", help="file for the model, .npz")
    one.add_argument("--load", help="such a file: nothing is trained, and samples are drawn")
    two = parts.add_parser("compare")
    two.add_argument("store", type=Path)
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
        compare(options.store, options.reference)


if __name__ == "__main__":
    main()
