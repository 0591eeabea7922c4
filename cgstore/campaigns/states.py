"""The phase diagram of the Lennard-Jones fluid, in reduced units: where one liquid or supercritical phase is stable."""

__all__ = ["CRITICAL_DENSITY", "CRITICAL_TEMPERATURE", "TRIPLE_TEMPERATURE", "freezing_density", "liquid_density"]

CRITICAL_TEMPERATURE, CRITICAL_DENSITY = 1.32, 0.31  # Thol et al. 2016, doi:10.1063/1.4945000
TRIPLE_TEMPERATURE = 0.661  # the same


def liquid_density(temperature: float) -> float:
    """Return the density of the liquid in equilibrium with its vapour, below the critical temperature.

    Notes
    -----
    Our fit to the coexistence of the equation of state of Thol et al. 2016 (doi:10.1063/1.4945000), within 0.002
    between 0.68 and 1.28.

    Examples
    --------
    >>> round(liquid_density(1.0), 2)
    0.7
    """
    theta = 1 - temperature / CRITICAL_TEMPERATURE
    if theta <= 0:
        return CRITICAL_DENSITY
    return CRITICAL_DENSITY * float(1 + 1.50375 * theta**0.325 + 1.18367 * theta**0.9 - 0.27598 * theta**2)


def freezing_density(temperature: float) -> float:
    """Return the density from which on the fluid begins to freeze.

    Notes
    -----
    Mastny and de Pablo 2007, doi:10.1063/1.2753149, equation 21.

    Examples
    --------
    >>> round(freezing_density(1.0), 4)
    0.9186
    """
    beta = 1 / temperature
    series = 0.0
    for coefficient in (-0.15284, 0.68012, -1.16270, 0.91784, -0.27120, 0.90735):
        series = series * beta + coefficient
    return float(temperature**0.25 * series)
