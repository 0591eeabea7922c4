"""Rules: the language of splits, which data a table of a split file means.

A rule names datasets (`dataset`, a name or a glob), or `system`, `run` and `level`, or asks as `cgstore search` does
(`where`), or by composition; what it says all has to apply. `start` and `stop` choose a block of time. `[[blocks]]`
cut runs in time and `[[systems]]` deal systems by hash. Nothing here looks at data.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BeforeValidator, Field, PlainSerializer, PlainValidator, model_validator

from cgstore.documents import Document, Time, toml_value
from cgstore.errors import InputError
from cgstore.units import parse_quantity

__all__ = [
    "PARTS",
    "Amount",
    "Blocks",
    "Gap",
    "HeldoutFile",
    "PartName",
    "Promised",
    "Rule",
    "SplitFile",
    "Systems",
    "joined",
]

PartName = Literal["train", "validation", "heldout"]
PARTS: tuple[PartName, ...] = ("train", "validation", "heldout")

_UNITS = ("temperature", "pressure")  # facets that may be written with their unit
_NUMBER = r"\d+\.?\d*(?:[eE][-+]?\d+)?"
_AMOUNT = re.compile(rf"\s*({_NUMBER})?\s*(%?)\s*(?:(\.\.)\s*({_NUMBER})?\s*(%?))?\s*")
_GAP = re.compile(rf"\s*({_NUMBER})\s+correlation\s+times?(?:\s+of\s+(\w+))?\s*")
_FACET = re.compile(r"[^=\s]+")
_ROUNDING = 1e-6  # shares are to add up to one


class Gap(NamedTuple):
    """The time left unused between two parts of one run: in ps, or as a number of correlation times."""

    time: float | None
    number: float | None = None
    of: str = ""  # the observable whose correlation time is meant; "" is the slowest kept distribution


class Amount(NamedTuple):
    """How many molecules of a species: a closed range, of numbers or of shares of the species named beside it."""

    low: float | None
    high: float | None
    share: bool


def _parse_gap(value: Any) -> Gap:
    """Read a gap.

    >>> _parse_gap("0.2 ns"), _parse_gap("5 correlation times of area_per_lipid")
    (Gap(time=200.0, number=None, of=''), Gap(time=None, number=5.0, of='area_per_lipid'))
    """
    if isinstance(value, str) and (found := _GAP.fullmatch(value)):
        return Gap(None, _finite(found[1], value), found[2] or "")
    try:
        time = parse_quantity(value, "time")
    except InputError as error:
        raise ValueError(
            f'found {toml_value(value)}, expected a time with its unit, "200 ps", or "5 correlation times", which are '
            'those of the slowest kept distribution, or "5 correlation times of area_per_lipid"'
        ) from error
    if time < 0:
        raise ValueError(f"found {toml_value(value)}, expected a time that is not negative")
    return Gap(time)


def _parse_amount(value: Any) -> Amount:
    """Read the amount of a species.

    >>> _parse_amount("60..70"), _parse_amount("20%..40%"), _parse_amount(0)
    (Amount(low=60.0, high=70.0, share=False), Amount(low=0.2, high=0.4, share=True), Amount(low=0.0, high=0.0, share=False))
    """  # noqa: E501
    text = f"{value:g}" if isinstance(value, int | float) and not isinstance(value, bool) else value
    found = _AMOUNT.fullmatch(text) if isinstance(text, str) else None
    if found is None or not (found[1] or found[3]) or (found[2] and not found[1]) or (found[5] and not found[4]):
        raise ValueError(
            f'found {toml_value(value)}, expected a number of molecules, 64 or "60..70", or a share, "20%..40%"'
        )
    share = "%" in text
    low, high = (_finite(end, text) * (0.01 if share else 1.0) if end else None for end in (found[1], found[4]))
    if found[3] is None:
        high = low
    if low is not None and high is not None and low > high:
        raise ValueError(f"found {toml_value(value)}, expected the lower end first")
    return Amount(low, high, share)


def _finite(text: str, value: Any) -> float:
    """Read a number that is not too large to be one."""
    number = float(text)
    if number == float("inf"):
        raise ValueError(f"found {toml_value(value)}, expected a finite number")
    return number


def _parse_facets(value: Any) -> Any:
    """Read facets as `cgstore search` has them: a value, a range of numbers, several values; units become ours."""
    if not isinstance(value, Mapping):
        raise ValueError(f'found {toml_value(value)}, expected facets, {{ lipid = "DMPC", temperature = "295..325" }}')
    return {key: _parse_facet(str(key), asked) for key, asked in value.items()}


def _parse_facet(key: str, value: Any) -> Any:
    """Read the value of one facet; in Python a range may be a tuple, as for `Catalog.search`."""
    if isinstance(value, tuple) and len(value) == 2 and all(end is None or type(end) in (int, float) for end in value):
        value = "..".join("" if end is None else f"{end:.12g}" for end in value)
    several = value if isinstance(value, list) else [value]
    plain = bool(several) and all(isinstance(one, str | int | float) and one != "" for one in several)
    if not plain or not _FACET.fullmatch(key):
        raise ValueError(
            f'found {key} = {toml_value(value)}, expected a text, a number, a range "295..325" or a list of values'
        )
    if key in _UNITS:
        several = [_without_unit(key, one) for one in several]
    numbers = [float(one) if isinstance(one, int) and not isinstance(one, bool) else one for one in several]
    return numbers if isinstance(value, list) else numbers[0]


def _without_unit(kind: str, value: Any) -> Any:
    """Turn "295..325 K" into "295..325"; the unit at the end is that of both ends."""
    unit = re.search(r"[^\W\d_]+$|°C$", value.strip()) if isinstance(value, str) else None
    if unit is None:
        return value
    ends = [end.strip() for end in value.strip().split("..")]
    with_unit = [end if not end or end.endswith(unit[0]) else f"{end} {unit[0]}" for end in ends]
    return "..".join(f"{parse_quantity(end, kind):.12g}" if end else "" for end in with_unit)


_AS_LIST = PlainSerializer(list, return_type=list)
Facets = Annotated[dict[str, Any], BeforeValidator(_parse_facets), Field(default_factory=dict)]
Composition = Annotated[
    dict[str, Annotated[Amount, PlainValidator(_parse_amount), _AS_LIST]], Field(default_factory=dict)
]


class _Choice(Document):
    """Which datasets, and which block of time `start <= time < stop` of them."""

    dataset: str | None = None
    system: str | None = None
    run: str = "*"
    level: str = "cg"
    where: Facets
    composition: Composition
    start: Time | None = None
    stop: Time | None = None

    @model_validator(mode="after")
    def _agrees(self) -> "_Choice":
        """Refuse what is named in two ways, a share of one species, and an empty time."""
        if self.dataset is not None and self.system is not None:
            raise ValueError('expected either dataset = "system/run/level" or system = "…"')
        if self.dataset is not None and {"run", "level"} & self.model_fields_set:
            raise ValueError("run and level go with system; dataset names all three")
        if len(self.composition) == 1 and any(amount.share for amount in self.composition.values()):
            raise ValueError(
                "a share is one of the species named, and only one is; name those that it is a share of, "
                'for example composition = { CHOL = "20%..40%", DMPC = ".." }'
            )
        if self.start is not None and self.stop is not None and not self.start < self.stop:
            raise ValueError(f"expected start < stop, found {self.start:g} ps and {self.stop:g} ps")
        return self

    @property
    def pattern(self) -> str:
        """Return the glob of dataset names."""
        return self.dataset if self.dataset is not None else f"{self.system or '*'}/{self.run}/{self.level}"

    @property
    def run_pattern(self) -> str:
        """Return the glob of the runs, `system/run`: the same data whatever the level."""
        return "/".join(self.pattern.split("/")[:2]) if self.pattern.count("/") >= 2 else self.pattern

    @property
    def words(self) -> str:
        """Return what the rule asks for, for messages."""
        asked = [repr(self.pattern)]
        asked += [f"{key} = {toml_value(value)}" for key, value in self.where.items()]
        asked += [f"{_amount_words(amount)} {species}" for species, amount in self.composition.items()]
        words = " with ".join([asked[0], ", ".join(asked[1:])]) if asked[1:] else asked[0]
        ends = [f"{name} {end:g} ps" for name, end in (("from", self.start), ("until", self.stop)) if end is not None]
        return " ".join([words, *ends])


class Rule(_Choice):
    """A table `[[train]]`, `[[validation]]` or `[[heldout]]`."""

    @model_validator(mode="after")
    def _names_something(self) -> "Rule":
        """Refuse a table that names nothing."""
        if self.dataset is None and self.system is None and not self.where and not self.composition:
            raise ValueError(
                'expected dataset = "system/run/level", system = "…", where = { … } or composition = { … }'
            )
        return self


class Promised(Rule):
    """A table of the standing promise; `why` is shown to whoever asks for these data."""

    why: str = ""


class _Shares(_Choice):
    """What is divided among the parts: the shares add up to one."""

    train: Annotated[float, Field(ge=0, le=1)] = 0.0
    validation: Annotated[float, Field(ge=0, le=1)] = 0.0
    heldout: Annotated[float, Field(ge=0, le=1)] = 0.0

    @model_validator(mode="after")
    def _add_up(self) -> "_Shares":
        """Refuse shares that leave something over."""
        total = sum(self.shares().values())
        if abs(total - 1.0) > _ROUNDING or len(self.shares()) < 2:
            raise ValueError(f"expected shares of two or three parts that add up to 1, found {total:g} in all")
        return self

    def shares(self) -> dict[PartName, float]:
        """Return the share of each part that has one."""
        return {part: getattr(self, part) for part in PARTS if getattr(self, part) > 0}


class Blocks(_Shares):
    """A table `[[blocks]]`: each run is cut in time: train, then validation, then heldout, with the gap between."""


class Systems(_Shares):
    """A table `[[systems]]`: each system goes to one part by a hash of its name, or of another facet (`by`)."""

    seed: int = 0
    by: str = "system"

    @model_validator(mode="after")
    def _whole(self) -> "Systems":
        """Refuse a block of time: whole systems are dealt."""
        if self.start is not None or self.stop is not None:
            raise ValueError("systems are dealt whole; start and stop are for [[blocks]]")
        return self


def _as_list(value: Any) -> Any:
    """Take one table `[blocks]` for a list of one."""
    return (value,) if isinstance(value, Mapping) else value


class SplitFile(Document):
    """The split file; `gap` is the time left unused between two parts of one run."""

    train: tuple[Rule, ...] = ()
    validation: tuple[Rule, ...] = ()
    heldout: tuple[Rule, ...] = ()
    blocks: Annotated[tuple[Blocks, ...], BeforeValidator(_as_list)] = ()
    systems: Annotated[tuple[Systems, ...], BeforeValidator(_as_list)] = ()
    gap: Annotated[Gap, PlainValidator(_parse_gap), _AS_LIST] | None = None

    @model_validator(mode="after")
    def _can_train(self) -> "SplitFile":
        """Refuse a split without a training part, and blocks without a gap."""
        if not self.rules("train"):
            raise ValueError("found no table, expected at least one [[train]], or [[blocks]] or [[systems]] with train")
        if self.blocks and self.gap is None:
            raise ValueError('blocks of one run need a gap longer than the correlation time: gap = "…"')
        return self

    def rules(self, part: PartName) -> tuple[Rule | Blocks | Systems, ...]:
        """Return the tables that give something to a part."""
        own: tuple[Rule, ...] = getattr(self, part)
        automatic: tuple[Blocks | Systems, ...] = (*self.blocks, *self.systems)
        return (*own, *(table for table in automatic if part in table.shares()))

    def named(self) -> tuple[Rule, ...]:
        """Return the tables that name their data; blocks and systems take what these leave."""
        return (*self.train, *self.validation, *self.heldout)

    def meaning(self) -> dict[str, Any]:
        """Return what the file says as plain data, without what it leaves as it is."""
        return self.model_dump(mode="json", exclude_defaults=True)


class HeldoutFile(Document):
    """The file of the standing promise, `catalogs/heldout.toml`."""

    heldout: tuple[Promised, ...] = ()


def _amount_words(amount: Amount) -> str:
    """Show an amount."""
    ends = ["" if end is None else f"{end:.6g}" if not amount.share else f"{100 * end:.6g}%" for end in amount[:2]]
    return ends[0] if ends[0] == ends[1] != "" else "..".join(ends)


def joined(problems: Iterable[str], where: str) -> InputError:
    """Make one error of all problems that were found at a place."""
    lines = list(dict.fromkeys(problems))
    if len(lines) == 1:
        return InputError(f"{where}: {lines[0]}")
    return InputError(f"{where}: {len(lines)} problems\n" + "\n".join(f"  {line}" for line in lines))
