//! Measure how spread out points are by the spectrum of a random walk between them, and what labels say of that.
//!
//! ```text
//! G_ij = exp(−d_ij²/2σ²),  K = D^−½ G D^−½,  p_i = |λ_i|^t / Σ |λ|^t
//! DSE  = −Σ p log₂ p                          bits: 0 of equal points, log₂ C of C tight clusters, log₂ N of N far points
//! DSMI = Σ_b p(b) [DSE(Z_rand(b)) − DSE(Z_b)]   bits; Z_b the points of class b, Z_rand(b) as many random ones
//! ```
//!
//! σ is an absolute distance (10 in the reference), so that the entropy changes with the scale of the points; `Median`
//! ties σ to it. Source: Liao et al. 2023; specs: alignment-methods B3. Differs from the reference text, which mixes K
//! with a further normalisation of its rows; K is similar to D⁻¹G. Cost: O(N² p + N³), and 8 N² bytes, for at most
//! `max_points` points.

use faer::{Mat, MatRef};
use rayon::prelude::*;

use stereotax_base::data::{Error, Labels, Monitor, Result};
use stereotax_base::graph::Rows;
use stereotax_base::linalg::{eigh_leading, select_rows};
use stereotax_base::stats::rng::Stream;
use stereotax_base::stats::summary::{check_finite, median};

/// Width of the Gaussian.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Width {
    /// σ itself.
    Fixed(f64),
    /// This factor times the median distance between pairs of all points.
    Median(f64),
}

/// Choices of the entropy.
#[derive(Debug, Clone, PartialEq)]
pub struct EntropyParams {
    /// Default 10, as in the reference.
    pub width: Width,
    /// t > 0. Default 1.
    pub time: f64,
    /// Beyond this many, a random subset is taken. Default 10,000.
    pub max_points: usize,
    /// Random sets of the size of each class. Default 5.
    pub n_draws: usize,
    /// Seed of subsets and draws. Default 0.
    pub seed: u64,
}

impl Default for EntropyParams {
    fn default() -> Self {
        EntropyParams { width: Width::Fixed(10.0), time: 1.0, max_points: 10_000, n_draws: 5, seed: 0 }
    }
}

/// The entropy of points, and the information of their labels.
#[derive(Debug, Clone, PartialEq)]
pub struct SpectralEntropy {
    /// DSE, bits.
    pub entropy: f64,
    /// σ as used, units of distance.
    pub sigma: f64,
    /// Points that took part.
    pub n_points: usize,
    /// DSMI, bits; NaN without labels, or without a class of two points. May be slightly below 0.
    pub information: f64,
    /// DSE of each class, in the order of the labels' groups; NaN of classes of one point, which do not count.
    pub of_class: Vec<f64>,
}

/// Diffusion spectral entropy of `points` (n_points × n_coordinates), and with labels their mutual information.
///
/// Errors: no point, values that are not finite, σ or t not above 0, a median distance of 0, labels of another length,
/// no draw.
pub fn spectral_entropy(
    points: MatRef<f64>,
    labels: Option<&Labels>,
    params: &EntropyParams,
    monitor: &Monitor<'_>,
) -> Result<SpectralEntropy> {
    let n = points.nrows();
    check_finite("points", points)?;
    let (Width::Fixed(number) | Width::Median(number)) = params.width;
    let bad = |number: f64| !(number > 0.0 && number.is_finite());
    if n == 0 || params.max_points == 0 || params.n_draws == 0 {
        return Err(Error::TooFew {
            what: "points, max_points and n_draws".into(),
            needed: "1 each".into(),
            found: format!("{n}, {} and {}", params.max_points, params.n_draws),
            hint: "10,000 points and 5 draws are customary".into(),
        });
    }
    if bad(number) || bad(params.time) {
        return Err(Error::Invalid {
            what: "sigma and time".into(),
            expected: "numbers above 0".into(),
            found: format!("{number} and {}", params.time),
            hint: "σ is a distance between points; a factor of their median distance keeps with their scale"
                .into(),
        });
    }
    if let Some(labels) = labels
        && labels.codes().len() != n
    {
        return Err(Error::Shape {
            what: "labels".into(),
            expected: format!("{n} labels (one per point)"),
            found: labels.codes().len().to_string(),
            hint: "give one label per row".into(),
        });
    }
    let used: Vec<usize> = if n > params.max_points {
        Stream::new(params.seed, "points of the entropy", 0).subset(n, params.max_points)
    } else {
        (0..n).collect()
    };
    let rows = Rows::of(select_rows(points, &used).as_ref());
    let n = used.len();
    let mut squared: Mat<f64> = Mat::zeros(n, n);
    for j in 0..n {
        monitor.check()?;
        for i in 0..j {
            squared[(i, j)] = rows.squared_distance(i, j);
            squared[(j, i)] = squared[(i, j)];
        }
    }
    let sigma = match params.width {
        Width::Fixed(sigma) => sigma,
        Width::Median(factor) => {
            let pairs: Vec<f64> = (0..n).flat_map(|j| squared.col(j).iter().take(j).copied()).collect();
            let middle = median(&pairs).sqrt();
            if !(middle > 0.0) {
                return Err(Error::ZeroVariance {
                    what: "points".into(),
                    detail: "their median distance is 0".into(),
                    hint: "give σ as a number".into(),
                });
            }
            factor * middle
        }
    };
    let all: Vec<usize> = (0..n).collect();
    let entropy = of_some(squared.as_ref(), &all, sigma, params.time)?;
    let Some(labels) = labels else {
        return Ok(SpectralEntropy { entropy, sigma, n_points: n, information: f64::NAN, of_class: vec![] });
    };
    let n_classes = labels.n_groups();
    let members: Vec<Vec<usize>> = (0..n_classes)
        .map(|class| (0..n).filter(|&at| labels.codes()[used[at]] == class).collect())
        .collect();
    let counted: Vec<&Vec<usize>> = members.iter().filter(|class| class.len() >= 2).collect();
    let total: usize = counted.iter().map(|class| class.len()).sum();
    let found: Vec<(f64, f64)> = members
        .par_iter()
        .enumerate()
        .map(|(class, members)| {
            monitor.check()?;
            if members.len() < 2 {
                return Ok((f64::NAN, 0.0));
            }
            let own = of_some(squared.as_ref(), members, sigma, params.time)?;
            let mut random = 0.0;
            for draw in 0..params.n_draws {
                let index = (class as u64) << 32 | draw as u64;
                let others = Stream::new(params.seed, "random classes", index).subset(n, members.len());
                random += of_some(squared.as_ref(), &others, sigma, params.time)? / params.n_draws as f64;
            }
            Ok((own, members.len() as f64 / total as f64 * (random - own)))
        })
        .collect::<Result<_>>()?;
    let information = if total > 0 { found.iter().map(|f| f.1).sum() } else { f64::NAN };
    Ok(SpectralEntropy {
        entropy,
        sigma,
        n_points: n,
        information,
        of_class: found.iter().map(|f| f.0).collect(),
    })
}

fn of_some(squared: MatRef<f64>, points: &[usize], sigma: f64, time: f64) -> Result<f64> {
    let n = points.len();
    let g = Mat::from_fn(n, n, |i, j| (-squared[(points[i], points[j])] / (2.0 * sigma * sigma)).exp());
    let roots: Vec<f64> = (0..n).map(|j| g.col(j).iter().sum::<f64>().sqrt()).collect();
    let k = Mat::from_fn(n, n, |i, j| g[(i, j)] / (roots[i] * roots[j]));
    // Eigenvalues that are rounding of 0 would add up where t is small.
    let powers: Vec<f64> = eigh_leading(k.as_ref(), 0)?
        .values
        .iter()
        .map(|l| if l.abs() > 1e-14 * n as f64 { l.abs().powf(time) } else { 0.0 })
        .collect();
    let sum: f64 = powers.iter().sum();
    Ok(powers.iter().map(|p| p / sum).filter(|p| *p > 0.0).map(|p| -p * p.log2()).sum::<f64>().max(0.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entropy(points: MatRef<f64>, sigma: f64, time: f64) -> f64 {
        let params = EntropyParams { width: Width::Fixed(sigma), time, ..EntropyParams::default() };
        spectral_entropy(points, None, &params, &Monitor::silent()).unwrap().entropy
    }

    #[test]
    fn entropies_of_six_points_are_those_of_the_reference() {
        let rows =
            [[7, 2, 10, 5], [6, 8, 10, 12], [2, 11, 7, 3], [8, 11, 1, 4], [11, 8, 5, 2], [11, 2, 6, 10]];
        let x = Mat::from_fn(6, 4, |i, j| f64::from(rows[i][j]));
        // The package dse-dsmi.
        let expected = [
            (3.0, 1.0, 2.5796489888),
            (3.0, 2.0, 2.5654684679),
            (10.0, 1.0, 1.6100745081),
            (10.0, 2.0, 0.5069620849),
        ];
        for (sigma, time, value) in expected {
            assert!((entropy(x.as_ref(), sigma, time) - value).abs() < 1e-9, "{sigma} {time}");
        }
    }

    #[test]
    fn clusters_lonely_points_and_equal_points_have_the_entropies_of_theory() {
        let mut stream = Stream::new(0, "entropy tests", 0);
        let clusters =
            Mat::from_fn(120, 3, |i, j| 1e3 * f64::from(u8::from(i % 4 == j)) + 1e-3 * stream.normal());
        assert!((entropy(clusters.as_ref(), 10.0, 1.0) - 2.0).abs() < 1e-6);
        assert!(
            (entropy(Mat::from_fn(50, 1, |i, _| 1e3 * i as f64).as_ref(), 1.0, 1.0) - 50f64.log2()).abs()
                < 1e-9
        );
        assert_eq!(entropy(Mat::full(9, 2, 3.0).as_ref(), 1.0, 1.0), 0.0);
        let names: Vec<String> = (0..120).map(|i| format!("{}", i % 4)).collect();
        let params = EntropyParams::default();
        let labels = Labels::new(&names);
        let found = spectral_entropy(clusters.as_ref(), Some(&labels), &params, &Monitor::silent()).unwrap();
        assert!((found.information - 2.0).abs() < 0.02, "{}", found.information);
        let mut shuffled = names;
        Stream::new(1, "entropy tests", 1).shuffle(&mut shuffled);
        let labels = Labels::new(&shuffled);
        let found = spectral_entropy(clusters.as_ref(), Some(&labels), &params, &Monitor::silent()).unwrap();
        assert!(found.information.abs() < 0.05, "{}", found.information);
    }

    #[test]
    fn the_median_width_is_blind_to_scale_and_bad_settings_are_refused() {
        let mut stream = Stream::new(2, "entropy tests", 2);
        let x = Mat::from_fn(40, 3, |_, _| stream.normal());
        let wide = Mat::from_fn(40, 3, |i, j| 50.0 * x[(i, j)]);
        let params = EntropyParams { width: Width::Median(0.5), ..EntropyParams::default() };
        let one = |x: &Mat<f64>| spectral_entropy(x.as_ref(), None, &params, &Monitor::silent()).unwrap();
        assert!((one(&x).entropy - one(&wide).entropy).abs() < 1e-10);
        assert!((one(&wide).sigma / one(&x).sigma - 50.0).abs() < 1e-9);
        let same = Mat::full(5, 2, 1.0);
        assert!(spectral_entropy(same.as_ref(), None, &params, &Monitor::silent()).is_err());
        let zero = EntropyParams { time: 0.0, ..params };
        assert!(
            spectral_entropy(x.as_ref(), None, &zero, &Monitor::silent())
                .unwrap_err()
                .to_string()
                .contains("above 0")
        );
    }
}
