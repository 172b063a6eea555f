//! Fit a classifier on some samples and tell the classes of others.
//!
//! Scores are log-probabilities up to a constant (logistic regression, discriminant), correlations, or shares of
//! votes; the class with the highest score is taken, the first in the order of names among equals. Where features
//! outnumber training samples, linear classifiers are fitted in the span of these: penalties do not change under
//! rotation, so that the optimum lies there and is the same (specs: encoding-manifolds 4.3).

use faer::{Mat, MatRef};

use super::discriminant::{self, Shrinkage};
use super::logistic::{self, LogisticParams};
use super::{correlation, neighbours};
use stereotax_base::data::{Error, Labels, Result};
use stereotax_base::linalg::{product, svd};
use stereotax_base::stats::summary::{check_finite, is_constant, mean};

/// How classes are told apart.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Classifier {
    /// Multinomial logistic regression with an L2 penalty.
    Logistic(LogisticParams),
    /// The k nearest samples vote.
    Neighbours(usize),
    /// The class mean of highest correlation.
    MaximumCorrelation,
    /// Linear discriminant analysis.
    Discriminant(Shrinkage),
}

impl Default for Classifier {
    fn default() -> Self {
        Classifier::Logistic(LogisticParams::default())
    }
}

/// What is done to features before, by the training samples only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FeatureScaling {
    /// Nothing (the default).
    #[default]
    None,
    /// Mean 0 and variance 1 (divisor n); features that do not vary become 0.
    ZScore,
}

/// Weights (features × classes) and intercepts of a linear classifier.
#[derive(Debug, Clone)]
pub(super) struct Linear {
    pub weights: Mat<f64>,
    pub intercepts: Vec<f64>,
    pub converged: bool,
}

/// Refuse settings without meaning, and more neighbours than there are samples to train on.
pub(super) fn check_settings(classifier: &Classifier, n_train: usize, of: &str) -> Result<()> {
    let invalid = |what: &str, expected: String, found: String, hint: &str| {
        Err(Error::Invalid { what: what.into(), expected, found, hint: hint.into() })
    };
    match *classifier {
        Classifier::Logistic(p) if !(p.c > 0.0 && p.c.is_finite()) => {
            invalid("c", "a number above 0".into(), p.c.to_string(), "1 is customary")
        }
        Classifier::Logistic(p) if !(p.tolerance > 0.0) || p.max_iterations == 0 => invalid(
            "tolerance",
            "a number above 0, and at least 1 step".into(),
            format!("{} and {} steps", p.tolerance, p.max_iterations),
            "1e-8 and 2000 are the defaults",
        ),
        Classifier::Neighbours(k) if k == 0 || k > n_train => invalid(
            "k",
            format!("from 1 to {n_train} neighbours (the training samples{of})"),
            k.to_string(),
            "ask for fewer neighbours, or for more folds",
        ),
        Classifier::Discriminant(Shrinkage::Fixed(g)) if !(0.0..=1.0).contains(&g) => {
            invalid("shrinkage", "a number from 0 to 1".into(), g.to_string(), "\"auto\" estimates it")
        }
        _ => Ok(()),
    }
}

/// Where features are moved to, and how many do not vary.
#[derive(Debug, Clone)]
struct Scaler {
    means: Vec<f64>,
    factors: Vec<f64>,
    n_constant: usize,
}

impl Scaler {
    fn new(train: MatRef<f64>, scaling: FeatureScaling) -> Self {
        let (mut means, mut factors, mut n_constant) = (vec![], vec![], 0);
        for f in 0..train.ncols() {
            let values: Vec<f64> = train.col(f).iter().copied().collect();
            let constant = is_constant(&values);
            n_constant += usize::from(constant);
            if scaling == FeatureScaling::None {
                continue;
            }
            let centre = mean(&values);
            let sd = mean(&values.iter().map(|v| (v - centre).powi(2)).collect::<Vec<_>>()).sqrt();
            means.push(centre);
            factors.push(if constant { 0.0 } else { 1.0 / sd });
        }
        Scaler { means, factors, n_constant }
    }

    fn apply(&self, x: MatRef<f64>) -> Mat<f64> {
        if self.means.is_empty() {
            return x.to_owned();
        }
        Mat::from_fn(x.nrows(), x.ncols(), |i, f| (x[(i, f)] - self.means[f]) * self.factors[f])
    }
}

/// Orthonormal columns that span the rows of `x`.
fn span(x: MatRef<f64>) -> Result<Mat<f64>> {
    let found = svd(x)?;
    let cut = f64::EPSILON * x.nrows().max(x.ncols()) as f64 * found.s.first().copied().unwrap_or(0.0);
    let rank = found.s.iter().take_while(|&&s| s > cut).count().max(1);
    Ok(found.v.get(.., ..rank).to_owned())
}

/// Training and other samples with all that does not depend on labels, so that labels can be shuffled.
#[derive(Debug)]
pub(super) struct Machine {
    classifier: Classifier,
    n_features: usize,
    /// Training samples, in coordinates of their span for linear classifiers.
    train: Mat<f64>,
    tests: Vec<Mat<f64>>,
    /// Training samples by distance, of each sample of each test.
    nearest: Vec<Vec<Vec<usize>>>,
    pub n_constant: usize,
}

/// What a machine says.
#[derive(Debug, Clone)]
pub(super) struct Told {
    /// Class of every sample of every test; `None` where no score exists.
    pub classes: Vec<Vec<Option<usize>>>,
    pub converged: bool,
}

impl Machine {
    pub fn new(
        train: MatRef<f64>,
        tests: &[MatRef<f64>],
        classifier: Classifier,
        scaling: FeatureScaling,
    ) -> Result<Self> {
        let scaler = Scaler::new(train, scaling);
        let n_features = train.ncols();
        let mut train = scaler.apply(train);
        let mut tests: Vec<Mat<f64>> = tests.iter().map(|test| scaler.apply(*test)).collect();
        let linear = matches!(classifier, Classifier::Logistic(_) | Classifier::Discriminant(_));
        if linear && n_features > train.nrows() {
            let basis = span(train.as_ref())?;
            train = product(train.as_ref(), basis.as_ref());
            tests = tests.iter().map(|test| product(test.as_ref(), basis.as_ref())).collect();
        }
        let nearest = match classifier {
            Classifier::Neighbours(_) => {
                tests.iter().map(|test| neighbours::order(train.as_ref(), test.as_ref())).collect()
            }
            _ => vec![],
        };
        Ok(Machine { classifier, n_features, train, tests, nearest, n_constant: scaler.n_constant })
    }

    /// Fit on these labels of the training samples and tell the classes of the tests.
    pub fn tell(&self, labels: &[usize], n_classes: usize) -> Result<Told> {
        let (present, y) = compress(labels, n_classes);
        let back = |of: MatRef<f64>| -> Vec<Option<usize>> {
            (0..of.nrows()).map(|i| highest(of, i).map(|k| present[k])).collect()
        };
        if let Classifier::Neighbours(k) = self.classifier {
            let votes = |near: &Vec<Vec<usize>>| neighbours::votes(near, &y, k, present.len());
            let classes = self.nearest.iter().map(|near| back(votes(near).as_ref())).collect();
            return Ok(Told { classes, converged: true });
        }
        let fitted = fit(self.train.as_ref(), &y, present.len(), self.n_features, &self.classifier)?;
        let classes = self.tests.iter().map(|test| back(fitted.scores(test.as_ref()).as_ref())).collect();
        Ok(Told { classes, converged: fitted.converged() })
    }
}

/// The classes that have samples, and labels among these.
fn compress(labels: &[usize], n_classes: usize) -> (Vec<usize>, Vec<usize>) {
    let mut seen = vec![false; n_classes];
    labels.iter().for_each(|&k| seen[k] = true);
    let present: Vec<usize> = (0..n_classes).filter(|&k| seen[k]).collect();
    let y = labels.iter().map(|&k| seen[..k].iter().filter(|&&s| s).count()).collect();
    (present, y)
}

/// The column of the highest score in a row, the first among equals; `None` where there is none.
fn highest(scores: MatRef<f64>, i: usize) -> Option<usize> {
    let mut best: Option<(f64, usize)> = None;
    for k in 0..scores.ncols() {
        let score = scores[(i, k)];
        if !score.is_nan() && best.is_none_or(|(top, _)| score > top) {
            best = Some((score, k));
        }
    }
    best.map(|(_, k)| k)
}

#[derive(Debug, Clone)]
enum Method {
    Linear(Linear),
    Means(Mat<f64>),
    Samples { train: Mat<f64>, y: Vec<usize>, k: usize, n_classes: usize },
}

impl Method {
    fn scores(&self, x: MatRef<f64>) -> Mat<f64> {
        match self {
            Method::Linear(linear) => {
                let mut scores = product(x, linear.weights.as_ref());
                for (k, b) in linear.intercepts.iter().enumerate() {
                    scores.col_mut(k).iter_mut().for_each(|score| *score += b);
                }
                scores
            }
            Method::Means(means) => correlation::scores(means.as_ref(), x),
            Method::Samples { train, y, k, n_classes } => {
                neighbours::votes(&neighbours::order(train.as_ref(), x), y, *k, *n_classes)
            }
        }
    }

    fn converged(&self) -> bool {
        !matches!(self, Method::Linear(linear) if !linear.converged)
    }
}

fn fit(x: MatRef<f64>, y: &[usize], n_classes: usize, n_features: usize, by: &Classifier) -> Result<Method> {
    Ok(match by {
        Classifier::Logistic(params) => Method::Linear(logistic::fit(x, y, n_classes, params)),
        Classifier::Discriminant(shrinkage) => {
            Method::Linear(discriminant::fit(x, y, n_classes, n_features, *shrinkage)?)
        }
        Classifier::MaximumCorrelation => Method::Means(correlation::fit(x, y, n_classes)),
        Classifier::Neighbours(k) => Method::Samples { train: x.to_owned(), y: y.to_vec(), k: *k, n_classes },
    })
}

/// A classifier that was fitted.
#[derive(Debug, Clone)]
pub struct FittedClassifier {
    /// Names of classes, in the order of scores.
    pub classes: Vec<String>,
    /// Whether the optimum was reached.
    pub converged: bool,
    /// Features that do not vary over the training samples.
    pub n_constant: usize,
    n_features: usize,
    scaler: Scaler,
    method: Method,
}

/// Fit on samples (rows) with one label each.
///
/// Errors: numbers of rows and labels that differ, values that are not finite, fewer than two classes, settings
/// without meaning, more neighbours than samples, a discriminant without covariance.
pub fn fit_classifier(
    x: MatRef<f64>,
    labels: &Labels,
    classifier: &Classifier,
    scaling: FeatureScaling,
) -> Result<FittedClassifier> {
    labels.check_for_test("labels", x.nrows())?;
    check_finite("X", x)?;
    check_settings(classifier, x.nrows(), "")?;
    let scaler = Scaler::new(x, scaling);
    let scaled = scaler.apply(x);
    let (n, p, k) = (x.nrows(), x.ncols(), labels.n_groups());
    let linear = matches!(classifier, Classifier::Logistic(_) | Classifier::Discriminant(_));
    let basis = if linear && p > n { Some(span(scaled.as_ref())?) } else { None };
    let coordinates = basis.as_ref().map(|basis| product(scaled.as_ref(), basis.as_ref()));
    let mut method = fit(coordinates.as_ref().unwrap_or(&scaled).as_ref(), labels.codes(), k, p, classifier)?;
    if let (Some(basis), Method::Linear(linear)) = (&basis, &mut method) {
        linear.weights = product(basis.as_ref(), linear.weights.as_ref());
    }
    Ok(FittedClassifier {
        classes: labels.names().to_vec(),
        converged: method.converged(),
        n_constant: scaler.n_constant,
        n_features: p,
        scaler,
        method,
    })
}

impl FittedClassifier {
    /// Score of every class for each sample (samples × classes); NaN where there is none.
    ///
    /// Errors: other numbers of features than in the fit, values that are not finite.
    pub fn scores(&self, x: MatRef<f64>) -> Result<Mat<f64>> {
        if x.ncols() != self.n_features {
            return Err(Error::Shape {
                what: "X".into(),
                expected: format!("{} features (as in the fit)", self.n_features),
                found: format!("{} features", x.ncols()),
                hint: "pass the same units in the same order".into(),
            });
        }
        check_finite("X", x)?;
        Ok(self.method.scores(self.scaler.apply(x).as_ref()))
    }

    /// Place of each sample's class in `classes`; `None` where no score exists.
    pub fn predict(&self, x: MatRef<f64>) -> Result<Vec<Option<usize>>> {
        let scores = self.scores(x)?;
        Ok((0..x.nrows()).map(|i| highest(scores.as_ref(), i)).collect())
    }

    /// Weights (features × classes) and intercepts for features as they come in, of linear classifiers.
    pub fn linear(&self) -> Option<(Mat<f64>, Vec<f64>)> {
        let Method::Linear(linear) = &self.method else { return None };
        if self.scaler.means.is_empty() {
            return Some((linear.weights.clone(), linear.intercepts.clone()));
        }
        let (p, k) = (linear.weights.nrows(), linear.weights.ncols());
        let weights = Mat::from_fn(p, k, |f, j| linear.weights[(f, j)] * self.scaler.factors[f]);
        let moved = |j: usize| (0..p).map(|f| weights[(f, j)] * self.scaler.means[f]).sum::<f64>();
        let intercepts = (0..k).map(|j| linear.intercepts[j] - moved(j)).collect();
        Some((weights, intercepts))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stereotax_base::stats::rng::Stream;

    fn noise(n: usize, p: usize, index: u64) -> (Mat<f64>, Labels) {
        let mut stream = Stream::new(4, "classifier tests", index);
        let x = Mat::from_fn(n, p, |i, f| stream.normal() + if f % 3 == i % 3 { 0.7 } else { 0.0 });
        (x, Labels::new(&(0..n).map(|i| ["a", "b", "c"][i % 3]).collect::<Vec<_>>()))
    }

    #[test]
    fn the_span_of_samples_gives_what_all_features_give() {
        // More features than samples, fitted in the span; and in all features, by rows of zeros that change nothing
        // but the count... of the logistic objective there is none, so the fit itself is called.
        let (x, labels) = noise(12, 40, 0);
        let whole = logistic::fit(x.as_ref(), labels.codes(), 3, &LogisticParams::default());
        let by = Classifier::default();
        let inside = fit_classifier(x.as_ref(), &labels, &by, FeatureScaling::None).unwrap();
        let (weights, intercepts) = inside.linear().unwrap();
        for k in 0..3 {
            assert!((intercepts[k] - whole.intercepts[k]).abs() < 1e-6);
            assert!((0..40).all(|f| (weights[(f, k)] - whole.weights[(f, k)]).abs() < 1e-6));
        }
        let machine = Machine::new(x.as_ref(), &[x.as_ref()], by, FeatureScaling::None).unwrap();
        let told = machine.tell(labels.codes(), 3).unwrap();
        assert_eq!(told.classes[0], inside.predict(x.as_ref()).unwrap());
        let by = Classifier::Discriminant(Shrinkage::Automatic);
        let narrow =
            fit_classifier(x.as_ref(), &labels, &by, FeatureScaling::None).unwrap().linear().unwrap().0;
        let wide =
            discriminant::fit(x.as_ref(), labels.codes(), 3, 40, Shrinkage::Automatic).unwrap().weights;
        assert!((0..40).all(|f| (narrow[(f, 1)] - wide[(f, 1)]).abs() < 1e-9));
    }

    #[test]
    fn neighbours_vote_and_ties_go_to_the_first() {
        let x = Mat::from_fn(4, 1, |i, _| [0.0, 1.0, 3.0, 4.0][i]);
        let labels = Labels::new(&["b", "b", "a", "a"]);
        let told = |k: usize, at: f64| {
            let fitted =
                fit_classifier(x.as_ref(), &labels, &Classifier::Neighbours(k), FeatureScaling::None);
            fitted.unwrap().predict(Mat::full(1, 1, at).as_ref()).unwrap()[0]
        };
        assert_eq!((told(1, 0.2), told(1, 3.2)), (Some(1), Some(0)));
        // At 2 the nearest are 1 and 3 at the same distance: the vote is even, and `a` comes first.
        assert_eq!((told(2, 2.0), told(1, 2.0)), (Some(0), Some(1)));
        let refused = fit_classifier(x.as_ref(), &labels, &Classifier::Neighbours(5), FeatureScaling::None);
        assert!(refused.unwrap_err().to_string().contains("from 1 to 4 neighbours"));
    }

    #[test]
    fn correlation_is_with_class_means_and_none_of_a_constant() {
        let x = Mat::from_fn(2, 3, |i, f| [[1.0, 2.0, 3.0], [3.0, 2.0, 0.0]][i][f]);
        let labels = Labels::new(&["up", "down"]);
        let by = Classifier::MaximumCorrelation;
        let fitted = fit_classifier(x.as_ref(), &labels, &by, FeatureScaling::None).unwrap();
        let new = Mat::from_fn(2, 3, |i, f| if i == 0 { 10.0 * f as f64 } else { 5.0 });
        let scores = fitted.scores(new.as_ref()).unwrap();
        assert!((scores[(0, 1)] - 1.0).abs() < 1e-15 && scores[(1, 0)].is_nan());
        assert_eq!(fitted.predict(new.as_ref()).unwrap(), [Some(1), None]);
    }

    #[test]
    fn scaling_is_that_of_the_training_samples() {
        let (x, labels) = noise(30, 5, 1);
        let moved = Mat::from_fn(30, 5, |i, f| x[(i, f)] * (f as f64 + 1.0) * 10.0 + 3.0);
        for by in [Classifier::Neighbours(3), Classifier::default()] {
            let a = fit_classifier(x.as_ref(), &labels, &by, FeatureScaling::ZScore).unwrap();
            let b = fit_classifier(moved.as_ref(), &labels, &by, FeatureScaling::ZScore).unwrap();
            assert_eq!(a.predict(x.as_ref()).unwrap(), b.predict(moved.as_ref()).unwrap());
        }
        let fitted =
            fit_classifier(moved.as_ref(), &labels, &Classifier::default(), FeatureScaling::ZScore).unwrap();
        let (weights, intercepts) = fitted.linear().unwrap();
        let direct = fitted.scores(moved.as_ref()).unwrap();
        let by_hand: f64 = (0..5).map(|f| moved[(7, f)] * weights[(f, 2)]).sum::<f64>() + intercepts[2];
        assert!((by_hand - direct[(7, 2)]).abs() < 1e-10);
    }
}
