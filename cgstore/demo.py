"""The demo: the whole way from raw trajectories to a validated potential, each step a command that really runs.

Every command is run as a user would type it, in a folder of its own, and its answer is shown. All results are keyed
by content, so a demo that was stopped goes on where it was, and one that is repeated finds what it knows.
"""

import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cgstore.errors import CgstoreError, InputError, MissingExtra

__all__ = ["run"]

Say = Callable[[str], None]

_NEEDS = {"MDAnalysis": "ingest", "torch": "learn"}
_DISAGREES = 3  # exit code of `cgstore validate`
_METHANE = "methane_112k/r1/cg methane_130k/r1/cg methane_150k/r1/cg"
_PLAIN_INTAKE = (
    "python -c \"import intake; ds = intake.open_catalog('store/catalog.yaml')['dmpc_303k/r1/cg'].read(); "
    'print(ds.position)"'
)


@dataclass(frozen=True, slots=True)
class _Step:
    """One command of the tour, and the sentence before it."""

    sentence: str
    command: str
    accepted: tuple[int, ...] = (0,)


_TOUR = (
    _Step(
        "Four runs of the archive enter the store, as atoms and as beads.",
        "cgstore ingest ingest/recipes/dmpc_303k.toml ingest/recipes/methane_112k.toml "
        "ingest/recipes/methane_130k.toml ingest/recipes/methane_150k.toml --archive archive --jobs 2",
    ),
    _Step("Every byte is checked against the digests.", "cgstore verify --deep"),
    _Step("What is there.", "cgstore ls"),
    _Step("Facets find it again; a range is closed.", "cgstore search kind=liquid level=cg temperature=110..135"),
    _Step("Distributions with an error on every bin, kept beside the data.", "cgstore distributions dmpc_303k/r1/cg"),
    _Step(
        "A spec asks for more in the same pass: density profile, area, order, tilt, motion.",
        "cgstore distributions dmpc_303k/r1/cg --spec catalogs/specs/bilayer.toml",
    ),
    _Step(
        "What is known of a dataset, and which files it goes back to.",
        "cgstore distributions dmpc_303k/r1/cg --explain",
    ),
    _Step(
        "The training below asks the same, and finds it known.",
        f"cgstore distributions {_METHANE} --spec catalogs/specs/liquid.toml",
    ),
    _Step("Pictures, by suffix.", "cgstore plot dmpc_303k/r1/cg rdf NC3-PO4 -o pictures/dmpc_rdf.svg"),
    _Step("", "cgstore plot dmpc_303k/r1/cg dihedral -o pictures/dmpc_dihedral.png"),
    _Step("", "cgstore plot dmpc_303k/r1/cg profile -o pictures/dmpc_profile.png"),
    _Step("", "cgstore plot methane_130k/r1/cg rdf -o pictures/methane_130k_rdf.png"),
    _Step(
        "A network learns the potential of methane from 112 K and 150 K; no part of it reads 130 K.",
        "cgstore train catalogs/fits/methane.toml -o fits/methane",
    ),
    _Step(
        "What it says about 130 K, and what iterative Boltzmann inversion says.",
        "cgstore validate fits/methane --on heldout",
        accepted=(0, _DISAGREES),
    ),
    _Step(
        "The same about the data it was trained on, to compare.",
        "cgstore validate fits/methane --on train",
        accepted=(0, _DISAGREES),
    ),
    _Step(
        "The potential, for the programs that run it.",
        "cgstore potential fits/methane --to gromacs -o potentials/gromacs",
    ),
    _Step("", "cgstore potential fits/methane --to lammps -o potentials/lammps"),
    _Step("Catalogs for those who do not have cgstore.", "cgstore catalog"),
    _Step("Plain intake opens the store.", _PLAIN_INTAKE),
    _Step("All of it on one page.", "cgstore report -o report --fit fits/methane"),
)
_NEXT = (
    "cgstore show dmpc_303k/r1/cg",
    "cgstore plot dmpc_303k/r1/cg angle -o angles.svg",
    "cgstore ingest MY_RECIPE.toml --archive MY_ARCHIVE     # begin with a copy of ingest/recipes/methane_112k.toml",
)


def run(folder: Path = Path("cgstore-demo"), *, say: Say) -> Path:
    """Take the tour in `folder`.

    Parameters
    ----------
    folder : made when missing; what an earlier tour left there is used again
    say : gets the transcript, piece by piece

    Returns
    -------
    path of the report

    Raises
    ------
    MissingExtra : a package for reading simulation files or for training is not installed
    InputError : the folder is a file, or this installation came without its archive
    CgstoreError : a command failed; it has said why
    """
    for package, extra in _NEEDS.items():
        if importlib.util.find_spec(package) is None:
            raise MissingExtra.of(package, extra=extra, purpose="The demo")
    begin = time.perf_counter()
    _lay_out(Path(folder))
    say(f"$ cd {shlex.quote(str(folder))}")
    for step in _TOUR:
        say(f"\n# {step.sentence}" if step.sentence else "")
        say(f"$ {step.command}")
        _perform(step, Path(folder), say)
    report = Path(folder) / "report" / "index.html"
    say(f"\nDone in {time.perf_counter() - begin:.0f} s. Open {report}, then try, in {folder}:")
    for command in _NEXT:
        say(f"  {command}")
    return report


def _lay_out(folder: Path) -> None:
    """Make the folder of the tour: the archive by reference, recipes and catalogs as copies to play with."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: found a file, expected a folder or nothing")
    source = _shipped()
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "archive").exists():
        try:
            (folder / "archive").symlink_to(source / "archive", target_is_directory=True)
        except OSError:  # a file system without links
            shutil.copytree(source / "archive", folder / "archive")
    for path in _recipes(source):
        target = folder / path.relative_to(source)
        if not target.exists():  # a file that the user has changed stays
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)


def _shipped() -> Path:
    """Return the folder with archive, ingest and catalogs: inside an installed package, or the checkout."""
    package = Path(__file__).resolve().parent
    for source in (package / "shipped", package.parent):
        if (source / "archive").is_dir() and (source / "ingest").is_dir() and (source / "catalogs").is_dir():
            return source
    raise InputError(f"{package}: found no archive beside the package; install cgstore from its wheel or a checkout")


def _recipes(source: Path) -> Iterator[Path]:
    """Yield recipes, mappings, splits, specs and fits."""
    for folder in ("ingest", "catalogs"):
        yield from sorted((source / folder).glob("*/*.toml"))


def _perform(step: _Step, folder: Path, say: Say) -> None:
    """Run one command and pass on what it answers."""
    program, *words = shlex.split(step.command)
    interpreter = [sys.executable, "-m", "cgstore"] if program == "cgstore" else [sys.executable]
    # The commands are written for the store of this folder.
    environment = {name: value for name, value in os.environ.items() if name != "CGSTORE_STORE"}
    with subprocess.Popen(
        [*interpreter, *words], cwd=folder, env=environment, stdout=subprocess.PIPE, text=True, encoding="utf-8"
    ) as process:
        assert process.stdout is not None  # it was asked for
        try:
            for line in process.stdout:
                say(line.rstrip("\n"))
        except BaseException:
            with suppress(subprocess.TimeoutExpired):
                process.wait(5)  # Ctrl-C has reached it, too; it tidies up and says so
            process.terminate()
            raise
    if process.returncode not in step.accepted:
        raise CgstoreError(
            f"demo: `{step.command}` ended with exit code {process.returncode}, see above; "
            "repeat the demo to go on from there"
        )
