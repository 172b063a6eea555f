//! Haemodynamic responses, convolved features and cosine drifts against nilearn (see validation/make_signal_fixture.py).

use faer::Mat;
use serde_json::Value;
use stereotax::data::Runs;
use stereotax::signal::{Derivatives, Hrf, HrfShape, dct_basis, dct_order, expand, nilearn_kernel};

const FIXTURE: &str = include_str!("../../../validation/fixtures/signal_nilearn.json");

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
}

#[test]
fn responses_and_their_derivatives_are_nilearns() {
    let fixture: Value = serde_json::from_str(FIXTURE).unwrap();
    let cases = fixture["kernels"].as_array().unwrap();
    assert_eq!(cases.len(), 6);
    for case in cases {
        let shape = if case["shape"] == "spm" { HrfShape::Spm } else { HrfShape::Glover };
        let number = |name: &str| case[name].as_f64().unwrap();
        let found = nilearn_kernel(
            shape,
            Derivatives::TimeDispersion,
            number("tr_s"),
            number("oversampling") as usize,
            number("length_s"),
        )
        .unwrap();
        let expected = case["kernels"].as_array().unwrap();
        assert_eq!(found.len(), expected.len());
        for (kernel, expected) in found.iter().zip(expected) {
            let expected = numbers(expected);
            assert_eq!(kernel.len(), expected.len());
            for (a, b) in kernel.iter().zip(&expected) {
                assert!((a - b).abs() < 1e-11, "{shape:?}: {a} {b}");
            }
        }
    }
}

#[test]
fn convolved_features_are_nilearns_regressors() {
    let fixture: Value = serde_json::from_str(FIXTURE).unwrap();
    for case in fixture["regressors"].as_array().unwrap() {
        let feature = numbers(&case["feature"]);
        let runs = Runs::single(feature.len());
        let feature = Mat::from_fn(feature.len(), 1, |i, _| feature[i]);
        for (name, shape) in [("spm", HrfShape::Spm), ("glover", HrfShape::Glover)] {
            let tr_s = case["tr_s"].as_f64().unwrap();
            let design = |hrf: &Hrf| expand(feature.as_ref(), &runs, tr_s, hrf).unwrap();
            let derivatives = Derivatives::TimeDispersion;
            let found = design(&Hrf::Nilearn { shape, derivatives });
            let own = design(&match shape {
                HrfShape::Spm => Hrf::Spm { derivatives },
                HrfShape::Glover => Hrf::Glover { derivatives },
            });
            let (found, own) = (orthogonalised(found), orthogonalised(own));
            for (k, expected) in case["columns"][name].as_array().unwrap().iter().enumerate() {
                let expected = numbers(expected);
                let worst = |of: &Mat<f64>| {
                    (0..expected.len()).map(|t| (of[(t, k)] - expected[t]).abs()).fold(0.0, f64::max)
                };
                assert!(worst(&found) < 1e-11, "{name} {k}: {}", worst(&found));
                // Ours differ, or there would be nothing to choose.
                assert!(worst(&own) > 1e-4, "{name} {k}: {}", worst(&own));
            }
        }
    }
}

/// Every column without its part along those before it: what nilearn does to the derivatives of a condition
/// after convolving, over all volumes. We leave it out, since it would let held-out volumes speak.
fn orthogonalised(mut columns: Mat<f64>) -> Mat<f64> {
    let dot =
        |m: &Mat<f64>, a: usize, b: usize| -> f64 { (0..m.nrows()).map(|t| m[(t, a)] * m[(t, b)]).sum() };
    for k in 1..columns.ncols() {
        for before in 0..k {
            let along = dot(&columns, before, k) / dot(&columns, before, before);
            (0..columns.nrows()).for_each(|t| columns[(t, k)] -= along * columns[(t, before)]);
        }
    }
    columns
}

#[test]
fn cosine_drifts_are_nilearns() {
    let fixture: Value = serde_json::from_str(FIXTURE).unwrap();
    for case in fixture["drifts"].as_array().unwrap() {
        let n = case["n"].as_u64().unwrap() as usize;
        let order = dct_order(n, case["tr_s"].as_f64().unwrap(), case["high_pass_hz"].as_f64().unwrap());
        let basis = dct_basis(n, order);
        // The last column of theirs is the constant.
        let expected = case["basis"].as_array().unwrap();
        assert_eq!(order + 1, expected.len());
        for (k, column) in expected[..order].iter().enumerate() {
            for (t, x) in numbers(column).iter().enumerate() {
                assert!((basis[(t, k)] - x).abs() < 1e-14, "{n} {k} {t}");
            }
        }
    }
}
