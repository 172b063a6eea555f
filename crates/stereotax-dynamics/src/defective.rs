//! Invariant subspaces in place of eigenvectors, for an operator that (nearly) lacks a basis of them.
//!
//! Eigenvalues that lie so close that their vectors are parallel form a cluster. With a basis X_c of each
//! cluster's invariant subspace, orthonormal from an ordered real Schur form, Ã X_c = X_c T_c and
//!
//! ```text
//! z_l ≈ Σ_c Φ_c T_cˡ β_c,      Φ_c = U X_c          (one eigenvalue alone: Φ = φ, T = λ, β = b)
//! optimal β:  least squares over all layers;   first β: over the first layer alone
//! energy:     E_c = Σ_l ‖Φ_c T_cˡ β_c‖² / tr(ZᵀZ),  shared evenly by the members
//! residual:   ‖A Φ_c − Φ_c T_c‖_F / √m
//! weights:    S = Σ_{c selected} Φ_c β_c             (as layer weights, V S⁻¹ X_c β_c)
//! ```
//!
//! so the stable representation is what the spectral projector of the selected cluster leaves of the
//! trajectory, with no large numbers that cancel. A cluster's eigenvalue is the mean of its members, which
//! is known sharply where they are not: a Jordan block of size m scatters them by ε^(1/m).
//!
//! Nearest clusters are merged until the bases together have a condition number of at most 10⁵.
//! Source: specs: nfas-dmd 18; Bavely & Stewart 1979 (block diagonalisation by clusters).
//! Cost: O(r⁵) at worst, with r at most 12 by default, and only for operators that need it.

use faer::{Mat, MatRef, c64};

use super::modes::{ChosenModes, choose_clusters, trouble};
use super::reduce::Reduced;
use super::spectrum::{Amplitude, DepthDmdParams, DepthSpectrum};
use stereotax_base::data::{Error, Result};
use stereotax_base::linalg::{least_squares, product, schur, svd};

/// Clusters are merged until the bases of all are conditioned no worse than this.
const MERGED: f64 = 1e5;
/// Relative cut of the amplitude system.
const AMPLITUDE_CUT: f64 = 1e-12;

/// Eigenvalues that share an invariant subspace.
#[derive(Debug, Clone)]
pub(super) struct Cluster {
    /// Mean of the members with Im ≥ 0, real where the cluster holds real members.
    pub value: c64,
    /// Number of members, conjugates included.
    pub size: usize,
    /// r × m, orthonormal.
    pub basis: Mat<f64>,
    /// T_c, m × m.
    pub block: Mat<f64>,
}

/// A cluster with its basis in the space of the layers.
#[derive(Debug, Clone)]
pub(super) struct ClusterModes {
    /// Where it comes from.
    pub cluster: Cluster,
    /// L × m: Φ_c = Z · coefficients.
    pub coefficients: Mat<f64>,
    /// ‖A Φ_c − Φ_c T_c‖_F / √m.
    pub residual: f64,
}

/// The clusters of a real operator, by descending modulus.
///
/// Errors: no convergence of the Schur form.
pub(super) fn clusters(operator: MatRef<f64>) -> Result<Vec<Cluster>> {
    let form = schur(operator)?;
    let values = form.eigenvalues();
    let blocks = form.blocks();
    // One label per Schur block; merging gives two labels one name.
    let mut label: Vec<usize> = (0..blocks.len()).collect();
    loop {
        let names: Vec<usize> = (0..blocks.len()).filter(|&k| label[k] == k).collect();
        let found = names
            .iter()
            .map(|&name| {
                let wanted: Vec<bool> = label.iter().map(|l| *l == name).collect();
                let mut ordered = form.clone();
                let size = ordered.bring_up(&wanted)?;
                let members: Vec<c64> = (0..blocks.len())
                    .filter(|&k| wanted[k])
                    .flat_map(|k| values[blocks[k].0..blocks[k].0 + blocks[k].1].iter().copied())
                    .collect();
                Ok(Cluster {
                    value: mean_value(&members),
                    size,
                    basis: ordered.q.get(.., ..size).to_owned(),
                    block: ordered.t.get(..size, ..size).to_owned(),
                })
            })
            .collect::<Result<Vec<Cluster>>>();
        // Blocks that cannot be exchanged belong together too. One cluster alone is orthonormal, so this ends.
        if let Ok(mut found) = found
            && condition(&found)? <= MERGED
        {
            found.sort_by(|a, b| {
                let (x, y) = (a.value, b.value);
                y.norm().total_cmp(&x.norm()).then(y.re.total_cmp(&x.re))
            });
            return Ok(found);
        }
        let gap = |a: usize, b: usize| {
            let mut least = f64::INFINITY;
            for i in (0..blocks.len()).filter(|&k| label[k] == a) {
                for j in (0..blocks.len()).filter(|&k| label[k] == b) {
                    least = least.min((values[blocks[i].0] - values[blocks[j].0]).norm());
                }
            }
            least
        };
        let nearest = names
            .iter()
            .enumerate()
            .flat_map(|(at, &a)| names[at + 1..].iter().map(move |&b| (a, b)))
            .min_by(|x, y| gap(x.0, x.1).total_cmp(&gap(y.0, y.1)));
        let Some((keep, gone)) = nearest else {
            return Err(Error::NoConvergence {
                what: "clusters of a defective operator".into(),
                detail: "its Schur blocks could not be ordered".into(),
            });
        };
        label.iter_mut().filter(|l| **l == gone).for_each(|l| *l = keep);
    }
}

fn mean_value(members: &[c64]) -> c64 {
    let any_real = members.iter().any(|z| z.im == 0.0);
    let upper: Vec<c64> = members.iter().copied().filter(|z| any_real || z.im > 0.0).collect();
    let mean = upper.iter().sum::<c64>() / upper.len() as f64;
    if any_real { c64::new(mean.re, 0.0) } else { mean }
}

fn condition(clusters: &[Cluster]) -> Result<f64> {
    let columns: Vec<&[f64]> =
        clusters.iter().flat_map(|c| (0..c.size).map(|j| c.basis.col_as_slice(j))).collect();
    let bases = Mat::from_fn(columns[0].len(), columns.len(), |i, j| columns[j][i]);
    let s = svd(bases.as_ref())?.s;
    Ok(s[0] / s[s.len() - 1])
}

/// Complete a spectrum from clusters: amplitudes, energies, the stable cluster and its layer weights.
pub(super) fn finish_clusters(
    reduced: &Reduced,
    modes: &[ClusterModes],
    rank: usize,
    mut warnings: Vec<String>,
    params: &DepthDmdParams,
) -> Result<DepthSpectrum> {
    let (z, n_layers) = (&reduced.snapshots, reduced.n_layers());
    // What each cluster makes of unit amplitudes, layer after layer: L × (ρ × m), scaled against overflow.
    let paths: Vec<Path> = modes.iter().map(|m| Path::new(m, z.as_ref(), n_layers)).collect();
    let used = if params.amplitude == Amplitude::First { 1 } else { n_layers };
    let starts: Vec<usize> = starts(modes);
    let total: usize = modes.iter().map(|m| m.cluster.size).sum();
    let mut system = Mat::<f64>::zeros(used * z.nrows(), total);
    let mut right = Mat::<f64>::zeros(used * z.nrows(), 1);
    for l in 0..used {
        for i in 0..z.nrows() {
            right[(l * z.nrows() + i, 0)] = z[(i, l)];
            for (path, &from) in paths.iter().zip(&starts) {
                for j in 0..path.steps[l].ncols() {
                    system[(l * z.nrows() + i, from + j)] = path.steps[l][(i, j)];
                }
            }
        }
    }
    let solved = least_squares(system.as_ref(), right.as_ref(), AMPLITUDE_CUT)?;

    let n = modes.len();
    let (mut energies, mut made) = (vec![0.0; n], Mat::<f64>::zeros(z.nrows(), n_layers));
    for (k, path) in paths.iter().enumerate() {
        let beta = solved.get(starts[k]..starts[k] + modes[k].cluster.size, ..);
        for l in 0..n_layers {
            let part = product(path.steps[l].as_ref(), beta);
            energies[k] += part.norm_l2().powi(2) / reduced.energy();
            (0..z.nrows()).for_each(|i| made[(i, l)] += part[(i, 0)]);
        }
    }
    let values: Vec<c64> = modes.iter().map(|m| m.cluster.value).collect();
    let residuals: Vec<f64> = modes.iter().map(|m| m.residual).collect();
    let ChosenModes { selected, runner_up, warnings: said } =
        choose_clusters(&values, &residuals, &energies, n_layers, params)?;
    warnings.extend(said);
    warnings.extend(trouble(selected.iter().map(|&k| residuals[k]).fold(0.0, f64::max)));

    let mut spectrum = DepthSpectrum {
        eigenvalues: Vec::new(),
        coefficients: Mat::zeros(n_layers, total),
        amplitudes: Vec::new(),
        energies: Vec::new(),
        residuals: Vec::new(),
        selected: Vec::new(),
        weights: vec![0.0; n_layers],
        rank,
        numerical_rank: reduced.numerical_rank,
        runner_up: runner_up.map(|(k, margin)| (starts[k], margin)),
        reconstruction_error: (made - z).norm_l2() / reduced.energy().sqrt(),
        consensus: None,
        window_of: Vec::new(),
        windows: Vec::new(),
        warnings,
    };
    for (k, mode) in modes.iter().enumerate() {
        let m = mode.cluster.size;
        // Half of a cluster of pairs stands below the real line.
        let value = |j: usize| if j % 2 == 1 { values[k].conj() } else { values[k] };
        spectrum.eigenvalues.extend((0..m).map(value));
        spectrum.energies.extend(std::iter::repeat_n(energies[k] / m as f64, m));
        spectrum.residuals.extend(std::iter::repeat_n(residuals[k], m));
        let beta: Vec<f64> =
            (0..m).map(|j| solved[(starts[k] + j, 0)] * (-paths[k].log_scale).exp()).collect();
        spectrum.amplitudes.extend(beta.iter().map(|b| c64::new(*b, 0.0)));
        for j in 0..m {
            for l in 0..n_layers {
                spectrum.coefficients[(l, starts[k] + j)] = c64::new(mode.coefficients[(l, j)], 0.0);
            }
        }
        if selected.contains(&k) {
            spectrum.selected.extend(starts[k]..starts[k] + m);
            let part: Vec<f64> =
                (0..n_layers).map(|l| (0..m).map(|j| mode.coefficients[(l, j)] * beta[j]).sum()).collect();
            let scale = if params.amplitude == Amplitude::ModeOnly { unit(z.as_ref(), &part) } else { 1.0 };
            spectrum.weights.iter_mut().zip(&part).for_each(|(w, x)| *w += scale * x);
        }
    }
    if !spectrum.amplitudes.iter().all(|b| b.is_finite()) {
        return Err(Error::NoConvergence {
            what: "depth DMD".into(),
            detail: "an amplitude of a defective operator is not finite".into(),
        });
    }
    Ok(spectrum)
}

fn starts(modes: &[ClusterModes]) -> Vec<usize> {
    modes
        .iter()
        .scan(0, |from, m| {
            let at = *from;
            *from += m.cluster.size;
            Some(at)
        })
        .collect()
}

/// Φ_c T_cˡ / max_l |λ|ˡ for every layer.
struct Path {
    steps: Vec<Mat<f64>>,
    log_scale: f64,
}

impl Path {
    fn new(mode: &ClusterModes, snapshots: MatRef<f64>, n_layers: usize) -> Self {
        let modulus = mode.cluster.value.norm();
        let unit = if modulus > 0.0 { modulus } else { 1.0 };
        let log_scale = ((n_layers - 1) as f64 * unit.ln()).max(0.0);
        let turn = mode.cluster.block.as_ref() * faer::Scale(1.0 / unit);
        let mut power = product(snapshots, mode.coefficients.as_ref());
        let mut steps = Vec::with_capacity(n_layers);
        for l in 0..n_layers {
            let size = (l as f64 * unit.ln() - log_scale).exp();
            steps.push(&power * faer::Scale(size));
            power = product(power.as_ref(), turn.as_ref());
        }
        Path { steps, log_scale }
    }
}

/// The factor that makes Z·part a unit vector along the mean layer.
fn unit(snapshots: MatRef<f64>, part: &[f64]) -> f64 {
    let state = product(snapshots, Mat::from_fn(part.len(), 1, |l, _| part[l]).as_ref());
    let along: f64 =
        (0..snapshots.nrows()).map(|i| state[(i, 0)] * snapshots.row(i).iter().sum::<f64>()).sum();
    let length = state.norm_l2();
    if length > 0.0 { (1.0 / length).copysign(along) } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fit::depth_dmd_reduced;
    use crate::reduce::reduce_triangle;
    use crate::spectrum::{Estimator, RankRule, Selection};
    use stereotax_base::linalg::{pseudo_inverse, thin_qr};
    use stereotax_base::stats::rng::Stream;

    fn noise(rows: usize, columns: usize, index: u64) -> Mat<f64> {
        let mut stream = Stream::new(4, "defective tests", index);
        Mat::from_fn(rows, columns, |_, _| stream.normal())
    }

    /// Block diagonal of Jordan blocks (λ, size).
    fn jordan(blocks: &[(f64, usize)]) -> Mat<f64> {
        let n = blocks.iter().map(|b| b.1).sum();
        let mut made = Mat::zeros(n, n);
        let mut at = 0;
        for &(value, size) in blocks {
            for i in 0..size {
                made[(at + i, at + i)] = value;
                if i > 0 {
                    made[(at + i - 1, at + i)] = 1.0;
                }
            }
            at += size;
        }
        made
    }

    /// H[:, l] = B Jˡ β for a random basis B (n × r), and what the first block leaves of layer 0.
    fn trajectory(blocks: &[(f64, usize)], n: usize, n_layers: usize, index: u64) -> (Mat<f64>, Mat<f64>) {
        let j = jordan(blocks);
        let basis = thin_qr(noise(n, j.nrows(), index).as_ref()).0;
        let beta = noise(j.nrows(), 1, index + 1);
        let mut h = Mat::zeros(n, n_layers);
        let mut state = beta.clone();
        for l in 0..n_layers {
            let column = product(basis.as_ref(), state.as_ref());
            (0..n).for_each(|i| h[(i, l)] = column[(i, 0)]);
            state = product(j.as_ref(), state.as_ref());
        }
        let size = blocks[0].1;
        (h, product(basis.get(.., ..size), beta.get(..size, ..)))
    }

    #[test]
    fn clusters_of_planted_jordan_blocks_come_back() {
        let basis = noise(7, 7, 0);
        let inverse = pseudo_inverse(basis.as_ref(), 1e-14).unwrap();
        let j = jordan(&[(0.9, 3), (0.4, 2), (-0.7, 1), (0.1, 1)]);
        let a = product(product(basis.as_ref(), j.as_ref()).as_ref(), inverse.as_ref());
        let found = clusters(a.as_ref()).unwrap();
        assert_eq!(found.iter().map(|c| c.size).collect::<Vec<_>>(), [3, 1, 2, 1]);
        for (cluster, value) in found.iter().zip([0.9, -0.7, 0.4, 0.1]) {
            assert!((cluster.value - value).norm() < 1e-11, "{}", cluster.value);
            let moved = product(a.as_ref(), cluster.basis.as_ref())
                - product(cluster.basis.as_ref(), cluster.block.as_ref());
            assert!(moved.norm_l2() < 1e-12 * a.norm_l2());
        }
    }

    #[test]
    fn the_stable_subspace_of_a_defective_trajectory_is_the_planted_one() {
        for estimator in [Estimator::Standard, Estimator::TotalLeastSquares] {
            let (h, truth) = trajectory(&[(0.95, 3), (0.5, 1), (-0.3, 1)], 80, 12, 10);
            let params = DepthDmdParams { estimator, rank: RankRule::Fixed(5), ..DepthDmdParams::default() };
            let triangle = thin_qr(h.as_ref()).1;
            let reduced = reduce_triangle(triangle.as_ref(), 0.0).unwrap();
            let found = depth_dmd_reduced(&reduced, &params).unwrap();
            assert!(found.warnings.iter().any(|w| w.contains("3 at 0.9500")), "{:?}", found.warnings);
            assert_eq!(found.selected, [0, 1, 2]);
            assert!((found.selected_eigenvalue() - 0.95).norm() < 1e-9, "{:?}", found.eigenvalues);
            assert!(found.reconstruction_error < 1e-9 && found.residuals.iter().all(|r| *r < 1e-9));
            // S is the planted part itself, not a difference of huge parallel modes.
            let stable = product(h.as_ref(), Mat::from_fn(12, 1, |l, _| found.weights[l]).as_ref());
            let missed = (stable - &truth).norm_l2() / truth.norm_l2();
            assert!(missed < 1e-7, "{estimator:?}: {missed:e}");
            let total: f64 = found.energies[..3].iter().sum();
            assert!(total > 0.5, "{:?}", found.energies);
        }
    }

    #[test]
    fn every_selection_and_amplitude_has_its_meaning() {
        let (h, truth) = trajectory(&[(0.95, 3), (0.5, 1)], 60, 10, 20);
        let reduced = reduce_triangle(thin_qr(h.as_ref()).1.as_ref(), 0.0).unwrap();
        let fit = |amplitude, select| {
            let rank = RankRule::Fixed(4);
            let min_energy = 0.0;
            let params = DepthDmdParams { rank, amplitude, select, min_energy, ..DepthDmdParams::default() };
            let found = depth_dmd_reduced(&reduced, &params).unwrap();
            product(h.as_ref(), Mat::from_fn(10, 1, |l, _| found.weights[l]).as_ref())
        };
        let close = |a: &Mat<f64>, b: &Mat<f64>| (a - b).norm_l2() < 1e-6 * b.norm_l2();
        assert!(close(&fit(Amplitude::First, Selection::ClosestToOne), &truth));
        let unit = fit(Amplitude::ModeOnly, Selection::ClosestToOne);
        assert!((unit.norm_l2() - 1.0).abs() < 1e-9);
        assert!(close(&(unit * faer::Scale(truth.norm_l2())), &truth));
        // Every cluster inside a wide band: the first layer itself.
        let all = fit(Amplitude::Optimal, Selection::Band { gain: 1e3 });
        assert!(close(&all, &h.get(.., ..1).to_owned()));
    }

    #[test]
    fn a_healthy_operator_has_no_clusters_and_would_give_the_same_weights() {
        let h = noise(60, 9, 30);
        let reduced = reduce_triangle(thin_qr(h.as_ref()).1.as_ref(), 0.0).unwrap();
        let params = DepthDmdParams { rank: RankRule::Fixed(4), ..DepthDmdParams::default() };
        let plain = depth_dmd_reduced(&reduced, &params).unwrap();
        assert!(!plain.warnings.iter().any(|w| w.contains("defective")));
        // The same fit through clusters, each of one mode or pair.
        use crate::operator::{Pairs, Pod};
        let pairs = Pairs::new(&reduced, false);
        let pod = Pod::leading(&Pod::full(pairs.x.as_ref()).unwrap(), 4);
        let operator = pod.operator(pairs.y.as_ref(), 0.0);
        let to_layers = pod.whitening(0.0);
        let modes: Vec<ClusterModes> = clusters(operator.as_ref())
            .unwrap()
            .into_iter()
            .map(|cluster| {
                let short = product(to_layers.as_ref(), cluster.basis.as_ref());
                let coefficients =
                    Mat::from_fn(9, cluster.size, |l, j| if l < 8 { short[(l, j)] } else { 0.0 });
                ClusterModes { coefficients, residual: 0.1, cluster }
            })
            .collect();
        let found = finish_clusters(&reduced, &modes, 4, vec![], &params).unwrap();
        assert!((found.selected_eigenvalue() - plain.selected_eigenvalue()).norm() < 1e-10);
        assert!((found.reconstruction_error - plain.reconstruction_error).abs() < 1e-10);
        for (a, b) in found.weights.iter().zip(&plain.weights) {
            assert!((a - b).abs() < 1e-9, "{:?} {:?}", found.weights, plain.weights);
        }
        let energy = |s: &DepthSpectrum| s.selected.iter().map(|&k| s.energies[k]).sum::<f64>();
        assert!(energy(&plain) > 0.0);
    }
}
