"""Campaign files are checked as a whole; what they plan is data, the same everywhere."""

from pathlib import Path

import numpy as np
import pytest

from cgstore.campaigns.campaign import load_campaign
from cgstore.campaigns.planning import plan_systems, refused_points
from cgstore.errors import InputError

ROOT = Path(__file__).parents[2]
CAMPAIGNS = sorted((ROOT / "ingest/campaigns").glob("*.toml"))
SAMPLE = {
    "sigma": ["0.3 nm", "0.4 nm"],
    "epsilon": ["0.5 kJ/mol", "2 kJ/mol"],
    "temperature": ["200 K", "500 K"],
    "edge": ["1.8 nm", "3 nm"],
}
POINT = {"sigma": "0.34 nm", "epsilon": "1 kJ/mol", "temperature": "180 K", "edge": "1.6 nm"}


@pytest.mark.parametrize("path", CAMPAIGNS, ids=lambda path: path.stem)
def test_every_shipped_campaign_is_valid_in_both_sizes_and_named_as_its_file(path):
    for size in ("small", "full"):
        assert load_campaign(path, size=size).name == path.stem
    assert plan_systems(load_campaign(path, size="small"))


def test_the_small_campaign_is_the_beginning_of_the_full_one():
    path = ROOT / "ingest/campaigns/lennard_jones.toml"
    small, full = (load_campaign(path, size=size) for size in ("small", "full"))
    assert small.digest == full.digest
    few = plan_systems(small)
    assert few == plan_systems(full)[: len(few)]
    assert len({item.seed for item in few}) == len(few)
    for name, (low, high) in small.sweep.values.items():
        numbers = np.array([item.parameters[name] for item in few])
        assert low <= numbers.min() < low + 0.3 * (high - low)
        assert high >= numbers.max() > high - 0.3 * (high - low)


def test_a_size_with_other_settings_keeps_its_systems_apart(write_campaign):
    path = write_campaign(size__short={"systems": 1, "production": 960}, size__small={})
    short, small = load_campaign(path, size="short"), load_campaign(path)
    assert (short.prefix, short.settings.production, small.prefix) == ("tiny_short", 960, "tiny")
    assert short.digest != small.digest


def test_the_digest_is_of_the_meaning(write_campaign):
    def digest_of(**changes):
        return load_campaign(write_campaign(**changes)).digest

    first = digest_of()
    assert digest_of(campaign={"title": "another title"}) == first
    assert digest_of(sweep={"points": [{**POINT, "edge": "16 angstrom"}] * 3}) == first
    assert digest_of(sweep={"seed": 2}) != first
    assert digest_of(settings={"timestep": 0.004}) != first


def test_a_grid_has_every_combination(write_campaign):
    values = {name: [text] for name, text in POINT.items()} | {
        "temperature": ["180 K", "200 K"],
        "edge": ["1.6 nm", "1.7 nm"],
    }
    path = write_campaign(sweep={"method": "grid", "points": [], "parameters": values})
    found = [(item.parameters["temperature"], item.parameters["edge"]) for item in plan_systems(load_campaign(path))]
    assert found == [(180.0, 1.6), (180.0, 1.7), (200.0, 1.6), (200.0, 1.7)]


def test_a_sample_is_decided_by_its_seed_and_leaves_out_what_is_not_stable(write_campaign):
    def sample(seed):
        changes = {"method": "sample", "points": [], "parameters": SAMPLE, "seed": seed}
        return plan_systems(load_campaign(write_campaign(sweep=changes, size__small={"systems": 40})))

    assert sample(1) == sample(1)
    assert {item.digest for item in sample(1)}.isdisjoint(item.digest for item in sample(2))
    for item in sample(1):
        point = item.parameters
        reduced = 0.00831446 * point["temperature"] / point["epsilon"]
        assert reduced > 1.32 or 64 * (point["sigma"] / point["edge"]) ** 3 > 0.4


def test_a_sample_can_be_even_in_a_power(write_campaign):
    changes = {"method": "sample", "points": [], "parameters": {**SAMPLE, "temperature": ["450 K", "500 K"]}}
    changes |= {"parameters": changes["parameters"] | {"epsilon": ["0.5 kJ/mol", "1 kJ/mol"]}, "powers": {"edge": -3}}
    items = plan_systems(load_campaign(write_campaign(sweep=changes, size__small={"systems": 256})))
    density = np.sort([item.parameters["edge"] ** -3 for item in items])  # nothing is left out in these ranges
    assert density == pytest.approx(np.linspace(3.0**-3, 1.8**-3, 256), abs=0.02 * 1.8**-3)


def test_points_that_are_left_out_are_named_with_the_reason(write_campaign):
    points = [
        POINT,
        {**POINT, "temperature": "100 K", "edge": "2.2 nm"},
        {**POINT, "temperature": "100 K", "edge": "1.4 nm"},
    ]
    campaign = load_campaign(write_campaign(sweep={"points": points}))
    assert [item.parameters["edge"] for item in plan_systems(campaign)] == [1.6]
    two_phases, freezing = refused_points(campaign)
    assert "temperature 100, edge 2.2: two phases" in two_phases
    assert "freezing" in freezing
    nothing = load_campaign(write_campaign(sweep={"points": points[1:]}))
    with pytest.raises(InputError, match="every point of its sweep is refused"):
        plan_systems(nothing)


@pytest.mark.parametrize(
    ("table", "change", "message"),
    [
        ("campaign", {"kind": "lenard_jones"}, "expected lennard_jones"),
        ("campaign", {"engin": "openmm"}, 'did you mean "engine"'),
        ("campaign", {"name": "../up"}, "expected lower-case letters"),
        ("settings", {"particels": 64}, 'did you mean "particles"'),
        ("settings", {"mass": "40"}, "expected a mass with its unit"),
        ("settings", {"every": 7}, "expected a part of production"),
        ("sweep", {"method": "random"}, "expected grid | list | sample"),
        ("sweep", {"points": [{**POINT, "edge": "1.6"}]}, "sweep.points[0].edge   found '1.6', expected a length"),
        ("sweep", {"points": [{**POINT, "sigmaa": "1 nm"}]}, 'did you mean "sigma"'),
        ("sweep", {"points": [{**POINT, "edge": "-1 nm"}]}, "expected more than 0 nm"),
        ("sweep", {"points": [{"sigma": "1 nm"}]}, "sweep.points[0].edge   missing"),
        ("sweep", {"points": []}, "it needs points"),
        ("sweep", {"powers": {"edge": -3}}, "only a sample"),
        ("sweep", {"method": "sample", "points": [], "parameters": SAMPLE, "powers": {"egde": -3}}, 'mean "edge"'),
        ("sweep", {"method": "sample", "points": [], "parameters": SAMPLE, "powers": {"edge": 0}}, "not zero"),
        ("sweep", {"method": "sample", "points": [], "parameters": {**SAMPLE, "edge": ["3 nm", "2 nm"]}}, "the lower"),
        ("size__tiny", {"systems": 1}, 'no [size.small]; known are tiny'),
        ("size__small", {"systems": 0}, "1 or more"),
        ("size__small", {"particles": 1}, "20 or more"),
    ],
)  # fmt: skip
def test_a_wrong_campaign_is_refused_with_the_key_and_the_reason(write_campaign, table, change, message):
    with pytest.raises(InputError) as caught:
        load_campaign(write_campaign(**{table: change}))
    assert message in str(caught.value)


def test_every_problem_is_reported_at_once(write_campaign):
    path = write_campaign(settings={"mass": "40", "cutof": 2.0}, sweep={"points": [{**POINT, "edge": "1"}]})
    with pytest.raises(InputError, match="3 problems"):
        load_campaign(path)
