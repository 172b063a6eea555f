//! Adjust p-values for looking at many cells: Holm, Benjamini–Hochberg, Benjamini–Yekutieli, and
//! step-down max-T on common null draws.
//!
//! With m p-values sorted ascending as p_(1) ≤ … ≤ p_(m):
//!
//! - Holm: max_{j≤k} (m − j + 1)·p_(j), the chance of any false claim, under any dependence;
//! - BH: min_{j≥k} m·p_(j)/j, the share of false claims, under positive dependence;
//! - BY: BH times Σ_{i≤m} 1/i, the same under any dependence;
//! - max-T (Westfall & Young 1993, algorithm 2.8): with the observed statistics sorted descending, u_k is
//!   the maximum of a null draw over cells k … m; p_k = (1 + #{u_k ≥ t_k})/(1 + B), then made monotone. Where
//!   draws cannot all be held, [`StepDown`] takes them one by one and [`max_t_in_steps`] needs only maxima.
//!
//! Undefined values (NaN) stay NaN and do not count. All results are capped at 1.
//! Source: Holm 1979; Benjamini & Hochberg 1995; Benjamini & Yekutieli 2001; specs: nfas-dmd 11.5.
//! Cost: O(m log m); max-T O(B·m).

use super::summary::{permutation_p, tie_tolerance};
use crate::data::{Error, Result};

/// Which adjustment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Adjustment {
    /// No adjustment.
    None,
    /// Holm's step-down method.
    Holm,
    /// Benjamini–Hochberg (the default).
    #[default]
    Bh,
    /// Benjamini–Yekutieli.
    By,
}

/// Adjust p-values; see the module's text for the formulas.
pub fn adjust(p_values: &[f64], adjustment: Adjustment) -> Vec<f64> {
    match adjustment {
        Adjustment::None => p_values.to_vec(),
        Adjustment::Holm => holm(p_values),
        Adjustment::Bh => benjamini_hochberg(p_values),
        Adjustment::By => benjamini_yekutieli(p_values),
    }
}

/// Holm's adjusted p-values, in input order.
pub fn holm(p_values: &[f64]) -> Vec<f64> {
    let order = ascending(p_values);
    let mut adjusted = vec![f64::NAN; p_values.len()];
    let mut largest: f64 = 0.0;
    for (rank, &i) in order.iter().enumerate() {
        largest = largest.max((order.len() - rank) as f64 * p_values[i]);
        adjusted[i] = largest.min(1.0);
    }
    adjusted
}

/// Benjamini–Hochberg adjusted p-values (q-values), in input order.
pub fn benjamini_hochberg(p_values: &[f64]) -> Vec<f64> {
    step_up(p_values, 1.0)
}

/// Benjamini–Yekutieli adjusted p-values, in input order.
pub fn benjamini_yekutieli(p_values: &[f64]) -> Vec<f64> {
    let m = p_values.iter().filter(|p| !p.is_nan()).count();
    step_up(p_values, (1..=m).map(|i| 1.0 / i as f64).sum())
}

fn step_up(p_values: &[f64], factor: f64) -> Vec<f64> {
    let order = ascending(p_values);
    let mut adjusted = vec![f64::NAN; p_values.len()];
    let mut least: f64 = 1.0;
    for (rank, &i) in order.iter().enumerate().rev() {
        least = least.min(factor * order.len() as f64 * p_values[i] / (rank + 1) as f64);
        adjusted[i] = least;
    }
    adjusted
}

/// Positions of the defined values, ascending; equal values in input order.
fn ascending(values: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..values.len()).filter(|&i| !values[i].is_nan()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    order
}

/// p-values adjusted by step-down max-T.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct MaxT {
    /// Adjusted p-value per cell; NaN where the observed statistic is.
    pub p_adjusted: Vec<f64>,
    /// Unadjusted permutation p-value per cell, from the same draws.
    pub p_value: Vec<f64>,
    /// Null draws used.
    pub n_permutations: usize,
    /// Cells without an observed statistic.
    pub n_undefined: usize,
}

/// Step-down max-T (large is extreme) over cells that were permuted together.
///
/// `observed` has one statistic per cell; `null` is B × n_cells, row after row, and row b holds the same
/// shuffle b for every cell. An undefined null value (NaN) counts as −∞: it cannot exceed anything.
/// Errors: a null table of the wrong size, or no draw.
pub fn max_t(observed: &[f64], null: &[f32]) -> Result<MaxT> {
    let n_cells = observed.len();
    if n_cells == 0 || null.is_empty() || !null.len().is_multiple_of(n_cells) {
        return Err(Error::Shape {
            what: "null".into(),
            expected: format!("a whole, positive number of draws over {n_cells} cells"),
            found: format!("{} values", null.len()),
            hint: "store one null statistic per draw and cell, draw after draw".into(),
        });
    }
    let mut order = ascending(observed);
    order.reverse();
    // Null draws come in single precision, so ties are judged at that precision.
    let thresholds: Vec<f64> =
        observed.iter().map(|&t| t - tie_tolerance(t).max(f64::from(f32::EPSILON) * t.abs())).collect();
    let mut single = vec![0usize; n_cells];
    let mut stepped = vec![0usize; n_cells];
    for draw in null.chunks_exact(n_cells) {
        let mut largest = f64::NEG_INFINITY;
        for &cell in order.iter().rev() {
            let value = f64::from(draw[cell]);
            single[cell] += usize::from(value >= thresholds[cell]);
            if value > largest {
                largest = value;
            }
            stepped[cell] += usize::from(largest >= thresholds[cell]);
        }
    }
    let n_permutations = null.len() / n_cells;
    let mut p_value = vec![f64::NAN; n_cells];
    let mut p_adjusted = vec![f64::NAN; n_cells];
    let mut largest: f64 = 0.0;
    for &cell in &order {
        p_value[cell] = permutation_p(single[cell], n_permutations);
        largest = largest.max(permutation_p(stepped[cell], n_permutations));
        p_adjusted[cell] = largest;
    }
    Ok(MaxT { p_adjusted, p_value, n_permutations, n_undefined: n_cells - order.len() })
}

/// Single-step max-T: (1 + #{largest null ≥ t})/(1 + B), from the largest null statistic of each draw over all
/// cells that were looked at.
///
/// As valid as [`max_t`] and never smaller; it needs one number per draw instead of a table of draws and cells.
/// NaN where the statistic is, and without draws. Source: Westfall & Young 1993, section 2.6.
pub fn max_t_single_step(observed: &[f64], maxima: &[f32]) -> Vec<f64> {
    let mut sorted = maxima.to_vec();
    sorted.sort_unstable_by(f32::total_cmp);
    let adjusted = |t: f64| {
        let reaching = sorted.len() - sorted.partition_point(|&m| f64::from(m) < threshold(t));
        permutation_p(reaching, sorted.len())
    };
    observed.iter().map(|&t| if t.is_nan() || maxima.is_empty() { f64::NAN } else { adjusted(t) }).collect()
}

/// Null statistics of single precision are not told from an observed one below this.
const TIE: f64 = 2e-6;

fn threshold(t: f64) -> f64 {
    t - tie_tolerance(t).max(TIE)
}

/// Step-down max-T where draws come one after another, over cells too many for a table of all draws.
///
/// The same as [`max_t`], with ties judged at 2·10⁻⁶. Memory: that of one draw. Draws may come in any order.
#[derive(Debug, Clone)]
pub struct StepDown {
    /// Cells from the least statistic to the largest.
    ascending: Vec<usize>,
    thresholds: Vec<f64>,
    reaching: Vec<usize>,
    n_draws: usize,
}

impl StepDown {
    /// No draw yet; one statistic per cell, NaN where there is none.
    pub fn new(observed: &[f64]) -> Self {
        StepDown {
            ascending: ascending(observed),
            thresholds: observed.iter().map(|&t| threshold(t)).collect(),
            reaching: vec![0; observed.len()],
            n_draws: 0,
        }
    }

    /// One draw: a null statistic per cell; an undefined one reaches nothing.
    pub fn add(&mut self, draw: &[f32]) {
        let mut largest = f64::NEG_INFINITY;
        for &cell in &self.ascending {
            largest = largest.max(f64::from(draw[cell]));
            self.reaching[cell] += usize::from(largest >= self.thresholds[cell]);
        }
        self.n_draws += 1;
    }

    /// Adjusted p-values; NaN where there is no statistic, and without draws.
    pub fn p_adjusted(&self) -> Vec<f64> {
        let counts = |cell: usize| permutation_p(self.reaching[cell], self.n_draws);
        let n = self.thresholds.len();
        if self.n_draws == 0 { vec![f64::NAN; n] } else { never_below(&self.ascending, n, counts) }
    }
}

/// From the largest statistic down, an adjusted p-value is at least that of the one before.
fn never_below(ascending: &[usize], n_cells: usize, p: impl Fn(usize) -> f64) -> Vec<f64> {
    let mut adjusted = vec![f64::NAN; n_cells];
    let mut least: f64 = 0.0;
    for &cell in ascending.iter().rev() {
        least = least.max(p(cell));
        adjusted[cell] = least;
    }
    adjusted
}

/// Steps of [`max_t_in_steps`]: correlations up to 0, then hundredths up to 1.
pub const N_STEPS: usize = 101;

/// The step of a correlation, 0 … [`N_STEPS`] − 1.
pub fn step_of(r: f64) -> usize {
    if r > 0.0 { (1 + (100.0 * r) as usize).min(N_STEPS - 1) } else { 0 }
}

/// Step-down max-T of correlations in steps of 0.01, for more cells than draws can be kept of.
///
/// `maxima` is [`N_STEPS`] × draws, step after step: the largest null correlation of a draw over the cells whose
/// observed correlation has that step (−∞ without any). A cell is compared with the largest of its own step and
/// all below: with a few cells more than in [`max_t`], so that p is never smaller than there, and as a rule
/// smaller than by [`max_t_single_step`]. NaN as there.
pub fn max_t_in_steps(observed: &[f64], maxima: &[f32]) -> Vec<f64> {
    let n_draws = maxima.len() / N_STEPS;
    if n_draws == 0 {
        return vec![f64::NAN; observed.len()];
    }
    let mut so_far = vec![f32::NEG_INFINITY; n_draws];
    let sorted: Vec<Vec<f32>> = maxima
        .chunks_exact(n_draws)
        .map(|step| {
            so_far.iter_mut().zip(step).for_each(|(largest, m)| *largest = largest.max(*m));
            let mut sorted = so_far.clone();
            sorted.sort_unstable_by(f32::total_cmp);
            sorted
        })
        .collect();
    let p = |cell: usize| {
        let (t, draws) = (threshold(observed[cell]), &sorted[step_of(observed[cell])]);
        permutation_p(n_draws - draws.partition_point(|&m| f64::from(m) < t), n_draws)
    };
    never_below(&ascending(observed), observed.len(), p)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::rng::Stream;

    fn close(found: &[f64], expected: &[f64]) {
        for (f, e) in found.iter().zip(expected) {
            assert!((f - e).abs() < 1e-15 || (f.is_nan() && e.is_nan()), "{found:?} against {expected:?}");
        }
    }

    #[test]
    fn adjustments_by_hand() {
        // Sorted 0.01, 0.02, 0.03, 0.2 with one undefined value.
        let p = [0.03, 0.01, f64::NAN, 0.2, 0.02];
        close(&holm(&p), &[0.06, 0.04, f64::NAN, 0.2, 0.06]);
        close(&benjamini_hochberg(&p), &[0.04, 0.04, f64::NAN, 0.2, 0.04]);
        let c = 1.0 + 0.5 + 1.0 / 3.0 + 0.25;
        close(&benjamini_yekutieli(&p), &[0.04 * c, 0.04 * c, f64::NAN, 0.2 * c, 0.04 * c]);
        close(&holm(&[0.9, 0.8]), &[1.0, 1.0]);
    }

    #[test]
    fn max_t_by_hand() {
        // Observed 3, 1, undefined. Draws (0, 2, 9), (4, 0, 9), (0, 0.5, 9).
        let null = [0.0, 2.0, 9.0, 4.0, 0.0, 9.0, 0.0, 0.5, 9.0];
        let found = max_t(&[3.0, 1.0, f64::NAN], &null).unwrap();
        // Cell 0: maxima over both cells 2, 4, 0.5, of which one reaches 3. Cell 1: 2, 0, 0.5.
        close(&found.p_adjusted, &[0.5, 0.5, f64::NAN]);
        close(&found.p_value, &[0.5, 0.5, f64::NAN]);
        assert_eq!((found.n_undefined, found.n_permutations), (1, 3));
        // A less extreme cell never gets a smaller p-value than a more extreme one.
        let found = max_t(&[3.0, 2.9], &[4.0, 0.0, 4.0, 0.0, 4.0, 0.0]).unwrap();
        close(&found.p_adjusted, &[1.0, 1.0]);
        close(&found.p_value, &[1.0, 0.25]);
    }

    #[test]
    fn the_single_step_is_the_first_step_for_every_cell() {
        let null = [0.0, 2.0, 4.0, 0.0, 0.0, 0.5];
        let maxima: Vec<f32> = null.chunks(2).map(|d: &[f32]| d[0].max(d[1])).collect();
        let found = max_t_single_step(&[3.0, 1.0, f64::NAN], &maxima);
        close(&found, &[0.5, 0.75, f64::NAN]);
        assert_eq!(found[0], max_t(&[3.0, 1.0], &null).unwrap().p_adjusted[0]);
        assert!(max_t_single_step(&[3.0], &[])[0].is_nan());
    }

    #[test]
    fn draws_one_after_another_make_the_table_and_steps_stand_between() {
        let (cells, draws) = (40, 200);
        let mut stream = Stream::new(3, "step-down tests", 0);
        let mut observed: Vec<f64> = (0..cells).map(|j| 0.012 * j as f64 + 0.05 * stream.normal()).collect();
        observed[5] = f64::NAN;
        let null: Vec<f32> = (0..cells * draws).map(|_| 0.15 * stream.normal() as f32).collect();
        let table = max_t(&observed, &null).unwrap().p_adjusted;
        let mut one_by_one = StepDown::new(&observed);
        null.chunks(cells).rev().for_each(|draw| one_by_one.add(draw));
        close(&one_by_one.p_adjusted(), &table);
        let mut maxima = vec![f32::NEG_INFINITY; N_STEPS * draws];
        for (b, draw) in null.chunks(cells).enumerate() {
            for (r, value) in observed.iter().zip(draw).filter(|(r, _)| !r.is_nan()) {
                let largest = &mut maxima[step_of(*r) * draws + b];
                *largest = largest.max(*value);
            }
        }
        let defined = |cell: &usize| *cell != 5;
        let largest: Vec<f32> = null
            .chunks(cells)
            .map(|d| (0..cells).filter(defined).map(|j| d[j]).fold(f32::NEG_INFINITY, f32::max))
            .collect();
        let (steps, single) = (max_t_in_steps(&observed, &maxima), max_t_single_step(&observed, &largest));
        assert!(steps[5].is_nan() && one_by_one.p_adjusted()[5].is_nan());
        for j in (0..cells).filter(defined) {
            assert!(table[j] <= steps[j] && steps[j] <= single[j] + 1e-12, "{j}");
        }
        let sum = |p: &[f64]| p.iter().filter(|p| !p.is_nan()).sum::<f64>();
        assert!(sum(&table) < sum(&steps) && sum(&steps) < sum(&single) - 0.5);
        assert_eq!(
            [step_of(-0.2), step_of(0.0), step_of(0.004), step_of(0.995), step_of(1.0)],
            [0, 0, 1, 100, 100]
        );
        assert!(StepDown::new(&[0.5]).p_adjusted()[0].is_nan() && max_t_in_steps(&[0.5], &[])[0].is_nan());
    }

    #[test]
    fn max_t_controls_the_chance_of_any_false_claim() {
        let (cells, draws) = (8, 99);
        let mut any = 0;
        for seed in 0..400 {
            let mut stream = Stream::new(seed, "max-T tests", 0);
            let observed: Vec<f64> = (0..cells).map(|_| stream.normal()).collect();
            let null: Vec<f32> = (0..cells * draws).map(|_| stream.normal() as f32).collect();
            any += usize::from(max_t(&observed, &null).unwrap().p_adjusted.iter().any(|&p| p <= 0.05));
        }
        // Exactly 5 % at the global null: 20 ± 4.4.
        assert!((7..=35).contains(&any), "{any}");
    }
}
