//! Make rows of a neuron matrix ready for neighbourhoods: fewer axes, no duplicates, no stragglers.
//!
//! Principal components of centred columns (not scaled), the fewest that hold a share of the variance. Points
//! closer than a tolerance are one point with a multiplicity, since methods that rescale by the smallest distance
//! cannot take duplicates; the points farthest from their nearest neighbour may be left out. Both are reported.
//!
//! Source: specs encoding-manifolds 1.8. Cost: O(N R²) and O(N² R).

use faer::{Mat, MatRef};

use stereotax_base::data::{Error, Result};
use stereotax_base::linalg::{product, svd};
use stereotax_base::stats::summary::{check_finite, median};

/// Scores on the leading principal components.
#[derive(Debug, Clone)]
pub struct PrincipalScores {
    /// Points × components.
    pub scores: Mat<f64>,
    /// Columns × components; in each the entry of largest modulus is positive.
    pub loadings: Mat<f64>,
    /// What was subtracted.
    pub means: Vec<f64>,
    /// The share of variance of every component there is, descending.
    pub explained: Vec<f64>,
}

/// The fewest components that explain more than `share` of the variance (0.8 is customary).
///
/// Errors: fewer than two points, no variance, a share outside (0, 1], values that are not finite.
pub fn principal_scores(points: MatRef<f64>, share: f64) -> Result<PrincipalScores> {
    check_points(points)?;
    if !(share > 0.0 && share <= 1.0) {
        return Err(Error::Invalid {
            what: "share of variance".into(),
            expected: "above 0, up to 1".into(),
            found: share.to_string(),
            hint: "0.8 is customary".into(),
        });
    }
    let mut centred = points.to_owned();
    let means = stereotax_base::linalg::column_means(points);
    stereotax_base::linalg::centre_columns(centred.as_mut(), &means);
    let found = svd(centred.as_ref())?;
    let squares: Vec<f64> = found.s.iter().map(|s| s * s).collect();
    let total: f64 = squares.iter().sum();
    let size: f64 = points.col_iter().map(|col| col.squared_norm_l2()).sum();
    if !(total > 1e-24 * size) {
        return Err(Error::ZeroVariance {
            what: "points".into(),
            detail: "all rows are the same".into(),
            hint: "look at the neuron matrix".into(),
        });
    }
    let explained: Vec<f64> = squares.iter().map(|s| s / total).collect();
    let mut sum = 0.0;
    let kept = explained.iter().take_while(|e| (sum <= share, sum += *e).0).count();
    // Components of rounding alone are none.
    let kept = squares.iter().take(kept).filter(|s| **s > 1e-24 * total).count();
    let mut loadings = found.v.get(.., ..kept).to_owned();
    for column in 0..kept {
        let column = loadings.col_as_slice_mut(column);
        let largest = column.iter().fold(0.0f64, |best, &x| if x.abs() > best.abs() { x } else { best });
        if largest < 0.0 {
            column.iter_mut().for_each(|x| *x = -*x);
        }
    }
    let scores = product(centred.as_ref(), loadings.as_ref());
    Ok(PrincipalScores { scores, loadings, means, explained })
}

/// Which points are kept.
#[derive(Debug, Clone, PartialEq)]
pub struct KeptPoints {
    /// Ascending.
    pub kept: Vec<usize>,
    /// How many points each of them stands for.
    pub multiplicity: Vec<usize>,
    /// For each point the one that stands for it: itself, or an earlier duplicate.
    pub representative: Vec<usize>,
    /// Points that were left out as the farthest, the farthest first.
    pub far: Vec<usize>,
    /// The distance at which points are the same.
    pub tolerance: f64,
}

/// Merge points closer than `tolerance` times the median distance to the nearest neighbour (chains merge too; the
/// first stands for all), then leave out the `n_far` whose nearest neighbour is farthest.
///
/// 10⁻⁶ and 0 are the defaults elsewhere. Errors: fewer than two points, values that are not finite, a negative
/// tolerance, no fewer far points than points.
pub fn keep_points(points: MatRef<f64>, tolerance: f64, n_far: usize) -> Result<KeptPoints> {
    check_points(points)?;
    let n = points.nrows();
    if !(tolerance >= 0.0 && tolerance.is_finite()) || n_far + 2 > n {
        return Err(Error::Invalid {
            what: "tolerance and number of far points".into(),
            expected: format!("a number of at least 0, and at most {} points", n.saturating_sub(2)),
            found: format!("{tolerance} and {n_far}"),
            hint: "1e-6 and a few are customary".into(),
        });
    }
    let rows: Vec<Vec<f64>> = points.row_iter().map(|row| row.iter().copied().collect()).collect();
    let squared =
        |i: usize, j: usize| -> f64 { rows[i].iter().zip(&rows[j]).map(|(a, b)| (a - b) * (a - b)).sum() };
    let mut nearest = vec![f64::INFINITY; n];
    for i in 0..n {
        for j in i + 1..n {
            let d = squared(i, j);
            nearest[i] = nearest[i].min(d);
            nearest[j] = nearest[j].min(d);
        }
    }
    let bound = tolerance * median(&nearest.iter().map(|d| d.sqrt()).collect::<Vec<_>>());
    let mut representative: Vec<usize> = (0..n).collect();
    let close: Vec<usize> = (0..n).filter(|&i| nearest[i].sqrt() <= bound).collect();
    for (at, &i) in close.iter().enumerate() {
        for &j in &close[at + 1..] {
            if squared(i, j).sqrt() <= bound {
                let (a, b) = (representative[i], representative[j]);
                let (first, other) = (a.min(b), a.max(b));
                representative.iter_mut().filter(|r| **r == other).for_each(|r| *r = first);
            }
        }
    }
    let mut kept: Vec<usize> = (0..n).filter(|&i| representative[i] == i).collect();
    // Among what is left, the distance to the nearest other.
    let mut far: Vec<usize> = kept.clone();
    if n_far > 0 && kept.len() > n_far + 1 {
        let alone = |i: usize| -> f64 {
            kept.iter().filter(|&&j| j != i).map(|&j| squared(i, j)).fold(f64::INFINITY, f64::min)
        };
        let distance: Vec<f64> = kept.iter().map(|&i| alone(i)).collect();
        let mut order: Vec<usize> = (0..kept.len()).collect();
        order.sort_by(|&a, &b| distance[b].total_cmp(&distance[a]).then(a.cmp(&b)));
        far = order[..n_far].iter().map(|&at| kept[at]).collect();
    } else {
        far.clear();
    }
    kept.retain(|i| !far.contains(i));
    let multiplicity = kept.iter().map(|&i| representative.iter().filter(|&&r| r == i).count()).collect();
    Ok(KeptPoints { kept, multiplicity, representative, far, tolerance: bound })
}

fn check_points(points: MatRef<f64>) -> Result<()> {
    if points.nrows() < 2 || points.ncols() == 0 {
        return Err(Error::TooFew {
            what: "points".into(),
            needed: "2 points of 1 coordinate".into(),
            found: format!("{} of {}", points.nrows(), points.ncols()),
            hint: "give units × components".into(),
        });
    }
    check_finite("points", points)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn principal_components_by_hand() {
        // Along (1, 1)/√2 with variance 9 : 1 across; the mean is (5, 5).
        let points =
            Mat::from_fn(4, 2, |i, j| 5.0 + [[3.0, 3.0], [-3.0, -3.0], [-1.0, 1.0], [1.0, -1.0]][i][j]);
        let found = principal_scores(points.as_ref(), 0.8).unwrap();
        assert_eq!(found.scores.ncols(), 1);
        assert!((found.explained[0] - 0.9).abs() < 1e-12);
        assert!((found.scores[(0, 0)] - 18f64.sqrt()).abs() < 1e-12);
        assert_eq!(principal_scores(points.as_ref(), 0.95).unwrap().scores.ncols(), 2);
        assert_eq!(principal_scores(points.as_ref(), 1.0).unwrap().scores.ncols(), 2);
        assert!(
            principal_scores(Mat::full(4, 2, 1.0).as_ref(), 0.8)
                .unwrap_err()
                .to_string()
                .contains("the same")
        );
        assert!(principal_scores(points.as_ref(), 0.0).is_err());
    }

    #[test]
    fn duplicates_merge_in_chains_and_stragglers_go() {
        let line = [0.0, 1.0, 1.0 + 4e-7, 1.0 + 8e-7, 2.1, 3.3, 50.0];
        let points = Mat::from_fn(7, 1, |i, _| line[i]);
        let found = keep_points(points.as_ref(), 1e-6, 1).unwrap();
        // Nearest distances 1, 4e-7, 4e-7, 4e-7, 1.1, 1.2, 46.7: median 1.
        assert!((found.tolerance - 1e-6).abs() < 1e-12, "{found:?}");
        assert_eq!(found.representative, [0, 1, 1, 1, 4, 5, 6]);
        assert_eq!(
            (found.kept, found.multiplicity, found.far),
            (vec![0, 1, 4, 5], vec![1, 3, 1, 1], vec![6])
        );
        let exact = keep_points(Mat::full(3, 2, 1.0).as_ref(), 1e-6, 0).unwrap();
        assert_eq!((exact.kept, exact.multiplicity), (vec![0], vec![3]));
        assert!(
            keep_points(points.as_ref(), -1.0, 0).is_err() && keep_points(points.as_ref(), 0.0, 6).is_err()
        );
    }
}
