//! Hold a tensor as the factorisations read it: one matrix, its missing entries, and what may rotate.
//!
//! The modes are cut into a block of rows and a block of columns such that both are short, so that an iteration
//! needs no unfolded copy and no Khatri–Rao product of the whole tensor: two products with the matrix serve all
//! modes. With shifts the modes are units × stimuli × (directions × time); units are the rows.

use stereotax_base::data::{Error, Result};

/// Directions that may rotate: each map of a unit and a stimulus (directions × time) by its own whole number of
/// directions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cyclic {
    /// Stimuli per unit.
    pub n_stimuli: usize,
    /// Directions, the length of the circle.
    pub n_directions: usize,
    /// Time bins.
    pub n_times: usize,
}

/// A tensor to be factorised.
#[derive(Debug, Clone)]
pub struct CpTensor {
    shape: Vec<usize>,
    n_row_modes: usize,
    n_rows: usize,
    n_columns: usize,
    values: Vec<f64>,
    observed: Option<Vec<bool>>,
    cyclic: Option<Cyclic>,
    squared_norm: f64,
}

impl CpTensor {
    /// A tensor of two modes or more, in C order; `observed` (same order) says which entries are there.
    ///
    /// Errors: fewer than two modes, an empty one, a length that does not fit, an observed entry that is not
    /// finite, a tensor without any response. What lies at entries that are not observed is not read.
    pub fn plain(shape: &[usize], values: Vec<f64>, observed: Option<Vec<bool>>) -> Result<Self> {
        if shape.len() < 2 {
            return Err(Error::TooFew {
                what: "tensor".into(),
                needed: "2 modes".into(),
                found: shape.len().to_string(),
                hint: "give units × stimuli × time, say".into(),
            });
        }
        // The cut at which rows and columns together are fewest.
        let sides =
            |cut: usize| shape[..cut].iter().product::<usize>() + shape[cut..].iter().product::<usize>();
        let n_row_modes = (1..shape.len()).min_by_key(|&cut| sides(cut)).unwrap_or(1);
        Self::new(shape.to_vec(), n_row_modes, values, observed, None)
    }

    /// Units × stimuli × directions × time, in C order, whose maps may rotate over directions.
    ///
    /// Errors: as [`CpTensor::plain`].
    pub fn cyclic(shape: [usize; 4], values: Vec<f64>, observed: Option<Vec<bool>>) -> Result<Self> {
        let [n_units, n_stimuli, n_directions, n_times] = shape;
        let cyclic = Cyclic { n_stimuli, n_directions, n_times };
        Self::new(vec![n_units, n_stimuli, n_directions * n_times], 1, values, observed, Some(cyclic))
    }

    fn new(
        shape: Vec<usize>,
        n_row_modes: usize,
        mut values: Vec<f64>,
        observed: Option<Vec<bool>>,
        cyclic: Option<Cyclic>,
    ) -> Result<Self> {
        let size: usize = shape.iter().product();
        let fits = values.len() == size && observed.as_ref().is_none_or(|observed| observed.len() == size);
        if size == 0 || !fits {
            return Err(Error::Shape {
                what: "tensor".into(),
                expected: format!("{size} entries and as many flags (modes {shape:?}), none of them empty"),
                found: format!("{} entries", values.len()),
                hint: "give all entries in C order, and one flag for each".into(),
            });
        }
        let n_rows = shape[..n_row_modes].iter().product();
        let n_columns = size / n_rows;
        let observed = observed.filter(|observed| observed.iter().any(|there| !there));
        if let Some(observed) = &observed {
            for (value, &there) in values.iter_mut().zip(observed) {
                if !there {
                    *value = 0.0;
                }
            }
        }
        let count = values.iter().filter(|value| !value.is_finite()).count();
        if let Some(at) = values.iter().position(|value| !value.is_finite()) {
            return Err(Error::NotFinite {
                what: "tensor (its first mode as rows)".into(),
                row: at / (size / shape[0]),
                column: at % (size / shape[0]),
                count,
                hint: "mark entries that were not observed in the mask".into(),
            });
        }
        let squared_norm: f64 = values.iter().map(|value| value * value).sum();
        if !(squared_norm > 0.0 && squared_norm.is_finite()) {
            return Err(Error::Invalid {
                what: "tensor".into(),
                expected: "some response, the square of which is a number".into(),
                found: format!("a squared norm of {squared_norm}"),
                hint: "is the whole tensor silent or masked?".into(),
            });
        }
        Ok(CpTensor { shape, n_row_modes, n_rows, n_columns, values, observed, cyclic, squared_norm })
    }

    /// Sizes of the modes of the factors; directions × time are one mode where maps may rotate.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Σ x² over observed entries.
    pub fn squared_norm(&self) -> f64 {
        self.squared_norm
    }

    /// What may rotate, if anything.
    pub fn cyclic_axes(&self) -> Option<Cyclic> {
        self.cyclic
    }

    /// How many entries are observed.
    pub fn n_observed(&self) -> usize {
        match &self.observed {
            None => self.values.len(),
            Some(observed) => observed.iter().filter(|&&there| there).count(),
        }
    }

    /// The largest rank that can be asked for: the least product of all modes but one. More components never
    /// fit better than this many.
    pub fn most_components(&self) -> usize {
        let size = self.values.len();
        self.shape.iter().map(|n| size / n).min().unwrap_or(1)
    }

    /// The same tensor with other entries observed; entries missing already stay so.
    ///
    /// Errors: as [`CpTensor::plain`].
    pub fn hold_out(&self, held_out: &[bool]) -> Result<Self> {
        let there = |i: usize| self.observed.as_ref().is_none_or(|observed| observed[i]);
        let observed = (0..self.values.len()).map(|i| there(i) && !held_out[i]).collect();
        Self::new(self.shape.clone(), self.n_row_modes, self.values.clone(), Some(observed), self.cyclic)
    }

    /// Entries in C order; 0 where not observed.
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// Which entries are observed; `None` if all are.
    pub fn observed(&self) -> Option<&[bool]> {
        self.observed.as_deref()
    }

    pub(super) fn n_rows(&self) -> usize {
        self.n_rows
    }

    pub(super) fn n_columns(&self) -> usize {
        self.n_columns
    }

    pub(super) fn n_row_modes(&self) -> usize {
        self.n_row_modes
    }

    pub(super) fn row(&self, row: usize) -> &[f64] {
        &self.values[row * self.n_columns..(row + 1) * self.n_columns]
    }

    pub(super) fn observed_row(&self, row: usize) -> Option<&[bool]> {
        Some(&self.observed.as_ref()?[row * self.n_columns..(row + 1) * self.n_columns])
    }

    /// How many maps have a shift of their own: units × stimuli.
    pub(super) fn n_shifts(&self) -> usize {
        self.cyclic.map_or(0, |cyclic| self.n_rows * cyclic.n_stimuli)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_modes_are_cut_where_both_sides_are_short() {
        let tensor = CpTensor::plain(&[1000, 88, 33], vec![1.0; 1000 * 88 * 33], None).unwrap();
        assert_eq!((tensor.n_rows(), tensor.n_columns()), (1000, 2904));
        let tensor = CpTensor::plain(&[4, 5, 6, 20], vec![1.0; 2400], None).unwrap();
        assert_eq!((tensor.n_rows(), tensor.n_columns()), (20, 120));
        assert_eq!(tensor.most_components(), 120);
        let tensor = CpTensor::cyclic([4, 5, 6, 20], vec![1.0; 2400], None).unwrap();
        assert_eq!((tensor.shape(), tensor.n_rows()), (&[4, 5, 120][..], 4));
    }

    #[test]
    fn what_cannot_be_factorised_is_refused_in_words() {
        let message = |shape: &[usize], values: Vec<f64>, observed| {
            CpTensor::plain(shape, values, observed).unwrap_err().to_string()
        };
        assert!(message(&[4], vec![1.0; 4], None).contains("2 modes"));
        assert!(message(&[2, 3], vec![1.0; 5], None).contains("6 entries"));
        assert!(message(&[2, 0], vec![], None).contains("empty"));
        assert!(message(&[2, 2], vec![0.0; 4], None).contains("silent"));
        assert!(message(&[2, 2], vec![1.0; 4], Some(vec![false; 4])).contains("masked"));
        assert!(message(&[2, 2], vec![1.0, 1.0, 1.0, f64::NAN], None).contains("row 1, column 1"));
        let masked = Some(vec![true, true, true, false]);
        let tensor = CpTensor::plain(&[2, 2], vec![1.0, 2.0, 3.0, f64::NAN], masked).unwrap();
        assert_eq!((tensor.squared_norm(), tensor.n_observed()), (14.0, 3));
        let held = tensor.hold_out(&[true, false, false, false]).unwrap();
        assert_eq!((held.squared_norm(), held.n_observed()), (13.0, 2));
    }
}
