"""Small systems for the engines: their topologies, and places of their atoms."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cgstore.building.start import Start, write_start

DATA = Path(__file__).parents[1] / "data" / "engines"

# The united atom of TraPPE (Martin and Siepmann 1998, doi:10.1021/jp972543+): σ 0.373 nm, ε/k 148 K.
UNITED_METHANE = """
[ defaults ]
1 2 no 1.0 1.0
[ atomtypes ]
CH4 0 16.043 0.000 A 0.373 1.230540
[ moleculetype ]
CH4 3
[ atoms ]
1 CH4 1 CH4 CH4 1 0.0 16.043
[ system ]
methane
[ molecules ]
CH4 125
"""

ETHANOL = np.array(
    [
        [0, 0, 0],
        *([-0.0385, 0.1020 * np.cos(phi), 0.1020 * np.sin(phi)] for phi in np.radians([60, 180, 300])),
        [0.1529, 0, 0],
        *([0.1914, 0.1020 * np.cos(phi), 0.1020 * np.sin(phi)] for phi in np.radians([120, 240])),
        [0.2000, 0.1329, 0],
        [0.2900, 0.1313, 0.0289],
    ]
)  # (atom, xyz) nm
ATOMS = ("C1", "H11", "H12", "H13", "C2", "H21", "H22", "O", "HO")
WATER = np.array([[0, 0, 0], [0.05774, 0.08165, 0], [0.05774, -0.08165, 0]])


def lattice(molecules: list[np.ndarray], spacing: float, *, seed: int, noise: float = 0.0) -> np.ndarray:
    """Return molecules turned at random on a cubic lattice, wrapped into its box: (atom, xyz) nm."""
    random = np.random.default_rng(seed)
    count = int(np.ceil(len(molecules) ** (1 / 3) - 1e-9))
    sites = spacing * np.stack(np.meshgrid(*[np.arange(count)] * 3), -1).reshape(-1, 3)
    placed = []
    for molecule, site in zip(molecules, sites, strict=False):
        turn, _ = np.linalg.qr(random.normal(size=(3, 3)))
        turn *= np.sign(np.linalg.det(turn))
        shaken = molecule + (noise * random.normal(size=molecule.shape) if len(molecule) > 3 else 0)
        placed.append((shaken - shaken.mean(axis=0)) @ turn + site)
    return np.concatenate(placed) % (count * spacing)


def start(topology: str, names: list[tuple[str, str, int]], position: np.ndarray, edge: float) -> Start:
    """Return a system whose atoms have these names, residues and residue numbers, in a cubic box."""
    name, residue, number = zip(*names, strict=True)
    return Start(topology, np.array(name), np.array(residue), np.array(number, np.int32), position, edge * np.eye(3))


@pytest.fixture
def methane(tmp_path: Path) -> Callable[[str], Path]:
    """Return folders with 125 united atoms of methane, nearly as dense as the liquid."""

    def folder(name: str, spacing: float = 0.41) -> Path:
        place = tmp_path / name
        place.mkdir()
        position = lattice([np.zeros((1, 3))] * 125, spacing, seed=1)
        write_start(start(UNITED_METHANE, [("CH4", "CH4", k + 1) for k in range(125)], position, 5 * spacing), place)
        return place

    return folder


@pytest.fixture
def ethanol(tmp_path: Path) -> Path:
    """Return a folder with 20 ethanol and 44 water molecules that the box breaks."""
    molecules = [ETHANOL] * 20 + [WATER] * 44
    topology = (DATA / "ethanol_water.top").read_text()
    names = [(name, "ETH", k + 1) for k in range(20) for name in ATOMS]
    names += [(name, "SOL", k + 21) for k in range(44) for name in ("OW", "HW1", "HW2")]
    write_start(start(topology, names, lattice(molecules, 0.56, seed=2, noise=0.003), 4 * 0.56), tmp_path)
    return tmp_path
