"""cgstore: simulation archives in, coarse-grained training data out.

The public functions are loaded on first use, so that `import cgstore` is quick and has no side effects.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "ingest": "cgstore.ingestion",
    "open_catalog": "cgstore.catalog",
    "verify": "cgstore.store.integrity",
    "rdf": "cgstore.averages.pair",
    "bonded": "cgstore.averages.bonded",
    "density_profile": "cgstore.averages.profile",
    "radial_profile": "cgstore.averages.radial",
    "radial_map": "cgstore.averages.radial",
    "distributions": "cgstore.averages.onepass",
    "export": "cgstore.writers.exporting",
    "to_mdtraj": "cgstore.neighbours.mdtraj",
    "to_universe": "cgstore.neighbours.mdanalysis",
}

__all__ = [
    "__version__",
    "bonded",
    "density_profile",
    "distributions",
    "export",
    "ingest",
    "open_catalog",
    "radial_map",
    "radial_profile",
    "rdf",
    "to_mdtraj",
    "to_universe",
    "verify",
]


def __getattr__(name: str) -> Any:
    """Load a public function from its module."""
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'cgstore' has no attribute {name!r}")


def __dir__() -> list[str]:
    """List the public names without loading them."""
    return sorted(__all__)
