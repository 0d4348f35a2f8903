//! A prime modulus and arithmetic on single residues.

use super::KernelError;

const MASK_52: u64 = (1 << 52) - 1;

/// An odd prime `q < 2^61` with the constants of its reductions.
///
/// Residues are canonical, in `[0, q)`, unless a function says otherwise. Montgomery form
/// multiplies a residue by `R`, where `R = 2^52` when `q < 2^50` (the range of 52-bit vector
/// multipliers) and `R = 2^64` above; all instruction sets use the same `R`, so stored operands can
/// move between machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Modulus {
    q: u64,
    bits: u32,
    /// `floor(2^64 / q)`.
    barrett_64: u64,
    /// `floor(2^(62 + bits) / q)`, below `2^63`: the quotient of products.
    barrett_product: u64,
    /// `2^64 mod q` and `floor((2^64 mod q) * 2^64 / q)`.
    word: (u64, u64),
    /// `log2 R`.
    montgomery_bits: u32,
    /// `q^-1 mod 2^64`; its low bits are the inverse modulo `2^52`.
    inverse: u64,
    /// `R mod q`.
    montgomery_one: u64,
}

impl Modulus {
    /// Exclusive upper bound of the moduli that 52-bit kernels take; it leaves room for lazy values
    /// below `4q`.
    pub const IFMA_LIMIT: u64 = 1 << 50;

    /// Exclusive upper bound of every modulus; it leaves room for lazy values below `4q` and sums
    /// of 64 products.
    pub const LIMIT: u64 = 1 << 61;

    /// Makes the modulus `q`.
    ///
    /// *Errors*: `q` is not an odd prime below `2^61`.
    pub fn new(q: u64) -> Result<Self, KernelError> {
        if !(3..Self::LIMIT).contains(&q) {
            return Err(KernelError::ModulusRange { modulus: q });
        }
        if !is_odd_prime(q) {
            return Err(KernelError::NotPrime { modulus: q });
        }
        let bits = u64::BITS - q.leading_zeros();
        let wide = |x: u128| (x / u128::from(q)) as u64;
        let word = ((1u128 << 64) % u128::from(q)) as u64;
        let montgomery_bits = if q < Self::IFMA_LIMIT { 52 } else { 64 };
        Ok(Modulus {
            q,
            bits,
            barrett_64: wide(1 << 64),
            barrett_product: wide(1 << (62 + bits)),
            word: (word, wide(u128::from(word) << 64)),
            montgomery_bits,
            inverse: inverse_mod_word(q),
            montgomery_one: ((1u128 << montgomery_bits) % u128::from(q)) as u64,
        })
    }

    /// The prime itself.
    #[inline]
    pub const fn value(&self) -> u64 {
        self.q
    }

    /// The number of bits of the prime: `2^(bits - 1) < q < 2^bits`.
    #[inline]
    pub const fn bits(&self) -> u32 {
        self.bits
    }

    /// `floor(2^bits / q)`, `bits` up to 64.
    #[inline]
    pub(super) const fn reciprocal(&self, bits: u32) -> u64 {
        self.barrett_64 >> (64 - bits)
    }

    /// Whether the 52-bit kernels take this prime (`q < 2^50`).
    #[inline]
    pub const fn ifma(&self) -> bool {
        self.q < Self::IFMA_LIMIT
    }

    /// `log2 R` of the Montgomery form: 52 or 64.
    #[inline]
    pub const fn montgomery_bits(&self) -> u32 {
        self.montgomery_bits
    }

    /// `a + b mod q`.
    #[inline]
    pub const fn add(&self, a: u64, b: u64) -> u64 {
        conditional_subtract(a + b, self.q)
    }

    /// `a - b mod q`.
    #[inline]
    pub const fn sub(&self, a: u64, b: u64) -> u64 {
        let difference = a.wrapping_sub(b);
        if a < b { difference.wrapping_add(self.q) } else { difference }
    }

    /// `-a mod q`.
    #[inline]
    pub const fn neg(&self, a: u64) -> u64 {
        if a == 0 { 0 } else { self.q - a }
    }

    /// `a * b mod q`.
    #[inline]
    pub const fn mul(&self, a: u64, b: u64) -> u64 {
        // With k = bits, x = ab < 2^2k: the quotient estimate floor(floor(x / 2^(k-2)) *
        // floor(2^(62+k) / q) / 2^64) falls short of x/q by less than 2^(k-2)/q + x/2^(k+62) + 1 <
        // 1/2 + 1/2 + 1, so the remainder is below 2q.
        let x = a as u128 * b as u128;
        let quotient = mul_high((x >> (self.bits - 2)) as u64, self.barrett_product);
        conditional_subtract((x as u64).wrapping_sub(quotient.wrapping_mul(self.q)), self.q)
    }

    /// `a^exponent mod q`.
    pub const fn pow(&self, a: u64, mut exponent: u64) -> u64 {
        let (mut result, mut square) = (1, a);
        while exponent > 0 {
            if exponent & 1 == 1 {
                result = self.mul(result, square);
            }
            square = self.mul(square, square);
            exponent >>= 1;
        }
        result
    }

    /// `a^-1 mod q`. Zero has no inverse; the result for it is 0.
    pub const fn inv(&self, a: u64) -> u64 {
        self.pow(a, self.q - 2)
    }

    /// `x mod q` for any word.
    #[inline]
    pub const fn reduce(&self, x: u64) -> u64 {
        // Quotient short by less than x/2^64 + 1 < 2.
        conditional_subtract(x.wrapping_sub(mul_high(x, self.barrett_64).wrapping_mul(self.q)), self.q)
    }

    /// `x mod q` for any double word.
    #[inline]
    pub const fn reduce_u128(&self, x: u128) -> u64 {
        let high = shoup_mul_lazy((x >> 64) as u64, self.word.0, self.word.1, self.q);
        self.add(conditional_subtract(high, self.q), self.reduce(x as u64))
    }

    /// `centred(x) mod q` of a residue `x` modulo `from`, taken from the range `(-from/2, from/2]`.
    #[inline]
    pub const fn reduce_centred(&self, x: u64, from: &Modulus) -> u64 {
        let residue = self.reduce(x);
        if x > from.q / 2 { self.sub(residue, self.reduce(from.q)) } else { residue }
    }

    /// `a * R mod q`.
    #[inline]
    pub const fn to_montgomery(&self, a: u64) -> u64 {
        self.mul(a, self.montgomery_one)
    }

    /// `a * R^-1 mod q`.
    #[inline]
    pub const fn from_montgomery(&self, a: u64) -> u64 {
        self.mul_montgomery(a, 1)
    }

    /// `a * b * R^-1 mod q`: the plain product when one operand is in Montgomery form.
    #[inline]
    pub const fn mul_montgomery(&self, a: u64, b: u64) -> u64 {
        let x = a as u128 * b as u128;
        // ab < qR, so the part above R is already below q.
        self.sub((x >> self.montgomery_bits) as u64, self.montgomery_fraction(x))
    }

    /// `x * R^-1 mod q` for any `x < R * 2^64`: a sum of products.
    #[inline]
    pub const fn reduce_montgomery(&self, x: u128) -> u64 {
        self.sub(self.reduce((x >> self.montgomery_bits) as u64), self.montgomery_fraction(x))
    }

    /// `u < q` with `x = floor(x / R) * R + (x mod R)` and `(x mod R) = -u * R mod q`.
    #[inline]
    const fn montgomery_fraction(&self, x: u128) -> u64 {
        if self.montgomery_bits == 52 {
            let m = (x as u64).wrapping_mul(self.inverse) & MASK_52;
            ((m as u128 * self.q as u128) >> 52) as u64
        } else {
            mul_high((x as u64).wrapping_mul(self.inverse), self.q)
        }
    }

    /// `q^-1 mod 2^64`.
    #[cfg(target_arch = "x86_64")]
    #[inline]
    pub(super) const fn inverse_mod_word(&self) -> u64 {
        self.inverse
    }

    /// `floor(w * 2^64 / q)`, the companion of `w` in [`shoup_mul_lazy`].
    #[inline]
    pub(super) const fn shoup(&self, w: u64) -> u64 {
        (((w as u128) << 64) / self.q as u128) as u64
    }
}

/// `x - m` if `x >= m`, else `x`.
#[inline]
pub(super) const fn conditional_subtract(x: u64, m: u64) -> u64 {
    if x >= m { x - m } else { x }
}

/// The high word of a product.
#[inline]
pub(super) const fn mul_high(a: u64, b: u64) -> u64 {
    ((a as u128 * b as u128) >> 64) as u64
}

/// `x * w mod q` in `[0, 2q)` for any word `x`, given `w < q` and `companion = floor(w * 2^64 / q)`
/// (Shoup's product: Harvey, *Faster arithmetic for number-theoretic transforms*, 2014, section 3).
#[inline]
pub(super) const fn shoup_mul_lazy(x: u64, w: u64, companion: u64, q: u64) -> u64 {
    x.wrapping_mul(w).wrapping_sub(mul_high(x, companion).wrapping_mul(q))
}

/// `q^-1 mod 2^64` of an odd `q`, by Newton's iteration from the three correct bits of `q` itself.
const fn inverse_mod_word(q: u64) -> u64 {
    let mut x = q;
    let mut correct_bits = 3;
    while correct_bits < 64 {
        x = x.wrapping_mul(2u64.wrapping_sub(q.wrapping_mul(x)));
        correct_bits *= 2;
    }
    x
}

/// Miller and Rabin's test with the first twelve primes as bases, which decides every 64-bit number
/// (Sorenson and Webster, *Strong pseudoprimes to twelve prime bases*, 2015).
fn is_odd_prime(n: u64) -> bool {
    const BASES: [u64; 12] = [2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37];
    if n < 3 || n.is_multiple_of(2) {
        return false;
    }
    let mul = |a: u64, b: u64| (u128::from(a) * u128::from(b) % u128::from(n)) as u64;
    let twos = (n - 1).trailing_zeros();
    BASES.iter().all(|&base| {
        if n == base {
            return true;
        }
        if n.is_multiple_of(base) {
            return false;
        }
        let (mut power, mut square, mut exponent) = (1, base, (n - 1) >> twos);
        while exponent > 0 {
            if exponent & 1 == 1 {
                power = mul(power, square);
            }
            square = mul(square, square);
            exponent >>= 1;
        }
        if power == 1 || power == n - 1 {
            return true;
        }
        (1..twos).any(|_| {
            power = mul(power, power);
            power == n - 1
        })
    })
}

#[cfg(test)]
mod tests {
    use num_bigint::BigUint;
    use proptest::prelude::*;

    use super::*;
    use crate::kernels::testing::{PRIME_BITS, ntt_prime};

    /// Primes of every size class, and the smallest ones.
    fn moduli() -> Vec<Modulus> {
        let small = [3, 5, 7, 11, 65537].map(|q| Modulus::new(q).unwrap());
        let classes = PRIME_BITS.map(|bits| ntt_prime(bits, 17, 0));
        small.into_iter().chain(classes).collect()
    }

    #[test]
    fn refuses_what_is_no_odd_prime_below_2_to_61() {
        for q in [0, 1, 2, 1 << 61, u64::MAX] {
            assert_eq!(Modulus::new(q), Err(KernelError::ModulusRange { modulus: q }));
        }
        // The last two: Carmichael numbers, and a strong pseudoprime to the bases 2, 3, 5 and 7.
        for q in [4, 9, 15, (1 << 31) + 1, 561, 3215031751] {
            assert_eq!(Modulus::new(q), Err(KernelError::NotPrime { modulus: q }));
        }
        assert!(Modulus::new((1 << 61) - 1).is_ok());
    }

    #[test]
    fn primality_agrees_with_trial_division() {
        for n in 3..5000u64 {
            let prime = n % 2 == 1 && (3..n).take_while(|d| d * d <= n).all(|d| n % d != 0);
            assert_eq!(is_odd_prime(n), prime, "{n}");
        }
    }

    #[test]
    fn extremes_of_products_and_reductions() {
        for m in moduli() {
            let q = m.value();
            assert!(q >> (m.bits() - 1) == 1);
            for a in [0, 1, 2 % q, q / 2, q - 2, q - 1] {
                for b in [0, 1, q / 2, q - 1] {
                    let exact = (u128::from(a) * u128::from(b) % u128::from(q)) as u64;
                    assert_eq!(m.mul(a, b), exact);
                    assert_eq!(m.mul_montgomery(a, m.to_montgomery(b)), exact);
                }
                assert_eq!(m.from_montgomery(m.to_montgomery(a)), a);
                if a != 0 {
                    assert_eq!(m.mul(a, m.inv(a)), 1);
                }
            }
            assert_eq!(m.reduce(u64::MAX), u64::MAX % q);
            assert_eq!(m.reduce_u128(u128::MAX), (u128::MAX % u128::from(q)) as u64);
        }
    }

    #[test]
    fn centred_reduction_is_that_of_the_signed_value() {
        let from = ntt_prime(31, 10, 0);
        let half = from.value() / 2;
        for m in moduli() {
            for x in [0, 1, half - 1, half, half + 1, from.value() - 1] {
                let signed = if x > half { i128::from(x) - i128::from(from.value()) } else { i128::from(x) };
                assert_eq!(i128::from(m.reduce_centred(x, &from)), signed.rem_euclid(i128::from(m.value())));
            }
        }
    }

    proptest! {
        #[test]
        fn agrees_with_big_integers(a: u64, b: u64, wide: u128) {
            for m in moduli() {
                let q = BigUint::from(m.value());
                let word = |x: BigUint| u64::try_from(x % &q).unwrap();
                let (x, y) = (m.reduce(a), m.reduce(b));
                prop_assert_eq!(x, word(a.into()));
                prop_assert_eq!(m.reduce_u128(wide), word(wide.into()));
                prop_assert_eq!(m.mul(x, y), word(BigUint::from(x) * y));
                prop_assert_eq!(m.add(x, y), word(BigUint::from(x) + y));
                prop_assert_eq!(m.add(m.sub(x, y), y), x);
                prop_assert_eq!(m.add(m.neg(x), x), 0);
                prop_assert_eq!(m.pow(x, b), u64::try_from(BigUint::from(x).modpow(&b.into(), &q)).unwrap());
                let sum = wide >> (64 - m.montgomery_bits());
                let r = BigUint::from(1u8) << m.montgomery_bits();
                prop_assert_eq!(word(BigUint::from(m.reduce_montgomery(sum)) * r), word(sum.into()));
            }
        }
    }
}
