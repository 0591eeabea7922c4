"""The examination behind `cgstore doctor`: what is installed, what it runs on, and what breaks it."""

import importlib.metadata
import os
import platform
import sys
from dataclasses import dataclass

__all__ = ["Finding", "examine"]

_NEEDED = ("numpy", "scipy", "numba", "zarr", "numcodecs", "xarray", "dask", "intake", "pydantic", "matplotlib")
_OPTIONAL = {  # package: extra and purpose
    "MDAnalysis": ("ingest", "topologies are read"),
    "h5py": ("ingest", "H5MD is read and written"),
    "mdtraj": ("neighbours", "cgstore.to_mdtraj works"),
    "s3fs": ("s3", "stores at s3:// URLs are reached"),
    "torch": ("learn", "potentials are trained"),
    "distributed": ("distributed", "ingest runs on a Dask cluster"),
}
_BREAKERS = {  # package: what it breaks; versions known to do so
    "zfpy": ("numcodecs and so zarr cannot be imported beside it", ("1.0.1.post0",)),
    "distopia": ("MDAnalysis cannot be imported beside it under NumPy 2", ("0.2.0",)),
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the examination; `broken` when cgstore cannot work like this."""

    what: str
    found: str
    advice: str = ""
    broken: bool = False


def examine() -> list[Finding]:
    """Look at the interpreter, the packages, the threads and the accelerators of this machine."""
    return [
        Finding("python", f"{platform.python_version()} at {sys.executable}"),
        *map(_needed, ("cgstore", *_NEEDED)),
        *map(_optional, _OPTIONAL),
        *filter(None, map(_breaker, _BREAKERS)),
        _threads(),
        _accelerator(),
        *_engines(),
    ]


def _version(package: str) -> str | None:
    """Return the installed version of a package."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _needed(package: str) -> Finding:
    """Look for a package that cgstore cannot do without."""
    version = _version(package)
    if version is None:
        return Finding(package, "missing", f"pip install {package}", broken=True)
    return Finding(package, version)


def _optional(package: str) -> Finding:
    """Look for a package of an extra."""
    version = _version(package)
    extra, purpose = _OPTIONAL[package]
    advice = "" if version else f'with it {purpose}: pip install "cgstore[{extra}]"'
    return Finding(package, version or "not installed", advice)


def _breaker(package: str) -> Finding | None:
    """Look for a package that is known to break another one."""
    version = _version(package)
    if version is None:
        return None
    harm, versions = _BREAKERS[package]
    if version in versions:
        return Finding(package, version, f"{harm}: pip uninstall {package}", broken=True)
    return Finding(package, version, f"{harm}, at least in {', '.join(versions)}; if so: pip uninstall {package}")


def _threads() -> Finding:
    """Count the cores that this process may use, and say what limits them."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limits = [f"{name}={os.environ[name]}" for name in ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS") if name in os.environ]
    return Finding("threads", f"{usable} of {os.cpu_count()} cores" + "".join(f", {limit}" for limit in limits))


def _accelerator() -> Finding:
    """Name the accelerators that torch can use; without torch there is no use for one."""
    if _version("torch") is None:
        return Finding("accelerator", "not looked for, torch is not installed")
    import torch

    if torch.cuda.is_available():
        count = torch.cuda.device_count()
        return Finding("accelerator", ", ".join(torch.cuda.get_device_name(index) for index in range(count)))
    if torch.backends.mps.is_available():
        return Finding("accelerator", "Apple GPU (mps)")
    return Finding("accelerator", "none, torch runs on the CPU")


def _engines() -> list[Finding]:
    """Look for the engines of simulations; without NumPy there is no use for them."""
    try:
        from cgstore.engines.fluid_lammps import lammps_facts, lammps_program
        from cgstore.engines.md_gromacs import gromacs_program, gromacs_version
    except ImportError:
        return []
    gromacs, lammps = gromacs_program(), lammps_program()
    return [
        _openmm(),
        _program("gromacs", gromacs and gromacs_version(gromacs), "molecules move several times as fast on a CPU"),
        _program("lammps", lammps and lammps_facts(lammps)[0], "Lennard-Jones fluids move faster on a CPU"),
    ]


def _openmm() -> Finding:
    """Name the engine that campaigns need no other program for, and where it can run."""
    from cgstore.engines.openmm_platforms import load_openmm, working_platforms

    try:
        openmm = load_openmm()
    except ImportError:
        return Finding("openmm", "not installed", 'with it cgstore simulate works: pip install "cgstore[simulate]"')
    return Finding("openmm", f"{openmm.version.short_version} on {', '.join(working_platforms(openmm))}")


def _program(name: str, version: str | None, purpose: str) -> Finding:
    """Report an engine that is a program of its own."""
    if version is None:
        return Finding(name, "not on PATH", f"with it {purpose}; Linux distributions and conda-forge have it as {name}")
    return Finding(name, version)
