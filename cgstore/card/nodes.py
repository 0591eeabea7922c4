"""One dataset in a publishing card: the set of its files, each file, and the tables of its variables."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from cgstore.card.terms import data_type, distinct, doi_url, known, licence, person, property_value, units
from cgstore.catalog import Entry, plain_text
from cgstore.errors import IntegrityError
from cgstore.schema import SCHEMA
from cgstore.store.integrity import Manifest, read_manifest, version_name
from cgstore.store.manifests import MANIFEST, check_files
from cgstore.store.trees import tree_of

__all__ = ["Described", "describe", "file_nodes", "file_set_node", "record_set_nodes"]

_ZARR = "application/vnd.zarr; version=3"
_DATE = re.compile(r"\d{4}-\d\d-\d\dT[0-9:.]+(?:Z|[+-]\d\d:\d\d)")
_SHA256 = re.compile("[0-9a-f]{64}")
_STATED = {"temperature": "K", "pressure": "bar", "ensemble": "", "forcefield": "", "software": "", "kind": ""}
_DIGESTS = ("recipe_digest", "mapping_digest", "topology_digest")


@dataclass(frozen=True, slots=True)
class Described:
    """One dataset as it lies in the store: its manifest, the file of the manifest, its variables."""

    name: str
    folder: str  # below the root of the store
    manifest: Manifest
    seal: Mapping[str, Any]  # size and sha256 of the manifest
    variables: Sequence[Mapping[str, Any]]

    def text(self, key: str) -> str:
        """Return an attribute that is a text; an empty one where it is something else."""
        value = self.manifest.attrs.get(key)
        return value.strip() if isinstance(value, str) else ""

    def texts(self, key: str) -> list[str]:
        """Return those entries of an attribute that are texts."""
        value = self.manifest.attrs.get(key)
        return [item for item in value if isinstance(item, str) and item] if isinstance(value, list) else []

    def table(self, key: str) -> Mapping[str, Any]:
        """Return an attribute that is a table; an empty one where it is something else."""
        value = self.manifest.attrs.get(key)
        return value if isinstance(value, Mapping) else {}

    def sources(self) -> list[Mapping[str, Any]]:
        """Return the source files: tables with path, size and digest."""
        value = self.manifest.attrs.get("sources")
        return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []

    @property
    def system(self) -> str:
        """The system in the name of the dataset."""
        return self.name.partition("/")[0]

    @property
    def created(self) -> str:
        """When the version was made; an empty text where that is not known."""
        return date if _DATE.fullmatch(date := self.text("created")) else ""


def describe(entry: Entry) -> Described:
    """Gather what the card says of one dataset; all its files must be there, with their sizes."""
    version = entry.metadata["version"]
    tree = tree_of(f"{entry.location}/{version_name(version)}")
    manifest = read_manifest(tree)
    if wrong := check_files(tree, manifest.files, deep=False):
        path, problem = next(iter(wrong.items()))
        raise IntegrityError(f"{tree.title}/{path}: {problem}; run cgstore verify {entry.name}")
    text = tree.read(MANIFEST)
    seal = {"size": len(text), "sha256": hashlib.sha256(text).hexdigest()}
    return Described(entry.name, f"{entry.name}/{version_name(version)}", manifest, seal, _variables(entry))


def _variables(entry: Entry) -> list[dict[str, Any]]:
    """Return the variables of a dataset in the order of the schema, as a reader sees them."""
    ds = entry.open(entry.metadata["version"])
    return [
        {
            "name": row.name,
            "dims": row.dims,
            "shape": ds[row.name].shape,
            "dtype": "str" if row.dtype == "str" else str(ds[row.name].dtype),
            "unit": row.unit,
            "meaning": row.meaning,
        }
        for row in SCHEMA
        if row.name in ds.variables
    ]


def file_set_node(item: Described) -> dict[str, Any]:
    """Return a dataset as the set of its files, with all that holds for it alone."""
    manifest, title, text = item.manifest, item.text("title"), item.text("license")
    size = f"{manifest.frames} frames of {manifest.particles} particles over {manifest.time_ps:g} ps"
    found = {
        "name": item.name,
        "description": f"{title + ': ' if title else ''}{size}{_state(item)}",
        "encodingFormat": _ZARR,
        "includes": f"{item.folder}/**",
        "contentSize": f"{manifest.bytes} B",
        "version": str(manifest.version),
        "identifier": f"sha256:{manifest.digest}",
        "dateCreated": item.created,
        "license": licence(text) if text else "",
        "citation": doi_url(item.text("doi")) or "",
        "creator": [person(author) for author in item.texts("authors")],
        "additionalProperty": _properties(item),
        "prov:wasDerivedFrom": [_source(source) for source in item.sources()],
        "prov:wasGeneratedBy": _activity(item),
    }
    return {"@type": "cr:FileSet", "@id": item.name, **known(found)}


def _state(item: Described) -> str:
    """Return the state point in words."""
    attrs = item.manifest.attrs
    numbers = [(attrs.get("temperature"), "K"), (attrs.get("pressure"), "bar")]
    point = [f"{value:g} {unit}" for value, unit in numbers if isinstance(value, int | float)]
    species = plain_text(item.table("composition"))
    return (f" at {', '.join(point)}" if point else "") + (f", of {species}" if species else "")


def _properties(item: Described) -> list[dict[str, Any]]:
    """Return state point, composition, parameters and digests as properties."""
    attrs, manifest = item.manifest.attrs, item.manifest
    found = [property_value(key, attrs.get(key), unit=unit) for key, unit in _STATED.items()]
    found += [
        property_value("frames", manifest.frames),
        property_value("particles", manifest.particles),
        property_value("time", float(manifest.time_ps), unit="ps"),
        property_value("precision", attrs.get("precision"), unit="nm"),
    ]
    found += [
        property_value(key, value, kind="composition") for key, value in sorted(item.table("composition").items())
    ]
    found += [property_value(key, value, kind="parameter") for key, value in sorted(item.table("parameters").items())]
    found += [property_value(key, attrs.get(key)) for key in _DIGESTS]
    return [node for nodes in found for node in nodes]


def _source(source: Mapping[str, Any]) -> dict[str, Any]:
    """Return a source file; it is known by its digest, wherever it lies."""
    sha256, path, size = source.get("digest"), source.get("path"), source.get("size")
    sound = isinstance(sha256, str) and _SHA256.fullmatch(sha256)
    found = {
        "@id": f"urn:sha256:{sha256}" if sound else "",
        "name": path if isinstance(path, str) else "",
        "contentSize": f"{size} B" if type(size) is int else "",
        "sha256": sha256 if sound else "",
    }
    return {"@type": "prov:Entity", **known(found)}


def _activity(item: Described) -> dict[str, Any]:
    """Return the ingest that made a dataset."""
    version = item.table("created_with").get("cgstore")
    found = {
        "name": f"cgstore ingest {item.text('recipe')}".rstrip(),
        "prov:endedAtTime": item.created,
        "prov:wasAssociatedWith": {
            "@type": "prov:SoftwareAgent",
            "name": f"cgstore {version}" if isinstance(version, str) else "cgstore",
        },
    }
    return {"@type": "prov:Activity", **known(found)}


def file_nodes(item: Described, base: str) -> list[dict[str, Any]]:
    """Return every file of a dataset, the manifest first, with size and SHA-256."""
    nodes = []
    for path, file in {MANIFEST: item.seal, **dict(sorted(item.manifest.files.items()))}.items():
        place = quote(f"{item.folder}/{path}", errors="surrogatepass")
        nodes.append(
            {
                "@type": "cr:FileObject",
                "@id": place,
                "name": path,
                "contentUrl": f"{base}/{place}" if base else place,
                "contentSize": f"{file['size']} B",
                "encodingFormat": "application/json" if path.endswith(".json") else "application/octet-stream",
                "sha256": file["sha256"],
                "isPartOf": {"@id": item.name},
            }
        )
    return nodes


def record_set_nodes(item: Described) -> list[dict[str, Any]]:
    """Return the tables of a dataset: what there is per frame, per particle, per bond …; empty ones are left out."""
    nodes = []
    for dim in distinct(row["dims"][0] for row in item.variables):
        rows = [row for row in item.variables if row["dims"][0] == dim]
        count = rows[0]["shape"][0]
        if count:
            identity = f"{item.name}/{dim}"
            about = f"{count} records of {item.name}, one per {dim}"
            fields = [_field(item, identity, row) for row in rows]
            nodes.append(
                {"@type": "cr:RecordSet", "@id": identity, "name": identity, "description": about, "field": fields}
            )
    return nodes


def _field(item: Described, identity: str, row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a variable as a field of its table: the dims behind the first are those of one record."""
    inner = row["shape"][1:]
    shape = {"isArray": True, "arrayShape": ",".join(map(str, inner))} if inner else {}
    return {
        "@type": "cr:Field",
        "@id": f"{identity}/{row['name']}",
        "name": row["name"],
        "description": f"{row['meaning']}; dims ({', '.join(row['dims'])})",
        "dataType": data_type(row["dtype"]),
        **shape,
        **units(row["unit"]),
        "source": {"fileSet": {"@id": item.name}, "extract": {"column": row["name"]}},
    }
