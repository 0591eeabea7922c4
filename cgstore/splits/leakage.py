"""Leakage: what the parts of a split have in common although no rule says so, and what is only suspiciously near.

Leaks are the same run at the same or nearly the same time, the same source file, frames with the same content, copies
of frames in another precision (`deep`), and data of the standing promise. Digests and times are compared; positions
are read for `deep` only.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np

from cgstore.errors import InputError
from cgstore.splits.copies import copied_frames
from cgstore.splits.fingerprint import Fingerprint, fingerprint
from cgstore.splits.gaps import correlation_times, gap_of
from cgstore.splits.members import Catalog, Member
from cgstore.splits.promise import Promise, broken
from cgstore.splits.rules import Gap, PartName
from cgstore.splits.state_points import near_pairs
from cgstore.splits.time_blocks import least_gap

__all__ = ["MOST_LINES", "Leak", "Report", "look_for_leaks"]

MOST_LINES = 20  # of leaks in a message
_ROUNDING = 1e-9  # of a gap: borders are sums of times


@dataclass(frozen=True, slots=True)
class Leak:
    """What two parts have in common, or what is to be known of one."""

    kind: str
    parts: tuple[PartName, ...]
    datasets: tuple[str, ...]
    says: str

    def __str__(self) -> str:
        """Return it as one line."""
        who = " and ".join(f"{part} {name}" for part, name in zip(self.parts, self.datasets, strict=False))
        return f"{who}: {self.says}" if who else self.says


@dataclass(frozen=True, slots=True)
class Report:
    """Leaks, which make a split unusable; warnings, which are for people to judge; and what was read to find them."""

    leaks: tuple[Leak, ...]
    warnings: tuple[Leak, ...]
    prints: Mapping[Member, Fingerprint] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True, eq=False)
class _Item:
    """A member with its part, its entry and its fingerprint."""

    part: PartName
    member: Member
    entry: Any
    print: Fingerprint


Pair = tuple[int, int]  # places of two items of different parts, the first is smaller


def look_for_leaks(
    parts: Mapping[PartName, Sequence[Member]],
    catalog: Catalog,
    *,
    gap: Gap | None,
    promises: Sequence[Promise] = (),
    deep: bool = False,
) -> Report:
    """Compare the parts of a split in pairs.

    Parameters
    ----------
    parts : the members of each part
    catalog : names and entries; entries give `metadata` and `open()`
    gap : that two parts of one run are to keep
    promises : that bind the split
    deep : read positions, to find copies in another precision

    Returns
    -------
    leaks and warnings, in the order of the parts and members, and the fingerprints of these, each read once

    Raises
    ------
    InputError : the gap is in correlation times and they are not known
    """
    items = [
        _Item(part, member, catalog[member.name], fingerprint(catalog[member.name], member.frames))
        for part, members in parts.items()
        for member in members
    ]
    found: dict[Pair, Leak] = {}
    for kind, pairs in (
        ("same run", _same_run(items, gap)),
        ("same source file", _same_source(items)),
        ("same frames", _same_frames(items)),
        ("copied frames", _copies(items) if deep else ()),
    ):
        for pair, says in pairs:
            found.setdefault(pair, _leak(kind, [items[place] for place in pair], says))
    leaks = [found[pair] for pair in sorted(found)]
    leaks += _broken_promises(parts, promises, catalog)
    prints = {item.member: item.print for item in items}
    return Report(tuple(leaks), tuple(_warnings(items, catalog, promises)), prints)


def _leak(kind: str, items: Sequence[_Item], says: str) -> Leak:
    """Name who shares what."""
    return Leak(kind, tuple(item.part for item in items), tuple(item.member.words for item in items), says)


def _groups(items: Sequence[_Item], keys: Iterable[Iterable[str]]) -> dict[str, list[int]]:
    """Return the places of the items that have each key."""
    groups: dict[str, list[int]] = {}
    for place, several in enumerate(keys):
        for key in several:
            groups.setdefault(key, []).append(place)
    return {key: places for key, places in groups.items() if len({items[place].part for place in places}) > 1}


def _across(items: Sequence[_Item], places: Sequence[int]) -> Iterator[Pair]:
    """Give the pairs of items that are in different parts."""
    return (pair for pair in combinations(places, 2) if items[pair[0]].part != items[pair[1]].part)


def _same_run(items: Sequence[_Item], gap: Gap | None) -> Iterator[tuple[Pair, str]]:
    """Find parts of one run that overlap or follow each other too closely, at whatever level."""
    for places in _groups(items, ([item.member.run] for item in items)).values():
        slowest = _slowest([items[place].entry for place in places])
        for pair in _across(items, places):
            one, two = (items[place] for place in pair)
            if reason := _too_near(one, two, gap, slowest):
                yield pair, reason


def _slowest(entries: Sequence[Any]) -> tuple[float, str]:
    """Return the longest kept correlation time of some datasets and of what it is; 0 when none is kept."""
    known = [(time, name) for entry in {id(one): one for one in entries}.values()
             for name, time in correlation_times(entry).items()]  # fmt: skip
    return max(known, default=(0.0, ""))


def _too_near(one: _Item, two: _Item, gap: Gap | None, slowest: tuple[float, str]) -> str:
    """Say why two blocks of one run are too near, or nothing."""
    early, late = sorted((one.print, two.print), key=lambda item: item.first)
    if not (len(early.times) and len(late.times)):
        return ""
    distance = late.first - early.last
    if distance <= 0:
        return "the same run at the same time"
    if gap is None:
        return f'two blocks of one run, {distance:g} ps apart; state a gap longer than the correlation time: gap = "…"'
    wanted = _wanted(gap, one, two)
    # Of a block of one frame no interval is known; the other block has one.
    least = max(least_gap(item.times, 0.0) for item in (early, late))
    if distance < wanted * (1 - _ROUNDING) or distance < least:
        return f"two blocks of one run only {distance:g} ps apart; the gap is to be {wanted:g} ps and more than a frame"
    if distance < slowest[0]:
        return (
            f"two blocks of one run {distance:g} ps apart, less than the correlation time of {slowest[1]}, "
            f"{slowest[0]:g} ps in kept results; state a longer gap"
        )
    return ""


def _wanted(gap: Gap, one: _Item, two: _Item) -> float:
    """Return the gap in ps; of two levels, the longer of those that are known."""
    found, problems = [], []
    for entry in (one.entry, two.entry):
        try:
            found.append(gap_of(gap, entry))
        except InputError as error:
            problems.append(error)
    if not found:
        raise problems[0]
    return max(found)


def _same_source(items: Sequence[_Item]) -> Iterator[tuple[Pair, str]]:
    """Find runs that were made from the same file."""
    for digest, places in sorted(_groups(items, (item.print.sources for item in items)).items()):
        for pair in _across(items, places):
            if items[pair[0]].member.run != items[pair[1]].member.run:
                yield pair, f"made from the same source file, sha256 {digest[:12]}…"


def _same_frames(items: Sequence[_Item]) -> Iterator[tuple[Pair, str]]:
    """Find frames with the same content, bit for bit, in other systems or at another time of a run."""
    frames = np.concatenate([item.print.frames for item in items] or [np.empty(0, np.uint64)])
    owner = np.repeat(np.arange(len(items)), [len(item.print.frames) for item in items])
    order = np.lexsort((owner, frames))
    frames, owner = frames[order], owner[order]
    # A frame that one part has twice is no leak, and would be looked at again and again.
    first = np.append(True, (frames[1:] != frames[:-1]) | (owner[1:] != owner[:-1]))[: len(frames)]
    frames, owner = frames[first], owner[first]
    count: Counter[Pair] = Counter()
    lag = 1
    # Equal frames are neighbours now; one has to look as far as there are datasets with one frame.
    while lag < len(frames) and (same := frames[lag:] == frames[:-lag]).any():
        count.update(zip(owner[:-lag][same].tolist(), owner[lag:][same].tolist(), strict=True))
        lag += 1
    for (a, b), number in sorted(count.items()):
        one, two = items[a], items[b]
        if one.part != two.part and (one.member.run != two.member.run or one.member.name == two.member.name):
            yield (a, b), f"{number} frame{'s have' if number > 1 else ' has'} the same content"


def _copies(items: Sequence[_Item]) -> Iterator[tuple[Pair, str]]:
    """Find frames that agree within the precision of storing."""
    places = [place for place, item in enumerate(items) if len(item.print.times)]
    pairs = [pair for pair in _across(items, places) if items[pair[0]].member.run != items[pair[1]].member.run]
    for pair, number in copied_frames([(item.entry, item.member) for item in items], pairs):
        yield pair, f"{number} frame{'s agree' if number > 1 else ' agrees'} within the precision of the positions"


def _broken_promises(
    parts: Mapping[PartName, Sequence[Member]], promises: Sequence[Promise], catalog: Catalog
) -> Iterator[Leak]:
    """Find data of the standing promise in parts that a fit reads."""
    for part in (part for part in parts if part != "heldout"):
        for member, words in broken(parts[part], promises, catalog):
            yield Leak("held out for good", (part,), (member.words,), words)


def _warnings(items: Sequence[_Item], catalog: Catalog, promises: Sequence[Promise]) -> Iterator[Leak]:
    """Say what is no leak but for people to judge."""
    for item in items:
        if not len(item.print.times):
            yield _leak("no frames", [item], "has no frame in this block of time")
    rows = [item.entry.metadata for item in items]
    parts = [item.part for item in items]
    for (a, b), says in near_pairs(rows, parts):
        if items[a].member.run != items[b].member.run:
            yield _leak("near state point", [items[a], items[b]], says)
    names = [Member(name) for name in catalog]
    for promise in promises:
        for rule in promise.rules:
            if not broken(names, [Promise(promise.path, (rule,))], catalog):
                yield Leak("empty promise", (), (), f"{promise.path}: {rule.words} names no dataset of this store")
