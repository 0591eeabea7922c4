"""Distributions of real beads against VOTCA, GROMACS, MDAnalysis and mdtraj; conventions in data/averages/README.md."""

import csv
import warnings
from pathlib import Path

import mdtraj
import numpy as np
import pytest
import xarray as xr

from cgstore.averages.bonded import bonded
from cgstore.averages.pair import rdf
from cgstore.topology import angles_of_bonds, dihedrals_of_bonds

DATA = Path(__file__).parents[1] / "data" / "averages"
TYPES = dict(NC3="NC3", PO4="PO4", GL1="GL", GL2="GL", C1A="CM", C2A="CM", C3A="CT", C1B="CM", C2B="CM", C3B="CT")
BONDS = np.array([(0, 1), (1, 2), (2, 3), (2, 4), (4, 5), (5, 6), (3, 7), (7, 8), (8, 9)], np.int32)


def beads(system):
    """Return the bead trajectory as mdtraj reads it, and as a dataset with bead names as types."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trajectory = mdtraj.load(str(DATA / f"{system}.xtc"), top=str(DATA / f"{system}.gro"))
    names = [atom.name for atom in trajectory.topology.atoms]
    variables = {
        "position": (("frame", "particle", "xyz"), trajectory.xyz),
        "box": (("frame", "box_vector", "xyz"), trajectory.unitcell_vectors),
    }
    coords = {"type": ("particle", names), "time": ("frame", trajectory.time.astype(float))}
    return trajectory, xr.Dataset(variables, coords, {"name": f"{system}/r1/cg"})


@pytest.fixture(scope="module")
def dmpc():
    """Return the DMPC beads with their types and terms."""
    ds = beads("dmpc")[1]
    bond = np.concatenate([BONDS + 10 * lipid for lipid in range(64)])
    types = [TYPES[str(name)] for name in ds.type.values]
    return ds.assign(
        bond=(("bond", "bond_end"), bond),
        angle=(("angle", "angle_end"), angles_of_bonds(bond, 640)),
        dihedral=(("dihedral", "dihedral_end"), dihedrals_of_bonds(bond, 640)),
    ).assign_coords(type=("particle", types))


def reference(program, system, prefix=""):
    """Return the distributions of a program by name, as arrays of abscissa and values."""
    with (DATA / f"{program}.csv").open() as lines:
        rows = [row for row in csv.reader(lines) if row[0] == system and row[1].startswith(prefix)]
    found = {}
    for _, name, first, second, *values in rows:
        x = float(first) + (float(second) - float(first)) * np.arange(len(values))
        found[name.removeprefix(prefix)] = (x, np.array(values, float))
    return found


def volumes(ds):
    """Return the volume of each frame."""
    return np.abs(np.linalg.det(ds.box.values.astype(np.float64)))


def shells(r, width):
    """Return the volume of the shell of each bin, given its centre."""
    return 4 / 3 * np.pi * ((r + width / 2) ** 3 - np.maximum(r - width / 2, 0) ** 3)


@pytest.mark.parametrize("system", ["dmpc", "methane"])
def test_votca_counts_the_same_pairs(system, dmpc):
    ds = dmpc if system == "dmpc" else beads(system)[1]
    known = reference("csg_stat", system, "rdf_")
    g = rdf(ds, r_max=1.5 if system == "dmpc" else 1.1, bin_width=0.02, exclude_bonded=3).compute()
    assert set(known) == set(g.pair.values)
    number = {name: int((ds.type == name).sum()) for name in np.unique(ds.type)}
    moved = 0
    for pair, (r, theirs) in known.items():
        a, b = pair.split("-")
        n = number[a] ** 2 / 2 if a == b else number[a] * number[b]
        counts = theirs * n * shells(r, 0.02) * ds.sizes["frame"] / volumes(ds).mean()
        np.testing.assert_allclose(r, g.r, atol=1e-12)
        np.testing.assert_allclose(counts, np.rint(counts), atol=1e-4)  # ten digits of 1e5 counts
        off = g["count"].sel(pair=pair).values - np.rint(counts)
        assert off.sum() == 0
        moved += np.abs(off).sum() / 2
    assert moved <= 12  # of 500 000: distances that round to either side of an edge in float32
    if system == "methane":  # our own g differs by (N − 1) / N and by averaging V h instead of V and h
        np.testing.assert_allclose(g.rdf.values[0] * 221 / 222, known["CH4-CH4"][1], atol=5e-3)


@pytest.mark.parametrize(("name", "dim", "unit"), [("bond", "r", 1), ("angle", "theta", 180 / np.pi),
                                                   ("dihedral", "phi", 180 / np.pi)])  # fmt: skip
def test_votca_finds_the_same_bonds_angles_and_dihedrals(dmpc, name, dim, unit):
    known = reference("csg_stat", "dmpc", f"{name}_")
    b = bonded(dmpc, bond_width=0.01, angle_width=3.0, dihedral_width=6.0).compute()
    # VOTCA was told the kinds in alphabetical order too; GL-PO4-NC3 and the like are read from GL.
    assert set(known) == set(b[f"{name}_kind"].values)
    for kind, (x, theirs) in known.items():
        ours = b[name].sel({f"{name}_kind": kind})
        np.testing.assert_allclose(x * unit, ours[dim], atol=1e-6)
        np.testing.assert_allclose(ours * unit, theirs, atol=2e-9 * theirs.max())


@pytest.mark.parametrize(
    ("system", "pair", "r_max"),
    [("dmpc", "NC3-NC3", 1.51), ("dmpc", "NC3-PO4", 1.51), ("dmpc", "NC3-C3A", 1.51), ("methane", "CH4-CH4", 1.1)],
)
def test_gromacs_agrees_to_its_three_decimals(system, pair, r_max):
    ds = beads(system)[1]
    r, theirs = reference("gmx_rdf", system)[pair]
    a, b = pair.split("-")
    g = rdf(ds, pairs=[(a, b)], r_max=r_max, bin_width=0.01, exclude_bonded=0).compute()
    fine = g["count"].values[0]
    fine = fine[1 : 1 + (len(fine) - 1) // 2 * 2]
    counts = fine[::2] + fine[1::2]  # two of our bins around each of 0.02, 0.04 … nm
    size = min(len(counts), len(r) - 1)
    n = int((ds.type == a).sum()) * int((ds.type == b).sum()) / (2 if a == b else 1)
    density = ds.sizes["frame"] * n * np.mean(1 / volumes(ds))
    ours = counts[:size] / density / shells(r[1 : size + 1], 0.02)
    # Three decimals, and now and then a distance that rounds to the other side of an edge.
    np.testing.assert_allclose(ours, theirs[1 : size + 1], atol=5.1e-4 + 1.1 * (ours / counts[:size].clip(1)).max())


def test_mdtraj_agrees_pair_by_pair(dmpc):
    trajectory = beads("dmpc")[0]
    ids = {name: np.flatnonzero(dmpc.type == name) for name in ("NC3", "PO4", "CM")}
    for a, b in (("NC3", "PO4"), ("PO4", "PO4"), ("CM", "CM")):
        pairs = trajectory.topology.select_pairs(ids[a], ids[b])
        r, theirs = mdtraj.compute_rdf(trajectory, pairs, r_range=(0.0, 1.5), bin_width=0.02)
        g = rdf(dmpc, pairs=[(a, b)], bin_width=0.02, exclude_bonded=0).compute()
        np.testing.assert_allclose(r, g.r, atol=1e-6)
        # mdtraj: counts / (pairs · shell · Σ 1/V); its float32 distances move single pairs over an edge.
        unit = 1 / (np.sum(1 / volumes(dmpc)) * len(pairs) * shells(r, 0.02))
        assert np.abs(g["count"].values[0] - theirs / unit).max() < 3.1
        np.testing.assert_allclose(g.rdf.values[0], theirs, atol=0.02)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_mdanalysis_agrees_bin_by_bin():
    import MDAnalysis
    from MDAnalysis.analysis.rdf import InterRDF

    trajectory, ds = beads("methane")
    universe = MDAnalysis.Universe.empty(222, trajectory=True)
    boxes = np.concatenate([trajectory.unitcell_lengths * 10, trajectory.unitcell_angles], axis=1)
    universe.load_new(trajectory.xyz * 10, dimensions=boxes)
    analysis = InterRDF(universe.atoms, universe.atoms, nbins=55, range=(0.0, 11.0), exclusion_block=(1, 1)).run()
    g = rdf(ds, r_max=1.1, bin_width=0.02).compute()
    off = analysis.results.count[1:] / 2 - g["count"].values[0, 1:]  # it counts i-j and j-i
    assert np.abs(off).max() <= 4  # float32 distances
    assert abs(off.sum()) <= 4
    # Its density: pairs N (N − 1), mean volume; ours averages V h frame by frame.
    np.testing.assert_allclose(analysis.results.rdf[1:], g.rdf.values[0, 1:], atol=4e-3)
