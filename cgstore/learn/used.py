"""Used datasets: which content of which dataset a training learns from, as plain data, and what has become of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cgstore.splits.members import Catalog, Member
from cgstore.splits.rules import PartName

__all__ = ["SHOWN", "Used", "changes_of_part", "other_now"]

SHOWN = 12  # characters of a digest in a message


@dataclass(frozen=True, slots=True)
class Used:
    """A dataset of a part and its content; of held-out ones neither block of time nor frames are said."""

    member: Member
    version: int
    digest: str
    frames: int | None = None

    @property
    def words(self) -> str:
        """Return version and digest for a message."""
        return f"version {self.version}, digest {self.digest[:SHOWN]}"

    def plain(self) -> dict[str, Any]:
        """Return it as plain data."""
        known = {"version": self.version, "digest": self.digest}
        if self.frames is None:
            return {"name": self.member.name, **known}
        return {**self.member.plain(), "frames": self.frames, **known}

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> "Used":
        """Return what `plain` gave.

        Raises
        ------
        ValueError, KeyError, TypeError : it is something else

        >>> Used.of(Used(Member("a/r1/cg"), 2, "00ff").plain()).words
        'version 2, digest 00ff'
        """
        frames = None if "frames" not in row else int(row["frames"])
        return cls(Member.of({"start": None, "stop": None, **row}), int(row["version"]), str(row["digest"]), frames)


def other_now(parts: Mapping[PartName, Sequence[Used]], catalog: Catalog) -> list[str]:
    """Say which datasets are gone or have other content; held-out ones need not be there.

    Parameters
    ----------
    parts : what was used
    catalog : as it is now
    """
    there, lines = set(catalog), []
    for part, rows in parts.items():
        for name, used in {used.member.name: used for used in rows}.items():
            if name not in there:
                lines += [f"{part} {name}   is not in this store; made with {used.words}"] if part != "heldout" else []
                continue
            metadata = catalog[name].metadata
            found = metadata.get("digest") or catalog[name].open().attrs.get("digest")
            if found != used.digest:
                now = Used(used.member, int(metadata.get("version") or 0), str(found))
                lines.append(f"{part} {name}   {_found(now, used)}")
    return lines


def _found(now: Used, before: Used) -> str:
    """Say what the content of a dataset is and was."""
    return f"found {now.words}; made with {before.words}"


def changes_of_part(part: PartName, before: Sequence[Used], now: Sequence[Used]) -> list[str]:
    """Say which datasets came and went, which have other content, and which another block of time."""
    was, found = _by_name(before), _by_name(now)
    lines = []
    for name in sorted(was.keys() | found.keys()):
        if name not in found:
            lines.append(f"{part} {name}   is no part of it now; made with {was[name][0].words}")
        elif name not in was:
            lines.append(f"{part} {name}   was no part of it; found {found[name][0].words}")
        elif found[name][0].digest != was[name][0].digest:
            lines.append(f"{part} {name}   {_found(found[name][0], was[name][0])}")
        elif (now_words := _words(found[name])) != (words := _words(was[name])):
            lines.append(f"{part} {name}   found {now_words}; made with {words}")
    return lines


def _words(rows: Sequence[Used]) -> str:
    """Return the blocks of a dataset in words."""
    return ", ".join(sorted(used.member.words for used in rows))


def _by_name(rows: Sequence[Used]) -> dict[str, list[Used]]:
    """Return the blocks of each dataset."""
    found: dict[str, list[Used]] = {}
    for used in rows:
        found.setdefault(used.member.name, []).append(used)
    return found
