"""Potentials for GROMACS: user tables of pairs and terms, run parameters, and a topology of the system."""

from itertools import combinations_with_replacement

import numpy as np
from numpy.typing import NDArray

from cgstore.exchange.molecules import molecules_of
from cgstore.exchange.potentials import TERMS, Particles, Potentials, columns, pair_of
from cgstore.tables import BondedTable, Table, interpolate, interpolate_bonded

__all__ = ["gromacs_files"]

_SPACING = 0.002  # nm, what mdrun in mixed precision expects
_EXTENSION = 1.0  # nm beyond the cutoff, mdrun's table-extension; and beyond the end of a bond
_FUNCTION = {"bond": 8, "angle": 8, "dihedral": 8}  # the tabulated function of each
_LETTER = {"bond": "b", "angle": "a", "dihedral": "d"}
_SECTION = {"bond": "bonds", "angle": "angles", "dihedral": "dihedrals"}


def gromacs_files(potentials: Potentials) -> dict[str, str | bytes]:
    """Return the files for GROMACS by name: pairs up to 2019, terms of any version."""
    types, tables, cutoff = potentials.types, potentials.pairs, potentials.cutoff
    zero = Table(np.linspace(0.0, cutoff, 3), np.zeros(3), np.zeros(3))
    one = len(types) == 1
    names = {pair: "table_" + pair.replace("-", "_") + ".xvg" for pair in sorted(tables)}
    terms = {
        f"table_{_LETTER[term]}{number}.xvg": (kind, table)
        for term in TERMS
        for number, (kind, table) in enumerate(potentials.terms(term).items())
    }
    files: dict[str, str | bytes] = {"README.md": _readme(potentials, list(names.values()), terms)}
    files["table.xvg"] = _xvg(
        tables[pair_of(types[0], types[0])] if one else zero,
        cutoff,
        "-".join((types[0], types[0])) if one else "all others: none",
    )
    files |= {name: _xvg(tables[pair], cutoff, pair) for pair, name in names.items()}
    files["grompp.mdp"] = _mdp(types, cutoff, potentials.temperature)
    files |= {name: _term_xvg(table, kind) for name, (kind, table) in terms.items()}
    if potentials.particles is not None:
        files |= {"topol.top": _top(potentials, potentials.particles), "conf.gro": _gro(potentials.particles)}
    return files


def _xvg(table: Table, cutoff: float, title: str) -> str:
    """Return the seven columns r, f, −f', g, −g', h, −h' of a GROMACS table: the potential is h, with C12 = 1."""
    r = np.arange(round((cutoff + _EXTENSION) / _SPACING) + 1) * _SPACING
    energy, force = interpolate(table, r)
    # As in the tables that come with GROMACS, Coulomb is zero below 0.04 nm; charges are zero anyway.
    safe = np.where(r < 0.04, np.inf, r)
    zero = np.zeros_like(r)
    head = f"# {title}: r/nm, 1/r, 1/r^2, 0, 0, U/(kJ/mol), F/(kJ/mol/nm)\n"
    return head + columns(np.stack([r, 1.0 / safe, 1.0 / safe**2, zero, zero, energy, force], axis=1), "%.10e")


def _term_xvg(table: BondedTable, kind: str) -> str:
    """Return the three columns of a table of a bond, from zero to beyond its end, or of an angle or dihedral."""
    if table.term != "bond":
        head = f"# {table.term} {kind}: x/degree, U/(kJ/mol), F/(kJ/mol/degree)\n"
        return head + columns(np.stack([table.x, table.energy, table.force], axis=1), "%.12e")
    step = min(table.spacing, _SPACING)
    r = np.arange(round((float(table.x[-1]) + _EXTENSION) / step) + 1) * step
    energy, force = interpolate_bonded(table, r)
    return f"# bond {kind}: r/nm, U/(kJ/mol), F/(kJ/mol/nm)\n" + columns(np.stack([r, energy, force], axis=1), "%.12e")


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


def _readme(potentials: Potentials, names: list[str], terms: dict[str, tuple[str, BondedTable]]) -> str:
    """Return how to use the tables, and with which GROMACS one can."""
    types, masses = potentials.types, potentials.masses
    note = "" if all(name in masses for name in types) else "; masses were not given: put yours in"
    group = (
        "The same table is in `table.xvg`, so `mdrun -table table.xvg` needs no energy groups."
        if len(types) == 1
        else ""
    )
    bonded = f" -tableb {' '.join(terms)}" if terms else ""
    return f"""# Tabulated pair potentials for GROMACS

Files: {", ".join(f"`{name}`" for name in ["table.xvg", *names])}; columns r, f, −f', g, −g', h, −h' in nm, kJ/mol and
kJ/mol/nm, every {_SPACING} nm to the cutoff and {_EXTENSION:g} nm beyond. The potential is in h, so
beads need C6 = 0, C12 = 1 and charge 0. {group}

    [ defaults ]
    1  1  no  1.0  1.0
    [ atomtypes ]  ; name mass charge ptype C6 C12{note}
{chr(10).join("    " + row for row in _atomtypes(potentials))}

    gmx grompp -f grompp.mdp -c conf.gro -p topol.top -n index.ndx -o run.tpr   # an index group for each type
    gmx mdrun -s run.tpr -table table.xvg{bonded}

**This needs GROMACS 2019 or earlier.** User tables of nonbonded interactions work only with the group cutoff scheme,
which GROMACS 2020 removed. Later versions cannot run this potential: grompp 2022.5 stops at `grompp.mdp` with "The
group cutoff scheme has been removed since GROMACS 2020", and with `cutoff-scheme = Verlet` it stops with "Coulomb
type User is not supported with the verlet scheme". With those versions, use the files for LAMMPS.
{_about_terms(potentials, terms)}"""


def _about_terms(potentials: Potentials, terms: dict[str, tuple[str, BondedTable]]) -> str:
    """Return what is to be known of bonds, angles and dihedrals, nothing where there are none."""
    if not terms:
        return ""
    rows = "\n".join(f"| {table.term} {kind} | `{name}` |" for name, (kind, table) in terms.items())
    fading = (
        f"\nThe model lets a dihedral fade where one of its angles is within {potentials.fade:g} degrees of straight.\n"
        "GROMACS does not: its dihedrals act in full there, and need a shorter time step.\n"
        if potentials.dihedrals and potentials.fade
        else ""
    )
    return f"""
## Bonds, angles and dihedrals

Function 8 of each section, force constant 1, the number of the table as its parameter; these work in all versions. A
bond goes on linearly beyond what it was tabulated for, to {_EXTENSION:g} nm beyond. Pairs are excluded by `nrexcl`.

| term | table |
|---|---|
{rows}
{fading}"""


def _atomtypes(potentials: Potentials) -> list[str]:
    """Return the lines of the types."""
    return [f"{name}  {potentials.masses.get(name, 1.0):g}  0.0  A  0.0  1.0" for name in potentials.types]


def _top(potentials: Potentials, particles: Particles) -> str:
    """Return the topology of the system."""
    kinds, runs = molecules_of(particles.topology)
    numbers = {term: list(potentials.terms(term)) for term in TERMS}
    near = potentials.exclude_bonded
    lines = ["; tabulated potentials of cgstore, see README.md", "[ defaults ]", "1 1 no 1.0 1.0", "[ atomtypes ]"]
    lines += _atomtypes(potentials)
    for kind in kinds:
        lines += ["", "[ moleculetype ]", f"{kind.name} {len(kind.type) if near == 'molecule' else near}", "[ atoms ]"]
        atoms = enumerate(zip(kind.type, kind.mass, strict=True), 1)
        lines += [f"{k} {name} 1 {kind.name} {name} {k} 0.0 {mass:g}" for k, (name, mass) in atoms]
        for term in TERMS:
            ends = getattr(kind, term)
            lines += [f"[ {_SECTION[term]} ]"] if ends else []
            lines += [
                f"{' '.join(str(end + 1) for end in row)} {_FUNCTION[term]} {numbers[term].index(name)} 1.0"
                for row, name in zip(ends, kind.kinds(term), strict=True)
            ]
    lines += ["", "[ system ]", "tabulated", "[ molecules ]"]
    return "\n".join([*lines, *(f"{kinds[number].name} {count}" for number, count in runs)]) + "\n"


def _gro(particles: Particles) -> str:
    """Return the particles as a GRO file, to 1e-6 nm."""
    topology = particles.topology
    lines = ["tabulated", f"{len(topology):5d}"]
    for k, (molecule, kind, name, x) in enumerate(
        zip(topology.molecule, topology.molecule_kind, topology.name, particles.position, strict=True), 1
    ):
        place = "".join(f"{value:11.6f}" for value in x)
        lines.append(f"{(molecule + 1) % 100000:5d}{str(kind)[:5]:<5s}{str(name)[:5]:>5s}{k % 100000:5d}{place}")
    return "\n".join([*lines, _box(particles.box)]) + "\n"


def _box(box: NDArray[np.float64]) -> str:
    """Return the last line: three numbers, or nine for a box that is not rectangular."""
    order = ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1))
    numbers = [box[place] for place in order]
    return " ".join(f"{value:.6f}" for value in (numbers if np.any(numbers[3:]) else numbers[:3]))
