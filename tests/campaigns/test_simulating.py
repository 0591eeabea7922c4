"""A campaign from its file to the store: resumed after any stop, failures marked, on processes and on Dask."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cgstore.averages.pair import rdf
from cgstore.campaigns import lennard_jones
from cgstore.campaigns.campaign import load_campaign
from cgstore.campaigns.simulating import simulate
from cgstore.catalog import open_catalog
from cgstore.cli.app import main
from cgstore.engines.fluid_lammps import lammps_program
from cgstore.errors import CgstoreError, EngineFailure, InputError, MissingExtra

ENGINES = [pytest.param("lammps", marks=pytest.mark.skipif(lammps_program() is None, reason="no LAMMPS")), "openmm"]


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("openmm")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CGSTORE_STORE", raising=False)


def systems(archive: Path = Path("archive/tiny")) -> dict[str, int]:
    """Return the folders of a campaign with the time of their record."""
    return {path.parent.name: path.stat().st_mtime_ns for path in archive.glob("[!.]*/record.json")}


@pytest.mark.parametrize("engine", ENGINES)
def test_systems_become_datasets_with_parameters_and_provenance(write_campaign, engine):
    path = write_campaign(engine=engine, systems=2)
    done = simulate(path, jobs=1)
    assert (done.planned, done.run, done.found, done.failed, done.ingested) == (2, 2, 0, {}, 2)
    catalog = open_catalog("store").search(sigma=(0.33, 0.35), campaign="tiny", reduced_temperature=(1.4, 1.6))
    ds = catalog["tiny_00001/r1/cg"].open()
    assert dict(ds.sizes) | {"frame": 32, "particle": 64} == dict(ds.sizes)
    assert set(ds["mass"].values) == {39.948}
    campaign = load_campaign(path)
    record = json.loads(Path("archive/tiny/tiny_00001/record.json").read_text())
    assert ds.attrs["parameters"]["provenance"] == {
        "campaign_digest": campaign.digest, "system_digest": record["digest"], "seed": record["seed"],
    }  # fmt: skip
    assert ds.attrs["software"].startswith({"lammps": "LAMMPS", "openmm": "OpenMM"}[engine])
    assert ds.attrs["parameters"]["epsilon"] == 1.0
    assert ds.attrs["parameters"]["density"] == pytest.approx(64 / 1.6**3)
    g = rdf(ds, r_max=0.79).compute()["rdf"].values[0]
    assert g[:20].max() == 0
    assert 2 < g.max() < 4


def test_what_is_finished_is_not_repeated_and_what_is_missing_is_run(write_campaign):
    path = write_campaign(size__small={"systems": 1}, size__full={"systems": 3})
    assert simulate(path, jobs=1).run == 1
    first = systems()
    whole = simulate(path, size="full", jobs=1)
    assert (whole.run, whole.found, whole.ingested) == (2, 1, 2)
    assert systems().items() >= first.items()
    nothing = simulate(path, size="full", jobs=1)
    assert (nothing.run, nothing.found, nothing.ingested) == (0, 3, 0)
    assert simulate(path, size="full", jobs=1, store="another").ingested == 3


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_killed_campaign_leaves_nothing_half_finished_and_goes_on(write_campaign, jobs):
    psutil = pytest.importorskip("psutil")
    path = write_campaign(systems=3, settings={"equilibration": 30_000})
    words = [sys.executable, "-m", "cgstore", "simulate", str(path), "--jobs", str(jobs)]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        limit = time.monotonic() + 60
        while not list(Path().glob("archive/tiny/.stage-*/")) and time.monotonic() < limit:
            time.sleep(0.05)
        children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGKILL)
    _, alive = psutil.wait_procs(children, timeout=20)
    assert alive == []  # nobody waits for work for ever
    short = write_campaign(systems=3)
    assert list(Path().glob("archive/tiny/[!.]*")) == []
    assert simulate(short, jobs=1).run == 3
    assert sorted(os.listdir("archive/tiny")) == [
        "tiny_00000",
        "tiny_00001",
        "tiny_00002",
    ]  # the stage of the dead one is swept


@pytest.mark.skipif(lammps_program() is None, reason="no LAMMPS")
@pytest.mark.parametrize("jobs", [1, 2])
def test_a_campaign_that_a_batch_system_ends_takes_its_engines_along(write_campaign, jobs):
    psutil = pytest.importorskip("psutil")
    path = write_campaign(engine="lammps", systems=3, settings={"equilibration": 50_000_000})
    words = [sys.executable, "-m", "cgstore", "simulate", str(path), "--jobs", str(jobs)]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        campaign = psutil.Process(process.pid)
        engines, limit = [], time.monotonic() + 60
        while len(engines) < jobs and time.monotonic() < limit:
            time.sleep(0.05)
            engines = [child for child in campaign.children(recursive=True) if child.name().startswith("lmp")]
        children = campaign.children(recursive=True)
        process.terminate()
        said = process.communicate(timeout=30)[1]
    assert len(engines) >= jobs  # a daemon of MPI has the name of the engine for a moment
    assert process.returncode == 130
    assert said == "cgstore: interrupted; what was published stays, the same command goes on from there\n"
    assert psutil.wait_procs(children, timeout=20)[1] == []
    assert list(Path().glob("archive/tiny/[!.]*")) == []


def test_a_stopped_campaign_keeps_what_was_finished(write_campaign):
    path = write_campaign(systems=3)

    def stop(name: str, done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        simulate(path, jobs=1, progress=stop)
    kept = systems()
    assert len(kept) == 2
    assert simulate(path, jobs=1).run == 1
    assert systems().items() > kept.items()
    assert len(open_catalog("store")) == 3


def test_two_processes_and_two_dask_workers_make_the_same_systems(write_campaign):
    distributed = pytest.importorskip("distributed")
    path = write_campaign(systems=3, settings={"equilibration": 100})
    assert simulate(path, jobs=2).run == 3
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster:
        done = simulate(path, archive="there", store="there-store", scheduler=cluster.scheduler_address)
    assert (done.run, done.ingested) == (3, 3)
    ours, theirs = ([row["parameters"] for row in open_catalog(name).rows()] for name in ("store", "there-store"))
    assert ours == theirs


def test_a_campaign_that_is_stopped_leaves_other_processes_of_its_caller_alone(write_campaign):
    path = write_campaign(systems=4, settings={"equilibration": 10_000})
    bystander = multiprocessing.get_context("spawn").Process(target=time.sleep, args=(600,))
    bystander.start()

    def stop(name: str, done: int, total: int) -> None:
        raise KeyboardInterrupt

    try:
        with pytest.raises(KeyboardInterrupt):
            simulate(path, jobs=2, progress=stop)
        limit = time.monotonic() + 20
        while multiprocessing.active_children() != [bystander] and time.monotonic() < limit:
            time.sleep(0.05)
        assert multiprocessing.active_children() == [bystander]
    finally:
        bystander.kill()
        bystander.join()


def test_a_process_that_is_killed_is_one_message_and_what_was_finished_stays(write_campaign):
    psutil = pytest.importorskip("psutil")
    path = write_campaign(systems=3, settings={"equilibration": 10_000})

    def shoot(name: str, done: int, total: int) -> None:
        for child in psutil.Process().children():
            if "spawn_main" in " ".join(child.cmdline()):
                child.kill()

    with pytest.raises(CgstoreError, match="a process of the campaign was killed"):
        simulate(path, jobs=2, progress=shoot)
    assert 1 <= len(systems()) <= 2
    assert not Path("store").exists()


def test_a_scheduler_that_is_not_there_is_an_input_error(write_campaign):
    pytest.importorskip("distributed")
    with pytest.raises(InputError, match="no Dask scheduler answers"):
        simulate(write_campaign(), scheduler="nowhere://1")


def test_failed_systems_are_marked_and_stay_out_of_the_store(write_campaign, monkeypatch):
    path = write_campaign(systems=2)
    real = lennard_jones.simulate

    def explode(point, settings, *, seed, engine, folder):
        if not Path("archive/tiny/tiny_00000").exists():
            raise EngineFailure("particle coordinate is NaN")
        return real(point, settings, seed=seed, engine=engine, folder=folder)

    monkeypatch.setattr(lennard_jones, "simulate", explode)
    done = simulate(path, jobs=1)
    assert done.failed == {"tiny_00000": "exploded: particle coordinate is NaN"}
    assert (done.run, done.ingested) == (2, 1)
    assert sorted(os.listdir("archive/tiny/tiny_00000")) == ["failure.log", "record.json"]
    assert [row["name"] for row in open_catalog("store").rows()] == ["tiny_00001/r1/cg"]
    assert simulate(path, jobs=1).run == 0
    monkeypatch.setattr(lennard_jones, "simulate", real)
    again = simulate(path, jobs=1, retry=True)
    assert (again.run, again.failed, again.ingested) == (1, {}, 1)


def test_liquid_beside_vapour_is_found(write_campaign):
    # T* = 0.75, ρ* = 0.3, where the coexisting densities are 0.82 and 0.004.
    points = [{"sigma": "0.34 nm", "epsilon": "1 kJ/mol", "temperature": "90 K", "edge": "2.97 nm"}]
    long = {"particles": 200, "cutoff": 2.5, "stable": False, "equilibration": 12_000, "production": 3200, "every": 100}
    done = simulate(write_campaign(engine="auto", sweep={"points": points}, settings=long), jobs=1)
    assert done.failed["tiny_00000"].startswith("separated: S(k) = ")
    assert done.ingested == 0
    assert {"record.json", "series.csv", "trajectory.xtc"} <= set(os.listdir("archive/tiny/tiny_00000"))


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda run: replace(run, energy=run.energy * np.nan), "exploded"),
        (lambda run: replace(run, temperature=run.temperature * 1.5), "exploded"),
        (lambda run: replace(run, energy=run.energy + np.linspace(600, 0, 100)), "drifting"),
        (lambda run: replace(run, virial=run.virial + np.where(np.arange(100) < 10, 900.0, 0.0)), ""),
    ],
    ids=["not finite", "hot", "drifting", "drifting at first"],
)
def test_what_is_not_equilibrated_is_failed_and_a_slow_start_left_out(write_campaign, monkeypatch, change, word):
    real = lennard_jones.openmm_trajectory
    monkeypatch.setattr(lennard_jones, "openmm_trajectory", lambda fluid: change(real(fluid)))
    done = simulate(write_campaign(systems=1, settings={"production": 1000, "every": 10}), jobs=1)
    if word:
        assert done.failed["tiny_00000"].startswith(word)
        assert not Path("store").exists()
    else:
        assert done.failed == {}
        assert 85 <= open_catalog("store")["tiny_00000/r1/cg"].open().sizes["frame"] <= 92


def test_a_changed_campaign_does_not_mix_with_what_is_there(write_campaign):
    simulate(write_campaign(systems=1), jobs=1)
    before = systems()
    with pytest.raises(InputError, match="another system of this name"):
        simulate(write_campaign(systems=1, sweep={"seed": 2}), jobs=1)
    assert systems() == before


def test_a_missing_engine_is_one_message_and_leaves_nothing(write_campaign, monkeypatch):
    monkeypatch.setitem(sys.modules, "openmm", None)
    with pytest.raises(MissingExtra, match=r'pip install "cgstore\[simulate\]"'):
        simulate(write_campaign(), jobs=1)
    assert not Path("archive").exists()
    monkeypatch.setenv("PATH", "")
    with pytest.raises(InputError, match="on PATH"):
        simulate(write_campaign(engine="lammps"), jobs=1)


def test_the_command_plans_runs_and_answers(write_campaign, capsys):
    state = {"sigma": "0.34 nm", "epsilon": "1 kJ/mol", "temperature": "180 K"}
    points = [{**state, "edge": edge} for edge in ("1.6 nm", "1.2 nm")]
    path = str(write_campaign(sweep={"points": points}))
    assert main(["simulate", path, "--dry-run"]) == 0
    answer = capsys.readouterr().out
    assert "1 systems, 0 were finished, 0 run now, 1 would be run" in answer
    assert "edge 1.2: the cutoff, 2 σ, is beyond half the box" in answer
    assert not Path("archive").exists()
    assert main(["simulate", path, "--jobs", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["ingested"] == 1
    assert main(["simulate", path, "--size", "huge"]) == 0  # a file without sizes has one
    Path(path).write_text("[campaign]\n")
    capsys.readouterr()
    assert main(["simulate", path]) == 2
    assert "campaign.name   missing" in capsys.readouterr().err
