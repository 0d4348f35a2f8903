//! Which primes a polynomial has a limb for.

/// The first `chain` primes of the modulus chain, followed by all special primes if `special`.
///
/// Limb `i < chain` belongs to chain prime `i`; limb `chain + j` to special prime `j`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Basis {
    /// Number of chain primes.
    pub chain: usize,
    /// Whether the special primes follow.
    pub special: bool,
}

impl Basis {
    /// The first `chain` chain primes: the modulus of a ciphertext.
    pub const fn chain(chain: usize) -> Self {
        Basis { chain, special: false }
    }

    /// The first `chain` chain primes and all special primes: where key switching accumulates.
    pub const fn extended(chain: usize) -> Self {
        Basis { chain, special: true }
    }

    /// Whether every prime of `other` is a prime of this basis.
    pub const fn contains(self, other: Basis) -> bool {
        self.chain >= other.chain && (self.special || !other.special)
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
        let (large, small) = (Basis::extended(7), Basis::extended(3));
        assert!(large.contains(small) && !small.contains(large));
        assert!(large.contains(Basis::chain(7)) && !Basis::chain(7).contains(small));
        let limbs: Vec<usize> = (0..5).map(|limb| large.limb_of(small, limb)).collect();
        assert_eq!(limbs, [0, 1, 2, 7, 8]);
    }
}
