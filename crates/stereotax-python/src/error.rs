//! Turn every error of the core into the Python exception a caller would look for.

use pyo3::PyErr;
use pyo3::create_exception;
use pyo3::exceptions::{PyException, PyKeyboardInterrupt, PyValueError};
use stereotax::Error;

create_exception!(stereotax, StereotaxError, PyException, "What no built-in exception describes.");

/// An error of the core, or one that Python raised while we looked at its objects.
#[derive(Debug)]
pub enum Failure {
    /// From the core.
    Core(Error),
    /// From Python.
    Python(PyErr),
}

/// What the functions of this module return.
pub type Result<T> = std::result::Result<T, Failure>;

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Core(error)
    }
}

impl From<PyErr> for Failure {
    fn from(error: PyErr) -> Self {
        Failure::Python(error)
    }
}

impl From<Failure> for PyErr {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Core(error) => raise(&error),
            Failure::Python(error) => error,
        }
    }
}

/// The one place where errors meet exceptions.
fn raise(error: &Error) -> PyErr {
    let text = error.to_string();
    match error {
        Error::Shape { .. }
        | Error::NotFinite { .. }
        | Error::TooFew { .. }
        | Error::ZeroVariance { .. }
        | Error::Invalid { .. }
        | Error::Refused { .. } => PyValueError::new_err(text),
        Error::Cancelled => PyKeyboardInterrupt::new_err(text),
        Error::Source { .. } | Error::NoConvergence { .. } => StereotaxError::new_err(text),
        // The core may grow new kinds of errors between releases; they are no one's input.
        _ => StereotaxError::new_err(text),
    }
}
