"""The report: a store and its fits as one self-contained HTML page that needs no server and no network.

Pictures are inside the page as SVG. Nothing is computed but the drawings: distributions appear when they are kept,
fits when they are named. The page depends on content alone, so the same store gives the same bytes.
"""

import base64
import importlib.metadata
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from cgstore.catalog import Catalog, Entry, open_catalog, plain_text
from cgstore.plot import DISTRIBUTIONS, answers, encode_figure, figure_of

__all__ = ["write_report"]

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
_PACKAGES = ("numpy", "zarr", "xarray", "dask", "numba", "matplotlib")
_ASKED = {
    "rdf": {"r_max": " nm", "bin_width": " nm"},
    "bond": {"bond_width": " nm"},
    "angle": {"angle_width": "°"},
    "dihedral": {"dihedral_width": "°"},
}  # what a spec says about a kind, with its unit
_FEW = 8  # rows of a table of first maxima


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
    systems = [_system(entry) for entry in catalog.values()]
    page = _render(
        title=f"Report of {Path(store).resolve().name}",
        summary=_summary(catalog),
        listing=_listing(catalog),
        damaged=sorted(catalog.damaged.items()),
        systems=systems,
        fits=[],
    )
    path = Path(out) / "index.html"
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


def _listing(catalog: Catalog) -> dict[str, Any]:
    """Return the table of datasets."""
    rows = []
    for entry in catalog.values():
        row = {**entry.metadata, "digest": str(entry.metadata["digest"])[:12]}
        rows.append([plain_text(row.get(key)) for key in _COLUMNS])
    return {"head": list(_COLUMNS.values()), "rows": rows}


def _system(entry: Entry) -> dict[str, Any]:
    """Return what is shown of one dataset: kept distributions and provenance."""
    known = entry.metadata
    return {
        "name": entry.name,
        "title": known.get("title") or known["system"],
        "answers": [_answer(entry, parameters, tree) for parameters, tree in answers(entry, known["digest"])],
        "provenance": [
            (key.removesuffix("_ps").replace("_", " "), plain_text(known[key]) + _UNITS.get(key, ""))
            for key in _PROVENANCE
            if known.get(key) not in (None, "", [], {})
        ],
        "sources": [[source["path"], str(source["size"]), source["digest"]] for source in known.get("sources", ())],
    }


def _answer(entry: Entry, parameters: Mapping[str, Any], tree: xr.DataTree) -> dict[str, Any]:
    """Return the pictures of the distributions of one dataset, and what they were computed with."""
    pictures, asked = [], []
    for kind in DISTRIBUTIONS:
        table = "rdf" if kind == "rdf" else "bonded"
        result = tree[table].to_dataset().assign_attrs(name=entry.name)
        along = "pair" if kind == "rdf" else f"{kind}_kind"
        if result.sizes.get(along):
            pictures.append(_picture(result, kind, caption=_blocks(result, kind)))
            asked += [f"{key.replace('_', ' ')} {parameters[table][key]:g}{unit}" for key, unit in _ASKED[kind].items()]
    return {"text": f"{', '.join(asked)}.", "pictures": pictures, **_peaks(tree["rdf"].to_dataset())}


def _blocks(result: xr.Dataset, kind: str) -> str:
    """Say how the errors were made."""
    prefix = "" if kind == "rdf" else f"{kind}_"
    blocks, times = result[f"{prefix}blocks"].values, result[f"{prefix}correlation_time"].values
    frames = f"{result.attrs['frames']} frames"
    if not (blocks > 0).any():
        return f"{frames}; too few blocks for errors"
    number = f"{blocks[blocks > 0].min()}" if np.ptp(blocks[blocks > 0]) == 0 else f"{blocks[blocks > 0].min()} or more"
    return f"{frames}; errors from {number} blocks, correlation times up to {np.nanmax(times):.2g} ps"


def _peaks(result: xr.Dataset) -> dict[str, Any]:
    """Return the table of the highest value of each g(r), if it is short."""
    if not 0 < result.sizes["pair"] <= _FEW:
        return {"head": [], "rows": []}
    rows = []
    for pair in result["pair"].values:
        g, error = result["rdf"].sel(pair=pair).values, result["rdf_error"].sel(pair=pair).values
        if np.isfinite(g).any():
            top = int(np.nanargmax(g))
            rows.append([str(pair), f"{float(result['r'][top]):.4g}", f"{g[top]:.3f} ± {error[top]:.3f}"])
    return {"head": ["pair", "r of the maximum / nm", "g(r) there"], "rows": rows}


def _picture(result: xr.Dataset, kind: str, *, caption: str) -> dict[str, str]:
    """Return a figure as an SVG inside the page; as an image, so that nothing in it can run or clash."""
    content = base64.b64encode(encode_figure(figure_of(result, kind), "svg")).decode()
    name = f"{kind} of {result.attrs.get('name', '')}"
    return {"source": f"data:image/svg+xml;base64,{content}", "name": name, "caption": caption}
