//! The dissimilarities of all pairs of conditions, each pair once.
//!
//! Pairs stand in the order (0, 1), (0, 2), …, (0, n − 1), (1, 2), …: rows of the upper triangle, as in
//! SciPy's `squareform` and rsatoolbox. A pair that has no dissimilarity (a constant pattern under
//! correlation, a condition that a subject did not see, a stimulus beside itself in a bootstrap draw) is
//! NaN: it is left out of comparisons and counted, never ranked and never 0.

use super::{Error, Result};
use faer::{Mat, MatRef};

/// A representational dissimilarity matrix, without its diagonal.
///
/// Dissimilarities may be negative: cross-validated estimates are unbiased only if negative values stay.
#[derive(Debug, Clone, PartialEq)]
pub struct Rdm {
    n_conditions: usize,
    values: Vec<f64>,
}

/// Where the pair (i, j), i ≠ j, stands among all pairs of `n` conditions.
pub fn pair_index(n: usize, i: usize, j: usize) -> usize {
    let (i, j) = if i < j { (i, j) } else { (j, i) };
    i * (2 * n - i - 1) / 2 + (j - i - 1)
}

impl Rdm {
    /// From the condensed form: n (n − 1) / 2 dissimilarities, NaN where a pair has none.
    ///
    /// Errors: fewer than two conditions, a length that does not fit, an infinity.
    pub fn new(n_conditions: usize, values: Vec<f64>) -> Result<Self> {
        if n_conditions < 2 {
            return Err(Error::TooFew {
                what: "rdm".into(),
                needed: "2 conditions".into(),
                found: n_conditions.to_string(),
                hint: "a dissimilarity needs a pair".into(),
            });
        }
        let expected = n_conditions * (n_conditions - 1) / 2;
        if values.len() != expected {
            return Err(Error::Shape {
                what: "rdm".into(),
                expected: format!("{expected} dissimilarities ({n_conditions} conditions)"),
                found: values.len().to_string(),
                hint: "give the upper triangle row by row, without the diagonal".into(),
            });
        }
        let infinite = values.iter().filter(|value| value.is_infinite()).count();
        if let Some(pair) = values.iter().position(|value| value.is_infinite()) {
            return Err(Error::NotFinite {
                what: "rdm (condensed, as one row)".into(),
                row: 0,
                column: pair,
                count: infinite,
                hint: "mark a pair without a dissimilarity by NaN".into(),
            });
        }
        Ok(Rdm { n_conditions, values })
    }

    /// From a square matrix; entries above and below the diagonal must agree within 1e-9 of the largest
    /// (or both be NaN) and are averaged. The diagonal must be 0 or NaN.
    pub fn from_square(matrix: MatRef<f64>) -> Result<Self> {
        let n = matrix.nrows();
        if n != matrix.ncols() {
            return Err(Error::Shape {
                what: "rdm".into(),
                expected: format!("{n} columns (a square matrix)"),
                found: format!("{} columns", matrix.ncols()),
                hint: "give one row and one column per condition".into(),
            });
        }
        let mut largest = 0.0f64;
        for j in 0..n {
            for i in 0..n {
                largest = largest.max(matrix[(i, j)].abs());
            }
        }
        let mut values = Vec::with_capacity(n * n.saturating_sub(1) / 2);
        for i in 0..n {
            let diagonal = matrix[(i, i)];
            if !(diagonal.is_nan() || diagonal.abs() <= 1e-9 * largest) {
                return Err(Error::Invalid {
                    what: "rdm".into(),
                    expected: "a diagonal of zeros".into(),
                    found: format!("{diagonal} at ({i}, {i})"),
                    hint: "similarities are no dissimilarities: pass 1 − r, not r".into(),
                });
            }
            for j in i + 1..n {
                let (above, below) = (matrix[(i, j)], matrix[(j, i)]);
                let both_undefined = above.is_nan() && below.is_nan();
                if !both_undefined && !((above - below).abs() <= 1e-9 * largest) {
                    return Err(Error::Invalid {
                        what: "rdm".into(),
                        expected: "a symmetric matrix".into(),
                        found: format!("{above} at ({i}, {j}) and {below} at ({j}, {i})"),
                        hint: "average the two directions, or compare cross-temporal matrices as such".into(),
                    });
                }
                values.push(0.5 * (above + below));
            }
        }
        Rdm::new(n, values)
    }

    /// How many conditions.
    pub fn n_conditions(&self) -> usize {
        self.n_conditions
    }

    /// How many pairs: n (n − 1) / 2.
    pub fn n_pairs(&self) -> usize {
        self.values.len()
    }

    /// All pairs, in condensed order.
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// The condensed form, taken out.
    pub fn into_values(self) -> Vec<f64> {
        self.values
    }

    /// The dissimilarity of two conditions; 0 of a condition and itself.
    pub fn get(&self, i: usize, j: usize) -> f64 {
        if i == j { 0.0 } else { self.values[pair_index(self.n_conditions, i, j)] }
    }

    /// The square form, with zeros on the diagonal.
    pub fn to_square(&self) -> Mat<f64> {
        Mat::from_fn(self.n_conditions, self.n_conditions, |i, j| self.get(i, j))
    }

    /// How many pairs have no dissimilarity.
    pub fn n_undefined(&self) -> usize {
        self.values.iter().filter(|value| value.is_nan()).count()
    }

    /// The RDM of some of the conditions, in the order given. A condition that is given twice has no
    /// dissimilarity from itself: the pair is NaN, so that a bootstrap never counts it as similar.
    pub fn subset(&self, conditions: &[usize]) -> Result<Self> {
        if let Some(&outside) = conditions.iter().find(|&&condition| condition >= self.n_conditions) {
            return Err(Error::Invalid {
                what: "conditions".into(),
                expected: format!("indices below {}", self.n_conditions),
                found: outside.to_string(),
                hint: "count conditions from 0".into(),
            });
        }
        let mut values = Vec::with_capacity(conditions.len() * conditions.len().saturating_sub(1) / 2);
        for (at, &i) in conditions.iter().enumerate() {
            for &j in &conditions[at + 1..] {
                values.push(if i == j { f64::NAN } else { self.get(i, j) });
            }
        }
        Rdm::new(conditions.len(), values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_stand_in_rows_of_the_upper_triangle() {
        let rdm = Rdm::new(4, vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]).unwrap();
        assert_eq!([rdm.get(0, 1), rdm.get(0, 3), rdm.get(1, 2), rdm.get(3, 2)], [1.0, 3.0, 4.0, 6.0]);
        assert_eq!(rdm.get(2, 2), 0.0);
        assert_eq!(Rdm::from_square(rdm.to_square().as_ref()).unwrap(), rdm);
    }

    #[test]
    fn a_condition_drawn_twice_is_not_similar_to_itself() {
        let rdm = Rdm::new(3, vec![1.0, 2.0, 3.0]).unwrap();
        let drawn = rdm.subset(&[2, 0, 2]).unwrap();
        assert_eq!(drawn.get(0, 1), 2.0);
        assert!(drawn.get(0, 2).is_nan());
        assert_eq!(drawn.n_undefined(), 1);
    }

    #[test]
    fn what_is_no_rdm_is_refused_in_words() {
        let message = |matrix: Mat<f64>| Rdm::from_square(matrix.as_ref()).unwrap_err().to_string();
        assert!(message(Mat::identity(3, 3)).contains("pass 1 − r"));
        let mut skew = Mat::<f64>::zeros(3, 3);
        skew[(0, 1)] = 1.0;
        assert!(message(skew).contains("symmetric"));
        assert!(message(Mat::zeros(2, 3)).contains("square"));
        assert!(Rdm::new(3, vec![1.0]).unwrap_err().to_string().contains("3 dissimilarities"));
        assert!(Rdm::new(1, vec![]).is_err());
        assert!(Rdm::new(2, vec![f64::INFINITY]).is_err());
        assert!(Rdm::new(2, vec![1.0]).unwrap().subset(&[0, 2]).is_err());
    }
}
