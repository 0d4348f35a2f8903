//! Reuse of large buffers.
//!
//! A fresh polynomial at N = 2^16 with 25 limbs is 13 MB: touching its pages for the first time
//! costs more than adding two ciphertexts. Polynomials therefore return their storage to a pool of
//! their context when dropped.

use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::kernels::Buffer;

/// Buffers at rest, by length in words; on a shelf the one put there last comes last.
#[derive(Debug, Default)]
struct Shelves {
    by_len: BTreeMap<usize, Vec<(u64, Buffer)>>,
    words: usize,
    /// Number of buffers put here so far: the time.
    put: u64,
}

impl Shelves {
    fn put(&mut self, buffer: Buffer) {
        self.put += 1;
        self.words += buffer.len();
        self.by_len.entry(buffer.len()).or_default().push((self.put, buffer));
    }

    /// The buffer of at least `len` words and little more that was used last of its length.
    fn take(&mut self, len: usize) -> Option<Buffer> {
        // Half as much again: enough to serve the next lower levels, little enough not to waste
        // memory.
        let size = *self.by_len.range(len..=len + len / 2).next()?.0;
        let shelf = self.by_len.get_mut(&size)?;
        let (_, buffer) = shelf.pop()?;
        if shelf.is_empty() {
            self.by_len.remove(&size);
        }
        self.words -= size;
        Some(buffer)
    }

    /// Takes those that have rested longest until at most `words` are left.
    fn evict(&mut self, words: usize) -> Vec<Buffer> {
        let mut evicted = Vec::new();
        while self.words > words {
            let rested = self.by_len.iter().min_by_key(|(_, shelf)| shelf.first().map(|&(put, _)| put));
            let Some((&size, _)) = rested else { break };
            let Some(shelf) = self.by_len.get_mut(&size) else { break };
            evicted.push(shelf.remove(0).1);
            if shelf.is_empty() {
                self.by_len.remove(&size);
            }
            self.words -= size;
        }
        evicted
    }
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
    #[cfg(test)]
    fn set_limit(&self, limit_bytes: usize) {
        self.limit_words.store(limit_bytes / 8, Ordering::Relaxed);
        self.lock().evict(limit_bytes / 8);
    }

    /// Bytes at rest.
    pub fn resting_bytes(&self) -> usize {
        self.lock().words * 8
    }

    fn lock(&self) -> MutexGuard<'_, Shelves> {
        self.shelves.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A buffer of `len` words with *arbitrary* contents, from the pool if one of about that size
    /// rests there.
    pub(crate) fn take(self: &Arc<Self>, len: usize) -> PooledBuffer {
        let buffer = self.lock().take(len).unwrap_or_else(|| Buffer::zeroed(len));
        PooledBuffer { buffer, len, pool: Arc::clone(self) }
    }

    /// Those that have rested longest make room: sizes change along a program, and the last ones
    /// come next.
    fn put(&self, buffer: Buffer) {
        let limit = self.limit_words.load(Ordering::Relaxed);
        if buffer.is_empty() || buffer.len() > limit {
            return;
        }
        let mut shelves = self.lock();
        shelves.put(buffer);
        let evicted = shelves.evict(limit);
        // Giving memory back takes its time: not under the lock.
        drop(shelves);
        drop(evicted);
    }
}

/// A buffer that goes back to its pool when dropped.
pub(crate) struct PooledBuffer {
    /// At least `len` words.
    buffer: Buffer,
    len: usize,
    pool: Arc<BufferPool>,
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
        // Within half as much again: the same storage; otherwise a new one.
        let again = pool.take(70);
        assert_eq!((again.as_ptr(), again.len()), (address, 70));
        assert_eq!(pool.resting_bytes(), 0);
        let (a, b, c) = (pool.take(100), pool.take(100), pool.take(100));
        drop((again, a, b, c));
        assert_eq!(pool.resting_bytes(), 2400);
        pool.set_limit(1000);
        assert_eq!(pool.resting_bytes(), 800);
    }

    #[test]
    fn the_longest_rested_make_room() {
        let pool = BufferPool::new(8 * 300);
        let (a, b, c) = (pool.take(100), pool.take(200), pool.take(120));
        let addresses = [b.as_ptr(), c.as_ptr()];
        drop(a);
        drop(b);
        assert_eq!(pool.resting_bytes(), 2400);
        // 420 words are too many: the oldest goes, and the next, until 300 are left.
        drop(c);
        assert_eq!(pool.resting_bytes(), 8 * 120);
        let c = pool.take(120);
        assert_eq!(c.as_ptr(), addresses[1]);
        // More than everything is not kept.
        drop(pool.take(301));
        assert_eq!(pool.resting_bytes(), 0);
    }
}
