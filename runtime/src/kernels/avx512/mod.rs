//! Kernels for AVX-512 with 52-bit products (IFMA): eight lanes, primes below `2^50`.
//!
//! | file | subject |
//! |---|---|
//! | `vector` | loads, constants of a prime, Shoup's and Barrett's reductions, transposition |
//! | `ntt`, `ntt_forward`, `ntt_inverse` | the transform |

mod ntt;
mod ntt_forward;
mod ntt_inverse;
mod vector;

pub(super) use ntt::tables;
pub(super) use ntt_forward::forward;
pub(super) use ntt_inverse::inverse;
