//! Read a file at stated places from any thread, without a shared cursor and without mapping it.

use std::fs::File;
use std::path::{Path, PathBuf};

use crate::error::{IoError, Result};

/// An open file whose every read names its offset.
#[derive(Debug)]
pub(crate) struct PositionedFile {
    path: PathBuf,
    file: File,
    len: u64,
}

/// The bytes of a whole file.
///
/// # Errors
/// No such file, a folder, a file that may not be read.
pub fn read_bytes(path: &Path) -> Result<Vec<u8>> {
    let file = PositionedFile::open(path)?;
    file.head(usize::try_from(file.len()).unwrap_or(usize::MAX))
}

impl PositionedFile {
    /// Open for reading; folders are refused.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|e| IoError::reading(path, "file", &e))?;
        let meta = file.metadata().map_err(|e| IoError::reading(path, "file", &e))?;
        if meta.is_dir() {
            return Err(IoError::wrong_format(path, "path", "a file", "a folder"));
        }
        Ok(PositionedFile { path: path.to_owned(), file, len: meta.len() })
    }

    /// The name it was opened by.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Its length in bytes when it was opened.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// The open file itself, for readers with a cursor of their own.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Fill `buffer` from `offset`; `what` names the array for the error.
    pub(crate) fn read_exact_at(&self, what: &str, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let mut done = 0;
        while done < buffer.len() {
            match read_at(&self.file, &mut buffer[done..], offset + done as u64) {
                Ok(0) => {
                    return Err(IoError::truncated(
                        &self.path,
                        what,
                        format!("{} bytes from byte {offset}", buffer.len()),
                        format!("the end of the file after {done}"),
                    ));
                }
                Ok(n) => done += n,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) => return Err(IoError::reading(&self.path, what, &e)),
            }
        }
        Ok(())
    }

    /// The first bytes, as many as there are up to `n`.
    pub(crate) fn head(&self, n: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0; n.min(usize::try_from(self.len).unwrap_or(n))];
        self.read_exact_at("file", 0, &mut bytes)?;
        Ok(bytes)
    }
}

#[cfg(unix)]
pub(crate) fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> std::io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, buffer, offset)
}

#[cfg(windows)]
pub(crate) fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> std::io::Result<usize> {
    // It also moves the file's cursor, which nobody here relies on.
    std::os::windows::fs::FileExt::seek_read(file, buffer, offset)
}

/// A stretch of a file as a forward reader.
#[derive(Debug)]
pub(crate) struct Stretch {
    file: std::sync::Arc<PositionedFile>,
    position: u64,
    end: u64,
}

impl Stretch {
    pub(crate) fn new(file: std::sync::Arc<PositionedFile>, start: u64, end: u64) -> Self {
        Stretch { file, position: start, end }
    }
}

impl std::io::Read for Stretch {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let left = usize::try_from(self.end - self.position).unwrap_or(usize::MAX);
        let n = buffer.len().min(left);
        if n == 0 {
            return Ok(0);
        }
        let n = read_at(&self.file.file, &mut buffer[..n], self.position)?;
        self.position += n as u64;
        Ok(n)
    }
}
