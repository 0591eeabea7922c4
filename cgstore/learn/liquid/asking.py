"""A dataset asked for the Lennard-Jones parameters of a pair: its g(r) counted, the model asked, and doubts said.

Nothing here needs torch.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cgstore.box import volume
from cgstore.catalog import Entry
from cgstore.errors import PhysicsError
from cgstore.feature_tables.grids import PairGrid, rdf_on_grid
from cgstore.feature_tables.sources import Source
from cgstore.learn.liquid.family import Closest, closest
from cgstore.learn.liquid.features import Curves
from cgstore.learn.liquid.model import LiquidModel
from cgstore.units import BOLTZMANN

__all__ = ["PairAnswer", "curve_of", "invert_pair"]

Float = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class PairAnswer:
    """σ in nm and ε in kJ/mol of a pair, standard errors and 95 % intervals, and what speaks against them."""

    dataset: str
    pair: str
    model: str
    temperature: float  # K
    density: float  # nm⁻³, of all particles
    sigma: float
    sigma_error: float
    sigma_interval: tuple[float, float]
    epsilon: float
    epsilon_error: float
    epsilon_interval: tuple[float, float]
    reduced_density: float  # ρσ³
    reduced_temperature: float  # kT/ε
    outside: tuple[str, ...]  # in what it is unlike all that the model was trained on
    closest: Closest  # the fluid of the family with the nearest g(r), be the dataset one or not
    remarks: tuple[str, ...]  # in what the dataset is no simple liquid

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        return asdict(self)

    def text(self) -> str:
        """Say it to people."""
        kelvin = self.epsilon / BOLTZMANN
        lines = [
            f"{self.dataset} {self.pair} at {self.temperature:g} K, {self.density:.4g} nm⁻³, as a Lennard-Jones fluid:",
            f"  sigma    {self.sigma:.4f} ± {self.sigma_error:.4f} nm        95 %: {_ends(self.sigma_interval, 4)}",
            f"  epsilon  {self.epsilon:.4f} ± {self.epsilon_error:.4f} kJ/mol    95 %: "
            f"{_ends(self.epsilon_interval, 4)}    ({kelvin:.1f} K)",
            f"  rho* = {self.reduced_density:.3f}, T* = {self.reduced_temperature:.3f}; model {self.model}",
        ]
        lines += [f"  OUT OF RANGE: {words}" for words in self.outside]
        lines.append(_closest_words(self.closest))
        return "\n".join([*lines, *(f"  note: {words}" for words in self.remarks)])


def invert_pair(entry: Entry, pair: tuple[str, str], *, model: LiquidModel) -> PairAnswer:
    """Return the Lennard-Jones parameters whose fluid has the g(r) of a pair of a dataset, at its state.

    Parameters
    ----------
    entry : of the catalog, in a folder; what is counted is kept there
    pair : two types of particles
    model : of `cgstore.learn.liquid.model.read_model`

    Raises
    ------
    NotFound : there is no such pair
    PhysicsError : no temperature, no box, or half of it is shorter than the model looks

    Examples
    --------
    >>> invert_pair(catalog["argon/r1/cg"], ("AR", "AR"), model=read_model()).sigma  # doctest: +SKIP
    0.3404
    """
    source = Source(entry)
    curves = curve_of(source, "-".join(sorted(pair)), model.r)
    answers = model.predict(curves)
    ends = {level: answers.interval(level, model.quantiles)[0] for level in (0.95,)}
    sigma, epsilon = float(answers.sigma[0]), float(answers.epsilon[0])
    temperature, density = float(curves.temperature[0]), float(curves.density[0])
    low, high = ends[0.95][:, 0], ends[0.95][:, 1]
    return PairAnswer(
        dataset=entry.name,
        pair="-".join(sorted(pair)),
        model=str(model.about.get("name", "")),
        temperature=temperature,
        density=density,
        sigma=sigma,
        sigma_error=float(answers.sigma_error[0]),
        sigma_interval=(float(low[0]), float(high[0])),
        epsilon=epsilon,
        epsilon_error=float(answers.epsilon_error[0]),
        epsilon_interval=(float(low[1]), float(high[1])),
        reduced_density=density * sigma**3,
        reduced_temperature=BOLTZMANN * temperature / epsilon,
        outside=answers.outside[0],
        closest=closest(model.family, curves)[0],
        remarks=_remarks(source, pair),
    )


def curve_of(source: Source, pair: str, r: Float) -> Curves:
    """Return g(r) of a pair in bins with these centres, with the state point; NaN beyond half of the box.

    Where the error is not known, since the run is too short, it is that of independent counts, g/√n.

    Parameters
    ----------
    source : the dataset
    pair : "A-B"
    r : (bin,) nm, in equal steps
    """
    width = float(r[1] - r[0])
    low, high = f"{r[0] - 0.5 * width:.9g} nm", f"{r[-1] + 0.5 * width:.9g} nm"
    grid = PairGrid.model_validate({"pair": pair, "r_min": low, "r_max": high, "bins": len(r)})
    temperature = source.temperature
    found = rdf_on_grid(source, grid)
    g, error, count = (found[name].values[0].astype(np.float64) for name in ("rdf", "rdf_error", "count"))
    if not count.sum():
        raise PhysicsError(f"{source.name}: no two particles of {pair} are nearer than {r[-1]:g} nm")
    counted = g / np.sqrt(np.maximum(count, 1.0))
    error = np.where(np.isfinite(error) & (error > 0.0), error, counted)
    whole = np.full((2, len(r)), np.nan)
    whole[:, : len(g)] = g, error
    density = source.ds.sizes["particle"] / float(volume(source.box).mean())
    return Curves.of(r, whole[0], whole[1], temperature, density)


def _remarks(source: Source, pair: tuple[str, str]) -> tuple[str, ...]:
    """Say in what a dataset is no fluid of one kind of particle."""
    others = sorted(set(source.ds["type"].values.tolist()) - set(pair))
    said = []
    if others or pair[0] != pair[1]:
        more = f"particles of {', '.join(others[:6])} beside the pair" if others else "two kinds of particles"
        said.append(f"there are {more}; the model knows fluids of one kind, and is told the density of all particles")
    if "bond" in source.ds and source.ds.sizes.get("bond", 0):
        said.append("there are bonds; the model knows free particles, and pairs up to 3 bonds apart are left out")
    return tuple(said)


def _ends(interval: tuple[float, float], digits: int) -> str:
    """Show an interval."""
    return f"{interval[0]:.{digits}f} to {interval[1]:.{digits}f}"


def _closest_words(found: Closest) -> str:
    """Say which fluid is closest."""
    return (
        f"  closest  sigma {found.sigma:.4f} ± {found.sigma_error:.4f} nm, epsilon {found.epsilon:.4f} ± "
        f"{found.epsilon_error:.4f} kJ/mol ({found.epsilon / BOLTZMANN:.1f} K): its g(r) is off by {found.rmsd:.3f} "
        f"(rms), where errors are {found.noise:.3f}{', at the end of what was learned' if found.at_limit else ''}"
    )
