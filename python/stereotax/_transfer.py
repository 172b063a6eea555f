"""Whether an encoder that was trained on one modality predicts another."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from . import _core
from ._arrays import COUNT, DRAWS, SEED, Array, as_matrix, as_names, as_number, whole
from ._base import Result
from ._ridge import _GRID
from ._table import Table


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class Transfer(Result):
    """Scores of encoders on their own modality and on others."""

    #: One row per pair: train, test, r (mean over voxels), ratio (to within the test modality), p_value.
    scores: Table
    #: Per pair (train, test), r and p of every voxel.
    r: dict[tuple[str, str], Array]
    p_values: dict[tuple[str, str], Array]
    #: One row per pair and number of dimensions: train, test, dimensions, share of the variance of the test
    #: modality's weights that lies in the leading dimensions of the train modality's. Compare with the row of
    #: train = test.
    shared: Table


def transfer_matrix(
    modalities: Mapping[str, Any],
    *,
    runs: Mapping[str, Sequence[Any]] | None = None,
    alphas: Sequence[float] = _GRID,
    delays: Sequence[int] = (),
    n_folds: int = 5,
    n_inner: int = 5,
    dimensions: Sequence[int] = (1, 2, 5, 10, 20),
    n_permutations: int = 999,
    block: int = 10,
    seed: int = 0,
) -> Transfer:
    """Train encoders on each modality and test them on all: within, across, and what their weights share.

    Formula: ``r(A → B)`` is the correlation within test folds of B, averaged by their size, of the encoder
    trained on all of A; ``r(B → B)`` uses the same folds, trained on the others; ``ratio = mean r(A →
    B)/mean r(B → B)``. Shared dimensions: ``‖V_kᵀ W_B‖²/‖W_B‖²`` with V_k the leading singular vectors of
    W_A (weights centred over voxels).

    Parameters
    ----------
    modalities : mapping
        Name to (features, responses): samples × units and samples × voxels. Units and voxels are the same
        in all; samples are not.
    runs : mapping, optional
        Name to the run of each sample. Runs are the test folds, and what z-scoring is done within.
    alphas : sequence of float
        Ridge penalties as in `RidgeCV`, per voxel.
    delays : sequence of int
        Features are repeated at these delays in samples (1, 2, 3, 4 TR for BOLD), within runs, zero (the mean
        of the run) before its start. None by default. Each delay has weights of its own.
    n_folds, n_inner : int
        Contiguous test folds of a modality without runs, and contiguous inner folds for penalties.
    dimensions : sequence of int
        Numbers of shared dimensions; those above the rank are left out.
    n_permutations, block : int
        Permutations of the test responses in blocks of neighbouring samples, within folds.
    seed : int

    Returns
    -------
    Transfer
        Negative transfer (weights of opposite sign) is not clipped. The ratio is NaN unless the test
        modality is predicted above 0 from itself. p is one-sided, (1 + #{null ≥ observed})/(1 +
        permutations).

    Every modality is z-scored by itself within runs, units and voxels alike: nothing of the training
    modality's level or scale is applied to the test modality.

    Errors: `ValueError` for fewer than 2 modalities, sizes that do not match, NaN, features that do not vary.
    Undefined: voxels that are constant within a test fold are NaN. Cost: one ridge per modality and fold.
    Source: Tang et al. 2023; specs alignment-methods B16.

    Examples
    --------
    >>> import numpy as np
    >>> import stereotax as sx
    >>> rng = np.random.default_rng(0)
    >>> W = rng.normal(size=(10, 20))
    >>> def scan(n):
    ...     X = rng.normal(size=(n, 10))
    ...     return X, X @ W + 3 * rng.normal(size=(n, 20))
    >>> found = sx.transfer_matrix({"stories": scan(300), "movies": scan(200)}, n_permutations=99)
    >>> bool(found.scores.where(train="stories", test="movies")["ratio"][0] > 0.9)
    True
    """
    names = [str(name) for name in modalities]
    given = []
    for name, (features, responses) in zip(names, modalities.values(), strict=True):
        x, y = as_matrix(features, name), as_matrix(responses, name)
        told = ["all"] * len(x) if runs is None else as_names(runs[name], "runs")
        given.append((name, x, y, told))
    found = _core.transfer_matrix(
        given,
        sorted(as_number(alpha, "alphas") for alpha in alphas),
        [whole(delay, "delays", COUNT) for delay in delays],
        whole(n_folds, "n_folds", COUNT, least=2),
        whole(n_inner, "n_inner", COUNT, least=2),
        [whole(k, "dimensions", COUNT, least=1) for k in dimensions],
        whole(n_permutations, "n_permutations", DRAWS),
        whole(block, "block", COUNT, least=1),
        whole(seed, "seed", SEED),
    )
    cells, counts = found["cells"], found["dimensions"]
    pairs = [(names[cell["train"]], names[cell["test"]]) for cell in cells]
    return Transfer(
        scores=Table(
            {
                "train": [pair[0] for pair in pairs],
                "test": [pair[1] for pair in pairs],
                "r": [cell["mean_r"] for cell in cells],
                "ratio": [cell["ratio"] for cell in cells],
                "p_value": [cell["p_value"] for cell in cells],
            }
        ),
        r={pair: cell["r"] for pair, cell in zip(pairs, cells, strict=True)},
        p_values={pair: cell["p_values"] for pair, cell in zip(pairs, cells, strict=True)},
        shared=Table(
            {
                "train": [pair[0] for pair in pairs for _ in counts],
                "test": [pair[1] for pair in pairs for _ in counts],
                "dimensions": [k for _ in pairs for k in counts],
                "share": [share for cell in cells for share in cell["shared"]],
            }
        ),
    )
