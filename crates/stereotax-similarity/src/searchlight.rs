//! RDMs of the patterns around every voxel or vertex, and how well models match them there.
//!
//! For each centre the columns of the data that lie in its neighbourhood ([`stereotax_base::graph::Neighbourhoods`]) are
//! gathered, and a dissimilarity measure, or any function, is taken of them. Crossnobis and Mahalanobis distances take
//! the noise of just those channels from residuals. Model RDMs are ranked once ([`super::model_rdms`]).
//!
//! What overlapping neighbourhoods share is done once for all of them: means and centring of repeats, conversion to
//! columns. Their Gram matrices are not updated voxel by voxel: two spheres side by side differ in about half of
//! their voxels, which as updates of rank one cost more than the product that they save, and would let rounding
//! depend on the way. Centres are worked off in the order of the mask, so that neighbours share the cache.
//!
//! Source: Kriegeskorte et al. 2006; specs: peers 1.1, W6. Cost per centre, n conditions, p channels, q = n(n−1)/2
//! pairs: n² p (crossnobis: (runs + 1) n² p, and p² (residuals + n runs) with noise), O(q) for ranks, q per model.

use faer::{Mat, MatMut, MatRef};
use rayon::prelude::*;

use super::model_rdms::{ModelRdms, Scratch};
use super::rdm::{
    Cells, CrossnobisParams, Measure, NoiseParams, PoissonPrior, Repeats, RunPairing, Scale, check_numbers,
    noise_precision, of_cells,
};
use stereotax_base::data::{Error, Event, Monitor, Rdm, Result};
use stereotax_base::graph::Neighbourhoods;
use stereotax_base::linalg::{Real, add_gram, select_rows};

/// What is measured at every centre.
#[derive(Debug, Clone, Copy)]
pub enum LocalMeasure<'a> {
    /// 1 − r over the channels of the neighbourhood.
    Correlation,
    /// 1 − cosine.
    Cosine,
    /// Euclidean distance.
    Euclidean(Scale),
    /// Distance in units of the noise of the neighbourhood; needs residuals.
    Mahalanobis(Scale),
    /// Symmetric Poisson divergence.
    Poisson(PoissonPrior),
    /// Cross-validated squared distance; rows are measurements. Whitened where there are residuals.
    Crossnobis(Repeats<'a>, CrossnobisParams),
}

/// Residuals (rows × the columns of the data) from which the noise of each neighbourhood is estimated.
#[derive(Debug, Clone, Copy)]
pub struct LocalNoise<'a, T> {
    /// Residuals of the model that gave the patterns, or deviations of repeats from their means.
    pub residuals: MatRef<'a, T>,
    /// How the covariance is shrunk.
    pub params: NoiseParams,
}

/// How well models match the data around every centre.
#[derive(Debug, Clone)]
pub struct SearchlightScores {
    /// Centres × models, in the order of [`Neighbourhoods::centres`].
    pub scores: Mat<f64>,
    /// Channels of each centre.
    pub n_channels: Vec<usize>,
    /// Pairs without a dissimilarity, of each centre.
    pub n_undefined: Vec<usize>,
}

/// Take any function of the patterns (rows × channels) around every centre; it is told the place of the centre among
/// [`Neighbourhoods::centres`] too.
///
/// Errors: data of other columns than the mask has, and those of the function; the first centre's counts.
pub fn searchlight_map<T: Real, R: Send>(
    data: MatRef<T>,
    around: &Neighbourhoods,
    function: impl Fn(MatRef<'_, T>, usize) -> Result<R> + Sync,
    monitor: &Monitor<'_>,
) -> Result<Vec<R>> {
    check_columns("data", data.ncols(), around)?;
    each(around, monitor, |at, _| {
        let members: Vec<usize> = around.members(at).iter().map(|member| *member as usize).collect();
        // Rows of the transpose: columns.
        function(select_rows(data.transpose(), &members).transpose(), at)
    })
}

/// The RDM around every centre, in the order of [`Neighbourhoods::centres`].
///
/// Errors: data of other columns than the mask has, values that are not finite, those of the measure.
pub fn searchlight_rdms<T: Real>(
    data: MatRef<T>,
    around: &Neighbourhoods,
    measure: &LocalMeasure<'_>,
    noise: Option<LocalNoise<'_, T>>,
    monitor: &Monitor<'_>,
) -> Result<Vec<Rdm>> {
    let ready = Ready::new(data, around, measure, noise)?;
    each(around, monitor, |at, _| ready.rdm(&around.members(at), monitor))
}

/// The score of every model around every centre.
///
/// Errors: as [`searchlight_rdms`]; models of other conditions than the data.
pub fn searchlight_scores<T: Real>(
    data: MatRef<T>,
    around: &Neighbourhoods,
    measure: &LocalMeasure<'_>,
    noise: Option<LocalNoise<'_, T>>,
    models: &ModelRdms,
    monitor: &Monitor<'_>,
) -> Result<SearchlightScores> {
    let ready = Ready::new(data, around, measure, noise)?;
    let n = ready.n_conditions;
    if models.n_pairs() != n * (n - 1) / 2 {
        return Err(Error::Shape {
            what: "models".into(),
            expected: format!("RDMs of the {n} conditions of the data"),
            found: format!("{} dissimilarities", models.n_pairs()),
            hint: "models and data must hold the same conditions in the same order".into(),
        });
    }
    let found = each(around, monitor, |at, scratch| {
        let members = around.members(at);
        let rdm = ready.rdm(&members, monitor)?;
        let mut scores = vec![0.0; models.len()];
        models.scores(rdm.values(), scratch, &mut scores);
        Ok((scores, members.len(), rdm.n_undefined()))
    })?;
    Ok(SearchlightScores {
        scores: Mat::from_fn(found.len(), models.len(), |at, model| found[at].0[model]),
        n_channels: found.iter().map(|(_, n_channels, _)| *n_channels).collect(),
        n_undefined: found.iter().map(|(_, _, n_undefined)| *n_undefined).collect(),
    })
}

/// Centres that one task works off.
const CENTRES: usize = 32;

/// Work off all centres, in pieces that lie side by side.
fn each<R: Send>(
    around: &Neighbourhoods,
    monitor: &Monitor<'_>,
    work: impl Fn(usize, &mut Scratch) -> Result<R> + Sync,
) -> Result<Vec<R>> {
    let task = "searchlight";
    monitor.tell(Event::Started { task: task.into(), total: around.len() as u64 });
    let pieces: Vec<Vec<R>> = (0..around.len().div_ceil(CENTRES))
        .into_par_iter()
        .map(|piece| {
            let centres = piece * CENTRES..around.len().min((piece + 1) * CENTRES);
            let mut scratch = Scratch::default();
            let done = centres.len() as u64;
            let found = centres
                .map(|at| {
                    monitor.check()?;
                    work(at, &mut scratch)
                })
                .collect::<Result<Vec<R>>>()?;
            monitor.tell(Event::Advanced { done });
            Ok(found)
        })
        .collect::<Result<_>>()?;
    monitor.tell(Event::Finished { task: task.into() });
    Ok(pieces.into_iter().flatten().collect())
}

fn check_columns(what: &str, n_columns: usize, around: &Neighbourhoods) -> Result<()> {
    if n_columns == around.n_members() {
        return Ok(());
    }
    Err(Error::Shape {
        what: what.into(),
        expected: format!("{} columns (voxels or vertices of the mask)", around.n_members()),
        found: n_columns.to_string(),
        hint: "give one column per voxel of the mask, in its order: volume[mask]".into(),
    })
}

/// What is the same for all centres.
struct Ready<'a, T: Real> {
    n_conditions: usize,
    measure: LocalMeasure<'a>,
    /// Rows × all columns, columns side by side: conditions, or (crossnobis) run by run the conditions.
    columns: Columns<'a, T>,
    /// Crossnobis: measurements of cell (condition, run), at condition · runs + run.
    counts: Vec<usize>,
    n_runs: usize,
    noise: Option<(Columns<'a, T>, NoiseParams)>,
}

/// A matrix whose columns lie side by side, borrowed where it came like that.
enum Columns<'a, T: Real> {
    Borrowed(MatRef<'a, T>),
    Owned(Mat<T>),
}

impl<'a, T: Real> Columns<'a, T> {
    fn of(x: MatRef<'a, T>) -> Self {
        if x.try_as_col_major().is_some() { Columns::Borrowed(x) } else { Columns::Owned(x.to_owned()) }
    }

    fn view(&self) -> MatRef<'_, T> {
        match self {
            Columns::Borrowed(x) => *x,
            Columns::Owned(x) => x.as_ref(),
        }
    }

    /// Some columns as f64, one after the other.
    fn gather(&self, members: &[u32]) -> Vec<f64> {
        let x = self.view();
        let mut out = Vec::with_capacity(members.len() * x.nrows());
        for &member in members {
            match x.col(member as usize).try_as_col_major() {
                Some(column) => out.extend(column.as_slice().iter().map(|value| -> f64 { (*value).into() })),
                None => out.extend(x.col(member as usize).iter().map(|value| -> f64 { (*value).into() })),
            }
        }
        out
    }
}

impl<'a, T: Real> Ready<'a, T> {
    fn new(
        data: MatRef<'a, T>,
        around: &Neighbourhoods,
        measure: &LocalMeasure<'a>,
        noise: Option<LocalNoise<'a, T>>,
    ) -> Result<Self> {
        check_columns("data", data.ncols(), around)?;
        check_numbers("data", data)?;
        let noisy = matches!(measure, LocalMeasure::Mahalanobis(_) | LocalMeasure::Crossnobis(..));
        if noise.is_some() != noisy && !matches!(measure, LocalMeasure::Crossnobis(..)) {
            return Err(Error::Invalid {
                what: "residuals".into(),
                expected: if noisy { "given for Mahalanobis distances" } else { "none for this measure" }
                    .into(),
                found: if noisy { "missing" } else { "given" }.into(),
                hint: "residuals tell the noise, which Mahalanobis and crossnobis distances are divided by"
                    .into(),
            });
        }
        let noise = noise
            .map(|noise| {
                check_columns("residuals", noise.residuals.ncols(), around)?;
                check_numbers("residuals", noise.residuals)?;
                Ok((Columns::of(noise.residuals), noise.params))
            })
            .transpose()?;
        let (columns, counts, n_conditions, n_runs) = match measure {
            LocalMeasure::Crossnobis(repeats, params) => {
                let (n_conditions, n_runs) = repeats.check(data.nrows())?;
                let counts = repeats.counts(n_conditions, n_runs);
                let cells = cell_columns(data, repeats, &counts, n_conditions, n_runs, params);
                (Columns::Owned(cells), counts, n_conditions, n_runs)
            }
            _ => (Columns::of(data), vec![], data.nrows(), 0),
        };
        if n_conditions < 2 {
            return Err(Error::TooFew {
                what: "data".into(),
                needed: "2 conditions".into(),
                found: n_conditions.to_string(),
                hint: "rows are conditions, columns voxels".into(),
            });
        }
        Ok(Ready { n_conditions, measure: *measure, columns, counts, n_runs, noise })
    }

    fn rdm(&self, members: &[u32], monitor: &Monitor<'_>) -> Result<Rdm> {
        let (n, p) = (self.n_conditions, members.len());
        if p == 0 || (p == 1 && matches!(self.measure, LocalMeasure::Correlation)) {
            return Rdm::new(n, vec![f64::NAN; n * (n - 1) / 2]);
        }
        let mut values = self.columns.gather(members);
        let n_rows = values.len() / p;
        if let Some((residuals, params)) = &self.noise {
            whiten(&mut values, n_rows, residuals, params, members)?;
        }
        let patterns = MatRef::from_column_major_slice(&values, n_rows, p);
        match self.measure {
            LocalMeasure::Correlation => Measure::Correlation.rdm(patterns, monitor),
            LocalMeasure::Cosine => Measure::Cosine.rdm(patterns, monitor),
            LocalMeasure::Euclidean(scale) | LocalMeasure::Mahalanobis(scale) => {
                Measure::Euclidean(scale).rdm(patterns, monitor)
            }
            LocalMeasure::Poisson(prior) => Measure::Poisson(prior).rdm(patterns, monitor),
            LocalMeasure::Crossnobis(_, params) => {
                let complete = self.counts.iter().all(|count| *count > 0);
                if complete && params.pairing == RunPairing::SharedRuns {
                    return complete_crossnobis(&values, n, self.n_runs, p, params.per_channel);
                }
                // From channel by channel, run by run, to what the general form takes.
                let mut means = vec![0.0; values.len()];
                for channel in 0..p {
                    for run in 0..self.n_runs {
                        for condition in 0..n {
                            means[(condition * self.n_runs + run) * p + channel] =
                                values[channel * n_rows + run * n + condition];
                        }
                    }
                }
                let counts = self.counts.clone();
                let cells = Cells { n_conditions: n, n_runs: self.n_runs, n_channels: p, counts, means };
                of_cells(cells, None, &params, monitor)
            }
        }
    }
}

/// Means of cells (n_runs · n_conditions × columns), centred within runs unless all measurements are paired.
fn cell_columns<T: Real>(
    data: MatRef<T>,
    repeats: &Repeats<'_>,
    counts: &[usize],
    n_conditions: usize,
    n_runs: usize,
    params: &CrossnobisParams,
) -> Mat<T> {
    let mut out = Mat::<T>::zeros(n_runs * n_conditions, data.ncols());
    let columns = Columns::of(data);
    let mut sums = vec![0.0; n_runs * n_conditions];
    for column in 0..data.ncols() {
        sums.fill(0.0);
        for (row, value) in columns.gather(&[column as u32]).into_iter().enumerate() {
            sums[repeats.runs[row] * n_conditions + repeats.conditions[row]] += value;
        }
        for run in 0..n_runs {
            let line = &mut sums[run * n_conditions..][..n_conditions];
            let count = |condition: usize| counts[condition * n_runs + run];
            let there = (0..n_conditions).filter(|&condition| count(condition) > 0);
            let mut total = (0.0, 0);
            for condition in there.clone() {
                line[condition] /= count(condition) as f64;
                total = (total.0 + line[condition], total.1 + 1);
            }
            if params.pairing != RunPairing::AllMeasurements {
                there.for_each(|condition| line[condition] -= total.0 / f64::from(total.1));
            }
        }
        let out = out.col_as_slice_mut(column);
        out.iter_mut().zip(&sums).for_each(|(out, value)| *out = T::from_f64(*value));
    }
    out
}

/// Patterns (rows × members, channel by channel) in the coordinates in which the noise of the members is white.
fn whiten<T: Real>(
    values: &mut Vec<f64>,
    n_rows: usize,
    residuals: &Columns<'_, T>,
    params: &NoiseParams,
    members: &[u32],
) -> Result<()> {
    let p = members.len();
    let noise = residuals.gather(members);
    let noise = MatRef::from_column_major_slice(&noise, residuals.view().nrows(), p);
    let estimate = noise_precision(noise, params)?;
    let patterns = MatRef::from_column_major_slice(values, n_rows, p);
    // (n_channels, n_rows)
    let white = estimate.whitened(patterns.transpose())?;
    let mut out = vec![0.0; values.len()];
    let mut turned = MatMut::from_column_major_slice_mut(&mut out, n_rows, p);
    turned.copy_from(white.transpose());
    *values = out;
    Ok(())
}

/// Crossnobis where every run holds every condition: Σ_{k≠l} = (Σ_k)(Σ_l) − Σ_{k=l}.
fn complete_crossnobis(values: &[f64], n: usize, n_runs: usize, p: usize, per_channel: bool) -> Result<Rdm> {
    let mut sums = vec![0.0; n * p];
    for (sums, channel) in sums.chunks_exact_mut(n).zip(values.chunks_exact(n * n_runs)) {
        for run in channel.chunks_exact(n) {
            sums.iter_mut().zip(run).for_each(|(sum, value)| *sum += value);
        }
    }
    let (mut across, mut within) = (Mat::<f64>::zeros(n, n), Mat::<f64>::zeros(n, n));
    add_gram(across.as_mut(), MatRef::from_column_major_slice(&sums, n, p).transpose());
    add_gram(within.as_mut(), MatRef::from_column_major_slice(values, n, n_runs * p).transpose());
    let pairs = (n_runs * (n_runs - 1)) as f64 * if per_channel { p as f64 } else { 1.0 };
    let own: Vec<f64> = (0..n).map(|i| across[(i, i)] - within[(i, i)]).collect();
    let mut out = Vec::with_capacity(n * (n - 1) / 2);
    for i in 0..n {
        let (across, within) = (across.col_as_slice(i), within.col_as_slice(i));
        out.extend((i + 1..n).map(|j| (own[i] + own[j] - 2.0 * (across[j] - within[j])) / pairs));
    }
    Rdm::new(n, out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model_rdms::ModelScore;
    use crate::rdm::{Shrinkage, crossnobis, mahalanobis_rdm};
    use stereotax_base::linalg::{gram, product};
    use stereotax_base::stats::rng::Stream;

    fn ball() -> Neighbourhoods {
        let mask: Vec<bool> = (0..216).map(|voxel| voxel % 7 != 3).collect();
        Neighbourhoods::spheres([6, 6, 6], &mask, [1.0; 3], 1.5, 0.5).unwrap()
    }

    fn random(rows: usize, columns: usize, seed: u64) -> Mat<f64> {
        let mut stream = Stream::new(seed, "searchlight", 0);
        Mat::from_fn(rows, columns, |_, _| stream.normal() + 3.0)
    }

    fn patterns(data: &Mat<f64>, around: &Neighbourhoods, at: usize) -> Mat<f64> {
        let members = around.members(at);
        Mat::from_fn(data.nrows(), members.len(), |i, c| data[(i, members[c] as usize)])
    }

    fn same(a: &Rdm, b: &Rdm) {
        for (a, b) in a.values().iter().zip(b.values()) {
            assert!((a - b).abs() < 1e-9 * (1.0 + b.abs()) || (a.is_nan() && b.is_nan()), "{a} {b}");
        }
    }

    #[test]
    fn every_centre_has_the_rdm_of_its_own_patterns() {
        let around = ball();
        let data = random(8, around.n_members(), 1);
        let silent = Monitor::silent();
        for (local, whole) in [
            (LocalMeasure::Correlation, Measure::Correlation),
            (LocalMeasure::Cosine, Measure::Cosine),
            (LocalMeasure::Euclidean(Scale::default()), Measure::Euclidean(Scale::default())),
        ] {
            let found = searchlight_rdms(data.as_ref(), &around, &local, None, &silent).unwrap();
            assert_eq!(found.len(), around.len());
            for at in [0, 17, around.len() - 1] {
                same(&found[at], &whole.rdm(patterns(&data, &around, at).as_ref(), &silent).unwrap());
            }
        }
    }

    #[test]
    fn crossnobis_is_whitened_by_the_noise_of_the_sphere_in_complete_and_other_designs() {
        let around = ball();
        let (n, n_runs) = (5, 3);
        let all = random(n * n_runs, around.n_members(), 2);
        let residuals = random(60, around.n_members(), 3);
        let params = NoiseParams { shrinkage: Shrinkage::TowardDiagonal, dof: None };
        let silent = Monitor::silent();
        for (n_rows, pairing) in [
            (15, RunPairing::SharedRuns),
            (14, RunPairing::SharedRuns),
            (14, RunPairing::SharedRunsByMeasurements),
            (15, RunPairing::AllMeasurements),
        ] {
            let data = all.get(..n_rows, ..).to_owned();
            let (conditions, runs): (Vec<usize>, Vec<usize>) =
                (0..n_rows).map(|row| (row % n, row / n)).unzip();
            let repeats = Repeats { conditions: &conditions, runs: &runs };
            let choice = CrossnobisParams { pairing, per_channel: true };
            for noise in [None, Some(LocalNoise { residuals: residuals.as_ref(), params })] {
                let local = LocalMeasure::Crossnobis(repeats, choice);
                let found = searchlight_rdms(data.as_ref(), &around, &local, noise, &silent).unwrap();
                for at in [0, 9, around.len() - 1] {
                    let precision = noise.map(|_| {
                        let residuals = patterns(&residuals, &around, at);
                        noise_precision(residuals.as_ref(), &params).unwrap().precision().unwrap()
                    });
                    let here = patterns(&data, &around, at);
                    let whole = crossnobis(here.as_ref(), &repeats, precision.as_ref(), &choice, &silent);
                    same(&found[at], &whole.unwrap().rdm);
                }
            }
        }
        let local = LocalMeasure::Mahalanobis(Scale::default());
        let data = all.get(..n, ..).to_owned();
        let noise = LocalNoise { residuals: residuals.as_ref(), params };
        let found = searchlight_rdms(data.as_ref(), &around, &local, Some(noise), &silent).unwrap();
        let precision = noise_precision(patterns(&residuals, &around, 4).as_ref(), &params).unwrap();
        let here = patterns(&data, &around, 4);
        let whole =
            mahalanobis_rdm(here.as_ref(), &precision.precision().unwrap(), Scale::default(), &silent)
                .unwrap();
        same(&found[4], &whole);
        assert!(searchlight_rdms(data.as_ref(), &around, &local, None, &silent).is_err());
        assert!(
            searchlight_rdms(data.as_ref(), &around, &LocalMeasure::Cosine, Some(noise), &silent).is_err()
        );
    }

    #[test]
    fn scores_are_those_of_each_rdm_with_each_model_for_any_threads_and_precision() {
        let around = ball();
        let data = random(9, around.n_members(), 4);
        let silent = Monitor::silent();
        let models: Vec<Rdm> = (0..3)
            .map(|seed| Measure::Correlation.rdm(random(9, 6, 10 + seed).as_ref(), &silent).unwrap())
            .collect();
        let models = ModelRdms::new(&models, ModelScore::Spearman).unwrap();
        let local = LocalMeasure::Correlation;
        let found = searchlight_scores(data.as_ref(), &around, &local, None, &models, &silent).unwrap();
        let rdms = searchlight_rdms(data.as_ref(), &around, &local, None, &silent).unwrap();
        let mut scores = [0.0; 3];
        for at in [0, 40, around.len() - 1] {
            models.scores(rdms[at].values(), &mut Scratch::default(), &mut scores);
            assert_eq!(scores, [0, 1, 2].map(|model| found.scores[(at, model)]));
            assert_eq!(found.n_channels[at], around.members(at).len());
        }
        let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
        let by_rows = data.transpose().to_owned();
        let other = pool.install(|| {
            searchlight_scores(by_rows.transpose(), &around, &local, None, &models, &silent).unwrap()
        });
        assert_eq!(other.scores, found.scores);
        let single = Mat::from_fn(9, data.ncols(), |i, j| data[(i, j)] as f32);
        let single = searchlight_scores(single.as_ref(), &around, &local, None, &models, &silent).unwrap();
        assert!((&single.scores - &found.scores).norm_max() < 0.1);
    }

    #[test]
    fn any_function_can_look_around_such_as_cka_with_a_model() {
        // Linear CKA of centred patterns: ‖K L‖ / (‖K‖ ‖L‖) with K, L centred Gram matrices, found where it was planted.
        let around = ball();
        let mut data = random(12, around.n_members(), 5);
        let model = random(12, 4, 6);
        let centred = |x: MatRef<'_, f64>| {
            let means = stereotax_base::linalg::column_means(x);
            let x = Mat::from_fn(x.nrows(), x.ncols(), |i, j| x[(i, j)] - means[j]);
            gram(x.transpose())
        };
        let planted = around.members(30);
        for (at, &member) in planted.iter().enumerate() {
            (0..12).for_each(|i| data[(i, member as usize)] = model[(i, at % 4)]);
        }
        let kernel = centred(model.as_ref());
        let cka = |x: MatRef<'_, f64>, _: usize| {
            let own = centred(x);
            let inner: f64 = (0..12).map(|i| product(own.as_ref(), kernel.as_ref())[(i, i)]).sum();
            Ok(inner / (own.norm_l2() * kernel.norm_l2()))
        };
        let found = searchlight_map(data.as_ref(), &around, cka, &Monitor::silent()).unwrap();
        let best = (0..found.len()).max_by(|a, b| found[*a].total_cmp(&found[*b])).unwrap();
        assert_eq!(best, 30);
        assert!(found[30] > 0.8 && found.iter().all(|value| (0.0..=1.0 + 1e-12).contains(value)));
    }

    #[test]
    fn constant_patterns_are_counted_and_wrong_sizes_refused() {
        let around = ball();
        let mut data = random(6, around.n_members(), 7);
        (0..data.ncols()).for_each(|voxel| data[(2, voxel)] = 1.0);
        let silent = Monitor::silent();
        let model = Measure::Correlation.rdm(random(6, 5, 8).as_ref(), &silent).unwrap();
        let models = ModelRdms::new(&[model], ModelScore::Spearman).unwrap();
        let local = LocalMeasure::Correlation;
        let found = searchlight_scores(data.as_ref(), &around, &local, None, &models, &silent).unwrap();
        assert!(found.n_undefined.iter().all(|count| *count == 5));
        assert!(!found.scores[(0, 0)].is_nan());
        let few = data.get(.., ..9);
        assert!(searchlight_scores(few, &around, &local, None, &models, &silent).is_err());
        let other = data.get(..5, ..);
        let message = searchlight_scores(other, &around, &local, None, &models, &silent).unwrap_err();
        assert!(message.to_string().contains("5 conditions"), "{message}");
        data[(3, 4)] = f64::NAN;
        let message = searchlight_rdms(data.as_ref(), &around, &local, None, &silent).unwrap_err();
        assert!(message.to_string().contains("row 3, column 4"));
    }
}
