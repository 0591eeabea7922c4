"""Kinds of campaigns: what a module has to provide to be swept over, and the list of those that do."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, cast

from cgstore.documents import Document, did_you_mean
from cgstore.errors import InputError

__all__ = ["KINDS", "Kind", "Outcome", "Point", "Run", "kind_of"]

KINDS = ("lennard_jones", "liquid", "peptide", "bilayer", "nanoparticle", "mobility")


Point = dict[str, float | str]  # parameters of a system: numbers in the units of cgstore, words


@dataclass(frozen=True, slots=True)
class Run:
    """A trajectory that a simulation left in its folder; `discard` is when it is equilibrated, in ps."""

    discard: float
    name: str = "r1"
    topology: str = "system.gro"
    trajectory: str = "trajectory.xtc"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one simulation, whose files lie in its folder.

    `failure` is empty, or one word and a reason, such as "frozen: …". `system` are entries of `[system]` of the recipe,
    `mapping`, `masses`, `levels` and `precision` what it says under these names. `mapping_files` are texts by the names
    that `mapping` has for them.
    """

    failure: str
    engine: str  # name, version, platform
    measured: dict[str, Any]  # plain data: means, errors, what the failure was judged by
    system: dict[str, Any]
    mapping: dict[str, str]
    runs: tuple[Run, ...]
    masses: dict[str, str] = field(default_factory=dict)
    levels: tuple[str, ...] = ("cg",)
    precision: str = "0.001 nm"
    mapping_files: dict[str, str] = field(default_factory=dict)


class Kind(Protocol):
    """A kind of campaign; a module fulfils it."""

    @property
    def PARAMETERS(self) -> Mapping[str, str]:
        """What can be swept: name → kind of quantity, as in `cgstore.units`, or "number", or "word"."""
        ...

    @property
    def DEFAULTS(self) -> Mapping[str, float | str]:
        """Those parameters that a file may leave out."""
        ...

    @property
    def ENGINES(self) -> tuple[str, ...]:
        """What can run it; the first is what "auto" prefers where it is installed."""
        ...

    @property
    def Settings(self) -> type[Document]:
        """What all systems of a campaign have in common: the table `[settings]`."""
        ...

    def refused(self, point: Mapping[str, Any], settings: Any) -> str:
        """Say why a point should not be simulated; empty when it should."""
        ...

    def simulate(self, point: Mapping[str, Any], settings: Any, *, seed: int, engine: str, folder: Path) -> Outcome:
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
