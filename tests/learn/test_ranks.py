"""Loaders in several processes and in other people's loops."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import cgstore
from cgstore.learn.loader import Loader
from cgstore.splits.split import Split

SPLIT = Split.from_dict({"train": [{"dataset": "a/*"}, {"dataset": "b/*"}]})


@pytest.fixture
def store(tmp_path, add_dataset):
    add_dataset(tmp_path / "store", "a/r1/cg", frames=70, particles=20)
    add_dataset(tmp_path / "store", "b/r1/cg", frames=31, particles=12, seed=2)
    return tmp_path / "store"


def run(ranks, store, folder, state):
    """Run a group of processes to its end and return what each saw."""
    program = Path(__file__).with_name("_one_rank.py")
    own = [[str(rank), str(ranks), folder / "meet", store, folder / str(rank), state] for rank in range(ranks)]
    begun = [subprocess.Popen([sys.executable, program, *line], stderr=subprocess.PIPE, text=True) for line in own]
    for process in begun:
        _, told = process.communicate(timeout=120)
        assert process.returncode == 0, told
    return [json.loads((folder / str(rank)).read_text()) for rank in range(ranks)]


def test_two_processes_of_a_group_see_what_one_sees_and_go_on_where_one_stopped(store, tmp_path):
    loader = Loader(cgstore.open_catalog(store), SPLIT.train, batch_size=16, seed=5)
    expected, states = [], []
    for batch in loader:
        labels = zip(batch["dataset"].tolist(), batch["frame"].tolist(), strict=True)
        expected.append(([list(label) for label in labels], float(batch["position"].double().sum())))
        states.append(json.dumps(loader.state_dict()))
    one, two = run(2, store, tmp_path, states[2])
    for first, second, (labels, total) in zip(one, two, expected + expected[3:], strict=True):
        assert first[0] == second[0] == len(labels)
        assert first[1] + second[1] == labels
        assert first[2] + second[2] == pytest.approx(total)


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("lightning") is None, reason="lightning is not installed")
def test_lightning_trains_with_a_loader_and_goes_on_from_its_checkpoint(store, tmp_path):
    program = Path(__file__).with_name("_lightning.py")
    done = subprocess.run(
        [sys.executable, program, store, tmp_path / "run"], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    through, before, after = json.loads(done.stdout.splitlines()[-1])
    assert before == through[: len(before)]
    assert after == through[len(before) :]
    assert 0 < len(before) < len(through)


def test_a_plain_loop_learns(store):
    catalog = cgstore.open_catalog(store)
    loader = Loader(catalog, Split.from_dict({"train": [{"dataset": "a/*"}]}).train, batch_size=16, seed=1)
    model = torch.nn.Linear(3, 1, bias=False)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-2)
    for _ in range(15):
        for batch in loader:
            loss = (model(batch["position"]) - batch["position"].sum(-1, keepdim=True)).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    assert loss < 0.1
    assert loader.state_dict()["epoch"] == 15
