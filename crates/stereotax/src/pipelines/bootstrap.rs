//! Resample held-out predictions: how a correlation would vary with other stimuli.
//!
//! Nothing is refitted. A draw gives each block of samples a multiplicity w; within each score group g
//! (a held-out run or fold) r_g is the Pearson correlation of the weighted samples, and
//! r = Σ_g n_g r_g / Σ_g n_g, as for the score itself (specs: nfas-dmd section 9).
//! Five sums per block and ROI are all a draw needs, so B draws are five products
//! (B × blocks) · (blocks × ROIs) per group.

use faer::{Mat, MatRef};

use crate::linalg::product;

/// The correlations of each draw (draws × ROIs); NaN where a draw leaves no variance.
///
/// `groups[i]` is the score group of sample i (`None`: never held out), `blocks[i]` its resampling block;
/// `multiplicities` holds one row of block weights per draw.
pub fn bootstrap_correlations(
    predictions: MatRef<f64>,
    responses: MatRef<f64>,
    groups: &[Option<usize>],
    blocks: &[usize],
    multiplicities: MatRef<f64>,
) -> Mat<f64> {
    let (n_rois, n_draws) = (predictions.ncols(), multiplicities.nrows());
    let mut weighted = Mat::<f64>::zeros(n_draws, n_rois);
    let mut weights = Mat::<f64>::zeros(n_draws, n_rois);
    for group in groups_of(groups, blocks, multiplicities) {
        let counts = group.drawn(&group.counts());
        let [x, y, xx, yy, xy] = group.moments(predictions, responses).map(|moment| group.drawn(&moment));
        for roi in 0..n_rois {
            for draw in 0..n_draws {
                let n = counts[(draw, 0)];
                let (mx, my) = (x[(draw, roi)] / n, y[(draw, roi)] / n);
                let (vx, vy) = (xx[(draw, roi)] / n - mx * mx, yy[(draw, roi)] / n - my * my);
                // Below rounding of the sums there is no variance left in the draw.
                let floor = |second: f64| 1e-12 * second / n;
                if n > 0.0 && vx > floor(xx[(draw, roi)]) && vy > floor(yy[(draw, roi)]) {
                    let r = (xy[(draw, roi)] / n - mx * my) / (vx * vy).sqrt();
                    weighted[(draw, roi)] += n * r.clamp(-1.0, 1.0);
                    weights[(draw, roi)] += n;
                }
            }
        }
    }
    Mat::from_fn(n_draws, n_rois, |draw, roi| weighted[(draw, roi)] / weights[(draw, roi)])
}

/// R² of each draw (draws × ROIs), 1 − Σ_g Σ w (y − p)² / Σ_g Σ w (y − ȳ_g)² with ȳ_g the weighted mean of group g;
/// NaN where a draw leaves the responses no variance, or a prediction is undefined.
///
/// Arguments as in [`bootstrap_correlations`]; with weights of 1 it is R² against the means of the groups.
pub fn bootstrap_r2(
    predictions: MatRef<f64>,
    responses: MatRef<f64>,
    groups: &[Option<usize>],
    blocks: &[usize],
    multiplicities: MatRef<f64>,
) -> Mat<f64> {
    let (n_rois, n_draws) = (predictions.ncols(), multiplicities.nrows());
    let errors = responses - predictions;
    let mut error = Mat::<f64>::zeros(n_draws, n_rois);
    let mut total = Mat::<f64>::zeros(n_draws, n_rois);
    let mut size = Mat::<f64>::zeros(n_draws, n_rois);
    for group in groups_of(groups, blocks, multiplicities) {
        let [mut ee, mut y, mut yy] = [(); 3].map(|()| Mat::<f64>::zeros(group.n_blocks, n_rois));
        for roi in 0..n_rois {
            // Centring first keeps the variance of a draw accurate.
            let mean = group.mean(responses, roi);
            for (&sample, &block) in group.members.iter().zip(&group.at) {
                let value = responses[(sample, roi)] - mean;
                ee[(block, roi)] += errors[(sample, roi)].powi(2);
                y[(block, roi)] += value;
                yy[(block, roi)] += value * value;
            }
        }
        let counts = group.drawn(&group.counts());
        let [ee, y, yy] = [ee, y, yy].map(|sums| group.drawn(&sums));
        for roi in 0..n_rois {
            for draw in (0..n_draws).filter(|&draw| counts[(draw, 0)] > 0.0) {
                error[(draw, roi)] += ee[(draw, roi)];
                total[(draw, roi)] += yy[(draw, roi)] - y[(draw, roi)].powi(2) / counts[(draw, 0)];
                size[(draw, roi)] += yy[(draw, roi)];
            }
        }
    }
    Mat::from_fn(n_draws, n_rois, |draw, roi| {
        let total = total[(draw, roi)];
        if total > 1e-12 * size[(draw, roi)] { 1.0 - error[(draw, roi)] / total } else { f64::NAN }
    })
}

/// The samples of one score group, and how often each of their blocks is drawn.
struct Group {
    members: Vec<usize>,
    /// Place of the block of each member among those of the group.
    at: Vec<usize>,
    n_blocks: usize,
    /// Draws × blocks of the group.
    draws: Mat<f64>,
}

fn groups_of(groups: &[Option<usize>], blocks: &[usize], multiplicities: MatRef<f64>) -> Vec<Group> {
    let n_groups = groups.iter().flatten().max().map_or(0, |g| g + 1);
    (0..n_groups)
        .map(|group| {
            let members: Vec<usize> = (0..groups.len()).filter(|&i| groups[i] == Some(group)).collect();
            let mut present: Vec<usize> = members.iter().map(|&i| blocks[i]).collect();
            present.sort_unstable();
            present.dedup();
            Group {
                at: members.iter().map(|&i| present.partition_point(|&b| b < blocks[i])).collect(),
                members,
                n_blocks: present.len(),
                draws: Mat::from_fn(multiplicities.nrows(), present.len(), |b, k| {
                    multiplicities[(b, present[k])]
                }),
            }
        })
        .collect()
}

impl Group {
    /// Sums per block (blocks × n) in every draw (draws × n).
    fn drawn(&self, sums: &Mat<f64>) -> Mat<f64> {
        product(self.draws.as_ref(), sums.as_ref())
    }

    /// Samples per block (blocks × 1).
    fn counts(&self) -> Mat<f64> {
        let mut counts = Mat::zeros(self.n_blocks, 1);
        self.at.iter().for_each(|&block| counts[(block, 0)] += 1.0);
        counts
    }

    fn mean(&self, of: MatRef<f64>, roi: usize) -> f64 {
        self.members.iter().map(|&i| of[(i, roi)]).sum::<f64>() / self.members.len() as f64
    }

    /// Σx, Σy, Σx², Σy², Σxy per block and ROI, of values centred within the group.
    fn moments(&self, predictions: MatRef<f64>, responses: MatRef<f64>) -> [Mat<f64>; 5] {
        let n_rois = predictions.ncols();
        let mut moments = [(); 5].map(|()| Mat::<f64>::zeros(self.n_blocks, n_rois));
        for roi in 0..n_rois {
            // Centring first keeps the variance of a draw accurate.
            let (mx, my) = (self.mean(predictions, roi), self.mean(responses, roi));
            for (&sample, &block) in self.members.iter().zip(&self.at) {
                let (x, y) = (predictions[(sample, roi)] - mx, responses[(sample, roi)] - my);
                for (moment, value) in moments.iter_mut().zip([x, y, x * x, y * y, x * y]) {
                    moment[(block, roi)] += value;
                }
            }
        }
        moments
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::rng::Stream;

    /// Repeat every sample as often as its block was drawn, and correlate.
    fn slow_twin(x: &[f64], y: &[f64], times: &[usize]) -> f64 {
        let repeat = |v: &[f64]| -> Vec<f64> {
            v.iter().zip(times).flat_map(|(&v, &t)| std::iter::repeat_n(v, t)).collect()
        };
        let (x, y) = (repeat(x), repeat(y));
        let n = x.len() as f64;
        let (mx, my) = (x.iter().sum::<f64>() / n, y.iter().sum::<f64>() / n);
        let sum = |f: &dyn Fn(usize) -> f64| (0..x.len()).map(f).sum::<f64>();
        sum(&|i| (x[i] - mx) * (y[i] - my))
            / (sum(&|i| (x[i] - mx).powi(2)) * sum(&|i| (y[i] - my).powi(2))).sqrt()
    }

    #[test]
    fn draws_equal_the_correlation_of_repeated_rows() {
        let mut stream = Stream::new(3, "bootstrap twin", 0);
        let n = 60;
        let x = Mat::from_fn(n, 2, |_, _| stream.normal() + 10.0);
        let y = Mat::from_fn(n, 2, |i, j| 0.5 * x[(i, j)] + stream.normal());
        let groups: Vec<Option<usize>> = (0..n).map(|i| (i >= 4).then_some(i / 30)).collect();
        let blocks: Vec<usize> = (0..n).map(|i| i / 3).collect();
        let draws = Mat::from_fn(5, 20, |_, _| stream.below(3) as f64);
        let found = bootstrap_correlations(x.as_ref(), y.as_ref(), &groups, &blocks, draws.as_ref());
        for draw in 0..5 {
            for roi in 0..2 {
                let (mut total, mut count) = (0.0, 0.0);
                for group in 0..2 {
                    let rows: Vec<usize> = (0..n).filter(|&i| groups[i] == Some(group)).collect();
                    let times: Vec<usize> = rows.iter().map(|&i| draws[(draw, blocks[i])] as usize).collect();
                    let take = |of: &Mat<f64>| rows.iter().map(|&i| of[(i, roi)]).collect::<Vec<_>>();
                    let size = times.iter().sum::<usize>() as f64;
                    total += size * slow_twin(&take(&x), &take(&y), &times);
                    count += size;
                }
                assert!((found[(draw, roi)] - total / count).abs() < 1e-11);
            }
        }
    }

    #[test]
    fn draws_of_r2_equal_that_of_repeated_rows() {
        let mut stream = Stream::new(3, "bootstrap twin", 1);
        let n = 60;
        let x = Mat::from_fn(n, 3, |_, j| if j == 2 { f64::NAN } else { stream.normal() + 10.0 });
        let y = Mat::from_fn(n, 3, |i, j| if j == 2 { 1.0 } else { 0.8 * x[(i, j)] } + stream.normal());
        let groups: Vec<Option<usize>> = (0..n).map(|i| (i >= 4).then_some(i / 30)).collect();
        let blocks: Vec<usize> = (0..n).map(|i| i / 3).collect();
        let draws = Mat::from_fn(5, 20, |b, _| if b == 0 { 1.0 } else { stream.below(3) as f64 });
        let found = bootstrap_r2(x.as_ref(), y.as_ref(), &groups, &blocks, draws.as_ref());
        for draw in 0..5 {
            assert!(found[(draw, 2)].is_nan());
            for roi in 0..2 {
                let (mut error, mut total) = (0.0, 0.0);
                for group in 0..2 {
                    let rows: Vec<usize> = (0..n)
                        .filter(|&i| groups[i] == Some(group))
                        .flat_map(|i| std::iter::repeat_n(i, draws[(draw, blocks[i])] as usize))
                        .collect();
                    let mean = rows.iter().map(|&i| y[(i, roi)]).sum::<f64>() / rows.len() as f64;
                    error += rows.iter().map(|&i| (y[(i, roi)] - x[(i, roi)]).powi(2)).sum::<f64>();
                    total += rows.iter().map(|&i| (y[(i, roi)] - mean).powi(2)).sum::<f64>();
                }
                assert!((found[(draw, roi)] - (1.0 - error / total)).abs() < 1e-10);
            }
        }
    }

    #[test]
    fn a_draw_without_variance_is_undefined() {
        let x = Mat::from_fn(4, 1, |i, _| i as f64);
        let draws = Mat::from_fn(1, 4, |_, k| if k == 0 { 4.0 } else { 0.0 });
        let groups = [Some(0); 4];
        let found = bootstrap_correlations(x.as_ref(), x.as_ref(), &groups, &[0, 1, 2, 3], draws.as_ref());
        assert!(found[(0, 0)].is_nan());
    }
}
