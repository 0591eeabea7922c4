"""A trained model of simple liquids: from g(r) and a state point to σ and ε with errors, and whether it may be asked.

Everything is in one .npz without pickles; nothing here needs torch.
"""

import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cgstore.documents import did_you_mean
from cgstore.errors import InputError, IntegrityError
from cgstore.learn.liquid.family import Family
from cgstore.learn.liquid.features import SCALINGS, Curves, Scaling, Seen, seen
from cgstore.learn.liquid.range import Range
from cgstore.plain_files import read_plain

__all__ = ["LEVELS", "SHIPPED", "Answers", "LiquidModel", "calibrated", "inputs_of", "mixture", "read_model"]

Float = NDArray[np.float64]

LEVELS = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.683, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95])
SHIPPED = Path(__file__).parent / "models" / "lennard_jones.npz"
_FORMAT = 2
_MOST_BYTES = 2**26
_LEAST, _MOST = -12.0, 6.0  # as in training
_ONE_SIGMA = 0.683


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """σ in nm and ε in kJ/mol of several systems with standard errors, and what speaks against them."""

    sigma: Float  # (row,)
    sigma_error: Float
    epsilon: Float
    epsilon_error: Float
    relative_error: Float  # (row, 2) of σ and ε: the scale of the calibrated intervals
    disagreement: Float  # (row, 2) the part of it in which the networks differ
    outside: tuple[tuple[str, ...], ...]  # of each row: in what it is unlike all that was trained on

    def interval(self, level: float, quantiles: Float) -> Float:
        """Return the ends of the intervals that hold the truth with this probability, (row, 2, 2)."""
        width = np.array([np.interp(level, LEVELS, row) for row in quantiles])
        factor = np.exp(self.relative_error * width)
        centre = np.stack([self.sigma, self.epsilon], 1)
        return np.stack([centre / factor, centre * factor], axis=-1)


@dataclass(frozen=True, slots=True, eq=False)
class LiquidModel:
    """An ensemble of networks, its calibration, and the range in which it was trained."""

    scaling: Scaling
    r: Float  # (bin,) nm, of the g(r) that it takes
    feature_mean: Float
    feature_scale: Float  # (feature,)
    answer_mean: Float
    answer_scale: Float  # (2,) of ln σ and ln ε in units of the liquid
    weights: tuple[Float, ...]  # (member, in, out)
    biases: tuple[Float, ...]  # (member, 1, out)
    quantiles: Float  # (2, level): half widths of intervals in units of the scale, found on validation data
    range: Range
    family: Family  # g of all Lennard-Jones fluids, for what is none
    about: Mapping[str, Any]  # the card: what it was trained on, how, and how well

    def predict(self, curves: Curves) -> Answers:
        """Return σ and ε with their errors.

        Raises
        ------
        InputError : another grid of distances
        PhysicsError : g(r) is not known as far as the networks look
        """
        self.check_grid(curves.r)
        sight = seen(curves, self.scaling)
        mean, relative, apart = self.answers(sight)
        scale = np.exp(mean) * np.stack([sight.length, sight.energy], 1)
        error = relative * np.array([np.interp(_ONE_SIGMA, LEVELS, row) for row in self.quantiles])
        outside = self.range.outside(curves, sight, scale)
        return Answers(
            scale[:, 0], scale[:, 0] * error[:, 0], scale[:, 1], scale[:, 1] * error[:, 1], relative, apart, outside
        )

    def check_grid(self, r: Float) -> None:
        """Refuse another grid of distances.

        Raises
        ------
        InputError : it is another one
        """
        if len(r) != len(self.r) or not np.allclose(r, self.r, atol=1e-6):
            raise InputError(
                f"found g(r) at {len(r)} distances from {r[0]:g} to {r[-1]:g} nm; the model takes {len(self.r)} from "
                f"{self.r[0]:g} to {self.r[-1]:g} nm"
            )

    def answers(self, sight: Seen) -> tuple[Float, Float, Float]:
        """Return ln σ and ln ε in units of the liquids, their standard deviations before calibration, and the part
        of these in which the members differ; (row, 2) each.
        """
        x = (inputs_of(self.range.scores(sight), sight) - self.feature_mean) / self.feature_scale
        mean, total, apart = mixture(self.weights, self.biases, x)
        return self.answer_mean + self.answer_scale * mean, self.answer_scale * total, self.answer_scale * apart

    def arrays(self) -> dict[str, np.ndarray]:
        """Return everything as arrays for `write_arrays`; numbers of networks as float32."""
        found: dict[str, np.ndarray] = {
            "format": np.array(_FORMAT),
            "scaling": np.array(self.scaling),
            "about": np.array(json.dumps(dict(self.about), ensure_ascii=False, sort_keys=True)),
        }
        found |= {name: getattr(self, name) for name in _ARRAYS}
        for n, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            found |= {f"weight_{n}": weight.astype(np.float32), f"bias_{n}": bias.astype(np.float32)}
        for part, kept in (("range", self.range.arrays()), ("family", self.family.arrays())):
            found |= {f"{part}_{name}": array for name, array in kept.items()}
        return found


_ARRAYS = ("r", "feature_mean", "feature_scale", "answer_mean", "answer_scale", "quantiles")


def mixture(weights: Sequence[Float], biases: Sequence[Float], features: Float) -> tuple[Float, Float, Float]:
    """Return what an ensemble answers to features (row, feature): mean, standard deviation, and the part of it in
    which its members differ, (row, answer) each.

    Notes
    -----
    A mixture of normal distributions has the variance ⟨s² + m²⟩ − ⟨m⟩².
    """
    x = features[None]
    for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
        x = x @ weight + bias
        x = x / (1.0 + np.exp(-np.clip(x, -60.0, 60.0)))
    mean, log_variance = np.split(x @ weights[-1] + biases[-1], 2, axis=-1)
    apart = mean.var(axis=0)
    total = np.exp(np.clip(log_variance, _LEAST, _MOST)).mean(axis=0) + apart
    return mean.mean(axis=0), np.sqrt(total), np.sqrt(apart)


def inputs_of(scores: Float, sight: Seen) -> Float:
    """Return what goes into the networks: principal components of g, the state, and how large the errors are."""
    return np.concatenate([scores, sight.state], axis=1)


def calibrated(deviation: ArrayLike) -> Float:
    """Return half widths of intervals (2, level) from deviations (row, 2) in units of the predicted scale.

    Notes
    -----
    Of n validation systems the ⌈(n + 1) p⌉-th smallest |deviation|: an interval so wide holds a new system of the same
    kind with probability p or a little more, whatever the distribution (split conformal prediction; Lei et al. 2018,
    doi:10.1080/01621459.2017.1307116).

    Examples
    --------
    >>> z = np.random.default_rng(1).standard_normal((4000, 2))
    >>> [float(w.round(1)) for w in calibrated(z)[0, [6, 12]]]  # 68.3 and 95 %
    [1.0, 2.0]
    """
    size = np.sort(np.abs(np.asarray(deviation, np.float64)), axis=0)
    rank = np.minimum(np.ceil((len(size) + 1) * LEVELS).astype(int), len(size)) - 1
    return np.ascontiguousarray(size[rank].T)


def read_model(path: str | Path = SHIPPED) -> LiquidModel:
    """Read a model; the shipped one by default.

    Raises
    ------
    InputError : there is no such file
    IntegrityError : it is no model of liquids
    """
    try:
        content = read_plain(Path(path), most=_MOST_BYTES)
    except (FileNotFoundError, IsADirectoryError) as error:
        raise InputError(f"{path}: no such file; expected the model.npz of a fit of the kind liquid_state") from error
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as kept:
            arrays = {name: kept[name] for name in kept.files}
        return _model_of(arrays)
    except (KeyError, ValueError, TypeError, EOFError, OSError, zipfile.BadZipFile) as error:
        raise IntegrityError(f"{path}: not a model of liquids: {error}; train again") from error


def _model_of(arrays: Mapping[str, np.ndarray]) -> LiquidModel:
    """Return the model of arrays of a file."""
    scaling = str(arrays["scaling"])
    if int(arrays["format"]) != _FORMAT:
        raise ValueError(f"found format {int(arrays['format'])}, expected {_FORMAT}")
    if scaling not in SCALINGS:
        raise ValueError(f"found scaling {scaling!r}{did_you_mean(scaling, SCALINGS)}")
    layers = sum(name.startswith("weight_") for name in arrays)
    numbers = {name: np.asarray(arrays[name], np.float64) for name in _ARRAYS}
    weights = tuple(np.asarray(arrays[f"weight_{n}"], np.float64) for n in range(layers))
    biases = tuple(np.asarray(arrays[f"bias_{n}"], np.float64) for n in range(layers))
    if not all(np.isfinite(a).all() for a in (*numbers.values(), *weights, *biases)):
        raise ValueError("found numbers that are not finite")
    return LiquidModel(
        scaling=scaling,
        weights=weights,
        biases=biases,
        range=Range.of_arrays(_part(arrays, "range_")),
        family=Family.of_arrays(_part(arrays, "family_")),
        about=json.loads(str(arrays["about"])),
        **numbers,
    )


def _part(arrays: Mapping[str, np.ndarray], start: str) -> dict[str, np.ndarray]:
    """Return the arrays whose names begin so, without that beginning."""
    return {name.removeprefix(start): array for name, array in arrays.items() if name.startswith(start)}
