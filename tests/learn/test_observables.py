"""Pressure, motion and membranes of samples, with errors that are the scatter of replicas."""

import numpy as np
import pytest
import xarray as xr

from cgstore.learn.observables import last_frames, mobility_of, of_membrane, of_pressure, reference_mobility


def walk(step: float, frames: int, seed: int, replicas: int = 1) -> xr.Dataset:
    """Return random walks of 60 particles, one after the other."""
    steps = np.random.default_rng(seed).normal(0.0, step, (replicas, frames, 60, 3))
    position = np.cumsum(steps, axis=1).reshape(-1, 60, 3)
    return xr.Dataset(
        {"position": (("frame", "particle", "xyz"), position)},
        {
            "time": ("frame", np.tile(np.arange(float(frames)), replicas)),
            "replica": ("frame", np.repeat(np.arange(replicas), frames)),
            "type": ("particle", ["A"] * 60),
            "molecule_kind": ("particle", ["A"] * 60),
        },
    )


def test_the_acceleration_factor_of_random_walks_is_the_ratio_of_their_steps() -> None:
    reference, why = reference_mobility(walk(0.1, 1000, 1))
    assert why == ""
    diffusion, alpha = mobility_of("gas", "fast", walk(0.2, 400, 2, replicas=6), reference)
    assert (diffusion.what, diffusion.of, diffusion.unit) == ("diffusion coefficient", "A", "nm^2/ps")
    # The drift of all 60 together is taken off: a part of 1/60 of the motion of each.
    assert abs(diffusion.value - 0.02 * 59 / 60) < 4.0 * diffusion.error < 0.01
    assert abs(diffusion.reference - 0.005 * 59 / 60) < 4.0 * diffusion.reference_error < 0.0025
    assert (alpha.what, alpha.unit) == ("acceleration factor", "1")
    assert abs(alpha.value - 4.0) < 4.0 * alpha.error < 2.0


def test_a_reference_without_times_has_no_mobility_and_says_why() -> None:
    found, why = reference_mobility(walk(0.1, 50, 1).drop_vars("time"))
    assert found is None
    assert "time" in why


def test_the_error_of_the_pressure_is_the_scatter_of_the_replicas() -> None:
    pressure = np.repeat([100.0, 120.0, 140.0], 4) + np.tile([-5.0, 5.0, -5.0, 5.0], 3)
    samples = xr.Dataset({"pressure": ("frame", pressure)}, {"replica": ("frame", np.repeat([0, 1, 2], 4))})
    found = of_pressure("liquid", "network", samples, 50.0)
    assert (found.value, found.reference) == (120.0, 50.0)
    assert found.error == pytest.approx(20.0 / np.sqrt(3.0))
    assert last_frames(samples.assign(x=("frame", np.arange(12)))).x.values.tolist() == [3, 7, 11]


def test_the_pressure_of_a_bilayer_is_that_in_its_plane_and_should_be_none() -> None:
    along = np.array([[10.0, 30.0, 500.0], [20.0, 40.0, -500.0]] * 2)
    samples = xr.Dataset({"pressure_along": (("frame", "xyz"), along)}, {"replica": ("frame", [0, 0, 1, 1])})
    found = of_pressure("bilayer", "network", samples, 1.0, plane=True)
    assert (found.what, found.value, found.error, found.reference) == ("pressure in the plane", 25.0, 0.0, 0.0)


def bilayer(thickness: list[float], side: float = 0.8) -> xr.Dataset:
    """Return frames of two lipids of two beads each, as many as thicknesses."""
    half = 0.5 * np.array(thickness)
    x = np.full((len(half), 4, 3), 0.4)
    x[:, :, 2] = np.stack([half, 0.1 * half, -half, -0.1 * half], axis=1)
    return xr.Dataset(
        {
            "position": (("frame", "particle", "xyz"), x),
            "box": (("frame", "box_vector", "xyz"), np.tile(np.diag([side, side, 12.0]), (len(half), 1, 1))),
            "bond": (("bond", "bond_end"), [[0, 1], [2, 3]]),
        },
        {
            "name": ("particle", ["PO4", "C", "PO4", "C"]),
            "molecule": ("particle", [0, 0, 1, 1]),
            "molecule_kind": ("particle", ["DMPC"] * 4),
            "replica": ("frame", np.repeat([0, 1], len(half) // 2)),
        },
    )


def test_a_bilayer_has_a_thickness_and_an_area_beside_the_reference() -> None:
    rows = of_membrane("dmpc", "imc", bilayer([4.0, 4.2, 4.4, 4.6]), bilayer([4.0] * 8, side=0.9))
    by_name = {row.what: row for row in rows}
    thickness = next(row for name, row in by_name.items() if "thickness" in name)
    assert thickness.value == pytest.approx(4.3)
    assert thickness.error == pytest.approx(0.2)
    assert thickness.reference == pytest.approx(4.0)
    area = next(row for name, row in by_name.items() if "area" in name)
    assert (area.value, area.reference) == (pytest.approx(0.64), pytest.approx(0.81))
    (order,) = (row for row in rows if row.what == "order P2")  # the bonds are along the normal
    assert (order.of, order.value, order.reference) == ("PO4-C", pytest.approx(1.0), pytest.approx(1.0))


def test_what_is_no_bilayer_is_said_to_be_none() -> None:
    (row,) = of_membrane("x", "imc", bilayer([4.0] * 4).drop_vars("box"), bilayer([4.0] * 4))
    assert np.isnan(row.value)
    assert "box" in row.note
