//! The `stereotax` command, so that the wheel carries the same program as the binary.

use std::ffi::OsString;

use pyo3::prelude::*;

/// Run one command line (the program's name first) and return its exit code.
#[pyfunction]
#[pyo3(signature = (arguments))]
pub fn run_command(py: Python<'_>, arguments: Vec<OsString>) -> u8 {
    py.detach(|| stereotax_cli::run(arguments))
}
