//! Estimate the participation ratio without the bias that few stimuli, few units and noise bring.
//!
//! For responses x (n_stimuli P × n_units Q) with covariance C between units,
//!
//! ```text
//! PR = (Σ_α C_αα)² / Σ_αβ C_αβ²                           (1 to Q; how many directions carry the variance)
//! A  = ⟨v(i,i,j,j)⟩ − 2 ⟨v(i,i,j,l)⟩ + ⟨v(i,j,l,r)⟩        v(i,j,l,r) = Σ_αβ x_iα y_jα x_lβ y_rβ
//! B  = ⟨v(i,j,j,i)⟩ − 2 ⟨v(i,j,j,l)⟩ + ⟨v(i,j,l,r)⟩        ⟨⟩: mean over different stimuli
//! PR = A / B
//! ```
//!
//! with y = x, or a second repeat: then no product holds the same noise twice. A and B have the expectations of
//! numerator and denominator over random stimuli; with α ≠ β only, also over random units.
//!
//! | form | takes units as | takes stimuli as |
//! | --- | --- | --- |
//! | `naive` | all there are | all there are |
//! | `stimuli` | all there are | a sample |
//! | `units` | a sample | all there are |
//! | `both` | a sample | a sample |
//!
//! Roughly 1/naive ≈ 1/PR + 1/P + 1/Q. B of a debiased form can be 0 or less at low signal: the ratio is then
//! NaN, and numerator and denominator say why.
//!
//! Source: specs: alignment-methods B5.1. Differs from the formula there in the order of indices of B's first
//! term, which for y = x is the same: with two repeats it keeps noise that units share out of B as well.
//! Cost: O(P Q min(P, Q)), no loop over quadruples.

use faer::MatRef;

use stereotax_base::data::{Error, Result};
use stereotax_base::linalg::{centre_columns, column_means, cross, product};
use stereotax_base::stats::summary::check_finite;

/// One ratio with its parts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ratio {
    /// A / B; NaN where B is not above 0.
    pub value: f64,
    /// A, in squared units of squared responses.
    pub numerator: f64,
    /// B.
    pub denominator: f64,
}

/// All forms of one set of responses.
#[derive(Debug, Clone, PartialEq)]
pub struct ParticipationRatio {
    /// (Σλ)²/Σλ² of the sample; of the mean of both repeats, where there are two.
    pub naive: Ratio,
    /// Debiased over stimuli.
    pub stimuli: Ratio,
    /// Debiased over units.
    pub units: Ratio,
    /// Debiased over both: the participation ratio of the population that both are samples of.
    pub both: Ratio,
    /// Whether two repeats were given, so that noise is out of `stimuli` and `both` too.
    pub repeats: bool,
    /// Units that respond alike to all stimuli; they add nothing.
    pub n_constant: usize,
}

/// The participation ratio of `x` (n_stimuli × n_units), with the second repeat `y` of the same stimuli where there is
/// one.
///
/// Errors: fewer than 4 stimuli or 2 units, another shape of `y`, values that are not finite, no unit that varies.
pub fn participation_ratio(x: MatRef<f64>, y: Option<MatRef<f64>>) -> Result<ParticipationRatio> {
    let (n, q) = (x.nrows(), x.ncols());
    if n < 4 || q < 2 {
        return Err(Error::TooFew {
            what: "responses".into(),
            needed: "4 stimuli and 2 units".into(),
            found: format!("{n} stimuli and {q} units"),
            hint: "the debiased forms average over four different stimuli".into(),
        });
    }
    check_finite("responses", x)?;
    if let Some(y) = y {
        check_finite("repeat", y)?;
        if (y.nrows(), y.ncols()) != (n, q) {
            return Err(Error::Shape {
                what: "repeat".into(),
                expected: format!("{n} stimuli × {q} units (as the first repeat)"),
                found: format!("{} × {}", y.nrows(), y.ncols()),
                hint: "rows are the same stimuli, columns the same units".into(),
            });
        }
    }
    // All forms are blind to the means of units; without them nothing cancels in the sums.
    let centred = |x: MatRef<f64>| {
        let mut x = x.to_owned();
        let means = column_means(x.as_ref());
        centre_columns(x.as_mut(), &means);
        x
    };
    let a = centred(x);
    let b = y.map(centred);
    let b = b.as_ref().unwrap_or(&a);
    let constant = |j: usize| a.col(j).iter().chain(b.col(j).iter()).all(|v| *v == 0.0);
    let n_constant = (0..q).filter(|&j| constant(j)).count();
    if n_constant == q {
        return Err(Error::ZeroVariance {
            what: "responses".into(),
            detail: format!("all {q} units are constant"),
            hint: "the ratio needs variance; are rows stimuli?".into(),
        });
    }

    // K = A Bᵀ enters by its diagonal, sums over rows and columns, and two sums of products.
    let sums_a: Vec<f64> = (0..q).map(|j| a.col(j).iter().sum()).collect();
    let sums_b: Vec<f64> = (0..q).map(|j| b.col(j).iter().sum()).collect();
    let line = |m: MatRef<f64>, i: usize, with: &[f64]| m.row(i).iter().zip(with).map(|(m, w)| m * w).sum();
    let diagonal: Vec<f64> =
        (0..n).map(|i| a.row(i).iter().zip(b.row(i).iter()).map(|(a, b)| a * b).sum()).collect();
    let rows: Vec<f64> = (0..n).map(|i| line(a.as_ref(), i, &sums_b)).collect();
    let columns: Vec<f64> = (0..n).map(|i| line(b.as_ref(), i, &sums_a)).collect();
    // Σ K_ij² and Σ K_ij K_ji, over the smaller side.
    let (squares, turned) = if q < n {
        let (aa, bb) = (cross(a.as_ref(), a.as_ref()), cross(b.as_ref(), b.as_ref()));
        let ba = cross(b.as_ref(), a.as_ref());
        (together(aa.as_ref(), bb.as_ref()), together(ba.as_ref(), ba.transpose()))
    } else {
        let k = product(a.as_ref(), b.transpose());
        (together(k.as_ref(), k.as_ref()), together(k.as_ref(), k.transpose()))
    };
    let whole = Sums::of(&diagonal, &rows, &columns, squares, turned);

    // The same of every unit alone, where K_ij = a_i b_j.
    let mut alone = Sums::default();
    let mut naive_alone = 0.0;
    for unit in 0..q {
        let (a, b): (Vec<f64>, Vec<f64>) =
            (a.col(unit).iter().copied().collect(), b.col(unit).iter().copied().collect());
        let diagonal: Vec<f64> = a.iter().zip(&b).map(|(a, b)| a * b).collect();
        let rows: Vec<f64> = a.iter().map(|a| a * sums_b[unit]).collect();
        let columns: Vec<f64> = b.iter().map(|b| b * sums_a[unit]).collect();
        let norm = |x: &[f64]| x.iter().map(|x| x * x).sum::<f64>();
        let both: f64 = diagonal.iter().sum();
        alone.add(&Sums::of(&diagonal, &rows, &columns, norm(&a) * norm(&b), both * both));
        naive_alone += both * both;
    }
    let ratio = |numerator: f64, denominator: f64| Ratio {
        value: if denominator > 0.0 { numerator / denominator } else { f64::NAN },
        numerator,
        denominator,
    };
    let debiased = |sums: &Sums| (sums.numerator(n as f64), sums.denominator(n as f64));
    let (of_whole, of_alone) = (debiased(&whole), debiased(&alone));
    let trace: f64 = diagonal.iter().sum();
    let naive = match y {
        None => ratio(trace * trace, squares),
        Some(_) => {
            let mean = (&a + b) * faer::Scale(0.5);
            let c = if q < n {
                cross(mean.as_ref(), mean.as_ref())
            } else {
                product(mean.as_ref(), mean.transpose())
            };
            let trace: f64 = (0..c.nrows()).map(|i| c[(i, i)]).sum();
            ratio(trace * trace, together(c.as_ref(), c.as_ref()))
        }
    };
    Ok(ParticipationRatio {
        naive,
        stimuli: ratio(of_whole.0, of_whole.1),
        units: ratio(trace * trace - naive_alone, turned - naive_alone),
        both: ratio(of_whole.0 - of_alone.0, of_whole.1 - of_alone.1),
        repeats: y.is_some(),
        n_constant,
    })
}

/// Σ_ij a_ij b_ij.
fn together(a: MatRef<f64>, b: MatRef<f64>) -> f64 {
    (0..a.ncols()).map(|j| a.col(j).iter().zip(b.col(j).iter()).map(|(a, b)| a * b).sum::<f64>()).sum()
}

/// Sums of K over different indices: K_ii K_jj, K_ii K_jl, K_ij K_ji, K_ij K_jl, K_ij K_lr.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    iijj: f64,
    iijl: f64,
    ijji: f64,
    ijjl: f64,
    ijlr: f64,
}

impl Sums {
    /// By inclusion and exclusion; `squares` is Σ K_ij², `turned` Σ K_ij K_ji, both with the diagonal.
    fn of(diagonal: &[f64], rows: &[f64], columns: &[f64], squares: f64, turned: f64) -> Self {
        let trace: f64 = diagonal.iter().sum();
        let on: f64 = diagonal.iter().map(|d| d * d).sum();
        let off: f64 = rows.iter().sum::<f64>() - trace;
        let (squares, turned) = (squares - on, turned - on);
        let mut sums = Sums { iijj: trace * trace - on, ijji: turned, ..Sums::default() };
        let mut shared = 0.0;
        for ((d, r), c) in diagonal.iter().zip(rows).zip(columns) {
            let (r, c) = (r - d, c - d);
            sums.iijl += d * (off - r - c);
            sums.ijjl += r * c;
            shared += (r + c) * (r + c);
        }
        sums.ijjl -= turned;
        sums.ijlr = off * off - shared + squares + turned;
        sums
    }

    fn add(&mut self, other: &Sums) {
        self.iijj += other.iijj;
        self.iijl += other.iijl;
        self.ijji += other.ijji;
        self.ijjl += other.ijjl;
        self.ijlr += other.ijlr;
    }

    fn numerator(&self, n: f64) -> f64 {
        let (two, three) = (n * (n - 1.0), n * (n - 1.0) * (n - 2.0));
        self.iijj / two - 2.0 * self.iijl / three + self.ijlr / (three * (n - 3.0))
    }

    fn denominator(&self, n: f64) -> f64 {
        let (two, three) = (n * (n - 1.0), n * (n - 1.0) * (n - 2.0));
        self.ijji / two - 2.0 * self.ijjl / three + self.ijlr / (three * (n - 3.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use faer::Mat;
    use stereotax_base::linalg::thin_qr;
    use stereotax_base::stats::rng::Stream;

    pub(crate) fn six_by_four() -> Mat<f64> {
        let rows =
            [[7, 2, 10, 5], [6, 8, 10, 12], [2, 11, 7, 3], [8, 11, 1, 4], [11, 8, 5, 2], [11, 2, 6, 10]];
        Mat::from_fn(6, 4, |i, j| f64::from(rows[i][j]))
    }

    #[test]
    fn ratios_of_six_stimuli_and_four_units() {
        // Values of the package `dimensionality`, and of loops over different indices.
        let found = participation_ratio(six_by_four().as_ref(), None).unwrap();
        let near = |a: f64, b: f64| assert!((a - b).abs() < 2e-6 * b, "{a} {b}");
        near(found.naive.value, 2.65799);
        near(found.stimuli.numerator, 3197.4666667);
        near(found.stimuli.denominator, 734.7666667);
        near(found.stimuli.value, 4.3516763);
        near(found.both.numerator, 2517.1333333);
        near(found.both.denominator, 54.4333333);
        near(found.both.value, 46.2424985);
    }

    /// The definition, as loops over different stimuli.
    fn by_loops(x: MatRef<f64>, y: MatRef<f64>, same_unit: bool) -> (f64, f64) {
        let (n, q) = (x.nrows(), x.ncols());
        let v = |i: usize, j: usize, l: usize, r: usize| {
            let mut sum = 0.0;
            for a in 0..q {
                for b in 0..q {
                    if same_unit || a != b {
                        sum += x[(i, a)] * y[(j, a)] * x[(l, b)] * y[(r, b)];
                    }
                }
            }
            sum
        };
        let (mut t, mut counts) = ([0.0; 5], [0.0; 5]);
        let mut put = |k: usize, value: f64| {
            t[k] += value;
            counts[k] += 1.0;
        };
        for i in 0..n {
            for j in (0..n).filter(|&j| j != i) {
                put(0, v(i, i, j, j));
                put(1, v(i, j, j, i));
                for l in (0..n).filter(|&l| l != i && l != j) {
                    put(2, v(i, i, j, l));
                    put(3, v(i, j, j, l));
                    for r in (0..n).filter(|&r| r != i && r != j && r != l) {
                        put(4, v(i, j, l, r));
                    }
                }
            }
        }
        let m: Vec<f64> = t.iter().zip(counts).map(|(t, c)| t / c).collect();
        (m[0] - 2.0 * m[2] + m[4], m[1] - 2.0 * m[3] + m[4])
    }

    #[test]
    fn sums_are_those_of_loops_with_one_repeat_and_with_two() {
        let mut stream = Stream::new(0, "participation", 0);
        for q in [3, 9] {
            let x = Mat::from_fn(7, q, |_, _| 5.0 + stream.normal());
            let y = Mat::from_fn(7, q, |i, j| x[(i, j)] + stream.normal());
            for (repeat, second) in [(None, &x), (Some(y.as_ref()), &y)] {
                let found = participation_ratio(x.as_ref(), repeat).unwrap();
                for (ratio, same) in [(found.stimuli, true), (found.both, false)] {
                    let (a, b) = by_loops(x.as_ref(), second.as_ref(), same);
                    assert!((ratio.numerator - a).abs() < 1e-9 * a.abs().max(1.0), "{} {a}", ratio.numerator);
                    assert!((ratio.denominator - b).abs() < 1e-9 * a.abs(), "{} {b}", ratio.denominator);
                }
            }
        }
    }

    #[test]
    fn a_planted_ratio_of_thirty_comes_back() {
        // 30 equal directions in many units; of these 80 are recorded, with 120 stimuli.
        let mean = |noise: f64| {
            let (mut sums, runs) = ([[0.0; 2]; 5], 20);
            for run in 0..runs {
                let mut stream = Stream::new(run, "planted participation", 0);
                let directions = thin_qr(Mat::from_fn(600, 30, |_, _| stream.normal()).as_ref()).0;
                let latent = Mat::from_fn(120, 30, |_, _| stream.normal());
                let loading = directions.get(..80, ..).to_owned() * faer::Scale((600f64 / 30.0).sqrt());
                let signal = product(latent.as_ref(), loading.transpose());
                let mut noisy = || Mat::from_fn(120, 80, |i, j| signal[(i, j)] + noise * stream.normal());
                let (x, y) = (noisy(), noisy());
                let one = participation_ratio(x.as_ref(), None).unwrap();
                let two = participation_ratio(x.as_ref(), Some(y.as_ref())).unwrap();
                for (at, r) in [one.naive, one.stimuli, one.units, one.both, two.both].iter().enumerate() {
                    sums[at][0] += r.numerator;
                    sums[at][1] += r.denominator;
                }
            }
            sums.map(|[a, b]| a / b)
        };
        let [naive, stimuli, units, both, repeats] = mean(0.0);
        // Of the covariance that was planted: 22.4 with these units, 31.5 between different ones; 120 stimuli make
        // the naive ratio 1/(1/22.4 + 1/120).
        assert!((naive - 18.9).abs() < 0.7 && (stimuli - 22.4).abs() < 0.8, "{naive} {stimuli}");
        assert!((units - 24.9).abs() < 1.5 && (both - 31.5).abs() < 2.0, "{units} {both}");
        assert!((repeats - both).abs() < 1e-9);
        let [_, _, _, both, repeats] = mean(1.0);
        assert!(both > 80.0 && (repeats - 31.5).abs() < 3.0, "{both} {repeats}");
    }

    #[test]
    fn what_has_no_ratio_is_refused_in_words() {
        let message = |x: Mat<f64>| participation_ratio(x.as_ref(), None).unwrap_err().to_string();
        assert!(message(Mat::zeros(3, 5)).contains("4 stimuli"));
        assert!(message(Mat::full(5, 3, 2.0)).contains("constant"));
        let x = six_by_four();
        let other = x.get(..5, ..);
        assert!(participation_ratio(x.as_ref(), Some(other)).unwrap_err().to_string().contains("5 × 4"));
    }
}
