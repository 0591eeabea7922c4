"""The digest of a dataset: a hash of what a reader sees, however the frames arrived and however they are packed.

A frame's digest covers its positions, box, velocities and forces as float32; not its time, so that a frame repeated
under another time shows. The dataset's digest covers the static part, units, times, steps, weights and frame digests.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cgstore.schema import SCHEMA

__all__ = ["dataset_digest", "frame_digests", "static_digest"]

_FRAME_PARTS = ("position", "box", "velocity", "force")
_UNITS = {variable.name: variable.unit for variable in SCHEMA}


def frame_digests(arrays: Mapping[str, NDArray[Any] | None]) -> NDArray[np.uint64]:
    """Return the leading 64 bits of the SHA-256 of each frame.

    Parameters
    ----------
    arrays : `position` (frame, particle, xyz) and, where present, `box`, `velocity`, `force`; others are ignored

    Returns
    -------
    (frame,) uint64, never the largest one, which is the fill value

    Examples
    --------
    >>> x = np.zeros((2, 5, 3), np.float32)
    >>> first, second = frame_digests({"position": x, "box": None})
    >>> bool(first == second), bool(first == frame_digests({"position": x + 1})[0])
    (True, False)
    """
    parts = [
        (name.encode(), np.ascontiguousarray(array, "<f4"))
        for name in _FRAME_PARTS
        if (array := arrays.get(name)) is not None
    ]
    digests = np.empty(len(parts[0][1]), np.uint64)
    for frame in range(len(digests)):
        state = hashlib.sha256()
        for name, array in parts:
            state.update(name)
            state.update(array[frame].data)
        digests[frame] = min(int.from_bytes(state.digest()[:8], "little"), 2**64 - 2)
    return digests


def static_digest(arrays: Mapping[str, NDArray[Any]]) -> str:
    """Return the SHA-256 of the static arrays with their names, shapes and units."""
    state = hashlib.sha256()
    for name in sorted(arrays):
        array = np.asarray(arrays[name])
        state.update(f"{name} {array.shape} {_UNITS[name]}\n".encode())
        state.update(_content(array))
    return state.hexdigest()


def dataset_digest(static: str, arrays: Mapping[str, NDArray[Any]], *, variables: tuple[str, ...]) -> str:
    """Return the SHA-256 of a dataset.

    Parameters
    ----------
    static : digest of the static part
    arrays : `frame_digest`, `time`, `step` and, where present, `weight`, each (frame,)
    variables : names of the per-frame variables of the dataset
    """
    state = hashlib.sha256(static.encode())
    for name in sorted(variables):
        state.update(f"{name} {_UNITS[name]}\n".encode())
    for name in sorted(arrays):
        state.update(f"{name} {len(arrays[name])}\n".encode())
        state.update(_content(arrays[name]))
    return state.hexdigest()


def _content(array: NDArray[Any]) -> bytes:
    """Return the bytes of an array in little-endian order; of text, its words in UTF-8 with their lengths."""
    if array.dtype.kind == "U":
        return b"".join(b"%d:%b" % (len(word), word) for word in (str(text).encode() for text in array.ravel()))
    return np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()
