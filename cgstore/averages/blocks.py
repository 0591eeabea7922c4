"""Block statistics: sums over consecutive frames that merge exactly.

A block dataset has the dims (block, kind, bin) and holds

    count  (block, kind, bin)  how often a bin was hit, int64
    sum    (block, kind, bin)  the same with the weight of the frame (and its volume, for pairs), float64
    weight (block)             sum of the weights of its frames
    square (block)             sum of the squares of these weights, for effective sample sizes
    frames (block)             how many frames it has
    norm   (kind, bin)         what the mean of `sum` per weight is divided by to give the distribution
    frame_spacing ()           ps, NaN where times are not known

and the attribute `block_length` in frames, a power of two.
"""

from collections.abc import Sequence

import xarray as xr

from cgstore.errors import InputError

__all__ = ["MOST_BLOCKS", "block_length", "merge_blocks"]

MOST_BLOCKS = 256  # enough for errors that are themselves known to 10 %, few enough to keep
_ENOUGH_BLOCKS = 16  # very many bins make fewer blocks, but not fewer than this
_MOST_NUMBERS = 2**24  # in the sums of all blocks, 128 MiB; only many types at the level of atoms come near


def block_length(frames: int, *, numbers: int = 1) -> int:
    """Return how many frames make a block: the smallest power of two that gives at most 256 blocks.

    Blocks start at absolute multiples of it, so that they depend neither on chunks nor on later frames.

    Parameters
    ----------
    frames : of the dataset
    numbers : kinds times bins; very many of them (more than 2¹⁷) make fewer blocks, but not fewer than 16

    Examples
    --------
    >>> block_length(344), block_length(256), block_length(257)
    (2, 1, 2)
    """
    most = min(MOST_BLOCKS, max(_ENOUGH_BLOCKS, _MOST_NUMBERS // max(numbers, 1)))
    length = 1
    while frames > most * length:
        length *= 2
    return length


def merge_blocks(parts: Sequence[xr.Dataset], *, length: int | None = None) -> xr.Dataset:
    """Join the blocks of parts of a run, or of several runs, of one system, without the loss of a bit.

    Counts add up exactly, and sums along the same binary tree as in `counting`, so that blocks that were merged are the
    blocks that would have been counted.

    Parameters
    ----------
    parts : block datasets in the order of time, of the same system and question; the lengths of their blocks may
        differ, shorter ones are merged first; the last block of a part may be of fewer frames
    length : of the blocks of the result; by default the longest of the parts

    Raises
    ------
    InputError : kinds, bins or normalisation differ
    """
    longest = max([length or 1, *(int(part.attrs["block_length"]) for part in parts)])
    for part in parts[1:]:
        if not part["norm"].equals(parts[0]["norm"]):
            raise InputError(
                f"{part.attrs.get('name', 'blocks')}: found other kinds, bins or numbers of pairs than in "
                f"{parts[0].attrs.get('name', 'the first part')}; only blocks of one system and one question merge"
            )
    merged = [_coarsen(part, longest // int(part.attrs["block_length"])) for part in parts]
    joined = xr.concat(merged, "block", data_vars="minimal", coords="minimal", compat="override", join="exact")
    return joined.assign_attrs(parts[0].attrs | {"block_length": longest})


def _coarsen(blocks: xr.Dataset, factor: int) -> xr.Dataset:
    """Add up every `factor` blocks, a power of two, neighbours first; the last one may be of fewer."""
    while factor > 1:
        numbers = blocks.sizes["block"]
        left, right = blocks.isel(block=slice(0, None, 2)), blocks.isel(block=slice(1, None, 2))
        over_blocks = [name for name in blocks.data_vars if "block" in blocks[name].dims]
        alone = left.isel(block=slice(numbers // 2, None))
        both = left.isel(block=slice(0, numbers // 2))
        both = both.assign({name: (both[name] + right[name]).assign_attrs(blocks[name].attrs) for name in over_blocks})
        blocks = xr.concat([both, alone], "block", data_vars="minimal", coords="minimal", compat="override")
        factor //= 2
    return blocks
