"""Angular functions of a particle's neighbours, and their derivatives, from moments: the cost is linear in neighbours.

With f(r) = exp(−η (r − r_s)²) fc(r) and u the unit vectors from a particle to its neighbours, cos θ_jk is u_j · u_k, so

    Σ_jk f_j f_k cosⁿ θ_jk = Σ_abc n! / (a! b! c!) M_abc²,    M_abc = Σ_j f_j x_jᵃ y_jᵇ z_jᶜ,  a + b + c = n,

and (1 ± cos θ)^ζ is a polynomial in cos θ. Pairs j = k are in these sums and are taken off, since they are Σ f_j².
Each particle of a batch has a lane, and rows have one neighbour of each of them; where a particle has no more, its lane
is at the cutoff, where f is zero.
"""

import math
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from cgstore.kernels.radial import FAST, set_cut, set_function

__all__ = ["Angles", "Monomials", "Room", "monomials", "pull_rows", "room_for", "set_angles"]

Single = NDArray[np.float32]
Integer = NDArray[np.int64]

_ZERO, _ONE, _HALF, _TWO = np.float32(0.0), np.float32(1.0), np.float32(0.5), np.float32(2.0)


class Monomials(NamedTuple):
    """The products xᵃ yᵇ zᶜ up to an order; each is an earlier one times a coordinate."""

    parent: Integer  # (monomial,); that of the first, which is 1, is itself
    axis: Integer  # (monomial,)
    degree: Integer  # (monomial,)
    weight: Single  # (monomial,) n! / (a! b! c!)


class Angles(NamedTuple):
    """Angular functions 2^(1−ζ) Σ_{j<k} (1 ± cos θ_jk)^ζ f(r_j) f(r_k) as arrays: for each f those of all ζ and signs.

    Neighbours of two types are all pairs of them, j of the one and k of the other. Without parts there are none.
    """

    cutoff: float  # nm
    eta: Single  # (part,) nm⁻²
    shift: Single  # (part,) nm
    monomial: Monomials
    series: Single  # (function, power): of cosⁿ in 2^(1−ζ) (1 ± cos)^ζ
    straight: Single  # (function,): that sum at cos θ = 1


class Room(NamedTuple):
    """Scratch for a batch of particles."""

    rows: Single  # (4, row, lane): r, 1/r, the cutoff function and its slope
    phi: Single  # (part, row, lane) f
    dphi: Single  # (part, row, lane) f'/r
    unit: Single  # (row, xyz, lane)
    moment: Single  # (type, part, monomial, lane)
    square: Single  # (type, part, lane) Σ f²
    slope: Single  # (type, part, monomial, lane), of the energy by moments
    bare: Single  # (type, part, lane), by Σ f²
    power: Single  # (monomial, lane)
    back: Single  # (monomial, lane), by these
    along: Single  # (2, lane), by the distance, over it; and scratch
    across: Single  # (xyz, lane), by the unit vector
    sums: Single  # (power, lane)


def monomials(order: int) -> Monomials:
    """Return the monomials up to an order, those of lower degree first.

    Examples
    --------
    >>> monomials(2).weight.tolist()
    [1.0, 1.0, 1.0, 1.0, 1.0, 2.0, 2.0, 1.0, 2.0, 1.0]
    """
    known = {(0, 0, 0): 0}
    rows = [(0, 0, 0, 1.0)]
    for n in range(1, order + 1):
        for a in range(n, -1, -1):
            for b in range(n - a, -1, -1):
                exponent = (a, b, n - a - b)
                last = next(x for x in range(3) if exponent[x])
                before = (a - (last == 0), b - (last == 1), exponent[2] - (last == 2))
                weight = math.factorial(n) / math.prod(math.factorial(e) for e in exponent)
                rows.append((known[before], last, n, weight))
                known[exponent] = len(rows) - 1
    parent, axis, degree = (np.array([row[column] for row in rows], np.int64) for column in range(3))
    return Monomials(parent, axis, degree, np.array([row[3] for row in rows], np.float32))


@njit(nogil=True, cache=True, error_model="numpy")
def room_for(angles: Angles, types: int, rows: int, lanes: int) -> Room:
    """Return scratch for as many types, rows of neighbours and particles of a batch."""
    parts, count = angles.eta.shape[0], angles.monomial.parent.shape[0]
    return Room(
        np.empty((4, rows, lanes), np.float32),
        np.empty((parts, rows, lanes), np.float32),
        np.empty((parts, rows, lanes), np.float32),
        np.empty((rows, 3, lanes), np.float32),
        np.empty((types, parts, count, lanes), np.float32),
        np.empty((types, parts, lanes), np.float32),
        np.empty((types, parts, count, lanes), np.float32),
        np.empty((types, parts, lanes), np.float32),
        np.empty((count, lanes), np.float32),
        np.empty((count, lanes), np.float32),
        np.empty((2, lanes), np.float32),
        np.empty((3, lanes), np.float32),
        np.empty((angles.series.shape[1], lanes), np.float32),
    )


@njit(nogil=True, cache=True, error_model="numpy")
def set_angles(angles: Angles, edge: Integer, square: Single, vector: Single, room: Room, value: Single) -> None:
    """Set the angular functions of the particles of a batch.

    Parameters
    ----------
    angles, room : what they are, and scratch that `pull_rows` reads
    edge : (type + 1,) with which row the neighbours of each type begin
    square, vector : (row, lane) and (row, xyz, lane) nm², nm, squared distance and vector to each neighbour
    value : (descriptor, lane), for each pair of types, each f, and each function
    """
    _set_functions(angles, square, vector, room)
    room.moment[:] = _ZERO
    room.square[:] = _ZERO
    for t in range(edge.shape[0] - 1):
        for row in range(edge[t], edge[t + 1]):
            _set_powers(angles.monomial, room.unit[row], room.power)
            for m in range(angles.eta.shape[0]):
                _add_moments(room.phi[m, row], room.power, room.moment[t, m], room.square[t, m])
    _contract(angles, room.moment, room.square, room.sums, value)


@njit(nogil=True, cache=True, error_model="numpy", fastmath=FAST)
def _set_functions(angles: Angles, square: Single, vector: Single, room: Room) -> None:
    """Set f and its derivative, and the unit vectors."""
    rows = square.shape[0]
    r, inverse = room.rows[0, :rows].reshape(-1), room.rows[1, :rows].reshape(-1)
    cut, slope = room.rows[2, :rows].reshape(-1), room.rows[3, :rows].reshape(-1)
    set_cut(square.reshape(-1), np.float32(angles.cutoff), r, inverse, cut, slope)
    for m in range(angles.eta.shape[0]):
        phi, dphi = room.phi[m, :rows].reshape(-1), room.dphi[m, :rows].reshape(-1)
        set_function(r, inverse, cut, slope, angles.eta[m], angles.shift[m], phi, dphi)
    for row in range(rows):
        for x in range(3):
            for q in range(square.shape[1]):
                room.unit[row, x, q] = vector[row, x, q] * room.rows[1, row, q]


@njit(nogil=True, cache=True, error_model="numpy", fastmath=FAST)
def _set_powers(monomial: Monomials, unit: Single, power: Single) -> None:
    """Set the monomials (monomial, lane) of unit vectors (xyz, lane)."""
    power[0] = _ONE
    for c in range(1, power.shape[0]):
        before, x = monomial.parent[c], monomial.axis[c]
        for q in range(power.shape[1]):
            power[c, q] = power[before, q] * unit[x, q]


@njit(nogil=True, cache=True, error_model="numpy", fastmath=FAST)
def _add_moments(phi: Single, power: Single, moment: Single, square: Single) -> None:
    """Add a row of neighbours (lane,) to moments (monomial, lane) and to the sums of f² (lane,)."""
    for c in range(power.shape[0]):
        for q in range(power.shape[1]):
            moment[c, q] += phi[q] * power[c, q]
    for q in range(power.shape[1]):
        square[q] += phi[q] * phi[q]


@njit(nogil=True, cache=True, error_model="numpy", fastmath=FAST)
def _contract(angles: Angles, moment: Single, square: Single, sums: Single, value: Single) -> None:
    """Set the functions (descriptor, lane) from moments (type, part, monomial, lane)."""
    degree, weight = angles.monomial.degree, angles.monomial.weight
    at = 0
    for a in range(moment.shape[0]):
        for b in range(a, moment.shape[0]):
            for m in range(moment.shape[1]):
                one, other = moment[a, m], moment[b, m]
                sums[:] = _ZERO
                for c in range(one.shape[0]):
                    n, w = degree[c], weight[c]
                    for q in range(one.shape[1]):
                        sums[n, q] += w * one[c, q] * other[c, q]
                for k in range(angles.series.shape[0]):
                    share, bare = (_HALF, -_HALF * angles.straight[k]) if a == b else (_ONE, _ZERO)
                    _set_scaled(square[a, m], bare, value[at + k])
                    for n in range(sums.shape[0]):
                        _add_scaled(sums[n], share * angles.series[k, n], value[at + k])
                at += angles.series.shape[0]


@njit(nogil=True, cache=True, error_model="numpy", fastmath=FAST)
def _set_scaled(row: Single, factor: np.float32, found: Single) -> None:
    """Set a row to a multiple of another."""
    for q in range(row.shape[0]):
        found[q] = factor * row[q]


@njit(nogil=True, cache=True, error_model="numpy", fastmath=FAST)
def _add_scaled(row: Single, factor: np.float32, found: Single) -> None:
    """Add a multiple of a row to another."""
    for q in range(row.shape[0]):
        found[q] += factor * row[q]


@njit(nogil=True, cache=True, error_model="numpy", fastmath=FAST)
def _set_slopes(angles: Angles, back: Single, room: Room) -> None:
    """Set the derivatives by moments, and by Σ f², from those by the functions (descriptor, lane)."""
    degree, weight, moment, sums = angles.monomial.degree, angles.monomial.weight, room.moment, room.sums
    room.slope[:] = _ZERO
    room.bare[:] = _ZERO
    at = 0
    for a in range(moment.shape[0]):
        for b in range(a, moment.shape[0]):
            share = _HALF if a == b else _ONE
            for m in range(moment.shape[1]):
                sums[:] = _ZERO
                for k in range(angles.series.shape[0]):
                    for n in range(sums.shape[0]):
                        _add_scaled(back[at + k], share * angles.series[k, n], sums[n])
                    if a == b:
                        _add_scaled(back[at + k], -_HALF * angles.straight[k], room.bare[a, m])
                for c in range(moment.shape[2]):
                    _add_product(sums[degree[c]], moment[b, m, c], weight[c], room.slope[a, m, c])
                    _add_product(sums[degree[c]], moment[a, m, c], weight[c], room.slope[b, m, c])
                at += angles.series.shape[0]


@njit(nogil=True, cache=True, error_model="numpy", fastmath=FAST)
def _add_product(one: Single, other: Single, factor: np.float32, found: Single) -> None:
    """Add a multiple of the product of two rows to another."""
    for q in range(one.shape[0]):
        found[q] += factor * one[q] * other[q]


@njit(nogil=True, cache=True, error_model="numpy")
def pull_rows(angles: Angles, edge: Integer, room: Room, back: Single, vector: Single, pull: Single) -> None:
    """Set the derivative of the energy of each particle by the vectors (row, xyz, lane) to its neighbours.

    Parameters
    ----------
    angles, edge, vector, room : as `set_angles` had and left them
    back : (descriptor, lane), derivatives by what that function set
    """
    _set_slopes(angles, back, room)
    for t in range(edge.shape[0] - 1):
        for row in range(edge[t], edge[t + 1]):
            _set_powers(angles.monomial, room.unit[row], room.power)
            room.along[0] = _ZERO
            room.back[:] = _ZERO
            for m in range(angles.eta.shape[0]):
                phi, dphi = room.phi[m, row], room.dphi[m, row]
                _pull_powers(room.slope[t, m], room.bare[t, m], phi, dphi, room.power, room.back, room.along)
            _pull_unit(angles.monomial, room.unit[row], room.power, room.back, room.across)
            _join(room.along, room.across, room.unit[row], room.rows[1, row], vector[row], pull[row])


@njit(nogil=True, cache=True, error_model="numpy", fastmath=FAST)
def _pull_powers(
    slope: Single, bare: Single, phi: Single, dphi: Single, power: Single, back: Single, along: Single
) -> None:
    """Add to the derivatives by distances and monomials from those by moments (monomial, lane) and Σ f² (lane,)."""
    for q in range(phi.shape[0]):
        along[1, q] = _TWO * bare[q] * phi[q]
    for c in range(power.shape[0]):
        for q in range(phi.shape[0]):
            along[1, q] += slope[c, q] * power[c, q]
            back[c, q] += slope[c, q] * phi[q]
    for q in range(phi.shape[0]):
        along[0, q] += dphi[q] * along[1, q]


@njit(nogil=True, cache=True, error_model="numpy", fastmath=FAST)
def _pull_unit(monomial: Monomials, unit: Single, power: Single, back: Single, across: Single) -> None:
    """Set the derivatives by unit vectors: monomials are taken apart from the last to the first."""
    across[:] = _ZERO
    for c in range(power.shape[0] - 1, 0, -1):
        before, x = monomial.parent[c], monomial.axis[c]
        for q in range(power.shape[1]):
            across[x, q] += back[c, q] * power[before, q]
            back[before, q] += back[c, q] * unit[x, q]


@njit(nogil=True, cache=True, error_model="numpy", fastmath=FAST)
def _join(along: Single, across: Single, unit: Single, inverse: Single, vector: Single, pull: Single) -> None:
    """Set the derivatives by vectors (xyz, lane) from those by distances and unit vectors."""
    for q in range(inverse.shape[0]):
        along[1, q] = across[0, q] * unit[0, q] + across[1, q] * unit[1, q] + across[2, q] * unit[2, q]
    for x in range(3):
        for q in range(inverse.shape[0]):
            pull[x, q] = along[0, q] * vector[x, q] + (across[x, q] - along[1, q] * unit[x, q]) * inverse[q]
