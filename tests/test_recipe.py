"""Recipes and mapping files: what is accepted, what is refused and how it is said."""

import contextlib
import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cgstore.errors import InputError
from cgstore.recipe import Recipe, load_recipe

ROOT = Path(__file__).parent.parent
RECIPES = sorted((ROOT / "ingest/recipes").glob("*.toml"))

RECIPE = """
[system]
name        = "water_300k"
kind        = "liquid"
temperature = "300 K"
composition = { HOH = 10, ION = 2 }

[[run]]
name       = "r1"
topology   = "water/system.tpr"
trajectory = ["water/a.xtc", "water/b*.xtc"]
discard    = "0.5 ns"

[mapping]
HOH = "water_1bead"
ION = "drop"
"""

MAPPING = """
molecule = "HOH"
[[bead]]
name  = "W"
atoms = ["OW", "HW1", "HW2"]
"""


def write(folder: Path, recipe: str = RECIPE, mapping: str = MAPPING) -> Path:
    """Lay out recipes/ and mappings/ as a user would; return the recipe."""
    for name, text in (("recipes/water_300k.toml", recipe), ("mappings/water_1bead.toml", mapping)):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder / "recipes/water_300k.toml"


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_shipped_recipe_is_valid_and_named_as_its_file(path: Path) -> None:
    recipe = load_recipe(path)
    assert recipe.system.name == path.stem
    assert set(recipe.mapping) == set(recipe.system.composition)
    assert "cg" in recipe.store.levels


def test_the_bead_count_is_in_the_name_of_each_shipped_mapping() -> None:
    found = {name: len(file.bead) for path in RECIPES for name, file in load_recipe(path).beads.items()}
    assert found == {"dmpc_10bead": 10, "methane_1bead": 1, "dppc_berger_12bead": 12}


def test_shipped_archive_is_what_its_checksums_say_and_small() -> None:
    lines = (ROOT / "archive/SHA256SUMS").read_text().splitlines()
    stated = {name: digest for digest, name in (line.split("  ") for line in lines)}
    files = [path for path in (ROOT / "archive").glob("*/*") if not path.name.startswith(".")]
    assert {str(path.relative_to(ROOT / "archive")) for path in files} == set(stated)
    assert all(hashlib.sha256((ROOT / "archive" / name).read_bytes()).hexdigest() == stated[name] for name in stated)
    assert sum(path.stat().st_size for path in files) < 15e6


def test_quantities_arrive_in_the_units_of_cgstore(tmp_path: Path) -> None:
    recipe = load_recipe(write(tmp_path))
    assert recipe.run[0].discard == 500.0
    assert recipe.system.temperature == 300.0
    assert recipe.system.pressure is None


def test_what_is_left_out_has_the_documented_default(tmp_path: Path) -> None:
    recipe = load_recipe(write(tmp_path))
    run = recipe.run[0]
    assert (run.stride, run.interval, run.truncated) == (1, None, "error")
    assert (run.until, run.units, run.guess_bonds) == (None, "real", False)
    assert (recipe.store.levels, recipe.store.precision) == (("atoms", "cg"), 0.001)
    assert (recipe.store.profile, recipe.store.copied, recipe.masses) == ("fast", True, {})
    assert (recipe.beads["water_1bead"].weight, recipe.beads["water_1bead"].hydrogens) == ("mass", "listed")
    assert recipe.beads["water_1bead"].bead[0].type == "W"


def test_what_may_be_stated_beyond_the_defaults(tmp_path: Path) -> None:
    run = 'discard    = "0.5 ns"\nuntil = "1 ns"\nunits = "lj"\nguess_bonds = true'
    text = RECIPE.replace('discard    = "0.5 ns"', run)
    text += '[masses]\nCG = "32.042 u"\n"C1A" = "72 amu"\nEP = "0 u"\n[store]\nprofile = "small"\ncopy = false\n'
    recipe = load_recipe(write(tmp_path, text))
    assert (recipe.run[0].until, recipe.run[0].units, recipe.run[0].guess_bonds) == (1000.0, "lj", True)
    assert recipe.masses == {"CG": 32.042, "C1A": 72.0, "EP": 0.0}
    assert (recipe.store.profile, recipe.store.copied) == ("small", False)
    plain = load_recipe(write(tmp_path / "plain"))
    assert plain.digest != recipe.digest
    assert load_recipe(write(tmp_path / "masses", RECIPE + '[masses]\nCG = "1 u"\n')).digest != plain.digest


def test_without_a_mapping_only_the_atoms_are_made(tmp_path: Path) -> None:
    recipe = load_recipe(write(tmp_path, RECIPE.split("[mapping]")[0]))
    assert recipe.store.levels == ("atoms",)
    assert recipe.mapping == {}


def test_lossless_means_no_precision(tmp_path: Path) -> None:
    assert load_recipe(write(tmp_path, RECIPE + '[store]\nprecision = "lossless"\n')).store.precision is None
    assert load_recipe(write(tmp_path, RECIPE + '[store]\nprecision = "0.1 angstrom"\n')).store.precision == 0.01


def test_the_digest_depends_on_the_meaning_only(tmp_path: Path) -> None:
    first = load_recipe(write(tmp_path / "a"))
    rewritten = (
        "# a comment\n" + RECIPE.replace('"0.5 ns"', '"500 ps"') + 'stride = 1\n[store]\nlevels = ["atoms", "cg"]\n'
    )
    rewritten = rewritten.replace("stride = 1\n", "").replace('discard    = "500 ps"', 'discard = "500 ps"\nstride = 1')
    same = load_recipe(write(tmp_path / "b", rewritten, MAPPING + 'type = "W"\nbonded_to = []\n'))
    assert same.digest == first.digest
    assert same.mapping_digest == first.mapping_digest


def test_the_mapping_digest_ignores_runs_and_file_names_but_no_atom(tmp_path: Path) -> None:
    first = load_recipe(write(tmp_path / "a"))
    other_run = load_recipe(write(tmp_path / "b", RECIPE.replace('"0.5 ns"', '"1 ns"')))
    assert other_run.mapping_digest == first.mapping_digest
    assert other_run.digest != first.digest
    other_atoms = load_recipe(write(tmp_path / "c", mapping=MAPPING.replace(', "HW2"', "")))
    assert other_atoms.mapping_digest != first.mapping_digest
    assert other_atoms.digest != first.digest
    path = write(tmp_path / "d", RECIPE.replace("water_1bead", "renamed"))
    (tmp_path / "d/mappings/water_1bead.toml").rename(tmp_path / "d/mappings/renamed.toml")
    assert load_recipe(path).mapping_digest == first.mapping_digest


def test_mappings_are_found_beside_the_recipe_then_in_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "here")
    there = tmp_path / "there/ingest/mappings"
    there.mkdir(parents=True)
    (there / "water_1bead.toml").write_text(MAPPING.replace('"W"', '"THERE"'))
    monkeypatch.chdir(tmp_path / "there")
    assert load_recipe(path).beads["water_1bead"].bead[0].name == "W"
    (tmp_path / "here/mappings/water_1bead.toml").unlink()
    assert load_recipe(path).beads["water_1bead"].bead[0].name == "THERE"


def test_a_recipe_may_be_named_relative_to_its_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path)
    monkeypatch.chdir(path.parent)
    assert load_recipe(path.name).system.name == "water_300k"


REFUSED = [
    ('name        = "water_300k"', 'name = "Water"', "system.name", "lower-case letters"),
    ('name        = "water_300k"\n', "", "system.name", "missing"),
    ('"liquid"', '"liqud"', "system.kind", 'did you mean "liquid"?'),
    ('"300 K"', '"300"', "system.temperature", "expected a temperature with its unit"),
    ('"300 K"', '"300 ps"', "system.temperature", "expected a temperature"),
    ('"300 K"', '"-3 K"', "system.temperature", "more than 0"),
    ('"300 K"', '"? K"', "system.temperature", "expected a temperature with its unit"),
    ('"300 K"', '"3 00 K"', "system.temperature", "expected a temperature with its unit"),
    ("HOH = 10", "HOH = 0", "system.composition.HOH", "found 0, expected 1 or more"),
    ("HOH = 10", "HOH = 1.5", "system.composition.HOH", "found 1.5, expected a whole number"),
    ("kind ", "kindd ", "system.kindd", 'did you mean "kind"?'),
    ("topology ", "topolgy ", "run[0].topolgy", 'did you mean "topology"?'),
    ('"water/system.tpr"', '"../system.tpr"', "run[0].topology", "inside it"),
    ('"water/system.tpr"', '"/system.tpr"', "run[0].topology", "inside it"),
    ('["water/a.xtc", "water/b*.xtc"]', "[]", "run[0].trajectory", "at least one"),
    (
        '["water/a.xtc", "water/b*.xtc"]',
        '"water/a.xtc"',
        "run[0].trajectory",
        'found "water/a.xtc", expected a list, in brackets',
    ),
    ('"0.5 ns"', "500", "run[0].discard", "with its unit"),
    ('"0.5 ns"', "500.0", "run[0].discard", "with its unit"),
    ('"0.5 ns"', '"0.5 nm"', "run[0].discard", "expected a time"),
    ('discard    = "0.5 ns"', "stride = 0", "run[0].stride", "1 or more"),
    ('discard    = "0.5 ns"', 'truncated = "kep"', "run[0].truncated", 'did you mean "keep"?'),
    ('discard    = "0.5 ns"', 'interval = "0 ps"', "run[0].interval", "more than 0"),
    ('"0.5 ns"', '"0.5 ns"\nuntil = "0.5 ns"', "run[0].until", "after discard, which is 500 ps"),
    ('"0.5 ns"', '"0.5 ns"\nuntil = 600', "run[0].until", "with its unit"),
    ('"0.5 ns"', '"0.5 ns"\nunits = "rael"', "run[0].units", 'did you mean "real"?'),
    ('"0.5 ns"', '"0.5 ns"\nguess_bonds = "yes"', "run[0].guess_bonds", 'found "yes", expected true or false'),
    ("[mapping]", "[masses]\nCG = 32.0\n[mapping]", "masses.CG", "expected a mass with its unit"),
    ("[mapping]", '[masses]\nCG = "-1 u"\n[mapping]', "masses.CG", "0 or more"),
    ("[mapping]", '[masses]\n"C G" = "1 u"\n[mapping]', "masses.C G.[key]", "without blanks"),
    ("[mapping]", '[store]\nprofile = "smal"\n[mapping]', "store.profile", 'did you mean "small"?'),
    ("[mapping]", "[store]\ncopy = 0\n[mapping]", "store.copy", "found 0, expected true or false"),
    ("[mapping]", "[store]\ncopie = false\n[mapping]", "store.copie", 'did you mean "copy"?'),
    ("[mapping]", '[store]\ncopy = false\nlevels = ["cg"]\n[mapping]', "store.copy", 'without the level "atoms"'),
    ("[mapping]", '[store]\ncopy = false\nprecision = "lossless"\n[mapping]', "store.copy", "0.001 nm"),
    (
        '"water/b*.xtc"]\ndiscard    = "0.5 ns"',
        '"water/b*.trr"]\n[store]\ncopy = false',
        "store",
        'with "water/b*.trr"; only .xtc files',
    ),
    ('"water_1bead"', '"water_2bead"', "mapping.HOH", 'did you mean "water_1bead"?'),
    ('"drop"', '"dropp"', "mapping.ION", 'did you mean "drop"?'),
    ('"water_1bead"', '"../mappings/water_1bead"', "mapping.HOH", "no such file"),
    ('"drop"', "3", "mapping.ION", "expected text in quotes"),
    ("[mapping]", "[maping]", "maping", 'did you mean "mapping"?'),
    ("[mapping]", '[store]\nlevels = ["cg", "fine"]\n[mapping]', "store", "one name for the mapped level"),
    ("[mapping]", '[store]\nprecision = "0.001"\n[mapping]', "store.precision", 'or "lossless"'),
    ("[mapping]", '[store]\nprecision = "0 nm"\n[mapping]', "store.precision", "more than 0"),
    (
        '[mapping]\nHOH = "water_1bead"\nION = "drop"',
        '[store]\nlevels = ["cg"]',
        "store",
        "there is no [mapping]",
    ),
    (
        "[mapping]",
        '[[run]]\nname = "r1"\ntopology = "a"\ntrajectory = ["b"]\n[mapping]',
        "run",
        "each run needs its own name",
    ),
    ('discard    = "0.5 ns"', 'discard    = "1e400 ns"', "run[0].discard", "too large to be a number"),
    ("[[run]]", "[system.parameters]\nsigma = [nan]\n[[run]]", "system.parameters.sigma[0]", "finite"),
]


@pytest.mark.parametrize(("old", "new", "key", "said"), REFUSED, ids=[f"{row[2]}-{row[1][:20]}" for row in REFUSED])
def test_a_wrong_recipe_is_refused_with_the_key_and_the_reason(
    tmp_path: Path, old: str, new: str, key: str, said: str
) -> None:
    assert old in RECIPE
    path = write(tmp_path, RECIPE.replace(old, new))
    with pytest.raises(InputError) as caught:
        load_recipe(path)
    lines = str(caught.value).splitlines()
    assert lines[0].startswith(f"{path}: ")
    assert any(line.startswith(f"  {key}   ") and said in line for line in lines), str(caught.value)


REFUSED_MAPPING = [
    ('molecule = "HOH"', "", "molecule", "missing"),
    ('molecule = "HOH"', 'molecule = "SOL"', "molecule", "the recipe uses it for HOH"),
    ('molecule = "HOH"', 'molecule = "HOH"\nweight = "masss"', "weight", 'did you mean "mass"?'),
    ('molecule = "HOH"', 'molecule = "HOH"\nhydrogens = "no"', "hydrogens", "expected follow | listed"),
    ("atoms =", "atom =", "bead[0].atom", 'did you mean "atoms"?'),
    ('"HW2"', '"OW"', "bead", 'atom "OW" used twice'),
    ('"HW2"]', '"HW2"]\nbonded_to = ["X"]', "bead", '"W" bonded to "X", which is no bead'),
    ('"HW2"]', '"HW2"]\nbonded_to = ["W"]', "bead", '"W" bonded to itself'),
    ('"HW2"]', '"HW2"]\n[[bead]]\nname = "W"\natoms = ["A"]', "bead", '2 beads named "W"'),
    ('["OW", "HW1", "HW2"]', "[]", "bead[0].atoms", "at least one"),
    ('"W"', '"a b"', "bead[0].name", "without blanks"),
]


@pytest.mark.parametrize(("old", "new", "key", "said"), REFUSED_MAPPING, ids=[row[3] for row in REFUSED_MAPPING])
def test_a_wrong_mapping_file_is_refused_with_the_key_and_the_reason(
    tmp_path: Path, old: str, new: str, key: str, said: str
) -> None:
    assert old in MAPPING
    path = write(tmp_path, mapping=MAPPING.replace(old, new))
    with pytest.raises(InputError) as caught:
        load_recipe(path)
    lines = str(caught.value).splitlines()
    assert lines[0].startswith(f"{tmp_path / 'mappings/water_1bead.toml'}: ")
    assert any(line.startswith(f"  {key}   ") and said in line for line in lines), str(caught.value)


def test_all_problems_of_all_files_are_reported_at_once(tmp_path: Path) -> None:
    recipe = RECIPE.replace('"liquid"', '"gas"').replace('"0.5 ns"', '"x"') + 'A = "second"\nB = "third"\n'
    path = write(tmp_path, recipe, MAPPING.replace("name  =", "nam ="))
    (tmp_path / "mappings/second.toml").write_text("not toml")
    with pytest.raises(InputError) as caught:
        load_recipe(path)
    for part in ("system.kind", "run[0].discard", "mapping.B", "bead[0].nam ", "second.toml: not a TOML file"):
        assert part in str(caught.value)


def test_missing_and_broken_recipes_are_input_errors(tmp_path: Path) -> None:
    for text, said in ((None, "no such file"), ("a = ", "not a TOML file"), ("", "system   missing")):
        path = tmp_path / "recipe.toml"
        if text is not None:
            path.write_text(text)
        with pytest.raises(InputError, match=said):
            load_recipe(path)
    with pytest.raises(InputError, match="no such file"):
        load_recipe(tmp_path)


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats() | st.sampled_from(["", "drop", "5 ps", "x/../y", "é"]),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["name", "atoms", "x"]), inner, max_size=2)
    ),
    max_leaves=4,
)


def toml(value: object) -> str:
    """Write a value as TOML; inline tables only."""
    if value is None:
        return '"none"'
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    if isinstance(value, float):
        return repr(value) if "e" not in repr(value) else "1.5"
    return json.dumps(value, ensure_ascii=False)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    where=st.sampled_from([line for line in (RECIPE + MAPPING).splitlines() if " = " in line or "  =" in line]),
    junk=JUNK,
)
def test_whatever_stands_in_a_file_the_answer_is_a_recipe_or_an_input_error(
    tmp_path: Path, where: str, junk: object
) -> None:
    changed = where.split("=", 1)[0] + "= " + toml(junk)
    path = write(tmp_path, RECIPE.replace(where, changed), MAPPING.replace(where, changed))
    with contextlib.suppress(InputError):
        assert isinstance(load_recipe(path), Recipe)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tables=st.dictionaries(st.sampled_from(["system", "run", "mapping", "store"]), JUNK, min_size=1))
def test_whatever_stands_for_a_table_the_answer_is_an_input_error(tmp_path: Path, tables: dict[str, object]) -> None:
    text = "\n".join(f"{key} = {toml(value)}" for key, value in tables.items())
    with pytest.raises(InputError):
        load_recipe(write(tmp_path, text))
