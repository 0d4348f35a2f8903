//! A queue that is fair: principals take turns.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// Each owner's items in the order they came; owners in turns.
#[derive(Debug)]
pub(super) struct FairQueue<P, T> {
    items: HashMap<P, VecDeque<T>>,
    /// Owners that have items, the next one first.
    turns: VecDeque<P>,
    len: usize,
}

impl<P: Clone + Eq + Hash, T: PartialEq> FairQueue<P, T> {
    pub(super) fn new() -> Self {
        FairQueue { items: HashMap::new(), turns: VecDeque::new(), len: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn push(&mut self, owner: P, item: T) {
        let own = self.items.entry(owner.clone()).or_default();
        if own.is_empty() {
            self.turns.push_back(owner);
        }
        own.push_back(item);
        self.len += 1;
    }

    pub(super) fn pop(&mut self) -> Option<T> {
        let owner = self.turns.pop_front()?;
        let own = self.items.get_mut(&owner)?;
        let item = own.pop_front()?;
        self.len -= 1;
        match own.is_empty() {
            true => drop(self.items.remove(&owner)),
            false => self.turns.push_back(owner),
        }
        Some(item)
    }

    /// What goes before an item that `owner` pushes now.
    pub(super) fn before(&self, owner: &P) -> Vec<&T> {
        let own = self.items.get(owner).map_or(0, VecDeque::len);
        // Where it has no turn yet, it gets the last one.
        let turn = self.turns.iter().position(|other| other == owner).unwrap_or(self.turns.len());
        let most = |at: usize| if at < turn { own + 1 } else { own };
        let of = |(at, other)| {
            self.items.get(other).into_iter().flat_map(move |items| items.iter().take(most(at)))
        };
        self.turns.iter().enumerate().flat_map(of).collect()
    }

    /// Takes an item out; whether it was there.
    pub(super) fn remove(&mut self, owner: &P, item: &T) -> bool {
        let Some(own) = self.items.get_mut(owner) else { return false };
        let Some(index) = own.iter().position(|other| other == item) else { return false };
        own.remove(index);
        self.len -= 1;
        if own.is_empty() {
            self.items.remove(owner);
            self.turns.retain(|other| other != owner);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_take_turns() {
        let mut queue = FairQueue::new();
        (0..4).for_each(|i| queue.push("a", i));
        (10..12).for_each(|i| queue.push("b", i));
        assert_eq!(queue.pop(), Some(0));
        queue.push("c", 20);
        assert!(queue.remove(&"a", &2) && !queue.remove(&"a", &2) && !queue.remove(&"d", &1));
        assert_eq!(queue.len(), 5);
        // What goes before an item is what does when it is there.
        for owner in ["a", "b", "c", "d"] {
            let mut with =
                FairQueue { items: queue.items.clone(), turns: queue.turns.clone(), len: queue.len };
            let mut before: Vec<i32> = queue.before(&owner).into_iter().copied().collect();
            with.push(owner, 99);
            let mut popped: Vec<i32> =
                std::iter::from_fn(|| with.pop()).take_while(|item| *item != 99).collect();
            before.sort();
            popped.sort();
            assert_eq!(before, popped, "{owner}");
        }
        let rest: Vec<i32> = std::iter::from_fn(|| queue.pop()).collect();
        assert_eq!(rest, [10, 1, 20, 11, 3]);
        queue.push("a", 5);
        assert!(queue.remove(&"a", &5));
        assert_eq!((queue.pop(), queue.len()), (None, 0));
    }
}
