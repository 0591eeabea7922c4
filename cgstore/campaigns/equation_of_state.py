"""The equation of state of the Lennard-Jones fluid, in reduced units: what simulations of it are held against."""

import numpy as np

__all__ = ["kolafa_nezbeda"]

_STEP = 1e-4  # of the differences of the free energy


def kolafa_nezbeda(temperature: float, density: float) -> tuple[float, float]:
    """Return the potential energy per particle and the pressure of the whole potential, in units of σ and ε.

    Parameters
    ----------
    temperature : T* = kT/ε, 0.7 to 20 in the fit
    density : ρ* = ρσ³, up to 1.2, of one phase

    Notes
    -----
    The modified Benedict–Webb–Rubin equation on hard spheres of Kolafa and Nezbeda 1994,
    doi:10.1016/0378-3812(94)80001-4, as differences of its free energy.

    Examples
    --------
    >>> energy, pressure = kolafa_nezbeda(1.3, 0.4)
    >>> round(energy, 4), round(pressure, 4)
    (-2.806, 0.1125)
    """
    slope = (_helmholtz(temperature, density + _STEP) - _helmholtz(temperature, density - _STEP)) / (2 * _STEP)
    high, low = ((_helmholtz(t, density) / t, 1 / t) for t in (temperature + _STEP, temperature - _STEP))
    energy = (high[0] - low[0]) / (high[1] - low[1])
    return float(energy), float(density * (temperature + density * slope))


def _helmholtz(temperature: float, density: float) -> float:
    """Return the residual free energy per particle."""
    t = temperature
    d = 0.011117524 / t - 0.076383859 / t**0.5 + 1.080142248 + 0.000693129 * t**0.5 - 0.063920968 * np.log(t)
    eta = np.pi / 6 * density * d**3
    spheres = 5 / 3 * np.log(1 - eta) + eta * (34 - 33 * eta + 4 * eta**2) / (6 * (1 - eta) ** 2)
    virial = {
        -7: -0.58544978,
        -6: 0.43102052,
        -5: 0.87361369,
        -4: -4.13749995,
        -3: 2.90616279,
        -2: -7.02181962,
        0: 0.02459877,
    }
    second = sum(c * t ** (i / 2) for i, c in virial.items())
    powers = {
        0: (2.01546797, -28.17881636, 28.28313847, -10.42402873, 0.0),
        -1: (-19.58371655, 75.62340289, -120.70586598, 93.92740328, -27.37737354),
        -2: (29.34470520, -112.35356937, 170.64908980, -123.06669187, 34.42288969),
        -4: (-13.37031968, 65.38059570, -115.09233113, 88.91973082, -25.62099890),
    }
    rest = sum(c * t ** (i / 2) * density**j for i, row in powers.items() for j, c in enumerate(row, 2))
    return float(t * (spheres + density * second * np.exp(-1.92907278 * density**2)) + rest)
