"""State points: which systems are so much the same that one in training tells about the other."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

__all__ = ["near_pairs"]

_TEMPERATURE = 2.0  # K
_PRESSURE = 0.1  # of the larger one, or 1 bar
_SHARE = 0.02  # of the molecules
_PARAMETER = 0.01  # of the larger one
_MISSING = np.nan


def near_pairs(rows: Sequence[Mapping[str, Any]], parts: Sequence[str]) -> Iterator[tuple[tuple[int, int], str]]:
    """Give the pairs of datasets of different parts with nearly the same composition and state point.

    Near are the same kind and force field, the same species with shares that differ by at most 0.02, temperatures
    within 2 K, pressures within 10 % or 1 bar, numbers among the parameters within 1 %. How many molecules there are
    in all makes no difference. A dataset without a composition or a temperature is near to none.

    Parameters
    ----------
    rows : metadata of datasets
    parts : of each

    Examples
    --------
    >>> rows = [{"composition": {"CH4": 222}, "temperature": t} for t in (112.0, 113.0, 150.0)]
    >>> [pair for pair, says in near_pairs(rows, ["train", "heldout", "heldout"])]
    [(0, 1)]
    """
    groups: dict[Any, list[int]] = {}
    for place, row in enumerate(rows):
        if row.get("composition") and row.get("temperature") is not None:
            groups.setdefault(_same(row), []).append(place)
    for places in groups.values():
        if len({parts[place] for place in places}) > 1:
            yield from _near([rows[place] for place in places], places, parts)


def _same(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return what has to be equal: words, and which numbers there are."""
    parameters = row.get("parameters") or {}
    words = tuple(sorted((key, repr(value)) for key, value in parameters.items() if not _is_number(value)))
    numbers = tuple(sorted(key for key, value in parameters.items() if _is_number(value)))
    species = tuple(sorted(name for name, amount in row["composition"].items() if amount))
    return row.get("kind"), row.get("forcefield"), species, words, numbers


def _near(rows: Sequence[Mapping[str, Any]], places: Sequence[int], parts: Sequence[str]) -> Iterator[Any]:
    """Compare datasets that differ in numbers only; one against all that follow at a time."""
    values = np.array([_numbers(row) for row in rows])  # (dataset, number)
    species = len([amount for amount in rows[0]["composition"].values() if amount])
    for one in range(len(rows) - 1):
        a, b = values[one], values[one + 1 :]
        larger = np.maximum(np.abs(a), np.abs(b))
        most = np.empty_like(b)
        most[:, 0] = _TEMPERATURE
        most[:, 1] = np.maximum(_PRESSURE * larger[:, 1], 1.0)
        most[:, 2 : 2 + species] = _SHARE
        most[:, 2 + species :] = _PARAMETER * larger[:, 2 + species :]
        # What nobody knows of either is no difference.
        differs = (np.abs(b - a) > most * (1 + 1e-9)) | (np.isnan(b) != np.isnan(a))
        for other in (np.flatnonzero(~differs.any(axis=1)) + one + 1).tolist():
            if parts[places[one]] != parts[places[other]]:
                yield (places[one], places[other]), _words(rows[one], rows[other])


def _numbers(row: Mapping[str, Any]) -> list[float]:
    """Return temperature, pressure, shares of the species, and parameters, in the order of their names."""
    amounts = {name: float(amount) for name, amount in sorted(row["composition"].items()) if amount}
    total = sum(amounts.values())
    pressure = row.get("pressure")
    parameters = sorted((row.get("parameters") or {}).items())
    return [
        float(row["temperature"]),
        _MISSING if pressure is None else float(pressure),
        *(amount / total for amount in amounts.values()),
        *(float(value) for _, value in parameters if _is_number(value)),
    ]


def _is_number(value: Any) -> bool:
    """Tell whether a parameter is a number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _words(one: Mapping[str, Any], two: Mapping[str, Any]) -> str:
    """Say what both are."""
    temperatures = sorted({f"{float(row['temperature']):g} K" for row in (one, two)})
    return (
        f"nearly the same composition and state point ({', '.join(one['composition'])} at {' and '.join(temperatures)})"
    )
