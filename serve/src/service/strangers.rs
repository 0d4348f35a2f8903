//! Connections of which nobody knows whose they are: those that have sent no request with a token,
//! or no certificate. Where there is no room for another connection, the oldest of them gives way,
//! so that whoever holds connections without a word keeps out nobody but others like it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

#[derive(Default)]
struct Inner {
    /// A count that grows with every connection.
    next: u64,
    /// By that count, so the oldest one first.
    waiting: BTreeMap<u64, Arc<Notify>>,
}

/// All of them.
#[derive(Clone, Default)]
pub(super) struct Strangers(Arc<Mutex<Inner>>);

impl Strangers {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new connection.
    pub(super) fn enter(&self) -> Stranger {
        let mut inner = self.inner();
        let (id, leaves) = (inner.next, Arc::new(Notify::new()));
        inner.next += 1;
        inner.waiting.insert(id, Arc::clone(&leaves));
        Stranger { id, leaves, of: self.clone() }
    }

    /// Tells the oldest one to end; whether there is one.
    pub(super) fn oldest_leaves(&self) -> bool {
        let oldest = self.inner().waiting.pop_first();
        oldest.is_some_and(|(_, leaves)| {
            // Kept where the connection does not wait for it yet.
            leaves.notify_one();
            true
        })
    }
}

/// One of them, until it is known or ends.
pub(super) struct Stranger {
    id: u64,
    leaves: Arc<Notify>,
    of: Strangers,
}

impl Stranger {
    /// It does not give way any more.
    pub(super) fn is_known(&self) {
        self.of.inner().waiting.remove(&self.id);
    }

    /// Until it is to end.
    pub(super) async fn gives_way(&self) {
        self.leaves.notified().await;
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        self.is_known();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_oldest_stranger_gives_way() {
        let strangers = Strangers::default();
        let [known, first, gone, second] = [0; 4].map(|_| strangers.enter());
        known.is_known();
        drop(gone);
        assert!(strangers.oldest_leaves());
        first.gives_way().await;
        assert!(strangers.oldest_leaves());
        second.gives_way().await;
        assert!(!strangers.oldest_leaves(), "those who are known stay");
    }
}
