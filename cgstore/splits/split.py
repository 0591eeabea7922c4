"""Splits: which data a fit may learn from, what it may look at, and what it may never see.

A split is a TOML file of rules (`cgstore.splits.rules`); frozen, it has a lock beside it that pins its members. Two
datasets of one run, at whatever level, are the same data. `Selection.members` is the one place where held-out data
are refused, those of the split and those of the standing promise; the loader and the trainers get their datasets from
nowhere else.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cgstore.documents import digest, load_document, parse_document
from cgstore.errors import InputError
from cgstore.splits.fingerprint import Fingerprint
from cgstore.splits.freezing import (
    Lock,
    changes_of_data,
    changes_of_meaning,
    lock_path,
    pin,
    read_lock,
    write_lock,
)
from cgstore.splits.leakage import MOST_LINES, Leak, Report, look_for_leaks
from cgstore.splits.members import Catalog, Member, choose
from cgstore.splits.promise import broken, promises_of
from cgstore.splits.rules import PARTS, Blocks, Gap, PartName, Rule, SplitFile, Systems

__all__ = [
    "Catalog",
    "Member",
    "PartName",
    "Rule",
    "Selection",
    "Split",
    "check_leak",
    "find_leaks",
    "freeze",
    "members_of",
    "members_of_parts",
]


@dataclass(frozen=True, slots=True)
class Contract:
    """A whole split as every part of it remembers it: the rules, their digest, where they stand, and the lock."""

    file: SplitFile
    digest: str
    where: str
    folder: Path | None  # of the file, None without one
    lock: Lock | None


@dataclass(frozen=True, slots=True)
class Selection:
    """One part of a split, which remembers what the whole split holds out."""

    part: PartName
    contract: Contract

    @property
    def rules(self) -> tuple[Rule | Blocks | Systems, ...]:
        """Return the tables that give something to this part."""
        return self.contract.file.rules(self.part)

    @property
    def split_digest(self) -> str:
        """Return the digest of the split."""
        return self.contract.digest

    @property
    def where(self) -> str:
        """Return what error messages call the split."""
        return self.contract.where

    def members(self, catalog: Catalog) -> tuple[Member, ...]:
        """Return the datasets that a fit may read; the one door of the loader and of every trainer.

        Raises
        ------
        InputError : a rule matches nothing; the part has no data, or reaches data that the split or the standing
            promise holds out; or the split is frozen and something changed
        """
        chosen = members_of(self, catalog)
        refused = [
            f"{member.name}   held out by {self.where} as {other}" for member, other in self._hidden(chosen, catalog)
        ]
        refused += [f"{member.name}   {words}" for member, words in
                    broken(chosen, promises_of(catalog, self.contract.folder), catalog)]  # fmt: skip
        if refused:
            raise InputError(
                f"{self.part} of {self.where}: held-out data are for validation only; no loader and no trainer "
                "reads them\n" + "\n".join(f"  {line}" for line in refused)
            )
        if not chosen:
            raise InputError(f"{self.part} of {self.where}: no dataset falls to this part; larger shares are needed")
        return chosen

    def _hidden(self, chosen: tuple[Member, ...], catalog: Catalog) -> list[tuple[Member, str]]:
        """Return which of the members the held-out part of the split shares, and as what."""
        heldout = Selection("heldout", self.contract)
        by_run: dict[str, list[Member]] = {}
        for other in members_of(heldout, catalog, complete=False) if heldout.rules else ():
            by_run.setdefault(other.run, []).append(other)
        return [(one, two.words) for one in chosen for two in by_run.get(one.run, ()) if one.meets(two)]


@dataclass(frozen=True, slots=True)
class Split:
    """Train, validation and held-out parts; `digest` names the meaning of the file, `lock` what it is frozen to."""

    train: Selection
    validation: Selection
    heldout: Selection
    gap: Gap | None
    digest: str
    where: str
    lock: Lock | None = None

    @classmethod
    def load(cls, path: str | Path) -> "Split":
        """Read a split file, and its lock if there is one.

        Raises
        ------
        InputError : the file is missing or wrong, every problem is listed; or it is frozen and says something else now
        IntegrityError : the lock was edited or damaged

        Examples
        --------
        >>> split = Split.load("catalogs/splits/methane.toml")  # doctest: +SKIP
        >>> split.heldout.rules[0].pattern  # doctest: +SKIP
        'methane_130k/r1/cg'
        """
        place = Path(path)
        file = load_document(place, SplitFile)
        lock = read_lock(lock_path(place)) if lock_path(place).exists() else None
        if lock is not None and (changed := changes_of_meaning(lock.meaning, file.meaning())):
            raise InputError(
                f"{path}: changed since it was frozen; a frozen split is immutable: give the changed one another name, "
                f"or freeze it again with cgstore split freeze --again {path}\n" + _lines(changed)
            )
        return cls._of(Contract(file, digest(file.meaning()), str(path), place.absolute().parent, lock))

    @classmethod
    def from_dict(cls, content: Mapping[str, Any], *, where: str = "split") -> "Split":
        """Make a split of plain data, as the TOML file would hold them.

        Examples
        --------
        >>> split = Split.from_dict({"train": [{"dataset": "a/r1/cg"}], "heldout": [{"system": "b"}]})
        >>> split.train.part, split.heldout.rules[0].pattern
        ('train', 'b/*/cg')
        """
        file = parse_document(dict(content), SplitFile, where=where)
        return cls._of(Contract(file, digest(file.meaning()), where, None, None))

    @classmethod
    def _of(cls, contract: Contract) -> "Split":
        """Make the three selections of a checked file."""
        train, validation, heldout = (Selection(part, contract) for part in PARTS)
        return cls(train, validation, heldout, contract.file.gap, contract.digest, contract.where, contract.lock)

    def parts(self) -> tuple[Selection, ...]:
        """Return train, validation and held-out."""
        return self.train, self.validation, self.heldout


def members_of(selection: Selection, catalog: Catalog, *, complete: bool = True) -> tuple[Member, ...]:
    """Return the datasets of a part, held-out ones too: for validation and for reports, never for a fit.

    Parameters
    ----------
    selection : a part of a split
    catalog : names and entries
    complete : whether all pinned datasets of this part of a frozen split have to be there

    Raises
    ------
    InputError : a rule matches no dataset of the catalog, or two rules take the same frames; a frozen split meets
        other data than it was frozen with
    """
    contract = selection.contract
    if contract.lock is None:
        return choose(contract.file, selection.part, catalog, where=contract.where)
    if changed := changes_of_data(contract.lock, catalog, needed=selection.part if complete else None):
        raise InputError(
            f"{contract.where}: frozen, and the data are not those it was frozen with; use the store as it was, or "
            f"freeze the split again with cgstore split freeze --again {contract.where}\n" + _lines(changed)
        )
    return contract.lock.members(selection.part)


def members_of_parts(split: Split, catalog: Catalog) -> dict[PartName, tuple[Member, ...]]:
    """Return the datasets of every part that has rules, as `members_of` does.

    Raises
    ------
    InputError : as `members_of`, of all parts at once
    """
    found: dict[PartName, tuple[Member, ...]] = {}
    problems = []
    for part in split.parts():
        try:
            if part.rules:
                found[part.part] = members_of(part, catalog)
        except InputError as error:
            problems.append(str(error))
    if problems:
        raise InputError("\n".join(dict.fromkeys(problems)))
    return found


def find_leaks(split: Split, catalog: Catalog, *, deep: bool = False) -> Report:
    """Return what the parts of a split have in common, and what is only near; see `cgstore.splits.leakage`.

    Parameters
    ----------
    split : the split
    catalog : names and entries; entries give `metadata` and `open()`
    deep : read positions too, to find copies in another precision

    Raises
    ------
    InputError : as `members_of`
    """
    parts = members_of_parts(split, catalog)
    promises = promises_of(catalog, split.train.contract.folder)
    report = look_for_leaks(parts, catalog, gap=split.gap, promises=promises, deep=deep)
    return replace(report, warnings=(*report.warnings, *_not_pinned(split, catalog)))


def _not_pinned(split: Split, catalog: Catalog) -> list[Leak]:
    """Say which datasets the rules of a frozen split mean by now besides those of its lock."""
    if split.lock is None:
        return []
    found = []
    for part in split.parts():
        pinned = {member.name for member in split.lock.members(part.part)}
        try:
            now = choose(part.contract.file, part.part, catalog, where=split.where)
        except InputError:
            continue  # what is pinned is there, and that is what counts
        new = [member for member in now if member.name not in pinned]
        says = "came after the split was frozen and is no part of it"
        found += [Leak("not pinned", (part.part,), (member.words,), says) for member in new]
    return found


def check_leak(split: Split, catalog: Catalog) -> Mapping[Member, Fingerprint]:
    """Refuse a split whose parts share data: the train, validation and held-out parts are compared in pairs.

    Looked for are the same run at any level and without a gap in time, the same source file under two names, single
    frames with the same content, and data of the standing promise.

    Parameters
    ----------
    split : the split
    catalog : names and entries; entries give `metadata` and `open()`

    Returns
    -------
    what was read of each member, for who pins them next: `cgstore.splits.freezing.pin`

    Raises
    ------
    InputError : every leak that was found
    """
    report = find_leaks(split, catalog)
    leaks = [str(leak) for leak in report.leaks]
    if leaks:
        count = f"{len(leaks)} leak{'s' if len(leaks) > 1 else ''} between the parts"
        more = [f"… and {len(leaks) - MOST_LINES} more"] if len(leaks) > MOST_LINES else []
        raise InputError(f"{split.where}: {count}\n" + _lines([*leaks[:MOST_LINES], *more]))
    return report.prints


def freeze(path: str | Path, catalog: Catalog, *, again: bool = False) -> tuple[Split, bool]:
    """Pin what a split file means and its members with their digests, in a lock beside it.

    Parameters
    ----------
    path : of the split file
    catalog : of the store
    again : replace a lock that says something else

    Returns
    -------
    the frozen split, and whether the lock was written now

    Raises
    ------
    InputError : the split leaks, or it is frozen and something changed
    """
    place = Path(path)
    file = load_document(place, SplitFile)
    contract = Contract(file, digest(file.meaning()), str(path), place.absolute().parent, None)
    if lock_path(place).exists() and not again:
        split = Split.load(path)
        members_of_parts(split, catalog)
        return split, False
    split = Split._of(contract)
    known = check_leak(split, catalog)
    pinned = {part: pin(members, catalog, known=known) for part, members in members_of_parts(split, catalog).items()}
    write_lock(place, file.meaning(), pinned)
    return Split.load(path), True


def _lines(lines: list[str]) -> str:
    """Indent lines of a message."""
    return "\n".join(f"  {line}" for line in lines)
