"""Take arrays of any library in, without a copy where the layout allows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]

#: Most permutations, labellings or bootstrap draws of one call.
DRAWS = 10**8
#: Most of any other count, and of a seed.
COUNT, SEED = 2**31 - 1, 2**64 - 1

#: What a layer may keep; converted to float64 tile by tile as it is read.
LAYER_DTYPES = (np.float64, np.float32, np.float16)


def as_matrix(
    values: Any,
    name: str,
    *,
    axes: str = "rows × columns",
    hint: str = "flatten or pool all other axes first",
) -> Array:
    """A 2-dimensional float64 array: the caller's own memory if it is float64 already."""
    array = _two_dimensional(to_numpy(values, name), name, axes, hint)
    return _aligned(array.astype(np.float64, copy=False))


def as_layer(values: Any, name: str) -> Array:
    """A 2-dimensional array (samples × units) of float64, float32, float16 or bfloat16, not copied if it is
    one."""
    array = to_numpy(values, name)
    array = _two_dimensional(array, name, "samples × units", "flatten or pool all other axes first")
    if array.dtype not in LAYER_DTYPES and array.dtype.name != "bfloat16":
        array = array.astype(np.float64)
    return _aligned(array)


def as_columns(values: Any, name: str) -> Array:
    """An array with an axis of columns: a single column may come without."""
    array = to_numpy(values, name)
    return array[:, None] if array.ndim == 1 else array


def as_layers(layers: Iterable[Any] | Any, names: Sequence[str] | None) -> tuple[list[Array], list[str]]:
    """Layers and their names; a dictionary names its own layers, a 3-dimensional array is cut up."""
    if hasattr(layers, "keys") and hasattr(layers, "values"):
        names = [str(key) for key in layers.keys()] if names is None else names
        layers = list(layers.values())
    if isinstance(layers, str | bytes) or not hasattr(layers, "__iter__") or getattr(layers, "ndim", 3) < 3:
        found = f"of the shape {tuple(layers.shape)}" if hasattr(layers, "shape") else repr(layers)
        raise ValueError(
            f"`layers` is {found}, but one array (samples × units) per layer expected\n"
            "hint: pass a list or a mapping of arrays, shallow to deep"
        )
    layers = list(layers)
    if names is None:
        names = [f"layer {i}" for i in range(len(layers))]
    names = [str(name) for name in names]
    if len(names) != len(layers):
        raise ValueError(
            f"`layer_names` has {len(names)} names, but {len(layers)} expected (one per layer)\n"
            "hint: name every layer once"
        )
    refuse_twice(names, "layer_names")
    return [as_layer(layer, name) for layer, name in zip(layers, names, strict=True)], names


def refuse_twice(names: Sequence[str], what: str) -> None:
    """Names that stand for one thing each must differ."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ValueError(f"`{what}` has `{name}` twice\nhint: give each a name of its own")
        seen.add(name)


def finite(array: Array, name: str) -> Array:
    """The array, if all of it is finite and has a finite square."""
    with np.errstate(over="ignore", invalid="ignore"):
        extremes = np.array([np.max(array, initial=0), np.min(array, initial=0)], dtype=np.float64)
        squares = (extremes**2).sum()
    if squares < np.inf:
        return array
    bad = ~np.isfinite(array)
    if not bad.any():
        raise ValueError(
            f"`{name}` holds {np.abs(array).max():.3g}, the square of which is beyond the range of numbers\n"
            "hint: bring it to other units, or look for a number that stands for missing values"
        )
    row, column = np.argwhere(bad)[0]
    hint = "drop these samples or columns, or mend the recording"
    if bad.all(axis=0).any():
        hint = (
            f"{bad.all(axis=0).sum()} columns have no number at all (voxels outside of a mask?): keep "
            f"{name}[:, np.isfinite({name}).all(axis=0)]"
        )
    raise ValueError(
        f"`{name}` is not finite at row {row}, column {column} (counted from 0); {bad.sum()} such values in "
        f"all\nhint: {hint}"
    )


def flag(value: Any, name: str) -> bool:
    """True or False, and nothing that merely counts as one of them ("no" counts as True)."""
    if not isinstance(value, bool | np.bool_):
        raise ValueError(f"`{name}` is {value!r}, but True or False expected")
    return bool(value)


def as_names(values: Any, name: str) -> list[str]:
    """One string per object, from strings, numbers or an array of them."""
    if isinstance(values, str) or not hasattr(values, "__iter__"):
        raise ValueError(
            f"`{name}` is {values!r}, but one name per object expected\n"
            f"hint: pass a list, such as ['audio', 'vision', 'audio']"
        )
    items = to_numpy(values, name).tolist() if hasattr(values, "dtype") else list(values)
    return [str(item) for item in items]


def optional_names(values: Any, name: str) -> list[str] | None:
    """`as_names`, or None for None."""
    return None if values is None else as_names(values, name)


def whole(value: Any, name: str, most: int, least: int = 0) -> int:
    """A whole number from `least` to `most`: what a count may be before memory is taken for it."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or not least <= value <= most:
        hint = "\nhint: 9999 is customary; more draws than that add few digits" if most == DRAWS else ""
        raise ValueError(f"`{name}` is {value!r}, but a whole number from {least} to {most} expected{hint}")
    return int(value)


def as_number(value: Any, name: str) -> float:
    """A finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        raise ValueError(f"`{name}` is {value!r}, but a number expected\nhint: leave it out for the default")
    return float(value)


def to_numpy(values: Any, name: str) -> Array:
    """An array of real numbers of any shape, or of names where names are asked for."""
    if values is None or isinstance(values, str | bytes | dict):
        raise ValueError(f"`{name}` is {values!r:.60}, but an array of numbers expected\nhint: load it first")
    if isinstance(values, np.ma.MaskedArray) and np.ma.is_masked(values):
        raise ValueError(
            f"`{name}` has {np.sum(np.ma.getmaskarray(values))} masked values, but none expected\n"
            "hint: what lies under the mask would be used; drop these rows or columns"
        )
    if isinstance(values, np.ndarray):
        array: Array = np.asarray(values)
    else:
        array = _from_other(values, name)
    kind = array.dtype.kind
    if array.dtype.name == "bfloat16":
        return array
    if kind in "OV":
        raise ValueError(
            f"`{name}` holds Python objects, but numbers expected\n"
            "hint: arrays of unequal length cannot be stacked; pass one array per layer"
        )
    if name not in _NAMES_ONLY and kind not in "fiub":
        raise ValueError(
            f"`{name}` holds {array.dtype} values, but real numbers expected\nhint: convert it first"
        )
    return array


#: Arguments that are names of things, so may be strings.
_NAMES_ONLY = frozenset(
    {
        "groups", "families", "strata", "ids", "runs", "stimulus_ids", "roi_names", "blocks",
        "regions", "areas", "objects", "clips", "labels",
    }  # fmt: skip
)


def _from_other(values: Any, name: str) -> Array:
    if hasattr(values, "detach"):  # a torch tensor, which may be part of a graph
        values = values.detach()
        if getattr(getattr(values, "device", None), "type", "cpu") != "cpu":
            raise ValueError(
                f"`{name}` is on the device {values.device}, but memory of the CPU expected\n"
                "hint: call .cpu() first"
            )
        if str(values.dtype) == "torch.bfloat16":  # which NumPy lacks; float32 holds all its values
            values = values.float()
    if hasattr(values, "__array__"):
        return np.asarray(values)
    if hasattr(values, "__dlpack__"):
        return np.from_dlpack(values)
    try:
        return np.asarray(values)
    except ValueError as reason:
        raise ValueError(
            f"`{name}` is no array: {reason}\nhint: all rows must have the same length"
        ) from None


def _two_dimensional(array: Array, name: str, axes: str, hint: str) -> Array:
    if array.ndim != 2:
        if array.ndim == 1 and not name.startswith("repeats"):
            hint = "a single column is passed as x[:, None]"
        raise ValueError(
            f"`{name}` has the shape {array.shape}, but two axes ({axes}) expected\nhint: {hint}"
        )
    return array


def _aligned(array: Array) -> Array:
    whole = array.flags.aligned and all(stride % array.itemsize == 0 for stride in array.strides)
    native = array.dtype.newbyteorder("=")
    return array if whole and array.dtype == native and array.dtype.isnative else array.astype(native)
