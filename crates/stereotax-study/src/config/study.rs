//! Hold what a study file says, every default written out.
//!
//! The serialised form is canonical: field order is the order below, enums are snake_case words. The
//! JSON of these structs goes into the keys of results, so a renamed or moved field is a new version
//! of every result. Sources: specs nfas-dmd 3, 5.8, 6, 8–11, 13 and the register of section 20.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use stereotax::dynamics::{Amplitude, Estimator, ModeForm, RankRule, Reduction, Selection};
use stereotax::pipelines::ceilings::CeilingRule;

/// A whole study.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Study {
    /// Name of the study, for titles.
    pub name: String,
    /// Seed of everything random. Default 0.
    pub seed: u64,
    /// Where the defaults of `analysis` come from. Default `robust`.
    pub preset: Preset,
    /// What is simulated, if the data are no recordings; the report shows it on top of every page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub simulated: Option<String>,
    /// What was shown or played.
    pub stimuli: Vec<StimulusSet>,
    /// What brains did.
    pub brain: Vec<Benchmark>,
    /// What networks computed.
    pub models: Vec<Model>,
    /// How the two are compared: the choices of NFAS, and those that it shares with other analyses.
    pub analysis: NfasSettings,
    /// Whether NFAS is asked for: outright, or because nothing else is.
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub wants_nfas: bool,
    /// How every target is encoded from every layer, if it is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoding: Option<EncodingSettings>,
    /// How layers are compared with brain areas, if it is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub similarity: Option<SimilaritySettings>,
}

fn yes() -> bool {
    true
}

fn is_true(flag: &bool) -> bool {
    *flag
}

/// A named set of defaults for [`NfasSettings`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Preset {
    /// A reconstruction of the published method from its public description. It is not a
    /// replication: formulas that the paper leaves open are filled with the plainest reading.
    PaperLiteral,
    /// The register's defaults with ceilings, debiased scores, gates and all controls.
    Robust,
}

/// Stimuli that models and brains share.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StimulusSet {
    /// Name by which benchmarks and activations refer to this set.
    pub id: String,
    /// CSV with column `stimulus_id`, and `run`, `onset_s`, `duration_s` for time series.
    pub ids: PathBuf,
    /// What the resampling plan may move. Default `stimulus`.
    pub blocks: Blocks,
    /// Seconds at the start of every run that are left out. Default 0.
    pub trim_start_s: f64,
    /// Seconds at the end of every run that are left out. Default 0.
    pub trim_end_s: f64,
}

/// The unit that resampling moves; nothing smaller is ever drawn alone.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Blocks {
    /// Single stimuli: they must be exchangeable.
    Stimulus,
    /// Whole runs.
    Run,
    /// Stretches of this length inside a run: `segment:20s`.
    Segment {
        /// Length in seconds, > 0.
        seconds: f64,
    },
}

/// Brain responses to one stimulus set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Benchmark {
    /// Name of the benchmark (key `benchmark`).
    pub id: String,
    /// Id of the stimulus set.
    pub stimuli: String,
    /// Modality of the stimulation, as a word.
    pub modality: String,
    /// Models of these modalities are placed on this benchmark; empty means every model that has
    /// activations for its stimuli.
    pub model_modalities: Vec<String>,
    /// What one row of the responses is. Default `stimulus`.
    pub clock: Clock,
    /// At least one.
    pub subjects: Vec<Subject>,
    /// Names (and places) of the target columns; without it they are numbered.
    pub rois: Option<ArraySource>,
    /// Seconds after the onset of a stimulus, one per point of the axis `time` of the responses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<ArraySource>,
    /// Name of the atlas, for the record.
    pub atlas: Option<String>,
    /// Surface meshes for maps, one per hemisphere.
    pub surface: Vec<Surface>,
    /// Label volume for maps; without it, that of the responses, where they are volumes.
    pub volume: Option<PathBuf>,
    /// Rows follow the order of the stimulus file; otherwise they are matched by id. Default false.
    pub by_order: bool,
    /// Low-level features of the stimuli, to be controlled for.
    pub nuisance: Vec<Nuisance>,
    /// Whether target columns are voxels. Default `no`.
    pub voxels: Voxels,
    /// What stands for the voxels of an ROI, where labels say which they are. Default `mean`.
    pub roi_summary: RoiSummary,
    /// Whether a label volume on another grid may be brought to that of the data, by nearest neighbours.
    pub resample_labels: bool,
}

/// What stands for the voxels of an ROI (specs: nfas-dmd 8.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RoiSummary {
    /// Their mean.
    Mean,
    /// Their first principal component after cleaning, signed to correlate with the mean.
    FirstPc,
}

/// What one row of a response array is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Clock {
    /// The response to one stimulus: no haemodynamics, no delays.
    Stimulus,
    /// One volume of a time series.
    Tr {
        /// Seconds per volume, > 0.
        tr_s: f64,
    },
}

/// One person's (or a group's) responses.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Subject {
    /// Name of the subject, unique in its benchmark.
    pub id: String,
    /// File with the response array.
    pub responses: PathBuf,
    /// Further files, whose rows follow: one per run, in order of time.
    pub further: Vec<PathBuf>,
    /// Name of the array in the file; may be left out where the file holds one array.
    pub key: Option<String>,
    /// Where the rows' stimulus ids stand; otherwise they come with the responses, or `by_order` says
    /// that none are needed.
    pub ids: Option<ArraySource>,
    /// What the axes of the array are, in order. Default `[stimulus, target]`.
    pub axes: Vec<Axis>,
    /// Where repeated presentations are. Default `axis` where `axes` names one, else `none`.
    pub repeats: Repeats,
    /// Confounds of a time series (motion, physiology), one row per row of the responses; taken out of
    /// every run with the drift.
    pub confounds: Option<ArraySource>,
}

/// One axis of a response array.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Axis {
    /// Stimuli, or volumes of a time series.
    Stimulus,
    /// ROIs or voxels.
    Target,
    /// Repeated presentations of the same stimulus.
    Repeat,
    /// Times after the onset of the stimulus.
    Time,
}

/// Where repeated presentations are found; ceilings are estimated from them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Repeats {
    /// There are none.
    None,
    /// Along the axis `repeat` of the response array.
    Axis,
    /// As several rows with the same stimulus id.
    Rows,
    /// In another array of the same file (stimulus × target × repeat): `key:NAME`.
    Key {
        /// Name of that array.
        key: String,
    },
}

/// A table or an array: a file of its own, or a named array in the file of the data it describes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ArraySource {
    /// A file, with the name of the array or column where it holds several.
    File {
        /// The file.
        file: PathBuf,
        /// Name of the array or column in it.
        key: Option<String>,
    },
    /// An array in the data's own file.
    Key {
        /// Name of the array.
        key: String,
    },
}

/// One surface mesh.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Surface {
    /// Which hemisphere it shows; `None` for a mesh of both.
    pub hemisphere: Option<Hemisphere>,
    /// Vertex coordinates (vertices × 3).
    pub vertices: PathBuf,
    /// Triangles as vertex numbers (triangles × 3); `None`: in the file of the vertices.
    pub faces: Option<PathBuf>,
    /// ROI of each vertex.
    pub labels: PathBuf,
}

/// Side of the brain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hemisphere {
    /// Left.
    Left,
    /// Right.
    Right,
}

/// Low-level features of the stimuli (loudness, word rate, luminance …).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nuisance {
    /// Name, unique in its benchmark; appears as representation `nuisance:NAME`.
    pub name: String,
    /// File with one row per row of the responses.
    pub file: PathBuf,
    /// Name of the array in the file.
    pub key: Option<String>,
}

/// Whether the target columns of the responses are voxels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Voxels {
    /// They are ROIs already.
    No,
    /// They are voxels, each scored by itself.
    Each,
    /// They are voxels, averaged within the ROI that the labels give them.
    Labels(ArraySource),
}

/// One network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Model {
    /// Name, unique in the study.
    pub name: String,
    /// Modality of the network, as a word.
    pub modality: String,
    /// Models of one family are not independent: they are moved together by permutations and drawn
    /// together by bootstraps.
    pub family: String,
    /// Default true.
    pub trained: bool,
    /// Name of the trained model whose untrained twin this is.
    pub twin_of: Option<String>,
    /// One entry per stimulus set.
    pub activations: Vec<Activations>,
}

/// What one network computed on one stimulus set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Activations {
    /// Where the arrays are.
    pub source: ActivationSource,
    /// Names of the layers, shallow to deep; at least one.
    pub layers: Vec<String>,
    /// Depth of each layer, ascending; without it layers are evenly spaced.
    pub positions: Option<Vec<f64>>,
    /// Id of the stimulus set.
    pub stimuli: String,
    /// Where the rows' stimulus ids stand.
    pub ids: Option<ArraySource>,
    /// Rows follow the order of the stimulus file; otherwise they are matched by id. Default false.
    pub by_order: bool,
    /// How axes between stimuli and units (tokens, frames, patches) are joined. Default `mean`.
    pub pooling: Pooling,
    /// The rows are events (words, frames) of this table and not stimuli: columns `stimulus_id`, `run`,
    /// `onset_s`, `duration_s`. They are brought to the clock of the responses.
    pub events: Option<PathBuf>,
}

/// Where activation arrays are stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActivationSource {
    /// One file with one array per layer.
    File(PathBuf),
    /// A folder with one file per layer, named after it.
    Folder(PathBuf),
}

impl ActivationSource {
    /// The path, whichever it is.
    pub fn path(&self) -> &Path {
        match self {
            ActivationSource::File(path) | ActivationSource::Folder(path) => path,
        }
    }
}

/// How tokens, frames or patches of one sample become one row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pooling {
    /// Their mean.
    Mean,
    /// Their largest value, unit by unit.
    Max,
    /// The first one (class token).
    Cls,
    /// The last one.
    Last,
    /// All of them, side by side as units.
    Flatten,
}

/// Every choice of encoding layer by layer (specs: alignment-methods B1, B6, B17); what it shares with NFAS
/// stands in [`NfasSettings`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EncodingSettings {
    /// Names of the layers that are encoded; `None`: all.
    pub layers: Option<Vec<String>>,
    /// What each layer is reduced to.
    pub reduce: LayerReduction,
    /// The encoding model.
    pub encoder: EncodingEncoder,
    /// The kernel of `encoder = "kernel_ridge"`.
    #[serde(default, skip_serializing_if = "is_linear")]
    pub kernel: EncodingKernel,
    /// How all layers become one predictor beside the single ones.
    #[serde(default, skip_serializing_if = "is_single")]
    pub combine: Combination,
    /// Ridge penalties tried, as multiples of the mean squared singular value.
    pub alphas: Alphas,
    /// Each target gets its own penalty.
    pub alpha_per_roi: bool,
    /// How penalties and layers are judged on the training rows.
    pub inner: InnerChoice,
    /// Most folds of the inner cross-validation.
    pub inner_folds: usize,
    /// What the inner cross-validation compares penalties by.
    pub inner_loss: InnerLoss,
    /// Draws behind intervals.
    pub bootstraps: usize,
    /// Null draws behind p-values.
    pub shifts: usize,
    /// What null draws are made of.
    #[serde(default, skip_serializing_if = "is_shift")]
    pub null: NullChoice,
    /// How p-values of models × layers × targets are adjusted together.
    pub multiplicity: Multiplicity,
    /// Sets of features between which explained variance is divided; empty: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub partition: Vec<FeatureSet>,
}

/// A named set of features: layers of a model, or a nuisance set of the benchmark.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeatureSet {
    /// Name, unique.
    pub name: String,
    /// Layers; those that a model has.
    pub layers: Vec<String>,
    /// Or a nuisance set.
    pub nuisance: Option<String>,
}

impl Default for EncodingSettings {
    fn default() -> Self {
        EncodingSettings {
            layers: None,
            reduce: LayerReduction::None,
            encoder: EncodingEncoder::Ridge,
            kernel: EncodingKernel::Linear,
            combine: Combination::None,
            alphas: Alphas::Grid { from: 1e-3, to: 1e6, count: 19 },
            alpha_per_roi: true,
            inner: InnerChoice::Folds,
            inner_folds: 5,
            inner_loss: InnerLoss::SquaredError,
            bootstraps: 1000,
            shifts: 1000,
            null: NullChoice::Shift,
            multiplicity: Multiplicity::MaxT,
            partition: Vec::new(),
        }
    }
}

/// Every choice of comparing layers with areas (specs: encoding-manifolds 6); what it shares with NFAS stands in
/// [`NfasSettings`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SimilaritySettings {
    /// Names of the layers that are compared; `None`: all.
    pub layers: Option<Vec<String>>,
    /// Ids of the measures, in the order of tables.
    pub measures: Vec<String>,
    /// Draws behind intervals and tests between models.
    pub bootstraps: usize,
    /// Permutations behind chance levels and p-values; 0: none.
    pub permutations: usize,
    /// How p-values of models × layers × areas × measures are adjusted together.
    pub multiplicity: Multiplicity,
    /// The distance by which layers and areas are drawn as a map; `None`: no map.
    pub map: Option<String>,
}

impl Default for SimilaritySettings {
    fn default() -> Self {
        let measures = ["cka_debiased", "rsa_spearman", "procrustes_angular"];
        SimilaritySettings {
            layers: None,
            measures: measures.map(str::to_owned).to_vec(),
            bootstraps: 500,
            permutations: 999,
            multiplicity: Multiplicity::MaxT,
            map: Some("procrustes_angular".into()),
        }
    }
}

/// What a layer is reduced to before it is fitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LayerReduction {
    /// Nothing: all units, z-scored on the training rows.
    None,
    /// Principal components of the training rows.
    Pca {
        /// At most this many.
        max_dim: usize,
    },
    /// Sparse random directions.
    Sparse {
        /// How many; `None`: the size of Johnson and Lindenstrauss for distances within 10 %.
        size: Option<usize>,
    },
    /// Gaussian random directions.
    Gaussian {
        /// As for sparse ones.
        size: Option<usize>,
    },
}

/// The model that encodes a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EncodingEncoder {
    /// Ridge.
    Ridge,
    /// Least squares on at most a tenth of the training rows' number of components.
    Ols,
    /// Ridge in the space of a kernel.
    KernelRidge,
    /// Partial least squares of all targets together.
    Pls {
        /// Components.
        components: usize,
    },
}

/// A kernel of z-scored units.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EncodingKernel {
    /// xᵀz.
    #[default]
    Linear,
    /// (xᵀz/units + 1)^degree.
    Polynomial {
        /// Degree.
        degree: u32,
    },
    /// exp(−γ ‖x − z‖²).
    Rbf {
        /// γ; `None`: 1/units.
        gamma: Option<f64>,
    },
}

fn is_linear(kernel: &EncodingKernel) -> bool {
    *kernel == EncodingKernel::Linear
}

/// What null draws are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NullChoice {
    /// Held-out predictions moved against responses.
    #[default]
    Shift,
    /// Models fitted again to moved responses.
    Refit,
}

fn is_shift(null: &NullChoice) -> bool {
    *null == NullChoice::Shift
}

/// How all layers become one predictor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Combination {
    /// They do not.
    #[default]
    None,
    /// Their predictions are weighed per target.
    Stacked,
    /// One ridge with a weight per layer and target.
    Banded {
        /// Weights of layers that are tried.
        draws: usize,
    },
}

fn is_single(combine: &Combination) -> bool {
    *combine == Combination::None
}

/// How penalties and layers are judged on the training rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InnerChoice {
    /// By inner folds.
    Folds,
    /// Each row predicted from all others.
    Loo,
    /// Generalised cross-validation.
    Gcv,
}

/// Every choice of the NFAS pipeline (specs: nfas-dmd section 20).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NfasSettings {
    /// D1: what the trajectory over depth is.
    pub trajectory: Trajectory,
    /// D2: how layers get common coordinates where their widths differ.
    pub layer_map: LayerMap,
    /// Largest common width; also at most the least rank and a quarter of the training rows.
    pub max_width: usize,
    /// Apply `layer_map` to models of equal widths too.
    pub align_all: bool,
    /// D3: what is subtracted from each unit.
    pub centring: Centring,
    /// How a stacked trajectory is reduced to its L × L numbers.
    pub reduction: Reduction,
    /// D4: how layers are scaled.
    pub scale: Scale,
    /// D5: how the map from one layer to the next is estimated.
    pub estimator: Estimator,
    /// D6: how many modes are kept.
    pub rank: RankRule,
    /// Which vectors stand for the modes.
    pub modes: ModeForm,
    /// D8: how much of a mode is in the trajectory.
    pub amplitude: Amplitude,
    /// Tikhonov term η ≥ 0 of the estimator.
    pub tikhonov: f64,
    /// D7: which mode is the stable one.
    pub select: Selection,
    /// Least energy share of a mode that may be selected; where none has it, all may.
    pub eligible_energy: f64,
    /// Largest gain over the whole depth that optimised and bagged fits may reach (≥ 1).
    pub max_gain: f64,
    /// When the selected mode deserves the name.
    pub gates: Gates,
    /// Rows from which layer weights are fitted.
    pub fit_on: FitOn,
    /// D9: whether depth is reduced before or after the features go to the scanner's clock.
    pub clock: DmdClock,
    /// How events come to the scanner's clock.
    pub resample: Resample,
    /// Whether the weights of a Lanczos filter are normalised.
    pub lanczos_weights: LanczosWeights,
    /// D10: how features become haemodynamic predictors.
    pub hrf: Hrf,
    /// Whose numerics `spm` and `glover` follow.
    pub hrf_parity: HrfParity,
    /// Delays of `fir`, in seconds.
    pub delays_s: SecondsRange,
    /// Leave out samples whose delays reach before their run.
    pub drop_padded: bool,
    /// Extra columns of `spm` and `glover`.
    pub derivatives: Derivatives,
    /// Slow drift removed from each run of a time series.
    pub drift: Drift,
    /// Take the same drift out of the haemodynamic predictors (Frisch–Waugh).
    pub project_features: bool,
    /// D11: the encoding model.
    pub encoder: Encoder,
    /// Weights of bands that `banded` tries: equal ones, then random ones.
    pub band_candidates: usize,
    /// Ridge penalties tried, as multiples of the mean squared singular value.
    pub alphas: Alphas,
    /// Each ROI gets its own penalty.
    pub alpha_per_roi: bool,
    /// Reduce every representation to the same number of components.
    pub equalize_dim: bool,
    /// That number at most.
    pub max_dim: usize,
    /// Most folds of the inner cross-validation.
    pub inner_folds: usize,
    /// What the inner cross-validation compares penalties by.
    pub inner_loss: InnerLoss,
    /// What is held out.
    pub outer_folds: Folds,
    /// Seconds dropped on both sides of a held-out block of a time series.
    pub purge_s: f64,
    /// D12: what the score is.
    pub score: Score,
    /// How the noise ceiling is estimated.
    pub ceiling: CeilingRule,
    /// ROIs with a lower ceiling are left out of group statistics.
    pub min_ceiling: f64,
    /// D14: subjects one by one, or their mean series.
    pub subjects: SubjectMode,
    /// What the coordinates of a model are.
    pub embedding: Embedding,
    /// How the scores of a model on several benchmarks of a space become its coordinates.
    pub benchmarks: Benchmarks,
    /// D15: which consistency indices are computed; the first is the main one.
    pub snci: Vec<SnciKind>,
    /// What the convergence map takes the least of over modalities.
    pub convergence_scale: ConvergenceScale,
    /// What all modalities must exceed on that scale for an ROI to converge.
    pub convergence_threshold: f64,
    /// D16: distance between models.
    pub distance: Distance,
    /// Centre of the groups in PERMDISP.
    pub dispersion_centre: DispersionCentre,
    /// What PERMDISP makes of axes with negative eigenvalues.
    pub dispersion_axes: DispersionAxes,
    /// Whether PERMDISP makes up for centres fitted to few models.
    pub dispersion_bias: DispersionBias,
    /// D17: permutations of group tests.
    pub permutations: usize,
    /// Enumerate all relabellings where they are few.
    pub exact: bool,
    /// What permutations may move.
    pub restricted: Restricted,
    /// Bootstrap draws.
    pub bootstraps: usize,
    /// How intervals of consistency are read off the bootstrap.
    pub interval: IntervalKind,
    /// What squared indices of consistency do with a negative mean score.
    pub sign_policy: SignPolicy,
    /// Circular shifts (or block permutations) behind the p-value of a score.
    pub shifts: usize,
    /// How p-values of models × ROIs are adjusted together.
    pub multiplicity: Multiplicity,
    /// Column of the ROI table that groups ROIs into networks.
    pub networks: String,
    /// Section 13: what could explain the result away.
    pub controls: Controls,
}

/// What one trajectory over depth consists of (specs: nfas-dmd 5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trajectory {
    /// All samples stacked: one trajectory, one stable mode per model.
    Stacked,
    /// One trajectory per sample.
    Sample,
    /// All samples share one operator.
    Pooled,
}

/// How layers of unequal width get common coordinates (specs: nfas-dmd 3.3).
///
/// Applies to models whose widths differ, and to all with `align_all`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LayerMap {
    /// None: models with unequal widths are refused.
    Identity,
    /// Principal components, rotated layer by layer onto the one before.
    Procrustes,
    /// Principal components with a sign rule; eigenvalues are then not interpretable.
    Pca,
    /// The state is the normalised linear kernel of a layer.
    Kernel,
    /// One seeded random map shared by all layers.
    RandomProjection,
}

/// What is subtracted before the trajectory is analysed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Centring {
    /// The training mean over stimuli of each unit of each layer.
    Stimuli,
    /// Nothing.
    None,
}

/// How layers are scaled (specs: nfas-dmd 3.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scale {
    /// Each layer by its root mean square.
    Frobenius,
    /// Not at all: growth enters the eigenvalues.
    None,
    /// Each pair of layers by the norm of its first member.
    Pair,
    /// Each sample of each layer by its norm.
    UnitSample,
}

/// When a selected mode counts as stable, and what happens when it does not.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Gates {
    /// What a failed gate does.
    pub action: GateAction,
    /// Least energy share of the mode.
    pub min_energy: f64,
    /// Largest residual ‖Aφ − λφ‖ / ‖φ‖.
    pub max_residual: f64,
    /// Residual above which a warning is given.
    pub warn_residual: f64,
    /// Largest gain over the whole depth, up or down (≥ 1).
    pub max_depth_gain: f64,
    /// Largest turn over the whole depth, in degrees.
    pub max_depth_rotation_deg: f64,
    /// Least correlation of layer weights between folds.
    pub min_fold_correlation: f64,
}

/// What becomes of a model without a stable mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GateAction {
    /// It gets no point in the alignment space; its controls are still reported.
    Exclude,
    /// It is placed all the same, with the verdict beside it.
    Report,
}

/// Rows from which layer weights are fitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FitOn {
    /// The training rows of each fold.
    Train,
    /// All rows once; no brain data enter, and the record says so.
    All,
}

/// The clock on which depth is reduced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DmdClock {
    /// The scanner's (or one row per clip): downsample first.
    Tr,
    /// The network's own: downsample the stable representation.
    Native,
}

/// How events come to the scanner's clock (specs: nfas-dmd 8.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resample {
    /// `box` for events at even times (frames), `lanczos` for others (words).
    Auto,
    /// The mean of the events of each volume.
    Box,
    /// A Lanczos filter of three lobes at the rate of the volumes. Weights of uneven events are not
    /// normalised, so their rate enters every feature; those of even ones are.
    Lanczos,
}

/// Weights of a Lanczos filter (specs: nfas-dmd 8.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LanczosWeights {
    /// `normalised` for events at even times, `raw` for others.
    Auto,
    /// As they are: the rate of the events enters every feature.
    Raw,
    /// Divided by their sum: a constant feature stays constant.
    Normalised,
}

/// How features become haemodynamic predictors (specs: nfas-dmd 8.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hrf {
    /// `fir` on a TR clock, `none` on a stimulus clock.
    Auto,
    /// One copy of the features per delay.
    Fir,
    /// Convolution with the SPM double gamma.
    Spm,
    /// Convolution with Glover's double gamma.
    Glover,
    /// Features as they are.
    None,
}

/// Whose numerics a convolved response follows (specs: nfas-dmd 8.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HrfParity {
    /// Our own: 16 steps per TR, the densities where their formula has them.
    None,
    /// nilearn's: 50 steps per TR, its grid, its shift by one step and its constants.
    Nilearn,
}

/// From … to …, in seconds, both included.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SecondsRange {
    /// Least.
    pub from: f64,
    /// Largest.
    pub to: f64,
}

/// Extra columns beside a convolved feature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Derivatives {
    /// None.
    None,
    /// The derivative by time.
    Time,
    /// The derivatives by time and by dispersion.
    TimeDispersion,
}

/// Slow drift removed from each run (specs: nfas-dmd 8.4).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Drift {
    /// Cosines below this frequency: `dct:0.01`.
    Dct {
        /// In hertz, > 0.
        high_pass_hz: f64,
    },
    /// Legendre polynomials up to this degree: `polort:2`.
    Polort {
        /// Degree.
        degree: usize,
    },
    /// Nothing: the responses are clean already.
    None,
}

/// The linear encoding model (specs: nfas-dmd 8.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Encoder {
    /// Ridge with nested selection of the penalty, solved in the dual form where there are more
    /// predictors than samples: linear kernel ridge is the same model.
    Ridge,
    /// Least squares on at most a tenth of the training rows' number of components.
    Ols,
    /// Ridge with one penalty for the features and one per nuisance set of the benchmark. A score is
    /// then what the features' part of the prediction explains beyond the nuisance's part.
    Banded,
}

/// What the inner cross-validation compares penalties by (specs: nfas-dmd 8.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InnerLoss {
    /// The squared error over all inner held-out rows.
    SquaredError,
    /// The correlation within each inner fold, weighted by its rows.
    Correlation,
}

/// Ridge penalties to choose from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Alphas {
    /// Evenly spaced in the logarithm, both ends included: `{ from = 1e-3, to = 1e6, count = 19 }`.
    Grid {
        /// Least, > 0.
        from: f64,
        /// Largest.
        to: f64,
        /// How many, ≥ 2.
        count: usize,
    },
    /// These, ascending, ≥ 0.
    List(Vec<f64>),
}

impl Alphas {
    /// The penalties, ascending.
    pub fn values(&self) -> Vec<f64> {
        match self {
            Alphas::List(values) => values.clone(),
            Alphas::Grid { from, to, count } => {
                let (low, high) = (from.log10(), to.log10());
                let last = count.saturating_sub(1).max(1) as f64;
                (0..*count).map(|i| 10f64.powf(low + (high - low) * i as f64 / last)).collect()
            }
        }
    }
}

/// What the outer cross-validation holds out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Folds {
    /// Runs where there are at least two; else `k_fold:10` on a stimulus clock and `blocks:5` on a TR
    /// clock.
    Auto,
    /// One run at a time.
    LeaveRunOut,
    /// Stimuli in this many random parts: `k_fold:10`.
    KFold {
        /// ≥ 2.
        folds: usize,
    },
    /// Contiguous blocks with purged edges: `blocks:5`.
    Blocks {
        /// ≥ 2.
        blocks: usize,
    },
}

/// What an alignment score is (specs: nfas-dmd section 9).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Score {
    /// r².
    R2,
    /// r · |r|.
    Signed,
    /// max(r, 0)².
    Clipped,
    /// r² / ceiling².
    Ceiling,
    /// max(0, r² − 1/n_eff).
    Debiased,
}

/// Whether subjects are fitted one by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SubjectMode {
    /// Fit each, average the scores.
    Each,
    /// Average the z-scored series, fit once.
    GroupMean,
}

/// What the coordinates of a model are (specs: nfas-dmd section 10).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Embedding {
    /// Its scores.
    Score,
    /// Its scores, z-scored over models.
    Z,
    /// The ranks of its ROIs.
    Rank,
    /// Its scores over the ceilings.
    Ceiling,
    /// Its predicted responses, compared by correlation.
    Response,
}

/// How scores on several benchmarks become coordinates (specs: nfas-dmd section 10).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Benchmarks {
    /// ROI by ROI, their mean.
    Average,
    /// One coordinate per benchmark and ROI.
    Concatenate,
}

/// A consistency index (specs: nfas-dmd section 10); μ and s over the models of a modality.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SnciKind {
    /// μ / s.
    Snr,
    /// μ² / (μ² + s²).
    Bounded,
    /// μ² / s².
    Snr2,
    /// μ / s with the small-sample factor.
    SnrC4,
    /// `bounded` without the noise in μ².
    Debiased,
    /// μ √n / s.
    Tstat,
    /// Mean correlation between the ROI profiles of models.
    Profile,
    /// ICC(3,1) between the ROI profiles of models.
    ProfileIcc,
    /// Variance over ROIs of the mean profile over the mean variance between models.
    ProfileSnr,
}

/// What the convergence map takes the least of (specs: nfas-dmd section 10).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConvergenceScale {
    /// The first index of consistency.
    Snci,
    /// The same, standardised over the ROIs of each modality.
    ZScore,
}

/// Centre of a group in PERMDISP (specs: nfas-dmd 11.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DispersionCentre {
    /// The point of least total distance.
    SpatialMedian,
    /// The mean.
    Centroid,
}

/// Axes on which squared distances are negative, in PERMDISP (specs: nfas-dmd 11.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DispersionAxes {
    /// Squared distances on them are subtracted.
    Subtract,
    /// They are left out.
    Drop,
}

/// Factor on the distances to a centre, in PERMDISP (specs: nfas-dmd 11.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DispersionBias {
    /// None.
    None,
    /// √(n/(n − 1)) for a group of n models.
    SmallSample,
}

/// Distance between the coordinates of two models (specs: nfas-dmd 11.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Distance {
    /// Euclidean on columns z-scored over models.
    Euclidean,
    /// 1 − correlation.
    Correlation,
    /// 1 − cosine.
    Cosine,
    /// Euclidean on the coordinates as they are.
    EuclideanRaw,
}

/// What permutations of group tests may move.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Restricted {
    /// Every model by itself.
    Free,
    /// Families as wholes.
    Family,
    /// Models within their benchmark.
    Strata,
}

/// How an interval is read off bootstrap draws (specs: nfas-dmd section 10).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IntervalKind {
    /// Quantiles of the draws.
    Percentile,
    /// Bias-corrected and accelerated; the jackknife leaves out families.
    Bca,
}

/// What squared indices do with a negative mean (specs: nfas-dmd section 10).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SignPolicy {
    /// They become 0.
    Zero,
    /// They carry its sign.
    Carry,
}

/// How p-values of models × ROIs are adjusted together (specs: nfas-dmd 11.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Multiplicity {
    /// Step-down max-T on common draws.
    MaxT,
    /// Holm's method.
    Holm,
    /// Benjamini–Hochberg.
    Bh,
    /// Benjamini–Yekutieli.
    By,
    /// Not at all.
    None,
}

/// What could explain a result away, computed beside it (specs: nfas-dmd section 13).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Controls {
    /// How many shuffles of the layer order; 0 for none.
    pub layer_order: usize,
    /// The uniform mean of layers.
    pub layer_mean: bool,
    /// The first and the last layer.
    pub first_last: bool,
    /// The best single layer, by nested selection.
    pub best_layer: bool,
    /// Untrained twins, where models name them.
    pub untrained: bool,
    /// Low-level features, where benchmarks name them.
    pub nuisance: bool,
    /// The same analysis under the other credible choices.
    pub multiverse: bool,
    /// Group results without each family in turn.
    pub leave_one_family_out: bool,
    /// Layer weights chosen for prediction instead of dynamics.
    pub adaptive: bool,
}
