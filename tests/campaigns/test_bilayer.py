"""Bilayers: what a campaign of lipids plans, refuses and brings into a store, with a peptide or without."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from cgstore.averages.membrane import membrane
from cgstore.campaigns import bilayer
from cgstore.campaigns.campaign import load_campaign
from cgstore.campaigns.planning import plan_systems, refused_points
from cgstore.campaigns.simulating import simulate
from cgstore.catalog import open_catalog
from cgstore.documents import toml_value
from cgstore.engines.md import Motion
from cgstore.errors import InputError
from cgstore.frames import Frames
from cgstore.readers.topologies import read_topology
from cgstore.writers.contents import Contents
from cgstore.writers.xtc import write_xtc

CAMPAIGNS = Path(__file__).parents[2] / "ingest" / "campaigns"
DMPC = {"lipid": "DMPC", "temperature": "303 K"}
KALP = {**DMPC, "peptide": "KALP"}
SMALL = {
    "per_leaflet": 9, "water": 15, "equilibration": 100, "production": 640, "every": 20, "cutoff": "0.8 nm",
    "settled": ["energy", "density"],
}  # fmt: skip
LONG = {"settled": ["energy", "density", "area"], "production": 2_560_000, "every": 80_000}  # 10 ns
TABLES = """
[settings.mappings]
DMPC = "dmpc.toml"
[settings.peptides]
KALP = { sequence = "GKKLALALA" }
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Work in a folder with a mapping."""
    shutil.copy(CAMPAIGNS.parent / "mappings" / "dmpc_lipid21_10bead.toml", tmp_path / "dmpc.toml")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CGSTORE_STORE", raising=False)
    return tmp_path


def write(points: list[dict[str, str]], *, tables: str = TABLES, **settings: object) -> Path:
    """Write a campaign."""
    lines = ['[campaign]\nname = "tiny"\nkind = "bilayer"', '[sweep]\nmethod = "list"']
    lines += [f"points = {toml_value(points)}", "[settings]"]
    lines += [f"{key} = {toml_value(value)}" for key, value in {**SMALL, **settings}.items()]
    Path("tiny.toml").write_text("\n".join(lines) + "\n" + tables)
    return Path("tiny.toml")


def trembling(start, folder, conditions):
    """Stand in for an engine: atoms tremble around where they start, the area drifts."""
    topology = read_topology(folder / "system.top")
    frames, random = conditions.frames, np.random.default_rng(conditions.seed)
    time = np.arange(frames) * conditions.every * conditions.timestep
    box = np.broadcast_to(start.box, (frames, 3, 3)) * np.linspace(1, 1.02, frames)[:, None, None] ** [1, 1, 0]
    noise = random.normal(scale=0.003, size=(frames, len(start.name), 3))
    trajectory = Frames(
        position=(start.position + noise).astype(np.float32), time=time,
        step=np.arange(frames) * conditions.every, box=box.astype(np.float32),
    )  # fmt: skip
    contents = Contents(
        title="", topology=topology, element=np.full(len(topology), ""), time=time, step=trajectory.step,
        weight=None, variables=frozenset({"position", "box"}), precision=None,
    )  # fmt: skip
    write_xtc(folder / "trajectory.xtc", contents, [trajectory])
    series = {
        "energy": random.normal(-9e4, 100, frames),
        "temperature": random.normal(conditions.temperature, 3, frames),
        "density": random.normal(1020, 2, frames),
        "area": np.linalg.det(box[:, :2, :2]),
    }
    return Motion(time, series, "no engine")


@pytest.fixture
def quick(monkeypatch):
    """Leave out the simulation itself."""
    pytest.importorskip("openmm")
    starts = []

    def keep(start, folder):
        starts.append(start)
        (folder / "system.top").write_text(start.topology)

    monkeypatch.setattr(bilayer, "write_start", keep)
    monkeypatch.setattr(
        bilayer, "run_md", lambda folder, conditions, *, engine: trembling(starts[-1], folder, conditions)
    )


@pytest.mark.parametrize(("name", "systems"), [("bilayers", [2, 10]), ("lipid_peptide", [1, 6])])
def test_campaigns_that_ship_refuse_no_point(name, systems):
    campaigns = [load_campaign(CAMPAIGNS / f"{name}.toml", size=size) for size in ("small", "full")]
    assert [len(plan_systems(campaign)) for campaign in campaigns] == systems
    assert [refused_points(campaign) for campaign in campaigns] == [[], []]


def test_a_bilayer_becomes_beads_whose_types_lipids_share(place, quick):
    done = simulate(write([DMPC]), jobs=1)
    record = json.loads((place / "archive/tiny/tiny_00000/record.json").read_text())
    assert (done.run, done.failed) == (1, {}), record
    assert record["measured"]["area_settled"] is False
    assert record["measured"]["area_per_lipid_error"] is None  # nobody knows, of 2.6 ps
    dataset = open_catalog("store")["tiny_00000/r1/cg"].open()
    assert set(dataset.type.values) == {"NC3", "PO4", "GL", "CM", "CT"}
    assert set(dataset.molecule_kind.values) == {"DMPC"}
    assert dataset.sizes["particle"] == 18 * 10
    assert float(dataset.mass.sum()) == pytest.approx(18 * 677.9, rel=1e-3)
    assert float(dataset.charge.sum()) == pytest.approx(0, abs=1e-3)
    found = membrane(dataset, head="PO4").compute()
    assert float(found.area_per_lipid) == pytest.approx(record["measured"]["area_per_lipid"], rel=1e-3)
    assert 3 < float(found.thickness) < 4
    entry = open_catalog("store").search(lipid="DMPC", temperature=(300, 305))
    assert len(entry) == 1


def test_a_bilayer_whose_area_drifts_is_marked(place, quick):
    done = simulate(write([DMPC], **LONG), jobs=1)
    assert "drifting" in done.failed["tiny_00000"]
    assert not (place / "archive/tiny/tiny_00000/recipe.toml").exists()


def test_a_peptide_is_one_bead_per_residue(place, quick):
    done = simulate(write([KALP], settled=["energy"], per_leaflet=16), jobs=1)
    assert done.failed == {}
    dataset = open_catalog("store")["tiny_00000/r1/cg"].open()
    peptide = dataset.isel(particle=dataset.molecule_kind.values == "KALP")
    assert " ".join(peptide.residue.values) == "ACE GLY LYS LYS LEU ALA LEU ALA LEU ALA NME"
    assert set(dataset.molecule_kind.values) == {"KALP", "DMPC"}
    assert float(peptide.charge.sum()) == pytest.approx(2, abs=1e-3)


@pytest.mark.parametrize(
    ("point", "message"),
    [
        ({"lipid": "DMPD"}, 'did you mean "DMPC"'),
        ({"lipid": "DLPC"}, "no mapping"),
        ({"peptide": "KALB"}, 'did you mean "KALP"'),
    ],
)
def test_a_point_of_unknown_names_is_refused(point, message, place):
    campaign = load_campaign(write([{**DMPC, **point}]))
    assert message in refused_points(campaign)[0]
    with pytest.raises(InputError, match="every point"):
        plan_systems(campaign)


@pytest.mark.parametrize(
    ("tables", "settings", "message"),
    [
        ('[settings.mappings]\nDMPD = "dmpc.toml"', {}, 'did you mean "DMPC"'),
        ('[settings.mappings]\nDLPC = "dmpc.toml"', {}, 'mapping of "DMPC" for DLPC'),
        ('[settings.mappings]\nDLPC = "tiny.toml"', {}, "found no mapping of DLPC"),
        ('[settings.peptides]\nX = { sequence = "AUA" }', {}, "ACDEFGHIKLMNPQRSTVWY"),
        ('[settings.peptides]\nHOH = { sequence = "AA" }', {}, "another molecule"),
        ('[settings.peptides]\nX = { sequence = "AA", placement = "in" }', {}, "through | surface"),
        ("", {"settled": ["volume"]}, "energy | density | area"),
        ("", {"settled": ["energy", "area"]}, "expected 10000 ps or more"),
        ("", {"levels": ["beads"]}, "atoms | cg"),
        ("", {"every": 7}, "multiple of every"),
        ("", {"per_leaflet": 65}, "64 or less"),
        ("", {"per_leaflet": 5}, "a cutoff of 0.8 nm needs 1.8 nm"),
    ],
)
def test_wrong_settings_are_named(tables, settings, message, place):
    with pytest.raises(InputError) as error:
        load_campaign(write([DMPC], tables=tables, **settings))
    assert message in str(error.value)


@pytest.mark.slow
def test_a_small_bilayer_runs(place):
    pytest.importorskip("openmm")
    done = simulate(write([DMPC], settled=["energy"], production=3200, every=50), jobs=1)
    record = json.loads((place / "archive/tiny/tiny_00000/record.json").read_text())
    assert done.run == 1
    assert not record["failure"].startswith("exploded")
    assert record["measured"]["kinetic_temperature"] == pytest.approx(303, rel=0.05)
    assert 0.4 < record["measured"]["area_per_lipid"] < 0.9
