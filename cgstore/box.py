"""Geometry of periodic boxes, orthorhombic or triclinic; the rows of a box are its vectors.

Distances below half the smallest height of the box have one nearest image, and rounding fractional coordinates
finds it in any box; that is why distributions stop there.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["heights", "minimum_image", "volume"]


def volume(box: ArrayLike) -> NDArray[np.float64]:
    """Return the volume of boxes.

    Parameters
    ----------
    box : (..., box_vector, xyz) nm

    Returns
    -------
    (...,) nm³

    Examples
    --------
    >>> float(volume([[2.0, 0, 0], [0.5, 3.0, 0], [0, 0, 4.0]]).round(9))
    24.0
    """
    return np.asarray(np.abs(np.linalg.det(np.asarray(box, np.float64))))


def heights(box: ArrayLike) -> NDArray[np.float64]:
    """Return the distances between opposite faces of boxes.

    Parameters
    ----------
    box : (..., box_vector, xyz) nm

    Returns
    -------
    (..., box_vector) nm; for an orthorhombic box its edges

    Notes
    -----
    The height along a is V / |b × c|, which is one over the length of the reciprocal vector.

    Examples
    --------
    >>> heights([[1.0, 0, 0], [1.0, 1.0, 0], [0, 0, 2.0]]).round(6).tolist()
    [0.707107, 1.0, 2.0]
    """
    reciprocal = np.linalg.inv(np.asarray(box, np.float64))
    return np.asarray(1.0 / np.linalg.norm(reciprocal, axis=-2))


def minimum_image(vector: ArrayLike, box: ArrayLike) -> NDArray[np.float64]:
    """Return the nearest periodic images of vectors, exact for those shorter than half the smallest height.

    Parameters
    ----------
    vector : (..., xyz) nm
    box : (box_vector, xyz) nm

    Examples
    --------
    >>> minimum_image([[1.9, 0.0, -1.2]], np.diag([2.0, 2.0, 2.0])).round(6).tolist()
    [[-0.1, 0.0, 0.8]]
    """
    edges = np.asarray(box, np.float64)
    vectors = np.asarray(vector, np.float64)
    return vectors - np.rint(vectors @ np.linalg.inv(edges)) @ edges
