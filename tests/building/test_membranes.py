"""Bilayers and peptides before they are simulated: counts, whole molecules, no overlaps, equal leaflets, no charge."""

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial import cKDTree

from cgstore.building.forcefields import load_forcefield, start_of
from cgstore.building.insertion import insert
from cgstore.building.membranes import BILAYER_FORCEFIELD, LIPIDS, bilayer
from cgstore.building.peptides import helix
from cgstore.building.start import write_start
from cgstore.documents import load_document
from cgstore.errors import InputError
from cgstore.readers.topologies import read_topology
from cgstore.recipe import MappingFile

openmm = pytest.importorskip("openmm")
unit = pytest.importorskip("openmm.unit")

MAPPINGS = Path(__file__).parents[2] / "ingest" / "mappings"
SHIPPED = Path(__file__).parents[2] / "archive" / "dmpc_303k" / "system.tpr"
KALP = "GKKLALALALALAKKA"


@pytest.fixture(scope="module")
def forcefield():
    return load_forcefield(*BILAYER_FORCEFIELD)


@pytest.fixture(scope="module")
def membrane():
    return bilayer("DMPC", per_leaflet=25, water=25)


def positions(model):
    return np.array(model.positions.value_in_unit(unit.nanometer))


def edges(model):
    return np.array(model.topology.getUnitCellDimensions().value_in_unit(unit.nanometer))


def atoms(model, select):
    """Return positions of atoms and the numbers of their residues."""
    chosen = [atom for atom in model.topology.atoms() if select(atom)]
    return positions(model)[[atom.index for atom in chosen]], np.array([atom.residue.index for atom in chosen])


def counts(model):
    names = [residue.name for residue in model.topology.residues()]
    return {name: names.count(name) for name in dict.fromkeys(names)}


def closest(model, select=lambda atom: atom.element.symbol != "H"):
    """Return the smallest distance of heavier atoms of different molecules, peptides being one."""
    place, residue = atoms(model, select)
    box = edges(model)
    pairs = cKDTree(place % box, boxsize=box).query_pairs(0.3, output_type="ndarray")
    names = {each.index: each.chain.index if each.name not in ("HOH", *LIPIDS) else 10**6 + each.index
             for each in model.topology.residues()}  # fmt: skip
    molecule = np.array([names[index] for index in residue])
    pairs = pairs[molecule[pairs[:, 0]] != molecule[pairs[:, 1]]]
    apart = place[pairs[:, 0]] - place[pairs[:, 1]]
    return np.linalg.norm(apart - box * np.round(apart / box), axis=1).min()


def longest_bond(model):
    place = positions(model)
    pairs = np.array([(a.index, b.index) for a, b in model.topology.bonds()])
    return np.linalg.norm(place[pairs[:, 0]] - place[pairs[:, 1]], axis=1).max()


@pytest.mark.parametrize("lipid", ["POPC", *(pytest.param(name, marks=pytest.mark.slow) for name in LIPIDS[:3])])
def test_a_whole_patch_is_whole_and_has_no_overlaps(lipid):
    model = bilayer(lipid, water=20)
    assert counts(model) == {lipid: 128, "HOH": 2560}
    heads, _ = atoms(model, lambda atom: atom.name == "P")
    assert (heads[:, 2] > edges(model)[2] / 2).sum() == 64
    assert longest_bond(model) < 0.2
    assert closest(model) > 0.2


@pytest.mark.parametrize("lipid", ["DOPC", *(pytest.param(name, marks=pytest.mark.slow) for name in LIPIDS[:4])])
def test_mappings_hold_every_atom_and_share_their_types(lipid, forcefield):
    name = f"{lipid.lower()}_lipid21_{10 if lipid in ('DLPC', 'DMPC') else 12}bead.toml"
    beads = load_document(MAPPINGS / name, MappingFile).bead
    topology = bilayer(lipid, per_leaflet=1).topology
    first = next(topology.residues())
    assert first.name == lipid
    assert {atom.name for atom in first.atoms()} == {atom.name for atom in forcefield._templates[lipid].atoms}
    heavy = {atom.name for atom in first.atoms() if atom.element.symbol != "H"}
    assert sorted(atom for bead in beads for atom in bead.atoms) == sorted(heavy)
    hydrogens = dict.fromkeys(heavy, 0)
    for one, two in first.bonds():
        for bonded, other in ((one, two), (two, one)):
            if other.element.symbol == "H":
                hydrogens[bonded.name] += 1
    shapes = {bead.type: set() for bead in beads}
    for bead in beads:
        shapes[bead.type].add(tuple(sorted(hydrogens[atom] for atom in bead.atoms)))
    assert all(shape.count(1) == 2 for shape in shapes.get("CD", ()))
    assert all(set(shape) == {2} for shape in shapes["CM"])
    assert all(shape.count(3) == 1 and set(shape) == {2, 3} for shape in shapes["CT"])
    assert ("CD" in shapes) == (lipid in ("POPC", "DOPC"))
    assert {"NC3", "PO4", "GL", "CM", "CT"} <= set(shapes) <= {"NC3", "PO4", "GL", "CM", "CT", "CD"}


def test_a_cut_bilayer_has_what_was_asked_for(membrane):
    box = edges(membrane)
    assert counts(membrane) == {"DMPC": 50, "HOH": 1250}
    heads, _ = atoms(membrane, lambda atom: atom.name == "P")
    above = heads[:, 2] > box[2] / 2
    assert above.sum() == 25
    assert heads[above, 2].mean() + heads[~above, 2].mean() == pytest.approx(box[2], abs=0.3)  # nm
    assert 0.6 < box[0] * box[1] / 25 < 0.75  # nm², to be closed by the pressure
    assert longest_bond(membrane) < 0.2
    assert closest(membrane) > 0.03
    water, _ = atoms(membrane, lambda atom: atom.residue.name == "HOH" and atom.element.symbol == "O")
    assert np.abs(water[:, 2] - box[2] / 2).min() > 0.5  # none in the core
    assert water[:, 2].min() > 0
    assert water[:, 2].max() < box[2]


def test_charges_and_masses_are_those_of_the_shipped_trajectory(membrane, forcefield, tmp_path):
    write_start(start_of(membrane, forcefield, hydrogen_mass=3.0), tmp_path)
    found, expected = (read_topology(path) for path in (tmp_path / "system.top", SHIPPED))
    ours = {found.name[k]: k for k in np.flatnonzero(found.molecule == 0)}
    theirs = np.flatnonzero(expected.molecule == 0)
    assert len(theirs) == len(ours) == 118
    for k in theirs:
        name = expected.name[k]
        here = ours[name[1:] + name[0] if name[0].isdigit() else name]
        assert found.charge[here] == pytest.approx(expected.charge[k], abs=1e-6)
        assert found.mass[here] == pytest.approx(expected.mass[k], abs=1e-2)


def test_what_the_patch_does_not_have_is_refused():
    with pytest.raises(InputError, match='did you mean "DMPC"'):
        bilayer("DMPCC")
    with pytest.raises(InputError, match="1 to 64"):
        bilayer("DMPC", per_leaflet=65)
    with pytest.raises(InputError, match="3840"):
        bilayer("DMPC", water=31)


def test_a_helix_is_right_handed_and_of_l_amino_acids(forcefield):
    model = helix(KALP, forcefield)
    assert [residue.name for residue in model.topology.residues()][::17] == ["ACE", "NME"]
    place = positions(model)
    index = {(atom.residue.index, atom.name): atom.index for atom in model.topology.atoms()}
    alpha = place[[index[k, "CA"] for k in range(1, 17)]]
    assert (alpha[0, 2] - alpha[-1, 2]) / 15 == pytest.approx(0.15, abs=0.01)  # nm per residue
    steps = np.diff(alpha, axis=0)
    assert (np.linalg.det(np.stack([steps[:-2], steps[1:-1], steps[2:]], axis=1)) > 0).all()
    for k in range(2, 17):
        n, c, beta = (place[index[k, name]] - place[index[k, "CA"]] for name in ("N", "C", "CB"))
        assert np.linalg.det([n, c, beta]) > 0
    charged = [place[index[k, "NZ"], 0] for k in (2, 3, 14, 15)]
    assert np.mean(charged) > 0.2
    assert longest_bond(model) < 0.2


@pytest.mark.parametrize("sequence", ["", "GKB"])
def test_letters_that_are_no_amino_acids_are_refused(sequence, forcefield):
    with pytest.raises(InputError, match="ACDEFGHIKLMNPQRSTVWY"):
        helix(sequence, forcefield)


@pytest.mark.parametrize(("flat", "height"), [(False, 0.0), (True, 1.8)])
def test_a_peptide_in_a_bilayer(flat, height, membrane, forcefield, tmp_path):
    model = insert(helix(KALP[:13], forcefield), membrane, forcefield, height=height, flat=flat)
    found, box = counts(model), edges(model)
    assert found["CL"] == 2  # of two lysines
    lipids, _ = atoms(model, lambda atom: atom.name == "P")
    above = (lipids[:, 2] > box[2] / 2).sum()
    assert 0 < 25 - above <= 4
    assert len(lipids) == 2 * above
    assert closest(model) > 0.03  # at the seam of the bilayer
    place = positions(model)[: sum(1 for atom in model.topology.atoms() if atom.residue.chain.index == 0)]
    rest = positions(model)[len(place) :]
    assert cKDTree(rest % box, boxsize=box).query(place % box)[0].min() > 0.05
    alpha, _ = atoms(model, lambda atom: atom.name == "CA")
    np.testing.assert_allclose(alpha[:, 2].mean(), box[2] / 2 + height, atol=0.05)
    axis = np.abs(alpha[0] - alpha[-1])
    assert axis.argmax() == (0 if flat else 2)
    if flat:
        nitrogen, _ = atoms(model, lambda atom: atom.name == "NZ")
        assert nitrogen[:, 2].mean() > alpha[:, 2].mean()
    start = start_of(model, forcefield, names={"ACE": "KALP"})
    write_start(start, tmp_path)
    topology = read_topology(tmp_path / "system.top")
    assert topology.charge.sum() == pytest.approx(0, abs=1e-4)
    assert set(topology.molecule_kind) == {"KALP", "DMPC", "HOH", "CL"}
    assert topology.name.tolist() == start.name.tolist()


def test_a_peptide_that_would_meet_its_image_is_refused(forcefield):
    membrane = bilayer("DMPC", per_leaflet=4)
    with pytest.raises(InputError, match="take more lipids"):
        insert(helix(KALP, forcefield), membrane, forcefield, flat=True)
