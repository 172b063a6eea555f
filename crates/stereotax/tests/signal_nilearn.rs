//! Haemodynamic responses and cosine drifts against nilearn (see validation/make_signal_fixture.py).

use serde_json::Value;
use stereotax::signal::{Derivatives, HrfShape, dct_basis, dct_order, nilearn_kernel};

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
