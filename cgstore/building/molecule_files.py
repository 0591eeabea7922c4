"""Molecules as they are given, a GROMACS topology and a geometry, and the self-contained topology of a mixture of them.

A topology is the text of one molecule: `[ defaults ]`, `[ atomtypes ]`, one `[ moleculetype ]` with its sections. Every
bonded term has its parameters beside it and every atom its charge and mass, so that no other file decides anything.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cgstore.errors import InputError

__all__ = ["Molecule", "read_molecule", "topology_of"]

Float = NDArray[np.float64]
Rows = list[list[str]]

_BONDED = {"bonds": 2, "pairs": 2, "angles": 3, "dihedrals": 4, "constraints": 2, "settles": 1}  # atoms of a term
_OTHER = ("exclusions", "virtual_sites2", "virtual_sites3")
_SECTIONS = ("defaults", "atomtypes", "moleculetype", "atoms", *_BONDED, *_OTHER)
_NEUTRAL = 1e-4  # e; charges are written with four digits or more
_VIRTUAL = ("D", "V")  # kinds of particles without a mass
_ANGSTROM = 0.1  # nm


@dataclass(frozen=True, slots=True, eq=False)
class Molecule:
    """One kind of molecule: its force field and one geometry, about the centre of mass."""

    name: str  # of its [ moleculetype ]
    defaults: tuple[str, ...]  # the line of [ defaults ]
    types: dict[str, tuple[str, ...]]  # atom type → the rest of its line
    text: str  # [ moleculetype ] and all its sections
    atom: NDArray[np.str_]  # (atom,)
    residue: NDArray[np.str_]  # (atom,)
    mass: Float  # (atom,) u; zero for virtual sites
    charge: float  # e, of all, a whole number
    position: Float  # (atom, xyz) nm, from the centre of mass


def read_molecule(topology: str, geometry: str, *, where: str = "molecule") -> Molecule:
    """Read a molecule from the text of its topology and of its geometry.

    Parameters
    ----------
    topology : as GROMACS reads it, with `[ defaults ]` and `[ atomtypes ]`, without preprocessor lines
    geometry : one frame of GRO (nm) or XYZ (Å), the atoms in the order of the topology, virtual sites as well
    where : begins the messages

    Raises
    ------
    InputError : a section is unknown or missing, an atom has no mass or a type that is not there, the charges do not
        sum to a whole number, a term has no parameters, or the geometry has another number of atoms

    Examples
    --------
    >>> from pathlib import Path
    >>> folder = Path("ingest/campaigns/molecules")
    >>> water = read_molecule((folder / "water_spce.itp").read_text(), (folder / "water.gro").read_text())
    >>> water.name, water.atom.tolist(), round(float(water.mass.sum()), 4), water.charge
    ('HOH', ['OW', 'HW1', 'HW2'], 18.0154, 0.0)
    """
    sections = _sections(topology, f"{where} topology")
    for title in ("defaults", "atomtypes", "moleculetype", "atoms"):
        if title not in sections:
            raise InputError(f"{where} topology: found no [ {title} ]; it has to stand for itself, without other files")
    for title in ("defaults", "moleculetype"):
        if len(sections[title]) != 1:
            raise InputError(f"{where} topology: found {len(sections[title])} lines in [ {title} ], expected one")
    types = _types(sections["atomtypes"], where)
    atoms = sections["atoms"]
    mass, charge = _masses_and_charge(atoms, types, where)
    _check_terms(sections, len(atoms), where)
    position = _positions(geometry, f"{where} geometry")
    if len(position) != len(atoms):
        raise InputError(
            f"{where}: found {len(atoms)} atoms in its topology and {len(position)} in its geometry; both need all "
            "atoms, in the same order"
        )
    return Molecule(
        name=sections["moleculetype"][0][0],
        defaults=tuple(sections["defaults"][0]),
        types=types,
        text=_written({title: rows for title, rows in sections.items() if title not in ("defaults", "atomtypes")}),
        atom=np.array([row[4] for row in atoms]),
        residue=np.array([row[3] for row in atoms]),
        mass=mass,
        charge=charge,
        position=position - mass @ position / mass.sum(),
    )


def topology_of(species: Sequence[tuple[Molecule, int]], *, title: str) -> str:
    """Write the topology of a mixture, in which all molecules of a kind come together.

    Parameters
    ----------
    species : molecules and how many there are of each

    Raises
    ------
    InputError : molecules have different `[ defaults ]`, the same name, or another line for an atom type of one name

    Examples
    --------
    >>> from pathlib import Path
    >>> folder = Path("ingest/campaigns/molecules")
    >>> water = read_molecule((folder / "water_spce.itp").read_text(), (folder / "water.gro").read_text())
    >>> print(topology_of([(water, 216)], title="water").splitlines()[-1])
    HOH 216
    """
    first = species[0][0]
    types: dict[str, tuple[str, ...]] = {}
    owner: dict[str, str] = {}
    for molecule, _ in species:
        if _plain(molecule.defaults) != _plain(first.defaults):
            raise InputError(
                f"{first.name} has [ defaults ] {' '.join(first.defaults)}, {molecule.name} has "
                f"{' '.join(molecule.defaults)}; molecules of one system need the same rules of combination"
            )
        for name, row in molecule.types.items():
            if name in types and _plain(types[name]) != _plain(row):
                raise InputError(
                    f"the atom type {name} is {' '.join(types[name])} in {owner[name]} and {' '.join(row)} in "
                    f"{molecule.name}; give one of them another name"
                )
            types.setdefault(name, row)
            owner.setdefault(name, molecule.name)
    names = [molecule.name for molecule, _ in species]
    if len(set(names)) < len(names):
        raise InputError(f"found molecules with the same [ moleculetype ] {', '.join(names)}; give them other names")
    head = {"defaults": [list(first.defaults)], "atomtypes": [[name, *row] for name, row in types.items()]}
    foot = {"system": [[title]], "molecules": [[molecule.name, str(count)] for molecule, count in species]}
    return "\n".join([_written(head), *(molecule.text for molecule, _ in species), _written(foot)])


def _sections(text: str, where: str) -> dict[str, Rows]:
    """Return the fields of all lines by section; one that stands twice goes on."""
    sections: dict[str, Rows] = {}
    rows: Rows | None = None
    for number, whole in enumerate(text.splitlines(), start=1):
        line = whole.split(";", 1)[0].strip()
        if line.startswith("#"):
            raise InputError(f"{where} line {number}: found {line!r}; write what it includes or defines instead")
        if line.startswith("["):
            title = line.strip("[] \t")
            if title not in _SECTIONS:
                raise InputError(f"{where} line {number}: found [ {title} ], expected one of {', '.join(_SECTIONS)}")
            rows = sections.setdefault(title, [])
        elif line:
            if rows is None:
                raise InputError(f"{where} line {number}: found {line!r} before the first section, as [ defaults ]")
            rows.append(line.split())
    return sections


def _written(sections: Mapping[str, Rows]) -> str:
    """Write sections."""
    blocks = [
        "\n".join([f"[ {title} ]", *(" ".join(row) for row in rows)]) + "\n" for title, rows in sections.items() if rows
    ]
    return "\n".join(blocks)


def _types(rows: Rows, where: str) -> dict[str, tuple[str, ...]]:
    """Return atom types: mass, charge, kind of particle and two parameters come last."""
    types = {}
    for row in rows:
        if len(row) < 6:
            raise InputError(
                f"{where} topology [ atomtypes ]: found {' '.join(row)!r}, expected name, atomic number, mass, charge, "
                "A or D, and two parameters"
            )
        if row[0] in types:
            raise InputError(f"{where} topology [ atomtypes ]: found {row[0]} twice")
        types[row[0]] = tuple(row[1:])
    return types


def _masses_and_charge(atoms: Rows, types: Mapping[str, tuple[str, ...]], where: str) -> tuple[Float, float]:
    """Return the masses of the atoms and the charge of all."""
    masses, charges = [], []
    for number, row in enumerate(atoms, start=1):
        place = f"{where} topology [ atoms ] {number}"
        if len(row) < 8:
            raise InputError(
                f"{place}: found {' '.join(row)!r}, without a charge or a mass; expected number, type, residue number, "
                "residue, atom, charge group, charge in e, mass in u"
            )
        if row[0] != str(number):
            raise InputError(f"{place}: found the number {row[0]}, expected the atoms in order")
        if row[1] not in types:
            raise InputError(f"{place}: found the type {row[1]}, which is not in [ atomtypes ]")
        charges.append(_number(row[6], place))
        masses.append(_number(row[7], place))
        if masses[-1] < 0 or (masses[-1] == 0) != (types[row[1]][-3] in _VIRTUAL):
            raise InputError(f"{place}: found the mass {row[7]}; atoms (A) have one, virtual sites (D) have none")
    charge = sum(charges)
    if abs(charge - round(charge)) > _NEUTRAL:
        raise InputError(f"{where} topology [ atoms ]: the charges sum to {charge:.6g} e, expected a whole number")
    if not sum(masses) > 0:
        raise InputError(f"{where} topology [ atoms ]: found no atom that has a mass")
    return np.array(masses), float(round(charge))


def _check_terms(sections: Mapping[str, Rows], atoms: int, where: str) -> None:
    """Check that the atoms of each term are there and that its parameters stand beside it."""
    for title, width in _BONDED.items():
        for row in sections.get(title, []):
            place = f"{where} topology [ {title} ]"
            numbers = [int(word) if word.isdecimal() else 0 for word in row[:width]]
            if len(row) <= width or not all(1 <= number <= atoms for number in numbers):
                raise InputError(f"{place}: found {' '.join(row)!r}, expected {width} of {atoms} atoms and a function")
            if title != "pairs" and len(row) < width + 2:  # pairs have what [ defaults ] says
                raise InputError(f"{place}: found {' '.join(row)!r} without parameters; write them beside it")


def _positions(text: str, where: str) -> Float:
    """Read the positions of the only frame of a GRO or XYZ file, in nm."""
    lines = text.splitlines()
    for counted, first, unit in ((0, 2, _ANGSTROM), (1, 2, 1.0)):  # XYZ begins with the number, GRO with a title
        if len(lines) > counted and lines[counted].strip().isdecimal():
            count = int(lines[counted])
            rows = lines[first : first + count]
            words = [line.split()[1:4] if counted == 0 else line[20:].split()[:3] for line in rows]
            if len(rows) < count or any(len(row) < 3 for row in words):
                raise InputError(f"{where}: expected {count} lines of atoms with their positions")
            return np.array([[_number(word, where) for word in row] for row in words]).reshape(-1, 3) * unit
    raise InputError(f"{where}: found no number of atoms; expected a GRO file (nm) or an XYZ file (Å)")


def _number(word: str, where: str) -> float:
    """Read a finite number."""
    try:
        value = float(word)
    except ValueError:
        value = np.nan
    if not np.isfinite(value):
        raise InputError(f"{where}: found {word!r}, expected a number")
    return value


def _plain(words: Sequence[str]) -> tuple[float | str, ...]:
    """Return words, numbers as such, so that 1.0 and 1 are the same."""

    def plain(word: str) -> float | str:
        try:
            return float(word)
        except ValueError:
            return word

    return tuple(map(plain, words))
