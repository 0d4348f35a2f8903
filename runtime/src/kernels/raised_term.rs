//! Terms of a matrix that is applied on the way back from an ephemeral secret: the safe face.

#[cfg(target_arch = "x86_64")]
use super::avx512;
use super::isa::Kind;
use super::permutation::BLOCK;
use super::{
    Isa, Modulus, Permutation, add_assign, debug_assert_canonical, mul_montgomery_add_assign,
    mul_montgomery_into, permute_blocks_into,
};

/// A rotated ciphertext `(c_0, c_1)` and the key from its rotated secret, modulo one prime, before
/// the division by `P`: `(X(P c_0) + X(c_1) body, X(c_1) uniform)` for an automorphism `X`.
#[derive(Clone, Copy, Debug)]
pub struct RaisedTerm<'a> {
    /// `c_1`.
    pub c1: &'a [u64],
    /// `P c_0`; `None` modulo a special prime, where it is zero.
    pub multiple: Option<&'a [u64]>,
    /// `X`.
    pub permutation: &'a Permutation,
    /// Body and uniform half of the key, in Montgomery form.
    pub key: [&'a [u64]; 2],
}

/// `sums ← sums + term * diagonal`, evaluations from block `first` on, of 64 each; `diagonal` in
/// Montgomery form.
///
/// *Panics* unless sums and diagonal are whole blocks that there are, as many, and everything else
/// has the degree of the permutation.
pub fn raised_term_add_assign(
    isa: Isa,
    sums: [&mut [u64]; 2],
    term: &RaisedTerm<'_>,
    diagonal: &[u64],
    first: usize,
    m: &Modulus,
) {
    let (degree, len) = (term.permutation.degree(), diagonal.len());
    for whole in term.key.into_iter().chain([term.c1]).chain(term.multiple) {
        assert_eq!(whole.len(), degree, "a permutation of as many evaluations");
        debug_assert_canonical(whole, m);
    }
    for sum in &sums {
        assert_eq!(sum.len(), len, "operands of different lengths");
        debug_assert_canonical(sum, m);
    }
    assert!(len.is_multiple_of(BLOCK) && first * BLOCK + len <= degree, "whole blocks that there are");
    debug_assert_canonical(diagonal, m);
    match isa.0 {
        #[cfg(target_arch = "x86_64")]
        Kind::Avx512 if m.ifma() => {
            // SAFETY: the value of `isa` was made by detection; the lengths were checked above.
            unsafe { avx512::raised_term_add_assign(sums, term, diagonal, first, m) }
        }
        _ => by_parts(isa, sums, term, diagonal, first, m),
    }
}

/// [`raised_term_add_assign`] of the kernels for each step.
fn by_parts(
    isa: Isa,
    [sum0, sum1]: [&mut [u64]; 2],
    term: &RaisedTerm<'_>,
    diagonal: &[u64],
    first: usize,
    m: &Modulus,
) {
    let parts = sum0.chunks_exact_mut(BLOCK).zip(sum1.chunks_exact_mut(BLOCK));
    for (block, ((sum0, sum1), diagonal)) in (first..).zip(parts.zip(diagonal.chunks_exact(BLOCK))) {
        let [mut x, mut y0, mut y1] = [[0; BLOCK]; 3];
        let [body, uniform] = term.key.map(|half| &half[block * BLOCK..][..BLOCK]);
        permute_blocks_into(isa, &mut x, term.c1, term.permutation, block);
        mul_montgomery_into(isa, &mut y0, &x, body, m);
        mul_montgomery_into(isa, &mut y1, &x, uniform, m);
        if let Some(multiple) = term.multiple {
            permute_blocks_into(isa, &mut x, multiple, term.permutation, block);
            add_assign(isa, &mut y0, &x, m);
        }
        mul_montgomery_add_assign(isa, sum0, &y0, diagonal, m);
        mul_montgomery_add_assign(isa, sum1, &y1, diagonal, m);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::{PRIME_BITS, Words, ntt_prime};

    #[test]
    fn terms_are_what_they_are_defined_as_in_every_set() {
        let log_n = 11;
        let degree = 1 << log_n;
        for bits in PRIME_BITS {
            let m = ntt_prime(bits, log_n, 0);
            let mut words = Words(u64::from(bits));
            let mut draw = || words.residues(degree, m.value());
            let (c1, multiple, body, uniform, diagonal) = (draw(), draw(), draw(), draw(), draw());
            let initial = [draw(), draw()];
            // For the largest sums before a reduction.
            let mut largest = draw();
            largest.fill(m.value() - 1);
            for (c1, multiple) in [(&c1, Some(&multiple)), (&c1, None), (&largest, Some(&largest))] {
                for (element, first, blocks) in
                    [(25, 0, 32), (5, 3, 8), (2 * degree as u64 - 1, 31, 1), (3, 7, 0)]
                {
                    let permutation = Permutation::new(log_n, element);
                    let (start, len) = (first * BLOCK, blocks * BLOCK);
                    let product = |x: u64, y: u64| m.mul(x, m.from_montgomery(y));
                    let expected = |half: usize, i: usize| {
                        let key = [&body, &uniform][half];
                        let source = permutation.source(i);
                        let switched = product(c1[source], key[i]);
                        let added = multiple.filter(|_| half == 0).map_or(0, |z| z[source]);
                        m.add(initial[half][i], product(m.add(switched, added), diagonal[i]))
                    };
                    for isa in Isa::available() {
                        let mut sums = initial.clone();
                        let [sum0, sum1] = &mut sums;
                        let term = RaisedTerm {
                            c1,
                            multiple: multiple.map(|z| &z[..]),
                            permutation: &permutation,
                            key: [&body, &uniform],
                        };
                        raised_term_add_assign(
                            isa,
                            [&mut sum0[start..][..len], &mut sum1[start..][..len]],
                            &term,
                            &diagonal[start..][..len],
                            first,
                            &m,
                        );
                        for (half, sum) in sums.iter().enumerate() {
                            for i in 0..degree {
                                let inside = (start..start + len).contains(&i);
                                let expected = if inside { expected(half, i) } else { initial[half][i] };
                                assert_eq!(sum[i], expected, "{isa:?} {bits} {element} {half} {i}");
                            }
                        }
                    }
                }
            }
        }
    }

    #[test]
    #[should_panic(expected = "whole blocks that there are")]
    fn blocks_beyond_the_degree_are_refused() {
        let (permutation, m) = (Permutation::new(10, 5), ntt_prime(50, 10, 0));
        let whole = [0; 1024];
        let term =
            RaisedTerm { c1: &whole, multiple: None, permutation: &permutation, key: [&whole, &whole] };
        let mut sums = [[0; BLOCK]; 2];
        let [sum0, sum1] = &mut sums;
        raised_term_add_assign(Isa::detect(), [sum0, sum1], &term, &[0; BLOCK], 16, &m);
    }
}
