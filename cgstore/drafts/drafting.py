"""A draft: the recipe of a folder as text, with a comment wherever something was guessed or is open."""

import os
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cgstore.documents import toml_key, toml_value
from cgstore.drafts.finding import find
from cgstore.drafts.grouping import DraftRun, group
from cgstore.drafts.guesses import Conditions, conditions, fitting_mappings, guess_kind, is_small
from cgstore.errors import InputError
from cgstore.topology import Topology

__all__ = ["Draft", "draft_recipe"]

_CHECK = "  # check"


@dataclass(frozen=True, slots=True)
class Draft:
    """A recipe as text, and what is to be known about how it was made."""

    name: str
    text: str
    runs: tuple[str, ...]
    open: tuple[str, ...]  # keys that have to be filled in before the recipe is accepted
    remarks: tuple[str, ...]  # files that are not in it, and why


def draft_recipe(
    folder: Path, *, archive: Path | None = None, mappings: Sequence[Path] = (Path("ingest/mappings"),)
) -> Draft:
    """Draft a recipe from the files of a folder.

    Parameters
    ----------
    folder : of one system; its trajectories, and topologies with as many particles
    archive : folder that the paths in the recipe are relative to; `folder` by default
    mappings : folders with mapping files to choose from

    Returns
    -------
    Draft : where everything needed is in the files, its text is a recipe that can be ingested as it is

    Raises
    ------
    InputError : there is no such folder, it is not in the archive, or has no trajectory with a topology

    Examples
    --------
    >>> draft = draft_recipe(Path("archive/methane_112k"), archive=Path("archive"))
    >>> draft.name, draft.runs, draft.open
    ('methane_112k', ('r1',), ())
    """
    root = folder if archive is None else archive
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; give the one with the files of a simulation")
    if os.path.commonpath([os.path.abspath(root), os.path.abspath(folder)]) != os.path.abspath(root):
        raise InputError(f"{folder}: outside the archive {root}; paths in a recipe are relative to the archive")
    found = find(folder)
    every = group(found)
    if not every:
        reasons = "".join(f"\n  {line}" for line in found.left_out[:10])
        raise InputError(
            f"{folder}: no trajectory with a topology of as many particles; a trajectory such as XTC, DCD or NetCDF "
            f"needs one (tpr, gro, pdb, psf, prmtop, LAMMPS data …) beside it{reasons}"
        )
    runs, remarks = _one_system(every)
    writer = _Writer(root, runs, conditions(found.others, runs[0].parts[0].path), mappings)
    name = _name(folder)
    return Draft(name, writer.text(name), writer.names, tuple(writer.open), (*found.left_out, *remarks))


def _one_system(runs: Sequence[DraftRun]) -> tuple[list[DraftRun], list[str]]:
    """Choose the runs of the composition with the most frames; a recipe is about one system."""
    systems: dict[tuple[tuple[str, int], ...], list[DraftRun]] = defaultdict(list)
    for run in runs:
        systems[tuple(sorted(run.topology.composition.items()))].append(run)
    chosen = max(systems.values(), key=lambda listed: sum(run.frames for run in listed))
    others = [run for run in runs if run not in chosen]
    remarks = [
        f"{run.parts[0].path}: another system ({_composition(run)}); draft it from its own folder" for run in others
    ]
    return chosen, remarks


def _composition(run: DraftRun) -> str:
    """Say what a system consists of in a few words."""
    return ", ".join(f"{count} {kind}" for kind, count in list(run.topology.composition.items())[:6])


def _name(folder: Path) -> str:
    """Make the name of a system of that of a folder."""
    name = re.sub(r"[^a-z0-9]+", "_", folder.resolve().name.lower()).strip("_")
    return name if re.match("[a-z]", name) else f"system_{name}".rstrip("_")


class _Writer:
    """Writes the tables of a recipe, noting what is left open."""

    def __init__(self, root: Path, runs: Sequence[DraftRun], known: Conditions, mappings: Sequence[Path]) -> None:
        self.root, self.runs, self.known, self.mappings = root, runs, known, mappings
        self.names = tuple(f"r{k + 1}" for k in range(len(runs)))
        self.open: list[str] = []

    def text(self, name: str) -> str:
        """Return the recipe."""
        tables = [self._system(name), *map(self._run, self.names, self.runs), self._masses(), self._mapping()]
        head = "# Drafted from the files of a folder; check what says so, and fill in what you know.\n"
        return head + "\n".join(table for table in tables if table)

    def _system(self, name: str) -> str:
        """Write what was simulated."""
        first, known = self.runs[0].topology, self.known
        lines = ["[system]", f"name        = {toml_value(name)}", '# title       = "…"']
        lines.append(f"kind        = {toml_value(guess_kind(first.composition))}{_CHECK}: guessed from the composition")
        lines.append('# forcefield  = "…"')
        if known.temperature is None:
            lines += ['# temperature = "… K"', '# pressure    = "… bar"']
        else:
            lines.append(f'temperature = "{known.temperature:g} K"  # {_comment(known.source)}')
        if known.pressure is not None:
            lines.append(f'pressure    = "{known.pressure:g} bar"  # {_comment(known.source)}')
        if known.ensemble:
            lines.append(f"ensemble    = {toml_value(known.ensemble)}{_CHECK}: from {_comment(known.source)}")
        if len(first.composition) <= 40:
            lines.append(f"composition = {toml_value(first.composition)}")
        return "\n".join(lines) + "\n"

    def _run(self, name: str, run: DraftRun) -> str:
        """Write the files of one simulation."""
        files = [self._relative(part.path) for part in run.parts]
        lines = [
            "[[run]]",
            f"name       = {toml_value(name)}",
            f"topology   = {toml_value(self._relative(run.topology.path))}",
        ]
        listed = toml_value(files) if len(files) == 1 else "[\n" + "".join(f"  {toml_value(f)},\n" for f in files) + "]"
        lines.append(f"trajectory = {listed}")
        lines += [f"# {_comment(gap)}" for gap in run.gaps]
        if run.timed:
            start, end = run.parts[0].time[0], run.parts[-1].time[-1]
            every = f", one every {run.interval:g} ps" if run.interval == run.interval else ""
            lines.append(f"# {run.frames} frame{'s' * (run.frames > 1)} from {start:g} to {end:g} ps{every}")
        else:
            self.open.append(f"interval of run {name}")
            steps = np.unique(np.concatenate([np.diff(part.step) for part in run.parts]))
            apart = f", {steps[0]} steps apart" if len(steps) == 1 else ""
            lines.append(
                f"# {run.frames} frames{apart}; the files have no usable times: state what lies between frames"
            )
            if len(run.parts) > 1:
                lines.append("# check: taken for parts of one run, because their names are alike")
            lines.append('interval   = "? ps"')
        lines.append('# discard  = "0 ps"                 # equilibration, absolute time as in the file')
        if run.flaw:
            lines.append(f'truncated  = "keep"{_CHECK}: {_comment(run.flaw)}')
        if run.topology.units != "real":
            lines.append(f"units      = {toml_value(run.topology.units)}")
        return "\n".join(lines) + "\n"

    def _masses(self) -> str:
        """Leave a place for each mass that no file has."""
        names = sorted({name for run in self.runs for name in run.topology.massless})
        if not names:
            return ""
        self.open += [f"mass of {name}" for name in names]
        lines = ["# No file has these masses. A bead of Martini weighs 72 u, a small one 54 u, a tiny one 36 u."]
        return "\n".join(["[masses]", *lines, *(f'{toml_key(name)} = "? u"' for name in names)]) + "\n"

    def _mapping(self) -> str:
        """Suggest how each kind of molecule becomes beads, as comments where one kind has no suggestion."""
        topology = self.runs[0].topology.topology
        assert topology is not None
        kinds = list(self.runs[0].topology.composition)
        if len(kinds) > 40:
            return ""
        lines = [(kind, *self._suggest(topology, kind)) for kind in kinds]
        complete = all(choice for _, choice, _ in lines)
        width = max(len(toml_key(kind)) for kind in kinds)
        before = "" if complete else "# "
        table = (
            ["[mapping]"]
            if complete
            else ["# [mapping]                         # without it only the atoms are stored"]
        )
        for kind, choice, remark in lines:
            table.append(f"{before}{toml_key(kind):{width}} = {toml_value(choice or '…')}{_CHECK}: {remark}")
        return "\n".join(table) + "\n"

    def _suggest(self, topology: Topology, kind: str) -> tuple[str, str]:
        """Return a mapping, empty when none is known, and what speaks for it."""
        if fitting := fitting_mappings(topology, kind, self.mappings):
            others = f", or {', '.join(fitting[1:])}" if len(fitting) > 1 else ""
            return fitting[0], f"a mapping file that fits{others}"
        if is_small(topology, kind):
            return "molecule", 'one bead; or "drop"'
        return "", 'a mapping file, "residue", "molecule" or "drop"'

    def _relative(self, path: Path) -> str:
        """Return a path as a recipe has it."""
        return Path(os.path.relpath(path, self.root)).as_posix()


def _comment(text: str) -> str:
    """Return text that can stand in a comment."""
    return "".join(one if one.isprintable() else " " for one in text)
