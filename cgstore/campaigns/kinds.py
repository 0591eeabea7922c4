"""Kinds of campaigns: what a module has to provide to be swept over, and the list of those that do."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, cast

from cgstore.documents import Document, did_you_mean
from cgstore.errors import CgstoreError, InputError

__all__ = ["KINDS", "EngineFailure", "Kind", "Outcome", "kind_of"]

KINDS = ("lennard_jones",)


class EngineFailure(CgstoreError):
    """An engine gave up on one system, which is marked as failed; the campaign goes on."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one simulation, whose files lie in its folder.

    `failure` is empty, or one word and a reason, such as "frozen: …"; `discard` is when production is equilibrated;
    `system` are entries of `[system]` of the recipe, `mapping` and `masses` its tables of that name.
    """

    failure: str
    engine: str  # name, version, platform
    discard: float  # ps
    measured: dict[str, Any]  # plain data: means, errors, what the failure was judged by
    system: dict[str, Any]
    mapping: dict[str, str]
    masses: dict[str, str]
    topology: str = "system.gro"
    trajectory: str = "trajectory.xtc"


class Kind(Protocol):
    """A kind of campaign; a module fulfils it."""

    @property
    def PARAMETERS(self) -> Mapping[str, str]:
        """What can be swept: name → kind of quantity, as in `cgstore.units`."""
        ...

    @property
    def Settings(self) -> type[Document]:
        """What all systems of a campaign have in common: the table `[settings]`."""
        ...

    def refused(self, point: Mapping[str, float], settings: Any) -> str:
        """Say why a point should not be simulated; empty when it should."""
        ...

    def simulate(self, point: Mapping[str, float], settings: Any, *, seed: int, engine: str, folder: Path) -> Outcome:
        """Simulate one system and leave its files in an empty folder."""
        ...


def kind_of(name: str) -> Kind:
    """Return the module of a kind of campaign; imported now, because each needs other packages.

    Raises
    ------
    InputError : there is no such kind

    Examples
    --------
    >>> sorted(kind_of("lennard_jones").PARAMETERS)
    ['edge', 'epsilon', 'sigma', 'temperature']
    """
    if name not in KINDS:
        raise InputError(f"found the kind {name!r} of campaign{did_you_mean(name, KINDS)}")
    return cast(Kind, import_module(f"cgstore.campaigns.{name}"))
