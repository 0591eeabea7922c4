"""Tempering: how far β may grow so that the model stays near its target, and when it is as near as it gets."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Tempering", "growth", "next_step", "settled"]

Float = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Tempering:
    """The published rule with its numbers; energies are in kT at the target temperature, where β is one."""

    start: float = 0.01  # β at first
    largest: float = 0.05  # step of β
    increase: float = 0.1  # of the divergence that a step may cost, as a part of it (δ)
    shrink: float = 0.6  # factor of a step that is refused
    floor: float = 0.02  # divergence that counts at least: a model that fits exactly would never get on
    smallest: float = 1e-3  # part of the largest step that is always taken
    batch: int = 5  # iterations that one mean of the objective is over
    patience: int = 3  # means that have to be no lower than the lowest one
    longest: int = 200  # iterations at one β


def growth(step: float, energy: Float, log_q: Float, beta: float) -> tuple[float, float]:
    """Return how much a step of β raises the divergence of the model from its target, and the divergence now.

    Parameters
    ----------
    step : of β
    energy : (sample,) kT
    log_q : (sample,) of the model

    Notes
    -----
    With weights w ∝ exp(−βU − log q), normalised, the rise is log Σ w exp(−Δβ U) + Δβ ⟨U⟩, an estimate of
    log Z(β+Δβ)/Z(β) + Δβ ⟨U⟩, and the divergence log Z + β⟨U⟩ + ⟨log q⟩: Schöberl, Zabaras and Koutsourelakis 2020,
    arXiv:2002.10148.

    Examples
    --------
    >>> exact = np.array([0.0, 1.0]), np.log([0.73105858, 0.26894142])
    >>> [round(value, 6) for value in growth(0.0, *exact, 1.0)]
    [0.0, 0.0]
    """
    log_weight = -beta * energy - log_q
    total = _log_sum(log_weight)
    rise = _log_sum(log_weight - total - step * energy) + step * float(energy.mean())
    divergence = total - np.log(len(energy)) + beta * float(energy.mean()) + float(log_q.mean())
    return float(rise), float(divergence)


def next_step(energy: Float, log_q: Float, beta: float, rule: Tempering) -> float:
    """Return the largest step of β that the rule allows, never beyond one."""
    step = min(rule.largest, 1.0 - beta)
    while step > rule.smallest * rule.largest:
        rise, divergence = growth(step, energy, log_q, beta)
        if rise <= rule.increase * max(divergence, rule.floor):
            break
        step *= rule.shrink
    return step


def settled(objective: Sequence[float], rule: Tempering) -> bool:
    """Tell whether the model is done at this β: means of the objective no longer fall, or it took too long.

    Parameters
    ----------
    objective : of each iteration at this β

    Examples
    --------
    >>> settled([5.0] * 10 + [6.0] * 15, Tempering()), settled([5.0] * 10, Tempering())
    (True, False)
    """
    if len(objective) >= rule.longest:
        return True
    means = len(objective) // rule.batch
    if len(objective) % rule.batch or means <= rule.patience:
        return False
    mean = np.asarray(objective).reshape(means, rule.batch).mean(axis=1)
    return bool(mean[-rule.patience :].min() >= mean[: -rule.patience].min())


def _log_sum(x: Float) -> float:
    """Return log Σ exp(x)."""
    top = float(x.max())
    return top + float(np.log(np.exp(x - top).sum()))
