//! Localise units that respond more to one kind of stimulus than to another (a language localiser).
//!
//! Per unit of all layers, over n_x positive and n_y negative stimuli,
//!
//! ```text
//! t = (x̄ − ȳ)/√(s_x²/n_x + s_y²/n_y)                                   Welch; s² with divisor n − 1
//! df = (s_x²/n_x + s_y²/n_y)² / [(s_x²/n_x)²/(n_x − 1) + (s_y²/n_y)²/(n_y − 1)]      two-sided p
//! ```
//!
//! Benjamini–Hochberg over all units with a p-value makes the mask q ≤ level; of the units in it with t > 0 the K of
//! largest t are selected, over all layers together. A unit that varies in neither condition (a dead one, as a rule)
//! has no t and is never selected. Ties go to the earlier unit.
//!
//! The selection is validated on stimuli that it has not seen: the stimuli of each condition are split into halves at
//! random, units are selected in one half, and their contrast (t of their mean activation, share of t > 0) is taken
//! in the other. How far the selections of both halves agree is told by Dice = 2|A∩B|/(|A| + |B|) and
//! Jaccard = |A∩B|/|A∪B|, with P(overlap ≥ |A∩B|) if both were drawn from the N units with a t (hypergeometric).
//!
//! Source: Fedorenko et al. 2010 and AlKhamissi et al. 2025 (language units of models); Welch 1947; specs:
//! alignment-methods B15. Cost: O(stimuli · units), per split again.

use faer::MatRef;
use rayon::prelude::*;

use super::reduce::check_finite;
use stereotax_base::data::{Error, Monitor, Result};
use stereotax_base::stats::multiplicity::benjamini_hochberg;
use stereotax_base::stats::rng::Stream;
use stereotax_base::stats::special::{ln_gamma, student_two_sided};
use stereotax_base::stats::summary::{is_constant, mean, variance};

/// How units are selected.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LocaliserParams {
    /// K, at most.
    pub n_units: usize,
    /// Level of the mask; 1 for none. Default 0.05.
    pub level: f64,
    /// Whether |activation| is compared. Default yes.
    pub absolute: bool,
}

/// Welch's test of one unit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Welch {
    /// Positive where the first sample is larger; NaN where neither varies.
    pub t: f64,
    /// Welch–Satterthwaite.
    pub df: f64,
    /// Two-sided.
    pub p_value: f64,
}

/// All units of all layers, one after the other.
#[derive(Debug, Clone, PartialEq)]
pub struct Localiser {
    /// Tests.
    pub tests: Vec<Welch>,
    /// Benjamini–Hochberg; NaN without a test.
    pub q_values: Vec<f64>,
    /// The K selected.
    pub selected: Vec<bool>,
    /// Units without a test.
    pub n_dead: usize,
}

/// Welch's t of x against y; NaN where neither varies or one has fewer than two values.
pub fn welch(x: &[f64], y: &[f64]) -> Welch {
    let nothing = Welch { t: f64::NAN, df: f64::NAN, p_value: f64::NAN };
    if x.len() < 2 || y.len() < 2 || (is_constant(x) && is_constant(y)) {
        return nothing;
    }
    let (a, b) = (variance(x) / x.len() as f64, variance(y) / y.len() as f64);
    let t = (mean(x) - mean(y)) / (a + b).sqrt();
    let df = (a + b).powi(2) / (a * a / (x.len() - 1) as f64 + b * b / (y.len() - 1) as f64);
    if !t.is_finite() || !df.is_finite() {
        return nothing;
    }
    Welch { t, df, p_value: student_two_sided(t, df) }
}

/// Test all units of `positive` against `negative` (per layer, stimuli × units) and select.
///
/// Errors: layers that do not match, fewer than 2 stimuli of a kind, values that are not finite, settings out of
/// range.
pub fn localise_units(
    positive: &[MatRef<f64>],
    negative: &[MatRef<f64>],
    params: &LocaliserParams,
) -> Result<Localiser> {
    check(positive, negative, params)?;
    let all = |layers: &[MatRef<f64>]| (0..layers[0].nrows()).collect::<Vec<_>>();
    Ok(localise(positive, negative, &all(positive), &all(negative), params))
}

fn localise(
    positive: &[MatRef<f64>],
    negative: &[MatRef<f64>],
    rows_positive: &[usize],
    rows_negative: &[usize],
    params: &LocaliserParams,
) -> Localiser {
    let tests: Vec<Welch> = units(positive)
        .into_par_iter()
        .map(|(layer, unit)| {
            let values = |of: MatRef<f64>, rows: &[usize]| -> Vec<f64> {
                rows.iter().map(|&i| activation(of[(i, unit)], params)).collect()
            };
            welch(&values(positive[layer], rows_positive), &values(negative[layer], rows_negative))
        })
        .collect();
    let q_values = benjamini_hochberg(&tests.iter().map(|w| w.p_value).collect::<Vec<_>>());
    let mut order: Vec<usize> =
        (0..tests.len()).filter(|&u| tests[u].t > 0.0 && q_values[u] <= params.level).collect();
    order.sort_by(|&a, &b| tests[b].t.total_cmp(&tests[a].t));
    let mut selected = vec![false; tests.len()];
    order.iter().take(params.n_units).for_each(|&u| selected[u] = true);
    let n_dead = tests.iter().filter(|w| w.t.is_nan()).count();
    Localiser { tests, q_values, selected, n_dead }
}

fn units(layers: &[MatRef<f64>]) -> Vec<(usize, usize)> {
    layers.iter().enumerate().flat_map(|(l, x)| (0..x.ncols()).map(move |u| (l, u))).collect()
}

fn activation(value: f64, params: &LocaliserParams) -> f64 {
    if params.absolute { value.abs() } else { value }
}

/// How far two selections agree.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Overlap {
    /// Units of the first, of the second, and of both.
    pub n_first: usize,
    /// Of the second.
    pub n_second: usize,
    /// Of both.
    pub n_both: usize,
    /// 2|A∩B|/(|A| + |B|); NaN of two empty selections.
    pub dice: f64,
    /// |A∩B|/|A∪B|; NaN of two empty selections.
    pub jaccard: f64,
    /// |A||B|/N, the overlap of random selections.
    pub expected: f64,
    /// P(overlap ≥ |A∩B|) of random selections.
    pub p_value: f64,
}

/// Compare two selections among `eligible` units; what is not eligible does not count.
///
/// Errors: different lengths, nothing eligible.
pub fn selection_overlap(first: &[bool], second: &[bool], eligible: &[bool]) -> Result<Overlap> {
    let n = eligible.iter().filter(|e| **e).count();
    if first.len() != second.len() || first.len() != eligible.len() || n == 0 {
        return Err(Error::Shape {
            what: "selections".into(),
            expected: "one flag per unit in each, and a unit that could be selected".into(),
            found: format!("{}, {} and {} flags, {n} eligible", first.len(), second.len(), eligible.len()),
            hint: "compare selections of the same network".into(),
        });
    }
    let count = |of: &dyn Fn(usize) -> bool| (0..first.len()).filter(|&u| eligible[u] && of(u)).count();
    let (a, b, both) = (count(&|u| first[u]), count(&|u| second[u]), count(&|u| first[u] && second[u]));
    let ratio = |x: usize, y: usize| if y > 0 { x as f64 / y as f64 } else { f64::NAN };
    let ln_choose = |n: usize, k: usize| {
        ln_gamma(n as f64 + 1.0) - ln_gamma(k as f64 + 1.0) - ln_gamma((n - k) as f64 + 1.0)
    };
    let from = both.max((a + b).saturating_sub(n));
    let tail: f64 =
        (from..=a.min(b)).map(|k| (ln_choose(a, k) + ln_choose(n - a, b - k) - ln_choose(n, b)).exp()).sum();
    Ok(Overlap {
        n_first: a,
        n_second: b,
        n_both: both,
        dice: ratio(2 * both, a + b),
        jaccard: ratio(both, a + b - both),
        expected: a as f64 * b as f64 / n as f64,
        p_value: tail.min(1.0),
    })
}

/// What units selected in one half show in the other.
#[derive(Debug, Clone, PartialEq)]
pub struct HalfValidation {
    /// Selections of the first and of the second half compared.
    pub overlap: Overlap,
    /// Welch's test of the mean activation of the units of the first half, on the second; and the reverse.
    pub contrast: [Welch; 2],
    /// Share of those units with t > 0 there; NaN where none was selected.
    pub share_positive: [f64; 2],
}

/// Validate the selection on `n_splits` random splits of the stimuli of each kind into halves.
///
/// Errors: as [`localise_units`]; fewer than 4 stimuli of a kind, no splits.
pub fn validate_units(
    positive: &[MatRef<f64>],
    negative: &[MatRef<f64>],
    params: &LocaliserParams,
    n_splits: usize,
    seed: u64,
    monitor: &Monitor<'_>,
) -> Result<Vec<HalfValidation>> {
    check(positive, negative, params)?;
    let (n_positive, n_negative) = (positive[0].nrows(), negative[0].nrows());
    if n_positive < 4 || n_negative < 4 || n_splits == 0 {
        return Err(Error::TooFew {
            what: "stimuli, n_splits".into(),
            needed: "4 stimuli of each kind and 1 split".into(),
            found: format!("{n_positive} and {n_negative}, {n_splits}"),
            hint: "240 stimuli of each kind are customary".into(),
        });
    }
    let all = units(positive);
    (0..n_splits)
        .into_par_iter()
        .map(|split| {
            monitor.check()?;
            let mut stream = Stream::new(seed, "localiser halves", split as u64);
            let mut halve = |n: usize| {
                let order = stream.permutation(n);
                let (a, b) = order.split_at(n / 2);
                [a.to_vec(), b.to_vec()]
            };
            let (rows_positive, rows_negative) = (halve(n_positive), halve(n_negative));
            let halves: Vec<Localiser> = (0..2)
                .map(|h| localise(positive, negative, &rows_positive[h], &rows_negative[h], params))
                .collect();
            let validate = |from: usize| {
                let to = 1 - from;
                let chosen: Vec<usize> = (0..all.len()).filter(|&u| halves[from].selected[u]).collect();
                let average = |layers: &[MatRef<f64>], rows: &[usize]| -> Vec<f64> {
                    let of = |&i: &usize| {
                        let sum: f64 =
                            chosen.iter().map(|&u| activation(layers[all[u].0][(i, all[u].1)], params)).sum();
                        sum / chosen.len() as f64
                    };
                    rows.iter().map(of).collect()
                };
                let above = chosen.iter().filter(|&&u| halves[to].tests[u].t > 0.0).count();
                let test = if chosen.is_empty() {
                    welch(&[], &[])
                } else {
                    welch(&average(positive, &rows_positive[to]), &average(negative, &rows_negative[to]))
                };
                (test, above as f64 / chosen.len() as f64)
            };
            let (first, second) = (validate(0), validate(1));
            let eligible: Vec<bool> = (0..all.len())
                .map(|u| !halves[0].tests[u].t.is_nan() && !halves[1].tests[u].t.is_nan())
                .collect();
            let nothing = Overlap {
                n_first: 0,
                n_second: 0,
                n_both: 0,
                dice: f64::NAN,
                jaccard: f64::NAN,
                expected: 0.0,
                p_value: 1.0,
            };
            let overlap = if eligible.contains(&true) {
                selection_overlap(&halves[0].selected, &halves[1].selected, &eligible)?
            } else {
                nothing
            };
            Ok(HalfValidation { overlap, contrast: [first.0, second.0], share_positive: [first.1, second.1] })
        })
        .collect()
}

/// Which units to take for comparison.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ControlUnits {
    /// As many at random.
    Random {
        /// Seed of the draw.
        seed: u64,
    },
    /// As many of the lowest t.
    Lowest,
    /// As many at most with t between these percentiles (0 to 100) of all t, evenly over them.
    Percentiles {
        /// From here.
        from: f64,
        /// To here.
        to: f64,
    },
}

/// `n_units` units with a t, none of them selected; fewer where there are not as many.
///
/// Errors: percentiles out of order.
pub fn control_units(found: &Localiser, n_units: usize, kind: ControlUnits) -> Result<Vec<bool>> {
    let mut known: Vec<usize> = (0..found.tests.len()).filter(|&u| !found.tests[u].t.is_nan()).collect();
    known.sort_by(|&a, &b| found.tests[a].t.total_cmp(&found.tests[b].t));
    let free = |of: &[usize]| of.iter().copied().filter(|&u| !found.selected[u]).collect::<Vec<_>>();
    let taken: Vec<usize> = match kind {
        ControlUnits::Random { seed } => {
            let mut free = free(&known);
            free.sort_unstable();
            let mut stream = Stream::new(seed, "control units", 0);
            stream.subset(free.len(), n_units.min(free.len())).into_iter().map(|k| free[k]).collect()
        }
        ControlUnits::Lowest => free(&known).into_iter().take(n_units).collect(),
        ControlUnits::Percentiles { from, to } => {
            if !(0.0 <= from && from < to && to <= 100.0) {
                return Err(Error::Invalid {
                    what: "percentiles".into(),
                    expected: "two numbers from 0 to 100 in order".into(),
                    found: format!("{from} and {to}"),
                    hint: "(40, 60) takes the middle".into(),
                });
            }
            let at = |share: f64| (share / 100.0 * known.len() as f64).round() as usize;
            let between = free(&known[at(from)..at(to)]);
            let n = n_units.min(between.len());
            (0..n).map(|k| between[(2 * k + 1) * between.len() / (2 * n)]).collect()
        }
    };
    let mut out = vec![false; found.tests.len()];
    taken.into_iter().for_each(|u| out[u] = true);
    Ok(out)
}

fn check(positive: &[MatRef<f64>], negative: &[MatRef<f64>], params: &LocaliserParams) -> Result<()> {
    let shapes = |layers: &[MatRef<f64>]| layers.iter().map(|x| x.ncols()).collect::<Vec<_>>();
    let same_rows = |layers: &[MatRef<f64>]| layers.iter().all(|x| x.nrows() == layers[0].nrows());
    if positive.is_empty()
        || shapes(positive) != shapes(negative)
        || !same_rows(positive)
        || !same_rows(negative)
    {
        return Err(Error::Shape {
            what: "positive, negative".into(),
            expected: "the same layers with the same units, and the same stimuli in every layer".into(),
            found: format!("layers of {:?} and {:?} units", shapes(positive), shapes(negative)),
            hint: "pass one array (stimuli × units) per layer for each kind".into(),
        });
    }
    for (layers, name) in [(positive, "positive"), (negative, "negative")] {
        if layers[0].nrows() < 2 {
            return Err(Error::TooFew {
                what: name.into(),
                needed: "2 stimuli".into(),
                found: layers[0].nrows().to_string(),
                hint: "240 stimuli of each kind are customary".into(),
            });
        }
        layers.iter().try_for_each(|x| check_finite(*x, name))?;
    }
    if params.n_units == 0 || !(params.level > 0.0 && params.level <= 1.0) {
        return Err(Error::Invalid {
            what: "n_units, level".into(),
            expected: "at least 1 unit, a level above 0 and up to 1".into(),
            found: format!("{}, {}", params.n_units, params.level),
            hint: "a level of 1 selects without a mask".into(),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use faer::Mat;

    const PARAMS: LocaliserParams = LocaliserParams { n_units: 30, level: 0.05, absolute: false };

    #[test]
    fn welch_of_the_specification() {
        // scipy.stats.ttest_ind((1, 2, 3, 4), (0, 1, 1, 0, .5), equal_var=False)
        let found = welch(&[1.0, 2.0, 3.0, 4.0], &[0.0, 1.0, 1.0, 0.0, 0.5]);
        assert!((found.t - 2.927_70).abs() < 5e-6, "{found:?}");
        assert!((found.p_value - 0.046_865).abs() < 5e-7);
        assert!((found.df - 3.722_99).abs() < 5e-6);
        assert!(welch(&[2.0, 2.0], &[1.0, 1.0, 1.0]).t.is_nan() && welch(&[1.0], &[1.0, 2.0]).t.is_nan());
        // One side may be constant: df is that of the other.
        assert!((welch(&[2.0, 2.0, 2.0], &[1.0, 0.0, 1.5, 0.3]).df - 3.0).abs() < 1e-12);
    }

    /// Two layers of 300 units, of which the first 15 of each respond by one SD more; the last 5 are dead.
    fn planted(n: usize, index: u64) -> (Vec<Mat<f64>>, Vec<Mat<f64>>) {
        let mut stream = Stream::new(1, "localiser tests", index);
        let mut layer = |effect: f64| {
            Mat::from_fn(n, 300, |_, u| match u {
                0..15 => stream.normal() + effect,
                295.. => 0.0,
                _ => stream.normal(),
            })
        };
        (vec![layer(1.0), layer(1.0)], vec![layer(0.0), layer(0.0)])
    }

    fn views(layers: &[Mat<f64>]) -> Vec<MatRef<'_, f64>> {
        layers.iter().map(Mat::as_ref).collect()
    }

    #[test]
    fn planted_units_are_found_and_dead_ones_never() {
        let (a, b) = planted(240, 0);
        let found = localise_units(&views(&a), &views(&b), &PARAMS).unwrap();
        let right = (0..600).filter(|u| found.selected[*u] && u % 300 < 15).count();
        assert_eq!((right, found.n_dead), (30, 10));
        // Room for more units than there are: the mask keeps the rest out, but for the level's share.
        let more = LocaliserParams { n_units: 200, ..PARAMS };
        let found = localise_units(&views(&a), &views(&b), &more).unwrap();
        let n = found.selected.iter().filter(|s| **s).count();
        assert!((30..36).contains(&n), "{n}");
        // Without a mask, too, nothing dead and nothing that responds less.
        let all = LocaliserParams { n_units: 600, level: 1.0, ..PARAMS };
        let found = localise_units(&views(&a), &views(&b), &all).unwrap();
        let chosen: Vec<usize> = (0..600).filter(|&u| found.selected[u]).collect();
        assert!(chosen.len() > 200 && chosen.iter().all(|&u| u % 300 < 295 && found.tests[u].t > 0.0));
    }

    #[test]
    fn absolute_activations_are_another_question() {
        let (mut a, b) = planted(240, 1);
        a.iter_mut().for_each(|x| (0..240).for_each(|i| x[(i, 0)] = -4.0 - x[(i, 0)].abs()));
        let signed = localise_units(&views(&a), &views(&b), &PARAMS).unwrap();
        let sizes =
            localise_units(&views(&a), &views(&b), &LocaliserParams { absolute: true, ..PARAMS }).unwrap();
        assert!(!signed.selected[0] && sizes.selected[0] && sizes.tests[0].t > 0.0);
    }

    #[test]
    fn halves_agree_about_planted_units_and_not_about_noise() {
        let (a, b) = planted(240, 2);
        let silent = Monitor::silent();
        let found = validate_units(&views(&a), &views(&b), &PARAMS, 4, 1, &silent).unwrap();
        for half in &found {
            assert!(half.overlap.dice > 0.9 && half.overlap.p_value < 1e-20, "{:?}", half.overlap);
            assert!(
                half.contrast.iter().all(|w| w.t > 10.0) && half.share_positive.iter().all(|s| *s > 0.95)
            );
        }
        let noise = LocaliserParams { level: 1.0, ..PARAMS };
        let (_, c) = planted(240, 3);
        let found = validate_units(&views(&b), &views(&c), &noise, 20, 1, &silent).unwrap();
        let p: Vec<f64> = found.iter().map(|half| half.overlap.p_value).collect();
        let dice: Vec<f64> = found.iter().map(|half| half.overlap.dice).collect();
        assert!(mean(&dice) < 0.15 && mean(&p) > 0.2, "{dice:?} {p:?}");
        assert!(found.iter().flat_map(|h| h.contrast).all(|w| w.t.abs() < 5.0));
    }

    #[test]
    fn overlap_by_hand() {
        // N = 5, |A| = 2, |B| = 3, both 2: P(overlap = 2) = C(3,2)C(2,0)/C(5,2) = 3/10. Dice 4/5, Jaccard 2/3.
        let flags = |of: [u8; 6]| of.map(|f| f == 1);
        let (a, b) = (flags([1, 1, 0, 0, 0, 1]), flags([1, 1, 1, 0, 0, 0]));
        let found = selection_overlap(&a, &b, &flags([1, 1, 1, 1, 1, 0])).unwrap();
        assert_eq!((found.n_first, found.n_second, found.n_both), (2, 3, 2));
        assert!((found.p_value - 0.3).abs() < 1e-12 && (found.expected - 1.2).abs() < 1e-12);
        assert!((found.dice - 0.8).abs() < 1e-15 && (found.jaccard - 2.0 / 3.0).abs() < 1e-15);
        // An overlap that cannot be smaller: N = 5, 4 and 4.
        let found = selection_overlap(
            &flags([1, 1, 1, 1, 0, 0]),
            &flags([0, 1, 1, 1, 1, 0]),
            &flags([1, 1, 1, 1, 1, 0]),
        );
        assert!((found.unwrap().p_value - 1.0).abs() < 1e-12);
        assert!(selection_overlap(&a, &b[..5], &a).is_err());
    }

    #[test]
    fn controls_are_other_units() {
        let (a, b) = planted(100, 4);
        let found = localise_units(&views(&a), &views(&b), &PARAMS).unwrap();
        let t = |of: &[bool]| -> Vec<f64> { (0..600).filter(|&u| of[u]).map(|u| found.tests[u].t).collect() };
        for kind in [
            ControlUnits::Random { seed: 3 },
            ControlUnits::Lowest,
            ControlUnits::Percentiles { from: 40.0, to: 60.0 },
        ] {
            let control = control_units(&found, 25, kind).unwrap();
            let own = t(&control);
            assert!(own.len() == 25 && own.iter().all(|t| !t.is_nan()));
            assert!((0..600).all(|u| !(control[u] && found.selected[u])));
            match kind {
                ControlUnits::Lowest => assert!(own.iter().all(|t| *t < -1.0)),
                ControlUnits::Percentiles { .. } => assert!(own.iter().all(|t| t.abs() < 0.7)),
                ControlUnits::Random { .. } => {
                    assert_ne!(control, control_units(&found, 25, ControlUnits::Random { seed: 4 }).unwrap());
                }
            }
        }
        assert!(control_units(&found, 5, ControlUnits::Percentiles { from: 60.0, to: 40.0 }).is_err());
    }

    #[test]
    fn bad_input_is_named() {
        let (a, b) = planted(10, 5);
        let refused = |x: &[MatRef<f64>], y: &[MatRef<f64>], params: &LocaliserParams| {
            localise_units(x, y, params).unwrap_err().to_string()
        };
        let (x, y) = (views(&a), views(&b));
        assert!(refused(&x[..1], &y, &PARAMS).contains("same layers"));
        assert!(refused(&[x[0], x[1].get(..9, ..)], &y, &PARAMS).contains("same stimuli"));
        assert!(refused(&x, &y, &LocaliserParams { level: 5.0, ..PARAMS }).contains("level"));
        let one: Vec<_> = x.iter().map(|x| x.get(..1, ..)).collect();
        assert!(refused(&one, &y, &PARAMS).contains("2 stimuli"));
        let three: Vec<_> = x.iter().map(|x| x.get(..3, ..)).collect();
        assert!(validate_units(&three, &y, &PARAMS, 1, 0, &Monitor::silent()).is_err());
    }
}
