"""Ridge regression over several bands of features, each with a weight of its own."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from . import _core
from ._arrays import COUNT, SEED, Array, as_columns, as_matrix, as_number, finite, flag, refuse_twice, whole
from ._base import Estimator
from ._kernel import as_penalties, as_selection, as_targets
from ._linear import r2_score
from ._partition import product_measure
from ._ridge import _GRID, _choice


class BandedRidgeCV(Estimator):
    """Predict many targets from several bands of features (or kernels), with weights per target.

    Formula: ``K_γ = Σ_b γ_b K_b`` with γ on the simplex; ``a = (K_γ + αI)⁻¹ (y − ȳ)``,
    ``ŷ(x) = Σ_b γ_b k_b(x)ᵀ a + c``. γ and α are those of the best cross-validated score of each target: a
    random search over the simplex times a grid of penalties, then, if asked for, steps along the gradient of
    the same score in ``ln(γ_b/α)``. A weight near 0 switches a band off.

    Parameters
    ----------
    kernel : {"linear", "poly", "rbf", "precomputed"}
        Of every band; with ``"precomputed"`` the bands are kernels.
    gamma, degree, coef0
        As in `KernelRidgeCV`.
    n_draws : int
        Draws of γ, of which the first is the centre of the simplex.
    concentration : sequence of float
        Concentrations of the Dirichlet distribution, in turn. 0.1 puts most weight on one band, 1 is uniform.
    draws : array, draws × bands, optional
        The γ to try, instead of random ones.
    seed : int
        Of the draws.
    alphas, alpha_scale, fit_intercept
        As in `KernelRidgeCV`; penalties must be above 0. ``"mean_square"`` multiplies trace(K_γ)/n of each
        draw.
    cv, purge
        As in `KernelRidgeCV`. All cost about the same: one decomposition per draw, whatever the folds.
    refine : int
        Steps of refinement per target, each O(n³); 10 are plenty. 0 keeps the best draw.

    Attributes
    ----------
    gamma_ : array, bands × targets
    alpha_, best_score_ : array, targets
        In absolute units; R² pooled over folds (the best of many: no honest estimate).
    deltas_ : array, bands × targets
        ln(γ/α), himalaya's form.
    draw_ : array, targets
        Which draw was the best before refinement; −1 for a target that does not vary, whose numbers are NaN.
    draws_ : array, draws × bands
    dual_coef_ : array, training samples × targets
    intercept_ : array, targets
    band_names_ : list of str

    Errors
    ------
    ValueError
        For NaN or infinities, rows that do not match, kernels that are not symmetric, draws off the simplex,
        penalties of 0, folds that overlap.

    Cost: per draw O(n³ + d n² R) for R targets, where the shrinkage at all penalties lies in d dimensions (6
    to 14), ``"gcv"`` O(n³ + n² R); products with targets in their precision.

    Source: Nunez-Elizalde, Huth & Gallant 2019; Dupré la Tour et al. 2022; specs alignment-methods B17.
    Scores are those of himalaya's `MultipleKernelRidgeCV` (random search) with the same draws, folds of one
    size, absolute penalties and no intercept.

    Examples
    --------
    >>> import numpy as np
    >>> import stereotax as sx
    >>> rng = np.random.default_rng(0)
    >>> bands = {"motion": rng.normal(size=(200, 30)), "words": rng.normal(size=(200, 80))}
    >>> y = bands["motion"][:, :3].sum(axis=1) + 0.5 * rng.normal(size=200)
    >>> train, test = ({name: x[rows] for name, x in bands.items()} for rows in (slice(150), slice(150, 200)))
    >>> ridge = sx.BandedRidgeCV(n_draws=20, refine=5).fit(train, y[:150])
    >>> bool(ridge.gamma_[0] > 0.8)
    True
    >>> parts = ridge.score_bands(test, y[150:])
    >>> bool(parts["motion"] > 0.7 and abs(parts["words"]) < 0.1)
    True
    """

    _one_target: bool

    def __init__(
        self,
        kernel: str = "linear",
        *,
        gamma: float | None = None,
        degree: int = 3,
        coef0: float = 1.0,
        n_draws: int = 100,
        concentration: Iterable[float] = (0.1, 1.0),
        draws: Any = None,
        seed: int = 0,
        alphas: Iterable[float] = _GRID,
        alpha_scale: str = "mean_square",
        fit_intercept: bool = True,
        cv: Any = 5,
        purge: int = 0,
        refine: int = 0,
    ) -> None:
        self.kernel = kernel
        self.gamma = gamma
        self.degree = degree
        self.coef0 = coef0
        self.n_draws = n_draws
        self.concentration = concentration
        self.draws = draws
        self.seed = seed
        self.alphas = alphas
        self.alpha_scale = alpha_scale
        self.fit_intercept = fit_intercept
        self.cv = cv
        self.purge = purge
        self.refine = refine

    def fit(self, X: Any, y: Any, groups: Any = None) -> BandedRidgeCV:
        """Search weights and penalties by cross-validation and fit on all samples.

        `X` is a mapping or a list of bands (samples × units each, or kernels), `y` samples × targets (or
        samples), `groups` one name per sample. Where `y` is float32, products with targets are float32.
        """
        names, bands = _bands(X)
        self._one_target = np.ndim(y) == 1
        targets = as_targets(y, len(bands[0]))
        selection, folds = as_selection(self.cv, groups, len(bands[0]), self.purge)
        if self.draws is None:
            concentration = [as_number(value, "concentration") for value in self.concentration]
            if not concentration or min(concentration) <= 0:
                raise ValueError(f"`concentration` is {concentration}, but numbers above 0 expected")
            n_draws = whole(self.n_draws, "n_draws", COUNT, least=1)
            draws = _core.simplex_draws(len(bands), n_draws, concentration, whole(self.seed, "seed", SEED))
        else:
            draws = as_matrix(self.draws, "draws", axes="draws × bands").tolist()
        found = _core.banded_ridge_cv(
            [self._kernel(band, None) for band in bands],
            targets,
            folds,
            draws,
            as_penalties(self.alphas),
            _choice("alpha_scale", self.alpha_scale, ("mean_square", "absolute")) == "absolute",
            flag(self.fit_intercept, "fit_intercept"),
            selection,
            whole(self.refine, "refine", COUNT),
        )
        self.band_names_ = names
        if self.kernel != "precomputed":
            self.X_fit_ = bands
        self._widths = [band.shape[1] for band in bands]
        self.draws_ = np.array(draws)
        self.dual_coef_: Array = found["dual"]
        self._mean: Array = found["mean"]
        self._offset: Array = found["offset"]
        self.intercept_: Array = self._mean - self._offset.sum(axis=0)
        self.gamma_: Array = found["gamma"]
        self.alpha_: Array = found["alpha"]
        with np.errstate(divide="ignore"):
            self.deltas_: Array = np.log(self.gamma_ / self.alpha_)
        self.draw_: Array = found["draw"]
        self.best_score_: Array = found["score"]
        return self

    def predict(self, X: Any) -> Array:
        """Predicted targets of other samples; precomputed bands are kernels with the training samples."""
        predicted: Array = sum(self._parts(X)) + self._mean
        return predicted[:, 0] if self._one_target else predicted

    def predict_bands(self, X: Any) -> dict[str, Array]:
        """What each band adds: the parts sum to `predict` minus the mean of the training targets."""
        parts = self._parts(X)
        if self._one_target:
            parts = [part[:, 0] for part in parts]
        return dict(zip(self.band_names_, parts, strict=True))

    def score(self, X: Any, y: Any) -> Array:
        """R² of each target on other samples: 1 is perfect, 0 as good as their mean, no lower bound."""
        return r2_score(self.predict(X), y)

    def score_bands(self, X: Any, y: Any) -> dict[str, Array]:
        """How the bands share R² on other samples (`product_measure` of `predict_bands`)."""
        parts = {name: as_columns(part, name) for name, part in self.predict_bands(X).items()}
        found = product_measure(as_columns(y, "y"), parts)
        return {name: value[0] if self._one_target else value for name, value in found.items()}

    def weights(self) -> dict[str, Array]:
        """Weights of the units of each band (units × targets), where the kernel is linear: ``γ_b X_bᵀ a``."""
        dual = self._fitted("dual_coef_")
        if self.kernel != "linear":
            raise ValueError(
                f"`kernel` is {self.kernel!r}, which has no weights of units, but 'linear' expected"
            )
        weights = [gamma * (x.T @ dual) for gamma, x in zip(self.gamma_, self.X_fit_, strict=True)]
        if self._one_target:
            weights = [weight[:, 0] for weight in weights]
        return dict(zip(self.band_names_, weights, strict=True))

    def _parts(self, X: Any) -> list[Array]:
        dual = self._fitted("dual_coef_")
        names, bands = _bands(X)
        widths = [band.shape[1] for band in bands]
        if widths != self._widths or names != self.band_names_:
            found = dict(zip(names, widths, strict=True))
            expected = dict(zip(self.band_names_, self._widths, strict=True))
            raise ValueError(
                f"the bands of `X` have the widths {found}, but {expected} expected (as in fit)\n"
                "hint: give the same bands in the same order"
            )
        others = [None] * len(bands) if self.kernel == "precomputed" else self.X_fit_
        return [
            gamma * (self._kernel(band, other) @ dual) - offset
            for band, other, gamma, offset in zip(bands, others, self.gamma_, self._offset, strict=True)
        ]

    def _kernel(self, features: Array, other: Array | None) -> Array:
        _choice("kernel", self.kernel, ("linear", "poly", "rbf", "precomputed"))
        if self.kernel == "precomputed":
            return features
        gamma = None if self.gamma is None else as_number(self.gamma, "gamma")
        degree = whole(self.degree, "degree", 100, least=1)
        return _core.kernel_matrix(
            features, other, self.kernel, gamma, degree, as_number(self.coef0, "coef0")
        )


def _bands(X: Any) -> tuple[list[str], list[Array]]:
    if hasattr(X, "keys"):
        names, values = [str(name) for name in X.keys()], list(X.values())
    elif isinstance(X, list | tuple) or getattr(X, "ndim", 0) == 3:
        names, values = [f"band {b}" for b in range(len(X))], list(X)
    else:
        raise ValueError(
            "`X` is one array, but a mapping or list of bands (samples × units each) expected\n"
            "hint: pass {'name': features, ...}; for one band there are RidgeCV and KernelRidgeCV"
        )
    if not values:
        raise ValueError("`X` is empty, but at least one band expected")
    refuse_twice(names, "X")
    bands = [finite(as_matrix(value, name), name) for name, value in zip(names, values, strict=True)]
    for name, band in zip(names, bands, strict=True):
        if len(band) != len(bands[0]):
            raise ValueError(
                f"band `{name}` has {len(band)} rows, but {len(bands[0])} expected (as in `{names[0]}`)\n"
                "hint: take all bands on the same samples"
            )
    return names, bands
