"""Recipes and mapping files: what the user says about one system of the archive, checked as a whole.

A recipe names the mapping files it needs; they are found, read and checked together with it, and every problem of
all these files is reported at once. The digests depend on what the files mean, not on how they are written or named.
"""

import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from cgstore.documents import (
    Document,
    Mass,
    Pressure,
    Temperature,
    Time,
    did_you_mean,
    digest,
    load_document,
    parse_document,
)
from cgstore.errors import InputError
from cgstore.units import parse_quantity

__all__ = ["BUILT_IN", "KINDS", "UNITS", "Bead", "MappingFile", "Recipe", "Run", "Store", "System", "load_recipe"]

KINDS = ("bilayer", "nanoparticle", "surface", "liquid", "solution", "molecule")
BUILT_IN = ("molecule", "residue", "drop", "keep")  # mappings that need no file
UNITS = ("real", "metal", "nano", "lj")  # of LAMMPS files
XTC_GRID = 0.001  # nm


def _one_of(*words: str) -> AfterValidator:
    """Make the validator of a string that has to be one of some words."""

    def check(value: str) -> str:
        if value not in words:
            hint = did_you_mean(value, words)
            hint = hint if "did you mean" in hint else ""  # what is known was said
            raise ValueError(f'found "{value}", expected {" | ".join(words)}{hint}')
        return value

    return AfterValidator(check)


def _finite(value: Any) -> Any:
    """Refuse nan and inf anywhere in plain data: they have no canonical form."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for item in inner:
        _finite(item)
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"found {value}, expected a finite number")
    return value


def _inside(value: str) -> str:
    """Refuse paths that leave the archive."""
    path = Path(value)
    if not value.strip() or path.is_absolute() or ".." in path.parts:
        raise ValueError(f'found "{value}", expected a path relative to the archive and inside it')
    return value


def _precision(value: object) -> float | None:
    """Read a length, or `"lossless"` as None."""
    if value == "lossless":
        return None
    try:
        return parse_quantity(value, "length")
    except InputError as error:
        raise ValueError(f'{error}, or "lossless"') from error


def _plain(value: str) -> str:
    """Check a name that becomes a folder and a catalog entry."""
    if not re.fullmatch("[a-z][a-z0-9_]*", value):
        raise ValueError(f'found "{value}", expected lower-case letters, digits and _, a letter first')
    return value


def _word(value: str) -> str:
    """Check the name of an atom or bead."""
    if not re.fullmatch(r"\S+", value):
        raise ValueError(f'found "{value}", expected a name without blanks')
    return value


def _some(value: tuple[Any, ...]) -> tuple[Any, ...]:
    """Refuse an empty list."""
    if not value:
        raise ValueError("found an empty list, expected at least one entry")
    return value


Name = Annotated[str, AfterValidator(_plain)]
Word = Annotated[str, AfterValidator(_word)]
Count = Annotated[int, Field(ge=1, strict=True)]
ArchivePath = Annotated[str, AfterValidator(_inside)]
Positive = Field(gt=0, allow_inf_nan=False)


class System(Document):
    """The table `[system]`: what was simulated."""

    name: Name
    title: str = ""
    kind: Annotated[str, _one_of(*KINDS)]
    forcefield: str = ""
    temperature: Annotated[Temperature, Positive] | None = None  # K
    pressure: Annotated[Pressure, Field(allow_inf_nan=False)] | None = None  # bar
    ensemble: str = ""
    composition: dict[str, Count] = Field(default={})  # molecules of each kind
    doi: str = ""
    license: str = ""
    authors: tuple[str, ...] = ()
    software: str = ""
    tags: tuple[str, ...] = ()
    parameters: Annotated[dict[str, Any], AfterValidator(_finite)] = Field(default={})


class Run(Document):
    """One `[[run]]`: the files of one simulation, and which of its frames are wanted."""

    name: Name
    topology: ArchivePath
    trajectory: Annotated[tuple[ArchivePath, ...], AfterValidator(_some)]
    discard: Annotated[Time, Field(allow_inf_nan=False)] = 0.0  # ps, absolute
    until: Annotated[Time, Field(allow_inf_nan=False)] | None = None  # ps, absolute; the last frame that is wanted
    stride: Count = 1
    interval: Annotated[Time, Positive] | None = None  # ps between frames, where the file's own times are unusable
    truncated: Annotated[str, _one_of("error", "keep")] = "error"
    units: Annotated[str, _one_of(*UNITS)] = "real"  # of LAMMPS files
    guess_bonds: Annotated[bool, Field(strict=True)] = False  # from the distances in the topology file

    @field_validator("until")
    @classmethod
    def _after_discard(cls, until: float | None, info: ValidationInfo) -> float | None:
        """Refuse an end before the beginning."""
        discard = info.data.get("discard")
        if until is not None and discard is not None and until <= discard:
            raise ValueError(f"found {until:g} ps, expected a time after discard, which is {discard:g} ps")
        return until


class Store(Document):
    """The table `[store]`: which levels are made, and how positions are kept (precision None: bit for bit)."""

    levels: Annotated[tuple[Name, ...], AfterValidator(_some)]
    precision: Annotated[Annotated[float, Positive] | None, BeforeValidator(_precision)] = XTC_GRID  # nm
    profile: Annotated[str, _one_of("fast", "small")] = "fast"
    copied: Annotated[bool, Field(alias="copy", strict=True)] = True  # False: atoms stay in the archive's XTC files

    @field_validator("copied")
    @classmethod
    def _can_be_referenced(cls, copied: bool, info: ValidationInfo) -> bool:
        """Check that what is not copied can be had from the XTC files themselves."""
        if not copied and "atoms" not in info.data.get("levels", ("atoms",)):
            raise ValueError(
                'found false without the level "atoms"; it is the one that is not copied, add it to levels'
            )
        if not copied and info.data.get("precision", XTC_GRID) != XTC_GRID:
            raise ValueError('found false with another precision than that of XTC; write precision = "0.001 nm"')
        return copied


class Bead(Document):
    """One `[[bead]]` of a mapping file; the type is the name unless it is given."""

    name: Word
    type: Word
    atoms: Annotated[tuple[Word, ...], AfterValidator(_some)]
    bonded_to: tuple[str, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _type_from_name(cls, data: Any) -> Any:
        """Make the default explicit, so that it has one digest."""
        return {"type": data["name"], **data} if isinstance(data, dict) and "name" in data else data


class MappingFile(Document):
    """A mapping file: which atoms of one kind of molecule make which bead."""

    molecule: str
    weight: Annotated[str, _one_of("mass", "equal")] = "mass"
    hydrogens: Annotated[str, _one_of("follow", "listed")] = "listed"
    bead: Annotated[tuple[Bead, ...], AfterValidator(_some)]

    @field_validator("bead")
    @classmethod
    def _consistent(cls, beads: tuple[Bead, ...]) -> tuple[Bead, ...]:
        """Check what beads say about each other."""
        names = [bead.name for bead in beads]
        problems = [f'{names.count(name)} beads named "{name}"' for name in sorted(set(names)) if names.count(name) > 1]
        atoms = [atom for bead in beads for atom in bead.atoms]
        problems += [f'atom "{atom}" used twice' for atom in sorted(set(atoms)) if atoms.count(atom) > 1]
        for bead in beads:
            for other in bead.bonded_to:
                if other not in names:
                    problems.append(f'"{bead.name}" bonded to "{other}", which is no bead{did_you_mean(other, names)}')
                elif other == bead.name:
                    problems.append(f'"{bead.name}" bonded to itself')
        if problems:
            raise ValueError("found " + "; ".join(problems))
        return beads


class _Content(Document):
    """Any table: to read a recipe before its mapping names are resolved."""

    model_config = ConfigDict(extra="allow")


@dataclass(frozen=True, slots=True)
class _Missing:
    """A mapping name without a file; the message says where it was looked for."""

    message: str


def _found(value: object) -> object:
    """Turn a name that could not be resolved into a problem of the recipe."""
    if isinstance(value, _Missing):
        raise ValueError(value.message)
    return value


class _RecipeFile(Document):
    """A recipe as it stands in its file, defaults filled in."""

    system: System
    run: Annotated[tuple[Run, ...], AfterValidator(_some)]
    masses: dict[Word, Annotated[Mass, Field(ge=0, allow_inf_nan=False)]] = Field(default={})  # u, by name or type
    mapping: dict[str, Annotated[str, BeforeValidator(_found)]] = Field(default={})
    store: Store

    @model_validator(mode="before")
    @classmethod
    def _default_levels(cls, data: Any) -> Any:
        """Make both levels where there is a mapping, else only the atoms."""
        store = data.get("store", {})
        levels = ["atoms", "cg"] if data.get("mapping") else ["atoms"]
        return {**data, "store": {"levels": levels, **store} if isinstance(store, dict) else store}

    @field_validator("run")
    @classmethod
    def _distinct(cls, runs: tuple[Run, ...]) -> tuple[Run, ...]:
        """Refuse two runs of one name."""
        names = [run.name for run in runs]
        if len(set(names)) < len(names):
            raise ValueError(f"found the run names {', '.join(names)}; each run needs its own name")
        return runs

    @field_validator("store")
    @classmethod
    def _levels_exist(cls, store: Store, info: ValidationInfo) -> Store:
        """Check the levels against the presence of a mapping."""
        mapped = [level for level in store.levels if level != "atoms"]
        if len(set(store.levels)) < len(store.levels) or len(mapped) > 1:
            raise ValueError(
                f'found the levels {list(store.levels)}, expected "atoms" and one name for the mapped level'
            )
        if mapped and not info.data.get("mapping", True):
            raise ValueError(f'found the level "{mapped[0]}", but there is no [mapping]; add it, or use ["atoms"]')
        files = [] if store.copied else [name for run in info.data.get("run", ()) for name in run.trajectory]
        if other := [name for name in files if Path(name).suffix.lower() != ".xtc"]:
            raise ValueError(f'found copy = false with "{other[0]}"; only .xtc files can stay in the archive')
        return store


@dataclass(frozen=True, slots=True)
class Recipe:
    """A checked recipe together with the mapping files it names.

    `beads` holds the mapping files by mapping name; `digest` covers the whole recipe, `mapping_digest` only what
    decides which beads come out.
    """

    path: Path
    system: System
    run: tuple[Run, ...]
    mapping: dict[str, str]  # by kind of molecule
    beads: dict[str, MappingFile]
    store: Store
    digest: str
    mapping_digest: str
    masses: dict[str, float] = field(default_factory=dict)  # u, by atom name or type


def load_recipe(path: Path | str) -> Recipe:
    """Read a recipe and the mapping files it names.

    A mapping name is looked for as `../mappings/NAME.toml` seen from the recipe's folder, then as
    `ingest/mappings/NAME.toml` in the current folder.

    Raises
    ------
    InputError : any file is missing or wrong; the message lists every problem of every file
    """
    path = Path(path)
    content = load_document(path, _Content).model_extra or {}
    table = content.get("mapping")
    names = {kind: name for kind, name in table.items() if isinstance(name, str)} if isinstance(table, dict) else {}
    files, missing = _find_mappings(path, {name for name in names.values() if name not in BUILT_IN})
    if isinstance(table, dict):
        content = {**content, "mapping": {kind: missing.get(str(name), name) for kind, name in table.items()}}
    problems: list[str] = []
    document, beads = None, {}
    try:
        document = parse_document(content, _RecipeFile, where=str(path))
    except InputError as error:
        problems.append(str(error))
    for name, file in files.items():
        try:
            beads[name] = load_document(file, MappingFile)
            problems += _other_molecule(file, beads[name], [kind for kind, used in names.items() if used == name])
        except InputError as error:
            problems.append(str(error))
    if document is None or problems:
        raise InputError("\n".join(problems))
    return _recipe(path, document, beads)


def _find_mappings(recipe: Path, names: set[str]) -> tuple[dict[str, Path], dict[str, _Missing]]:
    """Return the file of each mapping name, and a message for each that has none."""
    folders = (recipe.absolute().parent.parent / "mappings", Path("ingest/mappings").absolute())
    known = sorted({file.stem for folder in folders for file in folder.glob("*.toml")} | set(BUILT_IN))
    files, missing = {}, {}
    for name in sorted(names):
        file = next((folder / f"{name}.toml" for folder in folders if (folder / f"{name}.toml").is_file()), None)
        if file is not None and Path(name).name == name:
            files[name] = file
        else:
            looked = " or ".join(dict.fromkeys(map(str, folders)))
            missing[name] = _Missing(f'found "{name}", no such file in {looked}{did_you_mean(name, known)}')
    return files, missing


def _other_molecule(file: Path, mapping: MappingFile, kinds: list[str]) -> list[str]:
    """Return a problem when a recipe uses a mapping file for another kind than the file is made for."""
    wrong = [kind for kind in kinds if kind != mapping.molecule]
    if not wrong:
        return []
    return [
        f'{file}: 1 problem\n  molecule   found "{mapping.molecule}", but the recipe uses it for {", ".join(wrong)}'
    ]


def _recipe(path: Path, document: _RecipeFile, beads: dict[str, MappingFile]) -> Recipe:
    """Join the parts and add the digests."""
    files = {name: file.model_dump(mode="json") for name, file in beads.items()}
    meaning = {kind: files.get(name, name) for kind, name in document.mapping.items()}
    plain = {**document.model_dump(mode="json"), "mapping": meaning}
    return Recipe(
        path=path,
        system=document.system,
        run=document.run,
        mapping=document.mapping,
        beads=beads,
        store=document.store,
        digest=digest(plain),
        mapping_digest=digest(meaning),
        masses=document.masses,
    )
