"""Whether features predict responses better than chance, by fitting again to permuted responses."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import numpy as np

from . import _core
from ._arrays import COUNT, DRAWS, SEED, Array, as_layer, as_names, whole
from ._base import Result
from ._folds import as_folds
from ._ridge import _GRID, _choice


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class EncodingTest(Result):
    """One entry per target, NaN for a target that does not vary."""

    #: Held-out correlation, or the best generalised cross-validation score (R²).
    statistic: Array
    #: P(statistic of permuted responses ≥ statistic); small where features predict.
    p_value: Array
    #: The same, adjusted for having looked at all targets (step-down max-T on the same permutations).
    p_adjusted: Array
    #: The largest statistic of all targets in each permutation.
    null_maxima: Array
    #: The smallest p-value that these permutations can give.
    smallest_p: float
    #: What a reader must know of that; None if nothing.
    warning: str | None


def encoding_test(
    X: Any,
    y: Any,
    *,
    statistic: str = "held_out",
    alphas: Iterable[float] = _GRID,
    alpha_scale: str = "mean_square",
    fit_intercept: bool = True,
    cv: Any = 5,
    groups: Any = None,
    runs: Any = None,
    blocks: Any = None,
    scheme: str = "blocks",
    min_shift: int = 1,
    n_permutations: int = 1000,
    seed: int = 0,
) -> EncodingTest:
    """Test each target's encoding score against ridge models fitted again to permuted responses.

    Formula: ``p = (1 + #{T(π y) ≥ T(y)}) / (1 + n_permutations)``; every permutation chooses its penalties
    anew, by generalised cross-validation within training rows, and all targets move together, so that the
    largest statistic of each permutation corrects for looking at many targets. Decompositions are of the
    features alone and made once.

    Parameters
    ----------
    X : array (n_samples, n_units)
    y : array (n_samples, n_targets) or (n_samples,)
        Where both are float32 or half, products are in single precision.
    statistic : {"held_out", "gcv"}
        ``"held_out"``: the correlation of held-out predictions and responses within each fold, averaged by
        fold size, in [−1, 1]. ``"gcv"``: the best R² by generalised cross-validation of one fit to all
        samples, at most 1; one matrix product per permutation, for tens of thousands of voxels.
    alphas, alpha_scale, fit_intercept
        As for `RidgeCV`.
    cv, groups
        Outer folds of ``"held_out"``: as for `RidgeCV`.
    runs : sequence of n_samples names, optional
        Responses move within runs only; the samples of a run stand together. One run if not given.
    blocks : sequence of n_samples names, optional
        What moves as one: a stimulus with its repeats, a clip. Each sample by itself if not given. Blocks of
        equal length change places.
    scheme : {"blocks", "shift"}
        ``"shift"`` moves time circularly within each run, for time series: samples that are
        close in time are no blocks of their own.
    min_shift : int
        Least shift in samples; at least a tenth of the run is shifted in any case.
    n_permutations, seed : int
        1000 permutations give p ≥ .001.

    Returns
    -------
    EncodingTest

    Errors: `ValueError` for NaN, rows or names that do not match, blocks whose samples are scattered, runs
    too short to be shifted. Undefined: targets that do not vary are NaN.
    Cost: one decomposition per fold; ``"gcv"`` 2 n k flops per target and permutation for k = min(n, units)
    directions, ``"held_out"`` 2 k Σ(n_train + n_test) over folds. Memory beside the arrays: 20 MB per 1000
    permutations and the decompositions, for any number of targets.
    Source: Westfall & Young 1993; Winkler et al. 2014; specs peers 6 (W10). Differs from permuting held-out
    predictions, whose null is too narrow by √2 under k-fold cross-validation.

    Examples
    --------
    >>> import numpy as np
    >>> import stereotax as sx
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(100, 10))
    >>> y = np.column_stack([X[:, 0] + rng.normal(size=100), rng.normal(size=100)])
    >>> found = sx.encoding_test(X, y, n_permutations=199)
    >>> bool(found.p_adjusted[0] <= 0.01), bool(found.p_value[1] > 0.01)
    (True, True)
    """
    features = as_layer(X, "X")
    targets = as_layer(np.asarray(y)[:, None] if np.ndim(y) == 1 else y, "y")
    both = np.float64 if np.float64 in (features.dtype, targets.dtype) else np.float32
    features, targets = features.astype(both, copy=False), targets.astype(both, copy=False)
    n = len(features)
    held_out = _choice("statistic", statistic, ("held_out", "gcv")) == "held_out"
    if _choice("scheme", scheme, ("blocks", "shift")) == "shift" and blocks is not None:
        raise ValueError("`blocks` are given, but `scheme` is 'shift'\nhint: leave one of the two out")
    moved = None
    if scheme == "blocks":
        moved = [f"{i:09d}" for i in range(n)] if blocks is None else as_names(blocks, "blocks")
    found = _core.encoding_test(
        features,
        targets,
        as_folds(cv, groups, n, least=2) if held_out else [],
        sorted(float(alpha) for alpha in alphas),
        _choice("alpha_scale", alpha_scale, ("mean_square", "absolute")) == "absolute",
        bool(fit_intercept),
        None if runs is None else as_names(runs, "runs"),
        moved,
        whole(min_shift, "min_shift", COUNT, least=1),
        whole(n_permutations, "n_permutations", DRAWS, least=1),
        whole(seed, "seed", SEED),
    )
    return EncodingTest(
        statistic=found["statistic"],
        p_value=found["p_value"],
        p_adjusted=found["p_adjusted"],
        null_maxima=found["maxima"],
        smallest_p=found["smallest_p"],
        warning=found["warning"],
    )
