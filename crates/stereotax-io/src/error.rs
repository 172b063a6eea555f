//! The closed catalogue of what can be wrong with a file.
//!
//! Every message has the same five parts: the file, what in it, what was expected, what was found
//! and one way out. Programs look at [`IoError::kind`]; people read the message.

use std::fmt;
use std::path::{Path, PathBuf};

/// What every fallible function of this crate returns.
pub type Result<T, E = IoError> = std::result::Result<T, E>;

/// What sort of problem it is. The list is closed: a match over it can be exhaustive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum IoErrorKind {
    /// There is no such file or folder.
    NotFound,
    /// The file is there and the system or the format's reader refuses it (rights, checksums).
    Unreadable,
    /// The file ends before what its header promises.
    Truncated,
    /// The file is not of the format that its name or use says, or its header contradicts itself.
    WrongFormat,
    /// The array holds pickled objects. They are never read, since reading them runs code.
    ObjectArray,
    /// A count, a size or a compression ratio is beyond what is accepted.
    TooLarge,
    /// No array, layer or column of that name.
    NoSuchKey,
    /// The elements are of a type that cannot be used here.
    Dtype,
    /// A shape, length or number of axes that does not fit.
    Shape,
    /// NaN or infinity where a number is needed.
    NotFinite,
    /// The same name or id twice.
    Duplicate,
    /// Writing failed: full disk, rights, a folder that is not there.
    Write,
}

impl IoErrorKind {
    /// Every kind, in the order above.
    pub const ALL: [IoErrorKind; 12] = [
        IoErrorKind::NotFound,
        IoErrorKind::Unreadable,
        IoErrorKind::Truncated,
        IoErrorKind::WrongFormat,
        IoErrorKind::ObjectArray,
        IoErrorKind::TooLarge,
        IoErrorKind::NoSuchKey,
        IoErrorKind::Dtype,
        IoErrorKind::Shape,
        IoErrorKind::NotFinite,
        IoErrorKind::Duplicate,
        IoErrorKind::Write,
    ];
}

/// Why a file cannot be used.
#[derive(Clone, PartialEq, thiserror::Error)]
#[error("`{}`: {}: expected {}, found {}\nhint: {}", .details.file.display(), .details.what, .details.expected, .details.found, .details.hint)]
pub struct IoError {
    /// The sort of problem.
    pub kind: IoErrorKind,
    /// The parts of the message.
    pub details: Box<IoErrorDetails>,
}

/// The parts of an error message.
#[derive(Debug, Clone, PartialEq)]
pub struct IoErrorDetails {
    /// The file or folder, as the caller named it.
    pub file: PathBuf,
    /// What in it: an array, a column, a line.
    pub what: String,
    /// What was expected, in words.
    pub expected: String,
    /// What was found, in words.
    pub found: String,
    /// One way out.
    pub hint: String,
    /// For [`IoErrorKind::NoSuchKey`]: the names there are.
    pub keys: Vec<String>,
    /// For [`IoErrorKind::NoSuchKey`]: the name that is most alike, if any is.
    pub nearest: Option<String>,
}

impl fmt::Debug for IoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self}", self.kind)
    }
}

impl IoError {
    /// Put the five parts together.
    pub fn new(
        kind: IoErrorKind,
        file: &Path,
        what: impl Into<String>,
        expected: impl Into<String>,
        found: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        IoError {
            kind,
            details: Box::new(IoErrorDetails {
                file: file.to_owned(),
                what: what.into(),
                expected: expected.into(),
                found: found.into(),
                hint: hint.into(),
                keys: Vec::new(),
                nearest: None,
            }),
        }
    }

    /// The system's error while reading `what`.
    pub(crate) fn reading(file: &Path, what: &str, error: &std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::NotFound => IoError::new(
                IoErrorKind::NotFound,
                file,
                what,
                "a file",
                "nothing of that name",
                nearest_file_hint(file),
            ),
            std::io::ErrorKind::UnexpectedEof => {
                IoError::truncated(file, what, "more bytes", "the end of the file")
            }
            _ => IoError::new(
                IoErrorKind::Unreadable,
                file,
                what,
                "a readable file",
                error.to_string(),
                "check that it is a file (not a folder) and that you may read it",
            ),
        }
    }

    /// The system's error while writing.
    pub(crate) fn writing(file: &Path, what: &str, error: &std::io::Error) -> Self {
        let hint = match error.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
                "free some space or choose another folder; nothing that was complete before is lost"
            }
            std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem => {
                "choose a folder that you may write to"
            }
            std::io::ErrorKind::NotFound => "make the folder first",
            _ => "check the folder and the free space; nothing that was complete before is lost",
        };
        IoError::new(IoErrorKind::Write, file, what, "to write it", error.to_string(), hint)
    }

    pub(crate) fn truncated(
        file: &Path,
        what: &str,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> Self {
        IoError::new(
            IoErrorKind::Truncated,
            file,
            what,
            expected,
            found,
            "copy or download the file again: it was cut short",
        )
    }

    pub(crate) fn wrong_format(
        file: &Path,
        what: &str,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> Self {
        IoError::new(
            IoErrorKind::WrongFormat,
            file,
            what,
            expected,
            found,
            "write the file again with the tool that made it, or give it the ending of its real format",
        )
    }

    pub(crate) fn object_array(file: &Path, what: &str) -> Self {
        IoError::new(
            IoErrorKind::ObjectArray,
            file,
            what,
            "numbers or text",
            "pickled Python objects, which are never read because reading them runs code",
            "convert it in Python first, e.g. `np.asarray(x, dtype=float)` or `np.asarray(ids, dtype=str)`",
        )
    }

    pub(crate) fn too_large(
        file: &Path,
        what: &str,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> Self {
        IoError::new(
            IoErrorKind::TooLarge,
            file,
            what,
            expected,
            found,
            "if the file is genuine, split it or store it uncompressed",
        )
    }

    /// No `key` among `keys`; the nearest name stands in the hint.
    pub(crate) fn no_such_key(file: &Path, sort: &str, key: &str, keys: &[String]) -> Self {
        let nearest = crate::names::nearest(key, keys.iter().map(String::as_str)).map(str::to_owned);
        let listed = crate::names::list(keys);
        let hint = match &nearest {
            Some(name) => format!("did you mean `{name}`?"),
            None if keys.is_empty() => "check that this is the right file".to_owned(),
            None => format!("choose one of the {} names above", keys.len()),
        };
        let expected = if keys.is_empty() { format!("a {sort}") } else { format!("one of {listed}") };
        let found =
            if keys.is_empty() { format!("no {sort} at all") } else { format!("no {sort} of that name") };
        let mut error =
            IoError::new(IoErrorKind::NoSuchKey, file, format!("{sort} `{key}`"), expected, found, hint);
        error.details.keys = keys.to_vec();
        error.details.nearest = nearest;
        error
    }

    pub(crate) fn dtype(file: &Path, what: &str, expected: &str, found: &str) -> Self {
        IoError::new(
            IoErrorKind::Dtype,
            file,
            what,
            expected,
            found,
            "convert it first, e.g. `x.astype('float32')` in NumPy",
        )
    }

    pub(crate) fn shape(
        file: &Path,
        what: &str,
        expected: impl Into<String>,
        found: impl Into<String>,
        hint: &str,
    ) -> Self {
        IoError::new(IoErrorKind::Shape, file, what, expected, found, hint)
    }
}

impl From<IoError> for stereotax_base::Error {
    fn from(error: IoError) -> Self {
        let reason = format!(
            "{}: expected {}, found {}\nhint: {}",
            error.details.what, error.details.expected, error.details.found, error.details.hint
        );
        stereotax_base::Error::Source { what: error.details.file.display().to_string(), reason }
    }
}

/// Name the file of the same folder that is most alike, which is usually the one that was meant.
fn nearest_file_hint(file: &Path) -> String {
    let parent = match file.parent() {
        Some(p) if !p.as_os_str().is_empty() => p,
        _ => Path::new("."),
    };
    let wanted = file.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let Ok(entries) = std::fs::read_dir(parent) else {
        return format!(
            "there is no folder `{}` either; paths are taken from the current folder",
            parent.display()
        );
    };
    let mut names: Vec<String> =
        entries.flatten().take(10_000).map(|e| e.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    match crate::names::nearest(&wanted, names.iter().map(String::as_str)) {
        Some(name) => format!("did you mean `{name}`?"),
        None => "check the path; paths are taken from the current folder".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_has_its_five_parts() {
        let keys = vec!["conv1".to_owned(), "conv2".to_owned()];
        let error = IoError::no_such_key(Path::new("a.npz"), "array", "convl1", &keys);
        assert_eq!(
            error.to_string(),
            "`a.npz`: array `convl1`: expected one of `conv1`, `conv2`, found no array of that name\nhint: did you mean `conv1`?"
        );
        assert_eq!(error.details.nearest.as_deref(), Some("conv1"));
        assert_eq!(error.details.keys, keys);
    }

    #[test]
    fn a_missing_file_names_its_neighbour() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("responses.npz"), b"x").unwrap();
        let wanted = folder.path().join("response.npz");
        let system = std::fs::File::open(&wanted).unwrap_err();
        let error = IoError::reading(&wanted, "file", &system);
        assert_eq!(error.kind, IoErrorKind::NotFound);
        assert_eq!(error.details.hint, "did you mean `responses.npz`?");
    }
}
