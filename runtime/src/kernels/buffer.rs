//! Cache-line aligned storage for residues, in huge pages where it is large.

use std::fmt;
use std::ops::{Deref, DerefMut};

use memmap2::MmapMut;
use zeroize::Zeroize;

/// One cache line, which is also one 512-bit vector.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u64; LINE]);

const LINE: usize = 8;

/// Words from which a buffer is a mapping of its own: two huge pages. Keys and ciphertexts stream
/// through memory; with pages of 4 KiB every stream misses the translation cache once per 512
/// words, and a fresh buffer faults as often.
const MAPPED_WORDS: usize = (4 << 20) / size_of::<u64>();

/// A vector of `u64` whose first element lies on a 64-byte boundary.
///
/// Kernels accept any slice; on one of these no vector load straddles two cache lines. The length
/// is fixed.
pub struct Buffer {
    storage: Storage,
    len: usize,
}

enum Storage {
    Lines(Vec<Line>),
    /// Of at least `len` words, page-aligned.
    Mapping(MmapMut),
}

impl Buffer {
    /// A buffer of `len` zeros.
    pub fn zeroed(len: usize) -> Self {
        let mapped = (len >= MAPPED_WORDS).then(|| map_zeroed(len)).flatten();
        // Where no mapping is to be had, the allocator says so in the usual way.
        let lines = || Storage::Lines(vec![Line([0; LINE]); len.div_ceil(LINE)]);
        Buffer { storage: mapped.map_or_else(lines, Storage::Mapping), len }
    }

    /// A buffer with the elements of `values`.
    pub fn from_slice(values: &[u64]) -> Self {
        let mut buffer = Self::zeroed(values.len());
        buffer.copy_from_slice(values);
        buffer
    }
}

/// `len` zeros in a mapping, in huge pages if the system has them.
fn map_zeroed(len: usize) -> Option<MmapMut> {
    let mapping = MmapMut::map_anon(len.checked_mul(size_of::<u64>())?).ok()?;
    #[cfg(target_os = "linux")]
    if let Err(error) = mapping.advise(memmap2::Advice::HugePage) {
        tracing::trace!(%error, "no huge pages");
    }
    Some(mapping)
}

impl Default for Buffer {
    fn default() -> Self {
        Self::zeroed(0)
    }
}

impl Clone for Buffer {
    fn clone(&self) -> Self {
        Self::from_slice(self)
    }
}

impl Deref for Buffer {
    type Target = [u64];

    #[inline]
    fn deref(&self) -> &[u64] {
        let start = match &self.storage {
            Storage::Lines(lines) => lines.as_ptr().cast(),
            Storage::Mapping(mapping) => mapping.as_ptr().cast(),
        };
        // SAFETY: both kinds of storage hold at least `len` contiguous initialised `u64` at an
        // aligned address (Line is `repr(C)` over `[u64; 8]`, without padding; a mapping starts at
        // a page), borrowed for as long as `self` is.
        unsafe { std::slice::from_raw_parts(start, self.len) }
    }
}

impl DerefMut for Buffer {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u64] {
        let start = match &mut self.storage {
            Storage::Lines(lines) => lines.as_mut_ptr().cast(),
            Storage::Mapping(mapping) => mapping.as_mut_ptr().cast(),
        };
        // SAFETY: as in `deref`, and `self` is borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(start, self.len) }
    }
}

impl PartialEq for Buffer {
    fn eq(&self, other: &Self) -> bool {
        self[..] == other[..]
    }
}

impl Eq for Buffer {}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl From<Vec<u64>> for Buffer {
    fn from(values: Vec<u64>) -> Self {
        Self::from_slice(&values)
    }
}

impl Zeroize for Buffer {
    /// Overwrites the elements with zeros; the length stays.
    fn zeroize(&mut self) {
        self[..].zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_aligned_and_has_the_asked_length() {
        for len in [0, 1, 7, 8, 9, 1000, MAPPED_WORDS, MAPPED_WORDS + 13] {
            let mut buffer = Buffer::zeroed(len);
            assert_eq!(buffer.len(), len);
            assert_eq!(buffer.as_ptr() as usize % 64, 0);
            assert!(buffer.iter().all(|&x| x == 0));
            for (i, x) in buffer.iter_mut().enumerate() {
                *x = i as u64;
            }
            assert_eq!(buffer, buffer.clone());
            assert_eq!(buffer, Buffer::from((0..len as u64).collect::<Vec<_>>()));
            buffer.zeroize();
            assert!(buffer.len() == len && buffer.iter().all(|&x| x == 0));
        }
    }
}
