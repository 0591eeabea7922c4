"""From frames to a corrected potential: the whole way, with what one reading of a dataset gives."""

import numpy as np
import xarray as xr

from cgstore.averages.onepass import distributions_of, statistics
from cgstore.averages.spec import Spec
from cgstore.inverse.cross import imc_update, with_change
from cgstore.inverse.deviations import agreement
from cgstore.inverse.entries import counts_of_distribution, on_entries
from cgstore.inverse.iterative import ibi_update
from cgstore.inverse.mean_force import potential_of_mean_force
from cgstore.inverse.sampled import coverage
from cgstore.units import BOLTZMANN

KT = BOLTZMANN * 300.0
SPEC = Spec.model_validate(
    {
        "rdf": {"r_max": "0.8 nm", "bin_width": "0.1 nm", "exclude_bonded": 1},
        "bonded": {"bond_width": "0.02 nm", "bond_max": "0.4 nm"},
        "covariance": True,
    }
)


def dimers(length: float, *, seed: int, frames: int = 600) -> xr.Dataset:
    """Return an ideal gas of dimers in a box of 1.8 nm, whose bonds are normally distributed."""
    rng = np.random.default_rng(seed)
    first = rng.uniform(0.0, 1.8, (frames, 6, 3))
    arrow = rng.normal(size=(frames, 6, 3))
    arrow *= rng.normal(length, 0.02, (frames, 6, 1)) / np.linalg.norm(arrow, axis=2, keepdims=True)
    position = np.stack([first, first + arrow], axis=2).reshape(frames, 12, 3)
    return xr.Dataset(
        {
            "position": (("frame", "particle", "xyz"), position.astype(np.float32)),
            "box": (("frame", "box_vector", "xyz"), np.tile(1.8 * np.eye(3), (frames, 1, 1))),
            "bond": (("bond", "end"), np.arange(12).reshape(6, 2)),
        },
        {"type": ("particle", ["A", "B"] * 6)},
        {"name": "dimers"},
    )


def test_one_reading_of_a_model_gives_the_change_of_all_its_potentials() -> None:
    target, model = (statistics(dimers(length, seed=seed), SPEC) for length, seed in ((0.22, 1), (0.20, 2)))
    wanted, found = distributions_of(target), distributions_of(model)
    covariance = model["covariance"].to_dataset()
    goals = {name: wanted[node].to_dataset() for name, node in (("rdf", "rdf"), ("bond", "bonded"))}
    norms = {"rdf": model["rdf"]["norm"], "bond": model["bond"]["norm"]}
    counts = [counts_of_distribution(goals[name], norms[name], volume=1.8**3, kind=name) for name in goals]
    update = imc_update(covariance, on_entries(counts, covariance), temperature=300.0)
    assert not update.attrs["converged"]

    pairs = with_change(
        potential_of_mean_force(goals["rdf"], temperature=300.0), update, goals["rdf"], temperature=300.0
    )
    assert pairs["pair"].values.tolist() == ["A-A", "A-B", "B-B"]
    assert abs(pairs["potential"].where(pairs["r"] > 0.25)).max() < 1.0  # an ideal gas has none
    start = potential_of_mean_force(found["bonded"].to_dataset(), temperature=300.0, kind="bond")
    bond = with_change(start, update, goals["bond"], temperature=300.0, kind="bond")
    r, force = bond["r"].values, np.gradient(bond["potential"].values[0], 0.02)
    assert force[abs(r - 0.21) < 0.001] < 0.0  # longer bonds are wanted
    assert np.isfinite(bond["potential"]).all()

    boltzmann = ibi_update(start, found["bonded"].to_dataset(), goals["bond"], temperature=300.0, kind="bond")
    assert not boltzmann["converged"].any()
    exact = potential_of_mean_force(goals["bond"], temperature=300.0, kind="bond")
    both = (boltzmann["coverage"].values[0] == 3) & (abs(r - 0.21) < 0.05)
    shift = (boltzmann["potential"] - exact["potential"]).values[0, both]
    assert np.ptp(shift) < 0.5 * KT  # one step is exact for a bond of its own
    assert coverage(model["bond"].to_dataset())["holes"].values.tolist() == [0]


def test_a_model_that_has_the_target_has_converged() -> None:
    target, model = (statistics(dimers(0.2, seed=seed), SPEC) for seed in (3, 4))
    wanted = distributions_of(target)
    covariance = model["covariance"].to_dataset()
    counts = [
        counts_of_distribution(wanted["rdf"].to_dataset(), model["rdf"]["norm"], volume=1.8**3),
        counts_of_distribution(wanted["bonded"].to_dataset(), model["bond"]["norm"], kind="bond"),
    ]
    update = imc_update(covariance, on_entries(counts, covariance), temperature=300.0)
    assert update.attrs["converged"]
    assert abs(update["change"]).max() < 0.3 * KT
    g = [distributions_of(part)["rdf"].to_dataset() for part in (model, target)]
    assert agreement(*g)["converged"].all()
