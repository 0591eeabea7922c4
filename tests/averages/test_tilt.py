"""Tilt of lipids and chains: those that were put in, and isotropic ones."""

import numpy as np
import pytest
import xarray as xr

from cgstore.averages.tilt import tilt, tilt_distribution
from cgstore.errors import InputError, NotFound

NUMBER = 36  # lipids per leaflet


def bilayer(angle, frames=8, *, seed=1, kind="DMPC"):
    """Make a bilayer of lipids with two chains, tilted by angles (lipid,), in any direction around the normal."""
    random = np.random.default_rng(seed)
    side = np.repeat([1.0, -1.0], NUMBER)
    a = np.radians(np.broadcast_to(angle, 2 * NUMBER))
    around = random.uniform(0.0, 2.0 * np.pi, (frames, 2 * NUMBER))
    up = np.stack(
        [np.sin(a) * np.cos(around), np.sin(a) * np.sin(around), np.broadcast_to(np.cos(a), around.shape)], -1
    )
    up *= side[:, None]
    place = np.tile(np.stack(np.divmod(np.arange(NUMBER), 6), 1) * 0.8, (2, 1))
    end = np.concatenate([np.broadcast_to(place, (frames, *place.shape)), np.full((frames, 2 * NUMBER, 1), 5.0)], -1)
    end = end + 0.2 * side[:, None] * [0.0, 0, 1]
    # PO4, GL, then two chains that begin at the same place, the second one drawn apart at GL.
    steps = np.array([1.8, 1.5, 1.2, 0.6, 0.0, 1.2, 0.6, 0.0])
    position = end[:, :, None] + steps[:, None] * up[:, :, None]
    first = 8 * np.arange(2 * NUMBER)
    bond = [(0, 1), (1, 2), (2, 3), (3, 4), (1, 5), (5, 6), (6, 7)]
    names = ["PO4", "GL", "C1A", "C2A", "C3A", "C1B", "C2B", "C3B"]
    return xr.Dataset(
        {
            "position": (("frame", "particle", "xyz"), position.reshape(frames, -1, 3) % [4.8, 4.8, 10.0]),
            "box": (("frame", "box_vector", "xyz"), np.tile(np.diag([4.8, 4.8, 10.0]), (frames, 1, 1))),
            "bond": (("bond", "bond_end"), np.concatenate([np.stack([first + i, first + j], 1) for i, j in bond])),
        },
        {
            "name": ("particle", np.tile(names, 2 * NUMBER)),
            "molecule": ("particle", np.repeat(np.arange(2 * NUMBER), 8)),
            "molecule_kind": ("particle", np.repeat(np.broadcast_to(kind, 2 * NUMBER), 8)),
            "time": ("frame", 1.0 * np.arange(frames)),
        },
        {"name": "bilayer_300k/r1/cg"},
    )


@pytest.mark.parametrize("of", ["lipid", "chain"])
@pytest.mark.parametrize("angle", [0.0, 17.0, 40.0])
def test_tilt_is_that_which_was_put_in_on_both_sides(of, angle):
    found = tilt(bilayer(angle), of=of).compute()
    np.testing.assert_allclose(found.tilt_series, angle, atol=1e-5)
    assert found.tilt.units == "degree"


def test_each_kind_has_its_own_tilt():
    kind = np.array(["DMPC", "POPE"] * NUMBER)
    found = tilt(bilayer(np.where(kind == "DMPC", 10.0, 25.0), kind=kind)).tilt
    np.testing.assert_allclose(found.sel(molecule_kind=["DMPC", "POPE"]), [10.0, 25.0], atol=1e-5)


def test_the_distribution_has_the_mean_and_integrates_to_one():
    angle = np.random.default_rng(2).uniform(0.0, 40.0, 2 * NUMBER)
    ds = bilayer(angle, frames=40)
    found = tilt_distribution(ds, bin_width=0.5).compute().sel(molecule_kind="DMPC")
    assert float(found.tilt.sum() * 0.5) == pytest.approx(1.0)
    assert float((found.tilt * found.theta).sum() * 0.5) == pytest.approx(angle.mean(), abs=0.25)
    assert int(found.tilt_count.sum()) == 40 * 2 * NUMBER
    counts, _ = np.histogram(angle, np.arange(0.0, 180.5, 0.5))
    np.testing.assert_allclose(found.tilt, counts / (2 * NUMBER) / 0.5, atol=1e-12)


def test_lipids_in_neither_leaflet_do_not_count():
    ds = bilayer(10.0)
    position = ds.position.values.copy()
    position[:, :8, 2] = 9.8  # one lies flat, far away
    position[:, :8, 0] = np.linspace(0.0, 1.0, 8)
    ds = ds.assign(position=(ds.position.dims, position))
    np.testing.assert_allclose(tilt(ds).tilt, 10.0, atol=1e-5)
    spread = tilt_distribution(ds)
    np.testing.assert_allclose(spread.tilt.sum() * 2.0, 1.0 - 1.0 / (2 * NUMBER))


def test_the_error_is_that_of_independent_frames():
    random = np.random.default_rng(7)
    parts = [bilayer(20.0 + random.normal(0.0, 4.0), frames=1, seed=s) for s in range(128)]
    ds = xr.concat(parts, "frame", data_vars="minimal").assign_coords(time=("frame", np.arange(128.0)))
    found = tilt(ds).compute()
    assert float(found.tilt_error.squeeze()) == pytest.approx(4.0 / np.sqrt(128), rel=0.3)


def test_chunks_do_not_matter_and_nothing_is_computed_early(no_computing):
    ds = bilayer(20.0, frames=21)
    lazy = ds.assign({name: ds[name].chunk(frame=4) for name in ("position", "box")})
    with no_computing():
        asked = tilt(lazy), tilt_distribution(lazy)
    xr.testing.assert_identical(asked[0].compute(), tilt(ds).compute())
    xr.testing.assert_identical(asked[1].compute(), tilt_distribution(ds).compute())


def test_questions_without_an_answer_say_why():
    ds = bilayer(10.0)
    with pytest.raises(InputError, match='"lipid" or "chain"'):
        tilt(ds, of="tail")
    with pytest.raises(InputError, match="divide 180"):
        tilt_distribution(ds, bin_width=7.0)
    with pytest.raises(InputError, match="no chains"):
        tilt(ds.isel(bond=slice(0, 0)), of="chain")
    with pytest.raises(NotFound, match="72 SOL"):
        tilt(bilayer(10.0, kind="SOL").assign_coords(name=("particle", ["W"] * 576)))


def test_particles_that_are_no_atoms_do_not_end_a_chain():
    ds = bilayer(17.0)
    at = np.flatnonzero(np.isin(ds.name, ["C2A", "C3B"]))  # beads with a Drude particle each
    position = np.concatenate([ds.position, ds.position[:, at] + 0.01], axis=1)
    bond = np.concatenate([ds.bond, np.stack([at, ds.sizes["particle"] + np.arange(len(at))], 1)])
    both = {name: np.concatenate([ds[name], ds[name][at]]) for name in ("molecule", "molecule_kind")}
    both["name"] = np.concatenate([ds.name, ["D"] * len(at)])
    more = xr.Dataset(
        {
            "position": (ds.position.dims, position),
            "box": ds.box.variable,
            "bond": (ds.bond.dims, bond),
            "mass": ("particle", np.repeat([72.0, 0.4], [ds.sizes["particle"], len(at)])),
        },
        {name: ("particle", values) for name, values in both.items()},
    )
    np.testing.assert_allclose(tilt(more, of="chain").tilt, 17.0, atol=1e-5)
