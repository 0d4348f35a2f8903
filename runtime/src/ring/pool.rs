//! Reuse of large buffers.
//!
//! A fresh polynomial at N = 2^16 with 25 limbs is 13 MB: touching its pages for the first time costs more than
//! adding two ciphertexts. Polynomials therefore return their storage to a pool of their context when dropped.

use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::kernels::Buffer;

/// Buffers at rest, by length in words.
#[derive(Debug, Default)]
struct Shelves {
    by_len: BTreeMap<usize, Vec<Buffer>>,
    words: usize,
}

/// A pool of buffers, bounded in bytes.
#[derive(Debug)]
pub struct BufferPool {
    shelves: Mutex<Shelves>,
    limit_words: AtomicUsize,
}

impl BufferPool {
    /// An empty pool that keeps at most `limit_bytes` at rest.
    pub fn new(limit_bytes: usize) -> Arc<Self> {
        Arc::new(BufferPool { shelves: Mutex::default(), limit_words: AtomicUsize::new(limit_bytes / 8) })
    }

    /// Changes the bound and frees what lies above it.
    pub fn set_limit(&self, limit_bytes: usize) {
        self.limit_words.store(limit_bytes / 8, Ordering::Relaxed);
        let mut shelves = self.shelves.lock().unwrap_or_else(PoisonError::into_inner);
        while shelves.words > limit_bytes / 8 {
            let Some(mut largest) = shelves.by_len.last_entry() else { break };
            let freed = largest.get_mut().pop().map_or(0, |buffer| buffer.len());
            if largest.get().is_empty() {
                largest.remove();
            }
            shelves.words -= freed;
        }
    }

    /// Bytes at rest.
    pub fn resting_bytes(&self) -> usize {
        self.shelves.lock().unwrap_or_else(PoisonError::into_inner).words * 8
    }

    /// A buffer of `len` words with *arbitrary* contents, from the pool if one of about that size rests there.
    pub(crate) fn take(self: &Arc<Self>, len: usize) -> PooledBuffer {
        let buffer = {
            let mut shelves = self.shelves.lock().unwrap_or_else(PoisonError::into_inner);
            // A quarter of slack: enough to serve the next lower levels, little enough not to waste memory.
            let found = shelves.by_len.range(len..=len + len / 4).next().map(|(&size, _)| size);
            found.and_then(|size| {
                let shelf = shelves.by_len.get_mut(&size)?;
                let buffer = shelf.pop();
                if shelf.is_empty() {
                    shelves.by_len.remove(&size);
                }
                shelves.words -= size;
                buffer
            })
        };
        let buffer = buffer.unwrap_or_else(|| Buffer::zeroed(len));
        PooledBuffer { buffer, len, pool: Arc::clone(self) }
    }

    fn put(&self, buffer: Buffer) {
        let words = buffer.len();
        let mut shelves = self.shelves.lock().unwrap_or_else(PoisonError::into_inner);
        if words > 0 && shelves.words + words <= self.limit_words.load(Ordering::Relaxed) {
            shelves.words += words;
            shelves.by_len.entry(words).or_default().push(buffer);
        }
    }
}

/// A buffer that goes back to its pool when dropped.
pub(crate) struct PooledBuffer {
    /// At least `len` words.
    buffer: Buffer,
    len: usize,
    pool: Arc<BufferPool>,
}

impl PooledBuffer {
    /// Forgets the words after `len`; the storage stays as it is.
    pub(crate) fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }
}

impl Deref for PooledBuffer {
    type Target = [u64];

    #[inline]
    fn deref(&self) -> &[u64] {
        &self.buffer[..self.len]
    }
}

impl DerefMut for PooledBuffer {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u64] {
        &mut self.buffer[..self.len]
    }
}

impl Clone for PooledBuffer {
    fn clone(&self) -> Self {
        let mut copy = self.pool.take(self.len);
        copy.copy_from_slice(self);
        copy
    }
}

impl Drop for PooledBuffer {
    fn drop(&mut self) {
        self.pool.put(std::mem::take(&mut self.buffer));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_come_back_within_the_limit() {
        let pool = BufferPool::new(8 * 300);
        let first = pool.take(100);
        let address = first.as_ptr();
        drop(first);
        assert_eq!(pool.resting_bytes(), 800);
        // Within a quarter of the size: the same storage; otherwise a new one.
        let again = pool.take(90);
        assert_eq!((again.as_ptr(), again.len()), (address, 90));
        assert_eq!(pool.resting_bytes(), 0);
        let (a, b, c) = (pool.take(100), pool.take(100), pool.take(100));
        drop((again, a, b, c));
        assert_eq!(pool.resting_bytes(), 2400);
        pool.set_limit(1000);
        assert_eq!(pool.resting_bytes(), 800);
    }
}
