"""Bring arrays to the same stimuli in the same order, by id, and account for every row."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from ._arrays import Array, as_names, to_numpy
from ._base import Result
from ._table import Table


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class Aligned(Result):
    """Arrays whose rows are the same stimuli, and what was left out to get there."""

    #: The stimuli, in the order of the first array.
    ids: list[str]
    #: name → array with one row per stimulus; the mean over the rows of one id where there are several.
    values: dict[str, Array]
    #: name → repeats × stimuli × … for arrays with several rows of some id, in their order; NaN where a
    #: stimulus has fewer. Other names are not there.
    repeats: dict[str, Array]
    #: Every id that is not everywhere: columns array, stimulus_id, n_rows, missing_in.
    dropped: Table
    #: Rows per array: given, used.
    rows: Table


def align(arrays: Mapping[str, tuple[Any, Any]]) -> Aligned:
    """Match the rows of several arrays by stimulus id.

    Formula: the stimuli are the ids that every array has, in the order of the first. Rows that share an id
    are repeats: all are kept, and their mean stands in `values`. Nothing is matched by place, and no row
    goes without being counted and named.

    Parameters
    ----------
    arrays : mapping from name to (ids, array)
        One id per row; arrays have stimuli along their first axis.

    Returns
    -------
    Aligned
        `ids`, `values[name]` (stimuli × …), `repeats[name]` (repeats × stimuli × …, NaN where there are
        fewer), `dropped`, `rows`.

    Errors: `ValueError` for another number of ids than rows, ids that no two arrays share, and fewer than one
    array. Undefined: the mean of repeats that hold NaN is NaN there. Cost: the arrays once.
    Source: specs peers 1.4 (Brain-Score's assemblies keep alignment by stimulus id).

    Examples
    --------
    >>> import numpy as np
    >>> import stereotax as sx
    >>> model = (["cat", "dog", "owl"], np.array([[1.0], [2.0], [3.0]]))
    >>> brain = (["dog", "cat", "dog", "fox"], np.array([[10.0], [20.0], [30.0], [40.0]]))
    >>> found = sx.align({"model": model, "brain": brain})
    >>> found.ids, found.values["brain"].tolist(), found.repeats["brain"][:, :, 0].tolist()
    (['cat', 'dog'], [[20.0], [20.0]], [[20.0, 10.0], [nan, 30.0]])
    >>> found.dropped["stimulus_id"].tolist(), found.dropped["missing_in"].tolist()
    (['owl', 'fox'], ['brain', 'model'])
    """
    if not isinstance(arrays, Mapping) or not arrays:
        raise ValueError("`arrays` is empty, but a mapping from name to (ids, array) expected")
    named: dict[str, tuple[list[str], Array]] = {}
    for name, pair in arrays.items():
        if not isinstance(pair, tuple) or len(pair) != 2:
            raise ValueError(f"`{name}` is {type(pair).__name__}, but a pair (ids, array) expected")
        ids, array = as_names(pair[0], f"ids of {name}"), to_numpy(pair[1], str(name))
        if array.ndim == 0 or len(ids) != len(array):
            raise ValueError(
                f"`{name}` has {len(ids)} ids, but an array of the shape {array.shape}\n"
                "hint: give one id per row; stimuli are the first axis"
            )
        named[str(name)] = ids, array
    places: dict[str, dict[str, list[int]]] = {}
    for name, (ids, _) in named.items():
        found: dict[str, list[int]] = {}
        for row, stimulus in enumerate(ids):
            found.setdefault(stimulus, []).append(row)
        places[name] = found
    first = next(iter(places))
    common = [s for s in places[first] if all(s in found for found in places.values())]
    if not common:
        shown = "; ".join(
            f"{name}: {', '.join(map(repr, list(found)[:3]))}" for name, found in places.items()
        )
        raise ValueError(
            f"no stimulus id is in all of {', '.join(f'`{n}`' for n in places)} ({shown})\n"
            "hint: ids must be spelt the same everywhere, endings such as .jpg included"
        )
    values, repeats = {}, {}
    for name, (_, array) in named.items():
        rows = [places[name][s] for s in common]
        most = max(map(len, rows))
        if most == 1:
            values[name] = array[[r[0] for r in rows]]
            continue
        kept = np.full((most, len(common), *array.shape[1:]), np.nan)
        mean = np.empty((len(common), *array.shape[1:]))
        for s, these in enumerate(rows):
            kept[: len(these), s] = array[these]
            mean[s] = array[these].mean(axis=0, dtype=np.float64)
        values[name], repeats[name] = mean, kept
    dropped = [
        (name, stimulus, len(rows), ", ".join(other for other in places if stimulus not in places[other]))
        for name, found in places.items()
        for stimulus, rows in found.items()
        if not all(stimulus in other for other in places.values())
    ]
    used = [sum(len(places[name][s]) for s in common) for name in places]
    return Aligned(
        ids=common,
        values=values,
        repeats=repeats,
        dropped=Table(
            {
                "array": np.array([d[0] for d in dropped], dtype=object),
                "stimulus_id": np.array([d[1] for d in dropped], dtype=object),
                "n_rows": np.array([d[2] for d in dropped], dtype=int),
                "missing_in": np.array([d[3] for d in dropped], dtype=object),
            }
        ),
        rows=Table(
            {
                "array": np.array(list(places), dtype=object),
                "given": np.array([len(ids) for ids, _ in named.values()], dtype=int),
                "used": np.array(used, dtype=int),
            }
        ),
    )
