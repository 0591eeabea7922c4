"""The campaign kind `nanoparticle`: a particle in water or on a lipid bilayer, swept over radius, place, T and p."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
from pydantic import Field, model_validator

from cgstore.building.clayff import SILICA
from cgstore.building.forcefields import load_forcefield, start_of
from cgstore.building.immersion import at_membrane, in_water
from cgstore.building.membranes import BILAYER_FORCEFIELD, LIPIDS, PATCH, bilayer
from cgstore.building.particles import SMALLEST, Particle, silica_sphere
from cgstore.building.start import Start, write_start
from cgstore.building.waters import WATER
from cgstore.campaigns.cohesion import cohesion
from cgstore.campaigns.judging import judge
from cgstore.campaigns.kinds import Outcome, Run
from cgstore.campaigns.lipid_mappings import LipidMappings, mapping_name
from cgstore.campaigns.sweep import one_of
from cgstore.documents import Document, Length, Mass, Time
from cgstore.engines.md import Conditions, run_md

__all__ = ["DEFAULTS", "ENGINES", "PARAMETERS", "Settings", "refused", "simulate"]

PARAMETERS = {
    "material": "word",
    "radius": "length",
    "environment": "word",
    "temperature": "temperature",
    "pressure": "pressure",
}
DEFAULTS: dict[str, float | str] = {"material": "silica", "pressure": 1.0}
ENGINES = ("gromacs", "openmm")

_MATERIALS = ("silica",)
_ENVIRONMENTS = ("water", *LIPIDS)
_LEVELS = ("atoms", "cg")
_SETTLE = ("energy", "density")
_CLAYFF, _SPC = "10.1021/jp0363287", "10.1007/978-94-015-7658-1_21"
_LIPID21, _TIP3P = "10.1021/acs.jctc.1c01217", "10.1063/1.445869"


class Settings(Document):
    """What all systems have in common."""

    mappings: LipidMappings = Field(default={})
    padding: Annotated[Length, Field(ge=0.8, allow_inf_nan=False)] = 1.2  # nm of water beside the particle
    gap: Annotated[Length, Field(ge=0.2, le=1, allow_inf_nan=False)] = 0.3  # nm, to the lipids in the start
    per_leaflet: Annotated[int, Field(ge=1, le=PATCH, strict=True)] = PATCH  # lipids
    water: Annotated[int, Field(ge=1, strict=True)] = 25  # molecules per lipid, and what fills the box above
    hydrogen_mass: Annotated[Mass, Field(ge=1, le=4)] = 3.0  # u
    timestep: Annotated[Time, Field(gt=0, le=0.005)] = 0.004  # ps
    equilibration: Annotated[int, Field(ge=0, strict=True)] = 250_000  # steps
    production: Annotated[int, Field(ge=1, strict=True)] = 2_500_000  # steps
    every: Annotated[int, Field(ge=1, strict=True)] = 2_500  # steps between frames
    cutoff: Annotated[Length, Field(gt=0, allow_inf_nan=False)] = 1.0  # nm
    settled: Annotated[tuple[Annotated[str, one_of(_SETTLE)], ...], Field(min_length=1)] = _SETTLE
    levels: Annotated[tuple[Annotated[str, one_of(_LEVELS)], ...], Field(min_length=1)] = ("cg",)

    @model_validator(mode="after")
    def _agree(self) -> Self:
        """Check what belongs together."""
        self.conditions({"environment": "water", "temperature": 300.0, "pressure": 1.0}, seed=1)
        return self

    def conditions(self, point: Mapping[str, Any], *, seed: int) -> Conditions:
        """Return how a system is simulated."""
        return Conditions(
            temperature=point["temperature"],
            pressure=point["pressure"],
            membrane=point["environment"] in LIPIDS,
            timestep=self.timestep,
            equilibration=self.equilibration,
            production=self.production,
            every=self.every,
            cutoff=self.cutoff,
            seed=seed,
        )


def refused(point: Mapping[str, Any], settings: Settings) -> str:
    """Say why a point is not simulated: a material, a lipid or a radius of which no particle can be built.

    Examples
    --------
    >>> point = {"material": "silica", "radius": 0.3, "environment": "water", "temperature": 303.0, "pressure": 1.0}
    >>> refused(point, Settings())
    'found a radius of 0.3 nm, expected at least 0.5 nm'
    """
    material, place = point["material"], point["environment"]
    if material not in _MATERIALS:
        return f'found the material "{material}", expected {" | ".join(_MATERIALS)}'
    if place not in _ENVIRONMENTS:
        return f'found the environment "{place}", expected {" | ".join(_ENVIRONMENTS)}'
    if point["radius"] < SMALLEST:
        return f"found a radius of {point['radius']:g} nm, expected at least {SMALLEST:g} nm"
    if place in LIPIDS and place not in settings.mappings and "cg" in settings.levels:
        return f"{place} has no mapping in settings.mappings"
    return ""


def simulate(point: Mapping[str, Any], settings: Settings, *, seed: int, engine: str, folder: Path) -> Outcome:
    """Simulate one system; leave `system.top`, `system.gro`, `trajectory.xtc` and `series.csv` in the folder."""
    particle = silica_sphere(point["radius"])
    start = _start(point, settings, particle)
    write_start(start, folder)
    conditions = settings.conditions(point, seed=seed)
    motion = run_md(folder, conditions, engine=engine)
    measured, discard, failure = judge(motion, conditions, settled=settings.settled)
    if not failure.startswith("exploded"):
        found, dissolved = cohesion(folder, particle, discard=discard)
        measured |= found
        failure = dissolved or failure
    place = point["environment"]
    lipid = place if place in LIPIDS else ""
    mapping = {lipid: mapping_name(lipid)} if lipid else {}
    return Outcome(
        failure=failure,
        engine=motion.engine,
        measured=measured,
        system={
            "title": f"silica particle of {point['radius']:g} nm {f'on a {lipid} bilayer' if lipid else 'in water'}",
            "kind": "nanoparticle",
            "forcefield": "CLAYFF, Lipid21, TIP3P" if lipid else "CLAYFF, SPC",
            "temperature": f"{point['temperature']!r} K",
            "pressure": f"{point['pressure']!r} bar",
            "ensemble": "NPT",
            "composition": _composition(start),
            "doi": ", ".join([_CLAYFF, *((_LIPID21, _TIP3P) if lipid else (_SPC,))]),
            "parameters": _parameters(point, settings, particle),
        },
        mapping={**mapping, SILICA: "residue", WATER: "drop"},
        mapping_files={mapping[lipid]: settings.mappings[lipid]} if lipid in settings.mappings else {},
        levels=settings.levels,
        runs=(Run(discard=discard, topology="system.top"),),
    )


def _start(point: Mapping[str, Any], settings: Settings, particle: Particle) -> Start:
    """Build a system."""
    heavy, padding = settings.hydrogen_mass, settings.padding
    if point["environment"] == "water":
        return in_water(particle, padding=padding, hydrogen_mass=heavy)
    model = bilayer(point["environment"], per_leaflet=settings.per_leaflet, water=settings.water)
    membrane = start_of(model, load_forcefield(*BILAYER_FORCEFIELD), hydrogen_mass=heavy)
    return at_membrane(particle, membrane, gap=settings.gap, padding=padding, hydrogen_mass=heavy)


def _composition(start: Start) -> dict[str, int]:
    """Count the molecules of each kind; the particle is one of them, whatever the number of its groups."""
    first = np.unique(start.residue_id, return_index=True)[1]
    found = Counter(start.residue[first].tolist())
    return {**{lipid: found[lipid] for lipid in LIPIDS if lipid in found}, SILICA: 1, WATER: found[WATER]}


def _parameters(point: Mapping[str, Any], settings: Settings, particle: Particle) -> dict[str, Any]:
    """Return what a dataset can be found by."""
    return {
        "material": point["material"],
        "radius": point["radius"],  # nm
        "environment": point["environment"],
        "silicon": particle.count("silicon"),
        "silanol": particle.count("hydroxyl"),
        "cutoff": settings.cutoff,  # nm
        "timestep": settings.timestep,  # ps
        "hydrogen_mass": settings.hydrogen_mass,  # u
    }
