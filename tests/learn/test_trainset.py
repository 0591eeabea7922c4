"""The training-set lock: what it says, and that everything that changed since is refused with what changed."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from cgstore.averages.keeping import kept_statistics, statistics_key
from cgstore.averages.spec import Spec
from cgstore.catalog import open_catalog
from cgstore.documents import digest
from cgstore.errors import InputError, IntegrityError
from cgstore.feature_tables import build_table, open_table
from cgstore.frames import Frames
from cgstore.learn import Loader, RowLoader, Split, feature_keys
from cgstore.learn.normalisation import fit_normalisation
from cgstore.learn.trainset import FILE, TrainingSet
from cgstore.splits.freezing import lock_path
from cgstore.splits.split import freeze
from cgstore.store.versions import stage

TEXT = """
gap = "4 ps"
[[heldout]]
system = "held*"
[blocks]
system = "a*"
train = 0.7
validation = 0.3
"""
WHOLE = '[[train]]\nsystem = "a*"\n[[heldout]]\nsystem = "held*"\n'
SPEC = Spec(rdf={"r_max": "1 nm", "bin_width": "0.05 nm"})
TABLE = {"name": "states", "datasets": {"kind": "liquid"}, "columns": {"state": {"feature": "state_point"}}}


@pytest.fixture(scope="module")
def template(tmp_path_factory, add_dataset) -> Path:
    """Make a folder with a store of three runs, a split file and the lock of a training set."""
    folder = tmp_path_factory.mktemp("template")
    for seed, name in enumerate(("a", "a2", "held")):
        add_dataset(folder / "store", f"{name}/r1/cg", seed=seed, frames=20, temperature=300.0)
    (folder / "split.toml").write_text(TEXT)
    TrainingSet.of(catalog_of(folder), split_of(folder), seed=1).write(folder / "lock")
    return folder


@pytest.fixture
def project(template, tmp_path, monkeypatch) -> Path:
    """Copy the folder, so that a test may change it."""
    monkeypatch.chdir(tmp_path)
    return shutil.copytree(template, tmp_path, dirs_exist_ok=True)


def catalog_of(project):
    return open_catalog(project / "store")


def split_of(project, text=TEXT):
    (project / "split.toml").write_text(text)
    return Split.load(project / "split.toml")


def grow(project, name):
    with stage(project / "store" / name, base=1) as staged:
        box = np.tile(np.eye(3, dtype=np.float32) * 3, (2, 1, 1))
        staged.append(Frames(np.ones((2, 20, 3), np.float32), np.array([40.0, 42.0]), np.array([20, 21]), box=box))
        staged.publish()


def refused(project, text=TEXT, **given):
    """Return the message with which a lock of the project is refused now."""
    with pytest.raises(InputError) as caught:
        TrainingSet.read(project).verify(catalog_of(project), split_of(project, text), **given)
    return str(caught.value)


def test_the_lock_says_what_is_learned_from_and_of_held_out_data_only_which_they_are(project):
    catalog, split = catalog_of(project), split_of(project)
    loader = Loader(catalog, split.train, batch_size=4, seed=3)
    norm = fit_normalisation(catalog, split.train, ["position"])
    made = TrainingSet.of(catalog, split, loader=loader, features=SPEC, normalisation=norm, seed=3)
    path = made.write(project / "run")
    assert path == project / "run" / FILE
    content = json.loads(path.read_text())
    assert content["split"] == split.digest
    entry = catalog["a/r1/cg"]
    member = split.train.members(catalog)[0]
    first = {"name": "a/r1/cg", "start": None, "stop": member.stop, "frames": 12}
    assert content["parts"]["train"][0] == first | {"version": 1, "digest": entry.metadata["digest"]}
    assert [row["name"] for row in content["parts"]["validation"]] == ["a/r1/cg", "a2/r1/cg"]
    held = catalog["held/r1/cg"].metadata["digest"]
    assert content["parts"]["heldout"] == [{"name": "held/r1/cg", "version": 1, "digest": held}]
    ds = entry.open()
    block = ds.isel(frame=member.frames(ds["time"].values))
    assert content["features"]["statistics"]["keys"][member.words] == statistics_key(block, SPEC)
    assert content["loader"] == {"plan": loader.plan.digest, "batch_size": 4, "window": 16, "streams": 8, "seed": 3} | {
        "samples": 24
    }
    assert content["normalisation"] == digest(norm.plain())
    assert content["seed"] == 3
    assert {"cgstore", "numpy"} <= set(content["software"])
    assert TrainingSet.read(project / "run").plain() == made.plain()
    TrainingSet.read(project / "run").verify(catalog, split, loader=loader, features=SPEC, normalisation=norm, seed=3)


def test_the_key_of_whole_runs_is_that_of_the_kept_statistics(project):
    catalog = catalog_of(project)
    entry = catalog["a/r1/cg"]
    kept_statistics(entry.path, entry.open(), SPEC)
    made = TrainingSet.of(catalog, split_of(project, WHOLE), features=SPEC)
    key = made.features["statistics"].keys["a/r1/cg"]
    assert (entry.path / "features" / f"statistics-{key[:16]}").is_dir()


def test_a_dataset_that_changed_or_is_gone_is_named_with_both_versions(project):
    TrainingSet.of(catalog_of(project), split_of(project), seed=3).write(project)
    before = {name: catalog_of(project)[name].metadata["digest"][:12] for name in ("a/r1/cg", "held/r1/cg")}
    grow(project, "a/r1/cg")
    grow(project, "held/r1/cg")
    message = refused(project, seed=4)
    for part, name in (("train", "a/r1/cg"), ("validation", "a/r1/cg"), ("heldout", "held/r1/cg")):
        now = catalog_of(project)[name].metadata["digest"][:12]
        words = f"found version 2, digest {now}; made with version 1, digest {before[name]}"
        assert f"{part} {name}   {words}" in message
    assert "seed   found 4; made with 3" in message
    assert len(message.splitlines()) == 5
    (project / "store/a").rename(project / "away")
    assert "train a/r1/cg   is not in this store; made with version 1" in refused(project)


def test_a_dataset_that_came_is_named_unless_the_split_is_frozen(project, add_dataset):
    TrainingSet.of(catalog_of(project), split_of(project)).write(project)
    freeze(project / "split.toml", catalog_of(project))
    add_dataset(project / "store", "a3/r1/cg", seed=9, frames=20, temperature=300.0)
    TrainingSet.read(project).verify(catalog_of(project), Split.load(project / "split.toml"))
    lock_path(project / "split.toml").unlink()
    assert "train a3/r1/cg   was no part of it; found version 1" in refused(project)


def test_another_split_is_refused_with_the_blocks_that_moved(project):
    TrainingSet.of(catalog_of(project), split_of(project)).write(project)
    TrainingSet.read(project).verify(catalog_of(project), split_of(project, "# a remark\n" + TEXT))
    message = refused(project, TEXT.replace("0.7", "0.6").replace("0.3", "0.4").replace('"a*"', '"a"'))
    assert re.search(r"split   found digest \w{12}; made with \w{12}", message)
    assert re.search(r"train a/r1/cg   found a/r1/cg \[-inf, 20.4\) ps; made with a/r1/cg \[-inf, 23.8\) ps", message)
    assert "train a2/r1/cg   is no part of it now; made with version 1" in message


def test_a_store_may_lack_what_a_frozen_split_holds_out(project):
    freeze(project / "split.toml", catalog_of(project))
    split = Split.load(project / "split.toml")
    (project / "store/held").rename(project / "away")
    made = TrainingSet.of(catalog_of(project), split)
    assert [used.member.name for used in made.parts["heldout"]] == ["held/r1/cg"]
    made.write(project)
    TrainingSet.read(project).verify(catalog_of(project), split)


def test_held_out_data_do_not_get_into_a_training_set(project):
    text = '[[train]]\nsystem = "*"\n[[heldout]]\nsystem = "held*"\n'
    with pytest.raises(InputError, match="held/r1/cg   held out by"):
        TrainingSet.of(catalog_of(project), split_of(project, text))


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"seed": 4}, "loader seed   found 4; made with 3"),
        ({"batch_size": 8}, "loader batch_size   found 8; made with 4"),
        ({"streams": 4}, "loader streams   found 4; made with 8"),
        ({"lag": 1}, "loader samples   found 22; made with 24"),
        ({"part": "validation"}, "loader samples   found "),
    ],
)
def test_another_plan_is_refused(project, settings, line):
    catalog, split = catalog_of(project), split_of(project)
    usual = {"batch_size": 4, "seed": 3}
    TrainingSet.of(catalog, split, loader=Loader(catalog, split.train, **usual)).write(project)
    part = getattr(split, settings.get("part", "train"))
    assert line in refused(
        project, loader=Loader(catalog, part, **usual | {k: v for k, v in settings.items() if k != "part"})
    )


def test_other_statistics_are_refused(project, monkeypatch):
    TrainingSet.of(catalog_of(project), split_of(project), features=SPEC).write(project)
    other = Spec(rdf={"r_max": "1 nm", "bin_width": "0.1 nm"})
    message = refused(project, features=other)
    assert re.search(r"feature statistics of a2/r1/cg \[.*\) ps   found key \w{12}; made with \w{12}", message)
    monkeypatch.setattr(feature_keys, "VERSION", 99)
    assert "feature statistics   found version 99; made with version 1" in refused(project, features=SPEC)


def test_another_feature_table_is_refused_and_so_are_rows_of_other_content(project):
    build_table(project / "store", TABLE)
    table, split = open_table(project / "store", "states"), split_of(project, WHOLE)
    rows = RowLoader(table, catalog_of(project), split.train, batch_size=2, columns=["temperature"])
    TrainingSet.of(catalog_of(project), split, loader=rows, features=table).write(project)
    TrainingSet.read(project).verify(catalog_of(project), split, loader=rows, features=table)

    other = table.assign_coords(key=table["key"].copy(data=table["key"].values + np.uint64(1)))
    message = refused(project, WHOLE, features=other)
    assert re.search(r"feature state of a/r1/cg   found key \w{12}; made with \w{12}", message)
    warmer = table.assign(temperature=table["temperature"] + 1)
    changed = RowLoader(warmer, catalog_of(project), split.train, batch_size=2, columns=["temperature"])
    assert "loader   found plan" in refused(project, WHOLE, loader=changed)
    assert "feature statistics   was no part of it" in refused(project, WHOLE, features=[table, SPEC])

    with pytest.raises(InputError, match="found a dataset without the keys"):
        TrainingSet.of(catalog_of(project), split, features=table.drop_vars("key"))
    with pytest.raises(InputError, match="the table has no row of a2/r1/cg"):
        TrainingSet.of(catalog_of(project), split, features=table.sel(system=["a/r1/cg"]))
    grow(project, "a/r1/cg")
    with pytest.raises(InputError, match=r"row of a/r1/cg was made from the content .* has version 2"):
        TrainingSet.of(catalog_of(project), split, features=table)


def test_another_normalisation_is_refused(project):
    catalog, split = catalog_of(project), split_of(project)
    TrainingSet.of(catalog, split, normalisation=fit_normalisation(catalog, split.train, ["position"])).write(project)
    other = fit_normalisation(catalog, split.train, ["box"])
    assert re.search(r"normalisation   found \w{12}; made with \w{12}$", refused(project, normalisation=other))


def test_writing_again_compares_and_never_replaces(project):
    catalog, split = catalog_of(project), split_of(project)
    path = TrainingSet.of(catalog, split, seed=1).write(project)
    before = path.read_bytes()
    assert TrainingSet.of(catalog, split, seed=1).write(project) == path
    with pytest.raises(InputError, match=r"trainset\.lock: the training set is another one now.*\n  seed   found 2"):
        TrainingSet.of(catalog, split, seed=2).write(project)
    grow(project, "a2/r1/cg")
    with pytest.raises(InputError, match=r"train a2/r1/cg   found version 2, digest .*; made with version 1"):
        TrainingSet.of(catalog_of(project), split, seed=1).write(project)
    assert path.read_bytes() == before


def _edited(content):
    content["parts"]["train"][0]["digest"] = "0" * 64


def _without_parts(content):
    del content["parts"]


def _of_another_kind(content):
    content["loader"] = [1]
    _seal(content)


def _with_a_name_of_another_kind(content):
    content["parts"]["train"][0]["name"] = 3
    _seal(content)


def _seal(content):
    del content["digest"]
    content["digest"] = digest(content)


@pytest.mark.parametrize("damage", [_edited, _without_parts, _of_another_kind, _with_a_name_of_another_kind])
def test_a_damaged_lock_is_refused(template, tmp_path, damage):
    content = json.loads((template / "lock" / FILE).read_text())
    damage(content)
    (tmp_path / FILE).write_text(json.dumps(content))
    with pytest.raises(IntegrityError, match=r"trainset\.lock: (edited by hand|not the lock)"):
        TrainingSet.read(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "[" * 100_000, "{}", '{"digest": 3}'])
def test_what_is_no_lock_is_not_believed(tmp_path, text):
    (tmp_path / FILE).write_text(text)
    with pytest.raises(IntegrityError, match=r"trainset\.lock: not the lock"):
        TrainingSet.read(tmp_path)
    (tmp_path / FILE).unlink()
    with pytest.raises(InputError, match=r"trainset\.lock: no such file"):
        TrainingSet.read(tmp_path)
