"""The range of a model of liquids: by which g(r) and states it was trained, and whether another one is like them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cgstore.learn.liquid.features import Curves, Seen
from cgstore.units import BOLTZMANN

__all__ = ["Range", "components_of", "range_of"]

Float = NDArray[np.float64]

_LOOKED_AT = 3  # of them, when neighbours are looked for; the others are noise
_FLOOR = 0.01  # of the errors of g
_RARE = 0.99  # of the validation systems are nearer or more alike


@dataclass(frozen=True, slots=True, eq=False)
class Range:
    """What training data look like: their principal components, the places of all of them, and the limits."""

    mean: Float  # (point,) of g
    components: Float  # (component, point)
    scale: Float  # (coordinate,) standard deviations of the coordinates
    places: Float  # (row, coordinate) of the training systems
    limits: Float  # (2,) distance to the nearest training system, and deviation of g in units of its error
    state: Float  # (2, 2) lowest and highest ρσ³, and kT/ε

    def outside(self, curves: Curves, sight: Seen, found: Float) -> tuple[tuple[str, ...], ...]:
        """Say of each row in what it is unlike the training data; nothing where it is like them.

        Parameters
        ----------
        curves, sight : the liquids, and what the network saw of them
        found : (row, 2) σ and ε that it answered
        """
        distance, deviation = self.measures(curves, sight)
        reduced = np.stack([curves.density * found[:, 0] ** 3, BOLTZMANN * curves.temperature / found[:, 1]], 1)
        words: list[tuple[str, ...]] = []
        for row in range(len(curves)):
            said = []
            for n, name in enumerate(("ρσ³", "kT/ε")):
                low, high = self.state[n]
                if not low <= reduced[row, n] <= high:
                    said.append(f"{name} is {reduced[row, n]:.3g}, trained on {low:.3g} to {high:.3g}")
            if distance[row] > self.limits[0]:
                said.append(
                    f"the nearest g(r) and state that it was trained on is {distance[row] / self.limits[0]:.1f} "
                    "times as far away as for 99 % of new systems of the same kind"
                )
            if deviation[row] > self.limits[1]:
                said.append(
                    f"g(r) is not that of such a liquid at any state: the deviation is {deviation[row]:.1f} of its "
                    f"errors, at most {self.limits[1]:.1f} for 99 % of the systems it is meant for"
                )
            words.append(tuple(said))
        return tuple(words)

    def scores(self, sight: Seen) -> Float:
        """Return the principal components (row, component) of g."""
        return np.asarray((sight.curve - self.mean) @ self.components.T, np.float64)

    def measures(self, curves: Curves, sight: Seen) -> tuple[Float, Float]:
        """Return the distance to the nearest training system, and how far g is from what can be made of them."""
        scores = self.scores(sight)
        place = _coordinates(scores, curves, sight) / self.scale
        nearest = np.array([np.sqrt(((self.places - one) ** 2).sum(axis=1).min()) for one in place])
        rest = sight.curve - self.mean - scores @ self.components
        return nearest, np.sqrt((rest**2 / (sight.error**2 + _FLOOR**2)).mean(axis=1))

    def arrays(self) -> dict[str, Float]:
        """Return the arrays by name."""
        return {name: getattr(self, name) for name in _NAMES}

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, np.ndarray]) -> "Range":
        """Return what `arrays` gave."""
        return cls(**{name: np.asarray(arrays[name], np.float64) for name in _NAMES})


_NAMES = ("mean", "components", "scale", "places", "limits", "state")


def components_of(curve: Float, number: int) -> tuple[Float, Float]:
    """Return mean and first principal components (component, point) of curves (row, point)."""
    mean = curve.mean(axis=0)
    _, _, directions = np.linalg.svd(curve - mean, full_matrices=False)
    return mean, directions[:number]


def range_of(
    training: tuple[Curves, Seen, Float], watched: tuple[Curves, Seen], mean: Float, components: Float
) -> Range:
    """Return the range of training data, with limits that 99 % of the validation data keep.

    Parameters
    ----------
    training : curves, what is seen of them, and (row, 2) their true σ and ε
    watched : curves of validation systems, and what is seen of them
    mean, components : those of `components_of`
    """
    curves, sight, truth = training
    places = _coordinates((sight.curve - mean) @ components.T, curves, sight)
    scale = places.std(axis=0)
    reduced = np.stack([curves.density * truth[:, 0] ** 3, BOLTZMANN * curves.temperature / truth[:, 1]])
    state = np.stack([reduced.min(axis=1), reduced.max(axis=1)], 1)
    free = Range(mean, components, scale, places / scale, np.array([np.inf, np.inf]), state)
    limits = np.array([np.quantile(measure, _RARE) for measure in free.measures(*watched)])
    return replace(free, limits=limits)


def _coordinates(scores: Float, curves: Curves, sight: Seen) -> Float:
    """Return where liquids are: the first components of g, and the density in their own unit of length."""
    return np.concatenate([scores[:, :_LOOKED_AT], np.log(curves.density * sight.length**3)[:, None]], axis=1)
