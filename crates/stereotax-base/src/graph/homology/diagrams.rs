//! How far apart two persistence diagrams are, and what one diagram says in a number or a curve.
//!
//! Every bar (b, d) of one diagram is paired with a bar of the other or with the diagonal, the bars of no length:
//!
//! ```text
//! bottleneck      min over pairings of the largest max(|b − b'|, |d − d'|);  to the diagonal (d − b)/2
//! Wasserstein     min over pairings of (Σ cost^p)^(1/p),  cost in the same ground distance, or Euclidean:
//!                 then (d − b)/√2 to the diagonal
//! entropy         −Σ (l/L) log(l/L),  l = d − b, L = Σ l          0 for one bar, log of their number for equal ones
//! Betti curve     how many bars hold t:  b ≤ t < d
//! ```
//!
//! Both distances are exact. Bars without an end pair only among themselves, by their births in order; different numbers
//! of them are infinitely far apart. For diagrams of the same dimension from distances that differ by at most ε, the
//! bottleneck distance is at most ε with scales as distances (stability).
//!
//! Source: Edelsbrunner & Harer 2010; Cohen-Steiner, Edelsbrunner & Harer 2007 (stability); Hopcroft & Karp 1973.
//! The pairing with the diagonal is left out of the assignment: of the saving that a pair brings over two diagonals the
//! largest total is taken; and a pairing that serves the long bars of either side serves both (Mendelsohn & Dulmage
//! 1958). Cost: m and n bars: bottleneck m n √(m + n) log(m n); Wasserstein max(m, n)³.

use faer::Mat;

use super::rips::Bar;
use crate::data::{Error, Result};
use crate::linalg::assignment;

/// Distance of two points of a diagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ground {
    /// Larger difference of birth and death.
    Chebyshev,
    /// √(Δbirth² + Δdeath²).
    Euclidean,
}

impl Ground {
    fn between(self, a: Bar, b: Bar) -> f64 {
        let (birth, death) = ((a.birth - b.birth).abs(), (a.death - b.death).abs());
        match self {
            Ground::Chebyshev => birth.max(death),
            Ground::Euclidean => birth.hypot(death),
        }
    }

    fn to_diagonal(self, a: Bar) -> f64 {
        match self {
            Ground::Chebyshev => 0.5 * a.persistence(),
            Ground::Euclidean => a.persistence() / std::f64::consts::SQRT_2,
        }
    }
}

/// Finite bars of some length, and the births of those without end, ascending.
fn split(name: &str, diagram: &[Bar]) -> Result<(Vec<Bar>, Vec<f64>)> {
    let wrong = |bar: &&Bar| !(bar.birth.is_finite() && bar.death >= bar.birth);
    if let Some(bar) = diagram.iter().find(wrong) {
        return Err(Error::Invalid {
            what: name.into(),
            expected: "finite births, and deaths that are not before them".into(),
            found: format!("a bar from {} to {}", bar.birth, bar.death),
            hint: "give bars as (birth, death); infinity for what has no end".into(),
        });
    }
    let mut endless: Vec<f64> =
        diagram.iter().filter(|bar| bar.death.is_infinite()).map(|b| b.birth).collect();
    endless.sort_by(f64::total_cmp);
    let finite = diagram.iter().filter(|bar| bar.death.is_finite() && bar.death > bar.birth);
    Ok((finite.copied().collect(), endless))
}

/// Bottleneck distance.
///
/// Errors: a birth that is not finite, a death before its birth, NaN.
pub fn bottleneck_distance(a: &[Bar], b: &[Bar]) -> Result<f64> {
    let ((a, endless_a), (b, endless_b)) = (split("a", a)?, split("b", b)?);
    if endless_a.len() != endless_b.len() {
        return Ok(f64::INFINITY);
    }
    let without_end = endless_a.iter().zip(&endless_b).map(|(x, y)| (x - y).abs()).fold(0.0, f64::max);
    let ground = Ground::Chebyshev;
    let mut steps: Vec<f64> = vec![0.0];
    steps.extend(a.iter().chain(&b).map(|bar| ground.to_diagonal(*bar)));
    steps.extend(a.iter().flat_map(|x| b.iter().map(move |y| ground.between(*x, *y))));
    steps.sort_unstable_by(f64::total_cmp);
    steps.dedup();
    let enough = |&step: &f64| !(serves(&a, &b, step) && serves(&b, &a, step));
    let at = steps.partition_point(enough);
    // The largest step always serves: every bar is no further from the diagonal.
    Ok(steps[at.min(steps.len() - 1)].max(without_end))
}

/// Whether the bars of `long` further than `step` from the diagonal can be paired with different ones of `others` within
/// it (Hopcroft & Karp).
fn serves(long: &[Bar], others: &[Bar], step: f64) -> bool {
    let ground = Ground::Chebyshev;
    let near: Vec<Vec<usize>> = long
        .iter()
        .filter(|bar| ground.to_diagonal(**bar) > step)
        .map(|bar| (0..others.len()).filter(|&j| ground.between(*bar, others[j]) <= step).collect())
        .collect();
    if near.len() > others.len() || near.iter().any(Vec::is_empty) {
        return false;
    }
    const FREE: usize = usize::MAX;
    let (mut partner, mut of) = (vec![FREE; near.len()], vec![FREE; others.len()]);
    let mut n_paired = 0;
    while n_paired < near.len() {
        // Layers of alternating paths from those without a partner.
        let mut layer = vec![usize::MAX; near.len()];
        let mut queue: Vec<usize> = (0..near.len()).filter(|&i| partner[i] == FREE).collect();
        queue.iter().for_each(|&i| layer[i] = 0);
        let (mut at, mut reached) = (0, false);
        while at < queue.len() {
            let i = queue[at];
            at += 1;
            for &j in &near[i] {
                match of[j] {
                    FREE => reached = true,
                    next if layer[next] == usize::MAX => {
                        layer[next] = layer[i] + 1;
                        queue.push(next);
                    }
                    _ => {}
                }
            }
        }
        if !reached {
            return false;
        }
        let mut tried = vec![0; near.len()];
        for start in 0..near.len() {
            if partner[start] != FREE {
                continue;
            }
            // Walk down the layers; a vertex that leads nowhere is left for good.
            let mut path = vec![start];
            while let Some(&i) = path.last() {
                let Some(&j) = near[i].get(tried[i]) else {
                    path.pop();
                    if let Some(&above) = path.last() {
                        tried[above] += 1;
                    }
                    continue;
                };
                if of[j] == FREE {
                    for &i in path.iter().rev() {
                        of[near[i][tried[i]]] = i;
                        partner[i] = near[i][tried[i]];
                    }
                    n_paired += 1;
                    break;
                }
                if layer[of[j]] == layer[i].saturating_add(1) {
                    path.push(of[j]);
                } else {
                    tried[i] += 1;
                }
            }
        }
    }
    true
}

/// Wasserstein distance of order `order` ≥ 1.
///
/// Errors: as for the bottleneck; an order below 1 or infinite.
pub fn wasserstein_distance(a: &[Bar], b: &[Bar], order: f64, ground: Ground) -> Result<f64> {
    if !(order >= 1.0 && order.is_finite()) {
        return Err(Error::Invalid {
            what: "order".into(),
            expected: "1 or more, and finite".into(),
            found: order.to_string(),
            hint: "the limit of large orders is the bottleneck distance".into(),
        });
    }
    let ((a, endless_a), (b, endless_b)) = (split("a", a)?, split("b", b)?);
    if endless_a.len() != endless_b.len() {
        return Ok(f64::INFINITY);
    }
    // In units of the largest cost, so that no power overflows.
    let costs = a.iter().chain(&b).map(|bar| ground.to_diagonal(*bar));
    let unit = costs.fold(0.0, f64::max);
    let apart = endless_a.iter().zip(&endless_b).map(|(x, y)| (x - y).abs());
    let unit = apart.clone().fold(unit, f64::max);
    if unit == 0.0 {
        return Ok(0.0);
    }
    let power = |cost: f64| (cost / unit).powf(order);
    let off = |bars: &[Bar]| -> Vec<f64> { bars.iter().map(|bar| power(ground.to_diagonal(*bar))).collect() };
    let (off_a, off_b) = (off(&a), off(&b));
    let size = a.len().max(b.len());
    let saving = |i: usize, j: usize| power(ground.between(a[i], b[j])) - off_a[i] - off_b[j];
    let cost =
        Mat::from_fn(size, size, |i, j| if i < a.len() && j < b.len() { saving(i, j).min(0.0) } else { 0.0 });
    let partner = assignment(cost.as_ref());
    let mut total: f64 = apart.map(power).sum();
    let mut alone = vec![true; b.len()];
    for i in 0..a.len() {
        let j = partner[i];
        if j < b.len() && cost[(i, j)] < 0.0 {
            total += power(ground.between(a[i], b[j]));
            alone[j] = false;
        } else {
            total += off_a[i];
        }
    }
    total += alone.iter().zip(&off_b).filter(|(alone, _)| **alone).map(|(_, off)| off).sum::<f64>();
    Ok(unit * total.powf(1.0 / order))
}

/// Entropy of the lengths of finite bars, in nats; NaN without one.
pub fn persistence_entropy(diagram: &[Bar]) -> f64 {
    let lengths: Vec<f64> =
        diagram.iter().map(Bar::persistence).filter(|l| l.is_finite() && *l > 0.0).collect();
    let total: f64 = lengths.iter().sum();
    if lengths.is_empty() {
        return f64::NAN;
    }
    // −0 of a single bar is 0.
    0.0 - lengths.iter().map(|l| (l / total) * (l / total).ln()).sum::<f64>()
}

/// How many bars hold each of `scales`.
pub fn betti_curve(diagram: &[Bar], scales: &[f64]) -> Vec<usize> {
    let held = |t: &f64| diagram.iter().filter(|bar| bar.birth <= *t && *t < bar.death).count();
    scales.iter().map(held).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::rng::Stream;

    fn bars(pairs: &[(f64, f64)]) -> Vec<Bar> {
        pairs.iter().map(|&(birth, death)| Bar { birth, death }).collect()
    }

    fn some(n: usize, index: u64) -> Vec<Bar> {
        let mut stream = Stream::new(8, "diagram tests", index);
        (0..n)
            .map(|_| {
                let birth = stream.uniform();
                Bar { birth, death: birth + 0.02 + 0.5 * stream.uniform() * stream.uniform() }
            })
            .collect()
    }

    /// All pairings, by recursion.
    fn least(a: &[Bar], b: &mut Vec<Bar>, so_far: f64, add: &dyn Fn(f64, f64) -> f64, ground: Ground) -> f64 {
        let Some((&first, rest)) = a.split_first() else {
            return b.iter().fold(so_far, |sum, bar| add(sum, ground.to_diagonal(*bar)));
        };
        let mut best = least(rest, b, add(so_far, ground.to_diagonal(first)), add, ground);
        for at in 0..b.len() {
            let other = b.remove(at);
            best = best.min(least(rest, b, add(so_far, ground.between(first, other)), add, ground));
            b.insert(at, other);
        }
        best
    }

    #[test]
    fn distances_by_hand() {
        // (0, 4) with (0, 3): 1; (1, 2) to the diagonal: 1/2 (Chebyshev), 1/√2 (Euclidean).
        let (a, b) = (bars(&[(0.0, 4.0), (1.0, 2.0)]), bars(&[(0.0, 3.0)]));
        assert_eq!(bottleneck_distance(&a, &b).unwrap(), 1.0);
        assert_eq!(wasserstein_distance(&a, &b, 1.0, Ground::Chebyshev).unwrap(), 1.5);
        let euclidean = wasserstein_distance(&a, &b, 2.0, Ground::Euclidean).unwrap();
        assert!((euclidean - 1.5f64.sqrt()).abs() < 1e-15);
        // Two short bars are nearer to the diagonal than to one another.
        let (a, b) = (bars(&[(0.0, 0.2)]), bars(&[(5.0, 5.4)]));
        assert!((bottleneck_distance(&a, &b).unwrap() - 0.2).abs() < 1e-15);
        assert!((wasserstein_distance(&a, &b, 1.0, Ground::Chebyshev).unwrap() - 0.3).abs() < 1e-15);
        // Bars without end: births in order.
        let endless = |births: &[f64]| bars(&births.iter().map(|&b| (b, f64::INFINITY)).collect::<Vec<_>>());
        let (x, y) = (endless(&[0.0, 3.0]), endless(&[2.5, 0.25]));
        assert_eq!(bottleneck_distance(&x, &y).unwrap(), 0.5);
        assert_eq!(wasserstein_distance(&x, &y, 1.0, Ground::Chebyshev).unwrap(), 0.75);
        assert_eq!(bottleneck_distance(&x, &endless(&[1.0])).unwrap(), f64::INFINITY);
        assert_eq!(bottleneck_distance(&[], &[]).unwrap(), 0.0);
        assert_eq!(wasserstein_distance(&[], &[], 2.0, Ground::Euclidean).unwrap(), 0.0);
    }

    #[test]
    fn distances_are_the_least_over_all_pairings() {
        for case in 0..60 {
            let (a, b) = (some(1 + case % 5, case as u64), some(case % 6, 1000 + case as u64));
            let found = bottleneck_distance(&a, &b).unwrap();
            let slow = least(&a, &mut b.clone(), 0.0, &f64::max, Ground::Chebyshev);
            assert!((found - slow).abs() < 1e-15, "bottleneck {case}: {found} {slow}");
            for ground in [Ground::Chebyshev, Ground::Euclidean] {
                for order in [1.0, 2.0, 3.5] {
                    let found = wasserstein_distance(&a, &b, order, ground).unwrap();
                    let sum = |sum: f64, cost: f64| sum + cost.powf(order);
                    let slow = least(&a, &mut b.clone(), 0.0, &sum, ground).powf(1.0 / order);
                    assert!((found - slow).abs() < 1e-13, "Wasserstein {case}: {found} {slow}");
                }
            }
        }
    }

    #[test]
    fn distances_are_metrics_that_shrink_with_the_order() {
        let large: Vec<Vec<Bar>> = (0..3).map(|i| some(40 + 7 * i, 50 + i as u64)).collect();
        let distance = |kind: usize, i: usize, j: usize| match kind {
            0 => bottleneck_distance(&large[i], &large[j]).unwrap(),
            kind => wasserstein_distance(&large[i], &large[j], kind as f64, Ground::Chebyshev).unwrap(),
        };
        for kind in 0..4 {
            assert_eq!(distance(kind, 1, 1), 0.0);
            assert!((distance(kind, 0, 1) - distance(kind, 1, 0)).abs() < 1e-12);
            assert!(distance(kind, 0, 2) <= distance(kind, 0, 1) + distance(kind, 1, 2) + 1e-12);
        }
        assert!(distance(0, 0, 1) <= distance(3, 0, 1) && distance(3, 0, 1) <= distance(2, 0, 1));
        assert!(distance(2, 0, 1) < distance(1, 0, 1));
    }

    #[test]
    fn one_diagram_in_a_number_and_a_curve() {
        let equal = bars(&[(0.0, 2.0), (1.0, 3.0), (0.0, f64::INFINITY)]);
        assert!((persistence_entropy(&equal) - 2f64.ln()).abs() < 1e-15);
        assert_eq!(persistence_entropy(&bars(&[(1.0, 4.0)])), 0.0);
        assert!(persistence_entropy(&bars(&[(0.0, f64::INFINITY)])).is_nan());
        assert_eq!(betti_curve(&equal, &[-1.0, 0.0, 1.0, 2.0, 3.0]), [0, 2, 3, 2, 1]);
    }

    #[test]
    fn what_is_no_diagram_is_refused() {
        for bad in [(f64::NAN, 1.0), (0.0, f64::NAN), (2.0, 1.0), (f64::NEG_INFINITY, 0.0)] {
            let message = bottleneck_distance(&bars(&[bad]), &[]).unwrap_err().to_string();
            assert!(message.contains("`a`") && message.contains("birth"), "{message}");
            assert!(wasserstein_distance(&[], &bars(&[bad]), 1.0, Ground::Chebyshev).is_err());
        }
        let message = wasserstein_distance(&[], &[], 0.5, Ground::Euclidean).unwrap_err().to_string();
        assert!(message.contains("0.5") && message.contains("bottleneck"), "{message}");
    }
}
