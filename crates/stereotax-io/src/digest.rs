//! Digest files by BLAKE3, streaming.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::error::{IoError, Result};
use crate::zarr::{self, is_zarr};

/// A file's digest and length.
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct FileDigest {
    /// BLAKE3, 64 hexadecimal digits.
    pub blake3: String,
    /// Bytes digested.
    pub bytes: u64,
}

/// Digest all bytes of a file; of a Zarr folder, all its files and their names. Memory: 256 kB. Cost: one pass.
pub fn digest_file(path: &Path) -> Result<FileDigest> {
    if !is_zarr(path) {
        return digest_one(path);
    }
    let mut hasher = blake3::Hasher::new();
    let mut bytes = 0;
    for file in zarr::files(path)? {
        let found = digest_one(&file)?;
        let parts = file.strip_prefix(path).unwrap_or(&file).iter();
        let name: Vec<String> = parts.map(|part| part.to_string_lossy().into_owned()).collect();
        hasher.update(format!("{:?} {}\n", name, found.blake3).as_bytes());
        bytes += found.bytes;
    }
    Ok(FileDigest { blake3: hasher.finalize().to_hex().to_string(), bytes })
}

fn digest_one(path: &Path) -> Result<FileDigest> {
    let fail = |e: std::io::Error| IoError::reading(path, "file", &e);
    let mut file = File::open(path).map_err(fail)?;
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0u8; 256 << 10];
    let mut bytes = 0;
    loop {
        match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => {
                hasher.update(&buffer[..n]);
                bytes += n as u64;
            }
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(fail(e)),
        }
    }
    Ok(FileDigest { blake3: hasher.finalize().to_hex().to_string(), bytes })
}

/// Digest bytes in memory: 64 hexadecimal digits.
pub fn digest_bytes(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_the_published_vector_and_with_itself() {
        // The empty input of the BLAKE3 test vectors.
        assert_eq!(digest_bytes(b""), "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        let data: Vec<u8> = (0..700_000u32).map(|i| (i % 251) as u8).collect();
        std::fs::write(&path, &data).unwrap();
        let digest = digest_file(&path).unwrap();
        assert_eq!((digest.blake3, digest.bytes), (digest_bytes(&data), 700_000));
    }

    #[test]
    fn every_byte_of_a_folder_counts() {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("s.zarr");
        let ids = ["a".to_owned()];
        let mut writer = zarr::ZarrWriter::create(&store, &ids, &[("x/y".into(), vec![2])], &[]).unwrap();
        writer.append(1, &[vec![1.0, 2.0]]).unwrap();
        writer.finish().unwrap();
        let first = digest_file(&store).unwrap();
        assert_eq!(digest_file(&store).unwrap(), first);
        std::fs::write(store.join("x/y/c/0/0"), b"other").unwrap();
        assert_ne!(digest_file(&store).unwrap().blake3, first.blake3);
    }
}
