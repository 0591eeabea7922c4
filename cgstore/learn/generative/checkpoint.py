"""The state of a training without data in a file: what it takes to go on to the same bits."""

import os
import pickle
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from cgstore.errors import InputError

if TYPE_CHECKING:
    from cgstore.learn.generative.training import Settings

__all__ = ["read_state", "write_state"]


def write_state(path: Path, state: Mapping[str, Any], settings: "Settings") -> None:
    """Write a state whole or not at all: a training that is stopped meanwhile leaves the one before."""
    new = path.with_name(path.name + ".new")
    torch.save({"state": dict(state), "settings": repr(asdict(settings))}, new)
    os.replace(new, path)


def read_state(path: Path, settings: "Settings") -> dict[str, Any]:
    """Read a state of a training with the same settings.

    Raises
    ------
    InputError : it is of other settings, or no state
    """
    try:
        found = torch.load(path, weights_only=True)
        state, told = dict(found["state"]), str(found["settings"])
    except (RuntimeError, KeyError, TypeError, EOFError, pickle.UnpicklingError) as error:
        raise InputError(f"{path} holds no state of a training: {error}") from error
    if told != repr(asdict(settings)):
        raise InputError(
            f"{path} is of a training with other settings ({told}); take the same ones, or another file to begin anew"
        )
    return state
