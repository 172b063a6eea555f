//! Bring the layers of one model into the states that a fold's trajectories run through: centred and
//! scaled by its training rows, in common coordinates.
//!
//! ```text
//! shared layers   x_l(t) = (h_l(t) − mean_l) / rms_l        mean and RMS over the training rows
//! joint           more than `max_width` units: x_l(t) V, V the leading directions of
//!                 C = Σ_l Σ_{t ∈ train} x_l(t)ᵀ x_l(t), one V for all layers
//! mapped          a layer map, aligned along the order asked for
//! ```
//!
//! Up to 1024 units C is formed outright (T·L·K² flops). Above, V comes from a seeded random range finder
//! with two power iterations (Halko, Martinsson & Tropp 2011), so that no K × K matrix is formed: 4 passes
//! of 4·T·L·K·max_width flops, memory 8 matrices of K × max_width. Sources: specs nfas-dmd 3.3, 3.4, 5.1,
//! 5.7.

use std::ops::Range;

use faer::{Mat, MatRef};
use rayon::prelude::*;

use super::depth::{DepthParams, MappedState, StateKind, Trajectory, state_kind};
use super::views::{Reordered, UnitSamples};
use crate::data::{Error, LayerArrays, Monitor, Result, TileSource};
use crate::dynamics::layer_map::ReducedLayers;
use crate::dynamics::per_sample::{PerSampleDmd, per_sample_dmd};
use crate::dynamics::pooled::{PooledMoments, PooledSpectrum, pooled_dmd};
use crate::dynamics::reduce::LayerTransform;
use crate::dynamics::{Amplitude, Centring, DepthDmdParams, Scaling};
use crate::linalg::{add_gram, add_product, cross, eigh, mirror_lower, product, select_rows, thin_qr};
use crate::stats::rng::Stream;

/// Samples per tile.
const TILE: usize = 256;
/// Parts of the samples whose sums are added up in order.
const PARTS: usize = 8;
/// Up to this many units their covariance is formed outright.
const OUTRIGHT: usize = 1024;
/// Directions beyond those wanted that the range finder draws.
const OVERSAMPLING: usize = 10;

/// The states of one model under the training rows of one fold.
pub(super) struct States<'a> {
    source: Source<'a>,
    train: &'a [usize],
    kind: Kind,
    /// What a reader must know of the state itself.
    pub(super) warnings: Vec<String>,
}

/// The layers as they are, or with samples of unit length.
enum Source<'a> {
    Plain(&'a dyn TileSource),
    Unit(UnitSamples<'a>),
}

impl Source<'_> {
    fn get(&self) -> &dyn TileSource {
        match self {
            Source::Plain(source) => *source,
            Source::Unit(source) => source,
        }
    }
}

enum Kind {
    /// Transformed while they are read.
    Read { means: Option<Vec<Vec<f64>>>, rms: Vec<f64> },
    /// In memory, all rows, in common coordinates.
    Held { layers: Vec<Mat<f64>>, own_coordinates: bool },
    /// In memory, to be aligned along an order.
    Mapped(ReducedLayers),
}

impl<'a> States<'a> {
    /// Fit centring, scale and common coordinates on the rows `train`.
    ///
    /// Errors: kernels (they have no single samples), a layer that is constant over the training rows,
    /// values that are not finite, those of the layer map.
    pub(super) fn fit(
        source: &'a dyn TileSource,
        train: &'a [usize],
        params: &DepthParams,
        monitor: &Monitor,
    ) -> Result<Self> {
        let kind = state_kind(source, params);
        let source = match params.scaling {
            Scaling::UnitSample if kind == StateKind::Shared => Source::Unit(UnitSamples(source)),
            _ => Source::Plain(source),
        };
        let mut warnings = Vec::new();
        let kind = match kind {
            StateKind::Kernel => return Err(no_single_samples()),
            StateKind::Mapped => match MappedState::fit(source.get(), train, params, monitor)? {
                MappedState::Layers(layers) => Kind::Mapped(layers),
                MappedState::Kernels(_) => return Err(no_single_samples()),
            },
            StateKind::Shared => {
                let (means, rms) = training_transform(source.get(), train, params, monitor)?;
                if params.trajectory == Trajectory::Pooled {
                    hold(source.get(), train, means, rms, params, &mut warnings, monitor)?
                } else {
                    Kind::Read { means, rms }
                }
            }
        };
        Ok(States { source, train, kind, warnings })
    }

    /// Whether representations of other folds are in other coordinates.
    pub(super) fn has_own_coordinates(&self) -> bool {
        match &self.kind {
            Kind::Read { .. } => false,
            Kind::Held { own_coordinates, .. } => *own_coordinates,
            Kind::Mapped(_) => true,
        }
    }

    /// Fit every sample's own trajectory, with the layers in this order.
    pub(super) fn per_sample(
        &self,
        order: &[usize],
        params: &DepthDmdParams,
        monitor: &Monitor,
    ) -> Result<PerSampleDmd> {
        if let Kind::Read { means, rms } = &self.kind {
            let source = Reordered::new(self.source.get(), order);
            let means: Option<Vec<Vec<f64>>> =
                means.as_ref().map(|means| order.iter().map(|&l| means[l].clone()).collect());
            let rms: Vec<f64> = order.iter().map(|&l| rms[l]).collect();
            let transform = LayerTransform { means: means.as_deref(), rms: &rms };
            return per_sample_dmd(&source, transform, params, monitor);
        }
        self.with_layers(order, |layers| {
            let names: Vec<String> =
                order.iter().map(|&l| self.source.get().layers()[l].name.clone()).collect();
            let source = LayerArrays::new(&names, layers.to_vec())?;
            let rms = vec![1.0; layers.len()];
            per_sample_dmd(&source, LayerTransform { means: None, rms: &rms }, params, monitor)
        })
    }

    /// Fit one operator to all training samples, with the layers in this order, and form the stable
    /// representation of all rows: Π·mean_l h_l(t), or Π·h_0(t) where amplitudes are of the first layer.
    pub(super) fn pooled(
        &self,
        order: &[usize],
        params: &DepthDmdParams,
        monitor: &Monitor,
    ) -> Result<(PooledSpectrum, Mat<f64>)> {
        self.with_layers(order, |layers| {
            let mut moments = PooledMoments::new(layers.first().map_or(0, |h| h.ncols()));
            for rows in self.train.chunks(TILE) {
                monitor.check()?;
                let tile: Vec<Mat<f64>> = layers.iter().map(|h| select_rows(*h, rows)).collect();
                moments.add(&tile.iter().map(Mat::as_ref).collect::<Vec<_>>())?;
            }
            let spectrum = pooled_dmd(&moments, layers.len(), params)?;
            let stable = match params.amplitude {
                Amplitude::Optimal => spectrum.represent(layers)?,
                Amplitude::First => spectrum.project(layers[0])?,
                other => {
                    return Err(Error::Invalid {
                        what: "amplitude".into(),
                        expected: "optimal (the mean over layers) or first for the pooled trajectory".into(),
                        found: format!("{other:?}"),
                        hint: "the projector itself sets the size; leave the amplitude out".into(),
                    });
                }
            };
            Ok((spectrum, stable))
        })
    }

    /// Gram matrix of mapped layers along an order, over the rows `train`.
    pub(super) fn gram(&self, order: &[usize], train: &[usize]) -> Result<Mat<f64>> {
        self.with_layers(order, |layers| {
            let inner = |a: MatRef<'_, f64>, b: MatRef<'_, f64>| -> f64 {
                (0..a.ncols()).map(|j| train.iter().map(|&i| a[(i, j)] * b[(i, j)]).sum::<f64>()).sum()
            };
            let n_layers = layers.len();
            let mut gram = Mat::zeros(n_layers, n_layers);
            for l in 0..n_layers {
                for m in 0..=l {
                    gram[(l, m)] = inner(layers[l], layers[m]);
                    gram[(m, l)] = gram[(l, m)];
                }
            }
            Ok(gram)
        })
    }

    fn with_layers<T>(
        &self,
        order: &[usize],
        then: impl FnOnce(&[MatRef<'_, f64>]) -> Result<T>,
    ) -> Result<T> {
        match &self.kind {
            Kind::Held { layers, .. } => then(&order.iter().map(|&l| layers[l].as_ref()).collect::<Vec<_>>()),
            Kind::Mapped(reduced) => {
                let aligned = reduced.align(order)?;
                then(&aligned.layers.iter().map(Mat::as_ref).collect::<Vec<_>>())
            }
            Kind::Read { .. } => Err(Error::Invalid {
                what: "trajectory".into(),
                expected: "states in memory for one operator of all samples".into(),
                found: "states that are read".into(),
                hint: "set the trajectory to pooled before fitting the states".into(),
            }),
        }
    }
}

fn no_single_samples() -> Error {
    Error::Invalid {
        what: "layer_map".into(),
        expected: "identity, procrustes, pca or random_projection for trajectories of samples".into(),
        found: "kernel".into(),
        hint: "kernels of layers have no single samples; use the stacked trajectory".into(),
    }
}

/// Means of units (where layers are centred) and the divisor of every layer, over the rows `train`.
fn training_transform(
    source: &dyn TileSource,
    train: &[usize],
    params: &DepthParams,
    monitor: &Monitor,
) -> Result<(Option<Vec<Vec<f64>>>, Vec<f64>)> {
    let inside = membership(source.n_samples(), train);
    let n = train.len() as f64;
    let fitted: Vec<(Vec<f64>, f64)> = (0..source.layers().len())
        .into_par_iter()
        .map(|layer| {
            let width = source.layers()[layer].width;
            let mut means = vec![0.0; width];
            if params.centring == Centring::Stimuli {
                each_training_row(source, layer, &inside, monitor, |row| {
                    means.iter_mut().zip(row).for_each(|(sum, x)| *sum += x);
                })?;
                means.iter_mut().for_each(|m| *m /= n);
            }
            let mut square = 0.0;
            each_training_row(source, layer, &inside, monitor, |row| {
                square += row.iter().zip(&means).map(|(x, m)| (x - m) * (x - m)).sum::<f64>();
            })?;
            if !(square > 0.0) {
                return Err(Error::ZeroVariance {
                    what: source.layers()[layer].name.clone(),
                    detail: format!("it is constant over {n} samples"),
                    hint: "leave the layer out, or check that it was tapped where activations vary".into(),
                });
            }
            let rms =
                if params.scaling == Scaling::Frobenius { (square / (n * width as f64)).sqrt() } else { 1.0 };
            Ok((means, rms))
        })
        .collect::<Result<_>>()?;
    let (means, rms): (Vec<Vec<f64>>, Vec<f64>) = fitted.into_iter().unzip();
    Ok(((params.centring == Centring::Stimuli).then_some(means), rms))
}

fn membership(n: usize, rows: &[usize]) -> Vec<bool> {
    let mut inside = vec![false; n];
    rows.iter().for_each(|&row| inside[row] = true);
    inside
}

fn each_training_row(
    source: &dyn TileSource,
    layer: usize,
    inside: &[bool],
    monitor: &Monitor,
    mut then: impl FnMut(&[f64]),
) -> Result<()> {
    let width = source.layers()[layer].width.max(1);
    for from in (0..inside.len()).step_by(TILE) {
        monitor.check()?;
        let to = (from + TILE).min(inside.len());
        let mut tile = vec![0.0; (to - from) * width];
        source.read_rows(layer, from..to, &mut tile)?;
        for (row, _) in tile.chunks_exact(width).zip(&inside[from..to]).filter(|(_, inside)| **inside) {
            then(row);
        }
    }
    Ok(())
}

/// A layer's rows, centred and scaled (rows × K).
fn read_states(
    source: &dyn TileSource,
    layer: usize,
    rows: Range<usize>,
    means: Option<&[Vec<f64>]>,
    rms: f64,
) -> Result<Mat<f64>> {
    let width = source.layers()[layer].width;
    let mut tile = vec![0.0; rows.len() * width];
    source.read_rows(layer, rows.clone(), &mut tile)?;
    let mean = |j: usize| means.map_or(0.0, |m| m[layer][j]);
    Ok(Mat::from_fn(rows.len(), width, |i, j| (tile[i * width + j] - mean(j)) / rms))
}

/// All layers in memory in common coordinates: as they are, or in joint principal components.
fn hold(
    source: &dyn TileSource,
    train: &[usize],
    means: Option<Vec<Vec<f64>>>,
    rms: Vec<f64>,
    params: &DepthParams,
    warnings: &mut Vec<String>,
    monitor: &Monitor,
) -> Result<Kind> {
    let (n, width) = (source.n_samples(), source.layers()[0].width);
    let read =
        |layer: usize, rows: Range<usize>| read_states(source, layer, rows, means.as_deref(), rms[layer]);
    let most = params.layer_map.max_width.max(1);
    let basis = if width > most {
        let inside = membership(n, train);
        let (n_layers, outright) = (source.layers().len(), width <= OUTRIGHT);
        let (basis, share) =
            joint_directions(&read, n_layers, width, &inside, most, outright, params.seed, monitor)?;
        warnings.push(format!(
            "{width} units were brought to {most} joint principal components of all layers (max_width), which hold {:.1} % of their variance",
            100.0 * share
        ));
        Some(basis)
    } else {
        None
    };
    let layers = (0..source.layers().len())
        .into_par_iter()
        .map(|layer| {
            let mut out = Mat::<f64>::zeros(n, basis.as_ref().map_or(width, Mat::ncols));
            for from in (0..n).step_by(TILE) {
                monitor.check()?;
                let rows = from..(from + TILE).min(n);
                let tile = read(layer, rows.clone())?;
                let tile = match &basis {
                    Some(basis) => product(tile.as_ref(), basis.as_ref()),
                    None => tile,
                };
                out.subrows_mut(from, rows.len()).copy_from(&tile);
            }
            Ok(out)
        })
        .collect::<Result<_>>()?;
    Ok(Kind::Held { layers, own_coordinates: basis.is_some() })
}

/// The leading `wanted` directions of Σ_l Σ_t x_l(t)ᵀ x_l(t) over the training rows (K × wanted), and
/// the share of its trace that they hold.
fn joint_directions(
    read: &(dyn Fn(usize, Range<usize>) -> Result<Mat<f64>> + Sync),
    n_layers: usize,
    width: usize,
    inside: &[bool],
    wanted: usize,
    outright: bool,
    seed: u64,
    monitor: &Monitor,
) -> Result<(Mat<f64>, f64)> {
    let n = inside.len();
    // Σ over tiles of the training rows, by parts of fixed size that are added up in order.
    let sum = |columns: usize, add: &(dyn Fn(MatRef<'_, f64>, &mut Mat<f64>) + Sync)| -> Result<Mat<f64>> {
        let parts: Vec<Mat<f64>> = (0..PARTS)
            .into_par_iter()
            .map(|part| {
                let mut sum = Mat::<f64>::zeros(width, columns);
                let (start, end) = (part * n / PARTS, (part + 1) * n / PARTS);
                for from in (start..end).step_by(TILE) {
                    monitor.check()?;
                    let to = (from + TILE).min(end);
                    let rows: Vec<usize> = (from..to).filter(|&i| inside[i]).map(|i| i - from).collect();
                    for layer in 0..n_layers {
                        let tile = select_rows(read(layer, from..to)?.as_ref(), &rows);
                        add(tile.as_ref(), &mut sum);
                    }
                }
                Ok(sum)
            })
            .collect::<Result<_>>()?;
        Ok(parts.iter().fold(Mat::zeros(width, columns), |total, part| total + part))
    };
    let leading = |symmetric: &Mat<f64>| -> Result<(Mat<f64>, f64)> {
        let decomposed = eigh(symmetric.as_ref())?;
        let held = decomposed.values[..wanted].iter().sum();
        Ok((decomposed.vectors.get(.., ..wanted).to_owned(), held))
    };
    if outright {
        let mut covariance = sum(width, &|tile, sum| add_gram(sum.as_mut(), tile))?;
        mirror_lower(covariance.as_mut());
        let trace: f64 = (0..width).map(|j| covariance[(j, j)]).sum();
        let (basis, held) = leading(&covariance)?;
        return Ok((basis, held / trace));
    }
    let apply = |q: &Mat<f64>| {
        sum(q.ncols(), &|tile, sum| {
            let along = product(tile, q.as_ref());
            add_product(sum.as_mut(), tile.transpose(), along.as_ref(), 1.0);
        })
    };
    let mut stream = Stream::new(seed, "joint components", 0);
    let drawn = (wanted + OVERSAMPLING).min(width);
    let start = Mat::from_fn(width, drawn, |_, _| stream.normal());
    let mut q = thin_qr(apply(&start)?.as_ref()).0;
    for _ in 0..2 {
        q = thin_qr(apply(&q)?.as_ref()).0;
    }
    let inner = cross(q.as_ref(), apply(&q)?.as_ref());
    let symmetric = Mat::from_fn(drawn, drawn, |i, j| 0.5 * (inner[(i, j)] + inner[(j, i)]));
    let (directions, held) = leading(&symmetric)?;
    let squares = sum(1, &|tile, sum| sum[(0, 0)] += tile.squared_norm_l2())?;
    Ok((product(q.as_ref(), directions.as_ref()), held / squares[(0, 0)]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_routes_find_the_same_directions() {
        // 3 layers of 90 samples with 30 units; five strong directions and a weak rest.
        let mut stream = Stream::new(23, "states tests", 0);
        let mixing = Mat::from_fn(5, 30, |_, _| stream.normal());
        let layers: Vec<Mat<f64>> = (0..3)
            .map(|_| {
                let z = Mat::from_fn(90, 5, |_, k| (5.0 - k as f64) * stream.normal());
                let rest = Mat::from_fn(90, 30, |_, _| 0.01 * stream.normal());
                product(z.as_ref(), mixing.as_ref()) + rest
            })
            .collect();
        let inside: Vec<bool> = (0..90).map(|i| i % 3 != 0).collect();
        let read =
            |layer: usize, rows: Range<usize>| Ok(layers[layer].subrows(rows.start, rows.len()).to_owned());
        let run = |outright: bool, wanted: usize| {
            let monitor = Monitor::silent();
            joint_directions(&read, 3, 30, &inside, wanted, outright, 7, &monitor).unwrap()
        };
        let (exact, share) = run(true, 5);
        let (drawn, drawn_share) = run(false, 5);
        // Cosines of the angles between the two subspaces are all 1.
        let angles = crate::linalg::svd(cross(exact.as_ref(), drawn.as_ref()).as_ref()).unwrap().s;
        assert!(angles.iter().all(|s| (s - 1.0).abs() < 1e-9), "{angles:?}");
        assert!((share - drawn_share).abs() < 1e-9 && share > 0.999 && share < 1.0);
        // The share by hand: what the training rows keep along the directions.
        let (mut kept, mut whole) = (0.0, 0.0);
        for h in &layers {
            let rows: Vec<usize> = (0..90).filter(|i| i % 3 != 0).collect();
            let h = select_rows(h.as_ref(), &rows);
            kept += product(h.as_ref(), exact.as_ref()).squared_norm_l2();
            whole += h.squared_norm_l2();
        }
        assert!((share - kept / whole).abs() < 1e-12);
    }
}
