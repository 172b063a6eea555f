//! Compare all models with all subjects under one bootstrap draw of conditions, by weights instead of copies.
//!
//! A draw in which condition i occurs m_i times holds pair (i, j) m_i m_j times, and a condition beside itself not at
//! all. So every comparison is a weighted one over the pairs that occur: with weights w = m_i m_j,
//!
//! ```text
//! cosine     Σ w x y / √(Σ w x² · Σ w y²)                 correlation: of x − Σ w x / Σ w
//! ranks      r = weight below + (own weight + 1)/2, from levels that were sorted once for all draws
//! whitened   xᵀV⁻¹y with V = diag(2v_iv_j) + A diag(v²) Aᵀ over copies; copies of a condition share their row sums,
//!            so that the n × n system of `whitened` has a closed form where no pair is missing
//!            full Σ: over copies, with the pairs that are missing (copies of one condition among them) eliminated
//! ```
//!
//! Copies of a condition stand for new conditions like it. Where noise is independent between conditions, theirs is
//! independent too. A full Σ is split as Σ = R + λ diag(Σ), λ the least eigenvalue of its correlations: copies share the
//! noise R, which is what conditions can have in common, and each has noise λ Σ_ii of its own. So the covariance of the
//! copies is positive definite, is Σ itself where each condition occurs once, and is diagonal where Σ is. (That split is
//! ours; rsatoolbox applies Σ to the drawn conditions as if they were the original ones.)
//!
//! One product gives the table of models × subjects. Source: specs: peers W5; Schütt et al. 2023. Cost per draw:
//! O(K m + M S m) for K = M + S RDMs of m pairs; τ O(M S m log m); a full Σ O(K n³ + q³) with q missing pairs.

use faer::Mat;

use super::super::rdm_compare::kendall::{order_of, weighted_tau};
use super::super::rdm_compare::whitened::precision_of_contrasts;
use super::super::rdm_compare::{Comparison, NoiseCovariance, Undefined};
use stereotax_base::data::{Rdm, Result};
use stereotax_base::linalg::{cholesky_solve, cross, dot, eigh, product};
use stereotax_base::stats::ranks::{Levels, doubled_midranks, levels};
use stereotax_base::stats::summary::is_constant;

/// All RDMs over the pairs that all of them define: components of models first, then subjects.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) n_conditions: usize,
    pub(super) n_components: usize,
    pub(super) n_subjects: usize,
    pub(super) how: Comparison,
    /// Pairs in use.
    pub(super) pairs: Vec<(u32, u32)>,
    /// Pairs left out because an RDM lacks them.
    pub(super) n_dropped: usize,
    pub(super) columns: Vec<Vec<f64>>,
    levels: Vec<Levels>,
    orders: Vec<Vec<u32>>,
    /// 1/v, the precision of each condition's noise.
    precision: Vec<f64>,
    /// Noise that conditions have in common, in place of `precision`.
    correlated: Option<CorrelatedNoise>,
}

/// A full noise covariance, and what share of a variance is a condition's own.
#[derive(Debug)]
struct CorrelatedNoise {
    covariance: Mat<f64>,
    /// λ.
    own: f64,
}

impl CorrelatedNoise {
    fn new(covariance: &Mat<f64>) -> Result<Self> {
        let n = covariance.nrows();
        let scale = |i: usize| covariance[(i, i)].sqrt();
        let correlations = Mat::from_fn(n, n, |i, j| covariance[(i, j)] / (scale(i) * scale(j)));
        let own = eigh(correlations.as_ref())?.values.last().map_or(1.0, |least| least.clamp(0.0, 1.0));
        Ok(CorrelatedNoise { covariance: covariance.clone(), own })
    }

    /// Covariance of conditions that are copies of these ones.
    fn of_copies(&self, copies: &[usize]) -> Mat<f64> {
        Mat::from_fn(copies.len(), copies.len(), |a, b| {
            let (i, j) = (copies[a], copies[b]);
            let shared = if i == j && a != b { 1.0 - self.own } else { 1.0 };
            shared * self.covariance[(i, j)]
        })
    }
}

impl Table {
    pub(super) fn new(
        components: &[&Rdm],
        subjects: &[Rdm],
        how: Comparison,
        noise: Option<&NoiseCovariance>,
    ) -> Result<Table> {
        let n = subjects[0].n_conditions();
        let all: Vec<&Rdm> = components.iter().copied().chain(subjects).collect();
        let kept: Vec<usize> =
            (0..subjects[0].n_pairs()).filter(|&p| all.iter().all(|rdm| !rdm.values()[p].is_nan())).collect();
        let every: Vec<(u32, u32)> =
            super::super::rdm_compare::whitened::pairs(n).map(|(i, j)| (i as u32, j as u32)).collect();
        let columns: Vec<Vec<f64>> =
            all.iter().map(|rdm| kept.iter().map(|&p| rdm.values()[p]).collect()).collect();
        let found: Vec<Levels> =
            if how.of_ranks() { columns.iter().map(|x| levels(x)).collect() } else { vec![] };
        let tau = matches!(how, Comparison::TauA | Comparison::TauB);
        let (precision, correlated) = match noise {
            None => (vec![1.0; n], None),
            Some(NoiseCovariance::Diagonal(v)) => (v.iter().map(|v| 1.0 / v).collect(), None),
            Some(NoiseCovariance::Full(sigma)) => (vec![1.0; n], Some(CorrelatedNoise::new(sigma)?)),
        };
        Ok(Table {
            n_conditions: n,
            n_components: components.len(),
            n_subjects: subjects.len(),
            how,
            n_dropped: every.len() - kept.len(),
            pairs: kept.iter().map(|&p| every[p]).collect(),
            orders: if tau { found.iter().map(order_of).collect() } else { vec![] },
            columns,
            levels: found,
            precision,
            correlated,
        })
    }

    /// Whether conditions differ in their noise.
    pub(super) fn uneven(&self) -> bool {
        self.correlated.is_some() || self.precision.iter().any(|s| *s != self.precision[0])
    }

    fn subject(&self, s: usize) -> usize {
        self.n_components + s
    }

    /// The draw in which condition i occurs `multiplicity[i]` times.
    pub(super) fn draw(&self, multiplicity: &[u32]) -> Drawn<'_> {
        let mut active = Vec::with_capacity(self.pairs.len());
        let mut weights = Vec::with_capacity(self.pairs.len());
        let mut total = 0u64;
        for (p, &(i, j)) in self.pairs.iter().enumerate() {
            let w = multiplicity[i as usize] * multiplicity[j as usize];
            if w > 0 {
                active.push(p as u32);
                weights.push(w);
                total += u64::from(w);
            }
        }
        let mut drawn = Drawn {
            table: self,
            multiplicity: multiplicity.to_vec(),
            whitening: None,
            shares: weights.iter().map(|&w| f64::from(w) / total as f64).collect(),
            active,
            weights,
            total: total as f64,
            primal: Mat::zeros(0, 0),
            dual: Mat::zeros(0, 0),
            norms: vec![],
            ranks: vec![],
            among_subjects: Mat::zeros(0, 0),
        };
        if self.how.is_whitened() {
            drawn.whitening = Some(drawn.whitening());
        }
        match self.how {
            Comparison::TauA | Comparison::TauB => drawn.ranks = drawn.subject_ranks(),
            Comparison::Spearman | Comparison::RhoA => drawn.prepare_ranks(),
            _ => {
                drawn.prepare_values();
                drawn.among_subjects = drawn.comparisons_of_subjects();
            }
        }
        drawn
    }
}

/// What V⁻¹ needs besides the pairs.
#[derive(Debug)]
enum Whitening {
    /// m_i/c_i, and the factor of the product of sums.
    Closed { inverse: Vec<f64>, factor: f64 },
    /// The n × n system over the conditions that occur.
    System(Mat<f64>),
    /// Noise that conditions have in common.
    Correlated(OverCopies),
    /// The system is singular.
    None,
}

/// V⁻¹ over pairs of copies: without the missing ones it is A_KK − A_KP A_PP⁻¹ A_PK, A = V⁻¹ of all pairs, P missing.
#[derive(Debug)]
struct OverCopies {
    /// First copy of each condition; the others follow it.
    first: Vec<usize>,
    /// Q of [`whitened`](super::super::rdm_compare::whitened) (copies × copies): (A x)_ij = ½ (Q X Q)_ij.
    q: Mat<f64>,
    /// Pairs of copies that are missing.
    missing: Vec<(usize, usize)>,
}

impl OverCopies {
    /// `None` where the covariance is singular.
    fn new(noise: &CorrelatedNoise, multiplicity: &[u32], present: &[(u32, u32)]) -> Option<Self> {
        let copies: Vec<usize> =
            (0..multiplicity.len()).flat_map(|i| std::iter::repeat_n(i, multiplicity[i] as usize)).collect();
        let mut first = vec![0; multiplicity.len()];
        for i in 1..first.len() {
            first[i] = first[i - 1] + multiplicity[i - 1] as usize;
        }
        let n = multiplicity.len();
        let mut has = vec![false; n * n];
        present.iter().for_each(|&(i, j)| has[i as usize * n + j as usize] = true);
        let missing = super::super::rdm_compare::whitened::pairs(copies.len())
            .filter(|&(a, b)| !has[copies[a] * n + copies[b]])
            .collect();
        let covariance = NoiseCovariance::Full(noise.of_copies(&copies));
        let q = precision_of_contrasts(copies.len(), &covariance).ok()?;
        Some(OverCopies { first, q, missing })
    }

    /// ½ Q X Q for X given by its entries.
    fn whole(&self, entries: impl Iterator<Item = (usize, usize, f64)>) -> Mat<f64> {
        let n = self.q.nrows();
        let mut x = Mat::zeros(n, n);
        for (a, b, value) in entries {
            x[(a, b)] = 0.5 * value;
            x[(b, a)] = 0.5 * value;
        }
        product(product(self.q.as_ref(), x.as_ref()).as_ref(), self.q.as_ref())
    }

    /// V⁻¹ of each column, over all copies of each active pair.
    fn dual(&self, primal: &Mat<f64>, pairs: &[(usize, usize)], multiplicity: &[u32]) -> Mat<f64> {
        let k = primal.ncols();
        let copies = |i: usize| self.first[i]..self.first[i] + multiplicity[i] as usize;
        let mut dual = Mat::zeros(primal.nrows(), k);
        let mut right = Mat::zeros(self.missing.len(), k);
        for c in 0..k {
            let entries = pairs.iter().zip(primal.col_as_slice(c)).flat_map(|(&(i, j), &value)| {
                copies(i).flat_map(move |a| copies(j).map(move |b| (a, b, value)))
            });
            let turned = self.whole(entries);
            for (row, &(i, j)) in pairs.iter().enumerate() {
                dual[(row, c)] = turned[(self.first[i], self.first[j])];
            }
            for (row, &pair) in self.missing.iter().enumerate() {
                right[(row, c)] = turned[pair];
            }
        }
        if !self.missing.is_empty() {
            let q = &self.q;
            let system = Mat::from_fn(self.missing.len(), self.missing.len(), |row, column| {
                let ((i, j), (k, l)) = (self.missing[row], self.missing[column]);
                0.5 * (q[(i, k)] * q[(j, l)] + q[(i, l)] * q[(j, k)])
            });
            let Some(z) = cholesky_solve(system.as_ref(), right.as_ref()) else {
                return Mat::full(primal.nrows(), k, f64::NAN);
            };
            for c in 0..k {
                let entries = self.missing.iter().zip(z.col_as_slice(c)).map(|(&(a, b), &v)| (a, b, v));
                let turned = self.whole(entries);
                for (row, &(i, j)) in pairs.iter().enumerate() {
                    dual[(row, c)] -= turned[(self.first[i], self.first[j])];
                }
            }
        }
        dual
    }
}

/// One draw, with everything that its comparisons share.
#[derive(Debug)]
pub(super) struct Drawn<'a> {
    pub(super) table: &'a Table,
    multiplicity: Vec<u32>,
    whitening: Option<Whitening>,
    pub(super) active: Vec<u32>,
    pub(super) weights: Vec<u32>,
    /// The same as shares of their sum.
    shares: Vec<f64>,
    total: f64,
    /// Pairs × RDMs, centred where the comparison is.
    primal: Mat<f64>,
    /// Weights times primal, or V⁻¹ primal.
    pub(super) dual: Mat<f64>,
    /// √(primal · dual) of each RDM; NaN where the comparison is undefined.
    pub(super) norms: Vec<f64>,
    /// Doubled midranks of each subject (rank comparisons).
    ranks: Vec<Vec<u32>>,
    /// Comparisons of subjects with one another, from which ceilings follow (not of ranks, which pools have anew).
    among_subjects: Mat<f64>,
}

impl Drawn<'_> {
    fn prepare_values(&mut self) {
        let k = self.table.columns.len();
        let mut primal = Mat::zeros(self.active.len(), k);
        let mut flat = vec![false; k];
        for c in 0..k {
            let from = &self.table.columns[c];
            let to = primal.col_as_slice_mut(c);
            to.iter_mut().zip(&self.active).for_each(|(to, &p)| *to = from[p as usize]);
            flat[c] = self.centre(to);
        }
        self.dual = self.dual_of(&primal);
        self.norms = (0..k).map(|c| if flat[c] { f64::NAN } else { norm(&primal, &self.dual, c) }).collect();
        self.primal = primal;
    }

    fn prepare_ranks(&mut self) {
        let k = self.table.columns.len();
        let mut primal = Mat::zeros(self.active.len(), k);
        let centre = self.total + 1.0;
        for c in 0..k {
            let levels = &self.table.levels[c];
            let level = |p: u32| levels.level[p as usize];
            let members = self.active.iter().map(|&p| level(p)).zip(self.weights.iter().copied());
            let (doubled, _) = doubled_midranks(members, levels.n_levels);
            let to = primal.col_as_slice_mut(c);
            to.iter_mut()
                .zip(&self.active)
                .for_each(|(to, &p)| *to = f64::from(doubled[level(p) as usize]) - centre);
            if c >= self.table.n_components {
                self.ranks.push(self.active.iter().map(|&p| doubled[level(p) as usize]).collect());
            }
        }
        self.dual = self.weighted(&primal);
        self.norms = (0..k).map(|c| self.rank_norm(norm(&primal, &self.dual, c))).collect();
        self.primal = primal;
    }

    /// Doubled midranks of the subjects alone.
    fn subject_ranks(&self) -> Vec<Vec<u32>> {
        (0..self.table.n_subjects)
            .map(|s| {
                let levels = &self.table.levels[self.table.subject(s)];
                let level = |p: u32| levels.level[p as usize];
                let members = self.active.iter().map(|&p| level(p)).zip(self.weights.iter().copied());
                let (doubled, _) = doubled_midranks(members, levels.n_levels);
                self.active.iter().map(|&p| doubled[level(p) as usize]).collect()
            })
            .collect()
    }

    /// ρ-a divides by what ranks without ties would have (doubled ranks: four times (W³ − W)/12).
    fn rank_norm(&self, own: f64) -> f64 {
        if own.is_nan() || self.table.how == Comparison::Spearman {
            return own;
        }
        ((self.total * self.total * self.total - self.total) / 3.0).sqrt()
    }

    /// Centre in place where the comparison does; whether the column is constant (or zero) here.
    fn centre(&self, x: &mut [f64]) -> bool {
        if !self.table.how.centred() {
            return x.iter().all(|v| *v == 0.0);
        }
        // Two values that differ settle it in nearly all columns.
        let varies = x.windows(2).take(8).any(|v| (v[0] - v[1]).abs() > 1e-9 * (v[0].abs() + v[1].abs()));
        let flat = !varies && is_constant(x);
        let mean = dot(x, &self.shares);
        x.iter_mut().for_each(|v| *v -= mean);
        flat
    }

    fn weighted(&self, primal: &Mat<f64>) -> Mat<f64> {
        let mut dual = Mat::zeros(primal.nrows(), primal.ncols());
        for c in 0..dual.ncols() {
            let weighted = primal.col_as_slice(c).iter().zip(&self.weights).map(|(v, &w)| v * f64::from(w));
            dual.col_as_slice_mut(c).iter_mut().zip(weighted).for_each(|(to, v)| *to = v);
        }
        dual
    }

    /// Weights or V⁻¹ applied.
    fn dual_of(&self, primal: &Mat<f64>) -> Mat<f64> {
        let mut dual = self.weighted(primal);
        let Some(whitening) = &self.whitening else { return dual };
        let (s, n) = (&self.table.precision, self.table.n_conditions);
        let pair = |p: u32| {
            let (i, j) = self.table.pairs[p as usize];
            (i as usize, j as usize)
        };
        if let Whitening::Correlated(over) = whitening {
            let pairs: Vec<(usize, usize)> = self.active.iter().map(|&p| pair(p)).collect();
            let found = over.dual(primal, &pairs, &self.multiplicity);
            for c in 0..dual.ncols() {
                let weighted =
                    found.col_as_slice(c).iter().zip(&self.weights).map(|(v, &w)| v * f64::from(w));
                dual.col_as_slice_mut(c).iter_mut().zip(weighted).for_each(|(to, v)| *to = v);
            }
            return dual;
        }
        for c in 0..dual.ncols() {
            let column = dual.col_as_slice_mut(c);
            // r_i m_i: sums of W x over the pairs of a condition, over all its copies.
            let mut sums = vec![0.0; n];
            for (v, &p) in column.iter_mut().zip(&self.active) {
                let (i, j) = pair(p);
                *v *= 0.5 * s[i] * s[j];
                sums[i] += *v;
                sums[j] += *v;
            }
            let z: Vec<f64> = match whitening {
                Whitening::Closed { inverse, factor } => {
                    // z_i = (r_i − s_i U/2)/c_i with U = Σ m_j s_j z_j.
                    let own = |i: usize| {
                        if self.multiplicity[i] > 0 { sums[i] / f64::from(self.multiplicity[i]) } else { 0.0 }
                    };
                    let u = (0..n).map(|i| inverse[i] * s[i] * own(i)).sum::<f64>() * factor;
                    (0..n)
                        .map(|i| match self.multiplicity[i] {
                            0 => 0.0,
                            m => inverse[i] / f64::from(m) * (own(i) - 0.5 * s[i] * u),
                        })
                        .collect()
                }
                Whitening::System(system) => {
                    let right = Mat::from_fn(n, 1, |i, _| sums[i]);
                    match cholesky_solve(system.as_ref(), right.as_ref()) {
                        Some(z) => (0..n).map(|i| z[(i, 0)]).collect(),
                        None => vec![f64::NAN; n],
                    }
                }
                Whitening::Correlated(_) | Whitening::None => vec![f64::NAN; n],
            };
            for ((v, &p), &w) in column.iter_mut().zip(&self.active).zip(&self.weights) {
                let (i, j) = pair(p);
                *v -= 0.5 * s[i] * s[j] * f64::from(w) * (z[i] + z[j]);
            }
        }
        dual
    }

    fn whitening(&self) -> Whitening {
        if let Some(noise) = &self.table.correlated {
            return OverCopies::new(noise, &self.multiplicity, &self.table.pairs)
                .map_or(Whitening::None, Whitening::Correlated);
        }
        let (s, n) = (&self.table.precision, self.table.n_conditions);
        let m: Vec<f64> = self.multiplicity.iter().map(|&m| f64::from(m)).collect();
        if self.table.n_dropped == 0 {
            let all: f64 = m.iter().zip(s).map(|(m, s)| m * s).sum();
            let c: Vec<f64> = (0..n).map(|i| s[i] * s[i] * (1.0 - m[i]) + 0.5 * s[i] * all).collect();
            if (0..n).any(|i| m[i] > 0.0 && c[i].abs() < 1e-9 * s[i] * s[i]) {
                return Whitening::None;
            }
            let inverse: Vec<f64> = (0..n).map(|i| if m[i] > 0.0 { m[i] / c[i] } else { 0.0 }).collect();
            let h: f64 = (0..n).map(|i| 0.5 * inverse[i] * s[i] * s[i]).sum();
            return if (1.0 + h).abs() < 1e-9 {
                Whitening::None
            } else {
                Whitening::Closed { inverse, factor: 1.0 / (1.0 + h) }
            };
        }
        // Each row times m_i, which makes it symmetric; conditions that do not occur stand alone.
        let mut system = Mat::from_fn(n, n, |i, j| match (i == j, m[i] > 0.0) {
            (true, true) => m[i] * s[i] * s[i],
            (true, false) => 1.0,
            _ => 0.0,
        });
        for (&p, &w) in self.active.iter().zip(&self.weights) {
            let (i, j) = self.table.pairs[p as usize];
            let (i, j) = (i as usize, j as usize);
            let v = 0.5 * s[i] * s[j] * f64::from(w);
            system[(i, i)] += v;
            system[(j, j)] += v;
            system[(i, j)] += v;
            system[(j, i)] += v;
        }
        Whitening::System(system)
    }

    /// Components × subjects: what `compare` would give on the copied RDMs. NaN where undefined.
    pub(super) fn scores(&self) -> Mat<f64> {
        let (c, s) = (self.table.n_components, self.table.n_subjects);
        if self.ranks.len() == s && self.norms.is_empty() {
            return self.taus();
        }
        let mut scores = cross(self.primal.subcols(0, c), self.dual.subcols(c, s));
        for j in 0..s {
            for i in 0..c {
                scores[(i, j)] = bounded(scores[(i, j)] / (self.norms[i] * self.norms[c + j]));
            }
        }
        scores
    }

    fn comparisons_of_subjects(&self) -> Mat<f64> {
        let (c, n) = (self.table.n_components, self.table.n_subjects);
        let mut k = cross(self.primal.subcols(c, n), self.dual.subcols(c, n));
        for j in 0..n {
            (0..n).for_each(|i| k[(i, j)] /= self.norms[c + i] * self.norms[c + j]);
        }
        k
    }

    fn taus(&self) -> Mat<f64> {
        let table = self.table;
        let weights = self.all_weights();
        let one = |i: usize, j: usize| {
            let (x, y) = (&table.levels[i], &table.levels[table.subject(j)]);
            self.tau(&table.orders[i], x, y, &weights)
        };
        Mat::from_fn(table.n_components, table.n_subjects, one)
    }

    fn tau(&self, order: &[u32], x: &Levels, y: &Levels, weights: &[u32]) -> f64 {
        match (weighted_tau(order, x, y, weights), self.table.how) {
            (Ok(tau), Comparison::TauA) => tau.a,
            (Ok(tau), _) => tau.b,
            (Err(_), _) => f64::NAN,
        }
    }

    fn all_weights(&self) -> Vec<u32> {
        let mut weights = vec![0; self.table.pairs.len()];
        self.active.iter().zip(&self.weights).for_each(|(&p, &w)| weights[p as usize] = w);
        weights
    }

    /// Inner products of components with one another and with the subjects, under the comparison's geometry (values:
    /// for ranks, of centred values). These fit weighted models.
    pub(super) fn products(&self) -> Products {
        let (c, s) = (self.table.n_components, self.table.n_subjects);
        if !self.table.how.of_ranks() {
            let among = cross(self.primal.subcols(0, c), self.dual.subcols(0, c));
            let mut with = cross(self.primal.subcols(0, c), self.dual.subcols(c, s));
            for j in 0..s {
                (0..c).for_each(|i| with[(i, j)] /= self.norms[c + j]);
            }
            return Products { among, with };
        }
        // A weighted sum of RDMs is fitted to pooled ranks: the components' values against subjects' ranks.
        let mut primal = Mat::zeros(self.active.len(), c);
        for i in 0..c {
            let from = &self.table.columns[i];
            let to = primal.col_as_slice_mut(i);
            to.iter_mut().zip(&self.active).for_each(|(to, &p)| *to = from[p as usize]);
            self.centre(to);
        }
        let centre = self.total + 1.0;
        let ranks = Mat::from_fn(self.active.len(), s, |p, j| f64::from(self.ranks[j][p]) - centre);
        let (dual, rank_dual) = (self.weighted(&primal), self.weighted(&ranks));
        let mut with = cross(primal.as_ref(), rank_dual.as_ref());
        for j in 0..s {
            let length = norm(&ranks, &rank_dual, j);
            (0..c).for_each(|i| with[(i, j)] /= length);
        }
        Products { among: cross(primal.as_ref(), dual.as_ref()), with }
    }

    /// How a weighted sum of components compares with each subject.
    pub(super) fn scores_of(
        &self,
        components: std::ops::Range<usize>,
        theta: &[f64],
        products: &Products,
    ) -> Vec<f64> {
        let (c, s) = (self.table.n_components, self.table.n_subjects);
        if !self.table.how.of_ranks() {
            let mut square = 0.0;
            for (a, i) in components.clone().enumerate() {
                for (b, j) in components.clone().enumerate() {
                    square += theta[a] * theta[b] * products.among[(i, j)];
                }
            }
            let length = if square > 0.0 { square.sqrt() } else { f64::NAN };
            let inner =
                |j: usize| components.clone().zip(theta).map(|(i, t)| t * products.with[(i, j)]).sum::<f64>();
            // A prediction that is constant up to rounding has no value.
            let scale: f64 = components
                .clone()
                .zip(theta)
                .map(|(i, t)| t.abs() * products.among[(i, i)].max(0.0).sqrt())
                .sum();
            let length = if length > 1e-12 * scale { length } else { f64::NAN };
            return (0..s)
                .map(|j| if self.norms[c + j].is_nan() { f64::NAN } else { bounded(inner(j) / length) })
                .collect();
        }
        let predicted: Vec<f64> = self
            .active
            .iter()
            .map(|&p| components.clone().zip(theta).map(|(i, t)| t * self.table.columns[i][p as usize]).sum())
            .collect();
        if is_constant(&predicted) {
            return vec![f64::NAN; s];
        }
        let found = levels(&predicted);
        (0..s).map(|j| self.compare_levels(&found, j)).collect()
    }

    /// Compare levels over the active pairs with a subject (rank comparisons).
    fn compare_levels(&self, x: &Levels, s: usize) -> f64 {
        let table = self.table;
        if matches!(table.how, Comparison::TauA | Comparison::TauB) {
            let own = &table.levels[table.subject(s)];
            let y = Levels {
                level: self.active.iter().map(|&p| own.level[p as usize]).collect(),
                n_levels: own.n_levels,
            };
            return self.tau(&order_of(x), x, &y, &self.weights);
        }
        let members = x.level.iter().copied().zip(self.weights.iter().copied());
        let (doubled, _) = doubled_midranks(members, x.n_levels);
        let centre = self.total + 1.0;
        let dual = self.dual.col_as_slice(table.subject(s));
        let (mut inner, mut square) = (0.0, 0.0);
        for ((&l, &w), d) in x.level.iter().zip(&self.weights).zip(dual) {
            let r = f64::from(doubled[l as usize]) - centre;
            inner += r * d;
            square += r * r * f64::from(w);
        }
        if !(square > 0.0) {
            return f64::NAN;
        }
        bounded(inner / (self.rank_norm(square.sqrt()) * self.norms[table.subject(s)]))
    }

    /// Noise ceilings where subject s counts `subjects[s]` times: mean comparison of each with the pool of all others
    /// (copies of the same subject are left out with it), and with the pool of all.
    pub(super) fn ceilings(&self, subjects: &[u32]) -> Ceilings {
        let u: Vec<f64> = subjects.iter().map(|&u| f64::from(u)).collect();
        let all: f64 = u.iter().sum();
        let present: Vec<usize> = (0..u.len()).filter(|&s| subjects[s] > 0).collect();
        if present.len() < 2 {
            return Ceilings { lower: f64::NAN, upper: f64::NAN };
        }
        let (mut lower, mut upper) = (0.0, 0.0);
        if self.table.how.of_ranks() {
            let sums: Vec<u32> = (0..self.active.len())
                .map(|p| present.iter().map(|&s| subjects[s] * self.ranks[s][p]).sum())
                .collect();
            let pooled = levels_of_keys(&sums);
            for &s in &present {
                let others: Vec<u32> =
                    sums.iter().zip(&self.ranks[s]).map(|(sum, r)| sum - subjects[s] * r).collect();
                lower += u[s] * self.compare_levels(&levels_of_keys(&others), s);
                upper += u[s] * self.compare_levels(&pooled, s);
            }
        } else {
            let (n, k) = (self.table.n_subjects, &self.among_subjects);
            let with: Vec<f64> = (0..n).map(|s| present.iter().map(|&t| u[t] * k[(s, t)]).sum()).collect();
            let square: f64 = present.iter().map(|&s| u[s] * with[s]).sum();
            for &s in &present {
                let others = square - 2.0 * u[s] * with[s] + u[s] * u[s] * k[(s, s)];
                lower += u[s] * bounded((with[s] - u[s] * k[(s, s)]) / others.max(0.0).sqrt());
                upper += u[s] * bounded(with[s] / square.max(0.0).sqrt());
            }
        }
        Ceilings { lower: lower / all, upper: upper / all }
    }

    /// Unit subjects, averaged, under V⁻¹ or weights: its inner product with a unit model is the model's mean score.
    pub(super) fn mean_subject(&self) -> Vec<f64> {
        let (c, s) = (self.table.n_components, self.table.n_subjects);
        let mut mean = vec![0.0; self.active.len()];
        for j in 0..s {
            let scale = 1.0 / (self.norms[c + j] * s as f64);
            mean.iter_mut().zip(self.dual.col_as_slice(c + j)).for_each(|(m, d)| *m += scale * d);
        }
        mean
    }

    /// Unit component.
    pub(super) fn unit(&self, c: usize) -> Vec<f64> {
        self.primal.col_as_slice(c).iter().map(|v| v / self.norms[c]).collect()
    }
}

/// Inner products of components.
#[derive(Debug)]
pub(super) struct Products {
    /// Components × components.
    pub(super) among: Mat<f64>,
    /// Components × subjects, each subject of length 1.
    pub(super) with: Mat<f64>,
}

/// Lower and upper noise ceiling.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ceilings {
    pub(super) lower: f64,
    pub(super) upper: f64,
}

fn norm(primal: &Mat<f64>, dual: &Mat<f64>, c: usize) -> f64 {
    let square = dot(primal.col_as_slice(c), dual.col_as_slice(c));
    if square > 0.0 { square.sqrt() } else { f64::NAN }
}

/// A similarity leaves [−1, 1] by rounding only.
fn bounded(value: f64) -> f64 {
    value.clamp(-1.0, 1.0)
}

/// Levels of whole numbers, by a radix sort.
fn levels_of_keys(keys: &[u32]) -> Levels {
    let mut items: Vec<u64> = keys.iter().enumerate().map(|(p, &k)| u64::from(k) << 32 | p as u64).collect();
    let mut other = vec![0u64; items.len()];
    let largest = keys.iter().copied().max().unwrap_or(0);
    let mut shift = 32;
    while shift == 32 || u64::from(largest) >> (shift - 32) > 0 {
        let mut starts = [0usize; 2048];
        items.iter().for_each(|item| starts[(item >> shift & 2047) as usize] += 1);
        let mut at = 0;
        for start in &mut starts {
            at += std::mem::replace(start, at);
        }
        for &item in &items {
            let place = &mut starts[(item >> shift & 2047) as usize];
            other[*place] = item;
            *place += 1;
        }
        std::mem::swap(&mut items, &mut other);
        shift += 11;
    }
    let mut level = vec![0; keys.len()];
    let (mut at, mut before) = (0u32, items.first().map_or(0, |item| item >> 32));
    for item in items {
        if item >> 32 != before {
            (at, before) = (at + 1, item >> 32);
        }
        level[(item & 0xffff_ffff) as usize] = at;
    }
    Levels { level, n_levels: if keys.is_empty() { 0 } else { at as usize + 1 } }
}

/// Why a score of the whole data is undefined, in words.
pub(super) fn reason(x: &[f64], how: Comparison) -> &'static str {
    if x.len() < 3 {
        Undefined::FewPairs.words()
    } else if how.centred() {
        Undefined::Constant.words()
    } else {
        Undefined::Zero.words()
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::rdm_compare::{NoiseCovariance, compare};
    use super::*;
    use stereotax_base::stats::rng::Stream;

    pub(super) fn random(n: usize, seed: u64) -> Rdm {
        let mut stream = Stream::new(seed, "rsa draws", 0);
        Rdm::new(n, (0..n * (n - 1) / 2).map(|_| (8.0 * stream.uniform()).round() + 0.5).collect()).unwrap()
    }

    const ALL: [Comparison; 8] = [
        Comparison::Pearson,
        Comparison::Spearman,
        Comparison::RhoA,
        Comparison::TauA,
        Comparison::TauB,
        Comparison::Cosine,
        Comparison::WhitenedCosine,
        Comparison::WhitenedPearson,
    ];

    /// Copies of conditions, as they would be written out.
    fn copied(rdm: &Rdm, multiplicity: &[u32]) -> Rdm {
        let conditions: Vec<usize> =
            (0..multiplicity.len()).flat_map(|i| std::iter::repeat_n(i, multiplicity[i] as usize)).collect();
        rdm.subset(&conditions).unwrap()
    }

    #[test]
    fn weights_are_copies_for_every_comparison() {
        let n = 9;
        let multiplicity = [2, 0, 1, 3, 1, 0, 1, 0, 1];
        let (models, mut subjects) =
            ([random(n, 1), random(n, 2)], vec![random(n, 3), random(n, 4), random(n, 5)]);
        let variances: Vec<f64> = (0..n).map(|i| 0.5 + 0.1 * i as f64).collect();
        let diagonal = NoiseCovariance::Diagonal(variances.clone());
        // Neighbours have much noise in common.
        let half = |i: usize| variances[i].sqrt();
        let close = |i: usize, j: usize| 0.7f64.powi(i.abs_diff(j) as i32);
        let sigma = Mat::from_fn(n, n, |i, j| close(i, j) * half(i) * half(j));
        let own = *eigh(Mat::from_fn(n, n, close).as_ref()).unwrap().values.last().unwrap();
        assert!(own > 0.1 && own < 0.3, "{own}");
        let full = NoiseCovariance::Full(sigma.clone());
        for holes in [false, true] {
            if holes {
                let mut values = subjects[1].values().to_vec();
                values[3] = f64::NAN;
                values[20] = f64::NAN;
                subjects[1] = Rdm::new(n, values).unwrap();
            }
            for how in ALL {
                for noise in [None, Some(&diagonal), Some(&full)] {
                    if noise.is_some() && !how.is_whitened() {
                        continue;
                    }
                    let references: Vec<&Rdm> = models.iter().collect();
                    let table = Table::new(&references, &subjects, how, noise).unwrap();
                    assert_eq!(table.n_dropped, 2 * usize::from(holes));
                    let found = table.draw(&multiplicity).scores();
                    // Pairs that one subject lacks are left out for all.
                    let mask = |rdm: &Rdm| {
                        let missing = |p: usize| subjects.iter().any(|s| s.values()[p].is_nan());
                        let of = |(p, &v): (usize, &f64)| if missing(p) { f64::NAN } else { v };
                        Rdm::new(n, rdm.values().iter().enumerate().map(of).collect()).unwrap()
                    };
                    let copies: Vec<usize> =
                        (0..n).flat_map(|i| std::iter::repeat_n(i, multiplicity[i] as usize)).collect();
                    let noise = noise.map(|noise| match noise {
                        NoiseCovariance::Diagonal(v) => {
                            NoiseCovariance::Diagonal(copies.iter().map(|&i| v[i]).collect())
                        }
                        NoiseCovariance::Full(_) => {
                            NoiseCovariance::Full(Mat::from_fn(copies.len(), copies.len(), |a, b| {
                                let (i, j) = (copies[a], copies[b]);
                                let own = if i == j { own * variances[i] } else { 0.0 };
                                // R of the conditions, and each copy's own.
                                sigma[(i, j)] - own + if a == b { own } else { 0.0 }
                            }))
                        }
                    });
                    for i in 0..2 {
                        for j in 0..3 {
                            let (x, y) = (
                                copied(&mask(&models[i]), &multiplicity),
                                copied(&mask(&subjects[j]), &multiplicity),
                            );
                            let expected = compare(&x, &y, how, noise.as_ref()).unwrap().value;
                            assert!(
                                (found[(i, j)] - expected).abs() < 1e-10,
                                "{how:?} {holes}: {} {expected}",
                                found[(i, j)]
                            );
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn a_diagonal_written_as_a_matrix_is_the_diagonal() {
        let n = 8;
        let variances: Vec<f64> = (0..n).map(|i| 1.0 + 0.3 * i as f64).collect();
        let matrix = Mat::from_fn(n, n, |i, j| if i == j { variances[i] } else { 0.0 });
        let subjects = [random(n, 31), random(n, 32)];
        for multiplicity in [[1; 8], [2, 0, 1, 3, 1, 0, 1, 0]] {
            for how in [Comparison::WhitenedCosine, Comparison::WhitenedPearson] {
                let of = |noise: &NoiseCovariance| {
                    Table::new(&[&random(n, 30)], &subjects, how, Some(noise))
                        .unwrap()
                        .draw(&multiplicity)
                        .scores()
                };
                let (a, b) = (
                    of(&NoiseCovariance::Diagonal(variances.clone())),
                    of(&NoiseCovariance::Full(matrix.clone())),
                );
                assert!((a - b).norm_max() < 1e-12);
            }
        }
    }

    #[test]
    fn ceilings_are_those_of_pools_written_out() {
        let n = 8;
        let multiplicity = [1, 2, 0, 1, 1, 1, 2, 0];
        let subjects: Vec<Rdm> = (0..4).map(|s| random(n, 10 + s)).collect();
        let weights = [2u32, 1, 0, 1];
        for how in ALL {
            let model = random(n, 1);
            let table = Table::new(&[&model], &subjects, how, None).unwrap();
            let found = table.draw(&multiplicity).ceilings(&weights);
            let copies: Vec<Rdm> = subjects.iter().map(|s| copied(s, &multiplicity)).collect();
            let kept: Vec<usize> =
                (0..copies[0].n_pairs()).filter(|&p| !copies[0].values()[p].is_nan()).collect();
            let pool = |left_out: Option<usize>| {
                let mut sum = vec![f64::NAN; copies[0].n_pairs()];
                kept.iter().for_each(|&p| sum[p] = 0.0);
                for (s, copy) in copies.iter().enumerate().filter(|(s, _)| Some(*s) != left_out) {
                    let x: Vec<f64> = kept.iter().map(|&p| copy.values()[p]).collect();
                    let part = match how {
                        _ if how.of_ranks() => stereotax_base::stats::ranks::midranks(&x),
                        Comparison::Pearson => crate::rdm_compare::linear::unit(&x, true).unwrap(),
                        Comparison::Cosine => crate::rdm_compare::linear::unit(&x, false).unwrap(),
                        _ => {
                            // Length 1 under V⁻¹: the cosine with itself of x and 2x stays, so scale by a reference.
                            let centred = how == Comparison::WhitenedPearson;
                            let mean = if centred { x.iter().sum::<f64>() / x.len() as f64 } else { 0.0 };
                            let x: Vec<f64> = x.iter().map(|v| v - mean).collect();
                            let drawn = Table::new(&[&subjects[s]], &subjects, how, None).unwrap();
                            let length = drawn.draw(&multiplicity).norms[0];
                            x.iter().map(|v| v / length).collect()
                        }
                    };
                    kept.iter().zip(part).for_each(|(&p, v)| sum[p] += f64::from(weights[s]) * v);
                }
                Rdm::new(copies[0].n_conditions(), sum).unwrap()
            };
            let with = |s: usize, pool: &Rdm| compare(pool, &copies[s], how, None).unwrap().value;
            let mean = |of: &dyn Fn(usize) -> f64| (2.0 * of(0) + of(1) + of(3)) / 4.0;
            let all = pool(None);
            let (lower, upper) = (mean(&|s| with(s, &pool(Some(s)))), mean(&|s| with(s, &all)));
            assert!((found.lower - lower).abs() < 1e-9, "{how:?}: {} is not {lower}", found.lower);
            assert!((found.upper - upper).abs() < 1e-9, "{how:?}: {} is not {upper}", found.upper);
        }
    }

    #[test]
    fn a_radix_sort_finds_the_levels() {
        let mut stream = Stream::new(1, "radix", 0);
        for bound in [1usize, 7, 3000, 5_000_000] {
            let keys: Vec<u32> = (0..500).map(|_| stream.below(bound) as u32).collect();
            let slow = levels(&keys.iter().map(|&k| f64::from(k)).collect::<Vec<_>>());
            assert_eq!(levels_of_keys(&keys), slow);
        }
    }

    #[test]
    fn a_constant_model_has_no_score_in_its_draw_only() {
        // Constant but for pairs with condition 0.
        let n = 6;
        let values: Vec<f64> = super::super::super::rdm_compare::whitened::pairs(n)
            .map(|(i, _)| if i == 0 { 1.0 } else { 2.0 })
            .collect();
        let model = Rdm::new(n, values).unwrap();
        for how in [Comparison::Pearson, Comparison::Spearman, Comparison::TauA, Comparison::RhoA] {
            let subjects = [random(n, 1)];
            let table = Table::new(&[&model], &subjects, how, None).unwrap();
            assert!(!table.draw(&[1; 6]).scores()[(0, 0)].is_nan());
            assert!(table.draw(&[0, 2, 1, 1, 1, 1]).scores()[(0, 0)].is_nan(), "{how:?}");
        }
    }
}
