//! Where keys are read from.

use std::fs::File;
use std::io;

use crate::kernels::FileWindow;

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

/// Each look is a window of its own, so that what has been read leaves memory at once.
impl Source for File {
    fn len(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn look<T>(&self, offset: u64, len: usize, f: impl FnOnce(&[u8]) -> T) -> io::Result<T> {
        Ok(f(&FileWindow::open(self, offset, len)?))
    }
}
