"""Boxes as lengths and angles, for programs and formats that know no box vectors."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cgstore.errors import InputError

__all__ = ["lengths_and_angles", "require_aligned"]

_ALIGNED = 1e-5  # of the longest vector: what float32 and a few rotations leave


def lengths_and_angles(box: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the lengths of box vectors a, b, c and the angles between b and c, a and c, a and b.

    Parameters
    ----------
    box : (..., box_vector, xyz) nm

    Returns
    -------
    lengths : (..., 3) nm
    angles : (..., 3) degrees; right angles are exact

    Examples
    --------
    >>> lengths, angles = lengths_and_angles([[3.0, 0, 0], [1.5, 2.598, 0], [0, 0, 4.0]])
    >>> lengths.round(3).tolist(), angles.round(1).tolist()
    ([3.0, 3.0, 4.0], [90.0, 90.0, 60.0])
    """
    vectors = np.asarray(box, np.float64)
    lengths = np.linalg.norm(vectors, axis=-1)
    b_c = np.einsum("...i,...i", vectors[..., 1, :], vectors[..., 2, :]) / (lengths[..., 1] * lengths[..., 2])
    a_c = np.einsum("...i,...i", vectors[..., 0, :], vectors[..., 2, :]) / (lengths[..., 0] * lengths[..., 2])
    a_b = np.einsum("...i,...i", vectors[..., 0, :], vectors[..., 1, :]) / (lengths[..., 0] * lengths[..., 1])
    return lengths, np.rad2deg(np.arccos(np.clip(np.stack([b_c, a_c, a_b], axis=-1), -1.0, 1.0)))


def require_aligned(box: NDArray[np.float32], purpose: str) -> None:
    """Refuse boxes that lengths and angles do not describe: a must lie along x, b in the x–y plane, c above it.

    Parameters
    ----------
    box : (frame, box_vector, xyz) nm
    purpose : opens the message: what the boxes are for

    Raises
    ------
    InputError : a box is turned, mirrored or flat
    """
    diagonal = np.diagonal(box, axis1=-2, axis2=-1)
    above = np.stack([box[:, 0, 1], box[:, 0, 2], box[:, 1, 2]], axis=-1)
    turned = (np.abs(above).max(-1) > _ALIGNED * np.abs(box).max((-2, -1))) | ~(diagonal > 0).all(-1)
    if turned.any():
        found = np.array2string(box[int(np.argmax(turned))].astype(np.float64).round(4), separator=", ")
        raise InputError(
            f"{purpose}: only boxes with a along x, b in the x-y plane and c above it can be told by lengths and "
            f"angles; found the vectors {' '.join(found.split())} nm; turn box and positions, or export to trr or h5md"
        )
