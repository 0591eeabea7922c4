"""A particle in water or on a membrane: nothing overlaps, everything is counted, and the engines read it."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial import cKDTree

from cgstore.building.immersion import at_membrane, in_water
from cgstore.building.particles import silica_sphere
from cgstore.building.start import Start, write_start
from cgstore.building.waters import waters_in
from cgstore.errors import InputError
from cgstore.readers.topologies import read_topology

pytest.importorskip("openmm")

PARTICLE = silica_sphere(0.5)

# A flat membrane of one-site lipids, 0.5 nm apart, under a layer of water.
MEMBRANE_TOP = """\
[ defaults ]
; nbfunc comb-rule
1 2 no 1 0.8333

[ atomtypes ]
; name at.num mass charge ptype sigma epsilon
LI 6 100.0 0.0 A 0.5 1.0
O1 8 15.999 0.0 A 0.315 0.636
H1 1 1.008 0.0 A 0.1 0.0

[ moleculetype ]
DMPC 3

[ atoms ]
1 LI 1 DMPC P 1 0.0 100.0

[ moleculetype ]
HOH 3

[ atoms ]
1 O1 1 HOH O 1 -0.834 15.999
2 H1 1 HOH H1 1 0.417 1.008
3 H1 1 HOH H2 1 0.417 1.008

[ settles ]
1 1 0.09572 0.15139

[ exclusions ]
1 2
1 3
2 3

[ system ]
membrane

[ molecules ]
DMPC 64
HOH %d
"""


def membrane(edge: float = 4.0) -> Start:
    """Return lipids at heights of 0.8 nm and water above, in a box 2 nm high."""
    side = (np.arange(8) + 0.5) * edge / 8
    lipid = np.stack(np.meshgrid(side, side, [0.8], indexing="ij"), axis=-1).reshape(-1, 3)
    box = np.array([edge, edge, 2.0])
    water = waters_in(np.array([0, 0, 1.2]), box, around=lipid, box=box, model="tip3p")
    names = ["P"] * 64 + ["O", "H1", "H2"] * len(water)
    number = np.concatenate([np.arange(64), 64 + np.repeat(np.arange(len(water)), 3)]) + 1
    return Start(
        MEMBRANE_TOP % len(water), np.array(names), np.array(["DMPC"] * 64 + ["HOH"] * 3 * len(water)),
        number.astype(np.int32), np.concatenate([lipid, water.reshape(-1, 3)]), np.diag(box),
    )  # fmt: skip


def nearest_of_others(start: Start) -> float:
    """Return the smallest distance between atoms of different molecules, across the periodic box."""
    box = np.diag(start.box)
    molecule = np.where(np.char.startswith(start.residue, "SQ"), 0, start.residue_id)
    tree = cKDTree(start.position % box, boxsize=box)
    pairs = tree.query_pairs(0.4, output_type="ndarray")
    pairs = pairs[molecule[pairs[:, 0]] != molecule[pairs[:, 1]]]
    step = start.position[pairs[:, 0]] - start.position[pairs[:, 1]]
    return float(np.linalg.norm(step - np.rint(step / box) * box, axis=1).min())


def test_water_around_a_particle_fills_the_box_and_touches_nothing() -> None:
    start = in_water(PARTICLE, padding=1.0)
    edge = start.box[0, 0]
    assert edge == pytest.approx(2 * (PARTICLE.extent() + 1.0))
    np.testing.assert_array_equal(start.box, edge * np.eye(3))
    assert nearest_of_others(start) > 0.13
    oxygen = start.position[(start.residue == "HOH") & (start.name == "O")]
    # Beyond 0.35 nm from the particle there is water of nearly its density, 33.4 molecules per nm³.
    probes = np.random.default_rng(1).uniform(0, edge, (4000, 3))
    solid = start.position[start.residue != "HOH"]
    free = (cKDTree(solid).query(probes)[0] > 0.35).mean() * edge**3
    assert len(oxygen) / free == pytest.approx(33.4, rel=0.12)
    bond = np.linalg.norm(start.position[start.name == "H1"][-len(oxygen) :] - oxygen, axis=1)
    np.testing.assert_allclose(bond, 0.1, atol=2e-4)  # the geometry of SPC
    assert len(np.unique(start.residue_id)) == len(oxygen) + PARTICLE.count("silicon")


def test_the_topology_is_that_of_the_atoms(tmp_path: Path) -> None:
    for name, start in {"water": in_water(PARTICLE, padding=0.8, hydrogen_mass=3.0),
                        "membrane": at_membrane(PARTICLE, membrane(), gap=0.3, padding=1.0)}.items():  # fmt: skip
        folder = tmp_path / name
        folder.mkdir()
        write_start(start, folder)
        topology = read_topology(folder / "system.top")
        np.testing.assert_array_equal(topology.name, start.name)
        np.testing.assert_array_equal(topology.residue, start.residue)
        assert abs(topology.charge.sum()) < 1e-6
        solid = topology.molecule_kind == "SILICA"
        assert topology.mass[solid].sum() == pytest.approx(
            28.0855 * PARTICLE.count("silicon")
            + 15.9994 * (PARTICLE.count("bridge") + PARTICLE.count("hydroxyl"))
            + 1.008 * PARTICLE.count("hydrogen"),
            abs=1e-3,
        )
        assert len(np.unique(topology.molecule[solid])) == 1
        if name == "water":
            np.testing.assert_allclose(topology.mass[solid & np.char.startswith(topology.name, "H")], 3.0)


def test_a_particle_stands_at_the_gap_above_the_lipids() -> None:
    bare = membrane()
    start = at_membrane(PARTICLE, bare, gap=0.3, padding=1.0)
    solid = start.position[np.char.startswith(start.residue, "SQ")]
    lipid = start.position[start.residue == "DMPC"]
    np.testing.assert_array_equal(lipid, bare.position[:64])
    assert cKDTree(lipid).query(solid)[0].min() == pytest.approx(0.3, abs=1e-6)
    assert solid[:, 2].min() > 0.8
    assert nearest_of_others(start) > 0.13
    edges = np.diag(start.box)
    np.testing.assert_allclose(edges[:2], 4.0)
    assert edges[2] - (solid[:, 2].max() - lipid[:, 2].min()) == pytest.approx(1.0)
    # No layer without water above the lipids, where the box was enlarged.
    height = start.position[(start.residue == "HOH") & (start.name == "O"), 2]
    layers = np.histogram(height, bins=np.arange(1.2, edges[2] + 0.4, 0.3))[0]
    assert layers[:-1].min() > 0.5 * 33.4 * 0.3 * (16 - np.pi * (PARTICLE.extent() + 0.3) ** 2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"box": np.array([[4.0, 0, 0], [1.0, 4, 0], [0, 0, 2]])}, "not rectangular"),
        ({"box": np.diag([2.0, 2.0, 2.0])}, "take more lipids or a smaller radius"),
        ({"topology": MEMBRANE_TOP.replace("1 2 no", "1 3 no") % 1}, "Lorentz-Berthelot"),
    ],
)
def test_membranes_that_do_not_fit_are_refused(change: dict[str, object], message: str) -> None:
    start = membrane()
    fields = {name: getattr(start, name) for name in Start.__slots__} | change
    with pytest.raises(InputError, match=message):
        at_membrane(PARTICLE, Start(**fields), gap=0.3, padding=1.0)


@pytest.mark.skipif(not shutil.which("gmx"), reason="needs gmx")
def test_gromacs_takes_the_topology_without_a_warning(tmp_path: Path) -> None:
    for name, start in {"water": in_water(PARTICLE, padding=0.8),
                        "membrane": at_membrane(PARTICLE, membrane(), gap=0.3, padding=1.0)}.items():  # fmt: skip
        folder = tmp_path / name
        folder.mkdir()
        write_start(start, folder)
        (folder / "run.mdp").write_text("integrator = md\ncoulombtype = PME\nrcoulomb = 0.9\nrvdw = 0.9\nnsteps = 0\n")
        words = ["gmx", "-quiet", "grompp", "-f", "run.mdp", "-p", "system.top", "-c", "start.gro"]
        done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        assert "WARNING" not in done.stderr
