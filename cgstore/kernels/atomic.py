"""Energy and forces of a network of atoms: descriptors, layers, derivatives, fused over batches of particles.

Thirty-two particles go through at a time, so that all they need stays in the second-level cache: their neighbours
within the cutoff, packed into columns of float32 (one column per quantity, so that eight or sixteen pairs are treated
at once); the radial functions of these columns and their sums; the layers, forwards and back; the forces, added up in
float64. Distances are differences of float64. Exponentials are polynomials right to two units of the last place: they
vectorise where calls do not.

A network comes as arrays, `Network`, with what scales its descriptors and what else it is told folded into the first
layer; the pair part as cubic polynomials in r², as in `kernels.langevin`.
"""

import math
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from cgstore.kernels.potentials import potential
from cgstore.kernels.verlet import Exclusions, Neighbours, near, wrap

__all__ = ["BATCH", "Network", "atomic_descriptors"]

Float = NDArray[np.floating[Any]]
Single = NDArray[np.float32]
Index = NDArray[np.unsignedinteger[Any]]

BATCH = 32
_LANES = 16  # the columns of a particle and a type of its neighbours are filled up to a multiple of it

# No reassociation where rounding is done by adding and subtracting a large number.
_EXACT = {"nnan", "ninf", "nsz", "contract", "arcp"}
_FAST = _EXACT | {"reassoc"}

_ONE, _HALF, _TWO = np.float32(1.0), np.float32(0.5), np.float32(2.0)
_LOG2E = np.float32(math.log2(math.e))
_LN2_HIGH, _LN2_LOW = np.float32(0.693359375), np.float32(-2.12194440e-4)  # their sum is ln 2
_ROUND = np.float32(12582912.0)  # 1.5 · 2²³: adding and subtracting it rounds to the nearest integer
_LEAST, _MOST = np.float32(-87.0), np.float32(9.0)
_BIAS, _MANTISSA = np.int32(127), np.int32(23)
_E2, _E3, _E4, _E5, _E6 = (np.float32(1.0 / math.factorial(n)) for n in range(2, 7))
_HALF_PI = np.float32(math.pi / 2.0)
_S3, _S5, _S7, _S9, _S11 = (np.float32((-1.0) ** (n // 2) / math.factorial(n)) for n in range(3, 12, 2))
_C2, _C4, _C6, _C8, _C10, _C12 = (np.float32((-1.0) ** (n // 2) / math.factorial(n)) for n in range(2, 13, 2))


class Network(NamedTuple):
    """A network as arrays; descriptor t · functions + k is function k summed over neighbours of type t."""

    kind: NDArray[np.uint32]  # (particle,) number of the type
    order: NDArray[np.uint32]  # (particle,) the particles sorted by their types
    rank: NDArray[np.uint32]  # (particle,) where each is in that order
    batch: NDArray[np.int64]  # (batch + 1,) where in that order batches begin, each of one type
    eta: Single  # (function,) nm⁻²
    shift: Single  # (function,) nm
    width: NDArray[np.int64]  # (layer + 1,): descriptors, hidden layers, 1
    weight: Single  # (type, all weights), of each layer (after, before)
    turned: Single  # (type, all weights), of each layer (before, after)
    bias: Single  # (type, all biases)
    pair: Float  # (type, type, interval + 1, 4): energy and force/r in s = r², last row zero
    cutoff: float  # nm


@njit(nogil=True, cache=True, error_model="numpy", fastmath=_EXACT)
def _exp(x: np.float32) -> np.float32:
    """Return eˣ for x up to 88."""
    x = max(x, _LEAST)
    n = (x * _LOG2E + _ROUND) - _ROUND
    f = x - n * _LN2_HIGH - n * _LN2_LOW
    value = _ONE + f * (_ONE + f * (_E2 + f * (_E3 + f * (_E4 + f * (_E5 + f * _E6)))))
    power = (np.int32(n) + _BIAS) << _MANTISSA
    return value * np.int32(power).view(np.float32)


@njit(nogil=True, cache=True, error_model="numpy", fastmath=_EXACT)
def _activate(z: Single, bias: np.float32) -> None:
    """Replace z (particle,) by tanh(z + bias)."""
    for q in range(z.shape[0]):
        x = min(max(z[q] + bias, -_MOST), _MOST)
        e = _exp(x + x)
        z[q] = (e - _ONE) / (e + _ONE)


@njit(nogil=True, cache=True, error_model="numpy", fastmath=_FAST)
def _set_cut(square: Single, cutoff: np.float32, r: Single, inverse: Single, cut: Single, slope: Single) -> None:
    """Set r, 1/r, the cutoff function ½ (cos(π r / cutoff) + 1) = cos²(π r / 2 cutoff), and its derivative."""
    scale = _HALF_PI / cutoff
    for p in range(square.shape[0]):
        one = math.sqrt(max(square[p], np.float32(1e-12)))
        r[p] = one
        inverse[p] = _ONE / one
        x = min(one * scale, _HALF_PI)
        u = x * x
        c = _ONE + u * (_C2 + u * (_C4 + u * (_C6 + u * (_C8 + u * (_C10 + u * _C12)))))
        s = x * (_ONE + u * (_S3 + u * (_S5 + u * (_S7 + u * (_S9 + u * _S11)))))
        cut[p] = c * c
        slope[p] = -_TWO * scale * c * s


@njit(nogil=True, cache=True, error_model="numpy", fastmath=_FAST)
def _set_function(
    r: Single,
    inverse: Single,
    cut: Single,
    slope: Single,
    eta: np.float32,
    shift: np.float32,
    phi: Single,
    dphi: Single,
) -> None:
    """Set one radial function and its derivative over r."""
    for p in range(r.shape[0]):
        x = r[p] - shift
        e = _exp(-eta * x * x)
        phi[p] = e * cut[p]
        dphi[p] = e * (slope[p] - _TWO * eta * x * cut[p]) * inverse[p]


@njit(nogil=True, cache=True, error_model="numpy", fastmath=_FAST)
def _sum(column: Single) -> np.float32:
    """Return the sum of a column."""
    total = np.float32(0.0)
    for p in range(column.shape[0]):
        total += column[p]
    return total


@njit(nogil=True, cache=True, error_model="numpy", fastmath=_FAST)
def _add_function(push: Single, slope: np.float32, dphi: Single) -> None:
    """Add the force over r that comes from one descriptor."""
    for p in range(push.shape[0]):
        push[p] -= slope * dphi[p]


@njit(nogil=True, cache=True, error_model="numpy")
def _forward(net: Network, kind: int, value: Single) -> None:
    """Fill the layers, rows of all layers (row, particle), from the descriptors in the first rows."""
    layers = net.width.shape[0] - 1
    at, weights, biases = 0, 0, 0
    for layer in range(layers):
        n, m = net.width[layer], net.width[layer + 1]
        before, after = value[at : at + n], value[at + n : at + n + m]
        np.dot(net.weight[kind, weights : weights + n * m].reshape(m, n), before, after)
        if layer < layers - 1:
            for row in range(m):
                _activate(after[row], net.bias[kind, biases + row])
        at, weights, biases = at + n, weights + n * m, biases + m


@njit(nogil=True, cache=True, error_model="numpy")
def _backward(net: Network, kind: int, value: Single, slope: Single) -> None:
    """Fill the derivatives of the energies by all rows of `value`."""
    layers = net.width.shape[0] - 1
    at, weights = value.shape[0] - 1, net.weight.shape[1]
    slope[at] = _ONE
    for layer in range(layers - 1, -1, -1):
        n, m = net.width[layer], net.width[layer + 1]
        weights -= n * m
        before, after = slope[at - n : at], slope[at : at + m]
        np.dot(net.turned[kind, weights : weights + n * m].reshape(n, m), after, before)
        at -= n
        if layer > 0:
            for row in range(n):
                _damp(before[row], value[at + row])


@njit(nogil=True, cache=True, error_model="numpy", fastmath=_FAST)
def _damp(slope: Single, value: Single) -> None:
    """Multiply by the derivative of tanh, known from its value."""
    for q in range(slope.shape[0]):
        slope[q] *= _ONE - value[q] * value[q]


@njit(nogil=True, cache=True, error_model="numpy")
def _near_pairs(
    net: Network, position: Float, neighbours: Neighbours, half: Float, first: Index, who: Index, column: Index
) -> None:
    """Keep the pairs within the cutoff, those of i at `first[i]` to the next, and find where their columns begin.

    `half` (entry, 4) gets vector and squared distance, `who` (entry,) the partner. The column of the neighbours of
    type t of a particle, at `column[rank · types + t]` to the next, is as long as a multiple of the lanes.
    """
    kinds, limit = net.pair.shape[0], net.cutoff**2
    start, shift = neighbours.start, neighbours.shift
    end = np.uint32(0)
    column[:] = np.uint32(0)
    for i in range(position.shape[0]):
        first[i] = end
        xi, yi, zi = position[i, 0], position[i, 1], position[i, 2]
        own = net.kind[i]
        base = np.uint32(net.rank[i] * kinds + 1)
        partners, codes = neighbours.partner[start[i] : start[i + 1]], neighbours.code[start[i] : start[i + 1]]
        for p in range(partners.shape[0]):
            j, c = partners[p], codes[p]
            dx = xi - position[j, 0] + shift[c, 0]
            dy = yi - position[j, 1] + shift[c, 1]
            dz = zi - position[j, 2] + shift[c, 2]
            r2 = dx * dx + dy * dy + dz * dz
            # Written always and kept by counting up: a branch would be mispredicted for every third pair.
            half[end, 0], half[end, 1], half[end, 2], half[end, 3] = dx, dy, dz, r2
            who[end] = j
            inside = np.uint32(r2 < limit)
            end += inside
            column[base + net.kind[j]] += inside
            column[np.uint32(net.rank[j] * kinds + 1) + own] += inside
    first[position.shape[0]] = end
    at = np.uint32(0)
    for place in range(1, column.shape[0]):
        at += (column[place] + np.uint32(_LANES - 1)) // np.uint32(_LANES) * np.uint32(_LANES)
        column[place] = at


@njit(nogil=True, cache=True, error_model="numpy")
def _fill_columns(
    net: Network, half: Float, first: Index, who: Index, column: Index, square: Single, slot: Index
) -> None:
    """Give both partners of each pair its squared distance; `slot` (entry, 2) says where, for i and for j."""
    kinds = net.pair.shape[0]
    there = column.copy()
    square[:] = np.float32(net.cutoff**2)
    for i in range(first.shape[0] - 1):
        own = net.kind[i]
        base = np.uint32(net.rank[i] * kinds)
        for p in range(first[i], first[i + 1]):
            j = who[p]
            mine, yours = base + net.kind[j], np.uint32(net.rank[j] * kinds) + own
            a, b = there[mine], there[yours]
            square[a] = half[p, 3]
            square[b] = half[p, 3]
            slot[p, 0], slot[p, 1] = a, b
            there[mine] = a + np.uint32(1)
            there[yours] = b + np.uint32(1)


@njit(nogil=True, cache=True, error_model="numpy")
def _add_forces(
    net: Network, half: Float, first: Index, who: Index, slot: Index, push: Single, force: Float, virial: Float
) -> float:
    """Add the forces of all pairs, over distance those of the columns and of the table; return the table's energy."""
    limit = net.cutoff**2
    scale = (net.pair.shape[2] - 1) / limit
    energy = 0.0
    for i in range(first.shape[0] - 1):
        fx = fy = fz = 0.0
        rows = net.pair[net.kind[i]]
        for p in range(first[i], first[i + 1]):
            j = who[p]
            s = half[p, 3] * scale
            m = np.uint32(s)
            t = s - m
            row = rows[net.kind[j], m]
            c = np.float64(push[slot[p, 0]] + push[slot[p, 1]]) + row[1] + t * (row[2] + t * row[3])
            energy += row[0] - 0.5 * t * (row[1] + t * (row[2] / 2.0 + t * (row[3] / 3.0))) / scale
            dx, dy, dz = c * half[p, 0], c * half[p, 1], c * half[p, 2]
            fx += dx
            fy += dy
            fz += dz
            force[j, 0] -= dx
            force[j, 1] -= dy
            force[j, 2] -= dz
            if virial.shape[0] > 0:
                for x in range(3):
                    virial[x, 0] += half[p, x] * dx
                    virial[x, 1] += half[p, x] * dy
                    virial[x, 2] += half[p, x] * dz
        force[i, 0] += fx
        force[i, 1] += fy
        force[i, 2] += fz
    return energy


@njit(nogil=True, cache=True, error_model="numpy")
def _set_push(net: Network, column: Index, square: Single, push: Single, descriptor: Single) -> float:
    """Set force over distance of each column, as the energy of its particle alone gives it; return the energy."""
    kinds, functions, rows = net.pair.shape[0], net.eta.shape[0], net.width.sum()
    ends = column[::kinds][net.batch].astype(np.int64)
    room = np.diff(ends).max()
    r, inverse = np.empty(room, np.float32), np.empty(room, np.float32)
    cut, slope, phi = np.empty(room, np.float32), np.empty(room, np.float32), np.empty(room, np.float32)
    dphi = np.empty((functions, room), np.float32)
    value, back = np.zeros((rows, BATCH), np.float32), np.empty((rows, BATCH), np.float32)
    energy = 0.0
    for number in range(net.batch.shape[0] - 1):
        begin, end = net.batch[number], net.batch[number + 1]
        own, count = net.kind[net.order[begin]], end - begin
        edge = column[begin * kinds : end * kinds + 1] - column[begin * kinds]
        here = square[column[begin * kinds] : column[end * kinds]]
        _set_cut(here, np.float32(net.cutoff), r, inverse, cut, slope)
        for k in range(functions):
            _set_function(r[: here.shape[0]], inverse, cut, slope, net.eta[k], net.shift[k], phi, dphi[k])
            for q in range(count):
                for t in range(kinds):
                    value[t * functions + k, q] = _sum(phi[edge[q * kinds + t] : edge[q * kinds + t + 1]])
        _forward(net, own, value)
        _backward(net, own, value, back)
        there = push[column[begin * kinds] : column[end * kinds]]
        there[:] = np.float32(0.0)
        for q in range(count):
            energy += np.float64(value[rows - 1, q]) + net.bias[own, -1]
            if descriptor.shape[0] > 0:
                descriptor[net.order[begin + q]] = value[: net.width[0], q]
            for t in range(kinds):
                a, b = edge[q * kinds + t], edge[q * kinds + t + 1]
                for k in range(functions):
                    _add_function(there[a:b], back[t * functions + k, q], dphi[k, a:b])
    return energy


@njit(nogil=True, cache=True, error_model="numpy")
def _evaluate(
    net: Network, position: Float, neighbours: Neighbours, force: Float, virial: Float, descriptor: Single
) -> float:
    """Add forces, and the virial if it has a size; set the descriptors if they have one; return the energy."""
    particles, kinds = position.shape[0], net.pair.shape[0]
    pairs = int(neighbours.start[particles]) + 1
    half, who, slot = np.empty((pairs, 4), np.float32), np.empty(pairs, np.uint32), np.empty((pairs, 2), np.uint32)
    first, column = np.empty(particles + 1, np.uint32), np.empty(particles * kinds + 1, np.uint32)
    _near_pairs(net, position, neighbours, half, first, who, column)
    square, push = np.empty(column[-1], np.float32), np.empty(column[-1], np.float32)
    _fill_columns(net, half, first, who, column, square, slot)
    energy = _set_push(net, column, square, push, descriptor)
    return energy + _add_forces(net, half, first, who, slot, push, force, virial)


@potential(Network)
def _network(net, position, neighbours, force, virial, measured):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Do what is wanted."""
    nothing = np.empty((0, 0), np.float32)
    return _evaluate(net, position, neighbours, force, virial[: 3 if measured else 0], nothing)


@njit(nogil=True, cache=True, error_model="numpy")
def atomic_descriptors(net: Network, position: Float, box: Float):  # type: ignore[no-untyped-def]
    """Return the descriptors (particle, descriptor) and the energy of positions (particle, xyz) nm, anywhere."""
    inverse, inside = np.linalg.inv(box), position.copy()
    wrap(inside, box, inverse)
    nothing = Exclusions(np.zeros(1, np.uint32), np.zeros(0, np.uint32))
    neighbours = near(inside, box, inverse, net.cutoff, nothing, 64 * position.shape[0])
    force, virial = np.zeros_like(inside), np.empty((0, 3))
    descriptor = np.empty((position.shape[0], net.width[0]), np.float32)
    energy = _evaluate(net, inside, neighbours, force, virial, descriptor)
    return descriptor, energy
