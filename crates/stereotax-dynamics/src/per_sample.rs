//! Fit a standard DMD to the depth trajectory of every single sample.
//!
//! For each sample t its states h_0(t) … h_{L−1}(t) (K units, centred and scaled by training
//! statistics) give an L × L Gram matrix, and from it alone:
//!
//! ```text
//! G11 = V S² Vᵀ cut to rank r,  Ã = S⁻¹ Vᵀ G12 V S⁻¹,  Ã w_k = λ_k w_k,  c_k = V S⁻¹ w_k
//! s(t) = Re Σ_{k ∈ selected} b_k φ_k,   φ_k = Σ_l c_k[l] h_l(t)
//! ```
//!
//! The problem is small and ill-posed at full rank: with more units than layers the operator
//! interpolates, and the mode nearest to 1 may be another one in a neighbouring sample. The summary
//! says how far the spectra of samples agree; the pooled trajectory is the better-posed relative.
//!
//! A sample that is zero in all layers but the last has no trajectory: its row and eigenvalue are NaN
//! and it is counted in the summary.
//!
//! Source: Schmid 2010; Tu et al. 2014; specs: nfas-dmd 5.1, 5.2, 7. Cost: K·L²/2 multiply-adds and
//! O(L³) per sample; tiles of samples run in parallel, and every sample's result depends on it alone.

use std::ops::Range;

use faer::{Mat, c64};
use rayon::prelude::*;

use super::fit::MIN_LAYERS;
use super::modes::{choose_modes, solve_hermitian};
use super::pooled::read_states_by_row;
use super::rank::choose_rank;
use super::reduce::LayerTransform;
use super::spectrum::{Amplitude, DepthDmdParams, Estimator, ModeForm, RankRule};
use stereotax_base::data::{Error, Monitor, Result, TileSource};
use stereotax_base::linalg::{cross, eig, eigh, gram, product};

/// The stable representation and the spectrum of every sample.
#[derive(Debug, Clone)]
pub struct PerSampleDmd {
    /// s(t) (samples × K).
    pub stable: Mat<f64>,
    /// Selected eigenvalue per sample; of a pair, the member with Im > 0.
    pub eigenvalues: Vec<c64>,
    /// Residual ‖Aφ − λφ‖/‖φ‖ of the selected mode.
    pub residuals: Vec<f64>,
    /// Energy share of the selected modes.
    pub energies: Vec<f64>,
    /// Layer weights w_l(t) with s(t) = Σ_l w_l(t) h_l(t) (samples × L); NaN under `Modulus`, which is
    /// not linear in the layers, and where there is no trajectory.
    pub weights: Mat<f64>,
    /// Rank per sample; 0 where there is no trajectory.
    pub ranks: Vec<usize>,
    /// How far the samples agree.
    pub summary: PerSampleSummary,
}

/// The distribution of the selected eigenvalue over samples.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct PerSampleSummary {
    /// Median of |λ|.
    pub median_modulus: f64,
    /// 5 % and 95 % quantiles of |λ|.
    pub modulus_interval: [f64; 2],
    /// Median of Re λ.
    pub median_re: f64,
    /// Standard deviation of λ (variances of real and imaginary part added).
    pub sd: f64,
    /// Share of samples whose selected mode is a conjugate pair.
    pub pair_share: f64,
    /// Median rank.
    pub median_rank: f64,
    /// Median residual of the selected mode.
    pub median_residual: f64,
    /// Samples without a trajectory.
    pub n_undefined: usize,
}

/// Fit every sample of a source whose layers have equal width.
///
/// Of `params`: the estimator must be `Standard` with `Projected` modes, the rank `Energy`, `Fixed` or
/// `Full`; every amplitude is possible (`ModeOnly` is the unit mode, signed to agree with the layer
/// mean; `Modulus` its entrywise modulus). Errors: other settings, fewer than 4 layers, unequal widths,
/// values that are not finite.
pub fn per_sample_dmd(
    source: &dyn TileSource,
    transform: LayerTransform,
    params: &DepthDmdParams,
    monitor: &Monitor,
) -> Result<PerSampleDmd> {
    check(source, params)?;
    let (n, n_layers, width) = (source.n_samples(), source.layers().len(), source.layers()[0].width);
    let tiles: Vec<Range<usize>> = (0..n).step_by(TILE).map(|from| from..(from + TILE).min(n)).collect();
    let epsilon = source.epsilon();
    let fitted: Vec<Vec<Fitted>> = tiles
        .par_iter()
        .map(|tile| {
            monitor.check()?;
            let states = read_states_by_row(source, tile.clone(), transform)?;
            let mut packed = Mat::zeros(width, n_layers);
            (0..tile.len())
                .map(|at| {
                    let layers: Vec<&[f64]> =
                        (0..n_layers).map(|l| &states[l][at * width..(at + 1) * width]).collect();
                    for (l, layer) in layers.iter().enumerate() {
                        packed.col_mut(l).iter_mut().zip(*layer).for_each(|(out, x)| *out = *x);
                    }
                    fit_one(&layers, gram(packed.as_ref()), epsilon, params)
                })
                .collect()
        })
        .collect::<Result<_>>()?;
    let fitted: Vec<Fitted> = fitted.into_iter().flatten().collect();
    let eigenvalues: Vec<c64> = fitted.iter().map(|f| f.eigenvalue).collect();
    let residuals: Vec<f64> = fitted.iter().map(|f| f.residual).collect();
    let ranks: Vec<usize> = fitted.iter().map(|f| f.rank).collect();
    Ok(PerSampleDmd {
        stable: Mat::from_fn(n, width, |t, i| fitted[t].stable[i]),
        energies: fitted.iter().map(|f| f.energy).collect(),
        weights: Mat::from_fn(n, n_layers, |t, l| fitted[t].weights[l]),
        summary: summarise(&eigenvalues, &residuals, &ranks),
        eigenvalues,
        residuals,
        ranks,
    })
}

/// Samples per tile.
const TILE: usize = 64;

struct Fitted {
    stable: Vec<f64>,
    weights: Vec<f64>,
    eigenvalue: c64,
    residual: f64,
    energy: f64,
    rank: usize,
}

fn check(source: &dyn TileSource, params: &DepthDmdParams) -> Result<()> {
    let layers = source.layers();
    if layers.len() < MIN_LAYERS {
        return Err(Error::TooFew {
            what: "layers".into(),
            needed: format!("{MIN_LAYERS} layers"),
            found: format!("{}", layers.len()),
            hint: "tap every block of the network".into(),
        });
    }
    if let Some(odd) = layers.iter().find(|l| l.width != layers[0].width) {
        return Err(Error::Shape {
            what: odd.name.clone(),
            expected: format!("{} units (as in layer `{}`)", layers[0].width, layers[0].name),
            found: format!("{} units", odd.width),
            hint: "layers of unequal width need a layer map".into(),
        });
    }
    let known = matches!(params.rank, RankRule::Energy(_) | RankRule::Fixed(_) | RankRule::Full);
    if params.estimator != Estimator::Standard
        || params.modes != ModeForm::Projected
        || params.tikhonov != 0.0
        || !known
    {
        return Err(Error::Invalid {
            what: "settings of the per-sample trajectory".into(),
            expected: "the standard estimator with projected modes, no Tikhonov term, and rank energy, fixed or full".into(),
            found: format!("{:?}, {:?}, {}, {:?}", params.estimator, params.modes, params.tikhonov, params.rank),
            hint: "use the stacked trajectory for other estimators".into(),
        });
    }
    Ok(())
}

fn fit_one(layers: &[&[f64]], gram: Mat<f64>, epsilon: f64, params: &DepthDmdParams) -> Result<Fitted> {
    let (n_layers, width) = (layers.len(), layers[0].len());
    let pairs = n_layers - 1;
    let trace: f64 = (0..n_layers).map(|l| gram[(l, l)]).sum();
    let decomposed = eigh(gram.submatrix(0, 0, pairs, pairs))?;
    if decomposed.values[0] <= 0.0 {
        return Ok(Fitted {
            stable: vec![f64::NAN; width],
            weights: vec![f64::NAN; n_layers],
            eigenvalue: c64::new(f64::NAN, f64::NAN),
            residual: f64::NAN,
            energy: f64::NAN,
            rank: 0,
        });
    }
    let sigma: Vec<f64> = decomposed.values.iter().map(|w| w.max(0.0).sqrt()).collect();
    let cut = (n_layers as f64 * f64::EPSILON).max(epsilon * epsilon).sqrt();
    let rank = choose_rank(params.rank, &sigma, cut, None)?.rank;
    // B = V S⁻¹ (pairs × r): coordinates in the basis of X to layer weights.
    let mut lift = Mat::zeros(pairs, rank);
    for k in 0..rank {
        for l in 0..pairs {
            lift[(l, k)] = decomposed.vectors[(l, k)] / sigma[k];
        }
    }
    // G12 B and from it Ã = Bᵀ G12 B.
    let onward = product(gram.submatrix(0, 1, pairs, pairs), lift.as_ref());
    let operator = cross(lift.as_ref(), onward.as_ref());
    let decomposed = eig(operator.as_ref())?;
    let (values, w) = (&decomposed.values, &decomposed.vectors);

    // Φ*H in the basis of X: wᵀ* (Bᵀ G[0..p, :]), modes have unit length because w has.
    let snapshots = cross(lift.as_ref(), gram.submatrix(0, 0, pairs, n_layers));
    let powers = scaled_powers(values, n_layers);
    let amplitudes = amplitudes(w, &snapshots, &powers, params.amplitude)?;
    // ‖Y B w − λ U w‖² = w* (Bᵀ G22 B) w − |λ|² with unit w, but for rounding.
    let after = product(gram.submatrix(1, 1, pairs, pairs), lift.as_ref());
    let after = cross(lift.as_ref(), after.as_ref());
    let mut residuals = Vec::with_capacity(rank);
    let mut energies = Vec::with_capacity(rank);
    for k in 0..rank {
        let mut moved = 0.0;
        for i in 0..rank {
            for j in 0..rank {
                moved += (w[(i, k)].conj() * w[(j, k)]).re * after[(i, j)];
            }
        }
        residuals.push((moved - values[k].norm_sqr()).max(0.0).sqrt());
        let sum: f64 = powers.scaled[k].iter().map(|z| z.norm_sqr()).sum();
        energies.push(amplitudes[k].norm_sqr() * sum / trace);
    }
    let chosen = choose_modes(values, &residuals, &energies, n_layers, params)?.selected;

    let coefficient = |l: usize, k: usize| -> c64 { (0..rank).map(|j| w[(j, k)] * lift[(l, j)]).sum() };
    let mut stable = vec![0.0; width];
    let mut weights = vec![0.0; n_layers];
    match params.amplitude {
        Amplitude::Optimal | Amplitude::First => {
            for l in 0..pairs {
                let weight: f64 = chosen
                    .iter()
                    .map(|&k| (amplitudes[k] * (-powers.log_scale[k]).exp() * coefficient(l, k)).re)
                    .sum();
                weights[l] = weight;
                add_scaled(&mut stable, weight, layers[l]);
            }
        }
        Amplitude::ModeOnly => {
            for &k in &chosen {
                // ⟨φ, mean layer⟩, made real and positive.
                let along: c64 = (0..n_layers)
                    .map(|l| (0..rank).map(|j| w[(j, k)].conj() * snapshots[(j, l)]).sum::<c64>())
                    .sum();
                let turn = if along.norm() > 0.0 { along / along.norm() } else { c64::new(1.0, 0.0) };
                for l in 0..pairs {
                    let weight = (turn * coefficient(l, k)).re;
                    weights[l] += weight;
                    add_scaled(&mut stable, weight, layers[l]);
                }
            }
        }
        Amplitude::Modulus => {
            let k = chosen[0];
            let mut imaginary = vec![0.0; width];
            for l in 0..pairs {
                let c = coefficient(l, k);
                add_scaled(&mut stable, c.re, layers[l]);
                add_scaled(&mut imaginary, c.im, layers[l]);
            }
            stable.iter_mut().zip(&imaginary).for_each(|(re, im)| *re = re.hypot(*im));
            weights.fill(f64::NAN);
        }
    }
    Ok(Fitted {
        stable,
        weights,
        eigenvalue: values[chosen[0]],
        residual: residuals[chosen[0]],
        energy: chosen.iter().map(|&k| energies[k]).sum(),
        rank,
    })
}

struct Powers {
    /// λ_kˡ / max_l |λ_k|ˡ.
    scaled: Vec<Vec<c64>>,
    log_scale: Vec<f64>,
}

fn scaled_powers(values: &[c64], n_layers: usize) -> Powers {
    let log_scale: Vec<f64> =
        values.iter().map(|z| (z.norm().ln() * (n_layers - 1) as f64).max(0.0)).collect();
    let scaled = values
        .iter()
        .map(|&z| {
            let grows = z.norm() > 1.0;
            // Growing powers are built from the last layer backwards, so that none exceeds 1.
            let (mut power, factor) = if grows {
                let turn = (z / z.norm()).powu(n_layers as u32 - 1);
                (turn, z.inv())
            } else {
                (c64::new(1.0, 0.0), z)
            };
            let mut out: Vec<c64> = (0..n_layers)
                .map(|_| {
                    let now = power;
                    power *= factor;
                    now
                })
                .collect();
            if grows {
                out.reverse();
            }
            out
        })
        .collect();
    Powers { scaled, log_scale }
}

/// Amplitudes for the scaled powers: over all layers, or to meet the first one.
fn amplitudes(w: &Mat<c64>, snapshots: &Mat<f64>, powers: &Powers, rule: Amplitude) -> Result<Vec<c64>> {
    let (rank, n_layers) = (snapshots.nrows(), snapshots.ncols());
    let used = if rule == Amplitude::First { 1 } else { n_layers };
    let v = |k: usize, l: usize| powers.scaled[k][l];
    let mut p = Mat::zeros(rank, rank);
    let mut q = vec![c64::new(0.0, 0.0); rank];
    for j in 0..rank {
        for k in 0..=j {
            let overlap: c64 = (0..rank).map(|i| w[(i, j)].conj() * w[(i, k)]).sum();
            let times: c64 = (0..used).map(|l| v(j, l).conj() * v(k, l)).sum();
            p[(j, k)] = overlap * times;
            p[(k, j)] = p[(j, k)].conj();
        }
        for l in 0..used {
            let along: c64 = (0..rank).map(|i| w[(i, j)].conj() * snapshots[(i, l)]).sum();
            q[j] += v(j, l).conj() * along;
        }
    }
    solve_hermitian(p.as_ref(), &q)
}

fn add_scaled(out: &mut [f64], scale: f64, x: &[f64]) {
    for (o, v) in out.iter_mut().zip(x) {
        *o += scale * v;
    }
}

fn summarise(eigenvalues: &[c64], residuals: &[f64], ranks: &[usize]) -> PerSampleSummary {
    let defined: Vec<usize> = (0..ranks.len()).filter(|&t| ranks[t] > 0).collect();
    let n = defined.len() as f64;
    let sorted = |of: &dyn Fn(usize) -> f64| {
        let mut values: Vec<f64> = defined.iter().map(|&t| of(t)).collect();
        values.sort_by(f64::total_cmp);
        values
    };
    let modulus = sorted(&|t| eigenvalues[t].norm());
    let mean: c64 = defined.iter().map(|&t| eigenvalues[t]).sum::<c64>() / n;
    let square: f64 = defined.iter().map(|&t| (eigenvalues[t] - mean).norm_sqr()).sum();
    PerSampleSummary {
        median_modulus: quantile(&modulus, 0.5),
        modulus_interval: [quantile(&modulus, 0.05), quantile(&modulus, 0.95)],
        median_re: quantile(&sorted(&|t| eigenvalues[t].re), 0.5),
        sd: if defined.len() > 1 { (square / (n - 1.0)).sqrt() } else { f64::NAN },
        pair_share: defined.iter().filter(|&&t| eigenvalues[t].im > 0.0).count() as f64 / n,
        median_rank: quantile(&sorted(&|t| ranks[t] as f64), 0.5),
        median_residual: quantile(&sorted(&|t| residuals[t]), 0.5),
        n_undefined: ranks.len() - defined.len(),
    }
}

/// Linear interpolation between order statistics; NaN of nothing.
fn quantile(sorted: &[f64], p: f64) -> f64 {
    if sorted.is_empty() {
        return f64::NAN;
    }
    let at = p * (sorted.len() - 1) as f64;
    let (low, share) = (at.floor() as usize, at.fract());
    let high = (low + 1).min(sorted.len() - 1);
    sorted[low] + share * (sorted[high] - sorted[low])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fit::depth_dmd;
    use stereotax_base::data::LayerArrays;
    use stereotax_base::linalg::{solve, thin_qr};
    use stereotax_base::stats::rng::Stream;

    fn noise(rows: usize, columns: usize, index: u64) -> Mat<f64> {
        let mut stream = Stream::new(8, "per sample tests", index);
        Mat::from_fn(rows, columns, |_, _| stream.normal())
    }

    fn run(layers: &[Mat<f64>], params: &DepthDmdParams) -> PerSampleDmd {
        let names: Vec<String> = (0..layers.len()).map(|l| format!("layer {l}")).collect();
        let source = LayerArrays::new(&names, layers.iter().map(|h| h.as_ref()).collect()).unwrap();
        let rms = vec![1.0; layers.len()];
        let transform = LayerTransform { means: None, rms: &rms };
        per_sample_dmd(&source, transform, params, &Monitor::silent()).unwrap()
    }

    fn random_layers(samples: usize, width: usize, n_layers: usize) -> Vec<Mat<f64>> {
        // A walk in depth: neighbouring layers resemble each other.
        let mut state = noise(samples, width, 1);
        (0..n_layers)
            .map(|l| {
                let now = state.clone();
                state = &state + noise(samples, width, 10 + l as u64) * faer::Scale(0.4);
                now
            })
            .collect()
    }

    #[test]
    fn known_laws_come_back_for_every_sample() {
        // 0.98 and a pair 0.6 ± 0.5i in a skewed basis of 3 dimensions within 20 units.
        let mut block = Mat::<f64>::zeros(3, 3);
        (block[(0, 0)], block[(1, 1)], block[(2, 2)]) = (0.98, 0.6, 0.6);
        (block[(1, 2)], block[(2, 1)]) = (-0.5, 0.5);
        let basis = noise(3, 3, 2);
        let a = solve(basis.transpose(), product(basis.as_ref(), block.as_ref()).transpose());
        let a = a.transpose().to_owned();
        let frame = thin_qr(noise(20, 3, 3).as_ref()).0;
        let mut state = noise(30, 3, 4);
        let mut layers = Vec::new();
        for _ in 0..9 {
            layers.push(product(state.as_ref(), frame.transpose()));
            state = product(state.as_ref(), a.transpose());
        }
        let params = DepthDmdParams { rank: RankRule::Fixed(3), min_energy: 0.0, ..Default::default() };
        let found = run(&layers, &params);
        let inverse = solve(basis.as_ref(), Mat::<f64>::identity(3, 3).as_ref());
        for t in 0..30 {
            assert!((found.eigenvalues[t] - 0.98).norm() < 1e-8, "{}", found.eigenvalues[t]);
            // b φ is the component of the first state along the eigenvector.
            let first: Vec<f64> =
                (0..3).map(|i| (0..20).map(|u| layers[0][(t, u)] * frame[(u, i)]).sum()).collect();
            let along: f64 = (0..3).map(|i| inverse[(0, i)] * first[i]).sum();
            for u in 0..20 {
                let expected: f64 = (0..3).map(|i| frame[(u, i)] * basis[(i, 0)] * along).sum();
                assert!((found.stable[(t, u)] - expected).abs() < 1e-6);
            }
        }
        assert!(found.summary.sd < 1e-8 && found.summary.pair_share == 0.0);
        assert_eq!(found.summary.median_rank, 3.0);
    }

    #[test]
    fn each_sample_is_what_the_general_route_gives() {
        let layers = random_layers(25, 30, 10);
        for amplitude in [Amplitude::Optimal, Amplitude::First, Amplitude::ModeOnly] {
            for rank in [RankRule::Energy(0.99), RankRule::Fixed(4)] {
                let params = DepthDmdParams { amplitude, rank, ..Default::default() };
                let found = run(&layers, &params);
                for t in 0..25 {
                    let gram = Mat::from_fn(10, 10, |l, m| {
                        (0..30).map(|u| layers[l][(t, u)] * layers[m][(t, u)]).sum::<f64>()
                    });
                    let slow = depth_dmd(gram.as_ref(), f64::EPSILON, &params).unwrap();
                    assert!((found.eigenvalues[t] - slow.selected_eigenvalue()).norm() < 1e-8);
                    assert_eq!(found.ranks[t], slow.rank);
                    assert!((found.residuals[t] - slow.residuals[slow.selected[0]]).abs() < 1e-6);
                    let energy: f64 = slow.selected.iter().map(|&k| slow.energies[k]).sum();
                    assert!((found.energies[t] - energy).abs() < 1e-7 * energy.max(1.0));
                    for u in 0..30 {
                        let expected: f64 = (0..10).map(|l| slow.weights[l] * layers[l][(t, u)]).sum();
                        assert!((found.stable[(t, u)] - expected).abs() < 1e-6, "{amplitude:?} {rank:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn the_modulus_has_unit_length_and_is_not_negative() {
        let layers = random_layers(10, 30, 10);
        let params = DepthDmdParams { amplitude: Amplitude::Modulus, ..Default::default() };
        let found = run(&layers, &params);
        for t in 0..10 {
            let length: f64 = (0..30).map(|u| found.stable[(t, u)].powi(2)).sum();
            assert!((length - 1.0).abs() < 1e-8);
            assert!((0..30).all(|u| found.stable[(t, u)] >= 0.0));
        }
    }

    #[test]
    fn moving_samples_moves_rows_and_turning_units_turns_them() {
        let layers = random_layers(70, 12, 8);
        let turn = thin_qr(noise(12, 12, 5).as_ref()).0;
        let moved: Vec<Mat<f64>> = layers
            .iter()
            .map(|h| {
                let rows = Mat::from_fn(70, 12, |t, u| h[((t * 3 + 1) % 70, u)]);
                product(rows.as_ref(), turn.as_ref())
            })
            .collect();
        let params = DepthDmdParams { rank: RankRule::Fixed(3), ..Default::default() };
        let (a, b) = (run(&layers, &params), run(&moved, &params));
        let expected = product(a.stable.as_ref(), turn.as_ref());
        for t in 0..70 {
            let from = (t * 3 + 1) % 70;
            assert!((a.eigenvalues[from] - b.eigenvalues[t]).norm() < 1e-9);
            assert!((0..12).all(|u| (expected[(from, u)] - b.stable[(t, u)]).abs() < 1e-8));
        }
        let one = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        assert_eq!(one.install(|| run(&layers, &params)).stable, a.stable);
    }

    #[test]
    fn a_sample_without_a_trajectory_is_counted_not_invented() {
        let mut layers = random_layers(5, 6, 6);
        for h in &mut layers {
            for u in 0..6 {
                h[(2, u)] = 0.0;
            }
        }
        let found = run(&layers, &DepthDmdParams::default());
        assert_eq!((found.summary.n_undefined, found.ranks[2]), (1, 0));
        assert!(found.stable[(2, 0)].is_nan() && found.stable[(3, 0)].is_finite());
        assert!(found.summary.median_modulus.is_finite());
    }
}
