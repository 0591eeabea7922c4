"""Where OpenMM runs: the fastest of its platforms that works here."""

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from cgstore.errors import EngineFailure, MissingExtra

__all__ = ["context_of", "load_openmm", "platforms", "working_platforms"]

# Without Reference: its PME kills the process when a system explodes (8.6), where the others raise an exception.
_FASTEST_FIRST = ("CUDA", "HIP", "OpenCL", "CPU")
# One thread: campaigns fill a machine with several systems at a time. Forces in single precision, sums in double.
_PROPERTIES = {"CPU": {"Threads": "1"}, **{name: {"Precision": "mixed"} for name in ("CUDA", "HIP", "OpenCL")}}


def load_openmm() -> Any:
    """Return the package.

    Raises
    ------
    MissingExtra : it is not installed
    """
    try:
        import openmm
    except ImportError as error:
        raise MissingExtra.of("openmm", extra="simulate", purpose='engine = "openmm"') from error
    return openmm


def platforms(openmm: Any) -> list[str]:
    """Return the platforms to choose from in this installation, the fastest first; those of GPUs need not work."""
    known = {openmm.Platform.getPlatform(k).getName() for k in range(openmm.Platform.getNumPlatforms())}
    return [name for name in _FASTEST_FIRST if name in known]


def working_platforms(openmm: Any) -> list[str]:
    """Return the platforms on which a particle can be put, the fastest first."""
    system = openmm.System()
    system.addParticle(1.0)
    found = []
    for name in platforms(openmm):
        with suppress(EngineFailure):
            context_of(openmm, system, partial(openmm.VerletIntegrator, 0.001), name)
            found.append(name)
    return found


def context_of(openmm: Any, system: Any, integrator: Callable[[], Any], platform: str = "") -> Any:
    """Make a context on the platform that is wanted, or on the first that works.

    Parameters
    ----------
    integrator : makes one; it belongs to the first context that was tried with it

    Raises
    ------
    EngineFailure : none does
    """
    failure: Exception | None = None
    for name in [platform] if platform else platforms(openmm):
        try:
            chosen = openmm.Platform.getPlatformByName(name)
            return openmm.Context(system, integrator(), chosen, _PROPERTIES.get(name, {}))
        except openmm.OpenMMException as error:  # a library of a GPU without the GPU
            failure = error
    raise EngineFailure(f"OpenMM: no platform works: {failure}")
