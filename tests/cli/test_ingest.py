"""`cgstore ingest` on the methane that ships with the project, right and wrong."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from cgstore.cli.app import main

ROOT = Path(__file__).parents[2]
RUN = "methane_112k"


@pytest.fixture
def work(tmp_path, monkeypatch) -> Path:
    """Make a folder with one run of methane, its recipe and its mapping, and be there."""
    for path in ("ingest/recipes/methane_112k.toml", "ingest/mappings/methane_1bead.toml"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / path, tmp_path / path)
    (tmp_path / "archive" / RUN).mkdir(parents=True)
    for name in ("system.tpr", "traj.xtc"):
        shutil.copyfile(ROOT / "archive" / RUN / name, tmp_path / "archive" / RUN / name)
    edit(tmp_path, 'discard    = "100 ps"', 'discard    = "480 ps"')  # leaves a few frames
    monkeypatch.chdir(tmp_path)
    return tmp_path


def edit(work: Path, old: str, new: str, file: str = "ingest/recipes/methane_112k.toml") -> None:
    text = (work / file).read_text()
    assert old in text
    (work / file).write_text(text.replace(old, new))


def ingest(*words: str) -> int:
    return main(["ingest", f"ingest/recipes/{RUN}.toml", "--archive", "archive", *words])


def content(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_ingest_says_what_became_of_each_run_and_the_catalog_follows(work, capsys):
    archive = content(work / "archive")
    assert ingest("--dry-run", "--json") == 0
    planned = json.loads(capsys.readouterr().out)[0]
    assert planned["action"] == "planned"
    assert ingest("--dry-run") == 0
    assert "planned, 21 frames (nothing is written); atoms with 1110 particles" in capsys.readouterr().out
    assert not (work / "store").exists()
    assert ingest("--json") == 0
    made = json.loads(capsys.readouterr().out)[0]
    assert (made["action"], made["new_frames"]) == ("created", planned["frames"])
    assert made["versions"] == {"atoms": 1, "cg": 1}
    assert main(["ls", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [(row["name"], row["particles"]) for row in rows] == [(f"{RUN}/r1/atoms", 1110), (f"{RUN}/r1/cg", 222)]
    assert (work / "store" / "catalog.yaml").is_file()
    assert ingest() == 0
    assert "unchanged" in capsys.readouterr().out
    assert content(work / "archive") == archive  # not even an index beside the trajectory


def truncate(work: Path) -> None:
    path = work / "archive" / RUN / "traj.xtc"
    path.write_bytes(path.read_bytes()[:-1000])


def other_atoms(work: Path) -> None:
    edit(work, f"{RUN}/traj.xtc", "other.xtc")
    shutil.copyfile(ROOT / "archive" / "dmpc_303k" / "traj.xtc", work / "archive" / "other.xtc")


def not_a_number(work: Path) -> None:
    import mdtraj

    position = np.zeros((4, 1110, 3), np.float32)
    position[2, 7] = np.nan
    with mdtraj.formats.TRRTrajectoryFile(str(work / "archive" / "nan.trr"), "w") as file:
        file.write(position, time=np.arange(500, 504, dtype=np.float32), box=np.tile(np.eye(3) * 3, (4, 1, 1)))
    edit(work, f"{RUN}/traj.xtc", "nan.trr")


def junk(work: Path) -> None:
    (work / "archive" / RUN / "traj.xtc").write_bytes(bytes(range(256)) * 40)


DAMAGE = {
    "truncated": (truncate, ["traj.xtc", "500 frames", 'truncated = "keep"']),
    "other atom count": (other_atoms, ["13273", "1110"]),
    "not a number": (not_a_number, ["nan.trr", "frame 2"]),
    "no trajectory": (lambda work: (work / "archive" / RUN / "traj.xtc").unlink(), ["traj.xtc", "no such file"]),
    "no topology": (lambda work: (work / "archive" / RUN / "system.tpr").unlink(), ["system.tpr", "no such file"]),
    "not a trajectory": (junk, ["traj.xtc"]),
    "misspelt key": (lambda work: edit(work, "topology  ", "topolgy  "), ['did you mean "topology"']),
    "no unit": (lambda work: edit(work, '"480 ps"', "480"), ['write for example "20 ps"']),
    "no such atom": (
        lambda work: edit(work, '["C"]', '["C9"]', "ingest/mappings/methane_1bead.toml"),
        ["C9", "did you mean"],
    ),
    "no such mapping": (lambda work: edit(work, "methane_1bead", "methane_2bead"), ["methane_1bead"]),
    "no such kind": (lambda work: edit(work, 'CH4 = "methane_1bead"', 'CH5 = "methane_1bead"'), ["CH5"]),
    "not TOML": (lambda work: edit(work, "[system]", "[system"), ["not a TOML file"]),
    "no recipe": (lambda work: (work / f"ingest/recipes/{RUN}.toml").unlink(), ["no such file"]),
    "no archive": (lambda work: shutil.rmtree(work / "archive"), ["no such folder"]),
}


@pytest.mark.parametrize("name", DAMAGE)
@pytest.mark.parametrize("before", ["an empty store", "a store with the run"])
def test_wrong_input_is_exit_code_2_one_message_and_an_unchanged_store(work, capsys, name, before, once):
    if before == "a store with the run":
        assert once(work / "store", lambda: ingest("--quiet"), before) == 0
    capsys.readouterr()
    stored = content(work / "store")
    damage, words = DAMAGE[name]
    damage(work)
    assert ingest("--json") == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("cgstore: ")
    assert "Traceback" not in captured.err
    for word in words:
        assert word in captured.err
    assert content(work / "store") == stored
