"""Scaled force fields: every number that a factor is for is multiplied, and nothing else changes."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cgstore.building.scaling import FACTORS, scaled
from cgstore.errors import InputError

MOLECULE = Path("ingest/campaigns/molecules/trimethylpentane.itp").read_text()
# Where each factor acts: section → the places of the words in a line.
ACTS = {
    "bond_length": ("bonds", [3]),
    "bond_stiffness": ("bonds", [4]),
    "angle": ("angles", [4]),
    "angle_stiffness": ("angles", [5]),
    "torsion": ("dihedrals", [5, 6, 7, 8, 9, 10]),
    "sigma": ("atomtypes", [5]),
    "epsilon": ("atomtypes", [6]),
}


def words_of(text: str) -> list[tuple[str, list[str]]]:
    """Return the words of every line that is no comment, with its section."""
    rows, section = [], ""
    for line in text.splitlines():
        content = line.split(";")[0].strip()
        section = content.strip("[] ") if content.startswith("[") else section
        rows.append((section, content.split()))
    return rows


@settings(max_examples=60, deadline=None)
@given(st.fixed_dictionaries({}, optional={name: st.floats(0.2, 1.5) for name in FACTORS}))
def test_every_number_that_a_factor_is_for_is_multiplied_and_nothing_else_changes(factors: dict[str, float]) -> None:
    after = scaled(MOLECULE, factors)
    comments = [line.partition(";")[2] for line in MOLECULE.splitlines()]
    assert [line.partition(";")[2] for line in after.splitlines()] == comments
    counted = dict.fromkeys(ACTS, 0)
    for (section, old), (_, new) in zip(words_of(MOLECULE), words_of(after), strict=True):
        assert len(old) == len(new)
        for place, (a, b) in enumerate(zip(old, new, strict=True)):
            name = next((n for n, (where, places) in ACTS.items() if where == section and place in places), "")
            if name and not old[0].startswith("["):
                counted[name] += 1
                assert float(b) == pytest.approx(float(a) * factors.get(name, 1.0), rel=1e-8)
            else:
                assert a == b
    # 7 bonds, 9 angles, 8 torsions of 6 coefficients, 2 atom types
    assert counted == dict(zip(ACTS, (7, 7, 9, 9, 48, 2, 2), strict=True))


def test_without_a_factor_that_is_not_one_the_text_is_the_same() -> None:
    assert scaled(MOLECULE, dict.fromkeys(FACTORS, 1.0)) == MOLECULE


def test_impropers_and_pairs_without_parameters_stay() -> None:
    impropers = "[ dihedrals ]\n1 2 3 4 2 35.26 334.8\n1 2 3 4 9 180.0 10.0 2 ; amide\n"
    text = f"[ pairs ]\n1 4 1\n{impropers}[ constraints ]\n1 2 1 0.1"
    after = scaled(text, {"torsion": 0.5, "bond_length": 2.0})
    assert after == text.replace("180.0 10.0 2", "180.0 5 2").replace("1 0.1", "1 0.2")


@pytest.mark.parametrize(
    ("text", "factors", "message"),
    [
        ("[ bonds ]\n1 2 3 0.1 400 20", {"bond_length": 1.1}, "function '3'"),
        ("[ angles ]\n1 2 3 5 112 500 0.2 100", {"angle": 1.1}, "function '5'"),
        ("[ bonds ]\n1 2 1", {"bond_length": 1.1}, "2 parameters"),
        ("[ bonds ]\n1 2 1 0.1 400 0.2 300", {"bond_length": 1.1}, "2 parameters"),
        ("[ bonds ]\n1 2 1 gb_2", {"bond_length": 1.1}, "2 parameters"),
        ("[ bonds ]\n1 2 1 b k", {"bond_length": 1.1}, "expected a number"),
        ("[ settles ]\n1 1 0.1 0.16", {"bond_length": 1.1}, "no factor"),
        ("[ pairs ]\n1 4 1 0.3 0.5", {"epsilon": 1.1}, "no factor"),
        ("[ defaults ]\n1 1 no\n[ atomtypes ]\nC 6 12 0 A 0.01 0.0001", {"sigma": 1.1}, "combination rule 1"),
        ("#include <x.itp>", {"sigma": 1.1}, "write what it includes"),
        ("[ angles ]\n1 2 3 1 112 500", {"angle": 1.7}, "190.4 degrees"),
        ("", {"angel": 1.1}, 'did you mean "angle"'),
        ("", {"angle": 0.0}, "positive"),
        ("", {"torsion": -1.0}, "positive"),
        ("", {"torsion": float("nan")}, "positive"),
    ],
)
def test_what_would_stay_behind_or_makes_no_sense_is_refused(
    text: str, factors: dict[str, float], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        scaled(text, factors)
