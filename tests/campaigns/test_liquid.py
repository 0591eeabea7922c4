"""Liquids: what a campaign of molecules plans, runs and refuses; beads at centres of mass, solvents left out."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from cgstore.averages.pair import rdf
from cgstore.building.molecule_files import read_molecule
from cgstore.building.packing import pack
from cgstore.building.start import write_start
from cgstore.campaigns import liquid
from cgstore.campaigns.campaign import load_campaign
from cgstore.campaigns.planning import plan_systems, refused_points
from cgstore.campaigns.simulating import simulate
from cgstore.catalog import open_catalog
from cgstore.cli.app import main
from cgstore.documents import toml_value
from cgstore.engines.md_gromacs import gromacs_program
from cgstore.errors import InputError
from cgstore.frames import Frames
from cgstore.readers.topologies import read_topology
from cgstore.readers.xtc import open_xtc
from cgstore.units import BOLTZMANN
from cgstore.writers.contents import Contents
from cgstore.writers.xtc import write_xtc

CAMPAIGNS = Path(__file__).parents[2] / "ingest" / "campaigns"
ENGINES = [pytest.param("gromacs", marks=pytest.mark.skipif(gromacs_program() is None, reason="no GROMACS")), "openmm"]
METHANE = {"molecule": "CH4", "temperature": "150 K", "pressure": "50 bar"}
# One site, without charges: TraPPE, Martin and Siepmann 1998, doi:10.1021/jp972543+
UNITED = """[ defaults ]
1 2 no 1.0 1.0
[ atomtypes ]
CH4_sp3 6 16.043 0.0 A 0.373 1.230540
[ moleculetype ]
C1 1
[ atoms ]
1 CH4_sp3 1 C1 C 1 0.0 16.043
"""
FILES = """
[settings.molecules.C1]
topology = "molecules/methane_trappe.itp"
geometry = "molecules/methane_trappe.xyz"
density = 380
model = "TraPPE-UA"
doi = "10.1021/jp972543+"

[settings.molecules.CH4]
topology = "molecules/methane_opls.itp"
geometry = "molecules/methane.gro"
density = 380
model = "OPLS-AA"
doi = "10.1021/ja9621760"

[settings.molecules.methanol]
topology = "molecules/methanol_opls.itp"
geometry = "molecules/methanol.gro"
density = 780
model = "OPLS-AA"
doi = "10.1021/ja9621760"

[settings.molecules.water]
topology = "molecules/water_spce.itp"
geometry = "molecules/water.gro"
density = 1000
model = "SPC/E"
doi = "10.1021/j100308a038"
"""
SHORT = {"number": 60, "timestep": "4 fs", "equilibration": 5000, "production": 20000, "every": 100, "cutoff": "0.7 nm"}


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Work in a folder with the molecules that ship and one of our own."""
    shutil.copytree(CAMPAIGNS / "molecules", tmp_path / "molecules")
    (tmp_path / "molecules" / "methane_trappe.itp").write_text(UNITED)
    (tmp_path / "molecules" / "methane_trappe.xyz").write_text("1\nmethane\nC 0 0 0\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CGSTORE_STORE", raising=False)
    return tmp_path


def write(points: list[dict[str, str]], *, engine: str = "openmm", files: str = FILES, **settings: object) -> Path:
    """Write a campaign."""
    lines = [f'[campaign]\nname = "tiny"\nkind = "liquid"\nengine = "{engine}"', "[sweep]", 'method = "list"']
    lines += [f"points = {toml_value(points)}", "[settings]"]
    lines += [f"{key} = {toml_value(value)}" for key, value in {**SHORT, **settings}.items()]
    Path("tiny.toml").write_text("\n".join(lines) + "\n" + files)
    return Path("tiny.toml")


@pytest.mark.parametrize("name", ["simple_liquids", "methanol_water"])
def test_campaigns_that_ship_refuse_no_point(name):
    systems = [plan_systems(load_campaign(CAMPAIGNS / f"{name}.toml", size=size)) for size in ("small", "full")]
    assert [len(found) for found in systems] == {"simple_liquids": [9, 33], "methanol_water": [5, 10]}[name]
    assert refused_points(load_campaign(CAMPAIGNS / f"{name}.toml", size="full")) == []


def test_the_files_of_molecules_are_part_of_the_digest(place):
    before = plan_systems(load_campaign(write([METHANE])))[0]
    again = plan_systems(load_campaign(write([METHANE])))[0]
    file = place / "molecules" / "methane_opls.itp"
    file.write_text(file.read_text().replace("0.276144", "0.276145"))
    other = plan_systems(load_campaign(write([METHANE])))[0]
    assert before.digest == again.digest != other.digest
    assert before.parameters == {
        "molecule": "CH4", "solvent": "", "fraction": 1.0, "temperature": 150.0, "pressure": 50.0
    }  # fmt: skip


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # OpenMM leaves the file open
@pytest.mark.parametrize("engine", ENGINES)
def test_a_molecule_of_ones_own_becomes_a_dataset_with_provenance(place, engine):
    if engine == "openmm":
        pytest.importorskip("openmm")
    # Of twelve runs as short as this one drifted, by chance.
    done = simulate(write([METHANE | {"molecule": "C1"}] * 3, engine=engine, electrostatics="none"), jobs=1)
    assert done.run == 3
    assert {failure.partition(":")[0] for failure in done.failed.values()} <= {"drifting"}
    assert len(done.failed) < 3
    name = min({"tiny_00000", "tiny_00001", "tiny_00002"} - set(done.failed))
    record = json.loads((place / f"archive/tiny/{name}/record.json").read_text())
    found = open_catalog("store").search(molecule="C1", kind="liquid", temperature=(149, 151))
    ds = found[f"{name}/r1/cg"].open()
    assert ds.sizes["particle"] == 60
    assert set(ds["name"].values) == {"C1"}
    np.testing.assert_allclose(ds["mass"], 16.043, atol=1e-6)
    about = ds.attrs["parameters"]
    assert about["density"] * 16.043 / 0.602214 == pytest.approx(about["mass_density"], rel=1e-4)
    assert about["mass_density"] == pytest.approx(record["measured"]["density"], rel=1e-5)
    assert 300 < about["mass_density"] < 400
    assert about["provenance"]["seed"] == record["seed"]
    assert (ds.attrs["doi"], ds.attrs["forcefield"]) == ("10.1021/jp972543+", "TraPPE-UA")
    assert ds.attrs["software"].startswith({"gromacs": "GROMACS", "openmm": "OpenMM"}[engine])
    g = rdf(ds, r_max=0.75, bin_width=0.02).compute()
    assert g["rdf"].values[0, :14].max() == 0  # below 0.28 nm
    assert 0.38 < float(g["r"][int(g["rdf"].values[0].argmax())]) < 0.46


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # OpenMM leaves the file open
def test_beads_are_centres_of_mass_and_the_solvent_is_left_out(place):
    pytest.importorskip("openmm")
    point = {
        "molecule": "methanol",
        "solvent": "water",
        "fraction": "25 %",
        "temperature": "298 K",
        "pressure": "1 bar",
    }
    short = {"timestep": "2 fs", "equilibration": 100, "production": 340, "every": 10, "cutoff": "0.5 nm"}
    campaign = load_campaign(write([point], dropped=["water"], number=64, **short))
    item = plan_systems(campaign)[0]
    outcome = liquid.simulate(item.parameters, campaign.settings, seed=item.seed, engine="openmm", folder=place)
    assert outcome.mapping == {"MEOH": "molecule", "HOH": "drop"}
    assert outcome.system["composition"] == {"MEOH": 16, "HOH": 48}
    assert outcome.system["doi"] == "10.1021/ja9621760, 10.1021/j100308a038"
    volume = abs(np.linalg.det(open_xtc(place / "trajectory.xtc").box.astype(float)))[-20:].mean()
    assert outcome.system["parameters"]["density"] == pytest.approx(16 / volume, rel=0.05)


def test_displacements_count_neither_boundaries_nor_the_breath_of_the_box(place):
    molecule = read_molecule(*(Path("molecules", name).read_text() for name in ("methane_opls.itp", "methane.gro")))
    start = pack([(molecule, 27)], density=8.0, title="test", seed=1)
    write_start(start, place)
    velocity = np.random.default_rng(3).normal(size=(27, 3)) * 0.03  # of the box, per frame
    velocity -= velocity.mean(axis=0)
    time = np.arange(41.0)
    edge = start.box[0, 0] * (1 + 0.02 * np.sin(time))
    centre = (start.position[::5] / start.box[0, 0] + velocity * time[:, None, None]) * edge[:, None, None]
    position = (centre[:, :, None] + molecule.position).reshape(41, -1, 3) % edge[:, None, None]
    frames = Frames(
        position=position.astype(np.float32), time=time, step=time.astype(np.int64),
        box=(edge[:, None, None] * np.eye(3)).astype(np.float32),
    )  # fmt: skip
    contents = Contents(
        title="test", topology=read_topology(place / "system.top"), element=np.full(135, ""), time=frames.time,
        step=frames.step, weight=None, variables=frozenset({"position", "box"}), precision=None,
    )  # fmt: skip
    write_xtc(place / "trajectory.xtc", contents, [frames])
    wanted = np.sqrt(((velocity * 40 * edge.mean()) ** 2).sum(axis=1).mean())
    assert liquid._moved(place, np.full(41, True)) == pytest.approx(wanted, rel=1e-3)
    assert liquid._moved(place, time >= 20) == pytest.approx(wanted / 2, rel=0.02)


@pytest.mark.skipif(gromacs_program() is None, reason="no GROMACS")
def test_stiff_modes_have_the_temperature_of_the_rest(place):
    """Angles of minimised molecules are at 0 K, and few collisions would warm them within a run."""
    campaign = load_campaign(
        write([METHANE], electrostatics="pme", timestep="2 fs", production=960, every=30, equilibration=100)
    )
    item = plan_systems(campaign)[0]
    liquid.simulate(item.parameters, campaign.settings, seed=item.seed, engine="gromacs", folder=place)
    trajectory = open_xtc(place / "trajectory.xtc")
    frames = trajectory.read(np.arange(len(trajectory.time)))
    edge = frames.box[:, 0, 0].astype(float)[:, None, None, None]
    arms = np.diff(frames.position.astype(float).reshape(len(edge), -1, 5, 3)[:, :, [0, 1, 0, 2, 0, 3, 0, 4]], axis=2)
    arms = arms[:, :, ::2] - edge * np.round(arms[:, :, ::2] / edge)
    arms /= np.linalg.norm(arms, axis=-1, keepdims=True)
    first, second = np.triu_indices(4, k=1)
    angle = np.arccos((arms[:, :, first] * arms[:, :, second]).sum(axis=-1))
    energy = (276.144 / 2 * (angle - np.deg2rad(107.8)) ** 2).sum(axis=-1).mean()
    least = 6 * 276.144 / 2 * np.deg2rad(109.4712 - 107.8) ** 2
    assert (energy - least) / (5 / 2 * BOLTZMANN) == pytest.approx(1.05 * 150, rel=0.15)  # of steps of 2 fs, 5 % more


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # OpenMM leaves the file open
@pytest.mark.parametrize("engine", ENGINES)
def test_what_stands_still_is_no_liquid(place, engine):
    if engine == "openmm":
        pytest.importorskip("openmm")
    point = METHANE | {"molecule": "C1", "temperature": "20 K"}
    done = simulate(write([point], engine=engine, electrostatics="none"), jobs=1)
    assert done.failed["tiny_00000"].startswith("frozen: molecules moved by 0.")
    assert not (place / "archive/tiny/tiny_00000/recipe.toml").exists()


@pytest.mark.parametrize(
    ("point", "settings", "reason"),
    [
        ({"molecule": "CH3"}, {}, '"CH3" is not in settings.molecules; did you mean "CH4"'),
        ({"fraction": "50 %"}, {}, "without a solvent"),
        ({"fraction": "120 %"}, {}, "the fraction 1.2 is not between 0 and 1"),
        ({"solvent": "CH4"}, {}, "CH4 in itself"),
        ({"solvent": "water", "fraction": "0.1 %"}, {}, "none would be CH4"),
        ({}, {"dropped": ["CH4"]}, "drops every molecule"),
        ({}, {"cutoff": "1 nm"}, "too small for a cutoff of 1 nm; take more molecules"),
    ],
)
def test_points_that_cannot_be_simulated_are_refused_with_the_reason(place, point, settings, reason):
    campaign = load_campaign(write([METHANE | point, METHANE | {"molecule": "water"}], **settings))
    assert any(reason in found for found in refused_points(campaign))


def test_molecules_that_do_not_go_together_are_named_before_anything_runs(place):
    mixture = METHANE | {"solvent": "C1", "fraction": "50 %"}
    with pytest.raises(InputError, match=r"CH4 has \[ defaults \] 1 3 yes 0.5 0.5, C1 has 1 2 no 1.0 1.0"):
        plan_systems(load_campaign(write([mixture])))
    ion = place / "molecules" / "methane_trappe.itp"
    ion.write_text(UNITED.replace(" 0.0 16.043\n", " 1.0 16.043\n"))
    campaign = load_campaign(write([METHANE | {"molecule": "C1"}, METHANE]))
    assert refused_points(campaign)[0].endswith("the box would have a charge of +60 e")


@pytest.mark.parametrize(
    ("settings", "files", "message"),
    [
        (
            {"dropped": ["ice"]},
            FILES,
            'settings.dropped +found "ice", which is not in settings.molecules; known are C1',
        ),
        ({"constraints": "all"}, FILES, 'settings.constraints +found "all", expected none .+ all-bonds'),
        ({"every": 7}, FILES, "settings.every +found 7, expected a part of production, 20000 steps"),
        ({}, FILES.replace("methane.gro", "water.gro"), "found 5 atoms in its topology and 3 in its geometry"),
        ({}, FILES.replace("methane.gro", "ethane.gro"), "ethane.gro"),
        ({}, FILES.replace("density = 380", "density = 0"), "density"),
    ],
)
def test_wrong_settings_are_named(place, settings, files, message):
    with pytest.raises(InputError, match=message):
        load_campaign(write([METHANE], files=files, **settings))


def test_the_command_says_what_is_wrong_in_one_message(place, capsys):
    path = write([METHANE], files=FILES.replace("methane.gro", "water.gro"))
    assert main(["simulate", str(path), "--dry-run"]) == 2
    said = capsys.readouterr().err
    assert 'CH4.geometry   found "molecules/water.gro"; molecule: found 5 atoms in its topology and 3' in said
    assert len(said) < 400
    assert "Traceback" not in said
