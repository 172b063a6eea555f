//! The `stereotax` command, so that the wheel carries the same program as the binary.
//!
//! Where the Python package `onnxruntime` can be imported, networks run in it: `stereotax._onnx` loads and runs them,
//! and tensors go there and back as NumPy arrays. The interpreter is held only while it is asked.

use std::ffi::OsString;

use numpy::{PyArray1, PyArrayDyn, PyArrayMethods, PyReadonlyArrayDyn, PyUntypedArrayMethods};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};
use rayon::prelude::*;
use stereotax_cli::OtherEngine;
use stereotax_models::network::engine::{Engine, Numbers, Tensor};

/// Run one command line (the program's name first) and return its exit code.
#[pyfunction]
#[pyo3(signature = (arguments))]
pub fn run_command(py: Python<'_>, arguments: Vec<OsString>) -> u8 {
    py.detach(|| stereotax_cli::run_with(arguments, &onnxruntime))
}

fn onnxruntime() -> Result<OtherEngine, String> {
    let name = Python::attach(|py| py.import("stereotax._onnx")?.call_method0("engine")?.extract())
        .map_err(|e| said(&e))?;
    let load = |network: Vec<u8>, taps: &[String]| {
        let run: Py<PyAny> = Python::attach(|py| {
            let module = py.import("stereotax._onnx")?;
            Ok(module.call_method1("load", (PyBytes::new(py, &network), taps))?.unbind())
        })
        .map_err(|e: PyErr| said(&e))?;
        let engine =
            move |inputs| Python::attach(|py| one_pass(py, run.bind(py), inputs)).map_err(|e| said(&e));
        Ok(Box::new(engine) as Box<Engine<'static>>)
    };
    Ok(OtherEngine { name, load: Box::new(load) })
}

/// What an exception says, without its class.
fn said(error: &PyErr) -> String {
    Python::attach(|py| error.value(py).to_string())
}

fn one_pass(py: Python<'_>, run: &Bound<'_, PyAny>, inputs: Vec<(String, Tensor)>) -> PyResult<Vec<Tensor>> {
    let given = PyDict::new(py);
    for (name, tensor) in inputs {
        let array = match tensor.numbers {
            Numbers::Real(values) => PyArray1::from_vec(py, values).reshape(tensor.shape)?.into_any(),
            Numbers::Whole(values) => PyArray1::from_vec(py, values).reshape(tensor.shape)?.into_any(),
        };
        given.set_item(name, array)?;
    }
    let outputs: Vec<Output<'_>> =
        run.call1((given,))?.try_iter()?.map(|output| Output::of(&output?)).collect::<PyResult<_>>()?;
    let views = outputs.iter().map(Output::view).collect::<PyResult<Vec<_>>>()?;
    // Copies of feature maps are large: every processor takes some.
    Ok(views.into_par_iter().map(View::copied).collect())
}

/// What `_onnx` gives: 32-bit floats or whole numbers, last axis fastest.
enum Output<'py> {
    Real(PyReadonlyArrayDyn<'py, f32>),
    Whole(PyReadonlyArrayDyn<'py, i32>),
}

impl<'py> Output<'py> {
    fn of(output: &Bound<'py, PyAny>) -> PyResult<Self> {
        if let Ok(array) = output.cast::<PyArrayDyn<i32>>() {
            return Ok(Output::Whole(array.try_readonly()?));
        }
        Ok(Output::Real(output.cast::<PyArrayDyn<f32>>()?.try_readonly()?))
    }

    fn view(&self) -> PyResult<View<'_>> {
        Ok(match self {
            Output::Real(array) => View::Real(array.shape().to_vec(), array.as_slice()?),
            Output::Whole(array) => View::Whole(array.shape().to_vec(), array.as_slice()?),
        })
    }
}

/// Numbers that Python holds.
enum View<'a> {
    Real(Vec<usize>, &'a [f32]),
    Whole(Vec<usize>, &'a [i32]),
}

impl View<'_> {
    fn copied(self) -> Tensor {
        match self {
            View::Real(shape, values) => Tensor { shape, numbers: Numbers::Real(values.to_vec()) },
            View::Whole(shape, values) => Tensor { shape, numbers: Numbers::Whole(values.to_vec()) },
        }
    }
}
