"""Distributions of published trajectories against the published distributions; `pytest -s` prints the tables.

The folder in CGSTORE_ARCHIVE has methanol in implicit water (512 beads, NPT, ten compositions, 201 frames each) in
`methanol-water` and Lennard-Jones argon (512 atoms, 201 frames, two temperatures) in `argon`, both of
github.com/mikhail-a-ivanov/ML-IMC (GPL-3; Ivanov, Posysoev & Lyubartsev 2023, doi:10.1021/acs.jctc.3c00516).
Deviations from what was computed of the same frames elsewhere are of pairs at bin edges: positions lie on a grid of
0.001 nm, so that many distances are an edge exactly, and the arithmetic decides on which side they count.
"""

import os
from pathlib import Path

import numpy as np
import pytest

import cgstore
from cgstore.averages.pair import rdf_blocks, rdf_from_blocks

ARCHIVE = os.environ.get("CGSTORE_ARCHIVE")
pytestmark = pytest.mark.skipif(not ARCHIVE, reason="CGSTORE_ARCHIVE names no folder with published trajectories")

# per cent of methanol: mean edge of the box in nm, mean absolute and summed squared deviation of g, its maximum
METHANOL = {
    10: (5.571, 0.00946, 0.0662, 1.812),
    20: (4.569, 0.00640, 0.0284, 1.712),
    30: (4.112, 0.00526, 0.0183, 1.643),
    40: (3.838, 0.00515, 0.0178, 1.586),
    50: (3.657, 0.00468, 0.0164, 1.544),
    60: (3.523, 0.00442, 0.0132, 1.510),
    70: (3.423, 0.00445, 0.0131, 1.481),
    80: (3.344, 0.00409, 0.0138, 1.461),
    90: (3.282, 0.00444, 0.0160, 1.519),
    100: (3.233, 0.00428, 0.0137, 1.643),
}
# K: summed squared deviation of g without the first frame, with it, and without it but shifted by half a bin; maximum
ARGON = {95: (0.0270, 0.397, 0.173, 2.875), 130: (0.0306, 0.423, 0.179, 2.665)}
ARGON_MASS = 'Ar = "39.792 u"'

RECIPE = """
[system]
name = "{name}"
kind = "liquid"
[[run]]
name = "r1"
topology = "{topology}"
trajectory = ["{trajectory}"]
interval = "1 ps"
discard = "{discard} ps"
[masses]
{mass}
[store]
levels = ["atoms"]
"""


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    """Return a function that ingests a trajectory by a recipe and opens it."""
    folder = tmp_path_factory.mktemp("published")

    def open_(name, topology, trajectory, *, mass, discard=0):
        if not all((Path(ARCHIVE) / path).is_file() for path in (topology, trajectory)):
            pytest.skip(f"no {topology} and {trajectory} in CGSTORE_ARCHIVE")
        recipe = folder / f"{name}.toml"
        text = {"name": name, "topology": topology, "trajectory": trajectory, "mass": mass, "discard": discard}
        recipe.write_text(RECIPE.format(**text))
        cgstore.ingest(recipe, archive=ARCHIVE, store=folder / "store")
        return cgstore.open_catalog(folder / "store")[f"{name}/r1/atoms"].open()

    return open_


def tell(line):
    """Print a line of a table, for `pytest -s`."""
    print(f"\n{line}", end="")  # noqa: T201


def squared_errors_off(found, published):
    """Return the mean square of the deviations in units of our errors, where bins were hit often."""
    often = found["count"].values[0] > 50
    return float((((found.rdf.values[0] - published) / found.rdf_error.values[0])[often] ** 2).mean())


@pytest.mark.parametrize("percent", METHANOL)
def test_methanol_in_water_has_the_published_rdf(opened, percent):
    files = f"methanol-water/{percent}CH3OH-CG"
    ds = opened(f"methanol_{percent}", f"{files}.pdb", f"{files}-200.xtc", mass='MET = "32.04 u"')
    assert ds.sizes["frame"] == 201
    assert ds.sizes["particle"] == 512
    g = cgstore.rdf(ds, r_max=1.5, bin_width=0.005).compute()
    r, published = np.loadtxt(Path(ARCHIVE) / f"{files}.rdf").T
    np.testing.assert_allclose(10 * g.r, r, atol=1e-9)
    off = g.rdf.values[0] - published
    mae, sse, chi2 = abs(off).mean(), (off**2).sum(), squared_errors_off(g, published)
    edge, *expected = METHANOL[percent]
    found = (mae, sse, g.rdf.values.max())
    tell(
        f"{percent} % MAE {mae:.5f} ({expected[0]:.5f}) SSE {sse:.4f} ({expected[1]:.4f}) maximum {found[2]:.3f} "
        f"({expected[2]:.3f}, theirs {published.max():.3f}) off²/error² {chi2:.2f}"
    )
    assert float(ds.box[:, 0, 0].mean()) == pytest.approx(edge, abs=6e-4)
    np.testing.assert_array_less(abs(np.subtract(found, expected)), [5e-5, 3e-4, 2e-3])
    assert r[g.rdf.values[0].argmax()] == pytest.approx(r[published.argmax()], abs=0.21)  # 0.2 Å: the top is flat
    assert 0.6 < chi2 < 1.5  # the errors say what these deviations are: noise


def halves_joined(blocks, first):
    """Join every two bins of block statistics, from `first` on: bins that begin at half a width."""
    every_two = blocks.isel(r=slice(first, first + 800)).coarsen(r=2)
    total = every_two.sum()
    joined = blocks.drop_vars(["sum", "count", "norm", "r"]).assign({name: total[name] for name in ("sum", "count")})
    joined["norm"] = total["norm"].assign_attrs(blocks["norm"].attrs)
    return joined.assign_coords(r=every_two.mean()["r"])


@pytest.mark.parametrize("kelvin", ARGON)
def test_argon_has_the_published_rdf_once_the_lattice_is_left_out_and_bins_are_where_theirs_are(opened, kelvin):
    folder = f"argon/{kelvin}K"
    ds = opened(f"argon_{kelvin}k", f"{folder}/confout-p001.pdb", f"{folder}/mctraj-p001.xtc", mass=ARGON_MASS)
    label, published = np.loadtxt(Path(ARCHIVE) / folder / "rdf-mean-p6.dat").T[:2]
    everything = cgstore.rdf(ds, r_max=1.0, bin_width=0.0025).compute()
    flagged = int(everything.equilibration_frames.item())
    assert flagged == 1
    assert everything.equilibration.item() == 1.0  # ps, as the recipe says
    sse, g = {}, {}
    for first in (0, flagged):
        fine = rdf_blocks(ds.isel(frame=slice(first, None)), r_max=1.00125, bin_width=0.00125).compute()
        for begin in (0, 1):  # bins [r − Δ/2, r + Δ/2) of the label r begin at half a width
            g[first, begin] = rdf_from_blocks(halves_joined(fine, begin))
            sse[first, begin] = ((g[first, begin].rdf.values[0] - published) ** 2).sum()
    best = g[1, 1]
    np.testing.assert_allclose(10 * best.r, label, atol=1e-9)
    assert best.equilibration_frames.item() == 0
    alone, lattice, shifted, peak = ARGON[kelvin]
    chi2 = [squared_errors_off(g[1, begin], published) for begin in (1, 0)]
    tell(
        f"{kelvin} K SSE {sse[1, 1]:.4f} ({alone}) with frame 0 {sse[0, 1]:.3f} ({lattice}) half a bin off "
        f"{sse[1, 0]:.3f} ({shifted}) maximum {best.rdf.values.max():.3f} (theirs {peak}) off²/error² {chi2[0]:.2f}, "
        f"half a bin off {chi2[1]:.2f}"
    )
    assert sse[1, 1] == pytest.approx(alone, abs=3e-4)
    assert sse[0, 1] == pytest.approx(lattice, abs=3e-3)
    assert sse[1, 0] == pytest.approx(shifted, abs=3e-3)
    assert published.max() == pytest.approx(peak, abs=6e-4)
    assert best.rdf.values.max() == pytest.approx(peak, abs=0.05)
    assert 0.6 < chi2[0] < 1.5
    assert chi2[1] > 2.5  # half a bin is no noise; the errors tell


def test_the_lattice_is_left_out_by_what_the_flag_says(opened):
    files = ("argon/95K/confout-p001.pdb", "argon/95K/mctraj-p001.xtc")
    whole = opened("argon", *files, mass=ARGON_MASS)
    lattice = cgstore.rdf(whole.isel(frame=slice(1)), r_max=1.0, bin_width=0.0025).compute()
    assert lattice.rdf.values.max() == pytest.approx(69.6, abs=0.3)
    assert np.isnan(lattice.rdf_error).all()  # of one frame nobody knows
    repeated = cgstore.rdf(whole.isel(frame=np.r_[0, np.tile(np.arange(1, 201), 2)]), r_max=1.0, bin_width=0.0025)
    assert int(repeated.equilibration_frames[0]) == 2  # blocks of two frames go as a whole
    late = float(cgstore.rdf(whole, r_max=1.0, bin_width=0.0025).equilibration[0])
    rest = opened("argon_settled", *files, mass=ARGON_MASS, discard=late)
    assert rest.sizes["frame"] == 200
    assert int(cgstore.rdf(rest, r_max=1.0, bin_width=0.0025).equilibration_frames[0]) == 0
