"""Importing is quick and does nothing; modules know each other only downwards."""

import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("torch", "MDAnalysis", "mdtraj", "matplotlib", "distributed", "pint", "pandas", "intake")
ROOT = Path(__file__).parents[1]


def run_python(program: str, cwd: Path, *options: str) -> str:
    done = subprocess.run(
        [sys.executable, *options, "-c", program], cwd=cwd, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def loaded_by(statement: str, cwd: Path) -> set[str]:
    program = f"import sys\n{statement}\nprint(*sorted({{name.split('.')[0] for name in sys.modules}}))"
    return set(run_python(program, cwd).split())


def test_import_cgstore_loads_nothing_heavy(tmp_path):
    loaded = loaded_by("import cgstore", tmp_path)
    assert not loaded & {*HEAVY, "numpy", "xarray", "zarr", "dask", "numba", "typer"}
    assert list(tmp_path.iterdir()) == []


def test_the_program_starts_without_the_numerical_packages(tmp_path):
    loaded = loaded_by("import cgstore.cli.app", tmp_path)
    assert not loaded & {*HEAVY, "numpy", "xarray", "zarr", "dask", "numba", "pydantic"}


def test_a_catalog_opens_without_optional_packages(tmp_path):
    assert not loaded_by("import cgstore.catalog", tmp_path) & {"torch", "MDAnalysis", "mdtraj", "matplotlib", "intake"}


def test_only_learn_loads_torch(tmp_path):
    names = "ingest, open_catalog, verify, rdf, bonded, distributions"
    assert "torch" not in loaded_by(f"from cgstore import {names}", tmp_path)


def test_every_public_name_is_there_and_a_wrong_one_is_not():
    import cgstore

    assert set(dir(cgstore)) == set(cgstore.__all__)
    for name in cgstore.__all__:
        assert getattr(cgstore, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'rfd'"):
        _ = cgstore.rfd


def modules() -> list[str]:
    paths = sorted((ROOT / "cgstore").rglob("*.py"))
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in paths]
    return [name for name in names if name != "cgstore.__main__"]


def test_importing_any_module_writes_nothing_starts_nothing_and_warns_of_nothing(tmp_path):
    program = """
import sys, threading, os
before = dict(os.environ)
made = []
def watch(event, arguments):
    if event in ("os.mkdir", "os.rename", "os.remove") and "__pycache__" not in str(arguments[0]):
        made.append((event, str(arguments[0])))
sys.addaudithook(watch)
own = []
for name in {names!r}:
    threads = threading.active_count()
    known = set(sys.modules)
    __import__(name)
ours = [thread for thread in threading.enumerate() if thread is not threading.main_thread()]
assert not ours, ours
print(made)
""".replace("{names!r}", repr([name for name in modules() if not name.startswith("cgstore.learn.")]))
    assert run_python(program, tmp_path, "-B", "-W", "error").strip() == "[]"
    assert list(tmp_path.iterdir()) == []


def test_modules_stay_small_enough_to_read():
    long = {path.name: count for path in (ROOT / "cgstore").rglob("*.py")
            if (count := len(path.read_text(encoding="utf-8").splitlines())) > 400}  # fmt: skip
    assert long == {}


def test_every_module_says_its_idea_and_its_names():
    import ast

    for path in sorted((ROOT / "cgstore").rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        assert ast.get_docstring(tree), f"{path}: no docstring"
        names = {target.id for node in tree.body if isinstance(node, ast.Assign)
                 for target in node.targets if isinstance(target, ast.Name)}  # fmt: skip
        if len(tree.body) > 1 and path.name != "__main__.py":
            assert "__all__" in names, f"{path}: no __all__"
