"""Generated samples are a dataset like any other, weighted; latent variables are judged against shuffled labels."""

from pathlib import Path

import numpy as np
import pytest
import torch

import cgstore
from cgstore.features import kept, read_kept
from cgstore.learn.generative.collective import agreement
from cgstore.learn.generative.drawing import draw, effective, weights_of
from cgstore.learn.generative.ensembles import digest_of, publish
from cgstore.learn.generative.model import Architecture, model_of
from cgstore.learn.generative.targets import analytic
from cgstore.topology import Topology


def pair() -> Topology:
    """Return two bonded particles."""
    index, text = np.zeros(2, np.int32), np.array(["A", "A"])
    none = {name: np.empty((0, n), np.int32) for name, n in (("angle", 3), ("dihedral", 4))}
    bond = np.array([[0, 1]], np.int32)
    return Topology(text, text, text, index, index, text, np.ones(2), np.zeros(2), bond=bond, **none)


def test_samples_of_a_model_are_averaged_by_their_weights(tmp_path: Path) -> None:
    """A bond of 0.2 ± 0.02 nm, from samples of a model that was never trained: the weights make up for it."""
    width, middle = 0.02, 0.2
    target = analytic(lambda x: 0.5 * (x[:, 0] - 0.5) ** 2 + 0.5 * x[:, 1] ** 2)
    model = model_of(torch.zeros(2, dtype=torch.bool), Architecture(latent=1, hidden=(8,), rounds=1), seed=1)
    drawn = draw(model, target, 20_000, seed=2)
    length = middle + width * (drawn.x[:, 0] - 0.5)
    keep = length > 0.01
    position = np.zeros((len(length), 2, 3))
    position[:, 1, 0] = np.where(keep, length, 0.01)
    dataset = tmp_path / "pair" / "r1" / "atoms"
    publish(drawn, position, pair(), model, dataset=dataset, attrs={"kind": "molecule", "temperature": 330.0})
    ds = cgstore.open_catalog(tmp_path)["pair/r1/atoms"].open()
    weight = weights_of(drawn.log_weight)
    np.testing.assert_allclose(ds.weight.values, weight)
    assert ds.attrs["generated"]["model_digest"] == digest_of(model)
    assert ds.attrs["generated"]["effective_samples"] == pytest.approx(effective(weight) * len(weight))
    found = cgstore.bonded(ds)
    found = found.compute()
    r, p = found["r"].values, found["bond"].values[0]
    assert np.average(r, weights=p) == pytest.approx(middle, abs=0.001)
    assert abs(length.mean() - middle) > 0.002
    (item,) = kept(dataset)
    told = read_kept(item)
    np.testing.assert_array_equal(told.log_weight.values, drawn.log_weight)
    np.testing.assert_array_equal(told.z.values, drawn.z)


def test_the_digest_of_a_model_is_that_of_its_weights() -> None:
    first, second, third = (
        model_of(torch.zeros(2, dtype=torch.bool), Architecture(hidden=(4,)), seed=seed) for seed in (1, 1, 2)
    )
    assert digest_of(first) == digest_of(second) != digest_of(third)


def test_latent_variables_that_say_nothing_are_no_better_than_shuffled_labels() -> None:
    random = np.random.default_rng(1)
    z, label, weight = random.normal(size=(3000, 2)), random.integers(0, 3, 3000), random.exponential(size=3000)
    found = agreement(z, label, weight)
    assert found.chance > 0.02
    assert found.information == pytest.approx(found.shuffled, rel=0.3)
    assert found.right < found.majority + 0.05


def test_weights_decide_what_latent_variables_say() -> None:
    """Samples of weight zero, whose labels z does not know, change nothing."""
    random = np.random.default_rng(2)
    z = random.normal(size=(4000, 1))
    label = (z[:, 0] > 0).astype(np.int64)
    noise = random.random(4000) < 0.5
    label[noise] = random.integers(0, 2, int(noise.sum()))
    found = agreement(z, label, np.where(noise, 0.0, 1.0))
    assert found.information == pytest.approx(np.log(2), abs=0.03)
    assert found.chance == 0.01
    assert found.right > 0.98
    assert agreement(z, label, np.ones(4000)).information < 0.5
