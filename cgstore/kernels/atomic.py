"""Energy and forces of a network of atoms: descriptors, layers, derivatives, fused over batches of particles.

Thirty-two particles go through at a time, so that all they need stays in the second-level cache: their neighbours
within the cutoff, packed into columns of float32 (one column per quantity, so that eight or sixteen pairs are treated
at once); the radial functions of these columns and their sums; the layers, forwards and back; the forces, added up in
float64. Distances are differences of float64. Exponentials are polynomials right to two units of the last place: they
vectorise where calls do not.

A network comes as arrays, `Network`, with what scales its descriptors and what else it is told folded into the first
layer; the pair part as cubic polynomials in r², as in `kernels.langevin`.
"""

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from cgstore.kernels.angular import Angles, pull_rows, room_for, set_angles
from cgstore.kernels.atomic_pairs import Columns, Kinds, Pairs, Rows, columns_of, near_pairs, nearest_pairs, rows_of
from cgstore.kernels.potentials import potential
from cgstore.kernels.radial import EXACT, FAST, exponential, set_cut, set_function, total
from cgstore.kernels.verlet import Exclusions, Neighbours, near, wrap

__all__ = ["BATCH", "Network", "atomic_descriptors"]

Float = NDArray[np.floating[Any]]
Single = NDArray[np.float32]
Index = NDArray[np.unsignedinteger[Any]]

BATCH = 32

_ONE = np.float32(1.0)
_MOST = np.float32(9.0)  # beyond which tanh is one


class Network(NamedTuple):
    """A network as arrays.

    Descriptor t · functions + k is radial function k summed over neighbours of type t. Those of angles follow: for each
    pair of types, each part, and each function.
    """

    kinds: Kinds
    batch: NDArray[np.int64]  # (batch + 1,) where in that order batches begin, each of one type
    eta: Single  # (function,) nm⁻²
    shift: Single  # (function,) nm
    angles: Angles  # their cutoff is zero, and there are no parts, where there are none
    width: NDArray[np.int64]  # (layer + 1,): descriptors, hidden layers, 1
    weight: Single  # (type, all weights), of each layer (after, before)
    turned: Single  # (type, all weights), of each layer (before, after)
    bias: Single  # (type, all biases)
    pair: Float  # (type, type, interval + 1, 4): energy and force/r in s = r², last row zero
    cutoff: float  # nm


@njit(nogil=True, cache=True, error_model="numpy", fastmath=EXACT)
def _activate(z: Single, bias: np.float32) -> None:
    """Replace z (particle,) by tanh(z + bias)."""
    for q in range(z.shape[0]):
        x = min(max(z[q] + bias, -_MOST), _MOST)
        e = exponential(x + x)
        z[q] = (e - _ONE) / (e + _ONE)


@njit(nogil=True, cache=True, error_model="numpy", fastmath=FAST)
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


@njit(nogil=True, cache=True, error_model="numpy", fastmath=FAST)
def _damp(slope: Single, value: Single) -> None:
    """Multiply by the derivative of tanh, known from its value."""
    for q in range(slope.shape[0]):
        slope[q] *= _ONE - value[q] * value[q]


@njit(nogil=True, cache=True, error_model="numpy")
def _longest(edge: NDArray[Any], begin: NDArray[np.int64]) -> int:
    """Return how much lies between two of the edges where batches begin at most."""
    longest = np.int64(0)
    for number in range(begin.shape[0] - 1):
        longest = np.maximum(longest, np.int64(edge[begin[number + 1]]) - np.int64(edge[begin[number]]))
    return int(longest)


@njit(nogil=True, cache=True, error_model="numpy")
def _set_radial(
    net: Network, edge: Index, square: Single, rows: Single, phi: Single, dphi: Single, value: Single
) -> None:
    """Set the radial functions of the particles of a batch, and what their derivatives need."""
    kinds, functions = net.kinds.types, net.eta.shape[0]
    r, inverse, cut, slope = rows[0, : square.shape[0]], rows[1], rows[2], rows[3]
    set_cut(square, np.float32(net.cutoff), r, inverse, cut, slope)
    for k in range(functions):
        set_function(r, inverse, cut, slope, net.eta[k], net.shift[k], phi, dphi[k])
        for q in range((edge.shape[0] - 1) // kinds):
            for t in range(kinds):
                value[t * functions + k, q] = total(phi[edge[q * kinds + t] : edge[q * kinds + t + 1]])


@njit(nogil=True, cache=True, error_model="numpy")
def _set_push(net: Network, edge: Index, dphi: Single, back: Single, push: Single) -> None:
    """Set the force over distance (entry,) of the columns of a batch, from the derivatives by radial functions."""
    kinds, functions = net.kinds.types, net.eta.shape[0]
    push[:] = np.float32(0.0)
    for q in range((edge.shape[0] - 1) // kinds):
        for t in range(kinds):
            a, b = edge[q * kinds + t], edge[q * kinds + t + 1]
            for k in range(functions):
                _add_function(push[a:b], back[t * functions + k, q], dphi[k, a:b])


@njit(nogil=True, cache=True, error_model="numpy")
def _through(net: Network, wide: Columns, close: Rows, push: Single, pull: Single, descriptor: Single) -> float:
    """Set what neighbours give to forces, as the energy of their particle alone gives it; return the energy.

    `push` (entry,) of the columns gets forces over distance, `pull` (row, xyz, lane) the derivatives by the vectors.
    """
    types, rows, angular = net.kinds.types, net.width.sum(), net.kinds.types * net.eta.shape[0]
    longest = _longest(wide.edge, net.batch * types)
    scratch, phi = np.empty((4, longest), np.float32), np.empty(longest, np.float32)
    dphi = np.empty((net.eta.shape[0], longest), np.float32)
    room = room_for(
        net.angles, types, _longest(close.edge, np.arange(net.batch.shape[0], dtype=np.int64) * types), BATCH
    )
    value, back = np.zeros((rows, BATCH), np.float32), np.empty((rows, BATCH), np.float32)
    energy = 0.0
    for number in range(net.batch.shape[0] - 1):
        begin, end = net.batch[number], net.batch[number + 1]
        own, edge = net.kinds.kind[net.kinds.order[begin]], wide.edge[begin * types : end * types + 1]
        mine = slice(edge[0], edge[-1])
        _set_radial(net, edge - edge[0], wide.square[mine], scratch, phi, dphi, value)
        row = close.edge[number * types : (number + 1) * types + 1]
        near, row = slice(row[0], row[-1]), row - row[0]
        if net.angles.eta.shape[0] > 0:
            set_angles(net.angles, row, close.square[near], close.vector[near], room, value[angular:])
        _forward(net, own, value)
        _backward(net, own, value, back)
        _set_push(net, edge - edge[0], dphi, back, push[mine])
        if net.angles.eta.shape[0] > 0:
            pull_rows(net.angles, row, room, back[angular:], close.vector[near], pull[near])
        for q in range(end - begin):
            energy += np.float64(value[rows - 1, q]) + net.bias[own, -1]
            if descriptor.shape[0] > 0:
                descriptor[net.kinds.order[begin + q]] = value[: net.width[0], q]
    return energy


@njit(nogil=True, cache=True, error_model="numpy")
def _add_forces(net: Network, pairs: Pairs, slot: Index, push: Single, force: Float, virial: Float) -> float:
    """Add the forces of all pairs, over distance those of the columns and of the table; return the table's energy."""
    limit = net.cutoff**2
    scale = (net.pair.shape[2] - 1) / limit
    half, energy = pairs.half, 0.0
    for i in range(pairs.first.shape[0] - 1):
        fx = fy = fz = 0.0
        rows = net.pair[net.kinds.kind[i]]
        for p in range(pairs.first[i], pairs.first[i + 1]):
            j = pairs.who[p]
            s = half[p, 3] * scale
            m = np.uint32(s)
            t = s - m
            row = rows[net.kinds.kind[j], m]
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
def _add_turning_forces(pairs: Pairs, slot: Index, pull: Single, force: Float, virial: Float) -> None:
    """Add the forces of angular functions, which are not along the vectors of pairs."""
    lanes = np.uint32(BATCH)
    for i in range(pairs.first.shape[0] - 1):
        for p in range(pairs.first[i], pairs.first[i + 1]):
            j, a, b = pairs.who[p], slot[p, 0], slot[p, 1]
            for x in range(3):
                f = np.float64(pull[a // lanes, x, a % lanes] - pull[b // lanes, x, b % lanes])
                force[i, x] += f
                force[j, x] -= f
                if virial.shape[0] > 0:
                    for y in range(3):
                        virial[y, x] += pairs.half[p, y] * f


@njit(nogil=True, cache=True, error_model="numpy")
def _evaluate(
    net: Network, position: Float, neighbours: Neighbours, force: Float, virial: Float, descriptor: Single
) -> float:
    """Add forces, and the virial if it has a size; set the descriptors if they have one; return the energy."""
    pairs = near_pairs(net.kinds, net.cutoff, position, neighbours)
    nearest = nearest_pairs(net.kinds, net.angles.cutoff, pairs)
    wide, close = (
        columns_of(net.kinds, net.cutoff, pairs),
        rows_of(net.kinds, net.batch, BATCH, net.angles.cutoff, nearest),
    )
    push, pull = np.empty(wide.square.shape[0], np.float32), np.empty_like(close.vector)
    energy = _through(net, wide, close, push, pull, descriptor)
    energy += _add_forces(net, pairs, wide.slot, push, force, virial)
    _add_turning_forces(nearest, close.slot, pull, force, virial)
    return energy


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
