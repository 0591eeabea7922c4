"""Mobility: the same liquid as molecules and as beads, how fast both move, and what of it can be found later."""

import csv
import itertools
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import cgstore
from cgstore.campaigns import mobility
from cgstore.campaigns.campaign import load_campaign
from cgstore.campaigns.mobility_beads import beads_of, dataset_of, diffusion_of
from cgstore.campaigns.planning import plan_systems
from cgstore.campaigns.simulating import simulate
from cgstore.engines.conditions import Conditions, Motion
from cgstore.engines.md_openmm import system_of
from cgstore.errors import InputError
from cgstore.feature_tables import build_table, match, open_table
from cgstore.frames import Frames
from cgstore.learn.sampler import sample
from cgstore.schema import check_dataset
from cgstore.tables import Table, interpolate, table_of
from cgstore.units import BOLTZMANN
from cgstore.writers.contents import blocks_of, contents_of
from cgstore.writers.xtc import write_xtc

CAMPAIGNS = Path(__file__).parents[2] / "ingest" / "campaigns"
FILE = CAMPAIGNS / "trimethylpentane.toml"
# One site, no charges: methane of TraPPE, Martin and Siepmann 1998, doi:10.1021/jp972543+
SIGMA, EPSILON, MASS = 0.373, 1.230540, 16.043
ONE_SITE = f"""[ defaults ]
1 2 no 1.0 1.0
[ atomtypes ]
CH4 6 {MASS} 0.0 A {SIGMA} {EPSILON}
[ moleculetype ]
MET 1
[ atoms ]
1 CH4 1 MET C 1 0.0 {MASS}
"""
TOML = """
[campaign]
name = "one_site"
kind = "mobility"

[sweep]
method = "list"
points = [{ temperature = "150 K" }]

[settings]
topology = "methane.itp"
geometry = "methane.xyz"
density = 380
model = "TraPPE-UA"
number = 80
timestep = "10 fs"
equilibration = 100
production = 8000
every = 20
cutoff = "0.8 nm"
fit = ["2 ps", "10 ps"]
coarse_cutoff = "0.8 nm"
bin_width = "0.02 nm"
replicas = 4
sampling = "10 ps"
iterations = 4
tolerance = 0.02
worst = 0.06
coarse_equilibration = "5 ps"
coarse_production = "100 ps"
coarse_every = "0.2 ps"
"""


def lennard_jones(cutoff: float = 0.8) -> Table:
    r = np.arange(0.25, cutoff + 5e-4, 0.001)
    return table_of(r, 4 * EPSILON * ((SIGMA / r) ** 12 - (SIGMA / r) ** 6), cutoff)


def columns_of(path: Path) -> list[dict[str, str]]:
    """Return the rows of a table."""
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def moved_as_beads(folder: Path, conditions: Conditions, *, engine: str) -> Motion:
    """Stand for an engine: a molecule of one site moves by its Lennard-Jones potential."""
    count = int((folder / "start.gro").read_text().splitlines()[1])
    edge = (80 / (380 * 0.602214076 / MASS)) ** (1 / 3)
    grid = np.stack(np.meshgrid(*[np.arange(5)] * 3), -1).reshape(-1, 3)[:count] * edge / 5
    start = Frames(grid[None].astype(np.float32), np.zeros(1), np.zeros(1, np.int64), box=edge * np.eye(3)[None])
    run = sample(
        {"X-X": lennard_jones()},
        start,
        types=["X"] * count,
        masses=[MASS] * count,
        temperature=conditions.temperature,
        equilibrate=10.0,
        duration=conditions.production * conditions.timestep,
        every=conditions.every * conditions.timestep,
        time_step=conditions.timestep,
        friction=0.0,
        coupling=1.0,
        seed=conditions.seed,
    ).drop_vars("velocity")
    contents = contents_of(run)
    write_xtc(folder / "trajectory.xtc", contents, blocks_of(run, contents))
    frames = run.sizes["frame"]
    series = {
        "energy": run["energy"].values,
        "temperature": 2 * run["kinetic_energy"].values / (3 * (count - 1) * BOLTZMANN),
        "density": np.full(frames, 380.0),
    }
    return Motion(run["time"].values, series, "stand-in")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A campaign of one molecule of one site: archive, store and record."""
    folder = tmp_path_factory.mktemp("mobility")
    (folder / "methane.itp").write_text(ONE_SITE)
    (folder / "methane.xyz").write_text("1\nmethane\nC 0 0 0\n")
    (folder / "one_site.toml").write_text(TOML)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mobility, "run_md", moved_as_beads)
        summary = simulate(
            folder / "one_site.toml", archive=folder / "archive", store=folder / "store", jobs=1, size="small"
        )
    assert summary.failed == {}
    assert summary.ingested > 0
    place = folder / "archive/one_site/one_site_00000"
    return place, folder / "store", json.loads((place / "record.json").read_text())["measured"]


def test_a_molecule_of_one_site_is_not_accelerated(made) -> None:
    _, _, measured = made
    assert measured["D_AA_error"] < 0.2 * measured["D_AA"]
    assert abs(measured["alpha"] - 1) < 3 * measured["alpha_error"] < 0.8
    ratio = np.hypot(measured["D_AA_error"] / measured["D_AA"], measured["D_CG_error"] / measured["D_CG"])
    assert measured["alpha_error"] == pytest.approx(measured["alpha"] * ratio, rel=1e-3)
    assert measured["coarse_temperature"] == pytest.approx(150.0, abs=4.0)


def test_its_potential_is_that_of_the_site(made) -> None:
    place, _, measured = made
    assert measured["rdf_rmsd"] < 0.06
    rows = columns_of(place / "potential.csv")
    table = Table(*np.array([[float(x) for x in row.values()] for row in rows]).T)
    r = np.array([0.38, 0.42, 0.46])  # where most pairs are; kT is 1.25 kJ/mol
    np.testing.assert_allclose(interpolate(table, r)[0], interpolate(lennard_jones(), r)[0], atol=0.4)
    curves = columns_of(place / "rdf.csv")
    assert list(curves[0]) == ["r_nm", "atomistic", "atomistic_error", "coarse", "coarse_error"]
    both = np.array([[float(row["atomistic"]), float(row["coarse"])] for row in curves])
    assert np.sqrt(((both[:, 0] - both[:, 1]) ** 2).mean()) == pytest.approx(measured["rdf_rmsd"], rel=1e-3)


def test_both_runs_are_datasets_with_the_same_bead_and_the_numbers_of_the_record(made) -> None:
    _, store, measured = made
    catalog = cgstore.open_catalog(store)
    runs = {run: catalog[f"one_site_00000/{run}/cg"].open() for run in ("atomistic", "coarse")}
    for ds in runs.values():
        assert set(ds["name"].values.tolist()) == {"MET"}
        np.testing.assert_allclose(ds["mass"].values, MASS)
    edges = [float(ds["box"].values[:, 0, 0].mean()) for ds in runs.values()]
    np.testing.assert_allclose(edges, measured["edge"], rtol=1e-4)
    found = diffusion_of(runs["atomistic"], fit=(2.0, 10.0))
    assert found.value == pytest.approx(measured["D_AA"], rel=1e-3)
    assert diffusion_of(runs["coarse"]).value == pytest.approx(measured["D_CG"], rel=1e-3)
    chosen = catalog.search(campaign="one_site", run="coarse", alpha=(0.1, 10.0))
    assert len(chosen.rows()) == 1


def test_a_table_has_what_was_found_and_the_potential_and_its_rows_can_be_matched(made) -> None:
    place, store, measured = made
    spec = {
        "name": "sets",
        "datasets": {"campaign": "one_site", "run": "atomistic"},
        "columns": {
            "p": {"feature": "parameters"},
            "D": {"feature": "diffusion", "fit": ["2 ps", "10 ps"]},
            "u": {
                "feature": "potential", "source": "file", "file": f"{place.parent}/{{system}}/potential.csv",
                "r_min": "0.3 nm", "r_max": "0.8 nm", "bins": 50,
            },
        },
    }  # fmt: skip
    build_table(store, spec)
    table = open_table(store, "sets")
    sets = table["p"].to_dataset("p_parameter").assign(u=table["u"]).load()
    assert float(sets["D_AA"][0]) == pytest.approx(measured["D_AA"])
    assert float(table["D"][0]) == pytest.approx(measured["D_AA"], rel=1e-3)
    assert float(sets["u"][0].min()) == pytest.approx(-EPSILON, abs=0.4)
    pairs = match(sets, sets, on=("D_AA", "D_CG"), within=3.0)
    assert pairs.sizes["pair"] == 1  # it is not accelerated: the set matches itself


def walk(diffusion: float, seed: int) -> xr.Dataset:
    """Return 60 Brownian particles in a periodic box, a frame per ps."""
    random = np.random.default_rng(seed)
    path = np.cumsum(random.normal(0.0, (2 * diffusion) ** 0.5, (1500, 60, 3)), axis=0)
    return xr.Dataset(
        {
            "position": (("frame", "particle", "xyz"), (path % 4.0).astype(np.float32)),
            "box": (("frame", "box_vector", "xyz"), np.repeat(4 * np.eye(3, dtype=np.float32)[None], 1500, 0)),
        },
        {"time": ("frame", np.arange(1500.0)), "type": ("particle", ["A"] * 60)},
    )


def test_the_acceleration_of_brownian_particles_is_the_ratio_of_their_coefficients() -> None:
    slow, fast = (diffusion_of(walk(d, seed)) for d, seed in ((2e-3, 1), (8e-3, 2)))
    found = mobility._acceleration(fast, slow)
    assert abs(found["alpha"] - 4.0) < 3 * found["alpha_error"] < 1.0


def test_a_run_that_is_too_short_has_no_coefficient_and_says_why() -> None:
    found = diffusion_of(walk(2e-3, 3).isel(frame=slice(0, 20)), fit=(15.0, 60.0))
    assert np.isnan(found.value)
    assert found.measured("D")["D"] is None
    assert "expected 3 or more" in found.measured("D")["D_reason"]


def test_beads_are_centres_of_mass_of_molecules_made_whole(tmp_path) -> None:
    settings = load_campaign(FILE).settings
    molecule = settings.molecule({})
    topology = settings.topology + "\n[ system ]\nx\n[ molecules ]\nTMP 2\n"
    (tmp_path / "system.top").write_text(topology)
    centres = np.array([[0.05, 1.0, 1.99], [1.0, 1.0, 1.0]])
    position = (centres[:, None] + molecule.position).reshape(1, 16, 3) % 2.0  # broken by the box
    frames = Frames(position.astype(np.float32), np.zeros(1), np.zeros(1, np.int64), box=2 * np.eye(3)[None])
    nothing = xr.Dataset({"position": (("frame", "particle", "xyz"), frames.position)})
    nothing = nothing.assign(box=(("frame", "box_vector", "xyz"), frames.box.astype(np.float32)))
    contents = contents_of(nothing.assign_coords(name=("particle", ["C"] * 16)))
    write_xtc(tmp_path / "trajectory.xtc", contents, [frames])
    beads = check_dataset(beads_of(tmp_path, np.array([True])), needs=("position", "box", "mass"))
    assert beads["type"].values.tolist() == ["TMP", "TMP"]
    apart = beads["position"].values[0] - centres
    np.testing.assert_allclose(apart - 2 * np.round(apart / 2), 0, atol=0.002)
    np.testing.assert_allclose(beads["mass"].values, 5 * 15.035 + 3 * 13.019)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, ""),
        ({"bond_stiffness": 2.0}, "does nothing"),
        ({"angle": 1.7}, "190.4 degrees"),
        ({"epsilon": -1.0}, "expected a positive number"),
    ],
)
def test_what_makes_no_sense_is_refused(changes, reason) -> None:
    settings = load_campaign(FILE).settings
    found = mobility.refused({**mobility.DEFAULTS, **changes}, settings)
    assert reason in found
    assert bool(found) == bool(reason)


def test_a_box_that_is_too_small_is_refused() -> None:
    settings = load_campaign(FILE).settings.model_copy(update={"number": 60})
    assert "take more molecules" in mobility.refused(mobility.DEFAULTS, settings)


def test_a_window_beyond_a_quarter_of_the_run_is_refused(tmp_path) -> None:
    shutil.copytree(CAMPAIGNS / "molecules", tmp_path / "molecules")
    (tmp_path / "x.toml").write_text(FILE.read_text().replace('"60 ps"', '"61 ps"'))
    with pytest.raises(InputError, match="an end of 60 ps or less"):
        load_campaign(tmp_path / "x.toml", size="small")


def test_the_shipped_sweep_is_what_its_page_says() -> None:
    small, full = (plan_systems(load_campaign(FILE, size=size)) for size in ("small", "full"))
    assert (len(small), len(full)) == (48, 300)
    assert [item.parameters for item in full[:48]] == [item.parameters for item in small]
    assert {item.parameters["temperature"] for item in full} == {298.15}


def trappe_energy(x: np.ndarray) -> float:
    """Return the energy of a molecule in kJ/mol from the constants of the publication, in K; bonds are ours."""
    bond = [(0, 1), (1, 2), (2, 3), (3, 4), (1, 5), (2, 6), (3, 7)]
    near = {k: sorted({*[b for a, b in bond if a == k], *[a for a, b in bond if b == k]}) for k in range(8)}
    energy = sum(0.5 * 224262.4 / BOLTZMANN * (np.linalg.norm(x[a] - x[b]) - 0.154) ** 2 for a, b in bond)
    for k, ends in near.items():
        for a, b in itertools.combinations(ends, 2):
            u, v = x[a] - x[k], x[b] - x[k]
            angle = np.arccos(u @ v / np.linalg.norm(u) / np.linalg.norm(v))
            energy += 0.5 * 62500 * (angle - np.radians(112)) ** 2
    for i, j in bond:
        for a, b in itertools.product(set(near[i]) - {j}, set(near[j]) - {i}):
            m, n = np.cross(x[a] - x[i], x[j] - x[i]), np.cross(x[i] - x[j], x[b] - x[j])
            phi = np.arccos(m @ n / np.linalg.norm(m) / np.linalg.norm(n))  # 180 degrees is trans
            energy += (
                -251.06 + 428.73 * (1 + np.cos(phi)) - 111.85 * (1 - np.cos(2 * phi)) + 441.27 * (1 + np.cos(3 * phi))
            )
    for a, b in [(0, 4), (0, 7), (4, 5), (5, 7)]:  # all that are four bonds apart are methyls
        s = (0.375 / np.linalg.norm(x[a] - x[b])) ** 6
        energy += 4 * 98 * (s**2 - s)
    return float(energy * BOLTZMANN)


def test_the_force_field_of_trimethylpentane_is_that_of_the_publication(tmp_path) -> None:
    openmm = pytest.importorskip("openmm")
    settings = load_campaign(FILE).settings
    (tmp_path / "system.top").write_text(settings.topology + "\n[ system ]\nx\n[ molecules ]\nTMP 1\n")
    rest = settings.molecule({}).position
    start = Frames(rest[None].astype(np.float32), np.zeros(1), np.zeros(1, np.int64), box=6 * np.eye(3)[None])
    conditions = Conditions(300.0, None, constraints="none", electrostatics="none", tails=False, cutoff=1.4)
    system = system_of(tmp_path / "system.top", start, conditions)
    platform = openmm.Platform.getPlatformByName("Reference")
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), platform)
    random = np.random.default_rng(4)
    for _ in range(5):
        x = rest + random.normal(0.0, 0.02, rest.shape)
        context.setPositions(x + 3.0)
        found = context.getState(energy=True).getPotentialEnergy()._value
        assert found == pytest.approx(trappe_energy(x), rel=1e-5, abs=1e-3)
    assert trappe_energy(rest) == pytest.approx(2.66, abs=0.3)  # its minimum; the file has three digits


def test_beads_are_ordinary_datasets() -> None:
    frames = Frames(np.zeros((2, 3, 3), np.float32), np.arange(2.0), np.arange(2), box=None)
    names = np.array(["A", "A", "B"])
    nothing = xr.Dataset({"position": (("frame", "particle", "xyz"), frames.position)}).assign_coords(
        name=("particle", names)
    )
    ds = dataset_of(frames, cgstore.schema.topology_of(nothing))
    assert check_dataset(ds, needs=("position",)).sizes["particle"] == 3
    assert "box" not in ds
    assert ds["type"].values.tolist() == names.tolist()


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["openmm"])
def test_a_small_box_of_trimethylpentane_goes_all_the_way(tmp_path, engine) -> None:
    settings = load_campaign(FILE).settings.model_copy(
        update={
            "number": 27, "equilibration": 2000, "production": 8000, "every": 20, "cutoff": 0.8, "fit": (2.0, 8.0),
            "coarse_cutoff": 0.9, "bin_width": 0.03, "replicas": 4, "sampling": 10.0, "iterations": 3, "worst": 0.5,
            "coarse_production": 60.0,
        }
    )  # fmt: skip
    point = {**mobility.DEFAULTS, "torsion": 0.5, "bond_length": 1.02}
    outcome = mobility.simulate(point, settings, seed=3, engine=engine, folder=tmp_path)
    assert outcome.failure == "" or outcome.failure.startswith("drifting")
    if not outcome.failure:
        assert {"potential.csv", "rdf.csv", "coarse.xtc", "trajectory.xtc"} <= {
            path.name for path in tmp_path.iterdir()
        }
        assert outcome.measured["D_CG"] > 0
