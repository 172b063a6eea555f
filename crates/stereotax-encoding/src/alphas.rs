//! Lay the grid of ridge penalties, and choose from it.
//!
//! Default: 19 penalties, logarithmic from 10⁻³ to 10⁶, as multiples of mean(s²), the mean square of
//! the min(n, p) singular values of the centred training design: trace(XᵀX)/min(n, p). A multiple of 1
//! therefore halves a direction of average strength, whatever the units of the features.
//! The multiples become penalties once, on the outer training rows; inner folds use the same penalties,
//! because the best α is a ratio of variances that does not grow with the number of rows.
//!
//! Source: specs: nfas-dmd 8.5.2. himalaya and scikit-learn take absolute penalties with the same
//! convention; code that shrinks by s/(s² + α²) needs α².

use stereotax_base::data::{Error, Result};

/// What the numbers of a grid multiply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlphaScale {
    /// mean(s²) of the training design.
    MeanSquare,
    /// One: the numbers are the penalties.
    Absolute,
}

/// Penalties to choose from, ascending.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct AlphaGrid {
    /// The numbers, ascending and at least 0.
    pub values: Vec<f64>,
    /// Default `MeanSquare`.
    pub scale: AlphaScale,
}

impl Default for AlphaGrid {
    fn default() -> Self {
        AlphaGrid::logarithmic(-3.0, 6.0, 19, AlphaScale::MeanSquare)
    }
}

impl AlphaGrid {
    /// `steps` numbers from 10^`from` to 10^`to`, evenly spaced in the exponent.
    pub fn logarithmic(from: f64, to: f64, steps: usize, scale: AlphaScale) -> Self {
        let width = (steps.max(2) - 1) as f64;
        let values = (0..steps).map(|i| 10f64.powf(from + (to - from) * i as f64 / width)).collect();
        AlphaGrid { values, scale }
    }

    /// These penalties as they are.
    pub fn absolute(values: &[f64]) -> Self {
        AlphaGrid { values: values.to_vec(), scale: AlphaScale::Absolute }
    }

    /// The penalties for a design whose mean(s²) is `mean_square`.
    ///
    /// Errors: an empty grid, numbers that are negative, not finite, or not ascending.
    pub fn penalties(&self, mean_square: f64) -> Result<Vec<f64>> {
        let ordered = self.values.windows(2).all(|w| w[0] < w[1]);
        if self.values.is_empty() || !ordered || !self.values.iter().all(|a| *a >= 0.0 && a.is_finite()) {
            return Err(Error::Invalid {
                what: "alphas".into(),
                expected: "at least one finite number ≥ 0, in ascending order".into(),
                found: format!("{:?}", self.values),
                hint: "sort the grid and drop repeats".into(),
            });
        }
        let scale = match self.scale {
            AlphaScale::MeanSquare => mean_square,
            AlphaScale::Absolute => 1.0,
        };
        Ok(self.values.iter().map(|a| a * scale).collect())
    }
}

/// Scores closer than this are a tie.
const TIE: f64 = 1e-12;

/// The index of the best score; ties go to the larger penalty (the last index); `None` if none is finite.
pub(super) fn best(scores: impl Iterator<Item = f64>) -> Option<usize> {
    let mut found: Option<(usize, f64)> = None;
    for (i, score) in scores.enumerate() {
        if score.is_finite() && found.is_none_or(|(_, top)| score >= top - TIE * top.abs().max(1.0)) {
            // Keep the highest score as the mark, so that a slope of tiny steps is not one long tie.
            found = Some((i, found.map_or(score, |(_, top)| top.max(score))));
        }
    }
    found.map(|(i, _)| i)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_grid_is_nineteen_half_decades() {
        let alphas = AlphaGrid::default().penalties(2.0).unwrap();
        assert_eq!(alphas.len(), 19);
        assert!((alphas[0] - 2e-3).abs() < 1e-15 && (alphas[18] - 2e6).abs() < 1e-6);
        assert!((alphas[1] / alphas[0] - 10f64.sqrt()).abs() < 1e-12);
        assert_eq!(AlphaGrid::absolute(&[0.0, 3.0]).penalties(9.0).unwrap(), [0.0, 3.0]);
    }

    #[test]
    fn ties_go_to_the_larger_penalty_and_undefined_scores_lose() {
        assert_eq!(best([0.1, 0.5, 0.5, 0.2].into_iter()), Some(2));
        assert_eq!(best([0.1, 0.5, 0.5 - 1e-14, 0.2].into_iter()), Some(2));
        assert_eq!(best([0.1, f64::NAN, 0.05].into_iter()), Some(0));
        assert_eq!(best([f64::NAN; 3].into_iter()), None);
    }

    #[test]
    fn a_grid_out_of_order_is_refused() {
        for values in [vec![], vec![2.0, 1.0], vec![-1.0], vec![f64::NAN], vec![1.0, 1.0]] {
            assert!(AlphaGrid::absolute(&values).penalties(1.0).is_err(), "{values:?}");
        }
    }
}
