"""Weighted centres of whole molecules: the box is removed on the way, molecule by molecule.

A molecule is walked along its bonds from its first atom; each atom takes the periodic image that is nearest to the
atom it is bonded to, found by rounding fractional coordinates. That is right in any box for bonds shorter than half
its smallest height, however long the molecule is. Everything is done in float64; only a few kB per molecule are
touched at a time, which is why molecules and not bond generations are the outer loop.
"""

import numba
import numpy as np

__all__ = ["map_positions", "sum_values"]


@numba.njit(nogil=True, cache=True, error_model="numpy")
def map_positions(  # type: ignore[no-untyped-def]
    position, box, inverse, atom, parent, first_atom, first_bead, first_member, member, weight, out
):
    """Fill `out` with the beads of each frame.

    Parameters
    ----------
    position : (frame, particle, xyz) float32, nm
    box, inverse : (frame, 3, 3) float64, rows of `box` are box vectors; both zero for a frame without a box
    atom : (listed,) particles that are needed, molecule after molecule, each after the one it is bonded to
    parent : (listed,) place in the molecule's part of `atom` of the one it is bonded to; 0 for the first
    first_atom, first_bead : (molecule + 1,) where the atoms and the beads of each molecule begin
    first_member : (bead + 1,) where the members of each bead begin
    member : (members,) places in the molecule's part of `atom`
    weight : (members,) float64, sum 1 for each bead
    out : (frame, bead, xyz) float32, nm
    """
    longest = 0
    for m in range(len(first_atom) - 1):
        longest = max(longest, first_atom[m + 1] - first_atom[m])
    whole = np.empty((longest, 3))
    for f in range(position.shape[0]):
        x, b, i = position[f], box[f], inverse[f]
        skewed = b[0, 1] != 0 or b[0, 2] != 0 or b[1, 0] != 0 or b[1, 2] != 0 or b[2, 0] != 0 or b[2, 1] != 0
        for m in range(len(first_atom) - 1):
            start = first_atom[m]
            for k in range(first_atom[m + 1] - start):
                a = atom[start + k]
                x0, x1, x2 = np.float64(x[a, 0]), np.float64(x[a, 1]), np.float64(x[a, 2])
                if k > 0:
                    p = parent[start + k]
                    d0, d1, d2 = x0 - whole[p, 0], x1 - whole[p, 1], x2 - whole[p, 2]
                    if skewed:
                        n0 = np.rint(d0 * i[0, 0] + d1 * i[1, 0] + d2 * i[2, 0])
                        n1 = np.rint(d0 * i[0, 1] + d1 * i[1, 1] + d2 * i[2, 1])
                        n2 = np.rint(d0 * i[0, 2] + d1 * i[1, 2] + d2 * i[2, 2])
                        x0 -= n0 * b[0, 0] + n1 * b[1, 0] + n2 * b[2, 0]
                        x1 -= n0 * b[0, 1] + n1 * b[1, 1] + n2 * b[2, 1]
                        x2 -= n0 * b[0, 2] + n1 * b[1, 2] + n2 * b[2, 2]
                    else:
                        x0 -= np.rint(d0 * i[0, 0]) * b[0, 0]
                        x1 -= np.rint(d1 * i[1, 1]) * b[1, 1]
                        x2 -= np.rint(d2 * i[2, 2]) * b[2, 2]
                whole[k, 0], whole[k, 1], whole[k, 2] = x0, x1, x2
            for bead in range(first_bead[m], first_bead[m + 1]):
                s0 = s1 = s2 = 0.0
                for q in range(first_member[bead], first_member[bead + 1]):
                    k, w = member[q], weight[q]
                    s0 += w * whole[k, 0]
                    s1 += w * whole[k, 1]
                    s2 += w * whole[k, 2]
                out[f, bead, 0], out[f, bead, 1], out[f, bead, 2] = s0, s1, s2


@numba.njit(nogil=True, cache=True, error_model="numpy")
def sum_values(values, source, first_member, weight, out):  # type: ignore[no-untyped-def]
    """Fill `out` with weighted sums over the members of beads: velocities or forces, which know no box.

    Parameters
    ----------
    values : (frame, particle, xyz) float32
    source : (members,) particle of each member
    first_member : (bead + 1,)
    weight : (members,) float64
    out : (frame, bead, xyz) float32
    """
    for f in range(values.shape[0]):
        v = values[f]
        for bead in range(len(first_member) - 1):
            s0 = s1 = s2 = 0.0
            for q in range(first_member[bead], first_member[bead + 1]):
                k, w = source[q], weight[q]
                s0 += w * v[k, 0]
                s1 += w * v[k, 1]
                s2 += w * v[k, 2]
            out[f, bead, 0], out[f, bead, 1], out[f, bead, 2] = s0, s1, s2
