//! Which primes a polynomial has a limb for.

/// The first `chain` primes of the modulus chain, followed by the first `special` special primes.
///
/// Limb `i < chain` belongs to chain prime `i`; limb `chain + j` to special prime `j`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Basis {
    /// Number of chain primes.
    pub chain: usize,
    /// Number of special primes.
    pub special: usize,
}

impl Basis {
    /// The first `chain` chain primes: the modulus of a ciphertext.
    pub const fn chain(chain: usize) -> Self {
        Basis { chain, special: 0 }
    }

    /// The first `chain` chain primes and the first `special` special primes: where key switching accumulates.
    pub const fn extended(chain: usize, special: usize) -> Self {
        Basis { chain, special }
    }

    /// Whether every prime of `other` is a prime of this basis.
    pub const fn contains(self, other: Basis) -> bool {
        self.chain >= other.chain && self.special >= other.special
    }

    /// Number of limbs of a polynomial.
    #[inline]
    pub const fn limbs(self) -> usize {
        self.chain + self.special
    }

    /// The limb here that belongs to the same prime as limb `limb` of `other`, a basis contained in this one.
    #[inline]
    pub(crate) const fn limb_of(self, other: Basis, limb: usize) -> usize {
        if limb < other.chain { limb } else { limb - other.chain + self.chain }
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
}
