"""Text in columns: names cut to their width, numbers that start again, and what does not fit at all."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from cgstore.errors import InputError

__all__ = ["check_range", "fill_in", "fitted", "notes_on_names"]

_SHOWN = 3  # examples in a note


def fitted(names: NDArray[np.str_], width: int) -> list[str]:
    """Return names without blanks, cut to a width; a name that is empty becomes X.

    >>> fitted(np.array(["C 1", "", "GL1234"]), 4)
    ['C_1', 'X', 'GL12']
    """
    return ["_".join(str(name).split())[:width] or "X" for name in names]


def notes_on_names(what: str, names: NDArray[np.str_], width: int) -> list[str]:
    """Say which names are cut, and whether different ones have become the same.

    >>> notes_on_names("atom names", np.array(["CHOL1", "CHOL2"]), 4)
    ['atom names longer than 4 letters are cut: CHOL1, CHOL2; 2 names become 1']
    """
    different = sorted(set(names.tolist()))
    long = [name for name in different if len(name) > width]
    if not long:
        return []
    left = len(set(fitted(np.array(different), width)))
    shown = ", ".join(long[:_SHOWN]) + (" …" if len(long) > _SHOWN else "")
    merged = f"; {len(different)} names become {left}" if left < len(different) else ""
    return [f"{what} longer than {width} letters are cut: {shown}{merged}"]


def fill_in(template: str, *columns: NDArray[np.float32] | NDArray[np.float64]) -> str:
    """Return a template of one frame with its numbers, particle by particle; much quicker than line by line.

    >>> fill_in("A%5.1f%5.1f\\nB%5.1f%5.1f\\n", np.array([[1.0, 2.0], [3.0, 4.0]]))
    'A  1.0  2.0\\nB  3.0  4.0\\n'
    """
    return template % tuple(np.concatenate(columns, axis=1).reshape(-1).tolist())


def check_range(
    values: NDArray[np.float32] | NDArray[np.float64], limits: tuple[float, float], where: str, instead: Iterable[str]
) -> None:
    """Refuse numbers that would run into the next column.

    Raises
    ------
    InputError : a value is not strictly between the limits
    """
    low, high = float(values.min()), float(values.max())
    if limits[0] < low and high < limits[1]:
        return
    worst = low if low <= limits[0] else high
    raise InputError(
        f"{where}: found {worst:g}, the columns hold {limits[0]:g} to {limits[1]:g}; export to {' or '.join(instead)}"
    )
