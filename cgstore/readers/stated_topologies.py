"""What a topology file states, before anything is inferred from it: the form in which every reader hands it on."""

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cgstore.errors import CgstoreError, InputError

__all__ = ["Stated", "as_terms", "as_text", "leading_number", "no_terms", "reading"]

Int = NDArray[np.int64]
Text = NDArray[np.str_]
Float = NDArray[np.float64]


def no_terms(size: int) -> Int:
    """Return an empty table of bonds (2), angles (3) or dihedrals (4)."""
    return np.empty((0, size), np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class Stated:
    """Columns of particles and tables of terms; None where the file is silent.

    `together` numbers what is one molecule whatever the bonds are: molecules of a TPR, residues of a GRO, bodies of a
    GSD; without it a molecule is what bonds connect. `residue_number` tells residues apart, `residue_id` is what the
    file calls them.
    """

    name: Text  # (particle,)
    type: Text | None = None  # (particle,)
    residue: Text | None = None  # (particle,) name
    residue_number: Int | None = None  # (particle,)
    residue_id: Int | None = None  # (particle,)
    together: Int | None = None  # (particle,)
    kind: Text | None = None  # (particle,) of molecule
    element: Text | None = None  # (particle,) symbol, "" where unknown
    mass: Float | None = None  # (particle,) u
    charge: Float | None = None  # (particle,) e
    bond: Int | None = None  # (bond, 2)
    angle: Int | None = None  # (angle, 3)
    dihedral: Int | None = None  # (dihedral, 4)
    position: Float | None = None  # (particle, xyz) nm
    box: Float | None = None  # (box_vector, xyz) nm

    def __len__(self) -> int:
        """Return the number of particles."""
        return len(self.name)


@contextlib.contextmanager
def reading(path: Path, format: str) -> Iterator[None]:
    """Turn whatever a parser stumbles over in a damaged or foreign file into one InputError."""
    try:
        with np.errstate(all="ignore"):  # numbers that are none are found where they are checked
            yield
    except CgstoreError:
        raise
    except ImportError as error:
        raise InputError(f"{path}: {' '.join(str(error).split())}") from error
    except EOFError as error:
        raise InputError(f"{path}: the {format} file ends in the middle; it is truncated or damaged") from error
    # A parser can fail in any way on bytes that are not what they should be.
    except Exception as error:
        said = f"{type(error).__name__}: {error}" if not isinstance(error, ValueError) else str(error)
        raise InputError(f"{path}: not a {format} file, or a damaged one: {said[:300]}") from error


def as_terms(terms: Any, size: int, particles: int) -> NDArray[np.int32]:
    """Return bonds, angles or dihedrals, each once and turned so that its first particle is the smaller end.

    A dihedral with several terms is listed once per term in many files.

    Raises
    ------
    ValueError : a particle is out of range or twice in one term
    """
    found = np.array(() if terms is None else terms, np.int64).reshape(-1, size)
    if found.size and not (found.min() >= 0 and found.max() < particles):
        wrong = found[(found < 0) | (found >= particles)][0]
        raise ValueError(f"a term names particle {wrong + 1}, the file has {particles}")
    ordered = np.sort(found, axis=1)
    if (twice := (ordered[:, 1:] == ordered[:, :-1]).any(axis=1)).any():
        raise ValueError(f"a term names particle {found[twice][0][0] + 1} together with itself")
    turned = found[:, 0] > found[:, -1]
    found[turned] = found[turned, ::-1]
    return np.unique(found, axis=0).astype(np.int32)


def as_text(values: Any) -> Text:
    """Return values as an array of strings without blanks around them."""
    return np.array([str(value).strip() for value in values], np.str_)


def leading_number(text: str) -> int:
    """Return the number that a residue id begins with: `"12A"` → 12, 0 when it has none.

    >>> leading_number("12A"), leading_number("-3"), leading_number("X")
    (12, -3, 0)
    """
    found = re.match(r"-?\d{1,9}", text)
    return int(found[0]) if found else 0
