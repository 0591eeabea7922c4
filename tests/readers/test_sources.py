"""Which files a run consists of, and what is recorded about them."""

import hashlib
import os
from pathlib import Path

import pytest

from cgstore.errors import InputError
from cgstore.readers.sources import find_files, source_of


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    for name in (
        "archive/a/t.part10.xtc",
        "archive/a/t.part2.xtc",
        "archive/a/t[1].xtc",
        "archive/b.trr",
        "outside.xtc",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    return tmp_path / "archive"


def names(paths: list[Path]) -> list[str]:
    return [path.name for path in paths]


def test_globs_are_sorted_by_the_numbers_in_names_and_names_keep_their_order(archive: Path) -> None:
    assert names(find_files(archive, ["a/t.part*.xtc"])) == ["t.part2.xtc", "t.part10.xtc"]
    assert names(find_files(archive, ["b.trr", "a/t.part10.xtc"])) == ["b.trr", "t.part10.xtc"]
    assert names(find_files(archive, ["**/*.trr"])) == ["b.trr"]


def test_a_file_whose_name_looks_like_a_glob_is_found(archive: Path) -> None:
    assert names(find_files(archive, ["a/t[1].xtc"])) == ["t[1].xtc"]


def test_a_glob_in_an_archive_whose_name_looks_like_a_glob(tmp_path: Path) -> None:
    archive = tmp_path / "data[1]*"
    (archive / "a").mkdir(parents=True)
    (archive / "a" / "t.xtc").write_bytes(b"x")
    assert find_files(archive, ["*/*.xtc"]) == [archive / "a" / "t.xtc"]


def test_links_in_the_archive_lead_where_their_maker_wanted(archive: Path) -> None:
    (archive / "scratch").symlink_to(archive.parent)
    assert names(find_files(archive, ["scratch/outside.xtc"])) == ["outside.xtc"]
    assert names(find_files(archive, ["scratch/*.xtc"])) == ["outside.xtc"]
    (archive / "gone.xtc").symlink_to(archive / "nowhere.xtc")
    with pytest.raises(InputError, match="no such file in the archive"):
        find_files(archive, ["gone.*"])


@pytest.mark.parametrize("pattern", ["gone.xtc", "a/*.dcd", "a", "b.trr/x"])
def test_what_is_not_there_is_an_input_error(archive: Path, pattern: str) -> None:
    with pytest.raises(InputError, match="no such file in the archive"):
        find_files(archive, [pattern])


@pytest.mark.parametrize(
    "pattern",
    [
        "../outside.xtc",
        "a/../../outside.xtc",
        "/etc/hostname",
        "../*.xtc",
        "..",
        "*/../../*.xtc",
        "a*/../../outside.xtc",
    ],
)
def test_what_lies_outside_the_archive_is_refused(archive: Path, pattern: str) -> None:
    with pytest.raises(InputError, match="outside the archive"):
        find_files(archive, [pattern])


def test_a_file_listed_twice_is_refused(archive: Path) -> None:
    with pytest.raises(InputError, match=r"t\.part2\.xtc: listed more than once"):
        find_files(archive, ["a/t.part2.xtc", "a/*.xtc"])


def test_a_source_has_its_relative_path_size_and_sha256(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = (archive / "a" / "t.part2.xtc").read_bytes()
    source = source_of(archive, find_files(archive, ["a/t.part2.xtc"])[0])
    assert (source.path, source.size, source.digest) == (
        "a/t.part2.xtc",
        len(content),
        hashlib.sha256(content).hexdigest(),
    )
    monkeypatch.chdir(archive.parent)
    assert source_of(Path("archive"), find_files(Path("archive"), ["./a/t.part2.xtc"])[0]) == source


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_file_is_an_input_error(archive: Path) -> None:
    (archive / "b.trr").chmod(0)
    with pytest.raises(InputError, match=r"b\.trr: cannot be read"):
        source_of(archive, archive / "b.trr")
