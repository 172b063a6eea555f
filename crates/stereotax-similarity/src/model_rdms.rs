//! Model RDMs that are compared with many others: what can be done with them beforehand is done once.
//!
//! ```text
//! pearson    r of the dissimilarities       spearman   r of their midranks       cosine   Σ a b / √(Σ a² Σ b²)
//! ```
//!
//! over all pairs, each in [−1, 1]. A pair that is undefined on either side is left out for that model, and ranks are
//! then taken among what is left. Undefined (NaN): fewer than 2 pairs, or one side constant (for cosine: zero).
//! Source: specs: encoding-manifolds 6.2. As rsatoolbox's `corr`, `spearman`, `cosine`. Cost: one sort of the data RDM
//! for Spearman, then one product with every model.

use stereotax_base::data::{Error, Rdm, Result};
use stereotax_base::linalg::dot;
use stereotax_base::stats::ranks::{SortMemory, midranks_into};
use stereotax_base::stats::summary::{is_constant, pearson};

/// How a data RDM is compared with a model RDM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ModelScore {
    /// Correlation of dissimilarities.
    Pearson,
    /// Correlation of midranks (the default).
    #[default]
    Spearman,
    /// Cosine of dissimilarities.
    Cosine,
}

/// Models, ready to be compared.
#[derive(Debug, Clone)]
pub struct ModelRdms {
    score: ModelScore,
    n_pairs: usize,
    models: Vec<Model>,
}

#[derive(Debug, Clone)]
struct Model {
    values: Vec<f64>,
    /// Ranks (or values), centred (not for cosine), of length 1; `None` with undefined pairs or without a direction.
    direction: Option<Vec<f64>>,
    complete: bool,
}

/// Memory that scoring reuses.
#[derive(Debug, Clone, Default)]
pub struct Scratch {
    sort: SortMemory,
    values: Vec<f64>,
}

impl ModelRdms {
    /// Prepare models. Errors: none at all, models of other conditions.
    pub fn new(models: &[Rdm], score: ModelScore) -> Result<Self> {
        let Some(first) = models.first() else {
            return Err(Error::TooFew {
                what: "models".into(),
                needed: "1 model RDM".into(),
                found: "none".into(),
                hint: "give the RDMs that are to be compared with the data".into(),
            });
        };
        let mut scratch = Scratch::default();
        let mut prepared = Vec::with_capacity(models.len());
        for (at, model) in models.iter().enumerate() {
            if model.n_conditions() != first.n_conditions() {
                return Err(Error::Shape {
                    what: format!("models[{at}]"),
                    expected: format!("{} conditions (as the first model)", first.n_conditions()),
                    found: model.n_conditions().to_string(),
                    hint: "all RDMs must hold the same conditions in the same order".into(),
                });
            }
            let complete = model.n_undefined() == 0;
            let direction = if complete { direction(model.values(), score, &mut scratch) } else { None };
            prepared.push(Model { values: model.values().to_vec(), direction, complete });
        }
        Ok(ModelRdms { score, n_pairs: first.n_pairs(), models: prepared })
    }

    /// How many models.
    pub fn len(&self) -> usize {
        self.models.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.models.is_empty()
    }

    /// How many pairs each has.
    pub fn n_pairs(&self) -> usize {
        self.n_pairs
    }

    /// The score of a data RDM (condensed, as many pairs) with every model.
    pub fn scores(&self, rdm: &[f64], scratch: &mut Scratch, out: &mut [f64]) {
        let undefined = rdm.iter().any(|value| value.is_nan());
        let own = if undefined { None } else { direction(rdm, self.score, scratch) };
        for (model, out) in self.models.iter().zip(out) {
            *out = if undefined || !model.complete {
                self.score_of_defined(rdm, &model.values, scratch)
            } else {
                match (&own, &model.direction) {
                    (Some(own), Some(direction)) => dot(own, direction).clamp(-1.0, 1.0),
                    _ => f64::NAN,
                }
            };
        }
        if let Some(own) = own {
            scratch.values = own;
        }
    }

    /// Over the pairs that both define.
    fn score_of_defined(&self, rdm: &[f64], model: &[f64], scratch: &mut Scratch) -> f64 {
        let both = |(a, b): &(&f64, &f64)| !a.is_nan() && !b.is_nan();
        let (a, b): (Vec<f64>, Vec<f64>) = rdm.iter().zip(model).filter(both).map(|(a, b)| (*a, *b)).unzip();
        match self.score {
            ModelScore::Pearson => pearson(&a, &b),
            ModelScore::Spearman => {
                let mut ranks = |x: &[f64]| {
                    let mut out = vec![];
                    midranks_into(x, &mut scratch.sort, &mut out);
                    out
                };
                pearson(&ranks(&a), &ranks(&b))
            }
            ModelScore::Cosine => {
                let value = dot(&a, &b) / (dot(&a, &a) * dot(&b, &b)).sqrt();
                value.clamp(-1.0, 1.0)
            }
        }
    }
}

/// A vector of length 1 whose products are scores; `None` where there is no direction.
fn direction(values: &[f64], score: ModelScore, scratch: &mut Scratch) -> Option<Vec<f64>> {
    let mut out = std::mem::take(&mut scratch.values);
    if score == ModelScore::Spearman {
        midranks_into(values, &mut scratch.sort, &mut out);
    } else {
        out.clear();
        out.extend_from_slice(values);
    }
    if score != ModelScore::Cosine {
        if out.len() < 2 || is_constant(&out) {
            return None;
        }
        let mean = out.iter().sum::<f64>() / out.len() as f64;
        out.iter_mut().for_each(|value| *value -= mean);
    }
    let length = dot(&out, &out).sqrt();
    if !(length > 0.0) {
        return None;
    }
    out.iter_mut().for_each(|value| *value /= length);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_by_hand_and_with_undefined_pairs() {
        let rdm = |values: &[f64]| Rdm::new(3, values.to_vec()).unwrap();
        let score = |model: &[f64], data: &[f64], score| {
            let mut out = [0.0];
            ModelRdms::new(&[rdm(model)], score).unwrap().scores(data, &mut Scratch::default(), &mut out);
            out[0]
        };
        // (1, 2, 3) and (1, 9, 4): r = (−1·… ) deviations (−1, 0, 1), (−11/3, 13/3, −2/3): 3 / √(2 · 98/3).
        let r = 3.0 / (2.0f64 * 98.0 / 3.0).sqrt();
        assert!((score(&[1.0, 2.0, 3.0], &[1.0, 9.0, 4.0], ModelScore::Pearson) - r).abs() < 1e-15);
        assert!((score(&[1.0, 2.0, 3.0], &[1.0, 9.0, 4.0], ModelScore::Spearman) - 0.5).abs() < 1e-15);
        // (3, 4, 0) and (4, 3, 0): 24/25.
        assert!((score(&[3.0, 4.0, 0.0], &[4.0, 3.0, 0.0], ModelScore::Cosine) - 0.96).abs() < 1e-15);
        for kind in [ModelScore::Pearson, ModelScore::Spearman, ModelScore::Cosine] {
            assert!(score(&[1.0, 2.0, 3.0], &[0.0; 3], kind).is_nan());
            // What the data or the model leaves undefined is left out: two pairs remain.
            let some = score(&[1.0, 2.0, f64::NAN], &[1.0, 9.0, 4.0], kind);
            assert_eq!(some, score(&[1.0, 2.0, 3.0], &[1.0, 9.0, f64::NAN], kind));
            assert!(some > 0.88 && some < 1.0 + 1e-15);
        }
        assert!(ModelRdms::new(&[], ModelScore::Pearson).is_err());
        let two = [rdm(&[1.0, 2.0, 3.0]), Rdm::new(2, vec![1.0]).unwrap()];
        assert!(ModelRdms::new(&two, ModelScore::Pearson).unwrap_err().to_string().contains("models[1]"));
    }
}
