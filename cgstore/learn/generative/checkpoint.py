"""The state of a training without data in a file: what it takes to go on to the same bits, and no code."""

import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from cgstore.errors import InputError
from cgstore.learn.folder import write_arrays

if TYPE_CHECKING:
    from cgstore.learn.generative.training import Settings

__all__ = ["read_state", "write_state"]


def write_state(path: Path, state: Mapping[str, Any], settings: "Settings") -> None:
    """Write a state whole or not at all: a training that is stopped meanwhile leaves the one before.

    Parameters
    ----------
    state : mappings, sequences, tensors and plain values, in one another
    """
    tensors: list[np.ndarray] = []
    words = json.dumps(_plain(state, tensors))
    arrays = {f"tensor_{n}": values for n, values in enumerate(tensors)}
    write_arrays(path, {"state": np.array(words), "settings": np.array(repr(asdict(settings))), **arrays})


def read_state(path: Path, settings: "Settings") -> dict[str, Any]:
    """Read a state of a training with the same settings.

    Raises
    ------
    InputError : it is of other settings, or no state
    """
    try:
        with np.load(path, allow_pickle=False) as kept:
            state, told = dict(_rebuilt(json.loads(str(kept["state"])), kept)), str(kept["settings"])
    except (KeyError, ValueError, TypeError, EOFError, OSError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} holds no state of a training: {error}") from error
    if told != repr(asdict(settings)):
        raise InputError(
            f"{path} is of a training with other settings ({told}); take the same ones, or another file to begin anew"
        )
    return state


def _plain(value: Any, tensors: list[np.ndarray]) -> Any:
    """Return what JSON can say of a value, putting its tensors aside; keys of mappings may be numbers."""
    if isinstance(value, torch.Tensor):
        tensors.append(value.detach().cpu().numpy())
        return {"tensor": len(tensors) - 1}
    if isinstance(value, Mapping):
        return {"mapping": [[key, _plain(one, tensors)] for key, one in value.items()]}
    if isinstance(value, tuple | list):
        name = "tuple" if isinstance(value, tuple) else "list"
        return {name: [_plain(one, tensors) for one in value]}
    return value


def _rebuilt(plain: Any, kept: Mapping[str, np.ndarray]) -> Any:
    """Return the value that `_plain` told of."""
    if not isinstance(plain, dict):
        return plain
    ((name, told),) = plain.items()
    if name == "tensor":
        return torch.from_numpy(kept[f"tensor_{int(told)}"])
    if name == "mapping":
        return {key: _rebuilt(one, kept) for key, one in told}
    parts: Sequence[Any] = [_rebuilt(one, kept) for one in told]
    return tuple(parts) if name == "tuple" else list(parts)
