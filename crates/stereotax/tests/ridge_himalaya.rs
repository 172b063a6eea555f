//! The ridge against himalaya's RidgeCV (see validation/make_ridge_fixture.py).

use faer::Mat;
use serde_json::Value;
use stereotax::data::{Folds, Runs};
use stereotax::encoding::{AlphaGrid, Intercept, RidgeParams, RidgePlan, Space};

const FIXTURE: &str = include_str!("../../../validation/fixtures/ridge_himalaya.json");

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
}

fn matrix(value: &Value) -> Mat<f64> {
    let rows: Vec<Vec<f64>> = value.as_array().unwrap().iter().map(numbers).collect();
    Mat::from_fn(rows.len(), rows[0].len(), |i, j| rows[i][j])
}

#[test]
fn penalties_are_himalayas_and_predictions_agree() {
    let fixture: Value = serde_json::from_str(FIXTURE).unwrap();
    let lengths: Vec<usize> = numbers(&fixture["runs"]).iter().map(|&n| n as usize).collect();
    let names: Vec<String> = (0..lengths.len()).map(|i| format!("run {i}")).collect();
    let runs = Runs::from_lengths(&names, &lengths).unwrap();
    let inner: Vec<_> = Folds::leave_one_run_out(&runs).unwrap().iter().cloned().collect();
    let cases = fixture["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 2);
    for (case, space) in cases.iter().zip([Space::Primal, Space::Dual]) {
        let params = RidgeParams {
            alphas: AlphaGrid::absolute(&numbers(&fixture["alphas"])),
            intercept: Intercept::None,
            ..RidgeParams::default()
        };
        let (x_train, x_test) = (matrix(&case["x_train"]), matrix(&case["x_test"]));
        let plan = RidgePlan::new(x_train.as_ref(), x_test.as_ref(), &inner, &params).unwrap();
        let fit = plan.fit(matrix(&case["y_train"]).as_ref()).unwrap();
        assert_eq!(fit.space, space);
        let best_alphas = numbers(&case["best_alphas"]);
        assert_eq!(best_alphas.len(), fit.alphas.len());
        for (alpha, theirs) in fit.alphas.iter().zip(best_alphas) {
            // himalaya returns exp(log α), which is a few ulps off the grid.
            assert!((alpha / theirs - 1.0).abs() < 1e-13, "{alpha} {theirs}");
        }
        let expected = matrix(&case["predictions"]);
        assert!((&fit.predictions - &expected).norm_max() < 1e-10 * expected.norm_max());
    }
}
