"""Potentials as the files of simulation programs: tables with the input that uses them.

Numbers leave in the units of the program; what a program cannot do is said in the files written.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

import xarray as xr

from cgstore.documents import did_you_mean
from cgstore.errors import InputError
from cgstore.exchange.gromacs import gromacs_files
from cgstore.exchange.hoomd import hoomd_files
from cgstore.exchange.lammps import lammps_files
from cgstore.exchange.magic import magic_files
from cgstore.exchange.openmm import openmm_files
from cgstore.exchange.potentials import Potentials, TablesOfMolecules, gather
from cgstore.exchange.votca import votca_files
from cgstore.tables import Table

__all__ = ["PROGRAMS", "write_potential"]

Files = dict[str, str | bytes]

PROGRAMS: dict[str, Callable[[Potentials], Files]] = {
    "gromacs": gromacs_files,
    "lammps": lammps_files,
    "openmm": openmm_files,
    "hoomd": hoomd_files,
    "votca": votca_files,
    "magic": magic_files,
}


def write_potential(
    tables: Mapping[str, Table] | TablesOfMolecules,
    program: str,
    folder: Path | str,
    *,
    masses: Mapping[str, float] | None = None,
    temperature: float = 300.0,
    system: xr.Dataset | None = None,
) -> list[Path]:
    """Write potentials as tables of a simulation program, with a commented input that uses them.

    Parameters
    ----------
    tables : potential of each pair of types, by its name "A-B"; every pair of the types. Or tables of molecules too,
        such as `cgstore.learn.molecular.Molecular`
    program : one of `PROGRAMS`
    folder : made if it is not there; files of the same names are replaced
    masses : of each type, u; those of the system by default; needed by lammps
    temperature : K, only for the input
    system : particles in a box; their first frame is written too, for programs that can start from it

    Returns
    -------
    the files written, the one to read first in front

    Raises
    ------
    InputError : unknown program, a pair or a term of the system without a table, names that cannot be read as pairs,
        no masses, or something that the program does not have
    MissingExtra : the program writes its files itself, and is not installed

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> r = np.linspace(0.0, 1.0, 501)
    >>> table = Table(r, (1.0 - r) ** 2, 2.0 * (1.0 - r))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     print([path.name for path in write_potential({"M-M": table}, "gromacs", folder)])
    ['README.md', 'table.xvg', 'table_M_M.xvg', 'grompp.mdp']
    """
    if program not in PROGRAMS:
        raise InputError(f'write_potential: found program "{program}"{did_you_mean(program, PROGRAMS)}')
    contents = PROGRAMS[program](gather(tables, masses=masses, temperature=temperature, system=system))
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    written = []
    for name, content in contents.items():
        path = target / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        written.append(path)
    return written
