//! Choose a layer per target, and where responses have time a time as well, where the held-out fold cannot see the
//! choice, and keep its honest score.
//!
//! In every outer fold each target takes the candidate with the best inner score, from training rows alone; ties go
//! to the candidate that stands first. A candidate is a layer, or a layer at one time: then the response that is
//! predicted is that of the time, which differs between folds as the choice does. The moments of the chosen candidates
//! make one honest score per target, exactly as if choosing were a part of fitting. The best of the scores themselves
//! is not honest: it is the largest of as many noisy numbers as there are candidates. Layers are offered one after
//! another, so that one at a time is held. Where predictions were not kept, those of the candidates chosen are made
//! again, as many targets at a time as memory holds, and so are the refits of all candidates.
//!
//! Null draws move (or refit to) whole rows of responses, all times together, so that a draw has the correlation
//! between times that the responses have.
//!
//! Source: specs: alignment-methods B1, B17. Cost: O(folds · targets) per candidate.

use std::ops::Range;

use faer::{Mat, MatRef};
use rayon::prelude::*;

use super::super::bootstrap::bootstrap_correlations;
use super::super::design::SampleDesign;
use super::super::evaluate::{EvaluateParams, NullModel, block_draws, held_out_order, inner_of, tr_of};
use super::super::represent::Features;
use super::layer::{
    BLOCK, CellDraws, Chance, Refits, TIE, bootstrap, cleaned, null_draws, refit_block, target_bytes,
};
use super::moments::FoldMoments;
use crate::data::{Fold, Monitor, Result};
use crate::encoding::{FoldFeatures, FoldPlan};
use crate::stats::null_draws::NullDraws;
use crate::stats::summary::{permutation_p, quantile};

/// The candidates that were offered so far, and the best of them in every fold.
#[derive(Debug)]
pub struct NestedChoice {
    /// What was offered: layers, with the columns of responses that belong to the targets.
    candidates: Vec<(usize, Vec<usize>)>,
    inner_scores: Mat<f64>,
    /// Candidate (folds × targets).
    chosen: Mat<f64>,
    moments: FoldMoments,
    predictions: Option<Mat<f32>>,
    /// The choice made anew in every refit.
    refits: Option<Refits>,
}

/// Every target with its chosen candidates.
#[derive(Debug, Clone)]
pub struct BestCell {
    /// Number of the chosen layer (folds × targets); NaN where no candidate has an inner score.
    pub chosen: Mat<f64>,
    /// Column of the responses that was predicted (folds × targets): the target itself, unless times were offered.
    pub columns: Mat<f64>,
    /// Inner score of the choice.
    pub inner_scores: Mat<f64>,
    /// Moments of its held-out predictions.
    pub moments: FoldMoments,
    /// What chance gives.
    pub chance: Chance,
    /// Predictions and draws, where they were kept.
    pub draws: Option<CellDraws>,
    /// What stands for bootstrap draws where they were not kept.
    pub intervals: Option<Intervals>,
}

/// Intervals of many targets, without their draws.
#[derive(Debug, Clone, PartialEq)]
pub struct Intervals {
    /// Lower and upper end (95 %) per target (2 × targets); NaN where there is none.
    pub targets: Mat<f64>,
    /// Draws of the mean r over the targets of each group that have one (draws × groups).
    pub groups: Mat<f32>,
}

impl NestedChoice {
    /// Nothing offered yet; `n` held-out samples per fold. With `keep_predictions` every offer brings its own.
    pub fn new(n: Vec<usize>, n_targets: usize, keep_predictions: bool) -> Self {
        NestedChoice {
            candidates: Vec::new(),
            inner_scores: Mat::full(n.len(), n_targets, f64::NAN),
            chosen: Mat::full(n.len(), n_targets, f64::NAN),
            predictions: keep_predictions.then(|| Mat::zeros(n.iter().sum(), n_targets)),
            refits: None,
            moments: FoldMoments::empty(n, n_targets),
        }
    }

    /// Offer layer number `layer`: inner scores (folds × targets), moments, and predictions in the order of
    /// [`held_out_order`](crate::pipelines::held_out_order), all of the same folds and targets; and refits, where
    /// these make the null draws.
    pub fn offer(
        &mut self,
        layer: usize,
        inner_scores: MatRef<f64>,
        moments: &FoldMoments,
        predictions: Option<MatRef<f32>>,
        refits: Option<&Refits>,
    ) {
        let columns: Vec<usize> = (0..self.moments.n_targets()).collect();
        self.offer_columns(layer, &columns, inner_scores, moments, predictions, refits);
    }

    /// [`offer`](NestedChoice::offer) where target j is column `columns[j]` of what is offered: responses at one of
    /// several times.
    pub fn offer_columns(
        &mut self,
        layer: usize,
        columns: &[usize],
        inner_scores: MatRef<f64>,
        moments: &FoldMoments,
        predictions: Option<MatRef<f32>>,
        refits: Option<&Refits>,
    ) {
        let candidate = self.candidates.len() as f64;
        self.candidates.push((layer, columns.to_vec()));
        let (n_folds, n_targets) = (self.moments.n.len(), columns.len());
        if let Some(offered) = refits {
            let width = moments.n_targets();
            let n_draws = offered.r.len() / (n_folds * width).max(1);
            let undefined = || vec![f32::NAN; n_draws * n_folds * n_targets];
            let kept =
                self.refits.get_or_insert_with(|| Refits { r: undefined(), inner_scores: undefined() });
            for at in 0..kept.r.len() {
                kept.take_better(at, offered, at / n_targets * width + columns[at % n_targets]);
            }
        }
        let mut first_row = 0;
        for fold in 0..n_folds {
            let n = self.moments.n[fold];
            for (target, &column) in columns.iter().enumerate() {
                let (score, best) = (inner_scores[(fold, column)], self.inner_scores[(fold, target)]);
                if score.is_nan() || !(best.is_nan() || score > best) {
                    continue;
                }
                self.inner_scores[(fold, target)] = score;
                self.chosen[(fold, target)] = candidate;
                self.moments.set(fold, target, moments.at(fold, column));
                if let (Some(kept), Some(offered)) = (&mut self.predictions, predictions) {
                    (first_row..first_row + n).for_each(|t| kept[(t, target)] = offered[(t, column)]);
                }
            }
            first_row += n;
        }
    }

    /// Score the choice against `y` (samples × columns), with draws where predictions were kept; where they were not
    /// they are made again from `features`, as many at a time as `memory` (bytes) holds, and intervals are kept of
    /// every target and of the mean of each of `groups`.
    pub fn finish(
        self,
        y: MatRef<f64>,
        design: &SampleDesign,
        params: &EvaluateParams,
        groups: &[Vec<usize>],
        features: &LayerFeatures<'_>,
        memory: usize,
        monitor: &Monitor,
    ) -> Result<BestCell> {
        let NestedChoice { candidates, inner_scores, chosen, moments, predictions, refits } = self;
        let (n_folds, n_targets) = (chosen.nrows(), chosen.ncols());
        let of = |value: &dyn Fn(&(usize, Vec<usize>), usize) -> usize| {
            Mat::from_fn(n_folds, n_targets, |f, j| match chosen[(f, j)] {
                c if c.is_nan() => f64::NAN,
                c => value(&candidates[c as usize], j) as f64,
            })
        };
        let choice = Choice { layers: of(&|c, _| c.0), columns: of(&|c, j| c.1[j]), candidates };
        let moves = null_draws(design, params)?;
        let (chance, draws, intervals) = match predictions {
            Some(predictions) => {
                let (chance, draws) =
                    of_kept(predictions, refits, &choice, &moments, y, design, params, moves, monitor)?;
                (chance, Some(draws), None)
            }
            None => {
                let made = Remade { choice: &choice, y, design, params, features, monitor };
                let (chance, intervals) = made.test(&moments, moves, groups, memory)?;
                (chance, None, Some(intervals))
            }
        };
        let Choice { layers, columns, .. } = choice;
        Ok(BestCell { chosen: layers, columns, inner_scores, moments, chance, draws, intervals })
    }
}

impl Refits {
    /// Take over what stands at `from` of `offered` where its inner score is better than that at `at`.
    fn take_better(&mut self, at: usize, offered: &Refits, from: usize) {
        let (score, best) = (offered.inner_scores[from], self.inner_scores[at]);
        if !score.is_nan() && (best.is_nan() || score > best) {
            (self.inner_scores[at], self.r[at]) = (score, offered.r[from]);
        }
    }
}

/// The features of a layer, by its number.
pub type LayerFeatures<'a> = dyn Fn(usize) -> Result<Features> + 'a;

/// What was chosen (folds × targets; NaN where nothing was), among which candidates.
struct Choice {
    layers: Mat<f64>,
    columns: Mat<f64>,
    candidates: Vec<(usize, Vec<usize>)>,
}

impl Choice {
    /// The responses that the targets chose (held-out samples × targets), fold after fold; 0 where not finite.
    fn held_out(&self, y: MatRef<f64>, order: &[usize], n: &[usize], targets: &Range<usize>) -> Mat<f64> {
        let folds: Vec<usize> =
            n.iter().enumerate().flat_map(|(fold, &n)| std::iter::repeat_n(fold, n)).collect();
        Mat::from_fn(order.len(), targets.len(), |t, at| match self.columns[(folds[t], targets.start + at)] {
            column if column.is_nan() => 0.0,
            column => Some(y[(order[t], column as usize)]).filter(|v| v.is_finite()).unwrap_or(0.0),
        })
    }
}

fn untested(n_targets: usize, note: String) -> Chance {
    Chance { p_value: vec![f64::NAN; n_targets], maxima: Vec::new(), steps: Vec::new(), note: Some(note) }
}

/// Chance and draws of predictions that were kept.
fn of_kept(
    predictions: Mat<f32>,
    refits: Option<Refits>,
    choice: &Choice,
    moments: &FoldMoments,
    y: MatRef<f64>,
    design: &SampleDesign,
    params: &EvaluateParams,
    moves: Result<NullDraws>,
    monitor: &Monitor,
) -> Result<(Chance, CellDraws)> {
    let (order, runs) = held_out_order(design)?;
    let n_targets = moments.n_targets();
    let responses = choice.held_out(y, &order, &moments.n, &(0..n_targets));
    let multiplicities = block_draws(design, params)?;
    let bootstrap = bootstrap(
        bootstrap_correlations,
        &predictions,
        responses.as_ref(),
        &order,
        &runs,
        design,
        &multiplicities,
    );
    let observed = moments.r();
    let (chance, null) = match (moves, refits) {
        (Err(reason), _) => (untested(n_targets, reason.to_string()), Vec::new()),
        (Ok(draws), Some(refits)) => {
            let (p_value, null) = of_refits(&refits, &moments.n, &observed);
            let maxima = null
                .chunks_exact(n_targets.max(1))
                .map(|row| row.iter().fold(f32::NEG_INFINITY, |m, x| m.max(*x)))
                .collect();
            (Chance { p_value, maxima, steps: Vec::new(), note: draws.support.warning }, null)
        }
        (Ok(draws), None) => {
            let mut null = vec![f32::NAN; draws.n_draws() * n_targets];
            let mut found = Tested::new(n_targets, draws.n_draws());
            for from in (0..n_targets).step_by(BLOCK) {
                let to = n_targets.min(from + BLOCK);
                let (p, o) = (predictions.get(.., from..to), responses.get(.., from..to));
                let tile = draws.tile(p, o, &observed[from..to], monitor)?;
                found.take(from, &observed[from..to], &tile.null, &tile.n_reaching);
                for (draw, row) in tile.null.chunks_exact(to - from).enumerate() {
                    null[draw * n_targets + from..][..to - from].copy_from_slice(row);
                }
            }
            (found.chance(draws.support.warning.clone()), null)
        }
    };
    Ok((chance, CellDraws { predictions, bootstrap, null }))
}

/// p-values and maxima of the targets so far.
struct Tested {
    p_value: Vec<f64>,
    maxima: Vec<f32>,
}

impl Tested {
    fn new(n_targets: usize, n_draws: usize) -> Self {
        Tested { p_value: vec![f64::NAN; n_targets], maxima: vec![f32::NEG_INFINITY; n_draws] }
    }

    /// Null draws (draw after draw) of the targets from `first` on, and how many reach what was observed.
    fn take(&mut self, first: usize, observed: &[f64], null: &[f32], n_reaching: &[usize]) {
        for (at, _) in observed.iter().enumerate().filter(|(_, r)| !r.is_nan()) {
            self.p_value[first + at] = permutation_p(n_reaching[at], self.maxima.len());
        }
        for (largest, row) in self.maxima.iter_mut().zip(null.chunks_exact(observed.len().max(1))) {
            *largest = row.iter().fold(*largest, |m, x| m.max(*x));
        }
    }

    fn chance(self, note: Option<String>) -> Chance {
        Chance { p_value: self.p_value, maxima: self.maxima, steps: Vec::new(), note }
    }
}

/// Predictions and refits of what was chosen, made again.
struct Remade<'a> {
    choice: &'a Choice,
    y: MatRef<'a, f64>,
    design: &'a SampleDesign,
    params: &'a EvaluateParams,
    features: &'a LayerFeatures<'a>,
    monitor: &'a Monitor<'a>,
}

impl Remade<'_> {
    /// Chance and intervals, as many targets at a time as `memory` holds.
    fn test(
        &self,
        moments: &FoldMoments,
        moves: Result<NullDraws>,
        groups: &[Vec<usize>],
        memory: usize,
    ) -> Result<(Chance, Intervals)> {
        let (order, runs) = held_out_order(self.design)?;
        let multiplicities = block_draws(self.design, self.params)?;
        let (n_targets, observed) = (moments.n_targets(), moments.r());
        let refit = self.params.null == NullModel::Refit;
        let mut found = Tested::new(n_targets, moves.as_ref().map_or(0, NullDraws::n_draws));
        let mut ends = Mat::full(2, n_targets, f64::NAN);
        let mut sums = Mat::<f64>::zeros(self.params.n_bootstraps, groups.len());
        let mut counts = vec![0.0; groups.len()];
        let mut groups_of: Vec<Vec<usize>> = vec![Vec::new(); n_targets];
        for (group, members) in groups.iter().enumerate() {
            for &j in members.iter().filter(|&&j| !observed[j].is_nan()) {
                groups_of[j].push(group);
                counts[group] += 1.0;
            }
        }
        let bytes = choice_bytes(self.design, self.params);
        let chunk = (memory / bytes.max(1) / BLOCK).max(1) * BLOCK;
        for from in (0..n_targets).step_by(chunk) {
            let here = from..n_targets.min(from + chunk);
            let predictions = self.predictions(&order, &here)?;
            let responses = self.choice.held_out(self.y, &order, &moments.n, &here);
            let r = &observed[here.clone()];
            let drawn = bootstrap(
                bootstrap_correlations,
                &predictions,
                responses.as_ref(),
                &order,
                &runs,
                self.design,
                &multiplicities,
            );
            for (at, j) in here.clone().enumerate().filter(|(at, _)| !r[*at].is_nan()) {
                let draws: Vec<f64> = drawn.col(at).iter().map(|x| f64::from(*x)).collect();
                for &group in &groups_of[j] {
                    draws.iter().enumerate().for_each(|(b, x)| sums[(b, group)] += x);
                }
                let known: Vec<f64> = draws.into_iter().filter(|x| !x.is_nan()).collect();
                if !known.is_empty() {
                    (ends[(0, j)], ends[(1, j)]) = (quantile(&known, 0.025), quantile(&known, 0.975));
                }
            }
            match &moves {
                Err(_) => {}
                Ok(moves) if refit => {
                    let refits = self.refits(&here, moves)?;
                    let (p, null) = of_refits(&refits, &moments.n, r);
                    found.p_value[here.clone()].copy_from_slice(&p);
                    for (largest, row) in found.maxima.iter_mut().zip(null.chunks_exact(here.len())) {
                        *largest = row.iter().fold(*largest, |m, x| m.max(*x));
                    }
                }
                Ok(moves) => {
                    for at in (0..here.len()).step_by(BLOCK) {
                        let to = here.len().min(at + BLOCK);
                        let (p, o) = (predictions.get(.., at..to), responses.get(.., at..to));
                        let tile = moves.tile(p, o, &r[at..to], self.monitor)?;
                        found.take(from + at, &r[at..to], &tile.null, &tile.n_reaching);
                    }
                }
            }
        }
        let groups = Mat::from_fn(sums.nrows(), sums.ncols(), |b, g| (sums[(b, g)] / counts[g]) as f32);
        let chance = match moves {
            Err(reason) => untested(n_targets, reason.to_string()),
            Ok(moves) => found.chance(moves.support.warning),
        };
        Ok((chance, Intervals { targets: ends, groups }))
    }

    /// Held-out predictions of some targets: layer after layer, and in each fold for the targets that chose it.
    fn predictions(&self, order: &[usize], here: &Range<usize>) -> Result<Mat<f32>> {
        let Choice { layers, columns, .. } = self.choice;
        let mut wanted: Vec<usize> = here
            .clone()
            .flat_map(|j| layers.col(j).iter().copied().collect::<Vec<_>>())
            .filter(|l| !l.is_nan())
            .map(|l| l as usize)
            .collect();
        wanted.sort_unstable();
        wanted.dedup();
        let mut predictions = Mat::<f32>::zeros(order.len(), here.len());
        for layer in wanted {
            let features = (self.features)(layer)?;
            let mut first_row = 0;
            for (f, fold) in held_out(self.design).enumerate() {
                let targets: Vec<usize> = here.clone().filter(|&j| layers[(f, j)] == layer as f64).collect();
                if !targets.is_empty() {
                    let of: Vec<usize> = targets.iter().map(|&j| columns[(f, j)] as usize).collect();
                    let found = self.predict(&features, fold, &of)?;
                    for (at, &j) in targets.iter().enumerate() {
                        let to = predictions.col_as_slice_mut(j - here.start);
                        to[first_row..first_row + fold.test.len()].copy_from_slice(found.col_as_slice(at));
                    }
                }
                first_row += fold.test.len();
            }
        }
        Ok(predictions)
    }

    /// Held-out predictions of some columns in one fold (test rows × columns), zero where undefined.
    fn predict(&self, features: &Features, fold: &Fold, wanted: &[usize]) -> Result<Mat<f32>> {
        let (plan, y, monitor) = (self.plan(features, fold)?, self.y, self.monitor);
        // Where targets are fitted together all of them take part.
        let together = self.params.encoding.fits_targets_together();
        let all: Vec<usize> = (0..self.y.ncols()).collect();
        let columns = if together { &all } else { wanted };
        let width = if together { columns.len().max(1) } else { BLOCK };
        let tiles: Vec<Mat<f32>> = columns
            .par_chunks(width)
            .map(|columns| {
                monitor.check()?;
                let fit = plan.fit(tile_of(y, columns).as_ref())?;
                let single = |v: f64| if v.is_finite() { v as f32 } else { 0.0 };
                Ok(Mat::from_fn(fit.rows.len(), columns.len(), |t, k| single(fit.predictions[(t, k)])))
            })
            .collect::<Result<_>>()?;
        let place = |at: usize| if together { wanted[at] } else { at };
        Ok(Mat::from_fn(fold.test.len(), wanted.len(), |t, at| {
            tiles[place(at) / width][(t, place(at) % width)]
        }))
    }

    /// Refits of some targets (draws × folds × targets), the choice among all candidates made anew in each.
    fn refits(&self, here: &Range<usize>, moves: &NullDraws) -> Result<Refits> {
        let (y, monitor) = (self.y, self.monitor);
        let (n_folds, width) = (held_out(self.design).count(), here.len());
        let undefined = || vec![f32::NAN; moves.n_draws() * n_folds * width];
        let mut kept = Refits { r: undefined(), inner_scores: undefined() };
        // A layer's candidates were offered in one go: layers in this order keep the first of equals.
        for of_layer in self.choice.candidates.chunk_by(|a, b| a.0 == b.0) {
            let features = (self.features)(of_layer[0].0)?;
            for (f, fold) in held_out(self.design).enumerate() {
                let plan = self.plan(&features, fold)?;
                for (_, columns) in of_layer {
                    let columns = &columns[here.clone()];
                    let together = self.params.encoding.fits_targets_together();
                    let block = if together { width.max(1) } else { BLOCK };
                    let found: Vec<Refits> = columns
                        .par_chunks(block)
                        .map(|columns| refit_block(&plan, tile_of(y, columns).as_ref(), moves, monitor))
                        .collect::<Result<_>>()?;
                    for (at, block_of) in found.iter().enumerate() {
                        let (first, size) = (at * block, block_of.r.len() / moves.n_draws().max(1));
                        for draw in 0..moves.n_draws() {
                            for k in 0..size {
                                let to = (draw * n_folds + f) * width + first + k;
                                kept.take_better(to, block_of, draw * size + k);
                            }
                        }
                    }
                }
            }
        }
        Ok(kept)
    }

    fn plan(&self, features: &Features, fold: &Fold) -> Result<FoldPlan> {
        let inner = inner_of(fold, self.design, self.params)?;
        let (runs, tr_s) = (&self.design.runs, tr_of(self.design));
        let input = FoldFeatures { values: features.view(), runs, tr_s };
        FoldPlan::new(&input, fold, &inner, &self.params.encoding)
    }
}

/// Some columns of y, zero where one is not finite somewhere.
fn tile_of(y: MatRef<f64>, columns: &[usize]) -> Mat<f64> {
    let tile = Mat::from_fn(y.nrows(), columns.len(), |i, k| y[(i, columns[k])]);
    let (clean, _) = cleaned(tile.as_ref());
    clean.unwrap_or(tile)
}

/// Bytes that making a choice again takes per target: its predictions and bootstrap draws, and its refits.
pub fn choice_bytes(design: &SampleDesign, params: &EvaluateParams) -> usize {
    let refits = match params.null {
        NullModel::Refit => 8 * params.n_shifts * (design.folds.len() + 4),
        NullModel::Shift => 0,
    };
    target_bytes(design, params) + 12 * design.n_samples() + 12 * params.n_bootstraps + refits
}

/// The folds that hold something out.
fn held_out(design: &SampleDesign) -> impl Iterator<Item = &Fold> {
    design.folds.iter().filter(|fold| !fold.test.is_empty())
}

/// p-values by refits (draws × folds × targets), each with its own choice; and the null correlations, draw after draw.
fn of_refits(refits: &Refits, n: &[usize], observed: &[f64]) -> (Vec<f64>, Vec<f32>) {
    let n_targets = observed.len();
    let mut null = Vec::with_capacity(refits.r.len() / n.len().max(1));
    for draw in refits.r.chunks_exact((n.len() * n_targets).max(1)) {
        for (j, r) in observed.iter().enumerate() {
            let (mut sum, mut rows) = (0.0, 0.0);
            for (fold, n_rows) in n.iter().enumerate() {
                let value = f64::from(draw[fold * n_targets + j]);
                if !value.is_nan() {
                    sum += *n_rows as f64 * value;
                    rows += *n_rows as f64;
                }
            }
            null.push(if r.is_nan() { f32::NAN } else { (sum / rows) as f32 });
        }
    }
    let draws = || null.chunks_exact(n_targets.max(1));
    let reaching = |j: usize| draws().filter(|row| f64::from(row[j]) >= observed[j] - TIE).count();
    let p_value = (0..n_targets)
        .map(|j| if observed[j].is_nan() { f64::NAN } else { permutation_p(reaching(j), draws().count()) })
        .collect();
    (p_value, null)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_again_is_what_was_kept() {
        use super::super::super::design::Clock;
        use super::super::super::evaluate::InnerRule;
        use super::super::{Keep, score_targets};
        use crate::data::{Folds, Runs};
        use crate::encoding::{EncodingParams, Selection};
        use crate::stats::rng::Stream;

        const N: usize = 48;
        let ids: Vec<String> = (0..N).map(|i| format!("s{i:02}")).collect();
        let design = SampleDesign {
            folds: Folds::k_fold(&ids, 4, 1).unwrap(),
            runs: Runs::single(N),
            clock: Clock::Stimulus,
            blocks: (0..N).collect(),
            block_names: ids.clone(),
            ids,
        };
        let mut stream = Stream::new(3, "nested tests", 0);
        let layers = [4, 6].map(|width| Mat::from_fn(N, width, |_, _| stream.normal()));
        // Three channels at four times: channel 0 follows layer 1 at the third time, the last one does not vary.
        let y = Mat::from_fn(N, 12, |i, j| match j {
            2 => layers[1][(i, 0)] + 0.5 * stream.normal(),
            8.. => 1.0,
            _ => stream.normal(),
        });
        let features = |l: usize| Ok(Features::from_matrix(layers[l].as_ref()));
        let quiet = Monitor::silent();
        for null in [NullModel::Shift, NullModel::Refit] {
            let params = EvaluateParams {
                encoding: EncodingParams {
                    reduce: None,
                    selection: Selection::Generalised,
                    ..EncodingParams::default()
                },
                inner: InnerRule::Units(3),
                seed: 2,
                n_bootstraps: 40,
                n_shifts: 59,
                min_shift_s: 0.0,
                null,
            };
            let choose = |kept: bool| {
                let mut choice = NestedChoice::new(vec![12; 4], 3, kept);
                for layer in 0..2 {
                    let (x, y) = (features(layer).unwrap(), [y.as_ref()]);
                    let cell = score_targets(&x, &y, &design, &params, Keep::Draws, 1 << 28, &quiet)
                        .unwrap()
                        .remove(0);
                    let predictions = cell.draws.as_ref().map(|draws| draws.predictions.as_ref());
                    for time in 1..4 {
                        let columns = [time, 4 + time, 8 + time];
                        let inner = cell.inner_scores.as_ref();
                        let refits = cell.refits.as_ref();
                        choice.offer_columns(layer, &columns, inner, &cell.moments, predictions, refits);
                    }
                }
                let groups = [vec![0, 1], vec![2]];
                choice.finish(y.as_ref(), &design, &params, &groups, &features, 0, &quiet).unwrap()
            };
            let (kept, made) = (choose(true), choose(false));
            assert!(kept.columns.col(0).iter().all(|column| *column == 2.0));
            assert!(kept.chosen.col(0).iter().all(|layer| *layer == 1.0) && kept.chosen[(0, 2)].is_nan());
            assert!(kept.columns.col(1).iter().all(|column| (5.0..8.0).contains(column)));
            assert_eq!(kept.chance.p_value[..2], made.chance.p_value[..2]);
            assert!(kept.chance.p_value[0] == 1.0 / 60.0 && made.chance.p_value[2].is_nan());
            assert_eq!(kept.chance.maxima, made.chance.maxima);
            let (draws, intervals) = (kept.draws.unwrap().bootstrap, made.intervals.unwrap());
            for j in 0..2 {
                let of: Vec<f64> = draws.col(j).iter().map(|x| f64::from(*x)).collect();
                assert_eq!(intervals.targets[(0, j)].to_bits(), quantile(&of, 0.025).to_bits());
                assert_eq!(intervals.targets[(1, j)].to_bits(), quantile(&of, 0.975).to_bits());
            }
            let mean = |b: usize| f64::midpoint(f64::from(draws[(b, 0)]), f64::from(draws[(b, 1)])) as f32;
            assert!((0..40).all(|b| (intervals.groups[(b, 0)] - mean(b)).abs() < 1e-6));
            assert!(intervals.targets[(0, 2)].is_nan() && intervals.groups[(0, 1)].is_nan());
            // The score of channel 0 is that of its response at the third time in all folds.
            let alone = score_targets(
                &features(1).unwrap(),
                &[y.get(.., 2..3)],
                &design,
                &params,
                Keep::Maxima,
                0,
                &quiet,
            );
            assert_eq!(kept.moments.r_of(0).to_bits(), alone.unwrap()[0].moments.r_of(0).to_bits());
        }
    }

    #[test]
    fn a_choice_is_made_anew_in_every_refit() {
        // One target, two folds of 2 and 4 rows, two draws.
        let refits = |r: [f32; 4], inner: [f32; 4]| Refits { r: r.to_vec(), inner_scores: inner.to_vec() };
        let mut choice = NestedChoice::new(vec![2, 4], 1, true);
        let moments = FoldMoments::empty(vec![2, 4], 1);
        let inner = Mat::full(2, 1, 0.5);
        let nothing = Mat::<f32>::zeros(6, 1);
        let first = refits([0.9, -0.3, 0.2, f32::NAN], [0.1, 0.4, 0.2, f32::NAN]);
        let second = refits([-0.6, 0.9, 0.3, 0.8], [0.3, 0.4, 0.1, 0.0]);
        choice.offer(0, inner.as_ref(), &moments, Some(nothing.as_ref()), Some(&first));
        choice.offer(1, inner.as_ref(), &moments, Some(nothing.as_ref()), Some(&second));
        let refits = choice.refits.unwrap();
        // Fold by fold the layer with the higher inner score; a tie stays with the first.
        assert_eq!(refits.r, [-0.6, -0.3, 0.2, 0.8]);
        let (p_value, null) = of_refits(&refits, &[2, 4], &[0.5]);
        assert!((null[0] - (-0.4)).abs() < 1e-6 && (null[1] - 0.6).abs() < 1e-6);
        assert_eq!((p_value[0], null.len()), (2.0 / 3.0, 2));
        assert!(of_refits(&refits, &[2, 4], &[f64::NAN]).0[0].is_nan());
    }

    #[test]
    fn the_choice_looks_at_inner_scores_alone() {
        // Two folds, two targets. Layer 1 wins fold 0 of target 0 by its inner score, whatever its outer one.
        let mut choice = NestedChoice::new(vec![2, 2], 2, false);
        let with = |value: f64| {
            let mut moments = FoldMoments::empty(vec![2, 2], 2);
            (0..4).for_each(|at| moments.set(at / 2, at % 2, [0.0, 0.0, 1.0, 1.0, value]));
            moments
        };
        let first = Mat::from_fn(2, 2, |f, j| [[0.1, 0.3], [0.2, f64::NAN]][f][j]);
        let second = Mat::from_fn(2, 2, |f, j| [[0.4, 0.3], [0.1, f64::NAN]][f][j]);
        choice.offer(0, first.as_ref(), &with(0.9), None, None);
        choice.offer(1, second.as_ref(), &with(-0.5), None, None);
        let chosen: Vec<f64> = [(0, 0), (0, 1), (1, 0)].map(|at| choice.chosen[at]).to_vec();
        // A tie stays with the first.
        assert_eq!(chosen, [1.0, 0.0, 0.0]);
        assert!(choice.chosen[(1, 1)].is_nan());
        // Target 0: r of layer 1 in fold 0 and of layer 0 in fold 1.
        assert!((choice.moments.r_of(0) - (2.0 * -0.5 + 2.0 * 0.9) / 4.0).abs() < 1e-15);
        // Target 1 has a score in fold 0 alone.
        assert!((choice.moments.r_of(1) - 0.9).abs() < 1e-15);
    }
}
