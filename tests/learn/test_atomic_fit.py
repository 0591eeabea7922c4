"""A fit whose potential is a network of atoms: trained, stopped, gone on with, kept, validated, not exported."""

import csv
import json

import numpy as np
import pytest
import torch

from cgstore.catalog import open_catalog
from cgstore.cli.app import main
from cgstore.errors import InputError, IntegrityError
from cgstore.learn import beginning, fit, fit_training
from cgstore.learn.angular import Angular
from cgstore.learn.atomic_files import network_arrays, read_network
from cgstore.learn.descriptors import Radial
from cgstore.learn.fit import train
from cgstore.learn.folder import read_curves
from cgstore.learn.loader import Loader
from cgstore.learn.potential_file import read_tables
from cgstore.learn.references import state_points
from cgstore.learn.validation import validate

CHANGES = {
    "features = 12": 'kind = "atomic"\nfeatures = 8\ninputs = ["temperature"]\nstart = "ibi"\nstart_iterations = 1\n'
    'angular = { cutoff = "0.6 nm", widths = 1, powers = [1, 2] }',
    "rounds = 5": "rounds = 3\nsteps = 2\neffective = 0.2\ndamping = 1e-3",
    'duration = "8 ps"': 'duration = "3 ps"',
    'dataset = "l130/r1/cg"\n            iterations = 2': 'dataset = "l130/r1/cg"\n            iterations = 0',
}


def _fit_file(liquid, folder, **more):
    for name in ("fit.toml", "split.toml", "spec.toml"):
        text = (liquid.folder / name).read_text()
        for old, new in (CHANGES | more).items():
            text = text.replace(old, new)
        (folder / name).write_text(text)
    return folder / "fit.toml"


@pytest.fixture(scope="module")
def atomic(liquid, tmp_path_factory):
    folder = tmp_path_factory.mktemp("atomic")
    return train(_fit_file(liquid, folder), store=liquid.store, out=folder / "fit")


def test_a_fit_of_a_network_of_atoms_is_kept_whole_and_validated(atomic, liquid):
    with np.load(atomic / "weights.npz", allow_pickle=False) as kept:
        assert kept["types"].tolist() == ["A"]
        assert kept["told"].tolist() == ["temperature"]
        assert kept["told_scale"].tolist() == [[150.0, 20.0]]
    model = read_network(atomic / "weights.npz")
    assert model.hidden == (12,)
    assert len(model.radial.eta) == 8
    assert model.angular == Angular(Radial(0.6, (0.0,), (0.0,)), (1, 2))
    assert (model.spread != 1.0).all()  # descriptors of angles are scaled as well
    again = network_arrays(model)
    with np.load(atomic / "weights.npz", allow_pickle=False) as kept:
        assert set(again) == set(kept.files)
        assert all(np.array_equal(again[name], kept[name]) for name in kept.files)
    answer = validate(atomic, store=liquid.store)
    by_model = {row.model: row for row in answer.rows}
    assert set(by_model) == {"network", "ibi"}
    assert by_model["network"].rmsd < 0.15
    assert (atomic / "validation-heldout.json").is_file()


def test_the_part_of_pairs_can_be_looked_at_but_is_not_the_potential(atomic, liquid, capsys, tmp_path):
    assert read_curves(atomic / "potential.nc")["curve"].values.tolist() == ["pair part", "ibi"]
    table = read_tables(atomic, "pair part")["A-A"]
    assert table.energy[table.r < 0.25].min() > 3.0
    with pytest.raises(InputError, match="has no potential 'network'; there are pair part, ibi"):
        read_tables(atomic)
    code = main(["potential", str(atomic), "--to", "gromacs", "-o", str(tmp_path), "--store", str(liquid.store)])
    assert code == 2
    assert "has no potential 'network'" in capsys.readouterr().err


def test_a_fit_stopped_while_it_begins_and_while_it_trains_goes_on_to_the_same_bits(atomic, liquid, tmp_path):
    file = _fit_file(liquid, tmp_path)
    write = fit_training._write_checkpoint

    def stop_beginning(model, systems, **rest):
        raise KeyboardInterrupt

    def stop_training(path, place):
        write(path, place)
        if place.round == 2:
            raise KeyboardInterrupt

    for where, name, stop in (
        (beginning, "pretrain", stop_beginning),
        (fit_training, "_write_checkpoint", stop_training),
    ):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(where, name, stop)
            with pytest.raises(KeyboardInterrupt):
                train(file, store=liquid.store, out=tmp_path / "fit")
    train(file, store=liquid.store, out=tmp_path / "fit")
    for name in ("weights.npz", "potential.nc"):
        assert (tmp_path / "fit" / name).read_bytes() == (atomic / name).read_bytes()


def test_a_network_that_begins_as_pairs_begins_nearer_to_the_reference(liquid, tmp_path):
    short = {"rounds = 3\nsteps = 2": "rounds = 2\nsteps = 1", 'duration = "3 ps"': 'duration = "2 ps"'}
    loss = {}
    for name in ("prior", "pmf", "imc"):
        folder = tmp_path / name
        folder.mkdir()
        file = _fit_file(liquid, folder, **short, **{'start = "ibi"': f'start = "{name}"'})
        train(file, store=liquid.store, out=folder / "fit")
        with (folder / "fit" / "log.csv").open() as log:
            first = next(csv.DictReader(log))
        loss[name] = sum(float(value) for key, value in first.items() if key.startswith("rmsd"))
    assert loss["pmf"] < 0.5 * loss["prior"]
    assert loss["imc"] < 0.5 * loss["prior"]


def test_density_is_told_and_what_pair_networks_do_not_have_is_refused(liquid, tmp_path):
    file = _fit_file(liquid, tmp_path, **{'["temperature"]': '["temperature", "density"]'})
    parts = fit.gather(file, store=liquid.store)
    loader = Loader(parts.catalog, parts.split.train, batch_size=1)
    points = state_points(parts.file, parts.spec, parts.catalog, loader)
    density = 64 / 1.88**3
    assert [point.inputs["density"] for point in points] == pytest.approx([density] * 2, rel=1e-4)
    model = beginning.model_of(parts.file, points, loader.types)
    assert model.told["density"] == pytest.approx((density, 0.1 * density), rel=1e-4)
    wrong = _fit_file(liquid, tmp_path, **{'cutoff = "0.6 nm", widths': 'cutoff = "6 nm", widths'})
    with pytest.raises(InputError, match=r"a positive cutoff that is not beyond that of \[potential\]"):
        fit.gather(wrong, store=liquid.store)
    wrong = _fit_file(liquid, tmp_path, **{'kind = "atomic"\n': ""})
    with pytest.raises(InputError, match='inputs, angular and start are for kind = "atomic"'):
        fit.gather(wrong, store=liquid.store)


def test_a_damaged_network_is_named(atomic, tmp_path):
    (tmp_path / "weights.npz").write_bytes(b"PK" + bytes(50))
    with pytest.raises(IntegrityError, match=r"weights\.npz: no network of atoms"):
        read_network(tmp_path / "weights.npz")
    with np.load(atomic / "weights.npz") as kept:
        arrays = {name: kept[name] for name in kept.files if name != "mean"}
    np.savez(tmp_path / "weights.npz", **arrays)
    with pytest.raises(IntegrityError, match="no network of atoms"):
        read_network(tmp_path / "weights.npz")


def test_the_log_says_what_was_tried(atomic):
    rows = (atomic / "log.csv").read_text().splitlines()
    assert len(rows) > 4
    assert json.loads((atomic / "lock.json").read_text())["name"] == "liquid"


@pytest.mark.parametrize("program", ["torch", "openmm"])
def test_a_fit_of_a_network_of_atoms_is_written_for_torch_and_openmm(atomic, liquid, tmp_path, program):
    words = ["potential", str(atomic), "--to", program, "-o", str(tmp_path), "--store", str(liquid.store)]
    assert main([*words, "--dataset", "l150/r1/cg"]) == 0
    entry = open_catalog(liquid.store)["l150/r1/cg"].open().isel(frame=slice(0, 1)).load()
    position, box = (torch.from_numpy(entry[name].values[0].astype(np.float64)) for name in ("position", "box"))
    energy, _ = torch.export.load(tmp_path / "network.pt2").module()(position, box)
    model = read_network(atomic / "weights.npz")
    expected = model.energy_at(position, box, entry["type"].values.tolist(), {"temperature": 150.0})
    assert energy.item() == pytest.approx(expected.item(), rel=1e-10)
