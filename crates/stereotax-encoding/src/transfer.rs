//! Ask whether an encoder that was trained on one modality predicts another: stories, say, and movies.
//!
//! Modalities have features of the same p units and responses of the same m voxels, over samples of their own. Each
//! is z-scored by itself within every run (units and voxels, divisor n): levels and scales of the test modality
//! never come from training statistics. Features may then be repeated at delays (FIR, 1–4 TR for BOLD), within runs,
//! with zeros (the mean of the run) before its start; the columns of a delay stand together. For an encoder trained on A (ridge, a penalty per voxel chosen by inner
//! folds of A) and test folds of B (its runs, or contiguous parts),
//!
//! ```text
//! r(A → B) = mean over test folds of B of the correlation within the fold, weighted by fold size
//! r(B → B)   the same folds, the encoder trained on the other folds of B
//! transfer ratio (A → B) = mean_v r(A → B) / mean_v r(B → B)         NaN unless r(B → B) is above 0
//! ```
//!
//! so both use the same rows. Negative transfer is information (weights of opposite sign), and is not clipped.
//!
//! Shared dimensions: with the voxels' weights W_A (p × m, centred over voxels) and V_k its leading k left singular
//! vectors, the share ‖V_kᵀ W_B‖²/‖W_B‖² of the variance of B's weights that A's dimensions hold, beside the share
//! that B's own k dimensions do.
//!
//! Null: responses of the test modality are permuted in blocks of neighbouring samples within each test fold;
//! p = (1 + #{null ≥ observed})/(1 + permutations), per voxel and for the mean over voxels.
//!
//! Source: Tang et al. 2023; specs: alignment-methods B16. Cost: one ridge per modality and fold, O(n m) per
//! permutation and pair.

use faer::{Mat, MatRef};
use rayon::prelude::*;

use super::reduce::check_finite;
use super::{RidgeParams, RidgePlan};
use stereotax_base::data::{Error, Fold, Folds, Monitor, Result, Runs};
use stereotax_base::linalg::{column_means, cross, dot, product, select_rows, svd};
use stereotax_base::signal::delay;
use stereotax_base::stats::rng::Stream;
use stereotax_base::stats::summary::{is_constant, mean, permutation_p, tie_tolerance};

/// One modality.
#[derive(Debug, Clone, Copy)]
pub struct Modality<'a> {
    /// For messages and results.
    pub name: &'a str,
    /// Samples × units.
    pub features: MatRef<'a, f64>,
    /// Samples × voxels.
    pub responses: MatRef<'a, f64>,
    /// Runs of the samples, the test folds where there are several.
    pub runs: &'a Runs,
}

/// How transfer is measured.
#[derive(Debug, Clone, PartialEq)]
pub struct TransferParams {
    /// The ridge of every encoder. Default: `RidgeParams::default()`.
    pub ridge: RidgeParams,
    /// Delays of the features in samples; none (the default) leaves them as they are.
    pub delays: Vec<usize>,
    /// Contiguous test folds of a modality of one run. Default 5.
    pub n_folds: usize,
    /// Contiguous inner folds that choose penalties. Default 5.
    pub n_inner: usize,
    /// Numbers of shared dimensions to report. Default 1, 2, 5, 10, 20.
    pub dimensions: Vec<usize>,
    /// Permutations; 0 for none. Default 999.
    pub n_permutations: usize,
    /// Samples per block of the null. Default 10.
    pub block: usize,
    /// Of the permutations.
    pub seed: u64,
}

impl Default for TransferParams {
    fn default() -> Self {
        TransferParams {
            ridge: RidgeParams::default(),
            delays: vec![],
            n_folds: 5,
            n_inner: 5,
            dimensions: vec![1, 2, 5, 10, 20],
            n_permutations: 999,
            block: 10,
            seed: 0,
        }
    }
}

/// One pair of modalities.
#[derive(Debug, Clone, PartialEq)]
pub struct TransferCell {
    /// Trained on this modality (index).
    pub train: usize,
    /// Tested on this.
    pub test: usize,
    /// r per voxel; NaN for a voxel that does not vary.
    pub r: Vec<f64>,
    /// Mean over voxels of those that are defined.
    pub mean_r: f64,
    /// mean r over that of the encoder trained on the test modality; 1 within.
    pub ratio: f64,
    /// Per voxel; NaN without permutations.
    pub p_values: Vec<f64>,
    /// Of the mean.
    pub p_value: f64,
    /// Shares of the test modality's weights in the leading dimensions of the train modality's.
    pub shared: Vec<f64>,
}

/// All pairs, train by test.
#[derive(Debug, Clone, PartialEq)]
pub struct Transfer {
    /// Row by row.
    pub cells: Vec<TransferCell>,
    /// Numbers of dimensions of `shared`; those above the rank of weights are left out.
    pub dimensions: Vec<usize>,
    /// Test folds of each modality.
    pub n_folds: Vec<usize>,
}

/// Measure transfer between all pairs of modalities.
///
/// Errors: fewer than 2 modalities, different numbers of units or voxels, rows or runs that do not match, values
/// that are not finite, features that do not vary, too few samples for folds.
pub fn transfer_matrix(
    modalities: &[Modality<'_>],
    params: &TransferParams,
    monitor: &Monitor<'_>,
) -> Result<Transfer> {
    check(modalities, params)?;
    let data = modalities.iter().map(|m| Prepared::new(m, params)).collect::<Result<Vec<_>>>()?;
    let fits = data.par_iter().map(|d| d.fit_all(params, monitor)).collect::<Result<Vec<Mat<f64>>>>()?;
    let bases =
        fits.iter().map(|w| Ok(svd(centred_over_voxels(w).as_ref())?.u)).collect::<Result<Vec<_>>>()?;
    let most = bases.iter().map(|u| u.ncols()).min().unwrap_or(0);
    let dimensions: Vec<usize> =
        params.dimensions.iter().copied().filter(|k| (1..=most).contains(k)).collect();
    let pairs: Vec<(usize, usize)> =
        (0..data.len()).flat_map(|a| (0..data.len()).map(move |b| (a, b))).collect();
    let mut cells = pairs
        .into_iter()
        .map(|(train, test)| {
            monitor.check()?;
            let to = &data[test];
            let predicted = if train == test {
                to.predict_within(params, monitor)?
            } else {
                product(to.x.as_ref(), fits[train].as_ref())
            };
            let scored = Scored::new(&predicted, to);
            let r = scored.correlations();
            let known: Vec<f64> = r.iter().copied().filter(|r| !r.is_nan()).collect();
            let (p_values, p_value) = scored.permute(&r, params, (train, test), monitor)?;
            let target = centred_over_voxels(&fits[test]);
            let size = target.squared_norm_l2();
            let along = cross(bases[train].as_ref(), target.as_ref());
            let shared = dimensions.iter().map(|&k| along.get(..k, ..).squared_norm_l2() / size).collect();
            Ok(TransferCell {
                train,
                test,
                mean_r: mean(&known),
                r,
                ratio: f64::NAN,
                p_values,
                p_value,
                shared,
            })
        })
        .collect::<Result<Vec<_>>>()?;
    let within: Vec<f64> = (0..data.len()).map(|b| cells[b * data.len() + b].mean_r).collect();
    for cell in &mut cells {
        cell.ratio = if within[cell.test] > 0.0 { cell.mean_r / within[cell.test] } else { f64::NAN };
    }
    Ok(Transfer { cells, dimensions, n_folds: data.iter().map(|d| d.folds.len()).collect() })
}

/// A modality, z-scored within runs.
struct Prepared {
    x: Mat<f64>,
    y: Mat<f64>,
    folds: Vec<Fold>,
}

impl Prepared {
    fn new(modality: &Modality<'_>, params: &TransferParams) -> Result<Self> {
        let n = modality.features.nrows();
        let folds = if modality.runs.n_runs() > 1 {
            Folds::leave_one_run_out(modality.runs)?
        } else {
            Folds::contiguous(n, params.n_folds, 0)?
        };
        let mut x = within_runs(modality.features, modality.runs);
        if !params.delays.is_empty() {
            x = delay(x.as_ref(), modality.runs, &params.delays)?;
        }
        Ok(Prepared {
            x,
            y: within_runs(modality.responses, modality.runs),
            folds: folds.iter().cloned().collect(),
        })
    }

    fn plan(&self, rows: &[usize], test: &[usize], params: &TransferParams) -> Result<(RidgePlan, Mat<f64>)> {
        let inner = Folds::contiguous(rows.len(), params.n_inner, 0)?;
        let inner: Vec<Fold> = inner.iter().cloned().collect();
        let (x, held_out) = (select_rows(self.x.as_ref(), rows), select_rows(self.x.as_ref(), test));
        Ok((
            RidgePlan::new(x.as_ref(), held_out.as_ref(), &inner, &params.ridge)?,
            select_rows(self.y.as_ref(), rows),
        ))
    }

    /// Weights from all samples; 0 for a voxel that does not vary.
    fn fit_all(&self, params: &TransferParams, monitor: &Monitor<'_>) -> Result<Mat<f64>> {
        monitor.check()?;
        let all: Vec<usize> = (0..self.x.nrows()).collect();
        let (plan, y) = self.plan(&all, &[], params)?;
        let alphas = plan.fit(y.as_ref())?.alphas;
        let mut weights = plan.weights(y.as_ref(), &alphas)?.weights;
        for v in (0..y.ncols()).filter(|&v| alphas[v].is_nan()) {
            weights.col_mut(v).fill(0.0);
        }
        Ok(weights)
    }

    /// Every fold predicted from the others.
    fn predict_within(&self, params: &TransferParams, monitor: &Monitor<'_>) -> Result<Mat<f64>> {
        let parts = self
            .folds
            .par_iter()
            .map(|fold| {
                monitor.check()?;
                let (plan, y) = self.plan(&fold.train, &fold.test, params)?;
                Ok(plan.fit(y.as_ref())?.predictions)
            })
            .collect::<Result<Vec<_>>>()?;
        let mut out = Mat::zeros(self.y.nrows(), self.y.ncols());
        for (fold, part) in self.folds.iter().zip(&parts) {
            for v in 0..part.ncols() {
                fold.test.iter().enumerate().for_each(|(k, &i)| out[(i, v)] = part[(k, v)]);
            }
        }
        Ok(out)
    }
}

/// A block of rows: where it goes, where it comes from, and its length.
type Moved = (usize, usize, usize);

/// Predictions and responses of test folds, z-scored within each: r is their mean product. Test rows of a fold are
/// neighbours (runs, or contiguous parts).
struct Scored<'a> {
    predicted: Mat<f64>,
    observed: Mat<f64>,
    /// Rows of each fold, in order.
    folds: Vec<&'a [usize]>,
    /// Voxels that vary in every fold.
    defined: Vec<bool>,
    n: f64,
}

impl<'a> Scored<'a> {
    fn new(predicted: &Mat<f64>, to: &'a Prepared) -> Self {
        let folds: Vec<&[usize]> = to.folds.iter().map(|f| f.test.as_slice()).collect();
        let z = |x: &Mat<f64>| {
            let mut out = Mat::zeros(x.nrows(), x.ncols());
            for v in 0..x.ncols() {
                for rows in &folds {
                    let values: Vec<f64> = rows.iter().map(|&i| x[(i, v)]).collect();
                    standardised(&values).iter().zip(*rows).for_each(|(z, &i)| out[(i, v)] = *z);
                }
            }
            out
        };
        let varies = |v: usize| {
            folds.iter().all(|rows| !is_constant(&rows.iter().map(|&i| to.y[(i, v)]).collect::<Vec<_>>()))
        };
        let n = folds.iter().map(|rows| rows.len()).sum::<usize>() as f64;
        let defined = (0..to.y.ncols()).map(varies).collect();
        Scored { predicted: z(predicted), observed: z(&to.y), folds, defined, n }
    }

    fn correlations(&self) -> Vec<f64> {
        let whole: Vec<Moved> = self.folds.iter().map(|rows| (rows[0], rows[0], rows.len())).collect();
        self.with_blocks(&whole)
    }

    /// r with blocks of observed rows in other places.
    fn with_blocks(&self, blocks: &[Moved]) -> Vec<f64> {
        (0..self.observed.ncols())
            .map(|v| {
                let (p, y) = (self.predicted.col_as_slice(v), self.observed.col_as_slice(v));
                let of = |(to, from, len): &Moved| dot(&p[*to..to + len], &y[*from..from + len]);
                let sum: f64 = blocks.iter().map(of).sum();
                if self.defined[v] { sum / self.n } else { f64::NAN }
            })
            .collect()
    }

    /// p per voxel, and of the mean.
    fn permute(
        &self,
        r: &[f64],
        params: &TransferParams,
        pair: (usize, usize),
        monitor: &Monitor<'_>,
    ) -> Result<(Vec<f64>, f64)> {
        if params.n_permutations == 0 {
            return Ok((vec![f64::NAN; r.len()], f64::NAN));
        }
        let average = |r: &[f64]| mean(&r.iter().copied().filter(|r| !r.is_nan()).collect::<Vec<_>>());
        let observed = average(r);
        let counts = (0..params.n_permutations)
            .into_par_iter()
            .map(|k| {
                monitor.check()?;
                let purpose = format!("transfer blocks {} {}", pair.0, pair.1);
                let mut stream = Stream::new(params.seed, &purpose, k as u64);
                let mut blocks: Vec<Moved> = Vec::new();
                for rows in &self.folds {
                    let mut own: Vec<&[usize]> = rows.chunks(params.block).collect();
                    stream.shuffle(&mut own);
                    let mut to = rows[0];
                    for block in own {
                        blocks.push((to, block[0], block.len()));
                        to += block.len();
                    }
                }
                let null = self.with_blocks(&blocks);
                let reached: Vec<bool> =
                    null.iter().zip(r).map(|(a, b)| *a >= b - tie_tolerance(*b)).collect();
                Ok((reached, average(&null) >= observed - tie_tolerance(observed)))
            })
            .collect::<Result<Vec<_>>>()?;
        let p = |n: usize| permutation_p(n, params.n_permutations);
        let voxel = |v: usize| {
            if r[v].is_nan() { f64::NAN } else { p(counts.iter().filter(|(reached, _)| reached[v]).count()) }
        };
        let whole = if observed.is_nan() { f64::NAN } else { p(counts.iter().filter(|(_, of)| *of).count()) };
        Ok(((0..r.len()).map(voxel).collect(), whole))
    }
}

fn within_runs(x: MatRef<f64>, runs: &Runs) -> Mat<f64> {
    let mut out = Mat::zeros(x.nrows(), x.ncols());
    for range in runs.ranges() {
        for j in 0..x.ncols() {
            let values: Vec<f64> = range.clone().map(|i| x[(i, j)]).collect();
            out.col_as_slice_mut(j)[range.clone()].copy_from_slice(&standardised(&values));
        }
    }
    out
}

/// Mean 0 and variance 1 (divisor n); zeros of a constant.
fn standardised(x: &[f64]) -> Vec<f64> {
    if is_constant(x) {
        return vec![0.0; x.len()];
    }
    let centre = mean(x);
    let sd = (x.iter().map(|v| (v - centre).powi(2)).sum::<f64>() / x.len() as f64).sqrt();
    x.iter().map(|v| (v - centre) / sd).collect()
}

fn centred_over_voxels(w: &Mat<f64>) -> Mat<f64> {
    let means = column_means(w.transpose());
    Mat::from_fn(w.nrows(), w.ncols(), |j, v| w[(j, v)] - means[j])
}

fn check(modalities: &[Modality<'_>], params: &TransferParams) -> Result<()> {
    let Some(first) = modalities.first().filter(|_| modalities.len() > 1) else {
        return Err(Error::TooFew {
            what: "modalities".into(),
            needed: "2 modalities".into(),
            found: modalities.len().to_string(),
            hint: "transfer is from one to another".into(),
        });
    };
    for m in modalities {
        let found = (m.features.ncols(), m.responses.ncols());
        if found != (first.features.ncols(), first.responses.ncols()) {
            return Err(Error::Shape {
                what: m.name.into(),
                expected: format!(
                    "{} units and {} voxels (as in `{}`)",
                    first.features.ncols(),
                    first.responses.ncols(),
                    first.name
                ),
                found: format!("{} and {}", found.0, found.1),
                hint: "features must come from the same layer, responses from the same voxels".into(),
            });
        }
        let rows = (m.features.nrows(), m.responses.nrows());
        if rows.0 != rows.1 || rows.0 != m.runs.n_samples() {
            return Err(Error::Shape {
                what: m.name.into(),
                expected: "as many rows of features, responses and runs".into(),
                found: format!("{}, {} and {}", rows.0, rows.1, m.runs.n_samples()),
                hint: "rows must be the same samples in the same order".into(),
            });
        }
        check_finite(m.features, m.name)?;
        check_finite(m.responses, m.name)?;
    }
    if params.block == 0 || params.n_folds < 2 || params.n_inner < 2 {
        return Err(Error::Invalid {
            what: "block, n_folds, n_inner".into(),
            expected: "blocks of at least 1 sample, at least 2 folds".into(),
            found: format!("{}, {}, {}", params.block, params.n_folds, params.n_inner),
            hint: "10 samples per block are customary".into(),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(rows: usize, columns: usize, index: u64) -> Mat<f64> {
        let mut stream = Stream::new(1, "transfer tests", index);
        Mat::from_fn(rows, columns, |_, _| stream.normal())
    }

    #[test]
    fn delayed_responses_need_delayed_features_and_no_run_reaches_into_the_next() {
        // Responses follow the features two samples later, within runs of 40.
        let (p, m, n) = (6, 10, 160);
        let w = noise(p, m, 21);
        let labels: Vec<String> = (0..n).map(|i| format!("run {}", i / 40)).collect();
        let runs = Runs::from_labels(&labels).unwrap();
        let data: Vec<(Mat<f64>, Mat<f64>)> = (0..2)
            .map(|k| {
                let (x, e) = (noise(n, p, 22 + k), noise(n, m, 24 + k));
                let y = Mat::from_fn(n, m, |i, v| {
                    let of = |j: usize| if i % 40 >= 2 { x[(i - 2, j)] * w[(j, v)] } else { 0.0 };
                    (0..p).map(of).sum::<f64>() + 0.3 * e[(i, v)]
                });
                (x, y)
            })
            .collect();
        let modalities: Vec<Modality<'_>> = data
            .iter()
            .map(|(x, y)| Modality { name: "m", features: x.as_ref(), responses: y.as_ref(), runs: &runs })
            .collect();
        let r = |delays: &[usize]| {
            let params =
                TransferParams { delays: delays.to_vec(), n_permutations: 0, ..TransferParams::default() };
            transfer_matrix(&modalities, &params, &Monitor::silent()).unwrap().cells[1].mean_r
        };
        let (none, some, two) = (r(&[]), r(&[1, 2, 3]), r(&[2]));
        assert!(none.abs() < 0.2 && some > 0.9 && two >= some - 0.02, "{none} {some} {two}");
        // The definition, by hand: zeros before the start of each run.
        let prepared = Prepared::new(
            &modalities[0],
            &TransferParams { delays: vec![0, 2], ..TransferParams::default() },
        )
        .unwrap();
        let z = within_runs(modalities[0].features, &runs);
        for i in [0, 1, 2, 39, 40, 41, 42, 159] {
            let shifted = if i % 40 >= 2 { z[(i - 2, 3)] } else { 0.0 };
            assert_eq!((prepared.x[(i, 3)], prepared.x[(i, p + 3)]), (z[(i, 3)], shifted), "{i}");
        }
    }

    /// Two modalities whose weights correlate by rho; responses have noise of the signal's size.
    fn planted(rho: f64) -> Vec<(Mat<f64>, Mat<f64>)> {
        let (p, m) = (12, 40);
        let (common, own) = (noise(p, m, 1), noise(p, m, 2));
        (0..2)
            .map(|k| {
                let n = 400;
                let x = noise(n, p, 10 + k);
                let w = Mat::from_fn(p, m, |j, v| {
                    if k == 0 {
                        common[(j, v)]
                    } else {
                        rho * common[(j, v)] + (1.0 - rho * rho).sqrt() * own[(j, v)]
                    }
                });
                let size = (p as f64).sqrt();
                let e = noise(n, m, 20 + k);
                let clean = product(x.as_ref(), w.as_ref());
                // Levels and scales of the second modality are others.
                let scale = 1.0 + 4.0 * k as f64;
                (
                    Mat::from_fn(n, p, |i, j| 7.0 * k as f64 + x[(i, j)]),
                    Mat::from_fn(n, m, |i, v| scale * (clean[(i, v)] + size * e[(i, v)]) - 3.0),
                )
            })
            .collect()
    }

    fn measure(data: &[(Mat<f64>, Mat<f64>)], runs: &Runs, params: &TransferParams) -> Transfer {
        let names = ["stories", "movies"];
        let of: Vec<Modality<'_>> = data
            .iter()
            .zip(names)
            .map(|((x, y), name)| Modality { name, features: x.as_ref(), responses: y.as_ref(), runs })
            .collect();
        transfer_matrix(&of, params, &Monitor::silent()).unwrap()
    }

    #[test]
    fn cross_scores_grow_with_the_overlap_of_weights() {
        let params = TransferParams { n_permutations: 0, ..TransferParams::default() };
        let runs = Runs::single(400);
        let within = measure(&planted(1.0), &runs, &params).cells[3].mean_r;
        assert!((within - 0.5f64.sqrt()).abs() < 0.03, "{within}");
        for rho in [-0.8, 0.0, 0.3, 0.6, 1.0] {
            let found = measure(&planted(rho), &runs, &params);
            assert_eq!(
                found.cells.iter().map(|c| (c.train, c.test)).collect::<Vec<_>>(),
                [(0, 0), (0, 1), (1, 0), (1, 1)]
            );
            for cell in [1, 2] {
                let ratio = found.cells[cell].ratio;
                assert!((ratio - rho).abs() < 0.08, "ratio {ratio} at an overlap of {rho}");
                assert!((ratio - found.cells[cell].mean_r / found.cells[3 * (2 - cell)].mean_r).abs() < 0.05);
            }
            assert!(found.cells[0].ratio == 1.0 && found.n_folds == [5, 5]);
        }
    }

    #[test]
    fn noise_is_not_predicted_from_itself() {
        // 60 units fit 120 samples of noise well; held out they predict nothing.
        let data: Vec<(Mat<f64>, Mat<f64>)> =
            (0..2).map(|k| (noise(120, 60, 60 + k), noise(120, 30, 70 + k))).collect();
        let ridge = RidgeParams { alphas: crate::AlphaGrid::absolute(&[1.0]), ..RidgeParams::default() };
        let params = TransferParams { n_permutations: 0, ridge, ..TransferParams::default() };
        let found = measure(&data, &Runs::single(120), &params);
        assert!(found.cells.iter().all(|c| c.mean_r.abs() < 0.1), "{:?}", found.cells[0].mean_r);
    }

    #[test]
    fn a_null_in_blocks_is_uniform_and_transfer_stands_out() {
        let params = TransferParams { n_permutations: 199, ..TransferParams::default() };
        let runs = Runs::from_lengths(&["a".into(), "b".into(), "c".into(), "d".into()], &[100; 4]).unwrap();
        // Noise, not other weights: two random vectors of twelve weights resemble each other by chance.
        let mut data = planted(0.0);
        data[1].1 = noise(400, 40, 80);
        let none = measure(&data, &runs, &params);
        assert_eq!(none.n_folds, [4, 4]);
        let p = &none.cells[1].p_values;
        let below = p.iter().filter(|p| **p <= 0.2).count();
        // Voxels share features and noise is their own: 40 voxels at 0.2 give 8 ± 2.5.
        assert!((1..=16).contains(&below), "{below}");
        let some = measure(&planted(0.6), &runs, &params);
        assert!(some.cells[1].p_value <= 0.005 && some.cells[0].p_value <= 0.005);
        let against = measure(&planted(-0.8), &runs, &params);
        assert!(against.cells[1].p_value > 0.99);
    }

    #[test]
    fn shared_dimensions_are_those_of_the_weights() {
        // Weights of both modalities lie in the same two dimensions, or in others.
        let (basis, n, m) = (noise(12, 4, 3), 500, 30);
        let modality = |columns: [usize; 2], k: u64| {
            let x = noise(n, 12, 30 + k);
            let u = noise(2, m, 40 + k);
            let w =
                Mat::from_fn(12, m, |j, v| (0..2).map(|c| basis[(j, columns[c])] * u[(c, v)]).sum::<f64>());
            let e = noise(n, m, 50 + k);
            let clean = product(x.as_ref(), w.as_ref());
            (x, Mat::from_fn(n, m, |i, v| clean[(i, v)] + 0.1 * e[(i, v)]))
        };
        let params =
            TransferParams { n_permutations: 0, dimensions: vec![1, 2, 99], ..TransferParams::default() };
        let runs = Runs::single(n);
        let same = measure(&[modality([0, 1], 0), modality([0, 1], 1)], &runs, &params);
        let other = measure(&[modality([0, 1], 0), modality([2, 3], 1)], &runs, &params);
        assert_eq!(same.dimensions, [1, 2]);
        assert!(same.cells[1].shared[1] > 0.98 && same.cells[0].shared[1] > 0.99);
        assert!(
            other.cells[1].shared[1] < 0.6 && other.cells[3].shared[1] > 0.99,
            "{:?}",
            other.cells[1].shared
        );
        assert!(same.cells[1].shared[0] < same.cells[1].shared[1]);
    }

    #[test]
    fn silent_voxels_and_bad_input() {
        let mut data = planted(0.5);
        (0..400).for_each(|i| data[1].1[(i, 3)] = 0.1);
        let params = TransferParams { n_permutations: 9, ..TransferParams::default() };
        let runs = Runs::single(400);
        let found = measure(&data, &runs, &params);
        assert!(
            found.cells[1].r[3].is_nan()
                && found.cells[1].p_values[3].is_nan()
                && !found.cells[1].mean_r.is_nan()
        );
        let of = |x: MatRef<'static, f64>, y: MatRef<'static, f64>| -> Modality<'static> {
            Modality { name: "a", features: x, responses: y, runs: Box::leak(Box::new(Runs::single(400))) }
        };
        let (x, y): (&'static Mat<f64>, &'static Mat<f64>) =
            (Box::leak(Box::new(data[0].0.clone())), Box::leak(Box::new(data[0].1.clone())));
        let refused = |list: &[Modality<'_>]| {
            transfer_matrix(list, &params, &Monitor::silent()).unwrap_err().to_string()
        };
        let whole = of(x.as_ref(), y.as_ref());
        assert!(refused(&[whole]).contains("2 modalities"));
        assert!(refused(&[whole, of(x.get(.., ..3), y.as_ref())]).contains("12 units"));
        assert!(refused(&[whole, of(x.get(..300, ..), y.get(..300, ..))]).contains("300, 300 and 400"));
    }

    #[test]
    fn threads_do_not_change_bits() {
        let data = planted(0.5);
        let params = TransferParams { n_permutations: 19, ..TransferParams::default() };
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| measure(&data, &Runs::single(400), &params))
        };
        assert_eq!(run(1), run(3));
    }
}
