"""Weighted centres of whole molecules: the box is removed on the way, molecule by molecule.

Molecules that no face of the box cuts are told by their bonds, all shorter than half the box; nothing moves there.
Another one is walked along its bonds from its first atom; each atom takes the periodic image that is nearest to the
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
    whole = np.zeros((longest, 4))  # rows of 32 bytes
    for f in range(position.shape[0]):
        _map_frame(
            position[f],
            box[f],
            inverse[f],
            atom,
            parent,
            first_atom,
            first_bead,
            first_member,
            member,
            weight,
            whole,
            out[f],
        )


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _map_frame(  # type: ignore[no-untyped-def]
    position, box, inverse, atom, parent, first_atom, first_bead, first_member, member, weight, whole, out
):
    """Map one frame; `whole` is memory for the longest molecule. Unsigned indices cost no test for negative ones."""
    limit_x, limit_y, limit_z = _limits(box, inverse)
    start, bead, q = np.uint64(0), np.uint64(0), np.uint64(0)
    for m in range(np.uint64(1), np.uint64(len(first_atom))):
        stop = np.uint64(first_atom[m])
        far_x = far_y = far_z = 0.0
        k = np.uint64(0)
        for at in range(start, stop):
            a, p = np.uint64(atom[at]), np.uint64(parent[at])
            x, y, z = np.float64(position[a, 0]), np.float64(position[a, 1]), np.float64(position[a, 2])
            whole[k, 0], whole[k, 1], whole[k, 2] = x, y, z
            far_x = max(far_x, abs(x - whole[p, 0]))
            far_y = max(far_y, abs(y - whole[p, 1]))
            far_z = max(far_z, abs(z - whole[p, 2]))
            k += np.uint64(1)
        if not (far_x < limit_x and far_y < limit_y and far_z < limit_z):
            _walk(box, inverse, parent, start, stop - start, whole)
        start = stop
        while bead < np.uint64(first_bead[m]):
            x = y = z = np.float64(0.0)
            last = np.uint64(first_member[bead + np.uint64(1)])
            while q < last:
                k, w = np.uint64(member[q]), weight[q]
                x += w * whole[k, 0]
                y += w * whole[k, 1]
                z += w * whole[k, 2]
                q += np.uint64(1)
            out[bead, 0], out[bead, 1], out[bead, 2] = x, y, z
            bead += np.uint64(1)


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _is_skewed(box):  # type: ignore[no-untyped-def]
    """Tell whether a box has vectors that are not along an axis."""
    return box[0, 1] != 0 or box[0, 2] != 0 or box[1, 0] != 0 or box[1, 2] != 0 or box[2, 0] != 0 or box[2, 1] != 0


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _limits(box, inverse):  # type: ignore[no-untyped-def]
    """Return along x, y and z below which a bond surely is its own nearest image; infinite without a box.

    In a skewed box a fractional coordinate is at most the length of the bond over the height of the box, so a third
    of the square of half the smallest height is left for each direction.
    """
    if _is_skewed(box):
        height = np.inf
        for k in range(3):
            height = min(height, 1.0 / np.sqrt(inverse[0, k] ** 2 + inverse[1, k] ** 2 + inverse[2, k] ** 2))
        x = y = z = height / np.sqrt(3.0)
    else:
        x, y, z = abs(box[0, 0]), abs(box[1, 1]), abs(box[2, 2])
    margin = 0.499999  # of rounding
    return margin * x if x > 0 else np.inf, margin * y if y > 0 else np.inf, margin * z if z > 0 else np.inf


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _walk(box, inverse, parent, start, count, whole):  # type: ignore[no-untyped-def]
    """Move every atom of a molecule to the image that is nearest to the atom it is bonded to."""
    b, i = box, inverse
    skewed = _is_skewed(box)
    for k in range(np.uint64(1), count):
        p = np.uint64(parent[start + k])
        d0, d1, d2 = whole[k, 0] - whole[p, 0], whole[k, 1] - whole[p, 1], whole[k, 2] - whole[p, 2]
        if skewed:
            n0 = np.rint(d0 * i[0, 0] + d1 * i[1, 0] + d2 * i[2, 0])
            n1 = np.rint(d0 * i[0, 1] + d1 * i[1, 1] + d2 * i[2, 1])
            n2 = np.rint(d0 * i[0, 2] + d1 * i[1, 2] + d2 * i[2, 2])
            whole[k, 0] -= n0 * b[0, 0] + n1 * b[1, 0] + n2 * b[2, 0]
            whole[k, 1] -= n0 * b[0, 1] + n1 * b[1, 1] + n2 * b[2, 1]
            whole[k, 2] -= n0 * b[0, 2] + n1 * b[1, 2] + n2 * b[2, 2]
        else:
            whole[k, 0] -= np.rint(d0 * i[0, 0]) * b[0, 0]
            whole[k, 1] -= np.rint(d1 * i[1, 1]) * b[1, 1]
            whole[k, 2] -= np.rint(d2 * i[2, 2]) * b[2, 2]


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
