//! Put files and folders in place only when they are complete.
//!
//! A file is written under a temporary name in the same folder, synced, renamed, and the folder is
//! synced, so that after a crash or a full disk there is either the old file or the new one.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{IoError, Result};

/// A file in the making; dropped without [`AtomicFile::commit`] it leaves nothing behind.
#[derive(Debug)]
pub struct AtomicFile {
    target: PathBuf,
    temporary: PathBuf,
    file: Option<File>,
}

impl AtomicFile {
    /// Begin writing what will become `target`; its folder must exist.
    pub fn create(target: &Path) -> Result<AtomicFile> {
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        let name = target.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let temporary = target.with_file_name(format!(".{name}.{}-{number}.partial", std::process::id()));
        let file = File::create(&temporary).map_err(|e| IoError::writing(target, "file", &e))?;
        Ok(AtomicFile { target: target.to_owned(), temporary, file: Some(file) })
    }

    /// Sync, rename to the final name, sync the folder.
    pub fn commit(mut self) -> Result<()> {
        let fail = |e: &std::io::Error| IoError::writing(&self.target, "file", e);
        if let Some(file) = self.file.take() {
            file.sync_all().map_err(|e| fail(&e))?;
        }
        fs::rename(&self.temporary, &self.target).map_err(|e| fail(&e))?;
        sync_folder(&self.target)
    }
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match &mut self.file {
            Some(file) => file.write(bytes),
            None => Err(std::io::ErrorKind::BrokenPipe.into()),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file.as_mut().map_or(Ok(()), Write::flush)
    }
}

impl Drop for AtomicFile {
    fn drop(&mut self) {
        // After a commit the name is gone and this does nothing.
        let _ = fs::remove_file(&self.temporary);
    }
}

/// Write a whole file at once, atomically.
pub fn write_atomic(target: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = AtomicFile::create(target)?;
    file.write_all(bytes).map_err(|e| IoError::writing(target, "file", &e))?;
    file.commit()
}

/// Make an empty folder beside `target`, to be filled and then given to [`swap_folder`]. What an
/// interrupted run left there is removed, and a swap that it did not finish is finished.
pub fn stage_folder(target: &Path) -> Result<PathBuf> {
    recover_folder(target)?;
    let staged = beside(target, "partial");
    let fail = |e: std::io::Error| IoError::writing(&staged, "folder", &e);
    if staged.exists() {
        fs::remove_dir_all(&staged).map_err(fail)?;
    }
    fs::create_dir_all(&staged).map_err(fail)?;
    Ok(staged)
}

/// Put a staged folder in the place of `target`.
///
/// The old folder is renamed away, the new one renamed in, the old one removed. A crash between the
/// two renames leaves the old one beside; [`recover_folder`] puts it back.
pub fn swap_folder(staged: &Path, target: &Path) -> Result<()> {
    let fail = |e: std::io::Error| IoError::writing(target, "folder", &e);
    for entry in fs::read_dir(staged).map_err(fail)? {
        let path = entry.map_err(fail)?.path();
        if path.is_file() {
            File::open(&path).and_then(|f| f.sync_all()).map_err(fail)?;
        }
    }
    let previous = beside(target, "previous");
    if previous.exists() {
        fs::remove_dir_all(&previous).map_err(fail)?;
    }
    if target.exists() {
        fs::rename(target, &previous).map_err(fail)?;
    }
    if let Err(error) = fs::rename(staged, target) {
        // Better the old results than none.
        let _ = fs::rename(&previous, target);
        return Err(fail(error));
    }
    sync_folder(target)?;
    if previous.exists() {
        fs::remove_dir_all(&previous).map_err(fail)?;
    }
    Ok(())
}

/// Put the previous folder back if a crash came between the two renames of [`swap_folder`].
pub fn recover_folder(target: &Path) -> Result<()> {
    let previous = beside(target, "previous");
    if !target.exists() && previous.exists() {
        fs::rename(&previous, target).map_err(|e| IoError::writing(target, "folder", &e))?;
    }
    Ok(())
}

fn beside(target: &Path, ending: &str) -> PathBuf {
    let name = target.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    target.with_file_name(format!(".{name}.{ending}"))
}

/// Make a rename durable. Only Unix lets one open a folder for that.
fn sync_folder(target: &Path) -> Result<()> {
    #[cfg(unix)]
    {
        let parent = match target.parent() {
            Some(p) if !p.as_os_str().is_empty() => p,
            _ => Path::new("."),
        };
        File::open(parent).and_then(|f| f.sync_all()).map_err(|e| IoError::writing(target, "folder", &e))?;
    }
    #[cfg(not(unix))]
    let _ = target;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::IoErrorKind;

    fn entries(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(folder)
            .unwrap()
            .map(|e| e.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_appears_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("a.json");
        write_atomic(&target, b"one").unwrap();
        let mut unfinished = AtomicFile::create(&target).unwrap();
        unfinished.write_all(b"tw").unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"one");
        drop(unfinished);
        assert_eq!(entries(folder.path()), ["a.json"]);
        write_atomic(&target, b"two").unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"two");
        let error = write_atomic(&folder.path().join("no/b"), b"").unwrap_err();
        assert_eq!((error.kind, error.details.hint.as_str()), (IoErrorKind::Write, "make the folder first"));
    }

    #[test]
    fn a_folder_is_swapped_and_an_interrupted_swap_recovered() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("results");
        for turn in ["1", "2"] {
            let staged = stage_folder(&target).unwrap();
            fs::write(staged.join(turn), turn).unwrap();
            swap_folder(&staged, &target).unwrap();
            assert_eq!(entries(&target), [turn]);
            assert_eq!(entries(folder.path()), ["results"]);
        }
        // The state after a crash between the renames.
        fs::rename(&target, beside(&target, "previous")).unwrap();
        fs::create_dir(beside(&target, "partial")).unwrap();
        fs::write(beside(&target, "partial").join("half"), "").unwrap();
        let staged = stage_folder(&target).unwrap();
        assert_eq!(entries(&target), ["2"]);
        assert!(entries(&staged).is_empty());
    }
}
