"""The shipped bilayer in a fit: learned for a moment, and asked about with a free area."""

import math
from pathlib import Path

import pytest

import cgstore
from cgstore.learn.fit import train
from cgstore.learn.potential_file import read_tables
from cgstore.learn.validation import validate

ROOT = Path(__file__).parents[2]

SPLIT = """
gap = "30 ps"
[[train]]
dataset = "dmpc_303k/r1/cg"
stop = "840 ps"
[[heldout]]
dataset = "dmpc_303k/r1/cg"
start = "900 ps"
"""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bilayer") / "store"
    cgstore.ingest(ROOT / "ingest/recipes/dmpc_303k.toml", archive=ROOT / "archive", store=folder)
    return folder


def test_a_bilayer_is_learned_with_a_pressure_in_its_plane_and_validated_with_a_free_area(
    store: Path, tmp_path: Path
) -> None:
    text = (ROOT / "catalogs/fits/dmpc.toml").read_text()
    short = {
        '"../splits/dmpc.toml"': '"split.toml"',
        '"../specs/molecules.toml"': '"spec.toml"',
        'start    = "ibi"': 'start    = "pmf"',
        'duration    = "100 ps"': 'duration    = "4 ps"',
        'equilibrate = "20 ps"': 'equilibrate = "1 ps"',
        'every       = "2 ps"': 'every       = "0.5 ps"',
        "rounds         = 12": "rounds         = 2",
        "steps          = 3": "steps          = 1",
        'equilibrate = "100 ps"': 'equilibrate = "1 ps"',
        'duration    = "400 ps"': 'duration    = "4 ps"',
    }
    for old, new in short.items():
        assert old in text
        text = text.replace(old, new)
    (tmp_path / "fit.toml").write_text(text)
    (tmp_path / "split.toml").write_text(SPLIT)
    (tmp_path / "spec.toml").write_text((ROOT / "catalogs/specs/molecules.toml").read_text())
    fit = train(tmp_path / "fit.toml", store=store, out=tmp_path / "fit")
    log = (fit / "log.csv").read_text().splitlines()
    before, after = (dict(zip(log[0].split(","), row.split(","), strict=True)) for row in log[1:3])
    assert float(after["loss dmpc_303k/r1/cg"]) < float(before["loss dmpc_303k/r1/cg"])
    assert abs(float(after["pressure dmpc_303k/r1/cg"])) < abs(float(before["pressure dmpc_303k/r1/cg"]))
    assert len(read_tables(fit).dihedrals) == 7

    found = validate(fit, store=store)
    assert {row.distribution for row in found.rows} == {"rdf", "bond", "angle", "dihedral", "profile"}
    assert {row.pair for row in found.rows if row.distribution == "profile"} == {"CM", "CT", "GL", "NC3", "PO4"}
    network = {(row.what, row.of): row for row in found.observables if row.model == "network"}
    area = network["area per lipid", ""]
    assert 0.4 < area.value < 0.9
    assert area.error > 0.0  # with a fixed area, that of each replica is the one of its frame
    assert math.isclose(area.reference, 0.637, abs_tol=0.01)
    assert network["pressure in the plane", ""].reference == 0.0
    assert sum(what == "order P2" for what, _ in network) == 9
