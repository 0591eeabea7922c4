"""Force matching: known potentials found back, errors that cover, blocks that merge, and VOTCA's answer."""

import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from cgstore.errors import InputError, NotFound, PhysicsError
from cgstore.inverse.force_basis import Curve, ForceBasis, force_basis
from cgstore.inverse.force_equations import design_of, force_equations, join_equations
from cgstore.inverse.force_matching import force_deviation, match_forces
from cgstore.learn.molecular import Molecular
from cgstore.schema import topology_of
from cgstore.tables import BondedTable, Table, interpolate

sys.path.insert(0, str(Path(__file__).parents[1] / "learn"))
import molecules as made

DATA = Path(__file__).parents[1] / "data" / "force_matching"
sys.path.insert(0, str(DATA))
import frames as fluid  # noqa: E402

SHEARED = np.array([[3.0, 0.0, 0.0], [0.7, 3.0, 0.0], [-0.5, 0.6, 3.0]])
TERMS = ("pair", "bond", "angle", "dihedral")


def wiggly(basis: ForceBasis, seed: int = 0) -> tuple[np.ndarray, Molecular]:
    """Return coefficients of splines that obey the rules of the basis, and the model with exactly these curves."""
    rng, coefficient = np.random.default_rng(seed), np.zeros(basis.columns)
    tables: dict = {term: {} for term in TERMS}
    for number, curve in enumerate(basis.curves):
        rules, first = curve.rules(), basis.first(number)
        mine = rules @ np.cumsum(rng.normal(size=rules.shape[1]))
        coefficient[first : first + curve.columns] = mine
        x = np.linspace(curve.low, curve.high, 40 * curve.intervals + 1)
        energy, force = curve.values(x) @ mine, -curve.values(x, slope=True) @ mine
        if curve.term == "pair":
            energy[-1] = force[-1] = 0.0  # they are, up to rounding
            tables["pair"][curve.kind] = Table(x, energy, force)
        else:
            tables[curve.term][curve.kind] = BondedTable(curve.term, x, energy, force)
    parts = [tables[term] for term in TERMS]
    return coefficient, Molecular(*parts, exclude_bonded=basis.exclude_bonded, fade=basis.fade)


def molecules(
    frames: int, noise: float = 0.0, kinds: tuple[str, ...] = ("ABBA",) * 12
) -> tuple[xr.Dataset, ForceBasis]:
    """Return chains at random places, with the forces of wiggly splines and noise, and the basis."""
    ds = made.chains(list(kinds), SHEARED, seed=1, replicas=frames)
    rng = np.random.default_rng(2)
    position = ds["position"].values + rng.normal(0.0, 0.02, ds["position"].shape)
    basis = force_basis(
        ds, cutoff=0.9, spacing=0.1, exclude_bonded=2, bond_spacing=0.1, angle_spacing=30.0, dihedral_spacing=30.0
    )
    design, (coefficient, _) = design_of(ds, basis), wiggly(basis)
    boxes = ds["box"].values.astype(float)
    force = [(design(x, box)[0] @ coefficient).reshape(-1, 3) for x, box in zip(position, boxes, strict=True)]
    shown = np.array(force) + rng.normal(0.0, noise, position.shape) if noise else np.array(force)
    return ds.assign(position=ds["position"].copy(data=position), force=ds["position"].copy(data=shown)), basis


@pytest.mark.parametrize("fade", [0.0, 12.0, 45.0])
def test_the_design_gives_the_forces_of_the_tables_of_all_terms_in_a_sheared_box(fade: float) -> None:
    ds = made.chains(["ABBA", "ABBBBA", "CDDC", "A"], SHEARED, seed=1)
    basis = force_basis(ds, cutoff=0.9, spacing=0.05, exclude_bonded=2, fade=fade)
    coefficient, model = wiggly(basis)
    position, box = ds["position"].values[0].astype(float), ds["box"].values[0].astype(float)
    expected = model.interaction(topology_of(ds)).measure(position, box).force
    found = (design_of(ds, basis)(position, box)[0] @ coefficient).reshape(-1, 3)
    np.testing.assert_allclose(found, expected, atol=1e-6 * abs(expected).max())


def test_exact_forces_give_the_exact_curves_where_they_were_sampled() -> None:
    ds, basis = molecules(40)
    found = match_forces(force_equations(ds, basis), temperature=300.0, smoothing=0.0)
    coefficient, _ = wiggly(basis)
    for number, curve in enumerate(basis.curves):
        row = found.curves[curve.term].sel({f"{curve.term}_kind": curve.kind})
        x, mine = row[row["potential"].dims[0]].values, slice(basis.first(number), basis.first(number) + curve.columns)
        known = ~row["extrapolated"].values
        expected = -curve.values(x, slope=True) @ coefficient[mine]
        assert known.sum() > 8
        np.testing.assert_allclose(row["force"].values[known], expected[known], atol=1e-5 * abs(expected).max())
    assert float(found.deviation["deviation"]) < 1e-3 * float(found.deviation["force"])
    assert set(found.bonds) == {"A-B", "B-B"}
    assert found.angles["A-B-B"].energy.min() == pytest.approx(0.0, abs=0.1)
    # What was sampled is what the tables hold; below it is a wall.
    pair, rows = found.pairs["A-B"], found.curves["pair"].sel(pair_kind="A-B")
    np.testing.assert_allclose(interpolate(pair, rows["r"].values[:-1])[0], rows["potential"].values[:-1], atol=1e-4)


def test_errors_cover_and_are_those_of_leaving_out_blocks() -> None:
    ds, basis = molecules(96, noise=30.0)
    equations = force_equations(ds, basis, length=4).compute()
    found = match_forces(equations, temperature=300.0, smoothing=0.0)
    coefficient, _ = wiggly(basis)
    scores = []
    for number, curve in enumerate(basis.curves):
        row = found.curves[curve.term].sel({f"{curve.term}_kind": curve.kind})
        x, mine = row[row["potential"].dims[0]].values, slice(basis.first(number), basis.first(number) + curve.columns)
        known = np.isfinite(row["force_error"].values) & (row["force_error"].values > 0.0)
        expected = -curve.values(x, slope=True) @ coefficient[mine]
        scores.append((row["force"].values - expected)[known] / row["force_error"].values[known])
    square = np.concatenate(scores) ** 2
    assert len(square) > 150
    assert 0.5 < square.mean() < 2.0
    assert (square < 1.0).mean() == pytest.approx(0.683, abs=0.15)
    assert float(found.deviation["deviation"]) == pytest.approx(30.0, rel=0.02)
    assert float(found.deviation["predicted"]) == pytest.approx(30.0, rel=0.03)
    # The first order in blocks is the jackknife that leaves them out.
    kind = {"pair_kind": "B-B"}
    without = [
        match_forces(equations.isel(block=np.arange(24) != b), temperature=300.0, smoothing=0.0)
        .curves["pair"]
        .sel(kind)
        for b in range(0, 24, 1)
    ]
    forces = np.array([row["force"].values for row in without])
    known = found.curves["pair"].sel(kind)["force_error"].values > 0.0
    known &= np.isfinite([row["force_error"].values for row in without]).all(axis=0)
    jackknife = np.sqrt(23 / 24 * ((forces - forces.mean(axis=0)) ** 2).sum(axis=0))[known]
    error = found.curves["pair"].sel(kind)["force_error"].values[known]
    assert (error / jackknife).mean() == pytest.approx(1.0, abs=0.25)


def test_blocks_of_parts_merge_and_lazy_data_give_the_same() -> None:
    ds, basis = molecules(16)
    whole = force_equations(ds, basis, length=8).compute()
    lazy = force_equations(ds.chunk(frame=3), basis, length=8)
    assert lazy["matrix"].chunks is not None
    halves = join_equations(
        *(force_equations(ds.isel(frame=part), basis, length=8) for part in (slice(8), slice(8, 16)))
    )
    for other in (lazy.compute(), halves.compute()):
        for name in ("matrix", "vector", "square", "number", "count"):
            np.testing.assert_allclose(other[name], whole[name], rtol=1e-12, atol=1e-9 * float(abs(whole[name]).max()))
    heavy = force_equations(ds.assign(weight=("frame", np.full(16, 2.0))), basis, length=8).compute()
    np.testing.assert_allclose(heavy["matrix"], 2.0 * whole["matrix"])
    with pytest.raises(InputError, match="different bases"):
        join_equations(whole, force_equations(ds, force_basis(ds, cutoff=0.8, exclude_bonded=2)))


def test_other_frames_are_predicted_as_well_as_noise_allows() -> None:
    ds, basis = molecules(64, noise=20.0)
    half = [force_equations(ds.isel(frame=part), basis, length=4) for part in (slice(32), slice(32, 64))]
    found = match_forces(half[0], temperature=300.0)
    other = force_deviation(found, half[1])
    assert float(other["deviation"]) == pytest.approx(20.0, rel=0.05)
    assert 0.0 < float(other["deviation_error"]) < 2.0
    assert 0.0 < float(other["explained"]) < 1.0
    with pytest.raises(InputError, match="another basis"):
        force_deviation(found, force_equations(ds, force_basis(ds, cutoff=0.8, exclude_bonded=2)))


def test_smoothing_is_chosen_by_frames_left_out() -> None:
    ds, coarse = molecules(16, noise=100.0)
    basis = force_basis(ds, cutoff=0.9, spacing=0.015, exclude_bonded=2, bond_spacing=0.05)
    equations = force_equations(ds, basis, length=1).compute()
    rough, best = (match_forces(equations, temperature=300.0, smoothing=s, fewest=4) for s in (0.0, "predicted"))
    assert best.smoothing > 0.0
    assert float(best.deviation["predicted"]) < float(rough.deviation["predicted"])
    coefficient, _ = wiggly(coarse)
    number = coarse.numbers("pair")["A-B"]
    curve, first = coarse.curves[number], coarse.first(number)
    r = rough.curves["pair"]["r"].values
    known = (r > 0.2) & (r < 0.85)
    truth = -curve.values(r, slope=True) @ coefficient[first : first + curve.columns]
    forces = (found.curves["pair"]["force"].sel(pair_kind="A-B").values for found in (rough, best))
    off = [abs(force - truth)[known].mean() for force in forces]
    assert off[1] < 0.95 * off[0]


def test_a_lennard_jones_fluid_is_found_back_within_its_errors() -> None:
    ds = fluid.frames(32, noise=100.0)
    basis = force_basis(ds, cutoff=fluid.CUTOFF, spacing=fluid.CUTOFF / 40)
    found = match_forces(force_equations(ds, basis, length=1), temperature=120.0)
    row = found.curves["pair"].sel(pair_kind="Ar-Ar")
    r = row["r"].values
    sampled = np.isfinite(row["force_error"].values) & (r > 0.28) & (r < fluid.CUTOFF - 0.02)
    score = (row["force"].values - fluid.force(r))[sampled] / row["force_error"].values[sampled]
    assert sampled.sum() > 80
    assert (score**2).mean() < 2.0
    assert (abs(score) < 1.0).mean() > 0.55
    # The wall goes on where no pair was.
    table = found.pairs["Ar-Ar"]
    assert (np.diff(table.energy[table.r < 0.28]) < 0.0).all()
    assert table.energy[0] > 10.0


def test_what_is_left_of_the_matched_frames_is_what_was_said() -> None:
    ds = fluid.frames(6, noise=0.0)
    equations = force_equations(ds, force_basis(ds, cutoff=fluid.CUTOFF, spacing=fluid.CUTOFF / 40)).compute()
    found = match_forces(equations, temperature=120.0, fewest=1)
    assert float(found.deviation["deviation"]) < 0.05 * float(found.deviation["force"])
    same = force_deviation(found, equations)
    assert float(same["deviation"]) == pytest.approx(float(found.deviation["deviation"]), rel=1e-4)


def test_votca_has_the_same_forces_from_the_same_frames() -> None:
    reference = np.loadtxt(DATA / "Ar-Ar.force", usecols=(0, 1))
    ds = fluid.frames(32, noise=100.0)
    basis = force_basis(ds, cutoff=fluid.CUTOFF, spacing=fluid.CUTOFF / 40)
    row = match_forces(force_equations(ds, basis, length=1), temperature=120.0).curves["pair"].sel(pair_kind="Ar-Ar")
    inside = (reference[:, 0] > 0.3) & (reference[:, 0] < fluid.CUTOFF - 0.05)
    r, force = reference[inside].T
    ours, error = (np.interp(r, row["r"].values, row[name].values) for name in ("force", "force_error"))
    assert len(r) > 30
    # Both saw the same noise, so they differ less than either does from the truth.
    assert (((ours - force) / error) ** 2).mean() < 1.0
    assert np.corrcoef(ours, force)[0, 1] > 0.999


def test_what_cannot_be_matched_is_said() -> None:
    ds, basis = molecules(4)
    with pytest.raises(InputError, match="found no force"):
        force_equations(ds.drop_vars("force"), basis)
    with pytest.raises(NotFound, match="no pair A-Z"):
        force_basis(ds, cutoff=0.9, spacing=0.1, pairs=["A-Z"])
    with pytest.raises(InputError, match="expected a spacing"):
        force_basis(ds, cutoff=0.9, spacing=0.07)
    with pytest.raises(PhysicsError, match="beyond half the smallest box height"):
        force_equations(ds, force_basis(ds, cutoff=2.0, spacing=0.1)).compute()
    with pytest.raises(PhysicsError, match="use a larger bond_max"):
        force_equations(ds, force_basis(ds, cutoff=None, bond_max=0.28, bond_spacing=0.02)).compute()
    other = made.chains(["CDDC"], SHEARED, seed=1)
    with pytest.raises(InputError, match="no curve of the bond C-D"):
        force_equations(other.assign(force=other["position"]), basis)
    wrong = ds.assign(force=ds["force"].copy(data=np.where(np.arange(4)[:, None, None] == 2, np.nan, ds["force"])))
    with pytest.raises(PhysicsError, match="frame 2 is not finite"):
        force_equations(wrong, basis).compute()
    equations = force_equations(ds, basis).compute()
    with pytest.raises(PhysicsError, match="no temperature is known"):
        match_forces(equations)
    with pytest.raises(InputError, match="smoothing"):
        match_forces(equations, temperature=300.0, smoothing=-1.0, fewest=1)
    with pytest.raises(PhysicsError, match="hits in none of"):
        match_forces(equations, temperature=300.0, fewest=1e9)


def test_angles_are_mirrored_dihedrals_close_and_pairs_end_at_zero() -> None:
    rng = np.random.default_rng(1)
    for term, low, high in (("pair", 0.0, 1.0), ("angle", 0.0, 180.0), ("dihedral", -180.0, 180.0)):
        curve = Curve(term, "x", low, high, 12)
        rules = curve.rules()
        ends = np.array([low, high])
        value, slope = (curve.values(ends, slope=s) @ rules @ rng.normal(size=rules.shape[1]) for s in (False, True))
        if term == "pair":
            assert abs(value[1]) < 1e-12
            assert abs(slope[1]) < 1e-10
        elif term == "angle":
            np.testing.assert_allclose(slope, 0.0, atol=1e-12)
        else:
            both = curve.values(ends) @ rules
            np.testing.assert_allclose(both[0], both[1], atol=1e-12)
            np.testing.assert_allclose(*(curve.values(ends, slope=True) @ rules), atol=1e-12)
    x = np.linspace(0.0, 1.0, 30, endpoint=False)
    np.testing.assert_allclose(Curve("bond", "x", 0.0, 1.0, 5).values(x).sum(axis=1), 1.0)
