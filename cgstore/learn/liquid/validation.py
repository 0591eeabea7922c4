"""Validation of models of simple liquids: how far σ and ε are off where no fit has looked, and whether the errors hold.

Nothing here needs torch.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cgstore.catalog import open_catalog
from cgstore.documents import load_document
from cgstore.errors import InputError
from cgstore.feature_tables.storage import open_table
from cgstore.learn.folder import read_lock, write_rows
from cgstore.learn.liquid.model import LiquidModel, read_model
from cgstore.learn.liquid.rows import Rows, rows_of_table
from cgstore.learn.liquid.settings import LiquidFit
from cgstore.splits.split import PartName, Split, members_of
from cgstore.whole_files import write_json

__all__ = ["CHECKED", "LiquidRow", "LiquidValidation", "score", "validate_liquid"]

Float = NDArray[np.float64]

CHECKED = (0.5, 0.683, 0.8, 0.9, 0.95)  # levels of intervals


@dataclass(frozen=True, slots=True)
class LiquidRow:
    """How one parameter is found, over all systems."""

    parameter: str  # "sigma" or "epsilon"
    systems: int
    mape: float  # mean of |found / true − 1|
    mape_error: float  # standard error over the systems
    median: float  # of the same
    bias: float  # mean of found / true − 1
    bias_error: float
    coverage: tuple[float, ...]  # share of systems within the intervals of `CHECKED`
    coverage_error: tuple[float, ...]  # √(p (1 − p) / n) at the nominal p


@dataclass(frozen=True, slots=True)
class LiquidValidation:
    """The answer: a row for σ and one for ε."""

    fit: str
    on: PartName
    tolerance: float  # of the mean relative error
    coverage_tolerance: float
    rows: tuple[LiquidRow, ...]
    outside: float  # share of systems that are said to be unlike all that was trained on

    @property
    def passed(self) -> bool:
        """Tell whether errors and coverage are within their tolerances; two standard errors of a coverage are free."""
        excess = [
            abs(found - level) - 2.0 * error
            for row in self.rows
            for found, level, error in zip(row.coverage, CHECKED, row.coverage_error, strict=True)
        ]
        near = all(row.mape <= self.tolerance for row in self.rows)
        return near and max(excess) <= self.coverage_tolerance

    @property
    def worst_coverage(self) -> float:
        """Return the largest difference between coverage and the nominal probability."""
        return max(abs(found - level) for row in self.rows for found, level in zip(row.coverage, CHECKED, strict=True))

    @property
    def verdict(self) -> str:
        """Say it in a sentence."""
        words = ", ".join(f"{row.parameter} {row.mape:.2%} ± {row.mape_error:.2%}" for row in self.rows)
        place = "within" if self.passed else "outside"
        return (
            f"The model is {place} its tolerances on {self.rows[0].systems} {self.on} systems: mean relative error of "
            f"{words} (at most {self.tolerance:.1%}); coverage of intervals off by {self.worst_coverage:.1%} at most "
            f"({self.coverage_tolerance:.0%}); {self.outside:.1%} of the systems are out of range"
        )

    def table(self) -> list[list[str]]:
        """Return the rows as text, a head first."""
        levels = [f"in {level:.1%}" for level in CHECKED]
        lines = [["parameter", "systems", "mean error", "median", "bias", *levels]]
        for row in self.rows:
            errors = [f"{row.mape:.2%} ± {row.mape_error:.2%}", f"{row.median:.2%}"]
            errors += [f"{row.bias:+.2%} ± {row.bias_error:.2%}", *(f"{share:.1%}" for share in row.coverage)]
            lines.append([row.parameter, f"{row.systems}", *errors])
        return lines

    def to_dict(self) -> dict[str, Any]:
        """Return the answer as plain data."""
        known = asdict(self)
        return {**known, "passed": self.passed, "verdict": self.verdict, "levels": list(CHECKED)}


def validate_liquid(folder: str | Path, *, store: str | Path, on: PartName = "heldout") -> LiquidValidation:
    """Ask a model about the systems of a part of its split, and hold the answers against the truth.

    Parameters
    ----------
    folder : the fit folder; `validation-PART.json` and `.csv`, a line for each system, are written into it
    store : folder of the store, with the table
    on : "heldout", "validation" or "train"

    Raises
    ------
    InputError : the fit is not finished, or the split has no such part
    IntegrityError : a file of the fit was changed

    Examples
    --------
    >>> validate_liquid("fits/lj", store="store").passed  # doctest: +SKIP
    True
    """
    path = Path(folder)
    read_lock(path)
    file, split = load_document(path / "fit.toml", LiquidFit), Split.load(path / "split.toml")
    model = read_model(path / "model.npz")
    selections = {part.part: part for part in split.parts()}
    if on not in selections or not selections[on].rules:
        there = ", ".join(part.part for part in split.parts() if part.rules)
        raise InputError(f"the split of this fit has no part {on!r}; it has {there}")
    names = [member.name for member in members_of(selections[on], open_catalog(str(store)))]
    columns = {"rdf": file.model.rdf, "parameters": file.model.parameters}
    rows = rows_of_table(open_table(store, file.model.table), names, **columns)
    found, outside, lines = score(model, rows, names)
    asked = file.validation
    answer = LiquidValidation(file.name, on, asked.tolerance, asked.coverage, found, outside)
    write_rows(path / f"validation-{on}.csv", lines)
    write_json(path / f"validation-{on}.json", answer.to_dict())
    return answer


def score(
    model: LiquidModel, rows: Rows, names: list[str]
) -> tuple[tuple[LiquidRow, ...], float, list[Mapping[str, Any]]]:
    """Return what is found for σ and ε, the share of systems out of range, and a line for each system."""
    answers = model.predict(rows.curves)
    found, errors = (
        np.stack(pair, 1) for pair in ((answers.sigma, answers.epsilon), (answers.sigma_error, answers.epsilon_error))
    )
    deviation = found / rows.truth - 1.0
    inside = []
    for level in CHECKED:
        ends = answers.interval(level, model.quantiles)
        inside.append((ends[..., 0] <= rows.truth) & (rows.truth <= ends[..., 1]))
    count = len(rows)
    scored = tuple(
        LiquidRow(
            parameter=name,
            systems=count,
            mape=float(np.abs(deviation[:, n]).mean()),
            mape_error=float(np.abs(deviation[:, n]).std(ddof=1) / np.sqrt(count)),
            median=float(np.median(np.abs(deviation[:, n]))),
            bias=float(deviation[:, n].mean()),
            bias_error=float(deviation[:, n].std(ddof=1) / np.sqrt(count)),
            coverage=tuple(float(one[:, n].mean()) for one in inside),
            coverage_error=tuple(float(np.sqrt(p * (1.0 - p) / count)) for p in CHECKED),
        )
        for n, name in enumerate(("sigma", "epsilon"))
    )
    outside = [bool(words) for words in answers.outside]
    lines: list[Mapping[str, Any]] = [
        {
            "dataset": names[row],
            "temperature": rows.curves.temperature[row],
            "number_density": rows.curves.density[row],
            "sigma": found[row, 0],
            "sigma_error": errors[row, 0],
            "sigma_true": rows.truth[row, 0],
            "epsilon": found[row, 1],
            "epsilon_error": errors[row, 1],
            "epsilon_true": rows.truth[row, 1],
            "outside": int(outside[row]),
        }
        for row in range(count)
    ]
    return scored, float(np.mean(outside)), lines
