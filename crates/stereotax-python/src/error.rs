//! Turn every error of the core into the Python exception a caller would look for.

use pyo3::PyErr;
use pyo3::create_exception;
use pyo3::exceptions::{PyException, PyFileNotFoundError, PyKeyboardInterrupt, PyOSError, PyValueError};
use stereotax::Error;
use stereotax_io::{IoError, IoErrorKind};
use stereotax_study::StudyError;

create_exception!(stereotax, StereotaxError, PyException, "What no built-in exception describes.");

/// An error of the core, or one that Python raised while we looked at its objects.
#[derive(Debug)]
pub enum Failure {
    /// From the core.
    Core(Error),
    /// From a study, its files or its report.
    Study(StudyError),
    /// From the report.
    Report(stereotax_report::ReportError),
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

impl From<StudyError> for Failure {
    fn from(error: StudyError) -> Self {
        Failure::Study(error)
    }
}

impl From<IoError> for Failure {
    fn from(error: IoError) -> Self {
        Failure::Study(error.into())
    }
}

impl From<stereotax_report::ReportError> for Failure {
    fn from(error: stereotax_report::ReportError) -> Self {
        Failure::Report(error)
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
            Failure::Core(error) => raise(&error, error.to_string()),
            Failure::Study(error) => raise_study(&error),
            Failure::Report(error) => StereotaxError::new_err(error.to_string()),
            Failure::Python(error) => error,
        }
    }
}

/// The one place where errors meet exceptions.
fn raise(error: &Error, text: String) -> PyErr {
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

fn raise_study(error: &StudyError) -> PyErr {
    let text = error.to_string();
    match error {
        StudyError::Io(io) => raise_io(io, text),
        StudyError::Data { source, .. } => raise(source, text),
        // Every problem of the file begins with "error: ", which the exception says already.
        StudyError::Config(_) => PyValueError::new_err(text.trim_start_matches("error: ").to_owned()),
        StudyError::Input { .. } | StudyError::Memory { .. } => PyValueError::new_err(text),
        StudyError::Write { .. } => PyOSError::new_err(text),
        StudyError::Cancelled => PyKeyboardInterrupt::new_err(text),
        StudyError::Locked { .. } | StudyError::Internal { .. } => StereotaxError::new_err(text),
        // As above.
        _ => StereotaxError::new_err(text),
    }
}

fn raise_io(error: &IoError, text: String) -> PyErr {
    match error.kind {
        IoErrorKind::NotFound => PyFileNotFoundError::new_err(text),
        IoErrorKind::Unreadable | IoErrorKind::Write => PyOSError::new_err(text),
        IoErrorKind::Truncated
        | IoErrorKind::WrongFormat
        | IoErrorKind::ObjectArray
        | IoErrorKind::TooLarge
        | IoErrorKind::NoSuchKey
        | IoErrorKind::Dtype
        | IoErrorKind::Shape
        | IoErrorKind::NotFinite
        | IoErrorKind::Duplicate => PyValueError::new_err(text),
    }
}
