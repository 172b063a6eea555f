//! Differentiate encoders in closed form: multilayer perceptrons with skips, and RBF kernel ridge.
//!
//! A perceptron takes rows h_0 = x and forms, layer by layer, z_l = h_{l−1} W_l + b_l and h_l = φ_l(z_l), plus
//! h_{l−1} where the layer is skipped as well. With slopes s_l = φ_l′(z_l),
//!
//! ```text
//! J = ∂f/∂x = Π_l (W_l diag(s_l) + [skip_l] I)                            D × M, products in layer order
//! ```
//!
//! from the side of the fewer of D and M. Kernel ridge f(x) = Σ_i k(x, x_i) a_i with
//! k(x, x_i) = exp(−‖x − x_i‖²/(2ℓ²)) has
//!
//! ```text
//! J = Σ_i k(x, x_i) (x_i − x) a_iᵀ / ℓ² = (Xᵀ diag(k) A − x kᵀA) / ℓ²
//! ```
//!
//! Weights are inputs × outputs, as samples are rows (PyTorch keeps their transpose); scikit-learn's
//! `gamma` is 1/(2ℓ²). A ReLU has slope 0 at 0.
//!
//! Source: specs: alignment-methods B4. Cost per sample: O(min(D, M) Σ_l h_{l−1} h_l), or O(n D M).

use faer::{Mat, MatMut, MatRef};

use super::reduce::check_finite;
use stereotax_base::data::{Error, Result};
use stereotax_base::linalg::product;
use stereotax_base::stats::summary::normal_cdf;

/// What a unit does to its input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// z
    Identity,
    /// max(z, 0)
    Relu,
    /// tanh z
    Tanh,
    /// 1/(1 + e^−z)
    Sigmoid,
    /// ln(1 + e^z)
    Softplus,
    /// z, or e^z − 1 below 0
    Elu,
    /// z Φ(z), exact
    Gelu,
    /// z/(1 + e^−z)
    Silu,
}

impl Activation {
    /// φ(z) and φ′(z).
    pub fn with_slope(self, z: f64) -> (f64, f64) {
        let sigmoid = |z: f64| 1.0 / (1.0 + (-z).exp());
        match self {
            Activation::Identity => (z, 1.0),
            Activation::Relu => (z.max(0.0), if z > 0.0 { 1.0 } else { 0.0 }),
            Activation::Tanh => (z.tanh(), 1.0 - z.tanh().powi(2)),
            Activation::Sigmoid => (sigmoid(z), sigmoid(z) * sigmoid(-z)),
            Activation::Softplus => (z.max(0.0) + (-z.abs()).exp().ln_1p(), sigmoid(z)),
            Activation::Elu => (if z > 0.0 { z } else { z.exp_m1() }, z.min(0.0).exp()),
            Activation::Gelu => {
                let density = (-0.5 * z * z).exp() / (2.0 * std::f64::consts::PI).sqrt();
                (z * normal_cdf(z), normal_cdf(z) + z * density)
            }
            Activation::Silu => (z * sigmoid(z), sigmoid(z) * (1.0 + z * sigmoid(-z))),
        }
    }
}

/// One fully connected layer.
#[derive(Debug, Clone)]
pub struct DenseLayer {
    /// Inputs × outputs.
    pub weights: Mat<f64>,
    /// One per output, or empty for none.
    pub bias: Vec<f64>,
    /// Applied to each output.
    pub activation: Activation,
    /// Whether the input is added to the output.
    pub skip: bool,
}

/// A perceptron at given samples.
#[derive(Debug)]
pub struct MlpJacobians {
    layers: Vec<DenseLayer>,
    /// Slopes of each layer, outputs × samples.
    slopes: Vec<Mat<f64>>,
    /// What the perceptron says, samples × targets.
    pub predicted: Mat<f64>,
}

impl MlpJacobians {
    /// Pass the rows of `x` (n × D) through the layers.
    ///
    /// Errors: no layers, widths that do not follow one another, a skip between different widths, values that
    /// are not finite.
    pub fn new(layers: Vec<DenseLayer>, x: MatRef<f64>) -> Result<Self> {
        check_finite(x, "X")?;
        check_layers(&layers, x.ncols())?;
        let mut hidden = x.to_owned();
        let mut slopes = Vec::new();
        for layer in &layers {
            let mut out = product(hidden.as_ref(), layer.weights.as_ref());
            let mut slope = Mat::zeros(out.ncols(), out.nrows());
            for j in 0..out.ncols() {
                for i in 0..out.nrows() {
                    let z = out[(i, j)] + layer.bias.get(j).copied().unwrap_or(0.0);
                    (out[(i, j)], slope[(j, i)]) = layer.activation.with_slope(z);
                }
            }
            hidden = if layer.skip { out + hidden } else { out };
            slopes.push(slope);
        }
        Ok(MlpJacobians { layers, slopes, predicted: hidden })
    }

    /// (samples, features, targets).
    pub fn size(&self) -> (usize, usize, usize) {
        let n_features = self.layers.first().map_or(0, |layer| layer.weights.nrows());
        (self.predicted.nrows(), n_features, self.predicted.ncols())
    }

    /// Write the Jacobian at sample i (features × targets).
    pub fn write(&self, i: usize, mut out: MatMut<f64>) {
        let (_, n_features, n_targets) = self.size();
        let mut steps = self.layers.iter().zip(&self.slopes);
        let found = if n_targets <= n_features {
            let first = steps.next_back().map(|(layer, slopes)| own(layer, slopes.col_as_slice(i)));
            steps.rev().fold(first, |rest, (layer, slopes)| {
                rest.map(|rest| {
                    let mut scaled = rest.clone();
                    scale_rows(&mut scaled, slopes.col_as_slice(i));
                    let passed = product(layer.weights.as_ref(), scaled.as_ref());
                    if layer.skip { passed + rest } else { passed }
                })
            })
        } else {
            let first = steps.next().map(|(layer, slopes)| own(layer, slopes.col_as_slice(i)));
            steps.fold(first, |before, (layer, slopes)| {
                before.map(|before| {
                    let mut passed = product(before.as_ref(), layer.weights.as_ref());
                    scale_columns(&mut passed, slopes.col_as_slice(i));
                    if layer.skip { passed + before } else { passed }
                })
            })
        };
        if let Some(found) = found {
            out.copy_from(found);
        }
    }
}

/// W diag(s) + [skip] I.
fn own(layer: &DenseLayer, slopes: &[f64]) -> Mat<f64> {
    let mut map = layer.weights.clone();
    scale_columns(&mut map, slopes);
    if layer.skip {
        (0..map.nrows()).for_each(|d| map[(d, d)] += 1.0);
    }
    map
}

fn scale_columns(a: &mut Mat<f64>, by: &[f64]) {
    for j in 0..a.ncols() {
        a.col_as_slice_mut(j).iter_mut().for_each(|v| *v *= by[j]);
    }
}

fn scale_rows(a: &mut Mat<f64>, by: &[f64]) {
    for j in 0..a.ncols() {
        a.col_as_slice_mut(j).iter_mut().zip(by).for_each(|(v, by)| *v *= by);
    }
}

fn check_layers(layers: &[DenseLayer], n_features: usize) -> Result<()> {
    let mut width = n_features;
    for (l, layer) in layers.iter().enumerate() {
        check_finite(layer.weights.as_ref(), &format!("weights of layer {l}"))?;
        let (inputs, outputs) = (layer.weights.nrows(), layer.weights.ncols());
        let refuse = |what: String, expected: String, found: String| {
            let hint = "weights are inputs × outputs: transpose those of PyTorch".into();
            Err(Error::Shape { what, expected, found, hint })
        };
        if inputs != width {
            let found = format!("{inputs} rows");
            return refuse(format!("weights of layer {l}"), format!("{width} rows (its inputs)"), found);
        }
        if !layer.bias.is_empty() && layer.bias.len() != outputs {
            let found = format!("{} numbers", layer.bias.len());
            return refuse(format!("bias of layer {l}"), format!("{outputs} numbers (its outputs)"), found);
        }
        if layer.skip && inputs != outputs {
            let expected = "as many inputs as outputs (its input is added)".into();
            return refuse(format!("skipped layer {l}"), expected, format!("{inputs} and {outputs}"));
        }
        width = outputs;
    }
    if layers.is_empty() || width == 0 {
        return Err(Error::TooFew {
            what: "layers".into(),
            needed: "1 layer with 1 output".into(),
            found: format!("{} layers", layers.len()),
            hint: "pass the weights of every layer, first to last".into(),
        });
    }
    Ok(())
}

/// A kernel ridge regression with the kernel exp(−‖x − x′‖²/(2ℓ²)) at given samples.
#[derive(Debug)]
pub struct KernelJacobians<'a> {
    x: MatRef<'a, f64>,
    train: MatRef<'a, f64>,
    dual_weights: MatRef<'a, f64>,
    length_scale: f64,
}

impl<'a> KernelJacobians<'a> {
    /// `train` is n_train × D, `dual_weights` n_train × M, `x` n × D; ℓ is `length_scale`, in units of x.
    ///
    /// Errors: shapes that do not match, values that are not finite, a length scale that is not positive.
    pub fn new(
        x: MatRef<'a, f64>,
        train: MatRef<'a, f64>,
        dual_weights: MatRef<'a, f64>,
        length_scale: f64,
    ) -> Result<Self> {
        for (values, name) in [(x, "X"), (train, "train"), (dual_weights, "dual_weights")] {
            check_finite(values, name)?;
        }
        if train.ncols() != x.ncols() || dual_weights.nrows() != train.nrows() {
            return Err(Error::Shape {
                what: "train, dual_weights".into(),
                expected: format!("as many features as X ({}), and one row of weights per row", x.ncols()),
                found: format!("{} × {}, {} rows", train.nrows(), train.ncols(), dual_weights.nrows()),
                hint: "pass the samples that the regression was fitted on".into(),
            });
        }
        if !(length_scale > 0.0 && length_scale.is_finite()) {
            return Err(Error::Invalid {
                what: "length_scale".into(),
                expected: "a positive number".into(),
                found: length_scale.to_string(),
                hint: "ℓ = 1/√(2 gamma)".into(),
            });
        }
        Ok(KernelJacobians { x, train, dual_weights, length_scale })
    }

    /// (samples, features, targets).
    pub fn size(&self) -> (usize, usize, usize) {
        (self.x.nrows(), self.x.ncols(), self.dual_weights.ncols())
    }

    /// Write the Jacobian at sample i (features × targets).
    pub fn write(&self, i: usize, mut out: MatMut<f64>) {
        let (n, d) = (self.train.nrows(), self.train.ncols());
        let square = self.length_scale.powi(2);
        // (x_j − x) k(x, x_j)/ℓ²
        let mut steps = Mat::from_fn(n, d, |j, k| self.train[(j, k)] - self.x[(i, k)]);
        for j in 0..n {
            let distance: f64 = (0..d).map(|k| steps[(j, k)].powi(2)).sum();
            let weight = (-0.5 * distance / square).exp() / square;
            (0..d).for_each(|k| steps[(j, k)] *= weight);
        }
        out.copy_from(product(steps.transpose(), self.dual_weights));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stereotax_base::stats::rng::Stream;

    const ALL: [Activation; 8] = [
        Activation::Identity,
        Activation::Relu,
        Activation::Tanh,
        Activation::Sigmoid,
        Activation::Softplus,
        Activation::Elu,
        Activation::Gelu,
        Activation::Silu,
    ];

    fn noise(rows: usize, columns: usize, index: u64) -> Mat<f64> {
        let mut stream = Stream::new(1, "jacobian tests", index);
        Mat::from_fn(rows, columns, |_, _| stream.normal())
    }

    /// Central differences of a function of rows.
    fn differences(f: impl Fn(MatRef<f64>) -> Mat<f64>, x: &Mat<f64>, i: usize) -> Mat<f64> {
        let step = 1e-5;
        let moved = |d: usize, by: f64| {
            let row = Mat::from_fn(1, x.ncols(), |_, k| x[(i, k)] + if k == d { by } else { 0.0 });
            f(row.as_ref())
        };
        let parts: Vec<Mat<f64>> =
            (0..x.ncols()).map(|d| (moved(d, step) - moved(d, -step)) * faer::Scale(0.5 / step)).collect();
        Mat::from_fn(x.ncols(), parts[0].ncols(), |d, m| parts[d][(0, m)])
    }

    #[test]
    fn slopes_are_those_of_the_activations() {
        for activation in ALL {
            for z in [-30.0, -1.3, -0.2, 0.4, 2.0, 30.0] {
                let at = |z| activation.with_slope(z).0;
                let slope = (at(z + 1e-6) - at(z - 1e-6)) / 2e-6;
                assert!((activation.with_slope(z).1 - slope).abs() < 1e-8, "{activation:?} at {z}");
            }
        }
    }

    #[test]
    fn perceptrons_equal_differences_from_both_sides() {
        // Fewer targets than features, and more.
        for (widths, skips) in
            [(vec![7, 5, 5, 3], [false, true, false]), (vec![3, 3, 6, 9], [true, false, false])]
        {
            for activation in ALL {
                let layers = || -> Vec<DenseLayer> {
                    (0..3)
                        .map(|l| DenseLayer {
                            weights: noise(widths[l], widths[l + 1], l as u64) * faer::Scale(0.5),
                            bias: if l == 1 { vec![0.3; widths[2]] } else { vec![] },
                            activation,
                            skip: skips[l],
                        })
                        .collect()
                };
                let x = noise(4, widths[0], 9);
                let found = MlpJacobians::new(layers(), x.as_ref()).unwrap();
                assert_eq!(found.size(), (4, widths[0], widths[3]));
                for i in 0..4 {
                    let mut map = Mat::zeros(widths[0], widths[3]);
                    found.write(i, map.as_mut());
                    let slow = differences(|row| MlpJacobians::new(layers(), row).unwrap().predicted, &x, i);
                    assert!((map - slow).norm_max() < 1e-8, "{activation:?}, {widths:?}, sample {i}");
                }
            }
        }
    }

    #[test]
    fn kernel_ridge_equals_differences() {
        let (x, train, a) = (noise(3, 4, 1), noise(20, 4, 2), noise(20, 5, 3));
        let f = |row: MatRef<f64>| {
            let k = Mat::from_fn(1, 20, |_, j| {
                let square: f64 = (0..4).map(|d| (row[(0, d)] - train[(j, d)]).powi(2)).sum();
                (-square / (2.0 * 1.7 * 1.7)).exp()
            });
            product(k.as_ref(), a.as_ref())
        };
        let found = KernelJacobians::new(x.as_ref(), train.as_ref(), a.as_ref(), 1.7).unwrap();
        for i in 0..3 {
            let mut map = Mat::zeros(4, 5);
            found.write(i, map.as_mut());
            assert!((map - differences(f, &x, i)).norm_max() < 1e-8);
        }
    }

    #[test]
    fn layers_that_do_not_fit_are_named() {
        let layer = |inputs, outputs, bias: usize, skip| DenseLayer {
            weights: noise(inputs, outputs, 0),
            bias: vec![0.0; bias],
            activation: Activation::Relu,
            skip,
        };
        let x = noise(3, 4, 0);
        let refused = |layers| MlpJacobians::new(layers, x.as_ref()).unwrap_err().to_string();
        assert!(refused(vec![]).contains("1 layer"));
        assert!(refused(vec![layer(4, 2, 0, false), layer(3, 2, 0, false)]).contains("weights of layer 1"));
        assert!(refused(vec![layer(4, 2, 3, false)]).contains("bias of layer 0"));
        assert!(refused(vec![layer(4, 2, 0, true)]).contains("skipped layer 0"));
        let a = noise(3, 1, 0);
        assert!(KernelJacobians::new(x.as_ref(), x.as_ref(), a.as_ref(), 0.0).is_err());
        assert!(KernelJacobians::new(x.as_ref(), x.as_ref(), x.get(..2, ..), 1.0).is_err());
    }
}
