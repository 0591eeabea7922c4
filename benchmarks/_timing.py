"""Measure functions in turn, several times, and print medians and ratios; the answer can be kept as JSON."""

import argparse
import importlib.metadata
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

REPEATS = 5


def compare(title: str, functions: dict[str, Callable[[], object]], *, amount: float, unit: str) -> dict[str, float]:
    """Time every function `REPEATS` times in turn after one warm-up; return `amount` per second of each, median."""
    for function in functions.values():
        function()
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(REPEATS):
        for name, function in functions.items():
            begin = time.perf_counter()
            function()
            seconds[name].append(time.perf_counter() - begin)
    first = next(iter(functions))
    print(f"{title}")
    rates = {name: amount / statistics.median(taken) for name, taken in seconds.items()}
    for name, rate in rates.items():
        pairwise = statistics.median(a / b for a, b in zip(seconds[name], seconds[first], strict=True))
        ratio = "" if name == first else f"{first} is {pairwise:.3g} times as fast"
        print(f"  {name:34s} {rate:12.4g} {unit}/s   {ratio}".rstrip())
    return rates


def report(results: dict[str, dict[str, float]]) -> None:
    """Write the results with machine and versions where `--json FILE` says."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", type=Path)
    file = parser.parse_args().json
    if file is None:
        return
    packages = ("cgstore", "numpy", "numba", "zarr", "xarray", "dask", "mdtraj", "MDAnalysis", "torch")
    document = {
        "results": results,
        "machine": {"processor": _processor(), "cores": os.cpu_count(), "system": platform.platform()},
        "versions": {"python": platform.python_version()}
        | {name: importlib.metadata.version(name) for name in packages},
    }
    file.write_text(json.dumps(document, indent=2) + "\n")


def _processor() -> str:
    """Name the processor, where Linux tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")
