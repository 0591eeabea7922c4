"""Planning: the systems of a campaign as pure data, the same on every machine and in every order of work."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from cgstore.campaigns.campaign import Campaign
from cgstore.campaigns.kinds import Point, kind_of
from cgstore.documents import digest
from cgstore.errors import InputError

__all__ = ["Planned", "plan_systems", "refused_points"]

_BLOCK = 1024  # points of the sequence drawn at a time, a power of two
_FRUITLESS = 64  # blocks without an accepted point


@dataclass(frozen=True, slots=True)
class Planned:
    """One system that is to be simulated; `digest` names all that decides about its frames."""

    name: str
    parameters: Point
    seed: int
    digest: str


def plan_systems(campaign: Campaign) -> list[Planned]:
    """Return the systems of a campaign: those points of its sweep that its kind does not refuse.

    Raises
    ------
    InputError : the kind refuses every point, or the first 65 536 of a sample

    Notes
    -----
    A sample are the points of a Sobol sequence, shifted by one random vector of its seed (Cranley and Patterson 1976,
    doi:10.1137/0713071): any beginning of it covers the ranges evenly, or those of a power of a parameter, so more
    systems can be added later. A grid runs through the last parameter first. A point that stands twice in a list is
    simulated twice, with another seed.

    Examples
    --------
    >>> from cgstore.campaigns.campaign import load_campaign
    >>> small = plan_systems(load_campaign("ingest/campaigns/lennard_jones.toml", size="small"))
    >>> small[0].name, sorted(small[0].parameters)
    ('lennard_jones_00000', ['edge', 'epsilon', 'sigma', 'temperature'])
    """
    points = itertools.islice(_accepted(campaign), campaign.systems)
    systems = [_planned(campaign, number, point) for number, point in enumerate(points)]
    if not systems:
        raise InputError(f"campaign {campaign.name}: every point of its sweep is refused; see docs/campaigns.md")
    return systems


def refused_points(campaign: Campaign) -> list[str]:
    """Return the points of a grid or list that are not simulated, each with the reason; of a sample, none is missed."""
    if campaign.sweep.method == "sample":
        return []
    kind = kind_of(campaign.kind)
    reasons = ((point, kind.refused(point, campaign.settings)) for point in _points(campaign))
    return [f"{_described(point)}: {reason}" for point, reason in reasons if reason]


def _described(point: Point) -> str:
    """Write a point for people."""
    return ", ".join(
        f"{key} {value:g}" if isinstance(value, float) else f"{key} {value}" for key, value in point.items()
    )


def _planned(campaign: Campaign, number: int, point: Point) -> Planned:
    """Name a point and give it a seed."""
    seed = int(digest([campaign.sweep.seed, number])[:8], 16) % (2**31 - 2) + 1  # positive: what engines take
    settings = campaign.settings.model_dump(mode="json")
    meaning = {"kind": campaign.kind, "engine": campaign.engine, "settings": settings, "point": point, "seed": seed}
    return Planned(f"{campaign.prefix}_{number:05d}", point, seed, digest(meaning))


def _accepted(campaign: Campaign) -> Iterator[Point]:
    """Yield the points that are not refused, endlessly for a sample."""
    kind = kind_of(campaign.kind)
    fruitless = 0
    for point in _points(campaign):
        fruitless += 1
        if not kind.refused(point, campaign.settings):
            fruitless = 0
            yield point
        elif campaign.sweep.method == "sample" and fruitless > _FRUITLESS * _BLOCK:
            return


def _points(campaign: Campaign) -> Iterator[Point]:
    """Yield every point of the sweep."""
    if campaign.sweep.method == "list":
        yield from campaign.sweep.points
    elif campaign.sweep.method == "grid":
        for numbers in itertools.product(*campaign.sweep.values.values()):
            yield dict(zip(campaign.sweep.values, numbers, strict=True))
    else:
        yield from _sampled(campaign)


def _sampled(campaign: Campaign) -> Iterator[Point]:
    """Yield the points of a shifted Sobol sequence, rounded to what a person would write."""
    from scipy.stats import qmc

    values = campaign.sweep.values
    constant = {name: found[0] for name, found in values.items() if len(found) == 1}
    names = sorted(set(values) - set(constant))  # the order in the file has no meaning
    if not names:
        yield constant
        return
    power = np.array([campaign.sweep.powers.get(name, 1.0) for name in names])
    low, high = np.array([values[name] for name in names], np.float64).T ** power
    shift = np.random.Generator(np.random.Philox(campaign.sweep.seed)).random(len(names))
    sequence = qmc.Sobol(len(names), scramble=False)
    for _ in range(2**30 // _BLOCK):
        for numbers in (low + (sequence.random(_BLOCK) + shift) % 1.0 * (high - low)) ** (1 / power):
            yield constant | {name: float(f"{number:.6g}") for name, number in zip(names, numbers, strict=True)}
