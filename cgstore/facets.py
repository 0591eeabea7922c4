"""Facets: what a dataset can be searched by, made from its metadata, and what a question about one means."""

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from numbers import Real
from typing import Any

from cgstore.documents import did_you_mean
from cgstore.errors import InputError, NotFound

__all__ = ["check_question", "column_of", "counted", "facets_of", "in_order", "lipids", "matcher", "parse_questions"]

_NOT_FACETS = {  # besides digests
    "cgstore_format", "chunk_frames", "component", "composition", "created", "created_with", "lineage", "parameters",
    "sources", "title", "versions",
}  # fmt: skip
_PHOSPHOLIPID = re.compile(r"[A-Z]{2}P[CEGSAI]")  # two letters for the chains, then the head group: DMPC, POPE
_STEROLS = frozenset({"CHOL", "CHL1", "CHL", "CLR", "ERG", "ERGO", "SITO", "STIG"})
_RANGE = ".."
_DIGITS = re.compile("([0-9]+)")
_SEARCHABLE = (str, int, float)
_SCALARS = frozenset(_SEARCHABLE)  # the quick way for most


def lipids(composition: Iterable[str]) -> list[str]:
    """Return the species that are phospholipid acronyms or sterols.

    >>> lipids({"DMPC": 64, "HOH": 1907, "CHOL": 8})
    ['CHOL', 'DMPC']
    """
    return sorted(name for name in composition if name in _STEROLS or _PHOSPHOLIPID.fullmatch(name))


def facets_of(rows: Iterable[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Return every facet of the datasets with these metadata, with the values that occur, sorted.

    The parameters of a recipe are facets under their own names; `component` are the species of the composition.

    >>> facets_of([{"kind": "liquid", "tags": ["b", "a"], "composition": {"CH4": 222}, "parameters": {"sigma": 0.34}}])
    {'component': ['CH4'], 'kind': ['liquid'], 'sigma': [0.34], 'tags': ['a', 'b']}
    """
    found: dict[str, set[Any]] = {"component": set()}
    for row in rows:
        for key, value in row.items():
            if key not in found:
                if not _is_own(key):
                    continue
                found[key] = set()
            if value.__class__ in _SCALARS:
                found[key].add(value)
            elif key != "component":
                found[key].update(_values(value))
        found["component"].update(row.get("composition") or ())
        for key, value in _parameters(row).items():
            if key not in row or not _is_own(key):
                found.setdefault(key, set()).update(_values(value) if key != "component" else ())
    return {key: in_order(values - {""}) for key, values in sorted(found.items()) if values - {""}}


def column_of(rows: Iterable[Mapping[str, Any]], key: str) -> list[tuple[Any, ...]]:
    """Return the values of one facet for each dataset, several where it is a list, none where there is none.

    >>> column_of([{"tags": ["small", "demo"]}, {"tags": []}, {"parameters": {"tags": 3}}], "tags")
    [('small', 'demo'), (), (3,)]
    """
    if key == "component":
        return [tuple(row.get("composition") or ()) for row in rows]
    own = _is_own(key)
    found = [row[key] if own and key in row else _parameters(row).get(key) for row in rows]
    return [(value,) if value.__class__ in _SCALARS and value != "" else _values(value) for value in found]


def in_order(values: Iterable[Any]) -> list[Any]:
    """Sort values of a facet, which may be of several kinds.

    >>> in_order({3, 1.5}), in_order({"b", 2})
    ([1.5, 3], [2, 'b'])
    """
    try:
        return sorted(values)
    except TypeError:
        return sorted(values, key=lambda value: (str(type(value)), value))


def counted(name: str) -> list[list[str | int]]:
    """Return what to sort names by, so that the numbers in them count.

    >>> sorted(["water/r10/cg", "water/r2/cg"], key=counted)
    ['water/r2/cg', 'water/r10/cg']
    """
    parts = (_DIGITS.split(part) for part in name.split("/"))
    return [[int(piece) if place % 2 else piece for place, piece in enumerate(pieces)] for pieces in parts]


def _values(value: Any) -> tuple[Any, ...]:
    """Return what can be searched of one entry of the metadata."""
    values = value if isinstance(value, list) else (value,)
    return tuple(item for item in values if isinstance(item, _SEARCHABLE) and item != "")


def _is_own(key: str) -> bool:
    """Tell whether an entry of the metadata is a facet; a parameter of a recipe always is one."""
    return key not in _NOT_FACETS and not key.endswith("digest")


def _parameters(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the parameters of the recipe of a dataset."""
    found = row.get("parameters")
    return found if isinstance(found, Mapping) else {}


def check_question(key: str, wanted: Any, known: Mapping[str, Sequence[Any]], *, where: str) -> None:
    """Refuse a facet that nobody has and a question of the wrong kind, which would silently find nothing.

    Raises
    ------
    NotFound : no dataset has this facet
    InputError : a text where the facet is a number, a number where it is a text, or a range where it is a text
    """
    if key not in known:
        raise NotFound(f"{where}: found no facet {key!r}{did_you_mean(key, known)}")
    numbers = _are_numbers(known[key])
    there = ", ".join(map(str, known[key][:8])) + (" …" if len(known[key]) > 8 else "")
    if isinstance(wanted, tuple):
        ends = [end for end in wanted if end is not None]
        if not numbers or len(wanted) != 2 or not all(isinstance(end, int | float) for end in ends):
            raise InputError(f"facet {key}: found {wanted!r}; a range is two numbers, and the values here are {there}")
        if len(ends) == 2 and ends[0] > ends[1]:
            raise InputError(f"facet {key}: found the range {ends[0]:g} to {ends[1]:g}, expected the lower end first")
        return
    for value in _alternatives(wanted):
        if not isinstance(value, Real if numbers else str):
            expected = "a number" if numbers else "a text"
            raise InputError(f"facet {key}: found {value!r}, expected {expected}; the values here are {there}")


def matcher(wanted: Any) -> Callable[[Sequence[Any]], bool]:
    """Return what tells whether one of the values of a dataset is wanted: equal, in the list, or in the closed range.

    >>> matcher((295, 325))((303.0,)), matcher(["DPPC", "POPC"])(("DMPC",))
    (True, False)
    """
    if isinstance(wanted, tuple):
        low, high = (-math.inf if wanted[0] is None else wanted[0]), (math.inf if wanted[1] is None else wanted[1])

        def is_inside(values: Sequence[Any]) -> bool:
            # Most have one value, and the generator of `any` costs more than the comparison.
            for value in values:  # noqa: SIM110
                if low <= value <= high:
                    return True
            return False

        return is_inside
    asked = frozenset(_alternatives(wanted))
    return lambda values: not asked.isdisjoint(values)


def parse_questions(words: Iterable[str], known: Mapping[str, Sequence[Any]], *, where: str) -> dict[str, Any]:
    """Read `KEY=VALUE` of the command line: `kind=bilayer`, `lipid=DMPC,DPPC`, `temperature=295..325`.

    Raises
    ------
    InputError, NotFound : as `check_question`; and a word without `=`, or a key that occurs twice

    Examples
    --------
    >>> known = {"temperature": [303.0], "kind": ["liquid"]}
    >>> parse_questions(["temperature=295..", "kind=liquid"], known, where="store")
    {'temperature': (295.0, None), 'kind': 'liquid'}
    """
    questions: dict[str, Any] = {}
    for word in words:
        key, separator, text = word.partition("=")
        if not separator or not key or not text:
            raise InputError(
                f"found {word!r}, expected KEY=VALUE, for example temperature=295..325; known are {', '.join(known)}"
            )
        if key in questions:
            raise InputError(f"facet {key} is asked twice; write {key}=A,B for one of several values")
        questions[key] = _parse_value(text, numbers=_are_numbers(known.get(key, ())))
    for key, wanted in questions.items():
        if known:
            check_question(key, wanted, known, where=where)
    return questions


def _parse_value(text: str, *, numbers: bool) -> Any:
    """Read one value, a range of numbers, or a list."""
    if numbers and _RANGE in text:
        low, _, high = text.partition(_RANGE)
        return (_number(low) if low else None, _number(high) if high else None)
    parts = [_number(part) if numbers else part for part in text.split(",")]
    return parts[0] if len(parts) == 1 else parts


def _number(text: str) -> float | str:
    """Read a number, true or false; other text is left for `check_question` to refuse."""
    if text.lower() in ("true", "false"):
        return float(text.lower() == "true")
    try:
        return float(text)
    except ValueError:
        return text


def _alternatives(wanted: Any) -> list[Any]:
    """Return what is wanted as a list of alternatives."""
    return list(wanted) if isinstance(wanted, list | set | frozenset) else [wanted]


def _are_numbers(values: Sequence[Any]) -> bool:
    """Tell whether all values of a facet are numbers."""
    return bool(values) and all(isinstance(value, int | float) for value in values)
