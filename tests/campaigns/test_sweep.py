"""Sweeps hold quantities, numbers and words; what a kind lets a file leave out is filled in."""

from types import SimpleNamespace

import pytest

from cgstore.campaigns.sweep import SweepTable, read_sweep
from cgstore.documents import Document, TextFile, load_document, parse_document
from cgstore.errors import InputError

KIND = SimpleNamespace(
    PARAMETERS={"lipid": "word", "share": "number", "temperature": "temperature"},
    DEFAULTS={"share": 1.0, "temperature": 300.0},
)


def read(**table):
    problems: list[str] = []
    return read_sweep(SweepTable(**table), KIND, problems), problems


def test_numbers_words_and_quantities_stand_side_by_side():
    points = ({"lipid": "DMPC", "share": "30 %"}, {"lipid": "POPC", "share": 0, "temperature": "310 K"})
    sweep, problems = read(method="list", points=points)
    assert not problems
    assert sweep.points == (
        {"lipid": "DMPC", "share": 0.3, "temperature": 300.0},
        {"lipid": "POPC", "share": 0.0, "temperature": 310.0},
    )


def test_a_grid_has_the_defaults_once():
    sweep, problems = read(method="grid", parameters={"lipid": ["DMPC", "DLPC"]})
    assert not problems
    assert sweep.values == {"share": (1.0,), "temperature": (300.0,), "lipid": ("DMPC", "DLPC")}


def test_a_sample_may_have_one_value_for_all():
    parameters = {"lipid": ["DMPC"], "share": [0.5, 2], "temperature": ["300 K"]}
    sweep, problems = read(method="sample", parameters=parameters)
    assert not problems
    assert sweep.values == {"lipid": ("DMPC",), "share": (0.5, 2.0), "temperature": (300.0,)}


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"lipid": ["DMPC", "POPC"]}, "the lower and the upper end of its range"),
        ({"lipid": ["../DMPC"]}, "expected a word"),
        ({"lipid": [3]}, "expected a word"),
        ({"lipid": ["DMPC"], "share": ["many"]}, "expected a number"),
        ({"lipid": ["DMPC"], "share": ["1e400"]}, "expected a number"),
        ({"lipid": ["DMPC"], "share": [2, 1]}, "the lower and the upper end"),
        ({"lipid": ["DMPC"], "temperature": [300]}, "expected a temperature with its unit"),
        ({"share": [1]}, "sweep.parameters.lipid   missing"),
        ({"lipd": ["DMPC"], "lipid": ["DMPC"]}, 'did you mean "lipid"'),
    ],
)
def test_a_wrong_value_is_a_problem_with_its_place(parameters, message):
    _, problems = read(method="sample", parameters=parameters)
    assert len(problems) == 1
    assert message in problems[0]


def test_a_power_of_what_may_be_zero_is_refused():
    _, problems = read(method="sample", parameters={"lipid": ["DMPC"], "share": [0, 2]}, powers={"share": -1})
    assert "the lower and the upper end" in problems[0]


class Inputs(Document):
    model: TextFile


def test_a_file_that_is_named_is_read_beside_the_document(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/a.itp").write_text("[ moleculetype ]\n")
    (tmp_path / "c.toml").write_text('model = "sub/a.itp"')
    assert load_document(tmp_path / "c.toml", Inputs).model == "[ moleculetype ]\n"


@pytest.mark.parametrize(
    ("name", "message"),
    [('"nothing.itp"', "cannot be read"), ("3", "expected the name of a file"), ('"x"', "not text")],
)
def test_a_file_that_cannot_be_read_is_a_problem_of_the_document(tmp_path, name, message):
    (tmp_path / "x").write_bytes(b"\xff\xfe")
    (tmp_path / "c.toml").write_text(f"model = {name}")
    with pytest.raises(InputError, match=message):
        load_document(tmp_path / "c.toml", Inputs)
    with pytest.raises(InputError, match="expected the name of a file beside this one"):
        parse_document({"model": "x"}, Inputs, where="here")
