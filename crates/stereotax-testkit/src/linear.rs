//! Make depth trajectories whose eigenvalues are known, and random residual networks.
//!
//! Layers are `Vec<Mat<f64>>`, shallow to deep, each samples × units. With latent coordinates x,
//!
//! ```text
//! stacked:  vec(H_l) = B Aˡ x₀       B: n·K × d, one operator on the whole stimulus set
//! pooled:   H_l = Z (Aˡ)ᵀ Bᵀ         B: K × d,   one operator on units, shared by all stimuli
//! ```
//!
//! A is block diagonal: λ for a real eigenvalue, ρ[cos θ, −sin θ; sin θ, cos θ] for a pair ρe^{±iθ}.
//! specs: nfas-dmd 5.1 and 19 (oracle 1).

use faer::{Mat, c64};
use stereotax::stats::rng::Stream;

use crate::compare::orthonormal_columns;

/// How the planted modes lie to one another.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Modes {
    /// Orthonormal columns of B.
    Orthonormal,
    /// Orthonormal columns times I + `amount` × a random strictly upper triangle; eigenvalues stay.
    Skewed {
        /// Size of the off-diagonal normal numbers; 0.5 gives clearly oblique modes.
        amount: f64,
    },
}

/// What to plant in a trajectory.
#[derive(Debug, Clone, PartialEq)]
pub struct TrajectoryParams {
    /// Seed of modes and noise.
    pub seed: u64,
    /// Real eigenvalues (Im = 0), and one member with Im > 0 of every pair.
    pub eigenvalues: Vec<c64>,
    /// Number of layers L.
    pub n_layers: usize,
    /// Number of samples n.
    pub n_samples: usize,
    /// Number of units K of every layer.
    pub n_units: usize,
    /// Standard deviation of independent noise on every entry, relative to the RMS of layer 0.
    pub noise: f64,
    /// How the modes lie.
    pub modes: Modes,
}

impl Default for TrajectoryParams {
    fn default() -> Self {
        TrajectoryParams {
            seed: 1,
            eigenvalues: vec![c64::new(0.99, 0.0), c64::new(0.6, 0.0), c64::new(0.7, 0.4)],
            n_layers: 12,
            n_samples: 40,
            n_units: 15,
            noise: 0.0,
            modes: Modes::Orthonormal,
        }
    }
}

/// A trajectory and what was planted in it.
#[derive(Debug, Clone)]
pub struct Trajectory {
    /// One samples × units matrix per layer.
    pub layers: Vec<Mat<f64>>,
    /// Every planted eigenvalue, pairs written out (Im > 0 first), in the order of the params.
    pub eigenvalues: Vec<c64>,
    /// B, whose columns span the planted modes in the same order; a pair has two real columns.
    /// Rows are (sample, unit), unit fastest, when stacked, and units when pooled.
    pub basis: Mat<f64>,
}

/// One operator moves the whole stimulus set: vec(H_l) = B Aˡ 1. Columns of every H_l have mean zero
/// (before noise), so that centring over stimuli changes nothing.
pub fn stacked_trajectory(params: &TrajectoryParams) -> Trajectory {
    let (n, k) = (params.n_samples, params.n_units);
    let d = dimension(&params.eigenvalues);
    let mut draw = Stream::new(params.seed, "testkit stacked modes", 0);
    let mut raw = Mat::from_fn(n * k, d, |_, _| draw.normal());
    for j in 0..d {
        for unit in 0..k {
            let mean = (0..n).map(|t| raw[(t * k + unit, j)]).sum::<f64>() / n as f64;
            (0..n).for_each(|t| raw[(t * k + unit, j)] -= mean);
        }
    }
    let basis = lay_modes(raw, params);
    let mut x = vec![1.0; d];
    let mut layers = Vec::with_capacity(params.n_layers);
    for _ in 0..params.n_layers {
        layers.push(Mat::from_fn(n, k, |t, unit| (0..d).map(|j| basis[(t * k + unit, j)] * x[j]).sum()));
        x = step(&params.eigenvalues, &x);
    }
    add_noise(&mut layers, params);
    Trajectory { layers, eigenvalues: written_out(&params.eigenvalues), basis }
}

/// One operator moves the units of every stimulus: H_{l+1} = H_l Kᵀ with the planted eigenvalues.
/// Start coordinates are standard normal with column mean zero. Needs n_units ≥ dimension.
pub fn pooled_trajectory(params: &TrajectoryParams) -> Trajectory {
    let (n, k) = (params.n_samples, params.n_units);
    let d = dimension(&params.eigenvalues);
    assert!(k >= d, "{k} units cannot hold {d} modes");
    let mut draw = Stream::new(params.seed, "testkit pooled modes", 0);
    let basis = lay_modes(Mat::from_fn(k, d, |_, _| draw.normal()), params);
    let mut z: Vec<Vec<f64>> = (0..n).map(|_| (0..d).map(|_| draw.normal()).collect()).collect();
    for j in 0..d {
        let mean = z.iter().map(|row| row[j]).sum::<f64>() / n as f64;
        z.iter_mut().for_each(|row| row[j] -= mean);
    }
    let mut layers = Vec::with_capacity(params.n_layers);
    for _ in 0..params.n_layers {
        layers.push(Mat::from_fn(n, k, |t, unit| (0..d).map(|j| basis[(unit, j)] * z[t][j]).sum()));
        z.iter_mut().for_each(|row| *row = step(&params.eigenvalues, row));
    }
    add_noise(&mut layers, params);
    Trajectory { layers, eigenvalues: written_out(&params.eigenvalues), basis }
}

fn dimension(eigenvalues: &[c64]) -> usize {
    eigenvalues.iter().map(|z| if z.im == 0.0 { 1 } else { 2 }).sum()
}

fn written_out(eigenvalues: &[c64]) -> Vec<c64> {
    let mut all = Vec::new();
    for &z in eigenvalues {
        all.push(z);
        if z.im != 0.0 {
            all.push(z.conj());
        }
    }
    all
}

/// A x for the block diagonal A.
pub(crate) fn step(eigenvalues: &[c64], x: &[f64]) -> Vec<f64> {
    let mut next = Vec::with_capacity(x.len());
    for z in eigenvalues {
        let at = next.len();
        if z.im == 0.0 {
            next.push(z.re * x[at]);
        } else {
            next.push(z.re * x[at] - z.im * x[at + 1]);
            next.push(z.im * x[at] + z.re * x[at + 1]);
        }
    }
    next
}

fn lay_modes(raw: Mat<f64>, params: &TrajectoryParams) -> Mat<f64> {
    let basis = orthonormal_columns(raw.as_ref());
    let Modes::Skewed { amount } = params.modes else { return basis };
    let mut draw = Stream::new(params.seed, "testkit skew", 0);
    let d = basis.ncols();
    let skew = Mat::from_fn(d, d, |i, j| {
        let x = amount * draw.normal();
        if i == j {
            1.0
        } else if i < j {
            x
        } else {
            0.0
        }
    });
    basis * skew
}

fn add_noise(layers: &mut [Mat<f64>], params: &TrajectoryParams) {
    if params.noise == 0.0 || layers.is_empty() {
        return;
    }
    let sd = params.noise * rms(&layers[0]);
    for (l, layer) in layers.iter_mut().enumerate() {
        let mut draw = Stream::new(params.seed, "testkit layer noise", l as u64);
        for j in 0..layer.ncols() {
            for i in 0..layer.nrows() {
                layer[(i, j)] += sd * draw.normal();
            }
        }
    }
}

/// Root mean square of all entries.
pub fn rms(a: &Mat<f64>) -> f64 {
    let mut sum = 0.0;
    for j in 0..a.ncols() {
        for i in 0..a.nrows() {
            sum += a[(i, j)] * a[(i, j)];
        }
    }
    (sum / (a.nrows() * a.ncols()).max(1) as f64).sqrt()
}

/// A random residual network.
#[derive(Debug, Clone, PartialEq)]
pub struct ResidualParams {
    /// Seed of input and weights.
    pub seed: u64,
    /// Number of samples.
    pub n_samples: usize,
    /// Number of units K.
    pub n_units: usize,
    /// Number of layers, the input included.
    pub n_layers: usize,
    /// Step gain g: 0.1 is weak, 0.5 medium, 1 strong.
    pub gain: f64,
    /// A constant added to every input unit: the stimulus-independent mean activation.
    pub offset: f64,
}

impl Default for ResidualParams {
    fn default() -> Self {
        ResidualParams { seed: 1, n_samples: 60, n_units: 24, n_layers: 12, gain: 0.5, offset: 0.0 }
    }
}

/// h_{l+1} = h_l + g·tanh(W_l h_l), with W_l normal of variance 1/K and normal input.
pub fn residual_network(params: &ResidualParams) -> Vec<Mat<f64>> {
    let mut draw = Stream::new(params.seed, "testkit residual input", 0);
    let input = Mat::from_fn(params.n_samples, params.n_units, |_, _| params.offset + draw.normal());
    residual_layers(input, params.n_layers, params.gain, params.seed)
}

/// The same network on a given input (samples × units); layer 0 is the input.
pub fn residual_layers(input: Mat<f64>, n_layers: usize, gain: f64, seed: u64) -> Vec<Mat<f64>> {
    let (n, k) = (input.nrows(), input.ncols());
    let mut layers = Vec::with_capacity(n_layers);
    let mut h = input;
    for l in 0..n_layers {
        let mut draw = Stream::new(seed, "testkit residual weights", l as u64);
        let weights = Mat::from_fn(k, k, |_, _| draw.normal() / (k as f64).sqrt());
        let drive = &h * &weights;
        let next = Mat::from_fn(n, k, |i, j| h[(i, j)] + gain * drive[(i, j)].tanh());
        layers.push(h);
        h = next;
    }
    layers
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::{assert_close, assert_near, assert_same_numbers};

    /// Eigenvalues of the operator fitted on the explicit n·K × L matrix, at full planted rank.
    fn fitted_eigenvalues(columns: &Mat<f64>, pairs: usize, rank: usize) -> Vec<c64> {
        let x = columns.get(.., ..columns.ncols() - pairs);
        let y = columns.get(.., pairs..);
        let svd = x.thin_svd().unwrap();
        let u = svd.U().get(.., ..rank);
        let v = Mat::from_fn(x.ncols(), rank, |i, j| svd.V()[(i, j)] / svd.S()[j]);
        let small = u.transpose() * y * v;
        let eigen = small.eigen().unwrap();
        (0..rank).map(|i| eigen.S()[i]).collect()
    }

    #[test]
    fn the_stacked_operator_has_the_planted_eigenvalues() {
        for modes in [Modes::Orthonormal, Modes::Skewed { amount: 0.5 }] {
            let made = stacked_trajectory(&TrajectoryParams { modes, ..Default::default() });
            let columns = Mat::from_fn(40 * 15, 12, |i, l| made.layers[l][(i / 15, i % 15)]);
            assert_same_numbers(&fitted_eigenvalues(&columns, 1, 4), &made.eigenvalues, 1e-9);
        }
    }

    #[test]
    fn the_pooled_operator_has_the_planted_eigenvalues() {
        let made = pooled_trajectory(&TrajectoryParams {
            modes: Modes::Skewed { amount: 0.3 },
            ..TrajectoryParams::default()
        });
        // All samples of layer 0, then all of layer 1, …: a pair is n columns apart.
        let columns = Mat::from_fn(15, 40 * 12, |unit, i| made.layers[i / 40][(i % 40, unit)]);
        assert_same_numbers(&fitted_eigenvalues(&columns, 40, 4), &made.eigenvalues, 1e-10);
    }

    #[test]
    fn a_zero_gain_network_is_the_identity_and_one_step_is_by_hand() {
        let still = residual_network(&ResidualParams { gain: 0.0, ..Default::default() });
        assert_close(still[11].as_ref(), still[0].as_ref(), 0.0);
        // One unit, so the weight is the first normal number of its stream.
        let input = Mat::from_fn(1, 1, |_, _| 2.0);
        let weight = Stream::new(3, "testkit residual weights", 0).normal();
        let layers = residual_layers(input, 2, 0.5, 3);
        assert_near(layers[1][(0, 0)], 2.0 + 0.5 * (2.0 * weight).tanh(), 1e-15);
    }

    #[test]
    fn noise_has_the_size_asked_for() {
        let clean = stacked_trajectory(&TrajectoryParams::default());
        let noisy = stacked_trajectory(&TrajectoryParams { noise: 0.3, ..Default::default() });
        let gap = &noisy.layers[5] - &clean.layers[5];
        assert_near(rms(&gap) / rms(&clean.layers[0]), 0.3, 0.03);
    }
}
