//! Read targets out where a learned query finds what it asks for: single-head attention over positions.
//!
//! ```text
//! a_ip = softmax_p(φ_ip · q / √C + e_p · u / √E)     one query q (and u) per group of targets (a region, as a rule)
//! z_i  = Σ_p a_ip φ_ip                               y = z_i W + b, a head per target
//! ```
//!
//! φ are features standardised per channel, e_p (on a grid) sines and cosines of position: sin and cos of πkx/2 and
//! πky/2, k = 1…4, x and y in [−1, 1]. Query, key and value matrices of one head melt into q and W. Loss and heads
//! as in `pooling.rs`: heads are solved for at every step, in place of alternation. Mean pooling is q = 0;
//! further starts are random.
//!
//! Source: Adeli et al. 2025 (transformer brain encoder); specs: alignment-methods B13.1. Differs from the paper: one
//! head and closed-form heads, no feed-forward part. Cost: per evaluation O(n P C + n C² + C³ + n C T).

use faer::{Mat, MatRef};

use super::pooling::{self, ChannelScale, Steps, Weighing, softmax, through_softmax, times};
use super::{FeatureMaps, check_targets};
use stereotax_base::data::{Error, Labels, Monitor, Result};
use stereotax_base::linalg::product;
use stereotax_base::stats::rng::Stream;

/// Frequencies of positions along each axis.
const FREQUENCIES: usize = 4;

/// How a readout with learned weights of positions is fitted.
#[derive(Debug, Clone, PartialEq)]
pub struct PoolingParams {
    /// Penalty of the heads while positions are learned, a multiple of the mean square of mean-pooled features.
    /// Default 0.1.
    pub head_alpha: f64,
    /// β, penalty of the parameters that weigh positions. Default 10⁻⁴.
    pub penalty: f64,
    /// Whether queries see where a position is; grids only. Default yes.
    pub positions: bool,
    /// Starts, the first at equal weights. Default 3.
    pub n_starts: usize,
    /// Most steps of each. Default 200.
    pub max_iterations: usize,
    /// Largest entry of the gradient that ends the search. Default 10⁻⁶.
    pub tolerance: f64,
    /// For random starts.
    pub seed: u64,
}

impl Default for PoolingParams {
    fn default() -> Self {
        PoolingParams {
            head_alpha: 0.1,
            penalty: 1e-4,
            positions: true,
            n_starts: 3,
            max_iterations: 200,
            tolerance: 1e-6,
            seed: 0,
        }
    }
}

impl PoolingParams {
    pub(super) fn check(&self) -> Result<()> {
        let positive = [self.head_alpha, self.tolerance].iter().all(|v| *v > 0.0 && v.is_finite());
        if positive && self.penalty >= 0.0 && self.penalty.is_finite() && self.n_starts > 0 {
            return Ok(());
        }
        Err(Error::Invalid {
            what: "head_alpha, penalty, tolerance, n_starts".into(),
            expected: "positive numbers (a penalty of 0 is allowed)".into(),
            found: format!("{}, {}, {}, {}", self.head_alpha, self.penalty, self.tolerance, self.n_starts),
            hint: "leave them out for the defaults".into(),
        })
    }

    pub(super) fn steps(&self) -> Steps {
        Steps {
            head_alpha: self.head_alpha,
            penalty: self.penalty,
            max_iterations: self.max_iterations,
            tolerance: self.tolerance,
        }
    }
}

/// The heads of all targets, and how each group's search ended.
#[derive(Debug, Clone, PartialEq)]
pub struct PooledHeads {
    /// What features are standardised by.
    pub scale: ChannelScale,
    /// Names of the groups, sorted.
    pub groups: Vec<String>,
    /// Group of each target.
    pub group_of: Vec<usize>,
    /// C × targets, for standardised features.
    pub heads: Mat<f64>,
    /// b.
    pub intercepts: Vec<f64>,
    /// Penalty of each head; NaN for a target that does not vary, which is predicted by its value.
    pub alphas: Vec<f64>,
    /// Unexplained share of variance with penalties, per group, on the training samples.
    pub loss: Vec<f64>,
    /// The same with equal weights of all positions.
    pub mean_pool_loss: Vec<f64>,
    /// Steps per group.
    pub n_iterations: Vec<usize>,
    /// Whether each search ended by itself.
    pub converged: Vec<bool>,
}

/// A fitted attention readout.
#[derive(Debug, Clone, PartialEq)]
pub struct AttentionFit {
    /// q, groups × C, for standardised features.
    pub queries: Mat<f64>,
    /// u, groups × E; no columns without positions.
    pub position_queries: Mat<f64>,
    /// Heads and endings.
    pub pooled: PooledHeads,
}

/// Fit queries of the groups that `regions` names (one per target), and heads of all targets.
///
/// Errors: sizes that do not fit, values that are not finite, settings out of range, features that do not vary.
pub fn attention_readout(
    maps: &FeatureMaps<'_>,
    y: MatRef<f64>,
    regions: &[String],
    params: &PoolingParams,
    monitor: &Monitor<'_>,
) -> Result<AttentionFit> {
    let encoding = positions(maps, params.positions);
    let (n_channels, extra) = (maps.n_channels, encoding.ncols());
    let weighing = Attention { encoding };
    let starts = |group: usize| -> Vec<Vec<f64>> {
        (0..params.n_starts)
            .map(|start| {
                let mut stream =
                    Stream::new(params.seed, "attention starts", (group * params.n_starts + start) as u64);
                let size = if start == 0 { 0.0 } else { 0.5 };
                (0..n_channels + extra).map(|_| size * stream.normal()).collect()
            })
            .collect()
    };
    let (pooled, found) = fit_groups(maps, y, regions, params, &weighing, starts, monitor)?;
    Ok(AttentionFit {
        queries: Mat::from_fn(found.len(), n_channels, |g, c| found[g][c]),
        position_queries: Mat::from_fn(found.len(), extra, |g, e| found[g][n_channels + e]),
        pooled,
    })
}

impl AttentionFit {
    /// Predictions (n × targets) and attention maps (n × P) of every group.
    ///
    /// Errors: another number of channels, or of positions where queries see them.
    pub fn predict(&self, maps: &FeatureMaps<'_>) -> Result<(Mat<f64>, Vec<Mat<f64>>)> {
        let weighing = Attention { encoding: positions(maps, self.position_queries.ncols() > 0) };
        if weighing.encoding.ncols() != self.position_queries.ncols() {
            maps.needs_grid("queries that were fitted on one")?;
        }
        let of = |g: usize| -> Vec<f64> {
            self.queries.row(g).iter().chain(self.position_queries.row(g).iter()).copied().collect()
        };
        self.pooled.predict(maps, &weighing, of)
    }
}

/// Fit every group of targets by itself.
pub(super) fn fit_groups(
    maps: &FeatureMaps<'_>,
    y: MatRef<f64>,
    regions: &[String],
    params: &PoolingParams,
    weighing: &impl Weighing,
    starts: impl Fn(usize) -> Vec<Vec<f64>>,
    monitor: &Monitor<'_>,
) -> Result<(PooledHeads, Vec<Vec<f64>>)> {
    check_targets(maps, y)?;
    params.check()?;
    if regions.len() != y.ncols() {
        return Err(Error::Shape {
            what: "regions".into(),
            expected: format!("{} names (one per target)", y.ncols()),
            found: format!("{} names", regions.len()),
            hint: "targets of one region share where they look".into(),
        });
    }
    let labels = Labels::new(regions);
    let scale = ChannelScale::new(maps)?;
    let tokens = scale.tokens(maps)?;
    let mut out = PooledHeads {
        scale,
        groups: labels.names().to_vec(),
        group_of: labels.codes().to_vec(),
        heads: Mat::zeros(maps.n_channels, y.ncols()),
        intercepts: vec![0.0; y.ncols()],
        alphas: vec![f64::NAN; y.ncols()],
        loss: vec![],
        mean_pool_loss: vec![],
        n_iterations: vec![],
        converged: vec![],
    };
    let mut parameters = Vec::new();
    for group in 0..labels.n_groups() {
        let members = labels.members(group);
        let own = Mat::from_fn(y.nrows(), members.len(), |i, k| y[(i, members[k])]);
        let fit = pooling::fit(&tokens, own.as_ref(), weighing, &starts(group), &params.steps(), monitor)?;
        for (k, &m) in members.iter().enumerate() {
            out.heads.col_mut(m).copy_from(fit.heads.col(k));
            (out.intercepts[m], out.alphas[m]) = (fit.intercepts[k], fit.alphas[k]);
        }
        out.loss.push(fit.found.value);
        out.mean_pool_loss.push(fit.mean_pool_loss);
        out.n_iterations.push(fit.found.n_iterations);
        out.converged.push(fit.found.converged);
        parameters.push(fit.found.at);
    }
    Ok((out, parameters))
}

impl PooledHeads {
    pub(super) fn predict(
        &self,
        maps: &FeatureMaps<'_>,
        weighing: &impl Weighing,
        parameters: impl Fn(usize) -> Vec<f64>,
    ) -> Result<(Mat<f64>, Vec<Mat<f64>>)> {
        let tokens = self.scale.tokens(maps)?;
        let mut predicted = Mat::zeros(maps.values.nrows(), self.group_of.len());
        let mut weights = Vec::new();
        for group in 0..self.groups.len() {
            let (own, z) = tokens.pool(weighing, &parameters(group));
            let members: Vec<usize> =
                (0..self.group_of.len()).filter(|&m| self.group_of[m] == group).collect();
            let heads = Mat::from_fn(z.ncols(), members.len(), |c, k| self.heads[(c, members[k])]);
            let part = product(z.as_ref(), heads.as_ref());
            for (k, &m) in members.iter().enumerate() {
                let offset = self.intercepts[m];
                predicted
                    .col_as_slice_mut(m)
                    .iter_mut()
                    .zip(part.col_as_slice(k))
                    .for_each(|(to, v)| *to = v + offset);
            }
            weights.push(own);
        }
        Ok((predicted, weights))
    }
}

/// P × E: sines and cosines on a grid, nothing elsewhere.
fn positions(maps: &FeatureMaps<'_>, wanted: bool) -> Mat<f64> {
    let Some((height, width)) = maps.grid.filter(|_| wanted) else {
        return Mat::zeros(maps.n_positions(), 0);
    };
    let share =
        |at: usize, size: usize| if size > 1 { 2.0 * at as f64 / (size - 1) as f64 - 1.0 } else { 0.0 };
    Mat::from_fn(height * width, 4 * FREQUENCIES, |p, e| {
        let at = if e % 4 < 2 { share(p % width, width) } else { share(p / width, height) };
        // Half periods, so that opposite edges differ.
        let angle = 0.5 * std::f64::consts::PI * (e / 4 + 1) as f64 * at;
        if e % 2 == 0 { angle.sin() } else { angle.cos() }
    })
}

struct Attention {
    /// P × E.
    encoding: Mat<f64>,
}

impl Weighing for Attention {
    fn weigh(&self, parameters: &[f64], sample: MatRef<f64>) -> Vec<f64> {
        let (q, u) = parameters.split_at(sample.ncols());
        let scale = 1.0 / (q.len() as f64).sqrt();
        let mut exponents: Vec<f64> = times(sample, q).into_iter().map(|v| scale * v).collect();
        if !u.is_empty() {
            let scale = 1.0 / (u.len() as f64).sqrt();
            exponents.iter_mut().zip(times(self.encoding.as_ref(), u)).for_each(|(to, v)| *to += scale * v);
        }
        softmax(exponents)
    }

    fn pull(
        &self,
        parameters: &[f64],
        sample: MatRef<f64>,
        weights: &[f64],
        slope: &[f64],
        gradient: &mut [f64],
    ) {
        let (q, u) = parameters.split_at(sample.ncols());
        let by_exponents = through_softmax(weights, slope);
        let (for_q, for_u) = gradient.split_at_mut(q.len());
        let scale = 1.0 / (q.len() as f64).sqrt();
        for_q.iter_mut().zip(times(sample.transpose(), &by_exponents)).for_each(|(to, v)| *to += scale * v);
        if !u.is_empty() {
            let scale = 1.0 / (u.len() as f64).sqrt();
            let along = times(self.encoding.transpose(), &by_exponents);
            for_u.iter_mut().zip(along).for_each(|(to, v)| *to += scale * v);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stereotax_base::stats::summary::pearson;

    const GRID: (usize, usize) = (4, 5);
    const CHANNELS: usize = 6;

    fn noise(rows: usize, columns: usize, index: u64) -> Mat<f64> {
        let mut stream = Stream::new(1, "attention tests", index);
        Mat::from_fn(rows, columns, |_, _| stream.normal())
    }

    fn maps(x: &Mat<f64>) -> FeatureMaps<'_> {
        FeatureMaps { values: x.as_ref(), n_channels: CHANNELS, grid: Some(GRID) }
    }

    /// Channel 0 says where to look; the target is channel 1 (and 2) there.
    fn planted(n: usize, sharpness: f64) -> (Mat<f64>, Mat<f64>, Mat<f64>) {
        let p = GRID.0 * GRID.1;
        let (x, e) = (noise(n, CHANNELS * p, 2), noise(n, 2, 3));
        let weights: Vec<Vec<f64>> =
            (0..n).map(|i| softmax((0..p).map(|k| sharpness * x[(i, k)]).collect())).collect();
        let y = Mat::from_fn(n, 2, |i, m| {
            let seen: f64 = (0..p).map(|k| weights[i][k] * x[(i, (m + 1) * p + k)]).sum();
            2.0 + seen + 0.1 * e[(i, m)]
        });
        (x, y, Mat::from_fn(n, p, |i, k| weights[i][k]))
    }

    #[test]
    fn gradients_are_those_of_differences() {
        let (x, y, _) = planted(50, 2.0);
        let maps = maps(&x);
        let tokens = ChannelScale::new(&maps).unwrap().tokens(&maps).unwrap();
        let weighing = Attention { encoding: positions(&maps, true) };
        let mut y = y;
        let means = stereotax_base::linalg::column_means(y.as_ref());
        stereotax_base::linalg::centre_columns(y.as_mut(), &means);
        let at: Vec<f64> = noise(CHANNELS + 16, 1, 4).col_as_slice(0).to_vec();
        let (_, gradient) = pooling::objective(&tokens, &y, &weighing, &at);
        for k in 0..at.len() {
            let moved = |by: f64| {
                let mut at = at.clone();
                at[k] += by;
                pooling::objective(&tokens, &y, &weighing, &at).0
            };
            let slow = (moved(1e-5) - moved(-1e-5)) / 2e-5;
            assert!((gradient[k] - slow).abs() < 1e-8, "{k}: {} {slow}", gradient[k]);
        }
    }

    #[test]
    fn a_planted_query_comes_back_with_its_maps() {
        let (x, y, weights) = planted(600, 3.0);
        let (train, rest) = (x.get(..400, ..).to_owned(), x.get(400.., ..).to_owned());
        let regions = vec!["a".to_owned(), "a".to_owned()];
        let params = PoolingParams::default();
        let fit = attention_readout(&maps(&train), y.get(..400, ..), &regions, &params, &Monitor::silent())
            .unwrap();
        let (predicted, attention) = fit.predict(&maps(&rest)).unwrap();
        for m in 0..2 {
            let r = pearson(predicted.col_as_slice(m), &y.col_as_slice(m)[400..]);
            assert!(r > 0.9, "target {m}: {r}");
        }
        let flat = |of: &dyn Fn(usize, usize) -> f64| -> Vec<f64> {
            (0..200).flat_map(|i| (0..20).map(move |p| (i, p))).map(|(i, p)| of(i, p)).collect()
        };
        let r = pearson(&flat(&|i, p| attention[0][(i, p)]), &flat(&|i, p| weights[(i + 400, p)]));
        assert!(r > 0.9, "maps {r}");
        assert!(
            fit.queries[(0, 0)] > 4.0 * (1..CHANNELS).map(|c| fit.queries[(0, c)].abs()).fold(0.0, f64::max)
        );
        assert!(fit.pooled.loss[0] < 0.3 && fit.pooled.mean_pool_loss[0] > 0.7, "{:?}", fit.pooled.loss);
    }

    #[test]
    fn regions_look_where_they_want_and_tokens_have_no_place() {
        let p = GRID.0 * GRID.1;
        let x = noise(300, CHANNELS * p, 5);
        // One region reads the first position, the other the last.
        let y = Mat::from_fn(300, 2, |i, m| x[(i, CHANNELS.min(2) * p + if m == 0 { 0 } else { p - 1 })]);
        let regions = vec!["first".to_owned(), "last".to_owned()];
        let params = PoolingParams { penalty: 1e-6, ..PoolingParams::default() };
        let fit = attention_readout(&maps(&x), y.as_ref(), &regions, &params, &Monitor::silent()).unwrap();
        let (_, attention) = fit.predict(&maps(&x)).unwrap();
        let mean = |g: usize, at: usize| (0..300).map(|i| attention[g][(i, at)]).sum::<f64>() / 300.0;
        assert!(mean(0, 0) > 0.5 && mean(1, p - 1) > 0.5, "{} {}", mean(0, 0), mean(1, p - 1));
        let tokens = FeatureMaps { grid: None, ..maps(&x) };
        let fit = attention_readout(&tokens, y.as_ref(), &regions, &params, &Monitor::silent()).unwrap();
        assert_eq!(fit.position_queries.ncols(), 0);
        assert!(fit.pooled.loss[0] > 0.7);
    }

    #[test]
    fn constants_are_kept_bad_input_named_and_threads_without_effect() {
        let (x, mut y, _) = planted(60, 2.0);
        (0..60).for_each(|i| y[(i, 1)] = 0.3);
        let regions = vec!["a".to_owned(), "a".to_owned()];
        let params = PoolingParams { max_iterations: 10, ..PoolingParams::default() };
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let fit =
                    attention_readout(&maps(&x), y.as_ref(), &regions, &params, &Monitor::silent()).unwrap();
                (fit.predict(&maps(&x)).unwrap(), fit.queries)
            })
        };
        let found = run(1);
        assert_eq!(found, run(3));
        assert!((0..60).all(|i| found.0.0[(i, 1)] == 0.3));
        let refused = |maps: &FeatureMaps<'_>, regions: &[String], params: &PoolingParams| {
            attention_readout(maps, y.as_ref(), regions, params, &Monitor::silent()).unwrap_err().to_string()
        };
        assert!(refused(&maps(&x), &regions[..1], &params).contains("2 names"));
        assert!(
            refused(&maps(&x), &regions, &PoolingParams { n_starts: 0, ..params.clone() })
                .contains("n_starts")
        );
        let flat = Mat::full(60, CHANNELS * 20, 0.1);
        assert!(refused(&maps(&flat), &regions, &params).contains("does not vary"));
    }
}
