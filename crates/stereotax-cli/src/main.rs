//! The `stereotax` binary: a thin shell around the library of the same name.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(stereotax_cli::run(std::env::args_os()))
}
