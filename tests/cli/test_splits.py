"""cgstore split show, check and freeze."""

import json

import pytest

from cgstore.cli.app import main

SPLIT = 'gap = "4 ps"\n[[heldout]]\nsystem = "c"\n[blocks]\nsystem = "[ab]"\ntrain = 0.6\nvalidation = 0.4\n'


@pytest.fixture
def desk(tmp_path, add_dataset, monkeypatch):
    for seed, name in enumerate("abc"):
        add_dataset(
            tmp_path / "store", f"{name}/r1/cg", seed=seed, frames=20, temperature=300.0 + 50 * seed,
            composition={"W": 20},
        )  # fmt: skip
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CGSTORE_STORE", raising=False)
    (tmp_path / "s.toml").write_text(SPLIT)
    return tmp_path


def answer(capsys, *words):
    code = main(["split", *words, "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_show_lists_the_parts_with_frames_times_composition_and_digest(desk, capsys):
    code, shown = answer(capsys, "show", "s.toml")
    assert code == 0
    assert shown["frozen"] is None
    assert [(row["part"], row["name"], row["frames"]) for row in shown["members"]] == [
        ("train", "a/r1/cg", 11), ("train", "b/r1/cg", 11),
        ("validation", "a/r1/cg", 7), ("validation", "b/r1/cg", 7), ("heldout", "c/r1/cg", 20),
    ]  # fmt: skip
    first = shown["members"][0]
    assert (first["first"], first["last"], first["composition"], first["temperature"]) == (0, 20, {"W": 20}, 300)
    assert len(first["digest"]) == 64
    assert main(["split", "show", "s.toml"]) == 0
    assert "train       a/r1/cg  11" in capsys.readouterr().out


def test_check_is_content_with_a_sound_split(desk, capsys):
    code, checked = answer(capsys, "check", "s.toml", "--deep")
    assert (code, checked["leaks"], checked["warnings"], checked["deep"]) == (0, [], [], True)
    assert main(["split", "check", "s.toml"]) == 0
    assert "no leak" in capsys.readouterr().out


def test_check_reports_leaks_with_exit_code_1(desk, capsys):
    (desk / "s.toml").write_text(SPLIT + '[[validation]]\nsystem = "c"\n')
    code, checked = answer(capsys, "check", "s.toml")
    assert code == 1
    assert checked["leaks"] == [
        {"kind": "same run", "parts": ["validation", "heldout"], "datasets": ["c/r1/cg", "c/r1/cg"],
         "says": "the same run at the same time"}
    ]  # fmt: skip
    assert main(["split", "check", "s.toml"]) == 1
    assert "leak: validation c/r1/cg and heldout c/r1/cg: the same run at the same time" in capsys.readouterr().out


def test_freeze_writes_a_lock_that_is_kept(desk, capsys):
    code, frozen = answer(capsys, "freeze", "s.toml")
    assert (code, frozen["written"], frozen["lock"], frozen["datasets"]) == (0, True, "s.lock", 5)
    text = (desk / "s.lock").read_bytes()
    assert answer(capsys, "freeze", "s.toml")[1]["written"] is False
    assert (desk / "s.lock").read_bytes() == text
    assert answer(capsys, "show", "s.toml")[1]["frozen"] == frozen["frozen"]
    (desk / "s.toml").write_text(SPLIT.replace("4 ps", "5 ps"))
    for command in ("show", "check", "freeze"):
        assert main(["split", command, "s.toml"]) == 2
        assert "gap   was [4.0, None, ''], is [5.0, None, '']" in capsys.readouterr().err
    assert main(["split", "freeze", "s.toml", "--again"]) == 0
    assert (desk / "s.lock").read_bytes() != text


@pytest.mark.parametrize(
    ("text", "says"),
    [(None, "no such file"), ("[[train]]\nsytem = 'a'\n", 'did you mean "system"'),
     ("[[train]]\nsystem = 'aa'\n", "matches no dataset"),
     (SPLIT.replace("4 ps", "3 correlation times"), "run cgstore distributions a/r1/cg")],
)  # fmt: skip
def test_a_mistake_is_one_message_and_exit_code_2(desk, capsys, text, says):
    (desk / "s.toml").unlink() if text is None else (desk / "s.toml").write_text(text)
    assert main(["split", "check", "s.toml"]) == 2
    error = capsys.readouterr().err
    assert says in error
    assert "Traceback" not in error


def test_a_leaky_split_is_not_frozen(desk, capsys):
    (desk / "s.toml").write_text(SPLIT + '[[validation]]\nsystem = "c"\n')
    assert main(["split", "freeze", "s.toml"]) == 2
    assert "1 leak between the parts" in capsys.readouterr().err
    assert not (desk / "s.lock").exists()
