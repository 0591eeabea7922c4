"""Monotonic rational-quadratic splines: bent lines with any number of steep and flat parts, and their slope."""

import math

import torch

__all__ = ["rational_quadratic", "spline_parameters"]

_NARROWEST = 1e-3  # part of the interval that a piece has at least
_FLATTEST = 1e-3  # slope at a knot
_ONE = math.log(math.expm1(1.0 - _FLATTEST))  # what softplus makes a slope of one of


def spline_parameters(pieces: int, *, circular: bool) -> int:
    """Return how many numbers a spline of so many pieces is made of: widths, heights and free slopes."""
    return 3 * pieces if circular else 3 * pieces - 1


def rational_quadratic(
    x: torch.Tensor, raw: torch.Tensor, *, reach: float, circular: bool, inverse: bool = False
) -> tuple[torch.Tensor, torch.Tensor]:
    """Bend numbers within an interval, or straighten bent ones; outside it, where there is an outside, they stay.

    Parameters
    ----------
    x : (…,) numbers
    raw : (…, parameter) any numbers, `spline_parameters` of them; all zero is the identity
    reach : the interval is −reach to reach
    circular : both ends are the same point, and have the same slope; else the slope at the ends is one
    inverse : the numbers are bent ones, and what they were before is asked for

    Returns
    -------
    (…,) the numbers on the other side, and the logarithm of the slope from straight to bent there

    Notes
    -----
    Durkan et al. 2019, arXiv:1906.04032, equations 4 to 8; on circles Rezende et al. 2020, arXiv:2002.02428.

    Examples
    --------
    >>> bent, slope = rational_quadratic(torch.tensor([0.5]), torch.zeros(1, 12), reach=3.0, circular=True)
    >>> round(float(bent), 6), abs(round(float(slope), 6))
    (0.5, 0.0)
    """
    pieces = (raw.shape[-1] + (not circular)) // 3
    left, width = _knots(raw[..., :pieces], reach)
    lower, height = _knots(raw[..., pieces : 2 * pieces], reach)
    slope = _FLATTEST + torch.nn.functional.softplus(raw[..., 2 * pieces :] + _ONE)
    if circular:
        slope = torch.cat([slope, slope[..., :1]], dim=-1)
    else:
        end = torch.ones_like(slope[..., :1])
        slope = torch.cat([end, slope, end], dim=-1)
    inside = x.clamp(-reach, reach)
    knots = lower if inverse else left
    piece = ((inside[..., None] >= knots).sum(dim=-1, keepdim=True) - 1).clamp(0, pieces - 1)

    def own(values: torch.Tensor) -> torch.Tensor:
        return values.gather(-1, piece).squeeze(-1)

    w, h, first, last = own(width), own(height), own(slope), own(slope[..., 1:])
    excess = first + last - 2.0 * h / w
    if inverse:
        part = _part((inside - own(lower)) / h, h / w, first, excess)
        other = own(left) + w * part
    else:
        part = (inside - own(left)) / w
        other = own(lower) + h * (h / w * part**2 + first * part * (1.0 - part)) / (
            h / w + excess * part * (1.0 - part)
        )
    slope_there = _log_slope(part, h / w, first, last)
    if circular:
        return other, slope_there
    beyond = x.abs() > reach
    return torch.where(beyond, x, other), torch.where(beyond, torch.zeros_like(slope_there), slope_there)


def _log_slope(part: torch.Tensor, steep: torch.Tensor, first: torch.Tensor, last: torch.Tensor) -> torch.Tensor:
    """Return the logarithm of the slope at a part of a piece, between the slopes at its ends."""
    rest = 1.0 - part
    below = steep + (first + last - 2.0 * steep) * part * rest
    above = last * part**2 + 2.0 * steep * part * rest + first * rest**2
    return 2.0 * steep.log() + above.log() - 2.0 * below.log()


def _part(risen: torch.Tensor, steep: torch.Tensor, first: torch.Tensor, excess: torch.Tensor) -> torch.Tensor:
    """Return the part of its width at which a piece has risen by this part of its height: a root of a quadratic."""
    a = steep - first + risen * excess
    b = first - risen * excess
    c = -steep * risen
    root: torch.Tensor = 2.0 * c / (-b - torch.sqrt((b**2 - 4.0 * a * c).clamp(min=1e-12)))
    return root.clamp(0.0, 1.0)


def _knots(raw: torch.Tensor, reach: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Return where pieces begin, and how long they are: positive, and 2 reach together."""
    pieces = raw.shape[-1]
    length = 2.0 * reach * (_NARROWEST + (1.0 - _NARROWEST * pieces) * torch.softmax(raw, dim=-1))
    return length.cumsum(dim=-1) - length - reach, length
