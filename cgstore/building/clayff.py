"""CLAYFF: silica of Lennard-Jones sites and charges, in which only hydroxyls are bonded.

Cygan, Liang and Kalinichev 2004, doi:10.1021/jp0363287, made for water of the SPC model. Silicon and oxygen are held
together by their charges; nothing but these bends the angle at a hydroxyl of silicon. Lorentz-Berthelot rules.
"""

import numpy as np

from cgstore.building.particles import Particle

__all__ = ["SILICA", "charges", "silica_molecule", "silica_types"]

SILICA = "SILICA"  # the kind of molecule

# Charge in e, D0 in kcal/mol, R0 in Å, of D0 ((R0/r)^12 − 2 (R0/r)^6); tables 1 and 2 of the publication.
_SITES = {
    "silicon": (2.1, 1.8405e-6, 3.7064),
    "bridge": (-1.05, 0.1554, 3.5532),
    "hydroxyl": (-0.95, 0.1554, 3.5532),
    "hydrogen": (0.425, 0.0, 0.0),
}
_STRETCH, _LENGTH = 554.1349, 1.0  # kcal/mol/Å² of k (r − r0)², and Å
_TYPE = {"silicon": "CL_st", "bridge": "CL_ob", "hydroxyl": "CL_oh", "hydrogen": "CL_ho"}
_MASS = {"silicon": 28.0855, "bridge": 15.9994, "hydroxyl": 15.9994, "hydrogen": 1.008}  # u
_NUMBER = {"silicon": 14, "bridge": 8, "hydroxyl": 8, "hydrogen": 1}
_KCAL = 4.184  # kJ


def charges(particle: Particle) -> list[float]:
    """Return the charge of each atom in e."""
    return [_SITES[role][0] for role in particle.role.tolist()]


def silica_types() -> str:
    """Return the lines of `[ atomtypes ]`, σ in nm and ε in kJ/mol.

    Examples
    --------
    >>> print(silica_types())
    CL_st 14 28.0855 0.0 A 0.330203 7.70065e-06
    CL_ob 8 15.9994 0.0 A 0.316554 0.650194
    CL_oh 8 15.9994 0.0 A 0.316554 0.650194
    CL_ho 1 1.008 0.0 A 0 0
    <BLANKLINE>
    """
    lines = [
        f"{_TYPE[role]} {_NUMBER[role]} {_MASS[role]} 0.0 A {0.1 * far / 2 ** (1 / 6):.6g} {_KCAL * deep:.6g}\n"
        for role, (_, deep, far) in _SITES.items()
    ]
    return "".join(lines)


def silica_molecule(particle: Particle, *, hydrogen_mass: float | None = None) -> str:
    """Return the `[ moleculetype ]` of one particle; all its pairs interact but for those of a hydroxyl.

    Parameters
    ----------
    hydrogen_mass : u, if given; what hydrogens get more than their own mass their oxygen loses
    """
    mass = np.array([_MASS[role] for role in particle.role.tolist()])
    for oxygen, hydrogen in particle.hydroxyls() if hydrogen_mass else ():
        mass[oxygen] -= hydrogen_mass - mass[hydrogen]
        mass[hydrogen] = hydrogen_mass
    rows = zip(
        particle.role.tolist(), particle.group_id.tolist(), particle.group.tolist(), particle.name.tolist(),
        charges(particle), mass.tolist(), strict=True,
    )  # fmt: skip
    atoms = [
        f"{k} {_TYPE[role]} {number} {group} {name} {k} {charge:g} {heavy:.7g}"
        for k, (role, number, group, name, charge, heavy) in enumerate(rows, start=1)
    ]
    stiffness = 2 * _STRETCH * _KCAL * 100  # kJ/mol/nm² of ½ k (r − r0)²
    bonds = [f"{i + 1} {j + 1} 1 {0.1 * _LENGTH:g} {stiffness:.6f}" for i, j in particle.hydroxyls().tolist()]
    sections = {"moleculetype": [f"{SILICA} 1"], "atoms": atoms, "bonds": bonds}
    return "".join(f"[ {title} ]\n" + "\n".join(lines) + "\n\n" for title, lines in sections.items())
