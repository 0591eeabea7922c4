"""Members: the datasets of a part with their blocks of time, found by the rules of a split in a catalog."""

import fnmatch
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from cgstore.documents import did_you_mean
from cgstore.errors import CgstoreError, InputError, NotFound
from cgstore.facets import check_question, column_of, facets_of, matcher, parse_questions
from cgstore.splits.fingerprint import times_in
from cgstore.splits.gaps import gap_of
from cgstore.splits.rules import PARTS, Blocks, Gap, PartName, Promised, Rule, SplitFile, Systems, joined
from cgstore.splits.time_blocks import cut

__all__ = ["Catalog", "Member", "choose", "is_promised"]

AnyRule = Rule | Blocks | Systems
_MANY = 60  # names; more are not listed in a message


class Catalog(Protocol):
    """What is needed of a catalog: names, and an entry for each."""

    def __iter__(self) -> Any:
        """Iterate over the names of datasets."""
        ...

    def __getitem__(self, name: str) -> Any:
        """Return the entry of a dataset."""
        ...


@dataclass(frozen=True, slots=True)
class Member:
    """One dataset of a selection, and the block of time that is meant: `start <= time < stop` in ps."""

    name: str
    start: float = float("-inf")
    stop: float = float("inf")

    @property
    def run(self) -> str:
        """Return `system/run`, which says what data these are whatever the level."""
        return "/".join(self.name.split("/")[:2])

    @property
    def words(self) -> str:
        """Return the name, with the time when it is a part of the run."""
        if self.start == float("-inf") and self.stop == float("inf"):
            return self.name
        return f"{self.name} [{self.start:g}, {self.stop:g}) ps"

    def plain(self) -> dict[str, Any]:
        """Return it as plain data; open ends are null."""
        start, stop = (None if abs(end) == float("inf") else end for end in (self.start, self.stop))
        return {"name": self.name, "start": start, "stop": stop}

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> "Member":
        """Return what `plain` gave.

        Raises
        ------
        ValueError, KeyError, TypeError : it is something else

        >>> Member.of(Member("a/r1/cg", stop=5.0).plain())
        Member(name='a/r1/cg', start=-inf, stop=5.0)
        """
        if not isinstance(row["name"], str):
            raise ValueError(f"found the name {row['name']!r}")
        start = float("-inf") if row["start"] is None else float(row["start"])
        return cls(row["name"], start, float("inf") if row["stop"] is None else float(row["stop"]))

    def frames(self, time: NDArray[np.float64]) -> slice:
        """Return the frames of this member; `time` (frame,) in ps increases."""
        first, last = np.searchsorted(time, [self.start, self.stop], side="left")
        return slice(int(first), int(last))

    def meets(self, other: "Member") -> bool:
        """Tell whether the other is the same run at the same time, at whatever level."""
        return self.run == other.run and self.start < other.stop and other.start < self.stop


def choose(file: SplitFile, part: PartName, catalog: Catalog, *, where: str) -> tuple[Member, ...]:
    """Return the datasets of a part, in the order of the rules, then of the alphabet.

    Parameters
    ----------
    file : the rules of a split
    part : which part
    catalog : names and entries; only blocks open datasets, for their times
    where : what error messages begin with

    Raises
    ------
    InputError : a rule matches nothing, asks for what nobody has, or takes the frames of another; all problems at once
    """
    names = sorted(catalog)
    problems: list[str] = []
    members: list[Member] = []
    rows = _Rows(catalog, names)
    for rule in file.rules(part):
        found, wrong = _matching(rule, rows)
        if not found and not wrong:
            wrong = [f"{rule.words} matches no dataset of the catalog{_near(rule.pattern, names)}"]
        if isinstance(rule, Blocks | Systems) and found:
            found = _unnamed(found, file, rows)
            if not found:
                wrong = [f"{rule.words} matches no dataset that is not named in a table of its own"]
        problems += [f"{part}   {line}" for line in wrong]
        try:
            members += _members(rule, found, part, file.gap, catalog)
        except CgstoreError as error:
            problems.append(f"{part}   {error}")
    problems += [f"{part}   {name} is named twice; each frame belongs to one table" for name in _named_twice(members)]
    if problems:
        raise joined(problems, where)
    return tuple(members)


def is_promised(member: Member, rule: Promised, levels: Sequence[str], catalog: Catalog) -> bool:
    """Tell whether a rule of the standing promise names a dataset at any of its levels, or some of its time.

    Parameters
    ----------
    member : what is asked for
    rule : of the promise
    levels : the names of all datasets of this run
    catalog : that they are in

    Raises
    ------
    InputError : the rule asks for a number where there is a text, or the like
    """
    start, stop = _ends(rule)
    if not (member.start < stop and start < member.stop):
        return False
    found = [name for name in levels if fnmatch.fnmatchcase(name, rule.pattern)]
    if not found and not fnmatch.fnmatchcase(member.run, rule.run_pattern):
        return False
    found, wrong = _filtered(rule, list(levels), _Rows(catalog, levels), lenient=True)
    if wrong:
        raise InputError("; ".join(wrong))
    return bool(found)


class _Rows:
    """The metadata of datasets, fetched when a rule asks for them; a class because they are remembered."""

    def __init__(self, catalog: Catalog, names: Sequence[str]) -> None:
        self.catalog, self.names = catalog, names
        self._known: dict[str, list[Any]] | None = None

    def of(self, names: Iterable[str]) -> list[Mapping[str, Any]]:
        """Return the metadata of some datasets."""
        return [self.catalog[name].metadata for name in names]

    def known(self) -> dict[str, list[Any]]:
        """Return every facet with its values."""
        if self._known is None:
            self._known = facets_of(self.of(self.names))
        return self._known


def _matching(rule: AnyRule, rows: _Rows, *, lenient: bool = False) -> tuple[list[str], list[str]]:
    """Return the datasets to which all of a rule applies, and what is wrong with what it asks."""
    found = [name for name in rows.names if fnmatch.fnmatchcase(name, rule.pattern)]
    return _filtered(rule, found, rows, lenient=lenient)


def _filtered(rule: AnyRule, found: list[str], rows: _Rows, *, lenient: bool) -> tuple[list[str], list[str]]:
    """Return those of the datasets that have the facets and the composition; what nobody has is wrong or just no."""
    problems: list[str] = []
    for key, value in rule.where.items():
        try:
            wanted = _question(key, value, rows.known())
        except NotFound as error:
            if not lenient:
                problems.append(str(error))
            found = []
        except InputError as error:
            problems.append(str(error))
        else:
            is_wanted = matcher(wanted)
            found = [n for n, c in zip(found, column_of(rows.of(found), key), strict=True) if is_wanted(c)]
    if rule.composition:
        species = rows.known().get("component", [])
        if not lenient:
            unknown = [name for name in rule.composition if name not in species]
            problems += [f"found no species {name!r} in any composition{_near(name, species)}" for name in unknown]
        found = [n for n, row in zip(found, rows.of(found), strict=True) if _has(rule, row.get("composition") or {})]
    return found, problems


def _question(key: str, value: Any, known: Mapping[str, Sequence[Any]]) -> Any:
    """Return what `matcher` takes, from a value as `cgstore search` has it, or from TOML."""
    if isinstance(value, str) and key in known:
        return parse_questions([f"{key}={value}"], known, where="the catalog")[key]
    check_question(key, value, known, where="the catalog")
    return value


def _has(rule: AnyRule, composition: Mapping[str, Any]) -> bool:
    """Tell whether a composition is inside the ranges; shares are of the species that the rule names."""
    number = {species: float(composition.get(species, 0)) for species in rule.composition}
    total = sum(number.values())
    for species, (low, high, share) in rule.composition.items():
        amount = number[species] / total if share and total else number[species]
        slack = 1e-9 if share else 0.0
        inside = (low is None or amount >= low - slack) and (high is None or amount <= high + slack)
        if not inside or (share and not total):
            return False
    return True


def _unnamed(found: list[str], file: SplitFile, rows: _Rows) -> list[str]:
    """Leave out the runs that a table of its own names, for whatever part and at whatever level."""
    named = {Member(name).run for rule in file.named() for name in _matching(rule, rows, lenient=True)[0]}
    return [name for name in found if Member(name).run not in named]


def _members(rule: AnyRule, found: list[str], part: PartName, gap: Gap | None, catalog: Catalog) -> list[Member]:
    """Return what a rule gives to a part: whole datasets, their blocks of time, or the systems dealt to it."""
    start, stop = _ends(rule)
    if isinstance(rule, Systems):
        keys = _keys(rule.by, found, catalog)
        return [Member(name) for name, key in zip(found, keys, strict=True) if _dealt(rule, key) == part]
    if not isinstance(rule, Blocks):
        return [Member(name, start, stop) for name in found]
    if gap is None:
        raise InputError("blocks need a gap")  # a file without one is not read
    members = []
    for name in found:
        time = times_in(catalog[name])
        time = time[Member(name, start, stop).frames(time)]
        first, last = cut(time, rule.shares(), gap_of(gap, catalog[name]), name=name)[part]
        members.append(Member(name, max(start, first), min(stop, last)))
    return members


def _ends(rule: AnyRule) -> tuple[float, float]:
    """Return the block of time of a rule."""
    start = float("-inf") if rule.start is None else rule.start
    return start, float("inf") if rule.stop is None else rule.stop


def _keys(by: str, names: Sequence[str], catalog: Catalog) -> list[str]:
    """Return what each dataset is dealt by; equal keys go to the same part."""
    if by == "system":
        return [name.split("/")[0] for name in names]
    rows = [catalog[name].metadata for name in names]
    known = facets_of(rows)
    if by not in known:
        raise InputError(f"systems.by   found no facet {by!r}{did_you_mean(by, known)}")
    return [json.dumps(sorted(map(str, values))) for values in column_of(rows, by)]


def _dealt(rule: Systems, key: str) -> PartName:
    """Return the part of a key: a pure function of it, of the seed and of the shares."""
    number = int.from_bytes(hashlib.sha256(f"{rule.seed}\0{key}".encode()).digest()[:8], "big") / 2**64
    shares = rule.shares()
    for part in PARTS:
        if part in shares and number < shares[part]:
            return part
        number -= shares.get(part, 0.0)
    return list(shares)[-1]  # what rounding leaves


def _named_twice(members: Sequence[Member]) -> list[str]:
    """Return the datasets of which frames are taken twice."""
    by_name: dict[str, list[Member]] = {}
    for member in members:
        by_name.setdefault(member.name, []).append(member)
    twice = []
    for name, several in by_name.items():
        several.sort(key=lambda member: member.start)
        if any(two.start < one.stop for one, two in pairwise(several)):
            twice.append(name)
    return twice


def _near(word: str, known: Sequence[str]) -> str:
    """Return a suggestion; of many words only the nearest."""
    hint = did_you_mean(word, known)
    return hint if len(known) <= _MANY or hint.startswith("; did") else f"; there are {len(known)}"
