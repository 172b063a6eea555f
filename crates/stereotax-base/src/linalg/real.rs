//! The two precisions in which data come.

use faer::Mat;

/// f64 or f32. Decompositions and statistics are in f64; data, and products with them, in their own.
pub trait Real:
    faer::traits::RealField
    + Copy
    + Default
    + Into<f64>
    + std::ops::Add<Output = Self>
    + std::ops::Mul<Output = Self>
    + std::ops::AddAssign
    + Send
    + Sync
    + 'static
{
    /// What sums of products are accurate to, relative to their terms.
    const ROUNDING: f64;

    /// The nearest number of this precision.
    fn from_f64(value: f64) -> Self;

    /// A matrix in this precision; no copy where it has it already.
    fn narrow(x: Mat<f64>) -> Mat<Self>;
}

impl Real for f64 {
    const ROUNDING: f64 = f64::EPSILON;

    fn from_f64(value: f64) -> Self {
        value
    }

    fn narrow(x: Mat<f64>) -> Mat<Self> {
        x
    }
}

impl Real for f32 {
    const ROUNDING: f64 = f32::EPSILON as f64;

    fn from_f64(value: f64) -> Self {
        value as f32
    }

    fn narrow(x: Mat<f64>) -> Mat<Self> {
        Mat::from_fn(x.nrows(), x.ncols(), |i, j| x[(i, j)] as f32)
    }
}
