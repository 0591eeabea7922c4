"""Campaign files: which systems are simulated, how long and by what, checked as a whole; the digest of their meaning.

A file holds its sizes, `small` for a laptop and `full` for a cluster. A size that only changes the number of systems
shares them with the others: the small campaign is the beginning of the full one.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, ConfigDict, Field, ValidationInfo, field_validator

from cgstore.campaigns.kinds import KINDS, Kind, kind_of
from cgstore.documents import Document, did_you_mean, digest, load_document, parse_document, toml_value
from cgstore.errors import InputError
from cgstore.recipe import Count, Name
from cgstore.units import UNITS, parse_quantity

__all__ = ["ENGINES", "METHODS", "Campaign", "Point", "load_campaign"]

ENGINES = ("auto", "openmm", "lammps")
METHODS = ("grid", "list", "sample")
Point = dict[str, float]  # parameters of a system, in the units of cgstore


def _one_of(words: tuple[str, ...]) -> AfterValidator:
    """Make the validator of a string that has to be one of some words."""

    def check(value: str) -> str:
        if value not in words:
            raise ValueError(f'found "{value}", expected {" | ".join(words)}')
        return value

    return AfterValidator(check)


class _About(Document):
    """The table `[campaign]`."""

    name: Name
    title: str = ""
    kind: Annotated[str, _one_of(KINDS)]
    engine: Annotated[str, _one_of(ENGINES)] = "auto"
    doi: str = ""
    license: str = ""
    authors: tuple[str, ...] = ()


class _Sweep(Document):
    """The table `[sweep]`: quantities by the name of a parameter, or points of them."""

    method: Annotated[str, _one_of(METHODS)]
    seed: Annotated[int, Field(ge=0, strict=True)] = 1
    parameters: dict[str, tuple[str, ...]] = Field(default={})  # grid: values; sample: lower and upper end
    powers: dict[str, Annotated[float, Field(allow_inf_nan=False)]] = Field(default={})  # sample: even in this power
    points: tuple[dict[str, str], ...] = ()  # list

    @field_validator("powers")
    @classmethod
    def _of_a_sample(cls, powers: dict[str, float], info: ValidationInfo) -> dict[str, float]:
        """Check that there is a sample that can be even in these powers."""
        if powers and info.data.get("method") != "sample":
            raise ValueError(f"found {toml_value(powers)}, expected none: only a sample can be even in a power")
        for name, power in powers.items():
            if name not in (known := info.data.get("parameters", {})):
                raise ValueError(f'found "{name}", which is not in sweep.parameters{did_you_mean(name, known)}')
            if power == 0:
                raise ValueError(f"found {name} = 0, expected a power that is not zero")
        return powers

    @field_validator("points")
    @classmethod
    def _belong(cls, points: tuple[Any, ...], info: ValidationInfo) -> tuple[Any, ...]:
        """Check that there is what the method needs, and nothing else."""
        method, parameters = info.data.get("method"), info.data.get("parameters", {})
        if method == "list" and (parameters or not points):
            raise ValueError('found method = "list"; it needs points = [{…}, …], and no parameters')
        if method in ("grid", "sample") and (points or not parameters):
            raise ValueError(f'found method = "{method}"; it needs [sweep.parameters], and no points')
        return points


class _Size(Document):
    """A table `[size.NAME]`: how many systems, and settings that differ."""

    model_config = ConfigDict(extra="allow")

    systems: Count | None = None


class _CampaignFile(Document):
    """A campaign as it stands in its file; the settings are checked by its kind."""

    campaign: _About
    sweep: Annotated[_Sweep, Field(validate_default=True)]
    settings: dict[str, Any] = Field(default={})
    size: dict[str, _Size] = Field(default={})


@dataclass(frozen=True, slots=True)
class Campaign:
    """One size of a campaign, checked; plain data that travels to other processes.

    `values` are those of a grid, or the ends of the ranges of a sample, which is even in its `powers`; `points` are
    those of a list. `prefix` begins the names of the systems and is the folder in the archive. `digest` names the
    meaning of all but the size.
    """

    name: str
    title: str
    kind: str
    engine: str
    about: dict[str, Any]  # doi, license, authors
    method: str
    seed: int
    values: dict[str, tuple[float, ...]]
    powers: dict[str, float]
    points: tuple[Point, ...]
    settings: Document
    systems: int | None
    prefix: str
    digest: str


def load_campaign(path: Path | str, *, size: str = "small") -> Campaign:
    """Read one size of a campaign file.

    Raises
    ------
    InputError : the file is missing or wrong, or has no such size; the message lists every problem

    Examples
    --------
    >>> campaign = load_campaign("ingest/campaigns/lennard_jones.toml", size="full")
    >>> campaign.prefix, campaign.systems, campaign.values["sigma"]
    ('lennard_jones', 26000, (0.28, 0.48))
    """
    where = str(path)
    file = load_document(Path(path), _CampaignFile)
    if file.size and size not in file.size:
        raise InputError(f"{where}: size: found no [size.{size}]{did_you_mean(size, file.size)}")
    chosen = file.size.get(size, _Size())
    kind = kind_of(file.campaign.kind)
    problems: list[str] = []
    values, points = _quantities(file.sweep, kind, problems)
    changed = chosen.model_extra or {}
    settings = None
    try:
        settings = parse_document({**file.settings, **changed}, kind.Settings, where=f"{where} [settings]")
    except InputError as error:
        problems += str(error).splitlines()[1:]
    if problems or settings is None:
        count = f"{len(problems)} problem{'' if len(problems) == 1 else 's'}"
        raise InputError("\n".join([f"{where}: {count}", *(f"  {problem.strip()}" for problem in problems)]))
    about = file.campaign
    meaning = {
        "name": about.name,
        "kind": about.kind,
        "engine": about.engine,
        "method": file.sweep.method,
        "seed": file.sweep.seed,
        "values": values,
        "powers": file.sweep.powers,
        "points": points,
        "settings": settings.model_dump(mode="json"),
    }
    return Campaign(
        name=about.name,
        title=about.title,
        kind=about.kind,
        engine=about.engine,
        about={"doi": about.doi, "license": about.license, "authors": list(about.authors)},
        method=file.sweep.method,
        seed=file.sweep.seed,
        values=values,
        powers=file.sweep.powers,
        points=tuple(points),
        settings=settings,
        systems=chosen.systems,
        prefix=f"{about.name}_{size}" if changed else about.name,
        digest=digest(meaning),
    )


def _quantities(sweep: _Sweep, kind: Kind, problems: list[str]) -> tuple[dict[str, tuple[float, ...]], list[Point]]:
    """Read all quantities of a sweep; what is wrong is added to `problems`."""
    values: dict[str, tuple[float, ...]] = {}
    for name, texts in sweep.parameters.items():
        place = f"sweep.parameters.{name}"
        numbers = [_quantity(text, kind.PARAMETERS.get(name), place, kind, problems) for text in texts]
        values[name] = tuple(numbers)
        if sweep.method == "sample" and not (len(numbers) == 2 and numbers[0] < numbers[1]):
            problems.append(f"{place}   found {list(texts)}, expected the lower and the upper end of its range")
        elif not numbers:
            problems.append(f"{place}   found an empty list, expected at least one value")
    points = [
        {
            name: _quantity(text, kind.PARAMETERS.get(name), f"sweep.points[{k}].{name}", kind, problems)
            for name, text in point.items()
        }
        for k, point in enumerate(sweep.points)
    ]
    for place, given in [("sweep.parameters", values)] if values else [
        (f"sweep.points[{k}]", point) for k, point in enumerate(points)
    ]:  # fmt: skip
        missing = [name for name in kind.PARAMETERS if name not in given]
        problems += [f"{place}.{name}   missing" for name in missing]
    return values, points


def _quantity(text: str, dimension: str | None, place: str, kind: Kind, problems: list[str]) -> float:
    """Read one quantity of a parameter, or add a problem."""
    if dimension is None:
        problem = f"{place}   unknown parameter{did_you_mean(place.rsplit('.', 1)[-1], kind.PARAMETERS)}"
        if problem not in problems:
            problems.append(problem)
        return 0.0
    try:
        number = parse_quantity(text, dimension)
    except InputError as error:
        problems.append(f"{place}   {error}")
        return 0.0
    if not 0 < number < float("inf"):
        problems.append(f"{place}   found {text!r}, expected more than 0 {UNITS[dimension]}")
    return number
