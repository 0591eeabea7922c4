"""The campaign kind `liquid`: molecular liquids and mixtures of two, swept over molecules, composition, T and p."""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationInfo, field_validator

from cgstore.building.molecule_files import Molecule, read_molecule, topology_of
from cgstore.building.packing import pack
from cgstore.building.start import Start, write_start
from cgstore.campaigns.judging import judge
from cgstore.campaigns.kinds import Outcome, Run
from cgstore.campaigns.sweep import one_of
from cgstore.documents import Document, Length, TextFile, Time, did_you_mean
from cgstore.engines.md import Conditions, run_md
from cgstore.errors import PhysicsError
from cgstore.readers.topologies import read_topology
from cgstore.readers.xtc import open_xtc

__all__ = ["DEFAULTS", "ENGINES", "PARAMETERS", "Settings", "refused", "simulate"]

PARAMETERS = {
    "molecule": "word",
    "solvent": "word",
    "fraction": "number",  # of all molecules, that are `molecule`
    "temperature": "temperature",
    "pressure": "pressure",
}
DEFAULTS: dict[str, float | str] = {"solvent": "", "fraction": 1.0}
ENGINES = ("gromacs", "openmm")

Float = NDArray[np.float64]

_FRAMES = 32  # at least: fewer do not show a drift
_U_PER_NM3 = 0.602214076  # of one kg/m³
_ROOM = 2.2  # edge of the box in units of the cutoff: twice, with what neighbour lists and the barostat need
_STARTS = (0.95, 0.85, 0.7, 0.5)  # of the density of the liquid: the first at which molecules do not overlap
_VAPOUR = 0.5  # of the density of the liquid; what is thinner is none
_STUCK = 0.5  # of the distance of neighbours; molecules of a crystal move by 0.2 (Lindemann's criterion)


class _MoleculeFiles(Document):
    """A molecule of `[settings.molecules]`."""

    topology: TextFile
    geometry: TextFile
    density: Annotated[float, Field(gt=0, allow_inf_nan=False)]  # kg/m³ of the liquid, roughly
    model: str = ""  # for the catalog
    doi: str = ""

    @field_validator("geometry")
    @classmethod
    def _fits(cls, geometry: str, info: ValidationInfo) -> str:
        """Check that topology and geometry can be read and belong together."""
        if "topology" in info.data:
            read_molecule(info.data["topology"], geometry)
        return geometry

    def read(self) -> Molecule:
        """Return the molecule."""
        return read_molecule(self.topology, self.geometry)


class Settings(Document):
    """What all systems have in common."""

    molecules: Annotated[dict[str, _MoleculeFiles], Field(min_length=1)]
    number: Annotated[int, Field(ge=2, strict=True)] = 256  # of molecules in the box, all kinds together
    dropped: tuple[str, ...] = ()  # molecules that are not mapped, such as an implicit solvent
    timestep: Annotated[Time, Field(gt=0, allow_inf_nan=False)] = 0.002  # ps
    equilibration: Annotated[int, Field(ge=0, strict=True)] = 25_000  # steps
    production: Annotated[int, Field(ge=1, strict=True)] = 100_000  # steps
    every: Annotated[int, Field(ge=1, strict=True)] = 250  # steps between frames
    cutoff: Annotated[Length, Field(gt=0, allow_inf_nan=False)] = 1.0  # nm
    friction: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.5  # 1/ps; slows molecules by a few percent
    electrostatics: Annotated[str, one_of(("pme", "none"))] = "pme"
    constraints: Annotated[str, one_of(("none", "h-bonds", "all-bonds"))] = "h-bonds"

    @field_validator("dropped")
    @classmethod
    def _known(cls, dropped: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        """Check that molecules are known."""
        molecules = info.data.get("molecules", dropped)
        for name in dropped:
            if name not in molecules:
                raise ValueError(f'found "{name}", which is not in settings.molecules{did_you_mean(name, molecules)}')
        return dropped

    @field_validator("every")
    @classmethod
    def _several_frames(cls, every: int, info: ValidationInfo) -> int:
        """Ask for as many frames as a drift can be seen in."""
        production = info.data.get("production", every * _FRAMES)
        if production % every or production < _FRAMES * every:
            raise ValueError(
                f"found {every}, expected a part of production, {production} steps, for at least {_FRAMES} frames"
            )
        return every

    def conditions(self, *, temperature: float, pressure: float, seed: int) -> Conditions:
        """Return how a system is simulated."""
        return Conditions(
            temperature=temperature,
            pressure=pressure,
            timestep=self.timestep,
            friction=self.friction,
            equilibration=self.equilibration,
            production=self.production,
            every=self.every,
            cutoff=self.cutoff,
            electrostatics=self.electrostatics,
            constraints=self.constraints,
            seed=seed,
        )


def refused(point: Mapping[str, Any], settings: Settings) -> str:
    """Say why a point is not simulated: its molecules are not known or do not mix, or the box would be too small.

    Examples
    --------
    >>> from cgstore.campaigns.campaign import load_campaign
    >>> settings = load_campaign("ingest/campaigns/simple_liquids.toml").settings
    >>> point = {"molecule": "F2", "solvent": "", "fraction": 1.0, "temperature": 85.0, "pressure": 10.0}
    >>> refused(point, settings), refused({**point, "fraction": 0.5}, settings)
    ('', 'a mixture, fraction 0.5, without a solvent')
    """
    molecule, solvent, fraction = point["molecule"], point["solvent"], point["fraction"]
    for name in (molecule, solvent):
        if name and name not in settings.molecules:
            return f'"{name}" is not in settings.molecules{did_you_mean(name, settings.molecules)}'
    if not 0 < fraction <= 1:
        return f"the fraction {fraction:g} is not between 0 and 1"
    if fraction < 1 and not solvent:
        return f"a mixture, fraction {fraction:g}, without a solvent"
    if molecule == solvent:
        return f"{molecule} in itself"
    counts = _counts(point, settings)
    if min(counts.values()) < 1:
        return f"of {settings.number} molecules none would be {min(counts, key=lambda name: counts[name])}"
    if set(counts) <= set(settings.dropped):
        return "the mapping drops every molecule"
    species = {name: settings.molecules[name].read() for name in counts}
    charge = sum(species[name].charge * count for name, count in counts.items())
    if charge:
        return f"the box would have a charge of {charge:+g} e"
    topology_of([(species[name], count) for name, count in counts.items()], title="")
    edge = _volume(counts, species, settings) ** (1 / 3)
    if edge < _ROOM * settings.cutoff:
        return f"a box of about {edge:.2f} nm is too small for a cutoff of {settings.cutoff:g} nm; take more molecules"
    return ""


def simulate(point: Mapping[str, Any], settings: Settings, *, seed: int, engine: str, folder: Path) -> Outcome:
    """Simulate one system; leave `system.top`, `system.gro`, `trajectory.xtc` and `series.csv` in the folder."""
    counts = _counts(point, settings)
    species = {name: settings.molecules[name].read() for name in counts}
    volume = _volume(counts, species, settings)
    title = _title(point)
    molecules = [(species[name], count) for name, count in counts.items()]
    write_start(_packed(molecules, settings.number / volume, title=title, seed=seed), folder)
    conditions = settings.conditions(temperature=point["temperature"], pressure=point["pressure"], seed=seed)
    motion = run_md(folder, conditions, engine=engine)
    measured, discard, failure = judge(motion, conditions)
    mass = sum(float(species[name].mass.sum()) * count for name, count in counts.items())
    kept = [name for name in counts if name not in settings.dropped]
    if not failure.startswith("exploded"):
        moved = _moved(folder, motion.time >= discard)
        measured["displacement"] = float(f"{moved:.4g}")  # nm, root mean square, from the first frame to the last
        failure = _phase(measured["density"], mass / volume / _U_PER_NM3, moved, settings.number / volume) or failure
    files = [settings.molecules[name] for name in counts]
    return Outcome(
        failure=failure,
        engine=motion.engine,
        measured=measured,
        system={
            "title": title,
            "kind": "liquid",
            "forcefield": " + ".join(dict.fromkeys(file.model for file in files if file.model)),
            "temperature": f"{point['temperature']!r} K",
            "pressure": f"{point['pressure']!r} bar",
            "ensemble": "NPT",
            "composition": {species[name].name: count for name, count in counts.items()},
            "doi": ", ".join(dict.fromkeys(file.doi for file in files if file.doi)),
            "parameters": _parameters(point, settings, measured, sum(counts[name] for name in kept) / mass),
        },
        mapping={species[name].name: "molecule" if name in kept else "drop" for name in counts},
        runs=(Run(discard=discard, topology="system.top"),),
    )


def _packed(molecules: list[tuple[Molecule, int]], density: float, *, title: str, seed: int) -> Start:
    """Return a box nearly as dense as the liquid, of `density` molecules per nm³, without overlaps."""
    for part in _STARTS[:-1]:
        with suppress(PhysicsError):
            return pack(molecules, density=part * density, title=title, seed=seed)
    return pack(molecules, density=_STARTS[-1] * density, title=title, seed=seed)


def _title(point: Mapping[str, Any]) -> str:
    """Write what a point is."""
    of = f" in {point['solvent']}, mole fraction {point['fraction']:g}" if point["solvent"] else ""
    return f"Liquid {point['molecule']}{of}, {point['temperature']:g} K, {point['pressure']:g} bar"


def _counts(point: Mapping[str, Any], settings: Settings) -> dict[str, int]:
    """Return how many molecules there are of each kind."""
    first = round(point["fraction"] * settings.number)
    counts = {point["molecule"]: first}
    return counts if point["fraction"] == 1 else {**counts, point["solvent"]: settings.number - first}


def _volume(counts: Mapping[str, int], species: Mapping[str, Molecule], settings: Settings) -> float:
    """Return the volume in nm³ that the liquids have before they are mixed."""
    return sum(
        float(species[name].mass.sum()) * count / (settings.molecules[name].density * _U_PER_NM3)
        for name, count in counts.items()
    )


def _parameters(
    point: Mapping[str, Any], settings: Settings, measured: Mapping[str, Any], per_mass: float
) -> dict[str, Any]:
    """Return what a dataset can be found by; beads per nm³ as in other campaigns."""
    density = measured.get("density", 0.0)  # kg/m³
    mixture = {"solvent": point["solvent"]} if point["solvent"] else {}
    return {
        "molecule": point["molecule"],
        **mixture,
        "fraction": point["fraction"],
        "density": float(f"{per_mass * density * _U_PER_NM3:.6g}"),  # per nm³
        "mass_density": float(f"{density:.6g}"),  # kg/m³
        "cutoff": settings.cutoff,  # nm
        "timestep": settings.timestep,  # ps
    }


def _moved(folder: Path, kept: NDArray[np.bool_]) -> float:
    """Return the root mean square displacement of the molecules from the first to the last kept frame, in nm.

    Notes
    -----
    Coordinates in units of the box are summed from frame to frame, each time by the nearest image, so that neither
    boundaries nor a change of the volume count.
    """
    frames = open_xtc(folder / "trajectory.xtc").read(np.flatnonzero(kept))
    topology = read_topology(folder / "system.top")
    assert frames.box is not None  # liquids are at constant pressure
    box = frames.box.astype(np.float64)
    inside = frames.position @ np.linalg.inv(box)  # (frame, atom, xyz)
    step = np.diff(inside, axis=0)
    moved = (step - np.round(step)).sum(axis=0) @ box.mean(axis=0)  # (atom, xyz) nm
    weight = np.bincount(topology.molecule, topology.mass)
    centre = np.stack([np.bincount(topology.molecule, topology.mass * moved[:, axis]) / weight for axis in range(3)])
    centre -= (centre @ weight / weight.sum())[:, None]
    return float(np.sqrt((centre**2).sum(axis=0).mean()))


def _phase(density: float, liquid: float, moved: float, number: float) -> str:
    """Say what is wrong if this is no liquid: thin as a vapour, or without motion as a solid.

    Parameters
    ----------
    density, liquid : kg/m³, found and expected
    moved : nm
    number : molecules per nm³ of the liquid

    Examples
    --------
    >>> _phase(2.0, 420.0, 3.0, 16.0)
    'evaporated: 2 kg/m³ is below half the density of the liquid, about 420 kg/m³'
    >>> _phase(430.0, 420.0, 0.1, 16.0)
    'frozen: molecules moved by 0.1 nm, less than half the distance of neighbours, 0.4 nm; a liquid needs a longer run'
    """
    if density < _VAPOUR * liquid:
        return f"evaporated: {density:.3g} kg/m³ is below half the density of the liquid, about {liquid:.3g} kg/m³"
    apart = number ** (-1 / 3)
    if moved < _STUCK * apart:
        return (
            f"frozen: molecules moved by {moved:.2g} nm, less than half the distance of neighbours, {apart:.2g} nm; "
            "a liquid needs a longer run"
        )
    return ""
