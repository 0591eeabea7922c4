"""Batches: the samples of one step gathered from blocks in memory into tensors, and multiplied where they are used.

For the processor the rows of a batch are gathered and multiplied in one go. For an accelerator they are gathered as the
integers that are stored, into pinned memory, copied while the device computes, and multiplied there: half the bytes
and the same bits.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cgstore.kernels.quantise import dequantise
from cgstore.learn.pool import Block
from cgstore.learn.reading import BlockReader
from cgstore.learn.source import Source
from cgstore.learn.streams import Int

__all__ = ["PER_PARTICLE", "Batches", "HostBatch"]

PER_PARTICLE = ("position", "velocity", "force")


@dataclass(frozen=True, slots=True, eq=False)
class HostBatch:
    """The samples of a step in memory of the host."""

    dataset: Int  # (sample,) number of the source
    tensors: dict[str, torch.Tensor]  # variables, and what is known of each sample


@dataclass(frozen=True, eq=False)
class Batches:
    """Makes batches of samples of blocks, for one device.

    Parameters
    ----------
    reader : knows what a block holds
    device : where the tensors go
    windowed : samples are pairs or windows, and have a dim for their moments
    integers : ship the integers as they are stored and multiply them on the device
    """

    reader: BlockReader
    device: torch.device
    windowed: bool
    integers: bool
    types: tuple[str, ...] = field(init=False)
    ragged: bool = field(init=False)

    def __post_init__(self) -> None:
        """Find what all batches have in common, and put the types of particles on the device."""
        sources = self.reader.sources
        types = np.unique(np.concatenate([source.type for source in sources]))
        codes = [np.searchsorted(types, source.type).astype(np.int64) for source in sources]
        sizes = np.array([len(code) for code in codes], np.int64)
        known: dict[str, Any] = {
            "types": tuple(types.tolist()),
            "ragged": len(set(sizes.tolist())) > 1,
            "_sizes": sizes,
            "_alike": all(np.array_equal(code, codes[0]) for code in codes),
            "_codes": torch.from_numpy(np.concatenate(codes)).to(self.device),
            "_first_code": torch.from_numpy(np.cumsum(sizes) - sizes).to(self.device),
            "_forms": {name: _form(sources, name, self.integers) for name in self.reader.variables},
        }
        for name, value in known.items():
            object.__setattr__(self, name, value)

    _sizes: Int = field(init=False)  # (source,) particles
    _alike: bool = field(init=False)  # all sources have the same particles
    _codes: torch.Tensor = field(init=False)  # of the types of all sources in a row
    _first_code: torch.Tensor = field(init=False)  # (source,)
    _forms: "Mapping[str, _Form]" = field(init=False)

    def gather(self, samples: Int, blocks: Mapping[int, "Future[Block]"]) -> HostBatch:
        """Gather samples (sample, 2), block and start, from blocks that are in memory or being read."""
        numbers, which = np.unique(samples[:, 0], return_inverse=True)
        held = [blocks[number].result() for number in numbers.tolist()]
        rows = samples[:, 1] - self.reader.plan.blocks[samples[:, 0], 1]
        places: Sequence[Any] = [slice(row, row + 1) for row in rows.tolist()]
        if self.windowed:
            shifts = [self.reader.rows(number) for number in numbers.tolist()]
            places = [row + shifts[block] for row, block in zip(rows.tolist(), which.tolist(), strict=True)]
        series = self.reader.plan.blocks[samples[:, 0], 0]
        dataset = np.array(self.reader.owners, np.int64)[series]
        time = self._times(samples[:, 1], series)
        known = {"dataset": dataset, "frame": samples[:, 1], "time": time if self.windowed else time[:, 0]}
        if self.ragged:
            known["offsets"] = np.concatenate([[0], np.cumsum(self._sizes[dataset])])
        tensors = {name: self._pinned(torch.from_numpy(np.ascontiguousarray(array))) for name, array in known.items()}
        for column, (name, form) in enumerate(self._forms.items()):
            arrays = [block[column] for block in held]
            found = [arrays[block][place] for block, place in zip(which.tolist(), places, strict=True)]
            tensors[name] = self._column(name, form, found, dataset)
        return HostBatch(dataset, tensors)

    @property
    def _moments(self) -> int:
        """Return the frames of a sample."""
        return len(self.reader.plan.series[0].moments)

    def _times(self, starts: Int, series: Int) -> NDArray[np.float64]:
        """Return the times of samples (sample, moment) in ps."""
        time = np.empty((len(starts), self._moments))
        for number in np.unique(series).tolist():
            mine = np.flatnonzero(series == number)
            source = self.reader.sources[self.reader.owners[number]]
            time[mine] = source.time[starts[mine, None] + np.array(self.reader.plan.series[number].moments)]
        return time

    def _pinned(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return a tensor in memory that an accelerator copies from while the host goes on."""
        return tensor.pin_memory() if self.device.type == "cuda" else tensor

    def _column(self, name: str, form: "_Form", found: Sequence[NDArray[Any]], dataset: Int) -> torch.Tensor:
        """Put one variable of each sample into one tensor."""
        joined = self.ragged and name in PER_PARTICLE
        moments = (self._moments,) if self.windowed else ()
        sizes = self._sizes[dataset].tolist()
        shape = (sum(sizes), *moments, *form.shape[1:]) if joined else (len(found), *moments, *form.shape)
        out = torch.empty(shape, dtype=form.dtype, pin_memory=self.device.type == "cuda")
        if joined:
            found = [sample.swapaxes(0, 1) if self.windowed else sample[0] for sample in found]
        if form.steps is not None and form.dtype.is_floating_point:
            _multiply(found, [form.steps[source] for source in dataset.tolist()], out.numpy().reshape(-1))
        elif found:
            np.concatenate(found, out=out.numpy().reshape(-1, *found[0].shape[1:]), casting="same_kind")
        return out

    def send(self, batch: HostBatch) -> dict[str, torch.Tensor]:
        """Send a batch to the device, multiply its integers there, and add the types of its particles."""
        moved = {name: tensor.to(self.device, non_blocking=True) for name, tensor in batch.tensors.items()}
        if self.ragged:
            counts = moved["offsets"].diff()
            total = int(self._sizes[batch.dataset].sum())
            moved["batch"] = torch.arange(len(counts), device=self.device).repeat_interleave(counts, output_size=total)
        for name, form in self._forms.items():
            if form.steps is not None and not form.dtype.is_floating_point:
                moved[name] = self._multiplied(name, form, moved, batch.dataset)
        moved["type"] = self._types(moved, len(batch.dataset))
        return moved

    def _multiplied(self, name: str, form: "_Form", moved: Mapping[str, torch.Tensor], dataset: Int) -> torch.Tensor:
        """Multiply integers on the device, in float32, with the steps of their sources."""
        values, steps = moved[name].to(torch.float32), form.steps or ()
        if len(set(steps)) == 1:
            return values.mul_(float(steps[0] or 0))
        each = torch.from_numpy(np.array(steps, np.float32)[dataset]).to(self.device, non_blocking=True)
        each = each[moved["batch"]] if self.ragged and name in PER_PARTICLE else each
        return values.mul_(each.reshape(-1, *[1] * (values.ndim - 1)))

    def _types(self, moved: Mapping[str, torch.Tensor], samples: int) -> torch.Tensor:
        """Return the codes of the types, like a variable without xyz and moments."""
        if self.ragged:
            shift = self._first_code[moved["dataset"]] - moved["offsets"][:-1]
            return self._codes[torch.arange(len(moved["batch"]), device=self.device) + shift[moved["batch"]]]
        table = self._codes.reshape(len(self._sizes), -1)
        return table[0].expand(samples, -1) if self._alike else table[moved["dataset"]]


@dataclass(frozen=True, slots=True)
class _Form:
    """How a variable travels: as float32, or as the integers of all sources with their steps."""

    dtype: torch.dtype
    shape: tuple[int, ...]  # of a frame of the first source
    steps: tuple[np.float32 | None, ...] | None  # of each source, None where nothing is to be multiplied


def _form(sources: Sequence[Source], name: str, integers: bool) -> _Form:
    """Decide how a variable travels; integers do where every source has them."""
    numbers = [source.numbers[name] for source in sources]
    steps = tuple(one.step for one in numbers)
    kind = torch.float32
    if integers and all(step is not None for step in steps):
        kind = torch.int32 if any(one.dtype.itemsize > 2 for one in numbers) else torch.int16
    return _Form(kind, numbers[0].shape, None if all(step is None for step in steps) else steps)


def _multiply(found: Sequence[NDArray[Any]], steps: Sequence[np.float32 | None], out: NDArray[np.float32]) -> None:
    """Multiply the integers of each sample with its step in float32, one sample behind the other."""
    begin = 0
    for sample, step in zip(found, steps, strict=True):
        place = out[begin : begin + sample.size]
        begin += sample.size
        if step is None:
            place[...] = sample.reshape(-1)
        else:  # twice as fast as NumPy, which casts in pieces before it multiplies
            dequantise(sample.reshape(-1), step, place)
