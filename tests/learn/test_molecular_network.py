"""Trained potentials of molecules: energies against the sampler, counts against the averages, fits end to end."""

import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import cgstore
from cgstore.averages.bonded import bonded
from cgstore.averages.pair import rdf
from cgstore.errors import InputError
from cgstore.exchange import write_potential
from cgstore.frames import Frames
from cgstore.learn.drawing import StatePoint, seen
from cgstore.learn.fit import train
from cgstore.learn.folder import stage_of
from cgstore.learn.molecular_frames import TermGoal, term_values
from cgstore.learn.molecular_network import MolecularNetwork
from cgstore.learn.newton import flatten
from cgstore.learn.potential_file import read_tables, tables_in, write_tables
from cgstore.learn.reweighting import Ensemble, gradient, respond
from cgstore.learn.sampler import sample
from cgstore.learn.validation import validate
from cgstore.schema import topology_of
from cgstore.store.versions import stage
from cgstore.tables import interpolate

sys.path.insert(0, str(Path(__file__).parent))
import molecules as made

SHEARED = np.array([[3.0, 0.0, 0.0], [0.7, 3.0, 0.0], [-0.5, 0.6, 3.0]])
T = 300.0


def network(**changes: object) -> MolecularNetwork:
    return MolecularNetwork(made.model(**changes), features=6, hidden=(5,), seed=3)


def moved(model: MolecularNetwork, size: float = 0.3) -> MolecularNetwork:
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(size * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return model


@pytest.mark.parametrize("fade", [0.0, 45.0])
@pytest.mark.parametrize("near", [0, 2, "molecule"])
def test_the_energy_of_frames_is_that_of_the_tables_that_are_sampled(fade: float, near: int | str) -> None:
    ds = made.chains(["ABBA", "ABBBBA", "CDDC", "A"], SHEARED, seed=1, replicas=3)
    start = made.model(fade=fade, exclude_bonded=near)
    model = moved(MolecularNetwork(start, features=6, hidden=(5,), seed=3))
    tables = model.tables()
    known = [
        tables.interaction(topology_of(ds)).measure(x.astype(float), box.astype(float)).energy
        for x, box in zip(ds["position"].values, ds["box"].values, strict=True)
    ]
    found = model.energy_of(ds).detach().numpy()
    assert np.std(known) > 10.0
    # Beads of random walks lie on each other, where straight lines between nodes are not the cubic.
    np.testing.assert_allclose(found, known, rtol=2e-4, atol=0.05)


def test_it_begins_as_its_tables_and_its_forces_are_derivatives() -> None:
    start, fresh, late = made.model(), network().tables(), moved(network()).tables()
    x = np.linspace(0.31, 0.89, 97)
    with torch.no_grad():
        silent = network()
        for parameter in silent.parameters():
            parameter.zero_()
    for pair, table in start.pairs.items():
        np.testing.assert_allclose(interpolate(silent.tables().pairs[pair], x), interpolate(table, x), atol=1e-9)
    for term, tables in start.terms.items():
        for kind, table in tables.items():
            curve, new = fresh.terms[term][kind], late.terms[term][kind]
            inside = (curve.x > table.x[0]) & (curve.x < table.x[-1])
            here = np.interp(curve.x[inside], table.x, table.energy)
            np.testing.assert_allclose(curve.energy[inside], here, atol=1e-3 * np.ptp(here) + 1e-9)
            slope = np.gradient(new.energy, new.x)[2:-2]
            np.testing.assert_allclose(-new.force[2:-2], slope, atol=1e-2 * np.abs(slope).max())
            assert np.abs(new.energy - curve.energy).max() > 0.1


def test_distributions_of_all_frames_are_those_of_the_averages() -> None:
    ds = made.chains(["ABBA", "ABBBBA", "CDDC"] * 6, SHEARED, seed=4, replicas=5)
    model = network(exclude_bonded=3)
    g = rdf(ds, r_max=0.9, bin_width=0.05, exclude_bonded=3).compute()["rdf"].reindex(pair=list(model.pairs))
    terms = bonded(ds, bond_width=0.04, bond_max=1.0, angle_width=10.0, dihedral_width=20.0).compute()
    goals = [
        TermGoal(term, tuple(terms[f"{term}_kind"].values), low, width, values, np.ones_like(values))
        for term, low, width in (("bond", 0.0, 0.04), ("angle", 0.0, 10.0), ("dihedral", -180.0, 20.0))
        for values in [terms[term].values]
    ]
    point = StatePoint("walks", T, ds, 0.05, g.values, np.ones_like(g.values), terms=tuple(goals))
    described, values = seen(model, ds, point)
    assert described.shape[0] == 5
    np.testing.assert_allclose(values.mean(axis=0), point.target, rtol=1e-6, atol=1e-6)
    assert np.ptp(values, axis=0).max() > 0.0


def test_values_of_terms_in_a_closed_form() -> None:
    angle, turn = np.radians(100.0), np.radians(-60.0)
    a, b = np.array([0.0, 0.0, 0.0]), np.array([0.3, 0.0, 0.0])
    c = b + 0.3 * np.array([-np.cos(angle), np.sin(angle), 0.0])
    axis = (c - b) / 0.3
    d = c + 0.25 * np.cross(axis, np.cross(a - b, axis)) / np.linalg.norm(np.cross(axis, a - b))
    side = np.cross(axis, d - c)
    d = c + np.cos(turn) * (d - c) + np.sin(turn) * side
    box = 2.0 * np.eye(3)[None]
    position = np.stack([a, b, c, d])[None] + [[[1.9, 0.0, -0.1]]]  # across the faces
    assert term_values(position, box, np.array([[0, 1]]))[0][0, 0] == pytest.approx(0.3)
    assert term_values(position, box, np.array([[0, 1, 2]]))[0][0, 0] == pytest.approx(100.0)
    assert abs(term_values(position, box, np.array([[0, 1, 2, 3]]))[0][0, 0]) == pytest.approx(60.0)


def test_the_gradient_is_the_finite_difference_of_the_reweighted_loss() -> None:
    ds = made.chains(["ABBA", "CDDC"] * 3, np.eye(3) * 3.0, seed=5, replicas=12)
    model = moved(network(), 0.05)
    described = model.describe(ds["position"].values, ds["box"].values, topology_of(ds))
    rng = np.random.default_rng(1)
    with torch.no_grad():
        energy = model(described) + torch.from_numpy(rng.normal(size=12))
    values = torch.from_numpy(rng.normal(size=(12, 7)))
    one = Ensemble(0.4, described, energy, values, values.mean(0) + 0.2, torch.full((7,), 0.3, dtype=torch.float64))
    found = gradient(model, [one], [respond(model, one)])
    parameters = list(model.parameters())
    direction = torch.from_numpy(rng.normal(size=len(flatten([p.detach() for p in parameters]))))
    direction /= direction.norm()

    def loss(step: float) -> float:
        place = 0
        with torch.no_grad():
            for parameter in parameters:
                size = parameter.numel()
                parameter.add_(step * direction[place : place + size].view_as(parameter))
                place += size
        value = respond(model, one).loss
        with torch.no_grad():
            place = 0
            for parameter in parameters:
                size = parameter.numel()
                parameter.sub_(step * direction[place : place + size].view_as(parameter))
                place += size
        return value

    h = 1e-4
    slope = (loss(-2 * h) - 8 * loss(-h) + 8 * loss(h) - loss(2 * h)) / (12 * h)
    assert float(found @ direction) == pytest.approx(slope, rel=1e-5)


def test_tables_of_molecules_come_back_from_their_file(tmp_path: Path) -> None:
    model = made.model(exclude_bonded="molecule", fade=20.0)
    write_tables(tmp_path / "potential.nc", {"network": model, "ibi": network().tables()}, {"name": "chains"})
    back = tables_in(tmp_path / "potential.nc", "network")
    assert back.exclude_bonded == "molecule"
    assert back.fade == 20.0
    ds = made.chains(["ABBA", "CDDC"], np.eye(3) * 3.0, seed=2)
    x, box = ds["position"].values[0].astype(float), ds["box"].values[0].astype(float)
    both = [replace(one, exclude_bonded=2).interaction(topology_of(ds)).measure(x, box) for one in (model, back)]
    assert both[1].energy == pytest.approx(both[0].energy, rel=1e-9)
    np.testing.assert_allclose(both[1].force, both[0].force, rtol=1e-6, atol=1e-6)
    with pytest.raises(InputError, match=r"has no potential 'imc'; there are network, ibi"):
        tables_in(tmp_path / "potential.nc", "imc")


@pytest.fixture(scope="module")
def chains(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a store with chains of a known model in two runs, and the files of a fit."""
    folder = tmp_path_factory.mktemp("chains")
    begin = made.chains(["ABBA"] * 16, np.eye(3) * 2.4, seed=2)
    for name, seed in (("a", 1), ("b", 2)):
        run = sample(
            made.model(exclude_bonded=3), begin, temperature=T, equilibrate=10.0, duration=240.0, every=0.5, seed=seed,
            time_step=0.01,
        )  # fmt: skip
        frames = Frames(run["position"].values, run["time"].values, run["step"].values, box=run["box"].values)
        with stage(folder / "store" / f"{name}/r1/cg") as staged:
            sources = [{"path": f"{name}.xtc", "size": 1, "digest": name}]
            about = {"kind": "liquid", "composition": {"M": 16}, "sources": sources, "temperature": T}
            staged.create(topology_of(run), frames, precision=0.0001, attrs=about)
            staged.append(frames)
            staged.publish()
    (folder / "split.toml").write_text('[[train]]\nsystem = "a"\n[[heldout]]\nsystem = "b"\n')
    (folder / "spec.toml").write_text(
        '[rdf]\nr_max = "0.9 nm"\nbin_width = "0.03 nm"\n'
        '[bonded]\nbond_width = "0.01 nm"\nangle_width = "6 degree"\ndihedral_width = "12 degree"\n'
    )
    (folder / "fit.toml").write_text(
        """
        name = "chains"
        split = "split.toml"
        spec = "spec.toml"
        seed = 3
        [potential]
        kind = "molecular"
        cutoff = "0.9 nm"
        spacing = "0.005 nm"
        features = 10
        hidden = [8]
        start = "pmf"
        [sampling]
        replicas = 4
        duration = "20 ps"
        every = "0.5 ps"
        [training]
        rounds = 4
        steps = 2
        effective = 0.3
        floor = 0.02
        [validation]
        tolerance = 0.1
        duration = "40 ps"
        """
    )
    return folder


@pytest.fixture(scope="module")
def fitted(chains: Path) -> Path:
    return train(chains / "fit.toml", store=chains / "store", out=chains / "fit")


def test_a_fit_of_molecules_is_better_than_what_it_began_as_on_data_it_has_not_seen(chains: Path, fitted: Path) -> None:
    found = validate(fitted, store=chains / "store", on="heldout")
    assert {row.distribution for row in found.rows} == {"rdf", "bond", "angle", "dihedral"}
    chi2 = {model: np.mean([row.chi2 for row in found.rows if row.model == model]) for model in ("network", "pmf")}
    assert chi2["network"] < 0.5 * chi2["pmf"]
    assert found.passed
    kept = read_tables(fitted)
    assert kept.exclude_bonded == 3
    assert set(kept.bonds) == {"A-B", "B-B"}


def test_a_fit_that_was_stopped_goes_on_with_the_same_bits(chains: Path, fitted: Path, tmp_path: Path) -> None:
    class StopError(Exception):
        pass

    def stop(name: str, done: int, total: int) -> None:
        if name == "network" and done == 2:
            raise StopError

    out = tmp_path / "fit"
    with pytest.raises(StopError):
        train(chains / "fit.toml", store=chains / "store", out=out, progress=stop)
    assert stage_of(out) == "begun"
    train(chains / "fit.toml", store=chains / "store", out=out)
    assert (out / "potential.nc").read_bytes() == (fitted / "potential.nc").read_bytes()
    assert not list(out.glob(".*"))


def test_the_tables_go_to_other_programs(chains: Path, fitted: Path, tmp_path: Path) -> None:
    ds = cgstore.open_catalog(chains / "store")["a/r1/cg"].open()
    written = write_potential(read_tables(fitted), "lammps", tmp_path, system=ds, temperature=T)
    assert written


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('start = "pmf"', "", r'kind = "molecular" begins as tables: expected start = "pmf", "ibi" or "imc"'),
        ('start = "pmf"', 'start = "pmf"\ninputs = ["density"]', r'inputs and angular are for kind = "atomic"'),
        ('kind = "molecular"\n', 'kind = "pair"\n', r'inputs, angular and start are for kind = "atomic"'),
        ('kind = "molecular"', "", r"inputs, angular and start"),
        ("[validation]", '[baseline]\ndataset = "a/r1/cg"\n[validation]', r"begins as an inversion"),
        ('kind = "molecular"\n', "", r"inputs, angular and start"),
        (
            'kind = "molecular"\n        cutoff = "0.9 nm"\n        spacing = "0.005 nm"\n        features = 10\n'
            '        hidden = [8]\n        start = "pmf"',
            'cutoff = "0.9 nm"',
            r'a/r1/cg: found 48 bonds; write kind = "molecular" in \[potential\], or map molecules to one bead',
        ),
    ],
)
def test_a_fit_file_that_cannot_be_says_why(chains: Path, tmp_path: Path, old: str, new: str, message: str) -> None:
    text = (chains / "fit.toml").read_text()
    assert old in text
    for name in ("split.toml", "spec.toml"):
        (tmp_path / name).write_text((chains / name).read_text())
    (tmp_path / "fit.toml").write_text(text.replace(old, new))
    with pytest.raises(InputError, match=message):
        train(tmp_path / "fit.toml", store=chains / "store", out=tmp_path / "fit")


def test_a_type_without_tables_is_refused() -> None:
    with pytest.raises(InputError, match="different nodes"):
        MolecularNetwork(made.model(pairs={}))
    ds = made.chains(["EE"], np.eye(3) * 3.0, seed=1)
    with pytest.raises(InputError, match="knows the types A, B, C, D, not E"):
        network().energy_of(ds)


def test_data_without_molecules_are_refused_before_anything_is_written(chains: Path, liquid: SimpleNamespace) -> None:
    (chains / "free").mkdir()
    for name in ("spec.toml", "fit.toml"):
        (chains / "free" / name).write_text((chains / name).read_text())
    (chains / "free" / "split.toml").write_text('[[train]]\ndataset = "l130/r1/cg"\n')
    with pytest.raises(InputError, match=r'found no bonds in the data; kind = "molecular" is for molecules'):
        train(chains / "free" / "fit.toml", store=liquid.store, out=chains / "free" / "fit")
    assert not (chains / "free" / "fit").exists()
