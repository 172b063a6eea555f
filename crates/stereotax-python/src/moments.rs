//! Depth moments: accumulate, merge, keep, and read Gram matrices off them.

use numpy::PyArray2;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use stereotax::data::{LayerInfo, Precision};
use stereotax::dynamics::{DepthMoments, MomentsOptions};
use stereotax::{Error, Result as CoreResult};

use crate::arrays::{Layers, Matrix, to_array};
use crate::error::Result;
use crate::{options, watch};

/// Sums of products and of activations per resampling block.
#[pyclass(frozen, module = "stereotax._core")]
#[derive(Debug)]
pub struct Moments {
    pub(crate) inner: DepthMoments,
}

#[pymethods]
impl Moments {
    /// Begin without any sample.
    #[staticmethod]
    #[pyo3(signature = (layer_names, width, block_names, unit_sample, precision, triangles))]
    fn empty(
        layer_names: Vec<String>,
        width: usize,
        block_names: Vec<String>,
        unit_sample: bool,
        precision: &str,
        triangles: bool,
    ) -> Result<Self> {
        let precision = read_precision(precision)?;
        let layers: Vec<LayerInfo> =
            layer_names.into_iter().map(|name| LayerInfo { name, width, precision }).collect();
        Ok(Moments {
            inner: DepthMoments::new(&layers, &block_names, MomentsOptions { unit_sample, triangles })?,
        })
    }

    /// Read all layers once; `blocks` holds the block of each sample.
    #[staticmethod]
    #[pyo3(signature = (layers, layer_names, blocks, block_names, unit_sample, triangles))]
    fn accumulate(
        py: Python<'_>,
        layers: Vec<Bound<'_, PyAny>>,
        layer_names: Vec<String>,
        blocks: Vec<usize>,
        block_names: Vec<String>,
        unit_sample: bool,
        triangles: bool,
    ) -> Result<Self> {
        let layers = Layers::new(&layer_names, &layers)?;
        let source = layers.source()?;
        let options = MomentsOptions { unit_sample, triangles };
        let inner = watch::run(py, |monitor| {
            DepthMoments::accumulate(&source, &blocks, &block_names, options, monitor)
        })?;
        Ok(Moments { inner })
    }

    /// The moments with the samples of one more tile: one float64 matrix per layer.
    #[pyo3(signature = (block, first_sample, layers))]
    fn with_tile(
        &self,
        py: Python<'_>,
        block: usize,
        first_sample: usize,
        layers: Vec<Bound<'_, PyAny>>,
    ) -> Result<Self> {
        let matrices = self
            .inner
            .layer_names()
            .iter()
            .zip(&layers)
            .map(|(name, layer)| Matrix::new(name, layer))
            .collect::<Result<Vec<_>>>()?;
        let views: Vec<_> = matrices.iter().map(Matrix::view).collect();
        let mut inner = self.inner.clone();
        if layers.len() != inner.n_layers() {
            return Err(Error::Shape {
                what: "tile".into(),
                expected: format!("{} matrices (one per layer)", inner.n_layers()),
                found: format!("{} matrices", layers.len()),
                hint: "give every layer the same samples, shallow to deep".into(),
            }
            .into());
        }
        let inner = watch::run(py, move |_| -> CoreResult<DepthMoments> {
            inner.add_tile(block, first_sample, &views)?;
            Ok(inner)
        })?;
        Ok(Moments { inner })
    }

    /// Both together; blocks of the same name are added up.
    fn merge(&self, other: &Moments) -> Result<Self> {
        Ok(Moments { inner: self.inner.clone().merge(&other.inner)? })
    }

    fn to_bytes<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.inner.to_bytes())
    }

    #[staticmethod]
    fn from_bytes(data: &[u8]) -> Result<Self> {
        Ok(Moments { inner: DepthMoments::from_bytes(data)? })
    }

    /// The scaled Gram matrix of the layers (L × L).
    #[pyo3(signature = (weights, centring, scale))]
    fn gram<'py>(
        &self,
        py: Python<'py>,
        weights: Option<Vec<f64>>,
        centring: &str,
        scale: &str,
    ) -> Result<Bound<'py, PyArray2<f64>>> {
        let gram = self.inner.gram(weights.as_deref(), options::centring(centring)?)?;
        Ok(to_array(py, gram.scaled(options::scale(scale)?)?.gram.as_ref())?)
    }

    /// Mean of every unit (L × K).
    #[pyo3(signature = (weights))]
    fn layer_means<'py>(
        &self,
        py: Python<'py>,
        weights: Option<Vec<f64>>,
    ) -> Result<Bound<'py, PyArray2<f64>>> {
        let means = self.inner.layer_means(weights.as_deref())?;
        let matrix = faer::Mat::from_fn(means.len(), self.inner.width(), |l, k| means[l][k]);
        Ok(to_array(py, matrix.as_ref())?)
    }

    #[getter]
    fn layer_names(&self) -> Vec<String> {
        self.inner.layer_names().to_vec()
    }

    #[getter]
    fn width(&self) -> usize {
        self.inner.width()
    }

    #[getter]
    fn block_names(&self) -> Vec<String> {
        self.inner.block_names().map(str::to_owned).collect()
    }

    #[getter]
    fn block_sizes(&self) -> Vec<u64> {
        self.inner.block_sizes()
    }

    #[getter]
    fn unit_sample(&self) -> bool {
        self.inner.options().unit_sample
    }

    #[getter]
    fn triangles(&self) -> bool {
        self.inner.options().triangles
    }

    #[getter]
    fn epsilon(&self) -> f64 {
        self.inner.epsilon()
    }
}

fn read_precision(given: &str) -> CoreResult<Precision> {
    match given {
        "float64" => Ok(Precision::F64),
        "float32" => Ok(Precision::F32),
        "float16" => Ok(Precision::F16),
        "bfloat16" => Ok(Precision::Bf16),
        _ => Err(Error::Invalid {
            what: "precision".into(),
            expected: "`float64`, `float32`, `float16` or `bfloat16`".into(),
            found: format!("`{given}`"),
            hint: "name the format in which the network computed".into(),
        }),
    }
}
