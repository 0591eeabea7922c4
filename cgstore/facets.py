"""Facets: what a dataset can be searched by, made from its metadata, and what a question about one means."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cgstore.documents import did_you_mean
from cgstore.errors import InputError, NotFound

__all__ = ["check_question", "facets_of", "lipids", "matches", "parse_questions"]

_NOT_FACETS = {  # besides digests
    "cgstore_format", "chunk_frames", "composition", "created", "created_with", "lineage", "parameters", "sources",
    "title", "versions",
}  # fmt: skip
_PHOSPHOLIPID = re.compile(r"[A-Z]{2}P[CEGSAI]")  # two letters for the chains, then the head group: DMPC, POPE
_STEROLS = frozenset({"CHOL", "CHL1", "CHL", "CLR", "ERG", "ERGO", "SITO", "STIG"})
_RANGE = ".."


def lipids(composition: Iterable[str]) -> list[str]:
    """Return the species that are phospholipid acronyms or sterols.

    >>> lipids({"DMPC": 64, "HOH": 1907, "CHOL": 8})
    ['CHOL', 'DMPC']
    """
    return sorted(name for name in composition if name in _STEROLS or _PHOSPHOLIPID.fullmatch(name))


def facets_of(metadata: Mapping[str, Any]) -> dict[str, tuple[Any, ...]]:
    """Return the searchable values of one dataset, several where a facet is a list, such as the tags.

    The parameters of a recipe are facets under their own names; `component` are the species of the composition.

    >>> facets_of({"kind": "liquid", "composition": {"CH4": 222}, "parameters": {"sigma": 0.34}})
    {'sigma': (0.34,), 'kind': ('liquid',), 'component': ('CH4',)}
    """
    own = {key: value for key, value in metadata.items() if key not in _NOT_FACETS and not key.endswith("digest")}
    plain = {**(metadata.get("parameters") or {}), **own}
    plain["component"] = sorted(metadata.get("composition") or {})
    found = {}
    for key, value in plain.items():
        values = value if isinstance(value, list) else [value]
        found[key] = tuple(item for item in values if isinstance(item, str | int | float) and item != "")
    return {key: values for key, values in found.items() if values}


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
        return
    for value in _alternatives(wanted):
        if numbers == isinstance(value, str):
            expected = "a number" if numbers else "a text"
            raise InputError(f"facet {key}: found {value!r}, expected {expected}; the values here are {there}")


def matches(values: Sequence[Any], wanted: Any) -> bool:
    """Tell whether one of the values of a dataset is what is wanted: equal, in the list, or in the closed range.

    >>> matches((303.0,), (295, 325)), matches(("DMPC",), ["DPPC", "POPC"])
    (True, False)
    """
    if isinstance(wanted, tuple):
        low, high = wanted
        return any((low is None or value >= low) and (high is None or value <= high) for value in values)
    asked = _alternatives(wanted)
    return any(value in asked for value in values)


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
    """Read a number; other text is left for `check_question` to refuse."""
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
