"""Tell classes of stimuli from responses: held-out accuracy, over time and across populations."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from . import _core
from ._arrays import COUNT, DRAWS, SEED, Array, as_matrix, as_names, as_number, finite, flag, to_numpy, whole
from ._base import Estimator, Result
from ._folds import Fold, as_folds
from ._responses import ResponseTensor
from ._table import Table

#: Classifiers of the core.
METHODS = ("logistic", "neighbours", "maximum_correlation", "discriminant")

Settings = tuple[str, float, int, float | None, bool, int, float]


class Classifier(Estimator):
    """Tell classes apart: logistic regression, nearest neighbours, maximum correlation, or a discriminant.

    Formula: "logistic" minimises ``½ ‖W‖² − c Σ log softmax(Wᵀx + b)[y]``; "neighbours" lets the k nearest
    (Euclidean) vote; "maximum_correlation" takes the class mean of highest Pearson correlation over features;
    "discriminant" scores ``xᵀ Σ⁻¹ μ_k − ½ μ_kᵀ Σ⁻¹ μ_k + log π_k`` with ``Σ = (1 − γ) S + γ (tr S/p) I``.

    Parameters
    ----------
    method : {"logistic", "neighbours", "maximum_correlation", "discriminant"}
    c : float
        Of logistic regression: weight of the data against the penalty.
    k : int
        Of nearest neighbours. Equal votes go to the first class by name, equal distances to the first sample.
    shrinkage : "auto" or float in [0, 1]
        γ of the discriminant; "auto" estimates it (Ledoit & Wolf 2004).
    zscore : bool
        Bring features to mean 0 and variance 1 by the training samples; constant ones become 0.
    max_iterations, tolerance : int, float
        Of logistic regression: it ends at that gradient, or where steps gain less than 10⁻³ of it.

    Attributes
    ----------
    classes_ : list of names, sorted
    coef_, intercept_ : arrays, features × classes and classes
        Of linear methods.
    converged_ : bool
    n_constant_ : int
        Features that do not vary over the training samples.

    Errors: `ValueError` for NaN, one class only, more neighbours than samples, a discriminant without
    variance within classes. Undefined: the correlation of a constant pattern (its class is None).
    Cost: logistic 4 n p K per step; neighbours n m p; discriminant n p min(n, p).

    Source: specs encoding-manifolds 4.3; Meyers 2024 (maximum correlation). Differs from scikit-learn: its
    logistic regression may stop before the optimum; its automatic shrinkage goes class by class.

    Examples
    --------
    >>> import numpy as np
    >>> import stereotax as sx
    >>> rng = np.random.default_rng(0)
    >>> y = np.repeat(["left", "right"], 20)
    >>> X = rng.normal(size=(40, 5)) + 2 * (y == "left")[:, None]
    >>> sx.Classifier("discriminant").fit(X[::2], y[::2]).score(X[1::2], y[1::2])
    1.0
    """

    def __init__(
        self,
        method: str = "logistic",
        *,
        c: float = 1.0,
        k: int = 3,
        shrinkage: str | float = "auto",
        zscore: bool = False,
        max_iterations: int = 2000,
        tolerance: float = 1e-8,
    ) -> None:
        self.method = method
        self.c = c
        self.k = k
        self.shrinkage = shrinkage
        self.zscore = zscore
        self.max_iterations = max_iterations
        self.tolerance = tolerance

    def _settings(self) -> Settings:
        if isinstance(self.shrinkage, str) and self.shrinkage != "auto":
            raise ValueError(
                f'`shrinkage` is {self.shrinkage!r}, but "auto" or a number from 0 to 1 expected'
            )
        return (
            str(self.method),
            as_number(self.c, "c"),
            whole(self.k, "k", COUNT, least=1),
            None if isinstance(self.shrinkage, str) else as_number(self.shrinkage, "shrinkage"),
            flag(self.zscore, "zscore"),
            whole(self.max_iterations, "max_iterations", COUNT, least=1),
            as_number(self.tolerance, "tolerance"),
        )

    def fit(self, X: Any, y: Any) -> Classifier:
        """Fit on samples × features with one label each."""
        features, labels = _samples(X), _names(y, "y")
        self._told = _core.Fitted.fit(features, _of_rows(labels, features), self._settings())
        found = self._told.results()
        self.classes_: list[str] = found["classes"]
        self.converged_: bool = found["converged"]
        self.n_constant_: int = found["n_constant"]
        if "weights" in found:
            self.coef_: Array = found["weights"]
            self.intercept_: Array = found["intercepts"]
        self.n_features_in_ = features.shape[1]
        return self

    def decision_function(self, X: Any) -> Array:
        """Scores (samples × classes): the highest one is taken. NaN where a pattern is constant."""
        self._fitted("classes_")
        scores: Array = self._told.tell(_samples(X))[0]
        return scores

    def predict(self, X: Any) -> Array:
        """The class of each sample; None where no score exists."""
        self._fitted("classes_")
        told = self._told.tell(_samples(X))[1]
        return np.array([self.classes_[k] if k >= 0 else None for k in told], dtype=object)

    def score(self, X: Any, y: Any) -> float:
        """Share of samples told rightly, in [0, 1]."""
        predicted = self.predict(X)
        labels = _of_rows(_names(y, "y"), predicted)
        return float(np.mean([a == b for a, b in zip(predicted, labels, strict=True)]))


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class Decoding(Result):
    """Held-out accuracy with confusions and what chance gives."""

    #: Share of held-out samples told rightly; mean over classes of that share. Both in [0, 1].
    accuracy: float
    balanced_accuracy: float
    #: One row for `accuracy` and one for `balanced_accuracy`: value, chance, p_value, null_mean, null_q95.
    scores: Table
    classes: list[str]
    #: One row per pair of classes: observed, predicted, n, share (of the held-out samples of `observed`).
    confusions: Table
    #: One row per held-out sample: sample, fold, observed, predicted (None without any score).
    predictions: Table
    #: Accuracy of each fold.
    fold_accuracies: Array
    #: Held-out samples without any score: told wrongly.
    n_undefined: int
    #: Fits that stopped before their optimum.
    n_unconverged: int
    #: Features that do not vary over the training samples of a fold, at most.
    n_constant: int
    warning: str | None

    @property
    def confusion(self) -> Array:
        """Counts, classes (observed) × classes (predicted)."""
        k = len(self.classes)
        counts: Array = self.confusions["n"].reshape(k, k)
        return counts


def decode(
    X: Any,
    labels: Any,
    *,
    classifier: Any = "logistic",
    cv: Any = None,
    groups: Any = None,
    n_permutations: int = 0,
    seed: int = 0,
) -> Decoding:
    """How well classes of samples can be told from their features, on samples that did not train.

    Formula: accuracy is the share of held-out samples told rightly; balanced accuracy the mean over classes
    of that share. Chance is what an answer that never changes gets.

    Parameters
    ----------
    X : array, samples × features
    labels : sequence of names, one per sample
    classifier : str, `Classifier`, or any estimator with `fit` and `predict`
        "logistic", "neighbours", "maximum_correlation", "discriminant"; or "svm": a linear support vector
        machine of scikit-learn (the extra ``sklearn``).
    cv : int, splitter or folds, optional
        A number: folds that each have their share of every class, or with `groups` that keep groups whole.
        None: 5, or one group at a time.
    groups : sequence of names, optional
        Samples that stay together (a clip, a session, a subject).
    n_permutations : int
        Shuffles of labels. Groups with one label move whole; where labels differ within groups they are
        shuffled within them.
    seed : int
        Of folds and shuffles.

    Returns
    -------
    Decoding
        p = (1 + #{null ≥ observed})/(1 + shuffles).

    Errors: `ValueError` for one class, NaN, a fold without training samples of a class, more neighbours than
    samples. Cost: one fit per fold, and per fold and shuffle. Source: specs encoding-manifolds 4.3.

    Examples
    --------
    >>> import numpy as np
    >>> import stereotax as sx
    >>> rng = np.random.default_rng(0)
    >>> labels = np.repeat(["car", "face", "hand"], 20)
    >>> codes = np.unique(labels, return_inverse=True)[1]
    >>> X = rng.normal(size=(60, 8)) + 3 * (codes[:, None] == np.arange(8))
    >>> found = sx.decode(X, labels, classifier="maximum_correlation", n_permutations=99)
    >>> bool(found.accuracy > 0.8), found.scores["p_value"][0]
    (True, np.float64(0.01))
    """
    features, names = _samples(X), _names(labels, "labels")
    _of_rows(names, features)
    members = _groups(groups, features)
    folds = _folds(cv, names, members, seed)
    draws = whole(n_permutations, "n_permutations", DRAWS)
    if isinstance(classifier, str) and classifier == "svm":
        classifier = _svm()
    if not isinstance(classifier, str | Classifier):
        return _decode_by(classifier, features, names, folds, draws)
    found = _core.decode(
        features, names, folds, _settings(classifier), (members, draws, whole(seed, "seed", SEED))
    )
    return _decoding(found)


def _decoding(found: dict[str, Any]) -> Decoding:
    classes, of_class = found["classes"], found["n_of_class"]
    k = len(classes)
    rows = ("accuracy", "balanced_accuracy")
    scores = np.array([found[name] for name in rows])
    columns = ("value", "chance", "p_value", "null_mean", "null_q95")
    counts = np.array(found["confusion"])
    told = found["predictions"]
    return Decoding(
        accuracy=float(scores[0, 0]),
        balanced_accuracy=float(scores[1, 0]),
        scores=Table({"score": list(rows)} | dict(zip(columns, scores.T, strict=True))),
        classes=classes,
        confusions=Table(
            {
                "observed": [name for name in classes for _ in classes],
                "predicted": classes * k,
                "n": counts,
                "share": counts / np.repeat(np.maximum(of_class, 1), k),
            }
        ),
        predictions=Table(
            {
                "sample": np.array([row[0] for row in told]),
                "fold": np.array([row[1] for row in told]),
                "observed": [classes[row[2]] for row in told],
                "predicted": [None if row[3] is None else classes[row[3]] for row in told],
            }
        ),
        fold_accuracies=found["fold_accuracies"],
        n_undefined=int(sum(found["n_undefined"])),
        n_unconverged=found["n_unconverged"],
        n_constant=found["n_constant"],
        warning=found["warning"],
    )


def _decode_by(estimator: Any, x: Array, names: list[str], folds: list[Fold], draws: int) -> Decoding:
    """Held-out accuracy of an estimator that has `fit` and `predict`; no shuffles."""
    if not (callable(getattr(estimator, "fit", None)) and callable(getattr(estimator, "predict", None))):
        raise ValueError(
            f"`classifier` is {estimator!r:.60}, but one of {', '.join(METHODS)}, svm, or an estimator with "
            "fit and predict expected"
        )
    if draws:
        raise ValueError(
            "`n_permutations` is above 0, but 0 expected with an estimator of another library\n"
            "hint: decode by one of " + ", ".join(METHODS)
        )
    classes = sorted(set(names))
    if len(classes) < 2:
        raise ValueError("`labels` has 1 class, but at least 2 expected\nhint: decoding tells classes apart")
    place, y = {name: k for k, name in enumerate(classes)}, np.array(names, dtype=object)
    counts = np.zeros((len(classes), len(classes)), dtype=np.int64)
    predictions, accuracies = [], []
    for at, (train, test) in enumerate(folds):
        known = set(y[train])
        absent = [name for name in classes if name not in known]
        if absent:
            raise ValueError(
                f"training samples of fold `{at}` has none of {', '.join(absent)}, but at least 1 sample of "
                "every class needed\nhint: stratify the folds"
            )
        told = [str(name) for name in _copy(estimator).fit(x[train], y[train].astype(str)).predict(x[test])]
        for sample, name in zip(test, told, strict=True):
            counts[place[names[sample]], place[name]] += 1
            predictions.append((sample, at, place[names[sample]], place[name]))
        accuracies.append(np.mean([a == names[i] for i, a in zip(test, told, strict=True)]))
    of_class = counts.sum(axis=1)
    held = of_class > 0
    nothing = [np.nan] * 3
    return _decoding(
        {
            "classes": classes,
            "accuracy": [np.trace(counts) / counts.sum(), of_class.max() / of_class.sum(), *nothing],
            "balanced_accuracy": [
                (np.diag(counts)[held] / of_class[held]).mean(), 1 / held.sum(), *nothing,
            ],
            "fold_accuracies": np.array(accuracies),
            "confusion": counts.ravel(),
            "n_of_class": of_class,
            "n_undefined": [0],
            "predictions": predictions,
            "n_unconverged": 0,
            "n_constant": 0,
            "warning": None,
        }
    )  # fmt: skip


def _copy(estimator: Any) -> Any:
    parameters = getattr(estimator, "get_params", None)
    if parameters is None:
        import copy

        return copy.deepcopy(estimator)
    return type(estimator)(**parameters(deep=False))


def _svm() -> Any:
    try:
        from sklearn.svm import SVC
    except ImportError as missing:
        raise ImportError(
            "support vector machines need scikit-learn\nhint: pip install 'stereotax[sklearn]'"
        ) from missing
    return SVC(kernel="linear")


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class TemporalGeneralisation(Result):
    """Accuracies of classifiers trained at one time (rows) and asked at another (columns)."""

    #: Training time × test time, in [0, 1].
    accuracy: Array
    balanced_accuracy: Array
    #: Of each accuracy for itself, and against the highest of all cells; NaN without shuffles.
    p_values: Array
    p_family: Array
    #: Names or seconds of the times.
    times: list[Any]
    classes: list[str]
    n_unconverged: int
    n_undefined: int
    warning: str | None

    @property
    def table(self) -> Table:
        """One row per pair of times: train, test, accuracy, balanced_accuracy, p_value, p_family."""
        n = len(self.times)
        return Table(
            {
                "train": [t for t in self.times for _ in range(n)],
                "test": list(self.times) * n,
                "accuracy": self.accuracy.ravel(),
                "balanced_accuracy": self.balanced_accuracy.ravel(),
                "p_value": self.p_values.ravel(),
                "p_family": self.p_family.ravel(),
            }
        )


def temporal_generalisation(
    X: Any,
    labels: Any,
    *,
    times: Any = None,
    classifier: Any = "maximum_correlation",
    cv: Any = None,
    groups: Any = None,
    n_permutations: int = 0,
    seed: int = 0,
) -> TemporalGeneralisation:
    """Train at every time, test at every time: whether what tells classes apart stays or moves on.

    Formula: ``A[t, t′]`` is the held-out accuracy of a classifier fitted at t and asked at t′. A square says
    that the code stays; a bare diagonal, that it moves on.

    Parameters
    ----------
    X : array, samples × features × times
    labels : sequence of names, one per sample
    times : sequence, optional
        Names or seconds of the times.
    classifier : str or `Classifier`
    cv, groups, n_permutations, seed
        As for `decode`.

    Returns
    -------
    TemporalGeneralisation

    Errors: as `decode`. Cost: times × folds fits, and times² × folds predictions; as often for every shuffle.
    Source: King & Dehaene 2014; Meyers 2024.

    Examples
    --------
    >>> import numpy as np
    >>> import stereotax as sx
    >>> rng = np.random.default_rng(0)
    >>> y = np.tile([0, 1], 20)
    >>> X = rng.normal(size=(40, 6, 3))
    >>> X[:, :3, 1:] += 3 * (y[:, None] == np.arange(3))[:, :, None]   # the code stays from time 1 on
    >>> found = sx.temporal_generalisation(X, y, cv=4)
    >>> found.accuracy[1:, 1:].min() > 0.8
    np.True_
    """
    array = _movie(X)
    n, _, n_times = array.shape
    names = _of_rows(_names(labels, "labels"), array)
    marks = list(range(n_times)) if times is None else list(np.asarray(times).tolist())
    if len(marks) != n_times:
        raise ValueError(f"`times` has {len(marks)}, but {n_times} expected (the last axis of `X`)")
    members = _groups(groups, array)
    found = _core.temporal_generalisation(
        array.reshape(n, -1),
        n_times,
        names,
        _folds(cv, names, members, seed),
        _settings(classifier),
        (members, whole(n_permutations, "n_permutations", DRAWS), whole(seed, "seed", SEED)),
    )
    return TemporalGeneralisation(times=marks, **found)


def window_accuracy(
    X: Any,
    labels: Any = None,
    *,
    windows: str = "growing",
    classifier: Any = "logistic",
    cv: Any = None,
    groups: Any = None,
    n_repeats: int = 5,
    seed: int = 0,
) -> Table:
    """Accuracy of decoding from means over windows that grow from the start, or shrink towards the end.

    Formula: window i holds the times 0…i ("growing") or i…T−1 ("shrinking"); features are its means.

    Parameters
    ----------
    X : `ResponseTensor`, or array samples × features × times
        Of a tensor, samples are pairs of stimulus and direction (`ResponseTensor.samples`) and labels the
        stimuli.
    labels : sequence of names, one per sample; not for a tensor
    windows : {"growing", "shrinking"}
    classifier : str or `Classifier`
    cv, groups
        As for `decode`. Means over trials of neighbouring directions are not independent: ``groups=
        "directions"`` of a tensor leaves whole directions out.
    n_repeats : int
        Fresh deals of the folds, where `cv` is a number.
    seed : int

    Returns
    -------
    Table
        One row per window: first, last (time bins), accuracy, sd over repeats, balanced_accuracy,
        n_unconverged.

    Errors: as `decode`; padded ends of stimuli. Cost: times × folds × repeats fits.
    Source: specs encoding-manifolds 4.3.

    Examples
    --------
    >>> import numpy as np
    >>> import stereotax as sx
    >>> rng = np.random.default_rng(0)
    >>> values = rng.uniform(size=(20, 3, 8, 5))
    >>> values[:, :, :, 3:] += rng.uniform(size=(20, 3, 1, 1))
    >>> responses = sx.ResponseTensor(
    ...     values, stimuli=["a", "b", "c"], directions=np.arange(8) * 45, bin_s=0.1
    ... )
    >>> found = sx.window_accuracy(responses, windows="shrinking", n_repeats=2)
    >>> found["accuracy"][-1] > 0.9
    np.True_
    """
    if isinstance(X, ResponseTensor):
        if labels is not None:
            raise ValueError("`labels` are given, but a tensor has its own\nhint: pass an array instead")
        samples = X.samples()
        X, labels = samples.values, samples.stimuli
        groups = samples.directions if isinstance(groups, str) and groups == "directions" else groups
    array = _movie(X)
    n, _, n_times = array.shape
    names = _of_rows(_names([] if labels is None else labels, "labels"), array)
    members = _groups(groups, array)
    if windows not in ("growing", "shrinking"):
        raise ValueError(f"`windows` is {windows!r}, but growing or shrinking expected")
    first = whole(seed, "seed", SEED)
    dealt = cv is None and members is None or isinstance(cv, int | np.integer)
    repeats = whole(n_repeats, "n_repeats", COUNT, least=1) if dealt else 1
    found = _core.window_accuracy(
        array.reshape(n, -1),
        n_times,
        names,
        [_folds(cv, names, members, (first + each) % (SEED + 1)) for each in range(repeats)],
        windows == "shrinking",
        _settings(classifier),
    )
    columns = ("first", "last", "accuracy", "sd", "balanced_accuracy", "n_unconverged")
    return Table(
        {name: np.array(column) for name, column in zip(columns, zip(*found, strict=True), strict=True)}
    )


def transfer_decoding(
    populations: Mapping[str, Any],
    labels: Any,
    *,
    n_components: int | None = None,
    classifier: Any = "logistic",
    cv: Any = None,
    groups: Any = None,
    seed: int = 0,
) -> Table:
    """Train on one population, test on another: subjects, areas, modules of a network.

    Formula: a classifier fitted on the training samples of `source` is asked for held-out samples of
    `target`. With `n_components`, populations are described by the principal components of their training
    samples, and the target is turned onto the source by the orthogonal Q of least ``‖S_t Q − S_s‖``.

    Parameters
    ----------
    populations : mapping of names to arrays, samples × features
        Rows are the same samples in all. Without `n_components`, features too.
    labels : sequence of names, one per sample
    n_components : int, optional
    classifier : str or `Classifier`
    cv, groups, seed
        As for `decode`.

    Returns
    -------
    Table
        One row per pair: source, target, accuracy, balanced_accuracy, both in [0, 1]. Source and target the
        same: decoding within, in the same components.

    Errors: as `decode`; other rows or, without `n_components`, other features.
    Cost: per fold one decomposition per population and one fit per source. Source: Schönemann 1966.

    Examples
    --------
    >>> import numpy as np
    >>> import stereotax as sx
    >>> rng = np.random.default_rng(0)
    >>> y = np.tile([0, 1, 2], 15)
    >>> latent = rng.normal(size=(45, 4)) + 5 * (y[:, None] == np.arange(4))
    >>> areas = {name: latent @ rng.normal(size=(4, 30)) for name in ("V1", "V4")}
    >>> found = sx.transfer_decoding(areas, y, n_components=4)
    >>> found.where(source="V1", target="V4")["accuracy"] > 0.8
    array([ True])
    """
    if not populations:
        raise ValueError("`populations` is empty, but one expected\nhint: pass {'V1': array}")
    arrays = {str(name): _samples(x, str(name)) for name, x in populations.items()}
    first = next(iter(arrays.values()))
    names = _of_rows(_names(labels, "labels"), first)
    members = _groups(groups, first)
    found = _core.transfer_decoding(
        list(arrays),
        list(arrays.values()),
        names,
        _folds(cv, names, members, seed),
        None if n_components is None else whole(n_components, "n_components", COUNT, least=1),
        _settings(classifier),
    )
    return Table(
        {
            "source": [name for name in arrays for _ in arrays],
            "target": list(arrays) * len(arrays),
            "accuracy": found["accuracy"].ravel(),
            "balanced_accuracy": found["balanced_accuracy"].ravel(),
        }
    )


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class PseudoTrials(Result):
    """Trials of units that were recorded one after another, put together."""

    #: Rows × units, or rows × units × times.
    values: Array
    #: Class of each row.
    labels: list[str]
    #: Repeat of each row: hold whole repeats out (`groups`).
    repeats: list[str]


def pseudo_trials(
    trials: Mapping[str, Any], labels: Mapping[str, Any], *, n_repeats: int, seed: int = 0
) -> PseudoTrials:
    """Pseudo-simultaneous trials from units that were recorded one after another.

    Of every unit, `n_repeats` trials of each class are drawn without replacement; repeat r of a class puts
    the r-th drawn trials of all units together. Correlations of noise between units are lost.

    Parameters
    ----------
    trials : mapping of units to arrays, trials or trials × times
        Units may have other numbers of trials.
    labels : mapping of units to sequences of names, one per trial
    n_repeats : int
    seed : int

    Returns
    -------
    PseudoTrials

    Errors: `ValueError` for a unit with fewer trials of a class than repeats, which it names.
    Cost: O(values). Source: Meyers 2024.

    Examples
    --------
    >>> import numpy as np
    >>> import stereotax as sx
    >>> trials = {"u": np.arange(4.0), "v": np.arange(6.0)}
    >>> labels = {"u": list("abab"), "v": list("aaabbb")}
    >>> sx.pseudo_trials(trials, labels, n_repeats=2).values.shape
    (4, 2)
    """
    units = [str(name) for name in trials]
    arrays = [np.asarray(to_numpy(x, str(name)), dtype=np.float64) for name, x in trials.items()]
    named = {str(name): _names(given, "labels") for name, given in labels.items()}
    for name, array in zip(units, arrays, strict=True):
        if name not in named:
            raise ValueError(f"`labels` has no `{name}`\nhint: one list of labels per unit")
        if (
            array.ndim not in (1, 2)
            or len(array) != len(named[name])
            or array.shape[1:] != arrays[0].shape[1:]
        ):
            raise ValueError(
                f"`{name}` has the shape {array.shape} and {len(named[name])} labels, but one label per "
                f"trial and the times of the first unit {arrays[0].shape[1:]} expected"
            )
    repeats = whole(n_repeats, "n_repeats", COUNT)
    rows = _core.pseudo_trials(units, [named[name] for name in units], repeats, whole(seed, "seed", SEED))
    classes = sorted(set(named[units[0]]))
    return PseudoTrials(
        values=np.stack([array[chosen] for array, chosen in zip(arrays, rows, strict=True)], axis=1),
        labels=classes * repeats,
        repeats=[f"repeat {r}" for r in range(repeats) for _ in classes],
    )


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class PrincipalStates(Result):
    """States of a population in its first principal components."""

    #: Stimuli × directions × times (1 for means over time) × components; NaN at padded ends.
    scores: Array
    #: Units × components; the largest entry of each is positive.
    loadings: Array
    #: Share of the variance of each component.
    explained: Array
    stimuli: list[str]
    directions: Array

    @property
    def table(self) -> Table:
        """One row per state: stimulus, direction, time_bin, and the components."""
        s, d, t, k = self.scores.shape
        flat = self.scores.reshape(-1, k)
        columns: dict[str, Any] = {
            "stimulus": [name for name in self.stimuli for _ in range(d * t)],
            "direction": np.tile(np.repeat(self.directions, t), s),
            "time_bin": np.tile(np.arange(t), s * d),
        }
        return Table(columns | {f"component_{i + 1}": flat[:, i] for i in range(k)})


def principal_states(
    responses: ResponseTensor, *, n_components: int = 3, over_time: bool = True
) -> PrincipalStates:
    """Stimuli as paths, or as points, in the first principal components of a population (decoding manifold).

    Formula: PCA of the matrix with a row per stimulus, direction and time (or of the means over time) and a
    column per unit, centred and not scaled.

    Parameters
    ----------
    responses : ResponseTensor
    n_components : int
    over_time : bool
        Paths; False: one point per stimulus and direction.

    Returns
    -------
    PrincipalStates

    Errors: `ValueError` for a unit that was not shown a stimulus, responses that do not vary, more components
    than units. Cost: rows · units · min(rows, units). Source: specs encoding-manifolds 4.1, 4.2.

    Examples
    --------
    >>> import numpy as np
    >>> import stereotax as sx
    >>> values = np.random.default_rng(0).uniform(size=(20, 2, 4, 6))
    >>> responses = sx.ResponseTensor(
    ...     values, stimuli=["grating", "dots"], directions=[0, 90, 180, 270], bin_s=0.1
    ... )
    >>> sx.principal_states(responses).scores.shape
    (2, 4, 6, 3)
    """
    if not isinstance(responses, ResponseTensor):
        raise ValueError(
            f"`responses` is {type(responses).__name__}, but a ResponseTensor expected\n"
            "hint: sx.ResponseTensor(values, stimuli=…, directions=…, bin_s=…)"
        )
    found = _core.principal_states(
        responses._core, whole(n_components, "n_components", COUNT), flag(over_time, "over_time")
    )
    return PrincipalStates(stimuli=responses.stimuli, directions=responses.directions, **found)


def _settings(classifier: Any) -> Settings:
    if isinstance(classifier, str):
        classifier = Classifier(classifier)
    if not isinstance(classifier, Classifier):
        raise ValueError(
            f"`classifier` is {classifier!r:.60}, but one of {', '.join(METHODS)} or a Classifier expected\n"
            "hint: estimators of other libraries work in `decode`"
        )
    return classifier._settings()


def _folds(cv: Any, names: list[str], groups: list[str] | None, seed: Any) -> list[Fold]:
    """Folds: dealt by class, by whole groups, one group at a time, or as given."""
    seed = whole(seed, "seed", SEED)
    if groups is None and cv is None:
        cv = 5
    if isinstance(cv, int | np.integer) and not isinstance(cv, bool):
        count = whole(cv, "cv", COUNT, least=2)
        if groups is None:
            return _core.stratified_folds(names, count, seed)
        return _core.grouped_folds(groups, count, seed)
    if callable(getattr(cv, "split", None)):
        cv = list(cv.split(np.zeros((len(names), 1)), names, groups))
        groups = None
    return as_folds(cv, None if cv is not None else groups, len(names))


def _names(values: Any, name: str) -> list[str]:
    """One string per sample; also from arrays of objects, as tables have them."""
    return as_names(values.tolist() if hasattr(values, "tolist") else values, name)


def _samples(x: Any, name: str = "X") -> Array:
    array = as_matrix(
        x, name, axes="samples × features", hint="take the mean over time, or use temporal_generalisation"
    )
    return finite(array, name)


def _movie(x: Any) -> Array:
    array = np.ascontiguousarray(to_numpy(x, "X"), dtype=np.float64)
    if array.ndim != 3 or 0 in array.shape:
        raise ValueError(
            f"`X` has the shape {array.shape}, but three axes (samples × features × times) expected\n"
            "hint: time is the last axis"
        )
    finite(array.reshape(len(array), -1), "X")
    return array


def _of_rows(names: list[str], rows: Sequence[Any] | Array) -> list[str]:
    if len(names) != len(rows):
        raise ValueError(
            f"`labels` has {len(names)} names, but {len(rows)} expected (one per sample)\n"
            "hint: rows of `X` are samples"
        )
    return names


def _groups(groups: Any, rows: Any) -> list[str] | None:
    if groups is None:
        return None
    names = _names(groups, "groups")
    if len(names) != len(rows):
        raise ValueError(f"`groups` has {len(names)} names, but {len(rows)} expected (one per sample)")
    return names
