"""Tables against the functions they are made from."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgstore.errors import InputError, PhysicsError
from cgstore.tables import Table, interpolate, table_of

R = np.arange(0.005, 1.0, 0.01)


def lennard_jones(r: np.ndarray) -> np.ndarray:
    return 4.0 * 1.2 * ((0.37 / r) ** 12 - (0.37 / r) ** 6)


def lj_table(**options) -> Table:
    r = np.arange(0.3, 1.0005, 0.005)
    return table_of(r, lennard_jones(r), 1.0, **options)


def test_a_table_has_the_energy_and_force_of_the_function_it_is_made_from() -> None:
    r = np.linspace(0.32, 0.94, 777)
    energy, force = interpolate(lj_table(), r)
    shift = lennard_jones(np.array(1.0))
    h = 1e-6
    np.testing.assert_allclose(energy, lennard_jones(r) - shift, atol=3e-3)
    np.testing.assert_allclose(force, -(lennard_jones(r + h) - lennard_jones(r - h)) / (2 * h), atol=0.5, rtol=2e-3)


@given(st.floats(0.0, 1.1))
def test_the_force_is_minus_the_derivative_of_the_energy_everywhere(r: float) -> None:
    table = lj_table()
    h = 1e-7
    low, high = interpolate(table, max(r - h, 0.0))[0], interpolate(table, r + h)[0]
    slope = (high - low) / (r + h - max(r - h, 0.0))
    assert interpolate(table, r)[1] == pytest.approx(-slope, abs=2e-2, rel=1e-3)


def test_energy_and_force_end_smoothly_at_the_cutoff() -> None:
    table = lj_table()
    assert table.cutoff == 1.0
    assert table.spacing == pytest.approx(0.002)
    assert table.energy[-1] == table.force[-1] == 0.0
    assert abs(np.diff(table.force)[-5:]).max() < 0.01
    energy, force = interpolate(table, [1.0, 1.5, 1e9])
    assert not energy.any()
    assert not force.any()


def test_the_core_goes_on_with_a_growing_force_and_is_finite_at_zero() -> None:
    table = lj_table()
    core = table.r < 0.3
    assert np.isfinite(table.energy).all()
    assert table.force[0] > 2.0 * table.force[core][-1]
    np.testing.assert_allclose(np.diff(table.force[core], 2), 0.0, atol=1e-8 * table.force[0])
    edge = np.flatnonzero(~core)[0]
    assert table.force[edge - 1] == pytest.approx(table.force[edge], rel=0.1)
    assert table.energy[edge - 1] - table.energy[edge] == pytest.approx(0.002 * table.force[edge], rel=0.1)


def test_a_core_never_attracts() -> None:
    r = np.linspace(0.4, 1.0, 61)
    table = table_of(r, 5.0 * r, 1.0)
    assert (table.force[table.r < 0.4] >= 0.0).all()


@pytest.mark.parametrize("cutoff", [0.5, 0.777, 1.0])
def test_the_cutoff_is_a_node_whatever_the_spacing(cutoff: float) -> None:
    r = np.arange(0.3, 1.0, 0.01)
    table = table_of(r, lennard_jones(r), cutoff, spacing=0.003)
    assert table.r[-1] == cutoff
    assert table.spacing == pytest.approx(0.003, rel=0.01)


def test_a_table_survives_its_arrays() -> None:
    table = lj_table()
    again = Table(**table.arrays())
    np.testing.assert_array_equal(again.force, table.force)


def test_points_that_make_no_potential_are_refused() -> None:
    with pytest.raises(PhysicsError, match="1 of 100 energies are not finite"):
        table_of(R, np.where(R < 0.01, np.inf, 0.0), 1.0)
    with pytest.raises(PhysicsError, match=r"before the cutoff at 1\.2 nm"):
        table_of(R, 0.0 * R, 1.2)
    with pytest.raises(InputError, match="growing"):
        table_of(R[::-1], 0.0 * R, 1.0)
    with pytest.raises(InputError, match="spacing 0"):
        table_of(R, 0.0 * R, 1.0, spacing=0.0)


@pytest.mark.parametrize("switch", [0.02, 0.05, 0.3])
def test_the_forces_at_the_nodes_are_the_slopes_of_the_switched_energies(switch: float) -> None:
    table = lj_table(spacing=0.0005, switch=switch)
    outside_core = table.r[1:-1] > 0.45
    slope = (table.energy[2:] - table.energy[:-2]) / (2.0 * table.spacing)
    np.testing.assert_allclose(table.force[1:-1][outside_core], -slope[outside_core], atol=1e-2)
