//! Read each target out at one point of the feature maps.
//!
//! ```text
//! y = Σ_c w_c φ_c(μ) + b        φ_c(μ): bilinear interpolation between the four nearest positions
//! minimise ‖y − ŷ‖² + α‖w‖²     over μ, with w and b solved for exactly at every μ
//! ```
//!
//! Coordinates are those of `align_corners = True`: x runs from −1 at the centre of the leftmost position to +1 at
//! the centre of the rightmost, y likewise from top to bottom. μ stays inside (clamped). The slope of bilinear
//! interpolation sees one cell only, so μ is first sought with Gaussian windows
//! g_p ∝ exp(−‖p − μ‖²/(2σ²)) in place of it: best of a grid at σ = max(H, W)/4 positions, then L-BFGS at σ,
//! σ/2, … down to half a position. From there, and from the three best single positions (features that do not
//! vary smoothly over space leave no slope to follow), a compass search of the bilinear loss itself; the best wins.
//!
//! Source: Lurz et al. 2021 (Gaussian readout); specs: alignment-methods B13.3. Differs from the paper: σ follows a
//! schedule, and is not learned; features are solved for, and not descended on.
//! Cost: single positions O(P (n C² + C³ + n C T)) for all T targets; then per target O(n C (C + window)) per
//! evaluation, a few hundred of them.

use faer::{Mat, MatRef};
use rayon::prelude::*;

use super::{FeatureMaps, Part, check_search, check_targets, choose_alpha, in_columns, parts, penalised};
use stereotax_base::data::{Fold, Monitor, Result};
use stereotax_base::linalg::{cholesky_solve, cross, dot, gram, lbfgs, least_squares, product};

/// Gaussian windows are cut here, in σ.
const REACH: f64 = 4.0;
/// Single positions that a search begins at, beside the annealed one.
const SINGLE: usize = 3;
/// A compass search ends at steps of this many positions.
const FINEST: f64 = 1e-3;

/// How a point readout is fitted.
#[derive(Debug, Clone, PartialEq)]
pub struct PointParams {
    /// α, multiples of the mean square of a feature column; the best by cross-validation. Default 0.01, 0.1, 1.
    pub alphas: Vec<f64>,
}

impl Default for PointParams {
    fn default() -> Self {
        PointParams { alphas: vec![0.01, 0.1, 1.0] }
    }
}

/// The readout of one target.
#[derive(Debug, Clone, PartialEq)]
pub struct PointTarget {
    /// (x, y), each in [−1, 1]; NaN for a target that does not vary.
    pub position: (f64, f64),
    /// w, one per channel.
    pub features: Vec<f64>,
    /// b.
    pub intercept: f64,
    /// The penalty used (as given); NaN for a target that does not vary, which is predicted by its value.
    pub alpha: f64,
    /// Cross-validated R² of that penalty; NaN with a single one.
    pub score: f64,
}

/// A fitted readout.
#[derive(Debug, Clone, PartialEq)]
pub struct PointFit {
    /// One per target.
    pub targets: Vec<PointTarget>,
    /// The same as weights of features (C · P × targets), four positions of each channel at most.
    pub weights: Mat<f64>,
}

/// Fit every target of `y` (n × targets).
///
/// Errors: sizes that do not fit, positions without a grid, values that are not finite, penalties that are not
/// positive, features that do not vary.
pub fn point_readout(
    maps: &FeatureMaps<'_>,
    y: MatRef<f64>,
    folds: &[Fold],
    params: &PointParams,
    monitor: &Monitor<'_>,
) -> Result<PointFit> {
    check_targets(maps, y)?;
    check_search(&params.alphas, folds, y.nrows())?;
    let grid = maps.needs_grid("a point readout")?;
    let (whole, inner) = parts(maps.values, &params.alphas, folds)?;
    let coarse = |part: &Part| -> Vec<Coarse> {
        let of: Vec<Place> = coarse_places(grid);
        of.into_par_iter()
            .map(|place| Coarse { design: read(part, grid, &gaussian(grid, place, widest(grid))), place })
            .collect()
    };
    let starts: Vec<Vec<Coarse>> = std::iter::once(&whole).chain(&inner).map(coarse).collect();
    let singles = std::iter::once(&whole)
        .chain(&inner)
        .map(|part| single_losses(part, y, grid, &params.alphas, monitor))
        .collect::<Result<Vec<_>>>()?;
    let found = (0..y.ncols())
        .into_par_iter()
        .map(|m| {
            monitor.check()?;
            let values: Vec<f64> = y.col(m).iter().copied().collect();
            if whole.is_constant(&values) {
                let features = vec![0.0; maps.n_channels];
                let (position, alpha) = ((f64::NAN, f64::NAN), f64::NAN);
                let target = PointTarget { position, features, intercept: values[0], alpha, score: alpha };
                return Ok((target, vec![0.0; maps.values.ncols()]));
            }
            let fit = |part: &Part, alpha: f64| -> Result<(Place, Vec<f64>, Vec<f64>)> {
                let at = inner.iter().position(|other| std::ptr::eq(other, part)).map_or(0, |k| k + 1);
                let search =
                    Search { part, grid, y: part.target(&values).0, alpha: alpha * part.mean_square };
                let table = params.alphas.iter().position(|a| *a == alpha).unwrap_or(0);
                let place = search.place(&starts[at], singles[at][table].col_as_slice(m), monitor)?;
                let window = bilinear(grid, place);
                let features = search.features(&read(part, grid, &window))?.col_as_slice(0).to_vec();
                let mut weights = vec![0.0; part.x.ncols()];
                for (c, f) in features.iter().enumerate() {
                    window.iter().for_each(|(p, g)| weights[c * grid.0 * grid.1 + p] = f * g);
                }
                Ok((place, features, weights))
            };
            let (chosen, score) =
                choose_alpha(maps.values, &values, &inner, &params.alphas, |part, alpha| {
                    Ok(fit(part, alpha)?.2)
                })?;
            let (place, features, weights) = fit(&whole, params.alphas[chosen])?;
            let offset: f64 = weights.iter().zip(&whole.means).map(|(b, mean)| b * mean).sum();
            let target = PointTarget {
                position: (share(place.0, grid.1), share(place.1, grid.0)),
                features,
                intercept: whole.target(&values).1 - offset,
                alpha: params.alphas[chosen],
                score,
            };
            Ok((target, weights))
        })
        .collect::<Result<Vec<_>>>()?;
    let (targets, columns): (Vec<_>, Vec<_>) = found.into_iter().unzip();
    Ok(PointFit { targets, weights: in_columns(&columns) })
}

/// (x, y) in positions.
type Place = (f64, f64);
/// Positions and their weights.
type Window = Vec<(usize, f64)>;

/// From 0 … size − 1 to −1 … 1; the only position is in the middle.
fn share(at: f64, size: usize) -> f64 {
    if size > 1 { 2.0 * at / (size - 1) as f64 - 1.0 } else { 0.0 }
}

fn widest(grid: (usize, usize)) -> f64 {
    (grid.0.max(grid.1) as f64 / 4.0).max(0.5)
}

/// Places one σ apart.
fn coarse_places((height, width): (usize, usize)) -> Vec<Place> {
    let sigma = widest((height, width));
    let steps = |size: usize| {
        let n = ((size - 1) as f64 / sigma).ceil() as usize + 1;
        (0..n).map(move |k| if n > 1 { k as f64 * (size - 1) as f64 / (n - 1) as f64 } else { 0.0 })
    };
    steps(height).flat_map(|y| steps(width).map(move |x| (x, y))).collect()
}

fn inside((height, width): (usize, usize), place: Place) -> Place {
    (place.0.clamp(0.0, (width - 1) as f64), place.1.clamp(0.0, (height - 1) as f64))
}

/// A Gaussian window of unit sum.
fn gaussian(grid: (usize, usize), place: Place, sigma: f64) -> Window {
    let (x, y) = inside(grid, place);
    let mut window: Window = (0..grid.0 * grid.1)
        .filter_map(|p| {
            let square = ((p % grid.1) as f64 - x).powi(2) + ((p / grid.1) as f64 - y).powi(2);
            (square <= (REACH * sigma).powi(2)).then(|| (p, (-0.5 * square / (sigma * sigma)).exp()))
        })
        .collect();
    let total: f64 = window.iter().map(|(_, g)| g).sum();
    window.iter_mut().for_each(|(_, g)| *g /= total);
    window
}

/// Slopes of [`gaussian`] in x and y.
fn gaussian_slopes(grid: (usize, usize), place: Place, sigma: f64, window: &Window) -> [Window; 2] {
    let (x, y) = inside(grid, place);
    let along = |of: &dyn Fn(usize) -> f64| -> Window {
        let mean: f64 = window.iter().map(|(p, g)| g * of(*p)).sum();
        window.iter().map(|(p, g)| (*p, g * (of(*p) - mean) / (sigma * sigma))).collect()
    };
    [along(&|p| (p % grid.1) as f64 - x), along(&|p| (p / grid.1) as f64 - y)]
}

/// The four nearest positions, with weights that add up to 1.
fn bilinear(grid: (usize, usize), place: Place) -> Window {
    let (x, y) = inside(grid, place);
    let (left, top) =
        ((x.floor() as usize).min(grid.1.max(2) - 2), (y.floor() as usize).min(grid.0.max(2) - 2));
    let (dx, dy) = (x - left as f64, y - top as f64);
    let corners =
        [(0, 0, (1.0 - dx) * (1.0 - dy)), (1, 0, dx * (1.0 - dy)), (0, 1, (1.0 - dx) * dy), (1, 1, dx * dy)];
    let known = corners.iter().filter(|(_, _, g)| *g > 0.0);
    known.map(|(right, down, g)| ((top + down) * grid.1 + left + right, *g)).collect()
}

/// Features under a window: rows × C.
fn read(part: &Part, grid: (usize, usize), window: &Window) -> Mat<f64> {
    let p = grid.0 * grid.1;
    let mut out = Mat::zeros(part.x.nrows(), part.x.ncols() / p);
    for c in 0..out.ncols() {
        for (at, g) in window {
            let from = part.x.col_as_slice(c * p + at);
            out.col_as_slice_mut(c).iter_mut().zip(from).for_each(|(to, v)| *to += g * v);
        }
    }
    out
}

/// Features under the widest window at one place of the grid.
struct Coarse {
    place: Place,
    design: Mat<f64>,
}

/// Per penalty, losses of reading each single position (P × targets).
fn single_losses(
    part: &Part,
    y: MatRef<f64>,
    grid: (usize, usize),
    alphas: &[f64],
    monitor: &Monitor<'_>,
) -> Result<Vec<Mat<f64>>> {
    let columns: Vec<Mat<f64>> =
        y.col_iter().map(|c| part.target(&c.iter().copied().collect::<Vec<_>>()).0).collect();
    let centred = Mat::from_fn(part.x.nrows(), y.ncols(), |i, m| columns[m][(i, 0)]);
    let places = grid.0 * grid.1;
    let rows = (0..places)
        .into_par_iter()
        .map(|p| {
            monitor.check()?;
            let design = read(part, grid, &vec![(p, 1.0)]);
            let (moments, right) = (gram(design.as_ref()), cross(design.as_ref(), centred.as_ref()));
            let of = |alpha: &f64| -> Result<Vec<f64>> {
                let mut moments = moments.clone();
                (0..moments.nrows()).for_each(|c| moments[(c, c)] += alpha * part.mean_square);
                let w = match cholesky_solve(moments.as_ref(), right.as_ref()) {
                    Some(w) => w,
                    None => least_squares(moments.as_ref(), right.as_ref(), 1e-13)?,
                };
                Ok((0..y.ncols())
                    .map(|m| columns[m].squared_norm_l2() - dot(w.col_as_slice(m), right.col_as_slice(m)))
                    .collect())
            };
            alphas.iter().map(of).collect::<Result<Vec<_>>>()
        })
        .collect::<Result<Vec<_>>>()?;
    Ok((0..alphas.len()).map(|a| Mat::from_fn(places, y.ncols(), |p, m| rows[p][a][m])).collect())
}

/// The search for the place of one target.
struct Search<'a> {
    part: &'a Part,
    grid: (usize, usize),
    y: Mat<f64>,
    alpha: f64,
}

impl Search<'_> {
    /// w of a design.
    fn features(&self, design: &Mat<f64>) -> Result<Mat<f64>> {
        let c = design.ncols();
        let penalty = Mat::from_fn(c, c, |i, j| if i == j { self.alpha } else { 0.0 });
        penalised(design.as_ref(), self.y.as_ref(), penalty.as_ref())
    }

    /// The penalised loss of a design, with its w and residuals.
    fn loss(&self, design: &Mat<f64>) -> Result<(f64, Mat<f64>, Mat<f64>)> {
        let w = self.features(design)?;
        let rest = &self.y - product(design.as_ref(), w.as_ref());
        Ok((rest.squared_norm_l2() + self.alpha * w.squared_norm_l2(), w, rest))
    }

    /// The best place, from starts under the widest window and from the losses of single positions.
    fn place(&self, starts: &[Coarse], singles: &[f64], monitor: &Monitor<'_>) -> Result<Place> {
        let mut best = (f64::INFINITY, (0.0, 0.0));
        for start in starts {
            let (loss, ..) = self.loss(&start.design)?;
            if loss < best.0 {
                best = (loss, start.place);
            }
        }
        let mut place = best.1;
        let mut sigma = widest(self.grid);
        while sigma >= 0.5 {
            monitor.check()?;
            let found = lbfgs(&[place.0, place.1], 20, 1e-6, |at| {
                self.smooth_loss((at[0], at[1]), sigma).unwrap_or((f64::NAN, vec![0.0; 2]))
            });
            place = inside(self.grid, (found.at[0], found.at[1]));
            sigma *= 0.5;
        }
        let mut order: Vec<usize> = (0..singles.len()).collect();
        order.sort_by(|&a, &b| singles[a].total_cmp(&singles[b]));
        let single = order.iter().take(SINGLE).map(|p| ((p % self.grid.1) as f64, (p / self.grid.1) as f64));
        let mut best = (f64::INFINITY, place);
        for start in std::iter::once(place).chain(single) {
            let found = self.compass(start, monitor)?;
            if found.0 < best.0 {
                best = found;
            }
        }
        Ok(best.1)
    }

    /// Down the bilinear loss by steps along the axes that halve.
    fn compass(&self, mut place: Place, monitor: &Monitor<'_>) -> Result<(f64, Place)> {
        let at = |place: Place| -> Result<f64> {
            Ok(self.loss(&read(self.part, self.grid, &bilinear(self.grid, place)))?.0)
        };
        let (mut value, mut step) = (at(place)?, 0.5);
        while step > FINEST {
            monitor.check()?;
            let mut moved = false;
            for (dx, dy) in [(step, 0.0), (-step, 0.0), (0.0, step), (0.0, -step)] {
                let next = inside(self.grid, (place.0 + dx, place.1 + dy));
                let found = if next == place { value } else { at(next)? };
                if found < value {
                    (place, value, moved) = (next, found, true);
                }
            }
            if !moved {
                step *= 0.5;
            }
        }
        Ok((value, place))
    }

    /// Loss and slope under a Gaussian window, relative to the variance; outside, more with distance.
    fn smooth_loss(&self, place: Place, sigma: f64) -> Result<(f64, Vec<f64>)> {
        let size = self.y.squared_norm_l2();
        let window = gaussian(self.grid, place, sigma);
        let (loss, w, rest) = self.loss(&read(self.part, self.grid, &window))?;
        let near = inside(self.grid, place);
        let out = [place.0 - near.0, place.1 - near.1];
        let slopes = gaussian_slopes(self.grid, place, sigma, &window);
        let gradient = (0..2)
            .map(|axis| {
                let along = product(read(self.part, self.grid, &slopes[axis]).as_ref(), w.as_ref());
                let slope = -2.0 * product(rest.transpose(), along.as_ref())[(0, 0)] / size;
                if out[axis] == 0.0 { slope } else { 2.0 * out[axis] }
            })
            .collect();
        Ok((loss / size + out[0].powi(2) + out[1].powi(2), gradient))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stereotax_base::stats::rng::Stream;
    use stereotax_base::stats::summary::pearson;

    const GRID: (usize, usize) = (8, 11);
    const CHANNELS: usize = 4;

    fn noise(rows: usize, columns: usize, index: u64) -> Mat<f64> {
        let mut stream = Stream::new(1, "point tests", index);
        Mat::from_fn(rows, columns, |_, _| stream.normal())
    }

    fn planted(n: usize, places: &[Place], w: &Mat<f64>, sd: f64) -> (Mat<f64>, Mat<f64>) {
        let p = GRID.0 * GRID.1;
        let (x, e) = (noise(n, CHANNELS * p, 2), noise(n, places.len(), 3));
        let y = Mat::from_fn(n, places.len(), |i, m| {
            let window = bilinear(GRID, places[m]);
            let value = |c: usize| window.iter().map(|(at, g)| g * x[(i, c * p + at)]).sum::<f64>();
            1.5 + (0..CHANNELS).map(|c| w[(c, m)] * value(c)).sum::<f64>() + sd * e[(i, m)]
        });
        (x, y)
    }

    fn maps(x: &Mat<f64>) -> FeatureMaps<'_> {
        FeatureMaps { values: x.as_ref(), n_channels: CHANNELS, grid: Some(GRID) }
    }

    #[test]
    fn corners_are_at_one_and_weights_add_up() {
        assert_eq!(bilinear((2, 3), (0.0, 0.0)), [(0, 1.0)]);
        assert_eq!(bilinear((2, 3), (2.0, 1.0)), [(5, 1.0)]);
        assert_eq!(bilinear((2, 3), (0.25, 0.0)), [(0, 0.75), (1, 0.25)]);
        assert_eq!(bilinear((2, 3), (1.5, 0.5)), [(1, 0.25), (2, 0.25), (4, 0.25), (5, 0.25)]);
        assert_eq!(bilinear((1, 1), (0.0, 0.0)), [(0, 1.0)]);
        assert_eq!(bilinear((2, 3), (9.0, -4.0)), [(2, 1.0)]);
        assert_eq!((share(0.0, 3), share(1.0, 3), share(2.0, 3), share(0.0, 1)), (-1.0, 0.0, 1.0, 0.0));
    }

    #[test]
    fn slopes_are_those_of_differences() {
        let (x, y) = planted(60, &[(6.3, 2.2)], &noise(CHANNELS, 1, 4), 0.5);
        let part = parts(x.as_ref(), &[0.1], &[]).unwrap().0;
        let search = Search { part: &part, grid: GRID, y: part.target(y.col_as_slice(0)).0, alpha: 3.0 };
        for (place, sigma) in [((5.1, 3.3), 2.0), ((7.4, 1.2), 1.0)] {
            let at = |dx: f64, dy: f64| search.smooth_loss((place.0 + dx, place.1 + dy), sigma).unwrap();
            let slope = at(0.0, 0.0).1;
            let step = 1e-6;
            let slow = [at(step, 0.0).0 - at(-step, 0.0).0, at(0.0, step).0 - at(0.0, -step).0];
            for axis in 0..2 {
                // The cut at 4σ is felt.
                assert!((slope[axis] - slow[axis] / (2.0 * step)).abs() < 1e-5, "{slope:?} {slow:?}");
            }
        }
    }

    #[test]
    fn planted_points_come_back_within_a_tenth_of_a_position() {
        let places = [(6.3, 2.2), (1.0, 6.5), (10.0, 0.0), (4.6, 4.4)];
        let w = noise(CHANNELS, 4, 5);
        let (x, y) = planted(400, &places, &w, 0.2);
        let params = PointParams { alphas: vec![0.01] };
        let fit = point_readout(&maps(&x), y.as_ref(), &[], &params, &Monitor::silent()).unwrap();
        for (m, found) in fit.targets.iter().enumerate() {
            let at = ((found.position.0 + 1.0) * 5.0, (found.position.1 + 1.0) * 3.5);
            let off = (at.0 - places[m].0).abs().max((at.1 - places[m].1).abs());
            assert!(off < 0.1, "{at:?} is not {:?}", places[m]);
            assert!(pearson(&found.features, w.col_as_slice(m)) > 0.98);
            assert!((found.intercept - 1.5).abs() < 0.1);
        }
        let predicted = product(x.as_ref(), fit.weights.as_ref());
        assert!((0..4).all(|m| pearson(predicted.col_as_slice(m), y.col_as_slice(m)) > 0.95));
    }

    #[test]
    fn penalties_are_chosen_and_constants_kept() {
        let (x, mut y) = planted(240, &[(6.3, 2.2), (3.0, 3.0)], &noise(CHANNELS, 2, 6), 0.1);
        (0..240).for_each(|i| y[(i, 1)] = -2.5);
        let folds: Vec<Fold> = (0..3)
            .map(|f| Fold {
                name: f.to_string(),
                train: (0..240).filter(|i| i / 80 != f).collect(),
                test: (f * 80..(f + 1) * 80).collect(),
            })
            .collect();
        let params = PointParams { alphas: vec![0.01, 100.0] };
        let fit = point_readout(&maps(&x), y.as_ref(), &folds, &params, &Monitor::silent()).unwrap();
        assert!(fit.targets[0].alpha == 0.01 && fit.targets[0].score > 0.9, "{:?}", fit.targets[0]);
        assert!(fit.targets[1].intercept == -2.5 && fit.targets[1].position.0.is_nan());
        let tokens = FeatureMaps { grid: None, ..maps(&x) };
        let refused = point_readout(&tokens, y.as_ref(), &folds, &params, &Monitor::silent());
        assert!(refused.unwrap_err().to_string().contains("88 tokens"));
    }
}
