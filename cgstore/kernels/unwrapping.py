"""Steps between frames in a periodic box that may change, added up: toroidal-view-preserving unwrapping.

Frame after frame, body after body; what one group of frames leaves in `wrapped`, `way` and `drift` is where the next
one begins, so that only one frame is ever remembered. NumPy makes eight passes over memory of the same, which took
thirty times as long.
"""

import numba
import numpy as np

__all__ = ["add_steps"]


@numba.njit(nogil=True, cache=True, error_model="numpy")
def add_steps(  # type: ignore[no-untyped-def]
    centre, box, inverse, share, kind, limit, begin, wrapped, way, drift, far, chosen, remove_drift, out
):
    """Follow the bodies through a group of frames.

    Parameters
    ----------
    centre : (frame, body, xyz) float64, nm, in any image
    box, inverse : (frame, 3, 3) float64, rows of `box` are box vectors; both zero without a box
    share : (body,) float64, part of the mass of the system
    kind : (body,) int64
    limit : steps of more than this part of a height of the box are counted
    begin : whether the first of these frames is where the way begins
    wrapped : (body, xyz) float64, inside the box, of the frame before; then of the last one
    way : (body, xyz) float64, unwrapped, of the frame before; then of the last one
    drift : (xyz,) float64, way of the centre of mass; added to
    far : (kind,) int64, how many steps were far; added to
    chosen : (chosen,) int64, bodies that are wanted
    remove_drift : take `drift` off
    out : (frame, chosen, xyz) float64
    """
    w, d, n = np.empty(3), np.empty(3), np.empty(3)
    for f in range(centre.shape[0]):
        b, i = box[f], inverse[f]
        moved_x = moved_y = moved_z = 0.0
        for k in range(centre.shape[1]):
            x, y, z = centre[f, k, 0], centre[f, k, 1], centre[f, k, 2]
            for j in range(3):
                n[j] = np.floor(x * i[0, j] + y * i[1, j] + z * i[2, j])
            w[0] = x - (n[0] * b[0, 0] + n[1] * b[1, 0] + n[2] * b[2, 0])
            w[1] = y - (n[0] * b[0, 1] + n[1] * b[1, 1] + n[2] * b[2, 1])
            w[2] = z - (n[0] * b[0, 2] + n[1] * b[1, 2] + n[2] * b[2, 2])
            if begin and f == 0:
                way[k, :] = w
                wrapped[k, :] = w
                continue
            for j in range(3):
                d[j] = w[j] - wrapped[k, j]
                wrapped[k, j] = w[j]
            for j in range(3):
                turn = d[0] * i[0, j] + d[1] * i[1, j] + d[2] * i[2, j]
                n[j] = np.rint(turn)
                far[kind[k]] += abs(turn - n[j]) > limit
            for j in range(3):
                d[j] -= n[0] * b[0, j] + n[1] * b[1, j] + n[2] * b[2, j]
                way[k, j] += d[j]
            moved_x += share[k] * d[0]
            moved_y += share[k] * d[1]
            moved_z += share[k] * d[2]
        drift[0] += moved_x
        drift[1] += moved_y
        drift[2] += moved_z
        for c in range(len(chosen)):
            for j in range(3):
                out[f, c, j] = way[chosen[c], j] - (drift[j] if remove_drift else 0.0)
