"""The report: a store and its fits as one self-contained HTML page that needs no server and no network.

Pictures are inside the page as SVG. Nothing is computed but the drawings: distributions appear when they are kept,
fits when they are named. The page depends on content alone, so the same store gives the same bytes.
"""

import importlib.metadata
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from cgstore.catalog import Catalog, Entry, open_catalog, plain_text
from cgstore.report.fits import fit_card
from cgstore.report.results import result_cards

__all__ = ["write_fit_page", "write_report"]

_COLUMNS = {
    "name": "dataset",
    "composition": "composition",
    "temperature": "T / K",
    "pressure": "p / bar",
    "frames": "frames",
    "time_ps": "time / ps",
    "particles": "particles",
    "version": "version",
    "digest": "digest",
}
_PROVENANCE = (
    "title", "kind", "composition", "temperature", "pressure", "ensemble", "forcefield", "software", "authors", "doi",
    "license", "tags", "parameters", "version", "digest", "frames", "particles", "time_ps", "bytes", "precision",
    "recipe", "recipe_digest", "mapping_digest", "topology_digest", "lineage", "created", "created_with",
)  # fmt: skip
_UNITS = {"temperature": " K", "pressure": " bar", "time_ps": " ps", "bytes": " bytes", "precision": " nm"}
_SOURCES = 4  # files in a line; all of them are under provenance
_PACKAGES = ("numpy", "zarr", "xarray", "dask", "numba", "matplotlib")


def write_report(store: str | Path, out: str | Path, *, fits: Iterable[str | Path] = ()) -> Path:
    """Write `index.html` into a folder.

    Parameters
    ----------
    store : folder of a store
    out : folder of the page, made when missing
    fits : folders of fits to show, with their validation where there is one

    Returns
    -------
    path of the page

    Raises
    ------
    InputError : there is no such store, or a folder is not a fit
    IntegrityError : a kept result is damaged
    """
    catalog = open_catalog(store)
    systems = [_system(number, entry) for number, entry in enumerate(catalog.values(), 1)]
    page = _render(
        title=f"Report of {Path(store).resolve().name}",
        summary=_summary(catalog),
        listing=_listing(catalog.values()),
        damaged=sorted(catalog.damaged.items()),
        systems=systems,
        fits=[fit_card(Path(folder), catalog) for folder in fits],
    )
    return _write(Path(out) / "index.html", page)


def write_fit_page(store: str | Path, folder: str | Path) -> Path:
    """Write `validation.html` into the folder of a fit: its validations, what it was made of, and the data behind it.

    Parameters
    ----------
    store : of the fit
    folder : of the fit

    Returns
    -------
    path of the page

    Raises
    ------
    InputError : there is no such store, or the folder is not a fit
    """
    catalog = open_catalog(store)
    card = fit_card(Path(folder), catalog)
    entries = [catalog[name] for name in card["datasets"] if name in catalog]
    page = _render(
        title=f"Validation of {card['name']}",
        summary=f"{len(entries)} datasets; {len(card['validations'])} parts of the split were asked about",
        listing=_listing(entries),
        damaged=[],
        systems=[_system(number, entry, results=False) for number, entry in enumerate(entries, 1)],
        fits=[card],
    )
    return _write(Path(folder) / "validation.html", page)


def _write(path: Path, page: str) -> Path:
    """Write a page, and its folder where there is none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf-8")
    return path


def _render(**content: Any) -> str:
    """Fill the template; everything that is not markup of the template is escaped."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("cgstore"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in _PACKAGES)
    own = {"version": importlib.metadata.version("cgstore"), "software": f"With {versions}."}
    return environment.get_template("report.html.j2").render(**content, **own)


def _summary(catalog: Catalog) -> str:
    """Say in one line what there is."""
    rows = [entry.metadata for entry in catalog.values()]
    runs = {(row["system"], row["run"]) for row in rows}
    size = sum(row["bytes"] for row in rows) / 1e6
    return f"{len(rows)} datasets of {len(runs)} runs, {sum(row['frames'] for row in rows)} frames, {size:.2f} MB"


def _listing(entries: Iterable[Entry]) -> dict[str, Any]:
    """Return the table of datasets."""
    rows = []
    for entry in entries:
        row = {**entry.metadata, "digest": str(entry.metadata["digest"])[:12]}
        rows.append([plain_text(row.get(key)) for key in _COLUMNS])
    return {"head": list(_COLUMNS.values()), "rows": rows}


def _system(number: int, entry: Entry, *, results: bool = True) -> dict[str, Any]:
    """Return what is shown of one dataset: kept results, if they are wanted, and provenance."""
    known = entry.metadata
    return {
        "number": number,  # of its place on the page
        "name": entry.name,
        "title": known.get("title") or known["system"],
        "answers": result_cards(entry) if results else [],
        "lineage": _lineage(entry),
        "provenance": [
            (key.removesuffix("_ps").replace("_", " "), plain_text(known[key]) + _UNITS.get(key, ""))
            for key in _PROVENANCE
            if known.get(key) not in (None, "", [], {})
        ],
        "sources": [[source["path"], str(source["size"]), source["digest"]] for source in known.get("sources", ())],
    }


def _lineage(entry: Entry) -> list[tuple[str, str]]:
    """Return in short what results of a dataset go back to; digests are in full under provenance."""
    known = entry.metadata
    sources = [str(source["path"]) for source in known.get("sources", ())]
    digests = {"recipe": "recipe_digest", "mapping": "mapping_digest"}
    found = [("content", f"version {known['version']}, {_short(known['digest'])}")]
    found += [(name, _short(known[key])) for name, key in digests.items() if known.get(key)]
    if sources:
        more = f" and {len(sources) - _SOURCES} more" if len(sources) > _SOURCES else ""
        found.append(("from", ", ".join(sources[:_SOURCES]) + more))
    return found


def _short(digest: Any) -> str:
    """Return the first letters of a digest, or of each one."""
    if isinstance(digest, dict):
        return ", ".join(f"{name} {_short(value)}" for name, value in digest.items())
    return str(digest)[:12]
