//! Compare two systems that are driven by the same inputs (InputDSA).
//!
//! ```text
//! v_{t+1} = A v_t + B u_t                          state matrix A (r × r), input matrix B (r × inputs)
//! K = [B, AB, AᵀB, A²B, (Aᵀ)²B, …]                 what inputs reach, forwards and backwards; `n_powers` of each
//! C = argmin_{O(r)} ‖K₁ − C K₂‖                    Procrustes: closed form
//! joint   arccos ⟨K₁, C K₂⟩ / (‖K₁‖‖K₂‖)           and ‖K₁ − C K₂‖
//! parts   A₁ against C A₂ Cᵀ,  B₁ against C B₂     under the joint C
//! alone   A₁ against A₂ under its own best C (DSA); B₁ against B₂ under its own
//! ```
//!
//! All distances are 0 for systems that differ by an orthogonal change of state coordinates. Inputs have the same
//! columns in both; where they are coordinates of their own, [`Inputs::Rotated`] also turns them, alternating
//! between both sides until nothing changes (a local minimum). States of other sizes are padded with zeros.
//!
//! Source: Huang et al. 2025; specs: nfas-dmd 14. Differs from theirs: operators come from DMD with control on delayed
//! states, not from subspace identification, which copes better with partial observation; the angle of the inputs alone is an angle
//! (there a cosine), and input rotations are optimised (there read off two decompositions). Cost: O(r³ inputs).

use faer::{Mat, MatRef};

use super::align::{Alignment, AlignmentParams, align};
use stereotax_base::data::{Error, Monitor, Result};
use stereotax_base::linalg::{cross, orthogonal_factor, product};
use stereotax_base::stats::summary::check_finite;

/// Most alternations of state and input rotations.
const ROUNDS: usize = 500;

/// Whether inputs are the same variables in both systems.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Inputs {
    /// Column by column the same (default).
    #[default]
    Same,
    /// Known up to an orthogonal change of coordinates.
    Rotated,
}

/// A system with inputs.
#[derive(Debug, Clone)]
pub struct InputSystem {
    /// A, r × r.
    pub state: Mat<f64>,
    /// B, r × inputs.
    pub input: Mat<f64>,
}

/// An angle in radians, [0, π], and a Frobenius norm.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Apart {
    /// NaN where one side is 0.
    pub angle: f64,
    /// Not squared.
    pub euclidean: f64,
}

/// How two systems with inputs differ.
#[derive(Debug, Clone)]
pub struct InputAlignment {
    /// Of what inputs reach.
    pub joint: Apart,
    /// Of the state matrices under the joint rotation.
    pub state: Apart,
    /// Of the input matrices under the joint rotation.
    pub input: Apart,
    /// Of the state matrices under their own best rotation.
    pub state_alone: Alignment,
    /// Of the input matrices under their own best rotation.
    pub input_alone: Apart,
    /// C, r × r.
    pub rotation: Mat<f64>,
    /// The rotation of inputs (the identity for [`Inputs::Same`]).
    pub input_rotation: Mat<f64>,
}

/// Compare two systems. `n_powers`: blocks AᵏB with k = 0 … n_powers − 1 (none: as many as states).
///
/// Errors: shapes that do not belong together, other numbers of inputs, no power, values that are not finite.
pub fn input_align(
    first: &InputSystem,
    second: &InputSystem,
    inputs: Inputs,
    n_powers: Option<usize>,
    params: &AlignmentParams,
    monitor: &Monitor<'_>,
) -> Result<InputAlignment> {
    for (name, system) in [("first", first), ("second", second)] {
        let n = system.state.nrows();
        if n == 0 || system.state.ncols() != n || system.input.nrows() != n || system.input.ncols() == 0 {
            let (a, b) = (&system.state, &system.input);
            return Err(Error::Shape {
                what: format!("{name} system"),
                expected: "a square state matrix, and as many rows of inputs".into(),
                found: format!("{} × {} and {} × {}", a.nrows(), a.ncols(), b.nrows(), b.ncols()),
                hint: "states move by A (r × r), inputs enter by B (r × inputs)".into(),
            });
        }
        check_finite(&format!("{name} state matrix"), system.state.as_ref())?;
        check_finite(&format!("{name} input matrix"), system.input.as_ref())?;
    }
    if first.input.ncols() != second.input.ncols() || n_powers == Some(0) {
        return Err(Error::Shape {
            what: "inputs".into(),
            expected: format!(
                "{} inputs (as in the first system), and 1 power at least",
                first.input.ncols()
            ),
            found: format!("{} inputs, {n_powers:?} powers", second.input.ncols()),
            hint: "drive both systems with the same variables".into(),
        });
    }
    let n = first.state.nrows().max(second.state.nrows());
    let pad = |m: &Mat<f64>, columns: usize| {
        let at = |i: usize, j: usize| if i < m.nrows() && j < m.ncols() { m[(i, j)] } else { 0.0 };
        Mat::from_fn(n, columns, at)
    };
    let m = first.input.ncols();
    let (a1, a2) = (pad(&first.state, n), pad(&second.state, n));
    let (b1, b2) = (pad(&first.input, m), pad(&second.input, m));
    let n_powers = n_powers.unwrap_or(n);
    let (k1, k2) = (reached(&a1, &b1, n_powers), reached(&a2, &b2, n_powers));
    let (rotation, input_rotation) = best(&k1, &k2, m, inputs)?;
    let (own, own_inputs) = best(std::slice::from_ref(&b1), std::slice::from_ref(&b2), m, inputs)?;
    let moved = |c: &Mat<f64>, u: &Mat<f64>, x: &Mat<f64>| {
        product(product(c.as_ref(), x.as_ref()).as_ref(), u.transpose())
    };
    let all = |blocks: &[Mat<f64>]| Mat::from_fn(n, m * blocks.len(), |i, j| blocks[j / m][(i, j % m)]);
    let turned: Vec<Mat<f64>> = k2.iter().map(|x| moved(&rotation, &input_rotation, x)).collect();
    let state = product(product(rotation.as_ref(), a2.as_ref()).as_ref(), rotation.transpose());
    Ok(InputAlignment {
        joint: apart(all(&k1).as_ref(), all(&turned).as_ref()),
        state: apart(a1.as_ref(), state.as_ref()),
        input: apart(b1.as_ref(), moved(&rotation, &input_rotation, &b2).as_ref()),
        state_alone: align(a1.as_ref(), a2.as_ref(), params, monitor)?,
        input_alone: apart(b1.as_ref(), moved(&own, &own_inputs, &b2).as_ref()),
        rotation,
        input_rotation,
    })
}

/// The angle and the distance between two matrices; the angle from their chord, to keep digits near 0.
fn apart(x: MatRef<f64>, y: MatRef<f64>) -> Apart {
    let (nx, ny) = (x.norm_l2(), y.norm_l2());
    let chord = (x * faer::Scale(1.0 / nx) - y * faer::Scale(1.0 / ny)).norm_l2();
    Apart {
        angle: if nx > 0.0 && ny > 0.0 { 2.0 * (0.5 * chord).min(1.0).asin() } else { f64::NAN },
        euclidean: (x - y).norm_l2(),
    }
}

/// B, AB, AᵀB, A²B, …
fn reached(a: &Mat<f64>, b: &Mat<f64>, n_powers: usize) -> Vec<Mat<f64>> {
    let mut blocks = vec![b.clone()];
    let (mut forwards, mut backwards) = (b.clone(), b.clone());
    for _ in 1..n_powers {
        forwards = product(a.as_ref(), forwards.as_ref());
        backwards = cross(a.as_ref(), backwards.as_ref());
        blocks.extend([forwards.clone(), backwards.clone()]);
    }
    blocks
}

/// C, and U where inputs may turn, of the least Σ ‖X_k − C Y_k Uᵀ‖².
fn best(x: &[Mat<f64>], y: &[Mat<f64>], n_inputs: usize, inputs: Inputs) -> Result<(Mat<f64>, Mat<f64>)> {
    let n = x[0].nrows();
    let mut u = Mat::<f64>::identity(n_inputs, n_inputs);
    let rotation = |u: &Mat<f64>| -> Result<Mat<f64>> {
        let mut sum = Mat::<f64>::zeros(n, n);
        for (x, y) in x.iter().zip(y) {
            sum += product(product(x.as_ref(), u.as_ref()).as_ref(), y.transpose());
        }
        orthogonal_factor(sum.as_ref())
    };
    if inputs == Inputs::Rotated {
        // Begin where the inputs' own Gram matrices agree, up to signs.
        let gram = |blocks: &[Mat<f64>]| {
            let mut sum = Mat::<f64>::zeros(n_inputs, n_inputs);
            blocks.iter().for_each(|b| sum += cross(b.as_ref(), b.as_ref()));
            sum
        };
        let (p, q) = (
            stereotax_base::linalg::eigh(gram(x).as_ref())?,
            stereotax_base::linalg::eigh(gram(y).as_ref())?,
        );
        let mut found: Option<(f64, Mat<f64>, Mat<f64>)> = None;
        // Every choice of signs of up to 6 leading inputs, each followed by alternation.
        let n_signs = n_inputs.min(6);
        for signs in 0..1usize << n_signs.saturating_sub(1) {
            let sign = |k: usize| if k < n_signs && signs >> k & 1 == 1 { -1.0 } else { 1.0 };
            let left = Mat::from_fn(n_inputs, n_inputs, |i, k| p.vectors[(i, k)] * sign(k));
            u = product(left.as_ref(), q.vectors.transpose());
            let mut value = f64::NEG_INFINITY;
            let mut c = rotation(&u)?;
            for _ in 0..ROUNDS {
                let mut sum = Mat::<f64>::zeros(n_inputs, n_inputs);
                for (x, y) in x.iter().zip(y) {
                    sum += cross(x.as_ref(), product(c.as_ref(), y.as_ref()).as_ref());
                }
                u = orthogonal_factor(sum.as_ref())?;
                c = rotation(&u)?;
                let now: f64 =
                    (0..n_inputs).map(|i| (0..n_inputs).map(|j| sum[(i, j)] * u[(i, j)]).sum::<f64>()).sum();
                if now - value <= 1e-14 * now.abs() {
                    break;
                }
                value = now;
            }
            if found.as_ref().is_none_or(|(best, _, _)| value > *best) {
                found = Some((value, c, u.clone()));
            }
        }
        if let Some((_, c, u)) = found {
            return Ok((c, u));
        }
    }
    Ok((rotation(&u)?, u))
}

#[cfg(test)]
mod tests {
    use super::super::starts::haar;
    use super::*;
    use stereotax_base::stats::rng::Stream;

    fn system(n: usize, m: usize, index: u64) -> InputSystem {
        let mut stream = Stream::new(2, "input systems", index);
        InputSystem {
            state: Mat::from_fn(n, n, |_, _| 0.3 * stream.normal()),
            input: Mat::from_fn(n, m, |_, _| stream.normal()),
        }
    }

    fn turned(s: &InputSystem, q: &Mat<f64>, u: &Mat<f64>) -> InputSystem {
        InputSystem {
            state: product(product(q.as_ref(), s.state.as_ref()).as_ref(), q.transpose()),
            input: product(product(q.as_ref(), s.input.as_ref()).as_ref(), u.transpose()),
        }
    }

    fn compare(x: &InputSystem, y: &InputSystem, inputs: Inputs) -> InputAlignment {
        input_align(x, y, inputs, None, &AlignmentParams::default(), &Monitor::silent()).unwrap()
    }

    #[test]
    fn turned_systems_are_the_same_and_inputs_count_only_in_their_own_part() {
        let s = system(6, 2, 0);
        let (q, same) = (haar(6, false, 1, 0), Mat::<f64>::identity(2, 2));
        let found = compare(&s, &turned(&s, &q, &same), Inputs::Same);
        for apart in [found.joint, found.state, found.input, found.input_alone] {
            assert!(apart.angle < 1e-7 && apart.euclidean < 1e-7, "{apart:?}");
        }
        assert!(found.state_alone.angle < 1e-8);
        // Other inputs, the same dynamics.
        let other = InputSystem { input: system(6, 2, 9).input, ..s.clone() };
        let found = compare(&s, &other, Inputs::Same);
        assert!(found.state_alone.angle < 1e-8 && found.input_alone.angle > 0.05 && found.joint.angle > 0.1);
    }

    #[test]
    fn one_state_by_hand() {
        // A = 0.5 and 0.5, B = 1 and −2: C = −1. K = [1, .5, .5] with two powers; the angle is 0.
        let one = |a: f64, b: f64| InputSystem { state: Mat::full(1, 1, a), input: Mat::full(1, 1, b) };
        let found = input_align(
            &one(0.5, 1.0),
            &one(0.5, -2.0),
            Inputs::Same,
            Some(2),
            &AlignmentParams::default(),
            &Monitor::silent(),
        )
        .unwrap();
        assert_eq!((found.rotation[(0, 0)], found.input.euclidean, found.state.euclidean), (-1.0, 1.0, 0.0));
        assert!(found.joint.angle < 1e-15 && (found.joint.euclidean - 1.5f64.sqrt()).abs() < 1e-15);
    }

    #[test]
    fn inputs_in_other_coordinates_are_turned_back_where_that_is_allowed() {
        let s = system(7, 3, 3);
        let t = turned(&s, &haar(7, true, 4, 0), &haar(3, false, 4, 1));
        assert!(compare(&s, &t, Inputs::Rotated).joint.angle < 1e-6);
        assert!(compare(&s, &t, Inputs::Same).joint.angle > 0.1);
        let fewer = system(7, 2, 0);
        let refused =
            input_align(&s, &fewer, Inputs::Same, None, &AlignmentParams::default(), &Monitor::silent());
        assert!(refused.unwrap_err().to_string().contains("same variables"));
    }
}
