//! Ordered real Schur forms against SciPy's (validation/make_schur_fixture.py): which eigenvalues come first,
//! and the subspace that they span. Neither depends on signs or on the order within the two parts.

use faer::{Mat, c64};
use serde_json::Value;
use stereotax::linalg::{product, schur};

const FIXTURE: &str = include_str!("../../../validation/fixtures/schur_scipy.json");

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap()
}

fn matrix(value: &Value) -> Mat<f64> {
    let rows = value.as_array().unwrap();
    Mat::from_fn(rows.len(), rows.len(), |i, j| number(&rows[i][j]))
}

/// By descending real part, of a pair the one with Im > 0 first.
fn in_order(values: &[c64]) -> Vec<c64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(|a, b| b.re.total_cmp(&a.re).then(b.im.total_cmp(&a.im)));
    sorted
}

#[test]
fn every_part_of_the_spectrum_spans_the_subspace_of_scipy() {
    let fixture: Value = serde_json::from_str(FIXTURE).unwrap();
    let mut n_cuts = 0;
    for case in fixture["cases"].as_array().unwrap() {
        let a = matrix(&case["matrix"]);
        // Members of a Jordan block are only as sharp as the cube root of rounding; its mean and span are.
        let sharp = if case["kind"] == "defective" { 1e-4 } else { 1e-10 };
        for cut in case["cuts"].as_array().unwrap() {
            let mut found = schur(a.as_ref()).unwrap();
            let (values, threshold) = (found.eigenvalues(), number(&cut["threshold"]));
            let wanted: Vec<bool> = found.blocks().iter().map(|(at, _)| values[*at].re > threshold).collect();
            let m = found.bring_up(&wanted).unwrap();
            assert_eq!(m as u64, cut["count"].as_u64().unwrap());
            let values = found.eigenvalues();
            assert!(values[m..].iter().all(|z| z.re < threshold));
            for (z, expected) in in_order(&values[..m]).iter().zip(cut["eigenvalues"].as_array().unwrap()) {
                let expected = c64::new(number(&expected[0]), number(&expected[1]));
                assert!((*z - expected).norm() < sharp, "{}: {z} {expected}", case["kind"]);
            }
            let basis = found.q.get(.., ..m);
            let gap = product(basis, basis.transpose()) - matrix(&cut["projector"]);
            assert!(gap.norm_l2() < 1e-10, "{} above {threshold}: {:e}", case["kind"], gap.norm_l2());
            n_cuts += 1;
        }
    }
    assert!(n_cuts >= 15, "{n_cuts}");
}

#[test]
fn one_cut_after_another_puts_all_eigenvalues_in_order() {
    let fixture: Value = serde_json::from_str(FIXTURE).unwrap();
    for case in fixture["cases"].as_array().unwrap() {
        let mut found = schur(matrix(&case["matrix"]).as_ref()).unwrap();
        // From the highest threshold down: what is up stays first, the next part comes behind it.
        for cut in case["cuts"].as_array().unwrap().iter().rev() {
            let values = found.eigenvalues();
            let wanted: Vec<bool> =
                found.blocks().iter().map(|(at, _)| values[*at].re > number(&cut["threshold"])).collect();
            found.bring_up(&wanted).unwrap();
        }
        let values = found.eigenvalues();
        let slack = if case["kind"] == "defective" { 1e-4 } else { 1e-12 };
        assert!(values.windows(2).all(|w| w[0].re > w[1].re - slack), "{}: {values:?}", case["kind"]);
    }
}
