"""Samples of molecules held against a reference: bonds, angles and dihedrals beside the rdf."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cgstore.averages.spec import Spec
from cgstore.errors import PhysicsError
from cgstore.learn.comparison import blocks_of, curves_of, of_replicas, rows_of
from cgstore.learn.sampler import sample

sys.path.insert(0, str(Path(__file__).parent))
import molecules as made

SPEC = Spec.model_validate(
    {
        "rdf": {"r_max": "0.9 nm", "bin_width": "0.03 nm", "exclude_bonded": 2},
        "bonded": {"bond_width": "0.01 nm", "angle_width": "6 degree", "dihedral_width": "12 degree"},
    }
)


@pytest.fixture(scope="module")
def compared():
    """The model with itself, and with one whose dihedral is half as stiff."""
    tables = made.model()
    start = made.chains(["ABBA"] * 24, 2.4 * np.eye(3), seed=5, replicas=6)
    options = {"temperature": 300.0, "equilibrate": 2.0, "every": 0.25, "threads": 1}
    reference = sample(tables, start.isel(frame=[0]), duration=60.0, seed=1, **options)
    soft = replace(tables, dihedrals=tables.dihedrals | {"A-B-B-A": made.dihedral(0.5)})
    models = {"same": tables, "soft": soft}
    samples = {k: sample(m, start, duration=10.0, seed=2, **options) for k, m in models.items()}
    blocks = blocks_of(reference, SPEC)
    found = {name: of_replicas(one, SPEC, blocks) for name, one in samples.items()}
    curves = curves_of("chains", blocks, found)
    return curves, rows_of("chains", 300.0, blocks, found, curves), (blocks, found, curves)


def test_every_distribution_has_a_row_of_each_kind_and_model(compared) -> None:
    curves, rows, _ = compared
    assert {(row.distribution, row.pair) for row in rows} == {
        ("rdf", "A-A"), ("rdf", "A-B"), ("rdf", "B-B"), ("bond", "A-B"), ("bond", "B-B"), ("angle", "A-B-B"),
        ("dihedral", "A-B-B-A"),
    }  # fmt: skip
    assert len(rows) == 14
    assert curves["rdf"].dims == ("curve", "pair", "r")
    assert curves["angle"].dims == ("curve", "angle_kind", "theta")
    assert curves["curve"].values.tolist() == ["reference", "same", "soft"]


def test_a_kind_whose_reference_has_no_error_has_numbers_without_and_a_reference_without_any_is_refused(
    compared,
) -> None:
    _, rows, (blocks, found, curves) = compared
    slow = blocks["angle"].assign(sum=blocks["angle"]["sum"].isel(block=[0] * blocks["angle"].sizes["block"]))
    drift = slow["sum"] * (1.0 + np.linspace(0.0, 1.0, slow.sizes["block"])[:, None, None])  # slower than the run
    slow = slow.assign(sum=drift.transpose(*blocks["angle"]["sum"].dims))
    mixed = rows_of("chains", 300.0, {**blocks, "angle": slow}, found, curves)
    angles = [row for row in mixed if row.distribution == "angle"]
    assert all(np.isnan([row.rmsd_error, row.noise_floor, row.chi2]).all() for row in angles)
    assert all(np.isfinite([row.rmsd, row.total_variation, row.peak]).all() for row in angles)
    assert [row for row in mixed if row.distribution != "angle"] == [row for row in rows if row.distribution != "angle"]
    with pytest.raises(PhysicsError, match="A-B-B has too few independent frames for an error"):
        rows_of("chains", 300.0, {"angle": slow}, found, curves)


def test_the_same_model_differs_by_noise_and_the_soft_one_in_its_dihedral(compared) -> None:
    _, rows, _ = compared
    for row in rows:
        if row.model == "same":
            assert row.total_variation < 2.0 * row.total_variation_noise + 3.0 * row.total_variation_error
            assert row.chi2 < 3.0
        numbers = [v for v in (row.rmsd_error, row.deviation_error, row.total_variation_error, row.divergence_error)]
        assert np.isfinite(numbers).all()
        assert row.reference_noise <= row.noise_floor
    dihedral = {row.model: row for row in rows if row.distribution == "dihedral"}
    assert dihedral["soft"].total_variation > 3.0 * dihedral["same"].total_variation
    assert dihedral["soft"].divergence > 5.0 * dihedral["soft"].divergence_noise
    # Of densities that integrate to one the total deviation is twice the total variation.
    assert dihedral["soft"].deviation == pytest.approx(2.0 * dihedral["soft"].total_variation, rel=1e-6)
