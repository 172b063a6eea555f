//! Draw objects in few dimensions, and say how sure their places are.
//!
//! For display only: tests run in the full space.
//! - PCA of X (n_objects × n_coordinates), columns centred (and standardised if asked): positions U S,
//!   explained share s_k²/Σ s².
//! - Classical MDS of distances: positions V₊Λ₊^½ of the centred −½ D∘D, explained share λ_k/Σ λ₊.
//! - Bootstrap regions: each resampled configuration is moved onto the reference by translation, rotation
//!   and reflection (Schönemann 1966), without scaling; then mean, standard deviations and covariance per
//!   object. Without the alignment, arbitrary signs and rotations would look like uncertainty.
//!
//! Source: Gower 1966; specs: nfas-dmd 10. Cost: O(n·p·min(n, p)); MDS O(n³); regions O(draws·n).

use faer::{Mat, MatRef};

use super::distance::Distances;
use super::permdisp::principal_axes;
use super::summary::{check_finite, column, is_constant, sd};
use crate::data::{Error, Result};
use crate::linalg::{centre_columns, column_means, cross, orthogonal_factor, product, svd};

/// Whether columns are brought to one scale before PCA.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standardise {
    /// Divide by the standard deviation over objects, so that PCA shows the default distance (default).
    #[default]
    Columns,
    /// Only centre.
    No,
}

/// Objects in few dimensions.
#[derive(Debug, Clone, PartialEq)]
pub struct Ordination {
    /// n_objects × n_axes; the largest entry of each axis is positive. Missing axes are zero.
    pub positions: Mat<f64>,
    /// Share that each axis explains, descending; 0 for missing axes.
    pub explained: Vec<f64>,
    /// Axes that there are in all.
    pub rank: usize,
    /// Share of negative eigenvalues in the sum of moduli (MDS of distances that fit in no Euclidean
    /// space); 0 for PCA.
    pub negative_share: f64,
}

/// Where an object lies over bootstrap draws.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Region {
    /// Mean position on the first axis.
    pub mean_x: f64,
    /// Mean position on the second axis.
    pub mean_y: f64,
    /// Standard deviation on the first axis.
    pub sd_x: f64,
    /// Standard deviation on the second axis.
    pub sd_y: f64,
    /// Covariance of the two.
    pub cov_xy: f64,
}

/// Principal components of `coordinates` (n_objects × n_coordinates); constant columns take no part.
pub fn pca(coordinates: MatRef<f64>, standardise: Standardise, n_axes: usize) -> Result<Ordination> {
    check_finite("coordinates", coordinates)?;
    let columns: Vec<Vec<f64>> =
        (0..coordinates.ncols()).map(|j| column(coordinates, j)).filter(|c| !is_constant(c)).collect();
    let n = coordinates.nrows();
    let mut x = Mat::from_fn(n, columns.len(), |i, j| columns[j][i]);
    let means = column_means(x.as_ref());
    centre_columns(x.as_mut(), &means);
    if standardise == Standardise::Columns {
        for (j, values) in columns.iter().enumerate() {
            let scale = sd(values);
            x.col_mut(j).iter_mut().for_each(|v| *v /= scale);
        }
    }
    let found = svd(x.as_ref())?;
    let cut = 1e-12 * found.s.first().copied().unwrap_or(0.0);
    let rank = found.s.iter().take_while(|&&s| s > cut).count();
    let total: f64 = found.s.iter().map(|s| s * s).sum();
    Ok(Ordination {
        positions: Mat::from_fn(n, n_axes, |i, k| if k < rank { found.u[(i, k)] * found.s[k] } else { 0.0 }),
        explained: (0..n_axes).map(|k| if k < rank { found.s[k].powi(2) / total } else { 0.0 }).collect(),
        rank,
        negative_share: 0.0,
    })
}

/// Classical multidimensional scaling of a distance matrix.
pub fn classical_mds(distances: &Distances, n_axes: usize) -> Result<Ordination> {
    let axes = principal_axes(distances)?;
    let rank = axes.eigenvalues.len();
    let total: f64 = axes.eigenvalues.iter().sum();
    Ok(Ordination {
        positions: Mat::from_fn(distances.n_objects(), n_axes, |i, k| {
            if k < rank { axes.positive[(i, k)] } else { 0.0 }
        }),
        explained: (0..n_axes).map(|k| axes.eigenvalues.get(k).map_or(0.0, |v| v / total)).collect(),
        rank,
        negative_share: axes.negative_share,
    })
}

/// Move a configuration onto a reference by translation, rotation and reflection.
///
/// Both are n_objects × n_axes. The result minimises the sum of squared distances to the reference.
pub fn align(configuration: MatRef<f64>, reference: MatRef<f64>) -> Result<Mat<f64>> {
    if (configuration.nrows(), configuration.ncols()) != (reference.nrows(), reference.ncols()) {
        return Err(Error::Shape {
            what: "configuration".into(),
            expected: format!("{} objects × {} axes", reference.nrows(), reference.ncols()),
            found: format!("{} × {}", configuration.nrows(), configuration.ncols()),
            hint: "resample coordinates or stimuli, not the objects that are drawn".into(),
        });
    }
    check_finite("configuration", configuration)?;
    let centre = column_means(reference);
    let (mut moved, mut target) = (configuration.to_owned(), reference.to_owned());
    let own = column_means(configuration);
    centre_columns(moved.as_mut(), &own);
    centre_columns(target.as_mut(), &centre);
    let rotation = orthogonal_factor(cross(moved.as_ref(), target.as_ref()).as_ref())?;
    let mut moved = product(moved.as_ref(), rotation.as_ref());
    let back: Vec<f64> = centre.iter().map(|c| -c).collect();
    centre_columns(moved.as_mut(), &back);
    Ok(moved)
}

/// Where each object lies over resampled configurations (n_objects × 2 each), aligned to `reference`.
///
/// Errors: fewer than 2 configurations, or shapes other than the reference's n_objects × 2.
pub fn bootstrap_regions(reference: MatRef<f64>, configurations: &[Mat<f64>]) -> Result<Vec<Region>> {
    if configurations.len() < 2 || reference.ncols() != 2 {
        return Err(Error::TooFew {
            what: "configurations".into(),
            needed: "2 configurations of 2 axes".into(),
            found: format!("{} of {} axes", configurations.len(), reference.ncols()),
            hint: "a region needs at least two bootstrap draws in the plane".into(),
        });
    }
    let aligned: Vec<Mat<f64>> =
        configurations.iter().map(|c| align(c.as_ref(), reference)).collect::<Result<_>>()?;
    let n = aligned.len() as f64;
    Ok((0..reference.nrows())
        .map(|i| {
            let average = |of: &dyn Fn(&Mat<f64>) -> f64, by: f64| aligned.iter().map(of).sum::<f64>() / by;
            let (mean_x, mean_y) = (average(&|c| c[(i, 0)], n), average(&|c| c[(i, 1)], n));
            Region {
                mean_x,
                mean_y,
                sd_x: average(&|c| (c[(i, 0)] - mean_x).powi(2), n - 1.0).sqrt(),
                sd_y: average(&|c| (c[(i, 1)] - mean_y).powi(2), n - 1.0).sqrt(),
                cov_xy: average(&|c| (c[(i, 0)] - mean_x) * (c[(i, 1)] - mean_y), n - 1.0),
            }
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::distance::{DistanceKind, object_distances};
    use crate::stats::rng::Stream;

    fn cloud(n: usize, p: usize) -> Mat<f64> {
        let mut stream = Stream::new(1, "ordination tests", 0);
        Mat::from_fn(n, p, |_, j| (1 + j) as f64 * stream.normal())
    }

    #[test]
    fn a_rectangle_by_hand() {
        // Corners (±3, ±1): axes of 3 and 1, shares 9/10 and 1/10.
        let x = Mat::from_fn(4, 3, |i, j| {
            [[3.0, 1.0], [3.0, -1.0], [-3.0, 1.0], [-3.0, -1.0]][i].get(j).copied().unwrap_or(7.0)
        });
        let found = pca(x.as_ref(), Standardise::No, 3).unwrap();
        assert!((found.explained[0] - 0.9).abs() < 1e-14 && (found.explained[1] - 0.1).abs() < 1e-14);
        assert_eq!((found.rank, found.explained[2]), (2, 0.0));
        assert!((found.positions[(0, 0)].abs() - 3.0).abs() < 1e-14);
    }

    #[test]
    fn scaling_distances_and_principal_components_agree() {
        let x = cloud(9, 4);
        let d = object_distances(x.as_ref(), DistanceKind::Euclidean).unwrap().distances;
        let (a, b) = (pca(x.as_ref(), Standardise::Columns, 4).unwrap(), classical_mds(&d, 4).unwrap());
        let aligned = align(b.positions.as_ref(), a.positions.as_ref()).unwrap();
        assert!((aligned - &a.positions).norm_max() < 1e-11);
        assert!(a.explained.iter().zip(&b.explained).all(|(x, y)| (x - y).abs() < 1e-12));
        assert!(b.negative_share == 0.0 && b.rank == 4);
    }

    #[test]
    fn turned_and_mirrored_draws_are_no_uncertainty() {
        let reference = cloud(7, 2);
        let draws: Vec<Mat<f64>> = (0..10)
            .map(|b| {
                let (s, c) = (0.7 * f64::from(b)).sin_cos();
                let flip = if b % 2 == 0 { 1.0 } else { -1.0 };
                Mat::from_fn(7, 2, |i, j| {
                    let (x, y) = (reference[(i, 0)] + f64::from(b), flip * reference[(i, 1)]);
                    if j == 0 { c * x - s * y } else { s * x + c * y }
                })
            })
            .collect();
        for (i, region) in bootstrap_regions(reference.as_ref(), &draws).unwrap().iter().enumerate() {
            assert!(region.sd_x < 1e-13 && region.sd_y < 1e-13 && region.cov_xy.abs() < 1e-13);
            assert!((region.mean_x - reference[(i, 0)]).abs() < 1e-13);
        }
        // A true spread stays: one object moved by ±d along x.
        let moved = |d: f64| {
            let mut x = reference.clone();
            x[(0, 0)] += d;
            x
        };
        let regions = bootstrap_regions(reference.as_ref(), &[moved(0.1), moved(-0.1)]).unwrap();
        assert!(regions[0].sd_x > 0.08 && regions[1].sd_x < 0.05, "{regions:?}");
    }
}
