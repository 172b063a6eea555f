//! Ask whether brain areas are best read from layers of their own depth.
//!
//! The rule: areas have a hierarchy score h, brought to [0, 1]. The lowest area reads the layer l₀ that predicts it
//! best, the others
//!
//! ```text
//! layer(area) = round(l₀ + h (L − 1 − l₀))                 halves are rounded up; areas may share a layer
//! ```
//!
//! From held-out scores of every layer for every neuron, per fold (or seed), the readout from each neuron's own layer
//! is compared with the final layer, with the best single layer for all, and with assignments whose areas are
//! permuted. l₀ and the best single layer are chosen on the mean of the other folds, so that no choice is judged by
//! the scores that made it; with one fold they are chosen on it, and `biased` says so. Differences are paired over
//! neurons; p-values of the first two flip their signs, p = (1 + #{null ≥ observed})/(1 + flips), one-sided (own
//! layer better); neurons of one recording share noise, which makes them optimistic. Permuted assignments are all
//! A! orders of the areas' layers that differ from one another, the own one among them: p = share that is at least
//! as good.
//!
//! Source: specs: alignment-methods B7 (anatomically inspired digital twin). Cost: O(folds L neurons + A! A).

use faer::MatRef;
use rayon::prelude::*;

use stereotax_base::data::{Error, Labels, Result};
use stereotax_base::stats::rng::Stream;
use stereotax_base::stats::summary::{mean, permutation_p, tie_tolerance};

/// More areas than this have too many orders to go through.
const MOST_AREAS: usize = 8;

/// The layer of every area by the rule; `hierarchy` in any unit, `n_layers` layers, the lowest area at `lowest_layer`.
///
/// Errors: fewer than 2 areas, scores that are equal or not finite, a layer that is not there.
pub fn assign_layers(hierarchy: &[f64], n_layers: usize, lowest_layer: usize) -> Result<Vec<usize>> {
    let least = hierarchy.iter().copied().fold(f64::INFINITY, f64::min);
    let most = hierarchy.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if hierarchy.len() < 2
        || hierarchy.iter().any(|h| !h.is_finite())
        || !(most > least)
        || lowest_layer >= n_layers
    {
        return Err(Error::Invalid {
            what: "hierarchy, lowest_layer".into(),
            expected: format!("different finite scores of 2 areas or more, and a layer below {n_layers}"),
            found: format!("{hierarchy:?}, {lowest_layer}"),
            hint: "larger scores are higher areas; layers are counted from 0".into(),
        });
    }
    let room = (n_layers - 1 - lowest_layer) as f64;
    let layer = |h: &f64| (lowest_layer as f64 + (h - least) / (most - least) * room + 0.5).floor() as usize;
    Ok(hierarchy.iter().map(|h| layer(h).min(n_layers - 1)).collect())
}

/// The own layer against another choice, paired over neurons.
#[derive(Debug, Clone, PartialEq)]
pub struct Contrast {
    /// Mean of own − other over neurons.
    pub difference: f64,
    /// One-sided, own better; NaN without flips.
    pub p_value: f64,
    /// Mean difference per area.
    pub per_area: Vec<f64>,
}

/// How the rule does.
#[derive(Debug, Clone, PartialEq)]
pub struct AreaLayers {
    /// Names of areas, sorted.
    pub areas: Vec<String>,
    /// Per fold, the layer of each area.
    pub layers: Vec<Vec<usize>>,
    /// Per fold, the best single layer.
    pub single_layers: Vec<usize>,
    /// Mean score of the own layers.
    pub own: f64,
    /// Mean score per area.
    pub own_per_area: Vec<f64>,
    /// Against the last layer.
    pub against_final: Contrast,
    /// Against one layer for all.
    pub against_single: Contrast,
    /// Own − mean of permuted assignments.
    pub against_permuted: f64,
    /// Share of assignments at least as good as the own, itself included.
    pub p_permuted: f64,
    /// Assignments that differ from one another.
    pub n_assignments: usize,
    /// Neurons without a score in some layer or fold, left out.
    pub n_undefined: usize,
    /// Whether choices were judged by the scores that made them (one fold).
    pub biased: bool,
}

/// Compare. `folds` are held-out scores, layers × neurons each; `areas` names the area of every neuron, and
/// `hierarchy` is the score of each area in the sorted order of their names.
///
/// Errors: no folds, shapes that do not match, fewer than 2 or more than 8 areas, scores of areas as in
/// [`assign_layers`], no neuron with all scores in some area.
pub fn area_layers<S: AsRef<str>>(
    folds: &[MatRef<f64>],
    areas: &[S],
    hierarchy: &[f64],
    n_flips: usize,
    seed: u64,
) -> Result<AreaLayers> {
    let labels = Labels::new(areas);
    let n_areas = labels.n_groups();
    let (n_layers, n_neurons) = folds.first().map_or((0, 0), |f| (f.nrows(), f.ncols()));
    let same = folds.iter().all(|f| (f.nrows(), f.ncols()) == (n_layers, n_neurons));
    if !same
        || n_layers == 0
        || areas.len() != n_neurons
        || hierarchy.len() != n_areas
        || n_areas > MOST_AREAS
    {
        return Err(Error::Shape {
            what: "scores, areas, hierarchy".into(),
            expected: format!(
                "layers × neurons per fold, an area per neuron, a score per area, at most {MOST_AREAS} areas"
            ),
            found: format!(
                "{} folds of {n_layers} × {n_neurons}, {} names, {n_areas} areas, {} scores",
                folds.len(),
                areas.len(),
                hierarchy.len()
            ),
            hint: "pass the same neurons in every fold".into(),
        });
    }
    let defined: Vec<usize> =
        (0..n_neurons).filter(|&j| folds.iter().all(|f| f.col(j).iter().all(|v| v.is_finite()))).collect();
    let members = |area: usize| -> Vec<usize> {
        defined.iter().copied().filter(|&j| labels.codes()[j] == area).collect()
    };
    if let Some(empty) = (0..n_areas).find(|&a| members(a).is_empty()) {
        return Err(Error::TooFew {
            what: format!("area `{}`", labels.names()[empty]),
            needed: "1 neuron with a score in every layer and fold".into(),
            found: "none".into(),
            hint: "drop the area, or neurons that do not vary".into(),
        });
    }
    let lowest = (0..n_areas).fold(0, |b, a| if hierarchy[a] < hierarchy[b] { a } else { b });
    let mut own = vec![0.0; n_neurons];
    let (mut last, mut single) = (own.clone(), own.clone());
    let (mut layers, mut single_layers) = (Vec::new(), Vec::new());
    let orders = permutations(n_areas);
    // Per order of the areas, the mean score summed over folds; and which assignments it made.
    let mut permuted = vec![0.0; orders.len()];
    let mut made: Vec<Vec<usize>> = vec![vec![]; orders.len()];
    for (f, fold) in folds.iter().enumerate() {
        let chosen_on: Vec<usize> = (0..folds.len()).filter(|&g| g != f || folds.len() == 1).collect();
        let best = |of: &[usize]| {
            let score = |l: usize| {
                let over = |j: &usize| chosen_on.iter().map(|&g| folds[g][(l, *j)]).sum::<f64>();
                of.iter().map(over).sum::<f64>()
            };
            let scores: Vec<f64> = (0..n_layers).map(score).collect();
            (0..n_layers).fold(0, |b, l| if scores[l] > scores[b] { l } else { b })
        };
        let own_layers = assign_layers(hierarchy, n_layers, best(&members(lowest)))?;
        let one = best(&defined);
        let share = 1.0 / folds.len() as f64;
        for &j in &defined {
            own[j] += share * fold[(own_layers[labels.codes()[j]], j)];
            last[j] += share * fold[(n_layers - 1, j)];
            single[j] += share * fold[(one, j)];
        }
        // Sum of scores of each area at each layer.
        let sums: Vec<Vec<f64>> = (0..n_areas)
            .map(|a| (0..n_layers).map(|l| members(a).iter().map(|&j| fold[(l, j)]).sum()).collect())
            .collect();
        for (at, order) in orders.iter().enumerate() {
            let total: f64 = (0..n_areas).map(|a| sums[a][own_layers[order[a]]]).sum();
            permuted[at] += share * total / defined.len() as f64;
            made[at].extend((0..n_areas).map(|a| own_layers[order[a]]));
        }
        layers.push(own_layers);
        single_layers.push(one);
    }
    // Orders that swap areas of one layer are the same assignment.
    let mut distinct: Vec<usize> = (0..orders.len()).collect();
    distinct.sort_by(|&a, &b| made[a].cmp(&made[b]).then(a.cmp(&b)));
    distinct.dedup_by(|a, b| made[*a] == made[*b]);
    let observed = permuted[0];
    let reached = distinct.iter().filter(|&&k| permuted[k] >= observed - tie_tolerance(observed)).count();
    let others: Vec<f64> = distinct.iter().filter(|&&k| made[k] != made[0]).map(|&k| permuted[k]).collect();
    let over_areas = |of: &dyn Fn(usize) -> f64| -> Vec<f64> {
        (0..n_areas).map(|a| mean(&members(a).iter().map(|&j| of(j)).collect::<Vec<_>>())).collect()
    };
    let contrast = |other: &[f64], purpose: &str| {
        let differences: Vec<f64> = defined.iter().map(|&j| own[j] - other[j]).collect();
        Contrast {
            difference: mean(&differences),
            p_value: flip_signs(&differences, n_flips, seed, purpose),
            per_area: over_areas(&|j| own[j] - other[j]),
        }
    };
    Ok(AreaLayers {
        areas: labels.names().to_vec(),
        own: mean(&defined.iter().map(|&j| own[j]).collect::<Vec<_>>()),
        own_per_area: over_areas(&|j| own[j]),
        against_final: contrast(&last, "own layer against final"),
        against_single: contrast(&single, "own layer against single"),
        against_permuted: observed - mean(&others),
        p_permuted: reached as f64 / distinct.len() as f64,
        n_assignments: distinct.len(),
        n_undefined: n_neurons - defined.len(),
        biased: folds.len() == 1,
        layers,
        single_layers,
    })
}

fn flip_signs(differences: &[f64], n_flips: usize, seed: u64, purpose: &str) -> f64 {
    if n_flips == 0 {
        return f64::NAN;
    }
    let observed: f64 = differences.iter().sum();
    let reached: Vec<bool> = (0..n_flips)
        .into_par_iter()
        .map(|k| {
            let mut stream = Stream::new(seed, purpose, k as u64);
            let sum: f64 =
                differences.iter().map(|d| if stream.next_u64() >> 63 == 0 { *d } else { -*d }).sum();
            sum >= observed - tie_tolerance(observed)
        })
        .collect();
    permutation_p(reached.iter().filter(|r| **r).count(), n_flips)
}

/// All orders of 0..n, the identity first.
pub(super) fn permutations(n: usize) -> Vec<Vec<usize>> {
    let mut all = vec![vec![]];
    for _ in 0..n {
        all = all
            .into_iter()
            .flat_map(|order: Vec<usize>| {
                let free: Vec<usize> = (0..n).filter(|k| !order.contains(k)).collect();
                free.into_iter().map(move |k| order.iter().copied().chain([k]).collect())
            })
            .collect();
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use faer::Mat;

    #[test]
    fn the_rule_by_hand() {
        // Lowest at 2 of 8 layers: 5 layers of room; h = 0, .5, 1, .3: 2, 4.5 → 5, 7, 3.5 → 4.
        assert_eq!(assign_layers(&[1.0, 2.0, 3.0, 1.6], 8, 2).unwrap(), [2, 5, 7, 4]);
        assert_eq!(assign_layers(&[5.0, -5.0], 4, 3).unwrap(), [3, 3]);
        assert!(assign_layers(&[1.0, 1.0], 4, 0).is_err() && assign_layers(&[1.0, 2.0], 4, 4).is_err());
        assert_eq!(permutations(3).len(), 6);
        assert_eq!(permutations(3)[0], [0, 1, 2]);
    }

    const AREAS: [&str; 4] = ["V1", "V2", "V3", "V4"];

    /// 30 neurons per area, best at `peaks` of 8 layers; three folds.
    fn planted(peaks: [f64; 4]) -> (Vec<Mat<f64>>, Vec<&'static str>) {
        let mut stream = Stream::new(1, "area tests", 0);
        let areas: Vec<&str> = (0..120).map(|j| AREAS[j / 30]).collect();
        let folds = (0..3)
            .map(|_| {
                Mat::from_fn(8, 120, |l, j| {
                    0.5 - 0.01 * (l as f64 - peaks[j / 30]).powi(2) + 0.05 * stream.normal()
                })
            })
            .collect();
        (folds, areas)
    }

    fn measure(folds: &[Mat<f64>], areas: &[&str], hierarchy: &[f64]) -> AreaLayers {
        let views: Vec<_> = folds.iter().map(Mat::as_ref).collect();
        area_layers(&views, areas, hierarchy, 999, 1).unwrap()
    }

    #[test]
    fn a_hierarchy_is_seen_and_its_absence_too() {
        let (folds, areas) = planted([1.0, 3.0, 5.0, 7.0]);
        let found = measure(&folds, &areas, &[0.0, 1.0, 2.0, 3.0]);
        assert!(found.layers.iter().all(|l| l == &[1, 3, 5, 7]), "{:?}", found.layers);
        assert!(found.against_final.difference > 0.08 && found.against_final.p_value <= 0.001);
        assert!(found.against_single.difference > 0.03 && found.against_single.p_value <= 0.001);
        assert!((found.p_permuted - 1.0 / 24.0).abs() < 1e-12 && found.n_assignments == 24);
        assert!(found.against_permuted > 0.05 && !found.biased);
        assert!(found.against_final.per_area[3].abs() < 1e-12 && found.against_final.per_area[0] > 0.2);
        // All areas at one depth: a single layer does better.
        let (folds, areas) = planted([3.0; 4]);
        let found = measure(&folds, &areas, &[0.0, 1.0, 2.0, 3.0]);
        assert!(found.single_layers == [3, 3, 3] && found.against_single.difference < -0.02);
        assert!(found.against_single.p_value > 0.99);
        // The wrong way round: the own assignment is the worst.
        let (folds, areas) = planted([1.0, 3.0, 5.0, 7.0]);
        assert!(measure(&folds, &areas, &[3.0, 2.0, 1.0, 0.0]).p_permuted > 0.9);
    }

    #[test]
    fn folds_choose_for_one_another() {
        // Two folds that disagree about the best layer: each is judged by the choice of the other.
        let fold = |best: usize| Mat::from_fn(3, 2, |l, _| if l == best { 1.0 } else { 0.0 });
        let folds = [fold(0), fold(1)];
        let found = measure(&folds, &["a", "b"], &[0.0, 1.0]);
        assert_eq!(found.single_layers, [1, 0]);
        assert_eq!(found.layers, [[1, 2], [0, 2]]);
        assert_eq!(found.own, 0.0);
        let alone = measure(&folds[..1], &["a", "b"], &[0.0, 1.0]);
        assert!(alone.biased && alone.single_layers == [0] && alone.own == 0.5);
    }

    #[test]
    fn areas_that_share_a_layer_have_fewer_assignments_and_bad_input_is_named() {
        let (mut folds, areas) = planted([7.0, 7.0, 7.0, 7.0]);
        let found = measure(&folds, &areas, &[0.0, 1.0, 2.0, 3.0]);
        assert!(found.n_assignments == 1 && found.p_permuted == 1.0);
        folds[1][(3, 5)] = f64::NAN;
        assert_eq!(measure(&folds, &areas, &[0.0, 1.0, 2.0, 3.0]).n_undefined, 1);
        let views: Vec<_> = folds.iter().map(Mat::as_ref).collect();
        let refused =
            |areas: &[&str], h: &[f64]| area_layers(&views, areas, h, 9, 1).unwrap_err().to_string();
        assert!(refused(&areas[..9], &[0.0; 4]).contains("an area per neuron"));
        assert!(refused(&areas, &[0.0; 4]).contains("different finite scores"));
        (0..30).for_each(|j| folds[0][(0, j)] = f64::NAN);
        let views: Vec<_> = folds.iter().map(Mat::as_ref).collect();
        let refused = area_layers(&views, &areas, &[0.0, 1.0, 2.0, 3.0], 9, 1).unwrap_err().to_string();
        assert!(refused.contains("`V1`"), "{refused}");
    }
}
