//! Judge whether the selected mode deserves to be called stable, and how much it owes to chance.
//!
//! Distances from λ = 1 are taken over the whole depth, so that networks of different depth compare:
//!
//! ```text
//! depth change  = |log|λ|| · (L − 1)          gain or loss, in nepers
//! rotation      = |arg λ| · (L − 1)           radians
//! weight correlation of folds a, b = w_aᵀ G w_b / √(w_aᵀ G w_a · w_bᵀ G w_b)
//! ```
//!
//! The last is the correlation of the two stable representations, not of the two weight vectors:
//! neighbouring layers can stand in for each other.
//!
//! # Where the default gates come from
//!
//! Six folds, 24 units, 96 samples, unit-RMS layers, `closest_to_one`, noise of 0.3 of the signal, 60
//! networks per cell; share of networks called stable, measured with a second implementation of the
//! same simulation. The test `the_gates_accept_planted_modes_and_reject_nulls` draws its own 40 networks
//! per kind at 12 layers and holds false rejections to 10 % and false acceptances to 5 %.
//!
//! | network | 6 layers | 12 layers | 24 layers |
//! | --- | --- | --- | --- |
//! | one mode of λ in 0.97…1.02, three that decay | 0.53 | 0.97 | 1.00 |
//! | four modes that decay, |λ| ≤ 0.85 | 0.23 | 0.00 | 0.00 |
//! | three rotations by 0.25…1.2 radians per layer | 0.00 | 0.00 | 0.00 |
//! | a new random rotation at every layer | 0.02 | 0.00 | 0.00 |
//! | unrelated layers | 0.00 | 0.00 | 0.00 |
//!
//! With 6 layers the verdict is weak in both directions: over five steps a decay by 0.85 loses only
//! half. A random walk over layers passes at any depth, as it should: its first state persists. That
//! persistence alone is no evidence of dynamics is what [`shuffled`] is for.
//!
//! Source: specs: nfas-dmd 6, 13.1, appendix A; the thresholds are ours.

use faer::{Mat, MatRef, c64};
use rayon::prelude::*;

use super::fit::depth_dmd_scaled;
use super::moments::{Centring, DepthMoments, ScaledGram, Scaling};
use super::spectrum::{DepthDmdParams, DepthSpectrum, StableVerdict, Unstable, UnstableReason};
use stereotax_base::data::{Error, Monitor, Result};

/// What a mode must satisfy in every fold to be called stable.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct StableGates {
    /// Most |log|λ||·(L − 1). Default ln 2: the mode at most doubles or halves over the depth.
    pub max_depth_change: f64,
    /// Most |arg λ|·(L − 1), in radians. Default π/4.
    pub max_rotation: f64,
    /// Most ‖Aφ − λφ‖/‖φ‖. Default 0.5. Not applied where the estimator has no operator.
    pub max_residual: f64,
    /// Least energy share of the selected mode, both members of a pair together. Default 0.1.
    pub min_energy: f64,
    /// Least correlation of the stable representations of two folds. Default 0.95.
    pub min_weight_correlation: f64,
}

impl Default for StableGates {
    fn default() -> Self {
        StableGates {
            max_depth_change: std::f64::consts::LN_2,
            max_rotation: std::f64::consts::FRAC_PI_4,
            max_residual: 0.5,
            min_energy: 0.1,
            min_weight_correlation: 0.95,
        }
    }
}

/// Pass judgement on the spectra of all folds; the worst fold counts.
///
/// `gram` is the scaled Gram matrix of all samples, in which the folds' representations are compared.
/// Both a depth change and a rotation that are too large are `FarFromOne`. With one fold nothing can be
/// said of fold stability, and that gate passes. Errors: no spectrum, layers that disagree in number.
pub fn verdict(folds: &[DepthSpectrum], gram: MatRef<f64>, gates: &StableGates) -> Result<StableVerdict> {
    if folds.is_empty() {
        return Err(Error::TooFew {
            what: "folds".into(),
            needed: "1 spectrum".into(),
            found: "none".into(),
            hint: "fit the depth DMD first".into(),
        });
    }
    if let Some(odd) = folds.iter().find(|s| s.weights.len() != gram.nrows()) {
        return Err(Error::Shape {
            what: "folds".into(),
            expected: format!("{} weights per fold (one per layer of the Gram matrix)", gram.nrows()),
            found: format!("{} weights", odd.weights.len()),
            hint: "compare folds of one model".into(),
        });
    }
    let worst = |of: &dyn Fn(&DepthSpectrum) -> f64| folds.iter().map(of).fold(f64::NEG_INFINITY, nan_max);
    let residual = folds
        .iter()
        .flat_map(|s| s.selected.iter().map(|&k| s.residuals[k]))
        .filter(|r| !r.is_nan())
        .fold(0.0, f64::max);
    Ok(judge(
        &GateNumbers {
            depth_change: worst(&|s| s.over_depth(|z| z.norm().ln().abs())),
            rotation: worst(&|s| s.over_depth(|z| z.arg().abs())),
            residual,
            energy: -worst(&|s| -selected_energy(s)),
            correlation: least_weight_correlation(folds, gram),
        },
        gates,
    ))
}

/// What the gates look at, of any trajectory.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GateNumbers {
    /// |log|λ||·(L − 1).
    pub depth_change: f64,
    /// |arg λ|·(L − 1), in radians.
    pub rotation: f64,
    /// ‖Aφ − λφ‖/‖φ‖; 0 where there is none.
    pub residual: f64,
    /// Energy share of the selected modes.
    pub energy: f64,
    /// Least correlation of the stable representations of two folds; 1 for a single fold.
    pub correlation: f64,
}

impl GateNumbers {
    /// The worse of two folds, number by number; NaN if either is.
    pub fn worse(self, other: Self) -> Self {
        GateNumbers {
            depth_change: nan_max(self.depth_change, other.depth_change),
            rotation: nan_max(self.rotation, other.rotation),
            residual: nan_max(self.residual, other.residual),
            energy: -nan_max(-self.energy, -other.energy),
            correlation: -nan_max(-self.correlation, -other.correlation),
        }
    }
}

/// Hold numbers against the gates. Both a depth change and a rotation that are too large are
/// `FarFromOne`; an undefined number fails its gate.
pub fn judge(found: &GateNumbers, gates: &StableGates) -> StableVerdict {
    use UnstableReason::{Energy, FarFromOne, FoldInstability, Residual};
    let mut failed = Vec::new();
    let mut gate = |passes: bool, reason, found, threshold| {
        if !passes {
            failed.push(Unstable { reason, found, threshold });
        }
    };
    let g = gates;
    gate(found.depth_change <= g.max_depth_change, FarFromOne, found.depth_change, g.max_depth_change);
    gate(found.rotation <= g.max_rotation, FarFromOne, found.rotation, g.max_rotation);
    gate(found.residual <= g.max_residual, Residual, found.residual, g.max_residual);
    gate(found.energy >= g.min_energy, Energy, found.energy, g.min_energy);
    let least = g.min_weight_correlation;
    gate(found.correlation >= least, FoldInstability, found.correlation, least);
    if failed.is_empty() { StableVerdict::Stable } else { StableVerdict::NoStableMode(failed) }
}

/// The larger one, and NaN if either is: an undefined number must not pass a gate.
fn nan_max(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() { f64::NAN } else { a.max(b) }
}

fn selected_energy(spectrum: &DepthSpectrum) -> f64 {
    spectrum.selected.iter().map(|&k| spectrum.energies[k]).sum()
}

/// Least correlation between the stable representations of any two folds; 1 for a single fold.
pub fn least_weight_correlation(folds: &[DepthSpectrum], gram: MatRef<f64>) -> f64 {
    let mut least = 1.0;
    for (a, first) in folds.iter().enumerate() {
        for second in &folds[..a] {
            let r = weight_correlation(gram, &first.weights, &second.weights);
            least = if r.is_nan() || r < least { r } else { least };
        }
    }
    least
}

/// Correlation of the representations Σ a_l H_l and Σ b_l H_l, from the Gram matrix of (centred) layers.
///
/// Undefined (NaN) where one of them is zero.
pub fn weight_correlation(gram: MatRef<f64>, a: &[f64], b: &[f64]) -> f64 {
    let form = |x: &[f64], y: &[f64]| -> f64 {
        (0..x.len()).map(|i| x[i] * (0..y.len()).map(|j| gram[(i, j)] * y[j]).sum::<f64>()).sum()
    };
    let (aa, bb) = (form(a, a), form(b, b));
    if aa > 0.0 && bb > 0.0 { form(a, b) / (aa.sqrt() * bb.sqrt()) } else { f64::NAN }
}

/// How the stable mode varies over bootstrap draws of the resampling blocks.
#[derive(Debug, Clone, PartialEq)]
pub struct StabilityBootstrap {
    /// Selected eigenvalue per draw that could be fitted (of a pair, the member with Im > 0).
    pub eigenvalues: Vec<c64>,
    /// √(Σ|λ − mean λ|² / (n − 1)) over draws; NaN with fewer than 2.
    pub lambda_sd: f64,
    /// Least correlation of a draw's stable representation with that of all samples; NaN without draws.
    pub min_correlation: f64,
    /// Median of those correlations.
    pub median_correlation: f64,
    /// Draws in which the fit failed (a layer without variance, too few samples).
    pub n_failed: usize,
}

/// Refit on bootstrap draws: `draws[i][b]` says how often draw i counts block b.
///
/// No data are read. The same bits for any number of threads. Errors: the fit to all samples fails,
/// a draw with the wrong number of blocks, a stop request. Cost: one Gram matrix and one fit per draw.
pub fn bootstrap(
    moments: &DepthMoments,
    scaling: Scaling,
    centring: Centring,
    params: &DepthDmdParams,
    draws: &[Vec<f64>],
    monitor: &Monitor,
) -> Result<StabilityBootstrap> {
    let whole = moments.gram(None, centring)?;
    let raw_weights = |scaled: &ScaledGram| -> Result<(c64, Vec<f64>)> {
        let spectrum = depth_dmd_scaled(scaled, params)?;
        // Divisors differ from draw to draw; compare weights of the layers as they are.
        let raw = spectrum.weights.iter().zip(&scaled.divisors).map(|(w, d)| w / d).collect();
        Ok((spectrum.selected_eigenvalue(), raw))
    };
    let (_, reference) = raw_weights(&whole.scaled(scaling)?)?;
    let found: Vec<Option<(c64, f64)>> = draws
        .par_iter()
        .map(|weights| {
            monitor.check()?;
            let fitted = moments
                .gram(Some(weights), centring)
                .and_then(|g| g.scaled(scaling))
                .and_then(|scaled| raw_weights(&scaled));
            match fitted {
                Ok((value, raw)) => {
                    Ok(Some((value, weight_correlation(whole.gram.as_ref(), &raw, &reference))))
                }
                Err(error @ Error::Invalid { .. }) => Err(error),
                Err(_) => Ok(None),
            }
        })
        .collect::<Result<_>>()?;
    let n_failed = found.iter().filter(|f| f.is_none()).count();
    let (eigenvalues, mut correlations): (Vec<c64>, Vec<f64>) = found.into_iter().flatten().unzip();
    correlations.sort_by(f64::total_cmp);
    let n = eigenvalues.len();
    let mean = eigenvalues.iter().sum::<c64>() / n.max(1) as f64;
    let squares: f64 = eigenvalues.iter().map(|z| (*z - mean).norm_sqr()).sum();
    Ok(StabilityBootstrap {
        lambda_sd: if n > 1 { (squares / (n as f64 - 1.0)).sqrt() } else { f64::NAN },
        min_correlation: correlations.first().copied().unwrap_or(f64::NAN),
        median_correlation: match n {
            0 => f64::NAN,
            _ => 0.5 * (correlations[(n - 1) / 2] + correlations[n / 2]),
        },
        eigenvalues,
        n_failed,
    })
}

/// The selected eigenvalue when one layer at a time is left out.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerJackknife {
    /// One per layer left out (of a pair, the member with Im > 0).
    pub eigenvalues: Vec<c64>,
    /// Largest distance of any of them from the eigenvalue of all layers.
    pub range: f64,
    /// The layer whose absence moves it most.
    pub most_influential: usize,
}

/// Leave out each layer in turn: submatrices of the Gram matrix, no data.
///
/// The neighbours of a layer that is left out count as one step apart. Errors: fewer than 5 layers.
pub fn leave_one_layer_out(scaled: &ScaledGram, params: &DepthDmdParams) -> Result<LayerJackknife> {
    let n_layers = scaled.gram.ncols();
    let whole = depth_dmd_scaled(scaled, params)?.selected_eigenvalue();
    let eigenvalues: Vec<c64> = (0..n_layers)
        .map(|left_out| {
            let kept: Vec<usize> = (0..n_layers).filter(|l| *l != left_out).collect();
            Ok(depth_dmd_scaled(&arranged(scaled, &kept), params)?.selected_eigenvalue())
        })
        .collect::<Result<_>>()?;
    let moved: Vec<f64> = eigenvalues.iter().map(|z| (*z - whole).norm()).collect();
    let most_influential = (0..n_layers).fold(0, |best, l| if moved[l] > moved[best] { l } else { best });
    Ok(LayerJackknife { range: moved[most_influential], most_influential, eigenvalues })
}

/// Fit with the layers in another order; weights and coefficients come back in the original order.
///
/// `order[i]` is the layer that stands at depth i. A stable mode that survives shuffling owes nothing to
/// the order of the layers: any exchangeable sequence has its mean as a fixed point. Errors: `order` is
/// not a permutation of the layers.
pub fn shuffled(scaled: &ScaledGram, order: &[usize], params: &DepthDmdParams) -> Result<DepthSpectrum> {
    let n_layers = scaled.gram.ncols();
    let mut sorted = order.to_vec();
    sorted.sort_unstable();
    if !sorted.iter().copied().eq(0..n_layers) {
        return Err(Error::Invalid {
            what: "order".into(),
            expected: format!("each of 0..{n_layers} once"),
            found: format!("{order:?}"),
            hint: "draw a permutation of the layers".into(),
        });
    }
    let mut spectrum = depth_dmd_scaled(&arranged(scaled, order), params)?;
    let place = |layer: usize| order.iter().position(|l| *l == layer).unwrap_or_default();
    let places: Vec<usize> = (0..n_layers).map(place).collect();
    spectrum.weights = places.iter().map(|&at| spectrum.weights[at]).collect();
    let n_modes = spectrum.eigenvalues.len();
    spectrum.coefficients = Mat::from_fn(n_layers, n_modes, |l, k| spectrum.coefficients[(places[l], k)]);
    Ok(spectrum)
}

/// The trajectory of the given layers, in the given order.
fn arranged(scaled: &ScaledGram, layers: &[usize]) -> ScaledGram {
    ScaledGram {
        gram: Mat::from_fn(layers.len(), layers.len(), |i, j| scaled.gram[(layers[i], layers[j])]),
        triangle: scaled
            .triangle
            .as_ref()
            .map(|r| Mat::from_fn(r.nrows(), layers.len(), |i, l| r[(i, layers[l])])),
        divisors: layers.iter().map(|&l| scaled.divisors[l]).collect(),
        ..scaled.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::moments::MomentsOptions;
    use stereotax_base::data::LayerArrays;
    use stereotax_base::linalg::{product, thin_qr};
    use stereotax_base::stats::rng::Stream;

    const T: usize = 96;
    const K: usize = 24;
    const FOLDS: usize = 6;

    #[derive(Debug, Clone, Copy, PartialEq)]
    enum Network {
        Stable,
        Decaying,
        Rotating,
        RandomRotations,
        Unrelated,
    }

    fn noise(stream: &mut Stream, rows: usize, columns: usize) -> Mat<f64> {
        Mat::from_fn(rows, columns, |_, _| stream.normal())
    }

    fn between(stream: &mut Stream, low: f64, high: f64) -> f64 {
        low + (high - low) * stream.uniform()
    }

    fn layers(network: Network, n_layers: usize, level: f64, index: u64) -> Vec<Mat<f64>> {
        let mut stream = Stream::new(9, &format!("gates {network:?}"), index);
        let s = &mut stream;
        let mut clean: Vec<Mat<f64>> = match network {
            Network::Stable | Network::Decaying => {
                let first =
                    if network == Network::Stable { between(s, 0.97, 1.02) } else { between(s, 0.5, 0.85) };
                let values: Vec<f64> =
                    std::iter::once(first).chain((0..3).map(|_| between(s, 0.3, 0.8))).collect();
                let parts: Vec<Mat<f64>> = values
                    .iter()
                    .map(|_| {
                        let (a, b) = (noise(s, T, 2), noise(s, 2, K));
                        product(a.as_ref(), b.as_ref())
                    })
                    .collect();
                (0..n_layers)
                    .map(|l| {
                        Mat::from_fn(T, K, |t, k| {
                            values.iter().zip(&parts).map(|(v, p)| v.powi(l as i32) * p[(t, k)]).sum()
                        })
                    })
                    .collect()
            }
            Network::Rotating => {
                let angles: Vec<f64> = (0..3).map(|_| between(s, 0.25, 1.2)).collect();
                let parts: Vec<(Mat<f64>, Mat<f64>)> =
                    angles.iter().map(|_| (noise(s, T, K), noise(s, T, K))).collect();
                (0..n_layers)
                    .map(|l| {
                        Mat::from_fn(T, K, |t, k| {
                            let turn = |(a, (p, q)): (&f64, &(Mat<f64>, Mat<f64>))| {
                                let angle = a * l as f64;
                                angle.cos() * p[(t, k)] + angle.sin() * q[(t, k)]
                            };
                            angles.iter().zip(&parts).map(turn).sum()
                        })
                    })
                    .collect()
            }
            Network::RandomRotations => {
                let (a, b) = (noise(s, T, 8), noise(s, 8, K));
                let mut state = product(a.as_ref(), b.as_ref());
                (0..n_layers)
                    .map(|_| {
                        let turn = thin_qr(noise(s, K, K).as_ref()).0;
                        state = product(state.as_ref(), turn.as_ref());
                        state.clone()
                    })
                    .collect()
            }
            Network::Unrelated => (0..n_layers).map(|_| noise(s, T, K)).collect(),
        };
        let energy: f64 = clean.iter().map(|h| h.norm_l2().powi(2)).sum();
        let rms = (energy / (n_layers * T * K) as f64).sqrt();
        for h in &mut clean {
            *h += level * rms * noise(s, T, K);
        }
        clean
    }

    fn moments(layers: &[Mat<f64>]) -> DepthMoments {
        let names = |what: &str, n: usize| (0..n).map(|i| format!("{what} {i}")).collect::<Vec<_>>();
        let source =
            LayerArrays::new(&names("layer", layers.len()), layers.iter().map(|h| h.as_ref()).collect())
                .unwrap();
        let blocks: Vec<usize> = (0..T).map(|t| t * FOLDS / T).collect();
        let options = MomentsOptions::default();
        DepthMoments::accumulate(&source, &blocks, &names("block", FOLDS), options, &Monitor::silent())
            .unwrap()
    }

    fn judged(layers: &[Mat<f64>]) -> StableVerdict {
        let m = moments(layers);
        let scaled = |weights: Option<&[f64]>| {
            m.gram(weights, Centring::Stimuli).unwrap().scaled(Scaling::Frobenius).unwrap()
        };
        let folds: Vec<DepthSpectrum> = (0..FOLDS)
            .map(|held| {
                let weights: Vec<f64> = (0..FOLDS).map(|b| if b == held { 0.0 } else { 1.0 }).collect();
                depth_dmd_scaled(&scaled(Some(&weights)), &DepthDmdParams::default()).unwrap()
            })
            .collect();
        verdict(&folds, scaled(None).gram.as_ref(), &StableGates::default()).unwrap()
    }

    #[test]
    fn the_gates_accept_planted_modes_and_reject_nulls() {
        let share = |network: Network, n_layers: usize, level: f64| {
            let accepted = (0..40)
                .filter(|&i| judged(&layers(network, n_layers, level, i)) == StableVerdict::Stable)
                .count();
            accepted as f64 / 40.0
        };
        assert!(share(Network::Stable, 12, 0.3) >= 0.9);
        assert!(share(Network::Stable, 24, 0.1) >= 0.9);
        for network in [Network::Decaying, Network::Rotating, Network::RandomRotations, Network::Unrelated] {
            let accepted = share(network, 12, 0.3);
            assert!(accepted <= 0.05, "{network:?}: {accepted}");
        }
    }

    /// A spectrum of which only what the gates look at is filled in.
    fn spectrum(values: &[c64], weights: Vec<f64>, energy: f64, residual: f64) -> DepthSpectrum {
        let m = values.len();
        DepthSpectrum {
            eigenvalues: values.to_vec(),
            coefficients: Mat::zeros(weights.len(), m),
            amplitudes: vec![c64::new(1.0, 0.0); m],
            energies: vec![energy; m],
            residuals: vec![residual; m],
            selected: (0..m).collect(),
            weights,
            rank: m,
            numerical_rank: m,
            runner_up: None,
            reconstruction_error: 0.0,
            consensus: None,
            windows: vec![],
            window_of: vec![],
            warnings: vec![],
        }
    }

    #[test]
    fn each_gate_fails_on_its_own_and_says_its_number() {
        let g = Mat::<f64>::identity(5, 5);
        let w = vec![1.0, 1.0, 0.0, 0.0, 0.0];
        let reasons =
            |folds: &[DepthSpectrum]| match verdict(folds, g.as_ref(), &StableGates::default()).unwrap() {
                StableVerdict::Stable => vec![],
                StableVerdict::NoStableMode(failed) => failed.iter().map(|f| (f.reason, f.found)).collect(),
            };
        let one = [c64::new(1.0, 0.0)];
        let good = spectrum(&one, w.clone(), 0.5, 0.1);
        assert!(reasons(std::slice::from_ref(&good)).is_empty());
        // What a five-layer audio network gave: the pair turns by 1.48 radians over four steps.
        let pair = [c64::new(0.80, 0.31), c64::new(0.80, -0.31)];
        let turning = reasons(&[spectrum(&pair, w.clone(), 0.5, 0.1)]);
        assert_eq!(turning.len(), 1);
        assert_eq!(turning[0].0, UnstableReason::FarFromOne);
        assert!((turning[0].1 - 4.0 * (0.31f64 / 0.80).atan()).abs() < 1e-12);
        let fading = reasons(&[good.clone(), spectrum(&[c64::new(0.8, 0.0)], w.clone(), 0.5, 0.1)]);
        assert!((fading[0].1 + 4.0 * 0.8f64.ln()).abs() < 1e-12);
        assert_eq!(reasons(&[spectrum(&one, w.clone(), 0.05, 0.1)]), [(UnstableReason::Energy, 0.05)]);
        assert_eq!(reasons(&[spectrum(&one, w.clone(), 0.5, 0.7)]), [(UnstableReason::Residual, 0.7)]);
        assert!(reasons(&[spectrum(&one, w.clone(), 0.5, f64::NAN)]).is_empty());
        assert_eq!(reasons(&[spectrum(&one, w, f64::NAN, 0.1)]).len(), 1);
        // Weights (1, 1, 0…) and (1, 0, 0…) correlate by 1/√2 in an orthonormal Gram matrix.
        let other = spectrum(&one, vec![1.0, 0.0, 0.0, 0.0, 0.0], 0.5, 0.1);
        let unstable = reasons(&[good, other]);
        assert_eq!(unstable[0].0, UnstableReason::FoldInstability);
        assert!((unstable[0].1 - 0.5f64.sqrt()).abs() < 1e-12);
    }

    #[test]
    fn the_bootstrap_knows_a_firm_mode_from_a_loose_one_at_any_thread_count() {
        let mut stream = Stream::new(9, "draws", 0);
        let draws: Vec<Vec<f64>> = (0..30)
            .map(|_| {
                let mut weights = vec![0.0; FOLDS];
                for _ in 0..FOLDS {
                    weights[stream.below(FOLDS)] += 1.0;
                }
                weights
            })
            .collect();
        let run = |network| {
            let m = moments(&layers(network, 12, 0.3, 0));
            let params = DepthDmdParams::default();
            bootstrap(&m, Scaling::Frobenius, Centring::Stimuli, &params, &draws, &Monitor::silent()).unwrap()
        };
        let (firm, loose) = (run(Network::Stable), run(Network::Unrelated));
        assert!(firm.lambda_sd < 0.02 && firm.min_correlation > 0.95, "{firm:?}");
        assert!(loose.lambda_sd > 0.1 && loose.min_correlation < 0.8, "{loose:?}");
        assert_eq!((firm.eigenvalues.len(), firm.n_failed), (30, 0));
        let one = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        assert_eq!(one.install(|| run(Network::Stable)), firm);
    }

    #[test]
    fn shuffled_weights_belong_to_the_layers_they_name() {
        let m = moments(&layers(Network::Stable, 10, 0.2, 3));
        let scaled = m.gram(None, Centring::Stimuli).unwrap().scaled(Scaling::Frobenius).unwrap();
        let params = DepthDmdParams::default();
        let plain = depth_dmd_scaled(&scaled, &params).unwrap();
        let same = shuffled(&scaled, &(0..10).collect::<Vec<_>>(), &params).unwrap();
        assert_eq!(plain.weights, same.weights);
        // The layer that stands last has weight 0 under projected modes.
        let order = [3, 9, 1, 0, 2, 8, 5, 6, 4, 7];
        let mixed = shuffled(&scaled, &order, &params).unwrap();
        assert_eq!(mixed.weights[7], 0.0);
        assert!(mixed.weights[9] != 0.0);
        assert_eq!(mixed.coefficients[(7, 0)], c64::new(0.0, 0.0));
        assert!(matches!(shuffled(&scaled, &[0; 10], &params), Err(Error::Invalid { .. })));
    }

    #[test]
    fn leaving_a_layer_out_moves_a_firm_mode_little_and_an_odd_one_more() {
        let mut clean = layers(Network::Stable, 12, 0.05, 4);
        let params = DepthDmdParams::default();
        let scaled = |h: &[Mat<f64>]| {
            moments(h).gram(None, Centring::Stimuli).unwrap().scaled(Scaling::Frobenius).unwrap()
        };
        let firm = leave_one_layer_out(&scaled(&clean), &params).unwrap();
        assert_eq!(firm.eigenvalues.len(), 12);
        assert!(firm.range < 0.05, "{firm:?}");
        clean[6] = noise(&mut Stream::new(9, "odd layer", 0), T, K);
        let odd = leave_one_layer_out(&scaled(&clean), &params).unwrap();
        assert!(odd.range > firm.range);
    }
}
