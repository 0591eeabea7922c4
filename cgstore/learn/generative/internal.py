"""Internal coordinates: bonds, angles and torsions to positions, with the exact logarithm of the volume."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray

from cgstore.errors import InputError

__all__ = ["Internal", "Row", "Zmatrix"]

Float = NDArray[np.float64]
Row = tuple[int, int, int, int]  # an atom, the one it is bonded to, the next one, a third one; −1 for none


@dataclass(frozen=True, slots=True, eq=False)
class Internal:
    """Values of internal coordinates; an angle less than the bonds, a torsion less than the angles."""

    bond: torch.Tensor  # (sample, atom − 1) nm
    angle: torch.Tensor  # (sample, atom − 2) radians
    torsion: torch.Tensor  # (sample, atom − 3) radians; of atoms with an older sibling less its torsion

    @property
    def log_volume(self) -> torch.Tensor:
        """Return log of positions per internal coordinates and rigid motion: Σ log r² + Σ log sin θ, (sample,).

        Without the constant 8π² of turning and the volume of moving.
        """
        return 2.0 * self.bond.abs().log().sum(dim=-1) + torch.sin(self.angle).abs().log().sum(dim=-1)


class Zmatrix:
    """How atoms hang on one another: 3N − 6 coordinates of N atoms.

    Atoms that hang on the same three have one torsion in common: that of the first of them is a torsion, those of the
    others are differences from it, which are stiff. So a methyl group turns by one coordinate.
    """

    def __init__(self, rows: Sequence[Row]) -> None:
        """Take the rows in the order in which atoms are placed.

        Raises
        ------
        InputError : a row refers to an atom that is not placed yet, or atoms are missing
        """
        self.rows = tuple(rows)
        known: list[int] = []
        for place, row in enumerate(self.rows):
            needed = row[1 : 1 + min(place, 3)]
            if row[0] in known or len(set(needed)) < len(needed) or not set(needed) <= set(known):
                raise InputError(
                    f"row {place} of internal coordinates: found {row}, expected atoms of {known} behind it"
                )
            known.append(row[0])
        if sorted(known) != list(range(len(known))) or len(known) < 3:
            raise InputError(
                f"internal coordinates: found rows of atoms {sorted(known)}, expected 0 and so on, 3 or more"
            )
        first: dict[tuple[int, ...], int] = {}
        # Of each torsion, the oldest sibling, or itself.
        self.sibling = [first.setdefault(row[1:], place) for place, row in enumerate(self.rows[3:])]
        self._elder = torch.tensor(self.sibling, dtype=torch.int64)
        self._own = self._elder == torch.arange(len(self.sibling))
        self._levels, self._order = self._sorted()

    def _sorted(self) -> tuple[list[tuple[torch.Tensor, torch.Tensor]], torch.Tensor]:
        """Return which torsions can be placed at once, with where their corners lie then, and where each atom is."""
        at = {row[0]: place for place, row in enumerate(self.rows[:3])}
        left = list(range(len(self.rows) - 3))
        levels = []
        while left:
            now = [place for place in left if all(other in at for other in self.rows[place + 3][1:])]
            corners = [[at[other] for other in self.rows[place + 3][1:]] for place in now]
            at |= {self.rows[place + 3][0]: len(at) + number for number, place in enumerate(now)}
            left = [place for place in left if place not in now]
            levels.append((torch.tensor(now), torch.tensor(corners)))
        return levels, torch.tensor([at[atom] for atom in range(len(self.rows))])

    def torsion_of(self, atom: int) -> int:
        """Return the number of the torsion by which an atom is placed."""
        return [row[0] for row in self.rows[3:]].index(atom)

    def positions(self, values: Internal) -> torch.Tensor:
        """Return (sample, atom, xyz) nm, the first atom at the origin and the second on the axis x."""
        bond, angle = values.bond, values.angle
        zero = torch.zeros_like(bond[:, 0])
        toward = -1.0 if self.rows[2][1] == self.rows[1][0] else 1.0
        leg = torch.stack([toward * torch.cos(angle[:, 0]), torch.sin(angle[:, 0]), zero], dim=-1)
        second = torch.stack([bond[:, 0], zero, zero], dim=-1)
        start = second if toward < 0 else torch.zeros_like(second)
        placed = torch.stack([torch.zeros_like(second), second, start + bond[:, 1, None] * leg], dim=1)
        turned = torch.where(self._own, 0.0, values.torsion[:, self._elder]) + values.torsion
        for torsions, frame in self._levels:
            bonded, following, third = placed[:, frame].unbind(dim=2)  # (sample, atom, xyz) each
            lengths, angles = bond[:, torsions + 2], angle[:, torsions + 1]
            new = _placed(bonded, following, third, lengths, angles, turned[:, torsions])
            placed = torch.cat([placed, new], dim=1)
        return placed[:, self._order]

    def internal(self, position: torch.Tensor) -> Internal:
        """Return the internal coordinates of positions: (sample, atom, xyz) nm."""
        steps = [row[: place + 1] if place < 4 else row for place, row in enumerate(self.rows)]
        bond = torch.stack([_length(position[:, row[0]] - position[:, row[1]]) for row in steps[1:]], dim=-1)
        angle = torch.stack([_angle(*(position[:, atom] for atom in row[:3])) for row in steps[2:]], dim=-1)
        whole = [_torsion(*(position[:, atom] for atom in row)) for row in steps[3:]]
        own = [
            angle_ if elder == place else _near(angle_ - whole[elder])
            for place, (angle_, elder) in enumerate(zip(whole, self.sibling, strict=True))
        ]
        return Internal(bond, angle, torch.stack(own, dim=-1) if own else bond[:, :0])


def _placed(
    bonded: torch.Tensor,
    following: torch.Tensor,
    third: torch.Tensor,
    length: torch.Tensor,
    angle: torch.Tensor,
    torsion: torch.Tensor,
) -> torch.Tensor:
    """Return points at a distance of one, at an angle with a second and at a torsion with a third: (…, xyz)."""
    along = torch.nn.functional.normalize(bonded - following, dim=-1)
    normal = torch.nn.functional.normalize(torch.linalg.cross(following - third, along), dim=-1)
    across = torch.linalg.cross(normal, along)
    turned = torch.cos(torsion)[..., None] * across + torch.sin(torsion)[..., None] * normal
    out = torch.sin(angle)[..., None] * turned - torch.cos(angle)[..., None] * along
    point: torch.Tensor = bonded + length[..., None] * out
    return point


def _length(vector: torch.Tensor) -> torch.Tensor:
    """Return lengths."""
    length: torch.Tensor = torch.linalg.vector_norm(vector, dim=-1)
    return length


def _angle(first: torch.Tensor, middle: torch.Tensor, last: torch.Tensor) -> torch.Tensor:
    """Return the angle at the middle point, in [0, π]."""
    one, other = first - middle, last - middle
    return torch.atan2(_length(torch.linalg.cross(one, other)), (one * other).sum(dim=-1))


def _torsion(*points: torch.Tensor) -> torch.Tensor:
    """Return the torsion of four points in the sense of IUPAC."""
    first, axis, last = (after - before for before, after in pairwise(points))
    before, after = torch.linalg.cross(first, axis), torch.linalg.cross(axis, last)
    return torch.atan2((first * after).sum(dim=-1) * _length(axis), (before * after).sum(dim=-1))


def _near(angle: torch.Tensor) -> torch.Tensor:
    """Return angles in (−π, π]."""
    return torch.atan2(torch.sin(angle), torch.cos(angle))
