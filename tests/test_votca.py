"""Settings, mappings and tables of VOTCA: what they become, what is said of the rest, and what is refused."""

import json
from pathlib import Path

import numpy as np
import pytest

from cgstore.averages.spec import load_spec
from cgstore.cli.app import main
from cgstore.documents import load_document
from cgstore.drafts.votca import import_votca
from cgstore.drafts.votca_mapping import import_mapping
from cgstore.drafts.votca_tables import pair_table, read_table
from cgstore.drafts.votca_xml import read_xml
from cgstore.errors import InputError
from cgstore.recipe import MappingFile
from cgstore.tables import interpolate

DATA = Path(__file__).parent / "data"

MAPPING = """<cg_molecule>
  <name>ppn</name>
  <ident>PPN</ident>
  <topology>
    <cg_beads>
      <cg_bead><name>A1</name><type>A</type><mapping>end</mapping>
        <beads>1:PPN:C1 1:PPN:H4 1:PPN:H5 1:PPN:H6</beads></cg_bead>
      <cg_bead><name>B1</name><type>B</type><mapping>mid</mapping><beads>1:PPN:C2 1:PPN:H7 1:PPN:H8</beads></cg_bead>
      <cg_bead><name>A2</name><type>A</type><mapping>end</mapping>
        <beads>1:PPN:C3 1:PPN:H9 1:PPN:H10 1:PPN:H11</beads></cg_bead>
    </cg_beads>
    <cg_bonded>
      <bond><name>bond</name><beads>A1 B1 B1 A2</beads></bond>
      <angle><name>bend</name><beads>A1 B1 A2</beads></angle>
    </cg_bonded>
  </topology>
  <maps>
    <map><name>end</name><weights>12 1 1 1</weights></map>
    <map><name>mid</name><weights>12 1 1</weights></map>
  </maps>
</cg_molecule>
"""
SETTINGS = """<cg>
  <non-bonded>
    <name>A-A</name><type1>A</type1><type2>A</type2><min>0</min><max>0.9</max><step>0.01</step>
    <inverse>
      <target>A-A.dist.tgt</target>
      <do_potential>1 0</do_potential>
      <post_update>scale smooth pressure</post_update>
      <post_update_options><scale>0.5</scale><smooth><iterations>2</iterations></smooth></post_update_options>
      <p_target>1.0</p_target>
      <post_add>convergence</post_add>
      <gromacs><table>table_A_A.xvg</table></gromacs>
    </inverse>
  </non-bonded>
  <non-bonded>
    <name>BA</name><type1>B</type1><type2>A</type2><min>0</min><max>0.9</max><step>0.01</step>
    <inverse><post_update>scale</post_update><post_update_options><scale>0.5</scale></post_update_options></inverse>
  </non-bonded>
  <bonded><name>bond</name><min>0.1</min><max>0.25</max><step>0.005</step><inverse><target>bond.dist.tgt</target></inverse></bonded>
  <bonded><name>bend</name><min>0</min><max>3.14</max><step>0.05</step></bonded>
  <inverse>
    <kBT>2.49435</kBT>
    <method>imc</method>
    <iterations_max>15</iterations_max>
    <convergence_check><limit>0.01</limit><type>default</type></convergence_check>
    <program>gromacs</program>
    <gromacs><equi_time>10</equi_time></gromacs>
  </inverse>
</cg>
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "settings.xml").write_text(SETTINGS)
    (tmp_path / "ppn.xml").write_text(MAPPING)
    r = np.arange(101) * 0.01
    g = np.where(r > 0.3, 1.0 + 0.5 * np.cos(20.0 * (r - 0.4)), 0.0)
    rows = [f"{x:.3f} {y:.6f} {'i' if y else 'u'}\n" for x, y in zip(r, g, strict=True)]
    (tmp_path / "A-A.dist.tgt").write_text("# r g\n" + "".join(rows))
    u = 4.0 * ((0.3 / np.maximum(r, 0.2)) ** 12 - (0.3 / np.maximum(r, 0.2)) ** 6)
    (tmp_path / "A-A.pot.in").write_text(
        "".join(f"{x:.3f} {y:.8f} {'u' if x < 0.25 else 'i'}\n" for x, y in zip(r, u, strict=True))
    )
    return tmp_path


def test_a_mapping_becomes_a_mapping_file_with_bonds_and_masses(folder: Path) -> None:
    found = import_mapping(folder / "ppn.xml")
    (folder / "ppn.toml").write_text(found.text)
    mapping = load_document(folder / "ppn.toml", MappingFile)
    assert (mapping.molecule, mapping.weight, mapping.hydrogens) == ("PPN", "mass", "listed")
    assert [(b.name, b.type, b.bonded_to) for b in mapping.bead] == [
        ("A1", "A", ("B1",)),
        ("B1", "B", ("A2",)),
        ("A2", "A", ()),
    ]
    assert mapping.bead[0].atoms == ("C1", "H4", "H5", "H6")
    assert found.groups == {"bond": ("bond", ("A-B",)), "bend": ("angle", ("A-B-A",))}
    assert len(found.remarks) == 1  # the name of the molecule of beads
    assert "ppn" in found.remarks[0]


def test_what_a_mapping_cannot_keep_is_said(folder: Path) -> None:
    text = MAPPING.replace("<weights>12 1 1 1</weights>", "<weights>1 0 0 0</weights><d>1 1 1 1</d>")
    text = text.replace("<angle><name>bend</name><beads>A1 B1 A2</beads></angle>", "").replace("1:PPN:C2", "3:PPN:C2")
    (folder / "odd.xml").write_text(text)
    found = import_mapping(folder / "odd.xml")
    said = "\n".join(found.remarks)
    for words in ("left out H4, H5, H6", "d = 1 1 1 1   not understood", "angle A1 B1 A2   follows from the bonds"):
        assert words in said
    assert '"3:C2"' in found.text
    (folder / "odd.xml").write_text(MAPPING.replace("12 1 1<", "3 1 1<"))
    assert "not masses of the elements" in "\n".join(import_mapping(folder / "odd.xml").remarks)
    for wrong, message in (("A1 B1 B1 A9", '"A9", which is not there'), ("A1 B1 B1", "expected 2 for each bond")):
        (folder / "odd.xml").write_text(MAPPING.replace("A1 B1 B1 A2", wrong))
        with pytest.raises(InputError, match=message):
            import_mapping(folder / "odd.xml")
    (folder / "odd.xml").write_text(MAPPING.replace("12 1 1<", "12 1<"))
    with pytest.raises(InputError, match="2 weights, expected 3"):
        import_mapping(folder / "odd.xml")
    (folder / "odd.xml").write_text(MAPPING.replace("1:PPN:H7", "1:PPN:H4"))
    with pytest.raises(InputError, match='atom "H4" used twice'):
        import_mapping(folder / "odd.xml")


def test_the_mapping_of_a_lipid_has_ten_beads(tmp_path: Path) -> None:
    found = import_mapping(DATA / "dmpc_10bead_votca.xml")
    (tmp_path / "dmpc.toml").write_text(found.text)
    mapping = load_document(tmp_path / "dmpc.toml", MappingFile)
    assert (mapping.molecule, len(mapping.bead), mapping.weight) == ("DMPC", 10, "mass")
    assert found.types["GL1"] == "GL"


def test_settings_become_a_spec_arguments_targets_and_a_first_potential(folder: Path) -> None:
    found = import_votca(folder / "settings.xml", mappings=[folder / "ppn.xml"])
    (folder / "spec.toml").write_text(found.spec)
    spec = load_spec(folder / "spec.toml")
    assert spec.rdf.pairs == ("A-A", "A-B")
    assert (spec.rdf.r_max, spec.rdf.bin_width) == (0.9, 0.01)
    assert (spec.bonded.bond_width, spec.bonded.bond_max) == (0.005, 0.25)
    assert 180.0 / spec.bonded.angle_width == pytest.approx(63)
    plain = {name: value for name, value in found.arguments.items() if name != "guess"}
    assert plain == {
        "method": "imc",
        "temperature": 300.0013,
        "iterations": 15,
        "step": 0.5,
        "cutoff": 0.9,
        "pressure": 1.0,
    }
    energy, _ = interpolate(found.arguments["guess"]["A-A"], [0.3, 0.35])
    assert energy[1] < energy[0]
    reference = found.reference({"A": 101})
    assert reference.sizes == {"pair": 1, "r": 90}
    assert reference["r"].values[[0, -1]].tolist() == pytest.approx([0.005, 0.895])
    expected = 1.01 * (1.0 + 0.5 * np.cos(20.0 * (0.505 - 0.4)))
    assert float(reference["rdf"].sel(pair="A-A", r=0.505, method="nearest")) == pytest.approx(expected, rel=0.01)


def test_nothing_in_the_settings_is_dropped_without_a_word(folder: Path) -> None:
    said = "\n".join(import_votca(folder / "settings.xml", mappings=[folder / "ppn.xml"]).remarks)
    for words in (
        "do_potential = 1 0", "post_update = smooth",
        "the pressure of the whole model", "post_add = convergence", "table_A_A.xvg",
        "equi_time = 10", "program = gromacs", "convergence_check = default 0.01", "BA.dist.tgt   is not beside",
        "bond.dist.tgt   bonded targets", "iterations = 2", "do not divide 180",
    ):  # fmt: skip
        assert words in said
    without = import_votca(folder / "settings.xml")
    assert "cg.bonded bond   is in none of the mapping files" in "\n".join(without.remarks)
    (folder / "settings.xml").write_text(SETTINGS.replace("<p_target>1.0</p_target>", ""))
    lacking = import_votca(folder / "settings.xml")
    assert "pressure" not in lacking.arguments
    assert "p_target is {'A-A': None}" in "\n".join(lacking.remarks)
    text = SETTINGS.replace("<method>imc</method>", "<method>iie</method>").replace(">15<", ">0<")
    (folder / "settings.xml").write_text(text)
    found = import_votca(folder / "settings.xml")
    assert (found.arguments["method"], found.arguments["iterations"]) == ("ibi", 20)
    assert 'method = iie   not known here; written "ibi"' in "\n".join(found.remarks)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("<kBT>2.49435</kBT>", "", "inverse.kBT   missing"),
        ("<kBT>2.49435</kBT>", "<kBT>warm</kBT>", "inverse.kBT   found 'warm', expected a number"),
        ("<max>0.9</max>", "<max>0</max>", "A-A: found min 0, max 0"),
        ("<cg>", "<xml>", "not XML"),
    ],
)
def test_settings_that_are_wrong_are_refused(folder: Path, old: str, new: str, message: str) -> None:
    (folder / "settings.xml").write_text(SETTINGS.replace(old, new, 1))
    with pytest.raises(InputError, match=message):
        import_votca(folder / "settings.xml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('<!DOCTYPE cg [<!ENTITY a "b">]><cg>&a;</cg>', "document type or entity"),
        ('<!DOCTYPE cg SYSTEM "file:///etc/passwd"><cg/>', "document type or entity"),
        ("<a>" * 40 + "</a>" * 40, "too many"),
        ("<cg>" + "<a/>" * 100_001 + "</cg>", "too many"),
        ("<topology/>", "expected <cg>"),
        ("", "not XML"),
        ("<cg>&undefined;</cg>", "not XML"),
    ],
)
def test_xml_that_could_do_harm_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "x.xml").write_text(text)
    with pytest.raises(InputError, match=message):
        read_xml(tmp_path / "x.xml", "cg")
    with pytest.raises(InputError, match="cannot be read"):
        read_xml(tmp_path / "nothing.xml", "cg")


def test_targets_and_potentials_elsewhere_are_not_read(folder: Path) -> None:
    (folder / "inner").mkdir()
    (folder / "inner" / "settings.xml").write_text(SETTINGS.replace(">A-A.dist.tgt<", ">../A-A.dist.tgt<"))
    found = import_votca(folder / "inner" / "settings.xml")
    assert not found.targets
    with pytest.raises(InputError, match="no targets"):
        found.reference()


def test_tables_say_which_line_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "A-A.pot"
    for text, message in (
        ("0.1 1.0 i\n0.1 2.0 i\n", "line 2 is at x = 0.1"),
        ("0.1 1.0 i\nzero\n", "line 2 is 'zero'"),
        ("0.1 1.0 i\n", "found 1 rows"),
    ):
        path.write_text(text)
        with pytest.raises(InputError, match=message):
            read_table(path)
    path.write_text("0.1 5 i\n0.2 3 i\n0.3 nan u\n0.4 1 i\n0.5 0 i\n")
    with pytest.raises(InputError, match="with gaps"):
        pair_table(path, 0.5)


def test_the_command_writes_files_and_says_what_to_check(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = folder / "out"
    command = ["recipe", "votca", str(folder / "settings.xml"), "--mapping", str(folder / "ppn.xml"), "-o", str(target)]
    assert main(command) == 0
    assert "check: " in capsys.readouterr().err
    assert json.loads((target / "arguments.json").read_text())["method"] == "imc"
    load_spec(target / "spec.toml")
    load_document(target / "mappings" / "ppn_votca.toml", MappingFile)
    assert "do_potential" in (target / "remarks.txt").read_text()
    assert main(command) == 2  # nothing is overwritten
    assert "it exists" in capsys.readouterr().err


def test_names_of_molecules_lead_to_no_other_folder(folder: Path) -> None:
    (folder / "ppn.xml").write_text(MAPPING.replace("<ident>PPN</ident>", "<ident>../../PPN</ident>"))
    target = folder / "inner" / "out"
    assert (
        main(["recipe", "votca", str(folder / "settings.xml"), "--mapping", str(folder / "ppn.xml"), "-o", str(target)])
        == 0
    )
    assert [path.name for path in (target / "mappings").iterdir()] == ["______ppn_votca.toml"]
