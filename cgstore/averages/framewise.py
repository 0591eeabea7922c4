"""Values of single frames, lazily, each group of frames loaded once; and the mean of such a series with its error."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
from dask.delayed import delayed
from numpy.typing import NDArray

from cgstore.averages.counting import frame_spacing
from cgstore.averages.series import mean_of_series
from cgstore.errors import InputError, PhysicsError

__all__ = ["box_area", "frame_values", "mean_variables", "normals"]

_TASK_BYTES = 2**23  # positions that one task holds; values in float64 and their products take several times that
_TASKS = 16  # at least so many, for threads to share
_AXES = {"x": 0, "y": 1, "z": 2}

Float = NDArray[np.float64]
Compute = Callable[[np.ndarray, Float | None, Float, int], Sequence[np.ndarray]]


def frame_values(ds: xr.Dataset, compute: Compute, widths: Sequence[int], *, totals: Sequence[int] = ()) -> list[Any]:
    """Return arrays of values of every frame; nothing is computed.

    Parameters
    ----------
    ds : dataset of the schema, in memory or lazy
    compute : gets (frame, particle, xyz) positions, (frame, 3, 3) boxes as float64 or None, (frame,) weights, and the
        index of its first frame in the dataset, for messages; returns (frame, width) for each of `widths`, then
        (width,) for each of `totals`
    widths : of the values of frames
    totals : widths of what is added up over all frames

    Returns
    -------
    dask arrays: (frame, width) for each of `widths`, (width,) for each of `totals`

    Raises
    ------
    InputError : there are no frames
    PhysicsError : when computed: a box without volume, a position that is not finite

    Examples
    --------
    >>> ds = xr.Dataset({"position": (("frame", "particle", "xyz"), np.ones((5, 2, 3)))})
    >>> (sums,) = frame_values(ds, lambda position, box, weight, first: [position.sum(2)], [2])
    >>> sums.compute().tolist()[0], sums.shape
    ([3.0, 3.0], (5, 2))
    """
    frames, particles = ds.sizes["frame"], ds.sizes["particle"]
    title = str(ds.attrs.get("name", "this dataset"))
    if frames == 0:
        raise InputError(f"{title}: found no frames, expected at least one")
    task = _task_frames(frames, particles)
    position = _parts(ds["position"], task)
    box = _parts(ds["box"], task) if "box" in ds else [None] * len(position)
    weight = _parts(ds["weight"], task) if "weight" in ds else [None] * len(position)
    run = delayed(_run, pure=False)
    shared = delayed((title, compute), traverse=False, pure=False)
    starts = range(0, frames, task)
    done = [run(shared, *parts, start) for start, *parts in zip(starts, position, box, weight, strict=True)]
    lazy: Any = da  # dask has no types
    values = [
        lazy.concatenate(
            [
                lazy.from_delayed(result[place], (min(task, frames - start), width), np.float64)
                for start, result in zip(starts, done, strict=True)
            ]
        )
        for place, width in enumerate(widths)
    ]
    return values + [
        lazy.stack([lazy.from_delayed(result[len(widths) + place], (width,), np.float64) for result in done]).sum(
            axis=0
        )
        for place, width in enumerate(totals)
    ]


def _task_frames(frames: int, particles: int) -> int:
    """Return the frames of a task, a power of two as the chunks of a store."""
    task = 1
    while 2 * task * particles * 12 <= _TASK_BYTES and 2 * task * _TASKS <= frames:
        task *= 2
    return task


def _parts(array: xr.DataArray, task: int) -> list[Any]:
    """Cut an array into delayed groups of frames."""
    chunks = {dim: task if dim == "frame" else -1 for dim in array.dims}
    return list(array.chunk(chunks).data.to_delayed(optimize_graph=False).ravel())


def _run(
    shared: tuple[str, Compute], position: np.ndarray, box: np.ndarray | None, weight: np.ndarray | None, first: int
) -> list[np.ndarray]:
    """Check one group of frames and compute its values."""
    title, compute = shared
    if box is not None:
        box = np.asarray(box, np.float64)
        flat = ~(np.isfinite(box).all(axis=(1, 2)) & (np.abs(np.linalg.det(box)) > 0))
        if flat.any():
            frame = int(flat.argmax())
            raise PhysicsError(
                f"{title}: the box of frame {first + frame} is {box[frame].tolist()}, expected three vectors that span "
                "a volume; leave that frame out, or drop the variable box if there is none"
            )
    weights = np.ones(len(position)) if weight is None else np.asarray(weight, np.float64)
    values = compute(position, box, weights, first)
    return [np.asarray(array, np.float64) for array in values]


def normals(box: Float | None, frames: int, normal: str, title: str) -> tuple[Float, Float]:
    """Return the normal of the membrane plane and the area of the box in that plane.

    Parameters
    ----------
    box : (frame, box_vector, xyz) nm, or None
    frames : number of frames, for when there is no box
    normal : "x", "y" or "z": the plane is that of the other two box vectors

    Returns
    -------
    normal : (frame, xyz) unit vectors that point along the box vector of that name
    area : (frame,) nm², NaN without a box

    Raises
    ------
    InputError : normal is none of the three

    Examples
    --------
    >>> vector, area = normals(np.array([[[2.0, 0, 0], [1.0, 3.0, 0], [0.5, 0.5, 4.0]]]), 1, "z", "example")
    >>> vector.tolist(), area.tolist()
    ([[0.0, 0.0, 1.0]], [6.0])
    """
    if normal not in _AXES:
        raise InputError(
            f'{title}: found normal {normal!r}, expected "x", "y" or "z", the box vector across the membrane'
        )
    axis = _AXES[normal]
    if box is None:
        return np.tile(np.eye(3)[axis], (frames, 1)), np.full(frames, np.nan)
    across = np.cross(box[:, (axis + 1) % 3], box[:, (axis + 2) % 3])
    area = np.linalg.norm(across, axis=1)
    sign = np.sign((across * box[:, axis]).sum(axis=1))
    with np.errstate(invalid="ignore", divide="ignore"):  # a flat box is refused where it is used
        return across * (sign / area)[:, None], area


def box_area(ds: xr.Dataset, normal: str) -> Any:
    """Return (frame,) nm², the area of the box in the membrane plane; lazy if the box is.

    Parameters
    ----------
    ds : dataset of the schema with `box`; positions are not read
    normal : as `normals`

    Raises
    ------
    PhysicsError : there is no box, or, when computed, one without an area
    InputError : there are no frames, or normal is no axis

    Examples
    --------
    >>> ds = xr.Dataset({"box": (("frame", "box_vector", "xyz"), [np.diag([2.0, 3.0, 4.0])])})
    >>> box_area(ds, "z").tolist()
    [6.0]
    """
    title = str(ds.attrs.get("name", "this dataset"))
    normals(None, 0, normal, title)
    if "box" not in ds:
        raise PhysicsError(
            f"{title}: found no box, so the area of the membrane is not known; "
            "give the dataset a variable box (frame, box_vector, xyz)"
        )
    if ds.sizes["frame"] == 0:
        raise InputError(f"{title}: found no frames, expected at least one")

    def compute(box: np.ndarray) -> Float:
        boxes = np.asarray(box, np.float64)
        area = np.asarray(normals(boxes, len(boxes), normal, title)[1])
        wrong = ~(np.isfinite(area) & (area > 0))
        if wrong.any():
            frame = int(wrong.argmax())
            raise PhysicsError(
                f"{title}: the box of frame {frame} is {boxes[frame].tolist()}, expected vectors that span an area"
            )
        return area

    return xr.apply_ufunc(
        compute,
        ds["box"].chunk(-1) if ds["box"].chunks else ds["box"],
        input_core_dims=[["frame", "box_vector", "xyz"]],
        output_core_dims=[["frame"]],
        dask="parallelized",
        output_dtypes=[np.float64],
    ).data


def mean_variables(
    ds: xr.Dataset,
    name: str,
    series: Any,
    attrs: Mapping[str, str],
    *,
    dims: tuple[str, ...] = (),
    weight: Any = None,
    keep: bool = True,
) -> dict[str, xr.DataArray]:
    """Return the mean of a series over frames with its standard error, as variables; lazy if the series is.

    Parameters
    ----------
    ds : the dataset that the series belongs to; its `time` and `weight` are used
    name : of the variables
    series : (frame, …) one value per frame
    attrs : `units` and `long_name`
    dims : names of the dims after `frame`, at most one
    weight : (frame, …) of the values, besides the weight of the frame; a value of weight 0 does not count
    keep : also return the series

    Returns
    -------
    `NAME`, `NAME_error`, `NAME_correlation_time` in ps, `NAME_blocks`, and `NAME_series` if it is kept

    Notes
    -----
    Errors come from blocks longer than the correlation time, see `cgstore.averages.series.mean_of_series`; each
    entry of `dims` has its own correlation time.

    Examples
    --------
    >>> ds = xr.Dataset(coords={"time": ("frame", np.arange(100.0))})
    >>> x = np.random.default_rng(1).normal(5.0, 1.0, 100)
    >>> found = mean_variables(ds, "x", x, {"units": "nm", "long_name": "length"})
    >>> sorted(found), bool(abs(found["x"] - 5.0) < 3 * found["x_error"])
    (['x', 'x_blocks', 'x_correlation_time', 'x_error', 'x_series'], True)
    """
    frames = ds.sizes["frame"]
    values = xr.DataArray(series, dims=("frame", *dims))
    weights = ds["weight"].variable if "weight" in ds else xr.Variable("frame", np.ones(frames))
    heavy = xr.DataArray(weights) * (xr.DataArray(weight, dims=("frame", *dims)) if weight is not None else 1.0)
    heavy = heavy.broadcast_like(values)
    whole = [array.chunk(frame=-1) if array.chunks else array for array in (values, heavy)]
    mean, error, inefficiency, blocks = xr.apply_ufunc(
        _means,
        *whole,
        input_core_dims=[["frame"], ["frame"]],
        output_core_dims=[[], [], [], []],
        dask="parallelized",
        output_dtypes=[np.float64, np.float64, np.float64, np.int64],
    )
    label = attrs["long_name"]
    spacing = xr.DataArray(frame_spacing(ds))
    found = {
        name: mean.assign_attrs(attrs),
        f"{name}_error": error.assign_attrs({**attrs, "long_name": f"standard error of {label}"}),
        f"{name}_correlation_time": (0.5 * inefficiency * spacing).assign_attrs(
            units="ps", long_name=f"correlation time of {label}"
        ),
        f"{name}_blocks": blocks.assign_attrs(units="1", long_name=f"blocks behind the error of {label}"),
    }
    if keep:
        found[f"{name}_series"] = values.assign_attrs({**attrs, "long_name": f"{label} of each frame"})
    return found


def _means(values: Float, weight: Float) -> tuple[Float, Float, Float, NDArray[np.int64]]:
    """Return mean, error, inefficiency and blocks of (…, frame) series, each with its own weights."""
    shape = values.shape[:-1]
    mean, error, inefficiency = (np.full(shape, np.nan) for _ in range(3))
    blocks = np.zeros(shape, np.int64)
    for place in np.ndindex(shape):
        counted = weight[place] > 0
        if counted.any():
            # Values that do not count may be NaN; one that does keeps a constant series constant.
            series = np.where(counted, values[place], values[place][counted.argmax()])
            found = mean_of_series(series[None], weight=weight[place])
            mean[place], error[place] = found.mean[0], found.error[0]
            inefficiency[place], blocks[place] = found.inefficiency[0], found.blocks[0]
    return mean, error, inefficiency, blocks
