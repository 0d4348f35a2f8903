//! Kernels for AVX2 with FMA: four lanes, products in double precision, primes below `2^50`.
//!
//! | file | subject |
//! |---|---|
//! | `vector` | loads, constants of a prime, products and reductions, transposition |
//! | `elementwise` | sums, products, scalars, reductions |
//! | `accumulate` | sums of products |
//! | `permutation` | automorphisms, gathers |
//! | `packing` | residues in as many bits as they have |
//! | `ntt` | the transform |

mod accumulate;
mod elementwise;
mod ntt;
mod packing;
mod permutation;
mod vector;

pub(super) use accumulate::{basis_convert, key_inner_product, pair_products, tile_products};
pub(super) use elementwise::{
    add_assign, add_into, add_scalar_assign, mul_add_assign, mul_assign, mul_into, mul_montgomery_add_assign,
    mul_montgomery_into, mul_scalar_assign, neg_assign, reduce_i32_into, reduce_into, sub_assign, sub_into,
    sub_mul_scalar_into,
};
pub(super) use ntt::{forward, inverse, tables};
pub(super) use packing::unpack_into;
pub(super) use permutation::{gather_into, permute_add_assign, permute_into};
