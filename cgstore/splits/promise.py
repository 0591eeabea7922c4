"""The standing promise: `catalogs/heldout.toml`, data that no loader and no trainer reads, whatever a split says.

The file is looked for in `catalogs/` of the folder of the split file and of the store, then of each folder above; the
nearest one of each counts. A split made in Python stands in the current folder. Splits may hold out more, never less.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cgstore.documents import load_document
from cgstore.errors import InputError
from cgstore.splits.members import Catalog, Member, is_promised
from cgstore.splits.rules import HeldoutFile, Promised
from cgstore.store.locations import is_url

__all__ = ["FILE", "Promise", "broken", "promises_of"]

FILE = Path("catalogs", "heldout.toml")


@dataclass(frozen=True, slots=True)
class Promise:
    """One file of promised data, read."""

    path: Path
    rules: tuple[Promised, ...]


def promises_of(catalog: Any, folder: Path | None) -> tuple[Promise, ...]:
    """Return the promises that bind a split: those nearest above its file and above the store.

    Parameters
    ----------
    catalog : of a store; one without a `location` on this machine has no folder
    folder : of the split file; None, for a split that is no file, is the current folder

    Raises
    ------
    InputError : a promise cannot be read; data that nobody can name are not handed out
    """
    location = getattr(catalog, "location", None)
    places = [Path.cwd() if folder is None else folder]
    if location is not None and not is_url(str(location)):
        places.append(Path(location))
    found = [path for place in places if (path := _nearest(place)) is not None]
    return tuple(Promise(path, load_document(path, HeldoutFile).heldout) for path in dict.fromkeys(found))


def broken(members: Sequence[Member], promises: Sequence[Promise], catalog: Catalog) -> list[tuple[Member, str]]:
    """Return the members that a promise names, each with the words that say by what.

    Raises
    ------
    InputError : a rule asks for a number where there is a text, or the like
    """
    if not promises:
        return []
    levels: dict[str, list[str]] = {}
    for name in catalog:
        levels.setdefault(Member(name).run, []).append(name)
    found = []
    for promise in promises:
        for rule in promise.rules:
            try:
                hit = [one for one in members if is_promised(one, rule, levels.get(one.run, [one.name]), catalog)]
            except InputError as error:
                raise InputError(f"{promise.path}: {error}") from error
            why = f": {rule.why}" if rule.why else ""
            found += [(member, f"held out for good by {promise.path} as {rule.words}{why}") for member in hit]
    return found


def _nearest(place: Path) -> Path | None:
    """Return the promise in the folder or the nearest above it."""
    here = place.absolute()
    return next((folder / FILE for folder in (here, *here.parents) if (folder / FILE).exists()), None)
