//! Read the study file: what is compared with what, and how.
//!
//! `study.toml` names stimuli, brains, models and choices; [`parse`] turns it into a [`Study`] in
//! which every default is written out, or into [`StudyErrors`] that name every wrong line at once.
//! Nothing is looked up on disk here: paths stay relative to the folder of the study file.

mod choices;
mod encoding;
mod parse;
mod presets;
mod reader;
mod similarity;
mod study;
mod template;
mod words;

pub use choices::parse_choices;
pub(crate) use encoding::SHARED;
pub use parse::{KNOWN_KEYS, parse};
pub use reader::{Problem, SHORT_NAMES, StudyErrors, long_word};
pub(crate) use similarity::SHARED_WITH_SIMILARITY;
pub use study::{
    ActivationSource, Activations, Alphas, ArraySource, Axis, Benchmark, Benchmarks, Blocks, Centring, Clock,
    Combination, Controls, ConvergenceScale, Derivatives, DispersionAxes, DispersionBias, DispersionCentre,
    Distance, DmdClock, Drift, Embedding, Encoder, EncodingEncoder, EncodingKernel, EncodingSettings,
    FeatureSet, FitOn, Folds, GateAction, Gates, Hemisphere, Hrf, HrfParity, InnerChoice, InnerLoss,
    IntervalKind, LanczosWeights, LayerMap, LayerReduction, Model, Multiplicity, NfasSettings, Nuisance,
    NullChoice, Pooling, Preset, Repeats, Resample, Restricted, RoiSummary, Scale, Score, SecondsRange,
    SignPolicy, SimilaritySettings, SnciKind, StimulusSet, Study, Subject, SubjectMode, Surface, Trajectory,
    Voxels,
};
pub use template::TEMPLATE;

/// The commented study file that `stereotax init` writes.
pub fn template() -> &'static str {
    TEMPLATE
}
