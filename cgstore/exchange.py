"""Potentials as the files of simulation programs: tables with the input that uses them.

Numbers leave in the units of the program; what a program cannot do is said in the files written.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from itertools import combinations_with_replacement
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cgstore.documents import did_you_mean
from cgstore.errors import InputError
from cgstore.tables import Table, interpolate
from cgstore.units import parse_quantity

__all__ = ["PROGRAMS", "write_potential"]

_TYPE = re.compile(r"[\w+*.:@^]+")
_GROMACS_SPACING = 0.002  # nm, what mdrun in mixed precision expects
_GROMACS_EXTENSION = 1.0  # nm beyond the cutoff, mdrun's table-extension


def write_potential(
    tables: Mapping[str, Table],
    program: str,
    folder: Path | str,
    *,
    masses: Mapping[str, float] | None = None,
    temperature: float = 300.0,
) -> list[Path]:
    """Write pair potentials as tables of a simulation program, with a commented input that uses them.

    Parameters
    ----------
    tables : potential of each pair of types, by its name "A-B"; every pair of the types
    program : "gromacs" or "lammps"
    folder : made if it is not there; files of the same names are replaced
    masses : of each type, u; needed by lammps
    temperature : K, only for the input

    Returns
    -------
    the files written, the one to read first in front

    Raises
    ------
    InputError : unknown program, a pair without a table, names that cannot be read as pairs, no masses

    Examples
    --------
    >>> import tempfile
    >>> r = np.linspace(0.0, 1.0, 501)
    >>> table = Table(r, (1.0 - r) ** 2, 2.0 * (1.0 - r))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     print([path.name for path in write_potential({"M-M": table}, "gromacs", folder)])
    ['README.md', 'table.xvg', 'table_M_M.xvg', 'grompp.mdp']
    """
    if program not in PROGRAMS:
        raise InputError(f'write_potential: found program "{program}"{did_you_mean(program, PROGRAMS)}')
    types = _types(tables)
    contents = PROGRAMS[program](tables, types, dict(masses or {}), temperature)
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    written = []
    for name, text in contents.items():
        path = target / name
        path.write_text(text, encoding="utf-8")
        written.append(path)
    return written


def _types(tables: Mapping[str, Table]) -> list[str]:
    """Return the types, alphabetical; every pair of them must have a table."""
    odd = sorted(pair for pair in tables if pair.count("-") != 1)
    if odd or not tables:
        raise InputError(
            f'write_potential: found pairs {odd}, expected names like "A-B"; rename types that contain a hyphen'
        )
    types = sorted({name for pair in tables for name in pair.split("-")})
    if strange := [name for name in types if not _TYPE.fullmatch(name)]:
        raise InputError(
            f"write_potential: found the type {strange[0][:80]!r}, expected letters, digits and _ + * . : @ ^; types "
            "become names of files and words of input files"
        )
    expected = {_pair(a, b) for a, b in combinations_with_replacement(types, 2)}
    if expected != set(tables):
        raise InputError(
            f"write_potential: found tables of {sorted(tables)}, expected one of each pair, alphabetical: "
            f"{sorted(expected)}"
        )
    return types


def _pair(first: str, second: str) -> str:
    """Return the name of a pair of types."""
    return "-".join(sorted((first, second)))


def _columns(rows: Iterable[NDArray[np.float64]], form: str) -> str:
    """Return rows of numbers as text."""
    return "\n".join(" ".join(form % number for number in row) for row in rows) + "\n"


# GROMACS ------------------------------------------------------------------------------------------------------------


def _gromacs(
    tables: Mapping[str, Table], types: list[str], masses: dict[str, float], temperature: float
) -> dict[str, str]:
    """Return the files for GROMACS up to 2019 by name."""
    cutoff = max(table.cutoff for table in tables.values())
    zero = Table(np.linspace(0.0, cutoff, 3), np.zeros(3), np.zeros(3))
    default = tables[_pair(types[0], types[0])] if len(types) == 1 else zero
    names = {pair: "table_" + pair.replace("-", "_") + ".xvg" for pair in sorted(tables)}
    files = {"README.md": _gromacs_readme(types, masses, list(names.values()))}
    files["table.xvg"] = _xvg(
        default, cutoff, "-".join((types[0], types[0])) if len(types) == 1 else "all others: none"
    )
    files |= {name: _xvg(tables[pair], cutoff, pair) for pair, name in names.items()}
    files["grompp.mdp"] = _mdp(types, cutoff, temperature)
    return files


def _xvg(table: Table, cutoff: float, title: str) -> str:
    """Return the seven columns r, f, −f', g, −g', h, −h' of a GROMACS table: the potential is h, with C12 = 1."""
    r = np.arange(round((cutoff + _GROMACS_EXTENSION) / _GROMACS_SPACING) + 1) * _GROMACS_SPACING
    energy, force = interpolate(table, r)
    # As in the tables that come with GROMACS, Coulomb is zero below 0.04 nm; charges are zero anyway.
    safe = np.where(r < 0.04, np.inf, r)
    zero = np.zeros_like(r)
    head = f"# {title}: r/nm, 1/r, 1/r^2, 0, 0, U/(kJ/mol), F/(kJ/mol/nm)\n"
    return head + _columns(np.stack([r, 1.0 / safe, 1.0 / safe**2, zero, zero, energy, force], axis=1), "%.10e")


def _mdp(types: list[str], cutoff: float, temperature: float) -> str:
    """Return run parameters that use the tables."""
    pairs = [f"{a} {b}" for a, b in combinations_with_replacement(types, 2)]
    return f"""; GROMACS 2019 or earlier: see README.md
cutoff-scheme    = group
nstlist          = 10
ns-type          = grid
rlist            = {cutoff:g}
coulombtype      = User
vdwtype          = User
rcoulomb         = {cutoff:g}
rvdw             = {cutoff:g}
energygrps       = {" ".join(types)}
energygrp-table  = {" ".join(pairs)}
integrator       = sd
dt               = 0.005
nsteps           = 200000
tc-grps          = System
tau-t            = 1.0
ref-t            = {temperature:g}
nstxout-compressed = 200
"""


def _gromacs_readme(types: list[str], masses: dict[str, float], names: list[str]) -> str:
    """Return how to use the tables, and with which GROMACS one can."""
    rows = "\n".join(f"{name}  {masses.get(name, 1.0):g}  0.0  A  0.0  1.0" for name in types)
    note = "" if all(name in masses for name in types) else "; masses were not given: put yours in"
    group = (
        "The same table is in `table.xvg`, so `mdrun -table table.xvg` needs no energy groups."
        if len(types) == 1
        else ""
    )
    return f"""# Tabulated pair potentials for GROMACS

Files: {", ".join(f"`{name}`" for name in ["table.xvg", *names])}; columns r, f, −f', g, −g', h, −h' in nm, kJ/mol and
kJ/mol/nm, every {_GROMACS_SPACING} nm to the cutoff and {_GROMACS_EXTENSION:g} nm beyond. The potential is in h, so
beads need C6 = 0, C12 = 1 and charge 0. {group}

    [ defaults ]
    1  1  no  1.0  1.0
    [ atomtypes ]  ; name mass charge ptype C6 C12{note}
{chr(10).join("    " + row for row in rows.splitlines())}

    gmx grompp -f grompp.mdp -c conf.gro -p topol.top -n index.ndx -o run.tpr   # an index group for each type
    gmx mdrun -s run.tpr -table table.xvg

**This needs GROMACS 2019 or earlier.** User tables of nonbonded interactions work only with the group cutoff scheme,
which GROMACS 2020 removed. Later versions cannot run this potential: grompp 2022.5 stops at `grompp.mdp` with "The
group cutoff scheme has been removed since GROMACS 2020", and with `cutoff-scheme = Verlet` it stops with "Coulomb
type User is not supported with the verlet scheme". With those versions, use the files for LAMMPS.
"""


# LAMMPS -------------------------------------------------------------------------------------------------------------


def _lammps(
    tables: Mapping[str, Table], types: list[str], masses: dict[str, float], temperature: float
) -> dict[str, str]:
    """Return the files for LAMMPS, units real, by name."""
    missing = [name for name in types if name not in masses]
    if missing:
        raise InputError(f"write_potential: lammps needs the masses of {', '.join(missing)}; give masses={{name: u}}")
    calorie, angstrom = parse_quantity("1 kcal/mol", "energy"), parse_quantity("1 angstrom", "length")
    sections = ["# pair potentials of cgstore; units real: r/Angstrom, U/(kcal/mol), F/(kcal/mol/Angstrom)\n"]
    coefficients = []
    for a, b in combinations_with_replacement(range(len(types)), 2):
        pair = _pair(types[a], types[b])
        table, keyword = tables[pair], pair.replace("-", "_")
        # LAMMPS refuses r = 0, so the table begins at the first node after it.
        r = table.r[1:] / angstrom
        energy, force = table.energy[1:] / calorie, table.force[1:] * angstrom / calorie
        lines = "\n".join(
            f"{k} {x:.10g} {u:.12e} {f:.12e}" for k, (x, u, f) in enumerate(zip(r, energy, force, strict=True), 1)
        )
        ends = f"R {r[0]:.10g} {r[-1]:.10g}"
        sections.append(f"{keyword}\nN {len(r)} {ends}\n\n{lines}\n")
        coefficients.append(f"pair_coeff      {a + 1} {b + 1} potential.table {keyword} {r[-1]:.10g}")
    return {
        "in.lammps": _lammps_input(types, masses, coefficients, temperature),
        "potential.table": "\n".join(sections),
    }


def _lammps_input(types: list[str], masses: dict[str, float], coefficients: list[str], temperature: float) -> str:
    """Return an input script that runs from a data file."""
    mass = "\n".join(f"mass            {k} {masses[name]:g}  # {name}" for k, name in enumerate(types, 1))
    pairs = "\n".join(coefficients)
    return f"""# lmp -in in.lammps: Langevin motion with the tables of cgstore, from a data file of yours
# types: {", ".join(f"{k} = {name}" for k, name in enumerate(types, 1))}
units           real
atom_style      atomic
boundary        p p p
read_data       system.data
{mass}
pair_style      table linear 10000  # nodes in r^2
{pairs}
neighbor        1.0 bin
neigh_modify    every 1 delay 0 check yes
velocity        all create {temperature:g} 4711
fix             move all nve
fix             bath all langevin {temperature:g} {temperature:g} 1000.0 4712  # friction 1/ps
timestep        5.0  # fs
thermo          1000
dump            frames all custom 200 frames.lammpstrj id type x y z
run             200000
"""


PROGRAMS: dict[str, Callable[[Mapping[str, Table], list[str], dict[str, float], float], dict[str, str]]] = {
    "gromacs": _gromacs,
    "lammps": _lammps,
}
