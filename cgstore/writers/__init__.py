"""Datasets as trajectory files of other programs, written block by block; a file appears whole or not at all."""

from cgstore.writers.exporting import Exported, export

__all__ = ["Exported", "export"]
