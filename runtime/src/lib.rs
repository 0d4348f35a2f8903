//! fhec's RNS-CKKS backend, floor by floor; each floor calls only those below it.
//!
//! | module | floor |
//! |---|---|
//! | [`kernels`] | vectors of residues: transforms, products, sums; the only `unsafe` code |
//! | [`ring`] | polynomials over many primes: transforms, automorphisms, basis extension, sampling |
//! | [`rlwe`] | keys, ciphertexts, hybrid key switching, serialisation |
//! | [`ckks`] | encoding, encryption, evaluation |
//! | [`circuits`] | linear maps and polynomials |
//! | [`exec`] | the executor of scheduled programs, on ciphertexts or in the clear |
//! | [`parallel`] | work on all threads |
//! | [`error`] | what can be wrong with operands and with bytes |
//! | [`names`] | what errors, keys and ciphertexts call each other by |

pub mod circuits;
pub mod ckks;
pub mod error;
pub mod exec;
#[cfg_attr(
    not(target_arch = "x86_64"),
    allow(
        dead_code,
        unused_imports,
        unused_mut,
        unused_variables,
        reason = "what other instruction sets need"
    )
)]
pub mod kernels;
pub mod names;
pub mod parallel;
pub mod ring;
pub mod rlwe;

pub use error::{EvalError, FormatError};

#[cfg(test)]
mod testing;
