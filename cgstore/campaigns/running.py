"""Running one system: its folder appears whole, finished or failed, with the record of how it was made.

The record, `record.json`, says what the system was planned as; the recipe, `recipe.toml`, brings it into a store and is
there only if nothing is wrong with it.
"""

import json
import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cgstore.campaigns.campaign import Campaign
from cgstore.campaigns.kinds import Outcome, kind_of
from cgstore.campaigns.planning import Planned
from cgstore.documents import toml_key, toml_value
from cgstore.errors import ConflictError, EngineFailure, InputError, StoreError
from cgstore.store.folders import publish_folder, replace_file, staging

__all__ = ["Record", "read_record", "recipe_of", "run_system"]

_RECORD, _RECIPE = "record.json", "recipe.toml"
_MAPPINGS = "mappings"  # beside the folders of the systems: a recipe finds the files that it names there


@dataclass(frozen=True, slots=True)
class Record:
    """What became of one system; `failure` is empty when it is sound, else a word and a reason.

    `datasets` are those that its recipe makes.
    """

    name: str
    digest: str  # of what was planned
    failure: str
    engine: str
    seconds: float
    measured: dict[str, Any]
    datasets: tuple[str, ...]


def recipe_of(archive: Path, campaign: Campaign, name: str) -> Path:
    """Return the path of the recipe of a finished system."""
    return archive / campaign.prefix / name / _RECIPE


def read_record(archive: Path, campaign: Campaign, item: Planned) -> Record | None:
    """Return the record of a system, None if it was not run yet.

    Raises
    ------
    InputError : the folder holds another system of the same name
    StoreError : the folder has no record that can be read
    """
    folder = archive / campaign.prefix / item.name
    try:
        plain = json.loads((folder / _RECORD).read_text(encoding="utf-8"))
        record = Record(**{key: plain[key] for key in Record.__slots__} | {"datasets": tuple(plain["datasets"])})
    except FileNotFoundError:
        if folder.exists():
            raise StoreError(f"{folder}: found no {_RECORD}; this was not made by a campaign, move it away") from None
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{folder / _RECORD}: cannot be read ({error}); remove the folder to run it again") from error
    if record.digest != item.digest:
        raise InputError(
            f"{folder}: found another system of this name; the campaign changed since it was run. Give the campaign "
            "another name, or remove the folder"
        )
    return record


def run_system(item: Planned, campaign: Campaign, archive: Path, *, again: bool = False) -> Record:
    """Simulate one system into the archive; what an engine cannot do is recorded as a failure.

    Parameters
    ----------
    again : replace what is there, a system that failed

    Raises
    ------
    MissingExtra, InputError : the engine is not there; nothing is left behind
    """
    parent = archive / campaign.prefix
    begin = time.perf_counter()
    with staging(parent) as folder:
        outcome, failure = _simulated(item, campaign, folder)
        sound = outcome if outcome and not failure else None
        record = Record(
            name=item.name,
            digest=item.digest,
            failure=failure,
            engine=outcome.engine if outcome else campaign.engine,
            seconds=round(time.perf_counter() - begin, 3),
            measured=outcome.measured if outcome else {},
            datasets=_datasets(item, sound) if sound else (),
        )
        details = {
            "campaign": {"name": campaign.name, "kind": campaign.kind, "digest": campaign.digest},
            "parameters": item.parameters,
            "seed": item.seed,
            "settings": campaign.settings.model_dump(mode="json"),
        }
        text = json.dumps({**asdict(record), **details}, indent=1, ensure_ascii=False, allow_nan=False)
        (folder / _RECORD).write_text(text + "\n", encoding="utf-8")
        if sound:
            (folder / _RECIPE).write_text(_recipe(item, campaign, sound), encoding="utf-8")
            _write_mappings(parent / _MAPPINGS, sound)
        if again:
            shutil.rmtree(parent / item.name, ignore_errors=True)
        try:
            publish_folder(folder, parent / item.name)
        except ConflictError:  # another process ran the same system and was quicker: both are right
            return read_record(archive, campaign, item) or record
    return record


def _simulated(item: Planned, campaign: Campaign, folder: Path) -> tuple[Outcome | None, str]:
    """Simulate, and return what came of it with what is wrong."""
    kind = kind_of(campaign.kind)
    try:
        outcome = kind.simulate(
            item.parameters, campaign.settings, seed=item.seed, engine=campaign.engine, folder=folder
        )
    except EngineFailure as error:
        (folder / "failure.log").write_text(f"{error}\n", encoding="utf-8")
        return None, f"exploded: {error}"
    return outcome, outcome.failure


def _datasets(item: Planned, outcome: Outcome) -> tuple[str, ...]:
    """Return the names of the datasets of a sound system."""
    return tuple(f"{item.name}/{run.name}/{level}" for run in outcome.runs for level in outcome.levels)


def _write_mappings(folder: Path, outcome: Outcome) -> None:
    """Write the mapping files of a campaign, which are the same for all its systems."""
    for name, text in outcome.mapping_files.items():
        path = folder / f"{name}.toml"
        if not (path.is_file() and path.read_text(encoding="utf-8") == text):
            folder.mkdir(exist_ok=True)
            replace_file(path, text.encode())


def _recipe(item: Planned, campaign: Campaign, outcome: Outcome) -> str:
    """Write the recipe of a sound system; paths are relative to the archive."""
    place = f"{campaign.prefix}/{item.name}"
    system = dict(outcome.system)
    parameters = system.pop("parameters", {})
    # In a table of its own: what differs in every system is nothing to search for.
    provenance = {"campaign_digest": campaign.digest, "system_digest": item.digest, "seed": item.seed}
    about = {key: value for key, value in campaign.about.items() if value}
    runs = [
        {
            "name": run.name,
            "topology": f"{place}/{run.topology}",
            "trajectory": [f"{place}/{run.trajectory}"],
            "discard": f"{run.discard:.9g} ps",
        }
        for run in outcome.runs
    ]
    tables = [
        (
            "system",
            {
                "name": item.name,
                **system,
                "software": outcome.engine,
                **about,
                "parameters": {**parameters, "campaign": campaign.name, "provenance": provenance},
            },
        ),
        *(("[run]", run) for run in runs),
        ("masses", outcome.masses),
        ("mapping", outcome.mapping),
        ("store", {"levels": list(outcome.levels), "precision": outcome.precision}),
    ]
    blocks = [
        "\n".join([f"[{title}]", *(f"{toml_key(key)} = {toml_value(value)}" for key, value in table.items())])
        for title, table in tables
        if table
    ]
    return "# Written by cgstore simulate.\n\n" + "\n\n".join(blocks) + "\n"
