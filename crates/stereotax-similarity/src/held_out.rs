//! Fit an alignment on some stimuli and score it on others, for canonical correlations and for shapes.
//!
//! In sample, directions and rotations are fitted to noise too: with n near p + q unrelated representations align
//! perfectly. On held-out stimuli unrelated representations have canonical correlations about 0, and shape angles
//! about π/2.
//!
//! ```text
//! CCA     directions of the training rows (leading ones that hold a share of the variance, at most half of the rows
//!         on either side), then the correlation of held-out variates over the test rows: mean over components, then
//!         over folds
//! shape   means, partial whitening and rotation of the training rows, then cosine, angle and distance of the test
//!         rows. What lies outside of the training span is matched with nothing, and is weighted by α
//! ```
//!
//! Source: Williams et al. 2021 (fit and score); specs: encoding-manifolds 6.3 and 6.5. Differs from netrep, where
//! directions that the training rows do not have are paired by chance. Cost: a factorisation of the training rows per
//! fold.

use faer::{Mat, MatRef};

use super::cca::{SvccaParams, leading};
use super::procrustes::check_alpha;
use super::representation::{Representation, check_pair};
use stereotax_base::data::{Error, Fold, Precision, Result};
use stereotax_base::linalg::{Svd, cross, product, select_rows, svd};
use stereotax_base::stats::summary::pearson;

/// Fewest test rows that have a correlation worth its name.
const LEAST_TEST: usize = 3;

/// K folds in which row i is held out by fold i mod K.
pub fn interleaved_folds(n_stimuli: usize, n_folds: usize) -> Vec<Fold> {
    (0..n_folds)
        .map(|f| Fold {
            name: format!("fold {f}"),
            train: (0..n_stimuli).filter(|i| i % n_folds != f).collect(),
            test: (0..n_stimuli).filter(|i| i % n_folds == f).collect(),
        })
        .collect()
}

/// Five folds, or as many as leave three stimuli each; 0 where not even two do.
pub fn default_folds(n_stimuli: usize) -> usize {
    let most = (n_stimuli / LEAST_TEST).min(5);
    if most >= 2 { most } else { 0 }
}

/// Mean held-out canonical correlation, in [−1, 1]; NaN where a side is constant or no fold has a correlation.
///
/// Errors: different rows; folds that overlap, or hold fewer than 3 rows out.
pub fn cross_validated_cca(
    x: &Representation<'_>,
    y: &Representation<'_>,
    folds: &[Fold],
    params: &SvccaParams,
) -> Result<f64> {
    check_folds(x, y, folds)?;
    let (of_x, of_y) = (x.factors()?.scaled(), y.factors()?.scaled());
    if of_x.ncols() == 0 || of_y.ncols() == 0 {
        return Ok(f64::NAN);
    }
    let mut found = Vec::new();
    for fold in folds {
        let (a, b) = (Trained::new(of_x.as_ref(), fold)?, Trained::new(of_y.as_ref(), fold)?);
        // More directions than these would be canonical by construction, and which of them come out arbitrary.
        let most = (fold.train.len() - 1) / 2;
        let kept = |side: &Trained| leading(&side.svd.s[..side.rank], params).min(most);
        let (k, l) = (kept(&a), kept(&b));
        if k == 0 || l == 0 {
            continue;
        }
        let directions = svd(cross(a.svd.u.get(.., ..k), b.svd.u.get(.., ..l)).as_ref())?;
        let variates = |side: &Trained, kept: usize, turned: &Mat<f64>| {
            let scores = product(side.test.as_ref(), side.svd.v.get(.., ..kept));
            let white = Mat::from_fn(scores.nrows(), kept, |i, j| scores[(i, j)] / side.svd.s[j]);
            product(white.as_ref(), turned.as_ref())
        };
        let (h, g) = (variates(&a, k, &directions.u), variates(&b, l, &directions.v));
        let correlations: Vec<f64> = (0..k.min(l))
            .map(|c| pearson(h.col_as_slice(c), g.col_as_slice(c)))
            .filter(|r| !r.is_nan())
            .collect();
        if !correlations.is_empty() {
            found.push(correlations.iter().sum::<f64>() / correlations.len() as f64);
        }
    }
    Ok(found.iter().sum::<f64>() / found.len() as f64)
}

/// Training rows decomposed, test rows shifted by the training means.
struct Trained {
    svd: Svd,
    rank: usize,
    means: Vec<f64>,
    test: Mat<f64>,
}

impl Trained {
    fn new(values: MatRef<f64>, fold: &Fold) -> Result<Self> {
        let mut train = select_rows(values, &fold.train);
        let mut test = select_rows(values, &fold.test);
        let means = stereotax_base::linalg::column_means(train.as_ref());
        stereotax_base::linalg::centre_columns(train.as_mut(), &means);
        stereotax_base::linalg::centre_columns(test.as_mut(), &means);
        let svd = svd(train.as_ref())?;
        let rank = rank_of(&svd.s, train.nrows(), train.ncols());
        Ok(Trained { svd, rank, means, test })
    }
}

fn rank_of(s: &[f64], n: usize, p: usize) -> usize {
    let cut = super::representation::rank_cut(Precision::F64, n, p) * s.first().copied().unwrap_or(0.0);
    s.iter().take_while(|&&s| s > cut && s > 0.0).count()
}

/// A rotation (and partial whitening) of two representations towards each other, fitted once.
#[derive(Debug, Clone)]
pub struct ShapeAlignment {
    alpha: f64,
    x: Side,
    y: Side,
}

#[derive(Debug, Clone)]
struct Side {
    means: Vec<f64>,
    /// Units → aligned coordinates (p × k).
    map: Mat<f64>,
    /// Right singular vectors of the training rows (p × r) and their whitening weights.
    span: Mat<f64>,
    weights: Vec<f64>,
}

/// How far apart two representations are once they are aligned.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ShapeScore {
    /// Cosine of the aligned matrices, in [−1, 1].
    pub cosine: f64,
    /// Its angle, in [0, π].
    pub angular: f64,
    /// Length of their difference.
    pub euclidean: f64,
}

impl ShapeAlignment {
    /// Fit to rows of `x` and `y` that are the same stimuli; units are columns.
    ///
    /// Errors: different rows, values that are not finite, `alpha` outside [0, 1].
    pub fn fit(x: MatRef<f64>, y: MatRef<f64>, alpha: f64) -> Result<Self> {
        check_alpha(alpha)?;
        same_rows(x, y)?;
        let fold = Fold { name: String::new(), train: (0..x.nrows()).collect(), test: vec![] };
        let (a, b) = (Trained::new(x, &fold)?, Trained::new(y, &fold)?);
        let weights = |side: &Trained| -> Vec<f64> {
            side.svd.s[..side.rank].iter().map(|s| alpha + (1.0 - alpha) / s).collect()
        };
        let (of_x, of_y) = (weights(&a), weights(&b));
        let between = cross(a.svd.u.get(.., ..a.rank), b.svd.u.get(.., ..b.rank));
        let weighted = Mat::from_fn(a.rank, b.rank, |i, j| {
            of_x[i] * a.svd.s[i] * between[(i, j)] * of_y[j] * b.svd.s[j]
        });
        let found = svd(weighted.as_ref())?;
        let side = |trained: Trained, weights: Vec<f64>, turned: &Mat<f64>| {
            let span = trained.svd.v.get(.., ..trained.rank).to_owned();
            let white = Mat::from_fn(span.nrows(), trained.rank, |i, j| span[(i, j)] * weights[j]);
            Side { means: trained.means, map: product(white.as_ref(), turned.as_ref()), span, weights }
        };
        Ok(ShapeAlignment { alpha, x: side(a, of_x, &found.u), y: side(b, of_y, &found.v) })
    }

    /// Score other rows, or the same; NaN where a side has no length.
    ///
    /// Errors: other numbers of units than in `fit`, different rows.
    pub fn score(&self, x: MatRef<f64>, y: MatRef<f64>) -> Result<ShapeScore> {
        same_rows(x, y)?;
        let ((a, aa), (b, bb)) =
            (self.x.transform("x", x, self.alpha)?, self.y.transform("y", y, self.alpha)?);
        if !(aa > 0.0 && bb > 0.0) {
            return Ok(ShapeScore { cosine: f64::NAN, angular: f64::NAN, euclidean: f64::NAN });
        }
        let inner: f64 =
            (0..a.ncols()).map(|j| stereotax_base::linalg::dot(a.col_as_slice(j), b.col_as_slice(j))).sum();
        let cosine = (inner / (aa.sqrt() * bb.sqrt())).clamp(-1.0, 1.0);
        // Chord and distance from the difference of what is aligned, and the lengths of what is not.
        let rest = |z: &Mat<f64>, all: f64| (all - z.norm_l2().powi(2)).max(0.0);
        let (left, right) = (rest(&a, aa), rest(&b, bb));
        let gap = |s: f64, t: f64| {
            let mut sum = s * s * left + t * t * right;
            for j in 0..a.ncols() {
                let both = a.col_as_slice(j).iter().zip(b.col_as_slice(j));
                sum += both.map(|(x, y)| (s * x - t * y).powi(2)).sum::<f64>();
            }
            sum.sqrt()
        };
        let angular = 2.0 * (0.5 * gap(1.0 / aa.sqrt(), 1.0 / bb.sqrt())).min(1.0).asin();
        Ok(ShapeScore { cosine, angular, euclidean: gap(1.0, 1.0) })
    }
}

impl Side {
    /// Aligned coordinates, and the squared length of all of the whitened rows.
    fn transform(&self, what: &str, x: MatRef<f64>, alpha: f64) -> Result<(Mat<f64>, f64)> {
        if x.ncols() != self.map.nrows() {
            return Err(Error::Shape {
                what: what.into(),
                expected: format!("{} units (as in `fit`)", self.map.nrows()),
                found: format!("{} units", x.ncols()),
                hint: "score the units that were aligned".into(),
            });
        }
        let mut shifted = x.to_owned();
        stereotax_base::linalg::centre_columns(shifted.as_mut(), &self.means);
        let inside = product(shifted.as_ref(), self.span.as_ref());
        let mut length = 0.0;
        let mut kept = 0.0;
        for (j, weight) in self.weights.iter().enumerate() {
            let energy: f64 = inside.col_as_slice(j).iter().map(|v| v * v).sum();
            length += weight * weight * energy;
            kept += energy;
        }
        let outside = (shifted.norm_l2().powi(2) - kept).max(0.0);
        // What rounding leaves of rows within the span is nothing.
        let outside = if outside > 1e-12 * kept { outside } else { 0.0 };
        Ok((product(shifted.as_ref(), self.map.as_ref()), length + alpha * alpha * outside))
    }
}

/// Mean over folds of scores of shapes on held-out stimuli.
///
/// Errors: as for [`cross_validated_cca`], and `alpha` outside [0, 1].
pub fn cross_validated_shape(
    x: &Representation<'_>,
    y: &Representation<'_>,
    folds: &[Fold],
    alpha: f64,
) -> Result<ShapeScore> {
    check_folds(x, y, folds)?;
    let (of_x, of_y) = (x.factors()?.scaled(), y.factors()?.scaled());
    if of_x.ncols() == 0 || of_y.ncols() == 0 {
        return Ok(ShapeScore { cosine: f64::NAN, angular: f64::NAN, euclidean: f64::NAN });
    }
    let mut mean = ShapeScore { cosine: 0.0, angular: 0.0, euclidean: 0.0 };
    let share = 1.0 / folds.len() as f64;
    for fold in folds {
        let part = |z: &Mat<f64>, rows: &[usize]| select_rows(z.as_ref(), rows);
        let (x_train, y_train) = (part(&of_x, &fold.train), part(&of_y, &fold.train));
        let alignment = ShapeAlignment::fit(x_train.as_ref(), y_train.as_ref(), alpha)?;
        let score = alignment.score(part(&of_x, &fold.test).as_ref(), part(&of_y, &fold.test).as_ref())?;
        mean.cosine += share * score.cosine;
        mean.angular += share * score.angular;
        mean.euclidean += share * score.euclidean;
    }
    Ok(mean)
}

fn check_folds(x: &Representation<'_>, y: &Representation<'_>, folds: &[Fold]) -> Result<()> {
    check_pair(x, y)?;
    if folds.is_empty() {
        return Err(Error::TooFew {
            what: "folds".into(),
            needed: "1".into(),
            found: "0".into(),
            hint: format!("`interleaved_folds` makes some; each needs {LEAST_TEST} held-out stimuli"),
        });
    }
    folds.iter().try_for_each(|fold| fold.check(&fold.name, x.n_stimuli(), LEAST_TEST, LEAST_TEST))
}

fn same_rows(x: MatRef<f64>, y: MatRef<f64>) -> Result<()> {
    stereotax_base::stats::summary::check_finite("x", x)?;
    stereotax_base::stats::summary::check_finite("y", y)?;
    if x.nrows() == y.nrows() && x.nrows() > 0 {
        return Ok(());
    }
    Err(Error::Shape {
        what: "y".into(),
        expected: format!("{} rows (the stimuli of `x`), at least one", x.nrows()),
        found: format!("{} rows", y.nrows()),
        hint: "rows must be the same stimuli in the same order".into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use stereotax_base::linalg::thin_qr;
    use stereotax_base::stats::rng::Stream;

    fn noise(n: usize, p: usize, index: u64) -> Mat<f64> {
        let mut stream = Stream::new(13, "held out tests", index);
        Mat::from_fn(n, p, |_, _| stream.normal())
    }

    fn rep(x: &Mat<f64>) -> Representation<'_> {
        Representation::new("x", x.as_ref()).unwrap()
    }

    #[test]
    fn noise_is_at_zero_and_signal_is_found() {
        let folds = interleaved_folds(100, 5);
        let params = SvccaParams::default();
        let (mut by_chance, mut angle) = (0.0, 0.0);
        for draw in 0..6 {
            let (x, y) = (noise(100, 20, draw), noise(100, 25, 50 + draw));
            by_chance += cross_validated_cca(&rep(&x), &rep(&y), &folds, &params).unwrap() / 6.0;
            angle += cross_validated_shape(&rep(&x), &rep(&y), &folds, 1.0).unwrap().angular / 6.0;
        }
        assert!(by_chance.abs() < 0.03, "{by_chance}");
        assert!((angle - std::f64::consts::FRAC_PI_2).abs() < 0.05, "{angle}");
        let x = noise(100, 5, 20);
        let (rotation, _) = thin_qr(noise(5, 5, 21).as_ref());
        let off = noise(100, 5, 22);
        let y = &x * &rotation + 0.3 * &off;
        let found = cross_validated_cca(&rep(&x), &rep(&y), &folds, &params).unwrap();
        assert!(found > 0.9, "{found}");
        let same = cross_validated_cca(&rep(&x), &rep(&x), &folds, &params).unwrap();
        assert!((same - 1.0).abs() < 1e-12);
    }

    #[test]
    fn scoring_the_training_rows_is_the_shape_distance() {
        use super::super::factor_pair::FactorPair;
        use super::super::procrustes::{shape_angular, shape_euclidean};
        for (n, p, q) in [(30, 6, 9), (12, 30, 20)] {
            let (x, y) = (noise(n, p, 30), noise(n, q, 31));
            for alpha in [1.0, 0.4] {
                let alignment = ShapeAlignment::fit(x.as_ref(), y.as_ref(), alpha).unwrap();
                let found = alignment.score(x.as_ref(), y.as_ref()).unwrap();
                let (a, b) = (rep(&x), rep(&y));
                let pair = FactorPair::new(a.factors().unwrap(), b.factors().unwrap());
                assert!((found.angular - shape_angular(&pair, alpha).unwrap()).abs() < 1e-9);
                assert!((found.euclidean - shape_euclidean(&pair, alpha).unwrap()).abs() < 1e-9);
            }
        }
    }

    #[test]
    fn a_rotation_is_found_again_on_other_rows() {
        let x = noise(60, 6, 40);
        let (rotation, _) = thin_qr(noise(6, 6, 41).as_ref());
        let y = &x * &rotation;
        let alignment = ShapeAlignment::fit(x.get(..40, ..), y.get(..40, ..), 1.0).unwrap();
        let found = alignment.score(x.get(40.., ..), y.get(40.., ..)).unwrap();
        assert!(found.angular < 1e-12 && found.euclidean < 1e-12, "{found:?}");
        // By its definition: test rows less the training means, turned by the training rotation.
        let off = noise(60, 6, 42);
        let y = &x * &rotation + 0.5 * &off;
        let alignment = ShapeAlignment::fit(x.get(..40, ..), y.get(..40, ..), 1.0).unwrap();
        let centred = |z: &Mat<f64>| {
            let means = stereotax_base::linalg::column_means(z.get(..40, ..));
            let mut z = z.clone();
            stereotax_base::linalg::centre_columns(z.as_mut(), &means);
            z
        };
        let (a, b) = (centred(&x), centred(&y));
        let turn =
            stereotax_base::linalg::orthogonal_factor(cross(a.get(..40, ..), b.get(..40, ..)).as_ref())
                .unwrap();
        let turned = product(a.get(40.., ..), turn.as_ref());
        let expected = (&turned - b.get(40.., ..)).norm_l2();
        let found = alignment.score(x.get(40.., ..), y.get(40.., ..)).unwrap();
        assert!((found.euclidean - expected).abs() < 1e-12);
    }

    #[test]
    fn what_cannot_be_scored_is_refused() {
        let (x, y) = (noise(12, 3, 60), noise(12, 4, 61));
        let alignment = ShapeAlignment::fit(x.as_ref(), y.as_ref(), 1.0).unwrap();
        assert!(alignment.score(y.as_ref(), x.as_ref()).unwrap_err().to_string().contains("3 units"));
        assert!(ShapeAlignment::fit(x.as_ref(), y.get(..5, ..), 1.0).is_err());
        assert!(ShapeAlignment::fit(x.as_ref(), y.as_ref(), -0.1).is_err());
        assert!(cross_validated_cca(&rep(&x), &rep(&y), &[], &SvccaParams::default()).is_err());
        assert!(cross_validated_shape(&rep(&x), &rep(&y), &interleaved_folds(12, 6), 1.0).is_err());
        assert_eq!((default_folds(100), default_folds(8), default_folds(5)), (5, 2, 0));
        let constant = Mat::full(12, 2, 3.0);
        let folds = interleaved_folds(12, 3);
        assert!(cross_validated_shape(&rep(&x), &rep(&constant), &folds, 1.0).unwrap().cosine.is_nan());
    }
}
