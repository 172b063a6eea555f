"""Judge predictions by whether they find their own stimulus."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from . import _core
from ._arrays import COUNT, DRAWS, SEED, Array, as_matrix, as_names, whole
from ._base import Result
from ._table import Table


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class TwoVsTwo(Result):
    """2-versus-2 accuracy with what chance gives."""

    accuracy: float
    chance: float
    p_value: float
    null_q95: float
    #: Share of its pairs that each row wins.
    per_row: Array
    n_pairs: int
    n_ties: int
    n_undefined: int


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class RankAccuracy(Result):
    """Rank accuracy with what chance gives."""

    accuracy: float
    chance: float
    p_value: float
    null_q95: float
    per_row: Array
    #: Rank of each row's own stimulus, from 1.
    ranks: Array
    #: Candidates of each row, itself among them.
    n_candidates: Array
    mean_rank: float
    median_rank: float
    mean_reciprocal_rank: float
    n_undefined: int


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class TopKRetrieval(Result):
    """Top-k accuracies in both directions."""

    #: One row per direction and k: direction, k, accuracy, chance, p_value, null_q95.
    accuracies: Table
    #: One row per direction: direction, rank_accuracy, mean_rank, median_rank, mean_reciprocal_rank,
    #: n_undefined.
    ranks: Table


def two_vs_two(
    predicted: Any,
    observed: Any,
    *,
    stimuli: Sequence[Any] | None = None,
    similarity: str = "cosine",
    n_permutations: int = 999,
    seed: int = 0,
) -> TwoVsTwo:
    """How often two predictions are matched rightly with their two stimuli (leave-two-out).

    Formula: the share of pairs with ``C_ii + C_jj > C_ij + C_ji``, C the similarities of predictions
    (rows) and what was observed.

    Parameters
    ----------
    predicted, observed : array (n, d)
        Row i of one belongs to row i of the other. For leave-two-out encoding, held-out predictions. Those of
        different fits lean away from their own stimuli: take `training_means` from both sides first.
    stimuli : sequence of n names, optional
        Rows of one stimulus make no pair.
    similarity : {"cosine", "pearson"}
    n_permutations : int
        Of stimuli, for the p-value; 0: none.
    seed : int

    Returns
    -------
    TwoVsTwo
        `accuracy` in [0, 1], chance 1/2. A tie, or a similarity that does not exist (a zero or constant
        row), loses the pair and is counted. p = (1 + #{null ≥ observed})/(1 + permutations).

    Errors: `ValueError` for shapes that differ, NaN, fewer than two stimuli.
    Cost: O(n²d), and O(n²) per permutation. Source: Mitchell et al. 2008; specs alignment-methods B18.

    Examples
    --------
    >>> import stereotax as sx
    >>> y = [[1., 0., 0.], [0., 1., 1.]]
    >>> sx.two_vs_two([[.5, .1, 0.], [.6, .4, .2]], y, n_permutations=0).accuracy
    1.0
    """
    told = _told(stimuli, similarity, n_permutations, seed)
    return TwoVsTwo(**_core.two_vs_two(_side(predicted, "predicted"), _side(observed, "observed"), told))


def rank_accuracy(
    predicted: Any,
    observed: Any,
    *,
    stimuli: Sequence[Any] | None = None,
    similarity: str = "cosine",
    n_permutations: int = 999,
    seed: int = 0,
) -> RankAccuracy:
    """How near the top each stimulus stands for its own prediction (two-way identification).

    Formula: the mean of ``1 − (rank − 1)/(N − 1)``, rank = 1 + number of other stimuli that are not less
    similar: the share of distractors with a lower similarity.

    Parameters
    ----------
    predicted, observed : array (n, d)
        Row i of one belongs to row i of the other; `training_means` apply as for `two_vs_two`.
    stimuli : sequence of n names, optional
        Rows of one stimulus are no distractors of each other.
    similarity : {"cosine", "pearson"}
    n_permutations : int
        Of stimuli, for the p-value; 0: none.
    seed : int

    Returns
    -------
    RankAccuracy
        `accuracy` in [0, 1], chance 1/2. Ties count as failures: a constant predictor scores 0 wherever its
        predictions are the candidates.

    Errors: `ValueError` for shapes that differ, NaN, fewer than two stimuli.
    Cost: O(n²(d + log n)). Source: specs alignment-methods B18.

    Examples
    --------
    >>> import numpy as np
    >>> import stereotax as sx
    >>> observed = np.random.default_rng(0).normal(size=(30, 10))
    >>> sx.rank_accuracy(observed, observed).accuracy
    1.0
    """
    told = _told(stimuli, similarity, n_permutations, seed)
    found = _core.retrieve(
        _side(predicted, "predicted"), _side(observed, "observed"), told, False, [], None
    )
    del found["top_k"]
    return RankAccuracy(**found.pop("rank_accuracy"), **found)


def top_k_retrieval(
    predicted: Any,
    observed: Any,
    k: int | Iterable[int] = (1, 5),
    *,
    n_candidates: int | None = None,
    stimuli: Sequence[Any] | None = None,
    similarity: str = "cosine",
    n_permutations: int = 999,
    seed: int = 0,
) -> TopKRetrieval:
    """How often the own stimulus is among the k most similar ones, in both directions.

    Formula: the share of rows with rank ≤ k; "forward" a prediction looks among stimuli (brain to image),
    "backward" a stimulus looks among predictions.

    Parameters
    ----------
    predicted, observed : array (n, d)
        Row i of one belongs to row i of the other; `training_means` apply as for `two_vs_two`.
    k : int or several
    n_candidates : int, optional
        M: candidates of a search, the own one among them. The accuracy is then the mean over all draws of
        M − 1 rivals, computed exactly (the convention of 300 candidates drawn 30 times estimates it).
        Without it all there are.
    stimuli : sequence of n names, optional
        Rows of one stimulus are no rivals of each other.
    similarity : {"cosine", "pearson"}
    n_permutations : int
        Of stimuli, for the p-values; 0: none.
    seed : int

    Returns
    -------
    TopKRetrieval
        `accuracies` with chance k/M, `ranks`. Ties count as failures.

    Errors: `ValueError` for shapes that differ, NaN, fewer than two stimuli, k above the candidates.
    Cost: O(n²(d + log n)), and O(n log n) per permutation. Source: specs alignment-methods B18.

    Examples
    --------
    >>> import numpy as np
    >>> import stereotax as sx
    >>> rng = np.random.default_rng(0)
    >>> observed = rng.normal(size=(40, 20))
    >>> found = sx.top_k_retrieval(observed + rng.normal(size=(40, 20)), observed, k=[1, 5])
    >>> found.accuracies.where(direction="forward", k=5)["accuracy"]
    array([1.])
    >>> found.accuracies["chance"]
    array([0.025, 0.125, 0.025, 0.125])
    """
    told = _told(stimuli, similarity, n_permutations, seed)
    single = isinstance(k, int | np.integer)
    ks = [whole(each, "k", COUNT, least=1) for each in ([k] if single else k)]  # type: ignore[union-attr]
    candidates = None if n_candidates is None else whole(n_candidates, "n_candidates", COUNT, least=2)
    sides = _side(predicted, "predicted"), _side(observed, "observed")
    accuracies: list[dict[str, Any]] = []
    ranks: list[dict[str, Any]] = []
    for direction in ("forward", "backward"):
        found = _core.retrieve(*sides, told, direction == "backward", ks, candidates)
        accuracies += [{"direction": direction, "k": at, **top} for at, top in found["top_k"]]
        kept = ("mean_rank", "median_rank", "mean_reciprocal_rank", "n_undefined")
        ranks.append(
            {"direction": direction, "rank_accuracy": found["rank_accuracy"]["accuracy"]}
            | {name: found[name] for name in kept}
        )
    return TopKRetrieval(Table.from_dicts(accuracies), Table.from_dicts(ranks))


def _told(
    stimuli: Sequence[Any] | None, similarity: str, n_permutations: int, seed: int
) -> tuple[list[str], str, int, int]:
    names = [] if stimuli is None else as_names(stimuli, "stimulus_ids")
    return names, str(similarity), whole(n_permutations, "n_permutations", DRAWS), whole(seed, "seed", SEED)


def _side(values: Any, name: str) -> Array:
    return as_matrix(values, name, axes="stimuli × dimensions")
