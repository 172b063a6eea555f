//! Read the members of a NumPy archive: stored ones at any place, deflated ones forwards.
//!
//! Nothing is ever unpacked to disk, so a member's name is only a key; names with `..` are refused
//! all the same, because no honest tool writes them. Cost: one pass over the central directory.

use std::io::Read;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use flate2::Crc;
use flate2::read::DeflateDecoder;

use crate::error::{IoError, IoErrorKind, Result};
use crate::positioned::{PositionedFile, Stretch};

/// More members than any model has layers.
const MAX_MEMBERS: usize = 100_000;
/// Unpacked size from which on the ratio is looked at: below it, unpacking cannot hurt.
const RATIO_COUNTS_FROM: u64 = 64 << 20;
/// Deflate reaches about 1030; floating-point data rarely 20, mostly-zero activations about 100.
const MAX_RATIO: u64 = 400;

/// How a member is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Packing {
    Stored,
    Deflated,
}

/// One array of an archive.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    /// Its key: the name in the archive without `.npy`.
    pub(crate) key: String,
    pub(crate) packing: Packing,
    /// First byte of its (packed) data in the file.
    pub(crate) start: u64,
    pub(crate) packed: u64,
    pub(crate) unpacked: u64,
    crc32: u32,
}

/// The arrays of an archive, in its own order.
pub(crate) fn members(file: &Arc<PositionedFile>) -> Result<Vec<Member>> {
    let path = file.path();
    let broken =
        |e: zip::result::ZipError| IoError::wrong_format(path, "archive", "a zip archive", e.to_string());
    let reader = std::io::BufReader::new(Cursor { file, position: 0 });
    let mut archive = zip::ZipArchive::new(reader).map_err(broken)?;
    if archive.len() > MAX_MEMBERS {
        return Err(IoError::too_large(
            path,
            "archive",
            format!("at most {MAX_MEMBERS} members"),
            format!("{} members", archive.len()),
        ));
    }
    if archive.has_duplicate_names() {
        return Err(IoError::new(
            IoErrorKind::Duplicate,
            path,
            "archive",
            "every name once",
            "a name twice",
            "write the archive again; which of the two was meant cannot be known",
        ));
    }
    let mut found = Vec::new();
    for index in 0..archive.len() {
        let entry = archive.by_index_raw(index).map_err(broken)?;
        let name = entry.name().map_err(broken)?.into_owned();
        if name.contains('\0') || name.split(['/', '\\']).any(|part| part == "..") {
            return Err(IoError::wrong_format(
                path,
                "archive",
                "member names without `..`",
                format!("`{}`", name.escape_debug()),
            ));
        }
        let Some(key) = name.strip_suffix(".npy") else { continue };
        let what = format!("array `{key}`");
        if entry.encrypted() {
            return Err(IoError::wrong_format(path, &what, "an open archive", "an encrypted member"));
        }
        let packing = match entry.compression() {
            zip::CompressionMethod::Stored => Packing::Stored,
            zip::CompressionMethod::Deflated => Packing::Deflated,
            other => {
                return Err(IoError::wrong_format(
                    path,
                    &what,
                    "stored or deflated members",
                    format!("{other}"),
                ));
            }
        };
        let start = entry
            .data_start()
            .ok_or_else(|| IoError::wrong_format(path, &what, "a place of its data", "none"))?;
        let (packed, unpacked) = (entry.compressed_size(), entry.size());
        if start.checked_add(packed).is_none_or(|end| end > file.len()) {
            return Err(IoError::truncated(
                path,
                &what,
                format!("{packed} bytes from byte {start}"),
                format!("a file of {} bytes", file.len()),
            ));
        }
        if packing == Packing::Stored && packed != unpacked {
            return Err(IoError::wrong_format(
                path,
                &what,
                "equal packed and unpacked sizes of a stored member",
                format!("{packed} and {unpacked} bytes"),
            ));
        }
        if unpacked > RATIO_COUNTS_FROM && unpacked / packed.max(1) > MAX_RATIO {
            return Err(IoError::too_large(
                path,
                &what,
                format!("at most {MAX_RATIO} bytes per packed byte"),
                format!("{unpacked} bytes packed into {packed}"),
            ));
        }
        found.push(Member { key: key.to_owned(), packing, start, packed, unpacked, crc32: entry.crc32() });
    }
    Ok(found)
}

/// A deflated member, read forwards; going back starts it again from its beginning.
///
/// Holds about 100 kB whatever the member's size. Reads from several threads are served one after
/// the other.
#[derive(Debug)]
pub(crate) struct DeflatedMember {
    file: Arc<PositionedFile>,
    member: Member,
    state: Mutex<Option<State>>,
}

#[derive(Debug)]
struct State {
    decoder: DeflateDecoder<std::io::BufReader<Stretch>>,
    position: u64,
    crc: Crc,
}

impl DeflatedMember {
    pub(crate) fn new(file: Arc<PositionedFile>, member: Member) -> Self {
        DeflatedMember { file, member, state: Mutex::new(None) }
    }

    fn start(&self) -> State {
        let end = self.member.start + self.member.packed;
        let stretch = Stretch::new(self.file.clone(), self.member.start, end);
        let decoder = DeflateDecoder::new(std::io::BufReader::with_capacity(32 << 10, stretch));
        State { decoder, position: 0, crc: Crc::new() }
    }

    /// Fill `buffer` from the unpacked bytes at `offset`.
    pub(crate) fn read_exact_at(&self, what: &str, offset: u64, buffer: &mut [u8]) -> Result<()> {
        self.visit(what, &[(offset, buffer.len())], |_, bytes, at| {
            buffer[at..at + bytes.len()].copy_from_slice(bytes);
        })
    }

    /// Hand over the bytes of each stretch (offset, length), which must be in ascending order and not
    /// overlap, piece by piece: `take(stretch index, bytes, place within the stretch)`.
    pub(crate) fn visit(
        &self,
        what: &str,
        stretches: &[(u64, usize)],
        mut take: impl FnMut(usize, &[u8], usize),
    ) -> Result<()> {
        let Some(&(first, _)) = stretches.first() else { return Ok(()) };
        let mut guard = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        // Taken out while in use, so that a failed read leaves nothing half-advanced behind.
        let mut state = match guard.take() {
            Some(s) if s.position <= first => s,
            _ => self.start(),
        };
        let mut piece = vec![0u8; 64 << 10];
        for (index, &(offset, length)) in stretches.iter().enumerate() {
            while state.position < offset {
                let n = usize::try_from(offset - state.position).unwrap_or(usize::MAX).min(piece.len());
                self.advance(what, &mut state, &mut piece[..n])?;
            }
            let mut done = 0;
            while done < length {
                let n = (length - done).min(piece.len());
                self.advance(what, &mut state, &mut piece[..n])?;
                take(index, &piece[..n], done);
                done += n;
            }
        }
        *guard = Some(state);
        Ok(())
    }

    /// Read exactly `buffer` and, at the member's end, compare its checksum.
    fn advance(&self, what: &str, state: &mut State, buffer: &mut [u8]) -> Result<()> {
        let mut done = 0;
        while done < buffer.len() {
            match state.decoder.read(&mut buffer[done..]) {
                Ok(0) => {
                    return Err(IoError::truncated(
                        self.file.path(),
                        what,
                        format!("{} bytes unpacked", self.member.unpacked),
                        format!("{}", state.position + done as u64),
                    ));
                }
                Ok(n) => done += n,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => {
                    return Err(IoError::truncated(
                        self.file.path(),
                        what,
                        format!("{} bytes unpacked", self.member.unpacked),
                        format!("{}", state.position + done as u64),
                    ));
                }
                Err(e) => {
                    return Err(IoError::new(
                        IoErrorKind::Unreadable,
                        self.file.path(),
                        what,
                        "data that can be unpacked",
                        e.to_string(),
                        "copy or download the file again: its bytes have changed",
                    ));
                }
            }
        }
        state.crc.update(buffer);
        state.position += buffer.len() as u64;
        if state.position == self.member.unpacked && state.crc.sum() != self.member.crc32 {
            return Err(IoError::new(
                IoErrorKind::Unreadable,
                self.file.path(),
                what,
                format!("checksum {:08x}", self.member.crc32),
                format!("{:08x}", state.crc.sum()),
                "copy or download the file again: its bytes have changed",
            ));
        }
        Ok(())
    }
}

/// A cursor of its own over a shared file, for the zip reader.
struct Cursor<'a> {
    file: &'a PositionedFile,
    position: u64,
}

impl Read for Cursor<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let n = crate::positioned::read_at(self.file.file(), buffer, self.position)?;
        self.position += n as u64;
        Ok(n)
    }
}

impl std::io::Seek for Cursor<'_> {
    fn seek(&mut self, to: std::io::SeekFrom) -> std::io::Result<u64> {
        let target = match to {
            std::io::SeekFrom::Start(n) => Some(n),
            std::io::SeekFrom::End(n) => self.file.len().checked_add_signed(n),
            std::io::SeekFrom::Current(n) => self.position.checked_add_signed(n),
        };
        self.position = target.ok_or(std::io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

/// Whether a path names an archive, by its first bytes.
pub(crate) fn is_zip(head: &[u8]) -> bool {
    head.starts_with(b"PK\x03\x04") || head.starts_with(b"PK\x05\x06")
}

/// The keys, for messages.
pub(crate) fn find(path: &Path, members: Vec<Member>, key: &str) -> Result<Member> {
    let keys: Vec<String> = members.iter().map(|m| m.key.clone()).collect();
    // NumPy accepts the name with its ending too.
    let bare = key.strip_suffix(".npy").unwrap_or(key);
    members
        .into_iter()
        .find(|m| m.key == key || m.key == bare)
        .ok_or_else(|| IoError::no_such_key(path, "array", key, &keys))
}
