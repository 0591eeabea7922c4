"""Bases for force matching: cubic B-splines of energies of pairs, bonds, angles and dihedrals, with boundary rules.

Every curve has evenly spaced knots. Its B-splines are those of an endless line, one around each knot and one beyond
either end; boundary rules make fewer parameters of them: pairs end with energy and force zero at the cutoff, angles are
mirrored at 0 and 180 degrees, dihedrals close.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cgstore.documents import did_you_mean
from cgstore.errors import InputError, NotFound
from cgstore.kernels.forces_design import Curves
from cgstore.schema import topology_of
from cgstore.tables import Term
from cgstore.topology import Topology

__all__ = ["Curve", "CurveTerm", "ForceBasis", "force_basis", "kinds_of_terms"]

Float = NDArray[np.float64]
CurveTerm = Literal["pair", "bond", "angle", "dihedral"]
_TERMS: tuple[Term, ...] = get_args(Term)
_RANGE = {"angle": (0.0, 180.0), "dihedral": (-180.0, 180.0)}


@dataclass(frozen=True, slots=True)
class Curve:
    """The splines of the potential of one kind of pair or term."""

    term: CurveTerm
    kind: str  # "A-B", as in `cgstore.rdf` and `cgstore.bonded`
    low: float  # nm or degrees
    high: float
    intervals: int

    @property
    def step(self) -> float:
        """Return the distance between knots."""
        return (self.high - self.low) / self.intervals

    @property
    def columns(self) -> int:
        """Return the number of splines that reach into the range."""
        return self.intervals + 3

    def places(self, finer: int) -> Float:
        """Return places of the curve, so many in each interval, both ends of the range among them."""
        return np.linspace(self.low, self.high, finer * self.intervals + 1)

    def values(self, x: Float, slope: bool = False) -> Float:
        """Return the splines, or their derivatives, at places in the range (place, column)."""
        s = (np.asarray(x, np.float64) - self.low) / self.step
        m = np.clip(s.astype(np.int64), 0, self.intervals - 1)
        t = s - m
        r = 1.0 - t
        if slope:
            four = np.stack([-0.5 * r * r, (1.5 * t - 2.0) * t, (2.0 - 1.5 * r) * r, 0.5 * t * t], axis=1) / self.step
        else:
            middle = [(3.0 * y - 6.0) * y * y / 6.0 + 2.0 / 3.0 for y in (t, r)]
            four = np.stack([r**3 / 6.0, *middle, t**3 / 6.0], axis=1)
        matrix = np.zeros((len(t), self.columns))
        np.put_along_axis(matrix, m[:, None] + np.arange(4), four, axis=1)
        return matrix

    def rules(self) -> Float:
        """Return how parameters make the coefficients of the splines (column, parameter)."""
        whole = np.eye(self.columns)
        if self.term == "pair":  # U and dU/dr are zero at the last knot
            rules = whole[:, : self.columns - 2].copy()
            rules[-2:, -1] = -0.5, 1.0
            return rules
        if self.term == "angle":
            rules = whole[:, 1:-1].copy()
            rules[0], rules[-1] = rules[2], rules[-3]
            return rules
        if self.term == "dihedral":
            rules = whole[:, 1:-2].copy()
            rules[0], rules[-2], rules[-1] = rules[-3], rules[1], rules[2]
            return rules
        return whole

    def roughness(self) -> Float:
        """Return the quadratic form (column, column) of third differences of the coefficients."""
        third = np.diff(np.eye(self.columns), 3, axis=0)
        return np.asarray(third.T @ third, np.float64)


@dataclass(frozen=True, slots=True)
class ForceBasis:
    """Curves with what decides which pairs and terms they act on."""

    curves: tuple[Curve, ...]
    exclude_bonded: int | Literal["molecule"] = 3
    fade: float = 12.0  # degrees, as in `cgstore.learn.molecular.Molecular`

    @property
    def columns(self) -> int:
        """Return the number of splines of all curves."""
        return sum(curve.columns for curve in self.curves)

    def first(self, curve: int) -> int:
        """Return the first column of a curve."""
        return sum(other.columns for other in self.curves[:curve])

    def arrays(self) -> Curves:
        """Return the curves as the kernels want them."""
        first = np.array([self.first(k) for k in range(len(self.curves))], np.int64)
        low, step = (np.array([getattr(curve, name) for curve in self.curves]) for name in ("low", "step"))
        return Curves(first, low, step, np.array([curve.intervals for curve in self.curves], np.int64))

    def numbers(self, term: CurveTerm) -> dict[str, int]:
        """Return the number of the curve of each kind of a term."""
        return {curve.kind: k for k, curve in enumerate(self.curves) if curve.term == term}

    def plain(self) -> dict[str, Any]:
        """Return the basis as plain data, for attributes of results."""
        rows = [[curve.term, curve.kind, curve.low, curve.high, curve.intervals] for curve in self.curves]
        return {"curves": rows, "exclude_bonded": self.exclude_bonded, "fade": self.fade}

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> "ForceBasis":
        """Return the basis that plain data describe."""
        curves = tuple(Curve(row[0], str(row[1]), float(row[2]), float(row[3]), int(row[4])) for row in plain["curves"])
        return cls(curves, plain["exclude_bonded"], float(plain["fade"]))


def force_basis(
    datasets: xr.Dataset | Sequence[xr.Dataset],
    *,
    cutoff: float | None,
    spacing: float = 0.025,
    pairs: Sequence[str] | None = None,
    exclude_bonded: int | Literal["molecule"] = 3,
    bond_max: float = 1.0,
    bond_spacing: float = 0.02,
    angle_spacing: float = 6.0,
    dihedral_spacing: float = 15.0,
    fade: float = 12.0,
) -> ForceBasis:
    """Return splines for every pair of types and every kind of bond, angle and dihedral of one or several systems.

    Parameters
    ----------
    datasets : of the schema; what differs between them is which kinds they have
    cutoff : nm, of the pairs; None for none at all
    spacing, bond_spacing : nm between knots
    pairs : names "A-B", all by default
    exclude_bonded : pairs up to so many bonds apart have no pair potential; "molecule", all within a molecule
    bond_max : nm, no bond is longer
    angle_spacing, dihedral_spacing : degrees; a whole number of them in 180 and 360
    fade : degrees from straight at which dihedrals begin to fade, as in the models that are sampled

    Raises
    ------
    InputError : spacings that do not fit, or fewer than four intervals
    NotFound : a pair of types that is in no dataset

    Examples
    --------
    >>> atoms = xr.Dataset({"position": (("frame", "particle", "xyz"), np.zeros((1, 3, 3)))},
    ...                    {"type": ("particle", ["A", "A", "B"])})
    >>> [curve.kind for curve in force_basis(atoms, cutoff=1.0).curves]
    ['A-A', 'A-B']
    """
    found = [topology_of(ds) for ds in ([datasets] if isinstance(datasets, xr.Dataset) else datasets)]
    curves: list[Curve] = []
    if cutoff is not None:
        known = sorted({name for topology in found for name in _pair_kinds(topology)})
        if missing := [name for name in pairs or () if name not in known]:
            raise NotFound(f"force_basis: no pair {missing[0]}{did_you_mean(missing[0], known)}")
        curves += [_curve("pair", name, 0.0, cutoff, spacing) for name in known if pairs is None or name in pairs]
    steps = {"bond": bond_spacing, "angle": angle_spacing, "dihedral": dihedral_spacing}
    for term in _TERMS:
        low, high = _RANGE.get(term, (0.0, bond_max))
        kinds = {kind for topology in found for kind in kinds_of_terms(topology, term)}
        curves += [_curve(term, kind, low, high, steps[term]) for kind in sorted(kinds)]
    if not curves:
        raise InputError("force_basis: found no pairs and no bonds; expected something that has a potential")
    return ForceBasis(tuple(curves), exclude_bonded, fade)


def kinds_of_terms(topology: Topology, term: Term) -> list[str]:
    """Return the kind of each bond, angle or dihedral: its types, in the direction that is first in the alphabet."""
    walks = topology.type[getattr(topology, term)].tolist()
    return ["-".join(min(walk, walk[::-1])) for walk in walks]


def _pair_kinds(topology: Topology) -> set[str]:
    """Return the pairs of types of which there are two particles."""
    types, count = np.unique(topology.type, return_counts=True)
    number = dict(zip(map(str, types), count.tolist(), strict=True))
    return {f"{a}-{b}" for a in number for b in number if a < b or (a == b and number[a] > 1)}


def _curve(term: CurveTerm, kind: str, low: float, high: float, step: float) -> Curve:
    """Return a curve whose knots are about a step apart."""
    intervals = round((high - low) / step) if 0.0 < step < np.inf and 0.0 < high < np.inf else 0
    if intervals < 4 or abs(intervals * step - (high - low)) > 1e-3 * step:
        unit = "nm" if term in ("pair", "bond") else "degrees"
        raise InputError(
            f"force_basis: found knots of a {term} every {step:g} {unit} from {low:g} to {high:g}, expected a spacing "
            "that divides this range into four or more"
        )
    return Curve(term, kind, low, high, intervals)
