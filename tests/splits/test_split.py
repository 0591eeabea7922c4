import numpy as np
import pytest
import xarray as xr

from cgstore.errors import InputError
from cgstore.splits.split import Member, Split, check_leak, members_of


class Entry:
    """A dataset as a catalog lists it: four particles, one frame per ps, unless said otherwise."""

    def __init__(self, name, *, frames=100, start=0.0, source="", location=None):
        self.name, self.metadata = name, {}
        attrs = {"sources": [{"path": "x.xtc", "size": 1, "digest": source or name}], "version": 1}
        self.ds = xr.Dataset(
            {"position": (("frame", "particle", "xyz"), np.zeros((frames, 4, 3), np.float32))},
            coords={"time": ("frame", start + np.arange(float(frames)))},
            attrs=attrs,
        )
        if location is not None:
            self.location = str(location)

    def open(self):
        return self.ds


def catalog(*entries):
    return {entry.name: entry for entry in entries}


THREE = ("a/r1/cg", "b/r1/cg", "c/r1/cg")


def three():
    return catalog(*(Entry(name) for name in THREE))


def split(**parts):
    return Split.from_dict({name: value if name == "gap" else list(value) for name, value in parts.items()})


def test_a_part_is_chosen_by_name_by_glob_and_by_system():
    parts = split(train=[{"dataset": "a/r1/cg"}, {"system": "b"}], heldout=[{"dataset": "c*"}])
    assert parts.train.members(three()) == (Member("a/r1/cg"), Member("b/r1/cg"))
    assert members_of(parts.heldout, three()) == (Member("c/r1/cg"),)


def test_a_split_file_with_the_same_meaning_has_the_same_digest(tmp_path):
    one, two, other = (tmp_path / name for name in ("one.toml", "two.toml", "other.toml"))
    one.write_text('[[train]]\ndataset = "a/r1/cg"\nstop = "1 ns"\n')
    two.write_text('# said differently\n[[train]]\nstop = "1000 ps"\ndataset = "a/r1/cg"\n')
    other.write_text('[[train]]\ndataset = "a/r1/cg"\nstop = "999 ps"\n')
    assert Split.load(one).digest == Split.load(two).digest != Split.load(other).digest


def test_every_mistake_in_a_split_file_is_reported_at_once(tmp_path):
    path = tmp_path / "bad.toml"
    path.write_text('[[train]]\ndataset = "a"\nstrt = "1 ps"\n[[heldout]]\nsystem = "b"\nstop = "5"\n[[validation]]\n')
    with pytest.raises(InputError) as caught:
        Split.load(path)
    text = str(caught.value)
    assert 'did you mean "start"' in text
    assert "expected a time with its unit" in text
    assert "dataset =" in text
    assert text.startswith(f"{path}: 3 problems")


def test_a_name_that_is_not_in_the_catalog_is_an_error_with_a_suggestion():
    with pytest.raises(InputError, match='did you mean "a/r1/cg"'):
        split(train=[{"dataset": "a/r2/cg"}]).train.members(three())


@pytest.mark.parametrize("part", ["train", "validation", "heldout"])
def test_no_part_gives_held_out_data_to_a_fit(part):
    rules = {"train": [{"dataset": "a/r1/cg"}], "heldout": [{"dataset": "c/r1/cg"}]}
    rules[part] = [*rules.get(part, []), {"dataset": "c/*"}] if part != "heldout" else rules["heldout"]
    with pytest.raises(InputError, match=r"c/r1/cg   held out"):
        getattr(split(**rules), part).members(three())


def test_another_level_of_a_held_out_run_is_refused_too():
    entries = catalog(Entry("a/r1/cg"), Entry("c/r1/cg"), Entry("c/r1/atoms"))
    with pytest.raises(InputError, match="held out"):
        split(train=[{"dataset": "c/r1/atoms"}], heldout=[{"dataset": "c/r1/cg"}]).train.members(entries)


def test_blocks_of_time_of_one_run_may_be_in_different_parts():
    parts = split(
        train=[{"dataset": "a/r1/cg", "stop": "50 ps"}], heldout=[{"dataset": "a/r1/cg", "start": "60 ps"}], gap="5 ps"
    )
    (member,) = parts.train.members(three())
    assert member.frames(np.arange(100.0)) == slice(0, 50)
    check_leak(parts, three())


def test_one_frame_in_two_tables_of_a_part_is_an_error():
    with pytest.raises(InputError, match="named twice"):
        split(train=[{"dataset": "a/r1/cg"}, {"dataset": "a*"}]).train.members(three())


def test_a_sound_split_has_no_leak():
    check_leak(split(train=[{"dataset": "a*"}, {"dataset": "b*"}], heldout=[{"dataset": "c*"}]), three())


@pytest.mark.parametrize("parts", [("train", "heldout"), ("train", "validation"), ("validation", "heldout")])
def test_the_same_dataset_in_two_parts_is_a_leak(parts):
    rules = {"train": [{"dataset": "b/r1/cg"}]} | {part: [{"dataset": "a/r1/cg"}] for part in parts}
    with pytest.raises(InputError, match="the same run at the same time"):
        check_leak(split(**rules), three())


@pytest.mark.parametrize(
    ("stop", "start", "gap", "reason"),
    [
        ("60 ps", "50 ps", "5 ps", "same time"),
        ("50 ps", "50 ps", None, "state a gap"),
        ("50 ps", "50 ps", "0 ps", "only 1 ps apart"),
        ("50 ps", "53 ps", "5 ps", "only 4 ps apart"),
    ],
)
def test_blocks_of_time_that_overlap_or_touch_are_a_leak(stop, start, gap, reason):
    rules = {"train": [{"dataset": "a*", "stop": stop}], "heldout": [{"dataset": "a*", "start": start}]}
    with pytest.raises(InputError, match=reason):
        check_leak(split(**rules, **({} if gap is None else {"gap": gap})), three())


def test_the_same_source_file_under_two_names_is_a_leak():
    entries = catalog(Entry("a/r1/cg", source="5f3a"), Entry("b/r1/cg", source="5f3a"))
    with pytest.raises(InputError, match=r"same source file, sha256 5f3a"):
        check_leak(split(train=[{"dataset": "a*"}], heldout=[{"dataset": "b*"}]), entries)


def test_single_frames_with_the_same_content_are_a_leak(tmp_path, add_dataset):
    for name, first in (("a/r1/cg", 0), ("b/r1/cg", 97)):
        # Frame k of the one is frame k - 97 of the other.
        position = np.broadcast_to(0.01 * np.arange(first, first + 100)[:, None, None], (100, 4, 3))
        add_dataset(tmp_path, name, position=position)
    one, two = (Entry(name, location=tmp_path / name) for name in ("a/r1/cg", "b/r1/cg"))
    parts = split(train=[{"dataset": "a*"}], heldout=[{"dataset": "b*"}])
    with pytest.raises(InputError, match="3 frames have the same content"):
        check_leak(parts, catalog(one, two))
    early = split(train=[{"dataset": "a*", "stop": "97 ps"}], heldout=[{"dataset": "b*"}])
    check_leak(early, catalog(one, two))


def test_importing_splits_and_plans_does_not_import_torch():
    import subprocess
    import sys

    code = "import sys, cgstore.learn.plan; from cgstore.learn import Split; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
