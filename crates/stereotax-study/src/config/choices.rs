//! Read the choices of `[analysis.nfas]`, alone or within a study, and refuse those that exclude each other.

use stereotax::dynamics::{Amplitude, Estimator, ModeForm, RankRule};
use stereotax::pipelines::ceilings::CeilingRule;
use toml::de::{DeTable, DeValue};

use super::encoding::{ENCODING, read_encoding};
use super::parse::read_numbers;
use super::reader::{Reader, Sink, StudyErrors};
use super::similarity::{SIMILARITY, read_similarity};
use super::study::{
    Alphas, Benchmark, Centring, Controls, Derivatives, Distance, Embedding, Encoder, EncodingSettings,
    Gates, Hrf, HrfParity, LanczosWeights, LayerMap, Model, NfasSettings, Preset, Resample, Scale, Score,
    SecondsRange, SimilaritySettings, SnciKind, Trajectory,
};
use super::words::{
    AMPLITUDE, BENCHMARKS, CEILING, CENTRING, CONVERGENCE_SCALE, DERIVATIVES, DISPERSION_AXES,
    DISPERSION_BIAS, DISPERSION_CENTRE, DISTANCE, DMD_CLOCK, DRIFT, EMBEDDING, ENCODER, ESTIMATOR, FIT_ON,
    GATE_ACTION, HRF, HRF_PARITY, INNER_LOSS, INTERVAL, LANCZOS_WEIGHTS, LAYER_MAP, MODES, MULTIPLICITY,
    OUTER_FOLDS, RANK, REDUCTION, RESAMPLE, RESTRICTED, SCALE, SCORE, SELECT, SIGN_POLICY, SNCI, SUBJECTS,
    TRAJECTORY,
};

pub(super) const NFAS: &[&str] = &[
    "trajectory",
    "layer_map",
    "max_width",
    "align_all",
    "centring",
    "reduction",
    "scale",
    "estimator",
    "rank",
    "modes",
    "amplitude",
    "tikhonov",
    "select",
    "eligible_energy",
    "max_gain",
    "gates",
    "fit_on",
    "clock",
    "resample",
    "lanczos_weights",
    "hrf",
    "hrf_parity",
    "delays_s",
    "drop_padded",
    "derivatives",
    "drift",
    "project_features",
    "encoder",
    "band_candidates",
    "alphas",
    "alpha_per_roi",
    "equalize_dim",
    "max_dim",
    "inner_folds",
    "inner_loss",
    "outer_folds",
    "purge_s",
    "score",
    "ceiling",
    "min_ceiling",
    "subjects",
    "embedding",
    "benchmarks",
    "snci",
    "convergence_scale",
    "convergence_threshold",
    "distance",
    "dispersion_centre",
    "dispersion_axes",
    "dispersion_bias",
    "permutations",
    "exact",
    "restricted",
    "bootstraps",
    "interval",
    "sign_policy",
    "shifts",
    "multiplicity",
    "networks",
    "controls",
];
pub(super) const GATES: &[&str] = &[
    "action",
    "min_energy",
    "max_residual",
    "warn_residual",
    "max_depth_gain",
    "max_depth_rotation_deg",
    "min_fold_correlation",
];
pub(super) const CONTROLS: &[&str] = &[
    "layer_order",
    "layer_mean",
    "first_last",
    "best_layer",
    "untrained",
    "nuisance",
    "multiverse",
    "leave_one_family_out",
    "adaptive",
];
const RANGE: &[&str] = &["from", "to"];
const GRID: &[&str] = &["from", "to", "count"];
pub(super) const ANALYSIS: &[&str] = &["nfas", "encoding", "similarity"];

/// Read the keys of `[analysis.nfas]` alone, over the defaults of `robust`: how other fronts take the same
/// words as a study file and refuse the same ones.
///
/// `place` stands for the table in messages; `has_nuisance` says whether there are nuisance features.
/// Errors: all problems at once, in the order of their lines.
pub fn parse_choices(text: &str, place: &str, has_nuisance: bool) -> Result<NfasSettings, StudyErrors> {
    let sink = Sink::new(text);
    let (document, syntax) = DeTable::parse_recoverable(text);
    for error in &syntax {
        let offset = error.span().map_or(0, |span| span.start);
        sink.push(offset, format!("not valid TOML: {}", error.message()), None);
    }
    let mut settings = NfasSettings::default();
    if syntax.is_empty() {
        let table = Reader::new(document.get_ref(), 0, place.to_owned(), NFAS, &sink);
        read_choices(&table, &mut settings, place);
        let bare = (!has_nuisance).then(|| place.to_owned());
        check_combinations(&table, &settings, Preset::Robust, bare.as_deref());
    }
    let problems = sink.into_problems();
    if problems.is_empty() { Ok(settings) } else { Err(StudyErrors { file: place.to_owned(), problems }) }
}

/// Which analyses a study asks for, and how.
pub(super) struct Analyses {
    /// The choices of `[analysis.nfas]`, and what it shares with the others.
    pub(super) nfas: NfasSettings,
    /// Whether NFAS is asked for: outright, or because nothing else is.
    pub(super) wants_nfas: bool,
    pub(super) encoding: Option<EncodingSettings>,
    pub(super) similarity: Option<SimilaritySettings>,
}

pub(super) fn read_analysis(
    top: &Reader<'_>,
    preset: Preset,
    brain: &[Benchmark],
    models: &[Model],
) -> Analyses {
    let mut s = preset.settings();
    let table = top.get("analysis").and_then(|v| v.table("[analysis]", ANALYSIS));
    let of = |key: &str, place: &str, keys| {
        table.as_ref().and_then(|t| t.get(key)).and_then(|v| v.table(place, keys))
    };
    let nfas = of("nfas", "[analysis.nfas]", NFAS);
    if let Some(t) = &nfas {
        read_choices(t, &mut s, "[analysis.nfas]");
        let bare = brain.iter().find(|b| b.nuisance.is_empty()).map(|b| format!("benchmark `{}`", b.id));
        check_combinations(t, &s, preset, bare.as_deref());
    }
    let of_encoding = of("encoding", "[analysis.encoding]", ENCODING);
    let encoding =
        of_encoding.as_ref().map(|t| read_encoding(t, nfas.as_ref(), &mut s, preset, brain, models));
    let others: Vec<&Reader<'_>> = nfas.iter().chain(&of_encoding).collect();
    let similarity = of("similarity", "[analysis.similarity]", SIMILARITY)
        .map(|t| read_similarity(&t, &others, &mut s, brain, models));
    let wants_nfas = nfas.is_some() || (encoding.is_none() && similarity.is_none());
    Analyses { nfas: s, wants_nfas, encoding, similarity }
}

fn read_choices(t: &Reader<'_>, s: &mut NfasSettings, place: &str) {
    // Tables within are named after the study file's: `[analysis.nfas.gates]`.
    let within = |table: &str| match place.strip_suffix(']') {
        Some(head) => format!("{head}.{table}]"),
        None => place.to_owned(),
    };
    t.form("trajectory", &mut s.trajectory, TRAJECTORY);
    t.form("layer_map", &mut s.layer_map, LAYER_MAP);
    t.count("max_width", &mut s.max_width, 1, 65_536);
    t.flag("align_all", &mut s.align_all);
    read_centring(t, &mut s.centring);
    t.form("reduction", &mut s.reduction, REDUCTION);
    t.form("scale", &mut s.scale, SCALE);
    if s.trajectory == Trajectory::Pooled {
        // Noise of layers shrinks the eigenvalues of least squares; over many pairs this can be undone.
        s.estimator = Estimator::TotalLeastSquares;
    }
    t.form("estimator", &mut s.estimator, ESTIMATOR);
    t.form("rank", &mut s.rank, RANK);
    t.form("modes", &mut s.modes, MODES);
    t.form("amplitude", &mut s.amplitude, AMPLITUDE);
    t.number("tikhonov", &mut s.tikhonov, 0.0, 1e6, "a number from 0 to 1e6");
    t.form("select", &mut s.select, SELECT);
    t.number("eligible_energy", &mut s.eligible_energy, 0.0, 1.0, "a share from 0 to 1");
    t.number("max_gain", &mut s.max_gain, 1.01, 1e12, "a factor from 1.01 to 1e12");
    if let Some(gates) = t.get("gates").and_then(|v| v.table(&within("gates"), GATES)) {
        read_gates(&gates, &mut s.gates);
    }
    t.form("fit_on", &mut s.fit_on, FIT_ON);
    t.form("clock", &mut s.clock, DMD_CLOCK);
    read_design(t, s);
    t.form("encoder", &mut s.encoder, ENCODER);
    t.count("band_candidates", &mut s.band_candidates, 1, 10_000);
    read_alphas(t, &mut s.alphas);
    t.flag("alpha_per_roi", &mut s.alpha_per_roi);
    t.flag("equalize_dim", &mut s.equalize_dim);
    t.count("max_dim", &mut s.max_dim, 1, 65_536);
    t.count("inner_folds", &mut s.inner_folds, 2, 1000);
    t.form("inner_loss", &mut s.inner_loss, INNER_LOSS);
    t.form("score", &mut s.score, SCORE);
    t.form("embedding", &mut s.embedding, EMBEDDING);
    t.form("benchmarks", &mut s.benchmarks, BENCHMARKS);
    read_snci(t, &mut s.snci);
    t.form("convergence_scale", &mut s.convergence_scale, CONVERGENCE_SCALE);
    t.number("convergence_threshold", &mut s.convergence_threshold, 0.0, 1e6, "a number from 0 to 1e6");
    t.form("distance", &mut s.distance, DISTANCE);
    t.form("dispersion_centre", &mut s.dispersion_centre, DISPERSION_CENTRE);
    t.form("dispersion_axes", &mut s.dispersion_axes, DISPERSION_AXES);
    t.form("dispersion_bias", &mut s.dispersion_bias, DISPERSION_BIAS);
    t.count("permutations", &mut s.permutations, 99, 10_000_000);
    t.flag("exact", &mut s.exact);
    t.form("restricted", &mut s.restricted, RESTRICTED);
    t.count("bootstraps", &mut s.bootstraps, 100, 10_000_000);
    t.form("interval", &mut s.interval, INTERVAL);
    t.form("sign_policy", &mut s.sign_policy, SIGN_POLICY);
    t.count("shifts", &mut s.shifts, 99, 10_000_000);
    t.form("multiplicity", &mut s.multiplicity, MULTIPLICITY);
    if let Some(controls) = t.get("controls").and_then(|v| v.table(&within("controls"), CONTROLS)) {
        read_controls(&controls, &mut s.controls);
    }
}

/// What every analysis of a study shares: how rows become samples, how features become predictors, what is held
/// out, and ceilings.
pub(super) fn read_design(t: &Reader<'_>, s: &mut NfasSettings) {
    t.form("resample", &mut s.resample, RESAMPLE);
    t.form("lanczos_weights", &mut s.lanczos_weights, LANCZOS_WEIGHTS);
    t.form("hrf", &mut s.hrf, HRF);
    t.form("hrf_parity", &mut s.hrf_parity, HRF_PARITY);
    read_delays(t, &mut s.delays_s);
    t.flag("drop_padded", &mut s.drop_padded);
    t.form("derivatives", &mut s.derivatives, DERIVATIVES);
    t.form("drift", &mut s.drift, DRIFT);
    t.flag("project_features", &mut s.project_features);
    t.form("outer_folds", &mut s.outer_folds, OUTER_FOLDS);
    t.number("purge_s", &mut s.purge_s, 0.0, 3600.0, "a number of seconds from 0 to 3600");
    t.form("ceiling", &mut s.ceiling, CEILING);
    t.number("min_ceiling", &mut s.min_ceiling, 0.0, 1.0, "a number from 0 to 1");
    t.form("subjects", &mut s.subjects, SUBJECTS);
    if let Some(column) = t.get("networks").and_then(|v| v.text()) {
        s.networks = column;
    }
}

fn read_centring(t: &Reader<'_>, centring: &mut Centring) {
    if let Some(value) = t.get("centring")
        && matches!(value.value.get_ref(), DeValue::String(s) if s == "depth")
    {
        t.problem(
            "centring",
            "`centring = \"depth\"` is refused: without the mean over layers, DMD of a short trajectory is \
             a discrete Fourier transform, and its eigenvalues are roots of unity whatever the data"
                .into(),
            "use `centring = \"stimuli\"`",
        );
        return;
    }
    t.form("centring", centring, CENTRING);
}

fn read_gates(t: &Reader<'_>, gates: &mut Gates) {
    t.form("action", &mut gates.action, GATE_ACTION);
    t.number("min_energy", &mut gates.min_energy, 0.0, 1.0, "a share from 0 to 1");
    t.number("max_residual", &mut gates.max_residual, 0.0, 1e6, "a number of at least 0");
    t.number("warn_residual", &mut gates.warn_residual, 0.0, 1e6, "a number of at least 0");
    t.number("max_depth_gain", &mut gates.max_depth_gain, 1.0, 1e6, "a factor from 1 to 1e6");
    let degrees = "a number of degrees from 0 to 36000";
    t.number("max_depth_rotation_deg", &mut gates.max_depth_rotation_deg, 0.0, 36e3, degrees);
    let correlation = "a correlation from -1 to 1";
    t.number("min_fold_correlation", &mut gates.min_fold_correlation, -1.0, 1.0, correlation);
    if gates.warn_residual > gates.max_residual {
        t.problem(
            "warn_residual",
            format!(
                "`warn_residual` ({}) is above `max_residual` ({}) in [analysis.nfas.gates]",
                gates.warn_residual, gates.max_residual
            ),
            "a warning comes before a failed gate: lower `warn_residual`",
        );
    }
}

fn read_delays(t: &Reader<'_>, delays: &mut SecondsRange) {
    let Some(value) = t.get("delays_s") else { return };
    let Some(table) = value.table("delays_s", RANGE) else { return };
    let seconds = "a number of seconds from 0 to 60";
    table.number("from", &mut delays.from, 0.0, 60.0, seconds);
    table.number("to", &mut delays.to, 0.0, 60.0, seconds);
    if delays.from > delays.to {
        let message = format!("`delays_s` goes from {} to {}", delays.from, delays.to);
        t.problem("delays_s", message, "`from` must not be above `to`");
    }
}

pub(super) fn read_alphas(t: &Reader<'_>, alphas: &mut Alphas) {
    let Some(value) = t.get("alphas") else { return };
    let expected = "an array of penalties, or `{ from = 1e-3, to = 1e6, count = 19 }`";
    match value.value.get_ref() {
        DeValue::Array(_) => {
            let Some(mut list) = read_numbers(&value, 0.0, "a number of at least 0") else { return };
            list.sort_by(f64::total_cmp);
            list.dedup();
            *alphas = Alphas::List(list);
        }
        DeValue::Table(_) => {
            let Some(table) = value.table("alphas", GRID) else { return };
            let (mut from, mut to, mut count) = (1e-3, 1e6, 19);
            table.number("from", &mut from, 1e-300, 1e300, "a number above 0");
            table.number("to", &mut to, 1e-300, 1e300, "a number above 0");
            table.count("count", &mut count, 2, 1000);
            if from >= to {
                let message = format!("`alphas` goes from {from} to {to}");
                t.problem("alphas", message, "`from` must be below `to`");
            }
            *alphas = Alphas::Grid { from, to, count };
        }
        _ => value.wrong(expected, None).unwrap_or(()),
    }
}

fn read_snci(t: &Reader<'_>, kinds: &mut Vec<SnciKind>) {
    let Some(value) = t.get("snci") else { return };
    let found = match value.value.get_ref() {
        DeValue::Array(_) => value
            .items()
            .and_then(|items| items.iter().map(|item| item.form(SNCI)).collect::<Option<Vec<_>>>()),
        _ => value.form(SNCI).map(|kind| vec![kind]),
    };
    let Some(found) = found else { return };
    if (1..found.len()).any(|i| found[..i].contains(&found[i])) {
        value.wrong("each kind once", None).unwrap_or(());
    }
    *kinds = found;
}

fn read_controls(t: &Reader<'_>, controls: &mut Controls) {
    t.count("layer_order", &mut controls.layer_order, 0, 10_000);
    t.flag("layer_mean", &mut controls.layer_mean);
    t.flag("first_last", &mut controls.first_last);
    t.flag("best_layer", &mut controls.best_layer);
    t.flag("untrained", &mut controls.untrained);
    t.flag("nuisance", &mut controls.nuisance);
    t.flag("multiverse", &mut controls.multiverse);
    t.flag("leave_one_family_out", &mut controls.leave_one_family_out);
    t.flag("adaptive", &mut controls.adaptive);
}

/// Two choices that exclude each other; told where the user wrote one of them.
fn contradict(t: &Reader<'_>, preset: Preset, first: &str, second: &str, reason: &str, hint: &str) {
    let (written, other) = if t.get(first).is_some() { (first, second) } else { (second, first) };
    let origin =
        if t.get(other).is_some() { String::new() } else { format!(" (from preset `{}`)", preset.name()) };
    t.problem(written, format!("`{written}` contradicts `{other}`{origin}: {reason}"), hint);
}

/// Choices of [`read_design`] that exclude each other.
pub(super) fn check_design(t: &Reader<'_>, s: &NfasSettings, preset: Preset) {
    let contradict = |first: &str, second: &str, reason: &str, hint: &str| {
        contradict(t, preset, first, second, reason, hint);
    };
    if s.derivatives != Derivatives::None && !matches!(s.hrf, Hrf::Spm | Hrf::Glover) {
        let reason = "derivatives belong to a convolved response";
        contradict("derivatives", "hrf", reason, "set `hrf = \"spm\"` or `hrf = \"glover\"`");
    }
    if s.hrf_parity == HrfParity::Nilearn && !matches!(s.hrf, Hrf::Spm | Hrf::Glover) {
        let reason = "nilearn's numerics are those of a convolved response";
        contradict("hrf_parity", "hrf", reason, "set `hrf = \"spm\"` or `hrf = \"glover\"`");
    }
    if s.drop_padded && !matches!(s.hrf, Hrf::Auto | Hrf::Fir) {
        let reason = "only delays are padded";
        contradict("drop_padded", "hrf", reason, "set `hrf = \"fir\"`, or leave `drop_padded` out");
    }
    if s.lanczos_weights != LanczosWeights::Auto && s.resample == Resample::Box {
        let reason = "box averages have no such weights";
        contradict("lanczos_weights", "resample", reason, "set `resample = \"lanczos\"`");
    }
}

/// Choices that exclude each other; the place is the one that the user wrote. `bare` has no nuisance features.
fn check_combinations(t: &Reader<'_>, s: &NfasSettings, preset: Preset, bare: Option<&str>) {
    let contradict = |first: &str, second: &str, reason: &str, hint: &str| {
        contradict(t, preset, first, second, reason, hint);
    };
    if s.ceiling == CeilingRule::None && s.score == Score::Ceiling {
        let reason = "a score over the ceiling needs a ceiling";
        contradict("score", "ceiling", reason, "set `ceiling = \"auto\"`, or `score = \"debiased\"`");
    }
    if s.ceiling == CeilingRule::None && s.embedding == Embedding::Ceiling {
        let reason = "coordinates over the ceiling need a ceiling";
        contradict("embedding", "ceiling", reason, "set `ceiling = \"auto\"`, or `embedding = \"score\"`");
    }
    if s.amplitude == Amplitude::Modulus && s.trajectory != Trajectory::Sample {
        let reason = "the modulus of a mode is not linear in the layers and is offered per sample only";
        contradict("amplitude", "trajectory", reason, "set `trajectory = \"sample\"`");
    }
    if matches!(s.estimator, Estimator::ReducedRank { .. }) && s.trajectory != Trajectory::Pooled {
        let reason = "reduced-rank regression is for the pooled trajectory only";
        contradict("estimator", "trajectory", reason, "set `trajectory = \"pooled\"`");
    }
    if s.estimator == Estimator::TotalLeastSquares
        && s.rank == RankRule::Full
        && s.trajectory != Trajectory::Pooled
    {
        let reason = "total least squares needs a rank below the number of layers minus one";
        contradict("estimator", "rank", reason, "set `rank = \"energy:0.99\"`");
    }
    if s.layer_map == LayerMap::Kernel && s.trajectory != Trajectory::Stacked {
        let reason = "kernels of layers have no single samples";
        contradict("layer_map", "trajectory", reason, "set `trajectory = \"stacked\"`");
    }
    if s.trajectory != Trajectory::Stacked {
        check_trajectory(s, &contradict);
    }
    check_design(t, s, preset);
    if let (Encoder::Banded, Some(bare)) = (s.encoder, bare) {
        t.problem(
            "encoder",
            format!(
                "`encoder = \"banded\"` needs nuisance features as a band of their own, but {bare} names none"
            ),
            "add `nuisance = [{ name = \"loudness\", file = \"loudness.npy\" }]` to it, or use `ridge`",
        );
    }
    if s.embedding == Embedding::Response
        && s.distance != Distance::Correlation
        && t.get("distance").is_some()
    {
        let reason = "predicted responses are compared by their correlation";
        contradict(
            "embedding",
            "distance",
            reason,
            "leave `distance` out, or set `distance = \"correlation\"`",
        );
    }
    if s.encoder == Encoder::Banded && !s.alpha_per_roi {
        let reason = "weights of bands and penalties are chosen together, ROI by ROI";
        contradict(
            "encoder",
            "alpha_per_roi",
            reason,
            "set `alpha_per_roi = true`, or `encoder = \"ridge\"`",
        );
    }
}

/// Trajectories of single samples have fewer estimators, ranks and scales than the stacked one.
fn check_trajectory(s: &NfasSettings, contradict: &dyn Fn(&str, &str, &str, &str)) {
    let pooled = s.trajectory == Trajectory::Pooled;
    let estimator_fits = match s.estimator {
        Estimator::Standard => true,
        Estimator::TotalLeastSquares | Estimator::ReducedRank { .. } => pooled,
        _ => false,
    };
    if !estimator_fits {
        let (reason, hint) = if pooled {
            (
                "one operator for all samples is estimated by least squares, total least squares or reduced rank",
                "set `estimator = \"total_least_squares\"`, `\"standard\"` or `\"reduced_rank:1e-6\"`",
            )
        } else {
            (
                "the spectra of single samples have the standard estimator only",
                "set `estimator = \"standard\"`",
            )
        };
        contradict("estimator", "trajectory", reason, hint);
    }
    if !matches!(s.rank, RankRule::Energy(_) | RankRule::Fixed(_) | RankRule::Full) {
        let reason = "the rank of trajectories of samples is a share of energy, fixed or full";
        contradict("rank", "trajectory", reason, "set `rank = \"energy:0.99\"`");
    }
    if s.scale == Scale::Pair {
        let reason = "pairs of layers are weighted in the stacked trajectory only";
        contradict("scale", "trajectory", reason, "set `scale = \"frobenius\"` or `\"none\"`");
    }
    if s.modes != ModeForm::Projected {
        let reason = "exact modes belong to the stacked trajectory";
        contradict("modes", "trajectory", reason, "set `modes = \"projected\"`");
    }
    if s.tikhonov != 0.0 {
        let reason = "the Tikhonov term belongs to the stacked trajectory";
        contradict("tikhonov", "trajectory", reason, "set `tikhonov = 0`");
    }
    if pooled && !matches!(s.amplitude, Amplitude::Optimal | Amplitude::First | Amplitude::Modulus) {
        let reason = "the pooled projector is applied to the mean of the layers, or to the first one";
        contradict("amplitude", "trajectory", reason, "set `amplitude = \"optimal\"` or `\"first\"`");
    }
}
