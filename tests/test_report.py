"""The report: complete, self-contained, escaped, and the same for the same store."""

import base64
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from cgstore.averages.keeping import kept_distributions
from cgstore.averages.observables import OBSERVABLES
from cgstore.averages.spec import (
    BondedSpec,
    MapSpec,
    MembraneSpec,
    MobilitySpec,
    OrderSpec,
    ProfileSpec,
    RadialSpec,
    RdfSpec,
    Spec,
    TiltSpec,
)
from cgstore.catalog import open_catalog
from cgstore.errors import InputError
from cgstore.features import Kept, keep
from cgstore.ingestion import ingest
from cgstore.plot.answering import _covers
from cgstore.report import write_report

ROOT = Path(__file__).parent.parent
HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>"
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


def autocorrelation(kind: str) -> xr.Dataset:
    """What is kept of velocities: an exponential and its integral, with errors but for the last lag."""
    lag = np.arange(0.0, 2.0, 0.1)
    c = np.exp(-lag / 0.3)[None]
    error = np.where(lag < 1.85, 0.01, np.nan)[None]
    return xr.Dataset(
        {
            "vacf": (("kind", "lag"), c, {"units": "nm^2/ps^2", "long_name": "velocity autocorrelation"}),
            "vacf_error": (("kind", "lag"), error),
            "diffusion": (("kind", "lag"), 0.1 * (1 - c), {"units": "nm^2/ps"}),
            "diffusion_error": (("kind", "lag"), 0.2 * error),
        },
        {"kind": [kind], "lag": ("lag", lag, {"units": "ps"})},
    )


@pytest.fixture(scope="module")
def full(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bilayer alone, with a result of every kind; velocities are made up, by a kind with a hostile name."""
    folder = tmp_path_factory.mktemp("full") / "store"
    source = store / "dmpc_303k/r1/cg"
    shutil.copytree(source, folder / "dmpc_303k/r1/cg", ignore=shutil.ignore_patterns("features"))
    entry = open_catalog(folder)["dmpc_303k/r1/cg"]
    coarse = {"bond_width": "0.01 nm", "angle_width": "5 deg", "dihedral_width": "10 deg", "improper_width": "10 deg"}
    spec = Spec(
        rdf=RdfSpec(pairs=("PO4-PO4", "NC3-PO4"), r_max="1.5 nm", bin_width="0.05 nm"),
        bonded=BondedSpec.model_validate(coarse),
        covariance=True,
        profile=ProfileSpec(),
        radial_profile=RadialSpec(centre=("PO4",)),
        radial_map=MapSpec(centre=("PO4",), width="0.2 nm"),
        membrane=MembraneSpec(),
        order=OrderSpec(of="bonds"),
        tilt=TiltSpec(),
        mobility=MobilitySpec(dims="xy"),
    )
    kept_distributions(entry.path, entry.open(), spec)
    keep(
        entry.path, name="velocity", version=OBSERVABLES["velocity"].version, parameters={"of": HOSTILE},
        dataset_digest=str(entry.metadata["digest"]), compute=lambda: autocorrelation(HOSTILE),
    )  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def full_page(full: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a result of every kind."""
    return write_report(full, tmp_path_factory.mktemp("every"))


EVERY = (
    "rdf", "bond", "angle", "dihedral", "improper", "profile", "radial_profile", "map", "covariance",
    "area", "thickness", "order", "tilt", "msd", "vacf",
)  # fmt: skip


def test_every_kept_result_has_a_card_with_its_picture(full_page: Path) -> None:
    read = Page(full_page)
    assert read.named == [f"{kind} of dmpc_303k/r1/cg" for kind in EVERY]
    for title in ("Membrane", "Order parameters", "Tilt", "Mobility", "Velocities"):
        assert re.search(rf" {title} ", read.text)
    assert (read.open, read.wrong) == ([], [])


def test_numbers_have_their_errors_or_say_why_not_and_cards_what_they_go_back_to(full: Path, full_page: Path) -> None:
    text = Page(full_page).text
    entry = open_catalog(full)["dmpc_303k/r1/cg"]
    assert re.search(r"area per lipid / nm² 0\.6336 .*?error not known: too short a run", text)
    assert re.search(r"diffusion coefficient / .*?, DMPC not known .*?subdiffusive: the exponent is 0\.65", text)
    assert re.search(r"exponent of the mean squared displacement, DMPC 0\.652 ± 0\.027", text)
    digest = str(entry.metadata["digest"])[:12]
    recipe = str(entry.metadata["recipe_digest"])[:12]
    source = entry.metadata["sources"][0]["path"]
    assert re.search(rf"content version 1, {digest} ; recipe {recipe} ;.* from .*{re.escape(source)}", text)
    assert 'href="#of-1"' in full_page.read_text()


def test_what_is_wrong_with_a_run_stands_on_its_card(full_page: Path) -> None:
    text = Page(full_page).text
    assert re.search(r"\d+ warnings .*dihedral: \d+ bins? between sampled ones never hit", text)
    assert re.search(r"profile: a drift through the whole run, of up to 8 standard errors, in GL, PO4", text)
    assert re.search(r"too short a run to know the error; a longer one is needed", text)


def test_kinds_and_parameters_of_the_user_never_become_markup(full_page: Path) -> None:
    read = Page(full_page)
    assert "script" not in read.tags
    assert f"of {HOSTILE}" in read.text  # the parameter
    assert HOSTILE not in full_page.read_text()
    velocities = base64.b64decode(read.pictures[-1].split(",")[1]).decode()
    assert "<script" not in velocities


def test_equal_results_of_every_kind_give_the_same_bytes(full: Path, full_page: Path, tmp_path: Path) -> None:
    assert write_report(full, tmp_path).read_bytes() == full_page.read_bytes()


def test_statistics_are_left_out_only_where_others_have_the_same_tables_whole() -> None:
    def item(key: str, **tables: object) -> Kept:
        return Kept("statistics", 1, tables, dataset_digest="", key=key, bytes=0, folder=Path(key))

    some, every = {"pairs": ["A-A"], "r_max": 1.0}, {"pairs": None, "r_max": 1.0}
    plain, more = item("a", rdf=every, profile=None), item("b", rdf=every, profile={"axis": "z"}, covariance=True)
    assert _covers(more, plain, first=False)
    assert not _covers(plain, more, first=True)
    assert not _covers(item("c", rdf=some, profile={"axis": "z"}), plain, first=True)  # all pairs are more than some
    same = item("d", rdf=every, covariance=False)
    assert [_covers(plain, same, first=True), _covers(same, plain, first=False)] == [True, False]


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
    recipe = re.sub(r'title += ".*"', f'title = "{HOSTILE}"', recipe)
    (tmp_path / "recipes").mkdir()
    (tmp_path / "mappings").symlink_to(ROOT / "ingest/mappings")
    (tmp_path / "recipes" / "methane.toml").write_text(recipe.replace('["atoms", "cg"]', '["cg"]'))
    ingest(tmp_path / "recipes" / "methane.toml", archive=ROOT / "archive", store=tmp_path / "store")
    read = Page(write_report(tmp_path / "store", tmp_path / "out"))
    assert "script" not in read.tags
    assert not read.pictures
    assert HOSTILE in read.text


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
