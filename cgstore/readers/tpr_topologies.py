"""TPR files of GROMACS: molecule types as MDAnalysis reads them, repeated once their counts are known to be true."""

from pathlib import Path
from typing import Any

import numpy as np

from cgstore.errors import InputError, MissingExtra
from cgstore.readers.molecule_types import MoleculeType, repeated
from cgstore.readers.stated_topologies import Stated, as_text

__all__ = ["read_tpr"]

_SIZE_FIELD, _IN_MEMORY = 119, 27  # file version and generation since which the body has an encoding of its own
_COORDINATES = 12  # bytes of each particle in a TPR, which always has positions


def read_tpr(path: Path) -> Stated:
    """Read what a TPR states: molecule types are stored once, with how often each follows the other.

    Raises
    ------
    MissingExtra : MDAnalysis is not installed
    Exception : whatever its parser stumbles over in a damaged file
    """
    try:
        from MDAnalysis.topology.tpr import utils
    except ImportError as error:
        raise MissingExtra.of("MDAnalysis", extra="ingest", purpose=f"reading {path.name}") from error
    data = utils.TPXUnpacker(path.read_bytes())
    header = utils.read_tpxheader(data)
    size = len(data.get_buffer())
    if not header.bTop:
        raise InputError(f"{path}: the TPR has no topology")
    if not 0 < header.natoms <= size // _COORDINATES:
        raise ValueError(f"{header.natoms} atoms are announced, {size} bytes cannot hold them")
    if header.fver >= _SIZE_FIELD and header.fgen >= _IN_MEMORY:
        data = utils.TPXUnpacker2020.from_unpacker(data)
    if header.bBox:
        utils.extract_box_info(data, header.fver)
    for _ in range((2 if header.fver < 69 else 1) * min(header.ngtc, size)):
        data.unpack_real()
    symbols = utils.do_symtab(data)
    utils.do_symstr(data, symbols)  # name of the system
    utils.do_ffparams(data, header.fver)
    kinds = [utils.do_moltype(data, symbols, header.fver) for _ in range(data.unpack_int())]
    blocks = [utils.do_molblock(data) for _ in range(data.unpack_int())]
    counts = [(kinds[block.molb_type], block.molb_nmol) for block in blocks]
    atoms = sum(count * len(kind.atomkinds) for kind, count in counts)
    if any(count < 0 for _, count in counts) or atoms != header.natoms:
        raise ValueError(f"its molecules have {atoms} atoms together, the header announces {header.natoms}")
    return repeated([(_molecule_type(kind), count) for kind, count in counts if count])


def _molecule_type(kind: Any) -> MoleculeType:
    """Turn a molecule type of MDAnalysis into columns."""
    atoms = kind.atomkinds
    _, number = np.unique([atom.resid for atom in atoms], return_inverse=True)
    bond, angle, dihedral = (
        np.array(terms or (), np.int64).reshape(-1, size)
        for size, terms in ((2, kind.bonds), (3, kind.angles), (4, kind.dihe))
    )
    return MoleculeType(
        kind=kind.name.decode("utf-8", "replace"),
        name=as_text(atom.name.decode("utf-8", "replace") for atom in atoms),
        type=as_text(atom.type.decode("utf-8", "replace") for atom in atoms),
        residue=as_text(atom.resname.decode("utf-8", "replace") for atom in atoms),
        number=np.asarray(number, np.int64),
        mass=np.array([atom.mass for atom in atoms], np.float64),
        charge=np.array([atom.charge for atom in atoms], np.float64),
        bond=bond,
        angle=angle,
        dihedral=dihedral,
    )
