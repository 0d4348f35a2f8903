//! Where keys are read from.

use std::cell::Cell;
use std::fs::File;
use std::io;

/// Bytes that can be looked at in any order, by several threads.
pub(super) trait Source: Sync {
    /// Number of bytes.
    fn len(&self) -> io::Result<u64>;

    /// Calls `f` with `len` bytes at `offset`; an error if there are fewer.
    fn look<T>(&self, offset: u64, len: usize, f: impl FnOnce(&[u8]) -> T) -> io::Result<T>;
}

impl Source for [u8] {
    fn len(&self) -> io::Result<u64> {
        Ok(self.len() as u64)
    }

    fn look<T>(&self, offset: u64, len: usize, f: impl FnOnce(&[u8]) -> T) -> io::Result<T> {
        let bytes = usize::try_from(offset).ok().and_then(|start| self.get(start..start.checked_add(len)?));
        Ok(f(bytes.ok_or(io::ErrorKind::UnexpectedEof)?))
    }
}

thread_local! {
    /// Bytes of the last record that this thread read, for their memory.
    static RECORD: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Each look copies what it looks at into memory of the thread's own. A file that somebody cuts
/// short or overwrites meanwhile then gives an error or a wrong checksum; mapped, it would end the
/// process. The copy takes a tenth of a second for a gigabyte.
impl Source for File {
    fn len(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn look<T>(&self, offset: u64, len: usize, f: impl FnOnce(&[u8]) -> T) -> io::Result<T> {
        // Before memory is taken for it: `len` is what the file says.
        if offset.checked_add(len as u64).is_none_or(|end| self.metadata().is_ok_and(|file| end > file.len()))
        {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        // Taken out, for `f` may look at something else on this thread.
        let mut bytes = RECORD.take();
        bytes.resize(len, 0);
        let result = read_exact_at(self, &mut bytes, offset).map(|()| f(&bytes));
        if bytes.capacity() <= KEPT_BYTES {
            RECORD.set(bytes);
        }
        result
    }
}

/// Larger records are not kept for their memory.
const KEPT_BYTES: usize = 64 << 20;

#[cfg(unix)]
fn read_exact_at(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, offset)
}

#[cfg(windows)]
fn read_exact_at(file: &File, mut bytes: &mut [u8], mut offset: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        match std::os::windows::fs::FileExt::seek_read(file, bytes, offset)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => (bytes, offset) = (&mut bytes[read..], offset + read as u64),
        }
    }
    Ok(())
}

#[cfg(not(any(unix, windows)))]
fn read_exact_at(_: &File, _: &mut [u8], _: u64) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Gives back the memory that threads keep for records.
pub(super) fn release() {
    rayon::broadcast(|_| drop(RECORD.take()));
    drop(RECORD.take());
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn looks_show_what_is_there_and_nothing_else() {
        let bytes: Vec<u8> = (0..20_000u32).map(|i| ((i * i) >> 3) as u8).collect();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&bytes).unwrap();
        for (offset, len) in
            [(0, 20_000), (1, 9_999), (4096, 4096), (8191, 2), (19_999, 1), (20_000, 0), (0, 0)]
        {
            let expected = &bytes[offset..][..len];
            assert!(file.look(offset as u64, len, |bytes| bytes == expected).unwrap());
            assert!(bytes.look(offset as u64, len, |bytes| bytes == expected).unwrap());
        }
        for (offset, len) in [(0, 20_001), (19_999, 2), (20_001, 0), (u64::MAX, 1), (1, usize::MAX)] {
            for error in [file.look(offset, len, |_| ()), bytes.look(offset, len, |_| ())] {
                assert_eq!(error.unwrap_err().kind(), io::ErrorKind::UnexpectedEof, "{len} at {offset}");
            }
        }
    }

    #[test]
    fn looks_may_nest() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"ab").unwrap();
        let both = file.look(0, 1, |a| (a.to_vec(), file.look(1, 1, <[u8]>::to_vec).unwrap())).unwrap();
        assert_eq!(both, (b"a".to_vec(), b"b".to_vec()));
    }

    #[test]
    fn a_file_cut_short_is_an_error() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&[7; 10_000]).unwrap();
        let cut = file.look(0, 10_000, |_| file.set_len(100).unwrap());
        cut.unwrap();
        assert_eq!(file.look(0, 10_000, |_| ()).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
