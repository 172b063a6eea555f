//! The words that a choice of a study file may have, each with what it stands for.

use stereotax::dynamics::{Amplitude, Estimator, ModeForm, RankRule, Reduction, Selection};
use stereotax::pipelines::ceilings::CeilingRule;

use super::reader::{Argument, Form, with, word};
use super::study::{
    Axis, Benchmarks, Blocks, Centring, ConvergenceScale, Derivatives, DispersionAxes, DispersionBias,
    DispersionCentre, Distance, DmdClock, Drift, Embedding, Encoder, FitOn, Folds, GateAction, Hemisphere,
    Hrf, HrfParity, InnerLoss, IntervalKind, LanczosWeights, LayerMap, Multiplicity, Pooling, Preset,
    Repeats, Resample, Restricted, RoiSummary, Scale, Score, SignPolicy, SnciKind, SubjectMode, Trajectory,
};

const fn share(example: &'static str) -> Argument {
    Argument { least: 1e-12, most: 1.0, whole: false, unit: "", default: None, expected: example }
}

const fn whole(least: f64, default: Option<f64>, expected: &'static str) -> Argument {
    Argument { least, most: 1e6, whole: true, unit: "", default, expected }
}

const GAIN: Argument = Argument {
    least: 1.0,
    most: 1e6,
    whole: false,
    unit: "",
    default: Some(2.0),
    expected: "a gain of at least 1, as in `band:2`,",
};
const SECONDS: Argument = Argument {
    least: 1e-3,
    most: 86_400.0,
    whole: false,
    unit: "s",
    default: None,
    expected: "a length in seconds, as in `segment:20s`,",
};
const HERTZ: Argument = Argument {
    least: 1e-6,
    most: 100.0,
    whole: false,
    unit: "Hz",
    default: Some(0.01),
    expected: "a frequency in hertz above 0, as in `dct:0.01`,",
};
const RIDGE: Argument = Argument {
    least: 0.0,
    most: 1e6,
    whole: false,
    unit: "",
    default: Some(1e-6),
    expected: "a ridge of at least 0, as in `reduced_rank:1e-6`,",
};

pub(super) const PRESET: &[Form<Preset>] =
    &[word("robust", |_| Preset::Robust), word("paper_literal", |_| Preset::PaperLiteral)];
pub(super) const BLOCKS: &[Form<Blocks>] = &[
    word("stimulus", |_| Blocks::Stimulus),
    word("run", |_| Blocks::Run),
    with("segment", SECONDS, |seconds| Blocks::Segment { seconds }),
];
pub(super) const ROI_SUMMARY: &[Form<RoiSummary>] =
    &[word("mean", |_| RoiSummary::Mean), word("first_pc", |_| RoiSummary::FirstPc)];
pub(super) const AXIS: &[Form<Axis>] = &[
    word("stimulus", |_| Axis::Stimulus),
    word("target", |_| Axis::Target),
    word("repeat", |_| Axis::Repeat),
    word("time", |_| Axis::Time),
];
pub(super) const REPEATS: &[Form<Repeats>] =
    &[word("none", |_| Repeats::None), word("axis", |_| Repeats::Axis), word("rows", |_| Repeats::Rows)];
pub(super) const HEMISPHERE: &[Form<Hemisphere>] =
    &[word("left", |_| Hemisphere::Left), word("right", |_| Hemisphere::Right)];
pub(super) const POOLING: &[Form<Pooling>] = &[
    word("mean", |_| Pooling::Mean),
    word("max", |_| Pooling::Max),
    word("cls", |_| Pooling::Cls),
    word("last", |_| Pooling::Last),
    word("flatten", |_| Pooling::Flatten),
];
pub(super) const TRAJECTORY: &[Form<Trajectory>] = &[
    word("stacked", |_| Trajectory::Stacked),
    word("sample", |_| Trajectory::Sample),
    word("pooled", |_| Trajectory::Pooled),
];
pub(super) const LAYER_MAP: &[Form<LayerMap>] = &[
    word("identity", |_| LayerMap::Identity),
    word("procrustes", |_| LayerMap::Procrustes),
    word("pca", |_| LayerMap::Pca),
    word("kernel", |_| LayerMap::Kernel),
    word("random_projection", |_| LayerMap::RandomProjection),
];
pub(super) const CENTRING: &[Form<Centring>] =
    &[word("stimuli", |_| Centring::Stimuli), word("none", |_| Centring::None)];
pub(super) const REDUCTION: &[Form<Reduction>] = &[
    word("auto", |_| Reduction::Auto),
    word("gram", |_| Reduction::Gram),
    word("tsqr", |_| Reduction::Tsqr),
];
pub(super) const SCALE: &[Form<Scale>] = &[
    word("frobenius", |_| Scale::Frobenius),
    word("none", |_| Scale::None),
    word("pair", |_| Scale::Pair),
    word("unit_sample", |_| Scale::UnitSample),
];
pub(super) const ESTIMATOR: &[Form<Estimator>] = &[
    word("standard", |_| Estimator::Standard),
    word("total_least_squares", |_| Estimator::TotalLeastSquares),
    word("forward_backward", |_| Estimator::ForwardBackward),
    word("optimised", |_| Estimator::Optimised),
    with("bagged", whole(2.0, Some(100.0), "a number of bags, as in `bagged:100`,"), |n| Estimator::Bagged {
        n_bags: n as usize,
    }),
    word("unitary", |_| Estimator::Unitary),
    word("symmetric", |_| Estimator::Symmetric),
    with("hankel", whole(2.0, None, "a number of delays of at least 2, as in `hankel:3`,"), |d| {
        Estimator::Hankel { delays: d as usize }
    }),
    with("segments", whole(2.0, None, "a number of windows of at least 2, as in `segments:3`,"), |n| {
        Estimator::Segments { n_segments: n as usize }
    }),
    with("reduced_rank", RIDGE, |ridge| Estimator::ReducedRank { ridge }),
];
pub(super) const RANK: &[Form<RankRule>] = &[
    with("energy", share("a share above 0 and at most 1, as in `energy:0.99`,"), RankRule::Energy),
    with("fixed", whole(1.0, None, "a rank of at least 1, as in `fixed:4`,"), |r| {
        RankRule::Fixed(r as usize)
    }),
    word("hard_threshold", |_| RankRule::HardThreshold),
    word("full", |_| RankRule::Full),
    word("consensus", |_| RankRule::Consensus),
];
pub(super) const MODES: &[Form<ModeForm>] =
    &[word("projected", |_| ModeForm::Projected), word("exact", |_| ModeForm::Exact)];
pub(super) const AMPLITUDE: &[Form<Amplitude>] = &[
    word("optimal", |_| Amplitude::Optimal),
    word("first", |_| Amplitude::First),
    word("mode_only", |_| Amplitude::ModeOnly),
    word("modulus", |_| Amplitude::Modulus),
];
pub(super) const SELECT: &[Form<Selection>] = &[
    word("closest_to_one", |_| Selection::ClosestToOne),
    word("unit_circle", |_| Selection::UnitCircle),
    word("slowest", |_| Selection::Slowest),
    with("band", GAIN, |gain| Selection::Band { gain }),
    word("decaying_slowest", |_| Selection::DecayingSlowest),
    with("max_energy_in_band", GAIN, |gain| Selection::MaxEnergyInBand { gain }),
    word("min_residual", |_| Selection::MinResidual),
];
pub(super) const GATE_ACTION: &[Form<GateAction>] =
    &[word("exclude", |_| GateAction::Exclude), word("report", |_| GateAction::Report)];
pub(super) const FIT_ON: &[Form<FitOn>] = &[word("train", |_| FitOn::Train), word("all", |_| FitOn::All)];
pub(super) const DMD_CLOCK: &[Form<DmdClock>] =
    &[word("tr", |_| DmdClock::Tr), word("native", |_| DmdClock::Native)];
pub(super) const RESAMPLE: &[Form<Resample>] = &[
    word("auto", |_| Resample::Auto),
    word("box", |_| Resample::Box),
    word("lanczos", |_| Resample::Lanczos),
];
pub(super) const LANCZOS_WEIGHTS: &[Form<LanczosWeights>] = &[
    word("auto", |_| LanczosWeights::Auto),
    word("raw", |_| LanczosWeights::Raw),
    word("normalised", |_| LanczosWeights::Normalised),
];
pub(super) const HRF_PARITY: &[Form<HrfParity>] =
    &[word("none", |_| HrfParity::None), word("nilearn", |_| HrfParity::Nilearn)];
pub(super) const HRF: &[Form<Hrf>] = &[
    word("auto", |_| Hrf::Auto),
    word("fir", |_| Hrf::Fir),
    word("spm", |_| Hrf::Spm),
    word("glover", |_| Hrf::Glover),
    word("none", |_| Hrf::None),
];
pub(super) const DERIVATIVES: &[Form<Derivatives>] = &[
    word("none", |_| Derivatives::None),
    word("time", |_| Derivatives::Time),
    word("time_dispersion", |_| Derivatives::TimeDispersion),
];
pub(super) const DRIFT: &[Form<Drift>] = &[
    with("dct", HERTZ, |high_pass_hz| Drift::Dct { high_pass_hz }),
    with("polort", whole(0.0, None, "a degree of at least 0, as in `polort:2`,"), |d| Drift::Polort {
        degree: d as usize,
    }),
    word("none", |_| Drift::None),
];
pub(super) const ENCODER: &[Form<Encoder>] =
    &[word("ridge", |_| Encoder::Ridge), word("ols", |_| Encoder::Ols), word("banded", |_| Encoder::Banded)];
pub(super) const INNER_LOSS: &[Form<InnerLoss>] =
    &[word("squared_error", |_| InnerLoss::SquaredError), word("correlation", |_| InnerLoss::Correlation)];
pub(super) const OUTER_FOLDS: &[Form<Folds>] = &[
    word("auto", |_| Folds::Auto),
    word("leave_run_out", |_| Folds::LeaveRunOut),
    with("k_fold", whole(2.0, Some(10.0), "a number of folds of at least 2, as in `k_fold:10`,"), |n| {
        Folds::KFold { folds: n as usize }
    }),
    with("blocks", whole(2.0, Some(5.0), "a number of blocks of at least 2, as in `blocks:5`,"), |n| {
        Folds::Blocks { blocks: n as usize }
    }),
];
pub(super) const SCORE: &[Form<Score>] = &[
    word("r2", |_| Score::R2),
    word("signed", |_| Score::Signed),
    word("clipped", |_| Score::Clipped),
    word("ceiling", |_| Score::Ceiling),
    word("debiased", |_| Score::Debiased),
];
pub(super) const CEILING: &[Form<CeilingRule>] = &[
    word("auto", |_| CeilingRule::Auto),
    word("explainable_variance", |_| CeilingRule::ExplainableVariance),
    word("split_half", |_| CeilingRule::SplitHalf),
    word("signal_power", |_| CeilingRule::SignalPower),
    word("isc", |_| CeilingRule::Isc),
    word("given", |_| CeilingRule::Given),
    word("none", |_| CeilingRule::None),
];
pub(super) const SUBJECTS: &[Form<SubjectMode>] =
    &[word("each", |_| SubjectMode::Each), word("group_mean", |_| SubjectMode::GroupMean)];
pub(super) const EMBEDDING: &[Form<Embedding>] = &[
    word("score", |_| Embedding::Score),
    word("z", |_| Embedding::Z),
    word("rank", |_| Embedding::Rank),
    word("ceiling", |_| Embedding::Ceiling),
    word("response", |_| Embedding::Response),
];
pub(super) const BENCHMARKS: &[Form<Benchmarks>] =
    &[word("average", |_| Benchmarks::Average), word("concatenate", |_| Benchmarks::Concatenate)];
pub(super) const SNCI: &[Form<SnciKind>] = &[
    word("snr", |_| SnciKind::Snr),
    word("bounded", |_| SnciKind::Bounded),
    word("snr2", |_| SnciKind::Snr2),
    word("snr_c4", |_| SnciKind::SnrC4),
    word("debiased", |_| SnciKind::Debiased),
    word("tstat", |_| SnciKind::Tstat),
    word("profile", |_| SnciKind::Profile),
    word("profile_icc", |_| SnciKind::ProfileIcc),
    word("profile_snr", |_| SnciKind::ProfileSnr),
];
pub(super) const DISTANCE: &[Form<Distance>] = &[
    word("euclidean", |_| Distance::Euclidean),
    word("correlation", |_| Distance::Correlation),
    word("cosine", |_| Distance::Cosine),
    word("euclidean_raw", |_| Distance::EuclideanRaw),
];
pub(super) const RESTRICTED: &[Form<Restricted>] = &[
    word("free", |_| Restricted::Free),
    word("family", |_| Restricted::Family),
    word("strata", |_| Restricted::Strata),
];
pub(super) const CONVERGENCE_SCALE: &[Form<ConvergenceScale>] =
    &[word("snci", |_| ConvergenceScale::Snci), word("z_score", |_| ConvergenceScale::ZScore)];
pub(super) const DISPERSION_CENTRE: &[Form<DispersionCentre>] = &[
    word("spatial_median", |_| DispersionCentre::SpatialMedian),
    word("centroid", |_| DispersionCentre::Centroid),
];
pub(super) const DISPERSION_AXES: &[Form<DispersionAxes>] =
    &[word("subtract", |_| DispersionAxes::Subtract), word("drop", |_| DispersionAxes::Drop)];
pub(super) const DISPERSION_BIAS: &[Form<DispersionBias>] =
    &[word("none", |_| DispersionBias::None), word("small_sample", |_| DispersionBias::SmallSample)];
pub(super) const INTERVAL: &[Form<IntervalKind>] =
    &[word("percentile", |_| IntervalKind::Percentile), word("bca", |_| IntervalKind::Bca)];
pub(super) const SIGN_POLICY: &[Form<SignPolicy>] =
    &[word("zero", |_| SignPolicy::Zero), word("carry", |_| SignPolicy::Carry)];
pub(super) const MULTIPLICITY: &[Form<Multiplicity>] = &[
    word("max_t", |_| Multiplicity::MaxT),
    word("holm", |_| Multiplicity::Holm),
    word("bh", |_| Multiplicity::Bh),
    word("by", |_| Multiplicity::By),
    word("none", |_| Multiplicity::None),
];
