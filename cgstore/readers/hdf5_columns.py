"""What an HDF5 file says of its particles and bonds, copied out by libhdf5 in a process of its own.

This is a program: it is run with the path of a file and writes an .npz archive to its standard output, one array per
dataset, of those that vary in time the first frame. libhdf5 crashes on some damaged files and never ends on others,
which must not happen to the process that reads an archive. It imports nothing of cgstore. Links are not followed.
"""

import io
import os
import sys
from typing import Any

__all__ = ["main"]

_EXPANSION = 4096  # how much larger than its file compressed data may be
_MEMORY = 4 * 2**30
_LONGEST = 4096  # bytes of an attribute


def main(path: str) -> None:
    """Write the static arrays of a file to the standard output; `error` or `missing` says why not."""
    import numpy as np

    found: dict[str, Any] = {}
    try:
        import h5py
    except ImportError:
        found = {"missing": np.array("h5py")}
    else:
        _limit(os.path.getsize(path))
        try:
            with h5py.File(path, "r", locking=False) as file:
                file.visititems(lambda name, item: _take(name, item, os.path.getsize(path), found))
        # libhdf5 has a great many ways to say that a file is damaged.
        except Exception as error:
            found = {"error": np.array(" ".join(str(error).split())[:300] or type(error).__name__)}
    buffer = io.BytesIO()
    np.savez(buffer, **found)
    with open(sys.stdout.fileno(), "wb", closefd=False) as out:
        out.write(buffer.getvalue())


def _take(name: str, item: Any, size: int, found: dict[str, Any]) -> None:
    """Copy a dataset, if it is one that a topology is made of."""
    import h5py
    import numpy as np

    parts = name.split("/")
    if not isinstance(item, h5py.Dataset) or not (name == "topology" or parts[0] in ("particles", "connectivity")):
        return
    if parts[-1] in ("step", "time", "offset") or (parts[-1] == "value" and parts[-2:-1] in (["velocity"], ["force"])):
        return
    if item.is_virtual or item.external:
        raise ValueError(f"{name} lies in another file, which is not read")
    varies = parts[-1] == "value" and len(item.shape) > 0
    shape = item.shape[1:] if varies else item.shape
    claimed = int(np.prod(shape, dtype=object)) * item.dtype.itemsize
    if claimed > _EXPANSION * size:
        raise ValueError(f"{name} claims {claimed} bytes")
    if varies and not item.shape[0]:
        return
    found[name] = _plain(item[0] if varies else item[()], h5py.check_enum_dtype(item.dtype))
    if "unit" in item.attrs and item.attrs.get_id("unit").get_storage_size() <= _LONGEST:
        unit = item.attrs["unit"]
        found[f"{name} unit"] = np.array(unit.decode("utf-8", "replace") if isinstance(unit, bytes) else str(unit))


def _plain(values: Any, words: dict[str, int] | None) -> Any:
    """Return numbers as they are, text and enumerations as text."""
    import numpy as np

    array = np.asarray(values)
    if words:
        named = {number: word for word, number in words.items()}
        return np.array([named.get(int(one), str(one)) for one in array.reshape(-1)], np.str_).reshape(array.shape)
    if array.dtype.kind in "biuf":
        return array
    text = [
        one.decode("utf-8", "replace") if isinstance(one, bytes) else str(one) for one in array.reshape(-1).tolist()
    ]
    return np.array(text, np.str_).reshape(array.shape)


def _limit(size: int) -> None:
    """Bound the memory and the time that libhdf5 may take, where the system can."""
    try:
        import resource
    except ImportError:
        return
    for kind, most in (
        (resource.RLIMIT_AS, _MEMORY),
        (resource.RLIMIT_CPU, 10 + size // 10**8),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(kind)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (most, hard))


if __name__ == "__main__":
    main(sys.argv[1])
