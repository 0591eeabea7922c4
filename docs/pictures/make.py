"""Draw the pictures of the README from what `cgstore demo DIR` left: python docs/pictures/make.py DIR."""

import sys
from pathlib import Path

import xarray as xr

from cgstore.plot import figure_of, save_figure

HERE = Path(__file__).parent


def main(folder: Path) -> None:
    """Draw the held-out validation of the fit."""
    with xr.open_dataset(folder / "fits/methane/validation-heldout.nc", engine="scipy") as ds:
        curves = ds.sel(dataset="methane_130k/r1/cg").assign_attrs(name="methane at 130 K, held out")
        names = {"ibi": "IBI at 112 K"}
        curves = curves.assign_coords(curve=[names.get(str(name), str(name)) for name in curves["curve"].values])
        save_figure(figure_of(curves.load(), "validation"), HERE / "validation.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
