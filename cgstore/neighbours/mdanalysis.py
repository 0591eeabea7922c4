"""MDAnalysis: datasets of a store as universes, their frames read from the store when they are asked for.

Importing this module makes `MDAnalysis.Universe` accept addresses: `Universe("store::dmpc_303k/r1/cg")`, or
`Universe("system.gro", "store::dmpc_303k/r1/atoms")` with a topology of one's own.
"""

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cgstore.catalog import Entry
from cgstore.errors import CgstoreError, InputError, MissingExtra, StoreError
from cgstore.neighbours.addresses import dataset_of, is_address
from cgstore.neighbours.cells import require_aligned
from cgstore.neighbours.elements import elements_of
from cgstore.neighbours.residues import runs
from cgstore.schema import check_dataset, topology_of

try:
    import MDAnalysis
    from MDAnalysis.coordinates.base import ReaderBase
    from MDAnalysis.coordinates.timestep import Timestep
    from MDAnalysis.core import topologyattrs
    from MDAnalysis.core.topology import Topology
    from MDAnalysis.lib.mdamath import triclinic_box
    from MDAnalysis.topology.base import TopologyReaderBase
except ImportError as error:
    raise MissingExtra.of("MDAnalysis", extra="ingest", purpose="cgstore.neighbours.mdanalysis") from error

__all__ = ["StoreParser", "StoreReader", "to_universe"]

_BLOCK = 2**24  # bytes of positions kept in memory, unless one chunk of the dataset is larger


def to_universe(source: xr.Dataset | Entry | str) -> Any:
    """Return a dataset as an `MDAnalysis.Universe`, in the units of MDAnalysis; frames are read when asked for.

    Parameters
    ----------
    source : a dataset, for example after `.isel(frame=…)`, an entry of a catalog, or an address

    Returns
    -------
    Universe : with names, types, residues, molecule kinds (`moltype`) and numbers (`molnum`), masses, charges, bonds,
        angles, dihedrals, and elements where the particles are atoms

    Raises
    ------
    InputError : the dataset does not fit the schema
    """
    ds = dataset_of(source)
    universe = MDAnalysis.Universe(_topology(ds))
    universe.trajectory = StoreReader(ds)
    return universe


class StoreReader(ReaderBase):  # type: ignore[misc]
    """The frames of a dataset, one block in memory; MDAnalysis finds it by its `format`.

    Parameters
    ----------
    filename : an address, or a dataset
    convert_units : Å and Å/ps and kJ/mol/Å, or with False nm, nm/ps and kJ/mol/nm
    """

    format = "CGSTORE"
    units = {"time": "ps", "length": "nm", "velocity": "nm/ps", "force": "kJ/(mol*nm)"}  # noqa: RUF012

    def __init__(self, filename: str | xr.Dataset, convert_units: bool = True, **kwargs: Any) -> None:
        ds = check_dataset(dataset_of(filename))
        name = filename if isinstance(filename, str) else str(ds.attrs.get("name", "dataset"))
        super().__init__(name, convert_units=convert_units, **kwargs)
        self._kwargs["filename"] = filename  # what a copy is made of
        self.n_atoms, self.n_frames = ds.sizes["particle"], ds.sizes["frame"]
        if not self.n_frames:
            raise InputError(f"{name}: found no frames, MDAnalysis needs at least one")
        self._frames = ds[[key for key in ("position", "box", "velocity", "force", "weight") if key in ds]]
        self._time = np.asarray(ds["time"].values if "time" in ds else np.arange(self.n_frames), np.float64)
        self._step = np.asarray(ds["step"].values if "step" in ds else np.arange(self.n_frames), np.int64)
        self._start, self._block = 0, dict[str, NDArray[Any]]()
        self.ts = Timestep(self.n_atoms, velocities="velocity" in ds, forces="force" in ds, **self._ts_kwargs)
        if self.n_frames > 1:
            self.ts.data.setdefault("dt", float(self._time[1] - self._time[0]))
        self._read_frame(0)

    @staticmethod
    def _format_hint(thing: object) -> bool:
        """Tell MDAnalysis whether this reader is meant."""
        return is_address(thing)

    @staticmethod
    def parse_n_atoms(filename: str, **kwargs: Any) -> int:
        """Return the number of particles."""
        return dataset_of(filename).sizes["particle"]

    def __getstate__(self) -> dict[str, Any]:
        """Leave the block behind when the reader travels."""
        return {**self.__dict__, "_start": 0, "_block": {}}

    def close(self) -> None:
        """Forget the block; nothing else is kept open."""
        self._block = {}

    def _reopen(self) -> None:
        """Go back before the first frame."""
        self.ts.frame = -1

    def _read_next_timestep(self, ts: Any = None) -> Any:
        """Read the frame after the current one."""
        if self.ts.frame + 1 >= self.n_frames:
            raise EOFError
        return self._read_frame(self.ts.frame + 1)

    def _read_frame(self, frame: int) -> Any:
        """Read any frame into the timestep."""
        here = self._at(frame)
        ts = self.ts
        ts.frame = frame
        ts.time = float(self._time[frame])
        ts.data["step"] = int(self._step[frame])
        if "weight" in here:
            ts.data["weight"] = float(here["weight"])
        ts.positions = here["position"]
        ts.dimensions = triclinic_box(*here["box"]) if "box" in here else None
        for name, attribute in (("velocity", "velocities"), ("force", "forces")):
            if name in here:
                setattr(ts, attribute, here[name])
        if self.convert_units:
            self._convert()
        return ts

    def _convert(self) -> None:
        """Bring the timestep to the units of MDAnalysis."""
        ts = self.ts
        self.convert_pos_from_native(ts.positions)
        if ts.dimensions is not None:
            self.convert_pos_from_native(ts.dimensions[:3])
        if ts.has_velocities:
            self.convert_velocities_from_native(ts.velocities)
        if ts.has_forces:
            self.convert_forces_from_native(ts.forces)

    def _at(self, frame: int) -> dict[str, NDArray[Any]]:
        """Return the arrays of one frame, from the block that is in memory or from the store."""
        if not self._block or not 0 <= frame - self._start < len(self._block["position"]):
            start, stop = self._bounds(frame)
            try:
                loaded = self._frames.isel(frame=slice(start, stop)).compute()
            except StoreError as error:
                # MDAnalysis takes an OSError while it iterates for the end of the trajectory.
                raise CgstoreError(str(error)) from error
            block = {str(name): array.values for name, array in loaded.data_vars.items()}
            if "box" in block:
                require_aligned(block["box"], f"{self.filename} in MDAnalysis")
            self._start, self._block = start, block
        return {name: array[frame - self._start] for name, array in self._block.items()}

    def _bounds(self, frame: int) -> tuple[int, int]:
        """Return the block that a frame is in: a chunk of the dataset, or what fits where it is in memory already."""
        chunks = self._frames["position"].chunksizes.get("frame")
        if chunks is None:
            size = max(1, _BLOCK // (12 * self.n_atoms))
            return frame // size * size, min(self.n_frames, (frame // size + 1) * size)
        ends = np.cumsum(chunks)
        number = int(np.searchsorted(ends, frame, side="right"))
        return int(ends[number] - chunks[number]), int(ends[number])


class StoreParser(TopologyReaderBase):  # type: ignore[misc]
    """The static part of a dataset at an address, for `MDAnalysis.Universe`."""

    format = "CGSTORE"

    @staticmethod
    def _format_hint(thing: object) -> bool:
        """Tell MDAnalysis whether this parser is meant."""
        return is_address(thing)

    def parse(self, **kwargs: Any) -> Any:
        """Return the topology of the dataset at the address."""
        return _topology(dataset_of(self.filename))


def _topology(ds: xr.Dataset) -> Any:
    """Return the static part of a dataset as MDAnalysis keeps it."""
    t = topology_of(check_dataset(ds))
    residue, _ = runs(t)
    first = np.flatnonzero(np.diff(residue, prepend=-1))
    element = elements_of(t.name, t.mass, ds.attrs.get("level"))
    attributes = [
        topologyattrs.Atomnames(t.name.astype(object)),
        topologyattrs.Atomtypes(t.type.astype(object)),
        topologyattrs.Masses(t.mass),
        topologyattrs.Charges(t.charge),
        topologyattrs.Resids(t.residue_id[first]),
        topologyattrs.Resnums(t.residue_id[first].copy()),
        topologyattrs.Resnames(t.residue[first].astype(object)),
        topologyattrs.Moltypes(t.molecule_kind[first].astype(object)),
        topologyattrs.Molnums(t.molecule[first]),
        topologyattrs.Segids(np.array(["SYSTEM"], object)),
        topologyattrs.Bonds(list(map(tuple, t.bond.tolist()))),
        topologyattrs.Angles(list(map(tuple, t.angle.tolist()))),
        topologyattrs.Dihedrals(list(map(tuple, t.dihedral.tolist()))),
    ]
    if element.any():
        attributes.append(topologyattrs.Elements(element.astype(object)))
    return Topology(len(t), len(first), 1, attrs=attributes, atom_resindex=residue)
