"""Ranks: which of how many processes that train together this one is."""

from dataclasses import dataclass

import torch.distributed

from cgstore.errors import InputError

__all__ = ["Rank", "rank_of"]


@dataclass(frozen=True, slots=True)
class Rank:
    """One of `ranks` processes, counted from 0."""

    rank: int
    ranks: int

    def streams(self, streams: int) -> range:
        """Return which of the streams of an epoch this process reads.

        Raises
        ------
        InputError : the streams cannot be shared evenly

        Examples
        --------
        >>> Rank(1, 4).streams(8)
        range(2, 4)
        """
        if streams % self.ranks:
            more = -(-streams // self.ranks) * self.ranks
            raise InputError(
                f"streams = {streams} cannot be shared by {self.ranks} processes; use streams={more} on any number "
                "of processes: it is a part of the order"
            )
        each = streams // self.ranks
        return range(self.rank * each, (self.rank + 1) * each)


def rank_of(rank: int | None = None, world_size: int | None = None) -> Rank:
    """Return the rank that is given, that of the process group of torch when it is initialised, or that of one alone.

    Raises
    ------
    InputError : only one of the two is given, or they do not fit

    Examples
    --------
    >>> rank_of(), rank_of(2, 4)
    (Rank(rank=0, ranks=1), Rank(rank=2, ranks=4))
    """
    if (rank is None) != (world_size is None):
        raise InputError("found only one of rank and world_size; expected both, or none for those of the process group")
    if rank is None or world_size is None:
        group = torch.distributed.is_available() and torch.distributed.is_initialized()
        return Rank(torch.distributed.get_rank(), torch.distributed.get_world_size()) if group else Rank(0, 1)
    if not 0 <= rank < world_size:
        raise InputError(f"rank = {rank} of world_size = {world_size}; expected 0 <= rank < world_size")
    return Rank(rank, world_size)
