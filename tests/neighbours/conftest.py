"""The shipped bilayer in a store, with another version of its beads to be told apart."""

from pathlib import Path

import pytest

from cgstore.ingestion import ingest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("neighbours") / "store"
    ingest([ROOT / "ingest/recipes/dmpc_303k.toml"], archive=ROOT / "archive", store=folder)
    return folder
