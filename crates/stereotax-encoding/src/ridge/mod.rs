//! Fit ridge regressions of many targets on one design, each target with the penalty that predicts best.
//!
//! For the rows A of a training set, with X_c = X − 1 m_Aᵀ and Y_c = Y − 1 ȳ_Aᵀ (no centring without an
//! intercept), and for held-out rows f, everything a penalty α changes is a diagonal:
//!
//! ```text
//! primal  X_cᵀX_c = V W Vᵀ    R_f = (X_f − 1 m_Aᵀ) V           c = Vᵀ X_cᵀ Y_c     (p ≤ n_A)
//! dual    X_cX_cᵀ = U W Uᵀ    R_f = (X_f − 1 m_Aᵀ) X_cᵀ U      c = Uᵀ Y_c          (p > n_A)
//! both    Ŷ_f(α) = R_f diag(1/(W + α)) c + 1 ȳ_Aᵀ
//! ```
//!
//! so there is one eigendecomposition per inner fold, shared by all penalties and all targets; in dual space, with
//! four folds or more, only that of all training rows, from which errors of the folds follow ([`blocks`]). Moments
//! of an inner training set are those of all rows minus those of the rows left out (down-dated); they
//! are summed directly where more than half of the rows are left out. Directions below the numerical
//! rank are dropped, so α = 0 is the pseudo-inverse.
//!
//! The error of a target at one penalty is SSE = yᵀy − 2 bᵀq + bᵀGb with b = diag(1/(W+α)) c,
//! q = R_fᵀy and G = R_fᵀR_f. The A vectors 1/(W+α) of a grid lie, to rounding, in few dimensions:
//! 1/(W+α_a) = Σ_m u_am s_m with d < A directions s_m ([`path`]). So G is met by d columns s_m ∘ c per
//! target, from which errors at all penalties follow by d × d forms. Per target, Gs takes d k²/2
//! multiply-adds (half of a symmetric G), predictions R_f s take d n_f k, and less than half of that where
//! W is cut into bands. So errors come from moments where k < n_f, for k kept directions, and from
//! predictions elsewhere. The choice depends on the design only.
//!
//! Inner score of a target and penalty: R² against the training mean, 1 − Σ_f SSE_f / Σ_f SST_f; or the
//! correlation averaged over folds with weights n_f (0 for a constant prediction).
//!
//! Source: specs: nfas-dmd 8.5.2–8.5.4; Hastie & Tibshirani 2004 for the rotated form. Differs from
//! himalaya: no test × train resolution matrix per penalty, an intercept by default, and primal or dual
//! chosen by shape. Cost per inner fold: O(n p² + p³) once, O(p R (n + p + d·min(k, n_f))) for R
//! targets. Targets run in tiles of fixed width, so memory for work is O(p · tile).

use std::sync::OnceLock;

use faer::{Mat, MatMut, MatRef};
use rayon::prelude::*;

mod blocks;
mod kernel;
mod leave_one_out;
mod path;

use blocks::BlockPredictions;
pub(super) use blocks::{Block, BlockErrors, Whole};
pub use kernel::DualWeights;
use leave_one_out::OwnRows;
use path::{PenaltyPath, Turned};

use super::alphas::{AlphaGrid, best};
use super::reduce::check_finite;
use stereotax_base::data::{Error, Fold, Result};
use stereotax_base::linalg::{
    Real, add_gram, centre_columns, column_means, cross, dot, eigh, gram, lower_product, product, select_rows,
};

/// Targets worked on at a time. The last tile is filled up with zeros: a product of one width adds in one
/// order, so that a target has the same bits in any company (a product with one column would not).
pub(super) const TILE: usize = 80;

/// Widest design, in multiples of its rows, for which X_cᵀU is kept (p × k beside the design's n × p).
const TURNED_BACK: usize = 4;

/// What the inner cross-validation maximises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InnerLoss {
    /// R² pooled over inner folds (least squared error).
    #[default]
    SquaredError,
    /// Pearson correlation within each inner fold, averaged by fold size.
    Correlation,
}

/// Whether targets share a penalty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlphaChoice {
    /// Each target has its own.
    #[default]
    PerTarget,
    /// One for all: the best mean score over the targets that vary.
    Shared,
}

/// How a penalty is judged on the training rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Selection {
    /// By the inner folds that come with the design.
    #[default]
    Folds,
    /// Each row predicted from all others ([`leave_one_out`]).
    LeaveOneOut,
    /// Generalised cross-validation: leave-one-out with the mean leverage ([`leave_one_out`]).
    Generalised,
}

/// Whether the fit has a constant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Intercept {
    /// One per target, not penalised; removed within every inner training set too.
    #[default]
    Fitted,
    /// None, as himalaya's default.
    None,
}

/// Where the eigendecomposition is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Space {
    /// In sample space where p > n of the training set, else in unit space.
    #[default]
    ByShape,
    /// Unit space: XᵀX.
    Primal,
    /// Sample space: XXᵀ.
    Dual,
}

/// What judged the penalties of a fit. Scores of `Folds` and `Blocks` agree to rounding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CvRoute {
    /// Nothing: there were no inner folds, and one penalty.
    None,
    /// The training rows of every inner fold, decomposed.
    Folds,
    /// The identity for blocks of rows left out, on one decomposition of all training rows ([`blocks`]).
    Blocks,
    /// Each row predicted from all others.
    LeaveOneOut,
    /// Generalised cross-validation.
    Generalised,
}

/// Choices of a ridge fit.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct RidgeParams {
    /// Penalties to choose from. Default: 19 multiples of mean(s²).
    pub alphas: AlphaGrid,
    /// Default `PerTarget`.
    pub alpha_choice: AlphaChoice,
    /// Default `SquaredError`.
    pub loss: InnerLoss,
    /// Default `Fitted`.
    pub intercept: Intercept,
    /// Default `ByShape`.
    pub space: Space,
    /// Default `Folds`.
    pub selection: Selection,
}

impl Default for RidgeParams {
    fn default() -> Self {
        RidgeParams {
            alphas: AlphaGrid::default(),
            alpha_choice: AlphaChoice::PerTarget,
            loss: InnerLoss::SquaredError,
            intercept: Intercept::Fitted,
            space: Space::ByShape,
            selection: Selection::Folds,
        }
    }
}

/// Predictions of held-out rows, and how they were tuned. Vectors have one entry per target.
#[derive(Debug, Clone)]
pub struct RidgeFit<T = f64> {
    /// Held-out rows × targets, on the scale of the responses; NaN for a target that is constant over
    /// the training rows.
    pub predictions: Mat<T>,
    /// The penalty used, in absolute units; NaN where the target is constant.
    pub alphas: Vec<f64>,
    /// Inner cross-validated score at that penalty (see [`InnerLoss`]); NaN where undefined.
    pub inner_scores: Vec<f64>,
    /// How many targets are constant over the training rows.
    pub n_undefined: usize,
    /// Defined targets whose penalty is the smallest of the grid.
    pub n_at_lower_edge: usize,
    /// Defined targets whose penalty is the largest of the grid, as for targets that cannot be predicted.
    pub n_at_upper_edge: usize,
    /// Numerical rank of the centred training design.
    pub rank: usize,
    /// mean(s²), which turns penalties into multiples.
    pub mean_square: f64,
    /// `Primal` or `Dual`: where the final fit was done.
    pub space: Space,
    /// What judged the penalties.
    pub route: CvRoute,
}

impl<T> RidgeFit<T> {
    /// Whether more than 5 % of the defined targets sit on an edge of the grid.
    pub fn grid_too_narrow(&self) -> bool {
        let defined = self.alphas.len() - self.n_undefined;
        (self.n_at_lower_edge + self.n_at_upper_edge) as f64 > 0.05 * defined as f64
    }
}

/// The linear map of a ridge fit.
#[derive(Debug, Clone)]
pub struct RidgeWeights<T = f64> {
    /// p × targets.
    pub weights: Mat<T>,
    /// One per target; 0 without an intercept.
    pub intercepts: Vec<f64>,
}

/// All that does not depend on the responses: decompositions per inner fold, and of all training rows.
///
/// Build it once per design; [`RidgePlan::fit`] then serves any number of subjects, each with numbers
/// that do not depend on the others. Decompositions, penalties and scores are in f64 whatever the precision
/// `T` of the data; products with targets are in `T`.
#[derive(Debug)]
pub struct RidgePlan<T: Real = f64> {
    /// Training design minus `shift`.
    x: Mat<T>,
    shift: Vec<f64>,
    alphas: Vec<f64>,
    mean_square: f64,
    /// Empty where `blocks` judge the penalties.
    folds: Vec<InnerFold<T>>,
    /// Inner folds predicted from the decomposition of all rows.
    blocks: Option<Blocks<T>>,
    /// Whether the rows left out by the inner folds tile the training rows exactly.
    partition: bool,
    whole: Factor<T>,
    /// X_cᵀU of the fit on all rows, made when weights are first asked for in dual space.
    turned_back: OnceLock<Mat<T>>,
    /// Where rows are predicted from all others.
    own: Option<OwnRows<T>>,
    params: RidgeParams,
}

/// Inner folds that need no decomposition of their own ([`blocks`]).
#[derive(Debug)]
struct Blocks<T: Real> {
    rows: Vec<Block>,
    errors: BlockErrors<T>,
}

/// One inner division, by rows of the training design.
#[derive(Debug)]
struct InnerFold<T: Real> {
    train: Vec<usize>,
    test: Vec<usize>,
    /// Rows subtracted from the moments of all rows, or `None` where moments are summed over `train`.
    left_out: Option<LeftOut<T>>,
    factor: Factor<T>,
}

#[derive(Debug)]
struct LeftOut<T: Real> {
    rows: Vec<usize>,
    x: Mat<T>,
}

/// One training set, decomposed, and the rows held out from it, rotated.
#[derive(Debug)]
struct Factor<T: Real> {
    /// Column means of the training rows (zeros without an intercept).
    means: Vec<f64>,
    n_train: usize,
    /// Eigenvalues above the numerical rank, descending.
    values: Vec<f64>,
    /// V (p × k) in primal space, U (n_A × k) in dual space.
    basis: Mat<T>,
    space: Space,
    /// R_f, held-out rows × k.
    rotated: Mat<T>,
    /// H with G = R_fᵀR_f = H + Hᵀ, lower triangular, where errors come from moments.
    half_moments: Option<Mat<T>>,
    /// How b depends on the penalty; empty for the fit on all training rows.
    path: PenaltyPath<T>,
    /// trace(X_cᵀX_c).
    trace: f64,
}

impl<T: Real> RidgePlan<T> {
    /// Decompose the training design (n × p) and its inner folds, and rotate the rows to predict.
    ///
    /// `inner` names rows of `x_train`, counted from 0; it may be empty where the grid has one penalty,
    /// and must be where penalties are judged without folds ([`Selection`]).
    /// Errors: values that are not finite, shapes that do not match, inner folds with rows out of range
    /// or with fewer than 2 rows on either side, a design that does not vary.
    pub fn new(x_train: MatRef<T>, x_test: MatRef<T>, inner: &[Fold], params: &RidgeParams) -> Result<Self> {
        check_design(x_train, x_test, inner, params)?;
        let n = x_train.nrows();
        // Centre once, so that down-dated moments lose no digits to a large mean.
        let shift = match params.intercept {
            Intercept::Fitted => column_means(x_train),
            Intercept::None => vec![0.0; x_train.ncols()],
        };
        let x = wide_minus_means(x_train, &shift);
        let x_test = wide_minus_means(x_test, &shift);
        let outer = Rows { n_train: n, n_params: x.ncols(), params };
        let needs_kernel = outer.space(n) == Space::Dual
            || inner.iter().any(|fold| outer.space(fold.train.len()) == Space::Dual);
        let needs_gram = outer.space(n) == Space::Primal
            || inner.iter().any(|fold| outer.space(fold.train.len()) == Space::Primal);
        let kernel = if needs_kernel { gram(x.transpose()) } else { Mat::zeros(0, 0) };
        let moments = if needs_gram { gram(x.as_ref()) } else { Mat::zeros(0, 0) };

        let all: Vec<usize> = (0..n).collect();
        let whole = match outer.space(n) {
            Space::Dual => {
                let cross_kernel = product(x_test.as_ref(), x.transpose());
                dual_factor(&x, &kernel, &all, cross_kernel.as_ref(), params)?
            }
            _ => primal_factor(moments.clone(), &column_sums(&x, &all), n, x_test.as_ref(), params)?,
        };
        let mean_square = whole.trace / n.min(x.ncols()) as f64;
        if !(mean_square > 0.0) || whole.values.is_empty() {
            return Err(Error::ZeroVariance {
                what: "design".into(),
                detail: format!("all {} columns are constant over {n} training rows", x.ncols()),
                hint: "check that features and rows belong together".into(),
            });
        }
        let alphas = params.alphas.penalties(mean_square)?;
        let all_dual = inner.iter().all(|fold| outer.space(fold.train.len()) == Space::Dual);
        let blocks = if all_dual { inner_blocks(&whole, inner, &alphas, params)? } else { None };
        let folds: Vec<InnerFold<T>> = match blocks {
            Some(_) => vec![],
            None => inner
                .par_iter()
                .map(|fold| inner_fold(&x, &moments, &kernel, fold, &alphas, &outer))
                .collect::<Result<_>>()?,
        };
        let partition = tiles_all_rows(&folds, n);
        let own = match params.selection {
            Selection::Folds => None,
            _ => Some(OwnRows::new(&x, &whole, &alphas, params)?),
        };
        let (x, whole) = (T::narrow(x), whole.narrow());
        Ok(RidgePlan {
            x,
            shift,
            alphas,
            mean_square,
            folds,
            blocks,
            partition,
            whole,
            turned_back: OnceLock::new(),
            own,
            params: params.clone(),
        })
    }

    /// The penalties of the grid in absolute units.
    pub fn alphas(&self) -> &[f64] {
        &self.alphas
    }

    /// What judges the penalties.
    pub fn cv_route(&self) -> CvRoute {
        match self.params.selection {
            Selection::LeaveOneOut => CvRoute::LeaveOneOut,
            Selection::Generalised => CvRoute::Generalised,
            Selection::Folds if self.blocks.is_some() => CvRoute::Blocks,
            Selection::Folds if self.folds.is_empty() => CvRoute::None,
            Selection::Folds => CvRoute::Folds,
        }
    }

    /// Choose penalties by inner cross-validation and predict the held-out rows for targets `y`
    /// (training rows × R).
    pub fn fit(&self, y: MatRef<T>) -> Result<RidgeFit<T>> {
        self.fit_about(y, true)
    }

    /// [`RidgePlan::fit`] with predictions about 0 instead of the mean of the training targets, where a strongly
    /// shrunken one keeps its digits in single precision.
    pub(super) fn fit_deviations(&self, y: MatRef<T>) -> Result<RidgeFit<T>> {
        self.fit_about(y, false)
    }

    fn fit_about(&self, y: MatRef<T>, levels: bool) -> Result<RidgeFit<T>> {
        self.check_targets(y)?;
        let n_targets = y.ncols();
        let starts: Vec<usize> = (0..n_targets).step_by(TILE).collect();
        let tuned: Vec<TunedTile<T>> = starts.par_iter().map(|&from| self.tune(y, from)).collect::<Vec<_>>();
        let chosen = self.choose(&tuned);
        let blocks: Vec<Mat<T>> = tuned
            .par_iter()
            .zip(starts.par_iter())
            .map(|(tile, &from)| self.predict(tile, &chosen[from..from + tile.constant.len()], levels))
            .collect();
        let predictions = stack_columns(&blocks, self.whole.rotated.nrows(), n_targets);
        let score = |j: usize, index: usize| {
            let tile = &tuned[j / TILE];
            tile.scores[(index, j % TILE)]
        };
        let edge = |at: usize| chosen.iter().filter(|&&c| self.alphas.len() > 1 && c == Some(at)).count();
        Ok(RidgeFit {
            predictions,
            alphas: chosen.iter().map(|c| c.map_or(f64::NAN, |at| self.alphas[at])).collect(),
            inner_scores: (0..n_targets).map(|j| chosen[j].map_or(f64::NAN, |at| score(j, at))).collect(),
            n_undefined: chosen.iter().filter(|c| c.is_none()).count(),
            n_at_lower_edge: edge(0),
            n_at_upper_edge: edge(self.alphas.len() - 1),
            rank: self.whole.values.len(),
            mean_square: self.mean_square,
            space: self.whole.space,
            route: self.cv_route(),
        })
    }

    /// The weights of a fit on all training rows with the given penalties (absolute, one per target).
    ///
    /// A NaN penalty gives NaN weights.
    pub fn weights(&self, y: MatRef<T>, alphas: &[f64]) -> Result<RidgeWeights<T>> {
        let mut weights = Mat::zeros(self.x.ncols(), y.ncols());
        let intercepts = self.weights_into(y, alphas, weights.as_mut())?;
        Ok(RidgeWeights { weights, intercepts })
    }

    /// [`RidgePlan::weights`], written where they are wanted (p × R); returns the intercepts.
    ///
    /// Beside `out` it takes memory for one tile of targets per thread.
    pub fn weights_into(&self, y: MatRef<T>, alphas: &[f64], out: MatMut<T>) -> Result<Vec<f64>> {
        self.check_targets(y)?;
        self.check_alphas(y, alphas)?;
        if (out.nrows(), out.ncols()) != (self.x.ncols(), y.ncols()) {
            return Err(Error::Shape {
                what: "weights".into(),
                expected: format!("{} × {} (units × targets)", self.x.ncols(), y.ncols()),
                found: format!("{} × {}", out.nrows(), out.ncols()),
                hint: "give room for every unit and target".into(),
            });
        }
        let all: Vec<usize> = (0..self.x.nrows()).collect();
        let shift: Vec<T> = self.shift.iter().map(|v| T::from_f64(*v)).collect();
        let intercepts: Vec<Vec<f64>> = out
            .par_col_chunks_mut(TILE)
            .enumerate()
            .map(|(at, mut out)| {
                let from = at * TILE;
                let (y_centred, y_means) = self.centred_targets(tile_of(y, from).as_ref(), &all);
                let raw = match self.whole.space {
                    Space::Dual => y_centred,
                    _ => cross(self.x.as_ref(), y_centred.as_ref()),
                };
                let mut b = cross(self.whole.basis.as_ref(), raw.as_ref());
                for j in 0..out.ncols() {
                    shrink(b.col_as_slice_mut(j), &self.whole.values, alphas[from + j]);
                }
                let weights = match (self.whole.space, self.turned_back()) {
                    (Space::Dual, Some(turned_back)) => product(turned_back.as_ref(), b.as_ref()),
                    (Space::Dual, None) => {
                        let rotated = product(self.whole.basis.as_ref(), b.as_ref());
                        cross(self.x.as_ref(), rotated.as_ref())
                    }
                    _ => product(self.whole.basis.as_ref(), b.as_ref()),
                };
                // The design was shifted; the intercept is for the design as given.
                (0..out.ncols())
                    .map(|j| {
                        out.as_mut().col_mut(j).copy_from(weights.col(j));
                        y_means[j] - dot(weights.col_as_slice(j), &shift)
                    })
                    .collect()
            })
            .collect();
        Ok(intercepts.concat())
    }

    /// The best score over the penalties, each judged by generalised cross-validation on all rows; NaN for a
    /// target that has none. `tile` is one tile wide and, where there is an intercept, centred.
    ///
    /// Error: penalties of this plan are judged otherwise.
    pub(super) fn best_generalised_scores(&self, tile: &Mat<T>) -> Result<Vec<f64>> {
        let Some(own) = self.own.as_ref().filter(|_| self.params.selection == Selection::Generalised) else {
            return Err(Error::Invalid {
                what: "selection".into(),
                expected: "penalties judged by generalised cross-validation".into(),
                found: format!("{:?}", self.params.selection),
                hint: "build the plan with `Selection::Generalised`".into(),
            });
        };
        let scores = own.generalised_scores(&own.along(&self.whole.basis, tile), tile);
        let best_of = |j: usize| best((0..self.alphas.len()).map(|a| scores[(a, j)]));
        Ok((0..tile.ncols()).map(|j| best_of(j).map_or(f64::NAN, |a| scores[(a, j)])).collect())
    }

    /// Whether the fit has a constant.
    pub(super) fn has_intercept(&self) -> bool {
        self.params.intercept == Intercept::Fitted
    }

    /// X_cᵀU, where it saves more than it takes: n k multiply-adds per target, of n k + n p.
    fn turned_back(&self) -> Option<&Mat<T>> {
        let (n, p) = (self.x.nrows(), self.x.ncols());
        if self.whole.space != Space::Dual || p > TURNED_BACK * n {
            return None;
        }
        Some(self.turned_back.get_or_init(|| {
            let mut out = Mat::zeros(p, self.whole.basis.ncols());
            out.as_mut().par_col_chunks_mut(TILE).enumerate().for_each(|(at, mut out)| {
                let basis = self.whole.basis.as_ref().subcols(at * TILE, out.ncols());
                out.copy_from(cross(self.x.as_ref(), basis));
            });
            out
        }))
    }

    /// Each training row predicted from the inner fold that held it out (training rows × R), at the given
    /// penalties (absolute, one per target; those of the fit).
    ///
    /// Where penalties are judged by leaving one row out, or by generalised cross-validation, each row is
    /// predicted from all others. NaN for rows that no inner fold held out, for a target with a NaN penalty,
    /// and for a row that alone decides its fit (leverage 1). Under
    /// [`InnerLoss::Correlation`] the predictions of a fold have the mean of its training targets.
    pub fn inner_predictions(&self, y: MatRef<T>, alphas: &[f64]) -> Result<Mat<T>> {
        self.check_targets(y)?;
        self.check_alphas(y, alphas)?;
        let held_out = self.blocks.as_ref().map(|blocks| {
            let basis = widened(&self.whole.basis);
            let intercept = self.has_intercept();
            let whole = Whole { values: &self.whole.values, basis: basis.as_ref(), intercept };
            BlockPredictions::new(whole, &blocks.rows, alphas)
        });
        let starts: Vec<usize> = (0..y.ncols()).step_by(TILE).collect();
        let tiles: Vec<Mat<T>> = starts
            .par_iter()
            .map(|&from| {
                let width = TILE.min(y.ncols() - from);
                let tile = tile_of(y, from);
                let all: Vec<usize> = (0..y.nrows()).collect();
                let (y_centred, levels) = self.centred_targets(tile.as_ref(), &all);
                let (left_out, moments) = self.target_moments(&y_centred);
                if let Some(blocks) = &held_out {
                    let mut out = blocks.predictions(&y_centred, &alphas[from..from + width]);
                    for j in 0..width {
                        let raised = |v: T| T::from_f64(v.into() + levels[j]);
                        out.col_as_slice_mut(j).iter_mut().for_each(|v| *v = raised(*v));
                    }
                    return out;
                }
                if let Some(own) = &self.own {
                    let c = self.whole_targets(&y_centred, &moments);
                    return own.predictions(&c, &y_centred, &levels, &alphas[from..from + width]);
                }
                let mut out = Mat::full(y.nrows(), width, T::from_f64(f64::NAN));
                for (fold, left_out) in self.folds.iter().zip(&left_out) {
                    let (mut b, means) = self.rotated_targets(fold, &y_centred, &moments, left_out.as_ref());
                    for j in 0..width {
                        shrink(b.col_as_slice_mut(j), &fold.factor.values, alphas[from + j]);
                    }
                    let predicted = product(fold.factor.rotated.as_ref(), b.as_ref());
                    // The tile was centred on all rows; `means` are those of this fold in that frame.
                    for j in 0..width {
                        let level = means[j] + levels[j];
                        for (at, &row) in fold.test.iter().enumerate() {
                            out[(row, j)] = T::from_f64(predicted[(at, j)].into() + level);
                        }
                    }
                }
                out
            })
            .collect();
        Ok(stack_columns(&tiles, y.nrows(), y.ncols()))
    }

    fn check_alphas(&self, y: MatRef<T>, alphas: &[f64]) -> Result<()> {
        if alphas.len() == y.ncols() {
            return Ok(());
        }
        Err(Error::Shape {
            what: "alphas".into(),
            expected: format!("{} penalties (one per target)", y.ncols()),
            found: format!("{} penalties", alphas.len()),
            hint: "pass the `alphas` of the fit".into(),
        })
    }

    fn check_targets(&self, y: MatRef<T>) -> Result<()> {
        if y.nrows() != self.x.nrows() {
            return Err(Error::Shape {
                what: "targets".into(),
                expected: format!("{} rows (one per training row)", self.x.nrows()),
                found: format!("{} rows", y.nrows()),
                hint: "rows must be the same stimuli in order".into(),
            });
        }
        check_finite(y, "targets")
    }
}

/// One tile of targets after inner cross-validation.
struct TunedTile<T> {
    /// Penalties × TILE.
    scores: Mat<f64>,
    /// c of the fit on all training rows, k × TILE; `None` where no rows are to be predicted.
    rotated_targets: Option<Mat<T>>,
    means: Vec<f64>,
    /// One per target that is there.
    constant: Vec<bool>,
}

impl<T: Real> RidgePlan<T> {
    /// Step 1: score every penalty for the targets from `from` on, one tile of them.
    fn tune(&self, y: MatRef<T>, from: usize) -> TunedTile<T> {
        let width = TILE.min(y.ncols() - from);
        let y = tile_of(y, from);
        let constant: Vec<bool> = (0..width).map(|j| is_constant(y.col_as_slice(j))).collect();
        let all: Vec<usize> = (0..y.nrows()).collect();
        let (y_centred, means) = self.centred_targets(y.as_ref(), &all);

        let (left_out, moments) = self.target_moments(&y_centred);
        let mut tally = Tally::new(self.alphas.len(), TILE);
        for (fold, left_out) in self.folds.iter().zip(&left_out) {
            self.score_fold(fold, &y_centred, &moments, left_out.as_ref(), &mut tally);
        }
        let predicts = self.whole.rotated.nrows() > 0;
        let needs_targets = predicts || self.own.is_some() || self.blocks.is_some();
        let rotated_targets = needs_targets.then(|| self.whole_targets(&y_centred, &moments));
        let scores = match (&self.own, &self.blocks, &rotated_targets) {
            (Some(own), _, Some(rotated_targets)) => own.scores(rotated_targets, &y_centred),
            (None, Some(blocks), Some(c)) => {
                tally.sums = blocks.errors.errors(c, &y_centred);
                for block in &blocks.rows {
                    tally.add_squares(&self.squares_of_block(block, &y_centred));
                }
                tally.scores(self.params.loss)
            }
            _ => tally.scores(self.params.loss),
        };
        TunedTile { scores, rotated_targets: rotated_targets.filter(|_| predicts), means, constant }
    }

    /// Σ (y − mean of the rows outside the block)² over the rows predicted, per target.
    fn squares_of_block(&self, block: &Block, y: &Mat<T>) -> Vec<f64> {
        let n_train = (y.nrows() - block.rows.len()) as f64;
        (0..y.ncols())
            .map(|j| {
                let y = y.col_as_slice(j);
                let wide = |i: usize| -> f64 { y[i].into() };
                let mut mean = 0.0;
                if self.has_intercept() {
                    let out: f64 = block.rows.iter().map(|&i| wide(i)).sum();
                    mean = ((0..y.len()).map(wide).sum::<f64>() - out) / n_train;
                }
                block.test.iter().map(|&at| (wide(block.rows[at]) - mean).powi(2)).sum()
            })
            .collect()
    }

    /// c of the fit on all training rows (k × TILE).
    fn whole_targets(&self, y_centred: &Mat<T>, moments: &Mat<T>) -> Mat<T> {
        match self.whole.space {
            Space::Dual => cross(self.whole.basis.as_ref(), y_centred.as_ref()),
            _ => cross(self.whole.basis.as_ref(), moments.as_ref()),
        }
    }

    /// XᵀY of the rows that each inner fold leaves out, and of all rows.
    fn target_moments(&self, y_centred: &Mat<T>) -> (Vec<Option<Mat<T>>>, Mat<T>) {
        let left_out: Vec<Option<Mat<T>>> = self
            .folds
            .iter()
            .map(|fold| {
                let left_out = fold.left_out.as_ref()?;
                Some(cross(left_out.x.as_ref(), select_rows(y_centred.as_ref(), &left_out.rows).as_ref()))
            })
            .collect();
        let mut moments = Mat::zeros(0, 0);
        if self.whole.space == Space::Primal || left_out.iter().any(Option::is_some) {
            moments = if self.partition {
                let mut sum = Mat::zeros(self.x.ncols(), TILE);
                left_out.iter().flatten().for_each(|part| sum += part);
                sum
            } else {
                cross(self.x.as_ref(), y_centred.as_ref())
            };
        }
        (left_out, moments)
    }

    /// c of one inner fold (k × TILE), and the means of the targets over its training rows.
    fn rotated_targets(
        &self,
        fold: &InnerFold<T>,
        y: &Mat<T>,
        moments: &Mat<T>,
        left_out: Option<&Mat<T>>,
    ) -> (Mat<T>, Vec<f64>) {
        let factor = &fold.factor;
        if let (Space::Primal, Some(left_out)) = (factor.space, left_out) {
            // Down-dated, then centred on this training set: C − C_out − n m ȳᵀ.
            let y_means = self.target_means(y.as_ref(), &fold.train);
            let n = factor.n_train as f64;
            let mut c = moments - left_out;
            for j in 0..c.ncols() {
                let column = c.col_as_slice_mut(j).iter_mut();
                let shifted = |c: T, mean: f64| T::from_f64(c.into() - n * mean * y_means[j]);
                column.zip(&factor.means).for_each(|(c, mean)| *c = shifted(*c, *mean));
            }
            return (cross(factor.basis.as_ref(), c.as_ref()), y_means);
        }
        let (y_train, y_means) = self.centred_targets(y.as_ref(), &fold.train);
        let raw = match factor.space {
            Space::Dual => y_train,
            _ => cross(select_rows(self.x.as_ref(), &fold.train).as_ref(), y_train.as_ref()),
        };
        (cross(factor.basis.as_ref(), raw.as_ref()), y_means)
    }

    /// Step 2: add one inner fold's errors at every penalty.
    fn score_fold(
        &self,
        fold: &InnerFold<T>,
        y: &Mat<T>,
        moments: &Mat<T>,
        left_out: Option<&Mat<T>>,
        tally: &mut Tally,
    ) {
        let factor = &fold.factor;
        let (rotated_targets, y_means) = self.rotated_targets(fold, y, moments, left_out);
        let mut y_test = minus_means(select_rows(y.as_ref(), &fold.test).as_ref(), &y_means);
        if self.params.loss == InnerLoss::Correlation {
            // R_f is centred on the fold as well (see `Factor`), so moments are covariances.
            y_test = minus_means(y_test.as_ref(), &column_means(y_test.as_ref()));
        }
        let squares: Vec<f64> =
            (0..y_test.ncols()).map(|j| dot(y_test.col_as_slice(j), y_test.col_as_slice(j))).collect();
        let square = |v: T| -> f64 { (v * v).into() };
        let scale: Vec<f64> =
            (0..y.ncols()).map(|j| fold.test.iter().map(|&i| square(y[(i, j)])).sum::<f64>()).collect();
        let (width, d) = (y_test.ncols(), factor.path.width());
        let forms = match &factor.half_moments {
            Some(half) => Forms::of_moments(factor, half, &rotated_targets, &y_test),
            None => Forms::Predictions(factor.path.turn(factor.rotated.as_ref(), &rotated_targets)),
        };
        let (mut agreements, mut powers) = (vec![0.0; d], vec![0.0; d * d]);
        for j in 0..width {
            for m in 0..d {
                agreements[m] = forms.agreement(j, m, d, &y_test);
                for l in 0..=m {
                    let power = forms.power(j, m, l, d);
                    (powers[m * d + l], powers[l * d + m]) = (power, power);
                }
            }
            for a in 0..self.alphas.len() {
                let u: Vec<f64> = (0..d).map(|m| factor.path.coefficients[(a, m)]).collect();
                let agreement = dot(&u, &agreements);
                let power: f64 = (0..d).map(|m| u[m] * dot(&u, &powers[m * d..][..d])).sum();
                match self.params.loss {
                    InnerLoss::SquaredError => {
                        tally.add_error(a, j, squares[j] - 2.0 * agreement + power);
                    }
                    InnerLoss::Correlation => {
                        // A fold in which the target does not vary has no correlation and no weight.
                        if squares[j] > 1e-24 * scale[j].max(f64::MIN_POSITIVE) {
                            let r = agreement / (power * squares[j]).sqrt();
                            let r = if power > 0.0 && r.is_finite() { r } else { 0.0 };
                            tally.add_correlation(a, j, r, fold.test.len());
                        }
                    }
                }
            }
        }
        tally.add_squares(&squares);
    }

    /// Step 3: the best penalty of each target; `None` where the target is undefined.
    fn choose(&self, tuned: &[TunedTile<T>]) -> Vec<Option<usize>> {
        let constant = tuned.iter().flat_map(|tile| tile.constant.iter().copied());
        if self.alphas.len() == 1 {
            return constant.map(|constant| (!constant).then_some(0)).collect();
        }
        let n_alphas = self.alphas.len();
        match self.params.alpha_choice {
            AlphaChoice::PerTarget => tuned
                .iter()
                .flat_map(|tile| {
                    (0..tile.constant.len()).map(|j| {
                        let scores = (0..n_alphas).map(|a| tile.scores[(a, j)]);
                        if tile.constant[j] { None } else { best(scores) }
                    })
                })
                .collect(),
            AlphaChoice::Shared => {
                let mean = |a: usize| {
                    let defined: Vec<f64> = tuned
                        .iter()
                        .flat_map(|tile| (0..tile.constant.len()).map(move |j| (tile, j)))
                        .filter(|(tile, j)| !tile.constant[*j] && tile.scores[(a, *j)].is_finite())
                        .map(|(tile, j)| tile.scores[(a, j)])
                        .collect();
                    defined.iter().sum::<f64>() / defined.len() as f64
                };
                let shared = best((0..n_alphas).map(mean));
                constant.map(|constant| if constant { None } else { shared }).collect()
            }
        }
    }

    /// Step 4: predict the held-out rows of one tile.
    fn predict(&self, tile: &TunedTile<T>, chosen: &[Option<usize>], levels: bool) -> Mat<T> {
        let Some(mut b) = tile.rotated_targets.clone() else { return Mat::zeros(0, chosen.len()) };
        for (j, choice) in chosen.iter().enumerate() {
            if let Some(at) = choice {
                shrink(b.col_as_slice_mut(j), &self.whole.values, self.alphas[*at]);
            }
        }
        let mut out = product(self.whole.rotated.as_ref(), b.as_ref());
        for (j, choice) in chosen.iter().enumerate() {
            let mean = if levels { tile.means[j] } else { 0.0 };
            let level = if choice.is_some() { mean } else { f64::NAN };
            out.col_as_slice_mut(j).iter_mut().for_each(|v| *v = T::from_f64((*v).into() + level));
        }
        out.get(.., ..chosen.len()).to_owned()
    }

    /// Targets of some training rows minus their means (none without an intercept), and the means.
    fn centred_targets(&self, y: MatRef<T>, rows: &[usize]) -> (Mat<T>, Vec<f64>) {
        let means = self.target_means(y, rows);
        let mut part = select_rows(y, rows);
        centre_columns(part.as_mut(), &means);
        (part, means)
    }

    /// Means of the targets over some rows, added in their order; zeros without an intercept.
    fn target_means(&self, y: MatRef<T>, rows: &[usize]) -> Vec<f64> {
        let mean = |j: usize| {
            let column = y.col(j);
            rows.iter().map(|&i| -> f64 { column[i].into() }).sum::<f64>() / rows.len() as f64
        };
        match self.params.intercept {
            Intercept::Fitted => (0..y.ncols()).map(mean).collect(),
            Intercept::None => vec![0.0; y.ncols()],
        }
    }
}

/// What the directions of the penalties make of the held-out rows of a fold.
enum Forms<T> {
    /// R_f s of every direction and target.
    Predictions(Turned<T>),
    /// The columns s themselves, what half of G makes of them, and q.
    Moments { spread: Mat<T>, turned: Mat<T>, q: Mat<T> },
}

impl<T: Real> Forms<T> {
    fn of_moments(factor: &Factor<T>, half: &Mat<T>, rotated_targets: &Mat<T>, y_test: &Mat<T>) -> Self {
        let spread = factor.path.spread(rotated_targets);
        let turned = lower_product(half.as_ref(), spread.as_ref());
        Forms::Moments { spread, turned, q: cross(factor.rotated.as_ref(), y_test.as_ref()) }
    }

    /// The inner product of direction m's prediction and the target.
    fn agreement(&self, j: usize, m: usize, d: usize, y_test: &Mat<T>) -> f64 {
        match self {
            Forms::Predictions(turned) => dot(turned.column(j, m), y_test.col_as_slice(j)),
            Forms::Moments { spread, q, .. } => dot(spread.col_as_slice(j * d + m), q.col_as_slice(j)),
        }
    }

    /// The inner product of the predictions of directions m and l.
    fn power(&self, j: usize, m: usize, l: usize, d: usize) -> f64 {
        match self {
            Forms::Predictions(turned) => dot(turned.column(j, m), turned.column(j, l)),
            Forms::Moments { spread, turned, .. } => {
                let (b, t) = (|m| spread.col_as_slice(j * d + m), |m| turned.col_as_slice(j * d + m));
                dot(b(m), t(l)) + dot(b(l), t(m))
            }
        }
    }
}

/// Errors and agreements summed over inner folds.
struct Tally {
    /// Penalties × targets.
    sums: Mat<f64>,
    /// Σ SST per target.
    squares: Vec<f64>,
    /// Σ n_f of the folds in which the target varies.
    rows: Vec<usize>,
}

impl Tally {
    fn new(n_alphas: usize, n_targets: usize) -> Self {
        Tally {
            sums: Mat::zeros(n_alphas, n_targets),
            squares: vec![0.0; n_targets],
            rows: vec![0; n_targets],
        }
    }

    fn add_error(&mut self, alpha: usize, target: usize, error: f64) {
        self.sums[(alpha, target)] += error;
    }

    fn add_correlation(&mut self, alpha: usize, target: usize, r: f64, n_rows: usize) {
        self.sums[(alpha, target)] += n_rows as f64 * r;
        if alpha == 0 {
            self.rows[target] += n_rows;
        }
    }

    fn add_squares(&mut self, squares: &[f64]) {
        self.squares.iter_mut().zip(squares).for_each(|(sum, s)| *sum += s);
    }

    fn scores(self, loss: InnerLoss) -> Mat<f64> {
        Mat::from_fn(self.sums.nrows(), self.sums.ncols(), |a, j| match loss {
            InnerLoss::SquaredError if self.squares[j] > 0.0 => 1.0 - self.sums[(a, j)] / self.squares[j],
            InnerLoss::Correlation if self.rows[j] > 0 => self.sums[(a, j)] / self.rows[j] as f64,
            _ => f64::NAN,
        })
    }
}

/// Shapes that decide between the two spaces.
struct Rows<'a> {
    n_train: usize,
    n_params: usize,
    params: &'a RidgeParams,
}

impl Rows<'_> {
    fn space(&self, n_rows: usize) -> Space {
        match self.params.space {
            Space::ByShape if self.n_params > n_rows => Space::Dual,
            Space::ByShape => Space::Primal,
            fixed => fixed,
        }
    }
}

/// Inner folds judged from the decomposition of all rows, where that is done in sample space, is the cheaper way
/// and is accurate enough.
///
/// Per target it takes A Σ n_f²/2 multiply-adds beside d n² for products, and spares c of every fold and its
/// decomposition: with d ≈ 5 and some thousand targets the two ways meet near A Σ n_f² = 5 n², four folds for 20
/// penalties. Correlations need predictions, and go the other way.
fn inner_blocks<T: Real>(
    whole: &Factor<f64>,
    inner: &[Fold],
    alphas: &[f64],
    params: &RidgeParams,
) -> Result<Option<Blocks<T>>> {
    let n = whole.n_train;
    let rows: Vec<Block> = inner.iter().map(|fold| Block::new(fold, n)).collect();
    let squares: usize = rows.iter().map(|block| block.rows.len().pow(2)).sum();
    let wanted = params.selection == Selection::Folds
        && params.loss == InnerLoss::SquaredError
        && whole.space == Space::Dual
        && !inner.is_empty()
        && alphas.len() * squares <= 5 * n * n;
    if !wanted {
        return Ok(None);
    }
    let intercept = params.intercept == Intercept::Fitted;
    let view = Whole { values: &whole.values, basis: whole.basis.as_ref(), intercept };
    // Half the digits of the data's precision, at the least.
    let limit = 1.0 / T::ROUNDING.sqrt();
    Ok(BlockErrors::new(view, &rows, alphas, limit)?.map(|errors| Blocks { rows, errors }))
}

fn inner_fold<T: Real>(
    x: &Mat<f64>,
    moments: &Mat<f64>,
    kernel: &Mat<f64>,
    fold: &Fold,
    alphas: &[f64],
    outer: &Rows<'_>,
) -> Result<InnerFold<T>> {
    let params = outer.params;
    let mut in_train = vec![false; outer.n_train];
    fold.train.iter().for_each(|&i| in_train[i] = true);
    let rows: Vec<usize> = (0..outer.n_train).filter(|&i| !in_train[i]).collect();
    let (factor, left_out) = if outer.space(fold.train.len()) == Space::Dual {
        let cross_kernel = select_rows(kernel.as_ref(), &fold.test);
        (dual_factor(x, kernel, &fold.train, cross_kernel.as_ref(), params)?, None)
    } else {
        let x_test = select_rows(x.as_ref(), &fold.test);
        let sums = column_sums(x, &fold.train);
        if rows.len() * 2 > outer.n_train {
            let direct = gram(select_rows(x.as_ref(), &fold.train).as_ref());
            (primal_factor(direct, &sums, fold.train.len(), x_test.as_ref(), params)?, None)
        } else {
            let out = select_rows(x.as_ref(), &rows);
            let down_dated = moments - gram(out.as_ref());
            let factor = primal_factor(down_dated, &sums, fold.train.len(), x_test.as_ref(), params)?;
            (factor, Some(LeftOut { rows, x: T::narrow(out) }))
        }
    };
    let factor = prepare_scores(factor, alphas, params.loss, T::ROUNDING)?.narrow();
    Ok(InnerFold { train: fold.train.clone(), test: fold.test.clone(), left_out, factor })
}

/// Decompose X_cᵀX_c from the raw moments of n rows and their column sums.
fn primal_factor(
    mut moments: Mat<f64>,
    sums: &[f64],
    n: usize,
    x_test: MatRef<f64>,
    params: &RidgeParams,
) -> Result<Factor<f64>> {
    let p = moments.ncols();
    let means: Vec<f64> = match params.intercept {
        Intercept::Fitted => sums.iter().map(|s| s / n as f64).collect(),
        Intercept::None => vec![0.0; p],
    };
    for j in 0..p {
        let column = moments.col_as_slice_mut(j).iter_mut();
        column.zip(&means).for_each(|(c, mean)| *c -= n as f64 * mean * means[j]);
    }
    let trace = (0..p).map(|i| moments[(i, i)]).sum();
    let decomposed = eigh(moments.as_ref())?;
    let rank = numerical_rank(&decomposed.values, n.max(p));
    let basis = decomposed.vectors.get(.., ..rank).to_owned();
    let rotated = product(minus_means(x_test, &means).as_ref(), basis.as_ref());
    let values = decomposed.values[..rank].to_vec();
    Ok(Factor {
        means,
        n_train: n,
        values,
        basis,
        space: Space::Primal,
        rotated,
        half_moments: None,
        path: PenaltyPath::empty(),
        trace,
    })
}

/// Decompose X_cX_cᵀ of the rows `train` from the kernel of all rows; `cross_kernel` is held-out × all.
fn dual_factor(
    x: &Mat<f64>,
    kernel: &Mat<f64>,
    train: &[usize],
    cross_kernel: MatRef<f64>,
    params: &RidgeParams,
) -> Result<Factor<f64>> {
    let n = train.len();
    let fitted = params.intercept == Intercept::Fitted;
    let level = |row: &dyn Fn(usize) -> f64| {
        if fitted { train.iter().map(|&i| row(i)).sum::<f64>() / n as f64 } else { 0.0 }
    };
    let row_means: Vec<f64> = train.iter().map(|&i| level(&|l| kernel[(i, l)])).collect();
    let grand = if fitted { row_means.iter().sum::<f64>() / n as f64 } else { 0.0 };
    let centred =
        Mat::from_fn(n, n, |i, j| kernel[(train[i], train[j])] - row_means[i] - row_means[j] + grand);
    let trace = (0..n).map(|i| centred[(i, i)]).sum();
    let decomposed = eigh(centred.as_ref())?;
    let rank = numerical_rank(&decomposed.values, n.max(x.ncols()));
    let basis = decomposed.vectors.get(.., ..rank).to_owned();
    let test_means: Vec<f64> = (0..cross_kernel.nrows()).map(|t| level(&|l| cross_kernel[(t, l)])).collect();
    let test = Mat::from_fn(cross_kernel.nrows(), n, |t, j| {
        cross_kernel[(t, train[j])] - test_means[t] - row_means[j] + grand
    });
    let rotated = product(test.as_ref(), basis.as_ref());
    let means = match params.intercept {
        Intercept::Fitted => column_sums(x, train).iter().map(|s| s / n as f64).collect(),
        Intercept::None => vec![0.0; x.ncols()],
    };
    let values = decomposed.values[..rank].to_vec();
    Ok(Factor {
        means,
        n_train: n,
        values,
        basis,
        space: Space::Dual,
        rotated,
        half_moments: None,
        path: PenaltyPath::empty(),
        trace,
    })
}

/// Centre R_f for correlations, form its moments where they are the cheaper way to errors, and find the
/// path of the penalties.
fn prepare_scores(
    mut factor: Factor<f64>,
    alphas: &[f64],
    loss: InnerLoss,
    rounding: f64,
) -> Result<Factor<f64>> {
    if loss == InnerLoss::Correlation {
        factor.rotated = minus_means(factor.rotated.as_ref(), &column_means(factor.rotated.as_ref()));
    }
    let (n_test, k) = (factor.rotated.nrows(), factor.values.len());
    if k < n_test {
        let mut half = Mat::zeros(k, k);
        add_gram(half.as_mut(), factor.rotated.as_ref());
        (0..k).for_each(|i| half[(i, i)] *= 0.5);
        factor.half_moments = Some(half);
    }
    let path = if k < n_test { PenaltyPath::whole } else { PenaltyPath::banded };
    factor.path = path(&factor.values, factor.space, &factor.rotated, alphas, rounding)?;
    Ok(factor)
}

impl Factor<f64> {
    fn narrow<T: Real>(self) -> Factor<T> {
        Factor {
            means: self.means,
            n_train: self.n_train,
            values: self.values,
            basis: T::narrow(self.basis),
            space: self.space,
            rotated: T::narrow(self.rotated),
            half_moments: self.half_moments.map(T::narrow),
            path: self.path.narrow(),
            trace: self.trace,
        }
    }
}

/// The targets from `from` on, with columns of zeros up to a whole tile.
fn tile_of<T: Real>(y: MatRef<T>, from: usize) -> Mat<T> {
    let width = TILE.min(y.ncols() - from);
    Mat::from_fn(y.nrows(), TILE, |i, j| if j < width { y[(i, from + j)] } else { T::default() })
}

/// c/(W + α).
fn shrink<T: Real>(c: &mut [T], values: &[f64], alpha: f64) {
    c.iter_mut().zip(values).for_each(|(c, w)| *c = T::from_f64((*c).into() / (w + alpha)));
}

/// How many eigenvalues stand above rounding.
pub(super) fn numerical_rank(values: &[f64], dimension: usize) -> usize {
    let cut = dimension as f64 * f64::EPSILON * values.first().copied().unwrap_or(0.0);
    values.iter().take_while(|&&w| w > cut && w > 0.0).count()
}

fn column_sums(x: &Mat<f64>, rows: &[usize]) -> Vec<f64> {
    (0..x.ncols())
        .map(|j| {
            let column = x.col_as_slice(j);
            rows.iter().map(|&i| column[i]).sum()
        })
        .collect()
}

fn wide_minus_means<T: Real>(x: MatRef<T>, means: &[f64]) -> Mat<f64> {
    Mat::from_fn(x.nrows(), x.ncols(), |i, j| x[(i, j)].into() - means[j])
}

fn widened<T: Real>(x: &Mat<T>) -> Mat<f64> {
    Mat::from_fn(x.nrows(), x.ncols(), |i, j| x[(i, j)].into())
}

fn minus_means<T: Real>(x: MatRef<T>, means: &[f64]) -> Mat<T> {
    let mut out = x.to_owned();
    centre_columns(out.as_mut(), means);
    out
}

fn is_constant<T: Real>(values: &[T]) -> bool {
    let (n, wide) = (values.len() as f64, |v: &T| -> f64 { (*v).into() });
    let mean = values.iter().map(wide).sum::<f64>() / n;
    let sd = (values.iter().map(|v| (wide(v) - mean).powi(2)).sum::<f64>() / n).sqrt();
    let size = values.iter().map(|v| wide(v).abs()).fold(0.0, f64::max);
    !(sd > (1e-12f64).max(T::ROUNDING) * size)
}

fn tiles_all_rows<T: Real>(folds: &[InnerFold<T>], n: usize) -> bool {
    let mut seen = vec![0usize; n];
    for fold in folds {
        match &fold.left_out {
            Some(left_out) => left_out.rows.iter().for_each(|&i| seen[i] += 1),
            None => return false,
        }
    }
    seen.iter().all(|&count| count == 1)
}

fn stack_columns<T: Real>(blocks: &[Mat<T>], n_rows: usize, n_columns: usize) -> Mat<T> {
    let mut out = Mat::zeros(n_rows, n_columns);
    let mut at = 0;
    for block in blocks {
        for j in 0..block.ncols() {
            out.col_as_slice_mut(at + j).copy_from_slice(block.col_as_slice(j));
        }
        at += block.ncols();
    }
    out
}

fn check_design<T: Real>(
    x_train: MatRef<T>,
    x_test: MatRef<T>,
    inner: &[Fold],
    params: &RidgeParams,
) -> Result<()> {
    if x_train.ncols() != x_test.ncols() {
        return Err(Error::Shape {
            what: "x_test".into(),
            expected: format!("{} columns (those of `x_train`)", x_train.ncols()),
            found: format!("{} columns", x_test.ncols()),
            hint: "expand both with the same settings".into(),
        });
    }
    if x_train.nrows() < 2 || x_train.ncols() == 0 {
        return Err(Error::TooFew {
            what: "x_train".into(),
            needed: "2 rows and 1 column".into(),
            found: format!("{} rows and {} columns", x_train.nrows(), x_train.ncols()),
            hint: "use fewer outer folds".into(),
        });
    }
    check_finite(x_train, "x_train")?;
    check_finite(x_test, "x_test")?;
    if params.selection != Selection::Folds && !inner.is_empty() {
        return Err(Error::Invalid {
            what: "inner folds".into(),
            expected: format!("none, since `selection` is {:?}", params.selection),
            found: format!("{} folds", inner.len()),
            hint: "give folds, or judge penalties by leaving one row out".into(),
        });
    }
    if params.selection == Selection::Folds && inner.is_empty() && params.alphas.values.len() > 1 {
        return Err(Error::TooFew {
            what: "inner folds".into(),
            needed: "2 inner folds to choose between penalties".into(),
            found: "none".into(),
            hint: "give inner folds, or a grid of one penalty".into(),
        });
    }
    inner.iter().try_for_each(|fold| fold.check("inner fold", x_train.nrows(), 2, 2))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alphas::AlphaScale;
    use stereotax_base::data::{Folds, Runs};
    use stereotax_base::linalg::solve;
    use stereotax_base::stats::rng::Stream;

    fn noise(rows: usize, columns: usize, index: u64) -> Mat<f64> {
        let mut stream = Stream::new(2, "ridge tests", index);
        Mat::from_fn(rows, columns, |_, _| stream.normal())
    }

    fn runs_of(lengths: &[usize]) -> Vec<Fold> {
        let names: Vec<String> = (0..lengths.len()).map(|i| format!("run {i}")).collect();
        let runs = Runs::from_lengths(&names, lengths).unwrap();
        Folds::leave_one_run_out(&runs).unwrap().iter().cloned().collect()
    }

    fn distance(a: &Mat<f64>, b: &Mat<f64>) -> f64 {
        assert_eq!((a.nrows(), a.ncols()), (b.nrows(), b.ncols()));
        (a - b).norm_max()
    }

    /// Slow twin: centre, solve (XᵀX + αI) b = Xᵀy, predict.
    fn by_definition(x: &Mat<f64>, y: &[f64], x_test: &Mat<f64>, alpha: f64, fitted: bool) -> Vec<f64> {
        let n = x.nrows() as f64;
        let mx: Vec<f64> = if fitted { column_means(x.as_ref()) } else { vec![0.0; x.ncols()] };
        let my = if fitted { y.iter().sum::<f64>() / n } else { 0.0 };
        let xc = minus_means(x.as_ref(), &mx);
        let mut g = gram(xc.as_ref());
        (0..x.ncols()).for_each(|i| g[(i, i)] += alpha);
        let yc = Mat::from_fn(y.len(), 1, |i, _| y[i] - my);
        let b = solve(g.as_ref(), cross(xc.as_ref(), yc.as_ref()).as_ref());
        (0..x_test.nrows())
            .map(|t| my + (0..x.ncols()).map(|j| (x_test[(t, j)] - mx[j]) * b[(j, 0)]).sum::<f64>())
            .collect()
    }

    /// Slow twin: inner scores of one target at every penalty.
    fn scores_by_definition(
        x: &Mat<f64>,
        y: &[f64],
        inner: &[Fold],
        alphas: &[f64],
        loss: InnerLoss,
        fitted: bool,
    ) -> Vec<f64> {
        alphas
            .iter()
            .map(|&alpha| {
                let (mut error, mut total, mut agreement, mut rows) = (0.0, 0.0, 0.0, 0.0);
                for fold in inner {
                    let y_train: Vec<f64> = fold.train.iter().map(|&i| y[i]).collect();
                    let y_test: Vec<f64> = fold.test.iter().map(|&i| y[i]).collect();
                    let level = if fitted { y_train.iter().sum::<f64>() / y_train.len() as f64 } else { 0.0 };
                    let p = by_definition(
                        &select_rows(x.as_ref(), &fold.train),
                        &y_train,
                        &select_rows(x.as_ref(), &fold.test),
                        alpha,
                        fitted,
                    );
                    error += y_test.iter().zip(&p).map(|(y, p)| (y - p).powi(2)).sum::<f64>();
                    total += y_test.iter().map(|y| (y - level).powi(2)).sum::<f64>();
                    let n = p.len() as f64;
                    let (my, mp) = (y_test.iter().sum::<f64>() / n, p.iter().sum::<f64>() / n);
                    let cov: f64 = y_test.iter().zip(&p).map(|(y, p)| (y - my) * (p - mp)).sum();
                    let vy: f64 = y_test.iter().map(|y| (y - my).powi(2)).sum();
                    let vp: f64 = p.iter().map(|p| (p - mp).powi(2)).sum();
                    agreement += n * cov / (vy * vp).sqrt();
                    rows += n;
                }
                match loss {
                    InnerLoss::SquaredError => 1.0 - error / total,
                    InnerLoss::Correlation => agreement / rows,
                }
            })
            .collect()
    }

    #[test]
    fn two_features_and_three_rows_by_hand() {
        // X = [1 0; 0 1; 1 1], y = (1, 2, 3), α = 1, no intercept:
        // (XᵀX + I) b = Xᵀy: [3 1; 1 3] b = [4; 5] → b = (7/8, 11/8); at x = (2, 1) ŷ = 25/8.
        let x = Mat::from_fn(3, 2, |i, j| [[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]][i][j]);
        let x_test = Mat::from_fn(1, 2, |_, j| [2.0, 1.0][j]);
        let y = Mat::from_fn(3, 1, |i, _| (i + 1) as f64);
        for space in [Space::Primal, Space::Dual] {
            let params = RidgeParams {
                alphas: AlphaGrid::absolute(&[1.0]),
                intercept: Intercept::None,
                space,
                ..RidgeParams::default()
            };
            let plan = RidgePlan::new(x.as_ref(), x_test.as_ref(), &[], &params).unwrap();
            let fit = plan.fit(y.as_ref()).unwrap();
            assert!((fit.predictions[(0, 0)] - 25.0 / 8.0).abs() < 1e-14);
            let weights = plan.weights(y.as_ref(), &fit.alphas).unwrap().weights;
            assert!((weights[(0, 0)] - 0.875).abs() < 1e-14 && (weights[(1, 0)] - 1.375).abs() < 1e-14);
            assert_eq!((fit.rank, fit.n_undefined), (2, 0));
        }
    }

    #[test]
    fn every_path_equals_the_definition() {
        // Wide and narrow designs (both spaces), long and short folds (moments and predictions), both
        // losses, with and without an intercept; means far from 0.
        for (p, lengths) in
            [(5, vec![20, 25, 15]), (40, vec![20, 25, 15]), (90, vec![20, 25, 15]), (30, vec![10; 6])]
        {
            let n: usize = lengths.iter().sum();
            let inner = runs_of(&lengths);
            let mut x = noise(n, p, p as u64);
            x.col_mut(0).iter_mut().for_each(|v| *v += 20.0);
            let x_test = noise(7, p, 100);
            let e = noise(n, 3, 101);
            let y = Mat::from_fn(n, 3, |i, j| 4.0 + x[(i, 1)] * j as f64 + x[(i, 2)] + e[(i, j)]);
            for loss in [InnerLoss::SquaredError, InnerLoss::Correlation] {
                for intercept in [Intercept::Fitted, Intercept::None] {
                    let fitted = intercept == Intercept::Fitted;
                    let params = RidgeParams {
                        alphas: AlphaGrid::logarithmic(-1.0, 3.0, 5, AlphaScale::MeanSquare),
                        loss,
                        intercept,
                        ..RidgeParams::default()
                    };
                    let plan = RidgePlan::new(x.as_ref(), x_test.as_ref(), &inner, &params).unwrap();
                    let fit = plan.fit(y.as_ref()).unwrap();
                    assert_eq!(fit.space, if p > n { Space::Dual } else { Space::Primal });
                    for j in 0..3 {
                        let y = y.col_as_slice(j);
                        let expected = scores_by_definition(&x, y, &inner, plan.alphas(), loss, fitted);
                        let at = best(expected.iter().copied()).unwrap();
                        assert_eq!(fit.alphas[j], plan.alphas()[at], "{p} {loss:?} {intercept:?}");
                        assert!((fit.inner_scores[j] - expected[at]).abs() < 1e-9, "{p} {loss:?}");
                        let p = by_definition(&x, y, &x_test, fit.alphas[j], fitted);
                        (0..7).for_each(|t| assert!((fit.predictions[(t, j)] - p[t]).abs() < 1e-8));
                    }
                    inner_predictions_are_by_definition(&plan, &x, &y, &inner, &fit.alphas);
                }
            }
        }
    }

    fn inner_predictions_are_by_definition(
        plan: &RidgePlan,
        x: &Mat<f64>,
        y: &Mat<f64>,
        inner: &[Fold],
        alphas: &[f64],
    ) {
        let found = plan.inner_predictions(y.as_ref(), alphas).unwrap();
        let fitted = plan.params.intercept == Intercept::Fitted;
        for fold in inner {
            let (x_train, x_test) =
                (select_rows(x.as_ref(), &fold.train), select_rows(x.as_ref(), &fold.test));
            for j in 0..y.ncols() {
                let y_train: Vec<f64> = fold.train.iter().map(|&i| y[(i, j)]).collect();
                let mut p = by_definition(&x_train, &y_train, &x_test, alphas[j], fitted);
                if plan.params.loss == InnerLoss::Correlation {
                    // Only the pattern counts there: the level is that of the training targets.
                    let level = if fitted { y_train.iter().sum::<f64>() / y_train.len() as f64 } else { 0.0 };
                    let mean = p.iter().sum::<f64>() / p.len() as f64;
                    p.iter_mut().for_each(|v| *v += level - mean);
                }
                for (&row, p) in fold.test.iter().zip(p) {
                    assert!((found[(row, j)] - p).abs() < 1e-8, "{row} {j}: {} {p}", found[(row, j)]);
                }
            }
        }
    }

    #[test]
    fn primal_equals_dual() {
        let inner = runs_of(&[12, 12, 12]);
        for p in [8, 60] {
            let (x, x_test, y) = (noise(36, p, 1), noise(9, p, 2), noise(36, 4, 3));
            let fit = |space| {
                let params = RidgeParams { space, ..RidgeParams::default() };
                let plan = RidgePlan::new(x.as_ref(), x_test.as_ref(), &inner, &params).unwrap();
                let fit = plan.fit(y.as_ref()).unwrap();
                let weights = plan.weights(y.as_ref(), &fit.alphas).unwrap();
                (fit, weights)
            };
            let ((primal, w_primal), (dual, w_dual)) = (fit(Space::Primal), fit(Space::Dual));
            assert!(distance(&primal.predictions, &dual.predictions) < 1e-9);
            assert!(distance(&w_primal.weights, &w_dual.weights) < 1e-9);
            for j in 0..4 {
                assert!((primal.inner_scores[j] - dual.inner_scores[j]).abs() < 1e-9);
            }
        }
    }

    #[test]
    fn leave_one_out_is_that_of_the_printed_fixture() {
        // specs: alignment-methods B6.1, to the six digits printed there.
        let x = Mat::from_fn(8, 3, |i, j| (((i + 1) * 7 * (j + 1) + 5 * i * i + j) % 13) as f64);
        let y = Mat::from_fn(8, 1, |i, _| (i * i % 7) as f64);
        let expected = [1.904060, 1.303075, -0.305929, 4.156426, 2.170646, -0.271255, 2.914761, 1.593134];
        for space in [Space::Primal, Space::Dual] {
            let params = RidgeParams {
                alphas: AlphaGrid::absolute(&[2.0]),
                selection: Selection::LeaveOneOut,
                space,
                ..RidgeParams::default()
            };
            let plan = RidgePlan::new(x.as_ref(), x.as_ref(), &[], &params).unwrap();
            let found = plan.inner_predictions(y.as_ref(), &[2.0]).unwrap();
            (0..8).for_each(|i| assert!((found[(i, 0)] - expected[i]).abs() < 1e-6, "{}", found[(i, 0)]));
        }
    }

    #[test]
    fn leaving_one_out_equals_refits_without_each_row() {
        let n = 24;
        for p in [5, 40] {
            let (x, e) = (noise(n, p, 40), noise(n, 2, 41));
            let y = Mat::from_fn(n, 2, |i, j| 3.0 + x[(i, 1)] + x[(i, 2)] * j as f64 + e[(i, j)]);
            let folds: Vec<Fold> = (0..n)
                .map(|i| Fold {
                    name: i.to_string(),
                    train: (0..n).filter(|&k| k != i).collect(),
                    test: vec![i],
                })
                .collect();
            for (fitted, loss) in [
                (true, InnerLoss::SquaredError),
                (false, InnerLoss::SquaredError),
                (true, InnerLoss::Correlation),
            ] {
                let params = RidgeParams {
                    alphas: AlphaGrid::logarithmic(-2.0, 3.0, 11, AlphaScale::MeanSquare),
                    selection: Selection::LeaveOneOut,
                    intercept: if fitted { Intercept::Fitted } else { Intercept::None },
                    loss,
                    ..RidgeParams::default()
                };
                let plan = RidgePlan::new(x.as_ref(), x.as_ref(), &[], &params).unwrap();
                let fit = plan.fit(y.as_ref()).unwrap();
                let held_out = plan.inner_predictions(y.as_ref(), &fit.alphas).unwrap();
                for j in 0..2 {
                    let column = y.col_as_slice(j);
                    let score = |alpha: f64| -> (f64, Vec<f64>) {
                        let predicted: Vec<f64> = folds
                            .iter()
                            .map(|fold| {
                                let of: Vec<f64> = fold.train.iter().map(|&i| column[i]).collect();
                                let train = select_rows(x.as_ref(), &fold.train);
                                let test = select_rows(x.as_ref(), &fold.test);
                                by_definition(&train, &of, &test, alpha, fitted)[0]
                            })
                            .collect();
                        let score = if loss == InnerLoss::Correlation {
                            stereotax_base::stats::summary::pearson(column, &predicted)
                        } else {
                            scores_by_definition(&x, column, &folds, &[alpha], loss, fitted)[0]
                        };
                        (score, predicted)
                    };
                    let scores = plan.alphas().iter().map(|&alpha| score(alpha).0);
                    let at = best(scores).unwrap();
                    assert_eq!(fit.alphas[j], plan.alphas()[at], "{p} {fitted} {loss:?}");
                    let (expected, predicted) = score(fit.alphas[j]);
                    assert!((fit.inner_scores[j] - expected).abs() < 1e-9, "{p} {fitted} {loss:?}");
                    (0..n).for_each(|i| assert!((held_out[(i, j)] - predicted[i]).abs() < 1e-9));
                }
            }
        }
    }

    #[test]
    fn a_weak_penalty_that_reproduces_all_rows_keeps_the_digits_of_its_score() {
        // p > n and α/W → 0: with z_k = u_kᵀy/W_k, GCV → n Σ z_k²/(Σ 1/W_k)², whatever α. Errors are 10⁻¹⁶ of y,
        // which a difference of squares would not see.
        let (n, p) = (20, 200);
        let (x, y) = (noise(n, p, 40), noise(n, 3, 41));
        let single = |m: &Mat<f64>| Mat::from_fn(m.nrows(), m.ncols(), |i, j| m[(i, j)] as f32);
        let params = RidgeParams {
            alphas: AlphaGrid { values: vec![1e-8], scale: AlphaScale::MeanSquare },
            selection: Selection::Generalised,
            ..RidgeParams::default()
        };
        let none = Mat::zeros(0, p);
        let plan = RidgePlan::new(x.as_ref(), none.as_ref(), &[], &params).unwrap();
        let found = plan.fit(y.as_ref()).unwrap().inner_scores;
        let narrow = RidgePlan::new(single(&x).as_ref(), single(&none).as_ref(), &[], &params).unwrap();
        let narrow = narrow.fit(single(&y).as_ref()).unwrap().inner_scores;
        let xc = minus_means(x.as_ref(), &column_means(x.as_ref()));
        let yc = minus_means(y.as_ref(), &column_means(y.as_ref()));
        let whole = eigh(gram(xc.transpose()).as_ref()).unwrap();
        for j in 0..3 {
            let (mut error, mut rest, mut total) = (0.0, 0.0, 0.0);
            for k in 0..n - 1 {
                let along = dot(whole.vectors.col_as_slice(k), yc.col_as_slice(j));
                error += (along / whole.values[k]).powi(2);
                rest += 1.0 / whole.values[k];
                total += along * along;
            }
            let of_mean = total / ((n - 1) as f64).powi(2);
            let expected = 1.0 - error / (rest * rest) / of_mean;
            assert!((found[j] - expected).abs() < 1e-6, "{} {expected}", found[j]);
            assert!((narrow[j] - expected).abs() < 1e-3, "{} {expected}", narrow[j]);
        }
    }

    #[test]
    fn generalised_cross_validation_is_its_formula_in_both_spaces() {
        let n = 30;
        for (p, fitted) in [(6, true), (45, true), (6, false)] {
            let (x, y) = (noise(n, p, 42), noise(n, 1, 43));
            let y = Mat::from_fn(n, 1, |i, _| x[(i, 0)] + 0.5 * y[(i, 0)]);
            let params = RidgeParams {
                alphas: AlphaGrid::logarithmic(-2.0, 2.0, 9, AlphaScale::MeanSquare),
                selection: Selection::Generalised,
                intercept: if fitted { Intercept::Fitted } else { Intercept::None },
                ..RidgeParams::default()
            };
            let plan = RidgePlan::new(x.as_ref(), x.as_ref(), &[], &params).unwrap();
            let fit = plan.fit(y.as_ref()).unwrap();
            let gcv = |alpha: f64| -> f64 {
                // H column by column, by fitting unit vectors.
                let unit = |i: usize| -> Vec<f64> { (0..n).map(|k| f64::from(u8::from(k == i))).collect() };
                let trace: f64 = (0..n).map(|i| by_definition(&x, &unit(i), &x, alpha, fitted)[i]).sum();
                let p = by_definition(&x, y.col_as_slice(0), &x, alpha, fitted);
                let error: f64 = y.col_as_slice(0).iter().zip(&p).map(|(y, p)| (y - p).powi(2)).sum();
                n as f64 * error / (n as f64 - trace).powi(2)
            };
            let none = gcv(1e14);
            let scores: Vec<f64> = plan.alphas().iter().map(|&a| 1.0 - gcv(a) / none).collect();
            let at = best(scores.iter().copied()).unwrap();
            assert_eq!(fit.alphas[0], plan.alphas()[at]);
            assert!(
                (fit.inner_scores[0] - scores[at]).abs() < 1e-9,
                "{} {}",
                fit.inner_scores[0],
                scores[at]
            );
        }
    }

    #[test]
    fn a_row_that_decides_its_own_fit_has_no_prediction_from_the_others() {
        // p ≥ n at α = 0 reproduces every row: 0/0, not a perfect score.
        let (x, y) = (noise(12, 30, 44), noise(12, 1, 45));
        for selection in [Selection::LeaveOneOut, Selection::Generalised] {
            let alphas = AlphaGrid::absolute(&[0.0, 10.0]);
            let params = RidgeParams { alphas, selection, ..RidgeParams::default() };
            let plan = RidgePlan::new(x.as_ref(), x.as_ref(), &[], &params).unwrap();
            let fit = plan.fit(y.as_ref()).unwrap();
            assert_eq!(fit.alphas, [10.0]);
            assert!(plan.inner_predictions(y.as_ref(), &[0.0]).unwrap()[(3, 0)].is_nan());
            let refused = RidgePlan::new(x.as_ref(), x.as_ref(), &runs_of(&[6, 6]), &params).unwrap_err();
            assert!(refused.to_string().contains("none, since"), "{refused}");
        }
        let loss = InnerLoss::Correlation;
        let params = RidgeParams { selection: Selection::Generalised, loss, ..RidgeParams::default() };
        assert!(RidgePlan::new(x.as_ref(), x.as_ref(), &[], &params).is_err());
    }

    #[test]
    fn single_precision_is_double_precision_to_its_digits() {
        let inner = runs_of(&[25, 20, 30]);
        for (p, selection) in [
            (15, Selection::Folds),
            (60, Selection::Folds),
            (120, Selection::Folds),
            (15, Selection::LeaveOneOut),
            (120, Selection::LeaveOneOut),
            (60, Selection::Generalised),
        ] {
            let e = noise(75, 4, 51);
            let raw = noise(75, p, 50);
            let x = Mat::from_fn(75, p, |i, j| f64::from(raw[(i, j)] as f32 + 3.0));
            let y = Mat::from_fn(75, 4, |i, j| {
                f64::from((20.0 + x[(i, 0)] - 2.0 * x[(i, 1)] + (0.5 + j as f64) * e[(i, j)]) as f32)
            });
            let (x1, y1) = (<f32 as Real>::narrow(x.clone()), <f32 as Real>::narrow(y.clone()));
            let params = RidgeParams { selection, ..RidgeParams::default() };
            let inner = if selection == Selection::Folds { inner.as_slice() } else { &[] };
            let double = RidgePlan::new(x.as_ref(), x.as_ref(), inner, &params).unwrap();
            let single = RidgePlan::new(x1.as_ref(), x1.as_ref(), inner, &params).unwrap();
            // Both decompose in f64.
            assert_eq!(single.alphas(), double.alphas());
            let (fit, exact) = (single.fit(y1.as_ref()).unwrap(), double.fit(y.as_ref()).unwrap());
            assert_eq!(fit.alphas, exact.alphas, "{p} {selection:?}");
            let weights = single.weights(y1.as_ref(), &fit.alphas).unwrap();
            let exact_weights = double.weights(y.as_ref(), &fit.alphas).unwrap();
            let held_out = single.inner_predictions(y1.as_ref(), &fit.alphas).unwrap();
            let exact_held_out = double.inner_predictions(y.as_ref(), &fit.alphas).unwrap();
            for j in 0..4 {
                let off = fit.inner_scores[j] - exact.inner_scores[j];
                assert!(off.abs() < 1e-5, "{p} {selection:?} {off}");
                for i in 0..75 {
                    let off = f64::from(fit.predictions[(i, j)]) - exact.predictions[(i, j)];
                    assert!(off.abs() < 1e-4, "{p} {selection:?} {off}");
                    let off = f64::from(held_out[(i, j)]) - exact_held_out[(i, j)];
                    assert!(off.abs() < 1e-4, "{p} {selection:?} {off}");
                }
                for i in 0..p {
                    let off = f64::from(weights.weights[(i, j)]) - exact_weights.weights[(i, j)];
                    assert!(off.abs() < 1e-4, "{p} {selection:?} {off}");
                }
            }
        }
    }

    #[test]
    fn few_directions_hold_the_whole_grid_of_penalties() {
        // Columns over seven decades, so that at α → 0 held-out rows reach far out along small directions;
        // both spaces, errors from moments and from predictions.
        for (p, lengths) in [(25, vec![30; 4]), (25, vec![20; 6]), (150, vec![30; 4])] {
            let n: usize = lengths.iter().sum();
            let raw = noise(n, p, 30);
            let x = Mat::from_fn(n, p, |i, j| raw[(i, j)] * 10f64.powf(-7.0 * j as f64 / p as f64));
            let y = noise(n, TILE, 31);
            let params = RidgeParams {
                alphas: AlphaGrid::logarithmic(-9.0, 6.0, 31, AlphaScale::MeanSquare),
                ..RidgeParams::default()
            };
            let plan = RidgePlan::new(x.as_ref(), x.as_ref(), &runs_of(&lengths), &params).unwrap();
            let (left_out, moments) = plan.target_moments(&y);
            for (fold, left_out) in plan.folds.iter().zip(&left_out) {
                let (factor, path) = (&fold.factor, &fold.factor.path);
                let (c, _) = plan.rotated_targets(fold, &y, &moments, left_out.as_ref());
                let turned = path.turn(factor.rotated.as_ref(), &c);
                for (a, alpha) in plan.alphas().iter().enumerate() {
                    let direct = Mat::from_fn(c.nrows(), 1, |i, _| c[(i, 0)] / (factor.values[i] + alpha));
                    let along = Mat::from_fn(factor.rotated.nrows(), 1, |i, _| {
                        let terms =
                            (0..path.width()).map(|m| path.coefficients[(a, m)] * turned.column(0, m)[i]);
                        terms.sum::<f64>()
                    });
                    let direct = product(factor.rotated.as_ref(), direct.as_ref());
                    let size = direct.norm_l2().max(1e-6 * y.norm_l2() / alpha.max(1.0));
                    assert!(distance(&direct, &along) < 1e-8 * size, "{p} {alpha}");
                }
            }
        }
    }

    #[test]
    fn a_unit_that_varies_in_the_held_out_fold_alone_predicts_the_mean() {
        // One unit, on in the first run only: without it nothing is left to decompose.
        let x = Mat::from_fn(12, 1, |i, _| if i < 3 { 1.0 + i as f64 } else { 0.0 });
        let y = noise(12, 2, 77);
        let inner = runs_of(&[3, 3, 3, 3]);
        for (loss, space) in [
            (InnerLoss::SquaredError, Space::Primal),
            (InnerLoss::SquaredError, Space::Dual),
            (InnerLoss::Correlation, Space::Dual),
        ] {
            let alphas = AlphaGrid::absolute(&[0.1, 10.0]);
            let params = RidgeParams { alphas, loss, space, ..RidgeParams::default() };
            let plan = RidgePlan::new(x.as_ref(), x.as_ref(), &inner, &params).unwrap();
            let fit = plan.fit(y.as_ref()).unwrap();
            assert!(fit.predictions.col_iter().all(|c| c.iter().all(|v| v.is_finite())));
            if loss == InnerLoss::SquaredError {
                for j in 0..2 {
                    let scores =
                        scores_by_definition(&x, y.col_as_slice(j), &inner, &[0.1, 10.0], loss, true);
                    let best = scores[0].max(scores[1]);
                    assert!((fit.inner_scores[j] - best).abs() < 1e-12, "{} {best}", fit.inner_scores[j]);
                }
            }
        }
    }

    #[test]
    fn a_fit_says_what_judged_its_penalties() {
        let (narrow, wide) = (noise(40, 6, 78), noise(40, 60, 79));
        let y = noise(40, 2, 80);
        let four = runs_of(&[10; 4]);
        let two = runs_of(&[20; 2]);
        let grid = [0.1, 1.0, 10.0];
        let of = |x: &Mat<f64>, inner: &[Fold], alphas: &[f64], loss, selection| {
            let alphas = AlphaGrid { values: alphas.to_vec(), scale: AlphaScale::MeanSquare };
            let params = RidgeParams { alphas, loss, selection, ..RidgeParams::default() };
            let plan = RidgePlan::new(x.as_ref(), x.as_ref(), inner, &params).unwrap();
            let fit = plan.fit(y.as_ref()).unwrap();
            assert_eq!(fit.route, plan.cv_route());
            fit
        };
        let (squared, r) = (InnerLoss::SquaredError, InnerLoss::Correlation);
        let folds = Selection::Folds;
        assert_eq!(of(&wide, &four, &grid, squared, folds).route, CvRoute::Blocks);
        assert_eq!(of(&narrow, &four, &grid, squared, folds).route, CvRoute::Folds);
        assert_eq!(of(&wide, &four, &grid, r, folds).route, CvRoute::Folds);
        let many: Vec<f64> = (0..11).map(|a| 10f64.powi(a - 5)).collect();
        assert_eq!(of(&wide, &two, &many, squared, folds).route, CvRoute::Folds);
        assert_eq!(of(&wide, &[], &[1.0], squared, folds).route, CvRoute::None);
        assert_eq!(of(&wide, &[], &grid, squared, Selection::LeaveOneOut).route, CvRoute::LeaveOneOut);
        assert_eq!(of(&wide, &[], &grid, squared, Selection::Generalised).route, CvRoute::Generalised);
        // Left-out rows that decide their own fit, but for a penalty so weak that the identity would lose digits.
        let low = product(noise(40, 36, 81).as_ref(), noise(36, 60, 82).as_ref());
        assert_eq!(of(&low, &four, &[1.0], squared, folds).route, CvRoute::Blocks);
        assert_eq!(of(&low, &four, &[1e-14, 1.0], squared, folds).route, CvRoute::Folds);
    }

    #[test]
    fn down_dated_moments_equal_direct_ones() {
        // 5 folds leave out 1/5 each (down-dated); their mirror images leave out 4/5 (direct).
        let (x, y) = (noise(50, 6, 4), noise(50, 2, 5));
        let x_test = noise(3, 6, 6);
        let few = runs_of(&[10; 5]);
        let most: Vec<Fold> = few
            .iter()
            .map(|f| Fold { name: f.name.clone(), train: f.test.clone(), test: f.train.clone() })
            .collect();
        let params = RidgeParams::default();
        for (inner, down_dated) in [(&few, true), (&most, false)] {
            let plan = RidgePlan::new(x.as_ref(), x_test.as_ref(), inner, &params).unwrap();
            assert!(plan.folds.iter().all(|fold| fold.left_out.is_some() == down_dated));
            let fit = plan.fit(y.as_ref()).unwrap();
            for j in 0..2 {
                let expected = scores_by_definition(
                    &x,
                    y.col_as_slice(j),
                    inner,
                    plan.alphas(),
                    InnerLoss::SquaredError,
                    true,
                );
                let at = plan.alphas().iter().position(|&a| a == fit.alphas[j]).unwrap();
                assert!((fit.inner_scores[j] - expected[at]).abs() < 1e-11);
            }
        }
    }

    #[test]
    fn an_infinite_penalty_predicts_the_mean_and_none_is_least_squares() {
        let (x, x_test, y) = (noise(30, 4, 7), noise(5, 4, 8), noise(30, 1, 9));
        let predict = |alpha: f64, x: &Mat<f64>, x_test: &Mat<f64>| {
            let params = RidgeParams { alphas: AlphaGrid::absolute(&[alpha]), ..RidgeParams::default() };
            let plan = RidgePlan::new(x.as_ref(), x_test.as_ref(), &[], &params).unwrap();
            plan.fit(y.as_ref()).unwrap().predictions
        };
        let mean = column_means(y.as_ref())[0];
        let flat = predict(1e16, &x, &x_test);
        assert!((0..5).all(|t| (flat[(t, 0)] - mean).abs() < 1e-13));
        let ols = predict(0.0, &x, &x_test);
        let expected = by_definition(&x, y.col_as_slice(0), &x_test, 0.0, true);
        assert!((0..5).all(|t| (ols[(t, 0)] - expected[t]).abs() < 1e-11));
        // A column twice: the pseudo-inverse shares the weight, predictions stay.
        let double = |x: &Mat<f64>| Mat::from_fn(x.nrows(), 5, |i, j| x[(i, j % 4)]);
        let twice = predict(0.0, &double(&x), &double(&x_test));
        assert!(distance(&twice, &ols) < 1e-11);
    }

    #[test]
    fn planted_weights_come_back() {
        let (x, x_test) = (noise(400, 10, 10), noise(4, 10, 11));
        let planted = noise(10, 3, 12);
        let e = noise(400, 3, 13);
        let clean = product(x.as_ref(), planted.as_ref());
        let y = Mat::from_fn(400, 3, |i, j| 7.0 + clean[(i, j)] + 0.01 * e[(i, j)]);
        let plan = RidgePlan::new(x.as_ref(), x_test.as_ref(), &runs_of(&[100; 4]), &RidgeParams::default())
            .unwrap();
        let fit = plan.fit(y.as_ref()).unwrap();
        assert!(fit.inner_scores.iter().all(|s| *s > 0.999), "{:?}", fit.inner_scores);
        let found = plan.weights(y.as_ref(), &fit.alphas).unwrap();
        // Standard error 0.01/√400, plus shrinkage by at most 10⁻³.
        assert!(distance(&found.weights, &planted) < 0.01, "{}", distance(&found.weights, &planted));
        // The weights are those of the predictions.
        let again = product(x_test.as_ref(), found.weights.as_ref());
        for j in 0..3 {
            let off = again[(2, j)] + found.intercepts[j] - fit.predictions[(2, j)];
            assert!(off.abs() < 1e-10, "{off}");
        }
    }

    #[test]
    fn a_target_has_the_same_bits_in_any_company() {
        // Moments, predictions and the dual; alone, in the last tile, and elsewhere in another.
        for (p, loss) in
            [(7, InnerLoss::SquaredError), (50, InnerLoss::Correlation), (80, InnerLoss::SquaredError)]
        {
            let (x, x_test, y) = (noise(60, p, 14), noise(9, p, 15), noise(60, 2 * TILE + 7, 16));
            let params = RidgeParams { loss, ..RidgeParams::default() };
            let plan = RidgePlan::new(x.as_ref(), x_test.as_ref(), &runs_of(&[20; 3]), &params).unwrap();
            let whole = plan.fit(y.as_ref()).unwrap();
            let backwards: Vec<usize> = (0..y.ncols()).rev().collect();
            for picked in [vec![0], vec![TILE + 3], vec![5, 2 * TILE + 6, TILE - 1], backwards] {
                let part = Mat::from_fn(60, picked.len(), |i, k| y[(i, picked[k])]);
                let fit = plan.fit(part.as_ref()).unwrap();
                for (k, &j) in picked.iter().enumerate() {
                    assert_eq!(fit.alphas[k], whole.alphas[j], "{p} {j}");
                    assert_eq!(fit.inner_scores[k], whole.inner_scores[j], "{p} {j}");
                    assert_eq!(fit.predictions.col_as_slice(k), whole.predictions.col_as_slice(j), "{p} {j}");
                }
            }
        }
    }

    #[test]
    fn a_shared_penalty_is_the_best_on_average_and_constants_do_not_vote() {
        let (x, x_test, e) = (noise(60, 5, 17), noise(9, 5, 18), noise(60, 3, 19));
        let y = Mat::from_fn(60, 4, |i, j| if j == 3 { 2.5 } else { x[(i, j)] * j as f64 + e[(i, j)] });
        let inner = runs_of(&[20; 3]);
        let params = RidgeParams { alpha_choice: AlphaChoice::Shared, ..RidgeParams::default() };
        let plan = RidgePlan::new(x.as_ref(), x_test.as_ref(), &inner, &params).unwrap();
        let fit = plan.fit(y.as_ref()).unwrap();
        let scores: Vec<Vec<f64>> = (0..3)
            .map(|j| {
                let loss = InnerLoss::SquaredError;
                scores_by_definition(&x, y.col_as_slice(j), &inner, plan.alphas(), loss, true)
            })
            .collect();
        let at = best((0..19).map(|a| (0..3).map(|j| scores[j][a]).sum::<f64>() / 3.0)).unwrap();
        assert_eq!(fit.alphas[..3], [plan.alphas()[at]; 3]);
        assert!(fit.alphas[3].is_nan() && fit.inner_scores[3].is_nan() && fit.predictions[(0, 3)].is_nan());
        assert_eq!(fit.n_undefined, 1);
    }

    #[test]
    fn targets_that_cannot_be_predicted_sit_on_the_upper_edge() {
        let (x, x_test, y) = (noise(80, 20, 20), noise(9, 20, 21), noise(80, 40, 22));
        let plan =
            RidgePlan::new(x.as_ref(), x_test.as_ref(), &runs_of(&[20; 4]), &RidgeParams::default()).unwrap();
        let fit = plan.fit(y.as_ref()).unwrap();
        assert!(fit.n_at_upper_edge > 10 && fit.n_at_lower_edge == 0, "{}", fit.n_at_upper_edge);
        assert!(fit.grid_too_narrow());
    }

    #[test]
    fn bad_input_is_refused_with_its_place() {
        let (x, mut y) = (noise(20, 3, 23), noise(20, 2, 24));
        let params = RidgeParams::default();
        let plan = |x: &Mat<f64>, inner: &[Fold]| RidgePlan::new(x.as_ref(), x.as_ref(), inner, &params);
        let inner = runs_of(&[10, 10]);
        assert!(plan(&x, &[]).unwrap_err().to_string().contains("inner folds"));
        assert!(plan(&x, &runs_of(&[10, 11])).unwrap_err().to_string().contains("inner fold"));
        let flat = Mat::from_fn(20, 3, |_, j| j as f64);
        assert!(matches!(plan(&flat, &inner), Err(Error::ZeroVariance { .. })));
        y[(3, 1)] = f64::INFINITY;
        let error = plan(&x, &inner).unwrap().fit(y.as_ref()).unwrap_err().to_string();
        assert!(error.contains("row 3, column 1"), "{error}");
        assert!(plan(&x, &inner).unwrap().fit(noise(19, 1, 0).as_ref()).is_err());
    }
}
