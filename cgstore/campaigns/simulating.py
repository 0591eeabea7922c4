"""Simulate: a campaign from its file to datasets in a store; stopped at any instant, the same call goes on."""

import os
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from cgstore.campaigns.campaign import Campaign, load_campaign
from cgstore.campaigns.planning import Planned, plan_systems, refused_points
from cgstore.campaigns.running import Record, read_record, recipe_of
from cgstore.campaigns.scheduling import run_systems
from cgstore.catalog import open_catalog
from cgstore.errors import InputError
from cgstore.ingestion import ingest

__all__ = ["CampaignSummary", "simulate"]

Progress = Callable[[str, int, int], None]

_TOGETHER = 256  # systems ingested at a time: the lists of the store are written once for all of them


@dataclass(frozen=True, slots=True)
class CampaignSummary:
    """What became of a campaign: numbers of systems, failures by name, and how many datasets are new in the store."""

    campaign: str
    size: str
    digest: str
    planned: int
    refused: list[str]  # points of a grid or list, with the reason
    run: int  # now
    found: int  # finished before
    failed: dict[str, str]
    ingested: int
    seconds: float  # of simulation, summed over processes


def simulate(
    file: str | os.PathLike[str],
    *,
    size: str = "small",
    archive: str | os.PathLike[str] = "archive",
    store: str | os.PathLike[str] = "store",
    jobs: int | None = None,
    scheduler: str | None = None,
    retry: bool = False,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> CampaignSummary:
    """Run what is missing of a campaign and ingest what is sound.

    Parameters
    ----------
    file : the campaign, a TOML file
    size : which of its sizes
    archive : folder that gets `CAMPAIGN/SYSTEM/`; made when missing
    store : folder or URL of the store
    jobs : processes; as many as there are cores by default
    scheduler : address of a Dask scheduler whose workers see the same archive
    retry : run systems again that failed
    dry_run : plan and compare with the archive; run and write nothing
    progress : called as `progress(campaign, systems finished, systems in all)`

    Returns
    -------
    A summary; failed systems are in the archive with record and log, but not in the store.

    Raises
    ------
    InputError : the file is wrong, or the archive holds other systems of the same names
    MissingExtra : an engine is not installed

    Examples
    --------
    >>> simulate("ingest/campaigns/lennard_jones.toml", dry_run=True).planned
    48
    """
    campaign = load_campaign(Path(file), size=size)
    items = plan_systems(campaign)
    place = Path(archive)
    records = {item.name: read_record(place, campaign, item) for item in items}
    found = {name: record for name, record in records.items() if record and not (retry and record.failure)}
    missing = [item for item in items if item.name not in found]
    fresh: list[Record] = []
    ingested = 0
    if not dry_run:
        threads = jobs or len(os.sched_getaffinity(0))
        store_of = _Ingesting(place, os.fspath(store), campaign, threads)
        ingested = store_of.add([record for record in found.values() if not record.failure])
        waiting: list[Record] = []
        steps = run_systems(missing, campaign, place, jobs=threads, scheduler=scheduler, again=retry)
        with closing(steps):  # now, not when nobody remembers the traceback of an interrupt any more
            for record in steps:
                fresh.append(record)
                if progress:
                    progress(campaign.name, len(found) + len(fresh), len(items))
                waiting += [] if record.failure else [record]
                if len(waiting) == _TOGETHER:
                    ingested += store_of.add(waiting)
                    waiting = []
        ingested += store_of.add(waiting)
    return _summary(campaign, size, items, list(found.values()), fresh, ingested)


@dataclass(frozen=True, slots=True)
class _Ingesting:
    """Where sound systems go."""

    archive: Path
    store: str
    campaign: Campaign
    threads: int

    def add(self, records: list[Record]) -> int:
        """Ingest those systems that are not in the store; return how many."""
        there = self._there() if records else set()
        new = sorted(record.name for record in records if not there.issuperset(record.datasets))
        for first in range(0, len(new), _TOGETHER):
            recipes = [recipe_of(self.archive, self.campaign, name) for name in new[first : first + _TOGETHER]]
            ingest(recipes, archive=self.archive, store=self.store, jobs=self.threads)
        return len(new)

    def _there(self) -> set[str]:
        """Return the names of all datasets of the store, which need not exist."""
        try:
            return {str(row["name"]) for row in open_catalog(self.store).rows()}
        except InputError:
            return set()


def _summary(
    campaign: Campaign, size: str, items: list[Planned], found: list[Record], fresh: list[Record], ingested: int
) -> CampaignSummary:
    """Gather what is reported."""
    return CampaignSummary(
        campaign=campaign.name,
        size=size,
        digest=campaign.digest,
        planned=len(items),
        refused=refused_points(campaign),
        run=len(fresh),
        found=len(found),
        failed={
            record.name: record.failure for record in sorted([*found, *fresh], key=lambda r: r.name) if record.failure
        },
        ingested=ingested,
        seconds=round(sum(record.seconds for record in fresh), 3),
    )
