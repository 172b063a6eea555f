//! Digest files by BLAKE3, streaming.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::error::{IoError, Result};

/// A file's digest and length.
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct FileDigest {
    /// BLAKE3, 64 hexadecimal digits.
    pub blake3: String,
    /// Bytes digested.
    pub bytes: u64,
}

/// Digest all bytes of a file. Memory: 256 kB. Cost: one pass.
pub fn digest_file(path: &Path) -> Result<FileDigest> {
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
}
