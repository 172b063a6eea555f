"""Representational similarity analysis with uncertainty over subjects and stimuli."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from . import _core
from ._arrays import DRAWS, SEED, Array, as_matrix, as_number, optional_names, to_numpy, whole
from ._base import Result
from ._rdm import RDM, as_rdms
from ._rdm_compare import comparison, noise_of, same_conditions, stacked
from ._ridge import _GRID, _choice
from ._table import Table


class RDMModel:
    """A model of an RDM that is fitted to data: one of several RDMs, a sum of them, or between neighbours.

    Parameters
    ----------
    rdms : list of RDM or array
        The components.
    kind : {"weighted", "select", "interpolated"}
        "weighted": ``Σ θ_k X_k`` with θ ≥ 0; "select": the best one; "interpolated":
        ``θ X_k + (1 − θ) X_{k+1}`` of neighbours in the list. `rsa` fits θ to other conditions than it tests
        on.

    Errors: `ValueError` for an unknown kind, other conditions, a single component to interpolate.

    Examples
    --------
    >>> import stereotax as sx
    >>> sx.RDMModel([[1.0, 2.0, 3.0], [3.0, 1.0, 2.0]], "select")
    RDMModel(2 RDMs of 3 conditions, kind='select')
    """

    def __init__(self, rdms: Any, kind: str = "weighted") -> None:
        self.rdms = as_rdms(rdms, "rdms")
        self.kind = _choice("kind", kind, ("weighted", "select", "interpolated"))
        if kind == "interpolated" and len(self.rdms) < 2:
            raise ValueError("`rdms` has 1 RDM, but 2 to interpolate between expected\nhint: pass a list")

    def __repr__(self) -> str:
        return (
            f"RDMModel({len(self.rdms)} RDMs of {self.rdms[0].n_conditions} conditions, kind={self.kind!r})"
        )


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class RSA(Result):
    """What `rsa` found. Arrays run over models, in the order of `models`."""

    models: list[str]
    method: str
    bootstrap: str
    #: models × subjects; cross-validated over conditions if any model is flexible.
    evaluations: Array
    #: Means over subjects, on the data.
    estimates: Array
    standard_errors: Array
    #: t intervals.
    lower: Array
    upper: Array
    #: Percentile intervals of the draws.
    bootstrap_lower: Array
    bootstrap_upper: Array
    #: (lower, upper); NaN with one subject.
    noise_ceiling: tuple[float, float]
    #: Their standard errors.
    noise_ceiling_se: tuple[float, float]
    #: Intervals of the lower and of the upper ceiling.
    noise_ceiling_intervals: tuple[tuple[float, float], tuple[float, float]]
    #: Better than 0 (one-sided), by `test`.
    p_zero: Array
    #: Different from the lower ceiling (two-sided t; one-sided below it by draws).
    p_ceiling: Array
    #: models × models: two-sided t on the same draws; 1 on the diagonal.
    p_pairwise: Array
    #: Standard errors of the differences.
    pairwise_se: Array
    #: Adjusted for the number of models: see `correction`.
    p_zero_adjusted: Array
    p_ceiling_adjusted: Array
    p_pairwise_adjusted: Array
    correction: str
    test: str
    #: All one-sided tests against 0: test -> p-values, and of permutations and sign flips adjusted by max-T.
    p_zero_by_test: dict[str, Array]
    #: The model with the largest estimate, with the choice resampled: name, estimate, optimism, corrected,
    #: lower, upper.
    best: dict[str, Any]
    #: Share of draws in which each model is the best.
    win_share: Array
    #: Weights of each model's components on all data.
    weights: list[list[float]]
    dof: float
    n_conditions: int
    n_subjects: int
    n_bootstraps: int
    #: Draws left out: too few different conditions or subjects; a model constant in the draw.
    n_poor: int
    n_undefined: int
    #: Pairs left out for all because a model or a subject lacks them.
    n_pairs_dropped: int
    #: Why a model has no estimate, or None.
    status: list[str | None]

    def table(self) -> Table:
        """One row per model: model, estimate, se, lower, upper, p_zero, p_zero_adjusted, p_ceiling,
        of_ceiling (the estimate as a share of the lower ceiling), win_share, status."""
        with np.errstate(divide="ignore", invalid="ignore"):
            ceiling = self.noise_ceiling[0]
            share = self.estimates / ceiling if ceiling > 0 else np.full(len(self.models), np.nan)
        return Table(
            {
                "model": list(self.models),
                "estimate": self.estimates,
                "se": self.standard_errors,
                "lower": self.lower,
                "upper": self.upper,
                "p_zero": self.p_zero,
                "p_zero_adjusted": self.p_zero_adjusted,
                "p_ceiling": self.p_ceiling,
                "of_ceiling": share,
                "win_share": self.win_share,
                "status": list(self.status),
            }
        )

    def pairs(self) -> Table:
        """One row per two models: first, second, difference, se, p, p_adjusted."""
        couples = [(i, j) for i in range(len(self.models)) for j in range(i + 1, len(self.models))]
        return Table(
            {
                "first": [self.models[i] for i, _ in couples],
                "second": [self.models[j] for _, j in couples],
                "difference": np.array(
                    [self.estimates[i] - self.estimates[j] for i, j in couples], dtype=float
                ),
                "se": np.array([self.pairwise_se[c] for c in couples], dtype=float),
                "p": np.array([self.p_pairwise[c] for c in couples], dtype=float),
                "p_adjusted": np.array([self.p_pairwise_adjusted[c] for c in couples], dtype=float),
            }
        )

    def summary(self) -> str:
        """The result in words and numbers, as users of rsatoolbox know it."""
        width = max(5, *(len(name) for name in self.models))
        ceiling = "undefined (one subject)"
        if not np.isnan(self.noise_ceiling[0]):
            ceiling = f"{self.noise_ceiling[0]:.3f} to {self.noise_ceiling[1]:.3f}"
        over = {"both": "subjects and conditions", "subjects": "subjects", "conditions": "conditions"}
        drawn = f"bootstrap over {over[self.bootstrap]}" if self.bootstrap in over else "t-test over subjects"
        lines = [
            f"{self.method} of {len(self.models)} models with {self.n_subjects} subjects, "
            f"{self.n_conditions} conditions ({drawn})",
            "",
            f"{'Model':<{width}} |  Eval ± SEM    | p (against 0) | p (against NC) |",
            "-" * (width + 52),
        ]
        for k, name in enumerate(self.models):
            lines.append(
                f"{name:<{width}} | {self.estimates[k]:6.3f} ± {self.standard_errors[k]:5.3f} | "
                f"{_p(self.p_zero[k]):>13} | {_p(self.p_ceiling[k]):>14} |"
            )
        lines += [
            "",
            f"noise ceiling (NC): {ceiling}",
            f"p-values: {self.test}, not adjusted; adjusted ones ({self.correction}) stand in table()",
        ]
        if self.best.get("name") is not None and not np.isnan(self.best["optimism"]):
            lines.append(
                f"best: {self.best['name']}, which wins {100 * self.win_share.max():.0f} % of the draws; its "
                f"{self.best['estimate']:.3f} is {self.best['corrected']:.3f} without the optimism of choice"
            )
        if self.n_poor + self.n_undefined:
            lines.append(
                f"left out: {self.n_poor} draws of too few different conditions or subjects, "
                f"{self.n_undefined} in which a model was constant"
            )
        if self.n_pairs_dropped:
            lines.append(f"left out: {self.n_pairs_dropped} pairs that a model or a subject lacks")
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.summary()


def _p(value: float) -> str:
    if np.isnan(value):
        return "–"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def rsa(
    models: Any,
    data: Any,
    method: str = "pearson",
    *,
    bootstrap: str = "both",
    n_bootstraps: int = 1000,
    n_permutations: int = 0,
    test: str = "t",
    correction: str = "holm",
    level: float = 0.95,
    n_folds: int | None = None,
    n_subject_folds: int = 1,
    n_deals: int = 2,
    noise_covariance: Any = None,
    conditions: Sequence[Any] | None = None,
    subjects: Sequence[Any] | None = None,
    seed: int = 0,
) -> RSA:
    """Judge models of an RDM against the RDMs of several subjects.

    Formula: a model's estimate is its mean comparison with the subjects. Its standard error is that of
    bootstrap draws;
    over subjects and conditions together it combines three variances (the dual bootstrap, S subjects, n
    conditions):
    ``S/(S−1) v_S + n/(n−1) v_n − S n/((S−1)(n−1)) (v_both − v_S − v_n)``. ``t = estimate/se`` with min(S, n)
    − 1
    degrees of freedom. Noise ceilings: mean comparison of each subject with the pool of the others (lower)
    and of
    all (upper); pools are means of RDMs of length 1 under the comparison, or of ranks.

    Parameters
    ----------
    models : dictionary of names to RDM, array or `RDMModel`; or a list of them
        Fixed RDMs, or flexible models. With one of the latter, all models are evaluated on conditions that
        were held
        out, within every draw.
    data : RDMs of the subjects
        A list, dictionary (by name) or array (subjects × pairs or × n × n).
    method : str
        As in `compare_rdms`, but Bures.
    bootstrap : {"both", "subjects", "conditions", "none"}
        What results should hold beyond: other people, other stimuli, both, or (by t-tests) other people.
    n_bootstraps : int
        Draws. Conditions drawn twice have no dissimilarity from themselves.
    n_permutations : int
        Permutations of condition labels and sign flips of subjects; 0 for none. τ, flexible models and
        a `noise_covariance` take an evaluation (and fit) per permutation, other comparisons a sum.
    test : {"t", "bootstrap", "permutation", "sign_flip"}
        Which p-values `p_zero` holds; `p_zero_by_test` has them all. "bootstrap" is for `p_ceiling` too.
    correction : {"holm", "bh", "none"}
        Of p-values for the number of models (or of pairs of models). Permutations and sign flips use max-T.
    level : float
        Coverage of intervals.
    n_folds, n_subject_folds, n_deals
        Flexible models: parts into which conditions (2 to 5 by default) and subjects are dealt, and deals
        per draw, the
        noise of which is taken out of the variance.
    noise_covariance : array (n,) or (n, n), optional
        For whitened comparisons: variance of the noise of each condition, or covariance between them. In a
        draw, copies of a condition share the noise that conditions can have in common: all but the share
        λ of its variance, the least eigenvalue of the noise correlations.
    conditions, subjects : sequences of names, optional
        Stable ids, by which draws are keyed; by default those of the RDMs and the dictionary, or numbers.
    seed : int

    Returns
    -------
    RSA
        Numbers per model, ``table()``, ``pairs()`` and ``summary()``.

    Errors: `ValueError` for other conditions; one subject with draws of subjects; flexible models without
    folds.
    Undefined: a model or subject that is constant has NaN and a ``status``; with one subject there is no
    ceiling.
    Cost per draw: O(K m + M S m) for M models and S subjects (K in all) of m pairs; τ O(M S m log m);
    a full `noise_covariance` O(K n³), and the cube of the number of missing pairs.
    Source: Schütt et al. 2023; Nili et al. 2014. Differs from rsatoolbox: estimates are those of the data,
    not means over
    draws, which repeated conditions bias downwards.

    Examples
    --------
    >>> import numpy as np
    >>> import stereotax as sx
    >>> rng = np.random.default_rng(0)
    >>> def rdm(*patterns):
    ...     x = np.concatenate(patterns, axis=1)
    ...     return ((x[:, None] - x[None]) ** 2).sum(axis=-1)
    >>> shared, other = rng.normal(size=(2, 20, 4))
    >>> people = [rdm(shared, rng.normal(size=(20, 4))) for _ in range(8)]
    >>> found = sx.rsa({"shared": rdm(shared), "other": rdm(other)}, people, n_bootstraps=200)
    >>> bool(found.p_zero[0] < 0.001), bool(found.p_pairwise[0, 1] < 0.01)
    (True, True)
    >>> print(found.summary().splitlines()[0])
    pearson of 2 models with 8 subjects, 20 conditions (bootstrap over subjects and conditions)
    """
    names, given = _models(models)
    people = as_rdms(data, "data")
    for name, (_, parts) in zip(names, given, strict=True):
        same_conditions(people, parts, ("data", name))
    n = people[0].n_conditions
    of_data = [str(key) for key in data.keys()] if hasattr(data, "keys") else None
    subject_ids = optional_names(subjects, "subjects") or of_data or _numbers(len(people))
    known = [rdm.conditions for rdm in (*people, *(p for _, parts in given for p in parts)) if rdm.conditions]
    condition_ids = optional_names(conditions, "conditions") or (known[0] if known else _numbers(n))
    bootstrap = _choice("bootstrap", bootstrap, ("both", "subjects", "conditions", "none"))
    test = _choice("test", test, ("t", "bootstrap", "permutation", "sign_flip"))
    correction = _choice("correction", correction, ("holm", "bh", "none"))
    n_permutations = whole(n_permutations, "n_permutations", DRAWS)
    if test in ("permutation", "sign_flip") and n_permutations == 0:
        raise ValueError(
            f"`n_permutations` is 0, but some expected for the test {test!r}\nhint: n_permutations=9999"
        )
    variances, covariance = noise_of(noise_covariance)
    found = _core.rsa_models(
        np.concatenate([stacked(parts) for _, parts in given]),
        [(kind, len(parts)) for kind, parts in given],
        stacked(people),
        n,
        condition_ids,
        subject_ids,
        comparison(method),
        bootstrap,
        whole(n_bootstraps, "n_bootstraps", DRAWS),
        n_permutations,
        as_number(level, "level"),
        0 if n_folds is None else whole(n_folds, "n_folds", n, least=1),
        whole(n_subject_folds, "n_subject_folds", len(people), least=1),
        whole(n_deals, "n_deals", 1000, least=1),
        variances,
        covariance,
        whole(seed, "seed", SEED),
    )
    by_test = {
        "t": found["zero_t"],
        "bootstrap": found["zero_draws"],
        "permutation": found["permutation"],
        "permutation_max_t": found["permutation_adjusted"],
        "sign_flip": found["flip"],
        "sign_flip_max_t": found["flip_adjusted"],
    }
    p_ceiling = found["ceiling_draws"] if test == "bootstrap" else found["ceiling_t"]
    p_zero = by_test[test]
    pairwise = found["pairwise"]
    upper = np.triu_indices(len(names), 1)
    adjusted_pairs = np.ones_like(pairwise)
    adjusted_pairs[upper] = adjusted_pairs.T[upper] = _adjusted(pairwise[upper], correction)
    estimates, ceilings = found["estimates"], found["ceilings"]
    best = found["best"]

    def both(name: str) -> tuple[float, float]:
        return float(ceilings[name][0]), float(ceilings[name][1])

    return RSA(
        models=names,
        method=comparison(method),
        bootstrap=bootstrap,
        evaluations=found["evaluations"],
        estimates=estimates["value"],
        standard_errors=estimates["standard_error"],
        lower=estimates["lower"],
        upper=estimates["upper"],
        bootstrap_lower=estimates["draw_lower"],
        bootstrap_upper=estimates["draw_upper"],
        noise_ceiling=both("value"),
        noise_ceiling_se=both("standard_error"),
        noise_ceiling_intervals=(
            (float(ceilings["lower"][0]), float(ceilings["upper"][0])),
            (float(ceilings["lower"][1]), float(ceilings["upper"][1])),
        ),
        p_zero=p_zero,
        p_ceiling=p_ceiling,
        p_pairwise=pairwise,
        pairwise_se=found["pairwise_se"],
        p_zero_adjusted=by_test.get(f"{test}_max_t", _adjusted(p_zero, correction)),
        p_ceiling_adjusted=_adjusted(p_ceiling, correction),
        p_pairwise_adjusted=adjusted_pairs,
        correction=correction,
        test=test,
        p_zero_by_test=by_test,
        best={
            "name": None if best is None else names[best],
            "estimate": float("nan") if best is None else float(estimates["value"][best]),
            "optimism": found["optimism"],
            "corrected": found["corrected"],
            "lower": found["best_lower"],
            "upper": found["best_upper"],
        },
        win_share=found["win_share"],
        weights=found["weights"],
        dof=found["dof"],
        n_conditions=n,
        n_subjects=len(people),
        n_bootstraps=found["n_draws"],
        n_poor=found["n_poor"],
        n_undefined=found["n_undefined"],
        n_pairs_dropped=found["n_pairs_dropped"],
        status=found["status"],
    )


def _numbers(n: int) -> list[str]:
    width = len(str(n))
    return [f"{i:0{width}d}" for i in range(n)]


def _models(models: Any) -> tuple[list[str], list[tuple[str, list[RDM]]]]:
    """Names, and (kind, components) of each."""
    if hasattr(models, "keys") and hasattr(models, "values"):
        names, items = [str(name) for name in models.keys()], list(models.values())
    elif isinstance(models, RDM | RDMModel):
        names, items = [getattr(models, "method", None) or "model 0"], [models]
    elif isinstance(models, list | tuple) and any(isinstance(item, RDM | RDMModel) for item in models):
        items = list(models)
        names = [f"model {k}" for k in range(len(items))]
    else:
        items = list(as_rdms(models, "models"))
        names = [f"model {k}" for k in range(len(items))]
    if not items:
        raise ValueError(
            "`models` is empty, but at least one model expected\nhint: pass a dictionary of RDMs"
        )
    given: list[tuple[str, list[RDM]]] = []
    for name, item in zip(names, items, strict=True):
        if isinstance(item, RDMModel):
            given.append((item.kind, item.rdms))
        else:
            given.append(("fixed", [RDM.of(item, name=name)]))
    return names, given


def _adjusted(p: Array, correction: str) -> Array:
    """Holm's or Benjamini and Hochberg's adjustment of the defined ones."""
    out = np.array(p, dtype=float)
    defined = np.flatnonzero(~np.isnan(out))
    if correction == "none" or not len(defined):
        return out
    order = defined[np.argsort(out[defined], kind="stable")]
    m = len(order)
    if correction == "holm":
        steps = np.maximum.accumulate(out[order] * (m - np.arange(m)))
    else:
        steps = np.minimum.accumulate((out[order] * m / np.arange(1, m + 1))[::-1])[::-1]
    out[order] = np.minimum(steps, 1.0)
    return out


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class WeightedRSA(Result):
    """How well weighted features predict RDMs of held-out conditions."""

    #: Mean over folds, per subject.
    scores: Array
    #: The same for equal weights.
    plain_scores: Array
    #: folds × subjects.
    fold_scores: Array
    plain_fold_scores: Array
    #: Means over subjects.
    score: float
    plain_score: float
    method: str
    #: Chosen penalty of each fold.
    alphas: Array
    #: Weights of scaled features on all data (to look at, not to test).
    weights: Array
    #: Features that do not vary.
    n_constant: int


def weighted_rsa(
    features: Any,
    data: Any,
    method: str = "pearson",
    *,
    alphas: Any = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0),
    non_negative: bool = True,
    n_folds: int = 5,
    n_inner_folds: int = 3,
    conditions: Sequence[Any] | None = None,
    seed: int = 0,
) -> WeightedRSA:
    """Feature-reweighted RSA: weigh the features of a model so that their RDM predicts those of subjects.

    Formula: ``min ‖y − Σ w_k d_k‖² + α ḡ ‖w‖²`` over pairs of training conditions, with
    ``d_k(i, j) = (x_ik − x_jk)²`` of
    features scaled to unit variance, y the mean of the subjects' RDMs, all centred, ḡ the mean of ‖d_k‖²; w
    ≥ 0 by
    default. Predictions are compared over pairs of held-out conditions: a pair shares its conditions with
    others, so
    conditions are held out, not pairs.

    Parameters
    ----------
    features : array (conditions, features)
    data : RDMs of the subjects
        A list, dictionary or array; without undefined pairs.
    method : str
        As in `compare_rdms`.
    alphas : sequence of positive numbers
        Among several the best is chosen by folds within the training conditions.
    non_negative : bool
    n_folds, n_inner_folds : int
    conditions : sequence of names, optional
        Stable ids, by which folds are dealt.
    seed : int

    Returns
    -------
    WeightedRSA
        ``scores`` per subject beside ``plain_scores`` of equal weights.

    Errors: `ValueError` for other conditions, NaN, fewer than 4 conditions per fold.
    Undefined: a prediction that is constant over held-out pairs (all weights 0) gives NaN.
    Cost: O(m p²) per fold and choice, m pairs, p features. Source: Kaniuth & Hebart 2022.

    Examples
    --------
    >>> import numpy as np
    >>> import stereotax as sx
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(40, 6))
    >>> seen = x * [3, 0, 0, 1, 0, 2]
    >>> rdm = ((seen[:, None] - seen[None]) ** 2).sum(axis=-1)
    >>> found = sx.weighted_rsa(x, [rdm], alphas=[1e-4])
    >>> bool(found.score > 0.95), bool(found.plain_score < 0.9)
    (True, True)
    """
    x = as_matrix(features, "features", axes="conditions × features")
    people = as_rdms(data, "data")
    found = _core.reweighted_rsa(
        x,
        stacked(people),
        comparison(method),
        [float(alpha) for alpha in np.atleast_1d(to_numpy(alphas, "alphas"))],
        bool(non_negative),
        whole(n_folds, "n_folds", len(x), least=2),
        whole(n_inner_folds, "n_inner_folds", len(x), least=2),
        whole(seed, "seed", SEED),
        optional_names(conditions, "conditions") or people[0].conditions,
    )
    return WeightedRSA(
        scores=found["per_subject"],
        plain_scores=found["plain_per_subject"],
        fold_scores=found["scores"],
        plain_fold_scores=found["plain_scores"],
        score=float(np.mean(found["per_subject"])),
        plain_score=float(np.mean(found["plain_per_subject"])),
        method=comparison(method),
        alphas=found["alphas"],
        weights=found["weights"],
        n_constant=found["n_constant"],
    )


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class MixedRSA(Result):
    """How well geometries predicted by encoding models match measured ones on held-out conditions."""

    #: Mean over folds, per subject.
    scores: Array
    #: The same for the RDM of the features as they come.
    fixed_scores: Array
    #: folds × subjects.
    fold_scores: Array
    fixed_fold_scores: Array
    #: Means over subjects.
    score: float
    fixed_score: float
    method: str
    distance: str
    #: folds × subjects: mean inner R² of the encoding models.
    inner_scores: Array
    #: Per subject, the most voxels without a prediction in a fold.
    n_undefined: list[int]


def mixed_rsa(
    features: Any,
    responses: Any,
    method: str = "pearson",
    *,
    distance: str = "correlation",
    alphas: Sequence[float] = _GRID,
    n_folds: int = 5,
    n_inner_folds: int = 5,
    conditions: Sequence[Any] | None = None,
    seed: int = 0,
) -> MixedRSA:
    """Voxel-encoding ("mixed") RSA: remix features to predict every voxel, then compare geometries.

    Formula: per fold of conditions ``compare(RDM(X_test B), RDM(Y_test))`` with B by ridge on the training
    conditions, a
    penalty per voxel chosen by folds within them; beside it ``compare(RDM(X_test), RDM(Y_test))`` of the
    features as they
    come. Only pairs of two conditions of one fold count: across folds patterns come from different fits.

    Parameters
    ----------
    features : array (conditions, features)
        Z-scored by the training conditions.
    responses : array (conditions, voxels), or a list of such, one per subject
        Subjects may have different numbers of voxels.
    method : str
        How RDMs are compared, as in `compare_rdms`.
    distance : {"correlation", "sqeuclidean"}
        How RDMs are made: 1 − correlation over voxels, or squared Euclidean distance per voxel.
    alphas : sequence of float
        Penalties, as multiples of the mean squared singular value.
    n_folds, n_inner_folds : int
    conditions : sequence of names, optional
        Stable ids, by which folds are dealt.
    seed : int

    Returns
    -------
    MixedRSA
        ``scores`` per subject beside ``fixed_scores``; both in the range of `method`, larger is more alike
        (not for distances).

    Errors: `ValueError` for other conditions, NaN, fewer than 4 conditions per fold.
    Undefined: a voxel that is constant over training conditions has no prediction and is left out; a fold
    whose RDMs do not vary gives NaN.
    Cost: one ridge per fold, shared by subjects. Source: Khaligh-Razavi et al. 2017.

    Examples
    --------
    >>> import numpy as np
    >>> import stereotax as sx
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(60, 12))
    >>> voxels = x[:, :2] @ rng.normal(size=(2, 30)) + 0.3 * rng.normal(size=(60, 30))
    >>> found = sx.mixed_rsa(x, voxels)
    >>> bool(found.score > 0.8), bool(found.fixed_score < 0.6)
    (True, True)
    """
    x = as_matrix(features, "features", axes="conditions × features")
    several = isinstance(responses, (list, tuple)) and len(responses) > 0 and np.ndim(responses[0]) == 2
    given = responses if several else [responses]
    people = [as_matrix(y, "responses", axes="conditions × voxels") for y in given]
    distance = _choice("distance", distance, ("correlation", "sqeuclidean"))
    found = _core.mixed_rsa(
        x,
        people,
        comparison(method),
        distance,
        sorted(as_number(alpha, "alphas") for alpha in alphas),
        whole(n_folds, "n_folds", len(x), least=2),
        whole(n_inner_folds, "n_inner_folds", len(x), least=2),
        whole(seed, "seed", SEED),
        optional_names(conditions, "conditions"),
    )
    return MixedRSA(
        scores=found["per_subject"],
        fixed_scores=found["fixed_per_subject"],
        fold_scores=found["scores"],
        fixed_fold_scores=found["fixed_scores"],
        score=float(np.mean(found["per_subject"])),
        fixed_score=float(np.mean(found["fixed_per_subject"])),
        method=comparison(method),
        distance=distance,
        inner_scores=found["inner_scores"],
        n_undefined=found["n_undefined"],
    )
