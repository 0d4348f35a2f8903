//! Encoded weights of linear maps.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::circuits::linear_transform::{DiagonalRows, EncodedMap};

/// A map with its diagonals encoded.
pub(super) type EncodedRows = (DiagonalRows, EncodedMap);

/// Encoded diagonals of linear maps, kept as long as they fit into a number of bytes. Maps that do
/// not fit are encoded every time they run.
#[derive(Debug)]
pub(super) struct DiagonalCache {
    budget: usize,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    bytes: usize,
    maps: BTreeMap<usize, Arc<EncodedRows>>,
}

impl DiagonalCache {
    /// A cache of at most `budget` bytes; 0 keeps nothing.
    pub(super) fn new(budget: usize) -> Self {
        DiagonalCache { budget, kept: Mutex::default() }
    }

    /// Bytes kept.
    pub(super) fn bytes(&self) -> usize {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).bytes
    }

    /// What is kept of op number `op`.
    pub(super) fn get(&self, op: usize) -> Option<Arc<EncodedRows>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).maps.get(&op).cloned()
    }

    /// Whether `bytes` more would fit.
    pub(super) fn has_room(&self, bytes: usize) -> bool {
        self.bytes().checked_add(bytes).is_some_and(|sum| sum <= self.budget)
    }

    /// Keeps `map` if there is room. Of two sessions that have encoded the same one, one is kept.
    pub(super) fn insert(&self, op: usize, map: Arc<EncodedRows>) {
        let bytes = map.1.bytes();
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.bytes + bytes <= self.budget && kept.maps.insert(op, map).is_none() {
            kept.bytes += bytes;
        }
    }
}
