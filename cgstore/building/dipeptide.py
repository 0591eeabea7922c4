"""Alanine dipeptide, ACE-ALA-NME: its atoms and bonds, and its positions at any pair of torsions φ and ψ."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cgstore.errors import MissingExtra

__all__ = ["FREE", "KIND", "PHI", "PSI", "alanine_dipeptide", "dipeptide_positions", "dipeptide_rows"]

Float = NDArray[np.float64]

KIND = "ACE-ALA-NME"
PHI = (4, 6, 8, 14)  # C–N–CA–C
PSI = (6, 8, 14, 16)  # N–CA–C–N
FREE = (14, 16, 0, 11, 19)  # atoms whose torsions turn: φ, ψ, and the methyl groups of ACE, ALA and NME

_RESIDUES = {
    "ACE": ("HH31", "CH3", "HH32", "HH33", "C", "O"),
    "ALA": ("N", "H", "CA", "HA", "CB", "HB1", "HB2", "HB3", "C", "O"),
    "NME": ("N", "H", "CH3", "HH31", "HH32", "HH33"),
}
_ATOMS = 22
_CARBONYL = (4, (0.1522, 0.0, 0.0))  # C of ACE, seen from its CH3, atom 1; N then lies in the plane of x and y
# An atom, the one it is bonded to, the next one and a third; bond (nm), angle and torsion (degrees), and what is added
# to the torsion. Bonds and angles are near those of AMBER; the energy is minimised before anything moves.
_PLACES = (
    (6, 4, 1, None, 0.1335, 116.6, 0.0, ""),
    (8, 6, 4, 1, 0.1449, 121.9, 180.0, ""),
    (7, 6, 4, 1, 0.1010, 119.8, 0.0, ""),
    (5, 4, 6, 8, 0.1229, 122.9, 0.0, ""),
    (0, 1, 4, 6, 0.1090, 109.5, 180.0, ""),
    (2, 1, 4, 6, 0.1090, 109.5, 60.0, ""),
    (3, 1, 4, 6, 0.1090, 109.5, -60.0, ""),
    (14, 8, 6, 4, 0.1522, 110.1, 0.0, "phi"),
    (10, 8, 6, 4, 0.1526, 109.7, -120.0, "phi"),  # L-alanine
    (9, 8, 6, 4, 0.1090, 109.5, 120.0, "phi"),
    (11, 10, 8, 6, 0.1090, 109.5, 60.0, ""),
    (12, 10, 8, 6, 0.1090, 109.5, 180.0, ""),
    (13, 10, 8, 6, 0.1090, 109.5, -60.0, ""),
    (16, 14, 8, 6, 0.1335, 116.6, 0.0, "psi"),
    (15, 14, 8, 6, 0.1229, 120.4, 180.0, "psi"),
    (18, 16, 14, 8, 0.1449, 121.9, 180.0, ""),
    (17, 16, 14, 8, 0.1010, 119.8, 0.0, ""),
    (19, 18, 16, 14, 0.1090, 109.5, 60.0, ""),
    (20, 18, 16, 14, 0.1090, 109.5, 180.0, ""),
    (21, 18, 16, 14, 0.1090, 109.5, -60.0, ""),
)


def alanine_dipeptide(phi: float, psi: float) -> Any:
    """Return the `openmm.app.Modeller` of ACE-(L-ALA)-NME with trans peptide bonds, at torsions in degrees.

    Its 22 atoms are named as in the force fields of AMBER; nothing is added, hydrogens are there. It has no box.

    Raises
    ------
    MissingExtra : OpenMM is not installed
    """
    try:
        from openmm import app, unit
    except ImportError as error:
        raise MissingExtra.of("openmm", extra="simulate", purpose="building a peptide") from error
    topology = app.Topology()
    chain = topology.addChain()
    atoms = []
    for residue, names in _RESIDUES.items():
        place = topology.addResidue(residue, chain)
        atoms += [topology.addAtom(name, app.Element.getBySymbol(name[0]), place) for name in names]
    for first, second in [(1, 4), *(row[:2] for row in _PLACES)]:
        topology.addBond(atoms[first], atoms[second])
    return app.Modeller(topology, dipeptide_positions(phi, psi) * unit.nanometer)


def dipeptide_positions(phi: float, psi: float) -> Float:
    """Return the positions of the atoms, each from internal coordinates: (atom, xyz) nm, their mean at the origin.

    Examples
    --------
    >>> dipeptide_positions(-120.0, 130.0).shape
    (22, 3)
    """
    added = {"phi": phi, "psi": psi, "": 0.0}
    position = np.zeros((_ATOMS, 3))
    position[_CARBONYL[0]] = _CARBONYL[1]
    for atom, bonded, following, third, length, angle, torsion, turned in _PLACES:
        corner = np.array([0.0, 0.1, 0.0]) if third is None else position[third]  # any point that is not on the line
        frame = position[bonded], position[following], corner
        position[atom] = _placed(*frame, length, np.radians(angle), np.radians(torsion + added[turned]))
    return np.asarray(position - position.mean(axis=0), np.float64)


def dipeptide_rows() -> list[tuple[int, int, int, int]]:
    """Return internal coordinates: rows of an atom, the one it is bonded to, the next one and a third, −1 for none.

    Examples
    --------
    >>> len(dipeptide_rows()), dipeptide_rows()[2:4]
    (22, [(6, 4, 1, -1), (8, 6, 4, 1)])
    """
    placed = [(row[0], row[1], row[2], -1 if row[3] is None else row[3]) for row in _PLACES]
    return [(1, -1, -1, -1), (_CARBONYL[0], 1, -1, -1), *placed]


def _placed(bonded: Float, following: Float, third: Float, length: float, angle: float, torsion: float) -> Float:
    """Return the point at a distance of one atom, at an angle with a second and at a torsion with a third."""
    along = (bonded - following) / np.linalg.norm(bonded - following)
    normal = np.cross(following - third, along)
    normal /= np.linalg.norm(normal)
    across = np.cross(normal, along)
    turned = np.sin(angle) * (np.cos(torsion) * across + np.sin(torsion) * normal)
    return np.asarray(bonded + length * (turned - np.cos(angle) * along), np.float64)
