"""Kernels on a device: what counts NumPy arrays with torch, on a GPU if there is one, in place of compiled code.

The frames of a task are moved to the device, counted there, and only counts come back.
"""

from functools import partial
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from cgstore.errors import InputError, MissingExtra
from cgstore.kernels import tensor_pairs, tensor_terms

if TYPE_CHECKING:
    import torch

__all__ = ["PairKernel", "TermKernel", "check_device", "pair_kernel", "term_kernel"]

# Bytes of one step. On a GPU a step must take much longer than its launch; a processor is quickest in its cache.
STEP_BYTES = {"cuda": 2**30, "xpu": 2**30, "cpu": 2**22}


class PairKernel(Protocol):
    """What counts pairs: `cgstore.kernels.pairs.count_pairs`, or the same on a device."""

    def __call__(
        self,
        position: np.ndarray,
        box: NDArray[np.float64],
        chosen: NDArray[np.int64],
        type_index: NDArray[np.int32],
        group: NDArray[np.int32],
        partner_start: NDArray[np.int64],
        partner: NDArray[np.int64],
        row: NDArray[np.int64],
        width: float,
        counts: NDArray[np.uint32],
        /,
    ) -> int:
        """Add to the counts; return the first frame with a position that is not finite, -1 if all is well."""


class TermKernel(Protocol):
    """What counts bonded terms: `cgstore.kernels.bonded.count_terms`, or the same on a device."""

    def __call__(
        self,
        position: np.ndarray,
        box: NDArray[np.float64],
        inverse: NDArray[np.float64],
        term: NDArray[np.int32],
        row: NDArray[np.int64],
        low: float,
        width: float,
        counts: NDArray[np.uint32],
        /,
    ) -> tuple[int, int, float]:
        """Add to the counts; return frame, term and value of the first that cannot be counted, frame -1 if none."""


def check_device(device: str) -> str:
    """Return the device as torch writes it, `"cuda:0"` for the first GPU.

    Parameters
    ----------
    device : "cuda", "cuda:1", "cpu" …

    Raises
    ------
    MissingExtra : torch is not installed
    InputError : there is no such device, or it has no float64

    Examples
    --------
    >>> check_device("cpu")
    'cpu'
    """
    try:
        import torch
    except ImportError as error:
        raise MissingExtra.of("torch", extra="learn", purpose=f'device="{device}"') from error
    there = _devices()
    expected = f"there {'is' if len(there) == 1 else 'are'} {', '.join(there)}; leave it out for the compiled kernels"
    try:
        found = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise InputError(f'device: found "{device}", which torch does not know; {expected}') from error
    name = found.type if found.type == "cpu" else f"{found.type}:{found.index or 0}"
    if name not in there:
        reason = ", which has no float64" if found.type == "mps" else ", which is not there"
        raise InputError(f'device: found "{device}"{reason}; {expected}')
    return name


def pair_kernel(device: str) -> PairKernel:
    """Return what counts pairs on a device, with the arguments of `cgstore.kernels.pairs.count_pairs`.

    Parameters
    ----------
    device : "cuda", "cuda:1", "cpu" …

    Raises
    ------
    MissingExtra : torch is not installed
    InputError : there is no such device

    Notes
    -----
    Counts differ from those of the compiled kernel, and between devices, only by pairs within 2e-7 r + 1e-9 of the box
    of an edge between bins: 8 of 3.6 million on the shipped bilayer. What is returned can be sent to other processes.

    Examples
    --------
    >>> count = pair_kernel("cpu")
    >>> x, box = np.array([[[0.1, 0, 0], [0.9, 0, 0]]], np.float32), np.eye(3)[None]
    >>> ids, none = np.arange(2), np.empty(0, np.int64)
    >>> counts = np.zeros((1, 1, 4), np.uint32)
    >>> count(x, box, ids, np.zeros(2, np.int32), ids.astype(np.int32), np.zeros(3, np.int64), none,
    ...       np.zeros((1, 1), np.int64), 0.11, counts)
    -1
    >>> counts.tolist()
    [[[0, 1, 0, 0]]]
    """
    return partial(_count_pairs, check_device(device))


def term_kernel(device: str) -> TermKernel:
    """Return what counts bonded terms on a device, with the arguments of `cgstore.kernels.bonded.count_terms`.

    Parameters and errors as `pair_kernel`; values are float64, those of the compiled kernel float32.

    Examples
    --------
    >>> count = term_kernel("cpu")
    >>> x, no_box = np.array([[[0, 0, 0], [0.3, 0, 0]]], np.float32), np.zeros((1, 3, 3))
    >>> counts = np.zeros((1, 1, 4), np.uint32)
    >>> bond, row = np.array([[0, 1]], np.int32), np.zeros(1, np.int64)
    >>> count(x, no_box, no_box, bond, row, 0.0, 0.11, counts)
    (-1, -1, 0.0)
    >>> counts.tolist()
    [[[0, 0, 1, 0]]]
    """
    return partial(_count_terms, check_device(device))


def _devices() -> list[str]:
    """List the devices that can count: the processor, and accelerators with float64."""
    import torch

    cuda = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    return ["cpu", *cuda, *(f"xpu:{index}" for index in range(torch.xpu.device_count()))]


def _tensor(array: np.ndarray, device: str) -> "torch.Tensor":
    """Copy an array to the device; arrays may be read-only, which tensors cannot be."""
    import torch

    return torch.tensor(array, device=device)


def _step_bytes(device: str) -> int:
    """Return how many bytes one step may take on a device."""
    return STEP_BYTES[device.partition(":")[0]]


def _count_pairs(
    device: str,
    position: np.ndarray,
    box: NDArray[np.float64],
    chosen: NDArray[np.int64],
    type_index: NDArray[np.int32],
    group: NDArray[np.int32],
    partner_start: NDArray[np.int64],
    partner: NDArray[np.int64],
    row: NDArray[np.int64],
    width: float,
    counts: NDArray[np.uint32],
) -> int:
    """Count pairs on a device."""
    first = np.repeat(np.arange(len(chosen)), np.diff(partner_start))
    once = first < partner  # partners are listed from both sides
    alone = len(np.unique(group)) == len(group)
    found = tensor_pairs.count_pairs(
        _tensor(position[:, chosen], device),
        _tensor(box, device),
        _tensor(type_index, device),
        _tensor(row, device),
        width=float(width),
        bins=counts.shape[2],
        excluded=_tensor(np.stack([first[once], partner[once]], axis=1), device) if once.any() else None,
        group=None if alone else _tensor(group, device),
        memory=_step_bytes(device),
    )
    return _add(counts, found.cpu().numpy())


def _count_terms(
    device: str,
    position: np.ndarray,
    box: NDArray[np.float64],
    inverse: NDArray[np.float64],
    term: NDArray[np.int32],
    row: NDArray[np.int64],
    low: float,
    width: float,
    counts: NDArray[np.uint32],
) -> tuple[int, int, float]:
    """Count bonded terms on a device."""
    there = _tensor(position, device)
    boxes = _tensor(box, device) if inverse.any() else None
    terms = _tensor(term, device)
    bins = counts.shape[2]
    found = tensor_terms.count_terms(
        there,
        boxes,
        terms,
        _tensor(row, device),
        low=float(low),
        width=float(width),
        bins=bins,
        memory=_step_bytes(device),
    )
    bad = _add(counts, found.cpu().numpy())
    if bad < 0:
        return -1, -1, 0.0
    one = slice(bad, bad + 1)
    values = tensor_terms.measure_terms(there[one], None if boxes is None else boxes[one], terms)[0].cpu().numpy()
    place = (values - low) / width
    last = bins + 1e-9 if term.shape[1] > 2 else bins
    which = int(np.flatnonzero(~((place >= 0.0) & (place < last)))[0])
    return bad, which, float(values[which])


def _add(counts: NDArray[np.uint32], found: NDArray[np.int32]) -> int:
    """Add what was found; return the first frame that is marked as not countable, -1 if there is none."""
    marked = np.flatnonzero((found < 0).any(axis=(1, 2)))
    if len(marked):
        return int(marked[0])
    counts[:, : found.shape[1]] += found.astype(np.uint32)
    return -1
