//! Arithmetic on vectors of residues, in the instruction set chosen at run time.
//!
//! | module | subject |
//! |---|---|
//! | [`Isa`] | which instruction sets this processor has |
//! | [`Buffer`] | cache-line aligned storage |
//! | [`Modulus`] | a prime and arithmetic on single residues |
//! | [`NttTable`] | the negacyclic number-theoretic transform |
//! | `elementwise` | sums, differences, products, scalars, reductions between primes |
//! | [`Permutation`] | automorphisms in evaluation order |
//! | `accumulate` | sums of products: key switching's inner product and basis conversion |
//! | `rotated_product` | the inner product with a key, rotated, some evaluations at a time |
//! | `packing` | residues in as many bits as their prime has |
//! | `quotients` | quotients of basis conversions |
//! | `tiles` | basis conversions between two transforms |
//! | `repeat` | evaluations of polynomials in a power of X |
//! | `raised_term` | terms of a matrix that is applied while the modulus is raised |
//! | `scalar` | the definition of every kernel, portable |
//! | `avx2` | four lanes, products in double precision with FMA, primes below `2^50` |
//! | `avx512` | eight lanes, 52-bit products for primes below `2^50`, 64-bit ones beyond |
//!
//! Every public function takes and returns canonical residues, in `[0, q)`, asserts lengths, and
//! gives bit-identical results for every [`Isa`]; lazy ranges live inside one kernel and are
//! written there. The one exception is a transform in two calls: what [`convert_tiles`] and
//! [`NttTable::first_pass`] leave is for [`NttTable::other_passes`] alone. Residues out of range
//! give wrong residues, never a memory error; debug builds assert them. A prime that an instruction
//! set has no kernel for is handled by the scalar one.
//!
//! This is the only module with `unsafe` code. It knows nothing of polynomials, bases, keys or
//! threads.

#![allow(unsafe_code, reason = "vector instructions, aligned storage, mapped files; the faces here are safe")]

mod accumulate;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod buffer;
mod elementwise;
mod error;
mod isa;
mod modulus;
mod ntt;
mod packing;
mod permutation;
mod quotients;
mod raised_term;
mod repeat;
mod rotated_product;
mod scalar;
#[cfg(test)]
pub(crate) mod testing;
mod tiles;
#[cfg(target_arch = "x86_64")]
mod vector_tables;

pub use accumulate::{KeyLimb, basis_convert, key_inner_product, pair_products, tile_products};
pub use buffer::Buffer;
pub use elementwise::{
    add_assign, add_into, add_scalar_assign, mul_add_assign, mul_assign, mul_into, mul_montgomery_add_assign,
    mul_montgomery_into, mul_scalar_assign, neg_assign, reduce_i32_into, reduce_i64_into, reduce_into,
    sub_assign, sub_into, sub_mul_scalar_into,
};
pub use error::KernelError;
pub use isa::Isa;
pub use modulus::Modulus;
pub use ntt::{MAX_LOG_N, MIN_LOG_N, NttTable, evaluation_exponent};
pub use packing::{PACKED_BLOCK, PACKED_SLACK, pack_into, packed_bits, unpack_into};
pub use permutation::{
    BLOCK as PERMUTATION_BLOCK, Permutation, gather_into, permute_add_assign, permute_blocks_into,
    permute_into,
};
pub use quotients::{Reciprocal, rounded_quotients};
pub use raised_term::{RaisedTerm, raised_term_add_assign};
pub use repeat::{MAX_LOG_REPEAT, repeat_into};
pub use rotated_product::{RotatedProduct, rotated_inner_product};
pub use tiles::{SourceTiles, Tiles, convert_tiles};

/// Panics in debug builds if a residue is not canonical.
#[inline]
fn debug_assert_canonical(values: &[u64], m: &Modulus) {
    debug_assert!(values.iter().all(|&x| x < m.value()), "a residue is not below {}", m.value());
}
