//! How much of what there is little of may be taken at a time, and how much of it by one principal.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

type Taken = Mutex<HashMap<Arc<str>, usize>>;

/// Things that are counted.
pub(super) struct Shares {
    most: usize,
    most_of_one: usize,
    taken: Arc<Taken>,
}

/// One of them; free again when this is dropped.
pub(super) struct Share {
    principal: Arc<str>,
    taken: Arc<Taken>,
}

fn locked(taken: &Taken) -> MutexGuard<'_, HashMap<Arc<str>, usize>> {
    taken.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shares {
    /// `most` of all principals, of them `most_of_one` of each.
    pub(super) fn new(most: usize, most_of_one: usize) -> Self {
        Shares { most, most_of_one, taken: Arc::default() }
    }

    /// One more for `principal`, if there is one.
    pub(super) fn take(&self, principal: &Arc<str>) -> Option<Share> {
        let mut taken = locked(&self.taken);
        let own = taken.get(principal).copied().unwrap_or(0);
        if own >= self.most_of_one || taken.values().sum::<usize>() >= self.most {
            return None;
        }
        taken.insert(Arc::clone(principal), own + 1);
        Some(Share { principal: Arc::clone(principal), taken: Arc::clone(&self.taken) })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut taken = locked(&self.taken);
        if let Some(own) = taken.get_mut(&self.principal) {
            *own -= 1;
            if *own == 0 {
                taken.remove(&self.principal);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_takes_all() {
        let shares = Shares::new(5, 3);
        let [a, b] = ["a", "b"].map(Arc::<str>::from);
        let of_a: Vec<Share> = (0..9).filter_map(|_| shares.take(&a)).collect();
        let mut of_b: Vec<Share> = (0..9).filter_map(|_| shares.take(&b)).collect();
        assert_eq!((of_a.len(), of_b.len()), (3, 2));
        drop(of_a);
        of_b.extend(shares.take(&b));
        assert!(of_b.len() == 3 && shares.take(&b).is_none() && shares.take(&a).is_some());
        drop(of_b);
        assert!(locked(&shares.taken).is_empty());
    }
}
