"""The demo: every step is a valid command that really runs, goes on where it was, and leaves the user's files alone."""

import importlib.util
import json
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import typer

from cgstore import demo
from cgstore.cli.app import app
from cgstore.errors import CgstoreError, InputError, MissingExtra

INGEST = demo._Step("Enter.", "cgstore ingest ingest/recipes/methane_112k.toml --archive archive")
LS = demo._Step("See.", "cgstore ls --json")


def tour(folder: Path, monkeypatch: pytest.MonkeyPatch, *steps: demo._Step) -> list[str]:
    """Take a tour of a few steps and return its transcript."""
    monkeypatch.setattr(demo, "_TOUR", steps)
    transcript: list[str] = []
    demo.run(folder, say=transcript.append)
    return transcript


def parse(command: str) -> None:
    """Let the command line check a command without running it."""
    program: Any = typer.main.get_command(app)
    name, *words = shlex.split(command, comments=True)[1:]
    with program.commands[name].make_context(name, words):
        pass


@pytest.mark.parametrize("command", [step.command for step in demo._TOUR] + list(demo._NEXT))
def test_every_command_of_the_tour_is_one_that_the_command_line_accepts(command: str) -> None:
    if command.startswith("cgstore"):
        parse(command)
    else:
        assert command.startswith("python -c ")
        compile(shlex.split(command)[2], "tour", "exec")


def test_the_tour_ends_with_three_commands_to_type_next() -> None:
    assert len(demo._NEXT) == 3


def test_each_step_is_printed_as_a_command_and_followed_by_its_real_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CGSTORE_STORE", str(tmp_path / "elsewhere"))
    transcript = tour(tmp_path / "tour", monkeypatch, INGEST, LS)
    assert transcript[0] == f"$ cd {tmp_path / 'tour'}"
    first, second = transcript.index(f"$ {INGEST.command}"), transcript.index(f"$ {LS.command}")
    assert transcript[first + 1].startswith("methane_112k/r1: created, 401 frames")
    end = next(n for n, line in enumerate(transcript) if line.startswith("\nDone in "))
    rows = json.loads("\n".join(transcript[second + 1 : end]))
    assert [row["name"] for row in rows] == ["methane_112k/r1/atoms", "methane_112k/r1/cg"]
    assert (tmp_path / "tour" / "store" / "catalog.yaml").is_file()
    assert not (tmp_path / "elsewhere").exists()


def test_a_repeated_tour_finds_what_it_knows_and_keeps_what_the_user_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tour(tmp_path, monkeypatch, INGEST)
    note = tmp_path / "ingest/recipes/dmpc_303k.toml"
    note.write_text("# mine\n")
    assert any("unchanged" in line for line in tour(tmp_path, monkeypatch, INGEST))
    assert note.read_text() == "# mine\n"


def test_a_failing_command_stops_the_tour_and_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CgstoreError, match="`cgstore show nothing/r1/cg` ended with exit code 2"):
        tour(tmp_path, monkeypatch, demo._Step("", "cgstore show nothing/r1/cg"), LS)


def test_an_exit_code_that_is_an_answer_does_not_stop_the_tour(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    step = demo._Step("", 'python -c "import sys; print(1); sys.exit(3)"', accepted=(0, 3))
    assert "1" in tour(tmp_path, monkeypatch, step)


def test_a_listener_that_fails_ends_the_command_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "_TOUR", (demo._Step("", 'python -uc "import time; print(0); time.sleep(60)"'),))

    def stop(line: str) -> None:
        if line == "0":
            raise KeyboardInterrupt

    begin = time.perf_counter()
    with pytest.raises(KeyboardInterrupt):
        demo.run(tmp_path, say=stop)
    assert time.perf_counter() - begin < 30


def test_a_missing_package_is_one_line_before_anything_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r'The demo needs MDAnalysis.*pip install "cgstore\[ingest\]"'):
        demo.run(tmp_path / "tour", say=print)
    assert not (tmp_path / "tour").exists()


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tour").write_text("")
    with pytest.raises(InputError, match="found a file, expected a folder"):
        demo.run(tmp_path / "tour", say=print)


@pytest.mark.slow
def test_the_whole_tour_leaves_store_pictures_fit_potentials_and_report(tmp_path: Path) -> None:
    begin = time.perf_counter()
    command = [sys.executable, "-m", "cgstore", "demo", "tour"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert time.perf_counter() - begin < 300
    readme = (Path(demo.__file__).parent.parent / "README.md").read_text(encoding="utf-8")
    shown = readme.partition("```console\n")[2].partition("```")[0].splitlines()
    # Seconds differ from machine to machine, and the last digits of what was trained.
    lasting = [line for line in shown if not re.search(r" s$|±", line)]
    assert [line for line in lasting if line not in done.stdout.splitlines()] == []
    folder = tmp_path / "tour"
    assert (folder / "report/index.html").is_file()
    assert {path.suffix for path in (folder / "pictures").iterdir()} == {".svg", ".png"}
    assert list((folder / "potentials").rglob("*.xvg"))
    for place in ("store/catalog.yaml", "catalogs/catalog.yaml", "catalogs/liquid.yaml"):
        assert (folder / place).is_file()
