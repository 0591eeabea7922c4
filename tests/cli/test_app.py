"""The program as a whole: exit codes, one message per error, help, JSON."""

import errno
import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cgstore.cli import shell as shell_module
from cgstore.cli.app import app, main

# Commands stand side by side, but for those of a group with a name, such as `recipe`.
COMMANDS = sorted(command.callback.__name__ for group in app.registered_groups if not isinstance(group.name, str)
                  for command in group.typer_instance.registered_commands)  # fmt: skip


def run(*words: str, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cgstore", *words],
        cwd=cwd, env={**os.environ, **environment}, capture_output=True, text=True, timeout=120, check=False,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip


def test_the_commands_are_those_of_the_interface():
    assert {
        "demo", "doctor", "ingest", "ls", "search", "show", "schema", "verify", "distributions", "plot", "report",
        "catalog", "train", "validate", "potential",
    } <= set(COMMANDS)  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_and_the_shared_options(command, capsys):
    assert main([command, "--help"]) == 0
    text = capsys.readouterr().out
    for option in ("--store", "--json", "--quiet", "--debug"):
        assert option in text


def test_help_is_the_answer_when_nothing_is_asked(capsys):
    assert main([]) == 0
    out = capsys.readouterr().out
    assert all(command in out for command in COMMANDS)


def test_help_is_instant(tmp_path):
    used = [processor_of_children()]
    for _ in range(2):  # the first start compiles
        assert run("--help", cwd=tmp_path).returncode == 0
        used.append(processor_of_children())
    assert np.diff(used).min() < 1.0


def processor_of_children() -> float:
    """Return the seconds that processes which have ended used; those of a clock depend on what else is running."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["lss"], "Did you mean 'ls'"),
        (["ls", "--stroe", "x"], "No such option: --stroe"),
        (["ls", "surplus"], "unexpected extra argument"),
        (["ingest", "recipe.toml"], "Missing option '--archive'"),
        (["ingest", "r.toml", "--archive", ".", "--jobs", "0"], "Invalid value for '--jobs'"),
        (["search"], "Missing argument"),
        (["show"], "Missing argument"),
        (["plot", "a/b/c", "rdf"], "Missing option"),
        (["--wrong"], "No such option"),
    ],
)
def test_wrong_usage_is_one_message_and_exit_code_2(words, message, capsys):
    assert main(words) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("cgstore: ")
    assert message in captured.err
    assert "--help" in captured.err
    assert "Traceback" not in captured.err


def test_options_are_accepted_after_the_name_of_the_command_and_the_store_may_come_from_the_environment(
    tmp_path, monkeypatch, capsys
):
    assert main(["ls", "--store", str(tmp_path)]) == 0
    monkeypatch.setenv("CGSTORE_STORE", str(tmp_path / "elsewhere"))
    assert main(["ls"]) == 2
    assert "elsewhere: no such store" in capsys.readouterr().err
    monkeypatch.delenv("CGSTORE_STORE")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "store").mkdir()
    assert main(["ls", "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == []


def failing(error: BaseException, monkeypatch) -> None:
    def fail(location: str) -> None:
        raise error

    monkeypatch.setattr("cgstore.catalog.open_catalog", fail)


def test_ctrl_c_is_130_and_one_line(monkeypatch, capsys):
    failing(KeyboardInterrupt(), monkeypatch)
    assert main(["ls"]) == 130
    assert capsys.readouterr().err.count("\n") == 1


def test_an_unexpected_error_is_one_line_and_the_traceback_is_asked_for(monkeypatch, capsys):
    failing(ZeroDivisionError("oops"), monkeypatch)
    assert main(["ls"]) == 1
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert message.startswith("cgstore: ZeroDivisionError: oops;")
    assert "--debug" in message
    assert main(["ls", "--debug"]) == 1
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (PermissionError(errno.EACCES, "Permission denied", "store"), "store: permission denied; you need the right"),
        (OSError(errno.ENOSPC, "No space left on device"), "no space left on device; make room and run the same"),
        (OSError(errno.EFBIG, "File too large", b"a.trr"), "a.trr: file too large; the limit of file sizes"),
        (OSError(errno.ENOENT, "No such file or directory", "/proc/x"), "/proc/x: no such file or directory\n"),
        (OSError("the disk is on fire"), "the disk is on fire\n"),
    ],
)
def test_an_error_of_the_system_is_one_line_that_says_what_to_do(error, said, monkeypatch, capsys):
    failing(error, monkeypatch)
    assert main(["ls"]) == 1
    message = capsys.readouterr().err
    assert message.startswith(f"cgstore: {said}")
    assert message.count("\n") == 1


def test_a_reader_that_has_seen_enough_is_not_an_error(tmp_path):
    (tmp_path / "store").mkdir()
    program = f'"{sys.executable}" -m cgstore schema --json | true; echo "${{PIPESTATUS[0]}}"'
    done = subprocess.run(["bash", "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "0"
    assert done.stderr == ""


def test_the_version_is_that_of_the_package(capsys):
    from cgstore import __version__

    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"cgstore {__version__}\n"


def test_answers_are_plain_data(capsys):
    import numpy as np

    shell = shell_module.Shell("store", json=True, quiet=False, debug=False)
    answer = {"a": np.float32(0.5), "b": np.arange(2), "c": Path("x"), "d": float("nan"), 3: (True, None)}
    shell.answer(answer, "for people")
    assert json.loads(capsys.readouterr().out) == {"a": 0.5, "b": [0, 1], "c": "x", "d": None, "3": [True, None]}


def test_bars_are_for_terminals(capsys, monkeypatch):
    quiet = shell_module.Shell("store", json=False, quiet=True, debug=False)
    loud = shell_module.Shell("store", json=False, quiet=False, debug=False)
    for shell in (quiet, loud):
        with shell.progress() as progress:
            progress("run", 1, 2)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with loud.progress() as progress:
        progress("methane_112k/r1", 1, 2)
        progress("methane_112k/r1", 2, 2)
    captured = capsys.readouterr()
    assert "methane_112k/r1" in captured.err
    assert captured.out == ""
