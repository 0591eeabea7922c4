"""The loader: batches of frames as tensors, shuffled, each frame once per epoch, resumable anywhere.

What held-out means is
decided by the split (`Selection.members`), not here.
"""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cgstore.documents import did_you_mean
from cgstore.errors import InputError
from cgstore.learn.plan import Plan, Series
from cgstore.learn.source import FRAME_ARRAYS, open_source
from cgstore.learn.split import Catalog, Selection
from cgstore.learn.streams import Int

__all__ = ["Loader"]

Sample = tuple[int, int, tuple[NDArray[np.float32], ...]]  # number of the series, frame, one array per variable

PER_PARTICLE = ("position", "velocity", "force")


class Loader:
    """Batches of the frames of a selection, epoch after epoch.

    Iterating gives the rest of the current epoch, then the next iteration starts the next epoch. A batch is a dict of
    tensors on `device`:

    - each variable, float32: (frame, particle, xyz), or (particle, xyz) of all frames joined when the datasets differ
      in their number of particles; then `offsets` (frame + 1,) says where each frame begins
    - `box` (frame, box_vector, xyz), when every dataset has one
    - `type`, int64, like a variable without xyz: codes into `loader.types`
    - `dataset` and `frame`, int64 (frame,): which frame of which of `loader.names`
    - `time`, float64 (frame,) ps

    Parameters
    ----------
    catalog : names and entries
    selection : `split.train` or `split.validation`
    batch_size : frames in a batch
    variables : what to load per frame
    seed : decides the order; nothing else does
    device : where the tensors go
    window : blocks of the store that are mixed at a time
    drop_last : leave out the last batch of an epoch when it is smaller

    Raises
    ------
    InputError : the selection reaches held-out data, matches nothing, or a dataset lacks a variable

    Examples
    --------
    >>> loader = Loader(catalog, split.train, batch_size=64, seed=1)  # doctest: +SKIP
    >>> for batch in loader: positions = batch["position"]  # doctest: +SKIP
    """

    def __init__(
        self,
        catalog: Catalog,
        selection: Selection,
        *,
        batch_size: int,
        variables: Sequence[str] = ("position",),
        seed: int = 0,
        device: str | torch.device = "cpu",
        window: int = 16,
        drop_last: bool = False,
    ) -> None:
        _check_variables(variables)
        self.members = selection.members(catalog)
        self.sources = tuple(
            open_source(catalog[member.name], member, needs=tuple(variables)) for member in self.members
        )
        self.names = tuple(source.name for source in self.sources)
        self.types = tuple(np.unique(np.concatenate([source.type for source in self.sources])).tolist())
        boxed = all("box" in source.variables for source in self.sources)
        self.variables = (*variables, "box") if boxed and "box" not in variables else tuple(variables)
        self.ragged = len({len(source.type) for source in self.sources}) > 1
        series = tuple(Series(item.name, item.digest, item.first, item.last, item.chunk) for item in self.sources)
        self.plan = Plan(series, batch_size, seed, window)
        self.device = torch.device(device)
        self.drop_last = drop_last
        self._codes = [np.searchsorted(np.array(self.types), source.type) for source in self.sources]
        self._epoch, self._step = 0, 0

    def __len__(self) -> int:
        """Return the number of batches of an epoch."""
        return self.plan.samples // self.plan.batch_size if self.drop_last else len(self.plan)

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        """Yield the batches that are left of this epoch; afterwards the next epoch is the current one."""
        samples = self._samples(self._epoch, self._step)
        while batch := list(islice(samples, self.plan.batch_size)):
            if self.drop_last and len(batch) < self.plan.batch_size:
                break
            self._step += 1
            yield self._tensors(batch)
        self._epoch, self._step = self._epoch + 1, 0

    def state_dict(self) -> dict[str, Any]:
        """Return the place before the next batch, as plain data."""
        return self.plan.state(self._epoch, self._step)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go to a place given by `state_dict`; the next batch is the one that would have come.

        Raises
        ------
        InputError : the state is of a loader with other data, seed, batch size or window
        """
        self._epoch, self._step = self.plan.place(state)

    def _samples(self, epoch: int, step: int) -> Iterator[Sample]:
        """Yield the frames of an epoch from batch `step` on."""
        layout = self.plan.epoch(epoch)
        held: dict[int, tuple[Int, dict[tuple[int, int], tuple[NDArray[np.float32], ...]]]] = {}
        for number in range(step, len(self.plan)):
            shares = self.plan.shares(number)
            for window, (stream, first, last, begin, end) in enumerate(layout.windows.tolist()):
                start, stop = max(begin, int(shares[stream, 0])), min(end, int(shares[stream, 1]))
                if start >= stop:
                    held.pop(window, None)
                    continue
                if window not in held:
                    series = self.plan.blocks[layout.pieces[first:last, 0], 0]
                    blocks = np.concatenate([series[:, None], layout.pieces[first:last, 1:]], axis=1)
                    held[window] = layout.samples(window), self._read(blocks)
                samples, arrays = held[window]
                for block, frame in samples[start - begin : stop - begin].tolist():
                    series_of = int(self.plan.blocks[block, 0])
                    yield series_of, frame, arrays[series_of, frame]

    def _read(self, blocks: Int) -> dict[tuple[int, int], tuple[NDArray[np.float32], ...]]:
        """Read blocks whole and return each of their frames: one array per variable, views of the blocks."""
        held: dict[tuple[int, int], tuple[NDArray[np.float32], ...]] = {}
        for series, first, last in blocks.tolist():
            arrays = [self.sources[series].read(variable, first, last) for variable in self.variables]
            held |= {(series, first + row): tuple(array[row] for array in arrays) for row in range(last - first)}
        return held

    def _tensors(self, batch: list[Sample]) -> dict[str, torch.Tensor]:
        """Join the frames of a batch and send them to the device."""
        series = np.array([number for number, _, _ in batch])
        arrays: dict[str, NDArray[Any]] = {
            "dataset": series,
            "frame": np.array([frame for _, frame, _ in batch]),
            "time": np.array([self.sources[number].time[frame] for number, frame, _ in batch]),
        }
        for column, variable in enumerate(self.variables):
            arrays[variable] = self._join([values[column] for _, _, values in batch], variable in PER_PARTICLE)
        arrays["type"] = self._join([self._codes[number] for number in series], True)
        if self.ragged:
            sizes = [len(self._codes[number]) for number in series]
            arrays["offsets"] = np.concatenate([[0], np.cumsum(sizes)])
        return {name: torch.from_numpy(array).to(self.device, non_blocking=True) for name, array in arrays.items()}

    def _join(self, parts: list[NDArray[Any]], per_particle: bool) -> NDArray[Any]:
        """Stack frames, or put their particles in a row when their number differs."""
        return np.concatenate(parts) if self.ragged and per_particle else np.stack(parts)


def _check_variables(variables: Sequence[str]) -> None:
    """Refuse names that are not per-frame variables of the schema."""
    for name in variables:
        if name not in FRAME_ARRAYS:
            raise InputError(f"variables: found {name!r}{did_you_mean(name, FRAME_ARRAYS)}")
