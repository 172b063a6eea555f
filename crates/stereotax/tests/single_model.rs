//! One model in memory: planted truth, honest selection, the same bits for any memory, refused mistakes.

use faer::{Mat, MatRef};
use stereotax::data::{Monitor, Runs};
use stereotax::encoding::EncodingParams;
use stereotax::pipelines::ceilings::{CeilingData, CeilingRule, ceilings};
use stereotax::pipelines::single::{Beside, SingleData, SingleModel, score_model};
use stereotax::pipelines::{DepthParams, EvaluateParams, InnerRule, NullModel, Representation};
use stereotax::stats::score::ScoreKind;
use stereotax::{Error, Result};
use stereotax_testkit::designs::{self, clips, with_source};

const SAMPLES: usize = 90;

fn noise(rows: usize, columns: usize, index: u64) -> Mat<f64> {
    designs::noise(rows, columns, 5, "single model test", index)
}

/// Layers that share a latent state, and responses that read it out.
fn planted(n_layers: usize) -> (Vec<Mat<f64>>, Mat<f64>) {
    let latent = noise(SAMPLES, 6, 0);
    let layers = (0..n_layers).map(|l| &latent + faer::Scale(0.7) * noise(SAMPLES, 6, 1 + l as u64));
    (layers.collect(), &latent * noise(6, 3, 99))
}

fn depth(multiverse: bool) -> DepthParams {
    DepthParams { n_shuffles: 2, n_bootstraps: 5, multiverse, ..Default::default() }
}

/// Score with all controls, or with those of a twin.
fn run_beside(
    layers: &[Mat<f64>],
    responses: &[MatRef<'_, f64>],
    nuisance: &[(String, MatRef<'_, f64>)],
    beside: Beside,
    depth: &DepthParams,
    memory: usize,
) -> Result<SingleModel> {
    let params = EvaluateParams {
        encoding: EncodingParams::default(),
        inner: InnerRule::Units(3),
        seed: 0,
        n_bootstraps: 10,
        n_shifts: 10,
        null: NullModel::Shift,
        min_shift_s: 20.0,
    };
    let design = clips(SAMPLES, 3, 0);
    with_source(layers, |source| {
        let data = SingleData { source, design: &design, responses, nuisance };
        score_model(&data, beside, depth, &params, memory, &Monitor::silent())
    })?
}

fn run(layers: &[Mat<f64>], responses: &[MatRef<'_, f64>], memory: usize) -> Result<SingleModel> {
    run_beside(layers, responses, &[], Beside::default(), &depth(false), memory)
}

fn mean_r(found: &SingleModel, representation: &Representation) -> f64 {
    let scored = found.representations.iter().find(|s| s.representation == *representation).unwrap();
    let r = &scored.cells[0].r;
    r.iter().sum::<f64>() / r.len() as f64
}

#[test]
fn what_layers_share_predicts_better_than_any_layer() {
    let (layers, responses) = planted(6);
    let found = run(&layers, &[responses.as_ref()], 1 << 30).unwrap();
    let best = (0..6).map(|l| mean_r(&found, &Representation::Layer(l))).fold(f64::MIN, f64::max);
    let stable = mean_r(&found, &Representation::StableMode);
    assert!(stable > best + 0.03 && stable > 0.85, "{stable} {best}");
    let order: Vec<String> = found.representations.iter().map(|s| s.representation.name()).collect();
    assert_eq!(order[..5], ["stable_mode", "adaptive", "layer_mean", "best_layer", "pod"]);
    assert_eq!(
        order[5..],
        ["layer", "layer", "layer", "layer", "layer", "layer", "shuffled_01", "shuffled_02"]
    );
}

#[test]
fn the_best_layer_is_chosen_by_inner_scores_and_keeps_its_held_out_ones() {
    let (layers, responses) = planted(5);
    let found = run(&layers, &[responses.as_ref()], 1 << 30).unwrap();
    let best = found.representations.iter().find(|s| s.representation == Representation::BestLayer).unwrap();
    for (fold, chosen) in best.chosen[0].iter().enumerate() {
        let inner = |s: &Representation| {
            let cell = &found.representations.iter().find(|x| x.representation == *s).unwrap().cells[0];
            cell.inner_scores.row(fold).iter().sum::<f64>()
        };
        for layer in 0..5 {
            assert!(inner(chosen) >= inner(&Representation::Layer(layer)), "fold {fold}, layer {layer}");
        }
        // Where it is chosen, it is that layer: the same penalties in that fold.
        let layer = found.representations.iter().find(|s| s.representation == *chosen).unwrap();
        assert_eq!(best.cells[0].alphas.row(fold), layer.cells[0].alphas.row(fold));
    }
}

#[test]
fn memory_and_company_change_no_bit() {
    let (layers, responses) = planted(5);
    let other = noise(SAMPLES, 3, 7);
    let both = run(&layers, &[other.as_ref(), responses.as_ref()], 1 << 30).unwrap();
    let alone = run(&layers, &[responses.as_ref()], 1).unwrap();
    for (a, b) in both.representations.iter().zip(&alone.representations) {
        assert_eq!(a.representation, b.representation);
        assert_eq!(a.cells[1].r, b.cells[0].r, "{:?}", a.representation);
    }
}

#[test]
fn shallow_models_are_scored_without_dynamics() {
    let (layers, responses) = planted(3);
    let found = run(&layers, &[responses.as_ref()], 1 << 30).unwrap();
    assert!(found.depth.is_none());
    let order: Vec<String> = found.representations.iter().map(|s| s.representation.name()).collect();
    assert_eq!(order, ["adaptive", "layer_mean", "best_layer", "layer", "layer", "layer"]);
}

#[test]
fn what_does_not_fit_is_named() {
    let (layers, responses) = planted(4);
    let short = responses.get(..80, ..);
    let refused = run(&layers, &[responses.as_ref(), short], 1).unwrap_err();
    assert!(refused.to_string().contains("`responses of subject 1` has 80 rows"), "{refused}");
    let mut hole = responses.clone();
    hole[(4, 1)] = f64::NAN;
    assert!(matches!(run(&layers, &[hole.as_ref()], 1), Err(Error::NotFinite { row: 4, column: 1, .. })));
    assert!(matches!(run(&layers, &[], 1), Err(Error::TooFew { .. })));
    let empty = run(&[Mat::zeros(SAMPLES, 0)], &[responses.as_ref()], 1).unwrap_err();
    assert!(empty.to_string().contains("`layer 0` has none, but at least 1 unit needed"), "{empty}");
    assert!(matches!(run(&[], &[responses.as_ref()], 1), Err(Error::TooFew { .. })));
}

#[test]
fn nuisance_features_and_the_multiverse_stand_beside_the_claim() {
    let (layers, responses) = planted(6);
    let latent = noise(SAMPLES, 6, 0);
    let nuisance = [("loudness".to_owned(), latent.get(.., ..1))];
    let both = [responses.as_ref(), responses.as_ref()];
    let found = run_beside(&layers, &both, &nuisance, Beside::default(), &depth(true), 1 << 30).unwrap();
    let plain = run(&layers, &both, 1 << 30).unwrap();
    for scored in &plain.representations {
        assert_eq!(
            found.cells(&scored.representation).unwrap()[0].r,
            scored.cells[0].r,
            "company changes it"
        );
    }
    assert_eq!((found.nuisance.len(), found.nuisance[0].1.len()), (1, 2));
    // One of six latent units predicts something, and less than all of them.
    let low = found.nuisance[0].1[0].r.iter().sum::<f64>() / 3.0;
    assert!(low > 0.1 && low < mean_r(&found, &Representation::StableMode) - 0.1, "{low}");

    let runs = Runs::single(SAMPLES);
    let data = CeilingData { responses: &both, repeats: &[], given: None, runs: &runs };
    let none = ceilings(CeilingRule::None, &data, 0).unwrap();
    let masked = [false, false, true];
    let cells = found.multiverse(ScoreKind::R2, &none, &masked);
    assert_eq!(cells.len(), 24);
    // The first cell has the choices of the analysis itself, so its score is that of the stable mode.
    let r2 = |representation: &Representation| {
        let r = &found.cells(representation).unwrap()[0].r;
        0.5 * (r[0] * r[0] + r[1] * r[1])
    };
    assert!((cells[0].score - r2(&Representation::StableMode)).abs() < 1e-12);
    let versus = r2(&Representation::StableMode) - r2(&Representation::LayerMean);
    assert!((cells[0].versus_layer_mean - versus).abs() < 1e-12);
    assert!(plain.multiverse(ScoreKind::R2, &none, &masked).is_empty());

    let named = found.mean_scores(ScoreKind::R2, &none);
    let names: Vec<&str> = named.iter().map(|s| s.representation.as_str()).collect();
    let expected = [
        "stable_mode",
        "adaptive",
        "layer_mean",
        "best_layer",
        "pod",
        "first_layer",
        "last_layer",
        "shuffled_01",
        "shuffled_02",
        "nuisance:loudness",
    ];
    assert_eq!(names, expected);
    let first = named.iter().find(|s| s.representation == "first_layer").unwrap();
    assert!((first.score[0] - found.cells(&Representation::Layer(0)).unwrap()[1].r[0].powi(2)).abs() < 1e-12);
    assert_eq!(first.draws.as_ref().unwrap().nrows(), 10);
    assert_eq!(named[9].null.as_ref().unwrap().len(), 10 * 3);
}

#[test]
fn a_twin_needs_two_representations_and_controls_can_be_left_out() {
    let (layers, responses) = planted(6);
    let names = |beside: Beside| -> Vec<String> {
        let found = run_beside(&layers, &[responses.as_ref()], &[], beside, &depth(false), 1 << 30).unwrap();
        found.representations.iter().map(|s| s.representation.name()).collect()
    };
    assert_eq!(names(Beside::TWIN)[..2], ["stable_mode", "layer_mean"]);
    assert_eq!(names(Beside::TWIN).len(), 2 + 2);
    let ends = Beside { first_last: true, layer_mean: false, ..Beside::TWIN };
    assert_eq!(names(ends)[..3], ["stable_mode", "layer", "layer"]);
    let short = noise(SAMPLES - 1, 1, 3);
    let nuisance = [("pitch".to_owned(), short.as_ref())];
    let refused = run_beside(&layers, &[responses.as_ref()], &nuisance, ends, &depth(false), 1).unwrap_err();
    assert!(refused.to_string().contains("`nuisance pitch` has 89 rows"), "{refused}");
}
