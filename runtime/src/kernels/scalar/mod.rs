//! The definition of every kernel: portable, one residue at a time, written for reading.
//!
//! Vector kernels must reproduce these results bit for bit, and call these functions for tails and
//! for primes beyond their range.

mod accumulate;
mod elementwise;
mod ntt;
mod packing;
mod permutation;
mod quotients;
mod repeat;

pub(super) use accumulate::{basis_convert, key_inner_product, pair_products, tile_products};
pub(super) use elementwise::{
    add_assign, add_into, add_scalar_assign, mul_add_assign, mul_assign, mul_into, mul_montgomery_add_assign,
    mul_montgomery_into, mul_scalar_assign, neg_assign, reduce_i32_into, reduce_i64_into, reduce_into,
    sub_assign, sub_into, sub_mul_scalar_into,
};
pub(super) use ntt::Tables;
pub(super) use packing::unpack_into;
pub(super) use permutation::{gather_into, permute_add_assign, permute_into};
pub(super) use quotients::{ONE_ULP, rounded_quotients};
pub(super) use repeat::repeat_into;
