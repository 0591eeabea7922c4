"""A frozen split is what it was, or is refused; the promise binds every split near it."""

import json
from pathlib import Path

import numpy as np
import pytest

from cgstore.catalog import open_catalog
from cgstore.errors import InputError, IntegrityError
from cgstore.frames import Frames
from cgstore.splits import fingerprint
from cgstore.splits.freezing import changes_of_meaning, lock_path
from cgstore.splits.members import Member
from cgstore.splits.split import Split, check_leak, find_leaks, freeze, members_of
from cgstore.store import opening
from cgstore.store.opening import read_marks
from cgstore.store.versions import stage

TEXT = """
gap = "4 ps"
[[heldout]]
system = "held*"
[blocks]
train = 0.7
validation = 0.3
"""


@pytest.fixture(autouse=True)
def _no_promise(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # a split made in Python stands in the current folder


@pytest.fixture
def project(tmp_path, add_dataset) -> Path:
    """Make a folder with a store of two runs and a split file."""
    for seed, name in enumerate(("a", "held")):
        add_dataset(tmp_path / "store", f"{name}/r1/cg", seed=seed, frames=20)
    (tmp_path / "catalogs/splits").mkdir(parents=True)
    (tmp_path / "catalogs/splits/s.toml").write_text(TEXT)
    return tmp_path


def split_file(project: Path) -> Path:
    return project / "catalogs/splits/s.toml"


def catalog_of(project: Path):
    return open_catalog(project / "store")


def grow(project: Path, name: str) -> None:
    with stage(project / "store" / name, base=1) as staged:
        time, box = np.array([40.0, 42.0]), np.tile(np.eye(3, dtype=np.float32) * 3, (2, 1, 1))
        staged.append(Frames(np.ones((2, 20, 3), np.float32), time, np.array([20_000, 21_000]), box=box))
        staged.publish()


def test_a_frozen_split_gives_what_it_gave_also_when_systems_come(project, add_dataset):
    before = [members_of(part, catalog_of(project)) for part in Split.load(split_file(project)).parts()]
    split, written = freeze(split_file(project), catalog_of(project))
    assert written
    assert freeze(split_file(project), catalog_of(project))[1] is False
    add_dataset(project / "store", "b/r1/cg", seed=5)
    catalog = catalog_of(project)
    assert [members_of(part, catalog) for part in split.parts()] == before
    assert split.train.members(catalog) == (Member("a/r1/cg", stop=before[0][0].stop),)
    check_leak(split, catalog)
    assert {(w.kind, w.datasets[0].split()[0]) for w in find_leaks(split, catalog).warnings} == {
        ("not pinned", "b/r1/cg")
    }
    split_file(project).with_suffix(".lock").unlink()
    assert len(Split.load(split_file(project)).train.members(catalog)) == 2


def test_to_look_for_leaks_and_to_pin_each_dataset_is_read_once(project, add_dataset, monkeypatch):
    for name in ("b", "c"):
        add_dataset(project / "store", f"{name}/r1/cg", seed=ord(name), frames=20)
    split_file(project).write_text('[systems]\ntrain = 0.5\nvalidation = 0.5\n[[heldout]]\nsystem = "held*"')
    read, opened = [], []
    monkeypatch.setattr(fingerprint, "read_marks", lambda *args, **how: read.append(args) or read_marks(*args, **how))
    monkeypatch.setattr(opening, "open_version", opened.append)
    freeze(split_file(project), catalog_of(project))
    assert len(read) == len(set(read)) == 4
    assert not opened


def test_a_frozen_split_that_says_something_else_is_refused_with_what_changed(project):
    freeze(split_file(project), catalog_of(project))
    split_file(project).write_text("# only a remark\n" + TEXT)
    Split.load(split_file(project))
    split_file(project).write_text(TEXT.replace("0.7", "0.6").replace("0.3", "0.4").replace('"held*"', '"he*"'))
    with pytest.raises(InputError, match="changed since it was frozen") as caught:
        Split.load(split_file(project))
    for line in ("blocks[0].train   was 0.7, is 0.6", "heldout[0].system   was 'held*', is 'he*'"):
        assert line in str(caught.value)
    split, written = freeze(split_file(project), catalog_of(project), again=True)
    assert written
    assert split.train.members(catalog_of(project))[0].stop < 27


@pytest.mark.parametrize("name", ["a/r1/cg", "held/r1/cg"])
def test_a_frozen_split_whose_data_changed_is_refused_with_what_changed(project, name):
    split, _ = freeze(split_file(project), catalog_of(project))
    grow(project, name)
    with pytest.raises(InputError, match=f"{name}   found version 2 with 22 frames, digest .* frozen was version 1"):
        split.train.members(catalog_of(project))
    freeze(split_file(project), catalog_of(project), again=True)
    Split.load(split_file(project)).train.members(catalog_of(project))


def test_a_store_may_lack_what_a_frozen_split_holds_out_but_not_what_it_trains_on(project):
    split, _ = freeze(split_file(project), catalog_of(project))
    (project / "store/held").rename(project / "away")
    assert len(split.train.members(catalog_of(project))) == 1
    with pytest.raises(InputError, match="heldout held/r1/cg   is not in this store"):
        members_of(split.heldout, catalog_of(project))
    (project / "store/a").rename(project / "away2")
    with pytest.raises(InputError, match="train a/r1/cg   is not in this store"):
        split.train.members(catalog_of(project))


@pytest.mark.parametrize("kind", ["edited", "cut", "list", "empty", "name", "huge", "folder"])
def test_an_edited_or_damaged_lock_is_refused(project, kind):
    freeze(split_file(project), catalog_of(project))
    path = lock_path(split_file(project))
    content = json.loads(path.read_text())
    if kind == "edited":
        content["parts"]["train"][0]["stop"] = None
        path.write_text(json.dumps(content))
    elif kind in ("name", "huge"):
        content["parts"]["train"][0] |= {"name": 3} if kind == "name" else {"start": 10**400}
        path.write_text(json.dumps(content))
    elif kind == "folder":
        path.unlink()
        path.mkdir()
    else:
        path.write_text({"cut": path.read_text()[:-40], "list": "[1]", "empty": ""}[kind])
    with pytest.raises(IntegrityError, match=r"s\.lock"):
        Split.load(split_file(project))


def test_a_split_that_leaks_is_not_frozen(project):
    split_file(project).write_text(TEXT + '[[train]]\nsystem = "held"\n')
    with pytest.raises(InputError, match="1 leak"):
        freeze(split_file(project), catalog_of(project))
    assert not lock_path(split_file(project)).exists()


def test_what_changed_is_said_by_place():
    old = {"train": [{"where": {"t": [1, 2]}}, {"system": "a"}], "gap": [5.0, None, ""]}
    new = {"train": [{"where": {"t": [1, 3]}}], "gap": [5.0, None, ""], "heldout": [{"system": "b"}]}
    assert changes_of_meaning(old, new) == [
        "heldout[0].system   is new: 'b'",
        "train[0].where.t   was [1, 2], is [1, 3]",
        "train[1].system   is gone, was 'a'",
    ]


# The standing promise -----------------------------------------------------------------------------------------------

PROMISE = '[[heldout]]\nsystem = "a"\nwhy = "the final exam"\n'


def promise(folder: Path, text: str = PROMISE) -> Path:
    path = folder / "catalogs/heldout.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


TRAIN_A = {"train": [{"dataset": "a/r1/cg"}]}


def test_promised_data_are_refused_whatever_the_split_says(project):
    assert Split.from_dict(TRAIN_A).train.members(catalog_of(project))
    path = promise(project)
    split = Split.from_dict(TRAIN_A)
    with pytest.raises(InputError, match=r"a/r1/cg   held out for good by .*heldout\.toml.*: the final exam"):
        split.train.members(catalog_of(project))
    with pytest.raises(InputError, match="train a/r1/cg: held out for good"):
        check_leak(split, catalog_of(project))
    # What holds them out may ask about them, as validate --on heldout does.
    asked = Split.from_dict({"train": [{"system": "held"}], "heldout": [{"system": "a"}]})
    assert members_of(asked.heldout, catalog_of(project)) == (Member("a/r1/cg"),)
    check_leak(asked, catalog_of(project))
    path.unlink()
    assert split.train.members(catalog_of(project))


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ('[[heldout]]\ndataset = "a/r1/atoms"\n', False),  # another level of the same run
        ('[[heldout]]\ndataset = "a*"\n', False),
        ('[[heldout]]\nwhere = { temperature = "..310" }\n', False),
        ('[[heldout]]\nwhere = { temperature = "310.." }\n', True),
        ("[[heldout]]\nwhere = { nobody_has_this = 3 }\n", True),
        ('[[heldout]]\ncomposition = { W = "100..200" }\n', False),
        ('[[heldout]]\ncomposition = { W = "..50" }\n', True),
        ('[[heldout]]\nsystem = "a"\nstart = "10 ps"\n', True),
        ('[[heldout]]\nsystem = "a"\nstart = "9 ps"\n', False),
        ('[[heldout]]\nsystem = "a"\nstop = "1 ps"\n', False),
        ('[[heldout]]\nsystem = "a"\nrun = "r2"\n', True),
    ],
)
def test_a_promise_is_made_by_any_rule(tmp_path, add_dataset, text, kept):
    add_dataset(tmp_path / "store", "a/r1/cg", temperature=300.0, composition={"W": 150})
    promise(tmp_path, text)
    train = Split.from_dict({"train": [{"dataset": "a/r1/cg", "stop": "10 ps"}]}).train
    if kept:
        assert train.members(catalog_of(tmp_path))
    else:
        with pytest.raises(InputError, match="held out for good"):
            train.members(catalog_of(tmp_path))


def test_a_promise_about_one_level_holds_for_the_others(tmp_path, add_dataset):
    add_dataset(tmp_path / "store", "a/r1/cg", tags=["exam"])
    add_dataset(tmp_path / "store", "a/r1/atoms", seed=2, tags=[])
    promise(tmp_path, '[[heldout]]\nwhere = { tags = "exam" }\n')
    with pytest.raises(InputError, match="a/r1/atoms   held out for good"):
        Split.from_dict({"train": [{"dataset": "a/r1/atoms"}]}).train.members(catalog_of(tmp_path))


def test_the_promise_nearest_above_the_split_and_above_the_store_counts(project, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "deep/splits").mkdir(parents=True)
    path = elsewhere / "deep/splits/s.toml"
    path.write_text('[[train]]\ndataset = "a/r1/cg"\n')
    catalog = catalog_of(project)
    assert Split.load(path).train.members(catalog)
    promise(elsewhere)
    with pytest.raises(InputError, match="the final exam"):
        Split.load(path).train.members(catalog)
    promise(elsewhere / "deep", '[[heldout]]\nsystem = "held"\n')  # nearer, and says something else
    assert Split.load(path).train.members(catalog)
    promise(project)
    with pytest.raises(InputError, match="the final exam"):
        Split.load(path).train.members(catalog)


def test_a_split_made_in_python_stands_in_the_current_folder(project, tmp_path_factory, monkeypatch):
    desk = tmp_path_factory.mktemp("desk")
    promise(desk)
    train = Split.from_dict(TRAIN_A).train
    assert train.members(catalog_of(project))
    monkeypatch.chdir(desk)
    with pytest.raises(InputError, match="the final exam"):
        train.members(catalog_of(project))


@pytest.mark.parametrize("text", ["[[heldout]]\n", "heldout = 3\n", "[[train]]\nsystem = 'a'\n", "\x00"])
def test_a_promise_that_cannot_be_read_lets_nothing_through(project, text):
    promise(project, text)
    with pytest.raises(InputError, match=r"heldout\.toml"):
        Split.from_dict(TRAIN_A).train.members(catalog_of(project))


def test_a_promise_that_names_nothing_here_is_a_warning(project):
    promise(project, '[[heldout]]\nsystem = "hled"\n')
    (warning,) = find_leaks(Split.from_dict(TRAIN_A), catalog_of(project)).warnings
    assert "'hled/*/cg' names no dataset of this store" in str(warning)


def test_the_shipped_promise_can_be_read_and_holds_for_the_shipped_split(seal_datasets, tmp_path):
    root = Path(__file__).parents[2]
    seal_datasets(tmp_path, [f"methane_{t}k/r1/cg" for t in (112, 130, 150)])
    split = Split.load(root / "catalogs/splits/methane.toml")
    assert [member.name for member in split.train.members(open_catalog(tmp_path))] == [
        "methane_112k/r1/cg", "methane_150k/r1/cg",
    ]  # fmt: skip
    bad = Split.load(root / "catalogs/splits/methane.toml")
    everything = tmp_path / "all.toml"
    everything.write_text('[[train]]\ndataset = "methane*"\n')
    (tmp_path / "catalogs").symlink_to(root / "catalogs")
    with pytest.raises(InputError, match="methane_130k/r1/cg   held out for good"):
        Split.load(everything).train.members(open_catalog(tmp_path))
    assert bad.heldout.rules
