//! Measure receptive fields: from images and responses (reverse correlation), or maps at hand, by a 2-D Gaussian.
//!
//! ```text
//! RF = Σ_i r_i · image_i / Σ_i r_i − mean image                        responses r ≥ 0; white noise images
//! fit: b + a · exp(−½ (u²/σ₁² + v²/σ₂²)),  (u, v) the place about the centre, turned by the angle
//! size = π σ₁ σ₂                                                        in squared pixels
//! ```
//!
//! a and b are solved for exactly at every step of L-BFGS on centre, ln σ₁, ln σ₂ and angle, from the largest and the
//! smallest value with several widths; |a| is the strength, a may be negative (an OFF field). σ₁ ≥ σ₂, the angle is
//! that of σ₁ from the x axis towards y, in (−90°, 90°]. A fit is kept if its centre lies inside the image, both σ are below a limit
//! (a quarter of the longer side by default) and above a quarter pixel, and its correlation with the RF is at least
//! 0.35; else the reason is told.
//!
//! Source: specs: alignment-methods B7 (limits there are in pixels of one data set). Cost: O(n P m) and O(P) per step.

use faer::{Mat, MatRef};
use rayon::prelude::*;

use super::reduce::check_finite;
use stereotax_base::data::{Error, Monitor, Result};
use stereotax_base::linalg::{column_means, cross, lbfgs};
use stereotax_base::stats::summary::{is_constant, mean, pearson};

/// A fit with a correlation below this is left out.
const LEAST_CORRELATION: f64 = 0.35;
/// So is one whose smaller σ is below this: a single pixel.
const LEAST_WIDTH: f64 = 0.25;
/// Widths to start from, in pixels; and a third of the longer side.
const STARTS: [f64; 3] = [1.0, 2.5, 6.0];

/// The field of one neuron. Pixels are counted from 0, x to the right and y downwards.
#[derive(Debug, Clone, PartialEq)]
pub struct ReceptiveField {
    /// x and y of the centre.
    pub centre: (f64, f64),
    /// σ₁ ≥ σ₂.
    pub widths: (f64, f64),
    /// Of σ₁, in degrees.
    pub angle_deg: f64,
    /// a.
    pub amplitude: f64,
    /// b.
    pub offset: f64,
    /// Of fit and field.
    pub correlation: f64,
    /// π σ₁ σ₂; NaN for a field that is left out.
    pub size: f64,
    /// Why it is left out.
    pub reason: Option<String>,
}

/// RFs (P × neurons) from `images` (n × P) and `responses` (n × neurons) of at least 0.
///
/// NaN for a neuron without any response. Errors: rows that do not match, negative responses, values that are not
/// finite.
pub fn reverse_correlation(images: MatRef<f64>, responses: MatRef<f64>) -> Result<Mat<f64>> {
    check_finite(images, "images")?;
    check_finite(responses, "responses")?;
    if images.nrows() != responses.nrows() || images.nrows() < 2 {
        return Err(Error::Shape {
            what: "responses".into(),
            expected: format!("{} rows (as images), 2 at least", images.nrows()),
            found: format!("{} rows", responses.nrows()),
            hint: "rows must be the same images in the same order".into(),
        });
    }
    if responses.col_iter().any(|c| c.iter().any(|v| *v < 0.0)) {
        return Err(Error::Invalid {
            what: "responses".into(),
            expected: "responses of at least 0, as weights of images".into(),
            found: "a negative one".into(),
            hint: "pass rates, not z-scores; of a linear readout pass its weights to the fit instead".into(),
        });
    }
    let means = column_means(images);
    let centred = Mat::from_fn(images.nrows(), images.ncols(), |i, p| images[(i, p)] - means[p]);
    let mut out = cross(centred.as_ref(), responses);
    for j in 0..out.ncols() {
        let total: f64 = responses.col(j).iter().sum();
        out.col_mut(j).iter_mut().for_each(|v| *v = if total > 0.0 { *v / total } else { f64::NAN });
    }
    Ok(out)
}

/// Fit a Gaussian to every field (P × neurons, P = height · width, row by row).
///
/// A field with NaN, or one that does not vary, is left out. Errors: a size that does not fit, a limit that is not
/// positive, a stop on request.
pub fn fit_receptive_fields(
    fields: MatRef<f64>,
    (height, width): (usize, usize),
    widest: Option<f64>,
    monitor: &Monitor<'_>,
) -> Result<Vec<ReceptiveField>> {
    let widest = widest.unwrap_or(height.max(width) as f64 / 4.0);
    if fields.nrows() != height * width || fields.nrows() < 7 || !(widest > LEAST_WIDTH) {
        return Err(Error::Shape {
            what: "fields".into(),
            expected: format!("{height} × {width} pixels (7 at least), a limit above {LEAST_WIDTH}"),
            found: format!("{} pixels, a limit of {widest}", fields.nrows()),
            hint: "pass height and width of the images".into(),
        });
    }
    (0..fields.ncols())
        .into_par_iter()
        .map(|j| {
            monitor.check()?;
            let field: Vec<f64> = fields.col(j).iter().copied().collect();
            Ok(fit(&field, (height, width), widest))
        })
        .collect()
}

fn fit(field: &[f64], grid: (usize, usize), widest: f64) -> ReceptiveField {
    let nothing = |reason: &str| ReceptiveField {
        centre: (f64::NAN, f64::NAN),
        widths: (f64::NAN, f64::NAN),
        angle_deg: f64::NAN,
        amplitude: f64::NAN,
        offset: f64::NAN,
        correlation: f64::NAN,
        size: f64::NAN,
        reason: Some(reason.into()),
    };
    if field.iter().any(|v| !v.is_finite()) || is_constant(field) {
        return nothing("the field is flat or undefined");
    }
    // ON fields begin at the largest value, OFF fields at the smallest; both are tried.
    let largest = (0..field.len()).fold(0, |b, p| if field[p] > field[b] { p } else { b });
    let smallest = (0..field.len()).fold(0, |b, p| if field[p] < field[b] { p } else { b });
    let longest = grid.0.max(grid.1) as f64;
    let widths: Vec<f64> = STARTS.iter().copied().chain([longest / 3.0]).collect();
    let best = [largest, smallest]
        .iter()
        .flat_map(|&p| widths.iter().map(move |w| ((p % grid.1) as f64, (p / grid.1) as f64, w.ln())))
        .map(|(x, y, w)| {
            lbfgs(&[x, y, w, w, 0.0], 300, 1e-8, |at| walled(loss(field, grid.1, at), at, longest))
        })
        .fold(None, |best: Option<stereotax_base::linalg::Minimum>, next| match best {
            Some(best) if best.value <= next.value => Some(best),
            _ => Some(next),
        });
    let Some(best) = best.filter(|b| b.value.is_finite()) else {
        return nothing("the fit failed");
    };
    let at = &best.at;
    let (shape, _) = gaussian(field.len(), grid.1, at);
    let (amplitude, offset) = line(&shape, field);
    let (mut widths, mut angle) = ((at[2].exp(), at[3].exp()), at[4].to_degrees());
    if widths.0 < widths.1 {
        (widths, angle) = ((widths.1, widths.0), angle + 90.0);
    }
    angle = 90.0 - (90.0 - angle).rem_euclid(180.0);
    let correlation = pearson(&shape, field) * amplitude.signum();
    let inside = (-0.5..grid.1 as f64 - 0.5).contains(&at[0]) && (-0.5..grid.0 as f64 - 0.5).contains(&at[1]);
    let reason = if !inside {
        Some("its centre lies outside the image".to_owned())
    } else if widths.0 > widest {
        Some(format!("a width of {:.1} pixels is above {widest:.1}", widths.0))
    } else if widths.1 < LEAST_WIDTH {
        Some("it is narrower than a pixel".to_owned())
    } else if !(correlation >= LEAST_CORRELATION) {
        Some(format!("a correlation of {correlation:.2} is below {LEAST_CORRELATION}"))
    } else {
        None
    };
    ReceptiveField {
        centre: (at[0], at[1]),
        widths,
        angle_deg: angle,
        amplitude,
        offset,
        correlation,
        size: if reason.is_none() { std::f64::consts::PI * widths.0 * widths.1 } else { f64::NAN },
        reason,
    }
}

/// exp(−½(u²/σ₁² + v²/σ₂²)) at every pixel, and (u, v).
fn gaussian(n: usize, width: usize, at: &[f64]) -> (Vec<f64>, Vec<(f64, f64)>) {
    let (sin, cos) = at[4].sin_cos();
    let turned: Vec<(f64, f64)> = (0..n)
        .map(|p| {
            let (dx, dy) = ((p % width) as f64 - at[0], (p / width) as f64 - at[1]);
            (cos * dx + sin * dy, -sin * dx + cos * dy)
        })
        .collect();
    let (a, b) = ((-2.0 * at[2]).exp(), (-2.0 * at[3]).exp());
    (turned.iter().map(|(u, v)| (-0.5 * (u * u * a + v * v * b)).exp()).collect(), turned)
}

/// Slope and constant of `y` over `x`.
fn line(x: &[f64], y: &[f64]) -> (f64, f64) {
    let (mx, my) = (mean(x), mean(y));
    let across: f64 = x.iter().zip(y).map(|(x, y)| (x - mx) * (y - my)).sum();
    let along: f64 = x.iter().map(|x| (x - mx).powi(2)).sum();
    let slope = if along > 0.0 { across / along } else { 0.0 };
    (slope, my - slope * mx)
}

/// The loss, and more where a width exceeds the longer side: a Gaussian without end is a parabola, which fits
/// whatever is smooth.
fn walled((mut value, mut gradient): (f64, Vec<f64>), at: &[f64], longest: f64) -> (f64, Vec<f64>) {
    for k in [2, 3] {
        let out = (at[k] - longest.ln()).max(0.0);
        value += out * out;
        gradient[k] += 2.0 * out;
    }
    (value, gradient)
}

/// Unexplained share of the field's variance, and its slope; a and b do not move, they are at their best.
fn loss(field: &[f64], width: usize, at: &[f64]) -> (f64, Vec<f64>) {
    let (shape, turned) = gaussian(field.len(), width, at);
    let (a, b) = line(&shape, field);
    let level = mean(field);
    let total: f64 = field.iter().map(|f| (f - level).powi(2)).sum();
    let (sin, cos) = at[4].sin_cos();
    let (p, q) = ((-2.0 * at[2]).exp(), (-2.0 * at[3]).exp());
    let (mut value, mut gradient) = (0.0, vec![0.0; 5]);
    for ((f, g), (u, v)) in field.iter().zip(&shape).zip(&turned) {
        let rest = f - b - a * g;
        value += rest * rest;
        let by = -2.0 * rest * a * g / total;
        gradient[0] += by * (u * p * cos - v * q * sin);
        gradient[1] += by * (u * p * sin + v * q * cos);
        gradient[2] += by * u * u * p;
        gradient[3] += by * v * v * q;
        gradient[4] += by * u * v * (q - p);
    }
    (value / total, gradient)
}

#[cfg(test)]
mod tests {
    use super::*;
    use stereotax_base::stats::rng::Stream;

    const GRID: (usize, usize) = (24, 32);

    fn blob(x: f64, y: f64, s1: f64, s2: f64, degrees: f64) -> Vec<f64> {
        gaussian(GRID.0 * GRID.1, GRID.1, &[x, y, s1.ln(), s2.ln(), f64::to_radians(degrees)]).0
    }

    fn fields(of: &[Vec<f64>]) -> Mat<f64> {
        Mat::from_fn(of[0].len(), of.len(), |p, j| of[j][p])
    }

    #[test]
    fn slopes_are_those_of_differences() {
        let mut stream = Stream::new(1, "field tests", 0);
        let field: Vec<f64> =
            blob(12.0, 9.0, 3.0, 1.5, 30.0).iter().map(|v| v + 0.1 * stream.normal()).collect();
        let at = [11.0, 9.7, 0.9, 0.6, 0.3];
        let (_, gradient) = loss(&field, GRID.1, &at);
        for k in 0..5 {
            let moved = |by: f64| {
                let mut at = at;
                at[k] += by;
                loss(&field, GRID.1, &at).0
            };
            assert!((gradient[k] - (moved(1e-6) - moved(-1e-6)) / 2e-6).abs() < 1e-7, "{k}");
        }
    }

    #[test]
    fn planted_fields_come_back() {
        let mut stream = Stream::new(2, "field tests", 0);
        let planted = [
            (12.3, 9.1, 3.0, 1.5, 30.0, 2.0),
            (25.0, 15.5, 4.0, 2.0, -60.0, -1.0),
            (6.0, 6.0, 2.0, 1.9, 85.0, 0.5),
        ];
        let of: Vec<Vec<f64>> = planted
            .iter()
            .map(|(x, y, a, b, angle, size)| {
                blob(*x, *y, *a, *b, *angle).iter().map(|v| 0.3 + size * v + 0.02 * stream.normal()).collect()
            })
            .collect();
        let found = fit_receptive_fields(fields(&of).as_ref(), GRID, None, &Monitor::silent()).unwrap();
        for (found, (x, y, a, b, angle, size)) in found.iter().zip(planted) {
            assert!((found.centre.0 - x).abs() < 0.1 && (found.centre.1 - y).abs() < 0.1, "{found:?}");
            assert!((found.widths.0 / a - 1.0).abs() < 0.05 && (found.widths.1 / b - 1.0).abs() < 0.05);
            assert!((found.size / (std::f64::consts::PI * a * b) - 1.0).abs() < 0.06);
            assert!((found.amplitude - size).abs() < 0.05 && (found.offset - 0.3).abs() < 0.02);
            assert!(a / b < 1.2 || (found.angle_deg - angle).abs() < 3.0, "{}", found.angle_deg);
            assert!(found.correlation > 0.8 && found.reason.is_none());
        }
    }

    #[test]
    fn white_noise_gives_the_weights_back() {
        let (n, p) = (6000, GRID.0 * GRID.1);
        let mut stream = Stream::new(3, "field tests", 0);
        let images = Mat::from_fn(n, p, |_, _| stream.normal());
        let weights = blob(20.0, 10.0, 3.0, 2.0, 0.0);
        let responses =
            Mat::from_fn(n, 1, |i, _| (0..p).map(|q| images[(i, q)] * weights[q]).sum::<f64>().max(0.0));
        let rf = reverse_correlation(images.as_ref(), responses.as_ref()).unwrap();
        let slow = |q: usize| {
            let total: f64 = (0..n).map(|i| responses[(i, 0)]).sum();
            let weighted: f64 = (0..n).map(|i| responses[(i, 0)] * images[(i, q)]).sum();
            weighted / total - (0..n).map(|i| images[(i, q)]).sum::<f64>() / n as f64
        };
        assert!((0..p).all(|q| (rf[(q, 0)] - slow(q)).abs() < 1e-12));
        let found = &fit_receptive_fields(rf.as_ref(), GRID, None, &Monitor::silent()).unwrap()[0];
        assert!((found.centre.0 - 20.0).abs() < 0.3 && (found.centre.1 - 10.0).abs() < 0.3, "{found:?}");
        assert!((found.size / (std::f64::consts::PI * 6.0) - 1.0).abs() < 0.15);
    }

    #[test]
    fn what_is_no_field_is_left_out_with_a_reason() {
        let mut stream = Stream::new(4, "field tests", 0);
        let noise: Vec<f64> = (0..GRID.0 * GRID.1).map(|_| stream.normal()).collect();
        let of = [
            noise,
            vec![0.2; GRID.0 * GRID.1],
            blob(-9.0, 5.0, 5.0, 5.0, 0.0),
            blob(16.0, 12.0, 12.0, 11.0, 0.0),
        ];
        let found = fit_receptive_fields(fields(&of).as_ref(), GRID, None, &Monitor::silent()).unwrap();
        let reasons: Vec<&str> = found.iter().map(|f| f.reason.as_deref().unwrap_or("kept")).collect();
        // Wide, not endless.
        assert!(
            (found[3].widths.0 - 12.0).abs() < 0.1 && (found[3].widths.1 - 11.0).abs() < 0.1,
            "{:?}",
            found[3]
        );
        assert!(reasons[0] != "kept" && found.iter().all(|f| f.size.is_nan()), "{reasons:?}");
        assert!(
            reasons[1].contains("flat") && reasons[2].contains("outside") && reasons[3].contains("above 8"),
            "{reasons:?}"
        );
        let wrong = fit_receptive_fields(fields(&of).as_ref(), (5, 5), None, &Monitor::silent());
        assert!(wrong.unwrap_err().to_string().contains("5 × 5"));
        let x = fields(&of[..1]);
        let negative = reverse_correlation(x.as_ref(), x.as_ref()).unwrap_err().to_string();
        assert!(negative.contains("negative"), "{negative}");
        let zero = Mat::zeros(x.nrows(), 1);
        assert!(reverse_correlation(x.as_ref(), zero.as_ref()).unwrap()[(0, 0)].is_nan());
    }
}
