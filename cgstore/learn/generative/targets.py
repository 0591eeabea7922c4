"""Targets: what a model is fitted to, potentials of torch or of any program that gives energies and forces."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

__all__ = ["Ask", "Target", "analytic", "double_well", "queried", "softened"]

Float = NDArray[np.float64]

# Coordinates (sample, coordinate) to the energy in units of kT at the target temperature (sample,), and the logarithm
# of the volume of positions per volume of coordinates (sample,).
Target = Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]]
# Positions (conformation, particle, xyz) nm to energies (conformation,) kJ/mol and forces of their shape, kJ/mol/nm.
Ask = Callable[[Float], tuple[Float, Float]]


def double_well(x: torch.Tensor) -> torch.Tensor:
    """Return the bimodal potential of the published method: x₁⁴/4 − 3x₁² + x₁ + x₂²/2, in kT.

    Notes
    -----
    Schöberl, Zabaras and Koutsourelakis 2020, arXiv:2002.10148.

    Examples
    --------
    >>> double_well(torch.tensor([[2.0, 1.0]])).tolist()
    [-5.5]
    """
    first, second = x[:, 0], x[:, 1]
    return first**4 / 4.0 - 3.0 * first**2 + first + second**2 / 2.0


def analytic(potential: Callable[[torch.Tensor], torch.Tensor]) -> Target:
    """Return the target of a potential written in torch, in kT, of the coordinates themselves."""
    return lambda x: (potential(x), torch.zeros_like(x[:, 0]))


class _Queried(torch.autograd.Function):
    """Energies asked for once, with the forces, which wait for the way back."""

    @staticmethod
    def forward(ctx: Any, position: torch.Tensor, ask: Ask) -> torch.Tensor:
        energy, force = ask(position.detach().numpy().astype(np.float64))
        ctx.save_for_backward(torch.as_tensor(force).to(position.dtype))
        return torch.as_tensor(energy).to(position.dtype)

    @staticmethod
    def backward(ctx: Any, *gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        (force,) = ctx.saved_tensors
        return -gradient[0][:, None, None] * force, None


def queried(position: torch.Tensor, ask: Ask) -> torch.Tensor:
    """Return energies of another program as a function that torch differentiates: the gradient is minus the force.

    Parameters
    ----------
    position : (conformation, particle, xyz) nm
    ask : gives energies and forces of many conformations at once; called once, forces are kept for the way back.
        Nothing else is kept: a model never draws the same conformation twice

    Returns
    -------
    (conformation,) kJ/mol
    """
    return _Queried.apply(position, ask)  # type: ignore[no-untyped-call, no-any-return]


def softened(energy: torch.Tensor, ceiling: float) -> torch.Tensor:
    """Return energies that grow by their logarithm only above a ceiling; what is not a number is far above it.

    For training alone: atoms that overlap would drown all other gradients. Weights take the energy as it is.

    Examples
    --------
    >>> softened(torch.tensor([1.0, 10.0, float("nan")]), 10.0).tolist()[:2]
    [1.0, 10.0]
    """
    high = torch.nan_to_num(energy, nan=1e30, posinf=1e30)
    return torch.where(high < ceiling, high, ceiling + torch.log1p((high - ceiling).clamp(min=0.0)))
