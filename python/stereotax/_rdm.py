"""Representational dissimilarity matrices (RDMs): the value that RDM measures return and comparisons take."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from ._arrays import Array, as_names, finite, to_numpy
from ._base import Result


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class RDM(Result):
    """The dissimilarities of all pairs of conditions, and what they are.

    Pairs stand row by row of the upper triangle, (0, 1), (0, 2), …, (1, 2), …, as in SciPy's ``squareform``
    and rsatoolbox. A pair without a dissimilarity (a constant pattern under correlation, a condition that is
    missing) is NaN. Cross-validated dissimilarities may be negative. `np.asarray(rdm)` is the condensed form.

    Examples
    --------
    >>> import stereotax as sx
    >>> rdm = sx.RDM.of([1.0, 2.0, 4.0], conditions=["face", "house", "tool"], method="euclidean")
    >>> rdm.n_conditions, rdm.n_undefined
    (3, 0)
    >>> rdm.square()[2].tolist()
    [2.0, 4.0, 0.0]
    >>> rdm.subset([2, 0]).conditions
    ['tool', 'face']
    """

    #: Condensed: n (n − 1) / 2 numbers, NaN where a pair has none.
    values: Array
    n_conditions: int
    #: Names of the conditions, or None.
    conditions: list[str] | None = None
    #: How it was made: "correlation", "crossnobis", …; None if it came as an array.
    method: str | None = None
    #: Whether dissimilarities are squared distances; None where that has no meaning or is not known.
    squared: bool | None = None
    #: Whether they are divided by the number of channels; None where not known.
    per_channel: bool | None = None
    #: Pairs without a dissimilarity.
    n_undefined: int = 0

    @classmethod
    def of(
        cls,
        values: Any,
        *,
        conditions: Sequence[str] | None = None,
        method: str | None = None,
        squared: bool | None = None,
        per_channel: bool | None = None,
        name: str = "rdm",
    ) -> RDM:
        """An RDM from its condensed or its square form (or an RDM, which passes through).

        A square form must be symmetric within 1e-9 of its largest entry, with a diagonal of 0 or NaN.
        """
        if isinstance(values, RDM):
            return values
        array = to_numpy(values, name).astype(np.float64)
        if array.ndim == 2:
            array = _condensed(array, name)
        if array.ndim != 1:
            raise ValueError(
                f"`{name}` has the shape {array.shape}, but a condensed or a square RDM expected\n"
                "hint: pass one RDM; several are a list of them"
            )
        n = n_conditions_of(array.size)
        if n is None:
            raise ValueError(
                f"`{name}` has {array.size} dissimilarities, but n (n − 1) / 2 for n conditions expected\n"
                "hint: give the upper triangle row by row, without the diagonal"
            )
        if np.isinf(array).any():
            raise ValueError(
                f"`{name}` holds {np.isinf(array).sum()} infinite dissimilarities, but numbers expected\n"
                "hint: mark a pair without a dissimilarity by NaN"
            )
        names = None if conditions is None else as_names(conditions, "conditions")
        if names is not None and len(names) != n:
            raise ValueError(
                f"`conditions` has {len(names)} names, but {n} expected (one per condition)\n"
                "hint: name every condition once, in order"
            )
        undefined = int(np.isnan(array).sum())
        return cls(array, n, names, method, squared, per_channel, undefined)

    def square(self) -> Array:
        """The n × n form: symmetric, zeros on the diagonal."""
        matrix = np.zeros((self.n_conditions, self.n_conditions))
        rows, columns = np.triu_indices(self.n_conditions, 1)
        matrix[rows, columns] = matrix[columns, rows] = self.values
        return matrix

    def subset(self, which: Any) -> RDM:
        """The RDM of some conditions, by index or by name, in the order given.

        A condition given twice has no dissimilarity from itself: that pair is NaN.
        """
        items = which.tolist() if isinstance(which, np.ndarray) else list(which)
        if items and all(isinstance(item, str) for item in items):
            places = {name: i for i, name in enumerate(self.conditions or [])}
            missing = [item for item in items if item not in places]
            if missing:
                raise ValueError(
                    f"`which` names {', '.join(map(repr, missing))}, but conditions of the RDM expected\n"
                    "hint: look at rdm.conditions"
                )
            items = [places[item] for item in items]
        whole = all(isinstance(i, int) and not isinstance(i, bool) for i in items)
        if not whole or not all(0 <= i < self.n_conditions for i in items) or len(items) < 2:
            raise ValueError(
                f"`which` is {which!r:.80}, but 2 or more indices below {self.n_conditions}, or names, expected\n"
                "hint: conditions count from 0"
            )
        index = np.array(items)
        matrix = self.square()[np.ix_(index, index)]
        matrix[index[:, None] == index[None, :]] = np.nan
        values = matrix[np.triu_indices(len(index), 1)]
        names = None if self.conditions is None else [self.conditions[i] for i in items]
        undefined = int(np.isnan(values).sum())
        return RDM(values, len(items), names, self.method, self.squared, self.per_channel, undefined)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        array = self.values if dtype is None else self.values.astype(dtype)
        return array.copy() if copy else array

    def __len__(self) -> int:
        return len(self.values)


def n_conditions_of(n_pairs: int) -> int | None:
    """n where n (n − 1) / 2 is the number of pairs; None if there is none."""
    n = int((1 + np.sqrt(1 + 8 * n_pairs)) / 2 + 0.5)
    return n if n >= 2 and n * (n - 1) // 2 == n_pairs else None


def as_rdms(values: Any, name: str = "rdms") -> list[RDM]:
    """One or several RDMs: an RDM, a list of RDMs or arrays, a dictionary of them, or an array.

    Arrays: condensed (pairs), square (n × n), several condensed (RDMs × pairs) or several square
    (RDMs × n × n). Two axes of equal length are one square RDM.
    """
    if isinstance(values, RDM):
        return [values]
    if hasattr(values, "rdms") and not callable(values.rdms):  # a movie
        return list(values.rdms)
    if hasattr(values, "keys") and hasattr(values, "values"):
        items = [RDM.of(item, name=f"{name}[{key!r}]") for key, item in values.items()]
    elif isinstance(values, list | tuple) and not _numbers(values):
        items = [RDM.of(item, name=f"{name}[{i}]") for i, item in enumerate(values)]
    else:
        array = to_numpy(values, name)
        one = array.ndim == 1 or (array.ndim == 2 and array.shape[0] == array.shape[1])
        if one:
            return [RDM.of(array, name=name)]
        items = [RDM.of(item, name=f"{name}[{i}]") for i, item in enumerate(array)]
    if not items:
        raise ValueError(f"`{name}` is empty, but at least one RDM expected\nhint: pass a list of RDMs")
    sizes = {item.n_conditions for item in items}
    if len(sizes) > 1:
        raise ValueError(
            f"`{name}` has RDMs of {sorted(sizes)} conditions, but one number of conditions expected\n"
            "hint: compare RDMs of the same conditions in the same order; see RDM.subset"
        )
    return items


def _numbers(values: Sequence[Any]) -> bool:
    """Whether this is one array that was written as lists."""
    inner = [value for value in values if isinstance(value, list | tuple)]
    if inner:
        return len(inner) == len(values) and {len(item) for item in inner} == {len(values)}
    return bool(values) and all(isinstance(v, int | float | np.number) for v in values)


def _condensed(matrix: Array, name: str) -> Array:
    n = len(matrix)
    if matrix.shape[1] != n:
        raise ValueError(
            f"`{name}` has the shape {matrix.shape}, but a square matrix or a condensed RDM expected\n"
            "hint: give one row and one column per condition"
        )
    undefined = np.isnan(matrix)
    finite(np.where(undefined, 0, matrix), name)
    tolerance = 1e-9 * np.abs(np.where(undefined, 0, matrix)).max(initial=0)
    diagonal = np.diag(matrix)
    if (np.abs(diagonal[~np.isnan(diagonal)]) > tolerance).any():
        largest = diagonal[np.nanargmax(np.abs(diagonal))]
        raise ValueError(
            f"`{name}` has {largest:.6g} on its diagonal, but zeros expected\n"
            "hint: similarities are no dissimilarities: pass 1 − r, not r"
        )
    skew = np.abs(matrix - matrix.T) > tolerance
    if skew.any() or (undefined != undefined.T).any():
        i, j = np.argwhere(skew | (undefined != undefined.T))[0]
        raise ValueError(
            f"`{name}` has {matrix[i, j]} at ({i}, {j}) and {matrix[j, i]} at ({j}, {i}), but a symmetric "
            "matrix expected\nhint: average the two directions, or compare cross-temporal matrices as such"
        )
    rows, columns = np.triu_indices(n, 1)
    condensed: Array = 0.5 * (matrix[rows, columns] + matrix[columns, rows])
    return condensed
