"""Batches of pairs (i, j) of sets whose molecules and beads move alike, streamed piece by piece from a lazy join."""

from collections.abc import Iterator
from typing import Literal

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray

from cgstore.errors import InputError
from cgstore.feature_tables.matching import join, match
from cgstore.splits.split import Catalog, Selection

__all__ = ["PairLoader", "averaged", "chosen", "least", "pairs_of"]


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


def pairs_of(sets: xr.Dataset, beads: xr.Dataset | None = None, *, within: float = 2.0) -> xr.Dataset:
    """Return all pairs (i, j) with |D_AA(i) − D_CG(j)| < within · σ, lazily: parameters of i beside the potential of j.

    Parameters
    ----------
    sets : as `cgstore.learn.mobility.sets.sets_of` returns them; one part of a split, or no set is kept out
    beads : as `cgstore.learn.mobility.families.candidates` returns them, of the same part; those of the sets by default
    within : standard errors of the difference

    Returns
    -------
    dataset on (pair, …): `left_x`, `right_u`, what `cgstore.feature_tables.match` says, and the names of both sets; and
    with beads `harm`, √⟨(g_i − g_j)²⟩ over all distances: how far the beads are from the structure of the molecules,
    and `apart`, √⟨(x_i − x_j)²/s²⟩ over the parameters, s their scatter: how far the set is that the beads belong to
    """
    if beads is None:
        return join(match(sets, sets, on=("D_AA", "D_CG"), within=within), sets, sets, take=(["x"], ["u"]))
    matched = match(sets, beads, on=("D_AA", "D_CG"), within=within)
    pairs = join(matched, sets, beads, take=(["x", "g"], ["u", "g", "x"]))
    harm = np.sqrt(((pairs["left_g"] - pairs["right_g"]) ** 2).mean("r"))
    width = sets["x"].std("system").drop_vars("parameter", errors="ignore")
    away = (pairs["left_x"] - pairs["right_x"]) / width.where(width > 0.0, 1.0)
    apart = np.sqrt((away**2).mean("parameter"))
    return pairs.drop_vars(["left_g", "right_g", "right_x"]).assign(harm=harm, apart=apart)


class PairLoader:
    """Batches of pairs of sets, epoch after epoch, of one part of a split matched with itself.

    A batch is a dict: `x` (pair, parameter) of the set i whose molecules move as the beads of j do; `u` (pair, r), the
    potential of j; float32. `left` (pair,) are places in `loader.names`, `right` in `loader.owners`.

    Parameters
    ----------
    sets : all of them
    catalog, selection : what of them may be used; no set that the split holds out is on either side of a pair
    beads : of `cgstore.learn.mobility.families.candidates`; what belongs to a held-out set is left out with it
    batch_size : pairs in a batch, of one piece of the join
    within : standard errors of the difference
    partners : with beads, so many of each i at most; all by default
    prefer : which ones, those whose sets are the least `apart`, or those with the least `harm` to the structure
    seed : decides the order; nothing else does

    Raises
    ------
    InputError : the selection reaches held-out data, no two sets match, or partners without beads

    Notes
    -----
    Pieces come in a shuffled order, and their pairs are shuffled; only one piece is in memory. Ten thousand sets have
    millions of pairs, of which nothing is made before it is asked for. All partners of i are in one piece, unless they
    alone are more than a piece holds, 64 MiB: of such an i some are kept of each piece.

    D_CG(j) is that in the box of j. In that of i, of another density, the same potential moves beads differently: beads
    of near sets are the better partners.
    """

    def __init__(
        self,
        sets: xr.Dataset,
        catalog: Catalog,
        selection: Selection,
        *,
        beads: xr.Dataset | None = None,
        batch_size: int = 64,
        within: float = 2.0,
        partners: int | None = None,
        prefer: Literal["apart", "harm"] = "apart",
        seed: int = 0,
    ) -> None:
        if partners is not None and (beads is None or partners < 1):
            raise InputError(f"PairLoader: found partners = {partners}, expected 1 or more, of beads that have g")
        part = chosen(sets, catalog, selection)
        self.names = tuple(str(name) for name in part["system"].values)
        if beads is not None:
            beads = beads.isel(system=np.flatnonzero(np.isin(beads["system"].values, self.names)))
        self.owners = self.names if beads is None else tuple(str(name) for name in beads["system"].values)
        self.pairs = pairs_of(part, beads, within=within)
        if self.pairs.sizes["pair"] == 0:
            raise InputError(
                f"{selection.part} of {selection.where}: found no pair of {len(self.names)} sets with D_AA(i) within "
                f"{within:g} standard errors of D_CG(j); take more sets, wider ranges of their parameters, or families"
            )
        self.batch_size, self.partners, self.prefer, self.seed, self._epoch = batch_size, partners, prefer, seed, 0

    def __len__(self) -> int:
        """Return the number of pairs of the join, before `partners` of them are chosen."""
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
        wanted = ["left_x", "right_u", "left", "right"]
        made = piece[[*wanted, self.prefer] if self.partners else wanted].compute()
        if self.partners:
            made = made.isel(pair=least(made["left"].values, made[self.prefer].values, self.partners))
        order = rng.permutation(made.sizes["pair"])
        for rows in np.split(order, range(self.batch_size, len(order), self.batch_size)):
            x, u = (torch.from_numpy(made[name].values[rows].astype(np.float32)) for name in ("left_x", "right_u"))
            left, right = (torch.from_numpy(made[name].values[rows]) for name in ("left", "right"))
            yield {"x": x, "u": u, "left": left, "right": right}


def averaged(loader: PairLoader) -> xr.Dataset:
    """Return the mean potential of the partners that an epoch has of each set i: what regressions of few rows learn.

    Returns
    -------
    dataset on (system), the sets with partners: `x (system, parameter)`, `u (system, r)`, `partners`, how many
    """
    number = np.zeros(len(loader.names), np.int64)
    total: dict[str, NDArray[np.float64]] = {}
    for batch in loader:
        left = batch["left"].numpy()
        np.add.at(number, left, 1)
        for name in ("x", "u"):
            values = batch[name].numpy().astype(np.float64)
            np.add.at(total.setdefault(name, np.zeros((len(number), values.shape[1]))), left, values)
    rows = np.flatnonzero(number)
    x, u = (total[name][rows] / number[rows, None] for name in ("x", "u"))
    names = [loader.names[row] for row in rows]
    return xr.Dataset(
        {"x": (("system", "parameter"), x), "u": (("system", "r"), u), "partners": ("system", number[rows])},
        {"system": names},
    )


def least(left: NDArray[np.int64], cost: NDArray[np.float64], number: int) -> NDArray[np.intp]:
    """Return the places of the pairs with the least cost, so many of each left row at most.

    Examples
    --------
    >>> least(np.array([0, 0, 0, 4]), np.array([0.3, 0.1, 0.2, 0.9]), 2).tolist()
    [1, 2, 3]
    """
    order = np.lexsort((cost, left))
    rows = left[order]
    rank = np.arange(len(rows)) - np.searchsorted(rows, rows, "left")
    return np.sort(order[rank < number])
