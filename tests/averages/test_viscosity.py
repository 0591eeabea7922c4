"""The viscosity from pressures along the axes, against closed forms."""

import numpy as np
import pytest
import xarray as xr

from cgstore.averages.viscosity import shear_viscosity
from cgstore.errors import InputError
from cgstore.units import BAR, BOLTZMANN

EDGE, TEMPERATURE, SPACING, DECAY = 2.0, 300.0, 0.05, 0.5


def forgetful(seed: int, frames: int = 20_000) -> xr.Dataset:
    """Pressures that forget themselves exponentially, with a scatter of 400 bar along each axis."""
    rng = np.random.default_rng(seed)
    keep = np.exp(-SPACING / DECAY)
    noise = rng.normal(0.0, 400.0, (frames, 3))
    along = np.empty((frames, 3))
    along[0] = noise[0]
    for n in range(1, frames):
        along[n] = keep * along[n - 1] + np.sqrt(1 - keep**2) * noise[n]
    box = np.broadcast_to(EDGE * np.eye(3), (frames, 3, 3))
    return xr.Dataset(
        {"pressure_along": (("frame", "xyz"), along), "box": (("frame", "box_vector", "xyz"), box)},
        {"time": ("frame", SPACING * np.arange(frames))},
    )


def test_exponential_stress_has_the_viscosity_of_its_integral() -> None:
    found = [shear_viscosity(forgetful(seed), temperature=TEMPERATURE, until=6 * DECAY) for seed in range(6)]
    # (P_xx − P_yy)/2 has half the variance of one of them
    exact = EDGE**3 / (BOLTZMANN * TEMPERATURE) * (400.0 / BAR) ** 2 / 2 * DECAY
    apart = np.array([(float(one.viscosity) - exact) / float(one.viscosity_error) for one in found])
    assert abs(apart.mean()) < 3.0 / np.sqrt(len(apart))
    assert 0.3 < np.sqrt((apart**2).mean()) < 2.0
    assert found[0].sizes["lag"] == 61
    assert float(found[0].running[0]) == 0.0


def test_what_is_too_short_or_of_several_replicas_is_refused() -> None:
    with pytest.raises(InputError, match="run longer"):
        shear_viscosity(forgetful(1, 200), temperature=TEMPERATURE, until=3.0)
    two = xr.concat([forgetful(1, 400), forgetful(2, 400)], "frame")
    with pytest.raises(InputError, match="one replica"):
        shear_viscosity(two, temperature=TEMPERATURE, until=0.5)
