"""Splits: which data a fit may learn from, what it may look at, and what it may never see.

A split is a TOML file with the tables `[[train]]`, `[[validation]]` and `[[heldout]]`; each table names datasets
(a name or a glob), or a system, run and level, and optionally a block of time. Two datasets of one run, at whatever
level, are the same data. `Selection.members` is the one place where held-out data are refused; the loader and the
trainers get their datasets from nowhere else.
"""

import fnmatch
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from pydantic import model_validator

from cgstore.documents import Document, Time, did_you_mean, digest, load_document, parse_document
from cgstore.errors import InputError
from cgstore.learn.fingerprint import Fingerprint, fingerprint

__all__ = ["Member", "PartName", "Rule", "Selection", "Split", "check_leak", "members_of"]

PartName = Literal["train", "validation", "heldout"]
PARTS: tuple[PartName, ...] = ("train", "validation", "heldout")


class Catalog(Protocol):
    """What is needed of a catalog: names, and an entry for each."""

    def __iter__(self) -> Any:
        """Iterate over the names of datasets."""
        ...

    def __getitem__(self, name: str) -> Any:
        """Return the entry of a dataset."""
        ...


class Rule(Document):
    """One table of a split: datasets by name or by system, run and level; `start <= time < stop`."""

    dataset: str | None = None
    system: str | None = None
    run: str = "*"
    level: str = "cg"
    start: Time | None = None
    stop: Time | None = None

    @model_validator(mode="after")
    def _names_something(self) -> "Rule":
        """Refuse a table that names nothing, or the same thing in two ways, or an empty time."""
        if (self.dataset is None) == (self.system is None):
            raise ValueError('expected either dataset = "system/run/level" or system = "…"')
        if self.dataset is not None and {"run", "level"} & self.model_fields_set:
            raise ValueError("run and level go with system; dataset names all three")
        if self.start is not None and self.stop is not None and not self.start < self.stop:
            raise ValueError(f"expected start < stop, found {self.start:g} ps and {self.stop:g} ps")
        return self

    @property
    def pattern(self) -> str:
        """Return the glob of dataset names."""
        return self.dataset if self.dataset is not None else f"{self.system}/{self.run}/{self.level}"

    @property
    def run_pattern(self) -> str:
        """Return the glob of the runs, `system/run`: the same data whatever the level."""
        return "/".join(self.pattern.split("/")[:2]) if self.pattern.count("/") >= 2 else self.pattern


class _SplitFile(Document):
    """The split file; `gap` is the time left unused between two parts of one run."""

    train: tuple[Rule, ...]
    validation: tuple[Rule, ...] = ()
    heldout: tuple[Rule, ...] = ()
    gap: Time | None = None


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

    def frames(self, time: np.ndarray) -> slice:
        """Return the frames of this member; `time` (frame,) in ps increases."""
        first, last = np.searchsorted(time, [self.start, self.stop], side="left")
        return slice(int(first), int(last))


@dataclass(frozen=True, slots=True)
class Selection:
    """One part of a split, which remembers what the whole split holds out."""

    part: PartName
    rules: tuple[Rule, ...]
    heldout: tuple[Rule, ...]
    split_digest: str
    where: str = "split"

    def members(self, catalog: Catalog) -> tuple[Member, ...]:
        """Return the datasets that a fit may read; the one door of the loader and of every trainer.

        Raises
        ------
        InputError : a rule matches nothing, or the part reaches data that the split holds out
        """
        chosen = members_of(self, catalog)
        hidden = _resolve(self.heldout, list(catalog), self.where, "heldout") if self.heldout else ()
        refused = [
            f"{member.name}   held out by {self.where} as {_words(other)}"
            for member in chosen
            for other in hidden
            if member.run == other.run and member.start < other.stop and other.start < member.stop
        ]
        if refused:
            raise InputError(
                f"{self.part} of {self.where}: held-out data are for validation only; no loader and no trainer "
                "reads them\n" + "\n".join(f"  {line}" for line in refused)
            )
        return chosen


@dataclass(frozen=True, slots=True)
class Split:
    """Train, validation and held-out parts; `digest` names the meaning of the file."""

    train: Selection
    validation: Selection
    heldout: Selection
    gap: float | None
    digest: str
    where: str

    @classmethod
    def load(cls, path: str | Path) -> "Split":
        """Read a split file.

        Raises
        ------
        InputError : the file is missing or wrong; every problem is listed

        Examples
        --------
        >>> split = Split.load("catalogs/splits/methane.toml")  # doctest: +SKIP
        >>> split.heldout.rules[0].pattern  # doctest: +SKIP
        'methane_130k/r1/cg'
        """
        return cls._of(load_document(Path(path), _SplitFile), str(path))

    @classmethod
    def from_dict(cls, content: Mapping[str, Any], *, where: str = "split") -> "Split":
        """Make a split of plain data, as the TOML file would hold them.

        Examples
        --------
        >>> split = Split.from_dict({"train": [{"dataset": "a/r1/cg"}], "heldout": [{"system": "b"}]})
        >>> split.train.part, split.heldout.rules[0].pattern
        ('train', 'b/*/cg')
        """
        return cls._of(parse_document(dict(content), _SplitFile, where=where), where)

    @classmethod
    def _of(cls, file: _SplitFile, where: str) -> "Split":
        """Make the three selections of a checked file."""
        if not file.train:
            raise InputError(f"{where}: train   found no table, expected at least one [[train]]")
        key = digest(file.model_dump(mode="json"))
        parts = {part: Selection(part, getattr(file, part), file.heldout, key, where) for part in PARTS}
        return cls(gap=file.gap, digest=key, where=where, **parts)

    def parts(self) -> tuple[Selection, ...]:
        """Return train, validation and held-out."""
        return self.train, self.validation, self.heldout


def members_of(selection: Selection, catalog: Catalog) -> tuple[Member, ...]:
    """Return the datasets of a part, held-out ones too: for validation and for reports, never for a fit.

    Raises
    ------
    InputError : a rule matches no dataset of the catalog, or two rules take the same frames
    """
    return _resolve(selection.rules, list(catalog), selection.where, selection.part)


def _resolve(rules: Iterable[Rule], names: Sequence[str], where: str, part: str) -> tuple[Member, ...]:
    """Find the datasets of the rules, in the order of the rules, then of the alphabet."""
    members: list[Member] = []
    for rule in rules:
        found = sorted(name for name in names if fnmatch.fnmatchcase(name, rule.pattern))
        if not found:
            raise InputError(
                f"{where}: {part}   {rule.pattern!r} matches no dataset of the catalog"
                f"{did_you_mean(rule.pattern, names)}"
            )
        start = float("-inf") if rule.start is None else rule.start
        stop = float("inf") if rule.stop is None else rule.stop
        members += [Member(name, start, stop) for name in found]
    for one, two in combinations(members, 2):
        if one.name == two.name and one.start < two.stop and two.start < one.stop:
            raise InputError(f"{where}: {part}   {one.name} is named twice; each frame belongs to one table")
    return tuple(members)


def check_leak(split: Split, catalog: Catalog) -> None:
    """Refuse a split whose parts share data: the train, validation and held-out parts are compared in pairs.

    Looked for are the same run at any level and without a gap in time, the same source file under two names, and
    single frames with the same content.

    Parameters
    ----------
    split : the split
    catalog : names and entries; entries give `metadata` and `open()`

    Raises
    ------
    InputError : every leak that was found
    """
    parts = {item.part: members_of(item, catalog) for item in split.parts() if item.rules}
    prints = {member: fingerprint(catalog[member.name], member.frames) for part in parts.values() for member in part}
    leaks = []
    for (one, ours), (two, theirs) in combinations(parts.items(), 2):
        for a in ours:
            for b in theirs:
                leaks += [
                    f"{one} {_words(a)} and {two} {_words(b)}: {reason}"
                    for reason in _shared(a, b, prints[a], prints[b], split.gap)
                ]
    if leaks:
        count = f"{len(leaks)} leak{'s' if len(leaks) > 1 else ''} between the parts"
        raise InputError(f"{split.where}: {count}\n" + "\n".join(f"  {line}" for line in leaks))


def _shared(a: Member, b: Member, one: Fingerprint, two: Fingerprint, gap: float | None) -> list[str]:
    """Say what two members of different parts have in common."""
    reasons = []
    if a.run == b.run:
        reasons += _too_near(one, two, gap)
    elif common := sorted(one.sources & two.sources):
        reasons.append(f"made from the same source file, sha256 {common[0][:12]}…")
    if a.name == b.name or a.run != b.run:
        repeated = np.intersect1d(one.frames, two.frames).size
        if repeated and not reasons:
            reasons.append(f"{repeated} frames have the same content")
    return reasons


def _too_near(one: Fingerprint, two: Fingerprint, gap: float | None) -> list[str]:
    """Say whether two blocks of time of one run overlap or follow each other too closely."""
    if one.first > two.first:
        one, two = two, one
    distance = two.first - one.last
    if distance <= 0:
        return ["the same run at the same time"]
    if gap is None:
        return [
            f'two blocks of one run, {distance:g} ps apart; state a gap longer than the correlation time: gap = "…"'
        ]
    if distance < gap or distance <= 1.5 * max(one.interval, two.interval):
        return [f"two blocks of one run only {distance:g} ps apart; the gap is to be {gap:g} ps and more than a frame"]
    return []


def _words(member: Member) -> str:
    """Return the name, with the time when it is a part of the run."""
    if member.start == float("-inf") and member.stop == float("inf"):
        return member.name
    return f"{member.name} [{member.start:g}, {member.stop:g}) ps"
