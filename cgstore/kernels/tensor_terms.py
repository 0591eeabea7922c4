"""Bond lengths, angles and dihedrals of torch tensors, measured with gradients or counted frame by frame.

All arithmetic is float64, as in the compiled kernel: there are few terms, and angles near 0 and 180 degrees need it.
"""

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

__all__ = ["count_terms", "measure_terms"]

TERM_BYTES = 640  # of a term of one frame while it is measured


def measure_terms(position: "torch.Tensor", box: "torch.Tensor | None", term: "torch.Tensor") -> "torch.Tensor":
    """Measure bonds, angles or dihedrals in every frame, each along its nearest images; gradients flow to `position`.

    Parameters
    ----------
    position : (frame, particle, xyz) nm, wrapped or not; its device is where everything is computed
    box : (frame, box_vector, xyz) nm; None without one
    term : (term, 2 | 3 | 4) particles of bonds, angles or dihedrals (improper ones too: it is the angle of two planes)

    Returns
    -------
    (frame, term) float64: nm, degrees in 0..180, or degrees in -180..180 with the sign of IUPAC

    Notes
    -----
    With a = r₂ − r₁, b = r₃ − r₂, c = r₄ − r₃, m = a × b and n = b × c a dihedral is atan2(|b| a·n, m·n); it has no
    gradient where three particles lie on a line, nor has an angle of 0 or 180 degrees. doi:10.1351/goldbook.T06406

    Examples
    --------
    >>> import torch
    >>> x = torch.tensor([[[0.0, 0.3, 0.0], [0.0, 0.0, 0.0], [0.4, 0.0, 0.0]]], requires_grad=True)
    >>> angle = measure_terms(x, None, torch.tensor([[0, 1, 2]]))
    >>> angle.tolist()
    [[90.0]]
    >>> angle.sum().backward()
    >>> round(float(x.grad[0, 0, 0]), 2)  # degrees per nm: −180 / (0.3 π)
    -190.99
    """
    import torch

    ends = position[:, term.to(position.device, torch.int64).T].double()  # (frame, end, term, xyz)
    arrow = ends[:, 1:] - ends[:, :-1]
    if box is not None:
        vectors = box.to(position.device, torch.float64)[:, None]
        arrow = arrow - (arrow.detach() @ torch.linalg.inv(vectors)).round() @ vectors
    if term.shape[1] == 2:
        length: torch.Tensor = torch.linalg.vector_norm(arrow[:, 0], dim=-1)
        return length
    if term.shape[1] == 3:
        a, b = -arrow[:, 0], arrow[:, 1]
        y, x = torch.linalg.vector_norm(torch.linalg.cross(a, b), dim=-1), (a * b).sum(dim=-1)
    else:
        a, b, c = arrow.unbind(dim=1)
        m, n = torch.linalg.cross(a, b), torch.linalg.cross(b, c)
        y, x = torch.linalg.vector_norm(b, dim=-1) * (a * n).sum(dim=-1), (m * n).sum(dim=-1)
    return torch.atan2(y, x) * (180.0 / math.pi)


def count_terms(
    position: "torch.Tensor",
    box: "torch.Tensor | None",
    term: "torch.Tensor",
    row: "torch.Tensor",
    *,
    low: float,
    width: float,
    bins: int,
    memory: int = 2**28,
) -> "torch.Tensor":
    """Count the values of bonds, angles or dihedrals in every frame into bins of equal width.

    Parameters
    ----------
    position, box, term : as `measure_terms`
    row : (term,) the row of the results that a term counts in
    low, width, bins : nm or degrees; an angle on the last edge belongs to the last bin
    memory : bytes for the terms of one step

    Returns
    -------
    (frame, row, bin) int32 on the device of `position`; -1 throughout a frame in which a value is not finite or beyond
    the bins

    Notes
    -----
    Counts have no gradient; the values that `measure_terms` returns have.

    Examples
    --------
    >>> import torch
    >>> x = torch.tensor([[[0.0, 0.3, 0.0], [0.0, 0.0, 0.0], [0.4, 0.0, 0.0]]])
    >>> bonds, kinds = torch.tensor([[0, 1], [1, 2]]), torch.tensor([0, 0])
    >>> count_terms(x, None, bonds, kinds, low=0.25, width=0.1, bins=3).tolist()
    [[[1, 1, 0]]]
    """
    import torch

    frames, terms = len(position), len(term)
    rows = int(row.max()) + 1 if terms else 0
    counts = torch.zeros((frames, rows, bins), dtype=torch.int32, device=position.device)
    step = max(1, memory // (TERM_BYTES * max(terms, 1)))
    for start in range(0, frames if terms else 0, step):
        part = slice(start, start + step)
        with torch.no_grad():
            values = measure_terms(position[part], None if box is None else box[part], term)
        place = (values - low) / width
        # The edge as in the compiled kernel: 180 degrees may come out a little more.
        sound = (place >= 0.0) & ((place < bins) | ((place < bins + 1e-9) & (term.shape[1] > 2)))
        slot = place.nan_to_num(nan=0.0).clamp(0.0, bins - 1.0).to(torch.int64)
        frame = torch.arange(len(values), device=position.device)[:, None]
        slot += (frame * rows + row.to(position.device)) * bins
        one = torch.ones((), dtype=torch.int32, device=position.device).expand(slot.numel())
        counts[part].view(-1).index_add_(0, slot.view(-1), one)
        counts[part].masked_fill_(~sound.all(dim=1)[:, None, None], -1)
    return counts
