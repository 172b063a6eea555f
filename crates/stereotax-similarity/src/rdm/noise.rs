//! The noise of channels from residuals, and its precision.
//!
//! With R the residuals (n × p, mean over rows removed), ν their degrees of freedom and S = RᵀR / ν,
//!
//! ```text
//! full          Σ = S
//! diagonal      Σ = diag(S)
//! toward eye    Σ = λ m I + (1 − λ) S          m = tr S / p;    λ: Ledoit & Wolf 2004
//! toward diag   Σ = λ diag(S) + (1 − λ) S                       λ: Schäfer & Strimmer 2005
//! ```
//!
//! λ comes from norms that need no p × p matrix: with x_t the rows of R, y_t those of R with channels at unit
//! variance, ‖RᵀR‖ = ‖RRᵀ‖ and Σ_ij Σ_t (x_ti x_tj)² = Σ_t ‖x_t‖⁴. All four are Σ = diag(a) + c RᵀR. With fewer
//! residuals than half the channels the precision stays in that form (Woodbury), P = diag(1/a) − FᵀF with F n × p;
//! otherwise it is a p × p inverse.
//!
//! Source: specs: peers 1.1. As rsatoolbox's `shrinkage_eye`, `shrinkage_diag`, `full`, `diag`; its precision of
//! 7,000 channels from 1,800 residuals took 657 GiB, ours n p numbers. Cost: n p min(n, p), and min(n, p)³.

use faer::{Mat, MatRef};

use super::check_numbers;
use stereotax_base::data::{Error, Result};
use stereotax_base::linalg::{
    Real, cholesky_solve, column_means, cross, dot, gram, lower_cholesky_solve, product,
};

/// Which estimate of the noise covariance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shrinkage {
    /// The sample covariance.
    Full,
    /// Its diagonal: every channel by itself.
    Diagonal,
    /// Shrunk to a multiple of the identity.
    TowardEye,
    /// Shrunk to its diagonal (the default).
    #[default]
    TowardDiagonal,
}

/// Choices of a noise estimate.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct NoiseParams {
    /// Default [`Shrinkage::TowardDiagonal`].
    pub shrinkage: Shrinkage,
    /// Degrees of freedom ν of the residuals; by default rows − 1. Residuals of a model with k regressors have
    /// rows − k.
    pub dof: Option<f64>,
}

/// An estimated noise covariance Σ = diag(a) + c RᵀR, and what it was made with.
#[derive(Debug, Clone)]
pub struct NoiseEstimate {
    /// λ in [0, 1]: 0 is the sample covariance.
    pub shrinkage: f64,
    /// ν.
    pub dof: f64,
    /// a, per channel.
    diagonal: Vec<f64>,
    /// c.
    weight: f64,
    /// R: n × p.
    residuals: Mat<f64>,
}

/// A noise precision (channels × channels), in the smallest form that it has.
#[derive(Debug, Clone)]
pub struct NoisePrecision {
    form: Form,
}

#[derive(Debug, Clone)]
enum Form {
    Diagonal(Vec<f64>),
    Dense(Mat<f64>),
    /// diag(d) − FᵀF; F: residuals × channels.
    LowRank(Vec<f64>, Mat<f64>),
}

/// Estimate the noise covariance of channels (columns) from residuals (rows).
///
/// Errors: fewer than 2 residuals, values that are not finite, ν ≤ 0, no variation at all.
pub fn noise_precision<T: Real>(residuals: MatRef<T>, params: &NoiseParams) -> Result<NoiseEstimate> {
    let (n, p) = (residuals.nrows(), residuals.ncols());
    if n < 2 || p == 0 {
        return Err(Error::TooFew {
            what: "residuals".into(),
            needed: "2 rows and 1 channel".into(),
            found: format!("{n} × {p}"),
            hint: "rows are residuals, columns are channels".into(),
        });
    }
    check_numbers("residuals", residuals)?;
    let dof = params.dof.unwrap_or((n - 1) as f64);
    if !(dof > 0.0 && dof.is_finite()) {
        return Err(Error::Invalid {
            what: "dof".into(),
            expected: "a number above 0".into(),
            found: dof.to_string(),
            hint: "the rows of the residuals minus the regressors that were fitted".into(),
        });
    }
    let means = column_means(residuals);
    let residuals = Mat::from_fn(n, p, |i, j| residuals[(i, j)].into() - means[j]);
    let squares: Vec<f64> =
        (0..p).map(|j| dot(residuals.col_as_slice(j), residuals.col_as_slice(j))).collect();
    let total: f64 = squares.iter().sum();
    if !(total > 0.0) {
        return Err(Error::ZeroVariance {
            what: "residuals".into(),
            detail: "all of them are equal in every channel".into(),
            hint: "noise is estimated from residuals, not from means".into(),
        });
    }
    let variances: Vec<f64> = squares.iter().map(|square| square / dof).collect();
    let (diagonal, shrinkage) = match params.shrinkage {
        Shrinkage::Full => (vec![0.0; p], 0.0),
        Shrinkage::Diagonal => (variances, 1.0),
        Shrinkage::TowardEye => {
            let lambda = toward_eye(residuals.as_ref(), total);
            (vec![lambda * total / (dof * p as f64); p], lambda)
        }
        Shrinkage::TowardDiagonal => {
            let lambda = toward_diagonal(residuals.as_ref(), &variances, dof)?;
            (variances.iter().map(|variance| lambda * variance).collect(), lambda)
        }
    };
    Ok(NoiseEstimate { shrinkage, dof, diagonal, weight: (1.0 - shrinkage) / dof, residuals })
}

/// ‖RᵀR‖² (Frobenius), in the smaller of both spaces.
fn squared_norm_of_gram(r: MatRef<f64>) -> f64 {
    let small = if r.nrows() < r.ncols() { gram(r.transpose()) } else { gram(r) };
    small.squared_norm_l2()
}

/// λ = min(b², d²) / d² with S = RᵀR / n: d² = ‖S − m I‖², b² = Σ_t ‖x_t x_tᵀ − S‖² / n².
fn toward_eye(r: MatRef<f64>, total: f64) -> f64 {
    let (n, p) = (r.nrows() as f64, r.ncols() as f64);
    let norm = squared_norm_of_gram(r) / (n * n);
    let fourth: f64 = (0..r.nrows()).map(|t| r.row(t).squared_norm_l2().powi(2)).sum();
    let spread = (fourth / n - norm) / n;
    let distance = norm - (total / n).powi(2) / p;
    // One channel, or white noise to the last digit, is its own target.
    if distance > 1e-14 * norm { (spread.max(0.0) / distance).min(1.0) } else { 1.0 }
}

/// λ = Σ_{i≠j} Var r_ij / Σ_{i≠j} r_ij², of channels at unit variance.
fn toward_diagonal(r: MatRef<f64>, variances: &[f64], dof: f64) -> Result<f64> {
    let largest = variances.iter().fold(0.0f64, |a, b| a.max(*b));
    if let Some(channel) = variances.iter().position(|variance| !(*variance > 1e-28 * largest)) {
        return Err(constant_channel(channel, variances.len()));
    }
    let (n, p) = (r.nrows(), r.ncols());
    let y = Mat::from_fn(n, p, |t, i| r[(t, i)] / variances[i].sqrt());
    let (mut pairs, count) = (0.0, n as f64);
    for t in 0..n {
        let (mut two, mut four) = (0.0, 0.0);
        for i in 0..p {
            let square = y[(t, i)] * y[(t, i)];
            two += square;
            four += square * square;
        }
        pairs += two * two - four;
    }
    // Σ_t y_ti² = ν for every channel.
    let products = squared_norm_of_gram(y.as_ref()) - p as f64 * dof * dof;
    let squares = products / ((count - 1.0) * (count - 1.0));
    let variance = count / (dof * dof) * (pairs / (count - 1.0) - squares);
    Ok(if squares > 0.0 { (variance / squares).clamp(0.0, 1.0) } else { 1.0 })
}

fn constant_channel(channel: usize, n_channels: usize) -> Error {
    Error::ZeroVariance {
        what: format!("residuals, column {channel} of {n_channels}"),
        detail: "its noise variance is 0, which has no precision".into(),
        hint: "drop channels without a signal (outside of the mask?), or shrink toward the identity".into(),
    }
}

impl NoiseEstimate {
    /// How many channels.
    pub fn n_channels(&self) -> usize {
        self.residuals.ncols()
    }

    /// Σ: p × p.
    pub fn covariance(&self) -> Mat<f64> {
        let mut out = if self.weight > 0.0 {
            gram(self.residuals.as_ref())
        } else {
            Mat::zeros(self.n_channels(), self.n_channels())
        };
        for j in 0..out.ncols() {
            out.col_as_slice_mut(j).iter_mut().for_each(|value| *value *= self.weight);
            out[(j, j)] += self.diagonal[j];
        }
        out
    }

    /// Σ⁻¹.
    ///
    /// Errors: a channel without noise, a covariance that has no inverse (as many residuals as channels are needed
    /// without shrinkage).
    pub fn precision(&self) -> Result<NoisePrecision> {
        let (n, p) = (self.residuals.nrows(), self.n_channels());
        let largest = self.diagonal.iter().fold(0.0f64, |a, b| a.max(*b));
        if self.weight == 0.0 {
            if let Some(channel) = self.diagonal.iter().position(|a| !(*a > 1e-28 * largest)) {
                return Err(constant_channel(channel, p));
            }
            return Ok(NoisePrecision {
                form: Form::Diagonal(self.diagonal.iter().map(|a| 1.0 / a).collect()),
            });
        }
        if largest == 0.0 && (n <= p || self.dof < p as f64) {
            return Err(self.singular());
        }
        if 2 * n <= p {
            // M = I/c + R A⁻¹ Rᵀ = L Lᵀ; F = L⁻¹ R A⁻¹.
            let scaled = Mat::from_fn(n, p, |t, i| self.residuals[(t, i)] / self.diagonal[i]);
            let mut inner = product(scaled.as_ref(), self.residuals.transpose());
            (0..n).for_each(|t| inner[(t, t)] += 1.0 / self.weight);
            let factor =
                lower_cholesky_solve(inner.as_ref(), scaled.as_ref()).ok_or_else(|| self.singular())?;
            let diagonal = self.diagonal.iter().map(|a| 1.0 / a).collect();
            return Ok(NoisePrecision { form: Form::LowRank(diagonal, factor) });
        }
        let covariance = self.covariance();
        let identity = Mat::<f64>::identity(p, p);
        let inverse =
            cholesky_solve(covariance.as_ref(), identity.as_ref()).ok_or_else(|| self.singular())?;
        // What is left of the digits.
        let spread = (0..p).map(|i| inverse[(i, i)] * covariance[(i, i)]).fold(0.0, f64::max);
        if !(spread < 1e12) {
            return Err(self.singular());
        }
        let form = Form::Dense(Mat::from_fn(p, p, |i, j| 0.5 * (inverse[(i, j)] + inverse[(j, i)])));
        Ok(NoisePrecision { form })
    }

    /// L⁻¹ X for patterns in columns (channels × patterns), with Σ = L Lᵀ: inner products of what comes out are
    /// those with the precision. Errors: as [`NoiseEstimate::precision`].
    pub(crate) fn whitened(&self, x: MatRef<f64>) -> Result<Mat<f64>> {
        if self.weight == 0.0 {
            let largest = self.diagonal.iter().fold(0.0f64, |a, b| a.max(*b));
            if let Some(channel) = self.diagonal.iter().position(|a| !(*a > 1e-28 * largest)) {
                return Err(constant_channel(channel, self.n_channels()));
            }
            let scales: Vec<f64> = self.diagonal.iter().map(|a| 1.0 / a.sqrt()).collect();
            return Ok(Mat::from_fn(x.nrows(), x.ncols(), |i, j| x[(i, j)] * scales[i]));
        }
        if self.diagonal[0] == 0.0 && self.dof < self.n_channels() as f64 {
            return Err(self.singular());
        }
        lower_cholesky_solve(self.covariance().as_ref(), x).ok_or_else(|| self.singular())
    }

    fn singular(&self) -> Error {
        Error::Invalid {
            what: "noise covariance".into(),
            expected: "one that has an inverse".into(),
            found: format!(
                "singular ({} channels, {} residuals, {} degrees of freedom, shrinkage {:.3})",
                self.n_channels(),
                self.residuals.nrows(),
                self.dof,
                self.shrinkage
            ),
            hint: "shrink it (toward the diagonal, or the identity), or use the diagonal alone".into(),
        }
    }
}

impl NoisePrecision {
    /// From a precision matrix of your own (not a covariance).
    ///
    /// Errors: not square, not finite, not symmetric within 1e-8 of its largest entry, not positive semidefinite.
    pub fn dense(precision: Mat<f64>) -> Result<Self> {
        let p = precision.nrows();
        let refuse = |expected: &str, found: String, hint: &str| {
            Err(Error::Invalid {
                what: "noise precision".into(),
                expected: expected.into(),
                found,
                hint: hint.into(),
            })
        };
        if p != precision.ncols() || p == 0 {
            return refuse(
                "a square matrix",
                format!("{p} × {}", precision.ncols()),
                "give channels × channels, or one number per channel",
            );
        }
        check_numbers("noise precision", precision.as_ref())?;
        let largest = precision.norm_max();
        for j in 0..p {
            for i in 0..j {
                if (precision[(i, j)] - precision[(j, i)]).abs() > 1e-8 * largest {
                    return refuse(
                        "a symmetric matrix",
                        format!(
                            "{} at ({i}, {j}) and {} at ({j}, {i})",
                            precision[(i, j)],
                            precision[(j, i)]
                        ),
                        "a precision is the inverse of a covariance",
                    );
                }
            }
        }
        let even = Mat::from_fn(p, p, |i, j| 0.5 * (precision[(i, j)] + precision[(j, i)]));
        let mut lifted = even.clone();
        (0..p).for_each(|i| lifted[(i, i)] += 1e-9 * largest);
        if cholesky_solve(lifted.as_ref(), Mat::<f64>::zeros(p, 1).as_ref()).is_none() {
            return refuse(
                "a positive semidefinite matrix",
                "one with a negative eigenvalue".into(),
                "squared distances would be negative; pass the inverse of a covariance",
            );
        }
        Ok(NoisePrecision { form: Form::Dense(even) })
    }

    /// One precision per channel. Errors: a number that is negative or not finite.
    pub fn diagonal(precisions: Vec<f64>) -> Result<Self> {
        if let Some(channel) = precisions.iter().position(|value| !(*value >= 0.0 && value.is_finite())) {
            return Err(Error::Invalid {
                what: format!("noise precision of channel {channel}"),
                expected: "a number from 0".into(),
                found: precisions[channel].to_string(),
                hint: "a precision is 1 / variance".into(),
            });
        }
        Ok(NoisePrecision { form: Form::Diagonal(precisions) })
    }

    /// diag(d) − FᵀF, as [`NoisePrecision::parts`] gave it.
    ///
    /// Errors: another number of channels in both.
    pub fn low_rank(diagonal: Vec<f64>, factor: Mat<f64>) -> Result<Self> {
        if diagonal.len() != factor.ncols() {
            return Err(Error::Shape {
                what: "factor".into(),
                expected: format!("{} channels (as in the diagonal)", diagonal.len()),
                found: factor.ncols().to_string(),
                hint: "give residuals × channels".into(),
            });
        }
        Ok(NoisePrecision { form: Form::LowRank(diagonal, factor) })
    }

    /// How many channels.
    pub fn n_channels(&self) -> usize {
        match &self.form {
            Form::Diagonal(values) | Form::LowRank(values, _) => values.len(),
            Form::Dense(values) => values.ncols(),
        }
    }

    /// The diagonal d and the factor F (none: P = diag(d)); no diagonal: the matrix itself.
    pub fn parts(&self) -> (Option<&[f64]>, Option<MatRef<'_, f64>>) {
        match &self.form {
            Form::Diagonal(values) => (Some(values), None),
            Form::Dense(values) => (None, Some(values.as_ref())),
            Form::LowRank(values, factor) => (Some(values), Some(factor.as_ref())),
        }
    }

    /// P: p × p.
    pub fn to_dense(&self) -> Mat<f64> {
        self.times(Mat::<f64>::identity(self.n_channels(), self.n_channels()).as_ref())
    }

    /// P X for patterns in columns (channels × patterns).
    pub fn times(&self, x: MatRef<f64>) -> Mat<f64> {
        let scaled = |by: &[f64]| Mat::from_fn(x.nrows(), x.ncols(), |i, j| x[(i, j)] * by[i]);
        match &self.form {
            Form::Diagonal(values) => scaled(values),
            Form::Dense(matrix) => product(matrix.as_ref(), x),
            Form::LowRank(values, factor) => {
                scaled(values) - cross(factor.as_ref(), product(factor.as_ref(), x).as_ref())
            }
        }
    }

    /// Refuse a precision of other channels.
    pub(crate) fn check_channels(&self, n_channels: usize) -> Result<()> {
        if self.n_channels() == n_channels {
            return Ok(());
        }
        Err(Error::Shape {
            what: "noise precision".into(),
            expected: format!("{n_channels} channels (the columns of the patterns)"),
            found: format!("{} channels", self.n_channels()),
            hint: "estimate it on the same channels".into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use faer::mat;
    use stereotax_base::stats::rng::Stream;

    fn residuals(n: usize, p: usize) -> Mat<f64> {
        let mut stream = Stream::new(3, "residuals", 0);
        let shared: Vec<f64> = (0..n).map(|_| stream.normal()).collect();
        Mat::from_fn(n, p, |t, i| (1.0 + i as f64 / p as f64) * (stream.normal() + 0.7 * shared[t]))
    }

    /// λ by its definition, in loops over pairs of channels.
    fn slow_lambda(r: &Mat<f64>, shrinkage: Shrinkage) -> f64 {
        let (n, p) = (r.nrows(), r.ncols());
        let means = column_means(r.as_ref());
        let x = Mat::from_fn(n, p, |t, i| r[(t, i)] - means[i]);
        let count = n as f64;
        let s = |i: usize, j: usize| (0..n).map(|t| x[(t, i)] * x[(t, j)]).sum::<f64>() / count;
        let (mut above, mut below) = (0.0, 0.0);
        let m = (0..p).map(|i| s(i, i)).sum::<f64>() / p as f64;
        for i in 0..p {
            for j in 0..p {
                if shrinkage == Shrinkage::TowardEye {
                    let s = s(i, j);
                    above +=
                        (0..n).map(|t| (x[(t, i)] * x[(t, j)] - s).powi(2)).sum::<f64>() / (count * count);
                    below += (s - if i == j { m } else { 0.0 }).powi(2);
                } else if i != j {
                    let scale = count / (count - 1.0) * (s(i, i) * s(j, j)).sqrt();
                    let w: Vec<f64> = (0..n).map(|t| x[(t, i)] * x[(t, j)] / scale).collect();
                    let sum: f64 = w.iter().sum();
                    let mean = sum / (count - 1.0);
                    // rsatoolbox's variance of an entry: n/ν² (Σ w² / (n − 1) − r²).
                    let squares: f64 = w.iter().map(|w| w * w).sum::<f64>() / (count - 1.0);
                    above += count / ((count - 1.0) * (count - 1.0)) * (squares - mean * mean);
                    below += mean * mean;
                }
            }
        }
        (above / below).clamp(0.0, 1.0)
    }

    #[test]
    fn shrinkage_is_that_of_the_definition_on_both_sides_of_square() {
        for (n, p) in [(30, 5), (7, 24)] {
            let r = residuals(n, p);
            for shrinkage in [Shrinkage::TowardEye, Shrinkage::TowardDiagonal] {
                let found = noise_precision(r.as_ref(), &NoiseParams { shrinkage, dof: None }).unwrap();
                let slow = slow_lambda(&r, shrinkage);
                assert!((found.shrinkage - slow).abs() < 1e-12, "{n} {p} {shrinkage:?} {slow}");
                assert!(slow > 0.02 && slow < 0.98, "the comparison says nothing at {slow}");
            }
        }
    }

    #[test]
    fn precisions_invert_covariances_in_every_form() {
        for (n, p, shrinkage) in [
            (40, 6, Shrinkage::Full),
            (40, 6, Shrinkage::Diagonal),
            (40, 6, Shrinkage::TowardEye),
            (8, 30, Shrinkage::TowardEye),
            (8, 30, Shrinkage::TowardDiagonal),
            (20, 30, Shrinkage::TowardDiagonal),
        ] {
            let r = residuals(n, p);
            let found = noise_precision(r.as_ref(), &NoiseParams { shrinkage, dof: None }).unwrap();
            let precision = found.precision().unwrap();
            let low = matches!(precision.form, Form::LowRank(..));
            assert_eq!(low, 2 * n <= p, "{n} {p}");
            let one = product(found.covariance().as_ref(), precision.to_dense().as_ref());
            let error = (one - Mat::<f64>::identity(p, p)).norm_max();
            assert!(error < 1e-10, "{error} {n} {p} {shrinkage:?}");
            // Inner products after whitening are those with the precision.
            let x = residuals(3, p);
            let white = found.whitened(x.transpose()).unwrap();
            let with = product(x.as_ref(), precision.times(x.transpose()).as_ref());
            assert!((gram(white.as_ref()) - with).norm_max() < 1e-9);
        }
    }

    #[test]
    fn a_covariance_by_hand() {
        // Deviations (−1, −2), (0, 1), (1, 1): sums of squares 2, 6, of products 3; ν = 2.
        let r = mat![[1.0, 0.0], [2.0, 3.0], [3.0, 3.0]];
        let full = NoiseParams { shrinkage: Shrinkage::Full, dof: None };
        let found = noise_precision(r.as_ref(), &full).unwrap();
        assert!((found.covariance() - mat![[1.0, 1.5], [1.5, 3.0]]).norm_max() < 1e-15);
        // Inverse of determinant 0.75.
        let precision = found.precision().unwrap().to_dense();
        assert!((precision - mat![[4.0, -2.0], [-2.0, 4.0 / 3.0]]).norm_max() < 1e-13);
        let other = noise_precision(r.as_ref(), &NoiseParams { dof: Some(4.0), ..full }).unwrap();
        assert!((other.covariance()[(1, 1)] - 1.5).abs() < 1e-15);
    }

    #[test]
    fn singular_covariances_are_refused_in_words() {
        let full = NoiseParams { shrinkage: Shrinkage::Full, dof: None };
        let message = noise_precision(residuals(5, 9).as_ref(), &full).unwrap().precision().unwrap_err();
        assert!(message.to_string().contains("9 channels, 5 residuals"), "{message}");
        // Enough rows, but two channels that are one.
        let twins = Mat::from_fn(30, 3, |t, i| residuals(30, 2)[(t, i.min(1))]);
        assert!(noise_precision(twins.as_ref(), &full).unwrap().precision().is_err());
        let mut dead = residuals(30, 3);
        (0..30).for_each(|t| dead[(t, 1)] = 2.0);
        for shrinkage in [Shrinkage::Diagonal, Shrinkage::TowardDiagonal] {
            let params = NoiseParams { shrinkage, dof: None };
            let message =
                noise_precision(dead.as_ref(), &params).and_then(|found| found.precision()).unwrap_err();
            assert!(message.to_string().contains("column 1"), "{message}");
        }
        let eye = NoiseParams { shrinkage: Shrinkage::TowardEye, dof: None };
        assert!(noise_precision(dead.as_ref(), &eye).unwrap().precision().is_ok());
        assert!(noise_precision(Mat::<f64>::ones(4, 2).as_ref(), &eye).is_err());
        assert!(
            NoisePrecision::dense(mat![[1.0, 2.0], [2.0, 1.0]]).unwrap_err().to_string().contains("negative")
        );
        assert!(
            NoisePrecision::dense(mat![[1.0, 0.5], [0.0, 1.0]])
                .unwrap_err()
                .to_string()
                .contains("symmetric")
        );
        assert!(NoisePrecision::diagonal(vec![1.0, -1.0]).is_err());
    }
}
