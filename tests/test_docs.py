"""The documents say what is so: commands and blocks run, links lead somewhere, tables are those of the code."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from cgstore.averages.keeping import kept_distributions
from cgstore.averages.spec import load_spec
from cgstore.catalog import open_catalog
from cgstore.cli.app import app, main
from cgstore.demo import _TOUR
from cgstore.ingestion import ingest

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
PAGES += [ROOT / f"{folder}/README.md" for folder in ("ingest", "catalogs", "archive")]
IDS = [page.relative_to(ROOT).as_posix() for page in PAGES]

# Minutes of work, or a fit that takes minutes to make: the words are checked, the commands run in `cgstore demo`.
LONG = ("demo", "train", "validate", "potential")
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(page: Path, language: str) -> list[str]:
    """Return the fenced blocks of a language."""
    return [body for name, body in BLOCK.findall(page.read_text(encoding="utf-8")) if name == language]


def commands(page: Path) -> list[str]:
    """Return every cgstore command: in shell blocks, in transcripts and in indented lines."""
    text = page.read_text(encoding="utf-8")
    fenced = [line for name, body in BLOCK.findall(text) if name in ("sh", "console") for line in body.splitlines()]
    indented = [line[4:] for line in BLOCK.sub("", text).splitlines() if line.startswith("    ")]
    lines = [line.removeprefix("$ ") for line in fenced + indented]
    return [line for line in lines if line.startswith("cgstore ")]


def anchor(heading: str) -> str:
    """Return the anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as a reader has it: archive, recipes and catalogs, and a small store with kept results."""
    folder = tmp_path_factory.mktemp("desk")
    (folder / "archive").symlink_to(ROOT / "archive")
    for name in ("ingest", "catalogs"):
        shutil.copytree(ROOT / name, folder / name)
    recipes = [ROOT / f"ingest/recipes/{name}.toml" for name in ("methane_112k", "methane_130k", "dmpc_303k")]
    ingest(recipes, archive=folder / "archive", store=folder / "store", jobs=2)
    entry = open_catalog(folder / "store")["methane_112k/r1/cg"]
    kept_distributions(entry.path, entry.open(), load_spec(folder / "catalogs/specs/liquid.toml"))
    return folder


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_every_relative_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if "://" in target:
            continue
        path, _, heading = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{page.name}: {target}"
        if heading:
            headings = re.findall(r"^#+ (.*)$", file.read_text(encoding="utf-8"), re.MULTILINE)
            assert heading in map(anchor, headings), f"{page.name}: {target}"


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_every_command_is_one_that_the_command_line_accepts(page: Path) -> None:
    program: Any = typer.main.get_command(app)
    for command in commands(page):
        name, *words = shlex.split(command, comments=True)[1:]
        assert name in program.commands, f"{page.name}: {command}"
        with program.commands[name].make_context(name, words):
            pass


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "sh")], ids=lambda page: page.name)
def test_shell_blocks_run_one_after_the_other(
    page: Path, desk: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(desk)
    monkeypatch.delenv("CGSTORE_STORE", raising=False)
    for body in blocks(page, "toml"):
        if name := re.match(r"# (\w+\.toml)\n", body):
            Path(name[1]).write_text(body)
    for line in "".join(blocks(page, "sh")).splitlines():
        words = shlex.split(line, comments=True)
        if words[:1] == ["cgstore"] and words[1] not in LONG and "--fit" not in words:
            assert main(words[1:]) == 0, f"{line}\n{capsys.readouterr().err}"


@pytest.mark.parametrize(
    "page", [page for page in PAGES if blocks(page, "python")], ids=lambda page: page.as_posix()[-20:]
)
def test_python_blocks_run(page: Path, desk: Path) -> None:
    program = "\n".join(blocks(page, "python"))
    subprocess.run([sys.executable, "-m", "cgstore", "catalog"], cwd=desk, check=True, capture_output=True)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], cwd=desk, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_the_tour_runs_without_a_warning_and_says_what_it_promises(desk: Path) -> None:
    environment = {key: value for key, value in os.environ.items() if key != "CGSTORE_STORE"}
    done = subprocess.run(
        [sys.executable, "-W", "error", ROOT / "docs/examples/tour.py"],
        cwd=desk,
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    for words in (
        "methane_112k/r1 unchanged",
        "area per lipid: 0.6",
        "resumed at the same frames",
        "held out",
        "sound",
    ):
        assert words in done.stdout
    assert (desk / "cgstore-demo/choline_phosphate.png").read_bytes().startswith(b"\x89PNG")


def test_the_table_of_modules_is_that_of_the_code() -> None:
    done = subprocess.run([sys.executable, ROOT / "docs/modules.py", "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_every_page_is_in_the_index() -> None:
    index = (ROOT / "docs/README.md").read_text(encoding="utf-8")
    for page in (ROOT / "docs").glob("*.md"):
        assert page.name == "README.md" or f"({page.name})" in index


def test_the_transcript_of_the_readme_is_of_the_demo() -> None:
    tour = [step.command for step in _TOUR]
    (transcript,) = blocks(ROOT / "README.md", "console")
    shown = [line.removeprefix("$ ") for line in transcript.splitlines() if line.startswith("$ ")]
    assert shown == [command for command in tour if command in shown]


def test_the_readme_opens_with_a_claim_that_one_can_read_at_once() -> None:
    claim = re.search(r"\*\*(.+?)\*\*", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert claim
    assert len(claim[1].split()) <= 25
