//! The `stereotax` command as a library, so that the binary and the Python wheel are one program.
//!
//! Data go to stdout, everything else to stderr. Exit codes: 0 done; 1 failed while running, and what
//! was finished is kept; 2 wrong input, and nothing was written.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod args;
mod commands;
mod progress;

use std::ffi::OsString;

use clap::Parser;

use stereotax_models::network::engine::Engine;

use args::{Args, Command};

/// An engine for networks that is not built in.
pub struct OtherEngine {
    /// Name and version.
    pub name: String,
    /// Load the bytes of a network so that it gives these tensors.
    pub load: Box<LoadEngine>,
}

/// Bytes of a network and names of tensors to an engine, or why not.
pub type LoadEngine = dyn Fn(Vec<u8>, &[String]) -> Result<Box<Engine<'static>>, String>;

/// Where another engine comes from; the reason where there is none.
pub type FindEngine = dyn Fn() -> Result<OtherEngine, String>;

impl std::fmt::Debug for OtherEngine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OtherEngine").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Run one command line and return its exit code.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> u8 {
    let none = || {
        Err("this program has none; the command of the Python package has, `pip install stereotax[onnx]`"
            .to_owned())
    };
    run_with(arguments, &none)
}

/// [`run`] for a host that may bring ONNX Runtime; it is looked for only where a network runs.
pub fn run_with(arguments: impl IntoIterator<Item = OsString>, onnxruntime: &FindEngine) -> u8 {
    let args = match Args::try_parse_from(arguments) {
        Ok(args) => args,
        Err(message) => {
            // Help and version are answers, not mistakes.
            let code = if message.use_stderr() { 2 } else { 0 };
            let _ = message.print();
            return code;
        }
    };
    let outcome = match args.command {
        Command::Demo(args) => commands::demo::run(&args),
        Command::Init(args) => commands::init::run(&args),
        Command::Check(args) => commands::check::run(&args),
        Command::Plan(args) => commands::plan::run(&args),
        Command::Run(args) => commands::run::run(&args),
        Command::Report(args) => commands::report::run(&args),
        Command::Convert(args) => commands::convert::run(&args),
        Command::Figures(args) => commands::figures::run(&args),
        Command::Info(args) => commands::info::run(&args),
        Command::Extract(args) => commands::extract::run(&args, onnxruntime),
        Command::Compare(args) => commands::compare::run(&args),
        Command::Why(args) => commands::why::run(&args),
        Command::Cite(args) => commands::cite::run(&args),
    };
    match outcome {
        Ok(()) => 0,
        Err(failure) => {
            eprintln!("error: {}", failure.message.trim_start_matches("error: "));
            failure.exit_code
        }
    }
}

/// Why a command ended without doing its work.
#[derive(Debug)]
pub(crate) struct Failure {
    message: String,
    exit_code: u8,
}

impl From<stereotax_study::StudyError> for Failure {
    fn from(error: stereotax_study::StudyError) -> Self {
        Failure { exit_code: error.exit_code(), message: error.to_string() }
    }
}

impl From<stereotax_io::IoError> for Failure {
    fn from(error: stereotax_io::IoError) -> Self {
        stereotax_study::StudyError::from(error).into()
    }
}

impl From<stereotax_models::ModelError> for Failure {
    fn from(error: stereotax_models::ModelError) -> Self {
        Failure { exit_code: if error.is_input() { 2 } else { 1 }, message: error.to_string() }
    }
}

impl From<stereotax_report::ReportError> for Failure {
    fn from(error: stereotax_report::ReportError) -> Self {
        Failure { message: error.to_string(), exit_code: 1 }
    }
}

/// One line of data on stdout; a closed pipe (`| head`) is the reader's right, not an error.
pub(crate) fn print_line(line: &str) {
    use std::io::Write;
    if writeln!(std::io::stdout(), "{line}").is_err() {
        std::process::exit(0);
    }
}
