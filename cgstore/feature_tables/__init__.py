"""Feature tables: one row for each of thousands of systems, one column for each feature, renewed and not recomputed."""

from importlib import import_module
from typing import Any

__all__ = [
    "Column",
    "Feature",
    "Parameters",
    "Source",
    "TableSpec",
    "build_table",
    "explain_table",
    "features",
    "join",
    "match",
    "open_table",
    "register",
    "tables",
]

_HOMES = {
    "Column": "registry",
    "Feature": "registry",
    "Parameters": "registry",
    "Source": "sources",
    "TableSpec": "spec",
    "build_table": "build",
    "explain_table": "staleness",
    "features": "registry",
    "join": "matching",
    "match": "matching",
    "open_table": "storage",
    "register": "registry",
    "tables": "storage",
}


def __getattr__(name: str) -> Any:
    """Load a public name from its module."""
    if name not in _HOMES:
        raise AttributeError(f"module 'cgstore.feature_tables' has no attribute {name!r}")
    return getattr(import_module(f"cgstore.feature_tables.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    """List the public names without loading them."""
    return sorted(__all__)
