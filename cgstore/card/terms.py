"""Words of publishing cards: what JSON-LD, Croissant and BibTeX call licences, DOIs, units, types and authors.

Nothing here knows a store. Text of recipes is text of strangers: it becomes a link only where it is one for sure.
"""

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

__all__ = [
    "CONFORMS_TO",
    "CONTEXT",
    "bibtex",
    "data_type",
    "distinct",
    "doi_url",
    "known",
    "licence",
    "person",
    "property_value",
    "units",
]

CONFORMS_TO = "http://mlcommons.org/croissant/1.1"
# As in appendix 1 of the specification, with four differences. schema.org stands there with http, but mlcroissant,
# which everybody checks with, knows only https. `value` is left out: it would turn the values of schema.org into those
# of constant fields. `prov` is the vocabulary that the specification recommends for lineage. The last four are words of
# version 1.0 that mlcroissant misses in a context without them.
CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "prov": "http://www.w3.org/ns/prov#",
    "annotation": "cr:annotation",
    "arrayShape": "cr:arrayShape",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "containedIn": "cr:containedIn",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "excludes": "cr:excludes",
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isArray": "cr:isArray",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "readLines": "cr:readLines",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "sdVersion": "cr:sdVersion",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
    "unArchive": "cr:unArchive",
    "path": "cr:path",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
}

# Identifiers of https://spdx.org/licenses that data and the programs around them are published under.
_SPDX = """
    CC0-1.0 CC-BY-2.0 CC-BY-2.5 CC-BY-3.0 CC-BY-4.0 CC-BY-SA-3.0 CC-BY-SA-4.0 CC-BY-NC-3.0 CC-BY-NC-4.0 CC-BY-NC-SA-3.0
    CC-BY-NC-SA-4.0 CC-BY-ND-4.0 CC-BY-NC-ND-4.0 CC-PDDC PDDL-1.0 ODbL-1.0 ODC-By-1.0 CDLA-Permissive-1.0
    CDLA-Permissive-2.0 CDLA-Sharing-1.0 O-UDA-1.0 C-UDA-1.0 DL-DE-BY-2.0 DL-DE-ZERO-2.0 etalab-2.0 OGL-UK-3.0
    MIT MIT-0 Apache-2.0 BSD-2-Clause BSD-3-Clause ISC 0BSD Unlicense MPL-2.0 EUPL-1.2 GPL-2.0-only GPL-2.0-or-later
    GPL-3.0-only GPL-3.0-or-later LGPL-2.1-only LGPL-2.1-or-later LGPL-3.0-only LGPL-3.0-or-later AGPL-3.0-only
    AGPL-3.0-or-later
"""
_LICENCES = {name.lower(): name for name in _SPDX.split()}
_WEB = re.compile(r"https?://[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]+")
_DOI = re.compile(r"(?:https?://(?:dx\.)?doi\.org/|doi:\s*)?(10\.\d{4,9}(?:\.\d+)*/[!-~]+)", re.IGNORECASE)
# Those that QUDT has; nm/ps and kJ/mol/nm it has not.
_QUDT = {"nm": "NanoM", "ps": "PicoSEC", "u": "U", "K": "K", "bar": "BAR", "1": "UNITLESS"}
_NUMBERS = {"float32": "Float32", "float64": "Float64", "int32": "Int32", "int64": "Int64"}
_TEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
_TEX |= {character: f"\\{character}" for character in "{}%&#$_"}
_SET = {ord(character): text for character, text in _TEX.items()}


def licence(text: str) -> str | dict[str, str]:
    """Return the URL of a licence: of its SPDX identifier, or the text if it is a URL; else a work of that name.

    >>> licence("cc-by-4.0"), licence("https://example.org/terms")
    ('https://spdx.org/licenses/CC-BY-4.0', 'https://example.org/terms')
    >>> licence("ask Ann first")
    {'@type': 'sc:CreativeWork', 'name': 'ask Ann first'}
    """
    words = text.strip()
    if known := _LICENCES.get(words.lower()):
        return f"https://spdx.org/licenses/{known}"
    return words if _WEB.fullmatch(words) else {"@type": "sc:CreativeWork", "name": words}


def doi_url(text: str) -> str | None:
    """Return the URL of a DOI, however it is written; None if it is none.

    >>> doi_url("doi:10.5281/zenodo.123"), doi_url("https://doi.org/10.1002/(SICI)<1>"), doi_url("soon")
    ('https://doi.org/10.5281/zenodo.123', 'https://doi.org/10.1002/(SICI)%3C1%3E', None)
    """
    found = _DOI.fullmatch(text.strip())
    return f"https://doi.org/{quote(found[1], safe='/:;()._-~%')}" if found else None


def units(unit: str) -> dict[str, str]:
    """Return a unit as text that UDUNITS reads and, where QUDT has it, as the URL there; nothing for no unit.

    >>> units("nm"), units("kJ/mol/nm"), units("")
    ({'unitText': 'nm', 'unitCode': 'http://qudt.org/vocab/unit/NanoM'}, {'unitText': 'kJ/mol/nm'}, {})
    """
    code = {"unitCode": f"http://qudt.org/vocab/unit/{_QUDT[unit]}"} if unit in _QUDT else {}
    return {"unitText": unit, **code} if unit else {}


def data_type(dtype: str) -> list[str]:
    """Return the types of a field: what schema.org calls it, and its width.

    >>> data_type("float32"), data_type("str")
    (['sc:Float', 'cr:Float32'], ['sc:Text'])
    """
    if dtype not in _NUMBERS:
        return ["sc:Text"]
    return ["sc:Float" if dtype.startswith("float") else "sc:Integer", f"cr:{_NUMBERS[dtype]}"]


def person(name: str) -> dict[str, str]:
    """Return an author."""
    return {"@type": "sc:Person", "name": name}


def property_value(name: str, value: Any, *, unit: str = "", kind: str = "") -> list[dict[str, Any]]:
    """Return a property that is a text, a truth or a finite number; a list of one, of none for all else.

    >>> property_value("temperature", 303.0, unit="K")[0]["value"], property_value("ensemble", "")
    (303.0, [])
    """
    if (
        not isinstance(value, str | int | float)
        or value == ""
        or (isinstance(value, float) and not math.isfinite(value))
    ):
        return []
    own = {"propertyID": kind} if kind else {}
    return [{"@type": "sc:PropertyValue", **own, "name": name, "value": value, **units(unit)}]


def bibtex(key: str, fields: Mapping[str, str], *, authors: Sequence[str] = ()) -> str:
    r"""Return an entry of BibTeX; what steers TeX is escaped, what is empty left out.

    >>> print(bibtex("dmpc_303k", {"title": "100 % {DMPC}", "year": ""}, authors=["Ann Lee", "Bo Li"]))
    @misc{dmpc_303k,
      author = {Ann Lee and Bo Li},
      title = {100 \% \{DMPC\}}
    }
    """
    known = {"author": " and ".join(_tex(name) for name in authors)} | {
        name: _tex(text) for name, text in fields.items()
    }
    lines = [f"  {name} = {{{text}}}" for name, text in known.items() if text]
    return ",\n".join([f"@misc{{{re.sub('[^A-Za-z0-9_]+', '_', key)}", *lines]) + "\n}"


def _tex(text: str) -> str:
    """Return a text on one line that TeX sets as it stands."""
    return " ".join(text.split()).translate(_SET)


def known(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is known, without empty texts and lists."""
    return {key: value for key, value in found.items() if value not in ("", [], {})}


def distinct(values: Iterable[Any]) -> list[Any]:
    """Return different values in order of appearance, without None."""
    found: list[Any] = []
    seen: set[str] = set()
    for value in values:
        key = json.dumps(value)
        if value is not None and key not in seen:
            seen.add(key)
            found.append(value)
    return found
