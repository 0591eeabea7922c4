"""Rows stacked and joined: each keeps its values, whatever tables they come from, whatever labels others have."""

import numpy as np
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from cgstore.feature_tables.registry import Column, Feature, Parameters
from cgstore.feature_tables.rows import Cell, Part, cell_of, join_rows, stack_cells
from cgstore.feature_tables.spec import Asked

FEATURE = Feature(
    name="f",
    version=1,
    compute=lambda source, parameters: {},
    columns=lambda parameters: (Column("{}", ("kind", "r")), Column("{}_n", dtype="int64")),
    grids=lambda parameters: {"r": (np.arange(2.0), "nm")},
)
ASKED = [Asked("a", FEATURE, Parameters())]
LABELS = st.lists(st.sampled_from("pqrs"), unique=True, max_size=3)


def cell(number: int, labels: list[str]) -> Cell:
    """Return a cell in which every value is of its own."""
    values = number * 100.0 + np.array([[ord(label), ord(label) + 0.5] for label in labels]).reshape(len(labels), 2)
    ds = xr.Dataset({"{}": (("kind", "r"), values), "{}_n": number}, {"kind": np.array(labels, str)})
    return cell_of(ASKED[0], ds)


@given(rows=st.lists(LABELS, min_size=1, max_size=8), data=st.data())
def test_every_row_keeps_its_values_on_the_way(rows: list[list[str]], data: st.DataObject) -> None:
    cells = {f"s{k}": {"a": cell(k, labels)} for k, labels in enumerate(rows)}
    cut = data.draw(st.integers(0, len(rows)))
    order = data.draw(st.permutations(range(len(rows))))
    systems = [f"s{k}" for k in order]
    parts = []
    for chosen in (list(cells)[:cut], list(cells)[cut:]):
        ds = stack_cells(ASKED, {name: cells[name] for name in chosen})
        taken = np.array([chosen.index(name) if name in chosen else -1 for name in systems], np.int64)
        parts.append(Part(ds, {"a": taken}))
    joined = join_rows(ASKED, systems, parts)
    assert joined.a_kind.values.tolist() == sorted({label for labels in rows for label in labels})
    for place, number in enumerate(order):
        row = joined.isel(system=place)
        assert row.a_n.item() == number
        for label in joined.a_kind.values:
            values = row.a.sel(a_kind=label).values
            expected = [number * 100.0 + ord(label), number * 100.0 + ord(label) + 0.5]
            assert values.tolist() == expected if label in rows[number] else np.isnan(values).all()
