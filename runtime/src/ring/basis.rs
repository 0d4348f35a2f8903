//! Which primes a polynomial has a limb for.

use std::ops::Range;

use fhec_ir::prime_set::PrimeSet;

/// Some primes of the modulus chain, in order, followed by the first `special` special primes.
///
/// Limb `i < chain` belongs to chain prime [`Basis::chain_prime`]`(i)`; limb `chain + j` to special
/// prime `j`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Basis {
    /// Number of chain primes.
    pub chain: usize,
    /// Number of special primes.
    pub special: usize,
    primes: PrimeSet,
}

impl Basis {
    /// The chain primes `primes`: the modulus of a ciphertext.
    pub const fn of(primes: PrimeSet) -> Self {
        Basis { chain: primes.len(), special: 0, primes }
    }

    /// The first `chain` chain primes.
    pub const fn chain(chain: usize) -> Self {
        Basis::of(PrimeSet::first(chain))
    }

    /// The first `chain` chain primes and the first `special` special primes.
    pub const fn extended(chain: usize, special: usize) -> Self {
        Basis::chain(chain).with_special(special)
    }

    /// With the first `special` special primes instead of its own.
    pub const fn with_special(self, special: usize) -> Self {
        Basis { special, ..self }
    }

    /// The chain primes.
    #[inline]
    pub const fn primes(self) -> PrimeSet {
        self.primes
    }

    /// The chain prime of limb `limb`.
    #[inline]
    pub const fn chain_prime(self, limb: usize) -> usize {
        self.primes.nth(limb)
    }

    /// The limbs of those of the chain primes `primes` that are there.
    pub(crate) const fn limbs_of(self, primes: Range<usize>) -> Range<usize> {
        self.primes.rank(primes.start)..self.primes.rank(primes.end)
    }

    /// Whether every prime of `other` is a prime of this basis.
    pub const fn contains(self, other: Basis) -> bool {
        self.primes.contains(other.primes) && self.special >= other.special
    }

    /// Number of limbs of a polynomial.
    #[inline]
    pub const fn limbs(self) -> usize {
        self.chain + self.special
    }

    /// The limb here that belongs to the same prime as limb `limb` of `other`, a basis contained in
    /// this one.
    #[inline]
    pub(crate) const fn limb_of(self, other: Basis, limb: usize) -> usize {
        if limb >= other.chain {
            return limb - other.chain + self.chain;
        }
        self.primes.rank(other.chain_prime(limb))
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

    /// All bases of few primes, against the lists of their primes.
    #[test]
    fn bases_are_lists_of_primes() {
        let all: Vec<(Basis, Vec<usize>)> = (0..64)
            .map(|bits| {
                let primes = PrimeSet::from_bits(bits);
                (Basis::of(primes).with_special(2), primes.iter().collect())
            })
            .collect();
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
            }
            for (other, others) in &all {
                let contained = others.iter().all(|prime| primes.contains(prime));
                assert_eq!(basis.contains(*other), contained, "{basis:?} {other:?}");
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
