"""The functional space of a brain: models as points in the coordinates of its ROIs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from . import _core
from ._arrays import DRAWS, SEED, Array, as_matrix, as_names, as_number, whole
from ._base import Estimator
from ._choices import choices
from ._nfas import NFAS
from ._table import Table

#: Settings that go to the extension under the words of the study file.
_WORDS = (
    "embedding", "distance", "snci", "restricted", "exact", "interval", "sign_policy", "multiplicity",
    "convergence_scale", "dispersion_centre", "dispersion_axes", "dispersion_bias",
)  # fmt: skip
_TABLES = ("coordinates", "snci", "influence", "convergence", "tests", "controls", "significance")


class ModelSpace(Estimator):
    """Place models in the coordinates of the brain, and test whether their groups lie apart.

    A model's coordinates are its scores in every ROI. For the representations `stable_mode`, `adaptive` and
    `layer_mean`: the plane that shows most of the distances between models (with bootstrap regions), the
    consistency of each modality's models (SNCI) and where all modalities have it, PERMANOVA with PERMDISP,
    silhouette and analysis of variance beside it; and the controls of every model. The same as the group
    statistics of a study, for models that were fitted one by one.

    Trained models take part; for the stable mode only those that have one. Models of one family are not
    independent witnesses: they are permuted and drawn together.

    Parameters
    ----------
    embedding : {"score", "z", "rank", "ceiling", "response"}
        What the coordinates are: scores, scores standardised over models, ranks of ROIs, scores over
        squared ceilings, or what the models predict (distances are then 1 − the correlation of held-out
        predictions, for models of the same stimuli).
    distance : {"euclidean", "correlation", "cosine", "euclidean_raw"}, optional
        As in `distances`; "euclidean" by default. "response" has a distance of its own.
    snci : sequence of str
        "snr", "bounded", "snr2", "snr_c4", "debiased", "tstat", "profile", "profile_icc",
        "profile_snr"; the first index is that of the convergence map.
    restricted : {"family", "free", "strata"}
        Who may exchange modality labels: families as wholes, every model, models within their benchmark.
    exact : bool
        Visit all relabellings where they are few.
    interval : {"percentile", "bca"}
        How intervals of consistency are read off the bootstrap.
    sign_policy : {"zero", "carry"}
        What squared indices of consistency do with a negative mean score.
    multiplicity : {"max_t", "holm", "bh", "by", "none"}
        How `p_adj` of models × ROIs is adjusted.
    min_models : int
        Modalities with fewer models take no part in tests.
    convergence_scale : {"snci", "z_score"}
        What the convergence map takes the least of over modalities: the first index of `snci`, or the same
        standardised over the ROIs of each modality.
    convergence_threshold : float
        What all modalities must exceed on that scale.
    dispersion_centre : {"spatial_median", "centroid"}
        Centres of groups in PERMDISP.
    dispersion_axes : {"subtract", "drop"}
        What PERMDISP makes of axes with negative eigenvalues; see `permdisp`.
    dispersion_bias : {"none", "small_sample"}
        Whether PERMDISP multiplies distances by √(n/(n − 1)).
    leave_one_family_out : bool
        Repeat PERMANOVA without each family.
    level : float
        Coverage of intervals.
    n_permutations, n_bootstraps : int
        Relabellings per test; draws of families for SNCI.
    seed : int
        Of relabellings and draws.

    Attributes
    ----------
    models_ : Table
        model, modality, family, benchmark, trained, twin_of, status.
    coordinates_ : Table
        representation, embedding, model, modality, family, x, y, sd_x, sd_y, cov_xy, explained_x,
        explained_y, status. Bootstrap regions are those of the stimuli.
    snci_ : Table
        representation, modality, roi (and "(median)", "(network) NAME", "(profile)"), kind, value, lower,
        upper, n_models, n_families, status. High = the models agree on a high score.
    influence_ : Table
        The index with all models of a modality minus the index without one.
    convergence_ : Table
        representation, roi, network, convergence, lower, upper, n_modalities, all_above, threshold, status.
    tests_ : Table
        representation, test, contrast, statistic_name, statistic, r2, omega2, p, p_adj, adjustment,
        n_permutations, exact, n_objects, restricted, status.
    controls_ : Table
        As `NFAS.controls_`, with a column `model`.
    significance_ : Table
        representation, model, roi, p, p_adj (over models and ROIs, as `multiplicity` says), p_max_t, q_bh,
        q_by, n_permutations.
    warnings_ : Table
        severity, code, text.

    Errors: `ValueError` for models with other ROIs or seeds than the first one, names or labels that do
    not fit. Undefined values are NaN with the reason in `status`: group statistics go on.

    Cost: O(n_permutations·n_models²) per test. Source: specs nfas-dmd 9 to 13.

    Examples
    --------
    >>> import numpy as np, stereotax as sx
    >>> rng = np.random.default_rng(0)
    >>> scores = np.repeat([[0.3, 0.1, 0.2, 0.1], [0.1, 0.3, 0.1, 0.2]], 3, axis=0)
    >>> scores += 0.01 * rng.normal(size=(6, 4))
    >>> space = sx.ModelSpace(restricted="free", n_bootstraps=0)
    >>> _ = space.fit(scores, modality=["audio"] * 3 + ["text"] * 3)
    >>> space.tests_.where(test="permanova", contrast="modality")["p"]
    array([0.1])
    >>> space.coordinates_["explained_x"][0].round(1)
    np.float64(1.0)
    """

    models_: Table
    coordinates_: Table
    snci_: Table
    influence_: Table
    convergence_: Table
    tests_: Table
    controls_: Table
    significance_: Table
    warnings_: Table

    def __init__(
        self,
        embedding: str = "score",
        distance: str | None = None,
        *,
        snci: Sequence[str] = ("snr", "debiased"),
        restricted: str = "family",
        exact: bool = True,
        interval: str = "percentile",
        sign_policy: str = "zero",
        multiplicity: str = "max_t",
        min_models: int = 2,
        convergence_scale: str = "snci",
        convergence_threshold: float = 1.0,
        dispersion_centre: str = "spatial_median",
        dispersion_axes: str = "subtract",
        dispersion_bias: str = "none",
        leave_one_family_out: bool = True,
        level: float = 0.95,
        n_permutations: int = 9999,
        n_bootstraps: int = 2000,
        seed: int = 0,
    ) -> None:
        self.embedding = embedding
        self.distance = distance
        self.snci = snci
        self.restricted = restricted
        self.exact = exact
        self.interval = interval
        self.sign_policy = sign_policy
        self.multiplicity = multiplicity
        self.min_models = min_models
        self.convergence_scale = convergence_scale
        self.convergence_threshold = convergence_threshold
        self.dispersion_centre = dispersion_centre
        self.dispersion_axes = dispersion_axes
        self.dispersion_bias = dispersion_bias
        self.leave_one_family_out = leave_one_family_out
        self.level = level
        self.n_permutations = n_permutations
        self.n_bootstraps = n_bootstraps
        self.seed = seed

    def _params(self, score: str = "debiased", n_shuffles: int = 0) -> _core.SpaceParams:
        settings = {
            **{name: getattr(self, name) for name in _WORDS},
            "score": score,
            "controls": {"leave_one_family_out": bool(self.leave_one_family_out)},
        }
        return _core.SpaceParams(
            choices(settings, "ModelSpace"),
            n_permutations=whole(self.n_permutations, "n_permutations", DRAWS, 1),
            n_bootstraps=whole(self.n_bootstraps, "n_bootstraps", DRAWS // 100),
            level=as_number(self.level, "level"),
            min_models=whole(self.min_models, "min_models", 10_000, 1),
            convergence_threshold=as_number(self.convergence_threshold, "convergence_threshold"),
            n_shuffles=n_shuffles,
            seed=whole(self.seed, "seed", SEED),
        )

    def fit(
        self,
        models: Mapping[str, NFAS] | Any,
        *,
        modality: Mapping[str, Any] | Sequence[Any],
        family: Mapping[str, Any] | Sequence[Any] | None = None,
        benchmark: Mapping[str, Any] | Sequence[Any] | None = None,
        trained: Mapping[str, bool] | Sequence[bool] | None = None,
        twin_of: Mapping[str, str] | None = None,
        networks: Mapping[str, Any] | Sequence[Any] | None = None,
        model_names: Sequence[Any] | None = None,
        roi_names: Sequence[Any] | None = None,
        ceilings: Any = None,
    ) -> ModelSpace:
        """Compare models that were scored on the same ROIs.

        Parameters
        ----------
        models : mapping of names to fitted `NFAS`, or array (n_models, n_rois)
            An array holds scores, taken for those of the stable mode; NaN marks an undefined one.
        modality : sequence of names, or mapping of models to names
            The groups that are compared.
        family : likewise, optional
            Models of one family are permuted and drawn together; every model is its own by default.
        benchmark : likewise, optional
            What a model was scored on; the same for all by default. Several are joined by "+".
        trained : sequence of bool, or mapping, optional
            Untrained models are controls only.
        twin_of : mapping of untrained models to the trained ones whose twins they are, optional
        networks : sequence of n_rois names, or mapping of ROIs to names, optional
            Groups of ROIs.
        model_names, roi_names : sequences of names, optional
            For an array.
        ceilings : sequence of n_rois float, optional
            For an array: noise ceilings as correlations, for `embedding="ceiling"`.

        Returns
        -------
        ModelSpace
            Itself, with the attributes above.
        """
        if isinstance(models, Mapping):
            names, rois, told, params = self._of_fitted(models)
        else:
            names, rois, told, params = self._of_scores(models, model_names, roi_names, ceilings)
        twins = {} if twin_of is None else {str(k): str(v) for k, v in twin_of.items()}
        for name in [*twins, *twins.values()]:
            if name not in names:
                raise ValueError(
                    f"`twin_of` names `{name}`, which is no model\nhint: there are {_list(names)}"
                )
        kept = [True] * len(names) if trained is None else _per(trained, names, "trained", "model")
        columns: dict[str, list[Any]] = {
            "model": names,
            "modality": [str(x) for x in _per(modality, names, "modality", "model")],
            "family": names if family is None else [str(x) for x in _per(family, names, "family", "model")],
            "benchmark": (
                ["all"] * len(names)
                if benchmark is None
                else [str(x) for x in _per(benchmark, names, "benchmark", "model")]
            ),
            "trained": [bool(x) and name not in twins for x, name in zip(kept, names, strict=True)],
            "twin_of": [twins.get(name) for name in names],
        }
        rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        groups: list[str | None] = (
            [None] * len(rois)
            if networks is None
            else [None if x is None else str(x) for x in _per(networks, rois, "networks", "ROI")]
        )
        found = _core.compare_models(
            "models",
            rois,
            groups,
            [{**row, "name": row["model"], **scored} for row, scored in zip(rows, told, strict=True)],
            params,
        )
        for name in _TABLES:
            setattr(self, f"{name}_", Table(found[name]).drop("space"))
        self.warnings_ = Table(found["findings"])
        self.models_ = Table({**columns, "status": [scored["reason"] or "ok" for scored in told]})
        return self

    def _of_fitted(
        self, models: Mapping[str, NFAS]
    ) -> tuple[list[str], list[str], list[dict[str, Any]], _core.SpaceParams]:
        names = [str(name) for name in models]
        if not names:
            raise ValueError("`models` is empty, but at least one model expected\nhint: pass fitted NFAS")
        for name, model in models.items():
            if not isinstance(model, NFAS) or not hasattr(model, "_scored"):
                raise ValueError(
                    f"`models` holds {type(model).__name__} for `{name}`, but a fitted NFAS expected\n"
                    "hint: call fit first; or pass an array of scores (n_models, n_rois)"
                )
        first = next(iter(models.values()))
        for name, model in models.items():
            for what in ("seed", "score", "n_bootstraps", "n_shifts"):
                if getattr(model, what) != getattr(first, what):
                    raise ValueError(
                        f"`{name}` has {what}={getattr(model, what)!r} and `{names[0]}` "
                        f"{getattr(first, what)!r}, but the same expected: draws are paired over models\n"
                        "hint: fit all models of a space with the same settings"
                    )
            if set(model.roi_names_) != set(first.roi_names_):
                odd = set(model.roi_names_) ^ set(first.roi_names_)
                raise ValueError(
                    f"`{name}` and `{names[0]}` differ in the ROIs {_list(sorted(odd))}\n"
                    "hint: models of one space are scored on the same ROIs"
                )
        rois = first.roi_names_
        told = [
            {**_in_order(model._scored, model.roi_names_, rois), "stimuli": model._stimuli}
            for model in models.values()
        ]
        return names, rois, told, self._params(first.score, max(m.n_shuffles for m in models.values()))

    def _of_scores(
        self, scores: Any, model_names: Sequence[Any] | None, roi_names: Sequence[Any] | None, ceilings: Any
    ) -> tuple[list[str], list[str], list[dict[str, Any]], _core.SpaceParams]:
        hint = "or pass a mapping of names to fitted NFAS"
        matrix = as_matrix(scores, "models", axes="models × ROIs", hint=hint)
        n_models, n_rois = matrix.shape
        names = _names(model_names, "model_names", "model", n_models)
        rois = _names(roi_names, "roi_names", "roi", n_rois)
        known = np.full(n_rois, np.nan) if ceilings is None else np.asarray(ceilings, dtype=np.float64)
        told = [
            {
                "scores": [
                    {
                        "representation": "stable_mode",
                        "r": np.full(n_rois, np.nan),
                        "score": np.ascontiguousarray(row),
                        "draws": None,
                        "null": None,
                        "responses": None,
                    }
                ],
                "stimuli": "unknown",
                "ceilings": known,
                "masked": [False] * n_rois,
                "reason": None,
            }
            for row in matrix
        ]
        return names, rois, told, self._params()

    def _repr_html_(self) -> str:
        """The coordinates, once fitted, as a notebook shows them."""
        found = getattr(self, "coordinates_", None)
        return f"<p><code>{self!r}</code></p>" + ("" if found is None else found._repr_html_())


def _in_order(scored: dict[str, Any], have: list[str], want: list[str]) -> dict[str, Any]:
    """Scores of a model with its ROIs in the order of the space's."""
    if have == want:
        return scored
    order = [have.index(roi) for roi in want]

    def null(values: Array | None) -> Array | None:
        return None if values is None else values.reshape(-1, len(have))[:, order].ravel()

    def columns(values: Array | None) -> Array | None:
        return None if values is None else np.ascontiguousarray(values[:, order])

    return {
        "scores": [
            {
                "representation": one["representation"],
                "r": one["r"][order],
                "score": one["score"][order],
                "draws": columns(one["draws"]),
                "null": null(one["null"]),
                "responses": columns(one["responses"]),
            }
            for one in scored["scores"]
        ],
        "ceilings": scored["ceilings"][order],
        "masked": [scored["masked"][j] for j in order],
        "reason": scored["reason"],
    }


def _per(values: Any, names: list[str], what: str, of: str) -> list[Any]:
    """One value per name, from a mapping or in order."""
    if isinstance(values, Mapping):
        known = {str(key): value for key, value in values.items()}
        missing = [name for name in names if name not in known]
        if missing:
            raise ValueError(f"`{what}` has nothing for {_list(missing)}\nhint: name every {of} once")
        return [known[name] for name in names]
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise ValueError(
            f"`{what}` is {values!r}, but one value per {of} expected\nhint: pass a list or a mapping"
        )
    found = list(values)
    if len(found) != len(names):
        raise ValueError(
            f"`{what}` has {len(found)} values, but {len(names)} expected (one per {of})\n"
            f"hint: in the order of the {of}s, or a mapping"
        )
    return found


def _names(given: Sequence[Any] | None, what: str, stem: str, n: int) -> list[str]:
    names = [f"{stem}_{i + 1}" for i in range(n)] if given is None else as_names(given, what)
    if len(names) != n:
        raise ValueError(f"`{what}` has {len(names)} names, but {n} expected\nhint: name each of them once")
    return names


def _list(names: Sequence[str], most: int = 5) -> str:
    shown = ", ".join(f"`{name}`" for name in names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
