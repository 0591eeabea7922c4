"""Potentials for LAMMPS: tables of pairs and terms in units real, an input that uses them, and the system as data."""

from collections.abc import Mapping
from itertools import combinations_with_replacement

import numpy as np
from numpy.typing import NDArray

from cgstore.errors import InputError
from cgstore.exchange.potentials import TERMS, Particles, Potentials, pair_of
from cgstore.neighbours.cells import require_aligned
from cgstore.tables import BondedTable, Term, interpolate_bonded
from cgstore.units import parse_quantity

__all__ = ["lammps_files"]

Float = NDArray[np.float64]

_EXTENSION = 0.5  # nm beyond the end of a bond, where LAMMPS would stop
_SPECIAL = 3  # bonds apart, as far as special_bonds reaches


def lammps_files(potentials: Potentials) -> dict[str, str | bytes]:
    """Return the files for LAMMPS, units real, by name.

    Raises
    ------
    InputError : a type has no mass; pairs are excluded farther than three bonds; the box is not as LAMMPS has it
    """
    missing = [name for name in potentials.types if name not in potentials.masses]
    if missing:
        raise InputError(f"write_potential: lammps needs the masses of {', '.join(missing)}; give masses={{name: u}}")
    near = potentials.exclude_bonded
    if potentials.bonded and near != "molecule" and near > _SPECIAL:
        raise InputError(
            f'write_potential: found exclude_bonded = {near}, expected {_SPECIAL} at most, or "molecule": LAMMPS '
            "leaves out no pairs farther apart"
        )
    files: dict[str, str | bytes] = {"in.lammps": _input(potentials), "potential.table": _pairs(potentials)}
    for term in TERMS:
        if tables := potentials.terms(term):
            files[f"{term}.table"] = _terms(tables)
    if potentials.particles is not None:
        files["system.data"] = _data(potentials, potentials.particles)
    return files


def _units() -> tuple[float, float]:
    """Return kcal/mol in kJ/mol, and Angstrom in nm."""
    return parse_quantity("1 kcal/mol", "energy"), parse_quantity("1 angstrom", "length")


def _pairs(potentials: Potentials) -> str:
    """Return the tables of pairs."""
    calorie, angstrom = _units()
    sections = ["# pair potentials of cgstore; units real: r/Angstrom, U/(kcal/mol), F/(kcal/mol/Angstrom)\n"]
    for pair in _named(potentials):
        table = potentials.pairs[pair]
        # LAMMPS refuses r = 0, so the table begins at the first node after it.
        r = table.r[1:] / angstrom
        lines = _rows(r, table.energy[1:] / calorie, table.force[1:] * angstrom / calorie)
        sections.append(f"{_keyword(pair)}\nN {len(r)} R {r[0]:.10g} {r[-1]:.10g}\n\n{lines}\n")
    return "\n".join(sections)


def _named(potentials: Potentials) -> list[str]:
    """Return the names of the pairs in the order of the numbers of their types."""
    return [pair_of(a, b) for a, b in combinations_with_replacement(potentials.types, 2)]


def _keyword(kind: str) -> str:
    """Return a kind as one word."""
    return kind.replace("-", "_")


def _rows(x: Float, energy: Float, force: Float) -> str:
    """Return numbered lines of a table."""
    rows = enumerate(zip(x, energy, force, strict=True), 1)
    return "\n".join(f"{k} {place:.10g} {u:.12e} {f:.12e}" for k, (place, u, f) in rows)


def _terms(tables: Mapping[str, BondedTable]) -> str:
    """Return the tables of bonds, of angles or of dihedrals."""
    calorie, angstrom = _units()
    term = next(iter(tables.values())).term
    unit, name = (angstrom, "Angstrom") if term == "bond" else (1.0, "degree")
    sections = [f"# {term} potentials of cgstore; units real: {name}, kcal/mol, kcal/mol/{name}\n"]
    for kind, table in tables.items():
        x = table.x
        if term == "bond":
            step = table.spacing
            x = step * np.arange(1.0, round((float(x[-1]) + _EXTENSION) / step) + 1.0)
        elif term == "dihedral":
            x = x[:-1]  # LAMMPS wants the ends once
        energy, force = interpolate_bonded(table, x)
        more = " DEGREES" if term == "dihedral" else ""
        lines = _rows(x / unit, energy / calorie, force * unit / calorie)
        sections.append(f"{_keyword(kind)}\nN {len(x)}{more}\n\n{lines}\n")
    return "\n".join(sections)


def _input(potentials: Potentials) -> str:
    """Return an input script that runs from a data file."""
    types, temperature = potentials.types, potentials.temperature
    mass = "\n".join(f"mass            {k} {potentials.masses[name]:g}  # {name}" for k, name in enumerate(types, 1))
    numbers = {name: k for k, name in enumerate(types, 1)}
    angstrom = _units()[1]
    pairs = "\n".join(
        f"pair_coeff      {numbers[a]} {numbers[b]} potential.table {_keyword(pair_of(a, b))} "
        f"{potentials.pairs[pair_of(a, b)].r[-1] / angstrom:.10g}"
        for a, b in combinations_with_replacement(types, 2)
    )
    whose = "a data file of yours" if potentials.particles is None else "system.data"
    return f"""# lmp -in in.lammps: Langevin motion with the tables of cgstore, from {whose}
# types: {", ".join(f"{k} = {name}" for k, name in enumerate(types, 1))}
units           real
atom_style      {"molecular" if potentials.bonded else "atomic"}
boundary        p p p
read_data       system.data
{mass}
pair_style      table linear 10000  # nodes in r^2
{pairs}
{_term_styles(potentials)}neighbor        1.0 bin
neigh_modify    every 1 delay 0 check yes
velocity        all create {temperature:g} 4711
fix             move all nve
fix             bath all langevin {temperature:g} {temperature:g} 1000.0 4712  # friction 1/ps
timestep        5.0  # fs
thermo          1000
dump            frames all custom 200 frames.lammpstrj id type x y z
run             200000
"""


def _term_styles(potentials: Potentials) -> str:
    """Return the lines of bonds, angles and dihedrals, and of the pairs that are left to them."""
    if not potentials.bonded:
        return ""
    lines = []
    for term in TERMS:
        tables = potentials.terms(term)
        if not tables:
            continue
        most = max(_nodes(table) for table in tables.values())
        lines.append(f"{term + '_style':<15} table {'linear' if term == 'dihedral' else 'spline'} {most}")
        lines += [f"{term + '_coeff':<15} {k} {term}.table {_keyword(kind)}" for k, kind in enumerate(tables, 1)]
    near = potentials.exclude_bonded
    if near == "molecule":
        lines += ["special_bonds   lj 1.0 1.0 1.0", "neigh_modify    exclude molecule/intra all"]
    else:
        weights = " ".join("0.0" if apart <= near else "1.0" for apart in range(1, _SPECIAL + 1))
        lines.append(f"special_bonds   lj {weights}")
    if potentials.dihedrals and potentials.fade:
        lines += [
            f"# In the model a dihedral fades where an angle of it is within {potentials.fade:g} degrees of straight;",
            "# here it acts in full, and needs a shorter timestep where that happens.",
        ]
    return "\n".join(lines) + "\n"


def _nodes(table: BondedTable) -> int:
    """Return how many points LAMMPS tabulates: twice the nodes."""
    end = float(table.x[-1]) + _EXTENSION if table.term == "bond" else float(table.x[-1] - table.x[0])
    return 2 * round(end / table.spacing)


def _data(potentials: Potentials, particles: Particles) -> str:
    """Return the system as a data file."""
    topology, angstrom = particles.topology, _units()[1]
    require_aligned(particles.box[None].astype(np.float32), "write_potential: lammps")
    box = particles.box / angstrom
    numbers = {name: k for k, name in enumerate(potentials.types, 1)}
    ends: dict[Term, NDArray[np.int32]] = {term: getattr(topology, term) for term in TERMS}
    known = [term for term in TERMS if potentials.terms(term)]
    head = ["tabulated system of cgstore", "", f"{len(topology)} atoms", f"{len(numbers)} atom types"]
    for term in known:
        head += [f"{len(ends[term])} {term}s", f"{len(potentials.terms(term))} {term} types"]
    head += ["", *(f"0.0 {box[k, k]:.10g} {axis}lo {axis}hi" for k, axis in enumerate("xyz"))]
    if np.any(box[[1, 2, 2], [0, 0, 1]]):
        head.append(f"{box[1, 0]:.10g} {box[2, 0]:.10g} {box[2, 1]:.10g} xy xz yz")
    lines = [*head, "", f"Atoms  # {'molecular' if known else 'atomic'}", ""]
    rows = zip(
        topology.type.tolist(), topology.molecule.tolist(), (particles.position / angstrom).tolist(), strict=True
    )
    for k, (name, molecule, x) in enumerate(rows, 1):
        middle = f"{molecule + 1} {numbers[name]}" if known else f"{numbers[name]}"
        lines.append(f"{k} {middle} " + " ".join(f"{value:.10g}" for value in x))
    for term in known:
        order = {kind: k for k, kind in enumerate(potentials.terms(term), 1)}
        if len(ends[term]):
            lines += ["", f"{term.capitalize()}s", ""]
        lines += [
            f"{k} {order[kind]} {' '.join(str(end + 1) for end in row)}"
            for k, (kind, row) in enumerate(zip(particles.kinds(term), ends[term].tolist(), strict=True), 1)
        ]
    return "\n".join(lines) + "\n"
