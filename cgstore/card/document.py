"""The publishing card: datasets described in Croissant, so that others find, cite, check and read them.

A card is JSON-LD: what the datasets are, under which licence, who made them, every file with its SHA-256 from the
sealed manifests, every variable with type, dims and unit, the state point, and the source files. It says what the store
says and nothing else: no clock, no path of this machine, so that equal content has equal bytes.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cgstore.card.nodes import Described, describe, file_nodes, file_set_node, record_set_nodes
from cgstore.card.terms import CONFORMS_TO, CONTEXT, bibtex, distinct, doi_url, known, licence, person
from cgstore.catalog import Entry, without_credentials
from cgstore.documents import digest
from cgstore.errors import InputError
from cgstore.printable import one_line, printable

__all__ = ["Card", "make_card"]

_KEYWORDS = ("coarse-graining", "molecular dynamics")
_MOST_NAMED = 4  # systems in the name of a card


@dataclass(frozen=True, slots=True)
class Card:
    """A card as plain data, and what it lacks before it is published: one sentence each, with what to do."""

    document: Mapping[str, Any]
    problems: tuple[str, ...]

    def render(self) -> str:
        """Return the JSON; it can stand in a web page, and nothing in it steers a terminal."""
        text = json.dumps(self.document, indent=1, ensure_ascii=False, allow_nan=False)
        return printable(text).replace("<", "\\u003c") + "\n"


def make_card(entries: Iterable[Entry], *, name: str = "", url: str = "") -> Card:
    """Describe datasets in the version that their catalog lists.

    Parameters
    ----------
    entries : of a catalog
    name : of the whole; by default the title of the system, or the names of the systems
    url : where the root of the store will be found; by default the DOI, if there is one, and paths in the store

    Raises
    ------
    InputError : there is no dataset, or the URL is none, or one with credentials
    IntegrityError : a dataset is damaged: a card would promise what is not there

    Examples
    --------
    >>> make_card([])
    Traceback (most recent call last):
        ...
    cgstore.errors.InputError: found no dataset to describe, expected at least one; see cgstore ls
    """
    datasets = [describe(entry) for entry in sorted(entries, key=lambda entry: entry.name)]
    if not datasets:
        raise InputError("found no dataset to describe, expected at least one; see cgstore ls")
    if url and "://" not in url:
        raise InputError(f"found the URL {url!r}, expected one such as https://example.org/data")
    base = without_credentials(url).rstrip("/") if url else ""
    dois = distinct(doi_url(item.text("doi")) for item in datasets)
    common = dois[0] if len(dois) == 1 and all(doi_url(item.text("doi")) for item in datasets) else ""
    problems = _missing(datasets)
    if not (base or common):
        problems.append("the card: found neither a URL nor one DOI of the whole; give the URL with --url")
    document = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "name": name or _title(datasets),
        **known({"url": base or common, "sameAs": common if base else ""}),
        **_head(datasets, dois),
        "distribution": [node for item in datasets for node in (file_set_node(item), *file_nodes(item, base))],
        "recordSet": [node for item in datasets for node in record_set_nodes(item)],
    }
    return Card(document, tuple(problems))


def _head(datasets: Sequence[Described], dois: Sequence[str]) -> dict[str, Any]:
    """Return what the card says of the whole."""
    whole = digest({item.name: item.manifest.digest for item in datasets})
    dates = sorted(item.created for item in datasets if item.created)
    authors = distinct(author for item in datasets for author in item.texts("authors"))
    found: dict[str, Any] = {
        "description": _description(datasets),
        "conformsTo": CONFORMS_TO,
        "license": distinct(licence(text) for item in datasets if (text := item.text("license"))),
        "creator": [person(author) for author in authors],
        "citeAs": "\n\n".join(_cite(url, datasets) for url in dois),
        "keywords": _keywords(datasets),
        # Of semantic versions, what follows the plus names the build: any other version of a member is another one.
        "version": f"{max(item.manifest.version for item in datasets)}.0.0+{whole[:12]}",
        "identifier": f"sha256:{whole}",
        "dateCreated": dates[0] if dates else "",
        "dateModified": dates[-1] if dates else "",
        "datePublished": dates[-1][:10] if dates else "",
    }
    return known(found)


def _title(datasets: Sequence[Described]) -> str:
    """Return the name of the whole."""
    titles = distinct(item.text("title") or item.system for item in datasets)
    more = f" and {len(titles) - _MOST_NAMED} more systems" if len(titles) > _MOST_NAMED else ""
    return "; ".join(titles[:_MOST_NAMED]) + more


def _description(datasets: Sequence[Described]) -> str:
    """Return what the whole is, in sentences."""
    levels = sorted({item.name.rpartition("/")[2] for item in datasets})
    systems = sorted({item.system for item in datasets})
    return (
        f"Frames of molecular simulations: {_count(datasets, 'dataset')} of {_count(systems, 'system')}, "
        f"{_count(levels, 'level')}: {', '.join(levels)}. Each dataset is a zarr group of format 3, in the folder "
        "system/run/level/version, with labelled dims and CF units, which xarray opens; MANIFEST.json in it lists the "
        "SHA-256 of all its files. Lengths are in nm, times in ps, masses in u, charges in e, energies in kJ/mol."
    )


def _count(things: Sequence[Any], what: str) -> str:
    """Say how many there are."""
    return f"{len(things)} {what}{'' if len(things) == 1 else 's'}"


def _cite(url: str, datasets: Sequence[Described]) -> str:
    """Return the BibTeX entry of a DOI."""
    own = [item for item in datasets if doi_url(item.text("doi")) == url]
    titles = "; ".join(distinct(item.text("title") or item.system for item in own)[:_MOST_NAMED])
    year = max(item.created[:4] for item in own)
    authors = distinct(author for item in own for author in item.texts("authors"))
    doi = url.removeprefix("https://doi.org/")
    return bibtex(own[0].system, {"title": titles, "year": year, "doi": doi}, authors=authors)


def _keywords(datasets: Sequence[Described]) -> list[str]:
    """Return what one would search for."""
    found = {word for item in datasets for word in (*item.texts("tags"), *item.table("composition"), item.text("kind"))}
    return sorted({*_KEYWORDS, *found} - {""})


def _missing(datasets: Sequence[Described]) -> list[str]:
    """Say what is missing before this can be published, once per system, and what to write into which recipe."""
    problems: list[str] = []
    for item in datasets:
        recipe = one_line(item.text("recipe")) or "its recipe"
        write = f"into [system] of {recipe} and ingest again"
        doi = item.text("doi")
        if not item.text("license"):
            example = 'license = "CC-BY-4.0", or another identifier of https://spdx.org/licenses,'
            problems.append(f"{item.system}: found no license; write {example} {write}")
        if not doi:
            problems.append(
                f'{item.system}: found no doi; write doi = "10.5281/zenodo.…", or what you were given, {write}'
            )
        elif doi_url(doi) is None:
            problems.append(
                f"{item.system}: found the doi {one_line(doi)[:80]!r}, expected 10.NUMBER/NAME; write it {write}"
            )
        if not item.texts("authors"):
            problems.append(f'{item.system}: found no authors; write authors = ["First Last"] {write}')
        if item.manifest.attrs.get("copied") is False:
            problems.append(
                f"{item.name}: its positions stay in source files outside the store; publish these too, or "
                f"ingest {recipe} without copy = false"
            )
    return distinct(problems)
