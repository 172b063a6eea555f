//! Read the words of single functions as choices of the core; those of whole analyses are in `choices`.

use stereotax::dynamics::{Centring, Scaling};
use stereotax::encoding::PlaceRule;
use stereotax::stats::ceiling::CeilingMethod;
use stereotax::stats::distance::DistanceKind;
use stereotax::stats::permdisp::{BiasFactor, Centre, NegativeAxes};
use stereotax::stats::retrieval::Similarity;
use stereotax::stats::snci::{Interval, SignPolicy, SnciKind};
use stereotax::{Error, Result};

pub fn choose<T: Copy>(what: &str, given: &str, words: &[(&str, T)]) -> Result<T> {
    if let Some((_, chosen)) = words.iter().find(|(word, _)| *word == given) {
        return Ok(*chosen);
    }
    let names: Vec<String> = words.iter().map(|(word, _)| format!("`{word}`")).collect();
    let hint = match stereotax_study::hints::nearest(given, words.iter().map(|(word, _)| *word)) {
        Some(near) => format!("did you mean `{near}`?"),
        None => "see the documentation of the argument".to_owned(),
    };
    let expected = format!("one of {}", names.join(", "));
    Err(Error::Invalid { what: what.into(), expected, found: format!("`{given}`"), hint })
}

pub fn scale(given: &str) -> Result<Scaling> {
    choose(
        "scale",
        given,
        &[
            ("frobenius", Scaling::Frobenius),
            ("none", Scaling::None),
            ("pair", Scaling::Pair),
            ("unit_sample", Scaling::UnitSample),
        ],
    )
}

pub fn centring(given: &str) -> Result<Centring> {
    if given == "depth" || given == "layers" {
        return Err(stereotax::dynamics::refuse_depth_centring());
    }
    choose("centring", given, &[("stimuli", Centring::Stimuli), ("none", Centring::None)])
}

pub fn ceiling(given: &str) -> Result<CeilingMethod> {
    choose(
        "method",
        given,
        &[
            ("split_half", CeilingMethod::SplitHalf),
            ("explainable_variance", CeilingMethod::ExplainableVariance),
            ("signal_power", CeilingMethod::SignalPower),
            ("ncsnr", CeilingMethod::Ncsnr),
            ("leave_one_out", CeilingMethod::LeaveOneOut),
            ("isc_single", CeilingMethod::IscSingle),
            ("isc_group", CeilingMethod::IscGroup),
        ],
    )
}

pub fn place_rule(given: &str, temperature: f64) -> Result<PlaceRule> {
    choose(
        "rule",
        given,
        &[
            ("largest", PlaceRule::Largest),
            ("centroid", PlaceRule::Centroid),
            ("soft", PlaceRule::Soft(temperature)),
        ],
    )
}

pub fn similarity(given: &str) -> Result<Similarity> {
    choose("similarity", given, &[("cosine", Similarity::Cosine), ("pearson", Similarity::Pearson)])
}

pub fn distance(given: &str) -> Result<DistanceKind> {
    choose(
        "kind",
        given,
        &[
            ("euclidean", DistanceKind::Euclidean),
            ("euclidean_raw", DistanceKind::EuclideanRaw),
            ("correlation", DistanceKind::Correlation),
            ("cosine", DistanceKind::Cosine),
        ],
    )
}

pub fn centre(given: &str) -> Result<Centre> {
    choose("centre", given, &[("spatial_median", Centre::SpatialMedian), ("centroid", Centre::Centroid)])
}

pub fn negative_axes(given: &str) -> Result<NegativeAxes> {
    choose("negative_axes", given, &[("subtract", NegativeAxes::Subtract), ("drop", NegativeAxes::Drop)])
}

pub fn bias_factor(given: &str) -> Result<BiasFactor> {
    choose("bias_factor", given, &[("none", BiasFactor::None), ("small_sample", BiasFactor::SmallSample)])
}

pub fn snci_kind(given: &str) -> Result<SnciKind> {
    choose(
        "kind",
        given,
        &[
            ("snr", SnciKind::Snr),
            ("bounded", SnciKind::Bounded),
            ("snr2", SnciKind::Snr2),
            ("snr_c4", SnciKind::SnrC4),
            ("debiased", SnciKind::Debiased),
            ("tstat", SnciKind::TStat),
        ],
    )
}

pub fn sign_policy(given: &str) -> Result<SignPolicy> {
    choose("sign_policy", given, &[("zero", SignPolicy::Zero), ("carry", SignPolicy::Carry)])
}

pub fn interval(given: &str) -> Result<Interval> {
    choose("interval", given, &[("percentile", Interval::Percentile), ("bca", Interval::Bca)])
}
