//! Adjust p-values for looking at many cells: Holm, Benjamini–Hochberg, Benjamini–Yekutieli, and
//! step-down max-T on common null draws.
//!
//! With m p-values sorted ascending as p_(1) ≤ … ≤ p_(m):
//!
//! - Holm: max_{j≤k} (m − j + 1)·p_(j), the chance of any false claim, under any dependence;
//! - BH: min_{j≥k} m·p_(j)/j, the share of false claims, under positive dependence;
//! - BY: BH times Σ_{i≤m} 1/i, the same under any dependence;
//! - max-T (Westfall & Young 1993, algorithm 2.8): with the observed statistics sorted descending, u_k is
//!   the maximum of a null draw over cells k … m; p_k = (1 + #{u_k ≥ t_k})/(1 + B), then made monotone.
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
        let threshold = t - tie_tolerance(t).max(2e-6);
        permutation_p(sorted.len() - sorted.partition_point(|&m| f64::from(m) < threshold), sorted.len())
    };
    observed.iter().map(|&t| if t.is_nan() || maxima.is_empty() { f64::NAN } else { adjusted(t) }).collect()
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
