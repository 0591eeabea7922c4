"""Batches of pairs (i, j) of sets whose molecules and beads move alike, streamed piece by piece from a lazy join."""

from collections.abc import Iterator

import numpy as np
import torch
import xarray as xr

from cgstore.errors import InputError
from cgstore.feature_tables.matching import join, match
from cgstore.splits.split import Catalog, Selection

__all__ = ["PairLoader", "chosen", "pairs_of"]


def chosen(sets: xr.Dataset, catalog: Catalog, selection: Selection) -> xr.Dataset:
    """Return the sets that a part of a split gives; those held out are refused at its door.

    Raises
    ------
    InputError : the selection reaches held-out data, or takes no liquid of the sets
    """
    wanted = {member.name for member in selection.members(catalog)}
    rows = np.flatnonzero([str(name) in wanted for name in sets["system"].values])
    if len(rows) == 0:
        raise InputError(f"{selection.part} of {selection.where}: takes none of the {sets.sizes['system']} sets")
    return sets.isel(system=rows)


def pairs_of(sets: xr.Dataset, *, within: float = 2.0) -> xr.Dataset:
    """Return all pairs (i, j) with |D_AA(i) − D_CG(j)| < within · σ, lazily: parameters of i beside the potential of j.

    Parameters
    ----------
    sets : as `cgstore.learn.mobility.sets.sets_of` returns them; one part of a split, or no set is kept out
    within : standard errors of the difference

    Returns
    -------
    dataset on (pair, …): `left_x`, `right_u`, what `cgstore.feature_tables.match` says, and the names of both sets
    """
    return join(match(sets, sets, on=("D_AA", "D_CG"), within=within), sets, sets, take=(["x"], ["u"]))


class PairLoader:
    """Batches of pairs of sets, epoch after epoch, of one part of a split matched with itself.

    A batch is a dict: `x` (pair, parameter) of the set i whose molecules move as the beads of j do; `u` (pair, r), the
    potential of j; float32. `left` and `right` (pair,) are places in `loader.names`.

    Parameters
    ----------
    sets : all of them
    catalog, selection : what of them may be used; no set that the split holds out is on either side of a pair
    batch_size : pairs in a batch, of one piece of the join
    within : standard errors of the difference
    seed : decides the order; nothing else does

    Raises
    ------
    InputError : the selection reaches held-out data, or no two sets match

    Notes
    -----
    Pieces come in a shuffled order, and their pairs are shuffled; only one piece is in memory. Ten thousand sets have
    millions of pairs, of which nothing is made before it is asked for.
    """

    def __init__(
        self,
        sets: xr.Dataset,
        catalog: Catalog,
        selection: Selection,
        *,
        batch_size: int = 64,
        within: float = 2.0,
        seed: int = 0,
    ) -> None:
        part = chosen(sets, catalog, selection)
        self.names = tuple(str(name) for name in part["system"].values)
        self.pairs = pairs_of(part, within=within)
        if self.pairs.sizes["pair"] == 0:
            raise InputError(
                f"{selection.part} of {selection.where}: found no pair of {len(self.names)} sets with D_AA(i) within "
                f"{within:g} standard errors of D_CG(j); take more sets, or wider ranges of their parameters"
            )
        self.batch_size, self.seed, self._epoch = batch_size, seed, 0

    def __len__(self) -> int:
        """Return the number of pairs of an epoch."""
        return int(self.pairs.sizes["pair"])

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        """Yield the batches of an epoch."""
        rng = np.random.default_rng([self.seed, self._epoch])
        self._epoch += 1
        ends = np.cumsum([0, *self.pairs.chunksizes["pair"]])
        for piece in rng.permutation(len(ends) - 1):
            yield from self._batches(self.pairs.isel(pair=slice(ends[piece], ends[piece + 1])), rng)

    def endless(self) -> Iterator[dict[str, torch.Tensor]]:
        """Yield batches without end."""
        while True:
            yield from self

    def _batches(self, piece: xr.Dataset, rng: np.random.Generator) -> Iterator[dict[str, torch.Tensor]]:
        """Yield the batches of a piece, which is made now."""
        made = piece[["left_x", "right_u", "left", "right"]].compute()
        order = rng.permutation(made.sizes["pair"])
        for rows in np.split(order, range(self.batch_size, len(order), self.batch_size)):
            x, u = (torch.from_numpy(made[name].values[rows].astype(np.float32)) for name in ("left_x", "right_u"))
            left, right = (torch.from_numpy(made[name].values[rows]) for name in ("left", "right"))
            yield {"x": x, "u": u, "left": left, "right": right}
