"""Neural Functional Alignment Space, for one model: does the stable mode of a network predict a brain?"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from . import _core
from ._arrays import COUNT, DRAWS, SEED, Array, as_layers, as_matrix, as_names, whole
from ._base import Estimator, Result
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


class NFAS(Estimator):
    """Score the stable mode of a network, and what could explain its score away, on brain responses.

    Per outer fold, from training samples alone: the depth dynamics give one weight per layer, the weighted
    sum of layers is the representation, ridge regression (penalty by inner cross-validation) predicts the
    held-out responses. Formula: per ROI, ``r = Σ_f n_f r_f / Σ_f n_f`` over held-out folds f, and the score
    is ``max(0, r² − 1/n_eff)`` ("debiased").

    Beside the stable mode stand, with the same folds, components and penalties: `layer_mean`,
    `best_layer` and `adaptive` (chosen by inner cross-validation), `pod`, every single `layer`, and stable
    modes of `shuffled_NN` layer orders.

    Parameters
    ----------
    n_folds : int or str, optional
        A number of folds; or "auto" (runs where there are two, else 10 parts of the stimuli, or 5 blocks
        of a time series), "leave_run_out", "k_fold:10", "blocks:5".
    estimator, rank, select, modes, amplitude, scale, centring, tikhonov : see `DepthDMD`
    layer_map : {"procrustes", "identity", "pca", "kernel", "random_projection"}
        How layers of unequal width come to share a state; layers of equal width share theirs as it is,
        unless `align_all`.
    max_width : int
        Largest width of that state.
    align_all : bool
    fit_on : {"train", "all"}
        "all" fits layer weights on all samples once (it looks at held-out activations, never responses).
    max_depth_gain, max_depth_rotation_deg, max_residual, min_energy, min_fold_correlation : float
        Gates of `verdict_`.
    hrf : {"auto", "fir", "spm", "glover", "none"}
        For time series; "auto" is "fir".
    delays_s : (float, float)
        Delays of "fir", in seconds, both included.
    derivatives : {"none", "time", "time_dispersion"}
    drift : str
        "dct:0.01", "polort:2" or "none": removed from each run of a time series.
    alphas : sequence of float, optional
        Penalties, ascending, as multiples of the mean squared singular value; 19 from 1e-3 to 1e6 by default.
    alpha_per_roi, equalize_dim : bool
        A penalty per ROI; the same number of components for every representation.
    max_dim : int
        That number at most.
    inner_folds : int
    purge_s : float
        Seconds dropped on both sides of a held-out block of a time series.
    score : {"debiased", "r2", "signed", "clipped"}
    n_bootstraps, n_shifts : int
        Draws behind intervals and p-values.
    n_shuffles : int
        Shuffled layer orders.
    seed : int
    max_memory : int
        Bytes for features and predictions; changes no number.

    Attributes
    ----------
    scores_ : Table
        One row per representation × layer × subject × ROI: representation, layer, subject, roi, r, r_lower,
        r_upper, score, score_kind, chance (of r²), n, n_eff, p, alpha, status. p is one-sided.
    summary_ : Table
        One row per representation: mean score over ROIs and subjects, and the number of them.
    verdict_ : Verdict or None
        Whether the mode passes the gates in every fold; None for fewer than 4 layers.
    spectrum_ : Table
        One row per fold ("all" first) × mode: fold, mode, re, im, modulus, energy, residual, selected.
    weights_ : Table
        One row per fold × layer: fold, layer, weight.
    chosen_ : Table
        One row per selected representation × subject × fold: what was chosen.
    stability_ : Stability or None
    bootstrap_ : dict of (representation, subject) to array (n_bootstraps, n_rois)
        Correlations of the draws; the same draws for all, so differences are paired.
    predictions_ : dict of (representation, subject) to array (n_samples, n_rois)
        Held-out predictions, in the order of the samples.
    warnings_ : list of str

    Errors: `ValueError` for shapes that do not fit, NaN or infinity (with their place), runs that resume,
    too few samples for the folds. Undefined (NaN, with the reason in `status`): an ROI whose response or
    prediction is constant.

    Cost: one pass for the depth, one for the representations, then an encoding model per representation,
    fold and subject. Source: specs nfas-dmd, appendix A. Not a replication of the published NFAS: several of
    its formulas are not public.

    Examples
    --------
    >>> import numpy as np, stereotax as sx
    >>> rng = np.random.default_rng(0)
    >>> stimulus = rng.normal(size=(120, 10))
    >>> layers = [stimulus + 0.3 * rng.normal(size=(120, 10)) for _ in range(6)]
    >>> responses = stimulus @ rng.normal(size=(10, 3)) + 0.5 * rng.normal(size=(120, 3))
    >>> nfas = sx.NFAS(n_folds=4, n_bootstraps=50, n_shifts=50, n_shuffles=2).fit(layers, responses)
    >>> nfas.verdict_
    stable
    >>> bool(nfas.scores_.where(representation="stable_mode")["r"].min() > 0.9)
    True
    """

    def __init__(
        self,
        n_folds: int | str | None = None,
        seed: int = 0,
        *,
        estimator: str = "standard",
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
        fit_on: str = "train",
        max_depth_gain: float = 2.0,
        max_depth_rotation_deg: float = 45.0,
        max_residual: float = 0.5,
        min_energy: float = 0.1,
        min_fold_correlation: float = 0.95,
        hrf: str = "auto",
        delays_s: tuple[float, float] = (1.5, 9.0),
        derivatives: str = "none",
        drift: str = "dct:0.01",
        alphas: Sequence[float] | None = None,
        alpha_per_roi: bool = True,
        equalize_dim: bool = True,
        max_dim: int = 256,
        inner_folds: int = 8,
        purge_s: float = 12.0,
        score: str = "debiased",
        n_bootstraps: int = 2000,
        n_shifts: int = 1000,
        n_shuffles: int = 20,
        max_memory: int = 2**30,
    ) -> None:
        self.n_folds = n_folds
        self.seed = seed
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
        self.fit_on = fit_on
        self.max_depth_gain = max_depth_gain
        self.max_depth_rotation_deg = max_depth_rotation_deg
        self.max_residual = max_residual
        self.min_energy = min_energy
        self.min_fold_correlation = min_fold_correlation
        self.hrf = hrf
        self.delays_s = delays_s
        self.derivatives = derivatives
        self.drift = drift
        self.alphas = alphas
        self.alpha_per_roi = alpha_per_roi
        self.equalize_dim = equalize_dim
        self.max_dim = max_dim
        self.inner_folds = inner_folds
        self.purge_s = purge_s
        self.score = score
        self.n_bootstraps = n_bootstraps
        self.n_shifts = n_shifts
        self.n_shuffles = n_shuffles
        self.max_memory = max_memory

    def _params(self, tr_s: float | None) -> _core.NfasParams:
        settings = self.get_params()
        settings["outer_folds"] = _fold_word(settings.pop("n_folds"), tr_s)
        most = {"n_bootstraps": DRAWS // 100, "n_shifts": DRAWS // 100, "n_shuffles": 10_000, "seed": SEED}
        for name in (*most, "max_width", "max_dim", "inner_folds"):
            settings[name] = whole(settings[name], name, most.get(name, COUNT), 0 if name in most else 1)
        settings["max_memory"] = whole(self.max_memory, "max_memory", 2**62)
        settings["rank"] = rank_word(self.rank)
        settings["alphas"] = (
            np.logspace(-3, 6, 19).tolist() if self.alphas is None else [float(a) for a in self.alphas]
        )
        settings["delays_s"] = tuple(float(x) for x in self.delays_s)
        return _core.NfasParams(**settings)

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
        blocks : sequence of n_samples names, optional
            What resampling may move. By default each stimulus; for a time series stretches of 20 s.
        tr_s : float, optional
            Seconds between samples of a time series. Without it each row is a stimulus of its own: no
            haemodynamics, no drift.
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
        of_run = None if runs is None else as_names(runs, "runs")
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
        found = _core.nfas(arrays, names, matrices, ids, of_run, moved, tr_s, self._params(tr_s))
        self.layer_names_, self.roi_names_, self.subjects_ = names, rois, subjects
        self._keep_scores(found)
        self._keep_depth(found["depth"])
        return self

    def _keep_scores(self, found: dict[str, Any]) -> None:
        rows: list[dict[str, Any]] = []
        chosen: list[dict[str, Any]] = []
        self.bootstrap_: dict[tuple[str, str], Array] = {}
        self.predictions_: dict[tuple[str, str], Array] = {}
        self.warnings_: list[str] = []
        self.folds_ = [
            {"name": name, "train": np.array(train), "test": np.array(test)}
            for name, train, test in found["folds"]
        ]
        held_out = np.concatenate([fold["test"] for fold in self.folds_])
        for scored in found["representations"]:
            key = scored["name"] if scored["layer"] is None else scored["layer"]
            for subject, picks in zip(self.subjects_, scored["chosen"], strict=False):
                for fold, pick in zip(self.folds_, picks, strict=True):
                    chosen.append(
                        {
                            "representation": scored["name"],
                            "subject": subject,
                            "fold": fold["name"],
                            "chosen": pick,
                        }
                    )
            for subject, cell in zip(self.subjects_, scored["subjects"], strict=True):
                if cell["note"]:
                    self.warnings_.append(f"{key}, subject {subject}: {cell['note']}")
                if cell["draws"] is not None:
                    self.bootstrap_[key, subject] = cell["draws"]["bootstrap"]
                    predictions = np.full((self._n_samples(held_out), len(self.roi_names_)), np.nan)
                    predictions[held_out] = cell["draws"]["predictions"]
                    self.predictions_[key, subject] = predictions
                for j, roi in enumerate(self.roi_names_):
                    r = cell["r"][j]
                    rows.append(
                        {
                            "representation": scored["name"],
                            "layer": scored["layer"],
                            "subject": subject,
                            "roi": roi,
                            "r": r,
                            "r_lower": cell["r_lower"][j],
                            "r_upper": cell["r_upper"][j],
                            "score": cell["score"][j],
                            "score_kind": self.score,
                            "chance": 1.0 / cell["n_eff"][j] if cell["n_eff"][j] > 0 else float("nan"),
                            "n": cell["n"],
                            "n_eff": cell["n_eff"][j],
                            "p": cell["p"][j],
                            "alpha": cell["alpha"][j],
                            "status": "constant response or prediction" if np.isnan(r) else "ok",
                        }
                    )
        self.scores_ = _table(rows)
        self.chosen_ = _table(chosen)
        kinds: dict[tuple[str, str | None], list[float]] = {}
        for row in rows:
            kinds.setdefault((row["representation"], row["layer"]), []).append(row["score"])
        defined = {kind: [x for x in scores if not np.isnan(x)] for kind, scores in kinds.items()}
        self.summary_ = _table(
            [
                {
                    "representation": representation,
                    "layer": layer,
                    "mean_score": float(np.mean(scores)) if scores else float("nan"),
                    "n": len(scores),
                }
                for (representation, layer), scores in defined.items()
            ]
        )

    def _n_samples(self, held_out: Array) -> int:
        return 1 + max(
            int(max(fold["train"].max(initial=-1), fold["test"].max(initial=-1))) for fold in self.folds_
        )

    def _keep_depth(self, depth: dict[str, Any] | None) -> None:
        self.verdict_: Verdict | None = None
        self.stability_: Stability | None = None
        self.spectrum_, self.weights_ = Table({}), Table({})
        if depth is None:
            self.warnings_.append("fewer than 4 layers: no depth dynamics, so no stable mode and no verdict")
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
        for fold in depth["folds"]:
            self.warnings_.extend(w for w in fold["warnings"] if w not in self.warnings_)


def _table(rows: list[dict[str, Any]]) -> Table:
    return Table({name: [row[name] for row in rows] for name in rows[0]} if rows else {})


def _fold_word(n_folds: int | str | None, tr_s: float | None) -> str:
    if n_folds is None:
        return "auto"
    if isinstance(n_folds, int | np.integer):
        return f"k_fold:{n_folds}" if tr_s is None else f"blocks:{n_folds}"
    return str(n_folds)


def _subjects(responses: Any) -> tuple[list[str], list[Array]]:
    if isinstance(responses, Mapping):
        if not responses:
            raise ValueError(
                "`responses` holds no subject, but at least one expected\nhint: pass an array per subject"
            )
        names = [str(name) for name in responses]
        matrices = [as_matrix(values, f"responses of {name}") for name, values in responses.items()]
    else:
        names, matrices = ["group"], [as_matrix(responses, "responses")]
    shapes = {matrix.shape for matrix in matrices}
    if len(shapes) != 1:
        raise ValueError(
            f"subjects have responses of the shapes {sorted(shapes)}, but one shape expected\n"
            "hint: all subjects of a fit have the same samples and ROIs"
        )
    return names, matrices


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
