//! The measures that compare two representations, and what each of them promises, as data.
//!
//! A measure takes a [`Pair`] and gives one number. What it declares (range, direction, symmetry, whether it is a
//! metric, which transformations of either side leave it alone, what its interval rests on) is what the tests below
//! hold it to, over random sizes: each invariance that is claimed, and a change under each that is not.
//! docs/reference/measures.md lists the same table; a test compares.
//!
//! Source: specs: peers 1.8 (a registry of names), STYLE C 2. A name means one definition: where two tools use one name
//! for different numbers, the page of the measure says which one this is.

use std::sync::OnceLock;

use super::cca::{SvccaParams, mean_cca, r2_cca, regularised_cca, svcca};
use super::cka::{angular_cka, cka, debiased_cka, weighted_cka, weighted_debiased_cka};
use super::factor_pair::FactorPair;
use super::gulp::{GULP_LAMBDA, gulp};
use super::held_out::{cross_validated_cca, default_folds, interleaved_folds};
use super::neighbours::{default_neighbours, neighbour_overlap};
use super::procrustes::{
    bures_similarity, procrustes_angular, procrustes_euclidean, procrustes_r2, shape_angular,
};
use super::pwcca::weighted_by;
use super::rdm_compare::ranks::{spearman_of_levels, spearman_of_pairs};
use super::representation::{Representation, check_pair};
use super::topology::{cluster_divergence, topology_divergence};
use super::unit_matching::{permutation_match, soft_match};
use stereotax_base::data::{Error, Result};

/// Penalty of `cca_regularised`, in units of the mean squared singular value.
pub const CCA_RIDGE: f64 = 0.1;
/// α of `shape_half`.
const HALF: f64 = 0.5;
const HALF_PI: f64 = std::f64::consts::FRAC_PI_2;

/// What larger values mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// More alike.
    Similarity,
    /// Less alike.
    Distance,
}

/// What a measure is computed from; measures of one kind share it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reduction {
    /// Centred Gram matrices.
    Gram,
    /// Singular vectors and values.
    Factors,
    /// Distances of pairs of stimuli.
    Distances,
    /// Single units: cost grows with the cube of their number.
    Units,
    /// Triangles of stimuli: cost grows faster than the square of their number.
    Triangles,
}

/// What several measures of a pair rest on, computed once for all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shared {
    /// Centred Grams of Gaussian kernels.
    RbfGrams,
    /// The nuclear norm of Procrustes.
    NuclearNorm,
    /// Canonical correlations.
    Correlations,
    /// Canonical directions.
    Directions,
    /// Common nearest neighbours.
    Neighbours,
    /// The soft pairing of units.
    SoftMatch,
}

/// What an interval rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interval {
    /// Draws of stimuli with replacement, copies never counted as pairs of similar stimuli.
    Bootstrap,
    /// Stimuli left out (a fifth at a time): a bootstrap would rest on fewer different stimuli, which raises what is
    /// fitted in sample, and its interval would not hold its own estimate.
    Jackknife,
}

/// Which transformations of either side leave the value alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Invariances {
    /// Rotations and reflections of the units.
    pub orthogonal: bool,
    /// One positive factor for all units.
    pub isotropic_scale: bool,
    /// A constant added to a unit.
    pub translation: bool,
    /// Another order of the units.
    pub permutation: bool,
    /// Any invertible linear map of the units.
    pub invertible_linear: bool,
}

/// One measure and what it promises.
#[derive(Debug, Clone, Copy)]
pub struct Measure {
    /// The name everywhere: command line, Python, results.
    pub id: &'static str,
    /// In words.
    pub summary: &'static str,
    /// Least value.
    pub lowest: f64,
    /// Largest value.
    pub highest: f64,
    /// What larger values mean.
    pub direction: Direction,
    /// Whether both orders of a pair give the same.
    pub symmetric: bool,
    /// Whether the triangle inequality holds (and 0 means equal up to the invariances).
    pub metric: bool,
    /// Value for equal sides; `None` where it depends on the data.
    pub identity: Option<f64>,
    /// What leaves it alone.
    pub invariances: Invariances,
    /// What it is computed from.
    pub reduction: Reduction,
    /// What it has in common with other measures beyond its reduction, if anything.
    pub shares: Option<Shared>,
    /// What its interval rests on.
    pub interval: Interval,
    /// Whether ranks alone force it up where r_x + r_y > n − 1.
    pub saturates: bool,
    /// Key of references.bib.
    pub source: &'static str,
    evaluate: fn(&Pair<'_>) -> Result<f64>,
    weighted: Option<fn(&Pair<'_>, &[f64]) -> f64>,
}

/// Two representations of the same stimuli, and what their comparisons share.
#[derive(Debug)]
pub struct Pair<'a> {
    /// The first side.
    pub x: &'a Representation<'a>,
    /// The second side.
    pub y: &'a Representation<'a>,
    factors: OnceLock<Result<FactorPair<'a>>>,
    neighbours: OnceLock<super::neighbours::NeighbourOverlap>,
    soft: OnceLock<super::unit_matching::SoftMatch>,
}

impl<'a> Pair<'a> {
    /// Bring two together.
    ///
    /// Error: different numbers of stimuli.
    pub fn new(x: &'a Representation<'a>, y: &'a Representation<'a>) -> Result<Self> {
        check_pair(x, y)?;
        Ok(Pair { x, y, factors: OnceLock::new(), neighbours: OnceLock::new(), soft: OnceLock::new() })
    }

    /// Singular vectors and values of both, and their products.
    pub fn factors(&self) -> Result<&FactorPair<'a>> {
        let made = self.factors.get_or_init(|| Ok(FactorPair::new(self.x.factors()?, self.y.factors()?)));
        made.as_ref().map_err(Clone::clone)
    }

    fn neighbours(&self) -> super::neighbours::NeighbourOverlap {
        let k = default_neighbours(self.x.n_stimuli());
        *self.neighbours.get_or_init(|| neighbour_overlap(self.x, self.y, k))
    }

    /// Compute what measures share, so that none of them waits for another one.
    ///
    /// Error: a decomposition that does not converge.
    pub(super) fn prepare(&self, what: Shared) -> Result<()> {
        match what {
            Shared::RbfGrams => {
                self.x.rbf_gram();
                self.y.rbf_gram();
            }
            Shared::NuclearNorm => return self.factors()?.nuclear_norm().map(|_| ()),
            Shared::Correlations => return self.factors()?.correlations().map(|_| ()),
            Shared::Directions => return self.factors()?.directions().map(|_| ()),
            Shared::Neighbours => {
                self.neighbours();
            }
            Shared::SoftMatch => {
                self.soft();
            }
        }
        Ok(())
    }

    fn soft(&self) -> &super::unit_matching::SoftMatch {
        self.soft.get_or_init(|| soft_match(self.x, self.y))
    }
}

impl Measure {
    /// The value of a pair; NaN where it is undefined.
    ///
    /// Error: a decomposition that does not converge.
    pub fn of(&self, pair: &Pair<'_>) -> Result<f64> {
        (self.evaluate)(pair)
    }

    /// The value with multiplicities of stimuli; `None` for measures whose interval is no bootstrap.
    pub fn weighted(&self, pair: &Pair<'_>, weights: &[f64]) -> Option<f64> {
        self.weighted.map(|of| of(pair, weights))
    }

    /// Whether it rests on Grams or factors, and not on pairs of units or ranks of distances.
    pub fn is_linear_algebra(&self) -> bool {
        matches!(self.reduction, Reduction::Gram | Reduction::Factors)
    }
}

/// The measure of that id.
///
/// Error: no such measure; the message names the nearest ones.
pub fn measure(id: &str) -> Result<&'static Measure> {
    MEASURES.iter().find(|measure| measure.id == id).ok_or_else(|| {
        let ids: Vec<&str> = MEASURES.iter().map(|measure| measure.id).collect();
        Error::Invalid {
            what: "measure".into(),
            expected: format!("one of {}", ids.join(", ")),
            found: format!("`{id}`"),
            hint: "`all` takes every measure".into(),
        }
    })
}

/// With more units than this on a side, `all` leaves out measures that pair units: their cost grows with its cube.
pub const MOST_UNITS: usize = 1000;
/// With more stimuli than this, `all` leaves out measures of triangles of stimuli.
pub const MOST_STIMULI: usize = 500;

/// The measures that words stand for, each once, in the order of the words: ids, `all`, or the beginning of ids before a
/// star (`cka_*`). `n_units` is the larger number of units of a pair; see [`MOST_UNITS`] and [`MOST_STIMULI`].
///
/// Errors: no word; one that stands for nothing.
pub fn select<S: AsRef<str>>(words: &[S], n_stimuli: usize, n_units: usize) -> Result<Vec<&'static Measure>> {
    let mut chosen: Vec<&'static Measure> = Vec::new();
    for word in words {
        let word = word.as_ref().trim();
        let matching: Vec<&'static Measure> = if word == "all" {
            let affordable = |m: &&Measure| match m.reduction {
                Reduction::Units => n_units <= MOST_UNITS,
                Reduction::Triangles => n_stimuli <= MOST_STIMULI,
                _ => true,
            };
            MEASURES.iter().filter(affordable).collect()
        } else if let Some(beginning) = word.strip_suffix('*') {
            MEASURES.iter().filter(|m| m.id.starts_with(beginning)).collect()
        } else {
            vec![measure(word)?]
        };
        if matching.is_empty() {
            // A star that stands for nothing gets the same message as an unknown id.
            measure(word)?;
        }
        for found in matching {
            if chosen.iter().all(|other| other.id != found.id) {
                chosen.push(found);
            }
        }
    }
    if chosen.is_empty() {
        measure("")?;
    }
    Ok(chosen)
}

const ROTATION: Invariances = Invariances {
    orthogonal: true,
    isotropic_scale: true,
    translation: true,
    permutation: true,
    invertible_linear: false,
};
const LINEAR: Invariances = Invariances { invertible_linear: true, ..ROTATION };
const IN_UNITS: Invariances = Invariances { isotropic_scale: false, ..ROTATION };
const TUNING: Invariances = Invariances { orthogonal: false, ..ROTATION };

/// What most measures have in common.
const BASE: Measure = Measure {
    id: "",
    summary: "",
    lowest: 0.0,
    highest: 1.0,
    direction: Direction::Similarity,
    symmetric: true,
    metric: false,
    identity: Some(1.0),
    invariances: ROTATION,
    reduction: Reduction::Factors,
    shares: None,
    interval: Interval::Jackknife,
    saturates: false,
    source: "kornblith2019",
    evaluate: |_| Ok(f64::NAN),
    weighted: None,
};
const GRAM: Measure = Measure { reduction: Reduction::Gram, interval: Interval::Bootstrap, ..BASE };
const DISTANCE: Measure =
    Measure { direction: Direction::Distance, identity: Some(0.0), metric: true, ..BASE };

/// Every measure, in the order in which tables list them.
pub const MEASURES: &[Measure] = &[
    Measure {
        id: "cka_debiased",
        summary: "linear CKA without the bias of finite samples; chance level 0",
        lowest: -1.0,
        evaluate: |p| Ok(debiased_cka(p.x.gram(), p.y.gram())),
        weighted: Some(|p, w| weighted_debiased_cka(p.x.gram(), p.y.gram(), w)),
        ..GRAM
    },
    Measure {
        id: "cka_linear",
        summary: "linear CKA, plain: grows with units over stimuli",
        evaluate: |p| Ok(cka(p.x.gram(), p.y.gram())),
        weighted: Some(|p, w| weighted_cka(p.x.gram(), p.y.gram(), w)),
        ..GRAM
    },
    Measure {
        id: "cka_angular",
        summary: "angle between centred Grams, arccos of cka_linear",
        highest: HALF_PI,
        evaluate: |p| Ok(angular_cka(p.x.gram(), p.y.gram())),
        weighted: Some(|p, w| weighted_cka(p.x.gram(), p.y.gram(), w).acos()),
        direction: Direction::Distance,
        identity: Some(0.0),
        metric: true,
        ..GRAM
    },
    Measure {
        id: "cka_rbf",
        summary: "CKA of Gaussian kernels, width 0.8 times the median distance, plain",
        shares: Some(Shared::RbfGrams),
        evaluate: |p| Ok(cka(p.x.rbf_gram(), p.y.rbf_gram())),
        weighted: Some(|p, w| weighted_cka(p.x.rbf_gram(), p.y.rbf_gram(), w)),
        ..GRAM
    },
    Measure {
        id: "cka_rbf_debiased",
        summary: "CKA of Gaussian kernels, debiased",
        lowest: -1.0,
        shares: Some(Shared::RbfGrams),
        evaluate: |p| Ok(debiased_cka(p.x.rbf_gram(), p.y.rbf_gram())),
        weighted: Some(|p, w| weighted_debiased_cka(p.x.rbf_gram(), p.y.rbf_gram(), w)),
        ..GRAM
    },
    Measure {
        id: "procrustes_angular",
        summary: "angle after the best rotation",
        highest: HALF_PI,
        shares: Some(Shared::NuclearNorm),
        evaluate: |p| procrustes_angular(p.factors()?),
        source: "williams2021",
        ..DISTANCE
    },
    Measure {
        id: "procrustes_euclidean",
        summary: "distance after the best rotation, in the unit of the data; the Bures distance of the Grams",
        highest: f64::INFINITY,
        invariances: IN_UNITS,
        shares: Some(Shared::NuclearNorm),
        evaluate: |p| procrustes_euclidean(p.factors()?),
        source: "williams2021",
        ..DISTANCE
    },
    Measure {
        id: "procrustes_r2",
        summary: "squared cosine after the best rotation: 1 − disparity",
        shares: Some(Shared::NuclearNorm),
        evaluate: |p| procrustes_r2(p.factors()?),
        source: "williams2021",
        ..BASE
    },
    Measure {
        id: "bures_similarity",
        summary: "cosine after the best rotation: normalised Bures similarity of the Grams",
        shares: Some(Shared::NuclearNorm),
        evaluate: |p| bures_similarity(p.factors()?),
        source: "williams2021",
        ..BASE
    },
    Measure {
        id: "shape_whitened",
        summary: "angle of fully whitened sides (α = 0), as CCA sees them",
        highest: HALF_PI,
        invariances: LINEAR,
        saturates: true,
        shares: Some(Shared::Correlations),
        evaluate: |p| shape_angular(p.factors()?, 0.0),
        source: "williams2021",
        ..DISTANCE
    },
    Measure {
        id: "shape_half",
        summary: "angle of half-whitened sides (α = 0.5); depends on the unit of the data",
        highest: HALF_PI,
        invariances: IN_UNITS,
        evaluate: |p| shape_angular(p.factors()?, HALF),
        source: "williams2021",
        ..DISTANCE
    },
    Measure {
        id: "cca_mean",
        summary: "mean canonical correlation",
        invariances: LINEAR,
        saturates: true,
        shares: Some(Shared::Correlations),
        evaluate: |p| mean_cca(p.factors()?),
        source: "raghu2017",
        ..BASE
    },
    Measure {
        id: "cca_r2",
        summary: "mean squared canonical correlation",
        invariances: LINEAR,
        saturates: true,
        shares: Some(Shared::Correlations),
        evaluate: |p| r2_cca(p.factors()?),
        source: "raghu2017",
        ..BASE
    },
    Measure {
        id: "svcca",
        summary: "mean canonical correlation of the directions that hold 99 % of the variance",
        saturates: true,
        evaluate: |p| Ok(svcca(p.factors()?, &SvccaParams::default())?.value),
        source: "raghu2017",
        ..BASE
    },
    Measure {
        id: "pwcca",
        summary: "canonical correlations weighted by their projection on the units of the first side",
        symmetric: false,
        invariances: TUNING,
        saturates: true,
        shares: Some(Shared::Directions),
        evaluate: |p| weighted_by(p.x, p.factors()?, true),
        source: "morcos2018",
        ..BASE
    },
    Measure {
        id: "pwcca_reverse",
        summary: "likewise, weighted by the units of the second side",
        symmetric: false,
        invariances: TUNING,
        saturates: true,
        shares: Some(Shared::Directions),
        evaluate: |p| weighted_by(p.y, p.factors()?, false),
        source: "morcos2018",
        ..BASE
    },
    Measure {
        id: "cca_regularised",
        summary: "mean of canonical correlations with a penalty of 0.1 of the mean variance of a direction",
        identity: None,
        evaluate: |p| regularised_cca(p.factors()?, CCA_RIDGE),
        source: "raghu2017",
        ..BASE
    },
    Measure {
        id: "cca_cross_validated",
        summary: "mean correlation of canonical variates on held-out stimuli (5 interleaved folds, 99 % of the variance)",
        lowest: -1.0,
        evaluate: |p| {
            let n_folds = default_folds(p.x.n_stimuli());
            if n_folds == 0 {
                return Ok(f64::NAN);
            }
            let folds = interleaved_folds(p.x.n_stimuli(), n_folds);
            cross_validated_cca(p.x, p.y, &folds, &SvccaParams::default())
        },
        source: "raghu2017",
        ..BASE
    },
    Measure {
        id: "gulp",
        summary: "difference of ridge predictions from either side, λ = 0.01 of the energy",
        highest: f64::INFINITY,
        evaluate: |p| gulp(p.factors()?, GULP_LAMBDA),
        source: "boixadsera2022",
        ..DISTANCE
    },
    Measure {
        id: "rsa_spearman",
        summary: "Spearman correlation of correlation distances between patterns",
        lowest: -1.0,
        invariances: Invariances { orthogonal: false, translation: false, ..ROTATION },
        reduction: Reduction::Distances,
        interval: Interval::Bootstrap,
        evaluate: |p| Ok(correlation_distances_agree(p, None)),
        weighted: Some(|p, w| correlation_distances_agree(p, Some(w))),
        source: "kriegeskorte2008",
        ..BASE
    },
    Measure {
        id: "rsa_euclidean",
        summary: "Spearman correlation of Euclidean distances between patterns",
        lowest: -1.0,
        reduction: Reduction::Distances,
        interval: Interval::Bootstrap,
        evaluate: |p| Ok(distances_agree(p, None)),
        weighted: Some(|p, w| distances_agree(p, Some(w))),
        source: "kriegeskorte2008",
        ..BASE
    },
    Measure {
        id: "knn_overlap",
        summary: "share of common nearest neighbours (10 of them)",
        reduction: Reduction::Distances,
        shares: Some(Shared::Neighbours),
        evaluate: |p| Ok(p.neighbours().overlap),
        source: "klabunde2025",
        ..BASE
    },
    Measure {
        id: "knn_jaccard",
        summary: "common over all nearest neighbours (10 of them)",
        reduction: Reduction::Distances,
        shares: Some(Shared::Neighbours),
        evaluate: |p| Ok(p.neighbours().jaccard),
        source: "klabunde2025",
        ..BASE
    },
    Measure {
        id: "knn_ranks",
        summary: "agreement of the order of common nearest neighbours (10 of them), near ones first",
        reduction: Reduction::Distances,
        shares: Some(Shared::Neighbours),
        evaluate: |p| Ok(p.neighbours().ranks),
        source: "klabunde2025",
        ..BASE
    },
    Measure {
        id: "rtd_0",
        summary: "topology divergence of dimension 0: how differently stimuli connect as the scale grows",
        highest: f64::INFINITY,
        metric: false,
        reduction: Reduction::Distances,
        evaluate: |p| Ok(cluster_divergence(p.x.n_stimuli(), p.x.distances(), p.y.distances())),
        source: "barannikov2022",
        ..DISTANCE
    },
    Measure {
        id: "rtd_1",
        summary: "topology divergence: how differently stimuli connect and make loops as the scale grows",
        highest: f64::INFINITY,
        metric: false,
        reduction: Reduction::Triangles,
        evaluate: |p| topology_divergence(p.x.n_stimuli(), p.x.distances(), p.y.distances()),
        source: "barannikov2022",
        ..DISTANCE
    },
    Measure {
        id: "permutation_angular",
        summary: "angle after the best pairing of units",
        highest: std::f64::consts::PI,
        invariances: TUNING,
        reduction: Reduction::Units,
        evaluate: |p| Ok(permutation_match(p.x, p.y).angular),
        source: "williams2021",
        ..DISTANCE
    },
    Measure {
        id: "soft_matching_distance",
        summary: "distance after the best soft pairing of units, both sides at unit energy",
        highest: 2.0,
        invariances: TUNING,
        reduction: Reduction::Units,
        shares: Some(Shared::SoftMatch),
        evaluate: |p| Ok(p.soft().distance),
        source: "khosla2024",
        ..DISTANCE
    },
    Measure {
        id: "soft_matching_correlation",
        summary: "mean correlation of softly paired units",
        lowest: -1.0,
        invariances: TUNING,
        reduction: Reduction::Units,
        shares: Some(Shared::SoftMatch),
        evaluate: |p| Ok(p.soft().correlation),
        source: "khosla2024",
        ..BASE
    },
];

/// Rank correlation of Euclidean distances, sorted once for all draws.
fn distances_agree(p: &Pair<'_>, weights: Option<&[f64]>) -> f64 {
    let found = match (p.x.distance_levels(), p.y.distance_levels()) {
        (Some(x), Some(y)) => spearman_of_levels(x, y, weights),
        _ => spearman_of_pairs(p.x.distances(), p.y.distances(), weights),
    };
    found.unwrap_or(f64::NAN)
}

/// Rank correlation of correlation distances, likewise; pairs that a side leaves undefined are left out.
fn correlation_distances_agree(p: &Pair<'_>, weights: Option<&[f64]>) -> f64 {
    let found = match (p.x.correlation_levels(), p.y.correlation_levels()) {
        (Some(x), Some(y)) => spearman_of_levels(x, y, weights),
        _ => spearman_of_pairs(p.x.correlation_distances(), p.y.correlation_distances(), weights),
    };
    found.unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use faer::Mat;
    use stereotax_base::data::Precision;
    use stereotax_base::linalg::thin_qr;
    use stereotax_base::stats::rng::Stream;

    fn noise(n: usize, p: usize, index: u64) -> Mat<f64> {
        let mut stream = Stream::new(16, "measure tests", index);
        Mat::from_fn(n, p, |_, _| stream.normal())
    }

    /// Related representations with unequal variances and a mean: nothing about them is special.
    fn related(n: usize, p: usize, index: u64) -> Mat<f64> {
        let (shared, mixing, own) = (noise(n, 3, 900 + n as u64), noise(3, p, index), noise(n, p, index + 1));
        let sizes = noise(1, p, index + 2);
        Mat::from_fn(n, p, |i, j| {
            let signal: f64 = (0..3).map(|k| shared[(i, k)] * mixing[(k, j)]).sum();
            (0.5 + sizes[(0, j)].abs()) * (signal + 0.7 * own[(i, j)]) + sizes[(0, j)]
        })
    }

    fn value(measure: &Measure, x: &Mat<f64>, y: &Mat<f64>) -> f64 {
        let [a, b] = [x, y].map(|x| Representation::new("x", x.as_ref()).unwrap());
        measure.of(&Pair::new(&a, &b).unwrap()).unwrap()
    }

    /// Both shapes: more stimuli than units, and fewer.
    const SIZES: [(usize, usize, usize); 4] = [(40, 6, 9), (33, 7, 7), (24, 5, 40), (20, 30, 25)];

    #[test]
    fn ids_are_unique_and_ranges_make_sense() {
        for (at, measure) in MEASURES.iter().enumerate() {
            assert!(MEASURES[..at].iter().all(|other| other.id != measure.id));
            assert!(measure.lowest < measure.highest && !measure.summary.is_empty());
            assert!(measure.identity.is_none_or(|v| v >= measure.lowest && v <= measure.highest));
            assert_eq!(measure.weighted.is_some(), measure.interval == Interval::Bootstrap, "{}", measure.id);
            assert!(!measure.metric || measure.direction == Direction::Distance);
            assert!(super::measure(measure.id).is_ok());
        }
        let message = measure("cka").unwrap_err().to_string();
        assert!(message.contains("cka_linear") && message.contains("`cka`"));
    }

    #[test]
    fn words_stand_for_measures() {
        let ids = |words: &[&str], n| select(words, 20, n).unwrap().iter().map(|m| m.id).collect::<Vec<_>>();
        assert_eq!(ids(&["svcca", "cka_r*", "svcca"], 9), ["svcca", "cka_rbf", "cka_rbf_debiased"]);
        assert_eq!(ids(&["all"], 10).len(), MEASURES.len());
        assert!(!ids(&["all"], 1001).contains(&"permutation_angular"));
        assert!(ids(&["permutation_*"], 1001).contains(&"permutation_angular"));
        let many = select(&["all"], 501, 9).unwrap();
        assert!(many.len() == MEASURES.len() - 1 && many.iter().all(|m| m.id != "rtd_1"));
        assert_eq!(select(&["rtd_*"], 501, 9).unwrap().len(), 2);
        assert!(select(&["nothing*"], 9, 9).is_err() && select::<&str>(&[], 9, 9).is_err());
    }

    #[test]
    fn equal_sides_have_the_identity_value_and_all_values_their_range() {
        for (case, &(n, p, q)) in SIZES.iter().enumerate() {
            let (x, y) = (related(n, p, 10 * case as u64), related(n, q, 10 * case as u64 + 5));
            let independent = noise(n, q, 70 + case as u64);
            for measure in MEASURES {
                if let Some(identity) = measure.identity {
                    let same = value(measure, &x, &x);
                    let size = if measure.highest.is_infinite() { x.norm_l2() } else { 1.0 };
                    assert!((same - identity).abs() < 1e-10 * size, "{}: {same}", measure.id);
                }
                for other in [&y, &independent] {
                    let found = value(measure, &x, other);
                    assert!(found >= measure.lowest && found <= measure.highest, "{}: {found}", measure.id);
                }
            }
        }
    }

    #[test]
    fn symmetry_is_as_declared() {
        let (x, y) = (related(30, 5, 1), related(30, 8, 2));
        for measure in MEASURES {
            let (there, back) = (value(measure, &x, &y), value(measure, &y, &x));
            let equal = (there - back).abs() < 1e-9 * (1.0 + there.abs());
            assert_eq!(equal, measure.symmetric, "{}: {there} {back}", measure.id);
        }
    }

    #[test]
    fn every_invariance_holds_and_every_other_change_is_seen() {
        let mut seen: Vec<(&str, &str)> = vec![];
        for (case, &(n, p, q)) in SIZES.iter().enumerate() {
            let seed = 1000 + 100 * case as u64;
            let (x, y) = (related(n, p, seed), related(n, q, seed + 5));
            let rotation = |size: usize, index: u64| thin_qr(noise(size, size, seed + index).as_ref()).0;
            let linear = |size: usize, index: u64| {
                // Well conditioned: singular values between 0.4 and 2.5.
                let (a, b) = (rotation(size, index), rotation(size, index + 1));
                let scale = |k: usize| 0.4 * 6.25f64.powf(k as f64 / (size as f64 - 1.0));
                let scaled = Mat::from_fn(size, size, |i, k| a[(i, k)] * scale(k));
                &scaled * &b
            };
            let shuffled = |x: &Mat<f64>| {
                let order = Stream::new(3, "units", x.ncols() as u64).permutation(x.ncols());
                Mat::from_fn(x.nrows(), x.ncols(), |i, j| x[(i, order[j])])
            };
            let shifts = noise(1, p.max(q), seed + 20);
            let shifted =
                |x: &Mat<f64>| Mat::from_fn(x.nrows(), x.ncols(), |i, j| x[(i, j)] + 3.0 * shifts[(0, j)]);
            let scaled = |x: &Mat<f64>, by: f64| Mat::from_fn(x.nrows(), x.ncols(), |i, j| by * x[(i, j)]);
            let changed: [(&str, Mat<f64>, Mat<f64>); 5] = [
                ("orthogonal", &x * rotation(p, 30), &y * rotation(q, 31)),
                ("isotropic_scale", scaled(&x, 2.5), scaled(&y, 0.3)),
                ("translation", shifted(&x), shifted(&y)),
                ("permutation", shuffled(&x), shuffled(&y)),
                ("invertible_linear", &x * linear(p, 40), &y * linear(q, 44)),
            ];
            // With as many units as stimuli whitened sides are alike whatever they hold.
            let saturated = p.min(n - 1) + q.min(n - 1) > n - 1;
            for measure in MEASURES {
                let before = value(measure, &x, &y);
                let i = measure.invariances;
                let claims =
                    [i.orthogonal, i.isotropic_scale, i.translation, i.permutation, i.invertible_linear];
                for ((name, x, y), claimed) in changed.iter().zip(claims) {
                    let after = value(measure, x, y);
                    let off = (after - before).abs() / (1.0 + before.abs());
                    if claimed {
                        assert!(off < 1e-8, "{} {name} {n} {p} {q}: {before} {after}", measure.id);
                    } else if !(saturated && measure.saturates) && off > 1e-5 {
                        seen.push((measure.id, *name));
                    }
                }
            }
        }
        for measure in MEASURES {
            let i = measure.invariances;
            for (name, claimed) in [
                ("orthogonal", i.orthogonal),
                ("isotropic_scale", i.isotropic_scale),
                ("translation", i.translation),
                ("permutation", i.permutation),
                ("invertible_linear", i.invertible_linear),
            ] {
                // In one size at least: what counts neighbours may stay the same by chance.
                assert!(claimed || seen.contains(&(measure.id, name)), "{} {name}", measure.id);
            }
        }
    }

    #[test]
    fn metrics_obey_the_triangle_inequality() {
        for case in 0..6u64 {
            let n = 12 + 5 * case as usize;
            let widths = [3 + case as usize, 6, 20];
            let points: Vec<Mat<f64>> = (0..3)
                .map(|i| {
                    let (a, b) = (related(n, widths[i], 2000 + 50 * case), noise(n, widths[i], 2010 + case));
                    if i == 1 { &a + 0.3 * &b } else { a }
                })
                .collect();
            for measure in MEASURES.iter().filter(|m| m.metric) {
                let d = |i: usize, j: usize| value(measure, &points[i], &points[j]);
                for (i, j, k) in [(0, 1, 2), (1, 2, 0), (2, 0, 1)] {
                    assert!(d(i, k) <= d(i, j) + d(j, k) + 1e-9, "{}", measure.id);
                }
            }
        }
    }

    #[test]
    fn single_precision_and_strides_give_the_same() {
        let (x, y) = (related(26, 8, 3000), related(26, 11, 3010));
        let rounded = |x: &Mat<f64>| Mat::from_fn(x.nrows(), x.ncols(), |i, j| f64::from(x[(i, j)] as f32));
        let (x, y) = (rounded(&x), rounded(&y));
        let single = |x: &Mat<f64>| Mat::from_fn(x.nrows(), x.ncols(), |i, j| x[(i, j)] as f32);
        let (sx, sy) = (single(&x), single(&y));
        let spread = |x: &Mat<f64>| {
            Mat::from_fn(2 * x.nrows(), 3 * x.ncols(), |i, j| {
                if i % 2 == 0 && j % 3 == 0 { x[(i / 2, j / 3)] } else { f64::NAN }
            })
        };
        let (wx, wy) = (spread(&x), spread(&y));
        // SAFETY: every second row and third column of a matrix that has twice and thrice as many.
        let view = |w: &Mat<f64>, p: usize| unsafe {
            faer::MatRef::from_raw_parts(w.as_ptr(), 26, p, 2, 3 * w.col_stride())
        };
        for measure in MEASURES {
            let plain = value(measure, &x, &y);
            let (a, b) = (
                Representation::from_single("x", sx.as_ref()).unwrap(),
                Representation::from_single("y", sy.as_ref()).unwrap(),
            );
            let of_single = measure.of(&Pair::new(&a, &b).unwrap()).unwrap();
            assert!((of_single - plain).abs() < 1e-10 * (1.0 + plain.abs()), "{}", measure.id);
            let (a, b) = (
                Representation::new("x", view(&wx, 8)).unwrap(),
                Representation::new("y", view(&wy, 11)).unwrap(),
            );
            let strided = measure.of(&Pair::new(&a, &b).unwrap()).unwrap();
            assert!((strided - plain).abs() < 1e-12 * (1.0 + plain.abs()), "{}", measure.id);
        }
    }

    #[test]
    fn constants_are_undefined_and_constant_units_are_fine() {
        let x = related(24, 6, 4000);
        let constant = Mat::full(24, 3, 0.1);
        let with_constant =
            Mat::from_fn(24, 7, |i, j| if j < 6 { related(24, 6, 4010)[(i, j)] } else { 7.0 });
        for measure in MEASURES {
            assert!(value(measure, &x, &constant).is_nan(), "{}", measure.id);
            assert!(value(measure, &constant, &x).is_nan(), "{}", measure.id);
            assert!(value(measure, &x, &with_constant).is_finite(), "{}", measure.id);
        }
        // So few stimuli that nothing can be said is undefined, and no error.
        for n in [2, 3, 4] {
            let (x, y) = (noise(n, 5, 4020), noise(n, 4, 4030));
            for measure in MEASURES {
                let found = value(measure, &x, &y);
                assert!(found.is_nan() || found <= measure.highest, "{} {n} {found}", measure.id);
            }
        }
    }

    #[test]
    fn weights_of_one_and_permuted_stimuli_agree_with_the_plain_value() {
        let (x, y) = (related(22, 6, 5000), related(22, 30, 5010));
        let [a, b] = [&x, &y].map(|x| Representation::new("x", x.as_ref()).unwrap());
        let pair = Pair::new(&a, &b).unwrap();
        let order = Stream::new(4, "stimuli", 0).permutation(22);
        let ones = vec![1.0; 22];
        for measure in MEASURES {
            let plain = measure.of(&pair).unwrap();
            if let Some(weighted) = measure.weighted(&pair, &ones) {
                assert!((weighted - plain).abs() < 1e-7, "{}: {weighted} {plain}", measure.id);
            }
            // Both sides in another order: the same pair (folds follow the order).
            if measure.id != "cca_cross_validated" {
                let (px, py) = (a.permuted(&order), b.permuted(&order));
                let moved = measure.of(&Pair::new(&px, &py).unwrap()).unwrap();
                assert!((moved - plain).abs() < 1e-9 * (1.0 + plain), "{}: {moved} {plain}", measure.id);
            }
        }
        assert_eq!(a.precision(), Precision::F64);
    }

    #[test]
    fn the_reference_page_lists_these_measures() {
        let page = include_str!("../../../docs/reference/measures.md");
        let listed: Vec<&str> = page
            .lines()
            .filter_map(|line| line.strip_prefix("| `"))
            .filter_map(|line| line.split('`').next())
            .collect();
        let ids: Vec<&str> = MEASURES.iter().map(|measure| measure.id).collect();
        assert_eq!(listed, ids, "docs/reference/measures.md");
        for (line, measure) in page.lines().filter(|line| line.starts_with("| `")).zip(MEASURES) {
            assert!(line.contains(measure.summary), "the summary of `{}`", measure.id);
        }
    }
}
