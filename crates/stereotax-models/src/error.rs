//! What can be wrong with a network, its preparation file or its stimuli.

use std::path::Path;

use stereotax_io::IoError;

/// What every fallible function of this crate's network part returns.
pub type Result<T, E = ModelError> = std::result::Result<T, E>;

/// Why activations cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// Something given is not what it should be.
    #[error("`{file}`: {what}: expected {expected}, found {found}\nhint: {hint}")]
    Invalid {
        /// The file, or the argument.
        file: String,
        /// What in it.
        what: String,
        /// What was expected.
        expected: String,
        /// What was found.
        found: String,
        /// One way out.
        hint: String,
    },
    /// A file cannot be read or written.
    #[error(transparent)]
    Io(#[from] IoError),
    /// The network failed while it ran.
    #[error("`{file}`: the network failed at {at}: {reason}\nhint: {hint}")]
    Run {
        /// The network's file.
        file: String,
        /// On which stimulus.
        at: String,
        /// What the engine said.
        reason: String,
        /// One way out.
        hint: String,
    },
    /// The caller asked to stop.
    #[error("stopped: {done} of {total} stimuli are kept; the same command goes on from there")]
    Stopped {
        /// Stimuli that are written.
        done: usize,
        /// Stimuli in all.
        total: usize,
    },
}

impl ModelError {
    /// Whether the input was wrong, rather than the run.
    pub fn is_input(&self) -> bool {
        match self {
            ModelError::Invalid { .. } => true,
            ModelError::Io(error) => error.kind != stereotax_io::IoErrorKind::Write,
            ModelError::Run { .. } | ModelError::Stopped { .. } => false,
        }
    }
}

pub(crate) fn invalid(
    file: &Path,
    what: impl Into<String>,
    expected: impl Into<String>,
    found: impl Into<String>,
    hint: impl Into<String>,
) -> ModelError {
    ModelError::Invalid {
        file: file.display().to_string(),
        what: what.into(),
        expected: expected.into(),
        found: found.into(),
        hint: hint.into(),
    }
}
