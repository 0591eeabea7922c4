"""H5MD files (version 1.1, https://www.nongnu.org/h5md): everything that a dataset holds, with units.

`/particles/trajectory` has position, velocity, force and box edges over time, and mass, charge, species, id and the
names of the particles; `/connectivity` has bonds, angles and dihedrals; `/observables/weight` the weights of frames.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cgstore.errors import MissingExtra
from cgstore.frames import Frames
from cgstore.topology import Topology
from cgstore.writers.contents import Contents

__all__ = ["write_h5md"]

_UNITS = {"position": "nm", "velocity": "nm ps-1", "force": "kJ mol-1 nm-1", "box": "nm"}
_PACKED: dict[str, Any] = {"compression": "gzip", "compression_opts": 1, "shuffle": True}
_GROUP = "particles/trajectory"
_MOST_KINDS = 1000  # an enumeration has to fit into 64 KiB


def write_h5md(path: Path, contents: Contents, blocks: Iterable[Frames]) -> None:
    """Write the static part, then frames.

    Raises
    ------
    MissingExtra : h5py is not installed
    """
    try:
        import h5py
    except ImportError as error:
        raise MissingExtra.of("h5py", extra="ingest", purpose=f"writing {path.suffix or 'H5MD'} files") from error
    with h5py.File(path, "x") as file:
        _describe(file)
        group = file.create_group(_GROUP)
        _put_particles(group, contents.topology, h5py)
        _put_terms(file, group, contents.topology)
        values = _put_frames(file, group, contents)
        start = 0
        for frames in blocks:
            stop = start + len(frames)
            for name, dataset in values.items():
                dataset[start:stop] = getattr(frames, name)
            start = stop


def _describe(file: Any) -> None:
    """Write who made the file, and how."""
    from cgstore import __version__

    about = file.create_group("h5md")
    about.attrs["version"] = np.array([1, 1], np.int32)
    about.create_group("author").attrs["name"] = "N/A"
    creator = about.create_group("creator")
    creator.attrs["name"], creator.attrs["version"] = "cgstore", __version__
    about.create_group("modules/units").attrs["version"] = np.array([1, 0], np.int32)


def _put_particles(group: Any, topology: Topology, h5py: Any) -> None:
    """Write what is known of the particles; species is an enumeration of the types, as far as HDF5 can list them."""
    kinds, species = np.unique(topology.type, return_inverse=True)
    numbers = species.astype(np.int32)
    if len(kinds) <= _MOST_KINDS:
        members = {str(kind) or "(none)": number for number, kind in enumerate(kinds)}
        group.create_dataset("species", data=numbers, dtype=h5py.enum_dtype(members, basetype="i4"))
    else:
        group["species"] = numbers
    # From 0: then it does not matter whether a reader takes the ends of bonds for ids or for indices.
    group["id"] = np.arange(len(topology), dtype=np.int32)
    for name, unit in (("mass", "u"), ("charge", "e")):
        group[name] = getattr(topology, name)
        group[name].attrs["unit"] = unit
    for name in ("name", "residue", "molecule_kind"):
        encoded = np.char.encode(getattr(topology, name), "utf-8")
        text = h5py.string_dtype("utf-8", max(1, encoded.dtype.itemsize))
        group.create_dataset(name, data=encoded.astype(text), **_PACKED)
    for name in ("residue_id", "molecule"):
        group.create_dataset(name, data=getattr(topology, name), **_PACKED)


def _put_terms(file: Any, group: Any, topology: Topology) -> None:
    """Write bonds, angles and dihedrals by the ids of the particles."""
    terms = {"bonds": topology.bond, "angles": topology.angle, "dihedrals": topology.dihedral}
    for name, term in terms.items():
        if len(term):
            dataset = file.create_dataset(f"connectivity/{name}", data=term, **_PACKED)
            dataset.attrs["particles_group"] = group.ref


def _put_frames(file: Any, group: Any, contents: Contents) -> dict[str, Any]:
    """Make the arrays over time, steps and times shared by all; return by name those that are to be filled."""
    frames, particles = len(contents.time), len(contents.topology)
    box = group.create_group("box")
    box.attrs["dimension"] = 3
    box.attrs["boundary"] = ["periodic" if "box" in contents.variables else "none"] * 3
    shared: dict[str, Any] = {}
    values: dict[str, Any] = {}
    for name in ("position", "velocity", "force", "box"):
        if name not in contents.variables:
            continue
        element = _element(group, "box/edges" if name == "box" else name, contents, shared)
        shape = (3, 3) if name == "box" else (particles, 3)
        # Not compressed: gzip takes 13 % off float32 positions, and makes every reader slower.
        values[name] = element.create_dataset("value", (frames, *shape), np.float32)
        values[name].attrs["unit"] = _UNITS[name]
    if contents.weight is not None:
        _element(file, "observables/weight", contents, shared)["value"] = contents.weight
    return values


def _element(group: Any, name: str, contents: Contents, shared: dict[str, NDArray[Any]]) -> Any:
    """Make a time-dependent element with its steps and times, which later elements link to."""
    element = group.create_group(name)
    if not shared:
        element["step"], element["time"] = contents.step, contents.time
        element["time"].attrs["unit"] = "ps"
        shared |= {"step": element["step"], "time": element["time"]}
    else:
        element["step"], element["time"] = shared["step"], shared["time"]
    return element
