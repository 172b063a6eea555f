//! Fit the depth dynamics of one model, fold by fold, with everything that questions them.
//!
//! Layers of equal width share their state as they are: one pass of moments serves every fold, shuffle,
//! bootstrap and alternative, without another look at the data. Layers of unequal width are first brought
//! into one state (`LayerMap`), fitted on training rows only; a shuffled order is then aligned anew, in
//! its own order, because alignment itself pulls neighbours together.
//! Sources: specs nfas-dmd 3 to 7, 13, appendix A.

use faer::{Mat, MatRef, c64};
use rayon::prelude::*;

use super::design::{Pieces, SampleDesign};
use super::represent::Features;
use super::trajectories::depth_of_trajectories;
use crate::data::{Monitor, Result, TileSource};
use crate::dynamics::layer_map::{KernelLayers, LayerMap, LayerMapParams, ReducedLayers};
use crate::dynamics::layer_map::{kernel_layers, reduce_layers};
use crate::dynamics::stability::{
    StableGates, bootstrap, least_weight_correlation, leave_one_layer_out, shuffled, verdict,
};
use crate::dynamics::{
    Amplitude, Centring, DepthDmdParams, DepthGram, DepthMoments, DepthSpectrum, Estimator, MomentsOptions,
    RankRule, Reduction, ScaledGram, Scaling, Selection, StableVerdict, depth_dmd_scaled, is_blurred,
};
use crate::linalg::eigh;
use crate::stats::resampling::ResamplingPlan;
use crate::stats::rng::Stream;

/// What runs through depth (specs: nfas-dmd 5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trajectory {
    /// All samples as one state: one operator and one spectrum, from the moments alone.
    #[default]
    Stacked,
    /// Every sample by itself: as many spectra as samples.
    Sample,
    /// Every sample by itself under one operator for all.
    Pooled,
}

/// Every choice of the depth fit. `default()` is the register of specs nfas-dmd section 20, with the
/// controls of section 13.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct DepthParams {
    /// What runs through depth.
    pub trajectory: Trajectory,
    /// Estimator, rank, selection, amplitudes.
    pub dmd: DepthDmdParams,
    /// How layers of unequal width (with `align_all`: all) come to share one state.
    pub layer_map: LayerMapParams,
    /// Map layers of equal width too.
    pub align_all: bool,
    /// Scaling of layers of a shared state.
    pub scaling: Scaling,
    /// How a stacked trajectory of layers that share their state is reduced.
    pub reduction: Reduction,
    /// Centring over stimuli, or none.
    pub centring: Centring,
    /// Fit layer weights on all rows once, instead of on each fold's training rows.
    pub fit_on_all: bool,
    /// What a stable mode must satisfy.
    pub gates: StableGates,
    /// Shuffled layer orders.
    pub n_shuffles: usize,
    /// Bootstrap draws of pieces of the samples, for the spread of the eigenvalue.
    pub n_bootstraps: usize,
    /// Whether the same analysis is done under the other credible choices.
    pub multiverse: bool,
    /// Seed of shuffles and draws.
    pub seed: u64,
}

impl Default for DepthParams {
    fn default() -> Self {
        DepthParams {
            trajectory: Trajectory::Stacked,
            dmd: DepthDmdParams::default(),
            layer_map: LayerMapParams::default(),
            align_all: false,
            scaling: Scaling::Frobenius,
            reduction: Reduction::Auto,
            centring: Centring::Stimuli,
            fit_on_all: false,
            gates: StableGates::default(),
            n_shuffles: 20,
            n_bootstraps: 100,
            multiverse: true,
            seed: 0,
        }
    }
}

/// How the layers of a model come to share one state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StateKind {
    /// The layers as they are.
    Shared,
    /// Mapped layer by layer.
    Mapped,
    /// Kernels over samples.
    Kernel,
}

/// One mode of a spectrum, for the record.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Mode {
    /// Re λ.
    pub re: f64,
    /// Im λ.
    pub im: f64,
    /// Energy share.
    pub energy: f64,
    /// ‖Aφ − λφ‖ / ‖φ‖; `None` where the estimator has no operator.
    pub residual: Option<f64>,
    /// The residual over that of λ = 1: below 1 the law predicts better than persistence. Pooled only.
    pub versus_persistence: Option<f64>,
    /// Window of depth it belongs to, from 0; `None` where one operator holds throughout.
    pub window: Option<usize>,
    /// Whether it belongs to the stable mode.
    pub selected: bool,
}

/// How the spectra of single samples are distributed over the training samples.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct SampleSpread {
    /// Quartiles of |λ| of the selected mode.
    pub modulus: [f64; 3],
    /// Share of samples whose own selected mode passes the gates.
    pub share_qualifying: f64,
    /// Share of samples whose selected mode is a conjugate pair.
    pub pair_share: f64,
    /// Samples without a trajectory.
    pub n_undefined: usize,
}

/// The fit of one fold.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct FoldDepth {
    /// The fold's name; "all" for the fit on all rows.
    pub name: String,
    /// All modes, by descending |λ| (within each window of depth). Of trajectories of single samples:
    /// one, the medians over samples.
    pub modes: Vec<Mode>,
    /// Weight of each (centred, scaled) layer in the stable representation; the mean over samples of a
    /// per-sample trajectory; empty where the representation is no weighting of layers.
    pub weights: Vec<f64>,
    /// The same for the layers as the state holds them: S = Σ coefficients[l] · H_l. Empty for other
    /// trajectories than the stacked one.
    pub coefficients: Vec<f64>,
    /// The uniform mean of the scaled layers, as such coefficients.
    pub mean_coefficients: Vec<f64>,
    /// The first proper orthogonal mode over depth, as such coefficients.
    pub pod_coefficients: Vec<f64>,
    /// Rank used.
    pub rank: usize,
    /// Numerical rank of the trajectory.
    pub numerical_rank: usize,
    /// First layer and end of each window of depth; empty where one operator holds throughout.
    pub windows: Vec<(usize, usize)>,
    /// The distribution over samples of a per-sample trajectory.
    pub spread: Option<SampleSpread>,
    /// How much worse the runner-up is under the selection rule; `None` without one.
    pub margin: Option<f64>,
    /// ‖H − Σ b λˡ φ‖ / ‖H‖.
    pub reconstruction_error: Option<f64>,
    /// What a reader must know.
    pub warnings: Vec<String>,
}

impl FoldDepth {
    /// (Re λ, Im λ) of the selected mode; of a pair, the member with Im > 0. With windows of depth, the
    /// rate per step over all of them ([`DepthSpectrum::selected_eigenvalue`]).
    pub fn selected(&self) -> (f64, f64) {
        let of = |window: Option<usize>| self.modes.iter().find(|m| m.selected && m.window == window);
        if self.windows.is_empty() {
            return of(None).map_or((f64::NAN, f64::NAN), |m| (m.re, m.im));
        }
        let (mut log, mut steps) = (c64::new(0.0, 0.0), 0.0);
        for (window, (start, end)) in self.windows.iter().enumerate() {
            if let Some(mode) = of(Some(window)) {
                let here = (end - start) as f64 - 1.0;
                log += c64::new(mode.re, mode.im).ln() * here;
                steps += here;
            }
        }
        let rate = (log / steps).exp();
        (rate.re, rate.im)
    }

    /// Over how many steps of depth a mode acts.
    pub fn steps(&self, mode: &Mode, n_layers: usize) -> f64 {
        let (start, end) = mode.window.and_then(|w| self.windows.get(w).copied()).unwrap_or((0, n_layers));
        (end - start) as f64 - 1.0
    }
}

/// The stable modes of one shuffled order.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct ShuffledDepth {
    /// Which layer stands at each place.
    pub order: Vec<usize>,
    /// Selected eigenvalue on all rows.
    pub re: f64,
    /// Its imaginary part.
    pub im: f64,
    /// Coefficients per fold: of layer l in a shared state, of place i along `order` in a mapped one.
    /// Empty for other trajectories than the stacked one.
    pub coefficients: Vec<Vec<f64>>,
}

/// The same analysis under another credible combination of choices.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Alternative {
    /// The scaling.
    pub scaling: Scaling,
    /// Estimator, rank and selection.
    pub dmd: DepthDmdParams,
    /// Selected eigenvalue on all rows.
    pub re: Option<f64>,
    /// Its imaginary part.
    pub im: Option<f64>,
    /// Coefficients per fold; `None` where the fit fails, with the reason in `status`.
    pub coefficients: Option<Vec<Vec<f64>>>,
    /// "ok", or why there are no coefficients.
    pub status: String,
}

/// How the stable mode holds up.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Stability {
    /// Standard deviation of the selected eigenvalue over bootstrap draws; `None` where not computed.
    pub lambda_sd: Option<f64>,
    /// Least correlation of a draw's representation with that of all rows.
    pub min_correlation: Option<f64>,
    /// Median of those correlations.
    pub median_correlation: Option<f64>,
    /// Least correlation of the representations of two folds.
    pub fold_correlation: Option<f64>,
    /// Largest move of the eigenvalue when one layer is left out.
    pub leave_one_layer_out: Option<f64>,
}

/// The depth fit of one model on one benchmark.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct DepthResult {
    /// How the layers share a state.
    pub state: StateKind,
    /// One fit per outer fold.
    pub folds: Vec<FoldDepth>,
    /// The fit on all rows, for description.
    pub whole: FoldDepth,
    /// Shuffled orders.
    pub shuffles: Vec<ShuffledDepth>,
    /// The multiverse; empty unless asked for and the state is shared.
    pub alternatives: Vec<Alternative>,
    /// Whether the mode passes the gates.
    pub verdict: StableVerdict,
    /// How it holds up.
    pub stability: Stability,
}

/// Whether the layers can be taken as they are, or which other state they need.
pub fn state_kind(source: &dyn TileSource, params: &DepthParams) -> StateKind {
    let width = source.layers().first().map_or(0, |l| l.width);
    let equal = source.layers().iter().all(|l| l.width == width);
    match params.layer_map.map {
        LayerMap::Identity => StateKind::Shared,
        _ if equal && !params.align_all => StateKind::Shared,
        LayerMap::Kernel => StateKind::Kernel,
        _ => StateKind::Mapped,
    }
}

/// The one pass over the data that a shared state needs.
pub fn depth_moments(
    source: &dyn TileSource,
    pieces: &Pieces,
    params: &DepthParams,
    monitor: &Monitor,
) -> Result<DepthMoments> {
    accumulate(source, pieces, params, false, monitor)
}

fn accumulate(
    source: &dyn TileSource,
    pieces: &Pieces,
    params: &DepthParams,
    triangles: bool,
    monitor: &Monitor,
) -> Result<DepthMoments> {
    let options = MomentsOptions { unit_sample: params.scaling == Scaling::UnitSample, triangles };
    DepthMoments::accumulate(source, &pieces.of_sample, &pieces.names, options, monitor)
}

/// Whether the Gram matrix of all rows or of one fold is too blurred for its fit.
fn needs_triangles(moments: &DepthMoments, pieces: &Pieces, params: &DepthParams) -> Result<bool> {
    match params.reduction {
        Reduction::Gram => return Ok(false),
        Reduction::Tsqr => return Ok(true),
        Reduction::Auto => {}
    }
    let whole = moments.gram(None, params.centring)?;
    for gram in std::iter::once(whole).chain(fold_grams(moments, pieces, params)?) {
        let scaled = gram.scaled(params.scaling)?;
        if is_blurred(&scaled, &depth_dmd_scaled(&scaled, &params.dmd)?, &params.dmd)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Fit a model by the trajectory that the parameters name.
///
/// `moments` are those of [`depth_moments`] where the layers share their state, else `None`. Where the
/// Gram matrix is too blurred for the stacked fit, the source is read once more ([`Reduction`]).
pub fn fit_depth(
    source: &dyn TileSource,
    moments: Option<(&DepthMoments, &Pieces)>,
    design: &SampleDesign,
    params: &DepthParams,
    monitor: &Monitor,
) -> Result<DepthResult> {
    match (params.trajectory, moments) {
        (Trajectory::Stacked, Some((moments, pieces))) => {
            if !needs_triangles(moments, pieces, params)? {
                return depth_of_moments(moments, pieces, design, params, monitor);
            }
            let sharp = accumulate(source, pieces, params, true, monitor)?;
            let mut result = depth_of_moments(&sharp, pieces, design, params, monitor)?;
            if params.reduction == Reduction::Auto {
                result.whole.warnings.push(
                    "the fit uses directions that the Gram matrix blurs, so the layers were reduced by QR"
                        .to_owned(),
                );
            }
            Ok(result)
        }
        (Trajectory::Stacked, None) => depth_of_mapped(source, design, params, monitor),
        _ => depth_of_trajectories(source, moments, design, params, monitor),
    }
}

/// The Gram matrix of every fold's training rows, not yet scaled; of all rows where weights are fitted on
/// all.
pub(super) fn fold_grams(
    moments: &DepthMoments,
    pieces: &Pieces,
    params: &DepthParams,
) -> Result<Vec<DepthGram>> {
    let of = |inside: &Vec<bool>| {
        let weights: Option<Vec<f64>> =
            (!params.fit_on_all).then(|| inside.iter().map(|&i| if i { 1.0 } else { 0.0 }).collect());
        moments.gram(weights.as_deref(), params.centring)
    };
    pieces.in_training.iter().map(of).collect()
}

/// Fit a model whose layers share their state, from its moments alone.
pub fn depth_of_moments(
    moments: &DepthMoments,
    pieces: &Pieces,
    design: &SampleDesign,
    params: &DepthParams,
    monitor: &Monitor,
) -> Result<DepthResult> {
    let whole_gram = moments.gram(None, params.centring)?;
    let fold_grams = fold_grams(moments, pieces, params)?;
    let whole = whole_gram.scaled(params.scaling)?;
    let scaled = fold_grams.iter().map(|g| g.scaled(params.scaling)).collect::<Result<Vec<_>>>()?;

    let spectrum = depth_dmd_scaled(&whole, &params.dmd)?;
    let spectra = scaled.iter().map(|g| depth_dmd_scaled(g, &params.dmd)).collect::<Result<Vec<_>>>()?;
    let shuffles = (0..params.n_shuffles)
        .into_par_iter()
        .map(|index| {
            monitor.check()?;
            let order = shuffled_order(moments.n_layers(), params.seed, index);
            let fitted = shuffled(&whole, &order, &params.dmd)?;
            let coefficients = scaled
                .iter()
                .map(|gram| Ok(raw(&shuffled(gram, &order, &params.dmd)?.weights, gram)))
                .collect::<Result<_>>()?;
            let lambda = fitted.selected_eigenvalue();
            Ok(ShuffledDepth { order, re: lambda.re, im: lambda.im, coefficients })
        })
        .collect::<Result<Vec<_>>>()?;
    let alternatives = alternatives(moments, pieces, params, monitor)?;

    let plan = ResamplingPlan::new(params.seed, &pieces.names, params.n_bootstraps, 0)?;
    let draws: Vec<Vec<f64>> = (0..params.n_bootstraps)
        .map(|b| plan.bootstrap(b).blocks.iter().map(|&k| f64::from(k)).collect())
        .collect();
    let spread = bootstrap(moments, params.scaling, params.centring, &params.dmd, &draws, monitor)?;
    let jackknife = leave_one_layer_out(&whole, &params.dmd).ok().map(|j| j.range);
    let stability = Stability {
        lambda_sd: defined(spread.lambda_sd),
        min_correlation: defined(spread.min_correlation),
        median_correlation: defined(spread.median_correlation),
        fold_correlation: defined(least_weight_correlation(&spectra, whole.gram.as_ref())),
        leave_one_layer_out: jackknife.and_then(defined),
    };
    let record = |name: &str, spectrum: &DepthSpectrum, gram: &ScaledGram| {
        fold_record(name, spectrum, gram.gram.as_ref(), &gram.divisors)
    };
    Ok(DepthResult {
        state: StateKind::Shared,
        folds: design
            .folds
            .iter()
            .zip(spectra.iter().zip(&scaled))
            .map(|(fold, (spectrum, gram))| record(&fold.name, spectrum, gram))
            .collect::<Result<_>>()?,
        whole: record("all", &spectrum, &whole)?,
        shuffles,
        alternatives,
        verdict: verdict(&spectra, whole.gram.as_ref(), &params.gates)?,
        stability,
    })
}

/// Weights of scaled layers as coefficients of the layers themselves.
fn raw(weights: &[f64], gram: &ScaledGram) -> Vec<f64> {
    weights.iter().zip(&gram.divisors).map(|(w, d)| w / d).collect()
}

/// The multiverse of a model whose layers share their state; empty unless asked for.
///
/// It is that of the stacked trajectory, whatever the trajectory of the claim: it costs no look at the
/// data.
pub(super) fn alternatives(
    moments: &DepthMoments,
    pieces: &Pieces,
    params: &DepthParams,
    monitor: &Monitor,
) -> Result<Vec<Alternative>> {
    let cells = if params.multiverse { multiverse(params) } else { return Ok(Vec::new()) };
    let whole_gram = moments.gram(None, params.centring)?;
    let fold_grams = fold_grams(moments, pieces, params)?;
    cells
        .into_par_iter()
        .map(|(scaling, dmd)| {
            monitor.check()?;
            let attempt = || -> Result<(DepthSpectrum, Vec<Vec<f64>>)> {
                let fitted = depth_dmd_scaled(&whole_gram.scaled(scaling)?, &dmd)?;
                let coefficients = fold_grams
                    .iter()
                    .map(|gram| {
                        let gram = gram.scaled(scaling)?;
                        Ok(raw(&depth_dmd_scaled(&gram, &dmd)?.weights, &gram))
                    })
                    .collect::<Result<_>>()?;
                Ok((fitted, coefficients))
            };
            Ok(match attempt() {
                Ok((fitted, coefficients)) => {
                    let lambda = fitted.selected_eigenvalue();
                    let (re, im) = (Some(lambda.re), Some(lambda.im));
                    Alternative {
                        scaling,
                        dmd,
                        re,
                        im,
                        coefficients: Some(coefficients),
                        status: "ok".into(),
                    }
                }
                Err(reason) => Alternative {
                    scaling,
                    dmd,
                    re: None,
                    im: None,
                    coefficients: None,
                    status: reason.to_string(),
                },
            })
        })
        .collect()
}

/// The selected eigenvalue and the layer weights under one order of the layers.
struct StableInOrder {
    re: f64,
    im: f64,
    weights: Vec<f64>,
}

/// Fit a model whose layers must first be brought into one state.
pub fn depth_of_mapped(
    source: &dyn TileSource,
    design: &SampleDesign,
    params: &DepthParams,
    monitor: &Monitor,
) -> Result<DepthResult> {
    let natural: Vec<usize> = (0..source.layers().len()).collect();
    let orders: Vec<Vec<usize>> =
        (0..params.n_shuffles).map(|i| shuffled_order(natural.len(), params.seed, i)).collect();
    let all = design.whole();
    let mut fits: Vec<(FoldDepth, DepthSpectrum, Vec<StableInOrder>)> = Vec::new();
    let mut whole_gram = Mat::new();
    for fold in std::iter::once(&all).chain(design.folds.iter()) {
        let train = if params.fit_on_all { &all.train } else { &fold.train };
        let state = MappedState::fit(source, train, params, monitor)?;
        let (spectrum, gram) = state.fit_order(&natural, train, params)?;
        let shuffles = orders
            .par_iter()
            .map(|order| {
                monitor.check()?;
                let (spectrum, _) = state.fit_order(order, train, params)?;
                let lambda = spectrum.selected_eigenvalue();
                Ok(StableInOrder { re: lambda.re, im: lambda.im, weights: spectrum.weights })
            })
            .collect::<Result<_>>()?;
        let divisors = vec![1.0; natural.len()];
        let record = fold_record(&fold.name, &spectrum, gram.gram.as_ref(), &divisors)?;
        if fits.is_empty() {
            whole_gram = gram.gram;
        }
        fits.push((record, spectrum, shuffles));
    }
    let (whole, _, whole_shuffles) = fits.remove(0);
    let spectra: Vec<DepthSpectrum> = fits.iter().map(|(_, spectrum, _)| spectrum.clone()).collect();
    let shuffles = orders
        .into_iter()
        .enumerate()
        .map(|(index, order)| ShuffledDepth {
            order,
            re: whole_shuffles[index].re,
            im: whole_shuffles[index].im,
            coefficients: fits.iter().map(|(_, _, shuffles)| shuffles[index].weights.clone()).collect(),
        })
        .collect();
    let stability = Stability {
        lambda_sd: None,
        min_correlation: None,
        median_correlation: None,
        fold_correlation: defined(least_weight_correlation(&spectra, whole_gram.as_ref())),
        leave_one_layer_out: None,
    };
    Ok(DepthResult {
        state: state_kind(source, params),
        verdict: verdict(&spectra, whole_gram.as_ref(), &params.gates)?,
        folds: fits.into_iter().map(|(record, _, _)| record).collect(),
        whole,
        shuffles,
        alternatives: Vec::new(),
        stability,
    })
}

/// Layers in a state of their own, fitted on some rows.
#[derive(Debug)]
pub enum MappedState {
    /// Components per layer, to be aligned along an order.
    Layers(ReducedLayers),
    /// Kernels over the samples.
    Kernels(KernelLayers),
}

impl MappedState {
    /// Fit the map on the rows `train`.
    pub fn fit(
        source: &dyn TileSource,
        train: &[usize],
        params: &DepthParams,
        monitor: &Monitor,
    ) -> Result<Self> {
        Ok(match params.layer_map.map {
            LayerMap::Kernel => MappedState::Kernels(kernel_layers(source, train, monitor)?),
            _ => MappedState::Layers(reduce_layers(source, train, &params.layer_map, monitor)?),
        })
    }

    /// The Gram matrix of the layers along `order`, over the rows `train` on which the map was fitted.
    pub fn gram(&self, order: &[usize], train: &[usize], params: &DepthParams) -> Result<ScaledGram> {
        let (gram, state_size) = match self {
            MappedState::Layers(layers) => {
                (layers.align(order)?.gram(train), Some(train.len() * layers.width))
            }
            MappedState::Kernels(kernels) => {
                let g = &kernels.gram;
                (Mat::from_fn(order.len(), order.len(), |i, j| g[(order[i], order[j])]), None)
            }
        };
        Ok(ScaledGram {
            triangle: None,
            divisors: vec![1.0; order.len()],
            pair: params.scaling == Scaling::Pair,
            epsilon: f64::EPSILON,
            state_size,
            gram,
        })
    }

    /// The weighted sum of the mapped layers, for all samples of `source`; `weights` belong to the places
    /// along `order`.
    pub fn features(
        &self,
        source: &dyn TileSource,
        order: &[usize],
        weights: &[f64],
        params: &DepthParams,
        monitor: &Monitor,
    ) -> Result<Features> {
        match self {
            MappedState::Layers(layers) => {
                Ok(Features::from_matrix(layers.align(order)?.combine(weights)?.as_ref()))
            }
            MappedState::Kernels(kernels) => {
                // The kernels are stored by layer.
                let mut by_layer = vec![0.0; weights.len()];
                order.iter().zip(weights).for_each(|(&layer, &weight)| by_layer[layer] = weight);
                let n_features = kernels.train.len().div_ceil(4).min(params.layer_map.max_width);
                let made = kernels.features(source, &by_layer, n_features, monitor)?;
                Ok(Features::from_matrix(made.features.as_ref()))
            }
        }
    }

    fn fit_order(
        &self,
        order: &[usize],
        train: &[usize],
        params: &DepthParams,
    ) -> Result<(DepthSpectrum, ScaledGram)> {
        let scaled = self.gram(order, train, params)?;
        Ok((depth_dmd_scaled(&scaled, &params.dmd)?, scaled))
    }
}

/// The order of layers in shuffle `index`, never the natural one where another exists.
pub fn shuffled_order(n_layers: usize, seed: u64, index: usize) -> Vec<usize> {
    let mut stream = Stream::new(seed, "layer order", index as u64);
    loop {
        let order = stream.permutation(n_layers);
        if n_layers < 2 || !order.iter().copied().eq(0..n_layers) {
            return order;
        }
    }
}

/// Cells of the multiverse.
pub const N_ALTERNATIVES: usize = 24;

/// The credible combinations: two scalings × three selections × two ranks × two estimators.
fn multiverse(params: &DepthParams) -> Vec<(Scaling, DepthDmdParams)> {
    let mut cells = Vec::with_capacity(N_ALTERNATIVES);
    for scaling in [Scaling::Frobenius, Scaling::None] {
        for select in
            [Selection::ClosestToOne, Selection::MaxEnergyInBand { gain: 2.0 }, Selection::MinResidual]
        {
            for rank in [RankRule::Energy(0.99), RankRule::Energy(0.9)] {
                for estimator in [Estimator::Standard, Estimator::ForwardBackward] {
                    // The modulus of a mode is no weighting of layers.
                    let amplitude = match params.dmd.amplitude {
                        Amplitude::Modulus => Amplitude::Optimal,
                        linear => linear,
                    };
                    let dmd = DepthDmdParams { select, rank, estimator, amplitude, ..params.dmd };
                    cells.push((scaling, dmd));
                }
            }
        }
    }
    cells
}

/// Coefficients of combinations that need no dynamics.
pub(super) struct PlainCombinations {
    /// The uniform mean of the scaled layers.
    pub(super) mean: Vec<f64>,
    /// The first proper orthogonal mode over depth.
    pub(super) pod: Vec<f64>,
}

/// The uniform mean and the top eigenvector of a scaled Gram matrix, for the layers as they are.
pub(super) fn plain_combinations(gram: MatRef<f64>, divisors: &[f64]) -> Result<PlainCombinations> {
    let n_layers = divisors.len() as f64;
    let pod = eigh(gram)?.vectors;
    Ok(PlainCombinations {
        mean: divisors.iter().map(|d| 1.0 / (n_layers * d)).collect(),
        pod: divisors.iter().enumerate().map(|(l, d)| pod[(l, 0)] / d).collect(),
    })
}

fn fold_record(
    name: &str,
    spectrum: &DepthSpectrum,
    gram: MatRef<f64>,
    divisors: &[f64],
) -> Result<FoldDepth> {
    let plain = plain_combinations(gram, divisors)?;
    Ok(FoldDepth {
        name: name.into(),
        modes: (0..spectrum.eigenvalues.len())
            .map(|k| Mode {
                re: spectrum.eigenvalues[k].re,
                im: spectrum.eigenvalues[k].im,
                energy: spectrum.energies[k],
                residual: defined(spectrum.residuals[k]),
                versus_persistence: None,
                window: spectrum.window_of.get(k).copied(),
                selected: spectrum.selected.contains(&k),
            })
            .collect(),
        weights: spectrum.weights.clone(),
        coefficients: spectrum.weights.iter().zip(divisors).map(|(w, d)| w / d).collect(),
        mean_coefficients: plain.mean,
        pod_coefficients: plain.pod,
        rank: spectrum.rank,
        numerical_rank: spectrum.numerical_rank,
        windows: spectrum.windows.iter().map(|w| (w.start, w.end)).collect(),
        spread: None,
        margin: spectrum.runner_up.map(|(_, margin)| margin).and_then(defined),
        reconstruction_error: defined(spectrum.reconstruction_error),
        warnings: spectrum.warnings.clone(),
    })
}

pub(super) fn defined(x: f64) -> Option<f64> {
    x.is_finite().then_some(x)
}
