"""Words on figures: units as one writes them, numbers with their errors, and what is wrong with a run."""

import math
import re
from collections.abc import Sequence

import numpy as np
import xarray as xr

__all__ = ["label", "note_of", "pretty_unit", "with_error", "with_unit"]

_PRETTY = {"1": "", "degree": "°", "1/degree": "(1/°)", "1/nm": "nm⁻¹", "1/nm^3": "nm⁻³", "kJ/mol": "kJ/mol"}
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_STRONG_DRIFT = 5.0  # standard errors, from where on `cgstore.averages.flags.warnings_of` speaks of it


def pretty_unit(unit: str) -> str:
    """Return a unit as one writes it behind a slash; nothing for a number.

    Examples
    --------
    >>> pretty_unit("kJ/mol/nm^2"), pretty_unit("nm^2"), pretty_unit("1/nm^3"), pretty_unit("1"), pretty_unit("ps")
    ('(kJ/mol/nm²)', 'nm²', 'nm⁻³', '', 'ps')
    """
    if unit in _PRETTY:
        return _PRETTY[unit]
    raised = re.sub(r"\^(-?\d+)", lambda power: power[1].translate(_SUPERSCRIPTS), unit)
    return f"({raised})" if "/" in raised else raised


def label(symbol: str, array: xr.DataArray, default: str) -> str:
    """Return an axis label: quantity / unit of the array, or the quantity alone when it has no dimension."""
    pretty = pretty_unit(str(array.attrs.get("units", default)))
    return f"{symbol} / {pretty}" if pretty else symbol


def with_unit(text: str, unit: str) -> str:
    """Return a number in words with its unit behind it.

    Examples
    --------
    >>> with_unit("0.63 ± 0.01", "nm^2"), with_unit("21", "degree"), with_unit("0.3", "1")
    ('(0.63 ± 0.01) nm²', '21°', '0.3')
    """
    pretty = pretty_unit(unit).strip("()")
    number = f"({text})" if "±" in text and not text.startswith("(") else text
    return f"{number}{pretty}" if pretty == "°" else f"{number} {pretty}" if pretty else text


def with_error(value: float, error: float) -> str:
    """Return a number and its standard error, to two digits of the error; four digits where no error is known.

    Examples
    --------
    >>> with_error(0.63215, 0.00374), with_error(12345.0, 230.0), with_error(0.5, float("nan"))
    ('0.6321 ± 0.0037', '12340 ± 230', '0.5')
    >>> with_error(1.234e-5, 5.67e-7)
    '(1.234 ± 0.057)·10⁻⁵'
    """
    if not math.isfinite(value):
        return "not known"
    size = max(abs(value), error) if math.isfinite(error) else abs(value)
    power = math.floor(math.log10(size)) if size > 0.0 and not 1e-2 <= size < 1e6 else 0
    ten = f"·10{str(power).translate(_SUPERSCRIPTS)}" if power else ""
    value = value / 10.0**power
    if not (math.isfinite(error) and error > 0.0):
        return f"{value:.4g}{ten}"
    error = error / 10.0**power
    digits = 1 - math.floor(math.log10(error))
    shown = max(digits, 0)
    text = f"{round(value, digits):.{shown}f} ± {round(error, digits):.{shown}f}"
    return f"({text}){ten}" if ten else text


def note_of(result: xr.Dataset, dim: str, chosen: Sequence[str], prefix: str = "") -> str:
    """Return in a few words what the flags of the drawn kinds say; nothing when all is well or nothing is known.

    Parameters
    ----------
    result : with variables of `cgstore.averages.flags.FLAGS`, or without
    dim : of the kinds
    chosen : the kinds that are drawn
    prefix : of the variables, for example "bond_"

    Examples
    --------
    >>> flags = xr.Dataset({"drift": ("pair", [6.3, 0.1])}, {"pair": ["A-A", "A-B"]})
    >>> note_of(flags, "pair", ["A-A", "A-B"]), note_of(flags, "pair", ["A-B"])
    ('drifts: 6.3 errors (A-A)', '')
    """
    names = [name for name in chosen if dim in result.coords and name in result[dim].values]
    if not names:
        return ""

    def flag(name: str) -> np.ndarray:
        found = f"{prefix}{name}" in result and dim in result[f"{prefix}{name}"].dims
        return np.asarray(result[f"{prefix}{name}"].sel({dim: names}), np.float64) if found else np.zeros(len(names))

    frames, times, drift, short = (flag(n) for n in ("equilibration_frames", "equilibration", "drift", "short"))
    late = frames > 0
    moving = (np.abs(drift) > _STRONG_DRIFT) & ~late
    pieces = []
    if late.any():
        time = times[late].max()
        start = f"{time:g} ps" if np.isfinite(time) and time > 0 else f"{frames[late].max():g} frames"
        pieces.append(f"first {start} not equilibrated{_which(names, late)}")
    if moving.any():
        pieces.append(f"drifts: {np.abs(drift[moving]).max():.1f} errors{_which(names, moving)}")
    if (short > 0).any():
        pieces.append(f"too short a run to know errors{_which(names, short > 0)}")
    return "; ".join(pieces)


def _which(names: Sequence[str], those: np.ndarray) -> str:
    """Return in brackets which of the names are meant, or how many; nothing if it is all of them."""
    if those.all():
        return ""
    return f" ({names[int(those.argmax())]})" if those.sum() == 1 else f" ({those.sum()} of {len(names)})"
