"""Which element a particle is, and when it is none."""

import numpy as np
import pytest
from MDAnalysis.guesser.tables import masses

from cgstore.neighbours import elements
from cgstore.neighbours.cells import lengths_and_angles
from cgstore.neighbours.elements import elements_of
from cgstore.readers.boxes import box_vectors


@pytest.mark.parametrize(
    ("name", "mass", "element"),
    [
        ("CA", 12.011, "C"),
        ("CA", 40.08, "Ca"),
        ("CL", 35.45, "Cl"),
        ("C118", 12.011, "C"),
        ("C2", 5.963, "C"),  # two of its mass units are with its hydrogens
        ("H13A", 3.024, "H"),
        ("HG1", 1.008, "H"),
        ("HG", 200.59, "Hg"),
        ("1HB", 1.008, "H"),
        ("D1", 2.014, "H"),
        ("NA", 22.99, "Na"),
        ("NA", 14.007, "N"),
        ("SOD", 22.99, "Na"),
        ("OW", 15.999, "O"),
        ("MW", 0.0, ""),
        ("CH3", 15.035, ""),
        ("W", 72.0, ""),
        ("", 12.0, ""),
        ("12", 12.0, ""),
    ],
)
def test_name_and_mass_decide_together(name: str, mass: float, element: str) -> None:
    assert elements_of(np.array([name]), np.array([mass]), "atoms").tolist() == [element]
    assert elements_of(np.array([name]), np.array([mass]), "cg").tolist() == [""]


def test_masses_are_those_of_another_table() -> None:
    for symbol, mass in elements._MASSES.items():
        known = masses.get(symbol.upper(), masses.get(symbol))
        assert known is None or mass == pytest.approx(known, rel=2e-3), symbol


def test_cells_are_the_inverse_of_box_vectors() -> None:
    random = np.random.default_rng(4)
    lengths, angles = random.uniform(2, 9, (50, 3)), random.uniform(62, 118, (50, 3))
    found = lengths_and_angles(box_vectors(lengths, angles).astype(np.float64))
    np.testing.assert_allclose(found[0], lengths, rtol=1e-6)
    np.testing.assert_allclose(found[1], angles, atol=1e-4)
    assert lengths_and_angles(np.diag([2.0, 3, 4]))[1].tolist() == [90.0, 90.0, 90.0]
