//! Test maps for effects somewhere: largest cluster, threshold-free cluster enhancement, largest value.
//!
//! With t the map, and e_v(h) the extent of the connected set of vertices above h that holds v,
//!
//! ```text
//! cluster      connected vertices with t > θ; size Σ w, mass Σ w (t − θ)        (w: areas, or 1)
//! TFCE(v)      ∫_0^{t_v} e_v(h)^E h^H dh
//! p(v)         (1 + #{draws: max over the map ≥ value at v}) / (1 + draws)
//! ```
//!
//! Two-sided, negative values count as clusters of −t, and maxima run over both signs. The integral is exact:
//! vertices join from the highest down (union-find), and an extent holds between two joins. Maxima over the
//! map control the family-wise error over vertices (and over clusters) where the null map is exchangeable.
//!
//! Null maps come from the caller, or, for subjects × vertices, from flipping the signs of subjects: t of one
//! sample, all flips where they are no more than the draws asked for (then the observed one is among them and p is
//! the share of flips as extreme).
//!
//! Source: Nichols & Holmes 2002; Smith & Nichols 2009 (E = 0.5, H = 2 in volumes; 1 and 2 on surfaces); specs:
//! peers 1.11, W10. Differs from nilearn: the integral instead of a sum over 100 steps without dh. Cost per
//! map: O(V log V + edges), and O(subjects · V) for its values.

use faer::MatRef;
use rayon::prelude::*;

use crate::data::{Error, Monitor, Result};
use crate::graph::Neighbours;
use crate::stats::rng::Stream;

/// Which effects are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sides {
    /// Both signs.
    #[default]
    Two,
    /// Positive values.
    Greater,
    /// Negative values.
    Less,
}

/// Choices of a cluster test.
#[derive(Debug, Clone, PartialEq)]
pub struct ClusterParams {
    /// θ > 0; `None` (the default) forms no clusters.
    pub threshold: Option<f64>,
    /// (E, H); `None` leaves TFCE out. Default (0.5, 2), of volumes.
    pub tfce: Option<(f64, f64)>,
    /// Default `Two`.
    pub sides: Sides,
    /// Sign flips. Default 9,999.
    pub n_draws: usize,
    /// Their seed. Default 0.
    pub seed: u64,
}

impl Default for ClusterParams {
    fn default() -> Self {
        ClusterParams { threshold: None, tfce: Some((0.5, 2.0)), sides: Sides::Two, n_draws: 9999, seed: 0 }
    }
}

/// One connected set of vertices beyond the threshold.
#[derive(Debug, Clone, PartialEq)]
pub struct Cluster {
    /// Its vertices, ascending.
    pub vertices: Vec<usize>,
    /// The vertex of the largest |t|; the first of equals.
    pub peak: usize,
    /// t there.
    pub peak_value: f64,
    /// Σ w.
    pub size: f64,
    /// Σ w (|t| − θ).
    pub mass: f64,
    /// p of the size, against the largest cluster of each draw.
    pub p_size: f64,
    /// p of the mass, against the largest mass of each draw.
    pub p_mass: f64,
}

/// What a cluster test found. Vectors have one entry per vertex; undefined vertices (NaN) are in no cluster, and
/// their p-values are NaN.
#[derive(Debug, Clone)]
pub struct ClusterTest {
    /// t, or the map as given.
    pub statistic: Vec<f64>,
    /// p of |t| (t, −t one-sided) against the maxima.
    pub p_values: Vec<f64>,
    /// TFCE with the sign of t; empty where it was left out.
    pub tfce: Vec<f64>,
    /// Its p-values against the maxima of TFCE.
    pub tfce_p_values: Vec<f64>,
    /// Largest mass first.
    pub clusters: Vec<Cluster>,
    /// Draws used.
    pub n_draws: usize,
    /// Whether they are all sign flips there are.
    pub exact: bool,
}

/// Test whether the mean over subjects differs from 0 somewhere (`values`: subjects × vertices).
///
/// Flips treat subjects as symmetric about 0 and exchangeable. `areas` weighs vertices (one each), or counts them.
/// Errors: fewer than 2 subjects, values that are not finite, other numbers of vertices, no draw.
pub fn cluster_test(
    values: MatRef<f64>,
    neighbours: &Neighbours,
    areas: Option<&[f64]>,
    params: &ClusterParams,
    monitor: &Monitor<'_>,
) -> Result<ClusterTest> {
    let (n, n_vertices) = (values.nrows(), values.ncols());
    let judge = Judge::new(n_vertices, neighbours, areas, params)?;
    if n < 2 || params.n_draws == 0 {
        return Err(Error::TooFew {
            what: "subjects and draws".into(),
            needed: "2 subjects and 1 draw".into(),
            found: format!("{n} and {}", params.n_draws),
            hint: "give subjects × vertices; 9999 draws are customary".into(),
        });
    }
    let bad = |&(i, v): &(usize, usize)| !values[(i, v)].is_finite();
    let mut undefined = (0..n_vertices).flat_map(|v| (0..n).map(move |i| (i, v))).filter(bad);
    if let Some((row, column)) = undefined.next() {
        return Err(Error::NotFinite {
            what: "values".into(),
            row,
            column,
            count: 1 + undefined.count(),
            hint: "leave out vertices that are undefined for a subject".into(),
        });
    }
    let columns: Vec<Vec<f64>> = (0..n_vertices).map(|v| values.col(v).iter().copied().collect()).collect();
    let squares: Vec<f64> = columns.iter().map(|x| x.iter().map(|x| x * x).sum()).collect();
    let t = |signs: &[f64]| -> Vec<f64> {
        let of_vertex = |v: usize| {
            let sum: f64 = columns[v].iter().zip(signs).map(|(x, s)| x * s).sum();
            // Σ x² is the same for all flips. What is left below rounding is a mean without spread.
            let spread = squares[v] - sum * sum / n as f64;
            let spread = if spread > 1e-14 * squares[v] { spread } else { f64::NAN };
            sum / (n as f64 * spread / (n as f64 - 1.0)).sqrt()
        };
        (0..n_vertices).map(of_vertex).collect()
    };
    let all = n < 64 && (1u64 << n) - 1 <= params.n_draws as u64;
    let n_draws = if all { (1usize << n) - 1 } else { params.n_draws };
    let statistic = t(&vec![1.0; n]);
    let maxima: Vec<Maxima> = (0..n_draws)
        .into_par_iter()
        .map(|draw| {
            monitor.check()?;
            let signs: Vec<f64> = if all {
                (0..n).map(|i| if (draw + 1) >> i & 1 == 1 { -1.0 } else { 1.0 }).collect()
            } else {
                let mut stream = Stream::new(params.seed, "cluster sign flips", draw as u64);
                (0..n).map(|_| if stream.next_u64() >> 63 == 1 { -1.0 } else { 1.0 }).collect()
            };
            Ok(judge.maxima(&t(&signs)))
        })
        .collect::<Result<_>>()?;
    Ok(judge.test(statistic, &maxima, all))
}

/// Test an observed map against null maps (draws × vertices), made with the dependence between vertices intact.
///
/// Errors: as [`cluster_test`]; NaN is allowed and means undefined.
pub fn cluster_test_of_null(
    observed: &[f64],
    null: MatRef<f64>,
    neighbours: &Neighbours,
    areas: Option<&[f64]>,
    params: &ClusterParams,
    monitor: &Monitor<'_>,
) -> Result<ClusterTest> {
    let judge = Judge::new(observed.len(), neighbours, areas, params)?;
    if null.nrows() == 0 || null.ncols() != observed.len() {
        return Err(Error::Shape {
            what: "null".into(),
            expected: format!("1 draw at least, of {} vertices", observed.len()),
            found: format!("{} × {}", null.nrows(), null.ncols()),
            hint: "give draws × vertices".into(),
        });
    }
    let maxima: Vec<Maxima> = (0..null.nrows())
        .into_par_iter()
        .map(|draw| {
            monitor.check()?;
            let map: Vec<f64> = null.row(draw).iter().copied().collect();
            Ok(judge.maxima(&map))
        })
        .collect::<Result<_>>()?;
    Ok(judge.test(observed.to_vec(), &maxima, false))
}

/// TFCE of positive values; 0 elsewhere. Undefined values (NaN) are 0.
///
/// `areas` weighs vertices, or counts them.
pub fn tfce(
    map: &[f64],
    neighbours: &Neighbours,
    areas: Option<&[f64]>,
    extent: f64,
    height: f64,
) -> Vec<f64> {
    let mut order: Vec<usize> = (0..map.len()).filter(|&v| map[v] > 0.0).collect();
    order.sort_by(|&a, &b| map[b].total_cmp(&map[a]).then(a.cmp(&b)));
    // ∫ h^H dh up to h.
    let integral = |h: f64| h.powf(height + 1.0) / (height + 1.0);
    let mut sets = Sets::new(map.len());
    for &v in &order {
        let now = integral(map[v]);
        sets.begin(v, areas.map_or(1.0, |areas| areas[v]), now);
        for &near in neighbours.of(v) {
            if sets.there[near] {
                sets.join(v, near, now, extent);
            }
        }
    }
    let mut out = vec![0.0; map.len()];
    for &v in &order {
        let root = sets.root(v);
        // From the last join of its set down to 0.
        let rest = sets.size[root].powf(extent) * sets.since[root];
        out[v] = rest + sets.gained(v);
    }
    out
}

/// Disjoint sets whose members gain together: what a vertex gained is the sum along its way to the root.
struct Sets {
    there: Vec<bool>,
    parent: Vec<usize>,
    size: Vec<f64>,
    /// The integral where the set last changed.
    since: Vec<f64>,
    gain: Vec<f64>,
}

impl Sets {
    fn new(n: usize) -> Self {
        Sets {
            there: vec![false; n],
            parent: (0..n).collect(),
            size: vec![0.0; n],
            since: vec![0.0; n],
            gain: vec![0.0; n],
        }
    }

    fn begin(&mut self, v: usize, size: f64, now: f64) {
        (self.there[v], self.size[v], self.since[v]) = (true, size, now);
    }

    /// The root; afterwards the vertex hangs from it directly, with what it gained on the way.
    fn root(&mut self, v: usize) -> usize {
        let mut way = vec![];
        let mut at = v;
        while self.parent[at] != at {
            way.push(at);
            at = self.parent[at];
        }
        // From the root outwards; the vertex next to the root is right already.
        for pair in (1..way.len()).rev() {
            let (inner, outer) = (way[pair], way[pair - 1]);
            self.gain[outer] += self.gain[inner];
            self.parent[outer] = at;
        }
        at
    }

    fn gained(&mut self, v: usize) -> f64 {
        let root = self.root(v);
        if root == v { self.gain[v] } else { self.gain[v] + self.gain[root] }
    }

    fn join(&mut self, a: usize, b: usize, now: f64, extent: f64) {
        let (a, b) = (self.root(a), self.root(b));
        if a == b {
            return;
        }
        for set in [a, b] {
            self.gain[set] += self.size[set].powf(extent) * (self.since[set] - now);
            self.since[set] = now;
        }
        let (small, large) = if self.size[a] < self.size[b] { (a, b) } else { (b, a) };
        self.parent[small] = large;
        self.size[large] += self.size[small];
        // Only what the larger set gains from now on is the smaller one's.
        self.gain[small] -= self.gain[large];
    }
}

/// The largest of each statistic over one map.
#[derive(Debug, Clone, Copy, Default)]
struct Maxima {
    value: f64,
    tfce: f64,
    size: f64,
    mass: f64,
}

struct Judge<'a> {
    neighbours: &'a Neighbours,
    areas: Option<&'a [f64]>,
    params: &'a ClusterParams,
}

/// Equal up to rounding counts as "as extreme".
fn reaches(null: f64, observed: f64) -> bool {
    null >= observed - 1e-9 * observed.abs()
}

impl<'a> Judge<'a> {
    fn new(
        n_vertices: usize,
        neighbours: &'a Neighbours,
        areas: Option<&'a [f64]>,
        params: &'a ClusterParams,
    ) -> Result<Self> {
        if neighbours.len() != n_vertices || areas.is_some_and(|areas| areas.len() != n_vertices) {
            return Err(Error::Shape {
                what: "map".into(),
                expected: format!("{} vertices (as the neighbours, and the areas)", neighbours.len()),
                found: format!("{n_vertices} vertices"),
                hint: "give one column per voxel of the mask, or vertex of the surface".into(),
            });
        }
        let bad_area = areas.is_some_and(|areas| areas.iter().any(|a| !(*a >= 0.0 && a.is_finite())));
        let bad_threshold = params.threshold.is_some_and(|t| !(t > 0.0 && t.is_finite()));
        let bad_power =
            params.tfce.is_some_and(|(e, h)| !((0.0..=100.0).contains(&e) && (0.0..=100.0).contains(&h)));
        if bad_area || bad_threshold || bad_power {
            return Err(Error::Invalid {
                what: "cluster test".into(),
                expected: "a threshold above 0, powers from 0 to 100, areas of at least 0".into(),
                found: format!("threshold {:?}, powers {:?}", params.threshold, params.tfce),
                hint: "a t of about 3 forms clusters; powers are (0.5, 2) in volumes, (1, 2) on surfaces"
                    .into(),
            });
        }
        Ok(Judge { neighbours, areas, params })
    }

    /// The map with each sign that counts.
    fn signed(&self, map: &[f64]) -> Vec<(f64, Vec<f64>)> {
        let signs: &[f64] = match self.params.sides {
            Sides::Two => &[1.0, -1.0],
            Sides::Greater => &[1.0],
            Sides::Less => &[-1.0],
        };
        signs.iter().map(|&sign| (sign, map.iter().map(|t| sign * t).collect())).collect()
    }

    fn maxima(&self, map: &[f64]) -> Maxima {
        let mut found = Maxima::default();
        for (sign, map) in self.signed(map) {
            found.value = map.iter().copied().fold(found.value, f64::max);
            if let Some((e, h)) = self.params.tfce {
                let enhanced = tfce(&map, self.neighbours, self.areas, e, h);
                found.tfce = enhanced.iter().copied().fold(found.tfce, f64::max);
            }
            for cluster in self.clusters(&map, sign) {
                found.size = found.size.max(cluster.size);
                found.mass = found.mass.max(cluster.mass);
            }
        }
        found
    }

    /// The clusters of positive values, without p-values.
    fn clusters(&self, map: &[f64], sign: f64) -> Vec<Cluster> {
        let Some(threshold) = self.params.threshold else { return vec![] };
        let mut seen = vec![false; map.len()];
        let mut found = vec![];
        for start in 0..map.len() {
            if seen[start] || !(map[start] > threshold) {
                continue;
            }
            seen[start] = true;
            let (mut vertices, mut next) = (vec![start], 0);
            while next < vertices.len() {
                for &near in self.neighbours.of(vertices[next]) {
                    if !seen[near] && map[near] > threshold {
                        seen[near] = true;
                        vertices.push(near);
                    }
                }
                next += 1;
            }
            vertices.sort_unstable();
            let weight = |v: usize| self.areas.map_or(1.0, |areas| areas[v]);
            let peak =
                vertices.iter().fold(vertices[0], |best, &v| if map[v] > map[best] { v } else { best });
            found.push(Cluster {
                peak,
                peak_value: sign * map[peak],
                size: vertices.iter().map(|&v| weight(v)).sum(),
                mass: vertices.iter().map(|&v| weight(v) * (map[v] - threshold)).sum(),
                p_size: f64::NAN,
                p_mass: f64::NAN,
                vertices,
            });
        }
        found
    }

    fn test(&self, statistic: Vec<f64>, null: &[Maxima], exact: bool) -> ClusterTest {
        let p = |value: f64, of: &dyn Fn(&Maxima) -> f64| {
            if value.is_nan() {
                return f64::NAN;
            }
            let beyond = null.iter().filter(|draw| reaches(of(draw), value)).count();
            (1 + beyond) as f64 / (1 + null.len()) as f64
        };
        let signed = self.signed(&statistic);
        let largest = |v: usize| signed.iter().map(|(_, map)| map[v]).fold(f64::NAN, f64::max);
        let p_values: Vec<f64> =
            (0..statistic.len()).into_par_iter().map(|v| p(largest(v), &|draw| draw.value)).collect();
        let mut enhanced = vec![];
        if let Some((e, h)) = self.params.tfce {
            enhanced = vec![0.0; statistic.len()];
            for (sign, map) in &signed {
                let found = tfce(map, self.neighbours, self.areas, e, h);
                enhanced.iter_mut().zip(&found).for_each(|(out, value)| *out += sign * value);
            }
            let undefined = statistic.iter().map(|t| t.is_nan());
            enhanced.iter_mut().zip(undefined).filter(|(_, no)| *no).for_each(|(out, _)| *out = f64::NAN);
        }
        let tfce_p_values = enhanced.par_iter().map(|value| p(value.abs(), &|draw| draw.tfce)).collect();
        let mut clusters: Vec<Cluster> =
            signed.iter().flat_map(|(sign, map)| self.clusters(map, *sign)).collect();
        for cluster in &mut clusters {
            cluster.p_size = p(cluster.size, &|draw| draw.size);
            cluster.p_mass = p(cluster.mass, &|draw| draw.mass);
        }
        clusters.sort_by(|a, b| b.mass.total_cmp(&a.mass).then(a.peak.cmp(&b.peak)));
        ClusterTest {
            statistic,
            p_values,
            tfce: enhanced,
            tfce_p_values,
            clusters,
            n_draws: null.len(),
            exact,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Connectivity;
    use faer::Mat;

    fn noise(rows: usize, columns: usize, index: u64) -> Mat<f64> {
        let mut stream = Stream::new(31, "cluster tests", index);
        Mat::from_fn(rows, columns, |_, _| stream.normal())
    }

    fn row(n: usize) -> Neighbours {
        let edges: Vec<[usize; 2]> = (1..n).map(|i| [i - 1, i]).collect();
        Neighbours::from_edges(n, &edges).unwrap()
    }

    #[test]
    fn tfce_by_hand() {
        // Heights 1, 2, 1 in a row, E = 0.5, H = 2: the middle has ∫_0^1 √3 h² + ∫_1^2 h² = √3/3 + 7/3.
        let found = tfce(&[1.0, 2.0, 1.0, -5.0], &row(4), None, 0.5, 2.0);
        let side = 3f64.sqrt() / 3.0;
        assert!((found[1] - side - 7.0 / 3.0).abs() < 1e-14 && (found[0] - side).abs() < 1e-14);
        assert!((found[2] - side).abs() < 1e-14 && found[3] == 0.0);
        // Areas 2, 1, 3 and E = 1: 6/3 and 6/3 + 7/3.
        let found = tfce(&[1.0, 2.0, 1.0], &row(3), Some(&[2.0, 1.0, 3.0]), 1.0, 2.0);
        assert!((found[0] - 2.0).abs() < 1e-14 && (found[1] - 13.0 / 3.0).abs() < 1e-14);
    }

    /// Between two heights that occur, each set above them is found anew.
    fn slow_tfce(map: &[f64], neighbours: &Neighbours, extent: f64, height: f64) -> Vec<f64> {
        let mut heights: Vec<f64> = map.iter().copied().filter(|t| *t > 0.0).chain([0.0]).collect();
        heights.sort_by(f64::total_cmp);
        let mut out = vec![0.0; map.len()];
        for pair in heights.windows(2) {
            let mut label = vec![usize::MAX; map.len()];
            for start in 0..map.len() {
                if label[start] != usize::MAX || map[start] < pair[1] {
                    continue;
                }
                let mut set = vec![start];
                label[start] = start;
                while let Some(v) = set.pop() {
                    for &near in neighbours.of(v) {
                        if label[near] == usize::MAX && map[near] >= pair[1] {
                            label[near] = start;
                            set.push(near);
                        }
                    }
                }
            }
            let piece = (pair[1].powf(height + 1.0) - pair[0].powf(height + 1.0)) / (height + 1.0);
            for v in 0..map.len() {
                let size = label.iter().filter(|l| **l == label[v] && label[v] != usize::MAX).count();
                out[v] += (size as f64).powf(extent) * piece * f64::from(u8::from(size > 0));
            }
        }
        out
    }

    #[test]
    fn tfce_is_its_slow_twin() {
        let neighbours = Neighbours::from_mask([5, 6, 4], &[true; 120], Connectivity::Edges).unwrap();
        for index in 0..4 {
            let mut map: Vec<f64> = noise(120, 1, index).col_as_slice(0).to_vec();
            // Ties, and a plateau.
            map.iter_mut().step_by(3).for_each(|t| *t = (*t * 2.0).round() / 2.0);
            for (e, h) in [(0.5, 2.0), (1.0, 2.0), (2.0, 0.0)] {
                let (fast, slow) = (tfce(&map, &neighbours, None, e, h), slow_tfce(&map, &neighbours, e, h));
                let off = fast.iter().zip(&slow).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
                assert!(off < 1e-10, "{off}");
            }
        }
    }

    #[test]
    fn clusters_by_hand() {
        let observed = [3.0, 4.0, 0.5, -3.5, -2.0, f64::NAN, 2.5];
        let null = Mat::from_fn(3, 7, |draw, v| match (draw, v) {
            (0, 0) => 9.0,
            (1, 3..=5) => -2.5,
            _ => 0.1,
        });
        let params = ClusterParams { threshold: Some(2.0), ..ClusterParams::default() };
        let silent = Monitor::silent();
        let test = cluster_test_of_null(&observed, null.as_ref(), &row(7), None, &params, &silent).unwrap();
        let told: Vec<_> =
            test.clusters.iter().map(|c| (c.peak, c.size, c.mass, c.p_size, c.p_mass)).collect();
        // Masses 1 + 2, 1.5 and 0.5 (−2 is not beyond −2); null sizes 1, 3, 0 and masses 7, 1.5, 0.
        assert_eq!(told, [(1, 2.0, 3.0, 0.5, 0.5), (3, 1.0, 1.5, 0.75, 0.75), (6, 1.0, 0.5, 0.75, 0.75)]);
        assert_eq!(test.clusters[1].peak_value, -3.5);
        // Maxima of |t|: 9, 2.5, 0.1.
        assert_eq!(test.p_values[..5], [0.5, 0.5, 0.75, 0.5, 0.75]);
        assert!(test.p_values[5].is_nan() && test.tfce_p_values[5].is_nan() && test.tfce[3] < 0.0);
        let up = ClusterParams { sides: Sides::Greater, ..params };
        let test = cluster_test_of_null(&observed, null.as_ref(), &row(7), None, &up, &silent).unwrap();
        assert_eq!((test.clusters.len(), test.p_values[3], test.p_values[6]), (2, 1.0, 0.5));
    }

    #[test]
    fn few_subjects_have_all_their_flips() {
        let values = Mat::from_fn(4, 2, |i, v| [[1.0, 2.0, 3.0, 4.0], [-1.0, 1.0, -2.0, 2.0]][v][i]);
        let params = ClusterParams { threshold: None, ..ClusterParams::default() };
        let silent = Monitor::silent();
        let test = cluster_test(values.as_ref(), &row(2), None, &params, &silent).unwrap();
        assert_eq!((test.n_draws, test.exact), (15, true));
        // t of 1, 2, 3, 4 is 2.5/√(5/12) = 3.9. All flips of one sign reach it, and so do those that turn the
        // other vertex to 1, 1, 2, 2 or its mirror (t = 5.2): 4 of 16.
        assert!((test.statistic[0] - 2.5 / (5f64 / 12.0).sqrt()).abs() < 1e-12);
        assert_eq!((test.p_values[0], test.statistic[1], test.p_values[1]), (4.0 / 16.0, 0.0, 1.0));
        let none = Mat::zeros(4, 2);
        let test = cluster_test(none.as_ref(), &row(2), None, &params, &silent).unwrap();
        assert!(test.p_values[0].is_nan());
    }

    #[test]
    fn a_planted_blob_is_found_and_nothing_else() {
        let shape = [8, 8, 8];
        let neighbours = Neighbours::from_mask(shape, &[true; 512], Connectivity::Faces).unwrap();
        let mut values = noise(20, 512, 9);
        let inside = |v: usize| [v / 64, v / 8 % 8, v % 8].iter().all(|&x| (2..5).contains(&x));
        for v in (0..512).filter(|&v| inside(v)) {
            values.col_mut(v).iter_mut().for_each(|x| *x += 1.2);
        }
        let params = ClusterParams { threshold: Some(2.5), n_draws: 199, ..ClusterParams::default() };
        let silent = Monitor::silent();
        let test = cluster_test(values.as_ref(), &neighbours, None, &params, &silent).unwrap();
        assert_eq!((test.clusters[0].p_mass, test.clusters[0].p_size), (0.005, 0.005));
        let found = |p: &[f64]| (0..512).filter(|&v| p[v] <= 0.05).collect::<Vec<_>>();
        let (tfce, single) = (found(&test.tfce_p_values), found(&test.p_values));
        assert!(tfce.len() > single.len() && tfce.len() >= 24, "{} {}", tfce.len(), single.len());
        assert!(tfce.iter().filter(|&&v| !inside(v)).count() <= 3);
    }

    #[test]
    fn the_family_wise_error_keeps_its_level() {
        // Smooth noise on a row; any p ≤ 0.05 is an error. STEREOTAX_CALIBRATE runs more.
        let n_maps = if std::env::var_os("STEREOTAX_CALIBRATE").is_some() { 2000 } else { 200 };
        let neighbours = row(40);
        let params = ClusterParams { threshold: Some(1.5), n_draws: 99, ..ClusterParams::default() };
        let errors: Vec<[bool; 4]> = (0..n_maps)
            .into_par_iter()
            .map(|index| {
                let raw = noise(12, 42, 1000 + index);
                let values = Mat::from_fn(12, 40, |i, v| raw[(i, v)] + raw[(i, v + 1)] + raw[(i, v + 2)]);
                let params = ClusterParams { seed: index, ..params.clone() };
                let silent = Monitor::silent();
                let test = cluster_test(values.as_ref(), &neighbours, None, &params, &silent).unwrap();
                let any = |p: &[f64]| p.iter().any(|p| *p <= 0.05);
                let of = |p: &dyn Fn(&Cluster) -> f64| test.clusters.iter().any(|c| p(c) <= 0.05);
                [any(&test.p_values), any(&test.tfce_p_values), of(&|c| c.p_size), of(&|c| c.p_mass)]
            })
            .collect();
        for which in 0..4 {
            let rate = errors.iter().filter(|e| e[which]).count() as f64 / n_maps as f64;
            // 0.05 ± 3.5 standard errors; sizes are discrete, so theirs may be less.
            let band = 3.5 * (0.05 * 0.95 / n_maps as f64).sqrt();
            assert!(rate < 0.05 + band, "{which}: {rate}");
            assert!(rate > 0.05 - band || which == 2, "{which}: {rate}");
        }
    }

    #[test]
    fn wrong_sizes_and_numbers_are_refused() {
        let values = noise(5, 3, 7);
        let silent = Monitor::silent();
        let refusal = |values: &Mat<f64>, params: &ClusterParams| {
            cluster_test(values.as_ref(), &row(3), None, params, &silent).unwrap_err().to_string()
        };
        let good = ClusterParams::default();
        assert!(refusal(&noise(5, 4, 7), &good).contains("3 vertices"));
        assert!(refusal(&noise(1, 3, 7), &good).contains("2 subjects"));
        assert!(
            refusal(&values, &ClusterParams { threshold: Some(0.0), ..good.clone() }).contains("above 0")
        );
        let mut bad = values.clone();
        bad[(2, 1)] = f64::NAN;
        assert!(!refusal(&bad, &good).is_empty());
    }
}
