//! Read where and when in the brain each layer predicts best: encoding, spatial and temporal scores.
//!
//! From encoding scores E (layers × units, or layers × times), held-out correlations as a rule:
//!
//! | score | definition |
//! | --- | --- |
//! | encoding | mean over layers and units; and mean over units of the best layer, chosen on other folds |
//! | spatial | Pearson correlation over units (or regions) of the depth k*/(L − 1) with a hierarchy |
//! | temporal | Pearson correlation over layers of k with the time t*(k) of its best prediction |
//! | half-time | training step s with score b + (f − b)/2, linear in log s |
//!
//! The place k* of a profile is its largest entry, or its centroid Σ k w_k/Σ w_k with w = E − min E, or with
//! w = exp((E − max E)/τ). The largest entry of a flat profile is anywhere: use the centroid, or keep only
//! units whose best score exceeds the 95th percentile of nulls ([`above_null`]); the share kept is told.
//! Fewer than 4 units or layers have no correlation.
//!
//! Source: Raugel et al. 2025, where the text leaves open which encoding score is meant and what b is: both
//! stand here; specs: alignment-methods B1. p-values permute the hierarchy (or layers), which takes neighbours
//! for independent: give surrogate maps (spins on the sphere, say) where they are not.
//! Cost: O(L m) and O(m) per draw.

use faer::MatRef;

use stereotax_base::data::{Error, Labels, Result};
use stereotax_base::stats::rng::Stream;
use stereotax_base::stats::summary::{mean, pearson, permutation_p, quantile, tie_tolerance};

/// Correlations over fewer points than this are not reported.
const LEAST: usize = 4;

/// How the place of a profile is read.
#[derive(Debug, Clone, Copy, PartialEq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PlaceRule {
    /// The largest entry; the first of equals (the default, that of the paper).
    #[default]
    Largest,
    /// The centroid of what exceeds the smallest entry.
    Centroid,
    /// The centroid under exp(E/τ), with τ > 0.
    Soft(f64),
}

/// The place of one profile.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Place {
    /// In units of the positions given; NaN where there is none.
    pub at: f64,
    /// Whether the largest entry is the first or the last one.
    pub at_boundary: bool,
    /// Whether another entry is as large.
    pub tied: bool,
}

/// The place of a profile over `positions`, of the same length. Entries that are NaN are left out.
///
/// NaN if nothing is left, and for the centroid of a flat profile.
pub fn place(profile: &[f64], positions: &[f64], rule: PlaceRule) -> Place {
    let known: Vec<usize> = (0..profile.len()).filter(|&k| !profile[k].is_nan()).collect();
    let Some(&first) = known.first() else {
        return Place { at: f64::NAN, at_boundary: false, tied: false };
    };
    let best = known.iter().fold(first, |b, &k| if profile[k] > profile[b] { k } else { b });
    let least = known.iter().fold(f64::INFINITY, |m, &k| m.min(profile[k]));
    let centroid = |weight: &dyn Fn(f64) -> f64| {
        let total: f64 = known.iter().map(|&k| weight(profile[k])).sum();
        known.iter().map(|&k| positions[k] * weight(profile[k])).sum::<f64>() / total
    };
    Place {
        at: match rule {
            PlaceRule::Largest => positions[best],
            PlaceRule::Centroid => centroid(&|e| e - least),
            PlaceRule::Soft(tau) => centroid(&|e| ((e - profile[best]) / tau).exp()),
        },
        at_boundary: Some(&best) == known.first() || Some(&best) == known.last(),
        tied: known.iter().any(|&k| k != best && profile[k] == profile[best]),
    }
}

/// Two readings of "how well", and what choosing on the same data adds.
#[derive(Debug, Clone, PartialEq)]
pub struct EncodingScore {
    /// Mean over units and layers.
    pub mean: f64,
    /// Mean over units of the layer chosen on the other folds; NaN with a single fold.
    pub best: f64,
    /// Mean over units of the largest entry: biased upwards.
    pub best_biased: f64,
    /// `best_biased − best`.
    pub selection_bias: f64,
    /// How often each layer is chosen, over units and folds.
    pub chosen: Vec<usize>,
    /// Units left out because an entry is NaN.
    pub n_undefined: usize,
}

/// The encoding score of layers × units, one matrix per fold (a single one has no honest best layer).
///
/// Errors: no fold, layer or unit; different shapes.
pub fn encoding_score(folds: &[MatRef<f64>]) -> Result<EncodingScore> {
    let Some(first) = folds.first() else {
        return Err(too_few("folds", "1 fold", "0".into()));
    };
    let (n_layers, n_units) = (first.nrows(), first.ncols());
    if n_layers == 0 || n_units == 0 {
        return Err(too_few("scores", "1 layer and 1 unit", format!("{n_layers} × {n_units}")));
    }
    if let Some(other) = folds.iter().find(|f| (f.nrows(), f.ncols()) != (n_layers, n_units)) {
        return Err(shape("scores", format!("{n_layers} × {n_units} in every fold"), other));
    }
    let n_folds = folds.len() as f64;
    let kept: Vec<usize> =
        (0..n_units).filter(|&j| folds.iter().all(|f| f.col(j).iter().all(|e| !e.is_nan()))).collect();
    let best_of =
        |profile: &[f64]| (0..n_layers).fold(0, |best, k| if profile[k] > profile[best] { k } else { best });
    let mut chosen = vec![0; n_layers];
    let (mut level, mut best, mut biased) = (0.0, 0.0, 0.0);
    for &j in &kept {
        let sums: Vec<f64> = (0..n_layers).map(|k| folds.iter().map(|f| f[(k, j)]).sum()).collect();
        level += mean(&sums) / n_folds;
        biased += sums[best_of(&sums)] / n_folds;
        for fold in folds {
            let others: Vec<f64> = (0..n_layers).map(|k| sums[k] - fold[(k, j)]).collect();
            let k = if folds.len() > 1 { best_of(&others) } else { best_of(&sums) };
            chosen[k] += 1;
            best += fold[(k, j)] / n_folds;
        }
    }
    let n = kept.len() as f64;
    let best = if folds.len() > 1 { best / n } else { f64::NAN };
    Ok(EncodingScore {
        mean: level / n,
        best,
        best_biased: biased / n,
        selection_bias: biased / n - best,
        chosen,
        n_undefined: n_units - kept.len(),
    })
}

/// Units whose best score over layers exceeds the quantile `level` of their best scores in null draws.
///
/// `scores` and every null draw: layers × units. A unit without any score is not kept.
/// Errors: no draws, different shapes.
pub fn above_null(scores: MatRef<f64>, nulls: &[MatRef<f64>], level: f64) -> Result<Vec<bool>> {
    if nulls.is_empty() {
        return Err(too_few("null draws", "1 draw", "0".into()));
    }
    if let Some(other) = nulls.iter().find(|n| (n.nrows(), n.ncols()) != (scores.nrows(), scores.ncols())) {
        return Err(shape("null draws", format!("{} × {}", scores.nrows(), scores.ncols()), other));
    }
    let best = |x: &MatRef<f64>, j: usize| x.col(j).iter().copied().fold(f64::NAN, f64::max);
    Ok((0..scores.ncols())
        .map(|j| {
            let draws: Vec<f64> = nulls.iter().map(|n| best(n, j)).collect();
            best(&scores, j) > quantile(&draws, level)
        })
        .collect())
}

/// How a spatial score is computed.
#[derive(Debug, Clone, Default)]
pub struct SpatialParams<'a> {
    /// How the depth of a unit is read.
    pub rule: PlaceRule,
    /// Units that count; all if empty.
    pub kept: &'a [bool],
    /// Region of each unit; empty: units by themselves. A region has the mean hierarchy of its units.
    pub regions: &'a [String],
    /// Whether a region's depth is that of its mean profile, not the mean depth of its units.
    pub of_mean_profile: bool,
    /// Draws × units: the hierarchy after moving it over the brain; else it is permuted.
    pub surrogates: Option<MatRef<'a, f64>>,
    /// Permutations without surrogates; 0: no p-value.
    pub n_permutations: usize,
    /// Seed of the permutations.
    pub seed: u64,
}

/// How depth of the best layer follows a hierarchy.
#[derive(Debug, Clone, PartialEq)]
pub struct SpatialScore {
    /// Pearson correlation, in [−1, 1]; NaN with a reason.
    pub r: f64,
    /// Share of draws with a correlation so large; NaN without draws.
    pub p_value: f64,
    /// Depth of each unit in [0, 1], also of those that do not count; NaN where there is none.
    pub depth: Vec<f64>,
    /// What was correlated: name, hierarchy, depth and number of units of each region (or unit).
    pub points: Vec<(String, f64, f64, usize)>,
    /// Share of units that count.
    pub share_kept: f64,
    /// Units that count whose best layer is the first or the last one.
    pub n_at_boundary: usize,
    /// Units that count with two layers equally good.
    pub n_tied: usize,
    /// Why there is no correlation.
    pub reason: Option<String>,
}

/// The spatial score of `scores` (layers × units) against a hierarchy (one number per unit).
///
/// Errors: sizes that do not fit, a hierarchy that is not finite, τ ≤ 0.
pub fn spatial_score(
    scores: MatRef<f64>,
    hierarchy: &[f64],
    params: &SpatialParams<'_>,
) -> Result<SpatialScore> {
    let (n_layers, n_units) = (scores.nrows(), scores.ncols());
    let lengths = [
        ("hierarchy", hierarchy.len(), false),
        ("kept", params.kept.len(), true),
        ("regions", params.regions.len(), true),
        ("surrogates", params.surrogates.map_or(0, |s| s.ncols()), true),
    ];
    for (what, length, optional) in lengths {
        if length != n_units && !(optional && length == 0) {
            return Err(Error::Shape {
                what: what.into(),
                expected: format!("{n_units} entries (one per unit)"),
                found: length.to_string(),
                hint: "columns of the scores are units".into(),
            });
        }
    }
    check_rule(params.rule)?;
    check_finite("hierarchy", hierarchy)?;
    let positions: Vec<f64> = (0..n_layers).map(|k| k as f64 / (n_layers.max(2) - 1) as f64).collect();
    let profile = |j: usize| scores.col(j).iter().copied().collect::<Vec<f64>>();
    let places: Vec<Place> = (0..n_units).map(|j| place(&profile(j), &positions, params.rule)).collect();
    let counts = |j: usize| params.kept.is_empty() || params.kept[j];
    let used: Vec<usize> = (0..n_units).filter(|&j| counts(j) && !places[j].at.is_nan()).collect();
    let names: Vec<String> = if params.regions.is_empty() {
        (0..n_units).map(|j| j.to_string()).collect()
    } else {
        params.regions.to_vec()
    };
    let labels = Labels::new(&used.iter().map(|&j| &names[j]).collect::<Vec<_>>());
    let mut members = vec![Vec::new(); labels.n_groups()];
    used.iter().zip(labels.codes()).for_each(|(&j, &region)| members[region].push(j));
    if params.regions.is_empty() {
        // Names sort as text; units stay in their order.
        members.sort_unstable();
    }
    let level = |of: &dyn Fn(usize) -> f64, units: &[usize]| {
        units.iter().map(|&j| of(j)).sum::<f64>() / units.len() as f64
    };
    let depth_of = |units: &Vec<usize>| {
        if !params.of_mean_profile {
            return level(&|j| places[j].at, units);
        }
        let mean_profile: Vec<f64> = (0..n_layers).map(|k| level(&|j| scores[(k, j)], units)).collect();
        place(&mean_profile, &positions, params.rule).at
    };
    let points: Vec<(String, f64, f64, usize)> = members
        .iter()
        .map(|units| (names[units[0]].clone(), level(&|j| hierarchy[j], units), depth_of(units), units.len()))
        .filter(|point| !point.2.is_nan())
        .collect();
    let (along, depths): (Vec<f64>, Vec<f64>) = points.iter().map(|p| (p.1, p.2)).unzip();
    let reason = if n_layers < LEAST || points.len() < LEAST {
        Some(format!("{} points and {n_layers} layers, but at least {LEAST} of each needed", points.len()))
    } else if pearson(&along, &depths).is_nan() {
        Some("hierarchy or depth does not vary".into())
    } else {
        None
    };
    let r = if reason.is_some() { f64::NAN } else { pearson(&along, &depths) };
    let null: Vec<f64> = match params.surrogates {
        _ if r.is_nan() => Vec::new(),
        Some(maps) => (0..maps.nrows())
            .map(|b| {
                let along: Vec<f64> = members.iter().map(|units| level(&|j| maps[(b, j)], units)).collect();
                pearson(&along, &depths)
            })
            .collect(),
        None => (0..params.n_permutations)
            .map(|b| pearson(&shuffled(&along, params.seed, "spatial score", b), &depths))
            .collect(),
    };
    Ok(SpatialScore {
        r,
        p_value: p_value(r, &null),
        depth: places.iter().map(|p| p.at).collect(),
        points,
        share_kept: used.len() as f64 / n_units as f64,
        n_at_boundary: used.iter().filter(|&&j| places[j].at_boundary).count(),
        n_tied: used.iter().filter(|&&j| places[j].tied).count(),
        reason,
    })
}

/// How the time of best prediction follows depth.
#[derive(Debug, Clone, PartialEq)]
pub struct TemporalScore {
    /// Pearson correlation over layers of k with t*(k); NaN with a reason.
    pub r: f64,
    /// Share of permutations of layers with a correlation so large; NaN without.
    pub p_value: f64,
    /// t*(k) of each layer.
    pub times: Vec<f64>,
    /// Layers whose best time is the first or the last one looked at.
    pub n_at_boundary: usize,
    /// Why there is no correlation.
    pub reason: Option<String>,
}

/// The temporal score of `scores` (layers × times, averaged over sensors); times before `onset` do not count.
///
/// Errors: sizes that do not fit, times that are not finite, none from the onset on, τ ≤ 0.
pub fn temporal_score(
    scores: MatRef<f64>,
    times: &[f64],
    onset: f64,
    rule: PlaceRule,
    n_permutations: usize,
    seed: u64,
) -> Result<TemporalScore> {
    if times.len() != scores.ncols() {
        return Err(shape("scores", format!("{} columns (one per time)", times.len()), &scores));
    }
    check_rule(rule)?;
    check_finite("times", times)?;
    let after: Vec<usize> = (0..times.len()).filter(|&t| times[t] >= onset).collect();
    if after.is_empty() {
        return Err(too_few("times", "1 time from the onset on", format!("0 of {}", times.len())));
    }
    let positions: Vec<f64> = after.iter().map(|&t| times[t]).collect();
    let places: Vec<Place> = (0..scores.nrows())
        .map(|k| place(&after.iter().map(|&t| scores[(k, t)]).collect::<Vec<_>>(), &positions, rule))
        .collect();
    let known: Vec<usize> = (0..places.len()).filter(|&k| !places[k].at.is_nan()).collect();
    let layers: Vec<f64> = known.iter().map(|&k| k as f64).collect();
    let best: Vec<f64> = known.iter().map(|&k| places[k].at).collect();
    let reason = if known.len() < LEAST {
        Some(format!("{} layers with a time, but at least {LEAST} needed", known.len()))
    } else if pearson(&layers, &best).is_nan() {
        Some("every layer predicts best at the same time".into())
    } else {
        None
    };
    let r = if reason.is_some() { f64::NAN } else { pearson(&layers, &best) };
    let draws = if r.is_nan() { 0 } else { n_permutations };
    let null: Vec<f64> =
        (0..draws).map(|b| pearson(&shuffled(&layers, seed, "temporal score", b), &best)).collect();
    Ok(TemporalScore {
        r,
        p_value: p_value(r, &null),
        times: places.iter().map(|p| p.at).collect(),
        n_at_boundary: places.iter().filter(|p| p.at_boundary).count(),
        reason,
    })
}

/// When training reaches half of its gain.
#[derive(Debug, Clone, PartialEq)]
pub struct HalfTime {
    /// The step at which the score first reaches the half; NaN with a reason.
    pub first: f64,
    /// The step from which on it never falls below it again; the same for a curve that only rises.
    pub last: f64,
    /// b + (f − b)/2.
    pub half: f64,
    /// Why there is none, or what to mind.
    pub reason: Option<String>,
}

/// The half-time of a learning curve, linear in log s.
///
/// `steps` ascend and are positive; f is the mean of the last `plateau` scores (1: the last one), b the
/// baseline: 0, or the score of the untrained network.
/// Errors: sizes that do not fit, steps that are not positive and ascending, a score that is not finite.
pub fn half_time(steps: &[f64], scores: &[f64], baseline: f64, plateau: usize) -> Result<HalfTime> {
    let n = steps.len();
    if n < 2 || scores.len() != n || plateau == 0 || plateau > n {
        return Err(too_few(
            "steps",
            "2 steps, a score for each and a plateau within them",
            format!("{n} steps, {} scores, a plateau of {plateau}", scores.len()),
        ));
    }
    check_finite("scores", scores)?;
    check_finite("baseline", &[baseline])?;
    if !(steps[0] > 0.0 && steps.windows(2).all(|w| w[0] < w[1]) && steps[n - 1].is_finite()) {
        return Err(Error::Invalid {
            what: "steps".into(),
            expected: "positive numbers that ascend".into(),
            found: format!("{steps:?}"),
            hint: "leave step 0 out and give its score as the baseline".into(),
        });
    }
    let last = mean(&scores[n - plateau..]);
    let half = baseline + 0.5 * (last - baseline);
    let none = |reason: &str| HalfTime { first: f64::NAN, last: f64::NAN, half, reason: Some(reason.into()) };
    if !(last > baseline) {
        return Ok(none("training ends no better than the baseline"));
    }
    let crossing = |i: usize| {
        // Between i − 1, below the half, and i.
        let part = (half - scores[i - 1]) / (scores[i] - scores[i - 1]);
        (steps[i - 1].ln() + part * (steps[i] / steps[i - 1]).ln()).exp()
    };
    let Some(reached) = scores.iter().position(|&s| s >= half) else {
        return Ok(none("no score reaches the half"));
    };
    let Some(below) = scores.iter().rposition(|&s| s < half) else {
        let reason = Some("the half is reached at the first step".into());
        return Ok(HalfTime { first: steps[0], last: steps[0], half, reason });
    };
    let first = if reached == 0 { steps[0] } else { crossing(reached) };
    if below == n - 1 {
        let reason = Some("the last score is below the half".into());
        return Ok(HalfTime { first, last: f64::NAN, half, reason });
    }
    let reason = (reached == 0).then(|| "the half is reached at the first step".into());
    Ok(HalfTime { first, last: crossing(below + 1), half, reason })
}

fn shuffled(values: &[f64], seed: u64, purpose: &str, draw: usize) -> Vec<f64> {
    let order = Stream::new(seed, purpose, draw as u64).permutation(values.len());
    order.into_iter().map(|i| values[i]).collect()
}

fn p_value(r: f64, null: &[f64]) -> f64 {
    if r.is_nan() || null.is_empty() {
        return f64::NAN;
    }
    // A draw without a correlation speaks against the claim.
    let exceeding = null.iter().filter(|&&v| !(v < r - tie_tolerance(r))).count();
    permutation_p(exceeding, null.len())
}

fn check_rule(rule: PlaceRule) -> Result<()> {
    match rule {
        PlaceRule::Soft(tau) if !(tau > 0.0 && tau.is_finite()) => Err(Error::Invalid {
            what: "temperature".into(),
            expected: "a number above 0".into(),
            found: tau.to_string(),
            hint: "0.01 to 0.1 for correlations".into(),
        }),
        _ => Ok(()),
    }
}

fn check_finite(what: &str, values: &[f64]) -> Result<()> {
    match values.iter().position(|v| !v.is_finite()) {
        None => Ok(()),
        Some(row) => Err(Error::NotFinite {
            what: what.into(),
            row,
            column: 0,
            count: values.iter().filter(|v| !v.is_finite()).count(),
            hint: "leave those entries out".into(),
        }),
    }
}

fn shape(what: &str, expected: String, found: &MatRef<f64>) -> Error {
    Error::Shape {
        what: what.into(),
        expected,
        found: format!("{} × {}", found.nrows(), found.ncols()),
        hint: "rows are layers".into(),
    }
}

fn too_few(what: &str, needed: &str, found: String) -> Error {
    Error::TooFew {
        what: what.into(),
        needed: needed.into(),
        found,
        hint: "see the documentation of the function".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use faer::Mat;

    const LAYERS: [f64; 4] = [0.0, 1.0, 2.0, 3.0];

    #[test]
    fn places_by_hand() {
        let profile = [0.1, 0.3, 0.5, 0.1];
        let at = |rule| place(&profile, &LAYERS, rule).at;
        assert_eq!(at(PlaceRule::Largest), 2.0);
        // Weights 0, .2, .4, 0: (.2 + .8)/.6 = 5/3.
        assert!((at(PlaceRule::Centroid) - 5.0 / 3.0).abs() < 1e-15);
        assert!((at(PlaceRule::Soft(1e-3)) - 2.0).abs() < 1e-12);
        assert!((at(PlaceRule::Soft(1e6)) - 1.5).abs() < 1e-6);
        let found = place(&[0.5, f64::NAN, 0.2, 0.5], &LAYERS, PlaceRule::Largest);
        assert_eq!(found, Place { at: 0.0, at_boundary: true, tied: true });
        assert!(place(&[f64::NAN; 4], &LAYERS, PlaceRule::Largest).at.is_nan());
        assert!(place(&[0.2; 4], &LAYERS, PlaceRule::Centroid).at.is_nan());
    }

    #[test]
    fn a_layer_chosen_on_the_same_data_scores_too_high() {
        // Pure noise: the honest best layer scores 0, the biased one above it.
        let mut stream = Stream::new(1, "profile tests", 0);
        let folds: Vec<Mat<f64>> =
            (0..5).map(|_| Mat::from_fn(8, 400, |_, _| 0.1 * stream.normal())).collect();
        let views: Vec<MatRef<f64>> = folds.iter().map(|f| f.as_ref()).collect();
        let found = encoding_score(&views).unwrap();
        // Standard deviation of a unit's mean over folds: .1/√5; the largest of 8 is 1.42 of these.
        assert!(found.best.abs() < 0.01 && found.mean.abs() < 0.004);
        assert!((found.best_biased - 1.4236 * 0.1 / 5f64.sqrt()).abs() < 0.004, "{}", found.best_biased);
        assert!((found.selection_bias - (found.best_biased - found.best)).abs() < 1e-15);
        assert_eq!(found.chosen.iter().sum::<usize>(), 5 * 400);
        // By hand: two folds, two layers, one unit.
        let folds = [[[0.1], [0.5]], [[0.3], [0.2]]].map(|f| Mat::from_fn(2, 1, |k, j| f[k][j]));
        let found = encoding_score(&[folds[0].as_ref(), folds[1].as_ref()]).unwrap();
        // Fold 0 takes layer 0 (best in fold 1): .1; fold 1 takes layer 1: .2. Means .2 and .35.
        assert!((found.best - 0.15).abs() < 1e-15 && (found.best_biased - 0.35).abs() < 1e-15);
        assert!((found.mean - 0.275).abs() < 1e-15);
        assert_eq!(found.chosen, [1, 1]);
        let alone = encoding_score(&[folds[0].as_ref()]).unwrap();
        assert!(alone.best.is_nan() && alone.best_biased == 0.5);
    }

    /// Layers that drift apart in depth; each voxel reads those around its true depth (spec B1).
    fn layered(n_units: usize, noise: f64, seed: u64) -> (Mat<f64>, Vec<f64>) {
        let (n, width, rho) = (300, 20, 0.8f64);
        let mut stream = Stream::new(seed, "profile tests", 1);
        let mut layers: Vec<Mat<f64>> = vec![Mat::from_fn(n, width, |_, _| stream.normal())];
        for k in 1..8 {
            let next = Mat::from_fn(n, width, |i, j| {
                rho * layers[k - 1][(i, j)] + (1.0 - rho * rho).sqrt() * stream.normal()
            });
            layers.push(next);
        }
        let depths: Vec<f64> = (0..n_units).map(|j| 7.0 * j as f64 / (n_units - 1) as f64).collect();
        let mut scores = Mat::zeros(8, n_units);
        for (v, u) in depths.iter().enumerate() {
            let b: Vec<f64> = (0..width).map(|_| stream.normal()).collect();
            let read: Vec<Vec<f64>> = layers
                .iter()
                .map(|x| (0..n).map(|i| (0..width).map(|j| x[(i, j)] * b[j]).sum()).collect())
                .collect();
            let y: Vec<f64> = (0..n)
                .map(|i| {
                    let signal: f64 =
                        (0..8).map(|k| (-0.5 * (k as f64 - u).powi(2)).exp() * read[k][i]).sum();
                    signal + noise * stream.normal()
                })
                .collect();
            (0..8).for_each(|k| scores[(k, v)] = pearson(&read[k], &y));
        }
        (scores, depths)
    }

    #[test]
    fn the_spatial_score_recovers_planted_depths() {
        for rule in [PlaceRule::Largest, PlaceRule::Centroid, PlaceRule::Soft(0.05)] {
            let (scores, depths) = layered(60, 0.5, 2);
            let params = SpatialParams { rule, n_permutations: 199, ..Default::default() };
            let found = spatial_score(scores.as_ref(), &depths, &params).unwrap();
            assert!(found.r > 0.95, "{rule:?}: {}", found.r);
            assert_eq!((found.p_value, found.share_kept, found.points.len()), (1.0 / 200.0, 1.0, 60));
            // A hierarchy that has nothing to do with depth.
            let wrong = shuffled(&depths, 3, "other", 0);
            let found = spatial_score(scores.as_ref(), &wrong, &params).unwrap();
            assert!(found.r.abs() < 0.4 && found.p_value > 0.01, "{} {}", found.r, found.p_value);
        }
        // Noise makes it fall.
        let (scores, depths) = layered(60, 60.0, 2);
        assert!(spatial_score(scores.as_ref(), &depths, &SpatialParams::default()).unwrap().r < 0.9);
    }

    #[test]
    fn regions_filters_and_surrogates() {
        let (scores, depths) = layered(60, 0.5, 4);
        let regions: Vec<String> = (0..60).map(|j| format!("r{}", j / 10)).collect();
        let params = SpatialParams { regions: &regions, ..Default::default() };
        let found = spatial_score(scores.as_ref(), &depths, &params).unwrap();
        assert_eq!(found.points.len(), 6);
        let expected: f64 = found.depth[10..20].iter().sum::<f64>() / 10.0;
        assert!((found.points[1].2 - expected).abs() < 1e-15 && found.points[1].3 == 10);
        let of_mean = SpatialParams { of_mean_profile: true, ..params.clone() };
        let profile: Vec<f64> = (0..8).map(|k| (0..10).map(|j| scores[(k, j)]).sum::<f64>()).collect();
        let by_hand =
            place(&profile, &(0..8).map(|k| k as f64 / 7.0).collect::<Vec<_>>(), PlaceRule::Largest);
        assert_eq!(spatial_score(scores.as_ref(), &depths, &of_mean).unwrap().points[0].2, by_hand.at);
        // Only units above their null count; three regions are too few.
        let kept: Vec<bool> = (0..60).map(|j| j < 30).collect();
        let few = spatial_score(scores.as_ref(), &depths, &SpatialParams { kept: &kept, ..params.clone() })
            .unwrap();
        assert!(few.r.is_nan() && few.share_kept == 0.5);
        assert!(few.reason.unwrap().starts_with("3 points"));
        // Surrogates that are the map itself: every draw ties.
        let same = Mat::from_fn(9, 60, |_, j| depths[j]);
        let tied = SpatialParams { surrogates: Some(same.as_ref()), ..params };
        assert_eq!(spatial_score(scores.as_ref(), &depths, &tied).unwrap().p_value, 1.0);
        let nulls: Vec<Mat<f64>> = (0..20).map(|b| Mat::full(8, 60, 0.01 * b as f64)).collect();
        let views: Vec<MatRef<f64>> = nulls.iter().map(|n| n.as_ref()).collect();
        // The 95 % quantile of 0, .01, … .19 is .1805.
        let scores = Mat::from_fn(8, 60, |k, j| if k == 3 { [0.18, 0.1806][j % 2] } else { -1.0 });
        let kept = above_null(scores.as_ref(), &views, 0.95).unwrap();
        assert!(kept.iter().enumerate().all(|(j, kept)| *kept == (j % 2 == 1)));
    }

    #[test]
    fn the_temporal_score_recovers_planted_latencies() {
        // A bump at 50 + 20 k ms, and a larger one before onset that must not count.
        let times: Vec<f64> = (0..60).map(|t| -100.0 + 5.0 * t as f64).collect();
        let mut stream = Stream::new(5, "profile tests", 2);
        let scores = Mat::from_fn(7, 60, |k, t| {
            let bump = |at: f64| (-0.5 * ((times[t] - at) / 20.0).powi(2)).exp();
            0.3 * bump(50.0 + 20.0 * k as f64) + 0.9 * bump(-60.0) + 0.02 * stream.normal()
        });
        for rule in [PlaceRule::Largest, PlaceRule::Soft(0.02)] {
            let found = temporal_score(scores.as_ref(), &times, 0.0, rule, 99, 0).unwrap();
            assert!(found.r > 0.95 && found.p_value == 0.01, "{rule:?}: {}", found.r);
            assert!((found.times[3] - 110.0).abs() <= 15.0);
        }
        let early = temporal_score(scores.as_ref(), &times, -100.0, PlaceRule::Largest, 0, 0).unwrap();
        assert!(early.times.iter().all(|t| *t < 0.0), "{:?}", early.times);
        let few = temporal_score(scores.get(..3, ..), &times, 0.0, PlaceRule::Largest, 9, 0).unwrap();
        assert!(few.r.is_nan() && few.p_value.is_nan() && few.reason.is_some());
        assert!(temporal_score(scores.as_ref(), &times, 900.0, PlaceRule::Largest, 0, 0).is_err());
    }

    #[test]
    fn the_half_time_of_a_hill_curve_is_its_midpoint() {
        let steps: Vec<f64> = (0..25).map(|i| 10f64.powf(1.0 + 0.25 * i as f64)).collect();
        for (s50, h) in [(2_000.0, 1.5), (50.0, 2.0), (30_000.0, 3.0)] {
            let curve: Vec<f64> =
                steps.iter().map(|s| 0.4 * s.powf(h) / (s.powf(h) + f64::powf(s50, h))).collect();
            let found = half_time(&steps, &curve, 0.0, 1).unwrap();
            assert!((found.first / s50).ln().abs() < 0.05, "{} for {s50}", found.first);
            assert_eq!(found.first, found.last);
        }
    }

    #[test]
    fn half_times_by_hand() {
        // f = 1, b = 0: half of it lies midway in log s between 10 (.25) and 100 (.75).
        let found = half_time(&[1.0, 10.0, 100.0, 1000.0], &[0.0, 0.25, 0.75, 1.0], 0.0, 1).unwrap();
        assert!((found.first - 1000f64.sqrt()).abs() < 1e-12 && found.reason.is_none());
        // With the untrained score .5 as the baseline the half is .75.
        assert!(
            (half_time(&[1.0, 10.0, 100.0], &[0.5, 0.75, 1.0], 0.5, 1).unwrap().first - 10.0).abs() < 1e-12
        );
        // A curve that falls back: both crossings.
        let back = half_time(&[1.0, 10.0, 100.0, 1000.0, 1e4], &[0.0, 1.0, 0.0, 1.0, 1.0], 0.0, 2).unwrap();
        assert!((back.first - 10f64.sqrt()).abs() < 1e-12 && (back.last - 1e5f64.sqrt()).abs() < 1e-9);
        let worse = half_time(&[1.0, 2.0], &[0.3, 0.2], 0.25, 1).unwrap();
        assert!(worse.first.is_nan() && worse.reason.unwrap().contains("no better"));
        assert_eq!(half_time(&[1.0, 2.0], &[0.9, 1.0], 0.0, 1).unwrap().first, 1.0);
        for (steps, scores) in [
            (vec![0.0, 1.0], vec![0.1, 0.2]),
            (vec![2.0, 1.0], vec![0.1, 0.2]),
            (vec![1.0], vec![0.1]),
            (vec![1.0, 2.0], vec![0.1, f64::NAN]),
        ] {
            assert!(half_time(&steps, &scores, 0.0, 1).is_err());
        }
    }

    #[test]
    fn wrong_input_is_named() {
        let scores = Mat::full(5, 6, 0.1);
        let spatial =
            |h: &[f64], p: &SpatialParams<'_>| spatial_score(scores.as_ref(), h, p).unwrap_err().to_string();
        assert!(spatial(&[0.0; 5], &SpatialParams::default()).contains("6 entries"));
        assert!(spatial(&[f64::NAN; 6], &SpatialParams::default()).contains("`hierarchy` is not finite"));
        let soft = SpatialParams { rule: PlaceRule::Soft(0.0), ..Default::default() };
        assert!(spatial(&[0.0; 6], &soft).contains("above 0"));
        assert!(encoding_score(&[]).is_err());
        assert!(encoding_score(&[scores.as_ref(), scores.get(..4, ..)]).is_err());
        assert!(above_null(scores.as_ref(), &[], 0.95).is_err());
        let flat = spatial_score(scores.as_ref(), &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], &SpatialParams::default())
            .unwrap();
        assert!(flat.r.is_nan() && flat.n_tied == 6 && flat.n_at_boundary == 6);
    }
}
