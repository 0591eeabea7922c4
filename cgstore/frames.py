"""Frames: consecutive frames in memory, what readers yield, mappings transform and stores append."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["Frames", "Reader"]

Float32 = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Frames:
    """A block of frames of one system; every array has the frames as its first axis.

    Units: nm, ps, nm/ps, kJ/mol/nm. `box` rows are box vectors; None when the system has no box.
    """

    position: Float32  # (frame, particle, xyz) nm
    time: NDArray[np.float64]  # (frame,) ps
    step: NDArray[np.int64]  # (frame,)
    box: Float32 | None = None  # (frame, box_vector, xyz) nm
    velocity: Float32 | None = None  # (frame, particle, xyz) nm/ps
    force: Float32 | None = None  # (frame, particle, xyz) kJ/mol/nm

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self.position)

    def __getitem__(self, frames: slice | NDArray[np.int64]) -> "Frames":
        """Return some of the frames, as views where NumPy gives views."""
        chosen: dict[str, Any] = {name: None if a is None else a[frames] for name, a in self.arrays().items()}
        return Frames(**chosen)

    def arrays(self) -> dict[str, Any]:
        """Return the arrays by name, absent ones as None."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @staticmethod
    def concatenate(parts: Sequence["Frames"]) -> "Frames":
        """Join blocks of the same system in the order given."""
        joined: dict[str, Any] = {}
        for field in fields(Frames):
            arrays = [getattr(part, field.name) for part in parts]
            joined[field.name] = None if arrays[0] is None else np.concatenate(arrays)
        return Frames(**joined)


class Reader(Protocol):
    """One trajectory file, opened: what a new format has to provide.

    Everything but the coordinates is known at opening, from an index and not from decoding. Damage behind the last
    complete frame is not an error of opening: `flaw` says what it is, in words, and is empty for a sound file.
    """

    @property
    def path(self) -> Path: ...  # noqa: D102
    @property
    def particles(self) -> int: ...  # noqa: D102
    @property
    def time(self) -> NDArray[np.float64]: ...  # noqa: D102 (frame,) ps
    @property
    def step(self) -> NDArray[np.int64]: ...  # noqa: D102 (frame,)
    @property
    def flaw(self) -> str: ...  # noqa: D102
    def read(self, frames: NDArray[np.int64]) -> Frames:
        """Decode these frames, indices into `time`, in this order; raise InputError on damage."""
        ...
