//! Parts of files as memory.

use std::fs::File;
use std::io;
use std::ops::Deref;

use memmap2::{Mmap, MmapOptions};

/// Bytes of a file, read by the operating system when they are touched. They occupy memory only while the window is open.
///
/// # Who may change the file
/// Nobody, while a window on it is open. All files of fhec are written under another name and renamed, which leaves an open
/// one as it is. Whoever cuts an open file short in place ends the process that has the window (`SIGBUS`); whoever
/// overwrites it makes bytes change between two looks. Readers of windows therefore check every number they take from them
/// where they take it, and trust no earlier look.
pub struct FileWindow(Mmap);

impl FileWindow {
    /// The `len` bytes at `offset`. An error if the file has no such bytes.
    pub fn open(file: &File, offset: u64, len: usize) -> io::Result<Self> {
        let (end, there) = (offset.checked_add(len as u64), file.metadata()?.len());
        if end.is_none_or(|end| end > there) {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
        }
        // SAFETY: the mapping is read-only and lies within the file. That nobody changes the file while it is mapped cannot
        // be enforced; it is the contract above, which holds for files that are replaced by renaming.
        let map = unsafe { MmapOptions::new().offset(offset).len(len).map(file)? };
        Ok(FileWindow(map))
    }
}

impl Deref for FileWindow {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn windows_show_what_is_there_and_nothing_else() {
        let bytes: Vec<u8> = (0..20_000u32).map(|i| ((i * i) >> 3) as u8).collect();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&bytes).unwrap();
        for (offset, len) in
            [(0, 20_000), (1, 9_999), (4096, 4096), (8191, 2), (19_999, 1), (20_000, 0), (0, 0)]
        {
            assert!(FileWindow::open(&file, offset as u64, len).unwrap()[..] == bytes[offset..][..len]);
        }
        for (offset, len) in [(0, 20_001), (19_999, 2), (20_001, 0), (u64::MAX, 1), (1, usize::MAX)] {
            let Err(error) = FileWindow::open(&file, offset, len) else { panic!("{len} bytes at {offset}") };
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        }
    }
}
