//! Name the choices of a depth DMD and what it returns.

use std::ops::Range;

use faer::{Mat, c64};

/// How the linear map from one layer to the next is estimated.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Estimator {
    /// Least squares in the POD basis of X (Schmid 2010; Tu et al. 2014).
    Standard,
    /// Total least squares: both sides projected on the leading right-singular directions of [X; Y]
    /// (Hemati et al. 2017). Needs a rank below L − 1.
    TotalLeastSquares,
    /// Forward–backward on one common basis, each root chosen by its forward eigenvalue
    /// (Dawson et al. 2016).
    ForwardBackward,
    /// Variable projection over all snapshots at once (Askham & Kutz 2018).
    Optimised,
    /// Bagged optimised DMD (Sashidhar & Kutz 2022).
    Bagged {
        /// Bags of ⌈0.8 L⌉ layers, drawn without replacement.
        n_bags: usize,
    },
    /// The closest orthogonal operator (piDMD, Baddoo et al. 2023): all |λ| = 1.
    Unitary,
    /// The closest symmetric operator (piDMD): all λ real.
    Symmetric,
    /// Delay-embedded over depth, with this many stacked layers (≥ 2).
    Hankel {
        /// Layers per stacked state.
        delays: usize,
    },
    /// Contiguous windows of depth, each with a least-squares operator of its own (Aswani & Jabari
    /// 2026): the split of least one-step error. The stable part is the mean over windows of their
    /// stable parts, each counted by its number of layers.
    Segments {
        /// Windows; fewer where the depth holds fewer of 4 layers.
        n_segments: usize,
    },
    /// Reduced-rank regression (Kostic et al. 2022); for the pooled trajectory only.
    ReducedRank {
        /// Ridge on C11, as a multiple of its mean eigenvalue.
        ridge: f64,
    },
}

/// How many modes are kept (specs: nfas-dmd 5.8).
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RankRule {
    /// Least rank whose singular values hold this share of Σσ², at most min(L − 2, 12).
    Energy(f64),
    /// This rank, or the numerical rank where that is lower.
    Fixed(usize),
    /// Optimal hard threshold (Gavish & Donoho 2014); unreliable for short depth.
    HardThreshold,
    /// All L − 1: interpolation, with a warning.
    Full,
    /// Every rank up to the cap; the one whose selected mode has the least residual.
    Consensus,
}

/// Which Ritz vectors stand for the modes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ModeForm {
    /// φ = U w: combinations of layers 0…L−2.
    Projected,
    /// φ = Y V S⁻¹ w / λ: combinations of layers 1…L−1.
    Exact,
}

/// How much of each mode is in the trajectory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Amplitude {
    /// Least squares over all L snapshots.
    Optimal,
    /// Fitted to the first snapshot only.
    First,
    /// The unit mode itself, signed to agree with the layer mean.
    ModeOnly,
    /// Entrywise modulus of the unit mode: for reconstruction attempts only, and not linear in the
    /// layers; offered for the per-sample trajectory.
    Modulus,
}

/// The rule that names the stable mode (specs: nfas-dmd section 6).
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Selection {
    /// Least |λ − 1|.
    ClosestToOne,
    /// Least ||λ| − 1|; accepts rotating modes.
    UnitCircle,
    /// Least |log λ|.
    Slowest,
    /// All modes whose net gain over the depth lies in [1/δ, δ] and that turn by at most π/2.
    Band {
        /// δ.
        gain: f64,
    },
    /// Largest |λ| ≤ 1 + 10⁻³.
    DecayingSlowest,
    /// Largest energy share within the band.
    MaxEnergyInBand {
        /// δ.
        gain: f64,
    },
    /// Least residual.
    MinResidual,
}

/// Every choice of a depth DMD. `default()` is the register of specs nfas-dmd section 20.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct DepthDmdParams {
    /// Default `Standard`.
    pub estimator: Estimator,
    /// Default `Energy(0.99)`.
    pub rank: RankRule,
    /// Default `Projected`.
    pub modes: ModeForm,
    /// Default `Optimal`.
    pub amplitude: Amplitude,
    /// Default `ClosestToOne`.
    pub select: Selection,
    /// Tikhonov term η: 1/σ becomes σ / (σ² + η·mean σ²). Default 0.
    pub tikhonov: f64,
    /// Least energy share of a mode that may be selected. Default 0.01.
    pub min_energy: f64,
    /// Upper bound of the gain over the whole depth in optimised DMD. Default 10³.
    pub max_gain: f64,
    /// Seed of bags. Default 0.
    pub seed: u64,
}

impl Default for DepthDmdParams {
    fn default() -> Self {
        DepthDmdParams {
            estimator: Estimator::Standard,
            rank: RankRule::Energy(0.99),
            modes: ModeForm::Projected,
            amplitude: Amplitude::Optimal,
            select: Selection::ClosestToOne,
            tikhonov: 0.0,
            min_energy: 0.01,
            max_gain: 1e3,
            seed: 0,
        }
    }
}

/// The spectrum of a depth trajectory and the mode chosen from it.
///
/// Modes are in order of descending |λ|, pairs side by side with Im > 0 first.
#[derive(Debug, Clone)]
pub struct DepthSpectrum {
    /// Eigenvalue per mode: the factor by which it changes from one layer to the next.
    pub eigenvalues: Vec<c64>,
    /// Unit modes as layer weights (L × modes): φ_k = Σ_l coefficients[(l, k)] · H_l.
    pub coefficients: Mat<c64>,
    /// b_k: the trajectory is Σ_k b_k λ_kˡ φ_k.
    pub amplitudes: Vec<c64>,
    /// E_k: share of tr(G) that mode k alone would make; shares may exceed 1 and do not add up to 1.
    pub energies: Vec<f64>,
    /// ‖A φ − λ φ‖ / ‖φ‖; NaN where the estimator has no operator (optimised, bagged).
    pub residuals: Vec<f64>,
    /// The stable mode: indices into the above, a pair counting as one choice. Never empty.
    pub selected: Vec<usize>,
    /// Real layer weights of the stable representation: S = Σ_l weights[l] · H_l (L values).
    pub weights: Vec<f64>,
    /// Rank used.
    pub rank: usize,
    /// Numerical rank of the snapshots.
    pub numerical_rank: usize,
    /// Second-best choice under the same rule, by index, and how much worse its criterion is.
    pub runner_up: Option<(usize, f64)>,
    /// ‖H − Σ b λˡ φ‖_F / ‖H‖_F over all L snapshots.
    pub reconstruction_error: f64,
    /// The selected eigenvalue at every rank; only under [`RankRule::Consensus`].
    pub consensus: Option<RankConsensus>,
    /// Layers of each window with an operator of its own; empty where one operator holds throughout.
    pub windows: Vec<Range<usize>>,
    /// Window of each mode; empty without windows.
    pub window_of: Vec<usize>,
    /// What a reader must know: "no mode reached the energy threshold", "rank is full: interpolation".
    pub warnings: Vec<String>,
}

/// What the selected mode is at every rank up to the cap.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct RankConsensus {
    /// The ranks that were tried.
    pub ranks: Vec<usize>,
    /// Real part of the selected eigenvalue at each rank (of a pair, the member with Im > 0).
    pub re: Vec<f64>,
    /// Its imaginary part.
    pub im: Vec<f64>,
    /// Residual of the selected mode at each rank.
    pub residuals: Vec<f64>,
    /// Median over ranks of the real part.
    pub median_re: f64,
    /// Median over ranks of the imaginary part.
    pub median_im: f64,
    /// Largest distance between two selected eigenvalues.
    pub spread: f64,
}

impl DepthSpectrum {
    /// Eigenvalue of the selected mode; of a pair, the member with Im > 0.
    ///
    /// With windows it is the rate per step over all of them: exp(Σ_w s_w log λ_w / Σ_w s_w) for the
    /// first selected eigenvalue λ_w and the s_w steps of each window.
    pub fn selected_eigenvalue(&self) -> c64 {
        if self.windows.is_empty() {
            return self.eigenvalues[self.selected[0]];
        }
        let (mut log, mut steps) = (c64::new(0.0, 0.0), 0.0);
        for (window, layers) in self.windows.iter().enumerate() {
            if let Some(&k) = self.selected.iter().find(|&&k| self.window_of[k] == window) {
                let here = layers.len() as f64 - 1.0;
                log += self.eigenvalues[k].ln() * here;
                steps += here;
            }
        }
        (log / steps).exp()
    }

    /// The largest `of` of a selected eigenvalue times the steps over which it acts; with windows,
    /// that of each window, added up.
    pub fn over_depth(&self, of: impl Fn(c64) -> f64) -> f64 {
        // NaN if any is: an undefined number must not pass a gate.
        let largest = |among: &mut dyn Iterator<Item = usize>| {
            among
                .map(|k| of(self.eigenvalues[k]))
                .fold(f64::NEG_INFINITY, |a, b| if a.is_nan() || b.is_nan() { f64::NAN } else { a.max(b) })
        };
        if self.windows.is_empty() {
            return largest(&mut self.selected.iter().copied()) * (self.weights.len() as f64 - 1.0);
        }
        (0..self.windows.len())
            .map(|w| {
                let mut here = self.selected.iter().copied().filter(|&k| self.window_of[k] == w);
                largest(&mut here) * (self.windows[w].len() as f64 - 1.0)
            })
            .sum()
    }

    /// Gain |λ|^(L−1) of the selected mode over the whole depth.
    pub fn depth_gain(&self) -> f64 {
        self.selected_eigenvalue().norm().powi(self.weights.len() as i32 - 1)
    }

    /// Angle in radians by which the selected mode turns over the whole depth.
    pub fn depth_rotation(&self) -> f64 {
        self.selected_eigenvalue().arg().abs() * (self.weights.len() as f64 - 1.0)
    }
}

/// Whether the selected mode deserves to be called stable.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StableVerdict {
    /// It passes every gate.
    Stable,
    /// It fails these gates; in the `robust` preset the model gets no NFAS point.
    NoStableMode(Vec<Unstable>),
}

/// One gate that was failed, with the number that failed it.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Unstable {
    /// Which gate.
    pub reason: UnstableReason,
    /// What was found.
    pub found: f64,
    /// What would have passed.
    pub threshold: f64,
}

/// The gates of the verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnstableReason {
    /// The mode grows, decays or turns too much over the depth.
    FarFromOne,
    /// ‖Aφ − λφ‖ is too large for λ to mean anything.
    Residual,
    /// The mode holds too little of the trajectory.
    Energy,
    /// Weights or eigenvalue change from fold to fold.
    FoldInstability,
}
