"""Neural Functional Alignment Space, for one model: does the stable mode of a network predict a brain?"""

from __future__ import annotations

import dataclasses
import hashlib
import html
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from . import _core
from ._arrays import COUNT, DRAWS, SEED, Array, as_layers, as_matrix, as_names, as_number, refuse_twice, whole
from ._base import Estimator, Result
from ._choices import choices
from ._depth import Verdict, rank_word
from ._table import Table


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class Stability(Result):
    """How the stable mode holds up; None where it was not computed."""

    #: Standard deviation of the eigenvalue over bootstrap draws of the samples.
    lambda_sd: float | None
    #: Least correlation of a draw's representation with that of all samples.
    min_correlation: float | None
    #: Least correlation of the representations of two folds.
    fold_correlation: float | None
    #: Largest move of the eigenvalue when one layer is left out.
    leave_one_layer_out: float | None
    #: Selected eigenvalues of shuffled layer orders.
    shuffled_eigenvalues: Array


#: Settings that go to the extension under the words of the study file.
_WORDS = (
    "trajectory", "estimator", "select", "modes", "amplitude", "scale", "centring", "layer_map", "max_width",
    "align_all", "tikhonov", "eligible_energy", "max_gain", "fit_on", "hrf", "hrf_parity", "drop_padded",
    "derivatives", "drift", "project_features", "encoder", "band_candidates", "alphas", "alpha_per_roi",
    "equalize_dim", "max_dim", "inner_folds", "inner_loss", "purge_s", "score", "ceiling", "min_ceiling",
    "subjects",
)  # fmt: skip
_GATES = (
    "max_depth_gain", "max_depth_rotation_deg", "max_residual", "min_energy", "min_fold_correlation",
)  # fmt: skip
_CONTROLS = ("layer_mean", "first_last", "best_layer", "adaptive")


class NFAS(Estimator):
    """Score the stable mode of a network, and what could explain its score away, on brain responses.

    Per outer fold, from training samples alone: the depth dynamics give one weight per layer, the weighted
    sum of layers is the representation, ridge regression (penalty by inner cross-validation) predicts the
    held-out responses. Formula: per ROI, ``r = Σ_f n_f r_f / Σ_f n_f`` over held-out folds f, and the score
    is ``max(0, r² − 1/n_eff)`` ("debiased").

    Beside the stable mode stand, with the same folds, components and penalties: `layer_mean`,
    `best_layer` and `adaptive` (chosen and mixed by inner cross-validation), `pod`, every single
    `layer`, stable modes of `shuffled_NN` layer orders, `nuisance:NAME` features, an untrained twin,
    and the stable mode under 24 other credible choices.

    Every setting that is a word takes the words of the study file and means the same.

    Parameters
    ----------
    n_folds : int or str, optional
        A number of folds; or "auto" (runs where there are two, else 10 parts of the stimuli, or 5 blocks
        of a time series), "leave_run_out", "k_fold:10", "blocks:5".
    seed : int
        Of folds, draws and shuffles.
    trajectory : {"stacked", "sample", "pooled"}
        What one trajectory over depth is: all samples as one state, or each by itself, or all with one
        operator. "sample" has the standard estimator only and may have `amplitude` "mode_only" or
        "modulus"; "pooled" may have "reduced_rank" and weights no layers, so `weights_` are NaN.
    estimator : str, optional
        See `DepthDMD`; by default "standard", and "total_least_squares" for "pooled".
    rank, select, modes, amplitude, scale, centring, tikhonov : see `DepthDMD`
    layer_map : {"procrustes", "identity", "pca", "kernel", "random_projection"}
        How layers of unequal width come to share a state; layers of equal width share theirs as it is,
        unless `align_all`.
    max_width : int
        Largest width of that state.
    align_all : bool
        Map layers of equal width too.
    eligible_energy, max_gain : float
        `min_energy` and `max_gain` of `DepthDMD`: the least energy share of a mode that may be selected, and
        the bound of the gain in optimised DMD.
    fit_on : {"train", "all"}
        "all" fits layer weights on all samples once (it looks at held-out activations, never responses).
    gate_action : {"exclude", "report"}
        What a failed gate does: no point in a space of models, or a point with the verdict beside it.
    max_depth_gain, max_depth_rotation_deg, max_residual, min_energy, min_fold_correlation : float
        Gates of `verdict_`: largest gain or loss and turn in degrees over the whole depth, largest
        ‖Aφ − λφ‖/‖φ‖, least energy share, least correlation between folds.
    hrf : {"auto", "fir", "spm", "glover", "none"}
        For time series; "auto" is "fir".
    hrf_parity : {"none", "nilearn"}
        Whose numerics "spm" and "glover" follow.
    delays_s : (float, float)
        Delays of "fir", in seconds, both included.
    drop_padded : bool
        Leave out samples whose delays reach before their run, when fitting and when scoring; they have no
        predictions. Padded with zeros otherwise.
    derivatives : {"none", "time", "time_dispersion"}
        Extra columns of "spm" and "glover".
    drift : str
        "dct:0.01", "polort:2" or "none": removed from each run of a time series.
    project_features : bool
        Take the same drift out of the haemodynamic predictors of a time series.
    encoder : {"ridge", "ols", "banded"}
        "banded" fits nuisance features beside each representation, each with a weight of its own; r and
        score are then what the representation explains beyond them.
    band_candidates : int
        Weights of bands that "banded" tries.
    alphas : sequence of float, optional
        Penalties, as multiples of the mean squared singular value; 19 from 1e-3 to 1e6 by default.
    alpha_per_roi, equalize_dim : bool
        A penalty per ROI; the same number of components for every representation.
    max_dim : int
        That number at most.
    inner_folds : int
        Folds of the inner cross-validation, at most.
    inner_loss : {"squared_error", "correlation"}
        What the inner cross-validation compares penalties by.
    purge_s : float
        Seconds dropped on both sides of a held-out block of a time series.
    score : {"debiased", "r2", "signed", "clipped", "ceiling"}
        "ceiling" is r² over the squared noise ceiling.
    ceiling : {"auto", "split_half", "explainable_variance", "signal_power", "isc", "given", "none"}
        How noise ceilings are estimated. "auto": those given to `fit`, else from repeats, else from the
        correlation between subjects, else none.
    min_ceiling : float
        ROIs with a lower ceiling (as a correlation) are left out of `controls_` and `significance_`.
    subjects : {"each", "group_mean"}
        Fit subjects one by one, or their mean series once.
    controls : bool or sequence of {"layer_mean", "first_last", "best_layer", "adaptive"}
        Which representations stand beside the stable mode; all by default. "best_layer" and "adaptive"
        score every layer.
    multiverse : bool
        Repeat the analysis under 24 credible choices (equal widths only); `multiverse_` holds them.
    n_bootstraps, n_shifts : int
        Draws behind intervals and p-values.
    n_shuffles : int
        Shuffled layer orders.
    max_memory : int
        Bytes for features and predictions; changes no number.

    Attributes
    ----------
    scores_ : Table
        One row per representation × layer × subject × ROI: representation, layer, subject, roi, r, r_lower,
        r_upper, score, score_kind, ceiling, chance (of r²), n, n_eff, p, alpha, status. p is one-sided.
    summary_ : Table
        One row per representation: mean score over ROIs and subjects, and the number of them.
    ceilings_ : Table
        One row per subject × ROI: subject, roi, ceiling (a correlation), kind, masked, status.
    controls_ : Table
        The claim beside each control, averaged over subjects and unmasked ROIs: claim_representation,
        control, claim, value, difference, lower, upper, p, n_rois, status. difference = claim − value with
        its paired bootstrap interval; for `shuffled_order` p is the share of shuffles that score as high.
    significance_ : Table
        One row per representation × ROI: representation, roi, p (of r, over subjects), p_adj and p_max_t
        (adjusted over ROIs by step-down max-T), q_bh, q_by, n_permutations.
    bands_ : Table
        Under "banded", one row per representation × subject × ROI × band: r2 (product measure, sums over
        bands to joint_r2), joint_r2, weight. Else empty.
    multiverse_ : Table
        One row per cell of choices: scale, select, rank, estimator, score, versus_layer_mean, lambda_re,
        lambda_im, status. Empty unless `multiverse`.
    verdict_ : Verdict or None
        Whether the mode passes the gates in every fold; None for fewer than 4 layers.
    spectrum_ : Table
        One row per fold ("all" first) × mode: fold, mode, re, im, modulus, energy, residual, selected.
    weights_ : Table
        One row per fold × layer: fold, layer, weight.
    chosen_ : Table
        One row per selected representation × subject × fold: what was chosen; of the adaptive mixture
        the shares, such as `0.62 layer 5 + 0.38 stable_mode`.
    stability_ : Stability or None
        How the stable mode holds up.
    bootstrap_ : dict of (representation, subject) to array (n_bootstraps, n_rois)
        Correlations of the draws; the same draws for all, so differences are paired.
    predictions_ : dict of (representation, subject) to array (n_samples, n_rois)
        Held-out predictions, in the order of the samples.
    warnings_ : Table
        What a reader must know: severity ("note", "caution", "serious"), code, text.
    layer_names_, roi_names_, subjects_, folds_ : list

    Errors: `ValueError` for shapes that do not fit, NaN or infinity (with their place), runs that resume,
    too few samples for the folds, words that are not known. Undefined (NaN, with the reason in `status`):
    an ROI whose response or prediction is constant.

    Cost: one pass for the depth, one for the representations, then an encoding model per representation,
    fold and subject. Source: specs nfas-dmd, appendix A; ceilings 8.6, controls 13. Not a replication of
    the published NFAS: several of its formulas are not public.

    Examples
    --------
    >>> import numpy as np, stereotax as sx
    >>> rng = np.random.default_rng(0)
    >>> stimulus = rng.normal(size=(120, 10))
    >>> layers = [stimulus + 0.3 * rng.normal(size=(120, 10)) for _ in range(6)]
    >>> signal = stimulus @ rng.normal(size=(10, 3))
    >>> repeats = signal + rng.normal(size=(4, 120, 3))
    >>> nfas = sx.NFAS(n_folds=4, n_bootstraps=50, n_shifts=50, n_shuffles=2)
    >>> nfas.fit(layers, repeats.mean(axis=0), repeats=repeats).verdict_
    stable
    >>> bool(nfas.scores_.where(representation="stable_mode")["r"].min() > 0.9)
    True
    >>> nfas.ceilings_["kind"].tolist(), bool(nfas.ceilings_["ceiling"].min() > 0.9)
    (['split_half', 'split_half', 'split_half'], True)
    >>> nfas.controls_["control"].tolist()[:4]
    ['adaptive', 'best_layer', 'first_layer', 'last_layer']
    """

    layer_names_: list[str]
    roi_names_: list[str]
    subjects_: list[str]
    folds_: list[dict[str, Any]]
    scores_: Table
    summary_: Table
    ceilings_: Table
    controls_: Table
    significance_: Table
    bands_: Table
    multiverse_: Table
    verdict_: Verdict | None
    spectrum_: Table
    weights_: Table
    chosen_: Table
    stability_: Stability | None
    bootstrap_: dict[tuple[str, str], Array]
    predictions_: dict[tuple[str, str], Array]
    warnings_: Table
    #: What `ModelSpace` reads: averages over subjects with their draws.
    _scored: dict[str, Any]
    _stimuli: str

    def __init__(
        self,
        n_folds: int | str | None = None,
        seed: int = 0,
        *,
        trajectory: str = "stacked",
        estimator: str | None = None,
        rank: str | int = "energy:0.99",
        select: str = "closest_to_one",
        modes: str = "projected",
        amplitude: str = "optimal",
        scale: str = "frobenius",
        centring: str = "stimuli",
        layer_map: str = "procrustes",
        max_width: int = 256,
        align_all: bool = False,
        tikhonov: float = 0.0,
        eligible_energy: float = 0.01,
        max_gain: float = 1e3,
        fit_on: str = "train",
        gate_action: str = "exclude",
        max_depth_gain: float = 2.0,
        max_depth_rotation_deg: float = 45.0,
        max_residual: float = 0.5,
        min_energy: float = 0.1,
        min_fold_correlation: float = 0.95,
        hrf: str = "auto",
        hrf_parity: str = "none",
        delays_s: tuple[float, float] = (1.5, 9.0),
        drop_padded: bool = False,
        derivatives: str = "none",
        drift: str = "dct:0.01",
        project_features: bool = False,
        encoder: str = "ridge",
        band_candidates: int = 20,
        alphas: Sequence[float] | None = None,
        alpha_per_roi: bool = True,
        equalize_dim: bool = True,
        max_dim: int = 256,
        inner_folds: int = 8,
        inner_loss: str = "squared_error",
        purge_s: float = 12.0,
        score: str = "debiased",
        ceiling: str = "auto",
        min_ceiling: float = 0.1,
        subjects: str = "each",
        controls: bool | Sequence[str] = True,
        multiverse: bool = False,
        n_bootstraps: int = 2000,
        n_shifts: int = 1000,
        n_shuffles: int = 20,
        max_memory: int = 2**30,
    ) -> None:
        self.n_folds = n_folds
        self.seed = seed
        self.trajectory = trajectory
        self.estimator = estimator
        self.rank = rank
        self.select = select
        self.modes = modes
        self.amplitude = amplitude
        self.scale = scale
        self.centring = centring
        self.layer_map = layer_map
        self.max_width = max_width
        self.align_all = align_all
        self.tikhonov = tikhonov
        self.eligible_energy = eligible_energy
        self.max_gain = max_gain
        self.fit_on = fit_on
        self.gate_action = gate_action
        self.max_depth_gain = max_depth_gain
        self.max_depth_rotation_deg = max_depth_rotation_deg
        self.max_residual = max_residual
        self.min_energy = min_energy
        self.min_fold_correlation = min_fold_correlation
        self.hrf = hrf
        self.hrf_parity = hrf_parity
        self.delays_s = delays_s
        self.drop_padded = drop_padded
        self.derivatives = derivatives
        self.drift = drift
        self.project_features = project_features
        self.encoder = encoder
        self.band_candidates = band_candidates
        self.alphas = alphas
        self.alpha_per_roi = alpha_per_roi
        self.equalize_dim = equalize_dim
        self.max_dim = max_dim
        self.inner_folds = inner_folds
        self.inner_loss = inner_loss
        self.purge_s = purge_s
        self.score = score
        self.ceiling = ceiling
        self.min_ceiling = min_ceiling
        self.subjects = subjects
        self.controls = controls
        self.multiverse = multiverse
        self.n_bootstraps = n_bootstraps
        self.n_shifts = n_shifts
        self.n_shuffles = n_shuffles
        self.max_memory = max_memory

    def _params(self, tr_s: float | None, has_nuisance: bool = False) -> _core.NfasParams:
        delays = np.asarray(self.delays_s, dtype=np.float64).tolist()
        if not isinstance(delays, list) or len(delays) != 2:
            raise ValueError(
                f"`delays_s` is {self.delays_s!r}, but two numbers (from, to) in seconds expected\n"
                "hint: such as (1.5, 9.0)"
            )
        gates = {name: getattr(self, name) for name in _GATES}
        settings = {
            **{name: getattr(self, name) for name in _WORDS},
            "rank": rank_word(self.rank),
            "outer_folds": _fold_word(self.n_folds, tr_s),
            "delays_s": {"from": delays[0], "to": delays[1]},
            "gates": {
                **gates,
                "action": self.gate_action,
                "warn_residual": min(0.3, as_number(self.max_residual, "max_residual")),
            },
            "controls": {**_asked(self.controls), "multiverse": bool(self.multiverse)},
        }
        most = {"n_bootstraps": DRAWS // 100, "n_shifts": DRAWS // 100, "n_shuffles": 10_000, "seed": SEED}
        numbers = {name: whole(getattr(self, name), name, limit) for name, limit in most.items()}
        for name in ("max_width", "max_dim", "inner_folds"):
            whole(getattr(self, name), name, COUNT, 1)
        return _core.NfasParams(
            choices(settings, "NFAS"),
            has_nuisance=has_nuisance,
            max_memory=whole(self.max_memory, "max_memory", 2**62),
            **numbers,
        )

    def fit(
        self,
        layers: Iterable[Any] | Any,
        responses: Any,
        *,
        runs: Sequence[Any] | None = None,
        stimulus_ids: Sequence[Any] | None = None,
        roi_names: Sequence[Any] | None = None,
        layer_names: Sequence[str] | None = None,
        blocks: Sequence[Any] | None = None,
        tr_s: float | None = None,
        repeats: Any = None,
        ceilings: Any = None,
        nuisance: Mapping[str, Any] | None = None,
        untrained: Iterable[Any] | Any | None = None,
        confounds: Any = None,
    ) -> NFAS:
        """Fit the depth and score all representations.

        Parameters
        ----------
        layers : iterable of arrays (n_samples, n_units), or mapping of names to arrays
            Shallow to deep; for a time series already on the scanner's clock.
        responses : array (n_samples, n_rois), or mapping of subjects to such arrays
            Rows are the same stimuli in the same order as in the layers.
        runs : sequence of n_samples names, optional
            Runs (stories, sections); samples of a run stand together, and time never crosses runs.
        stimulus_ids : sequence of n_samples names, optional
            Samples of one stimulus are held out together, and draws follow the ids. By default row numbers.
        roi_names, layer_names : sequences of names, optional
            "roi_1", … and "layer 0", … by default.
        blocks : sequence of n_samples names, optional
            What resampling may move. By default each stimulus; for a time series stretches of 20 s.
        tr_s : float, optional
            Seconds between samples of a time series. Without it each row is a stimulus of its own: no
            haemodynamics, no drift.
        repeats : array (n_repeats, n_samples, n_rois) or sequence of arrays (n_samples, n_rois), optional
            The single presentations of which `responses` are the mean, for noise ceilings; for several
            subjects a mapping of subjects to such arrays.
        ceilings : sequence of n_rois float, optional
            Noise ceilings that are known, as correlations.
        nuisance : mapping of names to arrays (n_samples, n_features), optional
            Low-level features of the stimuli, scored as `nuisance:NAME`.
        untrained : as `layers`, optional
            Activations of the untrained twin, scored as the control `untrained_twin`.
        confounds : array (n_samples, n_confounds), optional
            Motion, physiology, in any unit: taken out of the responses of every run of a time series by
            least squares, together with the drift. For several subjects a mapping of subjects to such
            arrays. `ValueError` without `tr_s`, or beside `repeats`.

        Returns
        -------
        NFAS
            Itself, with the attributes above.
        """
        arrays, names = as_layers(layers, layer_names)
        subjects, matrices = _subjects(responses)
        n_samples, n_rois = matrices[0].shape
        rois = [f"roi_{j + 1}" for j in range(n_rois)]
        if roi_names is not None:
            rois = as_names(roi_names, "roi_names")
        ids = (
            [str(i) for i in range(n_samples)]
            if stimulus_ids is None
            else as_names(stimulus_ids, "stimulus_ids")
        )
        refuse_twice(rois, "roi_names")
        if arrays and arrays[0].shape[0] != n_samples:
            raise ValueError(
                f"`responses` has {n_samples} rows, but {arrays[0].shape[0]} expected (as in `{names[0]}`)\n"
                "hint: rows of both are the same stimuli in the same order; columns of responses are ROIs"
            )
        twin = None if untrained is None else as_layers(untrained, None)[0]
        if twin and twin[0].shape[0] != n_samples:
            raise ValueError(
                f"`untrained` has {twin[0].shape[0]} rows, but {n_samples} expected (as `responses`)\n"
                "hint: the twin sees the same stimuli in the same order"
            )
        of_run = None if runs is None else as_names(runs, "runs")
        tr_s = None if tr_s is None else as_number(tr_s, "tr_s")
        moved = _blocks(ids, of_run, tr_s) if blocks is None else as_names(blocks, "blocks")
        for name, found, expected in [
            ("roi_names", len(rois), n_rois),
            ("stimulus_ids", len(ids), n_samples),
            ("runs", n_samples if of_run is None else len(of_run), n_samples),
            ("blocks", len(moved), n_samples),
        ]:
            if found != expected:
                raise ValueError(
                    f"`{name}` has {found} names, but {expected} expected\nhint: name each of them once"
                )
        features = _nuisance(nuisance)
        cleaning = _confounds(confounds, subjects, isinstance(responses, Mapping), n_samples)
        if cleaning and (tr_s is None or repeats is not None):
            raise ValueError(
                "`confounds` are taken out of the runs of a time series without repeats\n"
                "hint: give `tr_s` and no `repeats`, or take them out of the responses beforehand"
            )
        self._stimuli = hashlib.sha256("\0".join(ids).encode()).hexdigest()
        samples = {
            "ids": ids,
            "runs": of_run,
            "blocks": moved,
            "tr_s": tr_s,
            "rois": rois,
            "given_ceilings": _given(ceilings),
        }
        found = _core.nfas(
            arrays,
            names,
            matrices,
            _repeats(repeats, subjects, isinstance(responses, Mapping)),
            cleaning,
            features,
            twin,
            samples,
            self._params(tr_s, bool(features)),
        )
        self.layer_names_, self.roi_names_ = names, rois
        self.subjects_ = ["group"] if self.subjects == "group_mean" else subjects
        self._scored = found["scored"]
        self._keep_ceilings(found["ceilings"])
        notes = self._keep_scores(found)
        self._keep_depth(found["depth"])
        columns = ("space", "model", "modality")
        self.controls_ = Table(found["group"]["controls"]).drop(*columns)
        self.significance_ = Table(found["group"]["significance"]).drop(*columns[:2])
        self.bands_ = self._bands(
            found["representations"], ["representation", *(name for name, _ in features)]
        )
        self.multiverse_ = Table(found["multiverse"])
        known = found["findings"]
        self.warnings_ = Table(
            {
                "severity": [*known["severity"], *("note" for _ in notes)],
                "code": [*known["code"], *("draws" for _ in notes)],
                "text": [*known["text"], *notes],
            }
        )
        return self

    def _keep_ceilings(self, found: dict[str, Any]) -> None:
        cells = [(s, j) for s in range(len(self.subjects_)) for j in range(len(self.roi_names_))]
        self.ceilings_ = Table(
            {
                "subject": [self.subjects_[s] for s, _ in cells],
                "roi": [self.roi_names_[j] for _, j in cells],
                "ceiling": np.array([found["subjects"][s][j] for s, j in cells], dtype=np.float64),
                "kind": [found["kind"] for _ in cells],
                "masked": np.array([found["masked"][j] for _, j in cells], dtype=bool),
                "status": [
                    "ceiling below the threshold" if found["masked"][j] else found["status"] for _, j in cells
                ],
            }
        )

    def _keep_scores(self, found: dict[str, Any]) -> list[str]:
        """Fill the tables of scores; returns what must be said of the draws."""
        cells: list[dict[str, Any]] = []
        chosen: list[dict[str, Any]] = []
        notes: list[str] = []
        self.bootstrap_, self.predictions_ = {}, {}
        self.folds_ = [
            {"name": name, "train": np.array(train), "test": np.array(test)}
            for name, train, test in found["folds"]
        ]
        held_out = np.concatenate([fold["test"] for fold in self.folds_])
        n_samples, n_rois = self._n_samples(held_out), len(self.roi_names_)
        ceilings = found["ceilings"]["subjects"]
        for scored in found["representations"]:
            name, layer = scored["name"], scored["layer"]
            key = name if layer is None else layer
            for subject, picks in zip(self.subjects_, scored["chosen"], strict=False):
                for fold, pick in zip(self.folds_, picks, strict=True):
                    chosen.append(
                        {"representation": name, "subject": subject, "fold": fold["name"], "chosen": pick}
                    )
            for s, (subject, cell) in enumerate(zip(self.subjects_, scored["subjects"], strict=True)):
                if cell["note"]:
                    notes.append(f"{key}, subject {subject}: {cell['note']}")
                if cell["draws"] is not None:
                    self.bootstrap_[key, subject] = cell["draws"]["bootstrap"]
                    predictions = np.full((n_samples, n_rois), np.nan)
                    predictions[held_out] = cell["draws"]["predictions"]
                    self.predictions_[key, subject] = predictions
                told = {"representation": name, "layer": layer, "subject": subject, "ceiling": ceilings[s]}
                cells.append({**cell, **told})
        self.chosen_ = _table(chosen)
        self.scores_ = self._table_of_cells(cells)
        kinds: dict[tuple[str, str | None], list[Array]] = {}
        for cell in cells:
            score = np.asarray(cell["score"])
            kinds.setdefault((cell["representation"], cell["layer"]), []).append(score[~np.isnan(score)])
        means = {kind: np.concatenate(scores) for kind, scores in kinds.items()}
        self.summary_ = Table(
            {
                "representation": [representation for representation, _ in means],
                "layer": [layer for _, layer in means],
                "mean_score": [float(scores.mean()) if scores.size else np.nan for scores in means.values()],
                "n": [scores.size for scores in means.values()],
            }
        )
        return notes

    def _table_of_cells(self, cells: list[dict[str, Any]]) -> Table:
        """One row per cell and ROI, column by column: there may be many ROIs."""
        n_rois = len(self.roi_names_)

        def text(values: list[Any]) -> Array:
            return np.repeat(np.array(values, dtype=object), n_rois)

        def numbers(name: str) -> Array:
            return np.concatenate([np.asarray(cell[name], dtype=np.float64) for cell in cells])

        r, score, n_eff = numbers("r"), numbers("score"), numbers("n_eff")
        status = np.full(len(r), "ok", dtype=object)
        status[np.isnan(score)] = "no ceiling" if self.score == "ceiling" else "no effective samples"
        status[np.isnan(r)] = "constant response or prediction"
        return Table(
            {
                "representation": text([cell["representation"] for cell in cells]),
                "layer": text([cell["layer"] for cell in cells]),
                "subject": text([cell["subject"] for cell in cells]),
                "roi": np.tile(np.array(self.roi_names_, dtype=object), len(cells)),
                "r": r,
                "r_lower": numbers("r_lower"),
                "r_upper": numbers("r_upper"),
                "score": score,
                "score_kind": text([self.score] * len(cells)),
                "ceiling": numbers("ceiling"),
                "chance": np.divide(1.0, n_eff, out=np.full(len(r), np.nan), where=n_eff > 0),
                "n": np.repeat(np.array([cell["n"] for cell in cells]), n_rois),
                "n_eff": n_eff,
                "p": numbers("p"),
                "alpha": numbers("alpha"),
                "status": status,
            }
        )

    def _bands(self, representations: list[dict[str, Any]], bands: list[str]) -> Table:
        return _table(
            [
                {
                    "representation": scored["name"],
                    "layer": scored["layer"],
                    "subject": subject,
                    "roi": roi,
                    "band": band,
                    "r2": cell["split"]["r2"][b][j],
                    "joint_r2": cell["split"]["joint_r2"][j],
                    "weight": cell["split"]["weight"][b][j],
                }
                for scored in representations
                for subject, cell in zip(self.subjects_, scored["subjects"], strict=True)
                if cell["split"] is not None
                for j, roi in enumerate(self.roi_names_)
                for b, band in enumerate(bands)
            ]
        )

    def _n_samples(self, held_out: Array) -> int:
        return 1 + max(
            int(max(fold["train"].max(initial=-1), fold["test"].max(initial=-1))) for fold in self.folds_
        )

    def _keep_depth(self, depth: dict[str, Any] | None) -> None:
        self.verdict_, self.stability_ = None, None
        self.spectrum_, self.weights_ = Table({}), Table({})
        if depth is None:
            return
        self.verdict_ = Verdict(stable=depth["stable"], reasons=depth["reasons"])
        self.stability_ = Stability(
            shuffled_eigenvalues=np.array([complex(re, im) for re, im in depth["shuffled_eigenvalues"]]),
            **{
                name: depth[name]
                for name in ("lambda_sd", "min_correlation", "fold_correlation", "leave_one_layer_out")
            },
        )
        self.spectrum_ = _table(
            [
                {
                    "fold": fold["name"],
                    "mode": k,
                    "re": re,
                    "im": im,
                    "modulus": abs(complex(re, im)),
                    "energy": energy,
                    "residual": residual,
                    "selected": selected,
                }
                for fold in depth["folds"]
                for k, (re, im, energy, residual, selected) in enumerate(fold["modes"])
            ]
        )
        self.weights_ = _table(
            [
                {"fold": fold["name"], "layer": layer, "weight": weight}
                for fold in depth["folds"]
                for layer, weight in zip(self.layer_names_, fold["weights"].tolist(), strict=True)
            ]
        )

    def _repr_html_(self) -> str:
        """The verdict and the controls, once fitted, as a notebook shows them."""
        name = f"<p><code>{html.escape(repr(self))}</code></p>"
        if not hasattr(self, "controls_"):
            return name
        verdict = "too shallow for a verdict" if self.verdict_ is None else repr(self.verdict_)
        return f"{name}<p>{html.escape(verdict)}</p>{self.controls_._repr_html_()}"


def _table(rows: list[dict[str, Any]]) -> Table:
    return Table({name: [row[name] for row in rows] for name in rows[0]} if rows else {})


def _fold_word(n_folds: int | str | None, tr_s: float | None) -> str:
    if n_folds is None:
        return "auto"
    if isinstance(n_folds, bool) or not isinstance(n_folds, int | np.integer | str):
        raise ValueError(
            f"`n_folds` is {n_folds!r}, but a whole number or a word expected\n"
            "hint: such as 5, 'leave_run_out', 'k_fold:10' or 'blocks:5'"
        )
    if isinstance(n_folds, int | np.integer):
        return f"k_fold:{n_folds}" if tr_s is None else f"blocks:{n_folds}"
    return str(n_folds)


def _asked(controls: bool | Sequence[str]) -> dict[str, bool]:
    if isinstance(controls, bool):
        return dict.fromkeys(_CONTROLS, controls)
    return {**dict.fromkeys(_CONTROLS, False), **dict.fromkeys(as_names(controls, "controls"), True)}


_BRAIN = {"axes": "samples × ROIs", "hint": "pass a mapping of subjects to arrays for several subjects"}


def _subjects(responses: Any) -> tuple[list[str], list[Array]]:
    if isinstance(responses, Mapping):
        if not responses:
            raise ValueError(
                "`responses` holds no subject, but at least one expected\nhint: pass an array per subject"
            )
        names = [str(name) for name in responses]
        matrices = [as_matrix(values, f"responses of {name}", **_BRAIN) for name, values in responses.items()]
    else:
        names, matrices = ["group"], [as_matrix(responses, "responses", **_BRAIN)]
    shapes = {matrix.shape for matrix in matrices}
    if len(shapes) != 1:
        raise ValueError(
            f"subjects have responses of the shapes {sorted(shapes)}, but one shape expected\n"
            "hint: all subjects of a fit have the same samples and ROIs"
        )
    if not matrices[0].shape[1]:
        raise ValueError("`responses` has no column, but at least one ROI expected\nhint: pass an array")
    return names, matrices


def _repeats(repeats: Any, subjects: list[str], by_name: bool) -> list[list[Array]]:
    if repeats is None:
        return []
    if by_name:
        if not isinstance(repeats, Mapping) or {str(name) for name in repeats} != set(subjects):
            raise ValueError(
                "`repeats` must be a mapping with the same subjects as `responses`\n"
                f"hint: the subjects are {', '.join(subjects)}"
            )
        of = {str(name): values for name, values in repeats.items()}
        return [_presentations(of[name]) for name in subjects]
    if isinstance(repeats, Mapping):
        raise ValueError("`repeats` is a mapping, but `responses` is one array\nhint: pass mappings for both")
    return [_presentations(repeats)]


def _presentations(repeats: Any) -> list[Array]:
    hint = "repeats come first: (n_repeats, n_samples, n_rois)"
    if getattr(repeats, "ndim", 3) != 3:
        raise ValueError(
            f"`repeats` has the shape {tuple(repeats.shape)}, but three axes expected\nhint: {hint}"
        )
    return [
        as_matrix(one, f"repeats[{i}]", axes="samples × ROIs", hint=hint) for i, one in enumerate(repeats)
    ]


def _confounds(confounds: Any, subjects: list[str], by_name: bool, n_samples: int) -> list[Array]:
    if confounds is None:
        return []
    if by_name != isinstance(confounds, Mapping) or (
        by_name and {str(name) for name in confounds} != set(subjects)
    ):
        raise ValueError(
            "`confounds` must be an array, or a mapping with the same subjects as `responses` where that is "
            f"one\nhint: the subjects are {', '.join(subjects)}"
        )
    of = {str(name): values for name, values in confounds.items()} if by_name else {subjects[0]: confounds}
    hint = "one column per confound: motion[:, None]"
    found = []
    for name in subjects:
        values = as_matrix(of[name], f"confounds of {name}", axes="samples × confounds", hint=hint)
        if values.shape[0] != n_samples:
            raise ValueError(
                f"`confounds` of {name} have {values.shape[0]} rows, but {n_samples} expected\n"
                "hint: rows are the samples of `responses`, in their order"
            )
        found.append(values)
    return found


def _nuisance(nuisance: Mapping[str, Any] | None) -> list[tuple[str, Array]]:
    if nuisance is None:
        return []
    if not isinstance(nuisance, Mapping):
        raise ValueError(
            "`nuisance` is no mapping of names to arrays\nhint: such as {'loudness': loudness[:, None]}"
        )
    hint = "one column per feature: loudness[:, None]"
    return [
        (str(name), as_matrix(values, f"nuisance {name}", axes="samples × features", hint=hint))
        for name, values in nuisance.items()
    ]


def _given(ceilings: Any) -> list[float] | None:
    if ceilings is None:
        return None
    values = np.asarray(ceilings, dtype=np.float64)
    if values.ndim != 1 or bool(np.any((values < 0) | (values > 1))):
        raise ValueError(
            f"`ceilings` has the shape {values.shape} or values outside 0…1, but one correlation per ROI "
            "expected\nhint: mark ROIs without a ceiling by NaN"
        )
    found: list[float] = values.tolist()
    return found


def _blocks(ids: list[str], runs: list[str] | None, tr_s: float | None) -> list[str]:
    if tr_s is None:
        return ids
    length = max(1, round(20.0 / tr_s))
    names, start = [], 0
    for i in range(len(ids)):
        run = "run" if runs is None else runs[i] if i < len(runs) else ""
        if i and runs is not None and i < len(runs) and runs[i] != runs[i - 1]:
            start = i
        names.append(f"{run} · {(i - start) // length}")
    return names
