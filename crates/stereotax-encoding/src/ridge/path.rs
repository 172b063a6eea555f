//! Evaluate a ridge at all penalties of a grid from few directions.
//!
//! The coefficients of a target depend on the penalty by b(α) = c/(W + α), entry by entry. Among entries of
//! similar W, a band, the A vectors 1/(W + α_a) of a grid lie, to rounding, in few dimensions, because
//! neighbouring penalties shrink alike:
//!
//! ```text
//! 1/(W_i + α_a) = Σ_m u_am s_mi   for i in band B, m = 1…d_B        b(α_a) = Σ_m u_am (s_m ∘ c)
//! ```
//!
//! so whatever is linear in b is computed for the columns s_m ∘ c of each band, and quadratic forms of errors
//! follow as D × D forms, D = Σ_B d_B. One band of 20 penalties over seven decades takes 14 to 17 directions;
//! four bands take 7 to 11 each, and each only meets its own part of W. More bands make for less products and
//! larger forms: [`PenaltyPath::banded`] takes the cheapest number.

use faer::{Mat, MatRef};

use super::Space;
use stereotax_base::data::Result;
use stereotax_base::linalg::{Real, Svd, dot, product, svd};

/// Few directions that the vectors 1/(W + α) of all penalties have in common.
#[derive(Debug)]
pub(super) struct PenaltyPath<T: Real = f64> {
    bands: Vec<Band<T>>,
    /// u, penalties × D: the directions of the first band, then those of the second …
    pub coefficients: Mat<f64>,
}

/// Directions for the entries `from..from + directions.nrows()` of W.
#[derive(Debug)]
struct Band<T: Real> {
    from: usize,
    /// s_m, entries × d_B.
    directions: Mat<T>,
}

/// Dropped directions change predictions by no more than about this, relative to the largest part of a
/// prediction at a penalty; or by the rounding of the data's precision, if that is more.
const CUT: f64 = 1e-11;

/// Numbers of bands that are tried.
const N_BANDS: [usize; 8] = [1, 2, 3, 4, 6, 8, 12, 16];

impl PenaltyPath {
    pub fn empty() -> Self {
        PenaltyPath { bands: Vec::new(), coefficients: Mat::zeros(0, 0) }
    }

    /// One band for all of W, as quadratic forms of all entries need it ([`PenaltyPath::spread`]).
    pub fn whole(
        values: &[f64],
        space: Space,
        rotated: &Mat<f64>,
        alphas: &[f64],
        rounding: f64,
    ) -> Result<Self> {
        let grid = Grid::new(values, reach(values, space, rotated), alphas, rounding)?;
        Ok(PenaltyPath::joined(vec![grid.band(0, values.len())?]))
    }

    /// As many bands as make [`PenaltyPath::turn`] and the forms of its columns cheapest.
    pub fn banded(
        values: &[f64],
        space: Space,
        rotated: &Mat<f64>,
        alphas: &[f64],
        rounding: f64,
    ) -> Result<Self> {
        let grid = Grid::new(values, reach(values, space, rotated), alphas, rounding)?;
        // Forms of pairs of columns run at a fraction of a product's rate.
        PenaltyPath::cheapest(&grid, |width| 4.0 * (width * width) as f64 / 2.0)
    }

    /// As many bands as make sums Σ_m u_am R (s_m ∘ c) at every penalty cheapest, for R of orthonormal rows or of
    /// some of them, and all c alike.
    pub fn summed(values: &[f64], alphas: &[f64], rounding: f64) -> Result<Self> {
        let grid = Grid::new(values, vec![1.0; values.len()], alphas, rounding)?;
        PenaltyPath::cheapest(&grid, |width| 3.0 * (width * alphas.len()) as f64)
    }

    /// `beside`: multiply-adds per row and target beside those of the products, for a number of directions.
    fn cheapest(grid: &Grid<'_>, beside: impl Fn(usize) -> f64) -> Result<Self> {
        let mut best: Option<(f64, Vec<(Band<f64>, Mat<f64>)>)> = None;
        for n_bands in N_BANDS {
            let bands: Vec<_> = edges(grid.values, n_bands)
                .windows(2)
                .filter(|edge| edge[0] < edge[1])
                .map(|edge| grid.band(edge[0], edge[1]))
                .collect::<Result<_>>()?;
            let products: usize =
                bands.iter().map(|(band, _)| band.directions.nrows() * band.directions.ncols()).sum();
            let width: usize = bands.iter().map(|(band, _)| band.directions.ncols()).sum();
            let cost = products as f64 + beside(width);
            if best.as_ref().is_none_or(|(least, _)| cost < *least) {
                best = Some((cost, bands));
            }
        }
        Ok(PenaltyPath::joined(best.map(|(_, bands)| bands).unwrap_or_default()))
    }

    fn joined(bands: Vec<(Band<f64>, Mat<f64>)>) -> Self {
        let n_alphas = bands.first().map_or(0, |(_, coefficients)| coefficients.nrows());
        let columns: Vec<&[f64]> =
            bands.iter().flat_map(|(_, u)| (0..u.ncols()).map(|m| u.col_as_slice(m))).collect();
        let coefficients = Mat::from_fn(n_alphas, columns.len(), |a, m| columns[m][a]);
        PenaltyPath { bands: bands.into_iter().map(|(band, _)| band).collect(), coefficients }
    }

    pub fn narrow<T: Real>(self) -> PenaltyPath<T> {
        let narrow = |band: Band<f64>| Band { from: band.from, directions: T::narrow(band.directions) };
        PenaltyPath { bands: self.bands.into_iter().map(narrow).collect(), coefficients: self.coefficients }
    }
}

/// Where W, which descends, is cut into parts of equal length on a logarithmic scale: n + 1 positions.
fn edges(values: &[f64], n_bands: usize) -> Vec<usize> {
    if values.is_empty() {
        return vec![0];
    }
    let (first, last) = (values[0].ln(), values[values.len() - 1].ln());
    let mut out = vec![0];
    for band in 1..n_bands {
        let level = first + (last - first) * band as f64 / n_bands as f64;
        out.push(values.partition_point(|w| w.ln() > level));
    }
    out.push(values.len());
    out
}

/// z: z_i/(W_i + α) bounds what direction i can add to the predictions of a target of unit length:
/// |c_i| ≤ √W_i in primal space (c = Vᵀ X_cᵀ Y_c), ≤ 1 in dual space, times the length of column i of
/// R_f. So what is dropped is small in predictions at every penalty, however ill-conditioned X is.
fn reach(values: &[f64], space: Space, rotated: &Mat<f64>) -> Vec<f64> {
    (0..values.len())
        .map(|i| {
            let column = rotated.col_as_slice(i);
            let largest = if space == Space::Dual { 1.0 } else { values[i].sqrt() };
            largest * dot(column, column).sqrt()
        })
        .collect()
}

/// E_ai = z_i/(W_i + α_a), each row divided by its largest entry.
struct Grid<'a> {
    values: &'a [f64],
    alphas: &'a [f64],
    /// z.
    reach: Vec<f64>,
    /// Largest entry of each row before division.
    largest: Vec<f64>,
    scaled: Mat<f64>,
    /// Singular values from here on count.
    least: f64,
}

impl<'a> Grid<'a> {
    fn new(values: &'a [f64], reach: Vec<f64>, alphas: &'a [f64], rounding: f64) -> Result<Self> {
        let entry = |a: usize, i: usize| reach[i] / (values[i] + alphas[a]);
        let largest: Vec<f64> = (0..alphas.len())
            .map(|a| (0..reach.len()).map(|i| entry(a, i)).fold(f64::MIN_POSITIVE, f64::max))
            .collect();
        let scaled = Mat::from_fn(alphas.len(), reach.len(), |a, i| entry(a, i) / largest[a]);
        // Nothing varies over these rows: no direction has a value.
        let strongest = match values.is_empty() {
            true => 0.0,
            false => svd(scaled.as_ref())?.s[0],
        };
        let least = CUT.max(rounding) * strongest;
        Ok(Grid { values, alphas, reach, largest, scaled, least })
    }

    /// Directions and coefficients for the entries `from..to`.
    fn band(&self, from: usize, to: usize) -> Result<(Band<f64>, Mat<f64>)> {
        let (k, n_alphas) = (to - from, self.alphas.len());
        if k == 0 {
            return Ok((Band { from, directions: Mat::zeros(0, 0) }, Mat::zeros(n_alphas, 0)));
        }
        let Svd { u, s, v } = svd(self.scaled.as_ref().subcols(from, k))?;
        let d = s.iter().take_while(|&&x| x > self.least).count();
        if d == n_alphas {
            // Nothing to share: each penalty is a direction.
            let directions = Mat::from_fn(k, d, |i, a| 1.0 / (self.values[from + i] + self.alphas[a]));
            return Ok((Band { from, directions }, Mat::identity(d, d)));
        }
        let directions = Mat::from_fn(k, d, |i, m| match self.reach[from + i] {
            reach if reach > 0.0 => v[(i, m)] / reach,
            _ => 0.0,
        });
        let coefficients = Mat::from_fn(n_alphas, d, |a, m| u[(a, m)] * s[m] * self.largest[a]);
        Ok((Band { from, directions }, coefficients))
    }
}

impl<T: Real> PenaltyPath<T> {
    /// D.
    pub fn width(&self) -> usize {
        self.coefficients.ncols()
    }

    /// Columns s_m ∘ c_j of the one band, those of a target side by side: k × (d · targets).
    pub fn spread(&self, rotated_targets: &Mat<T>) -> Mat<T> {
        debug_assert_eq!(self.bands.len(), 1);
        self.bands[0].spread(rotated_targets)
    }

    /// Directions per band.
    pub fn widths(&self) -> impl Iterator<Item = usize> + '_ {
        self.bands.iter().map(|band| band.directions.ncols())
    }

    /// First entry of W of each band.
    pub fn starts(&self) -> impl Iterator<Item = usize> + '_ {
        self.bands.iter().map(|band| band.from)
    }

    /// Per band, columns s_m ∘ c_j, those of a direction side by side: k_B × (targets · d_B).
    pub fn spread_by_direction(&self, rotated_targets: &Mat<T>) -> Vec<Mat<T>> {
        let width = rotated_targets.ncols();
        let of_band = |band: &Band<T>| {
            let (k, d) = (band.directions.nrows(), band.directions.ncols());
            let mut out = Mat::zeros(k, d * width);
            for m in 0..d {
                let s = band.directions.col_as_slice(m);
                for j in 0..width {
                    let c = &rotated_targets.col_as_slice(j)[band.from..band.from + k];
                    let column = out.col_as_slice_mut(m * width + j).iter_mut();
                    column.zip(c).zip(s).for_each(|((out, c), s)| *out = *c * *s);
                }
            }
            out
        };
        self.bands.iter().map(of_band).collect()
    }

    /// R (s_m ∘ c_j) for the directions of all bands; `rotated` is R (rows × k).
    pub fn turn(&self, rotated: MatRef<T>, rotated_targets: &Mat<T>) -> Turned<T> {
        let mut places = Vec::with_capacity(self.width());
        let parts = self.bands.iter().enumerate().map(|(at, band)| {
            let (k, d) = (band.directions.nrows(), band.directions.ncols());
            places.extend((0..d).map(|m| Place { part: at, first: m, step: d }));
            product(rotated.subcols(band.from, k), band.spread(rotated_targets).as_ref())
        });
        Turned { parts: parts.collect(), places }
    }
}

impl<T: Real> Band<T> {
    fn spread(&self, rotated_targets: &Mat<T>) -> Mat<T> {
        let (k, d) = (self.directions.nrows(), self.directions.ncols());
        let mut out = Mat::zeros(k, rotated_targets.ncols() * d);
        for j in 0..rotated_targets.ncols() {
            let c = &rotated_targets.col_as_slice(j)[self.from..self.from + k];
            for m in 0..d {
                let s = self.directions.col_as_slice(m);
                let column = out.col_as_slice_mut(j * d + m).iter_mut();
                column.zip(c).zip(s).for_each(|((out, c), s)| *out = *c * *s);
            }
        }
        out
    }
}

/// What R makes of the directions of each target.
pub(super) struct Turned<T> {
    /// Per band: rows × (d_B · targets).
    parts: Vec<Mat<T>>,
    /// Per direction.
    places: Vec<Place>,
}

/// Where a direction's column for target j stands: `first + j · step` of `part`.
struct Place {
    part: usize,
    first: usize,
    step: usize,
}

impl<T: Real> Turned<T> {
    /// R (s_m ∘ c_j).
    pub fn column(&self, target: usize, direction: usize) -> &[T] {
        let place = &self.places[direction];
        self.parts[place.part].col_as_slice(place.first + target * place.step)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stereotax_base::stats::rng::Stream;

    /// Σ_m u_am R (s_m ∘ c) against R (c/(W + α_a)), over ten decades of W.
    #[test]
    fn bands_give_the_predictions_of_every_penalty() {
        let mut stream = Stream::new(1, "penalty path tests", 0);
        let values: Vec<f64> = (0..600).map(|i| 10f64.powf(6.0 - i as f64 / 60.0)).collect();
        let alphas: Vec<f64> = (0..20).map(|a| 10f64.powf(-1.0 + 7.0 * a as f64 / 19.0)).collect();
        let rotated = Mat::from_fn(30, 600, |_, i| stream.normal() * values[i].sqrt());
        let targets = Mat::from_fn(600, 3, |_, _| stream.normal());
        let paths = [PenaltyPath::whole, PenaltyPath::banded]
            .map(|path| path(&values, Space::Dual, &rotated, &alphas, 0.0).unwrap());
        for path in &paths {
            let turned = path.turn(rotated.as_ref(), &targets);
            for (a, alpha) in alphas.iter().enumerate() {
                for j in 0..3 {
                    let b: Vec<f64> = (0..600).map(|i| targets[(i, j)] / (values[i] + alpha)).collect();
                    let slow: Vec<f64> =
                        (0..30).map(|row| (0..600).map(|i| rotated[(row, i)] * b[i]).sum()).collect();
                    let size = slow.iter().map(|x: &f64| x.abs()).fold(0.0, f64::max);
                    for (row, slow) in slow.iter().enumerate() {
                        let fast: f64 = (0..path.width())
                            .map(|m| path.coefficients[(a, m)] * turned.column(j, m)[row])
                            .sum();
                        assert!((fast - slow).abs() < 1e-9 * size, "{fast} {slow} at {alpha}");
                    }
                }
            }
        }
        // Ten decades in one band need every penalty; in bands, each part of W needs few.
        let [whole, banded] = paths;
        assert!(banded.bands.len() > 1);
        let cost = |path: &PenaltyPath| -> usize {
            path.bands.iter().map(|band| band.directions.nrows() * band.directions.ncols()).sum()
        };
        assert!(3 * cost(&banded) < 2 * cost(&whole), "{} {}", cost(&banded), cost(&whole));
    }

    /// A spectrum, descending, of one of several kinds.
    fn spectrum(kind: usize, k: usize, stream: &mut Stream) -> Vec<f64> {
        let mut values: Vec<f64> = (0..k)
            .map(|i| match kind {
                0 => 10f64.powf(4.0 - 9.0 * i as f64 / k as f64),
                1 => 1.0 / (1.0 + i as f64),
                2 => 3.0,
                3 => [1e5, 1e-4][i % 2] * (1.0 + 0.1 * stream.uniform()),
                4 if i == 0 => 1e8,
                _ => stream.normal().powi(2) + 1e-9,
            })
            .collect();
        values.sort_by(|a, b| b.total_cmp(a));
        values
    }

    /// Over spectra, widths, grids, spaces and precisions: at every penalty what the few directions give is the
    /// prediction, to the cut relative to the largest part of a prediction; every entry of W is in one band; a form
    /// of all entries is that of the predictions; and bands are never dearer than one.
    #[test]
    fn any_spectrum_and_grid_are_met_within_the_cut() {
        let mut stream = Stream::new(1, "penalty path properties", 0);
        let grids: [Vec<f64>; 5] = [
            vec![2.5],
            vec![0.1, 1000.0],
            (0..19).map(|a| 10f64.powf(-3.0 + 0.5 * a as f64)).collect(),
            (0..7).map(|a| 10f64.powi(a - 12)).collect(),
            vec![1e-3, 1.0, 1.0 + 1e-9, 1e9],
        ];
        let mut n_banded = 0;
        for kind in 0..6 {
            for k in [1, 2, 3, 17, 90] {
                let values = spectrum(kind, k, &mut stream);
                let unit = |v: f64, space: Space| if space == Space::Dual { 1.0 } else { v.sqrt() };
                for (alphas, space) in grids.iter().flat_map(|g| [(g, Space::Dual), (g, Space::Primal)]) {
                    let rotated = Mat::from_fn(5, k, |_, i| stream.normal() * values[i].sqrt());
                    // Targets of unit length: |c_i| ≤ √W_i in unit space, ≤ 1 in sample space.
                    let c = Mat::from_fn(k, 2, |i, _| {
                        unit(values[i], space) * (2.0 * stream.uniform() - 1.0) / (k as f64).sqrt()
                    });
                    let made = [
                        (PenaltyPath::whole(&values, space, &rotated, alphas, 0.0).unwrap(), 1e-11),
                        (PenaltyPath::banded(&values, space, &rotated, alphas, 0.0).unwrap(), 1e-11),
                        (PenaltyPath::banded(&values, space, &rotated, alphas, 1e-7).unwrap(), 1e-7),
                    ];
                    let case = format!("spectrum {kind} of {k}, {} penalties, {space:?}", alphas.len());
                    for (path, cut) in &made {
                        let ends: Vec<usize> =
                            path.bands.iter().map(|b| b.from + b.directions.nrows()).collect();
                        let starts: Vec<usize> = path.starts().collect();
                        assert_eq!((starts[0], ends[ends.len() - 1]), (0, k), "{case}");
                        assert!(starts[1..].iter().zip(&ends).all(|(start, end)| start == end), "{case}");
                        assert_eq!(path.widths().sum::<usize>(), path.width(), "{case}");
                        let turned = path.turn(rotated.as_ref(), &c);
                        for (a, alpha) in alphas.iter().enumerate() {
                            // The largest that a direction can add to a prediction at this penalty.
                            let largest = (0..k)
                                .map(|i| {
                                    let column = rotated.col_as_slice(i);
                                    unit(values[i], space) * dot(column, column).sqrt() / (values[i] + alpha)
                                })
                                .fold(0.0, f64::max);
                            for j in 0..2 {
                                for row in 0..5 {
                                    let slow: f64 = (0..k)
                                        .map(|i| rotated[(row, i)] * c[(i, j)] / (values[i] + alpha))
                                        .sum();
                                    let fast: f64 = (0..path.width())
                                        .map(|m| path.coefficients[(a, m)] * turned.column(j, m)[row])
                                        .sum();
                                    let bound = 30.0 * cut * largest * (alphas.len() * k) as f64;
                                    assert!((fast - slow).abs() <= bound, "{case}: {fast} {slow} at {alpha}");
                                }
                            }
                        }
                    }
                    let cost = |path: &PenaltyPath| -> usize {
                        path.bands.iter().map(|b| b.directions.nrows() * b.directions.ncols()).sum::<usize>()
                            + 2 * path.width() * path.width()
                    };
                    assert!(cost(&made[1].0) <= cost(&made[0].0), "{case}");
                    n_banded += usize::from(made[1].0.bands.len() > 1);
                }
            }
        }
        assert!(n_banded > 5, "{n_banded}");
    }

    /// Columns by direction are the columns by target in another order, band by band.
    #[test]
    fn both_orders_of_columns_hold_the_same_numbers() {
        let mut stream = Stream::new(1, "penalty path properties", 1);
        let values = spectrum(0, 600, &mut stream);
        let alphas: Vec<f64> = (0..20).map(|a| 10f64.powf(-4.0 + 0.4 * a as f64)).collect();
        let path = PenaltyPath::summed(&values, &alphas, 0.0).unwrap();
        assert!(path.bands.len() > 1);
        let c = Mat::from_fn(600, 3, |_, _| stream.normal());
        let identity = Mat::<f64>::identity(600, 600);
        let turned = path.turn(identity.as_ref(), &c);
        let mut direction = 0;
        for ((from, width), spread) in path.starts().zip(path.widths()).zip(path.spread_by_direction(&c)) {
            for m in 0..width {
                for j in 0..3 {
                    let column = spread.col_as_slice(m * 3 + j);
                    assert_eq!(&turned.column(j, direction)[from..from + column.len()], column);
                }
                direction += 1;
            }
        }
        assert_eq!(direction, path.width());
    }

    /// Scaling W and α by a factor, and R by its root, changes no prediction of targets in sample space.
    #[test]
    fn the_unit_of_the_features_does_not_matter() {
        let mut stream = Stream::new(1, "penalty path properties", 2);
        let values = spectrum(0, 40, &mut stream);
        let alphas: Vec<f64> = (0..9).map(|a| 10f64.powi(a - 4)).collect();
        let rotated = Mat::from_fn(6, 40, |_, i| stream.normal() * values[i].sqrt());
        let c = Mat::from_fn(40, 1, |_, _| stream.normal());
        let at = |scale: f64| -> Vec<f64> {
            let values: Vec<f64> = values.iter().map(|w| w * scale).collect();
            let alphas: Vec<f64> = alphas.iter().map(|a| a * scale).collect();
            let rotated = Mat::from_fn(6, 40, |t, i| rotated[(t, i)] * scale);
            let path = PenaltyPath::banded(&values, Space::Dual, &rotated, &alphas, 0.0).unwrap();
            let turned = path.turn(rotated.as_ref(), &c);
            (0..9)
                .flat_map(|a| (0..6).map(move |row| (a, row)))
                .map(|(a, row)| {
                    (0..path.width()).map(|m| path.coefficients[(a, m)] * turned.column(0, m)[row]).sum()
                })
                .collect()
        };
        for (a, b) in at(1.0).iter().zip(at(2f64.powi(20))) {
            assert!((a - b).abs() < 1e-8 * (1.0 + a.abs()), "{a} {b}");
        }
    }

    #[test]
    fn rows_over_which_nothing_varies_have_no_directions() {
        let rotated = Mat::zeros(4, 0);
        for path in [PenaltyPath::whole, PenaltyPath::banded] {
            let path = path(&[], Space::Primal, &rotated, &[0.1, 10.0], 0.0).unwrap();
            assert_eq!(path.width(), 0);
        }
    }
}
