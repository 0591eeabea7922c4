"""Models as files: architecture, weights and what was said of them, in one NumPy archive without any code in it."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cgstore.errors import InputError, NotFound
from cgstore.learn.generative.model import Architecture, Model, model_of

__all__ = ["load_model", "save_model"]


def save_model(model: Model, path: Path | str, *, told: Mapping[str, Any] | None = None) -> None:
    """Write a model to a file (.npz), with anything plain that is to be known of it."""
    state = {name: values.detach().cpu().numpy() for name, values in model.state_dict().items()}
    np.savez(path, told=json.dumps(dict(told or {})), shape=json.dumps(asdict(model.shape)), **state)


def load_model(path: Path | str) -> tuple[Model, dict[str, Any]]:
    """Read a model, with the same bits, and what is known of it.

    Raises
    ------
    NotFound : there is no such file
    InputError : it holds no model
    """
    if not Path(path).exists():
        raise NotFound(f"no model at {path}")
    try:
        with np.load(path, allow_pickle=False) as file:
            shape, told = json.loads(str(file["shape"])), json.loads(str(file["told"]))
            state = {name: torch.as_tensor(file[name]) for name in file.files if name not in ("told", "shape")}
        architecture = Architecture(**{**shape, "hidden": tuple(shape["hidden"])})
        model = model_of(state["decoder.periodic"], architecture, seed=0, dtype=state["encoder.net.0.weight"].dtype)
        model.load_state_dict(state)
    except (KeyError, ValueError, TypeError, RuntimeError) as error:
        raise InputError(f"{path} holds no model of cgstore.learn.generative: {error}") from error
    return model, told
