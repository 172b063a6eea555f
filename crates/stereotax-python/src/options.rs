//! Read the words of the study file (`energy:0.99`, `closest_to_one`) as choices of the core.

use stereotax::dynamics::layer_map::LayerMap;
use stereotax::dynamics::{Amplitude, Centring, Estimator, ModeForm, RankRule, Scaling, Selection};
use stereotax::stats::distance::DistanceKind;
use stereotax::stats::permdisp::{BiasFactor, Centre, NegativeAxes};
use stereotax::stats::score::ScoreKind;
use stereotax::stats::snci::{Interval, SignPolicy, SnciKind};
use stereotax::{Error, Result};
use stereotax_study::config;

/// What a word stands for, with or without a number behind a colon.
enum Form<T> {
    Word(T),
    Real(Option<f64>, fn(f64) -> T),
    Whole(Option<usize>, fn(usize) -> T),
}

use Form::{Real, Whole, Word};

fn choose<T: Copy>(what: &str, given: &str, forms: &[(&str, Form<T>)]) -> Result<T> {
    let (word, argument) = match given.split_once(':') {
        Some((word, argument)) => (word, Some(argument)),
        None => (given, None),
    };
    let chosen = forms.iter().find(|(name, _)| *name == word).and_then(|(_, form)| match (form, argument) {
        (Word(value), None) => Some(*value),
        (Word(_), Some(_)) => None,
        (Real(default, make), None) => default.map(make),
        (Real(_, make), Some(text)) => text.parse().ok().filter(|x: &f64| x.is_finite()).map(make),
        (Whole(default, make), None) => default.map(make),
        (Whole(_, make), Some(text)) => text.parse().ok().map(make),
    });
    chosen.ok_or_else(|| {
        let names: Vec<String> = forms
            .iter()
            .map(|(name, form)| match form {
                Word(_) => format!("`{name}`"),
                Real(..) | Whole(..) => format!("`{name}:NUMBER`"),
            })
            .collect();
        let words = forms.iter().map(|(name, _)| *name);
        let hint = match stereotax_study::hints::nearest(word, words) {
            Some(near) if near != word => format!("did you mean `{near}`?"),
            _ => "see the documentation of the argument".to_owned(),
        };
        Error::Invalid { what: what.into(), expected: names.join(", "), found: format!("`{given}`"), hint }
    })
}

pub fn estimator(given: &str) -> Result<Estimator> {
    choose(
        "estimator",
        given,
        &[
            ("standard", Word(Estimator::Standard)),
            ("total_least_squares", Word(Estimator::TotalLeastSquares)),
            ("forward_backward", Word(Estimator::ForwardBackward)),
            ("optimised", Word(Estimator::Optimised)),
            ("bagged", Whole(Some(100), |n_bags| Estimator::Bagged { n_bags })),
            ("unitary", Word(Estimator::Unitary)),
            ("symmetric", Word(Estimator::Symmetric)),
            ("hankel", Whole(None, |delays| Estimator::Hankel { delays })),
        ],
    )
}

pub fn rank(given: &str) -> Result<RankRule> {
    choose(
        "rank",
        given,
        &[
            ("energy", Real(Some(0.99), RankRule::Energy)),
            ("fixed", Whole(None, RankRule::Fixed)),
            ("hard_threshold", Word(RankRule::HardThreshold)),
            ("full", Word(RankRule::Full)),
            ("consensus", Word(RankRule::Consensus)),
        ],
    )
}

pub fn modes(given: &str) -> Result<ModeForm> {
    choose("modes", given, &[("projected", Word(ModeForm::Projected)), ("exact", Word(ModeForm::Exact))])
}

pub fn amplitude(given: &str) -> Result<Amplitude> {
    choose(
        "amplitude",
        given,
        &[
            ("optimal", Word(Amplitude::Optimal)),
            ("first", Word(Amplitude::First)),
            ("mode_only", Word(Amplitude::ModeOnly)),
        ],
    )
}

pub fn select(given: &str) -> Result<Selection> {
    choose(
        "select",
        given,
        &[
            ("closest_to_one", Word(Selection::ClosestToOne)),
            ("unit_circle", Word(Selection::UnitCircle)),
            ("slowest", Word(Selection::Slowest)),
            ("band", Real(Some(2.0), |gain| Selection::Band { gain })),
            ("decaying_slowest", Word(Selection::DecayingSlowest)),
            ("max_energy_in_band", Real(Some(2.0), |gain| Selection::MaxEnergyInBand { gain })),
            ("min_residual", Word(Selection::MinResidual)),
        ],
    )
}

pub fn scale(given: &str) -> Result<Scaling> {
    choose(
        "scale",
        given,
        &[
            ("frobenius", Word(Scaling::Frobenius)),
            ("none", Word(Scaling::None)),
            ("pair", Word(Scaling::Pair)),
            ("unit_sample", Word(Scaling::UnitSample)),
        ],
    )
}

pub fn centring(given: &str) -> Result<Centring> {
    if given == "depth" || given == "layers" {
        return Err(stereotax::dynamics::refuse_depth_centring());
    }
    choose("centring", given, &[("stimuli", Word(Centring::Stimuli)), ("none", Word(Centring::None))])
}

pub fn layer_map(given: &str) -> Result<LayerMap> {
    choose(
        "layer_map",
        given,
        &[
            ("identity", Word(LayerMap::Identity)),
            ("procrustes", Word(LayerMap::Procrustes)),
            ("pca", Word(LayerMap::Pca)),
        ],
    )
}

pub fn distance(given: &str) -> Result<DistanceKind> {
    choose(
        "kind",
        given,
        &[
            ("euclidean", Word(DistanceKind::Euclidean)),
            ("euclidean_raw", Word(DistanceKind::EuclideanRaw)),
            ("correlation", Word(DistanceKind::Correlation)),
            ("cosine", Word(DistanceKind::Cosine)),
        ],
    )
}

pub fn centre(given: &str) -> Result<Centre> {
    choose(
        "centre",
        given,
        &[("spatial_median", Word(Centre::SpatialMedian)), ("centroid", Word(Centre::Centroid))],
    )
}

pub fn negative_axes(given: &str) -> Result<NegativeAxes> {
    choose(
        "negative_axes",
        given,
        &[("subtract", Word(NegativeAxes::Subtract)), ("drop", Word(NegativeAxes::Drop))],
    )
}

pub fn bias_factor(given: &str) -> Result<BiasFactor> {
    choose(
        "bias_factor",
        given,
        &[("none", Word(BiasFactor::None)), ("small_sample", Word(BiasFactor::SmallSample))],
    )
}

pub fn snci_kind(given: &str) -> Result<SnciKind> {
    choose(
        "kind",
        given,
        &[
            ("snr", Word(SnciKind::Snr)),
            ("bounded", Word(SnciKind::Bounded)),
            ("snr2", Word(SnciKind::Snr2)),
            ("snr_c4", Word(SnciKind::SnrC4)),
            ("debiased", Word(SnciKind::Debiased)),
            ("tstat", Word(SnciKind::TStat)),
        ],
    )
}

pub fn sign_policy(given: &str) -> Result<SignPolicy> {
    choose("sign_policy", given, &[("zero", Word(SignPolicy::Zero)), ("carry", Word(SignPolicy::Carry))])
}

pub fn interval(given: &str) -> Result<Interval> {
    choose("interval", given, &[("percentile", Word(Interval::Percentile)), ("bca", Word(Interval::Bca))])
}

pub fn score(given: &str) -> Result<ScoreKind> {
    choose(
        "score",
        given,
        &[
            ("debiased", Word(ScoreKind::Debiased)),
            ("r2", Word(ScoreKind::R2)),
            ("signed", Word(ScoreKind::Signed)),
            ("clipped", Word(ScoreKind::Clipped)),
        ],
    )
}

pub fn study_scale(given: &str) -> Result<config::Scale> {
    Ok(match scale(given)? {
        Scaling::Frobenius => config::Scale::Frobenius,
        Scaling::None => config::Scale::None,
        Scaling::Pair => config::Scale::Pair,
        Scaling::UnitSample => config::Scale::UnitSample,
    })
}

pub fn study_centring(given: &str) -> Result<config::Centring> {
    Ok(match centring(given)? {
        Centring::Stimuli => config::Centring::Stimuli,
        Centring::None => config::Centring::None,
    })
}

pub fn study_layer_map(given: &str) -> Result<config::LayerMap> {
    choose(
        "layer_map",
        given,
        &[
            ("identity", Word(config::LayerMap::Identity)),
            ("procrustes", Word(config::LayerMap::Procrustes)),
            ("pca", Word(config::LayerMap::Pca)),
            ("kernel", Word(config::LayerMap::Kernel)),
            ("random_projection", Word(config::LayerMap::RandomProjection)),
        ],
    )
}

pub fn fit_on(given: &str) -> Result<config::FitOn> {
    choose("fit_on", given, &[("train", Word(config::FitOn::Train)), ("all", Word(config::FitOn::All))])
}

pub fn hrf(given: &str) -> Result<config::Hrf> {
    choose(
        "hrf",
        given,
        &[
            ("auto", Word(config::Hrf::Auto)),
            ("fir", Word(config::Hrf::Fir)),
            ("spm", Word(config::Hrf::Spm)),
            ("glover", Word(config::Hrf::Glover)),
            ("none", Word(config::Hrf::None)),
        ],
    )
}

pub fn derivatives(given: &str) -> Result<config::Derivatives> {
    choose(
        "derivatives",
        given,
        &[
            ("none", Word(config::Derivatives::None)),
            ("time", Word(config::Derivatives::Time)),
            ("time_dispersion", Word(config::Derivatives::TimeDispersion)),
        ],
    )
}

pub fn drift(given: &str) -> Result<config::Drift> {
    choose(
        "drift",
        given,
        &[
            ("dct", Real(Some(0.01), |high_pass_hz| config::Drift::Dct { high_pass_hz })),
            ("polort", Whole(None, |degree| config::Drift::Polort { degree })),
            ("none", Word(config::Drift::None)),
        ],
    )
}

pub fn outer_folds(given: &str) -> Result<config::Folds> {
    choose(
        "n_folds",
        given,
        &[
            ("auto", Word(config::Folds::Auto)),
            ("leave_run_out", Word(config::Folds::LeaveRunOut)),
            ("k_fold", Whole(Some(10), |folds| config::Folds::KFold { folds })),
            ("blocks", Whole(Some(5), |blocks| config::Folds::Blocks { blocks })),
        ],
    )
}
