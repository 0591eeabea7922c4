"""Force matching: the potentials whose forces are nearest to those of the frames, in one linear least-squares problem.

Multiscale coarse-graining: Izvekov & Voth 2005, doi:10.1021/jp044629q; Noid et al. 2008, doi:10.1063/1.2938860. Forces
of cubic splines are linear in their coefficients, so the problem is its normal equations, `cgstore.inverse
.force_equations`, whose blocks also say how smooth the curves have to be and how well they are known.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from cgstore.errors import InputError, PhysicsError
from cgstore.inverse.filling import fill
from cgstore.inverse.force_basis import Curve, CurveTerm, ForceBasis
from cgstore.inverse.force_errors import block_errors
from cgstore.inverse.layout import thermal_energy
from cgstore.inverse.sampled import FEWEST
from cgstore.tables import BondedTable, Table, bonded_table_of, table_of

__all__ = ["MatchedForces", "force_deviation", "match_forces"]

Float = NDArray[np.float64]
Bool = NDArray[np.bool_]

_FINER = 4  # places of the curves per interval
_SMOOTHINGS = (0.0, *np.logspace(-8, 0, 9).tolist())
_LEAST = 1e-12  # of the scaled matrix: keeps splines that only rounding knows of from being infinite
_FOLDS = 5
_BINS = {"pair": "r", "bond": "r", "angle": "theta", "dihedral": "phi"}


@dataclass(frozen=True, slots=True, eq=False)
class MatchedForces:
    """Potentials of all kinds, as tables that can be sampled and written, and what is known about them.

    `cgstore.learn.molecular.Molecular(m.pairs, m.bonds, m.angles, m.dihedrals, exclude_bonded)` is the model.
    """

    pairs: dict[str, Table]
    bonds: dict[str, BondedTable]
    angles: dict[str, BondedTable]
    dihedrals: dict[str, BondedTable]
    curves: Mapping[CurveTerm, xr.Dataset]  # on (kind, place): potential, force, their errors, extrapolated, count
    coefficient: Float  # (column,) kJ/mol, of the splines of the basis, walls included
    basis: ForceBasis
    smoothing: float  # of the third differences, in units of what the data say of a spline on average
    deviation: xr.Dataset  # of the data that were matched, see `force_deviation`; `predicted` of frames left out


def match_forces(
    equations: xr.Dataset,
    *,
    temperature: float | None = None,
    smoothing: float | Literal["predicted"] = "predicted",
    fewest: float = FEWEST,
) -> MatchedForces:
    """Return the potentials whose forces are nearest to the forces of the frames.

    Parameters
    ----------
    equations : of `cgstore.inverse.force_equations.force_equations`, or of several datasets joined
    temperature : K, only for the height of walls where nothing was sampled; that of the dataset by default
    smoothing : weight of the third differences of the coefficients; "predicted" takes the one, zero among them, with
        which the forces of blocks that were left out are predicted best
    fewest : pairs or terms that make an interval sampled

    Returns
    -------
    MatchedForces : energies of bonds, angles and dihedrals are relative to their minimum. `extrapolated` intervals
        are walls, as in all potentials of `cgstore.inverse`; errors are NaN there, and where there are too few blocks

    Raises
    ------
    PhysicsError : a kind was not sampled in any interval, or no temperature is known
    InputError : a smoothing that is negative

    Notes
    -----
    Least squares of |f − G c|² over all components of the forces of all beads, U = Σ c B with cubic B-splines B. With
    independent blocks b and their scores s_b = G_bᵀ (f_b − G_b c), the curve without a block differs by −A⁻¹ s_b to
    first order; errors are the jackknife over blocks merged to longer than their correlation, see
    `cgstore.averages.estimates.mean_and_error`. They hold what forces scatter, which of mapped beads is most of the
    force, but not what smoothing bends, nor that the best pair potentials need not give the reference's structure.

    Examples
    --------
    >>> from cgstore.inverse.force_basis import force_basis
    >>> from cgstore.inverse.force_equations import force_equations
    >>> x = np.random.default_rng(1).random((256, 2, 3)) * 0.9 + 0.2
    >>> d = x[:, 0] - x[:, 1]
    >>> r = np.linalg.norm(d, axis=1, keepdims=True)
    >>> f = np.where(r < 1.0, 200.0 * (1.0 - r), 0.0) * d / r  # a spring that ends at 1 nm
    >>> dims = ("frame", "particle", "xyz")
    >>> two = xr.Dataset(
    ...     {"position": (dims, x), "force": (dims, np.stack([f, -f], axis=1)),
    ...      "box": (("frame", "box_vector", "xyz"), [3.0 * np.eye(3)] * 256)}, {"type": ("particle", ["A", "A"])})
    >>> equations = force_equations(two, force_basis(two, cutoff=1.0, spacing=0.1))
    >>> found = match_forces(equations, temperature=300.0, fewest=1)
    >>> float(found.pairs["A-A"].energy[200].round(3))  # at 0.4 nm
    36.0
    """
    question = "match_forces"
    known = equations.attrs.get("temperature") if temperature is None else temperature
    if known is None:
        raise PhysicsError(f"{question}: no temperature is known, which says how high walls are; give temperature=")
    kT = thermal_energy(float(known), question=question)
    basis = ForceBasis.of(equations.attrs["parameters"]["basis"])
    system = _system(equations.compute(), basis)
    _check_sampled(system, fewest, question)
    if smoothing == "predicted":
        level, predicted = _best_smoothing(system)
    elif smoothing >= 0.0:
        level, predicted = float(smoothing), _predicted(system, float(smoothing))
    else:
        raise InputError(f'{question}: found smoothing = {smoothing!r}, expected "predicted" or a number from 0 on')
    solved = _solve(system, level)
    return _matched(system, solved, level, predicted, kT, fewest)


class _System(NamedTuple):
    """Normal equations of parameters, in memory."""

    basis: ForceBasis
    rules: Float  # (column, parameter), those with data
    matrix: Float  # (block, parameter, parameter)
    vector: Float  # (block, parameter)
    square: Float  # (block,)
    number: Float  # (block,)
    weight: Float  # (block,)
    rough: Float  # (parameter, parameter) third differences, scaled to what the data say of each curve
    level: Float  # (parameter, parameter) means of bonded curves, which forces say nothing about
    hits: Float  # (column,)


class _Solved(NamedTuple):
    """Parameters, and what each block would change of them."""

    parameter: Float  # (parameter,)
    influence: Float  # (block, parameter)


def _system(equations: xr.Dataset, basis: ForceBasis) -> _System:
    """Apply the boundary rules, and leave out parameters without data."""
    matrix, vector = equations["matrix"].values, equations["vector"].values
    blocks = [curve.rules() for curve in basis.curves]
    rules = np.zeros((basis.columns, sum(block.shape[1] for block in blocks)))
    rough, level = np.zeros((basis.columns, basis.columns)), np.zeros((rules.shape[1], rules.shape[1]))
    told = np.diag(matrix.sum(axis=0))
    column = parameter = 0
    for curve, block in zip(basis.curves, blocks, strict=True):
        here = slice(column, column + block.shape[0])
        mine = slice(parameter, parameter + block.shape[1])
        rules[here, mine] = block
        heard = told[here][told[here] > 0.0]
        rough[here, here] = curve.roughness() * (heard.mean() / 20.0 if len(heard) else 1.0)
        if curve.term != "pair":
            level[mine, mine] = heard.mean() / block.shape[1] if len(heard) else 1.0
        column, parameter = here.stop, mine.stop
    used = np.einsum("cp,cd,dp->p", rules, matrix.sum(axis=0), rules, optimize=True) > 0.0
    rules = rules[:, used]
    return _System(
        basis,
        rules,
        np.einsum("cp,bcd,dq->bpq", rules, matrix, rules, optimize=True),
        vector @ rules,
        equations["square"].values,
        equations["number"].values,
        equations["weight"].values,
        rules.T @ rough @ rules,
        level[np.ix_(used, used)],
        equations["count"].values.sum(axis=0).astype(np.float64),
    )


def _check_sampled(system: _System, fewest: float, question: str) -> None:
    """Raise PhysicsError if a kind was not sampled."""
    for number, curve in enumerate(system.basis.curves):
        hits = _hits(system, number)
        if not (hits >= fewest).any():
            raise PhysicsError(
                f"{question}: the {curve.term} {curve.kind} has {fewest:g} hits in none of its {curve.intervals} "
                "intervals; use more frames or wider intervals, a larger cutoff, or leave the kind out"
            )


def _hits(system: _System, number: int) -> Float:
    """Return the pairs or terms in each interval of a curve."""
    first = system.basis.first(number)
    return system.hits[first : first + system.basis.curves[number].intervals]


def _inverse(system: _System, matrix: Float, smoothing: float) -> Float:
    """Return the inverse of the matrix of normal equations with its regularisation."""
    from scipy.linalg import cho_factor, cho_solve

    whole = matrix + smoothing * system.rough + system.level
    diagonal = np.diag(whole)  # zero where only the blocks that were left out had data
    scale = 1.0 / np.sqrt(np.where(diagonal > 0.0, diagonal, 1.0))
    scaled = whole * np.outer(scale, scale) + _LEAST * np.eye(len(scale))
    return np.asarray(cho_solve(cho_factor(scaled), np.diag(scale)) * scale[:, None], np.float64)


def _solve(system: _System, smoothing: float) -> _Solved:
    """Solve the equations of all blocks."""
    inverse = _inverse(system, system.matrix.sum(axis=0), smoothing)
    parameter = inverse @ system.vector.sum(axis=0)
    share = system.weight / system.weight.sum()
    score = system.vector - system.matrix @ parameter
    score -= share[:, None] * ((smoothing * system.rough + system.level) @ parameter)
    return _Solved(parameter, score @ inverse)


def _rest(system: _System, blocks: Bool, parameter: Float) -> float:
    """Return the sum of squares of what parameters leave of the forces of some blocks."""
    matrix, vector = system.matrix[blocks].sum(axis=0), system.vector[blocks].sum(axis=0)
    return float(system.square[blocks].sum() - 2.0 * vector @ parameter + parameter @ matrix @ parameter)


def _predicted(system: _System, smoothing: float) -> float:
    """Return the root mean square deviation of forces of blocks that were left out; NaN for one block."""
    blocks = len(system.weight)
    folds = np.arange(blocks) * min(_FOLDS, blocks) // blocks
    if blocks < 2:
        return float("nan")
    rest = 0.0
    for fold in range(folds[-1] + 1):
        out = folds == fold
        inverse = _inverse(system, system.matrix[~out].sum(axis=0), smoothing)
        rest += _rest(system, out, inverse @ system.vector[~out].sum(axis=0))
    return float(np.sqrt(max(rest, 0.0) / system.number.sum()))


def _best_smoothing(system: _System) -> tuple[float, float]:
    """Return the smoothing with which blocks left out are predicted best, and how well."""
    if len(system.weight) < 2:
        return 0.0, float("nan")
    found = [_predicted(system, smoothing) for smoothing in _SMOOTHINGS]
    best = int(np.argmin(found))
    return _SMOOTHINGS[best], found[best]


def _matched(
    system: _System, solved: _Solved, smoothing: float, predicted: float, kT: float, fewest: float
) -> MatchedForces:
    """Return curves, tables and what is left of the forces."""
    pairs: dict[str, Table] = {}
    tables: dict[CurveTerm, dict[str, BondedTable]] = {"bond": {}, "angle": {}, "dihedral": {}}
    rows: dict[CurveTerm, list[xr.Dataset]] = {"pair": [], "bond": [], "angle": [], "dihedral": []}
    coefficient = np.zeros(system.basis.columns)
    for number, curve in enumerate(system.basis.curves):
        first = system.basis.first(number)
        here = slice(first, first + curve.columns)
        known = _known(curve, _hits(system, number), fewest)
        row = _curve(system, solved, number, known, kT)
        rows[curve.term].append(row)
        coefficient[here] = _coefficients(
            curve, system.rules[here] @ solved.parameter, _hits(system, number) >= fewest, row
        )
        x, energy = curve.places(_FINER), row["potential"].values
        if curve.term == "pair":
            pairs[curve.kind] = table_of(x, energy, curve.high, switch=0.0)
        else:
            tables[curve.term][curve.kind] = bonded_table_of(curve.term, x, energy)
    curves = {term: xr.concat(found, f"{term}_kind") for term, found in rows.items() if found}
    deviation = _deviation(system, solved.parameter, predicted)
    bonded = (tables["bond"], tables["angle"], tables["dihedral"])
    return MatchedForces(pairs, *bonded, curves, coefficient, system.basis, smoothing, deviation)


def _deviation(system: _System, parameter: Float, predicted: float) -> xr.Dataset:
    """Return root mean squares of forces, and of what is left of them."""
    everything = np.ones(len(system.weight), np.bool_)
    rest = np.sqrt(max(_rest(system, everything, parameter), 0.0) / system.number.sum())
    whole = np.sqrt(system.square.sum() / system.number.sum())
    unit = {"units": "kJ/mol/nm"}
    return xr.Dataset(
        {
            "force": ((), whole, unit | {"long_name": "root mean square of the components of forces"}),
            "deviation": ((), rest, unit | {"long_name": "what the potentials leave of it"}),
            "predicted": ((), predicted, unit | {"long_name": "what they leave of blocks that were left out"}),
        }
    )


def _known(curve: Curve, hits: Float, fewest: float) -> Bool:
    """Return which places (place,) are in or next to an interval that was sampled."""
    sampled = hits >= fewest
    known = np.zeros(_FINER * curve.intervals + 1, np.bool_)
    for k in range(_FINER + 1):
        known[k : k + _FINER * curve.intervals : _FINER] |= sampled
    if curve.term == "dihedral":
        known[0] = known[-1] = known[0] | known[-1]
    return known


def _coefficients(curve: Curve, solved: Float, sampled: Bool, row: xr.Dataset) -> Float:
    """Return the coefficients of a curve: those found where it was sampled, elsewhere those of its walls."""
    values, energy = curve.values(curve.places(_FINER)), row["potential"].values
    first = int(sampled.argmax()) * _FINER
    found = solved + (energy[first] - values[first] @ solved)  # the sum of all splines is one
    fixed = np.zeros(curve.columns, np.bool_)
    for k in range(4):
        fixed[k : k + curve.intervals] |= sampled
    rest = energy - values[:, fixed] @ found[fixed]
    found[~fixed] = np.linalg.lstsq(values[:, ~fixed], rest, rcond=None)[0]
    return np.asarray(found, np.float64)


def _curve(system: _System, solved: _Solved, number: int, known: Bool, kT: float) -> xr.Dataset:
    """Return one curve on (kind, place) with errors, and walls where it was not sampled."""
    curve, first = system.basis.curves[number], system.basis.first(number)
    x, rules = curve.places(_FINER), system.rules[first : first + curve.columns]
    height, slope = curve.values(x) @ rules, curve.values(x, slope=True) @ rules
    if curve.term != "pair":  # relative to the lowest place that was sampled
        height = height - height[np.where(known, height @ solved.parameter, np.inf).argmin()]
    energy = height @ solved.parameter
    filled, extrapolated = _whole(curve, np.where(known, energy, np.nan), kT)
    if curve.term == "pair":
        filled = filled - filled[-1]  # beyond the last sampled interval there is no force
    force = np.where(known, -slope @ solved.parameter, -np.gradient(filled, x))
    errors = [
        np.where(known, block_errors(solved.influence @ part.T, system.weight), np.nan) for part in (height, slope)
    ]
    hits = np.append(_hits(system, number), 0.0)[np.arange(len(x)) // _FINER]
    hits[-1] = hits[-2]
    unit = "nm" if curve.term in ("pair", "bond") else "degree"
    kind, place = f"{curve.term}_kind", _BINS[curve.term]
    energies, forces = {"units": "kJ/mol"}, {"units": f"kJ/mol/{unit}"}
    return xr.Dataset(
        {
            "potential": (place, filled, energies | {"long_name": f"potential of the {curve.term}"}),
            "potential_error": (place, errors[0], energies | {"long_name": "standard error of the potential"}),
            "force": (place, force, forces | {"long_name": "minus its derivative"}),
            "force_error": (place, errors[1], forces | {"long_name": "standard error of the derivative"}),
            "extrapolated": (place, extrapolated, {"long_name": "places without data"}),
            "count": (place, hits, {"units": "1", "long_name": "pairs or terms in the interval"}),
        },
        {kind: curve.kind, place: (place, x, {"units": unit})},
    )


def _whole(curve: Curve, energy: Float, kT: float) -> tuple[Float, Bool]:
    """Return energies (place,) with walls, and where these are."""
    closed = curve.term == "dihedral"
    places = energy[:-1] if closed else energy
    found, extrapolated = fill(
        places,
        np.full(len(places), np.nan),
        kT=kT,
        walls=(True, curve.term != "pair"),
        natural=curve.term == "angle",
        periodic=closed,
    )
    if closed:
        found, extrapolated = np.append(found, found[0]), np.append(extrapolated, extrapolated[0])
    # Smoothing without errors is none, but for rounding.
    return np.where(np.isnan(energy), found, energy), extrapolated


def force_deviation(matched: MatchedForces, equations: xr.Dataset) -> xr.Dataset:
    """Return how far the forces of other frames are from those of the matched potentials, such as held-out ones.

    Parameters
    ----------
    matched : of `match_forces`
    equations : of the other frames, on the same basis

    Returns
    -------
    dataset, in kJ/mol/nm: `force`, the root mean square of the components of the forces; `deviation`, what is left of
    it, and `deviation_error` from the blocks; `explained`, the part of the mean square that the potentials explain

    Raises
    ------
    InputError : another basis
    """
    if equations.attrs["parameters"]["basis"] != matched.basis.plain():
        raise InputError("force_deviation: found equations on another basis; use the basis of the match for them")
    data, c = equations.compute(), matched.coefficient
    square, number = data["square"].values, data["number"].values
    rest = square - 2.0 * data["vector"].values @ c + np.einsum("bij,i,j->b", data["matrix"].values, c, c)
    mean = float(rest.sum() / number.sum())
    error = block_errors(((rest - mean * number) / number.sum())[:, None], number)[0]
    unit = {"units": "kJ/mol/nm"}
    deviation = float(np.sqrt(max(mean, 0.0)))
    return xr.Dataset(
        {
            "force": ((), float(np.sqrt(square.sum() / number.sum())), unit),
            "deviation": ((), deviation, unit),
            "deviation_error": ((), 0.5 * error / max(deviation, np.finfo(float).tiny), unit),
            "explained": ((), 1.0 - rest.sum() / square.sum(), {"units": "1"}),
        },
        attrs={key: value for key, value in equations.attrs.items() if key != "parameters"},
    )
