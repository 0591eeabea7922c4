"""Nothing that is read runs code, leaves its folder, hangs, or steers a terminal: code, user files, fits, messages."""

import ast
import json
import logging
import os
import re
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import cgstore
from cgstore.catalog import open_catalog
from cgstore.cli.app import main
from cgstore.documents import Document, load_document
from cgstore.errors import InputError, IntegrityError, StoreError
from cgstore.exchange import write_potential
from cgstore.learn.folder import read_curves, read_lock
from cgstore.learn.settings import FitFile
from cgstore.readers.topologies import read_topology
from cgstore.recipe import load_recipe
from cgstore.splits.split import Split
from cgstore.store.locations import redacted
from cgstore.tables import Table

NAME = "argon/r1/cg"
SOURCE = Path(cgstore.__file__).parent


@pytest.fixture(autouse=True)
def _in_time() -> Iterator[None]:
    """Fail instead of hanging."""

    def stop(*_: object) -> None:
        raise AssertionError("it hangs")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


# What the code may not even contain ---------------------------------------------------------------------------------

# By where it may be all the same, and why.
ALLOWED = {
    ("subprocess", "demo.py"): "runs the commands of the tour: own words, no shell",
    ("subprocess", "readers/hdf5_arrays.py"): "libhdf5 crashes on damaged files and must do so elsewhere; no shell",
    ("subprocess", "readers/hdf5_topologies.py"): "the same",
    ("yaml.load", "intake_files.py"): "with the safe loader, after a look at every event",
    ("import_module", "__init__.py"): "names of a table in the same file",
    ("import_module", "learn/__init__.py"): "names of a table in the same file",
    ("import_module", "feature_tables/__init__.py"): "names of a table in the same file",
    ("import_module", "feature_tables/registry.py"): "names of a tuple in the same file",
    ("import_module", "cli/tables.py"): "what the user names on the command line, never what a file says",
    ("import_module", "feature_tables/computing.py"): "the same names, in processes of its own",
    ("import_module", "campaigns/kinds.py"): "kinds of campaigns from a table in the same package",
    ("subprocess", "engines/fluid_lammps.py"): "runs LAMMPS on input that is written here; no shell",
    ("subprocess", "engines/md_gromacs.py"): "runs GROMACS on options that are written here; no shell",
    ("multiprocessing", "campaigns/scheduling.py"): "processes of its own; nothing that was read is unpickled",
    ("multiprocessing", "feature_tables/computing.py"): "processes of its own; nothing that was read is unpickled",
}
MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "dbm", "code", "codeop", "pty"}
CALLS = {
    "eval", "exec", "compile", "__import__", "import_module", "os.system", "os.popen", "os.execv", "os.spawnv",
    "yaml.load", "yaml.unsafe_load", "yaml.full_load", "yaml.load_all", "torch.load", "np.fromregex", "runpy.run_path",
    "np.load", "read_pickle", "to_pickle",
}  # fmt: skip


def offences(path: Path) -> Iterator[str]:
    """Yield what a module imports or calls that could run what it reads."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
        if isinstance(node, ast.ImportFrom) and node.module:
            names.append(node.module)
        yield from (name for name in names if name.split(".")[0] in MODULES | {"subprocess", "multiprocessing"})
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        words = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
        if called == "np.load" and words.get("allow_pickle") == "False":
            continue
        if called == "yaml.load" and words.get("Loader") == "SafeLoader":
            yield called
            continue
        if called in CALLS or called.split(".")[-1] in CALLS & {"import_module", "read_pickle", "to_pickle"}:
            yield called.split(".")[-1] if called.endswith("import_module") else called
        if words.get("shell", "False") != "False" or words.get("allow_pickle", "False") != "False":
            yield f"{called} with a shell or pickles"
        if called.endswith("Environment") and words.get("autoescape") != "True":
            yield f"{called} without autoescape"
        if called.endswith(("open_dataset", "open_mfdataset")) and "engine" not in words:
            yield f"{called} with any engine"


def test_the_code_has_nothing_that_runs_what_it_reads():
    found = {(what, path.relative_to(SOURCE).as_posix()) for path in SOURCE.rglob("*.py") for what in offences(path)}
    assert found - set(ALLOWED) == set()
    assert set(ALLOWED) - found == set()  # an exception that nobody needs any more


def test_the_search_for_such_code_finds_it(tmp_path):
    code = """
import pickle, subprocess, importlib
from shelve import open as o
eval("1"); yaml.load(x); yaml.unsafe_load(x); np.load(f); np.load(f, allow_pickle=True); torch.load(f)
subprocess.run("ls", shell=True); Environment(); xr.open_dataset(p); importlib.import_module(name)
"""
    (tmp_path / "bad.py").write_text(code)
    assert len(list(offences(tmp_path / "bad.py"))) == 14


# Topologies ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["../secret.itp", "{folder}/secret.itp", "/etc/hostname", "a.itp"])
def test_a_topology_reads_no_other_files(tmp_path, name):
    pytest.importorskip("MDAnalysis")
    atoms = "[ moleculetype ]\nA 3\n[ atoms ]\n1 C1 1 ABC AA 1 0.0 12.0\n"
    (tmp_path / "archive").mkdir()
    (tmp_path / "secret.itp").write_text(atoms.replace("AA", "SECRET"))
    file = tmp_path / "archive/a.itp"
    file.write_text(atoms)
    assert read_topology(file).name.tolist() == ["AA"]
    file.write_text(f'{atoms}  #include "{name.format(folder=tmp_path)}"\n')
    with pytest.raises(InputError, match="found '#include"):
        read_topology(file)


def test_containers_that_can_do_more_than_be_read_are_not_topologies(tmp_path):
    pytest.importorskip("MDAnalysis")
    with sqlite3.connect(tmp_path / "a.dms") as base:
        endless = "with recursive r(n) as (select 1 union all select n from r) select n from r"
        base.execute(f"create view particle as {endless}")
    with pytest.raises(InputError, match="cannot be read"):
        read_topology(tmp_path / "a.dms")


# Fits of others ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        {"files": {"../../secret": "0"}},
        {"files": {"/etc/passwd": "0"}},
        {"files": 3},
        {"files": {"weights.npz": 3}},
        {"name": []},
        None,
        "[" * 100_000,
    ],
)
def test_a_lock_of_a_fit_is_not_believed(tmp_path, change):
    known = {"name": "x", "files": {}}
    text = change if isinstance(change, str) else json.dumps(known | change if change else [])
    (tmp_path / "lock.json").write_text(text)
    with pytest.raises(IntegrityError, match=r"lock\.json: not the lock"):
        read_lock(tmp_path)
    (tmp_path / "lock.json").write_text(json.dumps(known))
    assert read_lock(tmp_path) == known


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    places=st.lists(st.tuples(st.integers(0, 700), st.integers(0, 255)), min_size=1, max_size=4),
    end=st.integers(0, 900),
)
def test_any_bytes_are_curves_or_refused(tmp_path, places, end):
    file = tmp_path / "potential.nc"
    xr.Dataset({"energy": (("curve", "r"), np.ones((2, 30)))}, {"curve": ["network", "ibi"]}).to_netcdf(
        file, engine="scipy"
    )
    text = bytearray(file.read_bytes())
    for place, value in places:
        text[place % len(text)] = value
    file.write_bytes(bytes(text[: max(4, end)]))
    with suppress(IntegrityError):
        read_curves(file)


@pytest.mark.parametrize("kind", ["../../x", "a\nshell touch HACKED", "$(x)", "a b", "'", "a\0", "x/y", ""])
@pytest.mark.parametrize("program", ["gromacs", "lammps"])
def test_types_become_neither_paths_nor_commands(tmp_path, kind, program):
    r = np.linspace(0, 1, 11)
    table = Table(r, np.zeros(11), np.zeros(11))
    with pytest.raises(InputError, match="found the type"):
        write_potential({f"{kind}-{kind}": table}, program, tmp_path / "a/b/c", masses={kind: 1.0})
    assert list(tmp_path.iterdir()) == []


# User files ---------------------------------------------------------------------------------------------------------


class Anything(Document):
    value: Any = None
    text: str = ""


LOADERS = [
    load_recipe,
    lambda path: load_document(path, FitFile),
    Split.load,
    lambda path: load_document(path, Anything),
]
LOADER_NAMES = ["recipe", "fit", "split", "any"]


@pytest.mark.parametrize("load", LOADERS, ids=LOADER_NAMES)
@pytest.mark.parametrize(
    "text",
    [
        "a = " + "[" * 100_000,
        "a = " + "{a=" * 50_000,
        "value = " + "[" * 100 + "]" * 100,
        ".".join("a" * 2000) + " = 1",
        "value = 1e400",
        "value = nan",
        "value = -inf",
        "value = " + "9" * 5000,
        "value = 0x" + "f" * 5000,
        "value = 2020-01-01",
        "value = 10:00:00",
        'text = "\\u001b[2J"',
        'text = "a\\u0000b"',
        '"a\\u009bb" = 1',
        "\x00",
        "a = 1\na = 2",
        "[[a]]\n[a]",
        "\ufeffa = 1",
    ],
)  # fmt: skip
def test_a_hostile_user_file_is_an_input_error(tmp_path, load, text):
    (tmp_path / "file.toml").write_text(text)
    with pytest.raises(InputError, match=r"file\.toml"):
        load(tmp_path / "file.toml")


@pytest.mark.parametrize("load", LOADERS, ids=LOADER_NAMES)
@pytest.mark.parametrize("kind", ["pipe", "zero", "folder", "large", "nothing", "latin"])
def test_what_is_no_user_file_is_an_input_error(tmp_path, load, kind):
    path = tmp_path / "file.toml"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "zero":
        path.symlink_to("/dev/zero")
    elif kind == "folder":
        path.mkdir()
    elif kind == "latin":
        path.write_bytes(b"\xe4\xff")
    elif kind == "large":
        with path.open("wb") as file:
            file.truncate(2**40)
    with pytest.raises(InputError, match=r"file\.toml"):
        load(path)


VALUES = st.recursive(
    st.sampled_from(
        ['"../../x"', '"/etc/passwd"', '"a\\u0000b"', '"x"', '"20 ns"', "1e400", "-1", "9223372036854775808", "true",
         "nan", '"1e400 ns"', '"\\u202e"', "2020-01-01", '""', '"**/**"', "'[!'", "0"]
    ),
    lambda inner: st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]")
    | st.lists(inner, max_size=2).map(lambda items: "{" + ", ".join(f"k{n} = {v}" for n, v in enumerate(items)) + "}"),
    max_leaves=4,
)  # fmt: skip
KEYS = st.sampled_from(
    ["name", "kind", "title", "topology", "trajectory", "discard", "levels", "precision", "POPC", "dataset", "system",
     "start", "split", "spec", "seed", "cutoff", "tolerance", "hidden", '"a b"', '"../x"',
     "composition", "parameters", "copy"]
)  # fmt: skip
TABLES = st.sampled_from(
    [
        "system",
        "run",
        "mapping",
        "store",
        "masses",
        "train",
        "heldout",
        "potential",
        "sampling",
        "training",
        "validation",
    ]
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(TABLES, st.booleans(), st.dictionaries(KEYS, VALUES, max_size=5)), max_size=5))
@example([("system", False, {"name": '"../../x"'}), ("run", True, {"topology": '"/etc/passwd"'})])
def test_any_tables_are_read_or_refused_with_a_message(tmp_path, tables):
    lines = []
    for name, several, values in tables:
        lines += [f"[[{name}]]" if several else f"[{name}]", *(f"{key} = {value}" for key, value in values.items())]
    (tmp_path / "file.toml").write_text("\n".join(lines))
    for load in LOADERS:
        try:
            load(tmp_path / "file.toml")
        except InputError as error:
            if "file.toml" not in str(error):
                raise AssertionError("the message does not say where") from error


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("trajectory", '["../secret.xtc"]'),
        ("trajectory", '["/secret.xtc"]'),
        ("trajectory", '["a/../../*.xtc"]'),
        ("topology", '"../secret.gro"'),
        ("topology", '"a\\u0000.gro"'),
        ("name", '"../x"'),
        ("name", '"a/b"'),
    ],
)
def test_a_recipe_leads_out_of_neither_archive_nor_store(tmp_path, capsys, key, value):
    (tmp_path / "archive").mkdir()
    (tmp_path / "secret.xtc").write_bytes(b"mine")
    (tmp_path / "secret.gro").write_bytes(b"mine")
    run = {"name": '"r1"', "topology": '"a.gro"', "trajectory": '["a.xtc"]', key: value}
    lines = ["[system]", 'name = "x"', 'kind = "liquid"', "[[run]]", *(f"{k} = {v}" for k, v in run.items())]
    (tmp_path / "recipe.toml").write_text("\n".join(lines))
    words = ["ingest", str(tmp_path / "recipe.toml"), "--archive", str(tmp_path / "archive")]
    assert main([*words, "--store", str(tmp_path / "store")]) == 2
    assert "Traceback" not in capsys.readouterr().err
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "a\\u0000b", "..", "x/y", ""])
def test_the_name_of_a_mapping_is_no_path(tmp_path, name):
    (tmp_path / "recipes").mkdir()
    (tmp_path / "mappings").mkdir()
    (tmp_path / "secret.toml").write_text('molecule = "POPC"')
    text = '[system]\nname = "x"\nkind = "liquid"\n[[run]]\nname = "r1"\ntopology = "a"\ntrajectory = ["b"]\n'
    (tmp_path / "recipes/x.toml").write_text(f'{text}[mapping]\nPOPC = "{name}"\n[store]\nlevels = ["cg"]')
    with pytest.raises(InputError, match=r"no such file|control characters"):
        load_recipe(tmp_path / "recipes/x.toml")


# Terminals, pages and secrets ---------------------------------------------------------------------------------------

STEERING = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
TITLE = "\x1b]0;owned\x07\x1b[2J\x9b31mred\u202eltr\x7f\nsound: 0 problems\r<script>alert(1)</script>$\\undefined{$"


@pytest.mark.parametrize("mode", [[], ["--json"], ["--debug"]])
def test_what_a_store_says_does_not_steer_the_terminal(tmp_path, add_dataset, capsys, mode):
    store = tmp_path / "store"
    add_dataset(store, NAME, title=TITLE, tags=[TITLE], forcefield=TITLE, composition={TITLE: 3}, parameters={TITLE: 1})
    (store / "\x1b[2Jbad" / "r1" / "cg" / "v000001").mkdir(parents=True)
    for words in (
        ["ls"],
        ["show", NAME],
        ["schema"],
        ["search", "kind=liquid"],
        ["verify"],
        ["show", "\x1b[2J"],
        ["gc"],
    ):
        main([*words, "--store", str(store), *mode])
        said = capsys.readouterr()
        assert not STEERING.search(said.out + said.err), words
        if mode == ["--json"] and said.out:
            json.loads(said.out)
        elif mode == []:
            assert "\nsound: 0 problems" not in said.out


def test_titles_are_text_in_pages(tmp_path, add_dataset):
    from cgstore.report import write_report

    store = tmp_path / "store"
    add_dataset(store, NAME, title=TITLE, composition={TITLE: 3}, sources=[{"path": TITLE, "size": 1, "digest": TITLE}])
    assert "<script>" not in write_report(store, tmp_path / "page").read_text()
    catalog = open_catalog(store)
    assert "<script>" not in catalog._repr_html_() + catalog[NAME]._repr_html_()
    assert "<script>" not in catalog[NAME].open()._repr_html_()


def test_tracebacks_and_logs_do_not_repeat_secrets(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2hunter2")
    url = "http://me:pass@word@host/bucket?X-Amz-Signature=abcdef"

    def fail(*_: object, **__: object) -> None:
        logging.getLogger("cgstore.catalog").warning("%s with hunter2hunter2", url)
        try:
            raise RuntimeError(f"Could not connect to the endpoint URL: {url}")
        except RuntimeError as error:
            raise StoreError(f"{url}: refused for hunter2hunter2") from error

    monkeypatch.setattr("cgstore.catalog.open_catalog", fail)
    assert main(["ls", "--store", str(tmp_path), "--debug"]) == 1
    said = capsys.readouterr()
    assert "Traceback" in said.err
    assert "RuntimeError" in said.err
    for secret in ("hunter2", "pass", "word@", "abcdef"):
        assert secret not in said.err + said.out
    assert (
        redacted("see https://docs.example/page and http://host/a@b")
        == "see https://docs.example/page and http://host/a@b"
    )
