//! Element-wise kernels: the safe face.

use super::isa::Kind;
use super::{Isa, Modulus, debug_assert_canonical, scalar};
#[cfg(target_arch = "x86_64")]
use super::{avx2, avx512};

/// Runs the kernel `$name` of the instruction set, or the scalar one where `$takes` is false: the
/// vector kernel does not take this prime. With `avx2 if`, that of AVX-512 takes all.
macro_rules! dispatch {
    ($isa:expr, if $takes:expr, $name:ident($($arg:expr),*)) => {
        dispatch!($isa, avx512 if $takes, avx2 if $takes, $name($($arg),*))
    };
    ($isa:expr, avx2 if $takes:expr, $name:ident($($arg:expr),*)) => {
        dispatch!($isa, avx512 if true, avx2 if $takes, $name($($arg),*))
    };
    ($isa:expr, avx512 if $avx512:expr, avx2 if $avx2:expr, $name:ident($($arg:expr),*)) => {
        match $isa.0 {
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 if $avx512 => {
                // SAFETY: the value of `$isa` was made by detection; the lengths were checked by
                // the caller.
                unsafe { avx512::$name($($arg),*) }
            }
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 if $avx2 => {
                // SAFETY: as above.
                unsafe { avx2::$name($($arg),*) }
            }
            _ => scalar::$name($($arg),*),
        }
    };
}

/// Asserts that the slices have one length and, in debug builds, canonical residues.
macro_rules! check {
    ($m:expr; $first:expr $(, $other:expr)*) => {
        debug_assert_canonical($first, $m);
        $(
            assert_eq!($first.len(), $other.len(), "operands of different lengths");
            debug_assert_canonical($other, $m);
        )*
    };
}

/// `a ← a + b mod q`.
pub fn add_assign(isa: Isa, a: &mut [u64], b: &[u64], m: &Modulus) {
    check!(m; a, b);
    dispatch!(isa, if true, add_assign(a, b, m))
}

/// `a ← a - b mod q`.
pub fn sub_assign(isa: Isa, a: &mut [u64], b: &[u64], m: &Modulus) {
    check!(m; a, b);
    dispatch!(isa, if true, sub_assign(a, b, m))
}

/// `a ← -a mod q`.
pub fn neg_assign(isa: Isa, a: &mut [u64], m: &Modulus) {
    check!(m; a);
    dispatch!(isa, if true, neg_assign(a, m))
}

/// `out ← a + b mod q`.
pub fn add_into(isa: Isa, out: &mut [u64], a: &[u64], b: &[u64], m: &Modulus) {
    check!(m; a, b);
    assert_eq!(out.len(), a.len(), "operands of different lengths");
    dispatch!(isa, if true, add_into(out, a, b, m))
}

/// `out ← a - b mod q`.
pub fn sub_into(isa: Isa, out: &mut [u64], a: &[u64], b: &[u64], m: &Modulus) {
    check!(m; a, b);
    assert_eq!(out.len(), a.len(), "operands of different lengths");
    dispatch!(isa, if true, sub_into(out, a, b, m))
}

/// `a ← a * b mod q`, both plain residues.
pub fn mul_assign(isa: Isa, a: &mut [u64], b: &[u64], m: &Modulus) {
    check!(m; a, b);
    dispatch!(isa, if m.ifma(), mul_assign(a, b, m))
}

/// `out ← a * b mod q`, both plain residues.
pub fn mul_into(isa: Isa, out: &mut [u64], a: &[u64], b: &[u64], m: &Modulus) {
    check!(m; a, b);
    assert_eq!(out.len(), a.len(), "operands of different lengths");
    dispatch!(isa, if m.ifma(), mul_into(out, a, b, m))
}

/// `acc ← acc + a * b mod q`, all plain residues.
pub fn mul_add_assign(isa: Isa, acc: &mut [u64], a: &[u64], b: &[u64], m: &Modulus) {
    check!(m; acc, a, b);
    dispatch!(isa, if m.ifma(), mul_add_assign(acc, a, b, m))
}

/// `a ← a * w mod q` for one residue `w`.
pub fn mul_scalar_assign(isa: Isa, a: &mut [u64], w: u64, m: &Modulus) {
    check!(m; a);
    assert!(w < m.value(), "the scalar {w} is not below {}", m.value());
    dispatch!(isa, avx2 if m.ifma(), mul_scalar_assign(a, w, m))
}

/// `a ← a + c mod q` for one residue `c`.
pub fn add_scalar_assign(isa: Isa, a: &mut [u64], c: u64, m: &Modulus) {
    check!(m; a);
    assert!(c < m.value(), "the scalar {c} is not below {}", m.value());
    dispatch!(isa, if true, add_scalar_assign(a, c, m))
}

/// `out ← a * b mod q`, where `bm` holds `b` in Montgomery form.
pub fn mul_montgomery_into(isa: Isa, out: &mut [u64], a: &[u64], bm: &[u64], m: &Modulus) {
    check!(m; a, bm);
    assert_eq!(out.len(), a.len(), "operands of different lengths");
    dispatch!(isa, avx2 if m.ifma(), mul_montgomery_into(out, a, bm, m))
}

/// `acc ← acc + a * b mod q`, where `bm` holds `b` in Montgomery form.
pub fn mul_montgomery_add_assign(isa: Isa, acc: &mut [u64], a: &[u64], bm: &[u64], m: &Modulus) {
    check!(m; acc, a, bm);
    dispatch!(isa, avx2 if m.ifma(), mul_montgomery_add_assign(acc, a, bm, m))
}

/// `out ← (a - b) * w mod q` for one residue `w`: the tail of rescaling and of division by the
/// special primes.
pub fn sub_mul_scalar_into(isa: Isa, out: &mut [u64], a: &[u64], b: &[u64], w: u64, m: &Modulus) {
    check!(m; a, b);
    assert_eq!(out.len(), a.len(), "operands of different lengths");
    assert!(w < m.value(), "the scalar {w} is not below {}", m.value());
    dispatch!(isa, avx2 if m.ifma(), sub_mul_scalar_into(out, a, b, w, m))
}

/// `out ← centred(a) mod q`: residues modulo `from`, lifted to `(-from/2, from/2]`, then reduced
/// modulo `m`.
pub fn reduce_into(isa: Isa, out: &mut [u64], a: &[u64], from: &Modulus, m: &Modulus) {
    check!(from; a);
    assert_eq!(out.len(), a.len(), "operands of different lengths");
    dispatch!(isa, if m.ifma() && from.ifma(), reduce_into(out, a, from, m))
}

/// `out ← a mod q`, of signed integers.
pub fn reduce_i32_into(isa: Isa, out: &mut [u64], a: &[i32], m: &Modulus) {
    assert_eq!(out.len(), a.len(), "operands of different lengths");
    dispatch!(isa, if m.ifma(), reduce_i32_into(out, a, m))
}

/// `out ← a mod q`, of signed integers.
pub fn reduce_i64_into(isa: Isa, out: &mut [u64], a: &[i64], m: &Modulus) {
    assert_eq!(out.len(), a.len(), "operands of different lengths");
    match isa.0 {
        #[cfg(target_arch = "x86_64")]
        Kind::Avx512 if m.ifma() => {
            // SAFETY: the value of `isa` was made by detection; the lengths were checked above.
            unsafe { avx512::reduce_i64_into(out, a, m) }
        }
        // Doubles do not hold 64 bits.
        _ => scalar::reduce_i64_into(out, a, m),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::Buffer;
    use crate::kernels::testing::{PRIME_BITS, Words, ntt_prime};

    /// Vector bodies, tails, both, neither.
    const LENGTHS: [usize; 9] = [0, 1, 3, 7, 8, 9, 17, 64, 1003];

    /// Runs `test` for every instruction set, size class and length, with three operands.
    fn for_all(test: impl Fn(Isa, &Modulus, &[Buffer; 3])) {
        for isa in Isa::available() {
            for bits in PRIME_BITS {
                let m = ntt_prime(bits, 10, 0);
                for len in LENGTHS {
                    let mut words = Words(0x5EED ^ u64::from(bits) << 32 ^ len as u64);
                    test(isa, &m, &std::array::from_fn(|_| words.residues(len, m.value())));
                }
            }
        }
    }

    fn assert_elements(out: &[u64], isa: Isa, m: &Modulus, expected: impl Fn(usize) -> u128) {
        for (i, &x) in out.iter().enumerate() {
            let value = (expected(i) % u128::from(m.value())) as u64;
            assert_eq!(x, value, "element {i} of {}, {} modulo {}", out.len(), isa.name(), m.value());
        }
    }

    #[test]
    fn sums_and_differences() {
        for_all(|isa, m, [a, b, c]| {
            let q = u128::from(m.value());
            let (x, y) = (|i: usize| u128::from(a[i]), |i: usize| u128::from(b[i]));
            let mut out = a.clone();
            add_assign(isa, &mut out, b, m);
            assert_elements(&out, isa, m, |i| x(i) + y(i));
            let mut out = a.clone();
            sub_assign(isa, &mut out, b, m);
            assert_elements(&out, isa, m, |i| x(i) + q - y(i));
            let mut out = a.clone();
            neg_assign(isa, &mut out, m);
            assert_elements(&out, isa, m, |i| q - x(i));
            let mut out = c.clone();
            add_into(isa, &mut out, a, b, m);
            assert_elements(&out, isa, m, |i| x(i) + y(i));
            sub_into(isa, &mut out, a, b, m);
            assert_elements(&out, isa, m, |i| x(i) + q - y(i));
        });
    }

    #[test]
    fn products() {
        for_all(|isa, m, [a, b, c]| {
            let product = |i: usize| u128::from(a[i]) * u128::from(b[i]);
            let mut out = a.clone();
            mul_assign(isa, &mut out, b, m);
            assert_elements(&out, isa, m, product);
            let mut out = c.clone();
            mul_into(isa, &mut out, a, b, m);
            assert_elements(&out, isa, m, product);
            out.copy_from_slice(c);
            mul_add_assign(isa, &mut out, a, b, m);
            assert_elements(&out, isa, m, |i| u128::from(c[i]) + product(i));

            let bm = Buffer::from(b.iter().map(|&x| m.to_montgomery(x)).collect::<Vec<_>>());
            mul_montgomery_into(isa, &mut out, a, &bm, m);
            assert_elements(&out, isa, m, product);
            out.copy_from_slice(c);
            mul_montgomery_add_assign(isa, &mut out, a, &bm, m);
            assert_elements(&out, isa, m, |i| u128::from(c[i]) + product(i));
        });
    }

    #[test]
    fn scalars() {
        for_all(|isa, m, [a, b, c]| {
            let q = u128::from(m.value());
            for w in [0, 1, m.value() / 3, m.value() - 1] {
                let mut out = a.clone();
                mul_scalar_assign(isa, &mut out, w, m);
                assert_elements(&out, isa, m, |i| u128::from(a[i]) * u128::from(w));
                let mut out = a.clone();
                add_scalar_assign(isa, &mut out, w, m);
                assert_elements(&out, isa, m, |i| u128::from(a[i]) + u128::from(w));
                let mut out = c.clone();
                sub_mul_scalar_into(isa, &mut out, a, b, w, m);
                assert_elements(&out, isa, m, |i| {
                    (u128::from(a[i]) + q - u128::from(b[i])) % q * u128::from(w)
                });
            }
        });
    }

    #[test]
    fn centred_reductions_between_all_size_classes() {
        for isa in Isa::available() {
            for from in PRIME_BITS.map(|bits| ntt_prime(bits, 10, 1)) {
                let mut a = Words(from.value()).residues(77, from.value());
                let half = from.value() / 2;
                a[..4].copy_from_slice(&[half - 1, half, half + 1, from.value() - 1]);
                for m in PRIME_BITS.map(|bits| ntt_prime(bits, 10, 0)) {
                    let mut out = Buffer::zeroed(77);
                    reduce_into(isa, &mut out, &a, &from, &m);
                    let q = i128::from(m.value());
                    assert_elements(&out, isa, &m, |i| {
                        let x = i128::from(a[i]);
                        let centred = if a[i] > half { x - i128::from(from.value()) } else { x };
                        centred.rem_euclid(q) as u128
                    });
                }
            }
        }
    }

    #[test]
    fn signed_integers_reduce() {
        for_all(|isa, m, [a, ..]| {
            // All sizes of either sign, and the extremes.
            let mut wide: Vec<i64> = a
                .iter()
                .enumerate()
                .map(|(i, &x)| (x.wrapping_mul(0x9e37_79b9_7f4a_7c15) as i64) >> (i % 63))
                .collect();
            let q = m.value() as i64;
            let extremes = [i64::MIN, i64::MAX, -1, 0, 1, q, -q, (1 << 52) - 1, -(1 << 52), 1 << 53];
            wide.iter_mut().zip(extremes).for_each(|(x, extreme)| *x = extreme);
            let q = i128::from(m.value());
            let mut out = a.clone();
            reduce_i64_into(isa, &mut out, &wide, m);
            assert_elements(&out, isa, m, |i| i128::from(wide[i]).rem_euclid(q) as u128);
            let mut narrow: Vec<i32> = wide.iter().map(|&x| x as i32).collect();
            narrow.iter_mut().zip([i32::MIN, i32::MAX]).for_each(|(x, extreme)| *x = extreme);
            reduce_i32_into(isa, &mut out, &narrow, m);
            assert_elements(&out, isa, m, |i| i128::from(narrow[i]).rem_euclid(q) as u128);
        });
    }

    #[test]
    #[should_panic(expected = "different lengths")]
    fn lengths_are_checked() {
        add_assign(Isa::SCALAR, &mut [0; 8], &[0; 9], &ntt_prime(31, 10, 0));
    }
}
