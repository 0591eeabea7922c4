"""Campaigns of nanoparticles: from the file to beads in the store, and particles that fall apart are marked."""

from pathlib import Path

import numpy as np
import pytest

from cgstore.building.immersion import in_water
from cgstore.building.particles import silica_sphere
from cgstore.building.start import Start, write_start
from cgstore.campaigns import nanoparticle
from cgstore.campaigns.campaign import load_campaign
from cgstore.campaigns.cohesion import cohesion
from cgstore.campaigns.nanoparticle import Settings, refused
from cgstore.campaigns.planning import plan_systems
from cgstore.campaigns.simulating import simulate
from cgstore.catalog import open_catalog
from cgstore.engines.conditions import Conditions, Motion
from cgstore.errors import InputError
from cgstore.frames import Frames
from cgstore.readers.text_gro import open_gro
from cgstore.readers.topologies import read_topology
from cgstore.writers.contents import Contents
from cgstore.writers.gro import write_gro
from cgstore.writers.xtc import write_xtc

pytest.importorskip("openmm")

ROOT = Path(__file__).parents[2]
POINT = {"material": "silica", "radius": 0.5, "environment": "water", "temperature": 303.0, "pressure": 1.0}
PARTICLE = silica_sphere(0.5)
SHORT = {"equilibration": 10, "production": 400, "every": 10}

TINY = """\
[campaign]
name = "tiny"
kind = "nanoparticle"

[sweep]
method = "list"
points = [%s]

[settings]
padding = "0.9 nm"
per_leaflet = 20
water = 10
equilibration = 10
production = 400
every = 10
levels = ["atoms", "cg"]

[settings.mappings]
DMPC = "%s"
"""


def write_frames(folder: Path, position: np.ndarray, box: np.ndarray) -> None:
    """Write a trajectory, (frame, atom, xyz), each atom wrapped into the box by itself, as engines do."""
    edges = np.diag(box)
    frames = Frames(
        position=(position - np.floor(position / edges) * edges).astype(np.float32),
        time=np.arange(len(position), dtype=float),
        step=np.arange(len(position)),
        box=np.tile(box, (len(position), 1, 1)).astype(np.float32),
    )
    topology = read_topology(folder / "system.top")
    contents = Contents(
        title="test", topology=topology, element=np.full(len(topology), ""), time=frames.time, step=frames.step,
        weight=None, variables=frozenset({"position", "box"}), precision=None,
    )  # fmt: skip
    write_gro(folder / "system.gro", contents, [frames[:1]])
    write_xtc(folder / "trajectory.xtc", contents, [frames])


def engine_that_shakes(folder: Path, conditions: Conditions, *, engine: str) -> Motion:
    """Stand in for an engine: atoms around their start, half of the box away."""
    random = np.random.default_rng(conditions.seed)
    start = open_gro(folder / "start.gro").read(np.array([0]))
    box = start.box[0].astype(float)
    shaken = start.position + random.normal(0, 0.001, (conditions.frames, *start.position.shape[1:]))
    write_frames(folder, shaken + np.diag(box) / 2, box)
    (folder / "start.gro").unlink()
    kinds = {"energy": (-9e4, 90), "temperature": (303, 4), "pressure": (1, 90), "density": (1000, 3)}
    series = {name: random.normal(*kind, conditions.frames) for name, kind in kinds.items()}
    if conditions.membrane:
        series["area"] = np.full(conditions.frames, box[0, 0] * box[1, 1])
    return Motion(np.arange(conditions.frames) * 0.04, series, f"shaker for {engine}")


def test_particles_become_atoms_and_beads_in_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(nanoparticle, "run_md", engine_that_shakes)
    points = [f'{{ environment = "{place}", radius = "0.5 nm", temperature = "303 K" }}' for place in ("water", "DMPC")]
    mapping = ROOT / "ingest/mappings/dmpc_lipid21_10bead.toml"
    (tmp_path / "dmpc.toml").write_text(mapping.read_text(encoding="utf-8"), encoding="utf-8")
    (tmp_path / "tiny.toml").write_text(TINY % (", ".join(points), "dmpc.toml"))
    done = simulate("tiny.toml", jobs=1)
    assert (done.run, done.failed, done.ingested) == (2, {}, 2)
    catalog = open_catalog("store").search(kind="nanoparticle", material="silica", radius=(0.4, 0.6))
    wet, lipids = (catalog[f"tiny_0000{k}/r1/cg"].open() for k in (0, 1))
    groups = PARTICLE.group[PARTICLE.role == "silicon"]
    assert wet["name"].values.tolist() == groups.tolist()
    assert wet["molecule_kind"].values.tolist() == ["SILICA"] * len(groups)
    inner = groups == "SQ4"
    np.testing.assert_allclose(wet["mass"].values[inner], 28.0855 + 2 * 15.9994, rtol=1e-6)
    np.testing.assert_allclose(wet["charge"].values[inner], 0, atol=1e-6)
    # Whole, though the box cut it: beads are where their groups are.
    beads = wet["position"].values[0]
    centre = [PARTICLE.position[PARTICLE.group_id == k + 1].mean(axis=0) for k in range(len(groups))]
    spread = np.linalg.norm(beads - beads.mean(0), axis=1) - np.linalg.norm(centre - np.mean(centre, 0), axis=1)
    assert np.abs(spread).max() < 0.05
    kinds, counts = np.unique(lipids["molecule_kind"].values, return_counts=True)
    assert dict(zip(kinds.tolist(), counts.tolist(), strict=True)) == {"DMPC": 400, "SILICA": len(groups)}
    atoms = catalog["tiny_00001/r1/atoms"].open()
    assert atoms.attrs["composition"]["DMPC"] == 40
    assert abs(float(atoms["charge"].sum())) < 1e-3
    assert lipids.attrs["forcefield"] == "CLAYFF, Lipid21, TIP3P"


def drifted(start: Start, far: float) -> np.ndarray:
    """Return two frames; in the second the silicon and oxygen of the last group are far away."""
    moved = start.position.copy()
    moved[start.residue_id == PARTICLE.group_id.max()] += [0, 0, far]
    return np.stack([start.position, moved])


@pytest.mark.parametrize(("far", "failure"), [(0.02, ""), (1.0, "dissolved: the particle is in 2 pieces")])
def test_a_particle_that_falls_apart_is_marked(tmp_path: Path, far: float, failure: str) -> None:
    start = in_water(PARTICLE, padding=0.9)
    write_start(start, tmp_path)
    write_frames(tmp_path, drifted(start, far), start.box)
    measured, found = cohesion(tmp_path, PARTICLE, discard=0.0)
    assert found == failure
    assert (measured["broken_links"] > 0) == bool(failure)
    # In the first frame the links have the lengths of quartz.
    first, _ = cohesion(tmp_path, PARTICLE, discard=0.0) if failure == "" else ({"silicon_oxygen": 0.161}, "")
    assert first["silicon_oxygen"] == pytest.approx(0.161, abs=3e-3)


def test_size_and_contacts_are_those_of_the_frames(tmp_path: Path) -> None:
    start = in_water(PARTICLE, padding=0.9)
    write_start(start, tmp_path)
    text = (tmp_path / "system.top").read_text()
    # Two of the waters are lipids of one site, 0.3 and 0.6 nm above the top of the particle.
    lipid = "[ moleculetype ]\nDMPC 1\n\n[ atoms ]\n1 SPC_O 1 DMPC P 1 0.0 31.0\n\n[ system ]"
    waters = (len(start.name) - len(PARTICLE.name)) // 3
    text = text.replace("[ system ]", lipid).replace(f"HOH {waters}\n", "DMPC 2\n")
    (tmp_path / "system.top").write_text(text)
    solid = start.position[: len(PARTICLE.name)]
    top = solid[solid[:, 2].argmax()]
    frame = np.concatenate([solid, top + np.array([[0, 0, 0.3], [0, 0, 0.6]])])
    write_frames(tmp_path, np.tile(frame, (3, 1, 1)), start.box)
    measured, failure = cohesion(tmp_path, PARTICLE, discard=0.0)
    assert failure == ""
    assert measured["nearest_lipid"] == pytest.approx(0.3, abs=2e-3)
    assert measured["touching_lipids"] == 1
    mass = read_topology(tmp_path / "system.top").mass[: len(solid)]
    centre = np.average(solid, axis=0, weights=mass)
    expected = np.average(((solid - centre) ** 2).sum(axis=1), weights=mass) ** 0.5
    assert measured["radius_of_gyration"] == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"material": "gold"}, 'the material "gold"'),
        ({"environment": "DMPD"}, 'the environment "DMPD"'),
        ({"radius": 0.4}, "at least 0.5 nm"),
        ({"environment": "DMPC"}, "no mapping"),
    ],
)
def test_what_cannot_be_built_is_refused(change: dict[str, object], reason: str) -> None:
    assert refused(POINT, Settings()) == ""
    assert reason in refused({**POINT, **change}, Settings())


def test_settings_are_checked_before_anything_is_run(tmp_path: Path) -> None:
    wrong = TINY.replace("every = 10", "every = 7").replace('"0.9 nm"', '"0.1 nm"') % ("{}", "missing.toml")
    (tmp_path / "tiny.toml").write_text(wrong)
    with pytest.raises(InputError, match=r"(?s)missing.*padding|padding.*missing"):
        load_campaign(tmp_path / "tiny.toml")


def test_the_shipped_campaign_is_planned() -> None:
    file = ROOT / "ingest/campaigns/nanoparticle.toml"
    small = plan_systems(load_campaign(file, size="small"))
    assert {item.parameters["environment"] for item in small} == {"water", "DMPC"}
    assert len(plan_systems(load_campaign(file, size="full"))) == 6


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["gromacs", "openmm"])
def test_an_engine_keeps_a_particle_whole(tmp_path: Path, engine: str) -> None:
    settings = Settings.model_validate({**SHORT, "padding": "0.9 nm", "cutoff": "0.8 nm", "equilibration": 1000})
    outcome = nanoparticle.simulate(POINT, settings, seed=1, engine=engine, folder=tmp_path)
    assert not outcome.failure.startswith(("exploded", "dissolved"))
    assert outcome.measured["broken_links"] == 0
    assert outcome.measured["silicon_oxygen"] == pytest.approx(0.158, abs=0.003)
    assert outcome.measured["kinetic_temperature"] == pytest.approx(303, rel=0.05)
