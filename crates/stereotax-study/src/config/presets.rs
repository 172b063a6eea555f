//! Write out the defaults of each preset, in one place.
//!
//! Source: the register of choices, specs nfas-dmd section 20. `robust` is the register with ceilings,
//! debiased scores, gates, families kept together and all controls. `paper_literal` is a
//! reconstruction from the public description, never a replication: what the description leaves open
//! takes the register's default.

use stereotax::dynamics::{Amplitude, Estimator, ModeForm, RankRule, Reduction, Selection};
use stereotax::pipelines::ceilings::CeilingRule;

use super::study::{
    Alphas, Benchmarks, Centring, Controls, ConvergenceScale, Derivatives, DispersionAxes, DispersionBias,
    DispersionCentre, Distance, DmdClock, Drift, Embedding, Encoder, FitOn, Folds, GateAction, Gates, Hrf,
    HrfParity, InnerLoss, IntervalKind, LanczosWeights, LayerMap, Multiplicity, NfasSettings, Preset,
    Resample, Restricted, Scale, Score, SecondsRange, SignPolicy, SnciKind, SubjectMode, Trajectory,
};

impl Preset {
    /// The settings of this preset, before single choices override them.
    pub fn settings(self) -> NfasSettings {
        match self {
            Preset::Robust => robust(),
            Preset::PaperLiteral => paper_literal(),
        }
    }

    /// The word in the study file.
    pub fn name(self) -> &'static str {
        match self {
            Preset::Robust => "robust",
            Preset::PaperLiteral => "paper_literal",
        }
    }

    /// What a reader must know about results under this preset.
    pub fn caveat(self) -> Option<&'static str> {
        match self {
            Preset::Robust => None,
            Preset::PaperLiteral => Some(
                "The preset paper_literal is a reconstruction from the public description of NFAS, \
                 not a replication: several formulas are not published.",
            ),
        }
    }
}

impl Default for NfasSettings {
    fn default() -> Self {
        robust()
    }
}

fn robust() -> NfasSettings {
    NfasSettings {
        trajectory: Trajectory::Stacked,
        layer_map: LayerMap::Procrustes,
        max_width: 256,
        align_all: false,
        centring: Centring::Stimuli,
        reduction: Reduction::Auto,
        scale: Scale::Frobenius,
        estimator: Estimator::Standard,
        rank: RankRule::Energy(0.99),
        modes: ModeForm::Projected,
        amplitude: Amplitude::Optimal,
        tikhonov: 0.0,
        select: Selection::ClosestToOne,
        eligible_energy: 0.01,
        max_gain: 1e3,
        gates: Gates {
            action: GateAction::Exclude,
            min_energy: 0.1,
            max_residual: 0.5,
            warn_residual: 0.3,
            max_depth_gain: 2.0,
            max_depth_rotation_deg: 45.0,
            min_fold_correlation: 0.95,
        },
        fit_on: FitOn::Train,
        clock: DmdClock::Tr,
        resample: Resample::Auto,
        lanczos_weights: LanczosWeights::Auto,
        hrf: Hrf::Auto,
        hrf_parity: HrfParity::None,
        delays_s: SecondsRange { from: 1.5, to: 9.0 },
        drop_padded: false,
        derivatives: Derivatives::None,
        drift: Drift::Dct { high_pass_hz: 0.01 },
        project_features: false,
        encoder: Encoder::Ridge,
        band_candidates: 20,
        alphas: Alphas::Grid { from: 1e-3, to: 1e6, count: 19 },
        alpha_per_roi: true,
        equalize_dim: true,
        max_dim: 256,
        inner_folds: 8,
        inner_loss: InnerLoss::SquaredError,
        outer_folds: Folds::Auto,
        purge_s: 12.0,
        score: Score::Debiased,
        ceiling: CeilingRule::Auto,
        min_ceiling: 0.1,
        subjects: SubjectMode::Each,
        embedding: Embedding::Score,
        benchmarks: Benchmarks::Average,
        snci: vec![SnciKind::Snr, SnciKind::Debiased],
        convergence_scale: ConvergenceScale::Snci,
        convergence_threshold: 1.0,
        distance: Distance::Euclidean,
        dispersion_centre: DispersionCentre::SpatialMedian,
        dispersion_axes: DispersionAxes::Subtract,
        dispersion_bias: DispersionBias::None,
        permutations: 9999,
        exact: true,
        restricted: Restricted::Family,
        bootstraps: 2000,
        interval: IntervalKind::Percentile,
        sign_policy: SignPolicy::Zero,
        shifts: 1000,
        multiplicity: Multiplicity::MaxT,
        networks: "network".into(),
        controls: Controls {
            layer_order: 20,
            layer_mean: true,
            first_last: true,
            best_layer: true,
            untrained: true,
            nuisance: true,
            multiverse: true,
            leave_one_family_out: true,
            adaptive: true,
        },
    }
}

fn paper_literal() -> NfasSettings {
    NfasSettings {
        layer_map: LayerMap::Pca,
        scale: Scale::None,
        gates: Gates { action: GateAction::Report, ..robust().gates },
        score: Score::R2,
        ceiling: CeilingRule::None,
        min_ceiling: 0.0,
        snci: vec![SnciKind::Snr],
        restricted: Restricted::Free,
        ..robust()
    }
}
