//! Borrow NumPy arrays as views, without a copy: the only place that touches raw pointers.

use std::ops::Range;

use faer::{Mat, MatMut, MatRef};
use half::{bf16, f16};
use numpy::ndarray::ArrayView2;
use numpy::{
    Element, PyArray1, PyArray2, PyArrayDescrMethods, PyArrayMethods, PyReadonlyArray2, PyUntypedArray,
    PyUntypedArrayMethods,
};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use stereotax::data::{LayerInfo, Precision, TileSource};
use stereotax::{Error, Result as CoreResult};

use crate::error::Result;

/// A matrix of f64 or f32 (C, Fortran, strided or reversed) that stays borrowed from Python.
pub struct Matrix<'py, T: Element = f64>(PyReadonlyArray2<'py, T>);

impl<'py> Matrix<'py> {
    /// Borrow an array of f64; `name` is for the message.
    pub fn new(name: &str, array: &Bound<'py, PyAny>) -> Result<Self> {
        check_layout(name, array)?;
        Ok(Matrix(borrow(name, array, "2-dimensional float64")?))
    }
}

impl<'py> Matrix<'py, f32> {
    /// Borrow an array if it is one of f32.
    pub fn single(name: &str, array: &Bound<'py, PyAny>) -> Option<Result<Self>> {
        array.cast::<PyArray2<f32>>().ok()?;
        Some(
            check_layout(name, array)
                .map_err(Into::into)
                .and_then(|()| Ok(Matrix(borrow(name, array, "2-dimensional float32")?))),
        )
    }
}

impl<T: Element> Matrix<'_, T> {
    /// The view.
    pub fn view(&self) -> MatRef<'_, T> {
        let view = self.0.as_array();
        // SAFETY: pointer, shape and strides are those of a live array that is borrowed for reading for
        // as long as `self`; ndarray has put the pointer at the first element, also of reversed axes.
        unsafe {
            MatRef::from_raw_parts(
                view.as_ptr(),
                view.nrows(),
                view.ncols(),
                view.strides()[0],
                view.strides()[1],
            )
        }
    }
}

fn borrow<'py, T: Element>(
    name: &str,
    array: &Bound<'py, PyAny>,
    expected: &str,
) -> Result<PyReadonlyArray2<'py, T>> {
    let typed = array
        .cast::<PyArray2<T>>()
        .map_err(|_| PyTypeError::new_err(format!("`{name}` is no {expected} NumPy array")))?;
    let borrowed = typed
        .try_readonly()
        .map_err(|reason| PyTypeError::new_err(format!("`{name}` cannot be borrowed: {reason}")))?;
    Ok(borrowed)
}

/// Refuse arrays whose elements do not lie on whole element boundaries (fields of records).
fn check_layout(name: &str, array: &Bound<'_, PyAny>) -> PyResult<()> {
    let untyped = array
        .cast::<PyUntypedArray>()
        .map_err(|_| PyTypeError::new_err(format!("`{name}` is no NumPy array")))?;
    let size = untyped.dtype().itemsize().max(1) as isize;
    let aligned: bool = array.getattr("flags")?.getattr("aligned")?.extract()?;
    if !aligned || untyped.strides().iter().any(|stride| stride % size != 0) {
        return Err(PyTypeError::new_err(format!("`{name}` is not aligned; pass a copy of it")));
    }
    Ok(())
}

/// One layer in the precision it came in.
enum Layer<'py> {
    F64(PyReadonlyArray2<'py, f64>),
    F32(PyReadonlyArray2<'py, f32>),
    F16(PyReadonlyArray2<'py, f16>),
    /// The bits of bfloat16, for which NumPy has no type of its own.
    Bf16(PyReadonlyArray2<'py, u16>),
}

/// Layers that stay borrowed from Python.
pub struct Layers<'py> {
    names: Vec<String>,
    arrays: Vec<Layer<'py>>,
}

impl<'py> Layers<'py> {
    /// Borrow one array (samples × units) per layer.
    pub fn new(names: &[String], arrays: &[Bound<'py, PyAny>]) -> Result<Self> {
        if names.len() != arrays.len() {
            return Err(Error::Shape {
                what: "layer_names".into(),
                expected: format!("{} names (one per layer)", arrays.len()),
                found: format!("{} names", names.len()),
                hint: "name every layer once".into(),
            }
            .into());
        }
        let arrays = names
            .iter()
            .zip(arrays)
            .map(|(name, array)| {
                check_layout(name, array)?;
                if array.cast::<PyArray2<f64>>().is_ok() {
                    return Ok(Layer::F64(borrow(name, array, "")?));
                }
                if array.cast::<PyArray2<f32>>().is_ok() {
                    return Ok(Layer::F32(borrow(name, array, "")?));
                }
                if array.getattr("dtype")?.getattr("name")?.extract::<String>()? == "bfloat16" {
                    let bits = array.call_method1("view", ("uint16",))?;
                    return Ok(Layer::Bf16(borrow(name, &bits, "2-dimensional bfloat16")?));
                }
                Ok(Layer::F16(borrow(name, array, "2-dimensional float64, float32, float16 or bfloat16")?))
            })
            .collect::<Result<Vec<_>>>()?;
        Ok(Layers { names: names.to_vec(), arrays })
    }

    /// The layers as a source that any thread can read.
    pub fn source(&self) -> CoreResult<Source<'_>> {
        let views: Vec<View<'_>> = self
            .arrays
            .iter()
            .map(|layer| match layer {
                Layer::F64(array) => View::F64(array.as_array()),
                Layer::F32(array) => View::F32(array.as_array()),
                Layer::F16(array) => View::F16(array.as_array()),
                Layer::Bf16(array) => View::Bf16(array.as_array()),
            })
            .collect();
        let n_samples = views.first().map_or(0, View::n_rows);
        let info = self
            .names
            .iter()
            .zip(&views)
            .map(|(name, view)| {
                if view.n_rows() == n_samples {
                    return Ok(LayerInfo {
                        name: name.clone(),
                        width: view.n_columns(),
                        precision: view.precision(),
                    });
                }
                Err(Error::Shape {
                    what: name.clone(),
                    expected: format!("{n_samples} rows (as in layer `{}`)", self.names[0]),
                    found: format!("{} rows", view.n_rows()),
                    hint: "every layer must hold the same samples in the same order".into(),
                })
            })
            .collect::<CoreResult<_>>()?;
        Ok(Source { info, parts: vec![views], n_samples: vec![n_samples] })
    }
}

#[derive(Debug)]
enum View<'a> {
    F64(ArrayView2<'a, f64>),
    F32(ArrayView2<'a, f32>),
    F16(ArrayView2<'a, f16>),
    Bf16(ArrayView2<'a, u16>),
}

impl View<'_> {
    fn n_rows(&self) -> usize {
        match self {
            View::F64(view) => view.nrows(),
            View::F32(view) => view.nrows(),
            View::F16(view) => view.nrows(),
            View::Bf16(view) => view.nrows(),
        }
    }

    fn n_columns(&self) -> usize {
        match self {
            View::F64(view) => view.ncols(),
            View::F32(view) => view.ncols(),
            View::F16(view) => view.ncols(),
            View::Bf16(view) => view.ncols(),
        }
    }

    fn precision(&self) -> Precision {
        match self {
            View::F64(_) => Precision::F64,
            View::F32(_) => Precision::F32,
            View::F16(_) => Precision::F16,
            View::Bf16(_) => Precision::Bf16,
        }
    }

    fn read(&self, row: usize, out: &mut [f64]) {
        match self {
            View::F64(view) => view.row(row).iter().zip(out).for_each(|(x, out)| *out = *x),
            View::F32(view) => view.row(row).iter().zip(out).for_each(|(x, out)| *out = f64::from(*x)),
            View::F16(view) => view.row(row).iter().zip(out).for_each(|(x, out)| *out = f64::from(*x)),
            View::Bf16(view) => {
                view.row(row).iter().zip(out).for_each(|(x, out)| *out = bf16::from_bits(*x).to_f64());
            }
        }
    }
}

/// Layers in memory, converted to f64 by rows as they are read; may be several arrays end to end.
#[derive(Debug)]
pub struct Source<'a> {
    info: Vec<LayerInfo>,
    parts: Vec<Vec<View<'a>>>,
    n_samples: Vec<usize>,
}

impl<'a> Source<'a> {
    /// The rows of `self`, followed by those of `other`, which must have the same layers and widths.
    pub fn then(mut self, other: Source<'a>) -> CoreResult<Self> {
        let widths = |source: &Source<'_>| source.info.iter().map(|l| l.width).collect::<Vec<_>>();
        if widths(&self) != widths(&other) {
            return Err(Error::Shape {
                what: "layers".into(),
                expected: format!("layers of {:?} units (as in `fit`)", widths(&self)),
                found: format!("{:?}", widths(&other)),
                hint: "pass the layers of the same network, in the same order".into(),
            });
        }
        self.parts.extend(other.parts);
        self.n_samples.extend(other.n_samples);
        Ok(self)
    }
}

impl TileSource for Source<'_> {
    fn n_samples(&self) -> usize {
        self.n_samples.iter().sum()
    }

    fn layers(&self) -> &[LayerInfo] {
        &self.info
    }

    fn read_rows(&self, layer: usize, rows: Range<usize>, out: &mut [f64]) -> CoreResult<()> {
        let width = self.info[layer].width;
        for (row, line) in rows.zip(out.chunks_exact_mut(width.max(1))) {
            let (mut part, mut row) = (0, row);
            while row >= self.n_samples[part] {
                row -= self.n_samples[part];
                part += 1;
            }
            self.parts[part][layer].read(row, line);
        }
        Ok(())
    }
}

/// A new NumPy array of zeros (rows × columns, column after column), and a view to fill it by.
///
/// The view must not outlive the array, and Python must not see the array before the view is gone.
pub fn new_array<'py, T: Element>(
    py: Python<'py>,
    rows: usize,
    columns: usize,
) -> (Bound<'py, PyArray2<T>>, MatMut<'py, T>) {
    let array = PyArray2::<T>::zeros(py, [rows, columns], true);
    // SAFETY: the array is new, so nobody else has its memory; it lies column after column.
    let view = unsafe { MatMut::from_raw_parts_mut(array.data(), rows, columns, 1, rows as isize) };
    (array, view)
}

/// A new NumPy array (rows × columns) with the values of a matrix.
pub fn to_array<'py, T: Element + Copy>(
    py: Python<'py>,
    matrix: MatRef<'_, T>,
) -> PyResult<Bound<'py, PyArray2<T>>> {
    let values = (0..matrix.nrows()).flat_map(|i| (0..matrix.ncols()).map(move |j| matrix[(i, j)]));
    PyArray1::from_vec(py, values.collect()).reshape([matrix.nrows(), matrix.ncols()])
}

/// An owned copy, for core types that keep their matrix.
pub fn to_mat(matrix: MatRef<'_, f64>) -> Mat<f64> {
    matrix.to_owned()
}
