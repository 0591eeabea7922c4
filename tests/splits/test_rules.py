"""What a split file may say, and which datasets it means then."""

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import assume, given
from hypothesis import strategies as st

from cgstore.errors import InputError
from cgstore.splits.leakage import look_for_leaks
from cgstore.splits.members import Member
from cgstore.splits.rules import Gap
from cgstore.splits.split import Split, check_leak, members_of
from cgstore.splits.time_blocks import cut


@dataclass
class Entry:
    name: str
    metadata: dict[str, Any] = field(default_factory=dict)
    time: np.ndarray = field(default_factory=lambda: np.arange(100.0))

    def open(self):
        return xr.Dataset(coords={"time": ("frame", self.time)}, attrs={"sources": [{"digest": self.name}]})


ROWS = {
    "dmpc_303k/r1/cg": {"kind": "bilayer", "temperature": 303.0, "composition": {"DMPC": 64, "HOH": 1907}},
    "dmpc_323k/r1/cg": {"kind": "bilayer", "temperature": 323.0, "composition": {"DMPC": 128, "HOH": 4000}},
    "mixed/r1/cg": {"kind": "bilayer", "temperature": 303.0, "composition": {"DMPC": 70, "CHOL": 30, "HOH": 3000}},
    "methane/r1/cg": {"kind": "liquid", "temperature": 112.0, "pressure": 50.0, "composition": {"CH4": 222}},
    "methane/r2/cg": {"kind": "liquid", "temperature": 130.0, "composition": {"CH4": 222}},
    "argon/r1/cg": {"kind": "liquid", "temperature": 94.0, "composition": {"AR": 500}, "parameters": {"sigma": 0.34}},
}
CATALOG = {name: Entry(name, {"system": name.split("/")[0], **row}) for name, row in ROWS.items()}


def names(part="train", catalog=CATALOG, **tables):
    tables = {key: [value] if key in ("train", "validation", "heldout") else value for key, value in tables.items()}
    return [member.name for member in members_of(getattr(Split.from_dict(tables), part), catalog)]


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ({"where": {"kind": "liquid"}}, ["argon/r1/cg", "methane/r1/cg", "methane/r2/cg"]),
        ({"where": {"temperature": "295..310"}}, ["dmpc_303k/r1/cg", "mixed/r1/cg"]),
        ({"where": {"temperature": "22 °C..37 °C"}}, ["dmpc_303k/r1/cg", "mixed/r1/cg"]),
        ({"where": {"temperature": "..112 K"}}, ["argon/r1/cg", "methane/r1/cg"]),
        ({"where": {"temperature": (100, 120)}}, ["methane/r1/cg"]),
        ({"where": {"temperature": [94, 112]}}, ["argon/r1/cg", "methane/r1/cg"]),
        ({"where": {"temperature": "94,112"}}, ["argon/r1/cg", "methane/r1/cg"]),
        ({"where": {"pressure": "5 MPa"}}, ["methane/r1/cg"]),
        ({"where": {"sigma": "0.3..0.4"}}, ["argon/r1/cg"]),
        ({"where": {"component": "CHOL"}}, ["mixed/r1/cg"]),
        ({"where": {"component": ["AR", "CHOL"], "kind": "bilayer"}}, ["mixed/r1/cg"]),
        ({"system": "methane", "run": "r2"}, ["methane/r2/cg"]),
        ({"system": "methane", "where": {"temperature": "..120"}}, ["methane/r1/cg"]),
        ({"composition": {"DMPC": "60..70"}}, ["dmpc_303k/r1/cg", "mixed/r1/cg"]),
        ({"composition": {"DMPC": 128}}, ["dmpc_323k/r1/cg"]),
        ({"composition": {"DMPC": "1..", "CHOL": 0}}, ["dmpc_303k/r1/cg", "dmpc_323k/r1/cg"]),
        ({"composition": {"CHOL": "20%..40%", "DMPC": ".."}}, ["mixed/r1/cg"]),
        ({"composition": {"CHOL": "30%", "DMPC": "70%"}}, ["mixed/r1/cg"]),
        ({"composition": {"CHOL": "..10%", "DMPC": ".."}}, ["dmpc_303k/r1/cg", "dmpc_323k/r1/cg"]),
        ({"dataset": "dmpc*", "composition": {"DMPC": "100.."}}, ["dmpc_323k/r1/cg"]),
    ],
)
def test_a_rule_means_what_search_and_the_composition_say(rule, expected):
    assert names(train=rule) == expected


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        ({"where": {"temprature": "295..310"}}, 'did you mean "temperature"'),
        ({"where": {"kind": "295..310"}}, "matches no dataset"),
        ({"where": {"temperature": "warm"}}, "expected a temperature"),
        ({"where": {"sigma": "wide"}}, "expected a number"),
        ({"composition": {"DMCP": "60..70"}}, 'did you mean "DMPC"'),
        ({"composition": {"DMPC": "1000.."}}, "1000.. DMPC matches no dataset"),
    ],
)
def test_what_nobody_has_is_an_error_with_a_suggestion(rule, says):
    with pytest.raises(InputError, match=says):
        names(train=rule)


def test_all_problems_of_a_part_are_reported_at_once():
    rules = [{"where": {"temprature": 3}}, {"composition": {"DMCP": 1}}, {"system": "argn"}]
    with pytest.raises(InputError) as caught:
        members_of(Split.from_dict({"train": rules}, where="here").train, CATALOG)
    assert str(caught.value).startswith("here: 3 problems")
    for word in ("temperature", "DMPC", "argon"):
        assert word in str(caught.value)


def test_the_problems_of_all_parts_are_reported_at_once():
    tables = {"train": [{"system": "argn"}], "heldout": [{"system": "mixd"}]}
    with pytest.raises(InputError) as caught:
        check_leak(Split.from_dict(tables), CATALOG)
    assert "train   'argn/*/cg'" in str(caught.value)
    assert "heldout   'mixd/*/cg'" in str(caught.value)


@pytest.mark.parametrize(
    ("tables", "says"),
    [
        ({"train": [{"dataset": "a", "system": "b"}]}, "either dataset"),
        ({"train": [{"dataset": "a", "run": "b"}]}, "run and level go with system"),
        ({"train": [{"composition": {"CHOL": "20%"}}]}, "a share is one of the species named"),
        ({"train": [{"composition": {"CHOL": "many"}}]}, "expected a number of molecules"),
        ({"train": [{"composition": {"CHOL": "70..60"}}]}, "lower end first"),
        ({"train": [{"composition": {"CHOL": -1}}]}, "expected a number of molecules"),
        ({"train": [{"composition": {"CHOL": "%"}}]}, "expected a number of molecules"),
        ({"train": [{"composition": {"CHOL": "1" + "0" * 400}}]}, "finite"),
        ({"train": [{"where": {"a": {"b": 1}}}]}, "expected a text, a number, a range"),
        ({"train": [{"where": "kind"}]}, "expected facets"),
        ({"train": [{"where": {"temperature": "3..4 nm"}}]}, "expected a temperature"),
        ({"train": [{"where": {"a=b": 1}}]}, "expected a text"),
        ({"train": [{"system": "a"}], "gap": "5 correlation"}, "5 correlation times of area_per_lipid"),
        ({"train": [{"system": "a"}], "gap": "-5 ps"}, "not negative"),
        ({"train": [{"system": "a"}], "gap": "1e400 ns"}, "expected a time with its unit"),
        ({"train": [{"system": "a", "stop": "1e400 ns"}]}, "too large"),
        ({"train": [{"system": "a"}], "gap": 5}, "expected a time with its unit"),
        ({"heldout": [{"system": "a"}]}, "expected at least one"),
        ({"blocks": {"train": 0.8, "heldout": 0.2}}, "need a gap"),
        ({"blocks": {"train": 0.8, "heldout": 0.1}, "gap": "1 ps"}, "add up to 1"),
        ({"blocks": {"train": 1.0}, "gap": "1 ps"}, "two or three parts"),
        ({"systems": {"train": 0.8, "heldout": 0.2, "stop": "1 ns"}}, "dealt whole"),
        ({"systems": {"train": 0.8, "heldout": 0.2, "sed": 1}}, 'did you mean "seed"'),
    ],
)
def test_a_split_that_makes_no_sense_is_refused(tables, says):
    with pytest.raises(InputError, match=says):
        Split.from_dict(tables)


def test_the_digest_is_that_of_the_meaning():
    def digest(**rule):
        return Split.from_dict({"train": [rule]}).digest

    assert digest(where={"temperature": "295 K..325 K"}) == digest(where={"temperature": "295..325 K"})
    assert digest(where={"temperature": (295, 325)}) == digest(where={"temperature": "295..325"})
    assert digest(system="a") == digest(system="a", run="*")
    assert digest(composition={"A": 60}) == digest(composition={"A": "60"}) != digest(composition={"A": "60.."})


# Blocks of time -----------------------------------------------------------------------------------------------------


def blocks(gap="5 ps", **shares):
    return Split.from_dict({"gap": gap, "blocks": {"system": "methane", "run": "r1", **shares}})


def test_blocks_cut_each_run_in_time_with_the_gap_between():
    parts = blocks(train=0.7, validation=0.1, heldout=0.2)
    frames = {part.part: members_of(part, CATALOG)[0].frames(np.arange(100.0)) for part in parts.parts()}
    # 99 ps, less two gaps, are 89 ps: 62.3, 8.9 and 17.8.
    assert frames == {"train": slice(0, 63), "validation": slice(68, 77), "heldout": slice(82, 100)}
    check_leak(parts, CATALOG)


def test_blocks_and_systems_take_what_no_table_names():
    tables = {
        "heldout": [{"where": {"temperature": "112"}}],
        "gap": "5 ps",
        "blocks": {"where": {"kind": "liquid"}, "train": 0.5, "validation": 0.5},
    }
    split = Split.from_dict(tables)
    assert [member.name for member in split.train.members(CATALOG)] == ["argon/r1/cg", "methane/r2/cg"]
    with pytest.raises(InputError, match="not named in a table of its own"):
        members_of(Split.from_dict({**tables, "heldout": [{"where": {"kind": "liquid"}}]}).train, CATALOG)


def test_a_run_too_short_for_its_gaps_is_an_error():
    with pytest.raises(InputError, match="99 ps in 100 frames are too short for 2 blocks with gaps of 200 ps"):
        members_of(blocks("200 ps", train=0.5, heldout=0.5).train, CATALOG)


def test_blocks_begin_and_stop_where_the_table_says():
    split = blocks(train=0.5, heldout=0.5, start="20 ps", stop="60 ps")
    (first,), (second,) = (members_of(part, CATALOG) for part in (split.train, split.heldout))
    assert (first.start, second.stop) == (20.0, 60.0)
    check_leak(split, CATALOG)


SHARES = st.lists(st.integers(1, 20), min_size=2, max_size=3).map(
    lambda several: dict(zip(("train", "validation", "heldout"), (n / sum(several) for n in several), strict=False))
)


@given(
    st.lists(st.floats(0.01, 3.0), min_size=1, max_size=60),
    st.floats(-1e4, 1e4),
    SHARES,
    st.floats(0, 20.0),
)
def test_blocks_are_apart_by_the_gap_and_divide_what_it_leaves(steps, start, shares, gap):
    time = start + np.cumsum(steps)
    try:
        borders = cut(time, shares, gap, name="a/r1/cg")
    except InputError:
        assume(False)
    members = {part: Member("a/r1/cg", *ends) for part, ends in borders.items()}
    chosen = [time[member.frames(time)] for member in members.values()]
    assert all(len(part) for part in chosen)
    assert chosen[0][0] == time[0]
    assert chosen[-1][-1] == time[-1]
    longest = float(np.diff(time).max())
    for one, two in pairwise(chosen):
        assert two[0] - one[-1] >= gap * (1 - 1e-9)
        assert two[0] - one[-1] > longest
    left = time[-1] - time[0] - (len(shares) - 1) * max(gap, 1.5 * longest)
    for part, share in zip(chosen, shares.values(), strict=True):
        assert part[-1] - part[0] <= share * left * (1 + 1e-9) + 1e-6
    catalog = {"a/r1/cg": Entry("a/r1/cg", time=time)}
    assert look_for_leaks({part: [member] for part, member in members.items()}, catalog, gap=Gap(gap)).leaks == ()


# Systems by hash ----------------------------------------------------------------------------------------------------


def many(number):
    return {f"s{n}/{run}/cg": Entry(f"s{n}/{run}/cg") for n in range(number) for run in ("r1", "r2")}


def dealt(catalog, **more):
    tables = {"systems": {"train": 0.8, "validation": 0.1, "heldout": 0.1, **more}}
    split = Split.from_dict(tables)
    return {member.name: part.part for part in split.parts() for member in members_of(part, catalog)}


def test_systems_are_dealt_whole_by_their_shares_and_stay_where_they_are_when_more_come():
    few, all_of_them = dealt(many(100)), dealt(many(600))
    assert len(all_of_them) == 1200
    assert few == {name: part for name, part in all_of_them.items() if name in few}
    assert all(all_of_them[f"s{n}/r1/cg"] == all_of_them[f"s{n}/r2/cg"] for n in range(600))
    share = list(all_of_them.values()).count("train") / 1200
    assert abs(share - 0.8) < 0.07  # four standard errors
    assert dealt(many(100), seed=1) != few


def test_systems_may_be_dealt_by_another_facet():
    parts = dealt(CATALOG, by="component", seed=3)
    assert parts["dmpc_303k/r1/cg"] == parts["dmpc_323k/r1/cg"]
    with pytest.raises(InputError, match='did you mean "component"'):
        dealt(CATALOG, by="componnt")


def test_a_part_to_which_nothing_fell_is_an_error_when_it_is_read():
    split = Split.from_dict({"systems": {"train": 0.99, "validation": 0.01}})
    one = {"a/r1/cg": Entry("a/r1/cg")}
    assert split.train.members(one) == (Member("a/r1/cg"),)
    with pytest.raises(InputError, match="no dataset falls to this part"):
        split.validation.members(one)
