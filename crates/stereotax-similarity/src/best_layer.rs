//! Judge the layers of models by their draws: means over subjects, the best layer, and differences between models.
//!
//! The layer that came out best did so partly by luck, and a model with many layers had more luck. In every draw b the
//! best layer is chosen anew among θ_l + e_lb, with e_lb the deviations of [`super::draws`] (turned so that larger is
//! more alike):
//!
//! ```text
//! optimism     mean_b e_(best of b) b                  how much a winner owes to the draw in which it won
//! corrected    θ_best − optimism
//! interval     corrected + quantiles of R_b − mean_b R_b,  R_b = (θ + e_b)_(best of b) what winners reach
//! p            permutations whose largest z over layers reaches that of the data, z = (θ − chance)/spread of the null
//! difference   corrected_i − corrected_j of two models, with both choices made anew in every draw
//! ```
//!
//! Deviations are those of other stimuli with the same subjects. A mean over subjects is that of values and of draws,
//! draw by draw. Pairs of models are tested two-sided: (1 + #{|d_b − mean d_b| ≥ |d|})/(1 + B).
//!
//! Source: specs: peers 5 and 7 (a best layer chosen and tested on the same data); Efron & Tibshirani 1993; Westfall &
//! Young 1993. Cost: O(draws × layers).

use super::draws::chance_level;
use super::measures::{Direction, Measure};
use stereotax_base::stats::multiplicity::StepDown;
use stereotax_base::stats::summary::{mean, permutation_p, quantile, sd, tie_tolerance};

/// One layer beside one area by one measure, of one subject or of their mean.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct LayerDraws {
    /// The value; NaN where undefined.
    pub value: f64,
    /// With stimuli permuted, draw by draw.
    pub null: Vec<f32>,
    /// With stimuli weighted or left out, draw by draw.
    pub draws: Vec<f32>,
}

/// The best layer of a model for one area.
#[derive(Debug, Clone, PartialEq)]
pub struct BestLayer {
    /// Which layer; `None` where no layer has a value.
    pub index: Option<usize>,
    /// Its value, in the measure's own direction.
    pub value: f64,
    /// Less what the choice inflates it by; NaN without draws.
    pub corrected: f64,
    /// Interval of the corrected value.
    pub lower: f64,
    /// See `lower`.
    pub upper: f64,
    /// Share of draws that each layer wins; empty without draws.
    pub win_share: Vec<f64>,
    /// p of the best of all layers; NaN without permutations.
    pub p_value: f64,
    /// What the winners of draws reach, larger is more alike, draw by draw.
    pub reached: Vec<f64>,
}

/// How two models differ in their best layers.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelDifference {
    /// Corrected value of the first less that of the second, turned so that above 0 the first is more alike.
    pub difference: f64,
    /// Interval of the difference.
    pub lower: f64,
    /// See `lower`.
    pub upper: f64,
    /// Two-sided p; NaN without draws.
    pub p_value: f64,
    /// |difference| over its standard error.
    pub statistic: f64,
    /// The same of every draw's deviation.
    pub null: Vec<f32>,
}

/// Larger is more alike.
fn sign(measure: &Measure) -> f64 {
    match measure.direction {
        Direction::Similarity => 1.0,
        Direction::Distance => -1.0,
    }
}

impl LayerDraws {
    /// The mean of several subjects: of those that have a value.
    pub fn mean(subjects: &[&LayerDraws]) -> LayerDraws {
        let defined: Vec<&&LayerDraws> = subjects.iter().filter(|s| !s.value.is_nan()).collect();
        let Some(first) = defined.first() else {
            let (null, draws) = subjects.first().map_or((0, 0), |s| (s.null.len(), s.draws.len()));
            return LayerDraws { value: f64::NAN, null: vec![f32::NAN; null], draws: vec![f32::NAN; draws] };
        };
        let n = defined.len() as f64;
        let over = |of: &dyn Fn(&LayerDraws) -> &Vec<f32>| -> Vec<f32> {
            (0..of(first).len())
                .map(|b| (defined.iter().map(|s| f64::from(of(s)[b])).sum::<f64>() / n) as f32)
                .collect()
        };
        LayerDraws {
            value: defined.iter().map(|s| s.value).sum::<f64>() / n,
            null: over(&|s| &s.null),
            draws: over(&|s| &s.draws),
        }
    }

    fn null(&self) -> impl Iterator<Item = f64> {
        self.null.iter().map(|v| f64::from(*v))
    }

    /// The value and every null draw in units of the null's spread above chance, larger is more alike; NaN where the
    /// null does not vary.
    pub fn standardised(&self, measure: &Measure) -> (f64, Vec<f32>) {
        let level = chance_level(self.value, self.null(), measure.direction);
        let scale = if level.spread > 0.0 { sign(measure) / level.spread } else { f64::NAN };
        let null = self.null().map(|v| ((v - level.chance) * scale) as f32).collect();
        ((self.value - level.chance) * scale, null)
    }
}

/// The best of a model's layers (in order), with the choice itself resampled. `factor` is that of
/// [`Blocks::factor`](super::draws::Blocks::factor) for the measure's interval.
pub fn best_layer(layers: &[LayerDraws], measure: &Measure, factor: f64, level: f64) -> BestLayer {
    let sign = sign(measure);
    let turned: Vec<f64> = layers.iter().map(|l| sign * l.value).collect();
    let mut found = BestLayer {
        index: first_best(turned.iter().copied()),
        value: f64::NAN,
        corrected: f64::NAN,
        lower: f64::NAN,
        upper: f64::NAN,
        win_share: Vec::new(),
        p_value: p_of_best(layers, measure),
        reached: Vec::new(),
    };
    let Some(index) = found.index else { return found };
    found.value = layers[index].value;
    let n_draws = layers.iter().map(|l| l.draws.len()).min().unwrap_or(0);
    let centre: Vec<f64> = layers.iter().map(|l| mean_of_defined(&l.draws)).collect();
    let error = |l: usize, b: usize| sign * factor * (f64::from(layers[l].draws[b]) - centre[l]);
    let mut wins = vec![0usize; layers.len()];
    let mut gains = Vec::with_capacity(n_draws);
    for b in 0..n_draws {
        let reached = |l: usize| turned[l] + error(l, b);
        let Some(winner) = first_best((0..layers.len()).map(reached)) else {
            found.reached.push(f64::NAN);
            continue;
        };
        wins[winner] += 1;
        gains.push(error(winner, b));
        found.reached.push(reached(winner));
    }
    if gains.len() < 2 {
        return found;
    }
    found.win_share = wins.iter().map(|&w| w as f64 / gains.len() as f64).collect();
    let optimism = mean(&gains);
    let reached: Vec<f64> = found.reached.iter().copied().filter(|v| !v.is_nan()).collect();
    let tail = 0.5 - 0.5 * level;
    let centre = turned[index] - optimism - mean(&reached);
    let ends = [tail, 1.0 - tail].map(|share| sign * (centre + quantile(&reached, share)));
    found.corrected = (sign * (turned[index] - optimism)).clamp(measure.lowest, measure.highest);
    found.lower = ends[0].min(ends[1]).max(measure.lowest);
    found.upper = ends[0].max(ends[1]).min(measure.highest);
    found
}

/// The place of the largest value that is defined, the first of equals.
fn first_best(values: impl Iterator<Item = f64>) -> Option<usize> {
    values
        .enumerate()
        .filter(|(_, v)| !v.is_nan())
        .fold(None, |best: Option<(usize, f64)>, (k, v)| match best {
            Some((_, most)) if most >= v => best,
            _ => Some((k, v)),
        })
        .map(|(k, _)| k)
}

fn mean_of_defined(draws: &[f32]) -> f64 {
    let defined: Vec<f64> = draws.iter().filter(|v| !v.is_nan()).map(|v| f64::from(*v)).collect();
    if defined.is_empty() { f64::NAN } else { mean(&defined) }
}

/// Permutations whose largest z over layers reaches that of the data.
fn p_of_best(layers: &[LayerDraws], measure: &Measure) -> f64 {
    let standardised: Vec<(f64, Vec<f32>)> =
        layers.iter().map(|l| l.standardised(measure)).filter(|(z, _)| !z.is_nan()).collect();
    let Some(n_draws) = standardised.iter().map(|(_, null)| null.len()).min().filter(|n| *n > 0) else {
        return f64::NAN;
    };
    let observed = standardised.iter().map(|(z, _)| *z).fold(f64::NEG_INFINITY, f64::max);
    let tie = tie_tolerance(observed).max(f64::from(f32::EPSILON) * observed.abs());
    let reaching =
        (0..n_draws).filter(|&b| standardised.iter().any(|(_, null)| f64::from(null[b]) >= observed - tie));
    permutation_p(reaching.count(), n_draws)
}

/// How much more alike the first model is, by the same draws.
pub fn model_difference(
    first: &BestLayer,
    second: &BestLayer,
    measure: &Measure,
    level: f64,
) -> ModelDifference {
    let difference = sign(measure) * (first.corrected - second.corrected);
    let draws: Vec<f64> =
        first.reached.iter().zip(&second.reached).map(|(a, b)| a - b).filter(|d| !d.is_nan()).collect();
    let spread = if draws.len() > 1 { sd(&draws) } else { f64::NAN };
    if difference.is_nan() || !(spread > 0.0) {
        let nothing = f64::NAN;
        return ModelDifference {
            difference,
            lower: nothing,
            upper: nothing,
            p_value: nothing,
            statistic: nothing,
            null: Vec::new(),
        };
    }
    let centre = mean(&draws);
    let deviations: Vec<f64> = draws.iter().map(|d| d - centre).collect();
    let tie = tie_tolerance(difference);
    let reaching = deviations.iter().filter(|d| d.abs() >= difference.abs() - tie).count();
    let tail = 0.5 - 0.5 * level;
    ModelDifference {
        difference,
        lower: difference + quantile(&deviations, tail),
        upper: difference + quantile(&deviations, 1.0 - tail),
        p_value: permutation_p(reaching, deviations.len()),
        statistic: difference.abs() / spread,
        null: deviations.iter().map(|d| (d.abs() / spread) as f32).collect(),
    }
}

/// p-values adjusted for all that was looked at by step-down max-T; NaN where a statistic or its draws are missing.
///
/// `cells`: statistic (larger is more extreme) and its null, draw by draw.
pub fn adjusted_together(cells: &[(f64, Vec<f32>)]) -> Vec<f64> {
    let n_draws = cells.iter().map(|(_, null)| null.len()).max().unwrap_or(0);
    let whole = |null: &Vec<f32>| n_draws > 0 && null.len() == n_draws;
    let observed: Vec<f64> = cells.iter().map(|(t, null)| if whole(null) { *t } else { f64::NAN }).collect();
    let mut down = StepDown::new(&observed);
    let mut row = vec![f32::NEG_INFINITY; cells.len()];
    for b in 0..n_draws {
        for (to, (_, null)) in row.iter_mut().zip(cells) {
            *to = if whole(null) && !null[b].is_nan() { null[b] } else { f32::NEG_INFINITY };
        }
        down.add(&row);
    }
    down.p_adjusted()
}

#[cfg(test)]
mod tests {
    use super::super::measures::measure;
    use super::*;
    use stereotax_base::stats::rng::Stream;

    fn cka() -> &'static Measure {
        measure("cka_debiased").unwrap()
    }

    fn layer(value: f64, draws: &[f32], null: &[f32]) -> LayerDraws {
        LayerDraws { value, null: null.to_vec(), draws: draws.to_vec() }
    }

    #[test]
    fn the_choice_is_paid_for_by_hand() {
        // Two layers at 0.5; deviations ±0.1 in turn: the winner always owes 0.1 to its draw.
        let layers = [layer(0.5, &[0.6, 0.4], &[]), layer(0.5, &[0.3, 0.5], &[])];
        let best = best_layer(&layers, cka(), 1.0, 0.95);
        assert_eq!((best.index, best.win_share.clone()), (Some(0), vec![0.5, 0.5]));
        assert!((best.corrected - 0.4).abs() < 1e-7 && best.value == 0.5, "{best:?}");
        // Each draw's winner reaches 0.6: the winners do not vary, and the interval is a point.
        assert!((best.lower - 0.4).abs() < 1e-7 && (best.upper - 0.4).abs() < 1e-7);
        // The factor of left-out stimuli stretches the deviations.
        let wide = best_layer(&layers, cka(), 2.0, 0.95);
        assert!((wide.corrected - 0.3).abs() < 1e-7);
        // One layer alone has nothing to choose.
        let one = best_layer(&layers[..1], cka(), 1.0, 0.95);
        assert!((one.corrected - 0.5).abs() < 1e-7);
    }

    #[test]
    fn distances_are_best_when_small() {
        let angle = measure("procrustes_angular").unwrap();
        let layers = [layer(0.9, &[0.8, 1.0], &[1.2, 1.4]), layer(0.6, &[0.5, 0.7], &[1.2, 1.4])];
        let best = best_layer(&layers, angle, 1.0, 0.95);
        assert_eq!(best.index, Some(1));
        assert!((best.corrected - 0.6).abs() < 1e-7 && best.lower < 0.6 && best.upper > 0.6);
        assert_eq!(best.p_value, 1.0 / 3.0);
        let far = BestLayer { corrected: 0.9, ..best.clone() };
        let found = model_difference(&best, &far, angle, 0.95);
        assert!((found.difference - 0.3).abs() < 1e-7, "the nearer model is above");
        assert!(found.p_value.is_nan(), "draws of one model with itself do not vary");
    }

    #[test]
    fn p_of_the_best_counts_every_layer() {
        // z of layer 0 is 3, which nothing reaches; 1.5 is reached by one draw of layer 1.
        let layers = [layer(3.0, &[], &[1.0, -1.0, 1.0, -1.0]), layer(0.0, &[], &[-1.0, -1.0, -1.0, 3.0])];
        let (z, null) = layers[1].standardised(cka());
        assert!(z.abs() < 1e-12 && (f64::from(null[3]) - 3f64.sqrt()).abs() < 1e-6);
        let best = best_layer(&layers, cka(), 1.0, 0.95);
        assert_eq!(best.p_value, 0.2);
        let lower = best_layer(&[layer(1.5, &[], &layers[0].null), layers[1].clone()], cka(), 1.0, 0.95);
        assert_eq!(lower.p_value, 0.4);
        assert!(best.corrected.is_nan() && best.win_share.is_empty());
        let nothing = best_layer(&[layer(f64::NAN, &[], &[])], cka(), 1.0, 0.95);
        assert!(nothing.index.is_none() && nothing.p_value.is_nan());
    }

    #[test]
    fn subjects_without_a_value_are_left_out_of_the_mean() {
        let (a, b) = (layer(0.2, &[0.1], &[0.0]), layer(0.4, &[0.5], &[0.2]));
        let undefined = layer(f64::NAN, &[f32::NAN], &[f32::NAN]);
        let mean = LayerDraws::mean(&[&a, &undefined, &b]);
        assert!((mean.value - 0.3).abs() < 1e-12 && (mean.draws[0] - 0.3).abs() < 1e-6);
        assert!((mean.null[0] - 0.1).abs() < 1e-6);
        assert!(LayerDraws::mean(&[&undefined]).value.is_nan());
    }

    #[test]
    fn equal_models_differ_rarely_and_a_planted_difference_is_found() {
        let mut low = [0; 2];
        for world in 0..200 {
            let mut stream = Stream::new(7, "best layer worlds", world);
            // Sampling errors that six layers share in part; the truth is 0.3 everywhere, or 0.6 for the first model.
            let mut model = |truth: f64| -> Vec<LayerDraws> {
                (0..6)
                    .map(|_| {
                        let value = truth + 0.05 * stream.normal();
                        let draws = (0..200).map(|_| (value + 0.05 * stream.normal()) as f32).collect();
                        LayerDraws { value, null: vec![], draws }
                    })
                    .collect()
            };
            let (a, b, c) = (model(0.3), model(0.3), model(0.6));
            let [a, b, c] = [a, b, c].map(|m| best_layer(&m, cka(), 1.0, 0.95));
            low[0] += i32::from(model_difference(&a, &b, cka(), 0.95).p_value <= 0.05);
            low[1] += i32::from(model_difference(&c, &b, cka(), 0.95).p_value <= 0.05);
            assert!(a.corrected < a.value);
        }
        // At most 5 % of 200, standard deviation 3; the difference of 0.3 is six standard errors.
        assert!(low[0] <= 19 && low[1] >= 195, "{low:?}");
    }

    #[test]
    fn adjusting_counts_cells_without_draws_as_nothing() {
        let cells = [
            (2.0, vec![0.0f32, 1.0, 3.0]),
            (1.0, vec![0.0, 2.5, 0.5]),
            (5.0, vec![]),
            (f64::NAN, vec![0.0; 3]),
        ];
        let p = adjusted_together(&cells);
        // Draw maxima 0, 2.5, 3: two reach 2.0. For 1.0 alone: one.
        assert_eq!(p[..2], [0.75, 0.75]);
        assert!(p[2].is_nan() && p[3].is_nan());
    }
}
