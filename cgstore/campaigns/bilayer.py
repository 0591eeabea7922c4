"""The campaign kind `bilayer`: lipid bilayers in water, with or without a peptide, swept over lipid, T and p."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
from pydantic import Field, field_validator, model_validator

from cgstore.building.forcefields import load_forcefield, start_of
from cgstore.building.insertion import insert
from cgstore.building.membranes import BILAYER_FORCEFIELD, LIPIDS, PATCH, bilayer
from cgstore.building.peptides import AMINO_ACIDS, helix
from cgstore.building.start import Start, write_start
from cgstore.campaigns.equilibrium import settled_from
from cgstore.campaigns.judging import judge
from cgstore.campaigns.kinds import Outcome, Run
from cgstore.campaigns.lipid_mappings import LipidMappings, mapping_name
from cgstore.campaigns.sweep import one_of
from cgstore.documents import Document, Length, Mass, Time, did_you_mean
from cgstore.engines.md import Conditions, Motion, run_md

__all__ = ["DEFAULTS", "ENGINES", "PARAMETERS", "Settings", "refused", "simulate"]

PARAMETERS = {"lipid": "word", "temperature": "temperature", "peptide": "word", "pressure": "pressure"}
DEFAULTS: dict[str, float | str] = {"peptide": "", "pressure": 1.0}
ENGINES = ("gromacs", "openmm")

_WATER, _IONS = "HOH", ("NA", "CL")
_PLACEMENTS = ("through", "surface")
_LEVELS = ("atoms", "cg")
_SETTLE = ("energy", "density", "area")
_LONG = 10_000.0  # ps; areas of shorter runs have no error: they wander for nanoseconds, which such a run cannot see
_AREA = 0.6  # nm² per lipid, roughly
_ROOM = 2.2  # width of the box in units of the cutoff: twice, with what neighbour lists and the barostat need
_TITLES = {"through": "through", "surface": "on"}
_DOIS = "10.1021/acs.jctc.1c01217", "10.1063/1.445869"  # Lipid21, TIP3P
_PEPTIDE_DOI = "10.1021/acs.jctc.5b00255"  # ff14SB


class Peptide(Document):
    """A peptide of `[settings.peptides]`, an α-helix to begin with; `height` is that of its middle above the middle."""

    sequence: str
    placement: Annotated[str, one_of(_PLACEMENTS)] = "through"
    height: Annotated[Length, Field(allow_inf_nan=False)] = 0.0  # nm
    doi: str = ""

    @field_validator("sequence")
    @classmethod
    def _known(cls, sequence: str) -> str:
        """Check the letters."""
        if not sequence or (unknown := sorted(set(sequence) - set(AMINO_ACIDS))):
            what = f'"{unknown[0]}" in "{sequence}"' if sequence else "no letters"
            raise ValueError(f"found {what}, expected letters of {AMINO_ACIDS}")
        return sequence


class Settings(Document):
    """What all systems have in common."""

    mappings: LipidMappings = Field(default={})
    peptides: dict[str, Peptide] = Field(default={})
    per_leaflet: Annotated[int, Field(ge=1, le=PATCH, strict=True)] = PATCH  # lipids
    water: Annotated[int, Field(ge=1, strict=True)] = 25  # molecules per lipid
    hydrogen_mass: Annotated[Mass, Field(ge=1, le=4)] = 3.0  # u
    timestep: Annotated[Time, Field(gt=0, le=0.005)] = 0.004  # ps
    equilibration: Annotated[int, Field(ge=0, strict=True)] = 5_000_000  # steps
    production: Annotated[int, Field(ge=1, strict=True)] = 50_000_000  # steps
    every: Annotated[int, Field(ge=1, strict=True)] = 2_500  # steps between frames
    cutoff: Annotated[Length, Field(gt=0, allow_inf_nan=False)] = 1.0  # nm
    settled: Annotated[tuple[Annotated[str, one_of(_SETTLE)], ...], Field(min_length=1)] = _SETTLE  # must not drift
    levels: Annotated[tuple[Annotated[str, one_of(_LEVELS)], ...], Field(min_length=1)] = ("cg",)

    @model_validator(mode="after")
    def _agree(self) -> Self:
        """Check what belongs together."""
        self.conditions(temperature=300.0, pressure=1.0, seed=1)
        if (width := (_AREA * self.per_leaflet) ** 0.5) < _ROOM * self.cutoff:
            raise ValueError(
                f"per_leaflet: found {self.per_leaflet} lipids, about {width:.1f} nm wide; a cutoff of "
                f"{self.cutoff:g} nm needs {_ROOM * self.cutoff:.1f} nm"
            )
        if "area" in self.settled and (length := self.production * self.timestep) < _LONG:
            raise ValueError(
                f"settled: found the area with a production of {length:g} ps, expected {_LONG:g} ps or more; leave it "
                "out for a short run"
            )
        for name in self.peptides:
            if name in (*LIPIDS, *_IONS, _WATER):
                raise ValueError(f'peptides: found "{name}", which is another molecule')
        return self

    def conditions(self, *, temperature: float, pressure: float, seed: int) -> Conditions:
        """Return how a system is simulated."""
        return Conditions(
            temperature=temperature,
            pressure=pressure,
            membrane=True,
            timestep=self.timestep,
            equilibration=self.equilibration,
            production=self.production,
            every=self.every,
            cutoff=self.cutoff,
            seed=seed,
        )


def refused(point: Mapping[str, Any], settings: Settings) -> str:
    """Say why a point is not simulated: its lipid has no patch or no mapping, or its peptide is not known.

    Examples
    --------
    >>> refused({"lipid": "DMPD", "temperature": 303.0, "peptide": "", "pressure": 1.0}, Settings())
    'found the lipid "DMPD"; did you mean "DMPC"?'
    """
    lipid, peptide = point["lipid"], point["peptide"]
    if lipid not in LIPIDS:
        return f'found the lipid "{lipid}"{did_you_mean(lipid, LIPIDS)}'
    if lipid not in settings.mappings and "cg" in settings.levels:
        return f"{lipid} has no mapping in settings.mappings"
    if peptide and peptide not in settings.peptides:
        return f'found the peptide "{peptide}", not in settings.peptides{did_you_mean(peptide, settings.peptides)}'
    return ""


def simulate(point: Mapping[str, Any], settings: Settings, *, seed: int, engine: str, folder: Path) -> Outcome:
    """Simulate one system; leave `system.top`, `system.gro`, `trajectory.xtc` and `series.csv` in the folder."""
    start = _start(point, settings, seed=seed)
    write_start(start, folder)
    conditions = settings.conditions(temperature=point["temperature"], pressure=point["pressure"], seed=seed)
    motion = run_md(folder, conditions, engine=engine)
    measured, discard, failure = judge(motion, conditions, settled=settings.settled)
    lipid, peptide = point["lipid"], point["peptide"]
    composition = _composition(start, peptide)
    if not failure.startswith("exploded"):
        measured |= _area(motion, measured, discard, per_leaflet=composition[lipid] / 2)
    mapped = {lipid: mapping_name(lipid), **({peptide: "residue"} if peptide else {})}
    dois = [*_DOIS, *([_PEPTIDE_DOI, settings.peptides[peptide].doi] if peptide else [])]
    return Outcome(
        failure=failure,
        engine=motion.engine,
        measured=measured,
        system={
            "title": _title(point, settings),
            "kind": "bilayer",
            "forcefield": "Lipid21, TIP3P" + (", ff14SB" if peptide else ""),
            "temperature": f"{point['temperature']!r} K",
            "pressure": f"{point['pressure']!r} bar",
            "ensemble": "NPT",
            "composition": composition,
            "doi": ", ".join(doi for doi in dois if doi),
            "parameters": _parameters(point, settings, measured),
        },
        mapping={name: mapped.get(name, "drop") for name in composition},
        mapping_files={mapped[lipid]: settings.mappings[lipid]} if lipid in settings.mappings else {},
        levels=settings.levels,
        runs=(Run(discard=discard, topology="system.top"),),
    )


def _start(point: Mapping[str, Any], settings: Settings, *, seed: int) -> Start:
    """Build a system."""
    forcefield = load_forcefield(*BILAYER_FORCEFIELD)
    model = bilayer(point["lipid"], per_leaflet=settings.per_leaflet, water=settings.water)
    if name := point["peptide"]:
        peptide = settings.peptides[name]
        model = insert(
            helix(peptide.sequence, forcefield),
            model,
            forcefield,
            height=peptide.height,
            flat=peptide.placement == "surface",
            seed=seed,
        )
    return start_of(model, forcefield, hydrogen_mass=settings.hydrogen_mass, names={"ACE": point["peptide"]})


def _composition(start: Start, peptide: str) -> dict[str, int]:
    """Count the molecules of each kind; all but the peptide are of one residue."""
    first = np.unique(start.residue_id, return_index=True)[1]
    found = Counter(start.residue[first].tolist())
    counts = {name: found[name] for name in (*LIPIDS, _WATER, *_IONS) if name in found}
    return {peptide: 1, **counts} if peptide else counts


def _area(motion: Motion, measured: Mapping[str, Any], discard: float, *, per_leaflet: float) -> dict[str, Any]:
    """Return the area per lipid in nm², its error, and whether it is settled; both are known of long runs only."""
    start, drifting = settled_from({"area": motion.series["area"][motion.time >= discard]})
    long = float(motion.time[-1]) - discard >= _LONG / 2  # half of a run at most is not settled
    error = measured["area_error"] if long else None
    return {
        "area_error": error,
        "area_per_lipid": float(f"{measured['area'] / per_leaflet:.5g}"),
        "area_per_lipid_error": error and float(f"{error / per_leaflet:.2g}"),
        "area_settled": long and start == 0 and not drifting,
    }


def _title(point: Mapping[str, Any], settings: Settings) -> str:
    """Write what a point is."""
    name = point["peptide"]
    with_peptide = f"{name} {_TITLES[settings.peptides[name].placement]} a " if name else ""
    return f"{with_peptide}{point['lipid']} bilayer, {point['temperature']:g} K, {settings.water} waters per lipid"


def _parameters(point: Mapping[str, Any], settings: Settings, measured: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a dataset can be found by."""
    return {
        "lipid": point["lipid"],
        **({"peptide": point["peptide"]} if point["peptide"] else {}),
        **{key: measured[key] for key in ("area_per_lipid", "area_settled") if key in measured},
        "water_per_lipid": settings.water,
        "cutoff": settings.cutoff,  # nm
        "timestep": settings.timestep,  # ps
        "hydrogen_mass": settings.hydrogen_mass,  # u
    }
