import json
from itertools import islice

import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from cgstore.errors import InputError
from cgstore.learn.rows import RowLoader
from cgstore.splits.split import Split

NAMES = [f"s{n:02d}/r1/cg" for n in range(30)]
CATALOG = dict.fromkeys(NAMES)
SPLIT = Split.from_dict({"train": [{"dataset": "s[01]*"}], "heldout": [{"dataset": "s2*"}]})


def table(scale=1.0):
    number = np.arange(30)[::-1]  # not in the order of the catalog
    return xr.Dataset(
        {
            "rdf": (("r", "system"), scale * number[None] + np.arange(5)[:, None] / 10),
            "temperature": ("system", 300.0 + number),
            "count": ("system", number),
            "kind": ("system", np.full(30, "liquid")),
            "width": ("r", np.ones(5)),
        },
        coords={"system": [NAMES[n] for n in number]},
    )


def test_rows_are_those_of_the_datasets_of_the_split():
    loader = RowLoader(table(), CATALOG, SPLIT.train, batch_size=8, seed=1)
    seen = []
    for batch in loader:
        assert batch["rdf"].dtype == batch["temperature"].dtype == torch.float32
        assert batch["count"].dtype == torch.int64
        assert "kind" not in batch
        assert "width" not in batch
        for n, row in enumerate(batch["dataset"].tolist()):
            number = int(loader.names[row][1:3])
            assert batch["count"][n] == number
            assert torch.allclose(batch["rdf"][n], number + torch.arange(5) / 10)
            seen.append(number)
    assert sorted(seen) == list(range(20))
    assert len(loader) == 3


@settings(max_examples=30)
@given(st.integers(1, 25), st.integers(0, 4), st.sampled_from([1, 2, 4, 8]), st.integers(0, 20))
def test_ranks_joined_are_one_and_any_place_can_be_gone_on_from(batch_size, seed, ranks, stop):
    made = {"batch_size": batch_size, "seed": seed, "columns": ["count"]}
    alone = RowLoader(table(), CATALOG, SPLIT.train, **made)
    expected = [batch["count"].tolist() for batch in islice(alone.endless(), 30)]
    assert sorted(sum(expected[: len(alone)], [])) == list(range(20))  # noqa: RUF017
    other = RowLoader(table(), CATALOG, SPLIT.train, **made)
    rows = other.endless()
    for _ in range(stop):
        next(rows)
    state = json.loads(json.dumps(other.state_dict()))
    parts = [RowLoader(table(), CATALOG, SPLIT.train, **made, rank=n, world_size=ranks) for n in range(ranks)]
    for part in parts:
        part.load_state_dict(state)
    joined = zip(*(part.endless() for part in parts), strict=True)
    found = [torch.cat([batch["count"] for batch in batches]).tolist() for batches in islice(joined, 30 - stop)]
    assert found == expected[stop:]


def test_a_row_that_changed_is_named():
    state = RowLoader(table(), CATALOG, SPLIT.train, batch_size=8).state_dict()
    with pytest.raises(InputError, match="s01/r1/cg   changed"):
        RowLoader(table(2.0), CATALOG, SPLIT.train, batch_size=8).load_state_dict(state)


def test_what_a_table_cannot_give_is_refused():
    with pytest.raises(InputError, match="held out"):
        RowLoader(
            table(),
            CATALOG,
            Split.from_dict({"train": [{"dataset": "*"}], "heldout": [{"dataset": "s2*"}]}).train,
            batch_size=8,
        )
    timed = Split.from_dict({"train": [{"dataset": "s01*", "start": "10 ps"}]})
    with pytest.raises(InputError, match=r"s01/r1/cg \[10, inf\) ps; a row of a table is made of all frames"):
        RowLoader(table(), CATALOG, timed.train, batch_size=8)
    with pytest.raises(InputError, match=r"no row for s00/r1/cg, s01/r1/cg, .* and 5 more"):
        RowLoader(table().isel(system=slice(0, 20)), CATALOG, SPLIT.train, batch_size=8)
    with pytest.raises(InputError, match='did you mean "rdf"'):
        RowLoader(table(), CATALOG, SPLIT.train, batch_size=8, columns=["rdff"])
    with pytest.raises(InputError, match="found 'kind', no numbers"):
        RowLoader(table(), CATALOG, SPLIT.train, batch_size=8, columns=["kind"])
    with pytest.raises(InputError, match="expected a dim system"):
        RowLoader(table().rename(system="row"), CATALOG, SPLIT.train, batch_size=8)
    with pytest.raises(InputError, match="rename the column"):
        RowLoader(table().rename(count="dataset"), CATALOG, SPLIT.train, batch_size=8)
