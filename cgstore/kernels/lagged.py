"""Sums over time origins, for each lag: squared displacements of positions, and products of velocities.

One lag after the other: two rows of bodies are read at a time, and the innermost loop is over bodies, which is what
vectorises. Sums are made in a fixed order, so that the result does not depend on threads.
"""

import numba
import numpy as np

__all__ = ["sum_products", "sum_squares"]


@numba.njit(nogil=True, cache=True, error_model="numpy")
def sum_squares(position, lag, length, first, last, factor, per_body, per_block):  # type: ignore[no-untyped-def]
    """Add up |x(t + lag) − x(t)|² over all origins t.

    Parameters
    ----------
    position : (frame, body, xyz) float64
    lag : (lag,) int64, in frames, each smaller than the number of frames
    length : origins per block
    first, last : bodies first .. last − 1 are looked at
    factor : (xyz,) float64 what each direction counts
    per_body : (body, lag) float64, set to the sums over all origins
    per_block : (block, lag) float64, set to the sums over the origins of a block and all bodies
    """
    bodies = last - first
    block = np.empty(bodies)
    a, b, c = factor[0], factor[1], factor[2]
    for k in range(len(lag)):
        per_body[:, k] = 0.0
        origins = position.shape[0] - lag[k]
        for n in range(per_block.shape[0]):
            block[:] = 0.0
            for t in range(n * length, min((n + 1) * length, origins)):
                old, new = position[t, first:last], position[t + lag[k], first:last]
                for i in range(bodies):
                    x, y, z = new[i, 0] - old[i, 0], new[i, 1] - old[i, 1], new[i, 2] - old[i, 2]
                    block[i] += a * x * x + b * y * y + c * z * z
            total = 0.0
            for i in range(bodies):
                per_body[i, k] += block[i]
                total += block[i]
            per_block[n, k] = total


@numba.njit(nogil=True, cache=True, error_model="numpy")
def sum_products(velocity, lag, length, first, last, factor, per_body, per_block):  # type: ignore[no-untyped-def]
    """Add up v(t + lag) · v(t) over all origins t; parameters as `sum_squares`."""
    bodies = last - first
    block = np.empty(bodies)
    a, b, c = factor[0], factor[1], factor[2]
    for k in range(len(lag)):
        per_body[:, k] = 0.0
        origins = velocity.shape[0] - lag[k]
        for n in range(per_block.shape[0]):
            block[:] = 0.0
            for t in range(n * length, min((n + 1) * length, origins)):
                old, new = velocity[t, first:last], velocity[t + lag[k], first:last]
                for i in range(bodies):
                    block[i] += a * new[i, 0] * old[i, 0] + b * new[i, 1] * old[i, 1] + c * new[i, 2] * old[i, 2]
            total = 0.0
            for i in range(bodies):
                per_body[i, k] += block[i]
                total += block[i]
            per_block[n, k] = total
