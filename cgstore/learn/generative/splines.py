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
    x: torch.Tensor, raw: torch.Tensor, *, reach: float, circular: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Bend numbers within an interval; outside it, where there is an outside, they stay as they are.

    Parameters
    ----------
    x : (…,) numbers
    raw : (…, parameter) any numbers, `spline_parameters` of them; all zero is the identity
    reach : the interval is −reach to reach
    circular : both ends are the same point, and have the same slope; else the slope at the ends is one

    Returns
    -------
    (…,) the bent numbers, and the logarithm of the slope there

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
    piece = ((inside[..., None] >= left).sum(dim=-1, keepdim=True) - 1).clamp(0, pieces - 1)

    def own(values: torch.Tensor) -> torch.Tensor:
        return values.gather(-1, piece).squeeze(-1)

    w, h, first, last = own(width), own(height), own(slope), own(slope[..., 1:])
    part = (inside - own(left)) / w
    rest, steep = 1.0 - part, h / w
    below = steep + (first + last - 2.0 * steep) * part * rest
    bent = own(lower) + h * (steep * part**2 + first * part * rest) / below
    slope_there = (
        2.0 * steep.log() + (last * part**2 + 2.0 * steep * part * rest + first * rest**2).log() - 2.0 * below.log()
    )
    if circular:
        return bent, slope_there
    beyond = x.abs() > reach
    return torch.where(beyond, x, bent), torch.where(beyond, torch.zeros_like(slope_there), slope_there)


def _knots(raw: torch.Tensor, reach: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Return where pieces begin, and how long they are: positive, and 2 reach together."""
    pieces = raw.shape[-1]
    length = 2.0 * reach * (_NARROWEST + (1.0 - _NARROWEST * pieces) * torch.softmax(raw, dim=-1))
    return length.cumsum(dim=-1) - length - reach, length
