"""The log of a training: one row per step in log.csv, written whole each time, and the same as curves to draw."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from cgstore.learn.folder import write_dataset, write_rows
from cgstore.learn.structural import Update

__all__ = ["Log"]


class Log:
    """The rows of log.csv; a log that is there already is continued.

    Parameters
    ----------
    path : of the file
    names : of the state points, in the order of the updates
    """

    def __init__(self, path: Path, names: Sequence[str]) -> None:
        self.path, self.names = path, list(names)
        self.rows: list[dict[str, Any]] = []
        if path.is_file():
            with path.open(newline="", encoding="utf-8") as file:
                self.rows = list(csv.DictReader(file))
        self._before = float(self.rows[-1]["seconds"]) if self.rows else 0.0

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
        self.rows.append(row)
        write_rows(self.path, self.rows)

    def save_curves(self, path: Path, *, title: str) -> None:
        """Write `loss (iteration)`, `part_loss (part, iteration)` the smallest `effective (iteration)` as netCDF."""
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
        write_dataset(path, ds)

    def _column(self, name: str) -> list[float]:
        """Return a column as numbers."""
        return [float(row[name]) for row in self.rows]
