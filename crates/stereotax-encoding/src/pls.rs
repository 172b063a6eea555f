//! Partial least squares regression of many targets (PLS2), from moments.
//!
//! With X (n × p) and Y (n × m) centred (and scaled to unit variance if asked), for a = 1…A
//!
//! ```text
//! S = XᵀY at first                     v = right singular vector of S with the largest singular value
//! w = S v / ‖S v‖                      r = w − Σ_b (p_bᵀw) r_b          t = X r, the component
//! p = Xᵀt / tᵀt,  q = Sᵀr / tᵀt        S ← S − tᵀt · p qᵀ
//! B = Σ_a r_a q_aᵀ                     Ŷ = X B
//! ```
//!
//! X enters by XᵀX alone: tᵀt = rᵀ XᵀX r and p = XᵀX r / tᵀt. Where p > n the same components come from
//! K = XXᵀ: with w = Xᵀc all of them lie in the span of the rows, S = XᵀY_a for deflated targets
//! Y_a ← Y_a − t qᵀ, and nothing of size p × p is formed. More targets than min(n, p) are first turned into
//! that many by an orthogonal factor, which changes no component; their loadings come from the targets
//! themselves. v comes from Lanczos steps carried to rounding.
//!
//! This is what NIPALS with deflation of X computes (scikit-learn's `PLSRegression`) once its inner iteration
//! has converged; with its default tolerance that one stops at ‖Δw‖ = 10⁻³. SIMPLS differs for more than one
//! target: it deflates S by orthogonal projections, and w is another vector from the second component on.
//!
//! Folds share XᵀX and XᵀY (or K): the rows outside a fold's training are taken away from the whole, unless
//! these hold nearly all of a column's variance, where the rest is summed anew.
//!
//! Source: Wold, Sjöström & Eriksson 2001; de Jong & ter Braak 1994 and Dayal & MacGregor 1997 (from
//! moments); Rännar et al. 1994 (from K); specs: alignment-methods B6.2.
//! Cost: O(n p min(n, p)) once; per fold O(n_out p²) or O(n²), and per component O(p² + p m min(m, p)).

use faer::{Mat, MatRef};
use rayon::prelude::*;

use super::reduce::check_finite;
use stereotax_base::data::{Error, Fold, Monitor, Result};
use stereotax_base::linalg::{
    add_product, centre_columns, column_means, cross, eigh, gram, mirror_lower, product, select_rows, thin_qr,
};
use stereotax_base::stats::summary::sd;

/// Columns of a moment matrix that one task computes.
const PANEL: usize = 128;
/// Largest number of targets for which the operator of v is formed as a matrix.
const FORMED: usize = 512;
/// Lanczos vectors kept before starting again from the best one.
const LANCZOS: usize = 120;
/// What must be left of a column's sum of squares for differences of moments to serve.
const LEFT: f64 = 1e-4;

/// How a regression is fitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct PlsParams {
    /// A. Default 25, Brain-Score's choice.
    pub n_components: usize,
    /// Whether units and targets are brought to unit variance (divisor n − 1) first. Default no.
    pub scale: bool,
}

impl Default for PlsParams {
    fn default() -> Self {
        PlsParams { n_components: 25, scale: false }
    }
}

/// A fitted regression: Ŷ = X · weights + intercepts.
#[derive(Debug, Clone, PartialEq)]
pub struct PlsFit {
    /// p × m, in the units of the input.
    pub weights: Mat<f64>,
    /// One per target.
    pub intercepts: Vec<f64>,
    /// Components found; fewer than asked for where nothing is left to predict or to predict from.
    pub n_components: usize,
    /// Why there are fewer, if so.
    pub stopped: Option<String>,
}

/// What one fold predicts.
#[derive(Debug, Clone, PartialEq)]
pub struct PlsPrediction {
    /// Test rows of the fold × m.
    pub predicted: Mat<f64>,
    /// Components found.
    pub n_components: usize,
    /// Why they are fewer than asked for, if so.
    pub stopped: Option<String>,
}

/// Fit on all rows. A target that does not vary is predicted by its value.
///
/// Errors: different numbers of rows, fewer than 2, a value that is not finite, no components asked for,
/// features that do not vary, a stop on request.
pub fn pls(x: MatRef<f64>, y: MatRef<f64>, params: &PlsParams, monitor: &Monitor<'_>) -> Result<PlsFit> {
    let shared = Shared::new(x, y, params)?;
    let all: Vec<usize> = (0..x.nrows()).collect();
    let part = shared.part(&all)?;
    let found = part.components(params, monitor)?;
    Ok(part.fit(&found, &shared))
}

/// Predict the test rows of every fold from its training rows; folds may overlap.
///
/// Errors: as [`pls`], for any fold; rows that are not there.
pub fn pls_of_folds(
    x: MatRef<f64>,
    y: MatRef<f64>,
    folds: &[Fold],
    params: &PlsParams,
    monitor: &Monitor<'_>,
) -> Result<Vec<PlsPrediction>> {
    if let Some(&row) = folds.iter().flat_map(|f| f.train.iter().chain(&f.test)).find(|&&i| i >= x.nrows()) {
        return Err(Error::Invalid {
            what: "folds".into(),
            expected: format!("rows below {}", x.nrows()),
            found: row.to_string(),
            hint: "rows are counted from 0".into(),
        });
    }
    let shared = Shared::new(x, y, params)?;
    folds
        .par_iter()
        .map(|fold| {
            let part = shared.part(&fold.train)?;
            let found = part.components(params, monitor)?;
            Ok(PlsPrediction {
                predicted: part.predict(&found, &shared, &fold.test),
                n_components: found.n_found,
                stopped: found.stopped,
            })
        })
        .collect()
}

/// What all folds share.
struct Shared {
    /// X and Y, centred over all rows.
    x: Mat<f64>,
    y: Mat<f64>,
    x_means: Vec<f64>,
    y_means: Vec<f64>,
    moments: Moments,
    scale: bool,
}

enum Moments {
    /// XᵀX and XᵀY.
    Units(Mat<f64>, Mat<f64>),
    /// XXᵀ; none where each fold scales units by itself.
    Samples(Option<Mat<f64>>),
}

/// The training rows of one fold, centred by their own means.
struct Part {
    train: Vec<usize>,
    /// Means of the training rows, from those of all rows.
    x_shift: Vec<f64>,
    y_shift: Vec<f64>,
    /// What units and targets are divided by.
    x_scale: Vec<f64>,
    y_scale: Vec<f64>,
    form: Form,
}

enum Form {
    /// XᵀX (p × p) and XᵀY (p × m).
    Units { g: Mat<f64>, s: Mat<f64> },
    /// XXᵀ (n × n) and Y (n × m).
    Samples { k: Mat<f64>, y: Mat<f64> },
}

/// B = basis · loadingsᵀ; in sample form the basis is that of coefficients of training rows.
struct Components {
    coefficients: Mat<f64>,
    n_found: usize,
    stopped: Option<String>,
}

impl Shared {
    fn new(x: MatRef<f64>, y: MatRef<f64>, params: &PlsParams) -> Result<Self> {
        if y.nrows() != x.nrows() {
            return Err(Error::Shape {
                what: "y".into(),
                expected: format!("{} rows (as in X)", x.nrows()),
                found: format!("{} rows", y.nrows()),
                hint: "rows must be the same stimuli in the same order".into(),
            });
        }
        if params.n_components == 0 || x.ncols() == 0 || y.ncols() == 0 {
            return Err(Error::TooFew {
                what: "n_components".into(),
                needed: "1 component, unit and target".into(),
                found: format!("{}, {} and {}", params.n_components, x.ncols(), y.ncols()),
                hint: "25 components are customary".into(),
            });
        }
        check_finite(x, "X")?;
        check_finite(y, "y")?;
        let (x_means, y_means) = (column_means(x), column_means(y));
        let (mut x, mut y) = (x.to_owned(), y.to_owned());
        centre_columns(x.as_mut(), &x_means);
        centre_columns(y.as_mut(), &y_means);
        let moments = if x.ncols() <= x.nrows() {
            Moments::Units(wide_gram(x.as_ref()), wide_cross(x.as_ref(), y.as_ref()))
        } else {
            Moments::Samples((!params.scale).then(|| wide_gram(x.transpose())))
        };
        Ok(Shared { x, y, x_means, y_means, moments, scale: params.scale })
    }

    fn part(&self, train: &[usize]) -> Result<Part> {
        let n = train.len();
        if n < 2 {
            return Err(Error::TooFew {
                what: "training rows".into(),
                needed: "2 rows".into(),
                found: n.to_string(),
                hint: "use fewer folds or give more samples".into(),
            });
        }
        let mut inside = vec![false; self.x.nrows()];
        train.iter().for_each(|&i| inside[i] = true);
        let outside: Vec<usize> = (0..inside.len()).filter(|&i| !inside[i]).collect();
        // Rows named twice count twice; differences cannot tell.
        let once = n + outside.len() == inside.len();
        let by_difference = once && 2 * outside.len() <= inside.len();
        // All rows sum to zero, so that the fewer rows outside tell the means of those inside.
        let shift = |x: &Mat<f64>| {
            if by_difference { means_of(x, &outside, -(n as f64)) } else { means_of(x, train, n as f64) }
        };
        let (x_shift, y_shift) = (shift(&self.x), shift(&self.y));
        let scales = |x: &Mat<f64>| -> Vec<f64> {
            let of = |j: usize| {
                let column = x.col_as_slice(j);
                sd(&train.iter().map(|&i| column[i]).collect::<Vec<_>>())
            };
            (0..x.ncols()).map(|j| if self.scale { Some(of(j)) } else { None }).map(unless_zero).collect()
        };
        let (x_scale, y_scale) = (scales(&self.x), scales(&self.y));
        let centred = |x: &Mat<f64>, shift: &[f64], scale: &[f64]| {
            let mut part = select_rows(x.as_ref(), train);
            for j in 0..part.ncols() {
                part.col_mut(j).iter_mut().for_each(|v| *v = (*v - shift[j]) / scale[j]);
            }
            part
        };
        let form = match &self.moments {
            Moments::Units(g_all, s_all) => {
                let found =
                    by_difference.then(|| self.without(&outside, g_all, s_all, n, &x_shift, &y_shift));
                match found.flatten() {
                    Some((mut g, mut s)) => {
                        let rows = n as f64;
                        centre_and_scale(&mut g, rows, (&x_shift, &x_shift), (&x_scale, &x_scale));
                        centre_and_scale(&mut s, rows, (&x_shift, &y_shift), (&x_scale, &y_scale));
                        Form::Units { g, s }
                    }
                    None => {
                        let x = centred(&self.x, &x_shift, &x_scale);
                        let y = centred(&self.y, &y_shift, &y_scale);
                        Form::Units { g: wide_gram(x.as_ref()), s: wide_cross(x.as_ref(), y.as_ref()) }
                    }
                }
            }
            Moments::Samples(k_all) => {
                let k = match k_all {
                    Some(k) => {
                        let mut k = Mat::from_fn(n, n, |i, j| k[(train[i], train[j])]);
                        let means = column_means(k.as_ref());
                        let grand = means.iter().sum::<f64>() / n as f64;
                        for j in 0..n {
                            (0..n).for_each(|i| k[(i, j)] += grand - means[i] - means[j]);
                        }
                        k
                    }
                    None => wide_gram(centred(&self.x, &x_shift, &x_scale).transpose()),
                };
                Form::Samples { k, y: centred(&self.y, &y_shift, &y_scale) }
            }
        };
        let trace: f64 = match &form {
            Form::Units { g, .. } => (0..g.nrows()).map(|i| g[(i, i)]).sum(),
            Form::Samples { k, .. } => (0..n).map(|i| k[(i, i)]).sum(),
        };
        let size: f64 = self.x_means.iter().zip(&x_shift).map(|(a, b)| (a + b).powi(2)).sum();
        if !(trace > n as f64 * (64.0 * f64::EPSILON).powi(2) * size) {
            return Err(Error::ZeroVariance {
                what: "X".into(),
                detail: format!("all {} units are constant over {n} training rows", self.x.ncols()),
                hint: "drop this representation, or look for a saturated or silent layer".into(),
            });
        }
        Ok(Part { train: train.to_vec(), x_shift, y_shift, x_scale, y_scale, form })
    }

    /// The moments without some rows, not centred anew; none where too little is left to be exact.
    fn without(
        &self,
        outside: &[usize],
        g_all: &Mat<f64>,
        s_all: &Mat<f64>,
        n_train: usize,
        x_shift: &[f64],
        y_shift: &[f64],
    ) -> Option<(Mat<f64>, Mat<f64>)> {
        let (x, y) = (select_rows(self.x.as_ref(), outside), select_rows(self.y.as_ref(), outside));
        let n = n_train as f64;
        let left = |all: f64, out: &[f64], shift: f64| {
            all - out.iter().map(|v| v * v).sum::<f64>() - n * shift * shift >= LEFT * all
        };
        let enough_x = (0..x.ncols()).all(|j| left(g_all[(j, j)], x.col_as_slice(j), x_shift[j]));
        let enough_y = (0..y.ncols()).all(|j| {
            let all = self.y.col_as_slice(j).iter().map(|v| v * v).sum();
            left(all, y.col_as_slice(j), y_shift[j])
        });
        if !enough_x || !enough_y {
            return None;
        }
        let mut s = s_all.to_owned();
        add_product(s.as_mut(), x.transpose(), y.as_ref(), -1.0);
        Some((g_all - wide_gram(x.as_ref()), s))
    }
}

impl Part {
    fn components(&self, params: &PlsParams, monitor: &Monitor<'_>) -> Result<Components> {
        match &self.form {
            Form::Units { g, s } => by_units(g, s, params.n_components, monitor),
            Form::Samples { k, y } => by_samples(k, y, params.n_components, monitor),
        }
    }

    /// B in the units of the input (p × m).
    fn weights(&self, found: &Components, shared: &Shared) -> Mat<f64> {
        let mut b = match &self.form {
            Form::Units { .. } => found.coefficients.clone(),
            Form::Samples { .. } => {
                let x = select_rows(shared.x.as_ref(), &self.train);
                let mut b = wide_cross(x.as_ref(), found.coefficients.as_ref());
                for k in 0..b.ncols() {
                    let total: f64 = found.coefficients.col_as_slice(k).iter().sum();
                    (0..b.nrows())
                        .for_each(|j| b[(j, k)] = (b[(j, k)] - self.x_shift[j] * total) / self.x_scale[j]);
                }
                b
            }
        };
        for k in 0..b.ncols() {
            (0..b.nrows()).for_each(|j| b[(j, k)] *= self.y_scale[k] / self.x_scale[j]);
        }
        b
    }

    fn fit(&self, found: &Components, shared: &Shared) -> PlsFit {
        let weights = self.weights(found, shared);
        let intercepts = (0..weights.ncols())
            .map(|k| {
                let column = weights.col_as_slice(k).iter().enumerate();
                let offset: f64 = column.map(|(j, b)| (shared.x_means[j] + self.x_shift[j]) * b).sum();
                shared.y_means[k] + self.y_shift[k] - offset
            })
            .collect();
        PlsFit { weights, intercepts, n_components: found.n_found, stopped: found.stopped.clone() }
    }

    fn predict(&self, found: &Components, shared: &Shared, test: &[usize]) -> Mat<f64> {
        let mut predicted = match (&self.form, &shared.moments) {
            (Form::Samples { .. }, Moments::Samples(Some(k))) => {
                // k(x − x̄, x_i − x̄) = k_xi − mean_j k_xj − mean_j k_ji + mean k.
                let n = self.train.len() as f64;
                let of = |i: usize| self.train.iter().map(|&j| k[(i, j)]).sum::<f64>() / n;
                let own: Vec<f64> = self.train.iter().map(|&i| of(i)).collect();
                let grand = own.iter().sum::<f64>() / n;
                let mut cross =
                    Mat::from_fn(test.len(), self.train.len(), |i, j| k[(test[i], self.train[j])]);
                for i in 0..test.len() {
                    let level = of(test[i]);
                    (0..own.len()).for_each(|j| cross[(i, j)] += grand - level - own[j]);
                }
                let mut out = product(cross.as_ref(), found.coefficients.as_ref());
                for t in 0..out.ncols() {
                    out.col_mut(t).iter_mut().for_each(|v| *v *= self.y_scale[t]);
                }
                out
            }
            _ => {
                let mut x = select_rows(shared.x.as_ref(), test);
                centre_columns(x.as_mut(), &self.x_shift);
                product(x.as_ref(), self.weights(found, shared).as_ref())
            }
        };
        for t in 0..predicted.ncols() {
            let level = shared.y_means[t] + self.y_shift[t];
            predicted.col_mut(t).iter_mut().for_each(|v| *v += level);
        }
        predicted
    }
}

/// Components in the space of units, from G = XᵀX and S = XᵀY.
fn by_units(
    g: &Mat<f64>,
    s_all: &Mat<f64>,
    n_components: usize,
    monitor: &Monitor<'_>,
) -> Result<Components> {
    let p = g.nrows();
    let mut s = compressed(s_all);
    let largest = (0..p).map(|i| g[(i, i)]).sum::<f64>();
    let mut ends = Ends::default();
    let (mut rotations, mut loadings, mut sizes) = (Vec::<Mat<f64>>::new(), Vec::<Mat<f64>>::new(), vec![]);
    for _ in 0..n_components {
        monitor.check()?;
        let v =
            dominant(s.ncols(), || gram(s.as_ref()), |v| cross(s.as_ref(), product(s.as_ref(), v).as_ref()))?;
        let mut w = product(s.as_ref(), v.as_ref());
        if ends.no_covariance(w.norm_l2(), p) {
            break;
        }
        w *= faer::Scale(1.0 / w.norm_l2());
        let mut r = w.clone();
        for (r_b, p_b) in rotations.iter().zip(&loadings) {
            add_product(r.as_mut(), r_b.as_ref(), cross(p_b.as_ref(), w.as_ref()).as_ref(), -1.0);
        }
        let mut load = product(g.as_ref(), r.as_ref());
        let size = cross(r.as_ref(), load.as_ref())[(0, 0)];
        if ends.no_variance(size, largest * r.squared_norm_l2(), p) {
            break;
        }
        load *= faer::Scale(1.0 / size);
        let q = cross(r.as_ref(), s.as_ref());
        add_product(s.as_mut(), load.as_ref(), q.as_ref(), -1.0);
        rotations.push(r);
        loadings.push(load);
        sizes.push(size);
    }
    let basis = side_by_side(&rotations, p);
    let mut q = cross(basis.as_ref(), s_all.as_ref());
    divide_rows(&mut q, &sizes);
    Ok(Components {
        coefficients: product(basis.as_ref(), q.as_ref()),
        n_found: sizes.len(),
        stopped: ends.reason(sizes.len(), n_components),
    })
}

/// The same in the space of samples, from K = XXᵀ and Y: coefficients of training rows.
fn by_samples(
    k: &Mat<f64>,
    y_all: &Mat<f64>,
    n_components: usize,
    monitor: &Monitor<'_>,
) -> Result<Components> {
    let n = k.nrows();
    let mut y = compressed(y_all);
    let largest = (0..n).map(|i| k[(i, i)]).sum::<f64>();
    let mut ends = Ends::default();
    let (mut duals, mut scores, mut sizes) = (Vec::<Mat<f64>>::new(), Vec::<Mat<f64>>::new(), vec![]);
    for _ in 0..n_components {
        monitor.check()?;
        let v = dominant(
            y.ncols(),
            || cross(y.as_ref(), product(k.as_ref(), y.as_ref()).as_ref()),
            |v| cross(y.as_ref(), product(k.as_ref(), product(y.as_ref(), v).as_ref()).as_ref()),
        )?;
        let mut c = product(y.as_ref(), v.as_ref());
        let mut t = product(k.as_ref(), c.as_ref());
        let length = cross(c.as_ref(), t.as_ref())[(0, 0)].max(0.0).sqrt();
        if ends.no_covariance(length, n) {
            break;
        }
        c *= faer::Scale(1.0 / length);
        t *= faer::Scale(1.0 / length);
        // Twice is enough to make scores orthogonal to rounding.
        for _ in 0..2 {
            for ((t_b, c_b), size) in scores.iter().zip(&duals).zip(&sizes) {
                let share = cross(t_b.as_ref(), t.as_ref());
                add_product(t.as_mut(), t_b.as_ref(), share.as_ref(), -1.0 / size);
                add_product(c.as_mut(), c_b.as_ref(), share.as_ref(), -1.0 / size);
            }
        }
        let size = t.squared_norm_l2();
        // ‖r‖² = cᵀKc.
        let length = cross(c.as_ref(), product(k.as_ref(), c.as_ref()).as_ref())[(0, 0)];
        if ends.no_variance(size, largest * length, n) {
            break;
        }
        let q = cross(t.as_ref(), y.as_ref());
        add_product(y.as_mut(), t.as_ref(), q.as_ref(), -1.0 / size);
        duals.push(c);
        scores.push(t);
        sizes.push(size);
    }
    let mut q = cross(side_by_side(&scores, n).as_ref(), y_all.as_ref());
    divide_rows(&mut q, &sizes);
    Ok(Components {
        coefficients: product(side_by_side(&duals, n).as_ref(), q.as_ref()),
        n_found: sizes.len(),
        stopped: ends.reason(sizes.len(), n_components),
    })
}

/// When there is nothing left, judged against the first component.
#[derive(Default)]
struct Ends {
    first: Option<f64>,
    reason: Option<&'static str>,
}

impl Ends {
    fn no_covariance(&mut self, length: f64, dimension: usize) -> bool {
        let first = *self.first.get_or_insert(length);
        let ends = !(length > 4.0 * dimension as f64 * f64::EPSILON * first);
        if ends {
            self.reason = Some("what is left of the targets does not covary with the features");
        }
        ends
    }

    fn no_variance(&mut self, size: f64, greatest: f64, dimension: usize) -> bool {
        let ends = !(size > dimension as f64 * f64::EPSILON * greatest);
        if ends {
            self.reason = Some("the features have no further direction");
        }
        ends
    }

    fn reason(&self, found: usize, asked: usize) -> Option<String> {
        self.reason.map(|reason| format!("{found} of {asked} components: {reason}"))
    }
}

/// The eigenvector of the largest eigenvalue of a symmetric operator with no negative eigenvalue (size × 1).
///
/// Lanczos steps with full orthogonalisation until the residual is rounding (Golub & Van Loan 2013, 10.1).
fn dominant(
    size: usize,
    formed: impl Fn() -> Mat<f64>,
    apply: impl Fn(MatRef<f64>) -> Mat<f64>,
) -> Result<Mat<f64>> {
    if size == 1 {
        return Ok(Mat::full(1, 1, 1.0));
    }
    let matrix = (size <= FORMED).then(&formed);
    let times = |v: MatRef<f64>| matrix.as_ref().map_or_else(|| apply(v), |m| product(m.as_ref(), v));
    // A fixed start with a part along every axis; one step turns it towards what is large.
    let mut best = times(Mat::from_fn(size, 1, |i, _| 1.0 + (i % 7) as f64 / 7.0).as_ref());
    if !(best.norm_l2() > 0.0) {
        best = Mat::from_fn(size, 1, |i, _| if i == 0 { 1.0 } else { (i as f64).sin() });
    }
    for _ in 0..20 {
        let mut basis = Mat::<f64>::zeros(size, LANCZOS.min(size));
        let (mut diagonal, mut beside) = (Vec::new(), Vec::new());
        let mut next = best.clone();
        for step in 0..basis.ncols() {
            let length = next.norm_l2();
            let to = basis.col_as_slice_mut(step);
            to.iter_mut().zip(next.col_as_slice(0)).for_each(|(to, v)| *to = v / length);
            let column = basis.get(.., step..step + 1);
            next = times(column);
            diagonal.push(cross(column, next.as_ref())[(0, 0)]);
            for _ in 0..2 {
                let so_far = basis.get(.., ..step + 1);
                let along = cross(so_far, next.as_ref());
                add_product(next.as_mut(), so_far, along.as_ref(), -1.0);
            }
            let rest = next.norm_l2();
            let last = step + 1 == basis.ncols();
            if !(step % 4 == 3 || last || rest <= f64::EPSILON * diagonal[0].abs()) {
                beside.push(rest);
                continue;
            }
            let small = eigh(
                Mat::from_fn(step + 1, step + 1, |i, j| match i.abs_diff(j) {
                    0 => diagonal[i],
                    1 => beside[i.min(j)],
                    _ => 0.0,
                })
                .as_ref(),
            )?;
            let converged = rest * small.vectors[(step, 0)].abs() <= 4.0 * f64::EPSILON * small.values[0];
            if converged || last || rest == 0.0 {
                best = product(basis.get(.., ..step + 1), small.vectors.get(.., ..1));
                if converged || step + 1 == size || rest == 0.0 {
                    return Ok(best);
                }
                break;
            }
            beside.push(rest);
        }
    }
    // Several values agree to rounding: any vector among theirs will do.
    Ok(best)
}

/// The same columns up to a rotation, no more of them than rows: A = L Qᵀ, and L is returned.
fn compressed(a: &Mat<f64>) -> Mat<f64> {
    if a.ncols() <= a.nrows() { a.clone() } else { thin_qr(a.transpose()).1.transpose().to_owned() }
}

/// XᵀX by panels of columns, in parallel.
fn wide_gram(x: MatRef<f64>) -> Mat<f64> {
    let p = x.ncols();
    let mut out = Mat::zeros(p, p);
    out.as_mut().par_col_chunks_mut(PANEL).enumerate().for_each(|(panel, mut to)| {
        let from = panel * PANEL;
        let below = cross(x.get(.., from..), x.get(.., from..from + to.ncols()));
        to.as_mut().get_mut(from.., ..).copy_from(below);
    });
    mirror_lower(out.as_mut());
    out
}

/// XᵀY by panels of columns, in parallel.
fn wide_cross(x: MatRef<f64>, y: MatRef<f64>) -> Mat<f64> {
    let mut out = Mat::zeros(x.ncols(), y.ncols());
    out.as_mut().par_col_chunks_mut(PANEL).enumerate().for_each(|(panel, mut to)| {
        let from = panel * PANEL;
        let columns = to.ncols();
        to.copy_from(cross(x, y.get(.., from..from + columns)));
    });
    out
}

/// Sums over some rows of each column, divided by n.
fn means_of(x: &Mat<f64>, rows: &[usize], n: f64) -> Vec<f64> {
    let sum = |column: &[f64]| rows.iter().map(|&i| column[i]).sum::<f64>();
    (0..x.ncols()).map(|j| sum(x.col_as_slice(j)) / n).collect()
}

/// A ← (A − n a bᵀ) / (s tᵀ), entry by entry: centre sums of products and bring them to unit variance.
fn centre_and_scale(a: &mut Mat<f64>, n: f64, shifts: (&[f64], &[f64]), scales: (&[f64], &[f64])) {
    for j in 0..a.ncols() {
        let (shift, scale) = (n * shifts.1[j], scales.1[j]);
        let sides = shifts.0.iter().zip(scales.0);
        a.col_as_slice_mut(j)
            .iter_mut()
            .zip(sides)
            .for_each(|(v, (a, s))| *v = (*v - a * shift) / (s * scale));
    }
}

fn unless_zero(scale: Option<f64>) -> f64 {
    scale.filter(|s| *s > 0.0).unwrap_or(1.0)
}

fn side_by_side(columns: &[Mat<f64>], rows: usize) -> Mat<f64> {
    Mat::from_fn(rows, columns.len(), |i, a| columns[a][(i, 0)])
}

fn divide_rows(a: &mut Mat<f64>, by: &[f64]) {
    for j in 0..a.ncols() {
        a.col_mut(j).iter_mut().zip(by).for_each(|(v, by)| *v /= by);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stereotax_base::linalg::svd;
    use stereotax_base::stats::rng::Stream;

    /// Low-rank signal in both sides, with noise.
    fn data(n: usize, p: usize, m: usize, seed: u64) -> (Mat<f64>, Mat<f64>) {
        let mut stream = Stream::new(seed, "pls tests", 0);
        let mut noise = |r, c| Mat::from_fn(r, c, |_, _| stream.normal());
        let (hidden, to_x, to_y) = (noise(n, 6), noise(6, p), noise(6, m));
        let x = product(hidden.as_ref(), to_x.as_ref()) + noise(n, p) + Mat::full(n, p, 3.0);
        let y = product(hidden.as_ref(), to_y.as_ref()) + noise(n, m) * faer::Scale(2.0);
        (x, y)
    }

    /// NIPALS by its definition: X is deflated, w from a full decomposition; B = W (PᵀW)⁻¹ Qᵀ.
    fn nipals(x: &Mat<f64>, y: &Mat<f64>, params: &PlsParams) -> PlsFit {
        let (x_means, y_means) = (column_means(x.as_ref()), column_means(y.as_ref()));
        let scales = |a: &Mat<f64>| -> Vec<f64> {
            (0..a.ncols()).map(|j| if params.scale { sd(a.col_as_slice(j)) } else { 1.0 }).collect()
        };
        let (x_scale, y_scale) = (scales(x), scales(y));
        let mut x = Mat::from_fn(x.nrows(), x.ncols(), |i, j| (x[(i, j)] - x_means[j]) / x_scale[j]);
        let mut y = Mat::from_fn(y.nrows(), y.ncols(), |i, j| (y[(i, j)] - y_means[j]) / y_scale[j]);
        let (mut ws, mut ps, mut qs) = (vec![], vec![], vec![]);
        for _ in 0..params.n_components {
            let w = svd(cross(x.as_ref(), y.as_ref()).as_ref()).unwrap().u.get(.., ..1).to_owned();
            let t = product(x.as_ref(), w.as_ref());
            let size = 1.0 / t.squared_norm_l2();
            let p = cross(x.as_ref(), t.as_ref()) * faer::Scale(size);
            let q = cross(y.as_ref(), t.as_ref()) * faer::Scale(size);
            add_product(x.as_mut(), t.as_ref(), p.transpose(), -1.0);
            add_product(y.as_mut(), t.as_ref(), q.transpose(), -1.0);
            ws.push(w);
            ps.push(p);
            qs.push(q);
        }
        let (w, p) = (side_by_side(&ws, x.ncols()), side_by_side(&ps, x.ncols()));
        let q = side_by_side(&qs, y.ncols());
        let inner = stereotax_base::linalg::solve(cross(p.as_ref(), w.as_ref()).as_ref(), q.transpose());
        let b = product(w.as_ref(), inner.as_ref());
        let weights = Mat::from_fn(b.nrows(), b.ncols(), |j, k| b[(j, k)] * y_scale[k] / x_scale[j]);
        let intercepts = (0..y.ncols())
            .map(|k| y_means[k] - (0..x.ncols()).map(|j| x_means[j] * weights[(j, k)]).sum::<f64>())
            .collect();
        PlsFit { weights, intercepts, n_components: params.n_components, stopped: None }
    }

    fn fitted(x: &Mat<f64>, y: &Mat<f64>, params: &PlsParams) -> PlsFit {
        pls(x.as_ref(), y.as_ref(), params, &Monitor::silent()).unwrap()
    }

    fn predicted(fit: &PlsFit, x: MatRef<f64>) -> Mat<f64> {
        let mut out = product(x, fit.weights.as_ref());
        (0..out.ncols()).for_each(|k| out.col_mut(k).iter_mut().for_each(|v| *v += fit.intercepts[k]));
        out
    }

    #[test]
    fn one_component_by_hand() {
        // x = (−1, 0, 1) and (1, −2, 1), y = (−2, 0, 2), all centred. S = (4, 0), so w = (1, 0),
        // t = x₁, q = tᵀy/tᵀt = 4/2 = 2 and B = (2, 0): y is predicted without error.
        let x = Mat::from_fn(3, 2, |i, j| [[-1.0, 1.0], [0.0, -2.0], [1.0, 1.0]][i][j]);
        let y = Mat::from_fn(3, 1, |i, _| 5.0 + [-2.0, 0.0, 2.0][i]);
        let fit = fitted(&x, &y, &PlsParams { n_components: 2, scale: false });
        assert!((fit.weights[(0, 0)] - 2.0).abs() < 1e-15 && fit.weights[(1, 0)].abs() < 1e-15);
        assert_eq!((fit.intercepts[0], fit.n_components), (5.0, 1));
        assert!(fit.stopped.unwrap().contains("does not covary"));
    }

    #[test]
    fn weights_are_those_of_nipals_in_both_forms() {
        // Units and samples; one target, some, and more than rows or units.
        for (n, p, m) in [(60, 20, 1), (60, 20, 5), (60, 20, 90), (25, 70, 1), (25, 70, 6), (25, 70, 80)] {
            for scale in [false, true] {
                let params = PlsParams { n_components: 8, scale };
                let (x, y) = data(n, p, m, 1);
                let (fast, slow) = (fitted(&x, &y, &params), nipals(&x, &y, &params));
                let off = (&fast.weights - &slow.weights).norm_max() / slow.weights.norm_max();
                assert!(off < 1e-9, "{n} × {p} → {m}, scale {scale}: {off}");
                let (a, b) = (predicted(&fast, x.as_ref()), predicted(&slow, x.as_ref()));
                assert!((a - b).norm_max() < 1e-9 * y.norm_max());
                assert_eq!((fast.n_components, fast.stopped), (8, None));
            }
        }
    }

    #[test]
    fn folds_that_share_moments_predict_as_if_each_were_fitted_alone() {
        for (n, p) in [(80, 30), (40, 90)] {
            for scale in [false, true] {
                let params = PlsParams { n_components: 5, scale };
                let (x, y) = data(n, p, 7, 2);
                let mut folds: Vec<Fold> = (0..4)
                    .map(|f| Fold {
                        name: f.to_string(),
                        // The last one trains on less than half of the rows.
                        train: (0..n)
                            .filter(|i| {
                                (i * 7 + f) % (if f < 3 { 10 } else { 3 }) > if f < 3 { 0 } else { 1 }
                            })
                            .collect(),
                        test: (0..n).filter(|i| (i * 7 + f) % 10 == 0).collect(),
                    })
                    .collect();
                // Rows named twice count twice.
                let twice = (0..n).chain([0, 0, 1]).collect();
                folds.push(Fold { name: "twice".into(), train: twice, test: vec![2, 3] });
                let found =
                    pls_of_folds(x.as_ref(), y.as_ref(), &folds, &params, &Monitor::silent()).unwrap();
                for (fold, found) in folds.iter().zip(&found) {
                    let part = |a: &Mat<f64>, rows: &[usize]| select_rows(a.as_ref(), rows);
                    let slow = nipals(&part(&x, &fold.train), &part(&y, &fold.train), &params);
                    let off = (predicted(&slow, part(&x, &fold.test).as_ref()) - &found.predicted).norm_max();
                    assert!(off < 1e-9 * y.norm_max(), "{n} × {p}, fold {}, scale {scale}: {off}", fold.name);
                }
            }
        }
    }

    #[test]
    fn a_row_that_outweighs_all_others_does_not_spoil_the_fold_without_it() {
        let (mut x, mut y) = data(50, 10, 3, 3);
        for j in 0..10 {
            x[(7, j)] *= 1e9;
        }
        (0..3).for_each(|j| y[(7, j)] *= 1e9);
        let train: Vec<usize> = (0..50).filter(|&i| i != 7).collect();
        let folds = [Fold { name: "all but 7".into(), train: train.clone(), test: vec![0, 1] }];
        let params = PlsParams { n_components: 4, scale: false };
        let found = pls_of_folds(x.as_ref(), y.as_ref(), &folds, &params, &Monitor::silent()).unwrap();
        let part = |a: &Mat<f64>, rows: &[usize]| select_rows(a.as_ref(), rows);
        let slow = nipals(&part(&x, &train), &part(&y, &train), &params);
        let off = (predicted(&slow, part(&x, &[0, 1]).as_ref()) - &found[0].predicted).norm_max();
        // Centring by all rows leaves 1e9 · ε of each value.
        assert!(off < 1e-5, "{off}");
    }

    #[test]
    fn components_end_with_the_rank_and_then_equal_least_squares() {
        let (mut x, y) = data(40, 6, 4, 4);
        (0..40).for_each(|i| x[(i, 5)] = 2.0 * x[(i, 0)] - x[(i, 1)]);
        let fit = fitted(&x, &y, &PlsParams { n_components: 25, scale: false });
        assert_eq!(fit.n_components, 5);
        assert!(fit.stopped.as_deref().unwrap().starts_with("5 of 25 components"), "{:?}", fit.stopped);
        let design = Mat::from_fn(40, 6, |i, j| if j == 5 { 1.0 } else { x[(i, j)] });
        let b = stereotax_base::linalg::least_squares(design.as_ref(), y.as_ref(), 1e-12).unwrap();
        let off = (product(design.as_ref(), b.as_ref()) - predicted(&fit, x.as_ref())).norm_max();
        assert!(off < 1e-8, "{off}");
        // The same in sample form: 12 rows of 30 units have 11 directions, and every row is met.
        let (x, y) = data(12, 30, 4, 4);
        let fit = fitted(&x, &y, &PlsParams { n_components: 25, scale: false });
        assert_eq!(fit.n_components, 11);
        assert!((predicted(&fit, x.as_ref()) - y).norm_max() < 1e-8);
    }

    #[test]
    fn turning_the_features_or_the_targets_turns_the_answer_with_them() {
        let (x, y) = data(50, 12, 5, 5);
        let params = PlsParams { n_components: 4, scale: false };
        let turn = |size, seed| thin_qr(data(size, size, 1, seed).0.as_ref()).0;
        let (a, b) = (turn(12, 6), turn(5, 7));
        let before = predicted(&fitted(&x, &y, &params), x.as_ref());
        let (x, y) = (product(x.as_ref(), a.as_ref()), product(y.as_ref(), b.as_ref()));
        let after = predicted(&fitted(&x, &y, &params), x.as_ref());
        assert!((product(before.as_ref(), b.as_ref()) - after).norm_max() < 1e-9);
    }

    #[test]
    fn a_constant_target_is_predicted_by_its_value_and_a_constant_unit_weighs_nothing() {
        for scale in [false, true] {
            let (mut x, mut y) = data(30, 8, 3, 8);
            (0..30).for_each(|i| (x[(i, 2)], y[(i, 1)]) = (0.1, 0.7));
            let fit = fitted(&x, &y, &PlsParams { n_components: 3, scale });
            assert!((0..8).all(|j| fit.weights[(j, 1)].abs() < 1e-12));
            assert!((fit.intercepts[1] - 0.7).abs() < 1e-12);
            assert!((0..3).all(|k| fit.weights[(2, k)].abs() < 1e-12));
        }
    }

    #[test]
    fn the_leading_vector_is_found_also_among_equals() {
        for (size, gap) in [(1, 0.1), (9, 0.1), (700, 1e-3), (700, 0.0)] {
            let values: Vec<f64> =
                (0..size).map(|i| if i == 0 { 1.0 + gap } else { 1.0 / i as f64 }).collect();
            let axes = thin_qr(data(size, size, 1, 9).0.as_ref()).0;
            let scaled = Mat::from_fn(size, size, |i, j| axes[(i, j)] * values[j]);
            let a = product(scaled.as_ref(), axes.transpose());
            let v = dominant(size, || a.clone(), |v| product(a.as_ref(), v)).unwrap();
            let along = cross(axes.as_ref(), v.as_ref());
            let kept: f64 = along.col(0).iter().take(if gap == 0.0 { 2 } else { 1 }).map(|c| c * c).sum();
            assert!((kept - 1.0).abs() < 1e-12, "{size}, {gap}: {kept}");
        }
    }

    #[test]
    fn threads_do_not_change_bits() {
        let (x, y) = data(50, 300, 20, 10);
        let fit = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| fitted(&x, &y, &PlsParams::default()))
        };
        assert_eq!(fit(1), fit(3));
    }

    #[test]
    fn wrong_input_is_named() {
        let (x, y) = data(20, 5, 2, 11);
        let (params, silent) = (PlsParams::default(), Monitor::silent());
        let refused = |x: &Mat<f64>, y: &Mat<f64>| {
            pls(x.as_ref(), y.as_ref(), &params, &silent).unwrap_err().to_string()
        };
        assert!(refused(&x, &data(19, 5, 2, 11).1).contains("20 rows"));
        assert!(refused(&Mat::full(20, 5, 1.1), &y).contains("does not vary"));
        let mut bad = x.clone();
        bad[(3, 1)] = f64::NAN;
        assert!(refused(&bad, &y).contains("row 3, column 1"));
        let none = PlsParams { n_components: 0, scale: false };
        assert!(pls(x.as_ref(), y.as_ref(), &none, &silent).is_err());
        let fold = |train: Vec<usize>| [Fold { name: "a".into(), train, test: vec![0] }];
        for train in [vec![0], vec![0, 1, 20]] {
            assert!(pls_of_folds(x.as_ref(), y.as_ref(), &fold(train), &params, &silent).is_err());
        }
        let stop = std::sync::atomic::AtomicBool::new(true);
        assert_eq!(pls(x.as_ref(), y.as_ref(), &params, &Monitor::stoppable(&stop)), Err(Error::Cancelled));
    }
}
