"""The log of a training: one row per step in log.csv, written whole each time, and the same as curves to draw."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from cgstore.learn.folder import write_dataset, write_rows
from cgstore.learn.force_matching import ForceUpdate
from cgstore.learn.structural import Update

__all__ = ["ForceLog", "Log"]


class _Rows:
    """The rows of log.csv; a log that is there already is continued."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: list[dict[str, Any]] = []
        if path.is_file():
            with path.open(newline="", encoding="utf-8") as file:
                self.rows = list(csv.DictReader(file))
        self._before = float(self.rows[-1]["seconds"]) if self.rows else 0.0

    def save(self) -> None:
        """Write all rows."""
        write_rows(self.path, self.rows)

    def _column(self, name: str) -> list[float]:
        """Return a column as numbers."""
        return [float(row[name]) for row in self.rows]


class Log(_Rows):
    """The log of a training on averages.

    Parameters
    ----------
    path : of the file
    names : of the state points, in the order of the updates
    """

    def __init__(self, path: Path, names: Sequence[str]) -> None:
        super().__init__(path)
        self.names = list(names)

    def go_back(self, round: int) -> None:
        """Forget the rows from the beginning of a round on."""
        self.rows = [row for row in self.rows if int(row["round"]) < round]

    def add(self, update: Update) -> None:
        """Write one more row."""
        row: dict[str, Any] = {
            "round": update.round,
            "step": update.step,
            "drawn": int(update.step == 0),
            "best": int(update.best),
            "seconds": round(self._before + update.seconds, 3),
        }
        for name, loss, rmsd, effective in zip(self.names, update.loss, update.rmsd, update.effective, strict=True):
            row |= {f"loss {name}": loss, f"rmsd {name}": rmsd, f"effective {name}": effective}
        known = zip(self.names, update.pressure, strict=True)
        row |= {f"pressure {name}": pressure for name, pressure in known if pressure is not None}
        self.rows.append(row)
        self.save()

    def save_curves(self, path: Path, *, title: str) -> None:
        """Write `loss (iteration)`, `part_loss (part, iteration)` the smallest `effective (iteration)` as netCDF.

        With a goal for the pressure also `pressure (part, iteration)` in bar.
        """
        part = np.array([self._column(f"loss {name}") for name in self.names])
        effective = np.min([self._column(f"effective {name}") for name in self.names], axis=0)
        attrs: Mapping[str, str] = {"units": "1", "long_name": "mean squared deviation of g in units of sigma"}
        ds = xr.Dataset(
            {
                "loss": ("iteration", part.sum(axis=0), {"units": "1", "long_name": "loss"}),
                "part_loss": (("part", "iteration"), part, attrs),
                "effective": ("iteration", effective, {"units": "1", "long_name": "effective share of the frames"}),
            },
            coords={"iteration": np.arange(len(self.rows), dtype=np.int32), "part": self.names},
            attrs={"name": title},
        )
        # Without a goal for the pressure there are no such columns; all state points have one, or none has.
        if columns := [f"pressure {name}" for name in self.names if self.rows and f"pressure {name}" in self.rows[0]]:
            pressure = np.array([self._column(column) for column in columns])
            ds["pressure"] = (("part", "iteration"), pressure, {"units": "bar", "long_name": "pressure"})
        write_dataset(path, ds)


class ForceLog(_Rows):
    """The log of a force matching: of each step the error of its batch, and of each round that of validation data.

    Parameters
    ----------
    path : of the file
    steps : in a round
    """

    def __init__(self, path: Path, steps: int) -> None:
        super().__init__(path)
        self.steps = steps

    def go_back(self, step: int) -> None:
        """Forget the rows after a step."""
        self.rows = [row for row in self.rows if int(row["step"]) <= step]

    def add(self, update: ForceUpdate) -> None:
        """Take one more row; `save` writes it."""
        self.rows.append(
            {
                "round": (update.step - 1) // self.steps,
                "step": update.step,
                "best": int(update.best),
                "seconds": round(self._before + update.seconds, 3),
                "force error train": update.error,
                "force error validation": "" if update.held is None else update.held,
            }
        )

    def save_curves(self, path: Path, *, title: str) -> None:
        """Write the mean square error of each round as `loss (iteration)`, beside validation data if there are any."""
        square = np.array(self._column("force error train")) ** 2
        last = [n for n, row in enumerate(self.rows) if int(row["step"]) % self.steps == 0 or row is self.rows[-1]]
        mean = np.array([part.mean() for part in np.split(square, np.array(last[:-1], int) + 1)])
        attrs = {"units": "(kJ/mol/nm)^2", "long_name": "mean squared error of forces"}
        ds = xr.Dataset(
            {"loss": ("iteration", mean, attrs)},
            coords={"iteration": np.array([int(self.rows[n]["step"]) for n in last], np.int32)},
            attrs={"name": title},
        )
        held = [self.rows[n]["force error validation"] for n in last]
        if all(value != "" for value in held):
            both = np.stack([mean, np.array(held, np.float64) ** 2])
            ds = ds.assign(part_loss=(("part", "iteration"), both, attrs)).assign_coords(part=["train", "validation"])
        write_dataset(path, ds)
