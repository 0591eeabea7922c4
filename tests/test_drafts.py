"""Drafts: what is found in a folder, put together to runs, and written so that it can be ingested."""

import shutil
from pathlib import Path

import mdtraj
import numpy as np
import pytest

from cgstore.drafts import draft_recipe
from cgstore.drafts.guesses import guess_kind
from cgstore.errors import InputError
from cgstore.ingestion import ingest
from cgstore.recipe import load_recipe

ROOT = Path(__file__).parent.parent
SYSTEM = ROOT / "tests" / "data" / "topologies"
PARTICLES = 25


def xtc(path: Path, times: list[float], particles: int = PARTICLES) -> Path:
    """Write frames at some times."""
    path.parent.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    with mdtraj.formats.XTCTrajectoryFile(str(path), "w") as file:
        x = random.random((len(times), particles, 3), np.float32)
        box = np.repeat(2 * np.eye(3, dtype=np.float32)[None], len(times), axis=0)
        file.write(x, time=np.array(times, np.float32), step=np.arange(len(times)), box=box)
    return path


def place(folder: Path, *names: str) -> Path:
    """Put topologies of the small system into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        shutil.copy(SYSTEM / name, folder / name)
    return folder


def drafted(folder: Path, tmp_path: Path, **options):  # type: ignore[no-untyped-def]
    """Draft a recipe and load it."""
    draft = draft_recipe(folder, **options)
    file = tmp_path / "drafted.toml"
    file.write_text(draft.text, encoding="utf-8")
    return draft, load_recipe(file)


@pytest.mark.parametrize("name", ["dmpc_303k", "methane_112k"])
def test_the_draft_of_a_shipped_system_says_what_its_recipe_says(name: str, tmp_path: Path) -> None:
    mappings = [ROOT / "ingest" / "mappings"]
    shutil.copytree(mappings[0], tmp_path / "mappings")
    (tmp_path / "recipes").mkdir()
    draft, recipe = drafted(ROOT / "archive" / name, tmp_path / "recipes", archive=ROOT / "archive", mappings=mappings)
    ours = load_recipe(ROOT / "ingest" / "recipes" / f"{name}.toml")
    assert draft.open == ()
    assert recipe.system.name == ours.system.name
    assert recipe.system.kind == ours.system.kind
    assert recipe.system.composition == ours.system.composition
    assert (recipe.system.temperature, recipe.system.pressure, recipe.system.ensemble) == (
        ours.system.temperature, ours.system.pressure, ours.system.ensemble)  # fmt: skip
    assert (recipe.run[0].topology, recipe.run[0].trajectory) == (ours.run[0].topology, ours.run[0].trajectory)
    assert set(recipe.beads) == set(ours.beads)


def test_a_draft_is_ingested_as_it_is(tmp_path: Path) -> None:
    folder = place(tmp_path / "My System (2)", "system.tpr")
    xtc(folder / "traj.xtc", [0, 10, 20])
    draft, recipe = drafted(folder, tmp_path)
    assert recipe.system.name == draft.name == "my_system_2"
    assert recipe.mapping == {"MeOH": "molecule", "SOL": "molecule", "NA": "molecule"}
    (summary,) = ingest(tmp_path / "drafted.toml", archive=folder, store=tmp_path / "store")
    assert (summary.frames, summary.particles) == (3, {"atoms": 25, "cg": 6})
    assert "# 3 frames from 0 to 20 ps, one every 10 ps" in draft.text


def test_parts_are_in_the_order_of_time_and_replicas_are_runs_of_their_own(tmp_path: Path) -> None:
    folder = place(tmp_path / "a", "system.tpr")
    xtc(folder / "traj.part0010.xtc", [30, 40, 50])
    xtc(folder / "traj.part0002.xtc", [20, 30])
    xtc(folder / "traj.xtc", [0, 10, 20])
    for replica in (1, 2, 10):
        xtc(folder / f"rep{replica}" / "md.xtc", [0, 5, 10])
    xtc(folder / "walk1.xtc", [0, 1])
    xtc(folder / "walk2.xtc", [0, 1])
    _, recipe = drafted(folder, tmp_path)
    assert [run.trajectory for run in recipe.run] == [
        ("rep1/md.xtc",),
        ("rep2/md.xtc",),
        ("rep10/md.xtc",),
        ("traj.xtc", "traj.part0002.xtc", "traj.part0010.xtc"),
        ("walk1.xtc",),
        ("walk2.xtc",),
    ]
    assert [run.name for run in recipe.run] == ["r1", "r2", "r3", "r4", "r5", "r6"]
    assert {run.topology for run in recipe.run} == {"system.tpr"}


def test_gaps_between_parts_and_damage_are_said(tmp_path: Path) -> None:
    folder = place(tmp_path / "a", "system.tpr")
    xtc(folder / "traj_1.xtc", [0, 10, 20])
    last = xtc(folder / "traj_2.xtc", [50, 60, 70])
    last.write_bytes(last.read_bytes()[:-7])
    draft, recipe = drafted(folder, tmp_path)
    assert "# nothing between 20 ps (traj_1.xtc) and 50 ps (traj_2.xtc)" in draft.text
    assert recipe.run[0].truncated == "keep"
    assert ingest(tmp_path / "drafted.toml", archive=folder, store=tmp_path / "store")[0].frames == 5


def test_the_topology_that_knows_most_is_taken_and_must_have_as_many_particles(tmp_path: Path) -> None:
    folder = place(tmp_path / "a", "system.gro", "system.prmtop", "system.psf")
    xtc(folder / "a.xtc", [0, 1])
    xtc(folder / "drude.xtc", [0, 1], particles=28)
    xtc(folder / "dry.xtc", [0, 1], particles=12)
    draft, recipe = drafted(folder, tmp_path)
    assert [run.topology for run in recipe.run] == ["system.prmtop"]
    assert any("dry.xtc: it has 12 particles, topologies here have 25, 28" in remark for remark in draft.remarks)
    assert any("drude.xtc: another system (2 MOH, 3 SWM4, 1 SOD)" in remark for remark in draft.remarks)


def test_a_copy_in_another_format_is_left_out(tmp_path: Path) -> None:
    folder = place(tmp_path / "a", "system.tpr", "system.gro")
    xtc(folder / "md.xtc", [0, 1, 2])
    with mdtraj.formats.DCDTrajectoryFile(str(folder / "md.dcd"), "w") as file:
        x = np.random.default_rng(0).random((2, PARTICLES, 3), np.float32)
        file.write(x, np.full((2, 3), 20, np.float32), np.full((2, 3), 90, np.float32))
    draft, recipe = drafted(folder, tmp_path)
    assert [run.trajectory for run in recipe.run] == [("md.xtc",)]
    assert any("md.dcd: taken for a copy of md.xtc" in remark for remark in draft.remarks)


def test_of_two_copies_the_one_with_usable_times_is_taken(tmp_path: Path) -> None:
    folder = place(tmp_path / "a", "system.tpr")
    xtc(folder / "md.xtc", [0, 1])
    text = "".join(f"{PARTICLES}\nframe\n" + "C 1.0 2.0 3.0\n" * PARTICLES for _ in range(3))
    (folder / "md.xyz").write_text(text)
    _, recipe = drafted(folder, tmp_path)
    assert [run.trajectory for run in recipe.run] == [("md.xtc",)]


def test_of_equal_topologies_the_one_that_is_called_like_the_trajectory_is_taken(tmp_path: Path) -> None:
    folder = place(tmp_path / "mixtures", "system.tpr")
    for name in ("10CH3OH-CG", "20CH3OH-CG", "100CH3OH-CG"):
        shutil.copy(folder / "system.tpr", folder / f"{name}.tpr")
        xtc(folder / f"{name}-200.xtc", [0, 10])
    _, recipe = drafted(folder, tmp_path)
    pairs = [(run.topology, run.trajectory[0]) for run in recipe.run]
    assert len(pairs) == 3
    assert all(trajectory == topology.replace(".tpr", "-200.xtc") for topology, trajectory in pairs)


def test_what_is_its_own_topology_needs_no_other_file(tmp_path: Path) -> None:
    folder = place(tmp_path / "a", "system.h5md")
    _, recipe = drafted(folder, tmp_path)
    assert (recipe.run[0].topology, recipe.run[0].trajectory) == ("system.h5md", ("system.h5md",))
    assert ingest(tmp_path / "drafted.toml", archive=folder, store=tmp_path / "store")[0].frames == 1


def test_missing_masses_are_left_open_with_their_names(tmp_path: Path) -> None:
    folder = tmp_path / "martini"
    folder.mkdir()
    rows = "".join(f"{k + 1:5d}W        W{k + 1:5d}   0.100   0.100   0.{k}00\n" for k in range(4))
    (folder / "start.gro").write_text(f"water\n    4\n{rows}   2.0 2.0 2.0\n")
    xtc(folder / "run.xtc", [0, 1], particles=4)
    draft = draft_recipe(folder)
    assert draft.open == ("mass of W",)
    (tmp_path / "a.toml").write_text(draft.text)
    with pytest.raises(InputError, match=r"masses\.W   found '\? u', expected a mass with its unit"):
        load_recipe(tmp_path / "a.toml")
    (tmp_path / "a.toml").write_text(draft.text.replace("? u", "72 u"))
    recipe = load_recipe(tmp_path / "a.toml")
    assert recipe.masses == {"W": 72.0}
    assert recipe.mapping == {"W": "molecule"}


def test_files_without_times_leave_the_interval_open(tmp_path: Path) -> None:
    folder = place(tmp_path / "a", "system.tpr")
    xtc(folder / "a1.xtc", [0, 0, 0])
    xtc(folder / "a2.xtc", [0, 0, 0])
    draft = draft_recipe(folder)
    assert "# 6 frames, 1 steps apart; the files have no usable times" in draft.text
    assert "# check: taken for parts of one run" in draft.text
    assert draft.open == ("interval of run r1",)
    (tmp_path / "a.toml").write_text(draft.text)
    with pytest.raises(InputError, match=r"run\[0\]\.interval   found '\? ps', expected a time"):
        load_recipe(tmp_path / "a.toml")


@pytest.mark.parametrize(
    ("name", "text", "temperature", "pressure", "ensemble"),
    [
        ("md.mdp", "tcoupl = v-rescale\nref-t = 310 310 ; K\npcoupl = c-rescale\nref_p = 1.0 1.0\n", 310, 1, "NPT"),
        ("md.mdp", "integrator = sd\nref_t=298.15\npcoupl = no\nref_p = 1.0\n", 298.15, None, "NVT"),
        ("md.log", "   tcoupl                         = V-rescale\n       ref-t:     300\n", 300, None, "NVT"),
        ("md.mdp", "; ref_t = 300\n", None, None, ""),
        ("md.mdp", "ref_t = warm\n", None, None, ""),
    ],
)
def test_the_state_point_comes_from_the_input_of_the_simulation(
    tmp_path: Path, name: str, text: str, temperature: float | None, pressure: float | None, ensemble: str
) -> None:
    folder = place(tmp_path / "a", "system.tpr")
    xtc(folder / "md.xtc", [0, 1])
    (folder / name).write_text(text)
    (folder / "em.mdp").write_text("integrator = steep\n")
    _, recipe = drafted(folder, tmp_path)
    assert (recipe.system.temperature, recipe.system.pressure, recipe.system.ensemble) == (
        temperature, pressure, ensemble)  # fmt: skip


@pytest.mark.parametrize(
    ("composition", "kind"),
    [
        ({"DMPC": 64, "HOH": 1907}, "bilayer"),
        ({"POPE": 144, "SWM4": 5040}, "bilayer"),
        ({"PC": 120, "CHL": 8, "WAT": 3968}, "bilayer"),
        ({"PA-PC-OL": 64, "WAT": 2000}, "bilayer"),
        ({"AU": 1, "DMPC": 64}, "nanoparticle"),
        ({"POPC": 1, "HOH": 100}, "solution"),
        ({"MET": 64, "SOL": 516}, "solution"),
        ({"CH4": 222}, "liquid"),
        ({"ALA-ALA": 1}, "molecule"),
    ],
)
def test_the_kind_is_guessed_from_the_composition(composition: dict[str, int], kind: str) -> None:
    assert guess_kind(composition) == kind


def test_a_mapping_is_left_to_the_user_where_none_is_known(tmp_path: Path) -> None:
    draft, recipe = drafted(ROOT / "archive" / "dmpc_303k", tmp_path, mappings=[])
    assert recipe.store.levels == ("atoms",)
    assert '# DMPC = "…"' in draft.text


def test_a_folder_without_a_usable_trajectory_is_refused_with_what_was_tried(tmp_path: Path) -> None:
    folder = tmp_path / "a"
    xtc(folder / "a.xtc", [0, 1])
    (folder / "b.dcd").write_bytes(b"nonsense" * 30)
    with pytest.raises(InputError) as caught:
        draft_recipe(folder)
    for said in ("no trajectory with a topology", "a.xtc: it has 25 particles, there is no topology", "b.dcd: "):
        assert said in str(caught.value)
    with pytest.raises(InputError, match="gone: no such folder"):
        draft_recipe(tmp_path / "gone")
    with pytest.raises(InputError, match="outside the archive"):
        draft_recipe(folder, archive=ROOT / "archive")


def test_hidden_files_and_linked_folders_are_passed_over(tmp_path: Path) -> None:
    folder = place(tmp_path / "a", "system.tpr")
    xtc(folder / "a.xtc", [0, 1])
    xtc(folder / ".hidden.xtc", [0, 1])
    xtc(tmp_path / "elsewhere" / "b.xtc", [0, 1])
    (folder / "link").symlink_to(tmp_path / "elsewhere")
    _, recipe = drafted(folder, tmp_path)
    assert [run.trajectory for run in recipe.run] == [("a.xtc",)]


def test_names_that_mean_something_in_toml_arrive_as_they_are(tmp_path: Path) -> None:
    folder = place(tmp_path / "a", "system.tpr")
    xtc(folder / 'it\'s "odd" \\ # [1].xtc', [0, 1])
    _, recipe = drafted(folder, tmp_path)
    assert recipe.run[0].trajectory == ('it\'s "odd" \\ # [1].xtc',)
    assert ingest(tmp_path / "drafted.toml", archive=folder, store=tmp_path / "store")[0].frames == 2
