"""A leak of each kind is planted in a store and has to be found; what is no leak has to be left alone."""

from pathlib import Path

import numpy as np
import pytest

from cgstore.averages.keeping import kept_distributions
from cgstore.catalog import open_catalog
from cgstore.errors import InputError
from cgstore.frames import Frames
from cgstore.splits import gaps
from cgstore.splits.rules import Gap
from cgstore.splits.split import Split, check_leak, find_leaks, members_of
from cgstore.splits.state_points import near_pairs
from cgstore.store.versions import stage
from cgstore.topology import Topology

FRAMES, PARTICLES, EDGE = 60, 40, 3.0


def walk(seed: int, frames: int = FRAMES, step: float = 0.05) -> np.ndarray:
    rng = np.random.default_rng(seed)
    start = rng.uniform(0, EDGE, (1, PARTICLES, 3))
    return start + rng.normal(0, step, (frames, PARTICLES, 3)).cumsum(axis=0)


def topology() -> Topology:
    number, name = np.arange(PARTICLES, dtype=np.int32), np.full(PARTICLES, "A")
    none = {term: np.empty((0, width), np.int32) for term, width in {"bond": 2, "angle": 3, "dihedral": 4}.items()}
    return Topology(name, name, name, number, number, name, np.ones(PARTICLES), np.zeros(PARTICLES), **none)


def publish(store: Path, name: str, position: np.ndarray, *, precision: float | None, source: str, **attrs) -> None:
    system, run, level = name.split("/")
    frames = len(position)
    box = np.tile(np.eye(3, dtype=np.float32) * EDGE, (frames, 1, 1))
    data = Frames(position.astype(np.float32), np.arange(frames) * 2.0, np.arange(frames), box=box)
    sources = [{"path": f"{name}.xtc", "size": 1, "digest": source or name}]
    known = {"kind": "liquid", "system": system, "run": run, "level": level, "sources": sources, **attrs}
    with stage(store / name, base=None) as staged:
        staged.create(topology(), data, precision=precision, attrs=known)
        staged.append(data)
        staged.publish()


@pytest.fixture
def put(once):
    """Give a function that publishes a dataset."""

    def put(store: Path, name: str, position: np.ndarray, *, precision: float | None = 0.001, source="", **attrs):
        about = {"precision": precision, "source": source, **attrs}
        once(store / name, lambda: publish(store, name, position, **about), name, position.shape, position, about)

    return put


SPLIT = {"train": [{"dataset": "a/*"}], "heldout": [{"dataset": "b/*"}]}


def report(store, tables=SPLIT, **options):
    return find_leaks(Split.from_dict(tables), open_catalog(store), **options)


def kinds(store, tables=SPLIT, **options):
    return [leak.kind for leak in report(store, tables, **options).leaks]


@pytest.fixture(autouse=True)
def _no_promise(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # a split made in Python stands in the current folder


@pytest.fixture
def store(tmp_path, put):
    put(tmp_path, "a/r1/cg", walk(1))
    return tmp_path


def test_different_data_do_not_leak(store, put):
    put(store, "b/r1/cg", walk(2))
    found = report(store, deep=True)
    assert (found.leaks, found.warnings) == ((), ())


def test_the_same_run_at_another_level_leaks(store, put):
    put(store, "a/r1/atoms", walk(3))
    tables = {"train": [{"dataset": "a/r1/cg"}], "heldout": [{"dataset": "a/r1/atoms"}]}
    (leak,) = report(store, tables).leaks
    assert str(leak) == "train a/r1/cg and heldout a/r1/atoms: the same run at the same time"


@pytest.mark.parametrize(
    ("stop", "start", "gap", "leaks"),
    [("62 ps", "60 ps", "10 ps", True), ("62 ps", "66 ps", "10 ps", True), ("62 ps", "72 ps", "10 ps", False),
     ("60 ps", "60 ps", "0 ps", True)],
)  # fmt: skip
def test_blocks_that_overlap_or_are_too_near_leak(store, stop, start, gap, leaks):
    tables = {"train": [{"dataset": "a/*", "stop": stop}], "heldout": [{"dataset": "a/*", "start": start}], "gap": gap}
    assert kinds(store, tables) == ["same run"] * leaks


def slow(store, put) -> float:
    """Add a run of slow particles with kept distributions; return its correlation time."""
    put(store, "slow/r1/cg", walk(5, frames=600, step=0.02))
    entry = open_catalog(store)["slow/r1/cg"]
    tree, _ = kept_distributions(entry.path, entry.open())
    return float(np.nanmax(tree["rdf"]["correlation_time"].values))


def test_a_gap_in_correlation_times_is_that_of_the_kept_statistics(store, put):
    tables = {"blocks": {"dataset": "slow/*", "train": 0.5, "heldout": 0.5}, "gap": "2 correlation times"}
    time = slow(store, put)
    split, catalog = Split.from_dict(tables), open_catalog(store)
    (train,), (heldout,) = (members_of(part, catalog) for part in (split.train, split.heldout))
    assert heldout.start - train.stop == pytest.approx(2 * time)
    assert kinds(store, tables) == []
    assert kinds(store, {**tables, "gap": "2 correlation times of rdf"}) == []
    with pytest.raises(InputError, match="'rfd'; did you mean \"rdf\""):
        report(store, {**tables, "gap": "2 correlation times of rfd"})


def test_a_gap_in_correlation_times_that_nobody_measured_is_an_error(store):
    tables = {"blocks": {"dataset": "a/*", "train": 0.5, "heldout": 0.5}, "gap": "2 correlation times"}
    with pytest.raises(InputError, match="run cgstore distributions a/r1/cg"):
        report(store, tables)


def test_kept_results_of_other_frames_do_not_count(store, put):
    slow(store, put)
    with stage(store / "slow/r1/cg", base=1) as staged:
        box = np.eye(3, dtype=np.float32)[None] * EDGE
        staged.append(Frames(walk(9)[:1].astype(np.float32), np.array([1e4]), np.array([600]), box=box))
        staged.publish()
    tables = {"blocks": {"dataset": "slow/*", "train": 0.5, "heldout": 0.5}, "gap": "2 correlation times"}
    with pytest.raises(InputError, match="none is known of these frames"):
        report(store, tables)


def test_the_slowest_quantity_makes_the_gap(monkeypatch):
    monkeypatch.setattr(gaps, "correlation_times", lambda entry: {"rdf": 10.0, "bond": 40.0, "angle": 20.0})
    assert gaps.gap_of(Gap(None, 3.0), None) == 120.0
    assert gaps.gap_of(Gap(None, 3.0, "rdf"), None) == 30.0


def test_a_gap_shorter_than_the_kept_correlation_time_leaks(store, put):
    tables = {"blocks": {"dataset": "slow/*", "train": 0.5, "heldout": 0.5}, "gap": "4 ps"}
    time = slow(store, put)
    assert time > 8.0
    (leak,) = report(store, tables).leaks
    assert f"less than the correlation time of rdf, {time:g} ps" in leak.says


def test_the_same_source_file_leaks(store, put):
    put(store, "b/r1/cg", walk(2), source="a/r1/cg")
    (leak,) = report(store).leaks
    assert (leak.kind, leak.parts, leak.datasets) == ("same source file", ("train", "heldout"), ("a/r1/cg", "b/r1/cg"))


@pytest.mark.parametrize("copied", [1, 5])
def test_a_few_copied_frames_leak_wherever_they_are(store, copied, put):
    position = walk(2)
    position[31 : 31 + copied] = walk(1)[7 : 7 + copied]
    put(store, "b/r1/cg", position)
    (leak,) = report(store).leaks
    assert leak.kind == "same frames"
    assert leak.says == f"{copied} frame{'s have' if copied > 1 else ' has'} the same content"


def test_a_frame_repeated_at_another_time_of_the_run_leaks(store, put):
    position = walk(4)
    position[50] = position[5]
    position[52:] = position[52]  # many times in one part alone
    put(store, "c/r1/cg", position)
    tables = {"blocks": {"dataset": "c/*", "train": 0.5, "heldout": 0.5}, "gap": "10 ps"}
    (leak,) = report(store, tables).leaks
    assert (leak.kind, leak.says) == ("same frames", "1 frame has the same content")


def test_a_frame_that_three_parts_have_leaks_between_all_of_them(store, put):
    put(store, "b/r1/cg", np.concatenate([walk(1)[:1], walk(2)]))
    put(store, "c/r1/cg", np.concatenate([walk(3), walk(1)[:1]]))
    tables = {**SPLIT, "validation": [{"dataset": "c/*"}]}
    assert [leak.parts for leak in report(store, tables).leaks] == [
        ("train", "validation"), ("train", "heldout"), ("validation", "heldout"),
    ]  # fmt: skip


@pytest.mark.parametrize("precision", [0.01, None])
@pytest.mark.parametrize("moved", [0.0, 0.7])
def test_copies_in_another_precision_are_found_when_positions_are_read(store, precision, moved, put):
    position = walk(2)
    position[10:14] = (walk(1)[20:24] + moved) % EDGE  # moved and wrapped
    put(store, "b/r1/cg", position, precision=precision)
    assert kinds(store) == []
    (leak,) = report(store, deep=True).leaks
    assert leak.kind == "copied frames"
    assert leak.says.startswith("4 frames agree")


def test_copies_without_any_grid_are_found(tmp_path, put):
    one, two = walk(1), walk(2)
    two[10:14] = (one[20:24] + 0.7) % EDGE
    for name, position in (("a/r1/cg", one), ("b/r1/cg", two)):
        put(tmp_path, name, position, precision=None)
    assert kinds(tmp_path) == []
    assert kinds(tmp_path, deep=True) == ["copied frames"]


def test_rigid_particles_are_not_taken_for_copies(store, put):
    lattice = walk(1, frames=1)
    for seed, name in enumerate(("a2/r1/cg", "b/r1/cg")):
        noise = np.random.default_rng(seed).normal(0, 0.002, (FRAMES, PARTICLES, 3))
        put(store, name, lattice + noise, precision=0.01)
    assert kinds(store, {**SPLIT, "train": [{"dataset": "a2/*"}]}, deep=True) == []


@pytest.mark.parametrize("other", [{"temperature": 301.0}, {"temperature": 300.0, "composition": {"W": 2000}}])
def test_nearly_the_same_state_point_is_a_warning(tmp_path, other, put):
    put(tmp_path, "a/r1/cg", walk(1), temperature=300.0, composition={"W": 1000})
    put(tmp_path, "b/r1/cg", walk(2), **{"composition": {"W": 1000}, **other})
    found = report(tmp_path)
    assert found.leaks == ()
    (warning,) = found.warnings
    assert warning.kind == "near state point"
    assert "W at 300 K" in warning.says


def test_what_differs_in_species_amounts_state_or_parameters_is_not_near():
    row = {"kind": "bilayer", "temperature": 300.0, "pressure": 1.0, "composition": {"DMPC": 60, "CHOL": 40},
           "parameters": {"sigma": 0.34, "water": "TIP3P"}}  # fmt: skip
    near = [{"temperature": 302.0}, {"pressure": 1.9}, {"composition": {"DMPC": 122, "CHOL": 78}},
            {"parameters": {"sigma": 0.342, "water": "TIP3P"}}]  # fmt: skip
    far = [{"temperature": 303.0}, {"pressure": 50.0}, {"composition": {"DMPC": 65, "CHOL": 35}}, {"kind": "x"},
           {"composition": {"DMPC": 60, "CHOL": 40, "HOH": 1}}, {"parameters": {"sigma": 0.36, "water": "TIP3P"}},
           {"parameters": {"sigma": 0.34, "water": "SPC"}}, {"parameters": {}}, {"pressure": None},
           {"temperature": None}, {"composition": {}}]  # fmt: skip
    rows = [row, *({**row, **change} for change in (*near, *far))]
    pairs = [pair for pair, _ in near_pairs(rows, ["train", *["heldout"] * (len(rows) - 1)])]
    assert pairs == [(0, n) for n in range(1, len(near) + 1)]


def test_a_block_without_frames_is_a_warning(store, put):
    put(store, "b/r1/cg", walk(2))
    tables = {**SPLIT, "heldout": [{"dataset": "b/*", "start": "1 us"}]}
    found = report(store, tables)
    assert found.leaks == ()
    assert [str(warning) for warning in found.warnings] == [
        "heldout b/r1/cg [1e+06, inf) ps: has no frame in this block of time"
    ]


def test_every_leak_is_in_the_message_but_not_thousands(store):
    entry = open_catalog(store)["a/r1/cg"]
    catalog = {f"{system}/r1/cg": entry for system in ("a", *(f"b{number}" for number in range(30)))}
    split = Split.from_dict({"train": [{"dataset": "a/*"}], "heldout": [{"dataset": "b*"}]})
    with pytest.raises(InputError) as caught:
        check_leak(split, catalog)
    assert "30 leaks between the parts" in str(caught.value)
    assert "… and 10 more" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 22
