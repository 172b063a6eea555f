//! Hold a representation, and compute each of the few things that every measure is made of at most once.
//!
//! A representation is X, n stimuli × p units. With X centred (column means taken away):
//!
//! ```text
//! Gram         K = X Xᵀ (n × n) where n ≤ p; else X itself stands for it, which is smaller
//! factors      X = U S Vᵀ: U (n × r) and S, kept where s > cut · s_max
//! distances    d_ij² = K_ii + K_jj − 2 K_ij, each pair once
//! ```
//!
//! Whatever is invariant to rotations of the units needs no more than U and S, n × r numbers with r ≤ n − 1:
//! [`Factors`] are what comparisons of all pairs keep of a representation.
//!
//! The rank rule stands in [`rank_cut`] and nowhere else. Input is f64 or f32, is read where it lies in any layout,
//! and is never written to; products are in f64.
//! Source: specs: encoding-manifolds 6.3 to 6.5, DESIGN 1. Cost: Gram O(n² p); factors O(min(n, p)² max(n, p));
//! memory of either no more than n min(n, p), beside a centred copy of X while it is computed.

use std::sync::OnceLock;

use faer::{Mat, MatRef};

use stereotax_base::data::{Error, Precision, Result};
use stereotax_base::linalg::{Svd, gram, product, svd, upper_factor};
use stereotax_base::stats::ranks::{Levels, levels};
use stereotax_base::stats::summary::quantile;

/// Values beyond this are refused: the Gram of a Gram would leave the range of numbers.
const LARGEST: f64 = 1e70;
/// Share of the median distance that is the width of the Gaussian kernel (Kornblith et al. 2019, their choice).
pub const RBF_FRACTION: f64 = 0.8;

/// Rows that are read together where rows lie in memory.
const ROWS_AT_ONCE: usize = 8;

/// Singular values at or below this multiple of the largest are rounding: 10⁻¹⁰ for f64, and ε √max(n, p) for input
/// of lower precision.
pub fn rank_cut(precision: Precision, n: usize, p: usize) -> f64 {
    match precision {
        Precision::F64 => 1e-10,
        other => other.epsilon() * (n.max(p) as f64).sqrt(),
    }
}

/// Where the numbers lie.
#[derive(Debug, Clone)]
enum Values<'a> {
    Double(MatRef<'a, f64>),
    Single(MatRef<'a, f32>),
    Owned(Mat<f64>),
}

/// U and S of a centred representation: all that rotation-invariant measures need.
#[derive(Debug, Clone)]
pub struct Factors {
    /// Left singular vectors (n × r), of unit length and mean zero.
    pub left: Mat<f64>,
    /// Singular values, descending, all above the cut.
    pub singular_values: Vec<f64>,
}

/// The centred Gram matrix in the smaller of its two forms.
#[derive(Debug, Clone)]
pub struct CentredGram {
    form: Form,
    /// K_ii.
    pub diagonal: Vec<f64>,
    /// tr K, the total variance times n.
    pub trace: f64,
}

#[derive(Debug, Clone)]
enum Form {
    /// K (n × n).
    Stimuli(Mat<f64>),
    /// Centred X (n × p) with p < n, K = X Xᵀ.
    Units(Mat<f64>),
}

/// A representation and its reductions, each computed when it is first asked for.
#[derive(Debug)]
pub struct Representation<'a> {
    name: String,
    values: Values<'a>,
    precision: Precision,
    /// Which rows of `values`, in order; all of them without.
    rows: Option<Vec<usize>>,
    /// A smaller centred matrix with the same Gram, where a whole representation has one for its subsets.
    compact: Option<Mat<f64>>,
    means: OnceLock<Vec<f64>>,
    gram: OnceLock<CentredGram>,
    rbf_gram: OnceLock<CentredGram>,
    factors: OnceLock<Result<Factors>>,
    distances: OnceLock<Vec<f64>>,
    correlation_distances: OnceLock<Vec<f64>>,
    distance_levels: OnceLock<Option<Levels>>,
    correlation_levels: OnceLock<Option<Levels>>,
    neighbours: OnceLock<Vec<Vec<u32>>>,
}

impl<'a> Representation<'a> {
    /// Of f64 values, stimuli × units, which stay where they are; `name` is for messages.
    ///
    /// Errors: fewer than 2 stimuli, no unit, a value that is not finite or above 10⁷⁰.
    pub fn new(name: &str, values: MatRef<'a, f64>) -> Result<Self> {
        check(name, values)?;
        Ok(Self::of(name, Values::Double(values), Precision::F64, None))
    }

    /// As [`new`](Self::new), of f32 values.
    pub fn from_single(name: &str, values: MatRef<'a, f32>) -> Result<Self> {
        check(name, values)?;
        Ok(Self::of(name, Values::Single(values), Precision::F32, None))
    }

    /// As [`new`](Self::new), of values that are given away. `precision` is what they had before they became f64.
    pub fn owned(name: &str, values: Mat<f64>, precision: Precision) -> Result<Representation<'static>> {
        check(name, values.as_ref())?;
        Ok(Representation::of(name, Values::Owned(values), precision, None))
    }

    fn of(name: &str, values: Values<'a>, precision: Precision, rows: Option<Vec<usize>>) -> Self {
        Representation {
            name: name.to_owned(),
            values,
            precision,
            rows,
            compact: None,
            means: OnceLock::new(),
            gram: OnceLock::new(),
            rbf_gram: OnceLock::new(),
            factors: OnceLock::new(),
            distances: OnceLock::new(),
            correlation_distances: OnceLock::new(),
            distance_levels: OnceLock::new(),
            correlation_levels: OnceLock::new(),
            neighbours: OnceLock::new(),
        }
    }

    /// What messages call it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Rows.
    pub fn n_stimuli(&self) -> usize {
        let stored = match &self.values {
            Values::Double(x) => x.nrows(),
            Values::Single(x) => x.nrows(),
            Values::Owned(x) => x.nrows(),
        };
        self.rows.as_ref().map_or(stored, Vec::len)
    }

    /// Columns.
    pub fn n_units(&self) -> usize {
        match &self.values {
            Values::Double(x) => x.ncols(),
            Values::Single(x) => x.ncols(),
            Values::Owned(x) => x.ncols(),
        }
    }

    /// Format of the numbers at rest.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    fn borrowed(&self) -> Values<'_> {
        match &self.values {
            Values::Double(x) => Values::Double(*x),
            Values::Single(x) => Values::Single(*x),
            Values::Owned(x) => Values::Double(x.as_ref()),
        }
    }

    fn stored_row(&self, row: usize) -> usize {
        self.rows.as_ref().map_or(row, |rows| rows[row])
    }

    /// The stimuli in another order. What has been computed already is reordered, not computed again.
    pub fn permuted(&self, order: &[usize]) -> Representation<'_> {
        let rows = order.iter().map(|&row| self.stored_row(row)).collect();
        let moved = Representation::of(&self.name, self.borrowed(), self.precision, Some(rows));
        let line = |x: &Mat<f64>| stereotax_base::linalg::select_rows(x.as_ref(), order);
        let gram_of = |cell: &OnceLock<CentredGram>| cell.get().map(|gram| gram.permuted(order));
        if let Some(means) = self.means.get() {
            let _ = moved.means.set(means.clone());
        }
        if let Some(gram) = gram_of(&self.gram) {
            let _ = moved.gram.set(gram);
        }
        if let Some(gram) = gram_of(&self.rbf_gram) {
            let _ = moved.rbf_gram.set(gram);
        }
        if let Some(Ok(factors)) = self.factors.get() {
            let left = line(&factors.left);
            let kept = Factors { left, singular_values: factors.singular_values.clone() };
            let _ = moved.factors.set(Ok(kept));
        }
        for (from, to) in
            [(&self.distances, &moved.distances), (&self.correlation_distances, &moved.correlation_distances)]
        {
            if let Some(distances) = from.get() {
                let _ = to.set(permuted_pairs(distances, order));
            }
        }
        for (from, to) in [
            (&self.distance_levels, &moved.distance_levels),
            (&self.correlation_levels, &moved.correlation_levels),
        ] {
            if let Some(Some(Levels { level, n_levels })) = from.get() {
                let _ = to.set(Some(Levels { level: permuted_pairs(level, order), n_levels: *n_levels }));
            }
        }
        moved
    }

    /// Some of the stimuli, as a representation of its own: its means are those of these stimuli.
    pub fn subset(&self, chosen: &[usize]) -> Result<Representation<'_>> {
        let rows = chosen.iter().map(|&row| self.stored_row(row)).collect();
        let mut subset = Representation::of(&self.name, self.borrowed(), self.precision, Some(rows));
        // With more units than stimuli, U S has the same Gram in fewer columns.
        if self.n_units() > self.n_stimuli() {
            let mut compact = stereotax_base::linalg::select_rows(self.factors()?.scaled().as_ref(), chosen);
            centre(&mut compact);
            subset.compact = Some(compact);
        }
        Ok(subset)
    }

    /// Mean of each unit over stimuli.
    pub fn means(&self) -> &[f64] {
        self.means.get_or_init(|| {
            let n = self.n_stimuli();
            let mut means = vec![0.0; self.n_units()];
            // A second pass over deviations mends the rounding of the first.
            for _ in 0..2 {
                let mut sums = vec![0.0; means.len()];
                self.each(|_, j, value| sums[j] += value - means[j]);
                means.iter_mut().zip(&sums).for_each(|(mean, sum)| *mean += sum / n as f64);
            }
            means
        })
    }

    /// Every value with its row and unit; those of one unit by ascending rows, near ones in memory together.
    fn each(&self, mut work: impl FnMut(usize, usize, f64)) {
        let (n, p) = (self.n_stimuli(), self.n_units());
        let by_rows = match &self.values {
            Values::Double(x) => x.col_stride().unsigned_abs() <= x.row_stride().unsigned_abs(),
            Values::Single(x) => x.col_stride().unsigned_abs() <= x.row_stride().unsigned_abs(),
            Values::Owned(_) => false,
        };
        let value = |i: usize, j: usize| match &self.values {
            Values::Double(x) => x[(i, j)],
            Values::Single(x) => f64::from(x[(i, j)]),
            Values::Owned(x) => x[(i, j)],
        };
        if by_rows {
            // A few rows at a time: what is written by columns then fills whole lines of the cache.
            for from in (0..n).step_by(ROWS_AT_ONCE) {
                let rows: Vec<usize> =
                    (from..n.min(from + ROWS_AT_ONCE)).map(|i| self.stored_row(i)).collect();
                for j in 0..p {
                    rows.iter().enumerate().for_each(|(i, &row)| work(from + i, j, value(row, j)));
                }
            }
        } else {
            let rows: Vec<usize> = (0..n).map(|i| self.stored_row(i)).collect();
            for j in 0..p {
                rows.iter().enumerate().for_each(|(i, &row)| work(i, j, value(row, j)));
            }
        }
    }

    /// A copy of the values as f64 (n × p).
    pub fn raw(&self) -> Mat<f64> {
        let mut out = Mat::zeros(self.n_stimuli(), self.n_units());
        self.each(|i, j, value| out[(i, j)] = value);
        out
    }

    /// A copy with the mean of each unit taken away (n × p). Units without variation beyond rounding are exactly 0.
    pub fn centred(&self) -> Mat<f64> {
        let means = self.means();
        let mut out = self.raw();
        for (j, mean) in means.iter().enumerate() {
            let column = out.col_as_slice_mut(j);
            let size = column.iter().fold(mean.abs(), |m: f64, v| m.max(v.abs()));
            column.iter_mut().for_each(|v| *v -= mean);
            if column.iter().all(|v| v.abs() <= 64.0 * f64::EPSILON * size) {
                column.fill(0.0);
            }
        }
        out
    }

    /// A centred matrix with the Gram of this representation, with as few columns as is cheap.
    fn compact(&self) -> Mat<f64> {
        self.compact.clone().unwrap_or_else(|| self.centred())
    }

    /// The centred Gram matrix.
    pub fn gram(&self) -> &CentredGram {
        self.gram.get_or_init(|| {
            let x = self.compact();
            if x.nrows() <= x.ncols() {
                CentredGram::of_stimuli(gram(x.transpose()))
            } else {
                CentredGram::of_units(x)
            }
        })
    }

    /// The centred Gram of the Gaussian kernel exp(−d²/(2σ²)), σ = 0.8 times the median distance.
    pub fn rbf_gram(&self) -> &CentredGram {
        self.rbf_gram.get_or_init(|| self.rbf_gram_at(RBF_FRACTION))
    }

    /// As [`rbf_gram`](Self::rbf_gram) with another share of the median distance. All zero where the median is 0.
    pub fn rbf_gram_at(&self, fraction: f64) -> CentredGram {
        let n = self.n_stimuli();
        let distances = self.distances();
        let width = fraction * quantile(distances, 0.5);
        let mut kernel = Mat::zeros(n, n);
        if width > 0.0 {
            let scale = -0.5 / (width * width);
            let mut at = 0;
            for i in 0..n {
                kernel[(i, i)] = 1.0;
                for j in i + 1..n {
                    let value = (scale * distances[at] * distances[at]).exp();
                    kernel[(i, j)] = value;
                    kernel[(j, i)] = value;
                    at += 1;
                }
            }
            centre_both(&mut kernel);
        }
        CentredGram::of_stimuli(kernel)
    }

    /// U and S of the centred representation.
    ///
    /// Error: a decomposition that does not converge, which finite input does not cause.
    pub fn factors(&self) -> Result<&Factors> {
        let made = self.factors.get_or_init(|| {
            let x = self.compact();
            let (n, p) = (x.nrows(), x.ncols());
            let (left, values) = if n <= p {
                // X = Rᵀ Qᵀ: the left side of the n × n triangle is that of X.
                let Svd { u, s, .. } = svd(upper_factor(x.transpose()).transpose())?;
                (u, s)
            } else {
                let Svd { u, s, .. } = svd(x.as_ref())?;
                (u, s)
            };
            let cut = rank_cut(self.precision, self.n_stimuli(), self.n_units());
            Ok(Factors::cut(left, values, cut))
        });
        made.as_ref().map_err(Clone::clone)
    }

    /// How many directions the representation has, by [`rank_cut`].
    pub fn rank(&self) -> Result<usize> {
        Ok(self.factors()?.rank())
    }

    /// Euclidean distances of all pairs of stimuli, condensed as in [`Rdm`](stereotax_base::data::Rdm).
    pub fn distances(&self) -> &[f64] {
        self.distances.get_or_init(|| self.gram().distances())
    }

    /// 1 − Pearson correlation of all pairs of patterns over units, condensed; NaN with a pattern that is constant
    /// over units.
    pub fn correlation_distances(&self) -> &[f64] {
        self.correlation_distances.get_or_init(|| {
            let (n, p) = (self.n_stimuli(), self.n_units());
            let mut patterns = Mat::zeros(p, n);
            self.each(|i, j, value| patterns[(j, i)] = value);
            let mut defined = vec![true; n];
            for (i, defined) in defined.iter_mut().enumerate() {
                let pattern = patterns.col_as_slice_mut(i);
                if stereotax_base::stats::summary::is_constant(pattern) {
                    *defined = false;
                    pattern.fill(0.0);
                    continue;
                }
                let mean = pattern.iter().sum::<f64>() / p as f64;
                pattern.iter_mut().for_each(|v| *v -= mean);
                let length = pattern.iter().map(|v| v * v).sum::<f64>().sqrt();
                pattern.iter_mut().for_each(|v| *v /= length);
            }
            let correlations = gram(patterns.as_ref());
            let mut values = Vec::with_capacity(n * (n - 1) / 2);
            for i in 0..n {
                for j in i + 1..n {
                    let known = defined[i] && defined[j];
                    let r = correlations[(i, j)].clamp(-1.0, 1.0);
                    values.push(if known { 1.0 - r } else { f64::NAN });
                }
            }
            values
        })
    }

    /// [`distances`](Self::distances) sorted once for all rank correlations and their draws.
    pub(super) fn distance_levels(&self) -> Option<&Levels> {
        self.distance_levels.get_or_init(|| sorted(self.distances())).as_ref()
    }

    /// [`correlation_distances`](Self::correlation_distances) sorted likewise; `None` where some are undefined.
    pub(super) fn correlation_levels(&self) -> Option<&Levels> {
        self.correlation_levels.get_or_init(|| sorted(self.correlation_distances())).as_ref()
    }

    /// For each stimulus all others, nearest first; ties go to the earlier one.
    pub fn neighbours(&self) -> &[Vec<u32>] {
        self.neighbours.get_or_init(|| {
            let n = self.n_stimuli();
            let distances = self.distances();
            (0..n)
                .map(|i| {
                    let far = |j: u32| distances[stereotax_base::data::rdm::pair_index(n, i, j as usize)];
                    let mut order: Vec<u32> = (0..n as u32).filter(|&j| j as usize != i).collect();
                    order.sort_by(|&a, &b| far(a).total_cmp(&far(b)));
                    order
                })
                .collect()
        })
    }

    /// Whether it varies over stimuli at all.
    pub fn varies(&self) -> bool {
        match self.factors.get() {
            Some(Ok(factors)) => factors.rank() > 0,
            _ => self.gram().trace > 0.0,
        }
    }
}

impl Factors {
    fn cut(left: Mat<f64>, mut singular_values: Vec<f64>, cut: f64) -> Self {
        let largest = singular_values.first().copied().unwrap_or(0.0);
        let rank = singular_values.iter().take_while(|&&s| s > cut * largest && s > 0.0).count();
        singular_values.truncate(rank);
        Factors { left: left.get(.., ..rank).to_owned(), singular_values }
    }

    /// How many directions are kept.
    pub fn rank(&self) -> usize {
        self.singular_values.len()
    }

    /// The first `rank` directions, or all where there are fewer.
    pub fn truncated(&self, rank: usize) -> Factors {
        let rank = rank.min(self.rank());
        Factors {
            left: self.left.get(.., ..rank).to_owned(),
            singular_values: self.singular_values[..rank].to_vec(),
        }
    }

    /// U S (n × r): X up to a rotation of its units.
    pub fn scaled(&self) -> Mat<f64> {
        self.weighted(|s| s)
    }

    /// U diag(weight(s)).
    pub fn weighted(&self, weight: impl Fn(f64) -> f64) -> Mat<f64> {
        let weights: Vec<f64> = self.singular_values.iter().map(|&s| weight(s)).collect();
        Mat::from_fn(self.left.nrows(), self.rank(), |i, j| self.left[(i, j)] * weights[j])
    }

    /// Σ s², the squared Frobenius norm of X.
    pub fn energy(&self) -> f64 {
        self.singular_values.iter().map(|s| s * s).sum()
    }
}

impl CentredGram {
    fn of_stimuli(kernel: Mat<f64>) -> Self {
        let diagonal: Vec<f64> = (0..kernel.nrows()).map(|i| kernel[(i, i)]).collect();
        let trace = diagonal.iter().sum();
        CentredGram { form: Form::Stimuli(kernel), diagonal, trace }
    }

    fn of_units(x: Mat<f64>) -> Self {
        let mut diagonal = vec![0.0; x.nrows()];
        for j in 0..x.ncols() {
            diagonal.iter_mut().zip(x.col_as_slice(j)).for_each(|(sum, v)| *sum += v * v);
        }
        let trace = diagonal.iter().sum();
        CentredGram { form: Form::Units(x), diagonal, trace }
    }

    /// Stimuli.
    pub fn n_stimuli(&self) -> usize {
        self.diagonal.len()
    }

    /// Σ_ij w_i w_j K_ij L_ij, without weights Σ_ij K_ij L_ij = ‖XᵀY‖².
    pub fn inner(&self, other: &CentredGram, weights: Option<&[f64]>) -> f64 {
        let scaled = |x: &Mat<f64>| match weights {
            None => x.clone(),
            Some(w) => Mat::from_fn(x.nrows(), x.ncols(), |i, j| w[i] * x[(i, j)]),
        };
        match (&self.form, &other.form) {
            (Form::Stimuli(k), Form::Stimuli(l)) => {
                let sum = |j: usize| match weights {
                    None => stereotax_base::linalg::dot(k.col_as_slice(j), l.col_as_slice(j)),
                    Some(w) => {
                        let both = k.col_as_slice(j).iter().zip(l.col_as_slice(j));
                        w[j] * both.zip(w).map(|((k, l), w)| k * l * w).sum::<f64>()
                    }
                };
                (0..k.ncols()).map(sum).sum()
            }
            (Form::Units(x), Form::Units(y)) => {
                let between = match weights {
                    None => stereotax_base::linalg::cross(x.as_ref(), y.as_ref()),
                    Some(_) => stereotax_base::linalg::cross(scaled(x).as_ref(), y.as_ref()),
                };
                (0..between.ncols()).map(|j| between.col_as_slice(j).iter().map(|v| v * v).sum::<f64>()).sum()
            }
            (Form::Stimuli(k), Form::Units(y)) | (Form::Units(y), Form::Stimuli(k)) => {
                let y = scaled(y);
                let turned = product(k.as_ref(), y.as_ref());
                (0..y.ncols())
                    .map(|j| stereotax_base::linalg::dot(turned.col_as_slice(j), y.col_as_slice(j)))
                    .sum()
            }
        }
    }

    /// K w.
    pub fn times(&self, w: &[f64]) -> Vec<f64> {
        let w = MatRef::from_column_major_slice(w, w.len(), 1);
        let turned = match &self.form {
            Form::Stimuli(k) => product(k.as_ref(), w),
            Form::Units(x) => product(x.as_ref(), stereotax_base::linalg::cross(x.as_ref(), w).as_ref()),
        };
        turned.col_as_slice(0).to_vec()
    }

    /// Columns `from..to` of K (n × (to − from)).
    pub fn columns(&self, from: usize, to: usize) -> Mat<f64> {
        match &self.form {
            Form::Stimuli(k) => k.get(.., from..to).to_owned(),
            Form::Units(x) => product(x.as_ref(), x.get(from..to, ..).transpose()),
        }
    }

    fn distances(&self) -> Vec<f64> {
        let n = self.n_stimuli();
        let mut values = Vec::with_capacity(n * n.saturating_sub(1) / 2);
        const TILE: usize = 64;
        for from in (0..n).step_by(TILE) {
            let to = n.min(from + TILE);
            let tile = self.columns(from, to);
            for i in from..to {
                for j in i + 1..n {
                    let size = self.diagonal[i] + self.diagonal[j];
                    let squared = size - 2.0 * tile[(j, i - from)];
                    // Equal patterns are at distance 0, not at one that rounding gives.
                    values.push(if squared > 64.0 * f64::EPSILON * size { squared.sqrt() } else { 0.0 });
                }
            }
        }
        values
    }

    fn permuted(&self, order: &[usize]) -> CentredGram {
        let form = match &self.form {
            Form::Stimuli(k) => {
                let mut moved = Mat::zeros(order.len(), order.len());
                for (j, &from) in order.iter().enumerate() {
                    let column = k.col_as_slice(from);
                    moved.col_as_slice_mut(j).iter_mut().zip(order).for_each(|(to, &i)| *to = column[i]);
                }
                Form::Stimuli(moved)
            }
            Form::Units(x) => Form::Units(stereotax_base::linalg::select_rows(x.as_ref(), order)),
        };
        let diagonal: Vec<f64> = order.iter().map(|&i| self.diagonal[i]).collect();
        CentredGram { form, diagonal, trace: self.trace }
    }
}

/// Levels of values that are all defined.
fn sorted(values: &[f64]) -> Option<Levels> {
    (!values.iter().any(|v| v.is_nan())).then(|| levels(values))
}

/// Condensed values of pairs with the stimuli in another order.
pub(super) fn permuted_pairs<T: Copy>(values: &[T], order: &[usize]) -> Vec<T> {
    let n = order.len();
    let mut moved = Vec::with_capacity(values.len());
    for (at, &i) in order.iter().enumerate() {
        moved.extend(order[at + 1..].iter().map(|&j| values[stereotax_base::data::rdm::pair_index(n, i, j)]));
    }
    moved
}

/// Take the mean of each column away.
pub(super) fn centre(x: &mut Mat<f64>) {
    let means = stereotax_base::linalg::column_means(x.as_ref());
    stereotax_base::linalg::centre_columns(x.as_mut(), &means);
}

/// Take row and column means of a symmetric matrix away, and put the grand mean back: H K H.
fn centre_both(k: &mut Mat<f64>) {
    let n = k.nrows();
    let means = stereotax_base::linalg::column_means(k.as_ref());
    let grand = means.iter().sum::<f64>() / n as f64;
    for j in 0..n {
        let shift = means[j] - grand;
        k.col_as_slice_mut(j).iter_mut().zip(&means).for_each(|(value, mean)| *value -= mean + shift);
    }
}

fn check<T: stereotax_base::linalg::Real>(name: &str, x: MatRef<T>) -> Result<()> {
    if x.nrows() < 2 || x.ncols() == 0 {
        return Err(Error::TooFew {
            what: name.into(),
            needed: "2 stimuli and 1 unit".into(),
            found: format!("{} stimuli and {} units", x.nrows(), x.ncols()),
            hint: "rows are stimuli, columns are units".into(),
        });
    }
    let (mut first, mut count, mut largest) = (None, 0, 0.0f64);
    for j in 0..x.ncols() {
        for i in 0..x.nrows() {
            let value: f64 = x[(i, j)].into();
            if !value.is_finite() {
                count += 1;
                first = Some(first.map_or((i, j), |at: (usize, usize)| at.min((i, j))));
            } else {
                largest = largest.max(value.abs());
            }
        }
    }
    if let Some((row, column)) = first {
        return Err(Error::NotFinite {
            what: name.into(),
            row,
            column,
            count,
            hint: "drop these stimuli or units, or mend the recording".into(),
        });
    }
    if largest > LARGEST {
        return Err(Error::Invalid {
            what: name.into(),
            expected: format!("values up to {LARGEST:e}"),
            found: format!("{largest:e}"),
            hint: "look for a number that stands for missing values, or change the unit".into(),
        });
    }
    Ok(())
}

/// Refuse representations of different stimuli.
pub fn check_pair(x: &Representation<'_>, y: &Representation<'_>) -> Result<()> {
    if x.n_stimuli() == y.n_stimuli() {
        return Ok(());
    }
    Err(Error::Shape {
        what: y.name().into(),
        expected: format!("{} rows (the stimuli of `{}`)", x.n_stimuli(), x.name()),
        found: format!("{} rows", y.n_stimuli()),
        hint: "rows must be the same stimuli in the same order".into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use stereotax_base::linalg::cross;
    use stereotax_base::stats::rng::Stream;

    fn noise(n: usize, p: usize, index: u64) -> Mat<f64> {
        let mut stream = Stream::new(5, "representation tests", index);
        Mat::from_fn(n, p, |_, _| stream.normal())
    }

    fn close(a: &Mat<f64>, b: &Mat<f64>, tolerance: f64) -> bool {
        (a - b).norm_max() < tolerance
    }

    #[test]
    fn a_gram_and_distances_by_hand() {
        // X = (1 0; 3 0; 2 3): means (2, 1); centred (−1 −1; 1 −1; 0 2).
        let x = Mat::from_fn(3, 2, |i, j| [[1.0, 0.0], [3.0, 0.0], [2.0, 3.0]][i][j]);
        let r = Representation::new("x", x.as_ref()).unwrap();
        assert_eq!(r.means(), [2.0, 1.0]);
        assert_eq!((r.gram().diagonal.clone(), r.gram().trace), (vec![2.0, 2.0, 4.0], 8.0));
        // K = (2 0 −2; 0 2 −2; −2 −2 4): Σ K² = 4 + 4 + 16 + 4·4 = 40.
        assert_eq!(r.gram().inner(r.gram(), None), 40.0);
        assert_eq!(r.gram().times(&[1.0, 2.0, 0.0]), [2.0, 4.0, -6.0]);
        let distances = r.distances();
        assert!((distances[0] - 2.0).abs() < 1e-14 && (distances[1] - 10f64.sqrt()).abs() < 1e-14);
        assert_eq!(r.neighbours()[0], [1, 2]);
        // Singular values: XᵀX = (2 0; 0 6).
        let factors = r.factors().unwrap();
        assert!((factors.singular_values[0] - 6f64.sqrt()).abs() < 1e-14 && factors.rank() == 2);
    }

    #[test]
    fn both_forms_of_the_gram_are_one() {
        let (x, y) = (noise(12, 5, 0), noise(12, 30, 1));
        // The same Gram with more columns than stimuli: padding with zeros.
        let padded = Mat::from_fn(12, 20, |i, j| if j < 5 { x[(i, j)] } else { 3.0 });
        let [a, b, c] = [&x, &padded, &y].map(|x| Representation::new("x", x.as_ref()).unwrap());
        assert!(matches!(a.gram().form, Form::Units(_)) && matches!(b.gram().form, Form::Stimuli(_)));
        let weights: Vec<f64> = (0..12).map(|i| f64::from(i % 4)).collect();
        for w in [None, Some(&weights[..])] {
            let expected = b.gram().inner(c.gram(), w);
            assert!((a.gram().inner(c.gram(), w) / expected - 1.0).abs() < 1e-12);
            assert!((c.gram().inner(a.gram(), w) / expected - 1.0).abs() < 1e-12);
            let own = b.gram().inner(b.gram(), w);
            assert!((a.gram().inner(a.gram(), w) / own - 1.0).abs() < 1e-12);
        }
        assert!(close(&a.gram().columns(3, 7), &b.gram().columns(3, 7), 1e-12));
        assert_eq!(b.rank().unwrap(), 5);
        let same = a.distances().iter().zip(b.distances()).all(|(a, b)| (a - b).abs() < 1e-12);
        assert!(same);
    }

    #[test]
    fn factors_rebuild_the_gram_on_either_side() {
        for (n, p) in [(20, 6), (9, 40), (15, 15)] {
            let x = noise(n, p, 2);
            let r = Representation::new("x", x.as_ref()).unwrap();
            let f = r.factors().unwrap();
            assert_eq!(f.rank(), p.min(n - 1));
            let scaled = f.scaled();
            assert!(close(&product(scaled.as_ref(), scaled.transpose()), &r.gram().columns(0, n), 1e-11));
            assert!(close(
                &cross(f.left.as_ref(), f.left.as_ref()),
                &Mat::identity(f.rank(), f.rank()),
                1e-12
            ));
            assert!((f.energy() / r.gram().trace - 1.0).abs() < 1e-13);
        }
    }

    #[test]
    fn a_permuted_or_partial_one_is_that_of_the_rows() {
        for p in [4, 40] {
            let x = noise(14, p, 3);
            let whole = Representation::new("x", x.as_ref()).unwrap();
            let order = Stream::new(1, "order", 0).permutation(14);
            for prepared in [false, true] {
                if prepared {
                    let _ = (whole.rbf_gram(), whole.factors().unwrap(), whole.correlation_distances());
                }
                for rows in [&order[..], &order[..9]] {
                    let chosen = stereotax_base::linalg::select_rows(x.as_ref(), rows);
                    let expected = Representation::new("x", chosen.as_ref()).unwrap();
                    let found =
                        if rows.len() == 14 { whole.permuted(rows) } else { whole.subset(rows).unwrap() };
                    let n = rows.len();
                    assert!(close(&found.gram().columns(0, n), &expected.gram().columns(0, n), 1e-11));
                    assert!(close(
                        &found.rbf_gram().columns(0, n),
                        &expected.rbf_gram().columns(0, n),
                        1e-11
                    ));
                    let (a, b) = (found.factors().unwrap(), expected.factors().unwrap());
                    let outer = |f: &Factors| product(f.scaled().as_ref(), f.scaled().transpose());
                    assert!(a.rank() == b.rank() && close(&outer(a), &outer(b), 1e-11));
                    assert!(close(&found.centred(), &expected.centred(), 1e-13));
                    let pairs = found.correlation_distances().iter().zip(expected.correlation_distances());
                    assert!(pairs.clone().all(|(a, b)| (a - b).abs() < 1e-13));
                }
            }
        }
    }

    #[test]
    fn single_precision_strides_offsets_and_constants() {
        let x = noise(10, 6, 4);
        let single = Mat::from_fn(10, 6, |i, j| x[(i, j)] as f32);
        let double = Mat::from_fn(10, 6, |i, j| f64::from(single[(i, j)]));
        let a = Representation::from_single("x", single.as_ref()).unwrap();
        let b = Representation::new("x", double.as_ref()).unwrap();
        assert!(close(&a.gram().columns(0, 10), &b.gram().columns(0, 10), 1e-15));
        // Every other row and column of a larger matrix, and rows that run backwards.
        let large = noise(20, 12, 5);
        let view = large.as_ref().reverse_rows();
        let owned = view.to_owned();
        let (a, b) =
            (Representation::new("x", view).unwrap(), Representation::new("x", owned.as_ref()).unwrap());
        assert_eq!(a.centred(), b.centred());
        let by_rows = owned.transpose().to_owned();
        let c = Representation::new("x", by_rows.transpose()).unwrap();
        assert!(close(&c.centred(), &b.centred(), 1e-15));
        // A constant of 0.1 is nothing, however its mean rounds; a large offset takes few digits.
        let constant = Mat::full(7, 3, 0.1);
        let none = Representation::new("x", constant.as_ref()).unwrap();
        assert!(!none.varies() && none.rank().unwrap() == 0 && none.gram().trace == 0.0);
        let shifted = Mat::from_fn(10, 6, |i, j| x[(i, j)] + 1e6);
        let far = Representation::new("x", shifted.as_ref()).unwrap();
        let near = Representation::new("x", x.as_ref()).unwrap();
        assert!(close(&far.gram().columns(0, 10), &near.gram().columns(0, 10), 1e-8));
    }

    #[test]
    fn what_is_no_representation_is_refused_in_words() {
        let mut x = noise(5, 3, 6);
        x[(4, 0)] = f64::NAN;
        x[(2, 1)] = f64::INFINITY;
        let message = Representation::new("model", x.as_ref()).unwrap_err().to_string();
        assert!(message.contains("`model`") && message.contains("row 2, column 1"), "{message}");
        assert!(message.contains("2 such values"));
        assert!(Representation::new("x", Mat::zeros(1, 3).as_ref()).is_err());
        assert!(Representation::new("x", Mat::full(5, 3, 1e80).as_ref()).is_err());
        let (a, b) = (noise(5, 3, 7), noise(6, 3, 8));
        let (a, b) =
            (Representation::new("a", a.as_ref()).unwrap(), Representation::new("b", b.as_ref()).unwrap());
        assert!(check_pair(&a, &b).unwrap_err().to_string().contains("`b` has 6 rows"));
    }
}
