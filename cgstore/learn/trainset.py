"""The training-set lock: what a training learns from, sealed in `trainset.lock`, refused when it is another one by now.

    trainset.lock      JSON: the digest of the split; the datasets of each part with block of time, frames, version and
                       digest (held-out ones by name, version and digest alone); keys of features; digest of the
                       normalisation; plan of the loader; seed; versions of software; a seal

`cgstore train` writes it before the first step; a training loop of one's own does the same in one line. Nothing here
needs torch.
"""

import importlib.metadata
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from cgstore.documents import digest
from cgstore.errors import InputError, IntegrityError
from cgstore.learn.feature_keys import FeatureKeys, Features, changes_of_feature, feature_keys
from cgstore.learn.normalisation import Normalisation
from cgstore.learn.plan import Plan
from cgstore.learn.used import SHOWN, Used, changes_of_part, other_now
from cgstore.plain_files import read_plain
from cgstore.splits.fingerprint import Fingerprint
from cgstore.splits.freezing import Pinned, pin
from cgstore.splits.rules import PARTS
from cgstore.splits.split import Catalog, Member, PartName, Split, members_of, members_of_parts
from cgstore.whole_files import write_json

__all__ = ["FILE", "TrainingSet", "pinned_parts"]

FILE = "trainset.lock"
_FORMAT = 1
_MOST_BYTES = 2**28
_MOST_LINES = 20
_PLAN = ("batch_size", "window", "streams", "seed", "samples")
_FACTS: dict[str, Any] = {
    "split": str,
    "normalisation": str | None,
    "loader": dict | None,
    "seed": int | None,
    "software": dict,
}
_SOFTWARE = ("cgstore", "numpy", "torch", "numba", "xarray")
_REMEDY = "take the file from a copy, or begin the training again in a new folder"


class HasPlan(Protocol):
    """A `Loader` or a `RowLoader`."""

    plan: Plan


@dataclass(frozen=True, slots=True, eq=False)
class TrainingSet:
    """What a training learns from. `of` finds it, `write` keeps it, `read` and `verify` compare it with what is now.

    Examples
    --------
    >>> loader = Loader(catalog, split.train, batch_size=64, seed=1)  # doctest: +SKIP
    >>> TrainingSet.of(catalog, split, loader=loader, seed=1).write("runs/first")  # doctest: +SKIP
    PosixPath('runs/first/trainset.lock')
    >>> TrainingSet.read("runs/first").verify(catalog, split)  # doctest: +SKIP
    """

    split: str  # digest of its meaning
    parts: Mapping[PartName, tuple[Used, ...]]
    features: Mapping[str, FeatureKeys]
    normalisation: str | None  # digest
    loader: Mapping[str, Any] | None  # digest of the plan, and its settings
    seed: int | None
    software: Mapping[str, str]
    where: str = FILE  # it was read from, for messages

    @classmethod
    def of(
        cls,
        catalog: Catalog,
        split: Split,
        *,
        loader: HasPlan | None = None,
        features: Features | Sequence[Features] = (),
        normalisation: Normalisation | None = None,
        seed: int | None = None,
    ) -> "TrainingSet":
        """Return what the training part of a split, and the rest that is given, are now.

        Parameters
        ----------
        catalog, split : as a `Loader` takes them
        loader : a `Loader` or `RowLoader`, whose order is a part of the training
        features : what is learned besides frames: a feature table, the spec of distributions, or several of them
        normalisation : that values pass
        seed : of the training

        Raises
        ------
        InputError : training or validation reach held-out data, a rule matches nothing, a frozen split meets other data
            than it was frozen with; a table lacks a row or has one of another version of its dataset
        """
        for part in (split.train, split.validation):
            if part.rules:
                part.members(catalog)
        parts = _parts_of(split, catalog)
        return cls(
            split=split.digest,
            parts=parts,
            features=_feature_keys(features, parts, catalog),
            normalisation=_digest_of(normalisation),
            loader=_plan_of(loader),
            seed=seed,
            software=_software(),
        )

    def plain(self) -> dict[str, Any]:
        """Return it as plain data, without the seal."""
        return {
            "cgstore_trainset": _FORMAT,
            "split": self.split,
            "parts": {part: [used.plain() for used in rows] for part, rows in self.parts.items()},
            "features": {
                name: {"version": feature.version, "keys": dict(feature.keys)}
                for name, feature in self.features.items()
            },
            "normalisation": self.normalisation,
            "loader": None if self.loader is None else dict(self.loader),
            "seed": self.seed,
            "software": dict(self.software),
        }

    def write(self, folder: str | Path) -> Path:
        """Write `trainset.lock` into a folder, which is made when missing; where there is one, compare with it.

        Call it before the first step of every run, resumed ones too: the first writes, the others verify.

        Raises
        ------
        InputError : the folder has the lock of another training set; the message says what differs
        IntegrityError : it has one that was edited or damaged
        """
        path = Path(folder) / FILE
        if path.exists():
            before = TrainingSet.read(folder)
            before._refuse(before._differences(self))
            return path
        path.parent.mkdir(parents=True, exist_ok=True)
        content = self.plain()
        write_json(path, {**content, "digest": digest(content)})
        return path

    @classmethod
    def read(cls, folder: str | Path) -> "TrainingSet":
        """Read the lock in a folder.

        Raises
        ------
        InputError : there is none
        IntegrityError : it was edited or damaged
        """
        path = Path(folder) / FILE
        try:
            content = json.loads(read_plain(path, most=_MOST_BYTES))
            seal = content.pop("digest")
            found = _parsed(content, str(path))
            sound = content["cgstore_trainset"] == _FORMAT and digest(content) == seal
        except FileNotFoundError as error:
            raise InputError(
                f"{path}: no such file; a training writes it before its first step: train again"
            ) from error
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
            raise IntegrityError(f"{path}: not the lock of a training set: {error}; {_REMEDY}") from error
        if not sound:
            raise IntegrityError(f"{path}: edited by hand or damaged, its seal does not fit; {_REMEDY}")
        return found

    def verify(
        self,
        catalog: Catalog,
        split: Split,
        *,
        loader: HasPlan | None = None,
        features: Features | Sequence[Features] = (),
        normalisation: Normalisation | None = None,
        seed: int | None = None,
    ) -> None:
        """Refuse when anything of it has changed; what is not given is not compared. Parameters as `of`.

        Raises
        ------
        InputError : one message with every change: which dataset, with its old and its new version and digest; which
            feature, setting, seed
        """
        lines = other_now(self.parts, catalog)
        # With other data neither blocks nor keys are what they were; they would only repeat what the lines say.
        parts = self.parts if lines else _parts_of(split, catalog)
        keys = {} if lines else _feature_keys(features, parts, catalog)
        settings = _digest_of(normalisation), _plan_of(loader), seed
        now = TrainingSet(split.digest, parts, keys, *settings, {})
        self._refuse(lines + self._differences(now, other_data=bool(lines)))

    def _differences(self, now: "TrainingSet", *, other_data: bool = False) -> list[str]:
        """Say in what another one differs; what it does not have is not compared."""
        lines = []
        if self.split != now.split:
            lines.append(f"split   found digest {now.split[:SHOWN]}; made with {self.split[:SHOWN]}")
        for part in PARTS:
            lines += changes_of_part(part, self.parts.get(part, ()), now.parts.get(part, ()))
        lines += [line for name in now.features for line in changes_of_feature(name, self.features, now.features)]
        if now.loader is not None:
            lines += _changes_of_plan(self.loader, now.loader, other_data=other_data or bool(lines))
        for name in ("normalisation", "seed"):
            was, found = getattr(self, name), getattr(now, name)
            if found is not None and found != was:
                lines.append(f"{name}   found {_short(found)}; made with {_short(was)}")
        return lines

    def _refuse(self, changes: Sequence[str]) -> None:
        """Raise an error if there are changes."""
        if changes:
            more = [f"… and {len(changes) - _MOST_LINES} more"] if len(changes) > _MOST_LINES else []
            lines = "\n".join(f"  {line}" for line in [*changes[:_MOST_LINES], *more])
            raise InputError(
                f"{self.where}: the training set is another one now; use data, split and settings as they were, or "
                f"train again in a new folder\n{lines}"
            )


def pinned_parts(
    split: Split, catalog: Catalog, *, known: Mapping[Member, Fingerprint] | None = None
) -> dict[PartName, tuple[Pinned, ...]]:
    """Return the members of every part of a split with their content: those of its lock, else those that are there now.

    Parameters
    ----------
    split, catalog : as `check_leak` takes them
    known : what `check_leak` returned, so that no dataset is read again

    Raises
    ------
    InputError : a rule matches nothing; the split is frozen, and training or validation data are not those of its lock
    """
    if split.lock is None:
        parts = members_of_parts(split, catalog)
        return {part: pin(members, catalog, known=known) for part, members in parts.items()}
    for part in (split.train, split.validation):
        members_of(part, catalog)
    return dict(split.lock.parts)


def _parts_of(split: Split, catalog: Catalog) -> dict[PartName, tuple[Used, ...]]:
    """Return what is used of each part."""
    parts: dict[PartName, tuple[Used, ...]] = {}
    for part, rows in pinned_parts(split, catalog).items():
        used = [Used(row.member, row.version, row.digest, row.frames) for row in rows]
        if part == "heldout":
            used = [Used(Member(row.member.name), row.version, row.digest) for row in used]
        parts[part] = tuple(dict.fromkeys(used))
    return parts


def _feature_keys(
    features: Features | Sequence[Features], parts: Mapping[PartName, Sequence[Used]], catalog: Catalog
) -> dict[str, FeatureKeys]:
    """Return the keys of features for the datasets of training and validation."""
    return feature_keys(features, [*parts.get("train", ()), *parts.get("validation", ())], catalog)


def _plan_of(loader: HasPlan | None) -> dict[str, Any] | None:
    """Return what tells the order of a loader from another one."""
    if loader is None:
        return None
    return {"plan": loader.plan.digest} | {name: getattr(loader.plan, name) for name in _PLAN}


def _digest_of(normalisation: Normalisation | None) -> str | None:
    """Return the digest of a normalisation."""
    return None if normalisation is None else digest(normalisation.plain())


def _software() -> dict[str, str]:
    """Return the versions of what computes; torch may be missing."""
    found = {}
    for name in _SOFTWARE:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _parsed(content: Mapping[str, Any], where: str) -> TrainingSet:
    """Read what `plain` gave."""
    parts = {part: tuple(map(Used.of, rows)) for part, rows in content["parts"].items()}
    if not set(parts) <= set(PARTS):
        raise ValueError(f"found the parts {', '.join(parts)}")
    features = {
        name: FeatureKeys(int(feature["version"]), {str(key): str(value) for key, value in feature["keys"].items()})
        for name, feature in content["features"].items()
    }
    facts = {name: content[name] for name in _FACTS}
    if wrong := [name for name, kinds in _FACTS.items() if not isinstance(facts[name], kinds)]:
        raise ValueError(f"found {wrong[0]} = {facts[wrong[0]]!r}")
    return TrainingSet(parts=parts, features=features, where=where, **facts)


def _changes_of_plan(before: Mapping[str, Any] | None, now: Mapping[str, Any], *, other_data: bool) -> list[str]:
    """Say how the order of a loader changed, besides what other data do to it."""
    if before is None:
        return ["loader   was no part of it; found one"]
    names = [name for name in _PLAN if now[name] != before.get(name) and not (other_data and name == "samples")]
    lines = [f"loader {name}   found {now[name]}; made with {before.get(name)}" for name in names]
    if lines or other_data or now["plan"] == before.get("plan"):
        return lines
    words = f"found plan {_short(now['plan'])}; made with {_short(before.get('plan'))}"
    return [f"loader   {words}: other values or chunks, or another lag or length"]


def _short(value: Any) -> str:
    """Return a setting as a few characters."""
    return "none" if value is None else str(value)[:SHOWN]
