"""Damped Gauss–Newton steps: by products of the curvature with vectors, or in the space of the frames.

In a liquid the response of g to a potential has directions a thousand times softer than others; plain gradients creep
along them, a few conjugate-gradient iterations do not. Stopping early also keeps noise out of the softest ones.
"""

from collections.abc import Callable, Iterator, Sequence

import torch

__all__ = ["damped_step", "dual_steps", "flatten", "unflatten"]


def damped_step(
    product: Callable[[torch.Tensor], torch.Tensor],
    gradient: torch.Tensor,
    *,
    damping: float,
    iterations: int,
    accuracy: float = 0.01,
) -> torch.Tensor:
    """Return x with (A + λ) x ≈ −gradient by conjugate gradients, λ = damping · (gᵀAg / gᵀg).

    Parameters
    ----------
    product : v (parameter,) → A v, A symmetric and not negative
    gradient : (parameter,)
    damping : in units of the curvature along the gradient, which is near the largest there is
    iterations : at most
    accuracy : stop when the residual is this part of the gradient

    Notes
    -----
    Hestenes & Stiefel 1952, doi:10.6028/jres.049.044; Levenberg 1944, doi:10.1090/qam/10666, for the damping.

    Examples
    --------
    >>> stiffness = torch.tensor([4.0, 1.0])
    >>> step = damped_step(lambda v: stiffness * v, torch.tensor([4.0, 2.0]), damping=0.0, iterations=9)
    >>> [round(x, 3) for x in step.tolist()]
    [-1.0, -2.0]
    """
    size = gradient @ gradient
    x = torch.zeros_like(gradient)
    if not size > 0:
        return x
    shift = damping * (gradient @ product(gradient)) / size
    residual, square = -gradient, size
    direction = residual
    for _ in range(iterations):
        image = product(direction) + shift * direction
        curvature = direction @ image
        if not curvature > 0:
            break
        length = square / curvature
        x = x + length * direction
        residual = residual - length * image
        previous, square = square, residual @ residual
        if square < accuracy**2 * size:
            break
        direction = residual + square / previous * direction
    return x


def dual_steps(
    spread: torch.Tensor, slopes: torch.Tensor, rest: torch.Tensor, dampings: Sequence[float]
) -> Iterator[torch.Tensor]:
    """Yield x with (JᵀJ + λ) x = −Jᵀ rest for each λ, in units of the curvature along the gradient, as `damped_step`.

    J = spreadᵀ slopes is never made: what thousands of rows say of thousands of parameters goes through some hundred
    frames, and in their space all steps cost one eigendecomposition.

    Parameters
    ----------
    spread : (frame, row)
    slopes : (frame, parameter)
    rest : (row,)
    dampings : not negative

    Notes
    -----
    With slopes slopesᵀ = LLᵀ and A = spreadᵀ L, JJᵀ is AAᵀ, whose eigenvectors are AV of those V of AᵀA, and what no
    frame spreads to has no part in Jᵀ rest.

    Examples
    --------
    >>> spread, slopes = torch.eye(2), torch.tensor([[2.0, 0.0], [0.0, 1.0]])
    >>> [step.round(decimals=3).tolist() for step in dual_steps(spread, slopes, torch.tensor([2.0, 2.0]), [0.0])]
    [[-1.0, -2.0]]
    """
    slope = slopes.T @ (spread @ rest)  # Jᵀ rest
    size = slope @ slope
    if not size > 0:
        return
    unit = ((spread.T @ (slopes @ slope)) ** 2).sum() / size
    root = _root(slopes @ slopes.T)
    values, vectors = torch.linalg.eigh(root.T @ (spread @ spread.T) @ root)
    # Eigenvalues that are rounding errors belong to directions that nothing responds to.
    stiff = values > 1e-12 * values[-1]
    values, vectors = values[stiff], vectors[:, stiff]
    back = root @ (vectors / values)  # (frame, direction)
    parts = vectors.T @ (root.T @ (spread @ rest))
    for damping in dampings:
        rows = spread.T @ (back @ (parts / (values + damping * unit)))
        yield -slopes.T @ (spread @ rows)


def _root(gram: torch.Tensor) -> torch.Tensor:
    """Return L with LLᵀ = a symmetric matrix that is not negative."""
    values, vectors = torch.linalg.eigh(gram)
    root: torch.Tensor = vectors * values.clamp(min=0.0).sqrt()
    return root


def flatten(tensors: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return all numbers of some tensors in one row."""
    return torch.cat([tensor.reshape(-1) for tensor in tensors])


def unflatten(row: torch.Tensor, like: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Return tensors of given shapes from a row of all their numbers.

    >>> [t.tolist() for t in unflatten(torch.arange(3.0), [torch.zeros(1), torch.zeros(2, 1)])]
    [[0.0], [[1.0], [2.0]]]
    """
    parts = torch.split(row, [tensor.numel() for tensor in like])
    return [part.view_as(tensor) for part, tensor in zip(parts, like, strict=True)]
