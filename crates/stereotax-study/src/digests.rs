//! Remember the digests of input files by size and time of change, so that a rerun reads nothing twice.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::UNIX_EPOCH;

use stereotax_io::{digest_file, write_atomic};

use crate::error::StudyError;

/// Digests of files, with those of earlier runs.
#[derive(Debug, Default)]
pub struct Digests {
    known: BTreeMap<String, Known>,
    used: BTreeMap<String, Known>,
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
struct Known {
    bytes: u64,
    changed_ns: u128,
    blake3: String,
    /// Whether the contents were found finite and varying.
    verified: bool,
}

impl Digests {
    /// Those remembered in `DIR`; none with `recheck`, or where nothing readable is there.
    pub fn open(out: &Path, recheck: bool) -> Self {
        let known = std::fs::read(out.join("digests.json"))
            .ok()
            .filter(|_| !recheck)
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default();
        Digests { known, used: BTreeMap::new() }
    }

    /// Digest of a file, from memory where size and time of change are as before.
    pub fn file(&mut self, path: &Path) -> Result<String, StudyError> {
        let name = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned()).display().to_string();
        if let Some(used) = self.used.get(&name) {
            return Ok(used.blake3.clone());
        }
        // The time of a folder says nothing about the files in it.
        let stamp = std::fs::metadata(path).ok().filter(|meta| meta.is_file()).and_then(|meta| {
            let changed = meta.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
            Some((meta.len(), changed.as_nanos()))
        });
        let known = match (self.known.get(&name), stamp) {
            (Some(known), Some((bytes, changed_ns)))
                if known.bytes == bytes && known.changed_ns == changed_ns =>
            {
                known.clone()
            }
            _ => {
                let digest = digest_file(path)?;
                Known {
                    bytes: digest.bytes,
                    changed_ns: stamp.map_or(0, |(_, changed)| changed),
                    blake3: digest.blake3,
                    verified: false,
                }
            }
        };
        let digest = known.blake3.clone();
        self.used.insert(name, known);
        Ok(digest)
    }

    /// Whether every file used was verified in an earlier run and has not changed since.
    pub fn all_verified(&self) -> bool {
        self.used.values().all(|known| known.verified)
    }

    /// Keep what was used, as verified.
    pub fn save(&mut self, out: &Path) -> Result<(), StudyError> {
        self.used.values_mut().for_each(|known| known.verified = true);
        let text = serde_json::to_vec_pretty(&self.used)
            .map_err(|e| StudyError::Internal { what: format!("digests cannot be written: {e}") })?;
        Ok(write_atomic(&out.join("digests.json"), &text)?)
    }
}
