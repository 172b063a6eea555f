//! Tukey's comparisons against SciPy's (validation/make_tukey_fixture.py).

use serde_json::Value;
use stereotax::data::Labels;
use stereotax::stats::tukey::{studentised_range_tail, tukey};

const FIXTURE: &str = include_str!("../../../validation/fixtures/tukey_scipy.json");

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
}

#[test]
fn pairs_agree_with_scipy() {
    let fixture: Value = serde_json::from_str(FIXTURE).unwrap();
    for case in fixture["cases"].as_array().unwrap() {
        let groups: Vec<Vec<f64>> = case["groups"].as_array().unwrap().iter().map(numbers).collect();
        let names: Vec<String> =
            groups.iter().enumerate().flat_map(|(g, values)| vec![format!("g{g}"); values.len()]).collect();
        let found = tukey(&groups.concat(), &Labels::new(&names)).unwrap();
        let (differences, p) = (numbers(&case["differences"]), numbers(&case["p"]));
        assert_eq!(found.len(), p.len());
        for (k, pair) in found.iter().enumerate() {
            assert!((pair.difference - differences[k]).abs() < 1e-12);
            // SciPy integrates adaptively, to about 1e-11.
            assert!((pair.p_adjusted - p[k]).abs() < 1e-9, "{pair:?} {}", p[k]);
        }
    }
}

#[test]
fn the_studentised_range_agrees_with_scipy() {
    let fixture: Value = serde_json::from_str(FIXTURE).unwrap();
    let tails = fixture["tails"].as_array().unwrap();
    assert_eq!(tails.len(), 48);
    for row in tails {
        let (q, k, df) =
            (row["q"].as_f64().unwrap(), row["groups"].as_u64().unwrap(), row["df"].as_u64().unwrap());
        let found = studentised_range_tail(q, k as usize, df as usize);
        assert!((found - row["tail"].as_f64().unwrap()).abs() < 1e-9, "{row} {found}");
    }
}
