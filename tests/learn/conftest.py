"""A store with a small liquid of known potential at three temperatures, and a fit of it."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr

from cgstore.frames import Frames
from cgstore.learn.sampler import sample
from cgstore.store.versions import stage
from cgstore.tables import Table, table_of
from cgstore.topology import Topology

CUTOFF, EDGE, PARTICLES = 0.8, 1.88, 64
TEMPERATURES = (130, 150, 170)


collect_ignore = ["_lightning.py", "_one_rank.py"]  # programs that tests run; the first needs a package of its own


def _truth() -> Table:
    r = np.arange(0.25, CUTOFF + 0.002, 0.002)
    return table_of(r, 4.0 * ((0.34 / r) ** 12 - (0.34 / r) ** 6), CUTOFF)


def _lattice(replicas: int) -> xr.Dataset:
    grid = np.stack(np.meshgrid(*[np.arange(4)] * 3), -1).reshape(-1, 3) * EDGE / 4
    return xr.Dataset(
        {
            "position": (("frame", "particle", "xyz"), np.repeat(grid[None], replicas, 0).astype(np.float32)),
            "box": (("frame", "box_vector", "xyz"), np.repeat(EDGE * np.eye(3, dtype=np.float32)[None], replicas, 0)),
            "mass": ("particle", np.full(PARTICLES, 16.0)),
        },
        coords={"type": ("particle", ["A"] * PARTICLES)},
    )


def _topology() -> Topology:
    index, text = np.arange(PARTICLES, dtype=np.int32), np.full(PARTICLES, "A")
    none = {name: np.empty((0, n), np.int32) for name, n in (("bond", 2), ("angle", 3), ("dihedral", 4))}
    mass, charge = np.full(PARTICLES, 16.0), np.zeros(PARTICLES)
    return Topology(text, text, text, index, index, text, mass, charge, **none)


def _publish(
    store: Path, name: str, frames: Frames, *, base: int | None = None, precision: float = 0.001, **attrs: object
) -> None:
    with stage(store / name, base=base) as staged:
        if base is None:
            sources = [{"path": f"{name}.xtc", "size": 1, "digest": name}]
            known = {"kind": "liquid", "composition": {"A": PARTICLES}, "sources": sources}
            staged.create(_topology(), frames, precision=precision, attrs=known | attrs)
        staged.append(frames)
        staged.publish()


@pytest.fixture(scope="session")
def liquid(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """Make the store: one long run per temperature, and the files of a quick fit."""
    folder = tmp_path_factory.mktemp("liquid")
    for temperature in TEMPERATURES:
        ds = sample(
            {"A-A": _truth()},
            _lattice(1),
            temperature=temperature,
            equilibrate=10.0,
            duration=200.0,
            every=0.5,
            time_step=0.01,
            seed=temperature,
        )
        box = ds["box"].values.astype(np.float32)
        frames = Frames(ds["position"].values, ds["time"].values, ds["step"].values, box=box)
        _publish(folder / "store", f"l{temperature}/r1/cg", frames, temperature=float(temperature))
    files = {
        "split.toml": '[[train]]\ndataset = "l130/r1/cg"\n[[train]]\ndataset = "l170/r1/cg"\n'
        '[[heldout]]\ndataset = "l150/r1/cg"\n',
        "spec.toml": '[rdf]\nr_max = "0.9 nm"\nbin_width = "0.02 nm"\n',
        "fit.toml": """
            name = "liquid"
            split = "split.toml"
            spec = "spec.toml"
            seed = 4
            [potential]
            cutoff = "0.8 nm"
            features = 12
            hidden = [12]
            [sampling]
            replicas = 6
            duration = "8 ps"
            every = "0.25 ps"
            [training]
            rounds = 5
            [baseline]
            dataset = "l130/r1/cg"
            iterations = 2
            [validation]
            tolerance = 0.06
            duration = "20 ps"
        """,
    }
    for name, text in files.items():
        (folder / name).write_text(text)
    return SimpleNamespace(
        folder=folder,
        store=folder / "store",
        fit_file=folder / "fit.toml",
        truth=_truth(),
        publish=_publish,
        temperatures=TEMPERATURES,
    )


@pytest.fixture(scope="session")
def fitted(liquid: SimpleNamespace) -> Path:
    """Train the quick fit once; tests copy the folder before they change it."""
    from cgstore.learn.fit import train

    return train(liquid.fit_file, store=liquid.store, out=liquid.folder / "fit")
