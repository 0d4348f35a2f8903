//! fhec's RNS-CKKS backend, floor by floor; each floor calls only those below it.
//!
//! | module | floor |
//! |---|---|
//! | [`kernels`] | vectors of residues: transforms, products, sums; the only `unsafe` code |
//! | [`ring`] | polynomials over many primes: transforms, automorphisms, basis extension, sampling |

pub mod kernels;
pub mod ring;

#[cfg(test)]
mod testing;
