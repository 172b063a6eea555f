//! What can go wrong between a study file and its results, and with which exit code.

use std::path::Path;

/// Why a study cannot be read, planned or run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StudyError {
    /// The study file itself is wrong; all its problems at once.
    #[error("{0}")]
    Config(String),
    /// A file named by the study is wrong.
    #[error(transparent)]
    Io(#[from] stereotax_io::IoError),
    /// The data are wrong.
    #[error("{context}: {source}")]
    Data {
        /// Whose data.
        context: String,
        /// What is wrong with them.
        source: Box<stereotax::Error>,
    },
    /// Something else that the user gave does not fit.
    #[error("{what}\nhint: {hint}")]
    Input {
        /// What, where, expected, found.
        what: String,
        /// One way out.
        hint: String,
    },
    /// The output folder cannot be written.
    #[error("cannot write `{path}`: {reason}\nhint: {hint}")]
    Write {
        /// Where.
        path: String,
        /// What the system said.
        reason: String,
        /// One way out.
        hint: String,
    },
    /// The memory budget does not hold even one unit of work.
    #[error(
        "{what} needs {needed_mb} MB, but --max-memory leaves {allowed_mb} MB\nhint: raise --max-memory, or give fewer layers or ROIs"
    )]
    Memory {
        /// Which unit of work.
        what: String,
        /// What it takes.
        needed_mb: u64,
        /// What is allowed.
        allowed_mb: u64,
    },
    /// Another run is writing to the same folder.
    #[error("`{path}` is being written by another run\nhint: wait for it, or give another --out")]
    Locked {
        /// The output folder.
        path: String,
    },
    /// Stopped on request.
    #[error("stopped; what was finished is kept, and the same command goes on from there")]
    Cancelled,
    /// Our own mistake.
    #[error("{what}; this is a bug in stereotax, please report it")]
    Internal {
        /// What happened.
        what: String,
    },
}

impl StudyError {
    /// 2 for wrong input (nothing was written), 1 for failing while running.
    pub fn exit_code(&self) -> u8 {
        match self {
            StudyError::Config(_) | StudyError::Data { .. } | StudyError::Input { .. } => 2,
            StudyError::Io(error) if error.kind != stereotax_io::IoErrorKind::Write => 2,
            _ => 1,
        }
    }

    /// A failed write, with the way out that its cause suggests.
    pub fn write(path: &Path, error: &std::io::Error) -> Self {
        let hint = match error.kind() {
            std::io::ErrorKind::StorageFull => "free some space; the run goes on where it stopped",
            std::io::ErrorKind::PermissionDenied => "give an --out folder that you may write to",
            std::io::ErrorKind::NotADirectory | std::io::ErrorKind::AlreadyExists => {
                "a file stands where a folder is needed; give another --out"
            }
            _ => "check the disk and the folder; the run goes on where it stopped",
        };
        StudyError::Write { path: path.display().to_string(), reason: error.to_string(), hint: hint.into() }
    }

    /// Wrap an error of the core, saying whose data it is about.
    pub fn in_context(context: &str) -> impl FnOnce(stereotax::Error) -> Self + '_ {
        move |source| match source {
            stereotax::Error::Cancelled => StudyError::Cancelled,
            source => StudyError::Data { context: context.to_owned(), source: Box::new(source) },
        }
    }
}
