//! Kendall's τ: pairs of dissimilarities that two RDMs put into the same order, less those they do not.
//!
//! ```text
//! S = Σ_{p<q} w_p w_q sgn(x_p − x_q) sgn(y_p − y_q),   n₀ = W (W − 1)/2
//! τ-a = S/n₀,   τ-b = S/√((n₀ − n_x)(n₀ − n_y)),       n_x = Σ_ties t (t − 1)/2
//! ```
//!
//! Weights w are numbers of copies (a bootstrap draw); copies of one value are tied with one another. In order of
//! x, a Fenwick tree over the levels of y tells how much weight lies below and above: O(m log m), exact in
//! integers. Source: Kendall 1948; Nili et al. 2014 (τ-a for models that predict ties).

use super::Undefined;
use stereotax_base::stats::ranks::{Levels, levels};

/// Both coefficients.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tau {
    /// Over all pairs.
    pub a: f64,
    /// Over untied pairs.
    pub b: f64,
}

/// τ of two vectors without NaN.
pub fn tau(x: &[f64], y: &[f64]) -> Result<Tau, Undefined> {
    let (x, y) = (levels(x), levels(y));
    let order = order_of(&x);
    weighted_tau(&order, &x, &y, &vec![1; x.level.len()])
}

/// Positions by ascending level.
pub fn order_of(x: &Levels) -> Vec<u32> {
    let mut starts = vec![0usize; x.n_levels + 1];
    for &level in &x.level {
        starts[level as usize + 1] += 1;
    }
    for l in 0..x.n_levels {
        starts[l + 1] += starts[l];
    }
    let mut order = vec![0; x.level.len()];
    for (p, &level) in x.level.iter().enumerate() {
        order[starts[level as usize]] = p as u32;
        starts[level as usize] += 1;
    }
    order
}

/// τ where value p counts `weights[p]` times; `order` is that of `x` ([`order_of`]).
pub fn weighted_tau(order: &[u32], x: &Levels, y: &Levels, weights: &[u32]) -> Result<Tau, Undefined> {
    let mut tree = vec![0i64; y.n_levels + 1];
    let mut of_y = vec![0i64; y.n_levels];
    let (mut seen, mut s, mut ties_x) = (0i64, 0i64, 0i64);
    let mut at = 0;
    while at < order.len() {
        let level = x.level[order[at] as usize];
        let end = at + order[at..].iter().take_while(|&&p| x.level[p as usize] == level).count();
        let mut tied = 0;
        // First what comes before this tie, then the tie itself.
        for &p in &order[at..end] {
            let w = i64::from(weights[p as usize]);
            if w == 0 {
                continue;
            }
            let y_level = y.level[p as usize] as usize;
            let below = sum_up_to(&tree, y_level);
            let above = seen - below - of_y[y_level];
            s += w * (below - above);
            tied += w;
        }
        for &p in &order[at..end] {
            let w = i64::from(weights[p as usize]);
            if w > 0 {
                let y_level = y.level[p as usize] as usize;
                add(&mut tree, y_level, w);
                of_y[y_level] += w;
            }
        }
        seen += tied;
        ties_x += tied * (tied - 1) / 2;
        at = end;
    }
    let all = seen * (seen - 1) / 2;
    let ties_y: i64 = of_y.iter().map(|t| t * (t - 1) / 2).sum();
    if ties_x == all || ties_y == all {
        return Err(Undefined::Constant);
    }
    let untied = ((all - ties_x) as f64).sqrt() * ((all - ties_y) as f64).sqrt();
    Ok(Tau { a: s as f64 / all as f64, b: (s as f64 / untied).clamp(-1.0, 1.0) })
}

/// Weight at levels below `level`.
fn sum_up_to(tree: &[i64], level: usize) -> i64 {
    let (mut at, mut sum) = (level, 0);
    while at > 0 {
        sum += tree[at];
        at &= at - 1;
    }
    sum
}

fn add(tree: &mut [i64], level: usize, weight: i64) {
    let mut at = level + 1;
    while at < tree.len() {
        tree[at] += weight;
        at += at & at.wrapping_neg();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stereotax_base::stats::rng::Stream;

    /// The definition.
    fn slow(x: &[f64], y: &[f64]) -> Tau {
        let sign = |d: f64| {
            if d > 0.0 {
                1.0
            } else if d < 0.0 {
                -1.0
            } else {
                0.0
            }
        };
        let (mut s, mut a, mut b) = (0.0, 0.0, 0.0f64);
        for p in 0..x.len() {
            for q in 0..p {
                let (u, v) = (sign(x[p] - x[q]), sign(y[p] - y[q]));
                s += u * v;
                a += u * u;
                b += v * v;
            }
        }
        let all = (x.len() * (x.len() - 1) / 2) as f64;
        Tau { a: s / all, b: s / (a * b).sqrt() }
    }

    #[test]
    fn the_fast_count_is_the_definition() {
        for seed in 0..20 {
            let mut stream = Stream::new(seed, "tau", 0);
            let mut draw = |n: usize| -> Vec<f64> { (0..40).map(|_| stream.below(n) as f64).collect() };
            let (x, y) = (draw(7), draw(30));
            let (fast, slow) = (tau(&x, &y).unwrap(), slow(&x, &y));
            assert!((fast.a - slow.a).abs() < 1e-14 && (fast.b - slow.b).abs() < 1e-14);
        }
    }

    #[test]
    fn weights_are_copies() {
        let (x, y) = ([1.0, 2.0, 2.0, 5.0, 4.0], [3.0, 1.0, 2.0, 2.0, 9.0]);
        let weights = [2u32, 0, 3, 1, 2];
        let copies = |v: &[f64]| -> Vec<f64> {
            v.iter().zip(weights).flat_map(|(&v, w)| std::iter::repeat_n(v, w as usize)).collect()
        };
        let (lx, ly) = (levels(&x), levels(&y));
        let found = weighted_tau(&order_of(&lx), &lx, &ly, &weights).unwrap();
        let expected = slow(&copies(&x), &copies(&y));
        assert!((found.a - expected.a).abs() < 1e-15 && (found.b - expected.b).abs() < 1e-15);
    }
}
