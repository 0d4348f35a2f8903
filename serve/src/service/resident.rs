//! What is in memory because it was used lately.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

struct Held<V> {
    value: Arc<V>,
    bytes: u64,
    /// A count that grows with every use.
    used: u64,
}

struct Inner<K, V> {
    held: HashMap<K, Held<V>>,
    bytes: u64,
    uses: u64,
}

/// Values within a budget of bytes; what was used longest ago goes first. One that is larger than
/// the budget is handed out and not kept. A value that goes lives on where it is still used: an
/// evaluation that runs keeps its keys.
pub(super) struct Resident<K, V> {
    budget: u64,
    inner: Mutex<Inner<K, V>>,
}

impl<K: Clone + Eq + Hash, V> Resident<K, V> {
    pub(super) fn new(budget: u64) -> Self {
        Resident { budget, inner: Mutex::new(Inner { held: HashMap::new(), bytes: 0, uses: 0 }) }
    }

    fn inner(&self) -> MutexGuard<'_, Inner<K, V>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn has(&self, key: &K) -> bool {
        self.inner().held.contains_key(key)
    }

    pub(super) fn len(&self) -> usize {
        self.inner().held.len()
    }

    pub(super) fn bytes(&self) -> u64 {
        self.inner().bytes
    }

    /// The value, which counts as used.
    pub(super) fn get(&self, key: &K) -> Option<Arc<V>> {
        let mut inner = self.inner();
        inner.uses += 1;
        let uses = inner.uses;
        inner.held.get_mut(key).map(|held| {
            held.used = uses;
            Arc::clone(&held.value)
        })
    }

    /// Keeps `value`; returns it, or the one that was there already.
    pub(super) fn insert(&self, key: K, value: Arc<V>, bytes: u64) -> Arc<V> {
        let mut inner = self.inner();
        inner.uses += 1;
        let used = inner.uses;
        if let Some(held) = inner.held.get(&key) {
            return Arc::clone(&held.value);
        }
        if bytes > self.budget {
            return value;
        }
        while inner.bytes + bytes > self.budget {
            let oldest = inner.held.iter().min_by_key(|(_, held)| held.used).map(|(key, _)| key.clone());
            let Some(gone) = oldest.and_then(|oldest| inner.held.remove(&oldest)) else { break };
            inner.bytes -= gone.bytes;
        }
        inner.bytes += bytes;
        inner.held.insert(key, Held { value: Arc::clone(&value), bytes, used });
        value
    }

    pub(super) fn remove(&self, key: &K) {
        let mut inner = self.inner();
        if let Some(gone) = inner.held.remove(key) {
            inner.bytes -= gone.bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_used_longest_ago_goes_first() {
        let resident = Resident::new(30);
        let put = |key: &'static str, bytes| drop(resident.insert(key, Arc::new(key), bytes));
        put("a", 10);
        put("b", 10);
        put("c", 10);
        assert!(resident.get(&"a").is_some());
        put("d", 15);
        let here = |keys: [&'static str; 4]| keys.map(|key| resident.has(&key));
        assert_eq!(here(["a", "b", "c", "d"]), [true, false, false, true]);
        assert_eq!(resident.bytes(), 25);
        put("e", 31);
        assert!(!resident.has(&"e") && resident.bytes() == 25, "more than the budget is not kept");
        let again = resident.insert("a", Arc::new("other"), 10);
        assert_eq!((*again, resident.bytes()), ("a", 25));
        resident.remove(&"a");
        resident.remove(&"a");
        assert_eq!(resident.bytes(), 15);
    }
}
