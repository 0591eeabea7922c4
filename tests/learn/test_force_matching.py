"""Force matching of networks: forces against differences and tables, training that finds, resumes and stops; fits."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

from cgstore.catalog import open_catalog
from cgstore.cli.app import main
from cgstore.errors import InputError, IntegrityError, PhysicsError
from cgstore.frames import Frames
from cgstore.learn.angular import Angular
from cgstore.learn.atomic import AtomicNetwork
from cgstore.learn.descriptors import Radial
from cgstore.learn.fit import train
from cgstore.learn.folder import read_curves
from cgstore.learn.force_matching import (
    ForcePlace,
    force_error,
    network_forces,
    read_place,
    train_forces,
    write_place,
)
from cgstore.learn.interactions import interaction_of
from cgstore.learn.loader import Loader
from cgstore.learn.potential import PairNetwork, Prior
from cgstore.learn.potential_file import read_tables
from cgstore.learn.sampler import sample
from cgstore.report.fits import fit_card
from cgstore.schema import topology_of
from cgstore.splits.split import Split
from cgstore.store.versions import stage
from cgstore.tables import interpolate, table_of
from cgstore.topology import Topology

CUTOFF, EDGE, PARTICLES = 0.8, 1.88, 64
PRIORS = {"A-A": Prior(core=0.3, strength=6.0, exponent=12.0)}


def truth() -> dict:
    r = np.arange(0.25, CUTOFF + 0.002, 0.002)
    return {"A-A": table_of(r, 4.0 * ((0.34 / r) ** 12 - (0.34 / r) ** 6), CUTOFF)}


def lattice(replicas: int) -> xr.Dataset:
    grid = np.stack(np.meshgrid(*[np.arange(4)] * 3), -1).reshape(-1, 3) * EDGE / 4
    return xr.Dataset(
        {
            "position": (("frame", "particle", "xyz"), np.repeat(grid[None], replicas, 0).astype(np.float32)),
            "box": (("frame", "box_vector", "xyz"), np.repeat(EDGE * np.eye(3, dtype=np.float32)[None], replicas, 0)),
            "mass": ("particle", np.full(PARTICLES, 16.0)),
        },
        coords={"type": ("particle", ["A"] * PARTICLES)},
    )


def with_forces(run: xr.Dataset, noise: float) -> Frames:
    interaction, rng = interaction_of(truth(), topology_of(run)), np.random.default_rng(1)
    box = run["box"].values.astype(np.float32)
    pairs = zip(run["position"].values.astype(float), box.astype(float), strict=True)
    force = np.array([interaction.measure(x, b).force for x, b in pairs])
    force = (force + rng.normal(0.0, noise, force.shape)).astype(np.float32)
    return Frames(run["position"].values, run["time"].values, run["step"].values, box=box, force=force)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("forces") / "store"
    index, text = np.arange(PARTICLES, dtype=np.int32), np.full(PARTICLES, "A")
    none = {name: np.empty((0, n), np.int32) for name, n in (("bond", 2), ("angle", 3), ("dihedral", 4))}
    topology = Topology(text, text, text, index, index, text, np.full(PARTICLES, 16.0), np.zeros(PARTICLES), **none)
    options = {"temperature": 130.0, "equilibrate": 4.0, "duration": 24.0, "every": 0.5, "time_step": 0.01}
    for seed, name in enumerate(("train", "other", "third", "forceless")):
        frames = with_forces(sample(truth(), lattice(1), seed=seed, threads=1, **options), noise=30.0)
        if name == "forceless":
            frames = Frames(frames.position, frames.time, frames.step, box=frames.box)
        with stage(folder / f"{name}/r1/cg") as staged:
            known = {"kind": "liquid", "composition": {"A": PARTICLES}, "temperature": 130.0}
            known |= {"sources": [{"path": f"{name}.trr", "size": 1, "digest": name}]}
            staged.create(topology, frames, precision=None, attrs=known)
            staged.append(frames)
            staged.publish()
    return folder


SPLIT = Split.from_dict({"train": [{"system": "train"}], "validation": [{"system": "other"}]})


def loaders(store: Path, seed: int = 1) -> tuple[Loader, Loader]:
    catalog = open_catalog(str(store))
    options = {"variables": ["position", "force"], "seed": seed, "threads": 1}
    return (
        Loader(catalog, SPLIT.train, batch_size=8, **options),
        Loader(catalog, SPLIT.validation, batch_size=16, **options),
    )


def pair_network(seed: int = 0) -> PairNetwork:
    return PairNetwork("A", cutoff=CUTOFF, spacing=0.004, priors=PRIORS, features=16, hidden=(16,), seed=seed)


def atomic_network() -> AtomicNetwork:
    radial = Radial(cutoff=CUTOFF, eta=(0.0, 80.0, 80.0, 80.0), shift=(0.0, 0.35, 0.5, 0.65))
    return AtomicNetwork("A", radial=radial, priors=PRIORS, hidden=(6,), seed=3)


def angular_network() -> AtomicNetwork:
    radial = Radial(cutoff=CUTOFF, eta=(0.0, 80.0), shift=(0.0, 0.5))
    angular = Angular(Radial(0.6, (0.0, 90.0), (0.0, 0.35)), (1, 2, 4))
    return AtomicNetwork("A", radial=radial, angular=angular, priors=PRIORS, hidden=(5,), seed=3)


@pytest.mark.parametrize("make", [pair_network, atomic_network])
def test_forces_are_those_that_the_sampler_moves_particles_with(make) -> None:
    model, ds = make(), lattice(1)
    rng = np.random.default_rng(1)
    position, box = ds["position"].values[0] + rng.normal(0.0, 0.03, (PARTICLES, 3)), ds["box"].values[0].astype(float)
    with torch.no_grad():  # far from the prior
        for parameter in model.parameters():
            parameter += 0.3 * torch.from_numpy(rng.normal(size=tuple(parameter.shape)))
    sampled = model.tables() if isinstance(model, PairNetwork) else model
    expected = interaction_of(sampled, topology_of(ds)).measure(position.astype(float), box).force
    found = network_forces(model, torch.from_numpy(position), torch.from_numpy(box), ["A"] * PARTICLES).detach()
    exact = 1e-4 if isinstance(model, PairNetwork) else 1e-3
    np.testing.assert_allclose(found.numpy(), expected, atol=exact * abs(expected).max())
    assert abs(found.sum(0)).max() < 1e-9 * abs(expected).max() * PARTICLES


@pytest.mark.parametrize("make", [pair_network, atomic_network, angular_network])
def test_the_gradient_of_the_error_is_that_of_finite_differences(make) -> None:
    model, ds = make(), lattice(1)
    rng = np.random.default_rng(2)
    position = torch.from_numpy(ds["position"].values[0] + rng.normal(0.0, 0.03, (PARTICLES, 3)))
    box, target = torch.from_numpy(ds["box"].values[0].astype(float)), torch.from_numpy(rng.normal(size=(PARTICLES, 3)))

    def loss() -> torch.Tensor:
        return ((network_forces(model, position, box, ["A"] * PARTICLES) - target) ** 2).mean()

    parameters = list(model.parameters())
    slopes = torch.autograd.grad(loss(), parameters, allow_unused=True, materialize_grads=True)
    way = [torch.from_numpy(rng.normal(size=tuple(p.shape))) for p in parameters]
    along, ends = sum(float((s * w).sum()) for s, w in zip(slopes, way, strict=True)), []
    for sign in (1.0, -2.0):
        with torch.no_grad():
            for parameter, w in zip(parameters, way, strict=True):
                parameter += sign * 1e-5 * w
        ends.append(float(loss().detach()))
    assert (ends[0] - ends[1]) / 2e-5 == pytest.approx(along, rel=1e-5)


def test_a_pair_network_finds_the_force_between_particles(store: Path) -> None:
    model, (train, other) = pair_network(), loaders(store)
    before = force_error(model, other)
    rows = list(train_forces(model, train, steps=150, rate=0.02, validation=other, every=30))
    after = force_error(model, other)
    assert [row.step for row in rows] == list(range(1, 151))
    assert after == pytest.approx(min(row.held for row in rows if row.held is not None), rel=1e-12)
    # What is left is the noise of the forces, 30, and little of the rest.
    assert 29.0 < after < 31.5 < before
    r = np.linspace(0.36, 0.6, 40)
    off = interpolate(model.tables()["A-A"], r)[1] - interpolate(truth()["A-A"], r)[1]
    assert np.sqrt((off**2).mean()) < 4.0


def test_a_network_of_atoms_learns_forces_too(store: Path) -> None:
    model, (train, other) = atomic_network(), loaders(store)
    before = force_error(model, other)
    list(train_forces(model, train, steps=20, rate=0.05))
    assert force_error(model, other) < before


def test_a_training_that_was_stopped_goes_on_with_the_same_bits(store: Path, tmp_path: Path) -> None:
    path, options = tmp_path / "place.npz", {"steps": 12, "rate": 0.01, "every": 4}
    whole = pair_network()
    rows = list(train_forces(whole, loaders(store)[0], **options))
    first = pair_network()
    for row in train_forces(first, loaders(store)[0], on_place=lambda place: write_place(path, place), **options):
        if row.step == 9:  # killed after the place of step 8
            break
    second = pair_network(seed=5)
    again = list(train_forces(second, loaders(store)[0], place=read_place(path, second), **options))
    assert [row.step for row in again] == [9, 10, 11, 12]
    assert [row.error for row in again] == [row.error for row in rows[8:]]
    for a, b in zip(whole.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)
    assert read_place(tmp_path / "nothing.npz", whole) is None
    with pytest.raises(InputError, match="loader of other data or settings"):
        list(train_forces(second, loaders(store, seed=2)[0], place=read_place(path, second), **options))
    with pytest.raises(IntegrityError, match="other layers"):
        read_place(path, PairNetwork("A", cutoff=CUTOFF, spacing=0.004, priors=PRIORS, features=8, hidden=(16,)))
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(IntegrityError, match="no place of this training"):
        read_place(path, whole)


def test_only_validation_data_end_a_training_early(store: Path) -> None:
    model, (train, other) = pair_network(), loaders(store)
    kept: list[ForcePlace] = []
    rows = list(
        train_forces(model, train, steps=60, rate=3.0, validation=other, every=2, patience=2, on_place=kept.append)
    )
    assert len(rows) < 60
    assert not rows[-1].best
    held = [row.held for row in rows if row.held is not None]
    assert force_error(model, other) == pytest.approx(min(held), rel=1e-12)
    assert kept[-1].step == rows[-1].step
    with pytest.raises(InputError, match="patience without validation"):
        next(train_forces(model, train, steps=2, patience=1))


def test_what_has_no_forces_or_no_room_is_refused(store: Path) -> None:
    model = pair_network()
    catalog = open_catalog(str(store))
    loader = Loader(catalog, SPLIT.train, batch_size=4, threads=1)
    with pytest.raises(InputError, match="found no force in the training batches"):
        next(train_forces(model, loader, steps=2))
    split = Split.from_dict({"train": [{"system": "forceless"}]})
    with pytest.raises(InputError, match="force"):
        Loader(catalog, split.train, batch_size=4, variables=["position", "force"], threads=1)
    ds = lattice(1)
    position = torch.from_numpy(ds["position"].values[0])
    with pytest.raises(PhysicsError, match="beyond half the smallest box height"):
        network_forces(model, position, torch.eye(3), ["A"] * PARTICLES)
    with pytest.raises(InputError, match="knows the types A, not B"):
        network_forces(model, position, torch.from_numpy(ds["box"].values[0]), ["B"] * PARTICLES)


def test_a_training_that_ended_early_stays_ended(store: Path, tmp_path: Path) -> None:
    path, options = tmp_path / "place.npz", {"steps": 60, "rate": 3.0, "every": 2, "patience": 2}
    for model in (pair_network(), pair_network()):
        train_, other = loaders(store)
        rows = list(
            train_forces(
                model,
                train_,
                validation=other,
                place=read_place(path, model),
                on_place=lambda place: write_place(path, place),
                **options,
            )
        )
    assert rows == []


FIT = {
    "split.toml": """
        [[train]]
        system = "train"
        stop = "18 ps"
        [[validation]]
        system = "other"
        [[heldout]]
        system = "third"
    """,
    "spec.toml": '[rdf]\nr_max = "0.9 nm"\nbin_width = "0.02 nm"\n',
    "fit.toml": """
        name = "forces"
        split = "split.toml"
        spec = "spec.toml"
        seed = 4
        [potential]
        cutoff = "0.8 nm"
        spacing = "0.004 nm"
        features = 16
        hidden = [16]
        [sampling]
        replicas = 4
        duration = "4 ps"
        [training]
        loss = "forces"
        rounds = 4
        steps = 25
        rate = 0.03
        patience = 4
        [validation]
        tolerance = 0.1
        duration = "8 ps"
    """,
}
ATOMIC = {
    'spacing = "0.004 nm"': 'kind = "atomic"\ninputs = ["density"]',
    "features = 16": "features = 6",
    "hidden = [16]": "hidden = [6]",
    "rounds = 4": "rounds = 2",
    "steps = 25": "steps = 6",
}


def fit_of(folder: Path, changes: dict[str, str] | None = None) -> Path:
    folder.mkdir(exist_ok=True)
    for name, text in FIT.items():
        for old, new in (changes or {}).items():
            text = text.replace(old, new)
        (folder / name).write_text(text)
    return folder / "fit.toml"


def test_a_fit_file_matches_forces_and_is_validated(store: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    file, out = fit_of(tmp_path), tmp_path / "fit"
    assert main(["train", str(file), "-o", str(out), "--store", str(store)]) == 0
    r = np.linspace(0.36, 0.6, 40)
    off = interpolate(read_tables(out)["A-A"], r)[1] - interpolate(truth()["A-A"], r)[1]
    assert np.sqrt((off**2).mean()) < 6.0  # of 100 and more
    with (out / "log.csv").open() as log:
        rows = list(csv.DictReader(log))
    assert [int(row["step"]) for row in rows] == list(range(1, 101))
    held = [float(row["force error validation"]) for row in rows if row["force error validation"]]
    assert len(held) == 4
    assert 29.0 < min(held) < 32.0 < float(rows[0]["force error train"])
    learned = json.loads((out / "trainset.lock").read_text())
    assert learned["loader"]["batch_size"] == 8
    curves = read_curves(out / "training.nc")
    assert curves["iteration"].values.tolist() == [25, 50, 75, 100]
    assert curves["part_loss"].sel(part="validation").values == pytest.approx(np.square(held))
    facts = dict(fit_card(out, open_catalog(str(store)))["facts"])
    assert facts["error of forces at the end, kJ/mol/nm"].endswith(f"validation {min(held):.4f}")
    assert "rmsd of g at the end of training" not in facts
    assert main(["validate", str(out), "--store", str(store)]) == 0
    assert "within the tolerance" in capsys.readouterr().out


def test_a_fit_on_forces_that_was_stopped_goes_on_with_the_same_bits(store: Path, tmp_path: Path) -> None:
    file = fit_of(tmp_path, ATOMIC | {"patience = 4": ""})
    train(file, store=store, out=tmp_path / "whole")

    def stop(stage: str, done: int, total: int) -> None:
        if done == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(file, store=store, out=tmp_path / "fit", progress=stop)
    train(file, store=store, out=tmp_path / "fit")
    for name in ("weights.npz", "potential.nc", "training.nc"):
        assert (tmp_path / "fit" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"rounds = 4": "damping = 1e-3"}, 'damping: loss = "forces" has no use for it'),
        ({"rounds = 4": ""}, "needs rounds and steps"),
        ({'loss = "forces"': "batch_size = 4"}, 'batch_size is for loss = "forces"'),
        ({'"train"': '"forceless"'}, "forceless/r1/cg: has no force; per frame there are position, box"),
    ],
)
def test_a_fit_on_forces_that_cannot_be_says_why(
    changes: dict[str, str], says: str, store: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=says):
        train(fit_of(tmp_path, changes), store=store, out=tmp_path / "fit")
    assert not (tmp_path / "fit").exists()
