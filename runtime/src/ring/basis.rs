//! Which primes a polynomial has a limb for.

use std::ops::Range;

/// The first primes of the modulus chain, but for those of a [`Gap`], followed by the first `special` special primes.
///
/// Limb `i < chain` belongs to chain prime [`Basis::chain_prime`]`(i)`, which is `i` where there is no gap; limb `chain + j` to
/// special prime `j`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Basis {
    /// Number of chain primes.
    pub chain: usize,
    /// Number of special primes.
    pub special: usize,
    /// Chain primes that are left out; the gap ends below a prime that is there.
    gap: Gap,
}

/// Neighbouring chain primes that a basis leaves out: those of levels that a bootstrap's result will not have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Gap {
    start: usize,
    len: usize,
}

impl Gap {
    /// The chain primes `primes`; none if the range is empty.
    pub const fn new(primes: Range<usize>) -> Self {
        if primes.start < primes.end {
            Gap { start: primes.start, len: primes.end - primes.start }
        } else {
            Gap { start: 0, len: 0 }
        }
    }
}

impl Basis {
    /// The first `chain` chain primes: the modulus of a ciphertext.
    pub const fn chain(chain: usize) -> Self {
        Basis::extended(chain, 0)
    }

    /// The first `chain` chain primes and the first `special` special primes: where key switching accumulates.
    pub const fn extended(chain: usize, special: usize) -> Self {
        Basis { chain, special, gap: Gap::new(0..0) }
    }

    /// The same primes but for those of `gap`, for a basis that has none yet.
    ///
    /// # Panics
    /// If it has one.
    pub const fn without(self, gap: Gap) -> Self {
        assert!(self.gap.len == 0, "one gap in a basis");
        if gap.len == 0 || gap.start >= self.chain {
            return self;
        }
        let end = gap.start + gap.len;
        if end >= self.chain {
            return Basis { chain: gap.start, ..self };
        }
        Basis { chain: self.chain - gap.len, gap, ..self }
    }

    /// Those of its chain primes that are among the first `primes` of the chain, and no special ones.
    pub const fn below(self, primes: usize) -> Self {
        Basis::chain(if primes < self.end() { primes } else { self.end() }).without(self.gap)
    }

    /// With the first `special` special primes instead of its own.
    pub const fn with_special(self, special: usize) -> Self {
        Basis { special, ..self }
    }

    /// Its first `limbs` chain primes, and no special ones.
    pub const fn truncated(self, limbs: usize) -> Self {
        self.below(if limbs == 0 { 0 } else { self.chain_prime(limbs - 1) + 1 })
    }

    /// One above the highest chain prime.
    const fn end(self) -> usize {
        self.chain + self.gap.len
    }

    /// The chain prime of limb `limb`.
    #[inline]
    pub const fn chain_prime(self, limb: usize) -> usize {
        if limb < self.gap.start { limb } else { limb + self.gap.len }
    }

    /// The limbs of those of the chain primes `primes` that are there.
    pub(crate) fn limbs_of(self, primes: Range<usize>) -> Range<usize> {
        let limb = |prime: usize| {
            let limb = if prime <= self.gap.start {
                prime
            } else {
                prime.saturating_sub(self.gap.len).max(self.gap.start)
            };
            limb.min(self.chain)
        };
        limb(primes.start)..limb(primes.end)
    }

    /// Whether every prime of `other` is a prime of this basis.
    pub const fn contains(self, other: Basis) -> bool {
        let (own, others) = (self.gap, other.gap);
        let gap_left_out = own.len == 0
            || other.end() <= own.start
            || others.len > 0
                && others.start <= own.start
                && others.start + others.len >= own.start + own.len;
        self.end() >= other.end() && self.special >= other.special && gap_left_out
    }

    /// Number of limbs of a polynomial.
    #[inline]
    pub const fn limbs(self) -> usize {
        self.chain + self.special
    }

    /// The limb here that belongs to the same prime as limb `limb` of `other`, a basis contained in this one.
    #[inline]
    pub(crate) const fn limb_of(self, other: Basis, limb: usize) -> usize {
        if limb >= other.chain {
            return limb - other.chain + self.chain;
        }
        let prime = other.chain_prime(limb);
        if prime < self.gap.start { prime } else { prime - self.gap.len }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limbs_correspond_by_prime() {
        let (large, small) = (Basis::extended(7, 2), Basis::extended(3, 2));
        assert!(large.contains(small) && !small.contains(large));
        assert!(large.contains(Basis::chain(7)) && !Basis::chain(7).contains(small));
        assert!(large.contains(Basis::extended(7, 1)) && !Basis::extended(7, 1).contains(large));
        assert_eq!((large.limbs(), small.limbs()), (9, 5));
        let limbs: Vec<usize> = (0..5).map(|limb| large.limb_of(small, limb)).collect();
        assert_eq!(limbs, [0, 1, 2, 7, 8]);
    }

    /// All bases of few primes, gaps anywhere, against the lists of their primes.
    #[test]
    fn bases_with_gaps_are_lists_of_primes() {
        let mut all = Vec::new();
        for chain in 0..=6usize {
            for start in 0..=6 {
                for end in start..=6 {
                    let primes: Vec<usize> = (0..chain).filter(|p| !(start..end).contains(p)).collect();
                    all.push((Basis::extended(chain, 2).without(Gap::new(start..end)), primes));
                }
            }
        }
        for (basis, primes) in &all {
            assert_eq!((basis.chain, basis.limbs()), (primes.len(), primes.len() + 2));
            let found: Vec<usize> = (0..basis.chain).map(|limb| basis.chain_prime(limb)).collect();
            assert_eq!(found, *primes);
            for start in 0..=6 {
                for end in start..=6 {
                    let limbs = basis.limbs_of(start..end);
                    let within: Vec<usize> =
                        primes.iter().copied().filter(|p| (start..end).contains(p)).collect();
                    assert_eq!(primes[limbs], within, "{basis:?} {start}..{end}");
                }
                let below: Vec<usize> = primes.iter().copied().filter(|&p| p < start).collect();
                let (found, limbs) = (basis.below(start), below.len());
                assert_eq!((found.chain, found.special), (limbs, 0));
                assert!((0..limbs).all(|limb| found.chain_prime(limb) == below[limb]));
                assert_eq!(found, basis.truncated(limbs));
            }
            for (other, others) in &all {
                let contained = others.iter().all(|prime| primes.contains(prime));
                assert_eq!(basis.contains(*other), contained, "{basis:?} {other:?}");
                assert_eq!(basis == other, primes == others);
                if contained {
                    for (limb, prime) in others.iter().enumerate() {
                        assert_eq!(primes[basis.limb_of(*other, limb)], *prime);
                    }
                    assert_eq!(basis.limb_of(*other, others.len() + 1), primes.len() + 1);
                }
            }
        }
    }
}
