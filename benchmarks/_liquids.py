"""Published liquids of one bead that networks are trained on: their files, how a training begins, and its verdict.

Of Ivanov, Posysoev & Lyubartsev 2023, doi:10.1021/acs.jctc.3c00516. The data are not part of this project: they lie in
the folders LJ-data and configs/methanol-data of https://github.com/mikhail-a-ivanov/ML-IMC (GPL-3).
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cgstore.averages.pair import rdf
from cgstore.box import volume
from cgstore.learn.atomic import AtomicNetwork
from cgstore.learn.descriptors import Radial, scaling_of
from cgstore.learn.drawing import StatePoint
from cgstore.learn.inversion import invert
from cgstore.learn.potential import pair_weights, prior_of
from cgstore.learn.pretraining import Known
from cgstore.learn.sampler import sample
from cgstore.learn.settings import Sampling
from cgstore.readers.xtc import open_xtc
from cgstore.tables import Table
from cgstore.units import BOLTZMANN

Float = NDArray[np.float64]
ARGON_MASS, METHANOL_MASS = 39.792, 32.042  # u
METHANOL_TEMPERATURE, METHANOL_WIDTH, METHANOL_BINS = 298.15, 0.005, 300  # K, nm
TRAINED, HELD_OUT = (100, 60, 40, 10), (20, 30, 50, 70, 80, 90)  # % of methanol in water
# The published ones, of argon.
EIGHT = Radial(1.0, (12.5, *(400.0,) * 7), (0.0, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6))

_DESCRIBED = 10  # frames of each system that say what is usual of its descriptors
_LEARNED = 3  # frames of each system that a network learns a pair potential from


@dataclass(frozen=True, slots=True, eq=False)
class Liquid:
    """One system of one type of particles: frames of the reference, and the distribution that was published."""

    name: str
    temperature: float  # K
    frames: xr.Dataset
    g: Float  # (bin,)
    width: float  # nm
    first: float  # nm, where the first bin begins

    @property
    def r(self) -> Float:
        """Return the centres of the bins in nm."""
        return np.asarray(self.first + (np.arange(len(self.g)) + 0.5) * self.width)

    @property
    def kind(self) -> str:
        """Return the type of the particles."""
        return str(self.frames["type"].values[0])

    @property
    def density(self) -> float:
        """Return the mean number of particles in a nm³."""
        return float(self.frames.sizes["particle"] / volume(self.frames["box"].values).mean())

    def start(self, replicas: int) -> xr.Dataset:
        """Return a frame for each replica, their volumes at even quantiles of those of the reference."""
        order = np.argsort(volume(self.frames["box"].values), kind="stable")
        return self.frames.isel(frame=order[((np.arange(replicas) + 0.5) / replicas * len(order)).astype(int)])

    def few(self) -> xr.Dataset:
        """Return the frames that a network learns a pair potential from."""
        return self.frames.isel(frame=np.linspace(0, self.frames.sizes["frame"] - 1, _LEARNED + 2).astype(int)[1:-1])

    def measured(self, ds: xr.Dataset) -> Float:
        """Return g of frames (frame, bin) on the published bins, with the volume and the pairs of each."""
        box, count = ds["box"].values, ds.sizes["particle"]
        found = pair_weights(
            ds["position"].values, box, ds["type"].values.tolist(), known=[self.kind], spacing=1.0, nodes=1,
            width=self.width, bins=len(self.g), first=self.first,
        )[1][:, 0]  # fmt: skip
        shell = 4.0 / 3.0 * np.pi * np.diff((self.first + np.arange(len(self.g) + 1) * self.width) ** 3)
        return np.asarray(found * volume(box)[:, None] / (0.5 * count * (count - 1) * shell))

    def point(self, replicas: int, sigma: Float, inputs: Mapping[str, float]) -> StatePoint:
        """Return what a training is to reproduce."""
        start = self.start(replicas)
        g, error = self.g[None], sigma[None]
        return StatePoint(self.name, self.temperature, start, self.width, g, error, first=self.first, inputs=inputs)


class Verdict(NamedTuple):
    """How far a model is from a published distribution."""

    sse: float
    error: float  # of it, by the jackknife over replicas
    noise: float  # the part of it that the scatter of the replicas gives
    frames: int
    g: Float  # (bin,)
    scatter: Float  # (bin,), error of g


def dataset_of(path: Path, chosen: NDArray[np.int64], kind: str, mass: float) -> xr.Dataset:
    """Return frames of an xtc file as a dataset, all particles of one type; the times of the file are not used."""
    frames = open_xtc(path).read(chosen)
    names = np.full(frames.position.shape[1], kind)
    return xr.Dataset(
        {
            "position": (("frame", "particle", "xyz"), frames.position),
            "box": (("frame", "box_vector", "xyz"), frames.box),
        },
        {
            "time": ("frame", np.arange(len(chosen), dtype=np.float64)),
            "type": ("particle", names),
            "name": ("particle", names),
            "mass": ("particle", np.full(len(names), mass)),
        },
    )


def argon(folder: Path) -> Liquid:
    """Return argon: frame 0 of the trajectory is the lattice, and the label of a bin is its centre."""
    r, g = np.loadtxt(folder / "rdf-mean-p6.dat")[:, :2].T
    width = round(0.1 * float(r[1] - r[0]), 9)
    frames = dataset_of(next(folder.glob("*.xtc")), np.arange(1, 201), "Ar", ARGON_MASS)
    return Liquid("argon", float(folder.name.removesuffix("K")), frames, g, width, 0.1 * float(r[0]) - 0.5 * width)


def methanol(folder: Path, percent: int) -> Liquid:
    """Return methanol in implicit water at one composition; the first bin begins at zero."""
    (trajectory,), (published,) = ([*folder.rglob(f"{percent}CH3OH*{end}")] for end in (".xtc", ".rdf"))
    r, g = np.loadtxt(published).T
    if len(r) != METHANOL_BINS or abs(0.1 * r[0] - 0.5 * METHANOL_WIDTH) > 1e-9:
        raise SystemExit(f"{published}: expected {METHANOL_BINS} bins of {METHANOL_WIDTH} nm from zero")
    frames = dataset_of(trajectory, np.arange(201), "M", METHANOL_MASS)
    return Liquid(f"{percent} %", METHANOL_TEMPERATURE, frames, g, METHANOL_WIDTH, 0.0)


def model_of(
    liquids: Sequence[Liquid],
    *,
    radial: Radial,
    hidden: Sequence[int],
    told: Sequence[Mapping[str, float]],
    seed: int,
) -> AtomicNetwork:
    """Return a network for some liquids of the same particles, its prior and scaling as they show them."""
    kind, mean = liquids[0].kind, np.mean([one.g for one in liquids], axis=0)
    prior = {f"{kind}-{kind}": prior_of(mean, liquids[0].r, liquids[0].temperature)}
    blank = AtomicNetwork([kind], radial=radial, priors=prior, hidden=())
    seen = [blank.describe(*_some(one.frames, _DESCRIBED)).descriptor.numpy() for one in liquids]
    rows = np.concatenate([values.reshape(-1, values.shape[-1]) for values in seen])
    scaling = scaling_of(rows[None], np.zeros(len(rows), int), 1)
    given = {name: np.array([one[name] for one in told]) for name in told[0]}
    scaled = {name: (float(values.mean()), float(values.std() or values.mean())) for name, values in given.items()}
    return AtomicNetwork([kind], radial=radial, priors=prior, hidden=hidden, scaling=scaling, told=scaled, seed=seed)


def _some(ds: xr.Dataset, count: int) -> tuple[NDArray, NDArray, list[str]]:
    """Return positions, boxes and types of some frames, evenly spread."""
    few = ds.isel(frame=np.linspace(0, ds.sizes["frame"] - 1, count).astype(int))
    return few["position"].values, few["box"].values, few["type"].values.tolist()


def begun(
    liquid: Liquid,
    *,
    cutoff: float,
    iterations: int,
    sampling: Sampling,
    replicas: int,
    seed: int,
) -> tuple[Known, Float]:
    """Return the pair potential that a network begins as, by iterations of IBI, and the rmsd of g of each."""
    tables, history = invert(
        rdf(liquid.frames, r_max=cutoff, bin_width=0.005).compute(),
        liquid.start(replicas),
        temperature=liquid.temperature,
        iterations=iterations,
        sampling=sampling,
        seed=seed,
    )
    return Known(liquid.few(), tables, BOLTZMANN * liquid.temperature), history["rmsd"].values[:, 0]


def begun_all(
    liquids: Sequence[Liquid],
    *,
    one: int | None,
    cutoff: float,
    iterations: int,
    sampling: Sampling,
    replicas: int,
    seed: int,
) -> list[Known]:
    """Return what a network begins as in each liquid: its own pair potential, or everywhere that of one of them."""
    sources = range(len(liquids)) if one is None else [one] * len(liquids)
    options = {"cutoff": cutoff, "iterations": iterations, "sampling": sampling, "replicas": replicas}
    known = {n: begun(liquids[n], seed=seed + 100 * n, **options) for n in dict.fromkeys(sources)}
    for number, (_, rmsd) in known.items():
        print(f"{liquids[number].name} IBI, rmsd {rmsd.round(4).tolist()}; {time.process_time():.0f} s", flush=True)
    return [replace(known[n][0], frames=liquid.few()) for liquid, n in zip(liquids, sources, strict=True)]


def judged(
    model: AtomicNetwork | Mapping[str, Table],
    liquid: Liquid,
    *,
    sampling: Sampling,
    replicas: int,
    inputs: Mapping[str, float],
    seed: int,
) -> Verdict:
    """Sample a network, or tables of pairs, and hold it against the published distribution."""
    told = model.under(inputs) if isinstance(model, AtomicNetwork) else model
    found = sample(told, liquid.start(replicas), temperature=liquid.temperature, seed=seed, **asdict(sampling))
    each = liquid.measured(found).reshape(replicas, -1, len(liquid.g)).mean(1)
    total, mean = each.sum(0), each.mean(0)
    without = ((((total - each) / (replicas - 1)) - liquid.g) ** 2).sum(1)
    scatter = each.std(0, ddof=1) / replicas**0.5
    return Verdict(
        float(((mean - liquid.g) ** 2).sum()),
        float(((replicas - 1) / replicas * ((without - without.mean()) ** 2).sum()) ** 0.5),
        float((scatter**2).sum()),
        found.sizes["frame"],
        mean,
        scatter,
    )
