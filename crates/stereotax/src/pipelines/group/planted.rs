//! Spaces with known structure, and what the group stage must make of them.

use faer::Mat;

use super::*;
use crate::stats::rng::Stream;
use crate::stats::summary::median;

/// What is planted.
#[derive(Clone)]
struct Plan {
    /// Modality, models, families, benchmark.
    groups: Vec<(&'static str, usize, usize, &'static str)>,
    n_rois: usize,
    /// How far a modality's profile is from the common one.
    separation: f64,
    /// Spread between models.
    spread: f64,
    seed: u64,
}

fn plan() -> Plan {
    Plan {
        groups: vec![("audio", 6, 3, "b"), ("text", 6, 3, "b"), ("vision", 6, 3, "b")],
        n_rois: 12,
        separation: 0.2,
        spread: 0.03,
        seed: 1,
    }
}

fn plant(plan: &Plan) -> SpaceInput {
    let mut stream = Stream::new(plan.seed, "planted space", 0);
    let common: Vec<f64> = (0..plan.n_rois).map(|_| 0.4 + 0.1 * stream.uniform()).collect();
    let (mut models, mut means) = (Vec::new(), Vec::new());
    for (modality, n, n_families, benchmark) in &plan.groups {
        let own: Vec<f64> = common.iter().map(|c| c + plan.separation * (stream.uniform() - 0.5)).collect();
        for k in 0..*n {
            models.push(ModelInfo {
                name: format!("{modality}_{k}"),
                modality: modality.to_string(),
                family: format!("{modality}_f{}", k % n_families),
                benchmark: benchmark.to_string(),
                trained: true,
                twin_of: None,
                verdict: PointStatus::Placed,
            });
            means.push(own.clone());
        }
    }
    let n = models.len();
    let scored = |name: &str, level: f64| {
        let mut stream = Stream::new(plan.seed, &format!("planted {name}"), 1);
        let r = Mat::from_fn(n, plan.n_rois, |i, j| level * means[i][j] + plan.spread * stream.normal());
        let score = Mat::from_fn(n, plan.n_rois, |i, j| r[(i, j)] * r[(i, j)]);
        let draws: Vec<Option<Arc<Mat<f32>>>> = (0..n)
            .map(|i| {
                let near = |_, j| (score[(i, j)] + 0.01 * stream.normal()) as f32;
                Some(Arc::new(Mat::from_fn(50, plan.n_rois, near)))
            })
            .collect();
        let null = (0..n)
            .map(|_| Some(Arc::new((0..99 * plan.n_rois).map(|_| 0.1 * stream.normal() as f32).collect())))
            .collect();
        RepresentationScores {
            representation: name.into(),
            score,
            r,
            draws,
            null,
            by_benchmark: Vec::new(),
            responses: Vec::new(),
        }
    };
    SpaceInput {
        space: "main".into(),
        rois: (0..plan.n_rois).map(|j| format!("roi_{j:02}")).collect(),
        networks: (0..plan.n_rois).map(|j| Some(format!("net_{}", j % 3))).collect(),
        masked: (0..plan.n_rois).map(|j| j == 5).collect(),
        ceilings: vec![0.8; plan.n_rois],
        model_ceilings: None,
        models,
        scores: vec![scored("stable_mode", 1.0), scored("layer_mean", 0.9)],
    }
}

fn params() -> GroupParams {
    GroupParams { n_permutations: 499, n_bootstraps: 100, ..GroupParams::default() }
}

fn run(space: &SpaceInput, params: &GroupParams) -> GroupResult {
    compare_groups(std::slice::from_ref(space), params, &Monitor::silent()).unwrap()
}

fn test<'a>(result: &'a GroupResult, representation: &str, test: &str, contrast: &str) -> &'a TestRow {
    result
        .tests
        .iter()
        .find(|row| row.representation == representation && row.test == test && row.contrast == contrast)
        .unwrap_or_else(|| panic!("no row {representation} {test} {contrast}"))
}

fn warning<'a>(result: &'a GroupResult, code: &str) -> Option<&'a Warning> {
    result.warnings.iter().find(|w| w.code == code)
}

/// Everything but the floats' payload compares as text: NaN equals NaN.
fn text(result: &GroupResult) -> String {
    format!("{result:#?}")
}

#[test]
fn planted_modalities_are_recovered_and_shuffled_ones_are_not() {
    let space = plant(&plan());
    let found = run(&space, &params());
    let row = test(&found, "stable_mode", "permanova", "modality");
    assert_eq!((row.status.as_str(), row.restricted, row.exact, row.n_objects), ("ok", true, true, 18));
    // 9 families, 3 per modality: 9!/(3!)³ = 1680 labellings, 3! of which name the same groups.
    assert_eq!((row.n_permutations, row.p), (1679, 6.0 / 1680.0));
    assert!(row.r2 > 0.5, "{}", row.r2);
    for name in ["permanova_f2", "silhouette"] {
        assert_eq!(test(&found, "stable_mode", name, "modality").p, 6.0 / 1680.0, "{name}");
    }
    let pair = test(&found, "stable_mode", "permanova_pairwise", "audio and vision");
    assert_eq!((pair.adjustment.as_str(), pair.n_objects), ("holm", 12));
    // 6 families in two groups: 20 labellings, smallest p 2/20 > 0.05, so models are exchanged freely.
    assert!(!pair.restricted && pair.status.contains("20 distinct"), "{}", pair.status);
    assert!(pair.p <= 3.0 / 924.0 && pair.p_adj >= pair.p, "{}", pair.p);

    // The same scores, modalities dealt out by turns over families.
    let mut mixed = space.clone();
    for (i, model) in mixed.models.iter_mut().enumerate() {
        let modality = ["audio", "text", "vision"][i % 3];
        model.modality = modality.into();
        model.family = format!("{modality}_f{}", i / 6);
    }
    let found = run(&mixed, &params());
    let row = test(&found, "stable_mode", "permanova", "modality");
    assert!(row.p > 0.2 && row.omega2 < 0.05, "{row:?}");
    assert!(test(&found, "stable_mode", "silhouette", "modality").statistic < 0.0);
}

#[test]
fn every_model_and_roi_has_its_rows() {
    let space = plant(&plan());
    let found = run(&space, &params());
    assert_eq!(found.coordinates.len(), 2 * 18);
    assert!(found.coordinates.iter().all(|row| row.status == "ok" && row.sd_x > 0.0 && row.sd_x < 5.0));
    // Modalities lie apart in the plane too: each model is nearest to a mate of its own modality.
    let plane: Vec<&CoordinateRow> =
        found.coordinates.iter().filter(|row| row.representation == "stable_mode").collect();
    for a in &plane {
        let distance = |b: &CoordinateRow| (a.x - b.x).hypot(a.y - b.y);
        let others = plane.iter().filter(|b| b.model != a.model);
        let nearest = others.min_by(|b, c| distance(b).total_cmp(&distance(c))).unwrap();
        assert_eq!(nearest.modality, a.modality);
    }
    // 2 representations × 3 modalities × 2 kinds × (12 ROIs + median + 3 networks).
    assert_eq!(found.snci.len(), 2 * 3 * 2 * 16);
    let masked: Vec<&SnciRow> = found.snci.iter().filter(|row| row.roi == "roi_05").collect();
    assert!(masked.iter().all(|row| row.value.is_nan() && row.status.starts_with("masked")));
    let median = found.snci.iter().find(|row| row.roi == "(median)" && row.kind == "snr").unwrap();
    assert!(median.value > 3.0 && median.lower < median.value && median.status == "ok", "{median:?}");
    assert_eq!(found.convergence.len(), 2 * 12);
    let row = &found.convergence[0];
    assert_eq!((row.all_above, row.n_modalities, row.status.as_str()), (Some(true), 3, "ok"));
    let least = found.snci.iter().filter(|s| {
        (s.representation.as_str(), s.kind.as_str(), s.roi.as_str()) == ("stable_mode", "snr", "roi_00")
    });
    assert_eq!(row.convergence, least.map(|s| s.value).fold(f64::INFINITY, f64::min));
    // Without each family in turn, then the range.
    let without: Vec<&TestRow> = found
        .tests
        .iter()
        .filter(|row| row.test == "permanova_without_family" && row.representation == "stable_mode")
        .collect();
    assert_eq!(without.len(), 9 + 2);
    let least = without[..9].iter().map(|row| row.r2).fold(f64::INFINITY, f64::min);
    let worst = without[..9].iter().map(|row| row.p).fold(0.0, f64::max);
    assert_eq!((without[9].r2, without[9].p), (least, worst));
    assert!(without[10].r2 > least);
}

#[test]
fn a_benchmark_per_modality_is_called_out_and_ceilings_take_it_away() {
    // One true profile for all models; what differs is the ceiling of the benchmark.
    let confounded = |seed: u64| {
        let mut plan = Plan { separation: 0.0, n_rois: 30, seed, ..plan() };
        for (k, group) in plan.groups.iter_mut().enumerate() {
            group.3 = ["sounds", "stories", "films"][k];
        }
        let mut space = plant(&plan);
        let mut stream = Stream::new(seed, "planted ceilings", 0);
        let by_modality = Mat::from_fn(3, 30, |_, _| 0.5 + 0.5 * stream.uniform());
        let ceilings = Mat::from_fn(18, 30, |i, j| by_modality[(i / 6, j)]);
        for scores in &mut space.scores {
            scores.r = Mat::from_fn(18, 30, |i, j| scores.r[(i, j)] * ceilings[(i, j)]);
            scores.score = Mat::from_fn(18, 30, |i, j| scores.r[(i, j)].powi(2));
        }
        space.model_ceilings = Some(ceilings);
        space
    };
    let params = GroupParams { n_bootstraps: 0, leave_one_family_out: false, ..params() };
    let (mut p, mut r2) = (Vec::new(), Vec::new());
    for seed in 0..8 {
        let found = run(&confounded(seed), &params);
        let serious = warning(&found, "benchmark_is_modality").expect("a warning");
        assert_eq!(serious.severity, Severity::Serious);
        assert!(serious.text.contains("audio: sounds; text: stories; vision: films"), "{}", serious.text);
        let raw = test(&found, "stable_mode", "permanova", "modality");
        let normalised = test(&found, "stable_mode", "permanova", "ceiling-normalised");
        assert!(raw.p <= 0.01 && raw.r2 > 0.4, "{raw:?}");
        p.push(normalised.p);
        r2.push(normalised.r2);
    }
    // Chance alone gives R² = 2/17 = 0.12 on average, and p-values that are uniform.
    let (p, r2) = (median(&p), median(&r2));
    assert!((0.15..0.9).contains(&p) && (0.05..0.18).contains(&r2), "{p} {r2}");

    let blind = run(&SpaceInput { model_ceilings: None, ..confounded(0) }, &params);
    let row = test(&blind, "stable_mode", "permanova", "ceiling-normalised");
    assert!(row.p.is_nan() && row.status.contains("the same for all benchmarks"), "{}", row.status);
    assert!(warning(&run(&plant(&plan()), &params), "benchmark_is_modality").is_none());
}

#[test]
fn one_modality_leaves_reasons_and_no_error() {
    let space = plant(&Plan { groups: vec![("text", 5, 5, "b")], ..plan() });
    let found = run(&space, &params());
    assert!(found.tests.iter().all(|row| row.p.is_nan() && row.status == "only one modality"));
    assert_eq!(found.tests.len(), 2 * 6);
    assert!(found.convergence.iter().all(|row| row.convergence.is_nan() && row.all_above.is_none()));
    assert_eq!(found.convergence[0].status, "only one modality");
    assert!(found.coordinates.iter().all(|row| row.x.is_finite()));

    let single = plant(&Plan { groups: vec![("text", 5, 5, "b"), ("vision", 1, 1, "b")], ..plan() });
    let found = run(&single, &params());
    let row = test(&found, "stable_mode", "permanova", "modality");
    assert!(row.p.is_nan() && row.status.contains("vision has one model"), "{}", row.status);
    assert!(found.convergence[0].status.contains("vision has one model"), "{}", found.convergence[0].status);
    let of_vision = found.snci.iter().find(|row| row.modality == "vision" && row.roi == "(median)").unwrap();
    assert!(of_vision.value.is_nan() && of_vision.status.contains("needs 3"), "{}", of_vision.status);
}

#[test]
fn a_model_without_a_point_is_named_and_takes_part_elsewhere() {
    let mut space = plant(&plan());
    let reason = "no stable mode: the mode turns by 84° over the depth";
    space.models[2].verdict = PointStatus::NoPoint(reason.into());
    for j in 0..12 {
        space.scores[0].score[(2, j)] = f64::NAN;
        space.scores[0].r[(2, j)] = f64::NAN;
    }
    space.scores[0].draws[2] = None;
    space.scores[0].null[2] = None;
    let found = run(&space, &params());
    let warning = warning(&found, "models_without_point").expect("a warning");
    assert!(warning.text.contains("audio_2") && warning.text.contains("84°"), "{}", warning.text);
    assert_eq!(test(&found, "stable_mode", "permanova", "modality").n_objects, 17);
    assert_eq!(test(&found, "layer_mean", "permanova", "modality").n_objects, 18);
    let rows: Vec<&CoordinateRow> = found.coordinates.iter().filter(|row| row.model == "audio_2").collect();
    assert!(rows[0].x.is_nan() && rows[0].status == reason && rows[1].x.is_finite());
    let control = found.controls.iter().find(|row| row.model == "audio_2").unwrap();
    assert!(control.claim.is_nan() && control.value > 0.0 && control.status == reason, "{control:?}");
}

#[test]
fn the_order_of_models_and_rois_and_the_threads_change_nothing() {
    let space = plant(&plan());
    let once = text(&run(&space, &params()));
    let models: Vec<usize> = (0..18).map(|i| (i * 7 + 3) % 18).collect();
    let rois: Vec<usize> = (0..12).map(|j| (j * 5 + 1) % 12).collect();
    let moved = |x: &Mat<f64>| Mat::from_fn(18, 12, |i, j| x[(models[i], rois[j])]);
    let turned = SpaceInput {
        rois: rois.iter().map(|&j| space.rois[j].clone()).collect(),
        networks: rois.iter().map(|&j| space.networks[j].clone()).collect(),
        masked: rois.iter().map(|&j| space.masked[j]).collect(),
        models: models.iter().map(|&i| space.models[i].clone()).collect(),
        scores: space
            .scores
            .iter()
            .rev()
            .map(|s| RepresentationScores {
                representation: s.representation.clone(),
                score: moved(&s.score),
                r: moved(&s.r),
                draws: models
                    .iter()
                    .map(|&i| {
                        s.draws[i].as_ref().map(|d| Arc::new(Mat::from_fn(50, 12, |b, j| d[(b, rois[j])])))
                    })
                    .collect(),
                null: models
                    .iter()
                    .map(|&i| {
                        let values = s.null[i].as_ref().unwrap();
                        Some(Arc::new((0..99 * 12).map(|k| values[k / 12 * 12 + rois[k % 12]]).collect()))
                    })
                    .collect(),
                by_benchmark: Vec::new(),
                responses: Vec::new(),
            })
            .collect(),
        ..space.clone()
    };
    assert!(text(&run(&turned, &params())) == once, "the order of the input changed a number");
    for threads in [1, 3] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        assert!(pool.install(|| text(&run(&space, &params()))) == once, "{threads} threads changed a number");
    }
}

#[test]
fn controls_by_hand() {
    let mut space = plant(&Plan { groups: vec![("text", 1, 1, "b")], n_rois: 2, ..plan() });
    space.masked = vec![false, false];
    let scored = |name: &str, at: [f64; 2], shift: &[f64]| RepresentationScores {
        representation: name.into(),
        score: Mat::from_fn(1, 2, |_, j| at[j]),
        r: Mat::from_fn(1, 2, |_, j| at[j].sqrt()),
        draws: vec![
            (!shift.is_empty())
                .then(|| Arc::new(Mat::from_fn(shift.len(), 2, |b, j| (at[j] + shift[b]) as f32))),
        ],
        null: vec![None],
        by_benchmark: Vec::new(),
        responses: Vec::new(),
    };
    // Paired differences to layer_mean: 0.1 − 0.05, 0.1 + 0.0, 0.1 + 0.05, 0.1 − 0.15.
    space.scores = vec![
        scored("stable_mode", [0.3, 0.5], &[0.0, 0.01, 0.05, -0.1]),
        scored("layer_mean", [0.2, 0.4], &[0.05, 0.01, 0.0, 0.05]),
        scored("shuffled_01", [0.1, 0.3], &[]),
        scored("shuffled_02", [0.4, 0.4], &[]),
        scored("adaptive", [0.4, 0.4], &[0.0; 4]),
        scored("nuisance:rate", [f64::NAN, 0.2], &[]),
    ];
    let found = run(&space, &GroupParams { expected_n_shuffles: 3, ..params() }).controls;
    let of = |name: &str| found.iter().find(|row| row.control == name).unwrap();
    let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-12, "{a} against {b}");
    let row = of("layer_mean");
    close(row.claim, 0.4);
    close(row.value, 0.3);
    close(row.difference, 0.1);
    // One of four differences is ≤ 0: p = 2·min(2/5, 4/5).
    close(row.p, 0.8);
    // Type-7 quantile at 0.025·3 of −0.05, 0.05, 0.1, 0.15.
    // Draws are kept in single precision.
    assert!((row.lower - (-0.05 + 0.075 * 0.1)).abs() < 1e-7);
    assert_eq!((row.n_rois, row.status.as_str()), (2, "ok"));
    let row = of("shuffled_order");
    // Means 0.2 and 0.4; the claim is 0.4: p = (1 + 1)/(1 + 2).
    close(row.value, 0.3);
    close(row.p, 2.0 / 3.0);
    assert!(row.status.contains("2 of 3 shuffles"), "{}", row.status);
    let row = of("nuisance:rate");
    close(row.claim, 0.5);
    assert_eq!(row.n_rois, 1);
    assert!(row.p.is_nan() && row.status.contains("no interval"), "{}", row.status);
    let row = of("best_other:stable_mode");
    assert_eq!(row.claim_representation, "adaptive");
    close(row.difference, 0.0);
}

#[test]
fn the_untrained_twin_stands_beside_its_model() {
    let mut space = plant(&Plan { groups: vec![("text", 2, 2, "b")], ..plan() });
    space.models[1].trained = false;
    space.models[1].twin_of = Some("text_0".into());
    let found = run(&space, &params());
    let twins: Vec<&ControlRow> = found.controls.iter().filter(|r| r.control == "untrained_twin").collect();
    assert_eq!(twins.len(), 1);
    let mean =
        |row: usize| (0..12).filter(|&j| j != 5).map(|j| space.scores[0].score[(row, j)]).sum::<f64>() / 11.0;
    assert!((twins[0].difference - (mean(0) - mean(1))).abs() < 1e-12 && twins[0].status == "ok");
    assert!(found.coordinates[1].status.starts_with("untrained"));
    space.models[1].verdict = PointStatus::NoPoint("too shallow".into());
    let found = run(&space, &params());
    let row = found.controls.iter().find(|r| r.control == "untrained_twin").unwrap();
    assert!(row.status.contains("layer mean stands in") && row.p.is_finite(), "{row:?}");
}

#[test]
fn significance_is_adjusted_over_models_and_unmasked_rois() {
    let mut space = plant(&Plan { groups: vec![("text", 2, 2, "b")], n_rois: 3, ..plan() });
    space.masked = vec![false, false, true];
    space.scores.truncate(1);
    space.scores[0].r = Mat::from_fn(2, 3, |i, j| [[0.5, 0.2, 0.9], [0.3, f64::NAN, 0.9]][i][j]);
    // Three draws for the first model, two for the second: the third is not used.
    space.scores[0].null = vec![
        Some(Arc::new(vec![0.1, 0.1, 9.0, 0.2, 0.25, 9.0, 9.0, 9.0, 9.0])),
        Some(Arc::new(vec![0.4, 0.0, 9.0, 0.1, 0.0, 9.0])),
    ];
    let found = run(&space, &params());
    let of = |model: &str, roi: &str| {
        found.max_t.iter().find(|row| row.model == model && row.roi == roi).unwrap().p_adj
    };
    // Sorted: 0.5, 0.3, 0.2. Draw maxima over these and those below: 0.4, 0.25 | 0.4, 0.25 | 0.1, 0.25.
    assert_eq!(of("text_0", "roi_00"), 1.0 / 3.0);
    assert_eq!(of("text_1", "roi_00"), 2.0 / 3.0);
    assert_eq!(of("text_0", "roi_01"), 2.0 / 3.0);
    assert!(of("text_1", "roi_01").is_nan() && of("text_0", "roi_02").is_nan());
    assert_eq!(found.max_t[0].n_permutations, 2);
    assert!(warning(&found, "null_draws_differ").is_some());
    // Single p-values 1/3, 2/3, 2/3: BH gives 2/3 to all; BY is 11/6 times that, Holm 3·1/3, both 1 at most.
    let q = |row: &MaxTRow| (row.q_bh, row.q_by, row.p_max_t);
    let first = found.max_t.iter().find(|row| row.model == "text_0" && row.roi == "roi_00").unwrap();
    assert_eq!(q(first), (2.0 / 3.0, 1.0, 1.0 / 3.0));
    for (multiplicity, p_adj) in [
        (Multiplicity::None, 1.0 / 3.0),
        (Multiplicity::Holm, 1.0),
        (Multiplicity::Bh, 2.0 / 3.0),
        (Multiplicity::By, 1.0),
    ] {
        let found = run(&space, &GroupParams { multiplicity, ..params() });
        let row = found.max_t.iter().find(|row| row.model == "text_0" && row.roi == "roi_00").unwrap();
        assert_eq!((row.p_adj, q(row)), (p_adj, q(first)), "{multiplicity:?}");
    }
}

#[test]
fn benchmarks_are_put_side_by_side() {
    let mut space = plant(&Plan { groups: vec![("audio", 2, 2, "a+b"), ("vision", 2, 2, "a+b")], ..plan() });
    space.scores.truncate(1);
    // Modalities differ on both benchmarks, in opposite directions: their mean is the same.
    let of = |at: [f64; 4]| Mat::from_fn(4, 12, |i, j| if j == 1 { at[i] } else { 0.5 });
    let (a, b) = (of([0.4, 0.5, 0.1, 0.2]), of([0.1, 0.2, 0.4, 0.5]));
    space.scores[0].score = (&a + &b) * faer::Scale(0.5);
    let one = |name: &str, score: Mat<f64>| BenchmarkScores {
        benchmark: name.into(),
        score,
        ceilings: vec![0.5; 12],
    };
    space.scores[0].by_benchmark = vec![one("a", a), one("b", b)];
    let raw = GroupParams { distance: DistanceKind::EuclideanRaw, ..params() };
    let r2 = |params: &GroupParams| test(&run(&space, params), "stable_mode", "permanova", "modality").r2;
    assert!(r2(&raw) < 1e-12, "{}", r2(&raw));
    // Per benchmark: between 0.3² · 4/4 twice, within 4 · 0.05² twice.
    let joined = GroupParams { concatenate: true, ..raw.clone() };
    assert!((r2(&joined) - 0.18 / 0.2).abs() < 1e-12, "{}", r2(&joined));
    // Ceilings of 0.5 are one scale for all.
    let over = GroupParams { embedding: CoordinateKind::Ceiling, ..joined.clone() };
    assert!((r2(&over) - 0.18 / 0.2).abs() < 1e-12);
    let found = run(&space, &joined);
    assert!(found.coordinates[0].status.contains("no region") && found.coordinates[0].x.is_finite());
    for i in 0..2 {
        for j in 0..12 {
            space.scores[0].by_benchmark[i].score[(i, j)] = f64::NAN;
        }
    }
    let found = run(&space, &joined);
    let row = test(&found, "stable_mode", "permanova", "modality");
    assert!(row.p.is_nan() && row.status.contains("no benchmark"), "{row:?}");
}

#[test]
fn convergence_and_dispersion_follow_their_choices() {
    let space = plant(&plan());
    let base = params();
    let found = run(&space, &base);
    let z = run(&space, &GroupParams { convergence_scale: ConvergenceScale::ZScore, ..base.clone() });
    let rows = |r: &GroupResult| -> Vec<f64> {
        let of = r.convergence.iter().filter(|row| row.representation == "stable_mode");
        of.map(|row| row.convergence).filter(|c| !c.is_nan()).collect()
    };
    assert_eq!(rows(&z).len(), 11);
    // The least of three standardised maps: its mean over ROIs lies below 0, that of the index above.
    let mean = |x: Vec<f64>| x.iter().sum::<f64>() / x.len() as f64;
    assert!(mean(rows(&z)) < 0.0 && mean(rows(&found)) > 0.0);
    let centroid = run(&space, &GroupParams { dispersion_centre: Centre::Centroid, ..base.clone() });
    let f = |r: &GroupResult| test(r, "stable_mode", "permdisp", "modality").statistic;
    assert!(f(&centroid) != f(&found) && f(&centroid).is_finite());
    // Correlation distances fit in no Euclidean space, so that dropping negative axes changes F.
    let correlation = GroupParams { distance: DistanceKind::Correlation, ..base.clone() };
    let dropped = GroupParams { dispersion_axes: NegativeAxes::Drop, ..correlation.clone() };
    assert!(f(&run(&space, &correlation)) != f(&run(&space, &dropped)));
    // Groups of unequal size: each is enlarged by a factor of its own.
    let biased = run(&space, &GroupParams { dispersion_bias: BiasFactor::SmallSample, ..base.clone() });
    assert!(f(&biased) != f(&found) && f(&biased).is_finite());
    let icc = run(&space, &GroupParams { snci: vec![Consistency::ProfileIcc, Consistency::Profile], ..base });
    let of = |kind: &str| icc.snci.iter().find(|r| r.modality == "audio" && r.kind == kind).unwrap().value;
    // Levels and spreads of the planted models are alike: the two agree nearly.
    assert!((of("profile_icc") - of("profile")).abs() < 0.1 && of("profile_icc") != of("profile"));
}

#[test]
fn influence_is_what_a_model_adds() {
    let space = plant(&plan());
    let found = run(&space, &params());
    let mut without = space.clone();
    without.models[2].trained = false;
    let left = run(&without, &params());
    let mut n = 0;
    for roi in ["(median)", "roi_00", "roi_11"] {
        for kind in ["snr", "debiased"] {
            let value = |result: &GroupResult| {
                let of = |r: &&SnciRow| {
                    (r.representation.as_str(), r.modality.as_str(), r.roi.as_str(), r.kind.as_str())
                        == ("stable_mode", "audio", roi, kind)
                };
                result.snci.iter().find(of).unwrap().value
            };
            let row = found
                .influence
                .iter()
                .find(|r| {
                    (r.representation.as_str(), r.model.as_str(), r.roi.as_str(), r.kind.as_str())
                        == ("stable_mode", "audio_2", roi, kind)
                })
                .unwrap();
            let expected = value(&found) - value(&left);
            assert!((row.influence - expected).abs() < 1e-9 && row.status == "ok", "{row:?} {expected}");
            assert!(row.influence != 0.0);
            n += 1;
        }
    }
    assert_eq!(n, 6);
    assert!(!found.influence.iter().any(|r| r.roi == "roi_05"), "a masked ROI");
}

#[test]
fn intervals_and_signs_follow_their_choices() {
    let mut space = plant(&plan());
    // A negative mean score, as the signed score may have.
    for i in 0..6 {
        space.scores[0].score[(i, 0)] = -0.2 - 0.01 * i as f64;
    }
    let bounded = GroupParams { snci: vec![Consistency::Index(SnciKind::Bounded)], ..params() };
    let row = |params: &GroupParams, roi: &str| {
        let of = |r: &SnciRow| (r.modality.as_str(), r.roi.as_str()) == ("audio", roi);
        run(&space, params).snci.into_iter().find(of).unwrap()
    };
    let zero = row(&bounded, "roi_00");
    let carry = row(&GroupParams { sign_policy: SignPolicy::Carry, ..bounded.clone() }, "roi_00");
    // μ = −0.225, s² = 0.00035: μ²/(μ² + s²).
    assert_eq!(zero.value, 0.0);
    assert!((carry.value + 0.050625 / 0.050975).abs() < 1e-12, "{}", carry.value);
    // Six families: three have so few draws that both intervals may end at the same one.
    let space = plant(&Plan { groups: vec![("audio", 6, 6, "b"), ("vision", 6, 6, "b")], ..plan() });
    let row = |params: &GroupParams| {
        let of = |r: &SnciRow| (r.modality.as_str(), r.roi.as_str()) == ("audio", "roi_01");
        run(&space, params).snci.into_iter().find(of).unwrap()
    };
    let bca = GroupParams { interval: Interval::Bca, ..bounded.clone() };
    let (percentile, bca) = (row(&bounded), row(&bca));
    assert_eq!(percentile.value, bca.value);
    assert!(percentile.lower != bca.lower && bca.lower <= bca.value && bca.value <= bca.upper, "{bca:?}");
}

#[test]
fn predicted_responses_are_compared_by_their_correlation() {
    let mut space = plant(&Plan { groups: vec![("audio", 2, 2, "b"), ("vision", 2, 2, "b")], ..plan() });
    space.scores.truncate(1);
    // Three samples; vision predicts roi_00, audio roi_01, and nobody the rest. Levels and scales differ.
    let predicted = |roi: usize, series: [f32; 3], scale: f32| PredictedResponses {
        stimuli: "clips".into(),
        values: Arc::new(Mat::from_fn(3, 12, |t, j| 7.0 + if j == roi { scale * series[t] } else { 0.0 })),
    };
    space.scores[0].responses = vec![
        Some(predicted(1, [1.0, -1.0, 0.0], 1.0)),
        Some(predicted(1, [1.0, 0.0, -1.0], 3.0)),
        Some(predicted(0, [1.0, -1.0, 0.0], 0.5)),
        Some(predicted(0, [1.0, 0.0, -1.0], 1.0)),
    ];
    let params = GroupParams { embedding: CoordinateKind::Response, ..params() };
    let found = run(&space, &params);
    // Within a modality ρ = 1/2, between 0: SS_T = (0.25 + 0.25 + 4)/4, SS_W = 2·0.25/2.
    let row = test(&found, "stable_mode", "permanova", "modality");
    assert!((row.r2 - (1.0 - 0.25 / 1.125)).abs() < 1e-12, "{row:?}");
    let point = |model: &str| found.coordinates.iter().find(|r| r.model == model).unwrap();
    let (a, b) = (point("audio_0"), point("vision_1"));
    assert_eq!((a.embedding.as_str(), a.sd_x.is_nan()), ("response", true));
    assert!(a.status.contains("no region") && a.x.is_finite() && (a.x - b.x).abs() > 0.5);
    assert!(
        test(&found, "stable_mode", "permanova", "modality, euclidean distance of scores").r2.is_finite()
    );
    // Consistency is of scores.
    let scores = run(&space, &GroupParams { embedding: CoordinateKind::Score, ..params.clone() });
    assert_eq!(format!("{:?}", scores.snci), format!("{:?}", found.snci));

    // Other stimuli cannot be compared; a model without predictions has no place.
    let mut other = space.clone();
    if let Some(Some(responses)) = other.scores[0].responses.get_mut(3) {
        responses.stimuli = "stories".into();
    }
    let found = run(&other, &params);
    let row = test(&found, "stable_mode", "permanova", "modality");
    assert!(row.p.is_nan() && row.status.contains("clips") && row.status.contains("stories"), "{row:?}");
    space.scores[0].responses[3] = None;
    let found = run(&space, &params);
    let lost = found.coordinates.iter().find(|r| r.model == "vision_1").unwrap();
    assert!(lost.x.is_nan() && lost.status.contains("predicted responses"), "{lost:?}");
    assert!(found.coordinates[0].x.is_finite());
}

#[test]
fn tables_that_do_not_agree_are_refused_by_name() {
    let mut space = plant(&plan());
    space.ceilings.pop();
    let error = compare_groups(&[space], &params(), &Monitor::silent()).unwrap_err().to_string();
    assert!(error.contains("ceilings of space `main`"), "{error}");
    let mut space = plant(&plan());
    space.models[1].name = space.models[0].name.clone();
    let error = compare_groups(&[space], &params(), &Monitor::silent()).unwrap_err().to_string();
    assert!(error.contains("twice"), "{error}");
}

#[test]
fn two_rois_are_drawn_as_they_are_with_the_spread_of_their_draws() {
    let mut space = plant(&Plan { n_rois: 2, separation: 0.0, spread: 0.2, ..plan() });
    space.masked = vec![false, false];
    let params = GroupParams { distance: DistanceKind::EuclideanRaw, ..params() };
    let found = run(&space, &params);
    let rows: Vec<&CoordinateRow> = found.coordinates.iter().take(18).collect();
    let score = &space.scores[0].score;
    for i in 0..18 {
        let drawn = (rows[i].x - rows[0].x).hypot(rows[i].y - rows[0].y);
        let raw = (score[(i, 0)] - score[(0, 0)]).hypot(score[(i, 1)] - score[(0, 1)]);
        assert_eq!((rows[i].status.as_str(), rows[i].model.as_str()), ("ok", space.models[i].name.as_str()));
        assert!((drawn - raw).abs() < 1e-12, "{drawn} {raw}");
    }
    assert!((rows[0].explained_x + rows[0].explained_y - 1.0).abs() < 1e-12);
    // Draws have variance 0.01² per coordinate; alignment takes 3 of 36 degrees of freedom.
    let variance = rows.iter().map(|row| row.sd_x.powi(2) + row.sd_y.powi(2)).sum::<f64>() / 36.0;
    assert!((variance / (1e-4 * 33.0 / 36.0) - 1.0).abs() < 0.1, "{variance}");
}

#[test]
fn networks_and_profiles_by_hand() {
    let space = plant(&plan());
    let snci = vec![Consistency::Index(SnciKind::Snr2), Consistency::Profile, Consistency::ProfileSnr];
    let found = run(&space, &GroupParams { snci, ..params() });
    let of = |roi: &str, kind: &str| {
        let row =
            |r: &&SnciRow| (r.modality.as_str(), r.roi.as_str(), r.kind.as_str()) == ("text", roi, kind);
        found.snci.iter().find(row).unwrap()
    };
    // Network net_2 has ROIs 2, 8 and 11; ROI 5 is masked. Text models are rows 6 to 11.
    let score = &space.scores[0].score;
    let means: Vec<f64> = (6..12).map(|i| (score[(i, 2)] + score[(i, 8)] + score[(i, 11)]) / 3.0).collect();
    let centre = means.iter().sum::<f64>() / 6.0;
    let variance = means.iter().map(|m| (m - centre).powi(2)).sum::<f64>() / 5.0;
    let row = of("(network) net_2", "snr2");
    assert!((row.value / (centre * centre / variance) - 1.0).abs() < 1e-10, "{row:?}");
    assert_eq!((row.n_models, row.n_families, row.status.as_str()), (6, 3, "ok"));
    let profile = of("(profile)", "profile");
    assert!(profile.value > 0.5 && profile.lower <= profile.value && profile.status == "ok", "{profile:?}");
    let ratio = of("(profile)", "profile_snr");
    assert!(ratio.value > 1.0 && ratio.status.contains("no interval"), "{ratio:?}");
    assert!(found.convergence[0].all_above == Some(true));
}

#[test]
fn an_effect_in_one_network_of_one_modality_is_an_interaction() {
    let mut space = plant(&Plan { separation: 0.0, ..plan() });
    let scores = &mut space.scores[0].score;
    for i in 0..18 {
        for j in 0..12 {
            // A level per modality, and one network where vision does better.
            scores[(i, j)] += if i < 6 { 0.2 } else { 0.0 } + if i >= 12 && j % 3 == 0 { 0.1 } else { 0.0 };
        }
    }
    let found = run(&space, &params());
    let of = |contrast: &str| test(&found, "stable_mode", "anova_two_way", contrast);
    assert_eq!(of("modality × network").p, 1.0 / 500.0);
    assert!(of("modality").p.is_nan() && of("modality").statistic > 10.0);
    assert!(of("modality").status.contains("no independent witnesses"));
    let other = test(&found, "layer_mean", "anova_two_way", "modality × network");
    assert!(other.p > 0.05, "{other:?}");
    assert!(test(&found, "stable_mode", "anova", "modality").p <= 0.01);
    let pair = test(&found, "stable_mode", "anova_pairwise", "audio minus text");
    assert!((pair.statistic - 0.2).abs() < 0.03 && pair.adjustment == "holm", "{pair:?}");
}

#[test]
fn a_restriction_that_cannot_hold_is_dropped_aloud() {
    // A family with models of two modalities.
    let mut space = plant(&plan());
    space.models[0].family = "text_f0".into();
    let found = run(&space, &params());
    let row = test(&found, "stable_mode", "permanova", "modality");
    assert!(!row.restricted && row.status.contains("family text_f0 has models of several"), "{}", row.status);
    assert!(warning(&found, "restriction_dropped").is_some());
    // Within benchmarks that are modalities there is nothing to exchange.
    let mut space = plant(&plan());
    for model in &mut space.models {
        model.benchmark = model.modality.clone();
    }
    let strata = GroupParams { restricted: Restriction::Strata, ..params() };
    let row = run(&space, &strata);
    let row = test(&row, "stable_mode", "permanova", "modality");
    assert!(!row.restricted && row.status.contains("leaves 1 distinct"), "{}", row.status);
    // Within one benchmark for all, everything may be exchanged.
    let found = run(&plant(&plan()), &strata);
    let row = test(&found, "stable_mode", "permanova", "modality");
    assert_eq!((row.restricted, row.exact, row.p, row.status.as_str()), (true, false, 1.0 / 500.0, "ok"));
}

#[test]
fn spread_that_passes_for_place_is_called_out() {
    let mut space = plant(&plan());
    for scores in &mut space.scores {
        let centre: Vec<f64> =
            (0..12).map(|j| (12..18).map(|i| scores.score[(i, j)]).sum::<f64>() / 6.0).collect();
        for i in 12..18 {
            for j in 0..12 {
                scores.score[(i, j)] = centre[j] + 8.0 * (scores.score[(i, j)] - centre[j]);
            }
        }
    }
    let found = run(&space, &params());
    assert!(test(&found, "stable_mode", "permdisp", "modality").p <= 0.05);
    assert!(warning(&found, "dispersion_differs").is_some());
    assert!(warning(&run(&plant(&plan()), &params()), "dispersion_differs").is_none());
}

#[test]
fn ceilings_ranks_and_incomplete_rois() {
    let mut space = plant(&plan());
    space.scores[0].score[(3, 0)] = f64::NAN;
    for embedding in [CoordinateKind::Rank, CoordinateKind::Ceiling, CoordinateKind::Z] {
        let found = run(&space, &GroupParams { embedding, leave_one_family_out: false, ..params() });
        assert!(warning(&found, "rois_incomplete").is_some());
        let row = test(&found, "stable_mode", "permanova", "modality");
        assert!(row.p < 0.01 && row.n_objects == 18, "{embedding:?} {row:?}");
        assert_eq!(found.coordinates[0].embedding, embedding.name());
    }
    // Without ceilings there are no such coordinates, and that is said.
    space.ceilings = vec![f64::NAN; 12];
    let found = run(&space, &GroupParams { embedding: CoordinateKind::Ceiling, ..params() });
    let row = test(&found, "stable_mode", "permanova", "modality");
    assert!(row.p.is_nan() && row.status.contains("no ROI has a positive ceiling"), "{}", row.status);
    assert!(found.coordinates[0].status.contains("no ROI has a positive ceiling"));
    // A model scored in a few ROIs only does not cost the others their ROIs.
    for j in 0..8 {
        space.scores[0].score[(3, j)] = f64::NAN;
    }
    let found = run(&space, &params());
    assert_eq!(test(&found, "stable_mode", "permanova", "modality").n_objects, 17);
    assert!(found.coordinates[3].status.contains("in only 4 of 11"), "{}", found.coordinates[3].status);
}

#[test]
fn nothing_at_all_is_no_error() {
    let mut space = plant(&plan());
    space.masked = vec![true; 12];
    let found = run(&space, &params());
    assert!(found.tests.iter().all(|row| row.p.is_nan() && row.status == "every ROI is masked"));
    assert!(found.controls.iter().all(|row| row.claim.is_nan() && row.status != "ok"));
    for scores in &mut space.scores {
        scores.score.fill(f64::NAN);
        scores.null = vec![None; 18];
        scores.draws = vec![None; 18];
    }
    space.masked = vec![false; 12];
    let found = run(&space, &params());
    assert!(!found.tests.is_empty() && found.tests.iter().all(|row| row.p.is_nan() && row.status != "ok"));
    assert!(found.snci.iter().all(|row| row.value.is_nan() && row.status != "ok"));
    // All models alike: no distance, no spread.
    for scores in &mut space.scores {
        scores.score.fill(0.25);
    }
    let found = run(&space, &params());
    assert!(found.coordinates.iter().all(|row| row.x.is_nan() && row.status.contains("same coordinates")));
    let row = test(&found, "stable_mode", "permanova", "modality");
    assert!(row.p.is_nan() && row.status.contains("every distance is zero"), "{}", row.status);
    let undefined = |row: &&TestRow| row.p.is_nan() && row.status == "ok";
    assert_eq!(found.tests.iter().find(undefined), None);
    compare_groups(&[], &params(), &Monitor::silent()).unwrap();
}
