"""Campaign files: which systems are simulated, how long and by what, checked as a whole; the digest of their meaning.

A file holds its sizes, `small` for a laptop and `full` for a cluster. A size that only changes the number of systems
shares them with the others: the small campaign is the beginning of the full one.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import ConfigDict, Field

from cgstore.campaigns.kinds import KINDS, kind_of
from cgstore.campaigns.sweep import Sweep, SweepTable, one_of, read_sweep
from cgstore.documents import Document, did_you_mean, digest, load_document, parse_document
from cgstore.errors import InputError
from cgstore.recipe import Count, Name

__all__ = ["ENGINES", "Campaign", "load_campaign"]

ENGINES = ("auto", "openmm", "gromacs", "lammps")


class _About(Document):
    """The table `[campaign]`."""

    name: Name
    title: str = ""
    kind: Annotated[str, one_of(KINDS)]
    engine: Annotated[str, one_of(ENGINES)] = "auto"
    doi: str = ""
    license: str = ""
    authors: tuple[str, ...] = ()


class _Size(Document):
    """A table `[size.NAME]`: how many systems, and settings that differ."""

    model_config = ConfigDict(extra="allow")

    systems: Count | None = None


class _CampaignFile(Document):
    """A campaign as it stands in its file; the settings are checked by its kind."""

    campaign: _About
    sweep: Annotated[SweepTable, Field(validate_default=True)]
    settings: dict[str, Any] = Field(default={})
    size: dict[str, _Size] = Field(default={})


@dataclass(frozen=True, slots=True)
class Campaign:
    """One size of a campaign, checked; plain data that travels to other processes.

    `prefix` begins the names of the systems and is the folder in the archive. `digest` names the meaning of all but the
    size.
    """

    name: str
    title: str
    kind: str
    engine: str
    about: dict[str, Any]  # doi, license, authors
    sweep: Sweep
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
    >>> campaign.prefix, campaign.systems, campaign.sweep.values["sigma"]
    ('lennard_jones', 26000, (0.28, 0.48))
    """
    where = str(path)
    file = load_document(Path(path), _CampaignFile)
    if file.size and size not in file.size:
        raise InputError(f"{where}: size: found no [size.{size}]{did_you_mean(size, file.size)}")
    chosen = file.size.get(size, _Size())
    kind = kind_of(file.campaign.kind)
    problems: list[str] = []
    if file.campaign.engine not in ("auto", *kind.ENGINES):
        wanted = " | ".join(("auto", *kind.ENGINES))
        problems.append(f'campaign.engine   found "{file.campaign.engine}", but {file.campaign.kind} needs {wanted}')
    sweep = read_sweep(file.sweep, kind, problems)
    changed = chosen.model_extra or {}
    settings = None
    try:
        settings = parse_document(
            {**file.settings, **changed}, kind.Settings, where="[settings]", folder=Path(path).parent
        )
    except InputError as error:
        problems += [f"settings.{line.strip()}" for line in str(error).splitlines()[1:]]
    if problems or settings is None:
        count = f"{len(problems)} problem{'' if len(problems) == 1 else 's'}"
        raise InputError("\n".join([f"{where}: {count}", *(f"  {problem.strip()}" for problem in problems)]))
    about = file.campaign
    meaning = {
        "name": about.name,
        "kind": about.kind,
        "engine": about.engine,
        "method": sweep.method,
        "seed": sweep.seed,
        "values": sweep.values,
        "powers": sweep.powers,
        "points": sweep.points,
        "settings": settings.model_dump(mode="json"),
    }
    return Campaign(
        name=about.name,
        title=about.title,
        kind=about.kind,
        engine=about.engine,
        about={"doi": about.doi, "license": about.license, "authors": list(about.authors)},
        sweep=sweep,
        settings=settings,
        systems=chosen.systems,
        prefix=f"{about.name}_{size}" if changed else about.name,
        digest=digest(meaning),
    )
