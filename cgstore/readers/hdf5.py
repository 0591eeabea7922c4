"""HDF5 trajectories: H5MD of any program, MDTraj's HDF5, and the NetCDF-4 of Amber, told apart by what they hold.

Of H5MD one group of particles is read: `trajectory`, else the only one, else the one with the most particles. Numbers
whose unit the file does not state are taken as nm and ps. Velocities and forces are kept when every frame with
positions has them, found by their steps. Where a file lists its particles in another order in each frame (`id`), they
are put in the order of their numbers. Positions stay wrapped as they are: `image` is not applied.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cgstore.errors import InputError
from cgstore.frames import Frames
from cgstore.readers.amber import AMBER, factor, frames_of
from cgstore.readers.hdf5_arrays import Hdf5Array, Inventory, take_inventory
from cgstore.readers.sources import damage
from cgstore.readers.stated_units import factor_of

__all__ = ["Hdf5Reader", "open_hdf5"]

Int = NDArray[np.int64]

_MDTRAJ = {
    "coordinates": "nanometers",
    "velocities": "nanometers/picosecond",
    "cell_lengths": "nanometers",
}


@dataclass(frozen=True, slots=True, eq=False)
class _Element:
    """One array of the file as frames see it."""

    array: Hdf5Array
    factor: float
    row: Int | None  # (frame,) which row a frame has, None when they are the same

    def of(self, frames: Int, real: type) -> NDArray[Any]:
        """Read it for frames, in our units."""
        return self.array.read(frames if self.row is None else self.row[frames], real, self.factor)


@dataclass(frozen=True, slots=True, eq=False)
class Hdf5Reader:
    """One HDF5 file; `flaw` says what is wrong after its last complete frame, empty when nothing is."""

    path: Path
    particles: int
    time: NDArray[np.float64]  # (frame,) ps; zero where the file has none
    step: Int  # (frame,)
    flaw: str
    elements: Mapping[str, _Element]
    box: NDArray[np.float32] | None  # (box_vector, xyz) nm, of a file with one box for all frames

    def read(self, frames: Int) -> Frames:
        """Read these frames.

        Raises
        ------
        InputError : the file is damaged, or no longer what it was at opening
        """
        chosen = np.asarray(frames, np.int64)
        kinds = {"id": np.int64, "edges": np.float64, "lengths": np.float64, "angles": np.float64}
        arrays = {name: element.of(chosen, kinds.get(name, np.float32)) for name, element in self.elements.items()}
        number, edges = arrays.pop("id", None), arrays.pop("edges", None)
        if number is not None:
            order = self._order(number, chosen)[:, :, None]
            arrays = {name: np.take_along_axis(array, order, axis=1) for name, array in arrays.items()}
        found = frames_of(arrays, self.time[chosen], self.step[chosen])
        box = found.box
        if edges is not None:
            box = _vectors(edges)
        elif self.box is not None:
            box = np.repeat(self.box[None], len(chosen), axis=0)
        return Frames(**{**found.arrays(), "box": box})

    def _order(self, number: Int, frames: Int) -> Int:
        """Return the particles of each frame in the order of their numbers, which must be the same in all frames."""
        first = np.sort(self.elements["id"].of(np.zeros(1, np.int64), np.int64)[0])
        order = np.argsort(number, axis=1, kind="stable")
        other = (np.take_along_axis(number, order, axis=1) != first).any(axis=1) | (np.diff(first) == 0).any()
        if other.any():
            bad = int(frames[np.argmax(other)])
            raise damage(self.path, f"frame {bad} has other particles (by `id`) than the first frame", good=bad)
        return order


def open_hdf5(path: Path) -> Hdf5Reader:
    """Index an HDF5 trajectory.

    Parameters
    ----------
    path : an H5MD file, an HDF5 file of MDTraj, or a NetCDF-4 file with the conventions of Amber

    Returns
    -------
    Hdf5Reader : with the frames that are really in the file

    Raises
    ------
    InputError : the file is none of these, is cut off, keeps its numbers in other files, or is packed in a way that
        is not known
    MissingExtra : h5py is not installed
    """
    inventory = take_inventory(path)
    if "particles" in inventory.groups:
        return _h5md(inventory)
    if inventory.array("coordinates") is not None:
        return _flat(inventory)
    inventory.complain()
    raise InputError(
        f"{path}: neither H5MD (no group `particles`) nor a trajectory of MDTraj or Amber (no `coordinates`)"
    )


def _flat(inventory: Inventory) -> Hdf5Reader:
    """Read the arrays of MDTraj and of NetCDF-4: all in the root, a row for each frame."""
    path = inventory.path
    by_amber = "AMBER" in str(inventory.groups[""].get("Conventions", "")).upper()
    elements = {}
    for name, quantity in AMBER.items():
        array = inventory.array(name)
        if array is None:
            continue
        _check(array, quantity.of(array.shape[1] if len(array.shape) == 3 else 0))
        units = {} if by_amber or name not in _MDTRAJ else {"units": _MDTRAJ[name]}
        elements[quantity.name] = _Element(array, factor(quantity, {**units, **array.attrs}, f"{path}: {name}"), None)
    frames, flaw = _complete(elements, elements["position"].array.shape[0])
    time = elements.pop("time", None)
    times = np.zeros(frames) if time is None else time.of(np.arange(frames), np.float64)
    return _reader(inventory, elements, times, np.arange(frames), flaw, None)


def _h5md(inventory: Inventory) -> Hdf5Reader:
    """Read one group of particles of an H5MD file."""
    path, group = inventory.path, _group(inventory)
    position = inventory.array(f"{group}/position/value")
    assert position is not None
    _check(position, (*position.shape[1:2], 3))
    frames = position.rows  # what is claimed beyond them is not allocated
    step, time = _clock(inventory, f"{group}/position", frames)
    elements = {"position": _Element(position, _unit(position, "position"), None)}
    for name in ("velocity", "force"):
        array = inventory.array(f"{group}/{name}/value")
        if array is not None:
            _check(array, position.shape[1:])
            row = _row_of(inventory, f"{group}/{name}", array, step, time, frames)
            if row is not None:
                elements[name] = _Element(array, _unit(array, name), row)
    number = inventory.array(f"{group}/id/value")
    if number is not None:
        if number.shape != position.shape[:2] or number.dtype.kind not in "iu" or number.unknown_filters():
            raise InputError(f"{path}: `{number.name}` has the shape {number.shape}; expected {position.shape[:2]}")
        elements["id"] = _Element(number, 1.0, None)
    box = _edges(inventory, group, elements, step, time, frames)
    claimed = position.shape[0]
    frames, flaw = _complete(elements, claimed)
    for what, clock in (("steps", step), ("times", time)):
        if clock is not None and len(clock) < frames:
            flaw = flaw or f"it has {len(clock)} {what} and {claimed} frames"
            frames = len(clock)
    steps = np.arange(frames) if step is None else step[:frames].astype(np.int64)
    return _reader(inventory, elements, np.zeros(frames) if time is None else time[:frames], steps, flaw, box)


def _reader(
    inventory: Inventory,
    elements: Mapping[str, _Element],
    time: NDArray[np.float64],
    step: Int,
    flaw: str,
    box: NDArray[np.float32] | None,
) -> Hdf5Reader:
    """Make the reader, which has frames."""
    if not len(time):
        raise InputError(f"{inventory.path}: it has no frames{f': {flaw}' if flaw else ''}")
    particles = elements["position"].array.shape[1]
    return Hdf5Reader(inventory.path, particles, time, step, flaw, elements, box)


def _group(inventory: Inventory) -> str:
    """Choose the group of particles."""
    found = {}
    for name in inventory.groups:
        if name.startswith("particles/") and name.count("/") == 1:
            array = inventory.array(f"{name}/position/value")
            if array is not None and len(array.shape) == 3:
                found[name] = array.shape[1]
    if not found:
        inventory.complain()
        raise InputError(f"{inventory.path}: no group of `particles` has positions (position/value) over time")
    if "particles/trajectory" in found:
        return "particles/trajectory"
    largest = [name for name, particles in found.items() if particles == max(found.values())]
    if len(largest) > 1:
        raise InputError(
            f"{inventory.path}: {' and '.join(largest)} have equally many particles; "
            "name the one that is meant `trajectory`, or keep only that"
        )
    return largest[0]


def _clock(inventory: Inventory, element: str, rows: int) -> tuple[Int | None, NDArray[np.float64] | None]:
    """Return the steps and the times (ps) of an element, None for what it does not have."""
    step, time = inventory.array(f"{element}/step"), inventory.array(f"{element}/time")
    with np.errstate(invalid="ignore"):  # a step that is not finite
        steps = None if step is None else _counted(step, rows).astype(np.int64)
    return (
        steps,
        None if time is None else _counted(time, rows).astype(np.float64) * _unit(time, "time"),
    )


def _counted(array: Hdf5Array, rows: int) -> NDArray[Any]:
    """Return a number for each row: those of the array, or multiples of the one increment that it is."""
    if array.shape == () and array.values is not None:
        offset = array.attrs.get("offset", 0)
        if not isinstance(offset, int | float):
            raise InputError(f"{array.path}: `{array.name}` has the offset {offset!r}; expected a number")
        with np.errstate(over="ignore", invalid="ignore"):
            return np.arange(rows) * float(array.values.item()) + float(offset)
    _check(array, (), integers=True)
    return array.read(np.arange(array.rows))


def _row_of(
    inventory: Inventory,
    element: str,
    array: Hdf5Array,
    step: Int | None,
    time: NDArray[np.float64] | None,
    frames: int,
) -> Int | None:
    """Find the row of an element that belongs to each frame of the positions; None when a frame has none."""
    # Rows that are damaged are found, and complained of later.
    rows = min(array.shape[0], max(array.rows, frames))
    own_step, own_time = _clock(inventory, element, rows)
    clock, own = (step, own_step) if step is not None and own_step is not None else (time, own_time)
    if clock is None or own is None:
        return np.arange(frames) if frames == rows else None
    if len(clock) == len(own) and (clock == own).all():
        return np.arange(len(clock))
    order = np.argsort(own, kind="stable")
    place = np.minimum(np.searchsorted(own[order], clock), max(len(own) - 1, 0))
    return order[place] if len(own) and (own[order][place] == clock).all() else None


def _edges(
    inventory: Inventory,
    group: str,
    elements: dict[str, _Element],
    step: Int | None,
    time: NDArray[np.float64] | None,
    frames: int,
) -> NDArray[np.float32] | None:
    """Find the box: add its edges over time to the elements, or return the one box of all frames."""
    boundary = inventory.groups.get(f"{group}/box", {}).get("boundary", ["periodic"])
    if all(side == "none" for side in (boundary if isinstance(boundary, list) else [boundary])):
        return None
    fixed, grown = inventory.array(f"{group}/box/edges"), inventory.array(f"{group}/box/edges/value")
    if fixed is not None:
        if fixed.shape not in ((3,), (3, 3)):
            raise InputError(f"{inventory.path}: box edges of the shape {fixed.shape}; expected (3,) or (3, 3)")
        _check(fixed, fixed.shape[1:])
        return np.asarray(_vectors(fixed.read(np.arange(3))[None] * _unit(fixed, "position"))[0])
    if grown is None:
        return None
    _check(grown, (3,) if len(grown.shape) == 2 else (3, 3))
    row = _row_of(inventory, f"{group}/box/edges", grown, step, time, frames)
    if row is None:
        raise InputError(f"{inventory.path}: it has {grown.shape[0]} boxes, which are not those of its {frames} frames")
    elements["edges"] = _Element(grown, _unit(grown, "position"), row)
    return None


def _unit(array: Hdf5Array, kind: str) -> float:
    """Return the factor of the unit that an array of H5MD states; none is ours."""
    unit = array.attrs.get("unit", "")
    return factor_of(unit, kind, f"{array.path}: {array.name}") if isinstance(unit, str) and unit.strip() else 1.0


def _check(array: Hdf5Array, shape: tuple[int, ...], *, integers: bool = False) -> None:
    """Refuse arrays of another shape, of no numbers, or packed by filters that are not known."""
    if (
        array.shape[1:] != shape
        or not array.shape
        or 0 in shape
        or array.dtype.kind not in ("iuf" if integers else "f")
    ):
        expected = ", ".join(["frames", *map(str, shape)])
        raise InputError(
            f"{array.path}: `{array.name}` has the shape {array.shape} and the type {array.dtype}; "
            f"expected real numbers in ({expected})"
        )
    if array.unknown_filters():
        raise InputError(
            f"{array.path}: `{array.name}` is packed with the filter {array.unknown_filters()[0]}, which is not known; "
            "repack the file: h5repack -f GZIP=1 OLD NEW"
        )


def _complete(elements: Mapping[str, _Element], claimed: int) -> tuple[int, str]:
    """Return how many frames have all of their numbers in the file, and what is wrong with the next."""
    frames, flaw = claimed, ""
    for element in elements.values():
        rows, row = element.array.rows, element.row
        have = rows
        if row is not None:
            have = len(row) if (row < rows).all() else int(np.argmax(row >= rows))
        if have < frames:
            frames = have
            flaw = f"`{element.array.name}` of frame {have} (of {claimed}) was never written or is damaged"
    return frames, flaw


def _vectors(edges: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return box vectors of edges: lengths (frame, 3), or vectors already (frame, 3, 3)."""
    with np.errstate(over="ignore", invalid="ignore"):
        vectors = edges[:, :, None] * np.eye(3) if edges.ndim == 2 else edges
        return np.asarray(vectors, np.float32)
