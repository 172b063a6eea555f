//! Measure how far objects (models) lie from one another in a table of coordinates.
//!
//! X is n_objects × n_coordinates (models × ROIs). With z the columns of X standardised over objects
//! (divisor n − 1) and ρ, cos taken between rows:
//!
//! | kind | d(i, k) | range |
//! | --- | --- | --- |
//! | `Euclidean` | √Σ_j (z_ij − z_kj)², not squared, not divided by the number of columns | [0, ∞) |
//! | `EuclideanRaw` | √Σ_j (x_ij − x_kj)² | [0, ∞) |
//! | `Correlation` | 1 − ρ(x_i, x_k) | [0, 2] |
//! | `Cosine` | 1 − cos(x_i, x_k) | [0, 2] |
//!
//! Correlation removes the overall level of a row (how good a model is), the raw Euclidean distance
//! keeps it: report both. Source: specs: nfas-dmd 11.1.
//! Cost: O(n² p) time, O(n p + n²) memory.

use faer::{Mat, MatRef};

use super::summary::{check_finite, column, is_constant, mean, row, sd};
use crate::data::{Error, Result};

/// Which distance between two rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DistanceKind {
    /// Euclidean on columns standardised over objects (the default).
    #[default]
    Euclidean,
    /// Euclidean on the coordinates as they are.
    EuclideanRaw,
    /// One minus the Pearson correlation between rows.
    Correlation,
    /// One minus the cosine between rows.
    Cosine,
}

/// A validated matrix of distances: square, finite, non-negative, zero diagonal, symmetric.
///
/// With ids, whatever is drawn at random on these objects is keyed by the sorted ids, so that the
/// order of the rows changes no result.
#[derive(Debug, Clone, PartialEq)]
pub struct Distances {
    values: Mat<f64>,
    ids: Vec<String>,
}

/// Distances between the objects for which they are defined.
#[derive(Debug, Clone, PartialEq)]
pub struct ObjectDistances {
    /// The distances, over the rows named in `objects`.
    pub distances: Distances,
    /// Which distance this is.
    pub kind: DistanceKind,
    /// Rows of the table that take part, ascending.
    pub objects: Vec<usize>,
    /// Rows left out because their distance is undefined: constant rows for `Correlation`, rows of
    /// zeros for `Cosine`.
    pub undefined_objects: Vec<usize>,
    /// Columns that do not vary over objects; they have no z-score and take no part in `Euclidean`.
    pub constant_columns: Vec<usize>,
}

impl Distances {
    /// Check a matrix of distances; asymmetry and diagonals within 1e-9 of the largest entry pass and
    /// are evened out.
    pub fn new(values: Mat<f64>) -> Result<Self> {
        let n = values.nrows();
        if n != values.ncols() {
            return Err(Error::Shape {
                what: "distances".into(),
                expected: format!("{n} columns (a square matrix)"),
                found: format!("{} columns", values.ncols()),
                hint: "give one row and one column per object".into(),
            });
        }
        check_finite("distances", values.as_ref())?;
        let tolerance = 1e-9 * values.norm_max();
        for i in 0..n {
            for j in 0..=i {
                let (below, above) = (values[(i, j)], values[(j, i)]);
                let (expected, found) = if i == j && below.abs() > tolerance {
                    ("a zero diagonal", format!("{below} at ({i}, {i})"))
                } else if (below - above).abs() > tolerance {
                    ("a symmetric matrix", format!("{below} at ({i}, {j}) and {above} at ({j}, {i})"))
                } else if below < -tolerance {
                    ("no negative distance", format!("{below} at ({i}, {j})"))
                } else {
                    continue;
                };
                return Err(Error::Invalid {
                    what: "distances".into(),
                    expected: expected.into(),
                    found,
                    hint: "similarities are no distances: pass 1 − r, not r".into(),
                });
            }
        }
        let values =
            Mat::from_fn(
                n,
                n,
                |i, j| {
                    if i == j { 0.0 } else { (0.5 * (values[(i, j)] + values[(j, i)])).max(0.0) }
                },
            );
        Ok(Distances { values, ids: Vec::new() })
    }

    /// Name the objects, so that random draws follow the ids and not the rows. Ids must be distinct.
    pub fn with_ids<S: AsRef<str>>(mut self, ids: &[S]) -> Result<Self> {
        let ids: Vec<String> = ids.iter().map(|id| id.as_ref().to_owned()).collect();
        let mut sorted = ids.clone();
        sorted.sort();
        sorted.dedup();
        if ids.len() != self.n_objects() || sorted.len() != ids.len() {
            return Err(Error::Shape {
                what: "ids".into(),
                expected: format!("{} distinct ids (one per object)", self.n_objects()),
                found: format!("{} ids, {} of them distinct", ids.len(), sorted.len()),
                hint: "name each object once".into(),
            });
        }
        self.ids = ids;
        Ok(self)
    }

    /// How many objects.
    pub fn n_objects(&self) -> usize {
        self.values.nrows()
    }

    /// The matrix, n_objects × n_objects.
    pub fn matrix(&self) -> MatRef<'_, f64> {
        self.values.as_ref()
    }

    /// The objects' ids; empty if none were given.
    pub fn ids(&self) -> &[String] {
        &self.ids
    }

    /// The distances among some of the objects, in the given order.
    pub fn subset(&self, objects: &[usize]) -> Self {
        let n = objects.len();
        Distances {
            values: Mat::from_fn(n, n, |i, j| self.values[(objects[i], objects[j])]),
            ids: if self.ids.is_empty() {
                Vec::new()
            } else {
                objects.iter().map(|&i| self.ids[i].clone()).collect()
            },
        }
    }

    /// Positions of the objects in the order of their ids; input order without ids.
    pub(crate) fn canonical_order(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.n_objects()).collect();
        if !self.ids.is_empty() {
            order.sort_by(|&a, &b| self.ids[a].cmp(&self.ids[b]));
        }
        order
    }
}

/// Distances between the rows of `coordinates` (n_objects × n_coordinates).
///
/// Errors: a value that is not finite, fewer than 2 rows or no column. Rows and columns that make a
/// distance undefined are left out and listed in the result.
pub fn object_distances(coordinates: MatRef<f64>, kind: DistanceKind) -> Result<ObjectDistances> {
    let (n, p) = (coordinates.nrows(), coordinates.ncols());
    if n < 2 || p == 0 {
        return Err(Error::TooFew {
            what: "coordinates".into(),
            needed: "2 objects and 1 coordinate".into(),
            found: format!("{n} objects and {p} coordinates"),
            hint: "a distance needs two objects".into(),
        });
    }
    check_finite("coordinates", coordinates)?;
    let columns: Vec<Vec<f64>> = (0..p).map(|j| column(coordinates, j)).collect();
    let constant_columns: Vec<usize> = (0..p).filter(|&j| is_constant(&columns[j])).collect();
    let rows: Vec<Vec<f64>> = match kind {
        DistanceKind::Euclidean => standardised_rows(&columns, &constant_columns, n),
        _ => (0..n).map(|i| row(coordinates, i)).collect(),
    };
    let undefined_objects: Vec<usize> = match kind {
        DistanceKind::Correlation => (0..n).filter(|&i| is_constant(&rows[i])).collect(),
        DistanceKind::Cosine => (0..n).filter(|&i| rows[i].iter().all(|&x| x == 0.0)).collect(),
        _ => Vec::new(),
    };
    let objects: Vec<usize> = (0..n).filter(|i| !undefined_objects.contains(i)).collect();
    let directions: Vec<Vec<f64>> = objects.iter().map(|&i| direction(&rows[i], kind)).collect();
    let mut values = Mat::zeros(objects.len(), objects.len());
    for i in 0..objects.len() {
        for j in 0..i {
            values[(i, j)] = between(&directions[i], &directions[j], kind);
            values[(j, i)] = values[(i, j)];
        }
    }
    Ok(ObjectDistances {
        distances: Distances { values, ids: Vec::new() },
        kind,
        objects,
        undefined_objects,
        constant_columns,
    })
}

/// Rows of the column-standardised table, without the constant columns.
fn standardised_rows(columns: &[Vec<f64>], constant: &[usize], n: usize) -> Vec<Vec<f64>> {
    let mut rows = vec![Vec::with_capacity(columns.len()); n];
    for (j, values) in columns.iter().enumerate() {
        if constant.binary_search(&j).is_ok() {
            continue;
        }
        let (centre, spread) = (mean(values), sd(values));
        for (row, value) in rows.iter_mut().zip(values) {
            row.push((value - centre) / spread);
        }
    }
    rows
}

/// The row as it enters the distance: centred and scaled to length 1 for correlations, scaled for
/// cosines.
fn direction(row: &[f64], kind: DistanceKind) -> Vec<f64> {
    let centre = match kind {
        DistanceKind::Correlation => mean(row),
        DistanceKind::Cosine => 0.0,
        _ => return row.to_vec(),
    };
    // Dividing by the largest entry first keeps the squares from overflow and underflow.
    let largest = row.iter().fold(0.0f64, |m, x| m.max((x - centre).abs()));
    let scaled: Vec<f64> = row.iter().map(|x| (x - centre) / largest).collect();
    let length = scaled.iter().map(|x| x * x).sum::<f64>().sqrt();
    scaled.iter().map(|x| x / length).collect()
}

fn between(x: &[f64], y: &[f64], kind: DistanceKind) -> f64 {
    let squared: f64 = x.iter().zip(y).map(|(a, b)| (a - b) * (a - b)).sum();
    match kind {
        DistanceKind::Euclidean | DistanceKind::EuclideanRaw => squared.sqrt(),
        // For unit vectors 1 − cos = |x − y|²/2, which keeps its digits when the two nearly agree.
        DistanceKind::Correlation | DistanceKind::Cosine => (0.5 * squared).min(2.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::rng::Stream;

    fn table(rows: &[&[f64]]) -> Mat<f64> {
        Mat::from_fn(rows.len(), rows[0].len(), |i, j| rows[i][j])
    }

    fn close(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-14, "{found} against {expected}");
    }

    #[test]
    fn all_four_by_hand() {
        let x = table(&[&[0.0, 0.0, 3.0], &[4.0, 0.0, 0.0]]);
        let d = |kind| object_distances(x.as_ref(), kind).unwrap().distances.matrix()[(0, 1)];
        close(d(DistanceKind::EuclideanRaw), 5.0);
        // Each varying column has z = ±1/√2, so it adds (√2)² = 2; the constant column adds nothing.
        close(d(DistanceKind::Euclidean), 2.0);
        close(d(DistanceKind::Cosine), 1.0);
        // Centred rows (−1, −1, 2) and (8, −4, −4)/3: ρ = −12·... = −1/2.
        close(d(DistanceKind::Correlation), 1.5);
        let found = object_distances(x.as_ref(), DistanceKind::Euclidean).unwrap();
        assert_eq!(found.constant_columns, [1]);
    }

    #[test]
    fn a_constant_row_has_no_correlation_distance_and_is_named() {
        let x = table(&[&[1.0, 2.0, 4.0], &[0.3, 0.3, 0.3], &[1.0, 0.0, 4.0]]);
        let found = object_distances(x.as_ref(), DistanceKind::Correlation).unwrap();
        assert_eq!((found.objects, found.undefined_objects), (vec![0, 2], vec![1]));
        assert_eq!(found.distances.n_objects(), 2);
    }

    #[test]
    fn each_kind_forgets_what_it_should_and_nothing_else() {
        let mut stream = Stream::new(1, "distance tests", 0);
        let x = Mat::from_fn(6, 9, |_, _| stream.normal());
        // Level and scale per row.
        let moved = Mat::from_fn(6, 9, |i, j| (1.0 + i as f64) * x[(i, j)] + i as f64);
        let d = |x: &Mat<f64>, kind| object_distances(x.as_ref(), kind).unwrap().distances.values;
        let gap = |kind| (d(&x, kind) - d(&moved, kind)).norm_max();
        assert!(gap(DistanceKind::Correlation) < 1e-13);
        assert!(gap(DistanceKind::Cosine) > 0.01 && gap(DistanceKind::EuclideanRaw) > 0.1);
        // Level and scale per column.
        let moved = Mat::from_fn(6, 9, |i, j| (1.0 + j as f64) * x[(i, j)] - j as f64);
        let gap = |kind| (d(&x, kind) - d(&moved, kind)).norm_max();
        assert!(gap(DistanceKind::Euclidean) < 1e-13);
        assert!(gap(DistanceKind::Correlation) > 0.01 && gap(DistanceKind::EuclideanRaw) > 0.1);
    }

    #[test]
    fn matrices_that_are_no_distances_are_refused_by_name() {
        let refused = |rows: &[&[f64]]| Distances::new(table(rows)).unwrap_err().to_string();
        assert!(refused(&[&[0.0, 1.0]]).contains("square"));
        assert!(refused(&[&[1.0, 0.5], &[0.5, 1.0]]).contains("zero diagonal"));
        assert!(refused(&[&[0.0, 0.5], &[0.6, 0.0]]).contains("symmetric"));
        assert!(refused(&[&[0.0, -1.0], &[-1.0, 0.0]]).contains("negative"));
        assert!(refused(&[&[0.0, f64::NAN], &[1.0, 0.0]]).contains("row 0, column 1"));
        assert!(Distances::new(table(&[&[0.0, 1.0], &[1.0 + 1e-12, 0.0]])).is_ok());
    }
}
