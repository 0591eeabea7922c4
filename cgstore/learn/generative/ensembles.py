"""Generated samples as a dataset of a store: frames with weights, beside them what a model says of each of them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr

from cgstore.documents import digest
from cgstore.features import keep
from cgstore.frames import Frames
from cgstore.learn.generative.drawing import Drawn, effective, log_partition, weights_of
from cgstore.learn.generative.model import Model
from cgstore.store.versions import stage
from cgstore.topology import Topology

__all__ = ["NAME", "digest_of", "publish"]

NAME = "generated"  # of the feature that is kept beside the frames


def publish(
    drawn: Drawn,
    position: np.ndarray,
    topology: Topology,
    model: Model,
    *,
    dataset: Path,
    attrs: Mapping[str, Any],
) -> str:
    """Write samples as a new version of a dataset, weighted by exp(−U) r / q, as all averages of cgstore take it.

    Parameters
    ----------
    drawn : samples, drawn from `model`
    position : (sample, particle, xyz) nm, stored as float32 without loss
    dataset : folder of the dataset, `STORE/system/run/level`
    attrs : metadata, plain JSON data: temperature, force field, how the model was trained and what that cost

    Returns
    -------
    digest of the content

    Notes
    -----
    Weights have the mean one. Times and steps are the number of the sample, for there is no time: samples are
    independent. The attribute `generated` says how many samples the weights are worth, ln Z of the coordinates, and
    the digest of the model; log q, the energy (kT) and z of each sample are kept as the feature `generated`.
    """
    number = np.arange(len(position))
    weight = weights_of(drawn.log_weight)
    value, error = log_partition(drawn.log_weight)
    told = {
        "model_digest": digest_of(model),
        "effective_samples": effective(weight) * len(weight),
        "ln_z": value,
        "ln_z_error": error,
    }
    frames = Frames(
        position=np.asarray(position, np.float32), time=number.astype(np.float64), step=number.astype(np.int64)
    )
    with stage(dataset) as staged:
        staged.create(topology, frames[:1], precision=None, attrs={**attrs, "generated": told}, weighted=True)
        staged.append(frames, weight=weight)
        manifest = staged.publish()
    keep(
        dataset,
        name=NAME,
        version=1,
        parameters={"model_digest": told["model_digest"]},
        dataset_digest=manifest.digest,
        compute=lambda: _said(drawn),
    )
    return str(manifest.digest)


def digest_of(model: Model) -> str:
    """Return the digest of a model: of its architecture and the bits of all its weights."""
    shape = {name: getattr(model.shape, name) for name in model.shape.__slots__}
    state = {name: _text(values) for name, values in sorted(model.state_dict().items())}
    return digest({"architecture": {**shape, "hidden": list(model.shape.hidden)}, "weights": state})


def _text(values: torch.Tensor) -> str:
    """Return the bits of a tensor as text."""
    return values.detach().cpu().contiguous().numpy().tobytes().hex()


def _said(drawn: Drawn) -> xr.Dataset:
    """Return what a model says of its samples."""
    return xr.Dataset(
        {
            "log_q": ("frame", drawn.log_q, {"units": "1", "long_name": "log q(x|z) q(z) / r(z|x), of positions"}),
            "energy": ("frame", drawn.energy, {"units": "1", "long_name": "energy above the minimum in kT"}),
            "log_weight": ("frame", drawn.log_weight, {"units": "1", "long_name": "log exp(-U) r / q"}),
            "z": (("frame", "latent"), drawn.z, {"units": "1", "long_name": "latent variables"}),
            "x": (("frame", "coordinate"), drawn.x, {"units": "1", "long_name": "coordinates of the model"}),
        }
    )
