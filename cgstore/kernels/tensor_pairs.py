"""Pair distances counted with torch tensors, frame by frame, on whatever device the tensors are.

Particles are sorted along one box vector and laid on a ring; each meets the next ones on it, as many as any of them
has within the last edge, in a few operations for all particles of many frames. Positions are fractions of the box as
32-bit integers: their differences are exact, and overflow to the nearest image by themselves. What follows is float32,
one rounded operation at a time, so that a pair is counted the same way in every step and devices agree.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

__all__ = ["count_pairs"]

TURN = 2**32  # steps of an integer coordinate along one box vector
PAIR_BYTES = 32  # of a pair while it is counted, at most: differences and coordinates, or distances and slots
SPILL = (
    8  # distances beyond the last edge spread over so many times the bins: one spill bin would be one address for all
)
SLOTS = 2**30  # of a histogram; they are numbered by int32


def count_pairs(
    position: "torch.Tensor",
    box: "torch.Tensor",
    type_index: "torch.Tensor",
    row: "torch.Tensor",
    *,
    width: float,
    bins: int,
    excluded: "torch.Tensor | None" = None,
    group: "torch.Tensor | None" = None,
    memory: int = 2**28,
) -> "torch.Tensor":
    """Count the distances of all pairs of particles in every frame, with the nearest image, into bins from 0.

    Parameters
    ----------
    position : (frame, particle, xyz) nm, wrapped or not; its device is where everything is computed
    box : (frame, box_vector, xyz) nm, any box; twice the last edge of the bins must fit between any two faces
    type_index : (particle,) types, from 0
    row : (type, type) symmetric; the row of the results for two types, -1 where nobody asks
    width, bins : nm, and how many bins
    excluded : (pair, 2) particles that make no pair; each pair once, in either order
    group : (particle,) pairs within one group are left out
    memory : bytes for the pairs of one step; besides, some twenty times the bytes of `position` are needed

    Returns
    -------
    (frame, row, bin) int32 on the device of `position`; -1 throughout a frame with a position that is not finite

    Notes
    -----
    Distances are those of float64 on the same positions within 2e-7 r + 1e-9 of the box, so that only pairs as near to
    an edge between bins are counted on its other side; counts do not depend on `memory`. Products of matrices are in
    float64, so TF32 never enters. Counts have no gradient: train on smooth functions of the distances, or on
    covariances of counts with energies. The device is waited for three times per call, not once per step.

    Examples
    --------
    >>> import torch
    >>> x = 2.0 * torch.rand(50, 100, 3)  # a batch of frames, on any device
    >>> box = 2.0 * torch.eye(3).expand(50, 3, 3)
    >>> kinds = torch.arange(100) % 2
    >>> row = torch.tensor([[0, 1], [1, 2]])  # A-A, A-B, B-B
    >>> count_pairs(x, box, kinds, row, width=0.1, bins=10).shape
    torch.Size([50, 3, 10])
    """
    import torch

    frames, particles = position.shape[:2]
    rows, types = int(row.max()) + 1, len(row)
    counts = torch.zeros((frames, rows + 1, bins), dtype=torch.int32, device=position.device)  # the last one is lost
    if frames and rows and particles > 1:
        position, type_index, row = position.detach(), type_index.to(position.device), row.to(position.device)
        cells = _cells(box.detach(), position.device, width, bins)
        ring = _ring(_steps(position, cells.inverse), cells, excluded, group)
        lost = torch.where(row < 0, rows, row).flatten()
        batch = memory // PAIR_BYTES // (particles * max(ring.reach, 1))
        batch = max(1, min(batch, memory // (8 * cells.slots * types**2), SLOTS // (cells.slots * types**2)))
        for start in range(0, frames, batch):
            part = slice(start, min(start + batch, frames))
            kinds = type_index[ring.order[part]]
            h = _count_frames(ring, cells, part, kinds, types, memory)
            counts[part].index_add_(1, lost, h[:, :, :bins])
        counts[~torch.isfinite(position).flatten(1).all(dim=1)] = -1
    return counts[:, :rows]


@dataclass(frozen=True, slots=True, eq=False)
class _Cells:
    """The boxes of all frames, as the counting needs them."""

    inverse: "torch.Tensor"  # (frame, 3, 3) float64; its columns are the reciprocal vectors
    scale: "torch.Tensor"  # (frame, 3, 1, 1) float32, bins per step along the diagonal of the turned box
    # (3, frame, 1, 1) float32: what y adds to x, z to x, and z to y; None for right angles
    slant: "torch.Tensor | None"
    axis: int  # the box vector along which particles are sorted
    window: int  # steps along it within which all partners are
    slots: int  # bins up to the longest distance in any box, or until they are cut off
    cut: bool  # whether they are cut off


@dataclass(frozen=True, slots=True, eq=False)
class _Ring:
    """The particles of all frames sorted along an axis."""

    order: "torch.Tensor"  # (frame, particle) which particle
    steps: "torch.Tensor"  # (frame, 3, 2 particle) int32, once around the ring and once more
    reach: int  # a particle meets so many of the next ones
    ends: "torch.Tensor | None"  # (2, frame, excluded) places on the ring of excluded pairs
    group: "torch.Tensor | None"  # (frame, 2 particle)


def _cells(box: "torch.Tensor", device: "torch.device", width: float, bins: int) -> _Cells:
    """Turn the boxes, and choose the axis along which the last edge is the smallest share of the box."""
    import torch

    vectors = box.to("cpu", torch.float64)
    turned = torch.linalg.qr(vectors.mT).R.mT  # lower triangular, its lengths and angles those of the box
    diagonal = turned.diagonal(dim1=1, dim2=2)
    inverse = torch.linalg.inv(vectors)
    height = (1.0 / torch.linalg.vector_norm(inverse, dim=1)).amin(dim=0)
    share = bins * width / float(height.max())
    corner = torch.tensor([[0.5, 0.5, 0.5], [0.5, 0.5, -0.5], [0.5, -0.5, 0.5], [-0.5, 0.5, 0.5]], dtype=torch.float64)
    far = float(torch.linalg.vector_norm(corner @ turned, dim=-1).max()) / width * (1.0 + 1e-6) + 2.0
    below = torch.stack([turned[:, 1, 0], turned[:, 2, 0], turned[:, 2, 1]])
    slant = (below / diagonal.T[[1, 2, 2]]).float()[..., None, None]
    return _Cells(
        inverse=inverse.to(device),
        scale=(diagonal / (TURN * width)).float()[..., None, None].to(device),
        slant=slant.to(device) if bool(below.any()) else None,
        axis=int(height.argmax()),
        window=int(share * (1.0 + 1e-6) * TURN) + 8,
        slots=int(min(far, SPILL * bins)),
        cut=far > SPILL * bins,
    )


def _steps(position: "torch.Tensor", inverse: "torch.Tensor") -> "torch.Tensor":
    """Return positions as fractions of the box, (frame, particle, 3) int32; whatever is not finite is somewhere."""
    import torch

    fraction = position.double() @ inverse
    fraction -= fraction.floor()
    steps = torch.nan_to_num_(fraction).mul_(TURN).to(torch.int64) & (TURN - 1)  # what rounds to 1 is 0
    return (steps - TURN // 2).to(torch.int32)


def _ring(steps: "torch.Tensor", cells: _Cells, excluded: "torch.Tensor | None", group: "torch.Tensor | None") -> _Ring:
    """Sort the particles, and find how many of the next ones a particle must meet."""
    import torch

    frames, particles = steps.shape[:2]
    along, order = steps[..., cells.axis].to(torch.int64).sort(dim=1)
    number = torch.arange(particles, device=steps.device)
    first_beyond = torch.searchsorted(torch.cat([along, along + TURN], dim=1), along + cells.window, right=True)
    reach = min(int((first_beyond - number).max()) - 1, particles // 2)
    ends = None
    if excluded is not None and len(excluded):
        place = torch.empty_like(order).scatter_(1, order, number.expand(frames, -1))
        ends = place[:, excluded.to(steps.device).T].movedim(1, 0)
    steps = steps.gather(1, order[..., None].expand(-1, -1, 3)).mT
    members = None if group is None else group.to(steps.device)[order]
    return _Ring(
        order=order,
        steps=torch.cat([steps, steps], dim=2),
        reach=reach,
        ends=ends,
        group=None if members is None else torch.cat([members, members], dim=1),
    )


def _count_frames(
    ring: _Ring, cells: _Cells, part: slice, kinds: "torch.Tensor", types: int, memory: int
) -> "torch.Tensor":
    """Count the pairs of some frames; return (frame, type · type, slot) int32."""
    import torch

    frames, particles = kinds.shape
    size = types * types * cells.slots
    number = torch.arange(frames, device=kinds.device)[:, None]
    mine = (number * size + kinds * types * cells.slots).to(torch.int32)  # a slot is mine + yours + distance
    yours = (kinds * cells.slots).to(torch.int32).repeat(1, 2)
    h = torch.zeros(frames * size + 1, dtype=torch.int32, device=kinds.device)  # the last slot is of no pair
    one = torch.ones((), dtype=torch.int32, device=kinds.device)
    step = max(1, memory // PAIR_BYTES // (frames * particles))
    for low in range(1, ring.reach + 1, step):
        high = min(low + step, ring.reach + 1)
        slot = _distances(ring.steps[part], cells, part, low, high)
        slot += mine[:, None]
        slot += _next(yours, low, high)
        if ring.group is not None:
            group = ring.group[part]
            slot.masked_fill_(_next(group, low, high) == group[:, None, :particles], len(h) - 1)
        if 2 * (high - 1) == particles:  # opposite on the ring: they meet once
            slot[:, -1, particles // 2 :] = len(h) - 1
        h.index_add_(0, slot.view(-1), one.expand(slot.numel()))
        if ring.ends is not None:
            _take_back(h, slot, ring.ends[:, part], low)
    return h[:-1].view(frames, types * types, cells.slots)


def _next(values: "torch.Tensor", low: int, high: int) -> "torch.Tensor":
    """Return what the low-th to the (high - 1)-th next particle has, (…, next, particle), without copying."""
    *outer, twice = values.shape
    return values.as_strided(
        (*outer, high - low, twice // 2), (*values.stride()[:-1], 1, 1), values.storage_offset() + low
    )


def _distances(steps: "torch.Tensor", cells: _Cells, part: slice, low: int, high: int) -> "torch.Tensor":
    """Return distances in whole widths of a bin, (frame, next, particle) int32."""
    import torch

    particles = steps.shape[2] // 2
    # Given, because the layout chosen for the difference of overlapping views is none that can be flattened.
    difference = torch.empty((len(steps), 3, high - low, particles), dtype=torch.int32, device=steps.device)
    torch.sub(_next(steps, low, high), steps[:, :, None, :particles], out=difference)
    x = difference * cells.scale[part]  # (frame, xyz, next, particle)
    del difference
    if cells.slant is not None:
        xy, xz, yz = cells.slant[:, part]
        x[:, 0] += x[:, 1] * xy
        x[:, 0] += x[:, 2] * xz
        x[:, 1] += x[:, 2] * yz
    x.square_()
    r = x[:, 0] + x[:, 1]  # additions one by one: a fused or tree-like sum would round otherwise on other devices
    r += x[:, 2]
    r.sqrt_()
    if cells.cut:
        r.clamp_(max=cells.slots - 1)
    return r.to(torch.int32)


def _take_back(h: "torch.Tensor", slot: "torch.Tensor", ends: "torch.Tensor", low: int) -> None:
    """Count the excluded pairs down again, in the slots in which they were counted."""
    import torch

    frames, nexts, particles = slot.shape
    a, b = ends
    ahead = (b - a) % particles
    behind = particles - ahead
    first = torch.where(ahead < behind, a, torch.where(ahead > behind, b, torch.minimum(a, b)))
    which = torch.minimum(ahead, behind) - low
    inside = (which >= 0) & (which < nexts)
    frame = torch.arange(frames, device=slot.device)[:, None]
    flat = ((frame * nexts + which) * particles + first).where(inside, torch.zeros_like(first))
    h.index_add_(0, slot.view(-1)[flat.flatten()], -inside.flatten().to(torch.int32))
