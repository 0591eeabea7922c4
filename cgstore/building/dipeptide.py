"""Alanine dipeptide, ACE-ALA-NME: its atoms and bonds, and its positions at any pair of torsions φ and ψ."""

import numpy as np
from numpy.typing import NDArray

from cgstore.engines.implicit_openmm import Molecule

__all__ = ["PHI", "PSI", "alanine_dipeptide"]

Float = NDArray[np.float64]

PHI = (4, 6, 8, 14)  # C–N–CA–C
PSI = (6, 8, 14, 16)  # N–CA–C–N

_RESIDUES = {
    "ACE": ("HH31", "CH3", "HH32", "HH33", "C", "O"),
    "ALA": ("N", "H", "CA", "HA", "CB", "HB1", "HB2", "HB3", "C", "O"),
    "NME": ("N", "H", "CH3", "HH31", "HH32", "HH33"),
}
_FIRST = ((1, (0.0, 0.0, 0.0)), (4, (0.1522, 0.0, 0.0)))  # CH3 and C of ACE; N is in the plane
# Atom, the atom it is bonded to, the next one, a third; bond (nm), angle and torsion (degrees), to which φ or ψ is added.
# Bonds and angles are near those of AMBER; the energy is minimised anyway.
_PLACES = (
    (6, 4, 1, -1, 0.1335, 116.6, 0.0, ""),
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


def alanine_dipeptide(phi: float, psi: float) -> Molecule:
    """Return the 22 atoms of ACE-(L-ALA)-NME with trans peptide bonds, at torsions in degrees.

    Examples
    --------
    >>> molecule = alanine_dipeptide(-120.0, 130.0)
    >>> len(molecule.name), len(molecule.bond), molecule.name[list(PHI)].tolist()
    (22, 21, ['C', 'N', 'CA', 'C'])
    """
    added = {"phi": phi, "psi": psi, "": 0.0}
    position = np.zeros((sum(map(len, _RESIDUES.values())), 3))
    for atom, place in _FIRST:
        position[atom] = place
    bonds = [(1, 4)]
    for atom, bonded, next_, third, length, angle, torsion, turned in _PLACES:
        corner = position[third] if third >= 0 else np.array([0.0, 0.1, 0.0])  # any point off the line
        place = position[bonded], position[next_], corner
        position[atom] = _placed(*place, length, np.radians(angle), np.radians(torsion + added[turned]))
        bonds.append((min(atom, bonded), max(atom, bonded)))
    return Molecule(
        name=np.array([name for names in _RESIDUES.values() for name in names]),
        residue=np.array([residue for residue, names in _RESIDUES.items() for _ in names]),
        residue_id=np.repeat(np.arange(1, 4, dtype=np.int32), [len(names) for names in _RESIDUES.values()]),
        bond=np.array(sorted(bonds), np.int32),
        position=position - position.mean(axis=0),
    )


def _placed(bonded: Float, next_: Float, third: Float, length: float, angle: float, torsion: float) -> Float:
    """Return the point at a distance of one atom, at an angle with a second and a torsion with a third."""
    along = (bonded - next_) / np.linalg.norm(bonded - next_)
    normal = np.cross(next_ - third, along)
    normal /= np.linalg.norm(normal)
    across = np.cross(normal, along)
    turned = np.sin(angle) * (np.cos(torsion) * across + np.sin(torsion) * normal)
    return np.asarray(bonded + length * (turned - np.cos(angle) * along), np.float64)
