"""Provenance: what a version was made of, and whether a run in the archive still begins with it."""

import datetime
import hashlib
import importlib.metadata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cgstore.documents import digest
from cgstore.readers.parts import Source
from cgstore.recipe import Recipe, Run

__all__ = ["begins_with", "digest_of_file", "lineage", "provenance", "same_description", "what_changed"]

# May differ between versions with the same frames and description.
_HISTORY = ("created", "created_with", "sources")


def digest_of_file(path: Path, *, size: int | None = None) -> str:
    """Return the SHA-256 of a file, or of its first `size` bytes."""
    state = hashlib.sha256()
    left = path.stat().st_size if size is None else size
    with path.open("rb") as file:
        while left > 0 and (chunk := file.read(min(left, 2**20))):
            state.update(chunk)
            left -= len(chunk)
    return state.hexdigest()


def lineage(recipe: Recipe, run: Run, level: str, *, topology_digest: str) -> str:
    """Return the digest of everything but the trajectory that decides on the frames of a level."""
    return digest(
        {
            "topology": [topology_digest, recipe.masses, run.guess_bonds],
            "mapping": None if level == "atoms" else recipe.mapping_digest,
            "selection": [run.discard, run.until, run.stride, run.interval, run.units],
            "precision": recipe.store.precision,
            "profile": recipe.store.profile,
            "copied": level != "atoms" or recipe.store.copied,
        }
    )


def provenance(
    recipe: Recipe, run: Run, level: str, *, topology_digest: str, sources: Sequence[Source]
) -> dict[str, Any]:
    """Return the metadata and provenance of a version, as plain data for its attributes."""
    described = recipe.system.model_dump(mode="json", exclude={"name"}, exclude_none=True)
    return {
        "system": recipe.system.name,
        "run": run.name,
        "level": level,
        **described,
        "precision": recipe.store.precision,
        "profile": recipe.store.profile,
        "copied": level != "atoms" or recipe.store.copied,
        "recipe": recipe.path.name,
        "recipe_digest": recipe.digest,
        "mapping_digest": None if level == "atoms" else recipe.mapping_digest,
        "topology_digest": topology_digest,
        "lineage": lineage(recipe, run, level, topology_digest=topology_digest),
        "sources": [{"path": source.path, "size": source.size, "digest": source.digest} for source in sources],
        "created_with": {name: importlib.metadata.version(name) for name in ("cgstore", "numpy", "zarr")},
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


_DECISIVE = {
    "topology_digest": "the topology file",
    "mapping_digest": "the mapping",
    "precision": "the precision",
    "profile": "the profile",
    "copied": "whether atoms are copied",
}


def what_changed(old: dict[str, Any], new: dict[str, Any]) -> str:
    """Say in words why the frames of a version are not the beginning of those that a recipe asks for now.

    Parameters
    ----------
    old : the attributes of the version
    new : those of `provenance`, and the composition
    """
    changed = [words for key, words in _DECISIVE.items() if old.get(key) != new.get(key)]
    if not changed:
        same = old.get("lineage") == new["lineage"]
        changed = ["the source files" if same else "the selection of frames, units, masses or guessed bonds"]
    text = f"{', '.join(changed)} changed"
    if old.get("composition") != new.get("composition"):
        before = ", ".join(f"{kind} {count}" for kind, count in (old.get("composition") or {}).items())
        text += f"; its composition was {before or 'unknown'}: if this is another system, give it another name"
    return text


def same_description(old: dict[str, Any], new: dict[str, Any]) -> bool:
    """Tell whether the attributes of a version already say what `provenance` says now."""
    return all(old.get(key) == value for key, value in new.items() if key not in _HISTORY)


def begins_with(old: Sequence[dict[str, Any]], sources: Sequence[Source], *, archive: Path) -> bool:
    """Tell whether the parts of a run begin with the bytes of `old`: the same parts, of which the last may have grown.

    Parameters
    ----------
    old : the sources in the attributes of a version
    sources : the parts of the run as they are now
    archive : folder that the paths of the parts are relative to
    """
    if len(old) > len(sources):
        return False
    for index, (before, now) in enumerate(zip(old, sources, strict=False)):
        if (before["size"], before["digest"]) == (now.size, now.digest):
            continue
        grown = index == len(old) - 1 and now.size > before["size"]
        if not (grown and digest_of_file(archive / now.path, size=before["size"]) == before["digest"]):
            return False
    return True
