"""Coverage of distributions and of block statistics."""

import numpy as np
import xarray as xr

from cgstore.averages.bonded import bonded_blocks
from cgstore.averages.pair import rdf, rdf_blocks
from cgstore.inverse.sampled import coverage


def chain(frames: int = 40) -> xr.Dataset:
    rng = np.random.default_rng(4)
    x = rng.uniform(0.0, 2.0, (frames, 10, 3)).astype(np.float32)
    x[:, 1] = x[:, 0] + [0.101, 0.0, 0.0]
    return xr.Dataset(
        {
            "position": (("frame", "particle", "xyz"), x),
            "box": (("frame", "box_vector", "xyz"), np.tile(2.0 * np.eye(3), (frames, 1, 1))),
            "bond": (("bond", "end"), [[0, 1]]),
        },
        {"type": ("particle", ["A"] * 10)},
    )


def test_blocks_and_the_distribution_they_make_have_the_same_coverage() -> None:
    of_blocks = coverage(rdf_blocks(chain(), r_max=1.0, bin_width=0.05))
    of_result = coverage(rdf(chain(), r_max=1.0, bin_width=0.05))
    xr.testing.assert_identical(of_blocks, of_result)
    assert of_blocks.attrs["distribution"] == "rdf"
    count = rdf(chain(), r_max=1.0, bin_width=0.05)["count"].values[0]
    assert int(of_blocks["bins"][0]) == (count >= 4).sum()
    assert int(of_blocks["rare"][0]) == ((count > 0) & (count < 4)).sum()
    assert abs(float(of_blocks["last"][0]) - 0.975) < 1e-9
    assert 0.0 < float(of_blocks["worst"][0]) < 1.0


def test_a_single_bin_of_a_bond_is_found_and_unknown_errors_are_nan() -> None:
    found = coverage(bonded_blocks(chain(3))["bond"].to_dataset(), fewest=3)
    assert float(found["first"][0]) == float(found["last"][0])
    assert abs(float(found["first"][0]) - 0.101) < 1e-6
    assert int(found["holes"][0]) == 0
    assert np.isnan(float(found["worst"][0]))  # three frames give no error


def test_a_kind_that_was_never_hit_has_no_first_bin() -> None:
    none = xr.Dataset({"rdf": (("pair", "r"), np.zeros((1, 4)))}, {"pair": ["A-A"], "r": [0.05, 0.15, 0.25, 0.35]})
    found = coverage(none)
    assert np.isnan(found["first"]).all()
    assert found["bins"].values.tolist() == found["holes"].values.tolist() == [0]
