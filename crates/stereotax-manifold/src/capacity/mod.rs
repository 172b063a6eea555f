//! Count how many manifolds per dimension a linear readout can tell apart, and the geometry that sets it.
//!
//! A manifold is the set of points of a class (n_points × n_features). Two theories stand side by side:
//!
//! - [`mean_field_capacity`]: each manifold alone, in the limit of many (MFTMA), `mean_field`;
//! - [`finite_capacity`]: all manifolds together, as they lie (GLUE), `finite`.
//!
//! Both rest on projections of Gaussian vectors onto cones of points, which are non-negative least squares.

mod centres;
mod finite;
mod mean_field;

pub use finite::{FiniteCapacity, FiniteParams, finite_capacity};
pub use mean_field::{ManifoldGeometry, MeanFieldCapacity, MeanFieldParams, Removal, mean_field_capacity};

use faer::{Mat, MatRef};

use stereotax_base::data::{Error, Labels, Result};
use stereotax_base::linalg::{column_means, select_rows};
use stereotax_base::stats::summary::check_finite;

/// The points of each class, without the mean of all points where `centred`.
fn manifolds(points: MatRef<f64>, labels: &Labels, centred: bool) -> Result<Vec<Mat<f64>>> {
    check_finite("points", points)?;
    if labels.codes().len() != points.nrows() {
        return Err(Error::Shape {
            what: "labels".into(),
            expected: format!("{} labels (one per point)", points.nrows()),
            found: labels.codes().len().to_string(),
            hint: "give one label per row".into(),
        });
    }
    let sizes = labels.sizes();
    let small = sizes.iter().position(|size| *size < 2);
    if labels.n_groups() < 2 || small.is_some() {
        return Err(Error::TooFew {
            what: "manifolds".into(),
            needed: "2 classes of 2 points".into(),
            found: small.map_or(format!("{} classes", labels.n_groups()), |at| {
                format!("{} point in class `{}`", sizes[at], labels.names()[at])
            }),
            hint: "a manifold is the points of one class; leave out classes of one point".into(),
        });
    }
    let means = if centred { column_means(points) } else { vec![0.0; points.ncols()] };
    Ok((0..labels.n_groups())
        .map(|class| {
            let mut x = select_rows(points, &labels.members(class));
            stereotax_base::linalg::centre_columns(x.as_mut(), &means);
            x
        })
        .collect())
}

/// Mean |cos| between different rows; NaN of fewer than two.
fn mean_cosine(rows: &[Vec<f64>]) -> f64 {
    let (mut sum, mut count) = (0.0, 0);
    for a in 0..rows.len() {
        for b in 0..a {
            let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
            let lengths = (dot(&rows[a], &rows[a]) * dot(&rows[b], &rows[b])).sqrt();
            if lengths > 0.0 {
                sum += (dot(&rows[a], &rows[b]) / lengths).abs();
                count += 1;
            }
        }
    }
    if count > 0 { sum / f64::from(count) } else { f64::NAN }
}
