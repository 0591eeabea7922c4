"""Radial symmetry functions of Behler and Parrinello: what surrounds a particle, averaged over particles and frames."""

from typing import Annotated, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from pydantic import Field

from cgstore.averages.counting import count_blocks
from cgstore.averages.pair import rdf_counter
from cgstore.documents import Length
from cgstore.errors import InputError
from cgstore.feature_tables.registry import Column, Feature, Parameters

__all__ = ["FEATURES", "g2"]

_WIDTH = 0.001  # nm, of the bins of distances that stand for the distances
_NUMBERS = 2**22  # counted at once

Width = Annotated[float, Field(ge=0)]


class _Symmetry(Parameters):
    """The functions: those of argon by Ivanov, Posysoev & Lyubartsev, doi:10.1021/acs.jctc.3c00516."""

    pairs: tuple[str, ...] | None = None  # "A-B": neighbours B of particles A; all without it
    eta: tuple[Width, ...] = (12.5, *(400.0,) * 7)  # nm⁻²
    shift: tuple[Length, ...] = (0.0, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6)  # nm
    cutoff: Annotated[Length, Field(gt=0)] = 1.0

    def model_post_init(self, context: Any) -> None:
        """Refuse functions without one of their numbers."""
        if len(self.eta) != len(self.shift) or not self.eta:
            raise ValueError(f"found {len(self.eta)} eta and {len(self.shift)} shifts, expected as many, one at least")


def g2(r: NDArray[np.float64], *, eta: float, shift: float, cutoff: float) -> NDArray[np.float64]:
    """Return exp(−η (r − r_s)²) ½ (cos(π r / r_c) + 1), zero beyond the cutoff; Behler & Parrinello 2007.

    Notes
    -----
    doi:10.1103/PhysRevLett.98.146401

    Examples
    --------
    >>> g2(np.array([0.0, 0.5, 1.0]), eta=0.0, shift=0.0, cutoff=1.0).round(3).tolist()
    [1.0, 0.5, 0.0]
    """
    smooth = 0.5 * (np.cos(np.pi * r / cutoff) + 1.0)
    return np.where(r < cutoff, np.exp(-eta * (r - shift) ** 2) * smooth, 0.0)


def _of_frames(ds: xr.Dataset, parameters: _Symmetry) -> xr.Dataset:
    """Return mean symmetry functions (frame, pair, function): the sum over neighbours, averaged over particles."""
    names, number = np.unique(ds["type"].values.astype(str), return_counts=True)
    count = dict(zip(names.tolist(), number.tolist(), strict=True))
    wanted = _wanted(str(ds.attrs.get("name", "this dataset")), count, parameters)
    unordered = sorted({"-".join(sorted(pair)) for pair in wanted})
    counter = rdf_counter(ds, pairs=unordered, r_max=parameters.cutoff, bin_width=_WIDTH, exclude_bonded=0)
    edges = counter.histograms[0].edges
    r = 0.5 * (edges[1:] + edges[:-1])
    chosen = zip(parameters.eta, parameters.shift, strict=True)
    weight = np.stack(
        [g2(r, eta=eta, shift=shift, cutoff=parameters.cutoff) for eta, shift in chosen], 1
    )  # (bin, function)
    frames = max(1, _NUMBERS // (len(unordered) * len(r)))
    parts = []
    for start in range(0, ds.sizes["frame"], frames):
        ((blocks,),) = count_blocks(ds.isel(frame=slice(start, start + frames)), [counter], length=1)
        parts.append(blocks["count"].transpose("block", "pair", "r").values @ weight)
    sums = np.concatenate(parts)  # (frame, unordered pair, function)
    rows = [unordered.index("-".join(sorted(pair))) for pair in wanted]
    both = np.array([(2.0 if a == b else 1.0) / count[a] for a, b in wanted])
    values = sums[:, rows] * both[:, None]
    return xr.Dataset(
        {"{}": (("frame", "pair", "function"), values)},
        {"pair": np.array(["-".join(pair) for pair in wanted], np.str_)},
    )


def _wanted(title: str, count: dict[str, int], parameters: _Symmetry) -> list[tuple[str, str]]:
    """Return centre and neighbour of each pair asked for."""
    every = [(a, b) for a in count for b in count]
    if parameters.pairs is None:
        return every
    known = {"-".join(pair): pair for pair in every}
    if missing := [pair for pair in parameters.pairs if pair not in known]:
        raise InputError(f"{title}: found no pair of types {missing[0]!r}; there are {', '.join(known)}")
    return [known[pair] for pair in parameters.pairs]


def _functions(parameters: _Symmetry) -> dict[str, tuple[NDArray[np.float64], str]]:
    """Return the number of each function; what they are stands in the parameters of the table."""
    return {"function": (np.arange(len(parameters.eta), dtype=np.float64), "1")}


FEATURES = (
    Feature(
        name="symmetry",
        version=1,
        compute=_of_frames,
        columns=lambda parameters: (
            Column("{}", ("pair", "function"), "1", "mean radial symmetry functions: of a particle of the first type"),
        ),
        meaning="Behler–Parrinello G2 of each pair of types, mean over particles and frames, with its error",
        parameters=_Symmetry,
        grids=_functions,
        inputs=("content",),
        locality="frame",
    ),
)
