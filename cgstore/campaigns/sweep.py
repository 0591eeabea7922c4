"""Sweeps: the table `[sweep]` of a campaign, its quantities read with their units, words and numbers as they stand."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from cgstore.campaigns.kinds import Kind, Point
from cgstore.documents import Document, did_you_mean, toml_value
from cgstore.errors import InputError
from cgstore.units import UNITS, parse_quantity

__all__ = ["METHODS", "Sweep", "SweepTable", "one_of", "read_sweep"]

METHODS = ("grid", "list", "sample")
_Value = str | float
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9_+-]*|")
_PERCENT = re.compile(r"([-+]?(?:\d+\.?\d*|\.\d+))\s*%")


def one_of(words: tuple[str, ...]) -> AfterValidator:
    """Make the validator of a string that has to be one of some words."""

    def check(value: str) -> str:
        if value not in words:
            raise ValueError(f'found "{value}", expected {" | ".join(words)}')
        return value

    return AfterValidator(check)


class SweepTable(Document):
    """The table `[sweep]`: quantities by the name of a parameter, or points of them."""

    method: Annotated[str, one_of(METHODS)]
    seed: Annotated[int, Field(ge=0, strict=True)] = 1
    # grid: values; sample: lower and upper end, or what all have
    parameters: dict[str, tuple[_Value, ...]] = Field(default={})
    powers: dict[str, Annotated[float, Field(allow_inf_nan=False)]] = Field(default={})  # sample: even in this power
    points: tuple[dict[str, _Value], ...] = ()  # list

    @field_validator("powers")
    @classmethod
    def _of_a_sample(cls, powers: dict[str, float], info: ValidationInfo) -> dict[str, float]:
        """Check that there is a sample that can be even in these powers."""
        if powers and info.data.get("method") != "sample":
            raise ValueError(f"found {toml_value(powers)}, expected none: only a sample can be even in a power")
        for name, power in powers.items():
            if name not in (known := info.data.get("parameters", {})):
                raise ValueError(f'found "{name}", which is not in sweep.parameters{did_you_mean(name, known)}')
            if power == 0:
                raise ValueError(f"found {name} = 0, expected a power that is not zero")
        return powers

    @field_validator("points")
    @classmethod
    def _belong(cls, points: tuple[Any, ...], info: ValidationInfo) -> tuple[Any, ...]:
        """Check that there is what the method needs, and nothing else."""
        method, parameters = info.data.get("method"), info.data.get("parameters", {})
        if method == "list" and (parameters or not points):
            raise ValueError('found method = "list"; it needs points = [{…}, …], and no parameters')
        if method in ("grid", "sample") and (points or not parameters):
            raise ValueError(f'found method = "{method}"; it needs [sweep.parameters], and no points')
        return points


@dataclass(frozen=True, slots=True)
class Sweep:
    """A sweep with every quantity in the units of cgstore.

    `values` are those of a grid, or of a sample the ends of a range or what all points have; `points` are those of a
    list. What a kind lets a file leave out is there.
    """

    method: str
    seed: int
    values: dict[str, tuple[float | str, ...]]
    powers: dict[str, float]
    points: tuple[Point, ...]


def read_sweep(table: SweepTable, kind: Kind, problems: list[str]) -> Sweep:
    """Read all quantities of a sweep; what is wrong is added to `problems`."""
    values: dict[str, tuple[float | str, ...]] = {}
    for name, texts in table.parameters.items():
        place = f"sweep.parameters.{name}"
        found = tuple(_read(text, name, place, kind, problems) for text in texts)
        values[name] = found
        if table.method == "sample" and not _is_range(found, table.powers.get(name, 1.0)):
            expected = "the lower and the upper end of its range, or one value that all have"
            problems.append(f"{place}   found {list(texts)}, expected {expected}")
        elif not found:
            problems.append(f"{place}   found an empty list, expected at least one value")
    points = [
        {name: _read(text, name, f"sweep.points[{k}].{name}", kind, problems) for name, text in point.items()}
        for k, point in enumerate(table.points)
    ]
    if values:
        problems += _missing(values, "sweep.parameters", kind)
        values = {**{name: (value,) for name, value in kind.DEFAULTS.items()}, **values}
    for k, point in enumerate(points):
        problems += _missing(point, f"sweep.points[{k}]", kind)
    complete = tuple({**kind.DEFAULTS, **point} for point in points)
    return Sweep(table.method, table.seed, values, dict(table.powers), complete)


def _missing(given: Mapping[str, Any], place: str, kind: Kind) -> list[str]:
    """Return the problems of parameters that are neither given nor have a default."""
    return [f"{place}.{name}   missing" for name in kind.PARAMETERS if name not in given and name not in kind.DEFAULTS]


def _is_range(found: tuple[float | str, ...], power: float) -> bool:
    """Return whether these are what a sample is drawn from."""
    if len(found) == 1:
        return True
    if len(found) != 2 or not all(isinstance(end, float) for end in found):
        return False
    low, high = found
    return low < high and (power == 1.0 or float(low) > 0)  # type: ignore[operator]


def _read(value: _Value, name: str, place: str, kind: Kind, problems: list[str]) -> float | str:
    """Read one value of a parameter, or add a problem."""
    dimension = kind.PARAMETERS.get(name)
    try:
        if dimension is None:
            raise InputError(f"unknown parameter{did_you_mean(name, kind.PARAMETERS)}")
        if dimension == "word":
            return _word(value)
        if dimension == "number":
            return _number(value)
        number = parse_quantity(value, dimension)
        if number <= 0:
            raise InputError(f"found {value!r}, expected more than 0 {UNITS[dimension]}")
        return number
    except InputError as error:
        if (problem := f"{place}   {error}") not in problems:
            problems.append(problem)
        return 1.0


def _word(value: _Value) -> str:
    """Read a word, which may be part of a name of a file."""
    if not (isinstance(value, str) and _WORD.fullmatch(value)):
        raise InputError(f"found {value!r}, expected a word of letters, digits, + - _")
    return value


def _number(value: _Value) -> float:
    """Read a number, which may be written in percent.

    >>> _number("30 %"), _number(2)
    (0.3, 2.0)
    """
    if isinstance(value, str):
        found = _PERCENT.fullmatch(value.strip())
        try:
            number = float(found[1]) / 100 if found else float(value)
        except ValueError:
            number = math.nan
    else:
        number = float(value)
    if not math.isfinite(number):
        raise InputError(f'found {value!r}, expected a number, 0.3 or "30 %"')
    return float(f"{number:.12g}")
