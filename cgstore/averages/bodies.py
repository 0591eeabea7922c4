"""What moves: molecules, by the centre of mass of the whole molecule, or single particles; their kinds and masses."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cgstore.documents import did_you_mean
from cgstore.errors import InputError, NotFound
from cgstore.kernels.mapping import map_positions, sum_values
from cgstore.schema import topology_of
from cgstore.topology import Topology, spanning_tree

__all__ = ["Bodies", "bodies_of"]

Float = NDArray[np.float64]
Index = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Bodies:
    """The bodies of a system and how their centres are formed; members are as in `kernels.mapping.map_positions`."""

    of: str  # "molecule" or "particle"
    number: Index  # (body,) of the molecule or particle
    kind: NDArray[np.str_]  # (body,)
    mass: Float  # (body,) u
    atom: Index  # (listed,) particles, body after body, each after the one it is bonded to
    parent: Index  # (listed,) place in the body of the one it is bonded to
    first: Index  # (body + 1,) where the particles of each body begin
    place: Index  # (listed,) place of each particle in its body
    weight: Float  # (listed,) part of the mass of the body

    def __len__(self) -> int:
        """Return the number of bodies."""
        return len(self.number)

    def centres(self, position: np.ndarray, box: Float, inverse: Float) -> Float:
        """Return centres of mass (frame, body, xyz) nm; zero boxes are none."""
        if len(self.atom) == len(self):
            return np.take(position, self.atom, axis=1).astype(np.float64)
        out = np.empty((len(position), len(self), 3))
        rows = np.arange(len(self) + 1)
        whole = np.ascontiguousarray(position, np.float32)
        map_positions(
            whole, box, inverse, self.atom, self.parent, self.first, rows, self.first, self.place, self.weight, out
        )
        return out

    def velocities(self, velocity: np.ndarray) -> Float:
        """Return velocities of the centres of mass (frame, body, xyz) nm/ps."""
        if len(self.atom) == len(self):
            return np.take(velocity, self.atom, axis=1).astype(np.float64)
        out = np.empty((len(velocity), len(self), 3))
        sum_values(np.ascontiguousarray(velocity, np.float32), self.atom, self.first, self.weight, out)
        return out

    def share(self) -> Float:
        """Return which part (body,) of the mass of the system each body has; equal parts of no mass."""
        total = self.mass.sum()
        return self.mass / total if total > 0 else np.full(len(self), 1.0 / len(self))

    def of_kinds(self, title: str, kinds: Sequence[str] | None) -> tuple[tuple[str, ...], Index]:
        """Return the names of the kinds asked for and their bodies, kind after kind.

        Raises
        ------
        InputError, NotFound : an empty list, or a kind that is not there
        """
        known = np.unique(self.kind).tolist()
        wanted = known if kinds is None else list(dict.fromkeys(kinds))
        if isinstance(kinds, str) or not wanted:
            raise InputError(
                f"{title}: found kinds = {kinds!r}, expected a list of kinds of {self.of}s, or None for all"
            )
        for name in wanted:
            if name not in known:
                raise NotFound(f'{title}: found no {self.of} of kind "{name}"{did_you_mean(name, known)}')
        return tuple(wanted), np.concatenate([np.flatnonzero(self.kind == name) for name in wanted])


def bodies_of(ds: xr.Dataset, of: str) -> Bodies:
    """Return the molecules, or the particles, of a dataset.

    Parameters
    ----------
    ds : dataset of the schema
    of : "molecule", kinds are then those of molecules; or "particle", kinds are then types

    Raises
    ------
    InputError : `of` is something else

    Examples
    --------
    >>> ds = xr.Dataset(coords={"particle": [0, 1, 2], "molecule": ("particle", [0, 0, 1])})
    >>> bodies = bodies_of(ds.assign(mass=("particle", [3.0, 1.0, 2.0])), "molecule")
    >>> bodies.mass.tolist(), bodies.weight.tolist()
    ([4.0, 2.0], [0.75, 0.25, 1.0])
    """
    if of not in ("molecule", "particle"):
        title = ds.attrs.get("name", "this dataset")
        raise InputError(f'{title}: found of = {of!r}, expected "molecule" or "particle"')
    topology = topology_of(ds)
    if of == "particle":
        every = np.arange(len(topology), dtype=np.int64)
        zero = np.zeros(len(topology), np.int64)
        first = np.arange(len(topology) + 1)
        return Bodies(of, every, topology.type, topology.mass, every, zero, first, zero, np.ones(len(topology)))
    return _molecules(topology, named="molecule_kind" in ds)


def _molecules(topology: Topology, *, named: bool) -> Bodies:
    """Return the molecules, each with its particles in an order in which every one follows a neighbour."""
    number, molecule = np.unique(topology.molecule, return_inverse=True)
    order, parent = spanning_tree(topology.bond, molecule.astype(np.int32))
    atom = order[np.argsort(molecule[order], kind="stable")].astype(np.int64)
    size = np.bincount(molecule, minlength=len(number))
    first = np.concatenate([[0], np.cumsum(size)]).astype(np.int64)
    place = np.arange(len(atom)) - np.repeat(first[:-1], size)
    place_of = np.empty(len(atom), np.int64)
    place_of[atom] = place
    mass = np.asarray(np.bincount(molecule, topology.mass, minlength=len(number)), np.float64)
    # Molecules of massless particles only: the plain mean is as good a centre as any.
    massless = mass[molecule[atom]] <= 0
    weight = np.where(massless, 1.0, topology.mass[atom])
    weight /= np.repeat(np.add.reduceat(weight, first[:-1]), size) if len(atom) else 1.0
    kind = topology.molecule_kind if named else topology.type if (size == 1).all() else topology.molecule_kind
    leading = atom[first[:-1]]
    return Bodies(
        "molecule", number.astype(np.int64), kind[leading], mass, atom, place_of[parent[atom]], first, place, weight
    )
