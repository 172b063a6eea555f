//! Simulate models and brains that share planted latents, so that what an analysis finds can be checked.
//!
//! ```text
//! world      z_m(t) ∈ R⁴ for every modality m; 8 further latents per model that no ROI follows
//! model      H_l = s_l U_lᵀ + noise;  the stable part of s_l is z_m·λˡ with λ near 1, the rest
//!            decays, rotates and grows over depth
//! ROI j      y = √ρ·(√c·drive + √(1−c)·private) + √(1−ρ)·noise,   drive = Σ_k a_jk z_k
//! ```
//!
//! ρ is the reliability of one repeat (subject × ROI), c the share of the reliable signal that models
//! can explain. A time series is convolved with a haemodynamic response and gets AR(1) noise and drift.
//! This is a simulation: no number in it was measured. specs: nfas-dmd 13.4 and 19 (oracle 15).

use faer::Mat;
use stereotax::stats::rng::{Stream, id_key};

use crate::compare::orthonormal_columns;
use crate::linear::{residual_layers, rms};

/// Stable latents per modality.
pub const LATENTS: usize = 4;

/// Which of two studies to simulate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setting {
    /// Every model meets the same stimuli; ROIs follow the latents of their own modality.
    Crossed,
    /// Every modality has its own benchmark with its own ceilings, and all models have the same
    /// true ROI profile: modality and benchmark cannot be told apart.
    Confounded,
}

/// How responses are recorded.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Design {
    /// Runs of a series sampled every `tr` seconds.
    TimeSeries {
        /// Number of runs.
        n_runs: usize,
        /// Samples per run.
        run_length: usize,
        /// Seconds between samples.
        tr: f64,
    },
    /// One response per clip and repeat; no haemodynamics.
    Clips {
        /// Number of clips.
        n_clips: usize,
        /// Repeats of every clip.
        n_repeats: usize,
    },
}

/// What to simulate.
#[derive(Debug, Clone, PartialEq)]
pub struct CortexParams {
    /// Seed of everything.
    pub seed: u64,
    /// Crossed or confounded.
    pub setting: Setting,
    /// Modality names, two or three of them.
    pub modalities: Vec<String>,
    /// Recording design of every benchmark.
    pub design: Design,
    /// Mean reliability of every subject, in (0, 1).
    pub subject_reliability: Vec<f64>,
    /// Noise on activations relative to the RMS of a layer.
    pub layer_noise: f64,
}

impl CortexParams {
    /// One shared story: 4 runs × 90 samples at 2 s, three subjects, 14 models.
    pub fn crossed(seed: u64) -> Self {
        CortexParams {
            seed,
            setting: Setting::Crossed,
            modalities: ["vision", "audio", "language"].map(String::from).to_vec(),
            design: Design::TimeSeries { n_runs: 4, run_length: 90, tr: 2.0 },
            subject_reliability: vec![0.6, 0.45, 0.3],
            layer_noise: 0.1,
        }
    }

    /// One benchmark of 320 clips × 3 repeats per modality, two subjects, 12 models.
    pub fn confounded(seed: u64) -> Self {
        CortexParams {
            setting: Setting::Confounded,
            design: Design::Clips { n_clips: 320, n_repeats: 3 },
            subject_reliability: vec![0.5, 0.4],
            ..Self::crossed(seed)
        }
    }
}

/// Side of the brain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hemisphere {
    /// Left: x < 0.
    Left,
    /// Right: x > 0.
    Right,
}

/// One simulated region.
#[derive(Debug, Clone, PartialEq)]
pub struct Roi {
    /// Unique name, such as `Visual_1`.
    pub name: String,
    /// Network name.
    pub network: String,
    /// Side.
    pub hemisphere: Hemisphere,
    /// Right of the midline, in millimetres.
    pub x: f64,
    /// Forward, in millimetres.
    pub y: f64,
    /// Up, in millimetres.
    pub z: f64,
}

/// The stimuli of a benchmark, in row order of responses and activations.
#[derive(Debug, Clone, PartialEq)]
pub struct Stimuli {
    /// Unique ids.
    pub ids: Vec<String>,
    /// Run of every stimulus; one run for clips.
    pub runs: Vec<String>,
    /// Seconds from the start of the run.
    pub onsets: Vec<f64>,
}

/// Responses of one subject.
#[derive(Debug, Clone)]
pub struct Subject {
    /// Subject id.
    pub id: String,
    /// One stimuli × ROIs matrix per repeat.
    pub repeats: Vec<Mat<f64>>,
}

/// One benchmark.
#[derive(Debug, Clone)]
pub struct Benchmark {
    /// Name.
    pub name: String,
    /// Recording design.
    pub design: Design,
    /// Stimulus table.
    pub stimuli: Stimuli,
    /// Responses.
    pub subjects: Vec<Subject>,
}

/// One simulated network, with its activations.
#[derive(Debug, Clone)]
pub struct Model {
    /// Unique name.
    pub name: String,
    /// Modality.
    pub modality: String,
    /// Family.
    pub family: String,
    /// False for random-weight twins.
    pub trained: bool,
    /// The trained model this one is the untrained twin of.
    pub twin_of: Option<String>,
    /// Index of the benchmark whose stimuli it met.
    pub benchmark: usize,
    /// One stimuli × units matrix per layer.
    pub layers: Vec<Mat<f64>>,
}

/// What was planted.
#[derive(Debug, Clone)]
pub struct Truth {
    /// `driven[roi][modality]`: whether the ROI follows the modality's stable latents. When
    /// confounded, all modalities drive the same ROIs.
    pub driven: Vec<Vec<bool>>,
    /// `latents[benchmark][modality]`: stimuli × 4, the stable latents.
    pub latents: Vec<Vec<Mat<f64>>>,
    /// `ceiling[benchmark][subject][roi]`: √ρ, the expected correlation of one repeat with its
    /// noiseless signal, before drift.
    pub ceiling: Vec<Vec<Vec<f64>>>,
    /// Eigenvalue of the stable part of every model; `None` for twins and for models without one.
    pub stable_eigenvalue: Vec<Option<f64>>,
    /// Trained models that have no stable mode by construction.
    pub no_stable_mode: Vec<String>,
    /// Models with fewer than four layers.
    pub too_shallow: Vec<String>,
}

/// A simulated study with its planted truth.
#[derive(Debug, Clone)]
pub struct Cortex {
    /// Region table; columns of every response.
    pub rois: Vec<Roi>,
    /// Benchmarks.
    pub benchmarks: Vec<Benchmark>,
    /// Models.
    pub models: Vec<Model>,
    /// What was planted.
    pub truth: Truth,
}

/// What kind of network a blueprint asks for.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Stable,
    Spinning,
    Untrained(&'static str),
}

struct Blueprint {
    modality: usize,
    name: &'static str,
    family: &'static str,
    widths: (usize, usize),
    n_layers: usize,
    kind: Kind,
}

/// Simulate a study. Takes well under a second; panics on fewer than one or more than three modalities.
pub fn simulate(params: &CortexParams) -> Cortex {
    let n_modalities = params.modalities.len();
    assert!((1..=3).contains(&n_modalities), "one to three modalities, found {n_modalities}");
    let (rois, driven) = lay_rois(params);
    let confounded = params.setting == Setting::Confounded;
    let names: Vec<String> = if confounded {
        params.modalities.iter().map(|m| format!("{m}_benchmark")).collect()
    } else {
        vec!["shared_story".into()]
    };
    let mut benchmarks = Vec::new();
    let (mut latents, mut ceiling) = (Vec::new(), Vec::new());
    for (b, name) in names.iter().enumerate() {
        let stimuli = tabulate(name, params.design);
        let z: Vec<Mat<f64>> = (0..n_modalities)
            .map(|m| draw_latents(params, &stimuli, LATENTS, &format!("latent {b} {m}")))
            .collect();
        let (subjects, ceilings) = respond(params, b, name, &stimuli, &z, &driven);
        benchmarks.push(Benchmark { name: name.clone(), design: params.design, stimuli, subjects });
        latents.push(z);
        ceiling.push(ceilings);
    }
    let (mut models, mut stable_eigenvalue) = (Vec::new(), Vec::new());
    let (mut no_stable_mode, mut too_shallow) = (Vec::new(), Vec::new());
    for plan in blueprints(params) {
        let benchmark = if confounded { plan.modality } else { 0 };
        let layers =
            activate(params, &plan, &benchmarks[benchmark].stimuli, &latents[benchmark][plan.modality]);
        stable_eigenvalue.push((plan.kind == Kind::Stable).then(|| stable_value(plan.n_layers)));
        if plan.kind == Kind::Spinning {
            no_stable_mode.push(plan.name.into());
        }
        if plan.n_layers < 4 {
            too_shallow.push(plan.name.into());
        }
        models.push(Model {
            name: plan.name.into(),
            modality: params.modalities[plan.modality].clone(),
            family: plan.family.into(),
            trained: !matches!(plan.kind, Kind::Untrained(_)),
            twin_of: if let Kind::Untrained(of) = plan.kind { Some(of.into()) } else { None },
            benchmark,
            layers,
        });
    }
    let truth = Truth { driven, latents, ceiling, stable_eigenvalue, no_stable_mode, too_shallow };
    Cortex { rois, benchmarks, models, truth }
}

fn blueprints(params: &CortexParams) -> Vec<Blueprint> {
    let plan = |modality, name, family, widths, n_layers, kind| Blueprint {
        modality,
        name,
        family,
        widths,
        n_layers,
        kind,
    };
    use Kind::{Spinning, Stable, Untrained};
    let mut plans = vec![
        plan(0, "glance-small", "glance", (48, 48), 8, Stable),
        plan(0, "glance-large", "glance", (96, 96), 16, Stable),
        plan(0, "pyramid", "pyramid", (96, 32), 10, Stable),
        plan(1, "murmur-small", "murmur", (64, 64), 6, Stable),
        plan(1, "murmur-large", "murmur", (64, 64), 12, Stable),
        plan(1, "echo", "echo", (32, 32), 10, Stable),
        plan(2, "lexis-small", "lexis", (64, 64), 12, Stable),
        plan(2, "lexis-large", "lexis", (128, 128), 16, Stable),
        plan(2, "tale", "tale", (48, 48), 8, Stable),
    ];
    if params.setting == Setting::Crossed {
        plans.extend([
            plan(0, "glance-small-untrained", "glance", (48, 48), 8, Untrained("glance-small")),
            plan(1, "murmur-small-untrained", "murmur", (64, 64), 6, Untrained("murmur-small")),
            plan(2, "lexis-small-untrained", "lexis", (64, 64), 12, Untrained("lexis-small")),
            plan(0, "sketch", "sketch", (48, 48), 3, Stable),
            plan(1, "whirl", "whirl", (64, 64), 12, Spinning),
        ]);
    } else {
        plans.extend([
            plan(0, "sketch-deep", "sketch", (48, 48), 9, Stable),
            plan(1, "whirl-still", "whirl", (64, 64), 12, Stable),
            plan(2, "verse", "verse", (80, 80), 10, Stable),
        ]);
    }
    plans.retain(|p| p.modality < params.modalities.len());
    plans
}

fn lay_rois(params: &CortexParams) -> (Vec<Roi>, Vec<Vec<bool>>) {
    // Name, ROIs, centre as a direction (forward, up), and who drives it.
    let networks: [(&str, usize, f64, f64, usize); 7] = [
        ("Visual", 6, -0.95, 0.05, 0),
        ("Auditory", 6, -0.1, -0.05, 1),
        ("Language", 6, 0.45, -0.1, 2),
        ("Integrative", 6, -0.5, 0.5, 3),
        ("Somatomotor", 6, 0.0, 0.85, 4),
        ("Attention", 5, 0.6, 0.6, 4),
        ("Limbic", 5, 0.5, -0.7, 4),
    ];
    let confounded = params.setting == Setting::Confounded;
    let (mut rois, mut driven) = (Vec::new(), Vec::new());
    let mut draw = Stream::new(params.seed, "cortex places", 0);
    for (network, count, forward, up, driver) in networks {
        for i in 0..count {
            let (side, hemisphere) =
                if i % 2 == 0 { (-1.0, Hemisphere::Left) } else { (1.0, Hemisphere::Right) };
            let (f, u) = (forward + 0.15 * draw.normal(), up + 0.15 * draw.normal());
            let out = 0.45 + 0.4 * draw.uniform();
            let length = (f * f + u * u + out * out).sqrt();
            // Half axes of a plausible cortex, centred a little behind the origin.
            let (x, y, z) = (68.0 * side * out / length, 85.0 * f / length - 18.0, 58.0 * u / length + 16.0);
            rois.push(Roi {
                name: format!("{network}_{}", i + 1),
                network: network.into(),
                hemisphere,
                x,
                y,
                z,
            });
            driven.push(
                (0..params.modalities.len())
                    .map(|m| driver == 3 || (driver < 3 && (confounded || driver == m)))
                    .collect(),
            );
        }
    }
    (rois, driven)
}

fn tabulate(name: &str, design: Design) -> Stimuli {
    let (mut ids, mut runs, mut onsets) = (Vec::new(), Vec::new(), Vec::new());
    match design {
        Design::TimeSeries { n_runs, run_length, tr } => {
            for run in 0..n_runs {
                for t in 0..run_length {
                    ids.push(format!("{name}/run-{}/{t:04}", run + 1));
                    runs.push(format!("run-{}", run + 1));
                    onsets.push(t as f64 * tr);
                }
            }
        }
        Design::Clips { n_clips, .. } => {
            for clip in 0..n_clips {
                ids.push(format!("{name}/clip-{:04}", clip + 1));
                runs.push("clips".into());
                onsets.push(0.0);
            }
        }
    }
    Stimuli { ids, runs, onsets }
}

/// Columns of mean 0 and variance 1; AR(1) with coefficient 0.5 within a run of a time series.
fn draw_latents(params: &CortexParams, stimuli: &Stimuli, count: usize, what: &str) -> Mat<f64> {
    let n = stimuli.ids.len();
    let mut draw = Stream::new(params.seed, "cortex latents", id_key(what));
    let memory = if matches!(params.design, Design::TimeSeries { .. }) { 0.5f64 } else { 0.0 };
    let mut z = Mat::zeros(n, count);
    for j in 0..count {
        for t in 0..n {
            let before = if t > 0 && stimuli.runs[t] == stimuli.runs[t - 1] { z[(t - 1, j)] } else { 0.0 };
            z[(t, j)] = memory * before + (1.0 - memory * memory).sqrt() * draw.normal();
        }
    }
    standardise(&mut z);
    z
}

fn standardise(z: &mut Mat<f64>) {
    let n = z.nrows() as f64;
    for j in 0..z.ncols() {
        let mean = (0..z.nrows()).map(|i| z[(i, j)]).sum::<f64>() / n;
        (0..z.nrows()).for_each(|i| z[(i, j)] -= mean);
        let sd = ((0..z.nrows()).map(|i| z[(i, j)].powi(2)).sum::<f64>() / n).sqrt();
        (0..z.nrows()).for_each(|i| z[(i, j)] /= sd);
    }
}

fn respond(
    params: &CortexParams,
    b: usize,
    name: &str,
    stimuli: &Stimuli,
    z: &[Mat<f64>],
    driven: &[Vec<bool>],
) -> (Vec<Subject>, Vec<Vec<f64>>) {
    let (n, n_rois) = (stimuli.ids.len(), driven.len());
    let confounded = params.setting == Setting::Confounded;
    let private = draw_latents(params, stimuli, n_rois, &format!("private {b}"));
    let mut signal = Mat::zeros(n, n_rois);
    for j in 0..n_rois {
        // Weights and the explained share depend on the ROI alone: the true profile is one for all.
        let mut draw = Stream::new(params.seed, "cortex drive", j as u64);
        let share = if driven[j].iter().any(|&d| d) { 0.55 + 0.3 * draw.uniform() } else { 0.0 };
        let mut drive = Mat::zeros(n, 1);
        for (m, z) in z.iter().enumerate() {
            for k in 0..LATENTS {
                let weight = draw.normal();
                let follows = if confounded { m == b } else { true };
                for t in 0..n {
                    drive[(t, 0)] += if driven[j][m] && follows { weight * z[(t, k)] } else { 0.0 };
                }
            }
        }
        if share > 0.0 {
            standardise(&mut drive);
        }
        for t in 0..n {
            signal[(t, j)] = f64::sqrt(share) * drive[(t, 0)] + f64::sqrt(1.0 - share) * private[(t, j)];
        }
    }
    if let Design::TimeSeries { tr, .. } = params.design {
        signal = convolve(&signal, stimuli, tr);
    }
    standardise(&mut signal);
    let n_repeats = if let Design::Clips { n_repeats, .. } = params.design { n_repeats } else { 1 };
    let (mut subjects, mut ceilings) = (Vec::new(), Vec::new());
    for (s, &level) in params.subject_reliability.iter().enumerate() {
        let reliability: Vec<f64> = (0..n_rois)
            .map(|j| {
                // When confounded, every benchmark has ROI-wise ceilings of its own, shared by its subjects.
                let key = if confounded { b * n_rois + j } else { j };
                let spread = Stream::new(params.seed, "cortex ceilings", key as u64).uniform() - 0.5;
                (level * (1.0 + if confounded { 1.4 } else { 0.4 } * spread)).clamp(0.05, 0.95)
            })
            .collect();
        let repeats = (0..n_repeats)
            .map(|repeat| {
                let key = id_key(&format!("{name} {s} {repeat}"));
                let noise = record_noise(params, stimuli, n_rois, key);
                Mat::from_fn(n, n_rois, |t, j| {
                    reliability[j].sqrt() * signal[(t, j)] + (1.0 - reliability[j]).sqrt() * noise[(t, j)]
                })
            })
            .collect();
        subjects.push(Subject { id: format!("sub-{:02}", s + 1), repeats });
        ceilings.push(reliability.iter().map(|r| r.sqrt()).collect());
    }
    (subjects, ceilings)
}

/// White noise for clips; AR(1) noise of coefficient 0.4 with a slow half-cosine drift for series.
fn record_noise(params: &CortexParams, stimuli: &Stimuli, n_rois: usize, key: u64) -> Mat<f64> {
    let n = stimuli.ids.len();
    let mut draw = Stream::new(params.seed, "cortex noise", key);
    let Design::TimeSeries { run_length, tr, .. } = params.design else {
        return Mat::from_fn(n, n_rois, |_, _| draw.normal());
    };
    let mut noise = Mat::zeros(n, n_rois);
    for j in 0..n_rois {
        let (mut before, mut drift) = (0.0, 0.0);
        for t in 0..n {
            if t % run_length == 0 {
                (before, drift) = (draw.normal(), 0.5 * draw.normal());
            }
            before = 0.4 * before + (1.0f64 - 0.16).sqrt() * draw.normal();
            let phase = std::f64::consts::PI * stimuli.onsets[t] / (run_length as f64 * tr);
            noise[(t, j)] = before + drift * phase.cos();
        }
    }
    noise
}

/// Convolve every column with a haemodynamic response, run by run with zeros before the start:
/// t⁵e⁻ᵗ/5! − t¹⁵e⁻ᵗ/(6·15!), averaged over 16 steps per TR and scaled to unit sum.
fn convolve(signal: &Mat<f64>, stimuli: &Stimuli, tr: f64) -> Mat<f64> {
    let factorial = |k: u32| (1..=k).map(f64::from).product::<f64>();
    let shape = |t: f64| (-t).exp() * (t.powi(5) / factorial(5) - t.powi(15) / (6.0 * factorial(15)));
    let taps = (32.0 / tr).ceil() as usize;
    let mut kernel: Vec<f64> = (0..taps)
        .map(|k| (0..16).map(|q| shape((k as f64 + (f64::from(q) + 0.5) / 16.0) * tr)).sum())
        .collect();
    let total: f64 = kernel.iter().sum();
    kernel.iter_mut().for_each(|x| *x /= total);
    Mat::from_fn(signal.nrows(), signal.ncols(), |t, j| {
        (0..taps.min(t + 1))
            .take_while(|&k| stimuli.runs[t - k] == stimuli.runs[t])
            .map(|k| kernel[k] * signal[(t - k, j)])
            .sum()
    })
}

/// 3 % loss over the whole depth, whatever the number of layers.
fn stable_value(n_layers: usize) -> f64 {
    0.97f64.powf(1.0 / (n_layers - 1) as f64)
}

fn activate(params: &CortexParams, plan: &Blueprint, stimuli: &Stimuli, stable: &Mat<f64>) -> Vec<Mat<f64>> {
    let n = stable.nrows();
    let depth = (plan.n_layers - 1) as f64;
    let other = draw_latents(params, stimuli, 2 * LATENTS, &format!("other {}", plan.name));
    let mixing = |layer: usize, width: usize| {
        // Half of the mixing is common to the family; a narrower member has the first rows of it.
        let key = layer as u64;
        let mut family = Stream::new(params.seed, "cortex family", id_key(plan.family) ^ key);
        let mut own = Stream::new(params.seed, "cortex mixing", id_key(plan.name) ^ key);
        orthonormal_columns(Mat::from_fn(width, 3 * LATENTS, |_, _| family.normal() + own.normal()).as_ref())
    };
    if let Kind::Untrained(_) = plan.kind {
        // Weak traces of the stable latents under strong other ones.
        let input = Mat::from_fn(n, 3 * LATENTS, |t, k| {
            if k < LATENTS { 0.15 * stable[(t, k)] } else { other[(t, k - LATENTS)] }
        });
        let input = &input * mixing(0, plan.widths.0).transpose();
        return noisy(
            residual_layers(input, plan.n_layers, 0.5, id_key(plan.name) ^ params.seed),
            params,
            plan,
        );
    }
    let fixed = mixing(0, plan.widths.0);
    let mut layers = Vec::with_capacity(plan.n_layers);
    for l in 0..plan.n_layers {
        let share = l as f64 / depth;
        let width = plan.widths.0 as f64 + share * (plan.widths.1 as f64 - plan.widths.0 as f64);
        let turn = 1.2 * std::f64::consts::PI * share;
        let state = Mat::from_fn(n, 3 * LATENTS, |t, k| match (k / LATENTS, k % LATENTS) {
            (0, q) if plan.kind == Kind::Spinning => {
                // Each pair of latents turns by 1.5π over the depth and loses 70 %.
                let (a, b) = (stable[(t, q - q % 2)], stable[(t, q - q % 2 + 1)]);
                let (sin, cos) = (1.25 * turn).sin_cos();
                0.3f64.powf(share) * if q % 2 == 0 { cos * a - sin * b } else { sin * a + cos * b }
            }
            (0, q) => 0.97f64.powf(share) * stable[(t, q)],
            (1, q) => 0.5 * 0.05f64.powf(share) * other[(t, q)],
            (_, q) if q < 2 => {
                let (a, b) = (other[(t, 4)], other[(t, 5)]);
                0.5 * if q == 0 { turn.cos() * a - turn.sin() * b } else { turn.sin() * a + turn.cos() * b }
            }
            (_, q) if plan.kind == Kind::Spinning => 0.4 * 0.1f64.powf(share) * other[(t, 4 + q)],
            (_, q) => 0.3 * 1.5f64.powf(share) * other[(t, 4 + q)],
        });
        let own = (plan.widths.0 != plan.widths.1).then(|| mixing(l + 1, width.round() as usize));
        layers.push(&state * own.as_ref().unwrap_or(&fixed).transpose());
    }
    noisy(layers, params, plan)
}

fn noisy(mut layers: Vec<Mat<f64>>, params: &CortexParams, plan: &Blueprint) -> Vec<Mat<f64>> {
    let mut draw = Stream::new(params.seed, "cortex layer noise", id_key(plan.name));
    for layer in &mut layers {
        let sd = params.layer_noise * rms(layer);
        for j in 0..layer.ncols() {
            (0..layer.nrows()).for_each(|i| layer[(i, j)] += sd * draw.normal());
        }
    }
    layers
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::assert_near;

    fn correlation(a: impl Fn(usize) -> f64, b: impl Fn(usize) -> f64, n: usize) -> f64 {
        let (ma, mb) = ((0..n).map(&a).sum::<f64>() / n as f64, (0..n).map(&b).sum::<f64>() / n as f64);
        let sum = |f: &dyn Fn(usize) -> f64| (0..n).map(f).sum::<f64>();
        let cross = sum(&|i| (a(i) - ma) * (b(i) - mb));
        cross / (sum(&|i| (a(i) - ma).powi(2)) * sum(&|i| (b(i) - mb).powi(2))).sqrt()
    }

    #[test]
    fn driven_rois_follow_their_latents_and_others_do_not() {
        let cortex = simulate(&CortexParams::crossed(1));
        let benchmark = &cortex.benchmarks[0];
        let response = &benchmark.subjects[0].repeats[0];
        for m in 0..3 {
            let z = convolve(&cortex.truth.latents[0][m], &benchmark.stimuli, 2.0);
            let (mut inside, mut outside) = (vec![], vec![]);
            for j in 0..cortex.rois.len() {
                let explained: f64 =
                    (0..LATENTS).map(|k| correlation(|t| z[(t, k)], |t| response[(t, j)], 360).powi(2)).sum();
                if cortex.truth.driven[j][m] { &mut inside } else { &mut outside }.push(explained);
            }
            let mean = |x: &[f64]| x.iter().sum::<f64>() / x.len() as f64;
            assert!(mean(&inside) > 0.15, "modality {m}: driven {inside:?}");
            assert!(mean(&outside) < 0.07, "modality {m}: not driven {outside:?}");
        }
    }

    #[test]
    fn repeats_have_the_planted_reliability() {
        let cortex = simulate(&CortexParams::confounded(1));
        let repeats = &cortex.benchmarks[1].subjects[0].repeats;
        let (mut found, mut planted) = (0.0, 0.0);
        for j in 0..40 {
            found += correlation(|t| repeats[0][(t, j)], |t| repeats[1][(t, j)], 320) / 40.0;
            planted += cortex.truth.ceiling[1][0][j].powi(2) / 40.0;
        }
        assert_near(found, planted, 0.03);
    }

    #[test]
    fn the_same_seed_gives_the_same_study_and_another_one_does_not() {
        let sum = |seed| {
            let cortex = simulate(&CortexParams::crossed(seed));
            let first = cortex.models[0].layers[3][(5, 7)];
            (first, cortex.benchmarks[0].subjects[2].repeats[0][(100, 39)])
        };
        assert_eq!(sum(4), sum(4));
        assert_ne!(sum(4), sum(5));
    }

    #[test]
    fn the_models_are_those_promised() {
        let cortex = simulate(&CortexParams::crossed(1));
        assert_eq!(cortex.models.len(), 14);
        assert_eq!(cortex.models.iter().filter(|m| m.twin_of.is_some()).count(), 3);
        assert_eq!(cortex.truth.no_stable_mode, ["whirl"]);
        assert_eq!(cortex.truth.too_shallow, ["sketch"]);
        let pyramid = &cortex.models[2].layers;
        assert_eq!((pyramid[0].ncols(), pyramid[9].ncols()), (96, 32));
    }
}
