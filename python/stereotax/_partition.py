"""What sets of features explain alone and together."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from . import _core
from ._arrays import Array, as_matrix, as_names
from ._base import Result


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class VariancePartition(Result):
    """R² of all models, and what each combination of sets has in common."""

    #: R² per target of the model of each combination, such as ("a",), ("b",), ("a", "b").
    r2: dict[tuple[str, ...], Array]
    #: Per target, what exactly these sets have in common; of one set, what it has alone.
    cells: dict[tuple[str, ...], Array]
    #: Targets with a cell below zero: suppression, or noise.
    negative: Array
    #: Targets whose joint model predicts worse than a part of it: use banded ridge.
    overfitted: Array
    n_undefined: int

    def unique(self, name: str) -> Array:
        """What a set explains that no other does, per target."""
        return self.cells[(name,)]

    def shared(self, *names: str) -> Array:
        """What exactly these sets explain in common, per target; may be negative."""
        key = tuple(sorted(names, key=self._order().index))
        return self.cells[key]

    def _order(self) -> list[str]:
        return list(list(self.cells)[-1])


def variance_partition(
    y: Any, predictions: Mapping[Any, Any], *, folds: Sequence[Any] | None = None
) -> VariancePartition:
    """Divide explained variance into what sets of features have alone and what they share.

    Formula: with out-of-sample R² of the models of A, B and both, ``unique_A = R²(AB) − R²(B)``,
    ``shared = R²(A) + R²(B) − R²(AB)``; for up to 6 sets by inclusion and exclusion. All cells add up to the
    R² of the joint model.

    Parameters
    ----------
    y : array (n_samples, n_targets)
        Held-out responses.
    predictions : mapping
        Held-out predictions (n_samples, n_targets) of the model of every combination of sets, under its name
        or a tuple of names: ``{"a": …, "b": …, ("a", "b"): …}``.
    folds : sequence of n_samples names, optional
        The test fold of each sample: R² is about the mean of each.

    Returns
    -------
    VariancePartition
        Nothing is clipped: a negative cell is suppression (or noise) and flagged. NaN for a target that does
        not vary.

    Errors: `ValueError` if a combination is missing, for shapes that differ, NaN. Cost: O(2^k n targets).
    Source: Nunez-Elizalde et al. 2019; specs alignment-methods B17.

    Examples
    --------
    >>> import numpy as np
    >>> import stereotax as sx
    >>> a, e = np.array([1., -1., 1., -1.])[:, None], np.array([1., 1., -1., -1.])[:, None]
    >>> found = sx.variance_partition(a, {"a + e": (a + e) / 2, "e": 0 * e, ("a + e", "e"): a})
    >>> float(found.shared("a + e", "e")[0]), bool(found.negative[0])
    (-0.5, True)
    """
    _mapping(predictions, "predictions", "{'a': …, 'b': …, ('a', 'b'): …}")
    keyed = {(key,) if not isinstance(key, tuple) else key: value for key, value in predictions.items()}
    named = {tuple(str(name) for name in key): value for key, value in keyed.items()}
    sets = list(dict.fromkeys(name for key in named for name in key))
    combinations = [
        tuple(name for bit, name in enumerate(sets) if mask >> bit & 1) for mask in range(1, 2 ** len(sets))
    ]
    by_set = {frozenset(key): value for key, value in named.items()}
    missing = [key for key in combinations if frozenset(key) not in by_set]
    if missing or len(by_set) != len(named) or not named:
        raise ValueError(
            f"`predictions` has {list(named)}, but every combination of {sets} once expected; missing: "
            f"{missing}\nhint: fit a model to each combination of feature sets"
        )
    arrays = [as_matrix(by_set[frozenset(key)], f"predictions[{key}]") for key in combinations]
    found = _core.variance_partition(as_matrix(y, "y"), arrays, _codes(folds))
    return VariancePartition(
        r2=dict(zip(combinations, found["r2"], strict=True)),
        cells=dict(zip(combinations, found["cells"], strict=True)),
        negative=np.array(found["negative"], dtype=bool),
        overfitted=np.array(found["overfitted"], dtype=bool),
        n_undefined=found["n_undefined"],
    )


def product_measure(
    y: Any, parts: Mapping[str, Any], *, folds: Sequence[Any] | None = None
) -> dict[str, Array]:
    """Divide the R² of one joint model by the parts of its prediction.

    Formula: ``R²_A = Σ ŷ_A (2y − ŷ) / Σ y²`` with ŷ the sum of the parts; levels are taken out of all on each
    test fold. The parts add up to the joint R² exactly, so that they depend on how the joint model divides
    what its sets share.

    Parameters
    ----------
    y : array (n_samples, n_targets)
        Held-out responses.
    parts : mapping of str to array (n_samples, n_targets)
        Held-out prediction of each set within the joint model, as banded ridge gives them.
    folds : sequence of n_samples names, optional
        The test fold of each sample.

    Returns
    -------
    dict of str to array (n_targets,)
        May be negative; NaN for a target that does not vary.

    Errors: `ValueError` for shapes that differ, NaN. Cost: O(parts n targets).
    Source: Dupré la Tour et al. 2022; specs alignment-methods B17. Differs from himalaya's `r2_score_split`,
    which takes y to have mean zero.

    Examples
    --------
    >>> import numpy as np
    >>> import stereotax as sx
    >>> y = np.array([[2.], [0.], [-2.], [0.]])
    >>> sx.product_measure(y, {"a": y / 2, "b": y / 4})
    {'a': array([0.625]), 'b': array([0.3125])}
    """
    _mapping(parts, "parts", "{'a': …, 'b': …}")
    arrays = [as_matrix(part, f"parts[{name}]") for name, part in parts.items()]
    found = _core.product_measure(as_matrix(y, "y"), arrays, _codes(folds))
    return dict(zip((str(name) for name in parts), found, strict=True))


def _mapping(values: Any, name: str, example: str) -> None:
    if not isinstance(values, Mapping):
        raise ValueError(f"`{name}` is {values!r:.60}, but predictions by name expected\nhint: {example}")


def _codes(folds: Sequence[Any] | None) -> list[int]:
    if folds is None:
        return []
    names = as_names(folds, "groups")
    order = {name: code for code, name in enumerate(dict.fromkeys(names))}
    return [order[name] for name in names]
