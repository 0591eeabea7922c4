"""Normal equations of force matching, by blocks of frames: they add up, so runs and systems join without the frames.

An equation dataset has the dims (block, row, column) over the splines of a `ForceBasis` and holds

    matrix  (block, row, column)  Σ GᵀG of its frames, G (component, column) the forces that splines give, 1/nm²
    vector  (block, row)          Σ Gᵀf, f (component) the forces of the frames, kJ/mol/nm²
    square  (block)               Σ fᵀf, (kJ/mol/nm)²
    number  (block)               of components of forces, weighted as the frames are
    weight  (block)               of the frames
    count   (block, row)          pairs or terms in the interval that begins with this spline

The basis is in the attributes. Blocks of datasets on one basis are concatenated along `block`.
"""

from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
from dask.delayed import delayed
from numpy.typing import NDArray

from cgstore.averages.blocks import block_length
from cgstore.averages.counting import result_attrs
from cgstore.box import heights
from cgstore.errors import InputError, PhysicsError
from cgstore.inverse.force_basis import ForceBasis, kinds_of_terms
from cgstore.kernels.forces_design import pair_design, term_design
from cgstore.kernels.verlet import NOTHING_EXCLUDED, Exclusions
from cgstore.schema import check_dataset, topology_of
from cgstore.tables import Term
from cgstore.topology import Topology, pairs_within_bonds

__all__ = ["design_of", "force_equations", "join_equations"]

Float = NDArray[np.float64]

_MOST_BLOCKS = 64
_TASK_BYTES = 2**23  # of positions and forces that one task holds
_TERMS: tuple[Term, ...] = ("bond", "angle", "dihedral")
_PARTS = ("matrix", "vector", "square", "number", "weight", "count")


class Design:
    """How the forces of a system depend on the splines of a basis; `design_of` makes one."""

    def __init__(self, topology: Topology, basis: ForceBasis, title: str) -> None:
        self.basis, self.title, self.particles = basis, title, len(topology)
        self._curves = basis.arrays()
        types, kind = np.unique(topology.type, return_inverse=True)
        numbers = basis.numbers("pair")
        names = [["-".join(sorted((str(a), str(b)))) for b in types] for a in types]
        self._kind = np.asarray(kind, np.int64)
        self._pair = np.array([[numbers.get(name, -1) for name in row] for row in names], np.int64)
        self.cutoff = max((basis.curves[k].high for k in numbers.values()), default=0.0)
        self._excluded = _exclusions(topology, basis.exclude_bonded) if numbers else NOTHING_EXCLUDED
        self._terms = [(term, *_terms_of(topology, term, basis, title)) for term in _TERMS]
        self._fade = np.sin(np.radians([0.5 * basis.fade, basis.fade])) ** 2

    def __call__(self, position: Float, box: Float, frame: int = 0) -> tuple[Float, NDArray[np.int64]]:
        """Return the design (3 · particle, column) in 1/nm and the counts (column,) of a frame.

        Raises
        ------
        PhysicsError : the box is too small for the cutoff, or a bond is longer than the basis knows
        """
        design = np.zeros((self.particles, 3, self.basis.columns))
        count = np.zeros(self.basis.columns, np.int64)
        if self.cutoff > 0.0:
            half = 0.5 * float(heights(box).min())
            if not self.cutoff <= half * (1.0 + 1e-6):
                raise PhysicsError(
                    f"{self.title}: the cutoff of {self.cutoff:g} nm is beyond half the smallest box height, "
                    f"{half:.4g} nm in frame {frame}; use a smaller one"
                )
            pair_design(self._curves, self._pair, self._kind, self._excluded, position, box, self.cutoff, design, count)
        for term, ends, curve in self._terms:
            wrong = term_design(self._curves, curve, ends, self._fade, position, box, design, count)
            if wrong >= 0:
                raise PhysicsError(
                    f"{self.title}: the {term} of particles {ends[wrong].tolist()} is not within "
                    f"{self.basis.curves[curve[wrong]].high:g} in frame {frame}; use a larger bond_max, or see whether "
                    "the molecule is broken across the box"
                )
        return design.reshape(-1, self.basis.columns), count


def design_of(ds: xr.Dataset, basis: ForceBasis) -> Design:
    """Return how the forces of the particles of a dataset depend on the splines of a basis.

    Raises
    ------
    InputError : a kind of bond, angle or dihedral has no curve
    """
    return Design(topology_of(ds), basis, str(ds.attrs.get("name", "this dataset")))


def force_equations(ds: xr.Dataset, basis: ForceBasis, *, length: int | None = None) -> xr.Dataset:
    """Return the normal equations of the forces of a dataset; nothing is read until they are computed.

    Parameters
    ----------
    ds : dataset of the schema with `position`, `force` and `box`; `weight` if any
    basis : of `force_basis`
    length : frames per block, so many that at most 64 blocks come out by default

    Returns
    -------
    equation dataset, lazy, as described at the top of this module

    Raises
    ------
    InputError : no forces, no box, no frames, a kind without a curve
    PhysicsError : when computed: a force that is not finite, a box too small, a bond too long

    Notes
    -----
    The force on a bead is the sum of the forces on its atoms, which is right for centres of mass and of geometry as
    long as no two beads share an atom (Noid et al. 2008, doi:10.1063/1.2938860). Rigid bonds between atoms of
    different beads act by forces that no trajectory file has: there must be none.
    """
    check_dataset(ds, needs=("position",))
    title = str(ds.attrs.get("name", "this dataset"))
    if missing := [name for name in ("force", "box") if name not in ds]:
        raise InputError(
            f"{title}: found no {missing[0]}, expected it on (frame, …); forces come with .trr files that were written "
            "with nstfout, with LAMMPS dumps that have fx fy fz, or from OpenMM"
        )
    frames = ds.sizes["frame"]
    if frames == 0:
        raise InputError(f"{title}: found no frames, expected at least one")
    block = length or max(block_length(frames), -(-frames // _MOST_BLOCKS))
    task = max(1, min(block, _TASK_BYTES // (24 * max(ds.sizes["particle"], 1))))
    build = delayed((design_of(ds, basis),), traverse=False, pure=False)
    run, add = delayed(_equations, pure=False), delayed(_added, pure=False)
    weights = "weight" if "weight" in ds else None
    blocks = []
    for begin in range(0, frames, block):
        ends = range(begin, min(begin + block, frames), task)
        parts = [(start, slice(start, min(start + task, begin + block, frames))) for start in ends]
        names = [name for name in ("position", "force", "box", weights) if name]
        blocks.append(add([run(build, start, *(_lazy(ds[name][part]) for name in names)) for start, part in parts]))
    return _dataset(blocks, basis, result_attrs(ds, {"basis": basis.plain(), "block_length": block}))


def join_equations(*equations: xr.Dataset) -> xr.Dataset:
    """Return the equations of several datasets as those of one; curves are matched to all of them at once.

    Raises
    ------
    InputError : they are on different bases
    """
    first = equations[0].attrs["parameters"]["basis"]
    for other in equations[1:]:
        if other.attrs["parameters"]["basis"] != first:
            raise InputError(
                "join_equations: found different bases; make one `force_basis` of all datasets and use it for each"
            )
    return xr.concat(equations, "block", combine_attrs="override", join="exact")


def _lazy(array: xr.DataArray) -> Any:
    """Return an array for a task: what is lazy in one piece, what is in memory as it is."""
    return array.data.rechunk(-1).to_delayed(optimize_graph=True).ravel()[0] if array.chunks else array.values


def _equations(
    shared: tuple[Design], first: int, position: Any, force: Any, box: Any, weight: Any = None
) -> tuple[Any, ...]:
    """Return the parts of the equations of some frames."""
    (design,) = shared
    columns = design.basis.columns
    matrix, vector, count = np.zeros((columns, columns)), np.zeros(columns), np.zeros(columns, np.int64)
    square = number = total = 0.0
    for k in range(len(position)):
        values = np.asarray(force[k], np.float64).reshape(-1)
        w = 1.0 if weight is None else float(weight[k])
        where, space = np.ascontiguousarray(position[k], np.float64), np.ascontiguousarray(box[k], np.float64)
        if not (np.isfinite(values).all() and np.isfinite(where).all()):
            raise PhysicsError(f"{design.title}: a position or force of frame {first + k} is not finite; leave it out")
        found, hits = design(where, space, first + k)
        hit = np.flatnonzero(found.any(axis=0))
        narrow = found[:, hit]
        matrix[np.ix_(hit, hit)] += w * (narrow.T @ narrow)
        vector[hit] += w * (narrow.T @ values)
        square += w * float(values @ values)
        number += w * len(values)
        total += w
        count += hits
    return matrix, vector, *(np.array(value) for value in (square, number, total)), count


def _added(parts: list[tuple[Any, ...]]) -> tuple[Any, ...]:
    """Add the equations of some tasks."""
    return tuple(np.asarray(sum(column[1:], start=column[0])) for column in zip(*parts, strict=True))


def _dataset(blocks: list[Any], basis: ForceBasis, attrs: dict[str, Any]) -> xr.Dataset:
    """Return delayed blocks as an equation dataset."""
    lazy: Any = da  # dask has no types
    wide = basis.columns
    shapes: dict[str, tuple[int, ...]] = {"matrix": (wide, wide), "vector": (wide,), "count": (wide,)}
    dims: dict[str, tuple[str, ...]] = {"matrix": ("row", "column"), "vector": ("row",), "count": ("row",)}
    units = {"matrix": "1/nm^2", "vector": "kJ/mol/nm^2", "square": "(kJ/mol/nm)^2"}
    variables = {}
    for place, name in enumerate(_PARTS):
        dtype = np.int64 if name == "count" else np.float64
        stacked = lazy.stack([lazy.from_delayed(block[place], shapes.get(name, ()), dtype) for block in blocks])
        variables[name] = (("block", *dims.get(name, ())), stacked, {"units": units.get(name, "1")})
    return xr.Dataset(variables, attrs=attrs)


def _terms_of(
    topology: Topology, term: Term, basis: ForceBasis, title: str
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Return the particles of the terms of one name, and the curve of each."""
    ends = np.ascontiguousarray(getattr(topology, term), np.int32)
    kinds, numbers = kinds_of_terms(topology, term), basis.numbers(term)
    if missing := sorted(set(kinds) - set(numbers)):
        raise InputError(f"{title}: the basis has no curve of the {term} {missing[0]}; make it of this dataset too")
    return ends, np.array([numbers[kind] for kind in kinds], np.int64)


def _exclusions(topology: Topology, exclude_bonded: int | str) -> Exclusions:
    """Return the pairs that have no pair potential."""
    if exclude_bonded == "molecule":
        same = [np.flatnonzero(topology.molecule == k) for k in np.unique(topology.molecule)]
        pairs = np.concatenate([np.stack([a[i] for i in np.triu_indices(len(a), 1)], axis=1) for a in same])
    elif isinstance(exclude_bonded, bool) or not isinstance(exclude_bonded, int) or exclude_bonded < 0:
        raise InputError(f'found exclude_bonded = {exclude_bonded!r}, expected a number of bonds or "molecule"')
    else:
        pairs = pairs_within_bonds(topology.bond, len(topology), distance=exclude_bonded)
    if not len(pairs):
        return NOTHING_EXCLUDED
    pairs = np.sort(pairs, axis=1)
    pairs = pairs[np.lexsort(pairs.T[::-1])]
    start = np.searchsorted(pairs[:, 0], np.arange(len(topology) + 1))
    return Exclusions(start.astype(np.uint32), np.ascontiguousarray(pairs[:, 1], np.uint32))
