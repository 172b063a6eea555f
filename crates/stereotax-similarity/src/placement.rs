//! Place brain areas along the depth of a network: similarity of layers, best layer, pseudo-depth.
//!
//! ```text
//! SSM      Spearman, over pairs of images, of the correlations between population vectors of two images
//! SVCCA    mean canonical correlation of the leading components of both sides (columns centred)
//! depth of layer l        l / (L − 1), 0 the first and 1 the last
//! pseudo-depth (best)     depth of the layer with the largest score
//! pseudo-depth (weighted) Σ w_l l/(L − 1) / Σ w_l,  w_l = max(0, score_l − mean of its null)
//! ```
//!
//! Areas are images × neurons, layers images × units, rows the same images. Scores are means over subsamples with
//! the same number of neurons in every area (fewer neurons mean lower scores, and other areas would seem deeper
//! or shallower). Null: the area's images in a random order; p is corrected for the choice of the best layer by
//! the maximum over layers. An area whose p is above α is flagged: its depth means nothing.
//! Intervals: neurons and images drawn with replacement (an image paired with itself is left out); for SVCCA,
//! neurons only, since a repeated image raises every canonical correlation. Ceiling: the same score between two
//! halves of the trials, on the same subsamples.
//! SVCCA of independent data is far from 0: its mean ρ² is max(d₁, d₂)/(n − 1). Read it above its null.
//!
//! Source: Shi et al. 2019; specs: alignment-methods B9. Cost: O(n² Σ units) once, then O(L n² log n) per draw.

use faer::{Mat, MatRef};
use rayon::prelude::*;

use stereotax_base::data::{Error, Monitor, Result};
use stereotax_base::linalg::{centre_columns, column_means, cross, eigh, product, svd};
use stereotax_base::stats::rng::Stream;
use stereotax_base::stats::summary::{check_finite, mean, pearson, permutation_p, quantile, tie_tolerance};

/// How an area and a layer are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PlacementMeasure {
    /// Rank correlation of similarity matrices (default).
    #[default]
    Ssm,
    /// Mean canonical correlation of this many components of each side (fewer where there are fewer).
    Svcca {
        /// Components kept of each side.
        n_components: usize,
    },
}

/// Settings.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct PlacementParams {
    /// The score.
    pub measure: PlacementMeasure,
    /// Neurons per subsample; none: four fifths of the smallest area's.
    pub n_neurons: Option<usize>,
    /// Subsamples of neurons (default 50).
    pub n_subsamples: usize,
    /// Images per subsample; none: all.
    pub n_images: Option<usize>,
    /// Bootstrap draws (default 200); 0 for no intervals.
    pub n_bootstraps: usize,
    /// Orders of images (default 999).
    pub n_permutations: usize,
    /// Level of the intervals (default 0.95).
    pub level: f64,
    /// An area is placed where its p is at most this (default 0.05).
    pub alpha: f64,
    /// Seed of all draws.
    pub seed: u64,
}

impl Default for PlacementParams {
    fn default() -> Self {
        PlacementParams {
            measure: PlacementMeasure::Ssm,
            n_neurons: None,
            n_subsamples: 50,
            n_images: None,
            n_bootstraps: 200,
            n_permutations: 999,
            level: 0.95,
            alpha: 0.05,
            seed: 0,
        }
    }
}

/// Two ends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ends {
    /// Lower.
    pub lower: f64,
    /// Upper.
    pub upper: f64,
}

/// Where one area stands.
#[derive(Debug, Clone, PartialEq)]
pub struct AreaPlace {
    /// Mean over subsamples, per layer; NaN where no subsample has a score.
    pub scores: Vec<f64>,
    /// Their standard deviation over subsamples.
    pub score_sds: Vec<f64>,
    /// Mean of the null, per layer.
    pub null_means: Vec<f64>,
    /// p of each layer, against the maximum over layers of the score less the mean of its null.
    pub p_values: Vec<f64>,
    /// The least of them: of the area.
    pub p_value: f64,
    /// Whether p ≤ α.
    pub placed: bool,
    /// The layer with the largest score.
    pub best_layer: usize,
    /// Its depth, [0, 1].
    pub depth_best: f64,
    /// Score-weighted mean depth, [0, 1]; NaN where no score is above its null.
    pub depth_weighted: f64,
    /// Interval of `depth_best`; none without draws.
    pub best_interval: Option<Ends>,
    /// Interval of `depth_weighted`; none without draws.
    pub weighted_interval: Option<Ends>,
    /// Share of draws in which each layer is best; empty without draws.
    pub best_shares: Vec<f64>,
    /// Score between halves of trials, on subsamples of neurons; none without halves.
    pub ceiling: Option<f64>,
}

/// Places of all areas.
#[derive(Debug, Clone, PartialEq)]
pub struct Placement {
    /// One per area.
    pub areas: Vec<AreaPlace>,
    /// Neurons per subsample.
    pub n_neurons: usize,
    /// Images per subsample.
    pub n_images: usize,
}

/// One area: responses averaged over all trials, and over two halves of them where there are such.
#[derive(Debug, Clone, Copy)]
pub struct Area<'a> {
    /// Images × neurons.
    pub responses: MatRef<'a, f64>,
    /// The halves, images × neurons each.
    pub halves: Option<[MatRef<'a, f64>; 2]>,
}

/// Place areas along layers (images × units each, shallow to deep).
///
/// Errors: fewer than 2 layers or 4 images, other images, values that are not finite, more neurons or images per
/// subsample than there are, no subsample or permutation, a level or α outside (0, 1).
pub fn place_areas(
    areas: &[Area<'_>],
    layers: &[MatRef<f64>],
    params: &PlacementParams,
    monitor: &Monitor<'_>,
) -> Result<Placement> {
    let n = layers.first().map_or(0, |l| l.nrows());
    if layers.len() < 2 || n < 4 || areas.is_empty() {
        return Err(Error::TooFew {
            what: "areas, layers and images".into(),
            needed: "1 area, 2 layers and 4 images".into(),
            found: format!("{}, {} and {n}", areas.len(), layers.len()),
            hint: "give images × units for each layer, shallow to deep".into(),
        });
    }
    for (k, layer) in layers.iter().enumerate() {
        check_rows(&format!("layer {k}"), *layer, n)?;
    }
    for (k, area) in areas.iter().enumerate() {
        check_rows(&format!("area {k}"), area.responses, n)?;
        for half in area.halves.iter().flatten() {
            check_rows(&format!("a half of area {k}"), *half, n)?;
            if half.ncols() != area.responses.ncols() {
                return Err(Error::Shape {
                    what: format!("a half of area {k}"),
                    expected: format!("{} neurons", area.responses.ncols()),
                    found: half.ncols().to_string(),
                    hint: "halves are of the same neurons".into(),
                });
            }
        }
    }
    let smallest = areas.iter().map(|a| a.responses.ncols()).min().unwrap_or(0);
    let least = if params.measure == PlacementMeasure::Ssm { 3 } else { 1 };
    let n_neurons = params.n_neurons.unwrap_or_else(|| (4 * smallest).div_ceil(5).max(least));
    let n_images = params.n_images.unwrap_or(n);
    let fits = n_neurons >= least && n_neurons <= smallest && (4..=n).contains(&n_images);
    let inside = |x: f64| x > 0.0 && x < 1.0;
    if !fits
        || params.n_subsamples == 0
        || params.n_permutations == 0
        || !inside(params.level)
        || !inside(params.alpha)
        || params.measure == (PlacementMeasure::Svcca { n_components: 0 })
    {
        return Err(Error::Invalid {
            what: "settings of the placement".into(),
            expected: format!(
                "{least} to {smallest} neurons, 4 to {n} images, at least 1 subsample, permutation and component, \
                 level and alpha in (0, 1)"
            ),
            found: format!(
                "{n_neurons} neurons, {n_images} images, {} subsamples, {} permutations, {}, {}",
                params.n_subsamples, params.n_permutations, params.level, params.alpha
            ),
            hint: "every area gives the same number of neurons".into(),
        });
    }
    let sides: Vec<Side> =
        layers.iter().map(|layer| Side::of(*layer, params.measure)).collect::<Result<_>>()?;
    let areas = areas
        .iter()
        .enumerate()
        .map(|(k, area)| place(k as u64, area, &sides, layers, (n_neurons, n_images), params, monitor))
        .collect::<Result<_>>()?;
    Ok(Placement { areas, n_neurons, n_images })
}

fn check_rows(what: &str, x: MatRef<f64>, n: usize) -> Result<()> {
    check_finite(what, x)?;
    if x.nrows() == n && x.ncols() > 0 {
        return Ok(());
    }
    Err(Error::Shape {
        what: what.into(),
        expected: format!("{n} images (as in layer 0) and at least one column"),
        found: format!("{} × {}", x.nrows(), x.ncols()),
        hint: "rows are the same images in the same order everywhere".into(),
    })
}

/// What a comparison needs of one side.
enum Side {
    /// Correlations between images, n × n.
    Similarity(Mat<f64>),
    /// Orthonormal leading components, n × k.
    Components(Mat<f64>),
}

impl Side {
    fn of(x: MatRef<f64>, measure: PlacementMeasure) -> Result<Self> {
        match measure {
            PlacementMeasure::Ssm => Ok(Side::Similarity(similarity(x))),
            PlacementMeasure::Svcca { n_components } => Ok(Side::Components(components(x, n_components)?)),
        }
    }

    /// Some rows, in the order given.
    fn rows(&self, rows: &[usize]) -> Self {
        match self {
            Side::Similarity(s) => Side::Similarity(Mat::from_fn(rows.len(), rows.len(), |i, j| {
                // An image beside itself is no pair.
                if rows[i] == rows[j] { f64::NAN } else { s[(rows[i], rows[j])] }
            })),
            Side::Components(u) => {
                Side::Components(Mat::from_fn(rows.len(), u.ncols(), |i, j| u[(rows[i], j)]))
            }
        }
    }
}

/// Correlations between rows; NaN beside a constant row.
fn similarity(x: MatRef<f64>) -> Mat<f64> {
    let mut turned = x.transpose().to_owned();
    let means = column_means(turned.as_ref());
    centre_columns(turned.as_mut(), &means);
    for j in 0..turned.ncols() {
        let size = turned.col(j).norm_l2();
        let scale = x.row(j).iter().fold(0.0, |m: f64, v| m.max(v.abs())) * (x.ncols() as f64).sqrt();
        let by = if size > 64.0 * f64::EPSILON * scale { 1.0 / size } else { f64::NAN };
        turned.col_mut(j).iter_mut().for_each(|v| *v *= by);
    }
    cross(turned.as_ref(), turned.as_ref())
}

/// Leading left singular vectors of the centred columns.
fn components(x: MatRef<f64>, most: usize) -> Result<Mat<f64>> {
    let mut centred = x.to_owned();
    let means = column_means(x);
    centre_columns(centred.as_mut(), &means);
    let n = x.nrows();
    let found = eigh(product(centred.as_ref(), centred.transpose()).as_ref())?;
    let cut = 1e-12 * found.values[0].max(0.0);
    let rank = found.values.iter().take_while(|&&v| v > cut).count();
    Ok(found.vectors.get(.., ..rank.min(most).min(n - 1)).to_owned())
}

fn mean_ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let mut ranks = vec![0.0; values.len()];
    let mut begin = 0;
    while begin < order.len() {
        let mut end = begin + 1;
        while end < order.len() && values[order[end]] == values[order[begin]] {
            end += 1;
        }
        let rank = 0.5 * (begin + end + 1) as f64;
        order[begin..end].iter().for_each(|&k| ranks[k] = rank);
        begin = end;
    }
    ranks
}

/// The score of two sides with the same rows.
fn score(x: &Side, y: &Side) -> Result<f64> {
    match (x, y) {
        (Side::Similarity(x), Side::Similarity(y)) => {
            let n = x.nrows();
            let (mut a, mut b) = (Vec::with_capacity(n * n / 2), Vec::with_capacity(n * n / 2));
            for j in 0..n {
                for i in j + 1..n {
                    if !x[(i, j)].is_nan() && !y[(i, j)].is_nan() {
                        a.push(x[(i, j)]);
                        b.push(y[(i, j)]);
                    }
                }
            }
            Ok(pearson(&mean_ranks(&a), &mean_ranks(&b)))
        }
        (Side::Components(x), Side::Components(y)) => {
            if x.ncols() == 0 || y.ncols() == 0 {
                return Ok(f64::NAN);
            }
            Ok(mean(&svd(cross(x.as_ref(), y.as_ref()).as_ref())?.s).clamp(0.0, 1.0))
        }
        _ => Ok(f64::NAN),
    }
}

fn columns(x: MatRef<f64>, of: &[usize]) -> Mat<f64> {
    Mat::from_fn(x.nrows(), of.len(), |i, j| x[(i, of[j])])
}

/// The best layer and the weighted depth of scores.
fn depths(scores: &[f64], null_means: &[f64]) -> (usize, f64) {
    let best = (0..scores.len())
        .filter(|&l| !scores[l].is_nan())
        .max_by(|&a, &b| scores[a].total_cmp(&scores[b]).then(b.cmp(&a)))
        .unwrap_or(0);
    let last = (scores.len() - 1) as f64;
    let weights = scores.iter().zip(null_means).map(|(s, m)| (s - m).max(0.0));
    let (mut sum, mut total) = (0.0, 0.0);
    for (l, w) in weights.enumerate() {
        sum += w * l as f64 / last;
        total += w;
    }
    (best, if total > 0.0 { sum / total } else { f64::NAN })
}

fn place(
    key: u64,
    area: &Area<'_>,
    sides: &[Side],
    layers: &[MatRef<f64>],
    (n_neurons, n_images): (usize, usize),
    params: &PlacementParams,
    monitor: &Monitor<'_>,
) -> Result<AreaPlace> {
    let (n, p, n_layers) = (area.responses.nrows(), area.responses.ncols(), sides.len());
    let stream = |purpose: &str, index: usize| {
        Stream::new(params.seed, &format!("{purpose} of area {key}"), index as u64)
    };
    // A component basis of some images is that of their own rows, so layers are cut before.
    let layer_rows = |rows: &[usize]| -> Result<Vec<Side>> {
        match params.measure {
            PlacementMeasure::Ssm => Ok(sides.iter().map(|side| side.rows(rows)).collect()),
            PlacementMeasure::Svcca { .. } if rows.len() == n => {
                Ok(sides.iter().map(|side| side.rows(rows)).collect())
            }
            PlacementMeasure::Svcca { .. } => layers
                .iter()
                .map(|l| Side::of(stereotax_base::linalg::select_rows(*l, rows).as_ref(), params.measure))
                .collect(),
        }
    };
    // Scores, and the ceiling on the same neurons.
    let drawn = (0..params.n_subsamples)
        .into_par_iter()
        .map(|draw| {
            monitor.check()?;
            let mut stream = stream("subsample", draw);
            let (neurons, images) = (stream.subset(p, n_neurons), stream.subset(n, n_images));
            let cut = |x: MatRef<f64>| {
                let picked = columns(x, &neurons);
                Side::of(
                    stereotax_base::linalg::select_rows(picked.as_ref(), &images).as_ref(),
                    params.measure,
                )
            };
            let own = cut(area.responses)?;
            let scores: Vec<f64> =
                layer_rows(&images)?.iter().map(|layer| score(&own, layer)).collect::<Result<_>>()?;
            let ceiling = match area.halves {
                Some([one, two]) => score(&cut(one)?, &cut(two)?)?,
                None => f64::NAN,
            };
            Ok((scores, ceiling))
        })
        .collect::<Result<Vec<(Vec<f64>, f64)>>>()?;
    let defined = |values: Vec<f64>| values.into_iter().filter(|v| !v.is_nan()).collect::<Vec<f64>>();
    let of_layer = |l: usize| defined(drawn.iter().map(|(scores, _)| scores[l]).collect());
    let scores: Vec<f64> = (0..n_layers).map(|l| mean(&of_layer(l))).collect();
    let score_sds: Vec<f64> =
        (0..n_layers).map(|l| stereotax_base::stats::summary::sd(&of_layer(l))).collect();
    // Null: orders of images, each with a subsample of neurons, so that null and score are of one kind.
    let whole: Vec<usize> = (0..n).collect();
    let own_sides = (0..params.n_subsamples.min(10))
        .map(|draw| {
            let neurons = stream("subsample", draw).subset(p, n_neurons);
            Side::of(columns(area.responses, &neurons).as_ref(), params.measure)
        })
        .collect::<Result<Vec<Side>>>()?;
    let all_rows = layer_rows(&whole)?;
    let score_all = |rows: &[usize]| -> Result<Vec<f64>> {
        let mut sums = vec![0.0; n_layers];
        for own in &own_sides {
            let own = own.rows(rows);
            for (sum, layer) in sums.iter_mut().zip(&all_rows) {
                *sum += score(&own, layer)? / own_sides.len() as f64;
            }
        }
        Ok(sums)
    };
    let observed = score_all(&whole)?;
    let null = (0..params.n_permutations)
        .into_par_iter()
        .map(|draw| {
            monitor.check()?;
            score_all(&stream("images", draw).permutation(n))
        })
        .collect::<Result<Vec<Vec<f64>>>>()?;
    let null_means: Vec<f64> =
        (0..n_layers).map(|l| mean(&defined(null.iter().map(|row| row[l]).collect()))).collect();
    let above = |row: &[f64]| -> Vec<f64> { row.iter().zip(&null_means).map(|(s, m)| s - m).collect() };
    let maxima: Vec<f64> =
        null.iter().map(|row| above(row).into_iter().fold(f64::NEG_INFINITY, f64::max)).collect();
    let p_values: Vec<f64> = above(&observed)
        .iter()
        .map(|value| {
            if value.is_nan() {
                return f64::NAN;
            }
            let edge = value - tie_tolerance(*value);
            permutation_p(maxima.iter().filter(|m| **m >= edge).count(), maxima.len())
        })
        .collect();
    let p_value = p_values.iter().copied().fold(f64::NAN, f64::min);
    let (best_layer, depth_weighted) = depths(&scores, &null_means);
    // Intervals.
    let draws = (0..params.n_bootstraps)
        .into_par_iter()
        .map(|draw| {
            monitor.check()?;
            let mut stream = stream("bootstrap", draw);
            let neurons: Vec<usize> = (0..n_neurons).map(|_| stream.below(p)).collect();
            let images: Vec<usize> = match params.measure {
                PlacementMeasure::Ssm => (0..n).map(|_| stream.below(n)).collect(),
                PlacementMeasure::Svcca { .. } => whole.clone(),
            };
            let own = Side::of(columns(area.responses, &neurons).as_ref(), params.measure)?.rows(&images);
            let scores: Vec<f64> =
                layer_rows(&images)?.iter().map(|layer| score(&own, layer)).collect::<Result<_>>()?;
            Ok(depths(&scores, &null_means))
        })
        .collect::<Result<Vec<(usize, f64)>>>()?;
    let last = (n_layers - 1) as f64;
    let tail = 0.5 * (1.0 - params.level);
    let interval = |values: &[f64]| {
        (!draws.is_empty())
            .then(|| Ends { lower: quantile(values, tail), upper: quantile(values, 1.0 - tail) })
    };
    let best_depths: Vec<f64> = draws.iter().map(|d| d.0 as f64 / last).collect();
    let weighted: Vec<f64> = draws.iter().map(|d| d.1).collect();
    let share = |l: usize| draws.iter().filter(|d| d.0 == l).count() as f64 / draws.len() as f64;
    Ok(AreaPlace {
        depth_best: best_layer as f64 / last,
        best_interval: interval(&best_depths),
        weighted_interval: interval(&weighted),
        best_shares: if draws.is_empty() { Vec::new() } else { (0..n_layers).map(share).collect() },
        ceiling: area.halves.map(|_| mean(&defined(drawn.iter().map(|(_, c)| *c).collect()))),
        placed: p_value <= params.alpha,
        scores,
        score_sds,
        null_means,
        p_values,
        p_value,
        best_layer,
        depth_weighted,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(rows: usize, columns: usize, index: u64) -> Mat<f64> {
        let mut stream = Stream::new(8, "placement tests", index);
        Mat::from_fn(rows, columns, |_, _| stream.normal())
    }

    /// Layers that drift: each a mixture of the one before and something new.
    fn layers(n: usize, depth: usize) -> Vec<Mat<f64>> {
        let mut all = vec![noise(n, 30, 0)];
        for l in 1..depth {
            let new = noise(n, 30, l as u64);
            all.push(&all[l - 1] * faer::Scale(0.75) + &new * faer::Scale(0.66));
        }
        all
    }

    fn quick() -> PlacementParams {
        PlacementParams {
            n_subsamples: 8,
            n_bootstraps: 40,
            n_permutations: 59,
            ..PlacementParams::default()
        }
    }

    #[test]
    fn areas_made_from_a_layer_are_placed_there_and_noise_is_not_placed() {
        let layers = layers(40, 6);
        let views: Vec<MatRef<f64>> = layers.iter().map(|l| l.as_ref()).collect();
        let made = |l: usize, index: u64| {
            product(layers[l].as_ref(), noise(30, 50, 100 + index).as_ref()) + noise(40, 50, 200 + index)
        };
        let (early, late, nothing) = (made(1, 0), made(4, 1), noise(40, 60, 300));
        let halves = [&early + noise(40, 50, 400), &early + noise(40, 50, 401)];
        let areas = [
            Area { responses: early.as_ref(), halves: Some([halves[0].as_ref(), halves[1].as_ref()]) },
            Area { responses: late.as_ref(), halves: None },
            Area { responses: nothing.as_ref(), halves: None },
        ];
        for measure in [PlacementMeasure::Ssm, PlacementMeasure::Svcca { n_components: 10 }] {
            let params = PlacementParams { measure, ..quick() };
            let found = place_areas(&areas, &views, &params, &Monitor::silent()).unwrap();
            assert_eq!((found.n_neurons, found.n_images), (40, 40));
            let [a, b, c] = &found.areas[..] else { panic!("three areas") };
            assert_eq!((a.best_layer, b.best_layer), (1, 4), "{measure:?} {:?} {:?}", a.scores, b.scores);
            assert!(a.placed && b.placed && !c.placed, "{measure:?} {} {}", a.p_value, c.p_value);
            assert!(a.depth_weighted < b.depth_weighted && a.depth_best == 0.2);
            assert!(a.ceiling.unwrap() > 0.5 && b.ceiling.is_none());
            let ends = a.best_interval.unwrap();
            assert!(ends.lower <= 0.2 && ends.upper >= 0.2 && a.best_shares[1] > 0.5);
        }
    }

    #[test]
    fn scores_by_hand() {
        // Three images: similarities are correlations of rows; the last row is constant and has none.
        let x = Mat::from_fn(3, 3, |i, j| [[1.0, 2.0, 3.0], [3.0, 2.0, 1.0], [5.0, 5.0, 5.0]][i][j]);
        let s = similarity(x.as_ref());
        assert!((s[(0, 1)] + 1.0).abs() < 1e-15 && s[(0, 2)].is_nan());
        assert_eq!(mean_ranks(&[3.0, 1.0, 3.0, 2.0]), [3.5, 1.0, 3.5, 2.0]);
        // All components kept: a side and an invertible mixture of its columns.
        let x = noise(20, 4, 1);
        let y = product(x.as_ref(), noise(4, 4, 2).as_ref());
        let of = |m: &Mat<f64>| Side::of(m.as_ref(), PlacementMeasure::Svcca { n_components: 9 }).unwrap();
        assert!((score(&of(&x), &of(&y)).unwrap() - 1.0).abs() < 1e-10);
        let (best, weighted) = depths(&[0.1, 0.4, 0.3], &[0.1, 0.1, 0.1]);
        assert!(best == 1 && (weighted - (0.3 * 0.5 + 0.2) / 0.5).abs() < 1e-15);
    }

    #[test]
    fn p_values_of_noise_are_calibrated_over_the_choice_of_a_layer() {
        let layers = layers(16, 4);
        let views: Vec<MatRef<f64>> = layers.iter().map(|l| l.as_ref()).collect();
        let params = PlacementParams {
            n_subsamples: 2,
            n_bootstraps: 0,
            n_permutations: 39,
            ..PlacementParams::default()
        };
        let p: Vec<f64> = (0..160)
            .map(|k| {
                let area = noise(16, 12, 1000 + k);
                let area = Area { responses: area.as_ref(), halves: None };
                let params = PlacementParams { seed: k, ..params };
                place_areas(&[area], &views, &params, &Monitor::silent()).unwrap().areas[0].p_value
            })
            .collect();
        for level in [0.1, 0.5] {
            let share = p.iter().filter(|p| **p <= level + 1e-12).count() as f64 / 160.0;
            assert!((share - level).abs() < 3.5 * (level * (1.0 - level) / 160.0).sqrt(), "{level} {share}");
        }
    }

    #[test]
    fn refusals() {
        let layers = layers(10, 3);
        let views: Vec<MatRef<f64>> = layers.iter().map(|l| l.as_ref()).collect();
        let (good, short) = (noise(10, 8, 1), noise(9, 8, 1));
        let area = |m| Area { responses: m, halves: None };
        let run = |areas: &[Area<'_>], params: &PlacementParams| {
            place_areas(areas, &views, params, &Monitor::silent())
        };
        assert!(run(&[area(short.as_ref())], &quick()).unwrap_err().to_string().contains("same images"));
        let many = PlacementParams { n_neurons: Some(9), ..quick() };
        assert!(run(&[area(good.as_ref())], &many).unwrap_err().to_string().contains("3 to 8 neurons"));
        assert!(run(&[], &quick()).is_err());
        assert!(place_areas(&[area(good.as_ref())], &views[..1], &quick(), &Monitor::silent()).is_err());
    }
}
