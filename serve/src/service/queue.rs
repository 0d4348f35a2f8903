//! A queue that is fair: principals take turns.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// How often the next owner is passed over for those whose items are preferred.
const MOST_PASSED: usize = 3;

/// Each owner's items in the order they came; owners in turns.
#[derive(Debug)]
pub(super) struct FairQueue<P, T> {
    items: HashMap<P, VecDeque<T>>,
    /// Owners that have items, the next one first.
    turns: VecDeque<P>,
    /// How often the first of these was passed over.
    passed: usize,
    len: usize,
}

impl<P: Clone + Eq + Hash, T: PartialEq> FairQueue<P, T> {
    pub(super) fn new() -> Self {
        FairQueue { items: HashMap::new(), turns: VecDeque::new(), passed: 0, len: 0 }
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

    /// The next item: of the owner whose turn it is, or of the first one whose next item is
    /// preferred, unless the former was passed over too often.
    pub(super) fn pop(&mut self, mut is_preferred: impl FnMut(&T) -> bool) -> Option<T> {
        let mut next_of = |owner: &P| self.items.get(owner)?.front().map(&mut is_preferred);
        let preferred = match self.passed < MOST_PASSED {
            true => self.turns.iter().position(|owner| next_of(owner) == Some(true)),
            false => None,
        };
        let at = preferred.unwrap_or(0);
        self.passed = if at == 0 { 0 } else { self.passed + 1 };
        let owner = self.turns.remove(at)?;
        let own = self.items.get_mut(&owner)?;
        let item = own.pop_front()?;
        self.len -= 1;
        match own.is_empty() {
            true => drop(self.items.remove(&owner)),
            false => self.turns.push_back(owner),
        }
        Some(item)
    }

    /// What goes before an item that `owner` pushes now, where nothing is preferred.
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
            if self.turns.front() == Some(owner) {
                self.passed = 0;
            }
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
        assert_eq!(queue.pop(|_| false), Some(0));
        queue.push("c", 20);
        assert!(queue.remove(&"a", &2) && !queue.remove(&"a", &2) && !queue.remove(&"d", &1));
        assert_eq!(queue.len(), 5);
        // What goes before an item is what does when it is there.
        for owner in ["a", "b", "c", "d"] {
            let (items, turns) = (queue.items.clone(), queue.turns.clone());
            let mut with = FairQueue { items, turns, passed: 0, len: queue.len };
            let mut before: Vec<i32> = queue.before(&owner).into_iter().copied().collect();
            with.push(owner, 99);
            let mut popped: Vec<i32> =
                std::iter::from_fn(|| with.pop(|_| false)).take_while(|item| *item != 99).collect();
            before.sort();
            popped.sort();
            assert_eq!(before, popped, "{owner}");
        }
        let rest: Vec<i32> = std::iter::from_fn(|| queue.pop(|_| false)).collect();
        assert_eq!(rest, [10, 1, 20, 11, 3]);
        queue.push("a", 5);
        assert!(queue.remove(&"a", &5));
        assert_eq!((queue.pop(|_| false), queue.len()), (None, 0));
    }

    #[test]
    fn what_is_preferred_passes_others_over_for_a_while() {
        let mut queue = FairQueue::new();
        (0..3).for_each(|i| queue.push("a", i));
        (10..20).for_each(|i| queue.push("b", i));
        (20..23).for_each(|i| queue.push("c", i));
        let of_b = |item: &i32| (10..20).contains(item);
        let popped: Vec<i32> = (0..9).filter_map(|_| queue.pop(of_b)).collect();
        // The first one waits for three of the second; what is not preferred takes turns.
        assert_eq!(popped, [10, 11, 12, 0, 13, 14, 15, 20, 16]);
        // Nobody else is there to be passed over.
        let rest: Vec<i32> = std::iter::from_fn(|| queue.pop(of_b)).collect();
        assert_eq!(rest, [17, 18, 1, 19, 21, 2, 22]);
    }
}
