//! Permutations; see [`crate::kernels::permutation`] for what each computes.

use crate::kernels::Modulus;
use crate::kernels::permutation::{BLOCK, Permutation, split};

pub(in crate::kernels) fn permute_into(
    out: &mut [u64],
    a: &[u64],
    permutation: &Permutation,
    blocks: &[u32],
) {
    for (out, &entry) in out.chunks_exact_mut(BLOCK).zip(blocks) {
        let (source, carry) = split(entry);
        let block = &a[source..][..BLOCK];
        for (z, &place) in out.iter_mut().zip(&permutation.places[carry]) {
            *z = block[usize::from(place)];
        }
    }
}

pub(in crate::kernels) fn permute_add_assign(
    sum: &mut [u64],
    a: &[u64],
    permutation: &Permutation,
    m: &Modulus,
) {
    for (sum, &entry) in sum.chunks_exact_mut(BLOCK).zip(&permutation.blocks) {
        let (source, carry) = split(entry);
        let block = &a[source..][..BLOCK];
        for (z, &place) in sum.iter_mut().zip(&permutation.places[carry]) {
            *z = m.add(*z, block[usize::from(place)]);
        }
    }
}

pub(in crate::kernels) fn gather_into(out: &mut [u64], a: &[u64], index: &[u32]) {
    for (z, &i) in out.iter_mut().zip(index) {
        *z = a[i as usize];
    }
}
