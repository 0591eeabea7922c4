"""Potentials for VOTCA: a .pot table of each interaction, with flags, and the settings that name them."""

from xml.sax.saxutils import escape

import numpy as np
from numpy.typing import NDArray

from cgstore.exchange.potentials import TERMS, Potentials
from cgstore.tables import BondedTable
from cgstore.units import BOLTZMANN

__all__ = ["votca_files"]

Float = NDArray[np.float64]

_EXTENSION = 1.0  # nm beyond the cutoff, in tables that VOTCA makes for GROMACS


def votca_files(potentials: Potentials) -> dict[str, str | bytes]:
    """Return the files for VOTCA (csg) by name: lengths in nm, angles in radians, energies in kJ/mol.

    All points have the flag i, in range: cores that were not sampled are extrapolated already.
    """
    files: dict[str, str | bytes] = {"settings.xml": _settings(potentials)}
    for pair in sorted(potentials.pairs):
        table = potentials.pairs[pair]
        files[f"{pair}.pot"] = _table(table.r, table.energy, f"{pair}: r/nm, U/(kJ/mol), flag")
    for term in TERMS:
        for kind, bonded in potentials.terms(term).items():
            unit = "r/nm" if term == "bond" else "x/rad"
            files[f"{term}-{kind}.pot"] = _table(_x(bonded), bonded.energy, f"{term} {kind}: {unit}, U/(kJ/mol), flag")
    return files


def _x(table: BondedTable) -> Float:
    """Return the nodes in nm or radians."""
    return table.x if table.term == "bond" else np.radians(table.x)


def _table(x: Float, energy: Float, title: str) -> str:
    """Return a table with flags."""
    rows = "\n".join(f"{place:.12g} {value:.12e} i" for place, value in zip(x, energy, strict=True))
    return f"# {title}\n{rows}\n"


def _settings(potentials: Potentials) -> str:
    """Return a settings file with each interaction, its range and the step of its table."""
    parts = []
    for pair in sorted(potentials.pairs):
        table, (a, b) = potentials.pairs[pair], pair.split("-")
        types = f"    <type1>{escape(a)}</type1>\n    <type2>{escape(b)}</type2>\n"
        parts.append(_interaction("non-bonded", pair, types, (0.0, table.cutoff), table.spacing))
    for term in TERMS:
        for kind, bonded in potentials.terms(term).items():
            ends, step = _x(bonded)[[0, -1]].tolist(), bonded.spacing
            step = step if term == "bond" else float(np.radians(step))
            parts.append(_interaction("bonded", f"{term}-{kind}", "", (ends[0], ends[1]), step))
    end = potentials.cutoff + _EXTENSION
    return f"""<!-- Potentials of cgstore, NAME.pot each. csg_call convert_potential gromacs NAME.pot table.xvg makes
     a table of a program; its options, with two dashes each: options settings.xml, ia-type non-bonded or bonded,
     ia-name NAME. -->
<cg>
{"".join(parts)}  <inverse>
    <kBT>{potentials.temperature * BOLTZMANN:.10g}</kBT>
    <program>gromacs</program>
    <gromacs>
      <table_bins>0.002</table_bins>
      <table_end>{end:.10g}</table_end>
      <pot_max>1e8</pot_max>
    </gromacs>
  </inverse>
</cg>
"""


def _interaction(kind: str, name: str, types: str, ends: tuple[float, float], step: float) -> str:
    """Return the entry of one interaction."""
    return f"""  <{kind}>
    <name>{escape(name)}</name>
{types}    <min>{ends[0]:.12g}</min>
    <max>{ends[1]:.12g}</max>
    <step>{step:.12g}</step>
  </{kind}>
"""
