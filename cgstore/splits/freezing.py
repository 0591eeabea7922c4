"""Freezing: the lock beside a split file, which pins what the file means and which data it meant that day.

    lipids.toml  →  lipids.lock      JSON: the meaning, the members of each part with version and digest, a seal

A frozen split is immutable: when the file says something else, or a dataset has other content, it is refused and the
message says what changed.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cgstore.documents import digest
from cgstore.errors import InputError, IntegrityError
from cgstore.plain_files import read_plain
from cgstore.splits.fingerprint import Fingerprint, fingerprint
from cgstore.splits.members import Catalog, Member
from cgstore.splits.rules import PartName
from cgstore.whole_files import write_json

__all__ = ["Lock", "Pinned", "changes_of_data", "changes_of_meaning", "lock_path", "pin", "read_lock", "write_lock"]

_FORMAT = 1
_MOST_BYTES = 2**28
_SHOWN = 12  # characters of a digest
_FIELDS = {"frames": int, "version": int, "digest": str}


@dataclass(frozen=True, slots=True)
class Pinned:
    """A member as it was when the split was frozen."""

    member: Member
    frames: int
    first: float | None  # ps, of the frames; None when there are none
    last: float | None
    version: int
    digest: str


@dataclass(frozen=True, slots=True)
class Lock:
    """What a lock says; `digest` seals it."""

    meaning: Mapping[str, Any]
    parts: Mapping[PartName, tuple[Pinned, ...]]
    digest: str

    def members(self, part: PartName) -> tuple[Member, ...]:
        """Return the members of a part as they were pinned."""
        return tuple(row.member for row in self.parts.get(part, ()))


def lock_path(path: Path) -> Path:
    """Return the place of the lock of a split file.

    >>> lock_path(Path("catalogs/splits/lipids.toml")).name
    'lipids.lock'
    """
    return path.with_suffix(".lock")


def pin(
    members: Sequence[Member], catalog: Catalog, *, known: Mapping[Member, Fingerprint] | None = None
) -> tuple[Pinned, ...]:
    """Return members with what identifies their content now.

    Parameters
    ----------
    members : of a part
    catalog : that they are in
    known : what `check_leak` has read of them; times of the others are read now

    Raises
    ------
    InputError : a dataset has no digest, so it lies in no store
    """
    return tuple(_content(member, catalog, known or {}) for member in members)


def _content(member: Member, catalog: Catalog, known: Mapping[Member, Fingerprint]) -> Pinned:
    """Return one member with what identifies its content now."""
    seen = known.get(member) or fingerprint(catalog[member.name], member.frames, digests=False)
    if not seen.digest:
        raise InputError(f"{member.name}: found no digest, expected a dataset from a store")
    first, last = (seen.first, seen.last) if len(seen.times) else (None, None)
    return Pinned(member, len(seen.times), first, last, seen.version, seen.digest)


def write_lock(path: Path, meaning: Mapping[str, Any], parts: Mapping[PartName, Sequence[Pinned]]) -> Lock:
    """Write the lock of a split file and return it."""
    content = {
        "cgstore_split": _FORMAT,
        "split": digest(meaning),
        "meaning": meaning,
        "parts": {part: [_row(item) for item in items] for part, items in parts.items()},
    }
    write_json(lock_path(path), {**content, "digest": digest(content)})
    return read_lock(lock_path(path))


def read_lock(path: Path) -> Lock:
    """Read a lock.

    Raises
    ------
    IntegrityError : it was edited or damaged, or is no lock of a split
    """
    try:
        content = json.loads(read_plain(path, most=_MOST_BYTES))
        seal = content.pop("digest")
        rows = {part: tuple(map(_pinned, items)) for part, items in content["parts"].items()}
        sound = content["cgstore_split"] == _FORMAT and digest(content["meaning"]) == content["split"]
        sound = sound and digest(content) == seal and set(rows) <= {"train", "validation", "heldout"}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        raise IntegrityError(f"{path}: not the lock of a split: {error}; {_REMEDY}") from error
    if not sound:
        raise IntegrityError(f"{path}: edited by hand or damaged, its seal does not fit; {_REMEDY}")
    return Lock(content["meaning"], rows, seal)


_REMEDY = "take the file from your history, or freeze the split again with cgstore split freeze --again"


def _row(item: Pinned) -> dict[str, Any]:
    """Return a member as plain data; open ends are null."""
    return {
        **item.member.plain(),
        "frames": item.frames,
        "first": item.first,
        "last": item.last,
        "version": item.version,
        "digest": item.digest,
    }


def _pinned(row: Mapping[str, Any]) -> Pinned:
    """Read a member."""
    if wrong := [key for key, kind in _FIELDS.items() if not isinstance(row[key], kind)]:
        raise ValueError(f"found {wrong[0]} = {row[wrong[0]]!r}")
    first, last = (None if row[end] is None else float(row[end]) for end in ("first", "last"))
    return Pinned(Member.of(row), row["frames"], first, last, row["version"], row["digest"])


def changes_of_meaning(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Say what a split file says otherwise than its lock.

    >>> changes_of_meaning({"train": [{"system": "a"}]}, {"train": [{"system": "b"}], "gap": 5})
    ['gap   is new: 5', "train[0].system   was 'a', is 'b'"]
    """
    before, after = dict(_flat(old, "")), dict(_flat(new, ""))
    lines = []
    for key in sorted(before.keys() | after.keys()):
        if key not in before:
            lines.append(f"{key}   is new: {after[key]!r}")
        elif key not in after:
            lines.append(f"{key}   is gone, was {before[key]!r}")
        elif before[key] != after[key]:
            lines.append(f"{key}   was {before[key]!r}, is {after[key]!r}")
    return lines


def _flat(value: Any, key: str) -> list[tuple[str, Any]]:
    """Return the leaves of plain data with their places."""
    if isinstance(value, Mapping) and value:
        return [leaf for name, inner in value.items() for leaf in _flat(inner, f"{key}.{name}".lstrip("."))]
    if isinstance(value, list | tuple) and any(isinstance(inner, Mapping) for inner in value):
        return [leaf for number, inner in enumerate(value) for leaf in _flat(inner, f"{key}[{number}]")]
    return [(key, list(value) if isinstance(value, tuple) else value)]


def changes_of_data(lock: Lock, catalog: Catalog, *, needed: PartName | None) -> list[str]:
    """Say which datasets are not what they were when the split was frozen.

    Parameters
    ----------
    lock : of the split
    catalog : as it is now
    needed : the part that is asked for; datasets of other parts may be absent, but not changed; None: all may
    """
    there, lines = set(catalog), []
    for part, items in lock.parts.items():
        for item in items:
            name = item.member.name
            if name not in there:
                lines += [f"{part} {name}   is not in this store"] if part == needed else []
                continue
            now = catalog[name].metadata
            if now.get("digest") != item.digest:
                lines.append(
                    f"{part} {name}   found version {now.get('version')} with {now.get('frames')} frames, digest "
                    f"{str(now.get('digest'))[:_SHOWN]}; frozen was version {item.version}, digest "
                    f"{item.digest[:_SHOWN]}, of which {item.frames} frames were chosen"
                )
    return list(dict.fromkeys(lines))
