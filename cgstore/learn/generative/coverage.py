"""How well a model covers samples that it never saw, such as frames of dynamics: the density it gives them."""

import numpy as np
import torch
from numpy.typing import NDArray

from cgstore.learn.generative.model import Model
from cgstore.learn.generative.targets import Target

__all__ = ["shortfall"]

Float = NDArray[np.float64]


def shortfall(
    model: Model, target: Target, x: Float, *, log_z: float, encodings: int = 8, seed: int = 0, batch: int = 2000
) -> Float:
    """Return log p − log q of samples: above zero where the model draws too little.

    Parameters
    ----------
    target : the potential, not softened
    x : (sample, coordinate) of any origin
    log_z : ln Z of the target, such as `drawing.log_partition` gives it
    encodings : z drawn from the encoder for each sample; their mean of q(x|z) q(z) / r(z|x) is q(x)
    seed : of those
    batch : so many samples at a time

    Returns
    -------
    (sample,) nats. Of samples of p its mean is KL(p ‖ q), of which samples that a model draws itself know nothing

    Notes
    -----
    The logarithm of a mean of few is too low on average, so that this is too high, by less the more encodings.

    Examples
    --------
    >>> from cgstore.learn.generative.model import Architecture, model_of
    >>> from cgstore.learn.generative.targets import analytic
    >>> model = model_of(torch.zeros(1, dtype=torch.bool), Architecture(latent=1, rounds=0, spread=0.0), seed=0)
    >>> normal = analytic(lambda x: 0.5 * x[:, 0] ** 2)
    >>> round(float(shortfall(model, normal, np.zeros((1, 1)), log_z=0.9189, encodings=1000)[0]), 2)
    0.0
    """
    generator = torch.Generator().manual_seed(seed)
    dtype = next(model.parameters()).dtype
    found = []
    with torch.no_grad():
        for first in range(0, len(x), batch):
            here = torch.as_tensor(x[first : first + batch]).to(dtype)
            energy, volume = target(here)
            ratio = torch.stack([model.log_ratio(here, generator) for _ in range(encodings)])
            log_q = torch.logsumexp(ratio, dim=0) - np.log(encodings) - volume
            found.append((-energy - log_z - log_q).numpy().astype(np.float64))
    return np.concatenate(found)
