"""User files: TOML read whole, every problem of a file reported at once, and the digest of what was read.

A file is described by a frozen pydantic model that derives from `Document`; unknown keys are errors with a
suggestion, quantities are strings with a unit. Two files with the same meaning have the same digest.
"""

import difflib
import hashlib
import json
import math
import re
import tomllib
from collections.abc import Iterable
from datetime import date, time
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError, ValidationInfo

from cgstore.errors import InputError
from cgstore.plain_files import read_plain
from cgstore.units import parse_quantity

__all__ = [
    "Angle",
    "Document",
    "Energy",
    "Length",
    "Mass",
    "Pressure",
    "Temperature",
    "TextFile",
    "Time",
    "did_you_mean",
    "digest",
    "load_document",
    "parse_document",
    "toml_key",
    "toml_value",
]


class Document(BaseModel):
    """Base of every user file: frozen, unknown keys refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _quantity(kind: str) -> BeforeValidator:
    """Make the pydantic validator that reads a string with a unit."""
    return BeforeValidator(lambda value: parse_quantity(value, kind))


Time = Annotated[float, _quantity("time")]
Length = Annotated[float, _quantity("length")]
Mass = Annotated[float, _quantity("mass")]
Energy = Annotated[float, _quantity("energy")]
Temperature = Annotated[float, _quantity("temperature")]
Angle = Annotated[float, _quantity("angle")]
Pressure = Annotated[float, _quantity("pressure")]


def _content(value: object, info: ValidationInfo) -> str:
    """Read the file that a document names."""
    folder = (info.context or {}).get("folder")
    if not isinstance(value, str) or folder is None:
        raise ValueError(f"found {value!r}, expected the name of a file beside this one")
    try:
        return read_plain(folder / value, most=_MOST_BYTES).decode("utf-8")
    except OSError as error:
        raise ValueError(f'found "{value}", which cannot be read in {folder}: {error.strerror or error}') from error
    except ValueError as error:
        raise ValueError(f'found "{value}", which is not text') from error


TextFile = Annotated[str, BeforeValidator(_content)]  # written as a name relative to the document, read as its content

Model = TypeVar("Model", bound=Document)

_MOST_BYTES = 2**22  # of a user file; a recipe of a thousand runs is smaller
_MOST_DEPTH = 32  # of tables in tables
_SHOWN = 200  # characters of a value that is wrong
# What pydantic calls a value of the wrong type, and what a user writes in its place.
_EXPECTED = {
    "bool_type": "true or false",
    "string_type": "text in quotes",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "tuple_type": "a list, in brackets",
    "dict_type": "a table",
    "model_type": "a table",
    "greater_than": "more than {gt}",
    "greater_than_equal": "{ge} or more",
    "less_than": "less than {lt}",
    "less_than_equal": "{le} or less",
}
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return `; did you mean "…"?` for the nearest known word, or what is known when nothing is near.

    >>> did_you_mean("topolgy", ["topology", "trajectory"])
    '; did you mean "topology"?'
    >>> did_you_mean("xyz", ["a", "b"])
    '; known are a, b'
    """
    options = sorted(set(known))
    near = difflib.get_close_matches(word, options, n=1, cutoff=0.6)
    if near:
        return f'; did you mean "{near[0]}"?'
    return f"; known are {', '.join(options)}" if options else ""


def digest(content: Any) -> str:
    """Return the SHA-256 of the canonical JSON of plain data (sorted keys, no blanks, exact floats).

    >>> digest({"b": 1, "a": 2.5}) == digest({"a": 2.5, "b": 1})
    True
    """
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def toml_value(value: Any) -> str:
    """Write plain data as a TOML value: text, numbers, lists, and tables on one line; keys are quoted where needed.

    >>> print(toml_value({"POPC": 64, "Na+": 8}), toml_value(["a.xtc", True, 0.5]))
    { POPC = 64, "Na+" = 8 } ["a.xtc", true, 0.5]
    """
    if isinstance(value, dict):
        inner = ", ".join(f"{toml_key(key)} = {toml_value(item)}" for key, item in value.items())
        return f"{{ {inner} }}" if inner else "{}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(toml_value, value))}]"
    if isinstance(value, str):
        # JSON escapes are those of TOML, but for the one control character that JSON leaves as it is.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return json.dumps(value, allow_nan=False)


def toml_key(key: str) -> str:
    """Write a key of a TOML table, bare where that is allowed."""
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else toml_value(key)


def load_document(path: Path, model: type[Model]) -> Model:
    """Read a TOML file as `model`.

    Raises
    ------
    InputError : the file is missing, not TOML, or does not fit; the message lists every problem of the file
    """
    try:
        content = tomllib.loads(read_plain(path, most=_MOST_BYTES).decode("utf-8"))
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        raise InputError(f"{path}: no such file") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:  # a number of 5000 digits is not a TOMLDecodeError
        raise InputError(f"{path}: not a TOML file: {error}") from error
    return parse_document(content, model, where=str(path), folder=path.parent)


def parse_document(content: dict[str, Any], model: type[Model], *, where: str, folder: Path | None = None) -> Model:
    """Check plain data against `model`; `where` opens the error message, files it names are sought in `folder`.

    Raises
    ------
    InputError : as `load_document`
    """
    problems = _not_plain(content, "", 0)
    try:
        if not problems:
            return model.model_validate(content, context={"folder": folder})
    except ValidationError as error:
        problems = [_explain(problem, model) for problem in error.errors(include_url=False)]
    count = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}"
    raise InputError(f"{where}: {count}\n" + "\n".join(f"  {line}" for line in problems))


def _not_plain(value: Any, key: str, depth: int) -> list[str]:
    """Return what must not stand in any user file: what has no JSON form, no end, or would steer a terminal."""
    if isinstance(value, dict):
        found = [f"{key}   found a key with a control character" for name in value if _CONTROL.search(str(name))]
        inner = [(f"{key}.{name}".lstrip("."), item) for name, item in value.items()]
    else:
        found = []
        inner = [(f"{key}[{number}]", item) for number, item in enumerate(value)] if isinstance(value, list) else []
    if inner and depth > _MOST_DEPTH:
        return [f"{key[:_SHOWN]}   found tables nested more than {_MOST_DEPTH} deep"]
    for place, item in inner:
        found += _not_plain(item, place, depth + 1)
    if isinstance(value, float) and not math.isfinite(value):
        found.append(f"{key}   found {value}, expected a finite number")
    elif isinstance(value, int) and abs(value) >= 2**63:
        found.append(f"{key}   found a number of {value.bit_length()} bits, expected at most 63")
    elif isinstance(value, date | time):
        found.append(f"{key}   found the date or time {value}, expected text in quotes")
    elif isinstance(value, str) and _CONTROL.search(value):
        found.append(f"{key}   found {value[:_SHOWN]!r}, expected text without control characters")
    return found


def _explain(problem: Any, model: type[Document]) -> str:
    """Turn one pydantic problem into `key   what was found, what was expected`."""
    location = problem["loc"]
    key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).lstrip(".")
    if problem["type"] == "extra_forbidden":
        return f"{key}   unknown key{did_you_mean(str(location[-1]), _fields_at(model, location[:-1]))}"
    if problem["type"] == "missing":
        return f"{key}   missing"
    message = problem["msg"].removeprefix("Value error, ")
    if message.startswith("found "):
        return f"{key}   {message}"
    found = _as_written(problem["input"])
    if expected := _EXPECTED.get(problem["type"]):
        return f"{key}   found {found}, expected {expected.format(**problem.get('ctx', {}))}"
    return f"{key}   found {found}; {message[0].lower()}{message[1:]}"


def _as_written(value: Any) -> str:
    """Return a value as it stands in the file, or nearly."""
    try:
        return toml_value(value)[:_SHOWN]
    except (TypeError, ValueError):
        return repr(value)[:_SHOWN]


def _fields_at(model: type[Document], location: tuple[Any, ...]) -> list[str]:
    """Return the keys that are known at a place of a document."""
    current: Any = model
    for part in location:
        if isinstance(part, int):
            continue
        field = getattr(current, "model_fields", {}).get(part)
        if field is None:
            return []
        current = next((kind for kind in _flatten(field.annotation) if hasattr(kind, "model_fields")), None)
    return [field.alias or name for name, field in getattr(current, "model_fields", {}).items()]


def _flatten(annotation: Any) -> list[Any]:
    """Return a type and every type inside it: `tuple[Run, ...] | None` → `[…, Run, …]`."""
    found = [annotation]
    for inner in getattr(annotation, "__args__", ()):
        found += _flatten(inner)
    return found
