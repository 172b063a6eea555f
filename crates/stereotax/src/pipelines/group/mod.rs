//! Compare groups of models in a space of ROIs: coordinates, consistency, tests, convergence, controls.
//!
//! A space is one set of ROIs on which several models were scored. Scores are models × ROIs. For each
//! representation among `stable_mode`, `adaptive` and `layer_mean` that was scored:
//!
//! - coordinates: the models in the plane that shows most of their distances, with bootstrap regions;
//! - consistency: SNCI per modality and ROI, and where all modalities have it at once;
//! - tests: do modalities lie apart, and does that survive other distances and leaving out a family;
//! - max-T: significance of every model in every ROI, adjusted over all of them.
//!
//! Once per space: controls, that is what else would score as well as the claim.
//!
//! Group statistics go on: what cannot be computed is NaN, with the reason in `status`. Trained models
//! take part; for `stable_mode` only those with a stable mode. Models lack one for a reason and not at
//! random, so the tests run on `adaptive` and `layer_mean` too, where every model takes part.
//! Everything is computed in the order of names: the order of models and ROIs changes no number.
//!
//! Source: specs: nfas-dmd 9–13. Cost: that of the permutations, O(permutations·models²) per test, and of
//! the bootstrap, O(draws·models·ROIs).

mod comparisons;
mod consistency;
mod controls;
mod coordinates;
#[cfg(test)]
mod planted;
mod significance;
mod space;
mod table;

use std::sync::Arc;

use faer::Mat;

use crate::data::{Error, Monitor, Result};
use crate::stats::convergence::ConvergenceScale;
use crate::stats::distance::DistanceKind;
use crate::stats::permdisp::{BiasFactor, Centre, NegativeAxes};
use crate::stats::score::ScoreKind;
use crate::stats::snci::{Interval, SignPolicy, SnciKind};
pub use space::{ModelScores, ScoredModel, SpaceRois, space_of};
use table::{Space, Table};

/// One set of ROIs shared by several models, and how well each model does there.
#[derive(Debug, Clone)]
pub struct SpaceInput {
    /// Name of the space.
    pub space: String,
    /// Names of the ROIs, all different.
    pub rois: Vec<String>,
    /// Network of each ROI, if it has one.
    pub networks: Vec<Option<String>>,
    /// Whether an ROI is left out because its ceiling is too low, for all modalities alike.
    pub masked: Vec<bool>,
    /// Noise ceiling per ROI as a correlation, over all benchmarks; NaN where there is none.
    pub ceilings: Vec<f64>,
    /// Noise ceiling of what each model was scored on, as a correlation (models × ROIs; NaN where there is
    /// none). `None`: `ceilings` holds for all models; benchmarks then cannot be told apart by ceiling.
    pub model_ceilings: Option<Mat<f64>>,
    /// The models; names all different.
    pub models: Vec<ModelInfo>,
    /// What was scored, one entry per representation.
    pub scores: Vec<RepresentationScores>,
}

/// What is known of a model besides its scores.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ModelInfo {
    /// Name.
    pub name: String,
    /// Modality: the groups that are compared.
    pub modality: String,
    /// Family: models of one family are not independent witnesses.
    pub family: String,
    /// Benchmark it was scored on; several are joined by `+`.
    pub benchmark: String,
    /// Whether its weights were trained; untrained models are controls only.
    pub trained: bool,
    /// The trained model of which this one is the untrained twin.
    pub twin_of: Option<String>,
    /// Whether it has a stable mode, and so a point in the space.
    pub verdict: PointStatus,
}

/// Whether a model has a point in the space of the stable mode.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PointStatus {
    /// It has.
    Placed,
    /// It has not, for this reason (in words: "no stable mode: it turns by 84° over the depth").
    NoPoint(String),
}

/// The scores of one representation.
#[derive(Debug, Clone)]
pub struct RepresentationScores {
    /// `stable_mode`, `adaptive`, `layer_mean`, `first_layer`, `last_layer`, `best_layer`, `pod`,
    /// `shuffled_01` and on, or `nuisance:NAME`.
    pub representation: String,
    /// Score averaged over subjects (models × ROIs); NaN where undefined.
    pub score: Mat<f64>,
    /// Correlation averaged over subjects (models × ROIs); NaN where undefined.
    pub r: Mat<f64>,
    /// Bootstrap draws of the score per model (draws × ROIs); the same draw resamples the same for all
    /// models of a benchmark.
    pub draws: Vec<Option<Arc<Mat<f32>>>>,
    /// Null draws of r averaged over subjects, per model (draws × ROIs, draw after draw); the same draw
    /// moves the same samples everywhere.
    pub null: Vec<Option<Arc<Vec<f32>>>>,
    /// The scores of each benchmark of the space; needed for [`GroupParams::concatenate`] only, and may be
    /// empty otherwise.
    pub by_benchmark: Vec<BenchmarkScores>,
    /// Predicted responses per model; needed for [`CoordinateKind::Response`] only, and may be empty
    /// otherwise.
    pub responses: Vec<Option<PredictedResponses>>,
}

/// Scores on one benchmark of a space.
#[derive(Debug, Clone)]
pub struct BenchmarkScores {
    /// Name of the benchmark.
    pub benchmark: String,
    /// Models × ROIs; NaN where a model was not scored on it.
    pub score: Mat<f64>,
    /// Noise ceiling per ROI, as a correlation; NaN where there is none.
    pub ceilings: Vec<f64>,
}

/// Out-of-fold predictions of the group's responses.
#[derive(Debug, Clone)]
pub struct PredictedResponses {
    /// What the rows are: predictions are compared only where these names are equal.
    pub stimuli: String,
    /// Samples × ROIs, averaged over subjects.
    pub values: Arc<Mat<f32>>,
}

/// What the coordinates of a model are (specs: nfas-dmd 10).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CoordinateKind {
    /// Its scores (the default).
    #[default]
    Score,
    /// Its scores, standardised over models.
    Z,
    /// The ranks of its ROIs (ties share their mean rank).
    Rank,
    /// Its scores divided by the squared ceilings of what it was scored on.
    Ceiling,
    /// Its predicted responses: the distance of two models is always 1 − the correlation of their
    /// predictions over samples × ROIs, each ROI's mean taken out. Indices and analyses of variance stay
    /// with scores.
    Response,
}

impl CoordinateKind {
    /// The word of the study file.
    pub fn name(self) -> &'static str {
        match self {
            CoordinateKind::Score => "score",
            CoordinateKind::Z => "z",
            CoordinateKind::Rank => "rank",
            CoordinateKind::Ceiling => "ceiling",
            CoordinateKind::Response => "response",
        }
    }
}

/// Who may exchange modality labels in a permutation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Restriction {
    /// Every model by itself.
    Free,
    /// Families as wholes (the default): models of a family are not independent witnesses.
    #[default]
    Family,
    /// Models within their benchmark.
    Strata,
}

/// How the consistency of a modality's models is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Consistency {
    /// An index per ROI.
    Index(SnciKind),
    /// Mean correlation between the ROI profiles of models: one number per modality.
    Profile,
    /// ICC(3,1) between the ROI profiles of models (Shrout & Fleiss 1979): one number per modality.
    ProfileIcc,
    /// Variance over ROIs of the mean profile over the mean variance between models: one number per
    /// modality.
    ProfileSnr,
}

impl Consistency {
    /// The word of the study file.
    pub fn name(self) -> &'static str {
        match self {
            Consistency::Index(SnciKind::Snr) => "snr",
            Consistency::Index(SnciKind::Bounded) => "bounded",
            Consistency::Index(SnciKind::Snr2) => "snr2",
            Consistency::Index(SnciKind::SnrC4) => "snr_c4",
            Consistency::Index(SnciKind::Debiased) => "debiased",
            Consistency::Index(SnciKind::TStat) => "tstat",
            Consistency::Profile => "profile",
            Consistency::ProfileIcc => "profile_icc",
            Consistency::ProfileSnr => "profile_snr",
        }
    }
}

/// How p-values of many models and ROIs are adjusted together (specs: nfas-dmd 11.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Multiplicity {
    /// Not at all.
    None,
    /// Step-down max-T on the common draws (the default): the chance of any false claim.
    #[default]
    MaxT,
    /// Holm's method: the same, from p-values alone.
    Holm,
    /// Benjamini–Hochberg: the share of false claims.
    Bh,
    /// Benjamini–Yekutieli: the same under any dependence.
    By,
}

impl Multiplicity {
    /// The word of the study file.
    pub fn name(self) -> &'static str {
        match self {
            Multiplicity::None => "none",
            Multiplicity::MaxT => "max_t",
            Multiplicity::Holm => "holm",
            Multiplicity::Bh => "bh",
            Multiplicity::By => "by",
        }
    }
}

/// How groups are compared.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct GroupParams {
    /// What the scores are, so that none is divided by its ceiling twice (default `R2`).
    pub score: ScoreKind,
    /// What the coordinates of a model are (default `Score`).
    pub embedding: CoordinateKind,
    /// Coordinates are scores per benchmark and ROI instead of their means over benchmarks, where there are
    /// several (default false).
    pub concatenate: bool,
    /// Distance between models (default `Euclidean`).
    pub distance: DistanceKind,
    /// Permutations per test (default 9999).
    pub n_permutations: usize,
    /// Visit all relabellings where there are at most 100 000 (default true).
    pub exact: bool,
    /// Who may exchange labels (default `Family`). Where that leaves no p-value of 0.05 or below, models
    /// are exchanged freely, and `status` says so.
    pub restricted: Restriction,
    /// Kinds of consistency (default SNR and debiased); the first index is that of the convergence map.
    pub snci: Vec<Consistency>,
    /// Bootstrap draws over families for consistency (default 2000; 0: no intervals).
    pub n_bootstraps: usize,
    /// How the intervals of consistency are read off these draws (default percentile). Intervals of the
    /// convergence map are percentile ones always: a minimum over modalities has no jackknife.
    pub interval: Interval,
    /// What squared kinds of consistency do with a negative mean score (default zero).
    pub sign_policy: SignPolicy,
    /// How p-values of models × ROIs are adjusted (default max-T).
    pub multiplicity: Multiplicity,
    /// Coverage of all intervals (default 0.95).
    pub level: f64,
    /// Modalities with fewer models take no part in tests (default 2: one model has no spread).
    pub min_models: usize,
    /// What an index must exceed in all modalities, on the scale of the first index (default 1: for the
    /// signal-to-noise ratio, the mean exceeds the spread).
    pub convergence_threshold: f64,
    /// What the convergence map takes the least of (default the index itself).
    pub convergence_scale: ConvergenceScale,
    /// Centre of PERMDISP (default the spatial median).
    pub dispersion_centre: Centre,
    /// Negative axes of PERMDISP (default subtracted).
    pub dispersion_axes: NegativeAxes,
    /// Bias factor of PERMDISP (default none).
    pub dispersion_bias: BiasFactor,
    /// Repeat PERMANOVA without each family in turn (default true).
    pub leave_one_family_out: bool,
    /// Shuffles of the layer order that were asked for; fewer are reported (default 0: not known).
    pub expected_n_shuffles: usize,
    /// Seed of permutations and bootstraps (default 0).
    pub seed: u64,
}

impl Default for GroupParams {
    fn default() -> Self {
        GroupParams {
            score: ScoreKind::R2,
            embedding: CoordinateKind::Score,
            concatenate: false,
            distance: DistanceKind::Euclidean,
            n_permutations: 9999,
            exact: true,
            restricted: Restriction::Family,
            snci: vec![Consistency::Index(SnciKind::Snr), Consistency::Index(SnciKind::Debiased)],
            n_bootstraps: 2000,
            interval: Interval::Percentile,
            sign_policy: SignPolicy::Zero,
            multiplicity: Multiplicity::MaxT,
            level: 0.95,
            min_models: 2,
            convergence_threshold: 1.0,
            convergence_scale: ConvergenceScale::Snci,
            dispersion_centre: Centre::SpatialMedian,
            dispersion_axes: NegativeAxes::Subtract,
            dispersion_bias: BiasFactor::None,
            leave_one_family_out: true,
            expected_n_shuffles: 0,
            seed: 0,
        }
    }
}

/// Where a model lies in the plane.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct CoordinateRow {
    /// Space.
    pub space: String,
    /// Representation.
    pub representation: String,
    /// What the coordinates were before they were drawn ([`CoordinateKind::name`]).
    pub embedding: String,
    /// Model.
    pub model: String,
    /// Its modality.
    pub modality: String,
    /// Its family.
    pub family: String,
    /// Place on the axis that shows most.
    pub x: f64,
    /// Place on the next axis.
    pub y: f64,
    /// Standard deviation of x over bootstrap draws of the stimuli, after alignment.
    pub sd_x: f64,
    /// Standard deviation of y.
    pub sd_y: f64,
    /// Covariance of x and y.
    pub cov_xy: f64,
    /// Share of the squared distances that x shows.
    pub explained_x: f64,
    /// Share that y shows.
    pub explained_y: f64,
    /// `ok`, or why something is undefined.
    pub status: String,
}

/// Consistency of a modality in an ROI.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct SnciRow {
    /// Space.
    pub space: String,
    /// Representation.
    pub representation: String,
    /// Modality.
    pub modality: String,
    /// ROI; `(median)` over unmasked ROIs, `(network) NAME`, or `(profile)` for kinds of one number.
    pub roi: String,
    /// Kind ([`Consistency::name`]).
    pub kind: String,
    /// The index; high = the models agree on a high score.
    pub value: f64,
    /// Lower end of the interval over families.
    pub lower: f64,
    /// Upper end.
    pub upper: f64,
    /// Mean score over the models (μ): what the index divides.
    pub mean: f64,
    /// Standard deviation over the models (s, n − 1).
    pub sd: f64,
    /// Models with a score.
    pub n_models: usize,
    /// Families of the modality's models.
    pub n_families: usize,
    /// `ok`, or why something is undefined.
    pub status: String,
}

/// How much one model moves the consistency of its modality.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct InfluenceRow {
    /// Space.
    pub space: String,
    /// Representation.
    pub representation: String,
    /// Modality.
    pub modality: String,
    /// Model.
    pub model: String,
    /// ROI, or `(median)` over unmasked ROIs.
    pub roi: String,
    /// Kind ([`Consistency::name`]).
    pub kind: String,
    /// The index with all models minus the index without this one.
    pub influence: f64,
    /// `ok`, or why it is undefined.
    pub status: String,
}

/// Whether all modalities are consistent in an ROI.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct ConvergenceRow {
    /// Space.
    pub space: String,
    /// Representation.
    pub representation: String,
    /// ROI.
    pub roi: String,
    /// Its network.
    pub network: Option<String>,
    /// The least index over modalities.
    pub convergence: f64,
    /// Lower end of its interval over families.
    pub lower: f64,
    /// Upper end.
    pub upper: f64,
    /// Modalities with an index.
    pub n_modalities: usize,
    /// Whether the index exceeds the threshold in all modalities; `None` where it is undefined.
    pub all_above: Option<bool>,
    /// The threshold.
    pub threshold: f64,
    /// `ok`, or why something is undefined.
    pub status: String,
}

/// One test of one contrast.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct TestRow {
    /// Space.
    pub space: String,
    /// Representation.
    pub representation: String,
    /// `permanova`, `permanova_f2`, `permanova_pairwise`, `permanova_without_family`, `permdisp`,
    /// `silhouette`, `anova`, `anova_pairwise`, `anova_tukey` or `anova_two_way`.
    pub test: String,
    /// What is compared.
    pub contrast: String,
    /// Name of the statistic.
    pub statistic_name: String,
    /// The statistic.
    pub statistic: f64,
    /// Share of the sum of squares between groups (η² for analyses of variance).
    pub r2: f64,
    /// R² without its bias.
    pub omega2: f64,
    /// Permutation p-value.
    pub p: f64,
    /// p-value adjusted as `adjustment` says; equal to `p` for `none`.
    pub p_adj: f64,
    /// `none`, `holm` or `tukey`.
    pub adjustment: String,
    /// Relabellings visited, without the observed one.
    pub n_permutations: usize,
    /// Whether these are all there are.
    pub exact: bool,
    /// Models compared.
    pub n_objects: usize,
    /// Whether the exchange of labels was restricted to families or benchmarks.
    pub restricted: bool,
    /// `ok`, or why something is undefined or must be read with care.
    pub status: String,
}

/// A claim beside one of its controls.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct ControlRow {
    /// Space.
    pub space: String,
    /// Model.
    pub model: String,
    /// Its modality.
    pub modality: String,
    /// The representation whose score is the claim: `stable_mode` or `adaptive`.
    pub claim_representation: String,
    /// The control: a representation, `shuffled_order`, `untrained_twin`, or `best_other:NAME`.
    pub control: String,
    /// Mean score of the claim over the unmasked ROIs where both are defined.
    pub claim: f64,
    /// Mean score of the control over the same ROIs.
    pub value: f64,
    /// claim − value.
    pub difference: f64,
    /// Lower end of the paired bootstrap interval of the difference.
    pub lower: f64,
    /// Upper end.
    pub upper: f64,
    /// Two-sided bootstrap p-value of a difference of zero; for `shuffled_order` the share of shuffles that
    /// score at least as high.
    pub p: f64,
    /// ROIs averaged over.
    pub n_rois: usize,
    /// `ok`, or why something is undefined.
    pub status: String,
}

/// Significance of one model in one ROI, adjusted over all models and unmasked ROIs of the representation.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct MaxTRow {
    /// Space.
    pub space: String,
    /// Representation.
    pub representation: String,
    /// Model.
    pub model: String,
    /// ROI.
    pub roi: String,
    /// p-value of r being this large by chance, from the draws that all models have.
    pub p: f64,
    /// Adjusted by step-down max-T; NaN where r is undefined or the ROI is masked, as all that follow.
    pub p_max_t: f64,
    /// Benjamini–Hochberg q-value.
    pub q_bh: f64,
    /// Benjamini–Yekutieli q-value.
    pub q_by: f64,
    /// Adjusted as [`GroupParams::multiplicity`] says.
    pub p_adj: f64,
    /// Draws used.
    pub n_permutations: usize,
}

/// How much a warning matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Good to know.
    Note,
    /// Changes how a result must be read.
    Warning,
    /// May explain a result away.
    Serious,
}

/// Something the reader of the results must know.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Warning {
    /// How much it matters.
    pub severity: Severity,
    /// A stable word for programs.
    pub code: String,
    /// What it is, what it means, and what to do.
    pub text: String,
}

/// All group results, in the order of names.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct GroupResult {
    /// Models in the plane.
    pub coordinates: Vec<CoordinateRow>,
    /// Consistency.
    pub snci: Vec<SnciRow>,
    /// How much each model moves it.
    pub influence: Vec<InfluenceRow>,
    /// Convergence of the modalities.
    pub convergence: Vec<ConvergenceRow>,
    /// Tests.
    pub tests: Vec<TestRow>,
    /// Controls.
    pub controls: Vec<ControlRow>,
    /// Significance per model and ROI.
    pub max_t: Vec<MaxTRow>,
    /// What must be known when reading.
    pub warnings: Vec<Warning>,
}

/// The representations whose groups are compared.
pub(super) const GROUPED: [&str; 3] = ["stable_mode", "adaptive", "layer_mean"];

/// Compare the groups of models in each space.
///
/// Errors: tables whose shapes do not agree, names that occur twice, infinite scores, a level outside (0, 1),
/// or a request to stop. Whatever else cannot be computed is NaN with its reason in `status`.
pub fn compare_groups(spaces: &[SpaceInput], params: &GroupParams, monitor: &Monitor) -> Result<GroupResult> {
    if !(params.level > 0.0 && params.level < 1.0) {
        return Err(Error::Invalid {
            what: "level".into(),
            expected: "between 0 and 1".into(),
            found: params.level.to_string(),
            hint: "0.95 is customary".into(),
        });
    }
    let mut order: Vec<&SpaceInput> = spaces.iter().collect();
    order.sort_by(|a, b| a.space.cmp(&b.space));
    let mut result = GroupResult::default();
    for input in order {
        let space = Space::new(input)?;
        let confound = comparisons::benchmarks_apart(&space);
        result.warnings.extend(space.missing_points());
        result.warnings.extend(confound.warning(&space));
        for name in GROUPED {
            let Some(scores) = space.representation(name) else { continue };
            let table = Table::new(&space, scores);
            result.warnings.extend(table.warnings());
            result.coordinates.extend(coordinates::coordinates(&table, params, monitor)?);
            let consistency = consistency::consistency(&table, params, monitor)?;
            result.snci.extend(consistency.snci);
            result.influence.extend(consistency.influence);
            result.convergence.extend(consistency.convergence);
            let compared = comparisons::comparisons(&table, &confound, params, monitor)?;
            result.tests.extend(compared.tests);
            result.warnings.extend(compared.warnings);
        }
        let mut with_null: Vec<&RepresentationScores> = input.scores.iter().collect();
        with_null.sort_by(|a, b| a.representation.cmp(&b.representation));
        for scores in with_null {
            monitor.check()?;
            let adjusted = significance::max_t_rows(&space, scores, params.multiplicity)?;
            result.max_t.extend(adjusted.rows);
            result.warnings.extend(adjusted.warning);
        }
        result.controls.extend(controls::controls(&space, params));
    }
    Ok(result)
}

/// What a statistic gave, or why it gave nothing; a request to stop goes through.
fn settle<T>(outcome: Result<T>) -> Result<std::result::Result<T, String>> {
    match outcome {
        Ok(value) => Ok(Ok(value)),
        Err(Error::Cancelled) => Err(Error::Cancelled),
        Err(error) => Ok(Err(error.to_string().lines().next().unwrap_or("undefined").to_owned())),
    }
}

/// `ok`, or the reasons.
fn status_of(notes: &[String]) -> String {
    if notes.is_empty() { "ok".into() } else { notes.join("; ") }
}
