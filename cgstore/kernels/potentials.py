"""What a potential is to the kernels that move particles: arrays of one class, and a compiled function of that class.

The arrays of a kind of potential are the fields of a NamedTuple. Its function is registered under the class,

    class Springs(NamedTuple):
        stiffness: NDArray[np.float64]  # (particle,) kJ/mol/nm²

    @potential(Springs)
    def _springs(springs, position, neighbours, force, virial, measured):
        return …

and numba chooses it by the class of the argument where a kernel says `evaluate(springs, …)`: at compile time, so a
call costs nothing, `Both` adds two of any classes, and compiled kernels are found in the cache again. That cache knows
the file of the kernel that was called only: after a change of a potential's file touch `langevin.py`.

The function gets

    position : (particle, xyz) nm, as it was when the neighbours were listed or moved on from there, never wrapped since
    neighbours : `cgstore.kernels.verlet.Neighbours`, all pairs within the cutoff that the caller was given, and more
    force : (particle, xyz) kJ/mol/nm; what this potential gives is added
    virial : (xyz, xyz) kJ/mol; Σ vector ⊗ force over its pairs or terms is added if `measured`
    measured : whether energy and virial are wanted; a motion wants forces only

and returns the energy in kJ/mol if `measured`, else any number. The fields are read only: replicas that move at the
same time share them. Scratch arrays are allocated at each call, which costs less than a particle does.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numba.extending import overload
from numpy.typing import NDArray

from cgstore.kernels.verlet import Exclusions, Neighbours, near, wrap

__all__ = ["Both", "evaluate", "measure", "potential"]

Float = NDArray[np.floating[Any]]
Function = Callable[..., Any]


class Both(NamedTuple):
    """The sum of two potentials."""

    first: Any
    second: Any


def evaluate(
    arrays: Any, position: Float, neighbours: Neighbours, force: Float, virial: Float, measured: bool
) -> float:
    """Add forces, and the virial if `measured`, and return the energy, as the module says; in kernels only."""
    raise NotImplementedError("evaluate is called in compiled kernels")


def potential(kind: type) -> Callable[[Function], Function]:
    """Return a decorator that makes a function, which it compiles, the `evaluate` of a class of potentials."""

    def register(function: Function) -> Function:
        compiled = njit(nogil=True, error_model="numpy")(function)

        def choose(arrays, position, neighbours, force, virial, measured):  # type: ignore[no-untyped-def]
            if getattr(arrays, "instance_class", None) is not kind:
                return None
            return lambda arrays, position, neighbours, force, virial, measured: compiled(
                arrays, position, neighbours, force, virial, measured
            )

        overload(evaluate, jit_options={"nogil": True, "error_model": "numpy"})(choose)
        return compiled

    return register


@potential(Both)
def _both(both, position, neighbours, force, virial, measured):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Add both."""
    energy = evaluate(both.first, position, neighbours, force, virial, measured)
    return energy + evaluate(both.second, position, neighbours, force, virial, measured)


@njit(nogil=True, cache=True, error_model="numpy")
def measure(
    arrays: Any, cutoff: float, exclusions: Exclusions, position: Float, box: Float, force: Float, virial: Float
) -> float:
    """Return the potential energy, and set force (particle, xyz) and virial (xyz, xyz).

    Parameters
    ----------
    arrays : of a potential; cutoff : nm, of its pairs
    position : (particle, xyz) nm, anywhere; box : (box_vector, xyz) nm, every height at least twice the cutoff
    """
    inverse = np.linalg.inv(box)
    inside = position.copy()
    wrap(inside, box, inverse)
    neighbours = near(inside, box, inverse, cutoff, exclusions, 64 * position.shape[0])
    force[:] = 0.0
    virial[:] = 0.0
    return evaluate(arrays, inside, neighbours, force, virial, True)
