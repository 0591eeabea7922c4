"""Counts of distributions, in the order of the entries of a covariance."""

import numpy as np
import pytest
import xarray as xr

import cgstore
from cgstore.averages.bonded import bonded_blocks
from cgstore.averages.pair import rdf_blocks
from cgstore.errors import InputError, NotFound, PhysicsError
from cgstore.inverse.entries import counts_of_distribution, from_entries, on_entries


def liquid(edge: np.ndarray | float = 2.0, frames: int = 30, particles: int = 9) -> xr.Dataset:
    rng = np.random.default_rng(4)
    edges = np.broadcast_to(edge, frames)
    x = rng.uniform(0.0, 1.0, (frames, particles, 3)) * edges[:, None, None]
    return xr.Dataset(
        {
            "position": (("frame", "particle", "xyz"), x.astype(np.float32)),
            "box": (("frame", "box_vector", "xyz"), edges[:, None, None] * np.eye(3)),
            "bond": (("bond", "end"), [[0, 1], [2, 3]]),
        },
        {"type": ("particle", ["A"] * (particles - 3) + ["B"] * 3)},
    )


def test_counts_of_an_rdf_are_the_mean_counts_of_the_frames() -> None:
    ds = liquid()
    blocks = rdf_blocks(ds, r_max=1.0, bin_width=0.1)
    found = counts_of_distribution(cgstore.rdf(ds, r_max=1.0, bin_width=0.1), blocks["norm"], volume=8.0)
    np.testing.assert_allclose(found["counts"], blocks["count"].sum("block") / 30, rtol=1e-12)
    assert (found["counts_error"] > 0.0).where(found["counts"] > 0.0, True).all()


def test_counts_of_a_bond_need_no_volume() -> None:
    ds = liquid()
    blocks = bonded_blocks(ds, bond_max=2.0)["bond"].to_dataset()
    found = counts_of_distribution(cgstore.bonded(ds, bond_max=2.0), blocks["norm"], kind="bond")
    np.testing.assert_allclose(found["counts"], blocks["count"].sum("block") / 30, atol=1e-12)


def test_an_rdf_that_divides_by_n_squared_gives_the_same_counts() -> None:
    ds = liquid()
    ours = cgstore.rdf(ds, r_max=1.0, bin_width=0.1, exclude_bonded=0)
    norm = rdf_blocks(ds, r_max=1.0, bin_width=0.1, exclude_bonded=0)["norm"]
    factor = xr.DataArray([5.0 / 6.0, 1.0, 2.0 / 3.0], dims="pair", coords={"pair": ["A-A", "A-B", "B-B"]})
    theirs = ours.assign(rdf=(ours["rdf"] * factor).transpose("pair", "r"))
    found = counts_of_distribution(theirs, norm, volume=8.0, convention="n_squared", particles={"A": 6, "B": 3})
    np.testing.assert_allclose(found["counts"], counts_of_distribution(ours, norm, volume=8.0)["counts"], rtol=1e-12)
    with pytest.raises(InputError, match=r"both types of A-A, since the reference divides by N squared"):
        counts_of_distribution(theirs, norm, volume=8.0, convention="n_squared")


def test_what_is_missing_is_said() -> None:
    ds = liquid()
    g, norm = cgstore.rdf(ds, r_max=1.0), rdf_blocks(ds, r_max=1.0)["norm"]
    with pytest.raises(InputError, match="found no volume"):
        counts_of_distribution(g, norm)
    with pytest.raises(PhysicsError, match="volume of 0 nm³"):
        counts_of_distribution(g, norm, volume=[8.0, 0.0])
    with pytest.raises(InputError, match=r"expected one of A-A, A-B, B-B on 100 bins"):
        counts_of_distribution(g, norm.sel(pair=["A-A"]), volume=8.0)


def entries(kinds: list[str], x: list[float], name: str = "rdf") -> xr.Dataset:
    size = len(kinds)
    return xr.Dataset(coords={"distribution": ("entry", [name] * size), "kind": ("entry", kinds), "x": ("entry", x)})


def test_counts_find_their_entries_in_any_order_and_come_back() -> None:
    ds = liquid()
    g = cgstore.rdf(ds, r_max=1.0, bin_width=0.1)
    counts = counts_of_distribution(g, rdf_blocks(ds, r_max=1.0, bin_width=0.1)["norm"], volume=8.0)
    some = entries(["B-B", "A-A", "A-A"], [0.75, 0.95, 0.45])
    found = on_entries([counts], some)
    expected = [
        float(counts["counts"].sel(pair=p).sel(r=x, method="nearest")) for p, x in (("B-B", 0.75), ("A-A", 0.95))
    ]
    assert found["counts"].values[:2].tolist() == expected
    table = from_entries(found, "rdf")["counts"]
    assert dict(table.sizes) == {"pair": 2, "r": 3}
    assert float(table.sel(pair="B-B", r=0.75)) == expected[0]
    assert np.isnan(table.sel(pair="B-B", r=0.95))
    with pytest.raises(InputError, match=r"no counts of rdf A-A at 1.55"):
        on_entries([counts], entries(["A-A"], [1.55]))
    with pytest.raises(InputError, match="expected that of C-C as well"):
        on_entries([counts], entries(["C-C"], [0.45]))
    with pytest.raises(InputError, match="expected some of bond"):
        on_entries([counts], entries(["A-A"], [0.45], "bond"))
    with pytest.raises(NotFound, match="none of angle"):
        from_entries(found, "angle")
