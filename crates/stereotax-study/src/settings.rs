//! Turn the words of a study file into the parameters of the core.

use stereotax::Error;
use stereotax::data::{Folds, Runs};
use stereotax::dynamics::layer_map::{LayerMap, LayerMapParams};
use stereotax::dynamics::stability::StableGates;
use stereotax::dynamics::{Centring, DepthDmdParams, Scaling};
use stereotax::encoding::{
    AlphaChoice, AlphaGrid, AlphaScale, EncodingParams, InnerLoss, Kernel, ReduceParams, Selection, Solver,
};
use stereotax::pipelines::encoding::Combine;
use stereotax::pipelines::group::{Consistency, CoordinateKind, GroupParams, Multiplicity, Restriction};
use stereotax::pipelines::{
    Clock, DepthParams, EvaluateParams, InnerRule, NullModel, SampleDesign, Trajectory,
};
use stereotax::signal::{self, Drift, Hrf, HrfShape};
use stereotax::stats::convergence::ConvergenceScale;
use stereotax::stats::distance::DistanceKind;
use stereotax::stats::permdisp::{BiasFactor, Centre, NegativeAxes};
use stereotax::stats::score::ScoreKind;
use stereotax::stats::snci::{Interval, SignPolicy, SnciKind};
use stereotax_io::Pooling;

use crate::config::{self, EncodingSettings, NfasSettings};

/// Bootstrap draws for the spread of an eigenvalue.
const LAMBDA_BOOTSTRAPS: usize = 100;
/// Least circular shift of a null draw, in seconds.
const MIN_SHIFT_S: f64 = 20.0;

/// The depth fit.
pub fn depth(s: &NfasSettings, seed: u64) -> DepthParams {
    let map = match s.layer_map {
        config::LayerMap::Identity => LayerMap::Identity,
        config::LayerMap::Procrustes => LayerMap::Procrustes,
        config::LayerMap::Pca => LayerMap::Pca,
        config::LayerMap::Kernel => LayerMap::Kernel,
        config::LayerMap::RandomProjection => LayerMap::RandomProjection { width: s.max_width, seed },
    };
    let scaling = match s.scale {
        config::Scale::Frobenius => Scaling::Frobenius,
        config::Scale::None => Scaling::None,
        config::Scale::Pair => Scaling::Pair,
        config::Scale::UnitSample => Scaling::UnitSample,
    };
    let gates = StableGates {
        max_depth_change: s.gates.max_depth_gain.ln(),
        max_rotation: s.gates.max_depth_rotation_deg.to_radians(),
        max_residual: s.gates.max_residual,
        min_energy: s.gates.min_energy,
        min_weight_correlation: s.gates.min_fold_correlation,
    };
    let trajectory = match s.trajectory {
        config::Trajectory::Stacked => Trajectory::Stacked,
        config::Trajectory::Sample => Trajectory::Sample,
        config::Trajectory::Pooled => Trajectory::Pooled,
    };
    DepthParams {
        trajectory,
        dmd: DepthDmdParams {
            estimator: s.estimator,
            rank: s.rank,
            modes: s.modes,
            amplitude: s.amplitude,
            select: s.select,
            tikhonov: s.tikhonov,
            min_energy: s.eligible_energy,
            max_gain: s.max_gain,
            seed,
        },
        layer_map: LayerMapParams {
            map,
            unit_rms: s.scale == config::Scale::Frobenius,
            max_width: s.max_width,
        },
        align_all: s.align_all,
        scaling,
        centring: match s.centring {
            config::Centring::Stimuli => Centring::Stimuli,
            config::Centring::None => Centring::None,
        },
        reduction: s.reduction,
        fit_on_all: s.fit_on == config::FitOn::All,
        gates,
        n_shuffles: s.controls.layer_order,
        n_bootstraps: LAMBDA_BOOTSTRAPS,
        multiverse: s.controls.multiverse,
        seed,
    }
}

/// Haemodynamics on a clock.
pub fn hrf(s: &NfasSettings, clock: Clock) -> Result<Hrf, Error> {
    let Clock::Tr { tr_s } = clock else { return Ok(Hrf::None) };
    let derivatives = match s.derivatives {
        config::Derivatives::None => signal::Derivatives::None,
        config::Derivatives::Time => signal::Derivatives::Time,
        config::Derivatives::TimeDispersion => signal::Derivatives::TimeDispersion,
    };
    Ok(match s.hrf {
        config::Hrf::Auto | config::Hrf::Fir => {
            let from = (s.delays_s.from / tr_s - 1e-9).ceil() as usize;
            let to = (s.delays_s.to / tr_s + 1e-9).floor() as usize;
            let delays: Vec<usize> = (from..=to).collect();
            if delays.is_empty() {
                return Err(Error::Invalid {
                    what: "delays_s".into(),
                    expected: format!("a range that holds a multiple of the TR ({tr_s} s)"),
                    found: format!("{} to {} s", s.delays_s.from, s.delays_s.to),
                    hint: "widen the range".into(),
                });
            }
            Hrf::Fir { delays }
        }
        config::Hrf::Spm | config::Hrf::Glover => {
            let shape = if s.hrf == config::Hrf::Spm { HrfShape::Spm } else { HrfShape::Glover };
            match (s.hrf_parity, shape) {
                (config::HrfParity::Nilearn, shape) => Hrf::Nilearn { shape, derivatives },
                (config::HrfParity::None, HrfShape::Spm) => Hrf::Spm { derivatives },
                (config::HrfParity::None, HrfShape::Glover) => Hrf::Glover { derivatives },
            }
        }
        config::Hrf::None => Hrf::None,
    })
}

/// Samples purged on both sides of a held-out block of a time series.
pub fn purge_gap(s: &NfasSettings, clock: Clock, hrf: &Hrf) -> usize {
    match clock {
        Clock::Stimulus => 0,
        Clock::Tr { tr_s } => {
            (signal::max_delay_s(hrf, tr_s).max(s.purge_s) / tr_s - 1e-9).ceil().max(0.0) as usize
        }
    }
}

/// What is held out, with "auto" decided by runs and clock. Samples whose delays are padded are in no fold
/// where they are to be dropped.
pub fn outer_folds(
    s: &NfasSettings,
    ids: &[String],
    runs: &Runs,
    clock: Clock,
    hrf: &Hrf,
    gap: usize,
    seed: u64,
) -> stereotax::Result<Folds> {
    use config::Folds as Rule;
    let rule = match s.outer_folds {
        Rule::Auto if runs.n_runs() >= 2 => Rule::LeaveRunOut,
        Rule::Auto if clock == Clock::Stimulus => Rule::KFold { folds: 10 },
        Rule::Auto => Rule::Blocks { blocks: 5 },
        chosen => chosen,
    };
    let folds = match rule {
        Rule::KFold { folds } => Folds::k_fold(ids, folds, seed),
        Rule::Blocks { blocks } => Folds::contiguous(ids.len(), blocks, gap),
        Rule::LeaveRunOut | Rule::Auto => Folds::leave_one_run_out(runs),
    }?;
    if s.drop_padded { folds.without(&signal::padded_rows(runs, hrf)) } else { Ok(folds) }
}

/// Drift of responses.
pub fn drift(s: &NfasSettings) -> Drift {
    match s.drift {
        config::Drift::Dct { high_pass_hz } => Drift::Cosine { high_pass_hz },
        config::Drift::Polort { degree } => Drift::Polynomial { polort: degree },
        config::Drift::None => Drift::Mean,
    }
}

/// Pooling of activations.
pub fn pooling(pooling: config::Pooling) -> Pooling {
    match pooling {
        config::Pooling::Mean => Pooling::Mean,
        config::Pooling::Max => Pooling::Max,
        config::Pooling::Cls => Pooling::First,
        config::Pooling::Last => Pooling::Last,
        config::Pooling::Flatten => Pooling::Flatten,
    }
}

/// The encoding model and its draws.
pub fn evaluate(s: &NfasSettings, seed: u64, design: &SampleDesign, hrf: &Hrf, gap: usize) -> EvaluateParams {
    let inner = inner_rule(s.inner_folds, design, gap);
    EvaluateParams {
        encoding: EncodingParams {
            reduce: s
                .equalize_dim
                .then(|| ReduceParams { max_components: s.max_dim, ..ReduceParams::default() }),
            hrf: hrf.clone(),
            solver: match s.encoder {
                config::Encoder::Ols => Solver::LeastSquares,
                config::Encoder::Ridge => Solver::Ridge,
                config::Encoder::Banded => Solver::Banded { n_candidates: s.band_candidates, seed },
            },
            alphas: AlphaGrid { values: s.alphas.values(), scale: AlphaScale::MeanSquare },
            drop_padded: s.drop_padded,
            loss: inner_loss(s.inner_loss),
            alpha_choice: if s.alpha_per_roi { AlphaChoice::PerTarget } else { AlphaChoice::Shared },
            project: projected(s, design),
            ..EncodingParams::default()
        },
        inner,
        seed,
        n_bootstraps: s.bootstraps,
        n_shifts: s.shifts,
        null: NullModel::Shift,
        min_shift_s: MIN_SHIFT_S,
    }
}

fn inner_rule(folds: usize, design: &SampleDesign, gap: usize) -> InnerRule {
    match design.clock {
        Clock::Stimulus if design.runs.n_runs() < 3 => InnerRule::Units(folds),
        _ if design.runs.n_runs() >= 3 => InnerRule::Runs(folds),
        _ => InnerRule::Blocks { n_folds: folds.min(4), gap },
    }
}

fn inner_loss(loss: config::InnerLoss) -> InnerLoss {
    match loss {
        config::InnerLoss::SquaredError => InnerLoss::SquaredError,
        config::InnerLoss::Correlation => InnerLoss::Correlation,
    }
}

/// The drift that is taken out of predictors.
fn projected(s: &NfasSettings, design: &SampleDesign) -> Option<Drift> {
    match design.clock {
        Clock::Tr { .. } => s.project_features.then(|| drift(s)),
        // Responses per stimulus have no drift.
        Clock::Stimulus => None,
    }
}

/// The model that encodes single layers, and its draws; `shared` is what all analyses share.
pub fn encode(
    e: &EncodingSettings,
    shared: &NfasSettings,
    seed: u64,
    design: &SampleDesign,
    hrf: &Hrf,
    gap: usize,
) -> EvaluateParams {
    EvaluateParams {
        encoding: EncodingParams {
            reduce: match e.reduce {
                config::LayerReduction::Pca { max_dim } => {
                    Some(ReduceParams { max_components: max_dim, ..ReduceParams::default() })
                }
                _ => None,
            },
            hrf: hrf.clone(),
            solver: match e.encoder {
                config::EncodingEncoder::Ridge => Solver::Ridge,
                config::EncodingEncoder::Ols => Solver::LeastSquares,
                config::EncodingEncoder::KernelRidge => Solver::KernelRidge { kernel: kernel(e.kernel) },
                config::EncodingEncoder::Pls { components } => Solver::Pls { n_components: components },
            },
            alphas: AlphaGrid { values: e.alphas.values(), scale: AlphaScale::MeanSquare },
            drop_padded: shared.drop_padded,
            loss: inner_loss(e.inner_loss),
            alpha_choice: if e.alpha_per_roi { AlphaChoice::PerTarget } else { AlphaChoice::Shared },
            project: projected(shared, design),
            selection: match e.inner {
                config::InnerChoice::Folds => Selection::Folds,
                config::InnerChoice::Loo => Selection::LeaveOneOut,
                config::InnerChoice::Gcv => Selection::Generalised,
            },
            ..EncodingParams::default()
        },
        inner: inner_rule(e.inner_folds, design, gap),
        seed,
        n_bootstraps: e.bootstraps,
        n_shifts: e.shifts,
        null: match e.null {
            config::NullChoice::Shift => NullModel::Shift,
            config::NullChoice::Refit => NullModel::Refit,
        },
        min_shift_s: MIN_SHIFT_S,
    }
}

/// The kernel of kernel ridge; γ is 1/units where none is given.
fn kernel(kernel: config::EncodingKernel) -> Kernel {
    match kernel {
        config::EncodingKernel::Linear => Kernel::Linear,
        config::EncodingKernel::Polynomial { degree } => {
            Kernel::Polynomial { gamma: None, degree, constant: 1.0 }
        }
        config::EncodingKernel::Rbf { gamma } => Kernel::Rbf { gamma },
    }
}

/// How all layers become one predictor, if they do.
pub fn combination(combine: config::Combination) -> Option<Combine> {
    match combine {
        config::Combination::None => None,
        config::Combination::Stacked => Some(Combine::Stacked),
        config::Combination::Banded { draws } => Some(Combine::Banded { n_candidates: draws }),
    }
}

/// What a score is.
pub fn score_kind(score: config::Score) -> ScoreKind {
    match score {
        config::Score::R2 => ScoreKind::R2,
        config::Score::Signed => ScoreKind::Signed,
        config::Score::Clipped => ScoreKind::Clipped,
        config::Score::Ceiling => ScoreKind::Ceil,
        config::Score::Debiased => ScoreKind::Debiased,
    }
}

/// How groups of models are compared.
pub fn group(s: &NfasSettings, seed: u64) -> GroupParams {
    GroupParams {
        score: score_kind(s.score),
        embedding: match s.embedding {
            config::Embedding::Z => CoordinateKind::Z,
            config::Embedding::Rank => CoordinateKind::Rank,
            config::Embedding::Ceiling => CoordinateKind::Ceiling,
            config::Embedding::Score => CoordinateKind::Score,
            config::Embedding::Response => CoordinateKind::Response,
        },
        concatenate: s.benchmarks == config::Benchmarks::Concatenate,
        distance: match s.distance {
            config::Distance::Euclidean => DistanceKind::Euclidean,
            config::Distance::Correlation => DistanceKind::Correlation,
            config::Distance::Cosine => DistanceKind::Cosine,
            config::Distance::EuclideanRaw => DistanceKind::EuclideanRaw,
        },
        convergence_scale: match s.convergence_scale {
            config::ConvergenceScale::Snci => ConvergenceScale::Snci,
            config::ConvergenceScale::ZScore => ConvergenceScale::ZScore,
        },
        convergence_threshold: s.convergence_threshold,
        dispersion_centre: match s.dispersion_centre {
            config::DispersionCentre::SpatialMedian => Centre::SpatialMedian,
            config::DispersionCentre::Centroid => Centre::Centroid,
        },
        dispersion_axes: match s.dispersion_axes {
            config::DispersionAxes::Subtract => NegativeAxes::Subtract,
            config::DispersionAxes::Drop => NegativeAxes::Drop,
        },
        dispersion_bias: match s.dispersion_bias {
            config::DispersionBias::None => BiasFactor::None,
            config::DispersionBias::SmallSample => BiasFactor::SmallSample,
        },
        n_permutations: s.permutations,
        exact: s.exact,
        restricted: match s.restricted {
            config::Restricted::Free => Restriction::Free,
            config::Restricted::Family => Restriction::Family,
            config::Restricted::Strata => Restriction::Strata,
        },
        snci: s
            .snci
            .iter()
            .map(|kind| match kind {
                config::SnciKind::Snr => Consistency::Index(SnciKind::Snr),
                config::SnciKind::Bounded => Consistency::Index(SnciKind::Bounded),
                config::SnciKind::Snr2 => Consistency::Index(SnciKind::Snr2),
                config::SnciKind::SnrC4 => Consistency::Index(SnciKind::SnrC4),
                config::SnciKind::Debiased => Consistency::Index(SnciKind::Debiased),
                config::SnciKind::Tstat => Consistency::Index(SnciKind::TStat),
                config::SnciKind::Profile => Consistency::Profile,
                config::SnciKind::ProfileIcc => Consistency::ProfileIcc,
                config::SnciKind::ProfileSnr => Consistency::ProfileSnr,
            })
            .collect(),
        n_bootstraps: s.bootstraps,
        interval: match s.interval {
            config::IntervalKind::Percentile => Interval::Percentile,
            config::IntervalKind::Bca => Interval::Bca,
        },
        sign_policy: match s.sign_policy {
            config::SignPolicy::Zero => SignPolicy::Zero,
            config::SignPolicy::Carry => SignPolicy::Carry,
        },
        multiplicity: match s.multiplicity {
            config::Multiplicity::MaxT => Multiplicity::MaxT,
            config::Multiplicity::Holm => Multiplicity::Holm,
            config::Multiplicity::Bh => Multiplicity::Bh,
            config::Multiplicity::By => Multiplicity::By,
            config::Multiplicity::None => Multiplicity::None,
        },
        leave_one_family_out: s.controls.leave_one_family_out,
        expected_n_shuffles: s.controls.layer_order,
        seed,
        ..GroupParams::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(lines: &str) -> NfasSettings {
        config::parse_choices(lines, "choices", false).unwrap_or_else(|e| panic!("{e}"))
    }

    #[test]
    fn numbers_of_the_depth_fit_arrive() {
        let dmd = depth(&chosen("eligible_energy = 0.05\nmax_gain = 20"), 4).dmd;
        assert_eq!((dmd.min_energy, dmd.max_gain, dmd.seed), (0.05, 20.0, 4));
        // Left alone they are the core's own, so that the choice changes no stored result.
        assert_eq!(depth(&chosen(""), 0), DepthParams::default());
    }

    #[test]
    fn padded_samples_are_dropped_from_every_fold_or_from_none() {
        let clock = Clock::Tr { tr_s: 2.0 };
        let runs = Runs::from_lengths(&["a".into(), "b".into()], &[10, 8]).unwrap();
        let ids: Vec<String> = (0..18).map(|i| i.to_string()).collect();
        let folds = |lines: &str| {
            let s = chosen(lines);
            outer_folds(&s, &ids, &runs, clock, &hrf(&s, clock).unwrap(), 0, 0).unwrap()
        };
        let all = folds("");
        assert_eq!((all[0].test.len(), all[0].train.len()), (10, 8));
        // 1.5–9 s at 2 s: delays of 1 to 4 volumes.
        let dropped = folds("drop_padded = true");
        assert_eq!(dropped[0].test, (4..10).collect::<Vec<_>>());
        assert_eq!(dropped[0].train, (14..18).collect::<Vec<_>>());
        let none = folds("drop_padded = true\ndelays_s = { from = 0, to = 0 }");
        assert_eq!(none, all);
    }

    #[test]
    fn nilearns_numerics_are_those_of_the_response_asked_for() {
        let clock = Clock::Tr { tr_s: 2.0 };
        let of = |lines: &str| hrf(&chosen(lines), clock).unwrap();
        let derivatives = signal::Derivatives::Time;
        let lines = "hrf = \"glover\"\nderivatives = \"time\"";
        assert_eq!(of(lines), Hrf::Glover { derivatives });
        let shape = HrfShape::Glover;
        assert_eq!(of(&format!("{lines}\nhrf_parity = \"nilearn\"")), Hrf::Nilearn { shape, derivatives });
    }
}
