"""What can be guessed of a system: its kind, its state point, mappings that fit its molecules; all to be checked."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cgstore.documents import load_document
from cgstore.errors import InputError
from cgstore.mapping import bead_map
from cgstore.recipe import MappingFile, Recipe, Store, System
from cgstore.topology import Topology

__all__ = ["Conditions", "conditions", "fitting_mappings", "guess_kind", "is_small"]

# DMPC, POPE … as most force fields call them, sterols, cardiolipins, sphingomyelins, and Amber's chains of residues.
_LIPID = re.compile(
    r"[DPS][A-Z]P[ACEGSI]\d*|CHOL|CHL1?|CLR|ERG|TOCL\d?|[DPS]{1,2}SM|P[CEGS]|[A-Z]{2}-P[CEGS](-[A-Z]{2})?"
)
_SOLIDS = re.compile(r"AU|AUC|GOLD|AG|TIO2?|SIO2|QTZ|GRA|GRP|CNT|C60", re.IGNORECASE)
_HEAVY = 4.1  # u; above it a particle is no hydrogen
_SMALL = 4  # heavy atoms of a solvent molecule
_LOG = 2**20  # bytes of a log that are looked into


def guess_kind(composition: Mapping[str, int]) -> str:
    """Guess the kind of a system from its molecules.

    >>> guess_kind({"DMPC": 64, "HOH": 1907}), guess_kind({"CH4": 222}), guess_kind({"MET": 64, "SOL": 516})
    ('bilayer', 'liquid', 'solution')
    """
    if any(_SOLIDS.fullmatch(kind) for kind in composition):
        return "nanoparticle"
    if sum(count for kind, count in composition.items() if _LIPID.fullmatch(kind)) >= 8:
        return "bilayer"
    if len(composition) > 1:
        return "solution"
    return "molecule" if sum(composition.values()) == 1 else "liquid"


def is_small(topology: Topology, kind: str) -> bool:
    """Tell whether a molecule is a solvent or an ion of at most four heavy atoms: one bead says enough about it."""
    first = topology.molecule[np.argmax(topology.molecule_kind == kind)]
    mass = topology.mass[topology.molecule == first]
    return mass.sum() > 0 and int((mass > _HEAVY).sum()) <= _SMALL


def fitting_mappings(topology: Topology, kind: str, folders: Sequence[Path]) -> list[str]:
    """Return the names of the mapping files for a kind of molecule that fit its atoms, by folder then by name."""
    names = []
    for folder in dict.fromkeys(folders):
        for path in sorted(folder.glob("*.toml")):
            try:
                file = load_document(path, MappingFile)
                if file.molecule == kind and path.stem not in names:
                    bead_map(topology, _only(topology, kind, path.stem, file))
                    names.append(path.stem)
            except (InputError, OSError):  # another kind of file, or atoms of another naming
                continue
    return names


def _only(topology: Topology, kind: str, name: str, file: MappingFile) -> Recipe:
    """Make the recipe that maps one kind and drops the others."""
    mapping = {str(other): "drop" for other in np.unique(topology.molecule_kind)} | {kind: name}
    system = System(name="draft", kind="liquid")
    return Recipe(Path("draft"), system, (), mapping, {name: file}, Store(levels=("cg",)), "", "")


@dataclass(frozen=True, slots=True)
class Conditions:
    """The state point as the input of a simulation has it."""

    source: str = ""  # the file that says so
    temperature: float | None = None  # K
    pressure: float | None = None  # bar
    ensemble: str = ""


def conditions(files: Sequence[Path], near: Path) -> Conditions:
    """Read temperature, pressure and ensemble from the .mdp or .log of GROMACS that belongs to a trajectory.

    Parameters
    ----------
    files : .mdp and .log files of the folder
    near : the trajectory; files in its folder, called like it, of production rather than equilibration come first
    """

    def order(path: Path) -> tuple[bool, bool, bool, bool, str]:
        early = re.search(r"(^|[^a-z])(em|min|minim|eq|nvt|equil)", path.stem.lower()) is not None
        return path.parent != near.parent, path.stem != near.stem, early, path.suffix.lower() != ".mdp", str(path)

    for path in sorted(files, key=order):
        try:
            with path.open(encoding="utf-8", errors="replace") as file:
                text = file.read(_LOG)
        except OSError:
            continue
        found = _from_input(text, path.name)
        if found.temperature is not None:
            return found
    return Conditions()


def _from_input(text: str, name: str) -> Conditions:
    """Read `key = value` lines as GROMACS has them in inputs and echoes them in logs."""
    pairs = re.findall(r"^\s*([A-Za-z][A-Za-z_-]*)\s*[=:]\s*([^;\n]*)", text, re.MULTILINE)
    values = {key.lower().replace("-", "_"): value.strip().lower() for key, value in pairs}
    temperature, pressure = (_first_number(values.get(key, "")) for key in ("ref_t", "ref_p"))
    thermostat = values.get("tcoupl", "no") != "no" or values.get("integrator", "") in ("sd", "bd")
    barostat = values.get("pcoupl", "no") != "no"
    if temperature is None or not temperature > 0:
        return Conditions()
    return Conditions(
        source=name,
        temperature=temperature,
        pressure=pressure if barostat else None,
        ensemble="NPT" if barostat else "NVT" if thermostat else "",
    )


def _first_number(text: str) -> float | None:
    """Return the first number of a list of values."""
    found = re.match(r"[-+]?\d+(\.\d*)?(e[-+]?\d+)?", text)
    return float(found[0]) if found else None
