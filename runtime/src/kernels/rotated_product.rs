//! The inner product with a switching key, rotated, some evaluations at a time: the safe face.

#[cfg(target_arch = "x86_64")]
use super::avx512;
use super::isa::Kind;
use super::packing::{PACKED_BLOCK, PACKED_SLACK};
use super::permutation::{BLOCK, split};
use super::{
    Isa, KeyLimb, Modulus, Permutation, add_assign, debug_assert_canonical, key_inner_product, scalar,
};

// A block of a permutation is one of a key.
const _: () = assert!(BLOCK == PACKED_BLOCK);

/// A ciphertext's lifted digits and the key of a rotation, modulo one prime: `X(sum of digits * key
/// + (addend, 0))` is the rotated ciphertext before the division by `P`, for the automorphism `X`.
#[derive(Clone, Debug)]
pub struct RotatedProduct<'a> {
    /// The digits, of the permutation's degree.
    pub digits: &'a [&'a [u64]],
    /// The key, for as many evaluations.
    pub key: KeyLimb<'a>,
    /// `P c_0`; `None` modulo a special prime, where it is zero.
    pub addend: Option<&'a [u64]>,
    /// `X`.
    pub permutation: &'a Permutation,
}

/// `outs ← product`, evaluations from block `first` on, of 64 each, as many as the outputs take.
///
/// What rotations are multiplied with can so be multiplied while they are in the first caches.
///
/// *Panics* unless the outputs take whole blocks that there are, as many, and everything else has
/// the degree of the permutation.
pub fn rotated_inner_product(
    isa: Isa,
    [out0, out1]: [&mut [u64]; 2],
    product: &RotatedProduct<'_>,
    first: usize,
    m: &Modulus,
) {
    let (degree, len) = (product.permutation.degree(), out0.len());
    assert_eq!(out1.len(), len, "outputs of different lengths");
    let end = first.checked_mul(BLOCK).and_then(|start| start.checked_add(len));
    assert!(len.is_multiple_of(BLOCK) && end.is_some_and(|end| end <= degree), "whole blocks that there are");
    for whole in product.digits.iter().copied().chain(product.addend) {
        assert_eq!(whole.len(), degree, "a permutation of as many evaluations");
        if cfg!(debug_assertions) {
            // What is read: all of it would be looked at again for every range.
            for &entry in &product.permutation.blocks[first..][..len / BLOCK] {
                debug_assert_canonical(&whole[split(entry).0..][..BLOCK], m);
            }
        }
    }
    product.key.check(degree, product.digits.len(), m);
    match isa.0 {
        #[cfg(target_arch = "x86_64")]
        Kind::Avx512 => {
            // SAFETY: the value of `isa` was made by detection; the lengths and counts were checked
            // above.
            unsafe { avx512::rotated_inner_product([out0, out1], product, first, m) }
        }
        _ => by_blocks(isa, [out0, out1], product, first, m),
    }
}

/// [`rotated_inner_product`] of the kernels for each step.
fn by_blocks(
    isa: Isa,
    [out0, out1]: [&mut [u64]; 2],
    product: &RotatedProduct<'_>,
    first: usize,
    m: &Modulus,
) {
    let RotatedProduct { digits, key, addend, permutation } = product;
    let row = key.row_words().expect("the key was checked");
    let mut switched = [[0; BLOCK]; 2];
    let mut blocks: Vec<&[u64]> = Vec::with_capacity(digits.len());
    let outs = out0.chunks_exact_mut(BLOCK).zip(out1.chunks_exact_mut(BLOCK));
    for ((out0, out1), &entry) in outs.zip(&permutation.blocks[first..]) {
        let (source, carry) = split(entry);
        blocks.clear();
        blocks.extend(digits.iter().map(|digit| &digit[source..][..BLOCK]));
        let words = &key.words[source / BLOCK * row..][..row + PACKED_SLACK];
        let [u0, u1] = &mut switched;
        key_inner_product(isa, u0, u1, &blocks, KeyLimb { words, ..key.clone() }, m);
        if let Some(addend) = addend {
            add_assign(isa, u0, &addend[source..][..BLOCK], m);
        }
        // The source is the first block of what is permuted.
        let entry = [carry as u32];
        scalar::permute_into(out0, u0, permutation, &entry);
        scalar::permute_into(out1, u1, permutation, &entry);
    }
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use super::*;
    use crate::kernels::testing::{PRIME_BITS, Words, ntt_prime};
    use crate::kernels::{pack_into, packed_bits, permute_into};

    #[test]
    #[allow(clippy::single_range_in_vec_init, reason = "digits are passed over in runs, sometimes in one")]
    fn products_are_those_of_all_evaluations_rotated_in_every_set() {
        let log_n = 11;
        let degree = 1 << log_n;
        for bits in PRIME_BITS {
            let m = ntt_prime(bits, log_n, 0);
            let mut words = Words(u64::from(bits));
            for (terms, key_digits, absent) in [
                (3, 3, &[] as &[Range<usize>]),
                (2, 5, &[1..4]),
                (2, 4, &[2..4]),
                (3, 8, &[0..2, 3..4, 5..7]),
                (1, 1, &[]),
                (0, 3, &[]),
                (0, 2, &[0..2]),
                (19, 20, &[4..5]),
                // The largest values, more terms than are reduced at once.
                (40, 40, &[]),
            ] {
                let mut draw = |len: usize| {
                    let mut residues = words.residues(len, m.value());
                    if terms == 40 {
                        residues.fill(m.value() - 1);
                    }
                    residues
                };
                let digits: Vec<_> = (0..terms).map(|_| draw(degree)).collect();
                let digits: Vec<&[u64]> = digits.iter().map(|digit| &digit[..]).collect();
                let width = packed_bits(bits);
                let residues = draw(2 * key_digits * degree);
                let mut packed = vec![0; residues.len() / PACKED_BLOCK * width as usize];
                pack_into(&mut packed, &residues, width);
                packed.extend([u64::MAX; PACKED_SLACK]);
                let key = KeyLimb { words: &packed, bits: width, digits: key_digits, absent };
                let addend = draw(degree);
                let scalar = Isa::available()[0];
                let mut whole = [(); 2].map(|()| vec![0; degree]);
                let [u0, u1] = &mut whole;
                key_inner_product(scalar, u0, u1, &digits, key.clone(), &m);
                for (element, first, blocks, added) in [
                    (25, 0, 32, true),
                    (5, 3, 8, false),
                    (2 * degree as u64 - 1, 31, 1, true),
                    (3, 32, 0, false),
                    (7, 9, 2, true),
                ] {
                    let permutation = Permutation::new(log_n, element);
                    let addend = added.then_some(&addend[..]);
                    let mut sources = whole.clone();
                    addend.into_iter().for_each(|addend| add_assign(scalar, &mut sources[0], addend, &m));
                    let expected = sources.map(|source| {
                        let mut out = vec![0; degree];
                        permute_into(scalar, &mut out, &source, &permutation);
                        out[first * BLOCK..][..blocks * BLOCK].to_vec()
                    });
                    for isa in Isa::available() {
                        let mut outs = [(); 2].map(|()| vec![u64::MAX; blocks * BLOCK]);
                        let [out0, out1] = &mut outs;
                        let product = RotatedProduct {
                            digits: &digits,
                            key: key.clone(),
                            addend,
                            permutation: &permutation,
                        };
                        rotated_inner_product(isa, [out0, out1], &product, first, &m);
                        assert!(outs == expected, "{isa:?} {bits} {terms} {element} {first}");
                    }
                }
            }
        }
    }

    /// With what is refused changed in a product of one digit of 1024 evaluations.
    fn refused(change: impl for<'a> FnOnce(&mut RotatedProduct<'a>, &mut usize, &mut [usize; 2], &'a [u64])) {
        let (permutation, m) = (Permutation::new(10, 5), ntt_prime(50, 10, 0));
        let bits = packed_bits(50);
        let words = vec![0; 2 * 1024 / PACKED_BLOCK * bits as usize + PACKED_SLACK];
        let key = KeyLimb { words: &words, bits, digits: 1, absent: &[] };
        let mut product =
            RotatedProduct { digits: &[&[0; 1024]], key, addend: None, permutation: &permutation };
        let (mut first, mut lens) = (0, [BLOCK; 2]);
        change(&mut product, &mut first, &mut lens, &words);
        let mut outs = lens.map(|len| vec![0; len]);
        let [out0, out1] = &mut outs;
        rotated_inner_product(Isa::detect(), [out0, out1], &product, first, &m);
    }

    #[test]
    #[should_panic(expected = "whole blocks that there are")]
    fn blocks_beyond_the_degree_are_refused() {
        refused(|_, first, _, _| *first = 16);
    }

    #[test]
    #[should_panic(expected = "whole blocks that there are")]
    fn blocks_beyond_all_words_are_refused() {
        refused(|_, first, _, _| *first = usize::MAX / BLOCK);
    }

    #[test]
    #[should_panic(expected = "outputs of different lengths")]
    fn outputs_of_two_lengths_are_refused() {
        refused(|_, _, lens, _| lens[1] = 2 * BLOCK);
    }

    #[test]
    #[should_panic(expected = "as many evaluations")]
    fn digits_of_another_degree_are_refused() {
        refused(|product, _, _, _| product.digits = &[&[0; 512]]);
    }

    #[test]
    #[should_panic(expected = "as many evaluations")]
    fn an_addend_of_another_degree_is_refused() {
        refused(|product, _, _, words| product.addend = Some(&words[..512]));
    }

    #[test]
    #[should_panic(expected = "the length of a key")]
    fn a_key_of_another_degree_is_refused() {
        refused(|product, _, _, words| product.key.words = &words[..words.len() - 1]);
    }

    #[test]
    #[should_panic(expected = "a key of 1 digits for 2")]
    fn a_key_of_too_few_digits_is_refused() {
        refused(|product, _, _, _| product.digits = &[&[0; 1024], &[0; 1024]]);
    }
}
