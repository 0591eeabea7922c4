"""Peptides as ideal α-helices, capped by acetyl and N-methyl amide, with hydrogens."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cgstore.errors import InputError, MissingExtra

__all__ = ["AMINO_ACIDS", "helix"]

AMINO_ACIDS = "ACDEFGHIKLMNPQRSTVWY"

_PHI, _PSI = -57.0, -47.0  # degree; the α-helix, IUPAC-IUB 1970, doi:10.1021/bi00820a001
_CHARGED = ("ARG", "LYS", "HIS", "ASP", "GLU")
_ACIDITY = 7.0  # pH
# Caps are parts of a glycine: its atoms, by the names that they get.
_FIRST = {"CA": "CH3", "C": "C", "O": "O"}
_LAST = {"N": "N", "CA": "C"}

Float = NDArray[np.float64]


def helix(sequence: str, forcefield: Any) -> Any:
    """Return a peptide as `openmm.app.Modeller`: ACE, the residues of the sequence, NME.

    Parameters
    ----------
    sequence : letters of `AMINO_ACIDS`
    forcefield : `openmm.app.ForceField`; hydrogens are placed by its bonds and angles

    Returns
    -------
    modeller : its middle in the origin, its axis along z, the N terminus above; side chains that carry a charge point
        to x > 0 in the mean; no box. Side chains are charged as at pH 7

    Raises
    ------
    InputError : there are no, or other letters
    MissingExtra : OpenMM or PeptideBuilder is not installed

    Notes
    -----
    Bond lengths, angles and side chains are those of PeptideBuilder (Tien et al. 2013, doi:10.7717/peerj.80).
    """
    if not sequence or (unknown := sorted(set(sequence) - set(AMINO_ACIDS))):
        what = f"the letter {unknown[0]!r}" if sequence else "no letter"
        raise InputError(f"found {what} in the sequence {sequence!r}, expected letters of {AMINO_ACIDS}")
    try:
        from openmm import Platform, unit
        from openmm.app import Modeller
    except ImportError as error:
        raise MissingExtra.of("openmm", extra="simulate", purpose="building a peptide") from error
    topology, position = _heavy(sequence)
    modeller = Modeller(topology, _upright(topology, position) * unit.nanometer)
    modeller.addHydrogens(forcefield, pH=_ACIDITY, platform=Platform.getPlatformByName("Reference"))
    return modeller


def _heavy(sequence: str) -> tuple[Any, Float]:
    """Return topology and positions, nm, of a helix without hydrogens."""
    from openmm.app import Element, Topology

    try:
        from PeptideBuilder import add_residue, initialize_res
    except ImportError as error:
        raise MissingExtra.of("PeptideBuilder", extra="simulate", purpose="building a peptide") from error
    built = initialize_res("G")
    for letter in f"{sequence}G":
        add_residue(built, letter, _PHI, _PSI)
    residues = list(built.get_residues())
    topology, places = Topology(), []
    chain = topology.addChain()
    for residue in residues:
        caps = {id(residues[0]): ("ACE", _FIRST), id(residues[-1]): ("NME", _LAST)}
        name, kept = caps.get(id(residue), (residue.get_resname(), None))
        made = topology.addResidue(name, chain)
        for atom in residue:
            if kept is None or atom.get_name() in kept:
                called = kept[atom.get_name()] if kept else atom.get_name()
                topology.addAtom(called, Element.getBySymbol(atom.element), made)
                places.append(atom.get_coord() / 10)  # from Å
    topology.createStandardBonds()
    return topology, np.array(places, np.float64)


def _upright(topology: Any, position: Float) -> Float:
    """Put the middle of the backbone in the origin, its axis along z, and charged side chains to x > 0."""
    atoms = list(topology.atoms())
    alpha = np.array([atom.index for atom in atoms if atom.name == "CA"])
    places = position - position[alpha].mean(0)
    if len(alpha) > 1:
        axis = np.linalg.svd(places[alpha])[2][0]
        places = places @ _frame(axis * np.sign(axis @ (places[alpha[0]] - places[alpha[-1]]))).T
    charged = [atom.index for atom in atoms if atom.residue.name in _CHARGED and atom.name not in ("N", "CA", "C", "O")]
    side = places[charged, :2].mean(0) if charged else np.array([1.0, 0.0])
    cosine, sine = side / np.linalg.norm(side)
    turn = np.array([[cosine, -sine, 0.0], [sine, cosine, 0.0], [0.0, 0.0, 1.0]])
    return np.asarray(places @ turn, np.float64)


def _frame(axis: Float) -> Float:
    """Return a rotation, (xyz, xyz), that turns an axis into z."""
    normal = np.eye(3)[np.argmin(np.abs(axis))]
    across = np.cross(normal, axis)
    across /= np.linalg.norm(across)
    return np.array([across, np.cross(axis, across), axis])
