"""The digest of code: it changes with what is computed, and not with words or layout."""

import sys
from importlib import import_module, invalidate_caches
from itertools import count
from pathlib import Path

import pytest

from cgstore.feature_tables.code import code_digest

SOURCE = '''
FACTOR = 2.0
OTHER = 1.0

def helper(x):
    """Help."""
    return FACTOR * x

def compute(source, parameters):
    """Say what it does."""
    # a comment
    return {"{}": helper(3.0)}

one = lambda source, parameters: {"{}": helper(1.0)}
'''
NUMBER = count()


@pytest.fixture
def digest_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(tmp_path)

    def digest(source: str, function: str = "compute") -> str:
        name = f"feature_code_{next(NUMBER)}"
        (tmp_path / f"{name}.py").write_text(source)
        invalidate_caches()
        try:
            return code_digest(getattr(import_module(name), function))
        finally:
            sys.modules.pop(name, None)

    return digest


def test_words_and_layout_do_not_count(digest_of) -> None:
    other = (
        SOURCE.replace('"""Help."""', '"""Be of help."""')
        .replace("# a comment", "# another\n\n")
        .replace("OTHER = 1.0", "")
    )
    assert digest_of(SOURCE) == digest_of(other) != ""


@pytest.mark.parametrize(
    ("old", "new"), [("helper(3.0)", "helper(4.0)"), ("FACTOR * x", "FACTOR + x"), ("FACTOR = 2.0", "FACTOR = 3.0")]
)
def test_what_is_computed_counts_also_in_functions_and_constants_beside_it(digest_of, old: str, new: str) -> None:
    assert digest_of(SOURCE) != digest_of(SOURCE.replace(old, new))


def test_a_lambda_has_code_too(digest_of) -> None:
    assert digest_of(SOURCE, "one") not in ("", digest_of(SOURCE))
    assert digest_of(SOURCE, "one") != digest_of(SOURCE.replace("helper(1.0)", "helper(2.0)"), "one")


def test_what_has_no_source_has_no_digest() -> None:
    scope: dict = {}
    exec("def f(): return 1", scope)
    assert code_digest(scope["f"]) == code_digest(len) == ""
