"""Judging a simulation of molecules: means with errors of what is settled, and what is wrong, if anything."""

from typing import Any

import numpy as np

from cgstore.averages.series import mean_of_series
from cgstore.campaigns.equilibrium import settled_from
from cgstore.engines.conditions import Conditions, Motion

__all__ = ["judge"]

_WARM = 0.05  # of the temperature; its mean may be off by this before the integrator is not believed
_SCATTER = 0.2  # of the temperature; what few particles may have more than that, one standard deviation, but no more
_NAMES = {"temperature": "kinetic_temperature"}  # beside the one that was wanted


def judge(
    motion: Motion, conditions: Conditions, *, settled: tuple[str, ...] = ("energy", "density")
) -> tuple[dict[str, Any], float, str]:
    """Return what was measured, the time from which it is equilibrated, and what is wrong.

    Parameters
    ----------
    motion : what an engine returned
    settled : names of series that must not drift; of a membrane the area, too, if the run is long enough for it

    Returns
    -------
    measured : energy (kJ/mol), kinetic_temperature (K), density (kg/m³), where known pressure (bar) and area (nm²);
        each with `_error`, the standard error of its mean, None where the run is too short to know it; unsettled_frames
    discard : ps, in the time of the trajectory
    failure : empty, or "exploded: …" or "drifting: …"

    Examples
    --------
    >>> random, time = np.random.default_rng(1), np.arange(200.0)
    >>> series = {"energy": random.normal(-900, 9, 200), "temperature": random.normal(300, 6, 200),
    ...           "density": random.normal(997, 3, 200)}
    >>> measured, discard, failure = judge(Motion(time, series, "GROMACS"), Conditions(300.0, 1.0))
    >>> round(measured["density"]), round(measured["density_error"], 1), discard, failure
    (997, 0.2, 0.0, '')
    """
    values = np.array(list(motion.series.values()))  # (series, frame)
    if not np.isfinite(values).all():
        frame = int(np.argmin(np.isfinite(values).all(axis=0)))
        return {}, 0.0, f"exploded: a measured value is not finite at {motion.time[frame]:g} ps"
    start, failure = settled_from({name: motion.series[name] for name in settled})
    kept = mean_of_series(values[:, start:])
    measured: dict[str, Any] = {"unsettled_frames": start}
    for name, mean, error in zip(motion.series, kept.mean, kept.error, strict=True):
        known = _NAMES.get(name, name)
        measured |= {known: _plain(mean), f"{known}_error": _plain(error)}
    wanted = conditions.temperature
    mean = measured["kinetic_temperature"]
    scatter = float(np.std(motion.series["temperature"][start:])) / wanted
    if abs(mean / wanted - 1) > _WARM + min(scatter, _SCATTER):
        failure = f"exploded: the mean temperature is {mean:.1f} K, {wanted:g} K were wanted"
    return measured, float(motion.time[start]) if start else 0.0, failure


def _plain(value: float) -> float | None:
    """Return a number with the digits it deserves, or None when it is not known."""
    return float(f"{value:.7g}") if np.isfinite(value) else None
