"""Measure functions in turn, several times, and print medians and ratios; the answer can be kept as JSON."""

import argparse
import importlib.metadata
import json
import os
import platform
import resource
import statistics
import time
from collections.abc import Callable
from pathlib import Path

REPEATS = 5


def processor() -> float:
    """Return the seconds of processor that this process and the programs it ran have used: a clock for one core."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def compare(
    title: str,
    functions: dict[str, Callable[[], object]],
    *,
    amount: float,
    unit: str,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, float]:
    """Time every function `REPEATS` times in turn after one warm-up; return `amount` per second of each, median.

    The clock `processor` does not see what else runs on the machine; for what uses one core it is the fairer one.
    """
    for function in functions.values():
        function()
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(REPEATS):
        for name, function in functions.items():
            begin = clock()
            function()
            seconds[name].append(clock() - begin)
    first = next(iter(functions))
    print(f"{title}")
    rates = {name: amount / statistics.median(taken) for name, taken in seconds.items()}
    for name, rate in rates.items():
        pairwise = statistics.median(a / b for a, b in zip(seconds[name], seconds[first], strict=True))
        ratio = "" if name == first else f"{first} is {pairwise:.3g} times as fast"
        print(f"  {name:34s} {rate:12.4g} {unit}/s   {ratio}".rstrip())
    return rates


def report(results: dict[str, dict[str, float]]) -> None:
    """Print machine and versions; write them with the results where `--json FILE` says."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", type=Path)
    file = parser.parse_args().json
    packages = ("cgstore", "numpy", "numba", "zarr", "xarray", "dask", "mdtraj", "MDAnalysis", "chemfiles", "torch")
    versions = {"python": platform.python_version()} | {name: _version(name) for name in packages}
    versions = {name: version for name, version in versions.items() if version}
    machine = {"processor": _processor(), "cores": os.cpu_count(), "system": platform.platform()}
    print(f"{machine['cores']} cores of {machine['processor']}, {machine['system']}")
    print(", ".join(f"{name} {version}" for name, version in versions.items()))
    if file is not None:
        file.write_text(json.dumps({"results": results, "machine": machine, "versions": versions}, indent=2) + "\n")


def _version(package: str) -> str:
    """Return the version of a package, nothing when it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _processor() -> str:
    """Name the processor, where Linux tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")
