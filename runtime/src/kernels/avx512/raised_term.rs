//! Terms of a matrix that is applied while the modulus is raised; see
//! [`crate::kernels::raised_term`].

use std::arch::x86_64::*;

use super::elementwise::Montgomery;
use super::permutation::permute_block_any;
use super::vector::{LANES, V, conditional_subtract, load, splat, store};
use crate::kernels::Modulus;
use crate::kernels::permutation::{BLOCK, split};
use crate::kernels::raised_term::RaisedTerm;

/// Words of the key that are asked for ahead.
const PREFETCHED_WORDS: usize = 1024;

/// A block at a time: the permuted `P c_0` goes through memory, the permuted `c_1` stays in
/// registers until it is in the sums.
///
/// # Safety
///
/// AVX-512 F, DQ and IFMA; `q < 2^50`; sums and diagonal of as many whole blocks, which the
/// permutation has from `first` on; everything else of its degree.
#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
pub(in crate::kernels) unsafe fn raised_term_add_assign(
    sums: [&mut [u64]; 2],
    term: &RaisedTerm<'_>,
    diagonal: &[u64],
    first: usize,
    m: &Modulus,
) {
    let montgomery = Montgomery::<false>::new(m);
    let (q, two_q) = (montgomery.field.q, splat(2 * m.value()));
    let sums = sums.map(<[u64]>::as_mut_ptr);
    let mut addend = [0u64; BLOCK];
    for (i, diagonal) in diagonal.chunks_exact(BLOCK).enumerate() {
        let block = first + i;
        let (source, carry) = split(term.permutation.blocks[block]);
        let turn = &term.permutation.turns[carry];
        let multiplier = term.permutation.multiplier;
        let (diagonal, addend) = (diagonal.as_ptr(), addend.as_mut_ptr());
        // SAFETY: blocks and their sources are below the degree of the permutation, which all
        // operands have, sums and diagonals have as many blocks as are visited, and a word of a
        // vector is below 57; what is prefetched may be anywhere.
        unsafe {
            let keys = term.key.map(|half| half.as_ptr().add(block * BLOCK));
            if let Some(multiple) = term.multiple {
                let multiple = multiple.as_ptr().add(source);
                let get = |word: usize| load(multiple.add(word));
                permute_block_any(multiplier, get, turn, |word, x| store(addend.add(word), x));
            }
            let c1 = term.c1.as_ptr().add(source);
            permute_block_any(
                multiplier,
                |word| load(c1.add(word)),
                turn,
                |word, x| {
                    let factor = load(diagonal.add(word));
                    let with: [V; 2] = [load(addend.add(word)), montgomery.field.zero];
                    for half in 0..2 {
                        let key = keys[half].add(word);
                        _mm_prefetch::<_MM_HINT_T0>(key.wrapping_add(PREFETCHED_WORDS).cast());
                        // Below 2q + q, which is below 2^52, and so is its product with a residue
                        // over 2^52 below q.
                        let y = _mm512_add_epi64(montgomery.mul_lazy(x, load(key)), with[half]);
                        let sum = sums[half].add(i * BLOCK + word);
                        // Below 3q.
                        let z = _mm512_add_epi64(montgomery.mul_lazy(y, factor), load(sum));
                        store(sum, conditional_subtract(conditional_subtract(z, two_q), q));
                    }
                },
            );
        }
    }
}

const _: () = assert!(BLOCK == 8 * LANES);
