"""Ingest: what becomes of a run that is new, unchanged, grown, changed, damaged or interrupted."""

import shutil
from pathlib import Path

import numpy as np
import pytest

import cgstore
from cgstore.errors import InputError
from cgstore.store.integrity import list_versions, read_manifest, version_folder

ROOT = Path(__file__).parents[1]
RUN = "methane_112k/r1"


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A folder with an archive of 60 frames of methane, its recipe and mapping."""
    source = ROOT / "archive/methane_112k"
    (tmp_path / "archive/methane_112k").mkdir(parents=True)
    shutil.copy(source / "system.tpr", tmp_path / "archive/methane_112k")
    (tmp_path / "ingest/recipes").mkdir(parents=True)
    shutil.copytree(ROOT / "ingest/mappings", tmp_path / "ingest/mappings")
    recipe = (ROOT / "ingest/recipes/methane_112k.toml").read_text()
    (tmp_path / "ingest/recipes/methane_112k.toml").write_text(
        recipe.replace('"100 ps"', '"0 ps"').replace("stride     = 1", "stride = 2")
    )
    write_frames(tmp_path, 60)
    return tmp_path


def shipped_frames(system: str) -> tuple[bytes, list[int]]:
    """Return the shipped trajectory and where its frames begin: 92 bytes of header, the last 4 the payload's length."""
    data, offsets = (ROOT / f"archive/{system}/traj.xtc").read_bytes(), [0]
    while offsets[-1] < len(data):
        length = int.from_bytes(data[offsets[-1] + 88 : offsets[-1] + 92], "big")
        offsets.append(offsets[-1] + 92 + (length + 3) // 4 * 4)
    return data, offsets


def write_frames(work: Path, frames: int, *, extra: bytes = b"") -> None:
    """Make the trajectory the first frames of the shipped one, byte for byte."""
    data, offset = shipped_frames("methane_112k")
    (work / "archive/methane_112k/traj.xtc").write_bytes(data[: offset[frames]] + extra)


def edit_recipe(work: Path, old: str, new: str) -> None:
    path = work / "ingest/recipes/methane_112k.toml"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def ingest(work: Path, store: str = "store", **options):
    return cgstore.ingest(
        work / "ingest/recipes/methane_112k.toml", archive=work / "archive", store=work / store, **options
    )[0]


def snapshot(folder: Path) -> dict[str, bytes]:
    """Return all files but the index, which notes when it was made."""
    files = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in files.items() if name != "index.json"}


def digest(work: Path, store: str = "store", level: str = "cg") -> str:
    dataset = work / store / RUN / level
    return read_manifest(version_folder(dataset, list_versions(dataset)[-1])).digest


def test_a_new_run_becomes_version_one_of_each_level(work):
    summary = ingest(work)
    assert (summary.action, summary.frames, summary.new_frames) == ("created", 30, 30)
    assert summary.particles == {"atoms": 1110, "cg": 222}
    assert summary.versions == {"atoms": 1, "cg": 1}
    assert cgstore.verify(work / "store", deep=True) == []
    catalog = cgstore.open_catalog(work / "store")
    atoms, beads = (catalog[f"{RUN}/{level}"].open() for level in ("atoms", "cg"))
    np.testing.assert_array_equal(atoms.time, np.arange(0, 60, 2.0))
    assert beads.attrs["composition"] == {"CH4": 222}
    assert beads.attrs["sources"][0]["path"] == "methane_112k/traj.xtc"
    # Every bead lies at the centre of mass of its own five atoms, to the grid of 0.001 nm. Molecules of the source
    # may be broken across the box, so the atoms are put beside their carbon first.
    position = atoms.position.values[3].astype(float).reshape(222, 5, 3)
    edge = np.diag(atoms.box.values[3]).astype(float)
    mass = atoms.mass.values.reshape(222, 5, 1)
    apart = position - position[:, :1]
    centre = position[:, 0] + ((apart - edge * np.rint(apart / edge)) * mass).sum(1) / mass.sum(1)
    assert np.abs(beads.position.values[3] - centre).max() < 0.00051


def test_an_unchanged_run_makes_no_version(work):
    ingest(work)
    before = snapshot(work / "store")
    summary = ingest(work)
    assert (summary.action, summary.new_frames, summary.versions) == ("unchanged", 0, {"atoms": 1, "cg": 1})
    assert snapshot(work / "store") == before


def test_a_grown_trajectory_is_continued_and_equals_one_go(work):
    ingest(work)
    first = digest(work)
    write_frames(work, 90)
    summary = ingest(work)
    assert (summary.action, summary.frames, summary.new_frames) == ("appended", 45, 15)
    ingest(work, "fresh")
    for level in ("atoms", "cg"):
        assert digest(work, level=level) == digest(work, "fresh", level)
    assert digest(work) != first
    old = cgstore.open_catalog(work / "store")[f"{RUN}/cg"].open(version=1)
    assert old.sizes["frame"] == 30
    assert cgstore.verify(work / "store", deep=True) == []


def test_a_second_part_is_appended_and_frames_at_the_seam_are_dropped(work):
    ingest(work)
    data, offset = shipped_frames("methane_112k")
    (work / "archive/methane_112k/traj.part2.xtc").write_bytes(data[offset[55] : offset[80]])
    edit_recipe(work, '["methane_112k/traj.xtc"]', '["methane_112k/traj.xtc", "methane_112k/traj.part2.xtc"]')
    assert ingest(work).action == "appended"
    write_frames(work, 80)
    edit_recipe(work, '["methane_112k/traj.xtc", "methane_112k/traj.part2.xtc"]', '["methane_112k/traj.xtc"]')
    ingest(work, "fresh")
    assert digest(work) == digest(work, "fresh")


@pytest.mark.parametrize(
    ("old", "new"), [("stride = 2", "stride = 3"), ('"0.001 nm"', '"0.01 nm"'), ('"0 ps"', '"7 ps"')]
)
def test_another_selection_or_precision_makes_the_version_anew(work, old, new):
    ingest(work)
    edit_recipe(work, old, new)
    summary = ingest(work)
    assert summary.action == "rebuilt"
    assert "changed" in summary.reason
    ingest(work, "fresh")
    assert digest(work) == digest(work, "fresh")


def test_another_mapping_rebuilds_the_beads_and_leaves_the_atoms(work):
    ingest(work)
    mapping = work / "ingest/mappings/methane_1bead.toml"
    mapping.write_text(mapping.read_text().replace('weight    = "mass"', 'weight    = "equal"'))
    summary = ingest(work)
    assert summary.action == "rebuilt"
    assert summary.reason.startswith("cg:")
    assert list_versions(work / "store" / RUN / "cg") == [1, 2]


def test_rewritten_frames_are_noticed(work):
    ingest(work)
    path = work / "archive/methane_112k/traj.xtc"
    data, offset = shipped_frames("methane_130k")
    path.write_bytes(data[: offset[90]])
    assert ingest(work).action == "rebuilt"


def test_another_title_is_a_new_version_with_the_same_digest(work):
    ingest(work)
    before = digest(work)
    edit_recipe(work, 'title       = "', 'title       = "The ')
    summary = ingest(work)
    assert (summary.action, summary.new_frames, summary.versions["cg"]) == ("described", 0, 2)
    assert digest(work) == before


def test_a_dry_run_writes_nothing(work):
    summary = ingest(work, dry_run=True)
    assert (summary.action, summary.frames, summary.particles["cg"]) == ("planned", 30, 222)
    assert not (work / "store").exists()


def test_an_interrupted_ingest_leaves_the_store_as_it_was(work, monkeypatch):
    ingest(work)
    before = snapshot(work / "store")
    write_frames(work, 200)
    monkeypatch.setattr("cgstore.copying.BLOCK_BYTES", 12 * 1110 * 10)

    def stop_early(name: str, done: int, total: int) -> None:
        if done > 60:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ingest(work, progress=stop_early)
    assert snapshot(work / "store") == before
    assert ingest(work).frames == 100
    ingest(work, "fresh")
    assert digest(work) == digest(work, "fresh")


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda work: write_frames(work, 80, extra=b"\x00\x00\x07\xcb\x00\x00\x04\x56"), "80 frames before the damage"),
        (lambda work: (work / "archive/methane_112k/traj.xtc").unlink(), "no such file"),
        (lambda work: (work / "archive/methane_112k/system.tpr").unlink(), "no such file"),
        (lambda work: edit_recipe(work, '"0 ps"', '"1 ns"'), "no frame is left"),
        (lambda work: edit_recipe(work, "CH4 = 222", "CH4 = 221"), "the topology has 222"),
        (
            lambda work: shutil.copy(
                ROOT / "archive/dmpc_303k/traj.xtc", work / "archive/methane_112k/traj.xtc"
            ),
            "13273",
        ),
    ],
)  # fmt: skip
def test_wrong_input_is_one_message_and_an_unchanged_store(work, damage, said):
    ingest(work)
    before = snapshot(work / "store")
    damage(work)
    with pytest.raises(InputError, match=said):
        ingest(work)
    assert snapshot(work / "store") == before


def test_the_composition_is_checked_without_a_mapping_too(work):
    edit_recipe(work, '[mapping]\nCH4 = "methane_1bead"', "")
    edit_recipe(work, 'levels    = ["atoms", "cg"]', 'levels = ["atoms"]')
    assert ingest(work).versions == {"atoms": 1}
    edit_recipe(work, "CH4 = 222", "CH4 = 7")
    with pytest.raises(InputError, match="composition"):
        ingest(work)


def test_two_recipes_of_one_run_are_refused(work):
    recipe = work / "ingest/recipes/methane_112k.toml"
    with pytest.raises(InputError, match="more than one"):
        cgstore.ingest([recipe, recipe], archive=work / "archive", store=work / "store")


def test_jobs_and_a_dask_cluster_give_what_one_thread_gives(work):
    distributed = pytest.importorskip("distributed")
    recipes = []
    for name in ("methane_a", "methane_b"):
        recipe = (work / "ingest/recipes/methane_112k.toml").read_text().replace('"methane_112k"', f'"{name}"')
        recipes.append(work / f"ingest/recipes/{name}.toml")
        recipes[-1].write_text(recipe)
    serial = cgstore.ingest(recipes, archive=work / "archive", store=work / "serial")
    threads = cgstore.ingest(recipes, archive=work / "archive", store=work / "threads", jobs=2)
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None, protocol="inproc"
    ) as cluster:
        address = cluster.scheduler_address
        cluster_made = cgstore.ingest(recipes, archive=work / "archive", store=work / "cluster", scheduler=address)
    assert [s.run for s in serial] == [s.run for s in threads] == [s.run for s in cluster_made]
    rows = [{row["name"]: row["digest"] for row in cgstore.open_catalog(work / name).rows()}
            for name in ("serial", "threads", "cluster")]  # fmt: skip
    assert len(rows[0]) == 4
    assert rows[0] == rows[1] == rows[2]


def test_beads_are_the_same_when_the_atoms_are_not_stored(work):
    ingest(work)
    edit_recipe(work, '["atoms", "cg"]', '["cg"]')
    ingest(work, "beads")
    assert digest(work, "beads") == digest(work)


def test_the_profile_small_takes_fewer_bytes_and_has_the_same_content(work):
    write_frames(work, 200)
    ingest(work)
    edit_recipe(work, "[store]", '[store]\nprofile = "small"')
    ingest(work, "small")
    sizes = [
        sum(path.stat().st_size for path in (work / store / RUN / "cg").glob("v*/position/c/*/*/*"))
        for store in ("small", "store")
    ]
    assert sizes[0] < 0.93 * sizes[1]
    for level in ("atoms", "cg"):
        assert digest(work, "small", level) == digest(work, level=level)
    assert cgstore.verify(work / "small", deep=True) == []


def test_masses_an_end_and_a_stride_of_the_recipe_are_used(work):
    edit_recipe(work, "[store]", '[masses]\nC = "100 u"\n[store]')
    edit_recipe(work, "stride = 2", 'stride = 2\nuntil = "20 ps"')
    assert ingest(work).frames == 11
    atoms = cgstore.open_catalog(work / "store")[f"{RUN}/atoms"].open()
    assert atoms.time.values.max() == 20.0
    assert set(atoms.mass.values[np.asarray(atoms.name) == "C"]) == {100.0}


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("[store]", '[store]\nprofile = "small"', "atoms: the profile changed; cg: the profile changed"),
        ("[store]", '[store]\nprecision = "0.01 nm"', "atoms: the precision changed; cg: the precision changed"),
        ("[store]", "[store]\ncopy = false", "atoms: whether atoms are copied changed"),
        ("stride = 2", "stride = 3", "the selection of frames, units, masses or guessed bonds changed"),
    ],
)
def test_what_made_a_version_anew_is_named(work, old, new, reason):
    edit_recipe(work, 'precision = "0.001 nm"\n', "")
    ingest(work)
    edit_recipe(work, old, new)
    summary = ingest(work)
    assert summary.action == "rebuilt"
    assert reason in summary.reason


def test_a_level_that_is_added_to_a_run_is_new(work):
    edit_recipe(work, '["atoms", "cg"]', '["atoms"]')
    ingest(work)
    edit_recipe(work, '["atoms"]', '["atoms", "cg"]')
    summary = ingest(work)
    assert (summary.action, summary.reason) == ("created", "cg: new")
