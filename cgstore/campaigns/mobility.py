"""The campaign kind `mobility`: liquids of swept force fields, their coarse-grained models, and how fast both move."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
import xarray as xr
from pydantic import Field, model_validator

from cgstore.averages.diffusion import acceleration_factor
from cgstore.building.molecule_files import Molecule, read_molecule
from cgstore.building.packing import pack
from cgstore.building.scaling import FACTORS, scaled
from cgstore.building.start import write_start
from cgstore.campaigns.judging import judge
from cgstore.campaigns.kinds import Outcome, Run
from cgstore.campaigns.mobility_beads import Diffusion, beads_of, diffusion_of, rounded
from cgstore.campaigns.mobility_coarse import Coarse, Coarsening, coarsen, write_coarse
from cgstore.documents import Document, Length, TextFile, Time
from cgstore.engines.md import Conditions, Motion, run_md
from cgstore.errors import InputError, PhysicsError

__all__ = ["DEFAULTS", "ENGINES", "PARAMETERS", "Settings", "refused", "simulate"]

PARAMETERS = {**dict.fromkeys(FACTORS, "number"), "temperature": "temperature", "pressure": "pressure"}
DEFAULTS: dict[str, float | str] = {**dict.fromkeys(FACTORS, 1.0), "temperature": 298.15, "pressure": 1.0}
ENGINES = ("gromacs", "openmm")

_U_PER_NM3 = 0.602214076  # of one kg/m³
_START = 0.6  # of the density of the liquid: molecules on a lattice do not overlap yet
_ROOM = 2.1  # edge of the box in units of the larger cutoff: twice, with what neighbour lists and the barostat need
_VAPOUR = 0.5  # of the density of the liquid; what is thinner is none
_COMPRESSIBILITY = 1e-4  # 1/bar, that the barostat of GROMACS assumes: of organic liquids, twice that of water

Positive = Field(gt=0, allow_inf_nan=False)
Number = Annotated[float, Positive]
Period = Annotated[Time, Positive]
Distance = Annotated[Length, Positive]
Many = Annotated[int, Field(ge=1, strict=True)]


class Settings(Document):
    """What all systems have in common."""

    topology: TextFile
    geometry: TextFile
    density: Number  # kg/m³ of the liquid, roughly
    model: str = ""  # for the catalog
    number: Annotated[int, Field(ge=20, strict=True)] = 125  # of molecules in the box
    timestep: Period = 0.004  # ps
    equilibration: Annotated[int, Field(ge=0, strict=True)] = 12_500  # steps
    production: Many = 60_000  # steps
    every: Many = 100  # steps between frames
    cutoff: Distance = 1.4  # nm
    constraints: str = "all-bonds"
    fit: tuple[Period, Period] = (15.0, 60.0)  # ps, where the mean squared displacement is a straight line
    coarse_cutoff: Distance = 1.4  # nm
    bin_width: Distance = 0.01  # nm, of g(r)
    replicas: Annotated[int, Field(ge=4, strict=True)] = 8  # of each model that is tried
    sampling: Period = 40.0  # ps, of each replica
    iterations: Many = 15
    tolerance: Number = 0.015  # rmsd of g at which the search ends
    worst: Number = 0.03  # rmsd of g beyond which a model does not count
    coarse_timestep: Period = 0.01  # ps
    coarse_equilibration: Period = 20.0  # ps
    coarse_production: Period = 1000.0  # ps
    coarse_every: Period = 0.5  # ps between frames

    @model_validator(mode="after")
    def _agree(self) -> Self:
        """Check what belongs together."""
        self.molecule({})
        self.conditions({**DEFAULTS}, seed=1)
        longest = self.production * self.timestep / 4
        if not self.fit[0] < self.fit[1] <= longest:
            raise ValueError(
                f"fit: found {self.fit[0]:g} to {self.fit[1]:g} ps, expected an end of {longest:g} ps or less"
            )
        return self

    def molecule(self, point: Mapping[str, Any]) -> Molecule:
        """Return the molecule with its parameters multiplied."""
        factors = {name: float(point[name]) for name in FACTORS if name in point}
        molecule = read_molecule(scaled(self.topology, factors), self.geometry)
        return replace(molecule, position=molecule.position * factors.get("bond_length", 1.0))

    def conditions(self, point: Mapping[str, Any], *, seed: int) -> Conditions:
        """Return how the atomistic system is simulated."""
        return Conditions(
            temperature=point["temperature"],
            pressure=point["pressure"],
            timestep=self.timestep,
            equilibration=self.equilibration,
            production=self.production,
            every=self.every,
            cutoff=self.cutoff,
            electrostatics="none",
            constraints=self.constraints,
            compressibility=_COMPRESSIBILITY,
            seed=seed,
        )

    def coarsening(self, point: Mapping[str, Any], *, seed: int) -> Coarsening:
        """Return how its coarse-grained model is found and run."""
        return Coarsening(
            temperature=point["temperature"],
            cutoff=self.coarse_cutoff,
            bin_width=self.bin_width,
            replicas=self.replicas,
            sampling=self.sampling,
            iterations=self.iterations,
            tolerance=self.tolerance,
            timestep=self.coarse_timestep,
            equilibration=self.coarse_equilibration,
            production=self.coarse_production,
            every=self.coarse_every,
            seed=seed,
        )


def refused(point: Mapping[str, Any], settings: Settings) -> str:
    """Say why a point is not simulated: a factor makes no sense or does nothing, or the box would be too small.

    Examples
    --------
    >>> from cgstore.campaigns.campaign import load_campaign
    >>> settings = load_campaign("ingest/campaigns/trimethylpentane.toml").settings
    >>> refused(DEFAULTS, settings), refused({**DEFAULTS, "bond_stiffness": 2.0}, settings)
    ('', 'bond_stiffness 2 does nothing: constraints = "all-bonds"')
    """
    if point["bond_stiffness"] != 1 and settings.constraints == "all-bonds":
        return f'bond_stiffness {point["bond_stiffness"]:g} does nothing: constraints = "all-bonds"'
    try:
        molecule = settings.molecule(point)
    except InputError as error:
        return str(error)
    edge = (settings.number / _number_density(molecule, settings)) ** (1 / 3)
    cutoff = max(settings.cutoff, settings.coarse_cutoff)
    if edge < _ROOM * cutoff:
        return f"a box of about {edge:.2f} nm is too small for a cutoff of {cutoff:g} nm; take more molecules"
    return ""


def simulate(point: Mapping[str, Any], settings: Settings, *, seed: int, engine: str, folder: Path) -> Outcome:
    """Simulate the atomistic system, find its coarse-grained model and run it; leave the files of both."""
    molecule = settings.molecule(point)
    density = _number_density(molecule, settings)
    title = f"{settings.model} {molecule.name}".strip()
    write_start(pack([(molecule, settings.number)], density=_START * density, title=title, seed=seed), folder)
    conditions = settings.conditions(point, seed=seed)
    motion = run_md(folder, conditions, engine=engine)
    measured, discard, failure = judge(motion, conditions)
    if not failure and measured["density"] < _VAPOUR * settings.density:
        failure = f"evaporated: {measured['density']:.3g} kg/m³ is below half the density of the liquid"
    if not failure:
        try:
            failure = _coarsened(point, settings, motion, discard, seed, folder, measured)
        except PhysicsError as error:
            failure = f"unmeasured: {error}"
    return Outcome(
        failure=failure,
        engine=f"{motion.engine}; coarse: cgstore",
        measured=measured,
        system={
            "title": f"{title}, atomistic and coarse-grained",
            "kind": "liquid",
            "forcefield": settings.model,
            "temperature": f"{point['temperature']!r} K",
            "pressure": f"{point['pressure']!r} bar",
            "composition": {molecule.name: settings.number},
            "parameters": _parameters(point, settings, measured),
        },
        mapping={molecule.name: "molecule"},
        runs=(
            Run(name="atomistic", topology="system.top", discard=discard),
            Run(name="coarse", topology="coarse.top", trajectory="coarse.xtc", discard=0.0),
        ),
    )


def _number_density(molecule: Molecule, settings: Settings) -> float:
    """Return molecules per nm³ of the liquid, roughly."""
    return float(settings.density * _U_PER_NM3 / molecule.mass.sum())


def _coarsened(
    point: Mapping[str, Any], settings: Settings, motion: Motion, discard: float, seed: int, folder: Path,
    measured: dict[str, Any],
) -> str:  # fmt: skip
    """Coarse-grain a settled run into its folder and add what was measured; return what is wrong."""
    beads = beads_of(folder, motion.time >= discard)
    measured["edge"] = rounded(_edge(beads))
    atomistic = diffusion_of(beads, fit=settings.fit)
    measured |= atomistic.measured("D_AA")
    coarse = coarsen(beads, settings.coarsening(point, seed=seed))
    write_coarse(coarse, folder)
    fast = diffusion_of(coarse.run)
    measured |= {**fast.measured("D_CG"), **_acceleration(fast, atomistic), **_quality(coarse)}
    if coarse.rmsd > settings.worst:
        return f"unconverged: g(r) of the coarse run is off by {coarse.rmsd:.3f}, more than {settings.worst:g}"
    return ""


def _edge(beads: xr.Dataset) -> float:
    """Return the edge of the cubic box of the mean volume, which is that of the coarse run, in nm."""
    return float(np.linalg.det(beads["box"].values.astype(np.float64).mean(axis=0)) ** (1 / 3))


def _acceleration(fast: Diffusion, slow: Diffusion) -> dict[str, Any]:
    """Return α = D(cg) / D(atoms) with its error; the two runs are independent of each other.

    Examples
    --------
    >>> walks = [Diffusion(value, 0.1 * value, (1.0, 9.0), "") for value in (6.0, 2.0)]
    >>> _acceleration(*walks)
    {'alpha': 3.0, 'alpha_error': 0.42426}
    """
    runs = [
        xr.Dataset({"diffusion": ("kind", [d.value]), "diffusion_error": ("kind", [d.error])}, {"kind": ["bead"]})
        for d in (fast, slow)
    ]
    alpha = acceleration_factor(*runs).isel(kind=0)
    return {"alpha": rounded(float(alpha["acceleration"])), "alpha_error": rounded(float(alpha["acceleration_error"]))}


def _quality(coarse: Coarse) -> dict[str, Any]:
    """Return how well the coarse-grained model was found, and how warm its run was."""
    return {
        "rdf_rmsd": rounded(coarse.rmsd),
        "iterations": coarse.iterations,
        "coarse_temperature": rounded(coarse.temperature),
    }


def _parameters(point: Mapping[str, Any], settings: Settings, measured: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a dataset can be found by: what was swept and what was found, units as in a record."""
    names = ("D_AA", "D_AA_error", "D_CG", "D_CG_error", "alpha", "alpha_error", "edge", "rdf_rmsd")
    found = {name: measured[name] for name in names if measured.get(name) is not None}
    density = measured.get("density")
    return {
        **{name: point[name] for name in FACTORS},
        **found,
        **({"mass_density": rounded(density)} if density else {}),  # kg/m³
        "cutoff": settings.cutoff,  # nm
        "timestep": settings.timestep,  # ps
    }
