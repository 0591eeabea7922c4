"""Chains of beads, and potentials of them that are known in closed form."""

import numpy as np
import xarray as xr

from cgstore.learn.molecular import Molecular
from cgstore.tables import BondedTable, Table, bonded_table_of, table_of
from cgstore.topology import angles_of_bonds, dihedrals_of_bonds

ANGLES, DIHEDRALS = np.linspace(0.0, 180.0, 721), np.linspace(-180.0, 180.0, 1441)
LENGTHS = np.arange(0.05, 1.0, 0.001)


def chains(kinds: list[str], box: np.ndarray, *, seed: int, replicas: int = 1, mass: float = 50.0) -> xr.Dataset:
    """Return random walks with bonds of 0.3 nm, one for each of `kinds`, the types of its beads."""
    rng = np.random.default_rng(seed)
    types, bonds, molecule, positions = [], [], [], []
    for number, kind in enumerate(kinds):
        first = len(types)
        bonds += [(first + k, first + k + 1) for k in range(len(kind) - 1)]
        types += list(kind)
        molecule += [number] * len(kind)
        step = rng.normal(size=(replicas, len(kind), 3))
        step *= 0.3 / np.linalg.norm(step, axis=-1, keepdims=True)
        positions.append(rng.random((replicas, 1, 3)) @ box + np.cumsum(step, axis=1))
    bond, count = np.array(bonds, np.int32).reshape(-1, 2), len(types)
    return xr.Dataset(
        {
            "position": (("frame", "particle", "xyz"), np.concatenate(positions, axis=1).astype(np.float32)),
            "box": (("frame", "box_vector", "xyz"), np.repeat(box[None], replicas, axis=0).astype(np.float32)),
            "mass": ("particle", np.full(count, mass)),
            "bond": (("bond", "bond_end"), bond),
            "angle": (("angle", "angle_end"), angles_of_bonds(bond, count)),
            "dihedral": (("dihedral", "dihedral_end"), dihedrals_of_bonds(bond, count)),
        },
        {
            "type": ("particle", types),
            "name": ("particle", types),
            "molecule": ("particle", np.array(molecule, np.int32)),
        },
    )


def harmonic_bond(stiffness: float = 5000.0, length: float = 0.3) -> BondedTable:
    return BondedTable("bond", LENGTHS, 0.5 * stiffness * (LENGTHS - length) ** 2, -stiffness * (LENGTHS - length))


def harmonic_angle(stiffness: float = 40.0, angle: float = 120.0) -> BondedTable:
    """Stiffness in kJ/mol/rad²; flat at 0 and 180 degrees, as its mirror images are."""
    d = np.radians(ANGLES - angle)
    return bonded_table_of("angle", ANGLES, 0.5 * stiffness * d**2)


def dihedral_energy(degrees: np.ndarray) -> np.ndarray:
    """Two wells of different depth and width, without symmetry."""
    phi = np.radians(degrees)
    return 3.0 * np.cos(2.0 * phi + 0.3) + 1.2 * np.cos(phi - 0.5) + 0.4 * np.sin(3.0 * phi)


def dihedral(scale: float = 1.0) -> BondedTable:
    return bonded_table_of("dihedral", DIHEDRALS, scale * dihedral_energy(DIHEDRALS))


def soft(cutoff: float = 0.9, depth: float = 1.0) -> Table:
    r = np.arange(0.25, cutoff + 0.0005, 0.001)
    return table_of(r, 4.0 * depth * ((0.35 / r) ** 9 - (0.35 / r) ** 6), cutoff)


def model(**changes) -> Molecular:
    """Chains ABBA with every term, and CDDC whose dihedral is free."""
    types = "ABCD"
    pairs = {f"{a}-{b}": soft(depth=0.6 + 0.2 * k) for k, a in enumerate(types) for b in types[k:]}
    bonds = {name: harmonic_bond() for name in ("A-B", "B-B", "C-D", "D-D")}
    angles = {"A-B-B": harmonic_angle(), "C-D-D": harmonic_angle(30.0, 100.0), "B-B-B": harmonic_angle(20.0, 170.0)}
    dihedrals = {name: dihedral() for name in ("A-B-B-A", "A-B-B-B", "B-B-B-B")} | {"C-D-D-C": dihedral(0.0)}
    parts = {"pairs": pairs, "bonds": bonds, "angles": angles, "dihedrals": dihedrals, "exclude_bonded": 2}
    return Molecular(**(parts | changes))
