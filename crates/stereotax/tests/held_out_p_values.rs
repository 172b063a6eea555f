//! p-values of held-out scores are uniform where there is nothing: features and responses are noise.

use faer::Mat;
use stereotax::data::{Folds, Monitor, Runs};
use stereotax::encoding::EncodingParams;
use stereotax::pipelines::{Clock, EvaluateParams, Features, InnerRule, NullModel, predict, score_cell};
use stereotax_testkit::designs::{self, clips, names};

const SAMPLES: usize = 120;
const ROIS: usize = 100;

fn noise(rows: usize, columns: usize, seed: u64, index: u64) -> Mat<f64> {
    designs::noise(rows, columns, seed, "held-out p-values", index)
}

/// p-values of one study of noise.
fn p_values(n_units: usize, runs: usize, seed: u64) -> Vec<f64> {
    let mut design = clips(SAMPLES, 4, seed);
    let mut inner = InnerRule::Units(4);
    if runs > 1 {
        design.runs = Runs::from_lengths(&names("run", runs), &vec![SAMPLES / runs; runs]).unwrap();
        design.folds = Folds::leave_one_run_out(&design.runs).unwrap();
        design.clock = Clock::Tr { tr_s: 2.0 };
        inner = InnerRule::Runs(8);
    }
    let params = EvaluateParams {
        encoding: EncodingParams::default(),
        inner,
        seed,
        n_bootstraps: 2,
        n_shifts: 199,
        null: NullModel::Shift,
        min_shift_s: 4.0,
    };
    let features = Features::from_matrix(noise(SAMPLES, n_units, seed, 0).as_ref());
    let responses = noise(SAMPLES, ROIS, seed, 1);
    let predicted: Vec<_> = design
        .folds
        .iter()
        .map(|fold| predict(&features, &[], fold, &design, &[responses.as_ref()], &params).unwrap())
        .collect();
    let folds: Vec<_> = predicted.iter().map(|fold| &fold[0]).collect();
    let cell = score_cell(&folds, responses.as_ref(), &design, true, &params, &Monitor::silent()).unwrap();
    cell.draws.unwrap().p_value
}

#[test]
fn a_twentieth_of_noise_is_significant_at_a_twentieth() {
    for (n_units, runs, what) in [(40, 1, "clips in 4 folds"), (40, 5, "runs left out"), (3, 1, "3 units")] {
        let p: Vec<f64> = (0..12).flat_map(|seed| p_values(n_units, runs, seed)).collect();
        let share = |level: f64| p.iter().filter(|p| **p <= level).count() as f64 / p.len() as f64;
        // 1200 p-values; those of one study share their features, so the band is wider than binomial.
        // With draws that count both directions of a pair as independent, the first two are 0.12.
        assert!(share(0.05) < 0.08, "{what}: {}", share(0.05));
        assert!(share(0.01) < 0.025, "{what}: {}", share(0.01));
        if n_units > 3 {
            assert!(share(0.05) > 0.02, "{what}: {}", share(0.05));
            assert!((share(0.5) - 0.5).abs() < 0.12, "{what}: {}", share(0.5));
        }
    }
}
