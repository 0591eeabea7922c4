"""Pairs of rows that agree within their errors: the same as by comparing all with all, and made in pieces."""

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from cgstore.errors import InputError, NotFound
from cgstore.feature_tables import join, match, matching

VALUES = st.one_of(st.floats(-3, 3), st.integers(-3, 3).map(float), st.just(np.nan))
ERRORS = st.one_of(st.floats(0, 2), st.sampled_from([0.0, 1e-9, 1e-3, 1.0, np.nan]))
ROWS = st.lists(st.tuples(VALUES, ERRORS), max_size=25)


def rows(values: list[tuple[float, float]]) -> xr.Dataset:
    value, error = (np.array([row[k] for row in values]) for k in (0, 1))
    return xr.Dataset({"D": ("system", value), "D_error": ("system", error)})


def brute(left: xr.Dataset, right: xr.Dataset, within: float) -> list[tuple[int, int]]:
    with np.errstate(invalid="ignore"):
        difference = np.abs(left.D.values[:, None] - right.D.values)
        near = difference < within * np.hypot(left.D_error.values[:, None], right.D_error.values)
    return [(int(i), int(j)) for i, j in np.argwhere(near)]


def found(pairs: xr.Dataset) -> list[tuple[int, int]]:
    return list(zip(pairs.left.values.tolist(), pairs.right.values.tolist(), strict=True))


@given(left=ROWS, right=ROWS, within=st.floats(0.01, 5), most=st.integers(1, 40))
def test_matches_are_those_of_the_whole_matrix_in_any_pieces(left, right, within, most) -> None:
    before, matching._CANDIDATES = matching._CANDIDATES, most
    try:
        a, b = rows(left), rows(right)
        assert found(match(a, b, on="D", within=within)) == brute(a, b, within)
    finally:
        matching._CANDIDATES = before


def test_ten_thousand_rows_each_come_in_pieces_with_difference_and_error() -> None:
    rng = np.random.default_rng(1)
    left, right = (rows(list(zip(rng.normal(5, 1, 10_000), rng.lognormal(-6, 2, 10_000), strict=True))) for _ in "ab")
    pairs = match(left, right, on="D", within=1.0)
    assert pairs.left.chunks is not None
    assert len(pairs.left.chunks[0]) > 1
    piece = pairs.isel(pair=slice(1000, 1100)).compute()
    i, j = piece.left.values, piece.right.values
    np.testing.assert_array_equal(piece.difference, left.D.values[i] - right.D.values[j])
    np.testing.assert_array_equal(piece.error, np.hypot(left.D_error.values[i], right.D_error.values[j]))
    sample = slice(None, None, 500)
    expected = brute(left.isel(system=sample), right, 1.0)
    whole = [(i // 500, j) for i, j in found(pairs) if i % 500 == 0]
    assert whole == expected


def test_join_gathers_columns_of_both_rows_piece_by_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matching, "_PIECE_BYTES", 64)
    rng = np.random.default_rng(2)
    table = rows(list(zip(rng.normal(0, 1, 30), np.full(30, 0.2), strict=True)))
    table = table.assign(u=(("system", "r"), rng.normal(size=(30, 4)).astype(np.float32), {"units": "kJ/mol"}))
    table = table.assign_coords(system=[f"s{k}" for k in range(30)], r=np.arange(4.0))
    pairs = match(table, table, on="D")
    joined = join(pairs, table, table, take=(["D"], ["u"]))
    assert max(joined.right_u.chunks[0]) == 4
    np.testing.assert_array_equal(joined.right_u, table.u.values[pairs.right.values])
    np.testing.assert_array_equal(joined.left_D - table.D.values[pairs.right.values], pairs.difference)
    assert joined.left_system.values.tolist() == [f"s{k}" for k in pairs.left.values]
    assert joined.right_u.attrs["units"] == "kJ/mol"
    assert joined.r.values.tolist() == [0.0, 1.0, 2.0, 3.0]


def test_nothing_in_common_is_no_pairs_and_still_joins() -> None:
    pairs = match(rows([(1.0, 0.1)]), rows([(9.0, 0.1)]), on="D")
    assert join(pairs, rows([(1.0, 0.1)]), rows([(9.0, 0.1)]), take=(["D"], ["D"])).right_D.values.tolist() == []


def test_wrong_questions_are_refused() -> None:
    table = rows([(1.0, 0.1)]).assign(g=(("system", "r"), [[1.0]]), bad=("system", [-1.0]))
    with pytest.raises(NotFound, match="D_AA"):
        match(table, table, on="D_AA")
    with pytest.raises(InputError, match="on system alone"):
        match(table, table, on="g", errors=(None, None))
    with pytest.raises(InputError, match="none negative"):
        match(table, table, on="D", errors=("bad", None))
    with pytest.raises(InputError, match="within"):
        match(table, table, on="D", within=0.0)
    with pytest.raises(NotFound, match="no column"):
        join(match(table, table, on="D"), table, table, take=(["x"], []))
