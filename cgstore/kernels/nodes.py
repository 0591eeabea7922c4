"""Pair distances of a frame spread over the nodes of a table, and counted in bins, in one pass over the pairs.

With linear weights the energy of a frame in any pair potential known at the nodes is one dot product,
`sum_n weight[n] U(r_n)`, whatever the parameters of the potential are: the weights are computed once per frame.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["node_weights"]


@njit(nogil=True, cache=True, error_model="numpy")
def node_weights(
    position: NDArray[np.float32],
    box: NDArray[np.float64],
    kind: NDArray[np.int64],
    pair: NDArray[np.int64],
    spacing: float,
    nodes: int,
    width: float,
    bins: int,
    pairs: int,
    first: float = 0.0,
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the weight of every node and the count in every bin, per frame and pair of types.

    Every pair of particles is looked at: for the boxes of a training set, a few hundred to a few thousand
    particles, this is quicker than building cells that are nearly as wide as the box.

    Parameters
    ----------
    position : (frame, particle, xyz) nm
    box : (frame, box_vector, xyz) nm; distances up to half the smallest height are right
    kind : (particle,) code of the type
    pair : (kind, kind) number of the pair of types, symmetric
    spacing, nodes : node n is at n * spacing; a distance counts when it is below (nodes - 1) * spacing
    width, bins, first : bin b is first + [b, b + 1) * width

    Returns
    -------
    weight (frame, pair, node) and count (frame, pair, bin)
    """
    frames, particles = position.shape[0], position.shape[1]
    weight = np.zeros((frames, pairs, nodes))
    count = np.zeros((frames, pairs, bins), np.int64)
    cutoff = (nodes - 1) * spacing
    farthest = max(cutoff, first + bins * width)
    for f in range(frames):
        a = box[f]
        inverse = np.linalg.inv(a)
        for i in range(particles):
            xi, yi, zi = np.float64(position[f, i, 0]), np.float64(position[f, i, 1]), np.float64(position[f, i, 2])
            for j in range(i + 1, particles):
                x, y, z = position[f, j, 0] - xi, position[f, j, 1] - yi, position[f, j, 2] - zi
                u = np.rint(x * inverse[0, 0] + y * inverse[1, 0] + z * inverse[2, 0])
                v = np.rint(x * inverse[0, 1] + y * inverse[1, 1] + z * inverse[2, 1])
                w = np.rint(x * inverse[0, 2] + y * inverse[1, 2] + z * inverse[2, 2])
                x -= u * a[0, 0] + v * a[1, 0] + w * a[2, 0]
                y -= u * a[0, 1] + v * a[1, 1] + w * a[2, 1]
                z -= u * a[0, 2] + v * a[1, 2] + w * a[2, 2]
                r = np.sqrt(x * x + y * y + z * z)
                if r >= farthest:
                    continue
                p = pair[kind[i], kind[j]]
                if r < cutoff:
                    t = r / spacing
                    n = min(int(t), nodes - 2)
                    weight[f, p, n] += 1.0 - (t - n)
                    weight[f, p, n + 1] += t - n
                b = int((r - first) / width)
                if r >= first and b < bins:
                    count[f, p, b] += 1
    return weight, count
