//! Give every model the same capacity: principal components fitted on the training rows, z-scored there.
//!
//! With X (n × K) centred by the means of its training rows,
//!
//! ```text
//! C = X_trᵀX_tr = V Λ Vᵀ,   Z = X V_q,   Z_j ← (Z_j − mean_tr) / sd_tr,   q = min(q_max, K, ⌊n_tr / s⌋)
//! ```
//!
//! for all rows, training and held out. Where K > n_tr the same directions come from
//! X_trX_trᵀ = U Λ Uᵀ with V = X_trᵀ U Λ^{−1/2}, and nothing of size K × K is formed. The sign of a
//! component is the one that `linalg` promises, so the result is deterministic.
//!
//! Source: specs: nfas-dmd 8.5.1. Differs from plain PCA: components are scaled to unit variance, so the
//! ridge shrinks all of them alike. Cost: O(n_tr K min(n_tr, K) + min(n_tr, K)³ + n K q).

use faer::{Mat, MatRef};

use stereotax_base::data::{Error, Result};
use stereotax_base::linalg::{
    Real, add_product, all_finite, centre_columns, column_means, cross, eigh_leading, gram, product,
    select_rows,
};

/// How many components are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ReduceParams {
    /// q_max. Default 256.
    pub max_components: usize,
    /// s: training rows per component. Default 8 (10 for ordinary least squares).
    pub samples_per_component: usize,
}

impl Default for ReduceParams {
    fn default() -> Self {
        ReduceParams { max_components: 256, samples_per_component: 8 }
    }
}

/// Features of equal dimension.
#[derive(Debug, Clone)]
pub struct Reduced {
    /// All rows × q; mean 0 and variance 1 (divisor n_tr) over the training rows.
    pub scores: Mat<f64>,
    /// Share of the training variance that the q components hold, in [0, 1].
    pub explained: f64,
    /// q that was asked for; `scores` has fewer columns where the training rows have a lower rank.
    pub requested: usize,
}

/// Fit principal components on the rows `train` and apply them to all rows.
///
/// Errors: fewer training rows than `samples_per_component` (at least 2), a value that is not finite,
/// features that do not vary over the training rows.
pub fn reduce(features: MatRef<f64>, train: &[usize], params: &ReduceParams) -> Result<Reduced> {
    check_finite(features, "features")?;
    let requested = n_components(features.ncols(), train.len(), params)?;
    let mut x_train = select_rows(features, train);
    let means = column_means(x_train.as_ref());
    centre_columns(x_train.as_mut(), &means);
    let in_unit_space = features.ncols() <= train.len();
    let moments = if in_unit_space { gram(x_train.as_ref()) } else { gram(x_train.transpose()) };
    let decomposed = eigh_leading(moments.as_ref(), requested)?;
    let total: f64 = decomposed.values.iter().map(|w| w.max(0.0)).sum();
    let size: f64 = means.iter().map(|m| m * m).sum::<f64>() * train.len() as f64;
    let largest = decomposed.values.first().copied().unwrap_or(0.0);
    // Below this an eigenvalue is rounding: of the decomposition, and of removing the means.
    let dimension = features.ncols().max(train.len()) as f64;
    let cut = dimension * f64::EPSILON * largest.max(size * f64::EPSILON * dimension);
    let rank = decomposed.values.iter().take_while(|&&w| w > cut).count();
    if rank == 0 {
        return Err(Error::ZeroVariance {
            what: "features".into(),
            detail: format!("all {} units are constant over {} training rows", features.ncols(), train.len()),
            hint: "drop this representation, or look for a saturated or silent layer".into(),
        });
    }
    let q = requested.min(rank);
    let vectors = decomposed.vectors.get(.., ..q);
    let directions = if in_unit_space {
        vectors.to_owned()
    } else {
        let mut v = cross(x_train.as_ref(), vectors);
        for j in 0..q {
            let scale = 1.0 / decomposed.values[j].sqrt();
            v.col_mut(j).iter_mut().for_each(|x| *x *= scale);
        }
        v
    };
    // (X − 1 meanᵀ) V without a centred copy of all rows.
    let mut scores = product(features, directions.as_ref());
    let shift = Mat::from_fn(1, means.len(), |_, j| means[j]);
    let level = product(shift.as_ref(), directions.as_ref());
    let ones = Mat::from_fn(features.nrows(), 1, |_, _| 1.0);
    add_product(scores.as_mut(), ones.as_ref(), level.as_ref(), -1.0);
    z_score_on(&mut scores, train);
    let kept: f64 = decomposed.values[..q].iter().sum();
    Ok(Reduced { scores, explained: (kept / total).min(1.0), requested })
}

/// q for K units and n_tr training rows.
fn n_components(n_units: usize, n_train: usize, params: &ReduceParams) -> Result<usize> {
    let by_samples = n_train / params.samples_per_component.max(1);
    let q = params.max_components.min(n_units).min(by_samples);
    if q == 0 || n_train < 2 {
        return Err(Error::TooFew {
            what: "training rows".into(),
            needed: format!("{} rows for one component", params.samples_per_component.max(2)),
            found: format!("{n_train} rows, {n_units} units, max_components {}", params.max_components),
            hint: "give more samples, use fewer folds, or do not equalise the components".into(),
        });
    }
    Ok(q)
}

/// Give each column mean 0 and variance 1 over the rows `train`; a constant column becomes 0.
pub(super) fn z_score_on(x: &mut Mat<f64>, train: &[usize]) {
    let n = train.len() as f64;
    for j in 0..x.ncols() {
        let mean = train.iter().map(|&i| x[(i, j)]).sum::<f64>() / n;
        let sd = (train.iter().map(|&i| (x[(i, j)] - mean).powi(2)).sum::<f64>() / n).sqrt();
        let size = train.iter().map(|&i| x[(i, j)].abs()).fold(0.0, f64::max);
        let scale = if sd > 1e-12 * size { 1.0 / sd } else { 0.0 };
        x.col_mut(j).iter_mut().for_each(|value| *value = (*value - mean) * scale);
    }
}

/// Refuse NaN and infinities with the place of the first one (by rows, then columns).
pub(super) fn check_finite<T: Real>(x: MatRef<T>, what: &str) -> Result<()> {
    if all_finite(x) {
        return Ok(());
    }
    let (mut count, mut first) = (0, (usize::MAX, usize::MAX));
    for j in 0..x.ncols() {
        for (i, value) in x.col(j).iter().enumerate() {
            if !Into::<f64>::into(*value).is_finite() {
                count += 1;
                first = first.min((i, j));
            }
        }
    }
    Err(Error::NotFinite {
        what: what.into(),
        row: first.0,
        column: first.1,
        count,
        hint: "drop these samples or targets, or mend the recording".into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use stereotax_base::stats::rng::Stream;

    fn noise(rows: usize, columns: usize) -> Mat<f64> {
        let mut stream = Stream::new(5, "reduce tests", 0);
        Mat::from_fn(rows, columns, |_, j| 3.0 + stream.normal() / (1.0 + j as f64))
    }

    #[test]
    fn sample_space_and_unit_space_agree() {
        let x = noise(60, 30);
        let train: Vec<usize> = (0..60).filter(|i| i % 3 != 0).collect();
        let params = ReduceParams { max_components: 5, samples_per_component: 4 };
        let unit = reduce(x.as_ref(), &train, &params).unwrap();
        // Silent units change nothing but the shape, and with it the space.
        let wide = Mat::from_fn(60, 90, |i, j| if j < 30 { x[(i, j)] } else { 7.0 });
        let sample = reduce(wide.as_ref(), &train, &params).unwrap();
        assert_eq!(unit.scores.ncols(), 5);
        for j in 0..5 {
            // Signs are promised per space: compare up to one.
            let sign = (unit.scores[(0, j)] * sample.scores[(0, j)]).signum();
            for i in 0..60 {
                assert!((unit.scores[(i, j)] - sign * sample.scores[(i, j)]).abs() < 1e-8);
            }
        }
        assert!((unit.explained - sample.explained).abs() < 1e-12);
    }

    #[test]
    fn training_rows_are_white_and_held_out_rows_follow_the_same_map() {
        let x = noise(50, 6);
        let train: Vec<usize> = (0..40).collect();
        let params = ReduceParams { max_components: 6, samples_per_component: 2 };
        let z = reduce(x.as_ref(), &train, &params).unwrap();
        let head = z.scores.get(..40, ..);
        let g = gram(head);
        assert!((g - Mat::<f64>::identity(6, 6) * faer::Scale(40.0)).norm_max() < 1e-10);
        // Held-out rows must not move the fit: change one, and only its own scores change.
        let mut other = x.clone();
        other[(45, 2)] += 100.0;
        let moved = reduce(other.as_ref(), &train, &params).unwrap();
        assert_eq!(moved.scores.get(..45, ..), z.scores.get(..45, ..));
        assert_ne!(moved.scores[(45, 0)], z.scores[(45, 0)]);
    }

    #[test]
    fn the_number_of_components_follows_the_rule_and_the_rank() {
        let train: Vec<usize> = (0..80).collect();
        let z = reduce(noise(80, 30).as_ref(), &train, &ReduceParams::default()).unwrap();
        assert_eq!((z.scores.ncols(), z.requested), (10, 10));
        let flat = Mat::from_fn(80, 30, |i, j| if j < 2 { ((i * (j + 3)) % 11) as f64 } else { 4.0 });
        let z = reduce(flat.as_ref(), &train, &ReduceParams::default()).unwrap();
        assert_eq!((z.scores.ncols(), z.requested), (2, 10));
        let constant = Mat::from_fn(80, 3, |_, j| j as f64 + 0.1);
        assert!(matches!(
            reduce(constant.as_ref(), &train, &ReduceParams::default()),
            Err(Error::ZeroVariance { .. })
        ));
        assert!(reduce(noise(80, 3).as_ref(), &train[..7], &ReduceParams::default()).is_err());
    }

    #[test]
    fn a_nan_is_refused_with_its_place() {
        let mut x = noise(20, 4);
        x[(11, 2)] = f64::NAN;
        let error = reduce(x.as_ref(), &[0, 1, 2], &ReduceParams::default()).unwrap_err();
        assert!(error.to_string().contains("row 11, column 2"), "{error}");
    }
}
