//! Kernels for AVX-512: eight lanes, with 52-bit products (IFMA) for primes below `2^50` and 64-bit
//! ones beyond.
//!
//! | file | subject |
//! |---|---|
//! | `vector` | loads, constants of a prime, Shoup's and Barrett's reductions, transposition |
//! | `elementwise` | sums, products, scalars, reductions |
//! | `accumulate` | sums of products |
//! | `key_inner_product` | the inner product with a switching key |
//! | `permutation` | automorphisms, gathers |
//! | `packing` | residues in as many bits as they have |
//! | `quotients` | quotients of basis conversions, in double precision |
//! | `raised_term` | a matrix while the modulus is raised |
//! | `tiles` | basis conversions in tiles |
//! | `repeat` | evaluations of polynomials in a power of X |
//! | `ntt`, `ntt_forward`, `ntt_inverse` | the transform |

mod accumulate;
mod elementwise;
mod key_inner_product;
mod ntt;
mod ntt_forward;
mod ntt_inverse;
mod packing;
mod permutation;
mod quotients;
mod raised_term;
mod repeat;
mod tiles;
mod vector;

pub(super) use accumulate::{basis_convert, pair_products, tile_products};
pub(super) use elementwise::{
    add_assign, add_into, add_scalar_assign, mul_add_assign, mul_assign, mul_into, mul_montgomery_add_assign,
    mul_montgomery_into, mul_scalar_assign, neg_assign, reduce_i32_into, reduce_i64_into, reduce_into,
    sub_assign, sub_into, sub_mul_scalar_into,
};
pub(super) use key_inner_product::{key_inner_product, rotated_inner_product};
pub(super) use ntt::tables;
pub(super) use ntt_forward::{first_pass, first_pass_on_tile, forward, other_passes};
pub(super) use ntt_inverse::{inverse, inverse_into, inverse_into_tiles};
pub(super) use packing::unpack_into;
pub(super) use permutation::{gather_into, permute_add_assign, permute_into};
pub(super) use quotients::rounded_quotients;
pub(super) use raised_term::raised_term_add_assign;
pub(super) use repeat::repeat_into;
pub(super) use tiles::{convert_tile, converts_tiles};
