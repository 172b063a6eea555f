//! Read targets out by K masks of where, mixed by gates that depend on what the image shows.
//!
//! ```text
//! a_ip = Σ_k γ_ik s_kp       s_k = softmax_p(θ_k), a mask      γ_i = softmax_k(g_k · φ̄_i / √C + h_k), the gates
//! z_i  = Σ_p a_ip φ_ip       y = z_i W + b, a head per target   φ̄_i: mean over positions
//! ```
//!
//! Semantic spatial transformers move and reshape a receptive field by what an image shows; this does the cheaper
//! thing of choosing between K fields, and is named for that. With K = 1 it is one non-negative mask for all
//! targets of a group. Loss and heads as in `pooling.rs`.
//!
//! Source: specs: alignment-methods B13.3 (the proxy that it proposes). Cost: per evaluation
//! O(n P (C + K) + n C² + C³ + n C T).

use faer::{Mat, MatRef};

use super::FeatureMaps;
use super::attention::{PooledHeads, PoolingParams, fit_groups};
use super::pooling::{Weighing, softmax, through_softmax};
use stereotax_base::data::{Error, Monitor, Result};
use stereotax_base::linalg::dot;
use stereotax_base::stats::rng::Stream;

/// A fitted readout.
#[derive(Debug, Clone, PartialEq)]
pub struct GatedFit {
    /// Per group, K × P; each mask adds up to 1.
    pub masks: Vec<Mat<f64>>,
    /// θ, g and h of each group, one after the other.
    pub parameters: Vec<Vec<f64>>,
    /// K.
    pub n_masks: usize,
    /// P.
    pub n_positions: usize,
    /// Heads and endings.
    pub pooled: PooledHeads,
}

/// What a readout says of samples.
#[derive(Debug, Clone, PartialEq)]
pub struct GatedPrediction {
    /// n × targets.
    pub predicted: Mat<f64>,
    /// Per group, γ (n × K).
    pub gates: Vec<Mat<f64>>,
}

/// Fit `n_masks` masks and gates for the groups that `regions` names (one per target), and heads of all targets.
///
/// `params.positions` has no meaning here. Errors: no masks, or what [`super::attention_readout`] refuses.
pub fn gated_readout(
    maps: &FeatureMaps<'_>,
    y: MatRef<f64>,
    regions: &[String],
    n_masks: usize,
    params: &PoolingParams,
    monitor: &Monitor<'_>,
) -> Result<GatedFit> {
    let p = maps.n_positions();
    if n_masks == 0 || n_masks > p {
        return Err(Error::Invalid {
            what: "n_masks".into(),
            expected: format!("1 to {p} masks (positions)"),
            found: n_masks.to_string(),
            hint: "2 to 4 masks are many".into(),
        });
    }
    let weighing = Gated { n_masks, n_positions: p };
    // Equal masks have equal slopes and would stay equal: every start is random.
    let starts = |group: usize| -> Vec<Vec<f64>> {
        (0..params.n_starts)
            .map(|start| {
                let mut stream =
                    Stream::new(params.seed, "gated starts", (group * params.n_starts + start) as u64);
                (0..n_masks * (p + maps.n_channels + 1)).map(|_| 0.5 * stream.normal()).collect()
            })
            .collect()
    };
    let (pooled, parameters) = fit_groups(maps, y, regions, params, &weighing, starts, monitor)?;
    let masks = parameters
        .iter()
        .map(|at| {
            let masks = weighing.masks(at);
            Mat::from_fn(n_masks, p, |k, q| masks[k][q])
        })
        .collect();
    Ok(GatedFit { masks, parameters, n_masks, n_positions: p, pooled })
}

impl GatedFit {
    /// Predictions and gates. Errors: another number of channels or positions.
    pub fn predict(&self, maps: &FeatureMaps<'_>) -> Result<GatedPrediction> {
        if maps.n_positions() != self.n_positions {
            return Err(Error::Shape {
                what: "X".into(),
                expected: format!("{} positions (as in fit)", self.n_positions),
                found: format!("{} positions", maps.n_positions()),
                hint: "masks belong to the grid that they were fitted on".into(),
            });
        }
        let weighing = Gated { n_masks: self.n_masks, n_positions: self.n_positions };
        let (predicted, _) = self.pooled.predict(maps, &weighing, |g| self.parameters[g].clone())?;
        let tokens = self.pooled.scale.tokens(maps)?;
        let gates = self.parameters.iter().map(|at| {
            let rows: Vec<Vec<f64>> =
                (0..tokens.n_samples()).map(|i| weighing.gates(at, tokens.sample(i)).0).collect();
            Mat::from_fn(rows.len(), self.n_masks, |i, k| rows[i][k])
        });
        Ok(GatedPrediction { predicted, gates: gates.collect() })
    }
}

/// Parameters: θ (K · P), g (K · C), h (K).
struct Gated {
    n_masks: usize,
    n_positions: usize,
}

impl Gated {
    fn masks(&self, parameters: &[f64]) -> Vec<Vec<f64>> {
        parameters[..self.n_masks * self.n_positions]
            .chunks_exact(self.n_positions)
            .map(|theta| softmax(theta.to_vec()))
            .collect()
    }

    /// γ_i and φ̄_i/√C.
    fn gates(&self, parameters: &[f64], sample: MatRef<f64>) -> (Vec<f64>, Vec<f64>) {
        let c = sample.ncols();
        let scale = 1.0 / (sample.nrows() as f64 * (c as f64).sqrt());
        let mean: Vec<f64> = sample.col_iter().map(|col| scale * col.iter().sum::<f64>()).collect();
        let (g, h) = parameters[self.n_masks * self.n_positions..].split_at(self.n_masks * c);
        let exponents = g.chunks_exact(c).zip(h).map(|(g, h)| dot(g, &mean) + h).collect();
        (softmax(exponents), mean)
    }
}

impl Weighing for Gated {
    fn weigh(&self, parameters: &[f64], sample: MatRef<f64>) -> Vec<f64> {
        let (gates, _) = self.gates(parameters, sample);
        let mut out = vec![0.0; self.n_positions];
        for (gate, mask) in gates.iter().zip(self.masks(parameters)) {
            out.iter_mut().zip(mask).for_each(|(to, s)| *to += gate * s);
        }
        out
    }

    fn pull(&self, parameters: &[f64], sample: MatRef<f64>, _: &[f64], slope: &[f64], gradient: &mut [f64]) {
        let (c, p, k) = (sample.ncols(), self.n_positions, self.n_masks);
        let (gates, mean) = self.gates(parameters, sample);
        let masks = self.masks(parameters);
        let by_gates: Vec<f64> = masks.iter().map(|mask| dot(mask, slope)).collect();
        for (mask, (gate, to)) in masks.iter().zip(gates.iter().zip(gradient.chunks_exact_mut(p))) {
            to.iter_mut().zip(through_softmax(mask, slope)).for_each(|(to, v)| *to += gate * v);
        }
        for (at, v) in through_softmax(&gates, &by_gates).into_iter().enumerate() {
            let from = k * p + at * c;
            gradient[from..from + c].iter_mut().zip(&mean).for_each(|(to, m)| *to += v * m);
            gradient[k * p + k * c + at] += v;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::pooling::{ChannelScale, objective};
    use super::*;
    use stereotax_base::stats::summary::pearson;

    const GRID: (usize, usize) = (5, 5);
    const CHANNELS: usize = 4;

    fn noise(rows: usize, columns: usize, index: u64) -> Mat<f64> {
        let mut stream = Stream::new(1, "gated tests", index);
        Mat::from_fn(rows, columns, |_, _| stream.normal())
    }

    fn maps(x: &Mat<f64>) -> FeatureMaps<'_> {
        FeatureMaps { values: x.as_ref(), n_channels: CHANNELS, grid: Some(GRID) }
    }

    /// Channel 3 is high all over in every second image; there the target reads channel 0 at position 6, else at 18.
    fn planted(n: usize) -> (Mat<f64>, Mat<f64>) {
        let mut x = noise(n, CHANNELS * 25, 2);
        for i in 0..n {
            (75..100).for_each(|j| x[(i, j)] += if i % 2 == 0 { 2.0 } else { -2.0 });
        }
        let e = noise(n, 1, 3);
        let y = Mat::from_fn(n, 1, |i, _| x[(i, if i % 2 == 0 { 6 } else { 18 })] + 0.2 * e[(i, 0)]);
        (x, y)
    }

    #[test]
    fn gradients_are_those_of_differences() {
        let (x, y) = planted(40);
        let maps = maps(&x);
        let tokens = ChannelScale::new(&maps).unwrap().tokens(&maps).unwrap();
        let weighing = Gated { n_masks: 2, n_positions: 25 };
        let mean = y.col_as_slice(0).iter().sum::<f64>() / 40.0;
        let y = Mat::from_fn(40, 1, |i, _| y[(i, 0)] - mean);
        let at: Vec<f64> = noise(2 * (25 + CHANNELS + 1), 1, 4).col_as_slice(0).to_vec();
        let (_, gradient) = objective(&tokens, &y, &weighing, &at);
        for k in 0..at.len() {
            let moved = |by: f64| {
                let mut at = at.clone();
                at[k] += by;
                objective(&tokens, &y, &weighing, &at).0
            };
            let slow = (moved(1e-5) - moved(-1e-5)) / 2e-5;
            assert!((gradient[k] - slow).abs() < 1e-8, "{k}: {} {slow}", gradient[k]);
        }
    }

    #[test]
    fn planted_masks_and_gates_come_back_where_one_mask_fails() {
        let (x, y) = planted(600);
        let (train, rest) = (x.get(..400, ..).to_owned(), x.get(400.., ..).to_owned());
        let regions = vec!["a".to_owned()];
        let run = |n_masks| {
            let params = PoolingParams { penalty: 1e-5, ..PoolingParams::default() };
            let fit = gated_readout(
                &maps(&train),
                y.get(..400, ..),
                &regions,
                n_masks,
                &params,
                &Monitor::silent(),
            )
            .unwrap();
            let said = fit.predict(&maps(&rest)).unwrap();
            (pearson(said.predicted.col_as_slice(0), &y.col_as_slice(0)[400..]), fit, said.gates)
        };
        let (one, ..) = run(1);
        let (two, fit, gates) = run(2);
        assert!(one < 0.8 && two > 0.9, "{one} {two}");
        let peak = |k: usize| (0..25).max_by(|&a, &b| fit.masks[0][(k, a)].total_cmp(&fit.masks[0][(k, b)]));
        let (first, second) = (peak(0).unwrap(), peak(1).unwrap());
        assert!([first, second] == [6, 18] || [first, second] == [18, 6], "{first} {second}");
        let even = usize::from(first != 6);
        assert!((0..200).all(|i| gates[0][(i, if i % 2 == 0 { even } else { 1 - even })] > 0.8));
        assert!((0..2).all(|k| (fit.masks[0].row(k).iter().sum::<f64>() - 1.0).abs() < 1e-12));
    }

    #[test]
    fn bad_input_is_named() {
        let (x, y) = planted(30);
        let regions = vec!["a".to_owned()];
        let params = PoolingParams { max_iterations: 3, ..PoolingParams::default() };
        let none = gated_readout(&maps(&x), y.as_ref(), &regions, 0, &params, &Monitor::silent());
        assert!(none.unwrap_err().to_string().contains("1 to 25"));
        let fit = gated_readout(&maps(&x), y.as_ref(), &regions, 2, &params, &Monitor::silent()).unwrap();
        let small = x.get(.., ..CHANNELS * 20).to_owned();
        let other = FeatureMaps { grid: Some((4, 5)), ..maps(&small) };
        assert!(fit.predict(&other).unwrap_err().to_string().contains("25 positions"));
    }
}
