"""Tiny campaigns."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cgstore.documents import toml_key, toml_value

STATE = {"sigma": "0.34 nm", "epsilon": "1 kJ/mol", "temperature": "180 K", "edge": "1.6 nm"}


@pytest.fixture
def write_campaign(tmp_path: Path) -> Callable[..., Path]:
    """Give a function that writes a campaign of some systems of 64 particles, each of which takes a blink."""

    def write(name: str = "tiny", *, engine: str = "openmm", systems: int = 3, **changes: dict[str, Any]) -> Path:
        tables: dict[str, dict[str, Any]] = {
            "campaign": {"name": name, "kind": "lennard_jones", "engine": engine},
            "sweep": {"method": "list", "points": [STATE] * systems},
            "settings": {"particles": 64, "cutoff": 2.0, "equilibration": 300, "production": 640, "every": 20},
        }
        for table, change in changes.items():
            tables[table.replace("__", ".")] = {**tables.get(table, {}), **change}
        path = tmp_path / f"{name}.toml"
        lines = []
        for title, table in tables.items():
            lines += [f"[{title}]", *(f"{toml_key(key)} = {toml_value(value)}" for key, value in table.items())]
        path.write_text("\n".join(lines))
        return path

    return write
