"""FAIRMD Lipids: the README.yaml of an entry of the databank (NMRlipids) as a recipe.

The databank discards frames whose time in the file is below TIMELEFTOUT, so that is `discard`. PREEQTIME, what was
simulated before the trajectory begins, is kept as a parameter: it is not part of the files.
"""

import os
import re
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from cgstore.documents import toml_key, toml_value
from cgstore.errors import CgstoreError, InputError
from cgstore.mapping import composition_of
from cgstore.plain_files import open_plain
from cgstore.readers.topologies import read_topology

__all__ = ["Imported", "import_fairmd"]

_LARGEST = 2**18  # bytes of a README.yaml
_TOPOLOGIES = ("TPR", "PSF", "AMBERTOP", "PDB", "GRO")  # by how much they know
_SOLVENTS = ("SOL", "SOD", "CLA", "POT", "CAL", "CES")  # universal names of water and ions
_PROGRAMS = {"gromacs": "GROMACS", "openmm": "OpenMM", "namd": "NAMD", "amber": "Amber", "lammps": "LAMMPS"}


@dataclass(frozen=True, slots=True)
class Imported:
    """A recipe as text, and what has to be checked in it."""

    name: str
    text: str
    remarks: tuple[str, ...]


def import_fairmd(path: Path, *, archive: Path | None = None) -> Imported:
    """Turn the README.yaml of an entry into a recipe.

    Parameters
    ----------
    path : README.yaml, with the files it names beside it, now or later
    archive : folder that the paths in the recipe are relative to; that of the README by default

    Returns
    -------
    Imported : the composition is that of the topology where the file is there, else that of the README

    Raises
    ------
    InputError : it is no README.yaml of the databank, or names files outside its folder
    """
    readme = _load(path)
    root = path.parent if archive is None else archive
    folder = PurePosixPath(Path(os.path.relpath(path.parent, root)).as_posix())
    if ".." in folder.parts or folder.is_absolute():
        raise InputError(f"{path}: outside the archive {root}; paths in a recipe are relative to the archive")
    topology = next((name for key in _TOPOLOGIES for name in _files(readme, key, path)), "")
    trajectory = _files(readme, "TRJ", path)
    if not topology or not trajectory:
        what = "TRJ" if topology else " or ".join(_TOPOLOGIES)
        raise InputError(f"{path}: it names no file as {what}; is it the README.yaml of a FAIRMD Lipids entry?")
    remarks: list[str] = []
    name = _name(_text(readme, "SYSTEM") or path.parent.name)
    tables = [
        _system(readme, name, _composition(readme, path, path.parent / topology, remarks)),
        _run(readme, str(folder / topology), [str(folder / one) for one in trajectory], path),
        _mapping(readme),
    ]
    if topology.lower().endswith((".gro", ".pdb")):
        remarks.append(f"{topology} has no masses; if cgstore cannot be certain of them, state them in [masses]")
    return Imported(name, "# From the README.yaml of a FAIRMD Lipids entry.\n" + "\n".join(tables), tuple(remarks))


def _load(path: Path) -> Mapping[str, Any]:
    """Read plain data from YAML that may come from anywhere: no objects, no large or endless files."""
    import yaml

    try:
        with open_plain(path) as file:
            content = file.read(_LARGEST + 1)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    if len(content) > _LARGEST:
        raise InputError(f"{path}: larger than {_LARGEST // 1024} kB; is it a README.yaml?")
    try:
        readme = yaml.safe_load(content)
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: not a YAML file: {str(error)[:300]}") from error
    if not isinstance(readme, dict) or not isinstance(readme.get("COMPOSITION"), dict):
        raise InputError(f"{path}: it has no table COMPOSITION; is it the README.yaml of a FAIRMD Lipids entry?")
    return readme


def _text(readme: Mapping[str, Any], key: str) -> str:
    """Return a single value as one line of text, empty when there is none."""
    value = readme.get(key)
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return ""
    return " ".join(str(value).split())[:1000]


def _number(readme: Mapping[str, Any], key: str, path: Path) -> float | None:
    """Return a number, None when there is none."""
    text = _text(readme, key)
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not abs(value) < 1e12:
        raise InputError(f"{path}: {key}   found {text!r}, expected a number")
    return value


def _files(readme: Mapping[str, Any], key: str, path: Path) -> list[str]:
    """Return the file names under a key: a name, a list of names, or a list of lists that begin with a name."""
    value = readme.get(key)
    listed = value if isinstance(value, list) else [value]
    names = [one[0] if isinstance(one, list) and one else one for one in listed]
    found = [name.strip() for name in names if isinstance(name, str) and name.strip()]
    for name in found:
        pure = PurePosixPath(name)
        if pure.is_absolute() or ".." in pure.parts or not name.isprintable():
            raise InputError(f"{path}: {key}   found {name!r}, expected the name of a file in the same folder")
    return found


def _name(text: str) -> str:
    """Make the name of a system."""
    return "fairmd_" + (re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")[:60] or "system")


def _molecules(readme: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return the entries of COMPOSITION by universal name."""
    return {str(key): value for key, value in readme["COMPOSITION"].items() if isinstance(value, dict)}


def _composition(readme: Mapping[str, Any], path: Path, topology: Path, remarks: list[str]) -> dict[str, int]:
    """Return the molecules of each kind: those of the topology if it can be read, else those that the README states."""
    stated: dict[str, int] = {}
    for universal, entry in _molecules(readme).items():
        count = entry.get("COUNT", 0)
        counts = count if isinstance(count, list) else [count]  # a lipid is counted in each leaflet
        if not all(isinstance(one, int) and not isinstance(one, bool) and 0 <= one < 10**9 for one in counts):
            shown = reprlib.repr(count)  # a list of aliases may be endless when it is written out
            raise InputError(f"{path}: COMPOSITION.{universal}.COUNT   found {shown}, expected whole numbers")
        kind = _text(entry, "NAME") or universal
        if sum(counts):
            stated[kind] = stated.get(kind, 0) + sum(counts)
    if not topology.is_file():
        remarks.append(f"{topology.name} is not beside it: whether the composition fits is seen when it is ingested")
        return stated
    try:
        found = composition_of(read_topology(topology))
    except CgstoreError as error:
        remarks.append(str(error))
        return stated
    if found != stated:
        remarks.append(f"the composition is that of {topology.name}; the README says {toml_value(stated)}")
    return found


def _system(readme: Mapping[str, Any], name: str, composition: Mapping[str, int]) -> str:
    """Write what was simulated."""
    of_type = _text(readme, "TYPEOFSYSTEM")
    kind = '"bilayer"' if "bilayer" in of_type else f'"bilayer"  # check: the README says {of_type or "nothing"}'
    temperature = _text(readme, "TEMPERATURE")
    program = _text(readme, "SOFTWARE")
    software = f"{_PROGRAMS.get(program.lower(), program)} {_text(readme, 'SOFTWARE_VERSION')}".strip()
    doi = _text(readme, "DOI")
    others = [f"{key} {_text(readme, 'FF' + key)}" for key in _molecules(readme) if _text(readme, "FF" + key)]
    known = {
        "title": _text(readme, "SYSTEM"),
        "forcefield": "; ".join([text for text in (_text(readme, "FF"), ", ".join(others)) if text]),
        "temperature": f"{float(temperature):g} K" if re.fullmatch(r"\d+(\.\d*)?", temperature) else "",
        "composition": dict(composition),
        "software": software,
        "doi": doi if doi.startswith("10.") else "",
        "authors": [author] if (author := _text(readme, "AUTHORS_CONTACT")) else [],
        "tags": ["FAIRMD Lipids", *(["united atom"] if readme.get("UNITEDATOM_DICT") else [])],
    }
    lines = ["[system]", f"name        = {toml_value(name)}", f"kind        = {kind}"]
    lines += [f"{key:11} = {toml_value(value)}" for key, value in known.items() if value]
    lines += ["[system.parameters]"]
    lines += [f"{toml_key(key)} = {toml_value(value)}" for key, value in _parameters(readme).items() if value]
    return "\n".join(lines) + "\n"


def _parameters(readme: Mapping[str, Any]) -> dict[str, str | int]:
    """Return what recipes have no key for: ids, sources, times, and the NMRlipids names and mapping files."""
    plain = {
        "forcefield_source": "FF_SOURCE",
        "forcefield_date": "FF_DATE",
        "publication": "PUBLICATION",
        "date_of_running": "DATEOFRUNNING",
    }
    number = readme.get("ID")
    known: dict[str, str | int] = {"fairmd_id": number if isinstance(number, int) else ""}
    known |= {ours: _text(readme, theirs) for ours, theirs in plain.items()}
    before = _text(readme, "PREEQTIME")
    known["simulated_before"] = f"{before} ns" if before not in ("", "0") else ""
    for universal, entry in _molecules(readme).items():
        known[f"nmrlipids_name_{universal}"] = _text(entry, "NAME") if _text(entry, "NAME") != universal else ""
        known[f"nmrlipids_mapping_{universal}"] = _text(entry, "MAPPING")
    return known


def _run(readme: Mapping[str, Any], topology: str, trajectory: list[str], path: Path) -> str:
    """Write the files of the simulation."""
    lines = ["[[run]]", 'name       = "r1"', f"topology   = {toml_value(topology)}"]
    lines += [f"trajectory = {toml_value(trajectory)}"]
    left_out = _number(readme, "TIMELEFTOUT", path)
    if left_out:
        lines.append(f'discard    = "{left_out:g} ns"  # TIMELEFTOUT')
    return "\n".join(lines) + "\n"


def _mapping(readme: Mapping[str, Any]) -> str:
    """Leave a place for the mapping: files of NMRlipids name single atoms, not beads."""
    lines = ["# [mapping]                         # without it only the atoms are stored"]
    for universal, entry in _molecules(readme).items():
        choice = "molecule" if universal in _SOLVENTS else "…"
        lines.append(f"# {toml_key(_text(entry, 'NAME') or universal)} = {toml_value(choice)}")
    return "\n".join(lines) + "\n"
