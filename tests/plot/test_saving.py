"""Figures by their names: what is not kept is computed, what cannot be drawn is refused before that."""

import re
from pathlib import Path

import pytest

from cgstore.averages.spec import MapSpec, RdfSpec, Spec
from cgstore.catalog import open_catalog
from cgstore.cli.app import main
from cgstore.errors import InputError, NotFound
from cgstore.ingestion import ingest
from cgstore.plot import KINDS_OF_DATASETS, save_plot


def test_an_unknown_suffix_is_refused_before_anything_is_computed(tmp_path: Path) -> None:
    class Untouched:
        """An entry that must not be opened."""

        name = "toy/r1/cg"

    with pytest.raises(InputError, match=r'found the suffix "\.gif", expected \.png, \.svg, \.pdf'):
        save_plot(Untouched(), "rdf", output=tmp_path / "g.gif")
    with pytest.raises(NotFound, match='no plot of kind "rdff"; did you mean "rdf"'):
        save_plot(Untouched(), "rdff", output=tmp_path / "g.png")
    with pytest.raises(NotFound, match=r'"flux"; there are rdf, bond, .*, msd, vacf, pmf, covariance$'):
        save_plot(Untouched(), "flux", output=tmp_path / "g.png")
    assert not list(tmp_path.iterdir())


def test_the_help_of_plot_names_every_kind(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plot", "--help"]) == 0
    words = set(re.findall(r"\w+", capsys.readouterr().out))
    assert set(KINDS_OF_DATASETS) <= words


@pytest.fixture(scope="module")
def bilayer(tmp_path_factory: pytest.TempPathFactory):
    """The entry of a bilayer in a store of its own."""
    root = Path(__file__).parents[2]
    store = tmp_path_factory.mktemp("plot") / "store"
    ingest(root / "ingest/recipes/dmpc_303k.toml", archive=root / "archive", store=store)
    return open_catalog(store)["dmpc_303k/r1/cg"]


CHOSEN = {
    "rdf": "NC3-PO4", "bond": "NC3-PO4", "angle": "GL-PO4-NC3", "dihedral": "GL-GL-PO4-NC3", "improper": None,
    "profile": "PO4", "area": None, "thickness": None, "tilt": None, "order": None, "msd": "DMPC", "pmf": "PO4-PO4",
}  # fmt: skip


def test_what_is_not_kept_is_computed_with_the_defaults_and_kept(bilayer, tmp_path: Path) -> None:
    for kind, name in CHOSEN.items():
        assert save_plot(bilayer, kind, name, output=tmp_path / f"{kind}.svg").stat().st_size > 5000
    kept = {path.name.split("-")[0]: path.stat().st_mtime_ns for path in (bilayer.path / "features").iterdir()}
    assert set(kept) == {"statistics", "membrane", "order", "tilt", "mobility"}
    save_plot(bilayer, "order", output=tmp_path / "again.svg")
    assert (tmp_path / "order.svg").read_bytes() == (tmp_path / "again.svg").read_bytes()
    assert kept == {path.name.split("-")[0]: path.stat().st_mtime_ns for path in (bilayer.path / "features").iterdir()}


def test_densities_around_a_particle_need_to_be_told_which(bilayer, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r'write \[radial_map\] with centre = \["KIND"\] into a file and give it with'):
        save_plot(bilayer, "map", output=tmp_path / "map.png")
    spec = Spec(radial_map=MapSpec(centre=("PO4",), width="0.5 nm"), rdf=RdfSpec(pairs=("PO4-PO4",)))
    assert save_plot(bilayer, "map", "CT", output=tmp_path / "map.png", spec=spec).is_file()
    assert save_plot(bilayer, "map", "NC3", output=tmp_path / "again.png").is_file()  # it is kept now


def test_pmf_of_terms_are_found_by_their_particles(bilayer, tmp_path: Path) -> None:
    for name in ("NC3-PO4-GL", "improper", "PO4-NC3", "PO4-GL-CM-GL"):
        assert save_plot(bilayer, "pmf", name, output=tmp_path / f"{name}.png").is_file()
    with pytest.raises(NotFound, match='has no pair "NC3-XX"'):
        save_plot(bilayer, "pmf", "NC3-XX", output=tmp_path / "x.png")
