//! Which primes of a modulus chain a polynomial has.

use std::fmt;
use std::ops::Range;

use serde::{Deserialize, Serialize};

/// A set of chain primes, by their numbers from the bottom of the chain: the modulus of a level is
/// the product of one.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PrimeSet(u128);

impl PrimeSet {
    /// One more than the largest number of a prime.
    pub const CAPACITY: usize = u128::BITS as usize;
    /// No prime.
    pub const EMPTY: PrimeSet = PrimeSet(0);

    /// The first `count` primes.
    ///
    /// # Panics
    /// If `count` is above [`Self::CAPACITY`].
    pub const fn first(count: usize) -> Self {
        assert!(count <= Self::CAPACITY, "more primes than a chain has");
        PrimeSet(if count == 0 { 0 } else { u128::MAX >> (Self::CAPACITY - count) })
    }

    /// The sets of the first primes, of each number in `counts`: levels that are prefixes of the
    /// chain.
    pub fn prefixes(counts: impl IntoIterator<Item = usize>) -> Vec<PrimeSet> {
        counts.into_iter().map(PrimeSet::first).collect()
    }

    /// The primes `primes`.
    pub const fn range(primes: Range<usize>) -> Self {
        PrimeSet::first(primes.end).without(PrimeSet::first(primes.start))
    }

    /// As its bits.
    pub const fn from_bits(bits: u128) -> Self {
        PrimeSet(bits)
    }

    /// Bit `i` is set where prime `i` is there.
    pub const fn bits(self) -> u128 {
        self.0
    }

    /// Primes of either.
    #[must_use]
    pub const fn with(self, other: PrimeSet) -> Self {
        PrimeSet(self.0 | other.0)
    }

    /// Its primes that are none of `other`.
    #[must_use]
    pub const fn without(self, other: PrimeSet) -> Self {
        PrimeSet(self.0 & !other.0)
    }

    /// Primes of both.
    #[must_use]
    pub const fn within(self, other: PrimeSet) -> Self {
        PrimeSet(self.0 & other.0)
    }

    /// Whether every prime of `other` is there.
    pub const fn contains(self, other: PrimeSet) -> bool {
        other.0 & !self.0 == 0
    }

    /// Whether prime `prime` is there.
    #[inline]
    pub const fn has(self, prime: usize) -> bool {
        prime < Self::CAPACITY && self.0 >> prime & 1 == 1
    }

    /// Number of primes.
    #[inline]
    pub const fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// Whether there is no prime.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// One above the highest number; 0 for the empty set.
    #[inline]
    pub const fn end(self) -> usize {
        (u128::BITS - self.0.leading_zeros()) as usize
    }

    /// Number of its primes below prime `prime`.
    #[inline]
    pub const fn rank(self, prime: usize) -> usize {
        self.within(PrimeSet::first(if prime < Self::CAPACITY { prime } else { Self::CAPACITY })).len()
    }

    /// The prime of rank `rank`.
    ///
    /// # Panics
    /// If there are not so many.
    #[inline]
    pub const fn nth(self, rank: usize) -> usize {
        assert!(rank < self.len(), "a prime beyond the last");
        let (mut rest, mut left) = (self.0, rank);
        while left > 0 {
            rest &= rest - 1;
            left -= 1;
        }
        rest.trailing_zeros() as usize
    }

    /// Their numbers, ascending.
    pub fn iter(self) -> impl Iterator<Item = usize> + Clone {
        (0..self.len()).map(move |rank| self.nth(rank))
    }
}

/// What ciphertexts on their way to a level have in place of the primes of another: those of the
/// level itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exchange {
    from: PrimeSet,
    to: PrimeSet,
}

impl Exchange {
    /// The primes `to` in place of the primes `from`.
    pub const fn new(from: PrimeSet, to: PrimeSet) -> Self {
        Exchange { from, to }
    }

    /// The primes of such a ciphertext at a level that has `primes`: the same, unless all that are
    /// exchanged are among them.
    pub const fn of(self, primes: PrimeSet) -> PrimeSet {
        if primes.contains(self.from) { primes.without(self.from).with(self.to) } else { primes }
    }
}

impl fmt::Debug for PrimeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All subsets of few primes, against lists.
    #[test]
    fn sets_are_lists_of_primes() {
        let list = |set: PrimeSet| (0..6).filter(|&p| set.bits() >> p & 1 == 1).collect::<Vec<usize>>();
        for a in (0..64).map(PrimeSet::from_bits) {
            let primes = list(a);
            assert_eq!(a.iter().collect::<Vec<_>>(), primes);
            assert_eq!((a.len(), a.is_empty()), (primes.len(), primes.is_empty()));
            assert_eq!(a.end(), primes.last().map_or(0, |last| last + 1));
            for p in 0..6 {
                assert_eq!(a.rank(p), primes.iter().filter(|&&q| q < p).count());
            }
            for b in (0..64).map(PrimeSet::from_bits) {
                let others = list(b);
                let both: Vec<usize> = primes.iter().copied().filter(|p| others.contains(p)).collect();
                let only: Vec<usize> = primes.iter().copied().filter(|p| !others.contains(p)).collect();
                assert_eq!(list(a.within(b)), both);
                assert_eq!(list(a.without(b)), only);
                assert_eq!(a.with(b).len(), only.len() + others.len());
                assert_eq!(a.contains(b), both == others);
            }
        }
    }

    #[test]
    fn ranges_reach_both_ends() {
        assert_eq!(PrimeSet::first(PrimeSet::CAPACITY).len(), PrimeSet::CAPACITY);
        assert_eq!(PrimeSet::range(3..5).iter().collect::<Vec<_>>(), [3, 4]);
        assert!(PrimeSet::range(4..4).is_empty() && PrimeSet::first(0).is_empty());
        assert_eq!(PrimeSet::prefixes(1..=2), [PrimeSet::from_bits(1), PrimeSet::from_bits(3)]);
    }
}
