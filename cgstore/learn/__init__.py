"""Loaders, potentials, training and validation; the only part that imports torch, and only when asked to."""

from importlib import import_module
from typing import Any

__all__ = [
    "Loader",
    "PairNetwork",
    "RowLoader",
    "Split",
    "TrainingSet",
    "train",
    "train_liquid",
    "validate",
    "validate_liquid",
]

_HOMES = {
    "Loader": "cgstore.learn.loader",
    "PairNetwork": "cgstore.learn.potential",
    "RowLoader": "cgstore.learn.rows",
    "Split": "cgstore.splits.split",
    "TrainingSet": "cgstore.learn.trainset",
    "train": "cgstore.learn.fit",
    "train_liquid": "cgstore.learn.liquid.fit",
    "validate": "cgstore.learn.validation",
    "validate_liquid": "cgstore.learn.liquid.validation",
}


def __getattr__(name: str) -> Any:
    """Load a public name from its module; one line says so when torch is missing."""
    if name not in _HOMES:
        raise AttributeError(f"module 'cgstore.learn' has no attribute {name!r}")
    try:
        return getattr(import_module(_HOMES[name]), name)
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        from cgstore.errors import MissingExtra

        raise MissingExtra.of("torch", extra="learn", purpose=f"cgstore.learn.{name}") from error


def __dir__() -> list[str]:
    """List the public names without loading them."""
    return sorted(__all__)
