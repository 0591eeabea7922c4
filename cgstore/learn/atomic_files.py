"""Networks of atoms in files: parameters, descriptors and priors as plain arrays, and the network made of them."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from cgstore.errors import IntegrityError
from cgstore.learn.angular import Angular
from cgstore.learn.atomic import AtomicNetwork
from cgstore.learn.descriptors import Radial
from cgstore.learn.potential import Prior
from cgstore.plain_files import open_plain

__all__ = ["network_arrays", "read_network"]


def network_arrays(model: AtomicNetwork) -> dict[str, NDArray]:
    """Return all that the network is, as arrays without pickles."""
    priors = [(prior.core, prior.strength, prior.exponent) for prior in model.priors.values()]
    about = {
        "types": np.array(model.types, np.str_),
        "cutoff": np.array(model.radial.cutoff),
        "eta": np.array(model.radial.eta),
        "shift": np.array(model.radial.shift),
        "priors": np.array(priors),  # (pair, 3)
        "hidden": np.array(model.hidden, np.int64),
        "told": np.array(list(model.told), np.str_),
        "told_scale": np.array(list(model.told.values())).reshape(-1, 2),
    }
    if model.angular is not None:  # files of networks without have none of these
        about["angular_cutoff"] = np.array(model.angular.radial.cutoff)
        about["angular_eta"] = np.array(model.angular.radial.eta)
        about["angular_shift"] = np.array(model.angular.radial.shift)
        about["angular_powers"] = np.array(model.angular.powers, np.int64)
    return about | {name: value.numpy() for name, value in model.state_dict().items()}


def read_network(path: Path) -> AtomicNetwork:
    """Return the network of a file.

    Raises
    ------
    IntegrityError : it is missing, damaged, or holds no network of atoms
    """
    try:
        with open_plain(path) as file, np.load(file, allow_pickle=False) as kept:
            arrays = {name: kept[name] for name in kept.files}
        types = [str(name) for name in arrays["types"]]
        pairs = [f"{a}-{b}" for n, a in enumerate(types) for b in types[n:]]
        model = AtomicNetwork(
            types,
            radial=_radial(arrays, ""),
            angular=_angular(arrays),
            priors={pair: Prior(*row) for pair, row in zip(pairs, arrays["priors"].tolist(), strict=True)},
            hidden=arrays["hidden"].tolist(),
            told={str(name): tuple(row) for name, row in zip(arrays["told"], arrays["told_scale"], strict=True)},
        )
        model.load_state_dict({name: torch.from_numpy(arrays[name]) for name in model.state_dict()})
    except Exception as error:  # damaged archives raise a great many things
        raise IntegrityError(f"{path}: no network of atoms: {error}; train again") from error
    return model


def _radial(arrays: Mapping[str, NDArray], kind: str) -> Radial:
    """Return the functions that are kept under names that begin so."""
    eta, shift = (tuple(arrays[f"{kind}{name}"].tolist()) for name in ("eta", "shift"))
    return Radial(float(arrays[f"{kind}cutoff"]), eta, shift)


def _angular(arrays: Mapping[str, NDArray]) -> Angular | None:
    """Return the angular functions, if there are any."""
    if "angular_powers" not in arrays:
        return None
    return Angular(_radial(arrays, "angular_"), tuple(arrays["angular_powers"].tolist()))
