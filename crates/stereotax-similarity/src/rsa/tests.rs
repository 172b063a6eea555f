use super::super::rdm_compare::{compare, whitened::pairs};
use super::*;

/// Squared distances of random patterns: `shared` of all subjects, and each subject's own.
struct World {
    n: usize,
    parts: Vec<Vec<[f64; 4]>>,
}

impl World {
    fn new(n: usize, n_parts: usize, seed: u64) -> World {
        let mut stream = Stream::new(seed, "rsa worlds", 0);
        let parts = (0..n_parts)
            .map(|_| (0..n).map(|_| std::array::from_fn(|_| stream.normal())).collect())
            .collect();
        World { n, parts }
    }

    fn rdm(&self, weights: &[f64]) -> Rdm {
        let d = |(i, j): (usize, usize)| -> f64 {
            let of = |part: &Vec<[f64; 4]>| (0..4).map(|k| (part[i][k] - part[j][k]).powi(2)).sum::<f64>();
            weights.iter().zip(&self.parts).map(|(w, part)| w * of(part)).sum()
        };
        Rdm::new(self.n, pairs(self.n).map(d).collect()).unwrap()
    }
}

/// Six subjects that share parts 0 and 1, and have one of their own; models of part 0, of both, and of nothing there.
fn study(n: usize, seed: u64) -> (Vec<RdmModel>, Vec<Rdm>) {
    let world = World::new(n, 9, seed);
    let own = |s: usize| {
        let mut weights = vec![1.0, 0.5, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0];
        weights[3 + s] = 1.0;
        world.rdm(&weights)
    };
    let model = |weights: &[f64]| RdmModel::Fixed(world.rdm(weights));
    let models = vec![model(&[1.0]), model(&[1.0, 0.5]), model(&[0.0, 0.0, 1.0])];
    (models, (0..6).map(own).collect())
}

fn plan(n: usize, s: usize, n_bootstraps: usize, n_permutations: usize) -> ResamplingPlan {
    let names = |what: &str, n: usize| -> Vec<String> { (0..n).map(|i| format!("{what}{i:03}")).collect() };
    ResamplingPlan::new(3, &names("image", n), n_bootstraps, n_permutations)
        .unwrap()
        .with_subjects(&names("subject", s))
        .unwrap()
}

fn run(models: &[RdmModel], subjects: &[Rdm], plan: &ResamplingPlan, params: &RsaParams) -> Rsa {
    rsa(models, subjects, plan, params, &Monitor::silent()).unwrap()
}

#[test]
fn planted_models_are_ranked_and_tested() {
    let (models, subjects) = study(30, 1);
    for comparison in [Comparison::Pearson, Comparison::RhoA, Comparison::WhitenedPearson] {
        let params = RsaParams { comparison, ..RsaParams::default() };
        let found = run(&models, &subjects, &plan(30, 6, 300, 199), &params);
        let value = |k: usize| found.estimates[k].value;
        for k in 0..3 {
            let RdmModel::Fixed(model) = &models[k] else { continue };
            let scores: Vec<f64> =
                subjects.iter().map(|s| compare(model, s, comparison, None).unwrap().value).collect();
            assert!((value(k) - scores.iter().sum::<f64>() / 6.0).abs() < 1e-12);
        }
        assert!(value(1) > value(0) && value(0) > value(2) + 0.2);
        assert!(found.against_zero.t[1] < 0.001 && found.against_zero.draws[1] < 0.01);
        assert!(found.against_zero.t[2] > 0.01, "{}", found.against_zero.t[2]);
        assert!(found.pairwise[(1, 2)] < 0.01 && found.pairwise[(1, 2)] == found.pairwise[(2, 1)]);
        assert_eq!(found.permutation.p_value[1], 1.0 / 200.0);
        assert!(found.permutation.p_adjusted[2] >= found.permutation.p_value[2]);
        assert!(found.permutation.p_value[2] > 0.01);
        // All 63 flips of six subjects.
        assert_eq!((found.sign_flip.n_draws, found.sign_flip.p_value[1]), (63, 1.0 / 64.0));
        // The planted model is within what subjects share; the ceilings are in order.
        assert!(found.ceiling_lower.value < found.ceiling_upper.value);
        assert!(value(1) < found.ceiling_upper.value + 0.02);
        assert!(found.ceiling_lower.value - value(2) > 0.2 && found.against_ceiling.t[2] < 0.05);
        assert_eq!(found.best.index, Some(1));
        assert!(found.best.win_share[1] > 0.9 && found.best.optimism < 0.02);
        assert_eq!((found.dof, found.n_draws, found.n_poor), (5.0, 300, 0));
        let e = found.estimates[1];
        assert!(e.lower < e.value && e.value < e.upper && e.standard_error > 0.0);
    }
}

#[test]
fn the_same_bits_from_any_number_of_threads_and_any_order_of_rows() {
    let (models, subjects) = study(14, 2);
    let plan = plan(14, 6, 60, 30);
    let with = |threads: usize, comparison| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let params = RsaParams { comparison, ..RsaParams::default() };
        let found = pool.install(|| run(&models, &subjects, &plan, &params));
        format!("{:?}{:?}{:?}", found.estimates, found.pairwise, found.permutation)
    };
    for comparison in [Comparison::Pearson, Comparison::Spearman] {
        assert_eq!(with(1, comparison), with(3, comparison));
    }
    // Rows in another order, with their ids: the same draws, so the same standard errors.
    let order: Vec<usize> = (0..14).map(|i| (5 * i + 3) % 14).collect();
    let moved = |rdm: &Rdm| rdm.subset(&order).unwrap();
    let other_models: Vec<RdmModel> =
        models.iter().map(|m| RdmModel::Fixed(moved(&m.components()[0]))).collect();
    let other_subjects: Vec<Rdm> = subjects.iter().map(moved).collect();
    let mut other_plan = plan.clone();
    other_plan.block_ids = order.iter().map(|&i| plan.block_ids[i].clone()).collect();
    let params = RsaParams::default();
    let (a, b) =
        (run(&models, &subjects, &plan, &params), run(&other_models, &other_subjects, &other_plan, &params));
    for k in 0..3 {
        assert!((a.estimates[k].standard_error - b.estimates[k].standard_error).abs() < 1e-12);
        assert!((a.ceiling_lower.standard_error - b.ceiling_lower.standard_error).abs() < 1e-12);
    }
}

#[test]
fn single_factors_and_no_draws_at_all() {
    let (models, subjects) = study(16, 3);
    let of = |resampled| {
        run(&models, &subjects, &plan(16, 6, 2000, 0), &RsaParams { resampled, ..RsaParams::default() })
    };
    let (both, people, images, none) =
        (of(Resampled::Both), of(Resampled::Subjects), of(Resampled::Conditions), of(Resampled::None));
    assert_eq!((people.dof, images.dof, none.dof), (5.0, 15.0, 5.0));
    for k in 0..3 {
        // Over subjects the draws only repeat the textbook's standard error of a mean.
        let textbook = none.estimates[k].standard_error;
        assert!((people.estimates[k].standard_error / textbook - 1.0).abs() < 0.06);
        assert!(both.estimates[k].standard_error > 0.99 * people.estimates[k].standard_error);
        assert!(both.estimates[k].standard_error > 0.99 * images.estimates[k].standard_error);
        assert_eq!(both.estimates[k].value, none.estimates[k].value);
    }
    // By hand: t of the six evaluations of model 0.
    let x: Vec<f64> = (0..6).map(|s| none.evaluations[(0, s)]).collect();
    let mean = x.iter().sum::<f64>() / 6.0;
    let t = mean / (x.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / 30.0).sqrt();
    assert!((none.against_zero.t[0] - 0.5 * student_two_sided(t, 5.0)).abs() < 1e-15);
    assert!(none.best.optimism.is_nan() && none.against_zero.draws[0].is_nan());
}

#[test]
fn one_subject_has_no_ceiling_and_no_draws_of_subjects() {
    let (models, subjects) = study(12, 4);
    let one = &subjects[..1];
    let plan = plan(12, 1, 50, 50);
    let refused =
        rsa(&models, one, &plan, &RsaParams::default(), &Monitor::silent()).unwrap_err().to_string();
    assert!(refused.contains("2 subjects") && refused.contains("draw conditions only"), "{refused}");
    let params = RsaParams { resampled: Resampled::Conditions, ..RsaParams::default() };
    let found = run(&models, one, &plan, &params);
    assert!(found.ceiling_lower.value.is_nan() && found.ceiling_upper.value.is_nan());
    assert!(found.against_ceiling.t.iter().all(|p| p.is_nan()));
    assert!(found.estimates[0].standard_error > 0.0 && found.permutation.p_value[0] < 0.05);
    assert!(found.sign_flip.p_value[0].is_nan());
}

#[test]
fn whitened_draws_of_many_conditions_work() {
    // rsatoolbox 0.3.2 fails here from 100 conditions on.
    let (models, subjects) = study(120, 5);
    for comparison in [Comparison::WhitenedCosine, Comparison::WhitenedPearson] {
        let params = RsaParams { comparison, ..RsaParams::default() };
        let found = run(&models, &subjects, &plan(120, 6, 20, 0), &params);
        assert_eq!(found.n_undefined, 0);
        assert!(found.estimates.iter().all(|e| e.standard_error > 0.0 && e.standard_error < 0.2));
    }
}

#[test]
fn a_subject_drawn_twice_does_not_predict_itself() {
    // Subjects without anything in common: a lower ceiling that saw a copy would be near 1.
    let world = World::new(20, 6, 6);
    let subjects: Vec<Rdm> = (0..5)
        .map(|s| {
            let mut weights = vec![0.0; 6];
            weights[s] = 1.0;
            world.rdm(&weights)
        })
        .collect();
    let models = [RdmModel::Fixed(world.rdm(&[0.0, 0.0, 0.0, 0.0, 0.0, 1.0]))];
    for comparison in [Comparison::Pearson, Comparison::Spearman] {
        let params = RsaParams { comparison, ..RsaParams::default() };
        let found = run(&models, &subjects, &plan(20, 5, 400, 0), &params);
        assert!(found.ceiling_lower.value.abs() < 0.2 && found.ceiling_upper.value > 0.3);
        assert!(found.ceiling_lower.draw_upper < 0.35, "{:?}", found.ceiling_lower);
        assert!(found.ceiling_upper.draw_upper > 0.5);
    }
}

#[test]
fn few_conditions_are_counted_not_guessed() {
    let (models, subjects) = study(5, 7);
    let found = run(&models, &subjects, &plan(5, 6, 400, 0), &RsaParams::default());
    // 5 of 5 with at most 2 different ones: (C(5,2)(2^5 − 2) + 5)/5^5 = 0.0976.
    assert!((20..=60).contains(&found.n_poor), "{}", found.n_poor);
    assert!(found.estimates[0].standard_error.is_finite());
    let flat = RdmModel::Fixed(Rdm::new(5, vec![1.0; 10]).unwrap());
    let found = run(&[models[0].clone(), flat], &subjects, &plan(5, 6, 20, 10), &RsaParams::default());
    assert!(found.status[0].is_none() && found.status[1].as_deref().unwrap().contains("constant"));
    assert!(found.estimates[1].value.is_nan() && found.permutation.p_value[1].is_nan());
    assert_eq!(found.n_undefined + found.n_poor, 20);
    assert!(found.evaluations[(0, 0)].is_finite());
}

#[test]
fn flexible_models_are_tested_on_other_conditions() {
    let (fixed, subjects) = study(36, 8);
    let world = World::new(36, 9, 8);
    let part = |k: usize| {
        let mut weights = vec![0.0; 9];
        weights[k] = 1.0;
        world.rdm(&weights)
    };
    // Parts 0 and 1 are in all subjects (1 : 0.5), part 2 in none.
    let components = vec![part(0), part(1), part(2)];
    let models = [
        RdmModel::Weighted(components.clone()),
        RdmModel::Select(components.clone()),
        RdmModel::Interpolated(components),
        fixed[1].clone(),
    ];
    for comparison in
        [Comparison::Cosine, Comparison::Pearson, Comparison::WhitenedCosine, Comparison::Spearman]
    {
        let params = RsaParams { comparison, ..RsaParams::default() };
        let found = run(&models, &subjects, &plan(36, 6, 40, 0), &params);
        let w = &found.weights[0];
        // Uncentred, the third component also stands for what all distances have in common.
        assert!((w[1] / w[0] - 0.5).abs() < 0.25, "{comparison:?} {w:?}");
        assert!(w[2] < 0.2 * w[0] || !comparison.centred(), "{comparison:?} {w:?}");
        assert_eq!(found.weights[1], [1.0, 0.0, 0.0], "{comparison:?}");
        let i = &found.weights[2];
        assert!((i[0] + i[1] - 1.0).abs() < 1e-12 && (0.5..0.8).contains(&i[0]), "{comparison:?} {i:?}");
        let value = |k: usize| found.estimates[k].value;
        assert!((value(0) - value(3)).abs() < 0.05, "{comparison:?}: {} {}", value(0), value(3));
        assert!(value(1) < value(3) && found.estimates[0].standard_error < 0.3);
    }
    let refused = RsaParams { n_condition_folds: 1, ..RsaParams::default() };
    let message =
        rsa(&models, &subjects, &plan(36, 6, 5, 0), &refused, &Monitor::silent()).unwrap_err().to_string();
    assert!(message.contains("fitted to"), "{message}");
}

#[test]
fn a_flexible_model_of_noise_explains_nothing() {
    let mean = (0..30)
        .map(|seed| {
            let world = World::new(24, 12, seed);
            let part = |k: usize| {
                let mut weights = vec![0.0; 12];
                weights[k] = 1.0;
                world.rdm(&weights)
            };
            let subjects: Vec<Rdm> = (0..4)
                .map(|s| {
                    world.rdm(&(0..12).map(|k| f64::from(u8::from(k == s || k == 11))).collect::<Vec<_>>())
                })
                .collect();
            let models = [RdmModel::Weighted((4..10).map(part).collect())];
            let params = RsaParams { resampled: Resampled::None, ..RsaParams::default() };
            run(&models, &subjects, &plan(24, 4, 0, 0), &params).estimates[0].value
        })
        .map(|v| if v.is_nan() { 0.0 } else { v })
        .sum::<f64>()
        / 30.0;
    assert!(mean.abs() < 0.05, "{mean}");
}

#[test]
fn undefined_pairs_are_left_out_for_all() {
    let (models, mut subjects) = study(15, 9);
    let mut values = subjects[2].values().to_vec();
    (values[4], values[50]) = (f64::NAN, f64::NAN);
    subjects[2] = Rdm::new(15, values).unwrap();
    for comparison in [Comparison::Pearson, Comparison::WhitenedCosine] {
        let params = RsaParams { comparison, ..RsaParams::default() };
        let found = run(&models, &subjects, &plan(15, 6, 30, 10), &params);
        assert_eq!((found.n_pairs_dropped, found.n_pairs), (2, 103));
        assert!(found.estimates[0].standard_error > 0.0 && found.permutation.p_value[0].is_nan());
    }
}

#[test]
fn bad_input_is_refused_in_words() {
    let (models, subjects) = study(8, 1);
    let refusal = |models: &[RdmModel], subjects: &[Rdm], plan: &ResamplingPlan, params: &RsaParams| {
        rsa(models, subjects, plan, params, &Monitor::silent()).unwrap_err().to_string()
    };
    let (good, defaults) = (plan(8, 6, 5, 0), RsaParams::default());
    assert!(refusal(&[], &subjects, &good, &defaults).contains("one model"));
    assert!(refusal(&models, &subjects[..3], &good, &defaults).contains("3 of subjects"));
    assert!(refusal(&study(9, 1).0, &subjects, &good, &defaults).contains("8 conditions"));
    let bures = RsaParams { comparison: Comparison::Bures, ..RsaParams::default() };
    assert!(refusal(&models, &subjects, &good, &bures).contains("compare_rdms"));
    let variances = NoiseCovariance::Diagonal(vec![1.0; 8]);
    let noise = RsaParams { noise: Some(variances.clone()), ..RsaParams::default() };
    assert!(refusal(&models, &subjects, &good, &noise).contains("whitened"));
    let whitened = |noise| RsaParams {
        comparison: Comparison::WhitenedCosine,
        noise: Some(NoiseCovariance::Full(noise)),
        ..RsaParams::default()
    };
    let singular = Mat::full(8, 8, 1.0);
    assert!(refusal(&models, &subjects, &good, &whitened(singular)).contains("shrink"));
    let small = Mat::identity(7, 7);
    assert!(refusal(&models, &subjects, &good, &whitened(small)).contains("8 conditions"));
    assert!(
        refusal(&models, &subjects, &good, &RsaParams { level: 1.0, ..RsaParams::default() })
            .contains("0.95")
    );
    let many = RsaParams { n_condition_folds: 3, ..RsaParams::default() };
    let weighted = [RdmModel::Weighted(vec![subjects[0].clone()])];
    assert!(refusal(&weighted, &subjects, &good, &many).contains("fewer folds"));
}

#[test]
fn permutations_are_models_in_another_order_whatever_the_comparison() {
    let (models, subjects) = study(12, 21);
    let plan = plan(12, 6, 0, 29);
    let variances: Vec<f64> = (0..12).map(|i| 1.0 + f64::from(i % 3)).collect();
    let near = Mat::from_fn(12, 12, |i: usize, j: usize| 0.5f64.powi(i.abs_diff(j) as i32));
    for (comparison, noise) in [
        (Comparison::TauA, None),
        (Comparison::TauB, None),
        (Comparison::Pearson, None),
        (Comparison::WhitenedCosine, Some(NoiseCovariance::Diagonal(variances))),
        (Comparison::WhitenedCosine, Some(NoiseCovariance::Full(near))),
    ] {
        let params = RsaParams { comparison, resampled: Resampled::None, noise, ..RsaParams::default() };
        let found = run(&models, &subjects, &plan, &params);
        // The slow road: the whole analysis with models whose conditions were moved.
        let mut reaching = [0; 3];
        for index in 0..29 {
            let order = plan.permutation(index);
            let moved: Vec<RdmModel> =
                models.iter().map(|m| RdmModel::Fixed(m.components()[0].subset(&order).unwrap())).collect();
            let without = ResamplingPlan { n_permutations: 0, ..plan.clone() };
            let null = run(&moved, &subjects, &without, &params);
            for k in 0..3 {
                reaching[k] += usize::from(null.estimates[k].value >= found.estimates[k].value - 1e-7);
            }
        }
        for k in 0..3 {
            assert_eq!(found.permutation.p_value[k], permutation_p(reaching[k], 29), "{comparison:?} {k}");
        }
        assert_eq!(found.permutation.p_value[1], 1.0 / 30.0, "{comparison:?}");
    }
}

#[test]
fn permutations_refit_flexible_models() {
    let (_, subjects) = study(24, 22);
    let world = World::new(24, 9, 22);
    let part = |world: &World, k: usize| {
        let mut weights = vec![0.0; 9];
        weights[k] = 1.0;
        world.rdm(&weights)
    };
    let other = World::new(24, 9, 23);
    let models = [
        RdmModel::Weighted(vec![part(&world, 0), part(&world, 1)]),
        RdmModel::Weighted(vec![part(&other, 0), part(&other, 1)]),
        RdmModel::Weighted(vec![part(&world, 0)]),
    ];
    let params = RsaParams { resampled: Resampled::None, ..RsaParams::default() };
    let found = run(&models, &subjects, &plan(24, 6, 0, 39), &params);
    assert_eq!(found.permutation.p_value[0], 1.0 / 40.0);
    // In some folds no positive weight of the other model helps: it predicts nothing there, and has no value, as it says.
    // Nothing else excuses a NaN.
    let why = found.status[1].as_deref().unwrap();
    assert!(why.contains("of 60 fits the best weights are all zero"), "{why}");
    assert!(found.estimates[1].value.is_nan() && found.permutation.p_value[1].is_nan());
    // The larger part of what subjects share gets a weight in all of them.
    assert!(found.status[0].is_none() && found.status[2].is_none(), "{:?}", found.status);
    assert!(found.estimates[2].value < found.estimates[0].value);
    assert!(found.permutation.p_value[2] < 0.1);
}

#[test]
fn a_model_whose_best_weights_are_all_zero_predicts_nothing() {
    let (_, subjects) = study(24, 22);
    let world = World::new(24, 9, 22);
    let shared = world.rdm(&[1.0, 0.5]);
    // What all subjects share, turned upside down: any positive weight of it takes the prediction away from them.
    let most = shared.values().iter().copied().fold(0.0, f64::max);
    let against = Rdm::new(24, shared.values().iter().map(|v| most - v).collect()).unwrap();
    let models = [RdmModel::Weighted(vec![against]), RdmModel::Weighted(vec![shared])];
    let params = RsaParams { resampled: Resampled::None, ..RsaParams::default() };
    let found = run(&models, &subjects, &plan(24, 6, 0, 39), &params);
    assert_eq!(found.weights[0], [0.0]);
    assert!(found.estimates[0].value.is_nan() && found.permutation.p_value[0].is_nan());
    let why = found.status[0].as_deref().unwrap();
    assert!(why.contains("in 60 of 60 fits the best weights are all zero"), "{why}");
    assert!(found.estimates[1].value > 0.3 && found.status[1].is_none());
    assert_eq!(found.permutation.p_value[1], 1.0 / 40.0);
}
