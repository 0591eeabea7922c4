"""The report: complete, self-contained, escaped, and the same for the same store."""

import base64
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from cgstore.averages.keeping import kept_distributions
from cgstore.averages.spec import RdfSpec, Spec
from cgstore.catalog import open_catalog
from cgstore.errors import InputError
from cgstore.ingestion import ingest
from cgstore.report import write_report

ROOT = Path(__file__).parent.parent
VOID = {"meta", "img", "br"}


class Page(HTMLParser):
    """What a browser would make of a page: tags that do not close, references, pictures, visible text."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.open: list[str] = []
        self.wrong: list[str] = []
        self.references: list[str] = []
        self.pictures: list[str] = []
        self.named: list[str] = []
        self.words: list[str] = []
        self.tags: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))
        self.close()

    @property
    def text(self) -> str:
        """Return the visible text, blanks as one."""
        return " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name in ("src", "href"):
                (self.pictures if tag == "img" else self.references).append(value or "")
            if name == "alt":
                self.named.append(value or "")

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] not in ("style", "title"):
            self.words.append(data)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Methane and a bilayer, with kept distributions of the beads."""
    folder = tmp_path_factory.mktemp("report") / "store"
    ingest([ROOT / f"ingest/recipes/{name}.toml" for name in ("methane_112k", "dmpc_303k")],
           archive=ROOT / "archive", store=folder)  # fmt: skip
    catalog = open_catalog(folder)
    for name, r_max in (("methane_112k/r1/cg", "1.1 nm"), ("dmpc_303k/r1/cg", "1.5 nm")):
        kept_distributions(catalog[name].path, catalog[name].open(), Spec(rdf=RdfSpec(r_max=r_max)))
    return folder


@pytest.fixture(scope="module")
def page(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of that store."""
    return write_report(store, tmp_path_factory.mktemp("pages") / "new" / "folder")


def test_the_page_needs_nothing_but_itself(page: Path) -> None:
    read = Page(page)
    assert list(page.parent.iterdir()) == [page]
    assert not [link for link in read.references if not link.startswith("#")]
    assert all(picture.startswith("data:image/svg+xml;base64,") for picture in read.pictures)
    assert not re.search(r"url\(|@import|<script|<link", page.read_text())


def test_every_tag_is_closed_and_every_link_leads_somewhere(page: Path) -> None:
    read = Page(page)
    assert (read.open, read.wrong) == ([], [])
    for link in read.references:
        assert f'id="{link[1:]}"' in page.read_text()


def test_every_dataset_is_listed_with_state_point_composition_and_digest(store: Path, page: Path) -> None:
    text = Page(page).text
    for entry in open_catalog(store).values():
        row = entry.metadata
        composition = ", ".join(f"{kind} {count}" for kind, count in row["composition"].items())
        shown = f"{entry.name} {composition} {row['temperature']:g} {row['pressure']:g} {row['frames']}"
        assert shown in text
        assert row["digest"] in text
        assert row["sources"][0]["digest"] in text


def test_kept_distributions_are_drawn_with_their_axes_and_their_peak(store: Path, page: Path) -> None:
    read = Page(page)
    kinds = ("rdf", "bond", "angle", "dihedral", "improper", "profile", "area", "thickness")
    drawn = [f"{kind} of dmpc_303k/r1/cg" for kind in kinds]  # a bilayer has these by itself
    assert read.named == [*drawn, "rdf of methane_112k/r1/cg"]
    pictures = [base64.b64decode(picture.split(",")[1]).decode() for picture in read.pictures]
    assert all("<svg" in picture for picture in pictures)
    entry = open_catalog(store)["methane_112k/r1/cg"]
    tree, computed = kept_distributions(entry.path, entry.open(), Spec(rdf=RdfSpec(r_max="1.1 nm")))
    assert not computed
    g = tree["rdf"].to_dataset().sel(pair="CH4-CH4")
    top = int(np.argmax(g["rdf"].values))
    assert (
        f"CH4-CH4 {float(g['r'][top]):.4g} {float(g['rdf'][top]):.3f} ± {float(g['rdf_error'][top]):.3f}" in read.text
    )
    assert "r max 1.1 nm" in read.text


def test_the_same_store_gives_the_same_bytes(store: Path, page: Path, tmp_path: Path) -> None:
    assert write_report(store, tmp_path).read_bytes() == page.read_bytes()


def test_a_store_without_kept_results_has_a_report_without_pictures(store: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(store, tmp_path / "store", ignore=shutil.ignore_patterns("features"))
    read = Page(write_report(copy, tmp_path / "out"))
    assert not read.pictures
    assert "Distributions" not in read.text
    assert "dmpc_303k/r1/cg" in read.text


def test_words_of_the_user_never_become_markup(tmp_path: Path) -> None:
    recipe = (ROOT / "ingest/recipes/methane_112k.toml").read_text()
    hostile = "<script>alert(1)</script><img src=x onerror=alert(2)>"
    recipe = re.sub(r'title += ".*"', f'title = "{hostile}"', recipe)
    (tmp_path / "recipes").mkdir()
    (tmp_path / "mappings").symlink_to(ROOT / "ingest/mappings")
    (tmp_path / "recipes" / "methane.toml").write_text(recipe.replace('["atoms", "cg"]', '["cg"]'))
    ingest(tmp_path / "recipes" / "methane.toml", archive=ROOT / "archive", store=tmp_path / "store")
    read = Page(write_report(tmp_path / "store", tmp_path / "out"))
    assert "script" not in read.tags
    assert not read.pictures
    assert hostile in read.text


@pytest.mark.filterwarnings("ignore")
def test_a_damaged_dataset_is_named_not_hidden(store: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(store, tmp_path / "store")
    (copy / "methane_112k/r1/atoms/v000001/MANIFEST.json").unlink()
    text = Page(write_report(copy, tmp_path / "out")).text
    assert re.search(r"damaged not listed: methane_112k/r1/atoms : .*manifest is missing", text)


def test_a_store_that_is_not_there_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such store"):
        write_report(tmp_path / "nothing", tmp_path / "out")
    assert not list(tmp_path.iterdir())
