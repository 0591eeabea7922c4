"""The options of GROMACS for each of the runs that a simulation takes."""

from collections.abc import Mapping
from dataclasses import replace
from math import gcd

from cgstore.engines.conditions import Conditions

__all__ = ["stages_of"]

Options = Mapping[str, str | int | float]

_SEEDS = 2**31 - 8
_HEATING = 5_000  # steps, of a quarter of the timestep
_FRICTION = 10.0  # 1/ps, of the heating
_CONDENSING = 10_000  # steps of half the timestep; starts may be much thinner than the liquid
_DRIFT = 5e-4  # kJ/mol/ps per atom, what pair lists may miss: a tenth of the default, which is too much below 100 K


def stages_of(conditions: Conditions) -> dict[str, Options]:
    """Return the options of each run, in their order; no condensation at constant volume or of membranes.

    Examples
    --------
    >>> list(stages_of(Conditions(300.0, 1.0)))
    ['minimisation', 'heating', 'condensation', 'equilibration', 'production']
    """
    # Water that is pressed in steps of 4 fs, or as if it were softer than it is, oscillates until it breaks.
    gentle = replace(conditions, timestep=conditions.timestep / 2)
    stages = {
        "minimisation": {
            **_forces(conditions), "integrator": "steep", "nsteps": 1000, "emtol": 500.0, "emstep": 0.01
        },
        "heating": _heating(conditions),
        "condensation": {**_moving(gentle, 4), **_barostat(gentle, 0.5), "nsteps": _CONDENSING},
        "equilibration": {
            **_moving(conditions, 2), **_barostat(conditions, 1.0), "nsteps": conditions.equilibration
        },
        "production": {**_moving(conditions, 3), **_barostat(conditions, 2.0), **_output(conditions)},
    }  # fmt: skip
    if conditions.pressure is None or conditions.membrane:  # which begins as dense as it will be
        del stages["condensation"]
    return stages


def _forces(conditions: Conditions) -> dict[str, str | int | float]:
    """Return what the potential energy depends on."""
    return {
        "cutoff-scheme": "Verlet",
        "verlet-buffer-tolerance": _DRIFT,
        "rcoulomb": conditions.cutoff,
        "rvdw": conditions.cutoff,
        "vdw-modifier": "None",  # energies as in OpenMM; forces are the same
        "coulombtype": "PME" if conditions.electrostatics == "pme" else "Cut-off",
        "DispCorr": "EnerPres" if conditions.tails else "no",
    }


def _heating(conditions: Conditions) -> Options:
    """Return the options of the run that begins with random velocities.

    With friction: stiff modes begin without potential energy, and a thermostat of the whole system would pay for it
    from the motion of the molecules, for hundreds of ps in methane.
    """
    seed = conditions.seed % _SEEDS + 1
    return {
        **_forces(conditions),
        **_thermostat(conditions, _FRICTION),
        "constraints": conditions.constraints,
        "dt": conditions.timestep / 4,
        "nsteps": _HEATING,
        "gen-vel": "yes",
        "gen-temp": conditions.temperature,
        "gen-seed": seed,
        "ld-seed": seed,
    }


def _moving(conditions: Conditions, run: int) -> dict[str, str | int | float]:
    """Return the options of a run that goes on from another one, with random numbers of its own."""
    return {
        **_forces(conditions),
        **_thermostat(conditions, conditions.friction),
        "constraints": conditions.constraints,
        "dt": conditions.timestep,
        "gen-vel": "no",
        "continuation": "yes",
        "ld-seed": conditions.seed % _SEEDS + run,
    }


def _thermostat(conditions: Conditions, friction: float) -> Options:
    """Return the options of Langevin motion with a friction in 1/ps, or without one of velocity rescaling."""
    group: Options = {"tc-grps": "System", "ref-t": conditions.temperature}
    if friction > 0:
        return {**group, "integrator": "sd", "tau-t": 1.0 / friction}
    return {**group, "integrator": "md", "tcoupl": "v-rescale", "tau-t": 1.0}


def _output(conditions: Conditions) -> Options:
    """Return how long the production is and what it writes."""
    return {
        "nsteps": conditions.production,
        "nstxout-compressed": conditions.every,
        "compressed-x-precision": 1000,
        "nstenergy": conditions.every,
        "nstcalcenergy": gcd(conditions.every, 100),
    }


def _barostat(conditions: Conditions, time: float) -> Options:
    """Return the options of the barostat with a time in ps; GROMACS wants it to be a hundred steps at least."""
    if conditions.pressure is None:
        return {"pcoupl": "no"}
    sides = 2 if conditions.membrane else 1
    return {
        "pcoupl": "C-rescale",
        "pcoupltype": "semiisotropic" if conditions.membrane else "isotropic",
        "tau-p": max(time, 100 * conditions.timestep),
        "ref-p": " ".join([repr(conditions.pressure)] * sides),
        "compressibility": " ".join([repr(conditions.compressibility)] * sides),
    }
