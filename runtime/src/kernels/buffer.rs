//! Cache-line aligned storage for residues.

use std::fmt;
use std::ops::{Deref, DerefMut};

use zeroize::Zeroize;

/// One cache line, which is also one 512-bit vector.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u64; LINE]);

const LINE: usize = 8;

/// A vector of `u64` whose first element lies on a 64-byte boundary.
///
/// Kernels accept any slice; on one of these no vector load straddles two cache lines. The length is fixed.
#[derive(Clone, Default)]
pub struct Buffer {
    lines: Vec<Line>,
    len: usize,
}

impl Buffer {
    /// A buffer of `len` zeros.
    pub fn zeroed(len: usize) -> Self {
        Buffer { lines: vec![Line([0; LINE]); len.div_ceil(LINE)], len }
    }

    /// A buffer with the elements of `values`.
    pub fn from_slice(values: &[u64]) -> Self {
        let mut buffer = Self::zeroed(values.len());
        buffer.copy_from_slice(values);
        buffer
    }
}

impl Deref for Buffer {
    type Target = [u64];

    fn deref(&self) -> &[u64] {
        // SAFETY: `lines` holds at least `len` contiguous initialised `u64` (Line is `repr(C)` over `[u64; 8]`, without
        // padding), borrowed for as long as `self` is.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.len) }
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u64] {
        // SAFETY: as in `deref`, and `self` is borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.len) }
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
        for len in [0, 1, 7, 8, 9, 1000] {
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
