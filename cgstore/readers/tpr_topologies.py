"""TPR files of GROMACS: molecule types as MDAnalysis reads them, repeated once their counts are known to be true."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cgstore.errors import InputError, MissingExtra
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
    return _repeated([(_Kind(kind), count) for kind, count in counts if count])


class _Kind:
    """One molecule type as columns."""

    def __init__(self, kind: Any) -> None:
        atoms = kind.atomkinds
        self.name = as_text(atom.name.decode("utf-8", "replace") for atom in atoms)
        self.type = as_text(atom.type.decode("utf-8", "replace") for atom in atoms)
        self.residue = as_text(atom.resname.decode("utf-8", "replace") for atom in atoms)
        _, self.number = np.unique([atom.resid for atom in atoms], return_inverse=True)
        self.mass = np.array([atom.mass for atom in atoms], np.float64)
        self.charge = np.array([atom.charge for atom in atoms], np.float64)
        self.kind = np.full(len(atoms), kind.name.decode("utf-8", "replace"))
        self.residues = int(self.number.max()) + 1
        self.terms = {
            size: np.array(terms or (), np.int64).reshape(-1, size)
            for size, terms in ((2, kind.bonds), (3, kind.angles), (4, kind.dihe))
        }
        if any(terms.size and not 0 <= terms.min() <= terms.max() < len(atoms) for terms in self.terms.values()):
            raise ValueError("a term names an atom outside its molecule")

    def __len__(self) -> int:
        """Return the number of atoms."""
        return len(self.name)


def _repeated(blocks: list[tuple[_Kind, int]]) -> Stated:
    """Lay the molecules one after the other."""

    def column(name: str) -> Any:
        return np.concatenate([np.tile(getattr(kind, name), count) for kind, count in blocks])

    def counted(of: Any, each: Any) -> NDArray[np.int64]:
        """Join tables that grow by `each(kind)` from molecule to molecule."""
        parts, start = [], 0
        for kind, count in blocks:
            starts = start + each(kind) * np.arange(count)
            table = of(kind)
            parts.append((starts.reshape(-1, *[1] * table.ndim) + table).reshape(-1, *table.shape[1:]))
            start += count * each(kind)
        return np.concatenate(parts)

    number = counted(lambda kind: kind.number, lambda kind: kind.residues)
    return Stated(
        name=column("name"),
        type=column("type"),
        residue=column("residue"),
        residue_number=number,
        residue_id=number + 1,
        together=counted(lambda kind: np.zeros(len(kind), np.int64), lambda kind: 1),
        kind=column("kind"),
        mass=column("mass"),
        charge=column("charge"),
        bond=counted(lambda kind: kind.terms[2], len),
        angle=counted(lambda kind: kind.terms[3], len),
        dihedral=counted(lambda kind: kind.terms[4], len),
    )
