"""Box vectors from the lengths and angles that some formats store instead of them."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["box_vectors"]


def box_vectors(lengths: ArrayLike, angles: ArrayLike) -> NDArray[np.float32]:
    """Return box vectors, the first along x and the second in the x–y plane.

    Parameters
    ----------
    lengths : (frame, 3) nm, of the vectors a, b and c
    angles : (frame, 3) degrees, between b and c, a and c, a and b

    Returns
    -------
    (frame, box_vector, xyz) nm; zero where the lengths are, not finite where lengths and angles make no box

    Examples
    --------
    >>> box_vectors([[3.0, 3.0, 4.0]], [[90.0, 90.0, 60.0]]).round(3).tolist()[0][1]
    [1.5, 2.5980000495910645, 0.0]
    """
    a, b, c = np.asarray(lengths, np.float64).reshape(-1, 3).T
    degrees = np.asarray(angles, np.float64).reshape(-1, 3)
    box = np.zeros((len(a), 3, 3))
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        # A right angle is exact, so that an orthorhombic box has zeros where it should.
        alpha, beta, gamma = np.where(degrees == 90.0, 0.0, np.cos(np.deg2rad(degrees))).T
        sine = np.sqrt(1.0 - gamma**2)
        box[:, 0, 0] = a
        box[:, 1, 0] = b * gamma
        box[:, 1, 1] = b * sine
        box[:, 2, 0] = c * beta
        box[:, 2, 1] = c * (alpha - beta * gamma) / sine
        box[:, 2, 2] = np.sqrt(c**2 - box[:, 2, 0] ** 2 - box[:, 2, 1] ** 2)
        box[(a == 0) & (b == 0) & (c == 0)] = 0.0  # how some programs say that there is no box
        return box.astype(np.float32)
