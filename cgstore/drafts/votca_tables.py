"""Tables of VOTCA: x, y and a flag, `i` for what is known, `o` for what was extrapolated, `u` for what is undefined."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cgstore.errors import InputError
from cgstore.plain_files import read_plain
from cgstore.tables import Table, table_of

__all__ = ["Columns", "pair_table", "read_table"]

Float = NDArray[np.float64]
_MOST_BYTES = 2**26


class Columns(NamedTuple):
    """A table of VOTCA."""

    x: Float  # (row,) nm, or rad
    y: Float  # (row,)
    known: NDArray[np.bool_]  # (row,) not flagged as undefined


def read_table(path: Path) -> Columns:
    """Return a table of VOTCA: a potential (.pot, .pot.in), a force, or a distribution (.dist.tgt).

    Raises
    ------
    InputError : it cannot be read, has other columns, or x does not grow; the message names the line

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "A-A.dist.tgt"
    ...     _ = path.write_text("# g(r)\\n0.1 0.0 u\\n0.2 0.9 i\\n")
    ...     read_table(path).known.tolist()
    [False, True]
    """
    try:
        lines = read_plain(path, most=_MOST_BYTES).decode("utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from error
    rows: list[tuple[float, float, bool]] = []
    for number, line in enumerate(lines, 1):
        words = line.partition("#")[0].split()
        if not words or words[0].startswith("@"):
            continue
        flag = words[-1] if words[-1] in ("i", "o", "u") else ""
        try:
            x, y = float(words[0]), float(words[1])
        except (ValueError, IndexError) as error:
            raise InputError(f"{path}: line {number} is {line[:80]!r}, expected x, y and a flag i, o or u") from error
        if rows and not x > rows[-1][0]:
            raise InputError(f"{path}: line {number} is at x = {x:g}, which does not grow")
        rows.append((x, y, flag != "u" and bool(np.isfinite(y))))
    if len(rows) < 2:
        raise InputError(f"{path}: found {len(rows)} rows, expected a table of VOTCA")
    x_column, y_column, known = zip(*rows, strict=True)
    return Columns(np.array(x_column), np.array(y_column), np.array(known))


def pair_table(path: Path, cutoff: float) -> Table:
    """Return a pair potential of VOTCA up to a cutoff, in nm and kJ/mol; its core goes on where it is undefined.

    Raises
    ------
    InputError : as `read_table`, or it is undefined between places where it is known
    PhysicsError : it ends before the cutoff
    """
    x, y, known = read_table(path)
    places = np.flatnonzero(known)
    if len(places) < 3 or not known[places[0] : places[-1] + 1].all():
        raise InputError(f"{path}: found {len(places)} known rows with gaps, expected a potential without holes")
    return table_of(x[places], y[places], cutoff)
