//! Test whether subjects agree on the sign of something, for many things at once, by flipping the signs of subjects.
//!
//! ```text
//! t_k = x̄_k / (s_k/√n)                          of cell k over its n subjects
//! p, p_adjusted                                  step-down max-T over cells; flip f turns the same subjects in all of them
//! ```
//!
//! t and not the mean, which would let the noisiest cell set the maxima. All 2ⁿ − 1 flips other than none are taken where
//! they are no more than the draws asked for; n subjects then allow no p below 1/2ⁿ (2/2ⁿ for both sides).
//!
//! Source: Nichols & Holmes 2002 (sign flips, max-T); Westfall & Young 1993 (step-down). Holds where subjects are
//! independent and their values symmetric about 0 under the null. Cost: draws × cells × subjects.

use faer::MatRef;

use super::multiplicity::{MaxT, max_t};
use super::resampling::ResamplingPlan;

/// Fewest subjects that have a spread.
const LEAST: usize = 2;

/// Which values speak against the null.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alternative {
    /// Above 0.
    Greater,
    /// On either side of it.
    Two,
}

/// Test cells × subjects. A subject without a value (NaN) is left out of that cell; cells with fewer than two subjects,
/// or without spread, have no p. Draws are keyed by the ids, whatever the order of subjects.
pub fn sign_flips(
    values: MatRef<f64>,
    ids: &[String],
    seed: u64,
    n_draws: usize,
    alternative: Alternative,
) -> MaxT {
    let (n_cells, n_subjects) = (values.nrows(), values.ncols());
    let cells: Vec<Vec<(usize, f64)>> = (0..n_cells)
        .map(|k| (0..n_subjects).map(|s| (s, values[(k, s)])).filter(|(_, x)| !x.is_nan()).collect())
        .collect();
    let sided = |t: f64| if alternative == Alternative::Two { t.abs() } else { t };
    let observed: Vec<f64> = cells
        .iter()
        .map(|cell| sided(t_of(cell, |_| 1.0)))
        .map(|t| if t.is_finite() { t } else { f64::NAN })
        .collect();
    let all = n_subjects < 30 && (1usize << n_subjects) - 1 <= n_draws;
    let n_draws = if all { (1usize << n_subjects) - 1 } else { n_draws };
    let plan = ResamplingPlan {
        seed,
        block_ids: ids.to_vec(),
        subject_ids: vec![],
        n_bootstraps: 0,
        n_permutations: n_draws,
    };
    let mut null = Vec::with_capacity(n_draws * n_cells);
    for draw in 0..n_draws {
        let signs: Vec<f64> = if all {
            (0..n_subjects).map(|s| if (draw + 1) >> s & 1 == 1 { -1.0 } else { 1.0 }).collect()
        } else {
            plan.sign_flips(draw)
        };
        null.extend(cells.iter().map(|cell| sided(t_of(cell, |s| signs[s])) as f32));
    }
    max_t(&observed, &null).unwrap_or_else(|_| MaxT {
        p_adjusted: vec![f64::NAN; n_cells],
        p_value: vec![f64::NAN; n_cells],
        n_permutations: 0,
        n_undefined: n_cells,
    })
}

/// t of the signed values; ±∞ without a spread, NaN of nothing.
fn t_of(cell: &[(usize, f64)], sign: impl Fn(usize) -> f64) -> f64 {
    let n = cell.len() as f64;
    let mean = cell.iter().map(|&(s, x)| sign(s) * x).sum::<f64>() / n;
    let square: f64 = cell.iter().map(|&(_, x)| x * x).sum();
    if cell.len() < LEAST || square == 0.0 {
        return f64::NAN;
    }
    // Σ x² is the same for all flips. What is left below rounding is a mean without spread.
    let spread = square - n * mean * mean;
    if spread > 1e-14 * square {
        mean / (spread / (n * (n - 1.0))).sqrt()
    } else {
        f64::INFINITY.copysign(mean)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::rng::Stream;
    use faer::Mat;

    fn ids(n: usize) -> Vec<String> {
        (0..n).map(|s| format!("subject {s}")).collect()
    }

    fn noise(cells: usize, subjects: usize, seed: u64) -> Mat<f64> {
        let mut stream = Stream::new(seed, "sign flip tests", 0);
        Mat::from_fn(cells, subjects, |_, _| stream.normal())
    }

    #[test]
    fn three_subjects_by_hand() {
        // Of the eight flips of (1, 2, 4) none and all reach |t|: 2/8. The other cell, (1, −1, 4): |t| is 4/3/(2.52/√3)
        // = 0.918; flips to (1, 1, 4) and (−1, −1, −4) give 2, (−1, 1, 4) gives 0.918 again, and so does its mirror.
        let x = Mat::from_fn(2, 3, |k, s| [[1.0, 2.0, 4.0], [1.0, -1.0, 4.0]][k][s]);
        let two = sign_flips(x.as_ref(), &ids(3), 0, 99, Alternative::Two);
        assert_eq!((two.n_permutations, two.p_value[0], two.p_value[1]), (7, 0.25, 0.75));
        let one = sign_flips(x.as_ref(), &ids(3), 0, 99, Alternative::Greater);
        assert_eq!((one.p_value[0], one.p_value[1]), (1.0 / 8.0, 3.0 / 8.0));
        // |t| of (1, 2, 4): 2.65. The largest of both cells reaches it in flips (none, all): 0.25 stays.
        assert_eq!((two.p_adjusted[0], two.p_adjusted[1]), (0.25, 0.75));
    }

    #[test]
    fn other_cells_make_it_harder_and_flips_are_common() {
        let mut x = noise(30, 8, 1);
        (0..8).for_each(|s| x[(0, s)] += 1.0);
        let all = sign_flips(x.as_ref(), &ids(8), 3, 999, Alternative::Two);
        let alone = sign_flips(x.get(0..1, ..), &ids(8), 3, 999, Alternative::Two);
        assert_eq!(alone.n_permutations, 255);
        assert_eq!(alone.p_value[0], all.p_value[0]);
        assert!(all.p_adjusted[0] > alone.p_adjusted[0] && alone.p_adjusted[0] == alone.p_value[0]);
        // Copies of one cell are one question: their flips are the same, so that nothing is to be paid.
        let copies = Mat::from_fn(30, 8, |_, s| x[(0, s)]);
        assert_eq!(
            sign_flips(copies.as_ref(), &ids(8), 3, 999, Alternative::Two).p_adjusted[7],
            alone.p_value[0]
        );
        // Drawn flips go by ids: the order of subjects does not matter.
        let order = [3, 0, 7, 1, 6, 2, 5, 4];
        let moved = Mat::from_fn(30, 8, |k, s| x[(k, order[s])]);
        let names: Vec<String> = order.iter().map(|&s| ids(8)[s].clone()).collect();
        let drawn = |x: &Mat<f64>, ids: &[String]| sign_flips(x.as_ref(), ids, 3, 99, Alternative::Two);
        assert_eq!(drawn(&x, &ids(8)).p_adjusted, drawn(&moved, &names).p_adjusted);
        assert_eq!(drawn(&x, &ids(8)).n_permutations, 99);
    }

    #[test]
    fn noise_is_found_as_often_as_it_should() {
        // The least adjusted p of 10 cells is at or below 0.1 in one of ten worlds.
        let found = (0..400)
            .filter(|&seed| {
                let p = sign_flips(noise(10, 7, 100 + seed).as_ref(), &ids(7), seed, 999, Alternative::Two);
                p.p_adjusted.iter().fold(1.0, |m: f64, p| m.min(*p)) <= 0.1
            })
            .count();
        assert!((20..=58).contains(&found), "{found}");
    }

    #[test]
    fn what_cannot_be_judged_has_no_p() {
        let x = Mat::from_fn(4, 4, |k, s| match k {
            0 => 1.0,
            1 if s > 0 => f64::NAN,
            2 => 0.0,
            _ => [1.0, 2.0, f64::NAN, 3.5][s],
        });
        let found = sign_flips(x.as_ref(), &ids(4), 0, 99, Alternative::Two);
        assert!((0..3).all(|k| found.p_value[k].is_nan() && found.p_adjusted[k].is_nan()));
        assert_eq!(found.p_value[3], 0.25);
        // (1, 1, −1) against its flips without spread, which are as extreme as can be: 4 of 8 reach 0.5, all do.
        let even = Mat::from_fn(1, 3, |_, s| [1.0, 1.0, -1.0][s]);
        assert_eq!(sign_flips(even.as_ref(), &ids(3), 0, 99, Alternative::Two).p_value, [1.0]);
        assert!(sign_flips(x.as_ref(), &ids(4), 0, 0, Alternative::Two).p_value.iter().all(|p| p.is_nan()));
    }
}
